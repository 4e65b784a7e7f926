#include "actors/api/api.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/api/api_cluster.h"
#include "actors/api/api_lease.h"
#include "actors/api/api_native.h"
#include "actors/api/api_watch.h"
#include "messages/xalloc.h"

enum {
    STOP_GRACE_US = 500 * 1000, /* what calls in progress get when the node stops */
    LEADERLESS_TIMEOUTS = 3     /* election timeouts without a leader that streams outlive */
};

/* The request timeout is 5 s and two election timeouts (contract section 3.6). */
static uint64_t election_timeout(const api_cfg_t *cfg)
{
    const uint64_t base_us = 5000000;
    return cfg->request_timeout_us > base_us ? (cfg->request_timeout_us - base_us) / 2 : 1000000;
}

api_t *api_new(const api_cfg_t *cfg, const api_sink_t *sink, metrics_t *metrics)
{
    assert(cfg->origin != 0);
    assert(cfg->max_request_bytes > 0);
    api_t *self = xcalloc(1, sizeof *self);
    self->cfg = *cfg;
    self->cfg.name = xstrdup(cfg->name ? cfg->name : "");
    char **urls = xcalloc(cfg->client_url_count + 1, sizeof *urls);
    for (size_t i = 0; i < cfg->client_url_count; i++) {
        urls[i] = xstrdup(cfg->client_urls[i]);
    }
    self->cfg.client_urls = (const char *const *)urls;
    self->sink = *sink;
    self->metrics = metrics;
    header_init(&self->header, cfg->cluster_id, cfg->member_id);
    self->prng.state = cfg->seed;
    self->stop_due_us = DEADLINE_NONE;
    self->election_timeout_us = election_timeout(cfg);
    self->leaderless_due_us = DEADLINE_NONE;
    self->revision = 1;
    self->compacted = -1;
    self->publish.done = !cfg->publishes;
    return self;
}

const rpc_metrics_t *api_rpc_metrics(const api_t *self)
{
    return &self->rpc;
}

/* ---- calls ---- */

static const api_handler_t handlers[METHOD_COUNT] = {
    [METHOD_RANGE] = api_on_range,
    [METHOD_RANGE_STREAM] = api_on_range_stream,
    [METHOD_PUT] = api_on_put,
    [METHOD_DELETE_RANGE] = api_on_delete_range,
    [METHOD_TXN] = api_on_txn,
    [METHOD_COMPACT] = api_on_compact,
    [METHOD_WATCH] = api_on_watch,
    [METHOD_LEASE_GRANT] = api_on_lease_grant,
    [METHOD_LEASE_REVOKE] = api_on_lease_revoke,
    [METHOD_LEASE_KEEP_ALIVE] = api_on_lease_keep_alive,
    [METHOD_LEASE_TIME_TO_LIVE] = api_on_lease_time_to_live,
    [METHOD_LEASE_LEASES] = api_on_lease_leases,
    [METHOD_MEMBER_LIST] = api_on_member_list,
    [METHOD_MEMBER_ADD] = api_on_member_add,
    [METHOD_MEMBER_REMOVE] = api_on_member_remove,
    [METHOD_MEMBER_UPDATE] = api_on_member_update,
    [METHOD_MEMBER_PROMOTE] = api_on_member_promote,
    [METHOD_STATUS] = api_on_status,
    [METHOD_ALARM] = api_on_alarm,
    [METHOD_MOVE_LEADER] = api_on_move_leader,
    [METHOD_HASH] = api_on_hash,
    [METHOD_HASH_KV] = api_on_hash_kv,
    [METHOD_HEALTH_CHECK] = api_on_health_check,
    [METHOD_HEALTH_LIST] = api_on_health_list,
    [METHOD_HEALTH_WATCH] = api_on_health_watch,
    [METHOD_NATIVE_SNAPSHOT] = api_on_native_snapshot,
    [METHOD_NATIVE_EVENTS] = api_on_native_events,
};

