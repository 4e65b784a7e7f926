/* Shows transactions as contract section 3.4 wants them: compares, what operations see, revisions,
 * answers, and that a refused one changes nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "messages/limits.h"
#include "messages/xalloc.h"
#include "tests/support/applier_rig.h"

/* ---- transactions ---- */

typedef struct {
    Etcdserverpb__Compare compares[2];
    Etcdserverpb__Compare *compare_list[2];
    Etcdserverpb__RequestOp ops[4];
    Etcdserverpb__RequestOp *op_list[4];
    Etcdserverpb__TxnRequest request;
} txn_t;

static void txn_init(txn_t *txn, size_t compares, size_t success, size_t failure)
{
    static const Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT;
    static const Etcdserverpb__RequestOp op = ETCDSERVERPB__REQUEST_OP__INIT;
    static const Etcdserverpb__TxnRequest request = ETCDSERVERPB__TXN_REQUEST__INIT;
    txn->request = request;
    for (size_t i = 0; i < 2; i++) {
        txn->compares[i] = compare;
        txn->compare_list[i] = &txn->compares[i];
    }
    for (size_t i = 0; i < 4; i++) {
        txn->ops[i] = op;
        txn->op_list[i] = &txn->ops[i];
    }
    txn->request.compare = txn->compare_list;
    txn->request.n_compare = compares;
    txn->request.success = txn->op_list;
    txn->request.n_success = success;
    txn->request.failure = txn->op_list + success;
    txn->request.n_failure = failure;
}

static void op_put(Etcdserverpb__RequestOp *op, Etcdserverpb__PutRequest *put)
{
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op->request_put = put;
}

static void op_range(Etcdserverpb__RequestOp *op, Etcdserverpb__RangeRequest *range)
{
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    op->request_range = range;
}

static void op_txn(Etcdserverpb__RequestOp *op, Etcdserverpb__TxnRequest *txn)
{
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
    op->request_txn = txn;
}

static Etcdserverpb__TxnResponse *run_txn(applier_rig_t *rig, txn_t *txn, int64_t revision)
{
    rig_add_request(rig, RIG_TXN, &txn->request.base);
    result_t result = rig_result(rig);
    assert_int_equal(result.error, API_NONE);
    assert_int_equal(result.revision, revision);
    slice_t body = bytes_slice(result.body);
    Etcdserverpb__TxnResponse *response =
        etcdserverpb__txn_response__unpack(NULL, body.len, body.data);
    assert_non_null(response);
    bytes_unref(&result.body);
    return response;
}

static void operations_see_those_before_and_share_a_revision(void **state)
{
    (void)state;
    applier_rig_t *rig = rig_new(1000);
    rig_put(rig, "a", "old");
    txn_t txn;
    txn_init(&txn, 0, 4, 0);
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    range.key = pb_text("a");
    Etcdserverpb__PutRequest puts[2] = {put_request("a", "new"), put_request("b", "x")};
    puts[0].prev_kv = true;
    op_range(&txn.ops[0], &range);
    op_put(&txn.ops[1], &puts[0]);
    op_range(&txn.ops[2], &range);
    op_put(&txn.ops[3], &puts[1]);
    Etcdserverpb__TxnResponse *response = run_txn(rig, &txn, 3);
    assert_true(response->succeeded);
    assert_int_equal(response->n_responses, 4);
    Etcdserverpb__RangeResponse *before = response->responses[0]->response_range;
    assert_int_equal(before->header->revision, 2);
    assert_int_equal(before->kvs[0]->mod_revision, 2);
    Etcdserverpb__PutResponse *put_response = response->responses[1]->response_put;
    assert_int_equal(put_response->header->revision, 3);
    assert_memory_equal(put_response->prev_kv->value.data, "old", 3);
    Etcdserverpb__RangeResponse *after = response->responses[2]->response_range;
    assert_int_equal(after->header->revision, 3);
    assert_int_equal(after->kvs[0]->mod_revision, 3);
    assert_memory_equal(after->kvs[0]->value.data, "new", 3);
    etcdserverpb__txn_response__free_unpacked(response, NULL);
    rig_destroy(&rig);
}

