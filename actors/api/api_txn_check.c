/* Validation of transactions, as etcd does it before anything is proposed.
 * The functions call themselves for nested transactions: their depth was bounded by decoding. */
#include "actors/api/api_txn.h"

typedef Etcdserverpb__RequestOp op_t;

static slice_t key_of(ProtobufCBinaryData data)
{
    return slice(data.data, data.len);
}

static api_error_t check_range_op(const Etcdserverpb__RangeRequest *pb)
{
    range_request_t range;
    range_from_pb(&range, pb);
    return api_check_range(&range);
}

static api_error_t check_put_op(const Etcdserverpb__PutRequest *pb)
{
    put_request_t put = {.key = key_of(pb->key),
                         .value = key_of(pb->value),
                         .lease = pb->lease,
                         .ignore_value = pb->ignore_value,
                         .ignore_lease = pb->ignore_lease};
    return api_check_put(&put);
}

/* An operation without content is "key not found" in etcd. */
static api_error_t check_op(const op_t *op, size_t max_ops)
{
    switch (op->request_case) {
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE: return check_range_op(op->request_range);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT: return check_put_op(op->request_put);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
        return op->request_delete_range->key.len ? API_NONE : API_EMPTY_KEY;
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN:
        return api_check_txn(op->request_txn, max_ops);
    default: return API_KEY_NOT_FOUND;
    }
}

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

api_error_t api_check_txn(const Etcdserverpb__TxnRequest *txn, size_t max_ops)
{
    size_t ops = max_size(txn->n_compare, max_size(txn->n_success, txn->n_failure));
    if (ops > max_ops) {
        return API_TOO_MANY_OPS;
    }
    for (size_t i = 0; i < txn->n_compare; i++) {
        if (txn->compare[i]->key.len == 0) {
            return API_EMPTY_KEY;
        }
    }
    api_error_t error = API_NONE;
    for (size_t i = 0; !error && i < txn->n_success; i++) {
        error = check_op(txn->success[i], max_ops - ops);
    }
    for (size_t i = 0; !error && i < txn->n_failure; i++) {
        error = check_op(txn->failure[i], max_ops - ops);
    }
    return error;
}
