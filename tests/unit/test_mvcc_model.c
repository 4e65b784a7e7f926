/* Shows that mvcc gives the answers of a simple model (tests/support/mvcc_model.h), whatever the
 * sequence of puts, deletes, leases and compactions: ranges with all options at all readable
 * revisions, events, lease keys. And that spans, restarts and the progress of compaction leave no
 * trace: the same entries in other spans give the same bytes, the same answers and the same hash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "actors/core/prng.h"
#include "messages/errors.h"
#include "messages/xalloc.h"
#include "store/mvcc_write.h"
#include "tests/support/mvcc_model.h"

enum { SEEDS = 30, ENTRIES = 120, QUESTIONS = 60 };

/* Keys that are prefixes of each other and hold the bytes that escaping must survive. */
static const struct {
    const char *data;
    size_t len;
} keys[] = {
    {"a", 1},     {"a\0", 2},     {"a\0\0", 3},  {"a\0\1", 3}, {"a\0\xff", 3}, {"a\1", 2},
    {"ab", 2},    {"b", 1},       {"\0", 1},     {"\0\0", 2},  {"\xff", 1},    {"\xff\xff", 2},
    {"key/1", 5}, {"key/1\0", 6}, {"key/10", 6}, {"key/2", 5}, {"z", 1},
};
enum { KEYS = sizeof keys / sizeof *keys };

static slice_t any_key(prng_t *prng)
{
    size_t i = prng_below(prng, KEYS);
    return slice(keys[i].data, keys[i].len);
}

static mvcc_interval_t any_interval(prng_t *prng)
{
    mvcc_interval_t interval = {.key = any_key(prng)};
    switch (prng_below(prng, 4)) {
    case 0: break; /* a single key */
    case 1: interval.range_end = slice("", 1); break;
    default: interval.range_end = any_key(prng); break;
    }
    return interval;
}

/* One store and the way it is driven: how long its spans are, how eagerly it compacts, restarts. */
typedef struct {
    kv_t *kv;
    mvcc_t *mvcc;
    uint64_t span_entries; /* up to so many; 1 = every entry alone */
    uint64_t in_span;
    size_t compact_rows; /* per step after each span; 0 = never */
    bool restarts;
    prng_t prng; /* for what must not matter */
} subject_t;

static void open_mvcc(subject_t *self)
{
    char *error = NULL;
    assert_int_equal(mvcc_new(&self->mvcc, self->kv, &error), 0);
}

static void subject_init(subject_t *self, uint64_t span_entries, size_t compact_rows, bool restarts)
{
    *self = (subject_t){
        .span_entries = span_entries, .compact_rows = compact_rows, .restarts = restarts};
    self->kv = kv_memory_new();
    open_mvcc(self);
}

static void subject_deinit(subject_t *self)
{
    mvcc_destroy(&self->mvcc);
    kv_close(&self->kv);
}

static void finish_span(subject_t *self)
{
    assert_int_equal(mvcc_commit(self->mvcc), 0);
    self->in_span = 0;
    size_t removed = 0;
    if (self->compact_rows) {
        assert_true(mvcc_compact_step(self->mvcc, self->compact_rows, &removed) >= 0);
    }
    if (self->restarts && prng_below(&self->prng, 10) == 0) {
        mvcc_destroy(&self->mvcc);
        open_mvcc(self);
    }
}

static void end_entry(subject_t *self)
{
    mvcc_entry_end(self->mvcc);
    if (++self->in_span >= self->span_entries) {
        finish_span(self);
    }
}

/* ---- random entries ---- */

static void do_put(subject_t *subject, mvcc_model_t *model, prng_t *prng)
{
    char value[40];
    size_t len = prng_below(prng, sizeof value);
    memset(value, (int)('a' + prng_below(prng, 4)), sizeof value);
    slice_t key = any_key(prng);
    int64_t lease = (int64_t)prng_below(prng, 6) - 1; /* -1 .. 4, 0 = none */
    lease = mvcc_model_has_lease(model, lease) ? lease : 0;
    mvcc_put_t put = {.key = key, .value = slice(value, len), .lease = lease};
    bool existed = false;
    assert_int_equal(mvcc_put_check(subject->mvcc, &put), 0);
    bool expected = mvcc_model_live(model, key);
    assert_int_equal(mvcc_put(subject->mvcc, &put, NULL, &existed), 0);
    assert_int_equal(existed, expected);
    mvcc_model_put(model, key, put.value, lease);
}

