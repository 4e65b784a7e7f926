#include "actors/wal_writer/wal_writer.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "actors/wal_writer/wal_conf.h"
#include "actors/wal_writer/wal_terms.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

/* An fdatasync above this is worth a line in the log, as in etcd. */
#define SLOW_WRITE_US 1000000u
/* File sizes are multiples of the page size. */
#define PAGE_BYTES 4096u

/* Of the replicator, moved out of its message. */
typedef struct {
    uint64_t lsn;
    bool is_mark;
    msg_append_log_t append;
    msg_snap_mark_t mark;
    size_t records_len;
    uint32_t records;
} pending_t;

struct wal_writer {
    /* What the log says, up to and including the write in flight. */
    wal_identity_t identity;
    uint64_t term, vote;
    uint64_t commit;
    uint64_t lsn;
    uint64_t last_index, last_term;
    wal_conf_t configurations;
    wal_terms_t terms;

    /* Waiting for the next write. */
    pending_t *pending;
    size_t pending_count;
    size_t pending_capacity;
    bool has_hardstate;
    msg_hardstate_t hardstate;

    /* The write in flight. */
    bool is_writing;
    uint64_t write_id;
    bool answers_hardstate, answers_log;
    msg_hardstate_t written_hardstate;

    /* Files. The last segment is the one being written. */
    wal_segment_t *segments;
    size_t segment_count;
    size_t segment_capacity;
    uint64_t new_segment_bytes;
    uint64_t segment_bytes;
    uint64_t position;
    uint32_t seed, chain;
    uint64_t flushed;

    bool lacks_room; /* for the next segment, was told */
    bool is_stopping, is_stopped;
};

/* ---- life ---- */

wal_writer_t *wal_writer_new(const wal_recovered_t *recovered, uint64_t segment_bytes)
{
    assert(segment_bytes >= LIMIT_WAL_SEGMENT_BYTES_MIN && segment_bytes <= LIMIT_WAL_FILE_BYTES);
    assert(recovered->segment_count > 0);
    wal_writer_t *self = xcalloc(1, sizeof *self);
    self->identity = recovered->identity;
    self->term = recovered->term;
    self->vote = recovered->vote;
    self->commit = recovered->commit;
    self->lsn = recovered->lsn;
    self->last_index = wal_recovered_last_index(recovered);
    self->last_term = wal_recovered_last_term(recovered);
    wal_conf_push(&self->configurations, recovered->base_configuration_index,
                  recovered->base_configuration);
    for (size_t i = 0; i < recovered->entries.count; i++) {
        const entry_t *entry = &recovered->entries.items[i];
        if (entry->type == ENTRY_CONFIGURATION) {
            wal_conf_push(&self->configurations, entry->index, entry->payload);
        }
        wal_terms_push(&self->terms, entry->index, entry->term);
    }
    wal_conf_settle(&self->configurations, self->commit);
    wal_terms_settle(&self->terms, self->commit);

    self->segment_count = recovered->segment_count;
    self->segment_capacity = recovered->segment_count;
    self->segments = xmemdup(recovered->segments, self->segment_count * sizeof *self->segments);
    self->new_segment_bytes = segment_bytes;
    self->segment_bytes = recovered->segment_bytes;
    self->position = recovered->position;
    self->seed = recovered->seed;
    self->chain = recovered->chain;
    return self;
}

static void free_pending(pending_t *self)
{
    entries_deinit(&self->append.entries);
    bytes_unref(&self->mark.configuration);
}

static void destroy(void **self_p)
{
    wal_writer_t *self = *self_p;
    *self_p = NULL;
    if (!self) {
        return;
    }
    for (size_t i = 0; i < self->pending_count; i++) {
        free_pending(&self->pending[i]);
    }
    free(self->pending);
    free(self->segments);
    wal_conf_deinit(&self->configurations);
    wal_terms_deinit(&self->terms);
    free(self);
}

/* ---- what arrives ---- */

static void on_hardstate(wal_writer_t *self, const msg_hardstate_t *msg)
{
    const uint64_t term = self->has_hardstate ? self->hardstate.term : self->term;
    const uint64_t vote = self->has_hardstate ? self->hardstate.vote : self->vote;
    assert(msg->term >= term);
    assert(msg->term > term || vote == 0 || msg->vote == vote);
    self->hardstate = *msg;
    self->has_hardstate = true;
}

