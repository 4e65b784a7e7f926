/* client session: one HTTP/2 connection in memory, a scripted server at its other end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "client/grpc_session.h"
#include "messages/xalloc.h"
#include "tests/support/h2_server.h"

typedef struct {
    grpc_call_t call; /* first: callbacks get it */
    char messages[8][64];
    size_t messages_n;
    bool closed;
} probe_t;

typedef struct {
    grpc_session_t *client;
    h2_server_t *server;
} pair_t;

static void on_message(grpc_call_t *call, const uint8_t *message, size_t size)
{
    probe_t *probe = (probe_t *)call;
    assert_true(probe->messages_n < 8);
    assert_true(size < 64);
    memcpy(probe->messages[probe->messages_n++], message, size);
}

static void on_closed(grpc_call_t *call)
{
    probe_t *probe = (probe_t *)call;
    assert_false(probe->closed);
    probe->closed = true;
}

static void pump(pair_t *pair)
{
    for (bool moved = true; moved;) {
        grpc_buffer_t up = {0};
        grpc_buffer_t down = {0};
        const char *reason = NULL;
        grpc_session_output(pair->client, &up, 1 << 20);
        h2_server_feed(pair->server, grpc_buffer_head(&up), grpc_buffer_size(&up));
        h2_server_output(pair->server, &down);
        assert_int_equal(grpc_session_feed(pair->client, grpc_buffer_head(&down),
                                           grpc_buffer_size(&down), &reason),
                         0);
        moved = grpc_buffer_size(&up) + grpc_buffer_size(&down) > 0;
        grpc_buffer_deinit(&up);
        grpc_buffer_deinit(&down);
    }
}

static pair_t new_pair(void)
{
    pair_t pair = {grpc_session_new("server:1"), h2_server_new()};
    assert_false(grpc_session_ready(pair.client));
    pump(&pair);
    assert_true(grpc_session_ready(pair.client));
    return pair;
}

static void destroy_pair(pair_t *pair)
{
    grpc_session_destroy(&pair->client);
    h2_server_destroy(&pair->server);
}

static probe_t *start(pair_t *pair, const char *message, int64_t timeout_us)
{
    probe_t *probe = xcalloc(1, sizeof *probe);
    probe->call.path = xstrdup("/a.B/C");
    probe->call.recv_bytes_max = 32;
    probe->call.on_message = on_message;
    probe->call.on_closed = on_closed;
    if (message != NULL) {
        grpc_frame_append(&probe->call.out, message, strlen(message));
        probe->call.out_closed = true;
    }
    grpc_session_submit(pair->client, &probe->call, timeout_us);
    pump(pair);
    return probe;
}

static void free_probe(probe_t *probe)
{
    free(probe->call.path);
    grpc_buffer_deinit(&probe->call.in);
    grpc_buffer_deinit(&probe->call.out);
    grpc_status_deinit(&probe->call.status);
    free(probe);
}

static void a_unary_call_gets_its_answer(void **state)
{
    (void)state;
    pair_t pair = new_pair();
    probe_t *probe = start(&pair, "question", 1500);
    h2_server_stream_t *stream = &pair.server->streams[0];
    assert_string_equal(stream->path, "/a.B/C");
    assert_string_equal(stream->timeout, "1500u");
    assert_true(stream->in_ended);
    assert_int_equal(grpc_buffer_size(&stream->in), 5 + 8);
    h2_server_headers(pair.server, stream);
    h2_server_message(pair.server, stream, "answer");
    h2_server_trailers(pair.server, stream, "0", "");
    pump(&pair);
    assert_true(probe->closed);
    assert_int_equal(probe->call.status.code, GRPC_OK);
    assert_int_equal(probe->messages_n, 1);
    assert_string_equal(probe->messages[0], "answer");
    assert_int_equal(grpc_session_calls(pair.client), 0);
    free_probe(probe);
    destroy_pair(&pair);
}

