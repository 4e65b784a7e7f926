/* The format is a table: for each kind of message the number of its content in PeerFrame and that
 * content's fields. One pair of functions writes and reads them all, straight from and into peer_msg_t:
 * no structs in between and no allocation but for what the message keeps. */
#include "messages/peer_codec.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/buf.h"
#include "messages/configuration.h"
#include "messages/crc32c.h"
#include "messages/limits.h"
#include "messages/wire.h"
#include "messages/xalloc.h"

enum { CRC_BYTES = 4, PREFIX_BYTES = CRC_BYTES + 1, FRAME_VERSION = 1 };
enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_LEN = 2, WIRE_FIXED32 = 5 };

/* Field numbers of PeerFrame, and of what is repeated in contents. */
enum {
    FRAME_CLUSTER_ID = 1,
    FRAME_FROM = 2,
    FRAME_TO = 3,
    FRAME_INCARNATION = 4,
    FRAME_TERM = 5,
    FRAME_KIND = 6,
    FRAME_CONTENT_FIRST = 7,
    FRAME_CONTENT_LAST = 21,
    ENTRY_TERM = 1,
    ENTRY_TYPE = 2,
    ENTRY_PAYLOAD = 3,
    PROPOSAL_TYPE = 1,
    PROPOSAL_PAYLOAD = 2
};

typedef enum {
    NUMBER, /* at most LIMIT_PEER_NUMBER */
    SIGNED,
    FLAG,
    CHECKSUM,
    LEASE_OP,
    ERROR_TEXT,
    BYTES,
    MEMBERS, /* an encoded configuration */
    IDS,     /* bytes that hold packed fixed64 */
    ENTRIES,
    ITEMS
} field_type_t;

typedef struct {
    uint32_t number;
    field_type_t type;
    size_t offset; /* in peer_msg_t */
} field_t;

typedef struct {
    uint32_t number; /* in PeerFrame; 0 = the kind has no content */
    const field_t *fields;
    size_t count;
} content_t;

#define AT(member) offsetof(peer_msg_t, u.member)
/* clang-format off */
static const field_t vote_request_fields[] = {
    {1, NUMBER, AT(vote_request.last_term)}, {2, NUMBER, AT(vote_request.last_index)},
    {3, FLAG, AT(vote_request.transfer)}};
static const field_t vote_fields[] = {{1, FLAG, AT(vote.granted)}};
static const field_t append_fields[] = {
    {1, NUMBER, AT(append.prev_index)}, {2, NUMBER, AT(append.prev_term)}, {3, NUMBER, AT(append.commit)},
    {4, NUMBER, AT(append.round)}, {5, ENTRIES, AT(append.entries)}};
static const field_t append_ack_fields[] = {
    {1, FLAG, AT(append_ack.ok)}, {2, NUMBER, AT(append_ack.index)}, {3, NUMBER, AT(append_ack.hint_index)},
    {4, NUMBER, AT(append_ack.hint_term)}, {5, NUMBER, AT(append_ack.round)},
    {6, FLAG, AT(append_ack.is_watched)}};
static const field_t heartbeat_fields[] = {
    {1, NUMBER, AT(heartbeat.commit)}, {2, NUMBER, AT(heartbeat.round)},
    {3, FLAG, AT(heartbeat.is_watched)}};
static const field_t read_fields[] = {
    {1, NUMBER, AT(read.id)}, {2, NUMBER, AT(read.index)}, {3, ERROR_TEXT, AT(read.error)}};
static const field_t propose_fields[] = {
    {1, NUMBER, AT(propose.id)}, {2, ITEMS, AT(propose)}};
static const field_t propose_reply_fields[] = {
    {1, NUMBER, AT(propose_reply.id)}, {2, NUMBER, AT(propose_reply.index)},
    {3, ERROR_TEXT, AT(propose_reply.error)}};
static const field_t lease_ask_fields[] = {
    {1, NUMBER, AT(lease_ask.id)}, {2, LEASE_OP, AT(lease_ask.op)}, {3, SIGNED, AT(lease_ask.lease)},
    {4, NUMBER, AT(lease_ask.applied_index)}};
