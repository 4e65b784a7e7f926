/* The replicator of a cluster of one, through the fence protocol, step by step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "actors/replicator/replicator.h"
#include "membership.pb-c.h"
#include "messages/limits.h"
#include "messages/xalloc.h"
#include "tests/support/core_test.h"

static metrics_t metrics;

static bytes_t *configuration_of(uint64_t first, uint64_t second)
{
    Quoral__ConfigurationMember members[2] = {QUORAL__CONFIGURATION_MEMBER__INIT,
                                              QUORAL__CONFIGURATION_MEMBER__INIT};
    Quoral__ConfigurationMember *pointers[2] = {&members[0], &members[1]};
    members[0].id = first;
    members[1].id = second;
    Quoral__Configuration message = QUORAL__CONFIGURATION__INIT;
    message.members = pointers;
    message.n_members = second ? 2 : 1;
    uint8_t *room = NULL;
    bytes_t *bytes = bytes_alloc(quoral__configuration__get_packed_size(&message), &room);
    quoral__configuration__pack(&message, room);
    return bytes;
}

static core_test_t start_replicator(const bytes_t *configuration, const entries_t *entries,
                                    uint64_t commit)
{
    replicator_cfg_t cfg = {.member_id = 1,
                            .term = 1,
                            .commit = commit,
                            .configuration = configuration,
                            .entries = entries,
                            .catchup_entries = 100,
                            .election_timeout_us = 1000000,
                            .heartbeat_us = 100000};
    core_test_t test =
        core_test_new(ACTOR_REPLICATOR, &replicator_ops, replicator_new(&cfg, &metrics));
    core_test_flush(&test);
    msg_t *members = core_test_expect(&test, ACTOR_ELECTION, MSG_MEMBERS);
    msg_free(&members);
    msg_t *peers = core_test_expect(&test, ACTOR_PEER, MSG_PEERS);
    msg_free(&peers);
    return test;
}

static void tell(core_test_t *test, msg_kind_t kind, uint64_t term)
{
    msg_t *msg = msg_new(kind);
    msg->u.term.term = term;
    core_test_send(test, ACTOR_ELECTION, &msg);
}

static void fence(core_test_t *test, uint64_t term)
{
    msg_t *msg = msg_new(MSG_FENCE);
    msg->u.fence = (msg_fence_t){.seq = 1, .term = term};
    core_test_send(test, ACTOR_ELECTION, &msg);
    msg_t *fenced = core_test_expect(test, ACTOR_ELECTION, MSG_FENCED);
    msg_free(&fenced);
}

static void propose(core_test_t *test, uint64_t req_id, const char *payload)
{
    msg_t *msg = msg_new(MSG_PROPOSE);
    msg->u.propose.items = xcalloc(1, sizeof(proposal_t));
    msg->u.propose.items[0] =
        (proposal_t){.req_id = req_id, .payload = bytes_new(payload, strlen(payload))};
    msg->u.propose.count = 1;
    core_test_send(test, ACTOR_GRPC_GATEWAY, &msg);
}

static void durable(core_test_t *test, uint64_t lsn)
{
    msg_t *msg = msg_new(MSG_LOG_DURABLE);
    msg->u.log_durable.lsn = lsn;
    core_test_send(test, ACTOR_WAL_WRITER, &msg);
    core_test_flush(test);
}

static core_test_t start_leader(const bytes_t *configuration)
{
    entries_t none = {0};
    core_test_t test = start_replicator(configuration, &none, 0);
    fence(&test, 2);
    tell(&test, MSG_OPEN, 2);
    tell(&test, MSG_LEAD, 2);
    core_test_flush(&test);
    msg_t *append = core_test_expect(&test, ACTOR_WAL_WRITER, MSG_APPEND_LOG); /* the no-op */
    assert_int_equal(append->u.append_log.entries.count, 1);
    assert_int_equal(append->u.append_log.entries.items[0].term, 2);
    msg_free(&append);
    durable(&test, 1);
    msg_t *committed = core_test_expect(&test, ACTOR_APPLIER, MSG_COMMITTED);
    msg_free(&committed);
    return test;
}

static void a_write_is_committed_only_when_it_is_durable(void **state)
{
    (void)state;
    bytes_t *alone = configuration_of(1, 0);
    core_test_t test = start_leader(alone);
    propose(&test, 1, "x");
    propose(&test, 2, "y");
    core_test_flush(&test);
    msg_t *append = core_test_expect(&test, ACTOR_WAL_WRITER, MSG_APPEND_LOG);
    assert_int_equal(append->u.append_log.entries.count, 2); /* one record for the burst */
    core_test_expect_nothing(&test);
    durable(&test, append->u.append_log.lsn);
    msg_free(&append);
    msg_t *committed = core_test_expect(&test, ACTOR_APPLIER, MSG_COMMITTED);
    assert_int_equal(committed->u.committed.entries.count, 2);
    assert_int_equal(committed->u.committed.commit, 3);
    msg_free(&committed);
    core_test_end(&test);
    bytes_unref(&alone);
}

