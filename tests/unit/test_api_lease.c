/* api, leases: what is proposed, what is asked, and the order of keepalives. The lease actor is
 * played by hand. */
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

#define KEEP_ALIVE_TYPE &etcdserverpb__lease_keep_alive_response__descriptor

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

/* What a grant becomes in the log. */
static Etcdserverpb__LeaseGrantRequest *proposed_grant(api_rig_t *rig,
                                                       Etcdserverpb__InternalRaftRequest **entry)
{
    msg_t *msg = core_test_expect(&rig->core, ACTOR_REPLICATOR, MSG_PROPOSE);
    slice_t payload = bytes_slice(msg->u.propose.items[0].payload);
    *entry = etcdserverpb__internal_raft_request__unpack(NULL, payload.len, payload.data);
    assert_non_null((*entry)->lease_grant);
    msg_free(&msg);
    return (*entry)->lease_grant;
}

static msg_lease_ask_t expect_ask(api_rig_t *rig, lease_op_t op)
{
    msg_t *msg = core_test_expect(&rig->core, ACTOR_LEASE, MSG_LEASE_ASK);
    msg_lease_ask_t ask = msg->u.lease_ask;
    assert_int_equal(ask.op, op);
    assert_int_equal(ask.applied_index, rig->index); /* answered once the lease actor has it too */
    msg_free(&msg);
    return ask;
}

static void answer(api_rig_t *rig, const msg_lease_ask_t *ask, api_error_t error, int64_t ttl,
                   int64_t granted)
{
    msg_t *msg = msg_new(MSG_LEASE_ANSWER);
    msg->u.lease_answer = (msg_lease_answer_t){.req_id = ask->req_id,
                                               .op = ask->op,
                                               .error = error,
                                               .id = ask->id,
                                               .ttl_s = ttl,
                                               .granted_ttl_s = granted};
    core_test_send(&rig->core, ACTOR_LEASE, &msg);
}

/* ---- grant, revoke ---- */

static void a_grant_gets_an_id_and_the_minimum_ttl(void **state)
{
    api_rig_t *rig = *state;
    static const struct {
        int64_t ttl, id, ttl_proposed;
    } cases[] = {
        {0, 0, 2}, {-5, 7, 2}, {1, -7, 2}, {60, 0, 60}, {LIMIT_LEASE_TTL_S, 1, LIMIT_LEASE_TTL_S}};
    int64_t last = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
        request.ttl = cases[i].ttl;
        request.id = cases[i].id;
        api_rig_unary(rig, METHOD_LEASE_GRANT, &request);
        Etcdserverpb__InternalRaftRequest *entry = NULL;
        Etcdserverpb__LeaseGrantRequest *grant = proposed_grant(rig, &entry);
        assert_int_equal(grant->ttl, cases[i].ttl_proposed);
        if (cases[i].id) {
            assert_int_equal(grant->id, cases[i].id);
        } else {
            assert_true(grant->id > 0);
            assert_true(grant->id != last);
            last = grant->id;
        }
        etcdserverpb__internal_raft_request__free_unpacked(entry, NULL);
    }
}

static void a_ttl_can_be_too_large(void **state)
{
    api_rig_t *rig = *state;
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    request.ttl = LIMIT_LEASE_TTL_S + 1;
    uint64_t call = api_rig_unary(rig, METHOD_LEASE_GRANT, &request);
    api_rig_expect_error(rig, call, API_LEASE_TTL_TOO_LARGE);
}

static void a_revoke_is_proposed(void **state)
{
    api_rig_t *rig = *state;
    Etcdserverpb__LeaseRevokeRequest request = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    request.id = 7;
    uint64_t call = api_rig_unary(rig, METHOD_LEASE_REVOKE, &request);
    msg_t *msg = core_test_expect(&rig->core, ACTOR_REPLICATOR, MSG_PROPOSE);
    msg_free(&msg);
    api_rig_expect_open(rig, call);
}

/* ---- keepalive ---- */

static uint64_t keep_alive(api_rig_t *rig, uint64_t call, int64_t id)
{
    Etcdserverpb__LeaseKeepAliveRequest request = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    request.id = id;
    api_rig_send(rig, call, &request);
    return call;
}

