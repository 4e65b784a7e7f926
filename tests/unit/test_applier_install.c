/* A snapshot takes the place of the store, in the log's order: entries before it go into the old store,
 * entries after it into the new one; everybody gets the new one before the replicator hears that it is
 * installed; and what cannot be installed stops the node. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "messages/xalloc.h"
#include "store/mvcc_write.h"
#include "tests/support/applier_rig.h"

enum { SNAPSHOT_INDEX = 50, SNAPSHOT_REVISION = 41, OLD_LEASE = 1, NEW_LEASE = 2 };

static const actor_id_t receivers[] = {ACTOR_LEASE, ACTOR_WATCH, ACTOR_KEEPER, ACTOR_GRPC_GATEWAY,
                                       ACTOR_ZMQ_GATEWAY};
enum { RECEIVERS = sizeof receivers / sizeof *receivers };

/* A store that another member sent: 40 puts up to entry 50, one lease. */
static shared_t *receive(applier_rig_t *rig, uint64_t *generation, uint64_t index)
{
    shared_t *store = NULL;
    char *error = NULL;
    mvcc_t *mvcc = NULL;
    assert_int_equal(generations_prepare(rig->generations, generation, &store, &error), 0);
    assert_int_equal(mvcc_new(&mvcc, shared_object(store), &error), 0);
    for (uint64_t i = index - 39; i <= index; i++) {
        mvcc_put_t put = {.key = slice_str("from afar"), .value = slice_str("v")};
        bool existed = false;
        mvcc_entry_begin(mvcc, i, 3);
        assert_int_equal(mvcc_put(mvcc, &put, NULL, &existed), 0);
        mvcc_entry_end(mvcc);
    }
    mvcc_entry_begin(mvcc, index + 1, 3);
    assert_int_equal(mvcc_lease_grant(mvcc, NEW_LEASE, 60), 0);
    mvcc_entry_end(mvcc);
    assert_int_equal(mvcc_commit(mvcc), 0);
    mvcc_destroy(&mvcc);
    assert_int_equal(generations_seal(rig->generations, *generation, store, &error), 0);
    return store;
}

/* The snapshot ends at SNAPSHOT_INDEX. Gives a reference away. */
static void send_install(applier_rig_t *rig, shared_t *store, uint64_t generation)
{
    msg_t *msg = msg_new(MSG_SNAP_INSTALL);
    msg->u.snap = (msg_snap_t){
        .id = 9,
        .member = 0xb,
        .term = 4,
        .index = SNAPSHOT_INDEX,
        .log_term = 3,
        .generation = generation,
        .configuration = bytes_new("members", 7),
        .store = shared_ref(store),
    };
    core_test_send(&rig->test, ACTOR_REPLICATOR, &msg);
}

static shared_t *install(applier_rig_t *rig)
{
    uint64_t generation = 0;
    shared_t *store = receive(rig, &generation, SNAPSHOT_INDEX - 1);
    send_install(rig, store, generation);
    rig->index = SNAPSHOT_INDEX;
    return store;
}

static void expect_announced(applier_rig_t *rig, const shared_t *store)
{
    msg_t *msg = core_test_expect(&rig->test, ACTOR_LEASE, MSG_LEASE_APPLIED);
    assert_true(msg->u.lease_applied.is_first);
    assert_int_equal(msg->u.lease_applied.index, SNAPSHOT_INDEX);
    assert_int_equal(msg->u.lease_applied.count, 1);
    assert_int_equal(msg->u.lease_applied.items[0].id, NEW_LEASE);
    msg_free(&msg);
    for (size_t i = 0; i < RECEIVERS; i++) {
        msg = core_test_expect(&rig->test, receivers[i], MSG_RESTORED);
        assert_ptr_equal(msg->u.restored.store, store);
        assert_int_equal(msg->u.restored.index, SNAPSHOT_INDEX);
        assert_int_equal(msg->u.restored.revision, SNAPSHOT_REVISION);
        msg_free(&msg);
    }
}

