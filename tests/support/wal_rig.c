#include "tests/support/wal_rig.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "messages/xalloc.h"

static const wal_identity_t IDENTITY = {.cluster_id = 0xc1c2, .member_id = 0xa1a2};

/* ---- the model ---- */

static void model_deinit(wal_model_t *self)
{
    entries_deinit(&self->entries);
    bytes_unref(&self->base_configuration);
    *self = (wal_model_t){0};
}

static void model_copy(wal_model_t *to, const wal_model_t *from)
{
    if (to == from) {
        return;
    }
    model_deinit(to);
    *to = *from;
    to->entries = (entries_t){0};
    bytes_ref(to->base_configuration);
    for (size_t i = 0; i < from->entries.count; i++) {
        entries_append(&to->entries, &from->entries.items[i]);
    }
}

static void model_cut(wal_model_t *self, uint64_t first)
{
    while (self->entries.count > 0 && self->base_index + self->entries.count >= first) {
        entry_t *last = &self->entries.items[--self->entries.count];
        self->entries.bytes -= bytes_len(last->payload);
        bytes_unref(&last->payload);
    }
}

static bool same_entry(const entry_t *a, const entry_t *b)
{
    return a->index == b->index && a->term == b->term && a->type == b->type &&
           slice_equal(bytes_slice(a->payload), bytes_slice(b->payload));
}

static uint64_t model_last(const wal_model_t *self)
{
    return self->base_index + self->entries.count;
}

static uint64_t model_term_at(const wal_model_t *self, uint64_t index)
{
    return index == self->base_index ? self->base_term
                                     : self->entries.items[index - self->base_index - 1].term;
}

/* Removes entries from the front. */
static void model_begin_after(wal_model_t *self, uint64_t index)
{
    entries_t left = {0};
    for (size_t i = (size_t)(index - self->base_index); i < self->entries.count; i++) {
        entries_append(&left, &self->entries.items[i]);
    }
    entries_deinit(&self->entries);
    self->entries = left;
}

static bool same_configuration(const wal_recovered_t *recovered, const wal_model_t *model)
{
    uint64_t index;
    const bytes_t *found = wal_recovered_configuration(recovered, &index);
    uint64_t last = model->base_index;
    const bytes_t *expected = model->base_configuration;
    for (size_t i = 0; i < model->entries.count; i++) {
        const entry_t *entry = &model->entries.items[i];
        if (entry->type == ENTRY_CONFIGURATION) {
            last = entry->index;
            expected = entry->payload;
        }
    }
    return index == last && slice_equal(bytes_slice(found), bytes_slice(expected));
}

bool wal_rig_matches(const wal_recovered_t *recovered, const wal_model_t *model)
{
    uint64_t base = recovered->base_index;
    if (recovered->term != model->term || recovered->vote != model->vote ||
        recovered->lsn != model->lsn || wal_recovered_last_index(recovered) != model_last(model) ||
        base < model->base_index || recovered->base_term != model_term_at(model, base)) {
        return false;
    }
    for (size_t i = 0; i < recovered->entries.count; i++) {
        const entry_t *expected = &model->entries.items[base - model->base_index + i];
        if (!same_entry(&recovered->entries.items[i], expected)) {
            return false;
        }
    }
    return same_configuration(recovered, model);
}

/* ---- life ---- */

void wal_rig_init(wal_rig_t *self, uint64_t seed, uint64_t segment_bytes)
{
    *self = (wal_rig_t){.disk = fault_io_new(seed), .segment_bytes = segment_bytes};
    int rc = io_make_dir(fault_io(self->disk), "/data");
    assert(rc == 0);
    (void)rc;
}

void wal_rig_kill(wal_rig_t *self)
{
    if (self->core) {
        wal_writer_ops.destroy(&self->core);
    }
    if (self->outbox) {
        outbox_destroy(&self->outbox);
    }
    wal_disk_destroy(&self->files);
    wal_recovered_deinit(&self->recovered);
    free(self->error);
    self->error = NULL;
}

void wal_rig_crash(wal_rig_t *self, crash_t how)
{
    wal_rig_kill(self);
    fault_io_crash(self->disk, how);
}

void wal_rig_deinit(wal_rig_t *self)
{
    wal_rig_kill(self);
    model_deinit(&self->sent);
    model_deinit(&self->in_flight);
    model_deinit(&self->acked);
    fault_io_destroy(&self->disk);
}

int wal_rig_create(wal_rig_t *self)
{
    bytes_t *configuration = bytes_new("first", 5);
    wal_initial_t initial = wal_initial_cluster(IDENTITY, configuration);
    initial.segment_bytes = self->segment_bytes;
    self->sent.term = 1;
    self->sent.commit = 1;
    entries_append(&self->sent.entries, &initial.entries.items[0]);
    model_copy(&self->in_flight, &self->sent);
    int rc = wal_create(fault_io(self->disk), WAL_RIG_DIR, &initial, &self->error);
    if (rc == 0) {
        model_copy(&self->acked, &self->sent);
    }
    entries_deinit(&initial.entries);
    bytes_unref(&configuration);
    return rc;
}

