/* api, the Cluster service: what is refused before it is proposed, what is proposed, what the answer shows;
 * and what a learner serves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <etcd/health.pb-c.h>
#include <membership.pb-c.h>
#include <stdio.h>
#include <stdlib.h>

#include "messages/limits.h"
#include "messages/xalloc.h"
#include "tests/support/api_rig.h"

#define ADD_TYPE  &etcdserverpb__member_add_response__descriptor
#define LIST_TYPE &etcdserverpb__member_list_response__descriptor

enum { SECOND_US = 1000000 };

static const rig_member_t me = {.name = "m1", .peer_url = "http://127.0.0.1:2380"};

static int setup(void **state)
{
    *state = api_rig_new_ready();
    return 0;
}

static int setup_loose(void **state)
{
    api_rig_t *rig = api_rig_new(&(rig_options_t){.loose_changes = true});
    api_rig_ready(rig);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    api_rig_free((api_rig_t **)state);
    return 0;
}

/* ---- requests ---- */

static uint64_t add_some(api_rig_t *rig, const char *const *urls, size_t count, bool learner)
{
    Etcdserverpb__MemberAddRequest request = ETCDSERVERPB__MEMBER_ADD_REQUEST__INIT;
    request.n_peerurls = count;
    request.peerurls = (char **)(uintptr_t)urls;
    request.islearner = learner;
    return api_rig_unary(rig, METHOD_MEMBER_ADD, &request);
}

static uint64_t add(api_rig_t *rig, const char *url, bool learner)
{
    return add_some(rig, &url, 1, learner);
}

static uint64_t update(api_rig_t *rig, uint64_t id, const char *url)
{
    Etcdserverpb__MemberUpdateRequest request = ETCDSERVERPB__MEMBER_UPDATE_REQUEST__INIT;
    request.id = id;
    request.n_peerurls = 1;
    request.peerurls = (char **)(uintptr_t)&url;
    return api_rig_unary(rig, METHOD_MEMBER_UPDATE, &request);
}

static uint64_t drop(api_rig_t *rig, uint64_t id)
{
    Etcdserverpb__MemberRemoveRequest request = ETCDSERVERPB__MEMBER_REMOVE_REQUEST__INIT;
    request.id = id;
    return api_rig_unary(rig, METHOD_MEMBER_REMOVE, &request);
}

static uint64_t promote(api_rig_t *rig, uint64_t id)
{
    Etcdserverpb__MemberPromoteRequest request = ETCDSERVERPB__MEMBER_PROMOTE_REQUEST__INIT;
    request.id = id;
    return api_rig_unary(rig, METHOD_MEMBER_PROMOTE, &request);
}

/* The one change that has been proposed; freed by the caller. */
static Quoral__MembershipChange *proposed(api_rig_t *rig)
{
    msg_t *msg = core_test_expect(&rig->core, ACTOR_REPLICATOR, MSG_PROPOSE);
    assert_int_equal(msg->u.propose.count, 1);
    assert_int_equal(msg->u.propose.expect_term, 0);
    const proposal_t *proposal = &msg->u.propose.items[0];
    assert_int_equal(proposal->type, ENTRY_CONFIGURATION);
    slice_t payload = bytes_slice(proposal->payload);
    Quoral__MembershipChange *change =
        quoral__membership_change__unpack(NULL, payload.len, payload.data);
    assert_non_null(change);
    assert_true(change->origin == RIG_ORIGIN);
    assert_true(change->request_id == proposal->req_id);
    assert_non_null(change->member);
    msg_free(&msg);
    return change;
}

static uint64_t take_proposed(api_rig_t *rig)
{
    Quoral__MembershipChange *change = proposed(rig);
    uint64_t request_id = change->request_id;
    quoral__membership_change__free_unpacked(change, NULL);
    core_test_expect_nothing(&rig->core);
    return request_id;
}

static void applied(api_rig_t *rig, uint64_t req_id)
{
    msg_t *msg = msg_new(MSG_RESULT);
    msg->u.result.count = 1;
    msg->u.result.items = xcalloc(1, sizeof(result_t));
    msg->u.result.items[0] = (result_t){.req_id = req_id, .revision = 5};
    core_test_send(&rig->core, ACTOR_APPLIER, &msg);
    api_rig_turn(rig);
}

