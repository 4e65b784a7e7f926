/* Questions at the leader. A lease is alive only by the word of the leader, and a member may believe to lead
 * when it no longer does. So each burst's questions are confirmed by one read index: it proves that this
 * member led after they had come, and answers are given from what is applied up to there. A client that
 * was told of a lease's end is never told later that it lives (etcd PR 20615). */
#include <assert.h>
#include <stdlib.h>

#include "actors/lease/lease_private.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

/* ---- queues ---- */

void questions_deinit(questions_t *self)
{
    free(self->items);
    *self = (questions_t){0};
}

static void push(questions_t *self, const question_t *question)
{
    self->items = xgrow(self->items, &self->capacity, self->count + 1, sizeof *self->items);
    self->items[self->count++] = *question;
}

static void drop_first(questions_t *self, size_t count)
{
    self->count -= count;
    if (count && self->count) {
        memmove(self->items, self->items + count, self->count * sizeof *self->items);
    }
}

void lease_fail(lease_t *self, const question_t *question, api_error_t error, outbox_t *out)
{
    lease_answer(self, question, (msg_lease_answer_t){.error = error}, out);
}

void lease_queue(lease_t *self, questions_t *queue, const question_t *question, outbox_t *out)
{
    size_t queued =
        self->asked.count + self->confirming.count + self->applying.count + self->waiting.count;
    if (queued >= LIMIT_LEASE_QUESTIONS) {
        lease_fail(self, question, API_TOO_MANY_REQUESTS, out);
    } else {
        push(queue, question);
    }
}

void lease_release_waiting(lease_t *self, int64_t id, outbox_t *out)
{
    size_t kept = 0;
    for (size_t i = 0; i < self->waiting.count; i++) {
        question_t *question = &self->waiting.items[i];
        if (question->id == id) {
            lease_answer(self, question, (msg_lease_answer_t){0}, out);
        } else {
            self->waiting.items[kept++] = *question;
        }
    }
    self->waiting.count = kept;
}

/* Lists need no leader. */
static void fail_queue(lease_t *self, questions_t *queue, outbox_t *out)
{
    size_t kept = 0;
    for (size_t i = 0; i < queue->count; i++) {
        if (queue->items[i].op == LEASE_OP_LIST) {
            queue->items[kept++] = queue->items[i];
        } else {
            lease_fail(self, &queue->items[i], API_LEADER_CHANGED, out);
        }
    }
    queue->count = kept;
}

void lease_fail_questions(lease_t *self, outbox_t *out)
{
    fail_queue(self, &self->waiting, out);
    fail_queue(self, &self->applying, out);
    fail_queue(self, &self->confirming, out);
    fail_queue(self, &self->asked, out);
}

/* ---- confirmation ---- */

/* What comes while the reads that are under way use up their number shares the next one. */
void lease_ask_read(lease_t *self, bool is_in_doubt, outbox_t *out)
{
    if (self->term == 0 || (self->asked.count == 0 && !is_in_doubt) ||
        self->open_reads == LIMIT_READ_ROUNDS || !outbox_room(out, ACTOR_REPLICATOR)) {
        return;
    }
    self->open_reads++;
    self->last_read++;
    msg_t *msg = msg_new(MSG_READ);
    msg->u.read = (msg_read_t){.read_id = self->last_read, .expect_term = self->term};
    outbox_put(out, ACTOR_REPLICATOR, &msg);
    for (size_t i = 0; i < self->asked.count; i++) {
        self->asked.items[i].read_id = self->last_read;
        push(&self->confirming, &self->asked.items[i]);
    }
    self->asked.count = 0;
}

/* Moves those of the read to the end of `to`, or fails them. Their leadership may have gone meanwhile: then
 * there are none. */
static void take_confirming(lease_t *self, const msg_read_t *read, questions_t *to,
                            api_error_t error, outbox_t *out)
{
    size_t kept = 0;
    for (size_t i = 0; i < self->confirming.count; i++) {
        question_t question = self->confirming.items[i];
        if (question.read_id != read->read_id) {
            self->confirming.items[kept++] = question;
        } else if (to) {
            question.index = read->index;
            push(to, &question);
        } else {
            lease_fail(self, &question, error, out);
        }
    }
    self->confirming.count = kept;
}

void lease_on_read_at(lease_t *self, const msg_read_t *read, uint64_t now_us, outbox_t *out)
{
    assert(self->open_reads > 0);
    self->open_reads--;
    if (self->suspended && read->read_id > self->suspended_after) {
        lease_resume(self, now_us);
    }
    take_confirming(self, read, &self->applying, API_NONE, out);
    lease_release_applied(self, now_us, out);
}

/* A replicator that does not lead (yet) is no reason to end a client's stream: ask again. */
void lease_on_read_fail(lease_t *self, const msg_read_t *read, outbox_t *out)
{
    assert(self->open_reads > 0);
    self->open_reads--;
    bool no_leader = read->error == API_NO_LEADER || read->error == API_NOT_LEADER;
    take_confirming(self, read, NULL, no_leader ? API_NO_LEADER : API_LEADER_CHANGED, out);
}

/* Of those that wait the first one goes first, whatever it waits for. */
void lease_await(lease_t *self, outbox_t *out)
{
    if (self->is_awaiting || self->applying.count == 0 ||
        self->applying.items[0].index <= self->applied_index) {
        return;
    }
    self->is_awaiting = true;
    msg_t *msg = msg_new(MSG_AWAIT);
    msg->u.await.index = self->applying.items[0].index;
    outbox_put(out, ACTOR_APPLIER, &msg);
}

void lease_release_applied(lease_t *self, uint64_t now_us, outbox_t *out)
{
    size_t ready = 0;
    while (!self->listing && ready < self->applying.count &&
           self->applying.items[ready].index <= self->applied_index) {
        lease_answer_now(self, &self->applying.items[ready++], now_us, out);
    }
    drop_first(&self->applying, ready);
}

/* ---- a gateway asks ---- */

/* A list is what this member has applied, when it has applied what its gateway has seen; that needs no leader.
 * The other questions need no look at that: a read index is never below what was applied anywhere before it
 * was asked for. */
void lease_on_ask(lease_t *self, const msg_t *msg, uint64_t now_us, outbox_t *out)
{
    const msg_lease_ask_t *ask = &msg->u.lease_ask;
    question_t question = {.from = msg->from,
                           .req_id = ask->req_id,
                           .op = ask->op,
                           .id = ask->id,
                           .index = ask->applied_index};
    if (ask->op == LEASE_OP_LIST) {
        lease_queue(self, &self->applying, &question, out);
        lease_release_applied(self, now_us, out);
    } else if (self->role.leader == 0) {
        lease_fail(self, &question, API_NO_LEADER, out);
    } else if (self->term) {
        lease_queue(self, &self->asked, &question, out);
    } else {
        lease_forward(self, &question, now_us, out);
    }
}
