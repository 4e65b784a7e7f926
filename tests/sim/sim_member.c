/* One member: the product's cores, put together as actors/node.c does; each inproc edge is a queue with
 * random delays that keeps its order; threads run in any order. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/applier/applier.h"
#include "actors/election/election.h"
#include "actors/keeper/keeper.h"
#include "actors/lease/lease.h"
#include "actors/peer/peer.h"
#include "actors/replicator/replicator.h"
#include "actors/wal_writer/wal_writer.h"
#include "actors/watch/watch.h"
#include "actors/wiring.h"
#include "membership.pb-c.h"
#include "messages/xalloc.h"
#include "store/wal_dir.h"
#include "tests/sim/sim.h"

#define WAL_DIR "/data/wal"

/* ---- time ---- */

uint64_t member_local_us(const member_t *self)
{
    int64_t drift = (int64_t)self->sim->now_us * self->clock_ppm / 1000000; /* never back */
    return (uint64_t)((int64_t)self->sim->now_us + self->clock_offset_us + drift);
}

/* When the member's clock shows `local_us`, about: its timers look again. */
static uint64_t global_us(const member_t *self, uint64_t local_us)
{
    uint64_t now_us = member_local_us(self);
    return self->sim->now_us + (local_us > now_us ? local_us - now_us : 0);
}

/* ---- the disk it is born with ---- */

void member_create(member_t *self, const bytes_t *configuration, bool joins)
{
    sim_t *sim = self->sim;
    assert(!self->exists);
    self->exists = true;
    self->disk = fault_io_new(prng_next(&sim->prng));
    self->generations = generations_memory_new();
    wal_identity_t identity = {.cluster_id = sim->cluster_id, .member_id = self->id};
    wal_initial_t initial = {.identity = identity, .configuration = configuration};
    if (!joins) {
        initial = wal_initial_cluster(identity, (bytes_t *)(uintptr_t)configuration);
    }
    initial.segment_bytes = sim->options.segment_bytes;
    char *error = NULL;
    int rc = io_make_dir(fault_io(self->disk), "/data");
    rc = rc ? rc : wal_create(fault_io(self->disk), WAL_DIR, &initial, &error);
    if (rc) {
        sim_fail(sim, "cannot make a member: %s", error ? error : "?");
    }
    entries_deinit(&initial.entries);
}

/* ---- the process ---- */

static void forget_process(member_t *self)
{
    for (int id = 1; id < ACTOR_COUNT; id++) {
        sim_actor_t *actor = &self->actors[id];
        if (actor->core) {
            actor->ops->destroy(&actor->core);
        }
        outbox_destroy(&actor->outbox);
        *actor = (sim_actor_t){0};
    }
    msg_free(&self->writing);
    wal_disk_destroy(&self->files);
    wal_recovered_deinit(&self->recovered);
    self->recovered = (wal_recovered_t){0};
    self->kv = NULL;
    memset(self->apis, 0, sizeof self->apis);
    self->up = false;
    self->leads = 0;
    self->last_event_revision = 0;
    self->events_asked = 0;
    self->paused_until_us = 0;
    self->reaction_count = 0;
}

void member_destroy(member_t *self)
{
    if (self->exists) {
        forget_process(self);
        generations_destroy(&self->generations);
        fault_io_destroy(&self->disk);
        free(self->reactions);
        self->reactions = NULL;
        self->exists = false;
    }
}

/* What a write in flight leaves behind: any part of it. */
static void tear_write(member_t *self)
{
    sim_t *sim = self->sim;
    if (!self->writing || sim_chance(sim, 300)) {
        return;
    }
    sim->counts[COUNT_TORN_WRITES]++;
    msg_t *done = NULL;
    char *error = NULL;
    fault_io_fail(self->disk, sim_below(sim, 4), EIO);
    int rc = wal_disk_port(self->files, self->writing, &done, &error);
    msg_free(&done); /* it may even have come through: nobody has heard of it */
    free(error);
    (void)rc;
}

