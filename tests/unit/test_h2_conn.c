/* h2_conn: gRPC over HTTP/2 against nghttp2's client, in memory: calls, streams, their ends,
 * refusals in grpc-go's words, cancellation, flow control. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "tests/support/h2_fixture.h"

static void a_unary_call_is_answered(void **state)
{
    fixture_t *f = *state;
    peer_stream_t *stream = h2_peer_call(f->peer, "/etcdserverpb.KV/Put", false);
    h2_peer_message(f->peer, stream, "hello", 5, true);
    h2_peer_pump(f->peer);
    assert_int_equal(f->api.count, 1);
    assert_int_equal(f->api.calls[0].info.method, METHOD_PUT);
    assert_true(f->api.calls[0].info.deadline_us == DEADLINE_NONE);
    assert_int_equal(f->api.calls[0].info.flags, 0);
    assert_status(stream, GRPC_OK, "");
    assert_string_equal(stream->http_status, "200");
    assert_int_equal(stream->body.len, 10);
    assert_memory_equal(stream->body.data, "\0\0\0\0\5hello", 10);
    assert_int_equal(f->peer->max_concurrent_streams, 1000);
    assert_int_equal(stream->error, NGHTTP2_NO_ERROR);
}

static void input_in_single_bytes_is_the_same(void **state)
{
    fixture_t *f = *state;
    f->peer->chunk_bytes = 1;
    for (int i = 0; i < 3; i++) {
        peer_stream_t *stream = h2_peer_call(f->peer, "/etcdserverpb.KV/Range", false);
        h2_peer_message(f->peer, stream, "abc", 3, true);
        h2_peer_pump(f->peer);
        assert_status(stream, GRPC_OK, "");
        assert_memory_equal(stream->body.data, "\0\0\0\0\3abc", 8);
    }
}

static void many_calls_at_once_are_all_answered(void **state)
{
    fixture_t *f = *state;
    enum { CALLS = 500 };
    for (int i = 0; i < CALLS; i++) {
        peer_stream_t *stream = h2_peer_call(f->peer, "/etcdserverpb.KV/Range", false);
        h2_peer_message(f->peer, stream, &i, sizeof i, true);
    }
    h2_peer_pump(f->peer);
    for (int i = 0; i < CALLS; i++) {
        assert_status(&f->peer->streams[i], GRPC_OK, "");
        assert_memory_equal(f->peer->streams[i].body.data + 5, &i, sizeof i);
    }
}

static void large_messages_pass_in_pieces(void **state)
{
    fixture_t *f = *state;
    uint8_t *data = xmalloc(FIXTURE_MAX_MESSAGE);
    for (size_t i = 0; i < FIXTURE_MAX_MESSAGE; i++) {
        data[i] = (uint8_t)(i * 7);
    }
    peer_stream_t *stream = h2_peer_call(f->peer, "/etcdserverpb.KV/Put", false);
    h2_peer_message(f->peer, stream, data, FIXTURE_MAX_MESSAGE, true);
    h2_peer_pump(f->peer);
    assert_status(stream, GRPC_OK, "");
    assert_int_equal(stream->body.len, FIXTURE_MAX_MESSAGE + 5);
    assert_memory_equal(stream->body.data + 5, data, FIXTURE_MAX_MESSAGE);
    free(data);
}

static void an_error_is_headers_alone(void **state)
{
    fixture_t *f = *state;
    f->api.hold = true;
    peer_stream_t *stream = h2_peer_call(f->peer, "/etcdserverpb.KV/Put", false);
    h2_peer_message(f->peer, stream, "x", 1, true);
    h2_peer_pump(f->peer);
    assert_false(stream->closed);
    fake_finish(&f->api, f->api.calls[0].id, GRPC_UNAVAILABLE, "100% \xc3\xbc");
    h2_peer_pump(f->peer);
    assert_status(stream, GRPC_UNAVAILABLE, "100%25 %C3%BC");
    assert_true(stream->headers_ended_stream);
    assert_int_equal(stream->body.len, 0);
}

static void metadata_reaches_the_call(void **state)
{
    fixture_t *f = *state;
    const char *pairs[] = {":method",
                           "POST",
                           ":scheme",
                           "http",
                           ":path",
                           "/etcdserverpb.KV/Range",
                           ":authority",
                           "h",
                           "content-type",
                           "application/grpc+proto",
                           "grpc-timeout",
                           "2S",
                           "hasleader",
                           "true",
                           "token",
                           "t",
                           NULL};
    f->peer->now_us = 5000000;
    h2_peer_headers(f->peer, pairs, true);
    h2_peer_pump(f->peer);
    assert_int_equal(f->api.calls[0].info.flags, CALL_REQUIRE_LEADER);
    assert_int_equal(f->api.calls[0].info.deadline_us, 7000000);
}

static void a_bidi_stream_carries_messages_both_ways(void **state)
{
    fixture_t *f = *state;
    peer_stream_t *stream = h2_peer_call(f->peer, "/etcdserverpb.Watch/Watch", false);
    h2_peer_message(f->peer, stream, "one", 3, false);
    h2_peer_pump(f->peer);
    const fake_call_t *call = &f->api.calls[0];
    assert_int_equal(call->messages, 1);
    assert_false(call->half_closed);
    fake_message(&f->api, call->id, "ev1", 3);
    h2_peer_pump(f->peer);
    assert_int_equal(stream->body.len, 8);
    assert_int_equal(call->sent_bytes, 3);
    fake_message(&f->api, call->id, "ev2", 3);
    fake_message(&f->api, call->id, "", 0);
    h2_peer_message(f->peer, stream, "two", 3, true);
    h2_peer_pump(f->peer);
    assert_int_equal(stream->body.len, 21);
    assert_memory_equal(stream->body.data + 8, "\0\0\0\0\3ev2\0\0\0\0\0", 13);
    assert_int_equal(call->messages, 2);
    assert_true(call->half_closed);
    assert_false(stream->closed);
    fake_message(&f->api, call->id, "last", 4);
    fake_finish(&f->api, call->id, GRPC_CANCELLED, "watch closed");
    h2_peer_pump(f->peer);
    assert_status(stream, GRPC_CANCELLED, "watch closed");
    assert_int_equal(stream->body.len, 30);
}

static void a_stream_the_server_ends_first_is_reset_gently(void **state)
{
    fixture_t *f = *state;
    peer_stream_t *stream = h2_peer_call(f->peer, "/etcdserverpb.Watch/Watch", false);
    h2_peer_message(f->peer, stream, "one", 3, false);
    h2_peer_pump(f->peer);
    fake_finish(&f->api, f->api.calls[0].id, GRPC_UNAVAILABLE, "etcdserver: no leader");
    h2_peer_pump(f->peer);
    assert_status(stream, GRPC_UNAVAILABLE, "etcdserver: no leader");
    assert_int_equal(stream->error, NGHTTP2_NO_ERROR);
}

static void a_server_stream_begins_when_the_client_has_ended(void **state)
{
    fixture_t *f = *state;
    peer_stream_t *stream = h2_peer_call(f->peer, "/etcdserverpb.KV/RangeStream", false);
    h2_peer_message(f->peer, stream, "r", 1, false);
    h2_peer_pump(f->peer);
    const fake_call_t *call = &f->api.calls[0];
    assert_int_equal(call->messages, 0);
    h2_peer_data(f->peer, stream, "", 0, true);
    h2_peer_pump(f->peer);
    assert_int_equal(call->messages, 1);
    assert_true(call->half_closed);
    fake_message(&f->api, call->id, "part", 4);
    h2_peer_pump(f->peer);
    assert_int_equal(stream->body.len, 9);
    fake_finish(&f->api, call->id, GRPC_OK, "");
    h2_peer_pump(f->peer);
    assert_status(stream, GRPC_OK, "");
}

static void a_reset_cancels_the_call(void **state)
{
    fixture_t *f = *state;
    peer_stream_t *stream = h2_peer_call(f->peer, "/etcdserverpb.Watch/Watch", false);
    h2_peer_pump(f->peer);
    uint64_t call = f->api.calls[0].id;
    nghttp2_submit_rst_stream(f->peer->session, 0, stream->id, NGHTTP2_CANCEL);
    h2_peer_pump(f->peer);
    assert_true(f->api.calls[0].cancelled);
    fake_message(&f->api, call, "late", 4); /* answers that come too late are dropped */
    fake_finish(&f->api, call, GRPC_OK, "");
    h2_peer_pump(f->peer);
    assert_int_equal(stream->body.len, 0);
}

