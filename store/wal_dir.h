/* wal_dir: a write-ahead log as a directory: making a new one, opening what is there.
 * Not pure: reads and writes through io. The caller holds the lock on the data directory.
 *
 *   0000000000000001.wal, …2.wal   segments, in hexadecimal sequence, without gaps
 *   spare.tmp                      the next segment being prepared; removed at start */
#pragma once

#include "store/io.h"
#include "store/wal_recover.h"

enum { WAL_ABSENT = 4, WAL_PRESENT = 5 }; /* besides WAL_CORRUPT */

/* What a new log begins with. */
typedef struct {
    wal_identity_t identity;
    uint64_t segment_bytes; /* 0 = LIMIT_WAL_SEGMENT_BYTES */
    uint64_t term, vote;
    uint64_t base_index, base_term; /* of the snapshot it begins after; 0, 0 without one */
    uint64_t configuration_index;
    const bytes_t *configuration; /* in force at base_index; NULL = none yet */
    entries_t entries;            /* follow base_index; borrowed */
    uint64_t commit;
} wal_initial_t;

/* The initial log of a new cluster, by convention of this project: term 1, no vote, and at (1, 1)
 * one CONFIGURATION entry with the first members, committed: every first member writes the same.
 * `initial.entries` is yours to deinit. */
wal_initial_t wal_initial_cluster(wal_identity_t identity, bytes_t *configuration);

/* Makes the directory and its first segment, durably. 0, WAL_PRESENT (a log is there: nothing is
 * touched), or < 0; both set *error. A crash on the way leaves no log. */
int wal_create(io_t *io, const char *dir, const wal_initial_t *initial, char **error);

/* Reads, verifies and repairs (an unfinished last write is zeroed); afterwards everything in
 * *recovered is on the disk, also what the process before had not synced.
 * 0; WAL_ABSENT: no log there; WAL_CORRUPT: refuse to start; < 0. All but 0 set *error, which names
 * file, offset and reason. *recovered: zeroed before, deinit after, whatever is returned. */
int wal_open(io_t *io, const char *dir, wal_recovered_t *recovered, char **error);
