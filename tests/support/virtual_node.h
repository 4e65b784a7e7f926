/* virtual_node: a whole member in one thread on virtual time: the product's cores, wired by the
 * product's table, on a disk and a store in memory. Deterministic: messages are delivered first in,
 * first out, and every delivery can be traced. Dies and comes back like a process. */
#pragma once

#include "actors/api/api.h"
#include "actors/zmq_gateway/zmq_gateway.h"
#include "tests/support/fault_io.h"

typedef struct virtual_node virtual_node_t;

typedef struct {
    void *context;
    /* One line per message between actors, line of the log (LOG) or error that ends the node (STOPS), without
     * newline. */
    void (*trace)(void *context, const char *line);
    /* What a client gets: an answer's bytes, or the end of its call. */
    void (*answer)(void *context, uint64_t call, slice_t message);
    void (*end)(void *context, uint64_t call, grpc_code_t code, const char *text);
    /* What the native gateway publishes; or NULL. */
    void (*publication)(void *context, const slice_t *frames, size_t count);
} virtual_node_hooks_t;

/* A new member with an empty disk, not running. */
virtual_node_t *virtual_node_new(const virtual_node_hooks_t *hooks, uint64_t seed);
void virtual_node_destroy(virtual_node_t **self_p);
/* Recovers log and store and runs until nothing is left to do. Asserts that it is down. */
void virtual_node_start(virtual_node_t *self);
/* The process is gone, now; the disk keeps what `how` says, the store some prefix that `pick` chooses. */
void virtual_node_crash(virtual_node_t *self, crash_t how, uint64_t pick);
bool virtual_node_is_up(const virtual_node_t *self);

/* A call with one message; `more` keeps it open for others. Runs until nothing is left to do. */
uint64_t virtual_node_call(virtual_node_t *self, method_t method, slice_t message, bool more);
void virtual_node_send(virtual_node_t *self, uint64_t call, slice_t message);

/* The native gateway, to be fed; then a turn of it, until nothing is left to do. Another one after each start. */
zmq_gateway_t *virtual_node_native(const virtual_node_t *self);
void virtual_node_native_turn(virtual_node_t *self);

/* While held, writes to the log wait in front of the disk. Releasing runs the node. */
void virtual_node_hold_disk(virtual_node_t *self, bool hold);
/* Files can grow no more; or again as they like. */
void virtual_node_fill_disk(virtual_node_t *self, bool full);
void virtual_node_advance(virtual_node_t *self, uint64_t micros);
uint64_t virtual_node_now_us(const virtual_node_t *self);
api_status_t virtual_node_status(const virtual_node_t *self);
