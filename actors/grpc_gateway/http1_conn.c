#include "actors/grpc_gateway/http1_private.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/limits.h"
#include "messages/xalloc.h"

static http1_conn_t *self_of(conn_t *conn)
{
    return (http1_conn_t *)conn;
}

static const http1_conn_t *const_self_of(const conn_t *conn)
{
    return (const http1_conn_t *)conn;
}

static size_t unparsed(const http1_conn_t *self)
{
    return self->in.len - self->in_taken;
}

static size_t unsent(const http1_conn_t *self)
{
    return self->out.len - self->out_sent;
}

/* Drops what has been parsed. */
static void compact(http1_conn_t *self)
{
    if (self->in_taken > 0) {
        memmove(self->in.data, self->in.data + self->in_taken, unparsed(self));
        self->in.len -= self->in_taken;
        self->in_taken = 0;
        self->in_scanned = 0;
    }
}

/* An empty line ends a head. Looks only at what is new, so that a head that comes byte by byte costs
 * no more than one that comes at once. */
static bool has_whole_head(http1_conn_t *self)
{
    const uint8_t *data = self->in.data;
    size_t i = self->in_scanned > self->in_taken + 2 ? self->in_scanned - 2 : self->in_taken;
    self->in_scanned = self->in.len;
    for (; i < self->in.len; i++) {
        bool crlf = i + 2 < self->in.len && data[i + 1] == '\r' && data[i + 2] == '\n';
        bool lf = i + 1 < self->in.len && data[i + 1] == '\n';
        if (data[i] == '\n' && (crlf || lf)) {
            return true;
        }
    }
    return false;
}

static void skip_body(http1_conn_t *self)
{
    size_t taken = unparsed(self) < self->skip_bytes ? unparsed(self) : (size_t)self->skip_bytes;
    self->in_taken += taken;
    self->skip_bytes -= taken;
}

/* A request whose body cannot be skipped is answered and ends the connection. */
static void refuse(http1_conn_t *self, int status, const char *text)
{
    metrics_add(self->env->metrics, METRIC_PROTOCOL_ERRORS, 1);
    self->keep_alive = false;
    http1_respond_text(self, status, "", text);
}

static void on_request(http1_conn_t *self, const http1_request_t *request)
{
    self->is_head = request->is_head;
    self->minor = request->minor;
    self->keep_alive = request->keep_alive && !self->draining && !request->expect_continue;
    if (request->chunked) {
        refuse(self, 411, "411 Length Required");
    } else if (request->body_bytes > LIMIT_HTTP1_BODY_BYTES) {
        refuse(self, 413, "413 Request Entity Too Large");
    } else {
        self->skip_bytes = request->expect_continue ? 0 : request->body_bytes;
        http1_answer(self, request);
    }
}

static void on_malformed(http1_conn_t *self, int status)
{
    self->is_head = false;
    self->minor = true;
    switch (status) {
    case 431: refuse(self, status, "431 Request Header Fields Too Large"); break;
    case 501: refuse(self, status, "501 Not Implemented: unsupported transfer encoding"); break;
    case 505: refuse(self, status, "505 HTTP Version Not Supported"); break;
    default: refuse(self, 400, "400 Bad Request"); break;
    }
}

/* One request, if a whole one is there. */
static bool take_request(http1_conn_t *self)
{
    skip_body(self);
    bool whole = has_whole_head(self);
    if (!whole && unparsed(self) <= LIMIT_HEADER_LIST_BYTES) {
        self->head_since_us = unparsed(self) == 0   ? 0
                              : self->head_since_us ? self->head_since_us
                                                    : self->now_us;
        return false;
    }
    http1_request_t request;
    size_t used = 0;
    slice_t input = slice(self->in.data + self->in_taken, unparsed(self));
    int status = http1_parse(input, &request, &used);
    self->busy = true;
    self->head_since_us = 0;
    if (status == 0) {
        self->in_taken += used;
        self->in_scanned = self->in_taken;
        on_request(self, &request);
    } else {
        on_malformed(self, status == HTTP1_MORE ? 431 : status);
    }
    return true;
}

