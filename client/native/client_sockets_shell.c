#include "client/native/client_sockets_shell.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include <zmq.h>

enum {
    REQUESTS_HWM = 1000,       /* each way; the session has its own bounds */
    EVENTS_HWM = 4096,         /* of at most 22 KiB each; what is above is lost and fetched later */
    EVENT_BYTES_MAX = 1 << 20, /* of a publication */
    RECEIVE_BURST = 256,       /* messages, before the caches are looked at */
    LINGER_MS = 100,           /* for the farewell */
    CONNECT_TIMEOUT_MS = 5000,
    HEARTBEAT_MS = 1000, /* of the event socket: the request socket has its own */
    US_PER_MS = 1000,
};

void client_sockets_init(client_sockets_t *self, const char *server_key, const char *public_key,
                         const char *secret_key)
{
    *self = (client_sockets_t){.context = zmq_ctx_new()};
    if (server_key) {
        snprintf(self->server_key, sizeof self->server_key, "%s", server_key);
        snprintf(self->public_key, sizeof self->public_key, "%s", public_key);
        snprintf(self->secret_key, sizeof self->secret_key, "%s", secret_key);
    }
}

static void close_socket(client_socket_t *self)
{
    if (self->socket) {
        zmq_socket_monitor(self->socket, NULL, 0);
        zmq_close(self->socket);
    }
    if (self->monitor) {
        zmq_close(self->monitor);
    }
    *self = (client_socket_t){0};
}

void client_sockets_deinit(client_sockets_t *self)
{
    close_socket(&self->requests);
    close_socket(&self->events);
    if (self->context) {
        zmq_ctx_term(self->context);
    }
    *self = (client_sockets_t){0};
}

static void set_int(void *socket, int option, int value)
{
    int rc = zmq_setsockopt(socket, option, &value, sizeof value);
    assert(rc == 0);
}

static void set_keys(const client_sockets_t *self, void *socket)
{
    if (self->server_key[0]) {
        int rc = zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, self->server_key, 40);
        rc = rc ? rc : zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, self->public_key, 40);
        rc = rc ? rc : zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, self->secret_key, 40);
        assert(rc == 0); /* they were checked */
    }
}

/* What happens to the connection comes as messages: otherwise only silence would tell. */
static void watch_socket(client_sockets_t *self, client_socket_t *of, const char *name)
{
    char address[64];
    snprintf(address, sizeof address, "inproc://%s-%llu", name, (unsigned long long)of->number);
    int events = ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CONNECT_RETRIED | ZMQ_EVENT_CLOSED |
                 ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                 ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
    if (zmq_socket_monitor(of->socket, address, events) == 0) {
        of->monitor = zmq_socket(self->context, ZMQ_PAIR);
        if (of->monitor && zmq_connect(of->monitor, address)) {
            zmq_close(of->monitor);
            of->monitor = NULL;
        }
    }
}

/* 0, or -1: there is no such address, or no more sockets. */
static int open_socket(client_sockets_t *self, client_socket_t *of, int type, uint64_t number,
                       const char *url)
{
    *of = (client_socket_t){.number = number};
    of->socket = zmq_socket(self->context, type);
    if (!of->socket) {
        return -1;
    }
    snprintf(of->url, sizeof of->url, "%s", url);
    set_int(of->socket, ZMQ_LINGER, LINGER_MS);
    set_int(of->socket, ZMQ_IPV6, 1);
    set_int(of->socket, ZMQ_CONNECT_TIMEOUT, CONNECT_TIMEOUT_MS);
    set_keys(self, of->socket);
    if (type == ZMQ_SUB) {
        int64_t most = EVENT_BYTES_MAX;
        int rc = zmq_setsockopt(of->socket, ZMQ_MAXMSGSIZE, &most, sizeof most);
        assert(rc == 0);
        set_int(of->socket, ZMQ_RCVHWM, EVENTS_HWM);
        set_int(of->socket, ZMQ_HEARTBEAT_IVL, HEARTBEAT_MS);
        set_int(of->socket, ZMQ_HEARTBEAT_TIMEOUT, 3 * HEARTBEAT_MS);
    } else {
        set_int(of->socket, ZMQ_SNDHWM, REQUESTS_HWM);
        set_int(of->socket, ZMQ_RCVHWM, REQUESTS_HWM);
    }
    watch_socket(self, of, type == ZMQ_SUB ? "events" : "requests");
    return zmq_connect(of->socket, url);
}

