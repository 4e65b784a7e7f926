#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include "client/native/client_endpoints.h"
#include "client/native/client_shell.h"
#include "messages/xalloc.h"

enum {
    TIMEOUT_MS = 5000,
    DIAL_TIMEOUT_MS = 1000,
    US_PER_MS = 1000,
    FAREWELL_MS = 500, /* for leases to be revoked when the client goes */
    KEY_CHARACTERS = 40,
    WAITING_MAX = 10000, /* calls before they are sent: each has a thread that waits for it */
    WAITING_BYTES_MAX = 64 << 20,
    TELL_AGAIN_US = 5000000, /* between two reasons why there is no connection */
    TURN_MAX_US = 1000000,   /* nothing is that urgent; a bound in case a deadline is wrong */
};

uint64_t client_now_us(void)
{
    struct timespec now;
    int rc = clock_gettime(CLOCK_BOOTTIME, &now); /* leases expire while the machine sleeps */
    assert(rc == 0);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t client_random(void)
{
    uint64_t number = 0;
    ssize_t got = getrandom(&number, sizeof number, 0);
    assert(got == sizeof number);
    return number;
}

bool client_is_own_thread(const quoral_client_t *self)
{
    return pthread_equal(self->thread, pthread_self());
}

void client_wake(quoral_client_t *self)
{
    uint64_t one = 1;
    ssize_t put = write(self->wake_fd, &one, sizeof one);
    (void)put; /* full means that it is awake already */
}

bool client_wait(quoral_client_t *self, uint64_t until_us)
{
    uint64_t now_us = client_now_us();
    if (now_us >= until_us) {
        return false;
    }
    uint64_t left_us = until_us - now_us < TURN_MAX_US ? until_us - now_us : TURN_MAX_US;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t nanoseconds = (uint64_t)until.tv_nsec + left_us * 1000;
    until.tv_sec += (time_t)(nanoseconds / 1000000000);
    until.tv_nsec = (long)(nanoseconds % 1000000000);
    pthread_cond_timedwait(&self->changed, &self->lock, &until);
    return true;
}

void client_list_add(client_list_t *list, void *item)
{
    list->items = xgrow(list->items, &list->capacity, list->n + 1, sizeof *list->items);
    list->items[list->n++] = item;
}

void client_object_enter(client_object_t *object)
{
    object->is_called_back = true;
    pthread_mutex_unlock(&object->client->lock);
}

void client_object_leave(client_object_t *object)
{
    pthread_mutex_lock(&object->client->lock);
    object->is_called_back = false;
    pthread_cond_broadcast(&object->client->changed);
}

void client_object_retire(client_object_t *object)
{
    object->is_dead = true;
    while (object->is_called_back && !client_is_own_thread(object->client)) {
        client_wait(object->client, UINT64_MAX);
    }
    object->is_retired = true;
    client_wake(object->client);
}

/* ---- the thread ---- */

/* Whether there is a connection, and while there is none, a new reason for that; but not each time: the endpoints may
 * have reasons of their own, and take turns. */
static bool is_news(const quoral_client_t *self, bool is_connected, uint64_t now_us)
{
    const char *reason = client_session_reason(self->session);
    bool is_new_reason = !is_connected && reason[0] && strcmp(reason, self->told) != 0;
    return is_connected != self->was_connected || (is_new_reason && now_us >= self->tell_us);
}

static void tell_connection(quoral_client_t *self, uint64_t now_us)
{
    const client_member_t *member = client_session_member(self->session);
    bool is_connected = member != NULL;
    if (!is_news(self, is_connected, now_us)) {
        return;
    }
    self->was_connected = is_connected;
    snprintf(self->told, sizeof self->told, "%s", client_session_reason(self->session));
    self->tell_us = is_connected ? 0 : now_us + TELL_AGAIN_US;
    pthread_cond_broadcast(&self->changed);
    if (self->on_log) {
        char line[512];
        if (is_connected) {
            snprintf(line, sizeof line, "connected to %s, member %016llx",
                     self->endpoints[client_session_link(self->session).endpoint],
                     (unsigned long long)member->member_id);
        } else {
            snprintf(line, sizeof line, "not connected: %s", client_session_reason(self->session));
        }
        pthread_mutex_unlock(&self->lock);
        self->on_log(self->log_arg, line);
        pthread_mutex_lock(&self->lock);
    }
}

/* The cores and the objects, until what they want now has been asked. Returns when they want something by themselves.
 * */
static uint64_t turn(quoral_client_t *self, uint64_t now_us)
{
    uint64_t deadline_us = now_us + TURN_MAX_US;
    client_session_step(self->session, now_us);
    tell_connection(self, now_us);
    client_link_t link = client_session_link(self->session);
    client_feeds_step(&self->feeds, self->session, self->endpoints[link.endpoint], now_us);
    client_caches_turn(self, now_us, &deadline_us);
    client_discoveries_turn(self, now_us, &deadline_us);
    client_leases_turn(self, now_us, &deadline_us);
    client_services_turn(self, now_us, &deadline_us);
    /* What the objects did may have left questions to ask, or a member to leave. */
    client_feeds_step(&self->feeds, self->session, self->endpoints[link.endpoint], now_us);
    client_session_step(self->session, now_us);
    client_sockets_follow(&self->sockets, self->session, self->endpoints, &self->feeds, now_us);
    if (self->is_stopping && self->stop_us < deadline_us) {
        deadline_us = self->stop_us;
    }
    uint64_t session_us = client_session_deadline(self->session);
    uint64_t feeds_us = client_feeds_deadline(&self->feeds, now_us);
    deadline_us = session_us < deadline_us ? session_us : deadline_us;
    return feeds_us < deadline_us ? feeds_us : deadline_us;
}

static bool is_over(const quoral_client_t *self, uint64_t now_us)
{
    return self->is_stopping && (!client_has_farewells(self) || now_us >= self->stop_us);
}

static void *run(void *arg)
{
    quoral_client_t *self = arg;
    pthread_mutex_lock(&self->lock);
    bool more = false;
    uint64_t now_us = client_now_us();
    for (;;) {
        uint64_t deadline_us = turn(self, now_us);
        if (is_over(self, now_us)) {
            break;
        }
        pthread_mutex_unlock(&self->lock);
        now_us = client_now_us();
        uint64_t sleep_us = more || now_us >= deadline_us ? 0 : deadline_us - now_us;
        client_sockets_poll(&self->sockets, self->wake_fd, sleep_us);
        pthread_mutex_lock(&self->lock);
        now_us = client_now_us();
        more = client_sockets_receive(&self->sockets, self->session, &self->feeds, now_us);
    }
    client_session_close(self->session, now_us);
    client_sockets_follow(&self->sockets, self->session, self->endpoints, &self->feeds, now_us);
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

/* ---- its life ---- */

/* NULL: they can be used. */
static char *check_keys(const quoral_client_options_t *options)
{
    const char *keys[] = {options->server_key, options->public_key, options->secret_key};
    size_t given = 0;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        uint8_t decoded[32];
        given += keys[i] != NULL;
        if (keys[i] && (strlen(keys[i]) != KEY_CHARACTERS || !zmq_z85_decode(decoded, keys[i]))) {
            return xstrdup("a CURVE key is not 40 characters of Z85");
        }
    }
    if (given != 0 && given != 3) {
        return xstrdup("CURVE needs server_key, public_key and secret_key");
    }
    if (given && !zmq_has("curve")) {
        return xstrdup("this libzmq has no CURVE");
    }
    /* With another public key nobody would get through, and nobody would know why. */
    char derived[KEY_CHARACTERS + 1] = "";
    bool is_pair = !given || (zmq_curve_public(derived, options->secret_key) == 0 &&
                              strcmp(derived, options->public_key) == 0);
    return is_pair ? NULL : xstrdup("the CURVE public key does not belong to the secret key");
}

static void free_client(quoral_client_t *self)
{
    for (size_t i = 0; i < self->endpoints_n; i++) {
        free(self->endpoints[i]);
    }
    free(self->endpoints);
    if (self->wake_fd >= 0) {
        close(self->wake_fd);
    }
    pthread_cond_destroy(&self->changed);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

static uint32_t or_default(uint32_t value, uint32_t instead)
{
    return value ? value : instead;
}

static void make_cores(quoral_client_t *self, const quoral_client_options_t *options)
{
    client_session_cfg_t cfg = {
        .endpoints_n = self->endpoints_n,
        .first = client_random() % self->endpoints_n,
        .dial_timeout_us =
            (uint64_t)or_default(options->dial_timeout_ms, DIAL_TIMEOUT_MS) * US_PER_MS,
        .heartbeat_ms = options->heartbeat_ms,
        .waiting_max = WAITING_MAX,
        .waiting_bytes_max = WAITING_BYTES_MAX,
        .nonce = client_random()};
    self->session = client_session_new(&cfg);
    client_sockets_init(&self->sockets, options->server_key, options->public_key,
                        options->secret_key);
}

static void destroy_cores(quoral_client_t *self)
{
    client_feeds_deinit(&self->feeds, self->session, client_now_us());
    client_session_destroy(&self->session);
    client_sockets_deinit(&self->sockets);
}

static void init_lock(quoral_client_t *self)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&self->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&self->lock, NULL);
}

