#include <stdio.h>
#include <stdlib.h>

#include "client/native/client_instance.h"
#include "client/native/client_shell.h"
#include "messages/xalloc.h"

enum { ANNOUNCE_TTL_S = 10 };

/* One entry of a list: what programs see, and what it lies in. */
typedef struct {
    quoral_instance_t shown;
    char *name;
    client_instance_t read;
} entry_t;

struct quoral_instances {
    entry_t *entries;
    size_t n;
    size_t capacity;
    int64_t revision;
};

struct quoral_discovery {
    client_object_t object;
    quoral_cache_t *cache;
    size_t prefix_len;
    quoral_discovery_options_t options;
    client_registration_t *announcement; /* NULL: it does not announce itself */
    int64_t announced;                   /* a revision; 0: none yet */
    bool has_drainers; /* the revision that is being told has instances that began to drain */
};

/* ---- instances ---- */

/* 0, or 1: no instance. Fills the entry, whose texts are its own. */
static int read_entry(size_t prefix_len, const quoral_kv_t *kv, entry_t *entry)
{
    if (client_instance_read(slice_of(kv->value), &entry->read)) {
        return 1;
    }
    entry->name =
        xasprintf("%.*s", (int)(kv->key.len - prefix_len), (const char *)kv->key.data + prefix_len);
    entry->shown = (quoral_instance_t){.address = entry->read.address,
                                       .metadata_n = entry->read.metadata_n,
                                       .weight = entry->read.weight,
                                       .state = (quoral_instance_state_t)entry->read.state,
                                       .name = entry->name,
                                       .revision = kv->mod_revision};
    return 0;
}

/* The entry stays where it is from now on: its metadata is shown in place. */
static void settle_entry(entry_t *entry)
{
    _Static_assert(sizeof(client_instance_metadata_t) == sizeof(quoral_metadata_t),
                   "the same two texts");
    entry->shown.metadata = (const quoral_metadata_t *)(const void *)entry->read.metadata;
}

static void free_entry(entry_t *entry)
{
    client_instance_deinit(&entry->read);
    free(entry->name);
}

void quoral_instances_destroy(quoral_instances_t **self_p)
{
    quoral_instances_t *self = *self_p;
    *self_p = NULL;
    if (self) {
        for (size_t i = 0; i < self->n; i++) {
            free_entry(&self->entries[i]);
        }
        free(self->entries);
        free(self);
    }
}

size_t quoral_instances_size(const quoral_instances_t *self)
{
    return self->n;
}

const quoral_instance_t *quoral_instances_at(const quoral_instances_t *self, size_t i)
{
    return i < self->n ? &self->entries[i].shown : NULL;
}

int64_t quoral_instances_revision(const quoral_instances_t *self)
{
    return self->revision;
}

quoral_instances_t *quoral_discovery_instances(quoral_discovery_t *self)
{
    quoral_instances_t *list = xcalloc(1, sizeof *list);
    quoral_result_t *result = quoral_cache_range(self->cache, quoral_str(""));
    list->revision = quoral_result_revision(result);
    for (size_t i = 0; i < quoral_result_size(result); i++) {
        list->entries = xgrow(list->entries, &list->capacity, list->n + 1, sizeof *list->entries);
        list->n +=
            read_entry(self->prefix_len, quoral_result_kv(result, i), &list->entries[list->n]) == 0;
    }
    for (size_t i = 0; i < list->n; i++) {
        settle_entry(&list->entries[i]);
    }
    quoral_result_destroy(&result);
    return list;
}

static uint64_t weight_of(const entry_t *entry)
{
    return entry->shown.state == QUORAL_READY ? entry->shown.weight : 0;
}

quoral_instances_t *quoral_discovery_choose(quoral_discovery_t *self)
{
    quoral_instances_t *list = quoral_discovery_instances(self);
    uint64_t sum = 0;
    for (size_t i = 0; i < list->n; i++) {
        sum += weight_of(&list->entries[i]);
    }
    uint64_t mark = sum > 0 ? client_random() % sum : 0;
    size_t chosen = 0;
    while (chosen < list->n && weight_of(&list->entries[chosen]) <= mark) {
        mark -= weight_of(&list->entries[chosen++]);
    }
    size_t kept = chosen < list->n;
    if (kept) {
        entry_t entry = list->entries[chosen];
        list->entries[chosen] = list->entries[0];
        list->entries[0] = entry;
    }
    for (size_t i = kept; i < list->n; i++) {
        free_entry(&list->entries[i]);
    }
    list->n = kept;
    if (kept) {
        settle_entry(&list->entries[0]);
    }
    return list;
}

/* ---- what the cache tells ---- */

static void on_change(void *arg, quoral_cache_t *cache, const quoral_change_t *change)
{
    (void)cache;
    quoral_discovery_t *self = arg;
    entry_t now;
    entry_t before;
    bool is_there = !change->deleted && read_entry(self->prefix_len, &change->kv, &now) == 0;
    bool was_there =
        change->has_previous && read_entry(self->prefix_len, &change->previous, &before) == 0;
    self->has_drainers = self->has_drainers || (is_there && now.shown.state == QUORAL_DRAINING);
    if (self->options.on_event && (is_there || was_there)) {
        entry_t *told = is_there ? &now : &before;
        settle_entry(told);
        quoral_event_t event = !is_there   ? QUORAL_REMOVED
                               : was_there ? QUORAL_CHANGED
                                           : QUORAL_ADDED;
        self->options.on_event(self->options.arg, self, event, &told->shown);
    }
    if (is_there) {
        free_entry(&now);
    }
    if (was_there) {
        free_entry(&before);
    }
}

