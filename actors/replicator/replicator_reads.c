/* Read indexes (docs/CONSENSUS.md, "A read"). A read index is valid once an entry of the very
 * term that is led is committed (a new leader does not know yet how far its predecessors committed) and a
 * quorum has confirmed the leadership after the read arrived: by acknowledging a round that was begun
 * later. The leader numbers rounds, per term; whoever answers names the highest it has seen.
 *
 * A follower asks its leader. Its question is its acknowledgement, for that question alone: it was sent in the
 * term after the read had come, so where leader and asker are a quorum no round is needed. A question that is
 * repeated has a new name, so that no late answer to an older one is taken for it; an answer serves all reads that
 * came before its question was sent. */
#include "actors/replicator/replicator_state.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

enum {
    ASK_AGAIN_HEARTBEATS = 5
}; /* the question or its answer was lost, or the leader can't know yet */

/* ---- answers ---- */

static void answer_member(replicator_t *self, const waiting_read_t *read, uint64_t index,
                          api_error_t error, outbox_t *out)
{
    replicator_awaits(self, read->member, index);
    peer_msg_t *answer = peer_msg_new(PEER_READ_FWD_AT, self->open);
    answer->u.read = (peer_read_t){.id = read->read_id, .index = index, .error = error};
    replicator_say(read->member, &answer, out);
}

static void answer_read(replicator_t *self, const waiting_read_t *read, uint64_t index,
                        api_error_t error, outbox_t *out)
{
    if (read->member) {
        answer_member(self, read, index, error, out);
        return;
    }
    msg_t *msg = msg_new(error ? MSG_READ_FAIL : MSG_READ_AT);
    msg->u.read = (msg_read_t){.read_id = read->read_id, .index = index, .error = error};
    outbox_put(out, read->from, &msg);
}

/* All that wait for this round or question, or an earlier one. */
static void answer_up_to(replicator_t *self, uint64_t round, uint64_t index, api_error_t error,
                         outbox_t *out)
{
    size_t done = 0;
    while (done < self->read_count && self->reads[done].round <= round) {
        answer_read(self, &self->reads[done++], index, error, out);
    }
    self->read_count -= done;
    if (self->read_count && done) {
        memmove(self->reads, self->reads + done, self->read_count * sizeof *self->reads);
    }
}

void replicator_fail_reads(replicator_t *self, api_error_t error, outbox_t *out)
{
    answer_up_to(self, UINT64_MAX, 0, error, out);
}

/* ---- questions ---- */

static void wait_for(replicator_t *self, const waiting_read_t *read)
{
    self->reads =
        xgrow(self->reads, &self->read_capacity, self->read_count + 1, sizeof *self->reads);
    self->reads[self->read_count++] = *read;
}

/* Reads of one burst share a round, or a question. The gateways bound how many they ask at a time. */
void replicator_on_read(replicator_t *self, const msg_t *msg, outbox_t *out)
{
    uint64_t expect_term = msg->u.read.expect_term;
    waiting_read_t read = {.read_id = msg->u.read.read_id,
                           .from = msg->from,
                           .round = 1 + (self->lead ? self->round : self->asked_id)};
    if (expect_term && expect_term != self->lead) {
        answer_read(self, &read, 0, API_NOT_LEADER, out);
    } else if (self->lead == 0 && self->leader == 0) {
        answer_read(self, &read, 0, API_NO_LEADER, out);
    } else {
        wait_for(self, &read);
    }
}

/* Are this leader and the member that asks it a quorum? */
static bool are_quorum(replicator_t *self, uint64_t member)
{
    const progress_t *asker = replicator_find_follower(self, member);
    size_t voters = (size_t)replicator_is_voter(self) + (asker && asker->is_voter);
    return voters >= configuration_quorum(&self->configuration);
}

/* Above the bound it is lost: the member asks again. */
void replicator_on_read_forward(replicator_t *self, const msg_peer_t *peer, outbox_t *out)
{
    waiting_read_t read = {
        .read_id = peer->content->u.read.id, .member = peer->member, .round = self->round + 1};
    if (self->lead == 0) {
        answer_member(self, &read, 0, API_NOT_LEADER, out);
    } else if (self->commit >= self->lead_first && are_quorum(self, peer->member)) {
        answer_member(self, &read, self->commit, API_NONE, out);
    } else if (self->read_count < LIMIT_FORWARDED_READS) {
        wait_for(self, &read);
    }
}

/* ---- at the leader ---- */

bool replicator_confirm_reads(replicator_t *self, outbox_t *out)
{
    if (self->lead == 0 || self->read_count == 0) {
        return false;
    }
    bool knows_commit = self->commit >= self->lead_first;
    if (replicator_is_quorum(self)) { /* nobody else has to be asked */
        if (knows_commit) {
            answer_up_to(self, UINT64_MAX, self->commit, API_NONE, out);
        }
        return false;
    }
    uint64_t confirmed = replicator_confirmed_round(self);
    if (knows_commit) {
        answer_up_to(self, confirmed, self->commit, API_NONE, out);
    }
    bool is_wanted = self->read_count && self->reads[self->read_count - 1].round > self->round;
    if (!is_wanted || self->round - confirmed >= LIMIT_READ_ROUNDS) {
        return false;
    }
    self->round++;
    return true;
}

/* ---- at a follower ---- */

void replicator_on_read_answer(replicator_t *self, const msg_peer_t *peer, outbox_t *out)
{
    const peer_read_t *answer = &peer->content->u.read;
    if (peer->member != self->leader || answer->id > self->asked_id) {
        return; /* given up meanwhile; to an earlier run of this member */
    }
    if ((unsigned)answer->error >= API_ERRORS_COUNT) {
        replicator_complain(self, peer, "an error that nobody knows", out);
        return;
    }
    self->answered_id = answer->id > self->answered_id ? answer->id : self->answered_id;
    answer_up_to(self, answer->id, answer->index, answer->error, out);
}

uint64_t replicator_reads_due_us(const replicator_t *self)
{
    return self->read_count && self->leader
               ? self->asked_us + ASK_AGAIN_HEARTBEATS * self->cfg.heartbeat_us
               : DEADLINE_NONE;
}

void replicator_ask_reads(replicator_t *self, outbox_t *out)
{
    if (self->read_count == 0 || self->leader == 0) {
        return;
    }
    bool is_new = self->reads[self->read_count - 1].round > self->asked_id;
    bool may_ask = self->asked_id - self->answered_id < LIMIT_READ_ROUNDS;
    if (!(is_new && may_ask) && self->now_us < replicator_reads_due_us(self)) {
        return;
    }
    self->asked_us = self->now_us;
    if (!outbox_room(out, ACTOR_PEER)) {
        return; /* goes on when there is, or after the interval */
    }
    peer_msg_t *question = peer_msg_new(PEER_READ_FWD, self->open);
    question->u.read.id = ++self->asked_id;
    replicator_say(self->leader, &question, out);
}
