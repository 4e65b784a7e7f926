#include "actors/api/decode.h"

#include "messages/json.h"
#include "messages/wire.h"

typedef enum {
    FIELD_UNKNOWN,
    FIELD_BYTES,
    FIELD_INT64,
    FIELD_BOOL,
    FIELD_ENUM,
    FIELD_ENUM_SET
} field_kind_t;

/* What a field number means: an array of these, indexed by field number, describes a message. */
typedef struct {
    field_kind_t kind;
    size_t offset;
} field_t;

#define FIELD(kind, type, member)                                                                  \
    {                                                                                              \
        FIELD_##kind, offsetof(type, member)                                                       \
    }

static void add_to_set(uint32_t *set, uint64_t value)
{
    if (value < 32) { /* unknown filters are ignored, as etcd does */
        *set |= 1u << value;
    }
}

static int store_bytes(const field_t *field, const wire_field_t *wire, char *out)
{
    if (field->kind == FIELD_BYTES) {
        slice_t *target = (slice_t *)(void *)(out + field->offset);
        *target = wire->data;
        return 0;
    }
    if (field->kind != FIELD_ENUM_SET) {
        return 0; /* of another wire type: as good as unknown */
    }
    slice_t packed = wire->data;
    while (packed.len) {
        uint64_t value = 0;
        if (wire_varint(&packed, &value)) {
            return DECODE_MALFORMED;
        }
        add_to_set((uint32_t *)(void *)(out + field->offset), value);
    }
    return 0;
}

static void store_varint(const field_t *field, uint64_t value, char *out)
{
    void *target = out + field->offset;
    switch (field->kind) {
    case FIELD_INT64: *(int64_t *)target = (int64_t)value; break;
    case FIELD_BOOL: *(bool *)target = value != 0; break;
    case FIELD_ENUM: *(int32_t *)target = (int32_t)(uint32_t)value; break;
    case FIELD_ENUM_SET: add_to_set(target, value); break;
    default: break; /* of another wire type */
    }
}

static int decode(slice_t in, const field_t *fields, size_t count, void *out)
{
    wire_field_t wire;
    int rc = 0;
    size_t seen = 0;
    while ((rc = wire_next(&in, &wire)) == 0) {
        if (++seen > LIMIT_MESSAGE_FIELDS) {
            return DECODE_MALFORMED;
        }
        if (wire.number >= count || fields[wire.number].kind == FIELD_UNKNOWN) {
            continue;
        }
        const field_t *field = &fields[wire.number];
        if (wire.type == 0) {
            store_varint(field, wire.value, out);
        } else if (wire.type == 2 && store_bytes(field, &wire, out)) {
            return DECODE_MALFORMED;
        }
    }
    return rc == WIRE_END ? 0 : DECODE_MALFORMED;
}

#define DECODE(in, fields, out) decode(in, fields, sizeof(fields) / sizeof *(fields), out)

int decode_range(slice_t in, range_request_t *out)
{
    static const field_t fields[] = {
        [1] = FIELD(BYTES, range_request_t, key),
        [2] = FIELD(BYTES, range_request_t, range_end),
        [3] = FIELD(INT64, range_request_t, limit),
        [4] = FIELD(INT64, range_request_t, revision),
        [5] = FIELD(ENUM, range_request_t, sort_order),
        [6] = FIELD(ENUM, range_request_t, sort_target),
        [7] = FIELD(BOOL, range_request_t, serializable),
        [8] = FIELD(BOOL, range_request_t, keys_only),
        [9] = FIELD(BOOL, range_request_t, count_only),
        [10] = FIELD(INT64, range_request_t, min_mod_revision),
        [11] = FIELD(INT64, range_request_t, max_mod_revision),
        [12] = FIELD(INT64, range_request_t, min_create_revision),
        [13] = FIELD(INT64, range_request_t, max_create_revision),
    };
    *out = (range_request_t){0};
    return DECODE(in, fields, out);
}

int decode_put(slice_t in, put_request_t *out)
{
    static const field_t fields[] = {
        [1] = FIELD(BYTES, put_request_t, key),
        [2] = FIELD(BYTES, put_request_t, value),
        [3] = FIELD(INT64, put_request_t, lease),
        [4] = FIELD(BOOL, put_request_t, prev_kv),
        [5] = FIELD(BOOL, put_request_t, ignore_value),
        [6] = FIELD(BOOL, put_request_t, ignore_lease),
    };
    *out = (put_request_t){0};
    return DECODE(in, fields, out);
}

