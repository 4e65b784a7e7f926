/* Its own candidacy: pre-votes for the next term, which change nothing anywhere; then, with a quorum of
 * them, the term itself and the votes. Those who have not answered are asked again every heartbeat interval. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "actors/election/election_private.h"
#include "messages/xalloc.h"

/* ---- the ballot ---- */

void election_close_ballot(election_t *self)
{
    configuration_deinit(&self->ballot.configuration);
    free(self->ballot.answers);
    self->ballot = (ballot_t){0};
}

static void record(ballot_t *ballot, uint64_t member, answer_t answer)
{
    for (size_t i = 0; i < ballot->configuration.count; i++) {
        const configuration_member_t *voter = &ballot->configuration.members[i];
        if (voter->id == member && !voter->learner) {
            ballot->answers[i] = answer;
        }
    }
}

static size_t count(const ballot_t *ballot, answer_t answer)
{
    size_t found = 0;
    for (size_t i = 0; i < ballot->configuration.count; i++) {
        found += ballot->answers[i] == answer;
    }
    return found;
}

static bool is_won(const ballot_t *ballot)
{
    return count(ballot, ANSWER_GRANTED) >= configuration_quorum(&ballot->configuration);
}

static bool is_lost(const ballot_t *ballot)
{
    const configuration_t *configuration = &ballot->configuration;
    return count(ballot, ANSWER_REFUSED) >
           configuration_voters(configuration) - configuration_quorum(configuration);
}

/* With the own vote, which goes to nobody else while the campaign lasts. */
void election_open_ballot(election_t *self, uint64_t term, const msg_position_t *position)
{
    ballot_t *ballot = &self->ballot;
    election_close_ballot(self);
    int rc = configuration_decode(&ballot->configuration, bytes_slice(position->configuration));
    assert(rc == 0); /* election_learn has just read it */
    (void)rc;
    ballot->answers = xcalloc(ballot->configuration.count, sizeof *ballot->answers);
    ballot->term = term;
    ballot->last_term = position->last_term;
    ballot->last_index = position->last_index;
    record(ballot, self->cfg.member_id, ANSWER_GRANTED);
}

void election_repeat_requests(election_t *self, uint64_t now_us, outbox_t *out)
{
    const ballot_t *ballot = &self->ballot;
    self->repeat_us = now_us + self->cfg.heartbeat_us;
    for (size_t i = 0; i < ballot->configuration.count; i++) {
        const configuration_member_t *member = &ballot->configuration.members[i];
        if (member->learner || ballot->answers[i] != ANSWER_NONE) {
            continue;
        }
        peer_msg_t *request = peer_msg_new(
            self->phase.state == POLLING ? PEER_REQ_PREVOTE : PEER_REQ_VOTE, ballot->term);
        request->u.vote_request = (peer_vote_request_t){.last_term = ballot->last_term,
                                                        .last_index = ballot->last_index,
                                                        .transfer = ballot->transfer};
        election_say(member->id, &request, out);
    }
}

/* ---- pre-votes ---- */

static void fence_and_stand(election_t *self, bool transfer, outbox_t *out)
{
    change_t stand = {.kind = CHANGE_STAND, .term = self->term + 1, .transfer = transfer};
    election_begin_change(self, &stand, out);
}

void election_start_campaign(election_t *self, outbox_t *out)
{
    assert(self->phase.state == IDLE);
    self->leader = 0;
    if (self->cfg.pre_vote) {
        sm_move(&self->phase, QUERYING);
        self->open_seq = election_ask_replicator(self, MSG_QUERY_POS, self->term + 1, out);
        self->deadline_us = DEADLINE_NONE; /* POS can't be lost */
    } else {
        fence_and_stand(self, false, out);
    }
}

