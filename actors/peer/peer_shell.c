#include "actors/peer/peer_shell.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "actors/peer/endpoint.h"
#include "actors/peer/peer_socket_shell.h"
#include "actors/runtime/clock.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

enum { LANE_CONSENSUS, LANE_BULK, LANES };

enum {
    RECONNECT_MS = 50, /* and twice that, and so on, up to: */
    RECONNECT_MAX_MS = 1000,
    CONNECT_MS = 2000,   /* the kernel's own attempts get minutes apart */
    UNANSWERED_MS = 5000 /* bytes without an acknowledgement of TCP's */
};

/* Another member's two connections. */
typedef struct {
    uint64_t member;
    zsock_t *sockets[LANES]; /* NULL when its URLs lead nowhere */
    void *monitor;           /* ZeroMQ tells of the first lane's connection; NULL with its socket */
    int monitor_fd;
    bool monitor_wet;  /* as router_wet */
    unsigned attempts; /* the next URL's turn */
    peer_member_metrics_t *metrics;
} dealers_t;

struct peer_shell {
    peer_shell_cfg_t cfg;
    zsock_t *router;
    bool
        router_wet; /* the last look did not end with "nothing there": its descriptor tells nothing yet */
    dealers_t *dealers;
    size_t count, capacity;
    struct pollfd *fds; /* RUNTIME_FDS, the router, each dealer's monitor */
    size_t fds_capacity;
    uint64_t monitors; /* made so far */
};

/* ---- sockets ---- */

static void set_int(zsock_t *socket, int option, int value)
{
    int rc = zmq_setsockopt(zsock_resolve(socket), option, &value, sizeof value);
    assert(rc == 0);
    (void)rc;
}

peer_shell_t *peer_shell_new(const peer_shell_cfg_t *cfg)
{
    peer_shell_t *self = xcalloc(1, sizeof *self);
    self->cfg = *cfg;
    self->router = peer_socket_new(ZMQ_ROUTER);
    if (!self->router) {
        abort(); /* no descriptors at start: as good as no memory */
    }
    peer_socket_place(self->router, 0);
    self->router_wet = true;
    return self;
}

char *peer_shell_listen(peer_shell_t *self, const char *url, int fd)
{
    /* The socket is bound already, the address only says of what kind it is. */
    bool is_unix = strncmp(url, "unix", 4) == 0;
    char *endpoint = is_unix ? endpoint_of(url) : xstrdup("tcp://127.0.0.1:1");
    if (!endpoint) {
        return xasprintf("cannot listen on %s", url);
    }
    void *handle = zsock_resolve(self->router);
    set_int(self->router, ZMQ_USE_FD, fd);
    char *error = zmq_bind(handle, endpoint) == 0
                      ? NULL
                      : xasprintf("cannot listen on %s: %s", url, zmq_strerror(zmq_errno()));
    set_int(self->router, ZMQ_USE_FD, -1);
    free(endpoint);
    return error;
}

static zsock_t *new_dealer(const peer_shell_t *self, size_t place, const char *endpoint)
{
    zsock_t *socket = peer_socket_new(ZMQ_DEALER);
    if (!socket) {
        return NULL;
    }
    peer_socket_place(socket, 1 + place);
    set_int(socket, ZMQ_IMMEDIATE, 1); /* nothing is queued for a connection that is not there */
    set_int(socket, ZMQ_RECONNECT_IVL, RECONNECT_MS);
    set_int(socket, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS);
    set_int(socket, ZMQ_CONNECT_TIMEOUT, CONNECT_MS);
    set_int(socket, ZMQ_TCP_MAXRT, UNANSWERED_MS);
    set_int(socket, ZMQ_IPV6, endpoint_is_ipv6(endpoint, self->cfg.names_are_ipv6));
    if (zmq_connect(zsock_resolve(socket), endpoint) < 0) {
        zsock_destroy(&socket);
    }
    return socket;
}

/* ---- links ---- */

static dealers_t *find(const peer_shell_t *self, uint64_t member)
{
    for (size_t i = 0; i < self->count; i++) {
        if (self->dealers[i].member == member) {
            return &self->dealers[i];
        }
    }
    return NULL;
}

