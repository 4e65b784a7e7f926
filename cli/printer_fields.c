/* -w fields: one `"Name" : value` per line. */
#include <inttypes.h>
#include <string.h>

#include "cli/go_format.h"
#include "cli/printer.h"

static void print_quoted(printer_t *self, const char *prefix, const char *name, const void *data,
                         size_t size)
{
    fprintf(self->out, "\"%s%s\" : ", prefix, name);
    go_write_quoted(self->out, data, size);
    fputc('\n', self->out);
}

static void print_text(printer_t *self, const char *name, const char *text)
{
    print_quoted(self, "", name, text, strlen(text));
}

static void print_int(printer_t *self, const char *prefix, const char *name, int64_t value)
{
    fprintf(self->out, "\"%s%s\" : %" PRId64 "\n", prefix, name, value);
}

static void print_uint(printer_t *self, const char *name, uint64_t value)
{
    fprintf(self->out, "\"%s\" : %" PRIu64 "\n", name, value);
}

static void print_bool(printer_t *self, const char *name, bool value)
{
    fprintf(self->out, "\"%s\" : %s\n", name, value ? "true" : "false");
}

/* Ids of members and clusters; without leading zeros in hex. */
static void print_id(printer_t *self, const char *name, uint64_t id)
{
    if (self->hex) {
        fprintf(self->out, "\"%s\" : %" PRIx64 "\n", name, id);
    } else {
        print_uint(self, name, id);
    }
}

static void print_lease(printer_t *self, const char *prefix, const char *name, int64_t id)
{
    if (self->hex) {
        fprintf(self->out, "\"%s%s\" : %016" PRIx64 "\n", prefix, name, (uint64_t)id);
    } else {
        print_int(self, prefix, name, id);
    }
}

static void print_header(printer_t *self, const Etcdserverpb__ResponseHeader *header)
{
    static const Etcdserverpb__ResponseHeader empty = {0};
    const Etcdserverpb__ResponseHeader *h = header != NULL ? header : &empty;
    print_id(self, "ClusterID", h->cluster_id);
    print_id(self, "MemberID", h->member_id);
    if (h->revision > 0) {
        print_int(self, "", "Revision", h->revision);
    }
    print_uint(self, "RaftTerm", h->raft_term);
}

static void print_kv(printer_t *self, const char *prefix, const Mvccpb__KeyValue *kv)
{
    static const Mvccpb__KeyValue empty = {0};
    const Mvccpb__KeyValue *k = kv != NULL ? kv : &empty;
    print_quoted(self, prefix, "Key", k->key.data, k->key.len);
    print_int(self, prefix, "CreateRevision", k->create_revision);
    print_int(self, prefix, "ModRevision", k->mod_revision);
    print_int(self, prefix, "Version", k->version);
    print_quoted(self, prefix, "Value", k->value.data, k->value.len);
    print_lease(self, prefix, "Lease", k->lease);
}

static void fields_range(printer_t *self, const Etcdserverpb__RangeResponse *answer)
{
    print_header(self, answer->header);
    for (size_t i = 0; i < answer->n_kvs; i++) {
        print_kv(self, "", answer->kvs[i]);
    }
    print_bool(self, "More", answer->more);
    print_int(self, "", "Count", answer->count);
}

static void fields_put(printer_t *self, const Etcdserverpb__PutResponse *answer)
{
    print_header(self, answer->header);
    if (answer->prev_kv != NULL) {
        print_kv(self, "Prev", answer->prev_kv);
    }
}

static void fields_del(printer_t *self, const Etcdserverpb__DeleteRangeResponse *answer)
{
    print_header(self, answer->header);
    print_int(self, "", "Deleted", answer->deleted);
    for (size_t i = 0; i < answer->n_prev_kvs; i++) {
        print_kv(self, "Prev", answer->prev_kvs[i]);
    }
}

static void fields_txn(printer_t *self, const Etcdserverpb__TxnResponse *answer)
{
    print_header(self, answer->header);
    print_bool(self, "Succeeded", answer->succeeded);
    for (size_t i = 0; i < answer->n_responses; i++) {
        const Etcdserverpb__ResponseOp *op = answer->responses[i];
        switch (op->response_case) {
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE:
            fields_del(self, op->response_delete_range);
            break;
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT:
            fields_put(self, op->response_put);
            break;
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE:
            fields_range(self, op->response_range);
            break;
        default: print_text(self, "Unknown", "unexpected response"); break;
        }
    }
}

static void fields_watch(printer_t *self, const watch_view_t *view)
{
    print_header(self, view->header);
    for (size_t i = 0; i < view->events_n; i++) {
        const Mvccpb__Event *event = view->events[i];
        fprintf(self->out, "\"Type\" : %s\n",
                event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE ? "DELETE" : "PUT");
        if (event->prev_kv != NULL) {
            print_kv(self, "Prev", event->prev_kv);
        }
        print_kv(self, "", event->kv);
    }
}

