/* mvcc_internal: what the files of mvcc share: the bytes of each column, the walk over live keys and
 * the counter. Nobody outside store/mvcc_*.c includes this. Pure.
 * docs/key_layout.md draws the formats. */
#pragma once

#include "messages/wire.h"
#include "store/mvcc.h"
#include "store/mvcc_read.h"

/* ---- columns: the first byte of a stored key ---- */
enum {
    COLUMN_ATTACHED = 'A', /* lease id, key -> empty */
    COLUMN_COUNT = 'C',    /* first key of a block -> live keys in it */
    COLUMN_HISTORY = 'H',  /* escaped key, ~main, ~sub -> record, or empty for a tombstone */
    COLUMN_LATEST = 'K',   /* key -> record */
    COLUMN_LEASE = 'L',    /* lease id -> TTL */
    COLUMN_META = 'M',     /* name -> value */
    COLUMN_LOG = 'R'       /* main, sub -> type, superseded (main, sub), key */
};

#define META_HEAD       "head"
#define META_COMPACTION "compaction"

/* Where a change stands in history: its revision and its place within it. */
typedef struct {
    int64_t main;
    int64_t sub;
} mvcc_position_t;

static inline int mvcc_position_compare(mvcc_position_t a, mvcc_position_t b)
{
    if (a.main != b.main) {
        return a.main < b.main ? -1 : 1;
    }
    return a.sub < b.sub ? -1 : a.sub > b.sub;
}

/* ---- stored keys: each builder replaces what is in `out` ---- */
void mvcc_key_latest(buf_t *out, slice_t key);
void mvcc_key_count(buf_t *out, slice_t first);
void mvcc_key_meta(buf_t *out, const char *name);
void mvcc_key_lease(buf_t *out, int64_t id);
void mvcc_key_attached(buf_t *out, int64_t id, slice_t key); /* empty key: the first of the lease */
void mvcc_key_log(buf_t *out, mvcc_position_t at);
void mvcc_key_history(buf_t *out, slice_t key, mvcc_position_t at);
/* Before all history of `key`, and behind all of it but before the next key's. */
void mvcc_key_history_first(buf_t *out, slice_t key);
void mvcc_key_history_behind(buf_t *out, slice_t key);

static inline bool mvcc_in_column(slice_t stored, int column)
{
    return stored.len > 0 && stored.data[0] == column;
}
static inline slice_t mvcc_after_prefix(slice_t stored)
{
    return slice(stored.data + 1, stored.len - 1);
}
/* 0 or KV_ECORRUPT. The user's key replaces what is in `key`. */
int mvcc_history_parse(slice_t stored, buf_t *key, mvcc_position_t *at)
    __attribute__((warn_unused_result));
/* The position alone. */
int mvcc_history_position(slice_t stored, mvcc_position_t *at) __attribute__((warn_unused_result));
int mvcc_log_key_parse(slice_t stored, mvcc_position_t *at) __attribute__((warn_unused_result));
int mvcc_lease_key_parse(slice_t stored, int64_t *id) __attribute__((warn_unused_result));

/* ---- stored values ---- */
typedef struct {
    bool is_delete;
    bool has_superseded; /* there was a live record before */
    mvcc_position_t superseded;
    slice_t key;
} mvcc_log_row_t;
void mvcc_log_row_write(buf_t *out, const mvcc_log_row_t *row);
int mvcc_log_row_parse(slice_t stored, mvcc_log_row_t *row) __attribute__((warn_unused_result));

/* Writes a record from its fields (`wire` is ignored); replaces what is in `out`. */
void mvcc_record_write(buf_t *out, const mvcc_record_t *record);
int mvcc_record_parse(slice_t stored, mvcc_record_t *record) __attribute__((warn_unused_result));

/* ---- mvccpb.KeyValue on the wire ---- */
size_t mvcc_kv_size(slice_t key, slice_t wire);
void mvcc_kv_append(buf_t *out, slice_t key, slice_t wire);
/* The same as a field of an answer. */
void mvcc_kv_field(buf_t *out, uint32_t field, slice_t key, slice_t wire);
/* As shared bytes; *key_offset is where the key starts in them. */
bytes_t *mvcc_kv_bytes(slice_t key, slice_t wire, size_t *key_offset);
/* What a DELETE event shows: key and mod_revision. */
void mvcc_tombstone_wire(buf_t *out, int64_t revision);

