/* What is checked, in which order and with which words follows grpc-go's server: operateHeaders,
 * handleStream, recvMsg. A unary call runs as soon as its message is there, whatever the client
 * sends after it; a server stream waits for the client's END_STREAM. */
#include "actors/grpc_gateway/h2_private.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "messages/json.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

/* ---- header fields ---- */

static slice_t rcbuf_slice(nghttp2_rcbuf *rcbuf)
{
    if (!rcbuf) {
        return slice("", 0);
    }
    nghttp2_vec vec = nghttp2_rcbuf_get_buf(rcbuf);
    return slice(vec.base, vec.len);
}

static void keep(nghttp2_rcbuf **place, nghttp2_rcbuf *value)
{
    if (*place) {
        nghttp2_rcbuf_decref(*place);
    }
    nghttp2_rcbuf_incref(value);
    *place = value;
}

void h2_headers_reset(h2_headers_t *headers)
{
    nghttp2_rcbuf *kept[] = {headers->method,   headers->path,    headers->content_type,
                             headers->encoding, headers->timeout, headers->client_version};
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        if (kept[i]) {
            nghttp2_rcbuf_decref(kept[i]);
        }
    }
    *headers = (h2_headers_t){0};
}

static bool is(slice_t name, const char *wanted)
{
    return memcmp(name.data, wanted, name.len) == 0;
}

static bool is_utf8(slice_t text)
{
    while (text.len > 0) {
        size_t len = utf8_length(text);
        if (len == 0) {
            return false;
        }
        text = slice(text.data + len, text.len - len);
    }
    return true;
}

int h2_request_header(h2_conn_t *conn, nghttp2_rcbuf *name_buf, nghttp2_rcbuf *value_buf)
{
    enum { FIELD_OVERHEAD_BYTES = 32 }; /* RFC 9113 section 6.5.2 */
    h2_headers_t *headers = &conn->headers;
    slice_t name = rcbuf_slice(name_buf);
    slice_t value = rcbuf_slice(value_buf);
    headers->bytes += name.len + value.len + FIELD_OVERHEAD_BYTES;
    if (++headers->count > LIMIT_HEADERS || headers->bytes > LIMIT_HEADER_LIST_BYTES) {
        return 1;
    }
    switch (name.len) {
    case 5:
        if (is(name, ":path")) {
            keep(&headers->path, value_buf);
        }
        break;
    case 7:
        if (is(name, ":method")) {
            keep(&headers->method, value_buf);
        }
        break;
    case 9:
        if (is(name, "hasleader")) {
            headers->has_leader = slice_equal(value, slice_str("true"));
        }
        break;
    case 12:
        if (is(name, "content-type")) {
            keep(&headers->content_type, value_buf);
        } else if (is(name, "grpc-timeout")) {
            keep(&headers->timeout, value_buf);
        }
        break;
    case 13:
        if (is(name, "grpc-encoding")) {
            keep(&headers->encoding, value_buf);
        }
        break;
    case 18:
        if (is(name, "client-api-version") && !headers->client_version) {
            keep(&headers->client_version, value_buf);
        }
        break;
    default: break;
    }
    return 0;
}

/* ---- status texts ---- */

static buf_t *text_begin(h2_conn_t *conn, const char *start)
{
    buf_clear(&conn->text);
    buf_append(&conn->text, start, strlen(start));
    return &conn->text;
}

static void text_add(buf_t *text, const char *more)
{
    buf_append(text, more, strlen(more));
}

/* ---- the beginning of a request ---- */

/* For what is no gRPC request at all. True = answered. */
static bool refuse_bad_headers(h2_conn_t *conn, h2_stream_t *stream)
{
    const h2_headers_t *headers = &conn->headers;
    slice_t content_type = rcbuf_slice(headers->content_type);
    if (!grpc_is_content_type(content_type)) {
        buf_t *text = text_begin(conn, "invalid gRPC request content-type ");
        grpc_quote(text, content_type);
        h2_response_refuse(conn, stream, "415", GRPC_INVALID_ARGUMENT, buf_slice(text));
        return true;
    }
    uint64_t timeout_us = 0;
    buf_t *text = text_begin(conn, "malformed grpc-timeout: ");
    if (headers->timeout &&
        grpc_timeout_parse(rcbuf_slice(headers->timeout), &timeout_us, text) != 0) {
        h2_response_refuse(conn, stream, "400", GRPC_INTERNAL, buf_slice(text));
        return true;
    }
    slice_t method = rcbuf_slice(headers->method);
    if (!slice_equal(method, slice_str("POST"))) {
        text = text_begin(conn, "Received a HEADERS frame with :method ");
        grpc_quote(text, method);
        text_add(text, " which should be POST");
        h2_response_refuse(conn, stream, "405", GRPC_INTERNAL, buf_slice(text));
        return true;
    }
    return false;
}