static void add_pending(wal_writer_t *self, const pending_t *item)
{
    self->pending = xgrow(self->pending, &self->pending_capacity, self->pending_count + 1,
                          sizeof *self->pending);
    self->pending[self->pending_count++] = *item;
}

static void on_append_log(wal_writer_t *self, msg_append_log_t *msg)
{
    pending_t item = {.lsn = msg->lsn, .append = *msg, .records = (uint32_t)msg->entries.count};
    msg->entries = (entries_t){0};
    for (size_t i = 0; i < item.append.entries.count; i++) {
        const entry_t *entry = &item.append.entries.items[i];
        assert(entry->index == item.append.first + i);
        item.records_len += wal_record_size(bytes_len(entry->payload));
    }
    add_pending(self, &item);
}

static void on_snap_mark(wal_writer_t *self, msg_snap_mark_t *msg)
{
    pending_t item = {.lsn = msg->lsn, .is_mark = true, .mark = *msg, .records = 1};
    msg->configuration = NULL;
    item.records_len = wal_record_snapshot_size(bytes_len(item.mark.configuration));
    add_pending(self, &item);
}

static void on_flushed(wal_writer_t *self, const msg_applied_t *msg)
{
    if (msg->index > self->flushed) {
        self->flushed = msg->index;
    }
}

/* ---- one batch ---- */

typedef struct {
    size_t messages; /* how many of the pending ones go into it */
    size_t records_len;
    uint32_t records;
    bool is_wanted;
} plan_t;

/* Everything that waits, within the limit; at least one message, however large. */
static plan_t plan_batch(const wal_writer_t *self)
{
    plan_t plan = {.is_wanted = self->has_hardstate || self->pending_count > 0};
    if (self->has_hardstate) {
        plan.records_len = wal_record_size(0);
        plan.records = 1;
    }
    while (plan.messages < self->pending_count) {
        const pending_t *item = &self->pending[plan.messages];
        if (plan.messages > 0 && plan.records_len + item->records_len > LIMIT_WAL_BATCH_BYTES) {
            break;
        }
        plan.records_len += item->records_len;
        plan.records += item->records;
        plan.messages++;
    }
    return plan;
}

/* What the log says before the batch that opens the new segment. */
static bytes_t *begin_segment(wal_writer_t *self, size_t batch_size)
{
    const wal_segment_t *current = &self->segments[self->segment_count - 1];
    wal_header_t header = {
        .sequence = current->sequence + 1,
        .identity = self->identity,
        .term = self->term,
        .vote = self->vote,
        .commit = self->commit,
        .base_index = self->last_index,
        .base_term = self->last_term,
        .lsn = self->lsn,
        .previous_end = self->position,
        .previous_crc = self->chain,
        .configuration_index = wal_conf_index(&self->configurations),
        .configuration = bytes_slice(wal_conf_top(&self->configurations)),
    };
    size_t header_size = wal_header_size(header.configuration.len);
    uint64_t needed = header_size + batch_size;
    header.segment_bytes = self->new_segment_bytes > needed
                               ? self->new_segment_bytes
                               : (needed + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    uint8_t *out;
    bytes_t *encoded = bytes_alloc(header_size, &out);
    self->seed = wal_header_encode(&header, out);
    self->chain = self->seed;
    self->position = header_size;
    self->segment_bytes = header.segment_bytes;
    self->segments = xgrow(self->segments, &self->segment_capacity, self->segment_count + 1,
                           sizeof *self->segments);
    self->segments[self->segment_count++] = (wal_segment_t){
        .sequence = header.sequence,
        .base_index = header.base_index,
        .lowest = UINT64_MAX,
    };
    return encoded;
}

static void note_index(wal_writer_t *self, uint64_t index)
{
    wal_segment_t *segment = &self->segments[self->segment_count - 1];
    if (index < segment->lowest) {
        segment->lowest = index;
    }
}

static uint8_t *encode_entries(wal_writer_t *self, const msg_append_log_t *append, uint8_t *out)
{
    const entries_t *entries = &append->entries;
    assert(append->first > self->commit); /* what is committed is never replaced */
    assert(append->first <= self->last_index + 1);
    assert(append->first <= self->last_index || entries->items[0].term >= self->last_term);
    wal_conf_cut(&self->configurations, append->first);
    wal_terms_cut(&self->terms, append->first);
    for (size_t i = 0; i < entries->count; i++) {
        const entry_t *entry = &entries->items[i];
        assert(entry->term > 0 && entry->term <= self->term);
        assert(i == 0 || entry->term >= entries->items[i - 1].term);
        out = wal_record_entry(out, entry);
        wal_terms_push(&self->terms, entry->index, entry->term);
        if (entry->type == ENTRY_CONFIGURATION) {
            assert(bytes_len(entry->payload) > 0);
            wal_conf_push(&self->configurations, entry->index, entry->payload);
        }
    }
    self->last_index = entries->items[entries->count - 1].index;
    self->last_term = entries->items[entries->count - 1].term;
    note_index(self, append->first);
    return out;
}

/* From here on the log begins after the snapshot, with what it held behind the snapshot's last entry, if it
 * held that very entry. */
static uint8_t *encode_mark(wal_writer_t *self, const msg_snap_mark_t *mark, uint8_t *out)
{
    assert(mark->index > self->commit);
    assert(mark->log_term > 0 && mark->log_term <= self->term);
    bool keeps_suffix = mark->index <= self->last_index &&
                        wal_terms_at(&self->terms, mark->index) == mark->log_term;
    wal_conf_begin(&self->configurations, mark->index, mark->configuration, keeps_suffix);
    if (keeps_suffix) {
        wal_terms_settle(&self->terms, mark->index);
    } else {
        wal_terms_cut(&self->terms, 0);
        self->last_index = mark->index;
        self->last_term = mark->log_term;
    }
    self->commit = mark->index;
    wal_conf_settle(&self->configurations, mark->index);
    note_index(self, mark->index);
    return wal_record_snapshot(out, mark, keeps_suffix);
}

static void raise_commit(wal_writer_t *self, uint64_t commit)
{
    uint64_t known = commit < self->last_index ? commit : self->last_index;
    if (known > self->commit) {
        self->commit = known;
        wal_conf_settle(&self->configurations, known);
        wal_terms_settle(&self->terms, known);
    }
}

static void forget_written(wal_writer_t *self, size_t count)
{
    if (count == 0) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        free_pending(&self->pending[i]);
    }
    self->pending_count -= count;
    memmove(self->pending, self->pending + count, self->pending_count * sizeof *self->pending);
}