static void refused(api_rig_t *rig, uint64_t req_id, api_error_t error)
{
    msg_t *msg = msg_new(MSG_REJECTED);
    msg->u.refusal.count = 1;
    msg->u.refusal.req_ids = xcalloc(1, sizeof(uint64_t));
    msg->u.refusal.req_ids[0] = req_id;
    msg->u.refusal.error = error;
    core_test_send(&rig->core, ACTOR_REPLICATOR, &msg);
    api_rig_turn(rig);
}

static void peer_is(api_rig_t *rig, uint64_t member, bool active)
{
    msg_t *msg = msg_new(MSG_PEER_STATUS);
    msg->u.peer_status =
        (msg_peer_status_t){.member = member, .is_active = active, .since_us = rig->core.now_us};
    core_test_send(&rig->core, ACTOR_PEER, &msg);
}

/* Members 1 to `voters` - 1 beside the rig's own, of which `started` have a name, then learners. */
static void cluster(api_rig_t *rig, size_t voters, size_t started, size_t learners)
{
    rig_member_t members[16] = {me};
    char urls[16][32];
    assert_true(voters + learners <= 16);
    for (size_t i = 1; i < voters + learners; i++) {
        snprintf(urls[i], sizeof urls[i], "http://127.0.0.1:%zu", 3000 + i);
        members[i] = (rig_member_t){.id = i,
                                    .name = i < started ? "other" : NULL,
                                    .peer_url = urls[i],
                                    .learner = i >= voters};
    }
    api_rig_members(rig, members, voters + learners);
    api_rig_turn(rig);
}

/* ---- the way of a change ---- */

static void a_member_that_is_added_is_in_the_answer(void **state)
{
    api_rig_t *rig = *state;
    rig->core.now_us = 3 * SECOND_US + 999999;
    static const char *const urls[] = {"http://10.0.0.2:2380", " HTTP://10.0.0.1:2380"};
    uint64_t call = add_some(rig, urls, 2, true);
    Quoral__MembershipChange *change = proposed(rig);
    assert_int_equal(change->kind, QUORAL__MEMBERSHIP_CHANGE__KIND__ADD);
    /* SHA-1 of "http://10.0.0.1:2380http://10.0.0.2:23801700000003" */
    assert_true(change->member->id == UINT64_C(0x0ee2aafe00f68538));
    assert_true(change->member->learner);
    assert_int_equal(change->member->n_peer_urls, 2);
    assert_string_equal(change->member->peer_urls[0], "http://10.0.0.1:2380");
    assert_string_equal(change->member->peer_urls[1], "http://10.0.0.2:2380");
    api_rig_expect_open(rig, call);

    rig_member_t members[] = {
        me,
        {.id = 5, .name = "m5", .peer_url = "http://10.0.0.5:2380"},
        {.id = change->member->id, .peer_url = "http://10.0.0.1:2380", .learner = true}};
    api_rig_members(rig, members, 3);
    applied(rig, change->request_id);
    Etcdserverpb__MemberAddResponse *got = api_rig_expect_answer(rig, call, ADD_TYPE);
    api_rig_expect_header(got->header, 0); /* no revision */
    assert_non_null(got->member);
    assert_true(got->member->id == change->member->id);
    assert_true(got->member->islearner);
    assert_string_equal(got->member->name, "");
    assert_int_equal(got->member->n_peerurls, 2);
    assert_string_equal(got->member->peerurls[1], "http://10.0.0.2:2380");
    assert_int_equal(got->n_members, 3);
    assert_true(got->members[0]->id == 5);
    assert_string_equal(got->members[0]->name, "m5");
    api_rig_free_message(got);
    quoral__membership_change__free_unpacked(change, NULL);
    core_test_expect_nothing(&rig->core);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_PROPOSALS_FAILED), 0);
}

