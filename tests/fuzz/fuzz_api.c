/* Whatever clients send, in whatever order the other actors answer: the api core neither crashes nor
 * leaks, every call that is not cancelled ends at most once, and what it proposes can be applied.
 *
 * An input is a program: each step is a byte that says what happens, then its arguments. The other
 * actors are played truthfully where only the truth can come from them (revisions, read indexes). */
#include <assert.h>
#include <stdlib.h>

#include "actors/api/api.h"
#include "actors/applier/envelope.h"
#include "actors/wiring.h"
#include "messages/limits.h"
#include "messages/scan.h"
#include "messages/xalloc.h"
#include "store/mvcc_write.h"

#include <etcd/rpc.pb-c.h>
#include <membership.pb-c.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CALLS = 16, STEPS_MAX = 400 };

typedef struct {
    api_t *api;
    outbox_t *outbox;
    metrics_t metrics;
    shared_t *store;
    mvcc_t *mvcc;
    uint64_t index, members_index;
    uint64_t now_us;
    uint64_t open[CALLS]; /* call ids in use, 0 = none */
    uint64_t last_call;
    slice_t input;
} world_t;

static void on_message(void *context, uint64_t call, bytes_t **message_p)
{
    world_t *world = context;
    bool known = false;
    for (size_t i = 0; i < CALLS; i++) {
        known |= world->open[i] == call;
    }
    assert(known);
    bytes_unref(message_p);
}

static void on_finish(void *context, uint64_t call, grpc_code_t code, const char *text)
{
    world_t *world = context;
    assert(text);
    assert(code <= GRPC_UNAUTHENTICATED);
    for (size_t i = 0; i < CALLS; i++) {
        if (world->open[i] == call) {
            world->open[i] = 0;
            return;
        }
    }
    abort(); /* finished twice, or never begun */
}

static uint8_t byte(world_t *world)
{
    if (world->input.len == 0) {
        return 0;
    }
    uint8_t value = world->input.data[0];
    world->input.data++;
    world->input.len--;
    return value;
}

static void close_store(void *kv)
{
    kv_t *store = kv;
    kv_close(&store);
}

static void init(world_t *world, const uint8_t *data, size_t size)
{
    static const char *const urls[] = {"http://127.0.0.1:2379"};
    *world = (world_t){.now_us = 1, .input = slice(data, size)};
    api_cfg_t cfg = {.cluster_id = 1,
                     .member_id = 2,
                     .origin = 3,
                     .publishes = true,
                     .name = "fuzzed",
                     .client_urls = urls,
                     .client_url_count = 1,
                     .max_request_bytes = 4096,
                     .max_txn_ops = 8,
                     .request_timeout_us = 7000000,
                     .lease_ttl_min_s = 2,
                     .strict_reconfig = size % 2,
                     .seed = 1};
    api_sink_t sink = {.context = world, .message = on_message, .finish = on_finish};
    world->api = api_new(&cfg, &sink, &world->metrics);
    world->outbox = wiring_outbox(ACTOR_GRPC_GATEWAY);
    kv_t *kv = kv_memory_new();
    world->store = shared_new(kv, close_store);
    char *error = NULL;
    int rc = mvcc_new(&world->mvcc, kv, &error);
    assert(rc == 0);
}

static void deinit(world_t *world)
{
    void *core = world->api;
    api_ops.destroy(&core);
    outbox_destroy(&world->outbox);
    mvcc_destroy(&world->mvcc);
    shared_unref(&world->store);
}

static void deliver(world_t *world, actor_id_t from, msg_t **msg_p)
{
    (*msg_p)->from = from;
    step_in_t in = {.now_us = world->now_us, .msg = *msg_p};
    api_ops.step(world->api, &in, world->outbox);
    msg_free(msg_p);
}

/* ---- the other actors ---- */

static void send_applied(world_t *world)
{
    msg_t *msg = msg_new(MSG_APPLIED);
    msg->u.applied = (msg_applied_t){.index = world->index,
                                     .revision = mvcc_current(world->mvcc)->revision,
                                     .commit = world->index,
                                     .members_index = world->members_index};
    deliver(world, ACTOR_APPLIER, &msg);
}

