/* The stores of a member, with both implementations: a new one is made, filled, sealed and put in force
 * beside the one that is used; and whatever a crash leaves, the start opens the one the log tells of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "messages/xalloc.h"
#include "store/generations.h"
#include "tests/support/tmpdir.h"

/* ---- both implementations behind one face ---- */

typedef struct {
    bool on_disk;
    char *top;
    data_dir_t *dir;
    generations_t *generations;
    shared_t *store; /* the one in force */
} member_t;

static void start(member_t *self, uint64_t marked)
{
    char *error = NULL;
    int rc = 0;
    if (self->on_disk) {
        data_dir_cfg_t dir_cfg = {.path = self->top};
        rc = data_dir_open(&self->dir, io_posix(), &dir_cfg, &error);
        generations_leveldb_cfg_t cfg = {.dir = self->dir};
        self->generations = generations_leveldb_new(&cfg);
    } else if (!self->generations) {
        self->generations = generations_memory_new();
    }
    rc = rc ? rc : generations_open(self->generations, marked, &self->store, &error);
    if (rc) {
        fail_msg("%s", error);
    }
}

/* The process is gone; the log tells of `marked`. LevelDB's part of a crash is in test_kv_leveldb.c. */
static void restart(member_t *self, uint64_t marked, uint64_t pick)
{
    shared_unref(&self->store);
    if (self->on_disk) {
        generations_destroy(&self->generations);
        data_dir_close(&self->dir);
    } else {
        generations_memory_crash(self->generations, pick);
    }
    start(self, marked);
}

static void end(member_t *self)
{
    shared_unref(&self->store);
    generations_destroy(&self->generations);
    data_dir_close(&self->dir);
    tmpdir_destroy(&self->top);
}

static void put(shared_t *store, const char *key, const char *value)
{
    kv_t *kv = shared_object(store);
    kv_batch_t *batch = kv_batch_new(kv);
    kv_batch_put(batch, slice_str(key), slice_str(value));
    assert_int_equal(kv_write(kv, batch), 0);
    kv_batch_destroy(&batch);
}

static void expect(shared_t *store, const char *key, const char *value)
{
    kv_value_t found = {0};
    int rc = kv_get(kv_latest(shared_object(store)), slice_str(key), &found);
    assert_int_equal(rc, value ? 0 : KV_ABSENT);
    if (value) {
        assert_true(slice_equal(kv_value_slice(&found), slice_str(value)));
    }
    kv_value_deinit(&found);
}

static void each(void (*test)(member_t *self))
{
    for (int on_disk = 0; on_disk < 2; on_disk++) {
        member_t self = {.on_disk = on_disk};
        self.top = tmpdir_new();
        start(&self, 0);
        put(self.store, "where", "first");
        assert_int_equal(kv_flush(shared_object(self.store)), 0);
        test(&self);
        end(&self);
    }
}

static uint64_t receive(member_t *self, shared_t **store_p)
{
    uint64_t generation = 0;
    char *error = NULL;
    assert_int_equal(generations_prepare(self->generations, &generation, store_p, &error), 0);
    put(*store_p, "where", "second");
    assert_int_equal(generations_seal(self->generations, generation, *store_p, &error), 0);
    return generation;
}

/* ---- tests ---- */

static void check_takes_over(member_t *self)
{
    shared_t *next = NULL;
    char *error = NULL;
    uint64_t generation = receive(self, &next);
    assert_int_equal(generations_current(self->generations), 1);
    put(self->store, "more", "old"); /* the one in force goes on */
    expect(next, "more", NULL);
    assert_int_equal(generations_put_in_force(self->generations, generation, next, &error), 0);
    assert_int_equal(generations_current(self->generations), generation);
    expect(self->store, "where", "first"); /* for who still reads it */
    expect(next, "where", "second");
    put(next, "more", "new");
    assert_true(shared_is_last(self->store));
    shared_unref(&self->store);
    assert_int_equal(generations_remove(self->generations, 1, &error), 0);
    shared_unref(&next);
    restart(self, generation, 0);
    expect(self->store, "where", "second");
    restart(self, 0, 0); /* the mark has gone with its segment */
    expect(self->store, "where", "second");
}

static void a_new_store_takes_over(void **state)
{
    (void)state;
    each(check_takes_over);
}

static void check_crash_before_mark(member_t *self)
{
    shared_t *next = NULL;
    receive(self, &next);
    shared_unref(&next);
    restart(self, 0, 1);
    expect(self->store, "where", "first");
    assert_int_equal(generations_current(self->generations), 1);
}

static void without_a_mark_nothing_has_happened(void **state)
{
    (void)state;
    each(check_crash_before_mark);
}

static void check_crash_after_mark(member_t *self)
{
    shared_t *next = NULL;
    uint64_t generation = receive(self, &next);
    shared_unref(&next);
    restart(self, generation, 3);
    expect(self->store, "where", "second");
    assert_int_equal(generations_current(self->generations), generation);
}

static void with_a_mark_the_start_finishes(void **state)
{
    (void)state;
    each(check_crash_after_mark);
}

static void check_given_up(member_t *self)
{
    shared_t *given_up = NULL;
    shared_t *next = NULL;
    char *error = NULL;
    uint64_t first = receive(self, &given_up);
    uint64_t second = receive(self, &next); /* while somebody still holds the other one */
    assert_true(second > first);
    shared_unref(&given_up);
    assert_int_equal(generations_remove(self->generations, first, &error), 0);
    expect(next, "where", "second");
    shared_unref(&next);
    restart(self, second, 0);
    expect(self->store, "where", "second");
}

static void an_attempt_may_be_given_up(void **state)
{
    (void)state;
    each(check_given_up);
}

static void check_foreign_mark(member_t *self)
{
    char *error = NULL;
    shared_t *none = NULL;
    shared_unref(&self->store);
    assert_int_equal(generations_open(self->generations, 9, &none, &error), DATA_DIR_CORRUPT);
    assert_null(none);
    assert_non_null(error);
    free(error);
}

static void a_mark_without_its_store_is_refused(void **state)
{
    (void)state;
    each(check_foreign_mark);
}

static void what_is_not_sealed_falls_back_in_memory(void **state)
{
    (void)state;
    generations_t *self = generations_memory_new();
    shared_t *store = NULL;
    char *error = NULL;
    assert_int_equal(generations_open(self, 0, &store, &error), 0);
    put(store, "a", "1");
    assert_int_equal(kv_flush(shared_object(store)), 0);
    put(store, "a", "2");
    bool lost = false;
    bool kept = false;
    for (uint64_t pick = 0; pick < 8; pick++) {
        shared_unref(&store);
        generations_memory_crash(self, pick);
        assert_int_equal(generations_open(self, 0, &store, &error), 0);
        kv_value_t found = {0};
        assert_int_equal(kv_get(kv_latest(shared_object(store)), slice_str("a"), &found), 0);
        lost |= found.data[0] == '1';
        kept |= found.data[0] == '2';
        kv_value_deinit(&found);
        put(store, "a", "1");
        assert_int_equal(kv_flush(shared_object(store)), 0);
        put(store, "a", "2");
    }
    assert_true(lost && kept);
    shared_unref(&store);
    generations_destroy(&self);
    generations_destroy(&self);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_store_takes_over),
        cmocka_unit_test(without_a_mark_nothing_has_happened),
        cmocka_unit_test(with_a_mark_the_start_finishes),
        cmocka_unit_test(an_attempt_may_be_given_up),
        cmocka_unit_test(a_mark_without_its_store_is_refused),
        cmocka_unit_test(what_is_not_sealed_falls_back_in_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
