/* Proposals, and who waits for what becomes of them. */
#include <assert.h>

#include "actors/replicator/replicator_state.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

static void refuse(replicator_t *self, const msg_t *propose, api_error_t error, outbox_t *out)
{
    msg_t *msg = msg_new(MSG_REJECTED);
    msg->u.refusal.error = error;
    msg->u.refusal.count = propose->u.propose.count;
    msg->u.refusal.req_ids = xcalloc(propose->u.propose.count, sizeof(uint64_t));
    for (size_t i = 0; i < propose->u.propose.count; i++) {
        msg->u.refusal.req_ids[i] = propose->u.propose.items[i].req_id;
    }
    metrics_add(self->metrics, METRIC_PROPOSALS_FAILED, propose->u.propose.count);
    outbox_put(out, propose->from, &msg);
}

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

void replicator_settle_pending(replicator_t *self)
{
    pending_queue_t *queue = &self->pending;
    while (queue->count && queue->items[queue->head].index <= self->delivered) {
        queue->head++;
        queue->count--;
    }
    if (queue->count == 0) {
        queue->head = 0;
    }
}

/* One answer per proposal whose fate is open: it may still be committed, nobody here will say so. */
void replicator_give_up_pending(replicator_t *self, outbox_t *out)
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

void replicator_on_propose(replicator_t *self, const msg_t *msg, outbox_t *out)
{
    const msg_propose_t *propose = &msg->u.propose;
    api_error_t error = why_refuse(self, propose);
    if (error) {
        refuse(self, msg, error, out);
        return;
    }
    assert(self->lead == self->fence);
    for (size_t i = 0; i < propose->count; i++) {
        entry_t entry = {.index = raft_log_last_index(&self->log) + 1,
                         .term = self->lead,
                         .type = ENTRY_NORMAL,
                         .payload = propose->items[i].payload};
        replicator_append(self, &entry);
        remember_pending(self, msg->from, propose->items[i].req_id);
    }
}
