/* metrics_text: metrics as Prometheus text, format 0.0.4. Pure.
 * https://github.com/prometheus/docs/blob/main/docs/instrumenting/exposition_formats.md */
#pragma once

#include "actors/core/metrics.h"
#include "messages/buf.h"

typedef enum {
    METRIC_TYPE_COUNTER,
    METRIC_TYPE_GAUGE,
    METRIC_TYPE_RESULT,
    METRIC_TYPE_TIME
} metric_type_t;

/* All metrics of metrics.h, summed over the blocks, which their actors may be writing. `epoch_us`:
 * when the actors' clock began, since 1970. */
void metrics_text(buf_t *out, const metrics_t *const *blocks, size_t count, uint64_t epoch_us);

/* For other pages. */
void metrics_text_head(buf_t *out, const char *name, const char *type, const char *help);
/* One line; labels `a="b",c="d"` or "". */
void metrics_text_value(buf_t *out, const char *name, const char *labels, uint64_t value);
/* A series of a histogram of microseconds, shown as seconds: `buckets` bounds, each twice the last, and one cell more
 * for what is above. Labels as above, not empty. */
void metrics_text_histogram(buf_t *out, const char *name, const char *labels,
                            const _Atomic uint64_t *cells, unsigned buckets, uint64_t first_us,
                            uint64_t sum_us);
/* Microseconds shown as seconds: "0.001". */
void metrics_text_micros(buf_t *out, uint64_t micros);
