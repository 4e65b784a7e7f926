/* api_native: snapshots of what a subscription covers, and repairs from history, page by page; stores that
 * are behind, compacted, or another cluster's. And that the ordinal of an event in its revision, which
 * the publisher counts, is its place in the store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <native.pb-c.h>
#include <stdio.h>
#include <stdlib.h>

#include "messages/native_event.h"
#include "messages/xalloc.h"
#include "tests/support/api_rig.h"
#include "tests/support/virtual_node.h"

#define SNAPSHOT_TYPE &quoral__snapshot_response__descriptor
#define EVENTS_TYPE   &quoral__events_response__descriptor

static int setup(void **state)
{
    *state = api_rig_new_ready();
    return 0;
}

static int teardown(void **state)
{
    api_rig_t *rig = *state;
    api_rig_free(&rig);
    return 0;
}

static ProtobufCBinaryData octets(const char *data, size_t len)
{
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)data, .len = len};
}
#define OCTETS(literal) octets(literal, sizeof(literal) - 1)

static Quoral__SnapshotRequest snapshot_of(ProtobufCBinaryData subscription)
{
    Quoral__SnapshotRequest request = QUORAL__SNAPSHOT_REQUEST__INIT;
    request.subscription = subscription;
    return request;
}

static uint64_t snapshot(api_rig_t *rig, const Quoral__SnapshotRequest *request)
{
    uint64_t call = api_rig_unary(rig, METHOD_NATIVE_SNAPSHOT, request);
    api_rig_serve(rig);
    return call;
}

/* A snapshot in one page, with these keys. */
static void expect_snapshot(api_rig_t *rig, uint64_t call, int64_t revision, const char *keys)
{
    Quoral__SnapshotResponse *got = api_rig_expect_answer(rig, call, SNAPSHOT_TYPE);
    api_rig_expect_header(got->header, revision);
    char text[200] = "";
    for (size_t i = 0; i < got->n_kvs; i++) {
        size_t len = strlen(text);
        snprintf(text + len, sizeof text - len, "%s%.*s", i ? " " : "", (int)got->kvs[i]->key.len,
                 (const char *)got->kvs[i]->key.data);
    }
    assert_string_equal(text, keys);
    assert_int_equal(got->count, got->n_kvs);
    assert_false(got->more);
    api_rig_free_message(got);
}

static void a_snapshot_holds_what_the_subscription_covers(void **state)
{
    api_rig_t *rig = *state;
    static const char *const keys[] = {"a", "aa", "ab", "b", "\xff"};
    for (size_t i = 0; i < 5; i++) {
        api_rig_put(rig, keys[i], "v");
    }
    static const struct {
        const char *subscription;
        size_t len;
        const char *keys;
    } cases[] = {{"E", 1, "a aa ab b \xff"}, {"Ea", 2, "a aa ab"},     {"Ea\x00\x01", 4, "a"},
                 {"E\xff", 2, "\xff"},       {"Pab\x00\x01", 5, "ab"}, {"Ec", 2, ""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Quoral__SnapshotRequest request = snapshot_of(octets(cases[i].subscription, cases[i].len));
        request.cluster_id = i % 2 ? RIG_CLUSTER_ID : 0;
        expect_snapshot(rig, snapshot(rig, &request), 6, cases[i].keys);
    }
    assert_int_equal(metrics_get(&rig->metrics, METRIC_NATIVE_SNAPSHOTS), 6);
}

/* Pages of a revision, whatever is written between them; a client that takes nothing pins nothing. */
static void a_large_snapshot_comes_in_pages_of_one_revision(void **state)
{
    api_rig_t *rig = *state;
    enum { VALUE = 65536, KEYS = 100 };
    char *value = xcalloc(1, VALUE + 1);
    memset(value, 'v', VALUE);
    for (int i = 0; i < KEYS; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%06d", i);
        api_rig_put(rig, key, value);
    }
    free(value);
    Quoral__SnapshotRequest request = snapshot_of(OCTETS("Ek"));
    uint64_t call = snapshot(rig, &request);
    assert_false(api_rig_call(rig, call)->finished);
    api_rig_put(rig, "k", "new");
    api_rig_delete(rig, "k000099");
    api_rig_turn(rig);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_OPEN_READS), 0);
    size_t keys = 0;
    size_t pages = 0;
    for (bool more = true; more;) {
        const rig_call_t *got = api_rig_call(rig, call);
        while (got->seen < got->count) {
            assert_true(more);
            Quoral__SnapshotResponse *page = api_rig_next(rig, call, SNAPSHOT_TYPE);
            api_rig_expect_header(page->header, KEYS + 1);
            keys += page->n_kvs;
            more = page->more;
            assert_int_equal(page->count, more ? 0 : KEYS);
            api_rig_free_message(page);
            pages++;
        }
        api_call_sent(rig->api, call, 8 << 20);
        api_rig_serve(rig);
    }
    assert_true(api_rig_call(rig, call)->finished);
    assert_int_equal(keys, KEYS);
    assert_true(pages > 3);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_NATIVE_SNAPSHOTS), 1);
}

