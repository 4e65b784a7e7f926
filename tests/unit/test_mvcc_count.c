/* Shows that counts are right whatever keys come and go, that they cost a few rows however many keys
 * there are, and that the blocks behind them stay within their bounds, the same on every member. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "actors/core/prng.h"
#include "messages/xalloc.h"
#include "store/mvcc_blocks.h"
#include "store/mvcc_write.h"

enum { KEYS = 6000, KEY_BYTES = 8 };

typedef struct {
    kv_t *kv;
    mvcc_t *mvcc;
    uint64_t index;
    bool live[KEYS];
    prng_t prng;
} rig_t;

static void open_mvcc(rig_t *rig)
{
    char *error = NULL;
    assert_int_equal(mvcc_new(&rig->mvcc, rig->kv, &error), 0);
}

static rig_t *rig_new(void)
{
    rig_t *rig = xcalloc(1, sizeof *rig);
    rig->kv = kv_memory_new();
    open_mvcc(rig);
    return rig;
}

static void rig_destroy(rig_t **rig_p)
{
    mvcc_destroy(&(*rig_p)->mvcc);
    kv_close(&(*rig_p)->kv);
    free(*rig_p);
    *rig_p = NULL;
}

static slice_t key_of(char *room, size_t number)
{
    return slice(room, (size_t)snprintf(room, KEY_BYTES, "%06zu", number));
}

static void put(rig_t *rig, size_t number)
{
    char room[KEY_BYTES];
    mvcc_put_t request = {.key = key_of(room, number), .value = slice_str("v")};
    bool existed = false;
    assert_int_equal(mvcc_put(rig->mvcc, &request, NULL, &existed), 0);
    assert_int_equal(existed, rig->live[number]);
    rig->live[number] = true;
}

static void delete_between(rig_t *rig, size_t from, size_t to)
{
    char rooms[2][KEY_BYTES];
    mvcc_interval_t interval = {.key = key_of(rooms[0], from), .range_end = key_of(rooms[1], to)};
    int64_t deleted = 0;
    int64_t expected = 0;
    for (size_t i = from; i < to; i++) {
        expected += rig->live[i];
        rig->live[i] = false;
    }
    assert_int_equal(mvcc_delete_range(rig->mvcc, &interval, &deleted, NULL), 0);
    assert_int_equal(deleted, expected);
}

static void begin(rig_t *rig)
{
    mvcc_entry_begin(rig->mvcc, ++rig->index, 1);
}

static void end(rig_t *rig)
{
    mvcc_entry_end(rig->mvcc);
    if (rig->index % 50 == 0) {
        assert_int_equal(mvcc_commit(rig->mvcc), 0);
    }
}

/* Mostly puts, or mostly deletes of one or a hundred keys. */
static void change(rig_t *rig, bool growing)
{
    size_t number = prng_below(&rig->prng, KEYS);
    begin(rig);
    if (prng_below(&rig->prng, 10) < (growing ? 9 : 3)) {
        put(rig, number);
    } else {
        size_t to = number + (prng_below(&rig->prng, 20) ? 1 : 100);
        delete_between(rig, number, to < KEYS ? to : KEYS);
    }
    end(rig);
}

static int64_t naive(const rig_t *rig, size_t from, size_t to)
{
    int64_t count = 0;
    for (size_t i = from; i < to && i < KEYS; i++) {
        count += rig->live[i];
    }
    return count;
}

static int64_t count_at(rig_t *rig, size_t from, size_t to, int64_t revision, int64_t limit,
                        size_t rows)
{
    char rooms[2][KEY_BYTES];
    mvcc_range_t range = {
        .interval = {.key = key_of(rooms[0], from),
                     .range_end = to == SIZE_MAX ? slice("", 1) : key_of(rooms[1], to)},
        .revision = revision,
        .limit = limit,
        .count_only = limit == 0,
    };
    mvcc_cursor_t *cursor = NULL;
    buf_t out = {0};
    assert_int_equal(
        mvcc_cursor_new(&cursor, mvcc_reader(rig->mvcc), mvcc_current(rig->mvcc), &range), 0);
    mvcc_budget_t budget = {.keys = rows ? rows : 7, .bytes = SIZE_MAX};
    int rc = mvcc_cursor_step(cursor, budget, &out);
    while (rows == 0 && rc == MVCC_MORE_WORK) {
        rc = mvcc_cursor_step(cursor, budget, &out);
    }
    assert_int_equal(rc, 0);
    int64_t count = mvcc_cursor_count(cursor);
    if (limit) {
        assert_int_equal(mvcc_cursor_emitted(cursor), count < limit ? count : limit);
        assert_int_equal(mvcc_cursor_more(cursor), count > limit);
    }
    mvcc_cursor_destroy(&cursor);
    buf_deinit(&out);
    return count;
}

