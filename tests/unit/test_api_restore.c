/* api, when a snapshot of another member has replaced the store: what is being read is read to its end from
 * the old one, which is then let go; what waits is read from the new one; nothing goes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "messages/limits.h"
#include "tests/support/api_rig.h"

#define RANGE_TYPE  &etcdserverpb__range_response__descriptor
#define STREAM_TYPE &etcdserverpb__range_stream_response__descriptor
#define TXN_TYPE    &etcdserverpb__txn_response__descriptor

enum { KEYS = 3 * LIMIT_TURN_KEYS };

/* A member, and another one whose store is further on. */
typedef struct {
    api_rig_t *member, *other;
} pair_t;

static void put_many(api_rig_t *rig, int count)
{
    for (int i = 0; i < count; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%06d", i);
        api_rig_put(rig, key, "v");
    }
}

static pair_t start(int keys, int more)
{
    pair_t pair = {.member = api_rig_new_ready(), .other = api_rig_new(NULL)};
    put_many(pair.member, keys);
    put_many(pair.other, keys);
    for (int i = 0; i < more; i++) {
        api_rig_put(pair.other, "of the snapshot", "v");
    }
    return pair;
}

static void end(pair_t *pair)
{
    api_rig_free(&pair->member);
    api_rig_free(&pair->other);
}

static void restore(pair_t *pair)
{
    msg_t *msg = msg_new(MSG_RESTORED);
    msg->u.restored.store = shared_ref(pair->other->store);
    msg->u.restored.index = pair->other->index;
    msg->u.restored.revision = mvcc_current(pair->other->mvcc)->revision;
    core_test_send(&pair->member->core, ACTOR_APPLIER, &msg);
}

static uint64_t get(api_rig_t *rig, method_t method, const char *key, const char *range_end,
                    bool serializable)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key = rig_text(key);
    request.range_end = rig_text(range_end);
    request.serializable = serializable;
    return api_rig_unary(rig, method, &request);
}

static void expect_range(api_rig_t *rig, uint64_t call, int64_t count, int64_t revision)
{
    Etcdserverpb__RangeResponse *answer = api_rig_expect_answer(rig, call, RANGE_TYPE);
    assert_int_equal(answer->count, count);
    api_rig_expect_header(answer->header, revision);
    api_rig_free_message(answer);
}

static void a_read_in_progress_ends_on_the_old_store(void **state)
{
    (void)state;
    pair_t pair = start(KEYS, 5);
    api_rig_t *rig = pair.member;
    uint64_t call = get(rig, METHOD_RANGE, "k", "z", true);
    api_rig_expect_open(rig, call); /* too much for one turn */
    restore(&pair);
    uint64_t later = get(rig, METHOD_RANGE, "k", "z", true);
    assert_false(shared_is_last(rig->store));
    for (int turns = 0; !api_rig_call(rig, call)->finished; turns++) {
        assert_true(turns < 20);
        api_rig_turn(rig);
    }
    expect_range(rig, call, KEYS, KEYS + 1);
    for (int turns = 0; !api_rig_call(rig, later)->finished; turns++) {
        assert_true(turns < 20);
        api_rig_turn(rig);
    }
    expect_range(rig, later, KEYS + 1, KEYS + 6);
    api_rig_turn(rig);
    assert_true(shared_is_last(rig->store)); /* the rig's own */
    end(&pair);
}

