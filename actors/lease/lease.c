/* Invariants:
 * 1. Only a leader proposes an expiry, and only for its own term.
 * 2. A lease never ends before its TTL has passed since the grant or the last keepalive answered.
 * 3. A question is answered only when everything its asker has seen applied has come in here too:
 *    grants and questions travel different ways (architecture section 4, Watch, has the same rule).
 * 4. A keepalive of a lease that is being revoked waits for the outcome (contract section 5).
 * 5. After a pause longer than an election timeout, in which others may have been elected and have kept
 *    leases alive, nothing counts as expired until a read index, asked for after the pause, has confirmed the
 *    leadership: leases then have their full time again. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "actors/lease/lease_private.h"
#include "messages/buf.h"
#include "messages/xalloc.h"

enum {
    EXPIRY_INTERVAL_US = 500000, /* how often the leader looks, as etcd */
    EXPIRY_BATCH_MAX = 500,      /* per look: a thousand a second, as etcd */
    REPROPOSE_US = 5000000,      /* a revoke that was not applied by then is proposed again */
    FIELD_LEASE_REVOKE = 9,      /* InternalRaftRequest.lease_revoke */
    FIELD_ID = 1,
};

lease_t *lease_new(const lease_cfg_t *cfg, metrics_t *metrics)
{
    assert(cfg->election_timeout_us > 0 && cfg->request_timeout_us > 0);
    lease_t *self = xcalloc(1, sizeof *self);
    self->cfg = *cfg;
    self->metrics = metrics;
    self->first_forward = peer_first_id(cfg->first_forward);
    return self;
}

static void lease_destroy(void **self_p)
{
    lease_t *self = *self_p;
    *self_p = NULL;
    if (self) {
        lease_table_deinit(&self->table);
        questions_deinit(&self->asked);
        questions_deinit(&self->confirming);
        questions_deinit(&self->applying);
        questions_deinit(&self->waiting);
        free(self->forwards);
        free(self);
    }
}

static uint64_t end_of(int64_t ttl_s, uint64_t now_us)
{
    return now_us +
           (uint64_t)ttl_s * 1000000u; /* TTLs are at most 9e9 s: no overflow for 292,000 years */
}

/* ---- what the log says ---- */

static void on_revoked(lease_t *self, int64_t id, outbox_t *out)
{
    lease_entry_t *entry = lease_table_find(&self->table, id);
    if (entry) {
        if (entry->expiring) {
            metrics_add(self->metrics, METRIC_LEASES_EXPIRED, 1);
        }
        lease_table_remove(&self->table, entry);
        lease_release_waiting(self, id, out);
    }
}

/* A list of all leases begins or has ended: what is not in it is gone (the store was replaced by another
 * member's). Who is in it keeps his deadline. */
static void begin_list(lease_t *self)
{
    self->listing = true;
    for (size_t i = 0; i < self->table.count; i++) {
        self->table.heap[i]->unlisted = true;
    }
}

static void end_list(lease_t *self, outbox_t *out)
{
    int64_t *gone = xcalloc(self->table.count, sizeof *gone);
    size_t count = 0;
    for (size_t i = 0; self->listing && i < self->table.count; i++) {
        if (self->table.heap[i]->unlisted) {
            gone[count++] = self->table.heap[i]->id;
        }
    }
    for (size_t i = 0; i < count; i++) {
        on_revoked(self, gone[i], out);
    }
    free(gone);
    self->listing = false;
}

static void on_granted(lease_t *self, const lease_change_t *change, uint64_t now_us, outbox_t *out)
{
    lease_entry_t *entry = lease_table_find(&self->table, change->id);
    if (entry && entry->ttl_s != change->ttl_s) {
        on_revoked(self, change->id, out); /* another one, by the same id */
        entry = NULL;
    }
    if (entry) {
        entry->unlisted = false;
    } else {
        lease_table_add(&self->table, change->id, change->ttl_s, end_of(change->ttl_s, now_us));
    }
}

static void on_lease_applied(lease_t *self, const msg_lease_applied_t *applied, uint64_t now_us,
                             outbox_t *out)
{
    if (applied->is_first) {
        begin_list(self);
    }
    for (size_t i = 0; i < applied->count; i++) {
        const lease_change_t *change = &applied->items[i];
        if (change->type == LEASE_REVOKED) {
            on_revoked(self, change->id, out);
        } else {
            on_granted(self, change, now_us, out);
        }
    }
}

/* ---- leadership ---- */

static int by_deadline(const void *a, const void *b)
{
    return lease_entry_compare(*(lease_entry_t *const *)a, *(lease_entry_t *const *)b);
}

static lease_entry_t **sorted_by_deadline(const lease_table_t *table)
{
    lease_entry_t **sorted = xmemdup(table->heap, table->count * sizeof(lease_entry_t *));
    if (table->count) {
        qsort(sorted, table->count, sizeof(lease_entry_t *), by_deadline);
    }
    return sorted;
}

