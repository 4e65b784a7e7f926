/* The HTTP/2 connection from arbitrary input. Commands made of the input's bytes feed raw bytes,
 * well-formed frames of any content, real requests; let the request core answer; let time pass; take
 * output in pieces. Whatever comes: no call outlives its connection, every byte charged is given
 * back, and nothing is produced beyond the limits. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "actors/grpc_gateway/conn.h"
#include "messages/limits.h"
#include "tests/support/fake_api.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { COMMANDS_MAX = FAKE_CALLS_MAX / 8, MAX_MESSAGE = 300 };

typedef struct {
    api_t api;
    metrics_t metrics;
    conn_env_t env;
    conn_t *conn;
    uint64_t now_us;
    int32_t next_stream;
    bool ended;
} fuzz_t;

static uint8_t take(slice_t *in)
{
    if (in->len == 0) {
        return 0;
    }
    uint8_t byte = in->data[0];
    *in = slice(in->data + 1, in->len - 1);
    return byte;
}

static slice_t take_bytes(slice_t *in, size_t len)
{
    slice_t taken = slice(in->data, len < in->len ? len : in->len);
    *in = slice(in->data + taken.len, in->len - taken.len);
    return taken;
}

static void feed(fuzz_t *f, const void *data, size_t len)
{
    if (!f->ended && len > 0) {
        f->ended = f->conn->ops->input(f->conn, slice(data, len), f->now_us) != 0;
        assert(!f->ended || f->conn->ops->finished(f->conn));
    }
}

static void feed_frame(fuzz_t *f, uint8_t type, uint8_t flags, uint32_t stream, slice_t payload)
{
    buf_t frame = {0};
    const uint8_t header[] = {(uint8_t)(payload.len >> 16),
                              (uint8_t)(payload.len >> 8),
                              (uint8_t)payload.len,
                              type,
                              flags,
                              0,
                              (uint8_t)(stream >> 16),
                              (uint8_t)(stream >> 8),
                              (uint8_t)stream};
    buf_append(&frame, header, sizeof header);
    buf_append(&frame, payload.data, payload.len);
    feed(f, frame.data, frame.len);
    buf_deinit(&frame);
}

static void add_field(buf_t *block, const char *name, slice_t value)
{
    buf_byte(block, 0); /* literal, not indexed, new name */
    buf_byte(block, (uint8_t)strlen(name));
    buf_append(block, name, strlen(name));
    buf_byte(block, (uint8_t)(value.len & 0x7f));
    buf_append(block, value.data, value.len & 0x7f);
}

/* A request that is right but for one field of the input's choice. */
static void feed_request(fuzz_t *f, slice_t *in)
{
    static const char *const extra[] = {
        "grpc-timeout", "grpc-encoding", "hasleader", "content-type", "te", "x"};
    uint8_t choice = take(in);
    buf_t block = {0};
    const method_info_t *method = method_info((method_t)(choice % METHOD_COUNT));
    static const uint8_t indexed[] = {0x83, 0x86}; /* :method POST, :scheme http */
    buf_append(&block, indexed, sizeof indexed);
    add_field(&block, ":authority", slice_str("h"));
    add_field(&block, ":path", slice_str(method->path));
    add_field(&block, "content-type", slice_str("application/grpc"));
    if (choice & 0x40) {
        add_field(&block, extra[take(in) % 6], take_bytes(in, take(in) % 12));
    }
    f->next_stream += 2;
    feed_frame(f, 1, 4 | (choice >> 7), (uint32_t)f->next_stream, buf_slice(&block));
    buf_deinit(&block);
}

static void feed_message(fuzz_t *f, slice_t *in)
{
    uint8_t choice = take(in);
    slice_t content = take_bytes(in, take(in));
    size_t claimed = choice & 1 ? content.len : take(in) * 2u;
    buf_t body = {0};
    const uint8_t prefix[] = {choice & 2 ? take(in) : 0, 0, 0, (uint8_t)(claimed >> 8),
                              (uint8_t)claimed};
    buf_append(&body, prefix, sizeof prefix);
    buf_append(&body, content.data, content.len);
    uint32_t back = take(in) % 8u * 2u;
    feed_frame(f, 0, choice >> 7, (uint32_t)f->next_stream - back, buf_slice(&body));
    buf_deinit(&body);
}

