/* The life of one candidacy, each arrow a message (raft-over-actors.md sections 1 and 4):
 *
 *   idle --timeout--> querying --POS, pre-votes--> fencing --FENCED--> persisting --HS_DURABLE--> standing
 *     ^                                                                                              |
 *     +---------------------------- lost, timeout -------------------------------+--- votes ----> leading
 *
 * Invariants:
 * 1. `term` here is durable or about to be: it changes only between FENCED and HARDSTATE.
 * 2. ROLE(leader) and LEAD go out only from `standing`, with a quorum of the votes of that campaign,
 *    counted by the configuration that FENCED of that campaign reported. */
#include "actors/election/election.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "actors/core/prng.h"
#include "actors/core/sm.h"
#include "messages/configuration.h"
#include "messages/xalloc.h"

enum { IDLE, QUERYING, FENCING, PERSISTING, STANDING, LEADING };

static const sm_state_t states[] = {
    [IDLE] = {"idle", SM_TO(QUERYING) | SM_TO(FENCING)},
    [QUERYING] = {"querying", SM_TO(FENCING) | SM_TO(IDLE)},
    [FENCING] = {"fencing", SM_TO(PERSISTING)},
    [PERSISTING] = {"persisting", SM_TO(STANDING)},
    [STANDING] = {"standing", SM_TO(LEADING) | SM_TO(IDLE)},
    [LEADING] = {"leading", SM_TO(IDLE)},
};

struct election {
    election_cfg_t cfg;
    metrics_t *metrics;
    prng_t prng;
    sm_t phase;
    configuration_t configuration;
    uint64_t term, vote;
    uint64_t seq;         /* of the question that is open; answers to older ones are ignored */
    size_t votes;         /* pre-votes or votes of this campaign, our own included */
    uint64_t deadline_us; /* next candidacy; DEADLINE_NONE while leading or without a vote */
    bool started, disk_stalled, stopped;
};

static bool alone(const election_t *self)
{
    return configuration_voters(&self->configuration) == 1 &&
           configuration_is_voter(&self->configuration, self->cfg.member_id);
}

/* Without another voter there is nobody to wait for. */
static void schedule(election_t *self, uint64_t now_us)
{
    if (!configuration_is_voter(&self->configuration, self->cfg.member_id)) {
        self->deadline_us = DEADLINE_NONE;
        return;
    }
    uint64_t base_us = self->cfg.election_timeout_us;
    self->deadline_us = alone(self) ? now_us : now_us + base_us + prng_below(&self->prng, base_us);
}

election_t *election_new(const election_cfg_t *cfg, metrics_t *metrics)
{
    assert(cfg->member_id != 0);
    assert(cfg->election_timeout_us > 0);
    election_t *self = xcalloc(1, sizeof *self);
    self->cfg = *cfg;
    self->metrics = metrics;
    self->prng.state = cfg->seed;
    self->term = cfg->term;
    self->vote = cfg->vote;
    self->deadline_us = 0;
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
        configuration_deinit(&self->configuration);
        free(self);
    }
}

static void announce(election_t *self, role_t role, uint64_t leader, outbox_t *out)
{
    static const actor_id_t listeners[] = {ACTOR_GRPC_GATEWAY, ACTOR_LEASE};
    for (size_t i = 0; i < sizeof listeners / sizeof *listeners; i++) {
        msg_t *msg = msg_new(MSG_ROLE);
        msg->u.role = (msg_role_t){.term = self->term, .role = role, .leader = leader};
        outbox_put(out, listeners[i], &msg);
    }
    metrics_set(self->metrics, METRIC_IS_LEADER, role == ROLE_LEADER);
    metrics_set(self->metrics, METRIC_HAS_LEADER, leader != 0);
}

static void tell_replicator(election_t *self, msg_kind_t kind, outbox_t *out)
{
    msg_t *msg = msg_new(kind);
    msg->u.term = (msg_term_t){.term = self->term, .member = self->cfg.member_id};
    outbox_put(out, ACTOR_REPLICATOR, &msg);
}

static void ask_replicator(election_t *self, msg_kind_t kind, uint64_t term, outbox_t *out)
{
    msg_t *msg = msg_new(kind);
    msg->u.fence = (msg_fence_t){.seq = ++self->seq, .term = term};
    outbox_put(out, ACTOR_REPLICATOR, &msg);
}

static void fence(election_t *self, outbox_t *out)
{
    sm_move(&self->phase, FENCING);
    ask_replicator(self, MSG_FENCE, self->term + 1, out);
}

static void start_campaign(election_t *self, outbox_t *out)
{
    if (self->cfg.pre_vote) {
        sm_move(&self->phase, QUERYING);
        ask_replicator(self, MSG_QUERY_POS, self->term + 1, out);
    } else {
        fence(self, out);
    }
    self->deadline_us = DEADLINE_NONE; /* the phases below end by answers that cannot be lost */
}

