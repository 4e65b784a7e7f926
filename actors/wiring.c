/* The table. Invariants, checked by tests/unit/test_wiring.c:
 * 1. Every message kind an actor sends has an edge that lists it.
 * 2. Edges on which the sender holds back (EDGE_HOLD) form no cycle: holding can never deadlock.
 * 3. An EDGE_FREE edge says what bounds it. */
#include "actors/wiring.h"

#include <assert.h>

#include "messages/limits.h"

#define MB(n) ((uint64_t)(n) << 20)

/* clang-format off */
#define ELECTION   ACTOR_ELECTION
#define REPLICATOR ACTOR_REPLICATOR
#define WAL_WRITER ACTOR_WAL_WRITER
#define APPLIER    ACTOR_APPLIER
#define KEEPER     ACTOR_KEEPER
#define LEASE      ACTOR_LEASE
#define WATCH      ACTOR_WATCH
#define PEER       ACTOR_PEER
#define GATEWAY    ACTOR_GRPC_GATEWAY
#define ZMQ        ACTOR_ZMQ_GATEWAY

const wiring_edge_t wiring_edges[] = {
    /* from      to          mailbox          kinds */
    {ELECTION,   REPLICATOR, MAILBOX_CONTROL, {MSG_FENCE, MSG_OPEN, MSG_LEAD, MSG_STEP_DOWN, MSG_QUERY_POS},
     EDGE_FREE, 0, 0, "one term change at a time"},
    {REPLICATOR, ELECTION,   MAILBOX_CONTROL, {MSG_FENCED, MSG_POS, MSG_DISK_STALL, MSG_DISK_OK, MSG_BOUNCE,
                                               MSG_LEADER_SEEN, MSG_QUORUM_SEEN, MSG_RESIGNED, MSG_MEMBERS},
     EDGE_FREE, 0, 0, "answers, and one hint of a kind per tick"},
    {ELECTION,   WAL_WRITER, MAILBOX_DATA,    {MSG_HARDSTATE}, EDGE_FREE, 0, 0, "one outstanding"},
    {WAL_WRITER, ELECTION,   MAILBOX_CONTROL, {MSG_HS_DURABLE}, EDGE_FREE, 0, 0, "one per HARDSTATE"},
    {ELECTION,   GATEWAY,    MAILBOX_DATA,    {MSG_ROLE}, EDGE_FREE, 0, 0, "one per role change"},
    {ELECTION,   ZMQ,        MAILBOX_DATA,    {MSG_ROLE}, EDGE_FREE, 0, 0, "one per role change"},
    {ELECTION,   LEASE,      MAILBOX_DATA,    {MSG_ROLE}, EDGE_FREE, 0, 0, "one per role change"},

    {REPLICATOR, WAL_WRITER, MAILBOX_DATA,    {MSG_APPEND_LOG, MSG_SNAP_MARK},
     EDGE_HOLD, 64, MB(64), "entries wait in the replicator's log; proposals are refused above its bound"},
    {WAL_WRITER, REPLICATOR, MAILBOX_CONTROL, {MSG_LOG_DURABLE}, EDGE_FREE, 0, 0, "one per disk write"},
    {REPLICATOR, APPLIER,    MAILBOX_DATA,    {MSG_COMMITTED, MSG_SNAP_INSTALL},
     EDGE_HOLD, 64, MB(32), "committed entries wait in the replicator's log"},
    {APPLIER,    REPLICATOR, MAILBOX_CONTROL, {MSG_APPLIED, MSG_SNAP_INSTALLED},
     EDGE_FREE, 0, 0, "one per span"},

    {GATEWAY,    REPLICATOR, MAILBOX_DATA,    {MSG_PROPOSE, MSG_READ, MSG_TRANSFER},
     EDGE_REFUSE, 4096, MB(64), "the client sees: too many requests"},
    {ZMQ,        REPLICATOR, MAILBOX_DATA,    {MSG_PROPOSE, MSG_READ, MSG_TRANSFER},
     EDGE_REFUSE, 4096, MB(64), "the client sees: too many requests"},
    {REPLICATOR, GATEWAY,    MAILBOX_DATA,    {MSG_REJECTED, MSG_UNKNOWN, MSG_READ_AT, MSG_READ_FAIL},
     EDGE_FREE, 0, 0, "answers"},
    {REPLICATOR, ZMQ,        MAILBOX_DATA,    {MSG_REJECTED, MSG_UNKNOWN, MSG_READ_AT, MSG_READ_FAIL},
     EDGE_FREE, 0, 0, "answers"},
    {APPLIER,    GATEWAY,    MAILBOX_DATA,    {MSG_RESULT, MSG_APPLIED, MSG_RESTORED},
     EDGE_FREE, 0, 0, "answers, and one APPLIED per span"},
    {APPLIER,    ZMQ,        MAILBOX_DATA,    {MSG_RESULT, MSG_APPLIED, MSG_RESTORED},
     EDGE_FREE, 0, 0, "answers, and one APPLIED per span"},
    {ZMQ,        APPLIER,    MAILBOX_DATA,    {MSG_ATTEND}, EDGE_FREE, 0, 0, "one when the first client comes, or the last goes"},

    {APPLIER,    WATCH,      MAILBOX_DATA,    {MSG_EVENTS, MSG_RESTORED},
     EDGE_HOLD, 64, MB(32), "the applier pauses; watch always consumes, so this ends"},
    {WATCH,      APPLIER,    MAILBOX_DATA,    {MSG_INTEREST}, EDGE_FREE, 0, 0, "two per so many spans"},
    {WATCH,      REPLICATOR, MAILBOX_CONTROL, {MSG_INTEREST}, EDGE_FREE, 0, 0, "two per so many spans"},
    {APPLIER,    LEASE,      MAILBOX_DATA,    {MSG_LEASE_APPLIED, MSG_APPLIED, MSG_RESTORED},
     EDGE_HOLD, 256, MB(32), "the applier pauses; lease always consumes, so this ends"},
    {LEASE,      APPLIER,    MAILBOX_DATA,    {MSG_AWAIT}, EDGE_FREE, 0, 0, "one outstanding"},
    {APPLIER,    KEEPER,     MAILBOX_DATA,    {MSG_FLUSH, MSG_RESTORED},
     EDGE_KEEP, 4, MB(1), "the next FLUSH covers what this one would have"},
    {KEEPER,     WAL_WRITER, MAILBOX_DATA,    {MSG_FLUSHED}, EDGE_FREE, 0, 0, "one per FLUSH"},

    {LEASE,      REPLICATOR, MAILBOX_DATA,    {MSG_PROPOSE, MSG_READ},
     EDGE_KEEP, 64, MB(8), "expired leases wait in their heap"},
    {REPLICATOR, LEASE,      MAILBOX_DATA,    {MSG_REJECTED, MSG_UNKNOWN, MSG_READ_AT, MSG_READ_FAIL},
     EDGE_FREE, 0, 0, "answers"},
    {GATEWAY,    LEASE,      MAILBOX_DATA,    {MSG_LEASE_ASK},
     EDGE_REFUSE, 16384, MB(16), "the client sees: too many requests"},
    {ZMQ,        LEASE,      MAILBOX_DATA,    {MSG_LEASE_ASK},
     EDGE_REFUSE, 16384, MB(16), "the client sees: too many requests"},
    {LEASE,      GATEWAY,    MAILBOX_DATA,    {MSG_LEASE_ANSWER}, EDGE_FREE, 0, 0, "answers"},
    {LEASE,      ZMQ,        MAILBOX_DATA,    {MSG_LEASE_ANSWER}, EDGE_FREE, 0, 0, "answers"},

    {GATEWAY,    WATCH,      MAILBOX_DATA,    {MSG_WATCH_CREATE, MSG_WATCH_CANCEL, MSG_WATCH_PROGRESS,
                                               MSG_WATCH_CONSUMED, MSG_WATCH_CLOSE},
     EDGE_KEEP, 16384, MB(16), "requests wait in their stream, whose window then closes"},
    {ZMQ,        WATCH,      MAILBOX_DATA,    {MSG_WATCH_CREATE, MSG_WATCH_CANCEL, MSG_WATCH_PROGRESS,
                                               MSG_WATCH_CONSUMED, MSG_WATCH_CLOSE},
     EDGE_KEEP, 16384, MB(16), "requests wait in their stream, whose window then closes"},
    {WATCH,      GATEWAY,    MAILBOX_DATA,    {MSG_WATCH_OUT},
     EDGE_CATCH_UP, 64, MB(32), "the gateway's watchers fall back to reading from the store"},
    {WATCH,      ZMQ,        MAILBOX_DATA,    {MSG_WATCH_OUT},
     EDGE_CATCH_UP, 64, MB(32), "the gateway's watchers fall back to reading from the store"},

    {GATEWAY,    KEEPER,     MAILBOX_DATA,    {MSG_HASH},
     EDGE_REFUSE, 64, MB(1), "the client sees: too many requests"},
    {ZMQ,        KEEPER,     MAILBOX_DATA,    {MSG_HASH},
     EDGE_REFUSE, 64, MB(1), "the client sees: too many requests"},
    {KEEPER,     GATEWAY,    MAILBOX_DATA,    {MSG_HASHED}, EDGE_FREE, 0, 0, "answers"},
    {KEEPER,     ZMQ,        MAILBOX_DATA,    {MSG_HASHED}, EDGE_FREE, 0, 0, "answers"},

    /* Other members. What is said to them or by them may be lost, never wait: who says it says it again. */
    {ELECTION,   PEER,       MAILBOX_DATA,    {MSG_PEER},
     EDGE_FREE, 0, 0, "one message per member and phase of a term change"},
    {REPLICATOR, PEER,       MAILBOX_DATA,    {MSG_PEER, MSG_PEERS},
     EDGE_KEEP, 4096, MB(64), "entries wait in the replicator's log; heartbeats are skipped"},
    {LEASE,      PEER,       MAILBOX_DATA,    {MSG_PEER},
     EDGE_REFUSE, 4096, MB(4), "the client sees: too many requests"},
    {KEEPER,     PEER,       MAILBOX_DATA,    {MSG_PEER},
     EDGE_KEEP, 64, MB(16), "the snapshot waits where it is"},
    {PEER,       ELECTION,   MAILBOX_CONTROL, {MSG_PEER, MSG_GONE},
     EDGE_DROP, 256, MB(1), "votes are asked for again"},
    {PEER,       REPLICATOR, MAILBOX_CONTROL, {MSG_PEER},
     EDGE_DROP, 4096, MB(64), "appends are sent again"},
    {PEER,       LEASE,      MAILBOX_DATA,    {MSG_PEER},
     EDGE_DROP, 4096, MB(4), "the asking member's client asks again"},
    {PEER,       KEEPER,     MAILBOX_DATA,    {MSG_PEER},
     EDGE_DROP, 64, MB(32), "chunks are sent again"},
    {APPLIER,    PEER,       MAILBOX_DATA,    {MSG_PUBLISHED},
     EDGE_FREE, 0, 0, "one per change of a member's attributes"},
    {PEER,       GATEWAY,    MAILBOX_DATA,    {MSG_PEER_STATUS}, EDGE_FREE, 0, 0, "one per change of a member"},
    {PEER,       ZMQ,        MAILBOX_DATA,    {MSG_PEER_STATUS}, EDGE_FREE, 0, 0, "one per change of a member"},
    {REPLICATOR, KEEPER,     MAILBOX_DATA,    {MSG_SNAP_READ, MSG_SNAP_TAKE, MSG_SNAP_DROP},
     EDGE_FREE, 0, 0, "one transfer per member, one in"},
    {KEEPER,     REPLICATOR, MAILBOX_CONTROL, {MSG_SNAP_DONE, MSG_SNAP_RECEIVED},
     EDGE_FREE, 0, 0, "one per transfer"},
};
/* clang-format on */
const size_t wiring_edge_count = sizeof wiring_edges / sizeof *wiring_edges;

