/* generations: dispatch to the implementation. */
#include "store/generations.h"

int generations_open(generations_t *self, uint64_t marked, shared_t **store_p, char **error)
{
    *store_p = NULL;
    *error = NULL;
    return self->ops->open(self, marked, store_p, error);
}

uint64_t generations_current(const generations_t *self)
{
    return self->ops->current(self);
}

int generations_prepare(generations_t *self, uint64_t *generation, shared_t **store_p, char **error)
{
    *store_p = NULL;
    *error = NULL;
    return self->ops->prepare(self, generation, store_p, error);
}

int generations_seal(generations_t *self, uint64_t generation, shared_t *store, char **error)
{
    *error = NULL;
    return self->ops->seal(self, generation, store, error);
}

int generations_put_in_force(generations_t *self, uint64_t generation, shared_t *store,
                             char **error)
{
    *error = NULL;
    return self->ops->put_in_force(self, generation, store, error);
}

int generations_remove(generations_t *self, uint64_t generation, char **error)
{
    *error = NULL;
    return self->ops->remove(self, generation, error);
}

void generations_destroy(generations_t **self_p)
{
    if (*self_p) {
        (*self_p)->ops->destroy(self_p);
    }
}
