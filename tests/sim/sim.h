/* sim: a whole cluster in one thread on virtual time, from one seed: the product's cores, wired by the
 * product's table, on disks, stores and a network in memory, with faults. Private header of tests/sim.
 *
 *   sim_main.c      command line: seeds, statistics, what a failure prints
 *   sim_bug.c       looks for a planted bug: which seed finds it, and by which rule
 *   sim_world.c     events in order of time, trace, failure
 *   sim_member.c    one member: its actors, mailboxes, disk, life and death
 *   sim_network.c   frames between members: delay, loss, duplication, reordering, partitions
 *   sim_consensus.c the rules of docs/CONSENSUS.md, checked on every message
 *   sim_reference.c what is committed, and what it means: the yardstick of all checks
 *   sim_clients.c   random requests, each answer checked
 *   sim_watch.c     watch streams, each event checked
 *   sim_admin.c     the operator: membership, leadership
 *   sim_nemesis.c   when which fault strikes, and the healing at the end
 *
 * Everything random comes from sim->prng, everything timed from sim->now_us: equal seeds give equal runs,
 * which the trace's hash proves. */
#pragma once

#include "actors/api/api.h"
#include "actors/core/prng.h"
#include "actors/peer/peer_metrics.h"
#include "tests/support/fault_io.h"

#include "store/generations.h"
#include "store/wal_recover.h"
#include "actors/wal_writer/wal_disk.h"

typedef struct sim sim_t;
typedef struct reference reference_t;
typedef struct clients clients_t;
typedef struct network network_t;
typedef struct nemesis nemesis_t;
typedef struct watches watches_t;
typedef struct admin admin_t;
typedef struct consensus consensus_t;

enum {
    SIM_MEMBERS_MAX = 9, /* that ever exist in one run */
    SIM_KEYS = 8,        /* k0 … k7: few, so that requests meet */
    ELECTION_US = 1000000,
    HEARTBEAT_US = 100000,
};

/* ---- what a run is made of (drawn from the seed) ---- */
typedef struct {
    size_t members; /* 1, 3 or 5 at the beginning */
    bool pre_vote;
    bool ends_are_seen; /* who ends, or seems to, is missed by the others at once: network_close */
    uint64_t catchup_entries; /* small: so that snapshots are needed */
    uint64_t flush_entries;
    uint64_t segment_bytes;
    size_t compaction_rows;
    uint32_t slow_hop_permille; /* inproc messages that take milliseconds */
    uint32_t loss_permille, duplicate_permille, reorder_permille; /* of frames, all the time */
    size_t clients;
    uint64_t slow_hop_us;    /* such a message takes, at most */
    uint64_t disk_us;        /* what a write takes, at most */
    uint64_t fault_pause_us; /* between two faults, at most */
    uint64_t think_us;       /* between two requests of a client, at most */
    uint64_t admin_pause_us; /* between two requests of the operator, at most */
} sim_options_t;

/* ---- events ---- */
typedef enum {
    EVENT_DELIVER, /* p: msg_t, a: receiver */
    EVENT_BURST,   /* a: actor */
    EVENT_TIMER,   /* a: actor */
    EVENT_DISK,    /* the write in flight is done */
    EVENT_FRAME,   /* p: bytes_t, a: sender's slot */
    EVENT_CLOSED,  /* a: slot of the member whose connection is */
    EVENT_CLIENT,  /* a: client, or its call */
    EVENT_WATCHER, /* a: watcher */
    EVENT_ADMIN,
    EVENT_FAULT /* the nemesis acts */
} event_kind_t;

typedef struct {
    uint64_t at_us, seq;
    event_kind_t kind;
    uint32_t slot; /* member */
    uint32_t life; /* of the member's process: events of an earlier one are void; 0 = any */
    uint64_t a;
    void *p;
} occurrence_t;

/* Schedules at now + delay. */
void sim_schedule(sim_t *self, uint64_t delay_us, occurrence_t event);
void sim_schedule_at(sim_t *self, uint64_t at_us, occurrence_t event);

/* ---- one member ---- */
typedef struct {
    const core_ops_t *ops;
    void *core;
    outbox_t *outbox;
    bool burst_pending;
    uint64_t timer_at_us; /* earliest timer event on its way; DEADLINE_NONE */
    uint64_t edge_at_us
        [ACTOR_COUNT]; /* last delivery scheduled, by receiver: keeps each edge in order */
    msg_credit_t owed[ACTOR_COUNT]; /* by sender */
} sim_actor_t;