void member_crash(member_t *self, crash_t how)
{
    sim_t *sim = self->sim;
    assert(self->up);
    static const char *const names[] = {"process", "unsynced data lost", "torn", "torn sectors"};
    sim_trace(sim, "m%u CRASH (%s)", self->slot, names[how]);
    sim->counts[COUNT_CRASHES]++;
    sim->counts[COUNT_POWER_CUTS] += how != CRASH_PROCESS;
    sim->counts[COUNT_LOST_WRITES] += how == CRASH_LOSE;
    clients_member_gone(sim->clients, self);
    tear_write(self);
    forget_process(self);
    network_close(sim->network, self->slot);
    fault_io_crash(self->disk, how);
    generations_memory_crash(self->generations, sim_below(sim, 1000000));
}

/* ---- putting the cores together ---- */

static void on_answer(void *context, uint64_t call, bytes_t **message_p)
{
    member_t *self = context;
    clients_on_message(self->sim->clients, self, call, bytes_slice(*message_p));
    bytes_unref(message_p);
}

static void on_end(void *context, uint64_t call, grpc_code_t code, const char *text)
{
    member_t *self = context;
    clients_on_end(self->sim->clients, self, call, code, text);
}

/* The native gateway as other actors see it: one that attends from its first step on. */
typedef struct {
    api_t *api;
    bool attends;
} native_t;

static void native_step(void *state, const step_in_t *in, outbox_t *out)
{
    native_t *self = state;
    if (!self->attends) {
        self->attends = true;
        msg_t *msg = msg_new(MSG_ATTEND);
        msg->u.attend.wanted = true;
        outbox_put(out, ACTOR_APPLIER, &msg);
    }
    api_ops.step(self->api, in, out);
}

static uint64_t native_deadline(const void *state)
{
    const native_t *self = state;
    return api_ops.deadline(self->api);
}

static void native_destroy(void **self_p)
{
    native_t *self = *self_p;
    *self_p = NULL;
    void *api = self->api;
    api_ops.destroy(&api);
    free(self);
}

static const core_ops_t native_ops = {
    .step = native_step, .deadline = native_deadline, .destroy = native_destroy};

/* What tells its origin from the other gateway's. */
enum { NATIVE_ORIGIN = 2 };

static void add(member_t *self, actor_id_t id, const core_ops_t *ops, void *core)
{
    self->actors[id] = (sim_actor_t){
        .ops = ops, .core = core, .outbox = wiring_outbox(id), .timer_at_us = DEADLINE_NONE};
}

static void add_consensus(member_t *self, uint64_t applied)
{
    const wal_recovered_t *log = &self->recovered;
    const sim_options_t *options = &self->sim->options;
    uint64_t at = 0;
    election_cfg_t election = {.member_id = self->id,
                               .term = log->term,
                               .vote = log->vote,
                               .configuration = wal_recovered_configuration(log, &at),
                               .pre_vote = options->pre_vote,
                               .election_timeout_us = ELECTION_US,
                               .heartbeat_us = HEARTBEAT_US,
                               .seed = prng_next(&self->sim->prng)};
    replicator_cfg_t replicator = {.member_id = self->id,
                                   .incarnation = self->sim->now_us + 1,
                                   .term = log->term,
                                   .commit = log->commit,
                                   .applied = applied,
                                   .base_index = log->base_index,
                                   .base_term = log->base_term,
                                   .configuration = log->base_configuration,
                                   .configuration_index = log->base_configuration_index,
                                   .entries = &log->entries,
                                   .last_lsn = log->lsn,
                                   .catchup_entries = options->catchup_entries,
                                   .election_timeout_us = ELECTION_US,
                                   .heartbeat_us = HEARTBEAT_US,
                                   .max_learners = 1};
    add(self, ACTOR_ELECTION, &election_ops,
        election_new(&election, &self->metrics[ACTOR_ELECTION]));
    add(self, ACTOR_REPLICATOR, &replicator_ops,
        replicator_new(&replicator, &self->metrics[ACTOR_REPLICATOR]));
    add(self, ACTOR_WAL_WRITER, &wal_writer_ops, wal_writer_new(log, options->segment_bytes));
}

