/* Leases: deadlines count only on the leader, never end early, expire through the log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "actors/lease/lease.h"
#include "actors/lease/lease_table.h"
#include "messages/wire.h"
#include "messages/xalloc.h"
#include "tests/support/core_test.h"

#define SECOND 1000000u

static metrics_t metrics;

static core_test_t start(void)
{
    lease_cfg_t cfg = {.extend_us = SECOND};
    return core_test_new(ACTOR_LEASE, &lease_ops, lease_new(&cfg, &metrics));
}

static void role(core_test_t *test, role_t role, uint64_t term)
{
    msg_t *msg = msg_new(MSG_ROLE);
    msg->u.role = (msg_role_t){.term = term, .role = role, .leader = role == ROLE_LEADER ? 1 : 0};
    core_test_send(test, ACTOR_ELECTION, &msg);
}

static void change(core_test_t *test, lease_change_type_t type, int64_t id, int64_t ttl_s)
{
    msg_t *msg = msg_new(MSG_LEASE_APPLIED);
    msg->u.lease_applied.items = xcalloc(1, sizeof(lease_change_t));
    msg->u.lease_applied.items[0] = (lease_change_t){.type = type, .id = id, .ttl_s = ttl_s};
    msg->u.lease_applied.count = 1;
    core_test_send(test, ACTOR_APPLIER, &msg);
}

static void ask(core_test_t *test, lease_op_t op, int64_t id, uint64_t applied_index)
{
    msg_t *msg = msg_new(MSG_LEASE_ASK);
    msg->u.lease_ask =
        (msg_lease_ask_t){.req_id = 9, .op = op, .id = id, .applied_index = applied_index};
    core_test_send(test, ACTOR_GRPC_GATEWAY, &msg);
}

static msg_lease_answer_t answer(core_test_t *test)
{
    msg_t *msg = core_test_expect(test, ACTOR_GRPC_GATEWAY, MSG_LEASE_ANSWER);
    msg_lease_answer_t fields = msg->u.lease_answer;
    fields.ids = NULL;
    msg_free(&msg);
    return fields;
}

static void applied(core_test_t *test, uint64_t index)
{
    msg_t *msg = msg_new(MSG_APPLIED);
    msg->u.applied.index = index;
    core_test_send(test, ACTOR_APPLIER, &msg);
}

static void a_lease_expires_through_the_log_and_only_after_its_ttl(void **state)
{
    (void)state;
    core_test_t test = start();
    role(&test, ROLE_LEADER, 3);
    change(&test, LEASE_GRANTED, 7, 5);
    test.now_us += 5 * SECOND - 1;
    core_test_flush(&test);
    core_test_expect_nothing(&test);
    test.now_us += 1 + SECOND / 2; /* the leader looks every half second */
    core_test_flush(&test);
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
    core_test_t test = start();
    role(&test, ROLE_FOLLOWER, 1);
    change(&test, LEASE_GRANTED, 7, 5);
    test.now_us += 60 * SECOND;
    core_test_flush(&test);
    core_test_expect_nothing(&test);
    role(&test, ROLE_LEADER, 2);
    test.now_us += 6 * SECOND - 1; /* its TTL and one election timeout */
    core_test_flush(&test);
    core_test_expect_nothing(&test);
    test.now_us += SECOND;
    core_test_flush(&test);
    msg_t *propose = core_test_expect(&test, ACTOR_REPLICATOR, MSG_PROPOSE);
    msg_free(&propose);
    core_test_end(&test);
}

static void a_keepalive_moves_the_end(void **state)
{
    (void)state;
    core_test_t test = start();
    role(&test, ROLE_LEADER, 1);
    change(&test, LEASE_GRANTED, 7, 5);
    test.now_us += 4 * SECOND;
    ask(&test, LEASE_OP_KEEPALIVE, 7, 0);
    assert_int_equal(answer(&test).ttl_s, 5);
    test.now_us += 4 * SECOND;
    ask(&test, LEASE_OP_TIME_TO_LIVE, 7, 0);
    msg_lease_answer_t left = answer(&test);
    assert_int_equal(left.ttl_s, 1);
    assert_int_equal(left.granted_ttl_s, 5);
    core_test_end(&test);
}

static void unknown_leases_have_their_answers(void **state)
{
    (void)state;
    core_test_t test = start();
    ask(&test, LEASE_OP_KEEPALIVE, 7, 0);
    assert_int_equal(answer(&test).error, API_NO_LEADER);
    role(&test, ROLE_LEADER, 1);
    ask(&test, LEASE_OP_KEEPALIVE, 7, 0);
    assert_int_equal(answer(&test).ttl_s, 0);
    ask(&test, LEASE_OP_TIME_TO_LIVE, 7, 0);
    assert_int_equal(answer(&test).ttl_s, -1);
    core_test_end(&test);
}

