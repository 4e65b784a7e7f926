/* The WAL writer's core and shell together: what waits becomes one write, answers come only after it,
 * and after any crash the log says exactly what was acknowledged, or that and the write in flight. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/wal_spare.h"
#include "tests/support/wal_rig.h"

static void start(wal_rig_t *rig, uint64_t seed, uint64_t segment_bytes)
{
    wal_rig_init(rig, seed, segment_bytes);
    assert_int_equal(wal_rig_create(rig), 0);
    assert_int_equal(wal_rig_start(rig), 0);
}

static void what_waits_becomes_one_write(void **state)
{
    (void)state;
    wal_rig_t rig;
    start(&rig, 1, 65536);
    assert_int_equal(wal_rig_settle(&rig), 0);
    assert_int_equal(rig.disk_writes, 0);

    wal_rig_append(&rig, 2, 1, 10, 0);
    msg_t *first;
    assert_true(wal_rig_flush(&rig, &first));
    /* While it is in flight: a new term, three appends, one of which replaces the two before. */
    wal_rig_hardstate(&rig, 2, 7);
    wal_rig_append(&rig, 3, 2, 10, 2);
    wal_rig_append(&rig, 5, 1, 10, 2);
    wal_rig_append(&rig, 4, 1, 10, 3);
    msg_t *none;
    assert_false(wal_rig_flush(&rig, &none));
    assert_int_equal(rig.lsn_acked, 0);
    uint64_t changes = fault_io_changes(rig.disk);
    assert_int_equal(wal_rig_execute(&rig, &first), 0);
    assert_int_equal(fault_io_changes(rig.disk) - changes, 2); /* one write, one sync */
    assert_int_equal(rig.lsn_acked, 1);
    assert_int_equal(rig.hardstate_acked, 0);

    msg_t *second;
    assert_true(wal_rig_flush(&rig, &second));
    assert_int_equal(wal_rig_execute(&rig, &second), 0);
    assert_int_equal(rig.disk_writes, 2);
    assert_int_equal(rig.log_durables, 2);
    assert_int_equal(rig.lsn_acked, 4);
    assert_int_equal(rig.hardstate_acked, 1);
    assert_false(wal_rig_flush(&rig, &none));

    wal_rig_crash(&rig, CRASH_LOSE);
    assert_int_equal(wal_rig_start(&rig), 0);
    assert_int_equal(rig.recovered.term, 2);
    assert_int_equal(rig.recovered.vote, 7);
    assert_int_equal(rig.recovered.commit, 3);
    assert_int_equal(rig.recovered.lsn, 4);
    assert_int_equal(wal_recovered_last_index(&rig.recovered), 4);
    wal_rig_deinit(&rig);
}

static void commit_alone_is_written(void **state)
{
    (void)state;
    wal_rig_t rig;
    start(&rig, 1, 65536);
    wal_rig_append(&rig, 2, 3, 10, 0);
    assert_int_equal(wal_rig_settle(&rig), 0);
    wal_rig_append(&rig, 0, 0, 0, 4);
    assert_int_equal(wal_rig_settle(&rig), 0);
    assert_int_equal(rig.lsn_acked, 2);
    wal_rig_crash(&rig, CRASH_LOSE);
    assert_int_equal(wal_rig_start(&rig), 0);
    assert_int_equal(rig.recovered.commit, 4);
    assert_int_equal(rig.recovered.entries.count, 4);
    wal_rig_deinit(&rig);
}

static void stop_waits_for_the_disk(void **state)
{
    (void)state;
    wal_rig_t rig;
    start(&rig, 1, 65536);
    wal_rig_append(&rig, 2, 1, 10, 0);
    msg_t *request;
    assert_true(wal_rig_flush(&rig, &request));
    wal_rig_append(&rig, 3, 1, 10, 0);
    msg_t *stop = msg_new(MSG_STOP);
    step_in_t in = {.msg = stop};
    wal_writer_ops.step(rig.core, &in, rig.outbox);
    msg_free(&stop);
    msg_t *none;
    assert_false(wal_rig_flush(&rig, &none));
    assert_false(outbox_is_stopped(rig.outbox));
    assert_int_equal(wal_rig_execute(&rig, &request), 0);
    assert_int_equal(wal_rig_settle(&rig), 0);
    assert_int_equal(rig.lsn_acked, 2);
    assert_true(outbox_is_stopped(rig.outbox));
    wal_rig_deinit(&rig);
}

