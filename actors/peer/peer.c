#include "actors/peer/peer.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/xalloc.h"

struct peer {
    peer_cfg_t cfg;
    metrics_t *metrics;
    bytes_t *configuration; /* the newest in the log */
};

peer_t *peer_new(const peer_cfg_t *cfg, metrics_t *metrics)
{
    assert(cfg->member_id != 0);
    peer_t *self = xcalloc(1, sizeof *self);
    self->cfg = *cfg;
    self->metrics = metrics;
    return self;
}

static void peer_destroy(void **self_p)
{
    peer_t *self = *self_p;
    *self_p = NULL;
    if (self) {
        bytes_unref(&self->configuration);
        free(self);
    }
}

static void peer_step(void *context, const step_in_t *in, outbox_t *out)
{
    peer_t *self = context;
    if (!in->msg) {
        return;
    }
    switch (in->msg->kind) {
    case MSG_PEERS:
        bytes_unref(&self->configuration);
        self->configuration = bytes_take(&in->msg->u.members.configuration);
        break;
    case MSG_PEER: break; /* no member is linked yet: lost, as every message may be */
    case MSG_STOP: outbox_stopped(out); break;
    default: assert(!"a message that the wiring table does not send to peer");
    }
}

static uint64_t peer_deadline(const void *context)
{
    (void)context;
    return DEADLINE_NONE;
}

const core_ops_t peer_ops = {.step = peer_step, .deadline = peer_deadline, .destroy = peer_destroy};