unsigned wiring_stage(actor_id_t actor)
{
    switch (actor) {
    case ACTOR_WAL_WRITER: return 0;
    case ACTOR_KEEPER:
    case ACTOR_PEER: /* stops after those who hand over through it */
    case ACTOR_APPLIER: return 1;
    case ACTOR_LEASE:
    case ACTOR_WATCH: return 2;
    case ACTOR_REPLICATOR:
    case ACTOR_ELECTION: return 3;
    default: return WIRING_STAGES - 1;
    }
}

const wiring_edge_t *wiring_find(actor_id_t from, actor_id_t to)
{
    for (size_t i = 0; i < wiring_edge_count; i++) {
        if (wiring_edges[i].from == from && wiring_edges[i].to == to) {
            return &wiring_edges[i];
        }
    }
    return NULL;
}

bool wiring_carries(const wiring_edge_t *edge, msg_kind_t kind)
{
    for (size_t i = 0; i < WIRING_KINDS_MAX && edge->kinds[i] != MSG_CREDIT; i++) {
        if (edge->kinds[i] == kind) {
            return true;
        }
    }
    return false;
}

bool wiring_credits_due(const wiring_edge_t *edge, const msg_credit_t *owed)
{
    enum { PARTS = 4 };
    return owed->messages >= edge->messages_max / PARTS || owed->bytes >= edge->bytes_max / PARTS;
}

