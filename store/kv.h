/* kv: an ordered key-value store behind an interface.
 * Two implementations: LevelDB (production) and an ordered in-memory map (simulation); a
 * differential test keeps them equal. One writer; any number of threads may hold snapshots.
 * Every int returned: 0 = done, KV_ABSENT = no such key, < 0 = broken environment (KV_E*): the
 * caller stops the node. The text of the last failure is kv_error(). Nothing is ever retried. */
#pragma once

#include "messages/slice.h"

typedef struct kv kv_t;
typedef struct kv_snapshot kv_snapshot_t;
typedef struct kv_iter kv_iter_t;
typedef struct kv_batch kv_batch_t;

enum { KV_ABSENT = 1, KV_EIO = -5, KV_ECORRUPT = -74 };

/* A value handed out by a read: yours, free it with kv_value_deinit. */
typedef struct {
    uint8_t *data;
    size_t len;
} kv_value_t;
void kv_value_deinit(kv_value_t *value);
static inline slice_t kv_value_slice(const kv_value_t *value)
{
    return slice(value->data, value->len);
}

/* ---- reading: the same for a snapshot, the store as it is, and an overlay (store/overlay.h) ---- */
typedef struct kv_reader kv_reader_t;
struct kv_reader {
    int (*get)(const kv_reader_t *self, slice_t key, kv_value_t *value);
    kv_iter_t *(*iter)(const kv_reader_t *self);
};
int kv_get(const kv_reader_t *reader, slice_t key, kv_value_t *value)
    __attribute__((warn_unused_result));

/* Iterators start invalid; key and value stay valid until the next move. Destroy them before the
 * snapshot they read. */
struct kv_iter {
    const struct kv_iter_ops *ops;
};
typedef struct kv_iter_ops {
    void (*seek)(kv_iter_t *self, slice_t key); /* first key >= `key` */
    void (*seek_last)(kv_iter_t *self);
    void (*next)(kv_iter_t *self);
    /* As next, but cheaper: what could not be read may be skipped, and only error() tells. Ask it
     * before anything is done with what has been read. */
    void (*step)(kv_iter_t *self);
    void (*prev)(kv_iter_t *self);
    bool (*valid)(const kv_iter_t *self);
    slice_t (*key)(const kv_iter_t *self);
    slice_t (*value)(const kv_iter_t *self);
    int (*error)(const kv_iter_t *self); /* 0 or < 0; check it whenever valid() turns false */
    void (*destroy)(kv_iter_t *self);
} kv_iter_ops_t;
kv_iter_t *kv_iter_new(const kv_reader_t *reader);
void kv_iter_destroy(kv_iter_t **self_p);

/* ---- snapshots: a view that no later write changes; thread-safe to take and release ---- */
kv_snapshot_t *kv_snapshot_new(kv_t *kv);
void kv_snapshot_destroy(kv_snapshot_t **self_p);
const kv_reader_t *kv_snapshot_reader(const kv_snapshot_t *self);

/* ---- writing: atomically, not synced (the WAL is the only log, architecture section 5) ---- */
kv_batch_t *kv_batch_new(kv_t *kv);
void kv_batch_destroy(kv_batch_t **self_p);
void kv_batch_put(kv_batch_t *batch, slice_t key, slice_t value);
void kv_batch_delete(kv_batch_t *batch, slice_t key);
int kv_write(kv_t *kv, kv_batch_t *batch) __attribute__((warn_unused_result)); /* and empties it */

const kv_reader_t *kv_latest(kv_t *kv); /* reads what is written now; writer's thread only */
/* Everything written before the call is in synced table files when it returns. Blocks: keeper only. */
int kv_flush(kv_t *kv) __attribute__((warn_unused_result));
uint64_t kv_size_bytes(kv_t *kv);
const char *kv_error(const kv_t *kv);
/* Closes the store. All snapshots and iterators must be gone. */
void kv_close(kv_t **self_p);

/* ---- implementations ---- */
typedef struct {
    const char *path;
    size_t write_buffer_bytes; /* bounds start-up time and memory; 0 = default */
    size_t cache_bytes;        /* block cache; 0 = default */
    /* Told how long each write took, on the writer's thread; or NULL. */
    void (*on_write)(void *context, uint64_t micros);
    void *on_write_context;
} kv_leveldb_cfg_t;
/* Opens or creates. Removes LevelDB's own *.log files first: they may have holes after a power cut.
 * On failure returns < 0 and *error_p is a text that is yours. */
int kv_leveldb_open(kv_t **kv_p, const kv_leveldb_cfg_t *cfg, char **error_p);
/* Sets cfg's on_write later: by the next writer's thread, before it writes. */
void kv_leveldb_on_write(kv_t *kv, void (*on_write)(void *context, uint64_t micros), void *context);

kv_t *kv_memory_new(void);
/* Simulated crash: the store as it was at some batch boundary between the last completed flush and
 * now, chosen by `pick` (taken modulo the number of boundaries). No snapshot may be open. */
void kv_memory_crash(kv_t *kv, uint64_t pick);
