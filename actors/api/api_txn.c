/* Txn: those that may write are validated and proposed; those that only read are evaluated here, on
 * one view: compares, then the ranges of the chosen branch, in slices like any other read. */
#include "actors/api/api_txn.h"

#include <assert.h>
#include <stdlib.h>

#include "actors/api/api_compare.h"
#include "actors/api/api_range.h"
#include "messages/xalloc.h"

enum { TXN_SUCCEEDED = 2, TXN_RESPONSES = 3, RESPONSE_OP_RANGE = 1 };

struct txn_job {
    txn_t *txn;
    view_t *view;
    size_t next_compare;
    bool failed;
    bool compared;
    size_t next_op;
    compare_run_t compare; /* the one that is being evaluated */
    mvcc_cursor_t *cursor; /* of the range that is being read */
    buf_t range;           /* its RangeResponse */
    buf_t responses;
    size_t charged;
};

void txn_job_destroy(api_t *self, txn_job_t **job_p)
{
    txn_job_t *job = *job_p;
    *job_p = NULL;
    if (!job) {
        return;
    }
    compare_run_deinit(&job->compare);
    mvcc_cursor_destroy(&job->cursor);
    view_unref(&job->view);
    api_charge(self, job->charged, 0);
    buf_deinit(&job->range);
    buf_deinit(&job->responses);
    txn_destroy(&job->txn);
    free(job);
}

/* ---- may it write? must it wait? ---- */

typedef struct {
    bool reads_only;
    bool serializable;
} txn_kind_t;

