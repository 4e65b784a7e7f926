/* Leases (contract section 5). Grant and revoke are proposals. Keepalive, time-to-live and the list
 * are questions to the lease actor; each carries the applied index this gateway has seen, so that a
 * lease whose grant a client has seen acknowledged is never unknown.
 *
 * Like proposals, questions wait while no leader is known, but for the list, which is what this member has
 * applied. A lease actor that has not heard of the leader yet answers "no leader": the question is asked
 * again a little later.
 *
 * Keepalives of one stream are answered in the order they came. */
#include "actors/api/api_lease.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/xalloc.h"

/* Field numbers of the Lease messages. */
enum {
    GRANT_TTL = 1,
    GRANT_ID = 2,
    LEASE_ID = 2,
    LEASE_TTL = 3,
    LEASE_GRANTED_TTL = 4,
    LEASE_KEYS = 5,
    LEASES_LEASES = 2,
    LEASE_STATUS_ID = 1
};

/* A keepalive on its way. */
typedef struct {
    uint64_t request_id;
    uint64_t since_us;
    int64_t revision; /* of the header, which etcd fills before it renews */
    bool answered;
    int64_t id, ttl_s;
} keep_alive_t;

struct lease_stream {
    keep_alive_t *items; /* in order, request ids growing */
    size_t count, capacity;
};

struct lease_reply {
    int64_t ttl_s, granted_ttl_s;
    int64_t *ids;
    size_t id_count;
};

void lease_reply_destroy(lease_reply_t **reply_p)
{
    lease_reply_t *reply = *reply_p;
    *reply_p = NULL;
    if (reply) {
        free(reply->ids);
        free(reply);
    }
}

/* ---- proposals ---- */

static bytes_t *encode_grant(const lease_grant_request_t *grant)
{
    buf_t out = {0};
    buf_field_u64(&out, GRANT_TTL, (uint64_t)grant->ttl_s);
    buf_field_u64(&out, GRANT_ID, (uint64_t)grant->id);
    bytes_t *bytes = buf_bytes(&out);
    buf_deinit(&out);
    return bytes;
}

void api_on_lease_grant(api_t *self, call_t *call, bytes_t **message_p)
{
    lease_grant_request_t grant;
    if (decode_lease_grant(bytes_slice(*message_p), &grant)) {
        api_fail_decode(self, call);
        return;
    }
    if (grant.ttl_s > LIMIT_LEASE_TTL_S) {
        api_fail(self, call, API_LEASE_TTL_TOO_LARGE);
        return;
    }
    if (grant.ttl_s < self->cfg.lease_ttl_min_s) {
        grant.ttl_s = self->cfg.lease_ttl_min_s;
    }
    while (grant.id == 0) {
        grant.id = (int64_t)(prng_next(&self->prng) >> 1);
    }
    bytes_t *request = encode_grant(&grant);
    api_propose(self, call, OP_LEASE_GRANT, bytes_slice(request));
    bytes_unref(&request);
}

void api_on_lease_revoke(api_t *self, call_t *call, bytes_t **message_p)
{
    if (decode_lease(bytes_slice(*message_p), &call->lease)) {
        api_fail_decode(self, call);
    } else {
        api_propose(self, call, OP_LEASE_REVOKE, bytes_slice(*message_p));
    }
}

/* ---- questions ---- */

static void ask(api_t *self, uint64_t request_id, lease_op_t op, int64_t id)
{
    lease_asks_t *asks = &self->lease_asks;
    asks->items = xgrow(asks->items, &asks->capacity, asks->count + 1, sizeof *asks->items);
    asks->items[asks->count++] = (msg_lease_ask_t){.req_id = request_id, .op = op, .id = id};
    asks->local += op == LEASE_OP_LIST;
}

static void send(api_t *self, const msg_lease_ask_t *item)
{
    msg_t *msg = msg_new(MSG_LEASE_ASK);
    msg->u.lease_ask = *item;
    msg->u.lease_ask.applied_index = self->applied_index;
    outbox_put(self->out, ACTOR_LEASE, &msg);
}

