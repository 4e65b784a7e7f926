/* generations_leveldb: one LevelDB database per generation, in the data directory. */
#include "store/generations.h"

#include <stdlib.h>

#include "messages/xalloc.h"

typedef struct {
    generations_t base;
    generations_leveldb_cfg_t cfg;
} disk_t;

static void close_store(void *object)
{
    kv_t *kv = object;
    kv_close(&kv);
}

static int open_database(const char *path, shared_t **store_p, char **error)
{
    kv_leveldb_cfg_t cfg = {.path = path};
    kv_t *kv = NULL;
    char *text = NULL;
    int rc = kv_leveldb_open(&kv, &cfg, &text);
    if (rc != 0) {
        *error = xasprintf("cannot open the store in %s: %s", path, text);
        free(text);
        return rc;
    }
    *store_p = shared_new(kv, close_store);
    return 0;
}

/* Whoever writes to it from now on is the applier. */
static void observe(const disk_t *self, shared_t *store)
{
    kv_leveldb_on_write(shared_object(store), self->cfg.on_write, self->cfg.on_write_context);
}

static int disk_open(generations_t *base, uint64_t marked, shared_t **store_p, char **error)
{
    disk_t *self = (disk_t *)base;
    int rc = data_dir_settle(self->cfg.dir, marked, error);
    rc = rc ? rc : open_database(data_dir_store(self->cfg.dir), store_p, error);
    if (rc == 0) {
        observe(self, *store_p);
    }
    return rc;
}

static uint64_t disk_current(const generations_t *base)
{
    return data_dir_generation(((const disk_t *)base)->cfg.dir);
}

static int disk_prepare(generations_t *base, uint64_t *generation, shared_t **store_p, char **error)
{
    disk_t *self = (disk_t *)base;
    char *path = NULL;
    int rc = data_dir_prepare(self->cfg.dir, generation, &path, error);
    rc = rc ? rc : open_database(path, store_p, error);
    free(path);
    return rc;
}

static int disk_seal(generations_t *base, uint64_t generation, shared_t *store, char **error)
{
    disk_t *self = (disk_t *)base;
    kv_t *kv = shared_object(store);
    int rc = kv_flush(kv);
    if (rc != 0) {
        *error = xasprintf("cannot flush the new store: %s", kv_error(kv));
        return rc;
    }
    return data_dir_seal(self->cfg.dir, generation, error);
}

static int disk_put_in_force(generations_t *base, uint64_t generation, shared_t *store,
                             char **error)
{
    disk_t *self = (disk_t *)base;
    observe(self, store);
    return data_dir_switch(self->cfg.dir, generation, error);
}

static int disk_remove(generations_t *base, uint64_t generation, char **error)
{
    return data_dir_remove(((disk_t *)base)->cfg.dir, generation, error);
}

static void disk_destroy(generations_t **self_p)
{
    free(*self_p);
    *self_p = NULL;
}

static const generations_ops_t ops = {
    .open = disk_open,
    .current = disk_current,
    .prepare = disk_prepare,
    .seal = disk_seal,
    .put_in_force = disk_put_in_force,
    .remove = disk_remove,
    .destroy = disk_destroy,
};

generations_t *generations_leveldb_new(const generations_leveldb_cfg_t *cfg)
{
    disk_t *self = xcalloc(1, sizeof *self);
    self->base.ops = &ops;
    self->cfg = *cfg;
    return &self->base;
}
