/* backlog: publications on their way to subscribers of a publish socket without libzmq. Each is there once, however
 * many have still to get it, and goes when the last one has. Pure; embedded in `subscribers`.
 *
 * Its bounds are bounds of all subscribers together: above them the oldest publication goes, and who had it waiting
 * finds nothing in its place. So what is lost is lost for those who are behind, and costs the others nothing. */
#pragma once

#include "messages/slice.h"

typedef struct {
    uint32_t waiting; /* subscribers with its number in their queue */
    uint32_t holders; /* the backlog, and subscribers that have got a part of it */
    size_t len;
    uint8_t data[]; /* as it goes over the wire */
} publication_t;

typedef struct {
    publication_t **slots; /* by number; NULL = gone */
    size_t capacity;       /* a power of two */
    uint64_t first, next;  /* numbers: the oldest that may be there, and the next one */
    size_t bytes;
    size_t count_max, bytes_max;
} backlog_t;

void backlog_init(backlog_t *self, size_t count_max, size_t bytes_max);
void backlog_deinit(backlog_t *self);

/* Nobody waits for it yet. Returns its number. */
uint64_t backlog_add(backlog_t *self, slice_t content);
/* NULL = gone. */
publication_t *backlog_get(const backlog_t *self, uint64_t number);
/* One more, or one less, waits; with the last one it goes. Of what is gone nothing happens. */
void backlog_wait(backlog_t *self, uint64_t number);
void backlog_unwait(backlog_t *self, uint64_t number);
/* If nobody waits for it. */
void backlog_release(backlog_t *self, uint64_t number);

publication_t *publication_hold(publication_t *self);
void publication_drop(publication_t **self_p);
