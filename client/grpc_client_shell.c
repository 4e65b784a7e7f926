/* Invariants:
 * 1. Every stream is in `streams`; it is on the session exactly when call.stream_id > 0.
 * 2. The socket is open in all states but DISCONNECTED; `session` exists exactly from HANDSHAKE on.
 * 3. Callbacks run only from grpc_client_process; a stream is freed right after its on_done. */
#include "client/grpc_client.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "client/grpc_dial_shell.h"
#include "client/grpc_endpoint.h"
#include "client/grpc_session.h"
#include "messages/xalloc.h"

#define READ_BYTES       65536
#define WRITE_BYTES      65536
#define BACKOFF_FIRST_MS 20 /* a server that is just starting answers soon */
#define BACKOFF_MAX_MS   1000
#define KEEPALIVE_MIN_MS 10000
#define READS_PER_TURN   16 /* so that deadlines are looked at while a server floods */

typedef enum connection_state {
    DISCONNECTED, /* nothing to do, or waiting for retry_at */
    CONNECTING,   /* the socket's connect is under way */
    HANDSHAKE,    /* connected; the server's SETTINGS are missing */
    CONNECTED,
} connection_state_t;

struct grpc_stream {
    grpc_call_t call; /* first: the session's callbacks get it and want the stream */
    grpc_client_t *client;
    grpc_stream_t *previous;
    grpc_stream_t *next;
    grpc_stream_cfg_t cfg;
    int64_t deadline_ms; /* -1 none */
    bool refused;        /* ends at the next turn with call.status */
};

struct grpc_client {
    grpc_endpoint_t *endpoints;
    size_t endpoints_n;
    size_t endpoint; /* index of the one in use or to be tried next */
    size_t failures; /* connection attempts that failed in a row */
    grpc_client_cfg_t cfg;
    connection_state_t state;
    grpc_dial_t dial; /* and the socket */
    int64_t dial_deadline_ms;
    int64_t retry_at_ms;
    grpc_session_t *session;
    grpc_buffer_t out;
    int64_t heard_at_ms;
    bool pinged;
    grpc_stream_t *streams; /* in the order of their start */
    grpc_stream_t *last;
    size_t streams_n;
    size_t waiting_n;         /* not submitted yet */
    int64_t next_deadline_ms; /* not later than the earliest deadline; INT64_MAX none */
    bool refused;             /* some stream has `refused` set */
    char last_error[160];
};

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- streams ---- */

static void free_stream(grpc_stream_t *stream)
{
    grpc_client_t *self = stream->client;
    if (stream->previous != NULL) {
        stream->previous->next = stream->next;
    } else {
        self->streams = stream->next;
    }
    if (stream->next != NULL) {
        stream->next->previous = stream->previous;
    } else {
        self->last = stream->previous;
    }
    self->streams_n--;
    free(stream->call.path);
    for (size_t i = 0; i < stream->call.headers_n; i++) {
        free(stream->call.header_names[i]);
        free(stream->call.header_values[i]);
    }
    grpc_buffer_deinit(&stream->call.out);
    grpc_buffer_deinit(&stream->call.in);
    grpc_status_deinit(&stream->call.status);
    free(stream);
}

static void finish_stream(grpc_stream_t *stream)
{
    stream->cfg.on_done(stream->cfg.arg, &stream->call.status);
    free_stream(stream);
}

static void on_call_message(grpc_call_t *call, const uint8_t *message, size_t size)
{
    grpc_stream_t *stream = (grpc_stream_t *)call;
    stream->cfg.on_message(stream->cfg.arg, message, size);
}

static void on_call_closed(grpc_call_t *call)
{
    finish_stream((grpc_stream_t *)call);
}

static void add_header(grpc_call_t *call, const char *name, const char *value)
{
    assert(call->headers_n < GRPC_CALL_HEADERS_MAX);
    call->header_names[call->headers_n] = xstrdup(name);
    call->header_values[call->headers_n] = xstrdup(value);
    call->headers_n++;
}

grpc_stream_t *grpc_client_start(grpc_client_t *self, const grpc_stream_cfg_t *cfg)
{
    grpc_stream_t *stream = xcalloc(1, sizeof *stream);
    stream->client = self;
    stream->cfg = *cfg;
    stream->deadline_ms = cfg->timeout_ms < 0 ? -1 : now_ms() + cfg->timeout_ms;
    stream->call.path = xstrdup(cfg->path);
    stream->call.recv_bytes_max = self->cfg.recv_bytes_max;
    stream->call.on_message = on_call_message;
    stream->call.on_closed = on_call_closed;
    add_header(&stream->call, "client-api-version", "3.7.1");
    if (cfg->require_leader) {
        add_header(&stream->call, "hasleader", "true");
    }
    stream->previous = self->last;
    if (self->last != NULL) {
        self->last->next = stream;
    } else {
        self->streams = stream;
    }
    self->last = stream;
    self->streams_n++;
    self->waiting_n++;
    if (stream->deadline_ms >= 0 && stream->deadline_ms < self->next_deadline_ms) {
        self->next_deadline_ms = stream->deadline_ms;
    }
    return stream;
}

