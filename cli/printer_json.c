/* -w json: Go's encoding/json of the structs etcdctl holds, one object per line. The names and which
 * members are left out when empty are contract section 15's. */
#include <inttypes.h>

#include "cli/json.h"
#include "cli/printer.h"

/* ---- parts ---- */

static void header_members(json_out_t *j, const Etcdserverpb__ResponseHeader *header)
{
    if (header != NULL) {
        json_out_uint_some(j, "cluster_id", header->cluster_id);
        json_out_uint_some(j, "member_id", header->member_id);
        json_out_int_some(j, "revision", header->revision);
        json_out_uint_some(j, "raft_term", header->raft_term);
    }
}

static void header_some(json_out_t *j, const char *name, const Etcdserverpb__ResponseHeader *header)
{
    if (header != NULL) {
        json_out_open(j, name, '{');
        header_members(j, header);
        json_out_close(j, '}');
    }
}

static void kv_some(json_out_t *j, const char *name, const Mvccpb__KeyValue *kv)
{
    if (kv == NULL) {
        return;
    }
    json_out_open(j, name, '{');
    json_out_bytes_some(j, "key", kv->key.data, kv->key.len);
    json_out_int_some(j, "create_revision", kv->create_revision);
    json_out_int_some(j, "mod_revision", kv->mod_revision);
    json_out_int_some(j, "version", kv->version);
    json_out_bytes_some(j, "value", kv->value.data, kv->value.len);
    json_out_int_some(j, "lease", kv->lease);
    json_out_close(j, '}');
}

static void kvs_some(json_out_t *j, const char *name, Mvccpb__KeyValue **kvs, size_t n)
{
    if (n == 0) {
        return;
    }
    json_out_open(j, name, '[');
    for (size_t i = 0; i < n; i++) {
        kv_some(j, NULL, kvs[i]);
    }
    json_out_close(j, ']');
}

static void range_object(json_out_t *j, const char *name, const Etcdserverpb__RangeResponse *answer)
{
    json_out_open(j, name, '{');
    header_some(j, "header", answer->header);
    kvs_some(j, "kvs", answer->kvs, answer->n_kvs);
    json_out_bool_some(j, "more", answer->more);
    json_out_int_some(j, "count", answer->count);
    json_out_close(j, '}');
}

static void put_object(json_out_t *j, const char *name, const Etcdserverpb__PutResponse *answer)
{
    json_out_open(j, name, '{');
    header_some(j, "header", answer->header);
    kv_some(j, "prev_kv", answer->prev_kv);
    json_out_close(j, '}');
}

static void del_object(json_out_t *j, const char *name,
                       const Etcdserverpb__DeleteRangeResponse *answer)
{
    json_out_open(j, name, '{');
    header_some(j, "header", answer->header);
    json_out_int_some(j, "deleted", answer->deleted);
    kvs_some(j, "prev_kvs", answer->prev_kvs, answer->n_prev_kvs);
    json_out_close(j, '}');
}

/* ---- answers ---- */

static json_out_t begin(printer_t *self)
{
    return (json_out_t){.out = self->out};
}

static void end_line(printer_t *self)
{
    fputc('\n', self->out);
}

static void json_print_range(printer_t *self, const Etcdserverpb__RangeResponse *answer)
{
    json_out_t j = begin(self);
    range_object(&j, NULL, answer);
    end_line(self);
}

static void json_print_put(printer_t *self, const Etcdserverpb__PutResponse *answer)
{
    json_out_t j = begin(self);
    put_object(&j, NULL, answer);
    end_line(self);
}

static void json_print_del(printer_t *self, const Etcdserverpb__DeleteRangeResponse *answer)
{
    json_out_t j = begin(self);
    del_object(&j, NULL, answer);
    end_line(self);
}