static peer_t *make_peer(member_t *self)
{
    uint64_t index = 0;
    char url[32];
    int len = snprintf(url, sizeof url, "http://m%u:2380", self->slot);
    bytes_t *urls = bytes_new(url, (size_t)len);
    const bytes_t *configuration = wal_recovered_configuration(&self->recovered, &index);
    peer_cfg_t cfg = {.cluster_id = self->sim->cluster_id,
                      .member_id = self->id,
                      .incarnation = self->sim->now_us + 1,
                      .configuration = configuration,
                      .configuration_index = index,
                      .configuration_is_committed = index <= self->recovered.commit,
                      .urls = urls,
                      .heartbeat_us = HEARTBEAT_US,
                      .election_timeout_us = ELECTION_US};
    peer_t *peer = peer_new(&cfg, &self->metrics[ACTOR_PEER], &self->peer_metrics);
    bytes_unref(&urls);
    return peer;
}

static void add_others(member_t *self)
{
    sim_t *sim = self->sim;
    lease_cfg_t lease = {.election_timeout_us = ELECTION_US,
                         .request_timeout_us = 7000000,
                         .first_forward = self->origin};
    watch_cfg_t watch = {
        .progress_notify_us = 600000000, .stream_bytes_max = 4096, .total_bytes_max = 65536};
    char name[16];
    char url[32];
    snprintf(name, sizeof name, "m%u", self->slot);
    snprintf(url, sizeof url, "http://m%u:2379", self->slot);
    const char *const urls[] = {url};
    api_cfg_t api = {.cluster_id = sim->cluster_id,
                     .member_id = self->id,
                     .origin = self->origin,
                     .publishes = true,
                     .name = name,
                     .client_urls = urls,
                     .client_url_count = 1,
                     .max_request_bytes = 1572864,
                     .max_txn_ops = 128,
                     .request_timeout_us = 7000000,
                     .progress_notify_us = 600000000,
                     .lease_ttl_min_s = 2,
                     .strict_reconfig = self->slot % 2 == 0,
                     .seed = prng_next(&sim->prng)};
    api_sink_t sink = {.context = self, .message = on_answer, .finish = on_end};
    self->apis[0] = api_new(&api, &sink, &self->metrics[ACTOR_GRPC_GATEWAY]);
    keeper_cfg_t keeper = {.generations = self->generations};
    add(self, ACTOR_KEEPER, &keeper_ops, keeper_new(&keeper, &self->metrics[ACTOR_KEEPER]));
    add(self, ACTOR_LEASE, &lease_ops, lease_new(&lease, &self->metrics[ACTOR_LEASE]));
    add(self, ACTOR_WATCH, &watch_ops, watch_new(&watch, &self->metrics[ACTOR_WATCH]));
    add(self, ACTOR_PEER, &peer_ops, make_peer(self));
    add(self, ACTOR_GRPC_GATEWAY, &api_ops, self->apis[0]);
    api.publishes = false;
    api.origin ^= NATIVE_ORIGIN;
    api.seed = prng_next(&sim->prng);
    native_t *native = xcalloc(1, sizeof *native);
    native->api = api_new(&api, &sink, &self->metrics[ACTOR_ZMQ_GATEWAY]);
    self->apis[1] = native->api;
    add(self, ACTOR_ZMQ_GATEWAY, &native_ops, native);
}

static applier_t *make_applier(member_t *self, shared_t *store)
{
    const sim_options_t *options = &self->sim->options;
    applier_cfg_t cfg = {.store = store,
                         .generations = self->generations,
                         .origins = {self->origin, self->origin ^ NATIVE_ORIGIN},
                         .start_commit = self->recovered.commit,
                         .flush_entries = options->flush_entries,
                         .catchup_entries = options->catchup_entries,
                         .compaction_rows = options->compaction_rows,
                         .compaction_sleep_us = 10000,
                         .configuration = self->recovered.base_configuration};
    char *error = NULL;
    applier_t *applier = applier_new(&cfg, &self->metrics[ACTOR_APPLIER], &error);
    if (!applier) {
        sim_fail(self->sim, "m%u cannot read its store: %s", self->slot, error);
    }
    return applier;
}

