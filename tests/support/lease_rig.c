#include "tests/support/lease_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "messages/xalloc.h"

metrics_t lt_metrics;

core_test_t lt_start(void)
{
    lease_cfg_t cfg = {.election_timeout_us = SECOND,
                       .request_timeout_us = 7 * SECOND,
                       .first_forward = FIRST_FORWARD};
    return core_test_new(ACTOR_LEASE, &lease_ops, lease_new(&cfg, &lt_metrics));
}

void lt_pass(core_test_t *test, uint64_t micros)
{
    uint64_t until_us = test->now_us + micros;
    uint64_t due_us = 0;
    while ((due_us = lease_ops.deadline(test->core)) < until_us) {
        assert_true(due_us >= test->now_us); /* or it would never sleep */
        test->now_us = due_us;
        core_test_flush(test);
    }
    test->now_us = until_us;
    core_test_flush(test);
}

/* ---- from the other actors ---- */

void lt_role(core_test_t *test, role_t role, uint64_t term, uint64_t leader)
{
    msg_t *msg = msg_new(MSG_ROLE);
    msg->u.role = (msg_role_t){.term = term, .role = role, .leader = leader};
    core_test_send(test, ACTOR_ELECTION, &msg);
}

void lt_lead(core_test_t *test, uint64_t term)
{
    lt_role(test, ROLE_LEADER, term, 1);
}

void lt_change(core_test_t *test, lease_change_type_t type, int64_t id, int64_t ttl_s)
{
    msg_t *msg = msg_new(MSG_LEASE_APPLIED);
    msg->u.lease_applied.items = xcalloc(1, sizeof(lease_change_t));
    msg->u.lease_applied.items[0] = (lease_change_t){.type = type, .id = id, .ttl_s = ttl_s};
    msg->u.lease_applied.count = 1;
    core_test_send(test, ACTOR_APPLIER, &msg);
}

void lt_applied(core_test_t *test, uint64_t index)
{
    msg_t *msg = msg_new(MSG_APPLIED);
    msg->u.applied.index = index;
    core_test_send(test, ACTOR_APPLIER, &msg);
}

void lt_ask(core_test_t *test, lease_op_t op, int64_t id, uint64_t applied_index)
{
    msg_t *msg = msg_new(MSG_LEASE_ASK);
    msg->u.lease_ask =
        (msg_lease_ask_t){.req_id = 9, .op = op, .id = id, .applied_index = applied_index};
    core_test_send(test, ACTOR_GRPC_GATEWAY, &msg);
}

void lt_expect_await(core_test_t *test, uint64_t index)
{
    core_test_flush(test);
    msg_t *msg = core_test_expect(test, ACTOR_APPLIER, MSG_AWAIT);
    assert_int_equal(msg->u.await.index, index);
    msg_free(&msg);
}

static msg_read_t take_read(core_test_t *test)
{
    core_test_flush(test);
    msg_t *msg = core_test_expect(test, ACTOR_REPLICATOR, MSG_READ);
    msg_read_t read = msg->u.read;
    msg_free(&msg);
    return read;
}

uint64_t lt_expect_read(core_test_t *test, uint64_t term)
{
    msg_read_t read = take_read(test);
    assert_int_equal(read.expect_term, term);
    return read.read_id;
}

static void answer_read(core_test_t *test, msg_kind_t kind, const msg_read_t *read)
{
    msg_t *msg = msg_new(kind);
    msg->u.read = *read;
    core_test_send(test, ACTOR_REPLICATOR, &msg);
}

void lt_read_at(core_test_t *test, uint64_t read_id, uint64_t index)
{
    msg_read_t read = {.read_id = read_id, .index = index};
    answer_read(test, MSG_READ_AT, &read);
}

void lt_read_fail(core_test_t *test, uint64_t read_id, api_error_t error)
{
    msg_read_t read = {.read_id = read_id, .error = error};
    answer_read(test, MSG_READ_FAIL, &read);
}

void lt_confirm(core_test_t *test)
{
    lt_read_at(test, take_read(test).read_id, 0);
}

/* ---- answers ---- */

msg_lease_answer_t lt_expect_answer(core_test_t *test)
{
    msg_t *msg = core_test_expect(test, ACTOR_GRPC_GATEWAY, MSG_LEASE_ANSWER);
    assert_int_equal(msg->u.lease_answer.req_id, 9);
    msg_lease_answer_t fields = msg->u.lease_answer;
    fields.ids = NULL;
    msg_free(&msg);
    return fields;
}

msg_lease_answer_t lt_ask_and_confirm(core_test_t *test, lease_op_t op, int64_t id)
{
    lt_ask(test, op, id, 0);
    lt_confirm(test);
    return lt_expect_answer(test);
}

/* ---- other members ---- */

static void hear(core_test_t *test, uint64_t member, peer_msg_t *content)
{
    msg_t *msg = msg_new(MSG_PEER);
    msg->u.peer = (msg_peer_t){.member = member, .content = content};
    core_test_send(test, ACTOR_PEER, &msg);
}

void lt_hear_forward(core_test_t *test, uint64_t member, uint64_t term, const peer_lease_ask_t *ask)
{
    peer_msg_t *content = peer_msg_new(PEER_LEASE_FWD, term);
    content->u.lease_ask = *ask;
    hear(test, member, content);
}

void lt_hear_reply(core_test_t *test, uint64_t member, const peer_lease_answer_t *reply)
{
    peer_msg_t *content = peer_msg_new(PEER_LEASE_REPLY, 1);
    content->u.lease_answer = *reply;
    hear(test, member, content);
}

static peer_msg_t expect_peer(core_test_t *test, uint64_t member, peer_kind_t kind)
{
    msg_t *msg = core_test_expect(test, ACTOR_PEER, MSG_PEER);
    assert_int_equal(msg->u.peer.member, member);
    assert_string_equal(peer_kind_name(msg->u.peer.content->kind), peer_kind_name(kind));
    peer_msg_t content = *msg->u.peer.content; /* of these kinds, nothing is on the heap */
    msg_free(&msg);
    return content;
}

peer_lease_ask_t lt_expect_forward(core_test_t *test, uint64_t member, uint64_t term)
{
    peer_msg_t content = expect_peer(test, member, PEER_LEASE_FWD);
    assert_int_equal(content.term, term);
    return content.u.lease_ask;
}

peer_lease_answer_t lt_expect_reply(core_test_t *test, uint64_t member)
{
    return expect_peer(test, member, PEER_LEASE_REPLY).u.lease_answer;
}
