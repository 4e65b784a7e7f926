/* Sizes are rounded up to multiples of 64 bytes, larger blocks go to malloc. In front of each block
 * stands the number of its class. */
#include "actors/grpc_gateway/pool.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "messages/limits.h"
#include "messages/xalloc.h"

enum { STEP_BYTES = 64, CLASSES = 8, CLASS_LARGE = CLASSES };

/* Sanitizers shall see every block come and go. */
#if defined(__SANITIZE_ADDRESS__)
#define KEEP_NOTHING 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KEEP_NOTHING 1
#endif
#endif
#ifdef KEEP_NOTHING
static const unsigned kept_max = 0;
#else
static const unsigned kept_max = LIMIT_POOL_BLOCKS;
#endif

typedef union block {
    struct {
        uint32_t class;
        uint32_t size; /* of large ones, or what fits */
    } head;
    union block *next;                /* while free */
    _Alignas(max_align_t) char align; /* what follows is aligned for anything */
} block_t;

struct pool {
    struct {
        block_t *first;
        unsigned count;
    } kept[CLASSES];
    size_t in_use;
};

pool_t *pool_new(void)
{
    return xcalloc(1, sizeof(pool_t));
}

void pool_destroy(pool_t **self_p)
{
    pool_t *self = *self_p;
    *self_p = NULL;
    if (!self) {
        return;
    }
    assert(self->in_use == 0);
    for (int i = 0; i < CLASSES; i++) {
        while (self->kept[i].first) {
            block_t *block = self->kept[i].first;
            self->kept[i].first = block->next;
            free(block);
        }
    }
    free(self);
}

void *pool_alloc(pool_t *self, size_t size)
{
    assert(size <= UINT32_MAX - sizeof(block_t));
    size_t class = size ? (size - 1) / STEP_BYTES : 0;
    block_t *block = NULL;
    if (class >= CLASSES) {
        block = xmalloc(sizeof *block + size);
        class = CLASS_LARGE;
    } else {
        size = (class + 1) * STEP_BYTES;
        block = self->kept[class].first;
        if (block) {
            self->kept[class].first = block->next;
            self->kept[class].count--;
        } else {
            block = xmalloc(sizeof *block + size);
        }
    }
    block->head.class = (uint32_t) class;
    block->head.size = (uint32_t)size;
    self->in_use++;
    return block + 1;
}

void pool_free(pool_t *self, void *memory)
{
    if (!memory) {
        return;
    }
    block_t *block = (block_t *)memory - 1;
    uint32_t class = block->head.class;
    assert(class <= CLASS_LARGE);
    assert(self->in_use > 0);
    self->in_use--;
    if (class == CLASS_LARGE || self->kept[class].count >= kept_max) {
        free(block);
        return;
    }
    block->next = self->kept[class].first;
    self->kept[class].first = block;
    self->kept[class].count++;
}

void *pool_calloc(pool_t *self, size_t count, size_t size)
{
    assert(size == 0 || count <= UINT32_MAX / size);
    void *memory = pool_alloc(self, count * size);
    return memset(memory, 0, count * size);
}

void *pool_realloc(pool_t *self, void *memory, size_t size)
{
    if (!memory) {
        return pool_alloc(self, size);
    }
    size_t old_size = ((block_t *)memory - 1)->head.size;
    if (size <= old_size) {
        return memory;
    }
    void *moved = pool_alloc(self, size);
    memcpy(moved, memory, old_size);
    pool_free(self, memory);
    return moved;
}
