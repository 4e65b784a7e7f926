/* What always holds:
 *
 *   1. A call is in `calls`, waiting or in flight, from client_session_call to just before on_done.
 *   2. It is in flight only while `phase` is UP, and has been handed to the current link exactly once.
 *   3. `received` is what the member has sent in this session, as far as it has arrived. */
#include "client/native/client_session.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/native/client_calls.h"
#include "client/native/client_welcome.h"
#include "messages/xalloc.h"

enum {
    FLIGHT_MAX = 4096,       /* what servers take */
    SILENT_INTERVALS = 3,    /* docs/protocol.md, "Heartbeats" */
    PAUSE_FIRST_US = 100000, /* after all endpoints have failed in turn; doubles */
    PAUSE_MAX_US = 2000000,
    REPEAT_FIRST_US = 50000, /* before a read that was refused is said again; doubles */
    REPEAT_MAX_US = 1000000,
    REFUSALS_IN_A_ROW = 3,      /* from one member: it has no leader, another one may */
    MOVE_PATIENCE_US = 5000000, /* for writes in flight, before a member is left for another */
    CONTROL_MAX = 2 * CLIENT_CALLS_FLIGHT_MAX,
    REASON_BYTES = 256,
};

typedef enum { PAUSED, DIALLING, UP, CLOSED } phase_t;

typedef struct {
    native_command_t command;
    uint64_t call;
} control_t;

struct client_session {
    client_session_cfg_t cfg;
    phase_t phase;
    client_link_t link;
    uint64_t links;          /* numbers given */
    size_t endpoint;         /* of this link, or of the next */
    size_t failures;         /* endpoints in a row that gave no session */
    uint64_t phase_until_us; /* PAUSED: when to dial; DIALLING: when to give up */
    uint64_t generation;
    uint64_t hello;
    client_member_t member;

    uint64_t heartbeat_us;
    uint64_t heard_us;
    uint64_t asked_us; /* the last PING for want of a message */
    uint64_t window;
    uint64_t received;
    uint64_t acknowledged;
    size_t calls_max;
    unsigned refusals; /* in a row */
    bool is_moving;
    uint64_t moving_until_us;

    client_calls_t calls;

    control_t *controls;
    size_t controls_n;
    size_t controls_capacity;
    uint8_t header[NATIVE_HEADER_BYTES];
    char reason[REASON_BYTES];
    client_session_counts_t counts;
};

client_session_t *client_session_new(const client_session_cfg_t *cfg)
{
    assert(cfg->endpoints_n > 0 && cfg->first < cfg->endpoints_n);
    client_session_t *self = xcalloc(1, sizeof *self);
    self->cfg = *cfg;
    self->hello = cfg->nonce;
    self->endpoint = cfg->first;
    client_calls_init(&self->calls);
    return self;
}

void client_session_destroy(client_session_t **self_p)
{
    client_session_t *self = *self_p;
    *self_p = NULL;
    if (self) {
        free(self->controls);
        free(self);
    }
}

/* The call has left `waiting` and `flight`. */
static void finish(client_call_t *call, grpc_code_t code, slice_t text, bool may_have_happened,
                   uint64_t now_us)
{
    call->code = code;
    call->text = text;
    call->answer = slice(NULL, 0);
    call->may_have_happened = may_have_happened;
    call->on_done(call, now_us);
}

static void set_reason(client_session_t *self, const char *reason)
{
    snprintf(self->reason, sizeof self->reason, "%s", reason);
}

static void add_control(client_session_t *self, native_command_t command, uint64_t call)
{
    if (self->controls_n < CONTROL_MAX) {
        self->controls = xgrow(self->controls, &self->controls_capacity, self->controls_n + 1,
                               sizeof *self->controls);
        self->controls[self->controls_n++] = (control_t){command, call};
    }
}

/* ---- the link ---- */