static void do_delete(subject_t *subject, mvcc_model_t *model, prng_t *prng)
{
    mvcc_interval_t interval = any_interval(prng);
    int64_t deleted = 0;
    assert_int_equal(mvcc_delete_range(subject->mvcc, &interval, &deleted, NULL), 0);
    assert_int_equal(deleted, mvcc_model_delete(model, &interval));
}

static void do_lease(subject_t *subject, mvcc_model_t *model, prng_t *prng)
{
    int64_t lease = (int64_t)prng_below(prng, 6) - 1;
    if (lease == 0) {
        return;
    }
    bool has = mvcc_model_has_lease(model, lease);
    if (prng_below(prng, 2)) {
        assert_int_equal(mvcc_lease_grant(subject->mvcc, lease, 10), has ? API_LEASE_EXISTS : 0);
        if (!has) {
            mvcc_model_grant(model, lease);
        }
        return;
    }
    assert_int_equal(mvcc_lease_revoke(subject->mvcc, lease), has ? 0 : API_LEASE_NOT_FOUND);
    if (has) {
        mvcc_model_revoke(model, lease);
    }
}

static void do_compact(subject_t *subject, mvcc_model_t *model, prng_t *prng)
{
    int64_t revision = mvcc_model_revision(model) - (int64_t)prng_below(prng, 30);
    int expected = revision <= mvcc_model_compacted(model) ? API_COMPACTED : 0;
    assert_int_equal(mvcc_compact(subject->mvcc, mvcc_model_revision(model) + 1),
                     API_FUTURE_REVISION);
    assert_int_equal(mvcc_compact(subject->mvcc, revision), expected);
    if (!expected) {
        mvcc_model_compact(model, revision);
    }
}

static void one_entry(subject_t *subject, mvcc_model_t *model, prng_t *prng, uint64_t index)
{
    mvcc_entry_begin(subject->mvcc, index, 7);
    mvcc_model_begin(model);
    uint64_t what = prng_below(prng, 100);
    size_t changes = prng_below(prng, 8) ? 1 : 1 + prng_below(prng, 6); /* a transaction */
    if (what < 8) {
        do_compact(subject, model, prng);
    } else if (what < 18) {
        do_lease(subject, model, prng);
    } else {
        for (size_t i = 0; i < changes; i++) {
            if (prng_below(prng, 100) < 75) {
                do_put(subject, model, prng);
            } else {
                do_delete(subject, model, prng);
            }
        }
    }
    mvcc_model_end(model);
    end_entry(subject);
}

/* ---- questions ---- */

static mvcc_range_t any_range(prng_t *prng, const mvcc_model_t *model)
{
    int64_t revision = mvcc_model_revision(model);
    int64_t oldest = mvcc_model_compacted(model) < 1 ? 1 : mvcc_model_compacted(model);
    mvcc_range_t range = {
        .interval = any_interval(prng),
        .limit = prng_below(prng, 2) ? (int64_t)prng_below(prng, 6) : 0,
        .revision = prng_below(prng, 2)
                        ? oldest + (int64_t)prng_below(prng, (uint64_t)(revision - oldest + 1))
                        : 0,
        .sort_order = prng_below(prng, 2) ? (mvcc_sort_order_t)prng_below(prng, 3) : SORT_NONE,
        .sort_target = (mvcc_sort_target_t)prng_below(prng, 5),
        .keys_only = prng_below(prng, 4) == 0,
        .count_only = prng_below(prng, 6) == 0,
    };
    if (prng_below(prng, 4) == 0) {
        int64_t *filters[] = {&range.min_mod_revision, &range.max_mod_revision,
                              &range.min_create_revision, &range.max_create_revision};
        *filters[prng_below(prng, 4)] = 1 + (int64_t)prng_below(prng, (uint64_t)revision);
    }
    return range;
}

