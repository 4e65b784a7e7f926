#include "actors/peer/peer_shell.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "actors/curve/handshakes_shell.h"
#include "actors/peer/endpoint.h"
#include "actors/peer/peer_socket_shell.h"
#include "actors/runtime/clock.h"
#include "messages/json.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

enum { LANE_CONSENSUS, LANE_BULK, LANES };

enum { REFUSED_US = 1000000 }; /* after a refused connection: the next attempt, with the next key */

/* Another member's two connections. */
typedef struct {
    uint64_t member;
    bytes_t *urls;                /* all it has, NUL between them */
    char *url;                    /* the one the sockets connect to */
    zsock_t *sockets[LANES];      /* NULL when it leads nowhere */
    zsock_t *monitor;             /* of the first; or NULL */
    unsigned attempts;            /* the next URL's turn, and key's */
    uint64_t again_us;            /* refused: when to connect anew; 0 = it was not */
    uint8_t key[CURVE_KEY_BYTES]; /* with CURVE: what the member must show */
    peer_member_metrics_t *metrics;
} dealers_t;

/* With CURVE the ROUTER is made anew when a key is revoked: what it listens on stays open. */
typedef struct {
    char *url;
    int fd;
} listener_t;

struct peer_shell {
    peer_shell_cfg_t cfg;
    handshakes_t handshakes;
    bool monitors_wet; /* as router_wet, of all monitors */
    listener_t *listeners;
    size_t listener_count, listener_capacity;
    zsock_t *router;
    zsock_t *router_monitor; /* NULL = not watched, see is_strange */
    bool
        router_wet; /* the last look did not end with "nothing there": its descriptor tells nothing yet */
    dealers_t *dealers;
    size_t count, capacity;
    struct pollfd *fds;
    size_t fd_capacity;
};

/* ---- what comes in ---- */

static void watch_router(peer_shell_t *self)
{
    if (!self->router_monitor) {
        self->router_monitor = handshakes_watch(self->router, HANDSHAKES_EVENTS);
        self->monitors_wet = true;
    }
}

static void open_router(peer_shell_t *self)
{
    self->router = peer_socket_router(self->cfg.curve);
    self->router_wet = true;
    if (self->cfg.curve) {
        watch_router(self);
    }
}

static void close_router(peer_shell_t *self)
{
    handshakes_unwatch(self->router, &self->router_monitor);
    zsock_destroy(&self->router);
}

peer_shell_t *peer_shell_new(const peer_shell_cfg_t *cfg)
{
    peer_shell_t *self = xcalloc(1, sizeof *self);
    self->cfg = *cfg;
    self->handshakes = (handshakes_t){.has_curve = cfg->curve != NULL,
                                      .flag = "--peer-curve-secret-key",
                                      .metrics = cfg->metrics,
                                      .counter = METRIC_PEER_HANDSHAKES_FAILED,
                                      .log = cfg->log,
                                      .log_context = cfg->log_context,
                                      .actor = ACTOR_PEER};
    open_router(self);
    return self;
}

static char *bind_copy(peer_shell_t *self, const listener_t *listener)
{
    int fd = fcntl(listener->fd, F_DUPFD_CLOEXEC, 0);
    return fd < 0 ? xasprintf("cannot listen on %s: %s", listener->url, strerror(errno))
                  : peer_socket_bind(self->router, listener->url, fd);
}

char *peer_shell_listen(peer_shell_t *self, const char *url, int fd)
{
    if (!self->cfg.curve) {
        return peer_socket_bind(self->router, url, fd);
    }
    self->listeners = xgrow(self->listeners, &self->listener_capacity, self->listener_count + 1,
                            sizeof *self->listeners);
    listener_t *listener = &self->listeners[self->listener_count++];
    *listener = (listener_t){.url = xstrdup(url), .fd = fd};
    return bind_copy(self, listener);
}

