/* Elections: the own candidacy, and votes for others, rule by rule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/support/election_rig.h"

/* ---- alone ---- */

static void nothing_leaves_before_term_and_vote_are_durable(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1));
    et_answer_query(&rig);
    et_answer_fence(&rig, 5);
    et_answer_hardstate(&rig, 5, 1);
    et_expect_term(&rig, MSG_OPEN, 5);
    et_expect_term(&rig, MSG_LEAD, 5);
    assert_int_equal(et_deadline(&rig), DEADLINE_NONE);
    et_rig_end(&rig);
}

static void an_answer_to_an_older_question_is_ignored(void **state)
{
    (void)state;
    election_cfg_t cfg = {.pre_vote = false};
    et_rig_t rig = et_rig_with(MEMBERS(1), &cfg);
    msg_t *fence = et_expect(&rig, MSG_FENCE);
    msg_t *older = msg_new(MSG_FENCE);
    older->u.fence = (msg_fence_t){.seq = fence->u.fence.seq - 1, .term = 5};
    et_answer_position(&rig, &older);
    et_expect_nothing(&rig);
    et_answer_position(&rig, &fence);
    msg_t *hardstate = et_expect(&rig, MSG_HARDSTATE);
    msg_t *durable = msg_new(MSG_HS_DURABLE);
    durable->u.hardstate.seq = hardstate->u.hardstate.seq - 1;
    msg_free(&hardstate);
    core_test_send(&rig.core, ACTOR_WAL_WRITER, &durable);
    et_expect_nothing(&rig);
    et_rig_end(&rig);
}

/* ---- its own candidacy ---- */

static void pre_votes_are_asked_of_the_other_voters_and_change_nothing(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3, 4 | LEARNER));
    et_expect_nothing(&rig); /* waits its time-out: somebody else may lead */
    et_poll_votes(&rig);
    peer_msg_t asked = et_expect_peer(&rig, 2, PEER_REQ_PREVOTE, 5);
    assert_int_equal(asked.u.vote_request.last_term, 3);
    assert_int_equal(asked.u.vote_request.last_index, 10);
    assert_false(asked.u.vote_request.transfer);
    et_expect_peer(&rig, 3, PEER_REQ_PREVOTE, 5);
    et_expect_nothing(&rig);
    et_rig_end(&rig);
}

static void a_majority_of_pre_votes_and_then_of_votes_makes_a_leader(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_poll_votes(&rig);
    msg_role_t role = et_expect_role(&rig);
    assert_int_equal(role.role, ROLE_PRE_CANDIDATE);
    assert_int_equal(role.term, 4);
    et_answer(&rig, PEER_PREVOTE, 3, 5, true);
    et_change_term(&rig, 5, 1);
    assert_int_equal(et_expect_role(&rig).role, ROLE_CANDIDATE);
    et_wake_at(&rig, et_deadline(&rig));
    peer_msg_t asked = et_expect_peer(&rig, 2, PEER_REQ_VOTE, 5);
    assert_int_equal(asked.u.vote_request.last_term, 3);
    assert_int_equal(asked.u.vote_request.last_index, 10);
    et_answer(&rig, PEER_VOTE, 2, 5, true);
    role = et_expect_role(&rig);
    assert_int_equal(role.role, ROLE_LEADER);
    assert_int_equal(role.leader, 1);
    assert_int_equal(role.term, 5);
    et_rig_end(&rig);
}

static void without_pre_vote_the_term_is_fenced_at_once(void **state)
{
    (void)state;
    election_cfg_t cfg = {.pre_vote = false};
    et_rig_t rig = et_rig_with(MEMBERS(1, 2, 3), &cfg);
    et_time_out(&rig);
    et_change_term(&rig, 5, 1);
    et_expect_peer(&rig, 2, PEER_REQ_VOTE, 5);
    et_rig_end(&rig);
}