static void snapshots_are_linearizable_unless_asked_otherwise(void **state)
{
    api_rig_t *rig = *state;
    api_rig_put(rig, "a", "v");
    Quoral__SnapshotRequest request = snapshot_of(OCTETS("E"));
    request.min_revision = 50; /* below this the answer proves that the cluster was restored */
    uint64_t call = api_rig_unary(rig, METHOD_NATIVE_SNAPSHOT, &request);
    api_rig_expect_open(rig, call);
    api_rig_serve(rig); /* answers the READ */
    expect_snapshot(rig, call, 2, "a");
    request.serializable = true;
    request.min_revision = 2;
    call = api_rig_unary(rig, METHOD_NATIVE_SNAPSHOT, &request);
    core_test_expect_nothing(&rig->core);
    api_rig_serve(rig);
    expect_snapshot(rig, call, 2, "a");
}

static void a_store_that_is_behind_may_catch_up(void **state)
{
    api_rig_t *rig = *state;
    Quoral__SnapshotRequest request = snapshot_of(OCTETS("E"));
    request.serializable = true;
    uint64_t calls[3];
    for (int i = 0; i < 3; i++) {
        request.min_revision = 4 - i;
        calls[i] = snapshot(rig, &request);
        api_rig_expect_open(rig, calls[i]);
    }
    api_rig_put(rig, "a", "v");
    api_rig_serve(rig);
    expect_snapshot(rig, calls[2], 2, "a");
    api_rig_put(rig, "b", "v");
    api_rig_serve(rig);
    expect_snapshot(rig, calls[1], 3, "a b");
    api_rig_expect_open(rig, calls[0]);
    rig->core.now_us += LIMIT_NATIVE_BEHIND_US - 1;
    api_rig_turn(rig);
    api_rig_expect_open(rig, calls[0]);
    rig->core.now_us++;
    api_rig_turn(rig);
    api_rig_expect_error(rig, calls[0], API_BEHIND);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_NATIVE_BEHIND), 1);
}