static void check_recovered(wal_rig_t *self)
{
    const wal_recovered_t *recovered = &self->recovered;
    bool is_acked = wal_rig_matches(recovered, &self->acked);
    bool is_in_flight = wal_rig_matches(recovered, &self->in_flight);
    assert(is_acked || is_in_flight);
    const wal_model_t *model = is_in_flight ? &self->in_flight : &self->acked;
    assert(recovered->identity.cluster_id == IDENTITY.cluster_id);
    assert(recovered->identity.member_id == IDENTITY.member_id);
    /* What came with a snapshot is flushed. A mark goes with its segment, once it is settled. */
    uint64_t flushed = self->flushed > model->base_index ? self->flushed : model->base_index;
    assert(recovered->base_index <= flushed);
    assert(recovered->generation == model->generation ||
           (recovered->generation == 0 && self->flushed >= model->base_index));
    /* FLUSHED may have told the core of a higher commit index than the log's user did. */
    assert(recovered->commit >= model->commit || recovered->commit >= self->acked.commit);
    assert(recovered->commit <= (model->commit > self->flushed ? model->commit : self->flushed));
    model_copy(&self->sent, model);
    model_copy(&self->in_flight, &self->sent);
    model_copy(&self->acked, &self->sent);
    self->sent.commit =
        recovered->commit > self->sent.commit ? recovered->commit : self->sent.commit;
}

int wal_rig_start(wal_rig_t *self)
{
    wal_rig_kill(self);
    int rc = wal_open(fault_io(self->disk), WAL_RIG_DIR, &self->recovered, &self->error);
    if (rc != 0) {
        return rc;
    }
    check_recovered(self);
    rc = wal_disk_new(fault_io(self->disk), WAL_RIG_DIR, &self->recovered, self->segment_bytes,
                      NULL, &self->files, &self->error);
    if (rc != 0) {
        return rc;
    }
    const outbox_edge_t edges[] = {
        {.to = ACTOR_ELECTION, .policy = EDGE_FREE},
        {.to = ACTOR_REPLICATOR, .policy = EDGE_FREE},
        {.to = PORT_DISK, .policy = EDGE_FREE},
    };
    self->outbox = outbox_new(ACTOR_WAL_WRITER, edges, sizeof edges / sizeof *edges);
    self->core = wal_writer_new(&self->recovered, self->segment_bytes);
    self->lsn_acked = self->recovered.lsn;
    self->hardstate_acked = self->hardstate_seq;
    return 0;
}

/* ---- messages to the core ---- */

static void give(wal_rig_t *self, msg_t *msg)
{
    step_in_t in = {.msg = msg};
    wal_writer_ops.step(self->core, &in, self->outbox);
    msg_free(&msg);
}

void wal_rig_hardstate(wal_rig_t *self, uint64_t term, uint64_t vote)
{
    msg_t *msg = msg_new(MSG_HARDSTATE);
    msg->u.hardstate = (msg_hardstate_t){.seq = ++self->hardstate_seq, .term = term, .vote = vote};
    self->sent.term = term;
    self->sent.vote = vote;
    give(self, msg);
}

static void append(wal_rig_t *self, uint64_t first, const entries_t *entries, uint64_t commit)
{
    msg_t *msg = msg_new(MSG_APPEND_LOG);
    msg_append_log_t *append = &msg->u.append_log;
    append->lsn = ++self->sent.lsn;
    append->first = first;
    if (entries->count > 0) {
        model_cut(&self->sent, first);
    }
    for (size_t i = 0; i < entries->count; i++) {
        entries_append(&append->entries, &entries->items[i]);
        entries_append(&self->sent.entries, &entries->items[i]);
    }
    if (commit > self->sent.commit) {
        self->sent.commit = commit;
    }
    append->commit = self->sent.commit;
    give(self, msg);
}

void wal_rig_append(wal_rig_t *self, uint64_t first, size_t count, size_t len, uint64_t commit)
{
    entries_t entries = {0};
    for (size_t i = 0; i < count; i++) {
        uint8_t *data;
        entry_t entry = {.index = first + i, .term = self->sent.term, .type = ENTRY_NORMAL};
        entry.payload = len ? bytes_alloc(len, &data) : NULL;
        for (size_t j = 0; j < len; j++) {
            data[j] = (uint8_t)(1 + (entry.index * 7 + entry.term * 31 + self->sent.lsn + j) % 255);
        }
        entries_append(&entries, &entry);
        bytes_unref(&entry.payload);
    }
    append(self, first, &entries, commit);
    entries_deinit(&entries);
}

