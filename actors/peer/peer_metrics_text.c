#include "actors/peer/peer_metrics_text.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

#include "actors/core/metrics_text.h"

/* How a family names the member. */
typedef enum { LABELS_BOTH, LABEL_TO, LABEL_FROM } labels_t;

typedef struct {
    const char *name, *type, *help;
    labels_t labels;
    size_t offset; /* in peer_member_metrics_t */
} family_t;

#define CELL(field) offsetof(peer_member_metrics_t, field)
/* clang-format off */
static const family_t families[] = {
    {"etcd_network_active_peers", "gauge", "The current number of active peer connections.",
     LABELS_BOTH, CELL(is_active)},
    {"etcd_network_disconnected_peers_total", "counter", "The total number of disconnected peers.",
     LABELS_BOTH, CELL(disconnected)},
    {"etcd_network_known_peers", "gauge", "The current number of known peers.",
     LABELS_BOTH, CELL(is_known)},
    {"etcd_network_peer_sent_bytes_total", "counter", "The total number of bytes sent to peers.",
     LABEL_TO, CELL(sent_bytes)},
    {"etcd_network_peer_sent_failures_total", "counter", "The total number of send failures from peers.",
     LABEL_TO, CELL(sent_failures)},
    {"etcd_network_peer_received_bytes_total", "counter", "The total number of bytes received from peers.",
     LABEL_FROM, CELL(received_bytes)},
    {"etcd_network_peer_received_failures_total", "counter", "The total number of receive failures from peers.",
     LABEL_FROM, CELL(received_failures)},
};
/* clang-format on */

static uint64_t read_cell(const _Atomic uint64_t *cell)
{
    return atomic_load_explicit(cell, memory_order_relaxed);
}

static void print_family(buf_t *out, const family_t *family, const peer_metrics_t *self,
                         uint64_t own_id)
{
    bool is_of_self = family->offset == CELL(is_known);
    if (!is_of_self && read_cell(&self->members[0].member) == 0) {
        return;
    }
    metrics_text_head(out, family->name, family->type, family->help);
    if (is_of_self) {
        char labels[80];
        (void)snprintf(labels, sizeof labels, "Local=\"%" PRIx64 "\",Remote=\"%" PRIx64 "\"",
                       own_id, own_id);
        metrics_text_value(out, family->name, labels, 1);
    }
    for (size_t i = 0; i < PEER_METRICS_MEMBERS; i++) {
        const peer_member_metrics_t *place = &self->members[i];
        uint64_t id = read_cell(&place->member);
        if (id == 0) {
            return;
        }
        char labels[80];
        if (family->labels == LABELS_BOTH) {
            (void)snprintf(labels, sizeof labels, "Local=\"%" PRIx64 "\",Remote=\"%" PRIx64 "\"",
                           own_id, id);
        } else {
            (void)snprintf(labels, sizeof labels, "%s=\"%" PRIx64 "\"",
                           family->labels == LABEL_TO ? "To" : "From", id);
        }
        const void *cell = (const char *)place + family->offset;
        metrics_text_value(out, family->name, labels, read_cell(cell));
    }
}

void peer_metrics_text(buf_t *out, const peer_metrics_t *self, uint64_t own_id)
{
    const char rtt[] = "etcd_network_peer_round_trip_time_seconds";
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        print_family(out, &families[i], self, own_id);
    }
    if (read_cell(&self->members[0].member) == 0) {
        return;
    }
    metrics_text_head(out, rtt, "histogram", "Round-Trip-Time histogram between peers");
    for (size_t i = 0; i < PEER_METRICS_MEMBERS && read_cell(&self->members[i].member); i++) {
        const peer_member_metrics_t *place = &self->members[i];
        char labels[40];
        (void)snprintf(labels, sizeof labels, "To=\"%" PRIx64 "\"", read_cell(&place->member));
        metrics_text_histogram(out, rtt, labels, place->rtt, PEER_RTT_BUCKETS, PEER_RTT_FIRST_US,
                               read_cell(&place->rtt_sum_us));
    }
}