static void dial(client_session_t *self, uint64_t now_us)
{
    self->phase = DIALLING;
    self->phase_until_us = now_us + self->cfg.dial_timeout_us;
    self->link = (client_link_t){.number = ++self->links, .endpoint = self->endpoint};
    self->controls_n = 0;
    self->counts.links++;
    add_control(self, NATIVE_HELLO, ++self->hello);
}

/* What was sent and not answered: reads wait for the next session, of writes nobody knows. Two passes, because on_done
 * may bring new calls. */
static void abandon_flight(client_session_t *self, uint64_t now_us)
{
    client_call_t *lost = NULL;
    for (client_call_t *call = NULL; (call = client_calls_any_flight(&self->calls));) {
        client_calls_remove(&self->calls, call);
        if (call->is_repeatable) {
            self->counts.repeated++;
            client_calls_wait(&self->calls, call, true);
        } else {
            call->next = lost;
            lost = call;
        }
    }
    while (lost) {
        client_call_t *call = lost;
        lost = call->next;
        call->next = NULL;
        self->counts.unknown++;
        finish(call, GRPC_UNAVAILABLE,
               slice_str("quoral: the connection was lost before the answer came"), true, now_us);
    }
}

/* The link is of no use. With `stay` the same endpoint is dialled at once, since it did answer. */
static void lose(client_session_t *self, const char *reason, bool stay, uint64_t now_us)
{
    bool was_up = self->phase == UP;
    set_reason(self, reason);
    self->phase = PAUSED;
    self->phase_until_us = now_us;
    self->link = (client_link_t){0};
    self->is_moving = false;
    self->refusals = 0;
    self->controls_n = 0;
    self->generation += was_up;
    if (was_up) {
        self->failures = 0;
    } else {
        self->failures++;
    }
    if (!stay) {
        self->endpoint = (self->endpoint + 1) % self->cfg.endpoints_n;
    }
    size_t rounds = self->failures / self->cfg.endpoints_n;
    if (rounds > 0 && self->failures % self->cfg.endpoints_n == 0) {
        uint64_t pause_us = (uint64_t)PAUSE_FIRST_US << (rounds < 6 ? rounds - 1 : 5);
        self->phase_until_us += pause_us < PAUSE_MAX_US ? pause_us : PAUSE_MAX_US;
    }
    abandon_flight(self, now_us);
}

static void welcome(client_session_t *self, slice_t body, uint64_t now_us)
{
    client_welcome_t read;
    if (client_welcome_read(body, &read)) {
        lose(self, "the server's welcome cannot be read", false, now_us);
        return;
    }
    self->phase = UP;
    self->failures = 0;
    self->member = read.member;
    self->heartbeat_us = read.heartbeat_us;
    self->window = read.window;
    self->calls_max =
        read.calls_max < CLIENT_CALLS_FLIGHT_MAX ? read.calls_max : CLIENT_CALLS_FLIGHT_MAX;
    self->received = 0;
    self->acknowledged = 0;
    self->asked_us = now_us;
    self->generation++;
    self->counts.sessions++;
    self->reason[0] = '\0';
}

/* ---- what comes ---- */

static uint64_t backoff_us(unsigned refusals)
{
    uint64_t pause_us = (uint64_t)REPEAT_FIRST_US << (refusals < 6 ? refusals : 5);
    return pause_us < REPEAT_MAX_US ? pause_us : REPEAT_MAX_US;
}

/* Whether a write that ended so may be in the log. The server says by itself what was refused before. */
static bool may_be_done(grpc_code_t code, slice_t text)
{
    switch (code) {
    case GRPC_UNAVAILABLE: return !slice_equal(text, slice_str(api_error_text(API_NO_LEADER)));
    case GRPC_UNKNOWN: return !slice_equal(text, slice_str(api_error_text(API_TOO_MANY_REQUESTS)));
    case GRPC_CANCELLED:
    case GRPC_DEADLINE_EXCEEDED:
    case GRPC_INTERNAL:
    case GRPC_DATA_LOSS: return true;
    default: return false;
    }
}

