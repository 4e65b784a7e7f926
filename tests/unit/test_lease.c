/* Leases: deadlines count only on the leader, never end early, expire through the log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "actors/lease/lease_table.h"
#include "messages/limits.h"
#include "messages/wire.h"
#include "messages/xalloc.h"
#include "tests/support/lease_rig.h"

static void a_lease_expires_through_the_log_and_only_after_its_ttl(void **state)
{
    (void)state;
    core_test_t test = lt_start();
    lt_lead(&test, 3);
    lt_change(&test, LEASE_GRANTED, 7, 5);
    lt_pass(&test, 5 * SECOND - 1);
    core_test_expect_nothing(&test);
    lt_pass(&test, 1 + SECOND / 2); /* the leader looks every half second */
    msg_t *propose = core_test_expect(&test, ACTOR_REPLICATOR, MSG_PROPOSE);
    assert_int_equal(propose->u.propose.expect_term, 3);
    assert_int_equal(propose->u.propose.count, 1);
    slice_t rest = bytes_slice(propose->u.propose.items[0].payload);
    wire_field_t field;
    assert_int_equal(wire_next(&rest, &field), 0);
    assert_int_equal(field.number, 9); /* InternalRaftRequest.lease_revoke */
    slice_t inner = field.data;
    assert_int_equal(wire_next(&inner, &field), 0);
    assert_int_equal(field.value, 7);
    msg_free(&propose);
    core_test_end(&test);
}

static void a_follower_expires_nothing_and_a_new_leader_starts_anew(void **state)
{
    (void)state;
    core_test_t test = lt_start();
    lt_role(&test, ROLE_FOLLOWER, 1, 2);
    lt_change(&test, LEASE_GRANTED, 7, 5);
    lt_pass(&test, 60 * SECOND);
    core_test_expect_nothing(&test);
    lt_lead(&test, 2);
    lt_pass(&test, 6 * SECOND - 1); /* its TTL and one election timeout */
    core_test_expect_nothing(&test);
    lt_pass(&test, SECOND);
    msg_t *propose = core_test_expect(&test, ACTOR_REPLICATOR, MSG_PROPOSE);
    msg_free(&propose);
    core_test_end(&test);
}

static void a_keepalive_moves_the_end(void **state)
{
    (void)state;
    core_test_t test = lt_start();
    lt_lead(&test, 1);
    lt_change(&test, LEASE_GRANTED, 7, 5);
    lt_pass(&test, 4 * SECOND);
    assert_int_equal(lt_ask_and_confirm(&test, LEASE_OP_KEEPALIVE, 7).ttl_s, 5);
    lt_pass(&test, 4 * SECOND);
    msg_lease_answer_t left = lt_ask_and_confirm(&test, LEASE_OP_TIME_TO_LIVE, 7);
    assert_int_equal(left.ttl_s, 1);
    assert_int_equal(left.granted_ttl_s, 5);
    core_test_end(&test);
}

static void unknown_leases_have_their_answers(void **state)
{
    (void)state;
    core_test_t test = lt_start();
    lt_ask(&test, LEASE_OP_KEEPALIVE, 7, 0);
    assert_int_equal(lt_expect_answer(&test).error, API_NO_LEADER);
    lt_lead(&test, 1);
    assert_int_equal(lt_ask_and_confirm(&test, LEASE_OP_KEEPALIVE, 7).ttl_s, 0);
    assert_int_equal(lt_ask_and_confirm(&test, LEASE_OP_TIME_TO_LIVE, 7).ttl_s, -1);
    core_test_end(&test);
}

