/* What a leader sends, what the answers commit, and read indexes. */
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

/* Leads term 2 of `voters`; its log: (1, term 1) and the no-op at 2, durable here and nowhere else. */
static repl_t *leader(size_t voters)
{
    repl_t *repl = repl_new(voters, 1, TERMS(1), 1);
    repl_lead(repl, 2);
    repl_durable(repl, 0);
    return repl;
}

/* And its followers have all that. */
static repl_t *followed_leader(size_t voters)
{
    repl_t *repl = leader(voters);
    for (uint64_t member = 2; member <= voters; member++) {
        repl_hear_ack(repl, member, 2, 2, 0);
    }
    repl_clear(repl);
    return repl;
}

static uint64_t committed(repl_t *repl)
{
    uint64_t commit = 0;
    msg_t *msg = NULL;
    while ((msg = repl_take(repl, ACTOR_APPLIER, MSG_COMMITTED))) {
        commit = msg->u.committed.commit;
        msg_free(&msg);
    }
    return commit;
}

static peer_append_t expect_append(repl_t *repl, uint64_t member)
{
    msg_t *msg = repl_expect_peer(repl, member, PEER_APPEND);
    peer_append_t append = msg->u.peer.content->u.append;
    append.entries.items = NULL; /* counts only */
    msg_free(&msg);
    return append;
}

static void a_new_leader_sends_its_first_entry_to_all(void **state)
{
    (void)state;
    repl_t *repl = leader(3);
    for (uint64_t member = 2; member <= 3; member++) {
        peer_append_t append = expect_append(repl, member);
        assert_int_equal(append.prev_index, 1);
        assert_int_equal(append.prev_term, 1);
        assert_int_equal(append.entries.count, 1);
        assert_int_equal(append.commit, 1);
    }
    repl_destroy(&repl);
}

static void followers_get_entries_while_the_own_disk_works(void **state)
{
    (void)state;
    repl_t *repl = followed_leader(3);
    repl_propose(repl, 1, "x");
    repl_propose(repl, 2, "y");
    repl_flush(repl);
    for (uint64_t member = 2; member <= 3; member++) {
        peer_append_t append = expect_append(repl, member);
        assert_int_equal(append.prev_index, 2);
        assert_int_equal(append.entries.count, 2);
        repl_expect_no_peer(repl, member, PEER_APPEND); /* one for the burst */
    }
    repl_destroy(&repl);
}

static void a_majority_commits(void **state)
{
    (void)state;
    repl_t *repl = leader(5);
    repl_hear_ack(repl, 2, 2, 2, 0);
    assert_int_equal(committed(repl), 1); /* from before */
    repl_hear_ack(repl, 3, 2, 2, 0);
    assert_int_equal(committed(repl), 2);
    repl_destroy(&repl);
}

/* A leader counts its own entry only when it is durable; the others may commit without it. */
static void the_own_disk_is_one_voice(void **state)
{
    (void)state;
    repl_t *repl = followed_leader(3);
    repl_propose(repl, 1, "x");
    repl_flush(repl);
    repl_hear_ack(repl, 2, 2, 3, 0);
    repl_clear(repl);
    repl_propose(repl, 2, "y");
    repl_flush(repl);
    assert_int_equal(expect_append(repl, 2).commit, 2); /* one of three so far */
    repl_clear(repl);
    repl_durable(repl, 2); /* the first of both */
    assert_int_equal(committed(repl), 3);
    repl_hear_ack(repl, 2, 2, 4, 0);
    repl_hear_ack(repl, 3, 2, 4, 0); /* committed, and not on this disk: nothing for the store */
    repl_expect_none(repl, ACTOR_APPLIER, MSG_COMMITTED);
    repl_durable(repl, 0);
    assert_int_equal(committed(repl), 4);
    repl_destroy(&repl);
}

/* Raft figure 8. */
static void entries_of_older_terms_are_not_counted(void **state)
{
    (void)state;
    repl_t *repl = repl_new(3, 3, TERMS(1, 2, 2), 1);
    repl_lead(repl, 4);
    repl_clear(repl);
    repl_hear_ack(repl, 2, 4, 3, 0);
    repl_hear_ack(repl, 3, 4, 3, 0);
    assert_int_equal(committed(repl), 0);
    repl_durable(repl, 0);
    repl_hear_ack(repl, 2, 4, 4, 0);
    assert_int_equal(committed(repl), 4);
    repl_destroy(&repl);
}

