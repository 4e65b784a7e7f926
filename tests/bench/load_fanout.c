/* Many receivers, one writer. A value begins with the time of its put, so each event knows its age.
 *
 * As fast as the receivers follow, one thread does both: puts are held back by their events. At a rate the writer is a
 * thread of its own with a closed loop, which is how it is known what receivers cost the puts. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "etcd/rpc.pb-c.h"
#include "messages/xalloc.h"
#include "tests/bench/load.h"

typedef struct fanout {
    const load_options_t *options;
    load_result_t *result;
    const load_receivers_ops_t *ops;
    void *receivers;
    uint64_t created;
    uint64_t events; /* while measuring */
    bool failed;
} fanout_t;

static void note_error(void *arg, const char *text)
{
    fanout_t *self = arg;
    self->failed = true;
    load_note_error(self->result, text);
}

static void on_created(void *arg)
{
    fanout_t *self = arg;
    self->created++;
}

static void on_value(void *arg, slice_t value)
{
    fanout_t *self = arg;
    int64_t sent_ns = 0;
    if (value.len < sizeof sent_ns) {
        note_error(self, "an event with another value");
        return;
    }
    memcpy(&sent_ns, value.data, sizeof sent_ns);
    self->events++;
    load_histogram_add(&self->result->latency, load_now_ns() - sent_ns);
}

/* Takes what comes within that time; more_fd: something else to wait for. */
static void receive(fanout_t *self, int more_fd, int timeout_ms)
{
    struct pollfd fds[] = {{.fd = self->ops->fd(self->receivers), .events = POLLIN},
                           {.fd = more_fd, .events = POLLIN}};
    poll(fds, 2, timeout_ms);
    self->ops->turn(self->receivers);
}

static void open_receivers(fanout_t *self)
{
    const load_options_t *options = self->options;
    load_sink_t sink = {
        .arg = self, .on_created = on_created, .on_value = on_value, .on_error = note_error};
    self->ops = options->subscribe != NULL ? &load_subscribers : &load_watches;
    self->receivers = self->ops->start(options, &sink);
    int64_t end_ns = load_now_ns() + LOAD_GRACE_S * INT64_C(1000000000);
    while (self->created < options->watchers + options->throttled && !self->failed) {
        receive(self, -1, 100);
        if (load_now_ns() > end_ns) {
            note_error(self, "watchers were not created");
        }
    }
}

/* Until something can be read from stdin, or nothing will ever be. Receivers are served meanwhile. */
static void pause_until_told(fanout_t *self)
{
    char byte = 0;
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    while (!self->failed && poll(&input, 1, 0) == 0) {
        receive(self, STDIN_FILENO, 100);
    }
    if (read(STDIN_FILENO, &byte, 1) < 0) {
        note_error(self, "stdin cannot be read");
    }
}

/* ---- as fast as they follow ---- */

typedef struct {
    fanout_t *fanout;
    load_pool_t pool;
    uint64_t random;
    uint64_t started;
    uint64_t acknowledged;
    uint8_t *packed;
    uint8_t *value;
} writer_t;

static void on_put_message(void *arg, const uint8_t *message, size_t size)
{
    (void)arg;
    (void)message;
    (void)size;
}

static void on_put_done(void *arg, const grpc_status_t *status)
{
    writer_t *self = arg;
    self->acknowledged++;
    if (status->code != GRPC_OK) {
        note_error(self->fanout, status->message);
    }
}

static void put(writer_t *self)
{
    size_t value_bytes = self->fanout->options->value_bytes;
    char key[LOAD_KEY_BYTES + 1];
    load_key(key, 0);
    load_fill_random(&self->random, self->value, value_bytes);
    load_stamp(self->value, load_now_ns());
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    request.key = (ProtobufCBinaryData){LOAD_KEY_BYTES, (uint8_t *)key};
    request.value = (ProtobufCBinaryData){value_bytes, self->value};
    size_t size = etcdserverpb__put_request__pack(&request, self->packed);
    grpc_stream_t *stream = grpc_client_start(self->pool.clients[0],
                                              &(grpc_stream_cfg_t){.path = "/etcdserverpb.KV/Put",
                                                                   .timeout_ms = -1,
                                                                   .on_message = on_put_message,
                                                                   .on_done = on_put_done,
                                                                   .arg = self});
    grpc_stream_send(stream, self->packed, size);
    grpc_stream_close_send(stream);
    self->started++;
}