/* A client's reaction that waits for the end of the step. */
typedef struct {
    bool watches; /* opens a watch from now; else: */
    uint64_t call;
    size_t bytes; /* read; 0 = cancel */
} reaction_t;

typedef struct {
    sim_t *sim;
    uint32_t slot;
    uint64_t id;
    bool exists; /* has a disk */
    bool up;
    bool belongs; /* to the committed configuration */
    bool removed; /* from the cluster: may end by itself */
    bool ended;   /* did so; when all is over its removal must be committed */
    uint32_t life;
    uint64_t origin;
    fault_io_t *disk;
    generations_t *generations;
    kv_t *kv; /* the store in force, as long as the process lives */
    wal_recovered_t recovered;
    wal_disk_t *files;
    msg_t *writing; /* the request that the disk works on */
    uint64_t disk_slow_until_us, disk_stuck_until_us;
    actor_id_t slow_from, slow_to; /* an edge that is slow in this life */
    uint64_t very_slow_until_us;
    sim_actor_t actors[ACTOR_COUNT];
    metrics_t metrics[ACTOR_COUNT];
    peer_metrics_t peer_metrics;
    api_t *apis[GATEWAY_COUNT];
    reaction_t *reactions;
    size_t reaction_count, reaction_capacity;
    int64_t clock_offset_us;
    int32_t clock_ppm;
    uint64_t paused_until_us;
    uint64_t leads;               /* term of its last LEAD */
    uint64_t last_event_revision; /* of its EVENTS */
    uint64_t events_asked;        /* the INTEREST they answer */
    /* By gateway, whose snapshots of the store may differ by what is under way to them: */
    int64_t serializable_revision[GATEWAY_COUNT]; /* highest one a serializable read has shown */
    int64_t shown[GATEWAY_COUNT]; /* highest one that this process has shown in any answer */
} member_t;

/* A member of the first configuration, or one that joins with the configuration it was told. */
void member_create(member_t *self, const bytes_t *configuration, bool joins);
void member_destroy(member_t *self);
/* Starts the process. False when the product refuses to start (the text says why). */
void member_start(member_t *self);
void member_crash(member_t *self, crash_t how);
void member_handle(member_t *self, occurrence_t *event);
void member_receive_frame(member_t *self, uint32_t from, bytes_t **frame_p);
kv_t *member_kv(const member_t *self);
/* After api_call_*: the gateway's turn will end. */
/* Calls are made at both gateways, as their ids have it. */
unsigned member_gateway_of(uint64_t call);
api_t *member_api(const member_t *self, uint64_t call);
void member_poke_gateway(member_t *self, uint64_t call);
/* What a client does in answer to what it gets, once the step that answered is over: cancels the call, has read
 * so many bytes of it, or begins to watch. */
void member_cancel(member_t *self, uint64_t call);
void member_watch_now(member_t *self);
void member_consumed(member_t *self, uint64_t call, size_t bytes);
uint64_t member_local_us(const member_t *self);
void member_step(member_t *self, actor_id_t id, msg_t *msg);

/* ---- network ---- */
network_t *network_new(sim_t *sim);
void network_destroy(network_t **self_p);
/* From a member's peer actor. */
void network_send(network_t *self, uint32_t from, uint64_t to_id, bytes_t **frame_p);
/* The others see their connections to this member close; with or without reason. */
void network_close(network_t *self, uint32_t slot);
void network_cut(network_t *self, uint32_t from, uint32_t to, bool cut); /* one way */
/* What is sent one way from now on, as long as the window is open, comes later by so much; the rest does not wait. */
void network_hold(network_t *self, uint32_t from, uint32_t to, uint64_t window_us, uint64_t by_us);
void network_heal(network_t *self);
void network_shape(network_t *self, uint64_t delay_us, uint32_t loss, uint32_t duplicate,
                   uint32_t reorder);

/* ---- reference ---- */
reference_t *reference_new(sim_t *sim, const bytes_t *configuration);
void reference_destroy(reference_t **self_p);
/* A member's replicator hands these to its applier. Equal to what any other member was handed. */
void reference_committed(reference_t *self, const member_t *member, const entries_t *entries);
/* A member's applier hands these to its watch actor: equal to the reference's. */
void reference_events(reference_t *self, member_t *member, const msg_events_t *events);
int64_t reference_revision(const reference_t *self);
int64_t reference_compacted(const reference_t *self);
/* Of a store that has applied up to this index. */
int64_t reference_revision_at(const reference_t *self, uint64_t index);
uint64_t reference_index(const reference_t *self);
/* The configuration as committed (borrowed). */
const bytes_t *reference_configuration(const reference_t *self);

