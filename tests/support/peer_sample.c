#include "tests/support/peer_sample.h"

#include <assert.h>
#include <stdlib.h>

#include "membership.pb-c.h"
#include "messages/crc32c.h"
#include "messages/limits.h"
#include "messages/xalloc.h"
#include "peer.pb-c.h"

enum { MANY = 5 };

bytes_t *peer_sample_members(unsigned count, bool learner)
{
    Quoral__ConfigurationMember members[MANY];
    Quoral__ConfigurationMember *list[MANY];
    Quoral__Configuration configuration = QUORAL__CONFIGURATION__INIT;
    for (unsigned i = 0; i < count; i++) {
        quoral__configuration_member__init(&members[i]);
        members[i].id = i + 1;
        members[i].learner = learner && i + 1 == count;
        list[i] = &members[i];
    }
    configuration.n_members = count;
    configuration.members = list;
    uint8_t *room = NULL;
    bytes_t *encoded = bytes_alloc(quoral__configuration__get_packed_size(&configuration), &room);
    quoral__configuration__pack(&configuration, room);
    return encoded;
}

/* ---- any message ---- */

/* Of all lengths that a varint has. */
static uint64_t number(prng_t *prng)
{
    uint64_t bits = prng_below(prng, 64);
    uint64_t value = bits ? prng_next(prng) >> (64 - bits) : 0;
    return value > LIMIT_PEER_NUMBER ? LIMIT_PEER_NUMBER : value;
}

static bool coin(prng_t *prng)
{
    return prng_below(prng, 2);
}

static int64_t signed_number(prng_t *prng)
{
    int64_t value = (int64_t)number(prng);
    return coin(prng) ? value : -value;
}

static api_error_t error(prng_t *prng)
{
    return (api_error_t)prng_below(prng, API_ERRORS_COUNT);
}

static bytes_t *text(prng_t *prng, size_t least)
{
    uint8_t *data = NULL;
    size_t len = least + prng_below(prng, 300);
    if (len == 0) {
        return NULL;
    }
    bytes_t *bytes = bytes_alloc(len, &data);
    for (size_t i = 0; i < len; i++) {
        data[i] = (uint8_t)prng_next(prng);
    }
    return bytes;
}

static bytes_t *ids(prng_t *prng)
{
    uint8_t *data = NULL;
    size_t count = (size_t)prng_below(prng, MANY);
    if (count == 0) {
        return NULL;
    }
    bytes_t *bytes = bytes_alloc(8 * count, &data);
    for (size_t i = 0; i < 8 * count; i++) {
        data[i] = (uint8_t)prng_next(prng);
    }
    return bytes;
}

static bytes_t *configuration(prng_t *prng)
{
    unsigned count = 1 + (unsigned)prng_below(prng, MANY);
    return peer_sample_members(count, count > 1 && coin(prng));
}

/* Their terms do not go back and end at the message's. */
static void fill_append(peer_msg_t *msg, prng_t *prng)
{
    peer_append_t *append = &msg->u.append;
    msg->term = 10 + number(prng) / 2;
    append->prev_index = number(prng) / 2;
    append->prev_term = append->prev_index ? 1 + prng_below(prng, 5) : 0;
    append->commit = number(prng);
    append->round = number(prng);
    uint64_t term = append->prev_term ? append->prev_term : 1;
    for (uint64_t left = prng_below(prng, 10), i = 1; left > 0; left--, i++) {
        term += prng_below(prng, 2);
        term = term > msg->term || left == 1 ? msg->term : term;
        bool members = prng_below(prng, 8) == 0;
        entry_t entry = {.index = append->prev_index + i,
                         .term = term,
                         .type = members ? ENTRY_CONFIGURATION : ENTRY_NORMAL,
                         .payload = members ? configuration(prng) : text(prng, 0)};
        entries_append(&append->entries, &entry);
        bytes_unref(&entry.payload);
    }
}

