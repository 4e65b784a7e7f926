/* HTTP/1.1 on the client port: what a request may look like, which pages answer, and in which words.
 * The bytes were compared with etcd 3.7.1's. The request core is played by fake_api.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <zlib.h>

#include "actors/grpc_gateway/conn.h"
#include "actors/grpc_gateway/http1_parse.h"
#include "messages/limits.h"
#include "tests/support/fake_api.h"

/* ---- parsing ---- */

static void test_heads(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int outcome;
        bool keep_alive;
        uint64_t body;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0, true, 0},
        {"GET / HTTP/1.1\nHost: x\n\n", 0, true, 0},
        {"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 0, true, 0},
        {"GET / HTTP/1.1\r\nHost:\r\n\r\n", 0, true, 0},
        {"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, CLOSE\r\n\r\n", 0, false, 0},
        {"GET / HTTP/1.0\r\n\r\n", 0, false, 0},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 0, true, 0},
        {"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n", 0, true, 12},
        {"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 0, true, 1},
        {"GET / HTTP/1.1\r\nHost: x\r\n", HTTP1_MORE, 0, 0},
        {"GET / HTTP/1.1\r\nHost: x\r\n\r", HTTP1_MORE, 0, 0},
        {"GET", HTTP1_MORE, 0, 0},
        {"", HTTP1_MORE, 0, 0},
        {"\r\n\r\n", 400, 0, 0},
        {"GET / HTTP/1.1\r\n\r\n", 400, 0, 0},
        {"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400, 0, 0},
        {"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400, 0, 0},
        {"GET /\r\n\r\n", 400, 0, 0},
        {"G\x01T / HTTP/1.1\r\nHost: x\r\n\r\n", 400, 0, 0},
        {"GET /\x7f HTTP/1.1\r\nHost: x\r\n\r\n", 400, 0, 0},
        {"GET / FTP/1.1\r\nHost: x\r\n\r\n", 400, 0, 0},
        {"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505, 0, 0},
        {"GET / HTTP/1.1x\r\nHost: x\r\n\r\n", 505, 0, 0},
        {"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400, 0, 0},
        {"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400, 0, 0},
        {"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400, 0, 0},
        {"GET / HTTP/1.1\r\nHost: x\r\nA: \x01\r\n\r\n", 400, 0, 0},
        {"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, 0, 0},
        {"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400, 0, 0},
        {"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\n", 400, 0, 0},
        {"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999999999999\r\n\r\n", 400, 0, 0},
        {"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
         400, 0, 0},
        {"PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, 0, 0},
        {"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        http1_request_t request;
        size_t used = 0;
        assert_int_equal(http1_parse(slice_str(cases[i].text), &request, &used), cases[i].outcome);
        if (cases[i].outcome == 0) {
            assert_int_equal(used, strlen(cases[i].text));
            assert_int_equal(request.keep_alive, cases[i].keep_alive);
            assert_int_equal(request.body_bytes, cases[i].body);
        }
    }
}

static void test_head_limits(void **state)
{
    (void)state;
    buf_t text = {0};
    http1_request_t request;
    size_t used = 0;
    const char start[] = "GET / HTTP/1.1\r\nHost: x\r\n";
    buf_append(&text, start, strlen(start));
    for (unsigned i = 1; i < LIMIT_HEADERS; i++) {
        buf_append(&text, "a: b\r\n", 6);
    }
    size_t len = text.len;
    buf_append(&text, "\r\n", 2);
    assert_int_equal(http1_parse(buf_slice(&text), &request, &used), 0);
    text.len = len;
    buf_append(&text, "a: b\r\n\r\n", 8);
    assert_int_equal(http1_parse(buf_slice(&text), &request, &used), 431);
    text.len = strlen(start);
    buf_append(&text, "a: ", 3);
    while (text.len <= LIMIT_HEADER_LIST_BYTES) {
        assert_int_equal(http1_parse(buf_slice(&text), &request, &used), HTTP1_MORE);
        buf_append(&text, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 48);
    }
    assert_int_equal(http1_parse(buf_slice(&text), &request, &used), 431);
    buf_deinit(&text);
}

static void test_accepted_codings(void **state)
{
    (void)state;
    static const struct {
        const char *fields;
        bool gzip;
    } cases[] = {
        {"", false},
        {"Accept-Encoding: gzip\r\n", true},
        {"accept-encoding:GZip\r\n", true},
        {"Accept-Encoding: deflate, gzip, br\r\n", true},
        {"Accept-Encoding: deflate\r\nAccept-Encoding: gzip\r\n", true},
        {"Accept-Encoding: gzipped\r\n", false},
        {"Accept-Encoding: gzip;q=0\r\n", false},
        {"Accept-Encoding: gzip;q=0.000\r\n", false},
        {"Accept-Encoding: gzip ; Q=0.001\r\n", true},
        {"Accept-Encoding: gzip; q=0.001\r\n", true},
        {"Accept-Encoding: gzip;q=1.000\r\n", true},
        {"Accept-Encoding: gzip;q=1.001\r\n", false},
        {"Accept-Encoding: gzip;q=2\r\n", false},
        {"Accept-Encoding: gzip;q=\r\n", false},
        {"Accept-Encoding: gzip;q=x\r\n", false},
        {"Accept-Encoding: gzip;q=0.5x\r\n", false},
        {"Accept-Encoding: gzip;q=0.12345678\r\n", false},
        {"Accept-Encoding: gzip;level=9\r\n", false},
        {"Accept-Encoding: gzip, identity\r\n", false}, /* then plain is as welcome */
        {"Accept-Encoding: gzip;q=0.5, identity;q=0.4\r\n", true},
        {"Accept-Encoding: gzip;q=0.5, identity;q=0.6\r\n", false},
        {"Accept-Encoding: *\r\n", false},
        {"Accept-Encoding: *;q=0.1, gzip\r\n", true},
        {"Accept-Encoding: ;;;,,\r\n", false},
        {"Accept-Encoding:\r\n", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        http1_request_t request;
        size_t used = 0;
        char *text = xasprintf("GET / HTTP/1.1\r\nHost: x\r\n%s\r\n", cases[i].fields);
        assert_int_equal(http1_parse(slice_str(text), &request, &used), 0);
        if (request.accepts_gzip != cases[i].gzip) {
            fail_msg("%s", cases[i].fields);
        }
        free(text);
    }
}

static void test_targets(void **state)
{
    (void)state;
    static const struct {
        const char *target, *path, *query; /* path NULL = malformed */
    } cases[] = {
        {"/", "/", ""},
        {"/a/b?c=d?e", "/a/b", "c=d?e"},
        {"/%68ealth", "/health", ""},
        {"http://host:1/x?y", "/x", "y"},
        {"http://host", "/", ""},
        {"*", "*", ""},
        {"/%6", NULL, NULL},
        {"/%zz", NULL, NULL},
        {"health", NULL, NULL},
        {"?x", NULL, NULL},
    };
    buf_t path = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        slice_t query;
        assert_int_equal(http1_target(slice_str(cases[i].target), &path, &query),
                         cases[i].path != NULL);
        if (cases[i].path) {
            assert_true(slice_equal(buf_slice(&path), slice_str(cases[i].path)));
            assert_true(slice_equal(query, slice_str(cases[i].query)));
        }
    }
    buf_deinit(&path);
}

static void test_query(void **state)
{
    (void)state;
    slice_t rest = slice_str("a=1&&b&c%3D=x+y%26&bad=%f&also;bad=1&=z&d=");
    static const char *const expected[] = {"a", "1", "b", "", "c=", "x y&", "", "z", "d", ""};
    buf_t key = {0};
    buf_t value = {0};
    size_t i = 0;
    while (http1_query_next(&rest, &key, &value)) {
        assert_true(i < sizeof expected / sizeof *expected);
        assert_true(slice_equal(buf_slice(&key), slice_str(expected[i++])));
        assert_true(slice_equal(buf_slice(&value), slice_str(expected[i++])));
    }
    assert_int_equal(i, sizeof expected / sizeof *expected);
    buf_deinit(&key);
    buf_deinit(&value);
}

/* ---- connections ---- */

typedef struct {
    api_t api;
    metrics_t metrics;
    conn_env_t env;
    http_pages_t pages;
    conn_t *conn;
    char text[300000]; /* everything sent since it was last cleared */
    size_t len;
    uint64_t now_us;
} rig_t;

static void metrics_text_fake(void *context, buf_t *out)
{
    (void)context;
    buf_append(out, "some_metric 1\n", 14);
}

static void debug_text_fake(void *context, const char *page, buf_t *out)
{
    (void)context;
    if (strcmp(page, "") == 0 || strcmp(page, "actors") == 0) {
        buf_append(out, "page:", 5);
        buf_append(out, page, strlen(page));
    }
}

static void vars_text_fake(void *context, const api_status_t *status, buf_t *out)
{
    (void)context;
    buf_byte(out, (uint8_t)('0' + status->leader));
}

static uint64_t date_fake(void *context)
{
    (void)context;
    return 1136214245;
}

static int set_up(void **state)
{
    rig_t *rig = xcalloc(1, sizeof *rig);
    rig->env = (conn_env_t){.api = &rig->api, .calls = calls_new(), .metrics = &rig->metrics};
    rig->api.sink = calls_sink(rig->env.calls);
    rig->pages = (http_pages_t){.metrics_text = metrics_text_fake};
    rig->now_us = 1000;
    rig->conn = http1_conn_new(&rig->env, &rig->pages, rig->now_us);
    rig->api.status = (api_status_t){.serving = true, .leader = 7};
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    rig_t *rig = *state;
    if (rig->conn) {
        rig->conn->ops->destroy(&rig->conn);
    }
    bool leaked = calls_count(rig->env.calls) != 0;
    fake_clear(&rig->api);
    calls_destroy(&rig->env.calls);
    free(rig);
    return leaked ? -1 : 0;
}

/* As the shell does: write what there is. */
static void collect(rig_t *rig)
{
    const conn_ops_t *ops = rig->conn->ops;
    for (slice_t out = ops->output(rig->conn, rig->now_us); out.len > 0;
         out = ops->output(rig->conn, rig->now_us)) {
        size_t part = out.len > 1000 ? 1000 : out.len;
        assert_true(rig->len + part < sizeof rig->text);
        memcpy(rig->text + rig->len, out.data, part);
        rig->len += part;
        ops->written(rig->conn, part);
    }
    rig->text[rig->len] = '\0';
}

static const char *feed(rig_t *rig, const char *text)
{
    rig->len = 0;
    assert_int_equal(rig->conn->ops->input(rig->conn, slice_str(text), rig->now_us), 0);
    collect(rig);
    return rig->text;
}

static const char *get(rig_t *rig, const char *target)
{
    char *text = xasprintf("GET %s HTTP/1.1\r\nHost: x\r\n\r\n", target);
    const char *answer = feed(rig, text);
    free(text);
    return answer;
}

#define CORS                                                                                       \
    "Access-Control-Allow-Headers: accept, content-type, authorization\r\n"                        \
    "Access-Control-Allow-Methods: POST, GET, OPTIONS, PUT, DELETE\r\n"                            \
    "Access-Control-Allow-Origin: *\r\n"
#define PLAIN   "Content-Type: text/plain; charset=utf-8\r\n"
#define NOSNIFF "X-Content-Type-Options: nosniff\r\n"
#define HEALTHY                                                                                    \
    "HTTP/1.1 200 OK\r\n" CORS PLAIN                                                               \
    "Content-Length: 29\r\n\r\n{\"health\":\"true\",\"reason\":\"\"}"
#define NOT_FOUND                                                                                  \
    "HTTP/1.1 404 Not Found\r\n" CORS NOSNIFF PLAIN "Content-Length: 19\r\n\r\n"                   \
    "404 page not found\n"

static void test_pages(void **state)
{
    rig_t *rig = *state;
    static const struct {
        const char *target, *answer;
    } cases[] = {
        {"/version",
         "HTTP/1.1 200 OK\r\n" CORS "Content-Type: application/json\r\nContent-Length: 62\r\n\r\n"
         "{\"etcdserver\":\"3.7.1\",\"etcdcluster\":\"3.7.0\",\"storage\":\"3.7.0\"}"},
        {"/metrics", "HTTP/1.1 200 OK\r\n" CORS "Content-Type: text/plain; version=0.0.4; "
                     "charset=utf-8; escaping=underscores\r\nContent-Length: 14\r\n\r\n"
                     "some_metric 1\n"},
        {"/health", HEALTHY},
        {"/health?serializable=true&exclude=NOSPACE", HEALTHY},
        {"/livez", "HTTP/1.1 200 OK\r\n" CORS NOSNIFF PLAIN "Content-Length: 3\r\n\r\nok\n"},
        {"/livez?verbose", "HTTP/1.1 200 OK\r\n" CORS NOSNIFF PLAIN
                           "Content-Length: 27\r\n\r\n[+]serializable_read ok\nok\n"},
        {"/livez/serializable_read",
         "HTTP/1.1 200 OK\r\n" CORS NOSNIFF PLAIN "Content-Length: 3\r\n\r\nok\n"},
        {"/readyz?verbose",
         "HTTP/1.1 200 OK\r\n" CORS NOSNIFF PLAIN "Content-Length: 91\r\n\r\n"
         "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n"
         "[+]non_learner ok\nok\n"},
        {"/readyz?verbose&exclude=non_learner&exclude=linearizable_read&exclude=unknown",
         "HTTP/1.1 200 OK\r\n" CORS NOSNIFF PLAIN "Content-Length: 49\r\n\r\n"
         "[+]data_corruption ok\n[+]serializable_read ok\nok\n"},
        {"/readyz/linearizable_read?verbose",
         "HTTP/1.1 200 OK\r\n" CORS NOSNIFF PLAIN
         "Content-Length: 27\r\n\r\n[+]linearizable_read ok\nok\n"},
        {"/livez/linearizable_read", NOT_FOUND},
        {"/readyz/", NOT_FOUND},
        {"/readyzz", NOT_FOUND},
        {"/health/", NOT_FOUND},
        {"/", NOT_FOUND},
        {"/debug/", NOT_FOUND},
        {"/v3/kv/range", NOT_FOUND},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_string_equal(get(rig, cases[i].target), cases[i].answer);
        assert_false(rig->conn->ops->finished(rig->conn));
    }
    assert_int_equal(metrics_get(&rig->metrics, METRIC_HEALTH_SUCCESS), 2);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_READYZ_LINEARIZABLE_OK), 2);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_LIVEZ_SERIALIZABLE), METRIC_PASSED);
}

static void test_version_before_it_is_known(void **state)
{
    rig_t *rig = *state;
    rig->api.status.serving = false;
    assert_non_null(strstr(get(rig, "/version"),
                           "{\"etcdserver\":\"3.7.1\",\"etcdcluster\":\"not_decided\",\"storage\":"
                           "\"unknown\"}"));
}

static void test_debug_pages(void **state)
{
    rig_t *rig = *state;
    rig->pages.debug_text = debug_text_fake;
    assert_non_null(strstr(get(rig, "/debug/"), "200 OK"));
    assert_non_null(strstr(get(rig, "/debug/actors"), "\r\n\r\npage:actors"));
    assert_string_equal(get(rig, "/debug/other"), NOT_FOUND);
    assert_string_equal(get(rig, "/debug"), NOT_FOUND);
}

static void test_variables(void **state)
{
    rig_t *rig = *state;
    assert_string_equal(get(rig, "/debug/vars"), NOT_FOUND);
    rig->pages.vars_text = vars_text_fake; /* whether there are other debug pages or not */
    assert_string_equal(get(rig, "/debug/vars"), "HTTP/1.1 200 OK\r\n" CORS
                                                 "Content-Type: application/json; charset=utf-8\r\n"
                                                 "Content-Length: 1\r\n\r\n7");
    rig->pages.debug_text = debug_text_fake;
    assert_non_null(strstr(get(rig, "/debug/vars"), "\r\n\r\n7"));
    assert_non_null(strstr(feed(rig, "POST /debug/vars HTTP/1.1\r\nHost: x\r\n\r\n"),
                           "405 Method Not Allowed"));
}

/* The same bytes, unpacked; in the answer they are no text, so not for strstr. */
static void test_compressed_metrics(void **state)
{
    rig_t *rig = *state;
    feed(rig, "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n");
    const char *body = strstr(rig->text, "\r\n\r\n") + 4;
    size_t body_len = rig->len - (size_t)(body - rig->text);
    assert_non_null(strstr(rig->text, "\r\nContent-Encoding: gzip\r\n"));
    char *length = xasprintf("\r\nContent-Length: %zu\r\n", body_len);
    assert_non_null(strstr(rig->text, length));
    free(length);
    char plain[64];
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)body,
                       .avail_in = (uInt)body_len,
                       .next_out = (Bytef *)plain,
                       .avail_out = sizeof plain};
    assert_int_equal(inflateInit2(&stream, 16 + MAX_WBITS), Z_OK);
    assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
    assert_int_equal(stream.total_out, 14);
    assert_memory_equal(plain, "some_metric 1\n", 14);
    inflateEnd(&stream);
    assert_null(strstr(get(rig, "/metrics"), "Content-Encoding")); /* only when asked for */
}

static void test_methods(void **state)
{
    rig_t *rig = *state;
    static const char not_allowed[] =
        "HTTP/1.1 405 Method Not Allowed\r\n" CORS "Allow: GET\r\n" NOSNIFF PLAIN
        "Content-Length: 19\r\n\r\nMethod Not Allowed\n";
    assert_string_equal(feed(rig, "POST /health HTTP/1.1\r\nHost: x\r\n\r\n"), not_allowed);
    assert_string_equal(feed(rig, "PUT /livez HTTP/1.1\r\nHost: x\r\n\r\n"), not_allowed);
    assert_string_equal(feed(rig, "DELETE /version HTTP/1.1\r\nHost: x\r\n\r\n"), not_allowed);
    assert_string_equal(feed(rig, "OPTIONS /nope HTTP/1.1\r\nHost: x\r\n\r\n"),
                        "HTTP/1.1 200 OK\r\n" CORS "Content-Length: 0\r\n\r\n");
    assert_string_equal(feed(rig, "HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n"),
                        "HTTP/1.1 405 Method Not Allowed\r\n" CORS "Allow: GET\r\n" NOSNIFF PLAIN
                        "Content-Length: 19\r\n\r\n");
    assert_non_null(strstr(feed(rig, "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n"),
                           "Content-Length: 14\r\n\r\n"));
    assert_null(strstr(rig->text, "some_metric"));
    assert_non_null(strstr(feed(rig, "GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n"), "400 Bad Request"));
}

static void test_date(void **state)
{
    rig_t *rig = *state;
    rig->pages.unix_seconds = date_fake;
    assert_non_null(strstr(get(rig, "/nope"), "\r\nDate: Mon, 02 Jan 2006 15:04:05 GMT\r\n"));
}

/* What the probe asks is what etcd's asks: one key, keys only, limit 1. */
static void test_probe_request(void **state)
{
    rig_t *rig = *state;
    rig->api.hold = true;
    assert_string_equal(get(rig, "/readyz"), "");
    assert_int_equal(rig->api.count, 2);
    const uint8_t local[] = {0x0a, 1, 0, 0x18, 1, 0x38, 1, 0x40, 1};
    const uint8_t quorum[] = {0x0a, 1, 0, 0x18, 1, 0x40, 1};
    assert_int_equal(rig->api.calls[0].info.method, METHOD_RANGE);
    assert_int_equal(rig->api.calls[0].info.flags, CALL_UNCOUNTED);
    assert_true(slice_equal(bytes_slice(rig->api.calls[0].last), slice(local, sizeof local)));
    assert_true(slice_equal(bytes_slice(rig->api.calls[1].last), slice(quorum, sizeof quorum)));
    fake_finish(&rig->api, rig->api.calls[1].id, GRPC_OK, "");
    collect(rig);
    assert_int_equal(rig->len, 0);
    fake_finish(&rig->api, rig->api.calls[0].id, GRPC_OK, "");
    assert_ptr_equal(calls_take_dirty(rig->env.calls), rig->conn);
    collect(rig);
    assert_non_null(strstr(rig->text, "\r\n\r\nok\n"));
}

static void test_failures(void **state)
{
    rig_t *rig = *state;
    rig->api.hold = true;
    (void)get(rig, "/health");
    fake_finish(&rig->api, rig->api.calls[0].id, GRPC_UNAVAILABLE, "etcdserver: \"timed\" out");
    collect(rig);
    assert_string_equal(rig->text,
                        "HTTP/1.1 503 Service Unavailable\r\n" CORS NOSNIFF PLAIN
                        "Content-Length: 68\r\n\r\n{\"health\":\"false\",\"reason\":\"RANGE "
                        "ERROR:etcdserver: \\\"timed\\\" out\"}\n");
    assert_int_equal(metrics_get(&rig->metrics, METRIC_HEALTH_FAILURES), 1);
    (void)get(rig, "/readyz");
    fake_finish(&rig->api, rig->api.calls[1].id, GRPC_OK, "");
    fake_finish(&rig->api, rig->api.calls[2].id, GRPC_UNAVAILABLE, "etcdserver: no leader");
    collect(rig);
    assert_non_null(strstr(rig->text, "503 Service Unavailable"));
    assert_non_null(strstr(rig->text, "\r\n\r\n[+]data_corruption ok\n[+]serializable_read ok\n"
                                      "[-]linearizable_read failed: etcdserver: no leader\n"
                                      "[+]non_learner ok\n\n"));
    assert_int_equal(metrics_get(&rig->metrics, METRIC_READYZ_LINEARIZABLE), METRIC_FAILED);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_READYZ_LINEARIZABLE_FAILED), 1);
}

static void test_learner(void **state)
{
    rig_t *rig = *state;
    rig->api.status.is_learner = true;
    assert_string_equal(get(rig, "/health"), HEALTHY); /* it can read, by asking the leader */
    assert_non_null(strstr(get(rig, "/readyz"), "503 Service Unavailable\r\n"));
    assert_non_null(strstr(rig->text, "[+]linearizable_read ok\n"
                                      "[-]non_learner failed: not supported for learner\n"));
    assert_int_equal(metrics_get(&rig->metrics, METRIC_READYZ_LEARNER), METRIC_FAILED);
    assert_non_null(strstr(get(rig, "/readyz?exclude=non_learner"), "\r\n\r\nok\n"));
    assert_non_null(strstr(get(rig, "/livez"), "\r\n\r\nok\n"));
    assert_non_null(strstr(get(rig, "/readyz/non_learner"), "503 Service Unavailable\r\n"));
}

static void test_no_leader(void **state)
{
    rig_t *rig = *state;
    rig->api.status.leader = 0;
    assert_non_null(strstr(get(rig, "/health"), "503 Service Unavailable\r\n"));
    assert_non_null(strstr(rig->text, "{\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}\n"));
    assert_int_equal(rig->api.count, 0);
    assert_string_equal(get(rig, "/health?serializable=true"), HEALTHY);
}

static void test_pipelining_keeps_order(void **state)
{
    rig_t *rig = *state;
    rig->api.hold = true;
    assert_string_equal(feed(rig, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
                                  "POST /nope HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
                                  "GET /nope HTTP/1.1\r\nHost: x\r\n\r\n"),
                        "");
    fake_finish(&rig->api, rig->api.calls[0].id, GRPC_OK, "");
    collect(rig);
    assert_string_equal(rig->text, HEALTHY NOT_FOUND NOT_FOUND);
}

/* Whoever sends requests without reading answers is not read any further, and every request that was
 * taken is answered in the end. */
static void test_pipelining_is_bounded(void **state)
{
    rig_t *rig = *state;
    const conn_ops_t *ops = rig->conn->ops;
    const char request[] = "GET /nope HTTP/1.1\r\nHost: x\r\n\r\n";
    unsigned sent = 0;
    while (ops->want_input(rig->conn)) {
        assert_int_equal(ops->input(rig->conn, slice_str(request), rig->now_us), 0);
        sent++;
        assert_true(sent < 10000);
    }
    collect(rig);
    unsigned answers = 0;
    for (const char *at = rig->text; (at = strstr(at, "HTTP/1.1 404")) != NULL; at++) {
        answers++;
    }
    assert_int_equal(answers, sent);
    assert_true(rig->len < 3 * LIMIT_HTTP1_OUTPUT_BYTES);
    assert_true(ops->want_input(rig->conn));
}

static void test_byte_by_byte(void **state)
{
    rig_t *rig = *state;
    const char text[] = "\r\nGET /nope HTTP/1.1\r\nHost: x\r\n\r\n";
    for (size_t i = 0; i + 1 < sizeof text; i++) {
        assert_int_equal(rig->conn->ops->input(rig->conn, slice(text + i, 1), rig->now_us), 0);
        collect(rig);
        assert_int_equal(rig->len > 0, i + 2 == sizeof text);
    }
    assert_string_equal(rig->text, NOT_FOUND);
}

static void test_bodies(void **state)
{
    rig_t *rig = *state;
    assert_non_null(
        strstr(feed(rig, "POST /nope HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123"),
               "404 page not found"));
    assert_string_equal(feed(rig, "45678"), "");
    assert_string_equal(feed(rig, "90GET /nope HTTP/1.1\r\nHost: x\r\n\r\n"), NOT_FOUND);
}

/* After these the connection ends. */
static void test_refused(void **state)
{
    static const struct {
        const char *text, *status;
    } cases[] = {
        {"GARBAGE\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
        {"GET / HTTP/3.0\r\n\r\n", "HTTP/1.1 505 HTTP Version Not Supported\r\n"},
        {"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         "HTTP/1.1 411 Length Required\r\n"},
        {"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: x\r\n\r\n",
         "HTTP/1.1 501 Not Implemented\r\n"},
        {"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n",
         "HTTP/1.1 413 Request Entity Too Large\r\n"},
        {"GET /nope HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
         "HTTP/1.1 404 Not Found\r\n"},
        {"GET /nope HTTP/1.0\r\n\r\n", "HTTP/1.1 404 Not Found\r\n"},
        {"PUT /nope HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n",
         "HTTP/1.1 404 Not Found\r\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rig_t *rig = *state;
        const char *answer = feed(rig, cases[i].text);
        assert_memory_equal(answer, cases[i].status, strlen(cases[i].status));
        assert_non_null(strstr(answer, "\r\nConnection: close\r\n"));
        assert_true(rig->conn->ops->finished(rig->conn));
        assert_false(rig->conn->ops->want_input(rig->conn));
        assert_string_equal(feed(rig, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "");
        rig->conn->ops->destroy(&rig->conn);
        rig->conn = http1_conn_new(&rig->env, &rig->pages, rig->now_us);
    }
}

static void test_endless_head(void **state)
{
    rig_t *rig = *state;
    rig->len = 0;
    const char line[] =
        "GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    for (unsigned i = 0; rig->len == 0; i++) {
        assert_true(i < 2 * LIMIT_HEADER_LIST_BYTES / (sizeof line - 1));
        assert_int_equal(rig->conn->ops->input(rig->conn, slice_str(line), rig->now_us), 0);
        collect(rig);
    }
    assert_memory_equal(rig->text, "HTTP/1.1 431 ", 13);
    assert_true(rig->conn->ops->finished(rig->conn));
}

static void test_timeouts(void **state)
{
    rig_t *rig = *state;
    const conn_ops_t *ops = rig->conn->ops;
    assert_int_equal(ops->deadline(rig->conn), 1000 + LIMIT_HTTP1_IDLE_US);
    rig->now_us = 5000;
    (void)feed(rig, "GET / HT");
    rig->now_us = 6000;
    (void)feed(rig, "TP"); /* more bytes do not put the end off */
    assert_int_equal(ops->deadline(rig->conn), 5000 + LIMIT_HTTP1_HEAD_US);
    ops->timeout(rig->conn, 5000 + LIMIT_HTTP1_HEAD_US - 1);
    assert_false(ops->finished(rig->conn));
    (void)feed(rig, "/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(ops->deadline(rig->conn), 6000 + LIMIT_HTTP1_IDLE_US);
    assert_int_equal(ops->input(rig->conn, slice_str("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), 7000),
                     0);
    assert_int_equal(ops->deadline(rig->conn), 7000 + LIMIT_HTTP1_STALL_US);
    ops->timeout(rig->conn, 7000 + LIMIT_HTTP1_STALL_US);
    assert_true(ops->finished(rig->conn));
    assert_int_equal(ops->output(rig->conn, 0).len, 0);
}

static void test_going_away_cancels(void **state)
{
    rig_t *rig = *state;
    rig->api.hold = true;
    (void)get(rig, "/readyz");
    rig->conn->ops->destroy(&rig->conn);
    assert_int_equal(fake_open_calls(&rig->api), 0);
    assert_int_equal(calls_count(rig->env.calls), 0);
}

static void test_drain_answers_what_is_in_progress(void **state)
{
    rig_t *rig = *state;
    rig->api.hold = true;
    (void)get(rig, "/health");
    rig->conn->ops->drain(rig->conn);
    assert_false(rig->conn->ops->finished(rig->conn));
    fake_finish(&rig->api, rig->api.calls[0].id, GRPC_OK, "");
    collect(rig);
    assert_non_null(strstr(rig->text, "Connection: close\r\n\r\n{\"health\":\"true\""));
    assert_true(rig->conn->ops->finished(rig->conn));
}

static void test_drain_closes_an_idle_one(void **state)
{
    rig_t *rig = *state;
    rig->conn->ops->drain(rig->conn);
    assert_true(rig->conn->ops->finished(rig->conn));
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_head_limits),
        cmocka_unit_test(test_accepted_codings),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_query),
        WITH_RIG(test_pages),
        WITH_RIG(test_version_before_it_is_known),
        WITH_RIG(test_debug_pages),
        WITH_RIG(test_variables),
        WITH_RIG(test_compressed_metrics),
        WITH_RIG(test_methods),
        WITH_RIG(test_date),
        WITH_RIG(test_probe_request),
        WITH_RIG(test_failures),
        WITH_RIG(test_learner),
        WITH_RIG(test_no_leader),
        WITH_RIG(test_pipelining_keeps_order),
        WITH_RIG(test_pipelining_is_bounded),
        WITH_RIG(test_byte_by_byte),
        WITH_RIG(test_bodies),
        WITH_RIG(test_refused),
        WITH_RIG(test_endless_head),
        WITH_RIG(test_timeouts),
        WITH_RIG(test_going_away_cancels),
        WITH_RIG(test_drain_answers_what_is_in_progress),
        WITH_RIG(test_drain_closes_an_idle_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
