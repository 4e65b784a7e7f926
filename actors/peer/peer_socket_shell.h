/* peer_socket: what the sockets between members have in common. Touches ZeroMQ; a socket belongs to one thread. */
#pragma once

#include <czmq.h>

#include "actors/curve/curve_shell.h"

/* NULL: out of descriptors. */
zsock_t *peer_socket_new(int type);
/* A name that cannot be resolved blocks the I/O thread that tries, and CURVE keeps it busy. So place 0 is for
 * what comes in and what goes out plainly to addresses (each thread on the way has to be woken); it shares
 * none with the others, nor does, as long as there are enough, one place from 1 on with another. Before
 * the socket is bound or connected. */
void peer_socket_place(zsock_t *socket, size_t place);

/* For what comes in. Aborts when there are no descriptors: as good as no memory. `curve`: NULL = without CURVE. */
zsock_t *peer_socket_router(const curve_domain_t *curve);
/* Takes a listening stream socket, of which `url` says what family it is. NULL, or why not, yours. */
char *peer_socket_bind(zsock_t *router, const char *url, int fd)
    __attribute__((warn_unused_result));
/* For what goes to another member, by the thread of `place`; not connected yet. NULL: out of descriptors. */
zsock_t *peer_socket_dealer(size_t place, bool is_ipv6);