static int learn_configuration(election_t *self, const msg_position_t *position, outbox_t *out)
{
    int rc = configuration_decode(&self->configuration, bytes_slice(position->configuration));
    if (rc) {
        outbox_fatal(out,
                     "the log holds a configuration at index %" PRIu64 " that cannot be decoded",
                     position->configuration_index);
    }
    return rc;
}

static bool won(const election_t *self)
{
    return self->votes >= configuration_quorum(&self->configuration);
}

/* Answer to QUERY_POS: our own pre-vote. Nothing has changed yet (Raft dissertation section 9.6). */
static void on_position(election_t *self, const msg_position_t *position, uint64_t now_us,
                        outbox_t *out)
{
    if (self->phase.state != QUERYING || position->seq != self->seq ||
        learn_configuration(self, position, out)) {
        return;
    }
    self->votes = configuration_is_voter(&self->configuration, self->cfg.member_id);
    if (won(self)) {
        fence(self, out);
    } else {
        sm_move(&self->phase, IDLE);
        schedule(self, now_us);
    }
}

/* The replicator takes nothing below the new term any more: now decide, and make it durable. */
static void on_fenced(election_t *self, const msg_position_t *position, outbox_t *out)
{
    if (self->phase.state != FENCING || position->seq != self->seq ||
        learn_configuration(self, position, out)) {
        return;
    }
    assert(position->term == self->term + 1);
    self->term = position->term;
    self->vote = self->cfg.member_id;
    sm_move(&self->phase, PERSISTING);
    msg_t *msg = msg_new(MSG_HARDSTATE);
    msg->u.hardstate =
        (msg_hardstate_t){.seq = ++self->seq, .term = self->term, .vote = self->vote};
    outbox_put(out, ACTOR_WAL_WRITER, &msg);
}

static void become_leader(election_t *self, outbox_t *out)
{
    sm_move(&self->phase, LEADING);
    self->deadline_us = DEADLINE_NONE;
    tell_replicator(self, MSG_LEAD, out);
    announce(self, ROLE_LEADER, self->cfg.member_id, out);
    metrics_add(self->metrics, METRIC_LEADER_CHANGES, 1);
    outbox_log(out, LEVEL_INFO, "became leader", "\"term\":%" PRIu64, self->term);
}

/* Only now may the vote count and the term be opened. */
static void on_hardstate_durable(election_t *self, const msg_hardstate_t *durable, uint64_t now_us,
                                 outbox_t *out)
{
    if (self->phase.state != PERSISTING || durable->seq != self->seq) {
        return;
    }
    sm_move(&self->phase, STANDING);
    tell_replicator(self, MSG_OPEN, out);
    self->votes = configuration_is_voter(&self->configuration, self->cfg.member_id);
    if (won(self)) {
        become_leader(self, out);
        return;
    }
    announce(self, ROLE_CANDIDATE, 0, out);
    schedule(self, now_us);
}

/* A leader whose disk hangs would lead without ever committing: hand over, if there is anybody. */
static void on_disk_stall(election_t *self, uint64_t now_us, outbox_t *out)
{
    self->disk_stalled = true;
    if (self->phase.state != LEADING || alone(self)) {
        return;
    }
    sm_move(&self->phase, IDLE);
    tell_replicator(self, MSG_STEP_DOWN, out);
    announce(self, ROLE_FOLLOWER, 0, out);
    outbox_log(out, LEVEL_WARN, "stepped down: the log's disk does not answer", "\"term\":%" PRIu64,
               self->term);
    schedule(self, now_us);
}

static void on_deadline(election_t *self, uint64_t now_us, outbox_t *out)
{
    if (!self->started) {
        self->started = true;
        announce(self, ROLE_FOLLOWER, 0, out);
        schedule(self, now_us);
    }
    if (now_us < self->deadline_us || self->disk_stalled || self->stopped) {
        return;
    }
    if (self->phase.state == STANDING) {
        sm_move(&self->phase, IDLE); /* no majority in time */
    }
    if (self->phase.state == IDLE) {
        start_campaign(self, out);
    }
}

static void election_step(void *context, const step_in_t *in, outbox_t *out)
{
    election_t *self = context;
    if (!in->msg) {
        on_deadline(self, in->now_us, out);
        return;
    }
    switch (in->msg->kind) {
    case MSG_POS: on_position(self, &in->msg->u.position, in->now_us, out); break;
    case MSG_FENCED: on_fenced(self, &in->msg->u.position, out); break;
    case MSG_HS_DURABLE: on_hardstate_durable(self, &in->msg->u.hardstate, in->now_us, out); break;
    case MSG_DISK_STALL: on_disk_stall(self, in->now_us, out); break;
    case MSG_DISK_OK: self->disk_stalled = false; break;
    case MSG_STOP:
        self->stopped = true;
        outbox_stopped(out);
        break;
    default: assert(!"a message that the wiring table does not send to election");
    }
}

static uint64_t election_deadline(const void *context)
{
    const election_t *self = context;
    return self->disk_stalled || self->stopped ? DEADLINE_NONE : self->deadline_us;
}

const core_ops_t election_ops = {
    .step = election_step,
    .deadline = election_deadline,
    .destroy = election_destroy,
};