typedef struct {
    int64_t revision;
    bool is_delete;
    uint8_t key; /* number */
    uint64_t value;
    int64_t create_revision, version, lease;
    uint64_t at_us; /* when it was first committed anywhere */
} change_t;
/* Changes in (revision, sub) order. */
const change_t *reference_changes(const reference_t *self, size_t *count);
/* First change with this revision or a later one. */
size_t reference_find(const reference_t *self, int64_t revision);
/* The key's change in force at a revision; NULL = it did not exist. */
const change_t *reference_at(const reference_t *self, uint8_t key, int64_t revision);
/* The change that wrote this value, NULL = none yet. */
const change_t *reference_value(const reference_t *self, uint64_t value);
typedef struct {
    int64_t id, ttl_s;
    uint64_t alive_from_us; /* not to end earlier than its TTL after this */
    uint64_t ended_us;      /* 0 = alive */
    bool revoke_asked;      /* by a client, at any time */
} ref_lease_t;
/* NULL = never granted. */
ref_lease_t *reference_lease(reference_t *self, int64_t id);
bool reference_leases_ended(const reference_t *self); /* all of them */
/* All stores that have applied the same entries are the same. Called now and then, and at the end. */
void reference_check_store(reference_t *self, member_t *member);

/* ---- consensus ---- */
consensus_t *consensus_new(sim_t *sim);
void consensus_destroy(consensus_t **self_p);
/* A process has read its log. */
void consensus_started(consensus_t *self, const member_t *member);
/* One of its actors has put a message. */
void consensus_look(consensus_t *self, const member_t *member, actor_id_t to, const msg_t *msg);

/* ---- clients ---- */
clients_t *clients_new(sim_t *sim);
void clients_destroy(clients_t **self_p);
void clients_act(clients_t *self, uint64_t what);
void clients_on_message(clients_t *self, member_t *member, uint64_t call, slice_t message);
void clients_on_end(clients_t *self, member_t *member, uint64_t call, grpc_code_t code,
                    const char *text);
/* The process is gone: its calls will never be answered. */
void clients_member_gone(clients_t *self, const member_t *member);
/* Some of those that have nothing to wait for ask this member now, since the nemesis thinks that it is a bad
 * moment: they write, or read what it has applied. */
void clients_rush(clients_t *self, member_t *member, bool to_write);
void clients_stop(clients_t *self);       /* no new requests */
bool clients_idle(const clients_t *self); /* nothing open but watches */
/* What is left to see: watchers have all events, each acknowledged write is there. */
bool clients_caught_up(const clients_t *self);
uint64_t clients_done(const clients_t *self); /* requests answered well */
/* One put that must succeed: progress after healing. */
void clients_probe(clients_t *self);
bool clients_probed(const clients_t *self);

watches_t *watches_new(sim_t *sim);
void watches_destroy(watches_t **self_p);
void watches_act(watches_t *self, size_t index);
/* A write was acknowledged here. */
void watches_jump(watches_t *self, member_t *member);
void watches_on_message(watches_t *self, member_t *member, uint64_t call, slice_t message);
void watches_on_end(watches_t *self, member_t *member, uint64_t call, grpc_code_t code,
                    const char *why);
void watches_member_gone(watches_t *self, const member_t *member);
bool watches_caught_up(const watches_t *self);

/* ---- the operator ---- */
admin_t *admin_new(sim_t *sim);
void admin_destroy(admin_t **self_p);
void admin_act(admin_t *self);
void admin_stop(admin_t *self);
void admin_on_end(admin_t *self, uint64_t call, grpc_code_t code, const char *why);
void admin_member_gone(admin_t *self, const member_t *member);
/* A configuration was appended somewhere: members that are new in it join. */
void admin_on_appended(admin_t *self, const bytes_t *encoded);
/* A configuration was committed: removed members may end. */
void admin_on_configuration(admin_t *self);

