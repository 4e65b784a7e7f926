/* api: what moves which metric. What counts as a failure follows etcd: an error that the log has
 * answered is none of the request, one that keeps it from the log is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "messages/xalloc.h"
#include "tests/support/api_rig.h"

static int setup(void **state)
{
    *state = api_rig_new_ready();
    return 0;
}

static int teardown(void **state)
{
    api_rig_free((api_rig_t **)state);
    return 0;
}

static void expect_outcomes(const api_rig_t *rig, histogram_t id, uint64_t good, uint64_t failed)
{
    assert_int_equal(core_test_observed(&rig->metrics, id), good);
    assert_int_equal(core_test_observed(&rig->metrics, (histogram_t)(id + 1)), failed);
}

static uint64_t put(api_rig_t *rig, const char *key)
{
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    request.key = rig_text(key);
    return api_rig_unary(rig, METHOD_PUT, &request);
}

/* Of the one proposal that has come out. */
static uint64_t proposed(api_rig_t *rig)
{
    msg_t *msg = core_test_expect(&rig->core, ACTOR_REPLICATOR, MSG_PROPOSE);
    assert_int_equal(msg->u.propose.count, 1);
    uint64_t req_id = msg->u.propose.items[0].req_id;
    msg_free(&msg);
    return req_id;
}

static void send_result(api_rig_t *rig, uint64_t req_id, api_error_t error)
{
    msg_t *msg = msg_new(MSG_RESULT);
    msg->u.result.count = 1;
    msg->u.result.items = xcalloc(1, sizeof(result_t));
    msg->u.result.items[0] = (result_t){.req_id = req_id, .error = error, .revision = 9};
    core_test_send(&rig->core, ACTOR_APPLIER, &msg);
}

static void refuse(api_rig_t *rig, uint64_t req_id)
{
    msg_t *msg = msg_new(MSG_REJECTED);
    msg->u.refusal.count = 1;
    msg->u.refusal.req_ids = xcalloc(1, sizeof(uint64_t));
    msg->u.refusal.req_ids[0] = req_id;
    msg->u.refusal.error = API_TOO_MANY_REQUESTS;
    core_test_send(&rig->core, ACTOR_REPLICATOR, &msg);
}

static uint64_t get(api_rig_t *rig, const char *key, int64_t revision, bool serializable)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key = rig_text(key);
    request.revision = revision;
    request.serializable = serializable;
    return api_rig_unary(rig, METHOD_RANGE, &request);
}

/* ---- requests ---- */

static void a_request_is_measured_until_its_result(void **state)
{
    api_rig_t *rig = *state;
    put(rig, "a");
    uint64_t req_id = proposed(rig);
    rig->core.now_us += 5000;
    send_result(rig, req_id, API_NONE);
    expect_outcomes(rig, HISTOGRAM_REQUEST_PUT, 1, 0);
    assert_int_equal(core_test_observed_sum(&rig->metrics, HISTOGRAM_REQUEST_PUT), 5000);
    put(rig, "b");
    send_result(rig, proposed(rig), API_LEASE_NOT_FOUND);
    expect_outcomes(rig, HISTOGRAM_REQUEST_PUT, 2, 0);
}

static void what_does_not_reach_the_log_fails(void **state)
{
    api_rig_t *rig = *state;
    put(rig, "refused");
    refuse(rig, proposed(rig));
    expect_outcomes(rig, HISTOGRAM_REQUEST_PUT, 0, 1);
    uint64_t call = put(rig, "cancelled");
    uint64_t req_id = proposed(rig);
    api_call_cancel(rig->api, call);
    expect_outcomes(rig, HISTOGRAM_REQUEST_PUT, 0, 2);
    send_result(rig, req_id, API_NONE);
    put(rig, "timed out");
    req_id = proposed(rig);
    rig->core.now_us += 7000000;
    api_rig_turn(rig);
    expect_outcomes(rig, HISTOGRAM_REQUEST_PUT, 0, 3);
    assert_int_equal(core_test_observed_sum(&rig->metrics, HISTOGRAM_REQUEST_PUT_FAILED), 7000000);
    put(rig, ""); /* invalid: no request yet */
    expect_outcomes(rig, HISTOGRAM_REQUEST_PUT, 0, 3);
}

