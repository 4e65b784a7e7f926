/* Proposals and reads of a member that does not lead: its side, and the leader's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "messages/limits.h"
#include "messages/xalloc.h"
#include "tests/support/replicator_rig.h"

#define TERMS(...) ((const uint64_t[]){__VA_ARGS__, 0})

/* Follows member 2 in term 2; both have (1, term 1). */
static repl_t *follower(void)
{
    repl_t *repl = repl_new(3, 1, TERMS(1), 1);
    repl_open(repl, 2);
    repl_hear_append(repl, 2, 2, 1, 1, NULL, 1);
    repl_clear(repl);
    return repl;
}

static repl_t *leader_of(size_t voters)
{
    repl_t *repl = repl_new(voters, 1, TERMS(1), 1);
    repl_lead(repl, 2);
    repl_durable(repl, 0);
    repl_hear_ack(repl, 2, 2, 2, 0);
    repl_hear_ack(repl, 3, 2, 2, 0);
    repl_advance(repl, REPL_COMMIT_WAITS_US); /* both have heard what is committed */
    repl_clear(repl);
    return repl;
}

static repl_t *leader(void)
{
    return leader_of(3);
}

static uint64_t expect_forward(repl_t *repl, size_t items)
{
    msg_t *msg = repl_expect_peer(repl, 2, PEER_PROPOSE_FWD);
    assert_int_equal(msg->u.peer.content->u.propose.count, items);
    assert_int_equal(msg->u.peer.content->term, 2);
    uint64_t id = msg->u.peer.content->u.propose.id;
    msg_free(&msg);
    return id;
}

static void hear_reply(repl_t *repl, peer_kind_t kind, uint64_t id, uint64_t index,
                       api_error_t error)
{
    peer_msg_t *content = peer_msg_new(kind, 2);
    content->u.propose_reply = (peer_propose_reply_t){.id = id, .index = index, .error = error};
    repl_hear(repl, 2, &content);
}

static void expect_fate(repl_t *repl, msg_kind_t kind, uint64_t req_id, api_error_t error)
{
    msg_t *msg = repl_expect(repl, ACTOR_GRPC_GATEWAY, kind);
    assert_int_equal(msg->u.refusal.req_ids[0], req_id);
    assert_int_equal(msg->u.refusal.count, 1);
    assert_int_equal(msg->u.refusal.error, error);
    msg_free(&msg);
}

static void expect_settled(repl_t *repl)
{
    repl_clear(repl);
    repl_fence(repl, 9);
    repl_expect_none(repl, ACTOR_GRPC_GATEWAY, MSG_UNKNOWN);
    repl_destroy(&repl);
}

/* ---- the member that asks ---- */

static void a_proposal_goes_to_the_leader_once(void **state)
{
    (void)state;
    repl_t *repl = follower();
    repl_propose(repl, 5, "x");
    expect_forward(repl, 1);
    repl_expect_none(repl, ACTOR_GRPC_GATEWAY, MSG_REJECTED);
    for (int i = 0; i < 5; i++) {
        repl_hear_heartbeat(repl, 2, 2, 1, 1);
        repl_advance(repl, REPL_HEARTBEAT_US);
        repl_expect_no_peer(repl, 2, PEER_PROPOSE_FWD);
    }
    repl_destroy(&repl);
}

static void without_a_leader_it_is_refused(void **state)
{
    (void)state;
    repl_t *repl = repl_new(3, 1, TERMS(1), 1);
    repl_open(repl, 2);
    repl_propose(repl, 5, "x");
    expect_fate(repl, MSG_REJECTED, 5, API_NO_LEADER);
    repl_destroy(&repl);
}

