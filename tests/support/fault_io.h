/* fault_io: a disk in memory behind io_t, that tells what was written from what is durable.
 * Knows three kinds of harm: the k-th changing call fails; transfers are short and interrupted; and
 * a crash, after which only what was synced is certain. A failed sync marks pages clean without
 * having written them, as Linux does. */
#pragma once

#include "actors/core/prng.h"
#include "store/io.h"

typedef struct fault_io fault_io_t;

fault_io_t *fault_io_new(uint64_t seed);
void fault_io_destroy(fault_io_t **self_p);
io_t *fault_io(fault_io_t *self);

/* Calls that change something: write, sync, rename, remove, make_dir, sync_dir, open with IO_CREATE. */
uint64_t fault_io_changes(const fault_io_t *self);
/* The k-th changing call from now on (0 = the next) and all after it fail with -error. A failing
 * write may have written a part. error 0 = never. */
void fault_io_fail(fault_io_t *self, uint64_t k, int error);
/* From now on transfers are cut short or interrupted at random. */
void fault_io_disturb(fault_io_t *self, bool on);
/* Total bytes of all files above which writing gives ENOSPC; 0 = no limit. */
void fault_io_limit(fault_io_t *self, uint64_t bytes);

typedef enum {
    CRASH_PROCESS,     /* kill -9: the page cache survives */
    CRASH_LOSE,        /* power cut: nothing unsynced survives */
    CRASH_TORN_PREFIX, /* power cut: of each file a prefix of the unsynced bytes survives */
    CRASH_TORN_SECTORS /* power cut: each unsynced sector survives or not */
} crash_t;
/* All open files are closed; faults end. */
void fault_io_crash(fault_io_t *self, crash_t how);

/* The content of a file, for tests that damage it: changes are durable. NULL = no such file. */
uint8_t *fault_io_data(fault_io_t *self, const char *path, size_t *len);
void fault_io_cut(fault_io_t *self, const char *path, size_t len);
