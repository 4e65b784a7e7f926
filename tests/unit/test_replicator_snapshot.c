/* Followers that are too far behind for the log, and being one: every place where an installation can be
 * overtaken by something else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "messages/configuration.h"
#include "messages/limits.h"
#include "messages/xalloc.h"
#include "tests/support/replicator_rig.h"

#define TERMS(...) ((const uint64_t[]){__VA_ARGS__, 0})

/* ---- the leader ---- */

/* Leads term 3 of three members; its log begins after (50, term 2), all applied. */
static repl_t *short_leader(void)
{
    bytes_t *three = repl_configuration(TERMS(1, 2, 3), NULL);
    entries_t none = {0};
    replicator_cfg_t cfg = {.term = 2,
                            .commit = 50,
                            .applied = 50,
                            .base_index = 50,
                            .base_term = 2,
                            .configuration = three,
                            .configuration_index = 1,
                            .entries = &none,
                            .catchup_entries = 1};
    repl_t *repl = repl_new_with(&cfg);
    bytes_unref(&three);
    repl_lead(repl, 3);
    repl_durable(repl, 0);
    repl_hear_ack(repl, 3, 3, 51, 0);
    repl_applied(repl, 51);
    repl_clear(repl);
    return repl;
}

static uint64_t expect_read(repl_t *repl, uint64_t member)
{
    msg_t *msg = repl_expect(repl, ACTOR_KEEPER, MSG_SNAP_READ);
    assert_int_equal(msg->u.snap.member, member);
    assert_int_equal(msg->u.snap.term, 3);
    uint64_t id = msg->u.snap.id;
    msg_free(&msg);
    return id;
}

static void hear_done(repl_t *repl, uint64_t id, uint64_t member, uint64_t index, bool failed)
{
    msg_t *msg = msg_new(MSG_SNAP_DONE);
    msg->u.snap = (msg_snap_t){.id = id, .member = member, .index = index, .failed = failed};
    repl_send(repl, ACTOR_KEEPER, &msg);
    repl_flush(repl);
}

static void expect_probe(repl_t *repl, uint64_t member, uint64_t prev_index)
{
    msg_t *msg = repl_expect_peer(repl, member, PEER_APPEND);
    assert_int_equal(msg->u.peer.content->u.append.prev_index, prev_index);
    msg_free(&msg);
}

static void who_needs_forgotten_entries_gets_a_snapshot(void **state)
{
    (void)state;
    repl_t *repl = short_leader();
    repl_hear_refusal(repl, 2, 3, 50, 7, 1);
    uint64_t id = expect_read(repl, 2);
    repl_advance(repl, REPL_HEARTBEAT_US);
    repl_expect_no_peer(repl, 2, PEER_APPEND); /* the store is on its way */
    msg_t *heartbeat = repl_expect_peer(repl, 2, PEER_HEARTBEAT);
    msg_free(&heartbeat);
    repl_expect_none(repl, ACTOR_KEEPER, MSG_SNAP_READ);
    hear_done(repl, id, 2, 51, false);
    expect_probe(repl, 2, 51);
    repl_fence(repl, 4);
    repl_flush(repl);
    repl_expect_none(repl, ACTOR_KEEPER, MSG_SNAP_DROP); /* it was over */
    repl_destroy(&repl);
}

static void a_failed_snapshot_is_tried_again_after_a_pause(void **state)
{
    (void)state;
    repl_t *repl = short_leader();
    repl_hear_refusal(repl, 2, 3, 50, 7, 1);
    uint64_t id = expect_read(repl, 2);
    hear_done(repl, id, 2, 0, true);
    repl_expect_none(repl, ACTOR_KEEPER, MSG_SNAP_READ);
    for (uint64_t passed = 0; passed < REPL_ELECTION_US; passed += REPL_HEARTBEAT_US) {
        repl_expect_none(repl, ACTOR_KEEPER, MSG_SNAP_READ);
        repl_advance(repl, REPL_HEARTBEAT_US);
        repl_hear_heartbeat_ack(repl, 2, 3, 0);
    }
    assert_int_equal(expect_read(repl, 2), id + 1);
    repl_destroy(&repl);
}

