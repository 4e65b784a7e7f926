/* client_registration: a service's instance in the store, from its registration to its farewell. Pure; one instance
 * each.
 *
 *   WAITING --value--> REGISTERED --drain--> DRAINING --window over, or all subscribers know--> LEAVING --> LEFT
 *
 * While it is registered, client_entry keeps it so. Draining begins with a value that says so; subscribers that
 * announce themselves below `subscribers` (keys whose values are decimal revisions) are known, and once each of them
 * has seen the revision of that value, nobody has to be waited for. Subscribers that do not announce themselves
 * cannot be known: as long as there is no known one, the whole window is waited. Leaving revokes the lease, which
 * removes the key. */
#pragma once

#include "client/native/client_entry.h"
#include "client/native/client_session.h"

typedef struct client_registration client_registration_t;

typedef enum {
    CLIENT_REGISTRATION_WAITING,  /* no value yet */
    CLIENT_REGISTRATION_PENDING,  /* not (or not any more) in the store, or with an older value */
    CLIENT_REGISTRATION_PRESENT,  /* in the store */
    CLIENT_REGISTRATION_TAKEN,    /* another process has registered under the same key */
    CLIENT_REGISTRATION_DRAINING, /* no new work should come; what is there goes on */
    CLIENT_REGISTRATION_LEAVING,
    CLIENT_REGISTRATION_LEFT,
} client_registration_state_t;

typedef struct {
    slice_t key; /* copied */
    slice_t
        subscribers; /* prefix of the keys with which subscribers announce themselves; empty: there are none. Copied */
    int64_t ttl_s;
    uint64_t drain_us; /* the window when somebody else has written that it drains */
} client_registration_cfg_t;

client_registration_t *client_registration_new(const client_registration_cfg_t *cfg);
void client_registration_destroy(client_registration_t **self_p, client_session_t *session,
                                 uint64_t now_us);
/* The value from now on. Ignored once it is draining. */
void client_registration_set(client_registration_t *self, slice_t value);
/* `value` says that it is draining. After window_us at the latest it leaves. */
void client_registration_drain(client_registration_t *self, slice_t value, uint64_t window_us,
                               uint64_t now_us);
/* At once. */
void client_registration_leave(client_registration_t *self, uint64_t now_us);
/* Somebody has seen the key change. */
void client_registration_doubt(client_registration_t *self, uint64_t now_us);

void client_registration_step(client_registration_t *self, client_session_t *session,
                              uint64_t now_us);
uint64_t client_registration_deadline(const client_registration_t *self, uint64_t now_us);

client_registration_state_t client_registration_state(const client_registration_t *self);
int64_t client_registration_lease(const client_registration_t *self); /* 0: none */
int64_t
client_registration_revision(const client_registration_t *self); /* of the last put; 0: none */
uint64_t client_registration_again(
    const client_registration_t *self); /* how often it was lost and made again */
