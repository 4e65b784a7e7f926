/* load: drives one etcd v3 server and prints one line of JSON.
 *
 * load --mode put|get|fill|range|count|limit|fanout|ready --endpoint HOST:PORT [options]
 *
 *   --connections N   4        --inflight N     64 (over all connections)
 *   --requests N      no bound --seconds S      10; whichever comes first ends the run
 *   --keys N          1        --range-keys N   1000
 *   --value-bytes N   256      --seed N         1
 *   --order seq|random         of fill
 *   --watchers N      1000     --streams N      20 (at most one connection each)
 *   --rate PUTS       0        puts per second of put and fan-out; 0: as fast as --inflight lets it
 *   --watch key|prefix         what the watchers of fan-out watch
 *   --watch-at HOST:PORT       of another member, where they do
 *   --subscribe HOST:PORT      fan-out to ZeroMQ subscribers of that publish socket, a connection each
 *   --throttled N     0        beside the watchers of fan-out: half of them read once a second, half never
 *   --pause                    fan-out: says "standing" when all watchers stand, and goes on with a line on stdin;
 *                              keeps them after the result until stdin ends
 *
 * Ends with 1 when any request failed or any answer was wrong. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "tests/bench/load.h"

void load_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(2);
}

int64_t load_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

uint64_t load_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

void load_fill_random(uint64_t *state, uint8_t *to, size_t size)
{
    for (size_t i = 0; i < size; i += 8) {
        uint64_t bits = load_random(state);
        memcpy(to + i, &bits, size - i < 8 ? size - i : 8);
    }
}

void load_key(char key[LOAD_KEY_BYTES + 1], uint64_t number)
{
    memcpy(key, "bench/", 6);
    for (size_t i = LOAD_KEY_BYTES; i > 6; i--) {
        key[i - 1] = (char)('0' + number % 10);
        number /= 10;
    }
    key[LOAD_KEY_BYTES] = 0;
}

void load_stamp(uint8_t *value, int64_t now_ns)
{
    memcpy(value, &now_ns, sizeof now_ns);
}

void load_note_error(load_result_t *result, const char *text)
{
    if (result->errors++ == 0) {
        snprintf(result->error, sizeof result->error, "%s", text);
    }
}

/* Receivers have a connection each. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6 +
           (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6;
}

void load_print(const load_options_t *options, const load_result_t *result)
{
    const load_histogram_t *latency = &result->latency;
    printf("{\"mode\": \"%s\", \"requests\": %" PRIu64 ", \"puts\": %" PRIu64
           ", \"errors\": %" PRIu64 ", \"seconds\": %.4f, \"per_second\": %.1f, ",
           options->mode_name, result->requests, result->puts, result->errors, result->seconds,
           result->seconds > 0 ? (double)result->requests / result->seconds : 0);
    printf("\"p50_us\": %.1f, \"p90_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, "
           "\"max_us\": %.1f, ",
           load_histogram_us(latency, 0.5), load_histogram_us(latency, 0.9),
           load_histogram_us(latency, 0.99), load_histogram_us(latency, 0.999),
           (double)latency->max_ns / 1e3);
    printf("\"put_p50_us\": %.1f, \"put_p99_us\": %.1f, \"client_cpu\": %.3f}\n",
           load_histogram_us(&result->put_latency, 0.5),
           load_histogram_us(&result->put_latency, 0.99), cpu_seconds());
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static load_result_t result; /* the histogram is large */
    load_options_t options;
    load_options_parse(&options, argc, argv);
    raise_descriptor_limit();
    switch (options.mode) {
    case LOAD_FANOUT: load_run_fanout(&options, &result); break;
    case LOAD_READY: load_run_ready(&options, &result); break;
    default: load_run_requests(&options, &result); break;
    }
    if (options.mode != LOAD_FANOUT) {
        load_print(&options, &result);
    }
    if (result.errors > 0) {
        fprintf(stderr, "load: %" PRIu64 " errors, the first: %s\n", result.errors, result.error);
    }
    return result.errors > 0 ? 1 : 0;
}