/* Order holds only along one edge: each life has one that is behind all others. */
static void choose_slow_edge(member_t *self)
{
    sim_t *sim = self->sim;
    bool any = sim_chance(sim, 500);
    const wiring_edge_t *edge = &wiring_edges[sim_below(sim, wiring_edge_count)];
    self->slow_from = any ? edge->from : ACTOR_WAL_WRITER;
    self->slow_to = any ? edge->to : ACTOR_REPLICATOR;
}

void member_start(member_t *self)
{
    sim_t *sim = self->sim;
    assert(self->exists && !self->up);
    char *error = NULL;
    int rc = wal_open(fault_io(self->disk), WAL_DIR, &self->recovered, &error);
    if (rc == 0) {
        rc = wal_disk_new(fault_io(self->disk), WAL_DIR, &self->recovered,
                          sim->options.segment_bytes, NULL, &self->files, &error);
    }
    if (rc) {
        sim_fail(sim, "m%u refuses its log: %s", self->slot, error);
    }
    self->life++;
    self->origin = prng_next(&sim->prng) | 1 | NATIVE_ORIGIN;
    shared_t *store = NULL;
    if (generations_open(self->generations, self->recovered.generation, &store, &error)) {
        sim_fail(sim, "m%u cannot open its store: %s", self->slot, error);
    }
    self->kv = shared_object(store);
    applier_t *applier = make_applier(self, store);
    shared_unref(&store);
    uint64_t applied = applier_applied_index(applier);
    add(self, ACTOR_APPLIER, &applier_ops, applier);
    if (applied > wal_recovered_last_index(&self->recovered) ||
        applied < self->recovered.base_index) {
        sim_fail(sim, "m%u: the store has applied %" PRIu64 ", the log has %" PRIu64 "..%" PRIu64,
                 self->slot, applied, self->recovered.base_index,
                 wal_recovered_last_index(&self->recovered));
    }
    consensus_started(sim->consensus, self);
    add_consensus(self, applied);
    add_others(self);
    self->up = true;
    int64_t least = reference_revision_at(sim->reference, self->recovered.commit);
    /* What its log knows to be committed is the least it may show from now on. */
    for (unsigned i = 0; i < GATEWAY_COUNT; i++) {
        self->shown[i] = 1;
        self->serializable_revision[i] = least;
    }
    sim->counts[COUNT_RESTARTS]++;
    sim_trace(sim,
              "m%u START term=%" PRIu64 " last=%" PRIu64 " commit=%" PRIu64 " applied=%" PRIu64,
              self->slot, self->recovered.term, wal_recovered_last_index(&self->recovered),
              self->recovered.commit, applied);
    choose_slow_edge(self);
    for (int id = 1; id < ACTOR_COUNT && self->up; id++) {
        member_step(self, (actor_id_t)id, NULL);
    }
    if (self->up) {
        clients_rush(sim->clients, self, false); /* has it applied what it has shown before? */
    }
}

/* ---- what messages tell the checkers ---- */