static void assert_same_bytes(const buf_t *actual, const buf_t *expected)
{
    assert_int_equal(actual->len, expected->len);
    if (actual->len) {
        assert_memory_equal(actual->data, expected->data, actual->len);
    }
}

/* The whole answer, by steps of a small budget. */
static void range_in_slices(const kv_reader_t *reader, const mvcc_range_t *range, prng_t *prng,
                            buf_t *out)
{
    mvcc_head_t head;
    mvcc_cursor_t *cursor = NULL;
    assert_int_equal(mvcc_head(reader, &head), 0);
    assert_int_equal(mvcc_cursor_new(&cursor, reader, &head, range), 0);
    mvcc_budget_t budget = {.keys = 1 + prng_below(prng, 5), .bytes = 1 + prng_below(prng, 100)};
    int rc = MVCC_MORE_WORK;
    for (int i = 0; rc == MVCC_MORE_WORK; i++) {
        rc = mvcc_cursor_step(cursor, budget, out);
        assert_true(i < 10000);
    }
    assert_int_equal(rc, 0);
    buf_field_u64(out, 3, mvcc_cursor_more(cursor));
    buf_field_u64(out, 4, (uint64_t)mvcc_cursor_count(cursor));
    mvcc_cursor_destroy(&cursor);
}

static void ask_range(subject_t *subject, const mvcc_model_t *model, prng_t *prng)
{
    mvcc_range_t range = any_range(prng, model);
    buf_t expected = {0};
    buf_t actual = {0};
    mvcc_model_range(model, &range, &expected);
    const kv_reader_t *reader = mvcc_reader(subject->mvcc); /* the open span included */
    assert_int_equal(mvcc_range(reader, mvcc_current(subject->mvcc), &range, &actual), 0);
    assert_same_bytes(&actual, &expected);
    if (subject->in_span == 0) {
        kv_snapshot_t *snapshot = kv_snapshot_new(subject->kv);
        buf_clear(&actual);
        range_in_slices(kv_snapshot_reader(snapshot), &range, prng, &actual);
        kv_snapshot_destroy(&snapshot);
        assert_same_bytes(&actual, &expected);
    }
    buf_deinit(&expected);
    buf_deinit(&actual);
}

static int note_event(void *context, const mvcc_event_t *event)
{
    mvcc_model_event_bytes(context, event);
    return 0;
}

static void ask_events(subject_t *subject, const mvcc_model_t *model, prng_t *prng)
{
    int64_t compacted = mvcc_model_compacted(model);
    int64_t from = (compacted < 1 ? 1 : compacted) + (int64_t)prng_below(prng, 30);
    int64_t to = from + (int64_t)prng_below(prng, 30);
    mvcc_interval_t intervals[2] = {any_interval(prng), any_interval(prng)};
    size_t count = prng_below(prng, 3);
    buf_t expected = {0};
    buf_t actual = {0};
    mvcc_model_events(model, from, to, intervals, count, &expected);
    const mvcc_head_t *head = mvcc_current(subject->mvcc);
    while (from <= to) {
        int64_t next = 0;
        assert_int_equal(mvcc_events(mvcc_reader(subject->mvcc), head, from, to, intervals, count,
                                     true, 1 + prng_below(prng, 10), note_event, &actual, &next),
                         0);
        assert_true(next > from);
        from = next;
    }
    assert_same_bytes(&actual, &expected);
    buf_deinit(&expected);
    buf_deinit(&actual);
}

/* Stops in front of every other event: it comes again. */
typedef struct {
    buf_t *out;
    bool stopped;
} stopping_t;

static int note_event_or_stop(void *context, const mvcc_event_t *event)
{
    stopping_t *self = context;
    self->stopped = !self->stopped;
    if (self->stopped) {
        return 1;
    }
    mvcc_model_event_bytes(self->out, event);
    return 0;
}

