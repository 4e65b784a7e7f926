/* Shows that an overlay reads as if its writes were done: random spans over a random base are
 * compared, after each write and in both directions, with a second store in which they are done;
 * and that draining writes each key once, in order, and leaves nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "store/overlay.h"
#include "tests/support/kv_check.h"
#include "tests/support/tmpdir.h"

static void write_one(kv_t *kv, const kv_check_change_t *change)
{
    kv_batch_t *batch = kv_batch_new(kv);
    if (change->is_delete) {
        kv_batch_delete(batch, change->key);
    } else {
        kv_batch_put(batch, change->key, change->value);
    }
    assert_int_equal(kv_write(kv, batch), 0);
    kv_batch_destroy(&batch);
}

/* One span: every change goes into the overlay over `base` and at once into `model`. */
static void one_span(prng_t *prng, overlay_t *overlay, kv_t *base, kv_t *model)
{
    uint64_t count = prng_below(prng, 40);
    for (uint64_t i = 0; i < count; i++) {
        kv_check_change_t change;
        kv_check_change(prng, &change);
        if (change.is_delete) {
            overlay_delete(overlay, change.key);
        } else {
            overlay_put(overlay, change.key, change.value);
        }
        write_one(model, &change);
        kv_check_same(prng, overlay_reader(overlay), kv_latest(model), 20);
    }
    kv_check_same_all(overlay_reader(overlay), kv_latest(model));
    kv_batch_t *batch = kv_batch_new(base);
    overlay_drain(overlay, batch);
    assert_int_equal(overlay_count(overlay), 0);
    assert_int_equal(overlay_bytes(overlay), 0);
    assert_int_equal(kv_write(base, batch), 0);
    kv_batch_destroy(&batch);
    kv_check_same_all(kv_latest(base), kv_latest(model));
    kv_check_same_all(overlay_reader(overlay), kv_latest(model));
}

static void run_spans(kv_t *base, uint64_t seed, int spans)
{
    prng_t prng = {.state = seed};
    kv_t *model = kv_memory_new();
    overlay_t *overlay = overlay_new(kv_latest(base));
    for (int i = 0; i < spans; i++) {
        one_span(&prng, overlay, base, model);
    }
    overlay_destroy(&overlay);
    assert_null(overlay);
    overlay_destroy(&overlay);
    kv_close(&model);
}

static void it_reads_as_if_the_writes_were_done(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        kv_t *base = kv_memory_new();
        run_spans(base, seed, 60);
        kv_close(&base);
    }
}

static void over_leveldb_too(void **state)
{
    (void)state;
    char *path = tmpdir_new();
    kv_leveldb_cfg_t cfg = {.path = path};
    kv_t *base = NULL;
    char *text = NULL;
    assert_int_equal(kv_leveldb_open(&base, &cfg, &text), 0);
    run_spans(base, 7, 15);
    kv_close(&base);
    tmpdir_destroy(&path);
}

static void it_counts_what_it_holds(void **state)
{
    (void)state;
    kv_t *base = kv_memory_new();
    overlay_t *overlay = overlay_new(kv_latest(base));
    overlay_put(overlay, slice_str("key"), slice_str("value"));
    assert_int_equal(overlay_count(overlay), 1);
    assert_int_equal(overlay_bytes(overlay), 8);
    overlay_put(overlay, slice_str("key"), slice_str("longer value"));
    assert_int_equal(overlay_count(overlay), 1);
    assert_int_equal(overlay_bytes(overlay), 15);
    overlay_delete(overlay, slice_str("key"));
    assert_int_equal(overlay_count(overlay), 1);
    assert_int_equal(overlay_bytes(overlay), 3);
    overlay_delete(overlay, slice_str("never there"));
    assert_int_equal(overlay_count(overlay), 2);
    overlay_destroy(&overlay);
    kv_close(&base);
}

/* Larger than a chunk of the arena, and many of them. */
static void large_values_are_kept_whole(void **state)
{
    (void)state;
    enum { BIG = 300000 };
    kv_t *base = kv_memory_new();
    overlay_t *overlay = overlay_new(kv_latest(base));
    uint8_t *bytes = malloc(BIG);
    assert_non_null(bytes);
    for (int span = 0; span < 3; span++) {
        for (uint8_t i = 0; i < 40; i++) {
            memset(bytes, i + span, BIG);
            overlay_put(overlay, slice(&i, 1), slice(bytes, i % 2 ? BIG : 100000));
        }
        for (uint8_t i = 0; i < 40; i++) {
            kv_value_t value = {0};
            assert_int_equal(kv_get(overlay_reader(overlay), slice(&i, 1), &value), 0);
            assert_int_equal(value.len, i % 2 ? BIG : 100000);
            memset(bytes, i + span, BIG);
            assert_memory_equal(value.data, bytes, value.len);
            kv_value_deinit(&value);
        }
        kv_batch_t *batch = kv_batch_new(base);
        overlay_drain(overlay, batch);
        assert_int_equal(kv_write(base, batch), 0);
        kv_batch_destroy(&batch);
    }
    free(bytes);
    overlay_destroy(&overlay);
    kv_close(&base);
}

/* An iterator over the base that was made before the span must not be used again in it: the base
 * may have changed in between (compaction writes to the store beside the overlay). */
static void iterators_from_before_the_span_are_not_reused(void **state)
{
    (void)state;
    kv_t *base = kv_memory_new();
    overlay_t *overlay = overlay_new(kv_latest(base));
    kv_iter_t *early = kv_iter_new(overlay_reader(overlay));
    kv_check_change_t change = {.key = slice_str("b"), .value = slice_str("in the base")};
    write_one(base, &change);
    overlay_put(overlay, slice_str("a"), slice_str("in the overlay"));
    kv_iter_destroy(&early);
    for (int i = 0; i < 2; i++) { /* the second time with the iterator of the first */
        kv_iter_t *iter = kv_iter_new(overlay_reader(overlay));
        iter->ops->seek(iter, slice_str("a"));
        assert_true(slice_equal(iter->ops->key(iter), slice_str("a")));
        iter->ops->next(iter);
        assert_true(iter->ops->valid(iter));
        assert_true(slice_equal(iter->ops->key(iter), slice_str("b")));
        kv_iter_destroy(&iter);
    }
    overlay_destroy(&overlay);
    kv_close(&base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_reads_as_if_the_writes_were_done),
        cmocka_unit_test(over_leveldb_too),
        cmocka_unit_test(it_counts_what_it_holds),
        cmocka_unit_test(large_values_are_kept_whole),
        cmocka_unit_test(iterators_from_before_the_span_are_not_reused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
