/* limits: every number that bounds a queue, a batch, a message or a loop, with its reason. */
#pragma once

/* ---- requests (contract section 3.6) ---- */
#define LIMIT_REQUEST_BYTES          1572864 /* default of --max-request-bytes, as etcd */
#define LIMIT_REQUEST_OVERHEAD_BYTES 524288  /* what a message may exceed it by, as etcd */
#define LIMIT_TXN_OPS                128     /* default of --max-txn-ops, as etcd */
#define LIMIT_LEASE_TTL_S            9000000000LL
#define LIMIT_MESSAGE_DEPTH          32 /* nesting: protobuf-c recurses on the stack without a limit */
#define LIMIT_MESSAGE_FIELDS         100000 /* protobuf-c spends ~50 bytes on a two-byte field */
#define LIMIT_DECODE_BYTES                                                                         \
    (32u << 20)                    /* an unpacked Txn on top of its bytes: ~120 for each field */
#define LIMIT_CALLS         100000 /* in progress per gateway, streams too: ~500 bytes each */
#define LIMIT_APPLY_BACKLOG 5000   /* commit - applied above which proposals are refused, as etcd */

/* ---- batches ---- */
#define LIMIT_SPAN_ENTRIES 1000 /* entries applied as one store batch */
#define LIMIT_REPORT_ENTRIES                                                                       \
    512 /* applied before the replicator hears of it: a tenth of LIMIT_APPLY_BACKLOG */
#define LIMIT_REPORT_BYTES (4u << 20) /* and their bytes: a sixteenth of LIMIT_INFLIGHT_BYTES */
#define LIMIT_SPAN_BYTES                                                                           \
    (4u << 20) /* one batch must stay far below the write buffer's worth of stall */
#define LIMIT_APPEND_ENTRIES 4096       /* entries of one APPEND_LOG */
#define LIMIT_APPEND_BYTES   (8u << 20) /* bytes of one APPEND_LOG, unless a single entry is larger */
#define LIMIT_STEP_BURST     64 /* messages a shell steps before it looks at its pipe again */
#define LIMIT_TRACE_ENTRIES  64 /* messages of each actor in /debug/trace: the last burst */

/* ---- members of a cluster ---- */
#define LIMIT_MEMBERS 64 /* votes cost a message each; seven voters are many already */
#define LIMIT_PEER_APPEND_BYTES                                                                    \
    (1u << 20)                         /* of one append to a follower, unless one entry is larger */
#define LIMIT_PEER_INFLIGHT_APPENDS 64 /* appends a follower has not acknowledged yet */
#define LIMIT_PEER_INFLIGHT_BYTES                                                                  \
    (16u << 20)                      /* and their entries: a fast link's delay times its rate */
#define LIMIT_FORWARDED       100000 /* proposals at the leader without an answer; as LIMIT_CALLS */
#define LIMIT_FORWARDED_READS 1024 /* questions of followers that wait for a round at the leader */
#define LIMIT_FORWARD_ORIGINS                                                                      \
    256                          /* runs of members whose forwards a leader tells apart in a term */
#define LIMIT_WAITING_CHANGES 16 /* of membership: one is made at a time, people ask for them */
#define LIMIT_HELD_BATCHES    4096 /* of proposals while the leadership is handed over */
#define LIMIT_LOG_SNAPSHOT_BYTES                                                                   \
    (256u << 20) /* log kept while a snapshot is on its way; above, that one was for nothing */
#define LIMIT_TERM                                                                                 \
    (1ull << 62) /* of what others say: above, it is no term that any cluster gets to */

/* ---- the write-ahead log's files ---- */
#define LIMIT_WAL_SEGMENT_BYTES       (16u << 20) /* a segment: zeroed when made, read whole at start */
#define LIMIT_WAL_SEGMENT_BYTES_MIN   4096u       /* smaller ones only cost: a header each */
#define LIMIT_WAL_FILE_BYTES          (1u << 30) /* above, it is not ours: a segment is read whole */
#define LIMIT_WAL_RECORD_BYTES        (64u << 20) /* one entry; above any --max-request-bytes */
#define LIMIT_WAL_BATCH_BYTES         (16u << 20) /* one write, unless one message is larger */
#define LIMIT_WAL_CONFIGURATION_BYTES (1u << 20)  /* an encoded configuration in a header */

