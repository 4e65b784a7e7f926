#include "actors/runtime/shell.h"

#include <assert.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "actors/runtime/clock.h"
#include "actors/runtime/mailbox.h"
#include "actors/runtime/trace.h"
#include "actors/wiring.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

/* Written by the actor, read by diagnostics. */
typedef struct {
    _Atomic uint64_t turns, messages, busy_us, step_max_us;
    _Atomic uint32_t load_messages[ACTOR_COUNT];
    _Atomic uint64_t load_bytes[ACTOR_COUNT];
} shared_stats_t;

struct runtime {
    runtime_cfg_t cfg;
    outbox_t *outbox;
    mailbox_t *mailboxes[MAILBOX_COUNT]; /* NULL where no edge leads */
    mailslot_t *slots[ACTOR_COUNT];      /* by receiver */
    msg_credit_t owed[ACTOR_COUNT];      /* taken from an edge and not yet given back, by sender */
    const wiring_edge_t *charged[ACTOR_COUNT]; /* the edge from this sender, if it has credits */
    zactor_t *actor;
    zsock_t *pipe;
    int pipe_fd;
    bool ended, stopping, stop_answered, end_told;
    /* False once a look at it ended with "nothing there": from then on libzmq makes its descriptor
     * readable for whatever comes next. So nobody asks a quiet socket, which costs a system call. */
    bool mailbox_wet[MAILBOX_COUNT], pipe_wet;
    uint64_t started_us;
    shared_stats_t stats;
    trace_t trace;
};

static void mailbox_address(char *text, size_t size, actor_id_t actor, mailbox_id_t mailbox)
{
    snprintf(text, size, "inproc://%s-%s", actor_name(actor),
             mailbox == MAILBOX_CONTROL ? "control" : "data");
}

static mailbox_id_t credit_mailbox(actor_id_t actor)
{
    /* Credits come in on a mailbox that is there anyway; control first where there are two. */
    for (size_t i = 0; i < wiring_edge_count; i++) {
        if (wiring_edges[i].to == actor && wiring_edges[i].mailbox == MAILBOX_CONTROL) {
            return MAILBOX_CONTROL;
        }
    }
    return MAILBOX_DATA;
}

runtime_t *runtime_new(const runtime_cfg_t *cfg)
{
    runtime_t *self = xcalloc(1, sizeof *self);
    self->cfg = *cfg;
    self->outbox = wiring_outbox(cfg->id);
    bool wanted[MAILBOX_COUNT] = {false};
    wanted[credit_mailbox(cfg->id)] = true;
    for (size_t i = 0; i < wiring_edge_count; i++) {
        const wiring_edge_t *edge = &wiring_edges[i];
        if (edge->to == cfg->id) {
            wanted[edge->mailbox] = true;
            self->charged[edge->from] = edge->policy != EDGE_FREE ? edge : NULL;
        }
    }
    for (int box = 0; box < MAILBOX_COUNT; box++) {
        if (wanted[box]) {
            char address[64];
            mailbox_address(address, sizeof address, cfg->id, (mailbox_id_t)box);
            self->mailboxes[box] = mailbox_new(address);
        }
    }
    return self;
}

static void connect_to(runtime_t *self, actor_id_t to, mailbox_id_t mailbox)
{
    if (!self->slots[to]) {
        char address[64];
        mailbox_address(address, sizeof address, to, mailbox);
        self->slots[to] = mailslot_new(address);
    }
}

void runtime_connect(runtime_t *self)
{
    for (size_t i = 0; i < wiring_edge_count; i++) {
        if (wiring_edges[i].from == self->cfg.id) {
            connect_to(self, wiring_edges[i].to, wiring_edges[i].mailbox);
        }
    }
    for (int from = 0; from < ACTOR_COUNT; from++) { /* the generated reverse edges, for credits */
        if (self->charged[from]) {
            connect_to(self, (actor_id_t)from, credit_mailbox((actor_id_t)from));
        }
    }
}

static void send_to(runtime_t *self, actor_id_t to, msg_t **msg_p)
{
    assert(self->slots[to]);
    mailslot_send(self->slots[to], msg_p);
}

