/* grpc_connection: the connection to one endpoint. It is dialled when it is wanted, kept alive while
 * calls are on it and left when the server says so. Touches sockets and the clock.
 * Embedded in grpc_client, whose thread it belongs to; internal to client/. */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/grpc_dial_shell.h"
#include "client/grpc_endpoint.h"
#include "client/grpc_session.h"

typedef struct grpc_connection grpc_connection_t;

typedef struct grpc_connection_cfg {
    int64_t dial_timeout_ms;
    int64_t keepalive_time_ms; /* 0: never */
    int64_t keepalive_timeout_ms;
    /* The connection is gone, and its session with all calls on it. */
    void (*on_lost)(void *arg, grpc_connection_t *connection, const char *reason);
    void *arg;
} grpc_connection_cfg_t;

typedef enum grpc_connection_state {
    GRPC_DISCONNECTED, /* nothing to do, or waiting for retry_at_ms */
    GRPC_CONNECTING,   /* the socket's connect is under way */
    GRPC_HANDSHAKE,    /* connected; the server's SETTINGS are missing */
    GRPC_CONNECTED,
} grpc_connection_state_t;

#define GRPC_REASON_BYTES 160

struct grpc_connection {
    const grpc_connection_cfg_t *cfg;
    grpc_endpoint_t endpoint;
    grpc_connection_state_t state;
    grpc_dial_t dial; /* and the socket */
    int64_t dial_deadline_ms;
    int64_t retry_at_ms;
    size_t failures; /* attempts that failed in a row */
    grpc_session_t *session;
    grpc_buffer_t out;
    int64_t heard_at_ms;
    bool pinged;
    char broken[GRPC_REASON_BYTES]; /* not empty: writing failed, the next tick gives it up */
};

/* The endpoint is taken. `cfg` must outlive the connection. */
void grpc_connection_init(grpc_connection_t *self, const grpc_connection_cfg_t *cfg,
                          grpc_endpoint_t *endpoint);
/* Without on_lost. */
void grpc_connection_deinit(grpc_connection_t *self);

/* New calls may be submitted to its session. */
bool grpc_connection_usable(const grpc_connection_t *self);

/* Writes what there is, and says what to wait for; the fd is -1 without a socket. */
struct pollfd grpc_connection_pollfd(grpc_connection_t *self);
/* What poll has found. */
void grpc_connection_process(grpc_connection_t *self, short revents);
/* What time brings: timeouts, pings and, when a connection is wanted, the next attempt to get it. */
void grpc_connection_tick(grpc_connection_t *self, int64_t now_ms, bool wanted);
/* When grpc_connection_tick has something to do; INT64_MAX: never, as things are. */
int64_t grpc_connection_due_ms(const grpc_connection_t *self, bool wanted);
void grpc_connection_flush(grpc_connection_t *self);

int64_t grpc_now_ms(void);
