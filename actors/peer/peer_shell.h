/* peer_shell: the peer actor's sockets and its loop: one ROUTER for what comes in, per other member one DEALER for
 * consensus and one for bulk. Touches sockets and the clock; what is said and to whom is the core's
 * business (peer.h).
 *
 * Owned by main until the actor starts, then by the actor's thread, then by main again. */
#pragma once

#include "actors/curve/curve_shell.h"
#include "actors/peer/peer_metrics.h"
#include "actors/runtime/shell.h"

typedef struct peer_shell peer_shell_t;

typedef struct {
    metrics_t *metrics; /* the peer actor's; counted on its thread only, as in the core */
    peer_metrics_t *by_member;
    bool names_are_ipv6;   /* endpoint_names_are_ipv6 */
    curve_domain_t *curve; /* NULL = without CURVE */
    void (*log)(void *context, log_level_t level, actor_id_t actor, const char *text,
                const char *fields);
    void *log_context;
} peer_shell_cfg_t;

peer_shell_t *peer_shell_new(const peer_shell_cfg_t *cfg);
/* Takes a listening stream socket, of which `url` says what family it is. Before the actor starts. NULL, or
 * why not, yours. */
char *peer_shell_listen(peer_shell_t *self, const char *url, int fd)
    __attribute__((warn_unused_result));
/* For runtime_cfg_t: .network with the shell as .port_context, .loop with the shell as .loop_context. */
void peer_shell_network(void *shell, msg_t **msg_p);
void peer_shell_loop(runtime_t *runtime, void *shell);
/* After the loop has ended. Nulls the pointer; accepts NULL. */
void peer_shell_destroy(peer_shell_t **self_p);
