/* peer: this member's connections to the others. Pure core; the sockets are its shell's.
 * One instance per node, owned by one thread.
 *
 * In:  PEERS (replicator: who belongs to the cluster), PEER (election, replicator, lease, keeper: to be
 *      sent), FRAME (network: what came in), STOP.
 * Out: PEER (to whom the kind belongs, messages/peer_msg.h), PEER_STATUS (gateway), LINK and FRAME (network).
 *
 * What comes in is checked here, so that nobody behind it has to: cluster, receiver, membership, checksum.
 * Nothing is queued: a message that cannot be sent now is lost, and consensus says it again. */
#pragma once

#include "actors/core/metrics.h"
#include "actors/core/step.h"

typedef struct peer peer_t;

typedef struct {
    uint64_t cluster_id, member_id;
    uint64_t incarnation; /* random per start: tells a restarted member from its earlier self */
} peer_cfg_t;

peer_t *peer_new(const peer_cfg_t *cfg, metrics_t *metrics);
extern const core_ops_t peer_ops;