static void who_has_not_answered_is_asked_again_every_heartbeat(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3, 4, 5));
    et_poll_votes(&rig);
    for (uint64_t id = 2; id <= 5; id++) {
        et_expect_peer(&rig, id, PEER_REQ_PREVOTE, 5);
    }
    et_answer(&rig, PEER_PREVOTE, 2, 5, true);
    et_answer(&rig, PEER_PREVOTE, 4, 4, false);
    assert_int_equal(et_deadline(&rig), rig.core.now_us + HEARTBEAT);
    et_wake_at(&rig, et_deadline(&rig));
    et_expect_peer(&rig, 3, PEER_REQ_PREVOTE, 5);
    et_expect_peer(&rig, 5, PEER_REQ_PREVOTE, 5);
    et_expect_nothing(&rig);
    et_rig_end(&rig);
}

static void a_campaign_without_answers_ends_and_begins_anew_in_the_same_term(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_stand(&rig);
    et_wake_at(&rig, rig.core.now_us + 2 * TIMEOUT);
    et_answer_query(&rig);
    et_expect_peer(&rig, 2, PEER_REQ_PREVOTE, 6); /* and no FENCE */
    et_expect_peer(&rig, 3, PEER_REQ_PREVOTE, 6);
    et_expect_nothing(&rig);
    et_rig_end(&rig);
}

static void a_majority_of_refusals_ends_a_campaign(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_stand(&rig);
    et_answer(&rig, PEER_VOTE, 2, 5, false);
    et_answer(&rig, PEER_VOTE, 2, 5, false); /* a duplicate is not another */
    et_answer(&rig, PEER_VOTE, 3, 5, false);
    assert_int_equal(et_expect_role(&rig).role, ROLE_FOLLOWER);
    et_answer(&rig, PEER_VOTE, 2, 5, true); /* too late */
    et_expect_nothing(&rig);
    assert_true(et_deadline(&rig) >= rig.core.now_us + TIMEOUT);
    et_rig_end(&rig);
}

static void only_votes_of_this_term_by_voters_count_and_once(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3, 4, 5, 6 | LEARNER));
    et_poll_votes(&rig);
    et_answer(&rig, PEER_PREVOTE, 3, 6, true); /* of another term */
    et_answer(&rig, PEER_PREVOTE, 6, 5, true); /* a learner */
    et_answer(&rig, PEER_PREVOTE, 7, 5, true); /* a stranger */
    et_answer(&rig, PEER_VOTE, 4, 4, true);    /* no pre-vote */
    et_answer(&rig, PEER_PREVOTE, 2, 5, true);
    et_answer(&rig, PEER_PREVOTE, 2, 5, true);
    for (uint64_t id = 2; id <= 5; id++) {
        et_expect_peer(&rig, id, PEER_REQ_PREVOTE, 5);
    }
    et_expect_nothing(&rig);
    et_rig_end(&rig);
}

static void votes_are_counted_by_the_configuration_that_was_fenced(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_poll_votes(&rig);
    et_expect_peer(&rig, 2, PEER_REQ_PREVOTE, 5);
    et_expect_peer(&rig, 3, PEER_REQ_PREVOTE, 5);
    et_answer(&rig, PEER_PREVOTE, 3, 5, true);
    bytes_unref(&rig.members);
    rig.members = MEMBERS(1, 2, 3, 4, 5); /* appended before the fence */
    et_change_term(&rig, 5, 1);
    for (uint64_t id = 2; id <= 5; id++) {
        et_expect_peer(&rig, id, PEER_REQ_VOTE, 5);
    }
    et_answer(&rig, PEER_VOTE, 2, 5, true);
    et_expect_nothing(&rig);
    et_answer(&rig, PEER_VOTE, 5, 5, true);
    et_expect_term(&rig, MSG_LEAD, 5);
    et_rig_end(&rig);
}

