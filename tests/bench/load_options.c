#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/load.h"

static const char *const mode_names[] = {"put",   "get",   "fill",   "range",
                                         "count", "limit", "fanout", "ready"};

enum {
    OPT_MODE,
    OPT_ENDPOINT,
    OPT_CONNECTIONS,
    OPT_INFLIGHT,
    OPT_REQUESTS,
    OPT_SECONDS,
    OPT_KEYS,
    OPT_RANGE_KEYS,
    OPT_VALUE_BYTES,
    OPT_SEED,
    OPT_ORDER,
    OPT_WATCHERS,
    OPT_STREAMS,
    OPT_RATE,
    OPT_WATCH,
    OPT_WATCH_AT,
    OPT_SUBSCRIBE,
    OPT_THROTTLED,
    OPT_PAUSE,
};

static const struct option long_options[] = {
    {"mode", required_argument, NULL, OPT_MODE},
    {"endpoint", required_argument, NULL, OPT_ENDPOINT},
    {"connections", required_argument, NULL, OPT_CONNECTIONS},
    {"inflight", required_argument, NULL, OPT_INFLIGHT},
    {"requests", required_argument, NULL, OPT_REQUESTS},
    {"seconds", required_argument, NULL, OPT_SECONDS},
    {"keys", required_argument, NULL, OPT_KEYS},
    {"range-keys", required_argument, NULL, OPT_RANGE_KEYS},
    {"value-bytes", required_argument, NULL, OPT_VALUE_BYTES},
    {"seed", required_argument, NULL, OPT_SEED},
    {"order", required_argument, NULL, OPT_ORDER},
    {"watchers", required_argument, NULL, OPT_WATCHERS},
    {"streams", required_argument, NULL, OPT_STREAMS},
    {"rate", required_argument, NULL, OPT_RATE},
    {"watch", required_argument, NULL, OPT_WATCH},
    {"watch-at", required_argument, NULL, OPT_WATCH_AT},
    {"subscribe", required_argument, NULL, OPT_SUBSCRIBE},
    {"throttled", required_argument, NULL, OPT_THROTTLED},
    {"pause", no_argument, NULL, OPT_PAUSE},
    {NULL, 0, NULL, 0},
};

static uint64_t number(const char *text, uint64_t min, uint64_t max)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || *text < '0' || *text > '9' || *end != 0 || value < min || value > max) {
        load_die("%s is not a number from %llu to %llu", text, (unsigned long long)min,
                 (unsigned long long)max);
    }
    return value;
}

static double real(const char *text, double max)
{
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end != 0 || !(value >= 0 && value <= max)) {
        load_die("%s is not a number from 0 to %g", text, max);
    }
    return value;
}

/* The position of `text` among the words. */
static size_t one_of(const char *text, const char *const *words, size_t words_n)
{
    for (size_t i = 0; i < words_n; i++) {
        if (strcmp(text, words[i]) == 0) {
            return i;
        }
    }
    load_die("unknown word %s", text);
}

static void take(load_options_t *self, int option, const char *text)
{
    switch (option) {
    case OPT_MODE:
        self->mode =
            (load_mode_t)one_of(text, mode_names, sizeof mode_names / sizeof mode_names[0]);
        self->mode_name = text;
        break;
    case OPT_ENDPOINT: self->endpoint = text; break;
    case OPT_CONNECTIONS: self->connections = number(text, 1, 10000); break;
    case OPT_INFLIGHT: self->inflight = number(text, 1, 100000); break;
    case OPT_REQUESTS: self->requests = number(text, 1, 1000000000); break;
    case OPT_SECONDS: self->seconds = real(text, 86400); break;
    case OPT_KEYS: self->keys = number(text, 1, 1000000000); break;
    case OPT_RANGE_KEYS: self->range_keys = number(text, 1, 1000000); break;
    case OPT_VALUE_BYTES: self->value_bytes = number(text, 8, LOAD_VALUE_BYTES_MAX); break;
    case OPT_SEED: self->seed = number(text, 0, UINT64_MAX); break;
    case OPT_ORDER:
        self->random_order = one_of(text, (const char *const[]){"seq", "random"}, 2) == 1;
        break;
    case OPT_WATCHERS: self->watchers = number(text, 1, 1000000); break;
    case OPT_STREAMS: self->streams = number(text, 1, 10000); break;
    case OPT_RATE: self->rate = real(text, 1e6); break;
    case OPT_WATCH:
        self->watch_prefix = one_of(text, (const char *const[]){"key", "prefix"}, 2) == 1;
        break;
    case OPT_WATCH_AT: self->watch_at = text; break;
    case OPT_SUBSCRIBE: self->subscribe = text; break;
    case OPT_THROTTLED: self->throttled = number(text, 0, 10000); break;
    case OPT_PAUSE: self->pauses = true; break;
    default: load_die("see the head of tests/bench/load.c");
    }
}

void load_options_parse(load_options_t *self, int argc, char **argv)
{
    *self = (load_options_t){
        .connections = 4,
        .inflight = 64,
        .requests = UINT64_MAX,
        .seconds = 10,
        .keys = 1,
        .range_keys = 1000,
        .value_bytes = 256,
        .seed = 1,
        .watchers = 1000,
        .streams = 20,
    };
    int option = 0;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        take(self, option, optarg);
    }
    if (optind != argc || self->mode_name == NULL || self->endpoint == NULL) {
        load_die("--mode and --endpoint are needed, words without -- are not");
    }
    if (self->connections > self->inflight && self->mode != LOAD_FANOUT) {
        self->connections = self->inflight;
    }
    if (self->mode == LOAD_RANGE && self->range_keys > self->keys) {
        load_die("--range-keys is larger than --keys");
    }
}
