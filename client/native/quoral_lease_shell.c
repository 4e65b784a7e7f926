#include <stdlib.h>

#include "client/native/client_lease_calls.h"
#include "client/native/client_shell.h"
#include "messages/xalloc.h"

enum { US_PER_MS = 1000, TTL_MAX_S = 9000000 };

struct quoral_lease {
    client_object_t object;
    client_lease_t lease;
    client_lease_calls_t calls;
    quoral_lease_options_t options;
    quoral_lease_state_t told;
};

quoral_lease_t *quoral_lease_new(quoral_client_t *client, int64_t ttl_s,
                                 const quoral_lease_options_t *options)
{
    if (ttl_s < 1 || ttl_s > TTL_MAX_S) {
        return NULL;
    }
    quoral_lease_t *self = xcalloc(1, sizeof *self);
    self->object.client = client;
    self->options = options ? *options : (quoral_lease_options_t){0};
    client_lease_init(&self->lease, ttl_s);
    client_lease_calls_init(&self->calls, &self->lease);
    pthread_mutex_lock(&client->lock);
    client_list_add(&client->leases, self);
    client_wake(client);
    pthread_mutex_unlock(&client->lock);
    return self;
}

void quoral_lease_destroy(quoral_lease_t **self_p)
{
    quoral_lease_t *self = *self_p;
    *self_p = NULL;
    if (self) {
        quoral_client_t *client = self->object.client;
        pthread_mutex_lock(&client->lock);
        client_object_retire(&self->object);
        client_lease_release(&self->lease, client_now_us());
        pthread_mutex_unlock(&client->lock);
    }
}

static quoral_lease_state_t state_of(const quoral_lease_t *self)
{
    switch (self->lease.state) {
    case CLIENT_LEASE_NONE: return QUORAL_LEASE_PENDING;
    case CLIENT_LEASE_ALIVE: return QUORAL_LEASE_ALIVE;
    case CLIENT_LEASE_UNSURE: return QUORAL_LEASE_UNSURE;
    default: return QUORAL_LEASE_LOST;
    }
}

static void turn(quoral_lease_t *self, uint64_t now_us)
{
    client_session_t *session = self->object.client->session;
    client_lease_step(&self->lease, now_us);
    client_lease_calls_ask(&self->calls, client_lease_want(&self->lease, now_us), session, now_us);
    quoral_lease_state_t state = state_of(self);
    if (!self->object.is_dead && state != self->told) {
        self->told = state;
        pthread_cond_broadcast(&self->object.client->changed);
        if (self->options.on_state) {
            client_object_enter(&self->object);
            self->options.on_state(self->options.arg, self, state);
            client_object_leave(&self->object);
        }
    }
}

static bool is_gone(const quoral_lease_t *self)
{
    bool is_last = self->object.client->is_stopping && self->object.client->stop_us == 0;
    return self->object.is_retired && (self->lease.state == CLIENT_LEASE_RELEASED || is_last);
}

void client_leases_turn(quoral_client_t *self, uint64_t now_us, uint64_t *deadline_us)
{
    client_list_t *list = &self->leases;
    for (size_t i = 0; i < list->n;) {
        quoral_lease_t *lease = list->items[i];
        turn(lease, now_us);
        if (is_gone(lease)) {
            client_lease_calls_deinit(&lease->calls, self->session, now_us);
            list->items[i] = list->items[--list->n];
            free(lease);
        } else {
            uint64_t lease_us = client_lease_deadline(&lease->lease, now_us);
            *deadline_us = lease_us < *deadline_us ? lease_us : *deadline_us;
            i++;
        }
    }
}

int64_t quoral_lease_wait(quoral_lease_t *self, uint32_t timeout_ms)
{
    quoral_client_t *client = self->object.client;
    pthread_mutex_lock(&client->lock);
    uint64_t until_us = client_now_us() + (uint64_t)timeout_ms * US_PER_MS;
    bool may_wait = !client_is_own_thread(client);
    while (self->lease.id == 0 && may_wait && client_wait(client, until_us)) {
    }
    int64_t id = self->lease.id;
    pthread_mutex_unlock(&client->lock);
    return id;
}

int64_t quoral_lease_id(quoral_lease_t *self)
{
    return quoral_lease_wait(self, 0);
}

quoral_lease_state_t quoral_lease_state(quoral_lease_t *self)
{
    pthread_mutex_lock(&self->object.client->lock);
    client_lease_step(&self->lease, client_now_us());
    quoral_lease_state_t state = state_of(self);
    pthread_mutex_unlock(&self->object.client->lock);
    return state;
}
