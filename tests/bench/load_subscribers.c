/* Receivers of fan-out over ZeroMQ: subscribers of the publish socket, each with a connection of its own, like as many
 * SUB sockets. They speak ZMTP 3.1 (https://rfc.zeromq.org/spec/37/) without libzmq, so that thousands of them cost the
 * load generator little. As caches do, each subscribes to its events and to the marks of that subscription; it stands
 * when the first mark has come. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "messages/native_event.h"
#include "messages/xalloc.h"
#include "messages/zmtp.h"
#include "tests/bench/load.h"

enum { READ_BYTES = 65536 };

typedef enum { READS, READS_SLOWLY, NEVER_READS } manner_t;

typedef struct {
    int fd;
    manner_t manner;
    bool is_greeted, stands;
    bool is_mark;   /* the message that is being received */
    uint8_t frames; /* of it, received */
    buf_t rest;     /* of what was read: less than a frame */
} subscriber_t;

typedef struct {
    load_sink_t sink;
    subscriber_t *all;
    size_t count, standing;
    int epoll_fd;
    int64_t slow_turn_ns; /* the next */
    buf_t subscriptions;  /* of each */
    uint8_t *buffer;
} subscribers_t;

/* ---- what is said ---- */

static void add_subscriptions(buf_t *out, const load_options_t *options)
{
    char key[LOAD_KEY_BYTES + 1];
    load_key(key, 0);
    slice_t covered = slice(key, options->watch_prefix ? 6 : LOAD_KEY_BYTES);
    buf_t subscription = {0};
    buf_t marks = {0};
    native_subscription(&subscription, NATIVE_EVENTS, covered, !options->watch_prefix);
    native_mark_topic(&marks, buf_slice(&subscription));
    zmtp_write_command(out, "SUBSCRIBE", buf_slice(&marks));
    zmtp_write_command(out, "SUBSCRIBE", buf_slice(&subscription));
    buf_deinit(&subscription);
    buf_deinit(&marks);
}

static void say(subscribers_t *self, const subscriber_t *one, const buf_t *out)
{
    if (send(one->fd, out->data, out->len, MSG_NOSIGNAL) != (ssize_t)out->len) {
        self->sink.on_error(self->sink.arg, "a subscriber cannot say what it wants");
    }
}

/* ---- what is heard ---- */

/* Subscriptions before the other side's READY would be part of the handshake, which they are not. */
static void on_command(subscribers_t *self, const subscriber_t *one, slice_t body)
{
    slice_t content;
    if (zmtp_is_command(body, "READY", &content)) {
        say(self, one, &self->subscriptions);
    } else if (zmtp_is_command(body, "PING", &content)) {
        buf_t pong = {0};
        zmtp_write_pong(&pong, content);
        say(self, one, &pong);
        buf_deinit(&pong);
    }
}

static void on_stands(subscribers_t *self, subscriber_t *one)
{
    if (!one->stands) {
        one->stands = true;
        self->standing++;
        self->sink.on_created(self->sink.arg);
    }
}

static void on_frame(subscribers_t *self, subscriber_t *one, uint8_t flags, slice_t body)
{
    enum { TOPIC, HEADER, CHANGE }; /* docs/protocol.md */
    slice_t value;
    if (flags & ZMTP_COMMAND) {
        on_command(self, one, body);
        return;
    }
    if (one->frames == TOPIC) {
        one->is_mark = body.len > 0 && body.data[0] == NATIVE_MARKS;
    } else if (one->is_mark) {
        on_stands(self, one);
    } else if (one->frames == CHANGE && one->manner == READS) {
        if (load_event_value(body, &value)) {
            self->sink.on_value(self->sink.arg, value);
        } else {
            self->sink.on_error(self->sink.arg, "an event without its value");
        }
    }
    one->frames = flags & ZMTP_MORE ? one->frames + 1 : 0;
}

/* Returns what is left: a part of a frame. */
static slice_t take(subscribers_t *self, subscriber_t *one, slice_t in)
{
    zmtp_frame_t frame;
    uint8_t minor = 0;
    if (!one->is_greeted) {
        if (zmtp_read_greeting(in, &minor) != 0) {
            return in;
        }
        one->is_greeted = true;
        in = slice(in.data + ZMTP_GREETING_BYTES, in.len - ZMTP_GREETING_BYTES);
    }
    while (zmtp_read_frame(in, LOAD_VALUE_BYTES_MAX, &frame) == 0) {
        on_frame(self, one, frame.flags, frame.body);
        in = slice(in.data + frame.size, in.len - frame.size);
    }
    return in;
}