static void nothing_is_sent_to_who_does_not_answer(void **state)
{
    (void)state;
    repl_t *repl = short_leader();
    repl_hear_refusal(repl, 2, 3, 50, 7, 1);
    uint64_t id = expect_read(repl, 2);
    for (uint64_t passed = 0; passed < REPL_ELECTION_US; passed += REPL_HEARTBEAT_US) {
        repl_advance(repl, REPL_HEARTBEAT_US);
    }
    hear_done(repl, id, 2, 0, true);
    for (uint64_t passed = 0; passed <= REPL_ELECTION_US; passed += REPL_HEARTBEAT_US) {
        repl_advance(repl, REPL_HEARTBEAT_US);
    }
    repl_expect_none(repl, ACTOR_KEEPER, MSG_SNAP_READ);
    repl_hear_heartbeat_ack(repl, 2, 3, 0); /* back again */
    expect_read(repl, 2);
    repl_destroy(&repl);
}

static void a_restarted_follower_gets_a_new_transfer(void **state)
{
    (void)state;
    repl_t *repl = short_leader();
    repl_hear_refusal(repl, 2, 3, 50, 7, 1);
    uint64_t first = expect_read(repl, 2);
    repl->incarnation++;
    repl_hear_heartbeat_ack(repl, 2, 3, 0);
    uint64_t second = expect_read(repl, 2);
    assert_int_equal(second, first + 1);
    repl_expect_none(repl, ACTOR_KEEPER, MSG_SNAP_DROP); /* it replaces the first in the keeper */
    hear_done(repl, first, 2, 51, false);                /* of the transfer that is over */
    repl_expect_no_peer(repl, 2, PEER_APPEND);
    hear_done(repl, second, 2, 51, false);
    expect_probe(repl, 2, 51);
    repl_destroy(&repl);
}

/* The keeper would hold its view of the store for a follower that does not listen. */
static void expect_end(repl_t *repl, uint64_t member, uint64_t id)
{
    msg_t *msg = repl_expect(repl, ACTOR_KEEPER, MSG_SNAP_DROP);
    assert_int_equal(msg->u.snap.member, member);
    assert_int_equal(msg->u.snap.id, id);
    msg_free(&msg);
    repl_expect_none(repl, ACTOR_KEEPER, MSG_SNAP_DROP);
}

static void a_removed_follower_needs_no_snapshot(void **state)
{
    (void)state;
    repl_t *repl = short_leader();
    repl_hear_refusal(repl, 2, 3, 50, 7, 1);
    uint64_t id = expect_read(repl, 2);
    repl_propose_change(repl, 5, 'r', 2);
    expect_end(repl, 2, id);
    repl_destroy(&repl);
}

static void who_acknowledges_what_the_log_has_needs_no_snapshot(void **state)
{
    (void)state;
    repl_t *repl = short_leader();
    repl_hear_refusal(repl, 2, 3, 50, 7, 1);
    uint64_t id = expect_read(repl, 2);
    repl_expect_none(repl, ACTOR_KEEPER, MSG_SNAP_DROP);
    repl_hear_ack(repl, 2, 3, 50, 0);
    expect_end(repl, 2, id);
    expect_probe(repl, 2, 50);
    repl_hear_ack(repl, 2, 3, 51, 0);
    repl_clear(repl);
    hear_done(repl, id, 2, 51, false);
    repl_propose(repl, 1, "x");
    repl_flush(repl);
    expect_probe(repl, 2, 51); /* goes on where it was */
    repl_destroy(&repl);
}

static void the_end_of_leadership_forgets_transfers(void **state)
{
    (void)state;
    repl_t *repl = short_leader();
    repl_hear_refusal(repl, 2, 3, 50, 7, 1);
    uint64_t id = expect_read(repl, 2);
    repl_fence(repl, 4);
    repl_flush(repl);
    expect_end(repl, 2, id);
    hear_done(repl, id, 2, 51, false);
    repl_expect_no_peer(repl, 2, PEER_APPEND);
    repl_destroy(&repl);
}

/* Applies entries until the log has this many bytes in all. */
static uint64_t fill(repl_t *repl, uint64_t last, size_t mebibytes)
{
    static char large[(1 << 20) + 1];
    memset(large, 'x', sizeof large - 1);
    for (size_t i = 0; i < mebibytes; i++) {
        repl_propose(repl, 1, large);
        repl_flush(repl);
        repl_durable(repl, 0);
        repl_hear_ack(repl, 3, 3, ++last, 0);
        repl_applied(repl, last);
        repl_clear(repl);
    }
    return last;
}

