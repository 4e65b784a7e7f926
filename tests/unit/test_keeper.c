/* Shows that FLUSHED is said only of what is flushed: once for all FLUSHes of a burst, with the
 * highest index, of the store that RESTORED brought last; that a flush which fails stops the node
 * and is not tried again; and that STOP leaves nothing undone and no store held. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "actors/keeper/keeper.h"
#include "store/kv.h"
#include "store/kv_impl.h"
#include "tests/support/core_test.h"

/* ---- a store that counts flushes, and fails when told ---- */

typedef struct {
    kv_t kv;
    int flushes;
    int closes;
    bool fails;
} fake_store_t;

static int fake_flush(kv_t *kv)
{
    fake_store_t *self = (fake_store_t *)kv;
    self->flushes++;
    if (self->fails) {
        kv_fail(kv, "no space left on the moon");
        return KV_EIO;
    }
    return 0;
}

static const kv_ops_t fake_ops = {.flush = fake_flush};

static void fake_close(void *object)
{
    fake_store_t *self = object;
    kv_deinit(&self->kv);
    self->closes++;
}

static void fake_init(fake_store_t *self)
{
    *self = (fake_store_t){.flushes = 0};
    kv_init(&self->kv, &fake_ops);
}

/* ---- driving ---- */

static metrics_t metrics;
static generations_t *generations;

static int make_generations(void **state)
{
    (void)state;
    generations = generations_memory_new();
    return 0;
}

static int end_generations(void **state)
{
    (void)state;
    generations_destroy(&generations);
    return 0;
}

static core_test_t start(void)
{
    keeper_cfg_t cfg = {.generations = generations};
    return core_test_new(ACTOR_KEEPER, &keeper_ops, keeper_new(&cfg, &metrics));
}

static void restored(core_test_t *test, fake_store_t *store, uint64_t index)
{
    fake_init(store);
    msg_t *msg = msg_new(MSG_RESTORED);
    msg->u.restored.store = shared_new(store, fake_close);
    msg->u.restored.index = index;
    core_test_send(test, ACTOR_APPLIER, &msg);
}

static void flush(core_test_t *test, uint64_t index)
{
    msg_t *msg = msg_new(MSG_FLUSH);
    msg->u.applied.index = index;
    core_test_send(test, ACTOR_APPLIER, &msg);
}

static void expect_flushed(core_test_t *test, uint64_t index)
{
    msg_t *msg = core_test_expect(test, ACTOR_WAL_WRITER, MSG_FLUSHED);
    assert_int_equal(msg->u.applied.index, index);
    msg_free(&msg);
    core_test_expect_nothing(test);
}

static void flushed_comes_after_the_flush(void **state)
{
    (void)state;
    fake_store_t store;
    core_test_t test = start();
    restored(&test, &store, 5);
    core_test_flush(&test);
    core_test_expect_nothing(&test);
    assert_int_equal(store.flushes, 0);

    flush(&test, 7);
    core_test_expect_nothing(&test);
    core_test_flush(&test);
    assert_int_equal(store.flushes, 1);
    expect_flushed(&test, 7);

    core_test_flush(&test);
    core_test_expect_nothing(&test);
    assert_int_equal(store.flushes, 1);
    core_test_end(&test);
    assert_int_equal(store.closes, 1);
}

static void a_burst_is_one_flush(void **state)
{
    (void)state;
    fake_store_t store;
    core_test_t test = start();
    restored(&test, &store, 0);
    flush(&test, 10);
    flush(&test, 30);
    flush(&test, 20);
    core_test_flush(&test);
    assert_int_equal(store.flushes, 1);
    expect_flushed(&test, 30);
    /* What is flushed already is not flushed again. */
    flush(&test, 25);
    core_test_flush(&test);
    assert_int_equal(store.flushes, 1);
    core_test_expect_nothing(&test);
    core_test_end(&test);
}

static void the_store_that_came_last_is_flushed(void **state)
{
    (void)state;
    fake_store_t first;
    fake_store_t second;
    core_test_t test = start();
    restored(&test, &first, 0);
    flush(&test, 10);
    restored(&test, &second, 50);
    assert_int_equal(first.closes, 1); /* nobody else holds it */
    flush(&test, 60);
    core_test_flush(&test);
    assert_int_equal(first.flushes, 0);
    assert_int_equal(second.flushes, 1);
    expect_flushed(&test, 60);
    core_test_end(&test);
    assert_int_equal(second.closes, 1);
}