static void on_done(client_session_t *self, const native_message_t *message, uint64_t now_us)
{
    client_call_t *call = client_calls_find(&self->calls, message->header.call);
    if (!call) {
        return; /* it was given up */
    }
    grpc_code_t code = (grpc_code_t)message->header.argument;
    client_calls_remove(&self->calls, call);
    self->refusals = code == GRPC_UNAVAILABLE ? self->refusals + 1 : 0;
    uint64_t again_us = now_us + backoff_us(call->refusals);
    if (code == GRPC_UNAVAILABLE && call->is_repeatable && again_us < call->deadline_us) {
        call->refusals++;
        call->not_before_us = again_us;
        self->counts.repeated++;
        client_calls_wait(&self->calls, call, false);
    } else if (code == GRPC_OK) {
        call->code = code;
        call->text = slice(NULL, 0);
        call->answer = message->body;
        call->may_have_happened = false;
        call->on_done(call, now_us);
    } else {
        bool maybe = !call->is_repeatable && may_be_done(code, message->body);
        finish(call, code, message->body, maybe, now_us);
    }
    if (self->refusals >= REFUSALS_IN_A_ROW) {
        client_session_move(self, now_us);
    }
}

static void on_reply(client_session_t *self, const native_message_t *message, uint64_t now_us)
{
    client_call_t *call = client_calls_find(&self->calls, message->header.call);
    if (call && call->on_message) {
        call->on_message(call, message->body, now_us);
    }
}

static void on_error(client_session_t *self, const native_message_t *message, uint64_t now_us)
{
    char reason[REASON_BYTES];
    snprintf(reason, sizeof reason, "the server says: %.*s", (int)message->body.len,
             (const char *)message->body.data);
    client_call_t *call = client_calls_find(&self->calls, message->header.call);
    if (message->header.argument == NATIVE_HELLO_FIRST ||
        message->header.argument == NATIVE_BAD_OCTETS) {
        lose(self, reason, true, now_us);
    } else if (self->phase == DIALLING) {
        lose(self, reason, false, now_us);
    } else if (call && message->header.argument != NATIVE_BAD_CALL) {
        client_calls_remove(&self->calls, call);
        finish(call, GRPC_INTERNAL, slice_str(reason), false, now_us);
    }
}

/* Whatever was sent before this message must be here; see "octets" in docs/protocol.md. */
static bool is_complete(const client_session_t *self, const native_header_t *header)
{
    return header->octets == self->received;
}

static void on_session_message(client_session_t *self, const native_message_t *message,
                               uint64_t now_us)
{
    if (message->header.command != NATIVE_ERROR && !is_complete(self, &message->header)) {
        lose(self, "a message of the server got lost", true, now_us);
        return;
    }
    switch (message->header.command) {
    case NATIVE_REPLY:
        self->received += native_octets(message->body.len);
        on_reply(self, message, now_us);
        break;
    case NATIVE_DONE:
        self->received += NATIVE_HEADER_BYTES + message->body.len;
        on_done(self, message, now_us);
        break;
    case NATIVE_PING: add_control(self, NATIVE_PONG, 0); break;
    case NATIVE_ERROR: on_error(self, message, now_us); break;
    default: break;
    }
}

void client_session_message(client_session_t *self, uint64_t link, const slice_t *frames,
                            size_t count, uint64_t now_us)
{
    if (link != self->link.number || (self->phase != DIALLING && self->phase != UP)) {
        return;
    }
    native_message_t message;
    if (native_decode(NATIVE_FROM_SERVER, frames, count, &message)) {
        lose(self, "what answers does not speak this version of the native protocol", false,
             now_us);
        return;
    }
    self->heard_us = now_us;
    if (self->phase == UP) {
        on_session_message(self, &message, now_us);
    } else if (message.header.command == NATIVE_WELCOME && message.header.call == self->hello) {
        welcome(self, message.body, now_us);
    } else if (message.header.command == NATIVE_ERROR) {
        on_error(self, &message, now_us);
    }
}

