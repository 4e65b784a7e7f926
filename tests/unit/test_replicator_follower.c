/* What a follower does with what its leader says, and with what no leader can say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "messages/limits.h"
#include "tests/support/replicator_rig.h"

#define TERMS(...) ((const uint64_t[]){__VA_ARGS__, 0})

static repl_t *follower_of(uint64_t term, const uint64_t *terms, uint64_t commit)
{
    repl_t *repl = repl_new(3, 1, terms, commit);
    repl_open(repl, term);
    repl_flush(repl);
    repl_clear(repl);
    return repl;
}

static void expect_ack(repl_t *repl, uint64_t index)
{
    msg_t *msg = repl_expect_peer(repl, 2, PEER_APPEND_ACK);
    assert_true(msg->u.peer.content->u.append_ack.ok);
    assert_int_equal(msg->u.peer.content->u.append_ack.index, index);
    msg_free(&msg);
}

static void expect_refusal(repl_t *repl, uint64_t index, uint64_t hint, uint64_t hint_term)
{
    msg_t *msg = repl_expect_peer(repl, 2, PEER_APPEND_ACK);
    const peer_append_ack_t *ack = &msg->u.peer.content->u.append_ack;
    assert_false(ack->ok);
    assert_int_equal(ack->index, index);
    assert_int_equal(ack->hint_index, hint);
    assert_int_equal(ack->hint_term, hint_term);
    msg_free(&msg);
}

/* Dropped and counted. */
static void expect_nonsense(repl_t *repl, uint64_t last_index)
{
    assert_int_equal(metrics_get(&repl->metrics, METRIC_PEER_NONSENSE), 1);
    repl_expect_no_peer(repl, 2, PEER_APPEND_ACK);
    assert_int_equal(repl_position(repl).last_index, last_index);
    repl_destroy(&repl);
}

static void only_what_is_durable_is_acknowledged(void **state)
{
    (void)state;
    repl_t *repl = follower_of(2, NULL, 0);
    repl_hear_append(repl, 2, 2, 0, 0, TERMS(2, 2, 2), 0);
    repl_expect_no_peer(repl, 2, PEER_APPEND_ACK);
    msg_t *record = repl_expect(repl, ACTOR_WAL_WRITER, MSG_APPEND_LOG);
    assert_int_equal(record->u.append_log.first, 1);
    assert_int_equal(record->u.append_log.entries.count, 3);
    msg_free(&record);
    repl_durable(repl, 0);
    expect_ack(repl, 3);
    repl_destroy(&repl);
}

static void what_the_disk_has_beyond_the_leader_is_not_acknowledged(void **state)
{
    (void)state;
    repl_t *repl = follower_of(2, TERMS(1, 1, 1, 1), 1);
    repl_hear_append(repl, 2, 2, 2, 1, NULL, 0);
    expect_ack(repl, 2);
    assert_int_equal(repl_position(repl).last_index, 4);
    repl_destroy(&repl);
}

static void what_is_there_already_is_not_written_again(void **state)
{
    (void)state;
    repl_t *repl = follower_of(2, TERMS(1, 1), 0);
    repl_hear_append(repl, 2, 2, 0, 0, TERMS(1, 1), 0);
    expect_ack(repl, 2);
    repl_hear_append(repl, 2, 2, 1, 1, TERMS(1, 2), 0);
    msg_t *record = repl_expect(repl, ACTOR_WAL_WRITER, MSG_APPEND_LOG);
    assert_int_equal(record->u.append_log.first, 3);
    msg_free(&record);
    repl_hear_append(repl, 2, 2, 0, 0, TERMS(1, 1), 0); /* late */
    expect_ack(repl, 2);
    assert_int_equal(repl_position(repl).last_index, 3);
    repl_destroy(&repl);
}

static void a_conflicting_suffix_is_replaced(void **state)
{
    (void)state;
    repl_t *repl = follower_of(4, TERMS(1, 1, 2, 2), 1);
    repl_hear_append(repl, 2, 4, 2, 1, TERMS(3), 0);
    msg_t *record = repl_expect(repl, ACTOR_WAL_WRITER, MSG_APPEND_LOG);
    assert_int_equal(record->u.append_log.first, 3);
    assert_int_equal(record->u.append_log.entries.count, 1);
    assert_int_equal(record->u.append_log.entries.items[0].term, 3);
    msg_free(&record);
    assert_int_equal(repl_position(repl).last_index, 3);
    repl_durable(repl, 0);
    expect_ack(repl, 3);
    repl_destroy(&repl);
}

