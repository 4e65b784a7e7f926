#include "actors/wal_writer/wal_terms.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "messages/xalloc.h"

void wal_terms_deinit(wal_terms_t *self)
{
    free(self->runs);
    *self = (wal_terms_t){0};
}

void wal_terms_push(wal_terms_t *self, uint64_t index, uint64_t term)
{
    const wal_term_run_t *last = self->count ? &self->runs[self->count - 1] : NULL;
    assert(!last || (last->term <= term && last->first < index));
    if (!last || last->term < term) {
        self->runs = xgrow(self->runs, &self->capacity, self->count + 1, sizeof *self->runs);
        self->runs[self->count++] = (wal_term_run_t){.first = index, .term = term};
    }
}

void wal_terms_cut(wal_terms_t *self, uint64_t first)
{
    while (self->count > 0 && self->runs[self->count - 1].first >= first) {
        self->count--;
    }
}

void wal_terms_settle(wal_terms_t *self, uint64_t commit)
{
    size_t gone = 0;
    while (gone + 1 < self->count && self->runs[gone + 1].first <= commit) {
        gone++;
    }
    if (gone > 0) {
        self->count -= gone;
        memmove(self->runs, self->runs + gone, self->count * sizeof *self->runs);
    }
}

uint64_t wal_terms_at(const wal_terms_t *self, uint64_t index)
{
    for (size_t i = self->count; i > 0; i--) {
        if (self->runs[i - 1].first <= index) {
            return self->runs[i - 1].term;
        }
    }
    return 0;
}
