/* Several election actors against each other, under a network that loses, delays and repeats, with crashes.
 * Replicator and WAL writer are models of a few lines: fence and open marks, the position of a log, a hard
 * state that becomes durable a little later, heartbeats of whoever leads. What must hold: one vote per member
 * and term, one leader per term; and with a whole network a leader soon, who then stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "actors/core/prng.h"
#include "tests/support/election_rig.h"

enum {
    NODES = 5,
    TERMS = 4096,
    LETTERS = 4096,
    TICK_US = 2000,
};

typedef struct {
    uint64_t at_us;
    size_t from, to;
    bool inproc; /* never lost, but dies with the process */
    msg_t *msg;
} letter_t;

typedef struct {
    core_test_t core;
    bool up;
    uint64_t up_at_us;
    uint64_t term, vote;        /* durable */
    uint64_t fence, open, lead; /* the replicator's */
    uint64_t last_term, last;   /* of its log, durable */
    uint64_t beat_us;
    unsigned acks; /* bit set */
    uint64_t inproc_us;
} node_t;

typedef struct {
    node_t nodes[NODES];
    bytes_t *members;
    letter_t letters[LETTERS];
    size_t letter_count;
    prng_t prng;
    uint64_t now_us, seed;
    bool rough, pre_vote;
    bool cut[NODES];
    uint8_t votes[NODES][TERMS];
    uint8_t leaders[TERMS];
} cluster_t;

static uint64_t below(cluster_t *self, uint64_t bound)
{
    return prng_below(&self->prng, bound);
}

/* ---- letters ---- */

static void post(cluster_t *self, letter_t letter)
{
    assert_true(self->letter_count < LETTERS);
    self->letters[self->letter_count++] = letter;
}

/* Between the actors of a node: in order, a little later. */
static void post_inproc(cluster_t *self, size_t id, msg_t **msg_p, uint64_t delay_us)
{
    node_t *node = &self->nodes[id];
    uint64_t at_us = self->now_us + below(self, delay_us);
    node->inproc_us = at_us > node->inproc_us ? at_us : node->inproc_us;
    post(self,
         (letter_t){.at_us = node->inproc_us, .from = id, .to = id, .inproc = true, .msg = *msg_p});
    *msg_p = NULL;
}

static void post_peer(cluster_t *self, size_t from, size_t to, peer_kind_t kind,
                      const peer_msg_t *content)
{
    bool lost = self->cut[from] || self->cut[to] || (self->rough && below(self, 100) < 20);
    unsigned copies = lost ? 0 : self->rough && below(self, 100) < 10 ? 2 : 1;
    for (unsigned i = 0; i < copies; i++) {
        msg_t *msg = msg_new(MSG_PEER);
        peer_msg_t *copy = peer_msg_new(kind, content->term);
        copy->u = content->u;
        msg->u.peer = (msg_peer_t){.member = from + 1, .content = copy};
        uint64_t delay_us = below(self, self->rough ? 300000 : 3000);
        post(self,
             (letter_t){.at_us = self->now_us + delay_us, .from = from, .to = to, .msg = msg});
    }
}

static letter_t take_letter(cluster_t *self, size_t position)
{
    letter_t letter = self->letters[position];
    self->letter_count--;
    memmove(self->letters + position, self->letters + position + 1,
            (self->letter_count - position) * sizeof letter);
    return letter;
}

/* ---- the models ---- */

static void tell_core(cluster_t *self, size_t id, msg_kind_t kind, uint64_t term, size_t about)
{
    msg_t *msg = msg_new(kind);
    msg->u.term = (msg_term_t){.term = term, .member = about + 1};
    post_inproc(self, id, &msg, 500);
}

static void answer_position(cluster_t *self, size_t id, const msg_t *question)
{
    const node_t *node = &self->nodes[id];
    msg_t *msg = msg_new(question->kind == MSG_FENCE ? MSG_FENCED : MSG_POS);
    msg->u.position = (msg_position_t){.seq = question->u.fence.seq,
                                       .term = question->u.fence.term,
                                       .last_term = node->last_term,
                                       .last_index = node->last,
                                       .configuration = bytes_ref(self->members)};
    post_inproc(self, id, &msg, 1000);
}