/* Rule 4: the notice for the record in flight must not count for what replaced it. */
static void the_notice_of_a_replaced_record_moves_nothing(void **state)
{
    (void)state;
    repl_t *repl = follower_of(2, NULL, 0);
    repl_hear_append(repl, 2, 2, 0, 0, TERMS(2, 2, 2), 0);
    uint64_t replaced = repl->lsn;
    repl_open(repl, 3);
    repl_hear_append(repl, 2, 3, 1, 2, TERMS(3, 3), 3);
    repl_clear(repl);
    repl_durable(repl, replaced);
    expect_ack(repl, 0);
    repl_expect_none(repl, ACTOR_APPLIER, MSG_COMMITTED);
    repl_durable(repl, 0);
    expect_ack(repl, 3);
    msg_t *committed = repl_expect(repl, ACTOR_APPLIER, MSG_COMMITTED);
    assert_int_equal(committed->u.committed.entries.count, 3);
    assert_int_equal(committed->u.committed.entries.items[1].term, 3);
    msg_free(&committed);
    repl_destroy(&repl);
}

static void what_was_durable_and_is_replaced_is_durable_no_longer(void **state)
{
    (void)state;
    repl_t *repl = follower_of(4, TERMS(1, 2, 2), 1);
    repl_hear_append(repl, 2, 4, 1, 1, TERMS(3, 3), 3);
    repl_clear(repl);
    repl_hear_append(repl, 2, 4, 3, 3, NULL, 3);
    expect_ack(repl, 1);
    repl_durable(repl, 0);
    expect_ack(repl, 3);
    repl_destroy(&repl);
}

static void a_gap_is_refused_with_where_the_log_ends(void **state)
{
    (void)state;
    repl_t *repl = follower_of(5, TERMS(1, 2), 0);
    repl_hear_append(repl, 2, 5, 9, 5, TERMS(5), 0);
    expect_refusal(repl, 9, 2, 2);
    repl_destroy(&repl);
}

static void another_term_is_refused_with_the_last_index_that_may_agree(void **state)
{
    (void)state;
    repl_t *repl = follower_of(9, TERMS(1, 1, 4, 4, 4), 0);
    repl_hear_append(repl, 2, 9, 5, 3, TERMS(9), 0);
    expect_refusal(repl, 5, 2, 1);
    repl_destroy(&repl);
}

static void a_hint_never_goes_below_what_is_committed(void **state)
{
    (void)state;
    repl_t *repl = follower_of(9, TERMS(4, 4, 4, 5), 3);
    repl_hear_append(repl, 2, 9, 4, 3, TERMS(9), 0);
    expect_refusal(repl, 4, 3, 4);
    repl_destroy(&repl);
}

static void commit_follows_the_leader_as_far_as_the_logs_agree(void **state)
{
    (void)state;
    repl_t *repl = follower_of(2, TERMS(1, 1, 1), 0);
    repl_hear_heartbeat(repl, 2, 2, 3, 0); /* nothing is known to agree yet */
    repl_expect_none(repl, ACTOR_APPLIER, MSG_COMMITTED);
    repl_hear_append(repl, 2, 2, 2, 1, NULL, 9);
    msg_t *committed = repl_expect(repl, ACTOR_APPLIER, MSG_COMMITTED);
    assert_int_equal(committed->u.committed.commit, 2);
    msg_free(&committed);
    repl_hear_append(repl, 2, 2, 3, 1, NULL, 0);
    repl_hear_heartbeat(repl, 2, 2, 3, 0);
    committed = repl_expect(repl, ACTOR_APPLIER, MSG_COMMITTED);
    assert_int_equal(committed->u.committed.commit, 3);
    msg_free(&committed);
    repl_destroy(&repl);
}

