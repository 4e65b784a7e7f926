/* zmq_gateway_shell: the native gateway's sockets and its loop: a ROUTER for requests, an XPUB for events, the actor's
 * mailbox. Touches sockets and the clock; what is said is the core's business.
 *
 * One turn: messages of both sockets go to the core, the core is stepped, what it has to say is sent. Owned by main
 * until the actor starts, then by the actor's thread, then by main again. */
#pragma once

#include "actors/curve/curve_shell.h"
#include "actors/runtime/shell.h"
#include "actors/zmq_gateway/zmq_gateway.h"

typedef struct zmq_gateway_shell zmq_gateway_shell_t;

typedef struct {
    size_t
        message_bytes_max; /* of one body; what is larger by more than a little closes the connection */
    metrics_t *metrics;
    curve_domain_t *curve; /* NULL = without CURVE */
    bool is_talkative;     /* without CURVE: says who comes with it, which takes memory */
    void (*log)(void *context, log_level_t level, actor_id_t actor, const char *text,
                const char *fields);
    void *log_context;
} zmq_gateway_shell_cfg_t;

zmq_gateway_shell_t *zmq_gateway_shell_new(const zmq_gateway_shell_cfg_t *cfg);
/* Where the core's publications go. Nothing is sent while there is no publish socket. */
publisher_sink_t zmq_gateway_shell_sink(zmq_gateway_shell_t *self);
/* Borrowed; before anything is listened on. */
void zmq_gateway_shell_attach(zmq_gateway_shell_t *self, zmq_gateway_t *core);
/* Each takes a listening stream socket: a socket file, or TCP. Before the actor starts. NULL, or why not, yours. */
char *zmq_gateway_shell_requests(zmq_gateway_shell_t *self, int fd, bool is_unix)
    __attribute__((warn_unused_result));
char *zmq_gateway_shell_events(zmq_gateway_shell_t *self, int fd, bool is_unix)
    __attribute__((warn_unused_result));
/* For runtime_cfg_t: .loop with the shell as .loop_context. */
void zmq_gateway_shell_loop(runtime_t *runtime, void *shell);
/* After the loop has ended. Nulls the pointer; accepts NULL. */
void zmq_gateway_shell_destroy(zmq_gateway_shell_t **self_p);
