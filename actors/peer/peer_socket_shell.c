#include "actors/peer/peer_socket_shell.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "actors/peer/endpoint.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

enum {
    HANDSHAKE_MS = 5000, /* whoever connects and says nothing */
    RECONNECT_MS = 50,   /* and twice that, and so on, up to: */
    RECONNECT_MAX_MS = 1000,
    CONNECT_MS = 2000,    /* the kernel's own attempts get minutes apart */
    UNANSWERED_MS = 5000, /* bytes without an acknowledgement of TCP's */
    KEEPALIVE_IDLE_S = 10,
    KEEPALIVE_INTERVAL_S = 5,
    KEEPALIVE_PROBES = 3
};

zsock_t *peer_socket_new(int type)
{
    zsock_t *socket = zsock_new(type);
    if (!socket) {
        return NULL;
    }
    int64_t bytes_max = LIMIT_PEER_FRAME_BYTES + LIMIT_CURVE_OVERHEAD_BYTES;
    int rc = zmq_setsockopt(zsock_resolve(socket), ZMQ_MAXMSGSIZE, &bytes_max, sizeof bytes_max);
    assert(rc == 0);
    (void)rc;
    zsock_set_linger(socket, 0);
    zsock_set_sndhwm(socket, LIMIT_PEER_QUEUE);
    zsock_set_rcvhwm(socket, LIMIT_PEER_QUEUE);
    zsock_set_handshake_ivl(socket, HANDSHAKE_MS);
    zsock_set_tcp_keepalive(socket, 1);
    zsock_set_tcp_keepalive_idle(socket, KEEPALIVE_IDLE_S);
    zsock_set_tcp_keepalive_intvl(socket, KEEPALIVE_INTERVAL_S);
    zsock_set_tcp_keepalive_cnt(socket, KEEPALIVE_PROBES);
    return socket;
}

void peer_socket_place(zsock_t *socket, size_t place)
{
    int threads = zmq_ctx_get(zsys_init(), ZMQ_IO_THREADS);
    threads = threads < LIMIT_PEER_IO_THREADS ? threads : LIMIT_PEER_IO_THREADS;
    size_t others = threads > 1 ? (size_t)threads - 1 : 0;
    size_t thread = others && place ? 1 + (place - 1) % others : 0;
    uint64_t mask = 1ull << thread;
    int rc = zmq_setsockopt(zsock_resolve(socket), ZMQ_AFFINITY, &mask, sizeof mask);
    assert(rc == 0);
    (void)rc;
}

static void set_int(zsock_t *socket, int option, int value)
{
    int rc = zmq_setsockopt(zsock_resolve(socket), option, &value, sizeof value);
    assert(rc == 0);
    (void)rc;
}

zsock_t *peer_socket_router(const curve_domain_t *curve)
{
    zsock_t *router = peer_socket_new(ZMQ_ROUTER);
    if (!router) {
        abort();
    }
    peer_socket_place(router, 0);
    if (curve) {
        curve_serve(curve, router);
    }
    return router;
}

char *peer_socket_bind(zsock_t *router, const char *url, int fd)
{
    /* The socket is bound already, the address only says of what kind it is. */
    bool is_unix = strncmp(url, "unix", 4) == 0;
    char *endpoint = is_unix ? endpoint_of(url) : xstrdup("tcp://127.0.0.1:1");
    if (!endpoint) {
        close(fd);
        return xasprintf("cannot listen on %s", url);
    }
    set_int(router, ZMQ_USE_FD, fd);
    char *error = zmq_bind(zsock_resolve(router), endpoint) == 0
                      ? NULL
                      : xasprintf("cannot listen on %s: %s", url, zmq_strerror(zmq_errno()));
    set_int(router, ZMQ_USE_FD, -1);
    free(endpoint);
    return error;
}

zsock_t *peer_socket_dealer(size_t place, bool is_ipv6)
{
    zsock_t *socket = peer_socket_new(ZMQ_DEALER);
    if (!socket) {
        return NULL;
    }
    peer_socket_place(socket, place);
    set_int(socket, ZMQ_IMMEDIATE, 1); /* nothing is queued for a connection that is not there */
    set_int(socket, ZMQ_RECONNECT_IVL, RECONNECT_MS);
    set_int(socket, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS);
    set_int(socket, ZMQ_CONNECT_TIMEOUT, CONNECT_MS);
    set_int(socket, ZMQ_TCP_MAXRT, UNANSWERED_MS);
    set_int(socket, ZMQ_IPV6, is_ipv6);
    return socket;
}
