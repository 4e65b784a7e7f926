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
    rig_t rig = rig_of(MEMBERS(1, 2, 3));
    tell(&rig, MSG_BOUNCE, 8, 2);
    change_term(&rig, 8, 0);
    tell(&rig, MSG_BOUNCE, 8, 2);
    tell(&rig, MSG_BOUNCE, 7, 2);
    expect_nothing(&rig);
    tell(&rig, MSG_LEADER_SEEN, 8, 2);
    assert_int_equal(expect_role(&rig).leader, 2);
    rig_end(&rig);
}

static void a_term_bounced_during_a_change_is_adopted_after_it(void **state)
{
    (void)state;
    rig_t rig = rig_of(MEMBERS(1, 2, 3));
    tell(&rig, MSG_BOUNCE, 8, 2);
    msg_t *fence = expect(&rig, MSG_FENCE);
    tell(&rig, MSG_BOUNCE, 9, 3);
    answer_position(&rig, &fence);
    answer_hardstate(&rig, 8, 0);
    expect_term(&rig, MSG_OPEN, 8);
    change_term(&rig, 9, 0);
    rig_end(&rig);
}

static void a_candidacy_that_is_overtaken_is_none(void **state)
{
    (void)state;
    rig_t rig = rig_of(MEMBERS(1, 2, 3));
    poll_votes(&rig);
    expect_peer(&rig, 2, PEER_REQ_PREVOTE, 5);
    expect_peer(&rig, 3, PEER_REQ_PREVOTE, 5);
    answer(&rig, PEER_PREVOTE, 3, 5, true);
    answer_fence(&rig, 5);
    tell(&rig, MSG_BOUNCE, 6, 2);
    answer_hardstate(&rig, 5, 1);
    expect_term(&rig, MSG_OPEN, 5);
    change_term(&rig, 6, 0);
    rig_end(&rig);
}

static void a_leader_that_hears_of_a_higher_term_follows(void **state)
{
    (void)state;
    rig_t rig = rig_of(MEMBERS(1, 2, 3));
    lead(&rig);
    tell(&rig, MSG_BOUNCE, 6, 2);
    msg_t *fence = expect(&rig, MSG_FENCE); /* which ends its leading */
    answer_position(&rig, &fence);
    answer_hardstate(&rig, 6, 0);
    msg_role_t role = expect_role(&rig);
    assert_int_equal(role.role, ROLE_FOLLOWER);
    assert_int_equal(role.term, 6);
    assert_int_equal(role.leader, 0);
    rig_end(&rig);
}

/* ---- leaders ---- */

static void a_leader_that_is_heard_keeps_a_follower_from_standing(void **state)
{
    (void)state;
    rig_t rig = rig_of(MEMBERS(1, 2, 3));
    expect_role(&rig);
    uint64_t changes = metrics_get(&metrics, METRIC_LEADER_CHANGES);
    tell(&rig, MSG_LEADER_SEEN, 4, 2);
    assert_int_equal(expect_role(&rig).leader, 2);
    assert_int_equal(metrics_get(&metrics, METRIC_LEADER_CHANGES), changes + 1);
    assert_int_equal(metrics_get(&metrics, METRIC_HAS_LEADER), 1);
    for (int i = 0; i < 100; i++) {
        wake_at(&rig, rig.core.now_us + HEARTBEAT);
        tell(&rig, MSG_LEADER_SEEN, 4, 2);
    }
    core_test_expect_nothing(&rig.core); /* no ROLE either: nothing is new */
    poll_votes(&rig);
    assert_int_equal(expect_role(&rig).leader, 0);
    assert_int_equal(metrics_get(&metrics, METRIC_HAS_LEADER), 0);
    rig_end(&rig);
}

