/* Status and Alarm (contract section 7), and the standard health service. */
#include "actors/api/api_cluster.h"
#include "messages/version.h"

/* Field numbers of StatusResponse. */
enum {
    STATUS_VERSION = 2,
    STATUS_DB_SIZE = 3,
    STATUS_LEADER = 4,
    STATUS_RAFT_INDEX = 5,
    STATUS_RAFT_TERM = 6,
    STATUS_RAFT_APPLIED = 7,
    STATUS_ERRORS = 8,
    STATUS_DB_IN_USE = 9,
    STATUS_IS_LEARNER = 10,
    STATUS_STORAGE_VERSION = 11,
    STATUS_QUOTA = 12,
    STATUS_DOWNGRADE = 13
};

static const uint64_t quota_bytes = 2147483648; /* what etcd shows when no quota is given */

void api_on_status(api_t *self, call_t *call, bytes_t **message_p)
{
    if (decode_empty(bytes_slice(*message_p))) {
        api_fail_decode(self, call);
    } else {
        api_read_soon(self, call, true);
    }
}

/* Never 0: clients divide by it. */
static uint64_t store_bytes(const api_t *self)
{
    uint64_t bytes = kv_size_bytes(shared_object(self->view->store));
    return bytes ? bytes : 1;
}

static void append_status(const api_t *self, buf_t *out, bool is_learner)
{
    const mvcc_head_t *head = &self->view->head;
    uint64_t bytes = store_bytes(self);
    header_append(&self->header, out, head->revision, self->role.term);
    buf_field_bytes(out, STATUS_VERSION, slice_str(API_VERSION));
    buf_field_u64(out, STATUS_DB_SIZE, bytes);
    buf_field_u64(out, STATUS_LEADER, self->role.leader);
    buf_field_u64(out, STATUS_RAFT_INDEX, self->commit_index);
    buf_field_u64(out, STATUS_RAFT_TERM, self->role.term);
    buf_field_u64(out, STATUS_RAFT_APPLIED, head->applied_index);
    if (self->role.leader == 0) {
        buf_field_bytes(out, STATUS_ERRORS, slice_str(api_error_text(API_NO_LEADER)));
    }
    buf_field_u64(out, STATUS_DB_IN_USE, bytes);
    buf_field_u64(out, STATUS_IS_LEARNER, is_learner);
    buf_field_bytes(out, STATUS_STORAGE_VERSION, slice_str(API_STORAGE_VERSION));
    buf_field_u64(out, STATUS_QUOTA, quota_bytes);
    buf_field_bytes(out, STATUS_DOWNGRADE, slice(NULL, 0)); /* present: no downgrade is going on */
}

void api_status_read(api_t *self, call_t *call)
{
    Quoral__Configuration *members = NULL;
    int rc = members_read(&members, self->view->reader);
    if (rc < 0) {
        api_broken(self, rc);
        return;
    }
    const Quoral__ConfigurationMember *me = members_find(members, self->cfg.member_id);
    buf_t out = {0};
    append_status(self, &out, me && me->learner);
    members_free(&members);
    bytes_t *answer = buf_bytes(&out);
    buf_deinit(&out);
    api_answer(self, call, &answer);
}

/* ---- alarms ----
 * Nothing raises one yet, so there is nothing to list and nothing to take back. Clients that look for
 * alarms (etcdctl endpoint health does) get that answer; raising one by hand is refused. */

void api_on_alarm(api_t *self, call_t *call, bytes_t **message_p)
{
    alarm_request_t request;
    if (decode_alarm(bytes_slice(*message_p), &request)) {
        api_fail_decode(self, call);
    } else if (request.action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE &&
               request.alarm != ETCDSERVERPB__ALARM_TYPE__NONE) {
        api_finish(self, call, GRPC_UNIMPLEMENTED, "raising alarms is not available yet");
    } else {
        api_read_soon(self, call, false);
    }
}

void api_alarm_read(api_t *self, call_t *call)
{
    buf_t out = {0};
    header_append(&self->header, &out, self->view->head.revision, self->role.term);
    bytes_t *answer = buf_bytes(&out);
    buf_deinit(&out);
    api_answer(self, call, &answer);
}

/* ---- health ---- */

enum { HEALTH_SERVING = 1, HEALTH_NOT_SERVING = 2, HEALTH_SERVICE_UNKNOWN = 3 };

static bytes_t *encode_health(uint64_t status)
{
    buf_t out = {0};
    buf_field_u64(&out, 1, status);
    bytes_t *message = buf_bytes(&out);
    buf_deinit(&out);
    return message;
}

static uint64_t health_of(const api_t *self)
{
    return api_status(self).serving ? HEALTH_SERVING : HEALTH_NOT_SERVING;
}

void api_on_health_check(api_t *self, call_t *call, bytes_t **message_p)
{
    slice_t service;
    if (decode_health(bytes_slice(*message_p), &service)) {
        api_fail_decode(self, call);
    } else if (service.len) {
        api_finish(self, call, GRPC_NOT_FOUND, "unknown service");
    } else {
        bytes_t *answer = encode_health(health_of(self));
        api_answer(self, call, &answer);
    }
}

/* The one service there is: the server itself, without a name. */
void api_on_health_list(api_t *self, call_t *call, bytes_t **message_p)
{
    if (decode_empty(bytes_slice(*message_p))) {
        api_fail_decode(self, call);
        return;
    }
    bytes_t *health = encode_health(health_of(self));
    buf_t entry = {0}, out = {0};
    buf_field_bytes(&entry, 1, slice_str(""));
    buf_field_bytes(&entry, 2, bytes_slice(health));
    buf_field_bytes(&out, 1, buf_slice(&entry));
    bytes_t *answer = buf_bytes(&out);
    buf_deinit(&out);
    buf_deinit(&entry);
    bytes_unref(&health);
    api_answer(self, call, &answer);
}

void api_on_health_watch(api_t *self, call_t *call, bytes_t **message_p)
{
    slice_t service;
    if (decode_health(bytes_slice(*message_p), &service)) {
        api_fail_decode(self, call);
        return;
    }
    bytes_t *message = encode_health(service.len ? HEALTH_SERVICE_UNKNOWN : health_of(self));
    api_send(self, call, &message);
    if (!service.len) {
        call_list_add(&self->health_watchers, call);
    }
}

void api_flush_health(api_t *self)
{
    uint64_t health = health_of(self);
    if (health == self->health_told) {
        return;
    }
    self->health_told = health;
    for (call_t *call = self->health_watchers.first; call; call = call->next) {
        bytes_t *message = encode_health(health);
        api_send(self, call, &message);
    }
}
