#include "tests/support/mvcc_model.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/xalloc.h"

typedef struct {
    bytes_t *key, *value;
    int64_t main, sub;
    bool is_delete;
    int64_t create, version, lease;
} change_t;

struct mvcc_model {
    change_t *changes;
    size_t count, capacity;
    int64_t revision, compacted;
    int64_t sub; /* in the open entry */
    int64_t leases[64];
    size_t lease_count;
};

mvcc_model_t *mvcc_model_new(void)
{
    mvcc_model_t *self = xcalloc(1, sizeof *self);
    self->revision = 1;
    self->compacted = -1;
    return self;
}

void mvcc_model_destroy(mvcc_model_t **self_p)
{
    mvcc_model_t *self = *self_p;
    *self_p = NULL;
    for (size_t i = 0; i < self->count; i++) {
        bytes_unref(&self->changes[i].key);
        bytes_unref(&self->changes[i].value);
    }
    free(self->changes);
    free(self);
}

int64_t mvcc_model_revision(const mvcc_model_t *self)
{
    return self->revision;
}

int64_t mvcc_model_compacted(const mvcc_model_t *self)
{
    return self->compacted;
}

void mvcc_model_begin(mvcc_model_t *self)
{
    self->sub = 0;
}

void mvcc_model_end(mvcc_model_t *self)
{
    self->revision += self->sub > 0;
    self->sub = 0;
}

/* The newest change of a key with main <= revision; NULL when there is none. */
static const change_t *newest(const mvcc_model_t *self, slice_t key, int64_t revision)
{
    for (size_t i = self->count; i > 0; i--) {
        const change_t *change = &self->changes[i - 1];
        if (change->main <= revision && slice_equal(bytes_slice(change->key), key)) {
            return change;
        }
    }
    return NULL;
}

static const change_t *live(const mvcc_model_t *self, slice_t key, int64_t revision)
{
    const change_t *change = newest(self, key, revision);
    return change && !change->is_delete ? change : NULL;
}

bool mvcc_model_live(const mvcc_model_t *self, slice_t key)
{
    return live(self, key, INT64_MAX) != NULL;
}

static void add(mvcc_model_t *self, const change_t *change)
{
    self->changes = xgrow(self->changes, &self->capacity, self->count + 1, sizeof *self->changes);
    self->changes[self->count] = *change;
    self->changes[self->count].main = self->revision + 1;
    self->changes[self->count].sub = self->sub++;
    self->count++;
}

void mvcc_model_put(mvcc_model_t *self, slice_t key, slice_t value, int64_t lease)
{
    const change_t *old = live(self, key, INT64_MAX);
    add(self, &(change_t){
                  .key = bytes_new(key.data, key.len),
                  .value = bytes_new(value.data, value.len),
                  .create = old ? old->create : self->revision + 1,
                  .version = old ? old->version + 1 : 1,
                  .lease = lease,
              });
}

static int by_key(const void *a, const void *b)
{
    const change_t *const *left = a;
    const change_t *const *right = b;
    return slice_compare(bytes_slice((*left)->key), bytes_slice((*right)->key));
}

static bool inside(const mvcc_interval_t *interval, slice_t key)
{
    if (interval->range_end.len == 0) {
        return slice_equal(key, interval->key);
    }
    bool open = slice_equal(interval->range_end, slice("", 1));
    return slice_compare(key, interval->key) >= 0 &&
           (open || slice_compare(key, interval->range_end) < 0);
}

/* The live changes at a revision inside an interval, in key order. The array is the caller's. */
static const change_t **select_live(const mvcc_model_t *self, const mvcc_interval_t *interval,
                                    int64_t revision, size_t *count)
{
    const change_t **found = xmalloc((self->count + 1) * sizeof *found);
    *count = 0;
    for (size_t i = 0; i < self->count; i++) {
        const change_t *change = &self->changes[i];
        slice_t key = bytes_slice(change->key);
        if (inside(interval, key) && change->main <= revision && !change->is_delete &&
            newest(self, key, revision) == change) {
            found[(*count)++] = change;
        }
    }
    qsort(found, *count, sizeof *found, by_key);
    return found;
}

