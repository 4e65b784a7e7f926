/* kv_tree: an AVL tree whose nodes are shared between versions. */
#include "store/kv_tree.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/xalloc.h"

slice_t kv_pair_key(const kv_pair_t *pair)
{
    return slice(pair->bytes, pair->key_len);
}

slice_t kv_pair_value(const kv_pair_t *pair)
{
    return slice(pair->bytes + pair->key_len, pair->value_len);
}

kv_pair_t *kv_pair_new(slice_t key, slice_t value)
{
    assert(key.len <= UINT32_MAX);
    kv_pair_t *pair = xmalloc(sizeof *pair + key.len + value.len);
    pair->refs = 1;
    pair->key_len = (uint32_t)key.len;
    pair->value_len = value.len;
    memcpy(pair->bytes, key.data, key.len);
    if (value.len) {
        memcpy(pair->bytes + key.len, value.data, value.len);
    }
    return pair;
}

void kv_pair_unref(kv_pair_t *pair)
{
    assert(pair->refs > 0);
    if (--pair->refs == 0) {
        free(pair);
    }
}

kv_node_t *kv_node_ref(kv_node_t *node)
{
    if (node) {
        node->refs++;
    }
    return node;
}

/* Recursion is as deep as the tree is high. */
void kv_node_unref(kv_node_t *node)
{
    if (!node) {
        return;
    }
    assert(node->refs > 0);
    if (--node->refs == 0) {
        kv_node_unref(node->child[0]);
        kv_node_unref(node->child[1]);
        kv_pair_unref(node->pair);
        free(node);
    }
}

/* Makes the node at *slot ours alone. Sound only top down: a copy shares its children. */
static kv_node_t *node_own(kv_node_t **slot)
{
    kv_node_t *old = *slot;
    assert(old && old->refs > 0);
    if (old->refs == 1) {
        return old;
    }
    kv_node_t *copy = xmalloc(sizeof *copy);
    *copy = *old;
    copy->refs = 1;
    copy->pair->refs++;
    (void)kv_node_ref(copy->child[0]);
    (void)kv_node_ref(copy->child[1]);
    old->refs--;
    *slot = copy;
    return copy;
}

static int height(const kv_node_t *node)
{
    return node ? node->height : 0;
}

static void node_measure(kv_node_t *node)
{
    int left = height(node->child[0]);
    int right = height(node->child[1]);
    node->height = 1 + (left > right ? left : right);
}

/* Lifts the child on `side` (1 = larger) above the owned node at *slot. */
static void rotate(kv_node_t **slot, int side)
{
    kv_node_t *top = *slot;
    kv_node_t *up = node_own(&top->child[side]);
    top->child[side] = up->child[!side];
    up->child[!side] = top;
    node_measure(top);
    node_measure(up);
    *slot = up;
}

static void rebalance(kv_node_t **slot)
{
    kv_node_t *node = *slot;
    int lean = height(node->child[1]) - height(node->child[0]);
    if (lean > 1 || lean < -1) {
        int side = lean > 1;
        kv_node_t *heavy = node_own(&node->child[side]);
        if (height(heavy->child[!side]) > height(heavy->child[side])) {
            rotate(&node->child[side], !side);
        }
        rotate(slot, side);
        return;
    }
    node_measure(node);
}

/* Owns the path to the key and returns the number of slots on it: the first is the root's, the last
 * holds the key's node or NULL. */
static int path_own(kv_node_t **root, slice_t key, kv_node_t ***slots)
{
    int count = 0;
    kv_node_t **slot = root;
    for (;;) {
        assert(count < KV_TREE_HEIGHT_MAX);
        slots[count++] = slot;
        if (!*slot) {
            return count;
        }
        kv_node_t *node = node_own(slot);
        int order = slice_compare(key, kv_pair_key(node->pair));
        if (order == 0) {
            return count;
        }
        slot = &node->child[order > 0];
    }
}

const kv_pair_t *kv_tree_find(const kv_node_t *node, slice_t key)
{
    while (node) {
        int order = slice_compare(key, kv_pair_key(node->pair));
        if (order == 0) {
            return node->pair;
        }
        node = node->child[order > 0];
    }
    return NULL;
}

void kv_tree_put(kv_node_t **root, kv_pair_t *pair)
{
    kv_node_t **slots[KV_TREE_HEIGHT_MAX];
    int count = path_own(root, kv_pair_key(pair), slots);
    kv_node_t **slot = slots[count - 1];
    if (*slot) {
        kv_pair_unref((*slot)->pair);
        (*slot)->pair = pair;
        return;
    }
    kv_node_t *node = xcalloc(1, sizeof *node);
    node->refs = 1;
    node->height = 1;
    node->pair = pair;
    *slot = node;
    while (--count > 0) {
        rebalance(slots[count - 1]);
    }
}

void kv_tree_remove(kv_node_t **root, slice_t key)
{
    if (!kv_tree_find(*root, key)) {
        return;
    }
    kv_node_t **slots[KV_TREE_HEIGHT_MAX];
    int count = path_own(root, key, slots);
    kv_node_t *node = *slots[count - 1];
    assert(node); /* it has been found */
    if (node->child[0] && node->child[1]) {
        /* The next larger key moves up, and its node goes instead. */
        kv_node_t **slot = &node->child[1];
        for (;;) {
            assert(count < KV_TREE_HEIGHT_MAX);
            slots[count++] = slot;
            kv_node_t *next = node_own(slot);
            if (!next->child[0]) {
                break;
            }
            slot = &next->child[0];
        }
        kv_pair_t *pair = node->pair;
        node->pair = (*slot)->pair;
        (*slot)->pair = pair;
        node = *slot;
    }
    kv_node_t **slot = slots[--count];
    *slot = node->child[0] ? node->child[0] : node->child[1];
    node->child[0] = NULL;
    node->child[1] = NULL;
    kv_node_unref(node);
    while (count > 0) {
        rebalance(slots[--count]);
    }
}
