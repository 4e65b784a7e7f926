/* publisher: what goes to the publish socket of the native protocol, and when (docs/protocol.md,
 * "Events"): registrations by subscription, positions, events of whole revisions, marks. Pure; one per
 * native gateway, owned by its thread.
 *
 * Its events are those of one ordinary watch call on the whole key space at the gateway's own api, which
 * exists while anything is registered. So the watch actor treats it like any other: who is slow is caught
 * up from the store, in order and without a gap, and slows nobody. A place in a revision is the ordinal
 * of the event in that revision, which is its `sub` in the store, since a watch shows whole revisions.
 *
 * The shell's part:
 *   messages of the XPUB               -> publisher_subscription
 *   publisher_wants_call               -> api_call_begin(METHOD_WATCH), publisher_call_began
 *   publisher_next_request, until NULL -> api_call_message
 *   messages of that call              -> publisher_response; then api_call_sent, they are consumed
 *   end of that call                   -> publisher_call_ended
 *   end of each turn                   -> publisher_turn, publisher_deadline */
#pragma once

#include "actors/core/metrics.h"
#include "actors/core/step.h"
#include "messages/native_event.h"

typedef struct publisher publisher_t;

typedef struct {
    uint64_t cluster_id;
    uint64_t progress_us; /* --native-progress-interval: between the marks of a registration */
    uint64_t linger_us;   /* a registration outlives its last subscriber by that */
    size_t registrations_max, registration_bytes_max;
} publisher_cfg_t;

typedef struct {
    void *context;
    /* One message for the socket. The frames are borrowed; never waits: what the socket does not take
     * is lost, which subscribers notice. */
    void (*publish)(void *context, const slice_t *frames, size_t count);
} publisher_sink_t;

publisher_t *publisher_new(const publisher_cfg_t *cfg, const publisher_sink_t *sink,
                           metrics_t *metrics);
void publisher_destroy(publisher_t **self_p);

/* A message read from the XPUB: %x01 or %x00, then the subscription. Anything else is ignored. */
void publisher_subscription(publisher_t *self, slice_t message, uint64_t now_us);
/* The socket is another one: nobody subscribes to anything, until they come again. */
void publisher_reset(publisher_t *self, uint64_t now_us);
/* Is a registration of this (valid) subscription refused, now? Then its subscriber gets no positions. */
bool publisher_refuses(const publisher_t *self, slice_t subscription);
/* Does the member know a leader? Marks tell. */
void publisher_leader(publisher_t *self, bool is_known);

/* ---- the watch call ---- */
bool publisher_wants_call(const publisher_t *self, uint64_t now_us);
void publisher_call_began(publisher_t *self);
/* The next WatchRequest of the open call, or NULL; yours. */
bytes_t *publisher_next_request(publisher_t *self, uint64_t now_us);
/* One WatchResponse: publishes its events. */
void publisher_response(publisher_t *self, slice_t response, uint64_t now_us);
/* It goes on in a new call from where it was. */
void publisher_call_ended(publisher_t *self, uint64_t now_us);

/* Publishes the marks that are due, a bounded number at a time; forgets who has lingered. */
void publisher_turn(publisher_t *self, uint64_t now_us);
/* When a turn or a call is wanted again; DEADLINE_NONE. */
uint64_t publisher_deadline(const publisher_t *self);