static void delete_all(mvcc_model_t *self, const change_t **found, size_t count)
{
    bytes_t **keys = xmalloc((count + 1) * sizeof *keys); /* adding moves what `found` points to */
    for (size_t i = 0; i < count; i++) {
        keys[i] = bytes_ref(found[i]->key);
    }
    for (size_t i = 0; i < count; i++) {
        add(self, &(change_t){.key = keys[i], .is_delete = true});
    }
    free(keys);
}

int64_t mvcc_model_delete(mvcc_model_t *self, const mvcc_interval_t *interval)
{
    size_t count = 0;
    const change_t **found = select_live(self, interval, INT64_MAX, &count);
    delete_all(self, found, count);
    free(found);
    return (int64_t)count;
}

void mvcc_model_compact(mvcc_model_t *self, int64_t revision)
{
    self->compacted = revision;
}

void mvcc_model_grant(mvcc_model_t *self, int64_t lease)
{
    assert(self->lease_count < 64);
    self->leases[self->lease_count++] = lease;
}

bool mvcc_model_has_lease(const mvcc_model_t *self, int64_t lease)
{
    for (size_t i = 0; i < self->lease_count; i++) {
        if (self->leases[i] == lease) {
            return true;
        }
    }
    return false;
}

static const mvcc_interval_t everything = {.key = {(const uint8_t *)"", 1},
                                           .range_end = {(const uint8_t *)"", 1}};

static const change_t **select_lease(const mvcc_model_t *self, int64_t lease, size_t *count)
{
    size_t all = 0;
    const change_t **found = select_live(self, &everything, INT64_MAX, &all);
    *count = 0;
    for (size_t i = 0; i < all; i++) {
        if (found[i]->lease == lease) {
            found[(*count)++] = found[i];
        }
    }
    return found;
}

void mvcc_model_revoke(mvcc_model_t *self, int64_t lease)
{
    size_t count = 0;
    const change_t **found = select_lease(self, lease, &count);
    delete_all(self, found, count);
    free(found);
    for (size_t i = 0; i < self->lease_count; i++) {
        if (self->leases[i] == lease) {
            self->leases[i] = self->leases[--self->lease_count];
        }
    }
}

void mvcc_model_lease_keys(const mvcc_model_t *self, int64_t lease, buf_t *out)
{
    size_t count = 0;
    const change_t **found = select_lease(self, lease, &count);
    for (size_t i = 0; i < count; i++) {
        buf_field_bytes(out, 5, bytes_slice(found[i]->key));
    }
    free(found);
}

static void encode(buf_t *out, const change_t *change, bool keys_only, bool no_lease)
{
    buf_field_bytes(out, 1, bytes_slice(change->key));
    buf_field_u64(out, 2, (uint64_t)change->create);
    buf_field_u64(out, 3, (uint64_t)change->main);
    if (change->is_delete) {
        return;
    }
    buf_field_u64(out, 4, (uint64_t)change->version);
    if (!keys_only && bytes_len(change->value)) {
        buf_field_bytes(out, 5, bytes_slice(change->value));
    }
    if (!no_lease) {
        buf_field_u64(out, 6, (uint64_t)change->lease);
    }
}

static bool filtered(const mvcc_range_t *range, const change_t *change)
{
    return (range->max_mod_revision && change->main > range->max_mod_revision) ||
           (range->min_mod_revision && change->main < range->min_mod_revision) ||
           (range->max_create_revision && change->create > range->max_create_revision) ||
           (range->min_create_revision && change->create < range->min_create_revision);
}

static int compare_target(const change_t *a, const change_t *b, mvcc_sort_target_t target)
{
    switch (target) {
    case SORT_VERSION: return a->version < b->version ? -1 : a->version > b->version;
    case SORT_CREATE: return a->create < b->create ? -1 : a->create > b->create;
    case SORT_MOD: return a->main < b->main ? -1 : a->main > b->main;
    case SORT_VALUE: return slice_compare(bytes_slice(a->value), bytes_slice(b->value));
    case SORT_KEY: break;
    }
    return slice_compare(bytes_slice(a->key), bytes_slice(b->key));
}

