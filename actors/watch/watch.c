/* Invariants:
 * 1. position = revision of the last EVENTS processed. A synced watcher has been given everything up
 *    to it; nobody is given anything above it.
 * 2. Every request carries the revision its gateway has seen and is answered only when position has
 *    reached it: a put acknowledged before a watch "from now" is never delivered by it.
 * 3. There are watchers only while EVENTS of every span come (is_told). When nobody has watched for a while
 *    they are called off, and position stands still; a request that finds it so waits until they come
 *    again. EVENTS that were on their way from before tell nothing: some may be missing behind them.
 * 4. A watcher never moves past a revision it was not given: it falls back with `next` unchanged, or
 *    is told that `next` is compacted. */
#include "actors/watch/watch.h"

#include <assert.h>
#include <stdlib.h>

#include "actors/watch/watch_event.h"
#include "actors/watch/watcher.h"
#include "messages/limits.h"
#include "messages/xalloc.h"
#include "store/mvcc_read.h"

enum {
    SLICE_WATCHERS =
        256, /* watchers served by one catch-up slice: every event is compared with each */
    SLICE_BYTES = 1 << 20,
    OUT_BYTES_MAX = 16 << 20, /* answers collected in one turn before watchers fall back */
    QUIET_SPANS = 16, /* for nobody, before EVENTS are called off: watches may be short and many */
};

/* Answers for one gateway, collected in this turn, in order. */
typedef struct {
    msg_watch_out_t items;
    size_t capacity;
    size_t bytes;        /* of events; what several watchers share counts once */
    const bytes_t *last; /* events collected last */
    bool has_room;       /* the gateway can take them */
} collected_t;

struct watch {
    watch_cfg_t cfg;
    metrics_t *metrics;
    watcher_set_t set;
    shared_t *store; /* kv_t, from RESTORED */
    int64_t position, compacted;
    uint64_t asked;       /* number of the last INTEREST */
    bool is_wanted;       /* what it said */
    bool is_told;         /* and EVENTS have come that answer it */
    unsigned quiet_spans; /* since anybody watched */
    int64_t future_min;   /* smallest start among future watchers; INT64_MAX = none */
    msg_t **early;        /* requests ahead of position, in order; owned */
    size_t early_count, early_capacity;
    collected_t out[GATEWAY_COUNT];
    uint64_t next_notify_us;
};

watch_t *watch_new(const watch_cfg_t *cfg, metrics_t *metrics)
{
    watch_t *self = xcalloc(1, sizeof *self);
    self->cfg = *cfg;
    self->metrics = metrics;
    self->future_min = INT64_MAX;
    for (unsigned i = 0; i < GATEWAY_COUNT; i++) {
        self->out[i].has_room = true;
    }
    self->is_wanted = true;
    self->is_told = true;
    return self;
}

static void watch_destroy(void **self_p)
{
    watch_t *self = *self_p;
    *self_p = NULL;
    if (!self) {
        return;
    }
    for (size_t i = 0; i < self->early_count; i++) {
        msg_free(&self->early[i]);
    }
    for (unsigned i = 0; i < GATEWAY_COUNT; i++) {
        const msg_watch_out_t *out = &self->out[i].items;
        for (size_t k = 0; k < out->count; k++) {
            bytes_unref(&out->items[k].events);
        }
        free(out->items);
    }
    free(self->early);
    watcher_set_deinit(&self->set);
    shared_unref(&self->store);
    free(self);
}

/* ---- answers ---- */

static collected_t *collected_for(watch_t *self, const watch_stream_t *stream)
{
    return &self->out[gateway_number(stream->gateway)];
}

static bool is_open(const collected_t *out)
{
    return out->has_room && out->bytes < OUT_BYTES_MAX;
}

static void say(watch_t *self, const watch_stream_t *stream, watch_item_type_t type,
                int64_t watch_id, int64_t revision, const bytes_t *events)
{
    collected_t *out = collected_for(self, stream);
    msg_watch_out_t *list = &out->items;
    list->items = xgrow(list->items, &out->capacity, list->count + 1, sizeof *list->items);
    list->items[list->count++] = (watch_item_t){.type = type,
                                                .stream = stream->id,
                                                .watch_id = watch_id,
                                                .revision = revision,
                                                .events = bytes_ref(events)};
    if (events && events != out->last) {
        out->bytes += bytes_len(events);
        out->last = events;
    }
}