static void expect_keep_alive(api_rig_t *rig, uint64_t call, int64_t id, int64_t ttl)
{
    Etcdserverpb__LeaseKeepAliveResponse *got = api_rig_next(rig, call, KEEP_ALIVE_TYPE);
    assert_int_equal(got->id, id);
    assert_int_equal(got->ttl, ttl);
    api_rig_expect_header(got->header, 1);
    api_rig_free_message(got);
}

static void keepalives_are_answered_in_order(void **state)
{
    api_rig_t *rig = *state;
    uint64_t call = api_rig_begin(rig, METHOD_LEASE_KEEP_ALIVE);
    for (int64_t id = 1; id <= 3; id++) {
        keep_alive(rig, call, id);
    }
    api_rig_turn(rig);
    msg_lease_ask_t asks[3];
    for (int i = 0; i < 3; i++) {
        asks[i] = expect_ask(rig, LEASE_OP_KEEPALIVE);
        assert_int_equal(asks[i].id, i + 1);
    }
    answer(rig, &asks[1], API_NONE, 20, 20);
    answer(rig, &asks[2], API_NONE, 0, 0); /* unknown: TTL 0, no error */
    api_rig_expect_open(rig, call);
    answer(rig, &asks[0], API_NONE, 10, 10);
    expect_keep_alive(rig, call, 1, 10);
    expect_keep_alive(rig, call, 2, 20);
    expect_keep_alive(rig, call, 3, 0);
    api_rig_expect_open(rig, call);
    assert_int_equal(api_ops.deadline(rig->api), DEADLINE_NONE); /* an idle stream has no timeout */
}

static void a_half_closed_stream_ends_with_its_last_answer(void **state)
{
    api_rig_t *rig = *state;
    uint64_t idle = api_rig_begin(rig, METHOD_LEASE_KEEP_ALIVE);
    api_call_half_close(rig->api, idle, rig->core.now_us);
    assert_true(rig->calls[idle].finished);
    assert_int_equal(rig->calls[idle].code, GRPC_OK);
    uint64_t call = api_rig_begin(rig, METHOD_LEASE_KEEP_ALIVE);
    keep_alive(rig, call, 1);
    api_call_half_close(rig->api, call, rig->core.now_us);
    api_rig_turn(rig);
    msg_lease_ask_t ask = expect_ask(rig, LEASE_OP_KEEPALIVE);
    api_rig_expect_open(rig, call);
    answer(rig, &ask, API_NONE, 10, 10);
    expect_keep_alive(rig, call, 1, 10);
    assert_true(rig->calls[call].finished);
    assert_int_equal(rig->calls[call].code, GRPC_OK);
}

static void an_unanswered_keepalive_ends_its_stream(void **state)
{
    api_rig_t *rig = *state;
    uint64_t call = api_rig_begin(rig, METHOD_LEASE_KEEP_ALIVE);
    rig->core.now_us += 100000000; /* however old the stream is */
    keep_alive(rig, call, 1);
    api_rig_turn(rig);
    msg_lease_ask_t ask = expect_ask(rig, LEASE_OP_KEEPALIVE);
    assert_int_equal(api_ops.deadline(rig->api), rig->core.now_us + 7000000);
    rig->core.now_us += 7000000;
    api_rig_turn(rig);
    api_rig_expect_error(rig, call, API_TIMEOUT);
    answer(rig, &ask, API_NONE, 10, 10); /* nobody's */
}

static void an_error_ends_the_stream(void **state)
{
    api_rig_t *rig = *state;
    uint64_t call = api_rig_begin(rig, METHOD_LEASE_KEEP_ALIVE);
    keep_alive(rig, call, 1);
    api_rig_turn(rig);
    msg_lease_ask_t ask = expect_ask(rig, LEASE_OP_KEEPALIVE);
    answer(rig, &ask, API_LEADER_CHANGED, 0, 0);
    api_rig_expect_error(rig, call, API_LEADER_CHANGED);
}