static call_t *new_call(api_t *self)
{
    call_t *call = self->spare_calls;
    if (call) {
        self->spare_calls = call->next;
        memset(call, 0, sizeof *call);
    } else {
        call = xcalloc(1, sizeof *call);
    }
    call->due_us = DEADLINE_NONE;
    self->call_count++;
    return call;
}

static void drop_state(api_t *self, call_t *call)
{
    range_job_destroy(self, &call->range_job);
    txn_job_destroy(self, &call->txn_job);
    events_job_destroy(self, &call->events_job);
    watch_stream_destroy(self, call);
    lease_stream_destroy(self, call);
    lease_reply_destroy(&call->lease_reply);
    bytes_unref(&call->request);
    api_drop_proposal(self, call);
}

/* Takes the call out of everything that knows it. */
static void release(api_t *self, call_t *call)
{
    void *known = id_map_remove(&self->calls, call->id);
    assert(known == call);
    if (call->request_id) {
        id_map_remove(&self->requests, call->request_id);
    }
    call_list_leave(call);
    call_heap_set(&self->heap, call, DEADLINE_NONE);
    drop_state(self, call);
    call->next = self->spare_calls;
    self->spare_calls = call;
    self->call_count--;
}

/* Our own probes are no client's calls. */
static void count(_Atomic uint64_t *cell, unsigned flags)
{
    if (!(flags & CALL_UNCOUNTED)) {
        rpc_metrics_add(cell);
    }
}

void api_measure(const api_t *self, call_t *call, histogram_t id)
{
    call->measured = (unsigned)id + 1;
    call->measured_us = self->now_us;
}

void api_measured(api_t *self, call_t *call, bool success)
{
    if (call->measured) {
        metrics_observe_outcome(self->metrics, (histogram_t)(call->measured - 1), success,
                                metrics_elapsed_us(call->measured_us, self->now_us));
        call->measured = 0;
    }
}

void api_finish(api_t *self, call_t *call, grpc_code_t code, const char *text)
{
    uint64_t id = call->id;
    api_measured(self, call, code == GRPC_OK);
    count(&self->rpc.handled[call->method][code], call->flags);
    if (self->cfg.handling_times && !(call->flags & CALL_UNCOUNTED)) {
        rpc_metrics_observe(&self->rpc, call->method, self->now_us - call->started_us);
    }
    release(self, call);
    self->sink.finish(self->sink.context, id, code, text);
}

void api_fail(api_t *self, call_t *call, api_error_t error)
{
    assert(error != API_NONE);
    api_finish(self, call, api_error_code(error), api_error_text(error));
}

void api_fail_decode(api_t *self, call_t *call)
{
    rpc_metrics_receive_failed(self->metrics, call->method);
    /* grpc-go's words, and below them those of its protobuf library */
    bool unary = method_info(call->method)->type == RPC_UNARY;
    api_finish(self, call, GRPC_INTERNAL,
               unary ? "grpc: error unmarshalling request: proto: cannot parse invalid wire-format "
                       "data"
                     : "grpc: failed to unmarshal the received message: proto: cannot parse "
                       "invalid wire-format data");
}

void api_send(api_t *self, call_t *call, bytes_t **message_p)
{
    bytes_t *message = bytes_take(message_p);
    count(&self->rpc.sent[call->method], call->flags);
    call->unsent_bytes += bytes_len(message);
    self->sink.message(self->sink.context, call->id, &message);
}

void api_answer(api_t *self, call_t *call, bytes_t **message_p)
{
    api_send(self, call, message_p);
    api_finish(self, call, GRPC_OK, "");
}

uint64_t api_request_id(api_t *self, call_t *call)
{
    assert(call->request_id == 0);
    call->request_id = ++self->last_request_id;
    id_map_put(&self->requests, call->request_id, call);
    return call->request_id;
}

void api_broken(api_t *self, int error)
{
    assert(error < 0);
    assert(self->out);
    outbox_fatal(self->out, "reading the store failed (%d): %s", error,
                 self->store ? kv_error(shared_object(self->store)) : "");
}