/* ---- memory ---- */
#define LIMIT_LOG_BYTES          (64u << 20)  /* log kept in memory for slow followers */
#define LIMIT_INFLIGHT_BYTES     (64u << 20)  /* proposals accepted and not yet applied */
#define LIMIT_ANSWER_BYTES       (256u << 20) /* answers under construction, per gateway */
#define LIMIT_WATCH_RECENT_BYTES (16u << 20)  /* recent events the watch actor keeps in memory */
#define LIMIT_STREAM_BYTES                                                                         \
    (4u << 20) /* unsent bytes of one stream before its watchers fall back to catch-up */
#define LIMIT_WATCH_UNSENT_BYTES                                                                   \
    (256u << 20)               /* unsent events of all streams; each has an equal share */
#define LIMIT_WATCHERS 1000000 /* per node; about 200 bytes each */

/* ---- snapshots for other members ---- */
#define LIMIT_SNAPSHOT_CHUNK_BYTES                                                                 \
    (256u                                                                                          \
     << 10) /* rows of one message, unless one row is larger: well below a bulk connection's buffers */
#define LIMIT_SNAPSHOT_WINDOW 4 /* chunks sent and not acknowledged: 1 MiB per receiver */
#define LIMIT_SNAPSHOT_SENDS                                                                       \
    4 /* receivers at a time: each pins the tables of one view of the store; others wait and ask again */
#define LIMIT_SNAPSHOT_AGAIN_US   1000000  /* without an acknowledgement: say it again */
#define LIMIT_SNAPSHOT_SILENCE_US 30000000 /* without progress: the other side is gone */
#define LIMIT_HASHES              64   /* HashKV requests that wait: each reads the whole store */
#define LIMIT_HASH_SLICE_ROWS     2000 /* records hashed before other work has a turn: about 1 ms */

/* ---- reads ---- */
#define LIMIT_WATCH_WAITING       16384 /* watch requests without room on their edge, per gateway */
#define LIMIT_WATCH_WAITING_BYTES (16u << 20) /* and their keys */
#define LIMIT_LEASE_ASKS          100000 /* lease questions waiting for a leader, per gateway */
#define LIMIT_LEASE_QUESTIONS                                                                      \
    100000                      /* open in the lease actor, and as many passed on to the leader */
#define LIMIT_KEEP_ALIVES 10000 /* unanswered on one stream */
#define LIMIT_READ_ROUNDS 4     /* read indexes asked for at a time; later reads share the next */
#define LIMIT_TURN_KEYS   4000  /* keys all ranges together read in one turn of a gateway */
#define LIMIT_RANGE_SLICE_KEYS                                                                     \
    1000 /* keys a range reads before other streams get a turn (about 0.2 ms) */
#define LIMIT_RANGE_SLICE_BYTES (1u << 20)
#define LIMIT_CATCHUP_EVENTS    1000 /* events read from the store per catch-up slice */

/* ---- other members ---- */
/* One frame: the largest entry or the largest PROPOSE that may be in flight, and what goes with it. */
#define LIMIT_PEER_FRAME_BYTES (72u << 20)
#define LIMIT_PEER_NUMBER      (1ull << 62) /* of a term, index or id: sums and steps still fit */
#define LIMIT_PEER_GUESTS      16           /* who say they are members and are not known yet */
#define LIMIT_PEER_URLS_BYTES  16384        /* where one of those listens */
#define LIMIT_PEER_QUEUE       256          /* frames ZeroMQ holds per connection, each way */
#define LIMIT_PEER_BURST       256          /* frames taken in before the core's end of burst */
#define LIMIT_PEER_BURST_BYTES (16u << 20)  /* and their bytes: two large APPENDs */
#define LIMIT_JOIN_URLS        64           /* asked at a time which cluster they are */
#define LIMIT_PEER_IO_THREADS  4 /* of ZeroMQ: one for what comes in from members, others out */
#define LIMIT_FORWARD_ITEMS    LIMIT_CALLS /* proposals of one PROPOSE_FWD: one for every call */

/* ---- native clients ---- */
#define LIMIT_NATIVE_CLIENTS 10000 /* as LIMIT_CONNECTIONS */
#define LIMIT_NATIVE_CALLS   4096  /* of one client, in progress */
#define LIMIT_NATIVE_WINDOW_OCTETS                                                                 \
    (16u << 20) /* of answers not acknowledged, as a connection's window */
#define LIMIT_NATIVE_UNSENT_BYTES                                                                  \
    (256u                                                                                          \
     << 20) /* answers of all clients that are not acknowledged; above, each has an equal share */