static void the_log_is_kept_while_a_snapshot_is_on_its_way(void **state)
{
    (void)state;
    repl_t *repl = short_leader();
    repl_hear_refusal(repl, 2, 3, 50, 7, 1);
    uint64_t id = expect_read(repl, 2);
    fill(repl, 51, 100); /* far above what is kept otherwise */
    hear_done(repl, id, 2, 51, false);
    expect_probe(repl, 2, 51);
    repl_expect_none(repl, ACTOR_KEEPER, MSG_SNAP_READ);
    repl_destroy(&repl);
}

static void the_log_is_not_kept_above_its_bound(void **state)
{
    (void)state;
    repl_t *repl = short_leader();
    repl_hear_refusal(repl, 2, 3, 50, 7, 1);
    uint64_t id = expect_read(repl, 2);
    fill(repl, 51, (LIMIT_LOG_SNAPSHOT_BYTES >> 20) + 2);
    hear_done(repl, id, 2, 51, false);
    expect_read(repl, 2); /* that one was for nothing */
    repl_destroy(&repl);
}

static void the_log_is_not_kept_for_who_has_caught_up_or_is_gone(void **state)
{
    (void)state;
    for (int gone = 0; gone < 2; gone++) {
        repl_t *repl = short_leader();
        repl_hear_refusal(repl, 2, 3, 50, 7, 1);
        uint64_t id = expect_read(repl, 2);
        hear_done(repl, id, 2, 51, false);
        uint64_t last = 51;
        if (gone) {
            for (uint64_t passed = 0; passed <= REPL_ELECTION_US; passed += REPL_HEARTBEAT_US) {
                repl_advance(repl, REPL_HEARTBEAT_US);
            }
        } else {
            repl_hear_ack(repl, 2, 3, 51, 0);
            repl_advance(repl, REPL_HEARTBEAT_US);
        }
        last = fill(repl, last, 5); /* one entry is kept by configuration */
        repl->incarnation++;
        repl_hear_heartbeat_ack(repl, 2, 3, 0);
        repl_hear_refusal(repl, 2, 3, gone ? 50 : 51, 7, 1);
        expect_read(repl, 2);
        repl_destroy(&repl);
    }
}

/* ---- the follower ---- */

static void count_release(void *object)
{
    (*(int *)object)++;
}

static int releases;

/* Follows member 2 in term 4; its log: 1 1 2, of which one is committed. */
static repl_t *follower(void)
{
    releases = 0;
    repl_t *repl = repl_new(3, 1, TERMS(1, 1, 2), 1);
    repl_open(repl, 4);
    repl_hear_heartbeat(repl, 2, 4, 0, 0);
    repl_applied(repl, 1);
    repl_clear(repl);
    return repl;
}

static void hear_meta(repl_t *repl, uint64_t member, uint64_t id, uint64_t index, uint64_t log_term)
{
    peer_msg_t *content = peer_msg_new(PEER_SNAP_META, 4);
    content->u.snap_meta = (peer_snap_meta_t){
        .id = id,
        .index = index,
        .log_term = log_term,
        .configuration = repl_configuration(TERMS(1, 2, 3, 4), NULL),
    };
    repl_hear(repl, member, &content);
}

static void expect_take(repl_t *repl, uint64_t id, uint64_t index)
{
    msg_t *msg = repl_expect(repl, ACTOR_KEEPER, MSG_SNAP_TAKE);
    assert_int_equal(msg->u.snap.id, id);
    assert_int_equal(msg->u.snap.member, 2);
    assert_int_equal(msg->u.snap.index, index);
    assert_non_null(msg->u.snap.configuration);
    msg_free(&msg);
}

static void expect_drop(repl_t *repl, uint64_t id)
{
    msg_t *msg = repl_expect(repl, ACTOR_KEEPER, MSG_SNAP_DROP);
    assert_int_equal(msg->u.snap.id, id);
    assert_int_equal(msg->u.snap.member, 2);
    msg_free(&msg);
}

