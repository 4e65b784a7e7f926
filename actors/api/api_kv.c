/* Writes. A request is validated here, as etcd does before it proposes; whatever depends on the
 * store is decided when the entry is applied. The client's bytes go into the entry as they came.
 * A proposal is sent once: what became of it when its leader is lost, only its result can tell. */
#include <assert.h>
#include <stdlib.h>

#include "actors/api/api_cluster.h"

#include "messages/xalloc.h"

/* Field numbers of InternalRaftRequest. */
enum {
    OP_ID = 1,
    OP_PUT = 4,
    OP_DELETE_RANGE = 5,
    OP_TXN = 6,
    OP_COMPACTION = 7,
    OP_LEASE_GRANT = 8,
    OP_LEASE_REVOKE = 9,
    OP_HEADER = 100,
    OP_CLUSTER_VERSION_SET = 1300,
    OP_MEMBER_ATTR_SET = 1301
};

api_error_t api_check_range(const range_request_t *range)
{
    if (range->key.len == 0) {
        return API_EMPTY_KEY;
    }
    if (range->sort_order < SORT_NONE || range->sort_order > SORT_DESCEND ||
        range->sort_target < SORT_KEY || range->sort_target > SORT_VALUE) {
        return API_INVALID_SORT_OPTION;
    }
    return API_NONE;
}

api_error_t api_check_put(const put_request_t *put)
{
    if (put->key.len == 0) {
        return API_EMPTY_KEY;
    }
    if (put->ignore_value && put->value.len != 0) {
        return API_VALUE_PROVIDED;
    }
    return put->ignore_lease && put->lease != 0 ? API_LEASE_PROVIDED : API_NONE;
}

/* ---- the entry ---- */

/* InternalRaftRequest{ID, <field> = request, header{ID}}. */
static bytes_t *wrap(uint64_t origin, uint32_t field, slice_t request, uint64_t request_id)
{
    size_t inner = 1 + varint_size(request_id);
    size_t len = 1 + varint_size(origin) + varint_size((uint64_t)field << 3 | 2) +
                 varint_size(request.len) + request.len + 2 + 1 + inner;
    uint8_t *data = NULL;
    bytes_t *entry = bytes_alloc(len, &data);
    uint8_t *at = data;
    *at++ = OP_ID << 3;
    at += varint_write(at, origin);
    at += varint_write(at, (uint64_t)field << 3 | 2);
    at += varint_write(at, request.len);
    if (request.len) {
        memcpy(at, request.data, request.len);
        at += request.len;
    }
    at += varint_write(at, (uint64_t)OP_HEADER << 3 | 2);
    *at++ = (uint8_t)inner;
    *at++ = 1 << 3; /* RequestHeader.ID */
    at += varint_write(at, request_id);
    assert((size_t)(at - data) == len);
    return entry;
}

static void queue_proposal(api_t *self, uint64_t request_id, bytes_t **payload_p)
{
    self->proposals = xgrow(self->proposals, &self->proposal_capacity, self->proposal_count + 1,
                            sizeof *self->proposals);
    self->proposal_bytes += bytes_len(*payload_p);
    self->proposals[self->proposal_count++] =
        (proposal_t){.req_id = request_id, .payload = bytes_take(payload_p)};
}

static void measure(const api_t *self, call_t *call, uint32_t field)
{
    switch (field) {
    case OP_PUT: api_measure(self, call, HISTOGRAM_REQUEST_PUT); break;
    case OP_DELETE_RANGE: api_measure(self, call, HISTOGRAM_REQUEST_DELETE_RANGE); break;
    case OP_TXN: api_measure(self, call, HISTOGRAM_REQUEST_TXN); break;
    case OP_COMPACTION: api_measure(self, call, HISTOGRAM_REQUEST_COMPACTION); break;
    case OP_LEASE_GRANT: api_measure(self, call, HISTOGRAM_REQUEST_LEASE_GRANT); break;
    case OP_LEASE_REVOKE: api_measure(self, call, HISTOGRAM_REQUEST_LEASE_REVOKE); break;
    case OP_CLUSTER_VERSION_SET: api_measure(self, call, HISTOGRAM_REQUEST_VERSION_SET); break;
    case OP_MEMBER_ATTR_SET: api_measure(self, call, HISTOGRAM_REQUEST_ATTR_SET); break;
    default: assert(!"an operation without a name in the metrics");
    }
}

void api_propose(api_t *self, call_t *call, uint32_t field, slice_t request)
{
    if (self->commit_index > self->applied_index + LIMIT_APPLY_BACKLOG ||
        self->proposal_bytes > LIMIT_INFLIGHT_BYTES) {
        api_fail(self, call, API_TOO_MANY_REQUESTS);
        return;
    }
    measure(self, call, field);
    uint64_t request_id = api_request_id(self, call);
    bytes_t *payload = wrap(self->cfg.origin, field, request, request_id);
    if (bytes_len(payload) > self->cfg.max_request_bytes) {
        bytes_unref(&payload);
        api_fail(self, call, API_REQUEST_TOO_LARGE);
        return;
    }
    queue_proposal(self, request_id, &payload);
}

