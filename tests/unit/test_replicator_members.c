/* The configuration in force, and how it is changed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "membership.pb-c.h"
#include "messages/configuration.h"
#include "messages/limits.h"
#include "messages/xalloc.h"
#include "tests/support/replicator_rig.h"

#define TERMS(...) ((const uint64_t[]){__VA_ARGS__, 0})

/* Leads term 2 of voters 1 .. `voters`; everything up to its no-op at 2 is committed. */
static repl_t *leader(size_t voters)
{
    repl_t *repl = repl_new(voters, 1, TERMS(1), 1);
    repl_lead(repl, 2);
    repl_durable(repl, 0);
    for (uint64_t member = 2; member <= voters; member++) {
        repl_hear_ack(repl, member, 2, 2, 0);
    }
    repl_clear(repl);
    return repl;
}

static void expect_rejected(repl_t *repl, uint64_t req_id, api_error_t error)
{
    msg_t *msg = repl_expect(repl, ACTOR_GRPC_GATEWAY, MSG_REJECTED);
    assert_int_equal(msg->u.refusal.req_ids[0], req_id);
    assert_int_equal(msg->u.refusal.error, error);
    msg_free(&msg);
}

/* Of a message to election or peer. */
static configuration_t told(repl_t *repl, actor_id_t to, msg_kind_t kind, uint64_t index,
                            bool is_committed)
{
    msg_t *msg = repl_expect(repl, to, kind);
    configuration_t configuration = {0};
    assert_int_equal(
        configuration_decode(&configuration, bytes_slice(msg->u.members.configuration)), 0);
    assert_int_equal(msg->u.members.index, index);
    assert_int_equal(msg->u.members.is_committed, is_committed);
    msg_free(&msg);
    return configuration;
}

static void expect_told(repl_t *repl, uint64_t index, size_t members, size_t voters)
{
    for (int i = 0; i < 2; i++) {
        configuration_t configuration = i ? told(repl, ACTOR_PEER, MSG_PEERS, index, false)
                                          : told(repl, ACTOR_ELECTION, MSG_MEMBERS, index, false);
        assert_int_equal(configuration.count, members);
        assert_int_equal(configuration_voters(&configuration), voters);
        configuration_deinit(&configuration);
    }
}

static uint64_t commit_of(repl_t *repl)
{
    uint64_t commit = 0;
    msg_t *msg = NULL;
    while ((msg = repl_take(repl, ACTOR_APPLIER, MSG_COMMITTED))) {
        commit = msg->u.committed.commit;
        msg_free(&msg);
    }
    return commit;
}

static void a_change_counts_from_the_moment_it_is_in_the_log(void **state)
{
    (void)state;
    repl_t *repl = leader(3);
    repl_propose_change(repl, 5, 'a', 4);
    expect_told(repl, 3, 4, 4);
    msg_t *append = repl_expect_peer(repl, 4, PEER_APPEND); /* the new member, too */
    assert_int_equal(append->u.peer.content->u.append.prev_index, 3);
    msg_free(&append);
    repl_durable(repl, 0);
    repl_hear_ack(repl, 2, 2, 3, 0);
    assert_int_equal(commit_of(repl), 0); /* two of four */
    repl_hear_ack(repl, 4, 2, 3, 0);
    assert_int_equal(commit_of(repl), 3);
    configuration_t configuration = told(repl, ACTOR_PEER, MSG_PEERS, 3, true);
    configuration_deinit(&configuration);
    repl_expect_none(repl, ACTOR_ELECTION, MSG_MEMBERS); /* knows */
    repl_destroy(&repl);
}

