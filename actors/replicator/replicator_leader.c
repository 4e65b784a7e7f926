/* Leading: appends and heartbeats to the followers, and what their answers commit. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "actors/replicator/replicator_state.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

/* ---- who follows ---- */

progress_t *replicator_find_follower(replicator_t *self, uint64_t member)
{
    for (size_t i = 0; i < self->follower_count; i++) {
        if (self->followers[i].member == member) {
            return &self->followers[i];
        }
    }
    return NULL;
}

bool replicator_is_alive(const replicator_t *self, const progress_t *follower)
{
    return follower->was_heard && self->now_us - follower->heard_us < self->cfg.election_timeout_us;
}

void replicator_renew_followers(replicator_t *self)
{
    const configuration_t *configuration = &self->configuration;
    progress_t *renewed = xcalloc(configuration->count + 1, sizeof *renewed);
    size_t count = 0;
    for (size_t i = 0; i < configuration->count; i++) {
        const configuration_member_t *member = &configuration->members[i];
        if (member->id == self->cfg.member_id) {
            continue;
        }
        const progress_t *known = replicator_find_follower(self, member->id);
        progress_t *follower = &renewed[count++];
        if (known) {
            *follower = *known;
        } else {
            progress_init(follower, member->id, raft_log_last_index(&self->log) + 1);
        }
        follower->is_voter = !member->learner;
    }
    free(self->followers);
    self->followers = renewed;
    self->follower_count = count;
    free(self->counted);
    self->counted = xcalloc(count + 1, sizeof *self->counted);
}

void replicator_begin_leading(replicator_t *self)
{
    self->follower_count = 0;
    self->round = 0;
    self->tick_us = self->now_us;
    replicator_renew_followers(self);
}

/* ---- what a quorum has ---- */

/* The highest number that a quorum of the voters has reached, given this member's own. */
static uint64_t count_quorum(replicator_t *self, uint64_t own, uint64_t (*of)(const progress_t *))
{
    size_t voters = 0;
    if (replicator_is_voter(self)) {
        self->counted[voters++] = own;
    }
    for (size_t i = 0; i < self->follower_count; i++) {
        if (!self->followers[i].is_voter) {
            continue;
        }
        uint64_t value = of(&self->followers[i]);
        size_t at = voters++;
        for (; at > 0 && self->counted[at - 1] < value; at--) {
            self->counted[at] = self->counted[at - 1];
        }
        self->counted[at] = value;
    }
    size_t quorum = configuration_quorum(&self->configuration);
    assert(quorum <= voters);
    return self->counted[quorum - 1];
}

static uint64_t match_of(const progress_t *follower)
{
    return follower->match;
}

static uint64_t round_of(const progress_t *follower)
{
    return follower->round;
}

/* The leader's own copy is one acknowledgement among the voters'; alone it is the quorum. */
void replicator_advance_commit(replicator_t *self)
{
    if (self->lead == 0 || self->open != self->fence) {
        return;
    }
    uint64_t index = count_quorum(self, self->durable, match_of);
    uint64_t alone_until = replicator_alone_until(self);
    index = index > alone_until ? index : alone_until;
    if (index >= self->lead_first) {
        replicator_raise_commit(self, index);
    }
}

uint64_t replicator_confirmed_round(replicator_t *self)
{
    return count_quorum(self, self->round, round_of);
}

/* ---- appends ---- */

static void send_append(replicator_t *self, progress_t *follower, uint64_t prev_term,
                        size_t bytes_max, outbox_t *out)
{
    peer_msg_t *content = peer_msg_new(PEER_APPEND, self->lead);
    peer_append_t *append = &content->u.append;
    append->prev_index = follower->next - 1;
    append->prev_term = prev_term;
    append->commit = self->commit;
    append->round = self->round;
    uint64_t last = append->prev_index;
    while (last < raft_log_last_index(&self->log) && append->entries.count < LIMIT_APPEND_ENTRIES &&
           append->entries.bytes < bytes_max) {
        entries_append(&append->entries, raft_log_at(&self->log, ++last));
    }
    progress_sent(follower, last, append->entries.bytes, self->now_us + self->cfg.heartbeat_us);
    follower->commit_told = self->commit < last ? self->commit : last;
    replicator_say(follower->member, &content, out);
}

