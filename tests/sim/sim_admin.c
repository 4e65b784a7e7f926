/* The operator: adds members, promotes and removes them, moves the leadership, one request at a time.
 * What became of a request that nobody answered shows in the configuration that is committed. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "etcd/rpc.pb-c.h"
#include "membership.pb-c.h"
#include "messages/xalloc.h"
#include "tests/sim/sim.h"

enum { OWNER = 255, GIVE_UP_US = 8000000 };

struct admin {
    sim_t *sim;
    uint64_t call; /* 0 = none */
    uint32_t slot;
    uint64_t began_us, last_serial;
    bool stopped, moves_leader;
};

admin_t *admin_new(sim_t *sim)
{
    admin_t *self = xcalloc(1, sizeof *self);
    self->sim = sim;
    sim_schedule(sim, 4000000, (occurrence_t){.kind = EVENT_ADMIN});
    return self;
}

void admin_destroy(admin_t **self_p)
{
    free(*self_p);
    *self_p = NULL;
}

void admin_stop(admin_t *self)
{
    self->stopped = true;
}

/* ---- what the cluster is ---- */

static Quoral__Configuration *decode(const bytes_t *encoded)
{
    slice_t bytes = bytes_slice(encoded);
    Quoral__Configuration *decoded = quoral__configuration__unpack(NULL, bytes.len, bytes.data);
    assert(decoded);
    return decoded;
}

static Quoral__Configuration *configuration(const sim_t *sim)
{
    return decode(reference_configuration(sim->reference));
}

static const Quoral__ConfigurationMember *some(sim_t *sim, const Quoral__Configuration *now,
                                               bool learner)
{
    const Quoral__ConfigurationMember *found[SIM_MEMBERS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < now->n_members && count < SIM_MEMBERS_MAX; i++) {
        if ((now->members[i]->learner != 0) == learner) {
            found[count++] = now->members[i];
        }
    }
    return count ? found[sim_below(sim, count)] : NULL;
}

static member_t *unused_slot(sim_t *sim)
{
    for (size_t i = sim->options.members; i < SIM_MEMBERS_MAX; i++) {
        if (!sim->members[i].exists && !sim->members[i].removed) {
            return &sim->members[i];
        }
    }
    return NULL;
}

/* ---- requests ---- */

static bytes_t *pack(const ProtobufCMessage *message)
{
    uint8_t *room = NULL;
    bytes_t *bytes = bytes_alloc(protobuf_c_message_get_packed_size(message), &room);
    protobuf_c_message_pack(message, room);
    return bytes;
}

static bytes_t *make_add(sim_t *sim, method_t *method)
{
    member_t *slot = unused_slot(sim);
    if (!slot) {
        return NULL;
    }
    char url[32];
    char *urls[] = {url};
    snprintf(url, sizeof url, "http://m%u:2380", slot->slot);
    Etcdserverpb__MemberAddRequest add = ETCDSERVERPB__MEMBER_ADD_REQUEST__INIT;
    add.n_peerurls = 1;
    add.peerurls = urls;
    add.islearner = sim_chance(sim, 600);
    *method = METHOD_MEMBER_ADD;
    return pack(&add.base);
}

static bytes_t *make_promote(const Quoral__ConfigurationMember *member, method_t *method)
{
    if (!member) {
        return NULL;
    }
    Etcdserverpb__MemberPromoteRequest promote = ETCDSERVERPB__MEMBER_PROMOTE_REQUEST__INIT;
    promote.id = member->id;
    *method = METHOD_MEMBER_PROMOTE;
    return pack(&promote.base);
}

static bytes_t *make_remove(sim_t *sim, const Quoral__Configuration *now, method_t *method)
{
    const Quoral__ConfigurationMember *member = some(sim, now, sim_chance(sim, 200));
    if (!member || now->n_members <= 2) {
        return NULL;
    }
    Etcdserverpb__MemberRemoveRequest remove_it = ETCDSERVERPB__MEMBER_REMOVE_REQUEST__INIT;
    remove_it.id = member->id;
    *method = METHOD_MEMBER_REMOVE;
    return pack(&remove_it.base);
}

static bytes_t *make_transfer(sim_t *sim, const Quoral__Configuration *now, method_t *method)
{
    Etcdserverpb__MoveLeaderRequest move = ETCDSERVERPB__MOVE_LEADER_REQUEST__INIT;
    move.targetid = some(sim, now, false)->id;
    *method = METHOD_MOVE_LEADER;
    return pack(&move.base);
}

static bytes_t *draw(admin_t *self, method_t *method)
{
    sim_t *sim = self->sim;
    Quoral__Configuration *now = configuration(sim);
    bytes_t *request = NULL;
    switch (sim_below(sim, 8)) {
    case 0:
    case 1: request = make_add(sim, method); break;
    case 2:
    case 3: request = make_promote(some(sim, now, true), method); break;
    case 4: request = make_remove(sim, now, method); break;
    default: request = make_transfer(sim, now, method); break;
    }
    quoral__configuration__free_unpacked(now, NULL);
    return request;
}