/* The leader would accept it: there are two members then, the one of the change and this one. */
static void change_members(world_t *world, const proposal_t *proposal)
{
    slice_t payload = bytes_slice(proposal->payload);
    Quoral__MembershipChange *change =
        quoral__membership_change__unpack(NULL, payload.len, payload.data);
    assert(change);
    assert(change->member && change->member->id != 0);
    assert(change->member->n_peer_urls <= LIMIT_URLS);
    assert(change->origin == 3 && change->request_id == proposal->req_id);
    Quoral__ConfigurationMember me = QUORAL__CONFIGURATION_MEMBER__INIT;
    me.id = 2;
    me.name = (char *)(uintptr_t)(change->member->id % 2 ? "fuzzed" : "");
    me.learner = change->kind == QUORAL__MEMBERSHIP_CHANGE__KIND__REMOVE;
    Quoral__ConfigurationMember *members[] = {&me, change->member};
    Quoral__Configuration configuration = QUORAL__CONFIGURATION__INIT;
    configuration.members = members;
    configuration.n_members = change->member->id == me.id ? 1 : 2;
    uint8_t *room = NULL;
    bytes_t *encoded = bytes_alloc(quoral__configuration__get_packed_size(&configuration), &room);
    quoral__configuration__pack(&configuration, room);
    mvcc_entry_begin(world->mvcc, ++world->index, 1);
    int rc = mvcc_meta_put(world->mvcc, "members", bytes_slice(encoded));
    assert(rc == 0);
    mvcc_entry_end(world->mvcc);
    rc = mvcc_commit(world->mvcc);
    assert(rc == 0);
    bytes_unref(&encoded);
    quoral__membership_change__free_unpacked(change, NULL);
    world->members_index = world->index;
}

/* What was let in must be readable; a put is carried out, so that there is something to read. */
static void apply(world_t *world, const proposal_t *proposal)
{
    envelope_t envelope;
    op_put_t put;
    if (proposal->type == ENTRY_CONFIGURATION) {
        change_members(world, proposal);
        return;
    }
    int rc = envelope_decode(bytes_slice(proposal->payload), &envelope);
    assert(rc == 0);
    assert(envelope.request_id == proposal->req_id);
    mvcc_entry_begin(world->mvcc, ++world->index, 1);
    if (envelope.op == OP_PUT) {
        rc = op_put_decode(envelope.request, &put);
        assert(rc == 0);
        assert(put.key.len > 0);
        mvcc_put_t request = {.key = put.key, .value = put.value};
        bool existed = false;
        rc = mvcc_put(world->mvcc, &request, NULL, &existed);
        assert(rc == 0);
    } else if (envelope.op == OP_TXN) {
        static const scan_limits_t limits = {.depth = LIMIT_MESSAGE_DEPTH,
                                             .fields = LIMIT_MESSAGE_FIELDS};
        rc = scan_message(envelope.request, &etcdserverpb__txn_request__descriptor, &limits);
        assert(rc == 0);
        Etcdserverpb__TxnRequest *txn =
            etcdserverpb__txn_request__unpack(NULL, envelope.request.len, envelope.request.data);
        assert(txn);
        etcdserverpb__txn_request__free_unpacked(txn, NULL);
    }
    mvcc_entry_end(world->mvcc);
    rc = mvcc_commit(world->mvcc);
    assert(rc == 0);
}

/* Refused: none of them has entered the log. UNKNOWN: they may have; here they have not. */
static void refuse(world_t *world, const msg_propose_t *propose, uint8_t how)
{
    static const api_error_t errors[] = {API_NO_LEADER, API_NOT_LEADER, API_TOO_MANY_REQUESTS,
                                         API_LEADER_CHANGED};
    msg_t *msg = msg_new(how & 4 ? MSG_UNKNOWN : MSG_REJECTED);
    msg->u.refusal.req_ids = xcalloc(propose->count, sizeof(uint64_t));
    msg->u.refusal.count = propose->count;
    msg->u.refusal.error = errors[how & 3];
    for (size_t i = 0; i < propose->count; i++) {
        msg->u.refusal.req_ids[i] = propose->items[i].req_id;
    }
    deliver(world, ACTOR_REPLICATOR, &msg);
}

