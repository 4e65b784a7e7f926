#include "store/mvcc_blocks.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/xalloc.h"

struct mvcc_block {
    uint64_t live;
    bool dirty;
    size_t first_len;
    uint8_t first[];
};

static mvcc_block_t *block_new(slice_t first, uint64_t live)
{
    mvcc_block_t *block = xmalloc(sizeof *block + first.len);
    *block = (mvcc_block_t){.live = live, .first_len = first.len};
    if (first.len) {
        memcpy(block->first, first.data, first.len);
    }
    return block;
}

static slice_t block_first(const mvcc_block_t *block)
{
    return slice(block->first, block->first_len);
}

static void insert(mvcc_blocks_t *self, size_t at, mvcc_block_t *block)
{
    self->items = xgrow(self->items, &self->capacity, self->count + 1, sizeof(mvcc_block_t *));
    memmove(&self->items[at + 1], &self->items[at], (self->count - at) * sizeof(mvcc_block_t *));
    self->items[at] = block;
    self->count++;
}

static void touch(mvcc_blocks_t *self, mvcc_block_t *block)
{
    if (!block->dirty) {
        block->dirty = true;
        self->dirty = xgrow(self->dirty, &self->dirty_capacity, self->dirty_count + 1,
                            sizeof(mvcc_block_t *));
        self->dirty[self->dirty_count++] = block;
    }
}

static void forget(mvcc_blocks_t *self, overlay_t *overlay, size_t at)
{
    mvcc_block_t *block = self->items[at];
    memmove(&self->items[at], &self->items[at + 1],
            (self->count - at - 1) * sizeof(mvcc_block_t *));
    self->count--;
    for (size_t i = 0; block->dirty && i < self->dirty_count; i++) {
        if (self->dirty[i] == block) {
            self->dirty[i] = self->dirty[--self->dirty_count];
            break;
        }
    }
    buf_t key = {0};
    mvcc_key_count(&key, block_first(block));
    overlay_delete(overlay, buf_slice(&key));
    buf_deinit(&key);
    free(block);
}

int mvcc_blocks_load(mvcc_blocks_t *self, const kv_reader_t *reader)
{
    *self = (mvcc_blocks_t){0};
    uint8_t prefix = COLUMN_COUNT;
    kv_iter_t *iter = kv_iter_new(reader);
    int rc = 0;
    for (iter->ops->seek(iter, slice(&prefix, 1)); iter->ops->valid(iter); iter->ops->next(iter)) {
        slice_t stored = iter->ops->key(iter);
        if (!mvcc_in_column(stored, COLUMN_COUNT)) {
            break;
        }
        slice_t rest = iter->ops->value(iter);
        uint64_t live = 0;
        if (wire_varint(&rest, &live) || rest.len) {
            rc = KV_ECORRUPT;
            break;
        }
        insert(self, self->count, block_new(mvcc_after_prefix(stored), live));
        self->live += live;
    }
    rc = rc ? rc : mvcc_iter_error(iter);
    kv_iter_destroy(&iter);
    return rc;
}

void mvcc_blocks_deinit(mvcc_blocks_t *self)
{
    for (size_t i = 0; i < self->count; i++) {
        free(self->items[i]);
    }
    free(self->items);
    free(self->dirty);
    *self = (mvcc_blocks_t){0};
}

/* The last block that begins at or before `key`. */
static size_t find(const mvcc_blocks_t *self, slice_t key)
{
    size_t low = 0; /* begins at the smallest key there can be */
    size_t high = self->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (slice_compare(block_first(self->items[middle]), key) <= 0) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Cuts a block in the middle of its live keys. */
static int split(mvcc_blocks_t *self, overlay_t *overlay, size_t at)
{
    mvcc_block_t *block = self->items[at];
    uint64_t keep = block->live / 2;
    buf_t key = {0};
    mvcc_key_latest(&key, block_first(block));
    kv_iter_t *iter = kv_iter_new(overlay_reader(overlay));
    iter->ops->seek(iter, buf_slice(&key));
    for (uint64_t i = 0; i < keep && iter->ops->valid(iter); i++) {
        iter->ops->next(iter);
    }
    int rc = mvcc_iter_error(iter);
    if (rc == 0 &&
        (!iter->ops->valid(iter) || !mvcc_in_column(iter->ops->key(iter), COLUMN_LATEST))) {
        rc = KV_ECORRUPT; /* fewer keys than were counted */
    }
    if (rc == 0) {
        mvcc_block_t *right =
            block_new(mvcc_after_prefix(iter->ops->key(iter)), block->live - keep);
        block->live = keep;
        insert(self, at + 1, right);
        touch(self, block);
        touch(self, right);
    }
    kv_iter_destroy(&iter);
    buf_deinit(&key);
    return rc;
}

int mvcc_blocks_add(mvcc_blocks_t *self, overlay_t *overlay, slice_t key)
{
    if (self->count == 0) {
        insert(self, 0, block_new(slice("", 1), 0)); /* "\0" */
    }
    size_t at = find(self, key);
    mvcc_block_t *block = self->items[at];
    block->live++;
    self->live++;
    touch(self, block);
    return block->live > BLOCK_KEYS_MAX ? split(self, overlay, at) : 0;
}

/* Two neighbours become one when together they are well below the limit that would split them. */
static bool merge(mvcc_blocks_t *self, overlay_t *overlay, size_t left)
{
    if (left + 1 >= self->count ||
        self->items[left]->live + self->items[left + 1]->live > BLOCK_KEYS_MERGED_MAX) {
        return false;
    }
    self->items[left]->live += self->items[left + 1]->live;
    touch(self, self->items[left]);
    forget(self, overlay, left + 1);
    return true;
}

void mvcc_blocks_remove(mvcc_blocks_t *self, overlay_t *overlay, slice_t key)
{
    assert(self->count > 0);
    size_t at = find(self, key);
    mvcc_block_t *block = self->items[at];
    assert(block->live > 0);
    block->live--;
    self->live--;
    touch(self, block);
    if (block->live < BLOCK_KEYS_SMALL && !(at > 0 && merge(self, overlay, at - 1))) {
        (void)merge(self, overlay, at);
    }
}

void mvcc_blocks_flush(mvcc_blocks_t *self, overlay_t *overlay)
{
    buf_t key = {0};
    for (size_t i = 0; i < self->dirty_count; i++) {
        mvcc_block_t *block = self->dirty[i];
        uint8_t live[10];
        size_t live_len = varint_write(live, block->live);
        mvcc_key_count(&key, block_first(block));
        overlay_put(overlay, buf_slice(&key), slice(live, live_len));
        block->dirty = false;
    }
    self->dirty_count = 0;
    buf_deinit(&key);
}
