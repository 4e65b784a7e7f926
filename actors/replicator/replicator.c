/* Invariants (asserted where they could break):
 * 1. fence and open only grow; open <= fence. Entries are appended only while lead == fence == open.
 * 2. durable only moves by a LOG_DURABLE that names the record (never by index alone).
 * 3. commit only grows, and by counting only for entries of the term that is led (Raft section 5.4.2).
 * 4. The applier gets entries up to min(commit, durable), each once, in order. */
#include "actors/replicator/replicator.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "actors/replicator/raft_log.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

/* A record on its way to the disk. */
typedef struct {
    uint64_t lsn, last_index, sent_us;
} inflight_t;

/* A proposal in the log whose fate is open: who must hear if leadership ends first. */
typedef struct {
    uint64_t index, req_id;
    actor_id_t from;
} pending_t;

/* First in, first out; the array moves down when half of it is used up. */
typedef struct {
    pending_t *items;
    size_t head, count, capacity;
} pending_queue_t;

typedef struct {
    uint64_t read_id;
    actor_id_t from;
} waiting_read_t;

struct replicator {
    replicator_cfg_t cfg;
    metrics_t *metrics;
    raft_log_t log;
    configuration_t configuration; /* decoded top of the log's stack */
    uint64_t fence, open, lead;    /* lead: the term this member leads, 0 = none */
    uint64_t lead_first;           /* index of the no-op that began it */
    uint64_t written;              /* last index handed to the WAL writer */
    uint64_t durable, commit, delivered, applied;
    uint64_t lsn;
    inflight_t *inflight;
    size_t inflight_count, inflight_capacity;
    pending_queue_t pending;
    size_t unapplied_bytes; /* of proposals accepted and not yet applied: refused above the limit */
    waiting_read_t *reads;
    size_t read_count, read_capacity;
    bool stalled;
};

/* ---- life ---- */

static void adopt_configuration(replicator_t *self)
{
    const raft_log_configuration_t *newest = raft_log_configuration(&self->log);
    int rc = configuration_decode(&self->configuration, bytes_slice(newest->encoded));
    assert(rc == 0); /* validated before it was appended, or when the log was read */
    (void)rc;
}

replicator_t *replicator_new(const replicator_cfg_t *cfg, metrics_t *metrics)
{
    assert(cfg->member_id != 0);
    replicator_t *self = xcalloc(1, sizeof *self);
    self->cfg = *cfg;
    self->metrics = metrics;
    raft_log_init(&self->log, cfg->base_index, cfg->base_term, cfg->configuration_index,
                  cfg->configuration);
    for (size_t i = 0; i < cfg->entries->count; i++) {
        raft_log_append(&self->log, &cfg->entries->items[i]);
    }
    adopt_configuration(self);
    self->fence = cfg->term;
    self->open = cfg->term;
    self->durable = raft_log_last_index(&self->log);
    self->written = self->durable;
    /* What the store has applied was committed, though the log may not have been told yet. */
    self->commit = cfg->commit > cfg->applied ? cfg->commit : cfg->applied;
    self->applied = cfg->applied;
    self->delivered = cfg->applied;
    self->lsn = cfg->last_lsn;
    assert(self->commit <= self->durable);
    self->cfg.entries = NULL;
    self->cfg.configuration = NULL;
    return self;
}

static void replicator_destroy(void **self_p)
{
    replicator_t *self = *self_p;
    *self_p = NULL;
    if (self) {
        raft_log_deinit(&self->log);
        configuration_deinit(&self->configuration);
        free(self->inflight);
        free(self->pending.items);
        free(self->reads);
        free(self);
    }
}

/* ---- answers ---- */

static void refuse(const msg_t *propose, api_error_t error, metrics_t *metrics, outbox_t *out)
{
    msg_t *msg = msg_new(MSG_REJECTED);
    msg->u.refusal.error = error;
    msg->u.refusal.count = propose->u.propose.count;
    msg->u.refusal.req_ids = xcalloc(propose->u.propose.count, sizeof(uint64_t));
    for (size_t i = 0; i < propose->u.propose.count; i++) {
        msg->u.refusal.req_ids[i] = propose->u.propose.items[i].req_id;
    }
    metrics_add(metrics, METRIC_PROPOSALS_FAILED, propose->u.propose.count);
    outbox_put(out, propose->from, &msg);
}

static void answer_read(const waiting_read_t *read, msg_kind_t kind, uint64_t index,
                        api_error_t error, outbox_t *out)
{
    msg_t *msg = msg_new(kind);
    msg->u.read = (msg_read_t){.read_id = read->read_id, .index = index, .error = error};
    outbox_put(out, read->from, &msg);
}

