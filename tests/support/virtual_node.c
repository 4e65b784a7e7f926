#include "tests/support/virtual_node.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/applier/applier.h"
#include "actors/election/election.h"
#include "actors/keeper/keeper.h"
#include "actors/lease/lease.h"
#include "actors/peer/peer.h"
#include "actors/replicator/replicator.h"
#include "actors/wal_writer/wal_disk.h"
#include "actors/wal_writer/wal_writer.h"
#include "actors/watch/watch.h"
#include "actors/wiring.h"
#include "actors/zmq_gateway/zmq_gateway.h"
#include "membership.pb-c.h"
#include "messages/xalloc.h"
#include "store/generations.h"
#include "store/wal_dir.h"

#define WAL_DIR    "/data/wal"
#define MEMBER_ID  0x8e9e05c52164694du
#define CLUSTER_ID 0xcdf818194e3a8c32u

enum {
    SEGMENT_BYTES = 65536,
    CATCHUP_ENTRIES = 100,
    HEARTBEAT_US = 100000,
    ELECTION_TIMEOUT_US = 1000000,
    REQUEST_TIMEOUT_US = 7000000,
    NATIVE_HEARTBEAT_US = 1000000,
    ORIGIN_STEP = 1000,
    STEPS_MAX = 1000000, /* of one run to rest: more is a loop */
};

typedef struct {
    actor_id_t to;
    msg_t *msg;
} letter_t;

typedef struct {
    const core_ops_t *ops;
    void *core;
    outbox_t *outbox;
} actor_t;

struct virtual_node {
    virtual_node_hooks_t hooks;
    uint64_t seed, now_us, starts;
    fault_io_t *disk;
    generations_t *generations;
    wal_recovered_t recovered;
    wal_disk_t *files;
    actor_t actors[ACTOR_COUNT];
    metrics_t metrics[ACTOR_COUNT];
    peer_metrics_t peer_metrics;
    api_t *api;
    zmq_gateway_t *native;
    letter_t *letters; /* first in, first out */
    size_t letter_head, letter_count, letter_capacity;
    msg_t *held_write;
    bool disk_held, up;
    bool has_stopped; /* by itself; what is left of it goes at the end of the run */
    uint64_t last_call;
};

/* ---- life ---- */

static void give_up_on(int rc, const char *error)
{
    if (rc) {
        fprintf(stderr, "virtual node: %s\n", error ? error : "?");
        abort();
    }
}

static bytes_t *encode_members(void)
{
    Quoral__ConfigurationMember member = QUORAL__CONFIGURATION_MEMBER__INIT;
    Quoral__ConfigurationMember *members[] = {&member};
    Quoral__Configuration configuration = QUORAL__CONFIGURATION__INIT;
    member.id = MEMBER_ID;
    configuration.n_members = 1;
    configuration.members = members;
    uint8_t *room = NULL;
    bytes_t *encoded = bytes_alloc(quoral__configuration__get_packed_size(&configuration), &room);
    quoral__configuration__pack(&configuration, room);
    return encoded;
}

virtual_node_t *virtual_node_new(const virtual_node_hooks_t *hooks, uint64_t seed)
{
    virtual_node_t *self = xcalloc(1, sizeof *self);
    self->hooks = *hooks;
    self->seed = seed;
    self->disk = fault_io_new(seed);
    self->generations = generations_memory_new();
    int rc = io_make_dir(fault_io(self->disk), "/data");
    bytes_t *members = encode_members();
    wal_initial_t initial = wal_initial_cluster(
        (wal_identity_t){.cluster_id = CLUSTER_ID, .member_id = MEMBER_ID}, members);
    initial.segment_bytes = SEGMENT_BYTES;
    char *error = NULL;
    rc = rc ? rc : wal_create(fault_io(self->disk), WAL_DIR, &initial, &error);
    give_up_on(rc, error);
    entries_deinit(&initial.entries);
    bytes_unref(&members);
    return self;
}

