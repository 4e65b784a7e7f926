#include "actors/zmq_gateway/zmq_gateway_shell.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "actors/curve/handshakes_shell.h"
#include "actors/runtime/clock.h"
#include "actors/zmq_gateway/subscribers_shell.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

enum {
    HANDSHAKE_MS = 5000, /* whoever connects and says nothing */
    HEARTBEAT_MS = 5000, /* of ZMTP: finds connections whose other end is gone, or stopped */
    SILENCE_MS = 15000,
    LINGER_MS = 250,       /* the last answers may leave when the node stops */
    COPIED_BYTES_MAX = 512 /* smaller bodies are copied: a reference costs as much */
};

/* With CURVE the sockets are made anew when a key is revoked: what they listen on stays open. */
typedef struct {
    int fd;
    bool is_unix;
} listener_t;

/* A socket, made when something is to be listened on. */
typedef struct {
    zsock_t *socket;       /* NULL = this side is off */
    zsock_t *monitor;      /* NULL = nobody is to be told of */
    listener_t *listeners; /* with CURVE */
    size_t count, capacity;
    bool
        is_wet; /* the last look did not end with "nothing there": its descriptor tells nothing yet */
} side_t;

struct zmq_gateway_shell {
    zmq_gateway_shell_cfg_t cfg;
    zmq_gateway_t *core;
    side_t requests;
    side_t events;                    /* with CURVE */
    subscribers_shell_t *subscribers; /* without; NULL = nothing is published */
    handshakes_t handshakes;
    bool monitors_wet; /* as is_wet */
    bool sends;        /* there is more for subscribers */
    uint64_t now_us;   /* of this turn */
};

/* ---- sockets ---- */

static void set_int(zsock_t *socket, int option, int value)
{
    int rc = zmq_setsockopt(zsock_resolve(socket), option, &value, sizeof value);
    assert(rc == 0);
    (void)rc;
}

/* ZeroMQ's last thread is the native clients', if there are enough: the others are the members'. */
static void set_affinity(zsock_t *socket)
{
    int threads = zmq_ctx_get(zsys_init(), ZMQ_IO_THREADS);
    uint64_t mask = threads > LIMIT_PEER_IO_THREADS ? 1ull << LIMIT_PEER_IO_THREADS : 1;
    int rc = zmq_setsockopt(zsock_resolve(socket), ZMQ_AFFINITY, &mask, sizeof mask);
    assert(rc == 0);
    (void)rc;
}

static void set_limits(zsock_t *socket, size_t message_bytes, int receive, int send)
{
    int64_t bytes_max = (int64_t)message_bytes;
    int rc = zmq_setsockopt(zsock_resolve(socket), ZMQ_MAXMSGSIZE, &bytes_max, sizeof bytes_max);
    assert(rc == 0);
    (void)rc;
    set_int(socket, ZMQ_RCVHWM, receive);
    set_int(socket, ZMQ_SNDHWM, send);
    set_int(socket, ZMQ_LINGER, LINGER_MS);
    set_int(socket, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS);
    set_int(socket, ZMQ_HEARTBEAT_IVL, HEARTBEAT_MS);
    set_int(socket, ZMQ_HEARTBEAT_TIMEOUT, SILENCE_MS);
    set_affinity(socket);
}

static zsock_t *new_router(const zmq_gateway_shell_t *self)
{
    enum { SLACK = 1 << 20 }; /* so that a body a little too large is answered */
    zsock_t *socket = zsock_new(ZMQ_ROUTER);
    if (socket) {
        set_limits(socket, self->cfg.message_bytes_max + SLACK, LIMIT_NATIVE_RECEIVE_QUEUE,
                   LIMIT_NATIVE_SEND_QUEUE);
        set_int(socket, ZMQ_ROUTER_MANDATORY, 1);
    }
    return socket;
}

static zsock_t *new_xpub(void)
{
    zsock_t *socket = zsock_new(ZMQ_XPUB);
    if (socket) {
        set_limits(socket, LIMIT_NATIVE_SUBSCRIPTION_MESSAGE_BYTES + LIMIT_CURVE_OVERHEAD_BYTES,
                   LIMIT_NATIVE_RECEIVE_QUEUE, LIMIT_NATIVE_PUBLISH_QUEUE);
        set_int(socket, ZMQ_XPUB_VERBOSE,
                1); /* who subscribes again may have been refused before */
    }
    return socket;
}

