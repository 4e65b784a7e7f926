/* Native/Snapshot, and what it shares with Native/Events (docs/protocol.md).
 *
 * A snapshot is a RangeStream of what a subscription covers, with a header in every page. A serializable
 * one, and every repair, may ask for a store that has come to a revision: the client has seen it
 * elsewhere. Who does waits in reads_behind, not for long: another member may be further. A linearizable
 * one need not wait: what any member has published was committed before, so the read index covers it. */
#include "actors/api/api_native.h"

#include <assert.h>

#include "actors/api/api_range.h"

api_error_t api_native_check(const api_t *self, slice_t subscription, uint64_t cluster_id)
{
    native_subscription_t read;
    if (cluster_id && cluster_id != self->cfg.cluster_id) {
        return API_CLUSTER_ID_MISMATCH;
    }
    int rc = native_subscription_read(subscription, &read, NULL);
    if (rc == NATIVE_TOO_LONG) {
        return API_SUBSCRIPTION_REFUSED;
    }
    return rc ? API_SUBSCRIPTION_MALFORMED : API_NONE;
}

void api_native_interval(call_t *call, slice_t subscription)
{
    buf_t key = {0};
    buf_t range_end = {0};
    int rc = native_subscription_interval(subscription, &key, &range_end);
    assert(rc == 0);
    size_t key_len = key.len;
    buf_append(&key, range_end.data, range_end.len);
    call->request = buf_bytes(&key);
    const uint8_t *data = bytes_slice(call->request).data;
    call->range = (range_request_t){.key = slice(data, key_len),
                                    .range_end = slice(data + key_len, range_end.len)};
    buf_deinit(&key);
    buf_deinit(&range_end);
}

bool api_native_waits(api_t *self, call_t *call)
{
    if (self->view->head.revision >= call->min_revision) {
        return false;
    }
    uint64_t due_us = api_min(call->due_us, self->now_us + LIMIT_NATIVE_BEHIND_US);
    call_heap_set(&self->heap, call, due_us);
    if (self->reads_behind.count == 0 || call->min_revision < self->behind_min) {
        self->behind_min = call->min_revision;
    }
    call_list_add(&self->reads_behind, call);
    return true;
}

void api_native_wake(api_t *self)
{
    if (self->reads_behind.count == 0 || self->revision < self->behind_min) {
        return;
    }
    self->behind_min = INT64_MAX;
    call_t *next = NULL;
    for (call_t *call = self->reads_behind.first; call; call = next) {
        next = call->next;
        if (call->min_revision <= self->revision) {
            call_list_leave(call);
            call_list_add(&self->reads_ready, call);
        } else if (call->min_revision < self->behind_min) {
            self->behind_min = call->min_revision;
        }
    }
}

void api_native_snapshot_start(api_t *self, call_t *call)
{
    bool is_new = !call->range_job;
    if (is_new && api_native_waits(self, call)) {
        return;
    }
    metrics_add(self->metrics, METRIC_NATIVE_SNAPSHOTS, is_new);
    api_range_stream_start(self, call);
}

void api_on_native_snapshot(api_t *self, call_t *call, bytes_t **message_p)
{
    snapshot_request_t request;
    if (decode_snapshot(bytes_slice(*message_p), &request)) {
        api_fail_decode(self, call);
        return;
    }
    api_error_t error = api_native_check(self, request.subscription, request.cluster_id);
    if (!error && self->sink.refuses &&
        self->sink.refuses(self->sink.context, request.subscription)) {
        error = API_SUBSCRIPTION_REFUSED;
    }
    if (error) {
        api_fail(self, call, error);
        return;
    }
    api_native_interval(call, request.subscription);
    call->min_revision = request.serializable ? request.min_revision : 0;
    api_read_soon(self, call, request.serializable);
}