void wal_rig_configure(wal_rig_t *self, const char *configuration)
{
    entry_t entry = {
        .index = wal_rig_last(self) + 1,
        .term = self->sent.term,
        .type = ENTRY_CONFIGURATION,
        .payload = bytes_new(configuration, strlen(configuration)),
    };
    entries_t entries = {0};
    entries_append(&entries, &entry);
    bytes_unref(&entry.payload);
    append(self, entry.index, &entries, 0);
    entries_deinit(&entries);
}

void wal_rig_snapshot(wal_rig_t *self, uint64_t index, uint64_t term, const char *configuration)
{
    wal_model_t *model = &self->sent;
    msg_t *msg = msg_new(MSG_SNAP_MARK);
    msg->u.snap_mark = (msg_snap_mark_t){
        .lsn = ++model->lsn,
        .index = index,
        .log_term = term,
        .generation = ++model->generation,
        .configuration = bytes_new(configuration, strlen(configuration)),
    };
    if (index <= model_last(model) && model_term_at(model, index) == term) {
        model_begin_after(model, index);
    } else {
        entries_deinit(&model->entries);
    }
    model->base_index = index;
    model->base_term = term;
    bytes_unref(&model->base_configuration);
    model->base_configuration = bytes_ref(msg->u.snap_mark.configuration);
    model->commit = index > model->commit ? index : model->commit;
    give(self, msg);
}

void wal_rig_flushed(wal_rig_t *self, uint64_t index)
{
    msg_t *msg = msg_new(MSG_FLUSHED);
    msg->u.applied.index = index;
    self->flushed = index > self->flushed ? index : self->flushed;
    give(self, msg);
}

uint64_t wal_rig_last(const wal_rig_t *self)
{
    return model_last(&self->sent);
}

uint64_t wal_rig_term_at(const wal_rig_t *self, uint64_t index)
{
    return model_term_at(&self->sent, index);
}

/* ---- turns ---- */

/* Takes what the core has put; true = a disk write. */
static bool collect(wal_rig_t *self, msg_t **request)
{
    msg_t *msg;
    actor_id_t to;
    *request = NULL;
    while ((msg = outbox_take(self->outbox, &to))) {
        if (to == PORT_DISK) {
            assert(!*request && msg->kind == MSG_DISK_WRITE);
            *request = msg;
            continue;
        }
        if (msg->kind == MSG_LOG_DURABLE) {
            assert(to == ACTOR_REPLICATOR && msg->u.log_durable.lsn > self->lsn_acked);
            self->lsn_acked = msg->u.log_durable.lsn;
            self->log_durables++;
        } else {
            assert(to == ACTOR_ELECTION && msg->kind == MSG_HS_DURABLE);
            assert(msg->u.hardstate.seq > self->hardstate_acked);
            self->hardstate_acked = msg->u.hardstate.seq;
        }
        msg_free(&msg);
    }
    return *request != NULL;
}

bool wal_rig_flush(wal_rig_t *self, msg_t **request)
{
    step_in_t in = {.msg = NULL};
    wal_writer_ops.step(self->core, &in, self->outbox);
    if (!collect(self, request)) {
        return false;
    }
    const msg_disk_write_t *write = &(*request)->u.disk_write;
    self->disk_writes++;
    self->segments_begun += write->segment_header != NULL;
    self->purges += write->purge_before != 0;
    model_copy(&self->in_flight, &self->sent);
    return true;
}

int wal_rig_execute(wal_rig_t *self, msg_t **request)
{
    msg_t *done = NULL;
    int rc = wal_disk_port(self->files, *request, &done, &self->error);
    msg_free(request);
    if (rc < 0) {
        return rc;
    }
    give(self, done);
    bool more = collect(self, request);
    assert(!more); /* only the end of a burst starts a write */
    (void)more;
    model_copy(&self->acked, &self->in_flight);
    return 0;
}

int wal_rig_settle(wal_rig_t *self)
{
    msg_t *request;
    while (wal_rig_flush(self, &request)) {
        int rc = wal_rig_execute(self, &request);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

char *wal_rig_segment(const wal_rig_t *self, size_t number)
{
    char **names;
    size_t count;
    char *path = NULL;
    size_t seen = 0;
    int rc = io_list(fault_io(self->disk), WAL_RIG_DIR, &names, &count);
    assert(rc == 0);
    (void)rc;
    for (size_t i = 0; i < count && !path; i++) {
        if (strstr(names[i], ".wal") && seen++ == number) {
            path = xasprintf("%s/%s", WAL_RIG_DIR, names[i]);
        }
    }
    io_names_free(&names, count);
    return path;
}
