#include "messages/native_event.h"

#include <assert.h>

#include "messages/big_endian.h"
#include "messages/wire.h"

enum { ESCAPE = 0x00, ESCAPED_ZERO = 0xff, TERMINATOR = 0x01, MARK_TERMINATOR = 0x02 };
enum { LAYOUT_VERSION = 1, KIND_EVENT = 1, KIND_MARK = 2 };
enum { EVENT_OMITTED = 1, LINK_LAST = 1, MARK_LEADERLESS = 1 };
enum { HEADER_BYTES = 24, LINK_BYTES = 15, MARK_BYTES = 36 };

int native_position_compare(native_position_t a, native_position_t b)
{
    if (a.revision != b.revision) {
        return a.revision < b.revision ? -1 : 1;
    }
    return a.sub < b.sub ? -1 : a.sub > b.sub;
}

/* ---- topics ---- */

/* Of the escaped key at most `max` octets. */
static void append_escaped(buf_t *out, slice_t key, size_t max)
{
    size_t len = key.len < max ? key.len : max;
    uint8_t *start = buf_reserve(out, 2 * len);
    uint8_t *end = start;
    for (size_t i = 0; i < len; i++) {
        *end++ = key.data[i];
        if (key.data[i] == ESCAPE) {
            *end++ = ESCAPED_ZERO;
        }
    }
    size_t written = (size_t)(end - start);
    buf_advance(out, written < max ? written : max);
}

static void append_terminator(buf_t *out, uint8_t terminator)
{
    buf_byte(out, ESCAPE);
    buf_byte(out, terminator);
}

void native_topic(buf_t *out, uint8_t space, slice_t key)
{
    size_t start = out->len;
    buf_byte(out, space);
    append_escaped(out, key, LIMIT_NATIVE_TOPIC_BYTES - 1);
    append_terminator(out, TERMINATOR);
    if (out->len - start > LIMIT_NATIVE_TOPIC_BYTES) {
        out->len = start + LIMIT_NATIVE_TOPIC_BYTES;
    }
}

void native_subscription(buf_t *out, uint8_t space, slice_t key, bool exact)
{
    buf_byte(out, space);
    append_escaped(out, key, SIZE_MAX / 2);
    if (exact) {
        append_terminator(out, TERMINATOR);
    }
}

void native_mark_topic(buf_t *out, slice_t subscription)
{
    buf_byte(out, NATIVE_MARKS);
    buf_append(out, subscription.data, subscription.len);
    append_terminator(out, MARK_TERMINATOR);
}

/* Undoes the escape. Each %x00 is followed by %xFF, or by the terminator at the very end. */
static int unescape(slice_t in, bool *exact, buf_t *key)
{
    *exact = false;
    for (size_t i = 0; i < in.len; i++) {
        if (in.data[i] == ESCAPE) {
            if (i + 1 == in.len) {
                return NATIVE_MALFORMED;
            }
            if (in.data[i + 1] == TERMINATOR && i + 2 == in.len) {
                *exact = true;
                return 0;
            }
            if (in.data[i + 1] != ESCAPED_ZERO) {
                return NATIVE_MALFORMED;
            }
        }
        if (key) {
            buf_byte(key, in.data[i]);
        }
        i += in.data[i] == ESCAPE;
    }
    return 0;
}

int native_subscription_read(slice_t subscription, native_subscription_t *out, buf_t *key)
{
    if (subscription.len > LIMIT_NATIVE_TOPIC_BYTES) {
        return NATIVE_TOO_LONG;
    }
    if (key) {
        buf_clear(key);
    }
    *out = (native_subscription_t){.space = subscription.len ? subscription.data[0] : 0};
    if (out->space != NATIVE_EVENTS && out->space != NATIVE_PREVIOUS) {
        return NATIVE_MALFORMED;
    }
    slice_t rest = slice(subscription.data + 1, subscription.len - 1);
    int rc = unescape(rest, &out->exact, key);
    bool no_key = out->exact && rest.len == 2; /* the API has no empty keys */
    return rc || no_key ? NATIVE_MALFORMED : 0;
}

