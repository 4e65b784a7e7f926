/* client_cache_changes: what is different in a cache's map from one revision to the next. Pure; one owner. */
#pragma once

#include "client/native/keymap.h"

/* One change of the map. Owns its items; see client_cache_changes_clear. */
typedef struct {
    bool deleted;         /* `item` has the key, and the revision of the deletion as mod_revision */
    keymap_item_t item;   /* the new key-value */
    keymap_item_t before; /* what the map had; without a record when it had nothing */
} client_cache_change_t;

typedef struct {
    client_cache_change_t *items;
    size_t n;
    size_t capacity;
    int64_t revision; /* of the map with these changes */
    bool reset; /* a snapshot replaced the map: of another or a restored cluster, or the first */
} client_cache_changes_t; /* zero-initialised is empty and ready */

void client_cache_changes_clear(client_cache_changes_t *self);
void client_cache_changes_deinit(client_cache_changes_t *self);
/* A fresh change at the end; valid until the next one. */
client_cache_change_t *client_cache_changes_add(client_cache_changes_t *self);
/* Adds what makes `after` out of `before`, in the order of the keys. */
void client_cache_changes_compare(const keymap_t *before, const keymap_t *after, int64_t revision,
                                  client_cache_changes_t *self);
