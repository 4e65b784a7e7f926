/* api, the node itself: members, status, health, publication, the need for a leader, and stopping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <etcd/health.pb-c.h>
#include <etcd/raft_internal.pb-c.h>
#include <membership.pb-c.h>
#include <stdlib.h>

#include "messages/xalloc.h"
#include "tests/support/api_rig.h"

#define HEALTH_TYPE &grpc__health__v1__health_check_response__descriptor

enum { SERVING = 1, NOT_SERVING = 2, SERVICE_UNKNOWN = 3 };

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

/* ---- members, status ---- */

static void members_are_listed_by_id(void **state)
{
    api_rig_t *rig = *state;
    Quoral__ConfigurationMember members[3];
    Quoral__ConfigurationMember *pointers[3];
    for (uint64_t i = 0; i < 3; i++) {
        quoral__configuration_member__init(&members[i]);
        members[i].id = UINT64_C(0x9000000000000003) - i;
        members[i].learner = i == 1;
        pointers[i] = &members[i];
    }
    char *peers[] = {(char *)(uintptr_t) "http://a:2380", (char *)(uintptr_t) "http://b:2380"};
    members[0].name = (char *)(uintptr_t) "three";
    members[0].n_peer_urls = 2;
    members[0].peer_urls = peers;
    members[0].n_client_urls = 1;
    members[0].client_urls = peers;
    Quoral__Configuration configuration = QUORAL__CONFIGURATION__INIT;
    configuration.n_members = 3;
    configuration.members = pointers;
    uint8_t packed[256];
    size_t len = quoral__configuration__pack(&configuration, packed);
    mvcc_entry_begin(rig->mvcc, ++rig->index, RIG_TERM);
    assert_int_equal(mvcc_meta_put(rig->mvcc, "members", slice(packed, len)), 0);
    mvcc_entry_end(rig->mvcc);
    assert_int_equal(mvcc_commit(rig->mvcc), 0);
    api_rig_applied(rig);

    Etcdserverpb__MemberListRequest request = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    uint64_t call = api_rig_unary(rig, METHOD_MEMBER_LIST, &request);
    Etcdserverpb__MemberListResponse *got =
        api_rig_expect_answer(rig, call, &etcdserverpb__member_list_response__descriptor);
    api_rig_expect_header(got->header, 0); /* no revision */
    assert_int_equal(got->n_members, 3);
    assert_true(got->members[0]->id == UINT64_C(0x9000000000000001));
    assert_true(got->members[1]->id == UINT64_C(0x9000000000000002));
    assert_true(got->members[1]->islearner);
    assert_string_equal(got->members[0]->name, ""); /* never started */
    assert_string_equal(got->members[2]->name, "three");
    assert_int_equal(got->members[2]->n_peerurls, 2);
    assert_string_equal(got->members[2]->peerurls[1], "http://b:2380");
    assert_int_equal(got->members[2]->n_clienturls, 1);
    api_rig_free_message(got);
}

static void a_linearizable_list_waits_for_a_quorum(void **state)
{
    api_rig_t *rig = *state;
    Etcdserverpb__MemberListRequest request = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    request.linearizable = true;
    uint64_t call = api_rig_unary(rig, METHOD_MEMBER_LIST, &request);
    api_rig_expect_open(rig, call);
    api_rig_serve(rig);
    api_rig_free_message(
        api_rig_expect_answer(rig, call, &etcdserverpb__member_list_response__descriptor));
}

static Etcdserverpb__StatusResponse *status(api_rig_t *rig)
{
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    uint64_t call = api_rig_unary(rig, METHOD_STATUS, &request);
    return api_rig_expect_answer(rig, call, &etcdserverpb__status_response__descriptor);
}

