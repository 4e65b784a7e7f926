#include "tests/support/api_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <membership.pb-c.h>
#include <etcd/raft_internal.pb-c.h>
#include <stdio.h>
#include <stdlib.h>

#include "messages/limits.h"
#include "messages/xalloc.h"

/* ---- the framing ---- */

static void on_message(void *context, uint64_t call, bytes_t **message_p)
{
    api_rig_t *self = context;
    rig_call_t *record = &self->calls[call];
    assert_true(call > 0 && call <= self->last_call);
    assert_false(record->finished);
    assert_true(record->count < RIG_MESSAGES_MAX);
    record->messages[record->count++] = bytes_take(message_p);
}

static void on_finish(void *context, uint64_t call, grpc_code_t code, const char *text)
{
    api_rig_t *self = context;
    rig_call_t *record = &self->calls[call];
    assert_true(call > 0 && call <= self->last_call);
    assert_false(record->finished);
    record->finished = true;
    record->code = code;
    snprintf(record->text, sizeof record->text, "%s", text);
}

static bool on_refuses(void *context, slice_t subscription)
{
    const api_rig_t *self = context;
    return self->refused && slice_equal(slice_str(self->refused), subscription);
}

uint64_t api_rig_begin(api_rig_t *self, method_t method)
{
    api_call_t info = {.method = method, .deadline_us = DEADLINE_NONE};
    assert_true(self->last_call + 1 < RIG_CALLS_MAX);
    uint64_t call = ++self->last_call;
    api_call_begin(self->api, call, &info, self->core.now_us);
    return call;
}

void api_rig_send_bytes(api_rig_t *self, uint64_t call, const void *data, size_t len)
{
    bytes_t *bytes = bytes_new(data, len);
    api_call_message(self->api, call, &bytes, self->core.now_us);
    assert_null(bytes);
}

void api_rig_send(api_rig_t *self, uint64_t call, const void *message)
{
    uint8_t *packed = xmalloc(protobuf_c_message_get_packed_size(message) + 1);
    size_t len = protobuf_c_message_pack(message, packed);
    api_rig_send_bytes(self, call, packed, len);
    free(packed);
}

uint64_t api_rig_unary(api_rig_t *self, method_t method, const void *message)
{
    uint64_t call = api_rig_begin(self, method);
    api_rig_send(self, call, message);
    api_call_half_close(self->api, call, self->core.now_us);
    api_rig_turn(self);
    return call;
}

void api_rig_turn(api_rig_t *self)
{
    core_test_flush(&self->core);
    assert_null(outbox_fatal_text(self->core.outbox));
}

/* ---- life ---- */

static void close_kv(void *kv)
{
    kv_t *store = kv;
    kv_close(&store);
}

static void store_members(api_rig_t *self, const rig_member_t *list, size_t count)
{
    static char *client_urls[] = {(char *)(uintptr_t) "http://127.0.0.1:2379"};
    Quoral__ConfigurationMember members[LIMIT_MEMBERS];
    Quoral__ConfigurationMember *pointers[LIMIT_MEMBERS];
    Quoral__Configuration configuration = QUORAL__CONFIGURATION__INIT;
    for (size_t i = 0; i < count; i++) {
        quoral__configuration_member__init(&members[i]);
        members[i].id = list[i].id ? list[i].id : RIG_MEMBER_ID;
        members[i].learner = list[i].learner;
        members[i].name = (char *)(uintptr_t)(list[i].name ? list[i].name : "");
        members[i].n_client_urls = list[i].name != NULL;
        members[i].client_urls = client_urls;
        members[i].n_peer_urls = list[i].peer_url != NULL;
        members[i].peer_urls = (char **)(uintptr_t)&list[i].peer_url;
        pointers[i] = &members[i];
    }
    configuration.n_members = count;
    configuration.members = pointers;
    uint8_t packed[8192];
    assert_true(quoral__configuration__get_packed_size(&configuration) <= sizeof packed);
    size_t len = quoral__configuration__pack(&configuration, packed);
    mvcc_entry_begin(self->mvcc, ++self->index, RIG_TERM);
    assert_int_equal(mvcc_meta_put(self->mvcc, "members", slice(packed, len)), 0);
    self->members_index = self->index;
}

static void publish_member(api_rig_t *self)
{
    static const rig_member_t me = {.name = "m1", .peer_url = "http://127.0.0.1:2380"};
    store_members(self, &me, 1);
    assert_int_equal(mvcc_meta_put(self->mvcc, "cluster_version", slice_str("3.7.0")), 0);
    mvcc_entry_end(self->mvcc);
    assert_int_equal(mvcc_commit(self->mvcc), 0);
}