/* Answers what can be answered. */
static void advance(http1_conn_t *self)
{
    if (self->busy) {
        http1_health_continue(self);
    }
    while (!self->busy && !self->closing && unsent(self) <= LIMIT_HTTP1_OUTPUT_BYTES &&
           take_request(self)) {
        continue;
    }
    compact(self);
    self->closing = self->closing || (self->draining && !self->busy && unparsed(self) == 0);
}

/* ---- conn.h ---- */

static int http1_input(conn_t *conn, slice_t bytes, uint64_t now_us)
{
    http1_conn_t *self = self_of(conn);
    self->now_us = now_us;
    self->idle_since_us = now_us;
    if (!self->closing) {
        buf_append(&self->in, bytes.data, bytes.len);
        advance(self);
    }
    return 0;
}

static slice_t http1_output(conn_t *conn, uint64_t now_us)
{
    http1_conn_t *self = self_of(conn);
    self->now_us = now_us;
    advance(self);
    if (unsent(self) == 0) {
        buf_clear(&self->out);
        self->out_sent = 0;
        return slice(NULL, 0);
    }
    return slice(self->out.data + self->out_sent, unsent(self));
}

static void http1_written(conn_t *conn, size_t len)
{
    http1_conn_t *self = self_of(conn);
    assert(len <= unsent(self));
    self->out_sent += len;
    self->out_since_us = self->now_us;
    self->idle_since_us = self->now_us;
}

static bool http1_want_input(const conn_t *conn)
{
    const http1_conn_t *self = const_self_of(conn);
    return !self->closing && unsent(self) <= LIMIT_HTTP1_OUTPUT_BYTES &&
           unparsed(self) <= LIMIT_HEADER_LIST_BYTES;
}

static bool http1_finished(const conn_t *conn)
{
    return const_self_of(conn)->closing;
}

static void http1_message(conn_t *conn, int32_t stream, bytes_t **message_p)
{
    (void)conn;
    (void)stream;
    bytes_unref(message_p); /* what a probe reads does not matter, only that it could */
}

static void http1_finish(conn_t *conn, int32_t stream, grpc_code_t code, const char *text)
{
    http1_health_finish(self_of(conn), stream, code, text);
}

static uint64_t http1_deadline(const conn_t *conn)
{
    const http1_conn_t *self = const_self_of(conn);
    if (unsent(self) > 0) {
        return self->out_since_us + LIMIT_HTTP1_STALL_US;
    }
    if (self->busy) {
        return DEADLINE_NONE; /* the request core has a deadline for each check */
    }
    return self->head_since_us ? self->head_since_us + LIMIT_HTTP1_HEAD_US
                               : self->idle_since_us + LIMIT_HTTP1_IDLE_US;
}

static void http1_timeout(conn_t *conn, uint64_t now_us)
{
    http1_conn_t *self = self_of(conn);
    self->now_us = now_us;
    if (now_us >= http1_deadline(conn)) {
        self->closing = true;
        buf_clear(&self->out); /* whoever did not take it will not */
        self->out_sent = 0;
    }
}

static void http1_drain(conn_t *conn)
{
    http1_conn_t *self = self_of(conn);
    self->draining = true;
    self->keep_alive = false;
    self->closing = self->closing || !self->busy;
}

static void http1_destroy(conn_t **self_p)
{
    http1_conn_t *self = (http1_conn_t *)*self_p;
    *self_p = NULL;
    if (!self) {
        return;
    }
    calls_clear_dirty(self->env->calls, &self->conn);
    http1_health_cancel(self);
    buf_deinit(&self->in);
    buf_deinit(&self->out);
    buf_deinit(&self->path);
    buf_deinit(&self->key);
    buf_deinit(&self->value);
    free(self);
}

static const conn_ops_t http1_ops = {
    .input = http1_input,
    .output = http1_output,
    .written = http1_written,
    .want_input = http1_want_input,
    .finished = http1_finished,
    .message = http1_message,
    .finish = http1_finish,
    .deadline = http1_deadline,
    .timeout = http1_timeout,
    .drain = http1_drain,
    .destroy = http1_destroy,
};

conn_t *http1_conn_new(const conn_env_t *env, const http_pages_t *pages, uint64_t now_us)
{
    http1_conn_t *self = xcalloc(1, sizeof *self);
    self->conn.ops = &http1_ops;
    self->env = env;
    self->pages = pages;
    self->now_us = now_us;
    self->idle_since_us = now_us;
    return &self->conn;
}