/* ---- nemesis ---- */
nemesis_t *nemesis_new(sim_t *sim);
void nemesis_destroy(nemesis_t **self_p);
void nemesis_act(nemesis_t *self, uint64_t what, uint32_t slot);
/* An actor has put a message: is this a good moment? */
void nemesis_look(nemesis_t *self, member_t *member, actor_id_t to, const msg_t *msg);
/* A member that is made while the cluster runs. */
void nemesis_start_later(nemesis_t *self, const member_t *member);
/* Ends all faults, starts all members. */
void nemesis_heal(nemesis_t *self);

/* ---- the world ---- */
/* clang-format off */
#define SIM_COUNTS(X) \
    X(STEPS) X(ELECTIONS) X(COMMITTED) X(REQUESTS) X(UNKNOWN) X(READS) X(EVENTS) \
    X(FRAMES) X(FRAMES_LOST) X(FRAMES_DUPLICATED) X(FRAMES_REORDERED) X(CONNECTIONS_CLOSED) \
    X(CRASHES) X(CRASHES_OF_ALL) X(POWER_CUTS) X(TORN_WRITES) X(LOST_WRITES) X(RESTARTS) X(PAUSES) \
    X(PARTITIONS) X(ONE_WAY_CUTS) X(BRIDGES) X(BLINKS) X(LATE_HANDOVERS) \
    X(DISK_STALLS) X(DISK_FAILURES) X(DISK_FULL) X(CLOCK_DRIFTS) X(TRANSFERS) \
    X(MEMBER_CHANGES) X(SNAPSHOTS) X(COMPACTIONS) X(EVENTS_WANTED) X(LEASES_EXPIRED)
/* clang-format on */
typedef enum {
#define X(name) COUNT_##name,
    SIM_COUNTS(X)
#undef X
        SIM_COUNT
} sim_count_t;

/* The rule that was found to be broken. */
typedef struct {
    uint64_t step;
    char why[400];
} sim_finding_t;

struct sim {
    uint64_t seed;
    sim_options_t options;
    prng_t prng;
    uint64_t now_us, seq;
    occurrence_t *heap;
    size_t heap_count, heap_capacity;
    member_t members[SIM_MEMBERS_MAX];
    size_t member_count;
    network_t *network;
    reference_t *reference;
    consensus_t *consensus;
    clients_t *clients;
    watches_t *watches;
    admin_t *admin;
    nemesis_t *nemesis;
    uint64_t cluster_id;
    uint64_t leader_of_term[10000]; /* election safety */
    uint64_t trace_hash;
    bool trace_on;
    sim_finding_t *finding; /* as wished */
    bool healed;
    uint64_t counts[SIM_COUNT];
};

/* What a run must be like, whatever the seed says. */
typedef struct {
    size_t members; /* 0 = as drawn */
    bool without_snapshots;
    bool trace;
    sim_finding_t *finding; /* NULL, or where a failure is told before the process ends, silently */
} sim_wishes_t;

sim_t *sim_new(uint64_t seed, const sim_wishes_t *wishes);
void sim_destroy(sim_t **self_p);
/* One event. False when nothing is left. */
bool sim_step(sim_t *self);
void sim_run(sim_t *self, uint64_t steps_min, uint64_t micros_min);
/* Heals, then demands progress and agreement. */
void sim_finish(sim_t *self);
uint8_t sim_key_number(slice_t key);
uint64_t sim_value_number(slice_t value);
member_t *sim_member(sim_t *self, uint64_t id);
/* One that runs and belongs to the cluster; NULL = none does. */
member_t *sim_some_member(sim_t *self);
/* One that believes that it leads, though others have a newer leader; NULL = none does. */
member_t *sim_old_leader(sim_t *self);
uint64_t sim_below(sim_t *self, uint64_t bound); /* random */
bool sim_chance(sim_t *self, uint32_t permille);
/* One line of the trace: hashed always, printed on demand. */
void sim_trace(sim_t *self, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A rule is broken: prints seed, step and the last lines, then ends the process. So does an assertion of the
 * product that fails. */
_Noreturn void sim_fail(sim_t *self, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- planted bugs ---- */
typedef struct {
    const char *name,
        *rule; /* rule: extended regular expression, to be found in what the failure says */
    uint64_t first, seeds, steps, seconds;
    bool all; /* goes on after the first finding: how often is it found? */
} bug_hunt_t;

/* The exit status: 0 = one of the seeds breaks the rule. */
int sim_hunt_bug(const bug_hunt_t *hunt);