static void status_tells_what_tools_need(void **state)
{
    api_rig_t *rig = *state;
    api_rig_put(rig, "a", "1");
    Etcdserverpb__StatusResponse *got = status(rig);
    api_rig_expect_header(got->header, 2);
    assert_string_equal(got->version, "3.7.1");
    assert_string_equal(got->storageversion, "3.7.0");
    assert_true(got->leader == RIG_MEMBER_ID);
    assert_true(got->raftterm == RIG_TERM);
    assert_int_equal(got->raftindex, rig->index);
    assert_int_equal(got->raftappliedindex, rig->index);
    assert_true(got->dbsize >= got->dbsizeinuse);
    assert_true(got->dbsizeinuse > 0);
    assert_int_equal(got->dbsizequota, 2147483648);
    assert_non_null(got->downgradeinfo);
    assert_false(got->downgradeinfo->enabled);
    assert_false(got->islearner);
    assert_int_equal(got->n_errors, 0);
    api_rig_free_message(got);
    api_rig_role(rig, ROLE_FOLLOWER, 0);
    got = status(rig);
    assert_int_equal(got->n_errors, 1);
    assert_string_equal(got->errors[0], "etcdserver: no leader");
    assert_true(got->leader == 0);
    api_rig_free_message(got);
}

static void there_are_no_alarms(void **state)
{
    api_rig_t *rig = *state;
    api_rig_put(rig, "a", "1");
    Etcdserverpb__AlarmRequest request = ETCDSERVERPB__ALARM_REQUEST__INIT;
    static const Etcdserverpb__AlarmRequest__AlarmAction answered[] = {
        ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__GET,
        ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE, /* of NONE: a no-op */
        ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE,
    };
    for (size_t i = 0; i < sizeof answered / sizeof *answered; i++) {
        request.action = answered[i];
        uint64_t call = api_rig_unary(rig, METHOD_ALARM, &request);
        api_rig_serve(rig);
        Etcdserverpb__AlarmResponse *got =
            api_rig_expect_answer(rig, call, &etcdserverpb__alarm_response__descriptor);
        api_rig_expect_header(got->header, 2);
        assert_int_equal(got->n_alarms, 0);
        api_rig_free_message(got);
    }
    request.action = ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE;
    request.alarm = ETCDSERVERPB__ALARM_TYPE__NOSPACE;
    uint64_t call = api_rig_unary(rig, METHOD_ALARM, &request);
    assert_true(rig->calls[call].finished);
    assert_int_equal(rig->calls[call].code, GRPC_UNIMPLEMENTED);
}

/* ---- health ---- */

static uint64_t health(api_rig_t *rig, method_t method, const char *service)
{
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    request.service = (char *)(uintptr_t)service;
    return api_rig_unary(rig, method, &request);
}

static void expect_health(api_rig_t *rig, uint64_t call, int expected)
{
    Grpc__Health__V1__HealthCheckResponse *got = api_rig_next(rig, call, HEALTH_TYPE);
    assert_int_equal(got->status, expected);
    api_rig_free_message(got);
}

static void health_is_that_of_the_member(void **state)
{
    (void)state;
    api_rig_t *rig = api_rig_new(NULL);
    expect_health(rig, health(rig, METHOD_HEALTH_CHECK, ""), NOT_SERVING);
    uint64_t watcher = health(rig, METHOD_HEALTH_WATCH, "");
    expect_health(rig, watcher, NOT_SERVING);
    uint64_t other = health(rig, METHOD_HEALTH_WATCH, "other");
    expect_health(rig, other, SERVICE_UNKNOWN);
    api_rig_ready(rig);
    api_rig_turn(rig);
    expect_health(rig, watcher, SERVING);
    api_rig_expect_open(rig, watcher);
    api_rig_expect_open(rig, other);
    expect_health(rig, health(rig, METHOD_HEALTH_CHECK, ""), SERVING);
    uint64_t call = health(rig, METHOD_HEALTH_CHECK, "other");
    assert_int_equal(rig->calls[call].code, GRPC_NOT_FOUND);
    assert_string_equal(rig->calls[call].text, "unknown service");
    Grpc__Health__V1__HealthListRequest request = GRPC__HEALTH__V1__HEALTH_LIST_REQUEST__INIT;
    Grpc__Health__V1__HealthListResponse *list =
        api_rig_next(rig, api_rig_unary(rig, METHOD_HEALTH_LIST, &request),
                     &grpc__health__v1__health_list_response__descriptor);
    assert_int_equal(list->n_statuses, 1);
    assert_string_equal(list->statuses[0]->service, "");
    assert_int_equal(list->statuses[0]->status->status, SERVING);
    api_rig_free_message(list);
    api_rig_free(&rig);
}

