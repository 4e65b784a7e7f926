/* kv: dispatch to the implementation, and what all implementations share. */
#include "store/kv.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "messages/xalloc.h"
#include "store/kv_impl.h"

void kv_value_deinit(kv_value_t *value)
{
    free(value->data);
    *value = (kv_value_t){0};
}

int kv_get(const kv_reader_t *reader, slice_t key, kv_value_t *value)
{
    return reader->get(reader, key, value);
}

kv_iter_t *kv_iter_new(const kv_reader_t *reader)
{
    return reader->iter(reader);
}

void kv_iter_destroy(kv_iter_t **self_p)
{
    if (*self_p) {
        (*self_p)->ops->destroy(*self_p);
        *self_p = NULL;
    }
}

kv_snapshot_t *kv_snapshot_new(kv_t *kv)
{
    return kv->ops->snapshot(kv);
}

void kv_snapshot_destroy(kv_snapshot_t **self_p)
{
    if (*self_p) {
        (*self_p)->destroy(*self_p);
        *self_p = NULL;
    }
}

const kv_reader_t *kv_snapshot_reader(const kv_snapshot_t *self)
{
    return self->reader;
}

kv_batch_t *kv_batch_new(kv_t *kv)
{
    return kv->ops->batch(kv);
}

void kv_batch_destroy(kv_batch_t **self_p)
{
    if (*self_p) {
        (*self_p)->destroy(*self_p);
        *self_p = NULL;
    }
}

void kv_batch_put(kv_batch_t *batch, slice_t key, slice_t value)
{
    assert(key.len > 0); /* kv_flush relies on the empty key being absent */
    batch->put(batch, key, value);
}

void kv_batch_delete(kv_batch_t *batch, slice_t key)
{
    assert(key.len > 0);
    batch->remove(batch, key);
}

int kv_write(kv_t *kv, kv_batch_t *batch)
{
    assert(batch->kv == kv);
    return kv->ops->write(kv, batch);
}

const kv_reader_t *kv_latest(kv_t *kv)
{
    return kv->ops->latest(kv);
}

int kv_flush(kv_t *kv)
{
    return kv->ops->flush(kv);
}

uint64_t kv_size_bytes(kv_t *kv)
{
    return kv->ops->size_bytes(kv);
}

const char *kv_error(const kv_t *kv)
{
    const char *text = atomic_load(&kv->error);
    return text ? text : "no error";
}

void kv_close(kv_t **self_p)
{
    if (*self_p) {
        (*self_p)->ops->close(*self_p);
        *self_p = NULL;
    }
}

/* ---- for implementations ---- */

void kv_init(kv_t *self, const kv_ops_t *ops)
{
    self->ops = ops;
    atomic_init(&self->error, NULL);
}

void kv_deinit(kv_t *self)
{
    free(atomic_load(&self->error));
}

void kv_fail(kv_t *self, const char *text)
{
    char *mine = xstrdup(text);
    char *none = NULL;
    if (!atomic_compare_exchange_strong(&self->error, &none, mine)) {
        free(mine);
    }
}
