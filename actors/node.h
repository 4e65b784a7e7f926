/* node: one member put together: data directory, log, store, all actors wired and started by stage.
 * Owned by main. Everything that can be wrong with the environment is found out here, before the
 * first request, and said with a clear text. */
#pragma once

#include "actors/daemon/log_shell.h"
#include "actors/daemon/options.h"

typedef struct node node_t;

/* Opens everything and starts serving. NULL = *node_p runs; else why not, yours. `log` must outlive
 * the node. */
char *node_start(const options_t *options, log_t *log, node_t **node_p)
    __attribute__((warn_unused_result));
/* Stops taking requests, answers those in flight, stops all actors in reverse order of their start,
 * closes log and store. Nulls the pointer. */
void node_stop(node_t **node_p);
