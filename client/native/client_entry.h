/* client_entry: one key that is kept in the store, under a lease of its own, whatever happens to either. Pure;
 * embedded. A service's registration is one, and so is a subscriber's announcement.
 *
 * Two questions may be open at a time, since none may wait for the other: the lease's (client_lease.h, through
 * `lease`), and the key's. The key is looked at regularly, and put again when it is not there, or is not ours. */
#pragma once

#include "client/native/client_lease.h"
#include "messages/bytes.h"

enum {
    CLIENT_ENTRY_LEASES = 8
}; /* remembered: a restored backup may hold the key under one of them */

typedef enum {
    CLIENT_ENTRY_ABSENT,  /* there is no value yet */
    CLIENT_ENTRY_PUTTING, /* or granting its lease */
    CLIENT_ENTRY_THERE,   /* with the newest value */
    CLIENT_ENTRY_TAKEN, /* another process holds the key under a lease of its own; looked at until it lets go */
    CLIENT_ENTRY_REMOVING,
    CLIENT_ENTRY_REMOVED,
} client_entry_state_t;

typedef enum {
    CLIENT_ENTRY_WANTS_NOTHING,
    CLIENT_ENTRY_WANTS_PUT,  /* `value` under `lease.id` */
    CLIENT_ENTRY_WANTS_LOOK, /* the key, by a linearizable read */
} client_entry_want_t;

typedef struct {
    client_lease_t lease;
    client_entry_state_t state;
    bytes_t *value;
    uint64_t value_number; /* grows with each value */
    uint64_t put_number;   /* of the value that was put last */
    int64_t put_lease;     /* under which lease that was */
    int64_t put_revision;  /* at which revision */
    int64_t leases
        [CLIENT_ENTRY_LEASES]; /* that the key was put under, the newest overwrites the oldest */
    size_t leases_n;           /* in all */
    uint64_t look_us;          /* when to look at the key */
    uint64_t pause_us;         /* between two looks */
    client_entry_want_t asked;
    uint64_t asked_number;
    int64_t asked_lease;
    unsigned failures;
    uint64_t retry_us;
    uint64_t again; /* how often it had been there and had to be put once more */
} client_entry_t;

void client_entry_init(client_entry_t *self, int64_t ttl_s);
void client_entry_deinit(client_entry_t *self);
/* From now on the key has this value, which is copied. */
void client_entry_set(client_entry_t *self, slice_t value);
/* The key goes, with its lease. */
void client_entry_remove(client_entry_t *self, uint64_t now_us);

/* For the lease; there is none before the first value. Answered through `lease`, then client_entry_step. */
client_lease_want_t client_entry_want_lease(client_entry_t *self, uint64_t now_us);
/* For the key. */
client_entry_want_t client_entry_want(client_entry_t *self, uint64_t now_us);
void client_entry_put_done(client_entry_t *self, uint64_t now_us, int64_t revision);
/* What was found; lease 0: none. */
void client_entry_looked(client_entry_t *self, uint64_t now_us, bool exists, int64_t lease,
                         slice_t value);
/* Of either. `lease_is_gone`: the put was refused for that. */
void client_entry_failed(client_entry_t *self, uint64_t now_us, bool lease_is_gone);
/* Somebody has seen the key change: look at it at once. */
void client_entry_doubt(client_entry_t *self, uint64_t now_us);
/* Time has passed, or something happened to the lease. */
void client_entry_step(client_entry_t *self, uint64_t now_us);
uint64_t client_entry_deadline(const client_entry_t *self, uint64_t now_us);
