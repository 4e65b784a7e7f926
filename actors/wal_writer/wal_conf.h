/* wal_conf: which configuration is in force at the end of the log, while entries come and are
 * replaced. Pure. A stack of (index, encoded configuration): the bottom is settled, the others can
 * still be cut off. It holds one item per configuration entry above the commit index, and Raft
 * allows one uncommitted change at a time. */
#pragma once

#include "messages/bytes.h"

typedef struct {
    uint64_t index;
    bytes_t *bytes; /* NULL = no configuration yet */
} wal_conf_item_t;

typedef struct {
    wal_conf_item_t *items;
    size_t count;
    size_t capacity;
} wal_conf_t; /* zero-initialised is empty; push the bottom before anything else */

void wal_conf_deinit(wal_conf_t *self);
/* A configuration entry at `index`, above all others. Takes a reference of its own. */
void wal_conf_push(wal_conf_t *self, uint64_t index, const bytes_t *bytes);
/* The log is replaced from `first` on; never below the bottom. */
void wal_conf_cut(wal_conf_t *self, uint64_t first);
/* Everything up to `commit` stays for good. */
void wal_conf_settle(wal_conf_t *self, uint64_t commit);
/* The log begins after `index` with this configuration; those above `index` stay, or all go. */
void wal_conf_begin(wal_conf_t *self, uint64_t index, const bytes_t *bytes, bool keep_above);
uint64_t wal_conf_index(const wal_conf_t *self);
const bytes_t *wal_conf_top(const wal_conf_t *self);
