/* generations: the stores of one member: the one in force, and the one that is being received from
 * another member. Two implementations: LevelDB databases in the data directory, and maps in memory for
 * the simulator. Not pure.
 *
 * Two actors use it: the keeper makes a generation, fills it, seals it, and removes what nobody needs any
 * more; the applier puts a sealed one in force. One installation runs at a time, and what they do to it is
 * ordered by the messages between them (docs/CONSENSUS.md, "A snapshot"), so nothing is
 * locked here.
 *
 * All int functions return 0, or something else and *error (yours): the node stops. After a start that
 * was refused nothing has been changed that matters. */
#pragma once

#include "messages/shared.h"
#include "store/data_dir.h"
#include "store/kv.h"

typedef struct generations generations_t;

typedef struct {
    int (*open)(generations_t *self, uint64_t marked, shared_t **store_p, char **error);
    uint64_t (*current)(const generations_t *self);
    int (*prepare)(generations_t *self, uint64_t *generation, shared_t **store_p, char **error);
    int (*seal)(generations_t *self, uint64_t generation, shared_t *store, char **error);
    int (*put_in_force)(generations_t *self, uint64_t generation, shared_t *store, char **error);
    int (*remove)(generations_t *self, uint64_t generation, char **error);
    void (*destroy)(generations_t **self_p);
} generations_ops_t;

/* Implementations put this first in their own struct. */
struct generations {
    const generations_ops_t *ops;
};

/* The start: finishes an installation whose mark is in the log (`marked`: the generation that
 * wal_recovered_t names, 0 = none), removes what is not in force, and opens what is. *store_p: kv_t. */
int generations_open(generations_t *self, uint64_t marked, shared_t **store_p, char **error)
    __attribute__((warn_unused_result));
/* The number of the one in force. */
uint64_t generations_current(const generations_t *self);

/* A new, empty store, with a number that was never in use. */
int generations_prepare(generations_t *self, uint64_t *generation, shared_t **store_p, char **error)
    __attribute__((warn_unused_result));
/* Everything written to it is on the disk and can be found there: it may be marked in the log. */
int generations_seal(generations_t *self, uint64_t generation, shared_t *store, char **error)
    __attribute__((warn_unused_result));
/* From now on a start opens this one. Only after its mark is durable. */
int generations_put_in_force(generations_t *self, uint64_t generation, shared_t *store,
                             char **error) __attribute__((warn_unused_result));
/* Not the one in force, and nobody holds its store any more. */
int generations_remove(generations_t *self, uint64_t generation, char **error)
    __attribute__((warn_unused_result));
/* Accepts NULL and nulls the pointer. */
void generations_destroy(generations_t **self_p);

/* ---- implementations ---- */
typedef struct {
    data_dir_t *dir; /* borrowed; opened, not yet settled */
    /* Told how long each write to the store in force took, on the writer's thread; or NULL. */
    void (*on_write)(void *context, uint64_t micros);
    void *on_write_context;
} generations_leveldb_cfg_t;
generations_t *generations_leveldb_new(const generations_leveldb_cfg_t *cfg);

/* The first generation is there and empty. The stores belong to it and outlive every handle on them, like
 * a disk does. */
generations_t *generations_memory_new(void);
/* Is it there? For tests of what is removed when. */
bool generations_memory_has(const generations_t *self, uint64_t generation);
/* Simulated crash, when nobody holds a store any more: which one is in force stays; each store falls back as
 * in kv_memory_crash, so a sealed one keeps what it had then. */
void generations_memory_crash(generations_t *self, uint64_t pick);
