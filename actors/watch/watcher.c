#include "actors/watch/watcher.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/xalloc.h"

static const sm_state_t phases[] = {
    [WATCHER_NEW] = {"new", SM_TO(WATCHER_SYNCED) | SM_TO(WATCHER_READY) | SM_TO(WATCHER_FUTURE)},
    [WATCHER_SYNCED] = {"synced", SM_TO(WATCHER_READY)},
    [WATCHER_READY] = {"ready",
                       SM_TO(WATCHER_SYNCED) | SM_TO(WATCHER_BLOCKED) | SM_TO(WATCHER_READY)},
    [WATCHER_BLOCKED] = {"blocked", SM_TO(WATCHER_READY)},
    [WATCHER_FUTURE] = {"future", SM_TO(WATCHER_READY)},
};

static uint64_t hash_stream(actor_id_t gateway, uint64_t id)
{
    return hash_u64(id ^ (uint64_t)gateway_number(gateway) << 63);
}

static uint64_t hash_watcher(actor_id_t gateway, uint64_t stream, int64_t id)
{
    return hash_u64(stream * 31 + (uint64_t)id + gateway_number(gateway));
}

watch_stream_t *watcher_set_stream(const watcher_set_t *self, actor_id_t gateway, uint64_t id)
{
    size_t cursor = 0;
    watch_stream_t *stream = NULL;
    while ((stream = table_next(&self->streams, hash_stream(gateway, id), &cursor))) {
        if (stream->id == id && stream->gateway == gateway) {
            return stream;
        }
    }
    return NULL;
}

watcher_t *watcher_set_find(const watcher_set_t *self, actor_id_t gateway, uint64_t stream,
                            int64_t id)
{
    size_t cursor = 0;
    watcher_t *watcher = NULL;
    while ((watcher = table_next(&self->watchers, hash_watcher(gateway, stream, id), &cursor))) {
        if (watcher->stream->id == stream && watcher->stream->gateway == gateway &&
            watcher->id == id) {
            return watcher;
        }
    }
    return NULL;
}

static watch_stream_t *need_stream(watcher_set_t *self, actor_id_t gateway, uint64_t id)
{
    watch_stream_t *stream = watcher_set_stream(self, gateway, id);
    if (!stream) {
        stream = xcalloc(1, sizeof *stream);
        stream->id = id;
        stream->gateway = gateway;
        table_add(&self->streams, hash_stream(gateway, id), stream);
    }
    return stream;
}

watcher_t *watcher_set_add(watcher_set_t *self, actor_id_t gateway, msg_watch_create_t *create)
{
    watch_stream_t *stream = need_stream(self, gateway, create->stream);
    watcher_t *watcher = xcalloc(1, sizeof *watcher);
    watcher->stream = stream;
    watcher->id = create->watch_id;
    watcher->key = bytes_take(&create->key);
    watcher->range_end = bytes_take(&create->range_end);
    watcher->flags = create->flags;
    watcher->sent_since_tick = true; /* the created answer counts */
    sm_init(&watcher->phase, phases, WATCHER_NEW);
    watcher->stream_next = stream->watchers;
    if (stream->watchers) {
        stream->watchers->stream_prev = watcher;
    }
    stream->watchers = watcher;
    stream->count++;
    table_add(&self->watchers, hash_watcher(gateway, stream->id, watcher->id), watcher);
    return watcher;
}

/* ---- phases ---- */

static void join_group(watcher_set_t *self, watcher_t *watcher)
{
    unsigned flags = watcher->flags & (WATCH_NO_PUT | WATCH_NO_DELETE | WATCH_PREV_KV);
    watch_group_t *group = watch_index_group(&self->index, watcher->key, watcher->range_end, flags);
    group->watchers =
        xgrow(group->watchers, &group->capacity, group->count + 1, sizeof(watcher_t *));
    watcher->group = group;
    watcher->group_slot = group->count;
    group->watchers[group->count++] = watcher;
    watcher->stream->synced++;
}

static void leave_group(watcher_set_t *self, watcher_t *watcher)
{
    watch_group_t *group = watcher->group;
    watcher_t *last = group->watchers[--group->count];
    group->watchers[watcher->group_slot] = last;
    last->group_slot = watcher->group_slot;
    watcher->group = NULL;
    watcher->stream->synced--;
    if (group->count == 0 && group->pending.len == 0) {
        watch_index_drop(&self->index, group);
    }
}