static void hear_received(repl_t *repl, uint64_t id, uint64_t index)
{
    msg_t *msg = msg_new(MSG_SNAP_RECEIVED);
    msg->u.snap = (msg_snap_t){.id = id,
                               .member = 2,
                               .index = index,
                               .generation = 7,
                               .store = shared_new(&releases, count_release)};
    repl_send(repl, ACTOR_KEEPER, &msg);
    repl_flush(repl);
}

static void hear_installed(repl_t *repl, uint64_t index)
{
    msg_t *msg = msg_new(MSG_SNAP_INSTALLED);
    msg->u.snap = (msg_snap_t){.index = index};
    repl_send(repl, ACTOR_APPLIER, &msg);
    repl_flush(repl);
}

static void expect_ack(repl_t *repl, uint64_t index)
{
    msg_t *msg = repl_expect_peer(repl, 2, PEER_APPEND_ACK);
    assert_true(msg->u.peer.content->u.append_ack.ok);
    assert_int_equal(msg->u.peer.content->u.append_ack.index, index);
    msg_free(&msg);
}

static void expect_install(repl_t *repl, uint64_t index)
{
    msg_t *msg = repl_expect(repl, ACTOR_APPLIER, MSG_SNAP_INSTALL);
    assert_int_equal(msg->u.snap.index, index);
    assert_int_equal(msg->u.snap.generation, 7);
    assert_non_null(msg->u.snap.store);
    msg_free(&msg);
}

/* Up to where the mark is on its way to the disk. */
static repl_t *marking(uint64_t index, uint64_t log_term)
{
    repl_t *repl = follower();
    hear_meta(repl, 2, 20, index, log_term);
    expect_take(repl, 20, index);
    hear_received(repl, 20, index);
    return repl;
}

static void a_snapshot_is_marked_installed_and_acknowledged_in_this_order(void **state)
{
    (void)state;
    repl_t *repl = marking(60, 3);
    msg_t *mark = repl_expect(repl, ACTOR_WAL_WRITER, MSG_SNAP_MARK);
    assert_int_equal(mark->u.snap_mark.index, 60);
    assert_int_equal(mark->u.snap_mark.log_term, 3);
    assert_int_equal(mark->u.snap_mark.generation, 7);
    assert_non_null(mark->u.snap_mark.configuration);
    msg_free(&mark);
    repl_expect_none(repl, ACTOR_APPLIER, MSG_SNAP_INSTALL);
    assert_int_equal(repl_position(repl).last_index, 3); /* not before it is durable */
    repl_durable(repl, 0);
    assert_int_equal(repl_position(repl).last_index, 60);
    assert_int_equal(repl_position(repl).last_term, 3);
    expect_install(repl, 60);
    repl_expect_no_peer(repl, 2, PEER_APPEND_ACK);
    msg_t *members = repl_expect(repl, ACTOR_ELECTION, MSG_MEMBERS);
    configuration_t configuration = {0};
    assert_int_equal(
        configuration_decode(&configuration, bytes_slice(members->u.members.configuration)), 0);
    assert_int_equal(configuration.count, 4);
    configuration_deinit(&configuration);
    msg_free(&members);
    hear_installed(repl, 60);
    expect_ack(repl, 60);
    assert_int_equal(releases, 1);
    repl_destroy(&repl);
}

static void the_log_goes_on_behind_it(void **state)
{
    (void)state;
    repl_t *repl = marking(60, 3);
    repl_durable(repl, 0);
    repl_hear_append(repl, 2, 4, 60, 3, TERMS(4, 4), 62);
    msg_t *record = repl_expect(repl, ACTOR_WAL_WRITER, MSG_APPEND_LOG);
    assert_int_equal(record->u.append_log.first, 61);
    msg_free(&record);
    repl_durable(repl, 0);
    repl_expect_no_peer(repl, 2, PEER_APPEND_ACK);
    expect_install(repl, 60); /* first this, then what follows */
    msg_t *committed = repl_expect(repl, ACTOR_APPLIER, MSG_COMMITTED);
    assert_int_equal(committed->u.committed.entries.items[0].index, 61);
    msg_free(&committed);
    repl_applied(repl, 1); /* of a span before it */
    hear_installed(repl, 60);
    expect_ack(repl, 62);
    repl_applied(repl, 62);
    repl_destroy(&repl);
}

