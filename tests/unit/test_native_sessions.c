/* Native clients and their calls, with the request core played by a recorder (fake_api.h): greeting, calls answered
 * in any order, streams, windows, heartbeats, everything a client must not say, and that whoever goes leaves
 * nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "actors/zmq_gateway/sessions.h"
#include "messages/limits.h"
#include "messages/wire.h"
#include "tests/support/fake_api.h"

enum { SECOND = 1000000, WINDOW = 1000, CALLS_MAX = 8, MESSAGE_MAX = 5000, OUT_MAX = 256 };

typedef struct {
    char route[8];
    native_message_t message; /* points into what follows */
    uint8_t header[NATIVE_HEADER_BYTES];
    bytes_t *body;
} heard_t;

typedef struct {
    api_t *api;
    sessions_t *sessions;
    metrics_t metrics;
    uint64_t now_us;
    uint64_t octets; /* that clients say they have received */
    heard_t heard[OUT_MAX];
    size_t heard_count, seen;
} rig_t;

static int setup(void **state)
{
    rig_t *rig = xcalloc(1, sizeof *rig);
    static const char *const urls[] = {"tcp://a:1", "tcp://b:2"};
    rig->api = xcalloc(1, sizeof *rig->api);
    rig->now_us = 10 * SECOND;
    sessions_cfg_t cfg = {.cluster_id = 77,
                          .member_id = 88,
                          .heartbeat_us = SECOND,
                          .window_octets = WINDOW,
                          .calls_max = CALLS_MAX,
                          .clients_max = 3,
                          .message_bytes_max = MESSAGE_MAX,
                          .progress_ms = 250,
                          .publish_urls = urls,
                          .publish_url_count = 2,
                          .publish_port = 2382};
    rig->sessions = sessions_new(&cfg, &rig->metrics);
    sessions_attach(rig->sessions, rig->api);
    sessions_set_ready(rig->sessions, true, rig->now_us);
    *state = rig;
    return 0;
}

/* The sink: the fake core has one for all programs. */
static void on_message(void *context, uint64_t call, bytes_t **message_p)
{
    sessions_message(((rig_t *)context)->sessions, call, message_p);
}

static void on_finish(void *context, uint64_t call, grpc_code_t code, const char *text)
{
    sessions_finish(((rig_t *)context)->sessions, call, code, text);
}

static rig_t *rig_of(void **state)
{
    rig_t *rig = *state;
    rig->api->sink = (api_sink_t){.context = rig, .message = on_message, .finish = on_finish};
    return rig;
}

static int teardown(void **state)
{
    rig_t *rig = *state;
    sessions_destroy(&rig->sessions);
    assert_null(rig->sessions);
    fake_clear(rig->api);
    for (size_t i = 0; i < rig->heard_count; i++) {
        bytes_unref(&rig->heard[i].body);
    }
    free(rig->api);
    free(rig);
    return 0;
}

/* ---- what clients say ---- */

static void say_parts(rig_t *rig, const char *route, const native_header_t *header,
                      const slice_t *parts, size_t count)
{
    uint8_t bytes[NATIVE_HEADER_BYTES];
    native_header_write(bytes, header);
    slice_t frames[NATIVE_FRAMES_MAX] = {slice(bytes, sizeof bytes)};
    for (size_t i = 0; i < count; i++) {
        frames[1 + i] = parts[i];
    }
    sessions_input(rig->sessions, slice_str(route), frames, 1 + count, rig->now_us);
}

static void say(rig_t *rig, const char *route, native_command_t command, uint64_t call)
{
    rig->octets = command == NATIVE_HELLO ? 0 : rig->octets;
    native_header_t header = {.command = command, .call = call, .octets = rig->octets};
    say_parts(rig, route, &header, NULL, 0);
}

static void acknowledge(rig_t *rig, const char *route, uint64_t octets)
{
    rig->octets = octets;
    native_header_t header = {.command = NATIVE_PING, .octets = octets};
    say_parts(rig, route, &header, NULL, 0);
}

static void call_with(rig_t *rig, const char *route, uint64_t id, const char *method,
                      const char *body, unsigned flags)
{
    native_header_t header = {
        .command = NATIVE_CALL, .call = id, .flags = flags, .octets = rig->octets};
    slice_t parts[2] = {slice_str(method), body ? slice_str(body) : slice(NULL, 0)};
    say_parts(rig, route, &header, parts, body ? 2 : 1);
}

static void put(rig_t *rig, const char *route, uint64_t id, const char *body)
{
    call_with(rig, route, id, "etcdserverpb.KV/Put", body, NATIVE_FLAG_END);
}

static void data(rig_t *rig, const char *route, uint64_t id, const char *body, unsigned flags)
{
    native_header_t header = {
        .command = NATIVE_DATA, .call = id, .flags = flags, .octets = rig->octets};
    slice_t part = slice_str(body);
    say_parts(rig, route, &header, &part, 1);
}

