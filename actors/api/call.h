/* call: one RPC in progress, the lists it waits in, and the heap of deadlines. Pure; owned by api.
 * Invariants: 1. a call is in at most one list; 2. it is in the heap exactly while due_us is set;
 * 3. a finished call is in neither, and in no id map. */
#pragma once

#include "actors/api/api.h"
#include "actors/api/decode.h"

typedef struct call call_t;
typedef struct call_list call_list_t;

struct call_list {
    call_t *first, *last;
    size_t count;
};

typedef struct range_job range_job_t;
typedef struct txn_job txn_job_t;
typedef struct events_job events_job_t;
typedef struct watch_stream watch_stream_t;
typedef struct lease_stream lease_stream_t;
typedef struct lease_reply lease_reply_t;

struct call {
    uint64_t id; /* the framing's */
    method_t method;
    unsigned flags; /* CALL_... */
    bool has_request;
    bool half_closed;
    uint64_t started_us;
    uint64_t measured_us;   /* when what api_measure measures began */
    unsigned measured;      /* its histogram_t + 1; 0 = nothing is measured */
    uint64_t client_due_us; /* the client's own deadline */
    uint64_t due_us;        /* when to look at it, DEADLINE_NONE = not in the heap */
    size_t heap_slot;
    call_list_t *list;
    call_t *prev, *next;
    uint64_t request_id;  /* of its proposal or lease question, 0 = none */
    bytes_t *proposal;    /* its payload, until it is settled */
    bool is_change;       /* of the members: its payload is a quoral.MembershipChange */
    uint64_t member_id;   /* whom it is about */
    uint64_t read_index;  /* reads run on a store that has applied it */
    int64_t min_revision; /* and this, if it gets there soon; 0 = any will do */
    bytes_t *request;     /* what `range` points into */
    range_request_t range;
    lease_request_t lease;
    size_t unsent_bytes; /* streams: messages given to the sink and not reported sent */
    /* At most one, by method. */
    range_job_t *range_job;
    txn_job_t *txn_job;
    events_job_t *events_job;
    watch_stream_t *watch;
    lease_stream_t *leases;
    lease_reply_t *lease_reply;
};

/* Appends; the call must be in no list. */
void call_list_add(call_list_t *list, call_t *call);
/* Takes the call out of whatever list it is in; nothing if in none. */
void call_list_leave(call_t *call);
/* The first call, taken out; NULL if empty. */
call_t *call_list_take(call_list_t *list);
/* Appends all of `from`, which is empty afterwards. */
void call_list_move(call_list_t *list, call_list_t *from);

typedef struct {
    call_t **items;
    size_t count, capacity;
} call_heap_t; /* zero-initialised is empty and ready */

void call_heap_deinit(call_heap_t *self);
/* Enters, moves or (DEADLINE_NONE) removes. */
void call_heap_set(call_heap_t *self, call_t *call, uint64_t due_us);
/* The call that is due first; NULL if none. */
call_t *call_heap_first(const call_heap_t *self);