int decode_delete_range(slice_t in, delete_range_request_t *out)
{
    static const field_t fields[] = {
        [1] = FIELD(BYTES, delete_range_request_t, key),
        [2] = FIELD(BYTES, delete_range_request_t, range_end),
        [3] = FIELD(BOOL, delete_range_request_t, prev_kv),
    };
    *out = (delete_range_request_t){0};
    return DECODE(in, fields, out);
}

int decode_compaction(slice_t in)
{
    typedef struct {
        int64_t revision;
        bool physical;
    } compaction_t;
    static const field_t fields[] = {
        [1] = FIELD(INT64, compaction_t, revision),
        [2] = FIELD(BOOL, compaction_t, physical),
    };
    compaction_t ignored = {0};
    return DECODE(in, fields, &ignored);
}

int decode_lease_grant(slice_t in, lease_grant_request_t *out)
{
    static const field_t fields[] = {
        [1] = FIELD(INT64, lease_grant_request_t, ttl_s),
        [2] = FIELD(INT64, lease_grant_request_t, id),
    };
    *out = (lease_grant_request_t){0};
    return DECODE(in, fields, out);
}

int decode_lease(slice_t in, lease_request_t *out)
{
    static const field_t fields[] = {
        [1] = FIELD(INT64, lease_request_t, id),
        [2] = FIELD(BOOL, lease_request_t, keys),
    };
    *out = (lease_request_t){0};
    return DECODE(in, fields, out);
}

static int decode_watch_create(slice_t in, watch_create_request_t *out)
{
    static const field_t fields[] = {
        [1] = FIELD(BYTES, watch_create_request_t, key),
        [2] = FIELD(BYTES, watch_create_request_t, range_end),
        [3] = FIELD(INT64, watch_create_request_t, start_revision),
        [4] = FIELD(BOOL, watch_create_request_t, progress_notify),
        [5] = FIELD(ENUM_SET, watch_create_request_t, filters),
        [6] = FIELD(BOOL, watch_create_request_t, prev_kv),
        [7] = FIELD(INT64, watch_create_request_t, watch_id),
        [8] = FIELD(BOOL, watch_create_request_t, fragment),
    };
    return DECODE(in, fields, out);
}

int decode_watch(slice_t in, watch_request_t *out)
{
    static const field_t cancel_fields[] = {[1] = FIELD(INT64, watch_request_t, cancel_id)};
    *out = (watch_request_t){0};
    wire_field_t wire;
    int rc = 0;
    while ((rc = wire_next(&in, &wire)) == 0) {
        if (wire.type != 2 || wire.number > WATCH_REQUEST_PROGRESS) {
            continue;
        }
        watch_request_type_t type = (watch_request_type_t)wire.number;
        if (type != out->type) {
            *out = (watch_request_t){.type = type}; /* a oneof: the last one counts */
        }
        switch (type) { /* pieces of the same one are merged */
        case WATCH_REQUEST_CREATE: rc = decode_watch_create(wire.data, &out->create); break;
        case WATCH_REQUEST_CANCEL: rc = DECODE(wire.data, cancel_fields, out); break;
        default: rc = decode_empty(wire.data); break;
        }
        if (rc) {
            return rc;
        }
    }
    return rc == WIRE_END ? 0 : DECODE_MALFORMED;
}

int decode_alarm(slice_t in, alarm_request_t *out)
{
    static const field_t fields[] = {
        [1] = FIELD(ENUM, alarm_request_t, action),
        [3] =
            FIELD(ENUM, alarm_request_t, alarm), /* 2, the member, matters to existing ones only */
    };
    *out = (alarm_request_t){0};
    return DECODE(in, fields, out);
}

int decode_member_list(slice_t in, bool *linearizable)
{
    typedef struct {
        bool linearizable;
    } member_list_t;
    static const field_t fields[] = {[1] = FIELD(BOOL, member_list_t, linearizable)};
    member_list_t out = {0};
    int rc = DECODE(in, fields, &out);
    *linearizable = out.linearizable;
    return rc;
}

int decode_number(slice_t in, uint64_t *out)
{
    static const field_t fields[] = {[1] = {FIELD_INT64, 0}};
    int64_t number = 0;
    int rc = DECODE(in, fields, &number);
    *out = (uint64_t)number;
    return rc;
}

/* What is declared as a string has to be one. */
static bool is_utf8(slice_t text)
{
    while (text.len) {
        size_t len = utf8_length(text);
        if (len == 0) {
            return false;
        }
        text = slice(text.data + len, text.len - len);
    }
    return true;
}