/* Puts that all watchers have seen and whose writer knows it. */
static uint64_t finished(const writer_t *self)
{
    uint64_t seen = self->fanout->events / self->fanout->options->watchers;
    return seen < self->acknowledged ? seen : self->acknowledged;
}

static bool may_put(const writer_t *self)
{
    const load_options_t *options = self->fanout->options;
    return self->started < options->requests && self->started < finished(self) + options->inflight;
}

static uint64_t put_and_receive(fanout_t *fanout, int64_t end_ns)
{
    const load_options_t *options = fanout->options;
    writer_t self = {.fanout = fanout,
                     .random = options->seed,
                     .packed = xmalloc(options->value_bytes + 256),
                     .value = xmalloc(options->value_bytes)};
    load_pool_init(&self.pool, options->endpoint, 1);
    for (;;) {
        int64_t now = load_now_ns();
        bool open = now < end_ns && self.started < options->requests;
        if (fanout->failed || (!open && finished(&self) == self.started)) {
            break;
        }
        if (now > end_ns + LOAD_GRACE_S * INT64_C(1000000000)) {
            note_error(fanout, "events are missing");
            break;
        }
        while (open && may_put(&self)) {
            put(&self);
        }
        load_pool_run(&self.pool, 0);
        receive(fanout, self.pool.epoll_fd, 100);
    }
    load_pool_deinit(&self.pool);
    free(self.packed);
    free(self.value);
    return self.started;
}

/* ---- at a rate ---- */

typedef struct {
    load_options_t options;
    load_result_t *result;
    atomic_bool has_ended;
} rated_writer_t;

static void *run_rated_writer(void *arg)
{
    rated_writer_t *self = arg;
    load_run_requests(&self->options, self->result);
    atomic_store(&self->has_ended, true);
    return NULL;
}

static uint64_t receive_at_rate(fanout_t *self, int64_t end_ns)
{
    rated_writer_t writer = {.options = *self->options,
                             .result = xcalloc(1, sizeof(load_result_t))};
    writer.options.mode = LOAD_PUT;
    writer.options.connections = 1;
    writer.options.keys = 1;
    pthread_t thread;
    if (pthread_create(&thread, NULL, run_rated_writer, &writer) != 0) {
        load_die("no thread for the writer");
    }
    bool has_ended = false;
    while (!self->failed) {
        has_ended = atomic_load(&writer.has_ended);
        if (has_ended && self->events >= writer.result->requests * self->options->watchers) {
            break;
        }
        if (load_now_ns() > end_ns + LOAD_GRACE_S * INT64_C(1000000000)) {
            note_error(self, "events are missing");
        }
        receive(self, -1, 10);
    }
    pthread_join(thread, NULL);
    uint64_t puts = writer.result->requests;
    self->result->put_latency = writer.result->latency;
    if (writer.result->errors > 0) {
        note_error(self, writer.result->error);
    }
    free(writer.result);
    return puts;
}

void load_run_fanout(const load_options_t *options, load_result_t *result)
{
    fanout_t self = {.options = options, .result = result};
    open_receivers(&self);
    if (options->pauses && !self.failed) {
        puts("standing");
        fflush(stdout);
        pause_until_told(&self);
    }
    int64_t begin = load_now_ns();
    int64_t end = begin + (int64_t)(options->seconds * 1e9);
    if (!self.failed) {
        result->puts =
            options->rate > 0 ? receive_at_rate(&self, end) : put_and_receive(&self, end);
        result->seconds = (double)(load_now_ns() - begin) / 1e9;
        result->requests = self.events;
    }
    if (!self.failed && self.events != result->puts * options->watchers) {
        note_error(&self, "more events than puts");
    }
    load_print(options, result);
    if (options->pauses) {
        pause_until_told(&self);
    }
    self.ops->end(self.receivers);
}
