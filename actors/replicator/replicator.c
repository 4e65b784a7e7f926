#include "actors/replicator/replicator.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "actors/core/table.h"
#include "actors/replicator/replicator_state.h"
#include "messages/xalloc.h"

enum { COMPLAINT_INTERVAL_US = 1000000 };

/* ---- life ---- */

replicator_t *replicator_new(const replicator_cfg_t *cfg, metrics_t *metrics)
{
    assert(cfg->member_id != 0);
    assert(cfg->heartbeat_us > 0 && cfg->election_timeout_us > cfg->heartbeat_us);
    replicator_t *self = xcalloc(1, sizeof *self);
    self->cfg = *cfg;
    self->metrics = metrics;
    raft_log_init(&self->log, cfg->base_index, cfg->base_term, cfg->configuration_index,
                  cfg->configuration);
    for (size_t i = 0; i < cfg->entries->count; i++) {
        raft_log_append(&self->log, &cfg->entries->items[i]);
    }
    replicator_adopt_configuration(self);
    self->fence = cfg->term;
    self->open = cfg->term;
    self->durable = raft_log_last_index(&self->log);
    self->written = self->durable;
    /* What the store has applied was committed, though the log may not have been told yet. */
    self->commit = cfg->commit > cfg->applied ? cfg->commit : cfg->applied;
    replicator_raise_commit(self, replicator_alone_until(self));
    self->applied = cfg->applied;
    self->delivered = cfg->applied;
    self->is_watched = true; /* as watch has it, until it says that nobody does */
    self->unapplied_bytes = raft_log_bytes_above(&self->log, self->applied);
    self->lsn = cfg->last_lsn;
    self->forward_id = peer_first_id(hash_u64(cfg->incarnation));
    self->asked_id = self->forward_id;
    self->snapshot_id = self->forward_id;
    self->answered_id = self->forward_id;
    assert(self->commit <= self->durable);
    self->cfg.entries = NULL;
    self->cfg.configuration = NULL;
    return self;
}

static void replicator_destroy(void **self_p)
{
    replicator_t *self = *self_p;
    *self_p = NULL;
    if (self) {
        raft_log_deinit(&self->log);
        replicator_forget_snapshot(self);
        configuration_deinit(&self->configuration);
        free(self->inflight);
        free(self->pending.items);
        free(self->forwarded.items);
        free(self->origins);
        for (size_t i = 0; i < self->change_count; i++) {
            proposals_free(&self->changes[i].items, self->changes[i].count);
        }
        for (size_t i = 0; i < self->handover.held_count; i++) {
            proposals_free(&self->handover.held[i].items, self->handover.held[i].count);
        }
        free(self->handover.held);
        free(self->reads);
        free(self->sendings);
        free(self->followers);
        free(self->counted);
        free(self);
    }
}

/* ---- talking to members ---- */

void replicator_complain(replicator_t *self, const msg_peer_t *peer, const char *what,
                         outbox_t *out)
{
    metrics_add(self->metrics, METRIC_PEER_NONSENSE, 1);
    if (self->complained_us && self->now_us - self->complained_us < COMPLAINT_INTERVAL_US) {
        return;
    }
    self->complained_us = self->now_us;
    outbox_log(out, LEVEL_WARN, what,
               "\"member\":\"%" PRIx64 "\",\"kind\":\"%s\",\"term\":%" PRIu64
               ",\"own-term\":%" PRIu64 ",\"commit\":%" PRIu64 ",\"last\":%" PRIu64,
               peer->member, peer_kind_name(peer->content->kind), peer->content->term, self->open,
               self->commit, raft_log_last_index(&self->log));
}

void replicator_say(uint64_t member, peer_msg_t **content_p, outbox_t *out)
{
    msg_t *msg = msg_new(MSG_PEER);
    msg->u.peer = (msg_peer_t){.member = member, .content = *content_p};
    *content_p = NULL;
    if (outbox_room(out, ACTOR_PEER)) {
        outbox_put(out, ACTOR_PEER, &msg);
    }
    msg_free(&msg); /* what members say may always be lost */
}

static void on_peer(replicator_t *self, const msg_peer_t *peer, outbox_t *out)
{
    if (peer->member == self->cfg.member_id || !replicator_term_is_open(self, peer, out)) {
        return;
    }
    switch (peer->content->kind) {
    case PEER_APPEND: replicator_on_append(self, peer, out); break;
    case PEER_HEARTBEAT: replicator_on_heartbeat(self, peer, out); break;
    case PEER_APPEND_ACK: replicator_on_append_ack(self, peer, out); break;
    case PEER_HB_ACK: replicator_on_heartbeat_ack(self, peer, out); break;
    case PEER_PROPOSE_FWD: replicator_on_forward(self, peer, out); break;
    case PEER_PROPOSE_ACK:
    case PEER_PROPOSE_REJ: replicator_on_forward_reply(self, peer, out); break;
    case PEER_READ_FWD: replicator_on_read_forward(self, peer, out); break;
    case PEER_READ_FWD_AT: replicator_on_read_answer(self, peer, out); break;
    case PEER_SNAP_META: replicator_on_snap_meta(self, peer, out); break;
    default: replicator_complain(self, peer, "a message that is not for the log", out);
    }
}

