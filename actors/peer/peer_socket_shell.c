#include "actors/peer/peer_socket_shell.h"

#include <assert.h>

#include "messages/limits.h"

enum {
    HANDSHAKE_MS = 5000, /* whoever connects and says nothing */
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
    int64_t bytes_max = LIMIT_PEER_FRAME_BYTES;
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
    size_t others = threads > 1 ? (size_t)threads - 1 : 0;
    size_t thread = others && place ? 1 + (place - 1) % others : 0;
    uint64_t mask = 1ull << thread;
    int rc = zmq_setsockopt(zsock_resolve(socket), ZMQ_AFFINITY, &mask, sizeof mask);
    assert(rc == 0);
    (void)rc;
}
