/* applier: what applying moves in the metrics. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/support/applier_rig.h"

static void expect_outcomes(const applier_rig_t *rig, histogram_t id, uint64_t good,
                            uint64_t failed)
{
    assert_int_equal(core_test_observed(&rig->metrics, id), good);
    assert_int_equal(core_test_observed(&rig->metrics, (histogram_t)(id + 1)), failed);
}

static void compact(applier_rig_t *rig, int64_t revision, api_error_t error, int64_t head)
{
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    request.revision = revision;
    rig_add_request(rig, RIG_COMPACTION, &request.base);
    rig_expect(rig, error, head);
}

static void entries_are_measured_by_operation_and_outcome(void **state)
{
    (void)state;
    applier_rig_t *rig = rig_new(1000);
    rig->metrics.clock_us = core_test_clock_us;
    for (int i = 0; i < 3; i++) { /* one span */
        rig_add_put(rig, "a", "1");
    }
    rig_send(rig);
    rig_drain(rig);
    expect_outcomes(rig, HISTOGRAM_APPLY_PUT, 3, 0);
    assert_int_equal(core_test_observed_sum(&rig->metrics, HISTOGRAM_APPLY_PUT),
                     3 * CORE_TEST_TICK_US);
    Etcdserverpb__PutRequest put = put_request("a", "1");
    put.lease = 5;
    rig_add_request(rig, RIG_PUT, &put.base);
    rig_expect(rig, API_LEASE_NOT_FOUND, 0);
    expect_outcomes(rig, HISTOGRAM_APPLY_PUT, 3, 1);
    Etcdserverpb__DeleteRangeRequest remove = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    remove.key = pb_text("a");
    rig_add_request(rig, RIG_DELETE_RANGE, &remove.base);
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    rig_add_request(rig, RIG_TXN, &txn.base);
    rig_send(rig);
    rig_drain(rig);
    expect_outcomes(rig, HISTOGRAM_APPLY_DELETE_RANGE, 1, 0);
    expect_outcomes(rig, HISTOGRAM_APPLY_TXN, 1, 0);
    compact(rig, 3, API_NONE, 5);
    compact(rig, 2, API_COMPACTED, 0); /* as etcd sees it, that is no failure */
    compact(rig, 99, API_FUTURE_REVISION, 0);
    expect_outcomes(rig, HISTOGRAM_APPLY_COMPACTION, 2, 1);
    rig_destroy(&rig);
}

static void put_bytes_are_those_of_puts_that_are_done(void **state)
{
    (void)state;
    applier_rig_t *rig = rig_new(1000);
    rig_put(rig, "key", "value");
    Etcdserverpb__PutRequest put = put_request("key", "refused");
    put.lease = 5;
    rig_add_request(rig, RIG_PUT, &put.base);
    rig_expect(rig, API_LEASE_NOT_FOUND, 0);
    put = put_request("b", "22");
    Etcdserverpb__RequestOp op = ETCDSERVERPB__REQUEST_OP__INIT;
    op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op.request_put = &put;
    Etcdserverpb__RequestOp *ops[] = {&op};
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    txn.n_success = 1;
    txn.success = ops;
    rig_add_request(rig, RIG_TXN, &txn.base);
    rig_send(rig);
    rig_drain(rig);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_PUTS), 2);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_PUT_BYTES), 8 + 3);
    rig_destroy(&rig);
}

static void leases_show_their_ttl_and_what_they_take_along(void **state)
{
    (void)state;
    applier_rig_t *rig = rig_new(1000);
    Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    grant.id = 5;
    grant.ttl = 60;
    rig_add_request(rig, RIG_LEASE_GRANT, &grant.base);
    rig_add_request(rig, RIG_LEASE_GRANT, &grant.base); /* refused: it exists */
    for (int i = 0; i < 3; i++) {
        static const char *const keys[] = {"a", "b", "c"};
        Etcdserverpb__PutRequest put = put_request(keys[i], "1");
        put.lease = 5;
        rig_add_request(rig, RIG_PUT, &put.base);
    }
    Etcdserverpb__LeaseRevokeRequest revoke = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    revoke.id = 5;
    rig_add_request(rig, RIG_LEASE_REVOKE, &revoke.base);
    rig_send(rig);
    rig_drain(rig);
    assert_int_equal(core_test_observed(&rig->metrics, HISTOGRAM_LEASE_TTL), 1);
    assert_int_equal(core_test_observed_sum(&rig->metrics, HISTOGRAM_LEASE_TTL), 60);
    expect_outcomes(rig, HISTOGRAM_APPLY_LEASE_GRANT, 1, 1);
    expect_outcomes(rig, HISTOGRAM_APPLY_LEASE_REVOKE, 1, 0);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_DELETES), 3);
    rig_destroy(&rig);
}

static void a_compaction_is_measured_by_batch_and_as_a_whole(void **state)
{
    (void)state;
    applier_rig_t *rig = rig_new(1000);
    enum { PUTS = 3 * RIG_ROWS };
    for (int i = 0; i < PUTS; i++) {
        rig_add_put(rig, "a", "1");
    }
    rig_send(rig);
    rig_drain(rig);
    rig->metrics.clock_us = core_test_clock_us;
    compact(rig, PUTS + 1, API_NONE, PUTS + 1); /* with the first batch */
    assert_int_equal(core_test_observed(&rig->metrics, HISTOGRAM_COMPACTION_PAUSE), 1);
    assert_int_equal(core_test_observed(&rig->metrics, HISTOGRAM_COMPACTION_TOTAL), 0);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_COMPACTION_LAST), 0);
    for (int i = 0; i < 10; i++) {
        rig->test.now_us += RIG_SLEEP_US;
        core_test_flush(&rig->test);
    }
    uint64_t batches = core_test_observed(&rig->metrics, HISTOGRAM_COMPACTION_PAUSE);
    assert_true(batches >= 3);
    assert_int_equal(core_test_observed_sum(&rig->metrics, HISTOGRAM_COMPACTION_PAUSE),
                     batches * CORE_TEST_TICK_US);
    assert_int_equal(core_test_observed(&rig->metrics, HISTOGRAM_COMPACTION_TOTAL), 1);
    assert_true(core_test_observed_sum(&rig->metrics, HISTOGRAM_COMPACTION_TOTAL) >=
                batches * CORE_TEST_TICK_US);
    assert_true(metrics_get(&rig->metrics, METRIC_COMPACTION_LAST) > 0);
    rig_destroy(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_are_measured_by_operation_and_outcome),
        cmocka_unit_test(put_bytes_are_those_of_puts_that_are_done),
        cmocka_unit_test(leases_show_their_ttl_and_what_they_take_along),
        cmocka_unit_test(a_compaction_is_measured_by_batch_and_as_a_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
