/* Read indexes (raft-over-actors.md section 3, "ReadIndex"). A read index is valid once an entry of the very
 * term that is led is committed (a new leader does not know yet how far its predecessors committed) and a
 * quorum has confirmed the leadership after the read arrived: by acknowledging a round that was begun
 * later. The leader numbers rounds, per term; whoever answers names the highest it has seen. */
#include "actors/replicator/replicator_state.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

static void answer_read(const waiting_read_t *read, msg_kind_t kind, uint64_t index,
                        api_error_t error, outbox_t *out)
{
    msg_t *msg = msg_new(kind);
    msg->u.read = (msg_read_t){.read_id = read->read_id, .index = index, .error = error};
    outbox_put(out, read->from, &msg);
}

void replicator_fail_reads(replicator_t *self, api_error_t error, outbox_t *out)
{
    for (size_t i = 0; i < self->read_count; i++) {
        answer_read(&self->reads[i], MSG_READ_FAIL, 0, error, out);
    }
    self->read_count = 0;
}

/* Reads of one burst share a round. */
void replicator_on_read(replicator_t *self, const msg_t *msg, outbox_t *out)
{
    waiting_read_t read = {
        .read_id = msg->u.read.read_id, .from = msg->from, .round = self->round + 1};
    uint64_t expect_term = msg->u.read.expect_term;
    if (self->lead == 0 || (expect_term && expect_term != self->lead)) {
        answer_read(&read, MSG_READ_FAIL, 0, expect_term ? API_NOT_LEADER : API_NO_LEADER, out);
        return;
    }
    self->reads =
        xgrow(self->reads, &self->read_capacity, self->read_count + 1, sizeof *self->reads);
    self->reads[self->read_count++] = read;
}

static void answer_confirmed(replicator_t *self, uint64_t round, outbox_t *out)
{
    size_t done = 0;
    while (done < self->read_count && self->reads[done].round <= round) {
        answer_read(&self->reads[done++], MSG_READ_AT, self->commit, API_NONE, out);
    }
    self->read_count -= done;
    if (self->read_count && done) {
        memmove(self->reads, self->reads + done, self->read_count * sizeof *self->reads);
    }
}

bool replicator_confirm_reads(replicator_t *self, outbox_t *out)
{
    if (self->lead == 0 || self->read_count == 0) {
        return false;
    }
    bool knows_commit = self->commit >= self->lead_first;
    if (replicator_is_quorum(self)) { /* nobody else has to be asked */
        if (knows_commit) {
            answer_confirmed(self, UINT64_MAX, out);
        }
        return false;
    }
    uint64_t confirmed = replicator_confirmed_round(self);
    if (knows_commit) {
        answer_confirmed(self, confirmed, out);
    }
    bool is_wanted = self->read_count && self->reads[self->read_count - 1].round > self->round;
    if (!is_wanted || self->round - confirmed >= LIMIT_READ_ROUNDS) {
        return false;
    }
    self->round++;
    return true;
}