static void who_was_removed_before_the_fence_goes_to_the_term_without_a_vote(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_poll_votes(&rig);
    et_expect_peer(&rig, 2, PEER_REQ_PREVOTE, 5);
    et_expect_peer(&rig, 3, PEER_REQ_PREVOTE, 5);
    et_answer(&rig, PEER_PREVOTE, 3, 5, true);
    bytes_unref(&rig.members);
    rig.members = MEMBERS(2, 3);
    et_change_term(&rig, 5, 0);
    et_expect_nothing(&rig);
    assert_int_equal(et_deadline(&rig), DEADLINE_NONE);
    et_rig_end(&rig);
}

static void a_refusal_of_a_higher_term_is_adopted(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_poll_votes(&rig);
    et_expect_peer(&rig, 2, PEER_REQ_PREVOTE, 5);
    et_expect_peer(&rig, 3, PEER_REQ_PREVOTE, 5);
    et_answer(&rig, PEER_PREVOTE, 2, 9, false);
    et_change_term(&rig, 9, 0);
    msg_role_t role = et_expect_role(&rig);
    assert_int_equal(role.term, 9);
    assert_int_equal(role.role, ROLE_FOLLOWER);
    et_answer(&rig, PEER_VOTE, 3, 12, false); /* of a candidacy that a crash ended */
    et_change_term(&rig, 12, 0);
    et_rig_end(&rig);
}

static void time_outs_are_random_and_at_least_an_election_timeout(void **state)
{
    (void)state;
    uint64_t least = UINT64_MAX;
    uint64_t most = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        election_cfg_t cfg = {.pre_vote = true, .seed = seed};
        et_rig_t rig = et_rig_with(MEMBERS(1, 2, 3), &cfg);
        uint64_t wait_us = et_deadline(&rig) - rig.core.now_us;
        least = wait_us < least ? wait_us : least;
        most = wait_us > most ? wait_us : most;
        et_rig_end(&rig);
    }
    assert_true(least >= TIMEOUT && least < TIMEOUT + TIMEOUT / 10);
    assert_true(most < 2 * TIMEOUT && most > 2 * TIMEOUT - TIMEOUT / 10);
}

static void the_first_time_out_may_be_shorter_but_spares_a_leader_that_is_there(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        election_cfg_t cfg = {.pre_vote = true, .seed = seed, .tick_advance = true};
        et_rig_t rig = et_rig_with(MEMBERS(1, 2, 3), &cfg);
        assert_in_range(et_deadline(&rig) - rig.core.now_us, 3 * HEARTBEAT,
                        3 * HEARTBEAT + TIMEOUT / 2);
        et_tell(&rig, MSG_LEADER_SEEN, 4, 2);
        assert_in_range(et_deadline(&rig) - rig.core.now_us, TIMEOUT, 2 * TIMEOUT);
        et_rig_end(&rig);
    }
}

/* ---- a leader that is gone ---- */

static void a_leader_whose_process_has_ended_is_not_waited_for(void **state)
{
    (void)state;
    uint64_t least = UINT64_MAX;
    uint64_t most = 0;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        election_cfg_t cfg = {.pre_vote = true, .seed = seed};
        et_rig_t rig = et_rig_with(MEMBERS(1, 2, 3), &cfg);
        et_tell(&rig, MSG_LEADER_SEEN, 4, 2);
        et_tell_gone(&rig, 2);
        uint64_t deadline_us = et_deadline(&rig);
        uint64_t wait_us = deadline_us - rig.core.now_us;
        assert_in_range(wait_us, 2 * HEARTBEAT, 2 * HEARTBEAT + TIMEOUT / 2);
        least = wait_us < least ? wait_us : least;
        most = wait_us > most ? wait_us : most;
        rig.core.now_us += HEARTBEAT;
        et_tell_gone(&rig, 2); /* again: that postpones nothing */
        assert_int_equal(et_deadline(&rig), deadline_us);
        et_wake_at(&rig, deadline_us);
        et_answer_query(&rig);
        et_expect_peer(&rig, 2, PEER_REQ_PREVOTE, 5); /* and no FENCE: the hint may be wrong */
        et_rig_end(&rig);
    }
    assert_true(most - least > TIMEOUT / 4); /* not all at once */
}

