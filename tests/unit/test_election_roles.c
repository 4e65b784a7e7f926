/* Elections: terms, leaders, members that come and go, nonsense, rule by rule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "messages/limits.h"
#include "tests/support/election_rig.h"

/* ---- terms ---- */

static void a_bounced_term_is_adopted(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_tell(&rig, MSG_BOUNCE, 8, 2);
    et_change_term(&rig, 8, 0);
    et_tell(&rig, MSG_BOUNCE, 8, 2);
    et_tell(&rig, MSG_BOUNCE, 7, 2);
    et_expect_nothing(&rig);
    et_tell(&rig, MSG_LEADER_SEEN, 8, 2);
    assert_int_equal(et_expect_role(&rig).leader, 2);
    et_rig_end(&rig);
}

static void a_term_bounced_during_a_change_is_adopted_after_it(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_tell(&rig, MSG_BOUNCE, 8, 2);
    msg_t *fence = et_expect(&rig, MSG_FENCE);
    et_tell(&rig, MSG_BOUNCE, 9, 3);
    et_answer_position(&rig, &fence);
    et_answer_hardstate(&rig, 8, 0);
    et_expect_term(&rig, MSG_OPEN, 8);
    et_change_term(&rig, 9, 0);
    et_rig_end(&rig);
}

static void a_candidacy_that_is_overtaken_is_none(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_poll_votes(&rig);
    et_expect_peer(&rig, 2, PEER_REQ_PREVOTE, 5);
    et_expect_peer(&rig, 3, PEER_REQ_PREVOTE, 5);
    et_answer(&rig, PEER_PREVOTE, 3, 5, true);
    et_answer_fence(&rig, 5);
    et_tell(&rig, MSG_BOUNCE, 6, 2);
    et_answer_hardstate(&rig, 5, 1);
    et_expect_term(&rig, MSG_OPEN, 5);
    et_change_term(&rig, 6, 0);
    et_rig_end(&rig);
}

static void a_leader_that_hears_of_a_higher_term_follows(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_lead(&rig);
    et_tell(&rig, MSG_BOUNCE, 6, 2);
    msg_t *fence = et_expect(&rig, MSG_FENCE); /* which ends its leading */
    et_answer_position(&rig, &fence);
    et_answer_hardstate(&rig, 6, 0);
    msg_role_t role = et_expect_role(&rig);
    assert_int_equal(role.role, ROLE_FOLLOWER);
    assert_int_equal(role.term, 6);
    assert_int_equal(role.leader, 0);
    et_rig_end(&rig);
}

/* ---- leaders ---- */

static void a_leader_that_is_heard_keeps_a_follower_from_standing(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_expect_role(&rig);
    uint64_t changes = metrics_get(&et_metrics, METRIC_LEADER_CHANGES);
    et_tell(&rig, MSG_LEADER_SEEN, 4, 2);
    assert_int_equal(et_expect_role(&rig).leader, 2);
    assert_int_equal(metrics_get(&et_metrics, METRIC_LEADER_CHANGES), changes + 1);
    assert_int_equal(metrics_get(&et_metrics, METRIC_HAS_LEADER), 1);
    for (int i = 0; i < 100; i++) {
        et_wake_at(&rig, rig.core.now_us + HEARTBEAT);
        et_tell(&rig, MSG_LEADER_SEEN, 4, 2);
    }
    core_test_expect_nothing(&rig.core); /* no ROLE either: nothing is new */
    et_poll_votes(&rig);
    assert_int_equal(et_expect_role(&rig).leader, 0);
    assert_int_equal(metrics_get(&et_metrics, METRIC_HAS_LEADER), 0);
    et_rig_end(&rig);
}

static void a_candidate_that_hears_the_leader_of_its_term_follows(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_stand(&rig);
    et_tell(&rig, MSG_LEADER_SEEN, 4, 3); /* of an older term */
    et_answer(&rig, PEER_VOTE, 2, 4, true);
    et_expect_nothing(&rig);
    et_tell(&rig, MSG_LEADER_SEEN, 5, 3);
    msg_role_t role = et_expect_role(&rig);
    assert_int_equal(role.role, ROLE_FOLLOWER);
    assert_int_equal(role.leader, 3);
    et_answer(&rig, PEER_VOTE, 2, 5, true);
    et_expect_nothing(&rig);
    et_rig_end(&rig);
}