static void requests_that_cannot_be_are_refused(void **state)
{
    api_rig_t *rig = *state;
    rig->refused = "Efull";
    char *large = xcalloc(1, LIMIT_NATIVE_TOPIC_BYTES + 2);
    memset(large, 'E', LIMIT_NATIVE_TOPIC_BYTES + 1);
    const struct {
        ProtobufCBinaryData subscription;
        uint64_t cluster_id;
        api_error_t error;
        bool repair_too;
    } cases[] = {
        {OCTETS(""), 0, API_SUBSCRIPTION_MALFORMED, true},
        {OCTETS("a"), 0, API_SUBSCRIPTION_MALFORMED, true},
        {OCTETS("Ea\x00"), 0, API_SUBSCRIPTION_MALFORMED, true},
        {OCTETS("E"), 1, API_CLUSTER_ID_MISMATCH, true},
        {OCTETS("Efull"), 0, API_SUBSCRIPTION_REFUSED, false},
        {octets(large, LIMIT_NATIVE_TOPIC_BYTES + 1), 0, API_SUBSCRIPTION_REFUSED, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Quoral__SnapshotRequest request = snapshot_of(cases[i].subscription);
        request.cluster_id = cases[i].cluster_id;
        api_rig_expect_error(rig, snapshot(rig, &request), cases[i].error);
        Quoral__EventsRequest repair = QUORAL__EVENTS_REQUEST__INIT;
        repair.subscription = request.subscription;
        repair.cluster_id = request.cluster_id;
        uint64_t call = api_rig_unary(rig, METHOD_NATIVE_EVENTS, &repair);
        api_rig_serve(rig);
        if (cases[i].repair_too) {
            api_rig_expect_error(rig, call, cases[i].error);
        } else {
            assert_int_equal(api_rig_call(rig, call)->code, GRPC_OK);
        }
    }
    free(large);
    static const method_t methods[] = {METHOD_NATIVE_SNAPSHOT, METHOD_NATIVE_EVENTS};
    for (size_t i = 0; i < 2; i++) {
        uint64_t call = api_rig_begin(rig, methods[i]);
        api_rig_send_bytes(rig, call, "\x0a\x05z", 3);
        assert_int_equal(api_rig_call(rig, call)->code, GRPC_INTERNAL);
    }
    uint64_t call = api_rig_begin(rig, METHOD_NATIVE_EVENTS);
    api_rig_send_bytes(rig, call, "\x12\x01\x08", 3); /* a position that is cut off */
    assert_int_equal(api_rig_call(rig, call)->code, GRPC_INTERNAL);
}

/* ---- repairs ---- */

typedef struct {
    char text[2000]; /* "revision.sub key=value(previous)", deletions as "key-" */
    native_position_t complete;
    size_t pages;
    bool done;
} repair_t;

static uint64_t ask_events(api_rig_t *rig, ProtobufCBinaryData subscription,
                           native_position_t after, const native_position_t *through)
{
    Quoral__EventsRequest request = QUORAL__EVENTS_REQUEST__INIT;
    Quoral__Position from = QUORAL__POSITION__INIT;
    Quoral__Position to = QUORAL__POSITION__INIT;
    from.revision = after.revision;
    from.sub = after.sub;
    request.subscription = subscription;
    request.after = &from;
    if (through) {
        to.revision = through->revision;
        to.sub = through->sub;
        request.through = &to;
    }
    uint64_t call = api_rig_unary(rig, METHOD_NATIVE_EVENTS, &request);
    api_rig_serve(rig);
    return call;
}

static void add_event(repair_t *self, const Quoral__PositionedEvent *positioned)
{
    const Mvccpb__Event *event = positioned->event;
    size_t len = strlen(self->text);
    bool is_delete = event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE;
    assert_true(len + 60 < sizeof self->text);
    assert_int_equal(event->kv->mod_revision, positioned->position->revision);
    snprintf(self->text + len, sizeof self->text - len, "%s%d.%u %.*s%s%.*s", len ? " " : "",
             (int)positioned->position->revision, positioned->position->sub,
             (int)event->kv->key.len, (const char *)event->kv->key.data, is_delete ? "-" : "=",
             (int)event->kv->value.len, (const char *)event->kv->value.data);
    if (event->prev_kv) {
        len = strlen(self->text);
        snprintf(self->text + len, sizeof self->text - len, "(%.*s)",
                 (int)event->prev_kv->value.len, (const char *)event->prev_kv->value.data);
    }
}

static void take_pages(api_rig_t *rig, uint64_t call, repair_t *out)
{
    const rig_call_t *got = api_rig_call(rig, call);
    while (got->seen < got->count) {
        assert_false(out->done);
        Quoral__EventsResponse *page = api_rig_next(rig, call, EVENTS_TYPE);
        assert_non_null(page->header);
        for (size_t i = 0; i < page->n_events; i++) {
            add_event(out, page->events[i]);
        }
        out->pages++;
        out->done = !page->more;
        assert_int_equal(page->complete != NULL, out->done);
        if (out->done) {
            out->complete = (native_position_t){page->complete->revision, page->complete->sub};
        }
        api_rig_free_message(page);
    }
}

static void expect_repair(api_rig_t *rig, ProtobufCBinaryData subscription, native_position_t after,
                          const native_position_t *through, int64_t complete, const char *events)
{
    uint64_t call = ask_events(rig, subscription, after, through);
    repair_t got = {0};
    take_pages(rig, call, &got);
    assert_true(got.done && api_rig_call(rig, call)->finished);
    assert_int_equal(api_rig_call(rig, call)->code, GRPC_OK);
    assert_string_equal(got.text, events);
    assert_int_equal(got.complete.revision, complete);
    assert_int_equal(got.complete.sub, NATIVE_SUB_MAX);
}

/* Revision 2: a=1, 3: b=2, 4: a=3, 5: a deleted, 6: ab=4. */
static void write_history(api_rig_t *rig)
{
    api_rig_put(rig, "a", "1");
    api_rig_put(rig, "b", "2");
    api_rig_put(rig, "a", "3");
    api_rig_delete(rig, "a");
    api_rig_put(rig, "ab", "4");
}

static void a_repair_brings_what_lies_between_two_positions(void **state)
{
    api_rig_t *rig = *state;
    write_history(rig);
    static const native_position_t through = {5, 0};
    static const native_position_t start = {0, 0};
    static const native_position_t middle = {2, 0};
    static const native_position_t end = {2, NATIVE_SUB_MAX};
    static const native_position_t early = {1, 0};
    expect_repair(rig, OCTETS("E"), start, NULL, 6, "2.0 a=1 3.0 b=2 4.0 a=3 5.0 a- 6.0 ab=4");
    expect_repair(rig, OCTETS("Ea"), start, &through, 5, "2.0 a=1 4.0 a=3 5.0 a-");
    expect_repair(rig, OCTETS("Pa"), middle, &through, 5, "4.0 a=3(1) 5.0 a-(3)");
    expect_repair(rig, OCTETS("Pa"), end, &through, 5, "4.0 a=3(1) 5.0 a-(3)");
    expect_repair(rig, OCTETS("Ea\x00\x01"), end, NULL, 6, "4.0 a=3 5.0 a-");
    expect_repair(rig, OCTETS("Eb"), through, NULL, 6, "");
    expect_repair(rig, OCTETS("E"), through, &early, 1, ""); /* nothing to tell */
    assert_int_equal(metrics_get(&rig->metrics, METRIC_NATIVE_REPAIRS), 7);
}

static void positions_that_no_store_has_do_no_harm(void **state)
{
    api_rig_t *rig = *state;
    write_history(rig);
    static const native_position_t high = {INT64_MAX, NATIVE_SUB_MAX};
    static const native_position_t low = {INT64_MIN, 0};
    expect_repair(rig, OCTETS("E"), high, NULL, 6, "");
    expect_repair(rig, OCTETS("E"), low, &low, 0, "");
    uint64_t call = ask_events(rig, OCTETS("E"), low, &high);
    api_rig_expect_open(rig, call); /* the store may get there */
    rig->core.now_us += LIMIT_NATIVE_BEHIND_US;
    api_rig_turn(rig);
    api_rig_expect_error(rig, call, API_BEHIND);
}

static void a_repair_waits_for_a_store_that_is_behind(void **state)
{
    api_rig_t *rig = *state;
    static const native_position_t through = {3, 0};
    uint64_t call = ask_events(rig, OCTETS("E"), (native_position_t){0, 0}, &through);
    api_rig_put(rig, "a", "1");
    api_rig_serve(rig);
    api_rig_expect_open(rig, call);
    api_rig_put(rig, "b", "2");
    api_rig_put(rig, "c", "3");
    api_rig_serve(rig);
    repair_t got = {0};
    take_pages(rig, call, &got);
    assert_string_equal(got.text, "2.0 a=1 3.0 b=2");
}

static void what_is_compacted_cannot_be_repaired(void **state)
{
    api_rig_t *rig = *state;
    write_history(rig);
    api_rig_compact(rig, 4);
    static const native_position_t before = {2, NATIVE_SUB_MAX};
    static const native_position_t at = {3, NATIVE_SUB_MAX};
    api_rig_expect_error(rig, ask_events(rig, OCTETS("E"), before, NULL), API_COMPACTED);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_NATIVE_REPAIRS_COMPACTED), 1);
    expect_repair(rig, OCTETS("P"), at, NULL, 6, "4.0 a=3 5.0 a-(3) 6.0 ab=4");
}