static void a_leader_that_is_heard_after_all_is_not_gone(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_tell(&rig, MSG_LEADER_SEEN, 4, 2);
    et_tell_gone(&rig, 2);
    rig.core.now_us += HEARTBEAT;
    et_tell(&rig, MSG_LEADER_SEEN, 4, 2);
    assert_in_range(et_deadline(&rig) - rig.core.now_us, TIMEOUT, 2 * TIMEOUT);
    rig.core.now_us += 2 * HEARTBEAT;
    et_request(&rig, PEER_REQ_PREVOTE, 3, 5, 0);
    et_expect_nothing(&rig);
    et_tell_gone(&rig, 2); /* now it is */
    assert_in_range(et_deadline(&rig) - rig.core.now_us, 2 * HEARTBEAT,
                    2 * HEARTBEAT + TIMEOUT / 2);
    et_rig_end(&rig);
}

static void only_the_leader_s_end_counts_and_only_with_pre_votes(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_tell(&rig, MSG_LEADER_SEEN, 4, 2);
    uint64_t deadline_us = et_deadline(&rig);
    et_tell_gone(&rig, 3);
    assert_int_equal(et_deadline(&rig), deadline_us);
    et_rig_end(&rig);
    election_cfg_t cfg = {.pre_vote = false}; /* who is wrong would depose a leader */
    rig = et_rig_with(MEMBERS(1, 2, 3), &cfg);
    et_tell(&rig, MSG_LEADER_SEEN, 4, 2);
    deadline_us = et_deadline(&rig);
    et_tell_gone(&rig, 2);
    assert_int_equal(et_deadline(&rig), deadline_us);
    et_rig_end(&rig);
}

/* One member that is wrong does not help another to depose the leader: it hears it within the time. */
static void who_holds_the_leader_for_gone_votes_when_it_would_have_heard_it(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_tell(&rig, MSG_LEADER_SEEN, 4, 2);
    et_tell_gone(&rig, 2);
    rig.core.now_us += 2 * HEARTBEAT - 1;
    et_request(&rig, PEER_REQ_PREVOTE, 3, 5, 0);
    et_expect_nothing(&rig);
    rig.core.now_us += 1;
    et_request(&rig, PEER_REQ_PREVOTE, 3, 5, 0);
    et_answer_query(&rig);
    assert_true(et_expect_peer(&rig, 3, PEER_PREVOTE, 5).u.vote.granted);
    et_request(&rig, PEER_REQ_VOTE, 3, 5, 0);
    et_change_term(&rig, 5, 3);
    assert_true(et_expect_peer(&rig, 3, PEER_VOTE, 5).u.vote.granted);
    /* The new leader is another one. */
    et_tell(&rig, MSG_LEADER_SEEN, 5, 3);
    et_request(&rig, PEER_REQ_PREVOTE, 2, 6, 0);
    et_expect_nothing(&rig);
    et_rig_end(&rig);
}

/* ---- votes for others ---- */

static void a_vote_leaves_only_when_it_is_durable(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_request(&rig, PEER_REQ_VOTE, 2, 6, 0);
    et_answer_fence(&rig, 6);
    et_answer_hardstate(&rig, 6, 2);
    et_expect_term(&rig, MSG_OPEN, 6);
    assert_true(et_expect_peer(&rig, 2, PEER_VOTE, 6).u.vote.granted);
    et_rig_end(&rig);
}