int native_subscription_interval(slice_t subscription, buf_t *key, buf_t *range_end)
{
    native_subscription_t read;
    int rc = native_subscription_read(subscription, &read, key);
    buf_clear(range_end);
    if (rc || read.exact) {
        return rc;
    }
    size_t len = key->len;
    while (len && key->data[len - 1] == UINT8_MAX) {
        len--;
    }
    if (len == 0) {
        buf_byte(range_end, 0); /* no end */
    } else {
        buf_append(range_end, key->data, len);
        range_end->data[len - 1]++;
    }
    if (key->len == 0) {
        buf_byte(key, 0); /* from the first key on */
    }
    return 0;
}

/* ---- numbers, big-endian ---- */

static void put_number(buf_t *out, uint64_t value, size_t bytes)
{
    write_be(buf_reserve(out, bytes), value, bytes);
    buf_advance(out, bytes);
}

/* The caller has checked that they are there. */
static uint64_t take_number(slice_t *rest, size_t bytes)
{
    assert(rest->len >= bytes);
    uint64_t value = read_be(rest->data, bytes);
    *rest = slice(rest->data + bytes, rest->len - bytes);
    return value;
}

static void put_position(buf_t *out, native_position_t position)
{
    put_number(out, (uint64_t)position.revision, 8);
    put_number(out, position.sub, 4);
}

static native_position_t take_position(slice_t *rest)
{
    native_position_t position = {.revision = (int64_t)take_number(rest, 8)};
    position.sub = (uint32_t)take_number(rest, 4);
    return position;
}

/* ---- events ---- */

void native_event_write(buf_t *out, const native_event_t *event)
{
    assert(event->link_count <= LIMIT_NATIVE_LINKS);
    buf_byte(out, LAYOUT_VERSION);
    buf_byte(out, KIND_EVENT);
    buf_byte(out, event->is_omitted ? EVENT_OMITTED : 0);
    buf_byte(out, event->link_count);
    put_number(out, event->position.sub, 4);
    put_number(out, event->cluster_id, 8);
    put_number(out, (uint64_t)event->position.revision, 8);
    for (size_t i = 0; i < event->link_count; i++) {
        const native_link_t *link = &event->links[i];
        put_number(out, link->subscription_len, 2);
        buf_byte(out, link->is_last ? LINK_LAST : 0);
        put_position(out, link->previous);
    }
}

/* Positions are compared, so they must be ones: no revision is negative. */
static bool is_position(native_position_t position)
{
    return position.revision >= 0;
}

static int check_head(slice_t *rest, uint8_t kind, size_t bytes)
{
    if (rest->len < bytes || rest->data[0] != LAYOUT_VERSION || rest->data[1] != kind) {
        return NATIVE_MALFORMED;
    }
    *rest = slice(rest->data + 2, rest->len - 2);
    return 0;
}

int native_event_read(slice_t frame, native_event_t *event)
{
    slice_t rest = frame;
    if (check_head(&rest, KIND_EVENT, HEADER_BYTES)) {
        return NATIVE_MALFORMED;
    }
    event->is_omitted = take_number(&rest, 1) & EVENT_OMITTED;
    event->link_count = (uint8_t)take_number(&rest, 1);
    event->position.sub = (uint32_t)take_number(&rest, 4);
    event->cluster_id = take_number(&rest, 8);
    event->position.revision = (int64_t)take_number(&rest, 8);
    if (event->link_count > LIMIT_NATIVE_LINKS || !is_position(event->position) ||
        rest.len < (size_t)event->link_count * LINK_BYTES) {
        return NATIVE_MALFORMED;
    }
    for (size_t i = 0; i < event->link_count; i++) {
        native_link_t *link = &event->links[i];
        link->subscription_len = (uint16_t)take_number(&rest, 2);
        link->is_last = take_number(&rest, 1) & LINK_LAST;
        link->previous = take_position(&rest);
        if (!is_position(link->previous)) {
            return NATIVE_MALFORMED;
        }
    }
    return 0;
}

