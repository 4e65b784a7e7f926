/* An answer is HEADERS, DATA and trailers, or HEADERS alone when there is no message. A unary
 * answer is given to nghttp2 when it is complete, so that its frames leave together; a stream's
 * headers leave with its first message. */
#include "actors/grpc_gateway/h2_private.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/limits.h"
#include "messages/xalloc.h"

enum { FRAME_HEADER_BYTES = 9 };

/* Constant text on both sides: nghttp2 need not copy it. */
#define NV_CONST(key, val)                                                                         \
    (nghttp2_nv)                                                                                   \
    {                                                                                              \
        .name = (uint8_t *)(uintptr_t)(key), .value = (uint8_t *)(uintptr_t)(val),                 \
        .namelen = sizeof(key) - 1, .valuelen = strlen(val),                                       \
        .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE                      \
    }

static const char *code_text(grpc_code_t code)
{
    static const char *const texts[] = {"0", "1",  "2",  "3",  "4",  "5",  "6",  "7", "8",
                                        "9", "10", "11", "12", "13", "14", "15", "16"};
    assert((unsigned)code < sizeof texts / sizeof texts[0]);
    return texts[code];
}

/* grpc-status and, unless it is empty, grpc-message. The value of the second lives in scratch,
 * which nghttp2 copies from. Returns how many. */
static size_t status_fields(h2_conn_t *conn, nghttp2_nv fields[2], grpc_code_t code, slice_t text)
{
    fields[0] = NV_CONST("grpc-status", code_text(code));
    if (text.len == 0) {
        return 1;
    }
    if (text.len > LIMIT_STATUS_TEXT_BYTES) {
        text.len = LIMIT_STATUS_TEXT_BYTES;
    }
    buf_clear(&conn->scratch);
    grpc_message_encode(&conn->scratch, text);
    fields[1] = NV_CONST("grpc-message", "");
    fields[1].value = conn->scratch.data;
    fields[1].valuelen = conn->scratch.len;
    fields[1].flags = NGHTTP2_NV_FLAG_NO_COPY_NAME;
    return 2;
}

/* nghttp2 refuses frames for a stream only when it is being closed anyway: make sure that it is. */
static void check_submitted(h2_conn_t *conn, const h2_stream_t *stream, int rc)
{
    if (rc != 0) {
        h2_reset(conn, stream->id, NGHTTP2_INTERNAL_ERROR);
    }
}

static void submit_trailers(h2_conn_t *conn, h2_stream_t *stream)
{
    nghttp2_nv fields[2];
    slice_t text = stream->text ? slice_str(stream->text) : slice("", 0);
    size_t count = status_fields(conn, fields, stream->code, text);
    int rc = nghttp2_submit_trailer(conn->session, stream->id, fields, count);
    check_submitted(conn, stream, rc);
    free(stream->text);
    stream->text = NULL;
}

/* How much of the queue goes into the next DATA frame; the bytes are copied by send_data. */
static ssize_t read_queue(nghttp2_session *session, int32_t id, uint8_t *buf, size_t len,
                          uint32_t *flags, nghttp2_data_source *source, void *user_data)
{
    (void)session;
    (void)id;
    (void)buf;
    h2_conn_t *conn = user_data;
    h2_stream_t *stream = source->ptr;
    if (stream->unsent_bytes == 0 && !stream->answered) {
        stream->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    size_t taken = stream->unsent_bytes < len ? stream->unsent_bytes : len;
    if (taken > 0) {
        *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    }
    if (taken == stream->unsent_bytes && stream->answered) {
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        submit_trailers(conn, stream);
    }
    return (ssize_t)taken;
}

int h2_response_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header,
                          size_t len, nghttp2_data_source *source, void *user_data)
{
    (void)session;
    (void)frame;
    h2_conn_t *conn = user_data;
    h2_stream_t *stream = source->ptr;
    if (conn->out.len - conn->out_sent >= LIMIT_OUTPUT_BYTES) {
        return NGHTTP2_ERR_WOULDBLOCK;
    }
    uint8_t *room = buf_reserve(&conn->out, FRAME_HEADER_BYTES + len);
    memcpy(room, header, FRAME_HEADER_BYTES);
    size_t message_bytes = h2_queue_copy(conn, stream, room + FRAME_HEADER_BYTES, len);
    buf_advance(&conn->out, FRAME_HEADER_BYTES + len);
    stream->answer_sent = true;
    if (stream->call && message_bytes > 0) {
        calls_touch(conn->env->calls);
        api_call_sent(conn->env->api, stream->call, message_bytes);
    }
    return 0;
}