zmq_gateway_shell_t *zmq_gateway_shell_new(const zmq_gateway_shell_cfg_t *cfg)
{
    zmq_gateway_shell_t *self = xcalloc(1, sizeof *self);
    self->cfg = *cfg;
    self->handshakes = (handshakes_t){.has_curve = cfg->curve != NULL,
                                      .flag = "--native-curve-secret-key",
                                      .metrics = cfg->metrics,
                                      .counter = METRIC_NATIVE_HANDSHAKES_FAILED,
                                      .log = cfg->log,
                                      .log_context = cfg->log_context,
                                      .actor = ACTOR_ZMQ_GATEWAY};
    return self;
}

void zmq_gateway_shell_attach(zmq_gateway_shell_t *self, zmq_gateway_t *core)
{
    self->core = core;
}

static void open_side(zmq_gateway_shell_t *self, side_t *side)
{
    side->socket = side == &self->requests ? new_router(self) : new_xpub();
    if (side->socket && self->cfg.curve) {
        curve_serve(self->cfg.curve, side->socket);
    }
    if (side->socket && (self->cfg.curve || self->cfg.is_talkative)) {
        side->monitor = handshakes_watch(side->socket, HANDSHAKES_EVENTS);
        self->monitors_wet = true;
    }
}

static void close_side(side_t *side)
{
    if (side->socket) {
        handshakes_unwatch(side->socket, &side->monitor);
    }
    zsock_destroy(&side->socket);
}

/* The socket is bound already, the address only says of what kind it is. Takes the descriptor. */
static char *bind_to(side_t *side, int fd, bool is_unix)
{
    const char *endpoint = is_unix ? "ipc://native" : "tcp://127.0.0.1:1";
    set_int(side->socket, ZMQ_USE_FD, fd);
    bool is_bound = zmq_bind(zsock_resolve(side->socket), endpoint) == 0;
    char *error = is_bound ? NULL : xstrdup(zmq_strerror(zmq_errno()));
    set_int(side->socket, ZMQ_USE_FD, -1);
    side->is_wet = true;
    return error;
}

static char *bind_copy(side_t *side, const listener_t *listener)
{
    int fd = fcntl(listener->fd, F_DUPFD_CLOEXEC, 0);
    return fd < 0 ? xstrdup(strerror(errno)) : bind_to(side, fd, listener->is_unix);
}

static char *listen_on(zmq_gateway_shell_t *self, side_t *side, int fd, bool is_unix)
{
    if (!side->socket) {
        open_side(self, side);
    }
    if (!side->socket) {
        close(fd);
        return xstrdup("too many open files");
    }
    if (!self->cfg.curve) {
        return bind_to(side, fd, is_unix);
    }
    side->listeners =
        xgrow(side->listeners, &side->capacity, side->count + 1, sizeof *side->listeners);
    side->listeners[side->count++] = (listener_t){.fd = fd, .is_unix = is_unix};
    return bind_copy(side, &side->listeners[side->count - 1]);
}

char *zmq_gateway_shell_requests(zmq_gateway_shell_t *self, int fd, bool is_unix)
{
    return listen_on(self, &self->requests, fd, is_unix);
}

static void on_subscription(void *context, slice_t message)
{
    zmq_gateway_shell_t *self = context;
    if (!self->core) {
        return; /* the actor has ended */
    }
    publisher_subscription(zmq_gateway_publisher(self->core), message, self->now_us);
}

char *zmq_gateway_shell_events(zmq_gateway_shell_t *self, int fd, bool is_unix)
{
    if (self->cfg.curve) {
        return listen_on(self, &self->events, fd, is_unix);
    }
    if (!self->subscribers) {
        subscribers_sink_t sink = {.context = self, .subscription = on_subscription};
        self->subscribers = subscribers_shell_new(&sink, self->cfg.metrics, &self->handshakes);
    }
    subscribers_shell_listen(self->subscribers, fd);
    return NULL;
}

