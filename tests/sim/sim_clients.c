/* Random requests through the product's request core, one at a time per client, at any member; every
 * answer is checked against the reference.
 *
 * Linearizability needs no search here, since revisions order everything: a write's revision is above,
 * and a linearizable read's revision at or above, whatever any completed request had shown when it
 * began (`floor`); and what is read at a revision is what the reference holds at it. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "etcd/rpc.pb-c.h"
#include "messages/xalloc.h"
#include "tests/sim/sim.h"

enum { CLIENTS_MAX = 8, LEASES_MAX = 16, GIVE_UP_US = 9000000 };

typedef enum {
    OP_PUT,
    OP_GET,
    OP_GET_SERIALIZABLE,
    OP_GET_PAST,
    OP_RANGE,
    OP_DELETE,
    OP_TXN,
    OP_COMPACT,
    OP_GRANT,
    OP_PUT_LEASED,
    OP_KEEPALIVE,
    OP_REVOKE,
    OP_KINDS
} op_kind_t;

typedef struct {
    bool open;
    op_kind_t kind;
    uint64_t call;
    uint32_t slot, life;
    uint64_t began_us, give_up_us;
    int64_t floor; /* highest revision any completed request had shown when this one began */
    uint8_t key;
    uint64_t value;
    int64_t revision; /* GET_PAST, COMPACT; TXN: compared mod_revision */
    int64_t lease;
    bool probe;
    bool insists; /* waits as long as it takes */
    bool answered;
} op_t;

struct clients {
    sim_t *sim;
    op_t ops[CLIENTS_MAX];
    size_t count;
    uint64_t turns[CLIENTS_MAX]; /* serial number of the wake-up call that counts */
    uint64_t last_serial, last_turn, last_value;
    int64_t shown; /* highest revision that any completed linearizable request has shown */
    int64_t leases[LEASES_MAX];
    size_t lease_count;
    bool stopped, probe_wanted, probed;
    uint64_t done;
};

/* A turn has a number as calls have, with the client in the lowest byte, but none that is a call's. */
static void take_turn(clients_t *self, size_t client, uint64_t delay_us)
{
    self->turns[client] = 1ull << 63 | ++self->last_turn << 8 | client;
    sim_schedule(self->sim, delay_us,
                 (occurrence_t){.kind = EVENT_CLIENT, .a = self->turns[client]});
}

clients_t *clients_new(sim_t *sim)
{
    clients_t *self = xcalloc(1, sizeof *self);
    self->sim = sim;
    self->count = sim->options.clients;
    assert(self->count <= CLIENTS_MAX);
    for (size_t i = 0; i < self->count; i++) {
        take_turn(self, i, sim_below(sim, 2000000));
    }
    self->shown = 1;
    return self;
}

void clients_destroy(clients_t **self_p)
{
    free(*self_p);
    *self_p = NULL;
}

static void again(clients_t *self, size_t client)
{
    take_turn(self, client, 1 + sim_below(self->sim, self->sim->options.think_us));
}

/* ---- requests ---- */

typedef struct {
    char key[8], value[24];
} texts_t;

static ProtobufCBinaryData text(char *from)
{
    return (ProtobufCBinaryData){.data = (uint8_t *)from, .len = strlen(from)};
}

static void spell(texts_t *texts, const op_t *op)
{
    snprintf(texts->key, sizeof texts->key, "k%u", op->key);
    snprintf(texts->value, sizeof texts->value, "v%" PRIu64, op->value);
}

static bytes_t *pack(const ProtobufCMessage *message)
{
    uint8_t *room = NULL;
    bytes_t *bytes = bytes_alloc(protobuf_c_message_get_packed_size(message), &room);
    protobuf_c_message_pack(message, room);
    return bytes;
}

static bytes_t *make_put(const op_t *op)
{
    texts_t texts;
    spell(&texts, op);
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = text(texts.key);
    put.value = text(texts.value);
    put.lease = op->lease;
    put.prev_kv = true;
    return pack(&put.base);
}

static bytes_t *make_range(const op_t *op)
{
    texts_t texts;
    spell(&texts, op);
    char last[] = "l";
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    range.key = text(texts.key);
    range.revision = op->kind == OP_GET_PAST ? op->revision : 0;
    range.serializable = op->kind == OP_GET_SERIALIZABLE;
    if (op->kind == OP_RANGE) {
        range.range_end = text(last);
    }
    return pack(&range.base);
}