static void each_write_has_its_name(void **state)
{
    api_rig_t *rig = *state;
    Etcdserverpb__DeleteRangeRequest remove = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    remove.key = rig_text("a");
    Etcdserverpb__PutRequest put_a = ETCDSERVERPB__PUT_REQUEST__INIT;
    put_a.key = rig_text("a");
    Etcdserverpb__RequestOp op = ETCDSERVERPB__REQUEST_OP__INIT;
    op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op.request_put = &put_a;
    Etcdserverpb__RequestOp *ops[] = {&op};
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    txn.n_success = 1;
    txn.success = ops;
    Etcdserverpb__CompactionRequest compaction = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    compaction.revision = 1;
    Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    grant.ttl = 10;
    Etcdserverpb__LeaseRevokeRequest revoke = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    revoke.id = 7;
    const struct {
        method_t method;
        const void *request;
        histogram_t histogram;
    } cases[] = {{METHOD_DELETE_RANGE, &remove, HISTOGRAM_REQUEST_DELETE_RANGE},
                 {METHOD_TXN, &txn, HISTOGRAM_REQUEST_TXN},
                 {METHOD_COMPACT, &compaction, HISTOGRAM_REQUEST_COMPACTION},
                 {METHOD_LEASE_GRANT, &grant, HISTOGRAM_REQUEST_LEASE_GRANT},
                 {METHOD_LEASE_REVOKE, &revoke, HISTOGRAM_REQUEST_LEASE_REVOKE}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        api_rig_unary(rig, cases[i].method, cases[i].request);
        send_result(rig, proposed(rig), API_NONE);
        expect_outcomes(rig, cases[i].histogram, 1, 0);
    }
    expect_outcomes(rig, HISTOGRAM_REQUEST_READONLY_TXN, 0, 0);
}

static void the_members_own_requests_are_measured(void **state)
{
    (void)state;
    api_rig_t *rig = api_rig_new(&(rig_options_t){.unpublished = true});
    api_rig_ready(rig);
    refuse(rig, proposed(rig));
    expect_outcomes(rig, HISTOGRAM_REQUEST_ATTR_SET, 0, 1);
    api_rig_turn(rig);
    rig->core.now_us = api_ops.deadline(rig->api);
    api_rig_turn(rig);
    uint64_t req_id = proposed(rig);
    rig->core.now_us = api_ops.deadline(rig->api); /* given up */
    api_rig_turn(rig);
    expect_outcomes(rig, HISTOGRAM_REQUEST_ATTR_SET, 0, 2);
    send_result(rig, req_id, API_NONE);
    send_result(rig, proposed(rig), API_NONE);
    expect_outcomes(rig, HISTOGRAM_REQUEST_ATTR_SET, 1, 2);
    api_rig_free(&rig);
}

/* ---- reads ---- */

static void a_range_is_measured_twice(void **state)
{
    api_rig_t *rig = *state;
    rig->metrics.clock_us = core_test_clock_us;
    api_rig_put(rig, "a", "1");
    get(rig, "a", 0, false);
    msg_t *read = core_test_expect(&rig->core, ACTOR_REPLICATOR, MSG_READ);
    rig->core.now_us += 3000; /* only the request waits for this */
    msg_t *at = msg_new(MSG_READ_AT);
    at->u.read.read_id = read->u.read.read_id;
    core_test_send(&rig->core, ACTOR_REPLICATOR, &at);
    api_rig_turn(rig);
    expect_outcomes(rig, HISTOGRAM_RANGE, 1, 0);
    expect_outcomes(rig, HISTOGRAM_REQUEST_RANGE, 1, 0);
    assert_int_equal(core_test_observed_sum(&rig->metrics, HISTOGRAM_RANGE), CORE_TEST_TICK_US);
    assert_int_equal(core_test_observed_sum(&rig->metrics, HISTOGRAM_REQUEST_RANGE), 3000);
    get(rig, "a", 99, true);
    expect_outcomes(rig, HISTOGRAM_RANGE, 1, 1);
    expect_outcomes(rig, HISTOGRAM_REQUEST_RANGE, 1, 1);
    get(rig, "a", 2, true); /* by a cursor */
    api_rig_serve(rig);
    expect_outcomes(rig, HISTOGRAM_RANGE, 2, 1);
    msg_free(&read);
}

static void each_chunk_of_a_stream_is_a_range(void **state)
{
    api_rig_t *rig = *state;
    char key[] = "k00";
    for (int i = 0; i < 25; i++) { /* chunks of 10 and 20 */
        key[1] = (char)('0' + i / 10);
        key[2] = (char)('0' + i % 10);
        api_rig_put(rig, key, "v");
    }
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key = rig_text("k");
    request.range_end = rig_text("l");
    request.serializable = true;
    api_rig_unary(rig, METHOD_RANGE_STREAM, &request);
    api_rig_serve(rig);
    expect_outcomes(rig, HISTOGRAM_RANGE, 2, 0);
    expect_outcomes(rig, HISTOGRAM_REQUEST_RANGE, 0, 0);
}

static void a_transaction_that_only_reads_has_its_own_name(void **state)
{
    api_rig_t *rig = *state;
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    api_rig_unary(rig, METHOD_TXN, &txn);
    api_rig_serve(rig);
    expect_outcomes(rig, HISTOGRAM_REQUEST_READONLY_TXN, 1, 0);
    expect_outcomes(rig, HISTOGRAM_REQUEST_TXN, 0, 0);
}