/* ---- terms ---- */

static void send_position(replicator_t *self, msg_kind_t kind, const msg_fence_t *question,
                          outbox_t *out)
{
    const raft_log_configuration_t *newest = raft_log_configuration(&self->log);
    msg_t *msg = msg_new(kind);
    msg->u.position = (msg_position_t){
        .seq = question->seq,
        .term = question->term,
        .last_term = raft_log_last_term(&self->log),
        .last_index = raft_log_last_index(&self->log),
        .configuration = bytes_ref(newest->encoded),
        .configuration_index = newest->index,
    };
    outbox_put(out, ACTOR_ELECTION, &msg);
}

/* One answer per proposal whose fate is open: it may still be committed, nobody here will say so. */
static void give_up_pending(replicator_t *self, outbox_t *out)
{
    for (size_t i = 0; i < self->pending.count; i++) {
        const pending_t *proposal = &self->pending.items[self->pending.head + i];
        msg_t *msg = msg_new(MSG_UNKNOWN);
        msg->u.refusal.error = API_LEADER_CHANGED;
        msg->u.refusal.count = 1;
        msg->u.refusal.req_ids = xcalloc(1, sizeof(uint64_t));
        msg->u.refusal.req_ids[0] = proposal->req_id;
        outbox_put(out, proposal->from, &msg);
    }
    self->pending.count = 0;
    self->pending.head = 0;
}

static void stop_leading(replicator_t *self, outbox_t *out)
{
    if (self->lead == 0) {
        return;
    }
    self->lead = 0;
    give_up_pending(self, out);
    for (size_t i = 0; i < self->read_count; i++) {
        answer_read(&self->reads[i], MSG_READ_FAIL, 0, API_LEADER_CHANGED, out);
    }
    self->read_count = 0;
}

/* FENCED is the linearization point of a term change: from here on nothing of a lower term is taken. */
static void on_fence(replicator_t *self, const msg_fence_t *fence, outbox_t *out)
{
    if (fence->term > self->fence) {
        self->fence = fence->term;
    }
    if (self->fence > self->lead) {
        stop_leading(self, out);
    }
    send_position(self, MSG_FENCED, fence, out);
}

static void on_open(replicator_t *self, uint64_t term)
{
    if (term == self->fence) {
        self->open = term;
    }
}

static void append(replicator_t *self, entry_type_t type, const bytes_t *payload)
{
    assert(self->lead != 0 && self->lead == self->fence && self->open == self->fence);
    entry_t entry = {
        .index = raft_log_last_index(&self->log) + 1,
        .term = self->lead,
        .type = type,
        .payload = (bytes_t *)(uintptr_t)payload, /* the log takes a reference, it does not write */
    };
    raft_log_append(&self->log, &entry);
}

static void on_lead(replicator_t *self, uint64_t term)
{
    if (term != self->fence || term != self->open || self->lead == term) {
        return; /* overtaken by a newer fence */
    }
    self->lead = term;
    self->lead_first = raft_log_last_index(&self->log) + 1;
    append(self, ENTRY_NORMAL, NULL); /* the no-op that commits what earlier terms left */
}

/* ---- proposals ---- */

static void remember_pending(replicator_t *self, actor_id_t from, uint64_t req_id)
{
    pending_queue_t *queue = &self->pending;
    if (queue->head > 1024 && queue->head > queue->capacity / 2) {
        memmove(queue->items, queue->items + queue->head, queue->count * sizeof *queue->items);
        queue->head = 0;
    }
    queue->items =
        xgrow(queue->items, &queue->capacity, queue->head + queue->count + 1, sizeof *queue->items);
    queue->items[queue->head + queue->count++] =
        (pending_t){.index = raft_log_last_index(&self->log), .req_id = req_id, .from = from};
}

static api_error_t why_refuse(const replicator_t *self, const msg_propose_t *propose)
{
    if (self->lead == 0) {
        return propose->expect_term ? API_NOT_LEADER : API_NO_LEADER;
    }
    if (propose->expect_term && propose->expect_term != self->lead) {
        return API_NOT_LEADER;
    }
    bool behind =
        self->commit > self->applied && self->commit - self->applied > LIMIT_APPLY_BACKLOG;
    if (behind || self->unapplied_bytes > LIMIT_INFLIGHT_BYTES) {
        return API_TOO_MANY_REQUESTS;
    }
    return API_NONE;
}

