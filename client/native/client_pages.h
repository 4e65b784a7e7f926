/* client_pages: what a cache asks a member for, and what comes back, page by page. Pure.
 * The messages are those of messages/native.proto; they are read in place, since they may be large. */
#pragma once

#include "messages/buf.h"
#include "messages/native_event.h"

/* Appended to `out`. */
void client_pages_ask_snapshot(buf_t *out, slice_t subscription, uint64_t cluster_id);
void client_pages_ask_events(buf_t *out, slice_t subscription, native_position_t after,
                             native_position_t through, uint64_t cluster_id);
/* A RangeRequest of no key: what counts is the header of its answer. */
void client_pages_ask_revision(buf_t *out);

typedef enum {
    CLIENT_PAGES_SNAPSHOT, /* SnapshotResponse */
    CLIENT_PAGES_EVENTS,   /* EventsResponse */
    CLIENT_PAGES_HEADER,   /* any answer with a header, which is all that is read */
} client_pages_kind_t;

/* What the pages together say; the owner sets the kind. */
typedef struct {
    client_pages_kind_t kind;
    uint64_t cluster_id;
    int64_t revision; /* of the last page's header */
    int64_t complete; /* events: the revision up to which they are all there; 0: not said yet */
    bool is_malformed;
} client_pages_t;

typedef struct {
    void (*on_kv)(void *owner, const native_kv_t *kv);
    void (*on_event)(void *owner, native_position_t position, const native_change_t *change);
} client_pages_sink_t;

/* One more page. After a malformed one nothing is read any more. */
void client_pages_read(client_pages_t *self, slice_t page, const client_pages_sink_t *sink,
                       void *owner);
