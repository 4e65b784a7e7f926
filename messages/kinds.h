/* kinds: the one list of in-process messages. Adding one: a line here, its struct in msg.h, its
 * release in msg.c, an edge in actors/wiring.c, a handler, a scenario. */
#pragma once

/* clang-format off */
#define MSG_KINDS(X) \
    /* runtime */ \
    X(CREDIT)        /* receiver -> sender: messages and bytes taken from the edge */ \
    X(STOP)          /* shell -> core: finish what is in flight, then outbox_stopped() */ \
    /* election <-> replicator <-> wal_writer: docs/CONSENSUS.md */ \
    X(FENCE) X(FENCED) X(OPEN) X(LEAD) X(STEP_DOWN) \
    X(DISK_STALL) X(DISK_OK) X(QUERY_POS) X(POS) \
    X(HARDSTATE) X(HS_DURABLE) X(APPEND_LOG) X(SNAP_MARK) X(LOG_DURABLE) X(ROLE) \
    X(BOUNCE) X(LEADER_SEEN) X(QUORUM_SEEN) X(RESIGNED) X(MEMBERS) \
    /* members of the cluster */ \
    X(PEER)          /* what a member says to another: messages/peer_msg.h */ \
    X(PEERS) X(PEER_STATUS) X(GONE) X(PUBLISHED) X(TRANSFER) \
    X(SNAP_READ) X(SNAP_DONE) X(SNAP_TAKE) X(SNAP_DROP) X(SNAP_RECEIVED) \
    X(SNAP_INSTALL) X(SNAP_INSTALLED) \
    X(HASH) X(HASHED) \
    /* log -> store */ \
    X(COMMITTED) X(APPLIED) X(ATTEND) X(AWAIT) X(INTEREST) X(RESTORED) X(FLUSH) X(FLUSHED) \
    /* requests */ \
    X(PROPOSE) X(REJECTED) X(UNKNOWN) X(RESULT) X(READ) X(READ_AT) X(READ_FAIL) \
    /* leases */ \
    X(LEASE_APPLIED) X(LEASE_ASK) X(LEASE_ANSWER) \
    /* watches */ \
    X(EVENTS) X(WATCH_CREATE) X(WATCH_CANCEL) X(WATCH_PROGRESS) X(WATCH_CONSUMED) X(WATCH_CLOSE) \
    X(WATCH_OUT) \
    /* wal_writer <-> its disk, peer <-> its sockets (pseudo ports) */ \
    X(DISK_WRITE) X(DISK_DONE) \
    X(LINK) X(FRAME) X(CLOSED)
/* clang-format on */