static void a_leader_without_its_quorum_steps_down(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_lead(&rig);
    for (int i = 0; i < 20; i++) {
        rig.core.now_us += HEARTBEAT;
        et_tell(&rig, MSG_QUORUM_SEEN, 5, 0);
        core_test_flush(&rig.core);
    }
    et_tell(&rig, MSG_QUORUM_SEEN, 4, 0); /* of a term before */
    et_expect_nothing(&rig);
    assert_int_equal(et_deadline(&rig), rig.core.now_us + TIMEOUT);
    et_wake_at(&rig, et_deadline(&rig));
    et_expect_term(&rig, MSG_STEP_DOWN, 5);
    assert_int_equal(et_expect_role(&rig).role, ROLE_FOLLOWER);
    assert_int_equal(metrics_get(&et_metrics, METRIC_IS_LEADER), 0);
    assert_true(et_deadline(&rig) >= rig.core.now_us + TIMEOUT);
    et_rig_end(&rig);
}

static void a_leader_whose_replicator_resigned_follows(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_lead(&rig);
    et_tell(&rig, MSG_RESIGNED, 4, 0);
    et_expect_nothing(&rig);
    et_tell(&rig, MSG_RESIGNED, 5, 0);
    assert_int_equal(et_expect_role(&rig).role, ROLE_FOLLOWER);
    et_rig_end(&rig);
}

static void a_leader_with_a_stuck_disk_steps_down_and_waits_for_it(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_lead(&rig);
    et_tell_disk(&rig, MSG_DISK_STALL);
    et_expect_term(&rig, MSG_STEP_DOWN, 5);
    et_wake_at(&rig, rig.core.now_us + 10 * TIMEOUT);
    et_expect_nothing(&rig);
    assert_int_equal(et_deadline(&rig), DEADLINE_NONE);
    et_tell_disk(&rig, MSG_DISK_OK);
    et_poll_votes(&rig);
    et_rig_end(&rig);
}

static void a_stuck_disk_ends_a_campaign(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_stand(&rig);
    et_tell_disk(&rig, MSG_DISK_STALL);
    et_answer(&rig, PEER_VOTE, 2, 5, true);
    et_expect_nothing(&rig);
    et_rig_end(&rig);
}

static void alone_a_stuck_disk_ends_nothing(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1));
    et_answer_query(&rig);
    et_change_term(&rig, 5, 1);
    et_expect_term(&rig, MSG_LEAD, 5);
    et_tell_disk(&rig, MSG_DISK_STALL);
    et_expect_nothing(&rig);
    et_tell_members(&rig, MEMBERS(1, 2)); /* now there is somebody */
    et_expect_term(&rig, MSG_STEP_DOWN, 5);
    et_rig_end(&rig);
}

static void the_leader_hands_over_to_one_that_stands_at_once(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_tell(&rig, MSG_LEADER_SEEN, 4, 2);
    et_send_peer(&rig, 2, peer_msg_new(PEER_TIMEOUT_NOW, 3)); /* an old one */
    et_send_peer(&rig, 3, peer_msg_new(PEER_TIMEOUT_NOW, 4)); /* not the leader */
    et_expect_nothing(&rig);
    et_send_peer(&rig, 2, peer_msg_new(PEER_TIMEOUT_NOW, 4));
    et_change_term(&rig, 5, 1);
    assert_true(et_expect_peer(&rig, 2, PEER_REQ_VOTE, 5).u.vote_request.transfer);
    assert_true(et_expect_peer(&rig, 3, PEER_REQ_VOTE, 5).u.vote_request.transfer);
    et_wake_at(&rig, et_deadline(&rig));
    assert_true(et_expect_peer(&rig, 2, PEER_REQ_VOTE, 5).u.vote_request.transfer);
    assert_true(et_expect_peer(&rig, 3, PEER_REQ_VOTE, 5).u.vote_request.transfer);
    et_wake_at(&rig, rig.core.now_us + 2 * TIMEOUT); /* the hand-over is over */
    et_answer_query(&rig);
    assert_false(et_expect_peer(&rig, 2, PEER_REQ_PREVOTE, 6).u.vote_request.transfer);
    et_rig_end(&rig);
}

/* ---- members ---- */