/* ---- what they hear ---- */

static void pump(rig_t *rig)
{
    native_output_t out;
    while (sessions_output(rig->sessions, &out)) {
        assert_true(rig->heard_count < OUT_MAX && out.route.len < 8);
        heard_t *heard = &rig->heard[rig->heard_count++];
        memcpy(heard->route, out.route.data, out.route.len);
        memcpy(heard->header, out.header, sizeof out.header);
        heard->body = out.body;
        slice_t frames[2] = {slice(heard->header, sizeof heard->header), bytes_slice(out.body)};
        assert_int_equal(
            native_decode(NATIVE_FROM_SERVER, frames, out.body ? 2 : 1, &heard->message),
            NATIVE_OK);
    }
}

static void hear_all(rig_t *rig)
{
    pump(rig);
    rig->seen = rig->heard_count;
}

static const native_message_t *hear(rig_t *rig, const char *route, native_command_t command)
{
    pump(rig);
    assert_true(rig->seen < rig->heard_count);
    heard_t *heard = &rig->heard[rig->seen++];
    assert_string_equal(heard->route, route);
    assert_int_equal(heard->message.header.command, command);
    return &heard->message;
}

static void hear_nothing(rig_t *rig)
{
    pump(rig);
    assert_int_equal(rig->seen, rig->heard_count);
}

static void hear_done(rig_t *rig, const char *route, uint64_t id, const char *body)
{
    const native_message_t *done = hear(rig, route, NATIVE_DONE);
    assert_int_equal(done->header.argument, GRPC_OK);
    assert_true(done->header.call == id);
    assert_int_equal(done->has_body, body != NULL);
    assert_true(!body || slice_equal(done->body, slice_str(body)));
}

static void hear_failed(rig_t *rig, const char *route, uint64_t id, grpc_code_t code,
                        const char *text)
{
    const native_message_t *done = hear(rig, route, NATIVE_DONE);
    assert_true(done->header.call == id);
    assert_int_equal(done->header.argument, code);
    assert_true(slice_equal(done->body, slice_str(text)));
}

static void hear_error(rig_t *rig, const char *route, native_error_t error)
{
    const native_message_t *message = hear(rig, route, NATIVE_ERROR);
    assert_int_equal(message->header.argument, error);
    assert_true(slice_equal(message->body, slice_str(native_error_text(error))));
}

static void greet(rig_t *rig, const char *route)
{
    say(rig, route, NATIVE_HELLO, 4711);
    assert_true(hear(rig, route, NATIVE_WELCOME)->header.call == 4711);
}

static fake_call_t *last_call(rig_t *rig)
{
    assert_true(rig->api->count > 0);
    return &rig->api->calls[rig->api->count - 1];
}

static uint64_t metric(rig_t *rig, metric_t id)
{
    sessions_tick(rig->sessions, rig->now_us);
    return metrics_get(&rig->metrics, id);
}

/* ---- greeting ---- */

static void welcome_says_what_counts(void **state)
{
    rig_t *rig = rig_of(state);
    say(rig, "a", NATIVE_HELLO, 9);
    const native_message_t *message = hear(rig, "a", NATIVE_WELCOME);
    assert_true(message->header.call == 9 && message->header.octets == 0);
    static const uint64_t numbers[] = {[1] = 77,     [2] = 88,          [4] = 1000, [5] = CALLS_MAX,
                                       [6] = WINDOW, [7] = MESSAGE_MAX, [8] = 250,  [10] = 2382};
    slice_t rest = message->body;
    wire_field_t field;
    unsigned seen = 0;
    unsigned urls = 0;
    while (wire_next(&rest, &field) == 0) {
        seen |= 1u << field.number;
        if (field.number == 9) {
            assert_true(slice_equal(field.data, slice_str(urls++ ? "tcp://b:2" : "tcp://a:1")));
        } else if (field.number != 3) {
            assert_true(field.value == numbers[field.number]);
        }
    }
    assert_int_equal(seen, 0x7fe);
    assert_int_equal(urls, 2);
    assert_int_equal(metric(rig, METRIC_NATIVE_CLIENTS), 1);
}

static void nobody_is_served_without_hello(void **state)
{
    rig_t *rig = rig_of(state);
    put(rig, "a", 5, "x");
    hear_error(rig, "a", NATIVE_HELLO_FIRST);
    say(rig, "a", NATIVE_BYE, 0);
    hear_nothing(rig);
    assert_int_equal(rig->api->count, 0);
    assert_int_equal(metric(rig, METRIC_NATIVE_MALFORMED), 1);
    assert_true(sessions_deadline(rig->sessions) == DEADLINE_NONE);
}

