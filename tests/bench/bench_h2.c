/* What the gateway's HTTP/2 costs alone: requests of one connection, as a client's library has
 * encoded them, through h2_conn and back into bytes, with nothing behind it.
 *     bench_h2 [requests in flight] [batches]
 * Run it under callgrind for counts that do not depend on the machine's load. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "actors/grpc_gateway/conn.h"
#include "messages/xalloc.h"
#include "tests/support/h2_peer.h"

enum { IN_FLIGHT_MAX = 1024, ANSWER_BYTES = 60 };

/* The request core: remembers the calls of a batch and answers them all at its end. */
struct api {
    api_sink_t sink;
    uint64_t calls[IN_FLIGHT_MAX];
    size_t count;
};

void api_call_begin(api_t *self, uint64_t call, const api_call_t *info, uint64_t now_us)
{
    (void)info;
    (void)now_us;
    self->calls[self->count++] = call;
}

void api_call_message(api_t *self, uint64_t call, bytes_t **message_p, uint64_t now_us)
{
    (void)self;
    (void)call;
    (void)now_us;
    bytes_unref(message_p);
}

void api_call_half_close(api_t *self, uint64_t call, uint64_t now_us)
{
    (void)self;
    (void)call;
    (void)now_us;
}

void api_call_cancel(api_t *self, uint64_t call)
{
    (void)self;
    (void)call;
}

void api_call_sent(api_t *self, uint64_t call, size_t bytes)
{
    (void)self;
    (void)call;
    (void)bytes;
}

static void answer_all(api_t *api)
{
    static const uint8_t answer[ANSWER_BYTES];
    for (size_t i = 0; i < api->count; i++) {
        bytes_t *message = bytes_new(answer, sizeof answer);
        api->sink.message(api->sink.context, api->calls[i], &message);
        api->sink.finish(api->sink.context, api->calls[i], GRPC_OK, "");
    }
    api->count = 0;
}

static conn_env_t make_env(api_t *api, metrics_t *metrics)
{
    conn_env_t env = {.api = api,
                      .calls = calls_new(),
                      .metrics = metrics,
                      .max_message_bytes = 1 << 20,
                      .max_concurrent_streams = UINT32_MAX};
    api->sink = calls_sink(env.calls);
    return env;
}

/* A connection that notes down what the client says to it. */
typedef struct {
    conn_t conn;
    conn_t *inner;
    api_t api;
    buf_t said;
} recorder_t;

static int record(conn_t *self, slice_t bytes, uint64_t now_us)
{
    recorder_t *recorder = (recorder_t *)self;
    buf_append(&recorder->said, bytes.data, bytes.len);
    return recorder->inner->ops->input(recorder->inner, bytes, now_us);
}

static slice_t pass_output(conn_t *self, uint64_t now_us)
{
    recorder_t *recorder = (recorder_t *)self;
    answer_all(&recorder->api);
    return recorder->inner->ops->output(recorder->inner, now_us);
}

static void pass_written(conn_t *self, size_t len)
{
    recorder_t *recorder = (recorder_t *)self;
    recorder->inner->ops->written(recorder->inner, len);
}

static const conn_ops_t recorder_ops = {
    .input = record, .output = pass_output, .written = pass_written};

static void one_batch(h2_peer_t *peer, size_t in_flight)
{
    peer->stream_count = 0;
    for (size_t i = 0; i < in_flight; i++) {
        peer_stream_t *stream = h2_peer_call(peer, "/etcdserverpb.KV/Range", false);
        h2_peer_message(peer, stream, "\x0a\x03\x66\x6f\x6f", 5, true);
    }
    h2_peer_pump(peer);
    for (size_t i = 0; i < in_flight; i++) {
        buf_deinit(&peer->streams[i].outgoing);
        buf_deinit(&peer->streams[i].body);
    }
}

/* What a client says in so many batches; ends[b] is where batch b ends. */
static buf_t encode(size_t in_flight, size_t batches, size_t *ends)
{
    metrics_t metrics = {0};
    recorder_t recorder = {.conn.ops = &recorder_ops};
    conn_env_t env = make_env(&recorder.api, &metrics);
    recorder.inner = h2_conn_new(&env, 1);
    h2_peer_t *peer = h2_peer_new(&recorder.conn, 1u << 30);
    h2_peer_pump(peer);
    for (size_t b = 0; b < batches; b++) {
        one_batch(peer, in_flight);
        ends[b] = recorder.said.len;
    }
    peer->stream_count = 0;
    h2_peer_destroy(&peer);
    recorder.inner->ops->destroy(&recorder.inner);
    calls_destroy(&env.calls);
    return recorder.said;
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

__attribute__((noinline)) static double run(conn_t *conn, api_t *api, slice_t said,
                                            const size_t *ends, size_t batches)
{
    enum { READ_BYTES = 65536 };
    size_t at = 0;
    double start_s = now_s();
    for (size_t b = 0; b < batches; b++) {
        while (at < ends[b]) {
            size_t len = ends[b] - at < READ_BYTES ? ends[b] - at : READ_BYTES;
            if (conn->ops->input(conn, slice(said.data + at, len), 1 + b * 1000) != 0) {
                fprintf(stderr, "the connection refuses what the client says\n");
                exit(1);
            }
            at += len;
        }
        answer_all(api);
        for (slice_t out; (out = conn->ops->output(conn, 1 + b * 1000)).len > 0;) {
            conn->ops->written(conn, out.len);
        }
    }
    return now_s() - start_s;
}

int main(int argc, char **argv)
{
    size_t in_flight = argc > 1 ? strtoul(argv[1], NULL, 10) : 256;
    size_t batches = argc > 2 ? strtoul(argv[2], NULL, 10) : 1000;
    if (in_flight < 1 || in_flight > IN_FLIGHT_MAX || batches < 1) {
        fprintf(stderr, "bench_h2 [requests in flight, 1..%d] [batches]\n", IN_FLIGHT_MAX);
        return 2;
    }
    size_t *ends = xcalloc(batches, sizeof *ends);
    buf_t said = encode(in_flight, batches, ends);
    api_t api = {0};
    metrics_t metrics = {0};
    conn_env_t env = make_env(&api, &metrics);
    conn_t *conn = h2_conn_new(&env, 1);
    double took_s = run(conn, &api, buf_slice(&said), ends, batches);
    size_t requests = in_flight * batches;
    printf("%zu requests, %zu in flight: %.0f ns each\n", requests, in_flight,
           took_s * 1e9 / (double)requests);
    conn->ops->destroy(&conn);
    calls_destroy(&env.calls);
    buf_deinit(&said);
    free(ends);
    return 0;
}