/* quoralctl sends no nested transactions, so none comes back; one would show as {}. */
static void response_op_object(json_out_t *j, const Etcdserverpb__ResponseOp *op)
{
    json_out_open(j, NULL, '{');
    json_out_open(j, "Response", '{');
    switch (op->response_case) {
    case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE:
        range_object(j, "response_range", op->response_range);
        break;
    case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT:
        put_object(j, "response_put", op->response_put);
        break;
    case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE:
        del_object(j, "response_delete_range", op->response_delete_range);
        break;
    default: break;
    }
    json_out_close(j, '}');
    json_out_close(j, '}');
}

static void json_print_txn(printer_t *self, const Etcdserverpb__TxnResponse *answer)
{
    json_out_t j = begin(self);
    json_out_open(&j, NULL, '{');
    header_some(&j, "header", answer->header);
    json_out_bool_some(&j, "succeeded", answer->succeeded);
    if (answer->n_responses > 0) {
        json_out_open(&j, "responses", '[');
        for (size_t i = 0; i < answer->n_responses; i++) {
            response_op_object(&j, answer->responses[i]);
        }
        json_out_close(&j, ']');
    }
    json_out_close(&j, '}');
    end_line(self);
}

static void json_print_watch(printer_t *self, const watch_view_t *view)
{
    json_out_t j = begin(self);
    json_out_open(&j, NULL, '{');
    json_out_open(&j, "Header", '{');
    header_members(&j, view->header);
    json_out_close(&j, '}');
    if (view->events_n == 0) {
        json_out_null(&j, "Events");
    } else {
        json_out_open(&j, "Events", '[');
        for (size_t i = 0; i < view->events_n; i++) {
            const Mvccpb__Event *event = view->events[i];
            json_out_open(&j, NULL, '{');
            json_out_int_some(&j, "type", event->type);
            kv_some(&j, "kv", event->kv);
            kv_some(&j, "prev_kv", event->prev_kv);
            json_out_close(&j, '}');
        }
        json_out_close(&j, ']');
    }
    json_out_int(&j, "CompactRevision", view->compact_revision);
    json_out_bool(&j, "Canceled", view->canceled);
    json_out_bool(&j, "Created", false);
    json_out_string(&j, "CancelReason", view->cancel_reason);
    json_out_close(&j, '}');
    end_line(self);
}

static void json_print_grant(printer_t *self, const Etcdserverpb__LeaseGrantResponse *answer)
{
    json_out_t j = begin(self);
    json_out_open(&j, NULL, '{');
    header_members(&j, answer->header);
    json_out_int(&j, "ID", answer->id);
    json_out_int(&j, "TTL", answer->ttl);
    json_out_string(&j, "Error", answer->error);
    json_out_close(&j, '}');
    end_line(self);
}

static void json_print_revoke(printer_t *self, int64_t id,
                              const Etcdserverpb__LeaseRevokeResponse *answer)
{
    (void)id;
    json_out_t j = begin(self);
    json_out_open(&j, NULL, '{');
    header_some(&j, "header", answer->header);
    json_out_close(&j, '}');
    end_line(self);
}

static void json_print_keep_alive(printer_t *self,
                                  const Etcdserverpb__LeaseKeepAliveResponse *answer)
{
    json_out_t j = begin(self);
    json_out_open(&j, NULL, '{');
    header_members(&j, answer->header);
    json_out_int(&j, "ID", answer->id);
    json_out_int(&j, "TTL", answer->ttl);
    json_out_close(&j, '}');
    end_line(self);
}

static void json_print_time_to_live(printer_t *self,
                                    const Etcdserverpb__LeaseTimeToLiveResponse *answer, bool keys)
{
    (void)keys;
    json_out_t j = begin(self);
    json_out_open(&j, NULL, '{');
    header_members(&j, answer->header);
    json_out_int(&j, "id", answer->id);
    json_out_int(&j, "ttl", answer->ttl);
    json_out_int(&j, "granted-ttl", answer->grantedttl);
    if (answer->n_keys == 0) {
        json_out_null(&j, "keys");
    } else {
        json_out_open(&j, "keys", '[');
        for (size_t i = 0; i < answer->n_keys; i++) {
            json_out_bytes(&j, NULL, answer->keys[i].data, answer->keys[i].len);
        }
        json_out_close(&j, ']');
    }
    json_out_close(&j, '}');
    end_line(self);
}