static void forget_process(virtual_node_t *self)
{
    for (int id = 1; id < ACTOR_COUNT; id++) {
        if (self->actors[id].core) {
            self->actors[id].ops->destroy(&self->actors[id].core);
        }
        outbox_destroy(&self->actors[id].outbox);
    }
    for (size_t i = 0; i < self->letter_count; i++) {
        msg_free(&self->letters[self->letter_head + i].msg);
    }
    self->letter_head = 0;
    self->letter_count = 0;
    msg_free(&self->held_write);
    wal_disk_destroy(&self->files);
    wal_recovered_deinit(&self->recovered);
    self->recovered = (wal_recovered_t){0};
    self->disk_held = false;
    self->up = false;
    self->has_stopped = false;
}

void virtual_node_destroy(virtual_node_t **self_p)
{
    virtual_node_t *self = *self_p;
    *self_p = NULL;
    if (self) {
        forget_process(self);
        generations_destroy(&self->generations);
        fault_io_destroy(&self->disk);
        free(self->letters);
        free(self);
    }
}

void virtual_node_crash(virtual_node_t *self, crash_t how, uint64_t pick)
{
    forget_process(self);
    fault_io_crash(self->disk, how);
    generations_memory_crash(self->generations, pick);
}

bool virtual_node_is_up(const virtual_node_t *self)
{
    return self->up;
}

/* ---- putting the cores together, as actors/node.c does ---- */

static void on_answer(void *context, uint64_t call, bytes_t **message_p)
{
    virtual_node_t *self = context;
    self->hooks.answer(self->hooks.context, call, bytes_slice(*message_p));
    bytes_unref(message_p);
}

static void on_end(void *context, uint64_t call, grpc_code_t code, const char *text)
{
    virtual_node_t *self = context;
    self->hooks.end(self->hooks.context, call, code, text);
}

static void add(virtual_node_t *self, actor_id_t id, const core_ops_t *ops, void *core)
{
    self->actors[id] = (actor_t){.ops = ops, .core = core, .outbox = wiring_outbox(id)};
}

static void add_consensus(virtual_node_t *self, uint64_t applied)
{
    const wal_recovered_t *log = &self->recovered;
    uint64_t at = 0;
    election_cfg_t election = {.member_id = MEMBER_ID,
                               .term = log->term,
                               .vote = log->vote,
                               .configuration = wal_recovered_configuration(log, &at),
                               .pre_vote = true,
                               .tick_advance = true,
                               .heartbeat_us = HEARTBEAT_US,
                               .election_timeout_us = ELECTION_TIMEOUT_US,
                               .seed = self->seed + self->starts};
    replicator_cfg_t replicator = {.member_id = MEMBER_ID,
                                   .incarnation = self->seed * 1000 + self->starts,
                                   .term = log->term,
                                   .commit = log->commit,
                                   .applied = applied,
                                   .base_index = log->base_index,
                                   .base_term = log->base_term,
                                   .configuration = log->base_configuration,
                                   .configuration_index = log->base_configuration_index,
                                   .entries = &log->entries,
                                   .last_lsn = log->lsn,
                                   .catchup_entries = CATCHUP_ENTRIES,
                                   .election_timeout_us = ELECTION_TIMEOUT_US,
                                   .heartbeat_us = ELECTION_TIMEOUT_US / 10,
                                   .max_learners = 1};
    add(self, ACTOR_ELECTION, &election_ops,
        election_new(&election, &self->metrics[ACTOR_ELECTION]));
    add(self, ACTOR_REPLICATOR, &replicator_ops,
        replicator_new(&replicator, &self->metrics[ACTOR_REPLICATOR]));
    add(self, ACTOR_WAL_WRITER, &wal_writer_ops, wal_writer_new(log, SEGMENT_BYTES));
}

