/* Snapshots between members (docs/CONSENSUS.md, "A snapshot").
 *
 * Sending: a follower needs what the log has forgotten. SNAP_READ has the keeper stream the store; what comes
 * after it is kept in the log meanwhile, within a bound. SNAP_DROP if it is not needed any more.
 *
 * Receiving, one at a time:
 *   taking    the keeper builds a new generation of the store beside the running one
 *   received  it is complete and flushed: as soon as all of the log is handed over, SNAP_MARK goes to the disk
 *   marking   until that is durable nothing is appended or committed, and this member does not lead
 *   marked    the point of no return: the log begins after the snapshot; SNAP_INSTALL goes to the applier
 *   running   until the applier has switched. Nothing is acknowledged, but the log goes on behind it.
 * A fence before `marking` drops the transfer; afterwards it is finished whatever the term, for committed state
 * has none, and only the acknowledgement needs the old one. */
#include <assert.h>
#include <inttypes.h>

#include "actors/replicator/membership.h"
#include "actors/replicator/replicator_state.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

/* Ends a transfer, in either direction. */
static void say_drop(uint64_t id, uint64_t member, outbox_t *out)
{
    msg_t *msg = msg_new(MSG_SNAP_DROP);
    msg->u.snap = (msg_snap_t){.id = id, .member = member};
    outbox_put(out, ACTOR_KEEPER, &msg);
}

/* ---- sending ---- */

/* A new one to the same member takes the place of the one before, in the keeper as well. */
static void note_sending(replicator_t *self, uint64_t member, uint64_t id)
{
    for (size_t i = 0; i < self->sending_count; i++) {
        if (self->sendings[i].member == member) {
            self->sendings[i].id = id;
            return;
        }
    }
    self->sendings = xgrow(self->sendings, &self->sending_capacity, self->sending_count + 1,
                           sizeof *self->sendings);
    self->sendings[self->sending_count++] = (sending_t){.member = member, .id = id};
}

static void forget_sending(replicator_t *self, uint64_t member, uint64_t id)
{
    for (size_t i = 0; i < self->sending_count; i++) {
        if (self->sendings[i].member == member && self->sendings[i].id == id) {
            self->sendings[i] = self->sendings[--self->sending_count];
            return;
        }
    }
}

void replicator_send_snapshot(replicator_t *self, progress_t *follower, outbox_t *out)
{
    if (!replicator_is_alive(self, follower)) {
        return; /* it would be built for nobody */
    }
    msg_t *msg = msg_new(MSG_SNAP_READ);
    msg->u.snap =
        (msg_snap_t){.id = ++self->snapshot_id, .member = follower->member, .term = self->lead};
    outbox_log(out, LEVEL_INFO, "a follower needs a snapshot",
               "\"member\":\"%" PRIx64 "\",\"next\":%" PRIu64 ",\"first\":%" PRIu64,
               follower->member, follower->next, self->log.base_index + 1);
    progress_snapshot(follower, self->snapshot_id, self->applied + 1);
    note_sending(self, follower->member, self->snapshot_id);
    outbox_put(out, ACTOR_KEEPER, &msg);
}

static bool is_awaited(replicator_t *self, uint64_t member, uint64_t id)
{
    const progress_t *follower = self->lead ? replicator_find_follower(self, member) : NULL;
    return follower && follower->state == PROGRESS_SNAPSHOT && follower->snapshot_id == id;
}

void replicator_mind_sendings(replicator_t *self, outbox_t *out)
{
    for (size_t i = self->sending_count; i-- > 0;) {
        sending_t sending = self->sendings[i];
        if (!is_awaited(self, sending.member, sending.id)) {
            forget_sending(self, sending.member, sending.id);
            say_drop(sending.id, sending.member, out);
        }
    }
}

void replicator_on_snap_done(replicator_t *self, const msg_snap_t *snap)
{
    forget_sending(self, snap->member, snap->id);
    if (!is_awaited(self, snap->member, snap->id)) {
        return; /* it found its way without */
    }
    progress_t *follower = replicator_find_follower(self, snap->member);
    if (snap->failed) {
        progress_snapshot_ended(follower, 0, self->now_us + self->cfg.election_timeout_us);
    } else {
        assert(snap->index <= raft_log_last_index(&self->log));
        progress_snapshot_ended(follower, snap->index, 0);
    }
}

/* ---- receiving ---- */

bool replicator_is_marking(const replicator_t *self)
{
    return self->install.state == INSTALL_MARKING;
}

bool replicator_is_installing(const replicator_t *self)
{
    return self->install.state >= INSTALL_MARKING;
}

static void forget(replicator_t *self)
{
    bytes_unref(&self->install.snap.configuration);
    shared_unref(&self->install.snap.store);
    self->install = (install_t){0};
}

void replicator_drop_snapshot(replicator_t *self, outbox_t *out)
{
    if (self->install.state == INSTALL_TAKING || self->install.state == INSTALL_RECEIVED) {
        say_drop(self->install.snap.id, self->install.snap.member, out);
        forget(self);
    }
}

void replicator_forget_snapshot(replicator_t *self)
{
    forget(self);
}

static bool is_sound(const peer_snap_meta_t *meta, uint64_t term)
{
    return meta->id > 0 && meta->index > 0 && meta->index <= UINT64_MAX / 2 && meta->log_term > 0 &&
           meta->log_term <= term && membership_is_valid(bytes_slice(meta->configuration));
}