static quoral_client_t *refuse(char **error_p, char *error)
{
    if (error_p) {
        *error_p = error;
    } else {
        free(error);
    }
    return NULL;
}

quoral_client_t *quoral_client_new(const quoral_client_options_t *options, char **error_p)
{
    char *error = check_keys(options);
    if (error) {
        return refuse(error_p, error);
    }
    quoral_client_t *self = xcalloc(1, sizeof *self);
    init_lock(self);
    self->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    self->timeout_ms = or_default(options->timeout_ms, TIMEOUT_MS);
    self->on_log = options->on_log;
    self->log_arg = options->log_arg;
    error = client_endpoints_parse(options->endpoints, &self->endpoints, &self->endpoints_n);
    if (!error && self->wake_fd < 0) {
        error = xasprintf("no event descriptor: %s", strerror(errno));
    }
    if (error) {
        free_client(self);
        return refuse(error_p, error);
    }
    make_cores(self, options);
    /* The thread waits for the lock before it looks at its own number. */
    pthread_mutex_lock(&self->lock);
    int rc = pthread_create(&self->thread, NULL, run, self);
    pthread_mutex_unlock(&self->lock);
    if (rc) {
        destroy_cores(self);
        free_client(self);
        return refuse(error_p, xasprintf("no thread: %s", strerror(rc)));
    }
    return self;
}