static void nothing_is_delivered_before_it_is_on_this_disk(void **state)
{
    (void)state;
    repl_t *repl = follower_of(2, NULL, 0);
    repl_hear_append(repl, 2, 2, 0, 0, TERMS(2, 2), 2);
    repl_expect_none(repl, ACTOR_APPLIER, MSG_COMMITTED);
    repl_durable(repl, 0);
    msg_t *committed = repl_expect(repl, ACTOR_APPLIER, MSG_COMMITTED);
    assert_int_equal(committed->u.committed.entries.count, 2);
    msg_free(&committed);
    repl_destroy(&repl);
}

static void heartbeats_are_answered_with_their_round(void **state)
{
    (void)state;
    repl_t *repl = follower_of(2, NULL, 0);
    repl_hear_heartbeat(repl, 2, 2, 0, 12);
    msg_t *msg = repl_expect_peer(repl, 2, PEER_HB_ACK);
    assert_int_equal(msg->u.peer.content->u.heartbeat.round, 12);
    assert_int_equal(msg->u.peer.content->term, 2);
    msg_free(&msg);
    repl_hear_heartbeat(repl, 2, 2, 0, 4); /* overtaken: nothing goes back */
    msg = repl_expect_peer(repl, 2, PEER_HB_ACK);
    assert_int_equal(msg->u.peer.content->u.heartbeat.round, 12);
    msg_free(&msg);
    repl_open(repl, 3);
    repl_hear_heartbeat(repl, 2, 3, 0, 1); /* rounds die with their term */
    msg = repl_expect_peer(repl, 2, PEER_HB_ACK);
    assert_int_equal(msg->u.peer.content->u.heartbeat.round, 1);
    msg_free(&msg);
    repl_destroy(&repl);
}

static void election_hears_of_the_leader_now_and_then(void **state)
{
    (void)state;
    repl_t *repl = follower_of(2, NULL, 0);
    repl_hear_heartbeat(repl, 2, 2, 0, 1);
    msg_t *seen = repl_expect(repl, ACTOR_ELECTION, MSG_LEADER_SEEN);
    assert_int_equal(seen->u.term.term, 2);
    assert_int_equal(seen->u.term.member, 2);
    msg_free(&seen);
    repl_hear_append(repl, 2, 2, 0, 0, NULL, 0);
    repl_expect_none(repl, ACTOR_ELECTION, MSG_LEADER_SEEN);
    repl_advance(repl, REPL_HEARTBEAT_US);
    repl_hear_append(repl, 2, 2, 0, 0, NULL, 0);
    seen = repl_expect(repl, ACTOR_ELECTION, MSG_LEADER_SEEN);
    msg_free(&seen);
    repl_destroy(&repl);
}

static void one_acknowledgement_answers_a_burst(void **state)
{
    (void)state;
    repl_t *repl = follower_of(2, TERMS(1, 1), 0);
    for (int i = 0; i < 3; i++) {
        msg_t *msg = msg_new(MSG_PEER);
        msg->u.peer = (msg_peer_t){.member = 2, .content = peer_msg_new(PEER_APPEND, 2)};
        msg->u.peer.content->u.append = (peer_append_t){.prev_index = 2, .prev_term = 1};
        repl_send(repl, ACTOR_PEER, &msg);
    }
    repl_flush(repl);
    expect_ack(repl, 2);
    repl_expect_no_peer(repl, 2, PEER_APPEND_ACK);
    repl_expect_no_peer(repl, 2, PEER_HB_ACK);
    repl_destroy(&repl);
}

/* ---- nonsense ---- */

static void entries_with_a_gap_are_dropped(void **state)
{
    (void)state;
    repl_t *repl = follower_of(2, TERMS(1), 0);
    peer_msg_t *content = peer_msg_new(PEER_APPEND, 2);
    content->u.append = (peer_append_t){.prev_index = 1, .prev_term = 1};
    entry_t entry = {.index = 3, .term = 2};
    entries_append(&content->u.append.entries, &entry);
    repl_hear(repl, 2, &content);
    expect_nonsense(repl, 1);
}

