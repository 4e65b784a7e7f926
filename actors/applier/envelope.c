#include "actors/applier/envelope.h"

#include "messages/wire.h"

enum { HEADER_ID = 1 };
enum { TYPE_VARINT = 0, TYPE_BYTES = 2 };

static int end_of(int rc)
{
    return rc == WIRE_END ? 0 : ENVELOPE_MALFORMED;
}

static int header_decode(slice_t header, envelope_t *out)
{
    wire_field_t field;
    int rc = 0;
    while ((rc = wire_next(&header, &field)) == 0) {
        if (field.number == HEADER_ID && field.type == TYPE_VARINT) {
            out->request_id = field.value;
        }
    }
    return end_of(rc);
}

int envelope_decode(slice_t payload, envelope_t *out)
{
    *out = (envelope_t){0};
    wire_field_t field;
    int rc = 0;
    while ((rc = wire_next(&payload, &field)) == 0) {
        if (field.number == OP_ID && field.type == TYPE_VARINT) {
            out->origin = field.value;
        } else if (field.type != TYPE_BYTES) {
            return ENVELOPE_MALFORMED;
        } else if (field.number == OP_HEADER) {
            if (header_decode(field.data, out)) {
                return ENVELOPE_MALFORMED;
            }
        } else {
            if (out->op) {
                return ENVELOPE_MALFORMED;
            }
            out->op = field.number;
            out->request = field.data;
        }
    }
    return out->op ? end_of(rc) : ENVELOPE_MALFORMED;
}

int op_put_decode(slice_t request, op_put_t *out)
{
    *out = (op_put_t){0};
    wire_field_t field;
    int rc = 0;
    while ((rc = wire_next(&request, &field)) == 0) {
        switch (field.number << 3 | field.type) {
        case 1 << 3 | TYPE_BYTES: out->key = field.data; break;
        case 2 << 3 | TYPE_BYTES: out->value = field.data; break;
        case 3 << 3 | TYPE_VARINT: out->lease = (int64_t)field.value; break;
        case 4 << 3 | TYPE_VARINT: out->prev_kv = field.value != 0; break;
        case 5 << 3 | TYPE_VARINT: out->ignore_value = field.value != 0; break;
        case 6 << 3 | TYPE_VARINT: out->ignore_lease = field.value != 0; break;
        default: break; /* from a later version: ignored, as protobuf wants it */
        }
    }
    return end_of(rc);
}

int op_delete_range_decode(slice_t request, op_delete_range_t *out)
{
    *out = (op_delete_range_t){0};
    wire_field_t field;
    int rc = 0;
    while ((rc = wire_next(&request, &field)) == 0) {
        switch (field.number << 3 | field.type) {
        case 1 << 3 | TYPE_BYTES: out->key = field.data; break;
        case 2 << 3 | TYPE_BYTES: out->range_end = field.data; break;
        case 3 << 3 | TYPE_VARINT: out->prev_kv = field.value != 0; break;
        default: break;
        }
    }
    return end_of(rc);
}

int op_numbers_decode(slice_t request, op_numbers_t *out)
{
    *out = (op_numbers_t){0};
    wire_field_t field;
    int rc = 0;
    while ((rc = wire_next(&request, &field)) == 0) {
        switch (field.number << 3 | field.type) {
        case 1 << 3 | TYPE_VARINT: out->first = (int64_t)field.value; break;
        case 2 << 3 | TYPE_VARINT: out->second = (int64_t)field.value; break;
        default: break;
        }
    }
    return end_of(rc);
}