static void ask_events_from_a_place(subject_t *subject, const mvcc_model_t *model, prng_t *prng)
{
    int64_t compacted = mvcc_model_compacted(model);
    mvcc_place_t from = {.revision =
                             (compacted < 1 ? 1 : compacted) + (int64_t)prng_below(prng, 30)};
    int64_t to = from.revision + (int64_t)prng_below(prng, 30);
    mvcc_interval_t interval = any_interval(prng);
    buf_t expected = {0};
    buf_t actual = {0};
    mvcc_model_events(model, from.revision, to, &interval, 1, &expected);
    stopping_t stopping = {.out = &actual};
    while (from.revision <= to) {
        mvcc_place_t before = from;
        int rc = mvcc_events_from(mvcc_reader(subject->mvcc), mvcc_current(subject->mvcc), &from,
                                  to, &interval, true, 1 + prng_below(prng, 3), note_event_or_stop,
                                  &stopping);
        assert_int_equal(rc, stopping.stopped && rc ? 1 : 0);
        assert_true(rc == 1 || from.revision > before.revision || from.sub > before.sub);
    }
    assert_same_bytes(&actual, &expected);
    buf_deinit(&expected);
    buf_deinit(&actual);
}

static int note_key(void *context, slice_t key)
{
    buf_field_bytes(context, 5, key);
    return 0;
}

static void ask_lease(subject_t *subject, const mvcc_model_t *model, prng_t *prng)
{
    int64_t lease = 1 + (int64_t)prng_below(prng, 4);
    buf_t expected = {0};
    buf_t actual = {0};
    mvcc_model_lease_keys(model, lease, &expected);
    assert_int_equal(
        mvcc_lease_keys(mvcc_reader(subject->mvcc), lease, slice(NULL, 0), note_key, &actual), 0);
    assert_same_bytes(&actual, &expected);
    buf_deinit(&expected);
    buf_deinit(&actual);
}

static void ask(subject_t *subject, const mvcc_model_t *model, prng_t *prng)
{
    assert_int_equal(mvcc_current(subject->mvcc)->revision, mvcc_model_revision(model));
    assert_int_equal(mvcc_current(subject->mvcc)->compacted, mvcc_model_compacted(model));
    uint64_t live = 0;
    for (size_t i = 0; i < KEYS; i++) {
        live += mvcc_model_live(model, slice(keys[i].data, keys[i].len));
    }
    assert_int_equal(mvcc_keys(subject->mvcc), live);
    for (int i = 0; i < QUESTIONS; i++) {
        ask_range(subject, model, prng);
    }
    for (int i = 0; i < QUESTIONS / 10; i++) {
        ask_events(subject, model, prng);
        ask_events_from_a_place(subject, model, prng);
        ask_lease(subject, model, prng);
    }
}

/* ---- the tests ---- */

static void drive(subject_t *subject, mvcc_model_t *model, uint64_t seed, bool questions)
{
    prng_t prng = {.state = seed};
    prng_t asking = {.state = ~seed};
    for (uint64_t i = 1; i <= ENTRIES; i++) {
        one_entry(subject, model, &prng, i);
        if (questions && i % 20 == 0) {
            ask(subject, model, &asking);
        }
    }
    if (subject->in_span) {
        finish_span(subject);
    }
}

static void answers_are_the_models(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        subject_t subject;
        subject_init(&subject, 1 + seed % 7, seed % 3 ? 5 : 0, seed % 2);
        mvcc_model_t *model = mvcc_model_new();
        drive(&subject, model, seed, true);
        ask(&subject, model, &subject.prng);
        mvcc_model_destroy(&model);
        subject_deinit(&subject);
    }
}

static bool is_progress(slice_t stored)
{
    return slice_equal(stored, slice_str("Mcompaction"));
}

