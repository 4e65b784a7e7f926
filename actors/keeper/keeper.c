/* Invariant: FLUSHED(n) is said only when everything applied up to n is in synced table files; n was
 * read before the flush began (architecture section 5). */
#include "actors/keeper/keeper.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/xalloc.h"
#include "store/kv.h"

struct keeper {
    metrics_t *metrics;
    shared_t *store; /* kv_t */
    uint64_t wanted; /* highest applied index asked for and not yet flushed */
    uint64_t flushed;
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
    *self_p = NULL;
    if (self) {
        shared_unref(&self->store);
        free(self);
    }
}

/* One flush serves all that asked meanwhile. Blocks for as long as the tables take. */
static void flush(keeper_t *self, outbox_t *out)
{
    kv_t *kv = shared_object(self->store);
    uint64_t index = self->wanted;
    if (kv_flush(kv) < 0) {
        outbox_fatal(out, "the store cannot be flushed: %s", kv_error(kv));
        return;
    }
    self->flushed = index;
    metrics_set(self->metrics, METRIC_DB_SIZE, kv_size_bytes(kv));
    msg_t *msg = msg_new(MSG_FLUSHED);
    msg->u.applied.index = index;
    outbox_put(out, ACTOR_WAL_WRITER, &msg);
}

static void keeper_step(void *context, const step_in_t *in, outbox_t *out)
{
    keeper_t *self = context;
    if (!in->msg) {
        if (self->store && self->wanted > self->flushed) {
            flush(self, out);
        }
        return;
    }
    switch (in->msg->kind) {
    case MSG_RESTORED:
        shared_unref(&self->store);
        self->store = in->msg->u.restored.store;
        in->msg->u.restored.store = NULL;
        break;
    case MSG_FLUSH: self->wanted = in->msg->u.applied.index; break;
    case MSG_STOP: outbox_stopped(out); break;
    default: assert(!"a message that the wiring table does not send to keeper");
    }
}

static uint64_t keeper_deadline(const void *context)
{
    const keeper_t *self = context;
    return self->store && self->wanted > self->flushed ? 0 : DEADLINE_NONE;
}

const core_ops_t keeper_ops = {
    .step = keeper_step,
    .deadline = keeper_deadline,
    .destroy = keeper_destroy,
};