/* If the key is at the revision that was seen, write it, else delete it. */
static bytes_t *make_txn(const op_t *op)
{
    texts_t texts;
    spell(&texts, op);
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT;
    Etcdserverpb__Compare *compares[] = {&compare};
    compare.key = text(texts.key);
    compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
    compare.result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL;
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
    compare.mod_revision = op->revision;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = text(texts.key);
    put.value = text(texts.value);
    Etcdserverpb__DeleteRangeRequest delete_it = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    delete_it.key = text(texts.key);
    Etcdserverpb__RequestOp then = ETCDSERVERPB__REQUEST_OP__INIT;
    Etcdserverpb__RequestOp *thens[] = {&then};
    then.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    then.request_put = &put;
    Etcdserverpb__RequestOp otherwise = ETCDSERVERPB__REQUEST_OP__INIT;
    Etcdserverpb__RequestOp *otherwises[] = {&otherwise};
    otherwise.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    otherwise.request_delete_range = &delete_it;
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    txn.n_compare = txn.n_success = txn.n_failure = 1;
    txn.compare = compares;
    txn.success = thens;
    txn.failure = otherwises;
    return pack(&txn.base);
}

static bytes_t *make_delete(const op_t *op)
{
    texts_t texts;
    spell(&texts, op);
    Etcdserverpb__DeleteRangeRequest request = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    request.key = text(texts.key);
    return pack(&request.base);
}

static bytes_t *make_lease_request(const op_t *op)
{
    if (op->kind == OP_GRANT) {
        Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
        grant.id = op->lease;
        grant.ttl = 2 + op->key;
        return pack(&grant.base);
    }
    if (op->kind == OP_REVOKE) {
        Etcdserverpb__LeaseRevokeRequest revoke = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
        revoke.id = op->lease;
        return pack(&revoke.base);
    }
    Etcdserverpb__LeaseKeepAliveRequest keep = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    keep.id = op->lease;
    return pack(&keep.base);
}

static bytes_t *make_compaction(const op_t *op)
{
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    request.revision = op->revision;
    return pack(&request.base);
}

static bytes_t *make_request(const op_t *op, method_t *method)
{
    switch (op->kind) {
    case OP_PUT:
    case OP_PUT_LEASED: *method = METHOD_PUT; return make_put(op);
    case OP_GET:
    case OP_GET_SERIALIZABLE:
    case OP_GET_PAST:
    case OP_RANGE: *method = METHOD_RANGE; return make_range(op);
    case OP_DELETE: *method = METHOD_DELETE_RANGE; return make_delete(op);
    case OP_TXN: *method = METHOD_TXN; return make_txn(op);
    case OP_COMPACT: *method = METHOD_COMPACT; return make_compaction(op);
    case OP_GRANT: *method = METHOD_LEASE_GRANT; return make_lease_request(op);
    case OP_REVOKE: *method = METHOD_LEASE_REVOKE; return make_lease_request(op);
    default: *method = METHOD_LEASE_KEEP_ALIVE; return make_lease_request(op);
    }
}

static op_kind_t draw_kind(sim_t *sim)
{
    static const struct {
        op_kind_t kind;
        unsigned weight;
    } table[] = {{OP_PUT, 30},       {OP_GET, 20},      {OP_GET_SERIALIZABLE, 8},
                 {OP_GET_PAST, 5},   {OP_RANGE, 10},    {OP_DELETE, 5},
                 {OP_TXN, 10},       {OP_COMPACT, 2},   {OP_GRANT, 3},
                 {OP_PUT_LEASED, 4}, {OP_KEEPALIVE, 3}, {OP_REVOKE, 1}};
    uint64_t pick = sim_below(sim, 101);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (pick < table[i].weight) {
            return table[i].kind;
        }
        pick -= table[i].weight;
    }
    return OP_PUT;
}

static int64_t some_lease(clients_t *self)
{
    return self->lease_count ? self->leases[sim_below(self->sim, self->lease_count)] : 0;
}