const native_link_t *native_event_link(const native_event_t *event, size_t subscription_len)
{
    for (size_t i = 0; i < event->link_count; i++) {
        if (event->links[i].subscription_len == subscription_len) {
            return &event->links[i];
        }
    }
    return NULL;
}

/* ---- marks ---- */

void native_mark_write(buf_t *out, const native_mark_t *mark)
{
    buf_byte(out, LAYOUT_VERSION);
    buf_byte(out, KIND_MARK);
    buf_byte(out, mark->is_leaderless ? MARK_LEADERLESS : 0);
    buf_byte(out, 0);
    put_number(out, mark->interval_ms, 4);
    put_number(out, mark->cluster_id, 8);
    put_number(out, (uint64_t)mark->revision, 8);
    put_position(out, mark->last);
}

int native_mark_read(slice_t frame, native_mark_t *mark)
{
    slice_t rest = frame;
    if (check_head(&rest, KIND_MARK, MARK_BYTES)) {
        return NATIVE_MALFORMED;
    }
    mark->is_leaderless = take_number(&rest, 1) & MARK_LEADERLESS;
    (void)take_number(&rest, 1); /* zero, for later versions */
    mark->interval_ms = (uint32_t)take_number(&rest, 4);
    mark->cluster_id = take_number(&rest, 8);
    mark->revision = (int64_t)take_number(&rest, 8);
    mark->last = take_position(&rest);
    bool possible = is_position(mark->last) && mark->last.revision <= mark->revision;
    return possible ? 0 : NATIVE_MALFORMED;
}

/* ---- the change ---- */

static void store_kv_number(native_kv_t *kv, const wire_field_t *field)
{
    switch (field->number) {
    case 2: kv->create_revision = (int64_t)field->value; break;
    case 3: kv->mod_revision = (int64_t)field->value; break;
    case 4: kv->version = (int64_t)field->value; break;
    case 6: kv->lease = (int64_t)field->value; break;
    default: break;
    }
}

int native_kv_read(slice_t in, native_kv_t *kv)
{
    *kv = (native_kv_t){0};
    wire_field_t field;
    int rc = 0;
    while ((rc = wire_next(&in, &field)) == 0) {
        if (field.type == 0) {
            store_kv_number(kv, &field);
        } else if (field.type == 2 && field.number == 1) {
            kv->key = field.data;
        } else if (field.type == 2 && field.number == 5) {
            kv->value = field.data;
        }
    }
    return rc == WIRE_END ? 0 : NATIVE_MALFORMED;
}

int native_change_read(slice_t in, native_change_t *change)
{
    enum { TYPE = 1, KV = 2, PREVIOUS_KV = 3, TYPE_PUT = 0, TYPE_DELETE = 1 };
    *change = (native_change_t){0};
    wire_field_t field;
    uint64_t type = TYPE_PUT;
    bool has_kv = false;
    int rc = 0;
    while (rc == 0 && (rc = wire_next(&in, &field)) == 0) {
        if (field.number == TYPE && field.type == 0) {
            type = field.value;
        } else if (field.number == KV && field.type == 2) {
            rc = native_kv_read(field.data, &change->kv);
            has_kv = true;
        } else if (field.number == PREVIOUS_KV && field.type == 2) {
            rc = native_kv_read(field.data, &change->previous);
            change->has_previous = true;
        }
    }
    change->is_delete = type == TYPE_DELETE;
    bool whole = rc == WIRE_END && has_kv && change->kv.key.len && change->kv.mod_revision > 0;
    return whole && type <= TYPE_DELETE ? 0 : NATIVE_MALFORMED;
}