static void nested_compares_see_the_state_before(void **state)
{
    (void)state;
    applier_rig_t *rig = rig_new(1000);
    txn_t inner;
    txn_init(&inner, 1, 1, 1);
    inner.compares[0].key = pb_text("a"); /* version(a) == 0: there is no such key */
    Etcdserverpb__PutRequest yes = put_request("yes", "");
    Etcdserverpb__PutRequest no = put_request("no", "");
    op_put(&inner.ops[0], &yes);
    op_put(&inner.ops[1], &no);
    txn_t outer;
    txn_init(&outer, 0, 2, 0);
    Etcdserverpb__PutRequest create = put_request("a", "1");
    op_put(&outer.ops[0], &create);
    op_txn(&outer.ops[1], &inner.request);
    Etcdserverpb__TxnResponse *response = run_txn(rig, &outer, 2);
    Etcdserverpb__TxnResponse *nested = response->responses[1]->response_txn;
    assert_true(nested->succeeded);
    assert_non_null(nested->header);
    assert_int_equal(nested->header->revision, 0);
    assert_int_equal(nested->responses[0]->response_put->header->revision, 2);
    assert_true(rig_exists(rig, "yes"));
    assert_false(rig_exists(rig, "no"));
    etcdserverpb__txn_response__free_unpacked(response, NULL);
    rig_destroy(&rig);
}

typedef struct {
    Etcdserverpb__Compare__CompareTarget target;
    Etcdserverpb__Compare__CompareResult result;
    const char *key, *range_end;
    int64_t number;
    const char *value;
    bool expected;
} compare_case_t;

#define TARGET(name) ETCDSERVERPB__COMPARE__COMPARE_TARGET__##name
#define RESULT(name) ETCDSERVERPB__COMPARE__COMPARE_RESULT__##name

static void set_union(Etcdserverpb__Compare *compare, const compare_case_t *one)
{
    switch (one->target) {
    case TARGET(VERSION):
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
        compare->version = one->number;
        break;
    case TARGET(CREATE):
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
        compare->create_revision = one->number;
        break;
    case TARGET(MOD):
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
        compare->mod_revision = one->number;
        break;
    case TARGET(LEASE):
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE;
        compare->lease = one->number;
        break;
    default:
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE;
        compare->value = pb_text(one->value);
        break;
    }
}

