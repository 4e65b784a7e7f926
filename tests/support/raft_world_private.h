/* raft_world_private: the inside of raft_world, for its two files: raft_world_node.c has the members' processes
 * and disks, raft_world.c everything around them. */
#pragma once

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/core/prng.h"
#include "actors/core/table.h"
#include "actors/election/election.h"
#include "actors/replicator/membership.h"
#include "actors/replicator/replicator.h"
#include "actors/wiring.h"
#include "membership.pb-c.h"
#include "messages/configuration.h"
#include "messages/xalloc.h"
#include "tests/support/raft_world.h"
#include "tests/support/replicator_rig.h"

enum {
    IDS_MAX = 8, /* members that ever exist: ids 1 ..; the array's place 0 is unused */
    INDEX_MAX = 20000,
    PROPOSALS_MAX = 20000,
    ELECTION_US = 300000,
    HEARTBEAT_US = 30000,
    SETTLE_STEPS = 400000, /* until everything must be well again */
};

/* ---- what the disk holds ---- */

typedef struct {
    uint64_t term, vote;
    uint64_t base_index, base_term;
    bytes_t *configuration; /* at the base */
    entry_t entries[INDEX_MAX];
    size_t count;
    uint64_t commit, lsn;
} disk_t;

typedef struct {
    actor_id_t to, from;
    msg_t *msg;
} letter_t;

typedef struct {
    bool is_up, is_gone; /* gone: removed, never to come back */
    uint64_t id, starts, up_at_us;
    void *cores[2]; /* election, replicator */
    metrics_t metrics;
    outbox_t *outboxes[2];
    bool dirty[2];
    letter_t *letters; /* in flight inside, in order of sending */
    size_t letter_count, letter_capacity;
    msg_t **writes; /* HARDSTATE, APPEND_LOG, SNAP_MARK on their way to the disk, in order */
    size_t write_count, write_capacity;
    uint64_t write_due_us;
    disk_t disk;
    /* The store. */
    uint64_t applied, flushed;
    bytes_t *members, *flushed_members; /* the configuration there */
    /* A snapshot coming in. */
    msg_snap_t taking;
    bool is_taking;
    uint64_t generation;
    bool is_cut;
} node_t;

typedef struct {
    uint64_t from, to, at_us;
    peer_msg_t *content;
    bool is_stream; /* a snapshot's data, all of it */
    msg_snap_t snap;
} packet_t;

typedef enum { OPEN, REFUSED, UNKNOWN, DONE } fate_t;
typedef struct {
    uint64_t node, starts;
    fate_t fate;
    uint64_t at; /* index it is committed at */
} proposal_fate_t;

typedef struct {
    uint64_t node, starts, floor;
} read_fate_t;

typedef struct {
    uint64_t term, hash;
    uint64_t request; /* id of the proposal, 0 = none */
} truth_t;

typedef struct {
    raft_world_cfg_t cfg;
    uint64_t seed, now_us, step;
    prng_t prng;
    bool heals;
    node_t *nodes[IDS_MAX + 1];
    packet_t *packets;
    size_t packet_count, packet_capacity;
    truth_t truth[INDEX_MAX];
    uint64_t committed; /* highest index that any store has seen */
    uint64_t acked;     /* highest index whose proposer was told */
    proposal_fate_t proposals[PROPOSALS_MAX];
    size_t proposal_count;
    read_fate_t reads[PROPOSALS_MAX];
    size_t read_count;
    uint64_t leaders[5000]; /* by term */
    raft_world_stats_t stats;
} world_t;

#define FAIL(world, ...)                                                                           \
    do {                                                                                           \
        fprintf(stderr, "seed %" PRIu64 " step %" PRIu64 ": ", (world)->seed, (world)->step);      \
        fprintf(stderr, __VA_ARGS__);                                                              \
        fprintf(stderr, "\n");                                                                     \
        abort();                                                                                   \
    } while (0)

/* ---- raft_world_node.c ---- */
uint64_t rw_below(world_t *self, uint64_t bound);
bool rw_chance(world_t *self, uint32_t permille);
bool rw_traces(void);
void rw_post(node_t *node, actor_id_t from, actor_id_t to, msg_t *msg);
int rw_core_of(actor_id_t actor);
const core_ops_t *rw_ops_of(int core);
void rw_step_core(world_t *self, node_t *node, int core, msg_t *msg);
const bytes_t *rw_newest_configuration(const disk_t *disk);
void rw_start_node(world_t *self, node_t *node);
void rw_add_node(world_t *self, uint64_t id, const bytes_t *configuration);
void rw_set_bytes(bytes_t **kept, const bytes_t *value);
void rw_release_taking(node_t *node);
void rw_cut_disk(disk_t *disk, uint64_t from);
void rw_purge_disk(disk_t *disk, uint64_t until);
void rw_write_some(world_t *self, node_t *node, size_t count, bool answers);
void rw_crash_node(world_t *self, node_t *node);
