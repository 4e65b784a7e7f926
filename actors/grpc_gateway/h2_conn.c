/* The session: nghttp2 does HTTP/2, this file connects it to conn.h and bounds what a client can
 * make it do. nghttp2 never sees the socket: bytes in by mem_recv, bytes out by mem_send. */
#include "actors/grpc_gateway/h2_private.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/limits.h"
#include "messages/xalloc.h"

static const uint8_t drain_ping[8] = {'d', 'r', 'a', 'i', 'n', 'i', 'n', 'g'};

static uint64_t us_after(uint64_t time_us, uint64_t span_us)
{
    return span_us > DEADLINE_NONE - time_us ? DEADLINE_NONE : time_us + span_us;
}

/* ---- floods ---- */

static void bucket_refill(h2_bucket_t *bucket, uint64_t now_us, uint64_t per_s, uint64_t burst)
{
    uint64_t earned = (now_us - bucket->refilled_us) * per_s / 1000000;
    if (earned > 0) {
        bucket->refilled_us = now_us;
        bucket->tokens = burst - bucket->tokens < earned ? burst : bucket->tokens + earned;
    }
}

static bool bucket_take(h2_bucket_t *bucket, uint64_t now_us, uint64_t per_s, uint64_t burst)
{
    if (bucket->tokens == 0) {
        bucket_refill(bucket, now_us, per_s, burst);
    }
    if (bucket->tokens == 0) {
        return false;
    }
    bucket->tokens--;
    return true;
}

/* Ends the connection with GOAWAY; for nghttp2's callbacks: what makes it stop reading. */
static int calm_down(h2_conn_t *conn, const char *why)
{
    if (!conn->failed) {
        conn->failed = true;
        metrics_add(conn->env->metrics, METRIC_PROTOCOL_ERRORS, 1);
        int rc =
            nghttp2_submit_goaway(conn->session, NGHTTP2_FLAG_NONE,
                                  nghttp2_session_get_last_proc_stream_id(conn->session),
                                  NGHTTP2_ENHANCE_YOUR_CALM, (const uint8_t *)why, strlen(why));
        conn->aborted = rc != 0; /* then without a word */
    }
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* Frames that cost work and bring nothing. */
static int count_control_frame(h2_conn_t *conn)
{
    bool allowed = bucket_take(&conn->control, conn->now_us, LIMIT_CONTROL_FRAMES_PER_S,
                               LIMIT_CONTROL_FRAMES_BURST);
    return allowed ? 0 : calm_down(conn, "too_many_control_frames");
}

/* Rapid reset (CVE-2023-44487): calls begun only to be cancelled. */
static int count_reset(h2_conn_t *conn, const h2_stream_t *stream)
{
    if (!stream || conn->now_us - stream->begun_us > LIMIT_RAPID_RESET_US) {
        return 0;
    }
    bool allowed = bucket_take(&conn->resets, conn->now_us, LIMIT_STREAM_RESETS_PER_S,
                               LIMIT_STREAM_RESETS_BURST);
    return allowed ? 0 : calm_down(conn, "too_many_resets");
}

/* grpc-go's keepalive policy: more than two pings that come too early after the last, without an
 * answer in between. */
static int count_ping(h2_conn_t *conn)
{
    const uint64_t without_streams_us = 7200000000; /* keepalive without calls is not permitted */
    uint64_t min_us = conn->open_streams ? conn->env->keepalive_min_us : without_streams_us;
    bool early = conn->last_ping_us && conn->now_us - conn->last_ping_us < min_us;
    conn->last_ping_us = conn->now_us;
    if (conn->strikes_reset) {
        conn->strikes_reset = false;
        conn->strikes = 0;
    } else if (early && ++conn->strikes > LIMIT_PING_STRIKES) {
        return calm_down(conn, "too_many_pings");
    }
    return count_control_frame(conn);
}

/* ---- nghttp2's callbacks ---- */

static h2_stream_t *stream_of(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    (void)session;
    (void)frame;
    h2_conn_t *conn = user_data;
    h2_headers_reset(&conn->headers);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                     nghttp2_rcbuf *value, uint8_t flags, void *user_data)
{
    (void)flags;
    if (h2_request_header(user_data, name, value) == 0) {
        return 0;
    }
    int rc = nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                       NGHTTP2_FRAME_SIZE_ERROR); /* as grpc-go */
    return rc == 0 ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                         size_t len, void *user_data)
{
    h2_conn_t *conn = user_data;
    conn->received_bytes += len;
    h2_stream_t *stream = stream_of(session, id);
    if (stream) {
        h2_request_data(conn, stream, slice(data, len));
        if (!(flags & NGHTTP2_FLAG_END_STREAM) && !stream->answered) {
            return nghttp2_session_consume_stream(session, id, len);
        }
    }
    return 0;
}

