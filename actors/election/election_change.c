/* A term change: FENCE, then decide, then HARDSTATE, then make it known. One at a time, and the only way
 * in which the term rises or a vote is given (docs/CONSENSUS.md). FENCED and HS_DURABLE can't
 * be lost, so no time-out watches over it. */
#include <assert.h>

#include "actors/election/election_private.h"
#include "messages/limits.h"

void election_begin_change(election_t *self, const change_t *change, outbox_t *out)
{
    assert(change->term >= self->term);
    self->change = *change;
    self->change.resume_us = self->phase.state == LEADING ? DEADLINE_NONE : self->deadline_us;
    sm_move(&self->phase, FENCING);
    self->leader = 0;
    self->deadline_us = DEADLINE_NONE;
    election_announce(self, change->kind == CHANGE_STAND ? self->told.role : ROLE_FOLLOWER, out);
    self->open_seq = election_ask_replicator(self, MSG_FENCE, change->term, out);
}

void election_hear_term(election_t *self, uint64_t term, outbox_t *out)
{
    if (term <= self->term || term > LIMIT_TERM) {
        return;
    }
    if (term > self->heard_term) {
        self->heard_term = term;
    }
    if (self->phase.state != FENCING && self->phase.state != PERSISTING) {
        change_t adopt = {.kind = CHANGE_ADOPT, .term = self->heard_term};
        election_begin_change(self, &adopt, out);
    }
}

/* Who gets the vote of the term. Given is given (S0). */
static void decide(election_t *self, const msg_position_t *position)
{
    change_t *change = &self->change;
    change->vote = change->term == self->term ? self->vote : 0;
    if (change->kind == CHANGE_STAND && !election_may_stand(self)) {
        change->kind =
            CHANGE_ADOPT; /* the log had this member removed: the term is fenced, go there */
    }
    if (change->kind == CHANGE_STAND) {
        change->vote = self->cfg.member_id;
        election_open_ballot(self, change->term, position);
        self->ballot.transfer = change->transfer;
    } else if (change->kind == CHANGE_VOTE && change->vote == 0 &&
               election_log_suffices(&change->request, position)) {
        change->vote = change->member;
    }
}

/* Who gives no vote does not wait longer for a leader than before: else a candidate that can't win could
 * keep those waiting who can. A higher term may have been heard of meanwhile. */
static void end_change(election_t *self, bool voted, uint64_t now_us, outbox_t *out)
{
    election_follow(self, now_us, out);
    bool waited = self->change.resume_us != DEADLINE_NONE;
    if (!voted && waited && self->change.resume_us < self->deadline_us &&
        election_may_stand(self)) {
        self->deadline_us = self->change.resume_us;
    }
    election_hear_term(self, self->heard_term, out);
}

/* The replicator takes nothing below the new term any more: now decide, and make it durable. */
void election_on_fenced(election_t *self, const msg_position_t *position, uint64_t now_us,
                        outbox_t *out)
{
    if (self->phase.state != FENCING || position->seq != self->open_seq ||
        election_learn(self, position->configuration, position->configuration_index, out)) {
        return;
    }
    change_t *change = &self->change;
    assert(position->term == change->term);
    decide(self, position);
    if (change->term == self->term && change->vote == self->vote) {
        election_answer_vote(self, change->member, false, out); /* nothing to make durable */
        end_change(self, false, now_us, out);
        return;
    }
    sm_move(&self->phase, PERSISTING);
    self->open_seq = ++self->last_seq;
    msg_t *msg = msg_new(MSG_HARDSTATE);
    msg->u.hardstate =
        (msg_hardstate_t){.seq = self->open_seq, .term = change->term, .vote = change->vote};
    outbox_put(out, ACTOR_WAL_WRITER, &msg);
}

/* Only now may the vote count and the term be opened. */
void election_on_hardstate_durable(election_t *self, const msg_hardstate_t *durable,
                                   uint64_t now_us, outbox_t *out)
{
    if (self->phase.state != PERSISTING || durable->seq != self->open_seq) {
        return;
    }
    const change_t *change = &self->change;
    bool is_new_term = change->term > self->term;
    assert(is_new_term || self->vote == 0); /* S0: one vote per term, and terms never go back */
    self->term = change->term;
    self->vote = change->vote;
    if (is_new_term) {
        election_tell_replicator(self, MSG_OPEN, out);
    }
    bool voted = change->kind == CHANGE_VOTE && self->vote == change->member;
    if (change->kind == CHANGE_VOTE) {
        election_answer_vote(self, change->member, voted, out);
    }
    bool may_stand = election_is_alone(self) || !(self->disk_stalled || self->stopped);
    if (change->kind == CHANGE_STAND && may_stand && self->heard_term <= self->term) {
        election_stand(self, now_us, out);
    } else {
        end_change(self, voted, now_us, out);
    }
}