void client_session_broken(client_session_t *self, uint64_t link, const char *reason,
                           uint64_t now_us)
{
    if (link == self->link.number && (self->phase == DIALLING || self->phase == UP)) {
        lose(self, reason, false, now_us);
    }
}

void client_session_move(client_session_t *self, uint64_t now_us)
{
    if (self->phase == UP && self->cfg.endpoints_n > 1 && !self->is_moving) {
        self->is_moving = true;
        self->moving_until_us = now_us + MOVE_PATIENCE_US;
    }
    self->refusals = 0;
}

/* ---- calls ---- */

void client_session_call(client_session_t *self, client_call_t *call, uint64_t now_us)
{
    call->id = 0;
    call->refusals = 0;
    call->not_before_us = 0;
    call->previous = NULL;
    call->next = NULL;
    self->counts.calls++;
    if (self->phase == CLOSED) {
        finish(call, GRPC_CANCELLED, slice_str("quoral: the client is closed"), false, now_us);
    } else if (self->calls.waiting_n >= self->cfg.waiting_max ||
               self->calls.waiting_bytes + call->body.len > self->cfg.waiting_bytes_max) {
        finish(call, GRPC_RESOURCE_EXHAUSTED, slice_str("quoral: too many calls are waiting"),
               false, now_us);
    } else {
        client_calls_wait(&self->calls, call, false);
    }
}

static void take_back(client_session_t *self, client_call_t *call)
{
    if (call->id) {
        add_control(self, NATIVE_CANCEL, call->id);
    }
    client_calls_remove(&self->calls, call);
}

void client_session_cancel(client_session_t *self, client_call_t *call, uint64_t now_us)
{
    bool is_sent = call->id != 0;
    if (client_calls_has(&self->calls, call)) {
        take_back(self, call);
        finish(call, GRPC_CANCELLED, slice_str("quoral: given up by the program"),
               is_sent && !call->is_repeatable, now_us);
    }
}

static void expire(client_session_t *self, client_call_t *call, uint64_t now_us)
{
    bool is_sent = call->id != 0;
    char text[REASON_BYTES + 64];
    take_back(self, call);
    if (is_sent || self->phase == UP || !self->reason[0]) {
        snprintf(text, sizeof text, "quoral: no answer in time");
    } else {
        snprintf(text, sizeof text, "quoral: no member could be reached in time (%s)",
                 self->reason);
    }
    finish(call, GRPC_DEADLINE_EXCEEDED, slice_str(text), is_sent && !call->is_repeatable, now_us);
}

void client_session_close(client_session_t *self, uint64_t now_us)
{
    bool was_up = self->phase == UP;
    self->phase = CLOSED;
    self->generation += was_up;
    self->controls_n = 0;
    while (self->calls.first) {
        client_session_cancel(self, self->calls.first, now_us);
    }
    for (client_call_t *call = NULL; (call = client_calls_any_flight(&self->calls));) {
        client_session_cancel(self, call, now_us);
    }
    self->controls_n = 0; /* the farewell says it for all of them */
    if (was_up) {
        add_control(self, NATIVE_BYE, 0);
    }
}

/* ---- time ---- */

static void step_up(client_session_t *self, uint64_t now_us)
{
    if (now_us > self->heard_us + SILENT_INTERVALS * self->heartbeat_us) {
        lose(self, "the server has been silent for three heartbeats", false, now_us);
        return;
    }
    bool may_leave = self->calls.flight_writes == 0 || now_us >= self->moving_until_us;
    if (self->is_moving && may_leave) {
        lose(self, "the member did not serve", false, now_us);
        return;
    }
    bool is_silent = now_us >= self->heard_us + self->heartbeat_us &&
                     now_us >= self->asked_us + self->heartbeat_us;
    if (is_silent || self->received - self->acknowledged >= self->window / 4) {
        add_control(self, NATIVE_PING, 0);
        self->asked_us = now_us;
        self->acknowledged = self->received;
    }
}

