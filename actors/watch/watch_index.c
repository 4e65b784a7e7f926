#include "actors/watch/watch_index.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/xalloc.h"

/* range_end "\0" means: no end. */
static bool unbounded(slice_t end)
{
    return end.len == 1 && end.data[0] == 0;
}

bool watch_interval_holds(slice_t key, slice_t range_end, slice_t candidate)
{
    if (range_end.len == 0) {
        return slice_equal(key, candidate);
    }
    return slice_compare(key, candidate) <= 0 &&
           (unbounded(range_end) || slice_compare(candidate, range_end) < 0);
}

/* ---- tree of intervals: a treap, by (start, end, flags) ---- */

static slice_t end_of(const watch_group_t *group)
{
    slice_t end = bytes_slice(group->range_end);
    return unbounded(end) ? slice(NULL, 0) : end;
}

static slice_t larger_end(slice_t a, slice_t b)
{
    if (!a.data || !b.data) {
        return slice(NULL, 0);
    }
    return slice_compare(a, b) >= 0 ? a : b;
}

static int compare_groups(const watch_group_t *a, const watch_group_t *b)
{
    int order = slice_compare(bytes_slice(a->key), bytes_slice(b->key));
    if (order == 0) {
        order = slice_compare(bytes_slice(a->range_end), bytes_slice(b->range_end));
    }
    if (order == 0) {
        order = a->flags < b->flags ? -1 : a->flags > b->flags;
    }
    return order;
}

static void update(watch_group_t *node)
{
    node->max_end = end_of(node);
    if (node->left) {
        node->max_end = larger_end(node->max_end, node->left->max_end);
    }
    if (node->right) {
        node->max_end = larger_end(node->max_end, node->right->max_end);
    }
}

/* Depth is logarithmic in expectation: priorities are random, whatever the clients choose. */
static void split(watch_group_t *root, const watch_group_t *at, watch_group_t **low,
                  watch_group_t **high)
{
    if (!root) {
        *low = NULL;
        *high = NULL;
        return;
    }
    if (compare_groups(root, at) < 0) {
        split(root->right, at, &root->right, high);
        *low = root;
    } else {
        split(root->left, at, low, &root->left);
        *high = root;
    }
    update(root);
}

static watch_group_t *merge(watch_group_t *low, watch_group_t *high)
{
    if (!low || !high) {
        return low ? low : high;
    }
    watch_group_t *root = low->priority >= high->priority ? low : high;
    if (root == low) {
        low->right = merge(low->right, high);
    } else {
        high->left = merge(low, high->left);
    }
    update(root);
    return root;
}

static watch_group_t *insert(watch_group_t *root, watch_group_t *node)
{
    watch_group_t *low = NULL;
    watch_group_t *high = NULL;
    split(root, node, &low, &high);
    update(node);
    return merge(merge(low, node), high);
}

static watch_group_t *take_out(watch_group_t *root, const watch_group_t *node)
{
    assert(root);
    if (root == node) {
        return merge(root->left, root->right);
    }
    if (compare_groups(node, root) < 0) {
        root->left = take_out(root->left, node);
    } else {
        root->right = take_out(root->right, node);
    }
    update(root);
    return root;
}

static void match_tree(const watch_group_t *node, slice_t key, watch_match_fn fn, void *context)
{
    while (node && (!node->max_end.data || slice_compare(key, node->max_end) < 0)) {
        match_tree(node->left, key, fn, context);
        if (slice_compare(bytes_slice(node->key), key) > 0) {
            return; /* everything to the right starts later still */
        }
        slice_t end = end_of(node);
        if (!end.data || slice_compare(key, end) < 0) {
            fn(context, (watch_group_t *)(uintptr_t)node);
        }
        node = node->right;
    }
}

/* ---- groups ---- */

static uint64_t hash_group(slice_t key, slice_t range_end, unsigned flags)
{
    return hash_u64(hash_slice(key) ^ (hash_slice(range_end) * 3) ^ flags);
}

static watch_group_t *find(const watch_index_t *self, slice_t key, slice_t range_end,
                           unsigned flags)
{
    size_t cursor = 0;
    watch_group_t *group = NULL;
    while ((group = table_next(&self->all, hash_group(key, range_end, flags), &cursor))) {
        if (group->flags == flags && slice_equal(bytes_slice(group->key), key) &&
            slice_equal(bytes_slice(group->range_end), range_end)) {
            return group;
        }
    }
    return NULL;
}

watch_group_t *watch_index_group(watch_index_t *self, const bytes_t *key, const bytes_t *range_end,
                                 unsigned flags)
{
    watch_group_t *group = find(self, bytes_slice(key), bytes_slice(range_end), flags);
    if (group) {
        return group;
    }
    group = xcalloc(1, sizeof *group);
    group->key = bytes_ref(key);
    group->range_end = bytes_ref(range_end);
    group->flags = flags;
    group->priority = prng_next(&self->prng);
    table_add(&self->all, hash_group(bytes_slice(key), bytes_slice(range_end), flags), group);
    if (bytes_len(range_end) == 0) {
        table_add(&self->exact, hash_slice(bytes_slice(key)), group);
    } else {
        self->root = insert(self->root, group);
    }
    return group;
}

static void free_group(watch_group_t *group)
{
    bytes_unref(&group->key);
    bytes_unref(&group->range_end);
    buf_deinit(&group->pending);
    free(group->watchers);
    free(group);
}

void watch_index_drop(watch_index_t *self, watch_group_t *group)
{
    assert(group->count == 0);
    slice_t key = bytes_slice(group->key);
    slice_t range_end = bytes_slice(group->range_end);
    table_remove(&self->all, hash_group(key, range_end, group->flags), group);
    if (range_end.len == 0) {
        table_remove(&self->exact, hash_slice(key), group);
    } else {
        self->root = take_out(self->root, group);
    }
    free_group(group);
}

void watch_index_match(watch_index_t *self, slice_t key, watch_match_fn fn, void *context)
{
    if (self->exact.count) {
        uint64_t hash = hash_slice(key);
        size_t cursor = 0;
        watch_group_t *group = NULL;
        while ((group = table_next(&self->exact, hash, &cursor))) {
            if (slice_equal(bytes_slice(group->key), key)) {
                fn(context, group);
            }
        }
    }
    match_tree(self->root, key, fn, context);
}

void watch_index_deinit(watch_index_t *self)
{
    size_t cursor = 0;
    watch_group_t *group = NULL;
    while ((group = table_each(&self->all, &cursor))) {
        free_group(group);
    }
    table_deinit(&self->all);
    table_deinit(&self->exact);
    self->root = NULL;
}
