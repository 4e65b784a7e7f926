/* Reads: when they may run, on which view, and whose turn it is.
 *
 *   linearizable:  reads_next -> a round (READ sent) -> READ_AT -> reads_applying -> reads_ready
 *   serializable:  reads_ready, and from there, if the store is behind what they want, reads_behind
 *
 * reads_ready run at the end of the turn, all on one view; what does not finish at once becomes
 * active and reads one slice after the other, round-robin, at most LIMIT_TURN_KEYS keys per turn.
 *
 * The view of the last turn is used again as long as nothing newer has been heard of: it is fresh
 * enough for a read index it has reached, and for a client that has seen no later result. */
#include <assert.h>

#include "actors/api/api_cluster.h"
#include "actors/api/api_lease.h"
#include "actors/api/api_native.h"

void api_read_soon(api_t *self, call_t *call, bool serializable)
{
    call_list_add(serializable ? &self->reads_ready : &self->reads_next, call);
}

bool api_charge(api_t *self, size_t before, size_t after)
{
    self->answer_bytes = self->answer_bytes - before + after;
    return self->answer_bytes <= LIMIT_ANSWER_BYTES;
}

void api_read_activate(api_t *self, call_t *call)
{
    call_list_leave(call);
    api_clear_timeout(self, call); /* it is being served now */
    call_list_add(&self->reads_active, call);
}

/* ---- read indexes ---- */

static read_round_t *round_of(api_t *self, uint64_t id)
{
    for (size_t i = 0; i < LIMIT_READ_ROUNDS; i++) {
        if (self->rounds[i].id == id && self->rounds[i].calls.count) {
            return &self->rounds[i];
        }
    }
    return NULL;
}

static read_round_t *free_round(api_t *self)
{
    for (size_t i = 0; i < LIMIT_READ_ROUNDS; i++) {
        if (self->rounds[i].calls.count == 0) {
            return &self->rounds[i];
        }
    }
    return NULL;
}

bool api_waits_for_read_index(const api_t *self, const call_t *call)
{
    bool waits = call->list == &self->reads_next;
    for (size_t i = 0; i < LIMIT_READ_ROUNDS; i++) {
        waits = waits || call->list == &self->rounds[i].calls;
    }
    return waits;
}

/* Reads wait while no leader is known, as in etcd, until they time out. */
static void ask_read_index(api_t *self)
{
    read_round_t *round = NULL;
    if (self->reads_next.count == 0 || self->role.leader == 0 || self->now_us < self->again_us ||
        !outbox_room(self->out, ACTOR_REPLICATOR) || !(round = free_round(self))) {
        return;
    }
    round->id = ++self->last_read_id;
    call_list_move(&round->calls, &self->reads_next);
    msg_t *msg = msg_new(MSG_READ);
    msg->u.read.read_id = round->id;
    outbox_put(self->out, ACTOR_REPLICATOR, &msg);
}

void api_on_read_at(api_t *self, const msg_read_t *read)
{
    read_round_t *round = round_of(self, read->read_id);
    if (!round) { /* all its calls have ended */
        metrics_add(self->metrics, METRIC_READ_INDEXES_SLOW, 1);
        return;
    }
    for (call_t *call = round->calls.first; call; call = call->next) {
        call->read_index = read->index;
    }
    bool applied = self->store && read->index <= self->applied_index;
    call_list_move(applied ? &self->reads_ready : &self->reads_applying, &round->calls);
}

/* Reading twice does no harm: when the leader was lost, its reads get another index from the next one,
 * behind those that came meanwhile. */
void api_on_read_fail(api_t *self, const msg_read_t *read)
{
    read_round_t *round = round_of(self, read->read_id);
    if (!round) {
        return;
    }
    metrics_add(self->metrics, METRIC_READ_INDEXES_FAILED, 1);
    if (read->error == API_LEADER_CHANGED || api_has_no_leader(read->error)) {
        call_list_move(&self->reads_next, &round->calls);
        api_wait_for_leader(self);
        return;
    }
    call_t *call = NULL;
    while ((call = round->calls.first)) {
        api_fail(self, call, read->error ? read->error : API_LEADER_CHANGED);
    }
}