static void a_keepalive_of_an_expiring_lease_waits_for_the_revoke(void **state)
{
    (void)state;
    core_test_t test = lt_start();
    lt_lead(&test, 1);
    lt_change(&test, LEASE_GRANTED, 7, 2);
    lt_pass(&test, 3 * SECOND);
    msg_t *propose = core_test_expect(&test, ACTOR_REPLICATOR, MSG_PROPOSE);
    msg_free(&propose);
    lt_ask(&test, LEASE_OP_KEEPALIVE, 7, 0);
    lt_confirm(&test);
    core_test_expect_nothing(&test);
    lt_change(&test, LEASE_REVOKED, 7, 0);
    assert_int_equal(lt_expect_answer(&test).ttl_s, 0);
    core_test_end(&test);
}

/* A grant and the keepalive that follows it travel different ways. */
static void a_question_waits_until_what_is_committed_is_here(void **state)
{
    (void)state;
    core_test_t test = lt_start();
    lt_lead(&test, 1);
    lt_ask(&test, LEASE_OP_KEEPALIVE, 7, 12);
    lt_read_at(&test, lt_expect_read(&test, 1), 12);
    lt_expect_await(&test, 12);
    core_test_flush(&test);
    core_test_expect_nothing(&test); /* it asks once */
    lt_change(&test, LEASE_GRANTED, 7, 5);
    core_test_expect_nothing(&test);
    lt_applied(&test, 12);
    assert_int_equal(lt_expect_answer(&test).ttl_s, 5);
    core_test_end(&test);
}

static void a_list_waits_until_what_its_asker_has_seen_is_here(void **state)
{
    (void)state;
    core_test_t test = lt_start();
    lt_role(&test, ROLE_FOLLOWER, 1, 2); /* any member answers, by itself */
    lt_ask(&test, LEASE_OP_LIST, 0, 12);
    lt_expect_await(&test, 12);
    lt_change(&test, LEASE_GRANTED, 7, 5);
    lt_applied(&test, 12);
    assert_int_equal(lt_expect_answer(&test).id_count, 1);
    lt_role(&test, ROLE_FOLLOWER, 2, 0); /* whoever leads */
    lt_ask(&test, LEASE_OP_LIST, 0, 12);
    assert_int_equal(lt_expect_answer(&test).id_count, 1);
    core_test_end(&test);
}

static void each_question_waits_for_its_own_position(void **state)
{
    (void)state;
    core_test_t test = lt_start();
    lt_role(&test, ROLE_FOLLOWER, 1, 2);
    lt_ask(&test, LEASE_OP_LIST, 0, 12);
    lt_ask(&test, LEASE_OP_LIST, 0, 13);
    lt_ask(&test, LEASE_OP_LIST, 0, 15);
    lt_expect_await(&test, 12);
    lt_applied(&test, 13);
    lt_expect_answer(&test);
    lt_expect_answer(&test);
    lt_expect_await(&test, 15);
    lt_applied(&test, 15);
    lt_expect_answer(&test);
    core_test_flush(&test);
    core_test_expect_nothing(&test);
    core_test_end(&test);
}

/* ---- is this member still the leader? ---- */

static void questions_of_a_burst_share_a_read_index(void **state)
{
    (void)state;
    core_test_t test = lt_start();
    lt_lead(&test, 3);
    lt_change(&test, LEASE_GRANTED, 7, 5);
    lt_ask(&test, LEASE_OP_KEEPALIVE, 7, 0);
    lt_ask(&test, LEASE_OP_TIME_TO_LIVE, 7, 0);
    uint64_t first = lt_expect_read(&test, 3);
    core_test_expect_nothing(&test);
    lt_ask(&test, LEASE_OP_TIME_TO_LIVE, 8, 0); /* came later: the next read */
    uint64_t second = lt_expect_read(&test, 3);
    lt_read_at(&test, first, 0);
    assert_int_equal(lt_expect_answer(&test).ttl_s, 5);
    assert_int_equal(lt_expect_answer(&test).granted_ttl_s, 5);
    core_test_expect_nothing(&test);
    lt_read_at(&test, second, 0);
    assert_int_equal(lt_expect_answer(&test).ttl_s, -1);
    core_test_end(&test);
}

