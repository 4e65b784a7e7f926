/* Many watchers, one writer. A value begins with the time of its put, so each event knows its age. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "etcd/rpc.pb-c.h"
#include "messages/wire.h"
#include "messages/xalloc.h"
#include "tests/bench/load.h"

enum { FIELD_CREATED = 3, FIELD_CANCELED = 4, FIELD_EVENT = 11 }; /* of WatchResponse */
enum { FIELD_KV = 2, FIELD_VALUE = 5 };                           /* of Event, KeyValue */

typedef struct fanout {
    const load_options_t *options;
    load_result_t *result;
    uint64_t random;
    uint64_t created;
    uint64_t events; /* while measuring */
    uint64_t started;
    uint64_t acknowledged;
    uint8_t *packed;
    uint8_t *value;
    grpc_client_t *writer;
    bool failed;
} fanout_t;

static void note_error(fanout_t *self, const char *text)
{
    self->failed = true;
    if (self->result->errors++ == 0) {
        snprintf(self->result->error, sizeof self->result->error, "%s", text);
    }
}

/* The field of this number inside a message; false when it is not there. */
static bool inner(slice_t message, uint32_t number, slice_t *found)
{
    wire_field_t field;
    while (wire_next(&message, &field) == 0) {
        if (field.number == number && field.type == 2) {
            *found = field.data;
            return true;
        }
    }
    return false;
}

static void on_event(fanout_t *self, slice_t event, int64_t now)
{
    slice_t kv;
    slice_t value;
    int64_t sent_ns = 0;
    if (!inner(event, FIELD_KV, &kv) || !inner(kv, FIELD_VALUE, &value) ||
        value.len < sizeof sent_ns) {
        note_error(self, "an event without its value");
        return;
    }
    memcpy(&sent_ns, value.data, sizeof sent_ns);
    self->events++;
    load_histogram_add(&self->result->latency, now - sent_ns);
}

static void on_watch_message(void *arg, const uint8_t *message, size_t size)
{
    fanout_t *self = arg;
    int64_t now = load_now_ns();
    slice_t rest = {message, size};
    wire_field_t field;
    int rc = 0;
    while ((rc = wire_next(&rest, &field)) == 0) {
        if (field.number == FIELD_EVENT && field.type == 2) {
            on_event(self, field.data, now);
        } else if (field.number == FIELD_CREATED && field.value != 0) {
            self->created++;
        } else if (field.number == FIELD_CANCELED && field.value != 0) {
            note_error(self, "a watcher was cancelled");
        }
    }
    if (rc != WIRE_END) {
        note_error(self, "an answer that is no message");
    }
}

static void on_watch_done(void *arg, const grpc_status_t *status)
{
    note_error(arg, status->message != NULL ? status->message : "a watch stream ended");
}

static void on_put_message(void *arg, const uint8_t *message, size_t size)
{
    (void)arg;
    (void)message;
    (void)size;
}

static void on_put_done(void *arg, const grpc_status_t *status)
{
    fanout_t *self = arg;
    self->acknowledged++;
    if (status->code != GRPC_OK) {
        note_error(self, status->message);
    }
}

static void put(fanout_t *self)
{
    char key[LOAD_KEY_BYTES + 1];
    load_key(key, 0);
    load_fill_random(&self->random, self->value, self->options->value_bytes);
    int64_t now = load_now_ns();
    memcpy(self->value, &now, sizeof now);
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    request.key = (ProtobufCBinaryData){LOAD_KEY_BYTES, (uint8_t *)key};
    request.value = (ProtobufCBinaryData){self->options->value_bytes, self->value};
    size_t size = etcdserverpb__put_request__pack(&request, self->packed);
    grpc_stream_t *stream =
        grpc_client_start(self->writer, &(grpc_stream_cfg_t){.path = "/etcdserverpb.KV/Put",
                                                             .timeout_ms = -1,
                                                             .on_message = on_put_message,
                                                             .on_done = on_put_done,
                                                             .arg = self});
    grpc_stream_send(stream, self->packed, size);
    grpc_stream_close_send(stream);
    self->started++;
}