static void expect_installed(applier_rig_t *rig, uint64_t generation)
{
    msg_t *msg = core_test_expect(&rig->test, ACTOR_REPLICATOR, MSG_SNAP_INSTALLED);
    assert_int_equal(msg->u.snap.id, 9);
    assert_int_equal(msg->u.snap.member, 0xb);
    assert_int_equal(msg->u.snap.term, 4);
    assert_int_equal(msg->u.snap.index, SNAPSHOT_INDEX);
    assert_int_equal(msg->u.snap.log_term, 3);
    assert_int_equal(msg->u.snap.generation, generation);
    assert_null(msg->u.snap.store);
    msg_free(&msg);
}

static bool holds(shared_t *store, const char *key)
{
    kv_value_t value = {0};
    mvcc_record_t record;
    int rc = mvcc_get(kv_latest(shared_object(store)), slice_str(key), &value, &record);
    kv_value_deinit(&value);
    assert_true(rc == 0 || rc == KV_ABSENT);
    return rc == 0;
}

static void everybody_gets_the_new_store(void **state)
{
    (void)state;
    applier_rig_t *rig = rig_new(1000);
    result_t before = rig_put(rig, "old", "v");
    bytes_unref(&before.body);
    shared_t *store = install(rig);
    core_test_expect_nothing(&rig->test); /* only the end of the burst does something */
    core_test_flush(&rig->test);
    expect_announced(rig, store);
    expect_installed(rig, 2);
    core_test_expect_nothing(&rig->test);
    assert_int_equal(generations_current(rig->generations), 2);
    assert_int_equal(applier_applied_index(rig->applier), SNAPSHOT_INDEX);

    /* What comes after goes into the new one, and is answered as ever. */
    result_t after = rig_put(rig, "new", "v");
    assert_int_equal(after.revision, SNAPSHOT_REVISION + 1);
    bytes_unref(&after.body);
    assert_true(holds(store, "new"));
    assert_true(holds(store, "from afar"));
    assert_false(holds(store, "old"));
    assert_true(holds(rig->store, "old"));
    assert_false(holds(rig->store, "new"));
    /* Only we hold the old one: who has another gives it up when RESTORED comes. */
    assert_true(shared_is_last(rig->store));
    shared_unref(&store);
    rig_destroy(&rig);
}

/* All of it waits in the mailbox at once. */
static void it_keeps_its_place_among_entries(void **state)
{
    (void)state;
    applier_rig_t *rig = rig_new(1000);
    rig_add_put(rig, "old", "1");
    core_test_send(&rig->test, ACTOR_REPLICATOR, &rig->batch);
    shared_t *store = install(rig);
    rig_add_put(rig, "new", "1");
    core_test_send(&rig->test, ACTOR_REPLICATOR, &rig->batch);

    core_test_flush(&rig->test); /* the span before it */
    msg_t *msg = core_test_expect(&rig->test, ACTOR_GRPC_GATEWAY, MSG_APPLIED);
    assert_int_equal(msg->u.applied.index, 1);
    msg_free(&msg);
    rig_drain(rig);
    assert_true(holds(rig->store, "old"));
    assert_int_equal(applier_ops.deadline(rig->applier), 0);

    core_test_flush(&rig->test); /* the snapshot */
    expect_announced(rig, store);
    expect_installed(rig, 2);
    core_test_expect_nothing(&rig->test);
    assert_int_equal(applier_ops.deadline(rig->applier), 0);

    core_test_flush(&rig->test); /* the span after it */
    msg = core_test_expect(&rig->test, ACTOR_GRPC_GATEWAY, MSG_APPLIED);
    assert_int_equal(msg->u.applied.index, SNAPSHOT_INDEX + 1);
    msg_free(&msg);
    msg = core_test_expect(&rig->test, ACTOR_GRPC_GATEWAY, MSG_RESULT);
    assert_int_equal(msg->u.result.count, 1);
    msg_free(&msg);
    msg = core_test_expect(&rig->test, ACTOR_WATCH, MSG_EVENTS);
    assert_int_equal(msg->u.events.items[0].revision, SNAPSHOT_REVISION + 1);
    msg_free(&msg);
    shared_unref(&store);
    rig_destroy(&rig);
}

