/* client_calls: which calls wait to be sent, and which wait for an answer. Pure; embedded in client_session. */
#pragma once

#include "client/native/client_call.h"

enum { CLIENT_CALLS_FLIGHT_MAX = 4096 }; /* what servers take */

typedef struct {
    client_call_t *flight[CLIENT_CALLS_FLIGHT_MAX];
    uint16_t free_slots[CLIENT_CALLS_FLIGHT_MAX];
    size_t flight_n;
    size_t flight_writes; /* those that are not repeatable */
    uint64_t sequence;
    client_call_t *first; /* waiting, in the order in which they are to be sent */
    client_call_t *last;
    size_t waiting_n;
    size_t waiting_bytes; /* of their requests */
} client_calls_t;

void client_calls_init(client_calls_t *self);

void client_calls_wait(client_calls_t *self, client_call_t *call, bool in_front);
/* From the waiting ones to those in flight, of which there must be fewer than CLIENT_CALLS_FLIGHT_MAX; gives it an
 * id. */
void client_calls_launch(client_calls_t *self, client_call_t *call);
/* From wherever it is. Its id is 0 then. */
void client_calls_remove(client_calls_t *self, client_call_t *call);
/* Whether it is here at all. */
bool client_calls_has(const client_calls_t *self, const client_call_t *call);

/* In flight; NULL: none has that id. */
client_call_t *client_calls_find(const client_calls_t *self, uint64_t id);
/* Any one in flight, NULL: there is none. */
client_call_t *client_calls_any_flight(const client_calls_t *self);
/* Any one whose deadline has passed; NULL: none. */
client_call_t *client_calls_expired(const client_calls_t *self, uint64_t now_us);
/* The first deadline, or end of a pause if `with_pauses`. */
uint64_t client_calls_deadline(const client_calls_t *self, bool with_pauses);
