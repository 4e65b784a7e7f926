/* wal_terms: which term each entry above the commit index has, so that the WAL writer can tell whether the
 * log holds a snapshot's last entry. Pure. Runs of entries of one term; terms grow with the index. */
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t first, term;
} wal_term_run_t;

typedef struct {
    wal_term_run_t *runs; /* by index; one per term among the entries above the commit index */
    size_t count;
    size_t capacity;
} wal_terms_t; /* zero-initialised is empty */

void wal_terms_deinit(wal_terms_t *self);
/* The entry at `index`, right behind the last one. */
void wal_terms_push(wal_terms_t *self, uint64_t index, uint64_t term);
/* The log is replaced from `first` on. */
void wal_terms_cut(wal_terms_t *self, uint64_t first);
/* Nobody will ask for entries up to `commit`. */
void wal_terms_settle(wal_terms_t *self, uint64_t commit);
/* Of an entry above the commit index that the log holds; 0 when nothing has been pushed up to there. */
uint64_t wal_terms_at(const wal_terms_t *self, uint64_t index);