static bytes_t *encode_batch(wal_writer_t *self, const plan_t *plan)
{
    uint8_t *data;
    size_t size = wal_batch_size(plan->records_len);
    bytes_t *encoded = bytes_alloc(size, &data);
    uint8_t *out = data + WAL_BATCH_HEADER_BYTES;
    if (self->has_hardstate) {
        self->term = self->hardstate.term;
        self->vote = self->hardstate.vote;
        out = wal_record_hardstate(out, self->term, self->vote);
    }
    for (size_t i = 0; i < plan->messages; i++) {
        const pending_t *item = &self->pending[i];
        assert(item->lsn > self->lsn);
        self->lsn = item->lsn;
        if (item->is_mark) {
            out = encode_mark(self, &item->mark, out);
            continue;
        }
        if (item->append.entries.count > 0) {
            out = encode_entries(self, &item->append, out);
        }
        raise_commit(self, item->append.commit);
    }
    assert(out == data + WAL_BATCH_HEADER_BYTES + plan->records_len);
    wal_batch_t batch = {
        .offset = self->position,
        .lsn = self->lsn,
        .commit = self->commit,
        .records_len = (uint32_t)plan->records_len,
        .records = plan->records,
    };
    self->chain = wal_batch_seal(data, &batch, self->seed, self->chain);
    self->position += size;
    return encoded;
}

/* ---- purge ---- */

/* How many of the oldest segments may go: those before a segment S whose base is flushed, so that
 * nothing before it is needed, and whose base no later record touches, so that the log from S on
 * reads the same without them. */
static size_t count_purgeable(const wal_writer_t *self)
{
    uint64_t lowest = UINT64_MAX; /* of segment i and all later ones */
    for (size_t i = self->segment_count; i-- > 1;) {
        const wal_segment_t *segment = &self->segments[i];
        lowest = segment->lowest < lowest ? segment->lowest : lowest;
        if (segment->base_index <= self->flushed && lowest > segment->base_index) {
            return i;
        }
    }
    return 0;
}

/* Returns what DISK_WRITE calls purge_before; forgets the segments. */
static uint64_t purge(wal_writer_t *self)
{
    size_t count = count_purgeable(self);
    if (count == 0) {
        return 0;
    }
    self->segment_count -= count;
    memmove(self->segments, self->segments + count, self->segment_count * sizeof *self->segments);
    return self->segments[0].sequence;
}

