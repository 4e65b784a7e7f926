#include "actors/watch/watch_event.h"

enum {
    FIELD_EVENTS = 11, /* WatchResponse.events */
    FIELD_TYPE = 1,    /* mvccpb.Event */
    FIELD_KV = 2,
    FIELD_PREV_KV = 3,
};

void watch_event_encode(buf_t *out, bool is_delete, slice_t kv, slice_t prev_kv)
{
    size_t size = (is_delete ? 2 : 0) + 1 + varint_size(kv.len) + kv.len;
    if (prev_kv.len) {
        size += 1 + varint_size(prev_kv.len) + prev_kv.len;
    }
    buf_field_header(out, FIELD_EVENTS, size);
    buf_field_u64(out, FIELD_TYPE, is_delete);
    buf_field_bytes(out, FIELD_KV, kv);
    if (prev_kv.len) {
        buf_field_bytes(out, FIELD_PREV_KV, prev_kv);
    }
}

bool watch_event_is_filtered(unsigned flags, bool is_delete)
{
    return flags & (is_delete ? WATCH_NO_DELETE : WATCH_NO_PUT);
}

typedef struct {
    const event_t *event;
    watch_group_t *touched; /* groups with something to deliver */
} span_t;

static void on_match(void *context, watch_group_t *group)
{
    span_t *span = context;
    const event_t *event = span->event;
    if (watch_event_is_filtered(group->flags, event->is_delete)) {
        return;
    }
    if (group->pending.len == 0) {
        group->pending_first = event->revision;
        group->touched = span->touched;
        span->touched = group;
    }
    group->pending_count++;
    slice_t prev = group->flags & WATCH_PREV_KV ? bytes_slice(event->prev_kv) : slice(NULL, 0);
    watch_event_encode(&group->pending, event->is_delete, bytes_slice(event->kv), prev);
}

watch_group_t *watch_events_match(watch_index_t *index, const msg_events_t *events)
{
    span_t span = {0};
    for (size_t i = 0; i < events->count; i++) {
        span.event = &events->items[i];
        watch_index_match(index, span.event->key, on_match, &span);
    }
    return span.touched;
}
