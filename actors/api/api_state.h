/* api_state: the inside of api, shared by its own files (api_*.c) only. Pure.
 *
 *   api.c            life, calls, turns
 *   api_timeout.c    deadlines
 *   api_propose.c    proposals and their results
 *   api_kv.c         writes: validation
 *   api_read.c       read indexes, views of the store, whose turn it is to read
 *   api_range.c      Range; api_range_stream.c: RangeStream
 *   api_native.c     snapshots for caches; api_native_events.c: what caches have missed
 *   api_txn.c        Txn; api_txn_check.c, api_txn_writes.c: what may be proposed; api_compare.c
 *   api_watch.c      watch streams
 *   api_lease.c      leases
 *   api_members.c    who belongs to the cluster and can be reached; api_cluster.c: changes of that
 *   api_maintenance.c  moving the leadership, hashes
 *   api_status.c     Status and health; api_publish.c: the member's own
 *
 * A turn: the framing calls api_call_*, other actors' messages come through step; then the step
 * without a message ends the turn and does what several requests can share: one PROPOSE, one READ,
 * one view for all reads that have become possible, a bounded amount of range work. */
#pragma once

#include <membership.pb-c.h>

#include "actors/api/call.h"
#include "actors/api/header.h"
#include "actors/api/id_map.h"
#include "actors/api/rpc_metrics.h"
#include "actors/api/view.h"
#include "actors/core/prng.h"
#include "messages/limits.h"
#include "messages/operations.h"

/* Who was told "no leader" asks again when one is known, or after this: ROLE reaches the gateway and the
 * one it asks at different times. */
enum { API_AGAIN_US = 20 * 1000 };

/* Reads that share one read index. A slot without calls is free: a late answer finds its id gone. */
typedef struct {
    uint64_t id;
    call_list_t calls;
} read_round_t;

/* Requests that wait for room on the edge to the watch actor. */
typedef struct {
    msg_t **items;
    size_t count, capacity, bytes;
} watch_queue_t;

/* Questions that wait for a leader or for room on the edge to the lease actor. */
typedef struct {
    msg_lease_ask_t *items;
    size_t count, capacity;
    size_t local;      /* of them: answered here, whoever leads */
    uint64_t retry_us; /* not before; 0 = at once */
} lease_asks_t;

/* Another member, as peer reports it. */
typedef struct {
    uint64_t id;
    uint64_t since_us; /* it can be reached; 0 = it can't */
} reachable_t;

/* The members as applied, and whom of them this one reaches. */
typedef struct {
    Quoral__Configuration *applied; /* NULL = not known yet */
    uint64_t index;                 /* APPLIED.members_index that this is from */
    bool is_stale;
    bool is_learner, is_removed; /* this member; the latter as the others say */
    reachable_t others[LIMIT_MEMBERS];
    size_t other_count;
} members_t;

/* Making this member known through the log. */
typedef struct {
    call_t request;  /* stands for our proposal among those of clients; request_id 0 = none */
    bool check;      /* what is applied must be looked at */
    bool published;  /* our name and URLs are applied */
    bool announced;  /* and the log has said that clients are served */
    bool done;       /* and nothing else is left to do */
    uint64_t due_us; /* the proposal is given up then */
    uint64_t attributes_next_us, version_next_us; /* not proposed again before */
    uint64_t retry_us;                            /* when to look again */
} publish_t;

struct api {
    api_cfg_t cfg; /* texts are ours */
    api_sink_t sink;
    metrics_t *metrics;
    rpc_metrics_t rpc;
    header_t header;
    prng_t prng;
    outbox_t *out; /* during a step only */
    uint64_t now_us;
    uint64_t
        clock_us; /* last reading of the metrics' clock: ranges are measured from one to the next */
    uint64_t stop_due_us; /* DEADLINE_NONE = not stopping */
    bool stopped;

    /* What others have told. */
    msg_role_t role;
    uint64_t leader_since_us;   /* when the present leader became known */
    uint64_t leaderless_due_us; /* when streams that require one end; DEADLINE_NONE */
    uint64_t election_timeout_us;
    uint64_t again_us; /* the replicator knew no leader: not asked before; 0 = at once */
    uint64_t applied_index, commit_index;
    int64_t revision, compacted;
    shared_t *store; /* NULL until RESTORED */
    view_t *view;    /* of the last turn, still good unless stale */
    bool view_stale;

    /* Calls. */
    id_map_t calls; /* by the framing's id */
    size_t call_count;
    call_t *spare_calls; /* kept for the next ones, linked by `next` */
    call_heap_t heap;

    /* Writes. */
    id_map_t requests; /* by request id: proposals and lease questions */
    uint64_t last_request_id;
    proposal_t *proposals; /* of this turn, or since the leader was lost */
    size_t proposal_count, proposal_capacity, proposal_bytes;

    /* Reads. */
    uint64_t last_read_id;
    call_list_t reads_next; /* will share the next read index */
    read_round_t rounds[LIMIT_READ_ROUNDS];
    call_list_t reads_applying; /* have their index, in growing order, and wait for the store */
    call_list_t reads_behind;   /* wait for a revision that another member has shown them */
    int64_t behind_min;         /* the lowest of those */
    call_list_t reads_ready;
    buf_t range_spare;        /* for the next range's answer */
    call_list_t reads_active; /* long ones, round-robin */
    size_t answer_bytes;      /* under construction */

    /* Watches, leases, the member itself. */
    watch_queue_t watch_queue;
    call_list_t watch_consumed; /* streams with consumed bytes to report */
    size_t watcher_count;
    lease_asks_t lease_asks;
    members_t members;
    publish_t publish;
    call_list_t maintenance_next; /* leave at the end of the turn */
    call_list_t transfers;        /* of the leadership, under way */
    call_list_t health_watchers;
    uint64_t health_told;
};

