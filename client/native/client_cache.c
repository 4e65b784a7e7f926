/* What always holds:
 *
 *   1. `map` equals the store at `revision`, restricted to the key or prefix.
 *   2. Every event of the subscription up to `position` is in `map` or in `open`; the latter holds the events of one
 *      revision whose last one is not here yet.
 *   3. `position.revision` is not below `revision`.
 *   4. While `has_hole`, `queue` waits: what comes first is in `repaired`. */
#include "client/native/client_cache.h"

#include <assert.h>
#include <stdlib.h>

#include "client/native/client_cache_queue.h"
#include "messages/xalloc.h"

enum {
    SILENT_INTERVALS = 3,   /* without a mark: stale, and the member is not to be relied on */
    RETRY_FIRST_US = 50000, /* after a question that failed; doubles */
    RETRY_MAX_US = 2000000, /* a member that starts, or elects, is asked this often */
    FAILURES_RESTLESS = 4,  /* in a row: another member may know more */
};

struct client_cache {
    client_cache_cfg_t cfg;
    bytes_t *key;
    keymap_t map;
    int64_t revision;
    bool loaded;
    uint64_t cluster_id; /* of the map */
    native_position_t position;
    client_cache_queue_t open;
    client_cache_queue_t repaired;
    client_cache_queue_t queue;

    bool linked;
    uint64_t member_cluster_id;
    uint64_t interval_us;
    uint64_t heard_us;     /* the last mark, or the link's beginning */
    uint64_t confirmed_us; /* the last mark or snapshot that the map has caught up with */
    bool behind;           /* the member's marks are below our revision */
    uint64_t behind_us;    /* since when */
    uint64_t check_us;     /* when to look into it, by a linearizable read */
    bool lagging; /* it was looked into: this member has not caught up, the store is as it was */

    bool needs_snapshot;
    bool needs_reset; /* the snapshot may be of any revision */
    bool has_hole;
    native_position_t hole_through;
    client_cache_want_t asked;
    unsigned failures; /* in a row */
    uint64_t retry_us;

    keymap_t incoming; /* the snapshot that is being received */
    bool incoming_whole;
    int64_t incoming_revision;
    uint64_t incoming_cluster_id;
    client_cache_counts_t counts;
};

client_cache_t *client_cache_new(const client_cache_cfg_t *cfg)
{
    client_cache_t *self = xcalloc(1, sizeof *self);
    self->cfg = *cfg;
    self->key = bytes_new(cfg->key.data, cfg->key.len);
    self->cfg.key = bytes_slice(self->key);
    return self;
}

void client_cache_destroy(client_cache_t **self_p)
{
    client_cache_t *self = *self_p;
    *self_p = NULL;
    if (!self) {
        return;
    }
    keymap_deinit(&self->map);
    keymap_deinit(&self->incoming);
    client_cache_queue_deinit(&self->open);
    client_cache_queue_deinit(&self->repaired);
    client_cache_queue_deinit(&self->queue);
    bytes_unref(&self->key);
    free(self);
}

static native_position_t end_of(int64_t revision)
{
    return (native_position_t){.revision = revision, .sub = NATIVE_SUB_MAX};
}

static uint64_t silence_us(const client_cache_t *self)
{
    return SILENT_INTERVALS * self->interval_us;
}

/* ---- what comes in ---- */

static void forget_question(client_cache_t *self)
{
    self->asked = (client_cache_want_t){0};
    keymap_deinit(&self->incoming);
    self->incoming_whole = false;
}

/* Nothing counts any more but the map. What was in `open` is asked for again: whoever comes next may be of a
 * history that has another end. */
static void forget_events(client_cache_t *self)
{
    client_cache_queue_clear(&self->queue);
    client_cache_queue_clear(&self->repaired);
    client_cache_queue_clear(&self->open);
    self->position = end_of(self->revision);
    self->has_hole = false;
}

/* The history is another one than that of the map, which stays visible until the snapshot is here. */
static void start_over(client_cache_t *self, uint64_t cluster_id)
{
    forget_question(self);
    forget_events(self);
    self->member_cluster_id = cluster_id;
    self->needs_snapshot = true;
    self->needs_reset = true;
    self->behind = false;
    self->lagging = false;
    self->retry_us = 0;
}

