/* raft_world: some members' elections and replicators, the product's cores, in a world that loses, repeats and
 * reorders what they say, writes their logs late, and lets their processes die. Logs' disks, stores, snapshots
 * and clients are played. One thread, virtual time, everything from one seed.
 *
 * Fails the test (with the seed) when
 *   - two entries are committed at one index, or one proposal twice, or one that was refused
 *   - a store is given entries with a gap, or a snapshot that is not what was committed
 *   - two members lead one term
 *   - a read index is below something that was acknowledged before the read
 *   - afterwards, when all is well again, the members do not come to the same end in time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t steps; /* of random life, before everything heals */
    size_t members; /* at the beginning, voters all */
    uint32_t permille_lost, permille_twice;
    uint32_t permille_crash; /* per 100 steps */
    uint32_t permille_cut;   /* per 100 steps: a member is cut off, or one direction of a link */
    bool changes;            /* of membership */
} raft_world_cfg_t;

typedef struct {
    uint64_t committed, reads, forwarded, refused, unknown, crashes, snapshots, changes, transfers,
        terms;
} raft_world_stats_t;

raft_world_stats_t raft_world_run(const raft_world_cfg_t *cfg, uint64_t seed);