static const field_t lease_answer_fields[] = {
    {1, NUMBER, AT(lease_answer.id)}, {2, ERROR_TEXT, AT(lease_answer.error)},
    {3, SIGNED, AT(lease_answer.lease)}, {4, SIGNED, AT(lease_answer.ttl_s)},
    {5, SIGNED, AT(lease_answer.granted_ttl_s)}};
static const field_t snap_meta_fields[] = {
    {1, NUMBER, AT(snap_meta.id)}, {2, NUMBER, AT(snap_meta.index)}, {3, NUMBER, AT(snap_meta.log_term)},
    {4, MEMBERS, AT(snap_meta.configuration)}};
static const field_t snap_chunk_fields[] = {
    {1, NUMBER, AT(snap_chunk.id)}, {2, NUMBER, AT(snap_chunk.seq)}, {3, BYTES, AT(snap_chunk.rows)},
    {4, FLAG, AT(snap_chunk.is_last)}, {5, NUMBER, AT(snap_chunk.row_count)},
    {6, CHECKSUM, AT(snap_chunk.checksum)}};
static const field_t snap_ack_fields[] = {
    {1, NUMBER, AT(snap_ack.id)}, {2, NUMBER, AT(snap_ack.next_seq)}, {3, FLAG, AT(snap_ack.is_refused)},
    {4, FLAG, AT(snap_ack.is_done)}};
static const field_t ping_fields[] = {{1, NUMBER, AT(ping.sent_us)}, {2, BYTES, AT(ping.urls)}};
static const field_t cluster_fields[] = {
    {1, NUMBER, AT(cluster.index)}, {2, FLAG, AT(cluster.is_committed)}, {3, MEMBERS, AT(cluster.configuration)},
    {4, IDS, AT(cluster.published)}};

#define CONTENT(number, fields) {number, fields, sizeof(fields) / sizeof *(fields)}
static const content_t contents[PEER_KINDS_COUNT] = {
    [PEER_REQ_PREVOTE] = CONTENT(7, vote_request_fields),
    [PEER_PREVOTE] = CONTENT(8, vote_fields),
    [PEER_REQ_VOTE] = CONTENT(7, vote_request_fields),
    [PEER_VOTE] = CONTENT(8, vote_fields),
    [PEER_TIMEOUT_NOW] = {0},
    [PEER_APPEND] = CONTENT(9, append_fields),
    [PEER_APPEND_ACK] = CONTENT(10, append_ack_fields),
    [PEER_HEARTBEAT] = CONTENT(11, heartbeat_fields),
    [PEER_HB_ACK] = CONTENT(11, heartbeat_fields),
    [PEER_READ_FWD] = CONTENT(12, read_fields),
    [PEER_READ_FWD_AT] = CONTENT(12, read_fields),
    [PEER_PROPOSE_FWD] = CONTENT(13, propose_fields),
    [PEER_PROPOSE_ACK] = CONTENT(14, propose_reply_fields),
    [PEER_PROPOSE_REJ] = CONTENT(14, propose_reply_fields),
    [PEER_LEASE_FWD] = CONTENT(15, lease_ask_fields),
    [PEER_LEASE_REPLY] = CONTENT(16, lease_answer_fields),
    [PEER_SNAP_META] = CONTENT(17, snap_meta_fields),
    [PEER_SNAP_CHUNK] = CONTENT(18, snap_chunk_fields),
    [PEER_SNAP_ACK] = CONTENT(19, snap_ack_fields),
    [PEER_PING] = CONTENT(20, ping_fields),
    [PEER_PONG] = CONTENT(20, ping_fields),
    [PEER_WHO] = {0},
    [PEER_CLUSTER] = CONTENT(FRAME_CONTENT_LAST, cluster_fields),
};
/* clang-format on */

const char *peer_frame_error(int outcome)
{
    switch (outcome) {
    case PEER_FRAME_DAMAGED: return "checksum mismatch";
    case PEER_FRAME_VERSION: return "unknown version";
    default: return "malformed message";
    }
}