#define LIMIT_NATIVE_ON_THE_WAY          8192 /* messages not acknowledged, of one client: ~200 bytes each */
#define LIMIT_NATIVE_WAITING             16384 /* requests of one client that wait for its window */
#define LIMIT_NATIVE_WAITING_BYTES       (16u << 20)  /* and their bodies */
#define LIMIT_NATIVE_WAITING_TOTAL_BYTES (256u << 20) /* of all clients, as LIMIT_RECEIVING_BYTES */
#define LIMIT_NATIVE_STRAYS              1024 /* errors for who has no session, in one turn */
#define LIMIT_NATIVE_SEND_QUEUE                                                                    \
    32768 /* messages ZeroMQ holds for one client: those on the way, twice since it counts late, and PONGs */
#define LIMIT_NATIVE_RECEIVE_QUEUE 256         /* and from one client */
#define LIMIT_NATIVE_BURST         1024        /* messages taken in before the end of the turn */
#define LIMIT_NATIVE_BURST_BYTES   (16u << 20) /* and their bytes */

/* ---- CURVE ---- */
#define LIMIT_CURVE_FILE_BYTES 16384 /* of a certificate: CZMQ writes about 500 */
#define LIMIT_CURVE_FILES      4096  /* of a directory: each is looked at once a second */
#define LIMIT_CURVE_COMPLAINTS                                                                     \
    32 /* about files, per look: who has more broken ones sees how many */
#define LIMIT_CURVE_OVERHEAD_BYTES                                                                 \
    64 /* what encryption adds to a frame: 33, and the size of a size */
#define LIMIT_HANDSHAKE_LINES_PER_S 10 /* in the log; the rest is only counted */
#define LIMIT_HANDSHAKES_NOTED      64 /* addresses whose failed handshakes were logged lately */
#define LIMIT_HANDSHAKE_EVENTS      64 /* taken from a monitor per turn */

/* ---- HTTP/2 ---- */
#define LIMIT_CONNECTIONS       10000 /* per gateway; below RLIMIT_NOFILE, checked at start */
#define LIMIT_HEADER_LIST_BYTES 16384
#define LIMIT_HEADERS           64
#define LIMIT_STATUS_TEXT_BYTES 4096 /* of grpc-message: clients limit the header list too */
/* What clients call their version becomes a label of a metric: more, or longer, share one. */
#define LIMIT_CLIENT_VERSIONS      16
#define LIMIT_CLIENT_VERSION_BYTES 32
/* PING, SETTINGS, empty DATA, PRIORITY, WINDOW_UPDATE, unknown and invalid frames: then
 * ENHANCE_YOUR_CALM. Every frame of an answer permits a few more, since clients acknowledge
 * answers with WINDOW_UPDATEs and measure their bandwidth with PINGs. */
#define LIMIT_CONTROL_FRAMES_PER_S    100
#define LIMIT_CONTROL_FRAMES_BURST    1000
#define LIMIT_CONTROL_FRAMES_ALLOWED  4 /* per frame of an answer */
#define LIMIT_OUTBOUND_ACKS           64
#define LIMIT_STREAM_RESETS_BURST     200
#define LIMIT_STREAM_RESETS_PER_S     20
#define LIMIT_STREAM_RESETS_EARNED    1000 /* by answered calls, one each: time-outs come in heaps */
#define LIMIT_RAPID_RESET_US          1000000 /* only calls reset in this time, unanswered, count */
#define LIMIT_PING_STRIKES            2       /* pings more often than allowed, as grpc-go */
#define LIMIT_STREAM_WINDOW_BYTES     (1u << 20)
#define LIMIT_CONNECTION_WINDOW_BYTES (16u << 20)
/* Unsent bytes of one connection above which complete requests wait in front of the request core. */
#define LIMIT_CONNECTION_BYTES (16u << 20)
#define LIMIT_RECEIVING_BYTES  (256u << 20) /* of request messages not complete yet, per gateway */
#define LIMIT_OUTPUT_BYTES     (256u << 10) /* produced ahead of the socket, per connection */
#define LIMIT_READ_BYTES       65536        /* per read() */
#define LIMIT_ACCEPT_BURST     64           /* connections accepted per turn and listening socket */
#define LIMIT_EPOLL_EVENTS     256 /* sockets served per turn; the rest is first next time */
#define LIMIT_WRITE_ROUNDS     4 /* outputs per connection and turn: 1 MiB, then others have a turn */

#define LIMIT_POOL_BLOCKS 2048 /* freed blocks kept per size (64 to 512 bytes): 4.5 MiB in all */

