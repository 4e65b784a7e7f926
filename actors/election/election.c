/* The phases and invariants are in election_private.h. Here: life, dispatch, deadlines, and what the
 * replicator reports. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "actors/election/election_private.h"
#include "messages/xalloc.h"

static const sm_state_t states[] = {
    [IDLE] = {"idle", SM_TO(IDLE) | SM_TO(QUERYING) | SM_TO(FENCING)},
    [QUERYING] = {"querying", SM_TO(POLLING) | SM_TO(FENCING) | SM_TO(IDLE)},
    [POLLING] = {"polling", SM_TO(FENCING) | SM_TO(IDLE)},
    [FENCING] = {"fencing", SM_TO(PERSISTING) | SM_TO(IDLE)},
    [PERSISTING] = {"persisting", SM_TO(STANDING) | SM_TO(IDLE)},
    [STANDING] = {"standing", SM_TO(LEADING) | SM_TO(FENCING) | SM_TO(IDLE)},
    [LEADING] = {"leading", SM_TO(FENCING) | SM_TO(IDLE)},
};

enum { FIRST_HEARTBEATS = 3 }; /* intervals in which a leader would be heard after a start */
enum { GONE_HEARTBEATS = 2 };  /* and by whom it was said to be gone, were it not true */

/* ---- life ---- */

election_t *election_new(const election_cfg_t *cfg, metrics_t *metrics)
{
    assert(cfg->member_id != 0);
    assert(cfg->election_timeout_us > 0 && cfg->heartbeat_us > 0);
    election_t *self = xcalloc(1, sizeof *self);
    self->cfg = *cfg;
    self->metrics = metrics;
    self->prng.state = cfg->seed;
    self->term = cfg->term;
    self->vote = cfg->vote;
    self->deadline_us = 0;
    self->gone_us = DEADLINE_NONE;
    sm_init(&self->phase, states, IDLE);
    int rc = configuration_decode(&self->configuration, bytes_slice(cfg->configuration));
    assert(rc == 0); /* checked when the log was read */
    (void)rc;
    self->cfg.configuration = NULL;
    return self;
}

static void election_destroy(void **self_p)
{
    election_t *self = *self_p;
    *self_p = NULL;
    if (self) {
        election_close_ballot(self);
        configuration_deinit(&self->configuration);
        free(self);
    }
}

/* ---- the configuration ---- */

static bool is_voter(const election_t *self)
{
    return configuration_is_voter(&self->configuration, self->cfg.member_id);
}

/* Who votes; and a member that is removed by a configuration which is not committed yet: those whom it needs may
 * still count it, and refuse their votes to anybody with a shorter log. It does not count itself. */
bool election_may_stand(const election_t *self)
{
    return is_voter(self) || self->is_needed;
}

bool election_is_alone(const election_t *self)
{
    return configuration_voters(&self->configuration) == 1 && is_voter(self);
}

static void count_learner(election_t *self)
{
    bool learns = false;
    for (size_t i = 0; i < self->configuration.count; i++) {
        const configuration_member_t *member = &self->configuration.members[i];
        learns |= member->id == self->cfg.member_id && member->learner;
    }
    metrics_set(self->metrics, METRIC_IS_LEARNER, learns);
}

int election_learn(election_t *self, const bytes_t *configuration, uint64_t index, outbox_t *out)
{
    int rc = configuration_decode(&self->configuration, bytes_slice(configuration));
    if (rc) {
        outbox_fatal(out,
                     "the log holds a configuration at index %" PRIu64 " that cannot be decoded",
                     index);
    }
    count_learner(self);
    return rc;
}

/* ---- time ---- */

/* Without another voter there is nobody to wait for. Who may not stand wants to know
 * nevertheless when the leader is gone. */
void election_schedule(election_t *self, uint64_t now_us)
{
    uint64_t base_us = self->cfg.election_timeout_us;
    if (election_is_alone(self) && self->leader == 0) {
        self->deadline_us = now_us;
    } else if (!election_may_stand(self) && self->leader == 0) {
        self->deadline_us = DEADLINE_NONE;
    } else {
        self->deadline_us = now_us + base_us + prng_below(&self->prng, base_us);
    }
}

/* Before the first time-out: a leader that is there is heard within a few heartbeats, so a shorter wait
 * than usual tells that there is none. Were it wrong, the others would not vote: they hear the leader. */
