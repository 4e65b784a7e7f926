#include "actors/zmq_gateway/subscribers_shell.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "messages/xalloc.h"

enum { HEARTBEAT_US = 5000000, SILENCE_US = 15000000, ACCEPT_PAUSE_US = 100000 };

/* First in what epoll gives back. */
typedef enum { SOURCE_LISTENER, SOURCE_CONNECTION } source_t;

typedef struct listener listener_t;
struct listener {
    source_t source;
    int fd;
    listener_t *next;
};

typedef struct {
    source_t source;
    int fd;
    bool waits_for_room;
    subscriber_t *subscriber;
    size_t index;
} connection_t;

struct subscribers_shell {
    subscribers_t *core;
    metrics_t *metrics;
    handshakes_t *handshakes;
    listener_t *listeners;
    int epoll;
    uint64_t accept_again_us; /* DEADLINE_NONE = accepting; else out of descriptors until then */
    connection_t **all;
    size_t count, capacity, count_max;
    uint8_t buffer[LIMIT_READ_BYTES];
};

/* Half of the descriptors are for everybody else. */
static size_t connections_max(void)
{
    struct rlimit limit = {.rlim_cur = 1024};
    getrlimit(RLIMIT_NOFILE, &limit);
    rlim_t half = limit.rlim_cur / 2;
    return half < LIMIT_NATIVE_SUBSCRIBERS ? (size_t)half : LIMIT_NATIVE_SUBSCRIBERS;
}

subscribers_shell_t *subscribers_shell_new(const subscribers_sink_t *sink, metrics_t *metrics,
                                           handshakes_t *handshakes)
{
    subscribers_shell_t *self = xcalloc(1, sizeof *self);
    subscribers_cfg_t cfg = {.topics_max = LIMIT_NATIVE_TOPICS,
                             .topic_bytes_max = LIMIT_NATIVE_SUBSCRIBED_BYTES,
                             .seats_max = LIMIT_NATIVE_SUBSCRIPTIONS,
                             .queue_max = LIMIT_NATIVE_PUBLISH_QUEUE,
                             .queued_max = LIMIT_NATIVE_QUEUED,
                             .backlog_max = LIMIT_NATIVE_BACKLOG,
                             .backlog_bytes_max = LIMIT_NATIVE_BACKLOG_BYTES,
                             .heartbeat_us = HEARTBEAT_US,
                             .silence_us = SILENCE_US};
    self->core = subscribers_new(&cfg, sink, metrics);
    self->metrics = metrics;
    self->handshakes = handshakes;
    self->accept_again_us = DEADLINE_NONE;
    self->count_max = connections_max();
    self->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (self->epoll < 0) {
        abort(); /* no descriptors at start: as good as no memory */
    }
    return self;
}

static void watch(const subscribers_shell_t *self, int operation, int fd, uint32_t events,
                  void *source)
{
    struct epoll_event event = {.events = events, .data.ptr = source};
    if (epoll_ctl(self->epoll, operation, fd, &event) < 0) {
        abort(); /* only without kernel memory, or by our own mistake */
    }
}

void subscribers_shell_listen(subscribers_shell_t *self, int fd)
{
    listener_t *listener = xcalloc(1, sizeof *listener);
    *listener = (listener_t){.source = SOURCE_LISTENER, .fd = fd, .next = self->listeners};
    self->listeners = listener;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    watch(self, EPOLL_CTL_ADD, fd, EPOLLIN, listener);
}

/* ---- connections ---- */

static void pause_accepting(subscribers_shell_t *self, uint64_t until_us)
{
    self->accept_again_us = until_us;
    for (listener_t *listener = self->listeners; listener; listener = listener->next) {
        watch(self, EPOLL_CTL_MOD, listener->fd, until_us == DEADLINE_NONE ? EPOLLIN : 0, listener);
    }
}

/* Of what is on its way to one subscriber the kernel keeps a bounded part: by itself it would be megabytes. */
static void set_up(int fd)
{
    int on = 1;
    int bytes = LIMIT_NATIVE_SEND_BUFFER_BYTES;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* fails on unix sockets: no matter */
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

static void refuse(subscribers_shell_t *self, int fd)
{
    metrics_add(self->metrics, METRIC_NATIVE_SUBSCRIBERS_REFUSED, 1);
    close(fd);
}

static void adopt(subscribers_shell_t *self, int fd, uint64_t now_us)
{
    connection_t *one = xcalloc(1, sizeof *one);
    *one = (connection_t){.source = SOURCE_CONNECTION, .fd = fd, .index = self->count};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
    if (epoll_ctl(self->epoll, EPOLL_CTL_ADD, fd, &event) <
        0) { /* the user's limit of watched descriptors */
        free(one);
        refuse(self, fd);
        return;
    }
    one->subscriber = subscribers_add(self->core, one, now_us);
    self->all = xgrow(self->all, &self->capacity, self->count + 1, sizeof *self->all);
    self->all[self->count++] = one;
    set_up(fd);
}

static void drop(subscribers_shell_t *self, connection_t *one)
{
    subscribers_remove(self->core, &one->subscriber);
    close(one->fd);
    self->all[one->index] = self->all[--self->count];
    self->all[one->index]->index = one->index;
    free(one);
}

static void accept_some(subscribers_shell_t *self, const listener_t *listener, uint64_t now_us)
{
    for (int i = 0; i < LIMIT_ACCEPT_BURST; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                pause_accepting(self, now_us + ACCEPT_PAUSE_US);
            }
            return;
        }
        if (self->count >= self->count_max) {
            refuse(self, fd);
        } else {
            adopt(self, fd, now_us);
        }
    }
}

