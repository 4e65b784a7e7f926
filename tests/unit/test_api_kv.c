/* api, writes: what is refused before it is proposed and in which order, what an entry looks like,
 * and how each outcome reaches the client. The other actors are played by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <etcd/raft_internal.pb-c.h>
#include <stdlib.h>

#include "messages/limits.h"
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

static uint64_t put(api_rig_t *rig, const char *key, const char *value)
{
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    request.key = rig_text(key);
    request.value = rig_text(value);
    uint64_t call = api_rig_begin(rig, METHOD_PUT);
    api_rig_send(rig, call, &request);
    return call;
}

static msg_t *expect_propose(api_rig_t *rig, size_t count)
{
    msg_t *msg = core_test_expect(&rig->core, ACTOR_REPLICATOR, MSG_PROPOSE);
    assert_int_equal(msg->u.propose.count, count);
    assert_int_equal(msg->u.propose.expect_term, 0);
    return msg;
}

static void send_result(api_rig_t *rig, uint64_t req_id, api_error_t error, int64_t revision,
                        slice_t body)
{
    msg_t *msg = msg_new(MSG_RESULT);
    msg->u.result.count = 1;
    msg->u.result.items = xcalloc(1, sizeof(result_t));
    msg->u.result.items[0] = (result_t){.req_id = req_id,
                                        .error = error,
                                        .revision = revision,
                                        .body = body.len ? bytes_new(body.data, body.len) : NULL};
    core_test_send(&rig->core, ACTOR_APPLIER, &msg);
}

static void refuse(api_rig_t *rig, msg_kind_t kind, uint64_t req_id, api_error_t error)
{
    msg_t *msg = msg_new(kind);
    msg->u.refusal.count = 1;
    msg->u.refusal.req_ids = xcalloc(1, sizeof(uint64_t));
    msg->u.refusal.req_ids[0] = req_id;
    msg->u.refusal.error = error;
    core_test_send(&rig->core, ACTOR_REPLICATOR, &msg);
}

static Etcdserverpb__InternalRaftRequest *unpack_entry(const proposal_t *proposal)
{
    slice_t payload = bytes_slice(proposal->payload);
    Etcdserverpb__InternalRaftRequest *entry =
        etcdserverpb__internal_raft_request__unpack(NULL, payload.len, payload.data);
    assert_non_null(entry);
    assert_true(entry->id == RIG_ORIGIN);
    assert_non_null(entry->header);
    assert_true(entry->header->id == proposal->req_id);
    return entry;
}

/* ---- the way of a put ---- */

static void writes_of_one_turn_are_one_propose(void **state)
{
    api_rig_t *rig = *state;
    uint64_t a = put(rig, "a", "1");
    uint64_t b = put(rig, "b", "2");
    core_test_expect_nothing(&rig->core);
    api_rig_turn(rig);
    msg_t *msg = expect_propose(rig, 2);
    Etcdserverpb__InternalRaftRequest *entry = unpack_entry(&msg->u.propose.items[1]);
    assert_memory_equal(entry->put->key.data, "b", 1);
    assert_memory_equal(entry->put->value.data, "2", 1);
    etcdserverpb__internal_raft_request__free_unpacked(entry, NULL);
    core_test_expect_nothing(&rig->core);
    api_rig_expect_open(rig, a);
    api_rig_expect_open(rig, b);
    msg_free(&msg);
}

static void a_result_is_header_and_body(void **state)
{
    api_rig_t *rig = *state;
    uint64_t call = put(rig, "a", "1");
    api_rig_turn(rig);
    msg_t *msg = expect_propose(rig, 1);
    /* prev_kv{key "a"} as the applier writes it. */
    send_result(rig, msg->u.propose.items[0].req_id, API_NONE, 42,
                slice("\x12\x03\x0a\x01"
                      "a",
                      5));
    msg_free(&msg);
    Etcdserverpb__PutResponse *answer =
        api_rig_expect_answer(rig, call, &etcdserverpb__put_response__descriptor);
    api_rig_expect_header(answer->header, 42);
    assert_non_null(answer->prev_kv);
    assert_memory_equal(answer->prev_kv->key.data, "a", 1);
    api_rig_free_message(answer);
    assert_int_equal(api_status(rig->api).revision, 42);
}