static void each_change_names_its_member(void **state)
{
    api_rig_t *rig = *state;
    cluster(rig, 2, 2, 1);
    const struct {
        uint64_t call;
        int kind;
        uint64_t member;
    } cases[] = {{drop(rig, 2), QUORAL__MEMBERSHIP_CHANGE__KIND__REMOVE, 2},
                 {update(rig, 1, "not even a URL"), QUORAL__MEMBERSHIP_CHANGE__KIND__UPDATE, 1},
                 {promote(rig, 2), QUORAL__MEMBERSHIP_CHANGE__KIND__PROMOTE, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Quoral__MembershipChange *change = proposed(rig);
        assert_int_equal(change->kind, cases[i].kind);
        assert_true(change->member->id == cases[i].member);
        bool updates = cases[i].kind == QUORAL__MEMBERSHIP_CHANGE__KIND__UPDATE;
        assert_int_equal(change->member->n_peer_urls, updates);
        if (updates) {
            assert_string_equal(change->member->peer_urls[0], "not even a URL");
        }
        applied(rig, change->request_id);
        quoral__membership_change__free_unpacked(change, NULL);
        Etcdserverpb__MemberListResponse *got =
            api_rig_expect_answer(rig, cases[i].call, LIST_TYPE);
        api_rig_expect_header(got->header, 0);
        assert_int_equal(got->n_members, 3);
        api_rig_free_message(got);
    }
}

static void what_the_leader_finds_reaches_the_client(void **state)
{
    api_rig_t *rig = *state;
    cluster(rig, 2, 2, 1);
    static const api_error_t errors[] = {
        API_MEMBER_EXISTS,      API_PEER_URL_EXISTS,   API_TOO_MANY_LEARNERS, API_MEMBER_NOT_FOUND,
        API_MEMBER_NOT_LEARNER, API_LEARNER_NOT_READY, API_TOO_MANY_REQUESTS};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        uint64_t call = promote(rig, 2);
        refused(rig, take_proposed(rig), errors[i]);
        api_rig_expect_error(rig, call, errors[i]);
    }
}

/* The others send nothing more to who is removed: it hears of it from peer, and ends. */
static void who_removes_a_member_through_itself_has_an_answer(void **state)
{
    api_rig_t *rig = *state;
    cluster(rig, 3, 3, 0);
    api_rig_role(rig, ROLE_FOLLOWER, 1);
    uint64_t other = drop(rig, 99);
    uint64_t first = take_proposed(rig);
    for (uint64_t id = 1; id < 3; id++) {
        peer_is(rig, id, true);
    }
    rig->core.now_us += 6 * SECOND_US;
    uint64_t call = drop(rig, RIG_MEMBER_ID);
    uint64_t req_id = take_proposed(rig);
    peer_is(rig, RIG_MEMBER_ID, false);
    api_rig_turn(rig);
    Etcdserverpb__MemberListResponse *got = api_rig_expect_answer(rig, call, LIST_TYPE);
    assert_int_equal(got->n_members, 2);
    assert_true(got->members[0]->id == 1 && got->members[1]->id == 2);
    api_rig_free_message(got);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_PROPOSALS_FAILED), 0);
    api_rig_expect_open(rig, other);
    applied(rig, req_id); /* if it did come after all */
    refused(rig, first, API_MEMBER_NOT_FOUND);
    api_rig_expect_error(rig, other, API_MEMBER_NOT_FOUND);
}

static void a_change_waits_for_a_leader_like_any_proposal(void **state)
{
    api_rig_t *rig = *state;
    uint64_t call = add(rig, "http://10.0.0.2:2380", true);
    uint64_t first = take_proposed(rig);
    refused(rig, first, API_NO_LEADER);
    core_test_expect_nothing(&rig->core);
    api_rig_role(rig, ROLE_FOLLOWER, 99);
    api_rig_turn(rig);
    assert_int_equal(take_proposed(rig), first);
    api_rig_expect_open(rig, call);
    rig->core.now_us += 7 * SECOND_US;
    api_rig_turn(rig);
    assert_true(rig->calls[call].finished);
    assert_int_equal(rig->calls[call].code, GRPC_UNAVAILABLE);
    applied(rig, first); /* nobody waits any more */
}

/* ---- what is no request for a change ---- */