/* As far as its window goes. A probe that was not answered is repeated without entries: it may be down. */
static void send_appends(replicator_t *self, progress_t *follower, outbox_t *out)
{
    while (outbox_room(out, ACTOR_PEER) && progress_may_send(follower, self->now_us)) {
        bool is_probe = follower->state == PROGRESS_PROBE;
        if (!is_probe && follower->next > raft_log_last_index(&self->log)) {
            return;
        }
        uint64_t prev_term = 0;
        if (!raft_log_term_at(&self->log, follower->next - 1, &prev_term)) {
            replicator_send_snapshot(self, follower, out);
            return;
        }
        bool is_repeated = is_probe && follower->is_repeated;
        send_append(self, follower, prev_term, is_repeated ? 0 : LIMIT_PEER_APPEND_BYTES, out);
    }
}

/* Have the appends in flight arrived? An empty one after them is refused if not. */
static void ask_after(replicator_t *self, progress_t *follower, outbox_t *out)
{
    uint64_t prev_term = 0;
    if (!raft_log_term_at(&self->log, follower->next - 1, &prev_term)) {
        replicator_send_snapshot(self, follower, out); /* it was away for too long */
    } else if (outbox_room(out, ACTOR_PEER)) {
        send_append(self, follower, prev_term, 0, out);
    }
}

/* ---- heartbeats ---- */

/* What is kept for one who needed a snapshot moves on with it, and ends when it has caught up or is gone. */
static void mind_kept(const replicator_t *self, progress_t *follower)
{
    if (follower->keep_from == 0 || follower->state == PROGRESS_SNAPSHOT) {
        return;
    }
    if (follower->match >= self->applied || !replicator_is_alive(self, follower)) {
        follower->keep_from = 0;
    } else if (follower->match >= follower->keep_from) {
        follower->keep_from = follower->match + 1;
    }
}

static uint64_t committed_there(const replicator_t *self, const progress_t *follower)
{
    return self->commit < follower->match ? self->commit : follower->match;
}

static void send_heartbeat(replicator_t *self, progress_t *follower, outbox_t *out)
{
    if (!outbox_room(out, ACTOR_PEER)) {
        metrics_add(self->metrics, METRIC_HEARTBEAT_FAILURES, 1);
        return;
    }
    peer_msg_t *content = peer_msg_new(PEER_HEARTBEAT, self->lead);
    content->u.heartbeat.commit = committed_there(self, follower);
    content->u.heartbeat.round = self->round;
    follower->commit_told = content->u.heartbeat.commit;
    replicator_say(follower->member, &content, out);
}

/* How long the commit index waits for an append to carry it when nobody is known to wait for it there. By itself
 * it costs two frames and ten wake-ups. */
enum { COMMIT_WAITS_US = 2000 };

/* Who has forwarded a proposal, or asked for a read index, waits for the commit index. A watcher does, too, but
 * while appends are on their way the next is not far. */
static void tell_commit(replicator_t *self, progress_t *follower, outbox_t *out)
{
    uint64_t committed = committed_there(self, follower);
    if (follower->state != PROGRESS_REPLICATE || committed <= follower->commit_told) {
        follower->untold_us = 0;
        return;
    }
    follower->untold_us = follower->untold_us ? follower->untold_us : self->now_us;
    bool is_awaited = follower->awaited > follower->commit_told ||
                      (follower->is_watched && follower->window_count == 0);
    bool is_due = self->now_us - follower->untold_us >= COMMIT_WAITS_US;
    if ((is_awaited || is_due) && outbox_room(out, ACTOR_PEER)) {
        send_heartbeat(self, follower, out);
        follower->untold_us = 0;
    }
}

/* Without room it is tried at the next tick. */
static uint64_t tell_due_us(const replicator_t *self, const progress_t *follower)
{
    if (follower->untold_us == 0) {
        return DEADLINE_NONE;
    }
    uint64_t due_us = follower->untold_us + COMMIT_WAITS_US;
    return due_us > self->now_us ? due_us : DEADLINE_NONE;
}

void replicator_awaits(replicator_t *self, uint64_t member, uint64_t index)
{
    progress_t *follower = replicator_find_follower(self, member);
    if (follower && index > follower->awaited) {
        follower->awaited = index;
    }
}