static void look(member_t *self, actor_id_t from, actor_id_t to, const msg_t *msg)
{
    sim_t *sim = self->sim;
    consensus_look(sim->consensus, self, to, msg);
    nemesis_look(sim->nemesis, self, to, msg);
    if (msg->kind == MSG_LEAD) {
        uint64_t term = msg->u.term.term;
        assert(term < sizeof sim->leader_of_term / sizeof *sim->leader_of_term);
        if (sim->leader_of_term[term] && sim->leader_of_term[term] != self->id) {
            sim_fail(sim, "two leaders in term %" PRIu64, term);
        }
        if (!sim->leader_of_term[term]) {
            sim->counts[COUNT_ELECTIONS]++;
        }
        sim->leader_of_term[term] = self->id;
        self->leads = term;
    } else if (msg->kind == MSG_COMMITTED) {
        reference_committed(sim->reference, self, &msg->u.committed.entries);
    } else if (msg->kind == MSG_EVENTS) {
        if (msg->u.events.asked !=
            self->events_asked) { /* called off, and wanted again from here on */
            self->events_asked = msg->u.events.asked;
            self->last_event_revision = msg->u.events.revision;
            sim->counts[COUNT_EVENTS_WANTED]++;
        }
        reference_events(sim->reference, self, &msg->u.events);
    } else if (msg->kind == MSG_MEMBERS) {
        admin_on_appended(sim->admin, msg->u.members.configuration);
    } else if (msg->kind == MSG_RESTORED && to == ACTOR_WATCH) {
        self->last_event_revision = msg->u.restored.revision;
        self->kv = shared_object(msg->u.restored.store);
    } else if (msg->kind == MSG_SNAP_INSTALLED) {
        sim->counts[COUNT_SNAPSHOTS]++;
    }
    char text[160];
    msg_print(msg, text, sizeof text);
    sim_trace(sim, "m%u %s -> %s %s", self->slot, actor_name(from), actor_name(to), text);
}

/* ---- delivery ---- */

static uint64_t hop_us(const member_t *self, actor_id_t from, actor_id_t to)
{
    sim_t *sim = self->sim;
    uint32_t permille = sim->options.slow_hop_permille;
    uint64_t most_us = sim->options.slow_hop_us;
    if (self->slow_from == from && self->slow_to == to) {
        bool is_very_slow = sim->now_us < self->very_slow_until_us;
        permille = is_very_slow ? 900 : 300;
        most_us = is_very_slow ? 200000 : 6 * most_us;
    }
    return sim_chance(sim, permille) ? sim_below(sim, most_us) : 1 + sim_below(sim, 30);
}

static void post(member_t *self, actor_id_t from, actor_id_t to, msg_t *msg)
{
    sim_t *sim = self->sim;
    uint64_t at_us = sim->now_us + hop_us(self, from, to);
    uint64_t *last_us = &self->actors[from].edge_at_us[to];
    at_us = at_us > *last_us ? at_us : *last_us; /* first in, first out on one edge */
    *last_us = at_us;
    sim_schedule_at(
        sim, at_us,
        (occurrence_t){
            .kind = EVENT_DELIVER, .slot = self->slot, .life = self->life, .a = to, .p = msg});
}

static void begin_write(member_t *self, msg_t *request)
{
    sim_t *sim = self->sim;
    assert(!self->writing);
    self->writing = request;
    uint64_t delay_us = 50 + sim_below(sim, sim->options.disk_us);
    if (self->disk_slow_until_us > sim->now_us) {
        delay_us += sim_below(sim, 200000);
    }
    if (self->disk_stuck_until_us > sim->now_us) {
        delay_us += self->disk_stuck_until_us - sim->now_us;
    }
    sim_schedule(sim, delay_us,
                 (occurrence_t){.kind = EVENT_DISK, .slot = self->slot, .life = self->life});
}

static void to_network(member_t *self, msg_t *msg)
{
    if (msg->kind == MSG_FRAME) {
        network_send(self->sim->network, self->slot, msg->u.frame.member, &msg->u.frame.frame);
    }
    msg_free(&msg);
}

static void collect(member_t *self, actor_id_t id)
{
    sim_t *sim = self->sim;
    outbox_t *outbox = self->actors[id].outbox;
    actor_id_t to = ACTOR_NONE;
    msg_t *msg = NULL;
    const outbox_line_t *line = NULL;
    while ((line = outbox_next_line(outbox))) {
        sim_trace(sim, "m%u %s: %s {%s}", self->slot, actor_name(id), line->text, line->fields);
    }
    while ((msg = outbox_take(outbox, &to))) {
        const wiring_edge_t *edge = to < ACTOR_COUNT ? wiring_find(id, to) : NULL;
        assert(to >= ACTOR_COUNT || (edge && wiring_carries(edge, msg->kind)));
        if (to == PORT_NETWORK) {
            to_network(self, msg);
            continue;
        }
        look(self, id, to, msg);
        if (to == PORT_DISK) {
            begin_write(self, msg);
        } else {
            post(self, id, to, msg);
        }
    }
}