static void json_print_leases(printer_t *self, const Etcdserverpb__LeaseLeasesResponse *answer)
{
    json_out_t j = begin(self);
    json_out_open(&j, NULL, '{');
    header_members(&j, answer->header);
    json_out_open(&j, "leases", '[');
    for (size_t i = 0; i < answer->n_leases; i++) {
        json_out_open(&j, NULL, '{');
        json_out_int(&j, "id", answer->leases[i]->id);
        json_out_close(&j, '}');
    }
    json_out_close(&j, ']');
    json_out_close(&j, '}');
    end_line(self);
}

static void hex_id(json_out_t *j, const char *name, uint64_t id)
{
    char text[17];
    snprintf(text, sizeof text, "%" PRIx64, id);
    json_out_string(j, name, text);
}

/* --hex shows the ids of the cluster and its members as strings, in answers about members alone. */
static void members_header(json_out_t *j, const Etcdserverpb__ResponseHeader *header, bool hex)
{
    if (!hex) {
        header_some(j, "header", header);
        return;
    }
    if (header == NULL) {
        json_out_null(j, "header");
        return;
    }
    json_out_open(j, "header", '{');
    hex_id(j, "cluster_id", header->cluster_id);
    hex_id(j, "member_id", header->member_id);
    json_out_int_some(j, "revision", header->revision);
    json_out_uint_some(j, "raft_term", header->raft_term);
    json_out_close(j, '}');
}

static void member_object(json_out_t *j, const char *name, const Etcdserverpb__Member *member,
                          bool hex)
{
    json_out_open(j, name, '{');
    if (hex) {
        hex_id(j, "ID", member->id);
    } else {
        json_out_uint_some(j, "ID", member->id);
    }
    json_out_string_some(j, "name", member->name);
    json_out_strings_some(j, "peerURLs", member->peerurls, member->n_peerurls);
    json_out_strings_some(j, "clientURLs", member->clienturls, member->n_clienturls);
    json_out_bool_some(j, "isLearner", member->islearner);
    json_out_close(j, '}');
}

static void members_array(json_out_t *j, Etcdserverpb__Member *const *members, size_t n, bool hex)
{
    if (n == 0 && !hex) {
        return;
    }
    json_out_open(j, "members", '[');
    for (size_t i = 0; i < n; i++) {
        member_object(j, NULL, members[i], hex);
    }
    json_out_close(j, ']');
}

static void json_print_members(printer_t *self, const Etcdserverpb__MemberListResponse *answer)
{
    json_out_t j = begin(self);
    json_out_open(&j, NULL, '{');
    members_header(&j, answer->header, self->hex);
    members_array(&j, answer->members, answer->n_members, self->hex);
    json_out_close(&j, '}');
    end_line(self);
}

static void json_print_member_add(printer_t *self, const Etcdserverpb__MemberAddResponse *answer)
{
    json_out_t j = begin(self);
    json_out_open(&j, NULL, '{');
    members_header(&j, answer->header, self->hex);
    if (answer->member != NULL) {
        member_object(&j, "member", answer->member, self->hex);
    } else if (self->hex) {
        json_out_null(&j, "member");
    }
    members_array(&j, answer->members, answer->n_members, self->hex);
    json_out_close(&j, '}');
    end_line(self);
}

static void json_print_member_change(printer_t *self, const member_change_t *change)
{
    json_print_members(self, change->answer);
}

static void json_print_move_leader(printer_t *self, uint64_t from, uint64_t to,
                                   const Etcdserverpb__MoveLeaderResponse *answer)
{
    (void)from;
    (void)to;
    json_out_t j = begin(self);
    json_out_open(&j, NULL, '{');
    header_some(&j, "header", answer->header);
    json_out_close(&j, '}');
    end_line(self);
}