static void errors_of_the_applier_reach_the_client(void **state)
{
    api_rig_t *rig = *state;
    uint64_t call = put(rig, "a", "1");
    api_rig_turn(rig);
    msg_t *msg = expect_propose(rig, 1);
    send_result(rig, msg->u.propose.items[0].req_id, API_LEASE_NOT_FOUND, 1, slice(NULL, 0));
    api_rig_expect_error(rig, call, API_LEASE_NOT_FOUND);
    /* A second result for the same id, or one for an unknown id, is nobody's. */
    send_result(rig, msg->u.propose.items[0].req_id, API_NONE, 2, slice(NULL, 0));
    send_result(rig, 999, API_NONE, 2, slice(NULL, 0));
    msg_free(&msg);
}

static void refusals_are_told_as_etcd_does(void **state)
{
    api_rig_t *rig = *state;
    static const struct {
        msg_kind_t kind;
        api_error_t told, seen;
    } cases[] = {
        {MSG_REJECTED, API_TOO_MANY_REQUESTS, API_TOO_MANY_REQUESTS},
        {MSG_UNKNOWN, API_LEADER_CHANGED, API_LEADER_CHANGED},
        {MSG_UNKNOWN, API_NO_LEADER, API_NO_LEADER}, /* it may have entered the log */
        {MSG_UNKNOWN, API_NONE, API_LEADER_CHANGED},
        {MSG_REJECTED, API_STOPPED, API_STOPPED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t call = put(rig, "a", "1");
        api_rig_turn(rig);
        msg_t *msg = expect_propose(rig, 1);
        refuse(rig, cases[i].kind, msg->u.propose.items[0].req_id, cases[i].told);
        api_rig_expect_error(rig, call, cases[i].seen);
        msg_free(&msg);
        api_rig_turn(rig);
        core_test_expect_nothing(&rig->core); /* never proposed again */
    }
}

/* The gateway knew a leader, the replicator did not: the proposal has not entered the log. */
static void what_nobody_led_is_proposed_again(void **state)
{
    api_rig_t *rig = *state;
    uint64_t call = put(rig, "a", "1");
    api_rig_turn(rig);
    msg_t *first = expect_propose(rig, 1);
    uint64_t req_id = first->u.propose.items[0].req_id;
    for (int i = 0; i < 3; i++) {
        refuse(rig, MSG_REJECTED, req_id, i ? API_NO_LEADER : API_NOT_LEADER);
        uint64_t other = put(rig, "b", "1"); /* it would be told the same */
        api_rig_turn(rig);
        core_test_expect_nothing(&rig->core);
        api_rig_expect_open(rig, call);
        uint64_t due = api_ops.deadline(rig->api);
        assert_true(due > rig->core.now_us && due <= rig->core.now_us + 100000);
        rig->core.now_us = due;
        api_rig_turn(rig);
        msg_t *again = expect_propose(rig, 2);
        assert_int_equal(again->u.propose.items[0].req_id, req_id);
        assert_ptr_equal(again->u.propose.items[0].payload, first->u.propose.items[0].payload);
        msg_free(&again);
        api_call_cancel(rig->api, other);
    }
    send_result(rig, req_id, API_NONE, 2, slice(NULL, 0));
    api_rig_free_message(api_rig_expect_answer(rig, call, &etcdserverpb__put_response__descriptor));
    assert_int_equal(metrics_get(&rig->metrics, METRIC_PROPOSALS_FAILED), 3); /* cancelled */
    assert_true(api_ops.deadline(rig->api) == DEADLINE_NONE);
    msg_free(&first);
}

static void a_new_leader_is_asked_at_once(void **state)
{
    api_rig_t *rig = *state;
    api_rig_role(rig, ROLE_FOLLOWER, 99);
    uint64_t call = put(rig, "a", "1");
    api_rig_turn(rig);
    msg_t *msg = expect_propose(rig, 1);
    uint64_t req_id = msg->u.propose.items[0].req_id;
    msg_free(&msg);
    api_rig_role(rig, ROLE_FOLLOWER, 0);
    refuse(rig, MSG_REJECTED, req_id, API_NO_LEADER);
    rig->core.now_us += 1000000; /* without a leader there is nothing to try */
    api_rig_turn(rig);
    core_test_expect_nothing(&rig->core);
    refuse(rig, MSG_REJECTED, 999, API_NO_LEADER); /* nobody's */
    api_rig_role(rig, ROLE_FOLLOWER, 98);
    api_rig_turn(rig);
    msg = expect_propose(rig, 1);
    assert_int_equal(msg->u.propose.items[0].req_id, req_id);
    msg_free(&msg);
    api_rig_expect_open(rig, call);
}

static void waiting_for_a_leader_ends_with_the_request_timeout(void **state)
{
    api_rig_t *rig = *state;
    uint64_t call = put(rig, "a", "1");
    uint64_t since_us = rig->core.now_us;
    api_rig_turn(rig);
    while (!api_rig_call(rig, call)->finished) {
        msg_t *msg = expect_propose(rig, 1);
        refuse(rig, MSG_REJECTED, msg->u.propose.items[0].req_id, API_NO_LEADER);
        msg_free(&msg);
        uint64_t due = api_ops.deadline(rig->api);
        assert_true(due > rig->core.now_us);
        rig->core.now_us = due;
        api_rig_turn(rig);
    }
    assert_int_equal(rig->core.now_us - since_us, 7000000);
    api_rig_expect_error(rig, call, API_TIMEOUT);
    core_test_expect_nothing(&rig->core);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_PROPOSALS_FAILED), 1);
}