static void fields_grant(printer_t *self, const Etcdserverpb__LeaseGrantResponse *answer)
{
    print_header(self, answer->header);
    print_lease(self, "", "ID", answer->id);
    print_int(self, "", "TTL", answer->ttl);
}

static void fields_revoke(printer_t *self, int64_t id,
                          const Etcdserverpb__LeaseRevokeResponse *answer)
{
    (void)id;
    print_header(self, answer->header);
}

static void fields_keep_alive(printer_t *self, const Etcdserverpb__LeaseKeepAliveResponse *answer)
{
    print_header(self, answer->header);
    print_lease(self, "", "ID", answer->id);
    print_int(self, "", "TTL", answer->ttl);
}

static void fields_time_to_live(printer_t *self,
                                const Etcdserverpb__LeaseTimeToLiveResponse *answer, bool keys)
{
    (void)keys;
    print_header(self, answer->header);
    print_lease(self, "", "ID", answer->id);
    print_int(self, "", "TTL", answer->ttl);
    print_int(self, "", "GrantedTTL", answer->grantedttl);
    for (size_t i = 0; i < answer->n_keys; i++) {
        print_quoted(self, "", "Key", answer->keys[i].data, answer->keys[i].len);
    }
}

static void fields_leases(printer_t *self, const Etcdserverpb__LeaseLeasesResponse *answer)
{
    print_header(self, answer->header);
    for (size_t i = 0; i < answer->n_leases; i++) {
        print_lease(self, "", "ID", answer->leases[i]->id);
    }
}

static void fields_members(printer_t *self, const Etcdserverpb__MemberListResponse *answer)
{
    print_header(self, answer->header);
    for (size_t i = 0; i < answer->n_members; i++) {
        const Etcdserverpb__Member *member = answer->members[i];
        print_id(self, "ID", member->id);
        print_text(self, "Name", member->name);
        for (size_t k = 0; k < member->n_peerurls; k++) {
            print_text(self, "PeerURL", member->peerurls[k]);
        }
        for (size_t k = 0; k < member->n_clienturls; k++) {
            print_text(self, "ClientURL", member->clienturls[k]);
        }
        print_bool(self, "IsLearner", member->islearner);
        fputc('\n', self->out);
    }
}

static void fields_health(printer_t *self, const endpoint_health_t *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        print_text(self, "Endpoint", items[i].endpoint);
        print_bool(self, "Health", items[i].healthy);
        fprintf(self->out, "\"Took\" : %s\n", items[i].took);
        fprintf(self->out, "\"Error\" : %s\n\n", items[i].error);
    }
}

static void fields_status(printer_t *self, const endpoint_status_t *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const Etcdserverpb__StatusResponse *status = items[i].status;
        const Etcdserverpb__DowngradeInfo *downgrade = status->downgradeinfo;
        print_header(self, status->header);
        print_text(self, "Version", status->version);
        print_text(self, "StorageVersion", status->storageversion);
        print_int(self, "", "DBSize", status->dbsize);
        print_int(self, "", "DBSizeInUse", status->dbsizeinuse);
        print_int(self, "", "DBSizeQuota", status->dbsizequota);
        print_uint(self, "Leader", status->leader);
        print_bool(self, "IsLearner", status->islearner);
        print_uint(self, "RaftIndex", status->raftindex);
        print_uint(self, "RaftTerm", status->raftterm);
        print_uint(self, "RaftAppliedIndex", status->raftappliedindex);
        fprintf(self->out, "\"Errors\" : [");
        for (size_t k = 0; k < status->n_errors; k++) {
            fprintf(self->out, "%s%s", k > 0 ? " " : "", status->errors[k]);
        }
        fprintf(self->out, "]\n");
        print_text(self, "Endpoint", items[i].endpoint);
        print_text(self, "DowngradeTargetVersion",
                   downgrade != NULL ? downgrade->targetversion : "");
        print_bool(self, "DowngradeEnabled", downgrade != NULL && downgrade->enabled);
        fputc('\n', self->out);
    }
}

static void fields_hashkv(printer_t *self, const endpoint_hashkv_t *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        print_header(self, items[i].hash->header);
        print_text(self, "Endpoint", items[i].endpoint);
        print_uint(self, "Hash", items[i].hash->hash);
        print_int(self, "", "HashRevision", items[i].hash->hash_revision);
        fputc('\n', self->out);
    }
}

const printer_ops_t printer_fields = {
    .range = fields_range,
    .put = fields_put,
    .del = fields_del,
    .txn = fields_txn,
    .watch = fields_watch,
    .lease_grant = fields_grant,
    .lease_revoke = fields_revoke,
    .lease_keep_alive = fields_keep_alive,
    .lease_time_to_live = fields_time_to_live,
    .leases = fields_leases,
    .members = fields_members,
    .health = fields_health,
    .status = fields_status,
    .hashkv = fields_hashkv,
};