static peer_t *make_peer(virtual_node_t *self, uint64_t origin)
{
    uint64_t at = 0;
    peer_cfg_t cfg = {.cluster_id = CLUSTER_ID,
                      .member_id = MEMBER_ID,
                      .incarnation = origin,
                      .configuration = wal_recovered_configuration(&self->recovered, &at),
                      .configuration_is_committed = true,
                      .heartbeat_us = ELECTION_TIMEOUT_US / 10,
                      .election_timeout_us = ELECTION_TIMEOUT_US};
    return peer_new(&cfg, &self->metrics[ACTOR_PEER], &self->peer_metrics);
}

static void on_publication(void *context, const slice_t *frames, size_t count)
{
    virtual_node_t *self = context;
    if (self->hooks.publication) {
        self->hooks.publication(self->hooks.context, frames, count);
    }
}

/* The other gateway: nobody has to come. */
static void add_native(virtual_node_t *self, const api_cfg_t *api)
{
    zmq_gateway_cfg_t cfg = {
        .api = *api,
        .sessions = {.cluster_id = CLUSTER_ID,
                     .member_id = MEMBER_ID,
                     .heartbeat_us = NATIVE_HEARTBEAT_US,
                     .window_octets = 1 << 20,
                     .calls_max = 100,
                     .clients_max = 10,
                     .message_bytes_max = 1 << 20},
        .publisher = {.cluster_id = CLUSTER_ID,
                      .progress_us = NATIVE_HEARTBEAT_US,
                      .linger_us = NATIVE_HEARTBEAT_US,
                      .registrations_max = 10,
                      .registration_bytes_max = 10000},
    };
    publisher_sink_t sink = {.context = self, .publish = on_publication};
    self->native = zmq_gateway_new(&cfg, &sink, &self->metrics[ACTOR_ZMQ_GATEWAY]);
    add(self, ACTOR_ZMQ_GATEWAY, &zmq_gateway_ops, self->native);
}

static void add_others(virtual_node_t *self, uint64_t origin)
{
    lease_cfg_t lease = {.election_timeout_us = ELECTION_TIMEOUT_US,
                         .request_timeout_us = REQUEST_TIMEOUT_US,
                         .first_forward = origin};
    watch_cfg_t watch = {
        .progress_notify_us = 600000000, .stream_bytes_max = 65536, .total_bytes_max = 1 << 20};
    api_cfg_t api = {.cluster_id = CLUSTER_ID,
                     .member_id = MEMBER_ID,
                     .origin = origin,
                     .publishes = true,
                     .name = "one",
                     .max_request_bytes = 1572864,
                     .max_txn_ops = 128,
                     .request_timeout_us = REQUEST_TIMEOUT_US,
                     .progress_notify_us = 600000000,
                     .lease_ttl_min_s = 2,
                     .seed = self->seed};
    api_sink_t sink = {.context = self, .message = on_answer, .finish = on_end};
    self->api = api_new(&api, &sink, &self->metrics[ACTOR_GRPC_GATEWAY]);
    keeper_cfg_t keeper = {.generations = self->generations};
    add(self, ACTOR_KEEPER, &keeper_ops, keeper_new(&keeper, &self->metrics[ACTOR_KEEPER]));
    add(self, ACTOR_LEASE, &lease_ops, lease_new(&lease, &self->metrics[ACTOR_LEASE]));
    add(self, ACTOR_WATCH, &watch_ops, watch_new(&watch, &self->metrics[ACTOR_WATCH]));
    add(self, ACTOR_PEER, &peer_ops, make_peer(self, origin));
    add(self, ACTOR_GRPC_GATEWAY, &api_ops, self->api);
    api.publishes = false;
    api.origin += ORIGIN_STEP / 2;
    add_native(self, &api);
}

/* ---- delivery ---- */

static void post(virtual_node_t *self, actor_id_t to, msg_t *msg)
{
    if (self->letter_head > 64 && self->letter_head > self->letter_capacity / 2) {
        memmove(self->letters, self->letters + self->letter_head,
                self->letter_count * sizeof *self->letters);
        self->letter_head = 0;
    }
    self->letters = xgrow(self->letters, &self->letter_capacity,
                          self->letter_head + self->letter_count + 1, sizeof *self->letters);
    self->letters[self->letter_head + self->letter_count++] = (letter_t){.to = to, .msg = msg};
}

