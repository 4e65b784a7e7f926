/* step: the shape of every actor core. Pure.
 * A core is a struct with three functions: step (state + message + now -> state + outbox),
 * deadline (when to wake me), destroy. No socket, clock, file, thread, random source or global. */
#pragma once

#include "actors/core/outbox.h"
#include "messages/msg.h"

#define DEADLINE_NONE UINT64_MAX

typedef struct {
    uint64_t now_us; /* monotonic, microseconds; read once per turn of the shell */
    msg_t *
        msg; /* borrowed for the step, parts may be moved out; NULL = end of burst: flush, check deadlines */
} step_in_t;

typedef struct {
    /* One input. Never blocks. */
    void (*step)(void *self, const step_in_t *in, outbox_t *out);
    /* Monotonic time in microseconds at which to step with msg == NULL; DEADLINE_NONE = never. */
    uint64_t (*deadline)(const void *self);
    /* Nulls the pointer; accepts NULL. */
    void (*destroy)(void **self_p);
} core_ops_t;
