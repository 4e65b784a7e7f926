/* grpc_endpoint: where a server is, from what a user writes. Pure. */
#pragma once

#include <stdbool.h>

typedef struct grpc_endpoint {
    bool unix_socket;
    char *path;      /* of the unix socket, else NULL */
    char *host;      /* name or address without brackets, else NULL */
    char *port;      /* decimal, else NULL */
    char *authority; /* what :authority says */
} grpc_endpoint_t;

enum grpc_endpoint_outcome {
    GRPC_ENDPOINT_TLS = 1,     /* https:// or unixs://: there is no TLS yet */
    GRPC_ENDPOINT_INVALID = 2, /* no port, an unknown scheme, … */
};
/* HOST:PORT, http://HOST:PORT, unix:PATH, unix://PATH. 0: `self` is filled and owned by the caller. */
int grpc_endpoint_parse(const char *text, grpc_endpoint_t *self)
    __attribute__((warn_unused_result));
void grpc_endpoint_deinit(grpc_endpoint_t *self);