/* One read. */
static void hear(subscribers_t *self, subscriber_t *one)
{
    ssize_t got = recv(one->fd, self->buffer, READ_BYTES, MSG_DONTWAIT);
    if (got <= 0) {
        if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
            epoll_ctl(self->epoll_fd, EPOLL_CTL_DEL, one->fd, NULL);
            self->sink.on_error(self->sink.arg, "a subscriber's connection has ended");
        }
        return;
    }
    if (one->rest.len == 0) {
        slice_t left = take(self, one, slice(self->buffer, (size_t)got));
        buf_append(&one->rest, left.data, left.len);
        return;
    }
    buf_append(&one->rest, self->buffer, (size_t)got);
    slice_t left = take(self, one, buf_slice(&one->rest));
    memmove(one->rest.data, left.data, left.len);
    one->rest.len = left.len;
}

/* ---- the receivers ---- */

/* Who will be throttled has little room, so that it is the server who notices. */
static int dial(const struct addrinfo *address, bool is_throttled)
{
    enum { LITTLE_BYTES = 4096 };
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    int bytes = LITTLE_BYTES;
    if (is_throttled) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    }
    if (fd < 0 || connect(fd, address->ai_addr, address->ai_addrlen) != 0) {
        load_die("a subscriber cannot connect: %s", strerror(errno));
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static struct addrinfo *resolve(const char *endpoint)
{
    char *host = xstrdup(endpoint);
    char *colon = strrchr(host, ':');
    struct addrinfo *found = NULL;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    if (colon == NULL) {
        load_die("%s is not HOST:PORT", endpoint);
    }
    *colon = 0;
    int rc = getaddrinfo(host, colon + 1, &hints, &found);
    if (rc != 0) {
        load_die("%s: %s", endpoint, gai_strerror(rc));
    }
    free(host);
    return found;
}

static void wait_for(subscribers_t *self, subscriber_t *one, bool waits)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
    if (epoll_ctl(self->epoll_fd, waits ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, one->fd, &event) != 0) {
        load_die("epoll: %s", strerror(errno));
    }
}

static void turn(void *arg);

/* They stop to read when they all stand. */
static void open_throttled(subscribers_t *self, size_t count)
{
    int64_t end_ns = load_now_ns() + LOAD_GRACE_S * INT64_C(1000000000);
    while (self->standing < count && load_now_ns() < end_ns) {
        struct pollfd fd = {.fd = self->epoll_fd, .events = POLLIN};
        poll(&fd, 1, 100);
        turn(self);
    }
    for (size_t i = 0; i < count; i++) {
        wait_for(self, &self->all[i], false);
        self->all[i].manner = i % 2 ? READS_SLOWLY : NEVER_READS;
    }
}

static void *start(const load_options_t *options, const load_sink_t *sink)
{
    subscribers_t *self = xcalloc(1, sizeof *self);
    *self =
        (subscribers_t){.sink = *sink,
                        .all = xcalloc(options->throttled + options->watchers, sizeof *self->all),
                        .epoll_fd = epoll_create1(EPOLL_CLOEXEC),
                        .slow_turn_ns = INT64_MAX,
                        .buffer = xmalloc(READ_BYTES)};
    struct addrinfo *address = resolve(options->subscribe);
    buf_t hello = {0};
    buf_append(&hello, zmtp_greeting().data, ZMTP_GREETING_BYTES);
    zmtp_write_ready(&hello, "SUB");
    add_subscriptions(&self->subscriptions, options);
    while (self->count < options->throttled + options->watchers) {
        subscriber_t *one = &self->all[self->count++];
        one->fd = dial(address, self->count <= options->throttled);
        say(self, one, &hello);
        wait_for(self, one, true);
        if (self->count == options->throttled) {
            open_throttled(self, self->count);
            self->slow_turn_ns = 0;
        }
    }
    buf_deinit(&hello);
    freeaddrinfo(address);
    return self;
}

static int fd(const void *arg)
{
    const subscribers_t *self = arg;
    return self->epoll_fd;
}

static void turn(void *arg)
{
    enum { READY_MAX = 256 };
    subscribers_t *self = arg;
    struct epoll_event ready[READY_MAX];
    int count = epoll_wait(self->epoll_fd, ready, READY_MAX, 0);
    for (int i = 0; i < count; i++) {
        hear(self, ready[i].data.ptr);
    }
    int64_t now_ns = load_now_ns();
    if (now_ns < self->slow_turn_ns) {
        return;
    }
    self->slow_turn_ns = now_ns + LOAD_THROTTLE_MS * INT64_C(1000000);
    for (size_t i = 0; i < self->count; i++) {
        if (self->all[i].manner == READS_SLOWLY) {
            hear(self, &self->all[i]);
        }
    }
}

static void end(void *arg)
{
    subscribers_t *self = arg;
    for (size_t i = 0; i < self->count; i++) {
        close(self->all[i].fd);
        buf_deinit(&self->all[i].rest);
    }
    close(self->epoll_fd);
    buf_deinit(&self->subscriptions);
    free(self->all);
    free(self->buffer);
    free(self);
}

const load_receivers_ops_t load_subscribers = {.start = start, .fd = fd, .turn = turn, .end = end};
