/* h2_conn against clients that misbehave: floods, limits, silence, half-read answers, nonsense.
 * Time is the test's: nothing here waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "tests/support/h2_fixture.h"

enum { FLOOD = 3000 /* frames; a burst of 1,000 is allowed */ };

static void pass_time(fixture_t *f, uint64_t us)
{
    f->peer->now_us += us;
    f->conn->ops->timeout(f->conn, f->peer->now_us);
    h2_peer_pump(f->peer);
}

/* Takes what the connection says and looks only for GOAWAY: for frames sent past the peer, whose
 * answers would only confuse it. */
static void listen_for_goaway(fixture_t *f)
{
    slice_t out = f->conn->ops->output(f->conn, f->peer->now_us);
    for (size_t at = 0; at < out.len;) {
        const uint8_t *frame = out.data + at;
        size_t len = (size_t)frame[0] << 16 | (size_t)frame[1] << 8 | frame[2];
        if (frame[3] == NGHTTP2_GOAWAY) {
            f->peer->goaway = true;
            f->peer->goaway_code = frame[16];
            snprintf(f->peer->goaway_text, sizeof f->peer->goaway_text, "%.*s", (int)len - 8,
                     (const char *)frame + 17);
        }
        at += 9 + len;
    }
    f->conn->ops->written(f->conn, out.len);
}

/* Sends one frame by hand, over and over, until the connection has had enough or `times` is over. */
static void flood(fixture_t *f, const uint8_t *frame, size_t len, int times)
{
    for (int i = 0; i < times && !f->peer->refused; i++) {
        h2_peer_raw(f->peer, frame, len);
        listen_for_goaway(f);
    }
}