static dealers_t *find_or_add(peer_shell_t *self, uint64_t member)
{
    dealers_t *dealers = find(self, member);
    if (!dealers) {
        self->dealers =
            xgrow(self->dealers, &self->capacity, self->count + 1, sizeof *self->dealers);
        dealers = &self->dealers[self->count++];
        *dealers =
            (dealers_t){.member = member, .metrics = peer_metrics_of(self->cfg.by_member, member)};
    }
    return dealers;
}

static void complain(const peer_shell_t *self, uint64_t member, const char *what)
{
    char fields[64];
    (void)snprintf(fields, sizeof fields, "\"remote-peer-id\":\"%llx\"",
                   (unsigned long long)member);
    self->cfg.log(self->cfg.log_context, LEVEL_WARN, ACTOR_PEER, what, fields);
}

/* The sender first: it would wait for a receiver that is gone. */
static void unwatch_connection(dealers_t *dealers)
{
    if (dealers->sockets[LANE_CONSENSUS]) {
        zmq_socket_monitor(zsock_resolve(dealers->sockets[LANE_CONSENSUS]), NULL, 0);
    }
    if (dealers->monitor) {
        zmq_close(dealers->monitor);
        dealers->monitor = NULL;
    }
}

/* The address may be taken still: ZeroMQ closes the monitors of earlier sockets in its own time. */
static int start_monitor(peer_shell_t *self, void *socket, char *address, size_t size)
{
    enum { TRIES = 100, EVENTS = ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CLOSED };
    int rc = -1;
    for (int i = 0; rc < 0 && i < TRIES; i++) {
        (void)snprintf(address, size, "inproc://peer-monitor-%llu",
                       (unsigned long long)++self->monitors);
        rc = zmq_socket_monitor(socket, address, EVENTS);
    }
    return rc;
}

/* Told of: the other side has closed the connection, and an attempt to make it has failed. Where there can be no
 * monitor, an election only takes longer. */
static void watch_connection(peer_shell_t *self, dealers_t *dealers)
{
    char address[64];
    size_t size = sizeof dealers->monitor_fd;
    void *socket = zsock_resolve(dealers->sockets[LANE_CONSENSUS]);
    if (start_monitor(self, socket, address, sizeof address) == 0) {
        dealers->monitor = zmq_socket(zsys_init(), ZMQ_PAIR);
    }
    if (dealers->monitor && zmq_connect(dealers->monitor, address) == 0 &&
        zmq_getsockopt(dealers->monitor, ZMQ_FD, &dealers->monitor_fd, &size) == 0) {
        dealers->monitor_wet = true;
        return;
    }
    unwatch_connection(dealers);
    complain(self, dealers->member, "the connection to a peer cannot be watched");
}

static void disconnect(dealers_t *dealers)
{
    unwatch_connection(dealers);
    for (int lane = 0; lane < LANES; lane++) {
        zsock_destroy(&dealers->sockets[lane]);
    }
}

/* One URL after the other; yours. Over several at a time ZeroMQ would deal out messages in turn. */
static char *next_url(dealers_t *dealers, slice_t urls)
{
    size_t count = 1;
    for (size_t i = 0; i < urls.len; i++) {
        count += urls.data[i] == '\0';
    }
    const char *url = (const char *)urls.data;
    size_t left = urls.len;
    for (size_t skip = dealers->attempts++ % count; skip > 0; skip--) {
        size_t len = strnlen(url, left) + 1;
        url += len;
        left -= len;
    }
    return xasprintf("%.*s", (int)strnlen(url, left), url);
}

static void connect_to(peer_shell_t *self, dealers_t *dealers, slice_t urls)
{
    disconnect(dealers);
    char *url = next_url(dealers, urls);
    char *endpoint = endpoint_of(url);
    for (int lane = 0; endpoint && lane < LANES; lane++) {
        size_t place = (size_t)(dealers - self->dealers);
        dealers->sockets[lane] = new_dealer(self, place, endpoint);
    }
    if (dealers->sockets[LANE_CONSENSUS]) {
        watch_connection(self, dealers);
    } else {
        complain(self, dealers->member,
                 "a peer URL leads nowhere: only http and unix can be connected to");
    }
    free(endpoint);
    free(url);
}

