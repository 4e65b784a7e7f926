/* Lease grants and revocations (contract section 5). The lease actor hears of both, in log order. */
#include "actors/applier/applier_state.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

static void note(applier_t *self, lease_change_type_t type, int64_t id, int64_t ttl_s)
{
    self->lease_changes = xgrow(self->lease_changes, &self->lease_change_capacity,
                                self->lease_change_count + 1, sizeof *self->lease_changes);
    self->lease_changes[self->lease_change_count++] =
        (lease_change_t){.type = type, .id = id, .ttl_s = ttl_s};
}

/* The gateway has chosen an id and raised the TTL to the minimum before it proposed: both are in the
 * entry, so that every member applies the same. */
int apply_lease_grant(applier_t *self, slice_t request, answer_t *answer)
{
    op_numbers_t op;
    if (op_numbers_decode(request, &op)) {
        return APPLY_MALFORMED;
    }
    int64_t ttl_s = op.first;
    int64_t id = op.second;
    if (id == 0) {
        answer->error = API_LEASE_NOT_FOUND;
        return 0;
    }
    if (ttl_s > LIMIT_LEASE_TTL_S) {
        answer->error = API_LEASE_TTL_TOO_LARGE;
        return 0;
    }
    int rc = mvcc_lease_grant(self->mvcc, id, ttl_s < 0 ? 0 : ttl_s);
    if (rc) {
        answer->error = rc > 0 ? (api_error_t)rc : API_NONE;
        return rc < 0 ? rc : 0;
    }
    note(self, LEASE_GRANTED, id, ttl_s < 0 ? 0 : ttl_s);
    metrics_add(self->metrics, METRIC_LEASES_GRANTED, 1);
    metrics_observe(self->metrics, HISTOGRAM_LEASE_TTL, ttl_s < 0 ? 0 : (uint64_t)ttl_s);
    if (answer->wanted) {
        buf_field_u64(&answer->body, 2, (uint64_t)id);
        buf_field_u64(&answer->body, 3, (uint64_t)ttl_s);
    }
    return 0;
}

int apply_lease_revoke(applier_t *self, slice_t request, answer_t *answer)
{
    op_numbers_t op;
    if (op_numbers_decode(request, &op)) {
        return APPLY_MALFORMED;
    }
    size_t before = mvcc_change_count(self->mvcc);
    int rc = mvcc_lease_revoke(self->mvcc, op.first);
    if (rc) {
        answer->error = rc > 0 ? (api_error_t)rc : API_NONE;
        return rc < 0 ? rc : 0;
    }
    note(self, LEASE_REVOKED, op.first, 0);
    metrics_add(self->metrics, METRIC_LEASES_REVOKED, 1);
    metrics_add(self->metrics, METRIC_DELETES, mvcc_change_count(self->mvcc) - before);
    return 0;
}