/* Both may be sent at once, and wait until the request core knows where the store is. */
static void hello_and_calls_wait_until_the_core_is_ready(void **state)
{
    rig_t *rig = rig_of(state);
    sessions_set_ready(rig->sessions, false, rig->now_us);
    assert_false(sessions_present(rig->sessions));
    say(rig, "a", NATIVE_HELLO, 1);
    assert_true(sessions_present(rig->sessions));
    put(rig, "a", 5, "x");
    call_with(rig, "a", 6, "no/Such", "x", NATIVE_FLAG_END);
    hear_nothing(rig);
    assert_int_equal(rig->api->count, 0);
    sessions_set_ready(rig->sessions, true, rig->now_us);
    hear(rig, "a", NATIVE_WELCOME);
    hear_failed(rig, "a", 6, GRPC_UNIMPLEMENTED, "unknown service no");
    hear_done(rig, "a", 5, "x");
}

static void hello_again_is_a_new_session(void **state)
{
    rig_t *rig = rig_of(state);
    greet(rig, "a");
    put(rig, "a", 4, "answer on the way");
    hear_done(rig, "a", 4, "answer on the way");
    rig->api->hold = true;
    put(rig, "a", 5, "x");
    uint64_t old = last_call(rig)->id;
    say(rig, "a", NATIVE_HELLO, 2);
    assert_true(rig->api->calls[rig->api->count - 1].cancelled);
    assert_true(hear(rig, "a", NATIVE_WELCOME)->header.octets == 0);
    put(rig, "a", 5, "y"); /* the id is free, and nothing has been received */
    assert_true(last_call(rig)->id != old);
    fake_message(rig->api, old, "late", 4);
    fake_finish(rig->api, old, GRPC_OK, "");
    hear_nothing(rig);
    assert_int_equal(metric(rig, METRIC_NATIVE_CLIENTS), 1);
    assert_int_equal(metric(rig, METRIC_NATIVE_CALLS), 1);
    assert_int_equal(metric(rig, METRIC_NATIVE_UNACKNOWLEDGED), 0);
}

static void hello_may_bring_a_version_and_an_interval(void **state)
{
    rig_t *rig = rig_of(state);
    static const struct {
        uint32_t wished, given;
    } cases[] = {{0, 1000}, {50, 100}, {2500, 2500}, {4000000000, 60000}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        native_header_t header = {.command = NATIVE_HELLO, .argument = cases[i].wished};
        slice_t body = slice("\x0a\x03\x33.7", 5);
        say_parts(rig, "a", &header, &body, 1);
        slice_t rest = hear(rig, "a", NATIVE_WELCOME)->body;
        wire_field_t field = {0};
        while (wire_next(&rest, &field) == 0 && field.number != 4) {
        }
        assert_int_equal(field.value, cases[i].given);
    }
    put(rig, "a", 1, "x");
    assert_memory_equal(last_call(rig)->client_version, "3.7", 4);
}

static void a_hello_that_cannot_be_read_is_refused(void **state)
{
    rig_t *rig = rig_of(state);
    greet(rig, "a");
    static const char *const bodies[] = {"\x0a\x09short", "\x0a\x01\x80", "\x0a\x01\n", "\xff"};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        native_header_t header = {.command = NATIVE_HELLO};
        slice_t body = slice_str(bodies[i]);
        say_parts(rig, i ? "b" : "a", &header, &body, 1);
        hear_error(rig, i ? "b" : "a", NATIVE_BAD_BODY);
    }
    assert_false(sessions_present(rig->sessions));
}

static void there_are_only_so_many_clients(void **state)
{
    rig_t *rig = rig_of(state);
    greet(rig, "a");
    greet(rig, "b");
    greet(rig, "c");
    say(rig, "d", NATIVE_HELLO, 1);
    hear_error(rig, "d", NATIVE_TOO_MANY);
    greet(rig, "c"); /* is there already */
    say(rig, "b", NATIVE_BYE, 0);
    greet(rig, "d");
}

/* ---- calls ---- */

static void a_call_is_answered_with_its_id(void **state)
{
    rig_t *rig = rig_of(state);
    greet(rig, "a");
    native_header_t header = {.command = NATIVE_CALL,
                              .call = 0xffffffffffffffff,
                              .flags = NATIVE_FLAG_END | NATIVE_FLAG_REQUIRE_LEADER,
                              .argument = 1500};
    slice_t parts[2] = {slice_str("etcdserverpb.KV/Put"), slice_str("hello")};
    say_parts(rig, "a", &header, parts, 2);
    assert_int_equal(last_call(rig)->info.method, METHOD_PUT);
    assert_int_equal(last_call(rig)->info.flags, CALL_REQUIRE_LEADER);
    assert_true(last_call(rig)->info.deadline_us == rig->now_us + 1500000);
    hear_done(rig, "a", 0xffffffffffffffff, "hello");
    put(rig, "a", 2, "");
    assert_true(last_call(rig)->info.deadline_us == DEADLINE_NONE);
    pump(rig);
    assert_true(rig->heard[rig->heard_count - 1].message.header.octets == native_octets(5));
    hear_done(rig, "a", 2, ""); /* an empty answer is an answer */
    assert_int_equal(metric(rig, METRIC_NATIVE_CALLS), 0);
}