static void errors_are_decoded(void **state)
{
    (void)state;
    static const char *const only_status[] = {":status",          "200",         "content-type",
                                              "application/grpc", "grpc-status", "5",
                                              "grpc-message",     "not%20here",  NULL};
    static const char *const not_found[] = {":status", "404", NULL};
    static const char *const no_status[] = {":status", "200", "content-type", "application/grpc",
                                            NULL};
    static const struct {
        const char *const *pairs;
        uint32_t reset;
        int code;
        const char *message;
    } cases[] = {
        {only_status, 0, GRPC_NOT_FOUND, "not here"},
        {not_found, 0, GRPC_UNIMPLEMENTED, "unexpected HTTP status code received from server: 404"},
        {no_status, 0, GRPC_INTERNAL, "server closed the stream without sending trailers"},
        {NULL, NGHTTP2_REFUSED_STREAM, GRPC_UNAVAILABLE,
         "stream terminated by RST_STREAM with error code: REFUSED_STREAM"},
        {NULL, NGHTTP2_INTERNAL_ERROR, GRPC_INTERNAL,
         "stream terminated by RST_STREAM with error code: INTERNAL_ERROR"},
    };
    pair_t pair = new_pair();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        probe_t *probe = start(&pair, "x", -1);
        h2_server_stream_t *stream = &pair.server->streams[i];
        assert_string_equal(stream->timeout, "");
        if (cases[i].pairs != NULL) {
            h2_server_headers_only(pair.server, stream, cases[i].pairs);
        } else {
            h2_server_reset(pair.server, stream, cases[i].reset);
        }
        pump(&pair);
        assert_true(probe->closed);
        assert_int_equal(probe->call.status.code, cases[i].code);
        assert_string_equal(probe->call.status.message, cases[i].message);
        free_probe(probe);
    }
    destroy_pair(&pair);
}

static void trailers_come_after_messages(void **state)
{
    (void)state;
    pair_t pair = new_pair();
    probe_t *probe = start(&pair, "x", -1);
    h2_server_stream_t *stream = &pair.server->streams[0];
    h2_server_headers(pair.server, stream);
    h2_server_message(pair.server, stream, "one");
    pump(&pair);
    h2_server_message(pair.server, stream, "two");
    h2_server_trailers(pair.server, stream, "11", "etcdserver: mvcc: too late %E2%82%AC");
    pump(&pair);
    assert_int_equal(probe->messages_n, 2);
    assert_int_equal(probe->call.status.code, GRPC_OUT_OF_RANGE);
    assert_string_equal(probe->call.status.message, "etcdserver: mvcc: too late \xE2\x82\xAC");
    free_probe(probe);
    destroy_pair(&pair);
}

static void both_sides_may_go_on_sending(void **state)
{
    (void)state;
    pair_t pair = new_pair();
    probe_t *probe = start(&pair, NULL, -1);
    h2_server_stream_t *stream = &pair.server->streams[0];
    assert_false(stream->in_ended);
    h2_server_headers(pair.server, stream);
    for (int i = 0; i < 3; i++) {
        grpc_frame_append(&probe->call.out, "ping", 4);
        grpc_session_resume(pair.client, &probe->call);
        pump(&pair);
        assert_int_equal(grpc_buffer_size(&stream->in), 9 * (i + 1));
        h2_server_message(pair.server, stream, "pong");
        pump(&pair);
        assert_int_equal(probe->messages_n, i + 1);
    }
    probe->call.out_closed = true;
    grpc_session_resume(pair.client, &probe->call);
    pump(&pair);
    assert_true(stream->in_ended);
    assert_false(probe->closed);
    h2_server_trailers(pair.server, stream, "0", "");
    pump(&pair);
    assert_true(probe->closed);
    free_probe(probe);
    destroy_pair(&pair);
}

static void answers_that_are_too_large_or_compressed_end_the_call(void **state)
{
    (void)state;
    static const struct {
        const char *data;
        int code;
        const char *message;
    } cases[] = {
        {"\0\0\0\0\41", GRPC_RESOURCE_EXHAUSTED,
         "grpc: received message larger than max (33 vs. 32)"},
        {"\1\0\0\0\1", GRPC_INTERNAL, "grpc: compressed flag set with identity or empty encoding"},
    };
    pair_t pair = new_pair();
    for (size_t i = 0; i < 2; i++) {
        probe_t *probe = start(&pair, "x", -1);
        h2_server_stream_t *stream = &pair.server->streams[i];
        h2_server_headers(pair.server, stream);
        h2_server_raw(pair.server, stream, cases[i].data, 5);
        pump(&pair);
        assert_true(probe->closed);
        assert_int_equal(probe->call.status.code, cases[i].code);
        assert_string_equal(probe->call.status.message, cases[i].message);
        assert_true(stream->reset);
        free_probe(probe);
    }
    destroy_pair(&pair);
}

