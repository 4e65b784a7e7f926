/* The session: nghttp2 does HTTP/2, its callbacks here lead to requests and answers and bound what
 * a client can make it do. */
#include "actors/grpc_gateway/h2_private.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/limits.h"
#include "messages/xalloc.h"

const uint8_t h2_drain_ping[8] = {'d', 'r', 'a', 'i', 'n', 'i', 'n', 'g'};

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

/* Rapid reset (CVE-2023-44487): calls begun only to be cancelled. Not those whose answer has gone
 * out: who waits for locks opens a watch, sees an event and cancels it, a hundred times a second. */
static int count_reset(h2_conn_t *conn, const h2_stream_t *stream)
{
    if (!stream || stream->answer_sent || conn->now_us - stream->begun_us > LIMIT_RAPID_RESET_US) {
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

/* Frames of one stream often follow each other: the last answer is kept. */
static h2_stream_t *stream_of(h2_conn_t *conn, int32_t id)
{
    if (!conn->recent || conn->recent->id != id) {
        conn->recent = nghttp2_session_get_stream_user_data(conn->session, id);
    }
    return conn->recent;
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
    h2_stream_t *stream = stream_of(user_data, id);
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
        h2_stream_t *stream = stream_of(conn, frame->hd.stream_id);
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
    if (conn->draining &&
        memcmp(frame->ping.opaque_data, h2_drain_ping, sizeof h2_drain_ping) == 0) {
        conn->drain_us = conn->now_us; /* everything sent before the notice is here: time to go */
    }
    return 0;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    (void)session;
    h2_conn_t *conn = user_data;
    switch (frame->hd.type) {
    case NGHTTP2_DATA:
    case NGHTTP2_HEADERS: return on_request_frame(conn, frame);
    case NGHTTP2_RST_STREAM: return count_reset(conn, stream_of(conn, frame->hd.stream_id));
    case NGHTTP2_PING: return on_ping(conn, frame);
    case NGHTTP2_SETTINGS:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK) {
            return 0;
        }
        conn->settings_received = true;
        return count_control_frame(conn);
    default: return 0;
    }
}

/* What nghttp2 skips, or handles, without a further word. */
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *header, void *user_data)
{
    (void)session;
    switch (header->type) {
    case NGHTTP2_DATA:
    case NGHTTP2_HEADERS:
    case NGHTTP2_RST_STREAM:
    case NGHTTP2_SETTINGS:
    case NGHTTP2_PING:
    case NGHTTP2_CONTINUATION: return 0; /* counted when complete, by what they hold */
    default: return count_control_frame(user_data);
    }
}

/* Frames of types we do not know are asked for only to count them; their payload is skipped. */
static int on_unknown_frame(nghttp2_session *session, void **payload,
                            const nghttp2_frame_hd *header, void *user_data)
{
    (void)session;
    (void)payload;
    (void)header;
    (void)user_data;
    return NGHTTP2_ERR_CANCEL;
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
    (void)session;
    h2_conn_t *conn = user_data;
    if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) {
        return 0;
    }
    conn->strikes_reset = true;
    if (conn->control.tokens < LIMIT_CONTROL_FRAMES_BURST) {
        conn->control.tokens += LIMIT_CONTROL_FRAMES_ALLOWED;
    }
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
        const h2_stream_t *stream = stream_of(conn, frame->hd.stream_id);
        if (stream && !stream->remote_closed) {
            h2_reset(conn, frame->hd.stream_id, NGHTTP2_NO_ERROR); /* send no more (RFC 9113 8.1) */
        }
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *user_data)
{
    (void)session;
    (void)error;
    h2_conn_t *conn = user_data;
    h2_stream_t *stream = stream_of(user_data, id);
    if (stream) {
        if (stream->answered && conn->resets.tokens < LIMIT_STREAM_RESETS_EARNED) {
            conn->resets.tokens++; /* who lets calls end may also lose patience with some */
        }
        h2_stream_free(conn, stream);
    }
    return 0;
}

void h2_reset(h2_conn_t *conn, int32_t stream_id, uint32_t http2_error)
{
    int rc = nghttp2_submit_rst_stream(conn->session, NGHTTP2_FLAG_NONE, stream_id, http2_error);
    conn->aborted = conn->aborted || rc != 0;
}

/* ---- life ---- */

static void *mem_malloc(size_t size, void *pool)
{
    return pool_alloc(pool, size);
}

static void mem_free(void *memory, void *pool)
{
    pool_free(pool, memory);
}

static void *mem_calloc(size_t count, size_t size, void *pool)
{
    return pool_calloc(pool, count, size);
}

static void *mem_realloc(void *memory, size_t size, void *pool)
{
    return pool_realloc(pool, memory, size);
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
    nghttp2_session_callbacks_set_unpack_extension_callback(callbacks, on_unknown_frame);
    rc = nghttp2_option_new(&option);
    assert(rc == 0);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_max_outbound_ack(option, LIMIT_OUTBOUND_ACKS);
    /* Counted here instead, by what a reset costs us and with the caller's clock. */
    nghttp2_option_set_stream_reset_rate_limit(option, UINT32_MAX, UINT32_MAX);
    for (unsigned type = NGHTTP2_CONTINUATION + 1; type <= UINT8_MAX; type++) {
        nghttp2_option_set_user_recv_extension_type(option, (uint8_t)type);
    }
    nghttp2_mem mem = {.mem_user_data = calls_pool(conn->env->calls),
                       .malloc = mem_malloc,
                       .free = mem_free,
                       .calloc = mem_calloc,
                       .realloc = mem_realloc};
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

void h2_session_open(h2_conn_t *conn)
{
    conn->control = (h2_bucket_t){LIMIT_CONTROL_FRAMES_BURST, conn->now_us};
    conn->resets = (h2_bucket_t){LIMIT_STREAM_RESETS_BURST, conn->now_us};
    conn->session = session_new(conn);
    announce_settings(conn);
}
