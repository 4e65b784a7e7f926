#include "client/native/client_calls.h"

#include <assert.h>

/* An id says where the call is, and is never used twice. */
enum { ID_SLOT_BITS = 16 };

void client_calls_init(client_calls_t *self)
{
    *self = (client_calls_t){0};
    for (size_t i = 0; i < CLIENT_CALLS_FLIGHT_MAX; i++) {
        self->free_slots[i] = (uint16_t)(CLIENT_CALLS_FLIGHT_MAX - 1 - i);
    }
}

void client_calls_wait(client_calls_t *self, client_call_t *call, bool in_front)
{
    call->previous = in_front ? NULL : self->last;
    call->next = in_front ? self->first : NULL;
    *(call->previous ? &call->previous->next : &self->first) = call;
    *(call->next ? &call->next->previous : &self->last) = call;
    self->waiting_n++;
    self->waiting_bytes += call->body.len;
}

static void stop_waiting(client_calls_t *self, client_call_t *call)
{
    *(call->previous ? &call->previous->next : &self->first) = call->next;
    *(call->next ? &call->next->previous : &self->last) = call->previous;
    call->previous = NULL;
    call->next = NULL;
    self->waiting_n--;
    self->waiting_bytes -= call->body.len;
}

void client_calls_launch(client_calls_t *self, client_call_t *call)
{
    assert(self->flight_n < CLIENT_CALLS_FLIGHT_MAX && call->id == 0);
    stop_waiting(self, call);
    self->flight_n++;
    uint16_t slot = self->free_slots[CLIENT_CALLS_FLIGHT_MAX - self->flight_n];
    assert(!self->flight[slot]);
    self->flight[slot] = call;
    call->id = ++self->sequence << ID_SLOT_BITS | slot;
    self->flight_writes += !call->is_repeatable;
}

static size_t slot_of(uint64_t id)
{
    return (size_t)(id & ((1u << ID_SLOT_BITS) - 1));
}

void client_calls_remove(client_calls_t *self, client_call_t *call)
{
    if (call->id == 0) {
        stop_waiting(self, call);
        return;
    }
    size_t slot = slot_of(call->id);
    assert(self->flight[slot] == call);
    self->flight[slot] = NULL;
    self->free_slots[CLIENT_CALLS_FLIGHT_MAX - self->flight_n] = (uint16_t)slot;
    self->flight_n--;
    self->flight_writes -= !call->is_repeatable;
    call->id = 0;
}

bool client_calls_has(const client_calls_t *self, const client_call_t *call)
{
    return call->id || call->previous || call->next || self->first == call;
}

client_call_t *client_calls_find(const client_calls_t *self, uint64_t id)
{
    size_t slot = slot_of(id);
    client_call_t *call = slot < CLIENT_CALLS_FLIGHT_MAX ? self->flight[slot] : NULL;
    return call && call->id == id ? call : NULL;
}

client_call_t *client_calls_any_flight(const client_calls_t *self)
{
    client_call_t *call = NULL;
    for (size_t slot = 0; slot < CLIENT_CALLS_FLIGHT_MAX && self->flight_n > 0 && !call; slot++) {
        call = self->flight[slot];
    }
    return call;
}

client_call_t *client_calls_expired(const client_calls_t *self, uint64_t now_us)
{
    for (client_call_t *call = self->first; call; call = call->next) {
        if (now_us >= call->deadline_us) {
            return call;
        }
    }
    for (size_t slot = 0; slot < CLIENT_CALLS_FLIGHT_MAX && self->flight_n > 0; slot++) {
        client_call_t *call = self->flight[slot];
        if (call && now_us >= call->deadline_us) {
            return call;
        }
    }
    return NULL;
}

static void earliest(uint64_t *deadline_us, uint64_t at_us)
{
    *deadline_us = at_us < *deadline_us ? at_us : *deadline_us;
}

uint64_t client_calls_deadline(const client_calls_t *self, bool with_pauses)
{
    uint64_t deadline_us = UINT64_MAX;
    for (const client_call_t *call = self->first; call; call = call->next) {
        earliest(&deadline_us, call->deadline_us);
        if (with_pauses && call->not_before_us > 0) {
            earliest(&deadline_us, call->not_before_us);
        }
    }
    for (size_t slot = 0; slot < CLIENT_CALLS_FLIGHT_MAX && self->flight_n > 0; slot++) {
        if (self->flight[slot]) {
            earliest(&deadline_us, self->flight[slot]->deadline_us);
        }
    }
    return deadline_us;
}
