/* peer_msg: what members of a cluster say to each other, as typed structs (docs/CONSENSUS.md).
 * Pure. peer_codec.h turns them into frames and back; cluster, sender, receiver, incarnation and checksum
 * belong to the frame and are the peer actor's business. Every handler accepts duplicates and any order,
 * and a message may always be lost. */
#pragma once

#include "messages/entry.h"
#include "messages/errors.h"

/* X(kind, who handles it at the receiver) */
#define PEER_KINDS(X)                                                                              \
    X(REQ_PREVOTE, ELECTION)   /* vote_request; term: the one that would be stood for */           \
    X(PREVOTE, ELECTION)       /* vote; granted: term as asked, else the voter's */                \
    X(REQ_VOTE, ELECTION)      /* vote_request */                                                  \
    X(VOTE, ELECTION)          /* vote */                                                          \
    X(TIMEOUT_NOW, ELECTION)   /* stand now: the leader hands over */                              \
    X(APPEND, REPLICATOR)      /* append */                                                        \
    X(APPEND_ACK, REPLICATOR)  /* append_ack */                                                    \
    X(HEARTBEAT, REPLICATOR)   /* heartbeat */                                                     \
    X(HB_ACK, REPLICATOR)      /* heartbeat: round only */                                         \
    X(READ_FWD, REPLICATOR)    /* read: id */                                                      \
    X(READ_FWD_AT, REPLICATOR) /* read: id, index; or error: no such index now */                  \
    X(PROPOSE_FWD, REPLICATOR) /* propose */                                                       \
    X(PROPOSE_ACK,                                                                                 \
      REPLICATOR) /* propose_reply: forwards up to id that were taken lie at or below index */     \
    X(PROPOSE_REJ, REPLICATOR) /* propose_reply: id never entered the log, error says why */       \
    X(LEASE_FWD, LEASE)        /* lease_ask */                                                     \
    X(LEASE_REPLY, LEASE)      /* lease_answer */                                                  \
    X(SNAP_META, REPLICATOR)   /* snap_meta */                                                     \
    X(SNAP_CHUNK, KEEPER)      /* snap_chunk */                                                    \
    X(SNAP_ACK, KEEPER)        /* snap_ack */                                                      \
    X(PING, PEER)              /* ping: stays within the peer actors */                            \
    X(PONG, PEER)              /* ping, as it came */                                              \
    X(WHO, PEER)               /* a process that joins asks which cluster this is */               \
    X(CLUSTER, PEER)           /* cluster: the answer */

typedef enum {
    PEER_NONE = 0,
#define X(kind, handler) PEER_##kind,
    PEER_KINDS(X)
#undef X
        PEER_KINDS_COUNT
} peer_kind_t;

typedef enum { LEASE_OP_KEEPALIVE, LEASE_OP_TIME_TO_LIVE, LEASE_OP_LIST } lease_op_t;