static void a_large_repair_comes_in_pages_as_its_client_reads(void **state)
{
    api_rig_t *rig = *state;
    enum { VALUE = 400000, KEYS = 20 };
    char *value = xcalloc(1, VALUE + 1);
    memset(value, 'v', VALUE);
    for (int i = 0; i < KEYS; i++) {
        api_rig_put(rig, i == 10 ? "other" : "k", value);
    }
    free(value);
    uint64_t call = ask_events(rig, OCTETS("Ek"), (native_position_t){0, 0}, NULL);
    const rig_call_t *got = api_rig_call(rig, call);
    assert_false(got->finished);
    assert_int_equal(got->count, 1);
    api_rig_put(rig, "k", "too late");
    size_t events = 0;
    for (bool more = true; more;) {
        Quoral__EventsResponse *page = api_rig_next(rig, call, EVENTS_TYPE);
        assert_true(bytes_len(got->messages[got->seen - 1]) < LIMIT_REQUEST_BYTES + 200);
        assert_true(page->n_events <= 3);
        events += page->n_events;
        more = page->more;
        api_rig_free_message(page);
        api_call_sent(rig->api, call, 8 << 20);
        api_rig_serve(rig);
    }
    assert_int_equal(events, KEYS - 1);
    assert_true(got->finished);

    call = ask_events(rig, OCTETS("Ek"), (native_position_t){0, 0}, NULL);
    api_rig_compact(rig, KEYS);
    api_call_sent(rig->api, call, 8 << 20);
    api_rig_serve(rig);
    api_rig_expect_error(rig, call, API_COMPACTED); /* it has overtaken the client */
}