/* ---- intervals ---- */
static inline bool mvcc_is_single(const mvcc_interval_t *interval)
{
    return interval->range_end.len == 0;
}
static inline bool mvcc_is_unbounded(const mvcc_interval_t *interval)
{
    return interval->range_end.len == 1 && interval->range_end.data[0] == 0;
}
bool mvcc_interval_contains(const mvcc_interval_t *interval, slice_t key);

/* ---- the walk: live keys of an interval in key order, now or at an old revision ---- */
typedef struct {
    const kv_reader_t *reader;
    int64_t at;      /* revision */
    bool historical; /* latest alone does not tell */
    bool bounded;
    bool loaded;        /* history_valid says something */
    bool history_valid; /* history stands on history_key, history_at */
    bool advance;       /* what was handed out last is still under the iterators */
    bool trusting;      /* set by the owner, who asks mvcc_walk_error before using what it got */
    kv_iter_t *latest;
    kv_iter_t *history;
    buf_t end;         /* bounded: first key outside */
    buf_t current;     /* historical: the key handed out, when it comes from history */
    buf_t history_key; /* user's key under the history iterator */
    mvcc_position_t history_at;
    buf_t scratch;
} mvcc_walk_t;

/* Starts at `start`; `end` NULL = no end. `revision` as of `head`: what is newer is not seen. */
void mvcc_walk_init(mvcc_walk_t *self, const kv_reader_t *reader, const mvcc_head_t *head,
                    int64_t revision, slice_t start, const slice_t *end);
void mvcc_walk_deinit(mvcc_walk_t *self); /* may be called twice */
/* 0 = the next live key and its record, valid until the next call. KV_ABSENT = no more.
 * MVCC_MORE_WORK = *rows_left rows have been looked at; call again. < 0. */
int mvcc_walk_next(mvcc_walk_t *self, size_t *rows_left, slice_t *key, slice_t *record)
    __attribute__((warn_unused_result));
/* Has everything been read that should have been? 0 or < 0. Only a trusting walk needs to ask. */
int mvcc_walk_error(const mvcc_walk_t *self) __attribute__((warn_unused_result));
/* The interval of a request as the walk's start and end. */
void mvcc_walk_interval(mvcc_walk_t *self, const kv_reader_t *reader, const mvcc_head_t *head,
                        int64_t revision, const mvcc_interval_t *interval);

/* ---- the counter: number of live keys in an interval without looking at each ---- */
typedef struct mvcc_counter mvcc_counter_t;
/* Keys of the interval that are >= `from`. */
mvcc_counter_t *mvcc_counter_new(const kv_reader_t *reader, const mvcc_head_t *head,
                                 int64_t revision, const mvcc_interval_t *interval, slice_t from);
void mvcc_counter_destroy(mvcc_counter_t **self_p);
/* 0 = done, MVCC_MORE_WORK, < 0. */
int mvcc_counter_step(mvcc_counter_t *self, size_t *rows_left) __attribute__((warn_unused_result));
int64_t mvcc_counter_result(const mvcc_counter_t *self);

/* ---- compaction's progress (meta column) ---- */
typedef struct {
    int64_t target;       /* the compacted revision that is or was worked on; -1 = none yet */
    mvcc_position_t next; /* log rows below are done; beyond target when all is done */
} mvcc_compaction_t;
int mvcc_compaction_read(const kv_reader_t *reader, mvcc_compaction_t *progress)
    __attribute__((warn_unused_result));
void mvcc_compaction_write(const mvcc_compaction_t *progress, buf_t *out);

void mvcc_head_write(const mvcc_head_t *head, buf_t *out);

/* < 0 when the iterator stopped because of an error, else 0. */
static inline int mvcc_iter_error(const kv_iter_t *iter)
{
    return iter->ops->error(iter);
}
