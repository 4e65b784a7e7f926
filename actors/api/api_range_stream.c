/* RangeStream (contract section 3.1): chunks of a range at a pinned revision. Chunks start at
 * CHUNK_KEYS_FIRST keys and double or halve to stay near max_request_bytes. Only the last message has
 * header, more and count. The next chunk is read when the client has taken most of the one before;
 * while it does not, cursor and view are given up: a stalled client pins nothing but a revision.
 * Snapshots for native caches (api_native.c) are read the same way; theirs have a header everywhere. */
/* Without an order but with another target than the key, etcd sorts each chunk and goes on behind
 * its last key in that order: such streams read every chunk with a cursor of its own (`by_chunk`),
 * and count what lies behind the last one when a limit ends them. */
#include <assert.h>
#include <stdlib.h>

#include "actors/api/api_native.h"
#include "actors/api/api_range.h"
#include "messages/xalloc.h"

enum {
    CHUNK_KEYS_FIRST = 10,
    CHUNK_KEYS_MAX = 1 << 20,
    UNSENT_BYTES_MAX = 1 << 20, /* with more than this unsent the stream waits for its client */
    STREAM_RANGE_RESPONSE = 1   /* RangeStreamResponse.range_response */
};

/* The cursor goes on behind the last key it has appended. */
static int open_cursor(api_t *self, call_t *call)
{
    range_job_t *job = call->range_job;
    mvcc_range_t range;
    range_to_mvcc(&range, &call->range);
    range.revision = job->revision;
    range.sort_target = job->by_chunk ? range.sort_target : SORT_KEY;
    if (job->next_key.len) {
        range.interval.key = buf_slice(&job->next_key);
    }
    int64_t left = range.limit > 0 ? range.limit - job->emitted : INT64_MAX;
    job->counting = job->counting || left == 0; /* it stalled just when the limit was reached */
    if (job->by_chunk && !job->counting) {
        range.limit = left < job->chunk_keys ? left : job->chunk_keys;
    } else if (range.limit > 0) {
        range.limit = left;
    }
    range.count_only = range.count_only || job->counting;
    job->cursor_emitted = 0;
    job->view = view_ref(self->view);
    return mvcc_cursor_new(&job->cursor, job->view->reader, &job->view->head, &range);
}

static void close_cursor(range_job_t *job)
{
    slice_t last = mvcc_cursor_last_key(job->cursor);
    if (mvcc_cursor_emitted(job->cursor) > 0) {
        buf_t next = {0};
        buf_append(&next, last.data, last.len);
        buf_byte(&next, 0);
        buf_deinit(&job->next_key);
        job->next_key = next;
    }
    job->emitted += mvcc_cursor_emitted(job->cursor);
    mvcc_cursor_destroy(&job->cursor);
    view_unref(&job->view);
}

void api_range_stream_start(api_t *self, call_t *call)
{
    range_job_t *job = call->range_job;
    if (!job) {
        metrics_add(self->metrics, METRIC_RANGES, 1);
        job = call->range_job = xcalloc(1, sizeof *job);
        job->header_revision = self->view->head.revision;
        job->revision = call->range.revision > 0 ? call->range.revision : job->header_revision;
        job->chunk_keys = CHUNK_KEYS_FIRST;
        job->by_chunk = call->range.sort_target != SORT_KEY &&
                        call->range.sort_order == SORT_NONE && !call->range.count_only;
    }
    job->started_us = self->clock_us;
    int rc = open_cursor(self, call);
    if (rc < 0) {
        api_broken(self, rc);
    } else if (rc > 0) {
        api_range_observe(self, job->started_us, false);
        api_fail(self, call, (api_error_t)rc);
    } else {
        api_read_activate(self, call);
    }
}

static void send_chunk(api_t *self, call_t *call)
{
    range_job_t *job = call->range_job;
    buf_t message = {0};
    if (!api_is_snapshot(call)) {
        buf_field_bytes(&message, STREAM_RANGE_RESPONSE, buf_slice(&job->out));
    }
    bytes_t *bytes = buf_bytes(api_is_snapshot(call) ? &job->out : &message);
    buf_deinit(&message);
    buf_clear(&job->out);
    api_range_observe(self, job->started_us, true);
    job->started_us = self->clock_us;
    job->cursor_emitted = mvcc_cursor_emitted(job->cursor);
    api_send(self, call, &bytes);
}

static void adapt_chunk(const api_t *self, range_job_t *job)
{
    if (job->out.len < self->cfg.max_request_bytes / 2 && job->chunk_keys < CHUNK_KEYS_MAX) {
        job->chunk_keys *= 2;
    } else if (job->out.len > self->cfg.max_request_bytes * 2 && job->chunk_keys > 1) {
        job->chunk_keys /= 2;
    }
}

