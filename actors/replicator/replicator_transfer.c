/* Handing the leadership over: nothing new enters the log until the target has all of it, then it is told to
 * stand at once. Its candidacy is a normal one for the fence. Proposals that come meanwhile wait, and go on to
 * whoever leads then. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "actors/replicator/replicator_state.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

bool replicator_is_handing_over(const replicator_t *self)
{
    return self->handover.state != HANDOVER_NONE;
}

/* ---- asked for ---- */

/* Who will have the whole log first. NULL: nobody could lead. */
static const progress_t *best_voter(const replicator_t *self)
{
    const progress_t *best = NULL;
    for (size_t i = 0; i < self->follower_count; i++) {
        const progress_t *follower = &self->followers[i];
        if (follower->is_voter && replicator_is_alive(self, follower) &&
            (!best || follower->match > best->match)) {
            best = follower;
        }
    }
    return best;
}

static void refuse(const replicator_t *self, actor_id_t to, uint64_t req_id, api_error_t error,
                   outbox_t *out)
{
    (void)self;
    pending_t asked = {.req_id = req_id, .from = to};
    replicator_tell_fate(MSG_REJECTED, &asked, 1, error, out);
}

static void begin(replicator_t *self, const progress_t *target, actor_id_t from, uint64_t req_id,
                  outbox_t *out)
{
    handover_t *handover = &self->handover;
    handover->state = HANDOVER_ASKED;
    handover->target = target->member;
    handover->from = from;
    handover->req_id = req_id;
    handover->began_us = self->now_us;
    handover->told_us = 0;
    outbox_log(out, LEVEL_INFO, "hands the leadership over",
               "\"term\":%" PRIu64 ",\"target\":\"%" PRIx64 "\"", self->lead, target->member);
}

void replicator_on_transfer(replicator_t *self, const msg_t *msg, outbox_t *out)
{
    const msg_transfer_t *transfer = &msg->u.transfer;
    if (self->lead == 0) {
        refuse(self, msg->from, transfer->req_id, API_NOT_LEADER, out);
        return;
    }
    if (replicator_is_handing_over(self)) {
        refuse(self, msg->from, transfer->req_id, API_TOO_MANY_REQUESTS, out);
        return;
    }
    const progress_t *target =
        transfer->target ? replicator_find_follower(self, transfer->target) : best_voter(self);
    if (!target || !target->is_voter) {
        refuse(self, msg->from, transfer->req_id, API_BAD_LEADER_TRANSFEREE, out);
        return;
    }
    begin(self, target, msg->from, transfer->req_id, out);
}

/* A leader that stops spares the others the wait for its silence. */
void replicator_on_stop(replicator_t *self, outbox_t *out)
{
    self->is_stopping = true;
    const progress_t *target = self->lead ? best_voter(self) : NULL;
    if (target && !replicator_is_handing_over(self)) {
        begin(self, target, ACTOR_NONE, 0, out);
    }
}

/* ---- who waits ---- */

static size_t bytes_of(const batch_t *batch)
{
    size_t bytes = 0;
    for (size_t i = 0; i < batch->count; i++) {
        bytes += bytes_len(batch->items[i].payload);
    }
    return bytes;
}

void replicator_hold(replicator_t *self, batch_t *batch, outbox_t *out)
{
    handover_t *handover = &self->handover;
    size_t bytes = bytes_of(batch);
    if (handover->held_count >= LIMIT_HELD_BATCHES ||
        handover->held_bytes + bytes > LIMIT_INFLIGHT_BYTES) {
        replicator_refuse(self, batch, API_TOO_MANY_REQUESTS, out);
        return;
    }
    handover->held = xgrow(handover->held, &handover->held_capacity, handover->held_count + 1,
                           sizeof *handover->held);
    handover->held[handover->held_count++] = *batch;
    handover->held_bytes += bytes;
}

/* In the order in which they came. */
static void end(replicator_t *self, outbox_t *out)
{
    handover_t over = self->handover;
    self->handover = (handover_t){0};
    for (size_t i = 0; i < over.held_count; i++) {
        replicator_submit(self, &over.held[i], out);
    }
    free(over.held);
}

/* Members whose forwards wait here hear that they never entered the log: they know the next leader as soon as
 * this one does. */
void replicator_handed_over(replicator_t *self, outbox_t *out)
{
    handover_t *handover = &self->handover;
    if (handover->state != HANDOVER_ASKED) {
        return;
    }
    handover->state = HANDOVER_WAITING;
    size_t kept = 0;
    for (size_t i = 0; i < handover->held_count; i++) {
        batch_t *batch = &handover->held[i];
        if (batch->from == ACTOR_PEER) {
            replicator_refuse(self, batch, API_NO_LEADER, out);
        } else {
            handover->held[kept++] = *batch;
        }
    }
    handover->held_count = kept;
}

/* ---- until it is over ---- */

static void tell_target(replicator_t *self, outbox_t *out)
{
    handover_t *handover = &self->handover;
    const progress_t *target = replicator_find_follower(self, handover->target);
    bool is_told = handover->told_us && self->now_us - handover->told_us < self->cfg.heartbeat_us;
    if (is_told || !target || target->match < raft_log_last_index(&self->log)) {
        return;
    }
    handover->told_us = self->now_us;
    peer_msg_t *content = peer_msg_new(PEER_TIMEOUT_NOW, self->lead);
    replicator_say(handover->target, &content, out);
}

uint64_t replicator_handover_due_us(const replicator_t *self)
{
    const handover_t *handover = &self->handover;
    switch (handover->state) {
    case HANDOVER_ASKED: return handover->began_us + self->cfg.election_timeout_us;
    case HANDOVER_WAITING: return handover->began_us + 2 * self->cfg.election_timeout_us;
    default: return DEADLINE_NONE;
    }
}

static void give_up(replicator_t *self, outbox_t *out)
{
    const handover_t *handover = &self->handover;
    if (handover->state == HANDOVER_ASKED) {
        outbox_log(out, LEVEL_WARN, "the leadership was not taken over",
                   "\"term\":%" PRIu64 ",\"target\":\"%" PRIx64 "\"", self->lead, handover->target);
        refuse(self, handover->from, handover->req_id, API_TIMEOUT, out);
    }
    end(self, out);
}

void replicator_mind_handover(replicator_t *self, outbox_t *out)
{
    bool is_over = self->handover.state == HANDOVER_WAITING && (self->lead || self->leader);
    if (is_over) {
        end(self, out);
    } else if (self->now_us >= replicator_handover_due_us(self)) {
        give_up(self, out);
    } else if (self->handover.state == HANDOVER_ASKED) {
        tell_target(self, out);
    }
    if (self->is_stopping && !self->is_stopped && self->handover.state != HANDOVER_ASKED) {
        self->is_stopped = true;
        outbox_stopped(out);
    }
}
