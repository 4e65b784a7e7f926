/* -w simple: what people read. */
#include <inttypes.h>

#include "cli/printer.h"

static void print_bytes(printer_t *self, const ProtobufCBinaryData *bytes)
{
    if (self->hex) {
        for (size_t i = 0; i < bytes->len; i++) {
            fprintf(self->out, "\\x%02x", bytes->data[i]);
        }
    } else if (bytes->len > 0) {
        fwrite(bytes->data, 1, bytes->len, self->out);
    }
    fputc('\n', self->out);
}

static void print_kv(printer_t *self, const Mvccpb__KeyValue *kv)
{
    static const ProtobufCBinaryData nothing = {0};
    if (!self->value_only) {
        print_bytes(self, kv != NULL ? &kv->key : &nothing);
    }
    print_bytes(self, kv != NULL ? &kv->value : &nothing);
}

static void simple_range(printer_t *self, const Etcdserverpb__RangeResponse *answer)
{
    for (size_t i = 0; i < answer->n_kvs; i++) {
        print_kv(self, answer->kvs[i]);
    }
}

static void simple_put(printer_t *self, const Etcdserverpb__PutResponse *answer)
{
    fprintf(self->out, "OK\n");
    if (answer->prev_kv != NULL) {
        print_kv(self, answer->prev_kv);
    }
}

static void simple_del(printer_t *self, const Etcdserverpb__DeleteRangeResponse *answer)
{
    fprintf(self->out, "%" PRId64 "\n", answer->deleted);
    for (size_t i = 0; i < answer->n_prev_kvs; i++) {
        print_kv(self, answer->prev_kvs[i]);
    }
}

static void simple_txn(printer_t *self, const Etcdserverpb__TxnResponse *answer)
{
    fprintf(self->out, "%s\n", answer->succeeded ? "SUCCESS" : "FAILURE");
    for (size_t i = 0; i < answer->n_responses; i++) {
        const Etcdserverpb__ResponseOp *op = answer->responses[i];
        fputc('\n', self->out);
        switch (op->response_case) {
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE:
            simple_del(self, op->response_delete_range);
            break;
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT:
            simple_put(self, op->response_put);
            break;
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE:
            simple_range(self, op->response_range);
            break;
        default: fprintf(self->out, "unexpected response\n"); break;
        }
    }
}

static void simple_watch(printer_t *self, const watch_view_t *view)
{
    for (size_t i = 0; i < view->events_n; i++) {
        const Mvccpb__Event *event = view->events[i];
        fprintf(self->out, "%s\n",
                event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE ? "DELETE" : "PUT");
        if (event->prev_kv != NULL) {
            print_kv(self, event->prev_kv);
        }
        print_kv(self, event->kv);
    }
}

static void simple_grant(printer_t *self, const Etcdserverpb__LeaseGrantResponse *answer)
{
    fprintf(self->out, "lease %016" PRIx64 " granted with TTL(%" PRId64 "s)\n",
            (uint64_t)answer->id, answer->ttl);
}

static void simple_revoke(printer_t *self, int64_t id,
                          const Etcdserverpb__LeaseRevokeResponse *answer)
{
    (void)answer;
    fprintf(self->out, "lease %016" PRIx64 " revoked\n", (uint64_t)id);
}

static void simple_keep_alive(printer_t *self, const Etcdserverpb__LeaseKeepAliveResponse *answer)
{
    fprintf(self->out, "lease %016" PRIx64 " keepalived with TTL(%" PRId64 ")\n",
            (uint64_t)answer->id, answer->ttl);
}

