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
/* Appends at last index + 1 (asserted); takes a reference on the payload. */
void raft_log_append(raft_log_t *self, const entry_t *entry);
/* Forgets entries up to and including `index`. */
void raft_log_drop_until(raft_log_t *self, uint64_t index);
const raft_log_configuration_t *raft_log_configuration(const raft_log_t *self);