static void urls_of_a_new_member_are_checked(void **state)
{
    api_rig_t *rig = *state;
    static const char *const bad[] = {"",           "10.0.0.2:2380", "ftp://10.0.0.2:2380",
                                      "http://a",   "http://a:1/p",  "http://a:1,http://b:1",
                                      "http://a:x", "http://a b:1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *const urls[] = {"http://10.0.0.2:2380", bad[i]};
        api_rig_expect_error(rig, add_some(rig, urls, 2, true), API_MEMBER_BAD_URLS);
    }
    api_rig_expect_error(rig, add_some(rig, NULL, 0, true), API_MEMBER_BAD_URLS);
    const char *many[LIMIT_URLS + 1];
    for (size_t i = 0; i <= LIMIT_URLS; i++) {
        many[i] = "http://10.0.0.2:2380";
    }
    api_rig_expect_error(rig, add_some(rig, many, LIMIT_URLS + 1, true), API_MEMBER_BAD_URLS);
    add_some(rig, many, LIMIT_URLS, true);
    take_proposed(rig);

    uint64_t call = api_rig_begin(rig, METHOD_MEMBER_ADD); /* a NUL would cut the text */
    api_rig_send_bytes(rig, call,
                       "\x0a\x0c"
                       "http://a:1\0x",
                       14);
    api_rig_expect_error(rig, call, API_MEMBER_BAD_URLS);
    call = api_rig_begin(rig, METHOD_MEMBER_UPDATE);
    api_rig_send_bytes(rig, call, "\x08\x01\x12\x01\0", 5);
    api_rig_expect_error(rig, call, API_MEMBER_BAD_URLS);
    char *longest = xcalloc(LIMIT_PEER_URLS_BYTES + 2, 1);
    memset(longest, 'x', LIMIT_PEER_URLS_BYTES + 1);
    api_rig_expect_error(rig, update(rig, RIG_MEMBER_ID, longest), API_MEMBER_BAD_URLS);
    longest[LIMIT_PEER_URLS_BYTES] = '\0';
    update(rig, RIG_MEMBER_ID, longest);
    take_proposed(rig);
    free(longest);
}

static void nonsense_is_told_as_such(void **state)
{
    api_rig_t *rig = *state;
    static const method_t methods[] = {METHOD_MEMBER_ADD, METHOD_MEMBER_REMOVE,
                                       METHOD_MEMBER_UPDATE, METHOD_MEMBER_PROMOTE};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        uint64_t call = api_rig_begin(rig, methods[i]);
        api_rig_send_bytes(rig, call, "\x0a", 1);
        assert_true(rig->calls[call].finished);
        assert_int_equal(rig->calls[call].code, GRPC_INTERNAL);
    }
    uint64_t call = api_rig_begin(rig, METHOD_MEMBER_ADD); /* a string that is none */
    api_rig_send_bytes(rig, call, "\x0a\x02\xc3\x28", 4);
    assert_int_equal(rig->calls[call].code, GRPC_INTERNAL);
    api_rig_turn(rig);
    core_test_expect_nothing(&rig->core);
}

/* No member has the id 0; a change of it would make no sense to the leader. */
static void nobody_has_the_id_0(void **state)
{
    api_rig_t *rig = *state;
    api_rig_expect_error(rig, drop(rig, 0), API_MEMBER_NOT_FOUND);
    api_rig_expect_error(rig, update(rig, 0, "http://a:1"), API_MEMBER_NOT_FOUND);
    api_rig_expect_error(rig, promote(rig, 0), API_MEMBER_NOT_FOUND);
    api_rig_turn(rig);
    core_test_expect_nothing(&rig->core);
}

/* ---- the quorum must not be endangered ---- */

typedef enum { ADD_VOTER, ADD_LEARNER, PROMOTE_FIRST_LEARNER } enlarge_t;

static uint64_t enlarge(api_rig_t *rig, enlarge_t how, size_t voters)
{
    switch (how) {
    case ADD_VOTER: return add(rig, "http://10.0.0.9:2380", false);
    case ADD_LEARNER: return add(rig, "http://10.0.0.9:2380", true);
    default: return promote(rig, voters);
    }
}

