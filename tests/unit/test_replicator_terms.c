/* Who may append in which term: the seven rules of the fence, as far as the replicator keeps them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "messages/limits.h"
#include "tests/support/replicator_rig.h"

#define TERMS(...) ((const uint64_t[]){__VA_ARGS__, 0})

static uint64_t last_index(repl_t *rig)
{
    return repl_position(rig).last_index;
}

/* Rule 1. */
static void a_fence_ends_leadership_here(void **state)
{
    (void)state;
    repl_t *rig = repl_new(3, 1, NULL, 0);
    repl_lead(rig, 2);
    repl_propose(rig, 77, "x");
    repl_fence(rig, 3);
    msg_t *unknown = repl_expect(rig, ACTOR_GRPC_GATEWAY, MSG_UNKNOWN);
    assert_int_equal(unknown->u.refusal.req_ids[0], 77);
    msg_free(&unknown);
    repl_clear(rig);
    repl_propose(rig, 78, "y");
    msg_t *rejected = repl_expect(rig, ACTOR_GRPC_GATEWAY, MSG_REJECTED);
    msg_free(&rejected);
    assert_int_equal(last_index(rig), 2);
    repl_advance(rig, REPL_HEARTBEAT_US);
    repl_expect_no_peer(rig, 2, PEER_HEARTBEAT);
    repl_hear_ack(rig, 2, 2, 2, 0); /* late: counts for nothing */
    repl_durable(rig, 0);
    repl_expect_none(rig, ACTOR_APPLIER, MSG_COMMITTED);
    repl_destroy(&rig);
}

static void fenced_says_how_far_the_log_goes_with_what_is_in_flight(void **state)
{
    (void)state;
    repl_t *rig = repl_new(3, 1, TERMS(1), 1);
    repl_lead(rig, 2);
    repl_clear(rig);
    repl_fence(rig, 5);
    msg_t *fenced = repl_expect(rig, ACTOR_ELECTION, MSG_FENCED);
    assert_int_equal(fenced->u.position.term, 5);
    assert_int_equal(fenced->u.position.last_index, 2);
    assert_int_equal(fenced->u.position.last_term, 2);
    assert_non_null(fenced->u.position.configuration);
    msg_free(&fenced);
    repl_destroy(&rig);
}

static void a_lower_fence_changes_nothing(void **state)
{
    (void)state;
    repl_t *rig = repl_new(3, 1, NULL, 0);
    repl_lead(rig, 5);
    repl_fence(rig, 4);
    repl_propose(rig, 1, "x");
    repl_expect_none(rig, ACTOR_GRPC_GATEWAY, MSG_REJECTED);
    repl_destroy(&rig);
}

/* Rule 2. */
static void nothing_is_taken_between_fence_and_open(void **state)
{
    (void)state;
    repl_t *rig = repl_new(3, 1, NULL, 0);
    repl_fence(rig, 2);
    repl_clear(rig);
    repl_hear_append(rig, 2, 2, 0, 0, TERMS(2), 0);
    assert_int_equal(last_index(rig), 0);
    repl_expect_no_peer(rig, 2, PEER_APPEND_ACK);
    repl_expect_none(rig, ACTOR_ELECTION, MSG_LEADER_SEEN);
    repl_hear_heartbeat(rig, 2, 2, 0, 1);
    repl_expect_no_peer(rig, 2, PEER_HB_ACK);
    repl_tell(rig, MSG_OPEN, 2);
    repl_hear_append(rig, 2, 2, 0, 0, TERMS(2), 0);
    assert_int_equal(last_index(rig), 1);
    repl_destroy(&rig);
}

static void an_open_that_a_fence_overtook_is_ignored(void **state)
{
    (void)state;
    repl_t *rig = repl_new(3, 1, NULL, 0);
    repl_fence(rig, 2);
    repl_fence(rig, 3);
    repl_tell(rig, MSG_OPEN, 2);
    repl_hear_append(rig, 2, 3, 0, 0, TERMS(3), 0);
    assert_int_equal(last_index(rig), 0);
    repl_destroy(&rig);
}

/* A vote given later in the same term opens it again: what the leader was told stays. */
static void a_term_is_opened_once(void **state)
{
    (void)state;
    repl_t *rig = repl_new(3, 1, NULL, 0);
    repl_open(rig, 2);
    repl_hear_append(rig, 2, 2, 0, 0, TERMS(2), 0);
    repl_tell(rig, MSG_OPEN, 2);
    repl_durable(rig, 0);
    msg_t *ack = repl_expect_peer(rig, 2, PEER_APPEND_ACK);
    assert_int_equal(ack->u.peer.content->u.append_ack.index, 1);
    msg_free(&ack);
    repl_destroy(&rig);
}

