/* Handing the leadership over: on demand, and when a leader stops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "messages/limits.h"
#include "messages/xalloc.h"
#include "tests/support/replicator_rig.h"

#define TERMS(...) ((const uint64_t[]){__VA_ARGS__, 0})

/* Leads term 2 of three; member 2 has the whole log, member 3 one entry less. */
static repl_t *leader(void)
{
    repl_t *repl = repl_new(3, 1, TERMS(1), 1);
    repl_lead(repl, 2);
    repl_durable(repl, 0);
    repl_hear_ack(repl, 2, 2, 2, 0);
    repl_hear_ack(repl, 3, 2, 1, 0);
    repl_clear(repl);
    return repl;
}

static void transfer(repl_t *repl, uint64_t req_id, uint64_t target)
{
    msg_t *msg = msg_new(MSG_TRANSFER);
    msg->u.transfer = (msg_transfer_t){.req_id = req_id, .target = target};
    repl_send(repl, ACTOR_GRPC_GATEWAY, &msg);
    repl_flush(repl);
}

static void expect_rejected(repl_t *repl, uint64_t req_id, api_error_t error)
{
    msg_t *msg = repl_expect(repl, ACTOR_GRPC_GATEWAY, MSG_REJECTED);
    assert_int_equal(msg->u.refusal.req_ids[0], req_id);
    assert_int_equal(msg->u.refusal.error, error);
    msg_free(&msg);
}

static void expect_timeout_now(repl_t *repl, uint64_t member)
{
    msg_t *msg = repl_expect_peer(repl, member, PEER_TIMEOUT_NOW);
    assert_int_equal(msg->u.peer.content->term, 2);
    msg_free(&msg);
}

static void who_has_everything_is_told_to_stand_at_once(void **state)
{
    (void)state;
    repl_t *repl = leader();
    transfer(repl, 9, 2);
    expect_timeout_now(repl, 2);
    repl_expect_none(repl, ACTOR_GRPC_GATEWAY, MSG_REJECTED);
    repl_destroy(&repl);
}

static void who_lags_is_told_when_it_has_everything(void **state)
{
    (void)state;
    repl_t *repl = leader();
    transfer(repl, 9, 3);
    repl_expect_no_peer(repl, 3, PEER_TIMEOUT_NOW);
    repl_hear_ack(repl, 3, 2, 2, 0);
    expect_timeout_now(repl, 3);
    repl_flush(repl);
    repl_expect_no_peer(repl, 3, PEER_TIMEOUT_NOW); /* once is enough */
    repl_advance(repl, REPL_HEARTBEAT_US);          /* or it got lost */
    expect_timeout_now(repl, 3);
    repl_destroy(&repl);
}

static void without_a_target_the_best_voter_is_taken(void **state)
{
    (void)state;
    repl_t *repl = leader();
    transfer(repl, 9, 0);
    expect_timeout_now(repl, 2);
    repl_destroy(&repl);
}

static void only_a_leader_hands_over_and_only_to_voters(void **state)
{
    (void)state;
    repl_t *repl = repl_new(3, 1, TERMS(1), 1);
    transfer(repl, 9, 2);
    expect_rejected(repl, 9, API_NOT_LEADER);
    repl_destroy(&repl);
    bytes_t *configuration = repl_configuration(TERMS(1, 2), TERMS(3));
    entries_t none = {0};
    replicator_cfg_t cfg = {.term = 1, .configuration = configuration, .entries = &none};
    repl = repl_new_with(&cfg);
    bytes_unref(&configuration);
    repl_lead(repl, 2);
    const uint64_t bad[] = {1, 3, 77, 0}; /* itself, a learner, a stranger, nobody has been heard */
    for (uint64_t i = 0; i < 4; i++) {
        transfer(repl, i, bad[i]);
        expect_rejected(repl, i, API_BAD_LEADER_TRANSFEREE);
    }
    repl_destroy(&repl);
}

static void one_at_a_time(void **state)
{
    (void)state;
    repl_t *repl = leader();
    transfer(repl, 9, 3);
    transfer(repl, 10, 2);
    expect_rejected(repl, 10, API_TOO_MANY_REQUESTS);
    repl_destroy(&repl);
}

