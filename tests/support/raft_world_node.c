#include "tests/support/raft_world_private.h"

uint64_t rw_below(world_t *self, uint64_t bound)
{
    return prng_below(&self->prng, bound);
}

bool rw_chance(world_t *self, uint32_t permille)
{
    return rw_below(self, 1000) < permille;
}

bool rw_traces(void)
{
    return getenv("RAFT_WORLD_TRACE") != NULL;
}

/* ---- letters inside a node ---- */

void rw_post(node_t *node, actor_id_t from, actor_id_t to, msg_t *msg)
{
    msg->from = from;
    node->letters =
        xgrow(node->letters, &node->letter_capacity, node->letter_count + 1, sizeof *node->letters);
    node->letters[node->letter_count++] = (letter_t){.from = from, .to = to, .msg = msg};
}

int rw_core_of(actor_id_t actor)
{
    return actor == ACTOR_ELECTION ? 0 : actor == ACTOR_REPLICATOR ? 1 : -1;
}

static actor_id_t actor_of(int core)
{
    return core ? ACTOR_REPLICATOR : ACTOR_ELECTION;
}

const core_ops_t *rw_ops_of(int core)
{
    return core ? &replicator_ops : &election_ops;
}

static void collect(world_t *self, node_t *node, int core)
{
    outbox_t *outbox = node->outboxes[core];
    if (outbox_fatal_text(outbox)) {
        FAIL(self, "member %" PRIu64 ": %s", node->id, outbox_fatal_text(outbox));
    }
    const outbox_line_t *line = NULL;
    while ((line = outbox_next_line(outbox))) {
        if (rw_traces()) {
            fprintf(stderr, "%" PRIu64 " [%" PRIu64 "] log: %s %s\n", self->step, node->id,
                    line->text, line->fields);
        }
    }
    actor_id_t to = ACTOR_NONE;
    msg_t *msg = NULL;
    while ((msg = outbox_take(outbox, &to))) {
        const wiring_edge_t *edge = wiring_find(actor_of(core), to);
        assert(edge && wiring_carries(edge, msg->kind));
        if (to == ACTOR_ZMQ_GATEWAY) {
            msg_free(&msg); /* nobody asks there */
        } else {
            rw_post(node, actor_of(core), to, msg);
        }
    }
}

void rw_step_core(world_t *self, node_t *node, int core, msg_t *msg)
{
    step_in_t in = {.now_us = self->now_us, .msg = msg};
    rw_ops_of(core)->step(node->cores[core], &in, node->outboxes[core]);
    node->dirty[core] = msg != NULL;
    collect(self, node, core);
}

/* ---- life of a member ---- */

const bytes_t *rw_newest_configuration(const disk_t *disk)
{
    const bytes_t *newest = disk->configuration;
    for (size_t i = 0; i < disk->count; i++) {
        newest = disk->entries[i].type == ENTRY_CONFIGURATION ? disk->entries[i].payload : newest;
    }
    return newest;
}

static void make_cores(world_t *self, node_t *node)
{
    const disk_t *disk = &node->disk;
    entries_t entries = {0};
    for (size_t i = 0; i < disk->count; i++) {
        entries_append(&entries, &disk->entries[i]);
    }
    replicator_cfg_t replicator = {
        .member_id = node->id,
        .incarnation = self->seed * 1000000 + node->id * 1000 + node->starts,
        .term = disk->term,
        .commit = disk->commit,
        .applied = node->applied,
        .base_index = disk->base_index,
        .base_term = disk->base_term,
        .configuration = disk->configuration,
        .configuration_index = disk->base_index,
        .entries = &entries,
        .last_lsn = disk->lsn,
        .catchup_entries = 5,
        .election_timeout_us = ELECTION_US,
        .heartbeat_us = HEARTBEAT_US,
        .max_learners = 2,
    };
    election_cfg_t election = {
        .member_id = node->id,
        .term = disk->term,
        .vote = disk->vote,
        .configuration = rw_newest_configuration(disk),
        .pre_vote = self->seed % 4 != 0,
        .heartbeat_us = HEARTBEAT_US,
        .election_timeout_us = ELECTION_US,
        .seed = rw_below(self, 1u << 30),
    };
    node->cores[0] = election_new(&election, &node->metrics);
    node->cores[1] = replicator_new(&replicator, &node->metrics);
    entries_deinit(&entries);
}

void rw_start_node(world_t *self, node_t *node)
{
    node->starts++;
    node->is_up = true;
    make_cores(self, node);
    for (int core = 0; core < 2; core++) {
        node->outboxes[core] = wiring_outbox(actor_of(core));
        rw_step_core(self, node, core, NULL);
    }
}

void rw_add_node(world_t *self, uint64_t id, const bytes_t *configuration)
{
    node_t *node = xcalloc(1, sizeof *node);
    node->id = id;
    node->disk.configuration = bytes_ref(configuration);
    node->members = bytes_ref(configuration);
    node->flushed_members = bytes_ref(configuration);
    self->nodes[id] = node;
    rw_start_node(self, node);
}

void rw_set_bytes(bytes_t **kept, const bytes_t *value)
{
    bytes_t *fresh = bytes_ref(value);
    bytes_unref(kept);
    *kept = fresh;
}

void rw_release_taking(node_t *node)
{
    bytes_unref(&node->taking.configuration);
    node->taking = (msg_snap_t){0};
    node->is_taking = false;
}

/* ---- the disk ---- */