static void learners_do_not_count(void **state)
{
    (void)state;
    bytes_t *configuration = repl_configuration(TERMS(1, 2), TERMS(3));
    entries_t entries = repl_entries(TERMS(1));
    replicator_cfg_t cfg = {
        .term = 1, .commit = 1, .configuration = configuration, .entries = &entries};
    repl_t *repl = repl_new_with(&cfg);
    entries_deinit(&entries);
    bytes_unref(&configuration);
    repl_lead(repl, 2);
    repl_durable(repl, 0);
    expect_append(repl, 3);
    repl_clear(repl);
    repl_hear_ack(repl, 3, 2, 2, 0);
    assert_int_equal(committed(repl), 0);
    repl_hear_ack(repl, 2, 2, 2, 0);
    assert_int_equal(committed(repl), 2);
    repl_destroy(&repl);
}

static void a_refusal_moves_back_to_where_the_logs_may_agree(void **state)
{
    (void)state;
    repl_t *repl = repl_new(3, 5, TERMS(1, 1, 2, 2, 4), 0);
    repl_lead(repl, 6);
    repl_clear(repl);
    repl_hear_refusal(repl, 2, 6, 5, 4, 1); /* it has term 1 up to 4: we have that up to 2 */
    peer_append_t append = expect_append(repl, 2);
    assert_int_equal(append.prev_index, 2);
    assert_int_equal(append.entries.count, 4);
    repl_destroy(&repl);
}

static void an_old_refusal_is_ignored(void **state)
{
    (void)state;
    repl_t *repl = followed_leader(3);
    repl_hear_refusal(repl, 2, 2, 1, 0, 0);
    repl_expect_no_peer(repl, 2, PEER_APPEND);
    repl_destroy(&repl);
}

static void a_probe_is_repeated_without_entries(void **state)
{
    (void)state;
    repl_t *repl = leader(3);
    repl_clear(repl);
    repl_flush(repl);
    repl_expect_no_peer(repl, 2, PEER_APPEND);
    repl_advance(repl, REPL_HEARTBEAT_US);
    peer_append_t append = expect_append(repl, 2);
    assert_int_equal(append.prev_index, 1);
    assert_int_equal(append.entries.count, 0);
    repl_destroy(&repl);
}

static void appends_are_sent_ahead_up_to_a_window(void **state)
{
    (void)state;
    repl_t *repl = followed_leader(3);
    for (uint64_t i = 0; i < 2 * LIMIT_PEER_INFLIGHT_APPENDS; i++) {
        repl_propose(repl, i, "x");
        repl_flush(repl);
        repl_durable(repl, 0);
    }
    unsigned count = 0;
    msg_t *msg = NULL;
    while ((msg = repl_take_peer(repl, 2, PEER_APPEND))) {
        count++;
        msg_free(&msg);
    }
    assert_int_equal(count, LIMIT_PEER_INFLIGHT_APPENDS);
    repl_clear(repl);
    repl_hear_ack(repl, 2, 2, 3, 0); /* the first: now the rest, in one */
    peer_append_t append = expect_append(repl, 2);
    assert_int_equal(append.entries.count, LIMIT_PEER_INFLIGHT_APPENDS);
    repl_destroy(&repl);
}

static void an_append_is_bounded_in_bytes(void **state)
{
    (void)state;
    repl_t *repl = leader(2);
    char *large = calloc(1, 400001);
    memset(large, 'x', 400000);
    for (uint64_t i = 0; i < 6; i++) {
        repl_propose(repl, i, large);
    }
    free(large);
    repl_flush(repl);
    repl_clear(repl);
    repl_hear_ack(repl, 2, 2, 2, 0);
    assert_int_equal(expect_append(repl, 2).entries.count, 3);
    assert_int_equal(expect_append(repl, 2).entries.count, 3);
    repl_destroy(&repl);
}

