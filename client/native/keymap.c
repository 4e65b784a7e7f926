#include "client/native/keymap.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/xalloc.h"

struct keymap_block {
    size_t n;
    keymap_item_t items[KEYMAP_BLOCK_ITEMS];
};

keymap_item_t keymap_item_new(slice_t key, slice_t value)
{
    uint8_t *data = NULL;
    keymap_item_t item = {.record = bytes_alloc(key.len + value.len, &data)};
    if (key.len) {
        memcpy(data, key.data, key.len);
    }
    if (value.len) {
        memcpy(data + key.len, value.data, value.len);
    }
    item.key = slice(data, key.len);
    item.value = slice(data + key.len, value.len);
    return item;
}

keymap_item_t keymap_item_ref(const keymap_item_t *item)
{
    keymap_item_t copy = *item;
    copy.record = bytes_ref(item->record);
    return copy;
}

void keymap_item_unref(keymap_item_t *item)
{
    bytes_unref(&item->record);
    *item = (keymap_item_t){0};
}

void keymap_deinit(keymap_t *self)
{
    for (size_t i = 0; i < self->blocks_n; i++) {
        for (size_t k = 0; k < self->blocks[i]->n; k++) {
            keymap_item_unref(&self->blocks[i]->items[k]);
        }
        free(self->blocks[i]);
    }
    free(self->blocks);
    *self = (keymap_t){0};
}

/* The last block that begins at or below the key; 0 when all begin above it. */
static size_t block_of(const keymap_t *self, slice_t key)
{
    size_t low = 0;
    size_t high = self->blocks_n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (slice_compare(self->blocks[middle]->items[0].key, key) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 ? low - 1 : 0;
}

/* The first item of the block that is not below the key. */
static size_t item_of(const keymap_block_t *block, slice_t key)
{
    size_t low = 0;
    size_t high = block->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (slice_compare(block->items[middle].key, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static keymap_item_t *find(const keymap_t *self, slice_t key)
{
    if (self->blocks_n == 0) {
        return NULL;
    }
    keymap_block_t *block = self->blocks[block_of(self, key)];
    size_t at = item_of(block, key);
    return at < block->n && slice_equal(block->items[at].key, key) ? &block->items[at] : NULL;
}

const keymap_item_t *keymap_get(const keymap_t *self, slice_t key)
{
    return find(self, key);
}

static void insert_block(keymap_t *self, size_t at, keymap_block_t *block)
{
    self->blocks =
        xgrow(self->blocks, &self->blocks_capacity, self->blocks_n + 1, sizeof *self->blocks);
    memmove(&self->blocks[at + 1], &self->blocks[at], (self->blocks_n - at) * sizeof *self->blocks);
    self->blocks[at] = block;
    self->blocks_n++;
}

/* The upper half of a full block becomes a block of its own. A key behind everything leaves the full
 * block as it is, so that keys that come in order (a snapshot) fill blocks to the brim. */
static void split(keymap_t *self, size_t at, bool at_the_end)
{
    keymap_block_t *block = self->blocks[at];
    keymap_block_t *upper = xcalloc(1, sizeof *upper);
    size_t kept = at_the_end ? block->n : block->n / 2;
    upper->n = block->n - kept;
    memcpy(upper->items, &block->items[kept], upper->n * sizeof upper->items[0]);
    block->n = kept;
    insert_block(self, at + 1, upper);
}

keymap_item_t keymap_put(keymap_t *self, keymap_item_t *item)
{
    assert(item->record);
    keymap_item_t *there = find(self, item->key);
    keymap_item_t before = {0};
    if (there) {
        before = *there;
        *there = *item;
    } else {
        if (self->blocks_n == 0) {
            insert_block(self, 0, xcalloc(1, sizeof(keymap_block_t)));
        }
        size_t number = block_of(self, item->key);
        size_t at = item_of(self->blocks[number], item->key);
        if (self->blocks[number]->n == KEYMAP_BLOCK_ITEMS) {
            bool at_the_end = number + 1 == self->blocks_n && at == KEYMAP_BLOCK_ITEMS;
            split(self, number, at_the_end);
            size_t kept = self->blocks[number]->n;
            if (at > kept || at_the_end) {
                number++;
                at -= kept;
            }
        }
        keymap_block_t *block = self->blocks[number];
        memmove(&block->items[at + 1], &block->items[at], (block->n - at) * sizeof block->items[0]);
        block->items[at] = *item;
        block->n++;
        self->items_n++;
    }
    *item = (keymap_item_t){0};
    return before;
}

keymap_item_t keymap_remove(keymap_t *self, slice_t key)
{
    keymap_item_t *there = find(self, key);
    if (!there) {
        return (keymap_item_t){0};
    }
    keymap_item_t before = *there;
    size_t number = block_of(self, key);
    keymap_block_t *block = self->blocks[number];
    size_t at = (size_t)(there - block->items);
    block->n--;
    memmove(&block->items[at], &block->items[at + 1], (block->n - at) * sizeof block->items[0]);
    if (block->n == 0) {
        free(block);
        self->blocks_n--;
        memmove(&self->blocks[number], &self->blocks[number + 1],
                (self->blocks_n - number) * sizeof *self->blocks);
    }
    self->items_n--;
    return before;
}

keymap_place_t keymap_seek(const keymap_t *self, slice_t key)
{
    if (self->blocks_n == 0) {
        return (keymap_place_t){0};
    }
    size_t number = block_of(self, key);
    return (keymap_place_t){.block = number, .item = item_of(self->blocks[number], key)};
}

const keymap_item_t *keymap_next(const keymap_t *self, keymap_place_t *place)
{
    while (place->block < self->blocks_n) {
        const keymap_block_t *block = self->blocks[place->block];
        if (place->item < block->n) {
            return &block->items[place->item++];
        }
        place->block++;
        place->item = 0;
    }
    return NULL;
}
