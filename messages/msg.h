/* msg: what actors say to each other, as typed structs passed by reference.
 * Sending gives a message away, receiving borrows it for the step, keeping means moving parts out
 * (bytes_take, or taking an array and leaving NULL). msg_free releases whatever is still inside.
 * Pure; the rules behind each message are in docs/CONSENSUS.md and docs/ARCHITECTURE.md. */
#pragma once

#include "messages/bytes.h"
#include "messages/errors.h"
#include "messages/kinds.h"
#include "messages/peer_msg.h"
#include "messages/shared.h"

typedef enum {
#define X(kind) MSG_##kind,
    MSG_KINDS(X)
#undef X
        MSG_KINDS_COUNT
} msg_kind_t;

/* Actors and the pseudo ports of shells. */
typedef enum {
    ACTOR_NONE = 0,
    ACTOR_ELECTION,
    ACTOR_REPLICATOR,
    ACTOR_WAL_WRITER,
    ACTOR_APPLIER,
    ACTOR_KEEPER,
    ACTOR_LEASE,
    ACTOR_WATCH,
    ACTOR_PEER,
    ACTOR_GRPC_GATEWAY, /* from here on: the gateways */
    ACTOR_ZMQ_GATEWAY,
    ACTOR_COUNT,
    PORT_DISK = ACTOR_COUNT, /* the WAL writer's files, handled by its shell */
    PORT_NETWORK,            /* the peer actor's sockets, handled by its shell */
    PORT_END
} actor_id_t;
const char *actor_name(actor_id_t id);

/* Gateways by number, for who tells all of them or has something for each. */
enum { GATEWAY_COUNT = ACTOR_COUNT - ACTOR_GRPC_GATEWAY };
static inline actor_id_t gateway_at(unsigned number)
{
    return (actor_id_t)(ACTOR_GRPC_GATEWAY + number);
}
static inline unsigned gateway_number(actor_id_t gateway)
{
    return (unsigned)gateway - ACTOR_GRPC_GATEWAY;
}

/* ---- log ---- */
typedef struct {
    uint64_t seq, term;
} msg_fence_t;
typedef struct {
    uint64_t seq, term, last_term, last_index;
    bytes_t *configuration; /* encoded quoral.Configuration that votes are counted by */
    uint64_t configuration_index;
} msg_position_t; /* FENCED and POS */
typedef struct {
    uint64_t term;
    uint64_t member;
} msg_term_t; /* OPEN, LEAD, STEP_DOWN, and from the replicator:
               * BOUNCE: `member` has spoken of a term above the fence
               * LEADER_SEEN: a valid append or heartbeat of the term came from `member`
               * QUORUM_SEEN: a quorum has answered in the term that is led
               * RESIGNED: it stopped leading the term by itself (was removed, or paused for long) */
typedef struct {
    uint64_t age_us;
} msg_stall_t;
/* The newest configuration in the log, whenever it changes. MEMBERS (to election) says who could vote
 * and whether to stand at all; votes are counted by the one in FENCED. PEERS (to peer) says whom to talk
 * to; it is said once more when that configuration is committed: only then nobody listens to removed
 * members any more, and they are told. */
typedef struct {
    uint64_t index;
    bytes_t *configuration; /* encoded quoral.Configuration */
    bool is_committed;      /* PEERS */
    bool
        is_needed; /* MEMBERS: this member votes by the one before, and the newest is not committed:
                             * it may have to lead until it is (Raft dissertation section 4.2.2) */
} msg_members_t;
typedef struct {
    uint64_t seq, term, vote;
} msg_hardstate_t; /* HARDSTATE, HS_DURABLE */
typedef struct {
    uint64_t lsn;
    uint64_t first;
    entries_t entries;
    uint64_t commit;
} msg_append_log_t;
/* A received snapshot is complete and flushed in generation `generation`: from this record on the log
 * begins after (index, log_term). The same pipe and lsn order as APPEND_LOG; LOG_DURABLE answers. */