static void simple_time_to_live(printer_t *self,
                                const Etcdserverpb__LeaseTimeToLiveResponse *answer, bool keys)
{
    if (answer->grantedttl == 0 && answer->ttl == -1) {
        fprintf(self->out, "lease %016" PRIx64 " already expired\n", (uint64_t)answer->id);
        return;
    }
    fprintf(self->out,
            "lease %016" PRIx64 " granted with TTL(%" PRId64 "s), remaining(%" PRId64 "s)",
            (uint64_t)answer->id, answer->grantedttl, answer->ttl);
    if (keys) {
        fprintf(self->out, ", attached keys([");
        for (size_t i = 0; i < answer->n_keys; i++) {
            fprintf(self->out, "%s", i > 0 ? " " : "");
            if (answer->keys[i].len > 0) {
                fwrite(answer->keys[i].data, 1, answer->keys[i].len, self->out);
            }
        }
        fprintf(self->out, "])");
    }
    fputc('\n', self->out);
}

static void simple_leases(printer_t *self, const Etcdserverpb__LeaseLeasesResponse *answer)
{
    fprintf(self->out, "found %zu leases\n", answer->n_leases);
    for (size_t i = 0; i < answer->n_leases; i++) {
        fprintf(self->out, "%016" PRIx64 "\n", (uint64_t)answer->leases[i]->id);
    }
}

static void print_rows(printer_t *self, cells_t cells)
{
    for (size_t i = 0; i < cells.rows * cells.columns; i++) {
        fprintf(self->out, "%s%s", cells.items[i], (i + 1) % cells.columns == 0 ? "\n" : ", ");
    }
    cells_deinit(&cells);
}

static void simple_members(printer_t *self, const Etcdserverpb__MemberListResponse *answer)
{
    print_rows(self, printer_member_cells(answer));
}

static uint64_t cluster_of(const Etcdserverpb__ResponseHeader *header)
{
    return header != NULL ? header->cluster_id : 0;
}

/* Ids are as wide as sixteen digits here, filled with blanks: etcdctl's %16x. */
static void simple_member_add(printer_t *self, const Etcdserverpb__MemberAddResponse *answer)
{
    const Etcdserverpb__Member *member = answer->member;
    fprintf(self->out, "Member %16" PRIx64 " added%sto cluster %16" PRIx64 "\n",
            member != NULL ? member->id : 0,
            member != NULL && member->islearner ? " as learner " : " ", cluster_of(answer->header));
}

static void simple_member_change(printer_t *self, const member_change_t *change)
{
    fprintf(self->out, "Member %16" PRIx64 " %s cluster %16" PRIx64 "\n", change->id, change->done,
            cluster_of(change->answer->header));
}

static void simple_move_leader(printer_t *self, uint64_t from, uint64_t to,
                               const Etcdserverpb__MoveLeaderResponse *answer)
{
    (void)answer;
    fprintf(self->out, "Leadership transferred from %" PRIx64 " to %" PRIx64 "\n", from, to);
}

static void simple_health(printer_t *self, const endpoint_health_t *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (items[i].error[0] == 0) {
            fprintf(self->out, "%s is healthy: successfully committed proposal: took = %s\n",
                    items[i].endpoint, items[i].took);
        } else {
            fprintf(self->err, "%s is unhealthy: failed to commit proposal: %s\n",
                    items[i].endpoint, items[i].error);
        }
    }
}

static void simple_status(printer_t *self, const endpoint_status_t *items, size_t n)
{
    print_rows(self, printer_status_cells(items, n));
}

static void simple_hashkv(printer_t *self, const endpoint_hashkv_t *items, size_t n)
{
    print_rows(self, printer_hashkv_cells(items, n));
}

const printer_ops_t printer_simple = {
    .range = simple_range,
    .put = simple_put,
    .del = simple_del,
    .txn = simple_txn,
    .watch = simple_watch,
    .lease_grant = simple_grant,
    .lease_revoke = simple_revoke,
    .lease_keep_alive = simple_keep_alive,
    .lease_time_to_live = simple_time_to_live,
    .leases = simple_leases,
    .members = simple_members,
    .member_add = simple_member_add,
    .member_change = simple_member_change,
    .move_leader = simple_move_leader,
    .health = simple_health,
    .status = simple_status,
    .hashkv = simple_hashkv,
};