static void submit_response(h2_conn_t *conn, h2_stream_t *stream)
{
    nghttp2_nv fields[2] = {NV_CONST(":status", "200"),
                            NV_CONST("content-type", "application/grpc")};
    nghttp2_data_provider provider = {.source.ptr = stream, .read_callback = read_queue};
    int rc = nghttp2_submit_response(conn->session, stream->id, fields, 2, &provider);
    check_submitted(conn, stream, rc);
    stream->submitted = true;
}

static void submit_status_only(h2_conn_t *conn, h2_stream_t *stream, const char *http_status,
                               slice_t text)
{
    nghttp2_nv fields[4] = {NV_CONST(":status", http_status),
                            NV_CONST("content-type", "application/grpc")};
    size_t count = 2 + status_fields(conn, fields + 2, stream->code, text);
    int rc = nghttp2_submit_response(conn->session, stream->id, fields, count, NULL);
    check_submitted(conn, stream, rc);
    stream->submitted = true;
}

static void resume(h2_conn_t *conn, h2_stream_t *stream)
{
    if (stream->deferred) {
        stream->deferred = false;
        check_submitted(conn, stream, nghttp2_session_resume_data(conn->session, stream->id));
    }
}

void h2_response_message(h2_conn_t *conn, h2_stream_t *stream, bytes_t **message_p)
{
    assert(!stream->answered);
    h2_queue_put(conn, stream, message_p);
    if (stream->submitted) {
        resume(conn, stream);
    } else if (!h2_is_unary(stream)) {
        submit_response(conn, stream);
    }
}

static void finish(h2_conn_t *conn, h2_stream_t *stream, const char *http_status, grpc_code_t code,
                   slice_t text)
{
    assert(!stream->answered);
    stream->answered = true;
    stream->code = code;
    h2_list_remove(stream, LINK_REQUEST);
    bytes_unref(&stream->request);
    calls_refund(conn->env->calls, stream->charged_bytes);
    stream->charged_bytes = 0;
    if (!stream->submitted && stream->unsent_bytes == 0) {
        submit_status_only(conn, stream, http_status, text);
        return;
    }
    if (text.len > 0) {
        stream->text = xmalloc(text.len + 1);
        memcpy(stream->text, text.data, text.len);
        stream->text[text.len] = '\0';
    }
    if (stream->submitted) {
        resume(conn, stream);
    } else {
        submit_response(conn, stream);
    }
}

void h2_response_finish(h2_conn_t *conn, h2_stream_t *stream, grpc_code_t code, slice_t text)
{
    uint64_t call = stream->call;
    assert(call);
    stream->call = 0;
    calls_close(conn->env->calls, call);
    finish(conn, stream, "200", code, text);
}

void h2_response_fail(h2_conn_t *conn, h2_stream_t *stream, grpc_code_t code, slice_t text)
{
    h2_response_refuse(conn, stream, "200", code, text);
}

void h2_response_refuse(h2_conn_t *conn, h2_stream_t *stream, const char *http_status,
                        grpc_code_t code, slice_t text)
{
    uint64_t call = stream->call;
    if (call) {
        stream->call = 0;
        calls_close(conn->env->calls, call);
        api_call_cancel(conn->env->api, call);
    }
    finish(conn, stream, http_status, code, text);
}
