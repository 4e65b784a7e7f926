/* Any bytes as an HTTP/1.1 connection, in pieces whose sizes the input chooses. Checked on the way:
 * memory stays bounded, every answer begins like one, no call is left behind. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "actors/grpc_gateway/conn.h"
#include "messages/limits.h"
#include "tests/support/fake_api.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void page(void *context, buf_t *out)
{
    (void)context;
    buf_append(out, "metric 1\n", 9);
}

static void debug_page(void *context, const char *name, buf_t *out)
{
    (void)context;
    buf_append(out, name, strlen(name));
}

static void vars(void *context, const api_status_t *status, buf_t *out)
{
    (void)context;
    buf_byte(out, status->leader ? '1' : '0');
}

static size_t write_out(conn_t *conn, uint64_t now_us)
{
    size_t total = 0;
    for (slice_t out = conn->ops->output(conn, now_us); out.len > 0;
         out = conn->ops->output(conn, now_us)) {
        assert(total > 0 || memcmp(out.data, "HTTP/1.1 ", out.len < 9 ? out.len : 9) == 0);
        total += out.len;
        conn->ops->written(conn, out.len);
    }
    return total;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 2) {
        return 0;
    }
    static api_t api; /* large; cleared below */
    metrics_t *metrics = xcalloc(1, sizeof *metrics);
    calls_t *calls = calls_new();
    conn_env_t env = {.api = &api, .calls = calls, .metrics = metrics};
    http_pages_t pages = {
        .metrics_text = page, .vars_text = vars, .debug_text = data[0] & 1 ? debug_page : NULL};
    api.sink = calls_sink(calls);
    api.hold = data[0] & 2;
    api.status = (api_status_t){.serving = !api.hold, .leader = data[0] & 16 ? 0 : 1};
    size_t piece = (size_t)data[1] + 1;
    conn_t *conn = http1_conn_new(&env, &pages, 0);
    uint64_t now_us = 1;
    for (size_t at = 2; at < len && conn->ops->want_input(conn); at += piece, now_us++) {
        size_t part = len - at < piece ? len - at : piece;
        int rc = conn->ops->input(conn, slice(data + at, part), now_us);
        assert(rc == 0);
        if (data[0] & 4) {
            (void)write_out(conn, now_us);
        }
        if (data[0] & 8 && api.count > 0 && !api.calls[api.count - 1].cancelled && api.hold) {
            int32_t stream = 0;
            uint64_t call = api.calls[api.count - 1].id;
            if (calls_find(calls, call, &stream)) {
                fake_finish(&api, call, GRPC_UNAVAILABLE, "etcdserver: no leader");
            }
        }
    }
    (void)write_out(conn, now_us);
    conn->ops->timeout(conn, now_us + LIMIT_HTTP1_IDLE_US);
    conn->ops->destroy(&conn);
    assert(calls_count(calls) == 0);
    fake_clear(&api);
    calls_destroy(&calls);
    free(metrics);
    return 0;
}