static void a_worse_log_gets_no_vote_but_its_term_is_adopted(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_request(&rig, PEER_REQ_VOTE, 2, 6, -1);
    et_change_term(&rig, 6, 0);
    assert_false(et_expect_peer(&rig, 2, PEER_VOTE, 6).u.vote.granted);
    et_request(&rig, PEER_REQ_VOTE, 2, 6, -1); /* again: nothing to make durable */
    et_answer_fence(&rig, 6);
    assert_false(et_expect_peer(&rig, 2, PEER_VOTE, 6).u.vote.granted);
    et_expect_nothing(&rig);
    et_request(&rig, PEER_REQ_VOTE, 3, 6, 0); /* the vote of the term is still there */
    et_answer_fence(&rig, 6);
    et_answer_hardstate(&rig, 6, 3);
    assert_true(et_expect_peer(&rig, 3, PEER_VOTE, 6).u.vote.granted); /* and no OPEN: it is open */
    et_rig_end(&rig);
}

static void a_later_last_term_beats_a_longer_log(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    peer_msg_t *content = peer_msg_new(PEER_REQ_VOTE, 6);
    content->u.vote_request = (peer_vote_request_t){.last_term = 4, .last_index = 1};
    et_send_peer(&rig, 2, content);
    et_change_term(&rig, 6, 2);
    et_rig_end(&rig);
}

static void there_is_one_vote_per_term(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_request(&rig, PEER_REQ_VOTE, 2, 6, 0);
    et_change_term(&rig, 6, 2);
    et_expect_peer(&rig, 2, PEER_VOTE, 6);
    et_request(&rig, PEER_REQ_VOTE, 3, 6, 5);
    assert_false(et_expect_peer(&rig, 3, PEER_VOTE, 6).u.vote.granted);
    et_request(&rig, PEER_REQ_VOTE, 2, 6, 0); /* the answer was lost */
    assert_true(et_expect_peer(&rig, 2, PEER_VOTE, 6).u.vote.granted);
    et_expect_nothing(&rig);
    et_rig_end(&rig);
}

static void a_vote_outlives_a_restart(void **state)
{
    (void)state;
    election_cfg_t cfg = {.pre_vote = true, .term = 6, .vote = 2};
    et_rig_t rig = et_rig_with(MEMBERS(1, 2, 3), &cfg);
    et_request(&rig, PEER_REQ_VOTE, 3, 6, 5);
    assert_false(et_expect_peer(&rig, 3, PEER_VOTE, 6).u.vote.granted);
    et_expect_nothing(&rig);
    et_rig_end(&rig);
}

static void a_candidate_votes_for_nobody_else(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_stand(&rig);
    et_request(&rig, PEER_REQ_VOTE, 2, 5, 5);
    assert_false(et_expect_peer(&rig, 2, PEER_VOTE, 5).u.vote.granted);
    et_request(&rig, PEER_REQ_VOTE, 3, 6, 0); /* but in the next term */
    et_change_term(&rig, 6, 3);
    assert_true(et_expect_peer(&rig, 3, PEER_VOTE, 6).u.vote.granted);
    et_rig_end(&rig);
}

static void in_a_term_that_has_its_leader_no_vote_is_given(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_tell(&rig, MSG_LEADER_SEEN, 4, 2);
    et_request(&rig, PEER_REQ_VOTE, 3, 4, 5);
    assert_false(et_expect_peer(&rig, 3, PEER_VOTE, 4).u.vote.granted);
    et_expect_nothing(&rig);
    et_rig_end(&rig);
}

static void a_candidate_of_an_older_term_learns_ours(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_tell(&rig, MSG_LEADER_SEEN, 4, 3);
    et_request(&rig, PEER_REQ_VOTE, 2, 3, 0);
    assert_false(et_expect_peer(&rig, 2, PEER_VOTE, 4).u.vote.granted);
    et_request(&rig, PEER_REQ_PREVOTE, 2, 4, 0);
    assert_false(et_expect_peer(&rig, 2, PEER_PREVOTE, 4).u.vote.granted);
    et_expect_nothing(&rig);
    et_rig_end(&rig);
}

