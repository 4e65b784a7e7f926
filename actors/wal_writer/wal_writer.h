/* wal_writer: makes hard state and log entries durable, many with one fdatasync. Pure core.
 *
 * In:  HARDSTATE (election), APPEND_LOG and SNAP_MARK (replicator), FLUSHED (keeper), DISK_DONE (its
 *      disk), STOP.
 * Out: DISK_WRITE to PORT_DISK, one at a time; HS_DURABLE and LOG_DURABLE when it is done.
 *
 * Whatever arrives while a write is in flight waits; the end of a burst (msg == NULL) turns all of it
 * into one batch (wal_format.h). So the batch grows with the load and no timer is needed. The core
 * decides when a segment is full and writes the new one's header, which holds everything the older
 * ones knew; and which segments may go once the store has flushed what they hold.
 *
 * Rules, asserted: terms never go back, a vote never changes within its term, no entry above the
 * durable or pending term (S7 of docs/CONSENSUS.md), nothing committed is replaced, no snapshot is
 * taken that ends below what is committed. */
#pragma once

#include "actors/core/step.h"
#include "store/wal_recover.h"

typedef struct wal_writer wal_writer_t;

/* Goes on where recovery ended; `recovered` is borrowed for the call. segment_bytes: size of new
 * segments, LIMIT_WAL_SEGMENT_BYTES_MIN … LIMIT_WAL_FILE_BYTES. */
wal_writer_t *wal_writer_new(const wal_recovered_t *recovered, uint64_t segment_bytes);

/* step, deadline (always none), destroy. */
extern const core_ops_t wal_writer_ops;