static void hand_out_to(collected_t *collected, actor_id_t gateway, outbox_t *out)
{
    collected->has_room = outbox_room(out, gateway);
    if (collected->items.count == 0 || !collected->has_room) {
        return;
    }
    msg_t *msg = msg_new(MSG_WATCH_OUT);
    msg->u.watch_out = collected->items;
    *collected = (collected_t){0};
    outbox_put(out, gateway, &msg);
    collected->has_room = outbox_room(out, gateway);
}

static void hand_out(watch_t *self, outbox_t *out)
{
    for (unsigned i = 0; i < GATEWAY_COUNT; i++) {
        hand_out_to(&self->out[i], gateway_at(i), out);
    }
}

/* What one stream may have unsent: less when many share the total, so that no number of clients that
 * never read makes the memory grow beyond it; never so little that progress takes forever. */
static uint64_t stream_limit(const watch_t *self)
{
    enum { SHARE_MIN = 16384 };
    size_t streams = self->set.streams.count;
    uint64_t share = self->cfg.total_bytes_max / (streams ? streams : 1);
    share = share > SHARE_MIN ? share : SHARE_MIN;
    return share < self->cfg.stream_bytes_max ? share : self->cfg.stream_bytes_max;
}

static bool can_take(watch_t *self, const watch_stream_t *stream)
{
    return is_open(collected_for(self, stream)) && stream->outstanding < stream_limit(self);
}

static void deliver(watch_t *self, watcher_t *watcher, const bytes_t *events, size_t count)
{
    say(self, watcher->stream, WATCH_ITEM_EVENTS, watcher->id, self->position, events);
    watcher_set_give(&self->set, watcher->stream, bytes_len(events), count);
    metrics_add(self->metrics, METRIC_EVENTS, count);
    watcher->sent_since_tick = true;
}

/* ---- does anybody watch? ---- */

static void ask_for_events(watch_t *self, bool is_wanted, outbox_t *out)
{
    static const actor_id_t told[] = {ACTOR_APPLIER, ACTOR_REPLICATOR};
    self->is_wanted = is_wanted;
    self->is_told = false;
    self->quiet_spans = 0;
    self->asked++;
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        msg_t *msg = msg_new(MSG_INTEREST);
        msg->u.interest = (msg_interest_t){.number = self->asked, .is_wanted = is_wanted};
        outbox_put(out, told[i], &msg);
    }
}

static void count_quiet_span(watch_t *self, outbox_t *out)
{
    bool is_quiet = self->set.watchers.count == 0 && self->early_count == 0;
    self->quiet_spans = is_quiet ? self->quiet_spans + 1 : 0;
    if (self->quiet_spans == QUIET_SPANS) {
        ask_for_events(self, false, out);
    }
}

/* ---- synced watchers: events as they come ---- */

static void deliver_group(watch_t *self, watch_group_t *group)
{
    bytes_t *events = buf_bytes(&group->pending);
    size_t slot = 0;
    while (slot < group->count) {
        watcher_t *watcher = group->watchers[slot];
        if (can_take(self, watcher->stream)) {
            deliver(self, watcher, events, group->pending_count);
            slot++;
        } else {
            watcher->next = group->pending_first;
            watcher_set_move(&self->set, watcher,
                             WATCHER_READY); /* another one moves into the slot */
        }
    }
    bytes_unref(&events);
    buf_deinit(&group->pending);
    group->pending_count = 0;
    if (group->count == 0) {
        watch_index_drop(&self->set.index, group);
    }
}

/* Those whose first revision has come are caught up like any other that is behind. */
static void wake_future(watch_t *self)
{
    if (self->position < self->future_min) {
        return;
    }
    self->future_min = INT64_MAX;
    size_t cursor = 0;
    watcher_t *watcher = NULL;
    while ((watcher = table_each(&self->set.watchers, &cursor))) {
        if (watcher->phase.state != WATCHER_FUTURE) {
            continue;
        }
        if (watcher->next <= self->position) {
            watcher_set_move(&self->set, watcher, WATCHER_READY);
        } else if (watcher->next < self->future_min) {
            self->future_min = watcher->next;
        }
    }
}

static void on_events(watch_t *self, const msg_events_t *events)
{
    assert(events->revision >= self->position);
    self->position = events->revision;
    self->compacted = events->compacted;
    watch_group_t *touched = watch_events_match(&self->set.index, events);
    while (touched) {
        watch_group_t *group = touched;
        touched = group->touched;
        deliver_group(self, group);
    }
    wake_future(self);
}

/* A store came or was replaced: what synced watchers have not seen of it is read from its history. The others
 * keep their next revision, too, so nobody gets anything twice, or misses it; if the new store has been
 * compacted beyond it, they are told. */
