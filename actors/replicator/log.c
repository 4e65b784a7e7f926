#include "actors/replicator/log.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/xalloc.h"

enum { CAPACITY_FIRST = 1024 };

static void push_configuration(log_t *self, uint64_t index, const bytes_t *encoded)
{
    self->configurations = xgrow(self->configurations, &self->configuration_capacity,
                                 self->configuration_count + 1, sizeof *self->configurations);
    self->configurations[self->configuration_count++] =
        (log_configuration_t){.index = index, .encoded = bytes_ref(encoded)};
}

void log_init(log_t *self, uint64_t base_index, uint64_t base_term, uint64_t configuration_index,
              const bytes_t *configuration)
{
    *self = (log_t){.base_index = base_index, .base_term = base_term, .capacity = CAPACITY_FIRST};
    self->items = xcalloc(self->capacity, sizeof *self->items);
    push_configuration(self, configuration_index, configuration);
}

void log_deinit(log_t *self)
{
    log_drop_until(self, log_last_index(self));
    for (size_t i = 0; i < self->configuration_count; i++) {
        bytes_unref(&self->configurations[i].encoded);
    }
    free(self->configurations);
    free(self->items);
    *self = (log_t){0};
}

uint64_t log_last_index(const log_t *self)
{
    return self->base_index + self->count;
}

static entry_t *slot(const log_t *self, size_t offset)
{
    return &self->items[(self->head + offset) & (self->capacity - 1)];
}

uint64_t log_last_term(const log_t *self)
{
    return self->count ? slot(self, self->count - 1)->term : self->base_term;
}

const entry_t *log_at(const log_t *self, uint64_t index)
{
    if (index <= self->base_index || index > log_last_index(self)) {
        return NULL;
    }
    return slot(self, (size_t)(index - self->base_index - 1));
}

static void grow(log_t *self)
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

void log_append(log_t *self, const entry_t *entry)
{
    assert(entry->index == log_last_index(self) + 1);
    assert(entry->term >= log_last_term(self));
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
static void forget_configurations(log_t *self, uint64_t index)
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

void log_drop_until(log_t *self, uint64_t index)
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

const log_configuration_t *log_configuration(const log_t *self)
{
    assert(self->configuration_count > 0);
    return &self->configurations[self->configuration_count - 1];
}
