/* shell: runs an actor core on a thread of its own: mailbox in, outbox out, the clock read once per
 * turn. One generic loop serves every actor; an actor that owns sockets of its own (the gateway)
 * brings its loop and calls runtime_turn. Main creates all runtimes, connects them, starts them by
 * stage, stops them in reverse. */
#pragma once

#include <czmq.h>

#include "actors/core/metrics.h"
#include "actors/core/step.h"
#include "actors/runtime/trace.h"

typedef struct runtime runtime_t;

typedef struct {
    actor_id_t id;
    const core_ops_t *ops;
    void *core; /* the runtime destroys it */
    metrics_t *metrics;
    /* Carries out a message to a pseudo port, blocking; the core is stepped with *done_p. < 0 with
     * *error_p (a text, yours to give) stops the node. NULL for actors without one. */
    int (*port)(void *context, const msg_t *request, msg_t **done_p, char **error_p);
    /* Hands a message to the pseudo port NETWORK, without blocking; what it can't take is lost. Takes the
     * message. NULL for all but the peer actor, whose loop brings what comes in by runtime_deliver. */
    void (*network)(void *context, msg_t **msg_p);
    void *port_context;
    /* The core wants the node to stop in good order (outbox_end_node). Called once, on the actor's thread. */
    void (*end_node)(void *context, actor_id_t actor, const char *text);
    void *end_context;
    void (*log)(void *context, log_level_t level, actor_id_t actor, const char *text,
                const char *fields);
    void *log_context;
    int nicer; /* the thread's nice value is so much below the process's, where that is permitted */
    /* Told on the actor's thread of a turn that took longer than this; NULL = nobody is. */
    uint64_t slow_turn_us;
    void (*slow_turn)(void *context, uint64_t took_us);
    void *slow_context;
    /* The actor's own loop instead of the generic one, or NULL; returns when runtime_ended(). */
    void (*loop)(runtime_t *self, void *context);
    void *loop_context;
} runtime_cfg_t;

/* ---- main's side ---- */
runtime_t *runtime_new(const runtime_cfg_t *cfg); /* binds the mailboxes */
void runtime_connect(runtime_t *self);            /* when all are bound: one socket per edge */
void runtime_start(runtime_t *self);              /* returns when the thread runs */
/* Asks the core to finish (MSG_STOP) and waits until it says it has. */
void runtime_stop(runtime_t *self);
/* Ends the thread; call for all before runtime_destroy of any. */
void runtime_join(runtime_t *self);
void runtime_destroy(runtime_t **self_p);

/* ---- the actor's side, for loops of their own ---- */
/* One turn: steps the core with a bounded burst of waiting messages, then once with NULL, and
 * carries out its outbox. Returns the number of messages handled. */
size_t runtime_turn(runtime_t *self, uint64_t now_us);
/* Steps the core with a message that came in through its port, before a turn. Frees the message. */
void runtime_deliver(runtime_t *self, uint64_t now_us, msg_t **msg_p);
uint64_t runtime_deadline(const runtime_t *self);
/* Descriptors for epoll: mailbox and control pipe. Call runtime_woken when one is readable. */
enum { RUNTIME_FDS = 2 };
void runtime_fds(const runtime_t *self, int fds[RUNTIME_FDS]);
void runtime_woken(runtime_t *self);
/* Do not sleep: there may be more in the mailbox or the pipe, and no descriptor will tell. */
bool runtime_pending(const runtime_t *self);
/* Looks at the control pipe if there may be something. True = leave the loop. */
bool runtime_ended(runtime_t *self);
bool runtime_stopping(const runtime_t *self); /* MSG_STOP has been delivered */
void *runtime_core(const runtime_t *self);

/* ---- diagnostics: read from any thread ---- */
typedef struct {
    uint64_t turns, messages, busy_us, step_max_us, started_us;
} runtime_stats_t;
runtime_stats_t runtime_stats(const runtime_t *self);
const trace_t *runtime_trace(const runtime_t *self); /* without CREDIT */
actor_id_t runtime_id(const runtime_t *self);
/* What is in flight from this actor to another, as of its last turn. */
outbox_load_t runtime_load(const runtime_t *self, actor_id_t to);
