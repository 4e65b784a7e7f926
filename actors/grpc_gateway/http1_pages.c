/* Which page answers which path (contract section 11). Heads carry what etcd's carry: CORS for all
 * origins (--cors has no other value yet) and the same content types. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "actors/grpc_gateway/gzip.h"
#include "actors/grpc_gateway/http1_private.h"
#include "messages/version.h"
#include "messages/xalloc.h"

static const char plain_text[] = "text/plain; charset=utf-8";
static const char metrics_type[] = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

static void say(buf_t *out, const char *text)
{
    buf_append(out, text, strlen(text));
}

static const char *status_text(int status)
{
    switch (status) {
    case 200: return "OK";
    case 307: return "Temporary Redirect";
    case 400: return "Bad Request";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 411: return "Length Required";
    case 413: return "Request Entity Too Large";
    case 431: return "Request Header Fields Too Large";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    default: return "HTTP Version Not Supported";
    }
}

/* Mon, 02 Jan 2006 15:04:05 GMT */
static void say_date(const http1_conn_t *self, buf_t *out)
{
    if (!self->pages->unix_seconds) {
        return;
    }
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)self->pages->unix_seconds(self->pages->context);
    struct tm at = {0};
    (void)gmtime_r(&seconds, &at);
    char text[64];
    int len = snprintf(text, sizeof text, "Date: %s, %02d %s %04d %02d:%02d:%02d GMT\r\n",
                       days[at.tm_wday], at.tm_mday, months[at.tm_mon], at.tm_year + 1900,
                       at.tm_hour, at.tm_min, at.tm_sec);
    buf_append(out, text, (size_t)len);
}

void http1_respond(http1_conn_t *self, int status, const char *content_type, const char *extra,
                   slice_t body)
{
    buf_t *out = &self->out;
    if (out->len == self->out_sent) {
        self->out_since_us = self->now_us;
    }
    char *line = xasprintf("HTTP/1.1 %d %s\r\n", status, status_text(status));
    say(out, line);
    free(line);
    say(out, "Access-Control-Allow-Headers: accept, content-type, authorization\r\n"
             "Access-Control-Allow-Methods: POST, GET, OPTIONS, PUT, DELETE\r\n"
             "Access-Control-Allow-Origin: *\r\n");
    say(out, extra);
    if (content_type) {
        line = xasprintf("Content-Type: %s\r\n", content_type);
        say(out, line);
        free(line);
    }
    say_date(self, out);
    line = xasprintf("Content-Length: %zu\r\n", body.len);
    say(out, line);
    free(line);
    if (!self->keep_alive) {
        say(out, "Connection: close\r\n");
    } else if (!self->minor) {
        say(out, "Connection: keep-alive\r\n");
    }
    say(out, "\r\n");
    if (!self->is_head) {
        buf_append(out, body.data, body.len);
    }
    self->busy = false;
    self->closing = self->closing || !self->keep_alive;
}

void http1_respond_text(http1_conn_t *self, int status, const char *extra, const char *text)
{
    char *body = xasprintf("%s\n", text);
    char *lines = xasprintf("%sX-Content-Type-Options: nosniff\r\n", extra);
    http1_respond(self, status, plain_text, lines, slice_str(body));
    free(lines);
    free(body);
}

static void not_found(http1_conn_t *self)
{
    http1_respond_text(self, 404, "", "404 page not found");
}

static bool is_path(const http1_conn_t *self, const char *text)
{
    return slice_equal(buf_slice(&self->path), slice_str(text));
}

/* What follows `prefix` in the path; false when it does not begin so. */
static bool path_rest(const http1_conn_t *self, const char *prefix, slice_t *rest)
{
    slice_t path = buf_slice(&self->path);
    size_t len = strlen(prefix);
    *rest = slice(NULL, 0);
    if (!slice_starts_with(path, slice_str(prefix))) {
        return false;
    }
    *rest = slice(path.data + len, path.len - len);
    return true;
}

