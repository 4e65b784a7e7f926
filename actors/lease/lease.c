/* Invariants:
 * 1. Only a leader proposes an expiry, and only for its own term.
 * 2. A lease never ends before its TTL has passed since the grant or the last keepalive answered.
 * 3. A question is answered only when everything its gateway has seen applied has come in here too:
 *    grants and questions travel different ways (architecture section 4, Watch, has the same rule).
 * 4. A keepalive of a lease that is being revoked waits for the outcome (contract section 5). */
#include "actors/lease/lease.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "actors/lease/lease_table.h"
#include "messages/buf.h"
#include "messages/xalloc.h"

enum {
    EXPIRY_INTERVAL_US = 500000, /* how often the leader looks, as etcd */
    EXPIRY_BATCH_MAX = 500,      /* per look: a thousand a second, as etcd */
    REPROPOSE_US = 5000000,      /* a revoke that was not applied by then is proposed again */
    WAITING_MAX = 100000,        /* keepalives waiting for a revoke's outcome */
    FIELD_LEASE_REVOKE = 9,      /* InternalRaftRequest.lease_revoke */
    FIELD_ID = 1,
};

typedef struct {
    msg_lease_ask_t ask;
    actor_id_t from;
} waiting_t;

struct lease {
    lease_cfg_t cfg;
    metrics_t *metrics;
    lease_table_t table;
    uint64_t term; /* that this member leads; 0 = not the leader */
    uint64_t next_expiry_us;
    uint64_t applied_index;
    bool listing;       /* a list of all leases is coming in; RESTORED ends it */
    waiting_t *waiting; /* for the outcome of a revoke */
    size_t waiting_count, waiting_capacity;
    waiting_t *early; /* questions ahead of what has come in from the applier, in order */
    size_t early_count, early_capacity;
};

lease_t *lease_new(const lease_cfg_t *cfg, metrics_t *metrics)
{
    lease_t *self = xcalloc(1, sizeof *self);
    self->cfg = *cfg;
    self->metrics = metrics;
    return self;
}

static void lease_destroy(void **self_p)
{
    lease_t *self = *self_p;
    *self_p = NULL;
    if (self) {
        lease_table_deinit(&self->table);
        free(self->waiting);
        free(self->early);
        free(self);
    }
}

static uint64_t end_of(int64_t ttl_s, uint64_t now_us)
{
    return now_us +
           (uint64_t)ttl_s * 1000000u; /* TTLs are at most 9e9 s: no overflow for 292,000 years */
}

/* ---- what the log says ---- */

static void answer(const waiting_t *to, msg_lease_answer_t fields, outbox_t *out)
{
    msg_t *msg = msg_new(MSG_LEASE_ANSWER);
    fields.req_id = to->ask.req_id;
    fields.op = to->ask.op;
    msg->u.lease_answer = fields;
    outbox_put(out, to->from, &msg);
}

static void release_waiting(lease_t *self, int64_t id, outbox_t *out)
{
    size_t kept = 0;
    for (size_t i = 0; i < self->waiting_count; i++) {
        if (self->waiting[i].ask.id == id) {
            answer(&self->waiting[i], (msg_lease_answer_t){.id = id}, out);
        } else {
            self->waiting[kept++] = self->waiting[i];
        }
    }
    self->waiting_count = kept;
}