/* Insertion sort: stable, and short. */
static void sort(const change_t **found, size_t count, const mvcc_range_t *range)
{
    int sign = range->sort_order == SORT_DESCEND ? -1 : 1;
    for (size_t i = 1; i < count; i++) {
        for (size_t j = i;
             j > 0 && sign * compare_target(found[j - 1], found[j], range->sort_target) > 0; j--) {
            const change_t *swap = found[j];
            found[j] = found[j - 1];
            found[j - 1] = swap;
        }
    }
}

void mvcc_model_range(const mvcc_model_t *self, const mvcc_range_t *range, buf_t *out)
{
    int64_t at = range->revision <= 0 ? self->revision : range->revision;
    size_t count = 0;
    const change_t **found = select_live(self, &range->interval, at, &count);
    size_t total = count;
    bool by_key_ascending = range->sort_order == SORT_NONE ||
                            (range->sort_order == SORT_ASCEND && range->sort_target == SORT_KEY);
    bool filters = range->max_mod_revision || range->min_mod_revision ||
                   range->max_create_revision || range->min_create_revision;
    if (range->limit > 0 && by_key_ascending && !filters && count > (size_t)range->limit + 1) {
        count = (size_t)range->limit + 1;
    }
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (!filtered(range, found[i])) {
            found[kept++] = found[i];
        }
    }
    sort(found, kept, range);
    bool more = range->limit > 0 && kept > (size_t)range->limit;
    kept = more ? (size_t)range->limit : kept;
    for (size_t i = 0; i < kept && !range->count_only; i++) {
        buf_t kv = {0};
        encode(&kv, found[i], range->keys_only,
               range->keys_only && range->sort_target != SORT_VALUE);
        buf_field_bytes(out, 2, buf_slice(&kv));
        buf_deinit(&kv);
    }
    buf_field_u64(out, 3, more && !range->count_only);
    buf_field_u64(out, 4, total);
    free(found);
}

void mvcc_model_event_bytes(buf_t *out, const mvcc_event_t *event)
{
    buf_byte(out, event->is_delete);
    buf_varint(out, (uint64_t)event->revision);
    buf_varint(out, (uint64_t)event->sub);
    buf_varint(out, event->kv.len);
    buf_append(out, event->kv.data, event->kv.len);
    buf_varint(out, event->prev_kv.len);
    buf_append(out, event->prev_kv.data, event->prev_kv.len);
}

/* What the key of changes[at] was before that revision; NULL for a put that creates it. */
static const change_t *previous(const mvcc_model_t *self, size_t at)
{
    const change_t *change = &self->changes[at];
    if (!change->is_delete && change->create == change->main) {
        return NULL;
    }
    for (size_t i = at; i > 0; i--) {
        if (self->changes[i - 1].main < change->main &&
            slice_equal(bytes_slice(self->changes[i - 1].key), bytes_slice(change->key))) {
            return &self->changes[i - 1];
        }
    }
    return NULL;
}

void mvcc_model_events(const mvcc_model_t *self, int64_t from, int64_t to,
                       const mvcc_interval_t *intervals, size_t interval_count, buf_t *out)
{
    for (size_t i = 0; i < self->count; i++) {
        const change_t *change = &self->changes[i];
        slice_t key = bytes_slice(change->key);
        bool in = interval_count == 0;
        for (size_t j = 0; j < interval_count; j++) {
            in = in || inside(&intervals[j], key);
        }
        if (!in || change->main < from || change->main > to ||
            (change->main == self->compacted && newest(self, key, self->compacted) != change)) {
            continue;
        }
        const change_t *before = previous(self, i);
        buf_t kv = {0};
        buf_t prev_kv = {0};
        encode(&kv, change, false, false);
        if (before && !before->is_delete && change->main > self->compacted) {
            encode(&prev_kv, before, false, false);
        }
        mvcc_event_t event = {
            .is_delete = change->is_delete,
            .revision = change->main,
            .sub = change->sub,
            .kv = buf_slice(&kv),
            .prev_kv = buf_slice(&prev_kv),
        };
        mvcc_model_event_bytes(out, &event);
        buf_deinit(&kv);
        buf_deinit(&prev_kv);
    }
}
