#include "tests/support/election_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "membership.pb-c.h"
#include "messages/xalloc.h"

metrics_t et_metrics;

bytes_t *et_members_of(const uint64_t *ids)
{
    Quoral__ConfigurationMember members[8];
    Quoral__ConfigurationMember *pointers[8];
    Quoral__Configuration message = QUORAL__CONFIGURATION__INIT;
    for (; ids[message.n_members]; message.n_members++) {
        Quoral__ConfigurationMember *member = &members[message.n_members];
        quoral__configuration_member__init(member);
        member->id = ids[message.n_members] & ~(uint64_t)LEARNER;
        member->learner = ids[message.n_members] & LEARNER;
        pointers[message.n_members] = member;
    }
    message.members = pointers;
    uint8_t *room = NULL;
    bytes_t *bytes = bytes_alloc(quoral__configuration__get_packed_size(&message), &room);
    quoral__configuration__pack(&message, room);
    return bytes;
}

et_rig_t et_rig_with(bytes_t *members, const election_cfg_t *changes)
{
    election_cfg_t cfg = *changes;
    cfg.member_id = 1;
    cfg.term = cfg.term ? cfg.term : 4;
    cfg.configuration = members;
    cfg.heartbeat_us = HEARTBEAT;
    cfg.election_timeout_us = TIMEOUT;
    cfg.seed = cfg.seed ? cfg.seed : 1;
    et_rig_t rig = {.members = members, .last_term = 3, .last_index = 10};
    rig.core = core_test_new(ACTOR_ELECTION, &election_ops, election_new(&cfg, &et_metrics));
    core_test_flush(&rig.core);
    return rig;
}

et_rig_t et_rig_of(bytes_t *members)
{
    election_cfg_t cfg = {.pre_vote = true};
    return et_rig_with(members, &cfg);
}

void et_rig_end(et_rig_t *rig)
{
    core_test_end(&rig->core);
    bytes_unref(&rig->members);
}

/* The next message that is no ROLE, or NULL. */
static msg_t *take(et_rig_t *rig, actor_id_t *to)
{
    msg_t *msg = NULL;
    while ((msg = core_test_take(&rig->core, to)) && msg->kind == MSG_ROLE) {
        msg_free(&msg);
    }
    return msg;
}

msg_t *et_expect(et_rig_t *rig, msg_kind_t kind)
{
    actor_id_t to = ACTOR_NONE;
    msg_t *msg = take(rig, &to);
    assert_non_null(msg);
    assert_string_equal(msg_kind_name(msg->kind), msg_kind_name(kind));
    return msg;
}

void et_expect_term(et_rig_t *rig, msg_kind_t kind, uint64_t term)
{
    msg_t *msg = et_expect(rig, kind);
    assert_int_equal(msg->u.term.term, term);
    msg_free(&msg);
}

void et_expect_nothing(et_rig_t *rig)
{
    actor_id_t to = ACTOR_NONE;
    msg_t *msg = take(rig, &to);
    if (msg) {
        char text[200];
        msg_print(msg, text, sizeof text);
        fail_msg("unexpected message to %s: %s", actor_name(to), text);
    }
}

msg_role_t et_expect_role(et_rig_t *rig)
{
    actor_id_t to = ACTOR_NONE;
    msg_role_t role = {0};
    size_t heard[ACTOR_COUNT] = {0};
    msg_t *msg = NULL;
    while ((msg = core_test_take(&rig->core, &to))) {
        if (msg->kind == MSG_ROLE) {
            role = msg->u.role;
            heard[to]++;
        }
        msg_free(&msg);
    }
    assert_true(heard[ACTOR_GRPC_GATEWAY] > 0);
    assert_int_equal(heard[ACTOR_GRPC_GATEWAY], heard[ACTOR_LEASE]);
    assert_int_equal(heard[ACTOR_ZMQ_GATEWAY], heard[ACTOR_LEASE]);
    return role;
}

void et_answer_position(et_rig_t *rig, msg_t **question_p)
{
    msg_t *msg = msg_new((*question_p)->kind == MSG_FENCE ? MSG_FENCED : MSG_POS);
    msg->u.position = (msg_position_t){.seq = (*question_p)->u.fence.seq,
                                       .term = (*question_p)->u.fence.term,
                                       .last_term = rig->last_term,
                                       .last_index = rig->last_index,
                                       .configuration = bytes_ref(rig->members)};
    msg_free(question_p);
    core_test_send(&rig->core, ACTOR_REPLICATOR, &msg);
}

void et_answer_query(et_rig_t *rig)
{
    msg_t *query = et_expect(rig, MSG_QUERY_POS);
    et_answer_position(rig, &query);
}

void et_answer_fence(et_rig_t *rig, uint64_t term)
{
    msg_t *fence = et_expect(rig, MSG_FENCE);
    assert_int_equal(fence->u.fence.term, term);
    et_answer_position(rig, &fence);
}