static void a_lost_append_is_found_out(void **state)
{
    (void)state;
    repl_t *repl = followed_leader(3);
    repl_propose(repl, 1, "x");
    repl_flush(repl);
    repl_advance(repl, REPL_HEARTBEAT_US);
    repl_clear(repl);
    repl_advance(repl, REPL_HEARTBEAT_US);
    peer_append_t append = expect_append(repl, 2); /* is it there? */
    assert_int_equal(append.prev_index, 3);
    assert_int_equal(append.entries.count, 0);
    repl_hear_refusal(repl, 2, 2, 3, 2, 2);
    append = expect_append(repl, 2);
    assert_int_equal(append.prev_index, 2);
    assert_int_equal(append.entries.count, 1);
    repl_destroy(&repl);
}

static void a_restarted_follower_is_probed(void **state)
{
    (void)state;
    repl_t *repl = followed_leader(3);
    repl_propose(repl, 1, "x");
    repl_flush(repl);
    repl_clear(repl);
    repl->incarnation = 8;
    repl_hear_heartbeat_ack(repl, 2, 2, 0);
    peer_append_t append = expect_append(repl, 2);
    assert_int_equal(append.prev_index, 2);
    assert_int_equal(append.entries.count, 1);
    repl_destroy(&repl);
}

static void heartbeats_carry_what_the_follower_may_commit(void **state)
{
    (void)state;
    repl_t *repl = leader(3);
    repl_hear_ack(repl, 2, 2, 2, 0);
    repl_advance(repl, REPL_COMMIT_WAITS_US); /* what is committed is told by itself */
    repl_clear(repl);
    assert_int_equal(replicator_ops.deadline(repl->core.core),
                     repl->core.now_us + REPL_HEARTBEAT_US - REPL_COMMIT_WAITS_US);
    repl_advance(repl, REPL_HEARTBEAT_US - REPL_COMMIT_WAITS_US);
    msg_t *msg = repl_expect_peer(repl, 2, PEER_HEARTBEAT);
    assert_int_equal(msg->u.peer.content->u.heartbeat.commit, 2);
    msg_free(&msg);
    msg = repl_expect_peer(repl, 3, PEER_HEARTBEAT);
    assert_int_equal(msg->u.peer.content->u.heartbeat.commit, 0); /* what it has is not known */
    msg_free(&msg);
    repl_destroy(&repl);
}

static void expect_commit_notice(repl_t *repl, uint64_t member, uint64_t commit)
{
    msg_t *msg = repl_expect_peer(repl, member, PEER_HEARTBEAT);
    assert_int_equal(msg->u.peer.content->u.heartbeat.commit, commit);
    msg_free(&msg);
    repl_expect_no_peer(repl, member, PEER_HEARTBEAT);
}

/* As long as nobody there is known to wait for it. */
static void a_follower_hears_soon_what_is_committed(void **state)
{
    (void)state;
    repl_t *repl = followed_leader(3);
    repl_propose(repl, 5, "a");
    repl_flush(repl);
    repl_durable(repl, 0);
    repl_clear(repl);
    repl_hear_ack(repl, 2, 2, 3, 0);
    repl_advance(repl, REPL_COMMIT_WAITS_US - 400);
    repl_expect_no_peer(repl, 2, PEER_HEARTBEAT); /* an append may carry it */
    uint64_t due_us = replicator_ops.deadline(repl->core.core);
    assert_int_equal(due_us, repl->core.now_us + 400);
    repl_advance(repl, 400);
    expect_commit_notice(repl, 2, 3);
    repl_expect_no_peer(repl, 3, PEER_HEARTBEAT); /* it has told of no entry yet */
    repl_hear_ack(repl, 3, 2, 3, 0);
    repl_advance(repl, REPL_COMMIT_WAITS_US);
    expect_commit_notice(repl, 3, 3);
    repl_hear_ack(repl, 3, 2, 3, 0); /* no news */
    repl_advance(repl, REPL_COMMIT_WAITS_US);
    repl_expect_no_peer(repl, 3, PEER_HEARTBEAT);
    repl_destroy(&repl);
}

/* A client of the follower waits there for its put. */
static void who_forwarded_a_proposal_hears_at_once_that_it_is_committed(void **state)
{
    (void)state;
    repl_t *repl = followed_leader(3);
    peer_msg_t *content = peer_msg_new(PEER_PROPOSE_FWD, 2);
    content->u.propose.id = 70;
    content->u.propose.count = 1;
    content->u.propose.items = xcalloc(1, sizeof(proposal_t));
    content->u.propose.items[0].payload = bytes_new("a", 1);
    repl_hear(repl, 3, &content);
    repl_durable(repl, 0);
    repl_clear(repl);
    repl_hear_ack(repl, 2, 2, 3, 0);
    repl_hear_ack(repl, 3, 2, 3, 0);
    expect_commit_notice(repl, 3, 3);
    repl_expect_no_peer(repl, 2, PEER_HEARTBEAT);
    repl_destroy(&repl);
}