static void ids_grow_and_differ_between_runs(void **state)
{
    (void)state;
    repl_t *repl = follower();
    repl_propose(repl, 5, "x");
    repl_propose(repl, 6, "y");
    uint64_t first = expect_forward(repl, 1);
    assert_int_equal(expect_forward(repl, 1), first + 1);
    repl_destroy(&repl);
    for (uint64_t incarnation = 1; incarnation < 4; incarnation++) {
        bytes_t *three = repl_configuration(TERMS(1, 2, 3), NULL);
        entries_t none = {0};
        replicator_cfg_t cfg = {
            .term = 2, .incarnation = incarnation, .configuration = three, .entries = &none};
        repl = repl_new_with(&cfg);
        bytes_unref(&three);
        repl_hear_heartbeat(repl, 2, 2, 0, 1);
        repl_propose(repl, 5, "x");
        uint64_t other = expect_forward(repl, 1);
        assert_true(other > first + 1000000 || other + 1000000 < first);
        first = other;
        repl_destroy(&repl);
    }
}

static void what_is_delivered_is_settled(void **state)
{
    (void)state;
    repl_t *repl = follower();
    repl_propose(repl, 5, "x");
    uint64_t id = expect_forward(repl, 1);
    hear_reply(repl, PEER_PROPOSE_ACK, id, 2, API_NONE);
    repl_hear_append(repl, 2, 2, 1, 1, TERMS(2), 2);
    repl_durable(repl, 0);
    expect_settled(repl);
}

/* The entry may come before the answer that names it. */
static void an_answer_may_come_after_the_entry(void **state)
{
    (void)state;
    repl_t *repl = follower();
    repl_propose(repl, 5, "x");
    uint64_t id = expect_forward(repl, 1);
    repl_hear_append(repl, 2, 2, 1, 1, TERMS(2), 2);
    repl_durable(repl, 0);
    hear_reply(repl, PEER_PROPOSE_ACK, id, 2, API_NONE);
    expect_settled(repl);
}

static void an_answer_serves_all_forwards_before_it(void **state)
{
    (void)state;
    repl_t *repl = follower();
    repl_propose(repl, 5, "x");
    repl_propose(repl, 6, "y");
    repl_propose(repl, 7, "z");
    uint64_t id = expect_forward(repl, 1);
    hear_reply(repl, PEER_PROPOSE_ACK, id + 1, 3, API_NONE);
    repl_hear_append(repl, 2, 2, 1, 1, TERMS(2, 2, 2), 4);
    repl_durable(repl, 0);
    repl_clear(repl);
    repl_fence(repl, 3);
    expect_fate(repl, MSG_UNKNOWN, 7, API_LEADER_CHANGED);
    repl_destroy(&repl);
}

static void a_refusal_is_passed_on(void **state)
{
    (void)state;
    repl_t *repl = follower();
    repl_propose(repl, 5, "x");
    repl_propose(repl, 6, "y");
    uint64_t id = expect_forward(repl, 1);
    hear_reply(repl, PEER_PROPOSE_REJ, id, 0, API_TOO_MANY_REQUESTS);
    expect_fate(repl, MSG_REJECTED, 5, API_TOO_MANY_REQUESTS);
    hear_reply(repl, PEER_PROPOSE_REJ, id, 0, API_TOO_MANY_REQUESTS); /* twice */
    repl_expect_none(repl, ACTOR_GRPC_GATEWAY, MSG_REJECTED);
    repl_fence(repl, 3);
    expect_fate(repl, MSG_UNKNOWN, 6, API_LEADER_CHANGED);
    repl_destroy(&repl);
}

static void a_silent_leader_leaves_its_fate_open(void **state)
{
    (void)state;
    repl_t *repl = follower();
    repl_propose(repl, 5, "x");
    assert_true(replicator_ops.deadline(repl->core.core) <= repl->core.now_us + REPL_ELECTION_US);
    repl_advance(repl, REPL_ELECTION_US);
    expect_fate(repl, MSG_UNKNOWN, 5, API_LEADER_CHANGED);
    repl_propose(repl, 6, "y");
    expect_fate(repl, MSG_REJECTED, 6, API_NO_LEADER);
    repl_hear_heartbeat(repl, 2, 2, 1, 1); /* back */
    repl_clear(repl);
    repl_propose(repl, 7, "z");
    expect_forward(repl, 1);
    repl_destroy(&repl);
}

