/* errors: what a client can be told, with etcd's codes and texts (contract section 10). Pure.
 * Clients map errors by their text, so the texts are part of the interface. */
#pragma once

typedef enum {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16
} grpc_code_t;

/* clang-format off */
#define API_ERRORS(X) \
    X(NONE,                 GRPC_OK,                  "") \
    X(EMPTY_KEY,            GRPC_INVALID_ARGUMENT,    "etcdserver: key is not provided") \
    X(KEY_NOT_FOUND,        GRPC_INVALID_ARGUMENT,    "etcdserver: key not found") \
    X(VALUE_PROVIDED,       GRPC_INVALID_ARGUMENT,    "etcdserver: value is provided") \
    X(LEASE_PROVIDED,       GRPC_INVALID_ARGUMENT,    "etcdserver: lease is provided") \
    X(TOO_MANY_OPS,         GRPC_INVALID_ARGUMENT,    "etcdserver: too many operations in txn request") \
    X(DUPLICATE_KEY,        GRPC_INVALID_ARGUMENT,    "etcdserver: duplicate key given in txn request") \
    X(INVALID_CLIENT_API_VERSION, GRPC_INVALID_ARGUMENT, "etcdserver: invalid client api version") \
    X(INVALID_SORT_OPTION,  GRPC_INVALID_ARGUMENT,    "etcdserver: invalid sort option") \
    X(COMPACTED,            GRPC_OUT_OF_RANGE,        "etcdserver: mvcc: required revision has been compacted") \
    X(FUTURE_REVISION,      GRPC_OUT_OF_RANGE,        "etcdserver: mvcc: required revision is a future revision") \
    X(NO_SPACE,             GRPC_RESOURCE_EXHAUSTED,  "etcdserver: mvcc: database space exceeded") \
    X(LEASE_NOT_FOUND,      GRPC_NOT_FOUND,           "etcdserver: requested lease not found") \
    X(LEASE_EXISTS,         GRPC_FAILED_PRECONDITION, "etcdserver: lease already exists") \
    X(LEASE_TTL_TOO_LARGE,  GRPC_OUT_OF_RANGE,        "etcdserver: too large lease TTL") \
    X(WATCH_CANCELED,       GRPC_CANCELLED,           "etcdserver: watch canceled") \
    X(MEMBER_EXISTS,        GRPC_FAILED_PRECONDITION, "etcdserver: member ID already exist") \
    X(PEER_URL_EXISTS,      GRPC_FAILED_PRECONDITION, "etcdserver: Peer URLs already exists") \
    X(MEMBER_NOT_ENOUGH_STARTED, GRPC_UNKNOWN, \
      "etcdserver: re-configuration failed due to not enough started members") \
    X(MEMBER_BAD_URLS,      GRPC_INVALID_ARGUMENT,    "etcdserver: given member URLs are invalid") \
    X(MEMBER_NOT_FOUND,     GRPC_NOT_FOUND,           "etcdserver: member not found") \
    X(MEMBER_NOT_LEARNER,   GRPC_FAILED_PRECONDITION, "etcdserver: can only promote a learner member") \
    X(LEARNER_NOT_READY,    GRPC_FAILED_PRECONDITION, \
      "etcdserver: can only promote a learner member which is in sync with leader") \
    X(TOO_MANY_LEARNERS,    GRPC_FAILED_PRECONDITION, "etcdserver: too many learner members in cluster") \
    X(CLUSTER_ID_MISMATCH,  GRPC_FAILED_PRECONDITION, "etcdserver: cluster ID mismatch") \
    X(REQUEST_TOO_LARGE,    GRPC_INVALID_ARGUMENT,    "etcdserver: request is too large") \
    X(TOO_MANY_REQUESTS,    GRPC_UNKNOWN,             "etcdserver: too many requests") \
    X(NO_LEADER,            GRPC_UNAVAILABLE,         "etcdserver: no leader") \
    X(NOT_LEADER,           GRPC_FAILED_PRECONDITION, "etcdserver: not leader") \
    X(LEADER_CHANGED,       GRPC_UNAVAILABLE,         "etcdserver: leader changed") \
    X(NOT_CAPABLE,          GRPC_FAILED_PRECONDITION, "etcdserver: not capable") \
    X(STOPPED,              GRPC_UNAVAILABLE,         "etcdserver: server stopped") \
    X(TIMEOUT,              GRPC_UNAVAILABLE,         "etcdserver: request timed out") \
    X(TIMEOUT_LEADER_FAIL,  GRPC_UNAVAILABLE, \
      "etcdserver: request timed out, possibly due to previous leader failure") \
    X(TIMEOUT_CONNECTION_LOST, GRPC_UNAVAILABLE, \
      "etcdserver: request timed out, possibly due to connection lost") \
    X(TIMEOUT_APPLIED,      GRPC_UNAVAILABLE, \
      "etcdserver: request timed out, waiting for the applied index took too long") \
    X(UNHEALTHY,            GRPC_UNAVAILABLE,         "etcdserver: unhealthy cluster") \
    X(CORRUPT,              GRPC_DATA_LOSS,           "etcdserver: corrupt cluster") \
    X(NOT_SUPPORTED_FOR_LEARNER, GRPC_FAILED_PRECONDITION, "etcdserver: rpc not supported for learner") \
    X(BAD_LEADER_TRANSFEREE, GRPC_FAILED_PRECONDITION, "etcdserver: bad leader transferee") \
    X(CANCELED,             GRPC_CANCELLED,           "context canceled") \
    X(DEADLINE_EXCEEDED,    GRPC_DEADLINE_EXCEEDED,   "context deadline exceeded") \
    X(STREAM_SORT,          GRPC_UNIMPLEMENTED,       "RangeStream does not support custom sort orders") \
    X(STREAM_FILTER,        GRPC_UNIMPLEMENTED,       "RangeStream does not support revision filters") \
    X(BUSY,                 GRPC_RESOURCE_EXHAUSTED,  "etcdserver: answers under construction exceed their memory budget") \
    X(TIMEOUT_LEADER_TRANSFER, GRPC_UNKNOWN, \
      "etcdserver: request timed out, leader transfer took too long") \
    X(SUBSCRIPTION_MALFORMED, GRPC_INVALID_ARGUMENT,  "quoral: the subscription is malformed") \
    X(SUBSCRIPTION_REFUSED, GRPC_RESOURCE_EXHAUSTED,  "quoral: too many subscriptions are registered, or it is too long") \
    X(BEHIND,               GRPC_UNAVAILABLE,         "quoral: the store of this member is behind the requested revision")
/* clang-format on */

typedef enum {
#define X(name, code, text) API_##name,
    API_ERRORS(X)
#undef X
        API_ERRORS_COUNT
} api_error_t;

grpc_code_t api_error_code(api_error_t error);
const char *api_error_text(api_error_t error);