void grpc_stream_send(grpc_stream_t *stream, const void *message, size_t size)
{
    grpc_client_t *self = stream->client;
    if (size > self->cfg.send_bytes_max) {
        grpc_status_setf(&stream->call.status, GRPC_RESOURCE_EXHAUSTED,
                         "trying to send message larger than max (%zu vs. %zu)", size,
                         self->cfg.send_bytes_max);
        stream->refused = true;
        self->refused = true;
        return;
    }
    grpc_frame_append(&stream->call.out, message, size);
    if (stream->call.stream_id > 0) {
        grpc_session_resume(self->session, &stream->call);
    }
}

void grpc_stream_send_message(grpc_stream_t *stream, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = xmalloc(size + 1);
    protobuf_c_message_pack(message, packed);
    grpc_stream_send(stream, packed, size);
    free(packed);
}

void grpc_stream_close_send(grpc_stream_t *stream)
{
    stream->call.out_closed = true;
    if (stream->call.stream_id > 0) {
        grpc_session_resume(stream->client->session, &stream->call);
    }
}

/* Takes the stream off the session, or out of the line of those that wait. */
static void detach(grpc_stream_t *stream)
{
    if (stream->call.stream_id > 0) {
        grpc_session_abandon(stream->client->session, &stream->call);
    } else {
        stream->client->waiting_n--;
    }
}

void grpc_stream_cancel(grpc_stream_t *stream)
{
    detach(stream);
    free_stream(stream);
}

/* ---- deadlines ---- */

static void expire(grpc_client_t *self, int64_t now)
{
    if (now < self->next_deadline_ms && !self->refused) {
        return;
    }
    self->next_deadline_ms = INT64_MAX;
    self->refused = false;
    grpc_stream_t *next = NULL;
    for (grpc_stream_t *stream = self->streams; stream != NULL; stream = next) {
        next = stream->next;
        bool late = stream->deadline_ms >= 0 && stream->deadline_ms <= now;
        if (late && !stream->refused) {
            grpc_status_set(&stream->call.status, GRPC_DEADLINE_EXCEEDED,
                            "context deadline exceeded");
        }
        if (late || stream->refused) {
            detach(stream);
            finish_stream(stream);
            /* on_done may have cancelled `next`: look again from the start. */
            next = self->streams;
            self->next_deadline_ms = INT64_MAX;
            continue;
        }
        if (stream->deadline_ms >= 0 && stream->deadline_ms < self->next_deadline_ms) {
            self->next_deadline_ms = stream->deadline_ms;
        }
    }
}

/* ---- the connection ---- */

/* The connection is lost: every call on it ends, those that wait go on waiting. */
static void disconnect(grpc_client_t *self, const char *reason)
{
    snprintf(self->last_error, sizeof self->last_error, "%s", reason);
    grpc_dial_close(&self->dial);
    self->state = DISCONNECTED;
    grpc_session_destroy(&self->session);
    grpc_buffer_deinit(&self->out);
    grpc_stream_t *stream = self->streams;
    while (stream != NULL) {
        if (stream->call.stream_id == 0) {
            stream = stream->next;
            continue;
        }
        stream->call.stream_id = 0;
        grpc_status_set(&stream->call.status, GRPC_UNAVAILABLE, self->last_error);
        finish_stream(stream);
        stream = self->streams; /* on_done may have changed the list */
    }
}

static void dial_failed(grpc_client_t *self, const char *reason)
{
    self->failures++;
    self->endpoint = (self->endpoint + 1) % self->endpoints_n;
    int64_t pause = 0;
    if (self->failures % self->endpoints_n == 0) { /* all were tried */
        size_t rounds = self->failures / self->endpoints_n;
        pause = rounds > 6 ? BACKOFF_MAX_MS : BACKOFF_FIRST_MS << (rounds - 1);
    }
    self->retry_at_ms = now_ms() + pause;
    disconnect(self, reason);
}

static void on_socket_open(grpc_client_t *self)
{
    self->session = grpc_session_new(self->endpoints[self->endpoint].authority);
    self->state = HANDSHAKE;
}