static void calls_are_answered_in_any_order(void **state)
{
    rig_t *rig = rig_of(state);
    greet(rig, "a");
    greet(rig, "b");
    rig->api->hold = true;
    put(rig, "a", 1, "");
    put(rig, "b", 1, "");
    put(rig, "a", 2, "");
    for (size_t i = 3; i > 0; i--) {
        fake_message(rig->api, rig->api->calls[i - 1].id, &"abc"[i - 1], 1);
        fake_finish(rig->api, rig->api->calls[i - 1].id, GRPC_OK, "");
        pump(rig);
    }
    hear_done(rig, "a", 2, "c");
    hear_done(rig, "b", 1, "b");
    hear_done(rig, "a", 1, "a");
    hear_nothing(rig);
}

static void a_stream_has_many_messages_both_ways(void **state)
{
    rig_t *rig = rig_of(state);
    greet(rig, "a");
    call_with(rig, "a", 7, "etcdserverpb.Watch/Watch", NULL, 0);
    fake_call_t *call = last_call(rig);
    assert_int_equal(call->messages, 0);
    data(rig, "a", 7, "one", 0);
    data(rig, "a", 7, "two", NATIVE_FLAG_END);
    data(rig, "a", 7, "not any more", 0);
    assert_int_equal(call->messages, 2);
    assert_true(call->half_closed);
    fake_message(rig->api, call->id, "first", 5);
    fake_message(rig->api, call->id, "second", 6);
    fake_finish(rig->api, call->id, GRPC_OK, "");
    const native_message_t *reply = hear(rig, "a", NATIVE_REPLY);
    assert_true(reply->header.call == 7 && slice_equal(reply->body, slice_str("first")));
    reply = hear(rig, "a", NATIVE_REPLY);
    assert_true(reply->header.octets == native_octets(5));
    hear_done(rig, "a", 7, NULL);
    data(rig, "a", 7, "too late", 0);
    say(rig, "a", NATIVE_END, 7);
    say(rig, "a", NATIVE_CANCEL, 7);
    hear_nothing(rig);
}

static void a_unary_call_needs_no_end(void **state)
{
    rig_t *rig = rig_of(state);
    greet(rig, "a");
    call_with(rig, "a", 1, "etcdserverpb.KV/Range", "x", 0);
    hear_done(rig, "a", 1, "x");
    call_with(rig, "a", 2, "etcdserverpb.KV/Range", NULL, 0);
    hear_nothing(rig);
    data(rig, "a", 2, "y", 0);
    hear_done(rig, "a", 2, "y");
    call_with(rig, "a", 3, "etcdserverpb.Watch/Watch", "x", 0);
    assert_false(last_call(rig)->half_closed);
    say(rig, "a", NATIVE_END, 3);
    assert_true(last_call(rig)->half_closed);
}

static void failures_bring_code_and_text(void **state)
{
    rig_t *rig = rig_of(state);
    greet(rig, "a");
    rig->api->hold = true;
    put(rig, "a", 1, "");
    fake_finish(rig->api, last_call(rig)->id, GRPC_OUT_OF_RANGE, "compacted");
    hear_failed(rig, "a", 1, GRPC_OUT_OF_RANGE, "compacted");
    call_with(rig, "a", 2, "etcdserverpb.KV/Put!", "", NATIVE_FLAG_END);
    hear_failed(rig, "a", 2, GRPC_UNIMPLEMENTED, "unknown method Put! for service etcdserverpb.KV");
    call_with(rig, "a", 2, "x", "", NATIVE_FLAG_END);
    hear_failed(rig, "a", 2, GRPC_UNIMPLEMENTED, "malformed method name: \"x\"");
    assert_int_equal(rig->api->count, 1);
}

static void cancel_is_answered(void **state)
{
    rig_t *rig = rig_of(state);
    greet(rig, "a");
    rig->api->hold = true;
    put(rig, "a", 1, "");
    say(rig, "a", NATIVE_CANCEL, 1);
    assert_true(last_call(rig)->cancelled);
    hear_failed(rig, "a", 1, GRPC_CANCELLED, "context canceled");
    fake_finish(rig->api, last_call(rig)->id, GRPC_OK, "");
    hear_nothing(rig);
    put(rig, "a", 1, ""); /* the id is free again */
    assert_int_equal(rig->api->count, 2);
}

static void an_id_in_use_is_refused(void **state)
{
    rig_t *rig = rig_of(state);
    greet(rig, "a");
    rig->api->hold = true;
    put(rig, "a", 1, "");
    put(rig, "a", 1, "");
    hear_error(rig, "a", NATIVE_BAD_CALL);
    assert_int_equal(rig->api->count, 1);
    fake_finish(rig->api, rig->api->calls[0].id, GRPC_OK, "");
    hear_done(rig, "a", 1, NULL);
}

