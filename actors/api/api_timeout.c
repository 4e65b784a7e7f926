/* Deadlines of calls: the client's own, and the server's patience. */
#include "actors/api/api_cluster.h"

void api_set_timeout(api_t *self, call_t *call, uint64_t since_us)
{
    uint64_t due_us = since_us + self->cfg.request_timeout_us;
    call_heap_set(&self->heap, call, api_min(call->client_due_us, due_us));
}

void api_clear_timeout(api_t *self, call_t *call)
{
    call_heap_set(&self->heap, call, call->client_due_us);
}

/* Are those reached, since the request came, who are needed to get it into the log? */
static bool is_connected(const api_t *self, const call_t *call)
{
    bool through_others = self->role.leader != 0 && self->role.leader != self->cfg.member_id;
    return through_others ? api_reaches(self, self->role.leader, call->started_us)
                          : api_reaches_quorum(self, call->started_us);
}

/* Which of the timeouts etcd tells apart (contract section 10). What became of a proposal is open: its
 * leader was lost around the time of the request, or the connection to who decides is, or neither. */
static api_error_t timeout_error(const api_t *self, const call_t *call)
{
    if (call->list == &self->reads_behind) {
        metrics_add(self->metrics, METRIC_NATIVE_BEHIND, 1);
        return API_BEHIND;
    }
    if (!call->proposal) {
        return call->method == METHOD_MOVE_LEADER ? API_TIMEOUT_LEADER_TRANSFER : API_TIMEOUT;
    }
    uint64_t window_us = 2 * self->election_timeout_us;
    uint64_t lost_us = self->leader_since_us > window_us ? self->leader_since_us - window_us : 0;
    bool around_election = call->started_us > lost_us && call->started_us < self->leader_since_us;
    if (around_election) {
        return API_TIMEOUT_LEADER_FAIL;
    }
    return is_connected(self, call) ? API_TIMEOUT : API_TIMEOUT_CONNECTION_LOST;
}

void api_expire_calls(api_t *self)
{
    call_t *call = NULL;
    const call_list_t *slow = NULL;
    while ((call = call_heap_first(&self->heap)) && call->due_us <= self->now_us) {
        bool by_client = call->client_due_us <= self->now_us;
        if (!by_client && call->list != slow && api_waits_for_read_index(self, call)) {
            slow = call->list; /* those that wait together count once */
            metrics_add(self->metrics, METRIC_READ_INDEXES_SLOW, 1);
        }
        api_fail(self, call, by_client ? API_DEADLINE_EXCEEDED : timeout_error(self, call));
    }
}
