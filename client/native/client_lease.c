#include "client/native/client_lease.h"

#include <assert.h>

enum {
    RENEWALS = 3, /* per TTL: two may fail */
    RETRY_FIRST_US = 100000,
    RETRY_MAX_US = 1000000,
};
#define US_PER_S 1000000u

void client_lease_init(client_lease_t *self, int64_t ttl_s)
{
    assert(ttl_s > 0);
    *self = (client_lease_t){.ttl_s = ttl_s};
}

void client_lease_restart(client_lease_t *self)
{
    assert(self->state == CLIENT_LEASE_LOST && !self->releasing);
    client_lease_init(self, self->ttl_s);
}

void client_lease_release(client_lease_t *self, uint64_t now_us)
{
    self->releasing = true;
    self->retry_us = 0;
    self->give_up_us = now_us > self->alive_until_us ? now_us : self->alive_until_us;
    bool nothing_there = self->id == 0 && self->asked == CLIENT_LEASE_WANTS_NOTHING;
    if (nothing_there || self->state == CLIENT_LEASE_LOST) {
        self->state = CLIENT_LEASE_RELEASED;
    }
}

static client_lease_want_t want_kind(const client_lease_t *self, uint64_t now_us)
{
    if (self->asked != CLIENT_LEASE_WANTS_NOTHING) {
        return CLIENT_LEASE_WANTS_NOTHING;
    }
    switch (self->state) {
    case CLIENT_LEASE_NONE:
        return self->releasing ? CLIENT_LEASE_WANTS_NOTHING : CLIENT_LEASE_WANTS_GRANT;
    case CLIENT_LEASE_ALIVE:
    case CLIENT_LEASE_UNSURE:
        if (self->releasing) {
            return CLIENT_LEASE_WANTS_REVOKE;
        }
        return now_us >= self->renew_us ? CLIENT_LEASE_WANTS_KEEP_ALIVE
                                        : CLIENT_LEASE_WANTS_NOTHING;
    default: return CLIENT_LEASE_WANTS_NOTHING;
    }
}

client_lease_want_t client_lease_want(client_lease_t *self, uint64_t now_us)
{
    client_lease_want_t want = want_kind(self, now_us);
    if (want != CLIENT_LEASE_WANTS_NOTHING && now_us >= self->retry_us) {
        self->asked = want;
        self->asked_us = now_us;
        return want;
    }
    return CLIENT_LEASE_WANTS_NOTHING;
}

static void renewed(client_lease_t *self, int64_t ttl_s)
{
    /* A server may grant more than was asked for, and nobody lives longer than ten years. */
    uint64_t ttl_us = (uint64_t)(ttl_s < INT32_MAX ? ttl_s : INT32_MAX) * US_PER_S;
    self->state = CLIENT_LEASE_ALIVE;
    self->alive_until_us = self->asked_us + ttl_us;
    self->renew_us = self->asked_us + ttl_us / RENEWALS;
    self->give_up_us = self->alive_until_us;
}

void client_lease_answered(client_lease_t *self, uint64_t now_us, int64_t id, int64_t ttl_s)
{
    client_lease_want_t asked = self->asked;
    self->asked = CLIENT_LEASE_WANTS_NOTHING;
    self->failures = 0;
    self->retry_us = 0;
    if (asked == CLIENT_LEASE_WANTS_REVOKE) {
        self->state = CLIENT_LEASE_RELEASED;
    } else if (asked == CLIENT_LEASE_WANTS_NOTHING || self->state == CLIENT_LEASE_RELEASED) {
        return;
    } else if (ttl_s <= 0) {
        self->state = self->releasing ? CLIENT_LEASE_RELEASED : CLIENT_LEASE_LOST;
    } else {
        self->id = id;
        renewed(self, ttl_s);
    }
    client_lease_step(self, now_us);
}

void client_lease_failed(client_lease_t *self, uint64_t now_us, grpc_code_t code)
{
    client_lease_want_t asked = self->asked;
    if (code == GRPC_NOT_FOUND && asked != CLIENT_LEASE_WANTS_GRANT) {
        client_lease_answered(self, now_us, self->id, 0);
        return;
    }
    self->asked = CLIENT_LEASE_WANTS_NOTHING;
    uint64_t pause_us = (uint64_t)RETRY_FIRST_US << (self->failures < 4 ? self->failures : 4);
    self->failures++;
    self->retry_us = now_us + (pause_us < RETRY_MAX_US ? pause_us : RETRY_MAX_US);
    if (self->releasing && self->state == CLIENT_LEASE_NONE) {
        self->state = CLIENT_LEASE_RELEASED; /* whatever was granted expires by itself */
    }
    client_lease_step(self, now_us);
}

void client_lease_step(client_lease_t *self, uint64_t now_us)
{
    if (self->state == CLIENT_LEASE_ALIVE && now_us >= self->alive_until_us) {
        self->state = CLIENT_LEASE_UNSURE;
    }
    bool is_held = self->state == CLIENT_LEASE_ALIVE || self->state == CLIENT_LEASE_UNSURE;
    if (self->releasing && is_held && now_us > self->give_up_us) {
        self->state = CLIENT_LEASE_RELEASED;
    }
}

static void earliest(uint64_t *deadline_us, uint64_t at_us)
{
    *deadline_us = at_us < *deadline_us ? at_us : *deadline_us;
}

uint64_t client_lease_deadline(const client_lease_t *self, uint64_t now_us)
{
    uint64_t deadline_us = UINT64_MAX;
    bool is_held = self->state == CLIENT_LEASE_ALIVE || self->state == CLIENT_LEASE_UNSURE;
    if (want_kind(self, now_us) != CLIENT_LEASE_WANTS_NOTHING) {
        earliest(&deadline_us, self->retry_us);
    } else if (is_held && self->asked == CLIENT_LEASE_WANTS_NOTHING) {
        earliest(&deadline_us, self->renew_us);
    }
    if (self->state == CLIENT_LEASE_ALIVE) {
        earliest(&deadline_us, self->alive_until_us);
    }
    if (self->releasing && is_held) {
        earliest(&deadline_us, self->give_up_us + 1);
    }
    return deadline_us;
}