static void schedule_first(election_t *self, uint64_t now_us)
{
    election_schedule(self, now_us);
    uint64_t base_us = self->cfg.election_timeout_us;
    if (self->cfg.tick_advance && self->deadline_us != DEADLINE_NONE &&
        self->deadline_us > now_us) {
        uint64_t first_us = now_us + FIRST_HEARTBEATS * self->cfg.heartbeat_us +
                            prng_below(&self->prng, base_us / 2 + 1);
        self->deadline_us = first_us < self->deadline_us ? first_us : self->deadline_us;
    }
}

bool election_leader_is_gone(const election_t *self, uint64_t now_us)
{
    return self->gone_us != DEADLINE_NONE &&
           now_us - self->gone_us >= GONE_HEARTBEATS * self->cfg.heartbeat_us;
}

/* ---- messages ---- */

void election_announce(election_t *self, role_t role, outbox_t *out)
{
    static const actor_id_t listeners[] = {ACTOR_GRPC_GATEWAY, ACTOR_ZMQ_GATEWAY, ACTOR_LEASE};
    msg_role_t now = {.term = self->term, .role = role, .leader = self->leader};
    if (self->started && now.term == self->told.term && now.role == self->told.role &&
        now.leader == self->told.leader) {
        return;
    }
    for (size_t i = 0; i < sizeof listeners / sizeof *listeners; i++) {
        msg_t *msg = msg_new(MSG_ROLE);
        msg->u.role = now;
        outbox_put(out, listeners[i], &msg);
    }
    if (now.leader != 0 && now.leader != self->told.leader) {
        metrics_add(self->metrics, METRIC_LEADER_CHANGES, 1);
    }
    metrics_set(self->metrics, METRIC_IS_LEADER, role == ROLE_LEADER);
    metrics_set(self->metrics, METRIC_HAS_LEADER, now.leader != 0);
    self->told = now;
}

void election_tell_replicator(election_t *self, msg_kind_t kind, outbox_t *out)
{
    msg_t *msg = msg_new(kind);
    msg->u.term = (msg_term_t){.term = self->term, .member = self->cfg.member_id};
    outbox_put(out, ACTOR_REPLICATOR, &msg);
}

uint64_t election_ask_replicator(election_t *self, msg_kind_t kind, uint64_t term, outbox_t *out)
{
    msg_t *msg = msg_new(kind);
    msg->u.fence = (msg_fence_t){.seq = ++self->last_seq, .term = term};
    outbox_put(out, ACTOR_REPLICATOR, &msg);
    return self->last_seq;
}

void election_say(uint64_t member, peer_msg_t **content_p, outbox_t *out)
{
    msg_t *msg = msg_new(MSG_PEER);
    msg->u.peer = (msg_peer_t){.member = member, .content = *content_p};
    *content_p = NULL;
    outbox_put(out, ACTOR_PEER, &msg);
}

/* ---- roles ---- */

void election_follow(election_t *self, uint64_t now_us, outbox_t *out)
{
    sm_move(&self->phase, IDLE);
    election_close_ballot(self);
    self->leader = 0;
    election_announce(self, ROLE_FOLLOWER, out);
    election_schedule(self, now_us);
}

static bool campaigns(const election_t *self)
{
    unsigned phase = self->phase.state;
    return phase == QUERYING || phase == POLLING || phase == STANDING;
}

static void step_down(election_t *self, const char *why, uint64_t now_us, outbox_t *out)
{
    election_tell_replicator(self, MSG_STEP_DOWN, out);
    outbox_log(out, LEVEL_WARN, why, "\"term\":%" PRIu64, self->term);
    election_follow(self, now_us, out);
}

/* A leader whose disk hangs would lead without ever committing: hand over, if there is anybody. */
static void mind_disk(election_t *self, uint64_t now_us, outbox_t *out)
{
    if (!self->disk_stalled || election_is_alone(self)) {
        return;
    }
    if (self->phase.state == LEADING) {
        step_down(self, "stepped down: the log's disk does not answer", now_us, out);
    } else if (campaigns(self)) {
        election_follow(self, now_us, out);
    }
}

/* ---- what the replicator reports ---- */