static void join_ready(ready_list_t *list, watcher_t *watcher)
{
    watcher->ready_prev = list->last;
    watcher->ready_next = NULL;
    if (list->last) {
        list->last->ready_next = watcher;
    } else {
        list->first = watcher;
    }
    list->last = watcher;
    list->count++;
}

static void leave_ready(ready_list_t *list, watcher_t *watcher)
{
    if (watcher->ready_prev) {
        watcher->ready_prev->ready_next = watcher->ready_next;
    } else {
        list->first = watcher->ready_next;
    }
    if (watcher->ready_next) {
        watcher->ready_next->ready_prev = watcher->ready_prev;
    } else {
        list->last = watcher->ready_prev;
    }
    list->count--;
}

static ready_list_t *ready_of(watcher_set_t *self, const watcher_t *watcher)
{
    return &self->ready[gateway_number(watcher->stream->gateway)];
}

static void leave_phase(watcher_set_t *self, watcher_t *watcher)
{
    if (watcher->phase.state == WATCHER_SYNCED) {
        leave_group(self, watcher);
    } else if (watcher->phase.state == WATCHER_READY) {
        leave_ready(ready_of(self, watcher), watcher);
    }
}

void watcher_set_move(watcher_set_t *self, watcher_t *watcher, unsigned phase)
{
    leave_phase(self, watcher);
    sm_move(&watcher->phase, phase);
    if (phase == WATCHER_SYNCED) {
        join_group(self, watcher);
    } else if (phase == WATCHER_READY) {
        join_ready(ready_of(self, watcher), watcher);
    }
}

/* ---- what is on its way to clients ---- */

void watcher_set_give(watcher_set_t *self, watch_stream_t *stream, size_t bytes, size_t events)
{
    stream->outstanding += bytes;
    stream->pending += events;
    self->pending += events;
}

void watcher_set_taken(watcher_set_t *self, watch_stream_t *stream, uint64_t bytes)
{
    uint64_t before = stream->outstanding;
    stream->outstanding -= bytes < before ? bytes : before;
    uint64_t left = before ? (stream->pending * stream->outstanding + before - 1) / before : 0;
    self->pending -= stream->pending - left;
    stream->pending = left;
}

/* ---- the end ---- */

static void free_watcher(watcher_t *watcher)
{
    bytes_unref(&watcher->key);
    bytes_unref(&watcher->range_end);
    buf_deinit(&watcher->pending);
    free(watcher);
}

void watcher_set_remove(watcher_set_t *self, watcher_t *watcher)
{
    leave_phase(self, watcher);
    watch_stream_t *stream = watcher->stream;
    if (watcher->stream_prev) {
        watcher->stream_prev->stream_next = watcher->stream_next;
    } else {
        stream->watchers = watcher->stream_next;
    }
    if (watcher->stream_next) {
        watcher->stream_next->stream_prev = watcher->stream_prev;
    }
    stream->count--;
    table_remove(&self->watchers, hash_watcher(stream->gateway, stream->id, watcher->id), watcher);
    free_watcher(watcher);
}

void watcher_set_close_stream(watcher_set_t *self, actor_id_t gateway, uint64_t id)
{
    watch_stream_t *stream = watcher_set_stream(self, gateway, id);
    if (!stream) {
        return;
    }
    while (stream->watchers) {
        watcher_set_remove(self, stream->watchers); /* NOLINT: it moves stream->watchers on */
    }
    self->pending -= stream->pending;
    table_remove(&self->streams, hash_stream(gateway, id), stream);
    free(stream);
}

void watcher_set_deinit(watcher_set_t *self)
{
    watch_index_deinit(&self->index);
    size_t cursor = 0;
    void *item = NULL;
    while ((item = table_each(&self->watchers, &cursor))) {
        free_watcher(item);
    }
    cursor = 0;
    while ((item = table_each(&self->streams, &cursor))) {
        free(item);
    }
    table_deinit(&self->watchers);
    table_deinit(&self->streams);
}
