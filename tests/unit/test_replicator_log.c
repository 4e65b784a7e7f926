/* raft_log: the entries in memory, where they may be replaced, and the configurations among them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "actors/replicator/raft_log.h"

static void append(raft_log_t *log, uint64_t term, entry_type_t type, const char *payload)
{
    entry_t entry = {.index = raft_log_last_index(log) + 1,
                     .term = term,
                     .type = type,
                     .payload = bytes_new(payload, strlen(payload))};
    raft_log_append(log, &entry);
    bytes_unref(&entry.payload);
}

/* After (4, term 1): terms 1 1 2 2 2 5. */
static raft_log_t make(void)
{
    raft_log_t log;
    bytes_t *base = bytes_new("base", 4);
    raft_log_init(&log, 4, 1, 2, base);
    bytes_unref(&base);
    const uint64_t terms[] = {1, 1, 2, 2, 2, 5};
    for (size_t i = 0; i < sizeof terms / sizeof *terms; i++) {
        append(&log, terms[i], ENTRY_NORMAL, "xy");
    }
    return log;
}

static void the_term_of_the_base_is_known_and_nothing_before(void **state)
{
    (void)state;
    raft_log_t log = make();
    uint64_t term = 0;
    assert_true(raft_log_term_at(&log, 4, &term));
    assert_int_equal(term, 1);
    assert_true(raft_log_term_at(&log, 10, &term));
    assert_int_equal(term, 5);
    assert_false(raft_log_term_at(&log, 3, &term));
    assert_false(raft_log_term_at(&log, 11, &term));
    raft_log_deinit(&log);
}

static void the_last_index_of_a_term_is_found_and_never_below_the_base(void **state)
{
    (void)state;
    raft_log_t log = make();
    assert_int_equal(raft_log_last_with_term(&log, 10, 5), 10);
    assert_int_equal(raft_log_last_with_term(&log, 10, 4), 9);
    assert_int_equal(raft_log_last_with_term(&log, 8, 4), 8);
    assert_int_equal(raft_log_last_with_term(&log, 10, 1), 6);
    assert_int_equal(raft_log_last_with_term(&log, 10, 0), 4);
    assert_int_equal(raft_log_last_with_term(&log, 99, 9), 10);
    assert_int_equal(raft_log_last_with_term(&log, 3, 9), 4);
    raft_log_deinit(&log);
}

static void a_cut_forgets_entries_and_their_configurations(void **state)
{
    (void)state;
    raft_log_t log = make();
    append(&log, 5, ENTRY_CONFIGURATION, "first");
    append(&log, 5, ENTRY_CONFIGURATION, "second");
    assert_int_equal(raft_log_configuration(&log)->index, 12);
    raft_log_cut(&log, 12);
    assert_int_equal(raft_log_configuration(&log)->index, 11);
    raft_log_cut(&log, 9);
    assert_int_equal(raft_log_last_index(&log), 8);
    assert_int_equal(raft_log_last_term(&log), 2);
    assert_int_equal(log.bytes, 4 * 2);
    assert_int_equal(raft_log_configuration(&log)->index, 2);
    append(&log, 6, ENTRY_NORMAL, "z");
    assert_int_equal(raft_log_at(&log, 9)->term, 6);
    raft_log_deinit(&log);
}

static void a_snapshot_in_the_log_keeps_what_follows(void **state)
{
    (void)state;
    raft_log_t log = make();
    bytes_t *configuration = bytes_new("new", 3);
    raft_log_reset(&log, 7, 2, configuration);
    assert_int_equal(log.base_index, 7);
    assert_int_equal(log.base_term, 2);
    assert_int_equal(raft_log_last_index(&log), 10);
    assert_int_equal(raft_log_configuration(&log)->index, 2);
    bytes_unref(&configuration);
    raft_log_deinit(&log);
}

static void a_snapshot_that_the_log_does_not_hold_replaces_it(void **state)
{
    (void)state;
    bytes_t *configuration = bytes_new("new", 3);
    for (int i = 0; i < 2; i++) { /* beyond its end; another term at the place */
        raft_log_t log = make();
        append(&log, 5, ENTRY_CONFIGURATION, "lost");
        uint64_t index = i ? 9 : 40;
        raft_log_reset(&log, index, 4, configuration);
        assert_int_equal(raft_log_last_index(&log), index);
        assert_int_equal(raft_log_last_term(&log), 4);
        assert_int_equal(log.bytes, 0);
        assert_int_equal(raft_log_configuration(&log)->index, index);
        assert_ptr_equal(raft_log_configuration(&log)->encoded, configuration);
        append(&log, 6, ENTRY_NORMAL, "z");
        raft_log_deinit(&log);
    }
    bytes_unref(&configuration);
}

static void bytes_are_counted_above_an_index(void **state)
{
    (void)state;
    raft_log_t log = make();
    assert_int_equal(raft_log_bytes_above(&log, 10), 0);
    assert_int_equal(raft_log_bytes_above(&log, 8), 4);
    assert_int_equal(raft_log_bytes_above(&log, 0), 12);
    raft_log_deinit(&log);
}

static void the_ring_grows_after_entries_were_dropped(void **state)
{
    (void)state;
    raft_log_t log = make();
    raft_log_drop_until(&log, 8);
    for (int i = 0; i < 3000; i++) {
        append(&log, 7, ENTRY_NORMAL, "xy");
    }
    assert_int_equal(raft_log_last_index(&log), 3010);
    assert_int_equal(raft_log_at(&log, 9)->term, 2);
    assert_null(raft_log_at(&log, 8));
    raft_log_cut(&log, 10);
    assert_int_equal(raft_log_last_index(&log), 9);
    raft_log_deinit(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_term_of_the_base_is_known_and_nothing_before),
        cmocka_unit_test(the_last_index_of_a_term_is_found_and_never_below_the_base),
        cmocka_unit_test(a_cut_forgets_entries_and_their_configurations),
        cmocka_unit_test(a_snapshot_in_the_log_keeps_what_follows),
        cmocka_unit_test(a_snapshot_that_the_log_does_not_hold_replaces_it),
        cmocka_unit_test(bytes_are_counted_above_an_index),
        cmocka_unit_test(the_ring_grows_after_entries_were_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
