#include "actors/api/canon.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/limits.h"
#include "messages/wire.h"
#include "messages/xalloc.h"

typedef const ProtobufCFieldDescriptor field_descriptor_t;

static bool fits(field_descriptor_t *field, uint8_t wire_type)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE: return wire_type == 2;
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return wire_type == 5 || (wire_type == 2 && field->label == PROTOBUF_C_LABEL_REPEATED);
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return wire_type == 1 || (wire_type == 2 && field->label == PROTOBUF_C_LABEL_REPEATED);
    default: return wire_type == 0 || (wire_type == 2 && field->label == PROTOBUF_C_LABEL_REPEATED);
    }
}

static bool is_message(field_descriptor_t *field)
{
    return field->type == PROTOBUF_C_TYPE_MESSAGE;
}

static bool is_single_message(field_descriptor_t *field)
{
    return is_message(field) && field->label != PROTOBUF_C_LABEL_REPEATED;
}

/* ---- is it plain? ---- */

typedef struct {
    slice_t rest;
    const ProtobufCMessageDescriptor *descriptor;
    uint64_t seen; /* single sub-messages, by their place in the descriptor */
} level_t;

bool canon_is_plain(slice_t message, const ProtobufCMessageDescriptor *descriptor)
{
    level_t levels[LIMIT_MESSAGE_DEPTH];
    size_t depth = 1;
    levels[0] = (level_t){.rest = message, .descriptor = descriptor};
    while (depth > 0) {
        level_t *level = &levels[depth - 1];
        wire_field_t wire;
        if (wire_next(&level->rest, &wire)) {
            depth--; /* the end: it has been scanned before */
            continue;
        }
        field_descriptor_t *field =
            protobuf_c_message_descriptor_get_field(level->descriptor, wire.number);
        if (!field || !fits(field, wire.type)) {
            return false;
        }
        if (!is_message(field)) {
            continue;
        }
        uint64_t bit = UINT64_C(1) << ((size_t)(field - level->descriptor->fields) % 64);
        if (is_single_message(field) && (level->seen & bit)) {
            return false;
        }
        level->seen |= bit;
        assert(depth < LIMIT_MESSAGE_DEPTH);
        levels[depth++] = (level_t){.rest = wire.data, .descriptor = field->descriptor};
    }
    return true;
}

/* ---- rewriting ---- */

/* One level of a message that is being rewritten. The pieces of its single sub-messages are kept by
 * their place in the descriptor: joined they are the merged one. */
typedef struct {
    const ProtobufCMessageDescriptor *descriptor;
    buf_t *pieces;
    bool *present;
    size_t depth;
    size_t *fields_left; /* of all levels together */
} singles_t;

static void singles_deinit(singles_t *self)
{
    for (size_t i = 0; i < self->descriptor->n_fields; i++) {
        buf_deinit(&self->pieces[i]);
    }
    free(self->pieces);
    free(self->present);
}

/* Another member of a oneof makes the one before it undone. */
static void drop_rivals(singles_t *self, field_descriptor_t *field)
{
    if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)) {
        return;
    }
    for (size_t i = 0; i < self->descriptor->n_fields; i++) {
        field_descriptor_t *other = &self->descriptor->fields[i];
        if (other != field && (other->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
            other->quantifier_offset == field->quantifier_offset) {
            buf_clear(&self->pieces[i]);
            self->present[i] = false;
        }
    }
}

static void singles_add(singles_t *self, field_descriptor_t *field, slice_t piece)
{
    size_t place = (size_t)(field - self->descriptor->fields);
    drop_rivals(self, field);
    self->present[place] = true;
    buf_append(&self->pieces[place], piece.data, piece.len);
}

static int rewrite(slice_t message, singles_t *level, buf_t *out);

static int append_message(const singles_t *outer, field_descriptor_t *field, slice_t content,
                          buf_t *out)
{
    buf_t inner = {0};
    singles_t level = {.descriptor = field->descriptor,
                       .depth = outer->depth + 1,
                       .fields_left = outer->fields_left};
    int rc = rewrite(content, &level, &inner);
    if (!rc) {
        buf_field_bytes(out, field->id, buf_slice(&inner));
    }
    buf_deinit(&inner);
    return rc;
}

static int rewrite_field(singles_t *singles, const wire_field_t *wire, slice_t raw, buf_t *out)
{
    field_descriptor_t *field =
        protobuf_c_message_descriptor_get_field(singles->descriptor, wire->number);
    if (!field || !fits(field, wire->type)) {
        return 0;
    }
    if (is_single_message(field)) {
        singles_add(singles, field, wire->data);
        return 0;
    }
    if (is_message(field)) {
        return append_message(singles, field, wire->data, out);
    }
    drop_rivals(singles, field);
    buf_append(out, raw.data, raw.len);
    return 0;
}

/* Calls itself for sub-messages, at most LIMIT_MESSAGE_DEPTH deep. */
static int rewrite(slice_t message, singles_t *level, buf_t *out)
{
    const ProtobufCMessageDescriptor *descriptor = level->descriptor;
    if (level->depth > LIMIT_MESSAGE_DEPTH) {
        return CANON_TOO_LARGE;
    }
    level->pieces = xcalloc(descriptor->n_fields + 1, sizeof *level->pieces);
    level->present = xcalloc(descriptor->n_fields + 1, sizeof *level->present);
    int rc = 0;
    while (rc == 0 && message.len) {
        const uint8_t *start = message.data;
        wire_field_t wire;
        if (*level->fields_left == 0) {
            rc = CANON_TOO_LARGE;
        } else if (wire_next(&message, &wire)) {
            rc = CANON_MALFORMED;
        } else {
            --*level->fields_left;
            slice_t raw = slice(start, (size_t)(message.data - start));
            rc = rewrite_field(level, &wire, raw, out);
        }
    }
    for (size_t i = 0; rc == 0 && i < descriptor->n_fields; i++) {
        if (level->present[i]) {
            rc = append_message(level, &descriptor->fields[i], buf_slice(&level->pieces[i]), out);
        }
    }
    singles_deinit(level);
    return rc;
}

int canon_rewrite(slice_t message, const ProtobufCMessageDescriptor *descriptor, buf_t *out)
{
    size_t fields_left = LIMIT_MESSAGE_FIELDS;
    singles_t level = {.descriptor = descriptor, .depth = 1, .fields_left = &fields_left};
    return rewrite(message, &level, out);
}