/* ---- writing ---- */

static void start_write(wal_writer_t *self, outbox_t *out)
{
    plan_t plan = plan_batch(self);
    /* What was applied and flushed is committed, even if no batch said so yet. */
    raise_commit(self, self->flushed);
    bytes_t *segment_header = NULL;
    bytes_t *batch = NULL;
    if (plan.is_wanted) {
        size_t size = wal_batch_size(plan.records_len);
        if (self->position + size > self->segment_bytes) {
            segment_header = begin_segment(self, size);
            outbox_log(out, LEVEL_INFO, "the log begins a new segment",
                       "\"sequence\":%" PRIu64 ",\"index\":%" PRIu64,
                       self->segments[self->segment_count - 1].sequence, self->last_index);
        }
        batch = encode_batch(self, &plan);
    }
    uint64_t purge_before = purge(self);
    if (!batch && purge_before == 0) {
        return;
    }
    self->is_writing = true;
    self->answers_hardstate = self->has_hardstate;
    self->written_hardstate = self->hardstate;
    self->answers_log = plan.messages > 0;
    self->has_hardstate = false;
    forget_written(self, plan.messages);

    msg_t *msg = msg_new(MSG_DISK_WRITE);
    msg->u.disk_write = (msg_disk_write_t){
        .id = ++self->write_id,
        .batch = batch,
        .segment_header = segment_header,
        .purge_before = purge_before,
    };
    outbox_put(out, PORT_DISK, &msg);
}

/* Nothing is lost yet: every write goes on until the current segment is full. */
static void note_room(wal_writer_t *self, bool lacks_room, outbox_t *out)
{
    if (lacks_room && !self->lacks_room) {
        outbox_log(
            out, LEVEL_WARN,
            "no room on the disk for the next segment of the log: when this one is full, the "
            "node stops",
            "\"bytes-left\":%" PRIu64, self->segment_bytes - self->position);
    } else if (self->lacks_room && !lacks_room) {
        outbox_log(out, LEVEL_INFO, "the disk has room for the next segment of the log", NULL);
    }
    self->lacks_room = lacks_room;
}

static void on_disk_done(wal_writer_t *self, const msg_disk_done_t *done, outbox_t *out)
{
    assert(self->is_writing && done->id == self->write_id);
    self->is_writing = false;
    if (done->micros > SLOW_WRITE_US) {
        outbox_log(out, LEVEL_WARN, "a write to the log was slow", "\"micros\":%" PRIu64,
                   done->micros);
    }
    note_room(self, done->lacks_room, out);
    if (self->answers_hardstate) {
        msg_t *msg = msg_new(MSG_HS_DURABLE);
        msg->u.hardstate = self->written_hardstate;
        outbox_put(out, ACTOR_ELECTION, &msg);
    }
    if (self->answers_log) {
        msg_t *msg = msg_new(MSG_LOG_DURABLE);
        msg->u.log_durable.lsn = self->lsn;
        outbox_put(out, ACTOR_REPLICATOR, &msg);
    }
}

static void end_of_burst(wal_writer_t *self, outbox_t *out)
{
    if (self->is_writing) {
        return;
    }
    start_write(self, out);
    if (self->is_stopping && !self->is_writing && !self->is_stopped) {
        self->is_stopped = true;
        outbox_stopped(out);
    }
}

static void step(void *context, const step_in_t *in, outbox_t *out)
{
    wal_writer_t *self = context;
    if (!in->msg) {
        end_of_burst(self, out);
        return;
    }
    switch (in->msg->kind) {
    case MSG_HARDSTATE: on_hardstate(self, &in->msg->u.hardstate); break;
    case MSG_APPEND_LOG: on_append_log(self, &in->msg->u.append_log); break;
    case MSG_SNAP_MARK: on_snap_mark(self, &in->msg->u.snap_mark); break;
    case MSG_FLUSHED: on_flushed(self, &in->msg->u.applied); break;
    case MSG_DISK_DONE: on_disk_done(self, &in->msg->u.disk_done, out); break;
    case MSG_STOP: self->is_stopping = true; break;
    default: assert(false && "a message the wiring table does not send here");
    }
}

static uint64_t deadline(const void *context)
{
    (void)context;
    return DEADLINE_NONE;
}

const core_ops_t wal_writer_ops = {.step = step, .deadline = deadline, .destroy = destroy};