static void without_room_on_the_edge_the_client_is_told(void **state)
{
    api_rig_t *rig = *state;
    actor_id_t to = ACTOR_NONE;
    while (outbox_room(rig->core.outbox, ACTOR_REPLICATOR)) {
        put(rig, "a", "1");
        api_rig_turn(rig);
        msg_t *msg = outbox_take(rig->core.outbox, &to); /* gives no credit back */
        assert_non_null(msg);
        msg_free(&msg);
        rig->calls[rig->last_call].finished = true; /* not looked at */
        api_call_cancel(rig->api, rig->last_call--);
        rig->calls[rig->last_call + 1] = (rig_call_t){0};
    }
    uint64_t call = put(rig, "a", "1");
    api_rig_turn(rig);
    api_rig_expect_error(rig, call, API_TOO_MANY_REQUESTS);
}

static void a_backlog_of_the_applier_refuses_writes(void **state)
{
    api_rig_t *rig = *state;
    msg_t *msg = msg_new(MSG_APPLIED);
    msg->u.applied = (msg_applied_t){
        .index = rig->index, .revision = 1, .commit = rig->index + LIMIT_APPLY_BACKLOG + 1};
    core_test_send(&rig->core, ACTOR_APPLIER, &msg);
    uint64_t call = put(rig, "a", "1");
    api_rig_expect_error(rig, call, API_TOO_MANY_REQUESTS);
    assert_int_equal(rig->calls[call].code, GRPC_UNKNOWN); /* as etcd has it on the wire */
}

