/* sessions_private: the parts of sessions. Pure.
 *   sessions.c        who is there: greeting, heartbeats, messages in and out
 *   session_calls.c   calls: requests in front of the request core and in it, answers
 *   session_window.c  what is on its way to a client, and what waits for room
 *
 * Invariants:
 * 1. A call is in `slots` and in its session's `calls` from its CALL to its DONE, or the session's end.
 * 2. outstanding = octets sent and not acknowledged + octets of `replies`; outstanding_total is their sum.
 * 3. While anything is in `waiting`, every CALL, DATA and END of that session goes behind it: the order of a
 *    client's requests is kept.
 * 4. The request core is not called from within its sink. */
#pragma once

#include "actors/api/id_map.h"
#include "actors/core/table.h"
#include "actors/zmq_gateway/fifo.h"
#include "actors/zmq_gateway/sessions.h"

typedef struct session session_t;

/* Control messages, and REPLYs and DONEs before they are sent. */
typedef struct {
    native_header_t header; /* octets: filled in when it is sent */
    bytes_t *body;
} session_out_t;

/* A REPLY or DONE on its way to the client. */
typedef struct {
    uint64_t end;  /* octets of the session up to and with it */
    uint64_t call; /* of the stream that goes on then; 0 = none */
    size_t bytes;  /* of its body */
} session_sent_t;

/* A request in front of the request core. */
typedef struct {
    uint64_t call;
    bool begins, ends;
    bytes_t *body; /* NULL = none */
} session_request_t;

struct session {
    bytes_t *route;
    uint64_t route_hash;
    size_t index; /* in sessions->list */
    uint64_t hello;
    bool greeted; /* WELCOME is on its way */
    uint64_t heartbeat_us, heard_us, asked_us;
    bytes_t *client_version; /* or NULL */
    id_map_t calls;          /* by the client's id: slot + 1 */

    fifo_t control; /* session_out_t: leaves at once */
    fifo_t replies; /* session_out_t: leaves as the window allows */
    uint64_t reply_octets;
    uint64_t sent, acknowledged;
    fifo_t on_the_way; /* session_sent_t */
    fifo_t waiting;    /* session_request_t */
    size_t waiting_bytes;
    size_t reads_open; /* ranges in the request core */
    uint64_t
        read_octets; /* what one of them answers, most likely: the last ones, the largest at once */

    bool dirty; /* may have something to send */
    session_t *dirty_next, *dirty_prev;
};

/* A call: its id at the request core is its slot's number and, above it, how often the slot has been used. */
typedef struct {
    session_t *session; /* NULL = free */
    uint32_t generation, next_free;
    uint64_t id; /* the client's */
    method_t method;
    unsigned flags;
    uint64_t deadline_us;
    bool begun;      /* the request core knows it */
    bool closed;     /* its client has nothing more to say */
    bytes_t *answer; /* of a call with one answer: leaves with its DONE */
} session_call_t;

#define SLOT_NONE UINT32_MAX

/* For who has no session. */
typedef struct {
    bytes_t *route;
    native_header_t header;
    bytes_t *text;
} stray_t;

struct sessions {
    sessions_cfg_t cfg;    /* without the URLs */
    bytes_t *welcome_urls; /* encoded fields */
    metrics_t *metrics;
    api_t *api;
    bool is_ready;
    bool touched; /* the request core was given something since the last tick */
    uint64_t now_us;
    table_t by_route;
    session_t **list;
    size_t count, capacity;
    uint64_t next_tick_us;
    session_t *dirty_first, *dirty_last;
    fifo_t strays;        /* stray_t */
    bytes_t *stray_route; /* of the one taken last */
    session_t *sending;   /* whose message was taken last; NULL = a stray's */
    uint64_t outstanding_total;
    size_t waiting_total; /* bytes */
    session_call_t *slots;
    size_t slot_capacity;
    uint32_t slots_used, slot_free;
    size_t call_count, waiting_count;
};

/* ---- sessions.c ---- */
void session_mark_dirty(sessions_t *self, session_t *session);
void session_control(sessions_t *self, session_t *session, const native_header_t *header,
                     bytes_t *body);
/* Answers a message that is not understood, and counts it. */
void session_refuse(sessions_t *self, session_t *session, uint64_t call, native_error_t error);

/* ---- session_calls.c ---- */
void session_on_call(sessions_t *self, session_t *session, const native_message_t *message);
void session_on_data(sessions_t *self, session_t *session, const native_message_t *message);
void session_on_end(sessions_t *self, session_t *session, uint64_t call);
void session_on_cancel(sessions_t *self, session_t *session, uint64_t call);
/* Hands a request to the request core. Takes what it holds. */
void session_deliver(sessions_t *self, session_request_t *request);
/* Cancels all calls of the session. */
void session_drop_calls(sessions_t *self, session_t *session);
/* NULL when the call is gone. */
session_call_t *session_call_find(const sessions_t *self, uint64_t call);

/* ---- session_window.c ---- */
uint64_t session_outstanding(const session_t *session);
/* May this request of the session go to the request core now? */
bool session_admits(const sessions_t *self, const session_t *session,
                    const session_request_t *request);
/* A range has been answered, or was begun and is no more (0 octets). */
void session_read_ended(session_t *session, uint64_t octets);
/* Puts a REPLY or DONE on its way. Takes the body. `call`: who is told when the client has it, or 0. */
void session_answer(sessions_t *self, session_t *session, const native_header_t *header,
                    bytes_t *body, uint64_t call);
/* The client says it has received so much. NATIVE_OK or NATIVE_BAD_OCTETS. */
native_error_t session_acknowledge(sessions_t *self, session_t *session, uint64_t octets);
/* The next answer that may be sent; false = none. Its octets are counted as sent. */
bool session_take_answer(sessions_t *self, session_t *session, session_out_t *out);
/* Queues a request behind those that wait. False = there is no room; it is still the caller's. */
bool session_wait(sessions_t *self, session_t *session, const session_request_t *request);
/* Lets requests that wait go on as far as there is room. */
void session_release(sessions_t *self, session_t *session);
/* Forgets everything on its way and everything that waits. */
void session_drop_window(sessions_t *self, session_t *session);
