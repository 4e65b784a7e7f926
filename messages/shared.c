#include "messages/shared.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "messages/xalloc.h"

struct shared {
    _Atomic unsigned refs;
    void *object;
    void (*destroy)(void *object);
};

shared_t *shared_new(void *object, void (*destroy)(void *object))
{
    assert(object);
    assert(destroy);
    shared_t *self = xmalloc(sizeof *self);
    atomic_init(&self->refs, 1);
    self->object = object;
    self->destroy = destroy;
    return self;
}

shared_t *shared_ref(shared_t *self)
{
    unsigned before = atomic_fetch_add_explicit(&self->refs, 1, memory_order_relaxed);
    assert(before > 0);
    return self;
}

void shared_unref(shared_t **self_p)
{
    shared_t *self = *self_p;
    *self_p = NULL;
    if (self && atomic_fetch_sub_explicit(&self->refs, 1, memory_order_acq_rel) == 1) {
        self->destroy(self->object);
        free(self);
    }
}

bool shared_is_last(const shared_t *self)
{
    return atomic_load_explicit(&self->refs, memory_order_acquire) == 1;
}

void *shared_object(const shared_t *self)
{
    return self->object;
}