static int on_request_frame(h2_conn_t *conn, const nghttp2_frame *frame)
{
    bool ended = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        h2_request_begin(conn, frame->hd.stream_id, ended);
        return 0;
    }
    if (ended) {
        h2_stream_t *stream = stream_of(conn->session, frame->hd.stream_id);
        if (stream) {
            h2_request_end(conn, stream);
        }
        return 0;
    }
    return frame->hd.length == 0 ? count_control_frame(conn) : 0;
}

static int on_ping(h2_conn_t *conn, const nghttp2_frame *frame)
{
    if (!(frame->hd.flags & NGHTTP2_FLAG_ACK)) {
        return count_ping(conn);
    }
    if (conn->draining && memcmp(frame->ping.opaque_data, drain_ping, sizeof drain_ping) == 0) {
        conn->drain_us = conn->now_us; /* everything sent before the notice is here: time to go */
    }
    return 0;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    h2_conn_t *conn = user_data;
    switch (frame->hd.type) {
    case NGHTTP2_DATA:
    case NGHTTP2_HEADERS: return on_request_frame(conn, frame);
    case NGHTTP2_RST_STREAM: return count_reset(conn, stream_of(session, frame->hd.stream_id));
    case NGHTTP2_PING: return on_ping(conn, frame);
    case NGHTTP2_SETTINGS:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK) {
            return 0;
        }
        conn->settings_received = true;
        return count_control_frame(conn);
    default: return count_control_frame(conn);
    }
}

/* nghttp2 skips what it does not know without a further word. */
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *header, void *user_data)
{
    (void)session;
    return header->type > NGHTTP2_CONTINUATION ? count_control_frame(user_data) : 0;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error,
                            void *user_data)
{
    (void)session;
    (void)frame;
    (void)error;
    return count_control_frame(user_data);
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    h2_conn_t *conn = user_data;
    if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) {
        return 0;
    }
    conn->strikes_reset = true;
    if (conn->control.tokens < LIMIT_CONTROL_FRAMES_BURST) {
        conn->control.tokens += LIMIT_CONTROL_FRAMES_ALLOWED;
    }
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
        const h2_stream_t *stream = stream_of(session, frame->hd.stream_id);
        if (stream && !stream->remote_closed) {
            h2_reset(conn, frame->hd.stream_id, NGHTTP2_NO_ERROR); /* send no more (RFC 9113 8.1) */
        }
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *user_data)
{
    (void)error;
    h2_stream_t *stream = stream_of(session, id);
    if (stream) {
        h2_stream_free(user_data, stream);
    }
    return 0;
}

void h2_reset(h2_conn_t *conn, int32_t stream_id, uint32_t http2_error)
{
    int rc = nghttp2_submit_rst_stream(conn->session, NGHTTP2_FLAG_NONE, stream_id, http2_error);
    conn->aborted = conn->aborted || rc != 0;
}

/* ---- life ---- */

static void *mem_malloc(size_t size, void *context)
{
    (void)context;
    return xmalloc(size);
}

static void mem_free(void *memory, void *context)
{
    (void)context;
    free(memory);
}

static void *mem_calloc(size_t count, size_t size, void *context)
{
    (void)context;
    return xcalloc(count, size);
}