/* Segments of 4 KiB: several roll-overs, with and without purging. */
static void segments_roll_over_and_go(void **state)
{
    (void)state;
    wal_rig_t rig;
    start(&rig, 1, 4096);
    wal_rig_hardstate(&rig, 3, 9);
    wal_rig_configure(&rig, "second");
    for (int i = 0; i < 100; i++) {
        uint64_t last = wal_rig_last(&rig);
        wal_rig_append(&rig, last + 1, 1, 200, last);
        assert_int_equal(wal_rig_settle(&rig), 0);
    }
    assert_in_range(rig.segments_begun, 4, 12);
    char *oldest = wal_rig_segment(&rig, 0);
    assert_string_equal(oldest, WAL_RIG_DIR "/0000000000000001.wal");
    free(oldest);
    wal_rig_crash(&rig, CRASH_LOSE);
    assert_int_equal(wal_rig_start(&rig), 0);
    assert_int_equal(rig.recovered.entries.count, 102);

    /* Everything up to 90 is flushed: what remains still knows identity, hard state, configuration. */
    wal_rig_flushed(&rig, 90);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(wal_rig_settle(&rig), 0);
        wal_rig_append(&rig, wal_rig_last(&rig) + 1, 1, 10, 0);
    }
    assert_int_equal(wal_rig_settle(&rig), 0);
    assert_int_equal(rig.purges, 1);
    wal_rig_crash(&rig, CRASH_LOSE);
    assert_int_equal(wal_rig_start(&rig), 0);
    assert_in_range(rig.recovered.base_index, 70, 90);
    assert_int_equal(rig.recovered.term, 3);
    assert_int_equal(rig.recovered.vote, 9);
    assert_int_equal(rig.recovered.base_configuration_index, 2);
    assert_memory_equal(bytes_slice(rig.recovered.base_configuration).data, "second", 6);
    wal_rig_deinit(&rig);
}

/* A segment is not deleted while a later one replaces entries below its own base: the log would not
 * read the same without it. */
static void purge_keeps_what_a_truncation_needs(void **state)
{
    (void)state;
    wal_rig_t rig;
    start(&rig, 1, 4096);
    while (rig.segments_begun < 1) {
        wal_rig_append(&rig, wal_rig_last(&rig) + 1, 1, 200, 0);
        assert_int_equal(wal_rig_settle(&rig), 0);
    }
    wal_rig_hardstate(&rig, 2, 0);
    wal_rig_append(&rig, 5, 1, 20, 0); /* in segment 2, whose base is above 5 */
    assert_int_equal(wal_rig_settle(&rig), 0);
    while (wal_rig_last(&rig) < 18) {
        wal_rig_append(&rig, wal_rig_last(&rig) + 1, 1, 20, wal_rig_last(&rig));
    }
    wal_rig_flushed(&rig, 17);
    assert_int_equal(wal_rig_settle(&rig), 0);
    assert_int_equal(rig.purges, 0);
    while (rig.segments_begun < 2) {
        wal_rig_append(&rig, wal_rig_last(&rig) + 1, 1, 200, 18);
        assert_int_equal(wal_rig_settle(&rig), 0);
    }
    wal_rig_flushed(&rig, wal_rig_last(&rig) - 1);
    for (int i = 0; i < 3; i++) {
        wal_rig_append(&rig, wal_rig_last(&rig) + 1, 1, 20, 0);
        assert_int_equal(wal_rig_settle(&rig), 0);
    }
    assert_int_equal(rig.purges, 1);
    wal_rig_crash(&rig, CRASH_LOSE);
    assert_int_equal(wal_rig_start(&rig), 0);
    assert_int_equal(rig.recovered.segment_count, 1);
    wal_rig_deinit(&rig);
}

static void a_batch_larger_than_a_segment_gets_its_own(void **state)
{
    (void)state;
    wal_rig_t rig;
    start(&rig, 1, 4096);
    wal_rig_append(&rig, 2, 3, 30000, 0);
    wal_rig_append(&rig, 5, 1, 10, 0);
    assert_int_equal(wal_rig_settle(&rig), 0);
    wal_rig_append(&rig, 6, 1, 4000, 5);
    assert_int_equal(wal_rig_settle(&rig), 0);
    wal_rig_crash(&rig, CRASH_LOSE);
    assert_int_equal(wal_rig_start(&rig), 0);
    assert_int_equal(rig.recovered.entries.count, 6);
    wal_rig_deinit(&rig);
}

/* ---- snapshots ---- */