static void bodies_and_calls_are_bounded(void **state)
{
    rig_t *rig = rig_of(state);
    greet(rig, "a");
    rig->api->hold = true;
    char large[MESSAGE_MAX + 2];
    memset(large, 'x', sizeof large);
    large[MESSAGE_MAX + 1] = '\0';
    put(rig, "a", 1, large);
    hear_failed(rig, "a", 1, GRPC_RESOURCE_EXHAUSTED,
                "grpc: received message larger than max (5001 vs. 5000)");
    put(rig, "a", 1, large + 1);
    for (uint64_t id = 2; id <= CALLS_MAX; id++) {
        put(rig, "a", id, "");
    }
    hear_nothing(rig);
    put(rig, "a", 100, "");
    hear_failed(rig, "a", 100, GRPC_RESOURCE_EXHAUSTED, "quoral: too many calls are open");
    assert_int_equal(metric(rig, METRIC_NATIVE_CALLS), CALLS_MAX);
}

/* ---- windows ---- */

static void requests_wait_for_a_client_that_does_not_acknowledge(void **state)
{
    rig_t *rig = rig_of(state);
    greet(rig, "a");
    char body[WINDOW];
    memset(body, 'x', sizeof body);
    body[WINDOW - NATIVE_HEADER_BYTES] = '\0'; /* with its header: the window, exactly */
    put(rig, "a", 1, body);
    hear_done(rig, "a", 1, body);
    put(rig, "a", 2, "second");
    put(rig, "a", 3, "third");
    call_with(rig, "a", 4, "etcdserverpb.Watch/Watch", "fourth", 0);
    data(rig, "a", 4, "fifth", 0);
    say(rig, "a", NATIVE_CANCEL, 2); /* its DONE counts, too: 44 octets */
    assert_int_equal(rig->api->count, 1);
    assert_int_equal(metric(rig, METRIC_NATIVE_WAITING), 4);
    acknowledge(rig, "a", 44);
    assert_int_equal(rig->api->count, 1);
    acknowledge(rig, "a", 45); /* room for one: the third, whose answer takes it */
    assert_int_equal(rig->api->count, 2);
    hear(rig, "a", NATIVE_PONG);
    hear(rig, "a", NATIVE_PONG);
    hear_failed(rig, "a", 2, GRPC_CANCELLED, "context canceled");
    hear_done(rig, "a", 3, "third");
    acknowledge(rig, "a", WINDOW);
    assert_int_equal(rig->api->calls[2].info.method, METHOD_WATCH);
    assert_int_equal(rig->api->calls[2].messages, 2);
    assert_int_equal(metric(rig, METRIC_NATIVE_WAITING), 0);
}

static void a_stream_goes_on_while_the_window_has_room(void **state)
{
    rig_t *rig = rig_of(state);
    greet(rig, "a");
    call_with(rig, "a", 3, "etcdserverpb.Watch/Watch", "x", 0);
    fake_call_t *call = last_call(rig);
    char events[WINDOW] = {0};
    for (int i = 0; i < 3; i++) { /* the second crosses the window, the third stays here */
        fake_message(rig->api, call->id, events, 600);
    }
    assert_int_equal(call->sent_bytes, 0);
    hear(rig, "a", NATIVE_REPLY);
    hear(rig, "a", NATIVE_REPLY);
    hear_nothing(rig);
    assert_int_equal(call->sent_bytes, 600);
    assert_true(sessions_deadline(rig->sessions) == 0); /* the core wants a turn */
    acknowledge(rig, "a", 628);
    assert_int_equal(call->sent_bytes, 600);
    hear(rig, "a", NATIVE_PONG); /* is not held up by what waits */
    assert_true(hear(rig, "a", NATIVE_REPLY)->header.octets == 2 * 628);
    assert_int_equal(call->sent_bytes, 600);
    acknowledge(rig, "a", 2 * 628 - 1); /* not all of the second */
    assert_int_equal(call->sent_bytes, 600);
    acknowledge(rig, "a", 2 * 628);
    assert_int_equal(call->sent_bytes, 1200);
    acknowledge(rig, "a", 3 * 628);
    assert_int_equal(call->sent_bytes, 1800);
    assert_int_equal(metric(rig, METRIC_NATIVE_UNACKNOWLEDGED), 0);
    fake_message(rig->api, call->id, events, WINDOW);
    pump(rig);
    fake_finish(rig->api, call->id, GRPC_OK, "");
    acknowledge(rig, "a", 4 * 628 + 400); /* of a call that is gone: nobody is told */
    assert_int_equal(call->sent_bytes, 1800);
}

