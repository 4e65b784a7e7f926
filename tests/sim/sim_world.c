/* Events in order of (time, sequence number), the trace and how a run fails. */
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actors/core/table.h"
#include "membership.pb-c.h"
#include "messages/xalloc.h"
#include "tests/sim/sim.h"

enum { LINES_KEPT = 400, LINE_BYTES = 240, FAILED_EXIT = 3 };
/* A lease's longest TTL of 9 s, and once more for a leader that changes. */
enum { LEASES_END_US = 20000000 };

static char last_lines[LINES_KEPT][LINE_BYTES];
static size_t line_count;
static sim_t *running; /* for assertions, which know nobody */

/* ---- trace ---- */

void sim_trace(sim_t *self, const char *format, ...)
{
    char *line = last_lines[line_count++ % LINES_KEPT];
    int used = snprintf(line, LINE_BYTES, "[%10.3f ms] ", (double)self->now_us / 1000);
    va_list args;
    va_start(args, format);
    vsnprintf(line + used, LINE_BYTES - (size_t)used, format, args);
    va_end(args);
    for (const char *at = line; *at; at++) {
        self->trace_hash = (self->trace_hash ^ (uint8_t)*at) * 0x100000001b3u;
    }
    if (self->trace_on) {
        fprintf(stderr, "%s\n", line);
    }
}

static void print_last_lines(void)
{
    size_t first = line_count > LINES_KEPT ? line_count - LINES_KEPT : 0;
    for (size_t i = first; i < line_count; i++) {
        fprintf(stderr, "%s\n", last_lines[i % LINES_KEPT]);
    }
}

_Noreturn void sim_fail(sim_t *self, const char *format, ...)
{
    char why[sizeof self->finding->why];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    if (self->finding) {
        self->finding->step = self->counts[COUNT_STEPS];
        memcpy(self->finding->why, why, sizeof why);
        _exit(FAILED_EXIT);
    }
    if (!self->trace_on) {
        print_last_lines();
    }
    fprintf(stderr, "FAILED seed=%" PRIu64 " step=%" PRIu64 " time=%.3fs: %s\n", self->seed,
            self->counts[COUNT_STEPS], (double)self->now_us / 1e6, why);
    fprintf(stderr, "again, with the whole trace: sim --seed %" PRIu64 " --trace\n", self->seed);
    exit(FAILED_EXIT);
}

/* The C library's end of assert(): the seed is needed here, too. */
void __assert_fail(const char *assertion, const char *file, unsigned line, const char *function)
{
    const char *name = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
    if (!running) {
        fprintf(stderr, "%s:%u: %s: %s\n", file, line, function, assertion);
        abort();
    }
    sim_fail(running, "assertion in %s:%u, %s: %s", name, line, function, assertion);
}

/* ---- randomness ---- */

uint64_t sim_below(sim_t *self, uint64_t bound)
{
    return prng_below(&self->prng, bound);
}

bool sim_chance(sim_t *self, uint32_t permille)
{
    return sim_below(self, 1000) < permille;
}

/* ---- events ---- */

static bool before(const occurrence_t *a, const occurrence_t *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->seq < b->seq;
}

static void push(sim_t *self, const occurrence_t *event)
{
    self->heap = xgrow(self->heap, &self->heap_capacity, self->heap_count + 1, sizeof *self->heap);
    size_t at = self->heap_count++;
    while (at > 0 && before(event, &self->heap[(at - 1) / 2])) {
        self->heap[at] = self->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    self->heap[at] = *event;
}

static occurrence_t pop(sim_t *self)
{
    occurrence_t first = self->heap[0];
    occurrence_t last = self->heap[--self->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= self->heap_count) {
            break;
        }
        if (child + 1 < self->heap_count && before(&self->heap[child + 1], &self->heap[child])) {
            child++;
        }
        if (!before(&self->heap[child], &last)) {
            break;
        }
        self->heap[at] = self->heap[child];
        at = child;
    }
    self->heap[at] = last;
    return first;
}

void sim_schedule_at(sim_t *self, uint64_t at_us, occurrence_t event)
{
    event.at_us = at_us > self->now_us ? at_us : self->now_us;
    event.seq = ++self->seq;
    push(self, &event);
}

void sim_schedule(sim_t *self, uint64_t delay_us, occurrence_t event)
{
    sim_schedule_at(self, self->now_us + delay_us, event);
}

static void free_event(occurrence_t *event)
{
    if (event->kind == EVENT_DELIVER) {
        msg_t *msg = event->p;
        msg_free(&msg);
    } else if (event->kind == EVENT_FRAME) {
        bytes_t *frame = event->p;
        bytes_unref(&frame);
    }
    event->p = NULL;
}

static bool for_member(const occurrence_t *event)
{
    return event->kind != EVENT_CLIENT && event->kind != EVENT_WATCHER &&
           event->kind != EVENT_ADMIN && event->kind != EVENT_FAULT;
}

