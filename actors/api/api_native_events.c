/* Native/Events (docs/protocol.md): what a subscriber has missed, from history. Read in slices, each from
 * a view of its own, so that a stalled client pins nothing; pages stay below the largest request, but
 * for a single event that is larger. */
#include <assert.h>
#include <stdlib.h>

#include "actors/api/api_native.h"
#include "messages/xalloc.h"

enum {
    UNSENT_BYTES_MAX = 1 << 20 /* with more than this unsent the stream waits for its client */
};
enum { PAGE_FULL = 1 };

struct events_job {
    mvcc_place_t next; /* first place that has not been read */
    int64_t to;        /* last revision that is told; -1 = not known yet: what the store has then */
    bool want_previous;
    size_t page_bytes;
    buf_t out; /* events of the next page */
    size_t charged;
};

void events_job_destroy(api_t *self, events_job_t **job_p)
{
    events_job_t *job = *job_p;
    *job_p = NULL;
    if (!job) {
        return;
    }
    api_charge(self, job->charged, 0);
    buf_deinit(&job->out);
    free(job);
}

/* ---- pages ---- */

static void append_position(buf_t *out, uint32_t field, native_position_t position)
{
    enum { REVISION = 1, SUB = 2 };
    buf_t content = {0};
    buf_field_u64(&content, REVISION, (uint64_t)position.revision);
    buf_field_u64(&content, SUB, position.sub);
    buf_field_bytes(out, field, buf_slice(&content));
    buf_deinit(&content);
}

static size_t field_size(slice_t content)
{
    return 1 + varint_size(content.len) + content.len;
}

/* One PositionedEvent. In front of it the page ends if it would get too large. */
static int on_event(void *context, const mvcc_event_t *event)
{
    enum { EVENTS = 2, POSITION = 1, EVENT = 2, TYPE = 1, KV = 2, PREV_KV = 3 };
    events_job_t *job = context;
    size_t size = (event->is_delete ? 2 : 0) + field_size(event->kv) +
                  (event->prev_kv.len ? field_size(event->prev_kv) : 0);
    if (job->out.len && job->out.len + size > job->page_bytes) {
        return PAGE_FULL;
    }
    buf_t position = {0};
    append_position(&position, POSITION,
                    (native_position_t){.revision = event->revision, .sub = (uint32_t)event->sub});
    buf_field_header(&job->out, EVENTS, position.len + 1 + varint_size(size) + size);
    buf_append(&job->out, position.data, position.len);
    buf_field_header(&job->out, EVENT, size);
    buf_field_u64(&job->out, TYPE, event->is_delete);
    buf_field_bytes(&job->out, KV, event->kv);
    if (event->prev_kv.len) {
        buf_field_bytes(&job->out, PREV_KV, event->prev_kv);
    }
    buf_deinit(&position);
    return 0;
}

static void send_page(api_t *self, call_t *call, bool more)
{
    enum { MORE = 3, COMPLETE = 4 };
    events_job_t *job = call->events_job;
    buf_t *out = &job->out;
    header_append(&self->header, out, self->view->head.revision, self->role.term);
    if (more) {
        buf_field_u64(out, MORE, true);
    } else {
        append_position(out, COMPLETE,
                        (native_position_t){.revision = job->to, .sub = NATIVE_SUB_MAX});
    }
    bytes_t *message = buf_bytes(out);
    buf_clear(out);
    api_send(self, call, &message);
}

/* ---- the call ---- */

static bool charge(api_t *self, events_job_t *job)
{
    size_t before = job->charged;
    job->charged = job->out.capacity;
    return api_charge(self, before, job->charged);
}

static void fail_compacted(api_t *self, call_t *call)
{
    metrics_add(self->metrics, METRIC_NATIVE_REPAIRS_COMPACTED, 1);
    api_fail(self, call, API_COMPACTED);
}

/* A page is full, or all has been read. */
static void end_page(api_t *self, call_t *call, bool is_full)
{
    if (!is_full) {
        metrics_add(self->metrics, METRIC_NATIVE_REPAIRS, 1);
        send_page(self, call, false);
        api_finish(self, call, GRPC_OK, "");
        return;
    }
    send_page(self, call, true);
    if (call->unsent_bytes > UNSENT_BYTES_MAX) {
        call_list_leave(call);
    }
}

size_t api_native_events_slice(api_t *self, call_t *call)
{
    events_job_t *job = call->events_job;
    int rc = api_refresh_view(self);
    if (rc == 0) {
        mvcc_interval_t interval = {.key = call->range.key, .range_end = call->range.range_end};
        rc = mvcc_events_from(self->view->reader, &self->view->head, &job->next, job->to, &interval,
                              job->want_previous, LIMIT_CATCHUP_EVENTS, on_event, job);
    }
    if (rc < 0) {
        api_broken(self, rc);
        return LIMIT_TURN_KEYS;
    }
    if (rc == API_COMPACTED) {
        fail_compacted(self, call);
    } else if (!charge(self, job)) {
        api_fail(self, call, API_BUSY);
    } else if (rc == PAGE_FULL || job->next.revision > job->to) {
        end_page(self, call, rc == PAGE_FULL);
    }
    return LIMIT_CATCHUP_EVENTS;
}

void api_native_events_start(api_t *self, call_t *call)
{
    events_job_t *job = call->events_job;
    if (api_native_waits(self, call)) {
        return;
    }
    job->to = job->to < 0 ? self->view->head.revision : job->to;
    api_read_activate(self, call);
}

void api_native_events_sent(api_t *self, call_t *call)
{
    bool is_held = call->events_job && !call->list;
    if (is_held && call->unsent_bytes <= UNSENT_BYTES_MAX / 2) {
        api_read_soon(self, call, true);
    }
}

/* The place behind a position; positions that no store has reached stay out of reach. */
static mvcc_place_t behind(native_position_t position)
{
    int64_t revision = position.revision < 0 ? 0 : position.revision;
    revision -= revision == INT64_MAX;
    return position.sub == NATIVE_SUB_MAX
               ? (mvcc_place_t){.revision = revision + 1}
               : (mvcc_place_t){.revision = revision, .sub = (int64_t)position.sub + 1};
}

void api_on_native_events(api_t *self, call_t *call, bytes_t **message_p)
{
    events_request_t request;
    if (decode_events(bytes_slice(*message_p), &request)) {
        api_fail_decode(self, call);
        return;
    }
    api_error_t error = api_native_check(self, request.subscription, request.cluster_id);
    if (error) {
        api_fail(self, call, error);
        return;
    }
    int64_t to = request.through.revision < 0 ? 0 : request.through.revision;
    api_native_interval(call, request.subscription);
    call->min_revision = request.has_through ? to : 0;
    events_job_t *job = xcalloc(1, sizeof *job);
    call->events_job = job;
    job->next = behind(request.after);
    job->to = request.has_through ? to : -1;
    job->want_previous = request.subscription.data[0] == NATIVE_PREVIOUS;
    job->page_bytes = self->cfg.max_request_bytes;
    api_read_soon(self, call, true);
}
