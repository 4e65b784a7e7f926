#include "messages/bytes.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "messages/xalloc.h"

struct bytes {
    _Atomic uint32_t refs;
    size_t len;
    uint8_t *data; /* `own`, or adopted */
    uint8_t own[];
};

bytes_t *bytes_alloc(size_t len, uint8_t **data_p)
{
    bytes_t *self = xmalloc(sizeof *self + len);
    atomic_init(&self->refs, 1);
    self->len = len;
    self->data = self->own;
    *data_p = self->own;
    return self;
}

bytes_t *bytes_adopt(uint8_t *data, size_t len)
{
    uint8_t *none = NULL;
    bytes_t *self = bytes_alloc(0, &none);
    self->len = len;
    self->data = data;
    return self;
}

bytes_t *bytes_new(const void *data, size_t len)
{
    uint8_t *room = NULL;
    bytes_t *self = bytes_alloc(len, &room);
    if (len) {
        memcpy(room, data, len);
    }
    return self;
}

bytes_t *bytes_ref(const bytes_t *self)
{
    if (!self) {
        return NULL;
    }
    /* The count is not part of the immutable content, so sharing a const buffer may change it. */
    bytes_t *shared = (bytes_t *)(uintptr_t)self;
    uint32_t before = atomic_fetch_add_explicit(&shared->refs, 1, memory_order_relaxed);
    assert(before > 0);
    return shared;
}

void bytes_unref(bytes_t **self_p)
{
    assert(self_p);
    bytes_t *self = *self_p;
    *self_p = NULL;
    if (self && atomic_fetch_sub_explicit(&self->refs, 1, memory_order_acq_rel) == 1) {
        if (self->data != self->own) {
            free(self->data);
        }
        free(self);
    }
}

bytes_t *bytes_take(bytes_t **self_p)
{
    bytes_t *self = *self_p;
    *self_p = NULL;
    return self;
}

slice_t bytes_slice(const bytes_t *self)
{
    return self ? slice(self->data, self->len) : slice(NULL, 0);
}

size_t bytes_len(const bytes_t *self)
{
    return self ? self->len : 0;
}
