/* keeper: see keeper.h.
 *
 * 1. FLUSHED{index} is put only after a flush that began after FLUSH{index} was received, of a store
 *    that holds all entries up to index.
 * 2. The index never goes back: a store that is installed is flushed and ahead of the one before.
 * 3. A generation is removed only when nobody holds its store, and never the one in force.
 * 4. Between two looks at the mailbox at most one piece of long work is done: a chunk, or a slice of rows. */
#include "actors/keeper/keeper.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "actors/keeper/keeper_state.h"
#include "messages/xalloc.h"

enum { RETIRE_INTERVAL_US = 500000 }; /* looking whether somebody still reads an old store */

keeper_t *keeper_new(const keeper_cfg_t *cfg, metrics_t *metrics)
{
    keeper_t *self = xcalloc(1, sizeof *self);
    self->cfg = *cfg;
    self->metrics = metrics;
    self->generation = generations_current(cfg->generations);
    self->peer_has_room = true;
    return self;
}

static void keeper_destroy(void **self_p)
{
    keeper_t *self = *self_p;
    *self_p = NULL;
    if (!self) {
        return;
    }
    send_deinit(self);
    receive_deinit(self);
    hash_deinit(self);
    for (size_t i = 0; i < self->retired_count; i++) {
        shared_unref(&self->retired[i].store); /* the next start removes the files */
    }
    free(self->retired);
    shared_unref(&self->store);
    free(self);
}

void keeper_fail(keeper_t *self, outbox_t *out, const char *what, const kv_t *kv, char *text)
{
    self->is_broken = true;
    outbox_fatal(out, "%s: %s", what, text ? text : kv_error(kv));
    free(text);
}

snapshot_member_metrics_t *keeper_counts(keeper_t *self, uint64_t member)
{
    return self->cfg.by_member ? snapshot_metrics_of(self->cfg.by_member, member)
                               : &self->uncounted;
}

void keeper_say(outbox_t *out, uint64_t member, peer_msg_t *content)
{
    msg_t *msg = msg_new(MSG_PEER);
    msg->u.peer = (msg_peer_t){.member = member, .content = content};
    outbox_put(out, ACTOR_PEER, &msg);
}

/* ---- views ---- */

int view_open(view_t *view, shared_t *store)
{
    view->store = shared_ref(store);
    view->snapshot = kv_snapshot_new(shared_object(store));
    view->reader = kv_snapshot_reader(view->snapshot);
    return mvcc_head(view->reader, &view->head);
}

void view_close(view_t *view)
{
    kv_snapshot_destroy(&view->snapshot);
    shared_unref(&view->store);
    *view = (view_t){0};
}

/* ---- flushing ---- */

static void on_flush(keeper_t *self, const msg_applied_t *asked)
{
    if (asked->index > self->asked) {
        self->asked = asked->index;
    }
}

static void flush(keeper_t *self, outbox_t *out)
{
    if (!self->store || self->asked == self->flushed || self->is_broken) {
        return;
    }
    kv_t *kv = shared_object(self->store);
    if (kv_flush(kv) != 0) {
        keeper_fail(self, out, "the store cannot be flushed", kv, NULL);
        return;
    }
    self->flushed = self->asked;
    msg_t *msg = msg_new(MSG_FLUSHED);
    msg->u.applied.index = self->flushed;
    outbox_put(out, ACTOR_WAL_WRITER, &msg);
}

/* ---- stores that come and go ---- */

void keeper_retire(keeper_t *self, shared_t **store_p, uint64_t generation)
{
    self->retired = xgrow(self->retired, &self->retired_capacity, self->retired_count + 1,
                          sizeof *self->retired);
    self->retired[self->retired_count++] = (retired_t){.store = *store_p, .generation = generation};
    *store_p = NULL;
    self->retire_us = 0;
}

/* Whoever releases a store last closes it, which takes time: so this is done here, and nowhere else as long
 * as this holds it. */
static void remove_retired(keeper_t *self, uint64_t now_us, outbox_t *out)
{
    if (self->retired_count == 0 || now_us < self->retire_us) {
        return;
    }
    self->retire_us = now_us + RETIRE_INTERVAL_US;
    size_t kept = 0;
    for (size_t i = 0; i < self->retired_count; i++) {
        retired_t *retired = &self->retired[i];
        if (self->is_broken || !shared_is_last(retired->store)) {
            self->retired[kept++] = *retired;
            continue;
        }
        char *error = NULL;
        shared_unref(&retired->store);
        if (generations_remove(self->cfg.generations, retired->generation, &error) != 0) {
            keeper_fail(self, out, "an old store cannot be removed", NULL, error);
        }
    }
    self->retired_count = kept;
}