static void say(virtual_node_t *self, const msg_t *msg, actor_id_t to)
{
    char text[200];
    char line[300];
    msg_print(msg, text, sizeof text);
    snprintf(line, sizeof line, "[%6" PRIu64 "] %-12s %s -> %s", self->now_us / 1000,
             actor_name(msg->from), text, actor_name(to));
    self->hooks.trace(self->hooks.context, line);
}

/* What is no message. */
static void tell(virtual_node_t *self, const char *who, const char *kind, const char *text)
{
    char line[300];
    snprintf(line, sizeof line, "[%6" PRIu64 "] %-12s %s %s", self->now_us / 1000, who, kind, text);
    self->hooks.trace(self->hooks.context, line);
}

static void collect(virtual_node_t *self, actor_id_t id)
{
    actor_t *actor = &self->actors[id];
    if (outbox_fatal_text(actor->outbox)) {
        fprintf(stderr, "%s: %s\n", actor_name(id), outbox_fatal_text(actor->outbox));
        abort();
    }
    for (const outbox_line_t *line; (line = outbox_next_line(actor->outbox));) {
        tell(self, actor_name(id), "LOG", line->text);
    }
    actor_id_t to = ACTOR_NONE;
    msg_t *msg = NULL;
    while ((msg = outbox_take(actor->outbox, &to))) {
        const wiring_edge_t *edge = wiring_find(id, to);
        assert(to == PORT_DISK || (edge && wiring_carries(edge, msg->kind)));
        post(self, to, msg);
    }
}

static void step(virtual_node_t *self, actor_id_t id, msg_t *msg)
{
    step_in_t in = {.now_us = self->now_us, .msg = msg};
    self->actors[id].ops->step(self->actors[id].core, &in, self->actors[id].outbox);
    collect(self, id);
}

static void write_to_disk(virtual_node_t *self, msg_t **request_p)
{
    if (self->disk_held) {
        assert(!self->held_write); /* one write at a time */
        self->held_write = *request_p;
        *request_p = NULL;
        return;
    }
    msg_t *done = NULL;
    char *error = NULL;
    int rc = wal_disk_port(self->files, *request_p, &done, &error);
    msg_free(request_p);
    if (rc) {
        tell(self, "node", "STOPS", error);
        free(error);
        self->has_stopped = true;
        return;
    }
    step(self, ACTOR_WAL_WRITER, done);
    step(self, ACTOR_WAL_WRITER, NULL);
    msg_free(&done);
}

static void deliver_next(virtual_node_t *self)
{
    letter_t letter = self->letters[self->letter_head++];
    self->letter_count--;
    say(self, letter.msg, letter.to);
    if (letter.to == PORT_DISK) {
        write_to_disk(self, &letter.msg);
        return;
    }
    actor_id_t from = letter.msg->from;
    msg_credit_t credit = {.messages = letter.msg->cost ? 1 : 0, .bytes = letter.msg->cost};
    step(self, letter.to, letter.msg);
    step(self, letter.to, NULL);
    msg_free(&letter.msg);
    if (credit.messages) {
        outbox_credit(self->actors[from].outbox, letter.to, &credit);
    }
}

static uint64_t next_deadline(const virtual_node_t *self, actor_id_t *who)
{
    uint64_t earliest = DEADLINE_NONE;
    for (int id = 1; id < ACTOR_COUNT; id++) {
        uint64_t at = self->actors[id].ops->deadline(self->actors[id].core);
        if (at < earliest) {
            earliest = at;
            *who = (actor_id_t)id;
        }
    }
    return earliest;
}

/* Until no message waits and no deadline is due. */
static void run(virtual_node_t *self)
{
    for (int steps = 0; steps < STEPS_MAX; steps++) {
        actor_id_t who = ACTOR_NONE;
        if (self->has_stopped) {
            forget_process(self);
            return;
        }
        if (self->letter_count) {
            deliver_next(self);
        } else if (next_deadline(self, &who) <= self->now_us) {
            step(self, who, NULL);
        } else {
            return;
        }
    }
    assert(!"the node does not come to rest");
}