void api_flush_lease(api_t *self)
{
    lease_asks_t *asks = &self->lease_asks;
    bool is_led = self->role.leader != 0 && self->now_us >= asks->retry_us;
    if (asks->count == 0 || (!is_led && asks->local == 0)) {
        return;
    }
    asks->retry_us = is_led ? 0 : asks->retry_us;
    size_t kept = 0;
    for (size_t i = 0; i < asks->count; i++) {
        const msg_lease_ask_t *item = &asks->items[i];
        bool is_local = item->op == LEASE_OP_LIST;
        if (!outbox_room(self->out, ACTOR_LEASE) || !(is_led || is_local)) {
            asks->items[kept++] = *item;
            continue;
        }
        asks->local -= is_local;
        if (id_map_get(&self->requests, item->req_id)) { /* else its call has ended */
            send(self, item);
        }
    }
    asks->count = kept;
}

uint64_t api_lease_deadline(const api_t *self)
{
    bool waits = self->lease_asks.count && self->role.leader && self->lease_asks.retry_us;
    return waits ? self->lease_asks.retry_us : DEADLINE_NONE;
}

void api_lease_deinit(api_t *self)
{
    free(self->lease_asks.items);
    self->lease_asks = (lease_asks_t){0};
}

static bool asks_are_full(const api_t *self)
{
    return self->lease_asks.count >= LIMIT_LEASE_ASKS;
}

void api_on_lease_time_to_live(api_t *self, call_t *call, bytes_t **message_p)
{
    if (decode_lease(bytes_slice(*message_p), &call->lease)) {
        api_fail_decode(self, call);
    } else if (asks_are_full(self)) {
        api_fail(self, call, API_TOO_MANY_REQUESTS);
    } else {
        ask(self, api_request_id(self, call), LEASE_OP_TIME_TO_LIVE, call->lease.id);
    }
}

void api_on_lease_leases(api_t *self, call_t *call, bytes_t **message_p)
{
    if (decode_empty(bytes_slice(*message_p))) {
        api_fail_decode(self, call);
    } else if (asks_are_full(self)) {
        api_fail(self, call, API_TOO_MANY_REQUESTS);
    } else {
        ask(self, api_request_id(self, call), LEASE_OP_LIST, 0);
    }
}

/* ---- keepalive streams ---- */

void api_on_lease_keep_alive(api_t *self, call_t *call, bytes_t **message_p)
{
    lease_request_t request;
    if (decode_lease(bytes_slice(*message_p), &request)) {
        api_fail_decode(self, call);
        return;
    }
    if (!call->leases) {
        call->leases = xcalloc(1, sizeof *call->leases);
    }
    lease_stream_t *stream = call->leases;
    if (asks_are_full(self) || stream->count >= LIMIT_KEEP_ALIVES) {
        api_fail(self, call, API_TOO_MANY_REQUESTS);
        return;
    }
    stream->items =
        xgrow(stream->items, &stream->capacity, stream->count + 1, sizeof *stream->items);
    keep_alive_t *item = &stream->items[stream->count++];
    *item = (keep_alive_t){.request_id = ++self->last_request_id,
                           .since_us = self->now_us,
                           .revision = self->revision,
                           .id = request.id};
    id_map_put(&self->requests, item->request_id, call);
    ask(self, item->request_id, LEASE_OP_KEEPALIVE, request.id);
    if (stream->count == 1) {
        api_set_timeout(self, call, self->now_us);
    }
}

void lease_stream_destroy(api_t *self, call_t *call)
{
    lease_stream_t *stream = call->leases;
    call->leases = NULL;
    if (!stream) {
        return;
    }
    for (size_t i = 0; i < stream->count; i++) {
        id_map_remove(&self->requests, stream->items[i].request_id);
    }
    free(stream->items);
    free(stream);
}

