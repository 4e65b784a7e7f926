/* api: handing the leadership over, and hashes of the store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "messages/xalloc.h"
#include "tests/support/api_rig.h"

#define HASH_TYPE    &etcdserverpb__hash_response__descriptor
#define HASH_KV_TYPE &etcdserverpb__hash_kvresponse__descriptor

enum { SECOND_US = 1000000 };

/* The rig's member leads; 1 votes, 2 learns. */
static const rig_member_t members[] = {{.name = "m1", .peer_url = "http://127.0.0.1:2380"},
                                       {.id = 1, .name = "one", .peer_url = "http://a:1"},
                                       {.id = 2, .peer_url = "http://a:2", .learner = true}};

static int setup(void **state)
{
    api_rig_t *rig = api_rig_new_ready();
    api_rig_members(rig, members, 3);
    api_rig_turn(rig);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    api_rig_free((api_rig_t **)state);
    return 0;
}

/* ---- leadership ---- */

static uint64_t move(api_rig_t *rig, uint64_t target)
{
    Etcdserverpb__MoveLeaderRequest request = ETCDSERVERPB__MOVE_LEADER_REQUEST__INIT;
    request.targetid = target;
    return api_rig_unary(rig, METHOD_MOVE_LEADER, &request);
}

static uint64_t expect_transfer(api_rig_t *rig, uint64_t target)
{
    msg_t *msg = core_test_expect(&rig->core, ACTOR_REPLICATOR, MSG_TRANSFER);
    assert_true(msg->u.transfer.target == target);
    uint64_t req_id = msg->u.transfer.req_id;
    assert_true(req_id != 0);
    msg_free(&msg);
    core_test_expect_nothing(&rig->core);
    return req_id;
}

/* Without a header, even (contract section 2). */
static void expect_moved(api_rig_t *rig, uint64_t call)
{
    assert_true(rig->calls[call].finished);
    assert_int_equal(rig->calls[call].code, GRPC_OK);
    assert_int_equal(rig->calls[call].count, 1);
    assert_int_equal(bytes_len(rig->calls[call].messages[0]), 0);
}

static void the_leadership_has_moved_when_the_target_leads(void **state)
{
    api_rig_t *rig = *state;
    uint64_t call = move(rig, 1);
    expect_transfer(rig, 1);
    uint64_t again = move(rig, 1); /* what comes of it is for the replicator to say */
    expect_transfer(rig, 1);
    api_rig_expect_open(rig, call);
    api_rig_role(rig, ROLE_FOLLOWER, 0);
    api_rig_expect_open(rig, call);
    api_rig_role(rig, ROLE_FOLLOWER, 1);
    expect_moved(rig, call);
    expect_moved(rig, again);
    api_rig_expect_error(rig, move(rig, 1), API_NOT_LEADER);
}

static void who_may_lead(void **state)
{
    api_rig_t *rig = *state;
    api_rig_expect_error(rig, move(rig, 0), API_BAD_LEADER_TRANSFEREE);
    api_rig_expect_error(rig, move(rig, 2), API_BAD_LEADER_TRANSFEREE); /* it learns */
    api_rig_expect_error(rig, move(rig, 3), API_BAD_LEADER_TRANSFEREE);
    expect_moved(rig, move(rig, RIG_MEMBER_ID)); /* it does already */
    api_rig_role(rig, ROLE_FOLLOWER, 0);
    api_rig_expect_error(rig, move(rig, 1), API_NOT_LEADER);
    uint64_t call = api_rig_begin(rig, METHOD_MOVE_LEADER);
    api_rig_send_bytes(rig, call, "\x08", 1);
    assert_int_equal(rig->calls[call].code, GRPC_INTERNAL);
    core_test_expect_nothing(&rig->core);
}

static void a_transfer_that_fails_says_why(void **state)
{
    api_rig_t *rig = *state;
    static const struct {
        api_error_t told, seen;
    } cases[] = {{API_TIMEOUT, API_TIMEOUT_LEADER_TRANSFER},
                 {API_NOT_LEADER, API_NOT_LEADER},
                 {API_BAD_LEADER_TRANSFEREE, API_BAD_LEADER_TRANSFEREE},
                 {API_TOO_MANY_REQUESTS, API_TOO_MANY_REQUESTS}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t call = move(rig, 1);
        msg_t *msg = msg_new(MSG_REJECTED);
        msg->u.refusal.count = 1;
        msg->u.refusal.req_ids = xcalloc(1, sizeof(uint64_t));
        msg->u.refusal.req_ids[0] = expect_transfer(rig, 1);
        msg->u.refusal.error = cases[i].told;
        core_test_send(&rig->core, ACTOR_REPLICATOR, &msg);
        api_rig_expect_error(rig, call, cases[i].seen);
    }
    assert_int_equal(metrics_get(&rig->metrics, METRIC_PROPOSALS_FAILED), 0);
}

static void a_transfer_takes_no_longer_than_a_request_may(void **state)
{
    api_rig_t *rig = *state;
    uint64_t call = move(rig, 1);
    expect_transfer(rig, 1);
    rig->core.now_us += 7 * SECOND_US;
    api_rig_turn(rig);
    api_rig_expect_error(rig, call, API_TIMEOUT_LEADER_TRANSFER);
    assert_int_equal(rig->calls[call].code, GRPC_UNKNOWN);
    assert_string_equal(rig->calls[call].text,
                        "etcdserver: request timed out, leader transfer took too long");
    api_rig_role(rig, ROLE_FOLLOWER, 1); /* too late */
    api_rig_turn(rig);
}