static void terms_that_fall_are_dropped(void **state)
{
    (void)state;
    repl_t *repl = follower_of(4, TERMS(1), 0);
    repl_hear_append(repl, 2, 4, 1, 1, TERMS(3, 2), 0);
    expect_nonsense(repl, 1);
}

static void entries_of_a_later_term_than_their_leader_are_dropped(void **state)
{
    (void)state;
    repl_t *repl = follower_of(4, TERMS(1), 0);
    repl_hear_append(repl, 2, 4, 1, 1, TERMS(5), 0);
    expect_nonsense(repl, 1);
}

static void a_configuration_that_is_none_is_dropped(void **state)
{
    (void)state;
    repl_t *repl = follower_of(2, TERMS(1), 0);
    peer_msg_t *content = peer_msg_new(PEER_APPEND, 2);
    content->u.append = (peer_append_t){.prev_index = 1, .prev_term = 1};
    entry_t entry = {
        .index = 2, .term = 2, .type = ENTRY_CONFIGURATION, .payload = bytes_new("nonsense", 8)};
    entries_append(&content->u.append.entries, &entry);
    bytes_unref(&entry.payload);
    repl_hear(repl, 2, &content);
    expect_nonsense(repl, 1);
}

static void what_would_replace_committed_entries_is_dropped(void **state)
{
    (void)state;
    repl_t *repl = follower_of(4, TERMS(1, 1, 1), 3);
    repl_hear_append(repl, 2, 4, 1, 1, TERMS(2, 2, 2), 0);
    expect_nonsense(repl, 3);
}

static void an_append_after_another_committed_entry_is_dropped(void **state)
{
    (void)state;
    repl_t *repl = follower_of(4, TERMS(1, 1, 1), 3);
    repl_hear_append(repl, 2, 4, 2, 3, TERMS(4), 0);
    expect_nonsense(repl, 3);
}

static void a_leader_that_contradicts_itself_is_dropped(void **state)
{
    (void)state;
    repl_t *repl = follower_of(4, TERMS(1), 1);
    repl_hear_append(repl, 2, 4, 1, 1, TERMS(2, 2), 0);
    repl_hear_append(repl, 2, 4, 1, 1, TERMS(3, 3), 0);
    expect_nonsense(repl, 3);
}

static void a_second_leader_of_a_term_is_dropped(void **state)
{
    (void)state;
    repl_t *repl = follower_of(4, TERMS(1), 1);
    repl_hear_heartbeat(repl, 2, 4, 1, 1);
    repl_clear(repl);
    repl_hear_append(repl, 3, 4, 1, 1, TERMS(4), 0);
    repl_expect_no_peer(repl, 3, PEER_APPEND_ACK);
    expect_nonsense(repl, 1);
}

static void a_leader_of_our_own_term_is_dropped(void **state)
{
    (void)state;
    repl_t *repl = repl_new(3, 1, TERMS(1), 1);
    repl_lead(repl, 4);
    repl_hear_append(repl, 2, 4, 1, 1, TERMS(4, 4), 0);
    repl_expect_none(repl, ACTOR_ELECTION, MSG_LEADER_SEEN);
    expect_nonsense(repl, 2);
}

static void complaints_are_logged_once_a_second(void **state)
{
    (void)state;
    repl_t *repl = follower_of(4, TERMS(1), 0);
    unsigned lines = 0;
    for (int i = 0; i < 30; i++) {
        repl_hear_append(repl, 2, 4, 1, 1, TERMS(5), 0);
        repl_advance(repl, 100000);
        while (outbox_next_line(repl->core.outbox)) {
            lines++;
        }
    }
    assert_int_equal(metrics_get(&repl->metrics, METRIC_PEER_NONSENSE), 30);
    assert_int_equal(lines, 3);
    repl_destroy(&repl);
}

/* ---- a log whose beginning is forgotten ---- */

static void appends_that_reach_below_the_log_are_taken_from_there_on(void **state)
{
    (void)state;
    bytes_t *three = repl_configuration(TERMS(1, 2, 3), NULL);
    entries_t none = {0};
    replicator_cfg_t cfg = {.term = 3,
                            .commit = 5,
                            .applied = 5,
                            .base_index = 5,
                            .base_term = 2,
                            .configuration = three,
                            .configuration_index = 1,
                            .entries = &none};
    repl_t *repl = repl_new_with(&cfg);
    bytes_unref(&three);
    repl_open(repl, 4);
    repl_hear_append(repl, 2, 4, 3, 2, TERMS(2, 2, 4), 0);
    assert_int_equal(repl_position(repl).last_index, 6);
    repl_durable(repl, 0);
    expect_ack(repl, 6);
    repl_destroy(&repl);
}

