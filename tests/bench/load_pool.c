/* Connections and latencies. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "messages/xalloc.h"
#include "tests/bench/load.h"

#define ANSWER_BYTES_MAX (64U << 20)

void load_pool_init(load_pool_t *self, const char *endpoint, size_t connections)
{
    self->clients = xcalloc(connections, sizeof *self->clients);
    self->fds = xcalloc(connections, sizeof *self->fds);
    self->clients_n = connections;
    self->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < connections; i++) {
        char *error = NULL;
        self->clients[i] = grpc_client_new(&(grpc_client_cfg_t){.endpoints = &endpoint,
                                                                .endpoints_n = 1,
                                                                .dial_timeout_ms = 5000,
                                                                .recv_bytes_max = ANSWER_BYTES_MAX,
                                                                .send_bytes_max = ANSWER_BYTES_MAX},
                                           &error);
        if (self->clients[i] == NULL) {
            load_die("%s", error);
        }
        self->fds[i].fd = -1;
    }
}

void load_pool_deinit(load_pool_t *self)
{
    for (size_t i = 0; i < self->clients_n; i++) {
        grpc_client_destroy(&self->clients[i]);
    }
    close(self->epoll_fd);
    free(self->clients);
    free(self->fds);
    *self = (load_pool_t){0};
}

/* epoll learns what the client wants now. A descriptor that was closed has left it by itself. */
static void follow(load_pool_t *self, size_t i)
{
    struct pollfd wanted;
    struct pollfd *known = &self->fds[i];
    grpc_client_pollfds(self->clients[i], &wanted); /* each has one endpoint */
    if (wanted.fd == known->fd && wanted.events == known->events) {
        return;
    }
    struct epoll_event event = {.events = (uint32_t)wanted.events, .data.u64 = i};
    if (wanted.fd >= 0 && epoll_ctl(self->epoll_fd, EPOLL_CTL_MOD, wanted.fd, &event) != 0 &&
        (errno != ENOENT || epoll_ctl(self->epoll_fd, EPOLL_CTL_ADD, wanted.fd, &event) != 0)) {
        load_die("epoll: %s", strerror(errno));
    }
    *known = wanted;
}

void load_pool_run(load_pool_t *self, int timeout_ms)
{
    enum { READY_MAX = 256 };
    struct epoll_event ready[READY_MAX];
    for (size_t i = 0; i < self->clients_n; i++) {
        int wait = grpc_client_wait_ms(self->clients[i]);
        if (wait == 0) {
            grpc_client_process(self->clients[i], NULL);
        } else if (wait > 0 && wait < timeout_ms) {
            timeout_ms = wait;
        }
        follow(self, i);
    }
    int count = epoll_wait(self->epoll_fd, ready, READY_MAX, timeout_ms);
    for (int k = 0; k < count; k++) {
        size_t i = ready[k].data.u64;
        struct pollfd fd = self->fds[i];
        fd.revents = (short)ready[k].events;
        grpc_client_process(self->clients[i], &fd);
        follow(self, i);
    }
}

/* Values below 128 have a bucket each; above, 64 buckets for each power of two. */
static size_t bucket_of(uint64_t ns)
{
    if (ns < 128) {
        return ns;
    }
    unsigned shift = 57U - (unsigned)__builtin_clzll(ns);
    return (size_t)shift * 64 + (ns >> shift);
}

static uint64_t bucket_top(size_t bucket)
{
    if (bucket < 128) {
        return bucket;
    }
    size_t shift = bucket / 64 - 1;
    return ((bucket % 64 + 65) << shift) - 1;
}

void load_histogram_add(load_histogram_t *self, int64_t ns)
{
    size_t bucket = bucket_of(ns > 0 ? (uint64_t)ns : 0);
    self->counts[bucket < LOAD_HISTOGRAM_BUCKETS ? bucket : LOAD_HISTOGRAM_BUCKETS - 1]++;
    self->n++;
    if (ns > self->max_ns) {
        self->max_ns = ns;
    }
}

double load_histogram_us(const load_histogram_t *self, double part)
{
    uint64_t rank = (uint64_t)((double)self->n * part);
    uint64_t seen = 0;
    for (size_t i = 0; i < LOAD_HISTOGRAM_BUCKETS; i++) {
        seen += self->counts[i];
        if (seen > rank) {
            double top = (double)bucket_top(i);
            return (top < (double)self->max_ns ? top : (double)self->max_ns) / 1e3;
        }
    }
    return (double)self->max_ns / 1e3;
}
