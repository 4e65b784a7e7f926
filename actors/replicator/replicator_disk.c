/* The log's way to the disk. A record says "replace everything from `first` on"
 * (docs/CONSENSUS.md, rule 4 and "An append"); its lsn, never an index, tells what has become durable. */
#include <assert.h>
#include <inttypes.h>

#include "actors/replicator/replicator_state.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

void replicator_append(replicator_t *self, const entry_t *entry)
{
    assert(self->open == self->fence && entry->term > 0 && entry->term <= self->open); /* S7 */
    raft_log_append(&self->log, entry);
    self->unapplied_bytes += bytes_len(entry->payload);
    if (entry->type == ENTRY_CONFIGURATION) {
        replicator_adopt_configuration(self);
    }
}

void replicator_cut(replicator_t *self, uint64_t from)
{
    assert(from > self->commit && self->commit >= self->delivered); /* S2 */
    assert(!replicator_is_marking(self));
    uint64_t configuration = raft_log_configuration(&self->log)->index;
    self->unapplied_bytes -= raft_log_bytes_above(&self->log, from - 1);
    raft_log_cut(&self->log, from);
    self->durable = self->durable < from ? self->durable : from - 1;
    self->written = self->written < from ? self->written : from - 1;
    for (size_t i = 0; i < self->inflight_count; i++) {
        inflight_t *record = &self->inflight[i];
        record->is_superseded |= !record->is_mark && record->last_index >= from;
    }
    if (raft_log_configuration(&self->log)->index != configuration) {
        replicator_adopt_configuration(self);
    }
}

void replicator_push_inflight(replicator_t *self, bool is_mark)
{
    self->inflight = xgrow(self->inflight, &self->inflight_capacity, self->inflight_count + 1,
                           sizeof *self->inflight);
    self->inflight[self->inflight_count++] = (inflight_t){
        .lsn = self->lsn, .last_index = self->written, .sent_us = self->now_us, .is_mark = is_mark};
}

static void send_append_log(replicator_t *self, outbox_t *out)
{
    msg_t *msg = msg_new(MSG_APPEND_LOG);
    msg_append_log_t *record = &msg->u.append_log;
    record->lsn = ++self->lsn;
    record->first = self->written + 1;
    record->commit = self->commit;
    uint64_t last = raft_log_last_index(&self->log);
    while (self->written < last && record->entries.count < LIMIT_APPEND_ENTRIES &&
           record->entries.bytes < LIMIT_APPEND_BYTES) {
        entries_append(&record->entries, raft_log_at(&self->log, ++self->written));
    }
    replicator_push_inflight(self, false);
    outbox_put(out, ACTOR_WAL_WRITER, &msg);
}

void replicator_write_log(replicator_t *self, outbox_t *out)
{
    while (self->written < raft_log_last_index(&self->log) && outbox_room(out, ACTOR_WAL_WRITER)) {
        send_append_log(self, out);
    }
}

void replicator_on_log_durable(replicator_t *self, const msg_log_durable_t *notice, outbox_t *out)
{
    size_t done = 0;
    for (; done < self->inflight_count && self->inflight[done].lsn <= notice->lsn; done++) {
        const inflight_t *record = &self->inflight[done];
        if (record->is_mark) {
            replicator_marked(self);
        } else if (!record->is_superseded) {
            assert(record->last_index >= self->durable);
            self->durable = record->last_index;
        }
    }
    assert(self->durable <= self->written);
    self->inflight_count -= done;
    memmove(self->inflight, self->inflight + done, self->inflight_count * sizeof *self->inflight);
    if (self->stalled) {
        self->stalled = false;
        msg_t *msg = msg_new(MSG_DISK_OK);
        outbox_put(out, ACTOR_ELECTION, &msg);
    }
    if (self->lead) {
        replicator_advance_commit(self);
    } else {
        self->ack_due |= self->leader != 0 && self->match > 0;
    }
}

void replicator_check_stall(replicator_t *self, outbox_t *out)
{
    if (self->stalled || self->inflight_count == 0) {
        return;
    }
    uint64_t age_us = self->now_us - self->inflight[0].sent_us;
    if (age_us >= self->cfg.election_timeout_us) {
        self->stalled = true;
        msg_t *msg = msg_new(MSG_DISK_STALL);
        msg->u.stall.age_us = age_us;
        outbox_put(out, ACTOR_ELECTION, &msg);
        outbox_log(out, LEVEL_WARN, "the log's disk is slow", "\"oldest-write-age-us\":%" PRIu64,
                   age_us);
    }
}

uint64_t replicator_stall_due_us(const replicator_t *self)
{
    if (self->stalled || self->inflight_count == 0) {
        return DEADLINE_NONE;
    }
    return self->inflight[0].sent_us + self->cfg.election_timeout_us;
}