/* Rule 3. */
static void lead_is_obeyed_only_in_the_fenced_and_open_term(void **state)
{
    (void)state;
    repl_t *rig = repl_new(3, 1, NULL, 0);
    repl_fence(rig, 3);
    repl_tell(rig, MSG_LEAD, 3); /* not durable yet */
    assert_int_equal(last_index(rig), 0);
    repl_tell(rig, MSG_OPEN, 3);
    repl_fence(rig, 4);
    repl_tell(rig, MSG_LEAD, 3); /* overtaken */
    assert_int_equal(last_index(rig), 0);
    repl_tell(rig, MSG_OPEN, 4);
    repl_tell(rig, MSG_LEAD, 4);
    assert_int_equal(last_index(rig), 1);
    repl_destroy(&rig);
}

static void a_term_is_led_once(void **state)
{
    (void)state;
    repl_t *rig = repl_new(3, 1, NULL, 0);
    repl_lead(rig, 2);
    repl_tell(rig, MSG_LEAD, 2);
    assert_int_equal(last_index(rig), 1);
    repl_tell(rig, MSG_STEP_DOWN, 2);
    repl_tell(rig, MSG_LEAD, 2);
    assert_int_equal(last_index(rig), 1);
    repl_destroy(&rig);
}

static void stepping_down_counts_only_for_the_term_that_is_led(void **state)
{
    (void)state;
    repl_t *rig = repl_new(3, 1, NULL, 0);
    repl_lead(rig, 3);
    repl_tell(rig, MSG_STEP_DOWN, 2);
    repl_propose(rig, 1, "x");
    repl_expect_none(rig, ACTOR_GRPC_GATEWAY, MSG_REJECTED);
    repl_tell(rig, MSG_STEP_DOWN, 3);
    msg_t *unknown = repl_expect(rig, ACTOR_GRPC_GATEWAY, MSG_UNKNOWN);
    msg_free(&unknown);
    repl_destroy(&rig);
}

/* Rule 5. */
static void what_becomes_durable_after_a_fence_is_not_acknowledged(void **state)
{
    (void)state;
    repl_t *rig = repl_new(3, 1, NULL, 0);
    repl_open(rig, 2);
    repl_hear_append(rig, 2, 2, 0, 0, TERMS(2), 0);
    repl_fence(rig, 3);
    repl_clear(rig);
    repl_durable(rig, 0);
    repl_expect_no_peer(rig, 2, PEER_APPEND_ACK);
    repl_tell(rig, MSG_OPEN, 3);
    repl_flush(rig);
    repl_expect_no_peer(rig, 2, PEER_APPEND_ACK);
    repl_destroy(&rig);
}

static void a_higher_term_is_reported_once_in_a_while(void **state)
{
    (void)state;
    repl_t *rig = repl_new(3, 1, NULL, 0);
    repl_hear_append(rig, 2, 5, 0, 0, TERMS(5), 0);
    msg_t *bounce = repl_expect(rig, ACTOR_ELECTION, MSG_BOUNCE);
    assert_int_equal(bounce->u.term.term, 5);
    assert_int_equal(bounce->u.term.member, 2);
    msg_free(&bounce);
    repl_hear_heartbeat(rig, 2, 5, 0, 0);
    repl_expect_none(rig, ACTOR_ELECTION, MSG_BOUNCE);
    repl_hear_heartbeat(rig, 3, 6, 0, 0); /* higher still */
    bounce = repl_expect(rig, ACTOR_ELECTION, MSG_BOUNCE);
    msg_free(&bounce);
    repl_fence(rig, 5);
    repl_hear_heartbeat(rig, 3, 6, 0, 0); /* election has dealt with another one */
    bounce = repl_expect(rig, ACTOR_ELECTION, MSG_BOUNCE);
    msg_free(&bounce);
    assert_int_equal(last_index(rig), 0);
    repl_destroy(&rig);
}

static void a_report_that_election_had_no_time_for_is_repeated(void **state)
{
    (void)state;
    repl_t *rig = repl_new(3, 1, NULL, 0);
    repl_hear_heartbeat(rig, 2, 5, 0, 0);
    repl_clear(rig);
    repl_advance(rig, REPL_HEARTBEAT_US);
    repl_hear_heartbeat(rig, 2, 5, 0, 0);
    msg_t *bounce = repl_expect(rig, ACTOR_ELECTION, MSG_BOUNCE);
    msg_free(&bounce);
    repl_destroy(&rig);
}