/* A pause of this member is no silence of its leader: what that has said is still on its way in. */
static void after_a_pause_the_leader_is_still_there(void **state)
{
    (void)state;
    repl_t *repl = follower();
    repl->core.now_us += 30 * REPL_ELECTION_US;
    repl_propose(repl, 5, "x");
    repl_flush(repl);
    expect_forward(repl, 1);
    repl_expect_none(repl, ACTOR_GRPC_GATEWAY, MSG_UNKNOWN);
    repl_advance(repl, REPL_ELECTION_US); /* and yet it says nothing */
    expect_fate(repl, MSG_UNKNOWN, 5, API_LEADER_CHANGED);
    repl_destroy(&repl);
}

static void answers_of_others_or_to_another_run_are_ignored(void **state)
{
    (void)state;
    repl_t *repl = follower();
    repl_propose(repl, 5, "x");
    uint64_t id = expect_forward(repl, 1);
    peer_msg_t *content = peer_msg_new(PEER_PROPOSE_REJ, 2);
    content->u.propose_reply = (peer_propose_reply_t){.id = id, .error = API_NO_LEADER};
    repl_hear(repl, 3, &content);
    hear_reply(repl, PEER_PROPOSE_REJ, id + 100, 0, API_NO_LEADER);
    hear_reply(repl, PEER_PROPOSE_ACK, id + 100, 1, API_NONE);
    repl_expect_none(repl, ACTOR_GRPC_GATEWAY, MSG_REJECTED);
    repl_fence(repl, 3);
    expect_fate(repl, MSG_UNKNOWN, 5, API_LEADER_CHANGED);
    repl_destroy(&repl);
}

static void answers_that_say_nothing_are_counted(void **state)
{
    (void)state;
    repl_t *repl = follower();
    repl_propose(repl, 5, "x");
    uint64_t id = expect_forward(repl, 1);
    hear_reply(repl, PEER_PROPOSE_ACK, id, 0, API_NONE);
    hear_reply(repl, PEER_PROPOSE_REJ, id, 0, API_NONE);
    hear_reply(repl, PEER_PROPOSE_REJ, id, 0, (api_error_t)9999);
    assert_int_equal(metrics_get(&repl->metrics, METRIC_PEER_NONSENSE), 3);
    repl_expect_none(repl, ACTOR_GRPC_GATEWAY, MSG_REJECTED);
    repl_destroy(&repl);
}

static void proposals_for_a_term_are_never_forwarded(void **state)
{
    (void)state;
    repl_t *repl = follower();
    msg_t *msg = msg_new(MSG_PROPOSE);
    msg->u.propose.items = xcalloc(1, sizeof(proposal_t));
    msg->u.propose.items[0].payload = bytes_new("revoke", 6);
    msg->u.propose.count = 1;
    msg->u.propose.expect_term = 2;
    repl_send(repl, ACTOR_LEASE, &msg);
    msg = repl_expect(repl, ACTOR_LEASE, MSG_REJECTED);
    assert_int_equal(msg->u.refusal.error, API_NOT_LEADER);
    msg_free(&msg);
    repl_expect_no_peer(repl, 2, PEER_PROPOSE_FWD);
    repl_destroy(&repl);
}

static void what_is_under_way_is_bounded(void **state)
{
    (void)state;
    repl_t *repl = follower();
    char *large = calloc(1, (1 << 20) + 1);
    memset(large, 'x', 1 << 20);
    for (uint64_t i = 0; i < LIMIT_INFLIGHT_BYTES >> 20; i++) {
        repl_propose(repl, 1, large);
    }
    repl_expect_none(repl, ACTOR_GRPC_GATEWAY, MSG_REJECTED);
    repl_propose(repl, 2, large);
    expect_fate(repl, MSG_REJECTED, 2, API_TOO_MANY_REQUESTS);
    free(large);
    repl_destroy(&repl);
}

