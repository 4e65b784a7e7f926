/* Puts, deletes, compactions (contract sections 3.2, 3.3, 3.5). */
#include "actors/applier/applier_state.h"

int apply_put(applier_t *self, slice_t request, answer_t *answer)
{
    op_put_t op;
    if (op_put_decode(request, &op)) {
        return APPLY_MALFORMED;
    }
    mvcc_put_t put = {
        .key = op.key,
        .value = op.value,
        .lease = op.lease,
        .ignore_value = op.ignore_value,
        .ignore_lease = op.ignore_lease,
    };
    int rc =
        put.lease || put.ignore_value || put.ignore_lease ? mvcc_put_check(self->mvcc, &put) : 0;
    if (rc) {
        answer->error = rc > 0 ? (api_error_t)rc : API_NONE;
        return rc < 0 ? rc : 0;
    }
    metrics_add(self->metrics, METRIC_PUTS, 1);
    metrics_add(self->metrics, METRIC_PUT_BYTES, op.key.len + op.value.len);
    bool existed = false;
    if (!answer->wanted || !op.prev_kv) {
        return mvcc_put(self->mvcc, &put, NULL, &existed);
    }
    buf_t prev = {0};
    rc = mvcc_put(self->mvcc, &put, &prev, &existed);
    if (existed) {
        buf_field_bytes(&answer->body, 2, buf_slice(&prev));
    }
    buf_deinit(&prev);
    return rc;
}

int apply_delete_range(applier_t *self, slice_t request, answer_t *answer)
{
    op_delete_range_t op;
    if (op_delete_range_decode(request, &op)) {
        return APPLY_MALFORMED;
    }
    metrics_add(self->metrics, METRIC_DELETES, 1);
    mvcc_interval_t interval = {.key = op.key, .range_end = op.range_end};
    buf_t prev_kvs = {0};
    int64_t deleted = 0;
    bool want_prev = answer->wanted && op.prev_kv;
    int rc = mvcc_delete_range(self->mvcc, &interval, &deleted, want_prev ? &prev_kvs : NULL);
    if (answer->wanted) {
        buf_field_u64(&answer->body, 2, (uint64_t)deleted);
        buf_append(&answer->body, prev_kvs.data, prev_kvs.len);
    }
    buf_deinit(&prev_kvs);
    return rc;
}

int apply_compaction(applier_t *self, slice_t request, answer_t *answer)
{
    op_numbers_t op;
    if (op_numbers_decode(request, &op)) {
        return APPLY_MALFORMED;
    }
    int rc = mvcc_compact(self->mvcc, op.first);
    if (rc > 0) {
        answer->error = (api_error_t)rc;
        return 0;
    }
    answer->until_compacted = op.second != 0;
    return rc;
}