void client_cache_linked(client_cache_t *self, uint64_t now_us, uint64_t cluster_id,
                         uint64_t interval_us)
{
    assert(interval_us > 0);
    forget_question(self);
    forget_events(self);
    self->linked = true;
    self->member_cluster_id = cluster_id;
    self->interval_us = interval_us;
    self->heard_us = now_us;
    self->behind = false;
    self->lagging = false;
    self->failures = 0;
    self->retry_us = 0;
    if (self->loaded && cluster_id != self->cluster_id) {
        start_over(self, cluster_id);
    }
}

void client_cache_unlinked(client_cache_t *self)
{
    forget_question(self);
    forget_events(self);
    self->linked = false;
}

static bool is_mine(const client_cache_t *self, slice_t key)
{
    return self->cfg.prefix ? slice_starts_with(key, self->cfg.key)
                            : slice_equal(key, self->cfg.key);
}

/* A subscriber hears of another cluster when the address has become that of another member. */
static bool is_member(client_cache_t *self, uint64_t cluster_id)
{
    if (self->linked && cluster_id != self->member_cluster_id) {
        start_over(self, cluster_id);
    }
    return self->linked;
}

static void push(client_cache_t *self, client_cache_entry_t *entry)
{
    if (client_cache_queue_size(&self->queue) >= self->cfg.queue_max ||
        self->queue.bytes + bytes_len(entry->item.record) > self->cfg.queue_bytes_max) {
        /* Dropping the newest keeps a beginning without holes; a later event or mark tells of it. */
        self->counts.dropped += entry->kind == CLIENT_CACHE_ENTRY_EVENT;
        keymap_item_unref(&entry->item);
        return;
    }
    client_cache_queue_push(&self->queue, entry);
}

static bool above(native_position_t a, native_position_t b)
{
    return native_position_compare(a, b) > 0;
}

static keymap_item_t item_of(const native_kv_t *kv)
{
    keymap_item_t item = keymap_item_new(kv->key, kv->value);
    item.create_revision = kv->create_revision;
    item.mod_revision = kv->mod_revision;
    item.version = kv->version;
    item.lease = kv->lease;
    return item;
}

void client_cache_event(client_cache_t *self, uint64_t cluster_id,
                        const client_cache_event_t *event)
{
    bool whole = event->left_out || (event->change && is_mine(self, event->change->kv.key));
    if (!is_member(self, cluster_id) || !whole || !above(event->position, event->previous)) {
        return; /* nonsense is a hole, which is asked for */
    }
    client_cache_entry_t entry = {.kind = CLIENT_CACHE_ENTRY_EVENT,
                                  .position = event->position,
                                  .previous = event->previous,
                                  .last = event->last,
                                  .left_out = event->left_out};
    if (!event->left_out) {
        entry.deleted = event->change->is_delete;
        entry.item = item_of(&event->change->kv);
    }
    push(self, &entry);
}

void client_cache_mark(client_cache_t *self, uint64_t now_us, const native_mark_t *mark)
{
    if (!is_member(self, mark->cluster_id) || mark->last.revision > mark->revision) {
        return;
    }
    self->heard_us = now_us;
    client_cache_entry_t entry = {.kind = CLIENT_CACHE_ENTRY_MARK,
                                  .position = mark->last,
                                  .revision = mark->revision,
                                  .arrived_us = now_us,
                                  .leaderless = mark->is_leaderless};
    push(self, &entry);
}

void client_cache_snapshot_item(client_cache_t *self, const native_kv_t *kv)
{
    if (self->asked.kind == CLIENT_CACHE_WANTS_SNAPSHOT && is_mine(self, kv->key)) {
        keymap_item_t item = item_of(kv);
        keymap_item_t before = keymap_put(&self->incoming, &item);
        keymap_item_unref(&before);
    }
}

