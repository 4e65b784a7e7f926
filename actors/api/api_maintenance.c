/* Handing the leadership over, and hashes of the store (contract section 7). Both are questions to others:
 * they leave at the end of the turn. */
#include "actors/api/api_cluster.h"

/* Field numbers of HashResponse and HashKVResponse. */
enum { HASH_HASH = 2, HASH_COMPACT_REVISION = 3, HASH_REVISION = 4 };

/* ---- questions ---- */

static void ask_for_transfer(api_t *self, call_t *call)
{
    msg_t *msg = msg_new(MSG_TRANSFER);
    msg->u.transfer = (msg_transfer_t){.req_id = call->request_id, .target = call->member_id};
    outbox_put(self->out, ACTOR_REPLICATOR, &msg);
    call_list_add(&self->transfers, call);
}

static void ask_for_hash(api_t *self, call_t *call)
{
    msg_t *msg = msg_new(MSG_HASH);
    msg->u.hash = (msg_hash_t){.req_id = call->request_id, .revision = call->range.revision};
    outbox_put(self->out, ACTOR_KEEPER, &msg);
}

void api_flush_maintenance(api_t *self)
{
    call_t *call = NULL;
    while ((call = call_list_take(&self->maintenance_next))) {
        bool is_transfer = call->method == METHOD_MOVE_LEADER;
        if (!outbox_room(self->out, is_transfer ? ACTOR_REPLICATOR : ACTOR_KEEPER)) {
            api_fail(self, call, API_TOO_MANY_REQUESTS);
        } else if (is_transfer) {
            ask_for_transfer(self, call);
        } else {
            ask_for_hash(self, call);
        }
    }
}

static void ask(api_t *self, call_t *call)
{
    api_request_id(self, call);
    call_list_add(&self->maintenance_next, call);
}

/* ---- leadership ---- */

/* Its response is without any field, a header included. */
static void answer_transfer(api_t *self, call_t *call)
{
    bytes_t *answer = bytes_new(NULL, 0);
    api_answer(self, call, &answer);
}

static bool may_lead(const api_t *self, uint64_t target)
{
    const Quoral__Configuration *applied = self->members.applied;
    const Quoral__ConfigurationMember *member = applied ? members_find(applied, target) : NULL;
    return member && !member->learner;
}

void api_on_move_leader(api_t *self, call_t *call, bytes_t **message_p)
{
    if (decode_number(bytes_slice(*message_p), &call->member_id)) {
        api_fail_decode(self, call);
    } else if (self->role.leader != self->cfg.member_id) {
        api_fail(self, call, API_NOT_LEADER);
    } else if (!may_lead(self, call->member_id)) {
        api_fail(self, call, API_BAD_LEADER_TRANSFEREE);
    } else if (call->member_id == self->cfg.member_id) {
        answer_transfer(self, call);
    } else {
        ask(self, call);
    }
}

/* Success shows by who leads. */
void api_look_at_transfers(api_t *self)
{
    call_t *call = self->transfers.first;
    while (call) {
        call_t *next = call->next;
        if (call->member_id == self->role.leader) {
            answer_transfer(self, call);
        }
        call = next;
    }
}

void api_transfer_refused(api_t *self, call_t *call, api_error_t error)
{
    api_fail(self, call, error == API_TIMEOUT ? API_TIMEOUT_LEADER_TRANSFER : error);
}

/* ---- hashes ---- */

/* As in etcd it takes what it takes; but for the client's own deadline. */
static void ask_keeper(api_t *self, call_t *call, uint64_t revision)
{
    call->range.revision = (int64_t)revision;
    call->measured_us = self->now_us;
    api_clear_timeout(self, call);
    ask(self, call);
}

void api_on_hash_kv(api_t *self, call_t *call, bytes_t **message_p)
{
    uint64_t revision = 0;
    if (decode_number(bytes_slice(*message_p), &revision)) {
        api_fail_decode(self, call);
    } else {
        ask_keeper(self, call, revision);
    }
}

/* The files of two stores with the same content differ, so there is nothing more to say about the whole of
 * one than about its keys at the current revision. */
void api_on_hash(api_t *self, call_t *call, bytes_t **message_p)
{
    if (decode_empty(bytes_slice(*message_p))) {
        api_fail_decode(self, call);
    } else {
        ask_keeper(self, call, 0);
    }
}

void api_on_hashed(api_t *self, const msg_hash_t *hash)
{
    call_t *call = id_map_get(&self->requests, hash->req_id);
    if (!call) {
        return; /* cancelled, or out of its client's time */
    }
    if (hash->error) {
        api_fail(self, call, hash->error);
        return;
    }
    bool is_whole = call->method == METHOD_HASH;
    metrics_observe(self->metrics, is_whole ? HISTOGRAM_HASH : HISTOGRAM_HASH_REVISION,
                    metrics_elapsed_us(call->measured_us, self->now_us));
    buf_t out = {0};
    header_append(&self->header, &out, hash->current, self->role.term);
    buf_field_u64(&out, HASH_HASH, hash->hash);
    if (!is_whole) {
        buf_field_u64(&out, HASH_COMPACT_REVISION, (uint64_t)hash->compacted);
        buf_field_u64(&out, HASH_REVISION, (uint64_t)hash->revision);
    }
    bytes_t *answer = buf_bytes(&out);
    buf_deinit(&out);
    api_answer(self, call, &answer);
}
