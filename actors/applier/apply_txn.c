/* Transactions (contract section 3.4), in three passes over the request:
 *
 *   choose    all compares, also those of nested transactions, against the state before; the
 *             outcomes, in the order in which the passes come along them, are the path
 *   check     what may be refused on that path; nothing has been changed yet
 *   execute   the operations in order, each seeing the effects of those before
 *
 * The passes recurse into nested transactions: at most LIMIT_MESSAGE_DEPTH / 2 levels. */
#include <etcd/rpc.pb-c.h>

#include <assert.h>
#include <stdlib.h>

#include "actors/applier/applier_state.h"
#include "messages/limits.h"
#include "messages/scan.h"
#include "messages/xalloc.h"
#include "store/mvcc_compare.h"
#include "store/mvcc_read.h"

/* Field numbers of TxnResponse, of its ResponseOp and of the answers in it. */
enum {
    ANSWER_HEADER = 1,
    HEADER_REVISION = 3,
    TXN_SUCCEEDED = 2,
    TXN_RESPONSES = 3,
    OP_ANSWER_RANGE = 1,
    OP_ANSWER_PUT = 2,
    OP_ANSWER_DELETE_RANGE = 3,
    OP_ANSWER_TXN = 4
};

typedef struct {
    applier_t *applier;
    bool wanted; /* build the answer */
    bool *path;  /* outcome of each transaction's compares */
    size_t path_len, path_capacity;
    size_t path_next; /* in check and execute: the next transaction's outcome */
    size_t operations;
    bool too_large; /* the answer is; what the transaction does is done all the same */
} run_t;

static slice_t pb_slice(ProtobufCBinaryData data)
{
    return slice(data.data, data.len);
}

typedef struct {
    Etcdserverpb__RequestOp **ops;
    size_t count;
} branch_t;

static branch_t branch_of(const Etcdserverpb__TxnRequest *txn, bool succeeded)
{
    return succeeded ? (branch_t){txn->success, txn->n_success}
                     : (branch_t){txn->failure, txn->n_failure};
}

/* ---- choose ---- */

typedef struct {
    const Etcdserverpb__Compare *compare;
    bool found;
    bool holds;
} compare_all_t;

static int compare_one(void *context, slice_t key, const mvcc_record_t *record)
{
    (void)key;
    compare_all_t *all = context;
    all->found = true;
    all->holds = mvcc_compare_holds(all->compare, record);
    return all->holds ? 0 : MVCC_MORE_WORK; /* stops at the first that does not */
}

static int evaluate(const run_t *run, const Etcdserverpb__Compare *compare, bool *outcome)
{
    mvcc_interval_t interval = {.key = pb_slice(compare->key),
                                .range_end = pb_slice(compare->range_end)};
    compare_all_t all = {.compare = compare};
    int rc = mvcc_each(mvcc_reader(run->applier->mvcc), &interval, compare_one, &all);
    *outcome = all.found ? all.holds : mvcc_compare_holds(compare, NULL);
    return rc < 0 ? rc : 0;
}

static int choose(run_t *run, const Etcdserverpb__TxnRequest *txn)
{
    bool succeeded = true;
    for (size_t i = 0; succeeded && i < txn->n_compare; i++) {
        int rc = evaluate(run, txn->compare[i], &succeeded);
        if (rc) {
            return rc;
        }
    }
    run->path = xgrow(run->path, &run->path_capacity, run->path_len + 1, sizeof *run->path);
    run->path[run->path_len++] = succeeded;
    branch_t branch = branch_of(txn, succeeded);
    for (size_t i = 0; i < branch.count; i++) {
        if (branch.ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN) {
            int rc = choose(run, branch.ops[i]->request_txn);
            if (rc) {
                return rc;
            }
        }
    }
    return 0;
}

static bool next_outcome(run_t *run)
{
    assert(run->path_next < run->path_len);
    return run->path[run->path_next++];
}

/* ---- check ---- */

static mvcc_put_t put_of(const Etcdserverpb__PutRequest *put)
{
    return (mvcc_put_t){
        .key = pb_slice(put->key),
        .value = pb_slice(put->value),
        .lease = put->lease,
        .ignore_value = put->ignore_value,
        .ignore_lease = put->ignore_lease,
    };
}

/* Only 0 means "now": a negative revision is compared like any other. */
static int check_range(const run_t *run, const Etcdserverpb__RangeRequest *range)
{
    const mvcc_head_t *head = mvcc_current(run->applier->mvcc);
    if (range->revision > head->revision) {
        return API_FUTURE_REVISION;
    }
    return range->revision != 0 && range->revision < head->compacted ? API_COMPACTED : 0;
}