void client_cache_history_event(client_cache_t *self, native_position_t position,
                                const native_change_t *change)
{
    if (self->asked.kind == CLIENT_CACHE_WANTS_EVENTS && is_mine(self, change->kv.key)) {
        client_cache_entry_t entry = {.kind = CLIENT_CACHE_ENTRY_EVENT,
                                      .position = position,
                                      .deleted = change->is_delete,
                                      .item = item_of(&change->kv)};
        client_cache_queue_push(&self->repaired, &entry);
    }
}

static void succeeded(client_cache_t *self)
{
    self->asked = (client_cache_want_t){0};
    self->failures = 0;
    self->retry_us = 0;
}

void client_cache_failed(client_cache_t *self, uint64_t now_us, bool compacted)
{
    client_cache_want_kind_t kind = self->asked.kind;
    if (kind == CLIENT_CACHE_WANTS_NOTHING) {
        return;
    }
    forget_question(self);
    if (kind == CLIENT_CACHE_WANTS_EVENTS && compacted) {
        self->needs_snapshot = true;
        return;
    }
    self->failures++;
    unsigned doublings = self->failures < 7 ? self->failures - 1 : 6;
    uint64_t pause_us = (uint64_t)RETRY_FIRST_US << doublings;
    self->retry_us = now_us + (pause_us < RETRY_MAX_US ? pause_us : RETRY_MAX_US);
}

static void answer_revision(client_cache_t *self, uint64_t now_us, int64_t revision)
{
    if (revision < self->revision) {
        start_over(self, self->member_cluster_id);
    } else {
        self->lagging = self->behind;
        self->check_us = now_us + silence_us(self);
    }
}

void client_cache_answered(client_cache_t *self, uint64_t now_us, uint64_t cluster_id,
                           int64_t complete)
{
    client_cache_want_t asked = self->asked;
    bool short_of_it =
        asked.kind == CLIENT_CACHE_WANTS_EVENTS && above(asked.through, end_of(complete));
    if (cluster_id != self->member_cluster_id || short_of_it) {
        client_cache_failed(self, now_us, false);
        return;
    }
    succeeded(self);
    switch (asked.kind) {
    case CLIENT_CACHE_WANTS_NOTHING: break;
    case CLIENT_CACHE_WANTS_SNAPSHOT:
        /* The newest revision there is, and below one that was there: the history went back. */
        self->needs_reset = self->needs_reset || complete < asked.min_revision;
        self->incoming_whole = true;
        self->incoming_revision = complete;
        self->incoming_cluster_id = cluster_id;
        break;
    case CLIENT_CACHE_WANTS_EVENTS: {
        client_cache_entry_t entry = {.kind = CLIENT_CACHE_ENTRY_COMPLETE,
                                      .position = end_of(complete)};
        client_cache_queue_push(&self->repaired, &entry);
        self->counts.repairs++;
        break;
    }
    case CLIENT_CACHE_WANTS_REVISION: answer_revision(self, now_us, complete); break;
    }
}

/* ---- the next revision ---- */

static void install_snapshot(client_cache_t *self, uint64_t now_us, client_cache_changes_t *changes)
{
    client_cache_changes_compare(&self->map, &self->incoming, self->incoming_revision, changes);
    changes->reset = !self->loaded || self->needs_reset;
    keymap_deinit(&self->map);
    self->map = self->incoming;
    self->incoming = (keymap_t){0};
    self->incoming_whole = false;
    self->revision = self->incoming_revision;
    self->cluster_id = self->incoming_cluster_id;
    self->position = end_of(self->revision);
    client_cache_queue_clear(&self->open);
    client_cache_queue_clear(&self->repaired);
    self->has_hole = false;
    self->needs_snapshot = false;
    self->counts.resets += changes->reset;
    self->needs_reset = false;
    self->loaded = true;
    self->confirmed_us = now_us;
    self->counts.snapshots++;
    changes->revision = self->revision;
}

