/* watch_event: events as clients get them, and which groups of watchers get which. Pure. */
#pragma once

#include "actors/watch/watch_index.h"
#include "messages/msg.h"

/* Appends a WatchResponse.events field; the records are wire bytes of mvccpb.KeyValue, prev_kv may be empty. */
void watch_event_encode(buf_t *out, bool is_delete, slice_t kv, slice_t prev_kv);
/* Do these flags (WATCH_...) leave it out? */
bool watch_event_is_filtered(unsigned flags, bool is_delete);
/* Encodes a span's events into the `pending` of each group that gets some. Returns those groups, linked by
 * `touched`. */
watch_group_t *watch_events_match(watch_index_t *index, const msg_events_t *events);