static void writes_wait_for_a_leader(void **state)
{
    api_rig_t *rig = *state;
    api_rig_role(rig, ROLE_FOLLOWER, 0);
    uint64_t gone = put(rig, "gone", "1");
    uint64_t stays = put(rig, "stays", "1");
    api_rig_turn(rig);
    core_test_expect_nothing(&rig->core);
    api_call_cancel(rig->api, gone);
    api_rig_role(rig, ROLE_LEADER, RIG_MEMBER_ID);
    api_rig_turn(rig);
    msg_t *msg = expect_propose(rig, 1); /* what was cancelled while it waited is not proposed */
    Etcdserverpb__InternalRaftRequest *entry = unpack_entry(&msg->u.propose.items[0]);
    assert_memory_equal(entry->put->key.data, "stays", 5);
    etcdserverpb__internal_raft_request__free_unpacked(entry, NULL);
    msg_free(&msg);
    api_rig_expect_open(rig, stays);
}

static void a_late_result_of_a_timed_out_call_is_dropped(void **state)
{
    api_rig_t *rig = *state;
    uint64_t call = put(rig, "a", "1");
    api_rig_turn(rig);
    msg_t *msg = expect_propose(rig, 1);
    assert_int_equal(api_ops.deadline(rig->api), rig->core.now_us + 7000000);
    rig->core.now_us += 6999999;
    api_rig_turn(rig);
    api_rig_expect_open(rig, call);
    rig->core.now_us += 1;
    api_rig_turn(rig);
    api_rig_expect_error(rig, call, API_TIMEOUT);
    send_result(rig, msg->u.propose.items[0].req_id, API_NONE, 9, slice(NULL, 0));
    msg_free(&msg);
}

static void a_timeout_names_a_leader_lost_meanwhile(void **state)
{
    api_rig_t *rig = *state;
    rig->core.now_us += 60000000;
    uint64_t call = put(rig, "a", "1");
    api_rig_turn(rig);
    msg_t *msg = expect_propose(rig, 1);
    msg_free(&msg);
    rig->core.now_us += 1000000; /* an election within two election timeouts of the request */
    api_rig_role(rig, ROLE_FOLLOWER, 0);
    api_rig_role(rig, ROLE_FOLLOWER, 99);
    rig->core.now_us += 7000000;
    api_rig_turn(rig);
    api_rig_expect_error(rig, call, API_TIMEOUT_LEADER_FAIL);
}

static void the_clients_deadline_counts_too(void **state)
{
    api_rig_t *rig = *state;
    api_call_t info = {.method = METHOD_PUT, .deadline_us = rig->core.now_us + 1000};
    uint64_t call = ++rig->last_call;
    api_call_begin(rig->api, call, &info, rig->core.now_us);
    assert_int_equal(api_ops.deadline(rig->api), rig->core.now_us + 1000);
    rig->core.now_us += 1000;
    api_rig_turn(rig);
    api_rig_expect_error(rig, call, API_DEADLINE_EXCEEDED);
}

static void a_cancelled_call_gets_no_answer(void **state)
{
    api_rig_t *rig = *state;
    uint64_t call = put(rig, "a", "1");
    api_rig_turn(rig);
    msg_t *msg = expect_propose(rig, 1);
    api_call_cancel(rig->api, call);
    api_call_cancel(rig->api, call);
    api_call_sent(rig->api, call, 10);
    api_call_half_close(rig->api, call, rig->core.now_us);
    send_result(rig, msg->u.propose.items[0].req_id, API_NONE, 2, slice(NULL, 0));
    msg_free(&msg);
    assert_int_equal(rig->calls[call].count, 0);
    assert_false(rig->calls[call].finished);
}

/* ---- refused before it is proposed ---- */