/* The store that is installed has no answers for this member's proposals. */
static void nobody_knows_of_forwards_that_a_snapshot_brought(void **state)
{
    (void)state;
    repl_t *repl = follower();
    uint64_t ids[3];
    for (uint64_t i = 0; i < 3; i++) { /* delivered before it; in it; its answer comes afterwards */
        repl_propose(repl, 30 + i, "x");
        msg_t *forward = repl_expect_peer(repl, 2, PEER_PROPOSE_FWD);
        ids[i] = forward->u.peer.content->u.propose.id;
        msg_free(&forward);
        if (i == 0) {
            repl_hear_append(repl, 2, 4, 3, 2, TERMS(4), 4);
            repl_durable(repl, 0);
            repl_applied(repl, 4);
        }
    }
    for (uint64_t i = 0; i < 2; i++) {
        peer_msg_t *taken = peer_msg_new(PEER_PROPOSE_ACK, 4);
        taken->u.propose_reply = (peer_propose_reply_t){.id = ids[i], .index = i ? 50 : 4};
        repl_hear(repl, 2, &taken);
    }
    hear_meta(repl, 2, 20, 60, 4);
    hear_received(repl, 20, 60);
    repl_durable(repl, 0);
    msg_t *unknown = repl_expect(repl, ACTOR_GRPC_GATEWAY, MSG_UNKNOWN);
    assert_int_equal(unknown->u.refusal.count, 1);
    assert_int_equal(unknown->u.refusal.req_ids[0], 31);
    msg_free(&unknown);
    peer_msg_t *taken = peer_msg_new(PEER_PROPOSE_ACK, 4);
    taken->u.propose_reply = (peer_propose_reply_t){.id = ids[2], .index = 60};
    repl_hear(repl, 2, &taken);
    unknown = repl_expect(repl, ACTOR_GRPC_GATEWAY, MSG_UNKNOWN);
    assert_int_equal(unknown->u.refusal.req_ids[0], 32);
    msg_free(&unknown);
    repl_fence(repl, 5);
    repl_expect_none(repl, ACTOR_GRPC_GATEWAY, MSG_UNKNOWN);
    repl_destroy(&repl);
}

static void a_matching_suffix_stays(void **state)
{
    (void)state;
    repl_t *repl = marking(2, 1);
    repl_durable(repl, 0);
    assert_int_equal(repl_position(repl).last_index, 3);
    expect_install(repl, 2);
    hear_installed(repl, 2);
    expect_ack(repl, 2);
    repl_destroy(&repl);
}

static void a_suffix_that_does_not_match_goes(void **state)
{
    (void)state;
    repl_t *repl = marking(2, 2);
    repl_durable(repl, 0);
    assert_int_equal(repl_position(repl).last_index, 2);
    assert_int_equal(repl_position(repl).last_term, 2);
    repl_hear_append(repl, 2, 4, 2, 2, TERMS(4), 2);
    assert_int_equal(repl_position(repl).last_index, 3);
    repl_destroy(&repl);
}

/* All of the log is handed to the disk before the mark. */
static void the_mark_comes_after_what_the_log_holds(void **state)
{
    (void)state;
    repl_t *repl = follower();
    hear_meta(repl, 2, 20, 60, 3);
    repl_hear_append(repl, 2, 4, 3, 2, TERMS(4), 0);
    hear_received(repl, 20, 60);
    msg_t *record = repl_expect(repl, ACTOR_WAL_WRITER, MSG_APPEND_LOG);
    msg_t *mark = repl_expect(repl, ACTOR_WAL_WRITER, MSG_SNAP_MARK);
    assert_true(mark->u.snap_mark.lsn > record->u.append_log.lsn);
    msg_free(&record);
    msg_free(&mark);
    repl_destroy(&repl);
}

static void a_fence_drops_a_transfer(void **state)
{
    (void)state;
    repl_t *repl = follower();
    hear_meta(repl, 2, 20, 60, 3);
    expect_take(repl, 20, 60);
    repl_fence(repl, 5);
    expect_drop(repl, 20);
    hear_received(repl, 20, 60); /* crossed on the way */
    expect_drop(repl, 20);
    assert_int_equal(releases, 1);
    repl_expect_none(repl, ACTOR_WAL_WRITER, MSG_SNAP_MARK);
    repl_destroy(&repl);
}