static void on_propose(replicator_t *self, const msg_t *msg, outbox_t *out)
{
    const msg_propose_t *propose = &msg->u.propose;
    api_error_t error = why_refuse(self, propose);
    if (error) {
        refuse(msg, error, self->metrics, out);
        return;
    }
    for (size_t i = 0; i < propose->count; i++) {
        append(self, ENTRY_NORMAL, propose->items[i].payload);
        self->unapplied_bytes += bytes_len(propose->items[i].payload);
        remember_pending(self, msg->from, propose->items[i].req_id);
    }
}

/* ---- disk ---- */

static void send_append_log(replicator_t *self, uint64_t now_us, outbox_t *out)
{
    msg_t *msg = msg_new(MSG_APPEND_LOG);
    msg_append_log_t *record = &msg->u.append_log;
    record->lsn = ++self->lsn;
    record->first = self->written + 1;
    record->commit = self->commit;
    uint64_t last = raft_log_last_index(&self->log);
    while (self->written < last && record->entries.count < LIMIT_APPEND_ENTRIES &&
           record->entries.bytes < LIMIT_APPEND_BYTES) {
        entries_append(&record->entries, raft_log_at(&self->log, ++self->written));
    }
    self->inflight = xgrow(self->inflight, &self->inflight_capacity, self->inflight_count + 1,
                           sizeof *self->inflight);
    self->inflight[self->inflight_count++] =
        (inflight_t){.lsn = record->lsn, .last_index = self->written, .sent_us = now_us};
    outbox_put(out, ACTOR_WAL_WRITER, &msg);
}

static void write_log(replicator_t *self, uint64_t now_us, outbox_t *out)
{
    while (self->written < raft_log_last_index(&self->log) && outbox_room(out, ACTOR_WAL_WRITER)) {
        send_append_log(self, now_us, out);
    }
}

/* The leader's own copy is one acknowledgement among the voters'; alone it is the quorum. */
static void advance_commit(replicator_t *self)
{
    if (self->lead == 0 || self->open != self->fence) {
        return;
    }
    size_t holders = configuration_is_voter(&self->configuration, self->cfg.member_id);
    bool own_term = self->durable >= self->lead_first;
    if (own_term && holders >= configuration_quorum(&self->configuration) &&
        self->durable > self->commit) {
        self->commit = self->durable;
        metrics_set(self->metrics, METRIC_PROPOSALS_COMMITTED, self->commit);
    }
}

static void on_log_durable(replicator_t *self, const msg_log_durable_t *notice, outbox_t *out)
{
    size_t done = 0;
    while (done < self->inflight_count && self->inflight[done].lsn <= notice->lsn) {
        assert(self->inflight[done].last_index >= self->durable);
        self->durable = self->inflight[done++].last_index;
    }
    self->inflight_count -= done;
    memmove(self->inflight, self->inflight + done, self->inflight_count * sizeof *self->inflight);
    if (self->stalled) {
        self->stalled = false;
        msg_t *msg = msg_new(MSG_DISK_OK);
        outbox_put(out, ACTOR_ELECTION, &msg);
    }
    advance_commit(self);
}

static void check_stall(replicator_t *self, uint64_t now_us, outbox_t *out)
{
    if (self->stalled || self->inflight_count == 0) {
        return;
    }
    uint64_t age_us = now_us - self->inflight[0].sent_us;
    if (age_us >= self->cfg.election_timeout_us) {
        self->stalled = true;
        msg_t *msg = msg_new(MSG_DISK_STALL);
        msg->u.stall.age_us = age_us;
        outbox_put(out, ACTOR_ELECTION, &msg);
        outbox_log(out, LEVEL_WARN, "the log's disk is slow", "\"oldest-write-age-us\":%" PRIu64,
                   age_us);
    }
}

/* ---- towards the store ---- */

static void settle_pending(replicator_t *self, uint64_t index)
{
    pending_queue_t *queue = &self->pending;
    while (queue->count && queue->items[queue->head].index <= index) {
        queue->head++;
        queue->count--;
    }
    if (queue->count == 0) {
        queue->head = 0;
    }
}

static void deliver(replicator_t *self, outbox_t *out)
{
    uint64_t last = self->commit < self->durable ? self->commit : self->durable;
    while (self->delivered < last && outbox_room(out, ACTOR_APPLIER)) {
        msg_t *msg = msg_new(MSG_COMMITTED);
        entries_t *entries = &msg->u.committed.entries;
        while (self->delivered < last && entries->count < LIMIT_SPAN_ENTRIES &&
               entries->bytes < LIMIT_SPAN_BYTES) {
            entries_append(entries, raft_log_at(&self->log, ++self->delivered));
        }
        msg->u.committed.commit = self->commit;
        settle_pending(self, self->delivered);
        outbox_put(out, ACTOR_APPLIER, &msg);
    }
}

