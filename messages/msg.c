#include "messages/msg.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "messages/xalloc.h"

static const char *const kind_names[] = {
#define X(kind) #kind,
    MSG_KINDS(X)
#undef X
};

const char *msg_kind_name(msg_kind_t kind)
{
    assert((unsigned)kind < MSG_KINDS_COUNT);
    return kind_names[kind];
}

const char *actor_name(actor_id_t id)
{
    static const char *const names[] = {
        [ACTOR_NONE] = "none",
        [ACTOR_ELECTION] = "election",
        [ACTOR_REPLICATOR] = "replicator",
        [ACTOR_WAL_WRITER] = "wal_writer",
        [ACTOR_APPLIER] = "applier",
        [ACTOR_KEEPER] = "keeper",
        [ACTOR_LEASE] = "lease",
        [ACTOR_WATCH] = "watch",
        [ACTOR_PEER] = "peer",
        [ACTOR_GRPC_GATEWAY] = "grpc_gateway",
        [ACTOR_ZMQ_GATEWAY] = "zmq_gateway",
        [PORT_DISK] = "disk",
        [PORT_NETWORK] = "network",
    };
    assert((unsigned)id < sizeof names / sizeof *names);
    return names[id];
}

const char *role_name(role_t role)
{
    static const char *const names[] = {"follower", "pre-candidate", "candidate", "leader"};
    assert((unsigned)role < sizeof names / sizeof *names);
    return names[role];
}

void entries_deinit(entries_t *self)
{
    for (size_t i = 0; i < self->count; i++) {
        bytes_unref(&self->items[i].payload);
    }
    free(self->items);
    *self = (entries_t){0};
}

/* Room is always a power of two, as entries_append expects. */
void entries_reserve(entries_t *self, size_t count)
{
    size_t capacity = 1;
    while (capacity < self->count + count) {
        capacity *= 2;
    }
    self->items = xrealloc(self->items, capacity * sizeof *self->items);
}

/* Capacity is the next power of two of the count, so that appending needs no third field. */
void entries_append(entries_t *self, const entry_t *entry)
{
    if ((self->count & (self->count - 1)) == 0) {
        size_t capacity = self->count ? self->count * 2 : 1;
        self->items = xrealloc(self->items, capacity * sizeof *self->items);
    }
    entry_t *copy = &self->items[self->count++];
    *copy = *entry;
    copy->payload = bytes_ref(entry->payload);
    self->bytes += bytes_len(entry->payload);
}

msg_t *msg_new(msg_kind_t kind)
{
    msg_t *self = xcalloc(1, sizeof *self);
    self->kind = kind;
    return self;
}

void proposals_free(proposal_t **items_p, size_t count)
{
    for (size_t i = 0; *items_p && i < count; i++) {
        bytes_unref(&(*items_p)[i].payload);
    }
    free(*items_p);
    *items_p = NULL;
}

static void free_result(msg_result_t *result)
{
    for (size_t i = 0; result->items && i < result->count; i++) {
        bytes_unref(&result->items[i].body);
    }
    free(result->items);
}

static void free_events(msg_events_t *events)
{
    for (size_t i = 0; events->items && i < events->count; i++) {
        bytes_unref(&events->items[i].kv);
        bytes_unref(&events->items[i].prev_kv);
    }
    free(events->items);
}

static void free_watch_out(msg_watch_out_t *out)
{
    for (size_t i = 0; out->items && i < out->count; i++) {
        bytes_unref(&out->items[i].events);
    }
    free(out->items);
}

/* Of what has to do with other members. */
static void free_cluster_content(msg_t *self)
{
    switch (self->kind) {
    case MSG_MEMBERS:
    case MSG_PEERS: bytes_unref(&self->u.members.configuration); break;
    case MSG_SNAP_MARK: bytes_unref(&self->u.snap_mark.configuration); break;
    case MSG_SNAP_READ:
    case MSG_SNAP_DONE:
    case MSG_SNAP_TAKE:
    case MSG_SNAP_DROP:
    case MSG_SNAP_RECEIVED:
    case MSG_SNAP_INSTALL:
    case MSG_SNAP_INSTALLED:
        bytes_unref(&self->u.snap.configuration);
        shared_unref(&self->u.snap.store);
        break;
    case MSG_PEER: peer_msg_free(&self->u.peer.content); break;
    case MSG_PUBLISHED: bytes_unref(&self->u.published.ids); break;
    case MSG_LINK: bytes_unref(&self->u.link.urls); break;
    case MSG_FRAME:
        bytes_unref(&self->u.frame.route);
        bytes_unref(&self->u.frame.frame);
        break;
    default: break; /* plain numbers */
    }
}

