/* Proposals on their way to the leader of another member.
 *
 * Who forwards says a batch once: an answer that does not come means that nobody knows, and proposing again
 * could make it happen twice. The leader takes each batch of a member's run at most once in its term, and
 * only if it is newer than what it has taken, so that no duplicate on the way can do it either. */
#include <assert.h>
#include <stdlib.h>

#include "actors/replicator/replicator_state.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

/* ---- to the leader ---- */

/* The oldest makes room: its answer must have got lost, or this client would not ask for so many. */
static void remember_change(replicator_t *self, const pending_t *change)
{
    pending_t *all = self->forwarded_changes;
    if (self->forwarded_change_count == LIMIT_WAITING_CHANGES) {
        memmove(all, all + 1, --self->forwarded_change_count * sizeof *all);
    }
    all[self->forwarded_change_count++] = *change;
}

static void remember_forwarded(replicator_t *self, const batch_t *batch, const proposal_t *item)
{
    pending_t proposal = {.id = self->forward_id, .req_id = item->req_id, .from = batch->from};
    if (item->type == ENTRY_CONFIGURATION) {
        remember_change(self, &proposal);
        return;
    }
    proposal.bytes = bytes_len(item->payload);
    self->forwarded_bytes += proposal.bytes;
    replicator_push_pending(&self->forwarded, &proposal);
}

/* Changes of membership travel alone: the leader answers each for itself, when it is made. */
static bool fits(const peer_propose_t *propose, size_t bytes, const proposal_t *next)
{
    bool ends = propose->count && (next->type == ENTRY_CONFIGURATION ||
                                   propose->items[0].type == ENTRY_CONFIGURATION);
    return !ends && propose->count < LIMIT_APPEND_ENTRIES && bytes < LIMIT_PEER_APPEND_BYTES;
}

/* The first items of the batch, as many as fit; returns how many. */
static size_t send_some(replicator_t *self, const batch_t *batch, proposal_t *items, size_t count,
                        outbox_t *out)
{
    peer_msg_t *content = peer_msg_new(PEER_PROPOSE_FWD, self->open);
    peer_propose_t *propose = &content->u.propose;
    propose->id = ++self->forward_id;
    propose->items = xcalloc(count, sizeof *propose->items);
    size_t bytes = 0;
    while (propose->count < count && fits(propose, bytes, &items[propose->count])) {
        proposal_t *item = &items[propose->count];
        bytes += bytes_len(item->payload);
        remember_forwarded(self, batch, item);
        propose->items[propose->count++] =
            (proposal_t){.payload = bytes_take(&item->payload), .type = item->type};
    }
    size_t sent = propose->count;
    replicator_say(self->leader, &content, out);
    return sent;
}

static bool has_room(const replicator_t *self, const outbox_t *out)
{
    return outbox_room(out, ACTOR_PEER) && self->forwarded.count < LIMIT_FORWARDED &&
           self->forwarded_bytes + self->unapplied_bytes <= LIMIT_INFLIGHT_BYTES;
}

void replicator_forward(replicator_t *self, batch_t *batch, outbox_t *out)
{
    assert(self->leader && self->open == self->fence);
    size_t sent = 0;
    while (sent < batch->count && has_room(self, out)) {
        sent += send_some(self, batch, batch->items + sent, batch->count - sent, out);
    }
    if (sent == batch->count) {
        proposals_free(&batch->items, batch->count);
        return;
    }
    memmove(batch->items, batch->items + sent, (batch->count - sent) * sizeof *batch->items);
    batch->count -= sent;
    replicator_refuse(self, batch, API_TOO_MANY_REQUESTS, out);
}

/* A change whose place in the log is known goes on waiting: what becomes of that place tells whether it was made.
 * Otherwise who has the leader removed would never hear that it was. */
static void give_up_changes(replicator_t *self, outbox_t *out)
{
    size_t kept = 0;
    for (size_t i = 0; i < self->forwarded_change_count; i++) {
        const pending_t *change = &self->forwarded_changes[i];
        if (change->index) {
            self->forwarded_changes[kept++] = *change;
        } else {
            replicator_tell_fate(MSG_UNKNOWN, change, 1, API_LEADER_CHANGED, out);
        }
    }
    self->forwarded_change_count = kept;
}