static void a_pre_vote_depends_on_the_log_and_changes_nothing(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    uint64_t due = et_deadline(&rig);
    et_request(&rig, PEER_REQ_PREVOTE, 2, 7, 0);
    et_answer_query(&rig);
    assert_true(et_expect_peer(&rig, 2, PEER_PREVOTE, 7).u.vote.granted);
    et_request(&rig, PEER_REQ_PREVOTE, 3, 7, -1);
    et_answer_query(&rig);
    assert_false(et_expect_peer(&rig, 3, PEER_PREVOTE, 4).u.vote.granted);
    et_expect_nothing(&rig);
    assert_int_equal(et_deadline(&rig), due);
    et_request(&rig, PEER_REQ_VOTE, 3, 7, 0); /* nothing was promised */
    et_change_term(&rig, 7, 3);
    et_rig_end(&rig);
}

static void pre_candidates_grant_each_other_pre_votes(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_poll_votes(&rig);
    et_expect_peer(&rig, 2, PEER_REQ_PREVOTE, 5);
    et_expect_peer(&rig, 3, PEER_REQ_PREVOTE, 5);
    et_request(&rig, PEER_REQ_PREVOTE, 2, 5, 0);
    et_answer_query(&rig);
    assert_true(et_expect_peer(&rig, 2, PEER_PREVOTE, 5).u.vote.granted);
    et_answer(&rig, PEER_PREVOTE, 2, 5, true); /* the own campaign goes on */
    et_answer_fence(&rig, 5);
    et_rig_end(&rig);
}

static void who_hears_a_leader_gives_no_votes(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_tell(&rig, MSG_LEADER_SEEN, 4, 2);
    rig.core.now_us += TIMEOUT - 1;
    et_request(&rig, PEER_REQ_PREVOTE, 3, 5, 0);
    et_request(&rig, PEER_REQ_VOTE, 3, 5, 0);
    et_expect_nothing(&rig);
    rig.core.now_us += 1;
    et_request(&rig, PEER_REQ_PREVOTE, 3, 5, 0);
    et_answer_query(&rig);
    assert_true(et_expect_peer(&rig, 3, PEER_PREVOTE, 5).u.vote.granted);
    et_request(&rig, PEER_REQ_VOTE, 3, 5, 0);
    et_change_term(&rig, 5, 3);
    et_rig_end(&rig);
}

static void whom_the_leader_asked_to_stand_gets_votes_at_once(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_tell(&rig, MSG_LEADER_SEEN, 4, 2);
    peer_msg_t *content = peer_msg_new(PEER_REQ_VOTE, 5);
    content->u.vote_request =
        (peer_vote_request_t){.last_term = 3, .last_index = 10, .transfer = true};
    et_send_peer(&rig, 3, content);
    et_change_term(&rig, 5, 3);
    assert_true(et_expect_peer(&rig, 3, PEER_VOTE, 5).u.vote.granted);
    et_rig_end(&rig);
}

static void a_leader_with_a_quorum_gives_no_votes(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_lead(&rig);
    rig.core.now_us += TIMEOUT - 1;
    et_request(&rig, PEER_REQ_PREVOTE, 3, 6, 5);
    et_request(&rig, PEER_REQ_VOTE, 3, 6, 5);
    et_expect_nothing(&rig);
    et_tell(&rig, MSG_QUORUM_SEEN, 5, 0);
    rig.core.now_us += TIMEOUT - 1;
    et_request(&rig, PEER_REQ_VOTE, 3, 6, 5);
    et_expect_nothing(&rig);
    et_rig_end(&rig);
}

static void requests_during_a_term_change_are_dropped(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    et_request(&rig, PEER_REQ_VOTE, 2, 6, 0);
    msg_t *fence = et_expect(&rig, MSG_FENCE);
    et_request(&rig, PEER_REQ_VOTE, 3, 7, 0);
    et_request(&rig, PEER_REQ_PREVOTE, 3, 7, 0);
    et_expect_nothing(&rig);
    et_answer_position(&rig, &fence);
    et_request(&rig, PEER_REQ_VOTE, 3, 7, 0);
    et_tell(&rig, MSG_LEADER_SEEN, 4, 3); /* of the term that is fenced off */
    et_answer_hardstate(&rig, 6, 2);
    et_expect_term(&rig, MSG_OPEN, 6);
    assert_true(et_expect_peer(&rig, 2, PEER_VOTE, 6).u.vote.granted);
    assert_int_equal(et_expect_role(&rig).leader, 0);
    et_rig_end(&rig);
}