static void interest(repl_t *repl, bool is_wanted)
{
    msg_t *msg = msg_new(MSG_INTEREST);
    msg->u.interest.is_wanted = is_wanted;
    repl_send(repl, ACTOR_WATCH, &msg);
    repl_flush(repl);
}

static bool take_heartbeat_ack(repl_t *repl)
{
    msg_t *msg = repl_expect_peer(repl, 2, PEER_HB_ACK);
    bool is_watched = msg->u.peer.content->u.heartbeat.is_watched;
    msg_free(&msg);
    return is_watched;
}

/* So that it hurries with the commit index. */
static void the_leader_hears_at_once_that_somebody_watches(void **state)
{
    (void)state;
    repl_t *repl = follower_of(2, NULL, 0);
    interest(repl, true); /* there is no leader to be told */
    repl_expect_no_peer(repl, 2, PEER_HB_ACK);
    repl_hear_heartbeat(repl, 2, 2, 0, 0);
    assert_true(take_heartbeat_ack(repl));
    interest(repl, false); /* the next answer says so */
    repl_expect_no_peer(repl, 2, PEER_HB_ACK);
    repl_hear_heartbeat(repl, 2, 2, 0, 0);
    assert_false(take_heartbeat_ack(repl));
    interest(repl, true);
    assert_true(take_heartbeat_ack(repl));
    repl_hear_append(repl, 2, 2, 0, 0, TERMS(2), 0);
    repl_durable(repl, 0);
    msg_t *msg = repl_expect_peer(repl, 2, PEER_APPEND_ACK);
    assert_true(msg->u.peer.content->u.append_ack.is_watched);
    msg_free(&msg);
    repl_destroy(&repl);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_is_durable_is_acknowledged),
        cmocka_unit_test(what_the_disk_has_beyond_the_leader_is_not_acknowledged),
        cmocka_unit_test(what_is_there_already_is_not_written_again),
        cmocka_unit_test(a_conflicting_suffix_is_replaced),
        cmocka_unit_test(the_notice_of_a_replaced_record_moves_nothing),
        cmocka_unit_test(what_was_durable_and_is_replaced_is_durable_no_longer),
        cmocka_unit_test(a_gap_is_refused_with_where_the_log_ends),
        cmocka_unit_test(another_term_is_refused_with_the_last_index_that_may_agree),
        cmocka_unit_test(a_hint_never_goes_below_what_is_committed),
        cmocka_unit_test(commit_follows_the_leader_as_far_as_the_logs_agree),
        cmocka_unit_test(nothing_is_delivered_before_it_is_on_this_disk),
        cmocka_unit_test(heartbeats_are_answered_with_their_round),
        cmocka_unit_test(election_hears_of_the_leader_now_and_then),
        cmocka_unit_test(one_acknowledgement_answers_a_burst),
        cmocka_unit_test(entries_with_a_gap_are_dropped),
        cmocka_unit_test(terms_that_fall_are_dropped),
        cmocka_unit_test(entries_of_a_later_term_than_their_leader_are_dropped),
        cmocka_unit_test(a_configuration_that_is_none_is_dropped),
        cmocka_unit_test(what_would_replace_committed_entries_is_dropped),
        cmocka_unit_test(an_append_after_another_committed_entry_is_dropped),
        cmocka_unit_test(a_leader_that_contradicts_itself_is_dropped),
        cmocka_unit_test(a_second_leader_of_a_term_is_dropped),
        cmocka_unit_test(a_leader_of_our_own_term_is_dropped),
        cmocka_unit_test(complaints_are_logged_once_a_second),
        cmocka_unit_test(appends_that_reach_below_the_log_are_taken_from_there_on),
        cmocka_unit_test(the_leader_hears_at_once_that_somebody_watches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
