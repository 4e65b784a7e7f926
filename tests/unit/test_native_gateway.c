/* The native gateway in a whole member on virtual time: calls through log and store, the same store as the other
 * gateway's, when it attends, events from a watch of its own, and what a crash leaves of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <etcd/rpc.pb-c.h>
#include <stdlib.h>

#include "messages/buf.h"
#include "messages/native_event.h"
#include "tests/support/virtual_node.h"

typedef struct {
    virtual_node_t *node;
    size_t attended, left, told; /* ATTEND with true and false, APPLIED to the gateway */
    size_t events, marks;
    uint64_t received;
    bytes_t *body; /* of what was heard last */
    native_header_t heard;
} rig_t;

static void on_trace(void *context, const char *line)
{
    rig_t *rig = context;
    bool to_native = strstr(line, "-> zmq_gateway");
    rig->told += to_native && strstr(line, " APPLIED ");
    rig->attended += strstr(line, "ATTEND wanted=1") != NULL;
    rig->left += strstr(line, "ATTEND wanted=0") != NULL;
}

static void on_answer(void *context, uint64_t call, slice_t message)
{
    (void)context;
    (void)call;
    (void)message;
}

static void on_end(void *context, uint64_t call, grpc_code_t code, const char *text)
{
    (void)context;
    (void)call;
    (void)text;
    assert_int_equal(code, GRPC_OK);
}

static void on_publication(void *context, const slice_t *frames, size_t count)
{
    rig_t *rig = context;
    assert_true(count >= 2 && frames[0].len > 0);
    rig->marks += frames[0].data[0] == NATIVE_MARKS;
    rig->events += frames[0].data[0] == NATIVE_EVENTS;
}

static int setup(void **state)
{
    rig_t *rig = calloc(1, sizeof *rig);
    virtual_node_hooks_t hooks = {.context = rig,
                                  .trace = on_trace,
                                  .answer = on_answer,
                                  .end = on_end,
                                  .publication = on_publication};
    rig->node = virtual_node_new(&hooks, 7);
    virtual_node_start(rig->node);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    rig_t *rig = *state;
    virtual_node_destroy(&rig->node);
    bytes_unref(&rig->body);
    free(rig);
    return 0;
}

static void say(rig_t *rig, native_command_t command, uint64_t call, const char *method,
                const buf_t *body)
{
    uint8_t bytes[NATIVE_HEADER_BYTES];
    native_header_t header = {.command = command,
                              .call = call,
                              .flags = command == NATIVE_CALL ? NATIVE_FLAG_END : 0,
                              .octets = command == NATIVE_HELLO ? 0 : rig->received};
    native_header_write(bytes, &header);
    slice_t frames[3] = {slice(bytes, sizeof bytes)};
    size_t count = 1;
    if (method) {
        frames[count++] = slice_str(method);
        frames[count++] = buf_slice(body);
    }
    sessions_input(zmq_gateway_sessions(virtual_node_native(rig->node)), slice_str("client"),
                   frames, count, virtual_node_now_us(rig->node));
    virtual_node_native_turn(rig->node);
}

/* The next message; fails when there is none. */
static void hear(rig_t *rig, native_command_t command)
{
    native_output_t out;
    assert_true(sessions_output(zmq_gateway_sessions(virtual_node_native(rig->node)), &out));
    bytes_unref(&rig->body);
    rig->body = out.body;
    slice_t frames[2] = {slice(out.header, sizeof out.header), bytes_slice(out.body)};
    native_message_t message;
    assert_int_equal(native_decode(NATIVE_FROM_SERVER, frames, out.body ? 2 : 1, &message),
                     NATIVE_OK);
    assert_int_equal(message.header.command, command);
    rig->heard = message.header;
    if (command == NATIVE_DONE || command == NATIVE_REPLY) {
        assert_true(message.header.octets == rig->received);
        rig->received += native_octets(message.body.len);
    }
    virtual_node_native_turn(rig->node);
}

static void greet(rig_t *rig)
{
    rig->received = 0;
    say(rig, NATIVE_HELLO, 1, NULL, NULL);
    hear(rig, NATIVE_WELCOME);
}

static void key_value(buf_t *out, const char *key, const char *value)
{
    buf_clear(out);
    buf_field_bytes(out, 1, slice_str(key));
    if (value) {
        buf_field_bytes(out, 2, slice_str(value));
    }
}

static void put(rig_t *rig, uint64_t call, const char *key, const char *value)
{
    buf_t body = {0};
    key_value(&body, key, value);
    say(rig, NATIVE_CALL, call, "etcdserverpb.KV/Put", &body);
    hear(rig, NATIVE_DONE);
    assert_true(rig->heard.call == call && rig->heard.argument == GRPC_OK);
    buf_deinit(&body);
}