static void a_candidate_that_hears_the_leader_of_its_term_follows(void **state)
{
    (void)state;
    rig_t rig = rig_of(MEMBERS(1, 2, 3));
    stand(&rig);
    tell(&rig, MSG_LEADER_SEEN, 4, 3); /* of an older term */
    answer(&rig, PEER_VOTE, 2, 4, true);
    expect_nothing(&rig);
    tell(&rig, MSG_LEADER_SEEN, 5, 3);
    msg_role_t role = expect_role(&rig);
    assert_int_equal(role.role, ROLE_FOLLOWER);
    assert_int_equal(role.leader, 3);
    answer(&rig, PEER_VOTE, 2, 5, true);
    expect_nothing(&rig);
    rig_end(&rig);
}

static void a_leader_without_its_quorum_steps_down(void **state)
{
    (void)state;
    rig_t rig = rig_of(MEMBERS(1, 2, 3));
    lead(&rig);
    for (int i = 0; i < 20; i++) {
        rig.core.now_us += HEARTBEAT;
        tell(&rig, MSG_QUORUM_SEEN, 5, 0);
        core_test_flush(&rig.core);
    }
    tell(&rig, MSG_QUORUM_SEEN, 4, 0); /* of a term before */
    expect_nothing(&rig);
    assert_int_equal(deadline(&rig), rig.core.now_us + TIMEOUT);
    wake_at(&rig, deadline(&rig));
    expect_term(&rig, MSG_STEP_DOWN, 5);
    assert_int_equal(expect_role(&rig).role, ROLE_FOLLOWER);
    assert_int_equal(metrics_get(&metrics, METRIC_IS_LEADER), 0);
    assert_true(deadline(&rig) >= rig.core.now_us + TIMEOUT);
    rig_end(&rig);
}

static void a_leader_whose_replicator_resigned_follows(void **state)
{
    (void)state;
    rig_t rig = rig_of(MEMBERS(1, 2, 3));
    lead(&rig);
    tell(&rig, MSG_RESIGNED, 4, 0);
    expect_nothing(&rig);
    tell(&rig, MSG_RESIGNED, 5, 0);
    assert_int_equal(expect_role(&rig).role, ROLE_FOLLOWER);
    rig_end(&rig);
}

static void a_leader_with_a_stuck_disk_steps_down_and_waits_for_it(void **state)
{
    (void)state;
    rig_t rig = rig_of(MEMBERS(1, 2, 3));
    lead(&rig);
    tell_disk(&rig, MSG_DISK_STALL);
    expect_term(&rig, MSG_STEP_DOWN, 5);
    wake_at(&rig, rig.core.now_us + 10 * TIMEOUT);
    expect_nothing(&rig);
    assert_int_equal(deadline(&rig), DEADLINE_NONE);
    tell_disk(&rig, MSG_DISK_OK);
    poll_votes(&rig);
    rig_end(&rig);
}

static void a_stuck_disk_ends_a_campaign(void **state)
{
    (void)state;
    rig_t rig = rig_of(MEMBERS(1, 2, 3));
    stand(&rig);
    tell_disk(&rig, MSG_DISK_STALL);
    answer(&rig, PEER_VOTE, 2, 5, true);
    expect_nothing(&rig);
    rig_end(&rig);
}

static void alone_a_stuck_disk_ends_nothing(void **state)
{
    (void)state;
    rig_t rig = rig_of(MEMBERS(1));
    answer_query(&rig);
    change_term(&rig, 5, 1);
    expect_term(&rig, MSG_LEAD, 5);
    tell_disk(&rig, MSG_DISK_STALL);
    expect_nothing(&rig);
    tell_members(&rig, MEMBERS(1, 2)); /* now there is somebody */
    expect_term(&rig, MSG_STEP_DOWN, 5);
    rig_end(&rig);
}

