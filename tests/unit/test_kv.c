/* Shows that both implementations of store/kv.h behave alike: random batches, snapshots, gets,
 * iterators in both directions and flushes give equal answers; that a simulated crash of the map in
 * memory comes back at a batch boundary since the last flush; and that snapshots may be taken while
 * a writer writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>

#include "messages/xalloc.h"
#include "store/kv.h"
#include "tests/support/kv_check.h"
#include "tests/support/tmpdir.h"

enum { SNAPSHOTS = 4 };

typedef struct {
    kv_t *kv;
    kv_snapshot_t *snapshots[SNAPSHOTS];
} side_t;

static kv_t *leveldb(const char *path)
{
    /* LevelDB's smallest write buffer: tables and compactions take part. */
    kv_leveldb_cfg_t cfg = {.path = path, .write_buffer_bytes = 64 << 10};
    kv_t *kv = NULL;
    char *text = NULL;
    int error = kv_leveldb_open(&kv, &cfg, &text);
    if (error != 0) {
        fail_msg("%s", text);
    }
    return kv;
}

static void write_same_batch(prng_t *prng, side_t *sides)
{
    kv_batch_t *batches[2] = {kv_batch_new(sides[0].kv), kv_batch_new(sides[1].kv)};
    uint64_t count = prng_below(prng, 30);
    for (uint64_t i = 0; i < count; i++) {
        kv_check_change_t change;
        kv_check_change(prng, &change);
        for (int s = 0; s < 2; s++) {
            if (change.is_delete) {
                kv_batch_delete(batches[s], change.key);
            } else {
                kv_batch_put(batches[s], change.key, change.value);
            }
        }
    }
    for (int s = 0; s < 2; s++) {
        assert_int_equal(kv_write(sides[s].kv, batches[s]), 0);
        /* Writing has emptied the batch: writing it again changes nothing. */
        assert_int_equal(kv_write(sides[s].kv, batches[s]), 0);
        kv_batch_destroy(&batches[s]);
    }
}

static void renew_snapshot(side_t *sides, size_t which)
{
    for (int s = 0; s < 2; s++) {
        kv_snapshot_destroy(&sides[s].snapshots[which]);
        sides[s].snapshots[which] = kv_snapshot_new(sides[s].kv);
    }
}

static void compare_sides(prng_t *prng, side_t *sides)
{
    kv_check_same(prng, kv_latest(sides[0].kv), kv_latest(sides[1].kv), 20);
    for (size_t i = 0; i < SNAPSHOTS; i++) {
        if (sides[0].snapshots[i]) {
            kv_check_same(prng, kv_snapshot_reader(sides[0].snapshots[i]),
                          kv_snapshot_reader(sides[1].snapshots[i]), 20);
        }
    }
}

static void memory_and_leveldb_are_alike(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        prng_t prng = {.state = seed};
        char *path = tmpdir_new();
        side_t sides[2] = {{.kv = kv_memory_new()}, {.kv = leveldb(path)}};
        for (int round = 0; round < 400; round++) {
            write_same_batch(&prng, sides);
            if (prng_below(&prng, 10) == 0) {
                renew_snapshot(sides, (size_t)prng_below(&prng, SNAPSHOTS));
            }
            if (prng_below(&prng, 50) == 0) {
                assert_int_equal(kv_flush(sides[0].kv), 0);
                assert_int_equal(kv_flush(sides[1].kv), 0);
            }
            compare_sides(&prng, sides);
        }
        kv_check_same_all(kv_latest(sides[0].kv), kv_latest(sides[1].kv));
        for (int s = 0; s < 2; s++) {
            for (size_t i = 0; i < SNAPSHOTS; i++) {
                kv_snapshot_destroy(&sides[s].snapshots[i]);
            }
            kv_close(&sides[s].kv);
            assert_null(sides[s].kv);
        }
        tmpdir_destroy(&path);
    }
}

static void put_number(kv_t *kv, const char *key, int number)
{
    kv_batch_t *batch = kv_batch_new(kv);
    kv_batch_put(batch, slice_str(key), slice(&number, sizeof number));
    assert_int_equal(kv_write(kv, batch), 0);
    kv_batch_destroy(&batch);
}

static int get_number(const kv_reader_t *reader, const char *key)
{
    kv_value_t value = {0};
    int number = -1;
    int found = kv_get(reader, slice_str(key), &value);
    if (found == 0) {
        assert_int_equal(value.len, sizeof number);
        memcpy(&number, value.data, sizeof number);
    } else {
        assert_int_equal(found, KV_ABSENT);
    }
    kv_value_deinit(&value);
    return number;
}

static void a_crash_comes_back_at_a_boundary_since_the_flush(void **state)
{
    (void)state;
    bool seen[10] = {false};
    for (uint64_t pick = 0; pick < 20; pick++) {
        kv_t *kv = kv_memory_new();
        for (int i = 0; i < 10; i++) {
            put_number(kv, "n", i);
            if (i == 5) {
                assert_int_equal(kv_flush(kv), 0);
            }
        }
        kv_memory_crash(kv, pick);
        int back = get_number(kv_latest(kv), "n");
        assert_in_range(back, 5, 9);
        seen[back] = true;
        /* A second crash finds what the first one left. */
        kv_memory_crash(kv, pick + 1);
        assert_int_equal(get_number(kv_latest(kv), "n"), back);
        put_number(kv, "n", 100);
        assert_int_equal(get_number(kv_latest(kv), "n"), 100);
        kv_close(&kv);
    }
    for (int i = 5; i < 10; i++) {
        assert_true(seen[i]);
    }
}

