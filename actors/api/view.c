#include "actors/api/view.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/xalloc.h"

int view_new(view_t **self_p, shared_t *store, metrics_t *metrics)
{
    view_t *self = xcalloc(1, sizeof *self);
    self->refs = 1;
    self->metrics = metrics;
    metrics_add(metrics, METRIC_OPEN_READS, 1);
    self->store = shared_ref(store);
    self->snapshot = kv_snapshot_new(shared_object(store));
    self->reader = kv_snapshot_reader(self->snapshot);
    int rc = mvcc_head(self->reader, &self->head);
    if (rc < 0) {
        view_unref(&self);
    }
    *self_p = self;
    return rc;
}

view_t *view_ref(view_t *self)
{
    assert(self->refs > 0);
    self->refs++;
    return self;
}

void view_unref(view_t **self_p)
{
    view_t *self = *self_p;
    *self_p = NULL;
    if (!self || --self->refs > 0) {
        return;
    }
    metrics_add(self->metrics, METRIC_OPEN_READS, UINT64_MAX); /* one less */
    kv_snapshot_destroy(&self->snapshot);
    shared_unref(&self->store);
    free(self);
}
