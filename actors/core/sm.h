/* sm: a state machine declared as a table of states and allowed moves. Pure; embedded in its owner.
 * The state changes only through sm_move, which asserts that the table allows it. */
#pragma once

#include <assert.h>
#include <stdint.h>

typedef struct {
    const char *name;
    uint32_t next; /* bit set of states that may follow */
} sm_state_t;

typedef struct {
    const sm_state_t *table;
    unsigned state;
} sm_t;

#define SM_TO(state) (1u << (state))

static inline void sm_init(sm_t *self, const sm_state_t *table, unsigned state)
{
    self->table = table;
    self->state = state;
}

static inline void sm_move(sm_t *self, unsigned to)
{
    assert(self->table[self->state].next & SM_TO(to));
    self->state = to;
}

static inline const char *sm_name(const sm_t *self)
{
    return self->table[self->state].name;
}