static void a_closed_connection_cancels_its_calls(void **state)
{
    fixture_t *f = *state;
    h2_peer_call(f->peer, "/etcdserverpb.Watch/Watch", false);
    h2_peer_call(f->peer, "/etcdserverpb.KV/Put", false);
    h2_peer_pump(f->peer);
    f->conn->ops->destroy(&f->conn);
    assert_int_equal(fake_open_calls(&f->api), 0);
    f->conn = h2_conn_new(&f->env, 0); /* for tear_down */
}

/* ---- refusals ---- */

static void bad_requests_are_refused_in_grpc_go_s_words(void **state)
{
    fixture_t *f = *state;
    static const struct {
        const char *method, *path, *type, *extra, *value;
        const char *http;
        int code;
        const char *text;
    } cases[] = {
        {"POST", "/etcdserverpb.KV/Nope", "application/grpc", "x", "y", "200", 12,
         "unknown method Nope for service etcdserverpb.KV"},
        {"POST", "/my.Service/Get", "application/grpc", "x", "y", "200", 12,
         "unknown service my.Service"},
        {"POST", "/etcdserverpb.KV", "application/grpc", "x", "y", "200", 12,
         "malformed method name: \"/etcdserverpb.KV\""},
        {"POST", "/a/b/c", "application/grpc", "x", "y", "200", 12, "unknown service a/b"},
        {"POST", "/etcdserverpb.KV/Put", "text/plain", "x", "y", "415", 3,
         "invalid gRPC request content-type \"text/plain\""},
        {"GET", "/etcdserverpb.KV/Put", "application/grpc", "x", "y", "405", 13,
         "Received a HEADERS frame with :method \"GET\" which should be POST"},
        {"POST", "/etcdserverpb.KV/Put", "application/grpc", "grpc-timeout", "5x", "400", 13,
         "malformed grpc-timeout: transport: timeout unit is not recognized: \"5x\""},
        {"POST", "/etcdserverpb.KV/Put", "application/grpc", "grpc-timeout", "0S", "200", 4,
         "context deadline exceeded"},
        {"POST", "/etcdserverpb.KV/Put", "application/grpc", "grpc-encoding", "gzip", "200", 12,
         "grpc: Decompressor is not installed for grpc-encoding \"gzip\""},
        {"POST", "/etcdserverpb.KV/Put", "application/grpc", "client-api-version", "3.\xff", "200",
         3, "etcdserver: invalid client api version"},
        {"POST", "/etcdserverpb.Watch/Watch", "application/grpc", "client-api-version", "\xc3",
         "200", 3, "etcdserver: invalid client api version"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *pairs[] = {":method",     cases[i].method, ":scheme",
                               "http",        ":authority",    "h",
                               ":path",       cases[i].path,   "content-type",
                               cases[i].type, cases[i].extra,  cases[i].value,
                               NULL};
        peer_stream_t *stream = h2_peer_headers(f->peer, pairs, i % 2);
        h2_peer_pump(f->peer);
        assert_string_equal(stream->http_status, cases[i].http);
        assert_status(stream, cases[i].code, cases[i].text);
    }
    assert_int_equal(f->api.count, 0);
}

/* As grpc-go's metadata: the first of several counts; empty is not absent. */
static void the_client_s_version_goes_along(void **state)
{
    fixture_t *f = *state;
    static const struct {
        const char *name, *first, *second, *seen;
    } cases[] = {
        {"client-api-version", "3.7.0", "3.6.0", "3.7.0"},
        {"client-api-version", "", "3.6.0", ""},
        {"client-api-versions", "3.7.0", "3.6.0", "none"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *pairs[] = {":method",
                               "POST",
                               ":scheme",
                               "http",
                               ":authority",
                               "h",
                               ":path",
                               "/etcdserverpb.KV/Put",
                               "content-type",
                               "application/grpc",
                               cases[i].name,
                               cases[i].first,
                               cases[i].name,
                               cases[i].second,
                               NULL};
        h2_peer_headers(f->peer, pairs, false);
        h2_peer_pump(f->peer);
        assert_int_equal(f->api.count, i + 1);
        assert_string_equal(f->api.calls[i].client_version, cases[i].seen);
    }
}

static void bad_bodies_are_refused_in_grpc_go_s_words(void **state)
{
    fixture_t *f = *state;
    static const struct {
        const char *path;
        slice_t body;
        int code;
        const char *text;
    } cases[] = {
#define BODY(text) {(const uint8_t *)(text), sizeof(text) - 1}
        {"/etcdserverpb.KV/Put", BODY(""), 2, "EOF"},
        {"/etcdserverpb.KV/Put", BODY("\0\0\0"), 2, "unexpected EOF"},
        {"/etcdserverpb.KV/Put", BODY("\0\0\0\0\5abc"), 2, "unexpected EOF"},
        {"/etcdserverpb.KV/Put", BODY("\0\0\1\x86\xa1"), 8,
         "grpc: received message larger than max (100001 vs. 100000)"},
        {"/etcdserverpb.KV/Put", BODY("\0\xff\xff\xff\xff"), 8,
         "grpc: received message larger than max (4294967295 vs. 100000)"},
        {"/etcdserverpb.KV/Put", BODY("\1\0\0\0\1x"), 13,
         "grpc: compressed flag set with identity or empty encoding"},
        {"/etcdserverpb.KV/Put", BODY("\7\0\0\0\1x"), 13,
         "grpc: received unexpected payload format 7"},
        {"/etcdserverpb.KV/RangeStream", BODY(""), 13,
         "cardinality violation: received no request message from non-client-streaming RPC"},
        {"/etcdserverpb.KV/RangeStream", BODY("\0\0\0\0\1x\0\0\0\0\1y"), 13,
         "cardinality violation: received multiple request messages for non-client-streaming "
         "RPC"},
        {"/etcdserverpb.Watch/Watch", BODY("\0\0\0\0\5abc"), 13, "unexpected EOF"},
        {"/etcdserverpb.Watch/Watch", BODY("\0\xff\xff\xff\xff"), 8,
         "grpc: received message larger than max (4294967295 vs. 100000)"},
#undef BODY
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        peer_stream_t *stream = h2_peer_call(f->peer, cases[i].path, false);
        h2_peer_data(f->peer, stream, cases[i].body.data, cases[i].body.len, true);
        h2_peer_pump(f->peer);
        assert_status(stream, cases[i].code, cases[i].text);
        assert_true(f->api.calls[f->api.count - 1].cancelled);
    }
    assert_int_equal(metrics_get(&f->metrics, METRIC_WATCH_RECEIVE_FAILURES), 2);
}

static void what_follows_a_unary_message_is_ignored(void **state)
{
    fixture_t *f = *state;
    f->api.hold = true;
    peer_stream_t *stream = h2_peer_call(f->peer, "/etcdserverpb.KV/Put", false);
    h2_peer_message(f->peer, stream, "first", 5, false);
    h2_peer_pump(f->peer);
    assert_true(f->api.calls[0].half_closed); /* it runs before the client has closed */
    h2_peer_message(f->peer, stream, "second", 6, true);
    h2_peer_pump(f->peer);
    assert_int_equal(f->api.calls[0].messages, 1);
    fake_message(&f->api, f->api.calls[0].id, "a", 1);
    fake_finish(&f->api, f->api.calls[0].id, GRPC_OK, "");
    h2_peer_pump(f->peer);
    assert_status(stream, GRPC_OK, "");
}

static void an_empty_message_is_a_message(void **state)
{
    fixture_t *f = *state;
    peer_stream_t *stream = h2_peer_call(f->peer, "/etcdserverpb.Maintenance/Status", false);
    h2_peer_message(f->peer, stream, "", 0, true);
    h2_peer_pump(f->peer);
    assert_int_equal(f->api.calls[0].messages, 1);
    assert_status(stream, GRPC_OK, "");
    assert_int_equal(stream->body.len, 5);
}

/* ---- flow control ---- */

static void answers_wait_for_the_client_s_window(void **state)
{
    fixture_t *f = *state;
    uint8_t data[2500] = {0};
    peer_stream_t *stream = h2_peer_call(f->peer, "/etcdserverpb.Watch/Watch", false);
    h2_peer_pump(f->peer);
    uint64_t call = f->api.calls[0].id;
    nghttp2_session_set_local_window_size(f->peer->session, 0, stream->id, 1000);
    f->peer->deaf = true; /* so that the client's library gives no window back */
    fake_message(&f->api, call, data, sizeof data);
    h2_peer_pump(f->peer);
    assert_true(f->api.calls[0].sent_bytes <= 1000);
    f->peer->deaf = false;
    h2_peer_pump(f->peer);
    assert_int_equal(stream->body.len, sizeof data + 5);
    assert_int_equal(f->api.calls[0].sent_bytes, sizeof data);
}

static void requests_wait_while_too_much_is_unsent(void **state)
{
    fixture_t *f = *state;
    f->api.hold = true;
    f->peer->deaf = true;
    enum { PIECE = 1 << 20 };
    uint8_t *data = xcalloc(1, PIECE);
    h2_peer_call(f->peer, "/etcdserverpb.Watch/Watch", false);
    h2_peer_pump(f->peer);
    for (size_t sent = 0; sent <= LIMIT_CONNECTION_BYTES + PIECE; sent += PIECE) {
        fake_message(&f->api, f->api.calls[0].id, data, PIECE);
    }
    h2_peer_pump(f->peer);
    assert_false(f->conn->ops->want_input(f->conn)); /* the socket is stuck */
    peer_stream_t *put = h2_peer_call(f->peer, "/etcdserverpb.KV/Put", false);
    h2_peer_message(f->peer, put, "x", 1, true);
    h2_peer_pump(f->peer);
    assert_int_equal(f->api.count, 2);
    assert_int_equal(f->api.calls[1].messages, 0); /* held */
    f->peer->deaf = false;
    h2_peer_pump(f->peer);
    assert_true(f->conn->ops->want_input(f->conn));
    if (f->api.calls[1].messages == 0) { /* no input since: the shell's next turn brings it on */
        assert_int_equal(f->conn->ops->deadline(f->conn), 0);
        f->conn->ops->timeout(f->conn, f->peer->now_us);
    }
    assert_int_equal(f->api.calls[1].messages, 1);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_unary_call_is_answered, set_up),
        TEST(input_in_single_bytes_is_the_same, set_up),
        TEST(many_calls_at_once_are_all_answered, set_up),
        TEST(large_messages_pass_in_pieces, set_up),
        TEST(an_error_is_headers_alone, set_up),
        TEST(metadata_reaches_the_call, set_up),
        TEST(a_bidi_stream_carries_messages_both_ways, set_up),
        TEST(a_stream_the_server_ends_first_is_reset_gently, set_up),
        TEST(a_server_stream_begins_when_the_client_has_ended, set_up),
        TEST(a_reset_cancels_the_call, set_up),
        TEST(a_closed_connection_cancels_its_calls, set_up),
        TEST(bad_requests_are_refused_in_grpc_go_s_words, set_up),
        TEST(the_client_s_version_goes_along, set_up),
        TEST(bad_bodies_are_refused_in_grpc_go_s_words, set_up),
        TEST(what_follows_a_unary_message_is_ignored, set_up),
        TEST(an_empty_message_is_a_message, set_up),
        TEST(answers_wait_for_the_client_s_window, set_up_small_window),
        TEST(requests_wait_while_too_much_is_unsent, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