static void fill_propose(peer_propose_t *propose, prng_t *prng)
{
    propose->id = number(prng);
    propose->count = (size_t)prng_below(prng, 10);
    propose->items = xcalloc(propose->count + 1, sizeof *propose->items);
    for (size_t i = 0; i < propose->count; i++) {
        propose->items[i].type = coin(prng) ? ENTRY_CONFIGURATION : ENTRY_NORMAL;
        propose->items[i].payload = text(prng, 1);
    }
}

static void fill_lease(peer_msg_t *msg, prng_t *prng)
{
    if (msg->kind == PEER_LEASE_FWD) {
        msg->u.lease_ask = (peer_lease_ask_t){.id = number(prng),
                                              .op = (lease_op_t)prng_below(prng, 3),
                                              .lease = signed_number(prng),
                                              .applied_index = number(prng)};
    } else {
        msg->u.lease_answer = (peer_lease_answer_t){.id = number(prng),
                                                    .error = error(prng),
                                                    .lease = signed_number(prng),
                                                    .ttl_s = signed_number(prng),
                                                    .granted_ttl_s = signed_number(prng)};
    }
}

static void fill_snapshot(peer_msg_t *msg, prng_t *prng)
{
    switch (msg->kind) {
    case PEER_SNAP_META:
        msg->term += 8;
        msg->u.snap_meta = (peer_snap_meta_t){.id = number(prng),
                                              .index = 1 + number(prng) / 2,
                                              .log_term = 1 + prng_below(prng, 7),
                                              .configuration = configuration(prng)};
        break;
    case PEER_SNAP_CHUNK:
        msg->u.snap_chunk = (peer_snap_chunk_t){.id = number(prng),
                                                .seq = number(prng),
                                                .rows = text(prng, 0),
                                                .is_last = coin(prng),
                                                .row_count = number(prng),
                                                .checksum = (uint32_t)number(prng)};
        break;
    default:
        msg->u.snap_ack = (peer_snap_ack_t){.id = number(prng),
                                            .next_seq = number(prng),
                                            .is_refused = coin(prng),
                                            .is_done = coin(prng)};
    }
}

static void fill_vote(peer_msg_t *msg, prng_t *prng)
{
    if (msg->kind == PEER_PREVOTE || msg->kind == PEER_VOTE) {
        msg->u.vote.granted = coin(prng);
    } else {
        msg->u.vote_request = (peer_vote_request_t){
            .last_term = number(prng), .last_index = number(prng), .transfer = coin(prng)};
    }
}

static void fill_replication(peer_msg_t *msg, prng_t *prng)
{
    switch (msg->kind) {
    case PEER_APPEND: fill_append(msg, prng); break;
    case PEER_APPEND_ACK:
        msg->u.append_ack = (peer_append_ack_t){.ok = coin(prng),
                                                .index = number(prng),
                                                .hint_index = number(prng),
                                                .hint_term = number(prng),
                                                .round = number(prng),
                                                .is_watched = coin(prng)};
        break;
    case PEER_HEARTBEAT:
    case PEER_HB_ACK:
        msg->u.heartbeat = (peer_heartbeat_t){
            .commit = number(prng), .round = number(prng), .is_watched = coin(prng)};
        break;
    case PEER_READ_FWD:
    case PEER_READ_FWD_AT:
        msg->u.read =
            (peer_read_t){.id = number(prng), .index = number(prng), .error = error(prng)};
        break;
    case PEER_PROPOSE_FWD: fill_propose(&msg->u.propose, prng); break;
    default:
        msg->u.propose_reply =
            (peer_propose_reply_t){.id = number(prng), .index = number(prng), .error = error(prng)};
    }
}