/* Nothing is applied, and the replicator hears nothing, before everybody has the new store. */
static void it_waits_for_room(void **state)
{
    (void)state;
    applier_rig_t *rig = rig_new(1000);
    msg_t *stuffing[64];
    size_t count = 0;
    while (outbox_room(rig->test.outbox, ACTOR_KEEPER)) { /* nobody takes it */
        msg_t *msg = msg_new(MSG_FLUSH);
        outbox_put(rig->test.outbox, ACTOR_KEEPER, &msg);
        actor_id_t to = ACTOR_NONE;
        stuffing[count++] = outbox_take(rig->test.outbox, &to);
    }
    shared_t *store = install(rig);
    rig_add_put(rig, "new", "1");
    core_test_send(&rig->test, ACTOR_REPLICATOR, &rig->batch);
    core_test_flush(&rig->test);
    msg_t *msg = core_test_expect(&rig->test, ACTOR_LEASE, MSG_LEASE_APPLIED);
    msg_free(&msg);
    for (size_t i = 0; i < 2; i++) {
        msg = core_test_expect(&rig->test, receivers[i], MSG_RESTORED);
        msg_free(&msg);
    }
    core_test_flush(&rig->test);
    core_test_expect_nothing(&rig->test);
    assert_int_equal(applier_ops.deadline(rig->applier), DEADLINE_NONE);
    assert_false(holds(store, "new"));

    outbox_credit(rig->test.outbox, ACTOR_KEEPER,
                  &(msg_credit_t){.messages = 1, .bytes = stuffing[0]->cost});
    core_test_flush(&rig->test);
    for (size_t i = 2; i < RECEIVERS; i++) {
        msg = core_test_expect(&rig->test, receivers[i], MSG_RESTORED);
        assert_ptr_equal(msg->u.restored.store, store);
        msg_free(&msg);
    }
    expect_installed(rig, 2);
    rig_drain(rig);
    assert_true(holds(store, "new"));
    while (count > 0) {
        msg_free(&stuffing[--count]);
    }
    shared_unref(&store);
    rig_destroy(&rig);
}

/* Before the replay of the log is over: nobody has been told of any store yet. */
static void it_may_come_during_the_start(void **state)
{
    (void)state;
    applier_rig_t *rig = rig_new_stopped();
    rig_start(rig, 5, 1000, NULL);
    core_test_flush(&rig->test);
    core_test_expect_nothing(&rig->test);
    rig_add_put(rig, "old", "1");
    core_test_send(&rig->test, ACTOR_REPLICATOR, &rig->batch);
    shared_t *store = install(rig);
    core_test_flush(&rig->test);
    core_test_flush(&rig->test);
    msg_t *msg = core_test_expect(&rig->test, ACTOR_REPLICATOR, MSG_APPLIED);
    msg_free(&msg);
    expect_announced(rig, store);
    expect_installed(rig, 2);
    core_test_expect_nothing(&rig->test);
    shared_unref(&store);
    rig_destroy(&rig);
}

/* Whoever waits for a physical compaction is answered when the store there is now is done with it. */
static void held_compactions_are_answered(void **state)
{
    (void)state;
    applier_rig_t *rig = rig_new(1000);
    for (int i = 0; i < 60; i++) {
        rig_add_put(rig, "k", "v");
    }
    rig_send(rig);
    rig_drain(rig);
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    request.revision = 50;
    request.physical = true;
    uint64_t waiting = rig_add_request(rig, RIG_COMPACTION, &request.base);
    rig_send(rig);
    actor_id_t to = ACTOR_NONE;
    for (msg_t *msg = NULL; (msg = core_test_take(&rig->test, &to));) {
        assert_true(msg->kind != MSG_RESULT); /* there is more to delete than one batch does */
        msg_free(&msg);
    }
    /* The snapshot's store is compacted, and has nothing left to delete. */
    uint64_t generation = 0;
    shared_t *store = receive(rig, &generation, 129);
    mvcc_t *mvcc = NULL;
    char *error = NULL;
    assert_int_equal(mvcc_new(&mvcc, shared_object(store), &error), 0);
    for (uint64_t i = 131; i <= 160; i++) {
        mvcc_put_t put = {.key = slice_str("more"), .value = slice_str("v")};
        bool existed = false;
        mvcc_entry_begin(mvcc, i, 3);
        assert_int_equal(mvcc_put(mvcc, &put, NULL, &existed), 0);
        mvcc_entry_end(mvcc);
    }
    mvcc_entry_begin(mvcc, 161, 3);
    assert_int_equal(mvcc_compact(mvcc, 60), 0);
    mvcc_entry_end(mvcc);
    assert_int_equal(mvcc_commit(mvcc), 0);
    size_t removed = 0;
    while (mvcc_compact_pending(mvcc)) {
        assert_true(mvcc_compact_step(mvcc, 100, &removed) >= 0);
    }
    mvcc_destroy(&mvcc);
    msg_t *msg = msg_new(MSG_SNAP_INSTALL);
    msg->u.snap = (msg_snap_t){
        .index = 161, .log_term = 3, .generation = generation, .store = shared_ref(store)};
    core_test_send(&rig->test, ACTOR_REPLICATOR, &msg);
    core_test_flush(&rig->test);
    msg = core_test_expect(&rig->test, ACTOR_GRPC_GATEWAY, MSG_RESULT);
    assert_int_equal(msg->u.result.count, 1);
    assert_int_equal(msg->u.result.items[0].req_id, waiting);
    msg_free(&msg);
    shared_unref(&store);
    rig_destroy(&rig);
}