static bool service_known(slice_t service)
{
    for (int m = 0; m < METHOD_COUNT; m++) {
        if (slice_equal(service, slice_str(method_info((method_t)m)->service))) {
            return true;
        }
    }
    return false;
}

static void fail_unknown_method(h2_conn_t *conn, h2_stream_t *stream, slice_t path)
{
    const uint8_t *cut = path.len > 1 ? memrchr(path.data + 1, '/', path.len - 1) : NULL;
    if (path.len == 0 || path.data[0] != '/' || !cut) {
        buf_t *text = text_begin(conn, "malformed method name: ");
        grpc_quote(text, path);
        h2_response_fail(conn, stream, GRPC_UNIMPLEMENTED, buf_slice(text));
        return;
    }
    slice_t service = slice(path.data + 1, (size_t)(cut - path.data) - 1);
    slice_t method = slice(cut + 1, path.len - service.len - 2);
    buf_t *text = NULL;
    if (service_known(service)) {
        text = text_begin(conn, "unknown method ");
        buf_append(text, method.data, method.len);
        text_add(text, " for service ");
    } else {
        text = text_begin(conn, "unknown service ");
    }
    buf_append(text, service.data, service.len);
    h2_response_fail(conn, stream, GRPC_UNIMPLEMENTED, buf_slice(text));
}

/* DEADLINE_NONE without grpc-timeout; it has been checked before. */
static uint64_t call_deadline(h2_conn_t *conn)
{
    uint64_t timeout_us = UINT64_MAX;
    if (conn->headers.timeout) {
        int rc = grpc_timeout_parse(rcbuf_slice(conn->headers.timeout), &timeout_us, &conn->text);
        assert(rc == 0);
    }
    return timeout_us > DEADLINE_NONE - 1 - conn->now_us ? DEADLINE_NONE
                                                         : conn->now_us + timeout_us;
}

static void begin_call(h2_conn_t *conn, h2_stream_t *stream)
{
    uint64_t deadline_us = call_deadline(conn);
    if (deadline_us <= conn->now_us) {
        h2_response_fail(conn, stream, GRPC_DEADLINE_EXCEEDED,
                         slice_str(api_error_text(API_DEADLINE_EXCEEDED)));
        return;
    }
    slice_t version = rcbuf_slice(conn->headers.client_version);
    if (!is_utf8(version)) {
        h2_response_fail(conn, stream, GRPC_INVALID_ARGUMENT,
                         slice_str(api_error_text(API_INVALID_CLIENT_API_VERSION)));
        return;
    }
    stream->call = calls_open(conn->env->calls, &conn->conn, stream->index);
    if (stream->call == 0) { /* clients try again later, or elsewhere */
        stream->answered = true;
        h2_reset(conn, stream->id, NGHTTP2_REFUSED_STREAM);
        return;
    }
    if (method_info(stream->method)->type != RPC_BIDI_STREAM) {
        h2_list_append(&conn->requests, stream, conn->now_us + LIMIT_REQUEST_US);
    }
    api_call_t info = {.method = stream->method,
                       .deadline_us = deadline_us,
                       .flags = conn->headers.has_leader ? CALL_REQUIRE_LEADER : 0,
                       .client_version = conn->headers.client_version ? version : slice(NULL, 0)};
    api_call_begin(conn->env->api, stream->call, &info, conn->now_us);
}

