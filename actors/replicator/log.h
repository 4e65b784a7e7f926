/* log: the entries the replicator keeps in memory, the configurations among them, and where each
 * term begins. Pure; embedded in the replicator. Index 0 stands for "before the first entry". */
#pragma once

#include "messages/configuration.h"
#include "messages/msg.h"

typedef struct {
    uint64_t index;
    bytes_t *encoded;
} log_configuration_t;

typedef struct {
    uint64_t base_index, base_term; /* of the entry just before the first one kept */
    entry_t *items;                 /* ring of `capacity`, a power of two */
    size_t capacity, head, count;
    size_t bytes;                        /* of payloads kept */
    log_configuration_t *configurations; /* by index; the last one counts (append mode) */
    size_t configuration_count, configuration_capacity;
} log_t;

void log_init(log_t *self, uint64_t base_index, uint64_t base_term, uint64_t configuration_index,
              const bytes_t *configuration);
void log_deinit(log_t *self);
uint64_t log_last_index(const log_t *self);
uint64_t log_last_term(const log_t *self);
/* NULL when the entry is not kept (compacted away or not there yet). */
const entry_t *log_at(const log_t *self, uint64_t index);
/* Appends at last index + 1 (asserted); takes a reference on the payload. */
void log_append(log_t *self, const entry_t *entry);
/* Forgets entries up to and including `index`. */
void log_drop_until(log_t *self, uint64_t index);
const log_configuration_t *log_configuration(const log_t *self);
