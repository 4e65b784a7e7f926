/* data_dir: the layout of a member's data directory, its lock, and which generation of the store
 * is in force. Not pure: reads and writes through io. One owner; docs/data_directory.md.
 *
 *   <data>/member/LOCK            locked while a process uses the directory; holds its process id
 *   <data>/member/wal/            the write-ahead log, unless it has a directory of its own
 *   <data>/member/store/CURRENT   the number of the generation in force
 *   <data>/member/store/<n>/      one generation: a LevelDB database
 *
 * Installing a snapshot builds a new generation beside the one in force: data_dir_prepare, fill and
 * flush the database at the path it gives, data_dir_switch. A crash before the switch is complete
 * leaves the old generation in force, one after it the new one; the other is removed at the start. */
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

/* Makes what is missing, locks, finds the generation in force and removes all others.
 * 0, DATA_DIR_… or a negative errno; all but 0 leave *self_p NULL and set *error (yours). */
int data_dir_open(data_dir_t **self_p, io_t *io, const data_dir_cfg_t *cfg, char **error)
    __attribute__((warn_unused_result));
/* Unlocks. Close WAL and store first. */
void data_dir_close(data_dir_t **self_p);

const char *data_dir_wal(const data_dir_t *self);
/* The generation in force; a string that lives until the next switch. */
const char *data_dir_store(const data_dir_t *self);

/* Makes an empty place for the next generation, removing what an earlier attempt left there.
 * *path_p is yours. */
int data_dir_prepare(data_dir_t *self, char **path_p, char **error)
    __attribute__((warn_unused_result));
/* Puts the prepared generation in force, durably. Its database must be flushed. On failure nobody
 * knows which one is in force: the node stops. */
int data_dir_switch(data_dir_t *self, char **error) __attribute__((warn_unused_result));
/* Removes all generations but the one in force. After a switch, only once the old database is
 * closed. */
int data_dir_clean(data_dir_t *self, char **error) __attribute__((warn_unused_result));
