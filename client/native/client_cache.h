/* client_cache: a prefix (or one key) of the store as a local map that equals the store at a revision. Pure.
 * One instance per cache, owned by the client's thread.
 *
 * What comes in: publications and marks of the member this client listens to, and the answers to what
 * the cache asks for (client_cache_want). What comes out: whole revisions, one by one
 * (client_cache_advance), and questions. docs/protocol.md, "The rule for caches"; in short:
 *
 *   1. `position` is the place in the history of this subscription up to which every event is here.
 *      An event whose previous position is at or below it continues; one whose own is, is a repetition.
 *   2. Anything else is a hole. What is missing is asked for: Events(after position, through the
 *      previous position), or a snapshot when the server does not have it any more.
 *   3. Events become visible with the last one of their revision, all together.
 *   4. A mark says where the subscription's last event is. When that is here, the map equals the store
 *      at the mark's revision.
 *   5. The revision never goes back, whichever member the events come from, unless the cluster is another
 *      one or a linearizable read proves that its history went back (a restored backup). */
#pragma once

#include "client/native/client_cache_changes.h"
#include "client/native/keymap.h"
#include "messages/native_event.h"

typedef struct client_cache client_cache_t;

/* One event as it came, for this cache's subscription. Borrows everything. */
typedef struct {
    native_position_t position;
    native_position_t previous; /* of this subscription's event before it; not in the history */
    bool last;                  /* of its revision, for this subscription; not in the history */
    bool left_out; /* too large to be published: there is no change, it has to be asked for */
    const native_change_t *change; /* NULL if left out */
} client_cache_event_t;

typedef enum {
    CLIENT_CACHE_WANTS_NOTHING,
    CLIENT_CACHE_WANTS_SNAPSHOT, /* by a linearizable read */
    CLIENT_CACHE_WANTS_EVENTS,   /* from the history */
    CLIENT_CACHE_WANTS_REVISION, /* the store's, by a linearizable read */
} client_cache_want_kind_t;

typedef struct {
    client_cache_want_kind_t kind;
    int64_t min_revision;      /* a snapshot below it proves that the history went back */
    native_position_t after;   /* events */
    native_position_t through; /* events */
} client_cache_want_t;

typedef struct {
    slice_t key;
    bool prefix;      /* all keys that begin with `key`; otherwise the key alone */
    size_t queue_max; /* events held while one is missing; what is above is asked for again */
    size_t queue_bytes_max;
} client_cache_cfg_t;

typedef struct {
    uint64_t snapshots; /* taken completely */
    uint64_t resets;    /* among them: those that began a new history */
    uint64_t repairs;   /* holes filled from the history */
    uint64_t events;    /* that changed the map */
    uint64_t repeated;  /* events that were here already */
    uint64_t dropped;   /* events for which the queue had no room */
} client_cache_counts_t;

client_cache_t *client_cache_new(const client_cache_cfg_t *cfg);
void client_cache_destroy(client_cache_t **self_p);

/* ---- what comes in ---- */

/* Publications will now come from this member. Nothing asked for before is answered any more. */
void client_cache_linked(client_cache_t *self, uint64_t now_us, uint64_t cluster_id,
                         uint64_t interval_us);
/* None come until the next client_cache_linked. */
void client_cache_unlinked(client_cache_t *self);
void client_cache_event(client_cache_t *self, uint64_t cluster_id,
                        const client_cache_event_t *event);
void client_cache_mark(client_cache_t *self, uint64_t now_us, const native_mark_t *mark);

/* What was asked for, piece by piece and in order. The owner says one of client_cache_answered and
 * client_cache_failed at the end. */
void client_cache_snapshot_item(client_cache_t *self, const native_kv_t *kv);
void client_cache_history_event(client_cache_t *self, native_position_t position,
                                const native_change_t *change);
/* `complete`: the snapshot's revision, or the one read, or how far the history is here now; in each case
 * with all of its events. */
void client_cache_answered(client_cache_t *self, uint64_t now_us, uint64_t cluster_id,
                           int64_t complete);
/* `compacted`: the events do not exist any more, and only then another question makes sense at once. */
void client_cache_failed(client_cache_t *self, uint64_t now_us, bool compacted);

/* ---- what comes out ---- */

/* Makes the next revision visible. True: `changes` (empty before) tells what is different, possibly
 * nothing but the revision. The owner calls it until it is false, after each thing that came in. */
bool client_cache_advance(client_cache_t *self, uint64_t now_us, client_cache_changes_t *changes);
/* True: the owner has to ask for *want and will say how it ended; until then, false. */
bool client_cache_want(client_cache_t *self, uint64_t now_us, client_cache_want_t *want);
/* This member is silent or does not catch up: another may do better. False again once linked. */
bool client_cache_restless(const client_cache_t *self, uint64_t now_us);
/* When client_cache_want or _stale or _restless may say something else; UINT64_MAX: not by itself. */
uint64_t client_cache_deadline(const client_cache_t *self, uint64_t now_us);

/* ---- what is there ---- */

bool client_cache_loaded(const client_cache_t *self);
/* No mark has confirmed the map for three intervals: the store may have moved on. */
bool client_cache_stale(const client_cache_t *self, uint64_t now_us);
int64_t client_cache_revision(const client_cache_t *self); /* 0: not loaded yet */
const keymap_t *client_cache_map(const client_cache_t *self);
const client_cache_counts_t *client_cache_counts(const client_cache_t *self);
