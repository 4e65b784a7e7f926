/* raft_log: the entries the replicator keeps in memory, the configurations among them, and where each
 * term begins. Pure; embedded in the replicator. Index 0 stands for "before the first entry". */
#pragma once

#include "messages/configuration.h"
#include "messages/msg.h"

typedef struct {
    uint64_t index;
    bytes_t *encoded;
} raft_log_configuration_t;

typedef struct {
    uint64_t base_index, base_term; /* of the entry just before the first one kept */
    entry_t *items;                 /* ring of `capacity`, a power of two */
    size_t capacity, head, count;
    size_t bytes;                             /* of payloads kept */
    raft_log_configuration_t *configurations; /* by index; the last one counts (append mode) */
    size_t configuration_count, configuration_capacity;
} raft_log_t;

void raft_log_init(raft_log_t *self, uint64_t base_index, uint64_t base_term,
                   uint64_t configuration_index, const bytes_t *configuration);
void raft_log_deinit(raft_log_t *self);
uint64_t raft_log_last_index(const raft_log_t *self);
uint64_t raft_log_last_term(const raft_log_t *self);
/* NULL when the entry is not kept (compacted away or not there yet). */
const entry_t *raft_log_at(const raft_log_t *self, uint64_t index);
/* The term of an entry that is kept, or of the one just before; false: not known (any more). */
bool raft_log_term_at(const raft_log_t *self, uint64_t index, uint64_t *term);
/* The last index, at most `index`, whose term is at most `term`; never below the base. Where two logs
 * may still agree when they do not at `index` (terms never fall along a log). */
uint64_t raft_log_last_with_term(const raft_log_t *self, uint64_t index, uint64_t term);
/* Appends at last index + 1 (asserted); takes a reference on the payload. */
void raft_log_append(raft_log_t *self, const entry_t *entry);
/* Replaces from `from` on, which is above the base (asserted): forgets these entries and their configurations. */
void raft_log_cut(raft_log_t *self, uint64_t from);
/* Forgets entries up to and including `index`. */
void raft_log_drop_until(raft_log_t *self, uint64_t index);
/* Begins after (index, term), as a snapshot says. What follows a matching entry stays; a log that does not
 * hold it is forgotten as a whole, and `configuration` is the one in force. */
void raft_log_reset(raft_log_t *self, uint64_t index, uint64_t term, const bytes_t *configuration);
/* Bytes of payloads of the entries above `index`. */
size_t raft_log_bytes_above(const raft_log_t *self, uint64_t index);
/* The newest. */
const raft_log_configuration_t *raft_log_configuration(const raft_log_t *self);