static void a_learner_never_stands_until_it_is_promoted(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1 | LEARNER, 2, 3));
    assert_int_equal(et_deadline(&rig), DEADLINE_NONE);
    assert_int_equal(metrics_get(&et_metrics, METRIC_IS_LEARNER), 1);
    et_tell(&rig, MSG_LEADER_SEEN, 4, 2);
    et_send_peer(&rig, 2, peer_msg_new(PEER_TIMEOUT_NOW, 4));
    et_expect_nothing(&rig);
    et_request(&rig, PEER_REQ_VOTE, 3, 4, 0); /* no vote in a term with a leader */
    et_expect_peer(&rig, 3, PEER_VOTE, 4);
    et_time_out(&rig);
    assert_int_equal(et_expect_role(&rig).leader, 0); /* but it knows that the leader is gone */
    assert_int_equal(et_deadline(&rig), DEADLINE_NONE);
    et_request(&rig, PEER_REQ_VOTE, 3, 5, 0); /* and votes: it may not know yet that it may */
    et_change_term(&rig, 5, 3);
    et_expect_role(&rig);
    et_tell_members(&rig, MEMBERS(1, 2, 3));
    assert_int_equal(metrics_get(&et_metrics, METRIC_IS_LEARNER), 0);
    et_time_out(&rig);
    et_answer_query(&rig);
    et_expect_peer(&rig, 2, PEER_REQ_PREVOTE, 6);
    et_rig_end(&rig);
}

static void a_removed_member_stops_standing(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_stand(&rig);
    et_tell_members(&rig, MEMBERS(2, 3));
    et_answer(&rig, PEER_VOTE, 2, 5, true);
    et_expect_nothing(&rig);
    assert_int_equal(et_deadline(&rig), DEADLINE_NONE);
    et_rig_end(&rig);
}

/* What removed it is not committed: the others may need a log as long as its own (dissertation 4.2.2). */
static void a_member_whose_removal_is_not_committed_may_stand_but_has_no_vote(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2));
    rig.is_needed = true;
    et_tell_members(&rig, MEMBERS(2));
    et_time_out(&rig);
    et_answer_query(&rig);
    et_expect_peer(&rig, 2, PEER_REQ_PREVOTE, 5); /* its own is not enough */
    et_answer(&rig, PEER_PREVOTE, 2, 5, true);
    et_change_term(&rig, 5, 1);
    et_expect_peer(&rig, 2, PEER_REQ_VOTE, 5);
    et_answer(&rig, PEER_VOTE, 2, 5, true);
    et_expect_term(&rig, MSG_LEAD, 5);
    rig.is_needed = false; /* committed */
    et_tell_members(&rig, MEMBERS(2));
    et_tell(&rig, MSG_RESIGNED, 5, 0);
    assert_int_equal(et_deadline(&rig), DEADLINE_NONE);
    et_rig_end(&rig);
}

static void a_member_without_a_configuration_waits(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(bytes_new("", 0));
    assert_int_equal(et_deadline(&rig), DEADLINE_NONE);
    et_tell_members(&rig, MEMBERS(1, 2, 3));
    assert_true(et_deadline(&rig) >= rig.core.now_us + TIMEOUT);
    et_rig_end(&rig);
}

static void the_quorum_is_minded_from_the_second_voter_on(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1));
    et_answer_query(&rig);
    et_change_term(&rig, 5, 1);
    et_expect_term(&rig, MSG_LEAD, 5);
    et_tell_members(&rig, MEMBERS(1, 2 | LEARNER));
    assert_int_equal(et_deadline(&rig), DEADLINE_NONE);
    et_tell_members(&rig, MEMBERS(1, 2));
    assert_int_equal(et_deadline(&rig), rig.core.now_us + TIMEOUT);
    et_tell_members(&rig, MEMBERS(1));
    assert_int_equal(et_deadline(&rig), DEADLINE_NONE);
    et_rig_end(&rig);
}

static void a_leader_that_is_removed_leads_until_its_replicator_resigns(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_lead(&rig);
    et_tell_members(&rig, MEMBERS(2, 3));
    et_expect_nothing(&rig);
    et_tell(&rig, MSG_QUORUM_SEEN, 5, 0);
    et_tell(&rig, MSG_RESIGNED, 5, 0);
    assert_int_equal(et_expect_role(&rig).role, ROLE_FOLLOWER);
    assert_int_equal(et_deadline(&rig), DEADLINE_NONE);
    et_rig_end(&rig);
}