static void on_link(peer_shell_t *self, const msg_link_t *link)
{
    if (link->urls) {
        connect_to(self, find_or_add(self, link->member), bytes_slice(link->urls));
        return;
    }
    dealers_t *dealers = find(self, link->member);
    if (dealers) {
        disconnect(dealers);
        *dealers = self->dealers[--self->count];
    }
}

/* ---- sending ---- */

static void give_back(void *data, void *hint)
{
    (void)data;
    bytes_t *bytes = hint;
    bytes_unref(&bytes);
}

/* ZeroMQ gets a reference and no copy. False = it is lost. */
static bool send_part(zsock_t *socket, const bytes_t *bytes, int flags)
{
    slice_t content = bytes_slice(bytes);
    zmq_msg_t part;
    int rc = zmq_msg_init_data(&part, (uint8_t *)(uintptr_t)content.data, content.len, give_back,
                               bytes_ref(bytes));
    assert(rc == 0);
    rc = zmq_msg_send(&part, zsock_resolve(socket), flags | ZMQ_DONTWAIT);
    if (rc < 0) {
        zmq_msg_close(&part);
    }
    return rc >= 0;
}

static void on_frame(peer_shell_t *self, const msg_frame_t *frame)
{
    if (frame->route) {
        if (send_part(self->router, frame->route, ZMQ_SNDMORE)) {
            (void)send_part(self->router, frame->frame, 0);
        }
        self->router_wet = true; /* sending may have taken the wake-up of what came in */
        return;
    }
    dealers_t *dealers = find(self, frame->member);
    if (!dealers) {
        return;
    }
    zsock_t *socket = dealers->sockets[frame->is_bulk ? LANE_BULK : LANE_CONSENSUS];
    if (socket && send_part(socket, frame->frame, 0)) {
        peer_count(&dealers->metrics->sent_bytes, bytes_len(frame->frame));
    } else {
        peer_count(&dealers->metrics->sent_failures, 1);
    }
}

void peer_shell_network(void *shell, msg_t **msg_p)
{
    if ((*msg_p)->kind == MSG_LINK) {
        on_link(shell, &(*msg_p)->u.link);
    } else {
        assert((*msg_p)->kind == MSG_FRAME);
        on_frame(shell, &(*msg_p)->u.frame);
    }
    msg_free(msg_p);
}

/* ---- receiving ---- */

/* The next part; NULL = nothing there. Yours. */
static bytes_t *receive_part(const peer_shell_t *self, bool *more)
{
    zmq_msg_t part;
    zmq_msg_init(&part);
    bytes_t *bytes = NULL;
    *more = false;
    if (zmq_msg_recv(&part, zsock_resolve(self->router), ZMQ_DONTWAIT) >= 0) {
        bytes = bytes_new(zmq_msg_data(&part), zmq_msg_size(&part));
        *more = zmq_msg_more(&part);
    }
    zmq_msg_close(&part);
    return bytes;
}

/* Who speaks, and one frame; anything else is not ours. False = nothing there. */
static bool receive(peer_shell_t *self, runtime_t *runtime, uint64_t now_us, size_t *bytes)
{
    bool more = false;
    bytes_t *route = receive_part(self, &more);
    if (!route) {
        return false;
    }
    bytes_t *frame = more ? receive_part(self, &more) : NULL;
    bool alone = frame && !more;
    while (more) {
        bytes_t *rest = receive_part(self, &more);
        bytes_unref(&rest);
    }
    *bytes += bytes_len(frame);
    if (alone) {
        msg_t *msg = msg_new(MSG_FRAME);
        msg->u.frame = (msg_frame_t){.route = route, .frame = frame};
        runtime_deliver(runtime, now_us, &msg);
        return true;
    }
    metrics_add(self->cfg.metrics, METRIC_PEER_REFUSED, 1);
    bytes_unref(&route);
    bytes_unref(&frame);
    return true;
}

static void receive_burst(peer_shell_t *self, runtime_t *runtime, uint64_t now_us)
{
    size_t bytes = 0;
    for (int i = 0; self->router_wet && i < LIMIT_PEER_BURST && bytes < LIMIT_PEER_BURST_BYTES;
         i++) {
        self->router_wet = receive(self, runtime, now_us, &bytes);
    }
}

