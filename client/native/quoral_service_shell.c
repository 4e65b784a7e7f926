#include <stdlib.h>

#include "client/native/client_instance.h"
#include "client/native/client_shell.h"
#include "messages/xalloc.h"

enum {
    US_PER_MS = 1000,
    TTL_S = 10,
    TTL_MAX_S = 9000000,
    HEALTH_MS = 1000,
    DRAIN_MS = 10000,
    DESTROY_MS = 1000
};

struct quoral_service {
    client_object_t object;
    client_registration_t *registration;
    client_instance_t value; /* as registered */
    char *instance;
    bool (*is_ready)(void *arg);
    void (*on_state)(void *arg, quoral_service_t *service, quoral_service_state_t state);
    void *arg;
    uint64_t health_us;      /* between two questions */
    uint64_t next_health_us; /* UINT64_MAX: it is not asked */
    bool has_value;
    quoral_service_state_t told;
};

static bool is_usable(const quoral_service_options_t *options)
{
    bool has_names = client_instance_is_name(options->name) &&
                     (!options->instance || client_instance_is_name(options->instance));
    bool has_address = options->address && options->address[0] && strlen(options->address) < 1024;
    bool has_numbers = options->metadata_n <= CLIENT_INSTANCE_METADATA_MAX &&
                       options->weight <= CLIENT_INSTANCE_WEIGHT_MAX && options->ttl_s >= 0 &&
                       options->ttl_s <= TTL_MAX_S;
    size_t bytes = 0;
    for (size_t i = 0; has_numbers && i < options->metadata_n; i++) {
        if (!options->metadata[i].name || !options->metadata[i].value) {
            return false;
        }
        bytes += strlen(options->metadata[i].name) + strlen(options->metadata[i].value);
    }
    /* Escaped, an octet takes up to six. */
    return has_names && has_address && has_numbers && bytes < CLIENT_INSTANCE_BYTES_MAX / 8;
}

static client_instance_t value_of(const quoral_service_options_t *options)
{
    client_instance_t value = {.address = xstrdup(options->address),
                               .metadata_n = options->metadata_n,
                               .weight = options->weight == 0  ? 1
                                         : options->weight < 0 ? 0
                                                               : (uint32_t)options->weight};
    for (size_t i = 0; i < options->metadata_n; i++) {
        value.metadata[i].name = xstrdup(options->metadata[i].name);
        value.metadata[i].value = xstrdup(options->metadata[i].value);
    }
    return value;
}

static client_registration_t *registration_of(const quoral_service_options_t *options,
                                              const char *instance)
{
    buf_t key = {0};
    buf_t subscribers = {0};
    client_instance_key(&key, options->name, instance);
    client_instance_subscriber_key(&subscribers, options->name, "");
    client_registration_cfg_t cfg = {
        .key = buf_slice(&key),
        .subscribers = buf_slice(&subscribers),
        .ttl_s = options->ttl_s ? options->ttl_s : TTL_S,
        .drain_us = (uint64_t)(options->drain_ms ? options->drain_ms : DRAIN_MS) * US_PER_MS};
    client_registration_t *registration = client_registration_new(&cfg);
    buf_deinit(&key);
    buf_deinit(&subscribers);
    return registration;
}

/* Tells the registration what is true now. */
static void set_state(quoral_service_t *self, client_instance_state_t state)
{
    if (self->has_value && self->value.state == state) {
        return;
    }
    self->has_value = true;
    self->value.state = state;
    buf_t text = {0};
    client_instance_write(&text, &self->value);
    client_registration_set(self->registration, buf_slice(&text));
    buf_deinit(&text);
}

quoral_service_t *quoral_service_new(quoral_client_t *client,
                                     const quoral_service_options_t *options)
{
    if (!is_usable(options)) {
        return NULL;
    }
    quoral_service_t *self = xcalloc(1, sizeof *self);
    self->object.client = client;
    self->instance = options->instance ? xstrdup(options->instance)
                                       : xasprintf("%016llx", (unsigned long long)client_random());
    self->registration = registration_of(options, self->instance);
    self->value = value_of(options);
    self->is_ready = options->is_ready;
    self->on_state = options->on_state;
    self->arg = options->arg;
    self->health_us = (uint64_t)(options->health_ms ? options->health_ms : HEALTH_MS) * US_PER_MS;
    self->next_health_us = self->is_ready ? 0 : UINT64_MAX;
    if (!self->is_ready) {
        set_state(self, CLIENT_INSTANCE_READY);
    }
    pthread_mutex_lock(&client->lock);
    client_list_add(&client->services, self);
    client_wake(client);
    pthread_mutex_unlock(&client->lock);
    return self;
}

void quoral_service_drain(quoral_service_t *self, uint32_t window_ms)
{
    quoral_client_t *client = self->object.client;
    pthread_mutex_lock(&client->lock);
    self->value.state = CLIENT_INSTANCE_DRAINING;
    self->next_health_us = UINT64_MAX;
    buf_t text = {0};
    client_instance_write(&text, &self->value);
    client_registration_drain(self->registration, buf_slice(&text), (uint64_t)window_ms * US_PER_MS,
                              client_now_us());
    buf_deinit(&text);
    client_wake(client);
    pthread_mutex_unlock(&client->lock);
}