static void draw_op(clients_t *self, op_t *op)
{
    sim_t *sim = self->sim;
    op->kind = draw_kind(sim);
    op->key = (uint8_t)sim_below(sim, SIM_KEYS);
    op->value = ++self->last_value;
    int64_t revision = reference_revision(sim->reference);
    if (op->kind == OP_GET_PAST) {
        op->revision = 1 + (int64_t)sim_below(sim, (uint64_t)revision + 1);
    } else if (op->kind == OP_COMPACT) {
        op->revision = revision - (int64_t)sim_below(sim, 20);
        op->revision = op->revision > 0 ? op->revision : 1;
    } else if (op->kind == OP_TXN) {
        const change_t *change = reference_at(sim->reference, op->key, revision);
        op->revision = change ? change->revision : 0;
    } else if (op->kind == OP_GRANT) {
        op->lease = (int64_t)self->last_value + 1000000;
    } else if (op->kind == OP_PUT_LEASED || op->kind == OP_KEEPALIVE || op->kind == OP_REVOKE) {
        op->lease = some_lease(self);
        if (op->lease == 0) {
            op->kind = OP_PUT;
        }
    }
}

/* Some wait for an answer as long as there may be one. Others do not: else all would soon be waiting for a
 * member that is paused or cut off, and nobody could compare it with those that go on. */
static uint64_t patience_us(sim_t *sim)
{
    return sim_chance(sim, 300) ? GIVE_UP_US : 100000 + sim_below(sim, ELECTION_US);
}

static void begin(clients_t *self, size_t client, member_t *member)
{
    sim_t *sim = self->sim;
    op_t *op = &self->ops[client];
    self->turns[client] = 0;
    op->open = true;
    op->call = (++self->last_serial << 8) | client;
    op->slot = member->slot;
    op->life = member->life;
    op->began_us = sim->now_us;
    op->give_up_us = sim->now_us + (op->insists ? GIVE_UP_US : patience_us(sim));
    op->floor = self->shown;
    if (op->kind == OP_REVOKE) {
        ref_lease_t *lease = reference_lease(sim->reference, op->lease);
        lease->revoke_asked = true;
    }
    sim->counts[COUNT_REQUESTS]++;
    sim_trace(sim, "c%zu asks m%u kind=%d k%u v%" PRIu64 " floor=%" PRId64, client, op->slot,
              op->kind, op->key, op->value, op->floor);
    method_t method = METHOD_UNKNOWN;
    bytes_t *request = make_request(op, &method);
    uint64_t local_us = member_local_us(member);
    uint64_t call = op->call;
    api_call_t info = {.method = method, .deadline_us = DEADLINE_NONE};
    api_call_begin(member_api(member, call), call, &info, local_us);
    api_call_message(member_api(member, call), call, &request, local_us);
    if (op->kind != OP_KEEPALIVE) {
        api_call_half_close(member_api(member, call), call, local_us);
    }
    member_poke_gateway(member, call);
}

static void close_op(clients_t *self, op_t *op)
{
    size_t client = (size_t)(op - self->ops);
    *op = (op_t){0};
    again(self, client);
}

/* Its member does not answer any more, or nobody wants to wait longer. */
static void give_up(clients_t *self, op_t *op)
{
    sim_t *sim = self->sim;
    member_t *member = &sim->members[op->slot];
    if (member->up && member->life == op->life) {
        api_call_cancel(member_api(member, op->call), op->call);
        member_poke_gateway(member, op->call);
    }
    sim->counts[COUNT_UNKNOWN]++;
    if (op->probe) {
        self->probe_wanted = true;
    }
    close_op(self, op);
}

static void watch_over(clients_t *self, const op_t *op)
{
    if (op->open) {
        sim_schedule_at(self->sim, op->give_up_us,
                        (occurrence_t){.kind = EVENT_CLIENT, .a = op->call});
    }
}

/* Whoever reads may ask just the wrong one, and wait for its answer. */
static member_t *whom_to_ask(sim_t *sim, op_t *op, member_t *drawn)
{
    bool reads = op->kind == OP_GET || op->kind == OP_RANGE;
    member_t *old = reads ? sim_old_leader(sim) : NULL;
    op->insists = old && sim_chance(sim, 500);
    return op->insists ? old : drawn;
}

static void next_request(clients_t *self, size_t client)
{
    sim_t *sim = self->sim;
    op_t *op = &self->ops[client];
    member_t *member = sim_some_member(sim);
    if (!member) {
        again(self, client);
        return;
    }
    if (self->probe_wanted) {
        self->probe_wanted = false;
        *op = (op_t){.kind = OP_PUT, .value = ++self->last_value, .probe = true};
    } else {
        draw_op(self, op);
    }
    begin(self, client, whom_to_ask(sim, op, member));
    watch_over(self, op);
}