static void the_only_voter_left_waits_for_a_leader_that_is_heard(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2));
    et_tell(&rig, MSG_LEADER_SEEN, 4, 2);
    et_tell_members(&rig, MEMBERS(1)); /* the leader has removed itself and may still commit that */
    assert_true(et_deadline(&rig) >= rig.core.now_us + TIMEOUT);
    et_time_out(&rig);
    et_answer_query(&rig);
    et_change_term(&rig, 5, 1);
    et_expect_term(&rig, MSG_LEAD, 5);
    et_rig_end(&rig);
}

/* ---- nonsense, and the end ---- */

static void whatever_peers_say_is_survived(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_lead(&rig);
    et_tell(&rig, MSG_LEADER_SEEN, 5, 2); /* another leader of our term: a lie */
    et_tell(&rig, MSG_LEADER_SEEN, 5, 0);
    et_tell(&rig, MSG_BOUNCE, UINT64_MAX, 2);
    et_answer(&rig, PEER_VOTE, 2, UINT64_MAX, false);
    et_answer(&rig, PEER_PREVOTE, 2, LIMIT_TERM + 1, false);
    et_answer(&rig, PEER_VOTE, 2, 5, true);
    peer_msg_t *content = peer_msg_new(PEER_REQ_VOTE, UINT64_MAX);
    content->u.vote_request.transfer = true;
    et_send_peer(&rig, 2, content);
    et_send_peer(&rig, 2, peer_msg_new(PEER_TIMEOUT_NOW, 5));
    et_send_peer(&rig, 2, peer_msg_new(PEER_APPEND, 9));
    et_send_peer(&rig, 1, peer_msg_new(PEER_REQ_VOTE, 9)); /* "we" */
    et_send_peer(&rig, 0, peer_msg_new(PEER_REQ_VOTE, 9));
    et_expect_nothing(&rig);
    et_rig_end(&rig);
}

static void after_stop_it_votes_but_does_not_stand(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_poll_votes(&rig);
    et_expect_peer(&rig, 2, PEER_REQ_PREVOTE, 5);
    et_expect_peer(&rig, 3, PEER_REQ_PREVOTE, 5);
    msg_t *stop = msg_new(MSG_STOP);
    core_test_send(&rig.core, ACTOR_NONE, &stop);
    assert_true(outbox_is_stopped(rig.core.outbox));
    et_answer(&rig, PEER_PREVOTE, 2, 5, true);
    et_wake_at(&rig, rig.core.now_us + 2 * TIMEOUT);
    et_expect_nothing(&rig);
    et_request(&rig, PEER_REQ_VOTE, 2, 5, 0);
    et_change_term(&rig, 5, 2);
    assert_true(et_expect_peer(&rig, 2, PEER_VOTE, 5).u.vote.granted);
    et_rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bounced_term_is_adopted),
        cmocka_unit_test(a_term_bounced_during_a_change_is_adopted_after_it),
        cmocka_unit_test(a_candidacy_that_is_overtaken_is_none),
        cmocka_unit_test(a_leader_that_hears_of_a_higher_term_follows),
        cmocka_unit_test(a_leader_that_is_heard_keeps_a_follower_from_standing),
        cmocka_unit_test(a_candidate_that_hears_the_leader_of_its_term_follows),
        cmocka_unit_test(a_leader_without_its_quorum_steps_down),
        cmocka_unit_test(a_leader_whose_replicator_resigned_follows),
        cmocka_unit_test(a_leader_with_a_stuck_disk_steps_down_and_waits_for_it),
        cmocka_unit_test(a_stuck_disk_ends_a_campaign),
        cmocka_unit_test(alone_a_stuck_disk_ends_nothing),
        cmocka_unit_test(the_leader_hands_over_to_one_that_stands_at_once),
        cmocka_unit_test(a_learner_never_stands_until_it_is_promoted),
        cmocka_unit_test(a_removed_member_stops_standing),
        cmocka_unit_test(a_member_whose_removal_is_not_committed_may_stand_but_has_no_vote),
        cmocka_unit_test(a_member_without_a_configuration_waits),
        cmocka_unit_test(the_quorum_is_minded_from_the_second_voter_on),
        cmocka_unit_test(a_leader_that_is_removed_leads_until_its_replicator_resigns),
        cmocka_unit_test(the_only_voter_left_waits_for_a_leader_that_is_heard),
        cmocka_unit_test(whatever_peers_say_is_survived),
        cmocka_unit_test(after_stop_it_votes_but_does_not_stand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