static void on_restored(watch_t *self, msg_restored_t *restored)
{
    assert(restored->revision >= self->position);
    shared_unref(&self->store);
    self->store = restored->store;
    restored->store = NULL;
    bool is_ahead = restored->revision > self->position;
    size_t cursor = 0;
    watcher_t *watcher = NULL;
    while (is_ahead && (watcher = table_each(&self->set.watchers, &cursor))) {
        if (watcher->phase.state == WATCHER_SYNCED) {
            watcher->next = self->position + 1;
            watcher_set_move(&self->set, watcher, WATCHER_READY);
        }
    }
    self->position = restored->revision;
    wake_future(self);
}

/* ---- watchers that are behind: slices of history ---- */

typedef struct {
    watcher_t *watchers[SLICE_WATCHERS];
    mvcc_interval_t intervals[SLICE_WATCHERS];
    size_t count;
    int64_t from;
    bool want_prev;
    size_t bytes;
    int64_t last_revision; /* of the event seen last */
    int64_t stopped_at;    /* first revision not read, when the byte budget ran out; else 0 */
} slice_work_t;

static int on_history(void *context, const mvcc_event_t *event)
{
    slice_work_t *work = context;
    if (work->bytes > SLICE_BYTES && event->revision != work->last_revision) {
        work->stopped_at = event->revision;
        return 1;
    }
    work->last_revision = event->revision;
    for (size_t i = 0; i < work->count; i++) {
        watcher_t *watcher = work->watchers[i];
        const mvcc_interval_t *interval = &work->intervals[i];
        if (event->revision < watcher->next ||
            watch_event_is_filtered(watcher->flags, event->is_delete) ||
            !watch_interval_holds(interval->key, interval->range_end, event->key)) {
            continue;
        }
        size_t before = watcher->pending.len;
        slice_t prev = watcher->flags & WATCH_PREV_KV ? event->prev_kv : slice(NULL, 0);
        watch_event_encode(&watcher->pending, event->is_delete, event->kv, prev);
        work->bytes += watcher->pending.len - before;
        watcher->pending_count++;
    }
    return 0;
}

static void cancel_compacted(watch_t *self, watcher_t *watcher, int64_t compacted)
{
    say(self, watcher->stream, WATCH_ITEM_COMPACTED, watcher->id, compacted, NULL);
    watcher_set_remove(&self->set, watcher);
}

/* Picks the gateway's watchers of this slice; those that cannot take anything are set aside. */
static void choose(watch_t *self, unsigned gateway, slice_work_t *work, int64_t compacted)
{
    watcher_t *watcher = self->set.ready[gateway].first;
    work->from = INT64_MAX;
    while (watcher && work->count < SLICE_WATCHERS) {
        watcher_t *next = watcher->ready_next;
        if (watcher->next < compacted) {
            cancel_compacted(self, watcher, compacted);
        } else if (watcher->stream->outstanding >= stream_limit(self)) {
            watcher_set_move(&self->set, watcher, WATCHER_BLOCKED);
        } else {
            work->intervals[work->count] = (mvcc_interval_t){
                .key = bytes_slice(watcher->key), .range_end = bytes_slice(watcher->range_end)};
            work->watchers[work->count++] = watcher;
            work->from = watcher->next < work->from ? watcher->next : work->from;
            work->want_prev |= (watcher->flags & WATCH_PREV_KV) != 0;
        }
        watcher = next;
    }
}

static void finish_slice(watch_t *self, slice_work_t *work, int64_t next)
{
    for (size_t i = 0; i < work->count; i++) {
        watcher_t *watcher = work->watchers[i];
        if (watcher->pending.len) {
            bytes_t *events = buf_bytes(&watcher->pending);
            deliver(self, watcher, events, watcher->pending_count);
            bytes_unref(&events);
            buf_deinit(&watcher->pending);
            watcher->pending_count = 0;
        }
        watcher->next = next > watcher->next ? next : watcher->next;
        /* Done, or to the back of the queue. */
        bool caught_up = watcher->next > self->position;
        watcher_set_move(&self->set, watcher, caught_up ? WATCHER_SYNCED : WATCHER_READY);
    }
}