static void few_reads_are_under_way_and_later_questions_share_the_next(void **state)
{
    (void)state;
    core_test_t test = lt_start();
    lt_lead(&test, 3);
    uint64_t first = 0;
    for (int i = 0; i < LIMIT_READ_ROUNDS; i++) {
        lt_ask(&test, LEASE_OP_KEEPALIVE, i, 0);
        uint64_t read_id = lt_expect_read(&test, 3);
        first = first ? first : read_id;
    }
    lt_ask(&test, LEASE_OP_KEEPALIVE, 98, 0);
    core_test_flush(&test);
    lt_ask(&test, LEASE_OP_KEEPALIVE, 99, 0);
    core_test_flush(&test);
    core_test_expect_nothing(&test);
    lt_read_at(&test, first, 0);
    lt_expect_answer(&test);
    lt_read_at(&test, lt_expect_read(&test, 3), 0);
    assert_int_equal(lt_expect_answer(&test).id, 98);
    assert_int_equal(lt_expect_answer(&test).id, 99);
    core_test_end(&test);
}

static void a_lost_leadership_fails_what_waits(void **state)
{
    (void)state;
    core_test_t test = lt_start();
    lt_lead(&test, 3);
    lt_change(&test, LEASE_GRANTED, 7, 2);
    lt_pass(&test, 3 * SECOND);
    msg_t *propose = core_test_expect(&test, ACTOR_REPLICATOR, MSG_PROPOSE);
    msg_free(&propose);
    lt_ask(&test, LEASE_OP_KEEPALIVE, 7, 0); /* for the revocation */
    lt_confirm(&test);
    lt_ask(&test, LEASE_OP_KEEPALIVE, 8, 0); /* for what is committed */
    lt_read_at(&test, lt_expect_read(&test, 3), 5);
    lt_ask(&test, LEASE_OP_KEEPALIVE, 9, 0); /* for a confirmation */
    uint64_t late = lt_expect_read(&test, 3);
    lt_expect_await(&test, 5);
    lt_ask(&test, LEASE_OP_KEEPALIVE, 10, 0); /* for the end of the burst */
    lt_role(&test, ROLE_FOLLOWER, 3, 0);
    for (int64_t id = 7; id <= 10; id++) {
        msg_lease_answer_t answer = lt_expect_answer(&test);
        assert_int_equal(answer.id, id);
        assert_int_equal(answer.error, API_LEADER_CHANGED);
    }
    lt_read_at(&test, late, 0);
    core_test_flush(&test);
    core_test_expect_nothing(&test);
    core_test_end(&test);
}

static void a_read_that_fails_fails_its_questions(void **state)
{
    (void)state;
    core_test_t test = lt_start();
    lt_lead(&test, 3);
    lt_ask(&test, LEASE_OP_KEEPALIVE, 7, 0);
    lt_read_fail(&test, lt_expect_read(&test, 3), API_LEADER_CHANGED);
    assert_int_equal(lt_expect_answer(&test).error, API_LEADER_CHANGED);
    lt_ask(&test, LEASE_OP_KEEPALIVE, 7,
           0); /* the replicator has not heard of LEAD yet: ask again */
    lt_read_fail(&test, lt_expect_read(&test, 3), API_NOT_LEADER);
    assert_int_equal(lt_expect_answer(&test).error, API_NO_LEADER);
    core_test_end(&test);
}