static void the_leader_hands_over_to_one_that_stands_at_once(void **state)
{
    (void)state;
    rig_t rig = rig_of(MEMBERS(1, 2, 3));
    tell(&rig, MSG_LEADER_SEEN, 4, 2);
    send_peer(&rig, 2, peer_msg_new(PEER_TIMEOUT_NOW, 3)); /* an old one */
    send_peer(&rig, 3, peer_msg_new(PEER_TIMEOUT_NOW, 4)); /* not the leader */
    expect_nothing(&rig);
    send_peer(&rig, 2, peer_msg_new(PEER_TIMEOUT_NOW, 4));
    change_term(&rig, 5, 1);
    assert_true(expect_peer(&rig, 2, PEER_REQ_VOTE, 5).u.vote_request.transfer);
    assert_true(expect_peer(&rig, 3, PEER_REQ_VOTE, 5).u.vote_request.transfer);
    wake_at(&rig, deadline(&rig));
    assert_true(expect_peer(&rig, 2, PEER_REQ_VOTE, 5).u.vote_request.transfer);
    assert_true(expect_peer(&rig, 3, PEER_REQ_VOTE, 5).u.vote_request.transfer);
    wake_at(&rig, rig.core.now_us + 2 * TIMEOUT); /* the hand-over is over */
    answer_query(&rig);
    assert_false(expect_peer(&rig, 2, PEER_REQ_PREVOTE, 6).u.vote_request.transfer);
    rig_end(&rig);
}

/* ---- members ---- */

static void a_learner_never_stands_until_it_is_promoted(void **state)
{
    (void)state;
    rig_t rig = rig_of(MEMBERS(1 | LEARNER, 2, 3));
    assert_int_equal(deadline(&rig), DEADLINE_NONE);
    assert_int_equal(metrics_get(&metrics, METRIC_IS_LEARNER), 1);
    tell(&rig, MSG_LEADER_SEEN, 4, 2);
    send_peer(&rig, 2, peer_msg_new(PEER_TIMEOUT_NOW, 4));
    expect_nothing(&rig);
    request(&rig, PEER_REQ_VOTE, 3, 4, 0); /* no vote in a term with a leader */
    expect_peer(&rig, 3, PEER_VOTE, 4);
    time_out(&rig);
    assert_int_equal(expect_role(&rig).leader, 0); /* but it knows that the leader is gone */
    assert_int_equal(deadline(&rig), DEADLINE_NONE);
    request(&rig, PEER_REQ_VOTE, 3, 5, 0); /* and votes: it may not know yet that it may */
    change_term(&rig, 5, 3);
    expect_role(&rig);
    tell_members(&rig, MEMBERS(1, 2, 3));
    assert_int_equal(metrics_get(&metrics, METRIC_IS_LEARNER), 0);
    time_out(&rig);
    answer_query(&rig);
    expect_peer(&rig, 2, PEER_REQ_PREVOTE, 6);
    rig_end(&rig);
}

static void a_removed_member_stops_standing(void **state)
{
    (void)state;
    rig_t rig = rig_of(MEMBERS(1, 2, 3));
    stand(&rig);
    tell_members(&rig, MEMBERS(2, 3));
    answer(&rig, PEER_VOTE, 2, 5, true);
    expect_nothing(&rig);
    assert_int_equal(deadline(&rig), DEADLINE_NONE);
    rig_end(&rig);
}

static void a_member_without_a_configuration_waits(void **state)
{
    (void)state;
    rig_t rig = rig_of(bytes_new("", 0));
    assert_int_equal(deadline(&rig), DEADLINE_NONE);
    tell_members(&rig, MEMBERS(1, 2, 3));
    assert_true(deadline(&rig) >= rig.core.now_us + TIMEOUT);
    rig_end(&rig);
}

static void the_quorum_is_minded_from_the_second_voter_on(void **state)
{
    (void)state;
    rig_t rig = rig_of(MEMBERS(1));
    answer_query(&rig);
    change_term(&rig, 5, 1);
    expect_term(&rig, MSG_LEAD, 5);
    tell_members(&rig, MEMBERS(1, 2 | LEARNER));
    assert_int_equal(deadline(&rig), DEADLINE_NONE);
    tell_members(&rig, MEMBERS(1, 2));
    assert_int_equal(deadline(&rig), rig.core.now_us + TIMEOUT);
    tell_members(&rig, MEMBERS(1));
    assert_int_equal(deadline(&rig), DEADLINE_NONE);
    rig_end(&rig);
}

