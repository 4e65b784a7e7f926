/* keymap: an ordered map of key-values, shared with readers by reference. Pure; one owner.
 * Two levels: a sorted array of blocks, each a sorted array of items, so that a change moves at most
 * one block's items and, when a block splits, one array of pointers. */
#pragma once

#include "messages/bytes.h"

/* One key-value as the store has it. Key and value lie in `record`; whoever copies the struct and
 * keeps it takes a reference (keymap_item_ref). */
typedef struct {
    bytes_t *record;
    slice_t key;
    slice_t value;
    int64_t create_revision;
    int64_t mod_revision;
    int64_t version;
    int64_t lease;
} keymap_item_t;

/* A fresh item with copies of key and value; the numbers are the caller's to fill. */
keymap_item_t keymap_item_new(slice_t key, slice_t value);
keymap_item_t keymap_item_ref(const keymap_item_t *item);
void keymap_item_unref(keymap_item_t *item);

enum { KEYMAP_BLOCK_ITEMS = 128 };

typedef struct keymap_block keymap_block_t;
typedef struct {
    keymap_block_t **blocks; /* none of them empty */
    size_t blocks_n;
    size_t blocks_capacity;
    size_t items_n;
} keymap_t; /* zero-initialised is empty and ready */

void keymap_deinit(keymap_t *self); /* may be called twice */
/* NULL when there is none; valid until the next change. */
const keymap_item_t *keymap_get(const keymap_t *self, slice_t key);
/* Takes the item's reference. The one it replaces, or an item without a record, is returned and is
 * the caller's. */
keymap_item_t keymap_put(keymap_t *self, keymap_item_t *item);
/* The item that was there, the caller's; without a record when there was none. */
keymap_item_t keymap_remove(keymap_t *self, slice_t key);

/* A place in the map: valid until the next change. */
typedef struct {
    size_t block;
    size_t item;
} keymap_place_t;

/* The first item whose key is not below `key`. */
keymap_place_t keymap_seek(const keymap_t *self, slice_t key);
/* The item there and one step on; NULL at the end. */
const keymap_item_t *keymap_next(const keymap_t *self, keymap_place_t *place);
