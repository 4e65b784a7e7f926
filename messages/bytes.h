/* bytes: immutable, reference-counted bytes, shared by WAL, applier, peers and watchers.
 * The count is atomic: the only thing, besides runtime/, that several threads touch. */
#pragma once

#include "messages/slice.h"

typedef struct bytes bytes_t;

/* A copy of `len` bytes; one reference, yours. */
bytes_t *bytes_new(const void *data, size_t len);
/* Room for `len` bytes, to be filled through *data_p before the buffer is shared. */
bytes_t *bytes_alloc(size_t len, uint8_t **data_p);
/* Takes `data`, of malloc, without a copy. */
bytes_t *bytes_adopt(uint8_t *data, size_t len);
/* One more reference. NULL stays NULL. */
bytes_t *bytes_ref(const bytes_t *self);
/* Gives up one reference and nulls the pointer. */
void bytes_unref(bytes_t **self_p);
/* Moves the reference out of a message: returns it and leaves NULL behind. */
bytes_t *bytes_take(bytes_t **self_p);

slice_t bytes_slice(const bytes_t *self); /* NULL gives the empty slice */
size_t bytes_len(const bytes_t *self);