static void give_credits_back(runtime_t *self)
{
    for (int from = 0; from < ACTOR_COUNT; from++) {
        msg_credit_t *owed = &self->owed[from];
        if (owed->messages && wiring_credits_due(self->charged[from], owed)) {
            msg_t *msg = msg_new(MSG_CREDIT);
            msg->from = self->cfg.id;
            msg->u.credit = *owed;
            *owed = (msg_credit_t){0};
            send_to(self, (actor_id_t)from, &msg);
        }
    }
}

static void stop_node_if_broken(runtime_t *self)
{
    const char *text = outbox_fatal_text(self->outbox);
    if (text) {
        self->cfg.log(self->cfg.log_context, LEVEL_FATAL, self->cfg.id, text, "");
        _exit(1); /* nothing may be acknowledged any more: no orderly stop */
    }
}

static void end_node_if_wanted(runtime_t *self)
{
    const char *text = outbox_end_text(self->outbox);
    if (text && !self->end_told && self->cfg.end_node) {
        self->end_told = true;
        self->cfg.end_node(self->cfg.end_context, self->cfg.id, text);
    }
}

static void step(runtime_t *self, uint64_t now_us, msg_t *msg)
{
    step_in_t in = {.now_us = now_us, .msg = msg};
    if (msg) {
        trace_note(&self->trace, now_us, msg);
    }
    self->cfg.ops->step(self->cfg.core, &in, self->outbox);
}

static void carry_out_port(runtime_t *self, uint64_t now_us, msg_t **request_p)
{
    assert(self->cfg.port);
    msg_t *done = NULL;
    char *error = NULL;
    if (self->cfg.port(self->cfg.port_context, *request_p, &done, &error) < 0) {
        self->cfg.log(self->cfg.log_context, LEVEL_FATAL, self->cfg.id,
                      error ? error : "the disk failed", "");
        _exit(1);
    }
    msg_free(request_p);
    step(self, now_us, done);
    msg_free(&done);
}

static void write_lines(runtime_t *self)
{
    const outbox_line_t *line = NULL;
    while ((line = outbox_next_line(self->outbox))) {
        self->cfg.log(self->cfg.log_context, line->level, self->cfg.id, line->text, line->fields);
    }
}

/* Sends what the core has put. A message to the port blocks here and steps the core again. */
static size_t carry_out(runtime_t *self, uint64_t now_us)
{
    size_t port_calls = 0;
    actor_id_t to = ACTOR_NONE;
    msg_t *msg = NULL;
    msg_t *request = NULL;
    do {
        if (request) {
            port_calls++;
            carry_out_port(self, now_us, &request);
        }
        write_lines(self);
        stop_node_if_broken(self);
        end_node_if_wanted(self);
        while ((msg = outbox_take(self->outbox, &to))) {
            if (to == PORT_NETWORK) {
                self->cfg.network(self->cfg.port_context, &msg);
            } else if (to == PORT_DISK) {
                assert(!request); /* one at a time: the rest leaves before the disk is touched */
                request = msg;
            } else {
                send_to(self, to, &msg);
            }
        }
    } while (request);
    return port_calls;
}

static size_t drain(runtime_t *self, mailbox_t *mailbox, size_t most, uint64_t now_us)
{
    size_t handled = 0;
    msg_t *msg = NULL;
    while (handled < most && (msg = mailbox_receive(mailbox))) {
        handled++;
        if (msg->kind == MSG_CREDIT) {
            outbox_credit(self->outbox, msg->from, &msg->u.credit);
            continue;
        }
        if (self->charged[msg->from]) {
            self->owed[msg->from].messages++;
            self->owed[msg->from].bytes += msg->cost;
        }
        step(self, now_us, msg);
    }
    mailbox_release(mailbox);
    return handled;
}

static size_t drain_if_wet(runtime_t *self, mailbox_id_t box, uint64_t now_us)
{
    if (!self->mailbox_wet[box]) {
        return 0;
    }
    size_t handled = drain(self, self->mailboxes[box], LIMIT_STEP_BURST, now_us);
    self->mailbox_wet[box] = handled == LIMIT_STEP_BURST;
    return handled;
}