/* The program has been told of everything up to the revision. Those that drain are told so; nobody else has to wait. */
static void on_revision(void *arg, quoral_cache_t *cache, int64_t revision)
{
    (void)cache;
    quoral_discovery_t *self = arg;
    if (self->options.on_revision) {
        self->options.on_revision(self->options.arg, self, revision);
    }
    pthread_mutex_lock(&self->object.client->lock);
    if (self->announcement && (self->has_drainers || self->announced == 0)) {
        char text[24];
        snprintf(text, sizeof text, "%lld", (long long)revision);
        client_registration_set(self->announcement, slice_str(text));
        self->announced = revision;
    }
    self->has_drainers = false;
    pthread_mutex_unlock(&self->object.client->lock);
}

static void on_stale(void *arg, quoral_cache_t *cache, bool stale)
{
    (void)cache;
    quoral_discovery_t *self = arg;
    if (self->options.on_stale) {
        self->options.on_stale(self->options.arg, self, stale);
    }
}

/* ---- its life ---- */

static client_registration_t *new_announcement(const char *name)
{
    char subscriber[24];
    snprintf(subscriber, sizeof subscriber, "%016llx", (unsigned long long)client_random());
    buf_t key = {0};
    client_instance_subscriber_key(&key, name, subscriber);
    client_registration_cfg_t cfg = {.key = buf_slice(&key), .ttl_s = ANNOUNCE_TTL_S};
    client_registration_t *announcement = client_registration_new(&cfg);
    buf_deinit(&key);
    return announcement;
}

quoral_discovery_t *quoral_discovery_new(quoral_client_t *client, const char *name,
                                         const quoral_discovery_options_t *options)
{
    if (!client_instance_is_name(name)) {
        return NULL;
    }
    quoral_discovery_t *self = xcalloc(1, sizeof *self);
    self->object.client = client;
    self->options = options ? *options : (quoral_discovery_options_t){0};
    buf_t prefix = {0};
    client_instance_prefix(&prefix, name);
    self->prefix_len = prefix.len;
    self->announcement = self->options.announce ? new_announcement(name) : NULL;
    quoral_cache_options_t cache_options = {
        .on_change = on_change, .on_revision = on_revision, .on_stale = on_stale, .arg = self};
    quoral_bytes_t key = {prefix.data, prefix.len};
    pthread_mutex_lock(&client->lock);
    client_list_add(&client->discoveries, self);
    self->cache = client_caches_add(client, key, &cache_options);
    pthread_mutex_unlock(&client->lock);
    buf_deinit(&prefix);
    return self;
}

void quoral_discovery_destroy(quoral_discovery_t **self_p)
{
    quoral_discovery_t *self = *self_p;
    *self_p = NULL;
    if (self) {
        quoral_client_t *client = self->object.client;
        quoral_cache_t *cache = self->cache; /* a callback that runs may still ask for it */
        quoral_cache_destroy(&cache);
        pthread_mutex_lock(&client->lock);
        if (self->announcement) {
            client_registration_leave(self->announcement, client_now_us());
        }
        client_object_retire(&self->object);
        pthread_mutex_unlock(&client->lock);
    }
}

static bool is_gone(const quoral_discovery_t *self)
{
    bool is_last = self->object.client->is_stopping && self->object.client->stop_us == 0;
    return self->object.is_retired &&
           (!self->announcement || is_last ||
            client_registration_state(self->announcement) == CLIENT_REGISTRATION_LEFT);
}

void client_discoveries_turn(quoral_client_t *self, uint64_t now_us, uint64_t *deadline_us)
{
    client_list_t *list = &self->discoveries;
    for (size_t i = 0; i < list->n;) {
        quoral_discovery_t *discovery = list->items[i];
        if (discovery->announcement) {
            client_registration_step(discovery->announcement, self->session, now_us);
            uint64_t next_us = client_registration_deadline(discovery->announcement, now_us);
            *deadline_us = next_us < *deadline_us ? next_us : *deadline_us;
        }
        if (is_gone(discovery)) {
            list->items[i] = list->items[--list->n];
            client_registration_destroy(&discovery->announcement, self->session, now_us);
            free(discovery);
        } else {
            i++;
        }
    }
}

bool client_has_farewells(const quoral_client_t *self)
{
    return self->leases.n + self->services.n + self->discoveries.n > 0;
}

bool quoral_discovery_wait(quoral_discovery_t *self, int64_t revision, uint32_t timeout_ms)
{
    return quoral_cache_wait(self->cache, revision, timeout_ms);
}

int64_t quoral_discovery_revision(quoral_discovery_t *self)
{
    return quoral_cache_revision(self->cache);
}

bool quoral_discovery_is_stale(quoral_discovery_t *self)
{
    return quoral_cache_is_stale(self->cache);
}
