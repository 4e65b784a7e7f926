/* Proposals: what becomes an entry of the log, and what became of it.
 *
 * A proposal that may have entered the log is never sent again: what happened to it when its leader was
 * lost, only its result can tell. One that was refused because nobody led has not entered it: it waits here
 * like those that came while no leader was known, and goes again when one is, or a little later, until its
 * call times out. */
#include <assert.h>
#include <stdlib.h>

#include "actors/api/api_cluster.h"

#include "messages/xalloc.h"

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

/* The call keeps the payload: a proposal that was refused because nobody led goes again. */
static void queue_proposal(api_t *self, const call_t *call)
{
    self->proposals = xgrow(self->proposals, &self->proposal_capacity, self->proposal_count + 1,
                            sizeof *self->proposals);
    self->proposal_bytes += bytes_len(call->proposal);
    self->proposals[self->proposal_count++] =
        (proposal_t){.req_id = call->request_id,
                     .payload = bytes_ref(call->proposal),
                     .type = call->is_change ? ENTRY_CONFIGURATION : ENTRY_NORMAL};
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

static bool is_crowded(const api_t *self)
{
    return self->commit_index > self->applied_index + LIMIT_APPLY_BACKLOG ||
           self->proposal_bytes > LIMIT_INFLIGHT_BYTES;
}

static void make_proposal(api_t *self, call_t *call, uint32_t field, slice_t request)
{
    measure(self, call, field);
    uint64_t request_id = api_request_id(self, call);
    call->proposal = wrap(self->cfg.origin, field, request, request_id);
}

void api_propose(api_t *self, call_t *call, uint32_t field, slice_t request)
{
    if (is_crowded(self)) {
        api_fail(self, call, API_TOO_MANY_REQUESTS);
        return;
    }
    make_proposal(self, call, field, request);
    if (bytes_len(call->proposal) > self->cfg.max_request_bytes) {
        bytes_unref(&call->proposal);
        api_fail(self, call, API_REQUEST_TOO_LARGE);
        return;
    }
    queue_proposal(self, call);
}

void api_propose_own(api_t *self, call_t *owner, uint32_t field, slice_t request)
{
    make_proposal(self, owner, field, request);
    queue_proposal(self, owner);
}

void api_propose_change(api_t *self, call_t *call, bytes_t **change_p)
{
    call->proposal = bytes_take(change_p);
    call->is_change = true;
    queue_proposal(self, call);
}

void api_drop_proposal(api_t *self, call_t *call)
{
    if (call->proposal) {
        metrics_add(self->metrics, METRIC_PROPOSALS_FAILED, 1);
        bytes_unref(&call->proposal);
    }
}

void api_request_settled(api_t *self, call_t *call)
{
    id_map_remove(&self->requests, call->request_id);
    call->request_id = 0;
    api_drop_proposal(self, call);
}

/* A request of a client has failed, or the member's own is settled, whichever way: it looks itself. */
static void settle(api_t *self, call_t *call, api_error_t error)
{
    api_measured(self, call, false); /* unless its result has come */
    if (call == &self->publish.request) {
        api_request_settled(self, call);
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
    if (self->role.leader == 0 || self->now_us < self->again_us || self->proposal_count == 0) {
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

void api_wait_for_leader(api_t *self)
{
    self->again_us = self->now_us + API_AGAIN_US;
}

uint64_t api_again_deadline(const api_t *self)
{
    bool waits = self->proposal_count || self->reads_next.count;
    return waits && self->again_us && self->role.leader ? self->again_us : DEADLINE_NONE;
}

bool api_has_no_leader(api_error_t error)
{
    return error == API_NO_LEADER || error == API_NOT_LEADER;
}

void api_on_refusal(api_t *self, msg_kind_t kind, const msg_refusal_t *refusal)
{
    bool never_entered = kind == MSG_REJECTED;
    for (size_t i = 0; i < refusal->count; i++) {
        call_t *call = id_map_get(&self->requests, refusal->req_ids[i]);
        if (!call) {
            continue; /* timed out or cancelled */
        }
        if (never_entered && call->proposal && api_has_no_leader(refusal->error)) {
            queue_proposal(self, call);
            api_wait_for_leader(self);
        } else if (call->method == METHOD_MOVE_LEADER) {
            api_transfer_refused(self, call, refusal->error);
        } else {
            settle(self, call, refusal->error ? refusal->error : API_LEADER_CHANGED);
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
        bytes_unref(&call->proposal);
        if (item->error || call == &self->publish.request) {
            settle(self, call, item->error);
            continue;
        }
        if (call->is_change) {
            api_request_settled(self, call);
            api_read_soon(self, call, true); /* applied here, it is in the next view */
            continue;
        }
        bytes_t *answer =
            header_wrap(&self->header, item->revision, self->role.term, bytes_slice(item->body));
        api_answer(self, call, &answer);
    }
}
