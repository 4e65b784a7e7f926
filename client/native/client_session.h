/* client_session: calls to one member of a cluster at a time, and to the next when that one fails. Pure: the sockets
 * are the shell's. One instance per client handle, owned by its thread. Speaks the requests of docs/protocol.md.
 *
 * A *link* is one DEALER connected to one endpoint, with a number that is never used twice. client_session_link says
 * which one there should be; the shell makes it so, and tells the number with whatever comes from it.
 *
 * What happens to a call when its link is lost: one that was not sent waits for the next link. One that was sent is
 * sent again if it is repeatable. Any other ends, as "may have happened": what a write did is never guessed, and it
 * is never written twice. */
#pragma once

#include "client/native/client_call.h"
#include "messages/native_frame.h"

typedef struct client_session client_session_t;

typedef struct {
    size_t endpoints_n; /* at least 1 */
    size_t first;       /* the endpoint to begin with */
    uint64_t dial_timeout_us;
    uint32_t heartbeat_ms;    /* to ask for; 0: the server's */
    size_t waiting_max;       /* calls that have not been sent; more are refused */
    size_t waiting_bytes_max; /* and their requests */
    uint64_t nonce;           /* a random number: HELLOs of different clients differ */
} client_session_cfg_t;

/* Who is at the other end. */
typedef struct {
    uint64_t cluster_id;
    uint64_t member_id;
    uint64_t progress_us;  /* interval of marks */
    char publish_url[128]; /* of the member, or empty: none was configured */
    uint16_t publish_port; /* then: on the endpoint's host; 0: there are no events here */
} client_member_t;

typedef struct {
    uint64_t number; /* 0: no link should be there */
    size_t endpoint;
} client_link_t;

typedef struct {
    uint64_t links;    /* tried */
    uint64_t sessions; /* begun: WELCOMEs */
    uint64_t calls;    /* given */
    uint64_t repeated; /* sent once more */
    uint64_t unknown;  /* ended as "may have happened" because of a lost link */
} client_session_counts_t;

client_session_t *client_session_new(const client_session_cfg_t *cfg);
/* Open calls are forgotten, without on_done: client_session_close comes before. */
void client_session_destroy(client_session_t **self_p);
/* Ends all calls as cancelled. What the session then wants to send is its farewell. No call is taken any more. */
void client_session_close(client_session_t *self, uint64_t now_us);

/* Takes a call, or ends it at once. */
void client_session_call(client_session_t *self, client_call_t *call, uint64_t now_us);
/* Gives it up: on_done is called, as GRPC_CANCELLED. Does nothing for a call that is not open. */
void client_session_cancel(client_session_t *self, client_call_t *call, uint64_t now_us);

/* A message from the link: all of its frames, borrowed. */
void client_session_message(client_session_t *self, uint64_t link, const slice_t *frames,
                            size_t count, uint64_t now_us);
/* The link broke, or could not be made. `reason` is copied; it is what callers hear if no other member answers. */
void client_session_broken(client_session_t *self, uint64_t link, const char *reason,
                           uint64_t now_us);
/* This member does not do; another one should be tried. Waits, within bounds, for the end of writes in flight.
 * Without effect if there is only one endpoint. */
void client_session_move(client_session_t *self, uint64_t now_us);
/* Time has passed. */
void client_session_step(client_session_t *self, uint64_t now_us);
uint64_t client_session_deadline(const client_session_t *self);

client_link_t client_session_link(const client_session_t *self);
/* One message to send on the link, or false. The frames are borrowed until the next call of any function. */
bool client_session_output(client_session_t *self, uint64_t now_us,
                           slice_t frames[NATIVE_FRAMES_MAX], size_t *count);

/* Whom the session is with; NULL: with nobody. */
const client_member_t *client_session_member(const client_session_t *self);
/* Grows with each session, and when one is lost. */
uint64_t client_session_generation(const client_session_t *self);
const client_session_counts_t *client_session_counts(const client_session_t *self);
/* What went wrong last; empty: nothing did. */
const char *client_session_reason(const client_session_t *self);