static void on_dial_outcome(grpc_client_t *self, int outcome, const char *reason)
{
    switch (outcome) {
    case 0: on_socket_open(self); break;
    case GRPC_DIAL_PENDING: self->state = CONNECTING; break;
    default: dial_failed(self, reason); break;
    }
}

static void dial(grpc_client_t *self)
{
    const char *reason = NULL;
    self->dial_deadline_ms = now_ms() + self->cfg.dial_timeout_ms;
    int outcome = grpc_dial_start(&self->dial, &self->endpoints[self->endpoint], &reason);
    on_dial_outcome(self, outcome, reason);
}

static void on_connect_result(grpc_client_t *self)
{
    const char *reason = NULL;
    int outcome = grpc_dial_continue(&self->dial, &reason);
    on_dial_outcome(self, outcome, reason);
}

static void lose_connection(grpc_client_t *self, const char *reason)
{
    if (self->state == CONNECTED) {
        self->retry_at_ms = 0;
        disconnect(self, reason);
    } else {
        dial_failed(self, reason);
    }
}

static void read_socket(grpc_client_t *self)
{
    uint8_t data[READ_BYTES];
    for (int i = 0; i < READS_PER_TURN; i++) {
        ssize_t size = read(self->dial.fd, data, sizeof data);
        if (size < 0 && errno == EINTR) {
            continue;
        }
        if (size < 0 && errno == EAGAIN) {
            return;
        }
        if (size <= 0) {
            char reason[128];
            snprintf(reason, sizeof reason, "error reading from server: %s",
                     size == 0 ? "EOF" : strerror(errno));
            lose_connection(self, reason);
            return;
        }
        self->heard_at_ms = now_ms();
        self->pinged = false;
        const char *reason = NULL;
        if (grpc_session_feed(self->session, data, (size_t)size, &reason) != 0) {
            lose_connection(self, reason);
            return;
        }
        if (self->state == HANDSHAKE && grpc_session_ready(self->session)) {
            self->state = CONNECTED;
            self->failures = 0;
        }
        if ((size_t)size < sizeof data) {
            return;
        }
    }
}

static void submit_waiting(grpc_client_t *self)
{
    if (self->waiting_n == 0 || self->state != CONNECTED || grpc_session_draining(self->session)) {
        return;
    }
    int64_t now = now_ms();
    for (grpc_stream_t *stream = self->streams; stream != NULL; stream = stream->next) {
        if (stream->call.stream_id == 0 && !stream->refused) {
            int64_t left = stream->deadline_ms < 0 ? -1 : stream->deadline_ms - now;
            grpc_session_submit(self->session, &stream->call, left < 0 ? -1 : left * 1000);
            self->waiting_n--;
        }
    }
}

static void write_socket(grpc_client_t *self)
{
    while (self->state == HANDSHAKE || self->state == CONNECTED) {
        grpc_session_output(self->session, &self->out, WRITE_BYTES);
        size_t size = grpc_buffer_size(&self->out);
        if (size == 0) {
            return;
        }
        ssize_t n = send(self->dial.fd, grpc_buffer_head(&self->out), size, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            return;
        }
        if (n < 0 && errno != EINTR) {
            char reason[128];
            snprintf(reason, sizeof reason, "error writing to server: %s", strerror(errno));
            lose_connection(self, reason);
            return;
        }
        if (n > 0) {
            grpc_buffer_consume(&self->out, (size_t)n);
        }
    }
}

/* ---- time ---- */

static int64_t keepalive_due_ms(const grpc_client_t *self)
{
    if (self->state != CONNECTED || self->cfg.keepalive_time_ms <= 0 ||
        grpc_session_calls(self->session) == 0) {
        return INT64_MAX;
    }
    int64_t due = self->heard_at_ms + self->cfg.keepalive_time_ms;
    return self->pinged ? due + self->cfg.keepalive_timeout_ms : due;
}