/* The last chunk: with the rest of the kvs, and what only the end knows. */
static void send_last(api_t *self, call_t *call)
{
    range_job_t *job = call->range_job;
    buf_t last = {0};
    header_append(&self->header, &last, job->header_revision, self->role.term);
    buf_append(&last, job->out.data, job->out.len);
    /* The cursor has counted from its own first key on. */
    int64_t counted = mvcc_cursor_count(job->cursor);
    bool more = job->counting ? job->by_chunk || counted > 0 : mvcc_cursor_more(job->cursor);
    range_append_end(&last, more, job->emitted + counted);
    buf_clear(&job->out);
    buf_append(&job->out, last.data, last.len);
    buf_deinit(&last);
    send_chunk(self, call);
    api_finish(self, call, GRPC_OK, "");
}

/* A chunk is full: send it, and go on at once only if the client keeps up. */
static void end_chunk(api_t *self, call_t *call)
{
    range_job_t *job = call->range_job;
    adapt_chunk(self, job);
    if (api_is_snapshot(call)) {
        header_append(&self->header, &job->out, job->header_revision, self->role.term);
        range_append_end(&job->out, true, 0);
    }
    send_chunk(self, call);
    if (call->unsent_bytes > UNSENT_BYTES_MAX) {
        close_cursor(job);
        call_list_leave(call);
    }
}

/* The cursor of one sorted chunk has ended: what comes next is read from a fresh view. */
static void end_sorted_chunk(api_t *self, call_t *call)
{
    range_job_t *job = call->range_job;
    int64_t emitted = job->emitted + mvcc_cursor_emitted(job->cursor);
    if (job->counting || !mvcc_cursor_more(job->cursor)) {
        send_last(self, call);
        return;
    }
    job->counting = call->range.limit > 0 && emitted >= call->range.limit;
    if (!job->counting) {
        adapt_chunk(self, job);
        send_chunk(self, call);
    }
    close_cursor(job);
    call_list_leave(call);
    if (job->counting || call->unsent_bytes <= UNSENT_BYTES_MAX) {
        api_read_soon(self, call, true);
    }
}

size_t api_range_stream_slice(api_t *self, call_t *call)
{
    range_job_t *job = call->range_job;
    int64_t in_chunk = mvcc_cursor_emitted(job->cursor) - job->cursor_emitted;
    int64_t wanted = job->by_chunk ? LIMIT_RANGE_SLICE_KEYS : job->chunk_keys - in_chunk;
    mvcc_budget_t budget = {.keys = wanted < LIMIT_RANGE_SLICE_KEYS ? (size_t)wanted
                                                                    : LIMIT_RANGE_SLICE_KEYS,
                            .bytes = LIMIT_RANGE_SLICE_BYTES};
    int rc = mvcc_cursor_step(job->cursor, budget, &job->out);
    if (rc < 0) {
        api_broken(self, rc);
        return LIMIT_TURN_KEYS;
    }
    if (!range_job_charge(self, job)) {
        api_range_observe(self, job->started_us, false);
        api_fail(self, call, API_BUSY);
        return budget.keys;
    }
    in_chunk = mvcc_cursor_emitted(job->cursor) - job->cursor_emitted;
    if (job->by_chunk) {
        if (rc == 0) {
            end_sorted_chunk(self, call);
        }
    } else if (rc == 0) {
        send_last(self, call);
    } else if (in_chunk >= job->chunk_keys || job->out.len >= self->cfg.max_request_bytes) {
        end_chunk(self, call);
    }
    return budget.keys;
}

void api_range_stream_sent(api_t *self, call_t *call)
{
    bool waits = call->range_job && !call->range_job->cursor && !call->list;
    if (waits && call->unsent_bytes <= UNSENT_BYTES_MAX / 2) {
        api_read_soon(self, call, true); /* its revision is pinned: any later view will do */
    }
}

void api_on_range_stream(api_t *self, call_t *call, bytes_t **message_p)
{
    range_request_t *range = &call->range;
    if (decode_range(bytes_slice(*message_p), range)) {
        api_fail_decode(self, call);
        return;
    }
    api_error_t error = api_check_range(range);
    bool default_order = range->sort_order == SORT_NONE ||
                         (range->sort_order == SORT_ASCEND && range->sort_target == SORT_KEY);
    if (!error && !default_order) {
        error = API_STREAM_SORT;
    }
    if (!error && (range->min_mod_revision || range->max_mod_revision ||
                   range->min_create_revision || range->max_create_revision)) {
        error = API_STREAM_FILTER;
    }
    if (error) {
        api_fail(self, call, error);
        return;
    }
    call->request = bytes_take(message_p);
    api_read_soon(self, call, range->serializable);
}