static void json_print_health(printer_t *self, const endpoint_health_t *items, size_t n)
{
    json_out_t j = begin(self);
    if (n == 0) {
        json_out_null(&j, NULL);
    } else {
        json_out_open(&j, NULL, '[');
        for (size_t i = 0; i < n; i++) {
            json_out_open(&j, NULL, '{');
            json_out_string(&j, "endpoint", items[i].endpoint);
            json_out_bool(&j, "health", items[i].healthy);
            json_out_string(&j, "took", items[i].took);
            json_out_string_some(&j, "error", items[i].error);
            json_out_close(&j, '}');
        }
        json_out_close(&j, ']');
    }
    end_line(self);
}

static void status_object(json_out_t *j, const Etcdserverpb__StatusResponse *status)
{
    json_out_open(j, "Status", '{');
    header_some(j, "header", status->header);
    json_out_string_some(j, "version", status->version);
    json_out_int_some(j, "dbSize", status->dbsize);
    json_out_uint_some(j, "leader", status->leader);
    json_out_uint_some(j, "raftIndex", status->raftindex);
    json_out_uint_some(j, "raftTerm", status->raftterm);
    json_out_uint_some(j, "raftAppliedIndex", status->raftappliedindex);
    json_out_strings_some(j, "errors", status->errors, status->n_errors);
    json_out_int_some(j, "dbSizeInUse", status->dbsizeinuse);
    json_out_bool_some(j, "isLearner", status->islearner);
    json_out_string_some(j, "storageVersion", status->storageversion);
    json_out_int_some(j, "dbSizeQuota", status->dbsizequota);
    if (status->downgradeinfo != NULL) {
        json_out_open(j, "downgradeInfo", '{');
        json_out_bool_some(j, "enabled", status->downgradeinfo->enabled);
        json_out_string_some(j, "targetVersion", status->downgradeinfo->targetversion);
        json_out_close(j, '}');
    }
    json_out_close(j, '}');
}

static void json_print_status(printer_t *self, const endpoint_status_t *items, size_t n)
{
    json_out_t j = begin(self);
    if (n == 0) {
        json_out_null(&j, NULL);
    } else {
        json_out_open(&j, NULL, '[');
        for (size_t i = 0; i < n; i++) {
            json_out_open(&j, NULL, '{');
            json_out_string(&j, "Endpoint", items[i].endpoint);
            status_object(&j, items[i].status);
            json_out_close(&j, '}');
        }
        json_out_close(&j, ']');
    }
    end_line(self);
}

static void json_print_hashkv(printer_t *self, const endpoint_hashkv_t *items, size_t n)
{
    json_out_t j = begin(self);
    if (n == 0) {
        json_out_null(&j, NULL);
    } else {
        json_out_open(&j, NULL, '[');
        for (size_t i = 0; i < n; i++) {
            json_out_open(&j, NULL, '{');
            json_out_string(&j, "Endpoint", items[i].endpoint);
            json_out_open(&j, "HashKV", '{');
            header_some(&j, "header", items[i].hash->header);
            json_out_uint_some(&j, "hash", items[i].hash->hash);
            json_out_int_some(&j, "compact_revision", items[i].hash->compact_revision);
            json_out_int_some(&j, "hash_revision", items[i].hash->hash_revision);
            json_out_close(&j, '}');
            json_out_close(&j, '}');
        }
        json_out_close(&j, ']');
    }
    end_line(self);
}

const printer_ops_t printer_json = {
    .range = json_print_range,
    .put = json_print_put,
    .del = json_print_del,
    .txn = json_print_txn,
    .watch = json_print_watch,
    .lease_grant = json_print_grant,
    .lease_revoke = json_print_revoke,
    .lease_keep_alive = json_print_keep_alive,
    .lease_time_to_live = json_print_time_to_live,
    .leases = json_print_leases,
    .members = json_print_members,
    .member_add = json_print_member_add,
    .member_change = json_print_member_change,
    .move_leader = json_print_move_leader,
    .health = json_print_health,
    .status = json_print_status,
    .hashkv = json_print_hashkv,
};