static void on_position(election_t *self, const msg_position_t *position, uint64_t now_us,
                        outbox_t *out)
{
    if (self->pre_vote.seq && position->seq == self->pre_vote.seq) {
        election_on_pre_vote_position(self, position, now_us, out);
    } else if (self->phase.state == QUERYING && position->seq == self->open_seq) {
        election_on_own_position(self, position, now_us, out);
    }
}

/* Somebody leads our term. Were it led by ourselves, this would be a lie. */
static void on_leader_seen(election_t *self, const msg_term_t *seen, uint64_t now_us, outbox_t *out)
{
    bool follows = self->phase.state == IDLE || campaigns(self);
    if (!follows || seen->term != self->term || seen->member == 0 ||
        seen->member == self->cfg.member_id) {
        return;
    }
    if (seen->member != self->leader) {
        outbox_log(out, LEVEL_INFO, "found a leader",
                   "\"term\":%" PRIu64 ",\"leader\":\"%" PRIx64 "\"", self->term, seen->member);
    }
    if (campaigns(self)) {
        sm_move(&self->phase, IDLE);
        election_close_ballot(self);
    }
    self->leader = seen->member;
    self->leader_us = now_us;
    self->gone_us = DEADLINE_NONE;
    election_announce(self, ROLE_FOLLOWER, out);
    election_schedule(self, now_us);
}

static void on_quorum_seen(election_t *self, const msg_term_t *seen, uint64_t now_us)
{
    if (self->phase.state == LEADING && seen->term == self->term) {
        self->leader_us = now_us;
        if (!election_is_alone(self)) {
            self->deadline_us = now_us + self->cfg.election_timeout_us;
        }
    }
}

static void on_resigned(election_t *self, const msg_term_t *resigned, uint64_t now_us,
                        outbox_t *out)
{
    if (self->phase.state == LEADING && resigned->term == self->term) {
        election_follow(self, now_us, out);
    }
}

static void on_members(election_t *self, const msg_members_t *members, uint64_t now_us,
                       outbox_t *out)
{
    bool could_stand = election_may_stand(self);
    bool was_alone = election_is_alone(self);
    self->is_needed = members->is_needed;
    if (election_learn(self, members->configuration, members->index, out)) {
        return;
    }
    bool may_stand = election_may_stand(self);
    bool is_alone = election_is_alone(self);
    if (self->phase.state == LEADING && is_alone != was_alone) {
        self->leader_us = now_us; /* from now on it needs others to answer, or no longer */
        self->deadline_us = is_alone ? DEADLINE_NONE : now_us + self->cfg.election_timeout_us;
    } else if (campaigns(self) && !may_stand) {
        election_follow(self, now_us, out);
    } else if (self->phase.state == IDLE && (may_stand != could_stand || is_alone != was_alone)) {
        election_schedule(self, now_us);
    }
    mind_disk(self, now_us, out);
}

static void on_disk_ok(election_t *self, uint64_t now_us)
{
    self->disk_stalled = false;
    if (self->phase.state == IDLE) {
        election_schedule(self, now_us);
    }
}

/* ---- what members say, and what is seen of them ---- */

/* A leader whose process has ended does not come back as one, so nobody has to wait an election timeout for it:
 * only as long as it takes to hear it, were the hint wrong, and a random time, so that not all stand at once.
 * The pre-vote asks whether the others miss it, too; who was wrong changes nothing (docs/CONSENSUS.md). */
static void on_gone(election_t *self, uint64_t member, uint64_t now_us)
{
    bool is_news = self->phase.state == IDLE && self->leader != 0 && self->leader == member &&
                   self->gone_us == DEADLINE_NONE;
    if (!is_news || !self->cfg.pre_vote) {
        return;
    }
    self->gone_us = now_us;
    uint64_t sooner_us = now_us + GONE_HEARTBEATS * self->cfg.heartbeat_us +
                         prng_below(&self->prng, self->cfg.election_timeout_us / 2 + 1);
    if (sooner_us < self->deadline_us) {
        self->deadline_us = sooner_us;
    }
}