/* ---- time-outs of client connections ---- */
#define LIMIT_HANDSHAKE_US     5000000  /* preface and SETTINGS; half-open clients */
#define LIMIT_UNUSED_US        60000000 /* a connection that never made a call */
#define LIMIT_REQUEST_US       10000000 /* a message's bytes: per 64 KiB, so that slow links can upload */
#define LIMIT_REQUEST_PROGRESS 65536
#define LIMIT_UNARY_STALL_US   30000000 /* a client that does not take its answer */
#define LIMIT_STREAM_STALL_US  60000000
#define LIMIT_SOCKET_STALL_US  60000000 /* a socket that takes nothing */

/* ---- events for native clients: the publish socket ---- */
/* A message is at most a topic, a header with all links and an inline body: 22 KiB. Who does not read costs a number
 * for each that waits, and the socket's buffer; the messages are there once, within the backlog's bounds. With CURVE
 * the socket is libzmq's: then it is 64 bytes a frame, and the messages have no bound but their number. */
#define LIMIT_NATIVE_TOPIC_BYTES        4096 /* of a topic, and so of a subscription that gets positions */
#define LIMIT_NATIVE_INLINE_BYTES       16384 /* of an event's body; a larger one is fetched */
#define LIMIT_NATIVE_LINKS              64 /* registered subscriptions that may match one topic */
#define LIMIT_NATIVE_REGISTRATIONS      65536       /* per node: each costs a mark per interval */
#define LIMIT_NATIVE_REGISTRATION_BYTES (16u << 20) /* of all subscriptions that are registered */
#define LIMIT_NATIVE_REVISION_EVENTS                                                               \
    4096 /* of one revision that are published: more would only overrun every subscriber's queue */
#define LIMIT_NATIVE_PUBLISH_QUEUE                                                                 \
    10000 /* messages that wait for one subscriber: more than one revision has */
#define LIMIT_NATIVE_QUEUED                                                                        \
    4194304 /* messages that wait, each counted per subscriber: 8 to 16 bytes each */
#define LIMIT_NATIVE_BACKLOG       65536 /* messages between the oldest that waits and the newest */
#define LIMIT_NATIVE_BACKLOG_BYTES (128u << 20) /* of those that wait: more than one revision has */
#define LIMIT_NATIVE_SEND_BUFFER_BYTES                                                             \
    (256 << 10)                               /* of a subscriber's socket; Linux takes twice that */
#define LIMIT_NATIVE_SUBSCRIBERS      10000   /* connections; at most half of the descriptors */
#define LIMIT_NATIVE_SUBSCRIPTIONS    1000000 /* of all subscribers: ~50 bytes each */
#define LIMIT_NATIVE_TOPICS           262144 /* different ones; with their marks, twice what is registered */
#define LIMIT_NATIVE_SUBSCRIBED_BYTES (64u << 20) /* of those */
#define LIMIT_NATIVE_SENDS            256 /* sockets written to before other work has a turn: about 1 ms */
#define LIMIT_NATIVE_SUBSCRIPTION_MESSAGE_BYTES                                                    \
    16384 /* from subscribers: a subscription too long for positions still filters */
#define LIMIT_NATIVE_MARKS 256 /* published before other work has a turn */
#define LIMIT_NATIVE_BEHIND_US                                                                     \
    3000000 /* a store behind its client may catch up; then another member */

/* ---- configuration ---- */
#define LIMIT_URLS              64         /* of one list: a member listens on a handful */
#define LIMIT_CONFIG_FILE_BYTES (1u << 20) /* a configuration is a few KiB */
#define LIMIT_CONFIG_DEPTH      16         /* nesting inside keys that are skipped */
#define LIMIT_NAME_BYTES        1024 /* of a member or a cluster token: both travel in the log */
#define LIMIT_REQUEST_BYTES_MAX                                                                    \
    (32u << 20)              /* of --max-request-bytes: half of what may be in flight */
#define LIMIT_LOG_OUTPUTS 16 /* files and streams that get the log */

/* ---- HTTP/1.1 (pages for people and probes; the API itself is HTTP/2) ---- */
#define LIMIT_HTTP1_BODY_BYTES   65536 /* of a request: read and thrown away, no page needs one */
#define LIMIT_HTTP1_OUTPUT_BYTES 65536 /* unsent above which pipelined requests wait */
#define LIMIT_HTTP1_HEAD_US                                                                        \
    10000000 /* a request's head: against clients that send it drop by drop */
#define LIMIT_HTTP1_IDLE_US  120000000 /* a connection without a request */
#define LIMIT_HTTP1_STALL_US 60000000  /* a client that does not take its answer */
