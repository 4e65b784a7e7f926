/* api, Txn: every reason to refuse one, in etcd's order; which ones are proposed; and what those that
 * only read answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <etcd/raft_internal.pb-c.h>
#include <stdio.h>
#include <stdlib.h>

#include "messages/buf.h"
#include "messages/limits.h"
#include "tests/support/api_rig.h"

typedef Etcdserverpb__RequestOp op_t;
typedef Etcdserverpb__Compare compare_t;
typedef Etcdserverpb__TxnRequest txn_request_t;

enum { POOL = 1024 };

/* Requests are built from pools, so that tests read like the requests they make. */
static op_t ops[POOL];
static Etcdserverpb__RangeRequest ranges[POOL];
static Etcdserverpb__PutRequest put_requests[POOL];
static Etcdserverpb__DeleteRangeRequest deletes[POOL];
static txn_request_t txns[POOL];
static op_t *lists[POOL];
static size_t used_ops, used_ranges, used_puts, used_deletes, used_txns, used_lists;

static int setup(void **state)
{
    used_ops = used_ranges = used_puts = used_deletes = used_txns = used_lists = 0;
    *state = api_rig_new_ready();
    return 0;
}

static int teardown(void **state)
{
    api_rig_free((api_rig_t **)state);
    return 0;
}

static op_t *new_op(Etcdserverpb__RequestOp__RequestCase kind)
{
    assert_true(used_ops < POOL);
    op_t *op = &ops[used_ops++];
    etcdserverpb__request_op__init(op);
    op->request_case = kind;
    return op;
}

static op_t *put(const char *key)
{
    op_t *op = new_op(ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT);
    op->request_put = &put_requests[used_puts++];
    etcdserverpb__put_request__init(op->request_put);
    op->request_put->key = rig_text(key);
    return op;
}

static ProtobufCBinaryData end_of(const char *end)
{
    if (!end) {
        return (ProtobufCBinaryData){0};
    }
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)end,
                                 .len = end[0] ? strlen(end) : 1};
}

static op_t *erase(const char *key, const char *end)
{
    op_t *op = new_op(ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE);
    op->request_delete_range = &deletes[used_deletes++];
    etcdserverpb__delete_range_request__init(op->request_delete_range);
    op->request_delete_range->key = rig_text(key);
    op->request_delete_range->range_end = end_of(end);
    return op;
}

static op_t *range(const char *key, const char *end)
{
    op_t *op = new_op(ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE);
    op->request_range = &ranges[used_ranges++];
    etcdserverpb__range_request__init(op->request_range);
    op->request_range->key = rig_text(key);
    op->request_range->range_end = end_of(end);
    return op;
}

/* Lists end with NULL. */
static size_t list(op_t ***out, op_t **items)
{
    size_t count = 0;
    *out = &lists[used_lists];
    while (items[count]) {
        lists[used_lists++] = items[count++];
    }
    return count;
}

static txn_request_t *txn(op_t **success, op_t **failure)
{
    txn_request_t *self = &txns[used_txns++];
    etcdserverpb__txn_request__init(self);
    self->n_success = list(&self->success, success);
    self->n_failure = list(&self->failure, failure);
    return self;
}

static op_t *nested(txn_request_t *inner)
{
    op_t *op = new_op(ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN);
    op->request_txn = inner;
    return op;
}

#define LIST(...) ((op_t *[]){__VA_ARGS__, NULL})
#define NOTHING   ((op_t *[]){NULL})

static uint64_t run(api_rig_t *rig, const txn_request_t *request)
{
    return api_rig_unary(rig, METHOD_TXN, request);
}

static void expect_refused(api_rig_t *rig, const txn_request_t *request, api_error_t error)
{
    api_rig_expect_error(rig, run(rig, request), error);
    core_test_expect_nothing(&rig->core);
}

static void expect_proposed(api_rig_t *rig, const txn_request_t *request)
{
    uint64_t call = run(rig, request);
    api_rig_expect_open(rig, call);
    msg_t *msg = core_test_expect(&rig->core, ACTOR_REPLICATOR, MSG_PROPOSE);
    msg_free(&msg);
    api_call_cancel(rig->api, call);
}

