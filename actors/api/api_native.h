/* api_native: snapshots and gap repairs for caches, inside of api. */
#pragma once

#include "actors/api/api_state.h"

/* Each page of a snapshot is a whole message: the same fields as a RangeResponse. */
static inline bool api_is_snapshot(const call_t *call)
{
    return call->method == METHOD_NATIVE_SNAPSHOT;
}
void api_native_snapshot_start(api_t *self, call_t *call);

void api_native_events_start(api_t *self, call_t *call);
size_t api_native_events_slice(api_t *self, call_t *call);
/* The client has taken some of the stream's messages. */
void api_native_events_sent(api_t *self, call_t *call);
void events_job_destroy(api_t *self, events_job_t **job_p);

/* What is wrong with the request? */
api_error_t api_native_check(const api_t *self, slice_t subscription, uint64_t cluster_id);
/* Makes call->range the interval of a valid subscription. */
void api_native_interval(call_t *call, slice_t subscription);
/* Is the view older than the call wants? Then it waits for a while. */
bool api_native_waits(api_t *self, call_t *call);
/* The store has got further: some may go on. */
void api_native_wake(api_t *self);