static int check(run_t *run, const Etcdserverpb__TxnRequest *txn)
{
    branch_t branch = branch_of(txn, next_outcome(run));
    for (size_t i = 0; i < branch.count; i++) {
        const Etcdserverpb__RequestOp *op = branch.ops[i];
        int rc = 0;
        if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE) {
            rc = check_range(run, op->request_range);
        } else if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT) {
            mvcc_put_t put = put_of(op->request_put);
            rc = mvcc_put_check(run->applier->mvcc, &put);
        } else if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN) {
            rc = check(run, op->request_txn);
        }
        if (rc) {
            return rc;
        }
    }
    return 0;
}

/* ---- execute ---- */

/* The revision that something read at this moment of the transaction is of. */
static int64_t revision_now(const run_t *run)
{
    const mvcc_t *mvcc = run->applier->mvcc;
    return mvcc_entry_changed(mvcc) ? mvcc_entry_revision(mvcc) : mvcc_current(mvcc)->revision;
}

static void append_header(buf_t *out, int64_t revision)
{
    buf_field_header(out, ANSWER_HEADER, 1 + varint_size((uint64_t)revision));
    buf_field_u64(out, HEADER_REVISION, (uint64_t)revision);
}

/* In slices, only to see whether the answer stays within what an answer may take. */
static int read_range(run_t *run, const mvcc_head_t *head, const mvcc_range_t *range, buf_t *out)
{
    static const mvcc_budget_t budget = {.keys = LIMIT_RANGE_SLICE_KEYS,
                                         .bytes = LIMIT_RANGE_SLICE_BYTES};
    mvcc_cursor_t *cursor = NULL;
    int rc = mvcc_cursor_new(&cursor, mvcc_reader(run->applier->mvcc), head, range);
    if (rc) {
        return rc;
    }
    do {
        rc = mvcc_cursor_step(cursor, budget, out);
        run->too_large = out->len + mvcc_cursor_held_bytes(cursor) > LIMIT_ANSWER_BYTES;
    } while (rc == MVCC_MORE_WORK && !run->too_large);
    if (rc == 0) {
        buf_field_u64(out, 3, mvcc_cursor_more(cursor));
        buf_field_u64(out, 4, (uint64_t)mvcc_cursor_count(cursor));
    }
    mvcc_cursor_destroy(&cursor);
    return rc < 0 ? rc : 0;
}

static int execute_range(run_t *run, const Etcdserverpb__RangeRequest *pb, buf_t *out)
{
    metrics_add(run->applier->metrics, METRIC_RANGES, 1);
    if (!run->wanted) {
        return 0;
    }
    mvcc_range_t range = {
        .interval = {.key = pb_slice(pb->key), .range_end = pb_slice(pb->range_end)},
        .limit = pb->limit,
        .revision = pb->revision,
        .sort_order = (mvcc_sort_order_t)pb->sort_order,
        .sort_target = (mvcc_sort_target_t)pb->sort_target,
        .keys_only = pb->keys_only,
        .count_only = pb->count_only,
        .min_mod_revision = pb->min_mod_revision,
        .max_mod_revision = pb->max_mod_revision,
        .min_create_revision = pb->min_create_revision,
        .max_create_revision = pb->max_create_revision,
    };
    mvcc_head_t head = *mvcc_current(run->applier->mvcc);
    head.revision = revision_now(run);
    append_header(out, head.revision);
    return read_range(run, &head, &range, out);
}

static int execute_put(run_t *run, const Etcdserverpb__PutRequest *pb, buf_t *out)
{
    mvcc_put_t put = put_of(pb);
    metrics_add(run->applier->metrics, METRIC_PUTS, 1);
    metrics_add(run->applier->metrics, METRIC_PUT_BYTES, put.key.len + put.value.len);
    bool existed = false;
    buf_t prev = {0};
    int rc =
        mvcc_put(run->applier->mvcc, &put, run->wanted && pb->prev_kv ? &prev : NULL, &existed);
    if (run->wanted) {
        append_header(out, revision_now(run));
        if (existed && pb->prev_kv) {
            buf_field_bytes(out, 2, buf_slice(&prev));
        }
    }
    buf_deinit(&prev);
    return rc;
}

