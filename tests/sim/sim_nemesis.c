/* What goes wrong, and when: one fault after the other at random times, each with an end. Disks fail
 * only so much that a member restarts with what it had synced; what a disk has acknowledged, it keeps. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "messages/xalloc.h"
#include "tests/sim/sim.h"

/* What an EVENT_FAULT is for. */
enum {
    ACT_ANY,
    ACT_RESTART,
    ACT_HEAL,
    ACT_CRASH, /* from here on: one member */
    ACT_PAUSE,
    ACT_ISOLATE,
    ACT_BLINK, /* as before, but it is over soon */
    ACT_RUSH,
    ACT_BUSY,
    ACT_PART /* from the one to whom it hands over, and both hear all others */
};

struct nemesis {
    sim_t *sim;
    uint64_t restart_at_us[SIM_MEMBERS_MAX]; /* 0 = runs */
    uint64_t network_until_us;
    uint64_t handover_until_us; /* the next one may be disturbed then */
    uint64_t word_comes_us;     /* what it says to its successor */
    uint32_t apart;             /* the two of them: slots, as bits */
    member_t *leader;           /* the one that hands over */
    bool blinks;                /* it is cut off until another leads */
    bool over;
};

static void soon(nemesis_t *self)
{
    sim_schedule(self->sim, 1 + sim_below(self->sim, self->sim->options.fault_pause_us),
                 (occurrence_t){.kind = EVENT_FAULT});
}

nemesis_t *nemesis_new(sim_t *sim)
{
    nemesis_t *self = xcalloc(1, sizeof *self);
    self->sim = sim;
    sim_schedule(sim, 3000000, (occurrence_t){.kind = EVENT_FAULT});
    return self;
}

void nemesis_destroy(nemesis_t **self_p)
{
    free(*self_p);
    *self_p = NULL;
}

static member_t *victim(nemesis_t *self)
{
    sim_t *sim = self->sim;
    member_t *leader = NULL;
    for (size_t i = 0; i < SIM_MEMBERS_MAX; i++) {
        member_t *member = &sim->members[i];
        if (member->up && api_status(member->apis[0]).role == ROLE_LEADER) {
            leader = member;
        }
    }
    return leader && sim_chance(sim, 500) ? leader : sim_some_member(sim);
}

static crash_t how_to_crash(sim_t *sim)
{
    static const crash_t kinds[] = {CRASH_PROCESS, CRASH_LOSE, CRASH_TORN_PREFIX,
                                    CRASH_TORN_SECTORS};
    return kinds[sim_below(sim, 4)];
}

static void restart_after(nemesis_t *self, const member_t *member, uint64_t delay_us)
{
    sim_t *sim = self->sim;
    self->restart_at_us[member->slot] = sim->now_us + delay_us;
    sim_schedule(sim, delay_us, (occurrence_t){.kind = EVENT_FAULT, .a = ACT_RESTART});
}

static void crash(nemesis_t *self, member_t *member)
{
    sim_t *sim = self->sim;
    member_crash(member, how_to_crash(sim));
    restart_after(self, member, 1 + sim_below(sim, sim_chance(sim, 500) ? 200000 : 4000000));
}

/* Where a crash would hurt most: between what this message begins and its end. */
static uint32_t danger_of(msg_kind_t kind)
{
    switch (kind) {
    case MSG_SNAP_MARK:
    case MSG_SNAP_RECEIVED:
    case MSG_SNAP_INSTALL: return 150;
    case MSG_LEAD: return 50;
    case MSG_HARDSTATE:
    case MSG_FLUSHED: return 20;
    default: return 0;
    }
}

/* About as long as others wait before they act, or any time. */
static uint64_t how_long_us(sim_t *sim, uint64_t most_us)
{
    return sim_chance(sim, 500) ? ELECTION_US * 8 / 10 + sim_below(sim, ELECTION_US)
                                : 100000 + sim_below(sim, most_us);
}

static void pause_it(sim_t *sim, member_t *member, uint64_t micros)
{
    if (sim->now_us + micros > member->paused_until_us) {
        member->paused_until_us = sim->now_us + micros;
    }
    sim->counts[COUNT_PAUSES]++;
    sim_trace(sim, "m%u PAUSED for %.3f s", member->slot, (double)micros / 1e6);
}

static void harm_network_for(nemesis_t *self, uint64_t micros)
{
    self->network_until_us = self->sim->now_us + micros;
    sim_schedule(self->sim, micros, (occurrence_t){.kind = EVENT_FAULT, .a = ACT_HEAL});
}