/* After the mark it is finished whatever the term; only the acknowledgement is withheld. */
static void a_fence_does_not_stop_an_installation(void **state)
{
    (void)state;
    for (int after_mark = 0; after_mark < 2; after_mark++) {
        repl_t *repl = marking(60, 3);
        if (!after_mark) {
            repl_open(repl, 5);
        }
        repl_durable(repl, 0);
        if (after_mark) {
            repl_open(repl, 5);
        }
        repl_expect_none(repl, ACTOR_KEEPER, MSG_SNAP_DROP);
        expect_install(repl, 60);
        assert_int_equal(repl_position(repl).last_index, 60);
        repl_clear(repl);
        hear_installed(repl, 60);
        repl_expect_no_peer(repl, 2, PEER_APPEND_ACK);
        repl_hear_append(repl, 3, 5, 60, 3, NULL, 0);
        msg_t *ack = repl_expect_peer(repl, 3, PEER_APPEND_ACK);
        assert_int_equal(ack->u.peer.content->u.append_ack.index, 60);
        msg_free(&ack);
        repl_destroy(&repl);
    }
}

static void nothing_is_taken_or_delivered_while_the_mark_is_on_its_way(void **state)
{
    (void)state;
    repl_t *repl = marking(60, 3);
    repl_clear(repl);
    repl_hear_append(repl, 2, 4, 2, 1, TERMS(4), 3);
    repl_hear_heartbeat(repl, 2, 4, 3, 0);
    assert_int_equal(repl_position(repl).last_index, 3);
    repl_expect_none(repl, ACTOR_APPLIER, MSG_COMMITTED);
    msg_t *ack = repl_expect_peer(repl, 2, PEER_HB_ACK); /* but it follows */
    msg_free(&ack);
    repl_destroy(&repl);
}

static void nobody_leads_while_the_mark_is_on_its_way(void **state)
{
    (void)state;
    repl_t *repl = marking(60, 3);
    repl_clear(repl);
    repl_lead(repl, 5);
    msg_t *resigned = repl_expect(repl, ACTOR_ELECTION, MSG_RESIGNED);
    assert_int_equal(resigned->u.term.term, 5);
    msg_free(&resigned);
    repl_expect_no_peer(repl, 2, PEER_APPEND);
    assert_int_equal(repl_position(repl).last_index, 3);
    repl_durable(repl, 0);
    repl_clear(repl);
    repl_lead(repl, 6); /* afterwards it may */
    assert_int_equal(repl_position(repl).last_index, 61);
    repl_destroy(&repl);
}

static void a_second_transfer_replaces_the_first(void **state)
{
    (void)state;
    repl_t *repl = follower();
    hear_meta(repl, 2, 20, 60, 3);
    expect_take(repl, 20, 60);
    hear_meta(repl, 2, 20, 60, 3); /* said twice */
    repl_expect_none(repl, ACTOR_KEEPER, MSG_SNAP_TAKE);
    hear_meta(repl, 2, 21, 65, 3);
    expect_drop(repl, 20);
    expect_take(repl, 21, 65);
    hear_received(repl, 20, 60);
    expect_drop(repl, 20);
    repl_expect_none(repl, ACTOR_WAL_WRITER, MSG_SNAP_MARK);
    repl_destroy(&repl);
}

/* Etcd issue 18055. */
static void one_installation_at_a_time(void **state)
{
    (void)state;
    repl_t *repl = marking(60, 3);
    hear_meta(repl, 2, 21, 65, 3);
    repl_expect_none(repl, ACTOR_KEEPER, MSG_SNAP_TAKE);
    repl_durable(repl, 0);
    hear_meta(repl, 2, 22, 70, 3);
    repl_expect_none(repl, ACTOR_KEEPER, MSG_SNAP_TAKE);
    hear_installed(repl, 60);
    hear_meta(repl, 2, 23, 80, 3);
    expect_take(repl, 23, 80);
    repl_destroy(&repl);
}

static void a_snapshot_of_what_is_committed_here_is_not_taken(void **state)
{
    (void)state;
    repl_t *repl = follower();
    hear_meta(repl, 2, 20, 1, 1);
    repl_expect_none(repl, ACTOR_KEEPER, MSG_SNAP_TAKE);
    expect_ack(repl, 1); /* the leader learns where to go on */
    repl_destroy(&repl);
}