static int execute_delete_range(run_t *run, const Etcdserverpb__DeleteRangeRequest *pb, buf_t *out)
{
    metrics_add(run->applier->metrics, METRIC_DELETES, 1);
    mvcc_interval_t interval = {.key = pb_slice(pb->key), .range_end = pb_slice(pb->range_end)};
    int64_t deleted = 0;
    buf_t prev_kvs = {0};
    int rc = mvcc_delete_range(run->applier->mvcc, &interval, &deleted,
                               run->wanted && pb->prev_kv ? &prev_kvs : NULL);
    if (run->wanted) {
        append_header(out, revision_now(run));
        buf_field_u64(out, 2, (uint64_t)deleted);
        buf_append(out, prev_kvs.data, prev_kvs.len);
    }
    buf_deinit(&prev_kvs);
    return rc;
}

static int execute(run_t *run, const Etcdserverpb__TxnRequest *txn, buf_t *out);

/* The header of a nested transaction's answer is there and empty. */
static int execute_txn(run_t *run, const Etcdserverpb__TxnRequest *txn, buf_t *out)
{
    buf_field_header(out, ANSWER_HEADER, 0);
    return execute(run, txn, out);
}

/* One operation; its answer is appended as a ResponseOp. */
static int execute_op(run_t *run, const Etcdserverpb__RequestOp *op, buf_t *out)
{
    buf_t answer = {0};
    uint32_t field = 0;
    int rc = 0;
    switch (op->request_case) {
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
        field = OP_ANSWER_RANGE;
        rc = execute_range(run, op->request_range, &answer);
        break;
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
        field = OP_ANSWER_PUT;
        rc = execute_put(run, op->request_put, &answer);
        break;
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
        field = OP_ANSWER_DELETE_RANGE;
        rc = execute_delete_range(run, op->request_delete_range, &answer);
        break;
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN:
        field = OP_ANSWER_TXN;
        rc = execute_txn(run, op->request_txn, &answer);
        break;
    default: break; /* gateways refuse it; an empty answer keeps the order */
    }
    run->operations++;
    if (run->too_large || out->len + answer.len > LIMIT_ANSWER_BYTES) {
        run->too_large = true;
        run->wanted = false;
        buf_clear(out);
    }
    if (run->wanted) {
        size_t tag_and_len = field ? 1 + varint_size(answer.len) : 0;
        buf_field_header(out, TXN_RESPONSES, tag_and_len + answer.len);
        if (field) {
            buf_field_bytes(out, field, buf_slice(&answer));
        }
    }
    buf_deinit(&answer);
    return rc;
}

static int execute(run_t *run, const Etcdserverpb__TxnRequest *txn, buf_t *out)
{
    bool succeeded = next_outcome(run);
    if (run->wanted) {
        buf_field_u64(out, TXN_SUCCEEDED, succeeded);
    }
    branch_t branch = branch_of(txn, succeeded);
    for (size_t i = 0; i < branch.count; i++) {
        int rc = execute_op(run, branch.ops[i], out);
        if (rc) {
            return rc;
        }
    }
    return 0;
}

static int run_all(run_t *run, const Etcdserverpb__TxnRequest *txn, answer_t *answer)
{
    int rc = choose(run, txn);
    if (rc == 0) {
        rc = check(run, txn);
        answer->error = rc > 0 ? (api_error_t)rc : API_NONE;
    }
    if (rc) {
        return rc < 0 ? rc : 0;
    }
    run->path_next = 0;
    rc = execute(run, txn, &answer->body);
    if (run->operations > 1) {
        metrics_add(run->applier->metrics, METRIC_TXNS, 1);
    }
    answer->error = run->too_large ? API_BUSY : API_NONE;
    return rc > 0 ? KV_ECORRUPT : rc; /* what check has let through cannot be refused */
}

int apply_txn(applier_t *self, slice_t request, answer_t *answer)
{
    static const scan_limits_t limits = {.depth = LIMIT_MESSAGE_DEPTH,
                                         .fields = LIMIT_MESSAGE_FIELDS};
    if (scan_message(request, &etcdserverpb__txn_request__descriptor, &limits)) {
        return APPLY_MALFORMED;
    }
    Etcdserverpb__TxnRequest *txn =
        etcdserverpb__txn_request__unpack(NULL, request.len, request.data);
    if (!txn) {
        return APPLY_MALFORMED;
    }
    run_t run = {.applier = self, .wanted = answer->wanted};
    int rc = run_all(&run, txn, answer);
    free(run.path);
    etcdserverpb__txn_request__free_unpacked(txn, NULL);
    return rc;
}
