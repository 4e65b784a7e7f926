/* api, watch streams: ids, refusals, the order of answers, what each item of the watch actor looks
 * like to the client, and flow control. The watch actor is played by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "messages/buf.h"
#include "messages/limits.h"
#include "messages/xalloc.h"
#include "tests/support/api_rig.h"

typedef Etcdserverpb__WatchResponse response_t;

static int setup(void **state)
{
    *state = api_rig_new_ready();
    return 0;
}

static int teardown(void **state)
{
    api_rig_free((api_rig_t **)state);
    return 0;
}

static Etcdserverpb__WatchCreateRequest create_of(const char *key, const char *end)
{
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    create.key = rig_text(key);
    if (end) {
        create.range_end = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)end,
                                                 .len = end[0] ? strlen(end) : 1};
    }
    return create;
}

static void send_create(api_rig_t *rig, uint64_t call, Etcdserverpb__WatchCreateRequest *create)
{
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = create;
    api_rig_send(rig, call, &request);
}

static void send_cancel(api_rig_t *rig, uint64_t call, int64_t id)
{
    Etcdserverpb__WatchCancelRequest cancel = ETCDSERVERPB__WATCH_CANCEL_REQUEST__INIT;
    cancel.watch_id = id;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST;
    request.cancel_request = &cancel;
    api_rig_send(rig, call, &request);
}

static void send_progress(api_rig_t *rig, uint64_t call)
{
    Etcdserverpb__WatchProgressRequest progress = ETCDSERVERPB__WATCH_PROGRESS_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST;
    request.progress_request = &progress;
    api_rig_send(rig, call, &request);
}

static msg_t *expect(api_rig_t *rig, msg_kind_t kind)
{
    return core_test_expect(&rig->core, ACTOR_WATCH, kind);
}

static void item(api_rig_t *rig, watch_item_type_t type, uint64_t call, int64_t id,
                 int64_t revision, slice_t events)
{
    msg_t *msg = msg_new(MSG_WATCH_OUT);
    msg->u.watch_out.count = 1;
    msg->u.watch_out.items = xcalloc(1, sizeof(watch_item_t));
    msg->u.watch_out.items[0] =
        (watch_item_t){.type = type,
                       .stream = call,
                       .watch_id = id,
                       .revision = revision,
                       .events = events.len ? bytes_new(events.data, events.len) : NULL};
    core_test_send(&rig->core, ACTOR_WATCH, &msg);
}

static response_t *next(api_rig_t *rig, uint64_t call)
{
    return api_rig_next(rig, call, &etcdserverpb__watch_response__descriptor);
}

/* The next response is this one, without events. */
static void expect_response(api_rig_t *rig, uint64_t call, int64_t id, int64_t revision,
                            bool created, bool canceled, const char *reason)
{
    response_t *got = next(rig, call);
    api_rig_expect_header(got->header, revision);
    assert_int_equal(got->watch_id, id);
    assert_int_equal(got->created, created);
    assert_int_equal(got->canceled, canceled);
    assert_string_equal(got->cancel_reason, reason);
    assert_int_equal(got->n_events, 0);
    api_rig_free_message(got);
}

/* A watcher, created on both sides. */
static void watch(api_rig_t *rig, uint64_t call, int64_t id, bool fragment)
{
    Etcdserverpb__WatchCreateRequest create = create_of("a", NULL);
    create.watch_id = id;
    create.fragment = fragment;
    send_create(rig, call, &create);
    api_rig_turn(rig);
    msg_t *msg = expect(rig, MSG_WATCH_CREATE);
    item(rig, WATCH_ITEM_CREATED, call, msg->u.watch_create.watch_id, 1, slice(NULL, 0));
    api_rig_free_message(next(rig, call));
    msg_free(&msg);
}

/* ---- creating ---- */