/* ---- keys ---- */

/* Nothing more leaves for who was connected; who connects meanwhile waits in the kernel's queue. */
static void reopen(zmq_gateway_shell_t *self, side_t *side)
{
    char *error = NULL;
    if (!side->socket) {
        return;
    }
    zsock_set_linger(side->socket, 0);
    close_side(side);
    open_side(self, side);
    for (size_t i = 0; i < side->count && side->socket && !error; i++) {
        error = bind_copy(side, &side->listeners[i]);
    }
    if (error || !side->socket) {
        self->cfg.log(self->cfg.log_context, LEVEL_FATAL, ACTOR_ZMQ_GATEWAY,
                      "cannot listen again after a key was revoked: too many open files", "");
        abort(); /* no descriptors: as good as no memory */
    }
}

/* A key was revoked: everybody has to come through ZAP again, before another message is taken. */
static void follow_keys(zmq_gateway_shell_t *self, uint64_t now_us)
{
    if (self->cfg.curve && curve_take_change(self->cfg.curve) == CURVE_REVOKED) {
        reopen(self, &self->requests);
        reopen(self, &self->events);
        sessions_reset(zmq_gateway_sessions(self->core));
        publisher_reset(zmq_gateway_publisher(self->core), now_us);
    }
}

static void take_handshakes(zmq_gateway_shell_t *self, uint64_t now_us)
{
    side_t *sides[] = {&self->requests, &self->events};
    bool more = false;
    for (size_t i = 0; i < 2 && self->monitors_wet; i++) {
        handshakes_news_t news = {0}; /* the clients' business */
        more |= sides[i]->monitor && handshakes_take(&self->handshakes, sides[i]->monitor,
                                                     HANDSHAKES_SERVER, now_us, &news);
    }
    self->monitors_wet = more;
}

/* ---- receiving ---- */

enum { PARTS_MAX = 1 + NATIVE_FRAMES_MAX };

/* One message of up to PARTS_MAX parts; what is beyond is dropped and only counted. Returns the number of
 * parts, 0 = nothing there. Parts up to PARTS_MAX are the caller's to close. */