void rw_cut_disk(disk_t *disk, uint64_t from)
{
    while (disk->count && disk->entries[disk->count - 1].index >= from) {
        bytes_unref(&disk->entries[--disk->count].payload);
    }
}

static void write_entries(world_t *self, node_t *node, const msg_append_log_t *record)
{
    disk_t *disk = &node->disk;
    uint64_t last = disk->base_index + disk->count;
    if (record->first <= disk->commit || record->first > last + 1) {
        FAIL(self, "member %" PRIu64 " writes at %" PRIu64 ", commit %" PRIu64 ", last %" PRIu64,
             node->id, record->first, disk->commit, last);
    }
    rw_cut_disk(disk, record->first);
    for (size_t i = 0; i < record->entries.count; i++) {
        const entry_t *entry = &record->entries.items[i];
        if (entry->term > disk->term) { /* S7 */
            FAIL(self, "member %" PRIu64 " writes an entry of term %" PRIu64 " in term %" PRIu64,
                 node->id, entry->term, disk->term);
        }
        assert(disk->count < INDEX_MAX && entry->index == disk->base_index + disk->count + 1);
        disk->entries[disk->count] = *entry;
        disk->entries[disk->count++].payload = bytes_ref(entry->payload);
    }
    last = disk->base_index + disk->count;
    uint64_t known = record->commit < last ? record->commit : last;
    disk->commit = known > disk->commit ? known : disk->commit;
    disk->lsn = record->lsn;
}

/* The log's first entries are forgotten. */
void rw_purge_disk(disk_t *disk, uint64_t until)
{
    size_t gone = 0;
    while (gone < disk->count && disk->entries[gone].index <= until) {
        entry_t *entry = &disk->entries[gone++];
        disk->base_index = entry->index;
        disk->base_term = entry->term;
        if (entry->type == ENTRY_CONFIGURATION) {
            rw_set_bytes(&disk->configuration, entry->payload);
        }
        bytes_unref(&entry->payload);
    }
    disk->count -= gone;
    memmove(disk->entries, disk->entries + gone, disk->count * sizeof *disk->entries);
}

static void write_mark(world_t *self, node_t *node, const msg_snap_mark_t *mark)
{
    disk_t *disk = &node->disk;
    if (mark->index <= disk->commit || mark->log_term > disk->term) {
        FAIL(self, "member %" PRIu64 " marks %" PRIu64 " below its commit %" PRIu64, node->id,
             mark->index, disk->commit);
    }
    uint64_t last = disk->base_index + disk->count;
    bool keeps = mark->index > disk->base_index && mark->index <= last &&
                 disk->entries[mark->index - disk->base_index - 1].term == mark->log_term;
    rw_purge_disk(disk, keeps ? mark->index : last);
    disk->base_index = mark->index;
    disk->base_term = mark->log_term;
    rw_set_bytes(&disk->configuration, mark->configuration);
    disk->commit = mark->index;
    disk->lsn = mark->lsn;
    /* A restart finishes the installation. */
    node->flushed = mark->index;
    rw_set_bytes(&node->flushed_members, mark->configuration);
}

static void answer_write(node_t *node, const msg_t *request)
{
    msg_t *done = msg_new(request->kind == MSG_HARDSTATE ? MSG_HS_DURABLE : MSG_LOG_DURABLE);
    if (request->kind == MSG_HARDSTATE) {
        done->u.hardstate = request->u.hardstate;
        rw_post(node, ACTOR_WAL_WRITER, ACTOR_ELECTION, done);
    } else {
        done->u.log_durable.lsn =
            request->kind == MSG_SNAP_MARK ? request->u.snap_mark.lsn : request->u.append_log.lsn;
        rw_post(node, ACTOR_WAL_WRITER, ACTOR_REPLICATOR, done);
    }
}

/* The oldest writes, so many. A crash may have them on the disk without anybody being told. */
void rw_write_some(world_t *self, node_t *node, size_t count, bool answers)
{
    for (size_t i = 0; i < count; i++) {
        msg_t *request = node->writes[i];
        if (request->kind == MSG_HARDSTATE) {
            node->disk.term = request->u.hardstate.term;
            node->disk.vote = request->u.hardstate.vote;
        } else if (request->kind == MSG_SNAP_MARK) {
            write_mark(self, node, &request->u.snap_mark);
        } else {
            write_entries(self, node, &request->u.append_log);
        }
        if (answers) {
            answer_write(node, request);
        }
        msg_free(&node->writes[i]);
    }
    node->write_count -= count;
    if (node->write_count) {
        memmove(node->writes, node->writes + count, node->write_count * sizeof *node->writes);
    }
}

void rw_crash_node(world_t *self, node_t *node)
{
    self->stats.crashes++;
    rw_write_some(self, node, rw_below(self, node->write_count + 1), false);
    for (size_t i = 0; i < node->write_count; i++) {
        msg_free(&node->writes[i]);
    }
    node->write_count = 0;
    for (size_t i = 0; i < node->letter_count; i++) {
        msg_free(&node->letters[i].msg);
    }
    node->letter_count = 0;
    for (int core = 0; core < 2; core++) {
        rw_ops_of(core)->destroy(&node->cores[core]);
        outbox_destroy(&node->outboxes[core]);
    }
    rw_release_taking(node);
    node->applied = node->flushed;
    rw_set_bytes(&node->members, node->flushed_members);
    if (node->disk.commit < node->flushed) {
        node->disk.commit = node->flushed; /* what was applied and flushed was committed */
    }
    node->is_up = false;
    node->up_at_us = self->now_us + rw_below(self, 3 * ELECTION_US);
}
