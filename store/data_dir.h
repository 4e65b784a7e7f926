/* data_dir: the layout of a member's data directory, its lock, and which generation of the store
 * is in force. Not pure: reads and writes through io. One owner, who may let two threads use it in turns
 * (store/generations.h); docs/data_directory.md.
 *
 *   <data>/member/LOCK            locked while a process uses the directory; holds its process id
 *   <data>/member/wal/            the write-ahead log, unless it has a directory of its own
 *   <data>/member/store/CURRENT   the number of the generation in force
 *   <data>/member/store/<n>/      one generation: a LevelDB database
 *
 * Installing a snapshot builds a new generation beside the one in force: data_dir_prepare, fill and
 * flush the database at the path it gives, data_dir_seal. Then a mark in the log decides: data_dir_switch
 * puts it in force, and if a crash comes before, data_dir_settle at the next start does. What has neither
 * a mark nor CURRENT behind it is removed there. */
#pragma once

#include "store/io.h"

typedef struct data_dir data_dir_t;

enum {
    DATA_DIR_LOCKED = 8,  /* another process uses it */
    DATA_DIR_FOREIGN = 9, /* it belongs to etcd */
    DATA_DIR_CORRUPT = 10 /* CURRENT is missing, unreadable or names nothing */
};

typedef struct {
    const char *path;     /* --data-dir; made with its parents when missing */
    const char *wal_path; /* --wal-dir; NULL = inside the data directory */
} data_dir_cfg_t;

/* Makes what is missing, locks, finds the generation in force. The others stay until data_dir_settle.
 * 0, DATA_DIR_… or a negative errno; all but 0 leave *self_p NULL and set *error (yours). */
int data_dir_open(data_dir_t **self_p, io_t *io, const data_dir_cfg_t *cfg, char **error)
    __attribute__((warn_unused_result));
/* Unlocks. Close WAL and store first. */
void data_dir_close(data_dir_t **self_p);

const char *data_dir_wal(const data_dir_t *self);
/* Once, when the log has been read and before the store is opened. `marked`: the generation of the newest
 * snapshot that the log tells of, 0 = none: it is put in force, if it is not yet. Removes all others. 0,
 * DATA_DIR_CORRUPT (log and store do not belong together) or < 0; all but 0 set *error. */
int data_dir_settle(data_dir_t *self, uint64_t marked, char **error)
    __attribute__((warn_unused_result));
/* The generation in force, and its path: a string that lives until the next switch. */
uint64_t data_dir_generation(const data_dir_t *self);
const char *data_dir_store(const data_dir_t *self);

/* Makes an empty place for a new generation, with a number that was never in use. *path_p is yours. */
int data_dir_prepare(data_dir_t *self, uint64_t *generation, char **path_p, char **error)
    __attribute__((warn_unused_result));
/* Everything in its directory can be found after a power cut. Its database must be flushed. */
int data_dir_seal(data_dir_t *self, uint64_t generation, char **error)
    __attribute__((warn_unused_result));
/* Puts a sealed generation in force, durably. On failure nobody knows which one is in force: the node
 * stops. */
int data_dir_switch(data_dir_t *self, uint64_t generation, char **error)
    __attribute__((warn_unused_result));
/* Removes a generation that is not in force and whose database is closed. */
int data_dir_remove(data_dir_t *self, uint64_t generation, char **error)
    __attribute__((warn_unused_result));