/* ---- what the cores want ---- */

static void follow_session(client_sockets_t *self, client_session_t *session,
                           char *const *endpoints, uint64_t now_us)
{
    client_link_t link = client_session_link(session);
    if (link.number == self->requests.number) {
        return;
    }
    close_socket(&self->requests);
    self->is_full = false;
    if (link.number &&
        open_socket(self, &self->requests, ZMQ_DEALER, link.number, endpoints[link.endpoint])) {
        char reason[256];
        snprintf(reason, sizeof reason, "%.200s: %s", endpoints[link.endpoint],
                 zmq_strerror(errno));
        client_session_broken(session, link.number, reason, now_us);
    }
}

static void follow_feeds(client_sockets_t *self, client_feeds_t *feeds, uint64_t now_us)
{
    const client_feeds_link_t *link = client_feeds_link(feeds);
    if (link->number != self->events.number) {
        close_socket(&self->events);
        self->events.number = link->number;
        if (link->number && link->url[0] &&
            open_socket(self, &self->events, ZMQ_SUB, link->number, link->url)) {
            client_feeds_broken(feeds, link->number, now_us);
        }
    }
    slice_t topic;
    bool subscribe = false;
    while (client_feeds_topic(feeds, &topic, &subscribe)) {
        if (self->events.socket) {
            int rc =
                zmq_setsockopt(self->events.socket, subscribe ? ZMQ_SUBSCRIBE : ZMQ_UNSUBSCRIBE,
                               topic.data, topic.len);
            assert(rc == 0);
        }
    }
}

static bool takes_more(client_sockets_t *self)
{
    int events = 0;
    size_t size = sizeof events;
    self->is_full = zmq_getsockopt(self->requests.socket, ZMQ_EVENTS, &events, &size) != 0 ||
                    !(events & ZMQ_POLLOUT);
    return !self->is_full;
}

static int send_frames(void *socket, const slice_t *frames, size_t count)
{
    int rc = 0;
    for (size_t i = 0; i < count && rc >= 0; i++) {
        rc = zmq_send(socket, frames[i].data, frames[i].len,
                      ZMQ_DONTWAIT | (i + 1 < count ? ZMQ_SNDMORE : 0));
    }
    return rc;
}

static void send_all(client_sockets_t *self, client_session_t *session, uint64_t now_us)
{
    slice_t frames[NATIVE_FRAMES_MAX];
    size_t count = 0;
    while (self->requests.socket && takes_more(self) &&
           client_session_output(session, now_us, frames, &count)) {
        if (send_frames(self->requests.socket, frames, count) < 0) {
            client_session_broken(session, self->requests.number,
                                  "the connection takes no messages", now_us);
            return;
        }
    }
}

void client_sockets_follow(client_sockets_t *self, client_session_t *session,
                           char *const *endpoints, client_feeds_t *feeds, uint64_t now_us)
{
    follow_session(self, session, endpoints, now_us);
    follow_feeds(self, feeds, now_us);
    send_all(self, session, now_us);
}

void client_sockets_poll(client_sockets_t *self, int wake_fd, uint64_t timeout_us)
{
    void *sockets[] = {self->requests.socket, self->requests.monitor, self->events.socket,
                       self->events.monitor};
    zmq_pollitem_t items[1 + sizeof sockets / sizeof *sockets] = {
        {.fd = wake_fd, .events = ZMQ_POLLIN}};
    int n = 1;
    for (size_t i = 0; i < sizeof sockets / sizeof *sockets; i++) {
        if (sockets[i]) {
            bool waits = i == 0 && self->is_full;
            items[n++] = (zmq_pollitem_t){
                .socket = sockets[i], .events = (short)(ZMQ_POLLIN | (waits ? ZMQ_POLLOUT : 0))};
        }
    }
    uint64_t timeout_ms = (timeout_us + US_PER_MS - 1) / US_PER_MS;
    zmq_poll(items, n, timeout_ms < 60000 ? (long)timeout_ms : 60000);
    if (items[0].revents) {
        uint64_t count = 0;
        ssize_t got = read(wake_fd, &count, sizeof count);
        (void)got; /* nothing there is as good */
    }
}

