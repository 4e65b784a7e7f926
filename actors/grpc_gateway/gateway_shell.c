#include "actors/grpc_gateway/gateway.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "actors/runtime/clock.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

enum { LISTENERS_MAX = LIMIT_URLS, PREFACE_BYTES = 24 };

/* What epoll tells about: begins every object it points to. */
typedef enum { SOURCE_LISTENER, SOURCE_CLIENT, SOURCE_RUNTIME } source_t;

typedef struct {
    source_t source;
    int fd;
} listener_t;

typedef struct {
    source_t source;
    int fd;
    uint32_t events; /* registered with epoll */
    size_t index;    /* in gateway->clients */
    conn_t *conn;    /* NULL until its first bytes have told its protocol */
    uint8_t first[PREFACE_BYTES];
    size_t first_len;
    uint64_t sniff_due_us;
    bool read_ended; /* the client has closed its side, or the socket is broken */
} client_t;

struct gateway {
    gateway_cfg_t cfg;
    int epoll;
    source_t runtime_source;
    listener_t listeners[LISTENERS_MAX];
    size_t listener_count;
    client_t **clients;
    size_t client_count, client_capacity;
    uint64_t now_us;
    uint64_t next_scan_us;    /* of the connections' deadlines */
    uint64_t accept_again_us; /* DEADLINE_NONE = accepting; else out of descriptors until then */
    bool stopping;
    bool told_serving;
    uint8_t read_buffer[LIMIT_READ_BYTES];
};

gateway_t *gateway_new(const gateway_cfg_t *cfg)
{
    assert(cfg->connections_max > 0);
    assert(cfg->connections_max <= LIMIT_CONNECTIONS);
    gateway_t *self = xcalloc(1, sizeof *self);
    self->cfg = *cfg;
    self->runtime_source = SOURCE_RUNTIME;
    self->next_scan_us = DEADLINE_NONE;
    self->accept_again_us = DEADLINE_NONE;
    self->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (self->epoll < 0) {
        abort(); /* no descriptors at start: as good as no memory */
    }
    return self;
}

static void watch_fd(gateway_t *self, int operation, int fd, uint32_t events, void *source)
{
    struct epoll_event event = {.events = events, .data.ptr = source};
    if (epoll_ctl(self->epoll, operation, fd, &event) < 0) {
        abort(); /* only without kernel memory, or by our own mistake */
    }
}

void gateway_add_listener(gateway_t *self, int fd)
{
    assert(self->listener_count < LISTENERS_MAX);
    listener_t *listener = &self->listeners[self->listener_count++];
    *listener = (listener_t){.source = SOURCE_LISTENER, .fd = fd};
    watch_fd(self, EPOLL_CTL_ADD, fd, EPOLLIN, listener);
}

static void close_listeners(gateway_t *self)
{
    for (size_t i = 0; i < self->listener_count; i++) {
        close(self->listeners[i].fd);
    }
    self->listener_count = 0;
}

/* ---- clients ---- */

static void count_connections(gateway_t *self)
{
    metrics_set(self->cfg.env.metrics, METRIC_CONNECTIONS, self->client_count);
}

/* Closes in a way that lets the client read our last words: what it still sends is taken first,
 * since closing with unread bytes would make the kernel reset the connection. */
static void close_socket(gateway_t *self, int fd)
{
    enum { READS_MAX = 16 };
    shutdown(fd, SHUT_WR);
    for (int i = 0; i < READS_MAX; i++) {
        if (read(fd, self->read_buffer, sizeof self->read_buffer) <= 0) {
            break;
        }
    }
    close(fd);
}

static void close_client(gateway_t *self, client_t *client)
{
    if (client->conn) {
        calls_clear_dirty(self->cfg.env.calls, client->conn);
        client->conn->ops->destroy(&client->conn);
    }
    close_socket(self, client->fd);
    self->clients[client->index] = self->clients[--self->client_count];
    self->clients[client->index]->index = client->index;
    free(client);
    count_connections(self);
}

static void scan_by(gateway_t *self, uint64_t deadline_us)
{
    if (deadline_us < self->next_scan_us) {
        self->next_scan_us = deadline_us;
    }
}

static void adopt(gateway_t *self, int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* fails on unix sockets: no matter */
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    client_t *client = xcalloc(1, sizeof *client);
    client->source = SOURCE_CLIENT;
    client->fd = fd;
    client->events = EPOLLIN;
    client->index = self->client_count;
    client->sniff_due_us = self->now_us + LIMIT_HANDSHAKE_US;
    self->clients =
        xgrow(self->clients, &self->client_capacity, self->client_count + 1, sizeof *self->clients);
    self->clients[self->client_count++] = client;
    watch_fd(self, EPOLL_CTL_ADD, fd, client->events, client);
    scan_by(self, client->sniff_due_us);
    count_connections(self);
}

static void pause_accepting(gateway_t *self, bool pause)
{
    const uint64_t pause_us = 100000;
    for (size_t i = 0; i < self->listener_count; i++) {
        listener_t *listener = &self->listeners[i];
        watch_fd(self, EPOLL_CTL_MOD, listener->fd, pause ? 0 : EPOLLIN, listener);
    }
    self->accept_again_us = pause ? self->now_us + pause_us : DEADLINE_NONE;
}

