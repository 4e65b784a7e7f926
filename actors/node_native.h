/* node_native: puts the native gateway together: its core, its sockets, where they listen. Touches sockets; used by
 * node.c before the actors start. */
#pragma once

#include "actors/daemon/log_shell.h"
#include "actors/daemon/options.h"
#include "actors/zmq_gateway/zmq_gateway_shell.h"

/* A listening socket for the URL. NULL, or why not, yours. */
char *node_listen(const url_t *url, bool reuse_port, int *fd_p) __attribute__((warn_unused_result));

typedef struct {
    const options_t *options;
    curve_domain_t *curve; /* NULL = without CURVE */
    log_t *log;
    void (*log_actor)(void *log, log_level_t level, actor_id_t actor, const char *text,
                      const char *fields);
    const api_cfg_t *api; /* of the other gateway; origin and whether it publishes are set anew */
    uint64_t origin;
    metrics_t *metrics;
} node_native_cfg_t;

typedef struct {
    zmq_gateway_t *core; /* the runtime's */
    zmq_gateway_shell_t *shell;
    const rpc_metrics_t *rpc;
} node_native_t;

/* Listens where the options say; a derived address that is taken is only a warning. NULL, or why the node cannot
 * start, yours; *out is set in any case. */
char *node_native_new(const node_native_cfg_t *cfg, node_native_t *out)
    __attribute__((warn_unused_result));