/* Members that do not vote answer little (contract section 1); probes of the gateway are not bound by it. */
static bool is_kept_from(const api_t *self, const api_call_t *info)
{
    bool is_served = info->method == METHOD_STATUS ||
                     info->method == METHOD_RANGE; /* a serializable one: looked at later */
    return self->members.is_learner && !is_served && !(info->flags & CALL_UNCOUNTED);
}

/* Why a call may not even begin; API_NONE = it may. */
static api_error_t check_begin(const api_t *self, const api_call_t *info)
{
    if (self->stop_due_us != DEADLINE_NONE) {
        return API_STOPPED;
    }
    if (is_kept_from(self, info)) {
        return API_NOT_SUPPORTED_FOR_LEARNER;
    }
    if ((info->flags & CALL_REQUIRE_LEADER) && self->role.leader == 0) {
        return API_NO_LEADER;
    }
    return self->call_count >= LIMIT_CALLS ? API_TOO_MANY_REQUESTS : API_NONE;
}

static bool takes_one_message(method_t method)
{
    rpc_type_t type = method_info(method)->type;
    return type == RPC_UNARY || type == RPC_SERVER_STREAM;
}

void api_call_begin(api_t *self, uint64_t id, const api_call_t *info, uint64_t now_us)
{
    self->now_us = now_us;
    count(&self->rpc.started[info->method], info->flags);
    if (!(info->flags & CALL_UNCOUNTED)) {
        rpc_metrics_client(&self->rpc, info->client_version, info->method);
    }
    api_error_t error = check_begin(self, info);
    if (error) {
        count(&self->rpc.handled[info->method][api_error_code(error)], info->flags);
        self->sink.finish(self->sink.context, id, api_error_code(error), api_error_text(error));
        return;
    }
    call_t *call = new_call(self);
    call->id = id;
    call->method = info->method;
    call->flags = info->flags;
    call->started_us = now_us;
    call->client_due_us = info->deadline_us;
    id_map_put(&self->calls, id, call);
    if (takes_one_message(info->method)) {
        api_set_timeout(self, call, now_us);
    } else {
        api_clear_timeout(self, call); /* lives as long as its client wants */
    }
}

void api_call_message(api_t *self, uint64_t id, bytes_t **message_p, uint64_t now_us)
{
    bytes_t *message = bytes_take(message_p);
    self->now_us = now_us;
    call_t *call = id_map_get(&self->calls, id);
    if (!call) {
        bytes_unref(&message);
        return;
    }
    count(&self->rpc.received[call->method], call->flags);
    if (call->has_request && takes_one_message(call->method)) {
        api_finish(self, call, GRPC_INTERNAL,
                   "cardinality violation: received more than one request message");
    } else if (!handlers[call->method]) {
        api_finish(self, call, GRPC_UNIMPLEMENTED, "method is not served by this version");
    } else {
        call->has_request = true;
        handlers[call->method](self, call, &message);
    }
    bytes_unref(&message);
}

void api_call_half_close(api_t *self, uint64_t id, uint64_t now_us)
{
    self->now_us = now_us;
    call_t *call = id_map_get(&self->calls, id);
    if (!call || call->half_closed) {
        return;
    }
    call->half_closed = true;
    if (!call->has_request && takes_one_message(call->method)) {
        api_finish(self, call, GRPC_INTERNAL, "cardinality violation: received no request message");
    } else if (call->method == METHOD_LEASE_KEEP_ALIVE) {
        api_lease_half_close(self, call);
    }
}

void api_call_cancel(api_t *self, uint64_t id)
{
    call_t *call = id_map_get(&self->calls, id);
    if (call) {
        count(&self->rpc.handled[call->method][GRPC_CANCELLED], call->flags);
        api_measured(self, call, false);
        release(self, call);
    }
}