void h2_request_begin(h2_conn_t *conn, int32_t id, bool ended)
{
    conn->used = true;
    h2_stream_t *stream = h2_stream_new(conn, id);
    nghttp2_session_set_stream_user_data(conn->session, id, stream);
    stream->remote_closed = ended;
    if (refuse_bad_headers(conn, stream)) {
        return;
    }
    slice_t path = rcbuf_slice(conn->headers.path);
    stream->method = method_find((const char *)path.data, path.len);
    if (stream->method == METHOD_UNKNOWN) {
        fail_unknown_method(conn, stream, path);
        return;
    }
    slice_t encoding = rcbuf_slice(conn->headers.encoding);
    if (encoding.len > 0 && !slice_equal(encoding, slice_str("identity"))) {
        buf_t *text = text_begin(conn, "grpc: Decompressor is not installed for grpc-encoding ");
        grpc_quote(text, encoding);
        h2_response_fail(conn, stream, GRPC_UNIMPLEMENTED, buf_slice(text));
        return;
    }
    begin_call(conn, stream);
    if (ended && !stream->answered) {
        h2_request_end(conn, stream);
    }
}

/* ---- messages ---- */

/* The request core may answer, and so end the call, within each of these. */
static void deliver(h2_conn_t *conn, h2_stream_t *stream)
{
    bytes_t *message = bytes_take(&stream->request);
    api_call_message(conn->env->api, stream->call, &message, conn->now_us);
    if (stream->call && method_info(stream->method)->type != RPC_BIDI_STREAM) {
        api_call_half_close(conn->env->api, stream->call, conn->now_us);
    }
}

/* Unary calls and server streams: while too much of this connection's answers is unsent, requests
 * wait here; WINDOW_UPDATEs, which bring room, are still read. */
static void deliver_or_hold(h2_conn_t *conn, h2_stream_t *stream)
{
    h2_list_remove(stream, LINK_REQUEST);
    if (conn->queued_bytes > LIMIT_CONNECTION_BYTES || conn->held.first) {
        h2_list_append(&conn->held, stream, 0);
    } else {
        deliver(conn, stream);
    }
}

void h2_requests_release(h2_conn_t *conn)
{
    while (conn->held.first && conn->queued_bytes <= LIMIT_CONNECTION_BYTES) {
        h2_stream_t *stream = conn->held.first;
        h2_list_remove(stream, LINK_REQUEST);
        deliver(conn, stream);
    }
}

/* Nothing more is expected of a message coming in. */
static void message_received(h2_conn_t *conn, h2_stream_t *stream)
{
    stream->request_data = NULL;
    stream->prefix_len = 0;
    calls_refund(conn->env->calls, stream->charged_bytes);
    stream->charged_bytes = 0;
    switch (method_info(stream->method)->type) {
    case RPC_UNARY:
        stream->received = true;
        deliver_or_hold(conn, stream);
        break;
    case RPC_BIDI_STREAM:
        h2_list_remove(stream, LINK_REQUEST);
        deliver(conn, stream);
        break;
    case RPC_SERVER_STREAM: stream->received = true; break; /* goes on with END_STREAM */
    case RPC_CLIENT_STREAM: assert(!"no such method"); break;
    }
}

/* What the prefix announces cannot be taken. */
static void fail_receive(h2_conn_t *conn, h2_stream_t *stream, grpc_code_t code, const char *text)
{
    rpc_metrics_receive_failed(conn->env->metrics, stream->method);
    h2_response_fail(conn, stream, code, slice_str(text));
}

/* The prefix is complete. True = the stream has been answered. */
static bool refuse_prefix(h2_conn_t *conn, h2_stream_t *stream)
{
    uint32_t len = grpc_prefix_len(stream->prefix);
    if (len > conn->env->max_message_bytes) {
        char text[96];
        snprintf(text, sizeof text, "grpc: received message larger than max (%u vs. %zu)", len,
                 conn->env->max_message_bytes);
        fail_receive(conn, stream, GRPC_RESOURCE_EXHAUSTED, text);
        return true;
    }
    if (stream->prefix[0] == 1) { /* other encodings than identity have been refused before */
        fail_receive(conn, stream, GRPC_INTERNAL,
                     "grpc: compressed flag set with identity or empty encoding");
        return true;
    }
    if (stream->prefix[0] != 0) {
        char text[64];
        snprintf(text, sizeof text, "grpc: received unexpected payload format %u",
                 stream->prefix[0]);
        fail_receive(conn, stream, GRPC_INTERNAL, text);
        return true;
    }
    if (stream->received) {
        h2_response_fail(conn, stream, GRPC_INTERNAL,
                         slice_str("cardinality violation: received multiple request messages for "
                                   "non-client-streaming RPC"));
        return true;
    }
    return false;
}