static void the_entry_holds_the_configuration_and_who_waits(void **state)
{
    (void)state;
    repl_t *repl = leader(3);
    repl_propose_change(repl, 5, 'r', 3);
    msg_t *record = repl_expect(repl, ACTOR_WAL_WRITER, MSG_APPEND_LOG);
    const entry_t *entry = &record->u.append_log.entries.items[0];
    assert_int_equal(entry->type, ENTRY_CONFIGURATION);
    slice_t bytes = bytes_slice(entry->payload);
    Quoral__Configuration *configuration =
        quoral__configuration__unpack(NULL, bytes.len, bytes.data);
    assert_int_equal(configuration->n_members, 2);
    assert_int_equal(configuration->removed_ids[0], 3);
    assert_int_equal(configuration->origin, 55);
    assert_int_equal(configuration->request_id, 66);
    quoral__configuration__free_unpacked(configuration, NULL);
    msg_free(&record);
    repl_destroy(&repl);
}

static void a_change_that_is_not_allowed_is_refused(void **state)
{
    (void)state;
    repl_t *repl = leader(3);
    repl_propose_change(repl, 5, 'r', 9);
    expect_rejected(repl, 5, API_MEMBER_NOT_FOUND);
    repl_propose_change(repl, 6, 'a', 2);
    expect_rejected(repl, 6, API_MEMBER_EXISTS);
    assert_int_equal(repl_position(repl).last_index, 2);
    repl_destroy(&repl);
}

static void one_change_at_a_time(void **state)
{
    (void)state;
    repl_t *repl = leader(3);
    repl_propose_change(repl, 5, 'a', 4);
    repl_propose_change(repl, 6, 'a', 5);
    assert_int_equal(repl_position(repl).last_index, 3);
    repl_durable(repl, 0);
    repl_hear_ack(repl, 2, 2, 3, 0);
    repl_hear_ack(repl, 3, 2, 3, 0);
    assert_int_equal(repl_position(repl).last_index, 4);
    repl_expect_none(repl, ACTOR_GRPC_GATEWAY, MSG_REJECTED);
    repl_destroy(&repl);
}

/* Without it two leaders change the same configuration behind each other's back (conf.pml, 7 steps). */
static void no_change_before_an_entry_of_the_term_is_committed(void **state)
{
    (void)state;
    repl_t *repl = repl_new(3, 1, TERMS(1), 1);
    repl_lead(repl, 2);
    repl_propose_change(repl, 5, 'a', 4);
    repl_durable(repl, 0);
    assert_int_equal(repl_position(repl).last_index, 2);
    repl_hear_ack(repl, 2, 2, 2, 0);
    assert_int_equal(repl_position(repl).last_index, 3);
    repl_destroy(&repl);
}

static void waiting_changes_are_bounded(void **state)
{
    (void)state;
    repl_t *repl = repl_new(3, 1, TERMS(1), 1);
    repl_lead(repl, 2);
    for (uint64_t i = 0; i < LIMIT_WAITING_CHANGES; i++) {
        repl_propose_change(repl, i, 'a', 10 + i);
    }
    repl_expect_none(repl, ACTOR_GRPC_GATEWAY, MSG_REJECTED);
    repl_propose_change(repl, 77, 'a', 99);
    expect_rejected(repl, 77, API_TOO_MANY_REQUESTS);
    repl_fence(repl, 3); /* they never entered the log */
    for (uint64_t i = 0; i < LIMIT_WAITING_CHANGES; i++) {
        expect_rejected(repl, i, API_NO_LEADER);
    }
    repl_destroy(&repl);
}

static void a_change_in_the_log_is_unknown_when_leadership_ends(void **state)
{
    (void)state;
    repl_t *repl = leader(3);
    repl_propose_change(repl, 5, 'a', 4);
    repl_fence(repl, 3);
    msg_t *msg = repl_expect(repl, ACTOR_GRPC_GATEWAY, MSG_UNKNOWN);
    assert_int_equal(msg->u.refusal.req_ids[0], 5);
    msg_free(&msg);
    repl_destroy(&repl);
}

/* The follower of a leader in term 3 that replaces what the old one had appended. */
static void a_change_that_is_replaced_counts_no_longer(void **state)
{
    (void)state;
    repl_t *repl = leader(3);
    repl_propose_change(repl, 5, 'a', 4);
    repl_clear(repl);
    repl_open(repl, 3);
    repl_hear_append(repl, 2, 3, 2, 2, TERMS(3), 2);
    repl_flush(repl);
    configuration_t members = told(repl, ACTOR_ELECTION, MSG_MEMBERS, 0, true);
    assert_int_equal(members.count, 3);
    configuration_deinit(&members);
    configuration_t peers = told(repl, ACTOR_PEER, MSG_PEERS, 0, true);
    configuration_deinit(&peers);
    repl_destroy(&repl);
}