void client_session_step(client_session_t *self, uint64_t now_us)
{
    for (client_call_t *call = NULL; (call = client_calls_expired(&self->calls, now_us));) {
        expire(self, call, now_us);
    }
    if (self->phase == UP) {
        step_up(self, now_us);
    } else if (self->phase == DIALLING && now_us >= self->phase_until_us) {
        lose(self, "no answer to hello", false, now_us);
    }
    if (self->phase == PAUSED && now_us >= self->phase_until_us) {
        dial(self, now_us);
    }
}

uint64_t client_session_deadline(const client_session_t *self)
{
    uint64_t deadline_us = client_calls_deadline(&self->calls, self->phase == UP);
    uint64_t phase_us = UINT64_MAX;
    if (self->phase == PAUSED || self->phase == DIALLING) {
        phase_us = self->phase_until_us;
    } else if (self->phase == UP) {
        uint64_t since_us = self->heard_us > self->asked_us ? self->heard_us : self->asked_us;
        uint64_t gone_us = self->heard_us + SILENT_INTERVALS * self->heartbeat_us + 1;
        phase_us = since_us + self->heartbeat_us;
        phase_us = gone_us < phase_us ? gone_us : phase_us;
        if (self->is_moving) {
            uint64_t leave_us = self->calls.flight_writes == 0 ? 0 : self->moving_until_us;
            phase_us = leave_us < phase_us ? leave_us : phase_us;
        }
    }
    return phase_us < deadline_us ? phase_us : deadline_us;
}

/* ---- what is sent ---- */

client_link_t client_session_link(const client_session_t *self)
{
    return self->link;
}

static void write_header(client_session_t *self, native_header_t header)
{
    header.octets = header.command == NATIVE_HELLO ? 0 : self->received;
    self->acknowledged = header.octets;
    native_header_write(self->header, &header);
}

static client_call_t *next_call(const client_session_t *self, uint64_t now_us)
{
    if (self->phase != UP || self->calls.flight_n >= self->calls_max) {
        return NULL;
    }
    client_call_t *call = self->calls.first;
    while (call && (now_us < call->not_before_us || (self->is_moving && !call->is_repeatable))) {
        call = call->next;
    }
    return call;
}

static uint32_t timeout_ms(const client_call_t *call, uint64_t now_us)
{
    if (call->deadline_us == UINT64_MAX || call->moves_deadline) {
        return 0;
    }
    uint64_t left_ms = call->deadline_us > now_us ? (call->deadline_us - now_us + 999) / 1000 : 1;
    return left_ms < UINT32_MAX ? (uint32_t)left_ms : UINT32_MAX;
}

bool client_session_output(client_session_t *self, uint64_t now_us,
                           slice_t frames[NATIVE_FRAMES_MAX], size_t *count)
{
    frames[0] = slice(self->header, sizeof self->header);
    if (self->controls_n > 0) {
        control_t control = self->controls[0];
        self->controls_n--;
        memmove(self->controls, self->controls + 1, self->controls_n * sizeof control);
        uint32_t wish = control.command == NATIVE_HELLO ? self->cfg.heartbeat_ms : 0;
        write_header(self, (native_header_t){
                               .command = control.command, .call = control.call, .argument = wish});
        *count = 1;
        return true;
    }
    client_call_t *call = next_call(self, now_us);
    if (!call) {
        return false;
    }
    client_calls_launch(&self->calls, call);
    write_header(self, (native_header_t){.command = NATIVE_CALL,
                                         .flags = NATIVE_FLAG_END,
                                         .call = call->id,
                                         .argument = timeout_ms(call, now_us)});
    frames[1] = slice_str(call->method);
    frames[2] = buf_slice(&call->body);
    *count = 3;
    return true;
}

/* ---- what is known ---- */

const client_member_t *client_session_member(const client_session_t *self)
{
    return self->phase == UP ? &self->member : NULL;
}

uint64_t client_session_generation(const client_session_t *self)
{
    return self->generation;
}

const client_session_counts_t *client_session_counts(const client_session_t *self)
{
    return &self->counts;
}

const char *client_session_reason(const client_session_t *self)
{
    return self->reason;
}
