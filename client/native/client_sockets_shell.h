/* client_sockets_shell: the two sockets of a client, as its cores want them. Touches ZeroMQ; belongs to the client's
 * thread. */
#pragma once

#include "client/native/client_feeds.h"
#include "client/native/client_session.h"

typedef struct {
    void *socket;
    void *monitor;   /* its events */
    uint64_t number; /* of the link; 0: there is none */
    char url[CLIENT_FEEDS_URL_BYTES];
} client_socket_t;

typedef struct {
    void *context;
    client_socket_t requests;
    client_socket_t events;
    bool is_full; /* the request socket takes nothing right now */
    char server_key[41];
    char public_key[41];
    char secret_key[41];
} client_sockets_t;

/* Keys: 40 characters of Z85 each, or all NULL. */
void client_sockets_init(client_sockets_t *self, const char *server_key, const char *public_key,
                         const char *secret_key);
void client_sockets_deinit(client_sockets_t *self);
/* Opens and closes what the cores want to be different, and sends what they have to say. */
void client_sockets_follow(client_sockets_t *self, client_session_t *session,
                           char *const *endpoints, client_feeds_t *feeds, uint64_t now_us);
/* Sleeps until something came, `wake_fd` is readable, or the time is over. Without the lock. */
void client_sockets_poll(client_sockets_t *self, int wake_fd, uint64_t timeout_us);
/* Takes what came, up to a bound, to the cores. True: there may be more. */
bool client_sockets_receive(client_sockets_t *self, client_session_t *session,
                            client_feeds_t *feeds, uint64_t now_us);