outbox_t *wiring_outbox(actor_id_t actor)
{
    outbox_edge_t edges[PORT_END];
    size_t count = 0;
    for (size_t i = 0; i < wiring_edge_count; i++) {
        const wiring_edge_t *edge = &wiring_edges[i];
        if (edge->from == actor) {
            assert(count < ACTOR_COUNT);
            edges[count++] = (outbox_edge_t){.to = edge->to,
                                             .policy = edge->policy,
                                             .messages_max = edge->messages_max,
                                             .bytes_max = edge->bytes_max};
        }
    }
    if (actor == ACTOR_WAL_WRITER) { /* its disk: one write at a time, done by its shell */
        edges[count++] = (outbox_edge_t){.to = PORT_DISK, .policy = EDGE_FREE};
    }
    if (actor == ACTOR_PEER) { /* its sockets: what they can't take is lost */
        edges[count++] = (outbox_edge_t){.to = PORT_NETWORK, .policy = EDGE_FREE};
    }
    return outbox_new(actor, edges, count);
}

const char *wiring_policy_name(edge_policy_t policy)
{
    static const char *const names[] = {"free", "refuse", "hold", "keep", "catch up", "drop"};
    return names[policy];
}

void wiring_print(FILE *out)
{
    fprintf(out, "digraph quoral {\n  rankdir=LR;\n  node [shape=box];\n");
    for (size_t i = 0; i < wiring_edge_count; i++) {
        const wiring_edge_t *edge = &wiring_edges[i];
        fprintf(out, "  %s -> %s [label=\"", actor_name(edge->from), actor_name(edge->to));
        for (size_t k = 0; k < WIRING_KINDS_MAX && edge->kinds[k] != MSG_CREDIT; k++) {
            fprintf(out, "%s%s", k ? "\\n" : "", msg_kind_name(edge->kinds[k]));
        }
        if (edge->policy != EDGE_FREE) {
            fprintf(out, "\\n[%u msgs, %llu MiB, %s]", edge->messages_max,
                    (unsigned long long)(edge->bytes_max >> 20), wiring_policy_name(edge->policy));
        }
        fprintf(out, "\"%s];\n", edge->mailbox == MAILBOX_CONTROL ? ", style=bold" : "");
    }
    fprintf(out, "  wal_writer -> disk [label=\"DISK_WRITE\", dir=both];\n");
    fprintf(out, "  peer -> network [label=\"LINK\\nFRAME\\nCLOSED\", dir=both];\n}\n");
}
