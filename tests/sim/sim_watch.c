/* Watch streams, each with one watcher over all keys or one. Whatever happens, what a watcher gets is
 * every change of its range, once, in order, revisions whole; over reconnects to other members, too. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "etcd/rpc.pb-c.h"
#include "messages/xalloc.h"
#include "tests/sim/sim.h"

enum { WATCHERS = 6, JUMPERS = 2, OWNER_FIRST = 128, RETRY_US = 1000000 };

typedef struct {
    uint64_t call; /* 0 = none */
    uint32_t slot;
    bool created;
    bool all; /* keys */
    uint8_t key;
    bool from_now; /* start revision 0 */
    int64_t floor; /* what this member had shown when it asked */
    int64_t next;  /* all changes below have been seen */
} watcher_t;

struct watches {
    sim_t *sim;
    watcher_t watchers[WATCHERS];
    uint64_t last_serial;
};

static void soon(watches_t *self, size_t index)
{
    sim_schedule(self->sim, 1 + sim_below(self->sim, RETRY_US),
                 (occurrence_t){.kind = EVENT_WATCHER, .a = index});
}

watches_t *watches_new(sim_t *sim)
{
    watches_t *self = xcalloc(1, sizeof *self);
    self->sim = sim;
    for (size_t i = 0; i < WATCHERS; i++) {
        self->watchers[i].all = i % 2 == 0;
        self->watchers[i].key = (uint8_t)sim_below(sim, SIM_KEYS);
        soon(self, i);
    }
    return self;
}

void watches_destroy(watches_t **self_p)
{
    free(*self_p);
    *self_p = NULL;
}

static bytes_t *make_request(const watcher_t *watcher)
{
    char key[8];
    char end[] = "l";
    snprintf(key, sizeof key, "k%u", watcher->all ? 0 : watcher->key);
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    create.key = (ProtobufCBinaryData){.data = (uint8_t *)key, .len = 2};
    if (watcher->all) {
        create.range_end = (ProtobufCBinaryData){.data = (uint8_t *)end, .len = 1};
    }
    create.start_revision = watcher->from_now ? 0 : watcher->next;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    uint8_t *room = NULL;
    bytes_t *bytes = bytes_alloc(etcdserverpb__watch_request__get_packed_size(&request), &room);
    etcdserverpb__watch_request__pack(&request, room);
    return bytes;
}

static void open_stream(watches_t *self, size_t index, member_t *member, bool from_now)
{
    sim_t *sim = self->sim;
    watcher_t *watcher = &self->watchers[index];
    watcher->call = (++self->last_serial << 8) | (OWNER_FIRST + index);
    watcher->slot = member->slot;
    watcher->created = false;
    watcher->from_now = from_now;
    /* A member that lags may show others' writes again, as in etcd. */
    watcher->floor = member->shown[member_gateway_of(watcher->call)];
    sim_trace(sim, "w%zu opens at m%u from %" PRId64, index, member->slot,
              watcher->from_now ? 0 : watcher->next);
    uint64_t local_us = member_local_us(member);
    uint64_t call = watcher->call;
    api_call_t info = {.method = METHOD_WATCH, .deadline_us = DEADLINE_NONE};
    api_call_begin(member_api(member, call), call, &info, local_us);
    bytes_t *request = make_request(watcher);
    api_call_message(member_api(member, call), call, &request, local_us);
    bytes_unref(&request);
    member_poke_gateway(member, call);
}

static void leave(watches_t *self, watcher_t *watcher)
{
    member_t *member = &self->sim->members[watcher->slot];
    if (watcher->call && member->up) {
        api_call_cancel(member_api(member, watcher->call), watcher->call);
        member_poke_gateway(member, watcher->call);
    }
    watcher->call = 0;
}

void watches_act(watches_t *self, size_t index)
{
    sim_t *sim = self->sim;
    watcher_t *watcher = &self->watchers[index];
    soon(self, index);
    if (watcher->call == 0) {
        member_t *member = sim_some_member(sim);
        if (member) {
            bool from_now = watcher->next == 0 || sim_below(sim, 8) == 0;
            open_stream(self, index, member, from_now);
        }
        return;
    }
    bool must_leave = !sim->members[watcher->slot].belongs;
    if (must_leave || (!sim->healed && sim_below(sim, 4) == 0)) { /* moves on to another member */
        leave(self, watcher);
    }
}

/* Its client watches from now on, at once: the worst moment for a member whose events come later than its
 * answers. */
void watches_jump(watches_t *self, member_t *member)
{
    sim_t *sim = self->sim;
    if (sim->healed || !sim_chance(sim, 100)) {
        return;
    }
    size_t index = WATCHERS - 1 - sim_below(sim, JUMPERS);
    leave(self, &self->watchers[index]);
    open_stream(self, index, member, true);
}

static bool sees(const watcher_t *watcher, const change_t *change)
{
    return watcher->all || watcher->key == change->key;
}