static peer_msg_t *append_configuration(uint64_t term, uint64_t prev_index, uint64_t prev_term,
                                        const uint64_t *voters, uint64_t removed)
{
    bytes_t *encoded = repl_configuration(voters, NULL);
    slice_t bytes = bytes_slice(encoded);
    Quoral__Configuration *configuration =
        quoral__configuration__unpack(NULL, bytes.len, bytes.data);
    bytes_unref(&encoded);
    if (removed) {
        configuration->removed_ids = xcalloc(1, sizeof(uint64_t));
        configuration->removed_ids[0] = removed;
        configuration->n_removed_ids = 1;
    }
    uint8_t *room = NULL;
    encoded = bytes_alloc(quoral__configuration__get_packed_size(configuration), &room);
    quoral__configuration__pack(configuration, room);
    quoral__configuration__free_unpacked(configuration, NULL);
    peer_msg_t *content = peer_msg_new(PEER_APPEND, term);
    content->u.append = (peer_append_t){.prev_index = prev_index, .prev_term = prev_term};
    entry_t entry = {
        .index = prev_index + 1, .term = term, .type = ENTRY_CONFIGURATION, .payload = encoded};
    entries_append(&content->u.append.entries, &entry);
    bytes_unref(&encoded);
    return content;
}

static void a_follower_adopts_what_it_takes(void **state)
{
    (void)state;
    repl_t *repl = repl_new(3, 1, TERMS(1), 1);
    repl_open(repl, 2);
    repl_clear(repl);
    peer_msg_t *content = append_configuration(2, 1, 1, TERMS(1, 2, 3, 4), 0);
    repl_hear(repl, 2, &content);
    expect_told(repl, 2, 4, 4);
    repl_destroy(&repl);
}

static void a_removed_member_ends_when_that_is_committed(void **state)
{
    (void)state;
    repl_t *repl = repl_new(3, 1, TERMS(1), 1);
    repl_open(repl, 2);
    peer_msg_t *content = append_configuration(2, 1, 1, TERMS(2, 3), 1);
    repl_hear(repl, 2, &content);
    repl_durable(repl, 0);
    assert_null(outbox_end_text(repl->core.outbox));
    repl_hear_heartbeat(repl, 2, 2, 2, 0);
    assert_string_equal(outbox_end_text(repl->core.outbox),
                        "the member has been permanently removed from the cluster");
    repl_destroy(&repl);
}

static bool expect_members(repl_t *repl)
{
    msg_t *msg = repl_expect(repl, ACTOR_ELECTION, MSG_MEMBERS);
    bool is_needed = msg->u.members.is_needed;
    msg_free(&msg);
    return is_needed;
}

/* Its log may be the only complete one, while others still count it (Raft dissertation section 4.2.2). */
static void a_member_whose_removal_is_not_committed_may_be_needed(void **state)
{
    (void)state;
    repl_t *repl = repl_new(3, 1, TERMS(1), 1);
    assert_false(expect_members(repl));
    repl_open(repl, 2);
    peer_msg_t *content = append_configuration(2, 1, 1, TERMS(2, 3), 1);
    repl_hear(repl, 2, &content);
    assert_true(expect_members(repl));
    repl_durable(repl, 0);
    repl_expect_none(repl, ACTOR_ELECTION, MSG_MEMBERS);
    repl_hear_heartbeat(repl, 2, 2, 2, 0);
    assert_false(expect_members(repl)); /* committed: nobody needs it any more */
    repl_destroy(&repl);
}