static void an_abandoned_call_is_reset_and_silent(void **state)
{
    (void)state;
    pair_t pair = new_pair();
    probe_t *probe = start(&pair, "x", -1);
    h2_server_stream_t *stream = &pair.server->streams[0];
    h2_server_headers(pair.server, stream);
    h2_server_message(pair.server, stream, "late");
    grpc_session_abandon(pair.client, &probe->call);
    free_probe(probe); /* nothing may touch it from here on */
    pump(&pair);
    assert_true(stream->reset);
    assert_int_equal(stream->reset_code, NGHTTP2_CANCEL);
    assert_int_equal(grpc_session_calls(pair.client), 0);
    /* One that has not been sent yet. */
    probe = xcalloc(1, sizeof *probe);
    probe->call.path = xstrdup("/a.B/D");
    grpc_session_submit(pair.client, &probe->call, -1);
    grpc_session_abandon(pair.client, &probe->call);
    free_probe(probe);
    pump(&pair);
    destroy_pair(&pair);
}

static void what_the_server_never_began_may_be_repeated(void **state)
{
    (void)state;
    static const struct {
        uint32_t reset;
        bool begun;
        bool unprocessed;
    } cases[] = {{NGHTTP2_REFUSED_STREAM, false, true},
                 {NGHTTP2_REFUSED_STREAM, true, false},
                 {NGHTTP2_INTERNAL_ERROR, false, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pair_t pair = new_pair();
        probe_t *probe = start(&pair, "x", -1);
        h2_server_stream_t *stream = &pair.server->streams[0];
        if (cases[i].begun) {
            h2_server_headers(pair.server, stream);
            pump(&pair);
        }
        h2_server_reset(pair.server, stream, cases[i].reset);
        pump(&pair);
        assert_true(probe->closed);
        assert_int_equal(probe->call.status.unprocessed, cases[i].unprocessed);
        free_probe(probe);
        destroy_pair(&pair);
    }
    /* The server goes away and does not count the call among those it will answer. */
    pair_t pair = new_pair();
    h2_server_goaway(pair.server);
    probe_t *probe = start(&pair, "x", -1);
    assert_true(probe->closed);
    assert_int_equal(probe->call.status.code, GRPC_UNAVAILABLE);
    assert_true(probe->call.status.unprocessed);
    free_probe(probe);
    destroy_pair(&pair);
}

static void goaway_and_garbage_are_noticed(void **state)
{
    (void)state;
    pair_t pair = new_pair();
    assert_false(grpc_session_draining(pair.client));
    h2_server_goaway(pair.server);
    pump(&pair);
    assert_true(grpc_session_draining(pair.client));
    destroy_pair(&pair);
    grpc_session_t *session = grpc_session_new("server:1");
    static const char http1[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    const char *reason = NULL;
    grpc_buffer_t out = {0};
    int rc = grpc_session_feed(session, (const uint8_t *)http1, sizeof http1 - 1, &reason);
    grpc_session_output(session, &out, 1 << 20);
    assert_true(rc != 0 || !grpc_session_ready(session));
    grpc_buffer_deinit(&out);
    grpc_session_destroy(&session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_unary_call_gets_its_answer),
        cmocka_unit_test(errors_are_decoded),
        cmocka_unit_test(trailers_come_after_messages),
        cmocka_unit_test(both_sides_may_go_on_sending),
        cmocka_unit_test(answers_that_are_too_large_or_compressed_end_the_call),
        cmocka_unit_test(an_abandoned_call_is_reset_and_silent),
        cmocka_unit_test(what_the_server_never_began_may_be_repeated),
        cmocka_unit_test(goaway_and_garbage_are_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