/* Entries 2 to 10 of term 1, 11 to 15 of term 2; 1 is committed. */
static void start_with_two_terms(wal_rig_t *rig, uint64_t segment_bytes)
{
    start(rig, 1, segment_bytes);
    wal_rig_append(rig, 2, 9, 10, 0);
    wal_rig_hardstate(rig, 2, 0);
    wal_rig_append(rig, 11, 5, 10, 0);
    assert_int_equal(wal_rig_settle(rig), 0);
}

static void check_restart(wal_rig_t *rig, uint64_t base, uint64_t term, uint64_t last)
{
    wal_rig_crash(rig, CRASH_LOSE);
    assert_int_equal(wal_rig_start(rig), 0);
    assert_int_equal(rig->recovered.base_index, base);
    assert_int_equal(rig->recovered.base_term, term);
    assert_int_equal(wal_recovered_last_index(&rig->recovered), last);
}

static void a_snapshot_beyond_the_log_replaces_it(void **state)
{
    (void)state;
    wal_rig_t rig;
    start_with_two_terms(&rig, 65536);
    wal_rig_hardstate(&rig, 4, 0);
    wal_rig_snapshot(&rig, 100, 3, "members");
    uint64_t lsn = rig.sent.lsn;
    assert_int_equal(wal_rig_settle(&rig), 0);
    assert_int_equal(rig.lsn_acked, lsn); /* LOG_DURABLE covers it */
    check_restart(&rig, 100, 3, 100);
    assert_int_equal(rig.recovered.commit, 100);
    assert_int_equal(rig.recovered.generation, 1);
    assert_int_equal(rig.recovered.base_configuration_index, 100);
    assert_memory_equal(bytes_slice(rig.recovered.base_configuration).data, "members", 7);

    wal_rig_append(&rig, 101, 3, 10, 102); /* the log goes on behind it */
    assert_int_equal(wal_rig_settle(&rig), 0);
    check_restart(&rig, 100, 3, 103);
    wal_rig_deinit(&rig);
}

static void a_snapshot_within_the_log_keeps_what_follows(void **state)
{
    (void)state;
    wal_rig_t rig;
    start_with_two_terms(&rig, 65536);
    wal_rig_configure(&rig, "newer"); /* entry 16 */
    wal_rig_snapshot(&rig, 12, 2, "members");
    assert_int_equal(wal_rig_settle(&rig), 0);
    check_restart(&rig, 12, 2, 16);
    assert_int_equal(rig.recovered.commit, 12);
    uint64_t index = 0;
    const bytes_t *newest = wal_recovered_configuration(&rig.recovered, &index);
    assert_int_equal(index, 16);
    assert_true(slice_equal(bytes_slice(newest), slice_str("newer")));
    /* What is kept can still be replaced. */
    wal_rig_hardstate(&rig, 3, 0);
    wal_rig_append(&rig, 14, 1, 10, 0);
    assert_int_equal(wal_rig_settle(&rig), 0);
    check_restart(&rig, 12, 2, 14);
    wal_recovered_configuration(&rig.recovered, &index);
    assert_int_equal(index, 12);
    wal_rig_deinit(&rig);
}

static void a_snapshot_drops_what_does_not_follow_it(void **state)
{
    (void)state;
    wal_rig_t rig;
    start_with_two_terms(&rig, 65536);
    wal_rig_configure(&rig, "of another log"); /* entry 16 */
    wal_rig_snapshot(&rig, 9, 2, "members");   /* entry 9 is of term 1 here */
    assert_int_equal(wal_rig_settle(&rig), 0);
    check_restart(&rig, 9, 2, 9);
    assert_int_equal(rig.recovered.base_configuration_index, 9);
    wal_rig_append(&rig, 10, 2, 10, 0);
    wal_rig_snapshot(&rig, 11, 2, "others"); /* in the batch of the entries that it covers */
    assert_int_equal(wal_rig_settle(&rig), 0);
    check_restart(&rig, 11, 2, 11);
    assert_int_equal(rig.recovered.generation, 2);
    wal_rig_deinit(&rig);
}

/* Segments from before a snapshot stay until the store of the snapshot is known to be flushed, then they
 * go, and a header says everything that the mark did. */