typedef struct {
    uint64_t lsn;
    uint64_t index, log_term;
    uint64_t generation;
    bytes_t *configuration; /* in force at index */
} msg_snap_mark_t;
typedef struct {
    uint64_t lsn;
} msg_log_durable_t;
typedef enum { ROLE_FOLLOWER, ROLE_PRE_CANDIDATE, ROLE_CANDIDATE, ROLE_LEADER } role_t;
const char *role_name(role_t role);
typedef struct {
    uint64_t term;
    role_t role;
    uint64_t leader;
} msg_role_t; /* leader 0 = unknown */

/* ---- store ---- */
typedef struct {
    entries_t entries;
    uint64_t commit;
} msg_committed_t;
typedef struct {
    uint64_t index, term;
    int64_t revision;
    uint64_t commit; /* highest commit index the applier has heard of */
    uint64_t
        members_index; /* APPLIED: of the last entry that changed what the store knows of members */
} msg_applied_t;       /* APPLIED, FLUSH and FLUSHED (index only) */
/* ATTEND, from the native gateway: whether it wants APPLIED. Who has no clients is not woken by every span; who
 * attends again is told the position at once. */
typedef struct {
    bool wanted;
} msg_attend_t;
/* INTEREST, from watch: does anybody watch? If so, the applier answers with EVENTS of its position, and then
 * of every span; else it sends none. The replicator of a follower tells the leader. */
typedef struct {
    uint64_t number; /* grows */
    bool is_wanted;
} msg_interest_t;
/* AWAIT: an APPLIED is wanted as soon as this index is. */
typedef struct {
    uint64_t index;
} msg_await_t;
typedef struct {
    shared_t *store;
    uint64_t index;
    int64_t revision;
} msg_restored_t; /* store: kv_t */

/* ---- snapshots between members (docs/CONSENSUS.md, "A snapshot") ----
 * sender:   replicator SNAP_READ -> keeper, which streams and answers SNAP_DONE
 * receiver: SNAP_META comes to the replicator, which accepts it with SNAP_TAKE -> keeper; keeper builds a
 *           new generation and says SNAP_RECEIVED; replicator SNAP_MARK -> WAL; then SNAP_INSTALL ->
 *           applier; SNAP_INSTALLED -> replicator. SNAP_DROP ends a transfer that is no longer wanted. */
typedef struct {
    uint64_t id;              /* of the transfer, chosen by the sending replicator; grows */
    uint64_t member;          /* READ, DONE: the receiver; TAKE: the sender; DROP: either */
    uint64_t term;            /* of the leader that sends it */
    uint64_t index, log_term; /* of the last entry it contains */
    bool failed;              /* DONE */
    uint64_t generation;      /* RECEIVED, INSTALL */
    bytes_t *configuration;   /* TAKE, RECEIVED: in force at index */
    shared_t *store;          /* RECEIVED, INSTALL: kv_t of the new generation, flushed */
} msg_snap_t;
/* HASH and HASHED: HashKV of the store, worked out by the keeper. */
typedef struct {
    uint64_t req_id;
    int64_t revision; /* HASH: 0 = current; HASHED: the one that was hashed */
    api_error_t error;
    uint32_t hash;
    int64_t compacted;
    int64_t current; /* the store's revision: header.revision */
} msg_hash_t;

/* ---- requests ---- */
/* TRANSFER: hand the leadership to `target`. Refused with REJECTED; success shows as a ROLE. */
typedef struct {
    uint64_t req_id;
    uint64_t target;
} msg_transfer_t;
typedef struct {
    proposal_t *items;
    size_t count;
    uint64_t expect_term; /* 0 = any; else refused unless this very term is led (lease revoke) */
} msg_propose_t;
typedef struct {
    uint64_t *req_ids;
    size_t count;
    api_error_t error;
} msg_refusal_t; /* REJECTED, UNKNOWN */
typedef struct {
    uint64_t req_id;
    api_error_t error;
    int64_t revision; /* header.revision */
    bytes_t *body;    /* the answer's fields after the header, wire-ready; or NULL */
} result_t;
typedef struct {
    result_t *items;
    size_t count;
} msg_result_t;
typedef struct {
    uint64_t read_id;
    uint64_t
        expect_term; /* READ: 0 = any leader may confirm; else fails unless this term is led here */
    uint64_t index;
    api_error_t error;
} msg_read_t; /* READ, READ_AT, READ_FAIL */