/* Leadership is moved by the leader alone. */
static member_t *whom_to_ask(sim_t *sim, method_t method)
{
    for (size_t i = 0; method == METHOD_MOVE_LEADER && i < SIM_MEMBERS_MAX; i++) {
        member_t *member = &sim->members[i];
        if (member->up && api_status(member->apis[0]).role == ROLE_LEADER) {
            return member;
        }
    }
    return sim_some_member(sim);
}

static void ask(admin_t *self)
{
    sim_t *sim = self->sim;
    method_t method = METHOD_UNKNOWN;
    bytes_t *request = draw(self, &method);
    member_t *member = request ? whom_to_ask(sim, method) : NULL;
    if (!member) {
        bytes_unref(&request);
        return;
    }
    self->call = (++self->last_serial << 8) | OWNER;
    self->slot = member->slot;
    self->moves_leader = method == METHOD_MOVE_LEADER;
    self->began_us = sim->now_us;
    sim_trace(sim, "admin asks m%u %s", member->slot, method_info(method)->path);
    uint64_t local_us = member_local_us(member);
    uint64_t call = self->call;
    api_call_t info = {.method = method, .deadline_us = DEADLINE_NONE};
    api_call_begin(member_api(member, call), call, &info, local_us);
    api_call_message(member_api(member, call), call, &request, local_us);
    bytes_unref(&request);
    api_call_half_close(member_api(member, call), call, local_us);
    member_poke_gateway(member, call);
}

void admin_act(admin_t *self)
{
    sim_t *sim = self->sim;
    if (self->call && sim->now_us > self->began_us + GIVE_UP_US) {
        member_t *member = &sim->members[self->slot];
        if (member->up) {
            api_call_cancel(member_api(member, self->call), self->call);
            member_poke_gateway(member, self->call);
        }
        self->call = 0;
    }
    if (self->stopped) {
        return;
    }
    sim_schedule(sim, 1 + sim_below(sim, sim->options.admin_pause_us),
                 (occurrence_t){.kind = EVENT_ADMIN});
    if (self->call == 0) {
        ask(self);
    }
}

void admin_on_end(admin_t *self, uint64_t call, grpc_code_t code, const char *why)
{
    if (call == self->call) {
        sim_trace(self->sim, "admin gets %d %s", code, why);
        self->call = 0;
        self->sim->counts[COUNT_TRANSFERS] += code == GRPC_OK && self->moves_leader;
    }
}

void admin_member_gone(admin_t *self, const member_t *member)
{
    if (self->call && member->slot == self->slot) {
        self->call = 0;
    }
}

/* ---- configurations ---- */

/* The operator starts the process that was asked for. It finds out who it is as the product does: by its URL
 * in the newest configuration of whom it asks, committed or not. */
static void join(sim_t *sim, const bytes_t *encoded, const Quoral__ConfigurationMember *added)
{
    unsigned slot = 0;
    if (sscanf(added->peer_urls[0], "http://m%u:", &slot) != 1 || slot >= SIM_MEMBERS_MAX ||
        sim->members[slot].exists) {
        return;
    }
    member_t *member = &sim->members[slot];
    member->id = added->id;
    member_create(member, encoded, true);
    sim_trace(sim, "m%u JOINS as %" PRIx64, slot, added->id);
    nemesis_start_later(sim->nemesis, member);
}

void admin_on_appended(admin_t *self, const bytes_t *encoded)
{
    Quoral__Configuration *now = decode(encoded);
    for (size_t i = 0; i < now->n_members; i++) {
        if (!sim_member(self->sim, now->members[i]->id)) {
            join(self->sim, encoded, now->members[i]);
        }
    }
    quoral__configuration__free_unpacked(now, NULL);
}

void admin_on_configuration(admin_t *self)
{
    sim_t *sim = self->sim;
    const bytes_t *encoded = reference_configuration(sim->reference);
    admin_on_appended(self, encoded);
    Quoral__Configuration *now = decode(encoded);
    for (size_t i = 0; i < now->n_removed_ids; i++) {
        member_t *member = sim_member(sim, now->removed_ids[i]);
        if (member) {
            member->removed = true;
        }
    }
    for (size_t i = 0; i < SIM_MEMBERS_MAX; i++) {
        member_t *member = &sim->members[i];
        member->belongs = false;
        for (size_t j = 0; member->exists && j < now->n_members; j++) {
            member->belongs |= now->members[j]->id == member->id;
        }
    }
    sim->counts[COUNT_MEMBER_CHANGES]++;
    quoral__configuration__free_unpacked(now, NULL);
}