static void a_large_batch_is_forwarded_in_parts(void **state)
{
    (void)state;
    repl_t *repl = follower();
    char *large = calloc(1, 600001);
    memset(large, 'x', 600000);
    msg_t *msg = msg_new(MSG_PROPOSE);
    msg->u.propose.items = xcalloc(3, sizeof(proposal_t));
    msg->u.propose.count = 3;
    for (size_t i = 0; i < 3; i++) {
        msg->u.propose.items[i] =
            (proposal_t){.req_id = i, .payload = bytes_new(large, strlen(large))};
    }
    free(large);
    repl_send(repl, ACTOR_GRPC_GATEWAY, &msg);
    uint64_t id = expect_forward(repl, 2);
    assert_int_equal(expect_forward(repl, 1), id + 1);
    repl_destroy(&repl);
}

/* ---- the leader ---- */

static void hear_forward(repl_t *repl, uint64_t member, uint64_t id, size_t count)
{
    peer_msg_t *content = peer_msg_new(PEER_PROPOSE_FWD, 2);
    content->u.propose.id = id;
    content->u.propose.items = xcalloc(count, sizeof(proposal_t));
    content->u.propose.count = count;
    for (size_t i = 0; i < count; i++) {
        content->u.propose.items[i].payload = bytes_new("x", 1);
    }
    repl_hear(repl, member, &content);
}

static void expect_reply(repl_t *repl, uint64_t member, peer_kind_t kind, uint64_t id,
                         uint64_t index)
{
    msg_t *msg = repl_expect_peer(repl, member, kind);
    assert_int_equal(msg->u.peer.content->u.propose_reply.id, id);
    assert_int_equal(msg->u.peer.content->u.propose_reply.index, index);
    msg_free(&msg);
}

static void the_leader_takes_a_forward_and_says_where_it_is(void **state)
{
    (void)state;
    repl_t *repl = leader();
    hear_forward(repl, 3, 10, 2);
    expect_reply(repl, 3, PEER_PROPOSE_ACK, 10, 4);
    assert_int_equal(repl_position(repl).last_index, 4);
    repl_fence(repl, 3);
    repl_expect_none(repl, ACTOR_GRPC_GATEWAY, MSG_UNKNOWN); /* nobody here waits for it */
    repl_destroy(&repl);
}

static void a_forward_is_taken_once(void **state)
{
    (void)state;
    repl_t *repl = leader();
    hear_forward(repl, 3, 10, 1);
    hear_forward(repl, 3, 10, 1);
    hear_forward(repl, 3, 9, 1); /* overtaken: its sender has given it up */
    assert_int_equal(repl_position(repl).last_index, 3);
    hear_forward(repl, 2, 10, 1); /* of another member */
    repl->incarnation++;
    hear_forward(repl, 3, 10, 1); /* of another run */
    assert_int_equal(repl_position(repl).last_index, 5);
    repl->incarnation--;
    hear_forward(repl, 3, 10, 1); /* late */
    assert_int_equal(repl_position(repl).last_index, 5);
    repl_destroy(&repl);
}

static void who_does_not_lead_refuses_and_never_takes_it_later(void **state)
{
    (void)state;
    repl_t *repl = repl_new(3, 1, TERMS(1), 1);
    repl_open(repl, 2);
    hear_forward(repl, 3, 10, 1);
    expect_reply(repl, 3, PEER_PROPOSE_REJ, 10, 0);
    repl_tell(repl, MSG_LEAD, 2);
    hear_forward(repl, 3, 10, 1); /* a duplicate of what was refused */
    assert_int_equal(repl_position(repl).last_index, 2);
    repl_destroy(&repl);
}

static void a_forward_that_was_taken_is_not_refused_later(void **state)
{
    (void)state;
    repl_t *repl = leader();
    hear_forward(repl, 3, 10, 1);
    repl_tell(repl, MSG_STEP_DOWN, 2);
    hear_forward(repl, 3, 10, 1);
    repl_expect_no_peer(repl, 3, PEER_PROPOSE_REJ);
    hear_forward(repl, 3, 11, 1);
    expect_reply(repl, 3, PEER_PROPOSE_REJ, 11, 0);
    repl_destroy(&repl);
}

