/* The start. Until what was known to be committed when the log was last written is applied, only the
 * replicator hears of progress: nobody may see the store go backwards (architecture section 5). Then
 * lease learns which leases there are, and everybody gets the store; from there on spans are told. The same
 * again when a snapshot has replaced the store. */
#include <stdlib.h>

#include "actors/applier/applier_state.h"
#include "messages/xalloc.h"

enum { LEASES_PER_MESSAGE = 1000 };

static const actor_id_t receivers[] = {ACTOR_LEASE, ACTOR_WATCH, ACTOR_KEEPER, ACTOR_GRPC_GATEWAY,
                                       ACTOR_ZMQ_GATEWAY};
enum { RECEIVERS = sizeof receivers / sizeof *receivers };

void restore_deinit(restore_t *self)
{
    free(self->leases);
    *self = (restore_t){0};
}

static int collect(void *context, int64_t id, int64_t ttl_s)
{
    restore_t *self = context;
    self->leases =
        xgrow(self->leases, &self->lease_capacity, self->lease_count + 1, sizeof *self->leases);
    self->leases[self->lease_count++] =
        (lease_change_t){.type = LEASE_GRANTED, .id = id, .ttl_s = ttl_s};
    return 0;
}

/* True when all leases are sent; that there are none has to be said, too. */
static bool send_leases(applier_t *self, outbox_t *out)
{
    restore_t *restore = &self->restore;
    while (!restore->lease_begun || restore->lease_sent < restore->lease_count) {
        if (!outbox_room(out, ACTOR_LEASE)) {
            return false;
        }
        size_t left = restore->lease_count - restore->lease_sent;
        size_t count = left < LEASES_PER_MESSAGE ? left : LEASES_PER_MESSAGE;
        msg_t *msg = msg_new(MSG_LEASE_APPLIED);
        msg->u.lease_applied = (msg_lease_applied_t){
            .index = mvcc_current(self->mvcc)->applied_index,
            .is_first = !restore->lease_begun,
            .items = xmemdup(restore->leases + restore->lease_sent, count * sizeof(lease_change_t)),
            .count = count,
        };
        restore->lease_begun = true;
        restore->lease_sent += count;
        outbox_put(out, ACTOR_LEASE, &msg);
    }
    free(restore->leases);
    restore->leases = NULL;
    return true;
}

static bool announce(applier_t *self, outbox_t *out)
{
    const mvcc_head_t *head = mvcc_current(self->mvcc);
    for (; self->restore.announced < RECEIVERS; self->restore.announced++) {
        actor_id_t to = receivers[self->restore.announced];
        if (!outbox_room(out, to)) {
            return false;
        }
        msg_t *msg = msg_new(MSG_RESTORED);
        msg->u.restored = (msg_restored_t){
            .store = shared_ref(self->cfg.store),
            .index = head->applied_index,
            .revision = head->revision,
        };
        outbox_put(out, to, &msg);
    }
    return true;
}

bool restore_step(applier_t *self, outbox_t *out)
{
    restore_t *restore = &self->restore;
    if (restore->phase == RESTORE_REPLAY) {
        if (mvcc_current(self->mvcc)->applied_index < self->cfg.start_commit) {
            return true;
        }
        int rc = mvcc_leases(mvcc_reader(self->mvcc), collect, restore);
        if (rc) {
            applier_fail(self, out, rc);
            return false;
        }
        restore->phase = RESTORE_LEASES;
    }
    if (restore->phase == RESTORE_LEASES && send_leases(self, out)) {
        restore->phase = RESTORE_ANNOUNCE;
    }
    if (restore->phase == RESTORE_ANNOUNCE && announce(self, out)) {
        restore->phase = RESTORE_SERVING;
        self->members_changed = true;
        members_tell(self, out);
        install_finish(self, out);
    }
    return restore->phase == RESTORE_SERVING;
}