/* ---- writing ---- */

static void wait_for_room(subscribers_shell_t *self, connection_t *one, bool waits)
{
    if (one->waits_for_room != waits) {
        one->waits_for_room = waits;
        watch(self, EPOLL_CTL_MOD, one->fd, waits ? EPOLLIN | EPOLLOUT : EPOLLIN, one);
    }
}

/* False = the connection is no more. */
static bool write_to(subscribers_shell_t *self, connection_t *one)
{
    slice_t parts[SUBSCRIBER_PARTS_MAX];
    struct iovec vectors[SUBSCRIBER_PARTS_MAX];
    size_t count = subscribers_output(self->core, one->subscriber, parts);
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        vectors[i].iov_base = (void *)(uintptr_t)parts[i].data; /* it is only read */
        vectors[i].iov_len = parts[i].len;
        bytes += parts[i].len;
    }
    struct msghdr message = {.msg_iov = vectors, .msg_iovlen = count};
    ssize_t sent = bytes ? sendmsg(one->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        return false;
    }
    size_t taken = sent > 0 ? (size_t)sent : 0;
    wait_for_room(self, one, taken < bytes);
    subscribers_sent(self->core, one->subscriber, taken, taken < bytes);
    return true;
}

/* ---- receiving ---- */

/* Who it is that has come with another mechanism. */
static void note_curve(subscribers_shell_t *self, int fd, uint64_t now_us)
{
    char address[INET6_ADDRSTRLEN] = "";
    struct sockaddr_storage peer = {0};
    socklen_t size = sizeof peer;
    if (getpeername(fd, (struct sockaddr *)&peer, &size) == 0) {
        getnameinfo((struct sockaddr *)&peer, size, address, sizeof address, NULL, 0,
                    NI_NUMERICHOST);
    }
    handshakes_note_mismatch(self->handshakes, address, now_us);
}

static void read_from(subscribers_shell_t *self, connection_t *one, uint64_t now_us)
{
    ssize_t got = recv(one->fd, self->buffer, sizeof self->buffer, MSG_DONTWAIT);
    if (got <= 0) {
        if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
            drop(self, one);
        }
        return;
    }
    slice_t bytes = slice(self->buffer, (size_t)got);
    switch (subscribers_input(self->core, one->subscriber, bytes, now_us)) {
    case SUBSCRIBER_FINE: return;
    case SUBSCRIBER_HAS_CURVE:
        note_curve(self, one->fd, now_us);
        (void)write_to(self, one); /* our greeting tells it why */
        break;
    case SUBSCRIBER_BROKEN: metrics_add(self->metrics, METRIC_NATIVE_SUBSCRIBERS_REFUSED, 1); break;
    }
    drop(self, one);
}

static void on_connection(subscribers_shell_t *self, connection_t *one, uint32_t events,
                          uint64_t now_us)
{
    if (events & (EPOLLERR | EPOLLHUP)) { /* both ways: nobody is there any more */
        drop(self, one);
        return;
    }
    if (events & EPOLLOUT) {
        wait_for_room(self, one, false);
        subscribers_writable(self->core, one->subscriber);
    }
    if (events & EPOLLIN) {
        read_from(self, one, now_us);
    }
}

void subscribers_shell_receive(subscribers_shell_t *self, uint64_t now_us)
{
    struct epoll_event events[LIMIT_EPOLL_EVENTS];
    int count = epoll_wait(self->epoll, events, LIMIT_EPOLL_EVENTS, 0);
    for (int i = 0; i < count; i++) {
        void *source = events[i].data.ptr;
        if (*(const source_t *)source == SOURCE_LISTENER) {
            accept_some(self, source, now_us);
        } else {
            on_connection(self, source, events[i].events, now_us);
        }
    }
    if (self->accept_again_us <= now_us) {
        pause_accepting(self, DEADLINE_NONE);
    }
    subscriber_t *gone = NULL;
    while ((gone = subscribers_turn(self->core, now_us))) {
        drop(self, subscriber_owner(gone));
    }
}

/* ---- sending ---- */

void subscribers_shell_publish(subscribers_shell_t *self, const slice_t *frames, size_t count)
{
    subscribers_publish(self->core, frames, count);
}

bool subscribers_shell_send(subscribers_shell_t *self)
{
    subscriber_t *next = NULL;
    for (int i = 0; i < LIMIT_NATIVE_SENDS && (next = subscribers_next(self->core)); i++) {
        connection_t *one = subscriber_owner(next);
        if (!write_to(self, one)) {
            drop(self, one);
        }
    }
    return subscribers_pending(self->core);
}

/* ---- for the loop ---- */

int subscribers_shell_fd(const subscribers_shell_t *self)
{
    return self->epoll;
}

uint64_t subscribers_shell_deadline(const subscribers_shell_t *self)
{
    uint64_t due_us = subscribers_deadline(self->core);
    return self->accept_again_us < due_us ? self->accept_again_us : due_us;
}

void subscribers_shell_destroy(subscribers_shell_t **self_p)
{
    subscribers_shell_t *self = *self_p;
    *self_p = NULL;
    if (!self) {
        return;
    }
    while (self->count > 0) {
        write_to(self, self->all[0]);
        drop(self, self->all[0]);
    }
    while (self->listeners) {
        listener_t *listener = self->listeners;
        self->listeners = listener->next;
        close(listener->fd);
        free(listener);
    }
    subscribers_destroy(&self->core);
    close(self->epoll);
    free(self->all);
    free(self);
}
