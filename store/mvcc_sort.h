/* mvcc_sort: key-values of a range that must be sorted before they can be sent. Pure; one owner.
 * Holds what may still be part of the answer: with a limit about twice as many as that. */
#pragma once

#include "store/mvcc_internal.h"

typedef struct mvcc_sorter mvcc_sorter_t;

/* limit <= 0: none. Order NONE sorts ascending. */
mvcc_sorter_t *mvcc_sorter_new(mvcc_sort_target_t target, mvcc_sort_order_t order, int64_t limit);
void mvcc_sorter_destroy(mvcc_sorter_t **self_p);
/* In key order. `wire`: the fields after the key as the answer shows them; `record` is what the sort
 * looks at. All is copied. */
void mvcc_sorter_add(mvcc_sorter_t *self, slice_t key, slice_t wire, const mvcc_record_t *record);
/* Sorts and cuts; nothing can be added afterwards. */
void mvcc_sorter_finish(mvcc_sorter_t *self);
/* Was anything cut? */
bool mvcc_sorter_more(const mvcc_sorter_t *self);
/* The next key-value as field 2 of RangeResponse; empty at the end. Valid as long as the sorter. */
slice_t mvcc_sorter_next(mvcc_sorter_t *self);
size_t mvcc_sorter_bytes(const mvcc_sorter_t *self);
