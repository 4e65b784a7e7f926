/* mvcc_read: ranges, history, leases and head, from any reader. Pure; thread-safe on snapshots.
 * Long work is cut into slices by the caller's budget, so that no reader starves another. */
#pragma once

#include "store/mvcc.h"

/* head from this very reader. Fresh stores answer {0, 0, 1, -1}. */
int mvcc_head(const kv_reader_t *reader, mvcc_head_t *head) __attribute__((warn_unused_result));

/* The live record of one key, now. KV_ABSENT when there is none. *value owns what *record points to. */
int mvcc_get(const kv_reader_t *reader, slice_t key, kv_value_t *value, mvcc_record_t *record)
    __attribute__((warn_unused_result));

/* All live keys of an interval, now, in key order. A result other than 0 stops and is returned. */
typedef int (*mvcc_record_fn)(void *context, slice_t key, const mvcc_record_t *record);
int mvcc_each(const kv_reader_t *reader, const mvcc_interval_t *interval, mvcc_record_fn fn,
              void *context) __attribute__((warn_unused_result));

/* ---- ranges ---- */
typedef struct mvcc_cursor mvcc_cursor_t;

/* Checks the revision against `head` (which the caller read from the same reader): 0, API_COMPACTED,
 * API_FUTURE_REVISION or < 0. Copies the request's slices. */
int mvcc_cursor_new(mvcc_cursor_t **self_p, const kv_reader_t *reader, const mvcc_head_t *head,
                    const mvcc_range_t *range) __attribute__((warn_unused_result));
void mvcc_cursor_destroy(mvcc_cursor_t **self_p);
typedef struct {
    size_t keys;  /* look at no more than so many keys ... */
    size_t bytes; /* ... and append no more than about so many bytes per step */
} mvcc_budget_t;
/* One slice of work. Appends `kvs` (field 2 of RangeResponse, wire-ready) to `out`.
 * 0 = finished; MVCC_MORE_WORK = call again; < 0. */
enum { MVCC_MORE_WORK = 1000 };
int mvcc_cursor_step(mvcc_cursor_t *self, mvcc_budget_t budget, buf_t *out)
    __attribute__((warn_unused_result));
/* After the end: number of keys in the interval at that revision, and whether limit cut the answer. */
int64_t mvcc_cursor_count(const mvcc_cursor_t *self);
bool mvcc_cursor_more(const mvcc_cursor_t *self);
/* kvs appended so far, and the last key appended (for RangeStream, which goes on from there on a
 * fresh snapshot at the same revision). */
int64_t mvcc_cursor_emitted(const mvcc_cursor_t *self);
slice_t mvcc_cursor_last_key(const mvcc_cursor_t *self);
/* Memory held for sorting, to be charged to the caller's budget. */
size_t mvcc_cursor_held_bytes(const mvcc_cursor_t *self);

/* All of a range at once, as fields 2..4 of RangeResponse. 0, API_COMPACTED, API_FUTURE_REVISION, < 0. */
int mvcc_range(const kv_reader_t *reader, const mvcc_head_t *head, const mvcc_range_t *range,
               buf_t *out) __attribute__((warn_unused_result));

/* ---- history, for watches that start in the past ---- */
typedef struct {
    bool is_delete;
    int64_t revision;
    int64_t sub;
    slice_t key;
    slice_t kv; /* wire bytes of the event's mvccpb.KeyValue (DELETE: key and mod_revision only) */
    slice_t prev_kv; /* wire bytes of the KeyValue before; empty if none or compacted */
} mvcc_event_t;
/* Called for each event in (revision, sub) order; slices are valid during the call. Non-zero stops. */
typedef int (*mvcc_event_fn)(void *context, const mvcc_event_t *event);
/* Events with from <= revision <= to that lie in at least one of the intervals (count 0 = all).
 * Stops at the end of the revision in which `max_rows` log rows have been read; *next_p is the first revision
 * not delivered (to + 1 when done). `want_prev` false saves the look-up. API_COMPACTED when
 * from < compacted (from == compacted is readable). */
int mvcc_events(const kv_reader_t *reader, const mvcc_head_t *head, int64_t from, int64_t to,
                const mvcc_interval_t *intervals, size_t interval_count, bool want_prev,
                size_t max_rows, mvcc_event_fn fn, void *context, int64_t *next_p)
    __attribute__((warn_unused_result));

/* The same from a place in a revision on, for one interval. Stops wherever `max_rows` log rows have been
 * read, or in front of the event for which `fn` returns 1 (which is returned). *from becomes the place of
 * the first row that is left: (to + 1, 0) when done. API_COMPACTED when *from is below what is compacted. */
typedef struct {
    int64_t revision;
    int64_t sub;
} mvcc_place_t;
int mvcc_events_from(const kv_reader_t *reader, const mvcc_head_t *head, mvcc_place_t *from,
                     int64_t to, const mvcc_interval_t *interval, bool want_prev, size_t max_rows,
                     mvcc_event_fn fn, void *context) __attribute__((warn_unused_result));

/* ---- leases as data ---- */
int mvcc_lease_ttl(const kv_reader_t *reader, int64_t id, int64_t *ttl_s)
    __attribute__((warn_unused_result));
typedef int (*mvcc_lease_fn)(void *context, int64_t id, int64_t ttl_s);
int mvcc_leases(const kv_reader_t *reader, mvcc_lease_fn fn, void *context)
    __attribute__((warn_unused_result));
typedef int (*mvcc_key_fn)(void *context, slice_t key);
/* The keys of a lease, in order, from `from` on (empty: all). Ends with the function's first result but 0. */
int mvcc_lease_keys(const kv_reader_t *reader, int64_t id, slice_t from, mvcc_key_fn fn,
                    void *context) __attribute__((warn_unused_result));

/* ---- meta: small named values (members, cluster version, alarms) ---- */
#define MVCC_META_MEMBERS                                                                          \
    "members" /* the applied quoral.Configuration, with what members published */
int mvcc_meta_get(const kv_reader_t *reader, const char *name, kv_value_t *value)
    __attribute__((warn_unused_result));

/* ---- HashKV: order-independent sum over what logically survives at a revision (contract section 7,
 * architecture section 5). Reads the whole store, in slices; keeper only ---- */
typedef struct mvcc_hasher mvcc_hasher_t;
/* revision <= 0: the current one. 0, API_COMPACTED or API_FUTURE_REVISION; then *self_p is NULL. */
int mvcc_hasher_new(mvcc_hasher_t **self_p, const kv_reader_t *reader, const mvcc_head_t *head,
                    int64_t revision) __attribute__((warn_unused_result));
void mvcc_hasher_destroy(mvcc_hasher_t **self_p); /* before the reader */
/* Looks at about `rows` records. 0 = done, MVCC_MORE_WORK, < 0. */
int mvcc_hasher_step(mvcc_hasher_t *self, size_t rows) __attribute__((warn_unused_result));
uint32_t mvcc_hasher_result(const mvcc_hasher_t *self);
int64_t mvcc_hasher_revision(const mvcc_hasher_t *self); /* the one that is hashed */
/* All at once. */
int mvcc_hash(const kv_reader_t *reader, const mvcc_head_t *head, int64_t revision, uint32_t *hash)
    __attribute__((warn_unused_result));
