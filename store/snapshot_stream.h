/* snapshot_stream: everything in a store as chunks of bytes, and chunks of bytes back into an empty store.
 * Pure over kv.h. The sender makes no file: a chunk is read when it is wanted (architecture section 5,
 * "Snapshots").
 *
 *   chunk = row*        about LIMIT_SNAPSHOT_CHUNK_BYTES; a larger row is a chunk of its own
 *   row   = varint key length, varint value length, key, value; keys ascend over all chunks
 *
 * Number of rows and CRC-32C of all chunks' bytes travel beside the last one. */
#pragma once

#include "messages/buf.h"
#include "store/kv.h"

enum { SNAPSHOT_MALFORMED = 1 };

/* ---- out of a store ---- */
typedef struct snapshot_reader snapshot_reader_t;
/* `reader`: of a snapshot, so that all chunks show the same; outlives this. */
snapshot_reader_t *snapshot_reader_new(const kv_reader_t *reader);
void snapshot_reader_destroy(snapshot_reader_t **self_p);
/* The next chunk replaces what is in `out`. 0 or < 0. After the last one there is no other call. */
int snapshot_reader_next(snapshot_reader_t *self, buf_t *out, bool *is_last)
    __attribute__((warn_unused_result));
/* Of the chunks so far. */
uint64_t snapshot_reader_rows(const snapshot_reader_t *self);
uint32_t snapshot_reader_checksum(const snapshot_reader_t *self);

/* ---- into an empty store ---- */
typedef struct snapshot_writer snapshot_writer_t;
snapshot_writer_t *snapshot_writer_new(kv_t *kv); /* before it is closed: destroy */
void snapshot_writer_destroy(snapshot_writer_t **self_p);
/* The next chunk, as one batch. 0, SNAPSHOT_MALFORMED (nothing of it is written) or < 0. */
int snapshot_writer_add(snapshot_writer_t *self, slice_t chunk) __attribute__((warn_unused_result));
uint64_t snapshot_writer_rows(const snapshot_writer_t *self);
uint32_t snapshot_writer_checksum(const snapshot_writer_t *self);
