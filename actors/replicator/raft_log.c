#include "actors/replicator/raft_log.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/xalloc.h"

enum { CAPACITY_FIRST = 1024 };

static void push_configuration(raft_log_t *self, uint64_t index, const bytes_t *encoded)
{
    self->configurations = xgrow(self->configurations, &self->configuration_capacity,
                                 self->configuration_count + 1, sizeof *self->configurations);
    self->configurations[self->configuration_count++] =
        (raft_log_configuration_t){.index = index, .encoded = bytes_ref(encoded)};
}

void raft_log_init(raft_log_t *self, uint64_t base_index, uint64_t base_term,
                   uint64_t configuration_index, const bytes_t *configuration)
{
    *self =
        (raft_log_t){.base_index = base_index, .base_term = base_term, .capacity = CAPACITY_FIRST};
    self->items = xcalloc(self->capacity, sizeof *self->items);
    push_configuration(self, configuration_index, configuration);
}

void raft_log_deinit(raft_log_t *self)
{
    raft_log_drop_until(self, raft_log_last_index(self));
    for (size_t i = 0; i < self->configuration_count; i++) {
        bytes_unref(&self->configurations[i].encoded);
    }
    free(self->configurations);
    free(self->items);
    *self = (raft_log_t){0};
}

uint64_t raft_log_last_index(const raft_log_t *self)
{
    return self->base_index + self->count;
}

static entry_t *slot(const raft_log_t *self, size_t offset)
{
    return &self->items[(self->head + offset) & (self->capacity - 1)];
}

uint64_t raft_log_last_term(const raft_log_t *self)
{
    return self->count ? slot(self, self->count - 1)->term : self->base_term;
}

const entry_t *raft_log_at(const raft_log_t *self, uint64_t index)
{
    if (index <= self->base_index || index > raft_log_last_index(self)) {
        return NULL;
    }
    return slot(self, (size_t)(index - self->base_index - 1));
}

static void grow(raft_log_t *self)
{
    entry_t *items = xcalloc(self->capacity * 2, sizeof *items);
    for (size_t i = 0; i < self->count; i++) {
        items[i] = *slot(self, i);
    }
    free(self->items);
    self->items = items;
    self->head = 0;
    self->capacity *= 2;
}

void raft_log_append(raft_log_t *self, const entry_t *entry)
{
    assert(entry->index == raft_log_last_index(self) + 1);
    assert(entry->term >= raft_log_last_term(self));
    if (self->count == self->capacity) {
        grow(self);
    }
    entry_t *kept = slot(self, self->count++);
    *kept = *entry;
    kept->payload = bytes_ref(entry->payload);
    self->bytes += bytes_len(entry->payload);
    if (entry->type == ENTRY_CONFIGURATION) {
        push_configuration(self, entry->index, entry->payload);
    }
}

/* Configurations below `index` are superseded; the newest at or below it must stay. */
static void forget_configurations(raft_log_t *self, uint64_t index)
{
    size_t drop = 0;
    while (drop + 1 < self->configuration_count && self->configurations[drop + 1].index <= index) {
        bytes_unref(&self->configurations[drop++].encoded);
    }
    if (drop) {
        self->configuration_count -= drop;
        memmove(self->configurations, self->configurations + drop,
                self->configuration_count * sizeof *self->configurations);
    }
}

void raft_log_drop_until(raft_log_t *self, uint64_t index)
{
    while (self->count && self->base_index < index) {
        entry_t *first = slot(self, 0);
        self->bytes -= bytes_len(first->payload);
        self->base_term = first->term;
        self->base_index = first->index;
        bytes_unref(&first->payload);
        self->head = (self->head + 1) & (self->capacity - 1);
        self->count--;
    }
    forget_configurations(self, self->base_index);
}

const raft_log_configuration_t *raft_log_configuration(const raft_log_t *self)
{
    assert(self->configuration_count > 0);
    return &self->configurations[self->configuration_count - 1];
}
