/* envelope: what a log entry holds: InternalRaftRequest, read by hand. Pure; allocates nothing. */
#pragma once

#include "messages/operations.h"
#include "messages/slice.h"

typedef struct {
    uint64_t origin;     /* which run of which member proposed it; 0 = nobody waits */
    uint64_t request_id; /* within that run */
    uint32_t op;         /* of messages/operations.h, or what we do not know */
    slice_t request;     /* the operation's message */
} envelope_t;

enum { ENVELOPE_MALFORMED = 1 };

/* 0 or ENVELOPE_MALFORMED: not a message, no operation or more than one. */
int envelope_decode(slice_t payload, envelope_t *out) __attribute__((warn_unused_result));

/* The flat operations. 0 or ENVELOPE_MALFORMED; slices point into the request. */
typedef struct {
    slice_t key, value;
    int64_t lease;
    bool prev_kv, ignore_value, ignore_lease;
} op_put_t;
int op_put_decode(slice_t request, op_put_t *out) __attribute__((warn_unused_result));

typedef struct {
    slice_t key, range_end;
    bool prev_kv;
} op_delete_range_t;
int op_delete_range_decode(slice_t request, op_delete_range_t *out)
    __attribute__((warn_unused_result));

/* Messages of up to two numbers: CompactionRequest {revision, physical}, LeaseGrantRequest
 * {TTL, ID}, LeaseRevokeRequest {ID}. */
typedef struct {
    int64_t first, second; /* fields 1 and 2 */
} op_numbers_t;
int op_numbers_decode(slice_t request, op_numbers_t *out) __attribute__((warn_unused_result));
