/* overlay: a skip list over an arena, doubly linked at the bottom so that it can be walked both
 * ways, and a reader that merges it with the base.
 *
 * 1. A key is in the list once; a deletion is an item like a put.
 * 2. Nothing is freed before the overlay is emptied, then everything at once.
 * 3. The base does not change while there are items, so an iterator over the base that was made
 *    under items stays good until they are drained; one is kept because making it is expensive. */
#include "store/overlay.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>

#include "messages/xalloc.h"

enum {
    HEIGHT_MAX = 12,               /* with branching 4: 16 million items */
    ARENA_CHUNK_BYTES = 256 << 10, /* a typical span; larger ones get chunks of their own */
    ARENA_KEEP_BYTES = 8 << 20,    /* two full spans; what is beyond is given back when emptied */
    ALIGNMENT = 8,
};

/* ---- arena ---- */

typedef struct chunk {
    struct chunk *next;
    size_t capacity;
    size_t used;
    uint8_t bytes[] __attribute__((aligned(ALIGNMENT)));
} chunk_t;

typedef struct {
    chunk_t *chunks; /* the one being filled first */
    chunk_t *spare;
    size_t spare_bytes;
} arena_t;

static void *arena_alloc(arena_t *self, size_t size)
{
    size = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (!self->chunks || self->chunks->capacity - self->chunks->used < size) {
        chunk_t *chunk = NULL;
        if (size <= ARENA_CHUNK_BYTES && self->spare) {
            chunk = self->spare;
            self->spare = chunk->next;
            self->spare_bytes -= chunk->capacity;
        } else {
            size_t capacity = size > ARENA_CHUNK_BYTES ? size : ARENA_CHUNK_BYTES;
            chunk = xmalloc(sizeof *chunk + capacity);
            chunk->capacity = capacity;
        }
        chunk->used = 0;
        chunk->next = self->chunks;
        self->chunks = chunk;
    }
    void *memory = self->chunks->bytes + self->chunks->used;
    self->chunks->used += size;
    return memory;
}

static void arena_clear(arena_t *self)
{
    while (self->chunks) {
        chunk_t *chunk = self->chunks;
        self->chunks = chunk->next;
        if (chunk->capacity == ARENA_CHUNK_BYTES && self->spare_bytes < ARENA_KEEP_BYTES) {
            chunk->next = self->spare;
            self->spare = chunk;
            self->spare_bytes += chunk->capacity;
        } else {
            free(chunk);
        }
    }
}

static void arena_deinit(arena_t *self)
{
    arena_clear(self);
    while (self->spare) {
        chunk_t *chunk = self->spare;
        self->spare = chunk->next;
        free(chunk);
    }
}

/* ---- items ---- */

typedef struct item {
    uint64_t prefix; /* the key's first bytes as a number: decides most comparisons by itself */
    slice_t key;
    uint8_t *value;
    size_t value_len;
    size_t value_capacity;
    bool is_delete;
    struct item *prev;   /* NULL = the first */
    struct item *next[]; /* one per level of this item, lowest first; NULL = the last */
} item_t;

/* What iterators change although a reader is const. */
typedef struct {
    uint64_t drains;
    kv_iter_t *kept; /* an iterator over the base that nobody uses (rule 3), or NULL */
} shelf_t;

struct overlay {
    kv_reader_t reader;
    const kv_reader_t *base;
    shelf_t *shelf;
    arena_t arena;
    item_t *head; /* no key; points at the first item of every level */
    item_t *last;
    size_t count;
    size_t bytes;
    uint32_t random; /* heights: nothing but speed depends on them */
};

static uint64_t key_prefix(slice_t key)
{
    uint64_t prefix = 0;
    if (key.len >= sizeof prefix) {
        memcpy(&prefix, key.data, sizeof prefix);
    } else if (key.len) {
        memcpy(&prefix, key.data, key.len);
    }
    return be64toh(prefix);
}