static void take_lead(cluster_t *self, size_t id, uint64_t term)
{
    node_t *node = &self->nodes[id];
    if (term != node->fence || term != node->open) {
        return;
    }
    assert_true(term < TERMS);
    assert_int_equal(self->leaders[term], 0); /* S1 */
    self->leaders[term] = (uint8_t)(id + 1);
    node->lead = term;
    node->last_term = term;
    node->last++;
    node->beat_us = self->now_us;
}

/* What election puts to the replicator. */
static void replicate(cluster_t *self, size_t id, const msg_t *msg)
{
    node_t *node = &self->nodes[id];
    switch (msg->kind) {
    case MSG_FENCE:
        node->fence = msg->u.fence.term > node->fence ? msg->u.fence.term : node->fence;
        node->lead = node->fence > node->lead ? 0 : node->lead;
        answer_position(self, id, msg);
        break;
    case MSG_QUERY_POS: answer_position(self, id, msg); break;
    case MSG_OPEN: node->open = msg->u.term.term == node->fence ? node->fence : node->open; break;
    case MSG_LEAD: take_lead(self, id, msg->u.term.term); break;
    case MSG_STEP_DOWN: node->lead = msg->u.term.term == node->lead ? 0 : node->lead; break;
    default: fail();
    }
}

/* A heartbeat carries the leader's position: round is its last term. */
static void on_heartbeat(cluster_t *self, size_t from, size_t to, const peer_msg_t *beat)
{
    node_t *node = &self->nodes[to];
    if (beat->term > node->fence) {
        tell_core(self, to, MSG_BOUNCE, beat->term, from);
        return;
    }
    if (beat->term == node->fence && node->open == node->fence) {
        node->last_term = beat->u.heartbeat.round;
        node->last = beat->u.heartbeat.commit;
        tell_core(self, to, MSG_LEADER_SEEN, beat->term, from);
    }
    peer_msg_t ack = {.term = node->fence};
    post_peer(self, to, from, PEER_HB_ACK, &ack);
}

static void on_ack(cluster_t *self, size_t from, size_t to, const peer_msg_t *ack)
{
    node_t *node = &self->nodes[to];
    if (ack->term > node->fence) {
        tell_core(self, to, MSG_BOUNCE, ack->term, from);
    } else if (ack->term == node->lead) {
        node->acks |= 1u << from;
    }
}

static void beat(cluster_t *self, size_t id)
{
    node_t *node = &self->nodes[id];
    if (node->lead == 0 || self->now_us < node->beat_us) {
        return;
    }
    node->beat_us = self->now_us + HEARTBEAT;
    if ((size_t)__builtin_popcount(node->acks | 1u << id) > NODES / 2) {
        tell_core(self, id, MSG_QUORUM_SEEN, node->lead, id);
    }
    node->acks = 0;
    peer_msg_t content = {.term = node->lead};
    content.u.heartbeat = (peer_heartbeat_t){.commit = node->last, .round = node->last_term};
    for (size_t to = 0; to < NODES; to++) {
        if (to != id) {
            post_peer(self, id, to, PEER_HEARTBEAT, &content);
        }
    }
}

/* ---- the cores ---- */

/* Everything that shows a vote: S0. */
static void check_vote(cluster_t *self, size_t id, uint64_t to, const peer_msg_t *content)
{
    uint64_t candidate = content->kind == PEER_REQ_VOTE                          ? id + 1
                         : content->kind == PEER_VOTE && content->u.vote.granted ? to
                                                                                 : 0;
    if (candidate) {
        assert_true(content->term < TERMS);
        uint8_t *vote = &self->votes[id][content->term];
        assert_true(*vote == 0 || *vote == candidate);
        *vote = (uint8_t)candidate;
        assert_int_equal(self->nodes[id].term, content->term); /* it is durable */
        assert_int_equal(self->nodes[id].vote, candidate);
    }
}

static void collect(cluster_t *self, size_t id)
{
    node_t *node = &self->nodes[id];
    assert_null(outbox_fatal_text(node->core.outbox));
    while (outbox_next_line(node->core.outbox)) {
    }
    actor_id_t to = ACTOR_NONE;
    msg_t *msg = NULL;
    while ((msg = core_test_take(&node->core, &to))) {
        if (to == ACTOR_REPLICATOR) {
            post_inproc(self, id, &msg, 1000);
        } else if (to == ACTOR_WAL_WRITER) {
            msg->kind = MSG_HS_DURABLE;
            post_inproc(self, id, &msg, self->rough ? 50000 : 5000);
        } else if (to == ACTOR_PEER) {
            const msg_peer_t *peer = &msg->u.peer;
            check_vote(self, id, peer->member, peer->content);
            post_peer(self, id, peer->member - 1, peer->content->kind, peer->content);
        }
        msg_free(&msg);
    }
}