void replicator_give_up_forwarded(replicator_t *self, outbox_t *out)
{
    replicator_give_up(&self->forwarded, out);
    self->forwarded_bytes = 0;
    give_up_changes(self, out);
}

static bool is_unseen(const replicator_t *self, const pending_t *proposal)
{
    return proposal->index >= self->unseen_from && proposal->index <= self->unseen_to;
}

static void tell_unseen(replicator_t *self, outbox_t *out)
{
    const pending_queue_t *queue = &self->forwarded;
    const pending_t *first = NULL;
    size_t count = 0;
    for (size_t i = 0; i < queue->indexed; i++) { /* by index: those in the range stand together */
        const pending_t *proposal = &queue->items[queue->head + i];
        if (proposal->index > self->unseen_to) {
            break;
        }
        if (is_unseen(self, proposal)) {
            first = first ? first : proposal;
            count++;
        }
    }
    if (first) {
        replicator_tell_fate(MSG_UNKNOWN, first, count, API_LEADER_CHANGED, out);
    }
}

/* A later leader has put another entry into its place. */
static bool is_replaced(const replicator_t *self, const pending_t *change)
{
    uint64_t term = 0;
    return raft_log_term_at(&self->log, change->index, &term) && term != change->term;
}

static void settle_changes(replicator_t *self, outbox_t *out)
{
    size_t kept = 0;
    for (size_t i = 0; i < self->forwarded_change_count; i++) {
        const pending_t *change = &self->forwarded_changes[i];
        bool is_open = change->index == 0 || change->index > self->delivered;
        if (is_open && change->from != ACTOR_NONE) {
            self->forwarded_changes[kept++] = *change;
        } else if (is_unseen(self, change) || is_replaced(self, change)) {
            replicator_tell_fate(MSG_UNKNOWN, change, 1, API_LEADER_CHANGED, out);
        }
    }
    self->forwarded_change_count = kept;
}

void replicator_settle_forwarded(replicator_t *self, outbox_t *out)
{
    if (self->unseen_to && self->forwarded.count) {
        tell_unseen(self, out);
    }
    self->forwarded_bytes -= replicator_settle(&self->forwarded, self->delivered);
    if (self->forwarded_change_count) {
        settle_changes(self, out);
    }
}

/* Answers to a change. False: it is not one. */
static bool on_change_reply(replicator_t *self, const peer_propose_reply_t *reply, bool is_taken,
                            outbox_t *out)
{
    for (size_t i = 0; i < self->forwarded_change_count; i++) {
        pending_t *change = &self->forwarded_changes[i];
        if (change->id != reply->id) {
            continue;
        }
        if (is_taken) {
            change->index = reply->index;
            change->term = self->open;
        } else {
            replicator_tell_fate(MSG_REJECTED, change, 1, reply->error, out);
            change->from = ACTOR_NONE;
        }
        replicator_settle_forwarded(self, out);
        return true;
    }
    return false;
}

/* Forwards up to this id that were taken lie at or below the index. */
static void on_taken(replicator_t *self, const peer_propose_reply_t *reply, outbox_t *out)
{
    pending_queue_t *queue = &self->forwarded;
    while (queue->indexed < queue->count) {
        pending_t *proposal = &queue->items[queue->head + queue->indexed];
        if (proposal->id > reply->id) {
            break;
        }
        proposal->index = reply->index;
        queue->indexed++;
    }
    replicator_settle_forwarded(self, out);
}

static void on_rejected(replicator_t *self, const peer_propose_reply_t *reply, outbox_t *out)
{
    pending_queue_t *queue = &self->forwarded;
    pending_t *first = NULL;
    size_t count = 0;
    for (size_t i = queue->indexed; i < queue->count; i++) {
        pending_t *proposal = &queue->items[queue->head + i];
        if (proposal->id == reply->id && proposal->from != ACTOR_NONE) {
            first = first ? first : proposal;
            count++;
        }
    }
    if (first) {
        replicator_tell_fate(MSG_REJECTED, first, count, reply->error, out);
    }
    for (size_t i = 0; i < count; i++) {
        first[i].from = ACTOR_NONE;
    }
    replicator_settle_forwarded(self, out);
}

