/* Range: the hot path for one key, cursors in slices for everything else.
 * Answers are built as wire bytes: header, kvs as the store keeps them, more, count. */
#include "actors/api/api_range.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/xalloc.h"

/* Field numbers of RangeResponse. */
enum { RANGE_KVS = 2, RANGE_MORE = 3, RANGE_COUNT = 4 };

enum { FINISHED_KEYS = 16 /* what opening and closing a cursor costs, in keys read */ };

/* Large answers grow in one buffer that goes from job to job, so that most need not grow it. */
enum { SPARE_BYTES_MAX = 1 << 20 };

static void keep_buffer(api_t *self, buf_t *out)
{
    if (out->capacity > SPARE_BYTES_MAX || out->capacity <= self->range_spare.capacity) {
        buf_deinit(out);
        return;
    }
    buf_deinit(&self->range_spare);
    self->range_spare = *out;
    *out = (buf_t){0};
    buf_clear(&self->range_spare);
}

void range_job_destroy(api_t *self, range_job_t **job_p)
{
    range_job_t *job = *job_p;
    *job_p = NULL;
    if (!job) {
        return;
    }
    mvcc_cursor_destroy(&job->cursor);
    view_unref(&job->view);
    api_charge(self, job->charged, 0);
    keep_buffer(self, &job->out);
    buf_deinit(&job->next_key);
    free(job);
}

bool range_job_charge(api_t *self, range_job_t *job)
{
    size_t before = job->charged;
    size_t held = job->cursor ? mvcc_cursor_held_bytes(job->cursor) : 0;
    job->charged = job->out.capacity + held;
    return api_charge(self, before, job->charged);
}

void range_append_end(buf_t *out, bool more, int64_t count)
{
    buf_field_u64(out, RANGE_MORE, more);
    buf_field_u64(out, RANGE_COUNT, (uint64_t)count);
}

void api_range_observe(api_t *self, uint64_t since_us, bool success)
{
    self->clock_us = metrics_clock_us(self->metrics, self->now_us);
    metrics_observe_outcome(self->metrics, HISTOGRAM_RANGE, success,
                            metrics_elapsed_us(since_us, self->clock_us));
}

/* ---- one key, now ---- */

static bool is_simple(const range_request_t *range)
{
    return range->range_end.len == 0 && range->revision <= 0 && !range->keys_only &&
           range->min_mod_revision == 0 && range->max_mod_revision == 0 &&
           range->min_create_revision == 0 && range->max_create_revision == 0;
}

/* The answer for a key that is there, in one allocation. */
static bytes_t *found_answer(const api_t *self, const range_request_t *range,
                             const mvcc_record_t *record)
{
    uint8_t head[HEADER_BYTES_MAX];
    size_t head_len = header_write(&self->header, head, self->view->head.revision, self->role.term);
    size_t key_len = 1 + varint_size(range->key.len) + range->key.len;
    size_t kv_len = key_len + record->wire.len;
    size_t kvs_len = range->count_only ? 0 : 1 + varint_size(kv_len) + kv_len;
    uint8_t *at = NULL;
    bytes_t *answer = bytes_alloc(head_len + kvs_len + 2, &at);
    memcpy(at, head, head_len);
    at += head_len;
    if (!range->count_only) {
        *at++ = RANGE_KVS << 3 | 2;
        at += varint_write(at, kv_len);
        *at++ = 1 << 3 | 2; /* KeyValue.key */
        at += varint_write(at, range->key.len);
        memcpy(at, range->key.data, range->key.len);
        at += range->key.len;
        memcpy(at, record->wire.data, record->wire.len);
        at += record->wire.len;
    }
    *at++ = RANGE_COUNT << 3;
    *at++ = 1;
    return answer;
}

static void answer_simple(api_t *self, call_t *call)
{
    kv_value_t value;
    mvcc_record_t record;
    int rc = mvcc_get(self->view->reader, call->range.key, &value, &record);
    if (rc < 0) {
        api_broken(self, rc);
        return;
    }
    bytes_t *answer = NULL;
    if (rc == 0) {
        answer = found_answer(self, &call->range, &record);
        kv_value_deinit(&value);
    } else {
        answer =
            header_wrap(&self->header, self->view->head.revision, self->role.term, slice(NULL, 0));
    }
    api_range_observe(self, self->clock_us, true);
    api_answer(self, call, &answer);
}

/* ---- anything else ---- */

void api_range_start(api_t *self, call_t *call)
{
    metrics_add(self->metrics, METRIC_RANGES, 1);
    if (is_simple(&call->range)) {
        answer_simple(self, call);
        return;
    }
    mvcc_range_t range;
    range_to_mvcc(&range, &call->range);
    range_job_t *job = xcalloc(1, sizeof *job);
    call->range_job = job;
    job->view = view_ref(self->view);
    job->started_us = self->clock_us;
    int rc = mvcc_cursor_new(&job->cursor, job->view->reader, &job->view->head, &range);
    if (rc < 0) {
        api_broken(self, rc);
    } else if (rc > 0) {
        api_range_observe(self, job->started_us, false);
        api_fail(self, call, (api_error_t)rc);
    } else {
        job->out = self->range_spare;
        self->range_spare = (buf_t){0};
        header_append(&self->header, &job->out, job->view->head.revision, self->role.term);
        api_read_activate(self, call);
    }
}

static void answer_range(api_t *self, call_t *call)
{
    range_job_t *job = call->range_job;
    range_append_end(&job->out, mvcc_cursor_more(job->cursor), mvcc_cursor_count(job->cursor));
    bool is_large = job->out.len > SPARE_BYTES_MAX; /* copying it would keep others waiting */
    bytes_t *answer = is_large ? buf_take_bytes(&job->out) : buf_bytes(&job->out);
    api_range_observe(self, job->started_us, true);
    api_answer(self, call, &answer);
}

size_t api_range_slice(api_t *self, call_t *call)
{
    static const mvcc_budget_t budget = {.keys = LIMIT_RANGE_SLICE_KEYS,
                                         .bytes = LIMIT_RANGE_SLICE_BYTES};
    range_job_t *job = call->range_job;
    int64_t before = mvcc_cursor_emitted(job->cursor);
    int rc = mvcc_cursor_step(job->cursor, budget, &job->out);
    if (rc < 0) {
        api_broken(self, rc);
        return LIMIT_TURN_KEYS;
    }
    if (!range_job_charge(self, job)) {
        api_range_observe(self, job->started_us, false);
        api_fail(self, call, API_BUSY);
        return FINISHED_KEYS;
    }
    if (rc == MVCC_MORE_WORK) {
        return LIMIT_RANGE_SLICE_KEYS;
    }
    size_t keys = (size_t)(mvcc_cursor_emitted(job->cursor) - before);
    answer_range(self, call);
    return keys + FINISHED_KEYS;
}

void api_on_range(api_t *self, call_t *call, bytes_t **message_p)
{
    if (decode_range(bytes_slice(*message_p), &call->range)) {
        api_fail_decode(self, call);
        return;
    }
    bool is_probe = call->flags & CALL_UNCOUNTED;
    if (self->members.is_learner && !call->range.serializable && !is_probe) {
        api_fail(self, call, API_NOT_SUPPORTED_FOR_LEARNER);
        return;
    }
    api_error_t error = api_check_range(&call->range);
    if (error) {
        api_fail(self, call, error);
        return;
    }
    call->request = bytes_take(message_p);
    api_measure(self, call, HISTOGRAM_REQUEST_RANGE);
    api_read_soon(self, call, call->range.serializable);
}