static void questions_wait_for_a_leader(void **state)
{
    api_rig_t *rig = *state;
    api_rig_role(rig, ROLE_FOLLOWER, 0);
    uint64_t call = api_rig_begin(rig, METHOD_LEASE_KEEP_ALIVE);
    keep_alive(rig, call, 1);
    api_rig_turn(rig);
    core_test_expect_nothing(&rig->core);
    api_rig_role(rig, ROLE_LEADER, RIG_MEMBER_ID);
    api_rig_turn(rig);
    msg_lease_ask_t ask = expect_ask(rig, LEASE_OP_KEEPALIVE);
    /* The lease actor has not heard of it yet: asked again a little later. */
    answer(rig, &ask, API_NO_LEADER, 0, 0);
    api_rig_turn(rig);
    core_test_expect_nothing(&rig->core);
    uint64_t due = api_ops.deadline(rig->api);
    assert_true(due > rig->core.now_us && due < rig->core.now_us + 100000);
    rig->core.now_us = due;
    api_rig_turn(rig);
    ask = expect_ask(rig, LEASE_OP_KEEPALIVE);
    answer(rig, &ask, API_NONE, 10, 10);
    expect_keep_alive(rig, call, 1, 10);
}

static void the_list_needs_no_leader(void **state)
{
    api_rig_t *rig = *state;
    api_rig_role(rig, ROLE_FOLLOWER, 0);
    Etcdserverpb__LeaseTimeToLiveRequest about = ETCDSERVERPB__LEASE_TIME_TO_LIVE_REQUEST__INIT;
    about.id = 7;
    api_rig_unary(rig, METHOD_LEASE_TIME_TO_LIVE, &about);
    Etcdserverpb__LeaseLeasesRequest all = ETCDSERVERPB__LEASE_LEASES_REQUEST__INIT;
    uint64_t gone = api_rig_begin(rig, METHOD_LEASE_LEASES);
    api_rig_send(rig, gone, &all);
    api_call_cancel(rig->api, gone);
    uint64_t call = api_rig_unary(rig, METHOD_LEASE_LEASES, &all);
    msg_lease_ask_t ask = expect_ask(rig, LEASE_OP_LIST);
    core_test_expect_nothing(&rig->core);
    answer(rig, &ask, API_NONE, 0, 0);
    api_rig_turn(rig);
    api_rig_free_message(
        api_rig_expect_answer(rig, call, &etcdserverpb__lease_leases_response__descriptor));
    api_rig_role(rig, ROLE_FOLLOWER, 99);
    api_rig_turn(rig);
    expect_ask(rig, LEASE_OP_TIME_TO_LIVE);
}

static void a_cancelled_stream_asks_nothing_more(void **state)
{
    api_rig_t *rig = *state;
    uint64_t call = api_rig_begin(rig, METHOD_LEASE_KEEP_ALIVE);
    keep_alive(rig, call, 1);
    api_call_cancel(rig->api, call);
    api_rig_turn(rig);
    core_test_expect_nothing(&rig->core);
}

/* ---- time to live, list ---- */

static void grant(api_rig_t *rig, int64_t id)
{
    mvcc_entry_begin(rig->mvcc, ++rig->index, RIG_TERM);
    assert_int_equal(mvcc_lease_grant(rig->mvcc, id, 60), 0);
    mvcc_entry_end(rig->mvcc);
    assert_int_equal(mvcc_commit(rig->mvcc), 0);
    api_rig_applied(rig);
}

static void attach(api_rig_t *rig, const char *key, int64_t id)
{
    mvcc_put_t put = {.key = slice_str(key), .lease = id};
    bool existed = false;
    mvcc_entry_begin(rig->mvcc, ++rig->index, RIG_TERM);
    assert_int_equal(mvcc_put(rig->mvcc, &put, NULL, &existed), 0);
    mvcc_entry_end(rig->mvcc);
    assert_int_equal(mvcc_commit(rig->mvcc), 0);
    api_rig_applied(rig);
}