static void on_propose(world_t *world, const msg_propose_t *propose)
{
    uint8_t how = byte(world);
    if (how > 200) {
        refuse(world, propose, how);
        return;
    }
    msg_t *msg = msg_new(MSG_RESULT);
    msg->u.result.items = xcalloc(propose->count, sizeof(result_t));
    msg->u.result.count = propose->count;
    for (size_t i = 0; i < propose->count; i++) {
        apply(world, &propose->items[i]);
        msg->u.result.items[i] = (result_t){.req_id = propose->items[i].req_id,
                                            .revision = mvcc_current(world->mvcc)->revision};
    }
    send_applied(world);
    deliver(world, ACTOR_APPLIER, &msg);
}

static void on_lease_ask(world_t *world, const msg_lease_ask_t *ask)
{
    uint8_t how = byte(world);
    msg_t *msg = msg_new(MSG_LEASE_ANSWER);
    msg->u.lease_answer = (msg_lease_answer_t){.req_id = ask->req_id,
                                               .op = ask->op,
                                               .id = ask->id,
                                               .ttl_s = how % 3,
                                               .error = how > 250 ? API_NO_LEADER : API_NONE};
    deliver(world, ACTOR_LEASE, &msg);
}

static void watch_item(world_t *world, watch_item_type_t type, uint64_t stream, int64_t id)
{
    static const uint8_t event[] = "\x5a\x05\x12\x03\x0a\x01"
                                   "a";
    msg_t *msg = msg_new(MSG_WATCH_OUT);
    msg->u.watch_out.items = xcalloc(1, sizeof(watch_item_t));
    msg->u.watch_out.count = 1;
    msg->u.watch_out.items[0] = (watch_item_t){
        .type = type,
        .stream = stream,
        .watch_id = id,
        .revision = mvcc_current(world->mvcc)->revision,
        .events = type == WATCH_ITEM_EVENTS ? bytes_new(event, sizeof event - 1) : NULL};
    deliver(world, ACTOR_WATCH, &msg);
}

static void on_watch_create(world_t *world, const msg_watch_create_t *create)
{
    watch_item(world, WATCH_ITEM_CREATED, create->stream, create->watch_id);
    uint8_t how = byte(world);
    if (how & 1) {
        watch_item(world, WATCH_ITEM_EVENTS, create->stream, create->watch_id);
    }
    if (how & 2) {
        watch_item(world, WATCH_ITEM_COMPACTED, create->stream, create->watch_id);
    }
}

static void on_read(world_t *world, const msg_read_t *read)
{
    uint8_t how = byte(world);
    msg_t *msg = msg_new(how > 240 ? MSG_READ_FAIL : MSG_READ_AT);
    msg->u.read.read_id = read->read_id;
    msg->u.read.index = world->index;
    msg->u.read.error = how % 2 ? API_LEADER_CHANGED : API_TIMEOUT;
    deliver(world, ACTOR_REPLICATOR, &msg);
}

static void set_role(world_t *world, uint8_t how);

static void on_transfer(world_t *world, const msg_transfer_t *transfer)
{
    static const api_error_t errors[] = {API_NOT_LEADER, API_TIMEOUT, API_TOO_MANY_REQUESTS};
    uint8_t how = byte(world);
    if (how % 4 == 3) {
        set_role(world, how);
        return;
    }
    msg_t *msg = msg_new(MSG_REJECTED);
    msg->u.refusal.req_ids = xcalloc(1, sizeof(uint64_t));
    msg->u.refusal.req_ids[0] = transfer->req_id;
    msg->u.refusal.count = 1;
    msg->u.refusal.error = errors[how % 4];
    deliver(world, ACTOR_REPLICATOR, &msg);
}

static void on_hash(world_t *world, const msg_hash_t *hash)
{
    uint8_t how = byte(world);
    msg_t *msg = msg_new(MSG_HASHED);
    msg->u.hash = (msg_hash_t){.req_id = hash->req_id,
                               .error = how > 200 ? API_COMPACTED : API_NONE,
                               .hash = how,
                               .compacted = -1,
                               .current = mvcc_current(world->mvcc)->revision};
    deliver(world, ACTOR_KEEPER, &msg);
}