/* ---- refused ---- */

static void operations_are_checked_like_requests(void **state)
{
    api_rig_t *rig = *state;
    op_t *valued = put("k");
    valued->request_put->ignore_value = true;
    valued->request_put->value = rig_text("v");
    op_t *leased = put("k");
    leased->request_put->ignore_lease = true;
    leased->request_put->lease = 1;
    op_t *sorted = range("k", NULL);
    sorted->request_range->sort_order = (Etcdserverpb__RangeRequest__SortOrder)7;
    op_t *empty = new_op(ETCDSERVERPB__REQUEST_OP__REQUEST__NOT_SET);
    const struct {
        op_t *op;
        api_error_t error;
    } cases[] = {
        {put(""), API_EMPTY_KEY},         {range("", NULL), API_EMPTY_KEY},
        {erase("", NULL), API_EMPTY_KEY}, {valued, API_VALUE_PROVIDED},
        {leased, API_LEASE_PROVIDED},     {sorted, API_INVALID_SORT_OPTION},
        {empty, API_KEY_NOT_FOUND},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect_refused(rig, txn(LIST(cases[i].op), NOTHING), cases[i].error);
        expect_refused(rig, txn(NOTHING, LIST(cases[i].op)), cases[i].error);
        expect_refused(rig, txn(LIST(nested(txn(NOTHING, LIST(cases[i].op)))), NOTHING),
                       cases[i].error);
    }
}

static void compares_need_a_key(void **state)
{
    api_rig_t *rig = *state;
    compare_t compare = ETCDSERVERPB__COMPARE__INIT;
    compare_t *compares[] = {&compare};
    txn_request_t *request = txn(LIST(put("")), NOTHING);
    request->n_compare = 1;
    request->compare = compares;
    expect_refused(rig, request, API_EMPTY_KEY);
}

static void the_number_of_operations_is_bounded(void **state)
{
    api_rig_t *rig = *state;
    op_t *many[LIMIT_TXN_OPS + 2] = {0};
    for (size_t i = 0; i < LIMIT_TXN_OPS; i++) {
        many[i] = range("k", NULL);
    }
    txn_request_t *full = txn(many, NOTHING);
    api_rig_expect_open(rig, run(rig, full));
    msg_t *read = core_test_expect(&rig->core, ACTOR_REPLICATOR, MSG_READ);
    msg_free(&read);
    many[LIMIT_TXN_OPS] = put(""); /* too many wins over what is in them */
    expect_refused(rig, txn(many, NOTHING), API_TOO_MANY_OPS);
    expect_refused(rig, txn(NOTHING, many), API_TOO_MANY_OPS);
}

/* A nested Txn gets what its parent's widest list leaves. */
static void nested_operations_share_the_budget(void **state)
{
    (void)state;
    api_rig_t *rig = api_rig_new(&(rig_options_t){.max_txn_ops = 5});
    api_rig_ready(rig);
    txn_request_t *three = txn(LIST(put("a"), put("b"), put("c")), NOTHING);
    expect_proposed(rig, txn(LIST(nested(three), put("x")), NOTHING));
    expect_refused(rig, txn(LIST(nested(three), put("x"), put("y")), NOTHING), API_TOO_MANY_OPS);
    txn_request_t *deep = txn(LIST(nested(three)), NOTHING);
    expect_proposed(rig, txn(LIST(nested(deep)), NOTHING));
    expect_refused(rig, txn(LIST(nested(txn(LIST(nested(deep)), NOTHING))), NOTHING),
                   API_TOO_MANY_OPS);
    api_rig_free(&rig);
}