static void on_peer(election_t *self, const msg_peer_t *peer, uint64_t now_us, outbox_t *out)
{
    uint64_t member = peer->member;
    const peer_msg_t *content = peer->content;
    if (member == 0 || member == self->cfg.member_id) {
        return;
    }
    switch (content->kind) {
    case PEER_REQ_PREVOTE: election_on_pre_vote_request(self, member, content, now_us, out); break;
    case PEER_REQ_VOTE: election_on_vote_request(self, member, content, now_us, out); break;
    case PEER_PREVOTE: election_on_pre_vote(self, member, content, now_us, out); break;
    case PEER_VOTE: election_on_vote(self, member, content, now_us, out); break;
    case PEER_TIMEOUT_NOW: election_on_timeout_now(self, member, content, out); break;
    default: break; /* not for us */
    }
}

/* ---- the core ---- */

static void start(election_t *self, uint64_t now_us, outbox_t *out)
{
    election_announce(self, ROLE_FOLLOWER, out);
    self->started = true;
    count_learner(self);
    schedule_first(self, now_us);
}

static void on_timeout(election_t *self, uint64_t now_us, outbox_t *out)
{
    if (self->leader) {
        outbox_log(out, LEVEL_WARN, "lost the leader",
                   "\"term\":%" PRIu64 ",\"leader\":\"%" PRIx64 "\"", self->term, self->leader);
    }
    if (!election_may_stand(self) || self->disk_stalled || self->stopped) {
        election_follow(self, now_us, out);
        self->deadline_us = DEADLINE_NONE; /* until it may stand again */
        return;
    }
    if (self->phase.state != IDLE) {
        sm_move(&self->phase, IDLE); /* no majority in time */
        election_close_ballot(self);
    }
    election_start_campaign(self, out);
}

static void on_deadline(election_t *self, uint64_t now_us, outbox_t *out)
{
    unsigned phase = self->phase.state;
    if (now_us >= self->deadline_us) {
        if (phase == LEADING) {
            step_down(self, "stepped down: a quorum has been silent", now_us, out);
        } else {
            on_timeout(self, now_us, out);
        }
    } else if ((phase == POLLING || phase == STANDING) && now_us >= self->repeat_us) {
        election_repeat_requests(self, now_us, out);
    }
}

static void on_stop(election_t *self, uint64_t now_us, outbox_t *out)
{
    self->stopped = true;
    if (campaigns(self)) {
        election_follow(self, now_us, out);
    }
    outbox_stopped(out);
}

static void election_step(void *context, const step_in_t *in, outbox_t *out)
{
    election_t *self = context;
    msg_t *msg = in->msg;
    uint64_t now_us = in->now_us;
    if (!self->started) {
        start(self, now_us, out);
    }
    if (!msg) {
        on_deadline(self, now_us, out);
        return;
    }
    switch (msg->kind) {
    case MSG_POS: on_position(self, &msg->u.position, now_us, out); break;
    case MSG_FENCED: election_on_fenced(self, &msg->u.position, now_us, out); break;
    case MSG_HS_DURABLE: election_on_hardstate_durable(self, &msg->u.hardstate, now_us, out); break;
    case MSG_BOUNCE: election_hear_term(self, msg->u.term.term, out); break;
    case MSG_LEADER_SEEN: on_leader_seen(self, &msg->u.term, now_us, out); break;
    case MSG_QUORUM_SEEN: on_quorum_seen(self, &msg->u.term, now_us); break;
    case MSG_RESIGNED: on_resigned(self, &msg->u.term, now_us, out); break;
    case MSG_MEMBERS: on_members(self, &msg->u.members, now_us, out); break;
    case MSG_DISK_STALL:
        self->disk_stalled = true;
        mind_disk(self, now_us, out);
        break;
    case MSG_DISK_OK: on_disk_ok(self, now_us); break;
    case MSG_PEER: on_peer(self, &msg->u.peer, now_us, out); break;
    case MSG_GONE: on_gone(self, msg->u.gone.member, now_us); break;
    case MSG_STOP: on_stop(self, now_us, out); break;
    default: assert(!"a message that the wiring table does not send to election");
    }
}

static uint64_t election_deadline(const void *context)
{
    const election_t *self = context;
    unsigned phase = self->phase.state;
    bool repeats = phase == POLLING || phase == STANDING;
    return repeats && self->repeat_us < self->deadline_us ? self->repeat_us : self->deadline_us;
}

const core_ops_t election_ops = {
    .step = election_step,
    .deadline = election_deadline,
    .destroy = election_destroy,
};