static size_t take_prefix(h2_stream_t *stream, slice_t data)
{
    size_t left = GRPC_PREFIX_BYTES - stream->prefix_len;
    size_t taken = left < data.len ? left : data.len;
    memcpy(stream->prefix + stream->prefix_len, data.data, taken);
    stream->prefix_len = (uint8_t)(stream->prefix_len + taken);
    return taken;
}

/* Part of a message's body. Its memory is reserved at once but touched only as bytes come in;
 * these are what is charged. */
static size_t take_body(h2_conn_t *conn, h2_stream_t *stream, slice_t data)
{
    size_t wanted = grpc_prefix_len(stream->prefix);
    if (!stream->request_data) {
        bytes_unref(&stream->request);
        stream->request = bytes_alloc(wanted, &stream->request_data);
        stream->request_len = 0;
        if (!stream->links[LINK_REQUEST].list) {
            h2_list_append(&conn->requests, stream, conn->now_us + LIMIT_REQUEST_US);
        }
    }
    size_t left = wanted - stream->request_len;
    size_t taken = left < data.len ? left : data.len;
    if (taken < left) {
        if (!calls_charge(conn->env->calls, taken)) {
            h2_response_fail(conn, stream, GRPC_RESOURCE_EXHAUSTED,
                             slice_str(api_error_text(API_TOO_MANY_REQUESTS)));
            return data.len;
        }
        stream->charged_bytes += taken;
    }
    memcpy(stream->request_data + stream->request_len, data.data, taken);
    stream->request_len += taken;
    stream->progress_bytes += taken;
    if (stream->progress_bytes >= LIMIT_REQUEST_PROGRESS) {
        stream->progress_bytes = 0;
        h2_list_remove(stream, LINK_REQUEST);
        h2_list_append(&conn->requests, stream, conn->now_us + LIMIT_REQUEST_US);
    }
    return taken;
}

void h2_request_data(h2_conn_t *conn, h2_stream_t *stream, slice_t data)
{
    while (data.len > 0 && !stream->answered && !(stream->received && h2_is_unary(stream))) {
        size_t taken = 0;
        if (stream->prefix_len < GRPC_PREFIX_BYTES) {
            taken = take_prefix(stream, data);
            if (stream->prefix_len == GRPC_PREFIX_BYTES && refuse_prefix(conn, stream)) {
                return;
            }
        } else {
            taken = take_body(conn, stream, data);
        }
        data = slice(data.data + taken, data.len - taken);
        if (!stream->answered && stream->prefix_len == GRPC_PREFIX_BYTES) {
            size_t wanted = grpc_prefix_len(stream->prefix);
            if (wanted == 0) {
                stream->request = bytes_new("", 0);
                message_received(conn, stream);
            } else if (stream->request_data && stream->request_len == wanted) {
                message_received(conn, stream);
            }
        }
    }
}

void h2_request_end(h2_conn_t *conn, h2_stream_t *stream)
{
    stream->remote_closed = true;
    if (stream->answered || (stream->received && h2_is_unary(stream))) {
        return;
    }
    rpc_type_t type = method_info(stream->method)->type;
    if (stream->prefix_len > 0) {
        fail_receive(conn, stream, type == RPC_UNARY ? GRPC_UNKNOWN : GRPC_INTERNAL,
                     "unexpected EOF");
    } else if (type == RPC_BIDI_STREAM) {
        api_call_half_close(conn->env->api, stream->call, conn->now_us);
    } else if (stream->received) {
        deliver_or_hold(conn, stream);
    } else if (type == RPC_UNARY) {
        h2_response_fail(conn, stream, GRPC_UNKNOWN, slice_str("EOF"));
    } else {
        h2_response_fail(conn, stream, GRPC_INTERNAL,
                         slice_str("cardinality violation: received no request message from "
                                   "non-client-streaming RPC"));
    }
}
