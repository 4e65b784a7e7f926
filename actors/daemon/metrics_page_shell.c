#include "actors/daemon/metrics_page_shell.h"

#include <inttypes.h>
#include <stdio.h>

#include "actors/api/rpc_metrics_text.h"
#include "actors/core/metrics_text.h"
#include "actors/daemon/gates.h"
#include "actors/daemon/process_shell.h"
#include "actors/peer/peer_metrics_text.h"
#include "messages/version.h"

static void say_info(buf_t *out, const char *name, const char *help, const char *label,
                     const char *value)
{
    char labels[128];
    (void)snprintf(labels, sizeof labels, "%s=\"%s\"", label, value);
    metrics_text_head(out, name, "gauge", help);
    metrics_text_value(out, name, labels, 1);
}

static void say_gates(buf_t *out)
{
    const char name[] = "etcd_server_feature_enabled";
    size_t count = 0;
    const gate_t *gates = gates_all(&count);
    metrics_text_head(out, name, "gauge", "The feature gates: 1 = enabled.");
    for (size_t i = 0; i < count; i++) {
        char labels[128];
        (void)snprintf(labels, sizeof labels, "name=\"%s\",stage=\"%s\"", gates[i].name,
                       gates[i].stage);
        metrics_text_value(out, name, labels, gates[i].initial);
    }
}

void metrics_page_text(const metrics_page_t *page, buf_t *out)
{
    char id[24];
    (void)snprintf(id, sizeof id, "%" PRIx64, page->member_id);
    say_info(out, "etcd_cluster_version",
             "Which version is running. 1 for 'cluster_version' label with current cluster version",
             "cluster_version", API_CLUSTER_MINOR);
    say_info(out, "etcd_server_version",
             "Which version is running. 1 for 'server_version' label with current version.",
             "server_version", API_VERSION);
    say_info(out, "etcd_server_id",
             "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.",
             "server_id", id);
    say_info(out, "quoral_version", "The product's own version, as label.", "version",
             QUORAL_VERSION);
    say_gates(out);
    metrics_text(out, page->blocks, page->block_count, page->epoch_us);
    rpc_metrics_text(out, page->rpc_blocks, page->rpc_block_count, page->extensive);
    peer_metrics_text(out, page->peers, page->member_id);
    snapshot_metrics_text(out, page->snapshots);
    process_text(out);
}