static void a_read_too_much_is_refused_and_a_write_is_not(void **state)
{
    rig_t *rig = rig_of(state);
    greet(rig, "a");
    rig->api->hold = true;
    static char answer[5 * WINDOW];
    call_with(rig, "a", 1, "etcdserverpb.KV/Range", "", NATIVE_FLAG_END);
    call_with(rig, "a", 2, "etcdserverpb.KV/Range", "", NATIVE_FLAG_END);
    call_with(rig, "a", 3, "etcdserverpb.KV/DeleteRange", "", NATIVE_FLAG_END);
    for (size_t i = 0; i < 3; i++) { /* the first alone may be of any size */
        fake_message(rig->api, rig->api->calls[i].id, answer, sizeof answer);
        fake_finish(rig->api, rig->api->calls[i].id, GRPC_OK, "");
    }
    assert_int_equal(hear(rig, "a", NATIVE_DONE)->body.len, sizeof answer);
    hear_nothing(rig);
    acknowledge(rig, "a", native_octets(sizeof answer));
    hear(rig, "a", NATIVE_PONG);
    hear_failed(rig, "a", 2, GRPC_RESOURCE_EXHAUSTED, api_error_text(API_BUSY));
    assert_int_equal(hear(rig, "a", NATIVE_DONE)->body.len, sizeof answer);
}

/* Before it is known what ranges answer there are few at a time, then as many as fit the window. */
static void many_ranges_at_a_time_only_if_they_are_small(void **state)
{
    rig_t *rig = rig_of(state);
    greet(rig, "a");
    rig->api->hold = true;
    for (uint64_t id = 1; id <= CALLS_MAX; id++) {
        call_with(rig, "a", id, "etcdserverpb.KV/Range", "", NATIVE_FLAG_END);
    }
    assert_int_equal(rig->api->count,
                     4); /* nobody knows their answers yet: each may need a quarter of the window */
    static const char answer[600];
    fake_message(rig->api, rig->api->calls[0].id, answer, sizeof answer);
    fake_finish(rig->api, rig->api->calls[0].id, GRPC_OK, "");
    hear(rig, "a", NATIVE_DONE);
    acknowledge(rig, "a", native_octets(sizeof answer));
    hear(rig, "a", NATIVE_PONG);
    assert_int_equal(rig->api->count, 4);
    fake_message(rig->api, rig->api->calls[1].id, "", 0); /* they are large: one less */
    fake_finish(rig->api, rig->api->calls[1].id, GRPC_OK, "");
    hear(rig, "a", NATIVE_DONE);
    assert_int_equal(rig->api->count, 4);
    say(rig, "a", NATIVE_CANCEL, 3);
    hear(rig, "a", NATIVE_DONE);
    assert_int_equal(rig->api->count, 4 + 1);
    assert_true(sessions_deadline(rig->sessions) == 0); /* the core wants a turn */
    size_t done = 3;
    for (uint64_t id = 10; id < 40; id++) { /* they are small again */
        assert_true(done < rig->api->count);
        uint64_t call = rig->api->calls[done++].id;
        fake_message(rig->api, call, "", 0);
        fake_finish(rig->api, call, GRPC_OK, "");
        pump(rig);
        acknowledge(rig, "a",
                    rig->heard[rig->heard_count - 1].message.header.octets + NATIVE_HEADER_BYTES);
        hear_all(rig);
        call_with(rig, "a", id, "etcdserverpb.KV/Range", "", NATIVE_FLAG_END);
    }
    assert_int_equal(rig->api->count, CALLS_MAX + 30);
    assert_int_equal(metric(rig, METRIC_NATIVE_WAITING), 0);
}

static void what_waits_is_bounded(void **state)
{
    rig_t *rig = rig_of(state);
    greet(rig, "a");
    char body[WINDOW + 1];
    memset(body, 'x', sizeof body);
    body[WINDOW] = '\0';
    put(rig, "a", 1, body);
    hear_done(rig, "a", 1, body);
    call_with(rig, "a", 2, "etcdserverpb.Lease/LeaseKeepAlive", NULL, 0);
    for (int i = 1; i < LIMIT_NATIVE_WAITING; i++) {
        data(rig, "a", 2, "x", 0);
    }
    hear_nothing(rig);
    assert_int_equal(metric(rig, METRIC_NATIVE_WAITING), LIMIT_NATIVE_WAITING);
    data(rig, "a", 2, "x", 0);
    acknowledge(rig, "a", native_octets(WINDOW));
    hear(rig, "a", NATIVE_PONG);
    hear_failed(rig, "a", 2, GRPC_RESOURCE_EXHAUSTED,
                "quoral: too many requests wait for the client to take its answers");
    assert_int_equal(rig->api->count, 1);
    assert_int_equal(metric(rig, METRIC_NATIVE_WAITING), 0);
}

