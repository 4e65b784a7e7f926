/* The configuration in force: the newest in the log, committed or not (raft-over-actors.md section 3). */
#include <assert.h>

#include "actors/replicator/replicator_state.h"

void replicator_adopt_configuration(replicator_t *self)
{
    const raft_log_configuration_t *newest = raft_log_configuration(&self->log);
    int rc = configuration_decode(&self->configuration, bytes_slice(newest->encoded));
    assert(rc == 0); /* validated before it was appended, or when the log was read */
    (void)rc;
    self->members_due = true;
    self->peers_due = true;
    if (self->lead) {
        replicator_renew_followers(self);
        replicator_advance_commit(self);
    }
}

bool replicator_is_voter(const replicator_t *self)
{
    return configuration_is_voter(&self->configuration, self->cfg.member_id);
}

bool replicator_is_quorum(const replicator_t *self)
{
    return configuration_quorum(&self->configuration) == 1 && replicator_is_voter(self);
}

static msg_t *members_msg(const replicator_t *self, msg_kind_t kind)
{
    const raft_log_configuration_t *newest = raft_log_configuration(&self->log);
    msg_t *msg = msg_new(kind);
    msg->u.members = (msg_members_t){
        .index = newest->index,
        .configuration = bytes_ref(newest->encoded),
    };
    return msg;
}

void replicator_tell_members(replicator_t *self, outbox_t *out)
{
    if (self->members_due) {
        self->members_due = false;
        msg_t *msg = members_msg(self, MSG_MEMBERS);
        outbox_put(out, ACTOR_ELECTION, &msg);
    }
    if (self->peers_due && outbox_room(out, ACTOR_PEER)) {
        self->peers_due = false;
        msg_t *msg = members_msg(self, MSG_PEERS);
        outbox_put(out, ACTOR_PEER, &msg);
    }
}
