/* Closed loops of unary calls: `inflight` slots, each starts its next request when it has an answer and, with a rate,
 * when it is time. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "etcd/rpc.pb-c.h"
#include "messages/xalloc.h"
#include "tests/bench/load.h"

#define CHECK_EVERY 256 /* answers are unpacked and checked; of all others the size is looked at */

typedef struct run run_t;

typedef struct slot {
    run_t *run;
    grpc_client_t *client;
    int64_t begin_ns;
    bool has_answer;
    bool is_idle; /* until the next request is due */
    bool ended;
} slot_t;

struct run {
    const load_options_t *options;
    load_result_t *result;
    uint64_t random;
    uint64_t started;
    uint64_t stride; /* of fill in random order: coprime to the number of keys */
    int64_t begin_ns, end_ns;
    size_t active;
    size_t packed_max;
    uint8_t *packed;
    uint8_t *value;
};

static void note_error(run_t *run, const char *text)
{
    load_note_error(run->result, text);
}

static ProtobufCBinaryData key_data(char *key)
{
    return (ProtobufCBinaryData){LOAD_KEY_BYTES, (uint8_t *)key};
}

static uint64_t pick_key(run_t *run)
{
    const load_options_t *options = run->options;
    if (options->mode == LOAD_FILL) {
        /* Both factors stay below 2^30, so the product does not wrap. */
        return options->random_order ? run->started * run->stride % options->keys : run->started;
    }
    if (options->mode == LOAD_RANGE) {
        return load_random(&run->random) % (options->keys - options->range_keys + 1);
    }
    return load_random(&run->random) % options->keys;
}

static size_t pack_put(run_t *run)
{
    char key[LOAD_KEY_BYTES + 1];
    load_key(key, pick_key(run));
    load_fill_random(&run->random, run->value, run->options->value_bytes);
    load_stamp(run->value, load_now_ns());
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = key_data(key);
    put.value = (ProtobufCBinaryData){run->options->value_bytes, run->value};
    return etcdserverpb__put_request__pack(&put, run->packed);
}

static size_t pack_range(run_t *run)
{
    char key[LOAD_KEY_BYTES + 1];
    char end[LOAD_KEY_BYTES + 1];
    uint64_t first = 0;
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    switch (run->options->mode) {
    case LOAD_GET:
        load_key(key, pick_key(run));
        range.key = key_data(key);
        break;
    case LOAD_RANGE:
        first = pick_key(run);
        load_key(key, first);
        load_key(end, first + run->options->range_keys);
        range.key = key_data(key);
        range.range_end = key_data(end);
        break;
    default:
        load_key(key, 0);
        load_key(end, run->options->keys);
        range.key = key_data(key);
        range.range_end = key_data(end);
        range.count_only = run->options->mode == LOAD_COUNT;
        range.limit = run->options->mode == LOAD_LIMIT ? 1 : 0;
        break;
    }
    return etcdserverpb__range_request__pack(&range, run->packed);
}

/* How many keys and how large a count the answer of this mode must have. */
static bool range_is_right(const load_options_t *options, const Etcdserverpb__RangeResponse *answer)
{
    size_t values_n = answer->n_kvs;
    for (size_t i = 0; i < values_n; i++) {
        if (answer->kvs[i]->value.len != options->value_bytes) {
            return false;
        }
    }
    uint64_t count = (uint64_t)answer->count;
    switch (options->mode) {
    case LOAD_GET: return values_n == 1;
    case LOAD_RANGE: return values_n == options->range_keys && count == options->range_keys;
    case LOAD_COUNT: return values_n == 0 && count == options->keys;
    default: return values_n == 1 && count == options->keys;
    }
}

static bool answer_is_right(run_t *run, const uint8_t *message, size_t size)
{
    const load_options_t *options = run->options;
    if (options->mode == LOAD_PUT || options->mode == LOAD_FILL) {
        return size > 0;
    }
    if ((options->mode == LOAD_GET && size < options->value_bytes) ||
        (options->mode == LOAD_RANGE && size < options->value_bytes * options->range_keys)) {
        return false;
    }
    if (run->result->requests % CHECK_EVERY != 0) {
        return true;
    }
    Etcdserverpb__RangeResponse *answer = etcdserverpb__range_response__unpack(NULL, size, message);
    bool right = answer != NULL && range_is_right(options, answer);
    etcdserverpb__range_response__free_unpacked(answer, NULL);
    return right;
}

static void start_next(slot_t *slot);

static void on_message(void *arg, const uint8_t *message, size_t size)
{
    slot_t *slot = arg;
    slot->has_answer = true;
    if (!answer_is_right(slot->run, message, size)) {
        note_error(slot->run, "an answer does not have what was asked for");
    }
}

static void on_done(void *arg, const grpc_status_t *status)
{
    slot_t *slot = arg;
    run_t *run = slot->run;
    if (status->code != GRPC_OK || !slot->has_answer) {
        note_error(run, status->message != NULL ? status->message : "no answer");
        slot->ended = true; /* no storm of requests that fail at once */
        run->active--;
        return;
    }
    run->result->requests++;
    load_histogram_add(&run->result->latency, load_now_ns() - slot->begin_ns);
    start_next(slot);
}