static void *mem_realloc(void *memory, size_t size, void *context)
{
    (void)context;
    return xrealloc(memory, size);
}

/* Everything here fails only without memory, and then our allocator has aborted. */
static nghttp2_session *session_new(h2_conn_t *conn)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    nghttp2_session *session = NULL;
    int rc = nghttp2_session_callbacks_new(&callbacks);
    assert(rc == 0);
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback2(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, h2_response_send_data);
    rc = nghttp2_option_new(&option);
    assert(rc == 0);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_max_outbound_ack(option, LIMIT_OUTBOUND_ACKS);
    /* Counted here instead, by what a reset costs us and with the caller's clock. */
    nghttp2_option_set_stream_reset_rate_limit(option, UINT32_MAX, UINT32_MAX);
    nghttp2_mem mem = {
        .malloc = mem_malloc, .free = mem_free, .calloc = mem_calloc, .realloc = mem_realloc};
    rc = nghttp2_session_server_new3(&session, callbacks, conn, option, &mem);
    assert(rc == 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return session;
}

static void announce_settings(h2_conn_t *conn)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, conn->env->max_concurrent_streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, LIMIT_STREAM_WINDOW_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, LIMIT_HEADER_LIST_BYTES},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1}, /* no priority tree to maintain */
    };
    int rc = nghttp2_submit_settings(conn->session, NGHTTP2_FLAG_NONE, settings,
                                     sizeof settings / sizeof settings[0]);
    assert(rc == 0);
    rc = nghttp2_session_set_local_window_size(conn->session, NGHTTP2_FLAG_NONE, 0,
                                               LIMIT_CONNECTION_WINDOW_BYTES);
    assert(rc == 0);
}

static const conn_ops_t h2_ops;

conn_t *h2_conn_new(const conn_env_t *env, uint64_t now_us)
{
    h2_conn_t *conn = xcalloc(1, sizeof *conn);
    conn->conn.ops = &h2_ops;
    conn->env = env;
    conn->now_us = conn->created_us = conn->last_input_us = conn->last_written_us = now_us;
    conn->free_first = -1;
    conn->requests.link = conn->held.link = LINK_REQUEST;
    conn->sending_unary.link = conn->sending_stream.link = LINK_SENDING;
    conn->control = (h2_bucket_t){LIMIT_CONTROL_FRAMES_BURST, now_us};
    conn->resets = (h2_bucket_t){LIMIT_STREAM_RESETS_BURST, now_us};
    conn->session = session_new(conn);
    announce_settings(conn);
    return &conn->conn;
}

static void h2_destroy(conn_t **self_p)
{
    h2_conn_t *conn = (h2_conn_t *)*self_p;
    *self_p = NULL;
    if (!conn) {
        return;
    }
    calls_clear_dirty(conn->env->calls, &conn->conn);
    h2_streams_deinit(conn);
    h2_headers_reset(&conn->headers);
    nghttp2_session_del(conn->session);
    buf_deinit(&conn->out);
    buf_deinit(&conn->text);
    buf_deinit(&conn->scratch);
    free(conn);
}

/* ---- bytes ---- */

/* nghttp2 gave up: say why, if that is still possible. */
static void session_broken(h2_conn_t *conn, ssize_t error)
{
    bool flood = error == NGHTTP2_ERR_FLOODED || error == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS;
    conn->failed = true;
    metrics_add(conn->env->metrics, METRIC_PROTOCOL_ERRORS, 1);
    int rc = nghttp2_session_terminate_session(conn->session, flood ? NGHTTP2_ENHANCE_YOUR_CALM
                                                                    : NGHTTP2_PROTOCOL_ERROR);
    conn->aborted = rc != 0;
}