typedef struct {
    uint64_t last_term, last_index; /* of the candidate's log */
    bool transfer; /* REQ_VOTE: the old leader asked for it: no waiting for its silence */
} peer_vote_request_t;
typedef struct {
    bool granted;
} peer_vote_t;
typedef struct {
    uint64_t prev_index, prev_term;
    uint64_t commit;   /* the leader's */
    uint64_t round;    /* of confirming leadership: numbered by the leader, per term (read index) */
    entries_t entries; /* follow prev_index; may be empty: a probe */
} peer_append_t;
typedef struct {
    bool ok;
    uint64_t
        index; /* ok: the log matches the leader's up to here, durably; else: prev_index refused */
    uint64_t hint_index, hint_term; /* not ok: the last place where the logs may agree */
    uint64_t round;
    bool is_watched; /* somebody there waits for events: the commit index is wanted soon */
} peer_append_ack_t;
typedef struct {
    uint64_t commit; /* HEARTBEAT: min(the leader's commit, the follower's match) */
    uint64_t round;
    bool is_watched; /* HB_ACK: as in an acknowledgement of appends */
} peer_heartbeat_t;
typedef struct {
    uint64_t id; /* grows per sender incarnation; a repeated question has a new one */
    uint64_t index;
    api_error_t error;
} peer_read_t;
typedef struct {
    uint64_t id;       /* of the batch; grows per sender incarnation. Taken once, never repeated */
    proposal_t *items; /* req_id is not sent: the payload names who waits */
    size_t count;
} peer_propose_t;
typedef struct {
    uint64_t id;
    uint64_t index;
    api_error_t error;
} peer_propose_reply_t;
typedef struct {
    uint64_t id;
    lease_op_t op;
    int64_t lease;
    uint64_t
        applied_index; /* what the asking member has applied: answered only once the leader has too */
} peer_lease_ask_t;
typedef struct {
    uint64_t id;
    api_error_t error;
    int64_t lease, ttl_s, granted_ttl_s;
} peer_lease_answer_t;
typedef struct {
    uint64_t id;              /* of the transfer */
    uint64_t index, log_term; /* of the last entry it contains */
    bytes_t *configuration;   /* in force at index */
} peer_snap_meta_t;
typedef struct {
    uint64_t id;
    uint64_t seq;  /* 0, 1, 2 ... */
    bytes_t *rows; /* records of the store, store/snapshot_stream.h */
    bool is_last;
    uint64_t row_count; /* with the last one: of all chunks, and a checksum over them */
    uint32_t checksum;
} peer_snap_chunk_t;
typedef struct {
    uint64_t id;
    uint64_t next_seq; /* the chunk wanted next; all below have come */
    bool is_refused;   /* no such transfer (any more) */
    bool is_done;      /* it is installed: the log goes on behind it */
} peer_snap_ack_t;
typedef struct {
    uint64_t sent_us; /* by the asker's clock */
    bytes_t *urls;    /* PING: where the sender listens, if it is not known yet; NUL between them */
} peer_ping_t;
/* The cluster id is the frame's. Also told, unasked, to a member that was removed: it may not know. */
typedef struct {
    uint64_t index;         /* of the configuration in the sender's log */
    bool is_committed;      /* else it may still be replaced */
    bytes_t *configuration; /* encoded quoral.Configuration */
    bytes_t *published;     /* ids of members that were up once: msg_published_t */
} peer_cluster_t;

typedef struct {
    peer_kind_t kind;
    uint64_t term;
    uint64_t incarnation; /* of the sending process: set by the peer actors on both sides */
    union {
        peer_vote_request_t vote_request;
        peer_vote_t vote;
        peer_append_t append;
        peer_append_ack_t append_ack;
        peer_heartbeat_t heartbeat;
        peer_read_t read;
        peer_propose_t propose;
        peer_propose_reply_t propose_reply;
        peer_lease_ask_t lease_ask;
        peer_lease_answer_t lease_answer;
        peer_snap_meta_t snap_meta;
        peer_snap_chunk_t snap_chunk;
        peer_snap_ack_t snap_ack;
        peer_ping_t ping;
        peer_cluster_t cluster;
    } u;
} peer_msg_t;

peer_msg_t *peer_msg_new(peer_kind_t kind, uint64_t term); /* else zeroed */
/* Where the ids of one run's questions begin: far from those of other runs, and with room to grow below
 * LIMIT_PEER_NUMBER, above which frames are refused. */
uint64_t peer_first_id(uint64_t seed);
/* Releases what is inside, too; nulls the pointer; accepts NULL. */
void peer_msg_free(peer_msg_t **self_p);
const char *peer_kind_name(peer_kind_t kind);
/* Bytes it keeps alive, about. */
size_t peer_msg_cost(const peer_msg_t *self);
/* One line for traces. Returns snprintf's length. */
int peer_msg_print(const peer_msg_t *self, char *text, size_t size);
