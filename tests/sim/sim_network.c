/* Frames between members. In order and complete like TCP when all is well; each fault on its own. */
#include <stdlib.h>

#include "messages/xalloc.h"
#include "tests/sim/sim.h"

struct network {
    sim_t *sim;
    uint64_t delay_us;
    uint32_t loss, duplicate, reorder;                  /* permille */
    bool cut[SIM_MEMBERS_MAX][SIM_MEMBERS_MAX];         /* from, to */
    uint64_t last_us[SIM_MEMBERS_MAX][SIM_MEMBERS_MAX]; /* last arrival scheduled */
    struct {
        uint64_t until_us, by_us;
    } late[SIM_MEMBERS_MAX][SIM_MEMBERS_MAX]; /* what is sent until then comes so much later */
};

network_t *network_new(sim_t *sim)
{
    network_t *self = xcalloc(1, sizeof *self);
    self->sim = sim;
    network_heal(self);
    self->loss = sim->options.loss_permille;
    self->duplicate = sim->options.duplicate_permille;
    self->reorder = sim->options.reorder_permille;
    return self;
}

void network_destroy(network_t **self_p)
{
    free(*self_p);
    *self_p = NULL;
}

static void arrive(network_t *self, uint32_t from, uint32_t to, const bytes_t *frame)
{
    sim_t *sim = self->sim;
    uint64_t at_us = sim->now_us + 50 + sim_below(sim, self->delay_us);
    if (self->late[from][to].until_us > sim->now_us) {
        sim->counts[COUNT_FRAMES_REORDERED]++;
        at_us += self->late[from][to].by_us;
    } else if (sim_chance(sim, self->reorder)) {
        sim->counts[COUNT_FRAMES_REORDERED]++;
        at_us += sim_below(sim, 20 * self->delay_us);
    } else {
        uint64_t *last_us = &self->last_us[from][to];
        at_us = at_us > *last_us ? at_us : *last_us;
        *last_us = at_us;
    }
    /* life 0: a restarted process gets what was on its way to the one before */
    sim_schedule_at(
        sim, at_us,
        (occurrence_t){.kind = EVENT_FRAME, .slot = to, .a = from, .p = bytes_ref(frame)});
}

void network_send(network_t *self, uint32_t from, uint64_t to_id, bytes_t **frame_p)
{
    sim_t *sim = self->sim;
    member_t *to = sim_member(sim, to_id);
    bytes_t *frame = bytes_take(frame_p);
    sim->counts[COUNT_FRAMES]++;
    if (!to || self->cut[from][to->slot] || sim_chance(sim, self->loss)) {
        sim->counts[COUNT_FRAMES_LOST]++;
    } else {
        arrive(self, from, to->slot, frame);
        if (sim_chance(sim, self->duplicate)) {
            sim->counts[COUNT_FRAMES_DUPLICATED]++;
            arrive(self, from, to->slot, frame);
        }
    }
    bytes_unref(&frame);
}

/* May overtake what the member has said before, or come several times, since attempts to connect again fail, too. */
void network_close(network_t *self, uint32_t slot)
{
    enum { TIMES = 3, AGAIN_US = 300000 };
    sim_t *sim = self->sim;
    if (!sim->options.ends_are_seen) {
        return;
    }
    for (uint32_t other = 0; other < SIM_MEMBERS_MAX; other++) {
        bool apart = self->cut[slot][other] || self->cut[other][slot];
        if (other == slot || !sim->members[other].up || apart || sim_chance(sim, 250)) {
            continue;
        }
        sim->counts[COUNT_CONNECTIONS_CLOSED]++;
        uint64_t delay_us = sim_below(sim, self->delay_us);
        for (uint64_t times = 1 + sim_below(sim, TIMES); times > 0; times--) {
            sim_schedule(sim, delay_us,
                         (occurrence_t){.kind = EVENT_CLOSED, .slot = other, .a = slot});
            delay_us += sim_below(sim, AGAIN_US);
        }
    }
}

void network_cut(network_t *self, uint32_t from, uint32_t to, bool cut)
{
    self->cut[from][to] = cut;
}

void network_hold(network_t *self, uint32_t from, uint32_t to, uint64_t window_us, uint64_t by_us)
{
    self->late[from][to].until_us = self->sim->now_us + window_us;
    self->late[from][to].by_us = by_us;
}

void network_shape(network_t *self, uint64_t delay_us, uint32_t loss, uint32_t duplicate,
                   uint32_t reorder)
{
    self->delay_us = delay_us ? delay_us : 1;
    self->loss = loss;
    self->duplicate = duplicate;
    self->reorder = reorder;
}

void network_heal(network_t *self)
{
    for (size_t i = 0; i < SIM_MEMBERS_MAX; i++) {
        for (size_t j = 0; j < SIM_MEMBERS_MAX; j++) {
            self->cut[i][j] = false;
        }
    }
    network_shape(self, 500, 0, 0, 0);
}
