/* client_lease: one lease that is kept alive, and what is known of it. Pure; embedded in what needs one.
 * What is said to the program is never better than the truth: the lease lives at least its TTL from when the server
 * granted or renewed it, which was not before the request left; so until `alive_until` it is certain, then it is not,
 * until the server says which. Time must go on while the machine sleeps (CLOCK_BOOTTIME). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "messages/errors.h"

typedef enum {
    CLIENT_LEASE_NONE, /* not granted yet */
    CLIENT_LEASE_ALIVE,
    CLIENT_LEASE_UNSURE, /* not renewed for its TTL: may have expired; still being renewed */
    CLIENT_LEASE_LOST,   /* the server does not have it */
    CLIENT_LEASE_RELEASED,
} client_lease_state_t;

typedef enum {
    CLIENT_LEASE_WANTS_NOTHING,
    CLIENT_LEASE_WANTS_GRANT,
    CLIENT_LEASE_WANTS_KEEP_ALIVE,
    CLIENT_LEASE_WANTS_REVOKE,
} client_lease_want_t;

typedef struct {
    int64_t ttl_s;
    client_lease_state_t state;
    int64_t id; /* 0: none */
    uint64_t alive_until_us;
    uint64_t renew_us; /* when to renew */
    bool releasing;
    client_lease_want_t asked;
    uint64_t asked_us;
    unsigned failures; /* in a row */
    uint64_t retry_us;
    uint64_t give_up_us; /* of a release: it has expired by itself then */
} client_lease_t;

void client_lease_init(client_lease_t *self, int64_t ttl_s);
/* After CLIENT_LEASE_LOST: a new one, with another id. */
void client_lease_restart(client_lease_t *self);
/* No more renewals; it is revoked, or has expired, when the state is RELEASED. */
void client_lease_release(client_lease_t *self, uint64_t now_us);

/* What to ask the server for, if anything; the owner says how it ended. */
client_lease_want_t client_lease_want(client_lease_t *self, uint64_t now_us);
/* A grant's or renewal's answer; ttl_s 0: the server does not know the lease. Of a revocation: both 0. */
void client_lease_answered(client_lease_t *self, uint64_t now_us, int64_t id, int64_t ttl_s);
void client_lease_failed(client_lease_t *self, uint64_t now_us, grpc_code_t code);
/* Time has passed: the state may have become UNSURE. */
void client_lease_step(client_lease_t *self, uint64_t now_us);
uint64_t client_lease_deadline(const client_lease_t *self, uint64_t now_us);