/* ---- what stops the node ---- */

static void expect_fatal(applier_rig_t *rig, const char *part)
{
    core_test_flush(&rig->test);
    const char *text = outbox_fatal_text(rig->test.outbox);
    assert_non_null(text);
    assert_non_null(strstr(text, "up to entry 50 cannot be installed"));
    assert_non_null(strstr(text, part));
    core_test_expect_nothing(&rig->test);
    assert_int_equal(applier_ops.deadline(rig->applier), DEADLINE_NONE);
    assert_int_equal(generations_current(rig->generations), 1);
}

static void another_store_than_announced_stops_the_node(void **state)
{
    (void)state;
    for (uint64_t off = 0; off < 2; off++) {
        applier_rig_t *rig = rig_new(1000);
        uint64_t generation = 0;
        if (off == 1) { /* a revision below what has been seen here */
            for (int i = 0; i < 45; i++) {
                rig_add_put(rig, "k", "v");
            }
            rig_send(rig);
            rig_drain(rig);
        }
        shared_t *store = receive(rig, &generation, off == 0 ? SNAPSHOT_INDEX : SNAPSHOT_INDEX - 1);
        send_install(rig, store, generation);
        expect_fatal(rig, "it is not what was received");
        shared_unref(&store);
        rig_destroy(&rig);
    }
}

static int broken_put_in_force(generations_t *base, uint64_t generation, shared_t *store,
                               char **error)
{
    (void)base;
    (void)generation;
    (void)store;
    *error = xstrdup("the disk is gone");
    return -5;
}

static void a_disk_that_fails_stops_the_node(void **state)
{
    (void)state;
    static const generations_ops_t broken_ops = {.put_in_force = broken_put_in_force};
    applier_rig_t *rig = rig_new_stopped();
    generations_t *real = rig->generations;
    generations_t broken = {.ops = &broken_ops};
    rig->generations = &broken;
    rig_start(rig, 0, 1000, NULL);
    rig->generations = real;
    core_test_flush(&rig->test);
    rig_drain(rig);
    shared_t *store = install(rig);
    expect_fatal(rig, "the disk is gone");
    shared_unref(&store);
    rig_destroy(&rig);
}

static void one_that_waits_is_released_at_the_end(void **state)
{
    (void)state;
    applier_rig_t *rig = rig_new(1000);
    shared_t *store = install(rig);
    core_test_end(&rig->test);
    assert_true(shared_is_last(store));
    shared_unref(&store);
    shared_unref(&rig->store);
    generations_destroy(&rig->generations);
    free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everybody_gets_the_new_store),
        cmocka_unit_test(it_keeps_its_place_among_entries),
        cmocka_unit_test(it_waits_for_room),
        cmocka_unit_test(it_may_come_during_the_start),
        cmocka_unit_test(held_compactions_are_answered),
        cmocka_unit_test(another_store_than_announced_stops_the_node),
        cmocka_unit_test(a_disk_that_fails_stops_the_node),
        cmocka_unit_test(one_that_waits_is_released_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
