/* Watch streams (contract section 4). Which watcher ids a stream uses is decided here, as is what can
 * be answered from the request alone; who gets which events is the watch actor's.
 *
 * Requests go to the watch actor in order, once the store is restored and the edge has room. Until
 * then they wait in one bounded queue; a stream that fills it is ended.
 *
 * Created answers come in the order of their requests: clients match them by that. An answer that
 * needs no other actor therefore waits behind the creates before it (`answers`). */
#include "actors/api/api_watch.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/wire.h"
#include "messages/xalloc.h"

/* Field numbers of WatchResponse. */
enum {
    WATCH_ID = 2,
    WATCH_CREATED = 3,
    WATCH_CANCELED = 4,
    WATCH_COMPACT_REVISION = 5,
    WATCH_CANCEL_REASON = 6,
    WATCH_FRAGMENT = 7,
    WATCH_EVENTS = 11
};

enum { INVALID_WATCH_ID = -1 };

static const char *const reason_duplicate = "mvcc: duplicate watch ID provided on the WatchStream";
static const char *const reason_empty = "mvcc: watcher range is empty";
static const char *const reason_compacted =
    "etcdserver: mvcc: required revision has been compacted";

/* A watcher of a stream, from its create request until its end. */
typedef struct {
    int64_t id;
    bool fragment;
    bool created; /* the watch actor has said so: what comes before is of a predecessor's */
} watcher_t;

/* Something to be answered in order. */
typedef struct {
    int64_t watch_id; /* a create the watch actor still has to answer ... */
    bytes_t *ready;   /* ... or, if not NULL, an answer that only waits for its turn */
} answer_t;

struct watch_stream {
    id_map_t watchers; /* by watch id */
    int64_t next_id;
    bool known; /* the watch actor has heard of the stream */
    answer_t *answers;
    size_t answer_count, answer_capacity;
    uint64_t unreported; /* bytes of events that the actor counts as on their way */
    uint64_t consumed;   /* of them, to be reported at the end of the turn */
};

/* ---- the queue towards the watch actor ---- */

static size_t request_bytes(const msg_t *msg)
{
    return msg_cost(msg);
}

static void queue_request(api_t *self, msg_t **msg_p)
{
    watch_queue_t *queue = &self->watch_queue;
    queue->items = xgrow(queue->items, &queue->capacity, queue->count + 1, sizeof *queue->items);
    queue->bytes += request_bytes(*msg_p);
    queue->items[queue->count++] = *msg_p;
    *msg_p = NULL;
}

static bool queue_is_full(const api_t *self)
{
    return self->watch_queue.count >= LIMIT_WATCH_WAITING ||
           self->watch_queue.bytes >= LIMIT_WATCH_WAITING_BYTES;
}

static void queue_simple(api_t *self, msg_kind_t kind, const call_t *call, int64_t watch_id)
{
    msg_t *msg = msg_new(kind);
    msg->u.watch_stream.stream = call->id;
    msg->u.watch_stream.watch_id = watch_id;
    queue_request(self, &msg);
}

/* What the gateway has seen belongs to the moment the request leaves: "from now" is not earlier. */
static void stamp(const api_t *self, msg_t *msg)
{
    if (msg->kind == MSG_WATCH_CREATE) {
        msg->u.watch_create.head_revision = self->revision;
    } else if (msg->kind == MSG_WATCH_PROGRESS || msg->kind == MSG_WATCH_CANCEL) {
        msg->u.watch_stream.head_revision = self->revision;
    }
}

static void report_consumed(api_t *self)
{
    while (self->watch_consumed.first && outbox_room(self->out, ACTOR_WATCH)) {
        call_t *call = call_list_take(&self->watch_consumed);
        watch_stream_t *stream = call->watch;
        msg_t *msg = msg_new(MSG_WATCH_CONSUMED);
        msg->u.watch_stream.stream = call->id;
        msg->u.watch_stream.bytes = stream->consumed;
        stream->consumed = 0;
        outbox_put(self->out, ACTOR_WATCH, &msg);
    }
}