/* ---- places ---- */

typedef struct {
    buf_t events; /* of the watch, one after the other */
    repair_t repair;
    uint64_t watch; /* the call, once it has been answered */
    bool is_watching, is_repairing;
} node_t;

static void on_node_answer(void *context, uint64_t call, slice_t message)
{
    node_t *self = context;
    self->watch = self->is_watching && !self->watch ? call : self->watch;
    if (call == self->watch) {
        Etcdserverpb__WatchResponse *response =
            etcdserverpb__watch_response__unpack(NULL, message.len, message.data);
        for (size_t i = 0; i < response->n_events; i++) {
            const Mvccpb__KeyValue *kv = response->events[i]->kv;
            char text[100];
            int len = snprintf(text, sizeof text, "%d %.*s\n", (int)kv->mod_revision,
                               (int)kv->key.len, (const char *)kv->key.data);
            buf_append(&self->events, text, (size_t)len);
        }
        etcdserverpb__watch_response__free_unpacked(response, NULL);
    } else if (self->is_repairing) {
        Quoral__EventsResponse *page =
            quoral__events_response__unpack(NULL, message.len, message.data);
        for (size_t i = 0; i < page->n_events; i++) {
            char text[100];
            const Mvccpb__KeyValue *kv = page->events[i]->event->kv;
            int len = snprintf(text, sizeof text, "%d.%u %.*s\n", (int)kv->mod_revision,
                               page->events[i]->position->sub, (int)kv->key.len,
                               (const char *)kv->key.data);
            assert_true((size_t)len < sizeof self->repair.text - strlen(self->repair.text));
            memcpy(self->repair.text + strlen(self->repair.text), text, (size_t)len + 1);
        }
        quoral__events_response__free_unpacked(page, NULL);
    }
}

static void on_node_end(void *context, uint64_t call, grpc_code_t code, const char *text)
{
    (void)context;
    (void)call;
    assert_string_equal(text, "");
    assert_int_equal(code, GRPC_OK);
}

static void on_trace(void *context, const char *line)
{
    (void)context;
    (void)line;
}

static uint64_t node_call(virtual_node_t *node, method_t method, const void *message)
{
    uint8_t packed[1000];
    assert_true(protobuf_c_message_get_packed_size(message) <= sizeof packed);
    size_t len = protobuf_c_message_pack(message, packed);
    return virtual_node_call(node, method, slice(packed, len), method == METHOD_WATCH);
}

static void node_put(virtual_node_t *node, const char *key, int64_t lease)
{
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = rig_text(key);
    put.lease = lease;
    node_call(node, METHOD_PUT, &put);
}

static void node_txn(virtual_node_t *node)
{
    Etcdserverpb__DeleteRangeRequest deletion = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    Etcdserverpb__PutRequest puts[2] = {ETCDSERVERPB__PUT_REQUEST__INIT,
                                        ETCDSERVERPB__PUT_REQUEST__INIT};
    Etcdserverpb__RequestOp ops[4];
    Etcdserverpb__RequestOp *pointers[] = {&ops[0], &ops[1], &ops[2]};
    Etcdserverpb__RequestOp *nested_pointers[] = {&ops[3]};
    for (int i = 0; i < 4; i++) {
        etcdserverpb__request_op__init(&ops[i]);
    }
    puts[0].key = rig_text("z");
    puts[1].key = rig_text("a");
    deletion.key = rig_text("k");
    deletion.range_end = rig_text("l");
    Etcdserverpb__TxnRequest nested = ETCDSERVERPB__TXN_REQUEST__INIT;
    nested.n_success = 1;
    nested.success = nested_pointers;
    ops[0].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    ops[0].request_put = &puts[0];
    ops[1].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    ops[1].request_delete_range = &deletion;
    ops[2].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
    ops[2].request_txn = &nested;
    ops[3].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    ops[3].request_put = &puts[1];
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    txn.n_success = 3;
    txn.success = pointers;
    node_call(node, METHOD_TXN, &txn);
}

