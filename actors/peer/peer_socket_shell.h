/* peer_socket: what the sockets between members have in common. Touches ZeroMQ; a socket belongs to one thread. */
#pragma once

#include <czmq.h>

/* NULL: out of descriptors. */
zsock_t *peer_socket_new(int type);
/* A name that cannot be resolved blocks the I/O thread that tries. So place 0, for what comes in, shares none
 * with what goes out, nor does, as long as there are enough, one place from 1 on with another. Before the
 * socket is bound or connected. */
void peer_socket_place(zsock_t *socket, size_t place);