void replicator_on_snap_meta(replicator_t *self, const msg_peer_t *peer, outbox_t *out)
{
    const peer_snap_meta_t *meta = &peer->content->u.snap_meta;
    msg_snap_t *snap = &self->install.snap;
    if (!is_sound(meta, peer->content->term)) {
        replicator_complain(self, peer, "a snapshot that no leader can send", out);
        return;
    }
    if (!replicator_heard_leader(self, peer, out)) {
        return;
    }
    if (meta->index <= self->commit) { /* every leader's log holds what is committed here */
        self->match = self->match > self->commit ? self->match : self->commit;
        self->ack_due = true;
        return;
    }
    bool is_known = snap->id == meta->id && snap->member == peer->member;
    bool is_busy = self->install.state >= INSTALL_RECEIVED;
    if (is_busy || (is_known && self->install.state == INSTALL_TAKING)) {
        return;
    }
    replicator_drop_snapshot(self, out);
    self->install.state = INSTALL_TAKING;
    *snap = (msg_snap_t){
        .id = meta->id,
        .member = peer->member,
        .term = peer->content->term,
        .index = meta->index,
        .log_term = meta->log_term,
        .configuration = bytes_ref(meta->configuration),
    };
    msg_t *msg = msg_new(MSG_SNAP_TAKE);
    msg->u.snap = *snap;
    msg->u.snap.configuration = bytes_ref(snap->configuration);
    outbox_put(out, ACTOR_KEEPER, &msg);
}

/* Complete, flushed and synced. */
void replicator_on_snap_received(replicator_t *self, msg_snap_t *received, outbox_t *out)
{
    msg_snap_t *snap = &self->install.snap;
    bool is_awaited = self->install.state == INSTALL_TAKING && snap->id == received->id &&
                      snap->member == received->member;
    if (!is_awaited) {
        say_drop(received->id, received->member, out); /* dropped while it was being completed */
        return;
    }
    assert(received->index == snap->index && received->store);
    self->install.state = INSTALL_RECEIVED;
    snap->generation = received->generation;
    snap->store = received->store;
    received->store = NULL;
}

static void send_mark(replicator_t *self, outbox_t *out)
{
    const msg_snap_t *snap = &self->install.snap;
    assert(self->open == self->fence && snap->log_term <= self->open); /* S7 */
    msg_t *msg = msg_new(MSG_SNAP_MARK);
    msg->u.snap_mark = (msg_snap_mark_t){
        .lsn = ++self->lsn,
        .index = snap->index,
        .log_term = snap->log_term,
        .generation = snap->generation,
        .configuration = bytes_ref(snap->configuration),
    };
    replicator_push_inflight(self, true);
    self->install.state = INSTALL_MARKING;
    outbox_put(out, ACTOR_WAL_WRITER, &msg);
}

/* The log begins after the snapshot now, on the disk as well. */
void replicator_marked(replicator_t *self)
{
    const msg_snap_t *snap = &self->install.snap;
    assert(self->install.state == INSTALL_MARKING && self->commit < snap->index);
    raft_log_reset(&self->log, snap->index, snap->log_term, snap->configuration);
    if (raft_log_last_index(&self->log) == snap->index) {
        self->written = snap->index;
        self->durable = snap->index;
    }
    assert(self->durable >= snap->index && self->durable <= self->written);
    self->unapplied_bytes = raft_log_bytes_above(&self->log, self->applied);
    self->install.state = INSTALL_MARKED;
    replicator_raise_commit(self, snap->index);
    replicator_adopt_configuration(self);
}

static void send_install(replicator_t *self, outbox_t *out)
{
    msg_snap_t *snap = &self->install.snap;
    msg_t *msg = msg_new(MSG_SNAP_INSTALL);
    msg->u.snap = *snap;
    msg->u.snap.configuration = bytes_ref(snap->configuration);
    snap->store = NULL;
    assert(self->delivered < snap->index);
    self->unseen_from = self->delivered + 1;
    self->unseen_to = snap->index;
    self->delivered = snap->index;
    self->install.state = INSTALL_RUNNING;
    outbox_put(out, ACTOR_APPLIER, &msg);
    outbox_log(out, LEVEL_INFO, "installs a snapshot",
               "\"member\":\"%" PRIx64 "\",\"index\":%" PRIu64 ",\"term\":%" PRIu64, snap->member,
               snap->index, snap->log_term);
}

void replicator_mind_install(replicator_t *self, outbox_t *out)
{
    const install_t *install = &self->install;
    if (install->state == INSTALL_RECEIVED && install->snap.index <= self->commit) {
        replicator_drop_snapshot(self, out); /* the log was faster */
    }
    bool is_log_written = self->written == raft_log_last_index(&self->log);
    if (install->state == INSTALL_RECEIVED && is_log_written &&
        outbox_room(out, ACTOR_WAL_WRITER)) {
        send_mark(self, out);
    }
    if (install->state == INSTALL_MARKED && outbox_room(out, ACTOR_APPLIER)) {
        send_install(self, out);
    }
}

void replicator_on_snap_installed(replicator_t *self, const msg_snap_t *installed)
{
    const msg_snap_t *snap = &self->install.snap;
    assert(self->install.state == INSTALL_RUNNING && installed->index == snap->index);
    self->applied = self->applied > snap->index ? self->applied : snap->index;
    bool is_led =
        self->open == self->fence && snap->term == self->open && snap->member == self->leader;
    if (is_led) {
        self->match = self->match > snap->index ? self->match : snap->index;
        self->ack_due = true;
    }
    forget(self);
}
