#include "store/mvcc_sort.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/xalloc.h"

/* Sorted in runs, which are merged as they are read: so no step costs more than a run's sort, however many items
 * there are. Only a large limit makes one step long: what is beyond it is thrown away in one go. */
enum {
    RUN_ITEMS = 1024,
    PRUNE_SLACK = 1000, /* items kept beyond the limit before the worst are thrown away */
};

typedef struct {
    int64_t number; /* what numeric targets sort by */
    uint64_t
        sequence; /* place in key order: breaks ties, so that the order is the same everywhere */
    size_t offset, len;      /* the encoded field in the arena */
    size_t value, value_len; /* target VALUE: the value in the arena */
} item_t;

/* Items in order, those from `next` on not read yet. */
typedef struct {
    size_t next, end;
} run_t;

struct mvcc_sorter {
    mvcc_sort_target_t target;
    bool descending;
    size_t limit; /* 0 = none */
    buf_t arena;
    item_t *items;
    size_t count, capacity;
    size_t open; /* items from here on are in no run yet */
    run_t *runs; /* when they are read: a heap, the one with the first item on top */
    size_t run_count, run_capacity;
    uint64_t added;
    bool finished;
    bool more;
    size_t left; /* to be given out */
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
        free(self->runs);
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

/* ---- runs ---- */

static void run_add(mvcc_sorter_t *self, size_t first, size_t end)
{
    self->runs = xgrow(self->runs, &self->run_capacity, self->run_count + 1, sizeof *self->runs);
    self->runs[self->run_count++] = (run_t){.next = first, .end = end};
}

static void close_run(mvcc_sorter_t *self)
{
    size_t count = self->count - self->open;
    if (count > 0) {
        qsort_r(self->items + self->open, count, sizeof *self->items, compare_items, self);
        run_add(self, self->open, self->count);
        self->open = self->count;
    }
}

static bool run_is_before(const mvcc_sorter_t *self, size_t a, size_t b)
{
    return compare_items(&self->items[self->runs[a].next], &self->items[self->runs[b].next],
                         (void *)(uintptr_t)self) < 0;
}

static void sift_down(mvcc_sorter_t *self, size_t at)
{
    for (;;) {
        size_t first = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < self->run_count; child++) {
            first = run_is_before(self, child, first) ? child : first;
        }
        if (first == at) {
            return;
        }
        run_t run = self->runs[at];
        self->runs[at] = self->runs[first];
        self->runs[first] = run;
        at = first;
    }
}

static void merge_begin(mvcc_sorter_t *self)
{
    close_run(self);
    for (size_t at = self->run_count / 2; at-- > 0;) {
        sift_down(self, at);
    }
}

/* There is one. */
static const item_t *merge_next(mvcc_sorter_t *self)
{
    run_t *top = &self->runs[0];
    const item_t *item = &self->items[top->next++];
    if (top->next == top->end) {
        *top = self->runs[--self->run_count];
    }
    sift_down(self, 0);
    return item;
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
    merge_begin(self);
    buf_t arena = {0};
    item_t *items = xmalloc(self->capacity * sizeof *items);
    for (size_t i = 0; i < self->limit; i++) {
        items[i] = *merge_next(self);
        move_item(&items[i], &self->arena, &arena);
    }
    free(self->items);
    buf_deinit(&self->arena);
    self->items = items;
    self->arena = arena;
    self->more = true;
    self->count = self->open = self->limit;
    self->run_count = 0;
    run_add(self, 0, self->limit);
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
    if (self->count - self->open == RUN_ITEMS) {
        close_run(self);
    }
    if (self->limit && self->count >= 2 * self->limit + PRUNE_SLACK) {
        prune(self);
    }
}

void mvcc_sorter_finish(mvcc_sorter_t *self)
{
    merge_begin(self);
    bool is_cut = self->limit && self->count > self->limit;
    self->left = is_cut ? self->limit : self->count;
    self->more = self->more || is_cut;
    self->finished = true;
}

bool mvcc_sorter_more(const mvcc_sorter_t *self)
{
    return self->more;
}

slice_t mvcc_sorter_next(mvcc_sorter_t *self)
{
    assert(self->finished);
    if (self->left == 0) {
        return slice(NULL, 0);
    }
    self->left--;
    const item_t *item = merge_next(self);
    return slice(self->arena.data + item->offset, item->len);
}