static size_t receive(zsock_t *socket, zmq_msg_t parts[PARTS_MAX])
{
    size_t count = 0;
    bool more = true;
    while (more) {
        zmq_msg_t rest;
        zmq_msg_t *part = count < PARTS_MAX ? &parts[count] : &rest;
        zmq_msg_init(part);
        if (zmq_msg_recv(part, zsock_resolve(socket), ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(part);
            return count; /* only ever before the first: messages come whole */
        }
        more = zmq_msg_more(part);
        if (part == &rest) {
            zmq_msg_close(part);
        }
        count++;
    }
    return count;
}

static slice_t slice_of(zmq_msg_t *part)
{
    return slice(zmq_msg_data(part), zmq_msg_size(part));
}

/* False = nothing there. */
static bool receive_request(zmq_gateway_shell_t *self, uint64_t now_us, size_t *bytes)
{
    zmq_msg_t parts[PARTS_MAX];
    size_t count = receive(self->requests.socket, parts);
    if (count == 0) {
        return false;
    }
    size_t kept = count < PARTS_MAX ? count : PARTS_MAX;
    slice_t frames[NATIVE_FRAMES_MAX + 1] = {{0}};
    for (size_t i = 1; i < kept; i++) {
        frames[i - 1] = slice_of(&parts[i]);
        *bytes += frames[i - 1].len;
    }
    sessions_input(zmq_gateway_sessions(self->core), slice_of(&parts[0]), frames, count - 1,
                   now_us);
    for (size_t i = 0; i < kept; i++) {
        zmq_msg_close(&parts[i]);
    }
    return true;
}

static bool receive_subscription(zmq_gateway_shell_t *self, uint64_t now_us)
{
    zmq_msg_t parts[PARTS_MAX];
    size_t count = receive(self->events.socket, parts);
    if (count == 1) { /* more is what no subscriber's socket says by itself */
        publisher_subscription(zmq_gateway_publisher(self->core), slice_of(&parts[0]), now_us);
    }
    for (size_t i = 0; i < count && i < PARTS_MAX; i++) {
        zmq_msg_close(&parts[i]);
    }
    return count > 0;
}

static void receive_burst(zmq_gateway_shell_t *self, uint64_t now_us)
{
    size_t bytes = 0;
    follow_keys(self, now_us);
    for (int i = 0; i < LIMIT_NATIVE_BURST && self->requests.is_wet; i++) {
        if (bytes >= LIMIT_NATIVE_BURST_BYTES) {
            break;
        }
        self->requests.is_wet = receive_request(self, now_us, &bytes);
        follow_keys(self, now_us); /* before the next message, whoever it is from */
    }
    for (int i = 0; i < LIMIT_NATIVE_BURST && self->events.is_wet; i++) {
        self->events.is_wet = receive_subscription(self, now_us);
    }
    if (self->subscribers) {
        subscribers_shell_receive(self->subscribers, now_us);
    }
}

/* ---- sending ---- */

static void give_back(void *data, void *hint)
{
    (void)data;
    bytes_t *bytes = hint;
    bytes_unref(&bytes);
}

static bool send_copy(zsock_t *socket, slice_t bytes, int flags)
{
    zmq_msg_t part;
    int rc = zmq_msg_init_size(&part, bytes.len);
    assert(rc == 0);
    if (bytes.len) {
        memcpy(zmq_msg_data(&part), bytes.data, bytes.len);
    }
    rc = zmq_msg_send(&part, zsock_resolve(socket), flags | ZMQ_DONTWAIT);
    if (rc < 0) {
        zmq_msg_close(&part);
    }
    return rc >= 0;
}

/* Large ones are not copied: ZeroMQ gets a reference. */
static bool send_body(zsock_t *socket, const bytes_t *bytes)
{
    slice_t content = bytes_slice(bytes);
    if (content.len <= COPIED_BYTES_MAX) {
        return send_copy(socket, content, 0);
    }
    zmq_msg_t part;
    int rc = zmq_msg_init_data(&part, (uint8_t *)(uintptr_t)content.data, content.len, give_back,
                               bytes_ref(bytes));
    assert(rc == 0);
    rc = zmq_msg_send(&part, zsock_resolve(socket), ZMQ_DONTWAIT);
    if (rc < 0) {
        zmq_msg_close(&part);
    }
    return rc >= 0;
}

/* Whether there is room, and anybody at all, shows with the first frame; the others follow it. */
static bool send_output(zsock_t *socket, const native_output_t *out)
{
    slice_t header = slice(out->header, sizeof out->header);
    return send_copy(socket, out->route, ZMQ_SNDMORE) &&
           send_copy(socket, header, out->body ? ZMQ_SNDMORE : 0) &&
           (!out->body || send_body(socket, out->body));
}

static void send_outputs(zmq_gateway_shell_t *self)
{
    sessions_t *sessions = zmq_gateway_sessions(self->core);
    native_output_t out;
    bool any = false;
    while (sessions_output(sessions, &out)) {
        if (!send_output(self->requests.socket, &out)) {
            sessions_undelivered(sessions);
        }
        bytes_unref(&out.body);
        any = true;
    }
    self->requests.is_wet |= any; /* sending may have taken the wake-up of what came in */
}

static void publish(void *context, const slice_t *frames, size_t count)
{
    zmq_gateway_shell_t *self = context;
    if (self->subscribers) {
        subscribers_shell_publish(self->subscribers, frames, count);
        return;
    }
    if (!self->events.socket) {
        return;
    }
    bool fine = true;
    for (size_t i = 0; i < count && fine; i++) {
        fine = send_copy(self->events.socket, frames[i], i + 1 < count ? ZMQ_SNDMORE : 0);
    }
    self->events.is_wet = true;
}

publisher_sink_t zmq_gateway_shell_sink(zmq_gateway_shell_t *self)
{
    return (publisher_sink_t){.context = self, .publish = publish};
}

/* ---- the loop ---- */

static int sleep_ms(uint64_t deadline_us)
{
    enum { SLEEP_MAX_MS = 60000 };
    if (deadline_us == DEADLINE_NONE) {
        return -1;
    }
    uint64_t now_us = clock_monotonic_us();
    if (deadline_us <= now_us) {
        return 0;
    }
    uint64_t ms = (deadline_us - now_us + 999) / 1000;
    return ms > SLEEP_MAX_MS ? SLEEP_MAX_MS : (int)ms;
}

/* Asks a socket that something was sent on whether anything is there. */
static void look(side_t *side)
{
    if (side->is_wet) {
        side->is_wet = zsock_events(side->socket) & ZMQ_POLLIN;
    }
}

static struct pollfd readable(int fd)
{
    return (struct pollfd){.fd = fd, .events = POLLIN}; /* -1 is ignored */
}

static int fd_of(zsock_t *socket)
{
    return socket ? (int)zsock_fd(socket) : -1;
}

enum {
    FD_REQUESTS = RUNTIME_FDS,
    FD_EVENTS,
    FD_SUBSCRIBERS,
    FD_CURVE,
    FD_REQUESTS_MONITOR,
    FD_EVENTS_MONITOR,
    FDS
};

static uint64_t next_deadline(const zmq_gateway_shell_t *self, const runtime_t *runtime)
{
    uint64_t due_us = runtime_deadline(runtime);
    uint64_t theirs_us =
        self->subscribers ? subscribers_shell_deadline(self->subscribers) : DEADLINE_NONE;
    return theirs_us < due_us ? theirs_us : due_us;
}

static void sleep_until_wanted(zmq_gateway_shell_t *self, runtime_t *runtime)
{
    struct pollfd fds[FDS];
    int own[RUNTIME_FDS];
    runtime_fds(runtime, own);
    for (int i = 0; i < RUNTIME_FDS; i++) {
        fds[i] = readable(own[i]);
    }
    fds[FD_REQUESTS] = readable(fd_of(self->requests.socket));
    fds[FD_EVENTS] = readable(fd_of(self->events.socket));
    fds[FD_SUBSCRIBERS] =
        readable(self->subscribers ? subscribers_shell_fd(self->subscribers) : -1);
    fds[FD_CURVE] = readable(self->cfg.curve ? curve_change_fd(self->cfg.curve) : -1);
    fds[FD_REQUESTS_MONITOR] = readable(fd_of(self->requests.monitor));
    fds[FD_EVENTS_MONITOR] = readable(fd_of(self->events.monitor));
    bool pending = self->requests.is_wet || self->events.is_wet || self->monitors_wet ||
                   self->sends || runtime_pending(runtime);
    if (poll(fds, FDS, pending ? 0 : sleep_ms(next_deadline(self, runtime))) <= 0) {
        return;
    }
    if (fds[0].revents || fds[1].revents) {
        runtime_woken(runtime);
    }
    self->requests.is_wet |= fds[FD_REQUESTS].revents != 0;
    self->events.is_wet |= fds[FD_EVENTS].revents != 0;
    self->monitors_wet |= fds[FD_REQUESTS_MONITOR].revents || fds[FD_EVENTS_MONITOR].revents;
}

void zmq_gateway_shell_loop(runtime_t *runtime, void *shell)
{
    zmq_gateway_shell_t *self = shell;
    while (!runtime_ended(runtime)) {
        uint64_t now_us = self->now_us = clock_monotonic_us();
        receive_burst(self, now_us);
        take_handshakes(self, now_us);
        runtime_turn(runtime, now_us);
        send_outputs(self);
        self->sends = self->subscribers && subscribers_shell_send(self->subscribers);
        look(&self->requests);
        look(&self->events);
        sleep_until_wanted(self, runtime);
    }
}

void zmq_gateway_shell_destroy(zmq_gateway_shell_t **self_p)
{
    zmq_gateway_shell_t *self = *self_p;
    *self_p = NULL;
    if (self) {
        self->core = NULL;
        subscribers_shell_destroy(&self->subscribers);
        side_t *sides[] = {&self->requests, &self->events};
        for (size_t i = 0; i < 2; i++) {
            close_side(sides[i]);
            for (size_t k = 0; k < sides[i]->count; k++) {
                close(sides[i]->listeners[k].fd);
            }
            free(sides[i]->listeners);
        }
        free(self);
    }
}
