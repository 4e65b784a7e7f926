/* mvcc_model: etcd's MVCC as simply as possible: a list of all changes ever made, searched from the
 * start for every question. The yardstick of the property tests of store/mvcc. */
#pragma once

#include "store/mvcc.h"
#include "store/mvcc_read.h"

typedef struct mvcc_model mvcc_model_t;

mvcc_model_t *mvcc_model_new(void);
void mvcc_model_destroy(mvcc_model_t **self_p);

/* One entry: begin, changes, end. */
void mvcc_model_begin(mvcc_model_t *self);
void mvcc_model_put(mvcc_model_t *self, slice_t key, slice_t value, int64_t lease);
int64_t mvcc_model_delete(mvcc_model_t *self, const mvcc_interval_t *interval);
void mvcc_model_end(mvcc_model_t *self);
/* Only outside of entries. */
void mvcc_model_compact(mvcc_model_t *self, int64_t revision);
void mvcc_model_grant(mvcc_model_t *self, int64_t lease);
bool mvcc_model_has_lease(const mvcc_model_t *self, int64_t lease);
/* Deletes the lease's keys, in key order, inside the open entry. */
void mvcc_model_revoke(mvcc_model_t *self, int64_t lease);

int64_t mvcc_model_revision(const mvcc_model_t *self);
int64_t mvcc_model_compacted(const mvcc_model_t *self);
bool mvcc_model_live(const mvcc_model_t *self, slice_t key);
/* Fields 2..4 of RangeResponse. */
void mvcc_model_range(const mvcc_model_t *self, const mvcc_range_t *range, buf_t *out);
/* Events as bytes: for each is_delete, revision, sub, kv, prev_kv. */
void mvcc_model_events(const mvcc_model_t *self, int64_t from, int64_t to,
                       const mvcc_interval_t *intervals, size_t interval_count, buf_t *out);
/* The same form for one event. */
void mvcc_model_event_bytes(buf_t *out, const mvcc_event_t *event);
/* Keys of a lease in key order, each as a field 5. */
void mvcc_model_lease_keys(const mvcc_model_t *self, int64_t lease, buf_t *out);