static void a_deadline_passes_while_a_call_waits(void **state)
{
    rig_t *rig = rig_of(state);
    greet(rig, "a");
    char body[WINDOW + 1];
    memset(body, 'x', sizeof body);
    body[WINDOW] = '\0';
    put(rig, "a", 1, body);
    hear_done(rig, "a", 1, body);
    native_header_t header = {.command = NATIVE_CALL, .call = 2, .argument = 100};
    slice_t parts[2] = {slice_str("etcdserverpb.KV/Put"), slice_str("x")};
    say_parts(rig, "a", &header, parts, 2);
    rig->now_us += 100000;
    acknowledge(rig, "a", native_octets(WINDOW));
    hear(rig, "a", NATIVE_PONG);
    hear_failed(rig, "a", 2, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded");
    assert_int_equal(rig->api->count, 1);
}

static void octets_that_do_not_fit_end_the_session(void **state)
{
    rig_t *rig = rig_of(state);
    static const uint64_t wrong[] = {99, UINT64_MAX, 1};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        greet(rig, "a");
        put(rig, "a", 1, "x");
        hear_done(rig, "a", 1, "x");
        if (i == 2) { /* goes back */
            acknowledge(rig, "a", 29);
            hear(rig, "a", NATIVE_PONG);
        }
        acknowledge(rig, "a", wrong[i]);
        hear_error(rig, "a", NATIVE_BAD_OCTETS);
        assert_false(sessions_present(rig->sessions));
        assert_int_equal(metric(rig, METRIC_NATIVE_UNACKNOWLEDGED), 0);
    }
}

/* ---- time, and the end ---- */

static void run_to(rig_t *rig, uint64_t until_us)
{
    while (sessions_deadline(rig->sessions) <= until_us) {
        rig->now_us = sessions_deadline(rig->sessions);
        sessions_tick(rig->sessions, rig->now_us);
    }
    rig->now_us = until_us;
    sessions_tick(rig->sessions, rig->now_us);
}

static void who_is_silent_is_asked_and_then_gone(void **state)
{
    rig_t *rig = rig_of(state);
    uint64_t start_us = rig->now_us;
    greet(rig, "a");
    greet(rig, "b");
    rig->api->hold = true;
    put(rig, "a", 1, "x");
    call_with(rig, "a", 2, "etcdserverpb.Watch/Watch", "x", 0);
    for (int i = 1; i <= 3; i++) {
        hear_nothing(rig);
        run_to(rig, start_us + (uint64_t)i * SECOND);
        hear(rig, "b", NATIVE_PING);
        hear(rig, "a", NATIVE_PING);
        say(rig, "b", NATIVE_PONG, 0);
    }
    assert_int_equal(metric(rig, METRIC_NATIVE_CLIENTS), 2);
    run_to(rig, start_us + 4 * SECOND);
    assert_int_equal(metric(rig, METRIC_NATIVE_CLIENTS), 1);
    assert_int_equal(metric(rig, METRIC_NATIVE_LOST), 1);
    assert_int_equal(metric(rig, METRIC_NATIVE_CALLS), 0);
    assert_int_equal(fake_open_calls(rig->api), 0);
    hear(rig, "b", NATIVE_PING);
    say(rig, "a", NATIVE_PONG, 0);
    hear_error(rig, "a", NATIVE_HELLO_FIRST);
}

/* Stopped and continued: what clients have said meanwhile is only read now. */
static void who_was_stopped_itself_gives_nobody_up(void **state)
{
    rig_t *rig = rig_of(state);
    greet(rig, "a");
    rig->now_us += 60 * SECOND;
    sessions_tick(rig->sessions, rig->now_us);
    hear(rig, "a", NATIVE_PING);
    assert_int_equal(metric(rig, METRIC_NATIVE_CLIENTS), 1);
    run_to(rig, rig->now_us + 5 * SECOND);
    assert_int_equal(metric(rig, METRIC_NATIVE_CLIENTS), 0);
}

static void who_leaves_leaves_nothing(void **state)
{
    rig_t *rig = rig_of(state);
    greet(rig, "a");
    rig->api->hold = true;
    put(rig, "a", 1, "x");
    fake_message(rig->api, last_call(rig)->id, "half", 4);
    call_with(rig, "a", 2, "etcdserverpb.Watch/Watch", "x", 0);
    fake_message(rig->api, last_call(rig)->id, "unsent", 6);
    say(rig, "a", NATIVE_BYE, 0);
    hear_nothing(rig);
    assert_int_equal(fake_open_calls(rig->api), 0);
    assert_int_equal(metric(rig, METRIC_NATIVE_CALLS), 0);
    assert_int_equal(metric(rig, METRIC_NATIVE_UNACKNOWLEDGED), 0);
    assert_int_equal(metric(rig, METRIC_NATIVE_LOST), 0);
    run_to(rig, rig->now_us + 10 * SECOND);
    assert_true(sessions_deadline(rig->sessions) == DEADLINE_NONE);
}

