/* calls: ids lead to their connection, are never given twice, and late answers are dropped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "actors/grpc_gateway/conn.h"
#include "messages/limits.h"

typedef struct {
    conn_t conn;
    unsigned messages, finishes;
    int32_t last_stream;
} fake_conn_t;

static void on_message(conn_t *self, int32_t stream, bytes_t **message_p)
{
    fake_conn_t *fake = (fake_conn_t *)self;
    fake->messages++;
    fake->last_stream = stream;
    bytes_unref(message_p);
}

static void on_finish(conn_t *self, int32_t stream, grpc_code_t code, const char *text)
{
    (void)code;
    (void)text;
    fake_conn_t *fake = (fake_conn_t *)self;
    fake->finishes++;
    fake->last_stream = stream;
}

static const conn_ops_t fake_ops = {.message = on_message, .finish = on_finish};

static void ids_find_their_stream_until_closed(void **state)
{
    (void)state;
    calls_t *calls = calls_new();
    fake_conn_t a = {.conn.ops = &fake_ops};
    fake_conn_t b = {.conn.ops = &fake_ops};
    uint64_t first = calls_open(calls, &a.conn, 7);
    uint64_t second = calls_open(calls, &b.conn, 9);
    assert_int_not_equal(first, 0);
    assert_int_not_equal(first, second);
    int32_t stream = 0;
    assert_ptr_equal(calls_find(calls, first, &stream), &a.conn);
    assert_int_equal(stream, 7);
    assert_ptr_equal(calls_find(calls, second, &stream), &b.conn);
    calls_close(calls, first);
    assert_null(calls_find(calls, first, &stream));
    uint64_t third = calls_open(calls, &b.conn, 1); /* takes the slot, not the id */
    assert_int_not_equal(third, first);
    assert_null(calls_find(calls, first, &stream));
    assert_null(calls_find(calls, 0, &stream));
    assert_null(calls_find(calls, UINT64_MAX, &stream));
    assert_int_equal(calls_count(calls), 2);
    calls_destroy(&calls);
    assert_null(calls);
}

static void open_calls_are_bounded(void **state)
{
    (void)state;
    calls_t *calls = calls_new();
    fake_conn_t conn = {.conn.ops = &fake_ops};
    uint64_t last = 0;
    for (int i = 0; i < LIMIT_CALLS; i++) {
        last = calls_open(calls, &conn.conn, i);
        assert_int_not_equal(last, 0);
    }
    assert_int_equal(calls_open(calls, &conn.conn, 0), 0);
    calls_close(calls, last);
    assert_int_not_equal(calls_open(calls, &conn.conn, 0), 0);
    calls_destroy(&calls);
}

static void answers_go_to_their_connection_and_mark_it_dirty(void **state)
{
    (void)state;
    calls_t *calls = calls_new();
    api_sink_t sink = calls_sink(calls);
    fake_conn_t conn = {.conn.ops = &fake_ops};
    uint64_t call = calls_open(calls, &conn.conn, 5);
    bytes_t *message = bytes_new("x", 1);
    sink.message(sink.context, call, &message);
    assert_null(message);
    sink.finish(sink.context, call, GRPC_OK, "");
    assert_int_equal(conn.messages, 1);
    assert_int_equal(conn.finishes, 1);
    assert_int_equal(conn.last_stream, 5);
    assert_ptr_equal(calls_take_dirty(calls), &conn.conn);
    assert_null(calls_take_dirty(calls));
    calls_close(calls, call);
    message = bytes_new("late", 4);
    sink.message(sink.context, call, &message);
    sink.finish(sink.context, call, GRPC_OK, "");
    assert_null(message);
    assert_int_equal(conn.messages, 1);
    assert_int_equal(conn.finishes, 1);
    assert_null(calls_take_dirty(calls));
    calls_destroy(&calls);
}

static void dirty_connections_keep_their_order_and_leave_from_anywhere(void **state)
{
    (void)state;
    calls_t *calls = calls_new();
    fake_conn_t conns[4] = {0};
    for (int i = 0; i < 4; i++) {
        calls_mark_dirty(calls, &conns[i].conn);
        calls_mark_dirty(calls, &conns[i].conn);
    }
    calls_clear_dirty(calls, &conns[1].conn);
    calls_clear_dirty(calls, &conns[1].conn);
    calls_clear_dirty(calls, &conns[3].conn);
    assert_ptr_equal(calls_take_dirty(calls), &conns[0].conn);
    calls_mark_dirty(calls, &conns[0].conn);
    assert_ptr_equal(calls_take_dirty(calls), &conns[2].conn);
    assert_ptr_equal(calls_take_dirty(calls), &conns[0].conn);
    assert_null(calls_take_dirty(calls));
    calls_destroy(&calls);
}

static void receiving_bytes_have_a_budget(void **state)
{
    (void)state;
    calls_t *calls = calls_new();
    assert_true(calls_charge(calls, LIMIT_RECEIVING_BYTES - 1));
    assert_false(calls_charge(calls, 2));
    assert_true(calls_charge(calls, 1));
    calls_refund(calls, LIMIT_RECEIVING_BYTES);
    assert_true(calls_charge(calls, 2));
    calls_destroy(&calls);
}

static void protocols_are_told_apart(void **state)
{
    (void)state;
    const char *preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for (size_t len = 0; len < 24; len++) {
        assert_int_equal(protocol_sniff(slice(preface, len)), PROTOCOL_UNDECIDED);
    }
    assert_int_equal(protocol_sniff(slice(preface, 24)), PROTOCOL_HTTP2);
    assert_int_equal(protocol_sniff(slice_str("P")), PROTOCOL_UNDECIDED);
    assert_int_equal(protocol_sniff(slice_str("PO")), PROTOCOL_HTTP1);
    assert_int_equal(protocol_sniff(slice_str("GET /health HTTP/1.1\r\n\r\n")), PROTOCOL_HTTP1);
    assert_int_equal(protocol_sniff(slice_str("PRI * HTTP/2.0\r\n\r\nSM\r\n\rX and more")),
                     PROTOCOL_HTTP1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_find_their_stream_until_closed),
        cmocka_unit_test(open_calls_are_bounded),
        cmocka_unit_test(answers_go_to_their_connection_and_mark_it_dirty),
        cmocka_unit_test(dirty_connections_keep_their_order_and_leave_from_anywhere),
        cmocka_unit_test(receiving_bytes_have_a_budget),
        cmocka_unit_test(protocols_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