static void arm_timer(member_t *self, actor_id_t id)
{
    sim_actor_t *actor = &self->actors[id];
    uint64_t deadline_us = actor->ops->deadline(actor->core);
    if (deadline_us == DEADLINE_NONE) {
        return;
    }
    uint64_t at_us = global_us(self, deadline_us);
    if (at_us < actor->timer_at_us) {
        actor->timer_at_us = at_us;
        sim_schedule_at(
            self->sim, at_us,
            (occurrence_t){.kind = EVENT_TIMER, .slot = self->slot, .life = self->life, .a = id});
    }
}

static bool stop_if_wanted(member_t *self, actor_id_t id)
{
    sim_t *sim = self->sim;
    const char *fatal = outbox_fatal_text(self->actors[id].outbox);
    const char *end = outbox_end_text(self->actors[id].outbox);
    if (fatal) {
        sim_fail(sim, "m%u %s is broken: %s", self->slot, actor_name(id), fatal);
    }
    if (end) {
        self->ended = true;
        sim_trace(sim, "m%u ends: %s", self->slot, end);
        member_crash(self, CRASH_PROCESS);
        return true;
    }
    return false;
}

static void react(member_t *self)
{
    for (size_t i = 0; i < self->reaction_count; i++) {
        const reaction_t *reaction = &self->reactions[i];
        if (reaction->watches) {
            watches_jump(self->sim->watches, self);
            continue;
        }
        if (reaction->bytes) {
            api_call_sent(member_api(self, reaction->call), reaction->call, reaction->bytes);
        } else {
            api_call_cancel(member_api(self, reaction->call), reaction->call);
        }
        member_poke_gateway(self, reaction->call);
    }
    self->reaction_count = 0;
}

static void note_reaction(member_t *self, reaction_t reaction)
{
    self->reactions = xgrow(self->reactions, &self->reaction_capacity, self->reaction_count + 1,
                            sizeof *self->reactions);
    self->reactions[self->reaction_count++] = reaction;
}

void member_cancel(member_t *self, uint64_t call)
{
    note_reaction(self, (reaction_t){.call = call});
}

void member_watch_now(member_t *self)
{
    note_reaction(self, (reaction_t){.watches = true});
}

void member_consumed(member_t *self, uint64_t call, size_t bytes)
{
    note_reaction(self, (reaction_t){.call = call, .bytes = bytes});
}

void member_step(member_t *self, actor_id_t id, msg_t *msg)
{
    sim_actor_t *actor = &self->actors[id];
    step_in_t in = {.now_us = member_local_us(self), .msg = msg};
    actor->ops->step(actor->core, &in, actor->outbox);
    if (id >= ACTOR_GRPC_GATEWAY) {
        react(self);
    }
    collect(self, id);
    if (!stop_if_wanted(self, id)) {
        arm_timer(self, id);
    }
}

static void schedule_burst(member_t *self, actor_id_t id)
{
    if (!self->actors[id].burst_pending) {
        self->actors[id].burst_pending = true;
        sim_schedule(
            self->sim, sim_below(self->sim, 30),
            (occurrence_t){.kind = EVENT_BURST, .slot = self->slot, .life = self->life, .a = id});
    }
}