/* Everything in the store but the progress of compaction. */
static void dump(kv_t *kv, buf_t *out)
{
    kv_iter_t *iter = kv_iter_new(kv_latest(kv));
    for (iter->ops->seek(iter, slice(NULL, 0)); iter->ops->valid(iter); iter->ops->next(iter)) {
        slice_t key = iter->ops->key(iter);
        if (!is_progress(key)) {
            buf_field_bytes(out, 1, key);
            buf_field_bytes(out, 2, iter->ops->value(iter));
        }
    }
    kv_iter_destroy(&iter);
}

static void finish_compaction(subject_t *subject)
{
    size_t removed = 0;
    while (mvcc_compact_pending(subject->mvcc)) {
        assert_true(mvcc_compact_step(subject->mvcc, 3, &removed) >= 0);
    }
    assert_int_equal(mvcc_compact_step(subject->mvcc, 3, &removed), 0);
    assert_int_equal(removed, 0);
}

static uint32_t hash_at(const subject_t *subject, int64_t revision)
{
    mvcc_head_t head;
    uint32_t hash = 0;
    kv_snapshot_t *snapshot = kv_snapshot_new(subject->kv);
    const kv_reader_t *reader = kv_snapshot_reader(snapshot);
    assert_int_equal(mvcc_head(reader, &head), 0);
    assert_int_equal(mvcc_hash(reader, &head, revision, &hash), 0);
    /* In slices it is the same. */
    mvcc_hasher_t *hasher = NULL;
    assert_int_equal(mvcc_hasher_new(&hasher, reader, &head, revision), 0);
    size_t rows = 1 + (size_t)head.revision % 5;
    int rc = 0;
    do {
        rc = mvcc_hasher_step(hasher, rows);
    } while (rc == MVCC_MORE_WORK);
    assert_int_equal(rc, 0);
    assert_int_equal(mvcc_hasher_result(hasher), hash);
    assert_int_equal(mvcc_hasher_revision(hasher), revision ? revision : head.revision);
    mvcc_hasher_destroy(&hasher);
    kv_snapshot_destroy(&snapshot);
    return hash;
}

static void spans_and_restarts_leave_no_trace(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        subject_t one;
        subject_t many;
        subject_init(&one, 1, 0, true);
        subject_init(&many, 1 + seed, 0, false);
        mvcc_model_t *models[2] = {mvcc_model_new(), mvcc_model_new()};
        drive(&one, models[0], seed, false);
        drive(&many, models[1], seed, false);
        buf_t dumps[2] = {{0}, {0}};
        dump(one.kv, &dumps[0]);
        dump(many.kv, &dumps[1]);
        assert_same_bytes(&dumps[1], &dumps[0]);
        for (int i = 0; i < 2; i++) {
            buf_deinit(&dumps[i]);
            mvcc_model_destroy(&models[i]);
        }
        subject_deinit(&one);
        subject_deinit(&many);
    }
}

static void compaction_progress_leaves_no_trace(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        subject_t lazy;
        subject_t eager;
        subject_init(&lazy, 3, 0, false);
        subject_init(&eager, 3, 1 + seed % 9, true);
        mvcc_model_t *models[2] = {mvcc_model_new(), mvcc_model_new()};
        drive(&lazy, models[0], seed, false);
        drive(&eager, models[1], seed, false);
        int64_t oldest = mvcc_model_compacted(models[0]) < 1 ? 1 : mvcc_model_compacted(models[0]);
        for (int64_t at = oldest; at <= mvcc_model_revision(models[0]); at++) {
            assert_int_equal(hash_at(&lazy, at), hash_at(&eager, at));
        }
        finish_compaction(&lazy);
        finish_compaction(&eager);
        assert_int_equal(hash_at(&lazy, 0), hash_at(&eager, 0));
        prng_t prng = {.state = seed};
        ask(&lazy, models[0], &prng);
        ask(&eager, models[1], &prng);
        for (int i = 0; i < 2; i++) {
            mvcc_model_destroy(&models[i]);
        }
        subject_deinit(&lazy);
        subject_deinit(&eager);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_the_models),
        cmocka_unit_test(spans_and_restarts_leave_no_trace),
        cmocka_unit_test(compaction_progress_leaves_no_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