static void a_create_goes_to_the_watch_actor(void **state)
{
    api_rig_t *rig = *state;
    api_rig_put(rig, "x", "1");
    uint64_t call = api_rig_begin(rig, METHOD_WATCH);
    Etcdserverpb__WatchCreateRequest create = create_of("a", "b");
    Etcdserverpb__WatchCreateRequest__FilterType filters[] = {
        ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NODELETE,
        (Etcdserverpb__WatchCreateRequest__FilterType)99};
    create.filters = filters;
    create.n_filters = 2;
    create.prev_kv = true;
    create.progress_notify = true;
    create.start_revision = 7;
    send_create(rig, call, &create);
    core_test_expect_nothing(&rig->core);
    api_rig_turn(rig);
    msg_t *msg = expect(rig, MSG_WATCH_CREATE);
    const msg_watch_create_t *sent = &msg->u.watch_create;
    assert_int_equal(sent->stream, call);
    assert_int_equal(sent->watch_id, 0);
    assert_int_equal(sent->start_revision, 7);
    assert_int_equal(sent->head_revision, 2);
    assert_int_equal(sent->flags, WATCH_NO_DELETE | WATCH_PREV_KV | WATCH_NOTIFY);
    assert_true(slice_equal(bytes_slice(sent->key), slice_str("a")));
    assert_true(slice_equal(bytes_slice(sent->range_end), slice_str("b")));
    api_rig_expect_open(rig, call); /* the watch actor says when */
    item(rig, WATCH_ITEM_CREATED, call, 0, 2, slice(NULL, 0));
    expect_response(rig, call, 0, 2, true, false, "");
    msg_free(&msg);
}

static void an_empty_key_is_the_first_one(void **state)
{
    api_rig_t *rig = *state;
    uint64_t call = api_rig_begin(rig, METHOD_WATCH);
    Etcdserverpb__WatchCreateRequest create = create_of("", "");
    send_create(rig, call, &create);
    api_rig_turn(rig);
    msg_t *msg = expect(rig, MSG_WATCH_CREATE);
    assert_true(slice_equal(bytes_slice(msg->u.watch_create.key), slice("\0", 1)));
    assert_true(slice_equal(bytes_slice(msg->u.watch_create.range_end), slice("\0", 1)));
    msg_free(&msg);
}

static void ids_are_picked_around_those_in_use(void **state)
{
    api_rig_t *rig = *state;
    uint64_t call = api_rig_begin(rig, METHOD_WATCH);
    static const struct {
        int64_t wanted, got;
    } cases[] = {{0, 0}, {1, 1}, {0, 2}, {4, 4}, {0, 3}, {0, 5}, {-7, -7}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Etcdserverpb__WatchCreateRequest create = create_of("a", NULL);
        create.watch_id = cases[i].wanted;
        send_create(rig, call, &create);
        api_rig_turn(rig);
        msg_t *msg = expect(rig, MSG_WATCH_CREATE);
        assert_int_equal(msg->u.watch_create.watch_id, cases[i].got);
        msg_free(&msg);
    }
    /* Each stream has its own. */
    uint64_t other = api_rig_begin(rig, METHOD_WATCH);
    Etcdserverpb__WatchCreateRequest create = create_of("a", NULL);
    send_create(rig, other, &create);
    api_rig_turn(rig);
    msg_t *msg = expect(rig, MSG_WATCH_CREATE);
    assert_int_equal(msg->u.watch_create.watch_id, 0);
    msg_free(&msg);
}