static void who_asked_for_a_read_index_hears_at_once_that_it_is_committed(void **state)
{
    (void)state;
    repl_t *repl = followed_leader(3);
    repl_propose(repl, 5, "a");
    repl_flush(repl);
    repl_durable(repl, 0);
    repl_hear_ack(repl, 2, 2, 3, 0);
    repl_hear_ack(repl, 3, 2, 3, 0);
    repl_clear(repl);
    peer_msg_t *content = peer_msg_new(PEER_READ_FWD, 2);
    content->u.read.id = 33;
    repl_hear(repl, 3, &content);
    expect_commit_notice(repl, 3, 3);
    repl_expect_no_peer(repl, 2, PEER_HEARTBEAT);
    repl_destroy(&repl);
}

/* The next attempt is the tick's: a full edge must not keep the actor awake. */
static void without_room_a_commit_index_waits(void **state)
{
    (void)state;
    repl_t *repl = followed_leader(3);
    repl_propose(repl, 5, "a");
    repl_flush(repl);
    repl_durable(repl, 0);
    repl_hear_ack(repl, 2, 2, 3, 0);
    assert_true(replicator_ops.deadline(repl->core.core) <=
                repl->core.now_us + REPL_COMMIT_WAITS_US);
    repl->core.now_us += REPL_COMMIT_WAITS_US;
    while (outbox_room(repl->core.outbox, ACTOR_PEER)) {
        msg_t *msg = msg_new(MSG_PEER);
        msg->u.peer = (msg_peer_t){.member = 9, .content = peer_msg_new(PEER_PING, 1)};
        outbox_put(repl->core.outbox, ACTOR_PEER, &msg);
    }
    step_in_t in = {.now_us = repl->core.now_us};
    replicator_ops.step(repl->core.core, &in, repl->core.outbox);
    assert_true(replicator_ops.deadline(repl->core.core) >
                repl->core.now_us + REPL_COMMIT_WAITS_US);
    repl_destroy(&repl);
}

/* Events wait there for it. */
static void where_somebody_watches_it_is_told_at_once(void **state)
{
    (void)state;
    repl_t *repl = followed_leader(3);
    repl->is_watched = true;
    repl_propose(repl, 5, "a");
    repl_flush(repl);
    repl_durable(repl, 0);
    repl_clear(repl);
    repl_hear_ack(repl, 2, 2, 3, 0);
    expect_commit_notice(repl, 2, 3);
    repl_expect_no_peer(repl, 3, PEER_HEARTBEAT);
    repl->is_watched = false;
    repl_hear_ack(repl, 3, 2, 3, 0);
    repl_expect_no_peer(repl, 3, PEER_HEARTBEAT);
    repl->is_watched = true;
    repl_hear_heartbeat_ack(repl, 3, 2, 0);
    expect_commit_notice(repl, 3, 3);
    repl_destroy(&repl);
}

static void with_appends_on_their_way_the_next_tells_those_who_watch(void **state)
{
    (void)state;
    repl_t *repl = followed_leader(3);
    repl->is_watched = true;
    repl_propose(repl, 5, "a");
    repl_flush(repl);
    repl_propose(repl, 6, "b");
    repl_flush(repl);
    repl_durable(repl, 0);
    repl_clear(repl);
    repl_hear_ack(repl, 2, 2, 3, 0);
    repl_expect_no_peer(repl, 2, PEER_HEARTBEAT);
    repl_propose(repl, 7, "c");
    repl_flush(repl);
    assert_int_equal(expect_append(repl, 2).commit, 3);
    repl_destroy(&repl);
}

