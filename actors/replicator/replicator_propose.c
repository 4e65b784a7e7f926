/* Proposals, and who waits for what becomes of them. */
#include <assert.h>
#include <stdlib.h>

#include "actors/replicator/replicator_state.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

/* ---- who waits ---- */

void replicator_push_pending(pending_queue_t *queue, const pending_t *proposal)
{
    if (queue->head > 1024 && queue->head > queue->capacity / 2) {
        memmove(queue->items, queue->items + queue->head, queue->count * sizeof *queue->items);
        queue->head = 0;
    }
    queue->items =
        xgrow(queue->items, &queue->capacity, queue->head + queue->count + 1, sizeof *queue->items);
    queue->items[queue->head + queue->count++] = *proposal;
}

size_t replicator_settle(pending_queue_t *queue, uint64_t delivered)
{
    size_t bytes = 0;
    while (queue->count) {
        const pending_t *first = &queue->items[queue->head];
        bool is_settled = first->index != 0 && first->index <= delivered;
        if (!is_settled && first->from != ACTOR_NONE) {
            break;
        }
        bytes += first->bytes;
        queue->head++;
        queue->count--;
        queue->indexed -= queue->indexed ? 1 : 0;
    }
    if (queue->count == 0) {
        queue->head = 0;
    }
    return bytes;
}

void replicator_tell_fate(msg_kind_t kind, const pending_t *items, size_t count, api_error_t error,
                          outbox_t *out)
{
    for (actor_id_t to = ACTOR_NONE + 1; to < ACTOR_COUNT; to++) {
        uint64_t *req_ids = NULL;
        size_t found = 0;
        for (size_t i = 0; i < count; i++) {
            if (items[i].from == to) {
                req_ids = req_ids ? req_ids : xcalloc(count, sizeof *req_ids);
                req_ids[found++] = items[i].req_id;
            }
        }
        if (found) {
            msg_t *msg = msg_new(kind);
            msg->u.refusal = (msg_refusal_t){.req_ids = req_ids, .count = found, .error = error};
            outbox_put(out, to, &msg);
        }
    }
}

void replicator_give_up(pending_queue_t *queue, outbox_t *out)
{
    if (queue->count) {
        replicator_tell_fate(MSG_UNKNOWN, queue->items + queue->head, queue->count,
                             API_LEADER_CHANGED, out);
    }
    queue->head = 0;
    queue->count = 0;
    queue->indexed = 0;
}

/* ---- what comes in ---- */

static void refuse_forward(const replicator_t *self, const batch_t *batch, api_error_t error,
                           outbox_t *out)
{
    peer_msg_t *answer = peer_msg_new(PEER_PROPOSE_REJ, self->open);
    answer->u.propose_reply = (peer_propose_reply_t){.id = batch->id, .error = error};
    replicator_say(batch->member, &answer, out);
}

void replicator_refuse(replicator_t *self, batch_t *batch, api_error_t error, outbox_t *out)
{
    if (batch->from == ACTOR_PEER) {
        refuse_forward(self, batch, error, out);
    } else {
        msg_t *msg = msg_new(MSG_REJECTED);
        msg->u.refusal.error = error;
        msg->u.refusal.count = batch->count;
        msg->u.refusal.req_ids = xcalloc(batch->count, sizeof(uint64_t));
        for (size_t i = 0; i < batch->count; i++) {
            msg->u.refusal.req_ids[i] = batch->items[i].req_id;
        }
        outbox_put(out, batch->from, &msg);
    }
    proposals_free(&batch->items, batch->count);
}

static bool is_crowded(const replicator_t *self)
{
    bool behind =
        self->commit > self->applied && self->commit - self->applied > LIMIT_APPLY_BACKLOG;
    return behind || self->unapplied_bytes > LIMIT_INFLIGHT_BYTES;
}

static void append_batch(replicator_t *self, batch_t *batch, outbox_t *out)
{
    assert(self->lead != 0 && self->lead == self->fence);
    uint64_t before = raft_log_last_index(&self->log);
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->items[i].type == ENTRY_CONFIGURATION) {
            replicator_submit_change(self, batch, &batch->items[i], out);
            continue;
        }
        entry_t entry = {.index = raft_log_last_index(&self->log) + 1,
                         .term = self->lead,
                         .type = ENTRY_NORMAL,
                         .payload = batch->items[i].payload};
        replicator_append(self, &entry);
        if (batch->from != ACTOR_PEER) {
            pending_t proposal = {
                .index = entry.index, .req_id = batch->items[i].req_id, .from = batch->from};
            replicator_push_pending(&self->pending, &proposal);
        }
    }
    if (batch->from == ACTOR_PEER && raft_log_last_index(&self->log) > before) {
        replicator_taken(self, batch);
    }
    proposals_free(&batch->items, batch->count);
}

void replicator_submit(replicator_t *self, batch_t *batch, outbox_t *out)
{
    if (replicator_is_handing_over(self)) {
        replicator_hold(self, batch, out);
    } else if (self->lead) {
        if (is_crowded(self)) {
            replicator_refuse(self, batch, API_TOO_MANY_REQUESTS, out);
        } else {
            append_batch(self, batch, out);
        }
    } else if (self->leader && batch->from != ACTOR_PEER) {
        replicator_forward(self, batch, out);
    } else {
        replicator_refuse(self, batch, API_NO_LEADER, out);
    }
}

void replicator_on_propose(replicator_t *self, msg_t *msg, outbox_t *out)
{
    msg_propose_t *propose = &msg->u.propose;
    batch_t batch = {.from = msg->from, .items = propose->items, .count = propose->count};
    propose->items = NULL;
    bool may_be_led_elsewhere =
        propose->expect_term != self->lead || replicator_is_handing_over(self);
    if (propose->expect_term && may_be_led_elsewhere) {
        replicator_refuse(self, &batch, API_NOT_LEADER, out);
    } else {
        replicator_submit(self, &batch, out);
    }
}
