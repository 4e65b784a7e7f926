/* Keepalives and questions after the time to live through any member. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/lease_rig.h"

/* Member 1, which follows member 2. */
static core_test_t follow(void)
{
    core_test_t test = lt_start();
    lt_role(&test, ROLE_FOLLOWER, 3, 2);
    return test;
}

static void reply(core_test_t *test, uint64_t member, uint64_t id, int64_t lease, int64_t ttl_s)
{
    peer_lease_answer_t fields = {.id = id, .lease = lease, .ttl_s = ttl_s, .granted_ttl_s = 60};
    lt_hear_reply(test, member, &fields);
}

/* ---- at a follower ---- */

static void a_follower_asks_the_leader(void **state)
{
    (void)state;
    core_test_t test = follow();
    lt_ask(&test, LEASE_OP_TIME_TO_LIVE, 7, 12);
    peer_lease_ask_t asked = lt_expect_forward(&test, 2, 3);
    assert_int_equal(asked.id, FIRST_FORWARD);
    assert_int_equal(asked.op, LEASE_OP_TIME_TO_LIVE);
    assert_int_equal(asked.lease, 7);
    assert_int_equal(asked.applied_index, 12);
    core_test_flush(&test);
    core_test_expect_nothing(&test);
    reply(&test, 2, FIRST_FORWARD, 7, 42);
    msg_lease_answer_t answer = lt_expect_answer(&test);
    assert_int_equal(answer.error, API_NONE);
    assert_int_equal(answer.op, LEASE_OP_TIME_TO_LIVE);
    assert_int_equal(answer.id, 7);
    assert_int_equal(answer.ttl_s, 42);
    assert_int_equal(answer.granted_ttl_s, 60);
    assert_int_equal(lease_ops.deadline(test.core), DEADLINE_NONE);
    core_test_end(&test);
}

static void replies_find_their_questions_in_any_order(void **state)
{
    (void)state;
    core_test_t test = follow();
    for (int64_t lease = 1; lease <= 3; lease++) {
        lt_ask(&test, LEASE_OP_KEEPALIVE, lease, 0);
        lt_expect_forward(&test, 2, 3);
    }
    reply(&test, 2, FIRST_FORWARD + 2, 3, 30);
    assert_int_equal(lt_expect_answer(&test).id, 3);
    reply(&test, 2, FIRST_FORWARD, 1, 10);
    assert_int_equal(lt_expect_answer(&test).id, 1);
    lt_ask(&test, LEASE_OP_KEEPALIVE, 4, 0);
    assert_int_equal(lt_expect_forward(&test, 2, 3).id, FIRST_FORWARD + 3);
    reply(&test, 2, FIRST_FORWARD + 1, 2, 20);
    assert_int_equal(lt_expect_answer(&test).ttl_s, 20);
    reply(&test, 2, FIRST_FORWARD + 3, 4, 40);
    assert_int_equal(lt_expect_answer(&test).id, 4);
    core_test_end(&test);
}

static void a_reply_that_answers_nothing_is_ignored(void **state)
{
    (void)state;
    core_test_t test = follow();
    reply(&test, 2, FIRST_FORWARD, 7, 42); /* before there is a question */
    lt_ask(&test, LEASE_OP_KEEPALIVE, 7, 0);
    lt_expect_forward(&test, 2, 3);
    reply(&test, 3, FIRST_FORWARD, 7, 42);     /* not who was asked */
    reply(&test, 2, FIRST_FORWARD, 8, 42);     /* another lease */
    reply(&test, 2, FIRST_FORWARD + 1, 7, 42); /* another question */
    reply(&test, 2, 0, 7, 42);
    core_test_expect_nothing(&test);
    reply(&test, 2, FIRST_FORWARD, 7, 42);
    lt_expect_answer(&test);
    reply(&test, 2, FIRST_FORWARD, 7, 42); /* twice */
    core_test_expect_nothing(&test);
    core_test_end(&test);
}