peer_msg_t *peer_sample(peer_kind_t kind, prng_t *prng)
{
    peer_msg_t *msg = peer_msg_new(kind, number(prng) / 2);
    switch (kind) {
    case PEER_REQ_PREVOTE:
    case PEER_PREVOTE:
    case PEER_REQ_VOTE:
    case PEER_VOTE: fill_vote(msg, prng); break;
    case PEER_LEASE_FWD:
    case PEER_LEASE_REPLY: fill_lease(msg, prng); break;
    case PEER_SNAP_META:
    case PEER_SNAP_CHUNK:
    case PEER_SNAP_ACK: fill_snapshot(msg, prng); break;
    case PEER_PING:
    case PEER_PONG:
        msg->u.ping = (peer_ping_t){.sent_us = number(prng), .urls = text(prng, 0)};
        break;
    case PEER_CLUSTER:
        msg->u.cluster = (peer_cluster_t){.index = number(prng),
                                          .is_committed = coin(prng),
                                          .configuration = configuration(prng),
                                          .published = ids(prng)};
        break;
    case PEER_TIMEOUT_NOW:
    case PEER_WHO: break;
    default: fill_replication(msg, prng);
    }
    return msg;
}

/* ---- protobuf-c's view ---- */

/* Content structs that lend their fields to the frame while it is packed. */
typedef union {
    Quoral__PeerVoteRequest vote_request;
    Quoral__PeerVote vote;
    Quoral__PeerAppend append;
    Quoral__PeerAppendAck append_ack;
    Quoral__PeerHeartbeat heartbeat;
    Quoral__PeerRead read;
    Quoral__PeerPropose propose;
    Quoral__PeerProposeReply propose_reply;
    Quoral__PeerLeaseAsk lease_ask;
    Quoral__PeerLeaseAnswer lease_answer;
    Quoral__PeerSnapMeta snap_meta;
    Quoral__PeerSnapChunk snap_chunk;
    Quoral__PeerSnapAck snap_ack;
    Quoral__PeerPing ping;
    Quoral__PeerCluster cluster;
} content_t;

static ProtobufCBinaryData lend(const bytes_t *bytes)
{
    slice_t slice = bytes_slice(bytes);
    return (ProtobufCBinaryData){.len = slice.len, .data = (uint8_t *)(uintptr_t)slice.data};
}

/* Aligned, unlike the bytes; as numbers of this machine, which is little-endian. */
static uint64_t *lend_ids(const bytes_t *bytes)
{
    static uint64_t numbers[MANY];
    slice_t slice = bytes_slice(bytes);
    assert(slice.len <= sizeof numbers);
    if (slice.len) {
        memcpy(numbers, slice.data, slice.len);
    }
    return numbers;
}

static char *lend_error(api_error_t value)
{
    return (char *)(uintptr_t)api_error_text(value);
}

/* Makes `content` the frame's, under the oneof's name. */
#define USE(frame, content, field, FIELD, init)                                                    \
    do {                                                                                           \
        (frame)->content_case = QUORAL__PEER_FRAME__CONTENT_##FIELD;                               \
        (frame)->field = &(content)->field;                                                        \
        init(&(content)->field);                                                                   \
    } while (0)

static void lend_entries(Quoral__PeerAppend *append, const entries_t *entries)
{
    append->n_entries = entries->count;
    append->entries = xcalloc(entries->count + 1, sizeof *append->entries);
    for (size_t i = 0; i < entries->count; i++) {
        append->entries[i] = xcalloc(1, sizeof(Quoral__PeerEntry));
        quoral__peer_entry__init(append->entries[i]);
        append->entries[i]->term = entries->items[i].term;
        append->entries[i]->type = (Quoral__PeerEntryType)entries->items[i].type;
        append->entries[i]->payload = lend(entries->items[i].payload);
    }
}

static void lend_items(Quoral__PeerPropose *propose, const peer_propose_t *from)
{
    propose->id = from->id;
    propose->n_items = from->count;
    propose->items = xcalloc(from->count + 1, sizeof *propose->items);
    for (size_t i = 0; i < from->count; i++) {
        propose->items[i] = xcalloc(1, sizeof(Quoral__PeerProposal));
        quoral__peer_proposal__init(propose->items[i]);
        propose->items[i]->type = (Quoral__PeerEntryType)from->items[i].type;
        propose->items[i]->payload = lend(from->items[i].payload);
    }
}