/* Does a quorum still answer? Once per heartbeat interval, for election's check of the quorum. */
static void report_quorum(replicator_t *self, uint64_t since_us, outbox_t *out)
{
    size_t heard = replicator_is_voter(self);
    for (size_t i = 0; i < self->follower_count; i++) {
        const progress_t *follower = &self->followers[i];
        heard += follower->is_voter && follower->was_heard && follower->heard_us >= since_us;
    }
    if (heard >= configuration_quorum(&self->configuration)) {
        replicator_report(self, MSG_QUORUM_SEEN, self->lead, self->cfg.member_id, out);
    }
}

static uint64_t tick_due_us(const replicator_t *self)
{
    return self->follower_count ? self->tick_us + self->cfg.heartbeat_us : DEADLINE_NONE;
}

uint64_t replicator_lead_due_us(const replicator_t *self)
{
    uint64_t due_us = tick_due_us(self);
    for (size_t i = 0; i < self->follower_count; i++) {
        uint64_t tell_us = tell_due_us(self, &self->followers[i]);
        due_us = tell_us < due_us ? tell_us : due_us;
    }
    return due_us;
}

void replicator_lead(replicator_t *self, bool has_new_round, outbox_t *out)
{
    if (self->follower_count == 0) {
        return;
    }
    bool is_tick = self->now_us >= tick_due_us(self);
    if (is_tick) {
        report_quorum(self, self->tick_us, out);
        self->tick_us = self->now_us;
    }
    for (size_t i = 0; i < self->follower_count; i++) {
        progress_t *follower = &self->followers[i];
        if (is_tick) {
            mind_kept(self, follower);
            if (progress_tick(follower)) {
                ask_after(self, follower, out);
            }
        }
        if (is_tick || has_new_round) {
            send_heartbeat(self, follower, out);
        }
        send_appends(self, follower, out);
        tell_commit(self, follower, out);
    }
    replicator_say_taken(self, out);
}

/* ---- answers ---- */

/* Everything of the term that is led proves that the member follows. NULL: none of its followers, or nonsense. */
static progress_t *heard(replicator_t *self, const msg_peer_t *peer, uint64_t round,
                         bool is_watched, outbox_t *out)
{
    if (self->lead == 0 || self->lead != peer->content->term) {
        return NULL; /* late: acknowledgements of a term that nobody leads any more count for nothing */
    }
    progress_t *follower = replicator_find_follower(self, peer->member);
    if (!follower) {
        return NULL; /* was removed */
    }
    if (round > self->round) {
        replicator_complain(self, peer, "a member confirms what nobody asked for", out);
        return NULL;
    }
    progress_heard(follower, peer->content->incarnation, self->now_us);
    follower->round = round > follower->round ? round : follower->round;
    follower->is_watched = is_watched;
    return follower;
}

/* Where our log may agree with one that holds (hint_term at hint_index), and refused what came after more. */
static uint64_t agree_at(const replicator_t *self, const peer_append_ack_t *ack)
{
    if (ack->hint_index <= self->log.base_index) {
        return ack->hint_index;
    }
    return raft_log_last_with_term(&self->log, ack->hint_index, ack->hint_term);
}

void replicator_on_append_ack(replicator_t *self, const msg_peer_t *peer, outbox_t *out)
{
    const peer_append_ack_t *ack = &peer->content->u.append_ack;
    progress_t *follower = heard(self, peer, ack->round, ack->is_watched, out);
    if (!follower) {
        return;
    }
    if (!ack->ok) {
        progress_refused(follower, ack->index, agree_at(self, ack));
    } else if (ack->index > raft_log_last_index(&self->log)) {
        replicator_complain(self, peer, "a member acknowledges what it can't have", out);
    } else {
        if (progress_acked(follower, ack->index)) {
            replicator_advance_commit(self);
        }
        bool needs_none = follower->match >= self->log.base_index;
        if (follower->state == PROGRESS_SNAPSHOT && needs_none) {
            progress_snapshot_ended(follower, follower->match, 0);
        }
    }
}

void replicator_on_heartbeat_ack(replicator_t *self, const msg_peer_t *peer, outbox_t *out)
{
    const peer_heartbeat_t *ack = &peer->content->u.heartbeat;
    heard(self, peer, ack->round, ack->is_watched, out);
}
