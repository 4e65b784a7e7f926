/* A snapshot of another member takes the place of the store (docs/CONSENSUS.md, "A snapshot"). The log already
 * begins after it, so there is no way back: what fails here ends the node, and the next start goes on.
 *
 * What this store knew of entries that the snapshot covers is gone with it: whoever waits for their results
 * hears from the replicator that nobody knows. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "actors/applier/applier_state.h"

static void fail(applier_t *self, outbox_t *out, const msg_snap_t *snap, const char *why)
{
    self->failed = true;
    outbox_fatal(out, "the snapshot up to entry %" PRIu64 " cannot be installed: %s", snap->index,
                 why);
}

static void replace_store(applier_t *self, msg_snap_t *snap, mvcc_t **mvcc_p)
{
    mvcc_destroy(&self->mvcc);
    self->mvcc = *mvcc_p;
    *mvcc_p = NULL;
    shared_unref(&self->cfg.store);
    self->cfg.store = snap->store;
    snap->store = NULL;
    self->kv = shared_object(self->cfg.store);
    bytes_unref(&self->configuration); /* this store knows its members */
}

void install_snapshot(applier_t *self, msg_snap_t *snap, outbox_t *out)
{
    const mvcc_head_t *head = mvcc_current(self->mvcc);
    assert(snap->index > head->applied_index); /* never below what is applied */
    assert(self->installed.index == 0);        /* one at a time */
    mvcc_t *mvcc = NULL;
    char *error = NULL;
    int rc = mvcc_new(&mvcc, shared_object(snap->store), &error);
    if (rc == 0 && (mvcc_current(mvcc)->applied_index != snap->index ||
                    mvcc_current(mvcc)->revision < head->revision)) {
        fail(self, out, snap, "it is not what was received");
    } else if (rc || generations_put_in_force(self->cfg.generations, snap->generation, snap->store,
                                              &error) != 0) {
        fail(self, out, snap, error);
    } else {
        replace_store(self, snap, &mvcc);
        self->installed = *snap;
        self->installed.configuration = NULL; /* goes with the message */
        metrics_set(self->metrics, METRIC_SNAPSHOT_APPLYING, 1);
        restore_deinit(&self->restore);
        compaction_restored(self, out);
    }
    mvcc_destroy(&mvcc);
    free(error);
}

void install_finish(applier_t *self, outbox_t *out)
{
    if (self->installed.index == 0) {
        return;
    }
    msg_t *msg = msg_new(MSG_SNAP_INSTALLED);
    msg->u.snap = self->installed;
    self->reported = self->installed.index;
    self->unreported_bytes = 0;
    self->installed = (msg_snap_t){0};
    metrics_set(self->metrics, METRIC_SNAPSHOT_APPLYING, 0);
    outbox_put(out, ACTOR_REPLICATOR, &msg);
}
