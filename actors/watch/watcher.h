/* watcher: one watch of one client, the stream it belongs to, and the tables of both. Pure; internal
 * to the watch actor.
 *
 *   CREATE -> ready (past) ----caught up----> synced --stream or gateway slow--> ready
 *          -> future --its revision is near--> ready      ready --stream full--> blocked --CONSUMED--> ready
 *          -> synced (from now)
 */
#pragma once

#include "actors/core/sm.h"
#include "actors/watch/watch_index.h"
#include "messages/msg.h"

enum { WATCHER_NEW, WATCHER_SYNCED, WATCHER_READY, WATCHER_BLOCKED, WATCHER_FUTURE };

typedef struct watch_stream watch_stream_t;

struct watcher {
    watch_stream_t *stream;
    int64_t id;
    bytes_t *key, *range_end;
    unsigned flags;
    int64_t next; /* first revision not delivered; unused while synced (position + 1) */
    sm_t phase;
    watch_group_t *group; /* while synced */
    size_t group_slot;
    bool sent_since_tick; /* for progress notify */
    buf_t pending;        /* during a catch-up slice */
    size_t pending_count; /* events in it */
    watcher_t *stream_next, *stream_prev;
    watcher_t *ready_next, *ready_prev;
};

struct watch_stream {
    uint64_t id;
    actor_id_t gateway;
    uint64_t outstanding; /* bytes handed to the gateway and not yet written to the client */
    uint64_t pending;     /* events in them; clients take bytes, so about that many */
    watcher_t *watchers;
    size_t count, synced;
};

/* A doubly linked list of watchers that want a catch-up slice, first come first served. */
typedef struct {
    watcher_t *first, *last;
    size_t count;
} ready_list_t;

typedef struct {
    table_t watchers; /* by stream and id */
    table_t streams;  /* by gateway and id */
    watch_index_t index;
    ready_list_t ready[GATEWAY_COUNT];
    uint64_t pending; /* of all streams */
} watcher_set_t;      /* zero-initialised is empty */

void watcher_set_deinit(watcher_set_t *self);
/* Streams of different gateways may have the same id. */
watch_stream_t *watcher_set_stream(const watcher_set_t *self, actor_id_t gateway, uint64_t stream);
watcher_t *watcher_set_find(const watcher_set_t *self, actor_id_t gateway, uint64_t stream,
                            int64_t id);
/* Moves key and range_end out of `create`; makes the stream if it is new. */
watcher_t *watcher_set_add(watcher_set_t *self, actor_id_t gateway, msg_watch_create_t *create);
void watcher_set_remove(watcher_set_t *self, watcher_t *watcher);
void watcher_set_close_stream(watcher_set_t *self, actor_id_t gateway, uint64_t stream);
/* The stream's gateway gets that much to send; its client has taken that much. */
void watcher_set_give(watcher_set_t *self, watch_stream_t *stream, size_t bytes, size_t events);
void watcher_set_taken(watcher_set_t *self, watch_stream_t *stream, uint64_t bytes);
/* The one way to change a watcher's phase: keeps groups, lists and counts in step. */
void watcher_set_move(watcher_set_t *self, watcher_t *watcher, unsigned phase);
