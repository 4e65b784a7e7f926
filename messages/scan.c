#include "messages/scan.h"

#include <assert.h>

#include "messages/wire.h"

/* One level that has been entered and not been left: what remains of it, and what it is. */
typedef struct {
    slice_t rest;
    const ProtobufCMessageDescriptor *descriptor;
} level_t;

static size_t packed_elements(const ProtobufCFieldDescriptor *field, slice_t data)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FLOAT: return data.len / 4;
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE: return data.len / 8;
    default: return data.len; /* varints, one byte each at least */
    }
}

static bool is_packed(const ProtobufCFieldDescriptor *field)
{
    return field->label == PROTOBUF_C_LABEL_REPEATED && field->type != PROTOBUF_C_TYPE_STRING &&
           field->type != PROTOBUF_C_TYPE_BYTES && field->type != PROTOBUF_C_TYPE_MESSAGE;
}

int scan_message(slice_t message, const ProtobufCMessageDescriptor *descriptor,
                 const scan_limits_t *limits)
{
    assert(limits->depth > 0);
    assert(limits->depth <= SCAN_DEPTH_MAX);
    level_t levels[SCAN_DEPTH_MAX];
    size_t depth = 1;
    size_t fields = 0;
    levels[0] = (level_t){.rest = message, .descriptor = descriptor};
    while (depth > 0) {
        level_t *level = &levels[depth - 1];
        wire_field_t wire;
        int rc = wire_next(&level->rest, &wire);
        if (rc == WIRE_END) {
            depth--;
            continue;
        }
        if (rc) {
            return SCAN_MALFORMED;
        }
        fields++;
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(level->descriptor, wire.number);
        if (field && wire.type == 2 && is_packed(field)) {
            fields += packed_elements(field, wire.data);
        }
        if (fields > limits->fields) {
            return SCAN_TOO_MANY_FIELDS;
        }
        if (field && wire.type == 2 && field->type == PROTOBUF_C_TYPE_MESSAGE) {
            if (depth == limits->depth) {
                return SCAN_TOO_DEEP;
            }
            levels[depth++] = (level_t){.rest = wire.data, .descriptor = field->descriptor};
        }
    }
    return 0;
}
