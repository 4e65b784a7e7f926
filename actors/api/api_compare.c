#include "actors/api/api_compare.h"

#include <assert.h>

#include "messages/limits.h"
#include "messages/wire.h"
#include "store/mvcc_compare.h"

/* ---- one key ---- */

static int run_key(const view_t *view, const Etcdserverpb__Compare *compare)
{
    kv_value_t value;
    mvcc_record_t record;
    int rc = mvcc_get(view->reader, slice(compare->key.data, compare->key.len), &value, &record);
    if (rc < 0) {
        return rc;
    }
    bool holds = mvcc_compare_holds(compare, rc == 0 ? &record : NULL);
    if (rc == 0) {
        kv_value_deinit(&value);
    }
    return holds ? COMPARE_TRUE : COMPARE_FALSE;
}

/* ---- an interval ---- */

void compare_run_deinit(compare_run_t *self)
{
    mvcc_cursor_destroy(&self->cursor);
    buf_deinit(&self->kvs);
    self->seen = false;
}

/* Field 2..6 of mvccpb.KeyValue, as the store writes them. */
static void read_record(slice_t kv, mvcc_record_t *record)
{
    *record = (mvcc_record_t){0};
    wire_field_t field;
    while (wire_next(&kv, &field) == 0) {
        switch (field.number) {
        case 2: record->create_revision = (int64_t)field.value; break;
        case 3: record->mod_revision = (int64_t)field.value; break;
        case 4: record->version = (int64_t)field.value; break;
        case 5: record->value = field.data; break;
        case 6: record->lease = (int64_t)field.value; break;
        default: break;
        }
    }
}

/* The keys of one slice: does the compare hold for all of them? */
static bool check_kvs(compare_run_t *self, const Etcdserverpb__Compare *compare)
{
    slice_t rest = buf_slice(&self->kvs);
    wire_field_t kv;
    mvcc_record_t record;
    while (wire_next(&rest, &kv) == 0) {
        self->seen = true;
        read_record(kv.data, &record);
        if (!mvcc_compare_holds(compare, &record)) {
            return false;
        }
    }
    return true;
}

static int open_interval(compare_run_t *self, const view_t *view,
                         const Etcdserverpb__Compare *compare)
{
    mvcc_range_t range = {
        .interval = {.key = slice(compare->key.data, compare->key.len),
                     .range_end = slice(compare->range_end.data, compare->range_end.len)}};
    int rc = mvcc_cursor_new(&self->cursor, view->reader, &view->head, &range);
    assert(rc <= 0); /* the latest revision is neither compacted nor in the future */
    return rc;
}

int compare_run(compare_run_t *self, const view_t *view, const Etcdserverpb__Compare *compare,
                size_t *keys)
{
    static const mvcc_budget_t budget = {.keys = LIMIT_RANGE_SLICE_KEYS,
                                         .bytes = LIMIT_RANGE_SLICE_BYTES};
    if (compare->range_end.len == 0) {
        *keys += 1;
        return run_key(view, compare);
    }
    int rc = self->cursor ? 0 : open_interval(self, view, compare);
    if (rc < 0) {
        return rc;
    }
    buf_clear(&self->kvs);
    int64_t before = mvcc_cursor_emitted(self->cursor);
    rc = mvcc_cursor_step(self->cursor, budget, &self->kvs);
    if (rc < 0) {
        return rc;
    }
    *keys += (size_t)(mvcc_cursor_emitted(self->cursor) - before) + 1;
    bool holds = check_kvs(self, compare);
    if (holds && rc == MVCC_MORE_WORK) {
        return MVCC_MORE_WORK;
    }
    holds = holds && (self->seen || mvcc_compare_holds(compare, NULL));
    compare_run_deinit(self);
    return holds ? COMPARE_TRUE : COMPARE_FALSE;
}