static void later(sim_t *sim, uint64_t delay_us, uint64_t what, const member_t *member)
{
    sim_schedule(sim, delay_us,
                 (occurrence_t){.kind = EVENT_FAULT, .a = what, .slot = member->slot});
}

/* A leader that hands over: others lead within milliseconds, while it is about to pause, or cut off. Or it is
 * taken at its word when it has given that up and leads on: just then it is cut off, from all or only from its
 * successor. */
static void disturb_handover(nemesis_t *self, member_t *member, const member_t *to)
{
    sim_t *sim = self->sim;
    uint64_t soon_us = 200 + sim_below(sim, 500);
    uint64_t late_us = ELECTION_US + sim_below(sim, ELECTION_US / 2);
    uint64_t before_us = late_us - sim_below(sim, 1000);
    self->apart = 1u << member->slot | 1u << to->slot;
    self->leader = member;
    self->handover_until_us = sim->now_us + 2 * ELECTION_US;
    self->word_comes_us = 0;
    self->blinks = false;
    switch (sim_below(sim, 9)) {
    case 0:
    case 1: later(sim, soon_us, ACT_ISOLATE, member); break;
    case 2:
    case 3: later(sim, soon_us, ACT_PAUSE, member); break;
    case 4:
    case 5:
        sim->counts[COUNT_LATE_HANDOVERS]++;
        self->word_comes_us = sim->now_us + late_us;
        later(sim, before_us - 3000, ACT_BUSY, member);
        later(sim, before_us, ACT_PART, member);
        break;
    default:
        sim->counts[COUNT_LATE_HANDOVERS]++;
        self->word_comes_us = sim->now_us + late_us;
        later(sim, before_us, ACT_BLINK, member);
        break;
    }
}

/* It says so again and again. */
static void look_at_handover(nemesis_t *self, member_t *member, const member_t *to)
{
    sim_t *sim = self->sim;
    if (!to) {
        return;
    }
    if (sim->now_us >= self->handover_until_us) {
        disturb_handover(self, member, to);
    }
    if (sim->now_us < self->word_comes_us) {
        network_hold(sim->network, member->slot, to->slot, 200, self->word_comes_us - sim->now_us);
    }
}

/* A leader that was cut off hears of its successor before it has noticed anything. It has gone on writing what will
 * be replaced, and hears late of what it has written. */
static void end_blink(nemesis_t *self, member_t *old)
{
    sim_t *sim = self->sim;
    uint64_t micros = 1 + sim_below(sim, 50000);
    self->blinks = false;
    harm_network_for(self, micros);
    old->disk_slow_until_us = sim->now_us + micros + 400000;
    old->slow_from = ACTOR_WAL_WRITER;
    old->slow_to = ACTOR_REPLICATOR;
    old->very_slow_until_us = sim->now_us + 1000000;
    later(sim, 1, ACT_RUSH, old);
    later(sim, micros + sim_below(sim, 50000), ACT_RUSH, old);
}

/* While others vote, there is a lot to do for the leader that they want to replace. */
static void look_at_vote(nemesis_t *self)
{
    sim_t *sim = self->sim;
    if (self->word_comes_us && sim->now_us < self->handover_until_us) {
        later(sim, 200 + sim_below(sim, 2000), ACT_RUSH, self->leader);
    }
}

void nemesis_look(nemesis_t *self, member_t *member, actor_id_t to, const msg_t *msg)
{
    sim_t *sim = self->sim;
    if (self->over) {
        return;
    }
    if (msg->kind == MSG_PEER && to == ACTOR_PEER &&
        msg->u.peer.content->kind == PEER_TIMEOUT_NOW) {
        look_at_handover(self, member, sim_member(sim, msg->u.peer.member));
    }
    if (msg->kind == MSG_PEER && to == ACTOR_PEER && msg->u.peer.content->kind == PEER_REQ_VOTE) {
        look_at_vote(self);
    }
    if (msg->kind == MSG_LEAD && self->blinks && member != self->leader) {
        end_blink(self, self->leader);
    }
    if (msg->kind == MSG_HARDSTATE && sim_chance(sim, 100)) {
        member->disk_slow_until_us = sim->now_us + 10000; /* a vote that takes its time */
    }
    uint32_t danger = danger_of(msg->kind);
    if (danger && sim_chance(sim, danger)) {
        sim_schedule(sim, sim_below(sim, 2 * sim->options.disk_us),
                     (occurrence_t){.kind = EVENT_FAULT, .a = ACT_CRASH, .slot = member->slot});
    }
}

static void crash_one(nemesis_t *self)
{
    member_t *member = victim(self);
    if (member) {
        crash(self, member);
    }
}