static void nobody_commits_alone_among_two(void **state)
{
    (void)state;
    bytes_t *two = configuration_of(1, 2);
    entries_t none = {0};
    core_test_t test = start_replicator(two, &none, 0);
    fence(&test, 2);
    tell(&test, MSG_OPEN, 2);
    tell(&test, MSG_LEAD, 2);
    core_test_flush(&test);
    msg_t *append = core_test_expect(&test, ACTOR_WAL_WRITER, MSG_APPEND_LOG);
    msg_free(&append);
    msg_t *to_other = core_test_expect(&test, ACTOR_PEER, MSG_PEER);
    msg_free(&to_other);
    durable(&test, 1);
    core_test_expect_nothing(&test);
    core_test_end(&test);
    bytes_unref(&two);
}

static void lead_is_obeyed_only_in_the_fenced_and_open_term(void **state)
{
    (void)state;
    bytes_t *alone = configuration_of(1, 0);
    entries_t none = {0};
    core_test_t test = start_replicator(alone, &none, 0);
    fence(&test, 3);
    tell(&test, MSG_OPEN, 2); /* late */
    tell(&test, MSG_LEAD, 3); /* not durable yet */
    propose(&test, 1, "x");
    core_test_flush(&test);
    msg_t *rejected = core_test_expect(&test, ACTOR_GRPC_GATEWAY, MSG_REJECTED);
    assert_int_equal(rejected->u.refusal.error, API_NO_LEADER);
    msg_free(&rejected);
    core_test_expect_nothing(&test);
    core_test_end(&test);
    bytes_unref(&alone);
}

static void a_fence_ends_leadership_and_says_so(void **state)
{
    (void)state;
    bytes_t *alone = configuration_of(1, 0);
    core_test_t test = start_leader(alone);
    propose(&test, 77, "x");
    msg_t *msg = msg_new(MSG_FENCE);
    msg->u.fence = (msg_fence_t){.seq = 5, .term = 9};
    core_test_send(&test, ACTOR_ELECTION, &msg);
    msg_t *unknown = core_test_expect(&test, ACTOR_GRPC_GATEWAY, MSG_UNKNOWN);
    assert_int_equal(unknown->u.refusal.req_ids[0], 77);
    msg_free(&unknown);
    msg_t *fenced = core_test_expect(&test, ACTOR_ELECTION, MSG_FENCED);
    assert_int_equal(fenced->u.position.last_index, 2); /* what is in flight counts */
    msg_free(&fenced);
    propose(&test, 78, "y");
    msg_t *rejected = core_test_expect(&test, ACTOR_GRPC_GATEWAY, MSG_REJECTED);
    msg_free(&rejected);
    core_test_end(&test);
    bytes_unref(&alone);
}

static void a_read_waits_for_a_commit_of_this_term(void **state)
{
    (void)state;
    bytes_t *alone = configuration_of(1, 0);
    entries_t none = {0};
    core_test_t test = start_replicator(alone, &none, 0);
    fence(&test, 2);
    tell(&test, MSG_OPEN, 2);
    tell(&test, MSG_LEAD, 2);
    msg_t *read = msg_new(MSG_READ);
    read->u.read.read_id = 5;
    core_test_send(&test, ACTOR_GRPC_GATEWAY, &read);
    core_test_flush(&test);
    msg_t *append = core_test_expect(&test, ACTOR_WAL_WRITER, MSG_APPEND_LOG);
    msg_free(&append);
    core_test_expect_nothing(&test);
    durable(&test, 1);
    msg_t *committed = core_test_expect(&test, ACTOR_APPLIER, MSG_COMMITTED);
    msg_free(&committed);
    msg_t *at = core_test_expect(&test, ACTOR_GRPC_GATEWAY, MSG_READ_AT);
    assert_int_equal(at->u.read.read_id, 5);
    assert_int_equal(at->u.read.index, 1);
    msg_free(&at);
    core_test_end(&test);
    bytes_unref(&alone);
}

static void a_read_may_name_the_term_that_must_be_led(void **state)
{
    (void)state;
    bytes_t *alone = configuration_of(1, 0);
    core_test_t test = start_leader(alone);
    for (uint64_t term = 1; term <= 2; term++) {
        msg_t *read = msg_new(MSG_READ);
        read->u.read = (msg_read_t){.read_id = term, .expect_term = term};
        core_test_send(&test, ACTOR_LEASE, &read);
        core_test_flush(&test);
        msg_t *answer =
            core_test_expect(&test, ACTOR_LEASE, term == 2 ? MSG_READ_AT : MSG_READ_FAIL);
        assert_int_equal(answer->u.read.error, term == 2 ? API_NONE : API_NOT_LEADER);
        msg_free(&answer);
    }
    core_test_end(&test);
    bytes_unref(&alone);
}