/* One event: its number and value, and the endpoint in a second part. False = nothing there. */
static bool receive_event(dealers_t *dealers)
{
    zmq_msg_t part;
    zmq_msg_init(&part);
    bool there = zmq_msg_recv(&part, dealers->monitor, ZMQ_DONTWAIT) >= 0;
    bool more = there && zmq_msg_more(&part);
    while (more) {
        more = zmq_msg_recv(&part, dealers->monitor, 0) >= 0 && zmq_msg_more(&part);
    }
    zmq_msg_close(&part);
    return there;
}

/* However many there are of one member, they say one thing. */
static void receive_events(peer_shell_t *self, runtime_t *runtime, uint64_t now_us)
{
    for (size_t i = 0; i < self->count; i++) {
        dealers_t *dealers = &self->dealers[i];
        if (!dealers->monitor || !dealers->monitor_wet) {
            continue;
        }
        dealers->monitor_wet = false;
        bool closed = false;
        while (receive_event(dealers)) {
            closed = true;
        }
        if (closed) {
            msg_t *msg = msg_new(MSG_CLOSED);
            msg->u.gone.member = dealers->member;
            runtime_deliver(runtime, now_us, &msg);
        }
    }
}

/* ---- the loop ---- */

static int sleep_ms(uint64_t deadline_us)
{
    enum { SLEEP_MAX_MS = 60000 };
    uint64_t now_us = clock_monotonic_us();
    if (deadline_us <= now_us) {
        return 0;
    }
    uint64_t ms = deadline_us == DEADLINE_NONE ? SLEEP_MAX_MS : (deadline_us - now_us + 999) / 1000;
    return ms > SLEEP_MAX_MS ? SLEEP_MAX_MS : (int)ms;
}

static bool is_wet(const peer_shell_t *self)
{
    bool wet = self->router_wet;
    for (size_t i = 0; i < self->count; i++) {
        wet |= self->dealers[i].monitor && self->dealers[i].monitor_wet;
    }
    return wet;
}

/* What there is to wait for; returns how many. poll() skips a descriptor of -1. */
static nfds_t list_descriptors(peer_shell_t *self, const runtime_t *runtime)
{
    size_t wanted = RUNTIME_FDS + 1 + self->count;
    self->fds = xgrow(self->fds, &self->fds_capacity, wanted, sizeof *self->fds);
    int own[RUNTIME_FDS];
    runtime_fds(runtime, own);
    for (int i = 0; i < RUNTIME_FDS; i++) {
        self->fds[i] = (struct pollfd){.fd = own[i], .events = POLLIN};
    }
    self->fds[RUNTIME_FDS] = (struct pollfd){.fd = (int)zsock_fd(self->router), .events = POLLIN};
    for (size_t i = 0; i < self->count; i++) {
        int fd = self->dealers[i].monitor ? self->dealers[i].monitor_fd : -1;
        self->fds[RUNTIME_FDS + 1 + i] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    return wanted;
}

static void sleep_until_wanted(peer_shell_t *self, runtime_t *runtime)
{
    nfds_t count = list_descriptors(self, runtime);
    bool pending = is_wet(self) || runtime_pending(runtime);
    if (poll(self->fds, count, pending ? 0 : sleep_ms(runtime_deadline(runtime))) <= 0) {
        return;
    }
    if (self->fds[0].revents || self->fds[1].revents) {
        runtime_woken(runtime);
    }
    self->router_wet |= self->fds[RUNTIME_FDS].revents != 0;
    for (size_t i = 0; i < self->count; i++) {
        self->dealers[i].monitor_wet |= self->fds[RUNTIME_FDS + 1 + i].revents != 0;
    }
}

void peer_shell_loop(runtime_t *runtime, void *shell)
{
    peer_shell_t *self = shell;
    while (!runtime_ended(runtime)) {
        uint64_t now_us = clock_monotonic_us();
        receive_burst(self, runtime, now_us);
        receive_events(self, runtime, now_us);
        if (runtime_turn(runtime, now_us) == 0) {
            sleep_until_wanted(self, runtime);
        }
    }
}

void peer_shell_destroy(peer_shell_t **self_p)
{
    peer_shell_t *self = *self_p;
    *self_p = NULL;
    if (!self) {
        return;
    }
    for (size_t i = 0; i < self->count; i++) {
        disconnect(&self->dealers[i]);
    }
    free(self->dealers);
    free(self->fds);
    zsock_destroy(&self->router);
    free(self);
}