static void a_vote_given_postpones_the_own_candidacy_one_refused_does_not(void **state)
{
    (void)state;
    et_rig_t rig = et_rig_of(MEMBERS(1, 2, 3));
    uint64_t due = et_deadline(&rig);
    rig.core.now_us += TIMEOUT / 2;
    et_request(&rig, PEER_REQ_VOTE, 2, 6, -1);
    et_change_term(&rig, 6, 0);
    assert_int_equal(et_deadline(&rig), due);
    et_expect_role(&rig);
    et_request(&rig, PEER_REQ_VOTE, 3, 6, 0);
    et_answer_fence(&rig, 6);
    et_answer_hardstate(&rig, 6, 3);
    assert_true(et_deadline(&rig) >= rig.core.now_us + TIMEOUT);
    et_rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_leaves_before_term_and_vote_are_durable),
        cmocka_unit_test(an_answer_to_an_older_question_is_ignored),
        cmocka_unit_test(pre_votes_are_asked_of_the_other_voters_and_change_nothing),
        cmocka_unit_test(a_majority_of_pre_votes_and_then_of_votes_makes_a_leader),
        cmocka_unit_test(without_pre_vote_the_term_is_fenced_at_once),
        cmocka_unit_test(who_has_not_answered_is_asked_again_every_heartbeat),
        cmocka_unit_test(a_campaign_without_answers_ends_and_begins_anew_in_the_same_term),
        cmocka_unit_test(a_majority_of_refusals_ends_a_campaign),
        cmocka_unit_test(only_votes_of_this_term_by_voters_count_and_once),
        cmocka_unit_test(votes_are_counted_by_the_configuration_that_was_fenced),
        cmocka_unit_test(who_was_removed_before_the_fence_goes_to_the_term_without_a_vote),
        cmocka_unit_test(a_refusal_of_a_higher_term_is_adopted),
        cmocka_unit_test(time_outs_are_random_and_at_least_an_election_timeout),
        cmocka_unit_test(the_first_time_out_may_be_shorter_but_spares_a_leader_that_is_there),
        cmocka_unit_test(a_leader_whose_process_has_ended_is_not_waited_for),
        cmocka_unit_test(a_leader_that_is_heard_after_all_is_not_gone),
        cmocka_unit_test(only_the_leader_s_end_counts_and_only_with_pre_votes),
        cmocka_unit_test(who_holds_the_leader_for_gone_votes_when_it_would_have_heard_it),
        cmocka_unit_test(a_vote_leaves_only_when_it_is_durable),
        cmocka_unit_test(a_worse_log_gets_no_vote_but_its_term_is_adopted),
        cmocka_unit_test(a_later_last_term_beats_a_longer_log),
        cmocka_unit_test(there_is_one_vote_per_term),
        cmocka_unit_test(a_vote_outlives_a_restart),
        cmocka_unit_test(a_candidate_votes_for_nobody_else),
        cmocka_unit_test(in_a_term_that_has_its_leader_no_vote_is_given),
        cmocka_unit_test(a_candidate_of_an_older_term_learns_ours),
        cmocka_unit_test(a_pre_vote_depends_on_the_log_and_changes_nothing),
        cmocka_unit_test(pre_candidates_grant_each_other_pre_votes),
        cmocka_unit_test(who_hears_a_leader_gives_no_votes),
        cmocka_unit_test(whom_the_leader_asked_to_stand_gets_votes_at_once),
        cmocka_unit_test(a_leader_with_a_quorum_gives_no_votes),
        cmocka_unit_test(requests_during_a_term_change_are_dropped),
        cmocka_unit_test(a_vote_given_postpones_the_own_candidacy_one_refused_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