static void deliver(member_t *self, actor_id_t to, msg_t *msg)
{
    sim_actor_t *actor = &self->actors[to];
    if (msg->kind == MSG_CREDIT) {
        outbox_credit(actor->outbox, msg->from, &msg->u.credit);
    } else {
        const wiring_edge_t *edge = wiring_find(msg->from, to);
        if (edge->policy != EDGE_FREE) {
            actor->owed[msg->from].messages++;
            actor->owed[msg->from].bytes += msg->cost;
        }
        uint32_t life = self->life;
        member_step(self, to, msg);
        if (!self->up || self->life != life) {
            return;
        }
    }
    schedule_burst(self, to);
}

static void give_credits_back(member_t *self, actor_id_t id)
{
    for (int from = 1; from < ACTOR_COUNT; from++) {
        msg_credit_t *owed = &self->actors[id].owed[from];
        if (owed->messages && wiring_credits_due(wiring_find((actor_id_t)from, id), owed)) {
            msg_t *msg = msg_new(MSG_CREDIT);
            msg->from = id;
            msg->u.credit = *owed;
            *owed = (msg_credit_t){0};
            post(self, id, (actor_id_t)from, msg);
        }
    }
}

static void end_write(member_t *self)
{
    sim_t *sim = self->sim;
    msg_t *done = NULL;
    char *error = NULL;
    int rc = wal_disk_port(self->files, self->writing, &done, &error);
    if (rc < 0) { /* the node stops at once and acknowledges nothing more */
        sim_trace(sim, "m%u its disk failed: %s", self->slot, error);
        free(error);
        msg_free(&self->writing);
        sim->counts[COUNT_DISK_FAILURES]++;
        member_crash(self, CRASH_PROCESS);
        return;
    }
    msg_free(&self->writing);
    member_step(self, ACTOR_WAL_WRITER, done);
    msg_free(&done);
    if (self->up) {
        schedule_burst(self, ACTOR_WAL_WRITER);
    }
}

static void network_tells(member_t *self, msg_t *msg)
{
    msg->from = PORT_NETWORK;
    member_step(self, ACTOR_PEER, msg);
    msg_free(&msg);
    if (self->up) {
        schedule_burst(self, ACTOR_PEER);
    }
}

static void see_closed(member_t *self, uint32_t other)
{
    msg_t *msg = msg_new(MSG_CLOSED);
    msg->u.gone.member = self->sim->members[other].id;
    network_tells(self, msg);
}

void member_handle(member_t *self, occurrence_t *event)
{
    actor_id_t id = (actor_id_t)event->a;
    switch (event->kind) {
    case EVENT_DELIVER: deliver(self, id, event->p); break;
    case EVENT_BURST:
        self->actors[id].burst_pending = false;
        member_step(self, id, NULL);
        if (self->up) {
            give_credits_back(self, id);
        }
        break;
    case EVENT_TIMER:
        self->actors[id].timer_at_us = DEADLINE_NONE;
        if (self->actors[id].ops->deadline(self->actors[id].core) <= member_local_us(self)) {
            schedule_burst(self, id);
        } else {
            arm_timer(self, id);
        }
        break;
    case EVENT_DISK: end_write(self); break;
    case EVENT_FRAME: {
        bytes_t *frame = event->p;
        event->p = NULL;
        member_receive_frame(self, (uint32_t)event->a, &frame);
        break;
    }
    case EVENT_CLOSED: see_closed(self, (uint32_t)event->a); break;
    default: assert(!"an event for a member");
    }
}

void member_receive_frame(member_t *self, uint32_t from, bytes_t **frame_p)
{
    msg_t *msg = msg_new(MSG_FRAME);
    msg->u.frame = (msg_frame_t){.member = self->sim->members[from].id, .frame = *frame_p};
    *frame_p = NULL;
    network_tells(self, msg);
}

kv_t *member_kv(const member_t *self)
{
    return self->kv;
}

unsigned member_gateway_of(uint64_t call)
{
    return call >> 8 & 1; /* of a serial number above an owner's */
}

api_t *member_api(const member_t *self, uint64_t call)
{
    return self->apis[member_gateway_of(call)];
}

void member_poke_gateway(member_t *self, uint64_t call)
{
    schedule_burst(self, gateway_at(member_gateway_of(call)));
}