/* ---- publication ---- */

static proposal_t expect_own_proposal(api_rig_t *rig, Etcdserverpb__InternalRaftRequest **entry)
{
    msg_t *msg = core_test_expect(&rig->core, ACTOR_REPLICATOR, MSG_PROPOSE);
    assert_int_equal(msg->u.propose.count, 1);
    proposal_t proposal = msg->u.propose.items[0];
    slice_t payload = bytes_slice(proposal.payload);
    *entry = etcdserverpb__internal_raft_request__unpack(NULL, payload.len, payload.data);
    assert_non_null(*entry);
    msg_free(&msg);
    return proposal;
}

static void result(api_rig_t *rig, uint64_t req_id)
{
    msg_t *msg = msg_new(MSG_RESULT);
    msg->u.result.count = 1;
    msg->u.result.items = xcalloc(1, sizeof(result_t));
    msg->u.result.items[0] = (result_t){.req_id = req_id, .revision = 1};
    core_test_send(&rig->core, ACTOR_APPLIER, &msg);
}

static void set_meta(api_rig_t *rig, const char *name, slice_t value)
{
    mvcc_entry_begin(rig->mvcc, ++rig->index, RIG_TERM);
    assert_int_equal(mvcc_meta_put(rig->mvcc, name, value), 0);
    mvcc_entry_end(rig->mvcc);
    assert_int_equal(mvcc_commit(rig->mvcc), 0);
    rig->members_index = rig->index;
    api_rig_applied(rig);
}

static void a_member_makes_itself_known_before_it_serves(void **state)
{
    (void)state;
    api_rig_t *rig = api_rig_new(&(rig_options_t){.unpublished = true});
    api_rig_ready(rig);
    assert_false(api_status(rig->api).serving);
    Etcdserverpb__InternalRaftRequest *entry = NULL;
    proposal_t proposal = expect_own_proposal(rig, &entry);
    assert_non_null(entry->cluster_member_attr_set);
    assert_true(entry->cluster_member_attr_set->member_id == RIG_MEMBER_ID);
    const Etcdserverpb__MemberAttributes *attributes =
        entry->cluster_member_attr_set->member_attributes;
    assert_string_equal(attributes->name, "m1");
    assert_int_equal(attributes->n_client_urls, 1);
    assert_string_equal(attributes->client_urls[0], "http://127.0.0.1:2379");
    etcdserverpb__internal_raft_request__free_unpacked(entry, NULL);

    /* Applied: members {id, name, client_urls} as the applier projects them. */
    Quoral__ConfigurationMember member = QUORAL__CONFIGURATION_MEMBER__INIT;
    Quoral__ConfigurationMember *members[] = {&member};
    char *urls[] = {(char *)(uintptr_t) "http://127.0.0.1:2379"};
    member.id = RIG_MEMBER_ID;
    member.name = (char *)(uintptr_t) "m1";
    member.n_client_urls = 1;
    member.client_urls = urls;
    Quoral__Configuration configuration = QUORAL__CONFIGURATION__INIT;
    configuration.n_members = 1;
    configuration.members = members;
    uint8_t packed[128];
    size_t len = quoral__configuration__pack(&configuration, packed);
    set_meta(rig, "members", slice(packed, len));
    result(rig, proposal.req_id);
    api_rig_turn(rig);
    assert_true(api_status(rig->api).serving);

    /* The leader sets the cluster's version as well. */
    proposal = expect_own_proposal(rig, &entry);
    assert_non_null(entry->cluster_version_set);
    assert_string_equal(entry->cluster_version_set->ver, "3.7.0");
    etcdserverpb__internal_raft_request__free_unpacked(entry, NULL);
    set_meta(rig, "cluster_version", slice_str("3.7.0"));
    result(rig, proposal.req_id);
    api_rig_turn(rig);
    core_test_expect_nothing(&rig->core);
    assert_int_equal(api_ops.deadline(rig->api), DEADLINE_NONE);
    api_rig_free(&rig);
}