/* One failing power supply: all members that are writing lose what is on its way, and come back at once. */
static void crash_writers(nemesis_t *self)
{
    sim_t *sim = self->sim;
    for (size_t i = 0; i < SIM_MEMBERS_MAX; i++) {
        member_t *member = &sim->members[i];
        if (member->up && member->writing) {
            member_crash(member, CRASH_LOSE);
            restart_after(self, member, 1);
        }
    }
}

static void crash_all(nemesis_t *self)
{
    self->sim->counts[COUNT_CRASHES_OF_ALL]++;
    for (size_t i = 0; i < SIM_MEMBERS_MAX; i++) {
        if (self->sim->members[i].up) {
            crash(self, &self->sim->members[i]);
        }
    }
}

/* Members whose process ended by a fault of its own come back, too. */
static void restart(nemesis_t *self, bool all)
{
    sim_t *sim = self->sim;
    for (size_t i = 0; i < SIM_MEMBERS_MAX; i++) {
        member_t *member = &sim->members[i];
        if (!member->exists || member->up || member->removed || member->ended) {
            continue;
        }
        if (self->restart_at_us[i] == 0) {
            self->restart_at_us[i] = sim->now_us + sim_below(sim, 2000000);
        }
        if (all || self->restart_at_us[i] <= sim->now_us) {
            self->restart_at_us[i] = 0;
            fault_io_limit(member->disk, 0);
            fault_io_fail(member->disk, 0, 0);
            member_start(member);
        }
    }
}

void nemesis_start_later(nemesis_t *self, const member_t *member)
{
    uint64_t delay_us = 1 + sim_below(self->sim, 2000000);
    self->restart_at_us[member->slot] = self->sim->now_us + delay_us;
    sim_schedule(self->sim, delay_us, (occurrence_t){.kind = EVENT_FAULT, .a = ACT_RESTART});
}

static void pause_one(nemesis_t *self)
{
    sim_t *sim = self->sim;
    member_t *member = victim(self);
    if (member) {
        pause_it(sim, member, how_long_us(sim, 6000000));
    }
}

/* Two groups that do not hear each other, or one direction only. */
static void cut(nemesis_t *self, uint64_t side, bool one_way, uint64_t micros)
{
    sim_t *sim = self->sim;
    sim->counts[one_way ? COUNT_ONE_WAY_CUTS : COUNT_PARTITIONS]++;
    sim_trace(sim, "%s %03x", one_way ? "ONE-WAY CUT" : "PARTITION", (unsigned)(side & 0x1ff));
    for (uint32_t i = 0; i < SIM_MEMBERS_MAX; i++) {
        for (uint32_t j = 0; j < SIM_MEMBERS_MAX; j++) {
            bool apart = (side >> i & 1) != (side >> j & 1);
            bool cut = one_way ? (side >> i & 1) && apart : apart;
            network_cut(sim->network, i, j, cut);
        }
    }
    harm_network_for(self, micros);
}

/* Two members that do not hear each other; both hear all others. */
static void part(nemesis_t *self)
{
    sim_t *sim = self->sim;
    sim->counts[COUNT_BRIDGES]++;
    sim_trace(sim, "BRIDGE %03x", self->apart);
    for (uint32_t i = 0; i < SIM_MEMBERS_MAX; i++) {
        for (uint32_t j = 0; j < SIM_MEMBERS_MAX; j++) {
            network_cut(sim->network, i, j, i != j && self->apart >> i & self->apart >> j & 1);
        }
    }
    harm_network_for(self, how_long_us(sim, 2000000));
}

static void partition(nemesis_t *self)
{
    bool one_way = sim_chance(self->sim, 400);
    cut(self, prng_next(&self->sim->prng), one_way, how_long_us(self->sim, 6000000));
}

/* Nobody has ended; it only looks like that to the others. */
static void close_connections(nemesis_t *self)
{
    member_t *member = victim(self);
    if (member) {
        network_close(self->sim->network, member->slot);
        sim_trace(self->sim, "m%u CONNECTIONS CLOSED", member->slot);
    }
}

static void swizzle(nemesis_t *self)
{
    sim_t *sim = self->sim;
    network_shape(sim->network, 1000 + sim_below(sim, 200000), (uint32_t)sim_below(sim, 200),
                  (uint32_t)sim_below(sim, 200), (uint32_t)sim_below(sim, 300));
    sim_trace(sim, "BAD NETWORK");
    harm_network_for(self, how_long_us(sim, 4000000));
}