static void proposals_wait_until_it_is_over(void **state)
{
    (void)state;
    repl_t *repl = leader();
    transfer(repl, 9, 2);
    repl_propose(repl, 20, "x");
    repl_propose_change(repl, 21, 'a', 4);
    assert_int_equal(repl_position(repl).last_index, 2);
    repl_advance(repl, REPL_ELECTION_US - 1);
    repl_expect_none(repl, ACTOR_GRPC_GATEWAY, MSG_REJECTED);
    repl_advance(repl, 1); /* given up: goes on leading */
    expect_rejected(repl, 9, API_TIMEOUT);
    repl_expect_none(repl, ACTOR_GRPC_GATEWAY, MSG_REJECTED);
    repl_flush(repl);
    assert_int_equal(repl_position(repl).last_index, 4);
    repl_destroy(&repl);
}

static void they_go_on_to_the_next_leader(void **state)
{
    (void)state;
    repl_t *repl = leader();
    transfer(repl, 9, 2);
    repl_propose(repl, 20, "x");
    repl_open(repl, 3);
    repl_propose(repl, 21, "y");
    repl_flush(repl);
    repl_expect_none(repl, ACTOR_GRPC_GATEWAY, MSG_REJECTED);
    repl_hear_heartbeat(repl, 2, 3, 1, 0);
    for (int i = 0; i < 2; i++) {
        msg_t *msg = repl_expect_peer(repl, 2, PEER_PROPOSE_FWD);
        assert_int_equal(msg->u.peer.content->term, 3);
        msg_free(&msg);
    }
    repl_expect_none(repl, ACTOR_GRPC_GATEWAY, MSG_REJECTED);
    repl_destroy(&repl);
}

static void changes_that_wait_go_on_too(void **state)
{
    (void)state;
    repl_t *repl = leader();
    repl_propose_change(repl, 20, 'a', 4);
    repl_propose_change(repl, 21, 'a', 5); /* waits for the first */
    transfer(repl, 9, 2);
    repl_hear_ack(repl, 2, 2, 3, 0);
    repl_durable(repl, 0);
    repl_hear_ack(repl, 3, 2, 3, 0); /* committed, but now is no time for another */
    assert_int_equal(repl_position(repl).last_index, 3);
    repl_open(repl, 3);
    repl_hear_heartbeat(repl, 2, 3, 1, 0);
    msg_t *msg = repl_expect_peer(repl, 2, PEER_PROPOSE_FWD);
    assert_int_equal(msg->u.peer.content->u.propose.items[0].type, ENTRY_CONFIGURATION);
    msg_free(&msg);
    repl_destroy(&repl);
}

static void they_do_not_wait_for_ever(void **state)
{
    (void)state;
    repl_t *repl = leader();
    transfer(repl, 9, 2);
    repl_propose(repl, 20, "x");
    repl_open(repl, 3);
    assert_true(replicator_ops.deadline(repl->core.core) <=
                repl->core.now_us + 2 * REPL_ELECTION_US);
    repl_advance(repl, 2 * REPL_ELECTION_US);
    expect_rejected(repl, 20, API_NO_LEADER);
    repl_destroy(&repl);
}

static void a_second_term_of_its_own_takes_them(void **state)
{
    (void)state;
    repl_t *repl = leader();
    transfer(repl, 9, 2);
    repl_propose(repl, 20, "x");
    repl_lead(repl, 3);
    repl_flush(repl);
    assert_int_equal(repl_position(repl).last_index, 4); /* the no-op, and it */
    repl_destroy(&repl);
}

static void forwards_that_wait_are_given_back_when_the_term_ends(void **state)
{
    (void)state;
    repl_t *repl = leader();
    transfer(repl, 9, 2);
    peer_msg_t *content = peer_msg_new(PEER_PROPOSE_FWD, 2);
    content->u.propose.id = 10;
    content->u.propose.items = xcalloc(1, sizeof(proposal_t));
    content->u.propose.items[0].payload = bytes_new("x", 1);
    content->u.propose.count = 1;
    repl_hear(repl, 3, &content);
    repl_expect_no_peer(repl, 3, PEER_PROPOSE_ACK);
    repl_fence(repl, 3);
    msg_t *msg = repl_expect_peer(repl, 3, PEER_PROPOSE_REJ);
    assert_int_equal(msg->u.peer.content->term, 2);
    assert_int_equal(msg->u.peer.content->u.propose_reply.id, 10);
    msg_free(&msg);
    repl_destroy(&repl);
}