static void enough_members_must_have_started(void **state)
{
    api_rig_t *rig = *state;
    static const struct {
        size_t voters, started;
        enlarge_t how;
        bool is_allowed;
    } cases[] = {
        {1, 1, ADD_VOTER, true}, /* from one to two there is no other way */
        {2, 1, ADD_VOTER, false},
        {2, 2, ADD_VOTER, true},
        {3, 2, ADD_VOTER, false}, /* three of four */
        {3, 3, ADD_VOTER, true},
        {5, 3, ADD_VOTER, false},
        {5, 4, ADD_VOTER, true},
        {2, 1, ADD_LEARNER, true},           /* it does not vote */
        {2, 1, PROMOTE_FIRST_LEARNER, true}, /* the learner has started */
        {3, 1, PROMOTE_FIRST_LEARNER, false},
        {3, 2, PROMOTE_FIRST_LEARNER, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cluster(rig, cases[i].voters, cases[i].started, cases[i].how == PROMOTE_FIRST_LEARNER);
        for (uint64_t id = 1; id < cases[i].voters; id++) {
            peer_is(rig, id, true);
        }
        rig->core.now_us += 6 * SECOND_US;
        uint64_t call = enlarge(rig, cases[i].how, cases[i].voters);
        if (cases[i].is_allowed) {
            take_proposed(rig);
            api_rig_expect_open(rig, call);
        } else {
            api_rig_expect_error(rig, call, API_MEMBER_NOT_ENOUGH_STARTED);
        }
    }
}

static void enough_members_must_be_reached_for_a_while(void **state)
{
    api_rig_t *rig = *state;
    cluster(rig, 3, 3, 0);
    api_rig_expect_error(rig, add(rig, "http://a:1", false), API_UNHEALTHY);
    peer_is(rig, 1, true);
    peer_is(rig, 2, true);
    rig->core.now_us += 5 * SECOND_US;
    api_rig_expect_error(rig, add(rig, "http://a:1", false), API_UNHEALTHY);
    api_rig_expect_error(rig, add(rig, "http://a:1", true), API_UNHEALTHY);
    rig->core.now_us += 1;
    add(rig, "http://a:1", false);
    take_proposed(rig);
    peer_is(rig, 2, false); /* two of the four that there would be */
    api_rig_expect_error(rig, add(rig, "http://a:1", false), API_UNHEALTHY);
    peer_is(rig, 2, true); /* from now on */
    rig->core.now_us += SECOND_US;
    api_rig_expect_error(rig, add(rig, "http://a:1", false), API_UNHEALTHY);
}

static void what_remains_after_a_removal_must_work(void **state)
{
    api_rig_t *rig = *state;
    api_rig_expect_error(rig, drop(rig, RIG_MEMBER_ID), API_MEMBER_NOT_ENOUGH_STARTED);
    drop(rig, 77); /* the leader says that there is none */
    take_proposed(rig);

    cluster(rig, 3, 2, 1); /* the rig's own, 1 and the unstarted 2 vote, 3 learns */
    api_rig_expect_error(rig, drop(rig, 1), API_MEMBER_NOT_ENOUGH_STARTED);
    drop(rig, 2); /* it was never reached: nothing works through it */
    take_proposed(rig);
    drop(rig, 3);
    take_proposed(rig);

    cluster(rig, 3, 3, 0);
    peer_is(rig, 1, true);
    rig->core.now_us += 6 * SECOND_US;
    peer_is(rig, 2, true); /* not for long enough */
    api_rig_expect_error(rig, drop(rig, 1), API_UNHEALTHY);
    api_rig_expect_error(rig, drop(rig, 2), API_UNHEALTHY);
    api_rig_expect_error(rig, drop(rig, RIG_MEMBER_ID), API_UNHEALTHY);
    peer_is(rig, 2, false);
    drop(rig, 2);
    take_proposed(rig);
    peer_is(rig, 2, true);
    rig->core.now_us += 6 * SECOND_US;
    drop(rig, RIG_MEMBER_ID);
    take_proposed(rig);
}

static void the_check_can_be_switched_off(void **state)
{
    api_rig_t *rig = *state; /* loose */
    cluster(rig, 3, 1, 1);
    add(rig, "http://a:1", false);
    take_proposed(rig);
    drop(rig, 1);
    take_proposed(rig);
    promote(rig, 3);
    take_proposed(rig);
}

static void who_was_reported_and_is_no_member_does_not_count(void **state)
{
    api_rig_t *rig = *state;
    cluster(rig, 3, 3, 0);
    for (uint64_t id = 100; id < 100 + 2 * LIMIT_MEMBERS; id++) {
        peer_is(rig, id, true);
    }
    peer_is(rig, 1, true); /* there is room again */
    peer_is(rig, 2, true);
    rig->core.now_us += 6 * SECOND_US;
    add(rig, "http://a:1", false);
    take_proposed(rig);
}

static void before_the_members_are_known_nothing_is_changed(void **state)
{
    (void)state;
    api_rig_t *rig = api_rig_new(NULL);
    api_rig_role(rig, ROLE_FOLLOWER, 99);
    api_rig_expect_error(rig, add(rig, "http://a:1", true), API_UNHEALTHY);
    api_rig_expect_error(rig, add(rig, "http://a:1", false), API_MEMBER_NOT_ENOUGH_STARTED);
    core_test_expect_nothing(&rig->core);
    api_rig_free(&rig);
}

/* ---- learners ---- */

static uint64_t range(api_rig_t *rig, bool serializable, unsigned flags)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key = rig_text("a");
    request.serializable = serializable;
    api_call_t info = {.method = METHOD_RANGE, .deadline_us = DEADLINE_NONE, .flags = flags};
    uint64_t call = ++rig->last_call;
    api_call_begin(rig->api, call, &info, rig->core.now_us);
    api_rig_send(rig, call, &request);
    api_rig_serve(rig);
    return call;
}

