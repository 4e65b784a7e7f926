/* methods: every RPC this server knows, by its gRPC path. Pure.
 * Listed but not served yet = answered Unimplemented by api, like an unknown method. */
#pragma once

typedef enum { RPC_UNARY, RPC_SERVER_STREAM, RPC_CLIENT_STREAM, RPC_BIDI_STREAM } rpc_type_t;

/* clang-format off */
#define API_METHODS(X) \
    X(RANGE,            "etcdserverpb.KV",          "Range",           RPC_UNARY) \
    X(RANGE_STREAM,     "etcdserverpb.KV",          "RangeStream",     RPC_SERVER_STREAM) \
    X(PUT,              "etcdserverpb.KV",          "Put",             RPC_UNARY) \
    X(DELETE_RANGE,     "etcdserverpb.KV",          "DeleteRange",     RPC_UNARY) \
    X(TXN,              "etcdserverpb.KV",          "Txn",             RPC_UNARY) \
    X(COMPACT,          "etcdserverpb.KV",          "Compact",         RPC_UNARY) \
    X(WATCH,            "etcdserverpb.Watch",       "Watch",           RPC_BIDI_STREAM) \
    X(LEASE_GRANT,      "etcdserverpb.Lease",       "LeaseGrant",      RPC_UNARY) \
    X(LEASE_REVOKE,     "etcdserverpb.Lease",       "LeaseRevoke",     RPC_UNARY) \
    X(LEASE_KEEP_ALIVE, "etcdserverpb.Lease",       "LeaseKeepAlive",  RPC_BIDI_STREAM) \
    X(LEASE_TIME_TO_LIVE, "etcdserverpb.Lease",     "LeaseTimeToLive", RPC_UNARY) \
    X(LEASE_LEASES,     "etcdserverpb.Lease",       "LeaseLeases",     RPC_UNARY) \
    X(MEMBER_LIST,      "etcdserverpb.Cluster",     "MemberList",      RPC_UNARY) \
    X(MEMBER_ADD,       "etcdserverpb.Cluster",     "MemberAdd",       RPC_UNARY) \
    X(MEMBER_REMOVE,    "etcdserverpb.Cluster",     "MemberRemove",    RPC_UNARY) \
    X(MEMBER_UPDATE,    "etcdserverpb.Cluster",     "MemberUpdate",    RPC_UNARY) \
    X(MEMBER_PROMOTE,   "etcdserverpb.Cluster",     "MemberPromote",   RPC_UNARY) \
    X(STATUS,           "etcdserverpb.Maintenance", "Status",          RPC_UNARY) \
    X(ALARM,            "etcdserverpb.Maintenance", "Alarm",           RPC_UNARY) \
    X(MOVE_LEADER,      "etcdserverpb.Maintenance", "MoveLeader",      RPC_UNARY) \
    X(HASH,             "etcdserverpb.Maintenance", "Hash",            RPC_UNARY) \
    X(HASH_KV,          "etcdserverpb.Maintenance", "HashKV",          RPC_UNARY) \
    X(HEALTH_CHECK,     "grpc.health.v1.Health",    "Check",           RPC_UNARY) \
    X(HEALTH_LIST,      "grpc.health.v1.Health",    "List",            RPC_UNARY) \
    X(HEALTH_WATCH,     "grpc.health.v1.Health",    "Watch",           RPC_SERVER_STREAM) \
    X(NATIVE_SNAPSHOT,  "quoral.Native",            "Snapshot",        RPC_SERVER_STREAM) \
    X(NATIVE_EVENTS,    "quoral.Native",            "Events",          RPC_SERVER_STREAM)
/* clang-format on */

typedef enum {
#define X(id, service, name, type) METHOD_##id,
    API_METHODS(X)
#undef X
        METHOD_COUNT,
    METHOD_UNKNOWN = METHOD_COUNT
} method_t;

typedef struct {
    const char *path; /* "/etcdserverpb.KV/Range" */
    const char *service;
    const char *name;
    rpc_type_t type;
} method_info_t;

/* METHOD_UNKNOWN when the path (len bytes, not terminated) is none of ours. */
method_t method_find(const char *path, unsigned long len);
const method_info_t *method_info(method_t method);