static int h2_input(conn_t *self, slice_t bytes, uint64_t now_us)
{
    h2_conn_t *conn = (h2_conn_t *)self;
    conn->now_us = conn->last_input_us = now_us;
    conn->ping_sent_us = 0;
    if (conn->failed) {
        return 1;
    }
    metrics_add(conn->env->metrics, METRIC_CLIENT_RECEIVED, bytes.len);
    h2_requests_release(conn);
    ssize_t taken = nghttp2_session_mem_recv(conn->session, bytes.data, bytes.len);
    if (conn->failed) {
        return 1;
    }
    if (taken >= 0 && conn->received_bytes > 0) {
        taken = nghttp2_session_consume_connection(conn->session, conn->received_bytes);
        conn->received_bytes = 0;
    }
    if (taken < 0) {
        session_broken(conn, taken);
        return 1;
    }
    return 0;
}

static void produce(h2_conn_t *conn)
{
    while (conn->out.len - conn->out_sent < LIMIT_OUTPUT_BYTES) {
        const uint8_t *data = NULL;
        size_t before = conn->out.len;
        ssize_t len = nghttp2_session_mem_send(conn->session, &data);
        if (len < 0) {
            conn->aborted = true;
            return;
        }
        buf_append(&conn->out, data, (size_t)len);
        if (conn->out.len == before) {
            return;
        }
    }
}

static slice_t h2_output(conn_t *self, uint64_t now_us)
{
    enum { KEPT_BYTES = 65536 }; /* of an output buffer that is not in use */
    h2_conn_t *conn = (h2_conn_t *)self;
    conn->now_us = now_us;
    if (conn->aborted) {
        return slice(NULL, 0);
    }
    if (conn->out_sent == conn->out.len) {
        conn->last_written_us = now_us; /* the socket owes us nothing */
        conn->out_sent = 0;
        buf_clear(&conn->out);
        if (conn->out.capacity > KEPT_BYTES && conn->open_streams == 0) {
            buf_deinit(&conn->out);
        }
    }
    if (!conn->flushed) {
        produce(conn);
        conn->flushed = conn->failed;
    }
    if (conn->aborted) {
        return slice(NULL, 0);
    }
    return slice(conn->out.data + conn->out_sent, conn->out.len - conn->out_sent);
}

static void h2_written(conn_t *self, size_t len)
{
    h2_conn_t *conn = (h2_conn_t *)self;
    assert(len <= conn->out.len - conn->out_sent);
    conn->out_sent += len;
    conn->last_written_us = conn->now_us;
    metrics_add(conn->env->metrics, METRIC_CLIENT_SENT, len);
}

/* Back-pressure through the socket, but only while the socket is what holds us up: when it is the
 * peer's flow-control windows, its WINDOW_UPDATEs must be read. */
static bool h2_want_input(const conn_t *self)
{
    const h2_conn_t *conn = (const h2_conn_t *)self;
    return !conn->failed &&
           (conn->queued_bytes <= LIMIT_CONNECTION_BYTES || conn->out_sent == conn->out.len);
}

static bool h2_finished(const conn_t *self)
{
    const h2_conn_t *conn = (const h2_conn_t *)self;
    return conn->aborted || conn->failed ||
           (!nghttp2_session_want_read(conn->session) &&
            !nghttp2_session_want_write(conn->session));
}

/* ---- answers ---- */

static void h2_message(conn_t *self, int32_t stream, bytes_t **message_p)
{
    h2_conn_t *conn = (h2_conn_t *)self;
    h2_response_message(conn, h2_stream_at(conn, stream), message_p);
}

static void h2_finish(conn_t *self, int32_t stream, grpc_code_t code, const char *text)
{
    h2_conn_t *conn = (h2_conn_t *)self;
    h2_response_finish(conn, h2_stream_at(conn, stream), code, slice_str(text ? text : ""));
}

/* ---- time ---- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t list_deadline(const h2_list_t *list)
{
    return list->first ? list->first->links[list->link].deadline_us : DEADLINE_NONE;
}

/* When the client must have said or taken something, at the latest. */
static uint64_t silence_deadline(const h2_conn_t *conn)
{
    uint64_t at = DEADLINE_NONE;
    if (!conn->settings_received) {
        at = conn->created_us + LIMIT_HANDSHAKE_US;
    } else if (!conn->used) {
        at = conn->created_us + LIMIT_UNUSED_US;
    }
    if (conn->out_sent < conn->out.len) {
        at = earlier(at, conn->last_written_us + LIMIT_SOCKET_STALL_US);
    }
    if (conn->ping_sent_us) {
        at = earlier(at, us_after(conn->ping_sent_us, conn->env->keepalive_timeout_us));
    }
    return at;
}

