/* Shows the effects and answers of puts, deletes, compactions and leases, as contract sections 3 and 5
 * want them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "messages/limits.h"
#include "tests/support/applier_rig.h"

/* ---- KV ---- */

static void put_answers_the_previous_kv_only_when_asked(void **state)
{
    (void)state;
    applier_rig_t *rig = rig_new(1000);
    result_t result = rig_put(rig, "a", "1");
    assert_int_equal(result.revision, 2);
    assert_null(result.body);
    Etcdserverpb__PutRequest request = put_request("a", "2");
    request.prev_kv = true;
    rig_add_request(rig, RIG_PUT, &request.base);
    result = rig_result(rig);
    assert_true(
        slice_equal(bytes_slice(result.body), slice("\x12\x0c\n\1a\x10\2\x18\2 \1*\0011", 14)));
    bytes_unref(&result.body);
    request = put_request("new", "2");
    request.prev_kv = true;
    rig_add_request(rig, RIG_PUT, &request.base);
    result = rig_result(rig);
    assert_null(result.body);
    rig_destroy(&rig);
}

static void a_refused_put_changes_nothing(void **state)
{
    (void)state;
    applier_rig_t *rig = rig_new(1000);
    Etcdserverpb__PutRequest request = put_request("a", "1");
    request.lease = 5;
    rig_add_request(rig, RIG_PUT, &request.base);
    rig_expect(rig, API_LEASE_NOT_FOUND, 0);
    request = put_request("a", "");
    request.ignore_value = true;
    rig_add_request(rig, RIG_PUT, &request.base);
    rig_expect(rig, API_KEY_NOT_FOUND, 0);
    assert_false(rig_exists(rig, "a"));
    assert_int_equal(rig_put(rig, "a", "1").revision, 2);
    rig_destroy(&rig);
}

static void delete_answers_count_and_previous_kvs(void **state)
{
    (void)state;
    applier_rig_t *rig = rig_new(1000);
    rig_put(rig, "a", "1");
    rig_put(rig, "b", "2");
    Etcdserverpb__DeleteRangeRequest request = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    request.key = pb_text("a");
    request.range_end = pb_text("c");
    request.prev_kv = true;
    rig_add_request(rig, RIG_DELETE_RANGE, &request.base);
    result_t result = rig_result(rig);
    assert_int_equal(result.revision, 4);
    assert_true(slice_equal(
        bytes_slice(result.body),
        slice("\x10\2\x1a\x0c\n\1a\x10\2\x18\2 \1*\0011\x1a\x0c\n\1b\x10\3\x18\3 \1*\0012", 30)));
    bytes_unref(&result.body);
    rig_add_request(rig, RIG_DELETE_RANGE, &request.base);
    result = rig_result(rig);
    assert_int_equal(result.revision, 4); /* nothing there: the revision stays */
    assert_null(result.body);
    rig_destroy(&rig);
}

static void compaction_answers(void **state)
{
    (void)state;
    applier_rig_t *rig = rig_new(1000);
    rig_put(rig, "a", "1");
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    request.revision = 3;
    rig_add_request(rig, RIG_COMPACTION, &request.base);
    rig_expect(rig, API_FUTURE_REVISION, 0);
    request.revision = 2;
    rig_add_request(rig, RIG_COMPACTION, &request.base);
    rig_expect(rig, API_NONE, 2);
    rig_add_request(rig, RIG_COMPACTION, &request.base);
    rig_expect(rig, API_COMPACTED, 0);
    rig_destroy(&rig);
}

static void physical_compaction_is_answered_when_it_is_done(void **state)
{
    (void)state;
    applier_rig_t *rig = rig_new(1000);
    for (int i = 0; i < 4 * RIG_ROWS; i++) {
        rig_put(rig, "a", "1");
    }
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    request.revision = 4 * RIG_ROWS;
    request.physical = true;
    uint64_t id = rig_add_request(rig, RIG_COMPACTION, &request.base);
    rig_send(rig);
    int steps = 0;
    bool answered = false;
    while (!answered) {
        actor_id_t to;
        msg_t *msg = NULL;
        while ((msg = core_test_take(&rig->test, &to))) {
            answered = answered || msg->kind == MSG_RESULT;
            assert_true(msg->kind != MSG_RESULT || msg->u.result.items[0].req_id == id);
            msg_free(&msg);
        }
        uint64_t due = applier_ops.deadline(rig->applier);
        assert_true(answered || due <= rig->test.now_us + RIG_SLEEP_US);
        rig->test.now_us = answered ? rig->test.now_us : due;
        core_test_flush(&rig->test);
        assert_true(++steps < 20);
    }
    assert_true(steps > 3); /* in batches */
    kv_iter_t *iter = kv_iter_new(kv_latest(rig_kv(rig)));
    iter->ops->seek(iter, slice("H", 1));
    assert_int_equal(iter->ops->key(iter).data[0], 'H');
    iter->ops->next(iter);
    assert_int_not_equal(iter->ops->key(iter).data[0], 'H'); /* one superseded record is left */
    kv_iter_destroy(&iter);
    rig_destroy(&rig);
}