/* The events of one revision, all of which are here. */
static void show_open(client_cache_t *self, client_cache_changes_t *changes)
{
    while (client_cache_queue_size(&self->open) > 0) {
        client_cache_entry_t entry = client_cache_queue_pop(&self->open);
        self->revision = entry.position.revision;
        self->counts.events++;
        client_cache_change_t *change = client_cache_changes_add(changes);
        change->deleted = entry.deleted;
        change->item = entry.item;
        if (entry.deleted) {
            change->before = keymap_remove(&self->map, entry.item.key);
        } else {
            keymap_item_t item = keymap_item_ref(&entry.item);
            change->before = keymap_put(&self->map, &item);
        }
    }
    changes->revision = self->revision;
}

/* What the server says contradicts itself. Only a fresh snapshot is certain. */
static void distrust(client_cache_t *self)
{
    forget_events(self);
    self->needs_snapshot = true;
}

/* There are events of another revision than this one, and not all of them. */
static bool has_open(const client_cache_t *self, int64_t revision)
{
    return client_cache_queue_size(&self->open) > 0 &&
           client_cache_queue_at(&self->open, 0)->position.revision != revision;
}

/* Everything up to `position` is here. */
static void reach(client_cache_t *self, native_position_t position)
{
    if (above(position, self->position)) {
        self->position = position;
    }
}

/* Takes the first event of the queue into the open revision. */
static void open_event(client_cache_t *self, client_cache_queue_t *from)
{
    client_cache_entry_t entry = client_cache_queue_pop(from);
    self->position = entry.position;
    client_cache_queue_push(&self->open, &entry);
}

/* True: a revision became visible. Leaves the event in the queue if there is a hole before it. */
static bool advance_event(client_cache_t *self, client_cache_changes_t *changes)
{
    const client_cache_entry_t *event = client_cache_queue_at(&self->queue, 0);
    if (!above(event->position, self->position)) {
        self->counts.repeated++;
        client_cache_queue_drop(&self->queue);
        return false;
    }
    if (event->left_out || above(event->previous, self->position)) {
        self->has_hole = true;
        self->hole_through = event->left_out ? event->position : event->previous;
        return false;
    }
    if (has_open(self, event->position.revision)) {
        distrust(self);
        return false;
    }
    bool last = event->last;
    open_event(self, &self->queue);
    if (last) {
        show_open(self, changes);
    }
    return last;
}

/* The same for the history, which has no holes: a revision is whole when the next one begins. */
static bool advance_history(client_cache_t *self, client_cache_changes_t *changes)
{
    const client_cache_entry_t *entry = client_cache_queue_at(&self->repaired, 0);
    bool complete = entry->kind == CLIENT_CACHE_ENTRY_COMPLETE;
    if (has_open(self, entry->position.revision) ||
        (complete && client_cache_queue_size(&self->open) > 0)) {
        show_open(self, changes);
        return true;
    }
    if (complete) {
        self->has_hole = false;
        reach(self, entry->position);
        client_cache_queue_drop(&self->repaired);
    } else if (above(entry->position, self->position)) {
        open_event(self, &self->repaired);
    } else {
        self->counts.repeated++;
        client_cache_queue_drop(&self->repaired);
    }
    return false;
}

/* True: the map is of a later revision than was known. */
static bool advance_mark(client_cache_t *self, client_cache_changes_t *changes)
{
    const client_cache_entry_t *mark = client_cache_queue_at(&self->queue, 0);
    if (above(mark->position, self->position)) {
        self->has_hole = true;
        self->hole_through = mark->position;
        return false;
    }
    client_cache_entry_t entry = client_cache_queue_pop(&self->queue);
    if (entry.revision < self->revision) {
        if (!self->behind) {
            self->behind = true;
            self->behind_us = entry.arrived_us;
            self->check_us = entry.arrived_us;
        }
        return false;
    }
    self->behind = false;
    self->lagging = false;
    if (client_cache_queue_size(&self->open) > 0) {
        distrust(self);
        return false;
    }
    reach(self, end_of(entry.revision));
    if (!entry.leaderless) {
        self->confirmed_us = entry.arrived_us;
    }
    bool news = entry.revision > self->revision;
    self->revision = entry.revision;
    changes->revision = self->revision;
    return news;
}