static void who_is_not_a_member_yet_does_not_end(void **state)
{
    (void)state;
    repl_t *repl = repl_new(3, 1, TERMS(1), 1);
    repl_open(repl, 2);
    peer_msg_t *content = append_configuration(2, 1, 1, TERMS(2, 3), 9);
    repl_hear(repl, 2, &content);
    repl_durable(repl, 0);
    repl_hear_heartbeat(repl, 2, 2, 2, 0);
    assert_null(outbox_end_text(repl->core.outbox));
    repl_destroy(&repl);
}

static void a_leader_that_removes_itself_leads_until_that_is_committed(void **state)
{
    (void)state;
    repl_t *repl = leader(3);
    repl_propose_change(repl, 5, 'r', 1);
    repl_durable(repl, 0);
    repl_hear_ack(repl, 2, 2, 3, 0);
    assert_int_equal(commit_of(repl), 0); /* it does not count itself any more */
    repl_expect_none(repl, ACTOR_ELECTION, MSG_RESIGNED);
    repl_clear(repl);
    repl_hear_ack(repl, 3, 2, 3, 0);
    assert_int_equal(commit_of(repl), 3);
    msg_t *heartbeat = repl_expect_peer(repl, 2, PEER_HEARTBEAT); /* the others know */
    assert_int_equal(heartbeat->u.peer.content->u.heartbeat.commit, 3);
    msg_free(&heartbeat);
    msg_t *resigned = repl_expect(repl, ACTOR_ELECTION, MSG_RESIGNED);
    assert_int_equal(resigned->u.term.term, 2);
    msg_free(&resigned);
    assert_non_null(outbox_end_text(repl->core.outbox));
    repl_propose(repl, 7, "x");
    expect_rejected(repl, 7, API_NO_LEADER);
    repl_destroy(&repl);
}

/* The others may have it first: it does not count itself. Its own client waits for the store's answer. */
static void a_leader_that_removes_itself_hands_that_to_its_store_first(void **state)
{
    (void)state;
    repl_t *repl = leader(3);
    repl_propose_change(repl, 5, 'r', 1);
    repl_flush(repl);
    repl_hear_ack(repl, 2, 2, 3, 0);
    repl_hear_ack(repl, 3, 2, 3, 0);
    assert_null(outbox_end_text(repl->core.outbox));
    repl_expect_none(repl, ACTOR_ELECTION, MSG_RESIGNED);
    repl_durable(repl, 0);
    assert_int_equal(commit_of(repl), 3);
    assert_non_null(outbox_end_text(repl->core.outbox));
    repl_expect_none(repl, ACTOR_GRPC_GATEWAY, MSG_UNKNOWN);
    repl_destroy(&repl);
}

static void a_removed_follower_gets_no_more_appends(void **state)
{
    (void)state;
    repl_t *repl = leader(3);
    repl_propose_change(repl, 5, 'r', 3);
    repl_propose(repl, 6, "x");
    repl_advance(repl, REPL_HEARTBEAT_US);
    repl_expect_no_peer(repl, 3, PEER_APPEND);
    repl_expect_no_peer(repl, 3, PEER_HEARTBEAT);
    repl_durable(repl, 0);
    repl_hear_ack(repl, 3, 2, 4, 0);
    assert_int_equal(commit_of(repl), 0);
    repl_hear_ack(repl, 2, 2, 4, 0);
    assert_int_equal(commit_of(repl), 4);
    repl_destroy(&repl);
}

static void a_learner_is_promoted_when_it_has_caught_up(void **state)
{
    (void)state;
    repl_t *repl = leader(1);
    repl_propose_change(repl, 5, 'l', 2);
    repl_durable(repl, 0);
    assert_int_equal(commit_of(repl), 3); /* a learner is not asked */
    repl_propose_change(repl, 6, 'p', 2);
    expect_rejected(repl, 6, API_LEARNER_NOT_READY);
    assert_int_equal(metrics_get(&repl->metrics, METRIC_PROMOTE_NOT_READY), 1);
    repl_hear_ack(repl, 2, 2, 3, 0);
    repl_clear(repl);
    repl_propose_change(repl, 7, 'p', 2);
    expect_told(repl, 4, 2, 2);
    assert_int_equal(metrics_get(&repl->metrics, METRIC_PROMOTED), 1);
    repl_propose(repl, 8, "behind it");
    repl_flush(repl);
    repl_durable(repl, 0);
    assert_int_equal(commit_of(repl), 4); /* now it is */
    repl_hear_ack(repl, 2, 2, 5, 0);
    assert_int_equal(commit_of(repl), 5);
    repl_destroy(&repl);
}

