#include "client/native/client_pages.h"

#include "messages/wire.h"

enum { WIRE_VARINT = 0, WIRE_BYTES = 2 };

/* ---- questions ---- */

static void put_position(buf_t *out, uint32_t field, native_position_t position)
{
    size_t len = 0;
    len += position.revision ? 1 + varint_size((uint64_t)position.revision) : 0;
    len += position.sub ? 1 + varint_size(position.sub) : 0;
    buf_field_header(out, field, len);
    buf_field_u64(out, 1, (uint64_t)position.revision);
    buf_field_u64(out, 2, position.sub);
}

void client_pages_ask_snapshot(buf_t *out, slice_t subscription, uint64_t cluster_id)
{
    buf_field_bytes(out, 1, subscription);
    buf_field_u64(out, 3, cluster_id);
}

void client_pages_ask_events(buf_t *out, slice_t subscription, native_position_t after,
                             native_position_t through, uint64_t cluster_id)
{
    buf_field_bytes(out, 1, subscription);
    put_position(out, 2, after);
    put_position(out, 3, through);
    buf_field_u64(out, 4, cluster_id);
}

void client_pages_ask_revision(buf_t *out)
{
    enum { KEY = 1, COUNT_ONLY = 9 };
    buf_field_bytes(out, KEY, slice("", 1)); /* the first key there can be, which nobody uses */
    buf_field_u64(out, COUNT_ONLY, 1);
}

/* ---- answers ---- */

static int read_header(client_pages_t *self, slice_t rest)
{
    enum { CLUSTER_ID = 1, REVISION = 3 };
    wire_field_t field;
    int rc = 0;
    while ((rc = wire_next(&rest, &field)) == 0) {
        if (field.type == WIRE_VARINT && field.number == CLUSTER_ID) {
            self->cluster_id = field.value;
        } else if (field.type == WIRE_VARINT && field.number == REVISION) {
            self->revision = (int64_t)field.value;
        }
    }
    return rc == WIRE_END ? 0 : rc;
}

static int read_position(slice_t rest, native_position_t *position)
{
    *position = (native_position_t){0};
    wire_field_t field;
    int rc = 0;
    while ((rc = wire_next(&rest, &field)) == 0) {
        if (field.type == WIRE_VARINT && field.number == 1) {
            position->revision = (int64_t)field.value;
        } else if (field.type == WIRE_VARINT && field.number == 2) {
            position->sub = (uint32_t)field.value;
        }
    }
    return rc == WIRE_END && position->revision > 0 ? 0 : WIRE_MALFORMED;
}

static int read_event(slice_t rest, const client_pages_sink_t *sink, void *owner)
{
    enum { POSITION = 1, EVENT = 2 };
    native_position_t position = {0};
    native_change_t change = {0};
    bool has_change = false;
    wire_field_t field;
    int rc = 0;
    while (rc == 0 && (rc = wire_next(&rest, &field)) == 0) {
        if (field.type == WIRE_BYTES && field.number == POSITION) {
            rc = read_position(field.data, &position);
        } else if (field.type == WIRE_BYTES && field.number == EVENT) {
            rc = native_change_read(field.data, &change);
            has_change = true;
        }
    }
    if (rc != WIRE_END || !has_change || position.revision == 0) {
        return WIRE_MALFORMED;
    }
    sink->on_event(owner, position, &change);
    return 0;
}

/* The fields of both kinds of pages: what they carry is number 2, the header 1, `complete` 4 and a message. */
static int read_field(client_pages_t *self, const wire_field_t *field,
                      const client_pages_sink_t *sink, void *owner)
{
    enum { HEADER = 1, ITEMS = 2, COMPLETE = 4 };
    if (field->type != WIRE_BYTES) {
        return 0;
    }
    if (field->number == HEADER) {
        return read_header(self, field->data);
    }
    if (field->number == ITEMS && self->kind == CLIENT_PAGES_SNAPSHOT) {
        native_kv_t kv;
        int rc = native_kv_read(field->data, &kv);
        if (rc == 0) {
            sink->on_kv(owner, &kv);
        }
        return rc;
    }
    if (field->number == ITEMS && self->kind == CLIENT_PAGES_EVENTS) {
        return read_event(field->data, sink, owner);
    }
    if (field->number == COMPLETE && self->kind == CLIENT_PAGES_EVENTS) {
        native_position_t complete;
        int rc = read_position(field->data, &complete);
        self->complete = complete.revision;
        return rc;
    }
    return 0;
}

void client_pages_read(client_pages_t *self, slice_t page, const client_pages_sink_t *sink,
                       void *owner)
{
    wire_field_t field;
    int rc = self->is_malformed ? WIRE_MALFORMED : 0;
    while (rc == 0 && (rc = wire_next(&page, &field)) == 0) {
        rc = read_field(self, &field, sink, owner);
    }
    self->is_malformed = rc != WIRE_END;
}
