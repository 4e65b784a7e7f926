/* grpc_dial: connects a socket to an endpoint without blocking (but for the look-up of its name).
 * Touches sockets. Embedded in its owner; internal to client/. */
#pragma once

#include <netdb.h>

#include "client/grpc_endpoint.h"

typedef struct grpc_dial {
    int fd; /* -1: none */
    struct addrinfo *addresses;
    struct addrinfo *next; /* to be tried when this one fails */
} grpc_dial_t;

enum grpc_dial_outcome {
    GRPC_DIAL_PENDING = 1, /* wait until fd is writable, then grpc_dial_continue */
    GRPC_DIAL_FAILED = 2,  /* *reason_p is a static text */
};

void grpc_dial_init(grpc_dial_t *self);
/* 0: fd is connected. Otherwise one of enum grpc_dial_outcome. */
int grpc_dial_start(grpc_dial_t *self, const grpc_endpoint_t *endpoint, const char **reason_p)
    __attribute__((warn_unused_result));
int grpc_dial_continue(grpc_dial_t *self, const char **reason_p)
    __attribute__((warn_unused_result));
/* Closes the socket. Ready for the next grpc_dial_start. */
void grpc_dial_close(grpc_dial_t *self);
