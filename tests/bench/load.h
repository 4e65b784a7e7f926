/* load: a bounded load against one etcd v3 server over gRPC, one line of JSON as the result.
 * One thread; connections are grpc_client instances, polled together. */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/grpc_client.h"
#include "messages/slice.h"

typedef enum load_mode {
    LOAD_PUT,    /* a key out of --keys, fresh random value */
    LOAD_GET,    /* linearizable, a key out of --keys */
    LOAD_FILL,   /* every key of --keys once */
    LOAD_RANGE,  /* --range-keys neighbours, with their values */
    LOAD_COUNT,  /* count_only over all keys */
    LOAD_LIMIT,  /* limit=1 over all keys */
    LOAD_FANOUT, /* --watchers, or subscribers, of what one writer changes */
    LOAD_READY,  /* waits for the first linearizable read */
} load_mode_t;

typedef struct load_options {
    load_mode_t mode;
    const char *mode_name;
    const char *endpoint;
    size_t connections;
    size_t inflight; /* over all connections; for fan-out: puts whose events are on the way */
    uint64_t requests;
    double seconds;
    uint64_t keys;
    uint64_t range_keys;
    size_t value_bytes;
    uint64_t seed;
    bool random_order; /* fill */
    size_t watchers;
    size_t streams;
    const char *watch_at;  /* HOST:PORT of the watchers, if not the endpoint */
    double rate;           /* puts per second; 0: as fast as answers or events arrive */
    bool watch_prefix;     /* else the key itself */
    const char *subscribe; /* HOST:PORT of the publish socket: ZeroMQ subscribers, no watches */
    size_t throttled;      /* receivers beside --watchers that read once a second or never */
    bool
        pauses; /* fan-out: until stdin has a line when all receivers stand, and its end at the end */
} load_options_t;

/* Ends the program with a message when the command line is not usable. */
void load_options_parse(load_options_t *self, int argc, char **argv);

/* What all modes share. */
enum { LOAD_KEY_BYTES = 16, LOAD_VALUE_BYTES_MAX = 1 << 20, LOAD_GRACE_S = 30 };
/* "bench/" and ten digits; no terminator counts. */
void load_key(char key[LOAD_KEY_BYTES + 1], uint64_t number);
/* splitmix64 */
uint64_t load_random(uint64_t *state);
void load_fill_random(uint64_t *state, uint8_t *to, size_t size);
int64_t load_now_ns(void);
void load_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* The time of a put, at the beginning of its value. */
void load_stamp(uint8_t *value, int64_t now_ns);

/* A set of connections to one server, each an instance of the client. */
typedef struct load_pool {
    grpc_client_t **clients;
    struct pollfd *fds; /* what epoll_fd waits for of each */
    size_t clients_n;
    int epoll_fd; /* for who waits for something else as well; tells of no timer */
} load_pool_t;

void load_pool_init(load_pool_t *self, const char *endpoint, size_t connections);
void load_pool_deinit(load_pool_t *self);
/* One turn over all connections; waits at most timeout_ms. */
void load_pool_run(load_pool_t *self, int timeout_ms);

/* Latencies in buckets whose width is at most 1/64 of their value. */
enum { LOAD_HISTOGRAM_BUCKETS = 64 * 60 };
typedef struct load_histogram {
    uint64_t counts[LOAD_HISTOGRAM_BUCKETS];
    uint64_t n;
    int64_t max_ns;
} load_histogram_t;

void load_histogram_add(load_histogram_t *self, int64_t ns);
/* Microseconds below which `part` (0..1) of the values lie. */
double load_histogram_us(const load_histogram_t *self, double part);

typedef struct load_result {
    uint64_t requests; /* answered; fan-out: events received */
    uint64_t puts;     /* fan-out */
    uint64_t errors;
    char error[160]; /* the first */
    double seconds;
    load_histogram_t latency;
    load_histogram_t put_latency; /* fan-out at a rate: of the puts themselves */
} load_result_t;

void load_note_error(load_result_t *result, const char *text);
void load_print(const load_options_t *options, const load_result_t *result);

/* ---- the receivers of fan-out ---- */

/* What they have to tell. Throttled ones only say that they stand. */
typedef struct load_sink {
    void *arg;
    void (*on_created)(void *arg); /* one more is told of every change from now on */
    void (*on_value)(void *arg, slice_t value);
    void (*on_error)(void *arg, const char *text);
} load_sink_t;

typedef struct load_receivers_ops {
    void *(*start)(const load_options_t *options, const load_sink_t *sink);
    int (*fd)(const void *self); /* readable when there is something to do */
    void (*turn)(void *self);    /* takes what is there, never waits */
    void (*end)(void *self);
} load_receivers_ops_t;

extern const load_receivers_ops_t load_watches;     /* over gRPC */
extern const load_receivers_ops_t load_subscribers; /* over ZeroMQ: docs/protocol.md, section 9 */

enum { LOAD_THROTTLE_MS = 1000 };
/* The value of an mvccpb.Event; false when there is none. */
bool load_event_value(slice_t event, slice_t *value);

void load_run_requests(const load_options_t *options, load_result_t *result);
/* Prints its result itself, while the receivers are still there. */
void load_run_fanout(const load_options_t *options, load_result_t *result);
void load_run_ready(const load_options_t *options, load_result_t *result);