/* When the next request is to be started. */
static int64_t due_ns(const run_t *run)
{
    double rate = run->options->rate;
    return rate > 0 ? run->begin_ns + (int64_t)((double)run->started / rate * 1e9) : 0;
}

static void start_next(slot_t *slot)
{
    run_t *run = slot->run;
    int64_t now = load_now_ns();
    slot->is_idle = now < run->end_ns && now < due_ns(run);
    if (slot->is_idle) {
        return;
    }
    if (run->started >= run->options->requests || now >= run->end_ns) {
        slot->ended = true;
        run->active--;
        return;
    }
    bool writes = run->options->mode == LOAD_PUT || run->options->mode == LOAD_FILL;
    size_t size = writes ? pack_put(run) : pack_range(run);
    run->started++;
    slot->begin_ns = now;
    slot->has_answer = false;
    grpc_stream_t *stream = grpc_client_start(
        slot->client,
        &(grpc_stream_cfg_t){.path = writes ? "/etcdserverpb.KV/Put" : "/etcdserverpb.KV/Range",
                             .timeout_ms = -1,
                             .on_message = on_message,
                             .on_done = on_done,
                             .arg = slot});
    grpc_stream_send(stream, run->packed, size);
    grpc_stream_close_send(stream);
}

static void start_due(run_t *run, slot_t *slots)
{
    for (size_t i = 0; i < run->options->inflight; i++) {
        if (slots[i].is_idle && !slots[i].ended) {
            start_next(&slots[i]);
        }
    }
}

static int wait_ms(const run_t *run)
{
    int64_t left_ns = due_ns(run) - load_now_ns();
    int ms = left_ns > 0 ? (int)ceil((double)left_ns / 1e6) : 0;
    return run->options->rate > 0 && ms < 100 ? ms : 100;
}

/* A number that visits every key once when added up modulo the number of keys. */
static uint64_t coprime_stride(uint64_t keys)
{
    uint64_t stride = keys * 5 / 8 + 1; /* neighbours in time are far apart in the key space */
    for (;;) {
        uint64_t a = keys;
        uint64_t b = stride;
        while (b != 0) {
            uint64_t rest = a % b;
            a = b;
            b = rest;
        }
        if (a == 1) {
            return stride;
        }
        stride++;
    }
}

void load_run_requests(const load_options_t *given, load_result_t *result)
{
    load_options_t options = *given;
    if (options.mode == LOAD_FILL) {
        options.requests = options.keys;
    }
    int64_t begin = load_now_ns();
    run_t run = {.options = &options,
                 .result = result,
                 .random = options.seed,
                 .stride = coprime_stride(options.keys),
                 .begin_ns = begin,
                 .end_ns = begin + (int64_t)(options.seconds * 1e9),
                 .active = options.inflight,
                 .packed = xmalloc(options.value_bytes + 256),
                 .value = xmalloc(options.value_bytes)};
    load_pool_t pool;
    load_pool_init(&pool, options.endpoint, options.connections);
    slot_t *slots = xcalloc(options.inflight, sizeof *slots);
    for (size_t i = 0; i < options.inflight; i++) {
        slots[i] = (slot_t){.run = &run, .client = pool.clients[i % options.connections]};
        start_next(&slots[i]);
    }
    while (run.active > 0) {
        load_pool_run(&pool, wait_ms(&run));
        start_due(&run, slots);
        if (load_now_ns() > run.end_ns + LOAD_GRACE_S * INT64_C(1000000000)) {
            note_error(&run, "requests without an answer");
            break;
        }
    }
    result->seconds = (double)(load_now_ns() - begin) / 1e9;
    if (options.mode == LOAD_FILL && result->requests < options.keys) {
        note_error(&run, "not all keys were written in time");
    }
    load_pool_deinit(&pool);
    free(slots);
    free(run.packed);
    free(run.value);
}

/* ---- the first linearizable read ---- */

void load_run_ready(const load_options_t *options, load_result_t *result)
{
    enum { ATTEMPT_MS = 100, PAUSE_MS = 2 };
    int64_t begin = load_now_ns();
    char key[LOAD_KEY_BYTES + 1];
    load_key(key, 0);
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    range.key = key_data(key);
    for (;;) {
        load_pool_t pool;
        load_pool_init(&pool, options->endpoint, 1);
        ProtobufCMessage *answer = NULL;
        grpc_status_t status = {0};
        int rc = grpc_client_call(pool.clients[0], "/etcdserverpb.KV/Range", &range.base,
                                  &etcdserverpb__range_response__descriptor, ATTEMPT_MS, &answer,
                                  &status);
        load_pool_deinit(&pool);
        int64_t now = load_now_ns();
        result->seconds = (double)(now - begin) / 1e9;
        if (rc == 0) {
            protobuf_c_message_free_unpacked(answer, NULL);
            result->requests = 1;
            load_histogram_add(&result->latency, now - begin);
            return;
        }
        if (result->seconds > options->seconds) {
            result->errors = 1;
            snprintf(result->error, sizeof result->error, "%s", status.message);
            grpc_status_deinit(&status);
            return;
        }
        grpc_status_deinit(&status);
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000L}, NULL);
    }
}