static void what_waits_is_bounded(void **state)
{
    (void)state;
    repl_t *repl = leader();
    transfer(repl, 9, 2);
    for (uint64_t i = 0; i < LIMIT_HELD_BATCHES; i++) {
        repl_propose(repl, i, "x");
    }
    repl_expect_none(repl, ACTOR_GRPC_GATEWAY, MSG_REJECTED);
    repl_propose(repl, 77, "x");
    expect_rejected(repl, 77, API_TOO_MANY_REQUESTS);
    repl_destroy(&repl);
}

/* A lease that ends must be revoked by who leads this very term, or not at all. */
static void proposals_for_this_term_do_not_wait(void **state)
{
    (void)state;
    repl_t *repl = leader();
    transfer(repl, 9, 2);
    msg_t *msg = msg_new(MSG_PROPOSE);
    msg->u.propose.items = xcalloc(1, sizeof(proposal_t));
    msg->u.propose.items[0].payload = bytes_new("revoke", 6);
    msg->u.propose.count = 1;
    msg->u.propose.expect_term = 2;
    repl_send(repl, ACTOR_LEASE, &msg);
    msg = repl_expect(repl, ACTOR_LEASE, MSG_REJECTED);
    assert_int_equal(msg->u.refusal.error, API_NOT_LEADER);
    msg_free(&msg);
    repl_destroy(&repl);
}

/* ---- stop ---- */

static void stop(repl_t *repl)
{
    msg_t *msg = msg_new(MSG_STOP);
    repl_send(repl, ACTOR_NONE, &msg);
    repl_flush(repl);
}

static void a_leader_that_stops_hands_over_first(void **state)
{
    (void)state;
    repl_t *repl = leader();
    stop(repl);
    expect_timeout_now(repl, 2);
    assert_false(outbox_is_stopped(repl->core.outbox));
    repl_fence(repl, 3);
    repl_flush(repl);
    assert_true(outbox_is_stopped(repl->core.outbox));
    repl_destroy(&repl);
}

static void it_does_not_wait_for_ever_either(void **state)
{
    (void)state;
    repl_t *repl = leader();
    stop(repl);
    repl_advance(repl, REPL_ELECTION_US);
    assert_true(outbox_is_stopped(repl->core.outbox));
    repl_destroy(&repl);
}

static void who_does_not_lead_or_is_alone_stops_at_once(void **state)
{
    (void)state;
    repl_t *repl = repl_new(3, 1, TERMS(1), 1);
    stop(repl);
    assert_true(outbox_is_stopped(repl->core.outbox));
    repl_destroy(&repl);
    repl = repl_new(1, 1, TERMS(1), 1);
    repl_lead(repl, 2);
    stop(repl);
    assert_true(outbox_is_stopped(repl->core.outbox));
    repl_destroy(&repl);
}

static void a_leader_without_living_voters_stops_at_once(void **state)
{
    (void)state;
    repl_t *repl = repl_new(3, 1, TERMS(1), 1);
    repl_lead(repl, 2);
    stop(repl);
    assert_true(outbox_is_stopped(repl->core.outbox));
    repl_destroy(&repl);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_has_everything_is_told_to_stand_at_once),
        cmocka_unit_test(who_lags_is_told_when_it_has_everything),
        cmocka_unit_test(without_a_target_the_best_voter_is_taken),
        cmocka_unit_test(only_a_leader_hands_over_and_only_to_voters),
        cmocka_unit_test(one_at_a_time),
        cmocka_unit_test(proposals_wait_until_it_is_over),
        cmocka_unit_test(they_go_on_to_the_next_leader),
        cmocka_unit_test(changes_that_wait_go_on_too),
        cmocka_unit_test(they_do_not_wait_for_ever),
        cmocka_unit_test(a_second_term_of_its_own_takes_them),
        cmocka_unit_test(forwards_that_wait_are_given_back_when_the_term_ends),
        cmocka_unit_test(what_waits_is_bounded),
        cmocka_unit_test(proposals_for_this_term_do_not_wait),
        cmocka_unit_test(a_leader_that_stops_hands_over_first),
        cmocka_unit_test(it_does_not_wait_for_ever_either),
        cmocka_unit_test(who_does_not_lead_or_is_alone_stops_at_once),
        cmocka_unit_test(a_leader_without_living_voters_stops_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