void api_propose_own(api_t *self, call_t *owner, uint32_t field, slice_t request)
{
    measure(self, owner, field);
    uint64_t request_id = api_request_id(self, owner);
    bytes_t *payload = wrap(self->cfg.origin, field, request, request_id);
    queue_proposal(self, request_id, &payload);
}

/* A request of a client has failed, or the member's own is settled, whichever way: it looks itself. */
static void settle(api_t *self, call_t *call, api_error_t error)
{
    api_measured(self, call, false); /* unless its result has come */
    if (call == &self->publish.request) {
        id_map_remove(&self->requests, call->request_id);
        api_publish_settled(self, error != API_NONE);
    } else {
        api_fail(self, call, error);
    }
}

/* Calls that ended while their proposal waited here: it has not been sent, and never will be. */
static void drop_orphans(api_t *self)
{
    size_t kept = 0;
    for (size_t i = 0; i < self->proposal_count; i++) {
        if (id_map_get(&self->requests, self->proposals[i].req_id)) {
            self->proposals[kept++] = self->proposals[i];
        } else {
            self->proposal_bytes -= bytes_len(self->proposals[i].payload);
            bytes_unref(&self->proposals[i].payload);
        }
    }
    self->proposal_count = kept;
}

static void refuse_all(api_t *self)
{
    for (size_t i = 0; i < self->proposal_count; i++) {
        call_t *call = id_map_get(&self->requests, self->proposals[i].req_id);
        bytes_unref(&self->proposals[i].payload);
        settle(self, call, API_TOO_MANY_REQUESTS);
    }
    self->proposal_count = 0;
    self->proposal_bytes = 0;
}

void api_flush_proposals(api_t *self)
{
    if (self->proposal_count == 0) {
        return;
    }
    drop_orphans(self);
    if (self->role.leader == 0 || self->proposal_count == 0) {
        return; /* as in etcd, requests wait for a leader until they time out */
    }
    if (!outbox_room(self->out, ACTOR_REPLICATOR)) {
        refuse_all(self);
        return;
    }
    msg_t *msg = msg_new(MSG_PROPOSE);
    msg->u.propose.items = self->proposals;
    msg->u.propose.count = self->proposal_count;
    self->proposals = NULL;
    self->proposal_count = 0;
    self->proposal_capacity = 0;
    self->proposal_bytes = 0;
    outbox_put(self->out, ACTOR_REPLICATOR, &msg);
}

/* ---- what became of them ---- */

/* A client must not learn from "not leader" what it can't act upon: for KV requests etcd says that
 * the leader has changed. */
static api_error_t refusal_error(api_error_t error)
{
    return error == API_NOT_LEADER || error == API_NONE ? API_LEADER_CHANGED : error;
}

void api_on_refusal(api_t *self, const msg_refusal_t *refusal)
{
    for (size_t i = 0; i < refusal->count; i++) {
        call_t *call = id_map_get(&self->requests, refusal->req_ids[i]);
        if (call) {
            metrics_add(self->metrics, METRIC_PROPOSALS_FAILED, 1);
            settle(self, call, refusal_error(refusal->error));
        }
    }
}

void api_on_result(api_t *self, msg_result_t *result)
{
    self->view_stale = true; /* a client that has seen this result must find it in its next read */
    for (size_t i = 0; i < result->count; i++) {
        const result_t *item = &result->items[i];
        if (item->revision > self->revision) {
            self->revision = item->revision;
        }
        call_t *call = id_map_get(&self->requests, item->req_id);
        if (!call) {
            continue; /* timed out or cancelled */
        }
        api_measured(self, call, true); /* also an error is what the log has answered */
        if (item->error || call == &self->publish.request) {
            settle(self, call, item->error);
            continue;
        }
        bytes_t *answer =
            header_wrap(&self->header, item->revision, self->role.term, bytes_slice(item->body));
        api_answer(self, call, &answer);
    }
}

/* ---- handlers ---- */

void api_on_put(api_t *self, call_t *call, bytes_t **message_p)
{
    put_request_t put;
    if (decode_put(bytes_slice(*message_p), &put)) {
        api_fail_decode(self, call);
        return;
    }
    api_error_t error = api_check_put(&put);
    if (error) {
        api_fail(self, call, error);
        return;
    }
    api_propose(self, call, OP_PUT, bytes_slice(*message_p));
}

void api_on_delete_range(api_t *self, call_t *call, bytes_t **message_p)
{
    delete_range_request_t request;
    if (decode_delete_range(bytes_slice(*message_p), &request)) {
        api_fail_decode(self, call);
    } else if (request.key.len == 0) {
        api_fail(self, call, API_EMPTY_KEY);
    } else {
        api_propose(self, call, OP_DELETE_RANGE, bytes_slice(*message_p));
    }
}

void api_on_compact(api_t *self, call_t *call, bytes_t **message_p)
{
    if (decode_compaction(bytes_slice(*message_p))) {
        api_fail_decode(self, call);
    } else {
        api_propose(self, call, OP_COMPACTION, bytes_slice(*message_p));
    }
}
