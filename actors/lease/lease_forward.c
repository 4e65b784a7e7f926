/* Questions between members: LEASE_FWD to the leader, LEASE_REPLY back. Either may be lost, so a question is
 * repeated; it may then be answered twice, which changes nothing. Numbers begin anew at random with each
 * run and grow by one, so that a reply finds its question by subtraction. */
#include <stdlib.h>

#include "actors/lease/lease_private.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

/* ---- towards the leader ---- */

static void send(const lease_t *self, uint64_t id, const question_t *question, outbox_t *out)
{
    peer_msg_t *content = peer_msg_new(PEER_LEASE_FWD, self->role.term);
    content->u.lease_ask = (peer_lease_ask_t){
        .id = id, .op = question->op, .lease = question->id, .applied_index = question->index};
    msg_t *msg = msg_new(MSG_PEER);
    msg->u.peer = (msg_peer_t){.member = question->member, .content = content};
    outbox_put(out, ACTOR_PEER, &msg);
}

static forward_t *forward_at(const lease_t *self, size_t position)
{
    return &self->forwards[self->forward_head + position];
}

static uint64_t interval_us(const lease_t *self)
{
    return self->cfg.election_timeout_us / 2 + 1;
}

uint64_t lease_forward_deadline(const lease_t *self)
{
    return self->forward_count ? self->next_forward_us : DEADLINE_NONE;
}

void lease_forward(lease_t *self, const question_t *question, uint64_t now_us, outbox_t *out)
{
    if (self->forward_count == LIMIT_LEASE_QUESTIONS || !outbox_room(out, ACTOR_PEER)) {
        lease_fail(self, question, API_TOO_MANY_REQUESTS, out);
        return;
    }
    if (self->forward_count == 0) {
        self->next_forward_us = now_us + interval_us(self);
    }
    self->forwards = xgrow(self->forwards, &self->forward_capacity,
                           self->forward_head + self->forward_count + 1, sizeof *self->forwards);
    forward_t *forward = forward_at(self, self->forward_count);
    *forward = (forward_t){
        .question = *question, .sent_us = now_us, .due_us = now_us + self->cfg.request_timeout_us};
    forward->question.member = self->role.leader;
    send(self, self->first_forward + self->forward_count++, &forward->question, out);
}

static void finish(lease_t *self, forward_t *forward, msg_lease_answer_t answer, outbox_t *out)
{
    question_t question = forward->question;
    forward->question.from = ACTOR_NONE;
    if (question.from != ACTOR_NONE) {
        lease_answer(self, &question, answer, out);
    }
}

/* Those answered at the front make room; the array moves down when half of it is used up. */
static void drop_answered(lease_t *self)
{
    while (self->forward_count && forward_at(self, 0)->question.from == ACTOR_NONE) {
        self->forward_head++;
        self->forward_count--;
        self->first_forward++;
    }
    if (self->forward_count == 0) {
        self->forward_head = 0;
    } else if (self->forward_head > self->forward_capacity / 2) {
        memmove(self->forwards, forward_at(self, 0), self->forward_count * sizeof *self->forwards);
        self->forward_head = 0;
    }
}

void lease_return_forwards(lease_t *self, outbox_t *out)
{
    for (size_t i = 0; i < self->forward_count; i++) {
        finish(self, forward_at(self, i), (msg_lease_answer_t){.error = API_NO_LEADER}, out);
    }
    drop_answered(self);
}

void lease_mind_forwards(lease_t *self, uint64_t now_us, outbox_t *out)
{
    if (now_us < lease_forward_deadline(self)) {
        return;
    }
    self->next_forward_us = now_us + interval_us(self);
    for (size_t i = 0; i < self->forward_count; i++) {
        forward_t *forward = forward_at(self, i);
        if (now_us >= forward->due_us) {
            finish(self, forward, (msg_lease_answer_t){.error = API_TIMEOUT}, out);
        } else if (forward->question.from != ACTOR_NONE &&
                   now_us >= forward->sent_us + self->cfg.election_timeout_us &&
                   outbox_room(out, ACTOR_PEER)) {
            forward->sent_us = now_us;
            send(self, self->first_forward + i, &forward->question, out);
        }
    }
    drop_answered(self);
}

/* Of errors, only what the client can do something about is passed on; else its gateway asks again, of
 * whoever leads then. */
static void on_reply(lease_t *self, uint64_t member, const peer_lease_answer_t *reply,
                     outbox_t *out)
{
    uint64_t position = reply->id - self->first_forward;
    if (position >= self->forward_count) {
        return; /* given up, or of an earlier run */
    }
    forward_t *forward = forward_at(self, position);
    if (forward->question.member != member || forward->question.id != reply->lease) {
        return;
    }
    msg_lease_answer_t answer = {.ttl_s = reply->ttl_s, .granted_ttl_s = reply->granted_ttl_s};
    if (reply->error) {
        answer = (msg_lease_answer_t){
            .error = reply->error == API_TOO_MANY_REQUESTS ? API_TOO_MANY_REQUESTS : API_NO_LEADER};
    }
    finish(self, forward, answer, out);
    drop_answered(self);
}

/* ---- at the leader ---- */

void lease_reply(lease_t *self, const question_t *question, const msg_lease_answer_t *answer,
                 outbox_t *out)
{
    if (!outbox_room(out, ACTOR_PEER)) {
        return; /* lost: it will be asked again */
    }
    peer_msg_t *content = peer_msg_new(PEER_LEASE_REPLY, self->role.term);
    content->u.lease_answer = (peer_lease_answer_t){.id = question->req_id,
                                                    .error = answer->error,
                                                    .lease = question->id,
                                                    .ttl_s = answer->ttl_s,
                                                    .granted_ttl_s = answer->granted_ttl_s};
    msg_t *msg = msg_new(MSG_PEER);
    msg->u.peer = (msg_peer_t){.member = question->member, .content = content};
    outbox_put(out, ACTOR_PEER, &msg);
}

/* What its asker has applied needs no look, see lease_on_ask. */
static void on_forward(lease_t *self, uint64_t member, const peer_msg_t *content, outbox_t *out)
{
    const peer_lease_ask_t *ask = &content->u.lease_ask;
    if (ask->op != LEASE_OP_KEEPALIVE && ask->op != LEASE_OP_TIME_TO_LIVE) {
        return;
    }
    question_t question = {
        .from = ACTOR_PEER, .member = member, .req_id = ask->id, .op = ask->op, .id = ask->lease};
    if (self->term == 0 || content->term != self->term) {
        lease_fail(self, &question, API_NO_LEADER, out);
    } else {
        lease_queue(self, &self->asked, &question, out);
    }
}

void lease_on_peer(lease_t *self, const msg_peer_t *peer, outbox_t *out)
{
    switch (peer->content->kind) {
    case PEER_LEASE_FWD: on_forward(self, peer->member, peer->content, out); break;
    case PEER_LEASE_REPLY: on_reply(self, peer->member, &peer->content->u.lease_answer, out); break;
    default: break; /* not for us */
    }
}
