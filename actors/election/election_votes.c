/* What other members want: pre-votes and votes.
 *
 * Who hears a leader gives neither (Raft dissertation sections 4.2.3 and 9.6): a member that was cut off or
 * removed can't depose a leader that serves everybody else. A leader hears itself as long as a quorum
 * answers. Only a candidate whom the leader asked to stand is exempt. */
#include "actors/election/election_private.h"
#include "messages/limits.h"

static bool hears_leader(const election_t *self, uint64_t now_us)
{
    bool leads_alone = self->phase.state == LEADING && election_is_alone(self);
    return leads_alone ||
           (self->leader != 0 && now_us - self->leader_us < self->cfg.election_timeout_us &&
            !election_leader_is_gone(self, now_us));
}

static bool changes_term(const election_t *self)
{
    return self->phase.state == FENCING || self->phase.state == PERSISTING;
}

bool election_log_suffices(const peer_vote_request_t *request, const msg_position_t *position)
{
    return request->last_term > position->last_term ||
           (request->last_term == position->last_term &&
            request->last_index >= position->last_index);
}

/* ---- pre-votes: nothing changes here by them ---- */

/* Granted: for the term that was asked about. Refused: with our own, so that one who is behind learns. */
static void answer_pre_vote(election_t *self, uint64_t member, uint64_t granted_term, outbox_t *out)
{
    peer_msg_t *answer = peer_msg_new(PEER_PREVOTE, granted_term ? granted_term : self->term);
    answer->u.vote.granted = granted_term != 0;
    election_say(member, &answer, out);
}

/* One position is asked for at a time; who comes meanwhile asks again. */
void election_on_pre_vote_request(election_t *self, uint64_t member, const peer_msg_t *request,
                                  uint64_t now_us, outbox_t *out)
{
    if (changes_term(self) || self->pre_vote.seq || request->term > LIMIT_TERM) {
        return;
    }
    if (request->term <= self->term) {
        answer_pre_vote(self, member, 0, out);
        return;
    }
    if (hears_leader(self, now_us)) {
        return;
    }
    self->pre_vote = (pre_vote_t){
        .seq = election_ask_replicator(self, MSG_QUERY_POS, request->term, out),
        .member = member,
        .term = request->term,
        .request = request->u.vote_request,
    };
}

void election_on_pre_vote_position(election_t *self, const msg_position_t *position,
                                   uint64_t now_us, outbox_t *out)
{
    pre_vote_t asked = self->pre_vote;
    self->pre_vote.seq = 0;
    if (changes_term(self) || hears_leader(self, now_us)) {
        return; /* overtaken by events */
    }
    bool granted = asked.term > self->term && election_log_suffices(&asked.request, position);
    answer_pre_vote(self, asked.member, granted ? asked.term : 0, out);
}

/* ---- votes ---- */

void election_answer_vote(election_t *self, uint64_t member, bool granted, outbox_t *out)
{
    peer_msg_t *answer = peer_msg_new(PEER_VOTE, self->term);
    answer->u.vote.granted = granted;
    election_say(member, &answer, out);
}

/* Given whether or not this member thinks that it is a voter, or the candidate a member: it may not have
 * heard yet (docs/CONSENSUS.md). */
void election_on_vote_request(election_t *self, uint64_t member, const peer_msg_t *request,
                              uint64_t now_us, outbox_t *out)
{
    if (changes_term(self) || request->term > LIMIT_TERM) {
        return;
    }
    bool is_open = request->term == self->term && self->vote == 0 && self->leader == 0;
    if (request->term <= self->term && !is_open) {
        election_answer_vote(self, member, request->term == self->term && self->vote == member,
                             out);
        return;
    }
    if (hears_leader(self, now_us) && !request->u.vote_request.transfer) {
        return;
    }
    change_t vote = {.kind = CHANGE_VOTE,
                     .term = request->term,
                     .member = member,
                     .request = request->u.vote_request};
    election_begin_change(self, &vote, out);
}