static void dispatch(sim_t *self, occurrence_t *event)
{
    if (event->kind == EVENT_CLIENT) {
        clients_act(self->clients, event->a);
        return;
    }
    if (event->kind == EVENT_WATCHER) {
        watches_act(self->watches, event->a);
        return;
    }
    if (event->kind == EVENT_ADMIN) {
        admin_act(self->admin);
        return;
    }
    if (event->kind == EVENT_FAULT) {
        nemesis_act(self->nemesis, event->a, event->slot);
        return;
    }
    member_t *member = &self->members[event->slot];
    if (!member->up || (event->life && event->life != member->life)) {
        return; /* the process it was meant for is gone */
    }
    member_handle(member, event);
}

bool sim_step(sim_t *self)
{
    if (self->heap_count == 0) {
        return false;
    }
    occurrence_t event = pop(self);
    assert(event.at_us >= self->now_us);
    self->now_us = event.at_us;
    if (for_member(&event)) {
        const member_t *member = &self->members[event.slot];
        if (member->up && member->paused_until_us > self->now_us) {
            event.at_us =
                member->paused_until_us; /* with its old sequence number: the order stays */
            push(self, &event);
            return true;
        }
    }
    self->counts[COUNT_STEPS]++;
    dispatch(self, &event);
    free_event(&event);
    return true;
}

/* ---- a run ---- */

static sim_options_t draw_options(sim_t *self)
{
    static const size_t sizes[] = {1, 3, 3, 3, 3, 3, 5, 5};
    static const uint64_t segments[] = {4096, 8192, 65536};
    static const uint64_t disks[] = {500, 5000, 50000};
    static const uint64_t pauses[] = {200000, 600000, 1500000, 6000000};
    uint64_t fault_pause_us = pauses[sim_below(self, 4)];
    bool is_calm = fault_pause_us == pauses[3];
    return (sim_options_t){
        .members = sizes[sim_below(self, 8)],
        .pre_vote = sim_below(self, 4) != 0,
        .ends_are_seen = self->seed % 2 != 0,
        .catchup_entries = sim_below(self, 2) ? 5 + sim_below(self, 20) : 1000,
        .flush_entries = 1 + sim_below(self, 40),
        .segment_bytes = segments[sim_below(self, 3)],
        .compaction_rows = 1 + sim_below(self, 10),
        .slow_hop_permille = sim_below(self, 3) ? 5 : 50,
        .loss_permille = sim_below(self, 2) ? 0 : (uint32_t)sim_below(self, 60),
        .duplicate_permille = sim_below(self, 2) ? 0 : (uint32_t)sim_below(self, 60),
        .reorder_permille = sim_below(self, 2) ? 0 : (uint32_t)sim_below(self, 100),
        .clients = 2 + sim_below(self, 5),
        .slow_hop_us = sim_below(self, 3) ? 5000 : 50000,
        .disk_us = disks[sim_below(self, 3)],
        .fault_pause_us = fault_pause_us,
        .admin_pause_us = !is_calm && sim_below(self, 2) ? 2500000 : 600000,
        .think_us = sim_below(self, 2) ? 40000 : 10000,
    };
}

static bytes_t *first_configuration(const sim_t *self)
{
    Quoral__Configuration configuration = QUORAL__CONFIGURATION__INIT;
    Quoral__ConfigurationMember members[SIM_MEMBERS_MAX];
    Quoral__ConfigurationMember *pointers[SIM_MEMBERS_MAX];
    char urls[SIM_MEMBERS_MAX][48];
    char *url_pointers[SIM_MEMBERS_MAX];
    for (size_t i = 0; i < self->options.members; i++) {
        quoral__configuration_member__init(&members[i]);
        members[i].id = self->members[i].id;
        snprintf(urls[i], sizeof urls[i], "http://m%zu:2380", i);
        url_pointers[i] = urls[i];
        members[i].n_peer_urls = 1;
        members[i].peer_urls = &url_pointers[i];
        pointers[i] = &members[i];
    }
    configuration.n_members = self->options.members;
    configuration.members = pointers;
    uint8_t *room = NULL;
    bytes_t *encoded = bytes_alloc(quoral__configuration__get_packed_size(&configuration), &room);
    quoral__configuration__pack(&configuration, room);
    return encoded;
}

sim_t *sim_new(uint64_t seed, const sim_wishes_t *wishes)
{
    sim_t *self = xcalloc(1, sizeof *self);
    line_count = 0;
    running = self;
    self->seed = seed;
    self->prng.state = hash_u64(seed);
    self->trace_on = wishes->trace;
    self->finding = wishes->finding;
    self->trace_hash = 0xcbf29ce484222325u;
    self->cluster_id = 0xc0ffee0000000000u + seed;
    self->options = draw_options(self);
    if (wishes->members) {
        self->options.members = wishes->members;
    }
    if (wishes->without_snapshots) {
        self->options.catchup_entries = 1000000;
        self->options.flush_entries = 1000000;
    }
    for (uint32_t i = 0; i < SIM_MEMBERS_MAX; i++) {
        self->members[i].sim = self;
        self->members[i].slot = i;
        self->members[i].id = 0xa0 + i;
    }
    bytes_t *configuration = first_configuration(self);
    self->network = network_new(self);
    self->reference = reference_new(self, configuration);
    self->consensus = consensus_new(self);
    self->clients = clients_new(self);
    self->watches = watches_new(self);
    self->admin = admin_new(self);
    self->nemesis = nemesis_new(self);
    self->member_count = self->options.members;
    for (size_t i = 0; i < self->member_count; i++) {
        member_create(&self->members[i], configuration, false);
        self->members[i].belongs = true;
    }
    for (size_t i = 0; i < self->member_count; i++) {
        member_start(&self->members[i]);
    }
    bytes_unref(&configuration);
    return self;
}