static void an_unanswered_question_is_repeated_and_times_out(void **state)
{
    (void)state;
    core_test_t test = follow();
    lt_ask(&test, LEASE_OP_KEEPALIVE, 7, 0);
    lt_expect_forward(&test, 2, 3);
    lt_pass(&test, SECOND * 2); /* either may have been lost */
    assert_int_equal(lt_expect_forward(&test, 2, 3).id, FIRST_FORWARD);
    lt_pass(&test, SECOND * 6);
    size_t repeated = 0;
    actor_id_t to = ACTOR_NONE;
    msg_t *msg = NULL;
    while ((msg = core_test_take(&test, &to)) && msg->kind == MSG_PEER) {
        repeated++;
        msg_free(&msg);
    }
    assert_in_range(repeated, 2, 6);
    assert_non_null(msg);
    assert_int_equal(msg->u.lease_answer.error, API_TIMEOUT);
    msg_free(&msg);
    assert_int_equal(lease_ops.deadline(test.core), DEADLINE_NONE);
    reply(&test, 2, FIRST_FORWARD, 7, 42); /* too late */
    core_test_expect_nothing(&test);
    core_test_end(&test);
}

static void when_the_leader_changes_the_gateway_asks_again(void **state)
{
    (void)state;
    core_test_t test = follow();
    lt_ask(&test, LEASE_OP_KEEPALIVE, 7, 0);
    lt_expect_forward(&test, 2, 3);
    lt_role(&test, ROLE_FOLLOWER, 4, 0);
    assert_int_equal(lt_expect_answer(&test).error, API_NO_LEADER);
    lt_ask(&test, LEASE_OP_KEEPALIVE, 7, 0);
    assert_int_equal(lt_expect_answer(&test).error, API_NO_LEADER);
    lt_role(&test, ROLE_FOLLOWER, 4, 3);
    lt_ask(&test, LEASE_OP_KEEPALIVE, 7, 0);
    assert_int_equal(lt_expect_forward(&test, 3, 4).id, FIRST_FORWARD + 1);
    reply(&test, 2, FIRST_FORWARD, 7, 42); /* of the old leader */
    core_test_expect_nothing(&test);
    core_test_end(&test);
}

static void errors_of_the_leader_are_told_or_tried_again(void **state)
{
    (void)state;
    core_test_t test = follow();
    api_error_t errors[][2] = {{API_TOO_MANY_REQUESTS, API_TOO_MANY_REQUESTS},
                               {API_NO_LEADER, API_NO_LEADER},
                               {API_LEADER_CHANGED, API_NO_LEADER},
                               {(api_error_t)12345, API_NO_LEADER}};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        lt_ask(&test, LEASE_OP_KEEPALIVE, 7, 0);
        peer_lease_answer_t fields = {
            .id = lt_expect_forward(&test, 2, 3).id, .lease = 7, .error = errors[i][0]};
        lt_hear_reply(&test, 2, &fields);
        assert_int_equal(lt_expect_answer(&test).error, errors[i][1]);
    }
    core_test_end(&test);
}

static void without_room_towards_the_leader_questions_are_refused(void **state)
{
    (void)state;
    core_test_t test = follow();
    size_t refused = 0;
    for (int i = 0; i < 5000; i++) {
        lt_ask(&test, LEASE_OP_KEEPALIVE, 7, 0);
    }
    actor_id_t to = ACTOR_NONE;
    msg_t *msg = NULL;
    while ((msg = core_test_take(&test, &to))) {
        if (msg->kind == MSG_LEASE_ANSWER) {
            assert_int_equal(msg->u.lease_answer.error, API_TOO_MANY_REQUESTS);
            refused++;
        }
        msg_free(&msg);
    }
    assert_int_equal(refused, 5000 - 4096);
    core_test_end(&test);
}

/* ---- at the leader ---- */

