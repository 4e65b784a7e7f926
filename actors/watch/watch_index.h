/* watch_index: which watchers see an event on a key. Pure; embedded in its owner.
 * Watchers with equal interval and flags form a group: an event is matched and encoded once per
 * group. Groups on exact keys are found by hash, groups on intervals in a tree ordered by start that
 * knows the largest end below each node. */
#pragma once

#include "actors/core/prng.h"
#include "actors/core/table.h"
#include "messages/buf.h"

typedef struct watcher watcher_t;
typedef struct watch_group watch_group_t;

struct watch_group {
    bytes_t *key, *range_end; /* as the API spells intervals; range_end NULL = exact key */
    unsigned flags;           /* WATCH_NO_PUT, WATCH_NO_DELETE, WATCH_PREV_KV */
    watcher_t **watchers;     /* synced ones */
    size_t count, capacity;
    buf_t pending;          /* events of the span at hand, encoded */
    size_t pending_count;   /* how many */
    int64_t pending_first;  /* revision of the first of them */
    watch_group_t *touched; /* next group with pending events */
    watch_group_t *left, *right;
    slice_t max_end; /* largest end in this subtree; no data = unbounded */
    uint64_t priority;
};

typedef struct {
    table_t exact; /* by hash of the key */
    table_t all;   /* by hash of key, end and flags */
    watch_group_t *root;
    prng_t prng;
} watch_index_t; /* zero-initialised is empty */

void watch_index_deinit(watch_index_t *self);
/* The group with this interval and flags; made if there is none (takes references). */
watch_group_t *watch_index_group(watch_index_t *self, const bytes_t *key, const bytes_t *range_end,
                                 unsigned flags);
/* Removes and frees a group that has no watchers left. */
void watch_index_drop(watch_index_t *self, watch_group_t *group);
typedef void (*watch_match_fn)(void *context, watch_group_t *group);
void watch_index_match(watch_index_t *self, slice_t key, watch_match_fn fn, void *context);

/* Does the interval, as the API spells it, hold the key? */
bool watch_interval_holds(slice_t key, slice_t range_end, slice_t candidate);