/* < 0 when the item's key is smaller. Equal prefixes say nothing yet: short keys are padded. */
static int item_compare(const item_t *item, uint64_t prefix, slice_t key)
{
    if (item->prefix != prefix) {
        return item->prefix < prefix ? -1 : 1;
    }
    return slice_compare(item->key, key);
}

/* The first item with a key >= `key`, or NULL. If before is not NULL, before[level] becomes the
 * item (or the head) after which the key belongs on that level. */
static item_t *list_find(const overlay_t *self, slice_t key, item_t **before)
{
    uint64_t prefix = key_prefix(key);
    item_t *at = self->head;
    item_t *passed = NULL; /* known from the level above to be >= key */
    for (int level = HEIGHT_MAX - 1; level >= 0; level--) {
        item_t *next = at->next[level];
        while (next && next != passed && item_compare(next, prefix, key) < 0) {
            at = next;
            next = at->next[level];
        }
        passed = next;
        if (before) {
            before[level] = at;
        }
    }
    return passed;
}

static item_t *list_get(const overlay_t *self, slice_t key)
{
    item_t *item = list_find(self, key, NULL);
    return item && slice_equal(item->key, key) ? item : NULL;
}

/* 1 with probability 3/4, 2 with 3/16, ... (xorshift32, G. Marsaglia 2003) */
static int random_height(overlay_t *self)
{
    self->random ^= self->random << 13;
    self->random ^= self->random >> 17;
    self->random ^= self->random << 5;
    int height = 1;
    for (uint32_t bits = self->random; height < HEIGHT_MAX && (bits & 3) == 0; bits >>= 2) {
        height++;
    }
    return height;
}

static item_t *list_insert(overlay_t *self, slice_t key, item_t **before, item_t *after)
{
    int height = random_height(self);
    item_t *item = arena_alloc(&self->arena, sizeof *item + (size_t)height * sizeof(item_t *));
    uint8_t *bytes = arena_alloc(&self->arena, key.len);
    if (key.len) {
        memcpy(bytes, key.data, key.len);
    }
    *item = (item_t){.prefix = key_prefix(key), .key = slice(bytes, key.len)};
    for (int level = 0; level < height; level++) {
        item->next[level] = before[level]->next[level];
        before[level]->next[level] = item;
    }
    item->prev = before[0] == self->head ? NULL : before[0];
    if (after) {
        after->prev = item;
    } else {
        self->last = item;
    }
    self->count++;
    self->bytes += key.len;
    return item;
}

/* The key's item, new or not. */
static item_t *list_item(overlay_t *self, slice_t key)
{
    item_t *before[HEIGHT_MAX];
    item_t *item = list_find(self, key, before);
    if (item && slice_equal(item->key, key)) {
        return item;
    }
    return list_insert(self, key, before, item);
}

static void item_set(overlay_t *self, item_t *item, slice_t value)
{
    self->bytes += value.len;
    self->bytes -= item->value_len;
    if (value.len > item->value_capacity) {
        item->value = arena_alloc(&self->arena, value.len);
        item->value_capacity = value.len;
    }
    if (value.len) {
        memmove(item->value, value.data, value.len); /* may be a value read from here */
    }
    item->value_len = value.len;
}

/* ---- the merging iterator ---- */

/* While it is valid, both sides stand at their nearest key to the current one, seen in the
 * direction of the last move, the current one included. */
typedef struct {
    kv_iter_t iter;
    const overlay_t *overlay;
    kv_iter_t *base;
    item_t *item;
    bool keepable;   /* the base's iterator was made under items ... */
    uint64_t drains; /* ... of this span */
    bool is_backward;
    bool valid;
    bool on_item; /* the current key is the overlay's, which hides an equal one of the base */
    bool on_both;
} merge_t;

static bool merge_base_valid(const merge_t *self)
{
    return self->base->ops->valid(self->base);
}