void sim_destroy(sim_t **self_p)
{
    sim_t *self = *self_p;
    *self_p = NULL;
    for (size_t i = 0; i < SIM_MEMBERS_MAX; i++) {
        member_destroy(&self->members[i]);
    }
    for (size_t i = 0; i < self->heap_count; i++) {
        free_event(&self->heap[i]);
    }
    clients_destroy(&self->clients);
    watches_destroy(&self->watches);
    admin_destroy(&self->admin);
    nemesis_destroy(&self->nemesis);
    network_destroy(&self->network);
    reference_destroy(&self->reference);
    consensus_destroy(&self->consensus);
    free(self->heap);
    free(self);
    running = NULL;
}

member_t *sim_member(sim_t *self, uint64_t id)
{
    for (size_t i = 0; i < SIM_MEMBERS_MAX; i++) {
        if (self->members[i].id == id && self->members[i].exists) {
            return &self->members[i];
        }
    }
    return NULL;
}

member_t *sim_some_member(sim_t *self)
{
    member_t *up[SIM_MEMBERS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < SIM_MEMBERS_MAX; i++) {
        if (self->members[i].up && self->members[i].belongs) {
            up[count++] = &self->members[i];
        }
    }
    return count ? up[sim_below(self, count)] : NULL;
}

member_t *sim_old_leader(sim_t *self)
{
    member_t *newest = NULL;
    member_t *old = NULL;
    for (size_t i = 0; i < SIM_MEMBERS_MAX; i++) {
        member_t *member = &self->members[i];
        if (!member->up || member->leads == 0) {
            continue;
        }
        bool is_newer = !newest || member->leads > newest->leads;
        member_t *older = is_newer ? newest : member;
        newest = is_newer ? member : newest;
        if (older && api_status(older->apis[0]).role == ROLE_LEADER) {
            old = older;
        }
    }
    return old;
}

void sim_run(sim_t *self, uint64_t steps_min, uint64_t micros_min)
{
    uint64_t steps_until = self->counts[COUNT_STEPS] + steps_min;
    uint64_t until_us = self->now_us + micros_min;
    while ((self->counts[COUNT_STEPS] < steps_until || self->now_us < until_us) && sim_step(self)) {
    }
}

/* ---- the end ---- */

typedef bool (*goal_t)(const sim_t *self);

/* Runs until the goal is reached; a rule is broken if it takes longer than virtual time allows. */
static void demand(sim_t *self, goal_t goal, uint64_t micros, const char *what)
{
    uint64_t until_us = self->now_us + micros;
    while (!goal(self)) {
        if (self->now_us >= until_us || !sim_step(self)) {
            sim_fail(self, "no progress after all faults are healed: %s", what);
        }
    }
}

static bool probed(const sim_t *self)
{
    return clients_probed(self->clients);
}

static bool caught_up(const sim_t *self)
{
    return clients_idle(self->clients) && clients_caught_up(self->clients);
}

static bool leases_ended(const sim_t *self)
{
    return reference_leases_ended(self->reference);
}

static bool same_index(const sim_t *self)
{
    for (size_t i = 0; i < SIM_MEMBERS_MAX; i++) {
        const member_t *member = &self->members[i];
        if (member->up && member->belongs &&
            api_status(member->apis[0]).applied_index != reference_index(self->reference)) {
            return false;
        }
    }
    return true;
}

void sim_finish(sim_t *self)
{
    clients_stop(self->clients);
    admin_stop(self->admin);
    nemesis_heal(self->nemesis);
    self->healed = true;
    sim_trace(self, "all faults are healed");
    clients_probe(self->clients);
    demand(self, probed, 60 * 1000000ull, "a put is not answered");
    demand(self, caught_up, 60 * 1000000ull, "requests or watchers are left behind");
    demand(self, leases_ended, LEASES_END_US, "leases do not end");
    demand(self, same_index, 60 * 1000000ull, "members do not catch up");
    for (size_t i = 0; i < SIM_MEMBERS_MAX; i++) {
        member_t *member = &self->members[i];
        if (member->up && member->belongs) {
            reference_check_store(self->reference, member);
        }
        if (member->ended && !member->removed) {
            sim_fail(self, "m%zu has left, though it was never removed", i);
        }
    }
}
