/* Shows what the applier makes of committed entries: who is told what, in which order and when it
 * holds; the answers of every operation as contract sections 3 and 5 want them; that what cannot be
 * applied stops it; how it starts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <etcd/rpc.pb-c.h>
#include <membership.pb-c.h>

#include "actors/applier/applier.h"
#include "messages/buf.h"
#include "messages/limits.h"
#include "messages/xalloc.h"
#include "store/mvcc_read.h"
#include "tests/support/core_test.h"

enum { ORIGIN = 77, ROWS = 10, SLEEP_US = 1000 };
enum { PUT = 4, DELETE_RANGE = 5, TXN = 6, COMPACTION = 7, LEASE_GRANT = 8, LEASE_REVOKE = 9 };
enum { VERSION_SET = 1300, ATTR_SET = 1301 };

static void close_store(void *object)
{
    kv_t *kv = object;
    kv_close(&kv);
}

typedef struct {
    shared_t *store;
    applier_t *applier;
    core_test_t test;
    metrics_t metrics;
    uint64_t index, request_id;
    msg_t *batch; /* COMMITTED under construction */
} rig_t;

static void start(rig_t *rig, uint64_t start_commit, uint64_t flush_entries, const bytes_t *members)
{
    applier_cfg_t cfg = {
        .store = rig->store,
        .origin = ORIGIN,
        .start_commit = start_commit,
        .flush_entries = flush_entries,
        .compaction_rows = ROWS,
        .compaction_sleep_us = SLEEP_US,
        .configuration = members,
    };
    char *error = NULL;
    rig->applier = applier_new(&cfg, &rig->metrics, &error);
    assert_non_null(rig->applier);
    rig->test = core_test_new(ACTOR_APPLIER, &applier_ops, rig->applier);
}

static void drain(rig_t *rig)
{
    actor_id_t to;
    msg_t *msg = NULL;
    while ((msg = core_test_take(&rig->test, &to))) {
        msg_free(&msg);
    }
}

static rig_t *rig_new(uint64_t flush_entries)
{
    rig_t *rig = xcalloc(1, sizeof *rig);
    rig->store = shared_new(kv_memory_new(), close_store);
    start(rig, 0, flush_entries, NULL);
    core_test_flush(&rig->test);
    drain(rig);
    return rig;
}

static void rig_destroy(rig_t **rig_p)
{
    core_test_end(&(*rig_p)->test);
    shared_unref(&(*rig_p)->store);
    free(*rig_p);
    *rig_p = NULL;
}

static kv_t *kv_of(rig_t *rig)
{
    return shared_object(rig->store);
}

/* ---- entries ---- */

static void add_entry(rig_t *rig, entry_type_t type, slice_t payload)
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

static void send(rig_t *rig)
{
    core_test_send(&rig->test, ACTOR_REPLICATOR, &rig->batch);
    core_test_flush(&rig->test);
}

static uint64_t add_request_of(rig_t *rig, uint64_t origin, uint32_t op, slice_t request)
{
    buf_t payload = {0};
    buf_t header = {0};
    buf_field_u64(&header, 1, ++rig->request_id);
    buf_field_u64(&payload, 1, origin);
    buf_field_bytes(&payload, op, request);
    buf_field_bytes(&payload, 100, buf_slice(&header));
    add_entry(rig, ENTRY_NORMAL, buf_slice(&payload));
    buf_deinit(&payload);
    buf_deinit(&header);
    return rig->request_id;
}

static uint64_t add_request(rig_t *rig, uint32_t op, const ProtobufCMessage *request)
{
    buf_t packed = {0};
    size_t len = protobuf_c_message_get_packed_size(request);
    buf_advance(&packed, protobuf_c_message_pack(request, buf_reserve(&packed, len + 1)));
    uint64_t id = add_request_of(rig, ORIGIN, op, buf_slice(&packed));
    buf_deinit(&packed);
    return id;
}

static ProtobufCBinaryData text(const char *string)
{
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)string, .len = strlen(string)};
}

static Etcdserverpb__PutRequest put_of(const char *key, const char *value)
{
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = text(key);
    put.value = text(value);
    return put;
}

static uint64_t add_put(rig_t *rig, const char *key, const char *value)
{
    Etcdserverpb__PutRequest put = put_of(key, value);
    return add_request(rig, PUT, &put.base);
}

