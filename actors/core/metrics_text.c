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

/* How many of what is observed make one of what is shown. */
enum { UNIT_PLAIN = 1, UNIT_MILLIS = 1000, UNIT_MICROS = 1000000 };

static const struct {
    const char *name, *labels, *help;
    uint64_t unit, first;
    unsigned buckets;
} histograms[] = {
#define X(id, name, labels, help, unit, first, buckets)                                            \
    {name, labels, help, UNIT_##unit, first, buckets},
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

/* value / unit as a decimal fraction; the unit is a power of ten up to 10^6. */
static void say_fraction(buf_t *out, uint64_t value, uint64_t unit)
{
    char text[32];
    uint64_t micros = value % unit * (1000000 / unit);
    int len = snprintf(text, sizeof text, "%" PRIu64 ".%06" PRIu64, value / unit, micros);
    while (text[len - 1] == '0') {
        len--;
    }
    if (text[len - 1] == '.') {
        len--;
    }
    buf_append(out, text, (size_t)len);
}

void metrics_text_micros(buf_t *out, uint64_t micros)
{
    say_fraction(out, micros, UNIT_MICROS);
}

/* Counted from the buckets, so that +Inf and _count agree while the owner goes on. */
void metrics_text_histogram(buf_t *out, const char *name, const char *labels,
                            const _Atomic uint64_t *cells, unsigned buckets, uint64_t first_us,
                            uint64_t sum_us)
{
    char line[120];
    uint64_t total = 0;
    uint64_t bound_us = first_us;
    for (unsigned bucket = 0; bucket <= buckets; bucket++) {
        total += atomic_load_explicit(&cells[bucket], memory_order_relaxed);
        (void)snprintf(line, sizeof line, "%s_bucket{%s,le=\"", name, labels);
        say(out, line);
        if (bucket < buckets) {
            metrics_text_micros(out, bound_us);
        } else {
            say(out, "+Inf");
        }
        say(out, "\"} ");
        say_number(out, total);
        buf_byte(out, '\n');
        bound_us *= 2;
    }
    (void)snprintf(line, sizeof line, "%s_sum{%s} ", name, labels);
    say(out, line);
    metrics_text_micros(out, sum_us);
    (void)snprintf(line, sizeof line, "\n%s_count", name);
    metrics_text_value(out, line, labels, total);
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

static void print_value(buf_t *out, const metrics_t *const *blocks, size_t count, metric_t id,
                        uint64_t epoch_us)
{
    uint64_t value = sum_of(blocks, count, id);
    if (values[id].type == METRIC_TYPE_RESULT) {
        uint64_t result = result_of(blocks, count, id);
        if (result == 0) {
            return;
        }
        value = result == METRIC_PASSED;
    } else if (values[id].type == METRIC_TYPE_TIME && value > 0) {
        value = (value + epoch_us) / 1000000;
    }
    metrics_text_value(out, values[id].name, values[id].labels, value);
}

static uint64_t bucket_of(const metrics_t *const *blocks, size_t count, histogram_t id,
                          unsigned bucket)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        const histogram_data_t *data = &blocks[i]->histograms[id];
        sum += atomic_load_explicit(&data->buckets[bucket], memory_order_relaxed);
    }
    return sum;
}

/* A bucket's bound. From a million on with an exponent, as Go's clients write labels: dashboards add
 * up buckets of equal text. */
static void say_bound(buf_t *out, uint64_t bound, uint64_t unit)
{
    char text[32];
    if (bound / unit < 1000000) {
        say_fraction(out, bound, unit);
    } else {
        int len = snprintf(text, sizeof text, "%.6e", (double)bound / (double)unit);
        buf_append(out, text, (size_t)len);
    }
}

static void say_suffixed(buf_t *out, histogram_t id, const char *suffix)
{
    say(out, histograms[id].name);
    say(out, suffix);
    if (*histograms[id].labels) {
        buf_byte(out, '{');
        say(out, histograms[id].labels);
        buf_byte(out, '}');
    }
    buf_byte(out, ' ');
}

/* Buckets are cumulative on the page only. Counted from them, so that +Inf and _count agree while
 * the actor goes on observing. */
static void print_histogram(buf_t *out, const metrics_t *const *blocks, size_t count,
                            histogram_t id)
{
    const char *labels = histograms[id].labels;
    uint64_t bound = histograms[id].first;
    uint64_t total = 0;
    uint64_t sum = 0;
    for (unsigned bucket = 0; bucket <= histograms[id].buckets; bucket++) {
        bool last = bucket == histograms[id].buckets;
        total += bucket_of(blocks, count, id, last ? HISTOGRAM_BUCKETS_MAX : bucket);
        say(out, histograms[id].name);
        say(out, "_bucket{");
        say(out, labels);
        say(out, *labels ? ",le=\"" : "le=\"");
        if (last) {
            say(out, "+Inf");
        } else {
            say_bound(out, bound, histograms[id].unit);
        }
        say(out, "\"} ");
        say_number(out, total);
        buf_byte(out, '\n');
        bound *= 2;
    }
    for (size_t i = 0; i < count; i++) {
        sum += atomic_load_explicit(&blocks[i]->histograms[id].sum, memory_order_relaxed);
    }
    say_suffixed(out, id, "_sum");
    say_fraction(out, sum, histograms[id].unit);
    buf_byte(out, '\n');
    say_suffixed(out, id, "_count");
    say_number(out, total);
    buf_byte(out, '\n');
}

/* As in etcd's pages: a combination of labels is there once it has happened. */
static bool is_shown(const metrics_t *const *blocks, size_t count, histogram_t id)
{
    if (!*histograms[id].labels) {
        return true;
    }
    for (unsigned bucket = 0; bucket <= HISTOGRAM_BUCKETS_MAX; bucket++) {
        if (bucket_of(blocks, count, id, bucket) > 0) {
            return true;
        }
    }
    return false;
}

static void print_histograms(buf_t *out, const metrics_t *const *blocks, size_t count)
{
    const char *announced = "";
    for (unsigned i = 0; i < HISTOGRAM_COUNT; i++) {
        if (!is_shown(blocks, count, (histogram_t)i)) {
            continue;
        }
        if (strcmp(histograms[i].name, announced) != 0) {
            announced = histograms[i].name;
            metrics_text_head(out, announced, "histogram", histograms[i].help);
        }
        print_histogram(out, blocks, count, (histogram_t)i);
    }
}

void metrics_text(buf_t *out, const metrics_t *const *blocks, size_t count, uint64_t epoch_us)
{
    for (unsigned i = 0; i < METRIC_COUNT; i++) {
        if (i == 0 || strcmp(values[i].name, values[i - 1].name) != 0) {
            metrics_text_head(out, values[i].name, type_name(values[i].type), values[i].help);
        }
        print_value(out, blocks, count, (metric_t)i, epoch_us);
    }
    print_histograms(out, blocks, count);
}