/* ---- writing: the same functions measure, without a place to write to ---- */

typedef struct {
    uint8_t *out; /* NULL = only counting */
    size_t len;
} pen_t;

static void put_varint(pen_t *pen, uint64_t value)
{
    pen->len += pen->out ? varint_write(pen->out + pen->len, value) : varint_size(value);
}

static void put_tag(pen_t *pen, uint32_t number, unsigned type)
{
    put_varint(pen, (uint64_t)number << 3 | type);
}

static void put_number(pen_t *pen, uint32_t number, uint64_t value)
{
    if (value) {
        put_tag(pen, number, WIRE_VARINT);
        put_varint(pen, value);
    }
}

static void put_fixed(pen_t *pen, uint32_t number, uint64_t value, size_t size)
{
    if (!value) {
        return;
    }
    put_tag(pen, number, size == 8 ? WIRE_FIXED64 : WIRE_FIXED32);
    for (size_t i = 0; pen->out && i < size; i++) {
        pen->out[pen->len + i] = (uint8_t)(value >> (8 * i));
    }
    pen->len += size;
}

static void put_bytes(pen_t *pen, uint32_t number, slice_t value)
{
    if (value.len == 0) {
        return;
    }
    put_tag(pen, number, WIRE_LEN);
    put_varint(pen, value.len);
    if (pen->out) {
        memcpy(pen->out + pen->len, value.data, value.len);
    }
    pen->len += value.len;
}

static void put_entry_fields(pen_t *pen, const entry_t *entry)
{
    put_number(pen, ENTRY_TERM, entry->term);
    put_number(pen, ENTRY_TYPE, entry->type);
    put_bytes(pen, ENTRY_PAYLOAD, bytes_slice(entry->payload));
}

static void put_entries(pen_t *pen, uint32_t number, const entries_t *entries)
{
    for (size_t i = 0; i < entries->count; i++) {
        pen_t measure = {0};
        put_entry_fields(&measure, &entries->items[i]);
        put_tag(pen, number, WIRE_LEN);
        put_varint(pen, measure.len);
        put_entry_fields(pen, &entries->items[i]);
    }
}

static void put_proposal_fields(pen_t *pen, const proposal_t *proposal)
{
    put_number(pen, PROPOSAL_TYPE, proposal->type);
    put_bytes(pen, PROPOSAL_PAYLOAD, bytes_slice(proposal->payload));
}

static void put_items(pen_t *pen, uint32_t number, const peer_propose_t *propose)
{
    for (size_t i = 0; i < propose->count; i++) {
        pen_t measure = {0};
        put_proposal_fields(&measure, &propose->items[i]);
        put_tag(pen, number, WIRE_LEN);
        put_varint(pen, measure.len);
        put_proposal_fields(pen, &propose->items[i]);
    }
}

static const void *place_of(const peer_msg_t *msg, const field_t *field)
{
    return (const char *)msg + field->offset;
}

/* As protobuf writes an int64: its two's complement. */
static uint64_t signed_at(const int64_t *place)
{
    return (uint64_t)*place;
}

static void put_field(pen_t *pen, const peer_msg_t *msg, const field_t *field)
{
    const void *place = place_of(msg, field);
    switch (field->type) {
    case NUMBER: put_number(pen, field->number, *(const uint64_t *)place); break;
    case SIGNED: put_number(pen, field->number, signed_at(place)); break;
    case FLAG: put_number(pen, field->number, *(const bool *)place); break;
    case CHECKSUM: put_fixed(pen, field->number, *(const uint32_t *)place, 4); break;
    case LEASE_OP: put_number(pen, field->number, *(const lease_op_t *)place); break;
    case ERROR_TEXT:
        put_bytes(pen, field->number, slice_str(api_error_text(*(const api_error_t *)place)));
        break;
    case BYTES:
    case IDS:
    case MEMBERS: put_bytes(pen, field->number, bytes_slice(*(bytes_t *const *)place)); break;
    case ENTRIES: put_entries(pen, field->number, place); break;
    case ITEMS: put_items(pen, field->number, place); break;
    }
}