static void reads_that_time_out_together_are_one_slow_read_index(void **state)
{
    api_rig_t *rig = *state;
    const metric_t slow = METRIC_READ_INDEXES_SLOW;
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key = rig_text("a");
    api_rig_send(rig, api_rig_begin(rig, METHOD_RANGE), &request);
    api_rig_send(rig, api_rig_begin(rig, METHOD_RANGE), &request);
    api_rig_turn(rig);
    msg_t *read = core_test_expect(&rig->core, ACTOR_REPLICATOR, MSG_READ);
    rig->core.now_us += 7000000;
    api_rig_turn(rig);
    assert_int_equal(metrics_get(&rig->metrics, slow), 1);
    msg_t *at = msg_new(MSG_READ_AT); /* and its answer comes too late */
    at->u.read.read_id = read->u.read.read_id;
    core_test_send(&rig->core, ACTOR_REPLICATOR, &at);
    assert_int_equal(metrics_get(&rig->metrics, slow), 2);
    put(rig, "a"); /* no read */
    rig->core.now_us += 7000000;
    api_rig_turn(rig);
    assert_int_equal(metrics_get(&rig->metrics, slow), 2);
    msg_free(&read);
}

static void open_snapshots_are_counted(void **state)
{
    api_rig_t *rig = *state;
    for (int i = 0; i < 1500; i++) { /* more than a slice */
        char key[16];
        snprintf(key, sizeof key, "k%04d", i);
        api_rig_put(rig, key, "v");
        api_rig_turn(rig);
    }
    assert_int_equal(metrics_get(&rig->metrics, METRIC_OPEN_READS), 0);
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key = rig_text("k");
    request.range_end = rig_text("l");
    request.serializable = true;
    uint64_t call = api_rig_begin(rig, METHOD_RANGE_STREAM);
    api_rig_send(rig, call, &request);
    api_call_half_close(rig->api, call, rig->core.now_us);
    api_rig_turn(rig);
    api_rig_put(rig, "another", "v"); /* the view is the stream's only, now */
    assert_true(metrics_get(&rig->metrics, METRIC_OPEN_READS) > 0);
    api_call_cancel(rig->api, call);
    api_rig_turn(rig);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_OPEN_READS), 0);
}

/* ---- calls ---- */

static void clients_are_counted_by_what_they_call_themselves(void **state)
{
    api_rig_t *rig = *state;
    api_call_t info = {
        .method = METHOD_WATCH, .deadline_us = DEADLINE_NONE, .client_version = slice_str("3.7.0")};
    api_call_begin(rig->api, 900001, &info, rig->core.now_us);
    info.flags = CALL_UNCOUNTED;
    api_call_begin(rig->api, 900002, &info, rig->core.now_us);
    put(rig, "a");
    const rpc_metrics_t *rpc = api_rpc_metrics(rig->api);
    assert_int_equal(rpc->client_count, 2);
    assert_string_equal(rpc->clients[1].version, "3.7.0");
    assert_int_equal(rpc->clients[1].stream, 1);
    assert_int_equal(rpc->clients[1].unary, 0);
    assert_string_equal(rpc->clients[2].version, "unknown");
    assert_int_equal(rpc->clients[2].unary, 1);
    api_call_cancel(rig->api, 900001);
    api_call_cancel(rig->api, 900002);
}

static void streams_with_nonsense_are_counted(void **state)
{
    api_rig_t *rig = *state;
    static const struct {
        method_t method;
        metric_t metric;
    } cases[] = {{METHOD_WATCH, METRIC_WATCH_RECEIVE_FAILURES},
                 {METHOD_LEASE_KEEP_ALIVE, METRIC_LEASE_RECEIVE_FAILURES}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        api_rig_send_bytes(rig, api_rig_begin(rig, cases[i].method), "\xff", 1);
        assert_int_equal(metrics_get(&rig->metrics, cases[i].metric), 1);
    }
    api_rig_send_bytes(rig, api_rig_begin(rig, METHOD_PUT), "\xff", 1); /* no stream */
    assert_int_equal(metrics_get(&rig->metrics, METRIC_WATCH_RECEIVE_FAILURES), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_request_is_measured_until_its_result),
        TEST(what_does_not_reach_the_log_fails),
        TEST(each_write_has_its_name),
        TEST(the_members_own_requests_are_measured),
        TEST(a_range_is_measured_twice),
        TEST(each_chunk_of_a_stream_is_a_range),
        TEST(a_transaction_that_only_reads_has_its_own_name),
        TEST(reads_that_time_out_together_are_one_slow_read_index),
        TEST(open_snapshots_are_counted),
        TEST(clients_are_counted_by_what_they_call_themselves),
        TEST(streams_with_nonsense_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