/* ---- leases ---- */
typedef enum { LEASE_GRANTED, LEASE_REVOKED } lease_change_type_t;
typedef struct {
    lease_change_type_t type;
    int64_t id;
    int64_t ttl_s;
} lease_change_t;
/* The list of all leases that precedes RESTORED is one or more of these, the first one with is_first: what
 * is not in it is gone. */
typedef struct {
    uint64_t index;
    bool is_first;
    lease_change_t *items;
    size_t count;
} msg_lease_applied_t;
typedef struct {
    uint64_t req_id;
    lease_op_t op;
    int64_t id;
    uint64_t
        applied_index; /* what the gateway has seen applied: answered only once lease has too */
} msg_lease_ask_t;
typedef struct {
    uint64_t req_id;
    lease_op_t op;
    api_error_t error;
    int64_t id;
    int64_t ttl_s; /* KEEPALIVE: granted TTL or 0; TIME_TO_LIVE: remaining, -1 = unknown */
    int64_t granted_ttl_s;
    int64_t *ids; /* LIST, sorted by expiry */
    size_t id_count;
} msg_lease_answer_t;

/* ---- watches ---- */
typedef struct {
    bool is_delete;
    int64_t revision;
    int64_t sub;
    slice_t key;      /* inside kv */
    bytes_t *kv;      /* wire bytes of mvccpb.KeyValue (DELETE: key and mod_revision) */
    bytes_t *prev_kv; /* or NULL */
} event_t;
/* A span of whole revisions, applier -> watch. With count 0 it only moves the position. */
typedef struct {
    event_t *items;
    size_t count;
    int64_t revision;  /* store revision after the span */
    int64_t compacted; /* and its compacted revision */
    uint64_t
        asked; /* number of the INTEREST it answers; 0 = the first ones, which nobody asked for */
} msg_events_t;
enum { WATCH_NO_PUT = 1, WATCH_NO_DELETE = 2, WATCH_PREV_KV = 4, WATCH_NOTIFY = 8 };
typedef struct {
    uint64_t stream;
    int64_t watch_id;
    bytes_t *key, *range_end; /* as the API spells intervals; range_end may be NULL */
    int64_t start_revision;   /* 0 = from head_revision + 1 */
    int64_t
        head_revision; /* what the gateway has seen: answered only once watch has processed it */
    unsigned flags;    /* WATCH_… */
} msg_watch_create_t;
typedef struct {
    uint64_t stream;
    int64_t watch_id;      /* CANCEL */
    int64_t head_revision; /* CANCEL, PROGRESS: as in WATCH_CREATE */
    uint64_t bytes;        /* CONSUMED: of this stream's events, written to the client's socket */
} msg_watch_stream_t;      /* WATCH_CANCEL, WATCH_PROGRESS, WATCH_CONSUMED, WATCH_CLOSE */
typedef enum {
    WATCH_ITEM_CREATED,   /* revision = current */
    WATCH_ITEM_EVENTS,    /* events = wire bytes of WatchResponse field 11, whole revisions */
    WATCH_ITEM_COMPACTED, /* canceled; revision = compact_revision */
    WATCH_ITEM_CANCELED,  /* the answer to WATCH_CANCEL */
    WATCH_ITEM_PROGRESS   /* watch_id -1 = answer to WATCH_PROGRESS, for the whole stream */
} watch_item_type_t;
typedef struct {
    watch_item_type_t type;
    uint64_t stream;
    int64_t watch_id;
    int64_t revision; /* of the answer's header, COMPACTED apart */
    bytes_t *events;  /* shared by all watchers that see the same */
} watch_item_t;
typedef struct {
    watch_item_t *items;
    size_t count;
} msg_watch_out_t;

/* ---- other members ---- */
/* To peer: send to `member`; from peer: received from `member`. The content is given away: handlers may
 * take it (peer_msg_take). */
typedef struct {
    uint64_t member;
    peer_msg_t *content;
} msg_peer_t;
/* A member can be reached, or not any more, since that time; as peer heartbeats tell. This very member, not
 * any more: the others have removed it. */
typedef struct {
    uint64_t member;
    bool is_active;
    uint64_t since_us;
} msg_peer_status_t;

