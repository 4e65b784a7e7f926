/* One entry: which operation it is, and what becomes of its answer. */
#include <inttypes.h>

#include "actors/applier/applier_state.h"
#include "messages/xalloc.h"

void results_add(results_t *self, const result_t *result)
{
    self->items = xgrow(self->items, &self->capacity, self->count + 1, sizeof *self->items);
    self->items[self->count++] = *result;
}

void results_send(results_t *self, unsigned gateway, outbox_t *out)
{
    if (self->count) {
        msg_t *msg = msg_new(MSG_RESULT);
        msg->u.result = (msg_result_t){.items = self->items, .count = self->count};
        *self = (results_t){0};
        outbox_put(out, gateway_at(gateway), &msg);
    }
}

static int apply_operation(applier_t *self, const envelope_t *envelope, answer_t *answer)
{
    switch (envelope->op) {
    case OP_PUT: return apply_put(self, envelope->request, answer);
    case OP_DELETE_RANGE: return apply_delete_range(self, envelope->request, answer);
    case OP_TXN: return apply_txn(self, envelope->request, answer);
    case OP_COMPACTION: return apply_compaction(self, envelope->request, answer);
    case OP_LEASE_GRANT: return apply_lease_grant(self, envelope->request, answer);
    case OP_LEASE_REVOKE: return apply_lease_revoke(self, envelope->request, answer);
    case OP_CLUSTER_VERSION_SET: return apply_cluster_version(self, envelope->request);
    case OP_MEMBER_ATTR_SET: return apply_member_attributes(self, envelope->request);
    }
    return APPLY_MALFORMED; /* another version's operation: skipping it would make members differ */
}

static histogram_t duration_of(uint32_t op)
{
    switch (op) {
    case OP_PUT: return HISTOGRAM_APPLY_PUT;
    case OP_DELETE_RANGE: return HISTOGRAM_APPLY_DELETE_RANGE;
    case OP_TXN: return HISTOGRAM_APPLY_TXN;
    case OP_COMPACTION: return HISTOGRAM_APPLY_COMPACTION;
    case OP_LEASE_GRANT: return HISTOGRAM_APPLY_LEASE_GRANT;
    case OP_LEASE_REVOKE: return HISTOGRAM_APPLY_LEASE_REVOKE;
    case OP_CLUSTER_VERSION_SET: return HISTOGRAM_APPLY_VERSION_SET;
    case OP_MEMBER_ATTR_SET: return HISTOGRAM_APPLY_ATTR_SET;
    }
    return HISTOGRAM_COUNT;
}

/* One reading per entry: where the one before ended, this one began. */
static void measure(applier_t *self, uint32_t op, api_error_t error)
{
    uint64_t since_us = self->clock_us;
    self->clock_us = metrics_clock_us(self->metrics, since_us);
    bool success = error == API_NONE || error == API_COMPACTED; /* as etcd sees it */
    metrics_observe_outcome(self->metrics, duration_of(op), success, self->clock_us - since_us);
}

static void add_result(applier_t *self, const envelope_t *envelope, answer_t *answer)
{
    const mvcc_head_t *head = mvcc_current(self->mvcc);
    result_t result = {
        .req_id = envelope->request_id,
        .error = answer->error,
        .revision = head->revision,
        .body = answer->body.len && !answer->error ? buf_bytes(&answer->body) : NULL,
    };
    self->result_bytes += bytes_len(result.body);
    if (answer->until_compacted && !answer->error) {
        compaction_hold(self, answer->gateway, &result, head->compacted);
        return;
    }
    results_add(&self->results[answer->gateway], &result);
}

static answer_t *begin_answer(applier_t *self, const envelope_t *asked)
{
    answer_t *answer = &self->answer;
    answer->gateway = 0;
    while (answer->gateway < GATEWAY_COUNT &&
           (asked->origin == 0 || self->cfg.origins[answer->gateway] != asked->origin)) {
        answer->gateway++;
    }
    answer->wanted = self->restore.phase == RESTORE_SERVING && answer->gateway < GATEWAY_COUNT;
    answer->error = API_NONE;
    answer->until_compacted = false;
    buf_clear(&answer->body);
    return answer;
}

/* The answer is empty: the gateway lists the members itself. */
static int apply_change_of_members(applier_t *self, const entry_t *entry)
{
    envelope_t asked = {0};
    int rc = apply_configuration(self, bytes_slice(entry->payload), &asked);
    if (rc) {
        return rc;
    }
    mvcc_entry_end(self->mvcc);
    answer_t *answer = begin_answer(self, &asked);
    if (answer->wanted) {
        add_result(self, &asked, answer);
    }
    return 0;
}

static int apply_normal(applier_t *self, const entry_t *entry)
{
    slice_t payload = bytes_slice(entry->payload);
    if (payload.len == 0) { /* a leader's first entry */
        mvcc_entry_end(self->mvcc);
        return 0;
    }
    envelope_t envelope;
    if (envelope_decode(payload, &envelope)) {
        return APPLY_MALFORMED;
    }
    answer_t *answer = begin_answer(self, &envelope);
    int rc = apply_operation(self, &envelope, answer);
    if (rc) {
        return rc;
    }
    mvcc_entry_end(self->mvcc);
    measure(self, envelope.op, answer->error);
    if (answer->wanted) {
        add_result(self, &envelope, answer);
    }
    return 0;
}

bool apply_entry(applier_t *self, const entry_t *entry, outbox_t *out)
{
    mvcc_entry_begin(self->mvcc, entry->index, entry->term);
    int rc = apply_first_members(self);
    if (rc == 0) {
        rc = entry->type == ENTRY_CONFIGURATION ? apply_change_of_members(self, entry)
                                                : apply_normal(self, entry);
    }
    if (rc > 0) {
        self->failed = true;
        outbox_fatal(out,
                     "entry %" PRIu64 " of term %" PRIu64
                     " is not one that this version can apply; nothing after it is applied",
                     entry->index, entry->term);
    } else if (rc < 0) {
        applier_fail(self, out, rc);
    }
    return rc == 0;
}