/* ---- through another member ---- */

static void a_change_is_forwarded_alone_and_answered_for_itself(void **state)
{
    (void)state;
    repl_t *repl = repl_new(3, 1, TERMS(1), 1);
    repl_open(repl, 2);
    repl_hear_append(repl, 2, 2, 1, 1, NULL, 1);
    repl_clear(repl);
    msg_t *msg = msg_new(MSG_PROPOSE);
    msg->u.propose.items = xcalloc(3, sizeof(proposal_t));
    msg->u.propose.count = 3;
    for (size_t i = 0; i < 3; i++) {
        bool is_change = i == 1;
        msg->u.propose.items[i] =
            (proposal_t){.req_id = 10 + i,
                         .payload = is_change ? repl_change('a', 4) : bytes_new("x", 1),
                         .type = is_change ? ENTRY_CONFIGURATION : ENTRY_NORMAL};
    }
    repl_send(repl, ACTOR_GRPC_GATEWAY, &msg);
    uint64_t ids[3];
    for (size_t i = 0; i < 3; i++) {
        msg = repl_expect_peer(repl, 2, PEER_PROPOSE_FWD);
        assert_int_equal(msg->u.peer.content->u.propose.count, 1);
        ids[i] = msg->u.peer.content->u.propose.id;
        msg_free(&msg);
    }
    peer_msg_t *content = peer_msg_new(PEER_PROPOSE_ACK, 2); /* of the others: the change waits */
    content->u.propose_reply = (peer_propose_reply_t){.id = ids[2], .index = 3};
    repl_hear(repl, 2, &content);
    repl_hear_append(repl, 2, 2, 1, 1, TERMS(2, 2), 3);
    repl_durable(repl, 0);
    content = peer_msg_new(PEER_PROPOSE_REJ, 2);
    content->u.propose_reply =
        (peer_propose_reply_t){.id = ids[1], .error = API_MEMBER_NOT_ENOUGH_STARTED};
    repl_hear(repl, 2, &content);
    expect_rejected(repl, 11, API_MEMBER_NOT_ENOUGH_STARTED);
    repl_fence(repl, 3);
    repl_expect_none(repl, ACTOR_GRPC_GATEWAY, MSG_UNKNOWN);
    repl_destroy(&repl);
}

/* Member 2, which leads, is removed through this one. */
static repl_t *remover(bool is_taken)
{
    repl_t *repl = repl_new(3, 1, TERMS(1), 1);
    repl_open(repl, 2);
    repl_hear_append(repl, 2, 2, 1, 1, NULL, 1);
    repl_propose_change(repl, 11, 'r', 2);
    msg_t *msg = repl_expect_peer(repl, 2, PEER_PROPOSE_FWD);
    uint64_t id = msg->u.peer.content->u.propose.id;
    msg_free(&msg);
    if (is_taken) {
        peer_msg_t *content = peer_msg_new(PEER_PROPOSE_ACK, 2);
        content->u.propose_reply = (peer_propose_reply_t){.id = id, .index = 2};
        repl_hear(repl, 2, &content);
    }
    return repl;
}

static void expect_unknown(repl_t *repl, uint64_t req_id)
{
    msg_t *msg = repl_expect(repl, ACTOR_GRPC_GATEWAY, MSG_UNKNOWN);
    assert_int_equal(msg->u.refusal.req_ids[0], req_id);
    assert_int_equal(msg->u.refusal.error, API_LEADER_CHANGED);
    msg_free(&msg);
}