void et_answer_hardstate(et_rig_t *rig, uint64_t term, uint64_t vote)
{
    msg_t *hardstate = et_expect(rig, MSG_HARDSTATE);
    assert_int_equal(hardstate->u.hardstate.term, term);
    assert_int_equal(hardstate->u.hardstate.vote, vote);
    et_expect_nothing(rig); /* no OPEN, no vote, no candidacy yet */
    msg_t *durable = msg_new(MSG_HS_DURABLE);
    durable->u.hardstate = hardstate->u.hardstate;
    msg_free(&hardstate);
    core_test_send(&rig->core, ACTOR_WAL_WRITER, &durable);
}

void et_change_term(et_rig_t *rig, uint64_t term, uint64_t vote)
{
    et_answer_fence(rig, term);
    et_answer_hardstate(rig, term, vote);
    et_expect_term(rig, MSG_OPEN, term);
}

void et_tell(et_rig_t *rig, msg_kind_t kind, uint64_t term, uint64_t member)
{
    msg_t *msg = msg_new(kind);
    msg->u.term = (msg_term_t){.term = term, .member = member};
    core_test_send(&rig->core, ACTOR_REPLICATOR, &msg);
}

void et_tell_gone(et_rig_t *rig, uint64_t member)
{
    msg_t *msg = msg_new(MSG_GONE);
    msg->u.gone.member = member;
    core_test_send(&rig->core, ACTOR_PEER, &msg);
}

void et_tell_members(et_rig_t *rig, bytes_t *members)
{
    bytes_unref(&rig->members);
    rig->members = members;
    msg_t *msg = msg_new(MSG_MEMBERS);
    msg->u.members = (msg_members_t){
        .index = 11, .configuration = bytes_ref(members), .is_needed = rig->is_needed};
    core_test_send(&rig->core, ACTOR_REPLICATOR, &msg);
}

void et_tell_disk(et_rig_t *rig, msg_kind_t kind)
{
    msg_t *msg = msg_new(kind);
    core_test_send(&rig->core, ACTOR_REPLICATOR, &msg);
}

void et_send_peer(et_rig_t *rig, uint64_t member, peer_msg_t *content)
{
    msg_t *msg = msg_new(MSG_PEER);
    msg->u.peer = (msg_peer_t){.member = member, .content = content};
    core_test_send(&rig->core, ACTOR_PEER, &msg);
}

void et_request(et_rig_t *rig, peer_kind_t kind, uint64_t member, uint64_t term, int longer)
{
    peer_msg_t *content = peer_msg_new(kind, term);
    content->u.vote_request.last_term = rig->last_term;
    content->u.vote_request.last_index = (uint64_t)((int64_t)rig->last_index + longer);
    et_send_peer(rig, member, content);
}

void et_answer(et_rig_t *rig, peer_kind_t kind, uint64_t member, uint64_t term, bool granted)
{
    peer_msg_t *content = peer_msg_new(kind, term);
    content->u.vote.granted = granted;
    et_send_peer(rig, member, content);
}

peer_msg_t et_expect_peer(et_rig_t *rig, uint64_t member, peer_kind_t kind, uint64_t term)
{
    msg_t *msg = et_expect(rig, MSG_PEER);
    peer_msg_t content = *msg->u.peer.content;
    assert_int_equal(msg->u.peer.member, member);
    assert_string_equal(peer_kind_name(content.kind), peer_kind_name(kind));
    assert_int_equal(content.term, term);
    msg_free(&msg);
    return content;
}

uint64_t et_deadline(const et_rig_t *rig)
{
    return election_ops.deadline(rig->core.core);
}

void et_wake_at(et_rig_t *rig, uint64_t now_us)
{
    rig->core.now_us = now_us;
    core_test_flush(&rig->core);
}

void et_time_out(et_rig_t *rig)
{
    assert_true(et_deadline(rig) <= rig->core.now_us + 2 * TIMEOUT);
    et_wake_at(rig, rig->core.now_us + 2 * TIMEOUT);
}

void et_poll_votes(et_rig_t *rig)
{
    et_time_out(rig);
    et_answer_query(rig);
}

void et_stand(et_rig_t *rig)
{
    et_poll_votes(rig);
    et_expect_peer(rig, 2, PEER_REQ_PREVOTE, 5);
    et_expect_peer(rig, 3, PEER_REQ_PREVOTE, 5);
    et_answer(rig, PEER_PREVOTE, 3, 5, true);
    et_change_term(rig, 5, 1);
    et_expect_peer(rig, 2, PEER_REQ_VOTE, 5);
    et_expect_peer(rig, 3, PEER_REQ_VOTE, 5);
}

void et_lead(et_rig_t *rig)
{
    et_stand(rig);
    et_answer(rig, PEER_VOTE, 2, 5, true);
    et_expect_term(rig, MSG_LEAD, 5);
    et_expect_nothing(rig);
}
