/* The configuration in force: the newest in the log, committed or not (docs/CONSENSUS.md). */
#include <assert.h>

#include "actors/replicator/membership.h"
#include "actors/replicator/replicator_state.h"
#include "messages/xalloc.h"

/* The configuration before the newest one. False: there is none in the log any more, or none yet. */
static bool decode_before(const replicator_t *self, configuration_t *before)
{
    size_t count = self->log.configuration_count;
    *before = (configuration_t){0};
    return count >= 2 && configuration_decode(
                             before, bytes_slice(self->log.configurations[count - 2].encoded)) == 0;
}

static bool was_alone(const replicator_t *self)
{
    configuration_t before;
    bool alone = decode_before(self, &before) && configuration_voters(&before) == 1 &&
                 configuration_is_voter(&before, self->cfg.member_id) && replicator_is_voter(self);
    configuration_deinit(&before);
    return alone;
}

void replicator_adopt_configuration(replicator_t *self)
{
    const raft_log_configuration_t *newest = raft_log_configuration(&self->log);
    int rc = configuration_decode(&self->configuration, bytes_slice(newest->encoded));
    assert(rc == 0); /* validated before it was appended, or when the log was read */
    (void)rc;
    self->members_due = true;
    self->peers_due = true;
    self->is_settled = false;
    self->is_removed = membership_is_removed(bytes_slice(newest->encoded), self->cfg.member_id);
    self->was_alone = was_alone(self);
    if (self->lead) {
        replicator_renew_followers(self);
        replicator_advance_commit(self);
    }
}

bool replicator_is_voter(const replicator_t *self)
{
    return configuration_is_voter(&self->configuration, self->cfg.member_id);
}

bool replicator_is_quorum(const replicator_t *self)
{
    return configuration_quorum(&self->configuration) == 1 && replicator_is_voter(self);
}

/* From one voter to two: every quorum of either configuration contains the one, so that nobody ever leads
 * without what is on its disk up to that change. Otherwise a second member could not be added before it runs,
 * and it does not run before it has been added. */
uint64_t replicator_alone_until(const replicator_t *self)
{
    uint64_t index = self->was_alone ? raft_log_configuration(&self->log)->index : 0;
    return index < self->durable ? index : self->durable;
}

/* ---- who hears of it ---- */

static bool is_committed(const replicator_t *self)
{
    return raft_log_configuration(&self->log)->index <= self->commit;
}

/* Its log may be the only one that is complete, while the others still count it: nobody would win without. */
static bool is_needed(const replicator_t *self)
{
    if (replicator_is_voter(self) || is_committed(self)) {
        return false;
    }
    configuration_t before;
    bool voted =
        decode_before(self, &before) && configuration_is_voter(&before, self->cfg.member_id);
    configuration_deinit(&before);
    return voted;
}

static msg_t *members_msg(const replicator_t *self, msg_kind_t kind)
{
    const raft_log_configuration_t *newest = raft_log_configuration(&self->log);
    msg_t *msg = msg_new(kind);
    msg->u.members = (msg_members_t){
        .index = newest->index,
        .configuration = bytes_ref(newest->encoded),
        .is_committed = is_committed(self),
        .is_needed = is_needed(self),
    };
    return msg;
}

/* Peer hears of it twice: at once, since a member that is added must be reached, and when it is committed, for
 * then nobody has to listen any more to who is removed. */
void replicator_tell_members(replicator_t *self, outbox_t *out)
{
    self->members_due |= self->told_needed && is_committed(self);
    if (self->members_due) {
        self->members_due = false;
        msg_t *msg = members_msg(self, MSG_MEMBERS);
        self->told_needed = msg->u.members.is_needed;
        outbox_put(out, ACTOR_ELECTION, &msg);
    }
    bool is_news = self->peers_due || (!self->is_settled && is_committed(self));
    if (is_news && outbox_room(out, ACTOR_PEER)) {
        self->peers_due = false;
        self->is_settled = is_committed(self);
        msg_t *msg = members_msg(self, MSG_PEERS);
        outbox_put(out, ACTOR_PEER, &msg);
    }
}

/* Not before the store has it: a client may have asked this very member, and waits for what comes of it. */
bool replicator_must_leave(const replicator_t *self)
{
    return self->is_removed && raft_log_configuration(&self->log)->index <= self->delivered;
}