static void a_forward_of_another_term_is_dropped(void **state)
{
    (void)state;
    repl_t *repl = leader();
    repl_lead(repl, 3);
    repl_clear(repl);
    hear_forward(repl, 3, 10, 1);
    repl_expect_no_peer(repl, 3, PEER_PROPOSE_REJ);
    assert_int_equal(repl_position(repl).last_index, 3); /* two no-ops */
    repl_destroy(&repl);
}

static void one_answer_serves_the_forwards_of_a_burst(void **state)
{
    (void)state;
    repl_t *repl = leader();
    for (uint64_t id = 10; id < 13; id++) {
        msg_t *msg = msg_new(MSG_PEER);
        msg->u.peer = (msg_peer_t){.member = 3, .content = peer_msg_new(PEER_PROPOSE_FWD, 2)};
        peer_propose_t *propose = &msg->u.peer.content->u.propose;
        propose->id = id;
        propose->items = xcalloc(1, sizeof(proposal_t));
        propose->items[0].payload = bytes_new("x", 1);
        propose->count = 1;
        repl_send(repl, ACTOR_PEER, &msg);
    }
    repl_flush(repl);
    expect_reply(repl, 3, PEER_PROPOSE_ACK, 12, 5);
    repl_expect_no_peer(repl, 3, PEER_PROPOSE_ACK);
    repl_destroy(&repl);
}

static void nonsense_is_not_taken(void **state)
{
    (void)state;
    repl_t *repl = leader();
    hear_forward(repl, 3, 10, 0);
    peer_msg_t *content = peer_msg_new(PEER_PROPOSE_FWD, 2);
    content->u.propose.id = 11;
    content->u.propose.items = xcalloc(1, sizeof(proposal_t)); /* empty: a no-op is the leader's */
    content->u.propose.count = 1;
    repl_hear(repl, 3, &content);
    assert_int_equal(metrics_get(&repl->metrics, METRIC_PEER_NONSENSE), 2);
    assert_int_equal(repl_position(repl).last_index, 2);
    repl_destroy(&repl);
}

static void many_runs_are_told_apart_within_a_bound(void **state)
{
    (void)state;
    repl_t *repl = leader();
    for (int i = 0; i < 2 * LIMIT_FORWARD_ORIGINS; i++) {
        repl->incarnation++;
        hear_forward(repl, 3, 10, 1);
        hear_forward(repl, 3, 10, 1);
    }
    assert_int_equal(repl_position(repl).last_index, 2 + 2 * LIMIT_FORWARD_ORIGINS);
    repl_destroy(&repl);
}

/* ---- reads ---- */

static uint64_t expect_question(repl_t *repl)
{
    msg_t *msg = repl_expect_peer(repl, 2, PEER_READ_FWD);
    uint64_t id = msg->u.peer.content->u.read.id;
    msg_free(&msg);
    return id;
}

static void hear_answer(repl_t *repl, uint64_t id, uint64_t index, api_error_t error)
{
    peer_msg_t *content = peer_msg_new(PEER_READ_FWD_AT, 2);
    content->u.read = (peer_read_t){.id = id, .index = index, .error = error};
    repl_hear(repl, 2, &content);
}

static void expect_read(repl_t *repl, msg_kind_t kind, uint64_t read_id, uint64_t index)
{
    msg_t *msg = repl_expect(repl, ACTOR_GRPC_GATEWAY, kind);
    assert_int_equal(msg->u.read.read_id, read_id);
    assert_int_equal(msg->u.read.index, index);
    msg_free(&msg);
}

static void a_follower_asks_for_all_reads_of_a_burst_at_once(void **state)
{
    (void)state;
    repl_t *repl = follower();
    repl_read(repl, 5);
    repl_read(repl, 6);
    repl_flush(repl);
    uint64_t id = expect_question(repl);
    repl_expect_no_peer(repl, 2, PEER_READ_FWD);
    hear_answer(repl, id, 17, API_NONE);
    expect_read(repl, MSG_READ_AT, 5, 17);
    expect_read(repl, MSG_READ_AT, 6, 17);
    repl_destroy(&repl);
}

