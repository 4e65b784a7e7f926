/* keeper: see keeper.h.
 *
 * 1. FLUSHED{index} is put only after a flush that began after FLUSH{index} was received, of a store
 *    that holds all entries up to index.
 * 2. The index never goes back: a store that is installed is flushed and ahead of the one before. */
#include "actors/keeper/keeper.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/xalloc.h"
#include "store/kv.h"

struct keeper {
    metrics_t *metrics;
    shared_t *store;  /* holds a kv_t; NULL until the first RESTORED */
    uint64_t asked;   /* highest index a FLUSH asked for */
    uint64_t flushed; /* highest index answered */
    bool is_broken;
};

keeper_t *keeper_new(metrics_t *metrics)
{
    keeper_t *self = xcalloc(1, sizeof *self);
    self->metrics = metrics;
    return self;
}

static void keeper_destroy(void **self_p)
{
    keeper_t *self = *self_p;
    if (self) {
        shared_unref(&self->store);
        free(self);
        *self_p = NULL;
    }
}

static void flush(keeper_t *self, outbox_t *out)
{
    if (!self->store || self->asked == self->flushed || self->is_broken) {
        return;
    }
    kv_t *kv = shared_object(self->store);
    if (kv_flush(kv) != 0) {
        self->is_broken = true;
        outbox_fatal(out, "the store cannot be flushed: %s", kv_error(kv));
        return;
    }
    self->flushed = self->asked;
    msg_t *msg = msg_new(MSG_FLUSHED);
    msg->u.applied.index = self->flushed;
    outbox_put(out, ACTOR_WAL_WRITER, &msg);
}

/* What was asked of the store before is in the new one: it was built at a later index. */
static void on_restored(keeper_t *self, msg_restored_t *restored)
{
    shared_unref(&self->store);
    self->store = restored->store;
    restored->store = NULL;
}

static void on_flush(keeper_t *self, const msg_applied_t *asked)
{
    if (asked->index > self->asked) {
        self->asked = asked->index;
    }
}

static void keeper_step(void *context, const step_in_t *in, outbox_t *out)
{
    keeper_t *self = context;
    if (!in->msg) {
        flush(self, out);
        return;
    }
    switch (in->msg->kind) {
    case MSG_RESTORED: on_restored(self, &in->msg->u.restored); break;
    case MSG_FLUSH: on_flush(self, &in->msg->u.applied); break;
    case MSG_STOP:
        flush(self, out);
        outbox_stopped(out);
        break;
    default: assert(!"a message that the wiring table does not send to keeper");
    }
}

static uint64_t keeper_deadline(const void *context)
{
    (void)context;
    return DEADLINE_NONE;
}

const core_ops_t keeper_ops = {
    .step = keeper_step,
    .deadline = keeper_deadline,
    .destroy = keeper_destroy,
};
