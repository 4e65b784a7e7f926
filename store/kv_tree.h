/* kv_tree: a persistent ordered map: every version that somebody holds stays as it was. Pure.
 * A version is a root; holding it is one reference. Changing a root copies the nodes on the way that
 * anybody else holds and changes the others in place. Counts are not atomic: whoever shares versions
 * between threads locks around everything that changes counts; reading changes none. */
#pragma once

#include "messages/slice.h"

/* An AVL tree of 2^40 nodes is less than 60 high. */
enum { KV_TREE_HEIGHT_MAX = 64 };

typedef struct {
    unsigned refs;
    uint32_t key_len;
    size_t value_len;
    uint8_t bytes[]; /* key, value */
} kv_pair_t;

typedef struct kv_node {
    unsigned refs;
    int height;
    struct kv_node *child[2]; /* smaller, larger */
    kv_pair_t *pair;
} kv_node_t;

kv_pair_t *kv_pair_new(slice_t key, slice_t value); /* one reference, yours */
void kv_pair_unref(kv_pair_t *pair);
slice_t kv_pair_key(const kv_pair_t *pair);
slice_t kv_pair_value(const kv_pair_t *pair);

/* NULL is the empty map. */
kv_node_t *kv_node_ref(kv_node_t *node);
void kv_node_unref(kv_node_t *node);
const kv_pair_t *kv_tree_find(const kv_node_t *node, slice_t key);
/* Takes the reference on the pair. */
void kv_tree_put(kv_node_t **root, kv_pair_t *pair);
/* A missing key is no error. */
void kv_tree_remove(kv_node_t **root, slice_t key);
