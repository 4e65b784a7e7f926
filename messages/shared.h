/* shared: a reference-counted handle on an object that several actors hold, such as the store.
 * The object itself must be safe to use from all of them. The last release destroys it, on
 * whichever thread that happens. */
#pragma once

#include <stdbool.h>

typedef struct shared shared_t;

shared_t *shared_new(void *object, void (*destroy)(void *object));
shared_t *shared_ref(shared_t *self);
void shared_unref(shared_t **self_p);
/* Does nobody else hold it? Then nobody will, unless the caller gives a reference away. */
bool shared_is_last(const shared_t *self);
void *shared_object(const shared_t *self);