static void publication_is_tried_again_after_a_timeout(void **state)
{
    (void)state;
    api_rig_t *rig = api_rig_new(&(rig_options_t){.unpublished = true});
    api_rig_ready(rig);
    Etcdserverpb__InternalRaftRequest *entry = NULL;
    expect_own_proposal(rig, &entry);
    etcdserverpb__internal_raft_request__free_unpacked(entry, NULL);
    api_rig_put(rig, "a", "1"); /* others' entries change nothing */
    api_rig_turn(rig);
    core_test_expect_nothing(&rig->core);
    uint64_t due = api_ops.deadline(rig->api);
    assert_int_equal(due, rig->core.now_us + 7000000);
    rig->core.now_us = due;
    api_rig_turn(rig);
    proposal_t proposal = expect_own_proposal(rig, &entry);
    etcdserverpb__internal_raft_request__free_unpacked(entry, NULL);

    /* Refused: soon again, but not at once. */
    msg_t *msg = msg_new(MSG_REJECTED);
    msg->u.refusal.count = 1;
    msg->u.refusal.req_ids = xcalloc(1, sizeof(uint64_t));
    msg->u.refusal.req_ids[0] = proposal.req_id;
    msg->u.refusal.error = API_TOO_MANY_REQUESTS;
    core_test_send(&rig->core, ACTOR_REPLICATOR, &msg);
    api_rig_turn(rig);
    core_test_expect_nothing(&rig->core);
    due = api_ops.deadline(rig->api);
    assert_true(due > rig->core.now_us && due < rig->core.now_us + 1000000);
    rig->core.now_us = due;
    api_rig_turn(rig);
    expect_own_proposal(rig, &entry);
    etcdserverpb__internal_raft_request__free_unpacked(entry, NULL);
    api_rig_free(&rig);
}

static void a_follower_leaves_the_version_to_the_leader(void **state)
{
    (void)state;
    api_rig_t *rig = api_rig_new(NULL);
    set_meta(rig, "cluster_version", slice_str("3.6.0"));
    api_rig_role(rig, ROLE_FOLLOWER, 99);
    api_rig_restored(rig);
    api_rig_turn(rig);
    core_test_expect_nothing(&rig->core);
    assert_true(api_status(rig->api).serving);
    api_rig_role(rig, ROLE_LEADER, RIG_MEMBER_ID);
    api_rig_turn(rig);
    Etcdserverpb__InternalRaftRequest *entry = NULL;
    expect_own_proposal(rig, &entry);
    assert_non_null(entry->cluster_version_set);
    etcdserverpb__internal_raft_request__free_unpacked(entry, NULL);
    api_rig_free(&rig);
}

/* ---- leaders ---- */

static uint64_t begin(api_rig_t *rig, method_t method, unsigned flags)
{
    api_call_t info = {.method = method, .deadline_us = DEADLINE_NONE, .flags = flags};
    uint64_t call = ++rig->last_call;
    api_call_begin(rig->api, call, &info, rig->core.now_us);
    return call;
}

static void calls_may_require_a_leader(void **state)
{
    api_rig_t *rig = *state;
    uint64_t wants = begin(rig, METHOD_WATCH, CALL_REQUIRE_LEADER);
    uint64_t indifferent = begin(rig, METHOD_WATCH, 0);
    api_rig_role(rig, ROLE_FOLLOWER, 0);
    api_rig_turn(rig);
    api_rig_expect_error(rig, begin(rig, METHOD_RANGE, CALL_REQUIRE_LEADER), API_NO_LEADER);
    api_rig_expect_error(rig, begin(rig, METHOD_WATCH, CALL_REQUIRE_LEADER), API_NO_LEADER);
    api_rig_expect_open(rig, begin(rig, METHOD_WATCH, 0));
    /* Open streams live three election timeouts longer. */
    assert_int_equal(api_ops.deadline(rig->api), rig->core.now_us + 3000000);
    rig->core.now_us += 2999999;
    api_rig_turn(rig);
    api_rig_expect_open(rig, wants);
    rig->core.now_us += 1;
    api_rig_turn(rig);
    api_rig_expect_error(rig, wants, API_NO_LEADER);
    api_rig_expect_open(rig, indifferent);
    assert_int_equal(api_ops.deadline(rig->api), DEADLINE_NONE);
}