static void a_learner_serves_little(void **state)
{
    api_rig_t *rig = *state;
    assert_false(api_status(rig->api).is_learner);
    rig_member_t members[] = {{.id = 5, .name = "m5", .peer_url = "http://a:1"}, me};
    members[1].learner = true;
    api_rig_role(rig, ROLE_FOLLOWER, 5);
    api_rig_members(rig, members, 2);
    api_rig_turn(rig);
    assert_true(api_status(rig->api).is_learner);
    for (method_t method = 0; method < METHOD_COUNT; method++) {
        uint64_t call = api_rig_begin(rig, method);
        if (method == METHOD_RANGE || method == METHOD_STATUS) {
            api_rig_expect_open(rig, call);
            api_call_cancel(rig->api, call);
        } else {
            api_rig_expect_error(rig, call, API_NOT_SUPPORTED_FOR_LEARNER);
        }
    }
    api_rig_expect_error(rig, range(rig, false, 0), API_NOT_SUPPORTED_FOR_LEARNER);
    api_rig_free_message(
        api_rig_expect_answer(rig, range(rig, true, 0), &etcdserverpb__range_response__descriptor));
    /* Its own probes are no client's calls. */
    api_rig_free_message(api_rig_expect_answer(rig, range(rig, false, CALL_UNCOUNTED),
                                               &etcdserverpb__range_response__descriptor));
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    Etcdserverpb__StatusResponse *got =
        api_rig_expect_answer(rig, api_rig_unary(rig, METHOD_STATUS, &request),
                              &etcdserverpb__status_response__descriptor);
    assert_true(got->islearner);
    assert_true(got->leader == 5);
    api_rig_free_message(got);

    members[1].learner = false; /* promoted */
    api_rig_members(rig, members, 2);
    api_rig_turn(rig);
    assert_false(api_status(rig->api).is_learner);
    api_rig_free_message(api_rig_expect_answer(rig, range(rig, false, 0),
                                               &etcdserverpb__range_response__descriptor));
}