static void publish_stats(runtime_t *self, uint64_t start_us, size_t handled)
{
    shared_stats_t *stats = &self->stats;
    uint64_t took_us = clock_monotonic_us() - start_us;
    atomic_fetch_add_explicit(&stats->turns, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&stats->messages, handled, memory_order_relaxed);
    atomic_fetch_add_explicit(&stats->busy_us, took_us, memory_order_relaxed);
    if (took_us > atomic_load_explicit(&stats->step_max_us, memory_order_relaxed)) {
        atomic_store_explicit(&stats->step_max_us, took_us, memory_order_relaxed);
    }
    if (self->cfg.slow_turn && took_us > self->cfg.slow_turn_us) {
        self->cfg.slow_turn(self->cfg.slow_context, took_us);
    }
    for (int to = 1; to < ACTOR_COUNT; to++) {
        outbox_load_t load = outbox_load(self->outbox, (actor_id_t)to);
        atomic_store_explicit(&stats->load_messages[to], load.messages, memory_order_relaxed);
        atomic_store_explicit(&stats->load_bytes[to], load.bytes, memory_order_relaxed);
    }
}

/* Main waits for this after STOP. */
static void answer_stop(runtime_t *self)
{
    if (self->stopping && !self->stop_answered && outbox_is_stopped(self->outbox)) {
        self->stop_answered = true;
        zsock_signal(self->pipe, 0);
    }
}

size_t runtime_turn(runtime_t *self, uint64_t now_us)
{
    size_t handled = drain_if_wet(self, MAILBOX_CONTROL, now_us);
    handled += drain_if_wet(self, MAILBOX_DATA, now_us);
    step(self, now_us, NULL);
    size_t port_calls = carry_out(self, now_us);
    give_credits_back(self);
    publish_stats(self, now_us, handled);
    answer_stop(self);
    return handled + port_calls;
}

void runtime_deliver(runtime_t *self, uint64_t now_us, msg_t **msg_p)
{
    step(self, now_us, *msg_p);
    msg_free(msg_p);
}

uint64_t runtime_deadline(const runtime_t *self)
{
    return self->cfg.ops->deadline(self->cfg.core);
}

void runtime_fds(const runtime_t *self, int fds[RUNTIME_FDS])
{
    assert(!self->mailboxes[MAILBOX_CONTROL] || !self->mailboxes[MAILBOX_DATA]); /* one each */
    fds[0] = mailbox_fd(self->mailboxes[credit_mailbox(self->cfg.id)]);
    fds[1] = self->pipe_fd;
}

static bool pipe_ready(const runtime_t *self)
{
    return zsock_events(self->pipe) & ZMQ_POLLIN;
}

void runtime_woken(runtime_t *self)
{
    for (int box = 0; box < MAILBOX_COUNT; box++) {
        self->mailbox_wet[box] = self->mailboxes[box] != NULL;
    }
    self->pipe_wet = true;
}

bool runtime_pending(const runtime_t *self)
{
    return self->mailbox_wet[MAILBOX_CONTROL] || self->mailbox_wet[MAILBOX_DATA] || self->pipe_wet;
}

bool runtime_ended(runtime_t *self)
{
    while (!self->ended && self->pipe_wet) {
        if (!pipe_ready(self)) {
            self->pipe_wet = false;
            break;
        }
        char *command = zstr_recv(self->pipe);
        if (!command || streq(command, "$TERM")) {
            self->ended = true;
        } else if (streq(command, "STOP") && !self->stopping) {
            self->stopping = true;
            msg_t *stop = msg_new(MSG_STOP);
            uint64_t now_us = clock_monotonic_us();
            step(self, now_us, stop);
            msg_free(&stop);
            step(self, now_us, NULL); /* an end of burst, like after any other message */
            carry_out(self, now_us);
            answer_stop(self);
        }
        zstr_free(&command);
    }
    return self->ended;
}

bool runtime_stopping(const runtime_t *self)
{
    return self->stopping;
}

void *runtime_core(const runtime_t *self)
{
    return self->cfg.core;
}

static long poll_timeout_ms(uint64_t deadline_us, uint64_t now_us)
{
    if (deadline_us == DEADLINE_NONE) {
        return -1;
    }
    if (deadline_us <= now_us) {
        return 0;
    }
    uint64_t ms = (deadline_us - now_us + 999) / 1000;
    return ms > 60000 ? 60000 : (long)ms;
}