static void put_content(pen_t *pen, const peer_msg_t *msg)
{
    const content_t *content = &contents[msg->kind];
    for (size_t i = 0; i < content->count; i++) {
        put_field(pen, msg, &content->fields[i]);
    }
}

static void put_frame(pen_t *pen, const peer_header_t *header, const peer_msg_t *msg,
                      size_t content_len)
{
    put_fixed(pen, FRAME_CLUSTER_ID, header->cluster_id, 8);
    put_fixed(pen, FRAME_FROM, header->from, 8);
    put_fixed(pen, FRAME_TO, header->to, 8);
    put_fixed(pen, FRAME_INCARNATION, header->incarnation, 8);
    put_number(pen, FRAME_TERM, msg->term);
    put_number(pen, FRAME_KIND, msg->kind);
    if (contents[msg->kind].number) { /* written even when empty */
        put_tag(pen, contents[msg->kind].number, WIRE_LEN);
        put_varint(pen, content_len);
    }
}

bytes_t *peer_frame_encode(const peer_header_t *header, const peer_msg_t *msg)
{
    assert(msg->kind > PEER_NONE && msg->kind < PEER_KINDS_COUNT);
    pen_t content = {0};
    pen_t head = {0};
    put_content(&content, msg);
    put_frame(&head, header, msg, content.len);
    size_t size = PREFIX_BYTES + head.len + content.len;
    if (size > LIMIT_PEER_FRAME_BYTES) {
        return NULL;
    }
    uint8_t *data = NULL;
    bytes_t *frame = bytes_alloc(size, &data);
    pen_t pen = {.out = data, .len = PREFIX_BYTES};
    data[CRC_BYTES] = FRAME_VERSION;
    put_frame(&pen, header, msg, content.len);
    put_content(&pen, msg);
    assert(pen.len == size);
    uint32_t crc = crc32c(0, data + CRC_BYTES, size - CRC_BYTES);
    for (size_t i = 0; i < CRC_BYTES; i++) {
        data[i] = (uint8_t)(crc >> (8 * i));
    }
    return frame;
}

/* ---- reading: the head ---- */

static int take_head_field(const wire_field_t *field, peer_frame_t *frame, uint32_t *content)
{
    static const uint8_t types[] = {
        [FRAME_CLUSTER_ID] = WIRE_FIXED64,  [FRAME_FROM] = WIRE_FIXED64, [FRAME_TO] = WIRE_FIXED64,
        [FRAME_INCARNATION] = WIRE_FIXED64, [FRAME_TERM] = WIRE_VARINT,  [FRAME_KIND] = WIRE_VARINT,
    };
    if (field->number > FRAME_CONTENT_LAST) {
        return 0; /* of a later version */
    }
    if (field->number >= FRAME_CONTENT_FIRST) {
        if (field->type != WIRE_LEN || *content) {
            return PEER_FRAME_MALFORMED;
        }
        *content = field->number;
        frame->content = field->data;
        return 0;
    }
    if (field->type != types[field->number]) {
        return PEER_FRAME_MALFORMED;
    }
    switch (field->number) {
    case FRAME_CLUSTER_ID: frame->header.cluster_id = field->value; break;
    case FRAME_FROM: frame->header.from = field->value; break;
    case FRAME_TO: frame->header.to = field->value; break;
    case FRAME_INCARNATION: frame->header.incarnation = field->value; break;
    case FRAME_TERM: frame->term = field->value; break;
    default:
        if (field->value >= PEER_KINDS_COUNT) {
            return PEER_FRAME_MALFORMED;
        }
        frame->kind = (peer_kind_t)field->value;
    }
    return 0;
}

