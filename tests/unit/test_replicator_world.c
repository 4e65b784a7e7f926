/* Elections and replicators of several members in random worlds.
 *
 * usage: test_replicator_world [SEEDS [FIRST]]   more of them; RAFT_WORLD_TRACE=1 shows every message */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/raft_world.h"

enum { SEEDS = 12, STEPS = 20000 };

static uint64_t seeds = SEEDS;
static uint64_t first_seed = 1;

static void add(raft_world_stats_t *sum, const raft_world_stats_t *more)
{
    sum->committed += more->committed;
    sum->reads += more->reads;
    sum->forwarded += more->forwarded;
    sum->refused += more->refused;
    sum->unknown += more->unknown;
    sum->crashes += more->crashes;
    sum->snapshots += more->snapshots;
    sum->changes += more->changes;
    sum->transfers += more->transfers;
    sum->terms += more->terms;
}

static raft_world_stats_t run(raft_world_cfg_t cfg)
{
    raft_world_stats_t sum = {0};
    cfg.steps = STEPS;
    for (uint64_t seed = first_seed; seed < first_seed + seeds; seed++) {
        raft_world_stats_t stats = raft_world_run(&cfg, seed);
        add(&sum, &stats);
    }
    printf("%" PRIu64 " committed, %" PRIu64 " reads, %" PRIu64 " forwards, %" PRIu64
           " refused, %" PRIu64 " unknown, %" PRIu64 " crashes, %" PRIu64 " snapshots, %" PRIu64
           " changes, %" PRIu64 " times told to stand, %" PRIu64 " terms\n",
           sum.committed, sum.reads, sum.forwarded, sum.refused, sum.unknown, sum.crashes,
           sum.snapshots, sum.changes, sum.transfers, sum.terms);
    return sum;
}

static void three_members_in_quiet(void **state)
{
    (void)state;
    raft_world_stats_t sum = run((raft_world_cfg_t){.members = 3});
    assert_true(sum.committed > 400 * seeds);
    assert_true(sum.reads > 200 * seeds);
    assert_true(sum.forwarded > 0);
}

static void three_members_on_a_bad_network(void **state)
{
    (void)state;
    raft_world_stats_t sum = run((raft_world_cfg_t){
        .members = 3, .permille_lost = 100, .permille_twice = 100, .permille_cut = 50});
    assert_true(sum.unknown > 0);
}

static void three_members_that_crash(void **state)
{
    (void)state;
    raft_world_stats_t sum = run((raft_world_cfg_t){
        .members = 3, .permille_lost = 20, .permille_twice = 20, .permille_crash = 150});
    assert_true(sum.crashes > seeds);
    assert_true(sum.snapshots > 0);
}

static void five_members_with_everything(void **state)
{
    (void)state;
    raft_world_stats_t sum = run((raft_world_cfg_t){.members = 5,
                                                    .permille_lost = 50,
                                                    .permille_twice = 50,
                                                    .permille_crash = 100,
                                                    .permille_cut = 50});
    assert_true(sum.terms > 2 * seeds);
}

static void members_that_come_and_go(void **state)
{
    (void)state;
    raft_world_stats_t sum = run((raft_world_cfg_t){.members = 3,
                                                    .permille_lost = 30,
                                                    .permille_twice = 30,
                                                    .permille_crash = 60,
                                                    .permille_cut = 30,
                                                    .changes = true});
    assert_true(sum.changes > seeds);
}

int main(int argc, char **argv)
{
    seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : SEEDS;
    first_seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_members_in_quiet),
        cmocka_unit_test(three_members_on_a_bad_network),
        cmocka_unit_test(three_members_that_crash),
        cmocka_unit_test(five_members_with_everything),
        cmocka_unit_test(members_that_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