api_rig_t *api_rig_new(const rig_options_t *options)
{
    static const rig_options_t none = {0};
    options = options ? options : &none;
    static const char *const urls[] = {"http://127.0.0.1:2379"};
    api_rig_t *self = xcalloc(1, sizeof *self);
    api_cfg_t cfg = {
        .cluster_id = RIG_CLUSTER_ID,
        .member_id = RIG_MEMBER_ID,
        .origin = RIG_ORIGIN,
        .publishes = true,
        .name = "m1",
        .client_urls = urls,
        .client_url_count = 1,
        .max_request_bytes =
            options->max_request_bytes ? options->max_request_bytes : LIMIT_REQUEST_BYTES,
        .max_txn_ops = options->max_txn_ops ? options->max_txn_ops : LIMIT_TXN_OPS,
        .request_timeout_us = 7000000,
        .lease_ttl_min_s = 2,
        .strict_reconfig = !options->loose_changes,
        .unix_offset_us = RIG_UNIX_S * UINT64_C(1000000),
        .seed = 1,
    };
    api_sink_t sink = {
        .context = self, .message = on_message, .finish = on_finish, .refuses = on_refuses};
    self->api = api_new(&cfg, &sink, &self->metrics);
    self->core = core_test_new(ACTOR_GRPC_GATEWAY, &api_ops, self->api);
    self->kv = kv_memory_new();
    self->store = shared_new(self->kv, close_kv);
    char *error = NULL;
    assert_int_equal(mvcc_new(&self->mvcc, self->kv, &error), 0);
    if (!options->unpublished) {
        publish_member(self);
    }
    return self;
}

void api_rig_free(api_rig_t **self_p)
{
    api_rig_t *self = *self_p;
    *self_p = NULL;
    core_test_end(&self->core);
    mvcc_destroy(&self->mvcc);
    shared_unref(&self->store);
    for (size_t i = 0; i <= self->last_call; i++) {
        for (size_t m = 0; m < self->calls[i].count; m++) {
            bytes_unref(&self->calls[i].messages[m]);
        }
    }
    free(self);
}

void api_rig_role(api_rig_t *self, role_t role, uint64_t leader)
{
    msg_t *msg = msg_new(MSG_ROLE);
    msg->u.role = (msg_role_t){.term = RIG_TERM, .role = role, .leader = leader};
    core_test_send(&self->core, ACTOR_ELECTION, &msg);
}

void api_rig_restored(api_rig_t *self)
{
    msg_t *msg = msg_new(MSG_RESTORED);
    msg->u.restored.store = shared_ref(self->store);
    msg->u.restored.index = self->index;
    msg->u.restored.revision = mvcc_current(self->mvcc)->revision;
    core_test_send(&self->core, ACTOR_APPLIER, &msg);
}

void api_rig_ready(api_rig_t *self)
{
    api_rig_role(self, ROLE_LEADER, RIG_MEMBER_ID);
    api_rig_restored(self);
    api_rig_turn(self);
}

api_rig_t *api_rig_new_ready(void)
{
    api_rig_t *self = api_rig_new(NULL);
    api_rig_ready(self);
    return self;
}

/* ---- the store ---- */

void api_rig_applied(api_rig_t *self)
{
    msg_t *msg = msg_new(MSG_APPLIED);
    msg->u.applied = (msg_applied_t){.index = self->index,
                                     .term = RIG_TERM,
                                     .revision = mvcc_current(self->mvcc)->revision,
                                     .commit = self->index,
                                     .members_index = self->members_index};
    core_test_send(&self->core, ACTOR_APPLIER, &msg);
}

static void commit(api_rig_t *self)
{
    mvcc_entry_end(self->mvcc);
    assert_int_equal(mvcc_commit(self->mvcc), 0);
    api_rig_applied(self);
}

void api_rig_members(api_rig_t *self, const rig_member_t *members, size_t count)
{
    store_members(self, members, count);
    commit(self);
}

static void put(api_rig_t *self, slice_t key, slice_t value, int64_t lease)
{
    mvcc_put_t request = {.key = key, .value = value, .lease = lease};
    bool existed = false;
    mvcc_entry_begin(self->mvcc, ++self->index, RIG_TERM);
    assert_int_equal(mvcc_put(self->mvcc, &request, NULL, &existed), 0);
    commit(self);
}

void api_rig_put(api_rig_t *self, const char *key, const char *value)
{
    put(self, slice_str(key), slice_str(value), 0);
}

