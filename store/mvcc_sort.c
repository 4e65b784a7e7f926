#include "store/mvcc_sort.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/xalloc.h"

/* Items kept beyond the limit before the worst are thrown away. */
enum { PRUNE_SLACK = 1000 };

typedef struct {
    int64_t number; /* what numeric targets sort by */
    uint64_t
        sequence; /* place in key order: breaks ties, so that the order is the same everywhere */
    size_t offset, len;      /* the encoded field in the arena */
    size_t value, value_len; /* target VALUE: the value in the arena */
} item_t;

struct mvcc_sorter {
    mvcc_sort_target_t target;
    bool descending;
    size_t limit; /* 0 = none */
    buf_t arena;
    item_t *items;
    size_t count, capacity;
    uint64_t added;
    bool finished;
    bool more;
    size_t next;
};

mvcc_sorter_t *mvcc_sorter_new(mvcc_sort_target_t target, mvcc_sort_order_t order, int64_t limit)
{
    mvcc_sorter_t *self = xcalloc(1, sizeof *self);
    self->target = target;
    self->descending = order == SORT_DESCEND;
    self->limit = limit > 0 ? (size_t)limit : 0;
    return self;
}

void mvcc_sorter_destroy(mvcc_sorter_t **self_p)
{
    mvcc_sorter_t *self = *self_p;
    *self_p = NULL;
    if (self) {
        buf_deinit(&self->arena);
        free(self->items);
        free(self);
    }
}

size_t mvcc_sorter_bytes(const mvcc_sorter_t *self)
{
    return self->arena.len + self->count * sizeof *self->items;
}

static int compare_items(const void *a, const void *b, void *context)
{
    const item_t *left = a;
    const item_t *right = b;
    const mvcc_sorter_t *self = context;
    int order = 0;
    if (self->target == SORT_VALUE) {
        order = slice_compare(slice(self->arena.data + left->value, left->value_len),
                              slice(self->arena.data + right->value, right->value_len));
    } else {
        order = left->number < right->number ? -1 : left->number > right->number;
    }
    if (order) {
        return self->descending ? -order : order;
    }
    return left->sequence < right->sequence ? -1 : 1;
}

static void sort_and_cut(mvcc_sorter_t *self)
{
    if (self->count > 1) {
        qsort_r(self->items, self->count, sizeof *self->items, compare_items, self);
    }
    if (self->limit && self->count > self->limit) {
        self->count = self->limit;
        self->more = true;
    }
}

/* Copies what is left of an item into the new arena. */
static void move_item(item_t *item, const buf_t *from, buf_t *to)
{
    bool value_inside = item->value >= item->offset && item->value < item->offset + item->len;
    size_t value = value_inside ? item->value - item->offset + to->len : to->len + item->len;
    size_t offset = to->len;
    buf_append(to, from->data + item->offset, item->len);
    if (!value_inside) {
        buf_append(to, from->data + item->value, item->value_len);
    }
    item->offset = offset;
    item->value = value;
}

static void prune(mvcc_sorter_t *self)
{
    sort_and_cut(self);
    buf_t arena = {0};
    for (size_t i = 0; i < self->count; i++) {
        move_item(&self->items[i], &self->arena, &arena);
    }
    buf_deinit(&self->arena);
    self->arena = arena;
}

static int64_t sort_number(const mvcc_sorter_t *self, const mvcc_record_t *record)
{
    switch (self->target) {
    case SORT_VERSION: return record->version;
    case SORT_CREATE: return record->create_revision;
    case SORT_MOD: return record->mod_revision;
    case SORT_KEY: return (int64_t)self->added;
    case SORT_VALUE: break;
    }
    return 0;
}

void mvcc_sorter_add(mvcc_sorter_t *self, slice_t key, slice_t wire, const mvcc_record_t *record)
{
    assert(!self->finished);
    self->items = xgrow(self->items, &self->capacity, self->count + 1, sizeof *self->items);
    item_t *item = &self->items[self->count++];
    *item = (item_t){
        .number = sort_number(self, record), .sequence = self->added++, .offset = self->arena.len};
    mvcc_kv_field(&self->arena, 2, key, wire);
    item->len = self->arena.len - item->offset;
    item->value = item->offset;
    if (self->target == SORT_VALUE) {
        item->value = self->arena.len;
        item->value_len = record->value.len;
        if (wire.len == record->wire.len && record->value.len) { /* sent, so it is there already */
            item->value = self->arena.len - wire.len + (size_t)(record->value.data - wire.data);
        } else {
            buf_append(&self->arena, record->value.data, record->value.len);
        }
    }
    if (self->limit && self->count >= 2 * self->limit + PRUNE_SLACK) {
        prune(self);
    }
}

void mvcc_sorter_finish(mvcc_sorter_t *self)
{
    sort_and_cut(self);
    self->finished = true;
}

bool mvcc_sorter_more(const mvcc_sorter_t *self)
{
    return self->more;
}

slice_t mvcc_sorter_next(mvcc_sorter_t *self)
{
    assert(self->finished);
    if (self->next == self->count) {
        return slice(NULL, 0);
    }
    const item_t *item = &self->items[self->next++];
    return slice(self->arena.data + item->offset, item->len);
}
