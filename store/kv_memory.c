/* kv_memory: store/kv.h as an ordered map in memory, for the simulator and for tests.
 *
 * A snapshot is one more reference on the root of a persistent tree (store/kv_tree.h), and so is
 * each batch boundary that a simulated crash may come back to. Reference counts are touched under
 * the lock; reading a tree needs none, since what a reader holds never changes. */
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "messages/xalloc.h"
#include "store/kv.h"
#include "store/kv_impl.h"
#include "store/kv_tree.h"

/* Boundaries since the last flush. The oldest go first, as if LevelDB had flushed by itself. */
enum { BOUNDARIES_MAX = 4096 };

/* ---- the store ---- */

typedef struct {
    kv_reader_t reader;
    struct memory *memory;
    kv_node_t *root; /* a snapshot's; NULL in the reader of what is written now */
    bool is_latest;
} view_t;

typedef struct memory {
    kv_t kv;
    pthread_mutex_t lock;
    kv_node_t *root;
    view_t latest;
    /* What a crash may come back to: the last flush, then every batch since. Oldest first. */
    kv_node_t **boundaries;
    size_t boundary_count;
    size_t readers; /* snapshots and iterators */
} memory_t;

typedef struct {
    kv_snapshot_t base;
    view_t view;
} memory_snapshot_t;

typedef struct {
    kv_pair_t *pair;
    bool is_delete;
} change_t;

typedef struct {
    kv_batch_t base;
    change_t *changes;
    size_t count;
    size_t capacity;
} memory_batch_t;

static void memory_lock(memory_t *self)
{
    int error = pthread_mutex_lock(&self->lock);
    assert(error == 0);
}

static void memory_unlock(memory_t *self)
{
    int error = pthread_mutex_unlock(&self->lock);
    assert(error == 0);
}

static kv_node_t *reader_enter(memory_t *self, kv_node_t *const *root)
{
    memory_lock(self);
    kv_node_t *held = kv_node_ref(*root);
    self->readers++;
    memory_unlock(self);
    return held;
}

static void reader_leave(memory_t *self, kv_node_t *root)
{
    memory_lock(self);
    kv_node_unref(root);
    assert(self->readers > 0);
    self->readers--;
    memory_unlock(self);
}

/* ---- iterators ---- */

typedef struct {
    kv_iter_t base;
    memory_t *memory;
    kv_node_t *root;
    int depth; /* 0 = not valid */
    const kv_node_t *path[KV_TREE_HEIGHT_MAX];
} memory_iter_t;

static void iter_push(memory_iter_t *self, const kv_node_t *node)
{
    assert(self->depth < KV_TREE_HEIGHT_MAX);
    self->path[self->depth++] = node;
}

/* Goes down from `node` to its outermost descendant on `side`. */
static void iter_descend(memory_iter_t *self, const kv_node_t *node, int side)
{
    while (node) {
        iter_push(self, node);
        node = node->child[side];
    }
}

/* To the neighbour on `side`: 1 = next, 0 = previous. */
static void iter_step(memory_iter_t *self, int side)
{
    assert(self->depth > 0);
    const kv_node_t *node = self->path[self->depth - 1];
    if (node->child[side]) {
        iter_descend(self, node->child[side], !side);
        return;
    }
    do {
        node = self->path[--self->depth];
    } while (self->depth > 0 && self->path[self->depth - 1]->child[side] == node);
}

static void iter_seek(kv_iter_t *base, slice_t key)
{
    memory_iter_t *self = (memory_iter_t *)base;
    self->depth = 0;
    int found = 0; /* depth of the smallest key so far that is large enough */
    const kv_node_t *node = self->root;
    while (node) {
        iter_push(self, node);
        int order = slice_compare(key, kv_pair_key(node->pair));
        if (order <= 0) {
            found = self->depth;
        }
        if (order == 0) {
            break;
        }
        node = node->child[order > 0];
    }
    self->depth = found;
}

static void iter_seek_last(kv_iter_t *base)
{
    memory_iter_t *self = (memory_iter_t *)base;
    self->depth = 0;
    iter_descend(self, self->root, 1);
}