static void catch_up(watch_t *self, unsigned gateway, outbox_t *out)
{
    slice_work_t work = {0};
    kv_t *kv = shared_object(self->store);
    kv_snapshot_t *snapshot = kv_snapshot_new(kv);
    mvcc_head_t head;
    int rc = mvcc_head(kv_snapshot_reader(snapshot), &head);
    if (rc == 0) {
        choose(self, gateway, &work, head.compacted);
    }
    if (rc == 0 && work.count) {
        int64_t next = 0;
        rc = mvcc_events(kv_snapshot_reader(snapshot), &head, work.from, self->position,
                         work.intervals, work.count, work.want_prev, LIMIT_CATCHUP_EVENTS,
                         on_history, &work, &next);
        if (rc >= 0) {
            finish_slice(self, &work, work.stopped_at ? work.stopped_at : next);
        }
    }
    kv_snapshot_destroy(&snapshot);
    if (rc < 0) {
        outbox_fatal(out, "the store cannot be read for watchers: %s", kv_error(kv));
    }
}

static bool has_catch_up_work(const watch_t *self, unsigned gateway)
{
    return self->store && self->set.ready[gateway].count && is_open(&self->out[gateway]);
}

/* ---- requests ---- */

static void on_create(watch_t *self, actor_id_t gateway, msg_watch_create_t *create)
{
    assert(!watcher_set_find(&self->set, gateway, create->stream,
                             create->watch_id)); /* api keeps ids apart */
    self->quiet_spans = 0;
    bool full = self->set.watchers.count >= LIMIT_WATCHERS;
    watcher_t *watcher = watcher_set_add(&self->set, gateway, create);
    say(self, watcher->stream, WATCH_ITEM_CREATED, watcher->id, self->position, NULL);
    if (full) {
        say(self, watcher->stream, WATCH_ITEM_CANCELED, watcher->id, self->position, NULL);
        watcher_set_remove(&self->set, watcher);
        return;
    }
    /* From now: behind the revision that the created answer names, which is what clients go on from. */
    int64_t start = create->start_revision > 0 ? create->start_revision : self->position + 1;
    watcher->next = start;
    if (start == self->position + 1) {
        watcher_set_move(&self->set, watcher, WATCHER_SYNCED);
    } else if (start <= self->position) {
        watcher_set_move(&self->set, watcher, WATCHER_READY);
    } else {
        watcher_set_move(&self->set, watcher, WATCHER_FUTURE);
        self->future_min = start < self->future_min ? start : self->future_min;
    }
}

static void on_cancel(watch_t *self, actor_id_t gateway, const msg_watch_stream_t *cancel)
{
    watcher_t *watcher = watcher_set_find(&self->set, gateway, cancel->stream, cancel->watch_id);
    if (watcher) {
        say(self, watcher->stream, WATCH_ITEM_CANCELED, watcher->id, self->position, NULL);
        watcher_set_remove(&self->set, watcher);
    }
}

/* Answered only when every watcher of the stream is synced; travels behind their events. */
static void on_progress(watch_t *self, actor_id_t gateway, const msg_watch_stream_t *progress)
{
    const watch_stream_t *stream = watcher_set_stream(&self->set, gateway, progress->stream);
    if (stream && stream->count && stream->synced == stream->count) {
        say(self, stream, WATCH_ITEM_PROGRESS, -1, self->position, NULL);
    }
}

static void on_consumed(watch_t *self, actor_id_t gateway, const msg_watch_stream_t *consumed)
{
    watch_stream_t *stream = watcher_set_stream(&self->set, gateway, consumed->stream);
    if (!stream) {
        return;
    }
    watcher_set_taken(&self->set, stream, consumed->bytes);
    if (stream->outstanding > stream_limit(self) / 2) {
        return; /* not worth a slice yet */
    }
    for (watcher_t *watcher = stream->watchers; watcher; watcher = watcher->stream_next) {
        if (watcher->phase.state == WATCHER_BLOCKED) {
            watcher_set_move(&self->set, watcher, WATCHER_READY);
        }
    }
}

static int64_t revision_needed(const msg_t *msg)
{
    switch (msg->kind) {
    case MSG_WATCH_CREATE: return msg->u.watch_create.head_revision;
    case MSG_WATCH_CANCEL:
    case MSG_WATCH_PROGRESS: return msg->u.watch_stream.head_revision;
    default: return -1; /* none */
    }
}

static bool may_answer(const watch_t *self, const msg_t *msg)
{
    int64_t needed = revision_needed(msg);
    return needed < 0 || (self->is_told && needed <= self->position);
}

static void on_request(watch_t *self, msg_t *msg)
{
    switch (msg->kind) {
    case MSG_WATCH_CREATE: on_create(self, msg->from, &msg->u.watch_create); break;
    case MSG_WATCH_CANCEL: on_cancel(self, msg->from, &msg->u.watch_stream); break;
    case MSG_WATCH_PROGRESS: on_progress(self, msg->from, &msg->u.watch_stream); break;
    case MSG_WATCH_CONSUMED: on_consumed(self, msg->from, &msg->u.watch_stream); break;
    case MSG_WATCH_CLOSE:
        watcher_set_close_stream(&self->set, msg->from, msg->u.watch_stream.stream);
        break;
    default: assert(!"not a request");
    }
}

