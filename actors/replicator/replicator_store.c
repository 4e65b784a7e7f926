/* Committed entries, towards the store, and how much of the log stays in memory. */
#include <assert.h>

#include "actors/replicator/replicator_state.h"
#include "messages/limits.h"

void replicator_raise_commit(replicator_t *self, uint64_t index)
{
    if (index <= self->commit) {
        return;
    }
    assert(index <= raft_log_last_index(&self->log));
    self->commit = index;
    metrics_set(self->metrics, METRIC_PROPOSALS_COMMITTED, self->commit);
}

void replicator_deliver(replicator_t *self, outbox_t *out)
{
    uint64_t last = self->commit < self->durable ? self->commit : self->durable;
    while (self->delivered < last && outbox_room(out, ACTOR_APPLIER)) {
        msg_t *msg = msg_new(MSG_COMMITTED);
        entries_t *entries = &msg->u.committed.entries;
        while (self->delivered < last && entries->count < LIMIT_SPAN_ENTRIES &&
               entries->bytes < LIMIT_SPAN_BYTES) {
            entries_append(entries, raft_log_at(&self->log, ++self->delivered));
        }
        msg->u.committed.commit = self->commit;
        outbox_put(out, ACTOR_APPLIER, &msg);
    }
    replicator_settle(&self->pending, self->delivered);
    replicator_settle_forwarded(self, out);
}

/* First index that is kept on purpose, for a follower whose snapshot is on its way. */
static uint64_t kept_from(const replicator_t *self)
{
    uint64_t from = UINT64_MAX;
    for (size_t i = 0; i < self->follower_count; i++) {
        uint64_t wanted = self->followers[i].keep_from;
        from = wanted && wanted < from ? wanted : from;
    }
    return from;
}

/* Keeps what slow followers may still need, within the bound on memory. */
static void trim(replicator_t *self)
{
    uint64_t keep = self->cfg.catchup_entries;
    uint64_t from = kept_from(self);
    uint64_t until = self->applied > keep ? self->applied - keep : 0;
    until = until < from ? until : from - 1;
    if (self->log.base_index < until) {
        raft_log_drop_until(&self->log, until);
    }
    while (self->log.base_index < self->applied) {
        size_t bytes_max =
            self->log.base_index + 1 < from ? LIMIT_LOG_BYTES : LIMIT_LOG_SNAPSHOT_BYTES;
        if (self->log.bytes <= bytes_max) {
            return;
        }
        raft_log_drop_until(&self->log, self->log.base_index + 1);
    }
}

void replicator_on_applied(replicator_t *self, const msg_applied_t *applied)
{
    assert(applied->index >= self->applied && applied->index <= self->delivered);
    for (uint64_t index = self->applied + 1; index <= applied->index; index++) {
        const entry_t *entry = raft_log_at(&self->log, index);
        self->unapplied_bytes -= entry ? bytes_len(entry->payload) : 0;
    }
    self->applied = applied->index;
    trim(self);
}