static void segments_before_a_snapshot_go(void **state)
{
    (void)state;
    wal_rig_t rig;
    start_with_two_terms(&rig, 4096);
    while (rig.segments_begun < 3) { /* entries that are going to be dropped */
        wal_rig_append(&rig, wal_rig_last(&rig) + 1, 1, 400, 0);
        assert_int_equal(wal_rig_settle(&rig), 0);
    }
    uint64_t index = wal_rig_last(&rig) - 2; /* below the base of no segment but the newest */
    wal_rig_hardstate(&rig, 3, 0);
    wal_rig_snapshot(&rig, index, 3, "members");
    assert_int_equal(wal_rig_settle(&rig), 0);
    size_t begun = rig.segments_begun;
    while (rig.segments_begun < begun + 2) {
        wal_rig_append(&rig, wal_rig_last(&rig) + 1, 1, 400, wal_rig_last(&rig));
        assert_int_equal(wal_rig_settle(&rig), 0);
    }
    assert_int_equal(rig.purges, 0);
    wal_rig_flushed(&rig, wal_rig_last(&rig) - 1);
    for (int i = 0; i < 6; i++) {
        wal_rig_append(&rig, wal_rig_last(&rig) + 1, 1, 10, 0);
        assert_int_equal(wal_rig_settle(&rig), 0);
    }
    assert_true(rig.purges > 0);
    wal_rig_crash(&rig, CRASH_LOSE);
    assert_int_equal(wal_rig_start(&rig), 0);
    assert_int_equal(rig.recovered.segment_count, 1);
    assert_int_equal(rig.recovered.generation, 0); /* settled long ago */
    assert_int_equal(rig.recovered.base_configuration_index, index);
    assert_memory_equal(bytes_slice(rig.recovered.base_configuration).data, "members", 7);
    wal_rig_deinit(&rig);
}

/* A follower's tail was replaced, so a later segment has a lower base than an earlier one: all before it
 * still go. */
static void segments_of_a_replaced_tail_go(void **state)
{
    (void)state;
    wal_rig_t rig;
    start(&rig, 1, 4096);
    while (rig.segments_begun < 2) {
        wal_rig_append(&rig, wal_rig_last(&rig) + 1, 1, 400, 0);
        assert_int_equal(wal_rig_settle(&rig), 0);
    }
    wal_rig_hardstate(&rig, 2, 0);
    wal_rig_append(&rig, 2, 1, 400, 0); /* everything is replaced */
    while (rig.segments_begun < 3) {
        wal_rig_append(&rig, wal_rig_last(&rig) + 1, 1, 400, wal_rig_last(&rig));
        assert_int_equal(wal_rig_settle(&rig), 0);
    }
    wal_rig_flushed(&rig, rig.acked.commit);
    for (int i = 0; i < 4; i++) {
        wal_rig_append(&rig, wal_rig_last(&rig) + 1, 1, 10, 0);
        assert_int_equal(wal_rig_settle(&rig), 0);
    }
    wal_rig_crash(&rig, CRASH_LOSE);
    assert_int_equal(wal_rig_start(&rig), 0);
    assert_int_equal(rig.recovered.segment_count, 1);
    wal_rig_deinit(&rig);
}

/* ---- random runs against the model ---- */

/* Above the commit index: within the log, of its own term or another; or behind it. */
static void random_snapshot(wal_rig_t *rig, prng_t *prng)
{
    uint64_t last = wal_rig_last(rig);
    uint64_t index = rig->sent.commit + 1 + prng_below(prng, last - rig->sent.commit + 5);
    uint64_t term = rig->sent.term;
    if (index <= last && prng_below(prng, 3) > 0) {
        term = wal_rig_term_at(rig, index);
    }
    wal_rig_snapshot(rig, index, term, prng_below(prng, 2) ? "some members" : "restored members");
}

static void random_message(wal_rig_t *rig, prng_t *prng)
{
    uint64_t last = wal_rig_last(rig);
    uint64_t commit = rig->sent.commit;
    switch (prng_below(prng, 11)) {
    case 10:
        if (prng_below(prng, 6) == 0) {
            random_snapshot(rig, prng);
        }
        break;
    case 0: wal_rig_hardstate(rig, rig->sent.term + 1, prng_below(prng, 3)); break;
    case 1:
        wal_rig_configure(rig, prng_below(prng, 2) ? "some members" : "some other members");
        break;
    case 2: /* a conflict: replace from above the commit index */
        if (last > commit) {
            uint64_t first = commit + 1 + prng_below(prng, last - commit);
            wal_rig_hardstate(rig, rig->sent.term + 1, 0);
            wal_rig_append(rig, first, 1 + prng_below(prng, 3), prng_below(prng, 300), 0);
        }
        break;
    case 3: wal_rig_append(rig, 0, 0, 0, commit + prng_below(prng, last - commit + 1)); break;
    case 4:
        if (rig->acked.commit > 0) {
            uint64_t most = rig->acked.commit;
            wal_rig_flushed(rig, most - prng_below(prng, most < 20 ? most : 20));
        }
        break;
    default:
        wal_rig_append(rig, last + 1, 1 + prng_below(prng, 4), prng_below(prng, 700),
                       commit + prng_below(prng, last - commit + 1));
    }
}