/* what: a client's turn, or the call that was watched over. */
void clients_act(clients_t *self, uint64_t what)
{
    size_t client = what & 0xff;
    op_t *op = &self->ops[client];
    if (op->open && op->call == what) {
        give_up(self, op);
    } else if (!op->open && self->turns[client] == what && (!self->stopped || self->probe_wanted)) {
        next_request(self, client);
    }
}

void clients_rush(clients_t *self, member_t *member, bool to_write)
{
    sim_t *sim = self->sim;
    for (size_t i = 0; i < self->count && !self->stopped; i++) {
        op_t *op = &self->ops[i];
        if (!op->open && sim_chance(sim, to_write ? 700 : 300)) {
            *op = (op_t){.kind = to_write ? OP_PUT : OP_GET_SERIALIZABLE,
                         .key = (uint8_t)sim_below(sim, SIM_KEYS),
                         .value = ++self->last_value};
            begin(self, i, member);
            watch_over(self, op);
        }
    }
}

/* ---- answers ---- */

static void show(clients_t *self, const op_t *op, int64_t revision)
{
    member_t *member = &self->sim->members[op->slot];
    if (revision > self->shown) {
        self->shown = revision;
    }
    int64_t *shown = &member->shown[member_gateway_of(op->call)];
    if (revision > *shown) {
        *shown = revision;
    }
}

static void check_write(clients_t *self, const op_t *op, int64_t revision)
{
    if (revision <= op->floor) {
        sim_fail(self->sim,
                 "c%zu: a write has revision %" PRId64 ", but %" PRId64 " was seen before it began",
                 (size_t)(op - self->ops), revision, op->floor);
    }
    show(self, op, revision);
}

static bool is_same(const Mvccpb__KeyValue *kv, const change_t *change)
{
    return sim_key_number(slice(kv->key.data, kv->key.len)) == change->key &&
           sim_value_number(slice(kv->value.data, kv->value.len)) == change->value &&
           kv->mod_revision == change->revision && kv->version == change->version &&
           kv->create_revision == change->create_revision && kv->lease == change->lease;
}

static void check_put(clients_t *self, const op_t *op, slice_t message)
{
    Etcdserverpb__PutResponse *put =
        etcdserverpb__put_response__unpack(NULL, message.len, message.data);
    assert(put && put->header);
    int64_t revision = put->header->revision;
    check_write(self, op, revision);
    const change_t *now = reference_at(self->sim->reference, op->key, revision);
    const change_t *before = reference_at(self->sim->reference, op->key, revision - 1);
    if (!now || now->revision != revision || now->value != op->value) {
        sim_fail(self->sim, "a put of v%" PRIu64 " is acknowledged at %" PRId64 " but not there",
                 op->value, revision);
    }
    bool has_prev = put->prev_kv != NULL;
    if (has_prev != (before != NULL) || (before && !is_same(put->prev_kv, before))) {
        sim_fail(self->sim, "a put at %" PRId64 " gives the wrong prev_kv", revision);
    }
    etcdserverpb__put_response__free_unpacked(put, NULL);
}

static void check_kvs(clients_t *self, const op_t *op, const Etcdserverpb__RangeResponse *range,
                      int64_t at)
{
    size_t found = 0;
    uint8_t first = op->key;
    uint8_t last = op->kind == OP_RANGE ? SIM_KEYS - 1 : op->key;
    for (uint8_t key = first; key <= last; key++) {
        const change_t *change = reference_at(self->sim->reference, key, at);
        if (!change) {
            continue;
        }
        const Mvccpb__KeyValue *kv = found < range->n_kvs ? range->kvs[found] : NULL;
        if (!kv || !is_same(kv, change)) {
            sim_fail(self->sim, "a read at %" PRId64 " gives something else for k%u", at, key);
        }
        found++;
    }
    if (found != range->n_kvs || (int64_t)found != range->count) {
        sim_fail(self->sim, "a read at %" PRId64 " gives %zu keys of %zu", at, range->n_kvs, found);
    }
}