static void puts_are_validated_in_etcds_order(void **state)
{
    api_rig_t *rig = *state;
    static const struct {
        const char *key, *value;
        int64_t lease;
        bool ignore_value, ignore_lease;
        api_error_t error;
    } cases[] = {
        {"", "v", 1, true, true, API_EMPTY_KEY},
        {"k", "v", 1, true, true, API_VALUE_PROVIDED},
        {"k", "", 1, true, true, API_LEASE_PROVIDED},
        {"k", "v", 1, false, true, API_LEASE_PROVIDED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
        request.key = rig_text(cases[i].key);
        request.value = rig_text(cases[i].value);
        request.lease = cases[i].lease;
        request.ignore_value = cases[i].ignore_value;
        request.ignore_lease = cases[i].ignore_lease;
        uint64_t call = api_rig_unary(rig, METHOD_PUT, &request);
        api_rig_expect_error(rig, call, cases[i].error);
    }
    core_test_expect_nothing(&rig->core);
}

static void deletes_need_a_key(void **state)
{
    api_rig_t *rig = *state;
    Etcdserverpb__DeleteRangeRequest request = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    request.range_end = rig_text("z");
    uint64_t call = api_rig_unary(rig, METHOD_DELETE_RANGE, &request);
    api_rig_expect_error(rig, call, API_EMPTY_KEY);
    request.key = rig_text("a");
    call = api_rig_unary(rig, METHOD_DELETE_RANGE, &request);
    msg_t *msg = expect_propose(rig, 1);
    Etcdserverpb__InternalRaftRequest *entry = unpack_entry(&msg->u.propose.items[0]);
    assert_memory_equal(entry->delete_range->range_end.data, "z", 1);
    etcdserverpb__internal_raft_request__free_unpacked(entry, NULL);
    msg_free(&msg);
}

static void compactions_are_proposed_as_they_are(void **state)
{
    api_rig_t *rig = *state;
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    request.revision = -5; /* whether it can be is decided when it is applied */
    api_rig_unary(rig, METHOD_COMPACT, &request);
    msg_t *msg = expect_propose(rig, 1);
    Etcdserverpb__InternalRaftRequest *entry = unpack_entry(&msg->u.propose.items[0]);
    assert_int_equal(entry->compaction->revision, -5);
    etcdserverpb__internal_raft_request__free_unpacked(entry, NULL);
    msg_free(&msg);
}

static void entries_have_a_size_limit(void **state)
{
    (void)state;
    api_rig_t *rig = api_rig_new(&(rig_options_t){.max_request_bytes = 1000});
    api_rig_ready(rig);
    char value[1001] = {0};
    memset(value, 'v', 900);
    uint64_t call = put(rig, "k", value);
    api_rig_turn(rig);
    api_rig_expect_open(rig, call);
    memset(value, 'v', 1000);
    call = put(rig, "k", value);
    api_rig_expect_error(rig, call, API_REQUEST_TOO_LARGE);
    msg_t *msg = expect_propose(rig, 1);
    msg_free(&msg);
    api_rig_free(&rig);
}

static void malformed_messages_are_internal_errors(void **state)
{
    api_rig_t *rig = *state;
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {
        {"\x0a\x05"
         "ab",
         4},                 /* a key longer than the message */
        {"\x0b", 1},         /* a group without end */
        {"\xff\xff\xff", 3}, /* half a tag */
        {"\x20", 1},         /* a bool without its value */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t call = api_rig_begin(rig, METHOD_PUT);
        api_rig_send_bytes(rig, call, cases[i].bytes, cases[i].len);
        assert_true(rig->calls[call].finished);
        assert_int_equal(rig->calls[call].code, GRPC_INTERNAL);
    }
    api_rig_turn(rig);
    core_test_expect_nothing(&rig->core);
}

/* As protobuf wants it: a known number with another type is an unknown field. */
static void fields_of_another_type_are_unknown(void **state)
{
    api_rig_t *rig = *state;
    static const char bytes[] = "\x0a\x01k"            /* the key */
                                "\x08\x01"             /* the key as a number */
                                "\x1a\x01z"            /* the lease as bytes */
                                "\x25\x01\x02\x03\x04" /* prev_kv as a fixed32 */
                                "\x2b\x10\x01\x2c";    /* ignore_value as a group */
    uint64_t call = api_rig_begin(rig, METHOD_PUT);
    api_rig_send_bytes(rig, call, bytes, sizeof bytes - 1);
    api_rig_turn(rig);
    api_rig_expect_open(rig, call);
    msg_t *msg = expect_propose(rig, 1);
    msg_free(&msg);

    call = api_rig_begin(rig, METHOD_PUT);
    api_rig_send_bytes(rig, call, "\x08\x01", 2);
    api_rig_expect_error(rig, call, API_EMPTY_KEY);
}

static void unknown_fields_are_fine(void **state)
{
    api_rig_t *rig = *state;
    uint64_t call = api_rig_begin(rig, METHOD_PUT);
    api_rig_send_bytes(rig, call,
                       "\x0a\x01k"
                       "\xa2\x06\x01z",
                       7); /* key "k", field 100 */
    api_rig_turn(rig);
    api_rig_expect_open(rig, call);
    msg_t *msg = expect_propose(rig, 1);
    msg_free(&msg);
}

static void unary_calls_have_exactly_one_message(void **state)
{
    api_rig_t *rig = *state;
    uint64_t none = api_rig_begin(rig, METHOD_PUT);
    api_call_half_close(rig->api, none, rig->core.now_us);
    assert_int_equal(rig->calls[none].code, GRPC_INTERNAL);
    uint64_t two = put(rig, "a", "1");
    api_rig_send_bytes(rig, two, "\x0a\x01k", 3);
    assert_true(rig->calls[two].finished);
    assert_int_equal(rig->calls[two].code, GRPC_INTERNAL);
    api_rig_turn(rig);
    core_test_expect_nothing(&rig->core);
}

static void calls_are_counted_by_method_and_code(void **state)
{
    api_rig_t *rig = *state;
    const rpc_metrics_t *rpc = api_rpc_metrics(rig->api);
    put(rig, "a", "1");
    api_rig_serve(rig);
    put(rig, "", "1");
    assert_int_equal(rpc_metrics_get(&rpc->started[METHOD_PUT]), 2);
    assert_int_equal(rpc_metrics_get(&rpc->received[METHOD_PUT]), 2);
    assert_int_equal(rpc_metrics_get(&rpc->sent[METHOD_PUT]), 1);
    assert_int_equal(rpc_metrics_get(&rpc->handled[METHOD_PUT][GRPC_OK]), 1);
    assert_int_equal(rpc_metrics_get(&rpc->handled[METHOD_PUT][GRPC_INVALID_ARGUMENT]), 1);
    assert_int_equal(rpc_metrics_get(&rpc->started[METHOD_RANGE]), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(writes_of_one_turn_are_one_propose),
        TEST(a_result_is_header_and_body),
        TEST(errors_of_the_applier_reach_the_client),
        TEST(refusals_are_told_as_etcd_does),
        TEST(what_nobody_led_is_proposed_again),
        TEST(a_new_leader_is_asked_at_once),
        TEST(waiting_for_a_leader_ends_with_the_request_timeout),
        TEST(without_room_on_the_edge_the_client_is_told),
        TEST(a_backlog_of_the_applier_refuses_writes),
        TEST(writes_wait_for_a_leader),
        TEST(a_late_result_of_a_timed_out_call_is_dropped),
        TEST(a_timeout_names_a_leader_lost_meanwhile),
        TEST(the_clients_deadline_counts_too),
        TEST(a_cancelled_call_gets_no_answer),
        TEST(puts_are_validated_in_etcds_order),
        TEST(deletes_need_a_key),
        TEST(compactions_are_proposed_as_they_are),
        cmocka_unit_test(entries_have_a_size_limit),
        TEST(malformed_messages_are_internal_errors),
        TEST(fields_of_another_type_are_unknown),
        TEST(unknown_fields_are_fine),
        TEST(unary_calls_have_exactly_one_message),
        TEST(calls_are_counted_by_method_and_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