static void a_keepalive_of_an_expiring_lease_waits_for_the_revoke(void **state)
{
    (void)state;
    core_test_t test = start();
    role(&test, ROLE_LEADER, 1);
    change(&test, LEASE_GRANTED, 7, 2);
    test.now_us += 3 * SECOND;
    core_test_flush(&test);
    msg_t *propose = core_test_expect(&test, ACTOR_REPLICATOR, MSG_PROPOSE);
    msg_free(&propose);
    ask(&test, LEASE_OP_KEEPALIVE, 7, 0);
    core_test_expect_nothing(&test);
    change(&test, LEASE_REVOKED, 7, 0);
    assert_int_equal(answer(&test).ttl_s, 0);
    core_test_end(&test);
}

/* A grant and the keepalive that follows it travel different ways. */
static void a_question_waits_until_what_its_asker_has_seen_is_here(void **state)
{
    (void)state;
    core_test_t test = start();
    role(&test, ROLE_LEADER, 1);
    ask(&test, LEASE_OP_KEEPALIVE, 7, 12);
    core_test_expect_nothing(&test);
    change(&test, LEASE_GRANTED, 7, 5);
    core_test_expect_nothing(&test);
    applied(&test, 12);
    assert_int_equal(answer(&test).ttl_s, 5);
    core_test_end(&test);
}

static void a_lost_revoke_is_proposed_again(void **state)
{
    (void)state;
    core_test_t test = start();
    role(&test, ROLE_LEADER, 1);
    change(&test, LEASE_GRANTED, 7, 2);
    for (int round = 0; round < 2; round++) {
        test.now_us += 6 * SECOND;
        core_test_flush(&test);
        msg_t *propose = core_test_expect(&test, ACTOR_REPLICATOR, MSG_PROPOSE);
        assert_int_equal(propose->u.propose.count, 1);
        msg_free(&propose);
    }
    core_test_end(&test);
}

static void the_list_is_sorted_by_expiry(void **state)
{
    (void)state;
    core_test_t test = start();
    role(&test, ROLE_LEADER, 1);
    change(&test, LEASE_GRANTED, 1, 30);
    change(&test, LEASE_GRANTED, 2, 10);
    change(&test, LEASE_GRANTED, 3, 20);
    ask(&test, LEASE_OP_LIST, 0, 0);
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
    core_test_t test = start();
    role(&test, ROLE_LEADER, 1);
    change(&test, LEASE_GRANTED, 9, 10);
    change(&test, LEASE_GRANTED, 3, 10);
    change(&test, LEASE_GRANTED, 6, 10);
    ask(&test, LEASE_OP_LIST, 0, 0);
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
    core_test_t test = start();
    role(&test, ROLE_LEADER, 1);
    change(&test, LEASE_GRANTED, 1, 10);
    change(&test, LEASE_GRANTED, 2, 10);
    change(&test, LEASE_GRANTED, 3, 10);
    test.now_us += 1 * SECOND;
    list(&test, true, 2, 10);
    list(&test, false, 3, 20); /* granted anew, with another TTL */
    list(&test, false, 4, 10);
    ask(&test, LEASE_OP_TIME_TO_LIVE, 1, 0);
    ask(&test, LEASE_OP_TIME_TO_LIVE, 2, 0);
    ask(&test, LEASE_OP_TIME_TO_LIVE, 3, 0);
    ask(&test, LEASE_OP_TIME_TO_LIVE, 4, 0);
    core_test_expect_nothing(&test); /* the list is not complete */
    restored(&test, 50);
    assert_int_equal(answer(&test).ttl_s, -1);
    assert_int_equal(answer(&test).ttl_s, 9); /* kept its deadline */
    assert_int_equal(answer(&test).ttl_s, 20);
    assert_int_equal(answer(&test).ttl_s, 10);
    list(&test, true, 0, 0); /* none at all */
    restored(&test, 60);
    ask(&test, LEASE_OP_TIME_TO_LIVE, 2, 0);
    assert_int_equal(answer(&test).ttl_s, -1);
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
        cmocka_unit_test(a_question_waits_until_what_its_asker_has_seen_is_here),
        cmocka_unit_test(a_lost_revoke_is_proposed_again),
        cmocka_unit_test(the_list_is_sorted_by_expiry),
        cmocka_unit_test(leases_of_one_burst_end_in_the_order_of_their_grants),
        cmocka_unit_test(a_list_of_all_leases_replaces_what_was_known),
        cmocka_unit_test(the_table_agrees_with_a_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
