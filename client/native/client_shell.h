/* client_shell: what is behind a quoral_client_t: the cores, the lock over them, and the thread that steps them. Not
 * pure; internal to the shell files of this folder.
 *
 * One lock covers everything below `lock`. The thread holds it except while it polls and while it calls the program
 * back. Objects (caches, leases, …) are taken off their lists by the thread alone; whoever destroys one marks it
 * `is_dead` and waits until it is not being called back. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "client/native/client_feeds.h"
#include "client/native/client_registration.h"
#include "client/native/client_request.h"
#include "client/native/client_sockets_shell.h"
#include "client/quoral.h"

/* A list of objects of one kind. */
typedef struct {
    void **items;
    size_t n;
    size_t capacity;
} client_list_t;

/* Every object begins with this. */
typedef struct {
    quoral_client_t *client;
    atomic_bool
        is_dead; /* its callbacks are not called any more; looked at between two of them without the lock */
    bool is_called_back; /* the thread is in one of its callbacks, without the lock */
    bool is_retired;     /* nobody but the thread knows it */
} client_object_t;

struct quoral_client {
    char **endpoints;
    size_t endpoints_n;
    uint32_t timeout_ms;
    void (*on_log)(void *arg, const char *line);
    void *log_arg;
    client_sockets_t sockets; /* the thread's alone */
    pthread_t thread;
    int wake_fd;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* something that somebody may wait for */
    bool is_stopping;
    uint64_t stop_us; /* when to stop waiting for farewells */
    client_session_t *session;
    client_feeds_t feeds;
    client_list_t caches;
    client_list_t leases;
    client_list_t services;
    client_list_t discoveries;
    bool was_connected;
    char told[256];   /* why it is not connected, as on_log has it; "": nothing yet */
    uint64_t tell_us; /* when another reason may be told */
};

uint64_t client_now_us(void);
/* A number that others do not have. */
uint64_t client_random(void);
bool client_is_own_thread(const quoral_client_t *self);
/* Under the lock, until `changed` or the time is over; false: it is over. */
bool client_wait(quoral_client_t *self, uint64_t until_us);
/* The cores have something new to do. */
void client_wake(quoral_client_t *self);
/* Under the lock. */
void client_list_add(client_list_t *list, void *item);

/* Takes an object out of the program's hands: afterwards no callback runs. Under the lock, which may be given
 * up meanwhile; the caller may go on using the object until it gives it up itself. */
void client_object_retire(client_object_t *object);
/* Around a callback; the lock is not held in between. */
void client_object_enter(client_object_t *object);
void client_object_leave(client_object_t *object);

/* quoral_cache_new under the lock, for who has to know the cache when it calls back for the first time. */
quoral_cache_t *client_caches_add(quoral_client_t *client, quoral_bytes_t key,
                                  const quoral_cache_options_t *options);

/* One turn of the thread for the objects of each kind, under the lock: what they have to ask, what the program has to
 * be told, and the end of the dead ones. Lower *deadline_us to when the next turn is needed. */
void client_caches_turn(quoral_client_t *self, uint64_t now_us, uint64_t *deadline_us);
void client_leases_turn(quoral_client_t *self, uint64_t now_us, uint64_t *deadline_us);
void client_services_turn(quoral_client_t *self, uint64_t now_us, uint64_t *deadline_us);
void client_discoveries_turn(quoral_client_t *self, uint64_t now_us, uint64_t *deadline_us);
/* Whether a dead object has still something to say to the server. */
bool client_has_farewells(const quoral_client_t *self);