void api_flush_watch(api_t *self)
{
    watch_queue_t *queue = &self->watch_queue;
    if (!self->store) {
        return; /* what "now" is, is not known yet */
    }
    size_t sent = 0;
    while (sent < queue->count && outbox_room(self->out, ACTOR_WATCH)) {
        queue->bytes -= request_bytes(queue->items[sent]);
        stamp(self, queue->items[sent]);
        outbox_put(self->out, ACTOR_WATCH, &queue->items[sent++]);
    }
    queue->count -= sent;
    if (sent && queue->count) {
        memmove(queue->items, queue->items + sent, queue->count * sizeof *queue->items);
    }
    report_consumed(self);
}

void api_watch_deinit(api_t *self)
{
    for (size_t i = 0; i < self->watch_queue.count; i++) {
        msg_free(&self->watch_queue.items[i]);
    }
    free(self->watch_queue.items);
    self->watch_queue = (watch_queue_t){0};
}

/* ---- the stream's life ---- */

static watch_stream_t *stream_of(call_t *call)
{
    if (!call->watch) {
        call->watch = xcalloc(1, sizeof *call->watch);
    }
    return call->watch;
}

void watch_stream_destroy(api_t *self, call_t *call)
{
    watch_stream_t *stream = call->watch;
    call->watch = NULL;
    if (!stream) {
        return;
    }
    if (stream->known) {
        queue_simple(self, MSG_WATCH_CLOSE, call, 0); /* bounded by the number of streams */
    }
    size_t at = 0;
    watcher_t *watcher = NULL;
    while ((watcher = id_map_next(&stream->watchers, &at))) {
        free(watcher);
        self->watcher_count--;
    }
    id_map_deinit(&stream->watchers);
    for (size_t i = 0; i < stream->answer_count; i++) {
        bytes_unref(&stream->answers[i].ready);
    }
    free(stream->answers);
    free(stream);
}

static watcher_t *find_watcher(const watch_stream_t *stream, int64_t id)
{
    return id_map_get(&stream->watchers, (uint64_t)id);
}

static void remove_watcher(api_t *self, watch_stream_t *stream, int64_t id)
{
    watcher_t *watcher = id_map_remove(&stream->watchers, (uint64_t)id);
    if (watcher) {
        free(watcher);
        self->watcher_count--;
    }
}

/* ---- answers ---- */

typedef struct {
    int64_t revision; /* of the header, 0 = none */
    int64_t watch_id;
    bool created, canceled, fragment;
    int64_t compact_revision;
    const char *cancel_reason;
    slice_t events; /* field 11, wire-ready */
} response_t;

static bytes_t *encode(const api_t *self, const response_t *response)
{
    buf_t head = {0};
    header_append(&self->header, &head, response->revision, self->role.term);
    buf_field_u64(&head, WATCH_ID, (uint64_t)response->watch_id);
    buf_field_u64(&head, WATCH_CREATED, response->created);
    buf_field_u64(&head, WATCH_CANCELED, response->canceled);
    buf_field_u64(&head, WATCH_COMPACT_REVISION, (uint64_t)response->compact_revision);
    if (response->cancel_reason) {
        buf_field_bytes(&head, WATCH_CANCEL_REASON, slice_str(response->cancel_reason));
    }
    buf_field_u64(&head, WATCH_FRAGMENT, response->fragment);
    uint8_t *data = NULL;
    bytes_t *message = bytes_alloc(head.len + response->events.len, &data);
    memcpy(data, head.data, head.len);
    if (response->events.len) {
        memcpy(data + head.len, response->events.data, response->events.len);
    }
    buf_deinit(&head);
    return message;
}

static void say(api_t *self, call_t *call, const response_t *response)
{
    bytes_t *message = encode(self, response);
    api_send(self, call, &message);
}

static void add_answer(watch_stream_t *stream, answer_t answer)
{
    stream->answers = xgrow(stream->answers, &stream->answer_capacity, stream->answer_count + 1,
                            sizeof *stream->answers);
    stream->answers[stream->answer_count++] = answer;
}

/* Sends what has waited behind a create that is now answered. */
static void send_ready(api_t *self, call_t *call)
{
    watch_stream_t *stream = call->watch;
    size_t sent = 0;
    while (sent < stream->answer_count && stream->answers[sent].ready) {
        api_send(self, call, &stream->answers[sent++].ready);
    }
    stream->answer_count -= sent;
    if (sent && stream->answer_count) {
        memmove(stream->answers, stream->answers + sent,
                stream->answer_count * sizeof *stream->answers);
    }
}

