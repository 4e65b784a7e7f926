/* kv_impl: what an implementation of store/kv.h provides. Included by kv*.c and by tests that fake a
 * store, nobody else. */
#pragma once

#include "store/kv.h"

/* Each implementation embeds these as first member of its own structs. */
struct kv {
    const struct kv_ops *ops;
    _Atomic(char *) error; /* text of the first failure; never replaced, so readers need no lock */
};

struct kv_snapshot {
    const kv_reader_t *reader;
    void (*destroy)(kv_snapshot_t *self);
};

struct kv_batch {
    const kv_t *kv; /* whose batch this is: writing it elsewhere is a programming error */
    void (*put)(kv_batch_t *self, slice_t key, slice_t value);
    void (*remove)(kv_batch_t *self, slice_t key);
    void (*destroy)(kv_batch_t *self);
};

typedef struct kv_ops {
    kv_snapshot_t *(*snapshot)(kv_t *self);
    kv_batch_t *(*batch)(kv_t *self);
    int (*write)(kv_t *self, kv_batch_t *batch);
    const kv_reader_t *(*latest)(kv_t *self);
    int (*flush)(kv_t *self);
    uint64_t (*size_bytes)(kv_t *self);
    void (*close)(kv_t *self);
} kv_ops_t;

void kv_init(kv_t *self, const kv_ops_t *ops);
void kv_deinit(kv_t *self);
/* Keeps the text of the first failure. Thread-safe. */
void kv_fail(kv_t *self, const char *text);
