/* peer: this member's connections to the others. Pure core; the sockets are its shell's.
 * One instance per node, owned by one thread.
 *
 * In:  PEERS (replicator: who belongs to the cluster), PUBLISHED (applier: who was up once), PEER (election,
 *      replicator, lease, keeper: to be sent), FRAME (network: what came in), CLOSED (network: a connection
 *      has ended, or none can be made), STOP.
 * Out: PEER (to whom the kind belongs, messages/peer_msg.h), PEER_STATUS (gateway), GONE (election), LINK and
 *      FRAME (network).
 *
 * What comes in is checked here, so that nobody behind it has to: cluster, receiver, membership, checksum.
 * Nothing is queued: a message that cannot be sent or passed on now is lost, and is said again.
 *
 * Who may speak: members; and *guests*, who say with a PING where they listen. A server must listen to a leader
 * that its own log does not know yet (Raft dissertation section 4.1), or it would never learn of it. Ids
 * whose removal is committed are refused, and told so once a second: their process then ends. */
#pragma once

#include "actors/core/metrics.h"
#include "actors/core/step.h"
#include "actors/peer/peer_metrics.h"

typedef struct peer peer_t;

typedef struct {
    uint64_t cluster_id, member_id;
    uint64_t
        incarnation; /* the time of the start: tells a restarted member from its earlier self */
    /* What PEERS would say of the log as it was recovered; borrowed. */
    const bytes_t *configuration;
    uint64_t configuration_index;
    bool configuration_is_committed;
    const bytes_t
        *urls; /* where this member listens, until the log says so: NUL between them; borrowed */
    uint64_t heartbeat_us, election_timeout_us;
} peer_cfg_t;

peer_t *peer_new(const peer_cfg_t *cfg, metrics_t *metrics, peer_metrics_t *by_member);
extern const core_ops_t peer_ops;