static void an_answer_does_not_serve_reads_that_came_after_its_question(void **state)
{
    (void)state;
    repl_t *repl = follower();
    repl_read(repl, 5);
    repl_flush(repl);
    uint64_t first = expect_question(repl);
    repl_read(repl, 6);
    repl_flush(repl);
    uint64_t second = expect_question(repl);
    assert_true(second > first);
    hear_answer(repl, first, 17, API_NONE);
    expect_read(repl, MSG_READ_AT, 5, 17);
    repl_expect_none(repl, ACTOR_GRPC_GATEWAY, MSG_READ_AT);
    hear_answer(repl, second, 18, API_NONE);
    expect_read(repl, MSG_READ_AT, 6, 18);
    repl_destroy(&repl);
}

static void a_lost_question_is_asked_again_under_a_new_name(void **state)
{
    (void)state;
    repl_t *repl = follower();
    repl_read(repl, 5);
    repl_flush(repl);
    uint64_t first = expect_question(repl);
    assert_int_equal(replicator_ops.deadline(repl->core.core),
                     repl->core.now_us + 5 * REPL_HEARTBEAT_US);
    repl_advance(repl, 5 * REPL_HEARTBEAT_US - 1);
    repl_expect_no_peer(repl, 2, PEER_READ_FWD);
    repl_advance(repl, 1);
    assert_int_equal(expect_question(repl), first + 1);
    repl_destroy(&repl);
}

static void questions_are_bounded(void **state)
{
    (void)state;
    repl_t *repl = follower();
    uint64_t last = 0;
    for (uint64_t i = 0; i < LIMIT_READ_ROUNDS; i++) {
        repl_read(repl, i);
        repl_flush(repl);
        last = expect_question(repl);
    }
    repl_read(repl, 50);
    repl_flush(repl);
    repl_expect_no_peer(repl, 2, PEER_READ_FWD);
    hear_answer(repl, last, 17, API_NONE);
    assert_int_equal(expect_question(repl), last + 1);
    repl_destroy(&repl);
}

static void answers_that_can_not_be_ours_are_ignored(void **state)
{
    (void)state;
    repl_t *repl = follower();
    repl_read(repl, 5);
    repl_flush(repl);
    uint64_t id = expect_question(repl);
    hear_answer(repl, id + 1, 3, API_NONE); /* to an earlier run */
    hear_answer(repl, id - 1, 3, API_NONE);
    peer_msg_t *content = peer_msg_new(PEER_READ_FWD_AT, 2);
    content->u.read = (peer_read_t){.id = id, .index = 3};
    repl_hear(repl, 3, &content); /* does not lead */
    repl_expect_none(repl, ACTOR_GRPC_GATEWAY, MSG_READ_AT);
    hear_answer(repl, id, 0, (api_error_t)9999);
    assert_int_equal(metrics_get(&repl->metrics, METRIC_PEER_NONSENSE), 1);
    repl_destroy(&repl);
}

static void a_refused_question_fails_the_reads(void **state)
{
    (void)state;
    repl_t *repl = follower();
    repl_read(repl, 5);
    repl_flush(repl);
    hear_answer(repl, expect_question(repl), 0, API_NOT_LEADER);
    expect_read(repl, MSG_READ_FAIL, 5, 0);
    repl_destroy(&repl);
}

static void a_term_change_or_silence_fails_the_reads(void **state)
{
    (void)state;
    for (int silence = 0; silence < 2; silence++) {
        repl_t *repl = follower();
        repl_read(repl, 5);
        repl_flush(repl);
        if (silence) {
            repl_advance(repl, REPL_ELECTION_US);
        } else {
            repl_fence(repl, 3);
        }
        msg_t *msg = repl_expect(repl, ACTOR_GRPC_GATEWAY, MSG_READ_FAIL);
        assert_int_equal(msg->u.read.error, API_LEADER_CHANGED);
        msg_free(&msg);
        repl_destroy(&repl);
    }
}