static void a_crash_without_a_flush_may_lose_everything(void **state)
{
    (void)state;
    kv_t *kv = kv_memory_new();
    put_number(kv, "n", 1);
    kv_memory_crash(kv, 0);
    assert_int_equal(get_number(kv_latest(kv), "n"), -1);
    kv_close(&kv);
}

static void boundaries_are_bounded(void **state)
{
    (void)state;
    kv_t *kv = kv_memory_new();
    enum { WRITES = 20000 };
    for (int i = 0; i < WRITES; i++) {
        put_number(kv, "n", i);
    }
    kv_memory_crash(kv, 0);
    assert_in_range(get_number(kv_latest(kv), "n"), WRITES - 5000, WRITES - 1);
    kv_close(&kv);
}

static void an_iterator_keeps_what_it_began_with(void **state)
{
    (void)state;
    char *path = tmpdir_new();
    kv_t *stores[2] = {kv_memory_new(), leveldb(path)};
    for (int s = 0; s < 2; s++) {
        kv_t *kv = stores[s];
        assert_true(kv_size_bytes(kv) > 0);
        put_number(kv, "a", 1);
        put_number(kv, "c", 3);
        kv_iter_t *iter = kv_iter_new(kv_latest(kv));
        assert_false(iter->ops->valid(iter));
        put_number(kv, "b", 2);
        put_number(kv, "c", 4);
        iter->ops->seek(iter, slice_str("b"));
        assert_true(iter->ops->valid(iter));
        assert_true(slice_equal(iter->ops->key(iter), slice_str("c")));
        assert_int_equal(iter->ops->value(iter).data[0], 3);
        kv_iter_destroy(&iter);
        assert_null(iter);
        kv_iter_destroy(&iter);
        uint64_t small = kv_size_bytes(kv);
        uint8_t big[100000] = {1};
        kv_batch_t *batch = kv_batch_new(kv);
        kv_batch_put(batch, slice_str("big"), slice(big, sizeof big));
        assert_int_equal(kv_write(kv, batch), 0);
        kv_batch_destroy(&batch);
        assert_true(kv_size_bytes(kv) >= small + sizeof big);
        assert_int_equal(kv_flush(kv), 0);
        assert_true(kv_size_bytes(kv) >= sizeof big);
        assert_string_equal(kv_error(kv), "no error");
        kv_close(&stores[s]);
    }
    tmpdir_destroy(&path);
}

/* ---- threads ---- */

enum { THREAD_ROUNDS = 300 };

/* The writer keeps "a" and "b" equal in every batch. */
static void *watch_pair(void *context)
{
    kv_t *kv = context;
    intptr_t wrong = 0;
    int last = -1;
    for (int i = 0; i < THREAD_ROUNDS; i++) {
        kv_snapshot_t *snapshot = kv_snapshot_new(kv);
        const kv_reader_t *reader = kv_snapshot_reader(snapshot);
        int a = -1;
        int b = -1;
        kv_iter_t *iter = kv_iter_new(reader);
        for (iter->ops->seek(iter, slice_str("a")); iter->ops->valid(iter); iter->ops->next(iter)) {
            int *number = slice_equal(iter->ops->key(iter), slice_str("a")) ? &a : &b;
            memcpy(number, iter->ops->value(iter).data, sizeof *number);
        }
        kv_iter_destroy(&iter);
        kv_value_t value = {0};
        int again = -1;
        if (kv_get(reader, slice_str("a"), &value) == 0) {
            memcpy(&again, value.data, sizeof again);
        }
        kv_value_deinit(&value);
        wrong += a != b || a < last || again != a;
        last = a;
        kv_snapshot_destroy(&snapshot);
    }
    return (void *)wrong; /* asserted in the main thread */
}

static void snapshots_are_whole_beside_a_writer(void **state)
{
    (void)state;
    char *path = tmpdir_new();
    kv_t *stores[2] = {kv_memory_new(), leveldb(path)};
    for (int s = 0; s < 2; s++) {
        pthread_t threads[2];
        for (int t = 0; t < 2; t++) {
            assert_int_equal(pthread_create(&threads[t], NULL, watch_pair, stores[s]), 0);
        }
        for (int i = 0; i < THREAD_ROUNDS; i++) {
            kv_batch_t *batch = kv_batch_new(stores[s]);
            kv_batch_put(batch, slice_str("a"), slice(&i, sizeof i));
            kv_batch_put(batch, slice_str("b"), slice(&i, sizeof i));
            assert_int_equal(kv_write(stores[s], batch), 0);
            kv_batch_destroy(&batch);
        }
        for (int t = 0; t < 2; t++) {
            void *wrong = NULL;
            assert_int_equal(pthread_join(threads[t], &wrong), 0);
            assert_null(wrong);
        }
        kv_close(&stores[s]);
    }
    tmpdir_destroy(&path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_and_leveldb_are_alike),
        cmocka_unit_test(a_crash_comes_back_at_a_boundary_since_the_flush),
        cmocka_unit_test(a_crash_without_a_flush_may_lose_everything),
        cmocka_unit_test(boundaries_are_bounded),
        cmocka_unit_test(an_iterator_keeps_what_it_began_with),
        cmocka_unit_test(snapshots_are_whole_beside_a_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