static void accept_clients(gateway_t *self, const listener_t *listener)
{
    for (int i = 0; i < LIMIT_ACCEPT_BURST; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                pause_accepting(self, true);
            }
            return;
        }
        if (self->client_count >= self->cfg.connections_max) {
            metrics_add(self->cfg.env.metrics, METRIC_CONNECTIONS_REFUSED, 1);
            close(fd);
        } else {
            adopt(self, fd);
        }
    }
}

/* ---- reading ---- */

/* The connection has ended, or its protocol cannot be told. False = nothing can be done with it. */
static bool begin_connection(gateway_t *self, client_t *client, slice_t bytes)
{
    size_t room = PREFACE_BYTES - client->first_len;
    size_t taken = bytes.len < room ? bytes.len : room;
    memcpy(client->first + client->first_len, bytes.data, taken);
    client->first_len += taken;
    switch (protocol_sniff(slice(client->first, client->first_len))) {
    case PROTOCOL_UNDECIDED: return true;
    case PROTOCOL_HTTP2: client->conn = h2_conn_new(&self->cfg.env, self->now_us); break;
    case PROTOCOL_HTTP1:
        if (!self->cfg.http1_new) {
            return false;
        }
        client->conn = self->cfg.http1_new(&self->cfg.env, self->cfg.pages, self->now_us);
        break;
    }
    client->conn->owner = client;
    calls_mark_dirty(self->cfg.env.calls, client->conn);
    slice_t first = slice(client->first, client->first_len);
    bool fine = client->conn->ops->input(client->conn, first, self->now_us) == 0;
    bytes = slice(bytes.data + taken, bytes.len - taken);
    if (fine && bytes.len > 0) {
        fine = client->conn->ops->input(client->conn, bytes, self->now_us) == 0;
    }
    client->read_ended = !fine;
    return true;
}