int peer_frame_open(slice_t bytes, peer_frame_t *frame)
{
    *frame = (peer_frame_t){.kind = PEER_NONE};
    if (bytes.len < PREFIX_BYTES || bytes.len > LIMIT_PEER_FRAME_BYTES) {
        return PEER_FRAME_MALFORMED;
    }
    uint32_t crc = crc32c(0, bytes.data + CRC_BYTES, bytes.len - CRC_BYTES);
    for (size_t i = 0; i < CRC_BYTES; i++) {
        if (bytes.data[i] != (uint8_t)(crc >> (8 * i))) {
            return PEER_FRAME_DAMAGED;
        }
    }
    if (bytes.data[CRC_BYTES] != FRAME_VERSION) {
        return PEER_FRAME_VERSION;
    }
    slice_t rest = slice(bytes.data + PREFIX_BYTES, bytes.len - PREFIX_BYTES);
    wire_field_t field;
    uint32_t content = 0;
    int rc;
    while ((rc = wire_next(&rest, &field)) == 0) {
        if (take_head_field(&field, frame, &content)) {
            return PEER_FRAME_MALFORMED;
        }
    }
    if (rc != WIRE_END || frame->kind == PEER_NONE || content != contents[frame->kind].number ||
        frame->header.from == 0 || frame->term > LIMIT_PEER_NUMBER) {
        return PEER_FRAME_MALFORMED;
    }
    return 0;
}

/* ---- reading: the content ---- */

static bool take_type(const wire_field_t *field, entry_type_t *type)
{
    *type = field->value == ENTRY_CONFIGURATION ? ENTRY_CONFIGURATION : ENTRY_NORMAL;
    return field->type == WIRE_VARINT && field->value <= ENTRY_CONFIGURATION;
}

static bool take_payload(const wire_field_t *field, slice_t *payload)
{
    *payload = field->data;
    return field->type == WIRE_LEN && field->data.len <= LIMIT_WAL_RECORD_BYTES;
}

static bytes_t *bytes_of(slice_t payload)
{
    return payload.len ? bytes_new(payload.data, payload.len) : NULL;
}

static bool is_configuration(slice_t encoded)
{
    configuration_t configuration = {0};
    bool fine = encoded.len > 0 && encoded.len <= LIMIT_WAL_CONFIGURATION_BYTES &&
                configuration_decode(&configuration, encoded) == 0;
    configuration_deinit(&configuration);
    return fine;
}

static bool take_entry(slice_t rest, entries_t *entries)
{
    entry_t entry = {.type = ENTRY_NORMAL};
    slice_t payload = {0};
    wire_field_t field;
    int rc;
    while ((rc = wire_next(&rest, &field)) == 0) {
        bool fine = true;
        switch (field.number) {
        case ENTRY_TERM:
            entry.term = field.value;
            fine = field.type == WIRE_VARINT;
            break;
        case ENTRY_TYPE: fine = take_type(&field, &entry.type); break;
        case ENTRY_PAYLOAD: fine = take_payload(&field, &payload); break;
        default: break; /* of a later version */
        }
        if (!fine) {
            return false;
        }
    }
    if (rc != WIRE_END || entries->count == LIMIT_APPEND_ENTRIES ||
        (entry.type == ENTRY_CONFIGURATION && !is_configuration(payload))) {
        return false;
    }
    entry.payload = bytes_of(payload);
    entries_append(entries, &entry);
    bytes_unref(&entry.payload);
    return true;
}

static bool take_item(slice_t rest, peer_propose_t *propose)
{
    proposal_t item = {.type = ENTRY_NORMAL};
    slice_t payload = {0};
    wire_field_t field;
    int rc;
    while ((rc = wire_next(&rest, &field)) == 0) {
        if ((field.number == PROPOSAL_TYPE && !take_type(&field, &item.type)) ||
            (field.number == PROPOSAL_PAYLOAD && !take_payload(&field, &payload))) {
            return false;
        }
    }
    if (rc != WIRE_END || payload.len == 0 || propose->count == LIMIT_FORWARD_ITEMS) {
        return false;
    }
    if ((propose->count & (propose->count - 1)) == 0) { /* room is the next power of two */
        size_t room = propose->count ? propose->count * 2 : 1;
        propose->items = xrealloc(propose->items, room * sizeof *propose->items);
    }
    item.payload = bytes_of(payload);
    propose->items[propose->count++] = item;
    return true;
}