void api_call_sent(api_t *self, uint64_t id, size_t bytes)
{
    call_t *call = id_map_get(&self->calls, id);
    if (!call) {
        return;
    }
    call->unsent_bytes -= bytes < call->unsent_bytes ? bytes : call->unsent_bytes;
    if (call->method == METHOD_RANGE_STREAM || api_is_snapshot(call)) {
        api_range_stream_sent(self, call);
    } else if (call->method == METHOD_NATIVE_EVENTS) {
        api_native_events_sent(self, call);
    } else if (call->method == METHOD_WATCH) {
        api_watch_sent(self, call, bytes);
    }
}

/* ---- other actors ---- */

/* Ends the calls that would never end by themselves and have one of these flags; 0 = all of them. */
static void end_streams(api_t *self, unsigned flags, api_error_t error)
{
    size_t at = 0;
    call_t *call = NULL;
    while ((call = id_map_next(&self->calls, &at))) {
        bool endless = method_info(call->method)->type == RPC_BIDI_STREAM ||
                       call->method == METHOD_HEALTH_WATCH;
        if (endless && (flags == 0 || (call->flags & flags))) {
            api_fail(self, call, error);
            id_map_again(&at);
        }
    }
}

static void on_role(api_t *self, const msg_role_t *role)
{
    if (role->leader != self->role.leader) {
        bool lost = role->leader == 0;
        self->leaderless_due_us =
            lost ? self->now_us + LEADERLESS_TIMEOUTS * self->election_timeout_us : DEADLINE_NONE;
        self->leader_since_us = lost ? self->leader_since_us : self->now_us;
    }
    self->role = *role;
    self->again_us = 0;
    api_look_at_transfers(self);
    self->publish.done =
        !self->cfg.publishes; /* a new leader may have the cluster's version to set */
    api_publish_check(self);
}

static void on_restored(api_t *self, msg_restored_t *restored)
{
    shared_unref(&self->store);
    self->store = restored->store;
    restored->store = NULL;
    view_unref(&self->view);
    self->revision = restored->revision;
    self->publish.done = !self->cfg.publishes;
    self->members.is_stale = true;
    api_publish_check(self);
    api_on_applied(self, restored->index);
}

static void on_applied(api_t *self, const msg_applied_t *applied)
{
    if (applied->revision > self->revision) {
        self->revision = applied->revision;
    }
    if (applied->commit > self->commit_index) {
        self->commit_index = applied->commit;
    }
    api_on_applied(self, applied->index);
    api_members_changed(self, applied->members_index);
    if (!self->publish.done) {
        api_publish_check(self);
    }
}

/* Streams end at once; requests that are in progress get the time they most likely need. */
static void on_stop(api_t *self)
{
    self->stop_due_us = self->now_us + STOP_GRACE_US;
    end_streams(self, 0, API_STOPPED);
}

static void on_message(api_t *self, msg_t *msg)
{
    switch (msg->kind) {
    case MSG_CREDIT: break; /* booked by the runner; the end of the turn sends what has waited */
    case MSG_STOP: on_stop(self); break;
    case MSG_ROLE: on_role(self, &msg->u.role); break;
    case MSG_RESTORED: on_restored(self, &msg->u.restored); break;
    case MSG_APPLIED: on_applied(self, &msg->u.applied); break;
    case MSG_RESULT: api_on_result(self, &msg->u.result); break;
    case MSG_REJECTED:
    case MSG_UNKNOWN: api_on_refusal(self, msg->kind, &msg->u.refusal); break;
    case MSG_READ_AT: api_on_read_at(self, &msg->u.read); break;
    case MSG_READ_FAIL: api_on_read_fail(self, &msg->u.read); break;
    case MSG_LEASE_ANSWER: api_on_lease_answer(self, &msg->u.lease_answer); break;
    case MSG_WATCH_OUT: api_on_watch_out(self, &msg->u.watch_out); break;
    case MSG_HASHED: api_on_hashed(self, &msg->u.hash); break;
    case MSG_PEER_STATUS: api_on_peer_status(self, &msg->u.peer_status); break;
    default: assert(!"a message this actor has no edge for");
    }
}

