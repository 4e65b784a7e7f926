/* client_cache_queue: events and marks of a cache, in the order in which they have to be looked at. Pure.
 * Embedded in client_cache; it owns the items in it. */
#pragma once

#include "client/native/keymap.h"
#include "messages/native_event.h"

typedef enum {
    CLIENT_CACHE_ENTRY_EVENT,
    CLIENT_CACHE_ENTRY_MARK,
    CLIENT_CACHE_ENTRY_COMPLETE, /* the history has been read through `position` */
} client_cache_entry_kind_t;

typedef struct {
    client_cache_entry_kind_t kind;
    native_position_t position; /* mark: of the subscription's last event */
    native_position_t previous;
    bool last;
    bool deleted;
    bool left_out;
    keymap_item_t item;
    int64_t revision;    /* mark */
    uint64_t arrived_us; /* mark */
    bool leaderless;     /* mark */
} client_cache_entry_t;

typedef struct {
    client_cache_entry_t *items;
    size_t head;
    size_t end;
    size_t capacity;
    size_t bytes;       /* of the records */
} client_cache_queue_t; /* zero-initialised is empty and ready */

void client_cache_queue_deinit(client_cache_queue_t *self);
void client_cache_queue_clear(client_cache_queue_t *self);
/* Takes the entry's item. */
void client_cache_queue_push(client_cache_queue_t *self, client_cache_entry_t *entry);
size_t client_cache_queue_size(const client_cache_queue_t *self);
/* The i-th from the front; valid until the next change. */
client_cache_entry_t *client_cache_queue_at(const client_cache_queue_t *self, size_t i);
/* Removes the first one, which must be there; its item is the caller's. */
client_cache_entry_t client_cache_queue_pop(client_cache_queue_t *self);
/* Removes the first one, and what it owns. */
void client_cache_queue_drop(client_cache_queue_t *self);
