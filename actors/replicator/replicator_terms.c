/* Who may append in which term: docs/CONSENSUS.md, rules 1 to 3. */
#include <assert.h>
#include <inttypes.h>

#include "actors/replicator/replicator_state.h"

void replicator_send_position(replicator_t *self, msg_kind_t kind, const msg_fence_t *question,
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

void replicator_report(replicator_t *self, msg_kind_t kind, uint64_t term, uint64_t member,
                       outbox_t *out)
{
    (void)self;
    msg_t *msg = msg_new(kind);
    msg->u.term = (msg_term_t){.term = term, .member = member};
    outbox_put(out, ACTOR_ELECTION, &msg);
}

void replicator_stop_leading(replicator_t *self, outbox_t *out)
{
    if (self->lead == 0) {
        return;
    }
    replicator_handed_over(self, out);
    replicator_drop_changes(self, out);
    self->lead = 0;
    self->follower_count = 0;
    replicator_give_up(&self->pending, out);
    replicator_fail_reads(self, API_LEADER_CHANGED, out);
}

void replicator_lose_leader(replicator_t *self, outbox_t *out)
{
    self->leader = 0;
    self->ack_due = false;
    self->heartbeat_ack_due = false;
    self->answered_id = self->asked_id; /* no answer comes any more */
    replicator_fail_reads(self, API_LEADER_CHANGED, out);
    replicator_give_up_forwarded(self, out);
}

/* FENCED is the linearization point of a term change: from here on nothing of a lower term is taken. */
void replicator_on_fence(replicator_t *self, const msg_fence_t *fence, outbox_t *out)
{
    if (fence->term > self->fence) {
        replicator_stop_leading(self, out);
        replicator_lose_leader(self, out);
        self->fence = fence->term;
        replicator_drop_snapshot(self, out);
        self->bounced = 0;
        self->origin_count = 0;
        self->origin_next = 0;
    }
    assert(self->lead == 0 || self->lead == self->fence);
    replicator_send_position(self, MSG_FENCED, fence, out);
}

void replicator_on_open(replicator_t *self, uint64_t term)
{
    if (term == self->fence && self->open < term) {
        self->open = term;
        self->match = 0;
        self->round_seen = 0;
    }
}

void replicator_on_lead(replicator_t *self, uint64_t term, outbox_t *out)
{
    if (term != self->fence || term != self->open || self->led >= term) {
        return; /* overtaken by a newer fence, or an old story */
    }
    if (replicator_is_marking(self)) { /* what its log holds is not known before that is over */
        self->led = term;
        replicator_report(self, MSG_RESIGNED, term, self->cfg.member_id, out);
        return;
    }
    replicator_lose_leader(self, out); /* nobody: else two would lead the term */
    self->lead = term;
    self->led = term;
    self->lead_first = raft_log_last_index(&self->log) + 1;
    replicator_begin_leading(self);
    /* The no-op that commits what earlier terms left. */
    entry_t noop = {.index = self->lead_first, .term = term, .type = ENTRY_NORMAL};
    replicator_append(self, &noop);
}

/* A hint, which election may have no time for: said again if the member goes on. */
static void bounce(replicator_t *self, const msg_peer_t *peer, outbox_t *out)
{
    uint64_t term = peer->content->term;
    bool is_said =
        self->bounced >= term && self->now_us - self->bounced_us < self->cfg.heartbeat_us;
    if (!is_said) {
        self->bounced = term;
        self->bounced_us = self->now_us;
        replicator_report(self, MSG_BOUNCE, term, peer->member, out);
    }
}

/* One who leads a lower term learns of ours by the term of this answer. */
static void tell_of_term(replicator_t *self, const msg_peer_t *peer, outbox_t *out)
{
    peer_kind_t kind = peer->content->kind;
    if (kind == PEER_APPEND || kind == PEER_HEARTBEAT || kind == PEER_SNAP_META) {
        peer_msg_t *answer = peer_msg_new(PEER_APPEND_ACK, self->fence);
        replicator_say(peer->member, &answer, out);
    }
}

bool replicator_term_is_open(replicator_t *self, const msg_peer_t *peer, outbox_t *out)
{
    uint64_t term = peer->content->term;
    if (term > self->fence) {
        bounce(self, peer, out);
    } else if (term < self->fence) {
        tell_of_term(self, peer, out);
    }
    return term == self->fence && self->open == self->fence;
}
