/* wal_format: the bytes of the write-ahead log: segment headers, batches, records. Pure.
 * docs/wal_format.md is the specification; this is its only implementation.
 *
 *   segment  = header batch* zeros
 *   batch    = batch header, records, zero padding to 8 bytes, end mark
 *   record   = hard state | entry | snapshot
 *
 * Integers are little-endian. Every batch starts at a multiple of 8 and names its own offset:
 * since one write is in flight at a time, all bytes below that offset were durable when the batch
 * was written. The CRC-32C of a batch continues the one before; the first continues the header's. */
#pragma once

#include "messages/msg.h"
#include "messages/slice.h"

enum {
    WAL_FORMAT_VERSION = 1,
    WAL_HEADER_FIXED_BYTES = 120,
    WAL_BATCH_HEADER_BYTES = 48,
    WAL_RECORD_HEADER_BYTES = 24,
    WAL_SECTOR_BYTES = 512 /* what a disk writes whole or not at all */
};

/* Outcomes of decoding. */
enum {
    WAL_END = 1,    /* nothing here: clean end */
    WAL_TORN = 2,   /* a write that did not complete */
    WAL_CORRUPT = 3 /* bytes that no write of ours can have left */
};

typedef struct {
    uint64_t cluster_id;
    uint64_t member_id;
} wal_identity_t;

/* Everything a member must know that older, deleted segments held. */
typedef struct {
    uint64_t sequence; /* 1, 2, 3 … without gaps */
    wal_identity_t identity;
    uint64_t term, vote;
    uint64_t commit;
    uint64_t base_index, base_term; /* the log's last entry before this segment */
    uint64_t lsn;
    uint64_t segment_bytes; /* the file's size when it was made: a shorter one is damaged */
    uint64_t previous_end;  /* where the batches of the segment before end; 0 for the first */
    uint32_t previous_crc;  /* and the chain's value there */
    uint64_t configuration_index;
    slice_t configuration; /* in force at base_index, encoded quoral.Configuration */
} wal_header_t;

size_t wal_header_size(size_t configuration_len);
/* Writes wal_header_size() bytes; returns the segment's seed. */
uint32_t wal_header_encode(const wal_header_t *self, uint8_t *out);
/* `file`: the segment from its start. 0: *size_p bytes hold the header (`configuration` points into `file`);
 * WAL_CORRUPT: *reason says why. */
int wal_header_decode(slice_t file, wal_header_t *self, uint32_t *seed, size_t *size_p,
                      const char **reason) __attribute__((warn_unused_result));

typedef struct {
    uint64_t offset;      /* in the segment */
    uint64_t lsn;         /* highest lsn written so far */
    uint64_t commit;      /* highest commit index known */
    uint32_t records_len; /* bytes */
    uint32_t records;
} wal_batch_t;

/* Bytes of a batch with so many bytes of records; a multiple of 8. */
size_t wal_batch_size(size_t records_len);
/* Completes a batch whose records stand at out + WAL_BATCH_HEADER_BYTES; returns the new chain. */
uint32_t wal_batch_seal(uint8_t *out, const wal_batch_t *batch, uint32_t seed, uint32_t chain);
/* The batch at `offset`. 0: *batch and *records are set, *chain moves on. WAL_END: only zeros follow.
 * WAL_TORN: an unfinished write, nothing valid behind it. WAL_CORRUPT: *reason says why. */
int wal_batch_decode(slice_t file, uint64_t offset, uint32_t seed, uint32_t *chain,
                     wal_batch_t *batch, slice_t *records, const char **reason)
    __attribute__((warn_unused_result));

typedef enum {
    WAL_RECORD_HARDSTATE = 1,
    WAL_RECORD_ENTRY = 2,
    WAL_RECORD_SNAPSHOT = 3
} wal_record_type_t;

typedef struct {
    wal_record_type_t type;
    uint64_t term;           /* SNAPSHOT: of its last entry */
    uint64_t vote;           /* HARDSTATE */
    uint64_t index;          /* ENTRY; SNAPSHOT: of its last entry */
    entry_type_t entry_type; /* ENTRY */
    slice_t payload;         /* ENTRY; SNAPSHOT: the configuration in force at index */
    uint64_t generation;     /* SNAPSHOT: of the store that holds it */
    bool keeps_suffix;       /* SNAPSHOT: the log held its last entry: what follows that stays */
} wal_record_t;

size_t wal_record_size(size_t payload_len);
size_t wal_record_snapshot_size(size_t configuration_len);
/* They return where the next record goes. */
uint8_t *wal_record_hardstate(uint8_t *out, uint64_t term, uint64_t vote);
uint8_t *wal_record_entry(uint8_t *out, const entry_t *entry);
uint8_t *wal_record_snapshot(uint8_t *out, const msg_snap_mark_t *mark, bool keeps_suffix);
/* Takes a record off *rest. 0, WAL_END or WAL_CORRUPT. */
int wal_record_next(slice_t *rest, wal_record_t *record, const char **reason)
    __attribute__((warn_unused_result));