static void on_revoked(lease_t *self, int64_t id, outbox_t *out)
{
    lease_entry_t *entry = lease_table_find(&self->table, id);
    if (entry) {
        if (entry->expiring) {
            metrics_add(self->metrics, METRIC_LEASES_EXPIRED, 1);
        }
        lease_table_remove(&self->table, entry);
        release_waiting(self, id, out);
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
        on_revoked(self, change->id,
                   out); /* another one by the same id: we have not seen its end */
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

static void refresh_all(lease_t *self, uint64_t now_us)
{
    lease_table_t old = self->table;
    self->table = (lease_table_t){0};
    if (old.count) { /* what ended first before ends first again among equal TTLs */
        qsort(old.heap, old.count, sizeof(lease_entry_t *), by_deadline);
    }
    for (size_t i = 0; i < old.count; i++) {
        lease_table_add(&self->table, old.heap[i]->id, old.heap[i]->ttl_s,
                        end_of(old.heap[i]->ttl_s, now_us) + self->cfg.extend_us);
    }
    lease_table_deinit(&old);
}

static void on_role(lease_t *self, const msg_role_t *role, uint64_t now_us, outbox_t *out)
{
    uint64_t term = role->role == ROLE_LEADER ? role->term : 0;
    if (term == self->term) {
        return;
    }
    self->term = term;
    if (term) {
        refresh_all(self, now_us);
        self->next_expiry_us = now_us + EXPIRY_INTERVAL_US;
        return;
    }
    for (size_t i = 0; i < self->waiting_count; i++) {
        answer(&self->waiting[i],
               (msg_lease_answer_t){.id = self->waiting[i].ask.id, .error = API_LEADER_CHANGED},
               out);
    }
    self->waiting_count = 0;
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

static void on_tick(lease_t *self, uint64_t now_us, outbox_t *out)
{
    if (self->term == 0 || now_us < self->next_expiry_us) {
        return;
    }
    self->next_expiry_us = now_us + EXPIRY_INTERVAL_US;
    const lease_entry_t *first = lease_table_first(&self->table);
    if (first && first->deadline_us <= now_us && outbox_room(out, ACTOR_REPLICATOR)) {
        propose_expired(self, now_us, out);
    }
}

/* ---- questions ---- */

static void keep_alive(lease_t *self, const waiting_t *ask, uint64_t now_us, outbox_t *out)
{
    int64_t id = ask->ask.id;
    lease_entry_t *entry = lease_table_find(&self->table, id);
    if (!entry) {
        answer(ask, (msg_lease_answer_t){.id = id}, out);
        return;
    }
    if (entry->expiring || entry->deadline_us <= now_us) {
        if (self->waiting_count == WAITING_MAX) {
            answer(ask, (msg_lease_answer_t){.id = id, .error = API_TOO_MANY_REQUESTS}, out);
            return;
        }
        self->waiting = xgrow(self->waiting, &self->waiting_capacity, self->waiting_count + 1,
                              sizeof *self->waiting);
        self->waiting[self->waiting_count++] = *ask;
        return;
    }
    lease_table_move(&self->table, entry, end_of(entry->ttl_s, now_us));
    metrics_add(self->metrics, METRIC_LEASES_RENEWED, 1);
    answer(ask,
           (msg_lease_answer_t){.id = id, .ttl_s = entry->ttl_s, .granted_ttl_s = entry->ttl_s},
           out);
}

static void time_to_live(lease_t *self, const waiting_t *ask, uint64_t now_us, outbox_t *out)
{
    msg_lease_answer_t fields = {.id = ask->ask.id, .ttl_s = -1};
    const lease_entry_t *entry = lease_table_find(&self->table, ask->ask.id);
    if (entry) {
        bool over = entry->expiring || entry->deadline_us <= now_us;
        fields.granted_ttl_s = entry->ttl_s;
        fields.ttl_s = over ? 0 : (int64_t)((entry->deadline_us - now_us) / 1000000u);
    }
    answer(ask, fields, out);
}

static void list(lease_t *self, const waiting_t *ask, outbox_t *out)
{
    size_t count = self->table.count;
    msg_lease_answer_t fields = {.ids = xcalloc(count, sizeof(int64_t)), .id_count = count};
    if (count) {
        lease_entry_t **sorted = xmemdup(self->table.heap, count * sizeof(lease_entry_t *));
        qsort(sorted, count, sizeof(lease_entry_t *), by_deadline);
        for (size_t i = 0; i < count; i++) {
            fields.ids[i] = sorted[i]->id;
        }
        free(sorted);
    }
    answer(ask, fields, out);
}

static void answer_now(lease_t *self, const waiting_t *ask, uint64_t now_us, outbox_t *out)
{
    if (self->term == 0) {
        answer(ask, (msg_lease_answer_t){.id = ask->ask.id, .error = API_NO_LEADER}, out);
        return;
    }
    switch (ask->ask.op) {
    case LEASE_OP_KEEPALIVE: keep_alive(self, ask, now_us, out); break;
    case LEASE_OP_TIME_TO_LIVE: time_to_live(self, ask, now_us, out); break;
    case LEASE_OP_LIST: list(self, ask, out); break;
    default: assert(!"an unknown lease operation");
    }
}

static void on_ask(lease_t *self, const msg_t *msg, uint64_t now_us, outbox_t *out)
{
    waiting_t ask = {.ask = msg->u.lease_ask, .from = msg->from};
    if (self->early_count == 0 && !self->listing && ask.ask.applied_index <= self->applied_index) {
        answer_now(self, &ask, now_us, out);
        return;
    }
    if (self->early_count == WAITING_MAX) {
        answer(&ask, (msg_lease_answer_t){.id = ask.ask.id, .error = API_TOO_MANY_REQUESTS}, out);
        return;
    }
    self->early =
        xgrow(self->early, &self->early_capacity, self->early_count + 1, sizeof *self->early);
    self->early[self->early_count++] = ask;
}

static void on_applied(lease_t *self, uint64_t index, uint64_t now_us, outbox_t *out)
{
    self->applied_index = index;
    size_t ready = 0;
    while (ready < self->early_count && self->early[ready].ask.applied_index <= index) {
        answer_now(self, &self->early[ready++], now_us, out);
    }
    self->early_count -= ready;
    if (ready) {
        memmove(self->early, self->early + ready, self->early_count * sizeof *self->early);
    }
}

/* ---- the core ---- */

static void lease_step(void *context, const step_in_t *in, outbox_t *out)
{
    lease_t *self = context;
    if (!in->msg) {
        on_tick(self, in->now_us, out);
        return;
    }
    switch (in->msg->kind) {
    case MSG_LEASE_APPLIED:
        on_lease_applied(self, &in->msg->u.lease_applied, in->now_us, out);
        break;
    case MSG_ROLE: on_role(self, &in->msg->u.role, in->now_us, out); break;
    case MSG_LEASE_ASK: on_ask(self, in->msg, in->now_us, out); break;
    case MSG_REJECTED:
    case MSG_UNKNOWN: break; /* the lease stays due; REPROPOSE_US brings it up again */
    case MSG_APPLIED: on_applied(self, in->msg->u.applied.index, in->now_us, out); break;
    case MSG_RESTORED:
        end_list(self, out);
        on_applied(self, in->msg->u.restored.index, in->now_us, out);
        break;
    case MSG_STOP: outbox_stopped(out); break;
    default: assert(!"a message that the wiring table does not send to lease");
    }
}

static uint64_t lease_deadline(const void *context)
{
    const lease_t *self = context;
    const lease_entry_t *first = lease_table_first(&self->table);
    if (self->term == 0 || !first) {
        return DEADLINE_NONE;
    }
    return first->deadline_us > self->next_expiry_us ? first->deadline_us : self->next_expiry_us;
}

const core_ops_t lease_ops = {
    .step = lease_step,
    .deadline = lease_deadline,
    .destroy = lease_destroy,
};