/* ---- what came ---- */

typedef struct {
    zmq_msg_t parts[NATIVE_FRAMES_MAX];
    slice_t frames[NATIVE_FRAMES_MAX];
    size_t count; /* of those kept; a message may have more, which no message of ours has */
    size_t all;
} received_t;

static bool receive(void *socket, received_t *received)
{
    received->count = 0;
    received->all = 0;
    int more = 1;
    while (more) {
        zmq_msg_t part;
        zmq_msg_init(&part);
        if (zmq_msg_recv(&part, socket, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&part);
            return false; /* a message comes whole or not at all */
        }
        more = zmq_msg_more(&part);
        received->all++;
        if (received->count < NATIVE_FRAMES_MAX) {
            zmq_msg_t *kept = &received->parts[received->count];
            zmq_msg_init(kept);
            zmq_msg_move(kept, &part);
            received->frames[received->count++] = slice(zmq_msg_data(kept), zmq_msg_size(kept));
        }
        zmq_msg_close(&part);
    }
    return true;
}

static void release(received_t *received)
{
    for (size_t i = 0; i < received->count; i++) {
        zmq_msg_close(&received->parts[i]);
    }
}

/* What a monitor says: the number of the event and its value, then the address. */
static const char *reason_of(const received_t *received)
{
    uint16_t event = 0;
    if (received->count > 0 && received->frames[0].len >= sizeof event) {
        memcpy(&event, received->frames[0].data, sizeof event);
    }
    switch (event) {
    case ZMQ_EVENT_DISCONNECTED: return "connection lost";
    case ZMQ_EVENT_CONNECT_RETRIED:
    case ZMQ_EVENT_CLOSED: return "cannot connect";
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH: return "the server refuses this client's key";
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
        return "no agreement on security: one side wants CURVE, the other does not, or the "
               "server's key is another";
    default: return NULL;
    }
}

static void receive_monitors(client_sockets_t *self, client_session_t *session,
                             client_feeds_t *feeds, uint64_t now_us)
{
    received_t received;
    while (self->requests.monitor && receive(self->requests.monitor, &received)) {
        const char *what = reason_of(&received);
        release(&received);
        if (what) {
            char reason[256];
            snprintf(reason, sizeof reason, "%.120s: %s", self->requests.url, what);
            client_session_broken(session, self->requests.number, reason, now_us);
        }
    }
    while (self->events.monitor && receive(self->events.monitor, &received)) {
        const char *what = reason_of(&received);
        release(&received);
        if (what) {
            client_feeds_broken(feeds, self->events.number, now_us);
        }
    }
}

bool client_sockets_receive(client_sockets_t *self, client_session_t *session,
                            client_feeds_t *feeds, uint64_t now_us)
{
    received_t received;
    bool more = false;
    for (int i = 0;
         i < RECEIVE_BURST && self->requests.socket && receive(self->requests.socket, &received);
         i++) {
        client_session_message(session, self->requests.number, received.frames,
                               received.all > received.count ? 0 : received.count, now_us);
        release(&received);
        more = i + 1 == RECEIVE_BURST;
    }
    for (int i = 0;
         i < RECEIVE_BURST && self->events.socket && receive(self->events.socket, &received); i++) {
        client_feeds_message(feeds, self->events.number, received.frames, received.count, now_us);
        release(&received);
        more = more || i + 1 == RECEIVE_BURST;
    }
    /* Last: what had come before the connection broke counts. */
    if (!more) {
        receive_monitors(self, session, feeds, now_us);
    }
    return more;
}
