/* mvcc_sort: whatever the number of items and the limit, what comes out is what a sort of everything would give. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "actors/core/prng.h"
#include "messages/wire.h"
#include "messages/xalloc.h"
#include "store/mvcc_sort.h"

/* ---- against a sort of everything ---- */

typedef struct {
    int64_t mod;
    uint64_t value; /* as eight bytes it sorts as the number does */
    size_t place;   /* in key order: breaks ties */
} row_t;

static mvcc_sort_target_t target;
static bool descending;

static int compare_rows(const void *a, const void *b)
{
    const row_t *left = a;
    const row_t *right = b;
    uint64_t x = target == SORT_VALUE ? left->value : (uint64_t)left->mod;
    uint64_t y = target == SORT_VALUE ? right->value : (uint64_t)right->mod;
    if (x != y) {
        return (x < y) != descending ? -1 : 1;
    }
    return left->place < right->place ? -1 : 1;
}

static void add_row(mvcc_sorter_t *sorter, const row_t *row)
{
    buf_t stored = {0};
    uint8_t key[sizeof row->place];
    uint8_t value[sizeof row->value];
    for (size_t i = 0; i < sizeof value; i++) {
        value[i] = (uint8_t)(row->value >> 8 * (sizeof value - 1 - i));
        key[i] = (uint8_t)(row->place >> 8 * (sizeof key - 1 - i));
    }
    mvcc_record_t record = {.create_revision = 1,
                            .version = 1,
                            .mod_revision = row->mod,
                            .value = slice(value, sizeof value)};
    mvcc_record_write(&stored, &record);
    mvcc_record_t parsed;
    assert_int_equal(mvcc_record_parse(buf_slice(&stored), &parsed), 0);
    mvcc_sorter_add(sorter, slice(key, sizeof key), parsed.wire, &parsed);
    buf_deinit(&stored);
}

/* The place in the key of a key-value. */
static size_t place_of(slice_t field)
{
    wire_field_t kv;
    wire_field_t key;
    size_t place = 0;
    assert_int_equal(wire_next(&field, &kv), 0);
    assert_int_equal(wire_next(&kv.data, &key), 0);
    for (size_t i = 0; i < key.data.len; i++) {
        place = place << 8 | key.data.data[i];
    }
    return place;
}

static void check(prng_t *prng, size_t count, size_t limit)
{
    row_t *rows = xcalloc(count + 1, sizeof *rows);
    mvcc_sorter_t *sorter =
        mvcc_sorter_new(target, descending ? SORT_DESCEND : SORT_ASCEND, (int64_t)limit);
    for (size_t i = 0; i < count; i++) {
        rows[i] = (row_t){.mod = 1 + (int64_t)prng_below(prng, 1 + count / 2),
                          .value = prng_below(prng, 1 + count / 2),
                          .place = i};
        add_row(sorter, &rows[i]);
    }
    qsort(rows, count, sizeof *rows, compare_rows);
    mvcc_sorter_finish(sorter);
    size_t wanted = limit && limit < count ? limit : count;
    assert_int_equal(mvcc_sorter_more(sorter), wanted < count);
    for (size_t i = 0; i < wanted; i++) {
        assert_int_equal(place_of(mvcc_sorter_next(sorter)), rows[i].place);
    }
    assert_int_equal(mvcc_sorter_next(sorter).len, 0);
    mvcc_sorter_destroy(&sorter);
    free(rows);
}

static void it_gives_what_a_sort_of_everything_would(void **state)
{
    (void)state;
    static const size_t counts[] = {0, 1, 2, 1023, 1024, 1025, 2048, 3333, 9999};
    static const size_t limits[] = {0, 1, 10, 1023, 1024, 3333, 5000};
    prng_t prng = {.state = 7};
    for (int i = 0; i < 4; i++) {
        target = i & 1 ? SORT_VALUE : SORT_MOD;
        descending = i & 2;
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            for (size_t l = 0; l < sizeof limits / sizeof *limits; l++) {
                check(&prng, counts[c], limits[l]);
            }
        }
    }
}

/* ---- a limit ---- */

static void a_sorter_with_a_limit_keeps_about_twice_as_much(void **state)
{
    (void)state;
    enum { ITEMS = 50000, LIMIT = 10, ITEM_BYTES = 200 };
    mvcc_sorter_t *sorter = mvcc_sorter_new(SORT_MOD, SORT_DESCEND, LIMIT);
    prng_t prng = {.state = 3};
    buf_t stored = {0};
    int64_t best = 0;
    for (int i = 0; i < ITEMS; i++) {
        mvcc_record_t record = {.create_revision = 1, .version = 1};
        record.mod_revision = (int64_t)prng_below(&prng, 1u << 30);
        best = record.mod_revision > best ? record.mod_revision : best;
        mvcc_record_write(&stored, &record);
        mvcc_record_t parsed;
        assert_int_equal(mvcc_record_parse(buf_slice(&stored), &parsed), 0);
        mvcc_sorter_add(sorter, slice_str("key"), parsed.wire, &parsed);
        assert_true(mvcc_sorter_bytes(sorter) < (size_t)(2 * LIMIT + 1000) * ITEM_BYTES);
    }
    mvcc_sorter_finish(sorter);
    assert_true(mvcc_sorter_more(sorter));
    size_t count = 0;
    int64_t before = INT64_MAX;
    slice_t field;
    while ((field = mvcc_sorter_next(sorter)).len) {
        wire_field_t kv;
        wire_field_t one;
        int64_t revision = 0;
        assert_int_equal(wire_next(&field, &kv), 0);
        while (wire_next(&kv.data, &one) == 0) {
            revision = one.number == 3 ? (int64_t)one.value : revision;
        }
        assert_true(count || revision == best);
        assert_true(revision <= before);
        before = revision;
        count++;
    }
    assert_int_equal(count, LIMIT);
    mvcc_sorter_destroy(&sorter);
    buf_deinit(&stored);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_gives_what_a_sort_of_everything_would),
        cmocka_unit_test(a_sorter_with_a_limit_keeps_about_twice_as_much),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