static void read_client(gateway_t *self, client_t *client)
{
    if (client->read_ended) {
        return;
    }
    ssize_t len = read(client->fd, self->read_buffer, sizeof self->read_buffer);
    if (len < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (len <= 0) {
        close_client(self, client); /* nobody reads answers any more */
        return;
    }
    slice_t bytes = slice(self->read_buffer, (size_t)len);
    if (!client->conn) {
        if (!begin_connection(self, client, bytes)) {
            close_client(self, client);
        }
        return;
    }
    calls_mark_dirty(self->cfg.env.calls, client->conn);
    /* 1: it stays until its last words are written. */
    client->read_ended = client->conn->ops->input(client->conn, bytes, self->now_us) != 0;
}

/* ---- writing ---- */

static void register_interest(gateway_t *self, client_t *client, bool blocked)
{
    bool wants = !client->read_ended && client->conn->ops->want_input(client->conn);
    uint32_t events = (wants ? EPOLLIN : 0u) | (blocked ? EPOLLOUT : 0u);
    if (events != client->events) {
        client->events = events;
        watch_fd(self, EPOLL_CTL_MOD, client->fd, events, client);
    }
}

typedef enum { WRITE_ALL, WRITE_BLOCKED, WRITE_MORE, WRITE_BROKEN } write_result_t;

static write_result_t write_output(gateway_t *self, client_t *client)
{
    conn_t *conn = client->conn;
    for (int round = 0; round < LIMIT_WRITE_ROUNDS; round++) {
        slice_t bytes = conn->ops->output(conn, self->now_us);
        if (bytes.len == 0) {
            return WRITE_ALL;
        }
        ssize_t len = send(client->fd, bytes.data, bytes.len, MSG_NOSIGNAL);
        if (len < 0) {
            return errno == EAGAIN || errno == EINTR ? WRITE_BLOCKED : WRITE_BROKEN;
        }
        conn->ops->written(conn, (size_t)len);
        if ((size_t)len < bytes.len) {
            return WRITE_BLOCKED;
        }
    }
    return WRITE_MORE;
}

static void flush_client(gateway_t *self, client_t *client)
{
    write_result_t result = write_output(self, client);
    if (result == WRITE_BROKEN ||
        (result == WRITE_ALL && client->conn->ops->finished(client->conn))) {
        close_client(self, client);
        return;
    }
    if (result == WRITE_MORE) {
        calls_mark_dirty(self->cfg.env.calls, client->conn);
    }
    register_interest(self, client, result == WRITE_BLOCKED);
    scan_by(self, client->conn->ops->deadline(client->conn));
}

/* Each connection once; what gets dirty meanwhile waits for the next turn. True = some is waiting. */
static bool flush_dirty(gateway_t *self)
{
    calls_t *calls = self->cfg.env.calls;
    conn_t *conn = NULL;
    for (size_t left = self->client_count; left > 0 && (conn = calls_take_dirty(calls)); left--) {
        flush_client(self, conn->owner);
    }
    return calls_has_dirty(calls) || calls_take_touched(calls);
}

/* ---- time ---- */

static uint64_t client_deadline(const client_t *client)
{
    return client->conn ? client->conn->ops->deadline(client->conn) : client->sniff_due_us;
}

/* Deadlines move with all that happens on a connection, so they are not kept in order: every
 * connection is asked, about ten times a second at most unless one of them wants it at once. */
static void expire_clients(gateway_t *self)
{
    const uint64_t scan_interval_us = 100000;
    if (self->now_us < self->next_scan_us) {
        return;
    }
    self->next_scan_us = DEADLINE_NONE;
    for (size_t i = self->client_count; i > 0; i--) {
        client_t *client = self->clients[i - 1];
        uint64_t deadline_us = client_deadline(client);
        if (deadline_us > self->now_us) {
            uint64_t soonest_us = self->now_us + scan_interval_us;
            scan_by(self, deadline_us > soonest_us ? deadline_us : soonest_us);
        } else if (client->conn) {
            client->conn->ops->timeout(client->conn, self->now_us);
            calls_mark_dirty(self->cfg.env.calls, client->conn);
        } else {
            close_client(self, client);
        }
    }
}

static void resume_accepting(gateway_t *self)
{
    if (self->accept_again_us <= self->now_us) {
        pause_accepting(self, false);
    }
}

static int sleep_ms(const gateway_t *self, const runtime_t *runtime)
{
    enum { SLEEP_MAX_MS = 60000 };
    uint64_t deadline_us = runtime_deadline(runtime);
    if (self->next_scan_us < deadline_us) {
        deadline_us = self->next_scan_us;
    }
    if (self->accept_again_us < deadline_us) {
        deadline_us = self->accept_again_us;
    }
    uint64_t now_us = clock_monotonic_us();
    if (deadline_us <= now_us) {
        return 0;
    }
    uint64_t ms = (deadline_us - now_us + 999) / 1000;
    return ms > SLEEP_MAX_MS ? SLEEP_MAX_MS : (int)ms;
}

/* ---- the loop ---- */

/* No new connections, no new calls; the core ends those in progress. */
static void drain(gateway_t *self)
{
    self->stopping = true;
    self->accept_again_us = DEADLINE_NONE;
    close_listeners(self);
    for (size_t i = self->client_count; i > 0; i--) {
        client_t *client = self->clients[i - 1];
        if (!client->conn) {
            close_client(self, client);
            continue;
        }
        client->conn->ops->drain(client->conn);
        calls_mark_dirty(self->cfg.env.calls, client->conn);
    }
}

static void serve_events(gateway_t *self, runtime_t *runtime, int timeout_ms)
{
    struct epoll_event events[LIMIT_EPOLL_EVENTS];
    int count = epoll_wait(self->epoll, events, LIMIT_EPOLL_EVENTS, timeout_ms);
    self->now_us = clock_monotonic_us();
    for (int i = 0; i < count; i++) {
        void *source = events[i].data.ptr;
        switch (*(const source_t *)source) {
        case SOURCE_LISTENER: accept_clients(self, source); break;
        case SOURCE_RUNTIME: runtime_woken(runtime); break;
        case SOURCE_CLIENT: {
            client_t *client = source;
            if (events[i].events &
                (EPOLLERR | EPOLLHUP)) { /* both ways: nobody is there any more */
                close_client(self, client);
                break;
            }
            if (events[i].events & EPOLLOUT) {
                calls_mark_dirty(self->cfg.env.calls, client->conn);
            }
            if (events[i].events & EPOLLIN) {
                read_client(self, client);
            }
            break;
        }
        }
    }
}

static void tell_serving(gateway_t *self)
{
    if (!self->told_serving && self->cfg.on_serving && api_status(self->cfg.env.api).serving) {
        self->told_serving = true;
        self->cfg.on_serving(self->cfg.serving_context);
    }
}

void gateway_loop(runtime_t *runtime, void *gateway)
{
    gateway_t *self = gateway;
    int fds[RUNTIME_FDS];
    runtime_fds(runtime, fds);
    for (int i = 0; i < RUNTIME_FDS; i++) {
        watch_fd(self, EPOLL_CTL_ADD, fds[i], EPOLLIN, &self->runtime_source);
    }
    bool more = true; /* do not sleep */
    while (!runtime_ended(runtime)) {
        if (!self->stopping && runtime_stopping(runtime)) {
            drain(self);
            more = true; /* the core has been told, and a turn carries out what it wants */
        }
        bool pending = more || runtime_pending(runtime);
        serve_events(self, runtime, pending ? 0 : sleep_ms(self, runtime));
        expire_clients(self);
        resume_accepting(self);
        runtime_turn(runtime, self->now_us);
        more = flush_dirty(self);
        tell_serving(self);
    }
    while (self->client_count > 0) {
        close_client(self, self->clients[self->client_count - 1]);
    }
}

void gateway_destroy(gateway_t **self_p)
{
    gateway_t *self = *self_p;
    *self_p = NULL;
    if (!self) {
        return;
    }
    assert(self->client_count == 0);
    close_listeners(self);
    close(self->epoll);
    free(self->clients);
    free(self);
}