static void check_range(clients_t *self, const op_t *op, slice_t message)
{
    sim_t *sim = self->sim;
    Etcdserverpb__RangeResponse *range =
        etcdserverpb__range_response__unpack(NULL, message.len, message.data);
    assert(range && range->header);
    int64_t revision = range->header->revision;
    member_t *member = &sim->members[op->slot];
    if (op->kind == OP_GET_SERIALIZABLE) {
        int64_t *seen = &member->serializable_revision[member_gateway_of(op->call)];
        if (revision < *seen) {
            sim_fail(sim, "m%u: serializable reads go back from %" PRId64 " to %" PRId64, op->slot,
                     *seen, revision);
        }
        *seen = revision;
    } else {
        if (revision < op->floor) {
            sim_fail(sim, "a read is at revision %" PRId64 ", but %" PRId64 " was seen before",
                     revision, op->floor);
        }
        show(self, op, revision);
    }
    check_kvs(self, op, range, op->kind == OP_GET_PAST ? op->revision : revision);
    sim->counts[COUNT_READS]++;
    etcdserverpb__range_response__free_unpacked(range, NULL);
}

static void check_delete(clients_t *self, const op_t *op, slice_t message)
{
    Etcdserverpb__DeleteRangeResponse *answer =
        etcdserverpb__delete_range_response__unpack(NULL, message.len, message.data);
    assert(answer && answer->header);
    int64_t revision = answer->header->revision;
    if (answer->deleted) {
        check_write(self, op, revision);
        if (answer->deleted != 1 || !reference_at(self->sim->reference, op->key, revision - 1) ||
            reference_at(self->sim->reference, op->key, revision)) {
            sim_fail(self->sim, "a delete at %" PRId64 " did something else", revision);
        }
    } else if (revision < op->floor || reference_at(self->sim->reference, op->key, revision)) {
        sim_fail(self->sim, "a delete at %" PRId64 " found nothing", revision);
    }
    show(self, op, revision);
    etcdserverpb__delete_range_response__free_unpacked(answer, NULL);
}

static void check_txn(clients_t *self, const op_t *op, slice_t message)
{
    sim_t *sim = self->sim;
    Etcdserverpb__TxnResponse *txn =
        etcdserverpb__txn_response__unpack(NULL, message.len, message.data);
    assert(txn && txn->header);
    int64_t revision = txn->header->revision;
    const change_t *after = reference_at(sim->reference, op->key, revision);
    bool wrote = txn->succeeded;
    const change_t *before = reference_at(sim->reference, op->key, wrote ? revision - 1 : revision);
    if (txn->succeeded) {
        check_write(self, op, revision);
        int64_t seen = before ? before->revision : 0;
        if (seen != op->revision || !after || after->value != op->value) {
            sim_fail(sim,
                     "a transaction at %" PRId64 " compared k%u with %" PRId64 ", not %" PRId64,
                     revision, op->key, seen, op->revision);
        }
    } else if (after) {
        sim_fail(sim, "a transaction at %" PRId64 " did not delete k%u", revision, op->key);
    }
    if (revision < op->floor) {
        sim_fail(sim, "a transaction is at %" PRId64 ", %" PRId64 " was seen", revision, op->floor);
    }
    show(self, op, revision);
    etcdserverpb__txn_response__free_unpacked(txn, NULL);
}

static void check_grant(clients_t *self, const op_t *op, slice_t message)
{
    Etcdserverpb__LeaseGrantResponse *grant =
        etcdserverpb__lease_grant_response__unpack(NULL, message.len, message.data);
    assert(grant);
    if (!reference_lease(self->sim->reference, grant->id)) {
        sim_fail(self->sim, "a lease is acknowledged that nobody has granted");
    }
    self->leases[self->lease_count < LEASES_MAX ? self->lease_count++
                                                : sim_below(self->sim, LEASES_MAX)] = op->lease;
    etcdserverpb__lease_grant_response__free_unpacked(grant, NULL);
}

static void check_keepalive(clients_t *self, const op_t *op, slice_t message)
{
    Etcdserverpb__LeaseKeepAliveResponse *keep =
        etcdserverpb__lease_keep_alive_response__unpack(NULL, message.len, message.data);
    assert(keep);
    ref_lease_t *lease = reference_lease(self->sim->reference, op->lease);
    if (keep->ttl > 0) {
        if (lease->ended_us && lease->ended_us < op->began_us) {
            sim_fail(self->sim, "a keepalive of lease %" PRId64 " succeeds after its end",
                     op->lease);
        }
        if (op->began_us > lease->alive_from_us) {
            lease->alive_from_us = op->began_us;
        }
    }
    etcdserverpb__lease_keep_alive_response__free_unpacked(keep, NULL);
}