void replicator_on_forward_reply(replicator_t *self, const msg_peer_t *peer, outbox_t *out)
{
    const peer_propose_reply_t *reply = &peer->content->u.propose_reply;
    if (peer->member != self->leader) {
        return; /* given up meanwhile */
    }
    bool is_taken = peer->content->kind == PEER_PROPOSE_ACK;
    bool is_error = reply->error > API_NONE && reply->error < API_ERRORS_COUNT;
    if (is_taken ? reply->index == 0 : !is_error) {
        replicator_complain(self, peer, "an answer that says nothing", out);
    } else if (reply->id > self->forward_id) {
        return; /* to an earlier run of this member */
    } else if (on_change_reply(self, reply, is_taken, out)) {
        return;
    } else if (is_taken) {
        on_taken(self, reply, out);
    } else {
        on_rejected(self, reply, out);
    }
}

/* ---- at the leader ---- */

/* The oldest is forgotten when there are too many. */
static origin_t *origin_of(replicator_t *self, uint64_t member, uint64_t incarnation)
{
    for (size_t i = 0; i < self->origin_count; i++) {
        origin_t *origin = &self->origins[i];
        if (origin->member == member && origin->incarnation == incarnation) {
            return origin;
        }
    }
    if (!self->origins) {
        self->origins = xcalloc(LIMIT_FORWARD_ORIGINS, sizeof *self->origins);
    }
    origin_t *origin = &self->origins[self->origin_next];
    self->origin_next = (self->origin_next + 1) % LIMIT_FORWARD_ORIGINS;
    self->origin_count += self->origin_count < LIMIT_FORWARD_ORIGINS ? 1 : 0;
    *origin = (origin_t){.member = member, .incarnation = incarnation};
    return origin;
}

static bool is_sound(const peer_propose_t *propose)
{
    for (size_t i = 0; i < propose->count; i++) {
        const proposal_t *item = &propose->items[i];
        bool is_change = item->type == ENTRY_CONFIGURATION && propose->count == 1;
        if (bytes_len(item->payload) == 0 || (item->type != ENTRY_NORMAL && !is_change)) {
            return false;
        }
    }
    return propose->count > 0 && propose->id > 0;
}

void replicator_on_forward(replicator_t *self, const msg_peer_t *peer, outbox_t *out)
{
    peer_propose_t *propose = &peer->content->u.propose;
    if (!is_sound(propose)) {
        replicator_complain(self, peer, "a proposal that no member forwards", out);
        return;
    }
    origin_t *origin = origin_of(self, peer->member, peer->content->incarnation);
    if (propose->id <= origin->last_id) {
        return;
    }
    origin->last_id =
        propose->id; /* refused counts as well: a duplicate must not be taken after that */
    batch_t batch = {.from = ACTOR_PEER,
                     .member = peer->member,
                     .incarnation = peer->content->incarnation,
                     .id = propose->id,
                     .items = propose->items,
                     .count = propose->count};
    propose->items = NULL;
    replicator_submit(self, &batch, out);
}

/* One answer for all that came in a burst. */
void replicator_taken(replicator_t *self, const batch_t *batch)
{
    origin_t *origin = origin_of(self, batch->member, batch->incarnation);
    origin->acked_id = batch->id;
    origin->acked_index = raft_log_last_index(&self->log);
    replicator_awaits(self, batch->member, origin->acked_index);
}

void replicator_say_taken(replicator_t *self, outbox_t *out)
{
    for (size_t i = 0; i < self->origin_count; i++) {
        origin_t *origin = &self->origins[i];
        if (origin->acked_id == 0 || !outbox_room(out, ACTOR_PEER)) {
            continue;
        }
        peer_msg_t *answer = peer_msg_new(PEER_PROPOSE_ACK, self->open);
        answer->u.propose_reply =
            (peer_propose_reply_t){.id = origin->acked_id, .index = origin->acked_index};
        origin->acked_id = 0;
        replicator_say(origin->member, &answer, out);
    }
}