static void after_a_pause_nothing_expires_until_the_leadership_is_confirmed(void **state)
{
    (void)state;
    core_test_t test = lt_start();
    lt_lead(&test, 3);
    lt_change(&test, LEASE_GRANTED, 7, 5);
    lt_ask(&test, LEASE_OP_KEEPALIVE, 7, 0);
    uint64_t before = lt_expect_read(&test, 3);
    test.now_us += 60 * SECOND; /* stopped, or a virtual machine that slept */
    core_test_flush(&test);
    assert_int_equal(lt_expect_answer(&test).error, API_LEADER_CHANGED);
    uint64_t after = lt_expect_read(&test, 3);
    lt_pass(&test, SECOND / 4);
    lt_read_at(&test, before, 0); /* says nothing about now */
    core_test_flush(&test);
    core_test_expect_nothing(&test);
    lt_read_fail(&test, after, API_NOT_LEADER);
    core_test_expect_nothing(&test);
    lt_pass(&test, SECOND); /* asked again, now and then */
    msg_t *read = core_test_expect(&test, ACTOR_REPLICATOR, MSG_READ);
    lt_read_at(&test, read->u.read.read_id, 0);
    msg_free(&read);
    lt_pass(&test, 6 * SECOND - 1); /* its full time, and an election timeout */
    msg_t *msg = NULL;
    actor_id_t to = ACTOR_NONE;
    while ((msg = core_test_take(&test, &to))) {
        assert_int_equal(msg->kind, MSG_READ);
        msg_free(&msg);
    }
    lt_pass(&test, SECOND);
    msg = core_test_expect(&test, ACTOR_REPLICATOR, MSG_PROPOSE);
    msg_free(&msg);
    core_test_end(&test);
}

static void after_a_pause_a_new_term_counts_anew(void **state)
{
    (void)state;
    core_test_t test = lt_start();
    lt_lead(&test, 3);
    lt_change(&test, LEASE_GRANTED, 7, 5);
    test.now_us += 60 * SECOND;
    core_test_flush(&test);
    uint64_t late = lt_expect_read(&test, 3);
    lt_role(&test, ROLE_FOLLOWER, 3, 0);
    lt_lead(&test, 4);
    lt_read_fail(&test, late, API_LEADER_CHANGED);
    lt_pass(&test, 6 * SECOND - 1);
    core_test_expect_nothing(&test);
    lt_pass(&test, SECOND);
    msg_t *propose = core_test_expect(&test, ACTOR_REPLICATOR, MSG_PROPOSE);
    assert_int_equal(propose->u.propose.expect_term, 4);
    msg_free(&propose);
    core_test_end(&test);
}

/* Its revocation may be in the log. */
static void a_pause_does_not_bring_an_expiring_lease_back(void **state)
{
    (void)state;
    core_test_t test = lt_start();
    lt_lead(&test, 3);
    lt_change(&test, LEASE_GRANTED, 7, 2);
    lt_change(&test, LEASE_GRANTED, 8, 60);
    lt_pass(&test, 3 * SECOND);
    msg_t *propose = core_test_expect(&test, ACTOR_REPLICATOR, MSG_PROPOSE);
    msg_free(&propose);
    test.now_us += 2 * SECOND;
    lt_confirm(&test);
    lt_ask(&test, LEASE_OP_KEEPALIVE, 8, 0);
    lt_ask(&test, LEASE_OP_KEEPALIVE, 7, 0);
    lt_confirm(&test);
    assert_int_equal(lt_expect_answer(&test).id, 8);
    core_test_expect_nothing(&test);
    lt_change(&test, LEASE_REVOKED, 7, 0);
    assert_int_equal(lt_expect_answer(&test).ttl_s, 0);
    core_test_end(&test);
}

static void a_quiet_time_is_no_pause(void **state)
{
    (void)state;
    core_test_t test = lt_start();
    lt_lead(&test, 3);
    assert_int_equal(lease_ops.deadline(test.core), DEADLINE_NONE); /* nothing to mind */
    test.now_us += 60 * SECOND;
    lt_ask(&test, LEASE_OP_KEEPALIVE, 7, 0);
    lt_confirm(&test);
    assert_int_equal(lt_expect_answer(&test).error, API_NONE);
    lt_change(&test, LEASE_GRANTED, 7, 600);
    lt_pass(&test, 300 * SECOND); /* with a lease it looks, and knows that time passes */
    core_test_expect_nothing(&test);
    lt_role(&test, ROLE_FOLLOWER, 4, 2);
    assert_int_equal(lease_ops.deadline(test.core), DEADLINE_NONE);
    core_test_end(&test);
}

