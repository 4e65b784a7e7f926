/* api_range: what Range, RangeStream and the ranges of a Txn share. Inside of api. */
#pragma once

#include "actors/api/api_state.h"

/* A range that is being read. */
struct range_job {
    view_t *view; /* its own while a cursor runs on it */
    mvcc_cursor_t *cursor;
    buf_t out;
    uint64_t started_us; /* by the metrics' clock; RangeStream: of this chunk */
    size_t charged;      /* bytes of `out` that count against LIMIT_ANSWER_BYTES */

    /* RangeStream. */
    buf_t next_key;          /* where the next cursor starts */
    int64_t revision;        /* pinned by the first chunk */
    int64_t header_revision; /* the store's, as the first chunk saw it */
    int64_t emitted;         /* keys of all cursors before this one */
    int64_t cursor_emitted;  /* keys of this cursor in chunks already sent */
    int64_t chunk_keys;      /* size of the next chunk */
    bool by_chunk;           /* each chunk is sorted by itself */
    bool counting;           /* all is emitted; counts what the limit has cut off */
};

/* Books the growth of the answer. False: over the common budget. */
bool range_job_charge(api_t *self, range_job_t *job);
/* The fields behind the kvs. */
void range_append_end(buf_t *out, bool more, int64_t count);
