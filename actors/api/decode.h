/* decode: the API's requests from untrusted bytes. Pure.
 * Flat requests (no message inside) are read straight off the wire: nothing is allocated, slices
 * point into the input, later fields win as protobuf wants it. Txn goes through protobuf-c into an
 * arena with a cap, after messages/scan.h has bounded its depth and its number of fields. */
#pragma once

#include <etcd/rpc.pb-c.h>

#include "messages/limits.h"
#include "messages/native_event.h"
#include "messages/slice.h"
#include "store/mvcc.h"

enum { DECODE_MALFORMED = 1, DECODE_TOO_LARGE = 2 };

/* Enums are kept as they came: which numbers exist is validation's business. */
typedef struct {
    slice_t key, range_end;
    int64_t limit, revision;
    int32_t sort_order, sort_target;
    bool serializable, keys_only, count_only;
    int64_t min_mod_revision, max_mod_revision, min_create_revision, max_create_revision;
} range_request_t;

typedef struct {
    slice_t key, value;
    int64_t lease;
    bool prev_kv, ignore_value, ignore_lease;
} put_request_t;

typedef struct {
    slice_t key, range_end;
    bool prev_kv;
} delete_range_request_t;

typedef struct {
    int64_t ttl_s, id;
} lease_grant_request_t;

typedef struct {
    int64_t id;
    bool keys;
} lease_request_t; /* LeaseRevoke, LeaseKeepAlive, LeaseTimeToLive */

typedef struct {
    int32_t action, alarm;
} alarm_request_t;

typedef struct {
    slice_t key, range_end;
    int64_t start_revision, watch_id;
    uint32_t filters; /* bit set of 1 << FilterType */
    bool progress_notify, prev_kv, fragment;
} watch_create_request_t;

typedef struct {
    slice_t subscription;
    int64_t min_revision;
    uint64_t cluster_id;
    bool serializable;
} snapshot_request_t; /* Native/Snapshot */

typedef struct {
    slice_t subscription;
    native_position_t after, through;
    bool has_through;
    uint64_t cluster_id;
} events_request_t; /* Native/Events */

typedef enum {
    WATCH_REQUEST_NONE,
    WATCH_REQUEST_CREATE,
    WATCH_REQUEST_CANCEL,
    WATCH_REQUEST_PROGRESS
} watch_request_type_t;

typedef struct {
    watch_request_type_t type;
    watch_create_request_t create;
    int64_t cancel_id;
} watch_request_t;

typedef struct {
    uint64_t id;
    slice_t urls[LIMIT_URLS];
    size_t url_count; /* above LIMIT_URLS: only the first ones are there */
    bool is_learner;
} member_request_t; /* MemberAdd: no id; MemberUpdate */

/* All: 0 or DECODE_MALFORMED. *out is overwritten. As in protobuf everywhere, unknown fields, and
 * known ones of another wire type, are skipped. */
int decode_range(slice_t in, range_request_t *out) __attribute__((warn_unused_result));
int decode_put(slice_t in, put_request_t *out) __attribute__((warn_unused_result));
int decode_delete_range(slice_t in, delete_range_request_t *out)
    __attribute__((warn_unused_result));
int decode_compaction(slice_t in) __attribute__((warn_unused_result)); /* is it well-formed? */
int decode_lease_grant(slice_t in, lease_grant_request_t *out) __attribute__((warn_unused_result));
int decode_lease(slice_t in, lease_request_t *out) __attribute__((warn_unused_result));
int decode_watch(slice_t in, watch_request_t *out) __attribute__((warn_unused_result));
int decode_alarm(slice_t in, alarm_request_t *out) __attribute__((warn_unused_result));
int decode_member_list(slice_t in, bool *linearizable) __attribute__((warn_unused_result));
int decode_member_add(slice_t in, member_request_t *out) __attribute__((warn_unused_result));
int decode_member_update(slice_t in, member_request_t *out) __attribute__((warn_unused_result));
/* Messages of one number: MemberRemove, MemberPromote, MoveLeader, HashKV. */
int decode_number(slice_t in, uint64_t *out) __attribute__((warn_unused_result));
int decode_snapshot(slice_t in, snapshot_request_t *out) __attribute__((warn_unused_result));
int decode_events(slice_t in, events_request_t *out) __attribute__((warn_unused_result));
int decode_health(slice_t in, slice_t *service) __attribute__((warn_unused_result));
int decode_empty(slice_t in) __attribute__((warn_unused_result)); /* a message without fields */

/* The same request, once from a Txn and once for the store. Slices are borrowed. */
void range_from_pb(range_request_t *out, const Etcdserverpb__RangeRequest *pb);
void range_to_mvcc(mvcc_range_t *out, const range_request_t *request);

/* A Txn and the arena it lives in. If it came in unusual form (canon.h) it has been rewritten. */
typedef struct txn txn_t;
/* 0, DECODE_MALFORMED or DECODE_TOO_LARGE (too deep, too many fields, too much memory). */
int txn_decode(txn_t **self_p, slice_t in) __attribute__((warn_unused_result));
void txn_destroy(txn_t **self_p);
const Etcdserverpb__TxnRequest *txn_request(const txn_t *self);
/* Its bytes in plain form, as long as it and the bytes it was decoded from live. */
slice_t txn_plain(const txn_t *self);
