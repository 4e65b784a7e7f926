/* Deletes of many keys in one entry: all that one revision takes away is one batch, so what they cost must grow with
 * the number of keys and no faster. Counted in steps of iterators over the store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "messages/xalloc.h"
#include "store/kv_impl.h"
#include "store/mvcc_read.h"
#include "store/mvcc_write.h"

enum { KEYS = 20000, LEASE = 7 };

/* ---- a store in memory that counts ---- */

typedef struct {
    kv_t base;
    kv_t *inner;
    kv_reader_t reader;
} counting_t;

typedef struct {
    kv_iter_t base;
    kv_iter_t *inner;
} counting_iter_t;

static uint64_t steps;

static kv_iter_t *inner_of(const kv_iter_t *self)
{
    return ((const counting_iter_t *)self)->inner;
}

static void iter_seek(kv_iter_t *self, slice_t key)
{
    inner_of(self)->ops->seek(inner_of(self), key);
}

static void iter_seek_last(kv_iter_t *self)
{
    inner_of(self)->ops->seek_last(inner_of(self));
}

static void iter_next(kv_iter_t *self)
{
    steps++;
    inner_of(self)->ops->next(inner_of(self));
}

static void iter_prev(kv_iter_t *self)
{
    steps++;
    inner_of(self)->ops->prev(inner_of(self));
}

static bool iter_valid(const kv_iter_t *self)
{
    return inner_of(self)->ops->valid(inner_of(self));
}

static slice_t iter_key(const kv_iter_t *self)
{
    return inner_of(self)->ops->key(inner_of(self));
}

static slice_t iter_value(const kv_iter_t *self)
{
    return inner_of(self)->ops->value(inner_of(self));
}

static int iter_error(const kv_iter_t *self)
{
    return inner_of(self)->ops->error(inner_of(self));
}

static void iter_destroy(kv_iter_t *self)
{
    kv_iter_destroy(&((counting_iter_t *)self)->inner);
    free(self);
}

static const kv_iter_ops_t iter_ops = {
    .seek = iter_seek,
    .seek_last = iter_seek_last,
    .next = iter_next,
    .step = iter_next,
    .prev = iter_prev,
    .valid = iter_valid,
    .key = iter_key,
    .value = iter_value,
    .error = iter_error,
    .destroy = iter_destroy,
};

static counting_t *store_of(const kv_reader_t *reader)
{
    return (counting_t *)((uintptr_t)reader - offsetof(counting_t, reader));
}

static int reader_get(const kv_reader_t *reader, slice_t key, kv_value_t *value)
{
    return kv_get(kv_latest(store_of(reader)->inner), key, value);
}

static kv_iter_t *reader_iter(const kv_reader_t *reader)
{
    counting_iter_t *iter = xcalloc(1, sizeof *iter);
    iter->base.ops = &iter_ops;
    iter->inner = kv_iter_new(kv_latest(store_of(reader)->inner));
    return &iter->base;
}

static const kv_reader_t *store_latest(kv_t *kv)
{
    return &((counting_t *)kv)->reader;
}

static kv_batch_t *store_batch(kv_t *kv)
{
    kv_batch_t *batch = kv_batch_new(((counting_t *)kv)->inner);
    batch->kv = kv;
    return batch;
}

static int store_write(kv_t *kv, kv_batch_t *batch)
{
    counting_t *self = (counting_t *)kv;
    return self->inner->ops->write(self->inner, batch);
}

static void store_close(kv_t *kv)
{
    counting_t *self = (counting_t *)kv;
    kv_close(&self->inner);
    kv_deinit(&self->base);
    free(self);
}

static const kv_ops_t store_ops = {
    .batch = store_batch,
    .write = store_write,
    .latest = store_latest,
    .close = store_close,
};

static kv_t *counting_new(void)
{
    counting_t *self = xcalloc(1, sizeof *self);
    kv_init(&self->base, &store_ops);
    self->inner = kv_memory_new();
    self->reader = (kv_reader_t){.get = reader_get, .iter = reader_iter};
    return &self->base;
}

/* ---- the deletes ---- */

typedef struct {
    kv_t *kv;
    mvcc_t *mvcc;
    uint64_t index;
} rig_t;

static void commit(rig_t *rig)
{
    mvcc_entry_end(rig->mvcc);
    assert_int_equal(mvcc_commit(rig->mvcc), 0);
}

static void begin(rig_t *rig)
{
    mvcc_entry_begin(rig->mvcc, ++rig->index, 1);
}

static void fill(rig_t *rig)
{
    rig->kv = counting_new();
    char *error = NULL;
    assert_int_equal(mvcc_new(&rig->mvcc, rig->kv, &error), 0);
    rig->index = 0;
    begin(rig);
    assert_int_equal(mvcc_lease_grant(rig->mvcc, LEASE, 60), 0);
    for (int i = 0; i < KEYS; i++) {
        char key[16];
        int len = snprintf(key, sizeof key, "key/%06d", i);
        mvcc_put_t put = {.key = slice(key, (size_t)len), .value = slice_str("v"), .lease = LEASE};
        bool existed = false;
        assert_int_equal(mvcc_put(rig->mvcc, &put, NULL, &existed), 0);
    }
    commit(rig);
    steps = 0;
}

static void end(rig_t *rig)
{
    mvcc_destroy(&rig->mvcc);
    kv_close(&rig->kv);
}

/* Each key is stepped over a few times, in a column or two. */
static void expect_few_steps(void)
{
    assert_in_range(steps, KEYS / 2, 4 * KEYS);
}

static void a_range_is_walked_once(void **state)
{
    (void)state;
    rig_t rig;
    fill(&rig);
    begin(&rig);
    mvcc_interval_t all = {.key = slice_str("key/"), .range_end = slice_str("key0")};
    int64_t deleted = 0;
    assert_int_equal(mvcc_delete_range(rig.mvcc, &all, &deleted, NULL), 0);
    assert_int_equal(deleted, KEYS);
    commit(&rig);
    expect_few_steps();
    end(&rig);
}

static void the_keys_of_a_lease_are_walked_once(void **state)
{
    (void)state;
    rig_t rig;
    fill(&rig);
    begin(&rig);
    assert_int_equal(mvcc_lease_revoke(rig.mvcc, LEASE), 0);
    commit(&rig);
    expect_few_steps();
    mvcc_interval_t all = {.key = slice_str("key/"), .range_end = slice_str("key0")};
    int64_t left = 0;
    begin(&rig);
    assert_int_equal(mvcc_delete_range(rig.mvcc, &all, &left, NULL), 0);
    assert_int_equal(left, 0);
    commit(&rig);
    end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_range_is_walked_once),
        cmocka_unit_test(the_keys_of_a_lease_are_walked_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
