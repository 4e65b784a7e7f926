/* wal_rig: the WAL writer's core and shell on a disk in memory, beside a model of what the log must
 * say. The model is three states: everything given to the core (sent), what the write in flight
 * holds (in flight), what has been acknowledged (acked). After a crash the log must say exactly what
 * was acked, or that and the write in flight. */
#pragma once

#include "actors/core/outbox.h"
#include "actors/wal_writer/wal_disk.h"
#include "actors/wal_writer/wal_writer.h"
#include "store/wal_dir.h"
#include "tests/support/fault_io.h"

#define WAL_RIG_DIR "/data/wal"

typedef struct {
    uint64_t term, vote, commit, lsn;
    /* The newest snapshot; all 0 before the first. */
    uint64_t base_index, base_term, generation;
    bytes_t *base_configuration;
    entries_t entries; /* behind it */
} wal_model_t;

typedef struct {
    fault_io_t *disk;
    uint64_t segment_bytes;
    wal_recovered_t recovered; /* as of the last start */
    void *core;
    outbox_t *outbox;
    wal_disk_t *files;
    char *error; /* of what failed */

    wal_model_t sent, in_flight, acked;
    uint64_t flushed;
    uint64_t hardstate_seq, hardstate_acked; /* sent; highest HS_DURABLE */
    uint64_t lsn_acked;                      /* highest LOG_DURABLE */
    size_t disk_writes, log_durables, segments_begun, purges;
} wal_rig_t;

void wal_rig_init(wal_rig_t *self, uint64_t seed, uint64_t segment_bytes);
void wal_rig_deinit(wal_rig_t *self);

/* Makes the first log. 0 or what wal_create says. */
int wal_rig_create(wal_rig_t *self);
/* Opens the log, compares it with the model (asserts), starts core and shell on it. 0 or what wal_open
 * says; WAL_CORRUPT leaves *error. */
int wal_rig_start(wal_rig_t *self);
/* Ends core and shell without ceremony. */
void wal_rig_kill(wal_rig_t *self);
void wal_rig_crash(wal_rig_t *self, crash_t how);

/* Messages to the core. */
void wal_rig_hardstate(wal_rig_t *self, uint64_t term, uint64_t vote);
/* Replaces everything from `first` by `count` entries of the current term with payloads of `len`
 * bytes; commit moves to `commit` when it is higher. count 0: only the commit index. */
void wal_rig_append(wal_rig_t *self, uint64_t first, size_t count, size_t len, uint64_t commit);
void wal_rig_configure(wal_rig_t *self, const char *configuration);
/* A snapshot up to (index, term) was received. */
void wal_rig_snapshot(wal_rig_t *self, uint64_t index, uint64_t term, const char *configuration);
void wal_rig_flushed(wal_rig_t *self, uint64_t index);

/* End of burst. true = the core wants to write: *request is yours. */
bool wal_rig_flush(wal_rig_t *self, msg_t **request);
/* Carries it out and steps the core with the answer. 0 or < 0 with self->error. */
int wal_rig_execute(wal_rig_t *self, msg_t **request);
/* Both, until the core is idle. 0 or < 0. */
int wal_rig_settle(wal_rig_t *self);

uint64_t wal_rig_last(const wal_rig_t *self); /* index, as sent */
/* Path of a segment counted from the oldest (0); NULL = no such. Yours. */
char *wal_rig_segment(const wal_rig_t *self, size_t number);
uint64_t wal_rig_term_at(const wal_rig_t *self, uint64_t index); /* of an entry, as sent */
/* Does *recovered say what the model says? */
bool wal_rig_matches(const wal_recovered_t *recovered, const wal_model_t *model);
