#include "actors/runtime/trace.h"

/* An entry in one word: the time (48 bits are nine years of uptime), the sender, the kind. */
enum { KIND_BITS = 8, FROM_BITS = 8, TIME_SHIFT = KIND_BITS + FROM_BITS };
_Static_assert(MSG_KINDS_COUNT <= 1 << KIND_BITS, "kinds of messages fit");
_Static_assert(PORT_END <= 1 << FROM_BITS, "actors fit");

void trace_note(trace_t *self, uint64_t now_us, const msg_t *msg)
{
    uint64_t count = atomic_load_explicit(&self->count, memory_order_relaxed);
    uint64_t entry = now_us << TIME_SHIFT | (uint64_t)msg->from << KIND_BITS | (uint64_t)msg->kind;
    atomic_store_explicit(&self->entries[count % LIMIT_TRACE_ENTRIES], entry, memory_order_relaxed);
    atomic_store_explicit(&self->count, count + 1, memory_order_relaxed);
}

size_t trace_read(const trace_t *self, trace_entry_t out[LIMIT_TRACE_ENTRIES])
{
    uint64_t count = atomic_load_explicit(&self->count, memory_order_relaxed);
    size_t there = count < LIMIT_TRACE_ENTRIES ? (size_t)count : LIMIT_TRACE_ENTRIES;
    for (size_t i = 0; i < there; i++) {
        uint64_t entry = atomic_load_explicit(
            &self->entries[(count - there + i) % LIMIT_TRACE_ENTRIES], memory_order_relaxed);
        out[i] = (trace_entry_t){
            .at_us = entry >> TIME_SHIFT,
            .from = (actor_id_t)(entry >> KIND_BITS & ((1u << FROM_BITS) - 1)),
            .kind = (msg_kind_t)(entry & ((1u << KIND_BITS) - 1)),
        };
    }
    return there;
}