static void an_append_tells_what_is_committed_too(void **state)
{
    (void)state;
    repl_t *repl = followed_leader(3);
    repl_propose(repl, 5, "a");
    repl_flush(repl);
    repl_durable(repl, 0);
    repl_clear(repl);
    repl_propose(repl, 6, "b"); /* in the same burst as the acknowledgement */
    repl_hear_ack(repl, 2, 2, 3, 0);
    assert_int_equal(expect_append(repl, 2).commit, 3);
    assert_int_equal(expect_append(repl, 3).commit, 3);
    repl_expect_no_peer(repl, 2, PEER_HEARTBEAT);
    repl_hear_ack(repl, 3, 2, 3, 0); /* the append has told it */
    repl_expect_no_peer(repl, 3, PEER_HEARTBEAT);
    repl_destroy(&repl);
}

static void alone_there_are_no_heartbeats(void **state)
{
    (void)state;
    repl_t *repl = leader(1);
    assert_int_equal(replicator_ops.deadline(repl->core.core), DEADLINE_NONE);
    repl_destroy(&repl);
}

static void a_quorum_that_answers_is_reported_once_per_interval(void **state)
{
    (void)state;
    repl_t *repl = followed_leader(5);
    repl_advance(repl, REPL_HEARTBEAT_US);
    msg_t *seen = repl_expect(repl, ACTOR_ELECTION, MSG_QUORUM_SEEN);
    assert_int_equal(seen->u.term.term, 2);
    msg_free(&seen);
    repl_advance(repl, 1);
    repl_hear_heartbeat_ack(repl, 2, 2, 0);
    repl_expect_none(repl, ACTOR_ELECTION, MSG_QUORUM_SEEN);
    repl_advance(repl, REPL_HEARTBEAT_US); /* two of five */
    repl_expect_none(repl, ACTOR_ELECTION, MSG_QUORUM_SEEN);
    repl_advance(repl, 1);
    repl_hear_heartbeat_ack(repl, 2, 2, 0);
    repl_hear_heartbeat_ack(repl, 4, 2, 0);
    repl_advance(repl, REPL_HEARTBEAT_US);
    seen = repl_expect(repl, ACTOR_ELECTION, MSG_QUORUM_SEEN);
    msg_free(&seen);
    repl_destroy(&repl);
}

static void a_full_edge_costs_heartbeats_and_nothing_else(void **state)
{
    (void)state;
    repl_t *repl = followed_leader(2);
    while (outbox_room(repl->core.outbox, ACTOR_PEER)) {
        msg_t *msg = msg_new(MSG_PEER);
        msg->u.peer = (msg_peer_t){.member = 9, .content = peer_msg_new(PEER_PING, 1)};
        outbox_put(repl->core.outbox, ACTOR_PEER, &msg);
    }
    repl->core.now_us += REPL_HEARTBEAT_US;
    core_test_flush(&repl->core);
    assert_int_equal(metrics_get(&repl->metrics, METRIC_HEARTBEAT_FAILURES), 1);
    actor_id_t to = ACTOR_NONE;
    msg_t *msg = NULL;
    while ((msg = core_test_take(&repl->core, &to))) {
        msg_free(&msg);
    }
    repl_propose(repl, 1, "x");
    repl_flush(repl);
    assert_int_equal(expect_append(repl, 2).entries.count, 1);
    repl_destroy(&repl);
}

/* ---- nonsense ---- */

static void an_acknowledgement_beyond_the_log_is_dropped(void **state)
{
    (void)state;
    repl_t *repl = leader(3);
    repl_clear(repl);
    repl_hear_ack(repl, 2, 2, 99, 0);
    assert_int_equal(metrics_get(&repl->metrics, METRIC_PEER_NONSENSE), 1);
    assert_int_equal(committed(repl), 0);
    repl_destroy(&repl);
}

static void a_round_that_was_never_begun_is_dropped(void **state)
{
    (void)state;
    repl_t *repl = leader(3);
    repl_hear_ack(repl, 2, 2, 2, 5);
    assert_int_equal(metrics_get(&repl->metrics, METRIC_PEER_NONSENSE), 1);
    repl_destroy(&repl);
}

static void strangers_do_not_count(void **state)
{
    (void)state;
    repl_t *repl = leader(3);
    repl_clear(repl);
    repl_hear_ack(repl, 9, 2, 2, 0);
    assert_int_equal(committed(repl), 0);
    repl_destroy(&repl);
}

static void acknowledgements_of_another_term_do_not_count(void **state)
{
    (void)state;
    repl_t *repl = repl_new(3, 1, TERMS(1), 1);
    repl_lead(repl, 2);
    repl_lead(repl, 3);
    repl_durable(repl, 0);
    repl_clear(repl);
    repl_hear_ack(repl, 2, 2, 2, 0);
    assert_int_equal(committed(repl), 0);
    repl_destroy(&repl);
}