/* ---- changes ---- */

static void take_change(replicator_t *self, size_t at, batch_t *change)
{
    *change = self->changes[at];
    self->change_count--;
    memmove(&self->changes[at], &self->changes[at + 1],
            (self->change_count - at) * sizeof *self->changes);
}

void replicator_submit_change(replicator_t *self, const batch_t *batch, proposal_t *item,
                              outbox_t *out)
{
    batch_t change = *batch;
    change.items = xcalloc(1, sizeof *change.items);
    change.count = 1;
    change.items[0] = *item;
    item->payload = NULL;
    if (self->change_count == LIMIT_WAITING_CHANGES) {
        replicator_refuse(self, &change, API_TOO_MANY_REQUESTS, out);
    } else {
        self->changes[self->change_count++] = change;
    }
}

/* They never entered the log. Those of this member go on to the next leader, if there is one in sight. */
void replicator_drop_changes(replicator_t *self, outbox_t *out)
{
    while (self->change_count) {
        batch_t change;
        take_change(self, 0, &change);
        if (replicator_is_handing_over(self) && change.from != ACTOR_PEER) {
            replicator_hold(self, &change, out);
        } else {
            replicator_refuse(self, &change, API_NO_LEADER, out);
        }
    }
}

static void count_promotion(replicator_t *self, api_error_t error)
{
    switch (error) {
    case API_NONE: metrics_add(self->metrics, METRIC_PROMOTED, 1); break;
    case API_LEARNER_NOT_READY: metrics_add(self->metrics, METRIC_PROMOTE_NOT_READY, 1); break;
    case API_MEMBER_NOT_LEARNER: metrics_add(self->metrics, METRIC_PROMOTE_NOT_LEARNER, 1); break;
    case API_MEMBER_NOT_FOUND: metrics_add(self->metrics, METRIC_PROMOTE_NOT_FOUND, 1); break;
    default: break;
    }
}

static void say_made(replicator_t *self, const batch_t *change, uint64_t index, outbox_t *out)
{
    if (change->from != ACTOR_PEER) {
        pending_t proposal = {
            .index = index, .req_id = change->items[0].req_id, .from = change->from};
        replicator_push_pending(&self->pending, &proposal);
        return;
    }
    peer_msg_t *answer = peer_msg_new(PEER_PROPOSE_ACK, self->open);
    answer->u.propose_reply = (peer_propose_reply_t){.id = change->id, .index = index};
    replicator_say(change->member, &answer, out);
}

static void make_change(replicator_t *self, batch_t *change, outbox_t *out)
{
    slice_t encoded = bytes_slice(change->items[0].payload);
    membership_kind_t kind = MEMBERSHIP_ADD;
    uint64_t member = 0;
    bool promotes = membership_change_of(encoded, &kind, &member) && kind == MEMBERSHIP_PROMOTE;
    const progress_t *follower = replicator_find_follower(self, member);
    membership_rules_t rules = {
        .learners_max = self->cfg.max_learners,
        .match = follower ? follower->match : 0,
        .last = raft_log_last_index(&self->log),
    };
    entry_t entry = {.index = rules.last + 1, .term = self->lead, .type = ENTRY_CONFIGURATION};
    api_error_t error = membership_apply(bytes_slice(raft_log_configuration(&self->log)->encoded),
                                         encoded, &rules, &entry.payload);
    if (promotes) {
        count_promotion(self, error);
    }
    if (error) {
        replicator_refuse(self, change, error, out);
        return;
    }
    replicator_append(self, &entry);
    bytes_unref(&entry.payload);
    say_made(self, change, entry.index, out);
    proposals_free(&change->items, change->count);
}

/* One uncommitted change at a time, and only after an entry of this term is committed: without the second
 * rule two leaders can change the same configuration in ways that share no quorum (conf.pml). */
void replicator_make_changes(replicator_t *self, outbox_t *out)
{
    while (self->change_count && self->lead && self->commit >= self->lead_first &&
           is_committed(self) && !replicator_is_handing_over(self)) {
        batch_t change;
        take_change(self, 0, &change);
        make_change(self, &change, out);
    }
}