/* The texts of the repeated string field `number`. */
static int decode_urls(slice_t in, uint32_t number, member_request_t *out)
{
    wire_field_t field;
    int rc = 0;
    while ((rc = wire_next(&in, &field)) == 0) {
        if (field.number != number || field.type != 2) {
            continue;
        }
        if (!is_utf8(field.data)) {
            return DECODE_MALFORMED;
        }
        if (out->url_count < LIMIT_URLS) {
            out->urls[out->url_count] = field.data;
        }
        out->url_count++;
    }
    return rc == WIRE_END ? 0 : DECODE_MALFORMED;
}

int decode_member_add(slice_t in, member_request_t *out)
{
    static const field_t fields[] = {[2] = FIELD(BOOL, member_request_t, is_learner)};
    out->id = 0;
    out->url_count = 0;
    out->is_learner = false;
    int rc = DECODE(in, fields, out);
    return rc ? rc : decode_urls(in, 1, out);
}

int decode_member_update(slice_t in, member_request_t *out)
{
    out->url_count = 0;
    out->is_learner = false;
    int rc = decode_number(in, &out->id);
    return rc ? rc : decode_urls(in, 2, out);
}

int decode_snapshot(slice_t in, snapshot_request_t *out)
{
    static const field_t fields[] = {
        [1] = FIELD(BYTES, snapshot_request_t, subscription),
        [2] = FIELD(INT64, snapshot_request_t, min_revision),
        [3] = FIELD(INT64, snapshot_request_t, cluster_id),
        [4] = FIELD(BOOL, snapshot_request_t, serializable),
    };
    *out = (snapshot_request_t){0};
    return DECODE(in, fields, out);
}

/* Pieces of the same position are merged. */
static int decode_position(slice_t in, native_position_t *out)
{
    typedef struct {
        int64_t revision, sub;
    } position_t;
    static const field_t fields[] = {
        [1] = FIELD(INT64, position_t, revision),
        [2] = FIELD(INT64, position_t, sub),
    };
    position_t position = {.revision = out->revision, .sub = out->sub};
    int rc = DECODE(in, fields, &position);
    *out = (native_position_t){.revision = position.revision, .sub = (uint32_t)position.sub};
    return rc;
}

int decode_events(slice_t in, events_request_t *out)
{
    enum { AFTER = 2, THROUGH = 3 };
    static const field_t fields[] = {
        [1] = FIELD(BYTES, events_request_t, subscription),
        [4] = FIELD(INT64, events_request_t, cluster_id),
    };
    *out = (events_request_t){0};
    int rc = DECODE(in, fields, out);
    wire_field_t wire;
    while (rc == 0 && wire_next(&in, &wire) == 0) {
        if (wire.type == 2 && wire.number == AFTER) {
            rc = decode_position(wire.data, &out->after);
        } else if (wire.type == 2 && wire.number == THROUGH) {
            rc = decode_position(wire.data, &out->through);
            out->has_through = true;
        }
    }
    return rc;
}

int decode_health(slice_t in, slice_t *service)
{
    static const field_t fields[] = {[1] = {FIELD_BYTES, 0}};
    *service = slice(NULL, 0);
    return DECODE(in, fields, service);
}

int decode_empty(slice_t in)
{
    return decode(in, NULL, 0, NULL);
}

void range_from_pb(range_request_t *out, const Etcdserverpb__RangeRequest *pb)
{
    *out = (range_request_t){
        .key = slice(pb->key.data, pb->key.len),
        .range_end = slice(pb->range_end.data, pb->range_end.len),
        .limit = pb->limit,
        .revision = pb->revision,
        .sort_order = (int32_t)pb->sort_order,
        .sort_target = (int32_t)pb->sort_target,
        .serializable = pb->serializable,
        .keys_only = pb->keys_only,
        .count_only = pb->count_only,
        .min_mod_revision = pb->min_mod_revision,
        .max_mod_revision = pb->max_mod_revision,
        .min_create_revision = pb->min_create_revision,
        .max_create_revision = pb->max_create_revision,
    };
}

void range_to_mvcc(mvcc_range_t *out, const range_request_t *request)
{
    *out = (mvcc_range_t){
        .interval = {.key = request->key, .range_end = request->range_end},
        .limit = request->limit,
        .revision = request->revision,
        .sort_order = (mvcc_sort_order_t)request->sort_order,
        .sort_target = (mvcc_sort_target_t)request->sort_target,
        .keys_only = request->keys_only,
        .count_only = request->count_only,
        .min_mod_revision = request->min_mod_revision,
        .max_mod_revision = request->max_mod_revision,
        .min_create_revision = request->min_create_revision,
        .max_create_revision = request->max_create_revision,
    };
}