/* Some messages, some writes; ends in a crash at any point, often inside a write. */
static void random_life(wal_rig_t *rig, prng_t *prng)
{
    for (uint64_t turns = prng_below(prng, 60); turns > 0; turns--) {
        for (uint64_t n = prng_below(prng, 4); n > 0; n--) {
            random_message(rig, prng);
        }
        msg_t *request;
        if (wal_rig_flush(rig, &request)) {
            for (uint64_t n = prng_below(prng, 3); n > 0; n--) {
                random_message(rig, prng);
            }
            if (turns == 1) {
                fault_io_fail(rig->disk, prng_below(prng, 6), EIO);
            }
            if (wal_rig_execute(rig, &request) < 0) {
                return;
            }
        }
    }
}

static void crashes_never_lose_what_was_acknowledged(void **state)
{
    (void)state;
    enum { RUNS = 60, LIVES = 12 };
    size_t segments = 0;
    size_t purges = 0;
    size_t snapshots = 0;
    for (uint64_t seed = 1; seed <= RUNS; seed++) {
        prng_t prng = {.state = seed};
        wal_rig_t rig;
        start(&rig, seed, 4096 + prng_below(&prng, 3) * 4096);
        for (int life = 0; life < LIVES; life++) {
            random_life(&rig, &prng);
            wal_rig_crash(&rig, (crash_t)prng_below(&prng, 4));
            fault_io_disturb(rig.disk, prng_below(&prng, 2));
            assert_int_equal(wal_rig_start(&rig), 0);
            if (prng_below(&prng, 4) == 0) { /* cut again: what start claims must be durable */
                wal_rig_crash(&rig, CRASH_LOSE);
                assert_int_equal(wal_rig_start(&rig), 0);
            }
        }
        segments += rig.segments_begun;
        purges += rig.purges;
        snapshots += rig.acked.generation;
        wal_rig_deinit(&rig);
    }
    assert_true(segments > 100 && purges > 50 && snapshots > 100); /* the runs were not trivial */
}

/* ---- the i-th failure, for every i ---- */

/* 0 = nothing failed. */
static int scenario(wal_rig_t *rig)
{
    int rc = wal_rig_create(rig);
    if (rc == 0) {
        rc = wal_rig_start(rig);
    }
    for (int i = 0; rc == 0 && i < 40; i++) {
        uint64_t last = wal_rig_last(rig);
        if (i % 10 == 9) {
            wal_rig_hardstate(rig, rig->sent.term + 1, 1);
        }
        wal_rig_append(rig, last + 1, 1, 300, last);
        if (i % 8 == 7) {
            wal_rig_flushed(rig, rig->acked.commit);
        }
        if (i % 12 == 11) { /* once keeping nothing, once something */
            rc = wal_rig_settle(rig);
            wal_rig_snapshot(rig, last + (i % 24 == 11 ? 5 : 1), rig->sent.term, "members");
        }
        if (rc != 0) {
            break;
        }
        rc = wal_rig_settle(rig);
    }
    return rc;
}

static void every_failure_stops_the_node_and_loses_nothing(void **state)
{
    (void)state;
    static const crash_t crashes[] = {CRASH_PROCESS, CRASH_LOSE, CRASH_TORN_PREFIX,
                                      CRASH_TORN_SECTORS};
    size_t failures = 0;
    for (size_t c = 0; c < sizeof crashes / sizeof *crashes; c++) {
        for (uint64_t i = 0;; i++) {
            wal_rig_t rig;
            wal_rig_init(&rig, i, 4096);
            fault_io_fail(rig.disk, i, i % 2 ? EIO : ENOSPC);
            int rc = scenario(&rig);
            if (rc == 0) {
                assert_true(rig.segments_begun > 2 && rig.purges > 0);
                wal_rig_deinit(&rig);
                break;
            }
            assert_int_equal(rc, i % 2 ? -EIO : -ENOSPC);
            assert_non_null(rig.error);
            assert_non_null(strstr(rig.error, i % 2 ? "Input/output error" : "No space left"));
            failures++;
            wal_rig_crash(&rig, crashes[c]);
            rc = wal_rig_start(&rig); /* compares with the model */
            if (rc != 0) {
                assert_int_equal(rc, WAL_ABSENT);
                assert_int_equal(rig.acked.term, 0); /* it was never made */
            }
            wal_rig_deinit(&rig);
        }
    }
    assert_true(failures > 400);
}

