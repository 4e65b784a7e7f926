/* client_lease_calls: a lease's questions as calls of a session. Pure; embedded beside the lease. */
#pragma once

#include "client/native/client_lease.h"
#include "client/native/client_session.h"

typedef struct {
    client_lease_t *lease;
    client_lease_want_t asked;
    int64_t id; /* of the answer */
    int64_t ttl_s;
    client_call_t call;
} client_lease_calls_t;

/* The lease stays where it is. */
void client_lease_calls_init(client_lease_calls_t *self, client_lease_t *lease);
void client_lease_calls_deinit(client_lease_calls_t *self, client_session_t *session,
                               uint64_t now_us);
/* Asks for `want` (client_lease_want), if that is anything. */
void client_lease_calls_ask(client_lease_calls_t *self, client_lease_want_t want,
                            client_session_t *session, uint64_t now_us);