static void a_learner_publishes_itself(void **state)
{
    (void)state;
    api_rig_t *rig = api_rig_new(&(rig_options_t){.unpublished = true});
    rig_member_t members[] = {{.id = 5, .name = "m5", .peer_url = "http://a:1"}, me};
    members[1].name = NULL;
    members[1].learner = true;
    api_rig_members(rig, members, 2);
    api_rig_role(rig, ROLE_FOLLOWER, 5);
    api_rig_restored(rig);
    api_rig_turn(rig);
    msg_t *msg = core_test_expect(&rig->core, ACTOR_REPLICATOR, MSG_PROPOSE);
    uint64_t req_id = msg->u.propose.items[0].req_id;
    assert_int_equal(msg->u.propose.items[0].type, ENTRY_NORMAL);
    msg_free(&msg);
    refused(rig, req_id, API_NO_LEADER); /* the leader is known here, and nowhere else yet */
    rig->core.now_us = api_ops.deadline(rig->api);
    api_rig_turn(rig);
    msg = core_test_expect(&rig->core, ACTOR_REPLICATOR, MSG_PROPOSE);
    assert_int_equal(msg->u.propose.items[0].req_id, req_id);
    msg_free(&msg);
    /* A store that the leader has sent shows that it was applied; its result will never come. */
    members[1].name = "m1";
    api_rig_members(rig, members, 2);
    api_rig_restored(rig);
    api_rig_turn(rig);
    assert_true(api_status(rig->api).serving);
    assert_int_equal(api_ops.deadline(rig->api), DEADLINE_NONE);
    core_test_expect_nothing(&rig->core); /* the version is the leader's business */
    applied(rig, req_id);
    api_rig_free(&rig);
}

/* ---- timeouts ---- */

static uint64_t put_without_answer(api_rig_t *rig)
{
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    request.key = rig_text("a");
    uint64_t call = api_rig_unary(rig, METHOD_PUT, &request);
    msg_t *msg = core_test_expect(&rig->core, ACTOR_REPLICATOR, MSG_PROPOSE);
    msg_free(&msg);
    rig->core.now_us += 7 * SECOND_US;
    api_rig_turn(rig);
    return call;
}

static void a_timeout_names_a_lost_connection(void **state)
{
    api_rig_t *rig = *state;
    rig->core.now_us += 60 * SECOND_US;
    cluster(rig, 3, 3, 0);
    api_rig_expect_error(rig, put_without_answer(rig), API_TIMEOUT_CONNECTION_LOST);
    peer_is(rig, 1, true);
    rig->core.now_us += 1;
    api_rig_expect_error(rig, put_without_answer(rig), API_TIMEOUT);
    api_rig_role(rig, ROLE_FOLLOWER, 2); /* 1 is of no use then */
    rig->core.now_us += SECOND_US;
    api_rig_expect_error(rig, put_without_answer(rig), API_TIMEOUT_CONNECTION_LOST);
    peer_is(rig, 2, true);
    rig->core.now_us += SECOND_US;
    api_rig_expect_error(rig, put_without_answer(rig), API_TIMEOUT);
    /* Nothing was proposed: what a read waits for has one name. */
    peer_is(rig, 2, false);
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    range.key = rig_text("a");
    uint64_t call = api_rig_unary(rig, METHOD_RANGE, &range);
    rig->core.now_us += 7 * SECOND_US;
    api_rig_turn(rig);
    api_rig_expect_error(rig, call, API_TIMEOUT);
    msg_t *msg = core_test_expect(&rig->core, ACTOR_REPLICATOR, MSG_READ);
    msg_free(&msg);
}

#define TEST(name)       cmocka_unit_test_setup_teardown(name, setup, teardown)
#define LOOSE_TEST(name) cmocka_unit_test_setup_teardown(name, setup_loose, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_member_that_is_added_is_in_the_answer),
        TEST(each_change_names_its_member),
        TEST(what_the_leader_finds_reaches_the_client),
        TEST(who_removes_a_member_through_itself_has_an_answer),
        TEST(a_change_waits_for_a_leader_like_any_proposal),
        TEST(urls_of_a_new_member_are_checked),
        TEST(nonsense_is_told_as_such),
        TEST(nobody_has_the_id_0),
        TEST(enough_members_must_have_started),
        TEST(enough_members_must_be_reached_for_a_while),
        TEST(what_remains_after_a_removal_must_work),
        LOOSE_TEST(the_check_can_be_switched_off),
        TEST(who_was_reported_and_is_no_member_does_not_count),
        cmocka_unit_test(before_the_members_are_known_nothing_is_changed),
        TEST(a_learner_serves_little),
        cmocka_unit_test(a_learner_publishes_itself),
        TEST(a_timeout_names_a_lost_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