static void compares(void **state)
{
    (void)state;
    applier_rig_t *rig = rig_new(1000);
    rig_put(rig, "a", "m"); /* create 2 */
    rig_put(rig, "a", "n"); /* mod 3, version 2 */
    rig_put(rig, "b", "n"); /* create 4, mod 4, version 1 */
    static const compare_case_t cases[] = {
        {TARGET(VERSION), RESULT(EQUAL), "a", "", 2, NULL, true},
        {TARGET(VERSION), RESULT(NOT_EQUAL), "a", "", 2, NULL, false},
        {TARGET(VERSION), RESULT(GREATER), "a", "", 1, NULL, true},
        {TARGET(VERSION), RESULT(LESS), "a", "", 2, NULL, false},
        {TARGET(CREATE), RESULT(EQUAL), "a", "", 2, NULL, true},
        {TARGET(MOD), RESULT(EQUAL), "a", "", 3, NULL, true},
        {TARGET(LEASE), RESULT(EQUAL), "a", "", 0, NULL, true},
        {TARGET(VALUE), RESULT(EQUAL), "a", "", 0, "n", true},
        {TARGET(VALUE), RESULT(GREATER), "a", "", 0, "m", true},
        {TARGET(VALUE), RESULT(LESS), "a", "", 0, "na", true},
        /* a missing key has zero numbers and no value */
        {TARGET(VERSION), RESULT(EQUAL), "missing", "", 0, NULL, true},
        {TARGET(CREATE), RESULT(LESS), "missing", "", 1, NULL, true},
        {TARGET(VALUE), RESULT(EQUAL), "missing", "", 0, "", false},
        {TARGET(VALUE), RESULT(NOT_EQUAL), "missing", "", 0, "x", false},
        /* for every key of an interval; an empty one is like a missing key */
        {TARGET(VALUE), RESULT(EQUAL), "a", "c", 0, "n", true},
        {TARGET(MOD), RESULT(GREATER), "a", "c", 3, NULL, false},
        {TARGET(MOD), RESULT(GREATER), "a", "c", 2, NULL, true},
        {TARGET(VERSION), RESULT(EQUAL), "x", "y", 0, NULL, true},
        {TARGET(VALUE), RESULT(NOT_EQUAL), "x", "y", 0, "n", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        txn_t txn;
        txn_init(&txn, 1, 0, 0);
        txn.compares[0].target = cases[i].target;
        txn.compares[0].result = cases[i].result;
        txn.compares[0].key = pb_text(cases[i].key);
        txn.compares[0].range_end = pb_text(cases[i].range_end);
        set_union(&txn.compares[0], &cases[i]);
        Etcdserverpb__TxnResponse *response = run_txn(rig, &txn, 4);
        if (response->succeeded != cases[i].expected) {
            fail_msg("compare %zu", i);
        }
        etcdserverpb__txn_response__free_unpacked(response, NULL);
    }
    rig_destroy(&rig);
}

static void a_refused_transaction_changes_nothing(void **state)
{
    (void)state;
    applier_rig_t *rig = rig_new(1000);
    rig_put(rig, "a", "1"); /* 2 */
    rig_put(rig, "a", "2"); /* 3 */
    Etcdserverpb__CompactionRequest compaction = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    compaction.revision = 3;
    rig_add_request(rig, RIG_COMPACTION, &compaction.base);
    rig_expect(rig, API_NONE, 3);
    struct {
        int64_t revision, lease;
        bool ignore_value;
        api_error_t error;
    } cases[] = {
        {4, 0, false, API_FUTURE_REVISION}, {2, 0, false, API_COMPACTED},
        {-5, 0, false, API_COMPACTED},      {0, 9, false, API_LEASE_NOT_FOUND},
        {3, 0, true, API_KEY_NOT_FOUND},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        txn_t inner;
        txn_init(&inner, 0, 2, 0);
        Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
        range.key = pb_text("a");
        range.revision = cases[i].revision;
        Etcdserverpb__PutRequest puts[2] = {put_request("new", "1"), put_request("other", "")};
        puts[1].lease = cases[i].lease;
        puts[1].ignore_value = cases[i].ignore_value;
        op_range(&inner.ops[0], &range);
        op_put(&inner.ops[1], &puts[1]);
        txn_t txn;
        txn_init(&txn, 0, 2, 0);
        op_put(&txn.ops[0], &puts[0]);
        op_txn(&txn.ops[1], &inner.request);
        rig_add_request(rig, RIG_TXN, &txn.request.base);
        rig_expect(rig, cases[i].error, 0);
        assert_false(rig_exists(rig, "new"));
    }
    assert_int_equal(rig_put(rig, "a", "3").revision, 4);
    rig_destroy(&rig);
}

/* What is done is done, but an answer beyond its budget is not built. */
static void an_answer_beyond_its_budget_is_refused(void **state)
{
    (void)state;
    enum { VALUE_BYTES = 8 << 20, RANGES = LIMIT_ANSWER_BYTES / VALUE_BYTES + 1 };
    applier_rig_t *rig = rig_new(1000);
    char *value = xcalloc(1, VALUE_BYTES + 1);
    memset(value, 'v', VALUE_BYTES);
    rig_put(rig, "large", value);
    free(value);
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    range.key = pb_text("large");
    Etcdserverpb__RequestOp read = ETCDSERVERPB__REQUEST_OP__INIT;
    op_range(&read, &range);
    Etcdserverpb__PutRequest put = put_request("done", "1");
    Etcdserverpb__RequestOp write = ETCDSERVERPB__REQUEST_OP__INIT;
    op_put(&write, &put);
    Etcdserverpb__RequestOp *ops[RANGES + 1];
    for (size_t i = 0; i < RANGES; i++) {
        ops[i] = &read;
    }
    ops[RANGES] = &write;
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    txn.success = ops;
    txn.n_success = RANGES + 1;
    rig_add_request(rig, RIG_TXN, &txn.base);
    rig_expect(rig, API_BUSY, 0);
    assert_true(rig_exists(rig, "done"));
    assert_int_equal(rig_put(rig, "a", "1").revision, 4);
    rig_destroy(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_see_those_before_and_share_a_revision),
        cmocka_unit_test(nested_compares_see_the_state_before),
        cmocka_unit_test(compares),
        cmocka_unit_test(a_refused_transaction_changes_nothing),
        cmocka_unit_test(an_answer_beyond_its_budget_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