/* Sends the one request that was added and returns its result; everything else is dropped. */
static result_t result_of(rig_t *rig)
{
    send(rig);
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

static result_t put(rig_t *rig, const char *key, const char *value)
{
    add_put(rig, key, value);
    return result_of(rig);
}

static void expect(rig_t *rig, api_error_t error, int64_t revision)
{
    result_t result = result_of(rig);
    assert_int_equal(result.error, error);
    if (!error) {
        assert_int_equal(result.revision, revision);
    }
    bytes_unref(&result.body);
}

static bool exists(rig_t *rig, const char *key)
{
    kv_value_t value = {0};
    mvcc_record_t record;
    int rc = mvcc_get(kv_latest(kv_of(rig)), slice_str(key), &value, &record);
    if (rc == 0) {
        kv_value_deinit(&value);
    }
    return rc == 0;
}

/* ---- who is told what ---- */

static void a_fresh_store_is_announced_at_once(void **state)
{
    (void)state;
    rig_t *rig = xcalloc(1, sizeof *rig);
    rig->store = shared_new(kv_memory_new(), close_store);
    start(rig, 0, 1000, NULL);
    assert_int_equal(applier_ops.deadline(rig->applier), 0);
    core_test_flush(&rig->test);
    actor_id_t receivers[] = {ACTOR_LEASE, ACTOR_WATCH, ACTOR_KEEPER, ACTOR_GRPC_GATEWAY};
    for (size_t i = 0; i < 4; i++) {
        msg_t *msg = core_test_expect(&rig->test, receivers[i], MSG_RESTORED);
        assert_ptr_equal(shared_object(msg->u.restored.store), kv_of(rig));
        assert_int_equal(msg->u.restored.index, 0);
        assert_int_equal(msg->u.restored.revision, 1);
        msg_free(&msg);
    }
    core_test_flush(&rig->test);
    core_test_expect_nothing(&rig->test);
    assert_int_equal(applier_ops.deadline(rig->applier), DEADLINE_NONE);
    rig_destroy(&rig);
}

static void a_span_is_told_in_order(void **state)
{
    (void)state;
    rig_t *rig = rig_new(1000);
    add_entry(rig, ENTRY_NORMAL, slice(NULL, 0)); /* a leader's no-op */
    uint64_t first = add_put(rig, "a", "1");
    add_request_of(rig, ORIGIN + 1, PUT, slice("\x0a\1b", 3)); /* another member's */
    uint64_t second = add_put(rig, "a", "2");
    core_test_send(&rig->test, ACTOR_REPLICATOR, &rig->batch);
    core_test_expect_nothing(&rig->test); /* the burst is not over */
    core_test_flush(&rig->test);

    msg_t *events = core_test_expect(&rig->test, ACTOR_WATCH, MSG_EVENTS);
    assert_int_equal(events->u.events.count, 3);
    assert_int_equal(events->u.events.revision, 4);
    assert_int_equal(events->u.events.compacted, -1);
    const event_t *event = &events->u.events.items[2];
    assert_int_equal(event->revision, 4);
    assert_true(slice_equal(event->key, slice_str("a")));
    assert_true(slice_equal(bytes_slice(event->kv), slice("\n\1a\x10\2\x18\4 \2*\0012", 12)));
    assert_true(slice_equal(bytes_slice(event->prev_kv), slice("\n\1a\x10\2\x18\2 \1*\0011", 12)));
    assert_null(events->u.events.items[0].prev_kv);
    msg_free(&events);

    msg_t *msg = core_test_expect(&rig->test, ACTOR_LEASE, MSG_APPLIED);
    assert_int_equal(msg->u.applied.index, 4);
    msg_free(&msg);
    msg = core_test_expect(&rig->test, ACTOR_GRPC_GATEWAY, MSG_RESULT);
    assert_int_equal(msg->u.result.count, 2);
    assert_int_equal(msg->u.result.items[0].req_id, first);
    assert_int_equal(msg->u.result.items[0].revision, 2);
    assert_null(msg->u.result.items[0].body);
    assert_int_equal(msg->u.result.items[1].req_id, second);
    assert_int_equal(msg->u.result.items[1].revision, 4);
    msg_free(&msg);
    actor_id_t receivers[] = {ACTOR_GRPC_GATEWAY, ACTOR_REPLICATOR};
    for (size_t i = 0; i < 2; i++) {
        msg = core_test_expect(&rig->test, receivers[i], MSG_APPLIED);
        assert_int_equal(msg->u.applied.index, 4);
        assert_int_equal(msg->u.applied.term, 3);
        assert_int_equal(msg->u.applied.revision, 4);
        assert_int_equal(msg->u.applied.commit, 4);
        msg_free(&msg);
    }
    core_test_expect_nothing(&rig->test);
    assert_true(exists(rig, "a") && exists(rig, "b"));
    rig_destroy(&rig);
}

static void without_room_at_watch_it_holds(void **state)
{
    (void)state;
    rig_t *rig = rig_new(1000);
    outbox_t *box = rig->test.outbox;
    uint64_t now_us = 1;
    size_t spans = 0;
    while (outbox_room(box, ACTOR_WATCH)) { /* nobody gives credit back */
        add_put(rig, "k", "v");
        step_in_t in = {.now_us = now_us, .msg = rig->batch};
        applier_ops.step(rig->applier, &in, box);
        msg_free(&rig->batch);
        applier_ops.step(rig->applier, &(step_in_t){.now_us = now_us}, box);
        assert_true(++spans < 1000);
    }
    add_put(rig, "held", "v");
    applier_ops.step(rig->applier, &(step_in_t){.now_us = now_us, .msg = rig->batch}, box);
    msg_free(&rig->batch);
    applier_ops.step(rig->applier, &(step_in_t){.now_us = now_us}, box);
    assert_false(exists(rig, "held"));
    assert_int_equal(applier_ops.deadline(rig->applier), DEADLINE_NONE); /* credit will wake it */
    drain(rig); /* gives all credits back */
    msg_t *credit = msg_new(MSG_CREDIT);
    core_test_send(&rig->test, ACTOR_WATCH, &credit);
    core_test_flush(&rig->test);
    assert_true(exists(rig, "held"));
    rig_destroy(&rig);
}

static void every_so_many_entries_the_keeper_is_asked_to_flush(void **state)
{
    (void)state;
    rig_t *rig = rig_new(3);
    uint64_t asked[10] = {0};
    size_t count = 0;
    for (int i = 0; i < 8; i++) {
        add_put(rig, "k", "v");
        send(rig);
        actor_id_t to;
        msg_t *msg = NULL;
        while ((msg = core_test_take(&rig->test, &to))) {
            if (msg->kind == MSG_FLUSH) {
                assert_int_equal(to, ACTOR_KEEPER);
                asked[count++] = msg->u.applied.index;
            }
            msg_free(&msg);
        }
    }
    assert_int_equal(count, 2);
    assert_int_equal(asked[0], 3);
    assert_int_equal(asked[1], 6);
    rig_destroy(&rig);
}

static void a_restart_replays_in_silence(void **state)
{
    (void)state;
    rig_t *rig = rig_new(1000);
    for (int64_t id = 1; id <= 3; id++) {
        Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
        grant.id = id;
        grant.ttl = 10 * id;
        add_request(rig, LEASE_GRANT, &grant.base);
        expect(rig, API_NONE, 1);
    }
    core_test_end(&rig->test);
    start(rig, 5, 1000, NULL); /* two entries were committed and not applied */
    assert_int_equal(applier_applied_index(rig->applier), 3);
    core_test_flush(&rig->test);
    core_test_expect_nothing(&rig->test);

    add_put(rig, "replayed", "1");
    add_put(rig, "replayed", "2");
    add_put(rig, "new", "1"); /* beyond: of this run */
    send(rig);
    msg_t *msg = core_test_expect(&rig->test, ACTOR_REPLICATOR, MSG_APPLIED);
    assert_int_equal(msg->u.applied.index, 5);
    msg_free(&msg);
    msg = core_test_expect(&rig->test, ACTOR_LEASE, MSG_LEASE_APPLIED);
    assert_int_equal(msg->u.lease_applied.count, 3);
    assert_int_equal(msg->u.lease_applied.items[2].id, 3);
    assert_int_equal(msg->u.lease_applied.items[2].ttl_s, 30);
    msg_free(&msg);
    actor_id_t receivers[] = {ACTOR_LEASE, ACTOR_WATCH, ACTOR_KEEPER, ACTOR_GRPC_GATEWAY};
    for (size_t i = 0; i < 4; i++) {
        msg = core_test_expect(&rig->test, receivers[i], MSG_RESTORED);
        assert_int_equal(msg->u.restored.index, 5);
        assert_int_equal(msg->u.restored.revision, 3);
        msg_free(&msg);
    }
    msg = core_test_expect(&rig->test, ACTOR_WATCH, MSG_EVENTS);
    assert_int_equal(msg->u.events.count, 1);
    assert_int_equal(msg->u.events.items[0].revision, 4);
    msg_free(&msg);
    rig_destroy(&rig);
}

/* ---- what stops it ---- */

static void what_cannot_be_applied_is_fatal(void **state)
{
    (void)state;
    static const struct {
        entry_type_t type;
        const char *payload;
        size_t len;
    } bad[] = {
        {ENTRY_NORMAL, "\xff", 1},                        /* not a message */
        {ENTRY_NORMAL, "\x08\x4d", 2},                    /* no operation */
        {ENTRY_NORMAL, "\x52\0", 2},                      /* an operation we do not know (alarm) */
        {ENTRY_NORMAL, "\x22\3\x0a\1a\x22\3\x0a\1a", 10}, /* two operations */
        {ENTRY_NORMAL, "\x22\2\x0a\5", 4},                /* a put cut short */
        {ENTRY_NORMAL, "\x32\2\x0a\5", 4},                /* a transaction cut short */
        {ENTRY_CONFIGURATION, "\xff", 1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rig_t *rig = rig_new(1000);
        add_put(rig, "before", "v");
        add_entry(rig, bad[i].type, slice(bad[i].payload, bad[i].len));
        send(rig);
        assert_non_null(outbox_fatal_text(rig->test.outbox));
        core_test_expect_nothing(&rig->test);
        assert_false(exists(rig, "before")); /* the span was not written */
        assert_int_equal(applier_ops.deadline(rig->applier), DEADLINE_NONE);
        rig_destroy(&rig);
    }
}

/* ---- KV ---- */

static void put_answers_the_previous_kv_only_when_asked(void **state)
{
    (void)state;
    rig_t *rig = rig_new(1000);
    result_t result = put(rig, "a", "1");
    assert_int_equal(result.revision, 2);
    assert_null(result.body);
    Etcdserverpb__PutRequest request = put_of("a", "2");
    request.prev_kv = true;
    add_request(rig, PUT, &request.base);
    result = result_of(rig);
    assert_true(
        slice_equal(bytes_slice(result.body), slice("\x12\x0c\n\1a\x10\2\x18\2 \1*\0011", 14)));
    bytes_unref(&result.body);
    request = put_of("new", "2");
    request.prev_kv = true;
    add_request(rig, PUT, &request.base);
    result = result_of(rig);
    assert_null(result.body);
    rig_destroy(&rig);
}

static void a_refused_put_changes_nothing(void **state)
{
    (void)state;
    rig_t *rig = rig_new(1000);
    Etcdserverpb__PutRequest request = put_of("a", "1");
    request.lease = 5;
    add_request(rig, PUT, &request.base);
    expect(rig, API_LEASE_NOT_FOUND, 0);
    request = put_of("a", "");
    request.ignore_value = true;
    add_request(rig, PUT, &request.base);
    expect(rig, API_KEY_NOT_FOUND, 0);
    assert_false(exists(rig, "a"));
    assert_int_equal(put(rig, "a", "1").revision, 2);
    rig_destroy(&rig);
}

static void delete_answers_count_and_previous_kvs(void **state)
{
    (void)state;
    rig_t *rig = rig_new(1000);
    put(rig, "a", "1");
    put(rig, "b", "2");
    Etcdserverpb__DeleteRangeRequest request = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    request.key = text("a");
    request.range_end = text("c");
    request.prev_kv = true;
    add_request(rig, DELETE_RANGE, &request.base);
    result_t result = result_of(rig);
    assert_int_equal(result.revision, 4);
    assert_true(slice_equal(
        bytes_slice(result.body),
        slice("\x10\2\x1a\x0c\n\1a\x10\2\x18\2 \1*\0011\x1a\x0c\n\1b\x10\3\x18\3 \1*\0012", 30)));
    bytes_unref(&result.body);
    add_request(rig, DELETE_RANGE, &request.base);
    result = result_of(rig);
    assert_int_equal(result.revision, 4); /* nothing there: the revision stays */
    assert_null(result.body);
    rig_destroy(&rig);
}

static void compaction_answers(void **state)
{
    (void)state;
    rig_t *rig = rig_new(1000);
    put(rig, "a", "1");
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    request.revision = 3;
    add_request(rig, COMPACTION, &request.base);
    expect(rig, API_FUTURE_REVISION, 0);
    request.revision = 2;
    add_request(rig, COMPACTION, &request.base);
    expect(rig, API_NONE, 2);
    add_request(rig, COMPACTION, &request.base);
    expect(rig, API_COMPACTED, 0);
    rig_destroy(&rig);
}

static void physical_compaction_is_answered_when_it_is_done(void **state)
{
    (void)state;
    rig_t *rig = rig_new(1000);
    for (int i = 0; i < 4 * ROWS; i++) {
        put(rig, "a", "1");
    }
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    request.revision = 4 * ROWS;
    request.physical = true;
    uint64_t id = add_request(rig, COMPACTION, &request.base);
    send(rig);
    int steps = 0;
    bool answered = false;
    while (!answered) {
        actor_id_t to;
        msg_t *msg = NULL;
        while ((msg = core_test_take(&rig->test, &to))) {
            answered = answered || msg->kind == MSG_RESULT;
            assert_true(msg->kind != MSG_RESULT || msg->u.result.items[0].req_id == id);
            msg_free(&msg);
        }
        uint64_t due = applier_ops.deadline(rig->applier);
        assert_true(answered || due <= rig->test.now_us + SLEEP_US);
        rig->test.now_us = answered ? rig->test.now_us : due;
        core_test_flush(&rig->test);
        assert_true(++steps < 20);
    }
    assert_true(steps > 3); /* in batches */
    kv_iter_t *iter = kv_iter_new(kv_latest(kv_of(rig)));
    iter->ops->seek(iter, slice("H", 1));
    assert_int_equal(iter->ops->key(iter).data[0], 'H');
    iter->ops->next(iter);
    assert_int_not_equal(iter->ops->key(iter).data[0], 'H'); /* one superseded record is left */
    kv_iter_destroy(&iter);
    rig_destroy(&rig);
}

/* ---- transactions ---- */

typedef struct {
    Etcdserverpb__Compare compares[2];
    Etcdserverpb__Compare *compare_list[2];
    Etcdserverpb__RequestOp ops[4];
    Etcdserverpb__RequestOp *op_list[4];
    Etcdserverpb__TxnRequest request;
} txn_t;

static void txn_init(txn_t *txn, size_t compares, size_t success, size_t failure)
{
    static const Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT;
    static const Etcdserverpb__RequestOp op = ETCDSERVERPB__REQUEST_OP__INIT;
    static const Etcdserverpb__TxnRequest request = ETCDSERVERPB__TXN_REQUEST__INIT;
    txn->request = request;
    for (size_t i = 0; i < 2; i++) {
        txn->compares[i] = compare;
        txn->compare_list[i] = &txn->compares[i];
    }
    for (size_t i = 0; i < 4; i++) {
        txn->ops[i] = op;
        txn->op_list[i] = &txn->ops[i];
    }
    txn->request.compare = txn->compare_list;
    txn->request.n_compare = compares;
    txn->request.success = txn->op_list;
    txn->request.n_success = success;
    txn->request.failure = txn->op_list + success;
    txn->request.n_failure = failure;
}

static void op_put(Etcdserverpb__RequestOp *op, Etcdserverpb__PutRequest *put)
{
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op->request_put = put;
}

static void op_range(Etcdserverpb__RequestOp *op, Etcdserverpb__RangeRequest *range)
{
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    op->request_range = range;
}

static void op_txn(Etcdserverpb__RequestOp *op, Etcdserverpb__TxnRequest *txn)
{
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
    op->request_txn = txn;
}

static Etcdserverpb__TxnResponse *run_txn(rig_t *rig, txn_t *txn, int64_t revision)
{
    add_request(rig, TXN, &txn->request.base);
    result_t result = result_of(rig);
    assert_int_equal(result.error, API_NONE);
    assert_int_equal(result.revision, revision);
    slice_t body = bytes_slice(result.body);
    Etcdserverpb__TxnResponse *response =
        etcdserverpb__txn_response__unpack(NULL, body.len, body.data);
    assert_non_null(response);
    bytes_unref(&result.body);
    return response;
}

static void operations_see_those_before_and_share_a_revision(void **state)
{
    (void)state;
    rig_t *rig = rig_new(1000);
    put(rig, "a", "old");
    txn_t txn;
    txn_init(&txn, 0, 4, 0);
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    range.key = text("a");
    Etcdserverpb__PutRequest puts[2] = {put_of("a", "new"), put_of("b", "x")};
    puts[0].prev_kv = true;
    op_range(&txn.ops[0], &range);
    op_put(&txn.ops[1], &puts[0]);
    op_range(&txn.ops[2], &range);
    op_put(&txn.ops[3], &puts[1]);
    Etcdserverpb__TxnResponse *response = run_txn(rig, &txn, 3);
    assert_true(response->succeeded);
    assert_int_equal(response->n_responses, 4);
    Etcdserverpb__RangeResponse *before = response->responses[0]->response_range;
    assert_int_equal(before->header->revision, 2);
    assert_int_equal(before->kvs[0]->mod_revision, 2);
    Etcdserverpb__PutResponse *put_response = response->responses[1]->response_put;
    assert_int_equal(put_response->header->revision, 3);
    assert_memory_equal(put_response->prev_kv->value.data, "old", 3);
    Etcdserverpb__RangeResponse *after = response->responses[2]->response_range;
    assert_int_equal(after->header->revision, 3);
    assert_int_equal(after->kvs[0]->mod_revision, 3);
    assert_memory_equal(after->kvs[0]->value.data, "new", 3);
    etcdserverpb__txn_response__free_unpacked(response, NULL);
    rig_destroy(&rig);
}

static void nested_compares_see_the_state_before(void **state)
{
    (void)state;
    rig_t *rig = rig_new(1000);
    txn_t inner;
    txn_init(&inner, 1, 1, 1);
    inner.compares[0].key = text("a"); /* version(a) == 0: there is no such key */
    Etcdserverpb__PutRequest yes = put_of("yes", "");
    Etcdserverpb__PutRequest no = put_of("no", "");
    op_put(&inner.ops[0], &yes);
    op_put(&inner.ops[1], &no);
    txn_t outer;
    txn_init(&outer, 0, 2, 0);
    Etcdserverpb__PutRequest create = put_of("a", "1");
    op_put(&outer.ops[0], &create);
    op_txn(&outer.ops[1], &inner.request);
    Etcdserverpb__TxnResponse *response = run_txn(rig, &outer, 2);
    Etcdserverpb__TxnResponse *nested = response->responses[1]->response_txn;
    assert_true(nested->succeeded);
    assert_non_null(nested->header);
    assert_int_equal(nested->header->revision, 0);
    assert_int_equal(nested->responses[0]->response_put->header->revision, 2);
    assert_true(exists(rig, "yes"));
    assert_false(exists(rig, "no"));
    etcdserverpb__txn_response__free_unpacked(response, NULL);
    rig_destroy(&rig);
}

typedef struct {
    Etcdserverpb__Compare__CompareTarget target;
    Etcdserverpb__Compare__CompareResult result;
    const char *key, *range_end;
    int64_t number;
    const char *value;
    bool expected;
} compare_case_t;

#define TARGET(name) ETCDSERVERPB__COMPARE__COMPARE_TARGET__##name
#define RESULT(name) ETCDSERVERPB__COMPARE__COMPARE_RESULT__##name

static void set_union(Etcdserverpb__Compare *compare, const compare_case_t *one)
{
    switch (one->target) {
    case TARGET(VERSION):
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
        compare->version = one->number;
        break;
    case TARGET(CREATE):
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
        compare->create_revision = one->number;
        break;
    case TARGET(MOD):
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
        compare->mod_revision = one->number;
        break;
    case TARGET(LEASE):
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE;
        compare->lease = one->number;
        break;
    default:
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE;
        compare->value = text(one->value);
        break;
    }
}

static void compares(void **state)
{
    (void)state;
    rig_t *rig = rig_new(1000);
    put(rig, "a", "m"); /* create 2 */
    put(rig, "a", "n"); /* mod 3, version 2 */
    put(rig, "b", "n"); /* create 4, mod 4, version 1 */
    static const compare_case_t cases[] = {
        {TARGET(VERSION), RESULT(EQUAL), "a", "", 2, NULL, true},
        {TARGET(VERSION), RESULT(NOT_EQUAL), "a", "", 2, NULL, false},
        {TARGET(VERSION), RESULT(GREATER), "a", "", 1, NULL, true},
        {TARGET(VERSION), RESULT(LESS), "a", "", 2, NULL, false},
        {TARGET(CREATE), RESULT(EQUAL), "a", "", 2, NULL, true},
        {TARGET(MOD), RESULT(EQUAL), "a", "", 3, NULL, true},
        {TARGET(LEASE), RESULT(EQUAL), "a", "", 0, NULL, true},
        {TARGET(VALUE), RESULT(EQUAL), "a", "", 0, "n", true},
        {TARGET(VALUE), RESULT(GREATER), "a", "", 0, "m", true},
        {TARGET(VALUE), RESULT(LESS), "a", "", 0, "na", true},
        /* a missing key has zero numbers and no value */
        {TARGET(VERSION), RESULT(EQUAL), "missing", "", 0, NULL, true},
        {TARGET(CREATE), RESULT(LESS), "missing", "", 1, NULL, true},
        {TARGET(VALUE), RESULT(EQUAL), "missing", "", 0, "", false},
        {TARGET(VALUE), RESULT(NOT_EQUAL), "missing", "", 0, "x", false},
        /* for every key of an interval; an empty one is like a missing key */
        {TARGET(VALUE), RESULT(EQUAL), "a", "c", 0, "n", true},
        {TARGET(MOD), RESULT(GREATER), "a", "c", 3, NULL, false},
        {TARGET(MOD), RESULT(GREATER), "a", "c", 2, NULL, true},
        {TARGET(VERSION), RESULT(EQUAL), "x", "y", 0, NULL, true},
        {TARGET(VALUE), RESULT(NOT_EQUAL), "x", "y", 0, "n", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        txn_t txn;
        txn_init(&txn, 1, 0, 0);
        txn.compares[0].target = cases[i].target;
        txn.compares[0].result = cases[i].result;
        txn.compares[0].key = text(cases[i].key);
        txn.compares[0].range_end = text(cases[i].range_end);
        set_union(&txn.compares[0], &cases[i]);
        Etcdserverpb__TxnResponse *response = run_txn(rig, &txn, 4);
        if (response->succeeded != cases[i].expected) {
            fail_msg("compare %zu", i);
        }
        etcdserverpb__txn_response__free_unpacked(response, NULL);
    }
    rig_destroy(&rig);
}

static void a_refused_transaction_changes_nothing(void **state)
{
    (void)state;
    rig_t *rig = rig_new(1000);
    put(rig, "a", "1"); /* 2 */
    put(rig, "a", "2"); /* 3 */
    Etcdserverpb__CompactionRequest compaction = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    compaction.revision = 3;
    add_request(rig, COMPACTION, &compaction.base);
    expect(rig, API_NONE, 3);
    struct {
        int64_t revision, lease;
        bool ignore_value;
        api_error_t error;
    } cases[] = {
        {4, 0, false, API_FUTURE_REVISION}, {2, 0, false, API_COMPACTED},
        {-5, 0, false, API_COMPACTED},      {0, 9, false, API_LEASE_NOT_FOUND},
        {3, 0, true, API_KEY_NOT_FOUND},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        txn_t inner;
        txn_init(&inner, 0, 2, 0);
        Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
        range.key = text("a");
        range.revision = cases[i].revision;
        Etcdserverpb__PutRequest puts[2] = {put_of("new", "1"), put_of("other", "")};
        puts[1].lease = cases[i].lease;
        puts[1].ignore_value = cases[i].ignore_value;
        op_range(&inner.ops[0], &range);
        op_put(&inner.ops[1], &puts[1]);
        txn_t txn;
        txn_init(&txn, 0, 2, 0);
        op_put(&txn.ops[0], &puts[0]);
        op_txn(&txn.ops[1], &inner.request);
        add_request(rig, TXN, &txn.request.base);
        expect(rig, cases[i].error, 0);
        assert_false(exists(rig, "new"));
    }
    assert_int_equal(put(rig, "a", "3").revision, 4);
    rig_destroy(&rig);
}

/* ---- leases ---- */

static result_t grant(rig_t *rig, int64_t id, int64_t ttl_s)
{
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    request.id = id;
    request.ttl = ttl_s;
    add_request(rig, LEASE_GRANT, &request.base);
    return result_of(rig);
}

static void leases_are_granted_once_and_revoked_in_one_revision(void **state)
{
    (void)state;
    rig_t *rig = rig_new(1000);
    result_t result = grant(rig, -7, 10);
    assert_true(slice_equal(bytes_slice(result.body),
                            slice("\x10\xf9\xff\xff\xff\xff\xff\xff\xff\xff\1\x18\x0a", 13)));
    bytes_unref(&result.body);
    assert_int_equal(grant(rig, -7, 10).error, API_LEASE_EXISTS);
    assert_int_equal(grant(rig, 8, LIMIT_LEASE_TTL_S + 1).error, API_LEASE_TTL_TOO_LARGE);
    for (int i = 0; i < 3; i++) {
        Etcdserverpb__PutRequest request = put_of(i == 0 ? "c" : i == 1 ? "a" : "b", "x");
        request.lease = -7;
        add_request(rig, PUT, &request.base);
        expect(rig, API_NONE, 2 + i);
    }
    put(rig, "b", "detached"); /* 5 */
    Etcdserverpb__LeaseRevokeRequest revoke = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    revoke.id = -7;
    add_request(rig, LEASE_REVOKE, &revoke.base);
    send(rig);
    msg_t *msg = core_test_expect(&rig->test, ACTOR_WATCH, MSG_EVENTS);
    assert_int_equal(msg->u.events.count, 2);
    assert_true(slice_equal(msg->u.events.items[0].key, slice_str("a")));
    assert_true(slice_equal(msg->u.events.items[1].key, slice_str("c")));
    assert_int_equal(msg->u.events.items[0].revision, 6);
    assert_int_equal(msg->u.events.items[1].revision, 6);
    assert_true(slice_equal(bytes_slice(msg->u.events.items[0].kv), slice("\n\1a\x18\6", 5)));
    msg_free(&msg);
    msg = core_test_expect(&rig->test, ACTOR_LEASE, MSG_LEASE_APPLIED);
    assert_int_equal(msg->u.lease_applied.count, 1);
    assert_int_equal(msg->u.lease_applied.items[0].type, LEASE_REVOKED);
    assert_int_equal(msg->u.lease_applied.items[0].id, -7);
    msg_free(&msg);
    drain(rig);
    add_request(rig, LEASE_REVOKE, &revoke.base);
    expect(rig, API_LEASE_NOT_FOUND, 0);
    rig_destroy(&rig);
}

/* ---- members ---- */

static Quoral__Configuration *members_of(rig_t *rig)
{
    kv_value_t value = {0};
    assert_int_equal(mvcc_meta_get(kv_latest(kv_of(rig)), "members", &value), 0);
    Quoral__Configuration *members = quoral__configuration__unpack(NULL, value.len, value.data);
    kv_value_deinit(&value);
    assert_non_null(members);
    return members;
}

static bytes_t *configuration(size_t count)
{
    Quoral__ConfigurationMember items[3];
    Quoral__ConfigurationMember *list[3];
    for (size_t i = 0; i < count; i++) {
        items[i] = (Quoral__ConfigurationMember)QUORAL__CONFIGURATION_MEMBER__INIT;
        items[i].id = i + 1;
        list[i] = &items[i];
    }
    Quoral__Configuration all = QUORAL__CONFIGURATION__INIT;
    all.members = list;
    all.n_members = count;
    uint8_t *room = NULL;
    bytes_t *bytes = bytes_alloc(quoral__configuration__get_packed_size(&all), &room);
    quoral__configuration__pack(&all, room);
    return bytes;
}

static void members_keep_what_they_have_published(void **state)
{
    (void)state;
    rig_t *rig = xcalloc(1, sizeof *rig);
    rig->store = shared_new(kv_memory_new(), close_store);
    bytes_t *one = configuration(1);
    bytes_t *three = configuration(3);
    start(rig, 0, 1000, one);
    core_test_flush(&rig->test);
    drain(rig);
    /* member 1 publishes name "n" and URL "u"; member 9 does not exist */
    add_request_of(rig, ORIGIN, ATTR_SET, slice("\x08\1\x12\6\n\1n\x12\1u", 10));
    add_request_of(rig, ORIGIN, ATTR_SET, slice("\x08\x09\x12\3\n\1x", 7));
    add_request_of(rig, ORIGIN, VERSION_SET,
                   slice("\n\x05"
                         "3.7.0",
                         7));
    add_entry(rig, ENTRY_CONFIGURATION, bytes_slice(three));
    send(rig);
    drain(rig);
    Quoral__Configuration *members = members_of(rig);
    assert_int_equal(members->n_members, 3);
    assert_string_equal(members->members[0]->name, "n");
    assert_int_equal(members->members[0]->n_client_urls, 1);
    assert_string_equal(members->members[0]->client_urls[0], "u");
    assert_string_equal(members->members[1]->name, "");
    quoral__configuration__free_unpacked(members, NULL);
    kv_value_t version = {0};
    assert_int_equal(mvcc_meta_get(kv_latest(kv_of(rig)), "cluster_version", &version), 0);
    assert_true(slice_equal(kv_value_slice(&version), slice_str("3.7.0")));
    kv_value_deinit(&version);
    bytes_unref(&one);
    bytes_unref(&three);
    rig_destroy(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fresh_store_is_announced_at_once),
        cmocka_unit_test(a_span_is_told_in_order),
        cmocka_unit_test(without_room_at_watch_it_holds),
        cmocka_unit_test(every_so_many_entries_the_keeper_is_asked_to_flush),
        cmocka_unit_test(a_restart_replays_in_silence),
        cmocka_unit_test(what_cannot_be_applied_is_fatal),
        cmocka_unit_test(put_answers_the_previous_kv_only_when_asked),
        cmocka_unit_test(a_refused_put_changes_nothing),
        cmocka_unit_test(delete_answers_count_and_previous_kvs),
        cmocka_unit_test(compaction_answers),
        cmocka_unit_test(physical_compaction_is_answered_when_it_is_done),
        cmocka_unit_test(operations_see_those_before_and_share_a_revision),
        cmocka_unit_test(nested_compares_see_the_state_before),
        cmocka_unit_test(compares),
        cmocka_unit_test(a_refused_transaction_changes_nothing),
        cmocka_unit_test(leases_are_granted_once_and_revoked_in_one_revision),
        cmocka_unit_test(members_keep_what_they_have_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
