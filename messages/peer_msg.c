#include "messages/peer_msg.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "messages/limits.h"
#include "messages/xalloc.h"

const char *peer_kind_name(peer_kind_t kind)
{
    static const char *const names[] = {"NONE",
#define X(kind, handler) #kind,
                                        PEER_KINDS(X)
#undef X
    };
    assert((unsigned)kind < PEER_KINDS_COUNT);
    return names[kind];
}

peer_msg_t *peer_msg_new(peer_kind_t kind, uint64_t term)
{
    peer_msg_t *self = xcalloc(1, sizeof *self);
    self->kind = kind;
    self->term = term;
    return self;
}

uint64_t peer_first_id(uint64_t seed)
{
    uint64_t id = seed % (LIMIT_PEER_NUMBER / 2);
    return id ? id : 1; /* 0 means none */
}

void peer_msg_free(peer_msg_t **self_p)
{
    peer_msg_t *self = *self_p;
    *self_p = NULL;
    if (!self) {
        return;
    }
    switch (self->kind) {
    case PEER_APPEND: entries_deinit(&self->u.append.entries); break;
    case PEER_PROPOSE_FWD: proposals_free(&self->u.propose.items, self->u.propose.count); break;
    case PEER_SNAP_META: bytes_unref(&self->u.snap_meta.configuration); break;
    case PEER_SNAP_CHUNK: bytes_unref(&self->u.snap_chunk.rows); break;
    case PEER_PING:
    case PEER_PONG: bytes_unref(&self->u.ping.urls); break;
    case PEER_CLUSTER:
        bytes_unref(&self->u.cluster.configuration);
        bytes_unref(&self->u.cluster.published);
        break;
    default: break; /* plain numbers */
    }
    free(self);
}

size_t peer_msg_cost(const peer_msg_t *self)
{
    size_t cost = sizeof *self;
    switch (self->kind) {
    case PEER_APPEND:
        cost += self->u.append.entries.bytes + self->u.append.entries.count * sizeof(entry_t);
        break;
    case PEER_PROPOSE_FWD:
        for (size_t i = 0; i < self->u.propose.count; i++) {
            cost += sizeof(proposal_t) + bytes_len(self->u.propose.items[i].payload);
        }
        break;
    case PEER_SNAP_META: cost += bytes_len(self->u.snap_meta.configuration); break;
    case PEER_SNAP_CHUNK: cost += bytes_len(self->u.snap_chunk.rows); break;
    case PEER_PING:
    case PEER_PONG: cost += bytes_len(self->u.ping.urls); break;
    case PEER_CLUSTER:
        cost += bytes_len(self->u.cluster.configuration) + bytes_len(self->u.cluster.published);
        break;
    default: break;
    }
    return cost;
}

static int print_append(const peer_append_t *append, char *text, size_t size)
{
    return snprintf(text, size,
                    " prev=%" PRIu64 "/%" PRIu64 " entries=%zu commit=%" PRIu64 " round=%" PRIu64,
                    append->prev_term, append->prev_index, append->entries.count, append->commit,
                    append->round);
}

static int print_ack(const peer_append_ack_t *ack, char *text, size_t size)
{
    if (ack->ok) {
        return snprintf(text, size, " match=%" PRIu64 " round=%" PRIu64, ack->index, ack->round);
    }
    return snprintf(text, size, " refused=%" PRIu64 " hint=%" PRIu64 "/%" PRIu64, ack->index,
                    ack->hint_term, ack->hint_index);
}

static int print_snapshot(const peer_msg_t *self, char *text, size_t size)
{
    if (self->kind == PEER_SNAP_META) {
        const peer_snap_meta_t *meta = &self->u.snap_meta;
        return snprintf(text, size, " transfer=%" PRIu64 " last=%" PRIu64 "/%" PRIu64, meta->id,
                        meta->log_term, meta->index);
    }
    if (self->kind == PEER_SNAP_CHUNK) {
        const peer_snap_chunk_t *chunk = &self->u.snap_chunk;
        return snprintf(text, size, " transfer=%" PRIu64 " seq=%" PRIu64 "%s", chunk->id,
                        chunk->seq, chunk->is_last ? " last" : "");
    }
    const peer_snap_ack_t *ack = &self->u.snap_ack;
    return snprintf(text, size, " transfer=%" PRIu64 " next=%" PRIu64 "%s%s", ack->id,
                    ack->next_seq, ack->is_refused ? " refused" : "", ack->is_done ? " done" : "");
}

static int print_fields(const peer_msg_t *self, char *text, size_t size)
{
    switch (self->kind) {
    case PEER_REQ_PREVOTE:
    case PEER_REQ_VOTE:
        return snprintf(text, size, " last=%" PRIu64 "/%" PRIu64 "%s",
                        self->u.vote_request.last_term, self->u.vote_request.last_index,
                        self->u.vote_request.transfer ? " transfer" : "");
    case PEER_PREVOTE:
    case PEER_VOTE: return snprintf(text, size, self->u.vote.granted ? " granted" : " refused");
    case PEER_APPEND: return print_append(&self->u.append, text, size);
    case PEER_APPEND_ACK: return print_ack(&self->u.append_ack, text, size);
    case PEER_HEARTBEAT:
    case PEER_HB_ACK:
        return snprintf(text, size, " commit=%" PRIu64 " round=%" PRIu64, self->u.heartbeat.commit,
                        self->u.heartbeat.round);
    case PEER_READ_FWD:
    case PEER_READ_FWD_AT:
        return snprintf(text, size, " read=%" PRIu64 " index=%" PRIu64, self->u.read.id,
                        self->u.read.index);
    case PEER_PROPOSE_FWD:
        return snprintf(text, size, " forward=%" PRIu64 " requests=%zu", self->u.propose.id,
                        self->u.propose.count);
    case PEER_PROPOSE_ACK:
    case PEER_PROPOSE_REJ:
        return snprintf(text, size, " forward=%" PRIu64 " index=%" PRIu64, self->u.propose_reply.id,
                        self->u.propose_reply.index);
    case PEER_SNAP_META:
    case PEER_SNAP_CHUNK:
    case PEER_SNAP_ACK: return print_snapshot(self, text, size);
    default: text[0] = '\0'; return 0;
    }
}

int peer_msg_print(const peer_msg_t *self, char *text, size_t size)
{
    int used = snprintf(text, size, "%s term=%" PRIu64, peer_kind_name(self->kind), self->term);
    if (used < 0 || (size_t)used >= size) {
        return used;
    }
    int more = print_fields(self, text + used, size - (size_t)used);
    return more < 0 ? more : used + more;
}