static void step(cluster_t *self, size_t id, actor_id_t from, msg_t **msg_p)
{
    node_t *node = &self->nodes[id];
    node->core.now_us = self->now_us;
    if (msg_p) {
        core_test_send(&node->core, from, msg_p);
    }
    core_test_flush(&node->core);
    collect(self, id);
}

static void start(cluster_t *self, size_t id)
{
    node_t *node = &self->nodes[id];
    election_cfg_t cfg = {.member_id = id + 1,
                          .term = node->term,
                          .vote = node->vote,
                          .configuration = self->members,
                          .pre_vote = self->pre_vote,
                          .tick_advance = true,
                          .heartbeat_us = HEARTBEAT,
                          .election_timeout_us = TIMEOUT,
                          .seed = self->seed * 100 + id + self->now_us};
    node->core = core_test_new(ACTOR_ELECTION, &election_ops, election_new(&cfg, &et_metrics));
    node->fence = node->term;
    node->open = node->term;
    node->lead = 0;
    node->up = true;
    step(self, id, ACTOR_NONE, NULL);
}

static void crash(cluster_t *self, size_t id)
{
    core_test_end(&self->nodes[id].core);
    self->nodes[id].up = false;
    self->nodes[id].up_at_us = self->now_us + below(self, 3 * TIMEOUT);
    for (size_t i = self->letter_count; i-- > 0;) {
        if (self->letters[i].inproc && self->letters[i].to == id) {
            letter_t letter = take_letter(self, i);
            msg_free(&letter.msg);
        }
    }
}

/* ---- the run ---- */

static void deliver(cluster_t *self, letter_t *letter)
{
    node_t *node = &self->nodes[letter->to];
    msg_t *msg = letter->msg;
    if (!node->up) {
        msg_free(&msg);
        return;
    }
    if (!letter->inproc) {
        const peer_msg_t *content = msg->u.peer.content;
        if (content->kind == PEER_HEARTBEAT) {
            on_heartbeat(self, letter->from, letter->to, content);
        } else if (content->kind == PEER_HB_ACK) {
            on_ack(self, letter->from, letter->to, content);
        } else {
            step(self, letter->to, ACTOR_PEER, &msg);
        }
    } else if (msg->from == ACTOR_ELECTION && msg->kind != MSG_HS_DURABLE) {
        replicate(self, letter->to, msg);
    } else {
        if (msg->kind == MSG_HS_DURABLE) {
            node->term = msg->u.hardstate.term;
            node->vote = msg->u.hardstate.vote;
        }
        step(self, letter->to, ACTOR_REPLICATOR, &msg);
    }
    msg_free(&msg);
}

static size_t next_due(const cluster_t *self)
{
    size_t next = self->letter_count;
    for (size_t i = 0; i < self->letter_count; i++) {
        if (self->letters[i].at_us <= self->now_us &&
            (next == self->letter_count || self->letters[i].at_us < self->letters[next].at_us)) {
            next = i;
        }
    }
    return next;
}

static void tick(cluster_t *self)
{
    self->now_us += TICK_US;
    size_t next = 0;
    while ((next = next_due(self)) < self->letter_count) {
        letter_t letter = take_letter(self, next);
        deliver(self, &letter);
    }
    for (size_t id = 0; id < NODES; id++) {
        node_t *node = &self->nodes[id];
        if (!node->up && self->now_us >= node->up_at_us) {
            start(self, id);
        } else if (node->up && election_ops.deadline(node->core.core) <= self->now_us) {
            step(self, id, ACTOR_NONE, NULL);
        }
        if (node->up) {
            beat(self, id);
        }
    }
}

/* Crashes and cuts come every few seconds, never more than two at once. */
static void disturb(cluster_t *self)
{
    size_t id = below(self, NODES);
    switch (below(self, 3000)) {
    case 0:
        if (self->nodes[id].up) {
            crash(self, id);
        }
        break;
    case 1: self->cut[id] = true; break;
    case 2:
    case 3: self->cut[id] = false; break;
    default: break;
    }
}