/* The leader leaves when it has committed that; a new one tells this member so. The store answers then. */
static void a_removal_of_the_leader_is_waited_for_beyond_its_term(void **state)
{
    (void)state;
    repl_t *repl = remover(true);
    repl_hear_append(repl, 2, 2, 1, 1, TERMS(2), 1);
    repl_durable(repl, 0);
    repl_open(repl, 3);
    repl_hear_append(repl, 3, 3, 2, 2, TERMS(3), 3);
    repl_durable(repl, 0);
    repl_open(repl, 4);
    repl_flush(repl);
    repl_expect_none(repl, ACTOR_GRPC_GATEWAY, MSG_UNKNOWN);
    repl_destroy(&repl);
}

static void a_forwarded_change_that_is_replaced_was_not_made(void **state)
{
    (void)state;
    repl_t *repl = remover(true);
    repl_open(repl, 3);
    repl_expect_none(repl, ACTOR_GRPC_GATEWAY, MSG_UNKNOWN);
    repl_hear_append(repl, 3, 3, 1, 1, TERMS(3), 1);
    repl_durable(repl, 0);
    repl_expect_none(repl, ACTOR_GRPC_GATEWAY,
                     MSG_UNKNOWN); /* not committed yet: it may come back */
    repl_hear_heartbeat(repl, 3, 3, 2, 1);
    expect_unknown(repl, 11);
    repl_destroy(&repl);
}

/* Nobody knows whether it ever reached the log. */
static void a_forwarded_change_without_an_answer_is_unknown_with_the_term(void **state)
{
    (void)state;
    repl_t *repl = remover(false);
    repl_fence(repl, 3);
    repl_flush(repl);
    expect_unknown(repl, 11);
    repl_destroy(&repl);
}

static void hear_change(repl_t *repl, uint64_t id, bytes_t *change)
{
    peer_msg_t *content = peer_msg_new(PEER_PROPOSE_FWD, 2);
    content->u.propose.id = id;
    content->u.propose.items = xcalloc(1, sizeof(proposal_t));
    content->u.propose.items[0] = (proposal_t){.payload = change, .type = ENTRY_CONFIGURATION};
    content->u.propose.count = 1;
    repl_hear(repl, 3, &content);
}

static void the_leader_answers_a_forwarded_change_when_it_is_made(void **state)
{
    (void)state;
    repl_t *repl = leader(3);
    hear_change(repl, 10, repl_change('a', 4));
    msg_t *msg = repl_expect_peer(repl, 3, PEER_PROPOSE_ACK);
    assert_int_equal(msg->u.peer.content->u.propose_reply.id, 10);
    assert_int_equal(msg->u.peer.content->u.propose_reply.index, 3);
    msg_free(&msg);
    hear_change(repl, 11, repl_change('a', 5));
    repl_expect_no_peer(repl, 3, PEER_PROPOSE_ACK); /* the first is under way */
    repl_fence(repl, 3);
    msg = repl_expect_peer(repl, 3, PEER_PROPOSE_REJ);
    assert_int_equal(msg->u.peer.content->u.propose_reply.id, 11);
    assert_int_equal(msg->u.peer.content->term, 2);
    msg_free(&msg);
    repl_destroy(&repl);
}

static void a_forwarded_change_that_is_none_is_refused(void **state)
{
    (void)state;
    repl_t *repl = leader(3);
    hear_change(repl, 10, bytes_new("nonsense", 8));
    msg_t *msg = repl_expect_peer(repl, 3, PEER_PROPOSE_REJ);
    assert_int_equal(msg->u.peer.content->u.propose_reply.error, API_MEMBER_BAD_URLS);
    msg_free(&msg);
    repl_destroy(&repl);
}

/* The second member does not run yet: it asks who the members are first. */
static void the_second_voter_is_added_by_the_first_alone(void **state)
{
    (void)state;
    repl_t *repl = leader(1);
    repl_propose_change(repl, 5, 'a', 2);
    repl_propose(repl, 6, "behind it");
    repl_flush(repl);
    assert_int_equal(commit_of(repl), 0); /* not on the disk yet */
    repl_clear(repl);
    repl_durable(repl, 0);
    assert_int_equal(commit_of(repl), 3);
    configuration_t configuration = told(repl, ACTOR_PEER, MSG_PEERS, 3, true);
    assert_int_equal(configuration_voters(&configuration), 2);
    configuration_deinit(&configuration);
    repl_hear_ack(repl, 2, 2, 4, 0); /* from then on both have to have it */
    assert_int_equal(commit_of(repl), 4);
    repl_destroy(&repl);
}

