/* peer_metrics_text: what is counted per other member, as Prometheus text. Pure. */
#pragma once

#include "actors/peer/peer_metrics.h"

/* Appends etcd's etcd_network_… families. As in etcd a member knows itself; as long as there was no other one,
 * there is nothing else. */
void peer_metrics_text(buf_t *out, const peer_metrics_t *self, uint64_t own_id);