static void run(cluster_t *self, uint64_t micros, bool rough)
{
    self->rough = rough;
    for (uint64_t until_us = self->now_us + micros; self->now_us < until_us;) {
        if (rough) {
            disturb(self);
        }
        tick(self);
    }
}

/* The term all are in, led by one of them. */
static uint64_t agreed_term(const cluster_t *self)
{
    uint64_t term = self->nodes[0].term;
    size_t leaders = 0;
    for (size_t id = 0; id < NODES; id++) {
        const node_t *node = &self->nodes[id];
        if (!node->up || node->term != term || node->open != term) {
            return 0;
        }
        leaders += node->lead == term;
    }
    return leaders == 1 ? term : 0;
}

static cluster_t *cluster_new(uint64_t seed, bool pre_vote)
{
    static cluster_t cluster;
    cluster = (cluster_t){.seed = seed,
                          .prng = {.state = seed},
                          .pre_vote = pre_vote,
                          .members = MEMBERS(1, 2, 3, 4, 5)};
    for (size_t id = 0; id < NODES; id++) {
        start(&cluster, id);
    }
    return &cluster;
}

static void cluster_end(cluster_t *self)
{
    for (size_t id = 0; id < NODES; id++) {
        if (self->nodes[id].up) {
            core_test_end(&self->nodes[id].core);
        }
    }
    for (size_t i = 0; i < self->letter_count; i++) {
        msg_free(&self->letters[i].msg);
    }
    bytes_unref(&self->members);
}

static void members_that_start_together_soon_have_a_leader_who_stays(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        cluster_t *cluster = cluster_new(seed, true);
        run(cluster, 3 * TIMEOUT, false);
        uint64_t term = agreed_term(cluster);
        assert_true(term > 0);
        run(cluster, 20 * TIMEOUT, false);
        assert_int_equal(agreed_term(cluster), term);
        cluster_end(cluster);
    }
}

static void through_losses_cuts_and_crashes_terms_and_votes_stay_unique(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        cluster_t *cluster = cluster_new(seed, seed % 2);
        run(cluster, 60 * TIMEOUT, true);
        memset(cluster->cut, 0, sizeof cluster->cut);
        run(cluster, 8 * TIMEOUT, false);
        uint64_t term = agreed_term(cluster);
        assert_true(term > 0);
        run(cluster, 20 * TIMEOUT, false);
        assert_int_equal(agreed_term(cluster), term);
        cluster_end(cluster);
    }
}

/* Pre-vote: it comes back without a higher term. */
static void a_member_that_was_cut_off_does_not_disturb(void **state)
{
    (void)state;
    cluster_t *cluster = cluster_new(7, true);
    run(cluster, 3 * TIMEOUT, false);
    uint64_t term = agreed_term(cluster);
    size_t follower = cluster->leaders[term] == 1 ? 1 : 0;
    cluster->cut[follower] = true;
    run(cluster, 30 * TIMEOUT, false);
    cluster->cut[follower] = false;
    run(cluster, 3 * TIMEOUT, false);
    assert_int_equal(agreed_term(cluster), term);
    cluster_end(cluster);
}

static void a_lost_leader_is_replaced_within_a_few_election_timeouts(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        cluster_t *cluster = cluster_new(seed, true);
        run(cluster, 3 * TIMEOUT, false);
        uint64_t term = agreed_term(cluster);
        cluster->cut[cluster->leaders[term] - 1] = true;
        run(cluster, 4 * TIMEOUT, false);
        uint64_t newer = term + 1;
        while (newer < term + 10 && cluster->leaders[newer] == 0) {
            newer++;
        }
        assert_true(newer < term + 10);
        assert_int_equal(cluster->nodes[cluster->leaders[term] - 1].lead, 0); /* stepped down */
        cluster_end(cluster);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_that_start_together_soon_have_a_leader_who_stays),
        cmocka_unit_test(through_losses_cuts_and_crashes_terms_and_votes_stay_unique),
        cmocka_unit_test(a_member_that_was_cut_off_does_not_disturb),
        cmocka_unit_test(a_lost_leader_is_replaced_within_a_few_election_timeouts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