static void iter_next(kv_iter_t *base)
{
    iter_step((memory_iter_t *)base, 1);
}

static void iter_prev(kv_iter_t *base)
{
    iter_step((memory_iter_t *)base, 0);
}

static bool iter_valid(const kv_iter_t *base)
{
    return ((const memory_iter_t *)base)->depth > 0;
}

static const kv_pair_t *iter_pair(const kv_iter_t *base)
{
    const memory_iter_t *self = (const memory_iter_t *)base;
    assert(self->depth > 0);
    return self->path[self->depth - 1]->pair;
}

static slice_t iter_key(const kv_iter_t *base)
{
    return kv_pair_key(iter_pair(base));
}

static slice_t iter_value(const kv_iter_t *base)
{
    return kv_pair_value(iter_pair(base));
}

static int iter_error(const kv_iter_t *base)
{
    (void)base;
    return 0;
}

static void iter_destroy(kv_iter_t *base)
{
    memory_iter_t *self = (memory_iter_t *)base;
    reader_leave(self->memory, self->root);
    free(self);
}

static const kv_iter_ops_t iter_ops = {
    .seek = iter_seek,
    .seek_last = iter_seek_last,
    .next = iter_next,
    .step = iter_next,
    .prev = iter_prev,
    .valid = iter_valid,
    .key = iter_key,
    .value = iter_value,
    .error = iter_error,
    .destroy = iter_destroy,
};

/* ---- readers ---- */

static kv_node_t *const *view_root(const view_t *self)
{
    return self->is_latest ? &self->memory->root : &self->root;
}

static int view_get(const kv_reader_t *reader, slice_t key, kv_value_t *value)
{
    const view_t *self = (const view_t *)reader;
    const kv_pair_t *pair = kv_tree_find(*view_root(self), key);
    if (!pair) {
        *value = (kv_value_t){0};
        return KV_ABSENT;
    }
    slice_t found = kv_pair_value(pair);
    value->data = xmemdup(found.data, found.len);
    value->len = found.len;
    return 0;
}

static kv_iter_t *view_iter(const kv_reader_t *reader)
{
    const view_t *self = (const view_t *)reader;
    memory_iter_t *iter = xmalloc(sizeof *iter);
    iter->base.ops = &iter_ops;
    iter->memory = self->memory;
    iter->root = reader_enter(self->memory, view_root(self));
    iter->depth = 0;
    return &iter->base;
}

static void view_init(view_t *self, memory_t *memory, bool is_latest)
{
    self->reader = (kv_reader_t){.get = view_get, .iter = view_iter};
    self->memory = memory;
    self->root = NULL;
    self->is_latest = is_latest;
}

static void snapshot_destroy(kv_snapshot_t *base)
{
    memory_snapshot_t *self = (memory_snapshot_t *)base;
    reader_leave(self->view.memory, self->view.root);
    free(self);
}

static kv_snapshot_t *memory_snapshot(kv_t *kv)
{
    memory_t *memory = (memory_t *)kv;
    memory_snapshot_t *self = xcalloc(1, sizeof *self);
    view_init(&self->view, memory, false);
    self->view.root = reader_enter(memory, &memory->root);
    self->base = (kv_snapshot_t){.reader = &self->view.reader, .destroy = snapshot_destroy};
    return &self->base;
}

static const kv_reader_t *memory_latest(kv_t *kv)
{
    return &((memory_t *)kv)->latest.reader;
}

/* ---- writing ---- */

static void batch_add(kv_batch_t *base, slice_t key, slice_t value, bool is_delete)
{
    memory_batch_t *self = (memory_batch_t *)base;
    self->changes = xgrow(self->changes, &self->capacity, self->count + 1, sizeof *self->changes);
    self->changes[self->count++] =
        (change_t){.pair = kv_pair_new(key, value), .is_delete = is_delete};
}

static void batch_put(kv_batch_t *base, slice_t key, slice_t value)
{
    batch_add(base, key, value, false);
}

static void batch_remove(kv_batch_t *base, slice_t key)
{
    batch_add(base, key, slice(NULL, 0), true);
}