bool client_cache_advance(client_cache_t *self, uint64_t now_us, client_cache_changes_t *changes)
{
    assert(changes->n == 0);
    if (self->incoming_whole) {
        install_snapshot(self, now_us, changes);
        return true;
    }
    bool news = false;
    while (!news && self->loaded && !self->needs_snapshot) {
        if (client_cache_queue_size(&self->repaired) > 0) {
            news = advance_history(self, changes);
        } else if (!self->has_hole && client_cache_queue_size(&self->queue) > 0) {
            bool mark = client_cache_queue_at(&self->queue, 0)->kind == CLIENT_CACHE_ENTRY_MARK;
            news = mark ? advance_mark(self, changes) : advance_event(self, changes);
        } else {
            break;
        }
    }
    return news;
}

/* ---- what is wanted ---- */

static bool doubts(const client_cache_t *self, uint64_t now_us)
{
    return self->behind && now_us >= self->check_us;
}

static client_cache_want_kind_t want_kind(const client_cache_t *self, uint64_t now_us)
{
    if (!self->linked || self->asked.kind != CLIENT_CACHE_WANTS_NOTHING || self->incoming_whole) {
        return CLIENT_CACHE_WANTS_NOTHING;
    }
    if (self->loaded && !self->needs_reset && doubts(self, now_us)) {
        return CLIENT_CACHE_WANTS_REVISION;
    }
    if (!self->loaded || self->needs_snapshot) {
        return CLIENT_CACHE_WANTS_SNAPSHOT;
    }
    bool hole = self->has_hole && client_cache_queue_size(&self->repaired) == 0;
    return hole ? CLIENT_CACHE_WANTS_EVENTS : CLIENT_CACHE_WANTS_NOTHING;
}

bool client_cache_want(client_cache_t *self, uint64_t now_us, client_cache_want_t *want)
{
    client_cache_want_kind_t kind = want_kind(self, now_us);
    if (kind == CLIENT_CACHE_WANTS_NOTHING || now_us < self->retry_us) {
        return false;
    }
    self->asked = (client_cache_want_t){.kind = kind,
                                        .min_revision =
                                            self->loaded && !self->needs_reset ? self->revision : 0,
                                        .after = self->position,
                                        .through = self->hole_through};
    *want = self->asked;
    return true;
}

bool client_cache_restless(const client_cache_t *self, uint64_t now_us)
{
    bool silent = now_us >= self->heard_us + silence_us(self);
    bool slow = self->lagging && now_us >= self->behind_us + silence_us(self);
    return self->linked && (silent || slow || self->failures >= FAILURES_RESTLESS);
}

bool client_cache_stale(const client_cache_t *self, uint64_t now_us)
{
    return !self->loaded || now_us >= self->confirmed_us + silence_us(self);
}

static void earliest(uint64_t *deadline_us, uint64_t now_us, uint64_t at_us)
{
    if (at_us > now_us && at_us < *deadline_us) {
        *deadline_us = at_us;
    }
}

uint64_t client_cache_deadline(const client_cache_t *self, uint64_t now_us)
{
    uint64_t deadline_us = UINT64_MAX;
    if (!self->linked) {
        return deadline_us;
    }
    if (want_kind(self, now_us) != CLIENT_CACHE_WANTS_NOTHING) {
        if (now_us >= self->retry_us) {
            return now_us;
        }
        earliest(&deadline_us, now_us, self->retry_us);
    }
    earliest(&deadline_us, now_us, self->heard_us + silence_us(self));
    if (self->loaded) {
        earliest(&deadline_us, now_us, self->confirmed_us + silence_us(self));
    }
    if (self->behind) {
        earliest(&deadline_us, now_us, self->check_us);
        earliest(&deadline_us, now_us, self->behind_us + silence_us(self));
    }
    return deadline_us;
}

/* ---- what is there ---- */

bool client_cache_loaded(const client_cache_t *self)
{
    return self->loaded;
}

int64_t client_cache_revision(const client_cache_t *self)
{
    return self->revision;
}

const keymap_t *client_cache_map(const client_cache_t *self)
{
    return &self->map;
}

const client_cache_counts_t *client_cache_counts(const client_cache_t *self)
{
    return &self->counts;
}
