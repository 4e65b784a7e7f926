/* Following: what the leader of the open term says. */
#include <assert.h>
#include <inttypes.h>

#include "actors/replicator/membership.h"
#include "actors/replicator/replicator_state.h"

/* ---- the leader ---- */

bool replicator_heard_leader(replicator_t *self, const msg_peer_t *peer, outbox_t *out)
{
    if (self->lead || (self->leader && self->leader != peer->member)) {
        replicator_complain(self, peer, "a second leader of this term", out); /* S1 */
        return false;
    }
    bool is_new = self->leader == 0;
    self->leader = peer->member;
    self->heard_us = self->now_us;
    if (is_new || self->now_us - self->reported_us >= self->cfg.heartbeat_us / 2) {
        self->reported_us = self->now_us;
        replicator_report(self, MSG_LEADER_SEEN, self->open, self->leader, out);
    }
    return true;
}

static void see_round(replicator_t *self, uint64_t round)
{
    self->round_seen = round > self->round_seen ? round : self->round_seen;
}

/* Only what is known to agree with the leader's log. */
static void learn_commit(replicator_t *self, uint64_t commit)
{
    if (!replicator_is_marking(self)) {
        replicator_raise_commit(self, commit < self->match ? commit : self->match);
    }
}

void replicator_on_heartbeat(replicator_t *self, const msg_peer_t *peer, outbox_t *out)
{
    const peer_heartbeat_t *heartbeat = &peer->content->u.heartbeat;
    if (!replicator_heard_leader(self, peer, out)) {
        return;
    }
    see_round(self, heartbeat->round);
    learn_commit(self, heartbeat->commit);
    self->heartbeat_ack_due = true;
}

/* ---- appends ---- */

/* Is this what a leader of the term may send: entries without gaps, terms that never fall? */
static bool is_sound(const peer_append_t *append, uint64_t term)
{
    uint64_t last_term = append->prev_term;
    if (append->prev_index > UINT64_MAX / 2 || (append->prev_index == 0) != (last_term == 0)) {
        return false;
    }
    for (size_t i = 0; i < append->entries.count; i++) {
        const entry_t *entry = &append->entries.items[i];
        if (entry->index != append->prev_index + 1 + i || entry->term < last_term ||
            entry->term == 0) {
            return false;
        }
        bool is_configuration = entry->type == ENTRY_CONFIGURATION;
        if ((!is_configuration && entry->type != ENTRY_NORMAL) ||
            (is_configuration && !membership_is_valid(bytes_slice(entry->payload)))) {
            return false;
        }
        last_term = entry->term;
    }
    return last_term <= term;
}

static bool agrees_at(const replicator_t *self, uint64_t index, uint64_t term)
{
    uint64_t own = 0;
    return raft_log_term_at(&self->log, index, &own) && own == term;
}

static void refuse(replicator_t *self, const msg_peer_t *peer, outbox_t *out)
{
    const peer_append_t *append = &peer->content->u.append;
    uint64_t hint = raft_log_last_with_term(&self->log, append->prev_index, append->prev_term);
    hint = hint > self->commit ? hint : self->commit; /* there, every leader's log agrees */
    peer_msg_t *answer = peer_msg_new(PEER_APPEND_ACK, self->open);
    peer_append_ack_t *ack = &answer->u.append_ack;
    ack->index = append->prev_index;
    ack->hint_index = hint;
    bool is_known = raft_log_term_at(&self->log, hint, &ack->hint_term);
    assert(is_known);
    (void)is_known;
    ack->round = self->round_seen;
    ack->is_watched = self->is_watched;
    replicator_say(peer->member, &answer, out);
}

/* What the log has keeps its place; from the first entry that differs on, it is replaced. False: that would
 * replace what is committed, or what this leader itself has sent. True: *is_new says whether it has grown. */