static void free_content(msg_t *self)
{
    switch (self->kind) {
    case MSG_FENCED:
    case MSG_POS: bytes_unref(&self->u.position.configuration); break;
    case MSG_APPEND_LOG: entries_deinit(&self->u.append_log.entries); break;
    case MSG_COMMITTED: entries_deinit(&self->u.committed.entries); break;
    case MSG_RESTORED: shared_unref(&self->u.restored.store); break;
    case MSG_PROPOSE: proposals_free(&self->u.propose.items, self->u.propose.count); break;
    case MSG_REJECTED:
    case MSG_UNKNOWN: free(self->u.refusal.req_ids); break;
    case MSG_RESULT: free_result(&self->u.result); break;
    case MSG_LEASE_APPLIED: free(self->u.lease_applied.items); break;
    case MSG_LEASE_ANSWER: free(self->u.lease_answer.ids); break;
    case MSG_EVENTS: free_events(&self->u.events); break;
    case MSG_WATCH_CREATE:
        bytes_unref(&self->u.watch_create.key);
        bytes_unref(&self->u.watch_create.range_end);
        break;
    case MSG_WATCH_OUT: free_watch_out(&self->u.watch_out); break;
    case MSG_DISK_WRITE:
        bytes_unref(&self->u.disk_write.batch);
        bytes_unref(&self->u.disk_write.segment_header);
        break;
    default: free_cluster_content(self); break;
    }
}

void msg_free(msg_t **self_p)
{
    msg_t *self = *self_p;
    *self_p = NULL;
    if (self) {
        free_content(self);
        free(self);
    }
}

static size_t cost_of_propose(const msg_propose_t *propose)
{
    size_t cost = 0;
    for (size_t i = 0; i < propose->count; i++) {
        cost += sizeof(proposal_t) + bytes_len(propose->items[i].payload);
    }
    return cost;
}

static size_t cost_of_events(const msg_events_t *events)
{
    size_t cost = 0;
    for (size_t i = 0; i < events->count; i++) {
        cost +=
            sizeof(event_t) + bytes_len(events->items[i].kv) + bytes_len(events->items[i].prev_kv);
    }
    return cost;
}

static size_t cost_of_watch_out(const msg_watch_out_t *out)
{
    size_t cost = 0;
    const bytes_t *last = NULL;
    for (size_t i = 0; i < out->count; i++) {
        cost += sizeof(watch_item_t);
        if (out->items[i].events != last) { /* neighbours share bytes */
            last = out->items[i].events;
            cost += bytes_len(last);
        }
    }
    return cost;
}

uint32_t msg_cost(const msg_t *self)
{
    size_t cost = sizeof *self;
    switch (self->kind) {
    case MSG_APPEND_LOG:
        cost +=
            self->u.append_log.entries.bytes + self->u.append_log.entries.count * sizeof(entry_t);
        break;
    case MSG_COMMITTED:
        cost += self->u.committed.entries.bytes + self->u.committed.entries.count * sizeof(entry_t);
        break;
    case MSG_PROPOSE: cost += cost_of_propose(&self->u.propose); break;
    case MSG_EVENTS: cost += cost_of_events(&self->u.events); break;
    case MSG_PEER: cost += peer_msg_cost(self->u.peer.content); break;
    case MSG_FRAME: cost += bytes_len(self->u.frame.frame); break;
    case MSG_WATCH_OUT: cost += cost_of_watch_out(&self->u.watch_out); break;
    case MSG_WATCH_CREATE:
        cost += bytes_len(self->u.watch_create.key) + bytes_len(self->u.watch_create.range_end);
        break;
    default: break;
    }
    return cost > UINT32_MAX ? UINT32_MAX : (uint32_t)cost;
}