/* Their full time again; what ended first before ends first again among equal TTLs. */
static void refresh(lease_t *self, bool also_expiring, uint64_t now_us)
{
    lease_entry_t **sorted = sorted_by_deadline(&self->table);
    for (size_t i = 0; i < self->table.count; i++) {
        if (also_expiring || !sorted[i]->expiring) {
            sorted[i]->expiring = false;
            lease_table_move(&self->table, sorted[i],
                             end_of(sorted[i]->ttl_s, now_us) + self->cfg.election_timeout_us);
        }
    }
    free(sorted);
}

/* A revocation proposed in an earlier term is either below this term's first entry, and then applied before
 * any question of this term is answered, or it is lost. */
static void on_role(lease_t *self, const msg_role_t *role, uint64_t now_us, outbox_t *out)
{
    if (role->term != self->role.term || role->leader != self->role.leader) {
        lease_return_forwards(self, out);
    }
    self->role = *role;
    uint64_t term = role->role == ROLE_LEADER ? role->term : 0;
    if (term == self->term) {
        return;
    }
    lease_fail_questions(self, out);
    self->term = term;
    self->suspended = false;
    if (term) {
        refresh(self, true, now_us);
        self->next_expiry_us = now_us + EXPIRY_INTERVAL_US;
    }
}

/* ---- pauses ---- */

/* The leader looks often enough to know a pause from a quiet time. */
static uint64_t look_interval_us(const lease_t *self)
{
    uint64_t half_us = self->cfg.election_timeout_us / 2;
    return half_us < EXPIRY_INTERVAL_US ? half_us : EXPIRY_INTERVAL_US;
}

static bool minds_pauses(const lease_t *self)
{
    return self->term && (self->table.count || self->asked.count || self->confirming.count ||
                          self->applying.count || self->suspended);
}

static void mind_pause(lease_t *self, uint64_t now_us, outbox_t *out)
{
    if (!minds_pauses(self) || now_us - self->last_step_us <= self->cfg.election_timeout_us) {
        return;
    }
    outbox_log(out, LEVEL_WARN, "leases: paused for longer than an election timeout",
               "\"pause-us\":%" PRIu64 ",\"term\":%" PRIu64, now_us - self->last_step_us,
               self->term);
    lease_fail_questions(self, out);
    self->suspended = true;
    self->suspended_after = self->last_read;
    self->next_expiry_us = now_us; /* ask at once */
}

/* In doubt, the replicator is asked now and then until it confirms, or a ROLE comes. */
static bool looks_again(lease_t *self, uint64_t now_us)
{
    if (!self->suspended || now_us < self->next_expiry_us) {
        return false;
    }
    self->next_expiry_us = now_us + EXPIRY_INTERVAL_US;
    return true;
}

/* A revocation on its way may still be applied: such a lease doesn't live again. */
void lease_resume(lease_t *self, uint64_t now_us)
{
    self->suspended = false;
    refresh(self, false, now_us);
    self->next_expiry_us = now_us + EXPIRY_INTERVAL_US;
}

/* ---- expiry ---- */

static bytes_t *encode_revoke(int64_t id)
{
    buf_t body = {0};
    buf_t entry = {0};
    buf_field_u64(&body, FIELD_ID, (uint64_t)id);
    buf_field_bytes(&entry, FIELD_LEASE_REVOKE, buf_slice(&body));
    bytes_t *payload = buf_bytes(&entry);
    buf_deinit(&body);
    buf_deinit(&entry);
    return payload;
}

/* Proposed with the term: refused unless this member still leads it (etcd issue 15247). */
static void propose_expired(lease_t *self, uint64_t now_us, outbox_t *out)
{
    msg_t *msg = msg_new(MSG_PROPOSE);
    msg_propose_t *propose = &msg->u.propose;
    propose->expect_term = self->term;
    propose->items = xcalloc(EXPIRY_BATCH_MAX, sizeof *propose->items);
    lease_entry_t *first = NULL;
    while (propose->count < EXPIRY_BATCH_MAX && (first = lease_table_first(&self->table)) &&
           first->deadline_us <= now_us) {
        propose->items[propose->count++].payload = encode_revoke(first->id);
        first->expiring = true;
        lease_table_move(&self->table, first, now_us + REPROPOSE_US);
    }
    if (propose->count) {
        outbox_put(out, ACTOR_REPLICATOR, &msg);
    }
    msg_free(&msg);
}

static void expire(lease_t *self, uint64_t now_us, outbox_t *out)
{
    if (self->term == 0 || self->suspended || now_us < self->next_expiry_us) {
        return;
    }
    self->next_expiry_us = now_us + EXPIRY_INTERVAL_US;
    const lease_entry_t *first = lease_table_first(&self->table);
    if (first && first->deadline_us <= now_us && outbox_room(out, ACTOR_REPLICATOR)) {
        propose_expired(self, now_us, out);
    }
}

/* ---- answers ---- */