void quoral_client_destroy(quoral_client_t **self_p)
{
    quoral_client_t *self = *self_p;
    if (!self || client_is_own_thread(self)) {
        return;
    }
    *self_p = NULL;
    pthread_mutex_lock(&self->lock);
    self->is_stopping = true;
    self->stop_us = client_now_us() + (uint64_t)FAREWELL_MS * US_PER_MS;
    client_wake(self);
    pthread_mutex_unlock(&self->lock);
    pthread_join(self->thread, NULL);
    /* What is dead and has not been taken off the lists. */
    pthread_mutex_lock(&self->lock);
    self->is_stopping = true;
    uint64_t deadline_us = 0;
    self->stop_us = 0;
    client_caches_turn(self, client_now_us(), &deadline_us);
    client_discoveries_turn(self, client_now_us(), &deadline_us);
    client_leases_turn(self, client_now_us(), &deadline_us);
    client_services_turn(self, client_now_us(), &deadline_us);
    pthread_mutex_unlock(&self->lock);
    client_list_t *lists[] = {&self->caches, &self->leases, &self->services, &self->discoveries};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        assert(lists[i]->n == 0); /* objects are destroyed before their client */
        free(lists[i]->items);
    }
    destroy_cores(self);
    free_client(self);
}

bool quoral_client_is_connected(quoral_client_t *self)
{
    pthread_mutex_lock(&self->lock);
    bool is_connected = client_session_member(self->session) != NULL;
    pthread_mutex_unlock(&self->lock);
    return is_connected;
}
