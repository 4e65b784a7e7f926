/* operations: what a log entry may hold: field numbers of etcd's InternalRaftRequest. The gateway's core writes such a
 * message, the applier reads it, maybe years later: a number never changes its meaning. */
#pragma once

enum {
    OP_ID = 1, /* no operation: which run of which member proposed it */
    OP_PUT = 4,
    OP_DELETE_RANGE = 5,
    OP_TXN = 6,
    OP_COMPACTION = 7,
    OP_LEASE_GRANT = 8,
    OP_LEASE_REVOKE = 9,
    OP_HEADER = 100, /* no operation: in it the request's number within that run */
    OP_CLUSTER_VERSION_SET = 1300,
    OP_MEMBER_ATTR_SET = 1301
};