static void a_log_that_was_faster_drops_the_snapshot(void **state)
{
    (void)state;
    repl_t *repl = follower();
    hear_meta(repl, 2, 20, 4, 4);
    repl_hear_append(repl, 2, 4, 3, 2, TERMS(4), 4);
    repl_durable(repl, 0);
    hear_received(repl, 20, 4);
    expect_drop(repl, 20);
    assert_int_equal(releases, 1);
    repl_expect_none(repl, ACTOR_WAL_WRITER, MSG_SNAP_MARK);
    repl_destroy(&repl);
}

static void nonsense_is_dropped(void **state)
{
    (void)state;
    repl_t *repl = follower();
    hear_meta(repl, 2, 20, 60, 5); /* of a term after the leader's */
    hear_meta(repl, 2, 20, 60, 0);
    hear_meta(repl, 2, 0, 60, 3);
    hear_meta(repl, 3, 20, 60, 3); /* does not lead */
    peer_msg_t *content = peer_msg_new(PEER_SNAP_META, 4);
    content->u.snap_meta = (peer_snap_meta_t){
        .id = 20, .index = 60, .log_term = 3, .configuration = bytes_new("nonsense", 8)};
    repl_hear(repl, 2, &content);
    assert_int_equal(metrics_get(&repl->metrics, METRIC_PEER_NONSENSE), 5);
    repl_expect_none(repl, ACTOR_KEEPER, MSG_SNAP_TAKE);
    repl_destroy(&repl);
}

static void a_snapshot_of_a_lower_term_is_answered_with_ours(void **state)
{
    (void)state;
    repl_t *repl = repl_new(3, 5, TERMS(1), 1);
    hear_meta(repl, 2, 20, 60, 3);
    msg_t *ack = repl_expect_peer(repl, 2, PEER_APPEND_ACK);
    assert_int_equal(ack->u.peer.content->term, 5);
    msg_free(&ack);
    repl_expect_none(repl, ACTOR_KEEPER, MSG_SNAP_TAKE);
    repl_destroy(&repl);
}

static void what_was_not_installed_is_released(void **state)
{
    (void)state;
    repl_t *repl = marking(60, 3);
    repl_destroy(&repl);
    assert_int_equal(releases, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_needs_forgotten_entries_gets_a_snapshot),
        cmocka_unit_test(a_removed_follower_needs_no_snapshot),
        cmocka_unit_test(a_failed_snapshot_is_tried_again_after_a_pause),
        cmocka_unit_test(nothing_is_sent_to_who_does_not_answer),
        cmocka_unit_test(a_restarted_follower_gets_a_new_transfer),
        cmocka_unit_test(who_acknowledges_what_the_log_has_needs_no_snapshot),
        cmocka_unit_test(the_end_of_leadership_forgets_transfers),
        cmocka_unit_test(the_log_is_kept_while_a_snapshot_is_on_its_way),
        cmocka_unit_test(the_log_is_not_kept_above_its_bound),
        cmocka_unit_test(the_log_is_not_kept_for_who_has_caught_up_or_is_gone),
        cmocka_unit_test(a_snapshot_is_marked_installed_and_acknowledged_in_this_order),
        cmocka_unit_test(the_log_goes_on_behind_it),
        cmocka_unit_test(nobody_knows_of_forwards_that_a_snapshot_brought),
        cmocka_unit_test(a_matching_suffix_stays),
        cmocka_unit_test(a_suffix_that_does_not_match_goes),
        cmocka_unit_test(the_mark_comes_after_what_the_log_holds),
        cmocka_unit_test(a_fence_drops_a_transfer),
        cmocka_unit_test(a_fence_does_not_stop_an_installation),
        cmocka_unit_test(nothing_is_taken_or_delivered_while_the_mark_is_on_its_way),
        cmocka_unit_test(nobody_leads_while_the_mark_is_on_its_way),
        cmocka_unit_test(a_second_transfer_replaces_the_first),
        cmocka_unit_test(one_installation_at_a_time),
        cmocka_unit_test(a_snapshot_of_what_is_committed_here_is_not_taken),
        cmocka_unit_test(a_log_that_was_faster_drops_the_snapshot),
        cmocka_unit_test(nonsense_is_dropped),
        cmocka_unit_test(a_snapshot_of_a_lower_term_is_answered_with_ours),
        cmocka_unit_test(what_was_not_installed_is_released),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
