/* mvcc_write: the state machine. Applies entries in log order to an overlay and writes a span of
 * them as one batch together with `head`. Deterministic: equal entries give equal stores.
 * Pure; one owner (the applier). n entries in one span equal n spans of one (tested). */
#pragma once

#include "store/mvcc.h"
#include "store/mvcc_read.h"

typedef struct mvcc mvcc_t;

/* Reads head from the store. < 0 with *error_p (yours) when the store is broken. */
int mvcc_new(mvcc_t **self_p, kv_t *kv, char **error_p) __attribute__((warn_unused_result));
void mvcc_destroy(mvcc_t **self_p);
/* head as of the entries applied so far, the open span included. */
const mvcc_head_t *mvcc_current(const mvcc_t *self);
/* Number of live keys, the open span included. */
uint64_t mvcc_keys(const mvcc_t *self);
/* Reads that see the open span. Good until the next change. */
const kv_reader_t *mvcc_reader(mvcc_t *self);

/* ---- one entry: begin, any operations, end ---- */
void mvcc_entry_begin(mvcc_t *self, uint64_t index, uint64_t term);
/* Ends the entry; if it changed a key, the revision has grown by one. Never fails: what must be
 * refused was refused before anything was changed. */
void mvcc_entry_end(mvcc_t *self);
/* The revision a change in this entry has or would have; what reads inside a writing Txn report. */
int64_t mvcc_entry_revision(const mvcc_t *self);
/* Has the open entry changed a key? Then reads inside it are at mvcc_entry_revision. */
bool mvcc_entry_changed(const mvcc_t *self);

typedef struct {
    slice_t key, value;
    int64_t lease;
    bool ignore_value, ignore_lease;
} mvcc_put_t;
/* Would the put be refused? 0, API_LEASE_NOT_FOUND, API_KEY_NOT_FOUND or < 0. Changes nothing. */
int mvcc_put_check(mvcc_t *self, const mvcc_put_t *put) __attribute__((warn_unused_result));
/* 0 or < 0. If prev is not NULL and the key existed, its KeyValue is appended as wire bytes (without
 * a tag) and *existed is true. */
int mvcc_put(mvcc_t *self, const mvcc_put_t *put, buf_t *prev, bool *existed)
    __attribute__((warn_unused_result));
/* prev_kvs: NULL or each KeyValue appended as a field number 3 (prev_kvs of DeleteRangeResponse). */
int mvcc_delete_range(mvcc_t *self, const mvcc_interval_t *interval, int64_t *deleted,
                      buf_t *prev_kvs) __attribute__((warn_unused_result));
/* API_LEASE_EXISTS */
int mvcc_lease_grant(mvcc_t *self, int64_t id, int64_t ttl_s) __attribute__((warn_unused_result));
/* Removes the lease and deletes its keys, sorted, in one revision. API_LEASE_NOT_FOUND. */
int mvcc_lease_revoke(mvcc_t *self, int64_t id) __attribute__((warn_unused_result));
/* Logical compaction: from now on reads below `revision` fail. API_COMPACTED, API_FUTURE_REVISION. */
int mvcc_compact(mvcc_t *self, int64_t revision) __attribute__((warn_unused_result));
int mvcc_meta_put(mvcc_t *self, const char *name, slice_t value)
    __attribute__((warn_unused_result));

/* ---- the span ---- */
/* Events of the entries since the last commit, in (revision, sub) order; valid until the commit. */
typedef struct {
    bool is_delete;
    int64_t revision;
    int64_t sub;
    bytes_t *kv;       /* wire bytes of mvccpb.KeyValue */
    size_t key_offset; /* where the key's bytes start in kv */
    size_t key_len;
    bytes_t *prev_kv; /* or NULL */
} mvcc_change_t;
size_t mvcc_change_count(const mvcc_t *self);
/* Moves the changes out; array and references are the caller's. NULL when there are none. */
mvcc_change_t *mvcc_changes_take(mvcc_t *self, size_t *count);
size_t mvcc_span_bytes(const mvcc_t *self);
/* Writes the span as one batch with head. 0 or < 0. */
int mvcc_commit(mvcc_t *self) __attribute__((warn_unused_result));

/* ---- compaction's background work: between spans ---- */
/* Deletes what compaction up to head.compacted made unreachable, at most `max_rows` log rows per call, progress
 * in the same batch; resumes after a restart. 0 = nothing left; MVCC_MORE_WORK; < 0.
 * *removed: records deleted. Only between mvcc_commit and the next mvcc_entry_begin. */
int mvcc_compact_step(mvcc_t *self, size_t max_rows, size_t *removed)
    __attribute__((warn_unused_result));
bool mvcc_compact_pending(const mvcc_t *self);
/* Compactions up to this revision have nothing left to delete. */
int64_t mvcc_compact_done(const mvcc_t *self);
