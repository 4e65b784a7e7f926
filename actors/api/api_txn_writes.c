/* The duplicate rule of a Txn (contract section 3.4): in one branch no key is put twice, and none is
 * put that the branch also deletes. Children are siblings of each other in order: a put of one
 * child collides with deletes of the children before it and of this level, and the branches of one
 * nested Txn may touch the same key, as only one of them runs.
 *
 * Keys are kept sorted and deletes as disjoint intervals, so that the work is O(n log n) per level
 * of nesting and not the product of puts and deletes. */
#include <stdlib.h>

#include "actors/api/api_txn.h"
#include "messages/xalloc.h"

typedef Etcdserverpb__RequestOp op_t;

typedef struct {
    slice_t begin,
        end; /* half-open, but `begin` always belongs to it: a single key ends at itself */
} span_t;

typedef struct {
    span_t *items; /* puts: sorted by begin; deletes: sorted and disjoint */
    size_t count, capacity;
} spans_t;

typedef struct {
    spans_t puts, deletes;
} writes_t;

static void writes_deinit(writes_t *self)
{
    free(self->puts.items);
    free(self->deletes.items);
    *self = (writes_t){0};
}

static void add(spans_t *self, slice_t begin, slice_t end)
{
    self->items = xgrow(self->items, &self->capacity, self->count + 1, sizeof *self->items);
    self->items[self->count++] = (span_t){.begin = begin, .end = end};
}

static int by_begin(const void *a, const void *b)
{
    return slice_compare(((const span_t *)a)->begin, ((const span_t *)b)->begin);
}

static void sort(spans_t *self)
{
    if (self->count > 1) {
        qsort(self->items, self->count, sizeof *self->items, by_begin);
    }
}

/* Sorted spans become disjoint ones. */
static void coalesce(spans_t *self)
{
    size_t kept = 0;
    for (size_t i = 1; i < self->count; i++) {
        span_t *last = &self->items[kept];
        const span_t *span = &self->items[i];
        bool touches =
            slice_compare(span->begin, last->end) < 0 || slice_equal(span->begin, last->begin);
        if (!touches) {
            self->items[++kept] = *span;
        } else if (slice_compare(span->end, last->end) > 0) {
            last->end = span->end;
        }
    }
    self->count = self->count ? kept + 1 : 0;
}

/* Both sorted; `from` is empty afterwards. */
static void merge(spans_t *self, spans_t *from)
{
    spans_t all = {.items = xcalloc(self->count + from->count + 1, sizeof(span_t)),
                   .capacity = self->count + from->count + 1};
    size_t a = 0;
    size_t b = 0;
    while (a < self->count || b < from->count) {
        bool take_a = b == from->count ||
                      (a < self->count && by_begin(&self->items[a], &from->items[b]) <= 0);
        all.items[all.count++] = take_a ? self->items[a++] : from->items[b++];
    }
    free(self->items);
    free(from->items);
    *self = all;
    *from = (spans_t){0};
}

/* The last span that begins at or before `key`, or NULL. */
static const span_t *span_at(const spans_t *self, slice_t key)
{
    size_t low = 0;
    size_t high = self->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (slice_compare(self->items[middle].begin, key) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low ? &self->items[low - 1] : NULL;
}

static bool holds_key(const spans_t *keys, slice_t key)
{
    const span_t *span = span_at(keys, key);
    return span && slice_equal(span->begin, key);
}

static bool is_deleted(const spans_t *deletes, slice_t key)
{
    const span_t *span = span_at(deletes, key);
    return span && (slice_equal(span->begin, key) || slice_compare(key, span->end) < 0);
}

/* As in etcd, "\0" is no open end here: such an interval is empty. */
static void collect_deletes(spans_t *deletes, op_t *const *ops, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (ops[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE) {
            continue;
        }
        const Etcdserverpb__DeleteRangeRequest *request = ops[i]->request_delete_range;
        slice_t begin = slice(request->key.data, request->key.len);
        slice_t end = slice(request->range_end.data, request->range_end.len);
        if (end.len == 0) {
            add(deletes, begin, begin);
        } else if (slice_compare(begin, end) < 0) {
            add(deletes, begin, end);
        }
    }
    sort(deletes);
    coalesce(deletes);
}

/* Is one of `puts` put or deleted in `all` already? Keys in `mutually_exclusive` don't count. */
static bool collides(const spans_t *puts, const writes_t *all, const spans_t *mutually_exclusive)
{
    for (size_t i = 0; i < puts->count; i++) {
        slice_t key = puts->items[i].begin;
        if (mutually_exclusive && holds_key(mutually_exclusive, key)) {
            continue;
        }
        if (holds_key(&all->puts, key) || is_deleted(&all->deletes, key)) {
            return true;
        }
    }
    return false;
}

static api_error_t collect(op_t *const *ops, size_t count, writes_t *out);

static api_error_t add_child(writes_t *out, const Etcdserverpb__TxnRequest *child)
{
    writes_t then = {0};
    writes_t other = {0};
    api_error_t error = collect(child->success, child->n_success, &then);
    if (!error) {
        error = collect(child->failure, child->n_failure, &other);
    }
    if (!error && (collides(&then.puts, out, NULL) || collides(&other.puts, out, &then.puts))) {
        error = API_DUPLICATE_KEY;
    }
    if (!error) {
        merge(&out->puts, &then.puts);
        merge(&out->puts, &other.puts);
        merge(&out->deletes, &then.deletes);
        merge(&out->deletes, &other.deletes);
        coalesce(&out->deletes);
    }
    writes_deinit(&then);
    writes_deinit(&other);
    return error;
}

/* This level's own puts, after those of all children. */
static api_error_t add_puts(writes_t *out, op_t *const *ops, size_t count)
{
    spans_t puts = {0};
    for (size_t i = 0; i < count; i++) {
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT) {
            slice_t key = slice(ops[i]->request_put->key.data, ops[i]->request_put->key.len);
            add(&puts, key, key);
        }
    }
    sort(&puts);
    bool twice = collides(&puts, out, NULL);
    for (size_t i = 1; i < puts.count; i++) {
        twice |= slice_equal(puts.items[i].begin, puts.items[i - 1].begin);
    }
    merge(&out->puts, &puts);
    return twice ? API_DUPLICATE_KEY : API_NONE;
}

static api_error_t collect(op_t *const *ops, size_t count, writes_t *out)
{
    api_error_t error = API_NONE;
    collect_deletes(&out->deletes, ops, count);
    for (size_t i = 0; !error && i < count; i++) {
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN) {
            error = add_child(out, ops[i]->request_txn);
        }
    }
    return error ? error : add_puts(out, ops, count);
}

static api_error_t check_branch(op_t *const *ops, size_t count)
{
    bool alone =
        count == 1 && ops[0]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
    if (count == 0 || alone) {
        return API_NONE; /* most transactions: nothing to compare with */
    }
    writes_t writes = {0};
    api_error_t error = collect(ops, count, &writes);
    writes_deinit(&writes);
    return error;
}

api_error_t api_check_txn_writes(const Etcdserverpb__TxnRequest *txn)
{
    api_error_t error = check_branch(txn->success, txn->n_success);
    return error ? error : check_branch(txn->failure, txn->n_failure);
}