static void batch_destroy(kv_batch_t *base)
{
    memory_batch_t *self = (memory_batch_t *)base;
    for (size_t i = 0; i < self->count; i++) {
        kv_pair_unref(self->changes[i].pair);
    }
    free(self->changes);
    free(self);
}

static kv_batch_t *memory_batch(kv_t *kv)
{
    memory_batch_t *self = xcalloc(1, sizeof *self);
    self->base =
        (kv_batch_t){.kv = kv, .put = batch_put, .remove = batch_remove, .destroy = batch_destroy};
    return &self->base;
}

static void boundaries_drop(memory_t *self, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        kv_node_unref(self->boundaries[i]);
    }
    self->boundary_count -= count;
    memmove(self->boundaries, self->boundaries + count,
            self->boundary_count * sizeof *self->boundaries);
}

static int memory_write(kv_t *kv, kv_batch_t *base)
{
    memory_t *self = (memory_t *)kv;
    memory_batch_t *batch = (memory_batch_t *)base;
    memory_lock(self);
    for (size_t i = 0; i < batch->count; i++) {
        change_t *change = &batch->changes[i];
        if (change->is_delete) {
            kv_tree_remove(&self->root, kv_pair_key(change->pair));
            kv_pair_unref(change->pair);
        } else {
            kv_tree_put(&self->root, change->pair);
        }
    }
    batch->count = 0;
    if (self->boundary_count == BOUNDARIES_MAX) {
        boundaries_drop(self, BOUNDARIES_MAX / 2);
    }
    self->boundaries[self->boundary_count++] = kv_node_ref(self->root);
    memory_unlock(self);
    return 0;
}

static int memory_flush(kv_t *kv)
{
    memory_t *self = (memory_t *)kv;
    memory_lock(self);
    boundaries_drop(self, self->boundary_count - 1);
    memory_unlock(self);
    return 0;
}

static uint64_t tree_bytes(const kv_node_t *node)
{
    if (!node) {
        return 0;
    }
    return sizeof *node + sizeof *node->pair + node->pair->key_len + node->pair->value_len +
           tree_bytes(node->child[0]) + tree_bytes(node->child[1]);
}

static uint64_t memory_size_bytes(kv_t *kv)
{
    memory_t *self = (memory_t *)kv;
    memory_lock(self);
    uint64_t bytes = sizeof *self + tree_bytes(self->root);
    memory_unlock(self);
    return bytes;
}

static void memory_close(kv_t *kv)
{
    memory_t *self = (memory_t *)kv;
    assert(self->readers == 0);
    boundaries_drop(self, self->boundary_count);
    free(self->boundaries);
    kv_node_unref(self->root);
    (void)pthread_mutex_destroy(&self->lock);
    kv_deinit(&self->kv);
    free(self);
}

static const kv_ops_t memory_ops = {
    .snapshot = memory_snapshot,
    .batch = memory_batch,
    .write = memory_write,
    .latest = memory_latest,
    .flush = memory_flush,
    .size_bytes = memory_size_bytes,
    .close = memory_close,
};

kv_t *kv_memory_new(void)
{
    memory_t *self = xcalloc(1, sizeof *self);
    kv_init(&self->kv, &memory_ops);
    int error = pthread_mutex_init(&self->lock, NULL);
    assert(error == 0);
    view_init(&self->latest, self, true);
    self->boundaries = xcalloc(BOUNDARIES_MAX, sizeof *self->boundaries);
    self->boundary_count = 1; /* the empty store */
    return &self->kv;
}

void kv_memory_crash(kv_t *kv, uint64_t pick)
{
    assert(kv->ops == &memory_ops);
    memory_t *self = (memory_t *)kv;
    assert(self->readers == 0);
    size_t at = (size_t)(pick % self->boundary_count);
    kv_node_unref(self->root);
    self->root = kv_node_ref(self->boundaries[at]);
    /* What came back was on disk: no later crash goes below it. */
    boundaries_drop(self, at);
    while (self->boundary_count > 1) {
        kv_node_unref(self->boundaries[--self->boundary_count]);
    }
}