/* Compares and ranges of a transaction see one state, also when a snapshot comes between. */
static void a_transaction_in_progress_ends_on_the_old_store(void **state)
{
    (void)state;
    pair_t pair = start(KEYS, 5);
    api_rig_t *rig = pair.member;
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    range.key = rig_text("k");
    range.range_end = rig_text("z");
    Etcdserverpb__RequestOp op = ETCDSERVERPB__REQUEST_OP__INIT;
    op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    op.request_range = &range;
    Etcdserverpb__RequestOp *ops[] = {&op, &op};
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    range.serializable = true;
    txn.success = ops;
    txn.n_success = 2;
    uint64_t call = api_rig_unary(rig, METHOD_TXN, &txn);
    actor_id_t to = ACTOR_NONE;
    for (msg_t *msg = NULL; (msg = core_test_take(&rig->core, &to));) {
        if (msg->kind == MSG_READ) {
            msg_t *at = msg_new(MSG_READ_AT);
            at->u.read = (msg_read_t){.read_id = msg->u.read.read_id, .index = rig->index};
            core_test_send(&rig->core, ACTOR_REPLICATOR, &at);
            api_rig_turn(rig);
        }
        msg_free(&msg);
    }
    api_rig_expect_open(rig, call);
    restore(&pair);
    for (int turns = 0; !api_rig_call(rig, call)->finished; turns++) {
        assert_true(turns < 20);
        api_rig_turn(rig);
    }
    Etcdserverpb__TxnResponse *answer = api_rig_expect_answer(rig, call, TXN_TYPE);
    api_rig_expect_header(answer->header, KEYS + 1);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(answer->responses[i]->response_range->count, KEYS);
    }
    api_rig_free_message(answer);
    end(&pair);
}

/* The read index lies within what only the snapshot brings. */
static void reads_that_wait_are_read_from_the_new_store(void **state)
{
    (void)state;
    pair_t pair = start(10, 5);
    api_rig_t *rig = pair.member;
    uint64_t call = get(rig, METHOD_RANGE, "k", "z", false);
    msg_t *read = core_test_expect(&rig->core, ACTOR_REPLICATOR, MSG_READ);
    msg_t *at = msg_new(MSG_READ_AT);
    at->u.read = (msg_read_t){.read_id = read->u.read.read_id, .index = pair.other->index - 2};
    msg_free(&read);
    core_test_send(&rig->core, ACTOR_REPLICATOR, &at);
    api_rig_turn(rig);
    api_rig_expect_open(rig, call);
    restore(&pair);
    api_rig_turn(rig);
    expect_range(rig, call, 11, 16);
    end(&pair);
}

/* A stream pins a revision, no store: it goes on in the new one, where nothing of it is missing. */
static void a_stream_goes_on_in_the_new_store(void **state)
{
    (void)state;
    enum { VALUE = 65536, VALUES = 100 };
    pair_t pair = start(0, 0);
    api_rig_t *both[] = {pair.member, pair.other};
    char *value = calloc(1, VALUE + 1);
    memset(value, 'v', VALUE);
    for (int i = 0; i < VALUES; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%06d", i);
        api_rig_put(both[0], key, value);
        api_rig_put(both[1], key, value);
    }
    free(value);
    api_rig_delete(pair.other, "k000099");
    api_rig_t *rig = pair.member;
    uint64_t call = get(rig, METHOD_RANGE_STREAM, "k", "z", true);
    api_rig_serve(rig);
    restore(&pair);
    assert_true(shared_is_last(rig->store)); /* the stream waits for its client */
    int64_t keys = 0;
    for (bool last = false; !last;) {
        const rig_call_t *got = api_rig_call(rig, call);
        while (got->seen < got->count) {
            Etcdserverpb__RangeStreamResponse *part = api_rig_next(rig, call, STREAM_TYPE);
            keys += (int64_t)part->range_response->n_kvs;
            last = part->range_response->header != NULL;
            if (last) {
                assert_int_equal(part->range_response->count, VALUES);
                api_rig_expect_header(part->range_response->header, VALUES + 1);
            }
            api_rig_free_message(part);
        }
        assert_true(last || !got->finished);
        api_call_sent(rig->api, call, 1 << 20);
        api_rig_serve(rig);
    }
    assert_int_equal(keys, VALUES);
    end(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_read_in_progress_ends_on_the_old_store),
        cmocka_unit_test(a_transaction_in_progress_ends_on_the_old_store),
        cmocka_unit_test(reads_that_wait_are_read_from_the_new_store),
        cmocka_unit_test(a_stream_goes_on_in_the_new_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
