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

bool raft_log_term_at(const raft_log_t *self, uint64_t index, uint64_t *term)
{
    const entry_t *entry = raft_log_at(self, index);
    if (!entry && index != self->base_index) {
        return false;
    }
    *term = entry ? entry->term : self->base_term;
    return true;
}

uint64_t raft_log_last_with_term(const raft_log_t *self, uint64_t index, uint64_t term)
{
    uint64_t low = self->base_index;
    uint64_t high = index < raft_log_last_index(self) ? index : raft_log_last_index(self);
    while (low < high) {
        uint64_t middle = high - (high - low) / 2;
        if (raft_log_at(self, middle)->term <= term) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
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

void raft_log_cut(raft_log_t *self, uint64_t from)
{
    assert(from > self->base_index);
    while (raft_log_last_index(self) >= from) {
        entry_t *last = slot(self, --self->count);
        self->bytes -= bytes_len(last->payload);
        bytes_unref(&last->payload);
    }
    while (self->configurations[self->configuration_count - 1].index >= from) {
        assert(self->configuration_count > 1); /* the one at the base is not above it */
        bytes_unref(&self->configurations[--self->configuration_count].encoded);
    }
}

void raft_log_reset(raft_log_t *self, uint64_t index, uint64_t term, const bytes_t *configuration)
{
    uint64_t own_term = 0;
    bool matches = raft_log_term_at(self, index, &own_term) && own_term == term;
    raft_log_drop_until(self, matches ? index : raft_log_last_index(self));
    if (matches) {
        return;
    }
    self->base_index = index;
    self->base_term = term;
    while (self->configuration_count) {
        bytes_unref(&self->configurations[--self->configuration_count].encoded);
    }
    push_configuration(self, index, configuration);
}

size_t raft_log_bytes_above(const raft_log_t *self, uint64_t index)
{
    size_t bytes = 0;
    for (uint64_t at = raft_log_last_index(self); at > index && at > self->base_index; at--) {
        bytes += bytes_len(raft_log_at(self, at)->payload);
    }
    return bytes;
}

const raft_log_configuration_t *raft_log_configuration(const raft_log_t *self)
{
    assert(self->configuration_count > 0);
    return &self->configurations[self->configuration_count - 1];
}