void api_on_applied(api_t *self, uint64_t index)
{
    self->view_stale = true;
    if (index > self->applied_index) {
        self->applied_index = index;
    }
    if (self->applied_index > self->commit_index) {
        self->commit_index = self->applied_index;
    }
    while (self->store && self->reads_applying.first &&
           self->reads_applying.first->read_index <= self->applied_index) {
        call_list_add(&self->reads_ready, call_list_take(&self->reads_applying));
    }
    api_native_wake(self);
}

/* ---- execution ---- */

int api_refresh_view(api_t *self)
{
    if (self->view && !self->view_stale) {
        return 0;
    }
    view_unref(&self->view);
    int rc = view_new(&self->view, self->store, self->metrics);
    if (rc < 0) {
        return rc;
    }
    self->view_stale = false;
    self->revision = self->view->head.revision;
    self->compacted = self->view->head.compacted;
    return 0;
}

static void start_read(api_t *self, call_t *call)
{
    assert(self->view->head.applied_index >= call->read_index);
    switch (call->method) {
    case METHOD_RANGE: api_range_start(self, call); break;
    case METHOD_RANGE_STREAM: api_range_stream_start(self, call); break;
    case METHOD_NATIVE_SNAPSHOT: api_native_snapshot_start(self, call); break;
    case METHOD_NATIVE_EVENTS: api_native_events_start(self, call); break;
    case METHOD_TXN: api_txn_start(self, call); break;
    case METHOD_LEASE_TIME_TO_LIVE:
    case METHOD_LEASE_LEASES: api_lease_read(self, call); break;
    case METHOD_MEMBER_LIST:
    case METHOD_MEMBER_ADD:
    case METHOD_MEMBER_REMOVE:
    case METHOD_MEMBER_UPDATE:
    case METHOD_MEMBER_PROMOTE: api_member_list_read(self, call); break;
    case METHOD_STATUS: api_status_read(self, call); break;
    case METHOD_ALARM: api_alarm_read(self, call); break;
    default: assert(!"a method that reads");
    }
}

static size_t read_slice(api_t *self, call_t *call)
{
    switch (call->method) {
    case METHOD_RANGE: return api_range_slice(self, call);
    case METHOD_RANGE_STREAM:
    case METHOD_NATIVE_SNAPSHOT: return api_range_stream_slice(self, call);
    case METHOD_NATIVE_EVENTS: return api_native_events_slice(self, call);
    case METHOD_TXN: return api_txn_slice(self, call);
    default: assert(!"a method that reads in slices"); return 0;
    }
}

static void run_ready(api_t *self)
{
    if (self->reads_ready.count == 0 || !self->store) {
        return;
    }
    int rc = api_refresh_view(self);
    if (rc < 0) {
        api_broken(self, rc);
        return;
    }
    self->clock_us = metrics_clock_us(self->metrics, self->now_us);
    call_t *call = NULL;
    while (!outbox_fatal_text(self->out) && (call = call_list_take(&self->reads_ready))) {
        start_read(self, call);
    }
}

/* A call that has more to read goes to the end of the line; one that has finished is gone. */
static void run_active(api_t *self)
{
    size_t keys = 0;
    while (keys < LIMIT_TURN_KEYS && self->reads_active.first && !outbox_fatal_text(self->out)) {
        call_t *call = call_list_take(&self->reads_active);
        call_list_add(&self->reads_active, call);
        keys += read_slice(self, call);
    }
}

void api_run_reads(api_t *self)
{
    ask_read_index(self);
    run_ready(self);
    run_active(self);
    if (self->view_stale) {
        view_unref(&self->view); /* pins nothing while nobody reads */
    }
}