/* A text that this version does not know is something that a client may try again. */
static api_error_t error_of(slice_t text)
{
    for (int error = 0; error < API_ERRORS_COUNT; error++) {
        if (slice_equal(text, slice_str(api_error_text((api_error_t)error)))) {
            return (api_error_t)error;
        }
    }
    return API_UNHEALTHY;
}

/* When a field is repeated the last one counts. */
static bool take_bytes(bytes_t **place, slice_t value)
{
    bytes_unref(place);
    *place = bytes_of(value);
    return true;
}

static unsigned wire_type_of(field_type_t type)
{
    switch (type) {
    case NUMBER:
    case SIGNED:
    case FLAG:
    case LEASE_OP: return WIRE_VARINT;
    case CHECKSUM: return WIRE_FIXED32;
    default: return WIRE_LEN;
    }
}

static bool take_field(const wire_field_t *wire, const field_t *field, peer_msg_t *msg)
{
    void *place = (char *)msg + field->offset;
    if (wire->type != wire_type_of(field->type)) {
        return false;
    }
    switch (field->type) {
    case NUMBER: *(uint64_t *)place = wire->value; return wire->value <= LIMIT_PEER_NUMBER;
    case SIGNED: *(int64_t *)place = (int64_t)wire->value; return true;
    case FLAG: *(bool *)place = wire->value != 0; return true;
    case CHECKSUM: *(uint32_t *)place = (uint32_t)wire->value; return true;
    case LEASE_OP:
        *(lease_op_t *)place = (lease_op_t)wire->value;
        return wire->value <= LEASE_OP_LIST;
    case ERROR_TEXT: *(api_error_t *)place = error_of(wire->data); return true;
    case MEMBERS: return is_configuration(wire->data) && take_bytes((bytes_t **)place, wire->data);
    case IDS: return wire->data.len % 8 == 0 && take_bytes((bytes_t **)place, wire->data);
    case BYTES: return take_bytes((bytes_t **)place, wire->data);
    case ENTRIES: return take_entry(wire->data, place);
    case ITEMS: return take_item(wire->data, place);
    }
    return false;
}

static bool take_content(slice_t rest, const content_t *content, peer_msg_t *msg)
{
    wire_field_t wire;
    int rc;
    while ((rc = wire_next(&rest, &wire)) == 0) {
        for (size_t i = 0; i < content->count; i++) {
            if (content->fields[i].number == wire.number &&
                !take_field(&wire, &content->fields[i], msg)) {
                return false;
            }
        }
    }
    return rc == WIRE_END;
}

/* Entries get their indexes; their terms must be what a log of this term may hold. */
static bool finish_append(peer_append_t *append, uint64_t term)
{
    uint64_t last_term = append->prev_term;
    if (last_term > term || (append->prev_index == 0) != (append->prev_term == 0)) {
        return false;
    }
    for (size_t i = 0; i < append->entries.count; i++) {
        entry_t *entry = &append->entries.items[i];
        if (entry->term == 0 || entry->term < last_term || entry->term > term) {
            return false;
        }
        entry->index = append->prev_index + 1 + i;
        last_term = entry->term;
    }
    return true;
}

/* What the fields alone cannot tell. */
static bool is_complete(peer_msg_t *msg)
{
    switch (msg->kind) {
    case PEER_APPEND: return finish_append(&msg->u.append, msg->term);
    case PEER_SNAP_META:
        return msg->u.snap_meta.configuration && msg->u.snap_meta.index > 0 &&
               msg->u.snap_meta.log_term > 0 && msg->u.snap_meta.log_term <= msg->term;
    case PEER_CLUSTER: return msg->u.cluster.configuration != NULL;
    default: return true;
    }
}

int peer_frame_decode(const peer_frame_t *frame, peer_msg_t **msg_p)
{
    peer_msg_t *msg = peer_msg_new(frame->kind, frame->term);
    msg->incarnation = frame->header.incarnation;
    if (!take_content(frame->content, &contents[frame->kind], msg) || !is_complete(msg)) {
        peer_msg_free(&msg);
        return PEER_FRAME_MALFORMED;
    }
    *msg_p = msg;
    return 0;
}
