#include "actors/core/metrics_text.h"

#include <inttypes.h>
#include <stdio.h>

static const struct {
    metric_type_t type;
    const char *name, *labels, *help;
} values[] = {
#define X(id, type, name, labels, help) {METRIC_TYPE_##type, name, labels, help},
    METRIC_VALUES(X)
#undef X
};

static const struct {
    const char *name, *help;
    uint64_t first_us;
    unsigned buckets;
} histograms[] = {
#define X(id, name, help, first, buckets) {name, help, first, buckets},
    METRIC_HISTOGRAMS(X)
#undef X
};

static void say(buf_t *out, const char *text)
{
    buf_append(out, text, strlen(text));
}

void metrics_text_head(buf_t *out, const char *name, const char *type, const char *help)
{
    say(out, "# HELP ");
    say(out, name);
    buf_byte(out, ' ');
    say(out, help);
    say(out, "\n# TYPE ");
    say(out, name);
    buf_byte(out, ' ');
    say(out, type);
    buf_byte(out, '\n');
}

static void say_number(buf_t *out, uint64_t value)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%" PRIu64, value);
    buf_append(out, text, (size_t)len);
}

void metrics_text_value(buf_t *out, const char *name, const char *labels, uint64_t value)
{
    say(out, name);
    if (*labels) {
        buf_byte(out, '{');
        say(out, labels);
        buf_byte(out, '}');
    }
    buf_byte(out, ' ');
    say_number(out, value);
    buf_byte(out, '\n');
}

void metrics_text_micros(buf_t *out, uint64_t micros)
{
    char text[32];
    int len =
        snprintf(text, sizeof text, "%" PRIu64 ".%06" PRIu64, micros / 1000000, micros % 1000000);
    while (text[len - 1] == '0') {
        len--;
    }
    if (text[len - 1] == '.') {
        len--;
    }
    buf_append(out, text, (size_t)len);
}

static const char *type_name(metric_type_t type)
{
    return type == METRIC_TYPE_COUNTER ? "counter" : "gauge";
}

static uint64_t sum_of(const metrics_t *const *blocks, size_t count, metric_t id)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += metrics_get(blocks[i], id);
    }
    return sum;
}

/* 0 = never ran anywhere; a failure wins. */
static uint64_t result_of(const metrics_t *const *blocks, size_t count, metric_t id)
{
    uint64_t result = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t one = metrics_get(blocks[i], id);
        if (result == 0 || one == METRIC_FAILED) {
            result = one ? one : result;
        }
    }
    return result;
}

static void print_value(buf_t *out, const metrics_t *const *blocks, size_t count, metric_t id)
{
    uint64_t value = 0;
    if (values[id].type == METRIC_TYPE_RESULT) {
        uint64_t result = result_of(blocks, count, id);
        if (result == 0) {
            return;
        }
        value = result == METRIC_PASSED;
    } else {
        value = sum_of(blocks, count, id);
    }
    metrics_text_value(out, values[id].name, values[id].labels, value);
}

/* Buckets are cumulative on the page only. Counted from them, so that +Inf and _count agree while
 * the actor goes on observing. */
static void print_histogram(buf_t *out, const metrics_t *const *blocks, size_t count,
                            histogram_t id)
{
    const char *name = histograms[id].name;
    uint64_t bound_us = histograms[id].first_us;
    uint64_t total = 0;
    uint64_t sum_us = 0;
    for (unsigned bucket = 0; bucket <= histograms[id].buckets; bucket++) {
        bool last = bucket == histograms[id].buckets;
        for (size_t i = 0; i < count; i++) {
            const histogram_data_t *data = &blocks[i]->histograms[id];
            total += atomic_load_explicit(&data->buckets[last ? HISTOGRAM_BUCKETS_MAX : bucket],
                                          memory_order_relaxed);
        }
        say(out, name);
        say(out, "_bucket{le=\"");
        if (last) {
            say(out, "+Inf");
        } else {
            metrics_text_micros(out, bound_us);
        }
        say(out, "\"} ");
        say_number(out, total);
        buf_byte(out, '\n');
        bound_us *= 2;
    }
    for (size_t i = 0; i < count; i++) {
        sum_us += atomic_load_explicit(&blocks[i]->histograms[id].sum_us, memory_order_relaxed);
    }
    say(out, name);
    say(out, "_sum ");
    metrics_text_micros(out, sum_us);
    buf_byte(out, '\n');
    say(out, name);
    say(out, "_count ");
    say_number(out, total);
    buf_byte(out, '\n');
}

void metrics_text(buf_t *out, const metrics_t *const *blocks, size_t count)
{
    for (unsigned i = 0; i < METRIC_COUNT; i++) {
        if (i == 0 || strcmp(values[i].name, values[i - 1].name) != 0) {
            metrics_text_head(out, values[i].name, type_name(values[i].type), values[i].help);
        }
        print_value(out, blocks, count, (metric_t)i);
    }
    for (unsigned i = 0; i < HISTOGRAM_COUNT; i++) {
        metrics_text_head(out, histograms[i].name, "histogram", histograms[i].help);
        print_histogram(out, blocks, count, (histogram_t)i);
    }
}