static void an_expiry_of_another_term_is_refused(void **state)
{
    (void)state;
    bytes_t *alone = configuration_of(1, 0);
    core_test_t test = start_leader(alone);
    msg_t *msg = msg_new(MSG_PROPOSE);
    msg->u.propose.items = xcalloc(1, sizeof(proposal_t));
    msg->u.propose.items[0].payload = bytes_new("r", 1);
    msg->u.propose.count = 1;
    msg->u.propose.expect_term = 1;
    core_test_send(&test, ACTOR_LEASE, &msg);
    msg_t *rejected = core_test_expect(&test, ACTOR_LEASE, MSG_REJECTED);
    assert_int_equal(rejected->u.refusal.error, API_NOT_LEADER);
    msg_free(&rejected);
    core_test_end(&test);
    bytes_unref(&alone);
}

static void recovered_entries_are_delivered_up_to_the_known_commit_only(void **state)
{
    (void)state;
    bytes_t *alone = configuration_of(1, 0);
    entries_t entries = {0};
    for (uint64_t index = 1; index <= 5; index++) {
        entry_t entry = {.index = index, .term = 1};
        entries_append(&entries, &entry);
    }
    core_test_t test = start_replicator(alone, &entries, 3);
    core_test_flush(&test);
    msg_t *committed = core_test_expect(&test, ACTOR_APPLIER, MSG_COMMITTED);
    assert_int_equal(committed->u.committed.entries.count, 3);
    msg_free(&committed);
    core_test_expect_nothing(&test);
    core_test_end(&test);
    entries_deinit(&entries);
    bytes_unref(&alone);
}

static void too_far_ahead_of_the_store_proposals_are_refused(void **state)
{
    (void)state;
    bytes_t *alone = configuration_of(1, 0);
    core_test_t test = start_leader(alone);
    for (uint64_t i = 0; i <= LIMIT_APPLY_BACKLOG; i++) {
        propose(&test, i, "x");
    }
    core_test_flush(&test);
    uint64_t lsn = 1;
    actor_id_t to = ACTOR_NONE;
    msg_t *msg = NULL;
    while ((msg = core_test_take(&test, &to))) {
        lsn = msg->kind == MSG_APPEND_LOG ? msg->u.append_log.lsn : lsn;
        msg_free(&msg);
    }
    durable(&test, lsn);
    while ((msg = core_test_take(&test, &to))) {
        msg_free(&msg);
    }
    propose(&test, 1, "y");
    msg_t *rejected = core_test_expect(&test, ACTOR_GRPC_GATEWAY, MSG_REJECTED);
    assert_int_equal(rejected->u.refusal.error, API_TOO_MANY_REQUESTS);
    msg_free(&rejected);
    core_test_end(&test);
    bytes_unref(&alone);
}

static void a_stuck_disk_is_reported_once_and_its_return_too(void **state)
{
    (void)state;
    bytes_t *alone = configuration_of(1, 0);
    core_test_t test = start_leader(alone);
    propose(&test, 1, "x");
    core_test_flush(&test);
    msg_t *append = core_test_expect(&test, ACTOR_WAL_WRITER, MSG_APPEND_LOG);
    test.now_us = replicator_ops.deadline(test.core);
    core_test_flush(&test);
    msg_t *stall = core_test_expect(&test, ACTOR_ELECTION, MSG_DISK_STALL);
    msg_free(&stall);
    core_test_flush(&test);
    core_test_expect_nothing(&test);
    durable(&test, append->u.append_log.lsn);
    msg_free(&append);
    msg_t *back = core_test_expect(&test, ACTOR_ELECTION, MSG_DISK_OK);
    msg_free(&back);
    core_test_end(&test);
    bytes_unref(&alone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_is_committed_only_when_it_is_durable),
        cmocka_unit_test(nobody_commits_alone_among_two),
        cmocka_unit_test(lead_is_obeyed_only_in_the_fenced_and_open_term),
        cmocka_unit_test(a_fence_ends_leadership_and_says_so),
        cmocka_unit_test(a_read_waits_for_a_commit_of_this_term),
        cmocka_unit_test(a_read_may_name_the_term_that_must_be_led),
        cmocka_unit_test(an_expiry_of_another_term_is_refused),
        cmocka_unit_test(recovered_entries_are_delivered_up_to_the_known_commit_only),
        cmocka_unit_test(too_far_ahead_of_the_store_proposals_are_refused),
        cmocka_unit_test(a_stuck_disk_is_reported_once_and_its_return_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