/* Puts, a range deletion, a transaction of everything, and a lease revoked with its keys. */
static void write_everything(virtual_node_t *node)
{
    static const char *const keys[] = {"k3", "k1", "k2", "m1", "m2"};
    Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    grant.id = 7;
    grant.ttl = 1000;
    node_call(node, METHOD_LEASE_GRANT, &grant);
    for (size_t i = 0; i < 5; i++) {
        node_put(node, keys[i], keys[i][0] == 'm' ? 7 : 0);
    }
    node_txn(node);
    node_put(node, "k9", 7);
    node_put(node, "k5", 0);
    Etcdserverpb__DeleteRangeRequest deletion = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    deletion.key = rig_text("a");
    deletion.range_end = rig_text("k6");
    node_call(node, METHOD_DELETE_RANGE, &deletion);
    Etcdserverpb__LeaseRevokeRequest revoke = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    revoke.id = 7;
    node_call(node, METHOD_LEASE_REVOKE, &revoke);
}

/* The watch's events with their ordinals. */
static void number_events(buf_t *events, char *out, size_t size)
{
    buf_byte(events, 0);
    int last = 0;
    unsigned sub = 0;
    out[0] = 0;
    for (char *line = (char *)events->data; *line;) {
        char *end = strchr(line, '\n');
        int revision = (int)strtol(line, &line, 10);
        sub = revision == last ? sub + 1 : 0;
        last = revision;
        size_t len = strlen(out);
        snprintf(out + len, size - len, "%d.%u %.*s\n", revision, sub, (int)(end - line - 1),
                 line + 1);
        line = end + 1;
    }
}

static void the_ordinal_of_an_event_is_its_place(void **state)
{
    (void)state;
    for (int from_history = 0; from_history < 2; from_history++) {
        node_t self = {0};
        virtual_node_hooks_t hooks = {
            .context = &self, .trace = on_trace, .answer = on_node_answer, .end = on_node_end};
        virtual_node_t *node = virtual_node_new(&hooks, 1);
        virtual_node_start(node);
        Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
        create.key = OCTETS("\0");
        create.range_end = OCTETS("\0");
        create.start_revision = from_history ? 1 : 0;
        Etcdserverpb__WatchRequest watch = ETCDSERVERPB__WATCH_REQUEST__INIT;
        watch.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
        watch.create_request = &create;
        if (from_history) {
            write_everything(node);
        }
        self.is_watching = true;
        uint64_t call = node_call(node, METHOD_WATCH, &watch);
        assert_true(call == self.watch);
        if (!from_history) {
            write_everything(node);
        }
        Quoral__EventsRequest request = QUORAL__EVENTS_REQUEST__INIT;
        request.subscription = OCTETS("E");
        self.is_repairing = true;
        node_call(node, METHOD_NATIVE_EVENTS, &request);
        char numbered[2000];
        number_events(&self.events, numbered, sizeof numbered);
        assert_string_equal(numbered, self.repair.text);
        assert_non_null(strstr(numbered, "7.0 z\n7.1 k1\n7.2 k2\n7.3 k3\n7.4 a\n"));
        assert_non_null(strstr(numbered, "10.0 a\n10.1 k5\n"));
        assert_non_null(strstr(numbered, "11.0 k9\n11.1 m1\n11.2 m2\n"));
        buf_deinit(&self.events);
        virtual_node_destroy(&node);
    }
}

#define RIG_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(a_snapshot_holds_what_the_subscription_covers),
        RIG_TEST(a_large_snapshot_comes_in_pages_of_one_revision),
        RIG_TEST(snapshots_are_linearizable_unless_asked_otherwise),
        RIG_TEST(a_store_that_is_behind_may_catch_up),
        RIG_TEST(requests_that_cannot_be_are_refused),
        RIG_TEST(a_repair_brings_what_lies_between_two_positions),
        RIG_TEST(positions_that_no_store_has_do_no_harm),
        RIG_TEST(a_repair_waits_for_a_store_that_is_behind),
        RIG_TEST(what_is_compacted_cannot_be_repaired),
        RIG_TEST(a_large_repair_comes_in_pages_as_its_client_reads),
        cmocka_unit_test(the_ordinal_of_an_event_is_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