static void what_cannot_be_delivered_ends_the_session(void **state)
{
    rig_t *rig = rig_of(state);
    greet(rig, "a");
    greet(rig, "b");
    call_with(rig, "a", 2, "etcdserverpb.Watch/Watch", "x", 0);
    fake_message(rig->api, last_call(rig)->id, "1", 1);
    fake_message(rig->api, last_call(rig)->id, "2", 1);
    put(rig, "b", 1, "x");
    native_output_t out;
    assert_true(sessions_output(rig->sessions, &out));
    bytes_unref(&out.body);
    sessions_undelivered(rig->sessions);
    assert_int_equal(fake_open_calls(rig->api), 1); /* b's, which is answered */
    hear_done(rig, "b", 1, "x");
    hear_nothing(rig);
    assert_int_equal(metric(rig, METRIC_NATIVE_CLIENTS), 1);
    assert_int_equal(metric(rig, METRIC_NATIVE_LOST), 1);
    say(rig, "c", NATIVE_PING, 0); /* and to who has none, nothing happens */
    assert_true(sessions_output(rig->sessions, &out));
    bytes_unref(&out.body);
    sessions_undelivered(rig->sessions);
    assert_int_equal(metric(rig, METRIC_NATIVE_LOST), 1);
}

static void nonsense_is_answered_and_the_session_goes_on(void **state)
{
    rig_t *rig = rig_of(state);
    greet(rig, "a");
    slice_t empty = slice(NULL, 0);
    sessions_input(rig->sessions, slice_str("a"), &empty, 1, rig->now_us);
    hear_error(rig, "a", NATIVE_BAD_HEADER);
    say(rig, "a", NATIVE_DONE, 12);
    assert_true(rig->heard_count == 2);
    pump(rig);
    assert_true(rig->heard[2].message.header.call == 12);
    hear_error(rig, "a", NATIVE_BAD_COMMAND);
    put(rig, "a", 1, "x");
    hear_done(rig, "a", 1, "x");
    sessions_input(rig->sessions, slice_str("z"), &empty, 0, rig->now_us);
    hear_error(rig, "z", NATIVE_BAD_HEADER);
    assert_int_equal(metric(rig, METRIC_NATIVE_MALFORMED), 3);
    for (int i = 0; i < LIMIT_NATIVE_STRAYS + 10;
         i++) { /* who does not listen is not answered for ever */
        sessions_input(rig->sessions, slice_str("z"), &empty, 1, rig->now_us);
    }
    native_output_t out;
    size_t answers = 0;
    while (sessions_output(rig->sessions, &out)) {
        bytes_unref(&out.body);
        answers++;
    }
    assert_int_equal(answers, LIMIT_NATIVE_STRAYS);
}

static void with_another_socket_all_begin_anew(void **state)
{
    rig_t *rig = rig_of(state);
    greet(rig, "a");
    greet(rig, "b");
    rig->api->hold = true;
    put(rig, "a", 1, "x");
    call_with(rig, "b", 1, "etcdserverpb.Watch/Watch", "x", 0);
    say(rig, "stray", NATIVE_PING, 0); /* its answer is not sent yet */
    sessions_reset(rig->sessions);
    assert_int_equal(fake_open_calls(rig->api), 0);
    hear_nothing(rig);
    say(rig, "a", NATIVE_PING, 0);
    hear_error(rig, "a", NATIVE_HELLO_FIRST);
    greet(rig, "a");
    put(rig, "a", 1, "x");
    assert_int_equal(fake_open_calls(rig->api), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(welcome_says_what_counts),
        TEST(nobody_is_served_without_hello),
        TEST(hello_and_calls_wait_until_the_core_is_ready),
        TEST(hello_again_is_a_new_session),
        TEST(hello_may_bring_a_version_and_an_interval),
        TEST(a_hello_that_cannot_be_read_is_refused),
        TEST(there_are_only_so_many_clients),
        TEST(a_call_is_answered_with_its_id),
        TEST(calls_are_answered_in_any_order),
        TEST(a_stream_has_many_messages_both_ways),
        TEST(a_unary_call_needs_no_end),
        TEST(failures_bring_code_and_text),
        TEST(cancel_is_answered),
        TEST(an_id_in_use_is_refused),
        TEST(bodies_and_calls_are_bounded),
        TEST(requests_wait_for_a_client_that_does_not_acknowledge),
        TEST(a_stream_goes_on_while_the_window_has_room),
        TEST(a_read_too_much_is_refused_and_a_write_is_not),
        TEST(many_ranges_at_a_time_only_if_they_are_small),
        TEST(what_waits_is_bounded),
        TEST(a_deadline_passes_while_a_call_waits),
        TEST(octets_that_do_not_fit_end_the_session),
        TEST(who_is_silent_is_asked_and_then_gone),
        TEST(who_was_stopped_itself_gives_nobody_up),
        TEST(who_leaves_leaves_nothing),
        TEST(what_cannot_be_delivered_ends_the_session),
        TEST(nonsense_is_answered_and_the_session_goes_on),
        TEST(with_another_socket_all_begin_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