/* GONE: the process of a member that was heard until just now seems to have ended. A hint, true or not, said
 * again as long as it looks that way. CLOSED, from the port: that member has closed a connection, or a new one
 * cannot be made. */
typedef struct {
    uint64_t member;
} msg_gone_t;

/* Who has published where its clients find it, as applied: such a member was up once, and a process that
 * begins it anew must not. */
typedef struct {
    bytes_t *ids; /* little-endian, 8 bytes each */
} msg_published_t;

/* ---- the peer actor's sockets (pseudo port NETWORK) ---- */
/* LINK, to the port: connect to these URLs from now on, dropping what was queued before; no URL: the
 * member is gone. */
typedef struct {
    uint64_t member;
    bytes_t *urls; /* separated by NUL; NULL = disconnect */
} msg_link_t;
/* FRAME, both ways: one peer frame (messages/peer_codec.h). To the port: to `member`, or as the answer to
 * the question that came with `route`. A frame that can't be sent now is lost. */
typedef struct {
    uint64_t member;
    bool is_bulk; /* the second connection: snapshots never wait in front of heartbeats */
    bytes_t
        *route; /* opaque; NULL but for questions from who is no member yet, and their answers */
    bytes_t *frame;
} msg_frame_t;

/* ---- the WAL writer's disk: batches of bytes in, completion out ---- */
typedef struct {
    uint64_t id;
    bytes_t *batch;          /* what to append to the current segment */
    bytes_t *segment_header; /* not NULL: first start a new segment with these bytes */
    uint64_t purge_before;   /* delete the segments with a lower sequence number; 0 = none */
} msg_disk_write_t;
typedef struct {
    uint64_t id;
    uint64_t segment_bytes;
    uint64_t micros;
    bool lacks_room; /* to prepare the next segment; the current one has what it needs */
} msg_disk_done_t;

typedef struct {
    uint32_t messages;
    uint64_t bytes;
} msg_credit_t;

/* ---- one message ---- */
typedef struct msg {
    msg_kind_t kind;
    actor_id_t from;
    uint32_t cost; /* bytes charged to the edge, set by the outbox */
    union {
        msg_credit_t credit;
        msg_fence_t fence; /* FENCE, QUERY_POS */
        msg_position_t position;
        msg_term_t term;
        msg_stall_t stall;
        msg_hardstate_t hardstate;
        msg_append_log_t append_log;
        msg_log_durable_t log_durable;
        msg_role_t role;
        msg_committed_t committed;
        msg_applied_t applied;
        msg_attend_t attend;
        msg_await_t await;
        msg_restored_t restored;
        msg_propose_t propose;
        msg_refusal_t refusal;
        msg_result_t result;
        msg_read_t read;
        msg_lease_applied_t lease_applied;
        msg_lease_ask_t lease_ask;
        msg_lease_answer_t lease_answer;
        msg_events_t events;
        msg_interest_t interest;
        msg_watch_create_t watch_create;
        msg_watch_stream_t watch_stream;
        msg_watch_out_t watch_out;
        msg_members_t members; /* MEMBERS, PEERS */
        msg_snap_mark_t snap_mark;
        msg_snap_t snap; /* SNAP_READ, DONE, TAKE, DROP, RECEIVED, INSTALL, INSTALLED */
        msg_hash_t hash; /* HASH, HASHED */
        msg_transfer_t transfer;
        msg_peer_t peer;
        msg_peer_status_t peer_status;
        msg_gone_t gone; /* GONE, CLOSED */
        msg_published_t published;
        msg_link_t link;
        msg_frame_t frame;
        msg_disk_write_t disk_write;
        msg_disk_done_t disk_done;
    } u;
} msg_t;

msg_t *msg_new(msg_kind_t kind); /* zeroed */
/* Releases the message and what is still inside; nulls the pointer. */
void msg_free(msg_t **self_p);
const char *msg_kind_name(msg_kind_t kind);
/* Bytes the message keeps alive, about: what edges are charged. */
uint32_t msg_cost(const msg_t *self);
/* One line for traces: kind and the fields that matter, no values. Returns snprintf's length. */
int msg_print(const msg_t *self, char *text, size_t size);
