/* gateway: the gRPC gateway's own loop: listening sockets, client sockets, the actor's mailbox.
 * Touches sockets and the clock; everything that is said is said by connections (conn.h).
 *
 * One turn: read every ready socket into its connection, step the actor core (which sends what the
 * connections have brought and answers what has come), write every connection that has something
 * to say once. Owned by the gateway actor's thread from gateway_loop on. */
#pragma once

#include "actors/grpc_gateway/conn.h"
#include "actors/runtime/shell.h"

typedef struct gateway gateway_t;

typedef struct {
    const char *host; /* an IP address or localhost; "" = all addresses; unix: the socket's path */
    const char *port; /* digits; unix: not used */
    bool is_unix, reuse_port;
} gateway_address_t;

/* A listening socket, or -1 with the reason in *error, yours. A socket file that nobody listens on
 * any more is replaced. */
int gateway_listen(const gateway_address_t *address, char **error)
    __attribute__((warn_unused_result));

typedef struct {
    conn_env_t env; /* as for connections; borrowed things must outlive the gateway */
    /* Makes a connection for everything that is not HTTP/2; NULL = such clients are disconnected. */
    conn_t *(*http1_new)(const conn_env_t *env, const http_pages_t *pages, uint64_t now_us);
    const http_pages_t *pages;
    size_t connections_max; /* at most LIMIT_CONNECTIONS, well below RLIMIT_NOFILE */
    /* Told once, on the gateway's thread, when clients are served; or NULL. */
    void (*on_serving)(void *context);
    void *serving_context;
} gateway_cfg_t;

gateway_t *gateway_new(const gateway_cfg_t *cfg);
/* Takes the socket. Before the actor starts. */
void gateway_add_listener(gateway_t *self, int fd);
/* For runtime_cfg_t: .loop, with the gateway as .loop_context. At its end every connection is closed. */
void gateway_loop(runtime_t *runtime, void *gateway);
/* After the loop has ended. Nulls the pointer. */
void gateway_destroy(gateway_t **self_p);