static void answer(fuzz_t *f, slice_t *in)
{
    static const uint8_t zeros[70000];
    uint8_t choice = take(in);
    if (f->api.count == 0) {
        return;
    }
    uint64_t call = f->api.calls[take(in) % f->api.count].id; /* may be long over */
    if (choice & 1) {
        fake_message(&f->api, call, zeros, choice & 2 ? sizeof zeros : take(in));
    } else {
        fake_finish(&f->api, call, (grpc_code_t)(choice % 17), choice & 0x80 ? "text \xff%" : "");
    }
}

static void take_output(fuzz_t *f, uint8_t part)
{
    slice_t out = f->conn->ops->output(f->conn, f->now_us);
    assert(out.len <= LIMIT_OUTPUT_BYTES + 65536);
    f->conn->ops->written(f->conn, out.len * part / 255);
}

static void pass_time(fuzz_t *f, uint8_t amount)
{
    f->now_us += (uint64_t)amount * amount * 100000;
    if (f->conn->ops->deadline(f->conn) <= f->now_us) {
        f->conn->ops->timeout(f->conn, f->now_us);
    }
}

static void run_command(fuzz_t *f, slice_t *in)
{
    uint8_t command = take(in);
    switch (command % 10) {
    case 0: {
        slice_t bytes = take_bytes(in, take(in));
        feed(f, bytes.data, bytes.len);
        break;
    }
    case 1: {
        uint8_t type = take(in) % 12;
        uint8_t flags = take(in);
        uint32_t stream = take(in) % 16u;
        feed_frame(f, type, flags, stream, take_bytes(in, take(in)));
        break;
    }
    case 2:
    case 3: feed_request(f, in); break;
    case 4:
    case 5: feed_message(f, in); break;
    case 6: answer(f, in); break;
    case 7: take_output(f, take(in)); break;
    case 8: pass_time(f, take(in)); break;
    default:
        if (command < 16) {
            f->conn->ops->drain(f->conn);
        }
        f->api.hold = command & 0x80;
        break;
    }
}

static void drop_finished_calls(fuzz_t *f)
{
    int32_t stream = 0;
    while (f->api.count > 0 &&
           !calls_find(f->env.calls, f->api.calls[f->api.count - 1].id, &stream)) {
        bytes_unref(&f->api.calls[--f->api.count].last);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    slice_t in = slice(data, len);
    fuzz_t *f = xcalloc(1, sizeof *f);
    f->env = (conn_env_t){.api = &f->api,
                          .calls = calls_new(),
                          .metrics = &f->metrics,
                          .max_message_bytes = MAX_MESSAGE,
                          .max_concurrent_streams = 100,
                          .keepalive_min_us = 5000000,
                          .keepalive_interval_us = 10000000,
                          .keepalive_timeout_us = 1000000};
    f->api.sink = calls_sink(f->env.calls);
    f->now_us = 1;
    f->next_stream = -1;
    f->conn = h2_conn_new(&f->env, f->now_us);
    if (take(&in) & 1) {
        static const uint8_t settings[] = {0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0x40, 0};
        feed(f, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
        feed(f, settings, sizeof settings);
    }
    for (int i = 0; i < COMMANDS_MAX && in.len > 0; i++) {
        run_command(f, &in);
        drop_finished_calls(f);
    }
    f->conn->ops->destroy(&f->conn);
    assert(calls_count(f->env.calls) == 0);
    assert(calls_charge(f->env.calls, LIMIT_RECEIVING_BYTES));
    assert(!calls_has_dirty(f->env.calls));
    calls_destroy(&f->env.calls);
    fake_clear(&f->api);
    free(f);
    return 0;
}