static void answer_version(http1_conn_t *self)
{
    /* Cluster and storage version count as known once the store is there and there is a leader. */
    bool known = api_status(self->env->api).serving;
    char *body = xasprintf("{\"etcdserver\":\"%s\",\"etcdcluster\":\"%s\",\"storage\":\"%s\"}",
                           API_VERSION, known ? API_CLUSTER_VERSION : "not_decided",
                           known ? API_STORAGE_VERSION : "unknown");
    http1_respond(self, 200, "application/json", "", slice_str(body));
    free(body);
}

static void answer_metrics(http1_conn_t *self, bool accepts_gzip)
{
    buf_t body = {0};
    buf_t packed = {0};
    self->pages->metrics_text(self->pages->context, &body);
    if (accepts_gzip && gzip_text(&packed, buf_slice(&body))) {
        http1_respond(self, 200, metrics_type, "Content-Encoding: gzip\r\n", buf_slice(&packed));
    } else {
        http1_respond(self, 200, metrics_type, "", buf_slice(&body));
    }
    buf_deinit(&packed);
    buf_deinit(&body);
}

static void answer_vars(http1_conn_t *self)
{
    buf_t body = {0};
    api_status_t status = api_status(self->env->api);
    self->pages->vars_text(self->pages->context, &status, &body);
    http1_respond(self, 200, "application/json; charset=utf-8", "", buf_slice(&body));
    buf_deinit(&body);
}

static void answer_debug(http1_conn_t *self, slice_t page)
{
    buf_t body = {0};
    char *name = xasprintf("%.*s", (int)page.len, page.len ? (const char *)page.data : "");
    if (self->pages->debug_text) {
        self->pages->debug_text(self->pages->context, name, &body);
    }
    free(name);
    if (body.len > 0) {
        http1_respond(self, 200, plain_text, "X-Content-Type-Options: nosniff\r\n",
                      buf_slice(&body));
    } else {
        not_found(self);
    }
    buf_deinit(&body);
}

/* /livez, /readyz and their checks one by one. False = the path is none of them. */
static bool route_probe(http1_conn_t *self, http1_probe_t *probe, http1_check_id_t *only)
{
    static const struct {
        const char *root;
        http1_probe_t probe;
    } roots[] = {{"/livez", PROBE_LIVEZ}, {"/readyz", PROBE_READYZ}};
    slice_t rest;
    *only = CHECK_COUNT;
    for (size_t i = 0; i < sizeof roots / sizeof *roots; i++) {
        *probe = roots[i].probe;
        if (!path_rest(self, roots[i].root, &rest)) {
            continue;
        }
        if (rest.len == 0) {
            return true;
        }
        if (rest.data[0] == '/') {
            *only = http1_check_find(*probe, slice(rest.data + 1, rest.len - 1));
            return *only != CHECK_COUNT;
        }
    }
    *probe = PROBE_HEALTH;
    return is_path(self, "/health");
}

void http1_answer(http1_conn_t *self, const http1_request_t *request)
{
    slice_t query;
    slice_t rest;
    http1_probe_t probe;
    http1_check_id_t only;
    if (!http1_target(request->target, &self->path, &query)) {
        http1_respond_text(self, 400, "", "400 Bad Request");
        return;
    }
    if (slice_equal(request->method, slice_str("OPTIONS"))) {
        http1_respond(self, 200, NULL, "", slice(NULL, 0));
        return;
    }
    bool is_get = slice_equal(request->method, slice_str("GET"));
    bool is_vars = is_path(self, "/debug/vars") && self->pages->vars_text;
    bool is_debug = path_rest(self, "/debug/", &rest) && self->pages->debug_text;
    bool is_probe = route_probe(self, &probe, &only);
    if (is_path(self, "/metrics")) {
        answer_metrics(self, request->accepts_gzip);
    } else if (!is_probe && !is_debug && !is_vars && !is_path(self, "/version")) {
        not_found(self);
    } else if (!is_get) {
        http1_respond_text(self, 405, "Allow: GET\r\n", "Method Not Allowed");
    } else if (is_probe) {
        http1_health_begin(self, probe, only, query);
    } else if (is_vars) {
        answer_vars(self);
    } else if (is_debug) {
        answer_debug(self, rest);
    } else {
        answer_version(self);
    }
}