/* What was asked of the store before is in the new one: it was built at a later index. */
static void on_restored(keeper_t *self, msg_restored_t *restored, outbox_t *out)
{
    uint64_t old = self->generation;
    if (receive_on_restored(self, restored->store, out) && self->store) {
        keeper_retire(self, &self->store, old);
    }
    shared_unref(&self->store);
    self->store = restored->store;
    restored->store = NULL;
}

/* ---- long work ---- */

enum { HASH_TURN = LIMIT_SNAPSHOT_SENDS, TURNS };

static bool can_work(const keeper_t *self, size_t turn)
{
    return turn == HASH_TURN ? hash_can_work(self) : send_can_work(self, turn);
}

static bool has_work(const keeper_t *self)
{
    for (size_t turn = 0; turn < TURNS; turn++) {
        if (can_work(self, turn)) {
            return true;
        }
    }
    return false;
}

/* One piece, of whoever is next. */
static void work(keeper_t *self, uint64_t now_us, outbox_t *out)
{
    for (size_t i = 0; i < TURNS; i++) {
        size_t turn = (self->turn + i) % TURNS;
        if (!can_work(self, turn)) {
            continue;
        }
        self->turn = turn + 1;
        if (turn == HASH_TURN) {
            hash_work(self, out);
        } else {
            send_work(self, turn, now_us, out);
        }
        return;
    }
}

static void end_of_burst(keeper_t *self, uint64_t now_us, outbox_t *out)
{
    flush(self, out);
    self->peer_has_room = outbox_room(out, ACTOR_PEER);
    receive_tick(self, now_us, out);
    send_tick(self, now_us, out);
    if (!self->is_broken) {
        work(self, now_us, out);
    }
    remove_retired(self, now_us, out);
    self->peer_has_room = outbox_room(out, ACTOR_PEER);
}

/* ---- the core ---- */

static void on_peer(keeper_t *self, const msg_peer_t *peer, uint64_t now_us, outbox_t *out)
{
    switch (peer->content->kind) {
    case PEER_SNAP_CHUNK: receive_on_chunk(self, peer->member, peer->content, now_us, out); break;
    case PEER_SNAP_ACK:
        send_on_ack(self, peer->member, &peer->content->u.snap_ack, now_us, out);
        break;
    default: break; /* not for us, whatever the other member thinks */
    }
}

static void on_message(keeper_t *self, msg_t *msg, uint64_t now_us, outbox_t *out)
{
    switch (msg->kind) {
    case MSG_RESTORED: on_restored(self, &msg->u.restored, out); break;
    case MSG_FLUSH: on_flush(self, &msg->u.applied); break;
    case MSG_SNAP_READ: send_on_read(self, &msg->u.snap, now_us, out); break;
    case MSG_SNAP_TAKE: receive_on_take(self, &msg->u.snap, now_us, out); break;
    case MSG_SNAP_DROP:
        receive_on_drop(self, &msg->u.snap);
        send_on_drop(self, &msg->u.snap);
        break;
    case MSG_PEER: on_peer(self, &msg->u.peer, now_us, out); break;
    case MSG_HASH: hash_on_request(self, msg, out); break;
    case MSG_CREDIT: break; /* booked by the runner; the end of the burst goes on */
    default: assert(!"a message that the wiring table does not send to keeper");
    }
}

static void keeper_step(void *context, const step_in_t *in, outbox_t *out)
{
    keeper_t *self = context;
    if (in->msg && in->msg->kind == MSG_STOP) {
        flush(self, out);
        outbox_stopped(out);
    } else if (in->msg && !self->is_broken) {
        on_message(self, in->msg, in->now_us, out);
    } else if (!self->is_broken) {
        end_of_burst(self, in->now_us, out);
    }
}

static uint64_t earliest(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t keeper_deadline(const void *context)
{
    const keeper_t *self = context;
    if (self->is_broken) {
        return DEADLINE_NONE;
    }
    if (has_work(self)) {
        return 0;
    }
    uint64_t retire_us = self->retired_count ? self->retire_us : DEADLINE_NONE;
    return earliest(retire_us, earliest(send_deadline(self), receive_deadline(self)));
}

const core_ops_t keeper_ops = {
    .step = keeper_step,
    .deadline = keeper_deadline,
    .destroy = keeper_destroy,
};