static void hear_question(repl_t *repl, uint64_t member, uint64_t id)
{
    peer_msg_t *content = peer_msg_new(PEER_READ_FWD, 2);
    content->u.read.id = id;
    repl_hear(repl, member, &content);
}

static void expect_answer(repl_t *repl, uint64_t member, uint64_t id, uint64_t index)
{
    msg_t *msg = repl_expect_peer(repl, member, PEER_READ_FWD_AT);
    assert_int_equal(msg->u.peer.content->u.read.id, id);
    assert_int_equal(msg->u.peer.content->u.read.index, index);
    assert_int_equal(msg->u.peer.content->u.read.error, API_NONE);
    msg_free(&msg);
}

static uint64_t expect_round(repl_t *repl, uint64_t member)
{
    msg_t *msg = repl_expect_peer(repl, member, PEER_HEARTBEAT);
    uint64_t round = msg->u.peer.content->u.heartbeat.round;
    msg_free(&msg);
    return round;
}

static void the_leader_answers_after_a_round(void **state)
{
    (void)state;
    repl_t *repl = leader_of(5);
    hear_question(repl, 3, 33);
    uint64_t round = expect_round(repl, 2);
    repl_expect_no_peer(repl, 3, PEER_READ_FWD_AT);
    repl_hear_heartbeat_ack(repl, 2, 2, round);
    repl_expect_no_peer(repl, 3, PEER_READ_FWD_AT);
    repl_hear_heartbeat_ack(repl, 4, 2, round);
    expect_answer(repl, 3, 33, 2);
    repl_destroy(&repl);
}

/* Of three, leader and asker are a quorum: nobody else has to be asked. */
static void a_question_is_the_voice_of_who_asks(void **state)
{
    (void)state;
    repl_t *repl = leader();
    hear_question(repl, 3, 33);
    expect_answer(repl, 3, 33, 2);
    repl_expect_no_peer(repl, 2, PEER_HEARTBEAT);
    repl_expect_no_peer(repl, 3, PEER_HEARTBEAT);
    repl_destroy(&repl);
}

/* It was sent before the leader's own read came. */
static void a_question_confirms_nothing_else(void **state)
{
    (void)state;
    repl_t *repl = leader();
    repl_read(repl, 5);
    hear_question(repl, 3, 33);
    expect_answer(repl, 3, 33, 2);
    repl_expect_none(repl, ACTOR_GRPC_GATEWAY, MSG_READ_AT);
    repl_hear_heartbeat_ack(repl, 2, 2, expect_round(repl, 2));
    expect_read(repl, MSG_READ_AT, 5, 2);
    repl_destroy(&repl);
}

static void a_question_waits_for_a_commit_of_the_term(void **state)
{
    (void)state;
    repl_t *repl = repl_new(3, 1, TERMS(1), 1);
    repl_lead(repl, 2);
    repl_durable(repl, 0);
    hear_question(repl, 3, 33);
    repl_expect_no_peer(repl, 3, PEER_READ_FWD_AT);
    repl_hear_ack(repl, 2, 2, 2, 1); /* of the round that the question began */
    expect_answer(repl, 3, 33, 2);
    repl_destroy(&repl);
}

static void a_question_of_a_learner_is_no_voice(void **state)
{
    (void)state;
    bytes_t *configuration = repl_configuration(TERMS(1, 2), TERMS(3));
    entries_t none = {0};
    replicator_cfg_t cfg = {.member_id = 1,
                            .incarnation = 1,
                            .term = 1,
                            .configuration = configuration,
                            .entries = &none};
    repl_t *repl = repl_new_with(&cfg);
    bytes_unref(&configuration);
    repl_lead(repl, 2);
    repl_durable(repl, 0);
    repl_hear_ack(repl, 2, 2, 1, 0);
    repl_clear(repl);
    hear_question(repl, 3, 33);
    repl_expect_no_peer(repl, 3, PEER_READ_FWD_AT);
    repl_hear_heartbeat_ack(repl, 2, 2, expect_round(repl, 2));
    expect_answer(repl, 3, 33, 1);
    repl_destroy(&repl);
}