static void harm_disk(nemesis_t *self)
{
    sim_t *sim = self->sim;
    member_t *member = victim(self);
    if (!member) {
        return;
    }
    switch (sim_below(sim, 4)) {
    case 0:
        member->disk_stuck_until_us = sim->now_us + sim_below(sim, 5000000);
        sim->counts[COUNT_DISK_STALLS]++;
        sim_trace(sim, "m%u DISK STUCK", member->slot);
        break;
    case 1:
        member->disk_slow_until_us = sim->now_us + sim_below(sim, 5000000);
        sim->counts[COUNT_DISK_STALLS]++;
        sim_trace(sim, "m%u DISK SLOW", member->slot);
        break;
    case 2:
        fault_io_fail(member->disk, sim_below(sim, 20), EIO);
        sim_trace(sim, "m%u DISK WILL FAIL", member->slot);
        break;
    default:
        fault_io_limit(member->disk, 1);
        sim->counts[COUNT_DISK_FULL]++;
        sim_trace(sim, "m%u DISK FULL", member->slot);
        break;
    }
}

static void drift(nemesis_t *self)
{
    sim_t *sim = self->sim;
    member_t *member = victim(self);
    if (member) { /* rates only: the clock is monotonic, it does not jump */
        uint64_t before_us = member_local_us(member);
        member->clock_ppm = (int32_t)sim_below(sim, 2001) - 1000;
        member->clock_offset_us += (int64_t)(before_us - member_local_us(member));
        sim->counts[COUNT_CLOCK_DRIFTS]++;
    }
}

static void strike(nemesis_t *self)
{
    sim_t *sim = self->sim;
    switch (sim_below(sim, 16)) {
    case 0:
    case 1:
    case 2: crash_one(self); break;
    case 3: sim_chance(sim, 500) ? crash_all(self) : crash_one(self); break;
    case 4:
    case 5: pause_one(self); break;
    case 6:
    case 7:
    case 8: partition(self); break;
    case 9:
    case 10: swizzle(self); break;
    case 11: harm_disk(self); break;
    case 12: drift(self); break;
    case 13:
    case 14: crash_writers(self); break;
    default: /* quiet, or nearly */
        if (sim->options.ends_are_seen) {
            close_connections(self);
        }
    }
}

/* The leader has something to do, and those that it does not hand over to take long to write it. */
static void be_busy(nemesis_t *self, member_t *leader)
{
    sim_t *sim = self->sim;
    for (size_t i = 0; i < SIM_MEMBERS_MAX; i++) {
        if ((self->apart >> i & 1) == 0) {
            sim->members[i].disk_slow_until_us = sim->now_us + 15000;
        }
    }
    clients_rush(sim->clients, leader, true);
}

/* Where something was about to happen. */
static void harm(nemesis_t *self, uint64_t what, member_t *member)
{
    if (!member->up) {
        return;
    }
    switch (what) {
    case ACT_CRASH: crash(self, member); break;
    case ACT_PAUSE: pause_it(self->sim, member, how_long_us(self->sim, 2000000)); break;
    case ACT_ISOLATE: cut(self, 1u << member->slot, false, how_long_us(self->sim, 2000000)); break;
    case ACT_BUSY: be_busy(self, member); break;
    case ACT_BLINK:
        self->blinks = true;
        self->sim->counts[COUNT_BLINKS]++;
        cut(self, 1u << member->slot, false, ELECTION_US * 9 / 10);
        break;
    case ACT_PART: part(self); break;
    case ACT_RUSH: clients_rush(self->sim->clients, member, true); break;
    default: break;
    }
}

void nemesis_act(nemesis_t *self, uint64_t what, uint32_t slot)
{
    sim_t *sim = self->sim;
    restart(self, false);
    if (self->over) {
        return;
    }
    if (self->network_until_us && self->network_until_us <= sim->now_us) {
        self->network_until_us = 0;
        network_heal(sim->network);
        sim_trace(sim, "network healed");
    }
    if (what >= ACT_CRASH) {
        harm(self, what, &sim->members[slot]);
    } else if (what == ACT_ANY) {
        soon(self);
        strike(self);
    }
}
/* A pause ends by itself: what has waited for its end keeps its order. */
void nemesis_heal(nemesis_t *self)
{
    sim_t *sim = self->sim;
    member_t *member = victim(self);
    self->over = true;
    /* One last pause, also of a leader that nobody can replace. */
    if (member && sim_chance(sim, 600)) {
        pause_it(sim, member, ELECTION_US + sim_below(sim, ELECTION_US));
    }
    network_heal(sim->network);
    for (size_t i = 0; i < SIM_MEMBERS_MAX; i++) {
        member = &sim->members[i];
        member->disk_slow_until_us = 0;
        member->disk_stuck_until_us = 0;
        if (member->exists) {
            fault_io_fail(member->disk, 0, 0);
            fault_io_limit(member->disk, 0);
        }
    }
    restart(self, true);
}
