/* Invariants:
 * 1. Every stream is in `streams`; it is on a connection exactly when call.stream_id > 0.
 * 2. waiting_n counts those that are on none.
 * 3. Callbacks run only from grpc_client_process; a stream is freed right after its on_done. */
#include "client/grpc_client.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/grpc_connection_shell.h"
#include "messages/xalloc.h"

#define KEEPALIVE_MIN_MS 10000

struct grpc_stream {
    grpc_call_t call; /* first: the session's callbacks get it and want the stream */
    grpc_client_t *client;
    grpc_connection_t *connection; /* while call.stream_id > 0 */
    grpc_stream_t *previous;
    grpc_stream_t *next;
    grpc_stream_cfg_t cfg;
    int64_t deadline_ms; /* -1 none */
    bool refused;        /* ends at the next turn with call.status */
};

struct grpc_client {
    grpc_connection_cfg_t cfg;
    size_t send_bytes_max;
    size_t recv_bytes_max;
    grpc_connection_t *connections; /* one for each endpoint */
    size_t connections_n;
    size_t next_connection; /* whose turn it is to get a call */
    struct pollfd *fds;     /* for grpc_client_run */
    grpc_stream_t *streams; /* in the order of their start */
    grpc_stream_t *last;
    size_t streams_n;
    size_t waiting_n;
    int64_t next_deadline_ms; /* not later than the earliest deadline; INT64_MAX none */
    bool refused;             /* some stream has `refused` set */
    bool unavailable;         /* a server has said so last: others are wanted */
};

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

static bool is_late(const grpc_stream_t *stream, int64_t now)
{
    return stream->deadline_ms >= 0 && stream->deadline_ms <= now;
}

