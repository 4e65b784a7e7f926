#include <stdlib.h>

#include "client/native/client_shell.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

enum {
    US_PER_MS = 1000,
    KEY_BYTES_MAX =
        2000, /* escaped and as a subscription it is no longer than LIMIT_NATIVE_TOPIC_BYTES */
    QUEUE_MAX = 20000, /* events held while one is missing: two seconds of many */
    QUEUE_BYTES_MAX = 32 << 20,
};
_Static_assert(2 * KEY_BYTES_MAX + 8 <= LIMIT_NATIVE_TOPIC_BYTES, "longer ones get no positions");

struct quoral_cache {
    client_object_t object;
    client_feed_t *feed; /* NULL once it is dead */
    quoral_cache_options_t options;
    bool is_stale; /* as it was told last */
};

quoral_cache_t *client_caches_add(quoral_client_t *client, quoral_bytes_t key,
                                  const quoral_cache_options_t *options)
{
    if (key.len > KEY_BYTES_MAX || (options && options->exact && key.len == 0)) {
        return NULL;
    }
    quoral_cache_t *self = xcalloc(1, sizeof *self);
    self->object.client = client;
    self->options = options ? *options : (quoral_cache_options_t){0};
    self->is_stale = true;
    client_cache_cfg_t cfg = {.key = slice_of(key),
                              .prefix = !self->options.exact,
                              .queue_max = QUEUE_MAX,
                              .queue_bytes_max = QUEUE_BYTES_MAX};
    self->feed = client_feed_new(&cfg);
    client_feed_t *given = self->feed;
    client_list_add(&client->caches, self);
    client_feeds_add(&client->feeds, &given, client->session, client_now_us());
    client_wake(client);
    return self;
}

quoral_cache_t *quoral_cache_new(quoral_client_t *client, quoral_bytes_t key,
                                 const quoral_cache_options_t *options)
{
    pthread_mutex_lock(&client->lock);
    quoral_cache_t *self = client_caches_add(client, key, options);
    pthread_mutex_unlock(&client->lock);
    return self;
}

void quoral_cache_destroy(quoral_cache_t **self_p)
{
    quoral_cache_t *self = *self_p;
    *self_p = NULL;
    if (!self) {
        return;
    }
    quoral_client_t *client = self->object.client;
    pthread_mutex_lock(&client->lock);
    client_object_retire(&self->object);
    client_feeds_remove(&client->feeds, &self->feed, client->session, client_now_us());
    pthread_mutex_unlock(&client->lock);
}

/* ---- the thread's part ---- */

static quoral_change_t change_of(const client_cache_change_t *change,
                                 const client_cache_changes_t *changes)
{
    return (quoral_change_t){.deleted = change->deleted,
                             .kv = client_kv_of(&change->item),
                             .has_previous = change->before.record != NULL,
                             .previous = client_kv_of(&change->before),
                             .revision = changes->revision,
                             .reset = changes->reset};
}

static void tell_changes(quoral_cache_t *self, const client_cache_changes_t *changes)
{
    client_object_enter(&self->object);
    for (size_t i = 0; i < changes->n && self->options.on_change && !self->object.is_dead; i++) {
        quoral_change_t change = change_of(&changes->items[i], changes);
        self->options.on_change(self->options.arg, self, &change);
    }
    if (self->options.on_revision && !self->object.is_dead) {
        self->options.on_revision(self->options.arg, self, changes->revision);
    }
    client_object_leave(&self->object);
}

static void tell_staleness(quoral_cache_t *self, uint64_t now_us)
{
    bool is_stale = client_cache_stale(client_feed_cache(self->feed), now_us);
    if (is_stale != self->is_stale) {
        self->is_stale = is_stale;
        pthread_cond_broadcast(&self->object.client->changed);
        if (self->options.on_stale) {
            client_object_enter(&self->object);
            self->options.on_stale(self->options.arg, self, is_stale);
            client_object_leave(&self->object);
        }
    }
}