static void check_blocks(rig_t *rig)
{
    uint8_t column = COLUMN_COUNT;
    uint64_t total = 0;
    uint64_t before = UINT64_MAX;
    kv_iter_t *iter = kv_iter_new(mvcc_reader(rig->mvcc));
    for (iter->ops->seek(iter, slice(&column, 1)); iter->ops->valid(iter); iter->ops->next(iter)) {
        if (!mvcc_in_column(iter->ops->key(iter), COLUMN_COUNT)) {
            break;
        }
        slice_t value = iter->ops->value(iter);
        uint64_t live = 0;
        assert_int_equal(wire_varint(&value, &live), 0);
        assert_true(live <= BLOCK_KEYS_MAX);
        if (before != UINT64_MAX) { /* two small neighbours would have been merged */
            assert_true(live >= BLOCK_KEYS_SMALL || live + before > BLOCK_KEYS_MERGED_MAX);
        }
        before = live;
        total += live;
    }
    kv_iter_destroy(&iter);
    assert_int_equal(total, naive(rig, 0, KEYS));
}

static void counts_are_right_while_keys_come_and_go(void **state)
{
    (void)state;
    rig_t *rig = rig_new();
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < 4000; i++) {
            change(rig, round % 2 == 0);
        }
        check_blocks(rig);
        for (int i = 0; i < 100; i++) {
            size_t from = prng_below(&rig->prng, KEYS);
            size_t to = prng_below(&rig->prng, KEYS);
            assert_int_equal(count_at(rig, from, to, 0, 0, 0), naive(rig, from, to));
            assert_int_equal(count_at(rig, from, SIZE_MAX, 0, 0, 0), naive(rig, from, KEYS));
            int64_t limit = 1 + (int64_t)prng_below(&rig->prng, 300);
            assert_int_equal(count_at(rig, from, to, 0, limit, 0), naive(rig, from, to));
        }
        assert_int_equal(mvcc_commit(rig->mvcc), 0);
        mvcc_destroy(&rig->mvcc);
        open_mvcc(rig);
    }
    rig_destroy(&rig);
}

static void counts_cost_few_rows(void **state)
{
    (void)state;
    rig_t *rig = rig_new();
    for (size_t i = 0; i < KEYS; i++) {
        begin(rig);
        put(rig, i * 4999 % KEYS); /* all, scattered */
        end(rig);
    }
    int64_t revision = mvcc_current(rig->mvcc)->revision;
    enum { CUT_BLOCKS = 2 * BLOCK_KEYS_MAX, BLOCKS = KEYS / BLOCK_KEYS_SMALL, CHANGES = 100 };
    assert_int_equal(count_at(rig, 0, SIZE_MAX, 0, 0, BLOCK_KEYS_MAX + BLOCKS), KEYS);
    assert_int_equal(count_at(rig, 777, 5555, 0, 0, CUT_BLOCKS + BLOCKS), 5555 - 777);
    assert_int_equal(count_at(rig, 0, SIZE_MAX, 0, 1, CUT_BLOCKS + BLOCKS), KEYS);
    for (size_t i = 0; i < CHANGES; i++) {
        begin(rig);
        delete_between(rig, 3000 + i, 3001 + i);
        end(rig);
    }
    size_t rows = CUT_BLOCKS + BLOCKS + CHANGES;
    assert_int_equal(count_at(rig, 777, 5555, 0, 0, rows), 5555 - 777 - CHANGES);
    assert_int_equal(count_at(rig, 777, 5555, revision, 0, rows), 5555 - 777);
    assert_int_equal(count_at(rig, 0, SIZE_MAX, revision, 0, rows), KEYS);
    rig_destroy(&rig);
}

/* When more has changed since than there is to count, the old state is walked. */
static void counts_at_very_old_revisions(void **state)
{
    (void)state;
    rig_t *rig = rig_new();
    for (size_t i = 0; i < 100; i++) {
        begin(rig);
        put(rig, i);
        end(rig);
    }
    int64_t revision = mvcc_current(rig->mvcc)->revision;
    for (size_t i = 0; i < 3000; i++) {
        begin(rig);
        put(rig, i % 10 ? 5 : 100 + i);
        end(rig);
    }
    assert_int_equal(count_at(rig, 0, SIZE_MAX, revision, 0, 1500), 100);
    assert_int_equal(count_at(rig, 50, 5000, revision, 0, 0), 50);
    assert_int_equal(count_at(rig, 50, 5000, revision, 20, 0), 50);
    rig_destroy(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_right_while_keys_come_and_go),
        cmocka_unit_test(counts_cost_few_rows),
        cmocka_unit_test(counts_at_very_old_revisions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