void api_rig_delete(api_rig_t *self, const char *key)
{
    mvcc_interval_t interval = {.key = slice_str(key)};
    int64_t deleted = 0;
    mvcc_entry_begin(self->mvcc, ++self->index, RIG_TERM);
    assert_int_equal(mvcc_delete_range(self->mvcc, &interval, &deleted, NULL), 0);
    commit(self);
}

void api_rig_compact(api_rig_t *self, int64_t revision)
{
    mvcc_entry_begin(self->mvcc, ++self->index, RIG_TERM);
    assert_int_equal(mvcc_compact(self->mvcc, revision), 0);
    commit(self);
}

/* ---- the others ---- */

static void serve_proposal(api_rig_t *self, const proposal_t *proposal)
{
    slice_t payload = bytes_slice(proposal->payload);
    Etcdserverpb__InternalRaftRequest *request =
        etcdserverpb__internal_raft_request__unpack(NULL, payload.len, payload.data);
    assert_non_null(request);
    assert_non_null(request->put);
    put(self, slice(request->put->key.data, request->put->key.len),
        slice(request->put->value.data, request->put->value.len), 0);
    etcdserverpb__internal_raft_request__free_unpacked(request, NULL);
    msg_t *msg = msg_new(MSG_RESULT);
    msg->u.result.count = 1;
    msg->u.result.items = xcalloc(1, sizeof(result_t));
    msg->u.result.items[0] =
        (result_t){.req_id = proposal->req_id, .revision = mvcc_current(self->mvcc)->revision};
    core_test_send(&self->core, ACTOR_APPLIER, &msg);
}

void api_rig_serve(api_rig_t *self)
{
    actor_id_t to = ACTOR_NONE;
    msg_t *msg = NULL;
    api_rig_turn(self);
    for (;;) {
        while ((msg = core_test_take(&self->core, &to))) {
            if (msg->kind == MSG_READ) {
                msg_t *answer = msg_new(MSG_READ_AT);
                answer->u.read = msg->u.read;
                answer->u.read.index = self->index;
                core_test_send(&self->core, ACTOR_REPLICATOR, &answer);
            } else {
                assert_string_equal(msg_kind_name(msg->kind), "PROPOSE");
                for (size_t i = 0; i < msg->u.propose.count; i++) {
                    serve_proposal(self, &msg->u.propose.items[i]);
                }
            }
            msg_free(&msg);
            api_rig_turn(self);
        }
        if (api_ops.deadline(self->api) > self->core.now_us) {
            return;
        }
        api_rig_turn(self);
    }
}

/* ---- what came back ---- */

const rig_call_t *api_rig_call(const api_rig_t *self, uint64_t call)
{
    assert_true(call > 0 && call <= self->last_call);
    return &self->calls[call];
}

void *api_rig_next(api_rig_t *self, uint64_t call, const ProtobufCMessageDescriptor *type)
{
    rig_call_t *record = &self->calls[call];
    assert_true(record->seen < record->count);
    slice_t bytes = bytes_slice(record->messages[record->seen++]);
    ProtobufCMessage *message = protobuf_c_message_unpack(type, NULL, bytes.len, bytes.data);
    assert_non_null(message);
    return message;
}

void api_rig_expect_open(const api_rig_t *self, uint64_t call)
{
    const rig_call_t *record = api_rig_call(self, call);
    if (record->finished) {
        fail_msg("call has finished: %d \"%s\"", (int)record->code, record->text);
    }
    assert_int_equal(record->count, record->seen);
}

void api_rig_expect_error(const api_rig_t *self, uint64_t call, api_error_t error)
{
    const rig_call_t *record = api_rig_call(self, call);
    assert_true(record->finished);
    assert_string_equal(record->text, api_error_text(error));
    assert_int_equal(record->code, api_error_code(error));
}

void *api_rig_expect_answer(api_rig_t *self, uint64_t call, const ProtobufCMessageDescriptor *type)
{
    const rig_call_t *record = api_rig_call(self, call);
    assert_true(record->finished);
    assert_string_equal(record->text, "");
    assert_int_equal(record->code, GRPC_OK);
    assert_int_equal(record->count, 1);
    return api_rig_next(self, call, type);
}

void api_rig_expect_header(const Etcdserverpb__ResponseHeader *header, int64_t revision)
{
    assert_non_null(header);
    assert_true(header->cluster_id == RIG_CLUSTER_ID);
    assert_true(header->member_id == RIG_MEMBER_ID);
    assert_true(header->raft_term == RIG_TERM);
    assert_int_equal(header->revision, revision);
}

void api_rig_free_message(void *message)
{
    protobuf_c_message_free_unpacked(message, NULL);
}