static int print_peer(const msg_peer_t *peer, char *text, size_t size)
{
    int used = snprintf(text, size, " member=%" PRIx64 " ", peer->member);
    if (used < 0 || (size_t)used >= size) {
        return used;
    }
    int more = peer_msg_print(peer->content, text + used, size - (size_t)used);
    return more < 0 ? more : used + more;
}

/* Of what has to do with other members. */
/* To the applier: what is to be told. */
static int print_wish(const msg_t *self, char *text, size_t size)
{
    switch (self->kind) {
    case MSG_AWAIT: return snprintf(text, size, " index=%" PRIu64, self->u.await.index);
    case MSG_INTEREST:
        return snprintf(text, size, " number=%" PRIu64 " wanted=%d", self->u.interest.number,
                        self->u.interest.is_wanted);
    default: text[0] = '\0'; return 0;
    }
}

static int print_cluster_fields(const msg_t *self, char *text, size_t size)
{
    const msg_snap_t *snap = &self->u.snap;
    switch (self->kind) {
    case MSG_BOUNCE:
    case MSG_LEADER_SEEN:
    case MSG_QUORUM_SEEN:
    case MSG_RESIGNED:
        return snprintf(text, size, " term=%" PRIu64 " member=%" PRIx64, self->u.term.term,
                        self->u.term.member);
    case MSG_MEMBERS:
    case MSG_PEERS: return snprintf(text, size, " index=%" PRIu64, self->u.members.index);
    case MSG_SNAP_MARK:
        return snprintf(text, size, " lsn=%" PRIu64 " last=%" PRIu64 "/%" PRIu64,
                        self->u.snap_mark.lsn, self->u.snap_mark.log_term, self->u.snap_mark.index);
    case MSG_SNAP_READ:
    case MSG_SNAP_DONE:
    case MSG_SNAP_TAKE:
    case MSG_SNAP_DROP:
    case MSG_SNAP_RECEIVED:
    case MSG_SNAP_INSTALL:
    case MSG_SNAP_INSTALLED:
        return snprintf(
            text, size, " transfer=%" PRIu64 " member=%" PRIx64 " last=%" PRIu64 "/%" PRIu64 "%s",
            snap->id, snap->member, snap->log_term, snap->index, snap->failed ? " failed" : "");
    case MSG_HASH:
    case MSG_HASHED:
        return snprintf(text, size, " revision=%" PRId64 " hash=%08" PRIx32, self->u.hash.revision,
                        self->u.hash.hash);
    case MSG_TRANSFER: return snprintf(text, size, " target=%" PRIx64, self->u.transfer.target);
    case MSG_PEER: return print_peer(&self->u.peer, text, size);
    case MSG_PEER_STATUS:
        return snprintf(text, size, " member=%" PRIx64 " %s", self->u.peer_status.member,
                        self->u.peer_status.is_active ? "active" : "silent");
    case MSG_GONE:
    case MSG_CLOSED: return snprintf(text, size, " member=%" PRIx64, self->u.gone.member);
    case MSG_PUBLISHED:
        return snprintf(text, size, " members=%zu", bytes_len(self->u.published.ids) / 8);
    case MSG_ATTEND: return snprintf(text, size, " wanted=%d", self->u.attend.wanted);
    case MSG_LINK: return snprintf(text, size, " member=%" PRIx64, self->u.link.member);
    case MSG_FRAME:
        return snprintf(text, size, " member=%" PRIx64 " bytes=%zu", self->u.frame.member,
                        bytes_len(self->u.frame.frame));
    default: return print_wish(self, text, size);
    }
}