static void what_cannot_be_watched_is_created_and_canceled(void **state)
{
    api_rig_t *rig = *state;
    api_rig_put(rig, "x", "1");
    uint64_t call = api_rig_begin(rig, METHOD_WATCH);
    watch(rig, call, 5, false);
    static const struct {
        const char *key, *end;
        int64_t start, id;
        const char *reason;
    } cases[] = {
        {"b", "a", 0, 0, "mvcc: watcher range is empty"},
        {"a", "a", 0, 0, "mvcc: watcher range is empty"},
        {"a", NULL, -1, 0, "etcdserver: mvcc: required revision has been compacted"},
        {"a", NULL, 0, 5, "mvcc: duplicate watch ID provided on the WatchStream"},
        {"b", "a", -1, 5, "etcdserver: mvcc: required revision has been compacted"},
        {"b", "a", 0, 5, "mvcc: watcher range is empty"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Etcdserverpb__WatchCreateRequest create = create_of(cases[i].key, cases[i].end);
        create.start_revision = cases[i].start;
        create.watch_id = cases[i].id;
        send_create(rig, call, &create);
        expect_response(rig, call, -1, 2, true, true, cases[i].reason);
    }
    api_rig_turn(rig);
    core_test_expect_nothing(&rig->core);
    api_rig_expect_open(rig, call);
}

/* Clients match created answers to their requests by order. */
static void created_answers_keep_the_order_of_requests(void **state)
{
    api_rig_t *rig = *state;
    uint64_t call = api_rig_begin(rig, METHOD_WATCH);
    Etcdserverpb__WatchCreateRequest good = create_of("a", NULL);
    Etcdserverpb__WatchCreateRequest bad = create_of("b", "a");
    send_create(rig, call, &good);
    send_create(rig, call, &bad);
    send_create(rig, call, &good);
    send_create(rig, call, &bad);
    api_rig_turn(rig);
    api_rig_expect_open(rig, call);
    item(rig, WATCH_ITEM_CREATED, call, 0, 1, slice(NULL, 0));
    expect_response(rig, call, 0, 1, true, false, "");
    expect_response(rig, call, -1, 1, true, true, "mvcc: watcher range is empty");
    api_rig_expect_open(rig, call);
    item(rig, WATCH_ITEM_CREATED, call, 1, 1, slice(NULL, 0));
    expect_response(rig, call, 1, 1, true, false, "");
    expect_response(rig, call, -1, 1, true, true, "mvcc: watcher range is empty");
    for (int i = 0; i < 2; i++) {
        msg_t *msg = expect(rig, MSG_WATCH_CREATE);
        msg_free(&msg);
    }
}

/* "From now" must not be earlier than what a client has seen: not before the store is known. */
static void creates_wait_for_the_store(void **state)
{
    (void)state;
    api_rig_t *rig = api_rig_new(NULL);
    uint64_t call = api_rig_begin(rig, METHOD_WATCH);
    Etcdserverpb__WatchCreateRequest create = create_of("a", NULL);
    send_create(rig, call, &create);
    api_rig_turn(rig);
    core_test_expect_nothing(&rig->core);
    api_rig_put(rig, "x", "1");
    api_rig_restored(rig);
    api_rig_turn(rig);
    msg_t *msg = expect(rig, MSG_WATCH_CREATE);
    assert_int_equal(msg->u.watch_create.head_revision, 2);
    msg_free(&msg);
    api_rig_free(&rig);
}

/* ---- what comes ---- */

static void events_are_passed_on(void **state)
{
    api_rig_t *rig = *state;
    uint64_t call = api_rig_begin(rig, METHOD_WATCH);
    watch(rig, call, 3, false);
    /* events { kv { key: "a" } } */
    item(rig, WATCH_ITEM_EVENTS, call, 3, 9,
         slice("\x5a\x05\x12\x03\x0a\x01"
               "a",
               7));
    response_t *got = next(rig, call);
    api_rig_expect_header(got->header, 9);
    assert_int_equal(got->watch_id, 3);
    assert_int_equal(got->n_events, 1);
    assert_memory_equal(got->events[0]->kv->key.data, "a", 1);
    assert_false(got->fragment);
    api_rig_free_message(got);
}

static void compaction_cancels_without_a_revision(void **state)
{
    api_rig_t *rig = *state;
    uint64_t call = api_rig_begin(rig, METHOD_WATCH);
    watch(rig, call, 3, false);
    item(rig, WATCH_ITEM_COMPACTED, call, 3, 17, slice(NULL, 0));
    response_t *got = next(rig, call);
    api_rig_expect_header(got->header, 0);
    assert_true(got->canceled);
    assert_false(got->created);
    assert_int_equal(got->watch_id, 3);
    assert_int_equal(got->compact_revision, 17);
    assert_string_equal(got->cancel_reason, "");
    api_rig_free_message(got);
    watch(rig, call, 3, false); /* the id is free again */
}

static void progress_is_answered_for_the_whole_stream(void **state)
{
    api_rig_t *rig = *state;
    uint64_t call = api_rig_begin(rig, METHOD_WATCH);
    send_progress(rig, call); /* no watcher: no answer, and nobody needs to be asked */
    api_rig_turn(rig);
    core_test_expect_nothing(&rig->core);
    watch(rig, call, 3, false);
    api_rig_put(rig, "x", "1");
    send_progress(rig, call);
    api_rig_turn(rig);
    msg_t *msg = expect(rig, MSG_WATCH_PROGRESS);
    assert_int_equal(msg->u.watch_stream.stream, call);
    assert_int_equal(msg->u.watch_stream.head_revision, 2);
    msg_free(&msg);
    item(rig, WATCH_ITEM_PROGRESS, call, -1, 2, slice(NULL, 0));
    expect_response(rig, call, -1, 2, false, false, "");
    item(rig, WATCH_ITEM_PROGRESS, call, 3, 2, slice(NULL, 0)); /* progress_notify */
    expect_response(rig, call, 3, 2, false, false, "");
}

static void items_of_streams_that_are_gone_are_dropped(void **state)
{
    api_rig_t *rig = *state;
    uint64_t call = api_rig_begin(rig, METHOD_WATCH);
    watch(rig, call, 3, false);
    api_call_cancel(rig->api, call);
    item(rig, WATCH_ITEM_PROGRESS, call, -1, 2, slice(NULL, 0));
    item(rig, WATCH_ITEM_PROGRESS, 77, -1, 2, slice(NULL, 0));
    assert_int_equal(rig->calls[call].count, rig->calls[call].seen);
}

/* ---- ending ---- */

static void a_cancel_is_answered_by_the_watch_actor(void **state)
{
    api_rig_t *rig = *state;
    uint64_t call = api_rig_begin(rig, METHOD_WATCH);
    watch(rig, call, 3, false);
    api_rig_put(rig, "x", "1"); /* the gateway has seen revision 2 */
    send_cancel(rig, call, 4);  /* unknown: no answer */
    send_cancel(rig, call, 3);
    send_cancel(rig, call, 3); /* again: unknown by now */
    api_rig_turn(rig);
    msg_t *msg = expect(rig, MSG_WATCH_CANCEL);
    assert_int_equal(msg->u.watch_stream.watch_id, 3);
    assert_int_equal(msg->u.watch_stream.head_revision, 2);
    msg_free(&msg);
    core_test_expect_nothing(&rig->core);
    item(rig, WATCH_ITEM_CANCELED, call, 3, 2, slice(NULL, 0));
    expect_response(rig, call, 3, 2, false, true, "");
}

/* The end of a predecessor must not end the watcher that has got its id. */
static void a_canceled_id_can_be_used_at_once(void **state)
{
    api_rig_t *rig = *state;
    uint64_t call = api_rig_begin(rig, METHOD_WATCH);
    watch(rig, call, 3, false);
    send_cancel(rig, call, 3);
    Etcdserverpb__WatchCreateRequest create = create_of("b", NULL);
    create.watch_id = 3;
    send_create(rig, call, &create);
    api_rig_turn(rig);
    item(rig, WATCH_ITEM_CANCELED, call, 3, 1, slice(NULL, 0));
    expect_response(rig, call, 3, 1, false, true, "");
    item(rig, WATCH_ITEM_CREATED, call, 3, 1, slice(NULL, 0));
    expect_response(rig, call, 3, 1, true, false, "");
    send_create(rig, call, &create); /* in use */
    expect_response(rig, call, -1, 1, true, true,
                    "mvcc: duplicate watch ID provided on the WatchStream");
    for (int i = 0; i < 2; i++) {
        actor_id_t to = ACTOR_NONE;
        msg_t *msg = core_test_take(&rig->core, &to);
        msg_free(&msg);
    }
}

static void closing_a_stream_tells_the_watch_actor(void **state)
{
    api_rig_t *rig = *state;
    uint64_t unused = api_rig_begin(rig, METHOD_WATCH);
    uint64_t call = api_rig_begin(rig, METHOD_WATCH);
    watch(rig, call, 3, false);
    api_call_half_close(rig->api, call, rig->core.now_us); /* the stream goes on, as in etcd */
    api_rig_turn(rig);
    core_test_expect_nothing(&rig->core);
    api_call_cancel(rig->api, unused);
    api_call_cancel(rig->api, call);
    api_rig_turn(rig);
    msg_t *msg = expect(rig, MSG_WATCH_CLOSE);
    assert_int_equal(msg->u.watch_stream.stream, call);
    msg_free(&msg);
    core_test_expect_nothing(&rig->core);
}

static void a_stream_that_sends_garbage_ends(void **state)
{
    api_rig_t *rig = *state;
    uint64_t call = api_rig_begin(rig, METHOD_WATCH);
    watch(rig, call, 3, false);
    api_rig_send_bytes(rig, call, "\x0a\x09", 2);
    assert_true(rig->calls[call].finished);
    assert_int_equal(rig->calls[call].code, GRPC_INTERNAL);
    api_rig_turn(rig);
    msg_t *msg = expect(rig, MSG_WATCH_CLOSE);
    msg_free(&msg);
}

/* ---- fragments ---- */

static void large_responses_are_split_between_events(void **state)
{
    (void)state;
    api_rig_t *rig = api_rig_new(&(rig_options_t){.max_request_bytes = 1000});
    api_rig_ready(rig);
    enum { EVENT = 100 * 1024, EVENTS = 12 };
    buf_t events = {0};
    for (int i = 0; i < EVENTS; i++) {
        buf_t kv = {0};
        buf_field_bytes(&kv, 1, slice(&"abcdefghijkl"[i], 1));
        uint8_t *value = xcalloc(1, EVENT);
        buf_field_bytes(&kv, 5, slice(value, EVENT));
        free(value);
        buf_t event = {0};
        buf_field_bytes(&event, 2, buf_slice(&kv));
        buf_field_bytes(&events, 11, buf_slice(&event));
        buf_deinit(&event);
        buf_deinit(&kv);
    }
    for (int64_t fragment = 0; fragment < 2; fragment++) {
        uint64_t call = api_rig_begin(rig, METHOD_WATCH);
        watch(rig, call, 3, fragment);
        item(rig, WATCH_ITEM_EVENTS, call, 3, 9, buf_slice(&events));
        size_t messages = api_rig_call(rig, call)->count - 1;
        assert_int_equal(messages, fragment ? 3 : 1); /* five fit below 1000 + 512 KiB */
        size_t seen = 0;
        for (size_t i = 0; i < messages; i++) {
            response_t *got = next(rig, call);
            api_rig_expect_header(got->header, 9);
            assert_int_equal(got->fragment, i + 1 < messages);
            for (size_t e = 0; e < got->n_events; e++) {
                assert_int_equal(got->events[e]->kv->key.data[0], 'a' + seen++);
            }
            api_rig_free_message(got);
        }
        assert_int_equal(seen, EVENTS);
    }
    buf_deinit(&events);
    api_rig_free(&rig);
}

/* ---- flow control ---- */

static void consumed_bytes_are_reported_once_per_turn(void **state)
{
    api_rig_t *rig = *state;
    uint64_t call = api_rig_begin(rig, METHOD_WATCH);
    watch(rig, call, 3, false);
    api_call_sent(rig->api, call, 1000); /* the created answer: no events */
    api_rig_turn(rig);
    core_test_expect_nothing(&rig->core);
    static const slice_t event = {.data = (const uint8_t *)"\x5a\x05\x12\x03\x0a\x01"
                                                           "a",
                                  .len = 7};
    item(rig, WATCH_ITEM_EVENTS, call, 3, 9, event);
    item(rig, WATCH_ITEM_EVENTS, call, 3, 10, event);
    size_t bytes = bytes_len(rig->calls[call].messages[1]);
    api_call_sent(rig->api, call, 3);
    api_call_sent(rig->api, call, 2);
    core_test_expect_nothing(&rig->core);
    api_rig_turn(rig);
    msg_t *msg = expect(rig, MSG_WATCH_CONSUMED);
    assert_int_equal(msg->u.watch_stream.stream, call);
    assert_int_equal(msg->u.watch_stream.bytes, 5);
    msg_free(&msg);
    api_call_sent(rig->api, call, 2 * bytes - 5);
    api_rig_turn(rig);
    msg = expect(rig, MSG_WATCH_CONSUMED);
    assert_int_equal(msg->u.watch_stream.bytes, 2 * event.len - 5); /* all of them, never more */
    msg_free(&msg);
    core_test_expect_nothing(&rig->core);
}

static void requests_wait_for_room_and_are_bounded(void **state)
{
    api_rig_t *rig = *state;
    actor_id_t to = ACTOR_NONE;
    uint64_t call = api_rig_begin(rig, METHOD_WATCH);
    uint64_t credits = 0;
    uint64_t bytes = 0;
    while (outbox_room(rig->core.outbox, ACTOR_WATCH)) {
        send_progress(rig, call);
        Etcdserverpb__WatchCreateRequest create = create_of("a", NULL);
        send_create(rig, call, &create);
        api_rig_turn(rig);
        msg_t *msg = NULL;
        while ((msg = outbox_take(rig->core.outbox, &to))) {
            credits++;
            bytes += msg->cost;
            if (msg->kind == MSG_WATCH_CREATE) {
                item(rig, WATCH_ITEM_CREATED, call, msg->u.watch_create.watch_id, 1,
                     slice(NULL, 0));
            }
            msg_free(&msg);
        }
        for (size_t i = 0; i < rig->calls[call].count; i++) {
            bytes_unref(&rig->calls[call].messages[i]);
        }
        rig->calls[call].count = 0;
    }
    uint64_t victim = api_rig_begin(rig, METHOD_WATCH);
    size_t waiting = 0;
    while (!rig->calls[victim].finished) {
        Etcdserverpb__WatchCreateRequest create = create_of("a", NULL);
        send_create(rig, victim, &create);
        assert_true(++waiting <= LIMIT_WATCH_WAITING + 1);
    }
    api_rig_expect_error(rig, victim, API_TOO_MANY_REQUESTS);
    api_rig_turn(rig);
    core_test_expect_nothing(&rig->core);
    msg_credit_t credit = {.messages = (uint32_t)credits, .bytes = bytes};
    outbox_credit(rig->core.outbox, ACTOR_WATCH, &credit);
    api_rig_turn(rig);
    size_t creates = 0;
    msg_t *msg = NULL;
    msg_kind_t last = MSG_CREDIT;
    for (;;) {
        while ((msg = core_test_take(&rig->core, &to))) {
            creates += msg->kind == MSG_WATCH_CREATE;
            last = msg->kind;
            msg_free(&msg);
        }
        if (last == MSG_WATCH_CLOSE) {
            break;
        }
        api_rig_turn(rig);
    }
    assert_true(creates > 0);
    assert_true(creates <= LIMIT_WATCH_WAITING);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_create_goes_to_the_watch_actor),
        TEST(an_empty_key_is_the_first_one),
        TEST(ids_are_picked_around_those_in_use),
        TEST(what_cannot_be_watched_is_created_and_canceled),
        TEST(created_answers_keep_the_order_of_requests),
        cmocka_unit_test(creates_wait_for_the_store),
        TEST(events_are_passed_on),
        TEST(compaction_cancels_without_a_revision),
        TEST(progress_is_answered_for_the_whole_stream),
        TEST(items_of_streams_that_are_gone_are_dropped),
        TEST(a_cancel_is_answered_by_the_watch_actor),
        TEST(a_canceled_id_can_be_used_at_once),
        TEST(closing_a_stream_tells_the_watch_actor),
        TEST(a_stream_that_sends_garbage_ends),
        cmocka_unit_test(large_responses_are_split_between_events),
        TEST(consumed_bytes_are_reported_once_per_turn),
        TEST(requests_wait_for_room_and_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
