#include "messages/wire.h"

enum { VARINT_BYTES_MAX = 10 };
enum { WIRE_GROUP_END = 4 };

static uint64_t fixed(const uint8_t *data, size_t len)
{
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++) {
        value |= (uint64_t)data[i] << (8 * i);
    }
    return value;
}

static void drop(slice_t *rest, size_t len)
{
    rest->data += len;
    rest->len -= len;
}

int wire_varint(slice_t *rest, uint64_t *value)
{
    uint64_t result = 0;
    for (size_t i = 0; i < VARINT_BYTES_MAX && i < rest->len; i++) {
        uint8_t byte = rest->data[i];
        if (i == VARINT_BYTES_MAX - 1 && byte > 1) {
            return WIRE_MALFORMED; /* does not fit 64 bits */
        }
        result |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (!(byte & 0x80)) {
            drop(rest, i + 1);
            *value = result;
            return 0;
        }
    }
    return WIRE_MALFORMED;
}

static int take_fixed(slice_t *rest, wire_field_t *field, size_t len)
{
    if (rest->len < len) {
        return WIRE_MALFORMED;
    }
    field->value = fixed(rest->data, len);
    drop(rest, len);
    return 0;
}

static int take_bytes(slice_t *rest, wire_field_t *field)
{
    uint64_t len = 0;
    if (wire_varint(rest, &len) || len > rest->len) {
        return WIRE_MALFORMED;
    }
    field->data = slice(rest->data, (size_t)len);
    drop(rest, (size_t)len);
    return 0;
}

static int take_tag(slice_t *rest, wire_field_t *field)
{
    uint64_t tag = 0;
    if (wire_varint(rest, &tag) || tag >> 3 == 0 || tag >> 3 > 0x1fffffff) {
        return WIRE_MALFORMED;
    }
    *field = (wire_field_t){.number = (uint32_t)(tag >> 3), .type = (uint8_t)(tag & 7)};
    return 0;
}

static int take_value(slice_t *rest, wire_field_t *field)
{
    switch (field->type) {
    case 0: return wire_varint(rest, &field->value);
    case 1: return take_fixed(rest, field, 8);
    case 2: return take_bytes(rest, field);
    case 5: return take_fixed(rest, field, 4);
    default: return WIRE_MALFORMED;
    }
}

/* Everything up to the end of the group that `number` has opened, groups inside it included. */
static int skip_group(slice_t *rest, uint32_t number)
{
    uint32_t open[WIRE_GROUPS_MAX];
    size_t depth = 1;
    open[0] = number;
    while (depth > 0) {
        wire_field_t inner;
        if (take_tag(rest, &inner)) {
            return WIRE_MALFORMED;
        }
        if (inner.type == WIRE_GROUP_END) {
            if (inner.number != open[--depth]) {
                return WIRE_MALFORMED;
            }
        } else if (inner.type == WIRE_GROUP) {
            if (depth == WIRE_GROUPS_MAX) {
                return WIRE_MALFORMED;
            }
            open[depth++] = inner.number;
        } else if (take_value(rest, &inner)) {
            return WIRE_MALFORMED;
        }
    }
    return 0;
}

int wire_next(slice_t *rest, wire_field_t *field)
{
    if (rest->len == 0) {
        return WIRE_END;
    }
    if (take_tag(rest, field)) {
        return WIRE_MALFORMED;
    }
    return field->type == WIRE_GROUP ? skip_group(rest, field->number) : take_value(rest, field);
}