/* ---- api.c ---- */
/* The answer of a unary call. Takes the message; the call is gone afterwards. */
void api_answer(api_t *self, call_t *call, bytes_t **message_p);
/* One message of a stream. Takes it. */
void api_send(api_t *self, call_t *call, bytes_t **message_p);
/* The call is gone afterwards. */
void api_finish(api_t *self, call_t *call, grpc_code_t code, const char *text);
void api_fail(api_t *self, call_t *call, api_error_t error);
void api_fail_decode(api_t *self, call_t *call);
/* Gives the call an id that others answer to. */
uint64_t api_request_id(api_t *self, call_t *call);
/* From now on the call's duration is measured, for the histogram and its failures; until it ends, or
 * what is measured does. */
void api_measure(const api_t *self, call_t *call, histogram_t id);
void api_measured(api_t *self, call_t *call, bool success);
/* The store or what is read from it is broken: the node stops. Only during a step. */
void api_broken(api_t *self, int error);

/* ---- api_timeout.c ---- */
static inline uint64_t api_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}
/* End of a turn: ends the calls whose time is over. */
void api_expire_calls(api_t *self);
/* The call ends with a timeout when it has not been answered a request timeout after `since_us`. */
void api_set_timeout(api_t *self, call_t *call, uint64_t since_us);
/* From now on only the client's own deadline ends it. */
void api_clear_timeout(api_t *self, call_t *call);

/* ---- handlers: one request message of a call. They take what they keep. ---- */
typedef void (*api_handler_t)(api_t *self, call_t *call, bytes_t **message_p);
void api_on_put(api_t *self, call_t *call, bytes_t **message_p);
void api_on_delete_range(api_t *self, call_t *call, bytes_t **message_p);
void api_on_compact(api_t *self, call_t *call, bytes_t **message_p);
void api_on_range(api_t *self, call_t *call, bytes_t **message_p);
void api_on_range_stream(api_t *self, call_t *call, bytes_t **message_p);
void api_on_native_snapshot(api_t *self, call_t *call, bytes_t **message_p);
void api_on_native_events(api_t *self, call_t *call, bytes_t **message_p);

/* ---- api_kv.c ---- */
api_error_t api_check_range(const range_request_t *range);
api_error_t api_check_put(const put_request_t *put);

/* ---- api_propose.c ---- */
/* Puts the request, as field `field` of an InternalRaftRequest, into this turn's PROPOSE, or answers
 * why not. */
void api_propose(api_t *self, call_t *call, uint32_t field, slice_t request);
/* The same for a proposal of the member itself; `owner` is not a call, only its request counts. */
void api_propose_own(api_t *self, call_t *owner, uint32_t field, slice_t request);
/* A change of the members; takes the payload, which names the call's request id. */
void api_propose_change(api_t *self, call_t *call, bytes_t **change_p);
void api_flush_proposals(api_t *self);
void api_on_result(api_t *self, msg_result_t *result);
/* REJECTED or UNKNOWN. */
void api_on_refusal(api_t *self, msg_kind_t kind, const msg_refusal_t *refusal);
/* It has failed, if there is one, or at least nobody waits for it any more. */
void api_drop_proposal(api_t *self, call_t *call);
/* Nobody answers to the call's request id any more. */
void api_request_settled(api_t *self, call_t *call);
/* Is it only that who was asked knows no leader, or is none? */
bool api_has_no_leader(api_error_t error);
/* The replicator is not asked again until one is known, or a little later. */
void api_wait_for_leader(api_t *self);
uint64_t api_again_deadline(const api_t *self);

/* ---- api_read.c ---- */
/* The call reads from the store once that is allowed: at once, or behind a read index. */
void api_read_soon(api_t *self, call_t *call, bool serializable);
void api_on_read_at(api_t *self, const msg_read_t *read);
void api_on_read_fail(api_t *self, const msg_read_t *read);
void api_on_applied(api_t *self, uint64_t index);
/* Waits for a read index, be it that none has been asked for. */
bool api_waits_for_read_index(const api_t *self, const call_t *call);
/* Makes self->view as fresh as all that has been heard of. 0 or < 0. The store is there. */
int api_refresh_view(api_t *self) __attribute__((warn_unused_result));
/* End of a turn: asks for read indexes, executes what may run. */
void api_run_reads(api_t *self);
/* Makes the call one of those that read in slices. */
void api_read_activate(api_t *self, call_t *call);
/* Memory of an answer that grows from `before` to `after` bytes. False: over the common budget. */
bool api_charge(api_t *self, size_t before, size_t after);

/* ---- api_range.c ---- */
/* Executes a Range, or begins to. The view is current. */
void api_range_start(api_t *self, call_t *call);
/* The range (or a chunk of one) that began at `since_us` has been read, or could not be. */
void api_range_observe(api_t *self, uint64_t since_us, bool success);
/* One slice of a long one. Returns about how many keys it has looked at. */
size_t api_range_slice(api_t *self, call_t *call);
void api_range_stream_start(api_t *self, call_t *call);
size_t api_range_stream_slice(api_t *self, call_t *call);
/* The client has taken some of the stream's messages. */
void api_range_stream_sent(api_t *self, call_t *call);
void range_job_destroy(api_t *self, range_job_t **job_p);

/* ---- api_txn.c ---- */
void api_on_txn(api_t *self, call_t *call, bytes_t **message_p);
void api_txn_start(api_t *self, call_t *call);
size_t api_txn_slice(api_t *self, call_t *call);
void txn_job_destroy(api_t *self, txn_job_t **job_p);