static void look_at(txn_kind_t *kind, Etcdserverpb__RequestOp *const *ops, size_t count)
{
    for (size_t i = 0; i < count && kind->reads_only; i++) {
        if (ops[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE) {
            kind->reads_only = false;
        } else if (!ops[i]->request_range->serializable) {
            kind->serializable = false;
        }
    }
}

static txn_kind_t kind_of(const Etcdserverpb__TxnRequest *txn)
{
    txn_kind_t kind = {.reads_only = true, .serializable = true};
    look_at(&kind, txn->success, txn->n_success);
    look_at(&kind, txn->failure, txn->n_failure);
    return kind;
}

void api_on_txn(api_t *self, call_t *call, bytes_t **message_p)
{
    txn_t *txn = NULL;
    int rc = txn_decode(&txn, bytes_slice(*message_p));
    if (rc == DECODE_MALFORMED) {
        api_fail_decode(self, call);
        return;
    }
    if (rc == DECODE_TOO_LARGE) {
        api_fail(self, call, API_TOO_MANY_OPS);
        return;
    }
    api_error_t error = api_check_txn(txn_request(txn), self->cfg.max_txn_ops);
    if (!error) {
        error = api_check_txn_writes(txn_request(txn));
    }
    txn_kind_t kind = kind_of(txn_request(txn));
    if (error) {
        api_fail(self, call, error);
    } else if (!kind.reads_only) {
        api_propose(self, call, OP_TXN, txn_plain(txn));
    } else {
        call->txn_job = xcalloc(1, sizeof *call->txn_job);
        call->txn_job->txn = txn;
        txn = NULL;
        api_read_soon(self, call, kind.serializable);
    }
    txn_destroy(&txn);
}

/* ---- reading ---- */

typedef struct {
    Etcdserverpb__RequestOp *const *ops;
    size_t count;
} branch_t;

static branch_t chosen_branch(const txn_job_t *job)
{
    const Etcdserverpb__TxnRequest *txn = txn_request(job->txn);
    return job->failed ? (branch_t){txn->failure, txn->n_failure}
                       : (branch_t){txn->success, txn->n_success};
}

/* Unlike elsewhere a negative revision is one that is compacted, once anything is (contract 3.4). */
static api_error_t check_revisions(const txn_job_t *job, branch_t branch)
{
    const mvcc_head_t *head = &job->view->head;
    for (size_t i = 0; i < branch.count; i++) {
        int64_t revision = branch.ops[i]->request_range->revision;
        if (revision > head->revision) {
            return API_FUTURE_REVISION;
        }
        if (revision != 0 && revision < head->compacted) {
            return API_COMPACTED;
        }
    }
    return API_NONE;
}

void api_txn_start(api_t *self, call_t *call)
{
    metrics_add(self->metrics, METRIC_TXNS, 1);
    api_measure(self, call, HISTOGRAM_REQUEST_READONLY_TXN);
    call->txn_job->view = view_ref(self->view);
    api_read_activate(self, call);
}

static bool charge(api_t *self, txn_job_t *job)
{
    size_t before = job->charged;
    size_t held = job->cursor ? mvcc_cursor_held_bytes(job->cursor) : 0;
    job->charged = job->range.capacity + job->responses.capacity + job->compare.kvs.capacity + held;
    return api_charge(self, before, job->charged);
}

/* One slice of compares. 0 = all are known; MVCC_MORE_WORK; < 0. */
static int compare_slice(txn_job_t *job, size_t *keys)
{
    const Etcdserverpb__TxnRequest *txn = txn_request(job->txn);
    while (!job->failed && job->next_compare < txn->n_compare) {
        if (*keys >= LIMIT_RANGE_SLICE_KEYS) {
            return MVCC_MORE_WORK;
        }
        int rc = compare_run(&job->compare, job->view, txn->compare[job->next_compare], keys);
        if (rc < 0 || rc == MVCC_MORE_WORK) {
            return rc;
        }
        job->failed = rc == COMPARE_FALSE;
        job->next_compare++;
    }
    job->compared = true;
    return 0;
}

static int open_range(txn_job_t *job, const Etcdserverpb__RangeRequest *pb)
{
    range_request_t request;
    mvcc_range_t range;
    range_from_pb(&request, pb);
    range_to_mvcc(&range, &request);
    static const header_t nobody = {0}; /* inner headers carry the revision only */
    buf_clear(&job->range);
    header_append(&nobody, &job->range, job->view->head.revision, 0);
    return mvcc_cursor_new(&job->cursor, job->view->reader, &job->view->head, &range);
}

static void close_range(txn_job_t *job)
{
    range_append_end(&job->range, mvcc_cursor_more(job->cursor), mvcc_cursor_count(job->cursor));
    mvcc_cursor_destroy(&job->cursor);
    size_t op_len = 1 + varint_size(job->range.len) + job->range.len;
    buf_field_header(&job->responses, TXN_RESPONSES, op_len);
    buf_field_bytes(&job->responses, RESPONSE_OP_RANGE, buf_slice(&job->range));
    job->next_op++;
}

/* One slice of ranges. 0 = all are read; MVCC_MORE_WORK; an api_error_t; < 0. */
static int range_slice(txn_job_t *job, size_t *keys)
{
    static const mvcc_budget_t budget = {.keys = LIMIT_RANGE_SLICE_KEYS,
                                         .bytes = LIMIT_RANGE_SLICE_BYTES};
    branch_t branch = chosen_branch(job);
    while (job->next_op < branch.count) {
        if (*keys >= LIMIT_RANGE_SLICE_KEYS) {
            return MVCC_MORE_WORK;
        }
        int rc = job->cursor ? 0 : open_range(job, branch.ops[job->next_op]->request_range);
        if (rc) {
            return rc;
        }
        int64_t before = mvcc_cursor_emitted(job->cursor);
        rc = mvcc_cursor_step(job->cursor, budget, &job->range);
        if (rc) {
            *keys += LIMIT_RANGE_SLICE_KEYS;
            return rc;
        }
        *keys += (size_t)(mvcc_cursor_emitted(job->cursor) - before) + 1;
        close_range(job);
    }
    return 0;
}

static void answer_txn(api_t *self, call_t *call)
{
    txn_job_t *job = call->txn_job;
    buf_t body = {0};
    header_append(&self->header, &body, job->view->head.revision, self->role.term);
    buf_field_u64(&body, TXN_SUCCEEDED, !job->failed);
    buf_append(&body, job->responses.data, job->responses.len);
    bytes_t *answer = buf_bytes(&body);
    buf_deinit(&body);
    api_answer(self, call, &answer);
}

static int slice_of(txn_job_t *job, size_t *keys)
{
    if (!job->compared) {
        int rc = compare_slice(job, keys);
        if (rc) {
            return rc;
        }
        api_error_t error = check_revisions(job, chosen_branch(job));
        if (error) {
            return (int)error;
        }
    }
    return range_slice(job, keys);
}

size_t api_txn_slice(api_t *self, call_t *call)
{
    size_t keys = 1;
    int rc = slice_of(call->txn_job, &keys);
    if (rc < 0) {
        api_broken(self, rc);
        return LIMIT_TURN_KEYS;
    }
    if (!charge(self, call->txn_job)) {
        api_fail(self, call, API_BUSY);
    } else if (rc == 0) {
        answer_txn(self, call);
    } else if (rc != MVCC_MORE_WORK) {
        api_fail(self, call, (api_error_t)rc);
    }
    return keys;
}
