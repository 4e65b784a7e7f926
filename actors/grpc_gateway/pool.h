/* pool: memory for one thread's many short-lived objects: freed blocks wait in lists by size. Pure.
 * A batch of 256 calls overflows what malloc keeps at hand per size; here taking and giving back
 * is a few instructions. nghttp2 allocates through it, about 18 times per call. */
#pragma once

#include <stddef.h>

typedef struct pool pool_t;

pool_t *pool_new(void);
void pool_destroy(pool_t **self_p); /* when every block has been given back */

/* As malloc and its kin, without failure. Blocks belong to the pool they came from. */
void *pool_alloc(pool_t *self, size_t size);
void *pool_calloc(pool_t *self, size_t count, size_t size);
void *pool_realloc(pool_t *self, void *memory, size_t size);
void pool_free(pool_t *self, void *memory); /* NULL is fine */