static slice_t merge_base_key(const merge_t *self)
{
    return self->base->ops->key(self->base);
}

static void item_move(merge_t *self)
{
    self->item = self->is_backward ? self->item->prev : self->item->next[0];
}

static void base_move(merge_t *self)
{
    if (self->is_backward) {
        self->base->ops->prev(self->base);
    } else {
        self->base->ops->next(self->base);
    }
}

/* Finds the current key among the two sides, stepping over deleted ones. */
static void merge_settle(merge_t *self)
{
    for (;;) {
        bool has_base = merge_base_valid(self);
        if (!has_base && self->base->ops->error(self->base) != 0) {
            self->valid = false;
            return;
        }
        self->valid = has_base || self->item;
        if (!self->valid) {
            return;
        }
        int order = !has_base ? -1 : 1;
        if (has_base && self->item) {
            order = slice_compare(self->item->key, merge_base_key(self));
            order = self->is_backward ? -order : order;
        }
        self->on_item = order <= 0;
        self->on_both = order == 0 && has_base;
        if (!self->on_item || !self->item->is_delete) {
            return;
        }
        item_move(self);
        if (self->on_both) {
            base_move(self);
        }
    }
}

static void merge_seek(kv_iter_t *iter, slice_t key)
{
    merge_t *self = (merge_t *)iter;
    self->is_backward = false;
    self->base->ops->seek(self->base, key);
    self->item = list_find(self->overlay, key, NULL);
    merge_settle(self);
}

static void merge_seek_last(kv_iter_t *iter)
{
    merge_t *self = (merge_t *)iter;
    self->is_backward = true;
    self->base->ops->seek_last(self->base);
    self->item = self->overlay->last;
    merge_settle(self);
}

/* Turns round: the side that is not current stands beyond the current key in the old direction, or
 * past its end; its neighbour, or its other end, is the nearest in the new one. */
static void merge_turn(merge_t *self)
{
    self->is_backward = !self->is_backward;
    bool base_current = !self->on_item || self->on_both;
    if (!base_current) {
        if (merge_base_valid(self)) {
            base_move(self);
        } else if (self->is_backward) {
            self->base->ops->seek_last(self->base);
        } else {
            self->base->ops->seek(self->base, slice(NULL, 0));
        }
    }
    if (!self->on_item) {
        if (self->item) {
            item_move(self);
        } else {
            self->item = self->is_backward ? self->overlay->last : self->overlay->head->next[0];
        }
    }
}

static void merge_step(merge_t *self, bool is_backward)
{
    assert(self->valid);
    if (self->is_backward != is_backward) {
        merge_turn(self);
    }
    bool base_current = !self->on_item || self->on_both;
    if (self->on_item) {
        item_move(self);
    }
    if (base_current) {
        base_move(self);
    }
    merge_settle(self);
}

static void merge_next(kv_iter_t *iter)
{
    merge_step((merge_t *)iter, false);
}

static void merge_prev(kv_iter_t *iter)
{
    merge_step((merge_t *)iter, true);
}

static bool merge_valid(const kv_iter_t *iter)
{
    return ((const merge_t *)iter)->valid;
}

static slice_t merge_key(const kv_iter_t *iter)
{
    const merge_t *self = (const merge_t *)iter;
    assert(self->valid);
    return self->on_item ? self->item->key : merge_base_key(self);
}

static slice_t merge_value(const kv_iter_t *iter)
{
    const merge_t *self = (const merge_t *)iter;
    assert(self->valid);
    return self->on_item ? slice(self->item->value, self->item->value_len)
                         : self->base->ops->value(self->base);
}

static int merge_error(const kv_iter_t *iter)
{
    const merge_t *self = (const merge_t *)iter;
    return self->base->ops->error(self->base);
}