static void open_watchers(fanout_t *self, load_pool_t *pool)
{
    const load_options_t *options = self->options;
    char key[LOAD_KEY_BYTES + 1];
    load_key(key, 0);
    char end[] = "bench0"; /* what follows every key with the prefix "bench/" */
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    create.key = (ProtobufCBinaryData){options->watch_prefix ? 6 : LOAD_KEY_BYTES, (uint8_t *)key};
    if (options->watch_prefix) {
        create.range_end = (ProtobufCBinaryData){6, (uint8_t *)end};
    }
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    for (size_t i = 0; i < options->streams; i++) {
        grpc_stream_t *stream = grpc_client_start(pool->clients[i % options->connections],
                                                  &(grpc_stream_cfg_t){
                                                      .path = "/etcdserverpb.Watch/Watch",
                                                      .timeout_ms = -1,
                                                      .on_message = on_watch_message,
                                                      .on_done = on_watch_done,
                                                      .arg = self,
                                                  });
        for (size_t k = i; k < options->watchers; k += options->streams) {
            grpc_stream_send_message(stream, &request.base);
        }
    }
    int64_t end_ns = load_now_ns() + LOAD_GRACE_S * INT64_C(1000000000);
    while (self->created < options->watchers && !self->failed) {
        load_pool_run(pool, 100);
        if (load_now_ns() > end_ns) {
            note_error(self, "watchers were not created");
        }
    }
}

/* Puts that all watchers have seen and whose writer knows it. */
static uint64_t finished(const fanout_t *self)
{
    uint64_t seen = self->events / self->options->watchers;
    return seen < self->acknowledged ? seen : self->acknowledged;
}

/* How many puts may have been started by now. */
static uint64_t allowed(const fanout_t *self, int64_t begin_ns, int64_t now)
{
    const load_options_t *options = self->options;
    uint64_t limit = finished(self) + options->inflight;
    if (limit > options->requests) {
        limit = options->requests;
    }
    if (options->rate > 0) {
        uint64_t due = (uint64_t)(options->rate * (double)(now - begin_ns) / 1e9) + 1;
        limit = due < limit ? due : limit;
    }
    return limit;
}

static int wait_ms(const fanout_t *self, int64_t begin_ns, int64_t now)
{
    if (self->options->rate <= 0) {
        return 100;
    }
    double due_ns = (double)self->started / self->options->rate * 1e9;
    double left_ms = ceil((due_ns - (double)(now - begin_ns)) / 1e6);
    return left_ms < 0 ? 0 : left_ms > 100 ? 100 : (int)left_ms;
}

static void measure(fanout_t *self, load_pool_t *pool)
{
    const load_options_t *options = self->options;
    int64_t begin = load_now_ns();
    int64_t end = begin + (int64_t)(options->seconds * 1e9);
    for (;;) {
        int64_t now = load_now_ns();
        bool open = now < end && self->started < options->requests;
        if (self->failed || (!open && finished(self) == self->started)) {
            break;
        }
        if (now > end + LOAD_GRACE_S * INT64_C(1000000000)) {
            note_error(self, "events are missing");
            break;
        }
        while (open && self->started < allowed(self, begin, now)) {
            put(self);
        }
        load_pool_run(pool, open ? wait_ms(self, begin, now) : 100);
    }
    self->result->seconds = (double)(load_now_ns() - begin) / 1e9;
    self->result->requests = self->events;
    self->result->puts = self->started;
    if (!self->failed && self->events != self->started * options->watchers) {
        note_error(self, "more events than puts");
    }
}

void load_run_fanout(const load_options_t *given, load_result_t *result)
{
    load_options_t options = *given;
    if (options.streams > options.watchers) {
        options.streams = options.watchers;
    }
    if (options.connections > options.streams) {
        options.connections = options.streams;
    }
    fanout_t self = {.options = &options,
                     .result = result,
                     .random = options.seed,
                     .packed = xmalloc(options.value_bytes + 256),
                     .value = xmalloc(options.value_bytes)};
    load_pool_t pool;
    load_pool_init(&pool, options.endpoint, options.connections + 1);
    self.writer = pool.clients[options.connections];
    open_watchers(&self, &pool);
    if (!self.failed) {
        measure(&self, &pool);
    }
    load_pool_deinit(&pool);
    free(self.packed);
    free(self.value);
}
