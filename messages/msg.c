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
        [ACTOR_GRPC_GATEWAY] = "grpc_gateway",
        [PORT_DISK] = "disk",
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

static void free_propose(msg_propose_t *propose)
{
    for (size_t i = 0; propose->items && i < propose->count; i++) {
        bytes_unref(&propose->items[i].payload);
    }
    free(propose->items);
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

static void free_content(msg_t *self)
{
    switch (self->kind) {
    case MSG_FENCED:
    case MSG_POS: bytes_unref(&self->u.position.configuration); break;
    case MSG_APPEND_LOG: entries_deinit(&self->u.append_log.entries); break;
    case MSG_COMMITTED: entries_deinit(&self->u.committed.entries); break;
    case MSG_RESTORED: shared_unref(&self->u.restored.store); break;
    case MSG_PROPOSE: free_propose(&self->u.propose); break;
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
    default: break; /* plain numbers */
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
    case MSG_WATCH_OUT: cost += cost_of_watch_out(&self->u.watch_out); break;
    case MSG_WATCH_CREATE:
        cost += bytes_len(self->u.watch_create.key) + bytes_len(self->u.watch_create.range_end);
        break;
    default: break;
    }
    return cost > UINT32_MAX ? UINT32_MAX : (uint32_t)cost;
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
        return snprintf(text, size, " index=%" PRIu64 " changes=%zu", self->u.lease_applied.index,
                        self->u.lease_applied.count);
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
    default: text[0] = '\0'; return 0;
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