static void a_leader_that_is_removed_leads_until_its_replicator_resigns(void **state)
{
    (void)state;
    rig_t rig = rig_of(MEMBERS(1, 2, 3));
    lead(&rig);
    tell_members(&rig, MEMBERS(2, 3));
    expect_nothing(&rig);
    tell(&rig, MSG_QUORUM_SEEN, 5, 0);
    tell(&rig, MSG_RESIGNED, 5, 0);
    assert_int_equal(expect_role(&rig).role, ROLE_FOLLOWER);
    assert_int_equal(deadline(&rig), DEADLINE_NONE);
    rig_end(&rig);
}

static void the_only_voter_left_waits_for_a_leader_that_is_heard(void **state)
{
    (void)state;
    rig_t rig = rig_of(MEMBERS(1, 2));
    tell(&rig, MSG_LEADER_SEEN, 4, 2);
    tell_members(&rig, MEMBERS(1)); /* the leader has removed itself and may still commit that */
    assert_true(deadline(&rig) >= rig.core.now_us + TIMEOUT);
    time_out(&rig);
    answer_query(&rig);
    change_term(&rig, 5, 1);
    expect_term(&rig, MSG_LEAD, 5);
    rig_end(&rig);
}

/* ---- nonsense, and the end ---- */

static void whatever_peers_say_is_survived(void **state)
{
    (void)state;
    rig_t rig = rig_of(MEMBERS(1, 2, 3));
    lead(&rig);
    tell(&rig, MSG_LEADER_SEEN, 5, 2); /* another leader of our term: a lie */
    tell(&rig, MSG_LEADER_SEEN, 5, 0);
    tell(&rig, MSG_BOUNCE, UINT64_MAX, 2);
    answer(&rig, PEER_VOTE, 2, UINT64_MAX, false);
    answer(&rig, PEER_PREVOTE, 2, LIMIT_TERM + 1, false);
    answer(&rig, PEER_VOTE, 2, 5, true);
    peer_msg_t *content = peer_msg_new(PEER_REQ_VOTE, UINT64_MAX);
    content->u.vote_request.transfer = true;
    send_peer(&rig, 2, content);
    send_peer(&rig, 2, peer_msg_new(PEER_TIMEOUT_NOW, 5));
    send_peer(&rig, 2, peer_msg_new(PEER_APPEND, 9));
    send_peer(&rig, 1, peer_msg_new(PEER_REQ_VOTE, 9)); /* "we" */
    send_peer(&rig, 0, peer_msg_new(PEER_REQ_VOTE, 9));
    expect_nothing(&rig);
    rig_end(&rig);
}

static void after_stop_it_votes_but_does_not_stand(void **state)
{
    (void)state;
    rig_t rig = rig_of(MEMBERS(1, 2, 3));
    poll_votes(&rig);
    expect_peer(&rig, 2, PEER_REQ_PREVOTE, 5);
    expect_peer(&rig, 3, PEER_REQ_PREVOTE, 5);
    msg_t *stop = msg_new(MSG_STOP);
    core_test_send(&rig.core, ACTOR_NONE, &stop);
    assert_true(outbox_is_stopped(rig.core.outbox));
    answer(&rig, PEER_PREVOTE, 2, 5, true);
    wake_at(&rig, rig.core.now_us + 2 * TIMEOUT);
    expect_nothing(&rig);
    request(&rig, PEER_REQ_VOTE, 2, 5, 0);
    change_term(&rig, 5, 2);
    assert_true(expect_peer(&rig, 2, PEER_VOTE, 5).u.vote.granted);
    rig_end(&rig);
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
        cmocka_unit_test(a_member_without_a_configuration_waits),
        cmocka_unit_test(the_quorum_is_minded_from_the_second_voter_on),
        cmocka_unit_test(a_leader_that_is_removed_leads_until_its_replicator_resigns),
        cmocka_unit_test(the_only_voter_left_waits_for_a_leader_that_is_heard),
        cmocka_unit_test(whatever_peers_say_is_survived),
        cmocka_unit_test(after_stop_it_votes_but_does_not_stand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
