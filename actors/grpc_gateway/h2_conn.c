/* The connection as conn.h wants it: bytes through the session, the output buffer, time-outs, drain.
 * nghttp2 never sees the socket: bytes in by mem_recv, bytes out by mem_send. */
#include "actors/grpc_gateway/h2_private.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/limits.h"
#include "messages/xalloc.h"

static uint64_t us_after(uint64_t time_us, uint64_t span_us)
{
    return span_us > DEADLINE_NONE - time_us ? DEADLINE_NONE : time_us + span_us;
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
    h2_session_open(conn);
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
    }
    if (conn->out_sent < conn->out.len) {
        at = earlier(at, conn->last_written_us + LIMIT_SOCKET_STALL_US);
    }
    if (conn->ping_sent_us) {
        at = earlier(at, us_after(conn->ping_sent_us, conn->env->keepalive_timeout_us));
    }
    return at;
}

/* Ended in good order: the client may make its first call at this very moment. */
static uint64_t unused_deadline(const h2_conn_t *conn)
{
    return conn->used || conn->draining ? DEADLINE_NONE : conn->created_us + LIMIT_UNUSED_US;
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
    at = earlier(at, unused_deadline(conn));
    at = earlier(at, list_deadline(&conn->requests));
    at = earlier(at, list_deadline(&conn->sending_unary));
    at = earlier(at, list_deadline(&conn->sending_stream));
    return conn->draining && !conn->drained ? earlier(at, conn->drain_us) : at;
}

/* The client does not take its answer: forget the answer. A watch gets the code after which clients
 * open it again where they were; after CANCEL they would believe that nobody wants it any more. */
static void reset_stalled(h2_conn_t *conn, h2_list_t *list, uint32_t http2_error)
{
    while (list_deadline(list) <= conn->now_us) {
        h2_stream_t *stream = list->first;
        h2_list_remove(stream, list->link);
        h2_reset(conn, stream->id, http2_error);
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
        rc = nghttp2_submit_ping(conn->session, NGHTTP2_FLAG_NONE, h2_drain_ping);
    }
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
    if (unused_deadline(conn) <= now_us) {
        h2_drain(self);
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
    reset_stalled(conn, &conn->sending_unary, NGHTTP2_CANCEL);
    reset_stalled(conn, &conn->sending_stream, NGHTTP2_INTERNAL_ERROR);
    if (conn->draining && !conn->drained && conn->drain_us <= now_us) {
        finish_drain(conn);
    }
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