static void merge_destroy(kv_iter_t *iter)
{
    merge_t *self = (merge_t *)iter;
    shelf_t *shelf = self->overlay->shelf;
    bool current = self->keepable && self->drains == shelf->drains;
    if (current && !shelf->kept && self->base->ops->error(self->base) == 0) {
        shelf->kept = self->base;
    } else {
        kv_iter_destroy(&self->base);
    }
    free(self);
}

static const kv_iter_ops_t merge_ops = {
    .seek = merge_seek,
    .seek_last = merge_seek_last,
    .next = merge_next,
    .step = merge_next,
    .prev = merge_prev,
    .valid = merge_valid,
    .key = merge_key,
    .value = merge_value,
    .error = merge_error,
    .destroy = merge_destroy,
};

/* ---- the reader ---- */

static kv_iter_t *overlay_iter(const kv_reader_t *reader)
{
    const overlay_t *self = (const overlay_t *)reader;
    merge_t *merge = xcalloc(1, sizeof *merge);
    merge->iter.ops = &merge_ops;
    merge->overlay = self;
    merge->keepable = self->count > 0;
    merge->drains = self->shelf->drains;
    if (merge->keepable && self->shelf->kept) {
        merge->base = self->shelf->kept;
        self->shelf->kept = NULL;
    } else {
        merge->base = kv_iter_new(self->base);
    }
    return &merge->iter;
}

static int overlay_get(const kv_reader_t *reader, slice_t key, kv_value_t *value)
{
    const overlay_t *self = (const overlay_t *)reader;
    const item_t *item = list_get(self, key);
    if (!item) {
        return kv_get(self->base, key, value);
    }
    *value = (kv_value_t){0};
    if (item->is_delete) {
        return KV_ABSENT;
    }
    value->data = xmemdup(item->value, item->value_len);
    value->len = item->value_len;
    return 0;
}

/* ---- public ---- */

overlay_t *overlay_new(const kv_reader_t *base)
{
    overlay_t *self = xcalloc(1, sizeof *self);
    self->reader = (kv_reader_t){.get = overlay_get, .iter = overlay_iter};
    self->base = base;
    self->shelf = xcalloc(1, sizeof *self->shelf);
    self->head = xcalloc(1, sizeof *self->head + HEIGHT_MAX * sizeof(item_t *));
    self->random = 2463534242u; /* any number but 0 */
    return self;
}

static void overlay_clear(overlay_t *self)
{
    kv_iter_destroy(&self->shelf->kept);
    self->shelf->drains++;
    for (int level = 0; level < HEIGHT_MAX; level++) {
        self->head->next[level] = NULL;
    }
    self->last = NULL;
    self->count = 0;
    self->bytes = 0;
    arena_clear(&self->arena);
}

void overlay_destroy(overlay_t **self_p)
{
    overlay_t *self = *self_p;
    if (!self) {
        return;
    }
    overlay_clear(self);
    arena_deinit(&self->arena);
    free(self->shelf);
    free(self->head);
    free(self);
    *self_p = NULL;
}

void overlay_put(overlay_t *self, slice_t key, slice_t value)
{
    assert(key.len > 0);
    item_t *item = list_item(self, key);
    item->is_delete = false;
    item_set(self, item, value);
}

void overlay_delete(overlay_t *self, slice_t key)
{
    assert(key.len > 0);
    item_t *item = list_item(self, key);
    item->is_delete = true;
    item_set(self, item, slice(NULL, 0));
}

const kv_reader_t *overlay_reader(const overlay_t *self)
{
    return &self->reader;
}

size_t overlay_bytes(const overlay_t *self)
{
    return self->bytes;
}

size_t overlay_count(const overlay_t *self)
{
    return self->count;
}

void overlay_drain(overlay_t *self, kv_batch_t *batch)
{
    for (const item_t *item = self->head->next[0]; item; item = item->next[0]) {
        if (item->is_delete) {
            kv_batch_delete(batch, item->key);
        } else {
            kv_batch_put(batch, item->key, slice(item->value, item->value_len));
        }
    }
    overlay_clear(self);
}