/* The applier replays the log, and asks for flushes, before it lets anybody see the store. */
static void a_flush_waits_for_the_store(void **state)
{
    (void)state;
    fake_store_t store;
    core_test_t test = start();
    flush(&test, 10);
    core_test_flush(&test);
    core_test_expect_nothing(&test);
    restored(&test, &store, 20);
    core_test_flush(&test);
    assert_int_equal(store.flushes, 1);
    expect_flushed(&test, 10);
    core_test_end(&test);
}

static void a_failed_flush_stops_the_node(void **state)
{
    (void)state;
    fake_store_t store;
    core_test_t test = start();
    restored(&test, &store, 0);
    store.fails = true;
    flush(&test, 10);
    core_test_flush(&test);
    core_test_expect_nothing(&test);
    assert_non_null(outbox_fatal_text(test.outbox));
    assert_non_null(strstr(outbox_fatal_text(test.outbox), "no space left on the moon"));
    store.fails = false;
    flush(&test, 20);
    core_test_flush(&test);
    core_test_expect_nothing(&test);
    assert_int_equal(store.flushes, 1);
    core_test_end(&test);
}

static void stop_finishes_what_was_asked(void **state)
{
    (void)state;
    fake_store_t store;
    core_test_t test = start();
    restored(&test, &store, 0);
    flush(&test, 10);
    msg_t *stop = msg_new(MSG_STOP);
    core_test_send(&test, ACTOR_NONE, &stop);
    expect_flushed(&test, 10);
    assert_true(outbox_is_stopped(test.outbox));
    core_test_end(&test);
    assert_int_equal(store.closes, 1);
}

static void it_may_stop_before_there_is_a_store(void **state)
{
    (void)state;
    core_test_t test = start();
    msg_t *stop = msg_new(MSG_STOP);
    core_test_send(&test, ACTOR_NONE, &stop);
    assert_true(outbox_is_stopped(test.outbox));
    core_test_expect_nothing(&test);
    core_test_end(&test);
}

static void close_store(void *object)
{
    kv_t *kv = object;
    kv_close(&kv);
}

/* Against a real store: what FLUSHED speaks of survives the worst crash. */
static void what_is_flushed_survives_a_crash(void **state)
{
    (void)state;
    kv_t *kv = kv_memory_new();
    shared_t *store = shared_new(kv, close_store);
    core_test_t test = start();
    msg_t *msg = msg_new(MSG_RESTORED);
    msg->u.restored.store = shared_ref(store);
    core_test_send(&test, ACTOR_APPLIER, &msg);

    kv_batch_t *batch = kv_batch_new(kv);
    kv_batch_put(batch, slice_str("before"), slice_str("1"));
    assert_int_equal(kv_write(kv, batch), 0);
    flush(&test, 1);
    core_test_flush(&test);
    expect_flushed(&test, 1);
    kv_batch_put(batch, slice_str("after"), slice_str("2"));
    assert_int_equal(kv_write(kv, batch), 0);
    kv_batch_destroy(&batch);

    kv_memory_crash(kv, 0);
    kv_value_t value = {0};
    assert_int_equal(kv_get(kv_latest(kv), slice_str("before"), &value), 0);
    kv_value_deinit(&value);
    assert_int_equal(kv_get(kv_latest(kv), slice_str("after"), &value), KV_ABSENT);
    core_test_end(&test);
    shared_unref(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flushed_comes_after_the_flush),
        cmocka_unit_test(a_burst_is_one_flush),
        cmocka_unit_test(the_store_that_came_last_is_flushed),
        cmocka_unit_test(a_flush_waits_for_the_store),
        cmocka_unit_test(a_failed_flush_stops_the_node),
        cmocka_unit_test(stop_finishes_what_was_asked),
        cmocka_unit_test(it_may_stop_before_there_is_a_store),
        cmocka_unit_test(what_is_flushed_survives_a_crash),
    };
    return cmocka_run_group_tests(tests, make_generations, end_generations);
}