static void the_third_voter_is_not(void **state)
{
    (void)state;
    repl_t *repl = leader(2);
    repl_propose_change(repl, 5, 'a', 3);
    repl_durable(repl, 0);
    assert_int_equal(commit_of(repl), 0);
    repl_hear_ack(repl, 2, 2, 3, 0);
    assert_int_equal(commit_of(repl), 3);
    repl_destroy(&repl);
}

/* The log may have been told of no commit after it; without this one the second could not even begin. */
static void the_second_voter_is_still_added_after_a_restart(void **state)
{
    (void)state;
    const struct {
        uint64_t member; /* the only voter before */
        uint64_t commit;
    } cases[] = {{1, 2}, {2, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bytes_t *one = repl_configuration((const uint64_t[]){cases[i].member, 0}, NULL);
        bytes_t *both = repl_configuration((const uint64_t[]){1, 2, 0}, NULL);
        entries_t entries = repl_entries(TERMS(1, 1, 1));
        entries.items[1].type = ENTRY_CONFIGURATION;
        bytes_unref(&entries.items[1].payload);
        entries.items[1].payload = bytes_ref(both);
        replicator_cfg_t cfg = {.term = 1, .commit = 1, .configuration = one, .entries = &entries};
        repl_t *repl = repl_new_with(&cfg);
        repl_flush(repl);
        assert_int_equal(commit_of(repl), cases[i].commit);
        configuration_t configuration = told(repl, ACTOR_PEER, MSG_PEERS, 2, i == 0);
        configuration_deinit(&configuration);
        repl_destroy(&repl);
        entries_deinit(&entries);
        bytes_unref(&one);
        bytes_unref(&both);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_change_counts_from_the_moment_it_is_in_the_log),
        cmocka_unit_test(the_entry_holds_the_configuration_and_who_waits),
        cmocka_unit_test(a_change_that_is_not_allowed_is_refused),
        cmocka_unit_test(one_change_at_a_time),
        cmocka_unit_test(no_change_before_an_entry_of_the_term_is_committed),
        cmocka_unit_test(waiting_changes_are_bounded),
        cmocka_unit_test(a_change_in_the_log_is_unknown_when_leadership_ends),
        cmocka_unit_test(a_change_that_is_replaced_counts_no_longer),
        cmocka_unit_test(a_follower_adopts_what_it_takes),
        cmocka_unit_test(a_removed_member_ends_when_that_is_committed),
        cmocka_unit_test(a_member_whose_removal_is_not_committed_may_be_needed),
        cmocka_unit_test(who_is_not_a_member_yet_does_not_end),
        cmocka_unit_test(a_leader_that_removes_itself_leads_until_that_is_committed),
        cmocka_unit_test(a_leader_that_removes_itself_hands_that_to_its_store_first),
        cmocka_unit_test(a_removed_follower_gets_no_more_appends),
        cmocka_unit_test(a_learner_is_promoted_when_it_has_caught_up),
        cmocka_unit_test(a_change_is_forwarded_alone_and_answered_for_itself),
        cmocka_unit_test(a_removal_of_the_leader_is_waited_for_beyond_its_term),
        cmocka_unit_test(a_forwarded_change_that_is_replaced_was_not_made),
        cmocka_unit_test(a_forwarded_change_without_an_answer_is_unknown_with_the_term),
        cmocka_unit_test(the_leader_answers_a_forwarded_change_when_it_is_made),
        cmocka_unit_test(a_forwarded_change_that_is_none_is_refused),
        cmocka_unit_test(the_second_voter_is_added_by_the_first_alone),
        cmocka_unit_test(the_third_voter_is_not),
        cmocka_unit_test(the_second_voter_is_still_added_after_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