/* ---- no room for the next segment ---- */

static void append_one(wal_rig_t *rig)
{
    wal_rig_append(rig, wal_rig_last(rig) + 1, 1, 2000, 0);
    assert_int_equal(wal_rig_settle(rig), 0);
}

/* How many lines of this level the core has logged since the last call. */
static size_t count_lines(wal_rig_t *rig, log_level_t level, const char *text)
{
    size_t count = 0;
    for (const outbox_line_t *line; (line = outbox_next_line(rig->outbox));) {
        count += line->level == level && strstr(line->text, text) != NULL;
    }
    return count;
}

static uint64_t files_bytes(const wal_rig_t *rig)
{
    uint64_t bytes = 0;
    for (size_t number = 0;; number++) {
        char *path = wal_rig_segment(rig, number);
        size_t len = 0;
        bool is_there = path && fault_io_data(rig->disk, path, &len);
        free(path);
        if (!is_there) {
            return bytes;
        }
        bytes += len;
    }
}

/* The current segment has its bytes: every one of them is used before the node stops. */
static void without_room_the_segment_is_written_to_its_end(void **state)
{
    (void)state;
    wal_rig_t rig;
    start(&rig, 1, 65536);
    fault_io_limit(rig.disk, files_bytes(&rig) + 1000);
    size_t appended = 0;
    int rc = 0;
    while (rc == 0) {
        wal_rig_append(&rig, wal_rig_last(&rig) + 1, 1, 2000, 0);
        rc = wal_rig_settle(&rig);
        appended += rc == 0;
    }
    assert_int_equal(rc, -ENOSPC);
    assert_int_equal(rig.segments_begun, 1); /* asked for, and not made */
    assert_true(appended * 2000 > 65536 - 4000);
    assert_int_equal(count_lines(&rig, LEVEL_WARN, "no room"), 1);
    wal_rig_crash(&rig, CRASH_LOSE);
    assert_int_equal(wal_rig_start(&rig), 0);
    wal_rig_deinit(&rig);
}

static void room_in_time_is_used(void **state)
{
    (void)state;
    wal_rig_t rig;
    start(&rig, 1, 1 << 20);
    fault_io_limit(rig.disk, files_bytes(&rig) + 1000);
    while (count_lines(&rig, LEVEL_WARN, "no room") == 0) {
        append_one(&rig);
        assert_int_equal(rig.segments_begun, 0);
    }
    char *spare = wal_spare_path(WAL_RIG_DIR);
    size_t len;
    assert_null(fault_io_data(rig.disk, spare, &len)); /* others need the room */
    fault_io_limit(rig.disk, 0);
    while (count_lines(&rig, LEVEL_INFO, "has room") == 0) {
        append_one(&rig);
        assert_int_equal(rig.segments_begun, 0);
    }
    assert_non_null(fault_io_data(rig.disk, spare, &len));
    assert_int_equal(len, 1 << 20);
    free(spare);
    while (rig.segments_begun < 2) {
        append_one(&rig);
    }
    wal_rig_crash(&rig, CRASH_LOSE);
    assert_int_equal(wal_rig_start(&rig), 0);
    wal_rig_deinit(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_waits_becomes_one_write),
        cmocka_unit_test(commit_alone_is_written),
        cmocka_unit_test(stop_waits_for_the_disk),
        cmocka_unit_test(segments_roll_over_and_go),
        cmocka_unit_test(purge_keeps_what_a_truncation_needs),
        cmocka_unit_test(a_batch_larger_than_a_segment_gets_its_own),
        cmocka_unit_test(a_snapshot_beyond_the_log_replaces_it),
        cmocka_unit_test(a_snapshot_within_the_log_keeps_what_follows),
        cmocka_unit_test(a_snapshot_drops_what_does_not_follow_it),
        cmocka_unit_test(segments_before_a_snapshot_go),
        cmocka_unit_test(segments_of_a_replaced_tail_go),
        cmocka_unit_test(crashes_never_lose_what_was_acknowledged),
        cmocka_unit_test(every_failure_stops_the_node_and_loses_nothing),
        cmocka_unit_test(without_room_the_segment_is_written_to_its_end),
        cmocka_unit_test(room_in_time_is_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
