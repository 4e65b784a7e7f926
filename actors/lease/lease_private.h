/* lease_private: the state of the lease core, shared by its files. Pure; not for others.
 *
 * The way of a keepalive or a question after the time to live, at the leader:
 *
 *   asked --READ of the burst--> confirming --READ_AT--> applying --AWAIT, APPLIED--> answered
 *                                                                                        ^
 *                                keepalive of a lease that is being revoked: waiting ----+
 *
 * At any other member it becomes a forward: LEASE_FWD to the leader, LEASE_REPLY back. */
#pragma once

#include "actors/lease/lease.h"
#include "actors/lease/lease_table.h"

typedef struct {
    actor_id_t from; /* the gateway that asks; PEER: another member does */
    uint64_t member; /* PEER: which one */
    uint64_t req_id; /* the asker's number for it */
    lease_op_t op;
    int64_t id;
    uint64_t read_id; /* confirming: by this READ */
    uint64_t index;   /* applying: until this is applied here */
} question_t;

/* First in, first out; bounded by LIMIT_LEASE_QUESTIONS. */
typedef struct {
    question_t *items;
    size_t count, capacity;
} questions_t;

/* A question that was passed on. */
typedef struct {
    question_t question; /* from NONE: answered */
    uint64_t sent_us, due_us;
} forward_t;

struct lease {
    lease_cfg_t cfg;
    metrics_t *metrics;
    lease_table_t table;
    msg_role_t role;
    uint64_t term; /* that this member leads; 0 = not the leader */
    uint64_t next_expiry_us;
    uint64_t applied_index; /* as far as it was asked for */
    bool is_awaiting;       /* AWAIT is not answered */
    bool listing;           /* a list of all leases is coming in; RESTORED ends it */

    questions_t asked, confirming, applying;
    questions_t waiting; /* for the outcome of a revoke */
    uint64_t last_read;
    unsigned open_reads;

    uint64_t last_step_us;
    bool suspended;           /* there was a pause: does this member still lead? */
    uint64_t suspended_after; /* READs up to this number don't tell */

    forward_t *forwards; /* from forward_head on, numbered first_forward, first_forward + 1 … */
    size_t forward_head, forward_count, forward_capacity;
    uint64_t first_forward;
    uint64_t next_forward_us; /* when to look at them */
};

/* ---- lease.c ---- */
void lease_answer(lease_t *self, const question_t *question, msg_lease_answer_t answer,
                  outbox_t *out);
/* Of a question that is confirmed, or needs no confirmation. */
void lease_answer_now(lease_t *self, const question_t *question, uint64_t now_us, outbox_t *out);
/* It was not known whether this member still leads; now it is. */
void lease_resume(lease_t *self, uint64_t now_us);

/* ---- lease_questions.c ---- */
void questions_deinit(questions_t *self);
void lease_fail(lease_t *self, const question_t *question, api_error_t error, outbox_t *out);
/* Queues it; a question too many is refused. */
void lease_queue(lease_t *self, questions_t *queue, const question_t *question, outbox_t *out);
/* The end of a lease that was being revoked. */
void lease_release_waiting(lease_t *self, int64_t id, outbox_t *out);
/* Leadership is lost or in doubt: nothing that depends on it can be answered. */
void lease_fail_questions(lease_t *self, outbox_t *out);
/* End of burst: one READ for all that was asked; or because the leadership is in doubt. */
void lease_ask_read(lease_t *self, bool is_in_doubt, outbox_t *out);
void lease_on_read_at(lease_t *self, const msg_read_t *read, uint64_t now_us, outbox_t *out);
void lease_on_read_fail(lease_t *self, const msg_read_t *read, outbox_t *out);
/* End of burst: asks to be told when what is waited for is applied. */
void lease_await(lease_t *self, outbox_t *out);
void lease_release_applied(lease_t *self, uint64_t now_us, outbox_t *out);
void lease_on_ask(lease_t *self, const msg_t *msg, uint64_t now_us, outbox_t *out);

/* ---- lease_forward.c ---- */
void lease_forward(lease_t *self, const question_t *question, uint64_t now_us, outbox_t *out);
/* The leader they were put to is the leader no more: their gateway asks again. */
void lease_return_forwards(lease_t *self, outbox_t *out);
/* Repeats what may have been lost, gives up what is too old. */
void lease_mind_forwards(lease_t *self, uint64_t now_us, outbox_t *out);
uint64_t lease_forward_deadline(const lease_t *self);
void lease_on_peer(lease_t *self, const msg_peer_t *peer, outbox_t *out);
/* The answer to another member's question. */
void lease_reply(lease_t *self, const question_t *question, const msg_lease_answer_t *answer,
                 outbox_t *out);