/* ---- read indexes ---- */

static uint64_t expect_round(repl_t *repl, uint64_t member)
{
    msg_t *msg = repl_expect_peer(repl, member, PEER_HEARTBEAT);
    uint64_t round = msg->u.peer.content->u.heartbeat.round;
    msg_free(&msg);
    return round;
}

static void expect_read_at(repl_t *repl, uint64_t read_id, uint64_t index)
{
    msg_t *msg = repl_expect(repl, ACTOR_GRPC_GATEWAY, MSG_READ_AT);
    assert_int_equal(msg->u.read.read_id, read_id);
    assert_int_equal(msg->u.read.index, index);
    msg_free(&msg);
}

static void a_read_waits_for_a_round_that_began_after_it(void **state)
{
    (void)state;
    repl_t *repl = followed_leader(3);
    repl_read(repl, 5);
    repl_flush(repl);
    uint64_t round = expect_round(repl, 2);
    repl_expect_none(repl, ACTOR_GRPC_GATEWAY, MSG_READ_AT);
    repl_hear_heartbeat_ack(repl, 2, 2, round - 1); /* of before */
    repl_expect_none(repl, ACTOR_GRPC_GATEWAY, MSG_READ_AT);
    repl_hear_heartbeat_ack(repl, 2, 2, round);
    expect_read_at(repl, 5, 2);
    repl_destroy(&repl);
}

static void reads_of_a_burst_share_a_round(void **state)
{
    (void)state;
    repl_t *repl = followed_leader(3);
    repl_read(repl, 5);
    repl_read(repl, 6);
    repl_flush(repl);
    uint64_t round = expect_round(repl, 2);
    repl_expect_no_peer(repl, 2, PEER_HEARTBEAT);
    repl_hear_ack(repl, 3, 2, 2, round); /* any answer confirms */
    expect_read_at(repl, 5, 2);
    expect_read_at(repl, 6, 2);
    repl_destroy(&repl);
}

/* Etcd issue 20418: late answers to an earlier question confirm nothing. */
static void a_late_confirmation_does_not_serve_later_reads(void **state)
{
    (void)state;
    repl_t *repl = followed_leader(3);
    repl_read(repl, 5);
    repl_flush(repl);
    uint64_t first = expect_round(repl, 2);
    repl_read(repl, 6);
    repl_flush(repl);
    uint64_t second = expect_round(repl, 2);
    assert_int_equal(second, first + 1);
    repl_hear_heartbeat_ack(repl, 2, 2, first);
    expect_read_at(repl, 5, 2);
    repl_expect_none(repl, ACTOR_GRPC_GATEWAY, MSG_READ_AT);
    repl_hear_heartbeat_ack(repl, 3, 2, second);
    expect_read_at(repl, 6, 2);
    repl_destroy(&repl);
}

static void a_confirmation_needs_a_quorum(void **state)
{
    (void)state;
    repl_t *repl = followed_leader(5);
    repl_read(repl, 5);
    repl_flush(repl);
    uint64_t round = expect_round(repl, 2);
    repl_hear_heartbeat_ack(repl, 2, 2, round);
    repl_hear_heartbeat_ack(repl, 2, 2, round);
    repl_expect_none(repl, ACTOR_GRPC_GATEWAY, MSG_READ_AT);
    repl_hear_heartbeat_ack(repl, 5, 2, round);
    expect_read_at(repl, 5, 2);
    repl_destroy(&repl);
}

static void a_read_waits_for_a_commit_of_the_term(void **state)
{
    (void)state;
    repl_t *repl = leader(3);
    repl_read(repl, 5);
    repl_flush(repl);
    uint64_t round = expect_round(repl, 2);
    repl_hear_heartbeat_ack(repl, 2, 2, round);
    repl_expect_none(repl, ACTOR_GRPC_GATEWAY, MSG_READ_AT);
    repl_hear_ack(repl, 2, 2, 2, round);
    expect_read_at(repl, 5, 2);
    repl_destroy(&repl);
}