static op_t *op_of(clients_t *self, uint64_t call)
{
    size_t client = call & 0xff;
    if (client >= CLIENTS_MAX || !self->ops[client].open || self->ops[client].call != call) {
        return NULL;
    }
    return &self->ops[client];
}

void clients_on_message(clients_t *self, member_t *member, uint64_t call, slice_t message)
{
    op_t *op = op_of(self, call);
    if (!op) {
        watches_on_message(self->sim->watches, member, call, message);
        return;
    }
    op->answered = true;
    switch (op->kind) {
    case OP_PUT:
    case OP_PUT_LEASED: check_put(self, op, message); break;
    case OP_GET:
    case OP_GET_SERIALIZABLE:
    case OP_GET_PAST:
    case OP_RANGE: check_range(self, op, message); break;
    case OP_DELETE: check_delete(self, op, message); break;
    case OP_TXN: check_txn(self, op, message); break;
    case OP_GRANT: check_grant(self, op, message); break;
    case OP_KEEPALIVE:
        check_keepalive(self, op, message);
        self->done++;
        member_cancel(member, call);
        close_op(self, op);
        break;
    default: break;
    }
}

/* Errors that mean what they say. */
static void check_refusal(clients_t *self, const op_t *op, grpc_code_t code, const char *why)
{
    sim_t *sim = self->sim;
    bool known = code == GRPC_UNAVAILABLE || code == GRPC_OUT_OF_RANGE || code == GRPC_NOT_FOUND ||
                 code == GRPC_UNKNOWN || code == GRPC_FAILED_PRECONDITION || code == GRPC_CANCELLED;
    if (!known) {
        sim_fail(sim, "kind %d ends with code %d: %s", op->kind, code, why);
    }
    if (op->kind == OP_COMPACT && code == GRPC_OK) {
        sim->counts[COUNT_COMPACTIONS]++;
    }
}

void clients_on_end(clients_t *self, member_t *member, uint64_t call, grpc_code_t code,
                    const char *why)
{
    op_t *op = op_of(self, call);
    if (!op && (call & 0xff) == 0xff) {
        admin_on_end(self->sim->admin, call, code, why);
        return;
    }
    if (!op) {
        watches_on_end(self->sim->watches, member, call, code, why);
        return;
    }
    sim_trace(self->sim, "c%zu gets %d %s", (size_t)(op - self->ops), code, why);
    if (code == GRPC_OK) {
        self->done++;
        self->sim->counts[COUNT_COMPACTIONS] += op->kind == OP_COMPACT;
        if (op->probe) {
            self->probed = true;
        }
        if (op->kind == OP_PUT || op->kind == OP_DELETE) {
            member_watch_now(member);
        }
    } else {
        check_refusal(self, op, code, why);
        self->sim->counts[COUNT_UNKNOWN] += code == GRPC_UNAVAILABLE;
        if (op->probe) {
            self->probe_wanted = true;
        }
    }
    close_op(self, op);
}

void clients_member_gone(clients_t *self, const member_t *member)
{
    for (size_t i = 0; i < self->count; i++) {
        op_t *op = &self->ops[i];
        if (op->open && op->slot == member->slot) {
            self->sim->counts[COUNT_UNKNOWN]++;
            if (op->probe) {
                self->probe_wanted = true;
            }
            close_op(self, op);
        }
    }
    watches_member_gone(self->sim->watches, member);
    admin_member_gone(self->sim->admin, member);
}

/* ---- the end ---- */

void clients_stop(clients_t *self)
{
    self->stopped = true;
}

void clients_probe(clients_t *self)
{
    self->probe_wanted = true;
    again(self, 0);
}

bool clients_probed(const clients_t *self)
{
    return self->probed;
}

bool clients_idle(const clients_t *self)
{
    for (size_t i = 0; i < self->count; i++) {
        if (self->ops[i].open) {
            return false;
        }
    }
    return true;
}

bool clients_caught_up(const clients_t *self)
{
    return watches_caught_up(self->sim->watches);
}

uint64_t clients_done(const clients_t *self)
{
    return self->done;
}
