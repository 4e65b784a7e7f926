#include "tests/support/applier_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "messages/buf.h"
#include "messages/xalloc.h"

void rig_start(applier_rig_t *rig, uint64_t start_commit, uint64_t flush_entries,
               const bytes_t *members)
{
    applier_cfg_t cfg = {
        .store = rig->store,
        .generations = rig->generations,
        .origins = {RIG_ORIGIN, RIG_NATIVE_ORIGIN},
        .start_commit = start_commit,
        .flush_entries = flush_entries,
        .catchup_entries = rig->catchup_entries,
        .compaction_rows = RIG_ROWS,
        .compaction_sleep_us = RIG_SLEEP_US,
        .configuration = members,
    };
    char *error = NULL;
    rig->applier = applier_new(&cfg, &rig->metrics, &error);
    assert_non_null(rig->applier);
    rig->test = core_test_new(ACTOR_APPLIER, &applier_ops, rig->applier);
}

void rig_drain(applier_rig_t *rig)
{
    actor_id_t to;
    msg_t *msg = NULL;
    while ((msg = core_test_take(&rig->test, &to))) {
        msg_free(&msg);
    }
}

applier_rig_t *rig_new_stopped(void)
{
    applier_rig_t *rig = xcalloc(1, sizeof *rig);
    char *error = NULL;
    rig->generations = generations_memory_new();
    assert_int_equal(generations_open(rig->generations, 0, &rig->store, &error), 0);
    return rig;
}

applier_rig_t *rig_new(uint64_t flush_entries)
{
    applier_rig_t *rig = rig_new_stopped();
    rig_start(rig, 0, flush_entries, NULL);
    core_test_flush(&rig->test);
    rig_drain(rig);
    return rig;
}

void rig_destroy(applier_rig_t **rig_p)
{
    core_test_end(&(*rig_p)->test);
    shared_unref(&(*rig_p)->store);
    generations_destroy(&(*rig_p)->generations);
    free(*rig_p);
    *rig_p = NULL;
}

kv_t *rig_kv(applier_rig_t *rig)
{
    return shared_object(rig->store);
}

void rig_add_entry(applier_rig_t *rig, entry_type_t type, slice_t payload)
{
    if (!rig->batch) {
        rig->batch = msg_new(MSG_COMMITTED);
    }
    entry_t entry = {.index = ++rig->index, .term = 3, .type = type};
    entry.payload = bytes_new(payload.data, payload.len);
    entries_append(&rig->batch->u.committed.entries, &entry);
    bytes_unref(&entry.payload);
    rig->batch->u.committed.commit = rig->index;
}

void rig_send(applier_rig_t *rig)
{
    core_test_send(&rig->test, ACTOR_REPLICATOR, &rig->batch);
    core_test_flush(&rig->test);
}

uint64_t rig_add_request_of(applier_rig_t *rig, uint64_t origin, uint32_t op, slice_t request)
{
    buf_t payload = {0};
    buf_t header = {0};
    buf_field_u64(&header, 1, ++rig->request_id);
    buf_field_u64(&payload, 1, origin);
    buf_field_bytes(&payload, op, request);
    buf_field_bytes(&payload, 100, buf_slice(&header));
    rig_add_entry(rig, ENTRY_NORMAL, buf_slice(&payload));
    buf_deinit(&payload);
    buf_deinit(&header);
    return rig->request_id;
}

uint64_t rig_add_request(applier_rig_t *rig, uint32_t op, const ProtobufCMessage *request)
{
    buf_t packed = {0};
    size_t len = protobuf_c_message_get_packed_size(request);
    buf_advance(&packed, protobuf_c_message_pack(request, buf_reserve(&packed, len + 1)));
    uint64_t id = rig_add_request_of(rig, RIG_ORIGIN, op, buf_slice(&packed));
    buf_deinit(&packed);
    return id;
}

ProtobufCBinaryData pb_text(const char *string)
{
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)string, .len = strlen(string)};
}

Etcdserverpb__PutRequest put_request(const char *key, const char *value)
{
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = pb_text(key);
    put.value = pb_text(value);
    return put;
}

uint64_t rig_add_put(applier_rig_t *rig, const char *key, const char *value)
{
    Etcdserverpb__PutRequest put = put_request(key, value);
    return rig_add_request(rig, RIG_PUT, &put.base);
}

result_t rig_result(applier_rig_t *rig)
{
    rig_send(rig);
    result_t result = {0};
    bool found = false;
    actor_id_t to;
    msg_t *msg = NULL;
    while ((msg = core_test_take(&rig->test, &to))) {
        if (msg->kind == MSG_RESULT) {
            assert_false(found);
            assert_int_equal(to, ACTOR_GRPC_GATEWAY);
            assert_int_equal(msg->u.result.count, 1);
            result = msg->u.result.items[0];
            assert_int_equal(result.req_id, rig->request_id);
            msg->u.result.items[0].body = NULL;
            found = true;
        }
        msg_free(&msg);
    }
    assert_true(found);
    return result;
}

result_t rig_put(applier_rig_t *rig, const char *key, const char *value)
{
    rig_add_put(rig, key, value);
    return rig_result(rig);
}

void rig_expect(applier_rig_t *rig, api_error_t error, int64_t revision)
{
    result_t result = rig_result(rig);
    assert_int_equal(result.error, error);
    if (!error) {
        assert_int_equal(result.revision, revision);
    }
    bytes_unref(&result.body);
}

bool rig_exists(applier_rig_t *rig, const char *key)
{
    kv_value_t value = {0};
    mvcc_record_t record;
    int rc = mvcc_get(kv_latest(rig_kv(rig)), slice_str(key), &value, &record);
    if (rc == 0) {
        kv_value_deinit(&value);
    }
    return rc == 0;
}