static void others(world_t *world)
{
    actor_id_t to = ACTOR_NONE;
    msg_t *msg = NULL;
    while ((msg = outbox_take(world->outbox, &to))) {
        if (msg->cost) {
            msg_credit_t credit = {.messages = 1, .bytes = msg->cost};
            outbox_credit(world->outbox, to, &credit);
        }
        switch (msg->kind) {
        case MSG_PROPOSE: on_propose(world, &msg->u.propose); break;
        case MSG_READ: on_read(world, &msg->u.read); break;
        case MSG_TRANSFER: on_transfer(world, &msg->u.transfer); break;
        case MSG_HASH: on_hash(world, &msg->u.hash); break;
        case MSG_LEASE_ASK: on_lease_ask(world, &msg->u.lease_ask); break;
        case MSG_WATCH_CREATE: on_watch_create(world, &msg->u.watch_create); break;
        case MSG_WATCH_CANCEL:
            watch_item(world, WATCH_ITEM_CANCELED, msg->u.watch_stream.stream,
                       msg->u.watch_stream.watch_id);
            break;
        default: break;
        }
        msg_free(&msg);
    }
}

static void end_of_turn(world_t *world)
{
    step_in_t in = {.now_us = world->now_us};
    api_ops.step(world->api, &in, world->outbox);
    assert(!outbox_fatal_text(world->outbox));
    (void)api_ops.deadline(world->api);
}

/* ---- the program ---- */

static void begin(world_t *world, size_t slot)
{
    if (world->open[slot]) {
        return;
    }
    uint8_t flags = byte(world);
    api_call_t info = {.method = (method_t)(byte(world) % METHOD_COUNT),
                       .deadline_us =
                           flags & 2 ? world->now_us + byte(world) * 1000u : DEADLINE_NONE,
                       .flags = flags & 1};
    world->open[slot] = ++world->last_call;
    api_call_begin(world->api, world->last_call, &info, world->now_us);
}

static void message(world_t *world, size_t slot)
{
    size_t len = byte(world);
    if (len > 250) { /* sometimes a long one */
        len = len * 20;
    }
    len = len < world->input.len ? len : world->input.len;
    bytes_t *bytes = bytes_new(world->input.data, len);
    world->input.data += len;
    world->input.len -= len;
    api_call_message(world->api, world->open[slot], &bytes, world->now_us);
}

static void cancel(world_t *world, size_t slot)
{
    api_call_cancel(world->api, world->open[slot]);
    world->open[slot] = 0;
}

static void set_role(world_t *world, uint8_t how)
{
    msg_t *msg = msg_new(MSG_ROLE);
    msg->u.role = (msg_role_t){.term = how,
                               .role = how & 1 ? ROLE_LEADER : ROLE_FOLLOWER,
                               .leader = how & 1 ? 2 : how & 2};
    deliver(world, ACTOR_ELECTION, &msg);
}

static void reach(world_t *world, uint8_t how)
{
    msg_t *msg = msg_new(MSG_PEER_STATUS);
    msg->u.peer_status =
        (msg_peer_status_t){.member = how / 2, .is_active = how % 2, .since_us = world->now_us};
    deliver(world, ACTOR_PEER, &msg);
}

static void restore(world_t *world)
{
    msg_t *msg = msg_new(MSG_RESTORED);
    msg->u.restored.store = shared_ref(world->store);
    msg->u.restored.index = world->index;
    msg->u.restored.revision = mvcc_current(world->mvcc)->revision;
    deliver(world, ACTOR_APPLIER, &msg);
}

static void run_step(world_t *world, uint8_t what)
{
    size_t slot = what / 16;
    switch (what % 16) {
    case 0: begin(world, slot); break;
    case 1:
    case 2:
    case 3: message(world, slot); break;
    case 4: api_call_half_close(world->api, world->open[slot], world->now_us); break;
    case 5: cancel(world, slot); break;
    case 6: api_call_sent(world->api, world->open[slot], byte(world) * 16u); break;
    case 7: set_role(world, byte(world)); break;
    case 8: restore(world); break;
    case 9: world->now_us += byte(world) * 100000u; break;
    case 10: others(world); break;
    case 11: watch_item(world, WATCH_ITEM_PROGRESS, world->open[slot], -1); break;
    case 12: send_applied(world); break;
    case 13: reach(world, byte(world)); break;
    default: end_of_turn(world); break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    world_t *world = xcalloc(1, sizeof *world);
    init(world, data, size);
    for (int steps = 0; steps < STEPS_MAX && world->input.len; steps++) {
        run_step(world, byte(world));
    }
    end_of_turn(world);
    others(world);
    end_of_turn(world);
    deinit(world);
    free(world);
    return 0;
}