/* Answer to QUERY_POS: our own pre-vote. Nothing has changed yet (Raft dissertation section 9.6). */
void election_on_own_position(election_t *self, const msg_position_t *position, uint64_t now_us,
                              outbox_t *out)
{
    if (election_learn(self, position->configuration, position->configuration_index, out)) {
        return;
    }
    if (!election_may_stand(self)) {
        election_follow(self, now_us, out);
        return;
    }
    election_open_ballot(self, self->term + 1, position);
    if (is_won(&self->ballot)) {
        fence_and_stand(self, false, out);
        return;
    }
    sm_move(&self->phase, POLLING);
    election_announce(self, ROLE_PRE_CANDIDATE, out);
    election_schedule(self, now_us);
    election_repeat_requests(self, now_us, out);
}

static void lose(election_t *self, uint64_t now_us, outbox_t *out)
{
    outbox_log(out, LEVEL_INFO, "a majority refused its vote", "\"term\":%" PRIu64,
               self->ballot.term);
    election_follow(self, now_us, out);
}

void election_on_pre_vote(election_t *self, uint64_t member, const peer_msg_t *answer,
                          uint64_t now_us, outbox_t *out)
{
    bool granted = answer->u.vote.granted;
    if (!granted && answer->term > self->term) {
        election_hear_term(self, answer->term, out);
        return;
    }
    if (self->phase.state != POLLING || (granted && answer->term != self->ballot.term)) {
        return;
    }
    record(&self->ballot, member, granted ? ANSWER_GRANTED : ANSWER_REFUSED);
    if (is_won(&self->ballot)) {
        fence_and_stand(self, false, out);
    } else if (is_lost(&self->ballot)) {
        lose(self, now_us, out);
    }
}

/* ---- votes ---- */

static void become_leader(election_t *self, uint64_t now_us, outbox_t *out)
{
    assert(self->term > self->led_term && self->vote == self->cfg.member_id); /* S1, our part */
    assert(self->ballot.term == self->term);
    sm_move(&self->phase, LEADING);
    self->led_term = self->term;
    self->leader = self->cfg.member_id;
    self->leader_us = now_us; /* the votes came from a quorum */
    self->gone_us = DEADLINE_NONE;
    self->deadline_us =
        election_is_alone(self) ? DEADLINE_NONE : now_us + self->cfg.election_timeout_us;
    election_close_ballot(self);
    election_tell_replicator(self, MSG_LEAD, out);
    election_announce(self, ROLE_LEADER, out);
    outbox_log(out, LEVEL_INFO, "became leader", "\"term\":%" PRIu64, self->term);
}

void election_stand(election_t *self, uint64_t now_us, outbox_t *out)
{
    sm_move(&self->phase, STANDING);
    if (is_won(&self->ballot)) {
        become_leader(self, now_us, out);
        return;
    }
    election_announce(self, ROLE_CANDIDATE, out);
    election_schedule(self, now_us);
    election_repeat_requests(self, now_us, out);
}

void election_on_vote(election_t *self, uint64_t member, const peer_msg_t *answer, uint64_t now_us,
                      outbox_t *out)
{
    if (answer->term > self->term) {
        election_hear_term(self, answer->term, out);
        return;
    }
    if (self->phase.state != STANDING || answer->term != self->term) {
        return;
    }
    record(&self->ballot, member, answer->u.vote.granted ? ANSWER_GRANTED : ANSWER_REFUSED);
    if (is_won(&self->ballot)) {
        become_leader(self, now_us, out);
    } else if (is_lost(&self->ballot)) {
        lose(self, now_us, out);
    }
}

/* The leader hands over: stand at once. It knows that the log is complete, so no pre-vote, and the others
 * need not wait until they miss it. */
void election_on_timeout_now(election_t *self, uint64_t member, const peer_msg_t *request,
                             outbox_t *out)
{
    unsigned phase = self->phase.state;
    bool waits = phase == IDLE || phase == QUERYING || phase == POLLING;
    bool from_leader = self->leader == 0 || self->leader == member;
    if (!waits || !from_leader || request->term != self->term || !election_may_stand(self) ||
        self->disk_stalled || self->stopped) {
        return;
    }
    outbox_log(out, LEVEL_INFO, "the leader hands over", "\"term\":%" PRIu64, self->term);
    fence_and_stand(self, true, out);
}