static void who_does_not_lead_says_so(void **state)
{
    (void)state;
    repl_t *repl = leader();
    repl_tell(repl, MSG_STEP_DOWN, 2);
    hear_question(repl, 3, 33);
    msg_t *msg = repl_expect_peer(repl, 3, PEER_READ_FWD_AT);
    assert_int_equal(msg->u.peer.content->u.read.error, API_NOT_LEADER);
    msg_free(&msg);
    repl_destroy(&repl);
}

static void questions_at_the_leader_are_bounded(void **state)
{
    (void)state;
    repl_t *repl = leader_of(5);
    for (uint64_t id = 1; id <= LIMIT_FORWARDED_READS + 10; id++) {
        hear_question(repl, 3, id);
        repl_clear(repl);
    }
    for (uint64_t round = LIMIT_READ_ROUNDS; round <= LIMIT_READ_ROUNDS + 1; round++) {
        repl_hear_heartbeat_ack(repl, 2, 2, round);
        repl_hear_heartbeat_ack(repl, 4, 2, round);
    }
    size_t answers = 0;
    msg_t *msg = NULL;
    while ((msg = repl_take_peer(repl, 3, PEER_READ_FWD_AT))) {
        answers++;
        msg_free(&msg);
    }
    assert_int_equal(answers, LIMIT_FORWARDED_READS);
    repl_destroy(&repl);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_proposal_goes_to_the_leader_once),
        cmocka_unit_test(without_a_leader_it_is_refused),
        cmocka_unit_test(ids_grow_and_differ_between_runs),
        cmocka_unit_test(what_is_delivered_is_settled),
        cmocka_unit_test(an_answer_may_come_after_the_entry),
        cmocka_unit_test(an_answer_serves_all_forwards_before_it),
        cmocka_unit_test(a_refusal_is_passed_on),
        cmocka_unit_test(a_silent_leader_leaves_its_fate_open),
        cmocka_unit_test(after_a_pause_the_leader_is_still_there),
        cmocka_unit_test(answers_of_others_or_to_another_run_are_ignored),
        cmocka_unit_test(answers_that_say_nothing_are_counted),
        cmocka_unit_test(proposals_for_a_term_are_never_forwarded),
        cmocka_unit_test(what_is_under_way_is_bounded),
        cmocka_unit_test(a_large_batch_is_forwarded_in_parts),
        cmocka_unit_test(the_leader_takes_a_forward_and_says_where_it_is),
        cmocka_unit_test(a_forward_is_taken_once),
        cmocka_unit_test(who_does_not_lead_refuses_and_never_takes_it_later),
        cmocka_unit_test(a_forward_that_was_taken_is_not_refused_later),
        cmocka_unit_test(a_forward_of_another_term_is_dropped),
        cmocka_unit_test(one_answer_serves_the_forwards_of_a_burst),
        cmocka_unit_test(nonsense_is_not_taken),
        cmocka_unit_test(many_runs_are_told_apart_within_a_bound),
        cmocka_unit_test(a_follower_asks_for_all_reads_of_a_burst_at_once),
        cmocka_unit_test(an_answer_does_not_serve_reads_that_came_after_its_question),
        cmocka_unit_test(a_lost_question_is_asked_again_under_a_new_name),
        cmocka_unit_test(questions_are_bounded),
        cmocka_unit_test(answers_that_can_not_be_ours_are_ignored),
        cmocka_unit_test(a_refused_question_fails_the_reads),
        cmocka_unit_test(a_term_change_or_silence_fails_the_reads),
        cmocka_unit_test(the_leader_answers_after_a_round),
        cmocka_unit_test(a_question_is_the_voice_of_who_asks),
        cmocka_unit_test(a_question_confirms_nothing_else),
        cmocka_unit_test(a_question_waits_for_a_commit_of_the_term),
        cmocka_unit_test(a_question_of_a_learner_is_no_voice),
        cmocka_unit_test(who_does_not_lead_says_so),
        cmocka_unit_test(questions_at_the_leader_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