static void lend_replication(Quoral__PeerFrame *frame, content_t *content, const peer_msg_t *msg)
{
    switch (msg->kind) {
    case PEER_APPEND:
        USE(frame, content, append, APPEND, quoral__peer_append__init);
        content->append.prev_index = msg->u.append.prev_index;
        content->append.prev_term = msg->u.append.prev_term;
        content->append.commit = msg->u.append.commit;
        content->append.round = msg->u.append.round;
        lend_entries(&content->append, &msg->u.append.entries);
        break;
    case PEER_APPEND_ACK:
        USE(frame, content, append_ack, APPEND_ACK, quoral__peer_append_ack__init);
        content->append_ack.ok = msg->u.append_ack.ok;
        content->append_ack.index = msg->u.append_ack.index;
        content->append_ack.hint_index = msg->u.append_ack.hint_index;
        content->append_ack.hint_term = msg->u.append_ack.hint_term;
        content->append_ack.round = msg->u.append_ack.round;
        content->append_ack.watched = msg->u.append_ack.is_watched;
        break;
    case PEER_HEARTBEAT:
    case PEER_HB_ACK:
        USE(frame, content, heartbeat, HEARTBEAT, quoral__peer_heartbeat__init);
        content->heartbeat.commit = msg->u.heartbeat.commit;
        content->heartbeat.round = msg->u.heartbeat.round;
        content->heartbeat.watched = msg->u.heartbeat.is_watched;
        break;
    case PEER_READ_FWD:
    case PEER_READ_FWD_AT:
        USE(frame, content, read, READ, quoral__peer_read__init);
        content->read.id = msg->u.read.id;
        content->read.index = msg->u.read.index;
        content->read.error = lend_error(msg->u.read.error);
        break;
    case PEER_PROPOSE_FWD:
        USE(frame, content, propose, PROPOSE, quoral__peer_propose__init);
        lend_items(&content->propose, &msg->u.propose);
        break;
    case PEER_PROPOSE_ACK:
    case PEER_PROPOSE_REJ:
        USE(frame, content, propose_reply, PROPOSE_REPLY, quoral__peer_propose_reply__init);
        content->propose_reply.id = msg->u.propose_reply.id;
        content->propose_reply.index = msg->u.propose_reply.index;
        content->propose_reply.error = lend_error(msg->u.propose_reply.error);
        break;
    default: break;
    }
}

static void lend_snapshot(Quoral__PeerFrame *frame, content_t *content, const peer_msg_t *msg)
{
    switch (msg->kind) {
    case PEER_SNAP_META:
        USE(frame, content, snap_meta, SNAP_META, quoral__peer_snap_meta__init);
        content->snap_meta.id = msg->u.snap_meta.id;
        content->snap_meta.index = msg->u.snap_meta.index;
        content->snap_meta.log_term = msg->u.snap_meta.log_term;
        content->snap_meta.configuration = lend(msg->u.snap_meta.configuration);
        break;
    case PEER_SNAP_CHUNK:
        USE(frame, content, snap_chunk, SNAP_CHUNK, quoral__peer_snap_chunk__init);
        content->snap_chunk.id = msg->u.snap_chunk.id;
        content->snap_chunk.seq = msg->u.snap_chunk.seq;
        content->snap_chunk.rows = lend(msg->u.snap_chunk.rows);
        content->snap_chunk.is_last = msg->u.snap_chunk.is_last;
        content->snap_chunk.row_count = msg->u.snap_chunk.row_count;
        content->snap_chunk.checksum = msg->u.snap_chunk.checksum;
        break;
    case PEER_SNAP_ACK:
        USE(frame, content, snap_ack, SNAP_ACK, quoral__peer_snap_ack__init);
        content->snap_ack.id = msg->u.snap_ack.id;
        content->snap_ack.next_seq = msg->u.snap_ack.next_seq;
        content->snap_ack.is_refused = msg->u.snap_ack.is_refused;
        content->snap_ack.is_done = msg->u.snap_ack.is_done;
        break;
    default: lend_replication(frame, content, msg);
    }
}