static quoral_service_state_t state_of(const quoral_service_t *self)
{
    return (quoral_service_state_t)client_registration_state(self->registration);
}
_Static_assert((int)QUORAL_SERVICE_TAKEN == (int)CLIENT_REGISTRATION_TAKEN &&
                   (int)QUORAL_SERVICE_GONE == (int)CLIENT_REGISTRATION_LEFT,
               "the states are the same");

/* Whether it is there, or was. TAKEN is none of the way. */
static bool has_reached(const quoral_service_t *self, quoral_service_state_t state)
{
    quoral_service_state_t now = state_of(self);
    return now == state || (now > state && now != QUORAL_SERVICE_TAKEN);
}

static bool wait_for(quoral_service_t *self, quoral_service_state_t state, uint32_t timeout_ms)
{
    quoral_client_t *client = self->object.client;
    uint64_t until_us = client_now_us() + (uint64_t)timeout_ms * US_PER_MS;
    bool may_wait = !client_is_own_thread(client);
    while (!has_reached(self, state) && may_wait && client_wait(client, until_us)) {
    }
    return has_reached(self, state);
}

bool quoral_service_wait(quoral_service_t *self, quoral_service_state_t state, uint32_t timeout_ms)
{
    pthread_mutex_lock(&self->object.client->lock);
    bool is_there = wait_for(self, state, timeout_ms);
    pthread_mutex_unlock(&self->object.client->lock);
    return is_there;
}

void quoral_service_destroy(quoral_service_t **self_p)
{
    quoral_service_t *self = *self_p;
    *self_p = NULL;
    if (!self) {
        return;
    }
    quoral_client_t *client = self->object.client;
    pthread_mutex_lock(&client->lock);
    client_registration_leave(self->registration, client_now_us());
    client_wake(client);
    wait_for(self, QUORAL_SERVICE_GONE, DESTROY_MS);
    client_object_retire(&self->object);
    pthread_mutex_unlock(&client->lock);
}

quoral_service_state_t quoral_service_state(quoral_service_t *self)
{
    pthread_mutex_lock(&self->object.client->lock);
    quoral_service_state_t state = state_of(self);
    pthread_mutex_unlock(&self->object.client->lock);
    return state;
}

const char *quoral_service_instance(const quoral_service_t *self)
{
    return self->instance;
}

uint64_t quoral_service_again(quoral_service_t *self)
{
    pthread_mutex_lock(&self->object.client->lock);
    uint64_t again = client_registration_again(self->registration);
    pthread_mutex_unlock(&self->object.client->lock);
    return again;
}

/* ---- the thread's part ---- */

static void ask_health(quoral_service_t *self, uint64_t now_us)
{
    if (now_us < self->next_health_us || self->object.is_dead) {
        return;
    }
    client_object_enter(&self->object);
    bool is_ready = self->is_ready(self->arg);
    client_object_leave(&self->object);
    if (self->next_health_us == UINT64_MAX || self->object.is_dead) {
        return; /* it began to drain meanwhile */
    }
    self->next_health_us = now_us + self->health_us;
    if (is_ready) {
        set_state(self, CLIENT_INSTANCE_READY);
    } else if (self->has_value) {
        set_state(self, CLIENT_INSTANCE_UNREADY);
    }
}

static void tell_state(quoral_service_t *self)
{
    quoral_service_state_t state = state_of(self);
    if (self->object.is_dead || state == self->told) {
        return;
    }
    self->told = state;
    pthread_cond_broadcast(&self->object.client->changed);
    if (self->on_state) {
        client_object_enter(&self->object);
        self->on_state(self->arg, self, state);
        client_object_leave(&self->object);
    }
}

static void free_service(quoral_service_t *self, uint64_t now_us)
{
    client_registration_destroy(&self->registration, self->object.client->session, now_us);
    client_instance_deinit(&self->value);
    free(self->instance);
    free(self);
}

static bool is_gone(const quoral_service_t *self)
{
    bool is_last = self->object.client->is_stopping && self->object.client->stop_us == 0;
    return self->object.is_retired && (state_of(self) == QUORAL_SERVICE_GONE || is_last);
}

void client_services_turn(quoral_client_t *self, uint64_t now_us, uint64_t *deadline_us)
{
    client_list_t *list = &self->services;
    for (size_t i = 0; i < list->n;) {
        quoral_service_t *service = list->items[i];
        ask_health(service, now_us);
        client_registration_step(service->registration, self->session, now_us);
        tell_state(service);
        if (is_gone(service)) {
            list->items[i] = list->items[--list->n];
            free_service(service, now_us);
            continue;
        }
        uint64_t registration_us = client_registration_deadline(service->registration, now_us);
        uint64_t next_us =
            service->next_health_us < registration_us ? service->next_health_us : registration_us;
        *deadline_us = next_us < *deadline_us ? next_us : *deadline_us;
        i++;
    }
}
