/* Receivers of fan-out over gRPC: watches, spread over streams, those over connections. */
#include <stdlib.h>

#include "etcd/rpc.pb-c.h"
#include "messages/wire.h"
#include "messages/xalloc.h"
#include "tests/bench/load.h"

enum { FIELD_CREATED = 3, FIELD_CANCELED = 4, FIELD_EVENT = 11 }; /* of WatchResponse */
enum { FIELD_KV = 2, FIELD_VALUE = 5 };                           /* of Event, KeyValue */

typedef struct {
    load_sink_t sink;
    size_t created;
    load_pool_t pool;
    load_pool_t slow, stalled; /* a connection for each */
    int64_t slow_turn_ns;      /* the next */
} watches_t;

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

bool load_event_value(slice_t event, slice_t *value)
{
    slice_t kv;
    return inner(event, FIELD_KV, &kv) && inner(kv, FIELD_VALUE, value);
}

static void take_event(watches_t *self, slice_t event)
{
    slice_t value;
    if (load_event_value(event, &value)) {
        self->sink.on_value(self->sink.arg, value);
    } else {
        self->sink.on_error(self->sink.arg, "an event without its value");
    }
}

static void take_response(watches_t *self, slice_t rest, bool is_measured)
{
    wire_field_t field;
    int rc = 0;
    while ((rc = wire_next(&rest, &field)) == 0) {
        if (field.number == FIELD_EVENT && field.type == 2 && is_measured) {
            take_event(self, field.data);
        } else if (field.number == FIELD_CREATED && field.value != 0) {
            self->created++;
            self->sink.on_created(self->sink.arg);
        } else if (field.number == FIELD_CANCELED && field.value != 0) {
            self->sink.on_error(self->sink.arg, "a watcher was cancelled");
        }
    }
    if (rc != WIRE_END) {
        self->sink.on_error(self->sink.arg, "an answer that is no message");
    }
}

static void on_message(void *arg, const uint8_t *message, size_t size)
{
    take_response(arg, slice(message, size), true);
}

static void on_throttled_message(void *arg, const uint8_t *message, size_t size)
{
    take_response(arg, slice(message, size), false);
}

static void on_done(void *arg, const grpc_status_t *status)
{
    watches_t *self = arg;
    self->sink.on_error(self->sink.arg,
                        status->message != NULL ? status->message : "a watch stream ended");
}

/* `watchers` watches on `streams` streams. */
static void open_watches(watches_t *self, const load_options_t *options, load_pool_t *pool,
                         size_t watchers, size_t streams, bool is_measured)
{
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
    for (size_t i = 0; i < streams; i++) {
        grpc_stream_t *stream = grpc_client_start(
            pool->clients[i % pool->clients_n],
            &(grpc_stream_cfg_t){.path = "/etcdserverpb.Watch/Watch",
                                 .timeout_ms = -1,
                                 .on_message = is_measured ? on_message : on_throttled_message,
                                 .on_done = on_done,
                                 .arg = self});
        for (size_t k = i; k < watchers; k += streams) {
            grpc_stream_send_message(stream, &request.base);
        }
    }
}

static const char *endpoint_of(const load_options_t *options)
{
    return options->watch_at ? options->watch_at : options->endpoint;
}

/* Until their watches stand. */
static void open_throttled(watches_t *self, const load_options_t *options, load_pool_t *pool,
                           size_t count)
{
    load_pool_init(pool, endpoint_of(options), count);
    open_watches(self, options, pool, count, count, false);
    size_t wanted = self->created + count;
    int64_t end_ns = load_now_ns() + LOAD_GRACE_S * INT64_C(1000000000);
    while (self->created < wanted && load_now_ns() < end_ns) {
        load_pool_run(pool, 10);
    }
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void *start(const load_options_t *options, const load_sink_t *sink)
{
    watches_t *self = xcalloc(1, sizeof *self);
    self->sink = *sink;
    size_t streams = least(options->streams, options->watchers);
    load_pool_init(&self->pool, endpoint_of(options), least(options->connections, streams));
    open_throttled(self, options, &self->slow, options->throttled / 2);
    open_throttled(self, options, &self->stalled, options->throttled - options->throttled / 2);
    open_watches(self, options, &self->pool, options->watchers, streams, true);
    load_pool_run(&self->pool, 0);
    return self;
}

static int fd(const void *arg)
{
    const watches_t *self = arg;
    return self->pool.epoll_fd;
}

static void turn(void *arg)
{
    watches_t *self = arg;
    load_pool_run(&self->pool, 0);
    int64_t now_ns = load_now_ns();
    if (now_ns >= self->slow_turn_ns) {
        self->slow_turn_ns = now_ns + LOAD_THROTTLE_MS * INT64_C(1000000);
        load_pool_run(&self->slow, 0);
    }
}

static void end(void *arg)
{
    watches_t *self = arg;
    load_pool_deinit(&self->pool);
    load_pool_deinit(&self->slow);
    load_pool_deinit(&self->stalled);
    free(self);
}

const load_receivers_ops_t load_watches = {.start = start, .fd = fd, .turn = turn, .end = end};