/* ---- order ---- */

static void a_lost_revoke_is_proposed_again(void **state)
{
    (void)state;
    core_test_t test = lt_start();
    lt_lead(&test, 1);
    lt_change(&test, LEASE_GRANTED, 7, 2);
    for (int round = 0; round < 2; round++) {
        lt_pass(&test, 6 * SECOND);
        msg_t *propose = core_test_expect(&test, ACTOR_REPLICATOR, MSG_PROPOSE);
        assert_int_equal(propose->u.propose.count, 1);
        msg_free(&propose);
    }
    core_test_end(&test);
}

static void the_list_is_sorted_by_expiry(void **state)
{
    (void)state;
    core_test_t test = lt_start();
    lt_lead(&test, 1);
    lt_change(&test, LEASE_GRANTED, 1, 30);
    lt_change(&test, LEASE_GRANTED, 2, 10);
    lt_change(&test, LEASE_GRANTED, 3, 20);
    lt_ask(&test, LEASE_OP_LIST, 0, 0);
    msg_t *msg = core_test_expect(&test, ACTOR_GRPC_GATEWAY, MSG_LEASE_ANSWER);
    assert_int_equal(msg->u.lease_answer.id_count, 3);
    assert_int_equal(msg->u.lease_answer.ids[0], 2);
    assert_int_equal(msg->u.lease_answer.ids[1], 3);
    assert_int_equal(msg->u.lease_answer.ids[2], 1);
    msg_free(&msg);
    core_test_end(&test);
}

static void leases_of_one_burst_end_in_the_order_of_their_grants(void **state)
{
    (void)state;
    core_test_t test = lt_start();
    lt_lead(&test, 1);
    lt_change(&test, LEASE_GRANTED, 9, 10);
    lt_change(&test, LEASE_GRANTED, 3, 10);
    lt_change(&test, LEASE_GRANTED, 6, 10);
    lt_ask(&test, LEASE_OP_LIST, 0, 0);
    msg_t *msg = core_test_expect(&test, ACTOR_GRPC_GATEWAY, MSG_LEASE_ANSWER);
    assert_int_equal(msg->u.lease_answer.ids[0], 9);
    assert_int_equal(msg->u.lease_answer.ids[1], 3);
    assert_int_equal(msg->u.lease_answer.ids[2], 6);
    msg_free(&msg);
    core_test_end(&test);
}

static void list(core_test_t *test, bool is_first, int64_t id, int64_t ttl_s)
{
    msg_t *msg = msg_new(MSG_LEASE_APPLIED);
    msg->u.lease_applied.is_first = is_first;
    msg->u.lease_applied.items = xcalloc(1, sizeof(lease_change_t));
    msg->u.lease_applied.items[0] =
        (lease_change_t){.type = LEASE_GRANTED, .id = id, .ttl_s = ttl_s};
    msg->u.lease_applied.count = id ? 1 : 0;
    core_test_send(test, ACTOR_APPLIER, &msg);
}

static void restored(core_test_t *test, uint64_t index)
{
    msg_t *msg = msg_new(MSG_RESTORED);
    msg->u.restored.index = index;
    core_test_send(test, ACTOR_APPLIER, &msg);
}