static void a_stale_leader_is_told_the_term(void **state)
{
    (void)state;
    repl_t *rig = repl_new(3, 9, TERMS(1), 1);
    repl_hear_append(rig, 2, 8, 1, 1, TERMS(8), 0);
    msg_t *ack = repl_expect_peer(rig, 2, PEER_APPEND_ACK);
    assert_int_equal(ack->u.peer.content->term, 9);
    assert_false(ack->u.peer.content->u.append_ack.ok);
    msg_free(&ack);
    repl_hear_heartbeat(rig, 3, 8, 1, 1);
    ack = repl_expect_peer(rig, 3, PEER_APPEND_ACK);
    assert_int_equal(ack->u.peer.content->term, 9);
    msg_free(&ack);
    repl_hear_ack(rig, 2, 8, 1, 0); /* an old answer needs none */
    repl_expect_no_peer(rig, 2, PEER_APPEND_ACK);
    assert_int_equal(last_index(rig), 1);
    repl_destroy(&rig);
}

static void a_leader_that_hears_of_a_higher_term_reports_it(void **state)
{
    (void)state;
    repl_t *rig = repl_new(3, 1, NULL, 0);
    repl_lead(rig, 2);
    repl_hear_refusal(rig, 2, 7, 0, 0, 0);
    msg_t *bounce = repl_expect(rig, ACTOR_ELECTION, MSG_BOUNCE);
    assert_int_equal(bounce->u.term.term, 7);
    msg_free(&bounce);
    repl_destroy(&rig);
}

static void after_a_pause_leadership_is_given_up_before_anything_else(void **state)
{
    (void)state;
    repl_t *rig = repl_new(3, 1, NULL, 0);
    repl_lead(rig, 2);
    rig->core.now_us += REPL_ELECTION_US + 1;
    repl_propose(rig, 5, "x");
    msg_t *resigned = repl_expect(rig, ACTOR_ELECTION, MSG_RESIGNED);
    assert_int_equal(resigned->u.term.term, 2);
    msg_free(&resigned);
    msg_t *rejected = repl_expect(rig, ACTOR_GRPC_GATEWAY, MSG_REJECTED);
    msg_free(&rejected);
    assert_int_equal(last_index(rig), 1);
    repl_destroy(&rig);
}

static void alone_a_pause_does_no_harm(void **state)
{
    (void)state;
    repl_t *rig = repl_new(1, 1, NULL, 0);
    repl_lead(rig, 2);
    rig->core.now_us += 10 * REPL_ELECTION_US;
    repl_propose(rig, 5, "x");
    repl_expect_none(rig, ACTOR_ELECTION, MSG_RESIGNED);
    repl_expect_none(rig, ACTOR_GRPC_GATEWAY, MSG_REJECTED);
    repl_destroy(&rig);
}

static void everybody_hears_who_the_members_are_at_start(void **state)
{
    (void)state;
    repl_t *rig = repl_new(3, 1, NULL, 0);
    msg_t *members = repl_expect(rig, ACTOR_ELECTION, MSG_MEMBERS);
    msg_t *peers = repl_expect(rig, ACTOR_PEER, MSG_PEERS);
    assert_ptr_equal(members->u.members.configuration, peers->u.members.configuration);
    msg_free(&members);
    msg_free(&peers);
    repl_destroy(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fence_ends_leadership_here),
        cmocka_unit_test(fenced_says_how_far_the_log_goes_with_what_is_in_flight),
        cmocka_unit_test(a_lower_fence_changes_nothing),
        cmocka_unit_test(nothing_is_taken_between_fence_and_open),
        cmocka_unit_test(an_open_that_a_fence_overtook_is_ignored),
        cmocka_unit_test(a_term_is_opened_once),
        cmocka_unit_test(lead_is_obeyed_only_in_the_fenced_and_open_term),
        cmocka_unit_test(a_term_is_led_once),
        cmocka_unit_test(stepping_down_counts_only_for_the_term_that_is_led),
        cmocka_unit_test(what_becomes_durable_after_a_fence_is_not_acknowledged),
        cmocka_unit_test(a_higher_term_is_reported_once_in_a_while),
        cmocka_unit_test(a_report_that_election_had_no_time_for_is_repeated),
        cmocka_unit_test(a_stale_leader_is_told_the_term),
        cmocka_unit_test(a_leader_that_hears_of_a_higher_term_reports_it),
        cmocka_unit_test(after_a_pause_leadership_is_given_up_before_anything_else),
        cmocka_unit_test(alone_a_pause_does_no_harm),
        cmocka_unit_test(everybody_hears_who_the_members_are_at_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