static void check_clock(grpc_client_t *self, int64_t now)
{
    if ((self->state == CONNECTING || self->state == HANDSHAKE) && now >= self->dial_deadline_ms) {
        dial_failed(self, "dial timeout");
    }
    if (now >= keepalive_due_ms(self)) {
        if (self->pinged) {
            lose_connection(self, "keepalive ping failed to receive ACK within timeout");
        } else {
            self->pinged = true;
            grpc_session_ping(self->session);
        }
    }
    expire(self, now);
    /* A draining connection is left when its last call ended. */
    if (self->state == CONNECTED && grpc_session_draining(self->session) &&
        grpc_session_calls(self->session) == 0) {
        lose_connection(self, "the server closes the connection");
    }
    if (self->state == DISCONNECTED && self->waiting_n > 0 && now >= self->retry_at_ms) {
        dial(self);
    }
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int grpc_client_wait_ms(grpc_client_t *self)
{
    int64_t due = earlier(self->next_deadline_ms, keepalive_due_ms(self));
    if (self->state == CONNECTING || self->state == HANDSHAKE) {
        due = earlier(due, self->dial_deadline_ms);
    }
    if (self->refused) {
        due = 0;
    }
    if (self->state == DISCONNECTED && self->waiting_n > 0) {
        due = earlier(due, self->retry_at_ms);
    }
    if (self->state == CONNECTED && self->waiting_n > 0 && !grpc_session_draining(self->session)) {
        due = 0;
    }
    if (due == INT64_MAX) {
        return -1;
    }
    int64_t wait = due - now_ms();
    return wait <= 0 ? 0 : wait > 3600000 ? 3600000 : (int)wait;
}

struct pollfd grpc_client_pollfd(grpc_client_t *self)
{
    struct pollfd result = {.fd = self->dial.fd};
    if (self->state == CONNECTING) {
        result.events = POLLOUT;
    } else if (self->state != DISCONNECTED) {
        write_socket(self);
        /* That may have found the connection broken. */
        result.fd = self->dial.fd;
        result.events = grpc_buffer_size(&self->out) > 0 ? POLLIN | POLLOUT : POLLIN;
    }
    return result;
}

void grpc_client_process(grpc_client_t *self, short revents)
{
    if (revents != 0) {
        if (self->state == CONNECTING) {
            on_connect_result(self);
        } else if (self->state != DISCONNECTED && (revents & ~POLLOUT) != 0) {
            read_socket(self);
        }
    }
    check_clock(self, now_ms());
    submit_waiting(self);
    write_socket(self);
}

void grpc_client_run(grpc_client_t *self, int64_t timeout_ms)
{
    struct pollfd pollfd = grpc_client_pollfd(self);
    int wait = grpc_client_wait_ms(self);
    if (timeout_ms >= 0 && (wait < 0 || timeout_ms < wait)) {
        wait = (int)timeout_ms;
    }
    int ready = poll(&pollfd, pollfd.fd >= 0 ? 1 : 0, wait);
    grpc_client_process(self, ready > 0 ? pollfd.revents : 0);
}

size_t grpc_client_open(const grpc_client_t *self)
{
    return self->streams_n;
}

/* ---- life ---- */

grpc_client_t *grpc_client_new(const grpc_client_cfg_t *cfg, char **error_p)
{
    if (cfg->endpoints_n == 0) {
        *error_p = xstrdup("etcdclient: no available endpoints");
        return NULL;
    }
    grpc_client_t *self = xcalloc(1, sizeof *self);
    self->cfg = *cfg;
    self->cfg.endpoints = NULL;
    if (self->cfg.keepalive_time_ms > 0 && self->cfg.keepalive_time_ms < KEEPALIVE_MIN_MS) {
        self->cfg.keepalive_time_ms = KEEPALIVE_MIN_MS;
    }
    grpc_dial_init(&self->dial);
    self->next_deadline_ms = INT64_MAX;
    self->endpoints = xcalloc(cfg->endpoints_n, sizeof *self->endpoints);
    for (size_t i = 0; i < cfg->endpoints_n; i++) {
        int rc = grpc_endpoint_parse(cfg->endpoints[i], &self->endpoints[i]);
        self->endpoints_n = i + 1;
        if (rc != 0) {
            *error_p = rc == GRPC_ENDPOINT_TLS
                           ? xasprintf("TLS is not supported yet (endpoint %s)", cfg->endpoints[i])
                           : xasprintf("invalid endpoint \"%s\"", cfg->endpoints[i]);
            grpc_client_destroy(&self);
            return NULL;
        }
    }
    return self;
}

void grpc_client_destroy(grpc_client_t **self_p)
{
    grpc_client_t *self = *self_p;
    *self_p = NULL;
    if (self == NULL) {
        return;
    }
    grpc_dial_close(&self->dial);
    grpc_session_destroy(&self->session);
    grpc_buffer_deinit(&self->out);
    while (self->streams != NULL) {
        free_stream(self->streams); /* NOLINT: it moves self->streams on */
    }
    for (size_t i = 0; i < self->endpoints_n; i++) {
        grpc_endpoint_deinit(&self->endpoints[i]);
    }
    free(self->endpoints);
    free(self);
}