static void assert_calmed_down(const fixture_t *f, const char *text)
{
    assert_true(f->peer->refused);
    assert_true(f->peer->goaway);
    assert_int_equal(f->peer->goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_string_equal(f->peer->goaway_text, text);
    assert_true(f->conn->ops->finished(f->conn));
    assert_int_equal(metrics_get(&f->metrics, METRIC_PROTOCOL_ERRORS), 1);
}

/* ---- floods ---- */

static void floods_of_control_frames_end_the_connection(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        uint8_t frame[32];
        size_t len;
    } cases[] = {
        {"SETTINGS", {0, 0, 0, 4, 0, 0, 0, 0, 0}, 9},
        {"PRIORITY", {0, 0, 5, 2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 16}, 14},
        {"WINDOW_UPDATE", {0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 13},
        {"unknown frames", {0, 0, 0, 0x77, 0, 0, 0, 0, 0}, 9},
        {"empty DATA", {0, 0, 0, 0, 0, 0, 0, 0, 1}, 9},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        void *fixture = NULL;
        set_up_window(&fixture, 0);
        fixture_t *f = fixture;
        h2_peer_call(f->peer, "/etcdserverpb.Watch/Watch", false); /* stream 1, for DATA */
        h2_peer_pump(f->peer);
        flood(f, cases[i].frame, cases[i].len, LIMIT_CONTROL_FRAMES_BURST / 2);
        assert_false(f->peer->refused);
        flood(f, cases[i].frame, cases[i].len, FLOOD);
        assert_calmed_down(f, "too_many_control_frames");
        tear_down(&fixture);
    }
}

static void control_frames_at_a_moderate_rate_are_fine(void **state)
{
    fixture_t *f = *state;
    static const uint8_t settings[] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
    for (int second = 0; second < 60; second++) {
        f->peer->now_us += 1000000;
        flood(f, settings, sizeof settings, LIMIT_CONTROL_FRAMES_PER_S);
        assert_false(f->peer->refused);
    }
}

static void answers_earn_window_updates(void **state)
{
    fixture_t *f = *state;
    static const uint8_t update[] = {0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    for (int i = 0; i < 2000; i++) {
        peer_stream_t *stream = h2_peer_call(f->peer, "/etcdserverpb.KV/Range", false);
        h2_peer_message(f->peer, stream, "x", 1, true);
        h2_peer_pump(f->peer);
        flood(f, update, sizeof update, 2);
        assert_false(f->peer->refused);
    }
}

static void rapid_resets_end_the_connection(void **state)
{
    fixture_t *f = *state;
    for (int i = 0; i < 2 * LIMIT_STREAM_RESETS_BURST && !f->peer->refused; i++) {
        peer_stream_t *stream = h2_peer_call(f->peer, "/etcdserverpb.Watch/Watch", false);
        h2_peer_pump(f->peer);
        assert_true(i <= LIMIT_STREAM_RESETS_BURST);
        nghttp2_submit_rst_stream(f->peer->session, 0, stream->id, NGHTTP2_CANCEL);
        h2_peer_pump(f->peer);
    }
    assert_calmed_down(f, "too_many_resets");
}

static void answered_calls_may_be_reset_at_any_rate(void **state)
{
    fixture_t *f = *state;
    for (int i = 0; i < 3 * LIMIT_STREAM_RESETS_BURST; i++) {
        peer_stream_t *stream = h2_peer_call(f->peer, "/etcdserverpb.Watch/Watch", false);
        h2_peer_pump(f->peer);
        fake_message(&f->api, f->api.calls[f->api.count - 1].id, "created", 7);
        h2_peer_pump(f->peer);
        nghttp2_submit_rst_stream(f->peer->session, 0, stream->id, NGHTTP2_CANCEL);
        h2_peer_pump(f->peer);
        assert_false(f->peer->refused);
    }
    assert_int_equal(fake_open_calls(&f->api), 0);
}

/* A stalled server makes a busy client's calls time out all at once. */
static void busy_clients_may_lose_patience(void **state)
{
    fixture_t *f = *state;
    enum { CALLS = 900 };
    for (int i = 0; i < CALLS; i++) {
        peer_stream_t *stream = h2_peer_call(f->peer, "/etcdserverpb.KV/Range", false);
        h2_peer_message(f->peer, stream, "x", 1, true);
    }
    h2_peer_pump(f->peer);
    f->api.hold = true;
    for (int i = 0; i < CALLS; i++) {
        peer_stream_t *stream = h2_peer_call(f->peer, "/etcdserverpb.KV/Range", false);
        h2_peer_message(f->peer, stream, "x", 1, true);
    }
    h2_peer_pump(f->peer);
    for (int i = 0; i < CALLS; i++) {
        nghttp2_submit_rst_stream(f->peer->session, 0, f->peer->streams[CALLS + i].id,
                                  NGHTTP2_CANCEL);
    }
    h2_peer_pump(f->peer);
    assert_false(f->peer->refused);
    assert_int_equal(fake_open_calls(&f->api), CALLS); /* those that were answered */
}

static void calls_that_lived_a_while_may_be_reset(void **state)
{
    fixture_t *f = *state;
    enum { CALLS = 900 };
    for (int i = 0; i < CALLS; i++) {
        h2_peer_call(f->peer, "/etcdserverpb.Watch/Watch", false);
    }
    h2_peer_pump(f->peer);
    f->peer->now_us += LIMIT_RAPID_RESET_US + 1;
    for (int i = 0; i < CALLS; i++) {
        nghttp2_submit_rst_stream(f->peer->session, 0, f->peer->streams[i].id, NGHTTP2_CANCEL);
    }
    h2_peer_pump(f->peer);
    assert_false(f->peer->refused);
    assert_int_equal(fake_open_calls(&f->api), 0);
}

/* ---- keepalive ---- */

static void ping(fixture_t *f)
{
    nghttp2_submit_ping(f->peer->session, 0, NULL);
    h2_peer_pump(f->peer);
}

static void pings_more_often_than_allowed_end_the_connection(void **state)
{
    fixture_t *f = *state;
    h2_peer_call(f->peer, "/etcdserverpb.Watch/Watch", false);
    h2_peer_pump(f->peer);
    ping(f);
    for (int i = 0; i < LIMIT_PING_STRIKES; i++) {
        f->peer->now_us += 4999999;
        ping(f);
        assert_false(f->peer->refused);
    }
    assert_int_equal(f->peer->pings_acked, 1 + LIMIT_PING_STRIKES);
    f->peer->now_us += 4999999;
    ping(f);
    assert_calmed_down(f, "too_many_pings");
}

static void pings_at_the_allowed_rate_are_answered(void **state)
{
    fixture_t *f = *state;
    h2_peer_call(f->peer, "/etcdserverpb.Watch/Watch", false);
    h2_peer_pump(f->peer);
    for (int i = 0; i < 100; i++) {
        f->peer->now_us += 5000000;
        ping(f);
    }
    assert_int_equal(f->peer->pings_acked, 100);
    assert_false(f->peer->refused);
}

static void pings_without_streams_are_not_permitted(void **state)
{
    fixture_t *f = *state;
    for (int i = 0; i < 2 + LIMIT_PING_STRIKES; i++) {
        f->peer->now_us += 60000000;
        ping(f);
    }
    assert_calmed_down(f, "too_many_pings");
}

static void pings_between_answers_are_bandwidth_probes(void **state)
{
    fixture_t *f = *state;
    for (int i = 0; i < 1500; i++) {
        peer_stream_t *stream = h2_peer_call(f->peer, "/etcdserverpb.KV/Range", false);
        h2_peer_message(f->peer, stream, "x", 1, true);
        h2_peer_pump(f->peer);
        ping(f);
    }
    assert_false(f->peer->refused);
    assert_int_equal(f->peer->pings_acked, 1500);
}

static void silent_clients_are_pinged_and_then_closed(void **state)
{
    fixture_t *f = *state;
    h2_peer_call(f->peer, "/etcdserverpb.Watch/Watch", false);
    h2_peer_pump(f->peer);
    assert_true(f->conn->ops->deadline(f->conn) == f->peer->now_us + 7200000000);
    pass_time(f, 7200000000);
    assert_int_equal(f->peer->pings_received, 1); /* the peer has acknowledged: alive */
    assert_true(f->conn->ops->deadline(f->conn) == f->peer->now_us + 7200000000);
    f->peer->deaf = true;
    pass_time(f, 7200000000);
    assert_true(f->conn->ops->deadline(f->conn) == f->peer->now_us + 20000000);
    assert_false(f->conn->ops->finished(f->conn));
    pass_time(f, 20000000);
    assert_true(f->conn->ops->finished(f->conn));
    assert_int_equal(f->conn->ops->output(f->conn, f->peer->now_us).len, 0);
}

/* ---- sizes and counts ---- */

static void oversized_header_lists_reset_the_stream(void **state)
{
    fixture_t *f = *state;
    char *value = xmalloc(LIMIT_HEADER_LIST_BYTES + 1);
    memset(value, 'v', LIMIT_HEADER_LIST_BYTES);
    value[LIMIT_HEADER_LIST_BYTES] = '\0';
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
                           "x",
                           value,
                           NULL};
    const peer_stream_t *stream = h2_peer_headers(f->peer, pairs, true);
    h2_peer_pump(f->peer);
    assert_true(stream->closed);
    assert_int_equal(stream->error, NGHTTP2_FRAME_SIZE_ERROR);
    const char *many[2 * (LIMIT_HEADERS + 2) + 1] = {NULL};
    memcpy(many, pairs, 10 * sizeof *pairs);
    for (size_t i = 10; i < 2 * (LIMIT_HEADERS + 1); i += 2) {
        many[i] = "x";
        many[i + 1] = "y";
    }
    stream = h2_peer_headers(f->peer, many, true);
    h2_peer_pump(f->peer);
    assert_int_equal(stream->error, NGHTTP2_FRAME_SIZE_ERROR);
    assert_int_equal(f->api.count, 0);
    assert_false(f->peer->refused);
    free(value);
}

static void streams_over_the_announced_number_end_the_connection(void **state)
{
    fixture_t *f = *state;
    static const uint8_t headers[] = {/* :method POST, :scheme http, :path "/", :authority "h" */
                                      0x83, 0x86, 0x84, 0x01, 0x01, 'h'};
    for (int i = 0; i < FIXTURE_MAX_STREAMS; i++) {
        h2_peer_call(f->peer, "/etcdserverpb.Watch/Watch", false);
    }
    h2_peer_pump(f->peer);
    assert_int_equal(fake_open_calls(&f->api), FIXTURE_MAX_STREAMS);
    uint8_t frame[9 + sizeof headers] = {0, 0, sizeof headers, 1, 4, 0, 0, 0x7f, 1};
    memcpy(frame + 9, headers, sizeof headers);
    h2_peer_raw(f->peer, frame, sizeof frame); /* past the peer, which would keep to the limit */
    listen_for_goaway(f);
    assert_true(f->peer->goaway);
    assert_int_equal(f->peer->goaway_code, NGHTTP2_PROTOCOL_ERROR);
    assert_true(f->conn->ops->finished(f->conn));
    assert_int_equal(f->api.count, FIXTURE_MAX_STREAMS);
}

static void calls_over_the_gateway_s_limit_are_refused(void **state)
{
    fixture_t *f = *state;
    uint64_t *calls = xcalloc(LIMIT_CALLS, sizeof *calls);
    for (int i = 0; i < LIMIT_CALLS; i++) {
        calls[i] = calls_open(f->env.calls, f->conn, 0);
    }
    const peer_stream_t *stream = h2_peer_call(f->peer, "/etcdserverpb.Watch/Watch", false);
    h2_peer_pump(f->peer);
    assert_true(stream->closed);
    assert_int_equal(stream->error, NGHTTP2_REFUSED_STREAM); /* clients try again by themselves */
    assert_int_equal(f->api.count, 0);
    for (int i = 0; i < LIMIT_CALLS; i++) {
        calls_close(f->env.calls, calls[i]);
    }
    free(calls);
}

static void half_messages_share_a_budget(void **state)
{
    fixture_t *f = *state;
    assert_true(calls_charge(f->env.calls, LIMIT_RECEIVING_BYTES - 10));
    peer_stream_t *stream = h2_peer_call(f->peer, "/etcdserverpb.KV/Put", false);
    h2_peer_data(f->peer, stream,
                 "\0\0\0\0\x64"
                 "0123456789",
                 15, false);
    h2_peer_pump(f->peer);
    assert_false(stream->closed);
    h2_peer_data(f->peer, stream, "x", 1, false);
    h2_peer_pump(f->peer);
    assert_status(stream, GRPC_RESOURCE_EXHAUSTED, "etcdserver: too many requests");
    calls_refund(f->env.calls, LIMIT_RECEIVING_BYTES - 10);
}

/* ---- silence ---- */

static void half_open_clients_are_closed(void **state)
{
    (void)state;
    fixture_t f = {.env = {.calls = calls_new(), .api = &f.api, .metrics = &f.metrics}};
    f.conn = h2_conn_new(&f.env, 1000);
    const char *preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    assert_int_equal(f.conn->ops->input(f.conn, slice_str(preface), 1000), 0);
    assert_true(f.conn->ops->deadline(f.conn) == 1000 + LIMIT_HANDSHAKE_US);
    f.conn->ops->timeout(f.conn, 1000 + LIMIT_HANDSHAKE_US - 1);
    assert_false(f.conn->ops->finished(f.conn));
    f.conn->ops->timeout(f.conn, 1000 + LIMIT_HANDSHAKE_US);
    assert_true(f.conn->ops->finished(f.conn));
    f.conn->ops->destroy(&f.conn);
    calls_destroy(&f.env.calls);
}

static void connections_that_are_never_used_are_closed(void **state)
{
    fixture_t *f = *state;
    assert_true(f->conn->ops->deadline(f->conn) == f->peer->now_us + LIMIT_UNUSED_US);
    pass_time(f, LIMIT_UNUSED_US - 1);
    assert_false(f->peer->goaway);
    pass_time(f, 1); /* and the acknowledgement of what it says */
    assert_true(f->peer->goaway);
    assert_int_equal(f->peer->goaway_code, NGHTTP2_NO_ERROR);
    pass_time(f, 0);
    assert_true(f->conn->ops->finished(f->conn));
}

static void the_end_of_an_unused_connection_loses_no_call(void **state)
{
    fixture_t *f = *state;
    peer_stream_t *stream = h2_peer_call(f->peer, "/etcdserverpb.KV/Range", false); /* on its way */
    h2_peer_message(f->peer, stream, "x", 1, true);
    f->peer->now_us += LIMIT_UNUSED_US;
    f->conn->ops->timeout(f->conn, f->peer->now_us);
    h2_peer_pump(f->peer);
    assert_status(stream, GRPC_OK, "");
    assert_true(f->peer->goaway);
    pass_time(f, 0);
    assert_true(f->conn->ops->finished(f->conn));
}

static void used_connections_may_rest(void **state)
{
    fixture_t *f = *state;
    peer_stream_t *stream = h2_peer_call(f->peer, "/etcdserverpb.KV/Range", false);
    h2_peer_message(f->peer, stream, "x", 1, true);
    h2_peer_pump(f->peer);
    pass_time(f, 100 * (uint64_t)LIMIT_UNUSED_US);
    assert_false(f->conn->ops->finished(f->conn));
}

static void slow_requests_end_but_streams_may_be_silent(void **state)
{
    fixture_t *f = *state;
    peer_stream_t *watch = h2_peer_call(f->peer, "/etcdserverpb.Watch/Watch", false);
    peer_stream_t *nothing = h2_peer_call(f->peer, "/etcdserverpb.KV/Put", false);
    h2_peer_pump(f->peer);
    pass_time(f, LIMIT_REQUEST_US / 2);
    peer_stream_t *half = h2_peer_call(f->peer, "/etcdserverpb.KV/Put", false);
    h2_peer_data(f->peer, half, "\0\0\0\0\5he", 7, false);
    h2_peer_data(f->peer, watch, "\0\0\0\0\5wa", 7, false); /* half a message: it shall go on */
    h2_peer_pump(f->peer);
    pass_time(f, LIMIT_REQUEST_US / 2);
    assert_status(nothing, GRPC_DEADLINE_EXCEEDED, "the request message was not completed in time");
    assert_false(half->closed);
    pass_time(f, LIMIT_REQUEST_US / 2);
    assert_true(half->closed);
    assert_true(watch->closed);
    watch = h2_peer_call(f->peer, "/etcdserverpb.Watch/Watch", false);
    h2_peer_message(f->peer, watch, "w", 1, false);
    h2_peer_pump(f->peer);
    pass_time(f, 100 * (uint64_t)LIMIT_REQUEST_US);
    assert_false(watch->closed);
}

static void slow_uploads_that_go_on_are_let(void **state)
{
    fixture_t *f = *state;
    enum { PIECES = 50, PIECE = FIXTURE_MAX_MESSAGE / PIECES };
    peer_stream_t *stream = h2_peer_call(f->peer, "/etcdserverpb.KV/Put", false);
    uint8_t *data = xcalloc(1, FIXTURE_MAX_MESSAGE);
    h2_peer_data(f->peer, stream, "\0\0\1\x86\xa0", 5, false); /* 100,000 */
    for (int i = 0; i < PIECES; i++) { /* 15 s in all: more than 64 KiB came in the first 10 */
        h2_peer_data(f->peer, stream, data, PIECE, i == PIECES - 1);
        h2_peer_pump(f->peer);
        pass_time(f, 300000);
    }
    assert_status(stream, GRPC_OK, "");
    free(data);
}

static void answers_nobody_takes_are_given_up(void **state)
{
    fixture_t *f = *state;
    f->api.hold = true;
    uint8_t data[2000] = {0};
    peer_stream_t *unary = h2_peer_call(f->peer, "/etcdserverpb.KV/Range", false);
    peer_stream_t *watch = h2_peer_call(f->peer, "/etcdserverpb.Watch/Watch", false);
    h2_peer_message(f->peer, unary, "x", 1, true);
    h2_peer_pump(f->peer);
    /* The windows are 1,000 bytes; the peer's library enlarges them only for what it receives, so
     * let it lose what comes: exactly like a client that never reads. */
    fake_message(&f->api, f->api.calls[0].id, data, sizeof data);
    fake_finish(&f->api, f->api.calls[0].id, GRPC_OK, "");
    fake_message(&f->api, f->api.calls[1].id, data, sizeof data);
    slice_t lost = f->conn->ops->output(f->conn, f->peer->now_us);
    assert_true(lost.len > 2000);
    assert_true(lost.len < 3000);
    f->conn->ops->written(f->conn, lost.len);
    assert_true(f->conn->ops->deadline(f->conn) == f->peer->now_us + LIMIT_UNARY_STALL_US);
    f->peer->now_us += LIMIT_UNARY_STALL_US;
    f->conn->ops->timeout(f->conn, f->peer->now_us);
    slice_t reset = f->conn->ops->output(f->conn, f->peer->now_us);
    assert_int_equal(reset.len, 13);
    assert_int_equal(reset.data[3], NGHTTP2_RST_STREAM);
    assert_int_equal(reset.data[8], unary->id);
    f->conn->ops->written(f->conn, reset.len);
    assert_false(f->api.calls[1].cancelled);
    f->peer->now_us += LIMIT_STREAM_STALL_US - LIMIT_UNARY_STALL_US;
    f->conn->ops->timeout(f->conn, f->peer->now_us);
    reset = f->conn->ops->output(f->conn, f->peer->now_us);
    assert_int_equal(reset.data[3], NGHTTP2_RST_STREAM);
    assert_int_equal(reset.data[8], watch->id);
    assert_int_equal(reset.data[12], NGHTTP2_INTERNAL_ERROR); /* watches are taken up again then */
    assert_true(f->api.calls[1].cancelled);
}

static void sockets_that_take_nothing_are_closed(void **state)
{
    fixture_t *f = *state;
    f->peer->deaf = true;
    peer_stream_t *stream = h2_peer_call(f->peer, "/etcdserverpb.KV/Range", false);
    h2_peer_message(f->peer, stream, "x", 1, true);
    h2_peer_pump(f->peer);
    pass_time(f, LIMIT_SOCKET_STALL_US - 1);
    assert_false(f->conn->ops->finished(f->conn));
    pass_time(f, 1);
    assert_true(f->conn->ops->finished(f->conn));
}

/* ---- nonsense ---- */

static void nonsense_ends_the_connection(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[32];
        size_t len;
    } cases[] = {
        {{0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1}, 9}, /* a frame of 16 MiB */
        {{0, 0, 1, 0, 0, 0, 0, 0, 1, 'x'}, 10},    /* DATA on an idle stream */
        {{0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff}, 15}, /* a window above 2^31 */
        {{0, 0, 1, 1, 4, 0, 0, 0, 1, 0xff}, 10},                         /* HPACK that cannot be */
        {{0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 13},                   /* WINDOW_UPDATE of 0 */
        {{0, 0, 0, 9, 4, 0, 0, 0, 1}, 9}, /* CONTINUATION of nothing */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        void *fixture = NULL;
        set_up(&fixture);
        fixture_t *f = fixture;
        h2_peer_raw(f->peer, cases[i].bytes, cases[i].len);
        h2_peer_pump(f->peer);
        assert_true(f->peer->goaway);
        assert_int_not_equal(f->peer->goaway_code, NGHTTP2_NO_ERROR);
        assert_true(f->conn->ops->finished(f->conn));
        assert_int_equal(f->api.count, 0);
        tear_down(&fixture);
    }
}

static void a_wrong_preface_ends_the_connection(void **state)
{
    (void)state;
    fixture_t f = {.env = {.calls = calls_new(), .api = &f.api, .metrics = &f.metrics}};
    f.conn = h2_conn_new(&f.env, 0);
    assert_int_equal(f.conn->ops->input(f.conn, slice_str("GET / HTTP/1.1\r\n\r\n......"), 0), 1);
    assert_true(f.conn->ops->finished(f.conn));
    f.conn->ops->destroy(&f.conn);
    calls_destroy(&f.env.calls);
}

/* ---- drain ---- */

static void drain_lets_calls_in_progress_end(void **state)
{
    fixture_t *f = *state;
    f->api.hold = true;
    peer_stream_t *stream = h2_peer_call(f->peer, "/etcdserverpb.KV/Put", false);
    h2_peer_message(f->peer, stream, "x", 1, true);
    h2_peer_pump(f->peer);
    f->conn->ops->drain(f->conn);
    h2_peer_pump(f->peer); /* notice, ping and its acknowledgement */
    assert_true(f->peer->goaway);
    assert_int_equal(f->peer->goaway_code, NGHTTP2_NO_ERROR);
    pass_time(f, 0);
    assert_false(f->conn->ops->finished(f->conn));
    fake_message(&f->api, f->api.calls[0].id, "y", 1);
    fake_finish(&f->api, f->api.calls[0].id, GRPC_OK, "");
    h2_peer_pump(f->peer);
    assert_status(stream, GRPC_OK, "");
    assert_true(f->conn->ops->finished(f->conn));
}

static void drain_does_not_wait_for_deaf_clients(void **state)
{
    fixture_t *f = *state;
    f->conn->ops->drain(f->conn);
    slice_t bytes = f->conn->ops->output(f->conn, f->peer->now_us); /* lost on its way */
    f->conn->ops->written(f->conn, bytes.len);
    assert_false(f->conn->ops->finished(f->conn));
    assert_true(f->conn->ops->deadline(f->conn) <= f->peer->now_us + 200000);
    pass_time(f, 200000);
    assert_true(f->conn->ops->finished(f->conn));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floods_of_control_frames_end_the_connection),
        TEST(control_frames_at_a_moderate_rate_are_fine, set_up),
        TEST(answers_earn_window_updates, set_up),
        TEST(rapid_resets_end_the_connection, set_up),
        TEST(answered_calls_may_be_reset_at_any_rate, set_up),
        TEST(busy_clients_may_lose_patience, set_up),
        TEST(calls_that_lived_a_while_may_be_reset, set_up),
        TEST(pings_more_often_than_allowed_end_the_connection, set_up),
        TEST(pings_at_the_allowed_rate_are_answered, set_up),
        TEST(pings_without_streams_are_not_permitted, set_up),
        TEST(pings_between_answers_are_bandwidth_probes, set_up),
        TEST(silent_clients_are_pinged_and_then_closed, set_up),
        TEST(oversized_header_lists_reset_the_stream, set_up),
        TEST(streams_over_the_announced_number_end_the_connection, set_up),
        TEST(calls_over_the_gateway_s_limit_are_refused, set_up),
        TEST(half_messages_share_a_budget, set_up),
        cmocka_unit_test(half_open_clients_are_closed),
        TEST(connections_that_are_never_used_are_closed, set_up),
        TEST(the_end_of_an_unused_connection_loses_no_call, set_up),
        TEST(used_connections_may_rest, set_up),
        TEST(slow_requests_end_but_streams_may_be_silent, set_up),
        TEST(slow_uploads_that_go_on_are_let, set_up),
        TEST(answers_nobody_takes_are_given_up, set_up_small_window),
        TEST(sockets_that_take_nothing_are_closed, set_up),
        cmocka_unit_test(nonsense_ends_the_connection),
        cmocka_unit_test(a_wrong_preface_ends_the_connection),
        TEST(drain_lets_calls_in_progress_end, set_up),
        TEST(drain_does_not_wait_for_deaf_clients, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