static void set_late(grpc_stream_t *stream)
{
    grpc_status_set(&stream->call.status, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded");
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
    grpc_stream_t *stream = (grpc_stream_t *)call;
    /* The server knows the deadline, too, and resets the stream then. */
    if (call->status.code == GRPC_CANCELLED && is_late(stream, grpc_now_ms())) {
        set_late(stream);
    }
    stream->client->unavailable = call->status.code == GRPC_UNAVAILABLE;
    finish_stream(stream);
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
    stream->deadline_ms = cfg->timeout_ms < 0 ? -1 : grpc_now_ms() + cfg->timeout_ms;
    stream->call.path = xstrdup(cfg->path);
    stream->call.recv_bytes_max = self->recv_bytes_max;
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
    if (size > self->send_bytes_max) {
        grpc_status_setf(&stream->call.status, GRPC_RESOURCE_EXHAUSTED,
                         "trying to send message larger than max (%zu vs. %zu)", size,
                         self->send_bytes_max);
        stream->refused = true;
        self->refused = true;
        return;
    }
    grpc_frame_append(&stream->call.out, message, size);
    if (stream->call.stream_id > 0) {
        grpc_session_resume(stream->connection->session, &stream->call);
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
        grpc_session_resume(stream->connection->session, &stream->call);
    }
}

/* Takes the stream off the session, or out of the line of those that wait. */
static void detach(grpc_stream_t *stream)
{
    if (stream->call.stream_id > 0) {
        grpc_session_abandon(stream->connection->session, &stream->call);
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
        bool late = is_late(stream, now);
        if (late && !stream->refused) {
            set_late(stream);
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

/* ---- connections ---- */

/* Every call on the connection ends, those that wait go on waiting. */
static void on_lost(void *arg, grpc_connection_t *connection, const char *reason)
{
    grpc_client_t *self = arg;
    grpc_stream_t *stream = self->streams;
    while (stream != NULL) {
        if (stream->call.stream_id == 0 || stream->connection != connection) {
            stream = stream->next;
            continue;
        }
        stream->call.stream_id = 0;
        grpc_status_set(&stream->call.status, GRPC_UNAVAILABLE, reason);
        finish_stream(stream);
        stream = self->streams; /* on_done may have changed the list */
    }
}

/* The next one in turn that takes calls; NULL: none does. */
static grpc_connection_t *pick(grpc_client_t *self)
{
    for (size_t i = 0; i < self->connections_n; i++) {
        size_t at = (self->next_connection + i) % self->connections_n;
        if (grpc_connection_usable(&self->connections[at])) {
            self->next_connection = at + 1;
            return &self->connections[at];
        }
    }
    return NULL;
}

static bool some_usable(const grpc_client_t *self)
{
    for (size_t i = 0; i < self->connections_n; i++) {
        if (grpc_connection_usable(&self->connections[i])) {
            return true;
        }
    }
    return false;
}

/* Calls wait and nobody can take them, or who took the last one could not do it. Then all endpoints
 * that are not connected are dialled, at the same time. */
static bool wants_connections(const grpc_client_t *self)
{
    return (self->waiting_n > 0 && !some_usable(self)) ||
           (self->streams_n > 0 && self->unavailable);
}

static void submit_waiting(grpc_client_t *self)
{
    if (self->waiting_n == 0) {
        return;
    }
    int64_t now = grpc_now_ms();
    for (grpc_stream_t *stream = self->streams; stream != NULL; stream = stream->next) {
        if (stream->call.stream_id > 0 || stream->refused) {
            continue;
        }
        stream->connection = pick(self);
        if (stream->connection == NULL) {
            return;
        }
        int64_t left = stream->deadline_ms < 0 ? -1 : stream->deadline_ms - now;
        grpc_session_submit(stream->connection->session, &stream->call,
                            left < 0 ? -1 : left * 1000);
        self->waiting_n--;
    }
}

/* ---- turns ---- */

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int grpc_client_wait_ms(grpc_client_t *self)
{
    bool wanted = wants_connections(self);
    int64_t due = self->next_deadline_ms;
    for (size_t i = 0; i < self->connections_n; i++) {
        due = earlier(due, grpc_connection_due_ms(&self->connections[i], wanted));
    }
    if (self->refused || (self->waiting_n > 0 && some_usable(self))) {
        due = 0;
    }
    if (due == INT64_MAX) {
        return -1;
    }
    int64_t wait = due - grpc_now_ms();
    return wait <= 0 ? 0 : wait > 3600000 ? 3600000 : (int)wait;
}

size_t grpc_client_endpoints(const grpc_client_t *self)
{
    return self->connections_n;
}

void grpc_client_pollfds(grpc_client_t *self, struct pollfd *fds)
{
    for (size_t i = 0; i < self->connections_n; i++) {
        fds[i] = grpc_connection_pollfd(&self->connections[i]);
    }
}

void grpc_client_process(grpc_client_t *self, const struct pollfd *fds)
{
    for (size_t i = 0; i < self->connections_n && fds != NULL; i++) {
        if (fds[i].revents != 0) {
            grpc_connection_process(&self->connections[i], fds[i].revents);
        }
    }
    int64_t now = grpc_now_ms();
    expire(self, now);
    for (size_t i = 0; i < self->connections_n; i++) {
        grpc_connection_tick(&self->connections[i], now, wants_connections(self));
    }
    submit_waiting(self);
    for (size_t i = 0; i < self->connections_n; i++) {
        grpc_connection_flush(&self->connections[i]);
    }
}

void grpc_client_run(grpc_client_t *self, int64_t timeout_ms)
{
    grpc_client_pollfds(self, self->fds);
    int wait = grpc_client_wait_ms(self);
    if (timeout_ms >= 0 && (wait < 0 || timeout_ms < wait)) {
        wait = (int)timeout_ms;
    }
    int ready = poll(self->fds, self->connections_n, wait);
    grpc_client_process(self, ready > 0 ? self->fds : NULL);
}

size_t grpc_client_open(const grpc_client_t *self)
{
    return self->streams_n;
}

/* ---- life ---- */

/* NULL, or a fresh text. */
static char *add_endpoint(grpc_client_t *self, const char *text)
{
    grpc_endpoint_t endpoint;
    int rc = grpc_endpoint_parse(text, &endpoint);
    if (rc == 0) {
        grpc_connection_init(&self->connections[self->connections_n++], &self->cfg, &endpoint);
        return NULL;
    }
    return rc == GRPC_ENDPOINT_TLS ? xasprintf("TLS is not supported yet (endpoint %s)", text)
                                   : xasprintf("invalid endpoint \"%s\"", text);
}

grpc_client_t *grpc_client_new(const grpc_client_cfg_t *cfg, char **error_p)
{
    if (cfg->endpoints_n == 0) {
        *error_p = xstrdup("etcdclient: no available endpoints");
        return NULL;
    }
    if (cfg->endpoints_n > GRPC_CLIENT_ENDPOINTS_MAX) {
        *error_p = xasprintf("more than %d endpoints", GRPC_CLIENT_ENDPOINTS_MAX);
        return NULL;
    }
    grpc_client_t *self = xcalloc(1, sizeof *self);
    self->cfg = (grpc_connection_cfg_t){.dial_timeout_ms = cfg->dial_timeout_ms,
                                        .keepalive_time_ms = cfg->keepalive_time_ms,
                                        .keepalive_timeout_ms = cfg->keepalive_timeout_ms,
                                        .on_lost = on_lost,
                                        .arg = self};
    if (self->cfg.keepalive_time_ms > 0 && self->cfg.keepalive_time_ms < KEEPALIVE_MIN_MS) {
        self->cfg.keepalive_time_ms = KEEPALIVE_MIN_MS;
    }
    self->send_bytes_max = cfg->send_bytes_max;
    self->recv_bytes_max = cfg->recv_bytes_max;
    self->next_deadline_ms = INT64_MAX;
    self->connections = xcalloc(cfg->endpoints_n, sizeof *self->connections);
    self->fds = xcalloc(cfg->endpoints_n, sizeof *self->fds);
    for (size_t i = 0; i < cfg->endpoints_n; i++) {
        *error_p = add_endpoint(self, cfg->endpoints[i]);
        if (*error_p != NULL) {
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
    for (size_t i = 0; i < self->connections_n; i++) {
        grpc_connection_deinit(&self->connections[i]);
    }
    while (self->streams != NULL) {
        free_stream(self->streams); /* NOLINT: it moves self->streams on */
    }
    free(self->connections);
    free(self->fds);
    free(self);
}
