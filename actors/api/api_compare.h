/* api_compare: one Compare of a Txn against a view (contract section 3.4). Pure.
 * A compare over an interval reads it in slices; it holds if it holds for every key, and an empty
 * interval is like one missing key. */
#pragma once

#include "actors/api/decode.h"
#include "actors/api/view.h"

enum { COMPARE_TRUE = 1, COMPARE_FALSE = 2 };

/* One that is being evaluated; zero-initialised is "none". */
typedef struct {
    mvcc_cursor_t *cursor;
    buf_t kvs;
    bool seen; /* the interval holds a key */
} compare_run_t;

void compare_run_deinit(compare_run_t *self);
/* COMPARE_TRUE, COMPARE_FALSE, MVCC_MORE_WORK = call again with the same compare, < 0. Adds to *keys
 * about how many keys were read. */
int compare_run(compare_run_t *self, const view_t *view, const Etcdserverpb__Compare *compare,
                size_t *keys) __attribute__((warn_unused_result));