/* A key was revoked: everybody has to come through ZAP again. Who connects meanwhile waits in the kernel's queue. */
static void reopen_router(peer_shell_t *self)
{
    close_router(self);
    open_router(self);
    for (size_t i = 0; i < self->listener_count; i++) {
        char *error = bind_copy(self, &self->listeners[i]);
        if (error) {
            self->cfg.log(self->cfg.log_context, LEVEL_FATAL, ACTOR_PEER, error, "");
            abort(); /* no descriptors left */
        }
    }
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

static void disconnect(dealers_t *dealers)
{
    handshakes_unwatch(dealers->sockets[LANE_CONSENSUS], &dealers->monitor);
    for (int lane = 0; lane < LANES; lane++) {
        zsock_destroy(&dealers->sockets[lane]);
    }
}

static void forget(dealers_t *dealers)
{
    disconnect(dealers);
    bytes_unref(&dealers->urls);
    free(dealers->url);
}

/* One URL after the other; yours. Over several at a time ZeroMQ would deal out messages in turn. *turn = how often
 * all of them had theirs. */
static char *next_url(dealers_t *dealers, size_t *turn)
{
    slice_t urls = bytes_slice(dealers->urls);
    size_t count = 1;
    for (size_t i = 0; i < urls.len; i++) {
        count += urls.data[i] == '\0';
    }
    const char *url = (const char *)urls.data;
    size_t left = urls.len;
    *turn = dealers->attempts / count;
    for (size_t skip = dealers->attempts++ % count; skip > 0; skip--) {
        size_t len = strnlen(url, left) + 1;
        url += len;
        left -= len;
    }
    return xasprintf("%.*s", (int)strnlen(url, left), url);
}

/* `is_known`: ZeroMQ could go there. */
static void complain(peer_shell_t *self, const dealers_t *dealers, bool is_known)
{
    uint64_t held_back = 0;
    slice_t url = slice_str(dealers->url);
    if (!noted_admit(&self->handshakes.noted, is_known, url, clock_monotonic_us(), &held_back)) {
        return;
    }
    buf_t fields = {0};
    char member[48];
    int len = snprintf(member, sizeof member,
                       "\"remote-peer-id\":\"%llx\",\"url\":", (unsigned long long)dealers->member);
    buf_append(&fields, member, (size_t)len);
    buf_json_string(&fields, url);
    buf_byte(&fields, '\0');
    self->cfg.log(self->cfg.log_context, LEVEL_WARN, ACTOR_PEER,
                  is_known && self->cfg.curve
                      ? "no allowed CURVE certificate has this peer URL: cannot connect"
                      : "a peer URL leads nowhere: only http and unix can be connected to",
                  (const char *)fields.data);
    buf_deinit(&fields);
}

/* Without CURVE nothing is to be told of who comes in before a member stays silent, perhaps because it has CURVE: a
 * monitor takes memory. */
static bool is_strange(const peer_shell_t *self, const dealers_t *dealers)
{
    return self->cfg.curve || dealers->attempts > 1;
}

/* `turn`: of the member's keys. */
static void connect_lane(const peer_shell_t *self, dealers_t *dealers, int lane,
                         const char *endpoint, size_t turn)
{
    bool is_slow = self->cfg.curve || !endpoint_is_address(endpoint);
    size_t place = is_slow ? 1 + (size_t)(dealers - self->dealers) : 0;
    zsock_t *socket =
        peer_socket_dealer(place, endpoint_is_ipv6(endpoint, self->cfg.names_are_ipv6));
    dealers->sockets[lane] = socket;
    if (!socket) {
        return;
    }
    curve_domain_t *curve = self->cfg.curve;
    bool leads_somewhere = !curve || curve_connect(curve, socket, dealers->url, turn, dealers->key);
    if (leads_somewhere && lane == LANE_CONSENSUS) {
        dealers->monitor =
            handshakes_watch(socket, HANDSHAKES_EVENTS | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CLOSED);
    }
    if (!leads_somewhere || zmq_connect(zsock_resolve(socket), endpoint) < 0) {
        disconnect(dealers);
    }
}

static void connect_afresh(peer_shell_t *self, dealers_t *dealers)
{
    size_t turn = 0;
    disconnect(dealers);
    dealers->again_us = 0;
    free(dealers->url);
    dealers->url = next_url(dealers, &turn);
    char *endpoint = endpoint_of(dealers->url);
    if (is_strange(self, dealers)) {
        watch_router(self);
    }
    for (int lane = 0; endpoint && lane < LANES; lane++) {
        connect_lane(self, dealers, lane, endpoint, turn);
    }
    if (!dealers->sockets[LANE_CONSENSUS]) {
        complain(self, dealers, endpoint != NULL);
    }
    self->monitors_wet = true;
    free(endpoint);
}

static void on_link(peer_shell_t *self, const msg_link_t *link)
{
    if (link->urls) {
        dealers_t *dealers = find_or_add(self, link->member);
        bytes_unref(&dealers->urls);
        dealers->urls = bytes_ref(link->urls);
        connect_afresh(self, dealers);
        return;
    }
    dealers_t *dealers = find(self, link->member);
    if (dealers) {
        forget(dealers);
        *dealers = self->dealers[--self->count];
    }
}

/* Looks whether keys have come or gone, and then lets nobody speak on whose key has: whoever was let in by one
 * that is revoked, and whoever was connected to for one. */
static void follow_keys(peer_shell_t *self)
{
    curve_change_t change = self->cfg.curve ? curve_take_change(self->cfg.curve) : CURVE_SAME;
    if (change == CURVE_SAME) {
        return;
    }
    if (change == CURVE_REVOKED) {
        reopen_router(self);
    }
    for (size_t i = 0; i < self->count; i++) {
        dealers_t *dealers = &self->dealers[i];
        if (!dealers->sockets[LANE_CONSENSUS] ||
            !curve_is_key_of(self->cfg.curve, dealers->url, dealers->key)) {
            connect_afresh(self, dealers);
        }
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
    follow_keys(self);
    for (int i = 0; self->router_wet && i < LIMIT_PEER_BURST && bytes < LIMIT_PEER_BURST_BYTES;
         i++) {
        self->router_wet = receive(self, runtime, now_us, &bytes);
        follow_keys(self); /* before the next message, whoever it is from */
    }
}

/* However many connections of a member have ended, they say one thing. */
static void tell_closed(const dealers_t *dealers, runtime_t *runtime, uint64_t now_us)
{
    msg_t *msg = msg_new(MSG_CLOSED);
    msg->u.gone.member = dealers->member;
    runtime_deliver(runtime, now_us, &msg);
}

static void take_events(peer_shell_t *self, runtime_t *runtime, uint64_t now_us)
{
    if (!self->monitors_wet) {
        return;
    }
    handshakes_news_t news = {0}; /* here: somebody else's */
    bool more = self->router_monitor && handshakes_take(&self->handshakes, self->router_monitor,
                                                        HANDSHAKES_SERVER, now_us, &news);
    for (size_t i = 0; i < self->count; i++) {
        dealers_t *dealers = &self->dealers[i];
        news = (handshakes_news_t){0};
        more |= dealers->monitor && handshakes_take(&self->handshakes, dealers->monitor,
                                                    HANDSHAKES_CLIENT, now_us, &news);
        if (news.anew && !dealers->again_us) {
            dealers->again_us = now_us + REFUSED_US;
        }
        if (news.closed) {
            tell_closed(dealers, runtime, now_us);
        }
    }
    self->monitors_wet = more;
}

/* The core would not: it may well hear a member that does not hear it. Returns when to look again. */
static uint64_t connect_refused(peer_shell_t *self, uint64_t now_us)
{
    uint64_t due_us = DEADLINE_NONE;
    for (size_t i = 0; i < self->count; i++) {
        dealers_t *dealers = &self->dealers[i];
        if (dealers->again_us && dealers->again_us <= now_us) {
            connect_afresh(self, dealers);
        }
        if (dealers->again_us && dealers->again_us < due_us) {
            due_us = dealers->again_us;
        }
    }
    return due_us;
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

enum { FD_ROUTER = RUNTIME_FDS, FD_CURVE, FD_MONITORS };

static struct pollfd readable(int fd)
{
    return (struct pollfd){.fd = fd, .events = POLLIN}; /* -1 is ignored */
}

static int monitor_fd(zsock_t *monitor)
{
    return monitor ? (int)zsock_fd(monitor) : -1;
}

static size_t collect_fds(peer_shell_t *self, runtime_t *runtime)
{
    int own[RUNTIME_FDS];
    runtime_fds(runtime, own);
    size_t count = FD_MONITORS + 1 + self->count;
    self->fds = xgrow(self->fds, &self->fd_capacity, count, sizeof *self->fds);
    for (int i = 0; i < RUNTIME_FDS; i++) {
        self->fds[i] = readable(own[i]);
    }
    self->fds[FD_ROUTER] = readable((int)zsock_fd(self->router));
    self->fds[FD_CURVE] = readable(self->cfg.curve ? curve_change_fd(self->cfg.curve) : -1);
    self->fds[FD_MONITORS] = readable(monitor_fd(self->router_monitor));
    for (size_t i = 0; i < self->count; i++) {
        self->fds[FD_MONITORS + 1 + i] = readable(monitor_fd(self->dealers[i].monitor));
    }
    return count;
}

static void sleep_until_wanted(peer_shell_t *self, runtime_t *runtime, uint64_t due_us)
{
    size_t count = collect_fds(self, runtime);
    uint64_t core_due_us = runtime_deadline(runtime);
    bool pending = self->router_wet || self->monitors_wet || runtime_pending(runtime);
    if (poll(self->fds, count,
             pending ? 0 : sleep_ms(core_due_us < due_us ? core_due_us : due_us)) <= 0) {
        return;
    }
    if (self->fds[0].revents || self->fds[1].revents) {
        runtime_woken(runtime);
    }
    self->router_wet |= self->fds[FD_ROUTER].revents != 0;
    for (size_t i = FD_MONITORS; i < count; i++) {
        self->monitors_wet |= self->fds[i].revents != 0;
    }
}

void peer_shell_loop(runtime_t *runtime, void *shell)
{
    peer_shell_t *self = shell;
    while (!runtime_ended(runtime)) {
        uint64_t now_us = clock_monotonic_us();
        receive_burst(self, runtime, now_us);
        take_events(self, runtime, now_us);
        uint64_t due_us = connect_refused(self, now_us);
        if (runtime_turn(runtime, now_us) == 0) {
            sleep_until_wanted(self, runtime, due_us);
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
        forget(&self->dealers[i]);
    }
    close_router(self);
    for (size_t i = 0; i < self->listener_count; i++) {
        free(self->listeners[i].url);
        close(self->listeners[i].fd);
    }
    free(self->listeners);
    free(self->dealers);
    free(self->fds);
    free(self);
}