/* A create that cannot be: created and canceled in one answer, with an id that is none. */
static void refuse_create(api_t *self, call_t *call, const char *reason)
{
    bytes_t *message = encode(self, &(response_t){.revision = self->revision,
                                                  .watch_id = INVALID_WATCH_ID,
                                                  .created = true,
                                                  .canceled = true,
                                                  .cancel_reason = reason});
    add_answer(stream_of(call), (answer_t){.ready = message});
    send_ready(self, call);
}

/* ---- requests ---- */

/* NULL = fine. The order of etcd: the request, then its interval, then its id. */
static const char *check_create(watch_stream_t *stream, const watch_create_request_t *create)
{
    if (create->start_revision < 0) {
        return reason_compacted;
    }
    bool open_end = create->range_end.len == 1 && create->range_end.data[0] == 0;
    if (create->range_end.len && !open_end && slice_compare(create->key, create->range_end) >= 0) {
        return reason_empty;
    }
    return create->watch_id && find_watcher(stream, create->watch_id) ? reason_duplicate : NULL;
}

static int64_t pick_id(watch_stream_t *stream, int64_t wanted)
{
    if (wanted) {
        return wanted;
    }
    while (find_watcher(stream, stream->next_id)) {
        stream->next_id++;
    }
    return stream->next_id++;
}

static unsigned flags_of(const watch_create_request_t *create)
{
    enum { NOPUT = 0, NODELETE = 1 };
    return (create->filters & 1u << NOPUT ? WATCH_NO_PUT : 0u) |
           (create->filters & 1u << NODELETE ? WATCH_NO_DELETE : 0u) |
           (create->prev_kv ? WATCH_PREV_KV : 0u) | (create->progress_notify ? WATCH_NOTIFY : 0u);
}

static void on_create(api_t *self, call_t *call, watch_create_request_t *create)
{
    watch_stream_t *stream = stream_of(call);
    if (create->key.len == 0) {
        create->key = slice("\0", 1);
    }
    const char *reason = check_create(stream, create);
    if (!reason && self->watcher_count >= LIMIT_WATCHERS) {
        reason = api_error_text(API_TOO_MANY_REQUESTS);
    }
    if (reason) {
        refuse_create(self, call, reason);
        return;
    }
    watcher_t *watcher = xcalloc(1, sizeof *watcher);
    watcher->id = pick_id(stream, create->watch_id);
    watcher->fragment = create->fragment;
    id_map_put(&stream->watchers, (uint64_t)watcher->id, watcher);
    self->watcher_count++;
    add_answer(stream, (answer_t){.watch_id = watcher->id});
    stream->known = true;
    msg_t *msg = msg_new(MSG_WATCH_CREATE);
    msg->u.watch_create = (msg_watch_create_t){
        .stream = call->id,
        .watch_id = watcher->id,
        .key = bytes_new(create->key.data, create->key.len),
        .range_end =
            create->range_end.len ? bytes_new(create->range_end.data, create->range_end.len) : NULL,
        .start_revision = create->start_revision,
        .flags = flags_of(create)};
    queue_request(self, &msg);
}

/* The id is free from now on; what is still under way of its events comes before the answer. */
static void on_cancel(api_t *self, call_t *call, int64_t id)
{
    watch_stream_t *stream = stream_of(call);
    if (find_watcher(stream, id)) {
        remove_watcher(self, stream, id);
        queue_simple(self, MSG_WATCH_CANCEL, call, id);
    }
}

void api_on_watch(api_t *self, call_t *call, bytes_t **message_p)
{
    watch_request_t request;
    if (decode_watch(bytes_slice(*message_p), &request)) {
        api_fail_decode(self, call);
        return;
    }
    if (queue_is_full(self) || stream_of(call)->answer_count >= LIMIT_WATCH_WAITING) {
        api_fail(self, call, API_TOO_MANY_REQUESTS);
        return;
    }
    switch (request.type) {
    case WATCH_REQUEST_CREATE: on_create(self, call, &request.create); break;
    case WATCH_REQUEST_CANCEL: on_cancel(self, call, request.cancel_id); break;
    case WATCH_REQUEST_PROGRESS:
        if (stream_of(call)->known) { /* else it has no watchers, and gets no answer */
            queue_simple(self, MSG_WATCH_PROGRESS, call, 0);
        }
        break;
    default: break; /* etcd ignores what it does not know */
    }
}

