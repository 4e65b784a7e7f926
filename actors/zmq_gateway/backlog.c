#include "actors/zmq_gateway/backlog.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/xalloc.h"

void backlog_init(backlog_t *self, size_t count_max, size_t bytes_max)
{
    enum { CAPACITY_MIN = 64 };
    *self = (backlog_t){.capacity = CAPACITY_MIN, .count_max = count_max, .bytes_max = bytes_max};
    self->slots = xcalloc(self->capacity, sizeof(publication_t *));
}

publication_t *publication_hold(publication_t *self)
{
    self->holders++;
    return self;
}

void publication_drop(publication_t **self_p)
{
    publication_t *self = *self_p;
    *self_p = NULL;
    if (self && --self->holders == 0) {
        free(self);
    }
}

static publication_t **slot_of(const backlog_t *self, uint64_t number)
{
    return &self->slots[number & (self->capacity - 1)];
}

static void forget(backlog_t *self, uint64_t number)
{
    publication_t **slot = slot_of(self, number);
    if (*slot) {
        self->bytes -= (*slot)->len;
        publication_drop(slot);
    }
    while (self->first < self->next && !*slot_of(self, self->first)) {
        self->first++;
    }
}

void backlog_deinit(backlog_t *self)
{
    while (self->first < self->next) {
        forget(self, self->first);
    }
    free(self->slots);
}

static void grow(backlog_t *self)
{
    backlog_t larger = *self;
    larger.capacity *= 2;
    larger.slots = xcalloc(larger.capacity, sizeof(publication_t *));
    for (uint64_t i = self->first; i < self->next; i++) {
        *slot_of(&larger, i) = *slot_of(self, i);
    }
    free(self->slots);
    *self = larger;
}

uint64_t backlog_add(backlog_t *self, slice_t content)
{
    while (self->first < self->next && (self->next - self->first >= self->count_max ||
                                        self->bytes + content.len > self->bytes_max)) {
        forget(self, self->first);
    }
    if (self->next - self->first == self->capacity) {
        grow(self);
    }
    publication_t *publication = xmalloc(sizeof *publication + content.len);
    *publication = (publication_t){.holders = 1, .len = content.len};
    memcpy(publication->data, content.data, content.len);
    *slot_of(self, self->next) = publication;
    self->bytes += content.len;
    return self->next++;
}

publication_t *backlog_get(const backlog_t *self, uint64_t number)
{
    return number >= self->first && number < self->next ? *slot_of(self, number) : NULL;
}

void backlog_wait(backlog_t *self, uint64_t number)
{
    publication_t *publication = backlog_get(self, number);
    if (publication) {
        publication->waiting++;
    }
}

void backlog_release(backlog_t *self, uint64_t number)
{
    const publication_t *publication = backlog_get(self, number);
    if (publication && publication->waiting == 0) {
        forget(self, number);
    }
}

void backlog_unwait(backlog_t *self, uint64_t number)
{
    publication_t *publication = backlog_get(self, number);
    if (publication) {
        assert(publication->waiting > 0);
        publication->waiting--;
        backlog_release(self, number);
    }
}