static void turn(quoral_cache_t *self, uint64_t now_us)
{
    client_cache_changes_t changes = {0};
    while (!self->object.is_dead &&
           client_cache_advance(client_feed_cache(self->feed), now_us, &changes)) {
        tell_changes(self, &changes);
        client_cache_changes_clear(&changes);
    }
    client_cache_changes_deinit(&changes);
    if (!self->object.is_dead) {
        tell_staleness(self, now_us);
    }
}

void client_caches_turn(quoral_client_t *self, uint64_t now_us, uint64_t *deadline_us)
{
    (void)deadline_us; /* client_feeds_deadline has them */
    client_list_t *list = &self->caches;
    for (size_t i = 0; i < list->n;) {
        quoral_cache_t *cache = list->items[i];
        if (!cache->object.is_dead) {
            turn(cache, now_us);
        }
        if (cache->object.is_retired && !cache->feed) {
            list->items[i] = list->items[--list->n];
            free(cache);
        } else {
            i++;
        }
    }
}

/* ---- what programs ask ---- */

bool quoral_cache_wait(quoral_cache_t *self, int64_t revision, uint32_t timeout_ms)
{
    quoral_client_t *client = self->object.client;
    const client_cache_t *cache = client_feed_cache(self->feed);
    pthread_mutex_lock(&client->lock);
    uint64_t until_us = client_now_us() + (uint64_t)timeout_ms * US_PER_MS;
    bool may_wait = !client_is_own_thread(client);
    bool is_there = false;
    do {
        is_there = client_cache_loaded(cache) && client_cache_revision(cache) >= revision;
    } while (!is_there && may_wait && client_wait(client, until_us));
    pthread_mutex_unlock(&client->lock);
    return is_there;
}

int64_t quoral_cache_revision(quoral_cache_t *self)
{
    pthread_mutex_lock(&self->object.client->lock);
    int64_t revision = client_cache_revision(client_feed_cache(self->feed));
    pthread_mutex_unlock(&self->object.client->lock);
    return revision;
}

bool quoral_cache_is_stale(quoral_cache_t *self)
{
    pthread_mutex_lock(&self->object.client->lock);
    bool is_stale = client_cache_stale(client_feed_cache(self->feed), client_now_us());
    pthread_mutex_unlock(&self->object.client->lock);
    return is_stale;
}

quoral_cache_counts_t quoral_cache_counts(quoral_cache_t *self)
{
    pthread_mutex_lock(&self->object.client->lock);
    const client_cache_counts_t *counts = client_cache_counts(client_feed_cache(self->feed));
    quoral_cache_counts_t copy = {.snapshots = counts->snapshots,
                                  .resets = counts->resets,
                                  .repairs = counts->repairs,
                                  .events = counts->events,
                                  .unanswered = client_feed_unanswered(self->feed)};
    pthread_mutex_unlock(&self->object.client->lock);
    return copy;
}

quoral_result_t *quoral_cache_get(quoral_cache_t *self, quoral_bytes_t key)
{
    pthread_mutex_lock(&self->object.client->lock);
    const client_cache_t *cache = client_feed_cache(self->feed);
    quoral_result_t *result = client_result_of_cache(client_cache_revision(cache));
    const keymap_item_t *item = keymap_get(client_cache_map(cache), slice_of(key));
    if (item) {
        client_result_add(result, item);
    }
    pthread_mutex_unlock(&self->object.client->lock);
    return result;
}

quoral_result_t *quoral_cache_range(quoral_cache_t *self, quoral_bytes_t prefix)
{
    pthread_mutex_lock(&self->object.client->lock);
    const client_cache_t *cache = client_feed_cache(self->feed);
    const keymap_t *map = client_cache_map(cache);
    quoral_result_t *result = client_result_of_cache(client_cache_revision(cache));
    keymap_place_t place = keymap_seek(map, slice_of(prefix));
    const keymap_item_t *item = NULL;
    while ((item = keymap_next(map, &place)) && slice_starts_with(item->key, slice_of(prefix))) {
        client_result_add(result, item);
    }
    pthread_mutex_unlock(&self->object.client->lock);
    return result;
}
