/* generations_memory: generations as maps in memory (kv_memory.c), for the simulator. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "messages/xalloc.h"
#include "store/generations.h"

typedef struct {
    uint64_t generation;
    kv_t *kv;
} map_t;

typedef struct {
    generations_t base;
    map_t *maps; /* by number */
    size_t count, capacity;
    uint64_t current;
    uint64_t last; /* highest number ever given */
} memory_t;

static map_t *find(const memory_t *self, uint64_t generation)
{
    for (size_t i = 0; i < self->count; i++) {
        if (self->maps[i].generation == generation) {
            return &self->maps[i];
        }
    }
    return NULL;
}

static map_t *add(memory_t *self)
{
    self->maps = xgrow(self->maps, &self->capacity, self->count + 1, sizeof *self->maps);
    map_t *map = &self->maps[self->count++];
    *map = (map_t){.generation = ++self->last, .kv = kv_memory_new()};
    return map;
}

static void drop(memory_t *self, map_t *map)
{
    kv_close(&map->kv);
    size_t behind = self->count - (size_t)(map - self->maps) - 1;
    memmove(map, map + 1, behind * sizeof *map);
    self->count--;
}

static void keep_store(void *kv)
{
    (void)kv; /* it is the disk: only removing ends it */
}

static int memory_open(generations_t *base, uint64_t marked, shared_t **store_p, char **error)
{
    memory_t *self = (memory_t *)base;
    if (marked != 0 && (marked < self->current || !find(self, marked))) {
        *error = xasprintf("the log tells of generation %" PRIu64, marked);
        return DATA_DIR_CORRUPT;
    }
    self->current = marked ? marked : self->current;
    for (size_t i = self->count; i > 0; i--) {
        if (self->maps[i - 1].generation != self->current) {
            drop(self, &self->maps[i - 1]);
        }
    }
    assert(self->count == 1);
    *store_p = shared_new(self->maps[0].kv, keep_store);
    return 0;
}

static uint64_t memory_current(const generations_t *base)
{
    return ((const memory_t *)base)->current;
}

static int memory_prepare(generations_t *base, uint64_t *generation, shared_t **store_p,
                          char **error)
{
    (void)error;
    const map_t *map = add((memory_t *)base);
    *generation = map->generation;
    *store_p = shared_new(map->kv, keep_store);
    return 0;
}

static int memory_seal(generations_t *base, uint64_t generation, shared_t *store, char **error)
{
    (void)error;
    assert(find((memory_t *)base, generation)->kv == shared_object(store));
    return kv_flush(shared_object(store));
}

static int memory_put_in_force(generations_t *base, uint64_t generation, shared_t *store,
                               char **error)
{
    (void)error;
    memory_t *self = (memory_t *)base;
    assert(generation > self->current && find(self, generation)->kv == shared_object(store));
    self->current = generation;
    return 0;
}

static int memory_remove(generations_t *base, uint64_t generation, char **error)
{
    (void)error;
    memory_t *self = (memory_t *)base;
    assert(generation != self->current);
    drop(self, find(self, generation));
    return 0;
}

static void memory_destroy(generations_t **self_p)
{
    memory_t *self = (memory_t *)*self_p;
    *self_p = NULL;
    for (size_t i = 0; i < self->count; i++) {
        kv_close(&self->maps[i].kv);
    }
    free(self->maps);
    free(self);
}

static const generations_ops_t ops = {
    .open = memory_open,
    .current = memory_current,
    .prepare = memory_prepare,
    .seal = memory_seal,
    .put_in_force = memory_put_in_force,
    .remove = memory_remove,
    .destroy = memory_destroy,
};

generations_t *generations_memory_new(void)
{
    memory_t *self = xcalloc(1, sizeof *self);
    self->base.ops = &ops;
    self->current = add(self)->generation;
    return &self->base;
}

bool generations_memory_has(const generations_t *base, uint64_t generation)
{
    assert(base->ops == &ops);
    return find((const memory_t *)base, generation) != NULL;
}

void generations_memory_crash(generations_t *base, uint64_t pick)
{
    assert(base->ops == &ops);
    memory_t *self = (memory_t *)base;
    for (size_t i = 0; i < self->count; i++) {
        kv_memory_crash(self->maps[i].kv, pick);
    }
}