static void a_leader_in_time_keeps_the_stream(void **state)
{
    api_rig_t *rig = *state;
    uint64_t call = begin(rig, METHOD_WATCH, CALL_REQUIRE_LEADER);
    api_rig_role(rig, ROLE_FOLLOWER, 0);
    rig->core.now_us += 2000000;
    api_rig_role(rig, ROLE_FOLLOWER, 99);
    rig->core.now_us += 2000000;
    api_rig_turn(rig);
    api_rig_expect_open(rig, call);
}

/* ---- stopping ---- */

static void stop(api_rig_t *rig)
{
    msg_t *msg = msg_new(MSG_STOP);
    core_test_send(&rig->core, ACTOR_NONE, &msg);
}

static void an_idle_api_stops_at_once(void **state)
{
    api_rig_t *rig = *state;
    stop(rig);
    api_rig_turn(rig);
    assert_true(outbox_is_stopped(rig->core.outbox));
    assert_int_equal(api_ops.deadline(rig->api), DEADLINE_NONE);
}

static void stopping_ends_streams_and_gives_requests_time(void **state)
{
    api_rig_t *rig = *state;
    uint64_t stream = begin(rig, METHOD_WATCH, 0);
    uint64_t checker = health(rig, METHOD_HEALTH_WATCH, "");
    expect_health(rig, checker, SERVING);
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = rig_text("a");
    uint64_t quick = api_rig_unary(rig, METHOD_PUT, &put);
    uint64_t slow = api_rig_unary(rig, METHOD_PUT, &put);
    msg_t *msg = core_test_expect(&rig->core, ACTOR_REPLICATOR, MSG_PROPOSE);
    uint64_t req_id = msg->u.propose.items[0].req_id;
    msg_free(&msg);
    msg = core_test_expect(&rig->core, ACTOR_REPLICATOR, MSG_PROPOSE);
    msg_free(&msg);
    stop(rig);
    api_rig_turn(rig);
    api_rig_expect_error(rig, stream, API_STOPPED);
    api_rig_expect_error(rig, checker, API_STOPPED);
    api_rig_expect_error(rig, begin(rig, METHOD_RANGE, 0), API_STOPPED);
    assert_false(outbox_is_stopped(rig->core.outbox));
    rig->core.now_us += 499999;
    result(rig, req_id);
    api_rig_turn(rig);
    api_rig_free_message(
        api_rig_expect_answer(rig, quick, &etcdserverpb__put_response__descriptor));
    api_rig_expect_open(rig, slow);
    assert_int_equal(api_ops.deadline(rig->api), rig->core.now_us + 1);
    rig->core.now_us += 1;
    api_rig_turn(rig);
    api_rig_expect_error(rig, slow, API_STOPPED);
    assert_true(outbox_is_stopped(rig->core.outbox));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(members_are_listed_by_id),
        TEST(a_linearizable_list_waits_for_a_quorum),
        TEST(status_tells_what_tools_need),
        TEST(there_are_no_alarms),
        cmocka_unit_test(health_is_that_of_the_member),
        cmocka_unit_test(a_member_makes_itself_known_before_it_serves),
        cmocka_unit_test(publication_is_tried_again_after_a_timeout),
        cmocka_unit_test(a_follower_leaves_the_version_to_the_leader),
        TEST(calls_may_require_a_leader),
        TEST(a_leader_in_time_keeps_the_stream),
        TEST(an_idle_api_stops_at_once),
        TEST(stopping_ends_streams_and_gives_requests_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