static void keep_alive(lease_t *self, const question_t *question, uint64_t now_us, outbox_t *out)
{
    lease_entry_t *entry = lease_table_find(&self->table, question->id);
    if (!entry) {
        lease_answer(self, question, (msg_lease_answer_t){0}, out);
    } else if (entry->expiring || entry->deadline_us <= now_us) {
        lease_queue(self, &self->waiting, question, out);
    } else {
        lease_table_move(&self->table, entry, end_of(entry->ttl_s, now_us));
        metrics_add(self->metrics, METRIC_LEASES_RENEWED, 1);
        lease_answer(self, question,
                     (msg_lease_answer_t){.ttl_s = entry->ttl_s, .granted_ttl_s = entry->ttl_s},
                     out);
    }
}

static void time_to_live(lease_t *self, const question_t *question, uint64_t now_us, outbox_t *out)
{
    msg_lease_answer_t fields = {.ttl_s = -1};
    const lease_entry_t *entry = lease_table_find(&self->table, question->id);
    if (entry) {
        bool over = entry->expiring || entry->deadline_us <= now_us;
        fields.granted_ttl_s = entry->ttl_s;
        fields.ttl_s = over ? 0 : (int64_t)((entry->deadline_us - now_us) / 1000000u);
    }
    lease_answer(self, question, fields, out);
}

static void list(lease_t *self, const question_t *question, outbox_t *out)
{
    size_t count = self->table.count;
    msg_lease_answer_t fields = {.ids = xcalloc(count, sizeof(int64_t)), .id_count = count};
    lease_entry_t **sorted = sorted_by_deadline(&self->table);
    for (size_t i = 0; i < count; i++) {
        fields.ids[i] = sorted[i]->id;
    }
    free(sorted);
    lease_answer(self, question, fields, out);
}

void lease_answer_now(lease_t *self, const question_t *question, uint64_t now_us, outbox_t *out)
{
    switch (question->op) {
    case LEASE_OP_KEEPALIVE: keep_alive(self, question, now_us, out); break;
    case LEASE_OP_TIME_TO_LIVE: time_to_live(self, question, now_us, out); break;
    case LEASE_OP_LIST: list(self, question, out); break;
    default: assert(!"an unknown lease operation");
    }
}

void lease_answer(lease_t *self, const question_t *question, msg_lease_answer_t answer,
                  outbox_t *out)
{
    if (question->from == ACTOR_PEER) {
        lease_reply(self, question, &answer, out);
        return;
    }
    msg_t *msg = msg_new(MSG_LEASE_ANSWER);
    answer.req_id = question->req_id;
    answer.op = question->op;
    answer.id = question->id;
    msg->u.lease_answer = answer;
    outbox_put(out, question->from, &msg);
}

/* ---- the core ---- */

static void on_applied(lease_t *self, uint64_t index, uint64_t now_us, outbox_t *out)
{
    self->applied_index = index;
    lease_release_applied(self, now_us, out);
}

static void handle(lease_t *self, const msg_t *msg, uint64_t now_us, outbox_t *out)
{
    switch (msg->kind) {
    case MSG_LEASE_APPLIED: on_lease_applied(self, &msg->u.lease_applied, now_us, out); break;
    case MSG_ROLE: on_role(self, &msg->u.role, now_us, out); break;
    case MSG_LEASE_ASK: lease_on_ask(self, msg, now_us, out); break;
    case MSG_PEER: lease_on_peer(self, &msg->u.peer, out); break;
    case MSG_READ_AT: lease_on_read_at(self, &msg->u.read, now_us, out); break;
    case MSG_READ_FAIL: lease_on_read_fail(self, &msg->u.read, out); break;
    case MSG_REJECTED:
    case MSG_UNKNOWN: break; /* the lease stays due; REPROPOSE_US brings it up again */
    case MSG_APPLIED:
        self->is_awaiting = false;
        on_applied(self, msg->u.applied.index, now_us, out);
        break;
    case MSG_RESTORED:
        end_list(self, out);
        on_applied(self, msg->u.restored.index, now_us, out);
        break;
    case MSG_STOP: outbox_stopped(out); break;
    default: assert(!"a message that the wiring table does not send to lease");
    }
}

static void lease_step(void *context, const step_in_t *in, outbox_t *out)
{
    lease_t *self = context;
    mind_pause(self, in->now_us, out);
    if (in->msg) {
        handle(self, in->msg, in->now_us, out);
    } else {
        expire(self, in->now_us, out);
        lease_mind_forwards(self, in->now_us, out);
        lease_ask_read(self, looks_again(self, in->now_us), out);
        lease_await(self, out);
    }
    self->last_step_us = in->now_us;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t lease_deadline(const void *context)
{
    const lease_t *self = context;
    uint64_t due_us = lease_forward_deadline(self);
    if (!minds_pauses(self)) {
        return due_us;
    }
    due_us = min_u64(due_us, self->last_step_us + look_interval_us(self));
    const lease_entry_t *first = lease_table_first(&self->table);
    if (self->suspended || (first && first->deadline_us <= self->next_expiry_us)) {
        return min_u64(due_us, self->next_expiry_us);
    }
    return first ? min_u64(due_us, first->deadline_us) : due_us;
}

const core_ops_t lease_ops = {
    .step = lease_step,
    .deadline = lease_deadline,
    .destroy = lease_destroy,
};