/* Sleeps until something is there or the deadline has come, and notes where something is. */
static void sleep_until_wanted(runtime_t *self)
{
    struct pollfd fds[1 + MAILBOX_COUNT] = {{.fd = self->pipe_fd, .events = POLLIN}};
    for (int box = 0; box < MAILBOX_COUNT; box++) {
        int fd = self->mailboxes[box] ? mailbox_fd(self->mailboxes[box]) : -1; /* -1: ignored */
        fds[1 + box] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    long timeout_ms = poll_timeout_ms(runtime_deadline(self), clock_monotonic_us());
    int ready = poll(fds, 1 + MAILBOX_COUNT, runtime_pending(self) ? 0 : (int)timeout_ms);
    if (ready <= 0) {
        return;
    }
    self->pipe_wet |= fds[0].revents != 0;
    for (int box = 0; box < MAILBOX_COUNT; box++) {
        self->mailbox_wet[box] |= fds[1 + box].revents != 0;
    }
}

static void generic_loop(runtime_t *self)
{
    while (!runtime_ended(self)) {
        /* Another turn after one that did something: the core may go on at its end of burst. */
        if (runtime_turn(self, clock_monotonic_us()) == 0) {
            sleep_until_wanted(self);
        }
    }
}

/* In Linux a thread has a nice value of its own. Who may not lower it keeps the one it has. */
static void ask_for_priority(int nicer)
{
    if (nicer) {
        setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) - nicer);
    }
}

static void thread_main(zsock_t *pipe, void *argument)
{
    runtime_t *self = argument;
    self->pipe = pipe;
    self->pipe_fd = (int)zsock_fd(pipe);
    self->started_us = clock_monotonic_us();
    prctl(PR_SET_NAME, actor_name(self->cfg.id)); /* what top -H and perf show */
    ask_for_priority(self->cfg.nicer);
    zsock_signal(pipe, 0);
    runtime_woken(self);
    if (self->cfg.loop) {
        self->cfg.loop(self, self->cfg.loop_context);
    } else {
        generic_loop(self);
    }
}

void runtime_start(runtime_t *self)
{
    self->actor = zactor_new(thread_main, self);
    assert(self->actor);
}

void runtime_stop(runtime_t *self)
{
    if (self->actor) {
        zstr_send(self->actor, "STOP");
        zsock_wait(self->actor);
    }
}

void runtime_join(runtime_t *self)
{
    zactor_destroy(&self->actor);
}

void runtime_destroy(runtime_t **self_p)
{
    runtime_t *self = *self_p;
    *self_p = NULL;
    if (!self) {
        return;
    }
    assert(!self->actor);
    for (int to = 0; to < ACTOR_COUNT; to++) {
        mailslot_destroy(&self->slots[to]);
    }
    for (int box = 0; box < MAILBOX_COUNT; box++) {
        mailbox_destroy(&self->mailboxes[box]);
    }
    self->cfg.ops->destroy(&self->cfg.core);
    outbox_destroy(&self->outbox);
    free(self);
}

runtime_stats_t runtime_stats(const runtime_t *self)
{
    return (runtime_stats_t){
        .turns = atomic_load_explicit(&self->stats.turns, memory_order_relaxed),
        .messages = atomic_load_explicit(&self->stats.messages, memory_order_relaxed),
        .busy_us = atomic_load_explicit(&self->stats.busy_us, memory_order_relaxed),
        .step_max_us = atomic_load_explicit(&self->stats.step_max_us, memory_order_relaxed),
        .started_us = self->started_us,
    };
}

const trace_t *runtime_trace(const runtime_t *self)
{
    return &self->trace;
}

actor_id_t runtime_id(const runtime_t *self)
{
    return self->cfg.id;
}

outbox_load_t runtime_load(const runtime_t *self, actor_id_t to)
{
    return (outbox_load_t){
        .messages = atomic_load_explicit(&self->stats.load_messages[to], memory_order_relaxed),
        .bytes = atomic_load_explicit(&self->stats.load_bytes[to], memory_order_relaxed),
    };
}