static int print_fields(const msg_t *self, char *text, size_t size)
{
    switch (self->kind) {
    case MSG_CREDIT:
        return snprintf(text, size, " messages=%" PRIu32 " bytes=%" PRIu64, self->u.credit.messages,
                        self->u.credit.bytes);
    case MSG_FENCE:
    case MSG_QUERY_POS:
        return snprintf(text, size, " seq=%" PRIu64 " term=%" PRIu64, self->u.fence.seq,
                        self->u.fence.term);
    case MSG_FENCED:
    case MSG_POS:
        return snprintf(text, size, " seq=%" PRIu64 " term=%" PRIu64 " last=%" PRIu64 "/%" PRIu64,
                        self->u.position.seq, self->u.position.term, self->u.position.last_term,
                        self->u.position.last_index);
    case MSG_OPEN:
    case MSG_LEAD:
    case MSG_STEP_DOWN: return snprintf(text, size, " term=%" PRIu64, self->u.term.term);
    case MSG_HARDSTATE:
    case MSG_HS_DURABLE:
        return snprintf(text, size, " seq=%" PRIu64 " term=%" PRIu64 " vote=%" PRIx64,
                        self->u.hardstate.seq, self->u.hardstate.term, self->u.hardstate.vote);
    case MSG_APPEND_LOG:
        return snprintf(text, size,
                        " lsn=%" PRIu64 " first=%" PRIu64 " entries=%zu commit=%" PRIu64,
                        self->u.append_log.lsn, self->u.append_log.first,
                        self->u.append_log.entries.count, self->u.append_log.commit);
    case MSG_LOG_DURABLE: return snprintf(text, size, " lsn=%" PRIu64, self->u.log_durable.lsn);
    case MSG_ROLE:
        return snprintf(text, size, " term=%" PRIu64 " role=%s leader=%" PRIx64, self->u.role.term,
                        role_name(self->u.role.role), self->u.role.leader);
    case MSG_COMMITTED:
        return snprintf(text, size, " entries=%zu commit=%" PRIu64, self->u.committed.entries.count,
                        self->u.committed.commit);
    case MSG_APPLIED:
    case MSG_FLUSH:
    case MSG_FLUSHED:
        return snprintf(text, size, " index=%" PRIu64 " revision=%" PRId64, self->u.applied.index,
                        self->u.applied.revision);
    case MSG_PROPOSE:
        return snprintf(text, size, " requests=%zu expect_term=%" PRIu64, self->u.propose.count,
                        self->u.propose.expect_term);
    case MSG_REJECTED:
    case MSG_UNKNOWN:
        return snprintf(text, size, " requests=%zu error=\"%s\"", self->u.refusal.count,
                        api_error_text(self->u.refusal.error));
    case MSG_RESULT: return snprintf(text, size, " results=%zu", self->u.result.count);
    case MSG_READ:
    case MSG_READ_AT:
    case MSG_READ_FAIL:
        return snprintf(text, size, " read=%" PRIu64 " index=%" PRIu64, self->u.read.read_id,
                        self->u.read.index);
    case MSG_LEASE_APPLIED:
        return snprintf(text, size, " index=%" PRIu64 " changes=%zu%s", self->u.lease_applied.index,
                        self->u.lease_applied.count,
                        self->u.lease_applied.is_first ? " first" : "");
    case MSG_LEASE_ASK:
        return snprintf(text, size, " lease=%" PRIx64, (uint64_t)self->u.lease_ask.id);
    case MSG_LEASE_ANSWER:
        return snprintf(text, size, " lease=%" PRIx64 " ttl=%" PRId64,
                        (uint64_t)self->u.lease_answer.id, self->u.lease_answer.ttl_s);
    case MSG_EVENTS:
        return snprintf(text, size, " events=%zu revision=%" PRId64, self->u.events.count,
                        self->u.events.revision);
    case MSG_WATCH_CREATE:
        return snprintf(text, size, " watch=%" PRId64 " start=%" PRId64,
                        self->u.watch_create.watch_id, self->u.watch_create.start_revision);
    case MSG_WATCH_OUT: return snprintf(text, size, " items=%zu", self->u.watch_out.count);
    default: return print_cluster_fields(self, text, size);
    }
}

int msg_print(const msg_t *self, char *text, size_t size)
{
    int used = snprintf(text, size, "%s", msg_kind_name(self->kind));
    if (used < 0 || (size_t)used >= size) {
        return used;
    }
    int more = print_fields(self, text + used, size - (size_t)used);
    return more < 0 ? more : used + more;
}