/* Keeps a request that is ahead of position, and all behind it: their order is the client's. Their
 * number is bounded by the edge's credits between two spans. */
static void take_request(watch_t *self, msg_t *msg, outbox_t *out)
{
    if (self->early_count == 0 && may_answer(self, msg)) {
        on_request(self, msg);
        return;
    }
    if (!self->is_wanted) {
        ask_for_events(self, true, out);
    }
    msg_t *kept = xmemdup(msg, sizeof *msg);
    if (msg->kind == MSG_WATCH_CREATE) { /* its bytes move along */
        msg->u.watch_create.key = NULL;
        msg->u.watch_create.range_end = NULL;
    }
    self->early = xgrow(self->early, &self->early_capacity, self->early_count + 1, sizeof(msg_t *));
    self->early[self->early_count++] = kept;
}

static void answer_early(watch_t *self)
{
    size_t ready = 0;
    while (ready < self->early_count && may_answer(self, self->early[ready])) {
        on_request(self, self->early[ready]);
        msg_free(&self->early[ready++]);
    }
    self->early_count -= ready;
    if (ready) {
        memmove(self->early, self->early + ready, self->early_count * sizeof(msg_t *));
    }
}

/* ---- progress by itself ---- */

static void notify(watch_t *self, uint64_t now_us)
{
    if (now_us < self->next_notify_us) {
        return;
    }
    bool first = self->next_notify_us == 0;
    self->next_notify_us = now_us + self->cfg.progress_notify_us;
    size_t cursor = 0;
    watcher_t *watcher = NULL;
    while (!first && (watcher = table_each(&self->set.watchers, &cursor))) {
        bool wanted = (watcher->flags & WATCH_NOTIFY) && watcher->phase.state == WATCHER_SYNCED;
        if (wanted && !watcher->sent_since_tick) {
            say(self, watcher->stream, WATCH_ITEM_PROGRESS, watcher->id, self->position, NULL);
        }
        watcher->sent_since_tick = false;
    }
}

/* ---- the core ---- */

static void end_of_burst(watch_t *self, uint64_t now_us, outbox_t *out)
{
    hand_out(self, out);
    size_t slow = 0;
    for (unsigned i = 0; i < GATEWAY_COUNT; i++) {
        if (has_catch_up_work(self, i)) {
            catch_up(self, i, out);
        }
        slow += self->set.ready[i].count;
    }
    notify(self, now_us);
    hand_out(self, out);
    size_t watchers = self->set.watchers.count;
    metrics_set(self->metrics, METRIC_WATCHERS, watchers);
    metrics_set(self->metrics, METRIC_WATCH_STREAMS, self->set.streams.count);
    metrics_set(self->metrics, METRIC_WATCHERS_SLOW, slow);
    metrics_set(self->metrics, METRIC_EVENTS_PENDING, self->set.pending);
}

static void watch_step(void *context, const step_in_t *in, outbox_t *out)
{
    watch_t *self = context;
    if (!in->msg) {
        end_of_burst(self, in->now_us, out);
        return;
    }
    switch (in->msg->kind) {
    case MSG_EVENTS:
        if (in->msg->u.events.asked == self->asked) {
            self->is_told = true;
            on_events(self, &in->msg->u.events);
            answer_early(self);
            count_quiet_span(self, out);
        }
        break;
    case MSG_RESTORED:
        on_restored(self, &in->msg->u.restored);
        answer_early(self);
        break;
    case MSG_WATCH_CREATE:
    case MSG_WATCH_CANCEL:
    case MSG_WATCH_PROGRESS:
    case MSG_WATCH_CONSUMED:
    case MSG_WATCH_CLOSE: take_request(self, in->msg, out); break;
    case MSG_STOP: outbox_stopped(out); break;
    default: assert(!"a message that the wiring table does not send to watch");
    }
}

static uint64_t watch_deadline(const void *context)
{
    const watch_t *self = context;
    bool has_work = false;
    for (unsigned i = 0; i < GATEWAY_COUNT; i++) {
        has_work = has_work || has_catch_up_work(self, i);
    }
    return has_work ? 0 : self->next_notify_us;
}

const core_ops_t watch_ops = {
    .step = watch_step,
    .deadline = watch_deadline,
    .destroy = watch_destroy,
};
