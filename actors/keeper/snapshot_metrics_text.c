#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

#include "actors/core/metrics_text.h"
#include "actors/keeper/snapshot_metrics.h"

typedef struct {
    const char *label;
    size_t offset; /* of the direction, in snapshot_member_metrics_t */
    struct {
        const char *name, *help;
    } inflight, succeeded, failed, duration;
} way_t;

/* clang-format off */
static const way_t ways[] = {
    {"To", offsetof(snapshot_member_metrics_t, sent),
     {"etcd_network_snapshot_send_inflights_total", "Total number of inflight snapshot sends"},
     {"etcd_network_snapshot_send_success", "Total number of successful snapshot sends"},
     {"etcd_network_snapshot_send_failures", "Total number of snapshot send failures"},
     {"etcd_network_snapshot_send_total_duration_seconds", "Total latency distributions of snapshot sends"}},
    {"From", offsetof(snapshot_member_metrics_t, received),
     {"etcd_network_snapshot_receive_inflights_total", "Total number of inflight snapshot receives"},
     {"etcd_network_snapshot_receive_success", "Total number of successful snapshot receives"},
     {"etcd_network_snapshot_receive_failures", "Total number of snapshot receive failures"},
     {"etcd_network_snapshot_receive_total_duration_seconds", "Total latency distributions of snapshot receives"}},
};
/* clang-format on */

typedef struct {
    uint64_t begun, succeeded, failed;
} counts_t;

static uint64_t load(const _Atomic uint64_t *cell)
{
    return atomic_load_explicit(cell, memory_order_relaxed);
}

static const snapshot_way_metrics_t *way_of(const snapshot_member_metrics_t *member,
                                            const way_t *way)
{
    return (const void *)((const char *)member + way->offset);
}

/* What has ended is read first: it has begun before. */
static counts_t counts_of(const snapshot_way_metrics_t *way)
{
    counts_t counts = {.succeeded = load(&way->succeeded), .failed = load(&way->failed)};
    counts.begun = load(&way->begun);
    return counts;
}

static uint64_t value_of(const way_t *way, const char *name, const counts_t *counts)
{
    if (name == way->succeeded.name) {
        return counts->succeeded;
    }
    uint64_t ended = counts->succeeded + counts->failed;
    return name == way->failed.name ? counts->failed
           : counts->begun > ended  ? counts->begun - ended
                                    : 0;
}

static void say_family(buf_t *out, const snapshot_metrics_t *self, const way_t *way,
                       const char *name, const char *help)
{
    bool is_gauge = name == way->inflight.name;
    bool is_histogram = name == way->duration.name;
    bool has_head = false;
    for (size_t i = 0; i < SNAPSHOT_METRICS_MEMBERS; i++) {
        const snapshot_way_metrics_t *one = way_of(&self->members[i], way);
        counts_t counts = counts_of(one);
        if (counts.begun == 0) {
            continue;
        }
        if (!has_head) {
            metrics_text_head(out, name,
                              is_histogram ? "histogram"
                              : is_gauge   ? "gauge"
                                           : "counter",
                              help);
            has_head = true;
        }
        char labels[40];
        (void)snprintf(labels, sizeof labels, "%s=\"%" PRIx64 "\"", way->label,
                       load(&self->members[i].member));
        if (is_histogram) {
            metrics_text_histogram(out, name, labels, one->durations, SNAPSHOT_BUCKETS,
                                   SNAPSHOT_FIRST_US, load(&one->duration_sum_us));
        } else {
            metrics_text_value(out, name, labels, value_of(way, name, &counts));
        }
    }
}

void snapshot_metrics_text(buf_t *out, const snapshot_metrics_t *self)
{
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        const way_t *way = &ways[i];
        say_family(out, self, way, way->inflight.name, way->inflight.help);
        say_family(out, self, way, way->succeeded.name, way->succeeded.help);
        say_family(out, self, way, way->failed.name, way->failed.help);
        say_family(out, self, way, way->duration.name, way->duration.help);
    }
}