/* After the store was replaced by another member's. */
static void a_list_of_all_leases_replaces_what_was_known(void **state)
{
    (void)state;
    core_test_t test = lt_start();
    lt_lead(&test, 1);
    lt_change(&test, LEASE_GRANTED, 1, 10);
    lt_change(&test, LEASE_GRANTED, 2, 10);
    lt_change(&test, LEASE_GRANTED, 3, 10);
    lt_pass(&test, 1 * SECOND);
    list(&test, true, 2, 10);
    list(&test, false, 3, 20); /* granted anew, with another TTL */
    list(&test, false, 4, 10);
    lt_ask(&test, LEASE_OP_TIME_TO_LIVE, 1, 0);
    lt_ask(&test, LEASE_OP_TIME_TO_LIVE, 2, 0);
    lt_ask(&test, LEASE_OP_TIME_TO_LIVE, 3, 0);
    lt_ask(&test, LEASE_OP_TIME_TO_LIVE, 4, 0);
    lt_confirm(&test);
    core_test_expect_nothing(&test); /* the list is not complete */
    restored(&test, 50);
    assert_int_equal(lt_expect_answer(&test).ttl_s, -1);
    assert_int_equal(lt_expect_answer(&test).ttl_s, 9); /* kept its deadline */
    assert_int_equal(lt_expect_answer(&test).ttl_s, 20);
    assert_int_equal(lt_expect_answer(&test).ttl_s, 10);
    list(&test, true, 0, 0); /* none at all */
    restored(&test, 60);
    assert_int_equal(lt_ask_and_confirm(&test, LEASE_OP_TIME_TO_LIVE, 2).ttl_s, -1);
    core_test_end(&test);
}

/* The table against a plain array under random operations. */
static void the_table_agrees_with_a_list(void **state)
{
    (void)state;
    enum { IDS = 200, ROUNDS = 20000 };
    lease_table_t table = {0};
    uint64_t deadlines[IDS] = {0}; /* 0 = not there */
    uint64_t random = 42;
    for (int round = 0; round < ROUNDS; round++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        int64_t id = (int64_t)(random >> 33) % IDS;
        uint64_t deadline = 1 + (random >> 20) % 1000;
        lease_entry_t *entry = lease_table_find(&table, id);
        assert_int_equal(entry != NULL, deadlines[id] != 0);
        if (!entry) {
            lease_table_add(&table, id, 1, deadline);
            deadlines[id] = deadline;
        } else if (random & (1u << 16)) {
            lease_table_move(&table, entry, deadline);
            deadlines[id] = deadline;
        } else {
            lease_table_remove(&table, entry);
            deadlines[id] = 0;
        }
        uint64_t earliest = UINT64_MAX;
        for (int i = 0; i < IDS; i++) {
            earliest = deadlines[i] && deadlines[i] < earliest ? deadlines[i] : earliest;
        }
        const lease_entry_t *first = lease_table_first(&table);
        assert_int_equal(first ? first->deadline_us : UINT64_MAX, earliest);
    }
    lease_table_deinit(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lease_expires_through_the_log_and_only_after_its_ttl),
        cmocka_unit_test(a_follower_expires_nothing_and_a_new_leader_starts_anew),
        cmocka_unit_test(a_keepalive_moves_the_end),
        cmocka_unit_test(unknown_leases_have_their_answers),
        cmocka_unit_test(a_keepalive_of_an_expiring_lease_waits_for_the_revoke),
        cmocka_unit_test(a_question_waits_until_what_is_committed_is_here),
        cmocka_unit_test(a_list_waits_until_what_its_asker_has_seen_is_here),
        cmocka_unit_test(each_question_waits_for_its_own_position),
        cmocka_unit_test(questions_of_a_burst_share_a_read_index),
        cmocka_unit_test(few_reads_are_under_way_and_later_questions_share_the_next),
        cmocka_unit_test(a_lost_leadership_fails_what_waits),
        cmocka_unit_test(a_read_that_fails_fails_its_questions),
        cmocka_unit_test(after_a_pause_nothing_expires_until_the_leadership_is_confirmed),
        cmocka_unit_test(after_a_pause_a_new_term_counts_anew),
        cmocka_unit_test(a_pause_does_not_bring_an_expiring_lease_back),
        cmocka_unit_test(a_quiet_time_is_no_pause),
        cmocka_unit_test(a_lost_revoke_is_proposed_again),
        cmocka_unit_test(the_list_is_sorted_by_expiry),
        cmocka_unit_test(leases_of_one_burst_end_in_the_order_of_their_grants),
        cmocka_unit_test(a_list_of_all_leases_replaces_what_was_known),
        cmocka_unit_test(the_table_agrees_with_a_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
