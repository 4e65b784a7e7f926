/* watch_feed: watchers on one Watch stream that survives lost connections: it is opened again and
 * every watcher goes on after the last revision it saw. Handlers run inside the client's turns.
 * An instance borrows its client; watchers live as long as the instance. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/printer.h"
#include "client/grpc_client.h"

typedef struct watch_feed watch_feed_t;
typedef struct watcher watcher_t;

typedef struct watcher_cfg {
    ProtobufCBinaryData key;       /* taken */
    ProtobufCBinaryData range_end; /* taken */
    int64_t revision;              /* 0: from now on */
    bool prev_kv;
    bool progress_notify;
    /* Everything there is to show. error: NULL, or why the watcher was canceled; it is the last call
     * then. */
    void (*on_view)(void *arg, const watch_view_t *view, const char *error);
    void *arg;
} watcher_cfg_t;

watch_feed_t *watch_feed_new(grpc_client_t *client);
void watch_feed_destroy(watch_feed_t **self_p);

/* Creates the watcher on the server when those added before it have been created. */
watcher_t *watch_feed_add(watch_feed_t *self, const watcher_cfg_t *cfg);
/* Asks for the revision all watchers of the stream have reached. */
void watch_feed_progress(watch_feed_t *self);

/* The server has created it, or it has ended. */
bool watcher_settled(const watcher_t *self);
bool watcher_ended(const watcher_t *self);

/* Milliseconds until watch_feed_tick must be called; -1: no need. */
int64_t watch_feed_wait_ms(const watch_feed_t *self);
/* Opens the stream again when it is time. To be called after each turn of the client. */
void watch_feed_tick(watch_feed_t *self);