static Etcdserverpb__LeaseTimeToLiveResponse *time_to_live(api_rig_t *rig, int64_t id, bool keys,
                                                           int64_t ttl, int64_t granted)
{
    Etcdserverpb__LeaseTimeToLiveRequest request = ETCDSERVERPB__LEASE_TIME_TO_LIVE_REQUEST__INIT;
    request.id = id;
    request.keys = keys;
    uint64_t call = api_rig_unary(rig, METHOD_LEASE_TIME_TO_LIVE, &request);
    msg_lease_ask_t ask = expect_ask(rig, LEASE_OP_TIME_TO_LIVE);
    assert_int_equal(ask.id, id);
    answer(rig, &ask, API_NONE, ttl, granted);
    api_rig_turn(rig);
    return api_rig_expect_answer(rig, call, &etcdserverpb__lease_time_to_live_response__descriptor);
}

static void time_to_live_adds_keys_from_the_store(void **state)
{
    api_rig_t *rig = *state;
    grant(rig, 7);
    attach(rig, "a", 7);
    attach(rig, "b", 7);
    Etcdserverpb__LeaseTimeToLiveResponse *got = time_to_live(rig, 7, true, 59, 60);
    api_rig_expect_header(got->header, 3);
    assert_int_equal(got->id, 7);
    assert_int_equal(got->ttl, 59);
    assert_int_equal(got->grantedttl, 60);
    assert_int_equal(got->n_keys, 2);
    assert_memory_equal(got->keys[1].data, "b", 1);
    api_rig_free_message(got);
    got = time_to_live(rig, 7, false, 59, 60);
    assert_int_equal(got->n_keys, 0);
    api_rig_free_message(got);
}

static void an_unknown_lease_lives_minus_one_seconds(void **state)
{
    api_rig_t *rig = *state;
    Etcdserverpb__LeaseTimeToLiveResponse *got = time_to_live(rig, 8, true, -1, 0);
    assert_int_equal(got->ttl, -1);
    assert_int_equal(got->grantedttl, 0);
    assert_int_equal(got->id, 8);
    api_rig_free_message(got);
}

static void leases_are_listed_as_the_actor_sorts_them(void **state)
{
    api_rig_t *rig = *state;
    Etcdserverpb__LeaseLeasesRequest request = ETCDSERVERPB__LEASE_LEASES_REQUEST__INIT;
    uint64_t call = api_rig_unary(rig, METHOD_LEASE_LEASES, &request);
    msg_lease_ask_t ask = expect_ask(rig, LEASE_OP_LIST);
    msg_t *msg = msg_new(MSG_LEASE_ANSWER);
    msg->u.lease_answer.req_id = ask.req_id;
    msg->u.lease_answer.op = LEASE_OP_LIST;
    msg->u.lease_answer.ids = xcalloc(3, sizeof(int64_t));
    msg->u.lease_answer.ids[0] = 9;
    msg->u.lease_answer.ids[1] = -1;
    msg->u.lease_answer.ids[2] = 300;
    msg->u.lease_answer.id_count = 3;
    core_test_send(&rig->core, ACTOR_LEASE, &msg);
    api_rig_turn(rig);
    Etcdserverpb__LeaseLeasesResponse *got =
        api_rig_expect_answer(rig, call, &etcdserverpb__lease_leases_response__descriptor);
    api_rig_expect_header(got->header, 1);
    assert_int_equal(got->n_leases, 3);
    assert_int_equal(got->leases[0]->id, 9);
    assert_int_equal(got->leases[1]->id, -1);
    assert_int_equal(got->leases[2]->id, 300);
    api_rig_free_message(got);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_grant_gets_an_id_and_the_minimum_ttl),
        TEST(a_ttl_can_be_too_large),
        TEST(a_revoke_is_proposed),
        TEST(keepalives_are_answered_in_order),
        TEST(a_half_closed_stream_ends_with_its_last_answer),
        TEST(an_unanswered_keepalive_ends_its_stream),
        TEST(an_error_ends_the_stream),
        TEST(questions_wait_for_a_leader),
        TEST(the_list_needs_no_leader),
        TEST(a_cancelled_stream_asks_nothing_more),
        TEST(time_to_live_adds_keys_from_the_store),
        TEST(an_unknown_lease_lives_minus_one_seconds),
        TEST(leases_are_listed_as_the_actor_sorts_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