static void without_room_on_the_edge_nothing_is_asked(void **state)
{
    api_rig_t *rig = *state;
    actor_id_t to = ACTOR_NONE;
    while (outbox_room(rig->core.outbox, ACTOR_REPLICATOR)) {
        move(rig, 1);
        msg_t *msg = outbox_take(rig->core.outbox, &to); /* gives no credit back */
        assert_non_null(msg);
        msg_free(&msg);
        api_call_cancel(rig->api, rig->last_call--);
        rig->calls[rig->last_call + 1].finished = false;
    }
    api_rig_expect_error(rig, move(rig, 1), API_TOO_MANY_REQUESTS);
}

/* ---- hashes ---- */

static uint64_t hash_kv(api_rig_t *rig, int64_t revision)
{
    Etcdserverpb__HashKVRequest request = ETCDSERVERPB__HASH_KVREQUEST__INIT;
    request.revision = revision;
    return api_rig_unary(rig, METHOD_HASH_KV, &request);
}

static void hashed(api_rig_t *rig, const msg_hash_t *hash)
{
    msg_t *msg = msg_new(MSG_HASHED);
    msg->u.hash = *hash;
    core_test_send(&rig->core, ACTOR_KEEPER, &msg);
    api_rig_turn(rig);
}

static uint64_t expect_hash(api_rig_t *rig, int64_t revision)
{
    msg_t *msg = core_test_expect(&rig->core, ACTOR_KEEPER, MSG_HASH);
    assert_int_equal(msg->u.hash.revision, revision);
    uint64_t req_id = msg->u.hash.req_id;
    msg_free(&msg);
    core_test_expect_nothing(&rig->core);
    return req_id;
}

static void the_keeper_hashes(void **state)
{
    api_rig_t *rig = *state;
    uint64_t call = hash_kv(rig, 5);
    msg_hash_t hash = {.req_id = expect_hash(rig, 5),
                       .revision = 5,
                       .hash = 0xfedcba98,
                       .compacted = -1,
                       .current = 9};
    rig->core.now_us += 3 * SECOND_US;
    hashed(rig, &hash);
    Etcdserverpb__HashKVResponse *got = api_rig_expect_answer(rig, call, HASH_KV_TYPE);
    api_rig_expect_header(got->header, 9);
    assert_true(got->hash == 0xfedcba98);
    assert_int_equal(got->compact_revision, -1);
    assert_int_equal(got->hash_revision, 5);
    api_rig_free_message(got);
    assert_int_equal(core_test_observed_sum(&rig->metrics, HISTOGRAM_HASH_REVISION), 3 * SECOND_US);
    assert_int_equal(core_test_observed(&rig->metrics, HISTOGRAM_HASH), 0);
}

static void the_hash_of_the_store_is_that_of_its_keys(void **state)
{
    api_rig_t *rig = *state;
    Etcdserverpb__HashRequest request = ETCDSERVERPB__HASH_REQUEST__INIT;
    uint64_t call = api_rig_unary(rig, METHOD_HASH, &request);
    msg_hash_t hash = {
        .req_id = expect_hash(rig, 0), .revision = 9, .hash = 7, .compacted = 3, .current = 9};
    hashed(rig, &hash);
    Etcdserverpb__HashResponse *got = api_rig_expect_answer(rig, call, HASH_TYPE);
    api_rig_expect_header(got->header, 9);
    assert_int_equal(got->hash, 7);
    api_rig_free_message(got);
    assert_int_equal(core_test_observed(&rig->metrics, HISTOGRAM_HASH), 1);
}

static void a_hash_has_no_time_of_its_own(void **state)
{
    api_rig_t *rig = *state;
    uint64_t call = hash_kv(rig, 0);
    uint64_t req_id = expect_hash(rig, 0);
    assert_int_equal(api_ops.deadline(rig->api), DEADLINE_NONE);
    rig->core.now_us += 3600 * (uint64_t)SECOND_US;
    api_rig_turn(rig);
    api_rig_expect_open(rig, call);
    api_call_cancel(rig->api, call);
    hashed(rig, &(msg_hash_t){.req_id = req_id, .revision = 1});
    static const api_error_t errors[] = {API_COMPACTED, API_FUTURE_REVISION, API_TOO_MANY_REQUESTS};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        call = hash_kv(rig, 4);
        hashed(rig, &(msg_hash_t){.req_id = expect_hash(rig, 4), .error = errors[i]});
        api_rig_expect_error(rig, call, errors[i]);
    }
    static const method_t methods[] = {METHOD_HASH, METHOD_HASH_KV};
    for (size_t i = 0; i < 2; i++) {
        call = api_rig_begin(rig, methods[i]);
        api_rig_send_bytes(rig, call, "\x08", 1);
        assert_int_equal(rig->calls[call].code, GRPC_INTERNAL);
    }
}

static void hashes_beyond_the_edge_are_refused(void **state)
{
    api_rig_t *rig = *state;
    actor_id_t to = ACTOR_NONE;
    size_t sent = 0;
    while (outbox_room(rig->core.outbox, ACTOR_KEEPER)) {
        hash_kv(rig, 0);
        msg_t *msg = outbox_take(rig->core.outbox, &to); /* gives no credit back */
        assert_int_equal(msg->kind, MSG_HASH);
        msg_free(&msg);
        sent++;
    }
    assert_int_equal(sent, 64);
    api_rig_expect_error(rig, hash_kv(rig, 0), API_TOO_MANY_REQUESTS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_leadership_has_moved_when_the_target_leads),
        TEST(who_may_lead),
        TEST(a_transfer_that_fails_says_why),
        TEST(a_transfer_takes_no_longer_than_a_request_may),
        TEST(without_room_on_the_edge_nothing_is_asked),
        TEST(the_keeper_hashes),
        TEST(the_hash_of_the_store_is_that_of_its_keys),
        TEST(a_hash_has_no_time_of_its_own),
        TEST(hashes_beyond_the_edge_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