static void rounds_are_bounded_and_later_reads_share_the_next(void **state)
{
    (void)state;
    repl_t *repl = followed_leader(3);
    for (uint64_t i = 1; i <= 10; i++) {
        repl_read(repl, i);
        repl_flush(repl);
    }
    uint64_t round = 0;
    msg_t *msg = NULL;
    while ((msg = repl_take_peer(repl, 2, PEER_HEARTBEAT))) {
        round = msg->u.peer.content->u.heartbeat.round;
        msg_free(&msg);
    }
    assert_int_equal(round, LIMIT_READ_ROUNDS);
    repl_hear_heartbeat_ack(repl, 2, 2, 1);
    expect_read_at(repl, 1, 2);
    assert_int_equal(expect_round(repl, 2), LIMIT_READ_ROUNDS + 1);
    repl_hear_heartbeat_ack(repl, 2, 2, LIMIT_READ_ROUNDS + 1);
    for (uint64_t i = 2; i <= 10; i++) {
        expect_read_at(repl, i, 2);
    }
    repl_destroy(&repl);
}

static void the_end_of_leadership_fails_reads(void **state)
{
    (void)state;
    repl_t *repl = followed_leader(3);
    repl_read(repl, 5);
    repl_fence(repl, 3);
    msg_t *msg = repl_expect(repl, ACTOR_GRPC_GATEWAY, MSG_READ_FAIL);
    assert_int_equal(msg->u.read.error, API_LEADER_CHANGED);
    msg_free(&msg);
    repl_read(repl, 6);
    msg = repl_expect(repl, ACTOR_GRPC_GATEWAY, MSG_READ_FAIL);
    assert_int_equal(msg->u.read.error, API_NO_LEADER);
    msg_free(&msg);
    repl_destroy(&repl);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_leader_sends_its_first_entry_to_all),
        cmocka_unit_test(followers_get_entries_while_the_own_disk_works),
        cmocka_unit_test(a_majority_commits),
        cmocka_unit_test(the_own_disk_is_one_voice),
        cmocka_unit_test(entries_of_older_terms_are_not_counted),
        cmocka_unit_test(learners_do_not_count),
        cmocka_unit_test(a_refusal_moves_back_to_where_the_logs_may_agree),
        cmocka_unit_test(an_old_refusal_is_ignored),
        cmocka_unit_test(a_probe_is_repeated_without_entries),
        cmocka_unit_test(appends_are_sent_ahead_up_to_a_window),
        cmocka_unit_test(an_append_is_bounded_in_bytes),
        cmocka_unit_test(a_lost_append_is_found_out),
        cmocka_unit_test(a_restarted_follower_is_probed),
        cmocka_unit_test(heartbeats_carry_what_the_follower_may_commit),
        cmocka_unit_test(a_follower_hears_soon_what_is_committed),
        cmocka_unit_test(who_forwarded_a_proposal_hears_at_once_that_it_is_committed),
        cmocka_unit_test(who_asked_for_a_read_index_hears_at_once_that_it_is_committed),
        cmocka_unit_test(without_room_a_commit_index_waits),
        cmocka_unit_test(where_somebody_watches_it_is_told_at_once),
        cmocka_unit_test(with_appends_on_their_way_the_next_tells_those_who_watch),
        cmocka_unit_test(an_append_tells_what_is_committed_too),
        cmocka_unit_test(alone_there_are_no_heartbeats),
        cmocka_unit_test(a_quorum_that_answers_is_reported_once_per_interval),
        cmocka_unit_test(a_full_edge_costs_heartbeats_and_nothing_else),
        cmocka_unit_test(an_acknowledgement_beyond_the_log_is_dropped),
        cmocka_unit_test(a_round_that_was_never_begun_is_dropped),
        cmocka_unit_test(strangers_do_not_count),
        cmocka_unit_test(acknowledgements_of_another_term_do_not_count),
        cmocka_unit_test(a_read_waits_for_a_round_that_began_after_it),
        cmocka_unit_test(reads_of_a_burst_share_a_round),
        cmocka_unit_test(a_late_confirmation_does_not_serve_later_reads),
        cmocka_unit_test(a_confirmation_needs_a_quorum),
        cmocka_unit_test(a_read_waits_for_a_commit_of_the_term),
        cmocka_unit_test(rounds_are_bounded_and_later_reads_share_the_next),
        cmocka_unit_test(the_end_of_leadership_fails_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