static void put_over_grpc(rig_t *rig, const char *key, const char *value)
{
    buf_t body = {0};
    key_value(&body, key, value);
    virtual_node_call(rig->node, METHOD_PUT, buf_slice(&body), false);
    buf_deinit(&body);
}

static void expect_stored(rig_t *rig, uint64_t call, const char *key, const char *value)
{
    buf_t body = {0};
    key_value(&body, key, NULL);
    say(rig, NATIVE_CALL, call, "etcdserverpb.KV/Range", &body);
    hear(rig, NATIVE_DONE);
    slice_t bytes = bytes_slice(rig->body);
    Etcdserverpb__RangeResponse *range =
        etcdserverpb__range_response__unpack(NULL, bytes.len, bytes.data);
    assert_non_null(range);
    assert_int_equal(range->n_kvs, 1);
    assert_int_equal(range->kvs[0]->value.len, strlen(value));
    assert_memory_equal(range->kvs[0]->value.data, value, strlen(value));
    etcdserverpb__range_response__free_unpacked(range, NULL);
    buf_deinit(&body);
}

static void both_gateways_show_one_store(void **state)
{
    rig_t *rig = *state;
    greet(rig);
    put(rig, 1, "a", "native");
    expect_stored(rig, 2, "a", "native");
    put_over_grpc(rig, "a", "grpc");
    expect_stored(rig, 3, "a", "grpc");
}

/* Spans do not wake a gateway without clients; who comes hears at once how far the store is. */
static void it_attends_while_somebody_is_there(void **state)
{
    rig_t *rig = *state;
    for (int i = 0; i < 10; i++) {
        put_over_grpc(rig, "a", "1");
    }
    assert_int_equal(rig->told, 0);
    greet(rig);
    assert_int_equal(rig->attended, 1);
    assert_int_equal(rig->told, 1);
    expect_stored(rig, 1, "a", "1");
    put_over_grpc(rig, "a", "2");
    assert_int_equal(rig->told, 2);
    say(rig, NATIVE_BYE, 0, NULL, NULL);
    assert_int_equal(rig->left, 1);
    put_over_grpc(rig, "a", "3");
    assert_int_equal(rig->told, 2);
    greet(rig);
    expect_stored(rig, 1, "a", "3");
    virtual_node_advance(rig->node, 10000000); /* it says nothing more, and is gone */
    assert_int_equal(rig->left, 2);
    assert_int_equal(rig->attended, 2);
}

static void subscribe(rig_t *rig, uint8_t first, const char *key)
{
    buf_t message = {0};
    buf_t subscription = {0};
    native_subscription(&subscription, NATIVE_EVENTS, slice_str(key), false);
    buf_byte(&message, first);
    buf_append(&message, subscription.data, subscription.len);
    publisher_subscription(zmq_gateway_publisher(virtual_node_native(rig->node)),
                           buf_slice(&message), virtual_node_now_us(rig->node));
    virtual_node_native_turn(rig->node);
    buf_deinit(&subscription);
    buf_deinit(&message);
}

static void events_are_published_for_who_subscribes(void **state)
{
    rig_t *rig = *state;
    put_over_grpc(rig, "k/1", "before");
    assert_int_equal(rig->events, 0);
    subscribe(rig, 1, "k/");
    assert_int_equal(rig->attended, 1);
    put_over_grpc(rig, "k/1", "1");
    put_over_grpc(rig, "other", "1");
    assert_int_equal(rig->events, 1);
    greet(rig);
    put(rig, 1, "k/2", "over the same gateway");
    assert_int_equal(rig->events, 2);
    say(rig, NATIVE_BYE, 0, NULL, NULL);
    assert_int_equal(rig->left, 0); /* the subscription is still there */
    size_t marks = rig->marks;
    virtual_node_advance(rig->node, 3000000);
    assert_true(rig->marks >= marks + 2);
    subscribe(rig, 0, "k/");
    virtual_node_advance(rig->node, 3000000); /* it has lingered */
    put_over_grpc(rig, "k/1", "2");
    assert_int_equal(rig->events, 2);
    marks = rig->marks;
    virtual_node_advance(rig->node, 3000000);
    assert_int_equal(rig->marks, marks);
}

static void sessions_end_with_the_process(void **state)
{
    rig_t *rig = *state;
    greet(rig);
    put(rig, 1, "a", "kept");
    virtual_node_crash(rig->node, CRASH_PROCESS, 0);
    virtual_node_start(rig->node);
    say(rig, NATIVE_PING, 0, NULL, NULL);
    hear(rig, NATIVE_ERROR);
    assert_int_equal(rig->heard.argument, NATIVE_HELLO_FIRST);
    greet(rig);
    expect_stored(rig, 1, "a", "kept");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(both_gateways_show_one_store),
        TEST(it_attends_while_somebody_is_there),
        TEST(events_are_published_for_who_subscribes),
        TEST(sessions_end_with_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