/* ---- what the watch actor sends ---- */

static void on_created(api_t *self, call_t *call, const watch_item_t *item)
{
    watch_stream_t *stream = call->watch;
    watcher_t *watcher = find_watcher(stream, item->watch_id);
    if (watcher) {
        watcher->created = true;
    }
    response_t response = {.revision = item->revision, .watch_id = item->watch_id, .created = true};
    /* The actor answers a stream's creates in their order, so this is the first that waits. */
    assert(stream->answer_count && !stream->answers[0].ready);
    assert(stream->answers[0].watch_id == item->watch_id);
    stream->answers[0].ready = encode(self, &response);
    send_ready(self, call);
}

/* Cuts events, never one of them, into messages below the limit. */
static void send_fragments(api_t *self, call_t *call, response_t *response, size_t max)
{
    slice_t all = response->events;
    slice_t rest = all;
    const uint8_t *start = all.data;
    wire_field_t field;
    const uint8_t *before = start;
    while (wire_next(&rest, &field) == 0) {
        if ((size_t)(rest.data - start) > max && before > start) {
            response->events = slice(start, (size_t)(before - start));
            response->fragment = true;
            say(self, call, response);
            start = before;
        }
        before = rest.data;
    }
    response->events = slice(start, (size_t)(all.data + all.len - start));
    response->fragment = false;
    say(self, call, response);
}

static void on_events(api_t *self, call_t *call, const watch_item_t *item)
{
    const watcher_t *watcher = find_watcher(call->watch, item->watch_id);
    response_t response = {.revision = item->revision,
                           .watch_id = item->watch_id,
                           .events = bytes_slice(item->events)};
    size_t max = self->cfg.max_request_bytes + LIMIT_REQUEST_OVERHEAD_BYTES;
    call->watch->unreported += response.events.len;
    if (watcher && watcher->created && watcher->fragment && response.events.len > max) {
        send_fragments(self, call, &response, max);
    } else {
        say(self, call, &response);
    }
}

static void on_compacted(api_t *self, call_t *call, const watch_item_t *item)
{
    const watcher_t *watcher = find_watcher(call->watch, item->watch_id);
    if (watcher && watcher->created) {
        remove_watcher(self, call->watch, item->watch_id);
    }
    say(self, call,
        &(response_t){
            .watch_id = item->watch_id, .canceled = true, .compact_revision = item->revision});
}

static void on_canceled(api_t *self, call_t *call, const watch_item_t *item)
{
    const watcher_t *watcher = find_watcher(call->watch, item->watch_id);
    if (watcher && watcher->created) { /* not by the client: the node has too many watchers */
        remove_watcher(self, call->watch, item->watch_id);
    }
    say(self, call,
        &(response_t){.revision = item->revision, .watch_id = item->watch_id, .canceled = true});
}

static void on_item(api_t *self, call_t *call, const watch_item_t *item)
{
    switch (item->type) {
    case WATCH_ITEM_CREATED: on_created(self, call, item); break;
    case WATCH_ITEM_EVENTS: on_events(self, call, item); break;
    case WATCH_ITEM_COMPACTED: on_compacted(self, call, item); break;
    case WATCH_ITEM_CANCELED: on_canceled(self, call, item); break;
    case WATCH_ITEM_PROGRESS:
        say(self, call, &(response_t){.revision = item->revision, .watch_id = item->watch_id});
        break;
    default: assert(!"a kind of watch item");
    }
}

void api_on_watch_out(api_t *self, const msg_watch_out_t *out)
{
    for (size_t i = 0; i < out->count; i++) {
        call_t *call = id_map_get(&self->calls, out->items[i].stream);
        if (call && call->watch) {
            on_item(self, call, &out->items[i]);
        }
    }
}

/* Message heads make up for some of the bytes, so the last ones are reported when all is sent. */
void api_watch_sent(api_t *self, call_t *call, size_t bytes)
{
    watch_stream_t *stream = call->watch;
    if (!stream || !stream->unreported) {
        return;
    }
    uint64_t consumed = bytes < stream->unreported ? bytes : stream->unreported;
    if (call->unsent_bytes == 0) {
        consumed = stream->unreported;
    }
    stream->unreported -= consumed;
    stream->consumed += consumed;
    if (!call->list) {
        call_list_add(&self->watch_consumed, call);
    }
}