static uint64_t keepalive_deadline(const h2_conn_t *conn)
{
    if (conn->ping_sent_us || conn->env->keepalive_interval_us == 0) {
        return DEADLINE_NONE;
    }
    return us_after(conn->last_input_us, conn->env->keepalive_interval_us);
}

static uint64_t h2_deadline(const conn_t *self)
{
    const h2_conn_t *conn = (const h2_conn_t *)self;
    if (conn->held.first && conn->queued_bytes <= LIMIT_CONNECTION_BYTES) {
        return 0;
    }
    uint64_t at = earlier(silence_deadline(conn), keepalive_deadline(conn));
    at = earlier(at, list_deadline(&conn->requests));
    at = earlier(at, list_deadline(&conn->sending_unary));
    at = earlier(at, list_deadline(&conn->sending_stream));
    return conn->draining && !conn->drained ? earlier(at, conn->drain_us) : at;
}

/* The client does not take its answer: forget the answer. */
static void reset_stalled(h2_conn_t *conn, h2_list_t *list)
{
    while (list_deadline(list) <= conn->now_us) {
        h2_stream_t *stream = list->first;
        h2_list_remove(stream, list->link);
        h2_reset(conn, stream->id, NGHTTP2_CANCEL);
    }
}

static void finish_drain(h2_conn_t *conn)
{
    conn->drained = true;
    int rc = nghttp2_submit_goaway(conn->session, NGHTTP2_FLAG_NONE,
                                   nghttp2_session_get_last_proc_stream_id(conn->session),
                                   NGHTTP2_NO_ERROR, NULL, 0);
    conn->aborted = conn->aborted || rc != 0;
}

static void h2_timeout(conn_t *self, uint64_t now_us)
{
    h2_conn_t *conn = (h2_conn_t *)self;
    conn->now_us = now_us;
    h2_requests_release(conn);
    if (silence_deadline(conn) <= now_us) {
        conn->aborted = true;
        return;
    }
    if (keepalive_deadline(conn) <= now_us) {
        conn->ping_sent_us = now_us;
        int rc = nghttp2_submit_ping(conn->session, NGHTTP2_FLAG_NONE, NULL);
        conn->aborted = conn->aborted || rc != 0;
    }
    while (list_deadline(&conn->requests) <= now_us) {
        h2_response_fail(conn, conn->requests.first, GRPC_DEADLINE_EXCEEDED,
                         slice_str("the request message was not completed in time"));
    }
    reset_stalled(conn, &conn->sending_unary);
    reset_stalled(conn, &conn->sending_stream);
    if (conn->draining && !conn->drained && conn->drain_us <= now_us) {
        finish_drain(conn);
    }
}

/* In two steps, so that no call is lost that is on its way: "send no more", then, after a round
 * trip, "this was the last I took". */
static void h2_drain(conn_t *self)
{
    const uint64_t round_trip_max_us = 200000;
    h2_conn_t *conn = (h2_conn_t *)self;
    if (conn->draining || conn->failed) {
        return;
    }
    conn->draining = true;
    conn->drain_us = conn->now_us + round_trip_max_us;
    int rc = nghttp2_submit_shutdown_notice(conn->session);
    if (rc == 0) {
        rc = nghttp2_submit_ping(conn->session, NGHTTP2_FLAG_NONE, drain_ping);
    }
    conn->aborted = conn->aborted || rc != 0;
}

static const conn_ops_t h2_ops = {
    .input = h2_input,
    .output = h2_output,
    .written = h2_written,
    .want_input = h2_want_input,
    .finished = h2_finished,
    .message = h2_message,
    .finish = h2_finish,
    .deadline = h2_deadline,
    .timeout = h2_timeout,
    .drain = h2_drain,
    .destroy = h2_destroy,
};