static void end_of_stop(api_t *self)
{
    if (self->stop_due_us == DEADLINE_NONE || self->stopped) {
        return;
    }
    if (self->now_us >= self->stop_due_us) {
        size_t at = 0;
        call_t *call = NULL;
        while ((call = id_map_next(&self->calls, &at))) {
            api_fail(self, call, API_STOPPED);
            id_map_again(&at);
        }
    }
    if (self->call_count == 0) {
        self->stopped = true;
        outbox_stopped(self->out);
    }
}

/* Streams that asked for a leader end when there has been none for too long (contract section 1). */
static void end_leaderless(api_t *self)
{
    if (self->now_us < self->leaderless_due_us) {
        return;
    }
    self->leaderless_due_us = DEADLINE_NONE;
    end_streams(self, CALL_REQUIRE_LEADER, API_NO_LEADER);
}

static void end_of_turn(api_t *self)
{
    api_expire_calls(self);
    end_leaderless(self);
    self->again_us = self->now_us < self->again_us ? self->again_us : 0;
    api_refresh_members(self);
    api_flush_publish(self);
    api_flush_proposals(self);
    api_run_reads(self);
    api_flush_watch(self);
    api_flush_lease(self);
    api_flush_maintenance(self);
    api_flush_health(self);
    end_of_stop(self);
}

static void step(void *state, const step_in_t *in, outbox_t *out)
{
    api_t *self = state;
    self->out = out;
    self->now_us = in->now_us;
    if (in->msg) {
        on_message(self, in->msg);
    } else {
        end_of_turn(self);
    }
    self->out = NULL;
}

static uint64_t deadline(const void *state)
{
    const api_t *self = state;
    if (self->reads_active.count || (self->reads_ready.count && self->store)) {
        return self->now_us; /* at once: there is something to read */
    }
    const call_t *first = call_heap_first(&self->heap);
    uint64_t due_us = first ? first->due_us : DEADLINE_NONE;
    due_us = api_min(due_us, self->leaderless_due_us);
    due_us = api_min(due_us, api_again_deadline(self));
    due_us = api_min(due_us, api_lease_deadline(self));
    due_us = api_min(due_us, api_publish_deadline(self));
    return self->stopped ? due_us : api_min(due_us, self->stop_due_us);
}

static void destroy_calls(api_t *self)
{
    size_t at = 0;
    call_t *known = NULL;
    while ((known = id_map_next(&self->calls, &at))) {
        release(self, known);
        id_map_again(&at);
    }
    while (self->spare_calls) {
        call_t *call = self->spare_calls;
        self->spare_calls = call->next;
        free(call);
    }
}

static void destroy(void **self_p)
{
    api_t *self = *self_p;
    *self_p = NULL;
    if (!self) {
        return;
    }
    destroy_calls(self);
    api_watch_deinit(self);
    api_lease_deinit(self);
    for (size_t i = 0; i < self->proposal_count; i++) {
        bytes_unref(&self->proposals[i].payload);
    }
    free(self->proposals);
    bytes_unref(&self->publish.request.proposal);
    api_members_deinit(self);
    buf_deinit(&self->range_spare);
    id_map_deinit(&self->calls);
    id_map_deinit(&self->requests);
    call_heap_deinit(&self->heap);
    view_unref(&self->view);
    shared_unref(&self->store);
    for (size_t i = 0; i < self->cfg.client_url_count; i++) {
        free((void *)(uintptr_t)self->cfg.client_urls[i]);
    }
    free((void *)(uintptr_t)self->cfg.client_urls);
    free((void *)(uintptr_t)self->cfg.name);
    free(self);
}

const core_ops_t api_ops = {.step = step, .deadline = deadline, .destroy = destroy};

api_status_t api_status(const api_t *self)
{
    return (api_status_t){
        .serving = self->store && self->role.leader != 0 && self->publish.published,
        .leader = self->role.leader,
        .term = self->role.term,
        .role = self->role.role,
        .is_learner = self->members.is_learner,
        .revision = self->revision,
        .applied_index = self->applied_index,
        .commit_index = self->commit_index,
        .compacted = self->compacted,
    };
}