/* ---- the core ---- */

/* After a pause of this process others may have elected a leader long ago, and this one's messages wake up
 * in any order: it must not answer a single read before it has asked (docs/CONSENSUS.md). A follower that comes
 * much too late to find its leader silent has not listened: who asks it right away need not be told so. */
static void mind_pause(replicator_t *self, uint64_t now_us, outbox_t *out)
{
    uint64_t gap_us = now_us - self->now_us;
    self->now_us = now_us;
    if (self->leader && now_us > replicator_leader_due_us(self) + self->cfg.heartbeat_us) {
        self->heard_us += gap_us;
    }
    if (self->lead == 0 || gap_us <= self->cfg.election_timeout_us || replicator_is_quorum(self)) {
        return;
    }
    outbox_log(out, LEVEL_WARN, "stopped leading: this process was paused",
               "\"term\":%" PRIu64 ",\"micros\":%" PRIu64, self->lead, gap_us);
    replicator_report(self, MSG_RESIGNED, self->lead, self->cfg.member_id, out);
    replicator_stop_leading(self, out);
}

/* A leader that removed itself leads until that is committed, and the others know. */
static void leave(replicator_t *self, outbox_t *out)
{
    if (self->lead) {
        replicator_report(self, MSG_RESIGNED, self->lead, self->cfg.member_id, out);
        replicator_stop_leading(self, out);
    }
    outbox_end_node(out, "the member has been permanently removed from the cluster");
}

static void end_of_burst(replicator_t *self, outbox_t *out)
{
    replicator_make_changes(self, out);
    replicator_mind_handover(self, out);
    replicator_tell_members(self, out);
    replicator_write_log(self, out);
    replicator_mind_install(self, out); /* before anything behind it is delivered */
    replicator_deliver(self, out);
    bool must_leave = replicator_must_leave(self);
    bool has_new_round = replicator_confirm_reads(self, out);
    if (self->lead) {
        replicator_lead(self, has_new_round || must_leave, out);
    } else {
        replicator_follow(self, out);
    }
    if (must_leave) {
        leave(self, out);
    }
    replicator_mind_sendings(self, out);
    replicator_check_stall(self, out);
    metrics_set(self->metrics, METRIC_PROPOSALS_PENDING,
                self->pending.count + self->forwarded.count);
}

static void replicator_step(void *context, const step_in_t *in, outbox_t *out)
{
    replicator_t *self = context;
    msg_t *msg = in->msg;
    mind_pause(self, in->now_us, out);
    if (!msg) {
        end_of_burst(self, out);
        return;
    }
    switch (msg->kind) {
    case MSG_PROPOSE: replicator_on_propose(self, msg, out); break;
    case MSG_READ: replicator_on_read(self, msg, out); break;
    case MSG_LOG_DURABLE: replicator_on_log_durable(self, &msg->u.log_durable, out); break;
    case MSG_APPLIED: replicator_on_applied(self, &msg->u.applied); break;
    case MSG_FENCE: replicator_on_fence(self, &msg->u.fence, out); break;
    case MSG_QUERY_POS: replicator_send_position(self, MSG_POS, &msg->u.fence, out); break;
    case MSG_OPEN: replicator_on_open(self, msg->u.term.term); break;
    case MSG_LEAD: replicator_on_lead(self, msg->u.term.term, out); break;
    case MSG_STEP_DOWN:
        if (msg->u.term.term == self->lead) {
            replicator_stop_leading(self, out);
        }
        break;
    case MSG_PEER: on_peer(self, &msg->u.peer, out); break;
    case MSG_SNAP_DONE: replicator_on_snap_done(self, &msg->u.snap); break;
    case MSG_SNAP_RECEIVED: replicator_on_snap_received(self, &msg->u.snap, out); break;
    case MSG_SNAP_INSTALLED: replicator_on_snap_installed(self, &msg->u.snap); break;
    case MSG_INTEREST: replicator_on_interest(self, &msg->u.interest); break;
    case MSG_TRANSFER: replicator_on_transfer(self, msg, out); break;
    case MSG_STOP: replicator_on_stop(self, out); break;
    default: assert(!"a message that the wiring table does not send to replicator");
    }
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t replicator_deadline(const void *context)
{
    const replicator_t *self = context;
    uint64_t due_us = earlier(replicator_stall_due_us(self), replicator_handover_due_us(self));
    if (self->lead) {
        return earlier(due_us, replicator_lead_due_us(self));
    }
    due_us = earlier(due_us, replicator_leader_due_us(self));
    return earlier(due_us, replicator_reads_due_us(self));
}

const core_ops_t replicator_ops = {
    .step = replicator_step,
    .deadline = replicator_deadline,
    .destroy = replicator_destroy,
};