/* The created answer of a watch from now says from where on it will be told. */
static void on_created(watches_t *self, watcher_t *watcher, int64_t revision)
{
    watcher->created = true;
    if (watcher->from_now) {
        if (revision < watcher->floor) {
            sim_fail(self->sim,
                     "a watch from now begins at %" PRId64 ", %" PRId64 " was seen before",
                     revision, watcher->floor);
        }
        watcher->next = revision + 1;
    }
}

static void on_event(watches_t *self, watcher_t *watcher, size_t index, size_t *at,
                     const Mvccpb__Event *event)
{
    sim_t *sim = self->sim;
    size_t count = 0;
    const change_t *changes = reference_changes(sim->reference, &count);
    while (*at < count && !sees(watcher, &changes[*at])) {
        (*at)++;
    }
    int64_t revision = event->kv->mod_revision;
    if (watcher->from_now && revision <= watcher->floor) {
        sim_fail(sim, "w%zu: a watch from now shows revision %" PRId64 ", acknowledged before it",
                 index, revision);
    }
    if (*at == count || changes[*at].revision != revision ||
        changes[*at].is_delete != (event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE) ||
        changes[*at].key != sim_key_number(slice(event->kv->key.data, event->kv->key.len)) ||
        changes[*at].value !=
            sim_value_number(slice(event->kv->value.data, event->kv->value.len))) {
        sim_fail(sim, "w%zu gets revision %" PRId64 ", the next is %" PRId64, index, revision,
                 *at < count ? changes[*at].revision : 0);
    }
    (*at)++;
}

/* All of the range's changes in order, up to a whole revision. */
static void on_events(watches_t *self, watcher_t *watcher, size_t index,
                      const Etcdserverpb__WatchResponse *answer)
{
    sim_t *sim = self->sim;
    size_t at = reference_find(sim->reference, watcher->next);
    for (size_t i = 0; i < answer->n_events; i++) {
        on_event(self, watcher, index, &at, answer->events[i]);
    }
    int64_t last = answer->events[answer->n_events - 1]->kv->mod_revision;
    size_t count = 0;
    const change_t *changes = reference_changes(sim->reference, &count);
    for (; at < count && changes[at].revision == last; at++) {
        if (sees(watcher, &changes[at])) {
            sim_fail(sim, "w%zu gets a part of revision %" PRId64, index, last);
        }
    }
    if (answer->header->revision < last) {
        sim_fail(sim, "w%zu: header %" PRId64 " is below its event %" PRId64, index,
                 answer->header->revision, last);
    }
    watcher->next = last + 1;
}

static void on_canceled(watches_t *self, watcher_t *watcher, size_t index, int64_t compacted)
{
    if (compacted == 0) {
        sim_fail(self->sim, "w%zu is cancelled without a reason", index);
    }
    if (watcher->next >= compacted) {
        sim_fail(self->sim, "w%zu wants %" PRId64 " and is told that %" PRId64 " is compacted",
                 index, watcher->next, compacted);
    }
    member_cancel(&self->sim->members[watcher->slot], watcher->call);
    watcher->call = 0;
    watcher->next = compacted;
}

void watches_on_message(watches_t *self, member_t *member, uint64_t call, slice_t message)
{
    size_t index = (call & 0xff) - OWNER_FIRST;
    if (index >= WATCHERS || self->watchers[index].call != call) {
        return; /* left already */
    }
    watcher_t *watcher = &self->watchers[index];
    Etcdserverpb__WatchResponse *answer =
        etcdserverpb__watch_response__unpack(NULL, message.len, message.data);
    assert(answer && answer->header);
    member_consumed(member, call, message.len);
    if (answer->canceled) {
        on_canceled(self, watcher, index, answer->compact_revision);
    } else if (answer->created) {
        on_created(self, watcher, answer->header->revision);
    } else if (answer->n_events) {
        on_events(self, watcher, index, answer);
    }
    etcdserverpb__watch_response__free_unpacked(answer, NULL);
}

void watches_on_end(watches_t *self, member_t *member, uint64_t call, grpc_code_t code,
                    const char *why)
{
    (void)member;
    size_t index = (call & 0xff) - OWNER_FIRST;
    if (index < WATCHERS && self->watchers[index].call == call) {
        sim_trace(self->sim, "w%zu ends: %d %s", index, code, why);
        self->watchers[index].call = 0;
    }
}

void watches_member_gone(watches_t *self, const member_t *member)
{
    for (size_t i = 0; i < WATCHERS; i++) {
        if (self->watchers[i].call && self->watchers[i].slot == member->slot) {
            self->watchers[i].call = 0;
        }
    }
}

bool watches_caught_up(const watches_t *self)
{
    size_t count = 0;
    const change_t *changes = reference_changes(self->sim->reference, &count);
    for (size_t i = 0; i < WATCHERS; i++) {
        const watcher_t *watcher = &self->watchers[i];
        if (watcher->call == 0 || !watcher->created) {
            return false;
        }
        for (size_t at = reference_find(self->sim->reference, watcher->next); at < count; at++) {
            if (sees(watcher, &changes[at])) {
                return false;
            }
        }
    }
    return true;
}