static void the_leader_confirms_and_replies(void **state)
{
    (void)state;
    core_test_t test = lt_start();
    lt_lead(&test, 3);
    lt_change(&test, LEASE_GRANTED, 7, 5);
    peer_lease_ask_t keep_alive = {.id = 77, .op = LEASE_OP_KEEPALIVE, .lease = 7};
    lt_hear_forward(&test, 2, 3, &keep_alive);
    core_test_expect_nothing(&test);
    lt_read_at(&test, lt_expect_read(&test, 3), 9);
    core_test_expect_nothing(&test);
    lt_applied(&test, 9);
    peer_lease_answer_t answer = lt_expect_reply(&test, 2);
    assert_int_equal(answer.id, 77);
    assert_int_equal(answer.lease, 7);
    assert_int_equal(answer.error, API_NONE);
    assert_int_equal(answer.ttl_s, 5);
    lt_pass(&test, 2 * SECOND);
    peer_lease_ask_t left = {.id = 78, .op = LEASE_OP_TIME_TO_LIVE, .lease = 7};
    lt_hear_forward(&test, 2, 3, &left);
    lt_confirm(&test);
    answer = lt_expect_reply(&test, 2);
    assert_int_equal(answer.ttl_s, 3);
    assert_int_equal(answer.granted_ttl_s, 5);
    core_test_end(&test);
}

static void who_does_not_lead_that_term_says_so(void **state)
{
    (void)state;
    core_test_t test = follow();
    peer_lease_ask_t ask_fields = {.id = 77, .op = LEASE_OP_KEEPALIVE, .lease = 7};
    lt_hear_forward(&test, 3, 3, &ask_fields);
    assert_int_equal(lt_expect_reply(&test, 3).error, API_NO_LEADER);
    lt_lead(&test, 4);
    lt_hear_forward(&test, 3, 3, &ask_fields);
    assert_int_equal(lt_expect_reply(&test, 3).error, API_NO_LEADER);
    lt_hear_forward(&test, 3, 5, &ask_fields);
    assert_int_equal(lt_expect_reply(&test, 3).error, API_NO_LEADER);
    core_test_flush(&test);
    core_test_expect_nothing(&test);
    core_test_end(&test);
}

static void a_lost_leadership_is_replied_too(void **state)
{
    (void)state;
    core_test_t test = lt_start();
    lt_lead(&test, 3);
    peer_lease_ask_t ask_fields = {.id = 77, .op = LEASE_OP_KEEPALIVE, .lease = 7};
    lt_hear_forward(&test, 2, 3, &ask_fields);
    lt_expect_read(&test, 3);
    lt_role(&test, ROLE_FOLLOWER, 4, 2);
    assert_int_equal(lt_expect_reply(&test, 2).error, API_LEADER_CHANGED);
    core_test_end(&test);
}

static void what_no_member_would_say_is_ignored(void **state)
{
    (void)state;
    core_test_t test = lt_start();
    lt_lead(&test, 3);
    peer_lease_ask_t nonsense = {.id = 77, .op = LEASE_OP_LIST};
    lt_hear_forward(&test, 2, 3, &nonsense);
    nonsense.op = (lease_op_t)99;
    lt_hear_forward(&test, 2, 3, &nonsense);
    msg_t *msg = msg_new(MSG_PEER);
    msg->u.peer = (msg_peer_t){.member = 2, .content = peer_msg_new(PEER_VOTE, 3)};
    core_test_send(&test, ACTOR_PEER, &msg);
    reply(&test, 2, 5, 7, 42);
    core_test_flush(&test);
    core_test_expect_nothing(&test);
    core_test_end(&test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_follower_asks_the_leader),
        cmocka_unit_test(replies_find_their_questions_in_any_order),
        cmocka_unit_test(a_reply_that_answers_nothing_is_ignored),
        cmocka_unit_test(an_unanswered_question_is_repeated_and_times_out),
        cmocka_unit_test(when_the_leader_changes_the_gateway_asks_again),
        cmocka_unit_test(errors_of_the_leader_are_told_or_tried_again),
        cmocka_unit_test(without_room_towards_the_leader_questions_are_refused),
        cmocka_unit_test(the_leader_confirms_and_replies),
        cmocka_unit_test(who_does_not_lead_that_term_says_so),
        cmocka_unit_test(a_lost_leadership_is_replied_too),
        cmocka_unit_test(what_no_member_would_say_is_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