static void a_key_is_written_once_per_branch(void **state)
{
    api_rig_t *rig = *state;
    const struct {
        txn_request_t *request;
        bool duplicate;
    } cases[] = {
        {txn(LIST(put("a"), put("a")), NOTHING), true},
        {txn(NOTHING, LIST(put("b"), put("a"), put("b"))), true},
        {txn(LIST(put("a")), LIST(put("a"))), false},
        {txn(LIST(put("a"), put("b")), NOTHING), false},
        {txn(LIST(put("b"), erase("a", "c")), NOTHING), true},
        {txn(LIST(erase("a", "c"), put("b")), NOTHING), true},
        {txn(LIST(erase("a", "c"), put("c")), NOTHING), false},
        {txn(LIST(erase("a", "c"), put("a")), NOTHING), true},
        {txn(LIST(erase("a", NULL), put("a")), NOTHING), true},
        {txn(LIST(erase("a", NULL), put("aa")), NOTHING), false},
        {txn(LIST(erase("a", "c"), erase("b", "d")), NOTHING), false},
        {txn(LIST(erase("a", "c"), erase("b", "d"), put("c")), NOTHING), true},
        {txn(LIST(erase("a", "z"), erase("c", NULL), put("x")), NOTHING), true},
        {txn(LIST(erase("a", ""), put("b")), NOTHING), false}, /* "\0" is not open here */
        {txn(LIST(erase("c", "a"), put("b")), NOTHING), false},
        {txn(LIST(range("a", "z"), put("b")), NOTHING), false},
        /* children */
        {txn(LIST(nested(txn(LIST(put("a")), LIST(put("a"))))), NOTHING), false},
        {txn(LIST(nested(txn(LIST(put("a")), NOTHING)), put("a")), NOTHING), true},
        {txn(LIST(put("a"), nested(txn(NOTHING, LIST(put("a"))))), NOTHING), true},
        {txn(LIST(nested(txn(LIST(put("a")), NOTHING)), nested(txn(LIST(put("a")), NOTHING))),
             NOTHING),
         true},
        {txn(LIST(nested(txn(LIST(put("a")), NOTHING)), nested(txn(NOTHING, LIST(put("b"))))),
             NOTHING),
         false},
        {txn(LIST(erase("a", "c"), nested(txn(LIST(put("b")), NOTHING))), NOTHING), true},
        {txn(LIST(nested(txn(LIST(erase("a", "c")), NOTHING)), put("b")), NOTHING), true},
        {txn(LIST(nested(txn(LIST(erase("a", "c")), LIST(put("b"))))), NOTHING), false},
        {txn(LIST(nested(txn(LIST(erase("a", "c")), NOTHING)),
                  nested(txn(LIST(put("b")), NOTHING))),
             NOTHING),
         true},
        /* in etcd the order of the children counts */
        {txn(LIST(nested(txn(LIST(put("b")), NOTHING)),
                  nested(txn(LIST(erase("a", "c")), NOTHING))),
             NOTHING),
         false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (cases[i].duplicate) {
            expect_refused(rig, cases[i].request, API_DUPLICATE_KEY);
        } else {
            expect_proposed(rig, cases[i].request);
        }
    }
}

static void nesting_is_bounded(void **state)
{
    api_rig_t *rig = *state;
    buf_t message = {0};
    for (int i = 0; i < 5000;
         i++) { /* TxnRequest.success = RequestOp.request_txn = TxnRequest ... */
        buf_t outer = {0};
        buf_field_bytes(&outer, i % 2 ? 2 : 4, buf_slice(&message));
        buf_deinit(&message);
        message = outer;
    }
    uint64_t call = api_rig_begin(rig, METHOD_TXN);
    api_rig_send_bytes(rig, call, message.data, message.len);
    api_rig_expect_error(rig, call, API_TOO_MANY_OPS);
    buf_deinit(&message);
}

static void too_many_fields_and_garbage_are_refused(void **state)
{
    api_rig_t *rig = *state;
    buf_t message = {0};
    for (int i = 0; i <= LIMIT_MESSAGE_FIELDS; i++) {
        buf_field_bytes(&message, 1, slice(NULL, 0)); /* an empty compare */
    }
    uint64_t call = api_rig_begin(rig, METHOD_TXN);
    api_rig_send_bytes(rig, call, message.data, message.len);
    api_rig_expect_error(rig, call, API_TOO_MANY_OPS);
    buf_deinit(&message);
    call = api_rig_begin(rig, METHOD_TXN);
    api_rig_send_bytes(rig, call, "\x0a\x09", 2);
    assert_int_equal(rig->calls[call].code, GRPC_INTERNAL);
}

/* success { request_put { key: "k" value: "x" } request_put { key: "merged" } }, and a field 15 */
static void a_txn_in_pieces_is_proposed_whole(void **state)
{
    api_rig_t *rig = *state;
    static const char bytes[] = "\x12\x12\x12\x06\x0a\x01k\x12\x01x"
                                "\x12\x08\x0a\x06merged"
                                "\x78\x01";
    uint64_t call = api_rig_begin(rig, METHOD_TXN);
    api_rig_send_bytes(rig, call, bytes, sizeof bytes - 1);
    api_rig_turn(rig);
    api_rig_expect_open(rig, call);
    msg_t *msg = core_test_expect(&rig->core, ACTOR_REPLICATOR, MSG_PROPOSE);
    slice_t payload = bytes_slice(msg->u.propose.items[0].payload);
    Etcdserverpb__InternalRaftRequest *entry =
        etcdserverpb__internal_raft_request__unpack(NULL, payload.len, payload.data);
    assert_non_null(entry);
    assert_int_equal(entry->txn->n_success, 1);
    const Etcdserverpb__PutRequest *whole = entry->txn->success[0]->request_put;
    assert_memory_equal(whole->key.data, "merged", 6);
    assert_memory_equal(whole->value.data, "x", 1);
    etcdserverpb__internal_raft_request__free_unpacked(entry, NULL);
    msg_free(&msg);
}

/* ---- proposed or read ---- */

static void only_ranges_make_a_txn_a_read(void **state)
{
    api_rig_t *rig = *state;
    expect_proposed(rig, txn(LIST(range("a", NULL), put("b")), NOTHING));
    expect_proposed(rig, txn(LIST(range("a", NULL)), LIST(erase("b", NULL))));
    /* even a nested Txn without any operation is a write */
    expect_proposed(rig, txn(LIST(nested(txn(NOTHING, NOTHING))), NOTHING));
    uint64_t call = run(rig, txn(LIST(range("a", NULL)), LIST(range("b", NULL))));
    msg_t *msg = core_test_expect(&rig->core, ACTOR_REPLICATOR, MSG_READ);
    msg_free(&msg);
    api_rig_expect_open(rig, call);
}

static void only_serializable_ranges_skip_the_read_index(void **state)
{
    api_rig_t *rig = *state;
    op_t *local = range("a", NULL);
    local->request_range->serializable = true;
    uint64_t call = run(rig, txn(LIST(local), NOTHING));
    core_test_expect_nothing(&rig->core);
    api_rig_free_message(api_rig_expect_answer(rig, call, &etcdserverpb__txn_response__descriptor));
    run(rig, txn(LIST(local), LIST(range("b", NULL))));
    msg_t *msg = core_test_expect(&rig->core, ACTOR_REPLICATOR, MSG_READ);
    msg_free(&msg);
}

static Etcdserverpb__TxnResponse *read_txn(api_rig_t *rig, const txn_request_t *request)
{
    uint64_t call = api_rig_begin(rig, METHOD_TXN);
    api_rig_send(rig, call, request);
    api_rig_serve(rig);
    return api_rig_expect_answer(rig, call, &etcdserverpb__txn_response__descriptor);
}

static void a_read_answers_each_range_of_its_branch(void **state)
{
    api_rig_t *rig = *state;
    api_rig_put(rig, "a", "1");
    api_rig_put(rig, "b", "2");
    op_t *old = range("a", "z");
    old->request_range->revision = 2;
    Etcdserverpb__TxnResponse *answer = read_txn(
        rig, txn(LIST(range("a", NULL), old, range("none", NULL)), LIST(range("b", NULL))));
    api_rig_expect_header(answer->header, 3);
    assert_true(answer->succeeded);
    assert_int_equal(answer->n_responses, 3);
    static const size_t counts[] = {1, 1, 0};
    for (size_t i = 0; i < 3; i++) {
        const Etcdserverpb__RangeResponse *inner = answer->responses[i]->response_range;
        assert_int_equal(inner->count, counts[i]);
        assert_int_equal(inner->n_kvs, counts[i]);
        assert_non_null(inner->header); /* present, with the revision alone */
        assert_int_equal(inner->header->revision, 3);
        assert_true(inner->header->cluster_id == 0);
        assert_true(inner->header->member_id == 0);
        assert_true(inner->header->raft_term == 0);
    }
    api_rig_free_message(answer);
}

static void revisions_are_checked_on_the_chosen_path_only(void **state)
{
    api_rig_t *rig = *state;
    for (int i = 0; i < 5; i++) {
        api_rig_put(rig, "a", "1"); /* revisions 2..6 */
    }
    api_rig_compact(rig, 4);
    static const struct {
        int64_t revision;
        api_error_t error;
    } cases[] = {{7, API_FUTURE_REVISION},
                 {3, API_COMPACTED},
                 {4, API_NONE},
                 {0, API_NONE},
                 {-1, API_COMPACTED}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        op_t *old = range("a", NULL);
        old->request_range->revision = cases[i].revision;
        uint64_t call = api_rig_begin(rig, METHOD_TXN);
        api_rig_send(rig, call, txn(LIST(range("a", NULL), old), NOTHING));
        api_rig_serve(rig);
        if (cases[i].error) {
            api_rig_expect_error(rig, call, cases[i].error);
        } else {
            api_rig_free_message(
                api_rig_expect_answer(rig, call, &etcdserverpb__txn_response__descriptor));
        }
        api_rig_free_message(read_txn(rig, txn(LIST(range("a", NULL)), LIST(old))));
    }
}

/* ---- compares ---- */

typedef struct {
    const char *key, *end;
    int target, result;
    int64_t number;
    const char *value; /* for target VALUE */
    bool holds;
} compare_case_t;

enum { VERSION, CREATE, MOD, VALUE, LEASE };
enum { EQUAL, GREATER, LESS, NOT_EQUAL };

static compare_t compare_of(const compare_case_t *row)
{
    static const Etcdserverpb__Compare__TargetUnionCase unions[] = {
        ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION,
        ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION,
        ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION,
        ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE,
        ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE,
    };
    compare_t compare = ETCDSERVERPB__COMPARE__INIT;
    compare.key = rig_text(row->key);
    compare.range_end = end_of(row->end);
    compare.target = (Etcdserverpb__Compare__CompareTarget)row->target;
    compare.result = (Etcdserverpb__Compare__CompareResult)row->result;
    compare.target_union_case = unions[row->target];
    if (row->target == VALUE) {
        compare.value = rig_text(row->value);
    } else {
        compare.version = row->number;
    }
    return compare;
}

static void compares_follow_etcd(void **state)
{
    api_rig_t *rig = *state;
    api_rig_put(rig, "a", "x"); /* 2 */
    api_rig_put(rig, "a", "y"); /* 3 */
    api_rig_put(rig, "b", "y"); /* 4 */
    static const compare_case_t rows[] = {
        {"a", NULL, VERSION, EQUAL, 2, NULL, true},
        {"a", NULL, VERSION, GREATER, 2, NULL, false},
        {"a", NULL, CREATE, EQUAL, 2, NULL, true},
        {"a", NULL, MOD, EQUAL, 3, NULL, true},
        {"a", NULL, MOD, LESS, 4, NULL, true},
        {"a", NULL, MOD, NOT_EQUAL, 3, NULL, false},
        {"a", NULL, LEASE, EQUAL, 0, NULL, true},
        {"a", NULL, VALUE, EQUAL, 0, "y", true},
        {"a", NULL, VALUE, GREATER, 0, "x", true},
        {"a", NULL, VALUE, LESS, 0, "yy", true},
        {"a", NULL, VALUE, NOT_EQUAL, 0, "y", false},
        /* a missing key: zeros, but no value */
        {"none", NULL, CREATE, EQUAL, 0, NULL, true},
        {"none", NULL, MOD, LESS, 1, NULL, true},
        {"none", NULL, VERSION, NOT_EQUAL, 0, NULL, false},
        {"none", NULL, VALUE, EQUAL, 0, "", false},
        {"none", NULL, VALUE, NOT_EQUAL, 0, "x", false},
        /* intervals: all of them; an empty one is like a missing key */
        {"a", "z", VALUE, EQUAL, 0, "y", true},
        {"a", "z", VERSION, EQUAL, 2, NULL, false},
        {"a", "z", MOD, GREATER, 2, NULL, true},
        {"a", "", MOD, GREATER, 3, NULL, false}, /* "\0": to the end */
        {"x", "z", CREATE, EQUAL, 0, NULL, true},
        {"x", "z", VALUE, EQUAL, 0, "", false},
        {"z", "a", CREATE, EQUAL, 0, NULL, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        compare_t compare = compare_of(&rows[i]);
        compare_t *compares[] = {&compare};
        txn_request_t *request = txn(LIST(range("a", NULL)), NOTHING);
        request->n_compare = 1;
        request->compare = compares;
        Etcdserverpb__TxnResponse *answer = read_txn(rig, request);
        if (answer->succeeded != rows[i].holds) {
            fail_msg("row %zu", i);
        }
        assert_int_equal(answer->n_responses, rows[i].holds ? 1 : 0);
        api_rig_free_message(answer);
    }
}

static void a_union_that_fits_another_target_counts_as_zero(void **state)
{
    api_rig_t *rig = *state;
    api_rig_put(rig, "a", "x");
    compare_t compare = ETCDSERVERPB__COMPARE__INIT;
    compare.key = rig_text("a");
    compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
    compare.result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER;
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
    compare.version = 1000000;
    compare_t *compares[] = {&compare};
    txn_request_t *request = txn(NOTHING, NOTHING);
    request->n_compare = 1;
    request->compare = compares;
    Etcdserverpb__TxnResponse *answer = read_txn(rig, request);
    assert_true(answer->succeeded);
    api_rig_free_message(answer);
}

static void large_reads_go_in_slices(void **state)
{
    api_rig_t *rig = *state;
    const int count = 2 * LIMIT_TURN_KEYS;
    for (int i = 0; i < count; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%06d", i);
        api_rig_put(rig, key, "v");
    }
    compare_t compare = ETCDSERVERPB__COMPARE__INIT;
    compare.key = rig_text("k");
    compare.range_end = rig_text("l");
    compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE;
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE;
    compare.value = rig_text("v");
    compare_t *compares[] = {&compare};
    op_t *local = range("k", "l");
    local->request_range->serializable = true;
    txn_request_t *request = txn(LIST(local), NOTHING);
    request->n_compare = 1;
    request->compare = compares;
    uint64_t call = run(rig, request);
    int turns = 1;
    for (; !api_rig_call(rig, call)->finished; turns++) {
        assert_true(api_ops.deadline(rig->api) <= rig->core.now_us);
        api_rig_turn(rig);
    }
    assert_true(turns >= 4); /* twice through all keys */
    Etcdserverpb__TxnResponse *answer =
        api_rig_expect_answer(rig, call, &etcdserverpb__txn_response__descriptor);
    assert_true(answer->succeeded);
    assert_int_equal(answer->responses[0]->response_range->n_kvs, count);
    api_rig_free_message(answer);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(operations_are_checked_like_requests),
        TEST(compares_need_a_key),
        TEST(the_number_of_operations_is_bounded),
        TEST(nested_operations_share_the_budget),
        TEST(a_key_is_written_once_per_branch),
        TEST(nesting_is_bounded),
        TEST(too_many_fields_and_garbage_are_refused),
        TEST(a_txn_in_pieces_is_proposed_whole),
        TEST(only_ranges_make_a_txn_a_read),
        TEST(only_serializable_ranges_skip_the_read_index),
        TEST(a_read_answers_each_range_of_its_branch),
        TEST(revisions_are_checked_on_the_chosen_path_only),
        TEST(compares_follow_etcd),
        TEST(a_union_that_fits_another_target_counts_as_zero),
        TEST(large_reads_go_in_slices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