static keep_alive_t *find_keep_alive(lease_stream_t *stream, uint64_t request_id)
{
    size_t low = 0;
    size_t high = stream->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (stream->items[middle].request_id < request_id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    assert(low < stream->count);
    assert(stream->items[low].request_id == request_id);
    return &stream->items[low];
}

/* A lease that is not there is no error: its TTL is 0. */
static void send_keep_alive(api_t *self, call_t *call, const keep_alive_t *item)
{
    buf_t out = {0};
    header_append(&self->header, &out, item->revision, self->role.term);
    buf_field_u64(&out, LEASE_ID, (uint64_t)item->id);
    buf_field_u64(&out, LEASE_TTL, (uint64_t)item->ttl_s);
    bytes_t *message = buf_bytes(&out);
    buf_deinit(&out);
    api_send(self, call, &message);
}

static void send_answered(api_t *self, call_t *call)
{
    lease_stream_t *stream = call->leases;
    size_t sent = 0;
    while (sent < stream->count && stream->items[sent].answered) {
        send_keep_alive(self, call, &stream->items[sent++]);
    }
    if (sent == 0) {
        return;
    }
    stream->count -= sent;
    if (stream->count) {
        memmove(stream->items, stream->items + sent, stream->count * sizeof *stream->items);
        api_set_timeout(self, call, stream->items[0].since_us);
    } else if (call->half_closed) {
        api_finish(self, call, GRPC_OK, "");
    } else {
        api_clear_timeout(self, call);
    }
}

static void on_keep_alive(api_t *self, call_t *call, const msg_lease_answer_t *answer)
{
    keep_alive_t *item = find_keep_alive(call->leases, answer->req_id);
    item->answered = true;
    item->ttl_s = answer->ttl_s;
    send_answered(self, call);
}

void api_lease_half_close(api_t *self, call_t *call)
{
    if (!call->leases || call->leases->count == 0) {
        api_finish(self, call, GRPC_OK, "");
    }
}

/* ---- answers ---- */

static void ask_again(api_t *self, const msg_lease_answer_t *answer)
{
    ask(self, answer->req_id, answer->op, answer->id);
    self->lease_asks.retry_us = self->now_us + API_AGAIN_US;
}

void api_on_lease_answer(api_t *self, msg_lease_answer_t *answer)
{
    call_t *call = id_map_get(&self->requests, answer->req_id);
    if (!call) {
        return;
    }
    if (answer->error == API_NO_LEADER) {
        ask_again(self, answer);
        return;
    }
    if (answer->error) {
        api_fail(self, call, answer->error);
        return;
    }
    id_map_remove(&self->requests, answer->req_id);
    if (answer->op == LEASE_OP_KEEPALIVE) {
        on_keep_alive(self, call, answer);
        return;
    }
    call->request_id = 0;
    call->lease_reply = xcalloc(1, sizeof *call->lease_reply);
    *call->lease_reply = (lease_reply_t){.ttl_s = answer->ttl_s,
                                         .granted_ttl_s = answer->granted_ttl_s,
                                         .ids = answer->ids,
                                         .id_count = answer->id_count};
    answer->ids = NULL;
    api_read_soon(self, call, true);
}

static int add_key(void *context, slice_t key)
{
    buf_field_bytes(context, LEASE_KEYS, key);
    return 0;
}

static int append_time_to_live(const view_t *view, const call_t *call, buf_t *out)
{
    const lease_reply_t *reply = call->lease_reply;
    buf_field_u64(out, LEASE_ID, (uint64_t)call->lease.id);
    buf_field_u64(out, LEASE_TTL, (uint64_t)reply->ttl_s);
    buf_field_u64(out, LEASE_GRANTED_TTL, (uint64_t)reply->granted_ttl_s);
    bool wanted = call->lease.keys && reply->ttl_s >= 0;
    return wanted ? mvcc_lease_keys(view->reader, call->lease.id, slice(NULL, 0), add_key, out) : 0;
}

static void append_leases(const call_t *call, buf_t *out)
{
    for (size_t i = 0; i < call->lease_reply->id_count; i++) {
        uint64_t id = (uint64_t)call->lease_reply->ids[i];
        buf_field_header(out, LEASES_LEASES, id ? 1 + varint_size(id) : 0);
        buf_field_u64(out, LEASE_STATUS_ID, id);
    }
}

void api_lease_read(api_t *self, call_t *call)
{
    buf_t out = {0};
    int rc = 0;
    header_append(&self->header, &out, self->view->head.revision, self->role.term);
    if (call->method == METHOD_LEASE_LEASES) {
        append_leases(call, &out);
    } else {
        rc = append_time_to_live(self->view, call, &out);
    }
    if (rc < 0) {
        api_broken(self, rc);
    } else {
        bytes_t *answer = buf_bytes(&out);
        api_answer(self, call, &answer);
    }
    buf_deinit(&out);
}
