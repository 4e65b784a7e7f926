/* The wiring table keeps its promises: no deadlock by holding back, no credit without a bound, every
 * actor has a start stage, and credits are conserved by outboxes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "actors/wiring.h"

static bool hold_reaches(actor_id_t from, actor_id_t target, unsigned depth)
{
    if (depth > ACTOR_COUNT) {
        return true; /* longer than any path without a cycle */
    }
    for (size_t i = 0; i < wiring_edge_count; i++) {
        const wiring_edge_t *edge = &wiring_edges[i];
        if (edge->policy == EDGE_HOLD && edge->from == from &&
            (edge->to == target || hold_reaches(edge->to, target, depth + 1))) {
            return true;
        }
    }
    return false;
}

static void holding_back_forms_no_cycle(void **state)
{
    (void)state;
    for (int actor = 1; actor < ACTOR_COUNT; actor++) {
        assert_false(hold_reaches((actor_id_t)actor, (actor_id_t)actor, 0));
    }
}

static void every_edge_is_there_once_and_says_what_bounds_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < wiring_edge_count; i++) {
        const wiring_edge_t *edge = &wiring_edges[i];
        assert_ptr_equal(wiring_find(edge->from, edge->to), edge);
        assert_true(edge->why[0] != '\0');
        assert_int_not_equal(edge->from, edge->to);
        if (edge->policy == EDGE_FREE) {
            assert_int_equal(edge->messages_max, 0);
        } else {
            assert_true(edge->messages_max > 0 && edge->bytes_max > 0);
        }
    }
}

static void every_actor_has_a_stage(void **state)
{
    (void)state;
    for (int actor = 1; actor < ACTOR_COUNT; actor++) {
        assert_true(wiring_stage((actor_id_t)actor) < WIRING_STAGES);
    }
    /* Requests come in last and stop first; the log goes the other way. */
    assert_true(wiring_stage(ACTOR_GRPC_GATEWAY) > wiring_stage(ACTOR_REPLICATOR));
    assert_true(wiring_stage(ACTOR_REPLICATOR) > wiring_stage(ACTOR_WAL_WRITER));
}

static void an_edge_carries_only_what_it_lists(void **state)
{
    (void)state;
    const wiring_edge_t *edge = wiring_find(ACTOR_REPLICATOR, ACTOR_WAL_WRITER);
    assert_true(wiring_carries(edge, MSG_APPEND_LOG));
    assert_false(wiring_carries(edge, MSG_HARDSTATE));
    assert_null(wiring_find(ACTOR_GRPC_GATEWAY, ACTOR_WAL_WRITER));
}

static void room_ends_with_the_credits_and_comes_back_with_them(void **state)
{
    (void)state;
    const wiring_edge_t *edge = wiring_find(ACTOR_REPLICATOR, ACTOR_WAL_WRITER);
    outbox_t *outbox = wiring_outbox(ACTOR_REPLICATOR);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < edge->messages_max; i++) {
        assert_true(outbox_room(outbox, ACTOR_WAL_WRITER));
        msg_t *msg = msg_new(MSG_APPEND_LOG);
        bytes += msg_cost(msg);
        outbox_put(outbox, ACTOR_WAL_WRITER, &msg);
        assert_null(msg);
    }
    assert_false(outbox_room(outbox, ACTOR_WAL_WRITER));
    assert_int_equal(outbox_load(outbox, ACTOR_WAL_WRITER).bytes, bytes);
    msg_credit_t credit = {.messages = 1, .bytes = bytes / edge->messages_max};
    outbox_credit(outbox, ACTOR_WAL_WRITER, &credit);
    assert_true(outbox_room(outbox, ACTOR_WAL_WRITER));
    outbox_destroy(&outbox); /* frees what was never taken */
    assert_null(outbox);
}

/* Whatever its receiver keeps to itself, a sender that has no room has something on its way. */
static void credits_that_stay_back_leave_room(void **state)
{
    (void)state;
    for (size_t i = 0; i < wiring_edge_count; i++) {
        const wiring_edge_t *edge = &wiring_edges[i];
        if (edge->policy == EDGE_FREE) {
            continue;
        }
        msg_credit_t all_messages = {.messages = edge->messages_max};
        msg_credit_t all_bytes = {.messages = 1, .bytes = edge->bytes_max};
        assert_true(wiring_credits_due(edge, &all_messages));
        assert_true(wiring_credits_due(edge, &all_bytes));
        msg_credit_t quarter = {.messages = edge->messages_max / 4};
        assert_true(wiring_credits_due(edge, &quarter));
        quarter = (msg_credit_t){.messages = 1, .bytes = edge->bytes_max / 4};
        assert_true(wiring_credits_due(edge, &quarter));
        msg_credit_t less = {.messages = edge->messages_max / 4 - 1,
                             .bytes = edge->bytes_max / 4 - 1};
        assert_false(wiring_credits_due(edge, &less));
    }
}

static void messages_leave_in_the_order_they_were_put(void **state)
{
    (void)state;
    outbox_t *outbox = wiring_outbox(ACTOR_ELECTION);
    for (uint64_t seq = 1; seq <= 3; seq++) {
        msg_t *msg = msg_new(MSG_FENCE);
        msg->u.fence.seq = seq;
        outbox_put(outbox, ACTOR_REPLICATOR, &msg);
    }
    for (uint64_t seq = 1; seq <= 3; seq++) {
        actor_id_t to = ACTOR_NONE;
        msg_t *msg = outbox_take(outbox, &to);
        assert_int_equal(msg->u.fence.seq, seq);
        assert_int_equal(msg->from, ACTOR_ELECTION);
        assert_int_equal(to, ACTOR_REPLICATOR);
        msg_free(&msg);
    }
    outbox_destroy(&outbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holding_back_forms_no_cycle),
        cmocka_unit_test(every_edge_is_there_once_and_says_what_bounds_it),
        cmocka_unit_test(every_actor_has_a_stage),
        cmocka_unit_test(an_edge_carries_only_what_it_lists),
        cmocka_unit_test(room_ends_with_the_credits_and_comes_back_with_them),
        cmocka_unit_test(credits_that_stay_back_leave_room),
        cmocka_unit_test(messages_leave_in_the_order_they_were_put),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