/* ---- leases ---- */

static result_t grant(applier_rig_t *rig, int64_t id, int64_t ttl_s)
{
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    request.id = id;
    request.ttl = ttl_s;
    rig_add_request(rig, RIG_LEASE_GRANT, &request.base);
    return rig_result(rig);
}

static void leases_are_granted_once_and_revoked_in_one_revision(void **state)
{
    (void)state;
    applier_rig_t *rig = rig_new(1000);
    result_t result = grant(rig, -7, 10);
    assert_true(slice_equal(bytes_slice(result.body),
                            slice("\x10\xf9\xff\xff\xff\xff\xff\xff\xff\xff\1\x18\x0a", 13)));
    bytes_unref(&result.body);
    assert_int_equal(grant(rig, -7, 10).error, API_LEASE_EXISTS);
    assert_int_equal(grant(rig, 8, LIMIT_LEASE_TTL_S + 1).error, API_LEASE_TTL_TOO_LARGE);
    for (int i = 0; i < 3; i++) {
        Etcdserverpb__PutRequest request = put_request(i == 0 ? "c" : i == 1 ? "a" : "b", "x");
        request.lease = -7;
        rig_add_request(rig, RIG_PUT, &request.base);
        rig_expect(rig, API_NONE, 2 + i);
    }
    rig_put(rig, "b", "detached"); /* 5 */
    Etcdserverpb__LeaseRevokeRequest revoke = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    revoke.id = -7;
    rig_add_request(rig, RIG_LEASE_REVOKE, &revoke.base);
    rig_send(rig);
    msg_t *msg = core_test_expect(&rig->test, ACTOR_GRPC_GATEWAY, MSG_APPLIED);
    msg_free(&msg);
    msg = core_test_expect(&rig->test, ACTOR_GRPC_GATEWAY, MSG_RESULT);
    assert_int_equal(msg->u.result.items[0].error, API_NONE);
    msg_free(&msg);
    msg = core_test_expect(&rig->test, ACTOR_WATCH, MSG_EVENTS);
    assert_int_equal(msg->u.events.count, 2);
    assert_true(slice_equal(msg->u.events.items[0].key, slice_str("a")));
    assert_true(slice_equal(msg->u.events.items[1].key, slice_str("c")));
    assert_int_equal(msg->u.events.items[0].revision, 6);
    assert_int_equal(msg->u.events.items[1].revision, 6);
    assert_true(slice_equal(bytes_slice(msg->u.events.items[0].kv), slice("\n\1a\x18\6", 5)));
    msg_free(&msg);
    msg = core_test_expect(&rig->test, ACTOR_LEASE, MSG_LEASE_APPLIED);
    assert_int_equal(msg->u.lease_applied.count, 1);
    assert_int_equal(msg->u.lease_applied.items[0].type, LEASE_REVOKED);
    assert_int_equal(msg->u.lease_applied.items[0].id, -7);
    msg_free(&msg);
    rig_drain(rig);
    rig_add_request(rig, RIG_LEASE_REVOKE, &revoke.base);
    rig_expect(rig, API_LEASE_NOT_FOUND, 0);
    rig_destroy(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_answers_the_previous_kv_only_when_asked),
        cmocka_unit_test(a_refused_put_changes_nothing),
        cmocka_unit_test(delete_answers_count_and_previous_kvs),
        cmocka_unit_test(compaction_answers),
        cmocka_unit_test(physical_compaction_is_answered_when_it_is_done),
        cmocka_unit_test(leases_are_granted_once_and_revoked_in_one_revision),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