/* Keeps what slow followers may still need, within the bound on memory. */
static void trim(replicator_t *self)
{
    uint64_t keep = self->cfg.catchup_entries;
    uint64_t until = self->applied > keep ? self->applied - keep : 0;
    if (self->log.base_index < until) {
        raft_log_drop_until(&self->log, until);
    }
    while (self->log.bytes > LIMIT_LOG_BYTES && self->log.base_index < self->applied) {
        raft_log_drop_until(&self->log, self->log.base_index + 1);
    }
}

static void on_applied(replicator_t *self, const msg_applied_t *applied)
{
    assert(applied->index >= self->applied && applied->index <= self->delivered);
    for (uint64_t index = self->applied + 1; index <= applied->index; index++) {
        const entry_t *entry = raft_log_at(&self->log, index);
        size_t bytes = entry ? bytes_len(entry->payload) : 0;
        self->unapplied_bytes -= bytes < self->unapplied_bytes ? bytes : self->unapplied_bytes;
    }
    self->applied = applied->index;
    trim(self);
}

/* ---- reads ---- */

static void on_read(replicator_t *self, const msg_t *msg, outbox_t *out)
{
    waiting_read_t read = {.read_id = msg->u.read.read_id, .from = msg->from};
    uint64_t expect_term = msg->u.read.expect_term;
    if (self->lead == 0 || (expect_term && expect_term != self->lead)) {
        answer_read(&read, MSG_READ_FAIL, 0, expect_term ? API_NOT_LEADER : API_NO_LEADER, out);
        return;
    }
    self->reads =
        xgrow(self->reads, &self->read_capacity, self->read_count + 1, sizeof *self->reads);
    self->reads[self->read_count++] = read;
}

/* A read index is valid once an entry of this very term is committed (a new leader does not know
 * yet how far its predecessors committed) and a quorum has confirmed the leadership after the read
 * arrived. Alone, this member is that quorum. */
static void confirm_reads(replicator_t *self, outbox_t *out)
{
    bool confirmed = self->lead != 0 && self->commit >= self->lead_first &&
                     configuration_quorum(&self->configuration) == 1 &&
                     configuration_is_voter(&self->configuration, self->cfg.member_id);
    if (!confirmed) {
        return;
    }
    for (size_t i = 0; i < self->read_count; i++) {
        answer_read(&self->reads[i], MSG_READ_AT, self->commit, API_NONE, out);
    }
    self->read_count = 0;
}

/* ---- the core ---- */

static void end_of_burst(replicator_t *self, uint64_t now_us, outbox_t *out)
{
    write_log(self, now_us, out);
    deliver(self, out);
    confirm_reads(self, out);
    check_stall(self, now_us, out);
    metrics_set(self->metrics, METRIC_PROPOSALS_PENDING, self->pending.count);
}

static void replicator_step(void *context, const step_in_t *in, outbox_t *out)
{
    replicator_t *self = context;
    msg_t *msg = in->msg;
    if (!msg) {
        end_of_burst(self, in->now_us, out);
        return;
    }
    switch (msg->kind) {
    case MSG_PROPOSE: on_propose(self, msg, out); break;
    case MSG_READ: on_read(self, msg, out); break;
    case MSG_LOG_DURABLE: on_log_durable(self, &msg->u.log_durable, out); break;
    case MSG_APPLIED: on_applied(self, &msg->u.applied); break;
    case MSG_FENCE: on_fence(self, &msg->u.fence, out); break;
    case MSG_QUERY_POS: send_position(self, MSG_POS, &msg->u.fence, out); break;
    case MSG_OPEN: on_open(self, msg->u.term.term); break;
    case MSG_LEAD: on_lead(self, msg->u.term.term); break;
    case MSG_STEP_DOWN:
        if (msg->u.term.term == self->lead) {
            stop_leading(self, out);
        }
        break;
    case MSG_STOP: outbox_stopped(out); break;
    default: assert(!"a message that the wiring table does not send to replicator");
    }
}

static uint64_t replicator_deadline(const void *context)
{
    const replicator_t *self = context;
    if (self->stalled || self->inflight_count == 0) {
        return DEADLINE_NONE;
    }
    return self->inflight[0].sent_us + self->cfg.election_timeout_us;
}

const core_ops_t replicator_ops = {
    .step = replicator_step,
    .deadline = replicator_deadline,
    .destroy = replicator_destroy,
};
