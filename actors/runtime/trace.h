/* trace: the last messages that an actor was stepped with, for /debug/trace. Written by the actor alone, read by
 * any thread at any time: an entry is one word, so nobody sees half of one. Embedded in its runtime;
 * zero-initialised is empty. */
#pragma once

#include <stdatomic.h>

#include "messages/limits.h"
#include "messages/msg.h"

typedef struct {
    _Atomic uint64_t entries[LIMIT_TRACE_ENTRIES];
    _Atomic uint64_t count; /* since the start */
} trace_t;

typedef struct {
    uint64_t at_us; /* of the turn */
    actor_id_t from;
    msg_kind_t kind;
} trace_entry_t;

void trace_note(trace_t *self, uint64_t now_us, const msg_t *msg);
/* Oldest first; returns how many. An entry that is replaced meanwhile may come as a newer one. */
size_t trace_read(const trace_t *self, trace_entry_t out[LIMIT_TRACE_ENTRIES]);