void virtual_node_start(virtual_node_t *self)
{
    assert(!self->up);
    char *error = NULL;
    int rc = wal_open(fault_io(self->disk), WAL_DIR, &self->recovered, &error);
    if (rc == 0) {
        rc = wal_disk_new(fault_io(self->disk), WAL_DIR, &self->recovered, SEGMENT_BYTES, NULL,
                          &self->files, &error);
    }
    give_up_on(rc, error);
    shared_t *store = NULL;
    rc = generations_open(self->generations, self->recovered.generation, &store, &error);
    give_up_on(rc, error);
    uint64_t origin = self->seed * ORIGIN_STEP + ++self->starts;
    applier_cfg_t cfg = {.store = store,
                         .generations = self->generations,
                         .origins = {origin, origin + ORIGIN_STEP / 2},
                         .start_commit = self->recovered.commit,
                         .flush_entries = 1000,
                         .catchup_entries = CATCHUP_ENTRIES,
                         .compaction_rows = 1000,
                         .compaction_sleep_us = 10000,
                         .configuration = self->recovered.base_configuration};
    applier_t *applier = applier_new(&cfg, &self->metrics[ACTOR_APPLIER], &error);
    assert(applier);
    shared_unref(&store);
    uint64_t applied = applier_applied_index(applier);
    add(self, ACTOR_APPLIER, &applier_ops, applier);
    add_consensus(self, applied);
    add_others(self, origin);
    self->up = true;
    for (int id = 1; id < ACTOR_COUNT; id++) {
        step(self, (actor_id_t)id, NULL);
    }
    run(self);
}

/* ---- clients and the world ---- */

void virtual_node_send(virtual_node_t *self, uint64_t call, slice_t message)
{
    bytes_t *bytes = bytes_new(message.data, message.len);
    api_call_message(self->api, call, &bytes, self->now_us);
    step(self, ACTOR_GRPC_GATEWAY, NULL);
    run(self);
}

uint64_t virtual_node_call(virtual_node_t *self, method_t method, slice_t message, bool more)
{
    uint64_t call = ++self->last_call;
    api_call_t info = {.method = method, .deadline_us = DEADLINE_NONE};
    api_call_begin(self->api, call, &info, self->now_us);
    bytes_t *bytes = bytes_new(message.data, message.len);
    api_call_message(self->api, call, &bytes, self->now_us);
    if (!more) {
        api_call_half_close(self->api, call, self->now_us);
    }
    step(self, ACTOR_GRPC_GATEWAY, NULL);
    run(self);
    return call;
}

zmq_gateway_t *virtual_node_native(const virtual_node_t *self)
{
    return self->native;
}

void virtual_node_native_turn(virtual_node_t *self)
{
    step(self, ACTOR_ZMQ_GATEWAY, NULL);
    run(self);
}

void virtual_node_hold_disk(virtual_node_t *self, bool hold)
{
    self->disk_held = hold;
    if (!hold && self->held_write) {
        msg_t *request = self->held_write;
        self->held_write = NULL;
        write_to_disk(self, &request);
    }
    run(self);
}

void virtual_node_fill_disk(virtual_node_t *self, bool full)
{
    fault_io_limit(self->disk, full ? 1 : 0);
}

void virtual_node_advance(virtual_node_t *self, uint64_t micros)
{
    uint64_t until = self->now_us + micros;
    actor_id_t who = ACTOR_NONE;
    uint64_t at = 0;
    while ((at = next_deadline(self, &who)) <= until) {
        self->now_us = at > self->now_us ? at : self->now_us;
        step(self, who, NULL);
        run(self);
    }
    self->now_us = until;
    run(self);
}

uint64_t virtual_node_now_us(const virtual_node_t *self)
{
    return self->now_us;
}

api_status_t virtual_node_status(const virtual_node_t *self)
{
    return api_status(self->api);
}