static void lend_content(Quoral__PeerFrame *frame, content_t *content, const peer_msg_t *msg)
{
    switch (msg->kind) {
    case PEER_REQ_PREVOTE:
    case PEER_REQ_VOTE:
        USE(frame, content, vote_request, VOTE_REQUEST, quoral__peer_vote_request__init);
        content->vote_request.last_term = msg->u.vote_request.last_term;
        content->vote_request.last_index = msg->u.vote_request.last_index;
        content->vote_request.transfer = msg->u.vote_request.transfer;
        break;
    case PEER_PREVOTE:
    case PEER_VOTE:
        USE(frame, content, vote, VOTE, quoral__peer_vote__init);
        content->vote.granted = msg->u.vote.granted;
        break;
    case PEER_LEASE_FWD:
        USE(frame, content, lease_ask, LEASE_ASK, quoral__peer_lease_ask__init);
        content->lease_ask.id = msg->u.lease_ask.id;
        content->lease_ask.op = (Quoral__PeerLeaseOp)msg->u.lease_ask.op;
        content->lease_ask.lease = msg->u.lease_ask.lease;
        content->lease_ask.applied_index = msg->u.lease_ask.applied_index;
        break;
    case PEER_LEASE_REPLY:
        USE(frame, content, lease_answer, LEASE_ANSWER, quoral__peer_lease_answer__init);
        content->lease_answer.id = msg->u.lease_answer.id;
        content->lease_answer.error = lend_error(msg->u.lease_answer.error);
        content->lease_answer.lease = msg->u.lease_answer.lease;
        content->lease_answer.ttl_s = msg->u.lease_answer.ttl_s;
        content->lease_answer.granted_ttl_s = msg->u.lease_answer.granted_ttl_s;
        break;
    case PEER_PING:
    case PEER_PONG:
        USE(frame, content, ping, PING, quoral__peer_ping__init);
        content->ping.sent_us = msg->u.ping.sent_us;
        content->ping.urls = lend(msg->u.ping.urls);
        break;
    case PEER_CLUSTER:
        USE(frame, content, cluster, CLUSTER, quoral__peer_cluster__init);
        content->cluster.index = msg->u.cluster.index;
        content->cluster.is_committed = msg->u.cluster.is_committed;
        content->cluster.configuration = lend(msg->u.cluster.configuration);
        content->cluster.n_published = bytes_len(msg->u.cluster.published) / 8;
        content->cluster.published = lend_ids(msg->u.cluster.published);
        break;
    default: lend_snapshot(frame, content, msg);
    }
}

static void give_back(content_t *content, peer_kind_t kind)
{
    if (kind == PEER_APPEND) {
        for (size_t i = 0; i < content->append.n_entries; i++) {
            free(content->append.entries[i]);
        }
        free(content->append.entries);
    } else if (kind == PEER_PROPOSE_FWD) {
        for (size_t i = 0; i < content->propose.n_items; i++) {
            free(content->propose.items[i]);
        }
        free(content->propose.items);
    }
}

bytes_t *peer_sample_wrap(slice_t packed)
{
    uint8_t *data = NULL;
    bytes_t *frame = bytes_alloc(packed.len + 5, &data);
    data[4] = 1;
    if (packed.len) {
        memcpy(data + 5, packed.data, packed.len);
    }
    uint32_t crc = crc32c(0, data + 4, packed.len + 1);
    for (size_t i = 0; i < 4; i++) {
        data[i] = (uint8_t)(crc >> (8 * i));
    }
    return frame;
}

bytes_t *peer_sample_pack(const peer_header_t *header, const peer_msg_t *msg)
{
    Quoral__PeerFrame frame = QUORAL__PEER_FRAME__INIT;
    content_t content;
    frame.cluster_id = header->cluster_id;
    frame.from = header->from;
    frame.to = header->to;
    frame.incarnation = header->incarnation;
    frame.term = msg->term;
    frame.kind = (Quoral__PeerKind)msg->kind;
    lend_content(&frame, &content, msg);
    size_t len = quoral__peer_frame__get_packed_size(&frame);
    uint8_t *packed = xmalloc(len);
    quoral__peer_frame__pack(&frame, packed);
    give_back(&content, msg->kind);
    bytes_t *bytes = peer_sample_wrap(slice(packed, len));
    free(packed);
    return bytes;
}