static bool take_entries(replicator_t *self, const peer_append_t *append, bool *is_new)
{
    uint64_t fixed = self->commit > self->match ? self->commit : self->match;
    size_t at = 0;
    for (; at < append->entries.count; at++) {
        const entry_t *entry = &append->entries.items[at];
        if (entry->index > raft_log_last_index(&self->log)) {
            break;
        }
        if (entry->index <= self->log.base_index || agrees_at(self, entry->index, entry->term)) {
            continue;
        }
        if (entry->index <= fixed) {
            return false;
        }
        replicator_cut(self, entry->index);
        break;
    }
    *is_new = at < append->entries.count;
    for (; at < append->entries.count; at++) {
        replicator_append(self, &append->entries.items[at]);
    }
    return true;
}

void replicator_on_append(replicator_t *self, const msg_peer_t *peer, outbox_t *out)
{
    const peer_append_t *append = &peer->content->u.append;
    if (!is_sound(append, peer->content->term)) {
        replicator_complain(self, peer, "an append that no leader can send", out);
        return;
    }
    if (!replicator_heard_leader(self, peer, out)) {
        return;
    }
    assert(self->open == self->fence && self->open >= self->acked_term); /* S8 */
    see_round(self, append->round);
    if (replicator_is_marking(self)) {
        return; /* it comes again */
    }
    uint64_t prev = append->prev_index;
    if (prev >= self->log.base_index && !agrees_at(self, prev, append->prev_term)) {
        if (prev <= self->commit) {
            replicator_complain(self, peer, "an append that contradicts what is committed", out);
        } else {
            refuse(self, peer, out);
        }
        return;
    }
    bool is_new = false;
    if (!take_entries(self, append, &is_new)) {
        replicator_complain(self, peer, "an append that contradicts what is committed", out);
        return;
    }
    uint64_t last = prev + append->entries.count;
    self->match = last > self->match ? last : self->match;
    learn_commit(self, append->commit);
    self->ack_due |= !is_new; /* else once it is on the disk */
}

/* ---- acknowledgements ---- */

/* Only in the open term (rule 5), and only what is on the disk. */
static void acknowledge(replicator_t *self, outbox_t *out)
{
    assert(self->open == self->fence); /* S3 */
    peer_msg_t *answer = peer_msg_new(PEER_APPEND_ACK, self->open);
    answer->u.append_ack = (peer_append_ack_t){
        .ok = true,
        .index = self->match < self->durable ? self->match : self->durable,
        .round = self->round_seen,
        .is_watched = self->is_watched,
    };
    self->acked_term = self->open;
    self->ack_due = false;
    self->heartbeat_ack_due = false; /* it says as much */
    replicator_say(self->leader, &answer, out);
}

static void acknowledge_heartbeat(replicator_t *self, outbox_t *out)
{
    peer_msg_t *answer = peer_msg_new(PEER_HB_ACK, self->open);
    answer->u.heartbeat.round = self->round_seen;
    answer->u.heartbeat.is_watched = self->is_watched;
    self->heartbeat_ack_due = false;
    replicator_say(self->leader, &answer, out);
}

/* Whoever begins to watch should not wait for the next heartbeat before the leader hurries. */
void replicator_on_interest(replicator_t *self, const msg_interest_t *interest)
{
    self->is_watched = interest->is_wanted;
    self->heartbeat_ack_due |= interest->is_wanted && self->leader != 0;
}

uint64_t replicator_leader_due_us(const replicator_t *self)
{
    return self->leader ? self->heard_us + self->cfg.election_timeout_us : DEADLINE_NONE;
}

/* One acknowledgement for all appends of a burst. Without room it waits. */
void replicator_follow(replicator_t *self, outbox_t *out)
{
    if (self->leader == 0) {
        return;
    }
    bool may_ack = self->ack_due && !replicator_is_installing(self);
    if (may_ack && outbox_room(out, ACTOR_PEER)) {
        acknowledge(self, out);
    } else if (self->heartbeat_ack_due && outbox_room(out, ACTOR_PEER)) {
        acknowledge_heartbeat(self, out);
    }
    replicator_ask_reads(self, out);
    if (self->now_us >= replicator_leader_due_us(self)) {
        replicator_lose_leader(self, out); /* silent for too long */
    }
}
