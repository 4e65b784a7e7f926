#include "client/native/client_entry.h"

#include <assert.h>

enum {
    LOOKS = 3, /* per TTL: who loses the key has it back within one */
    RETRY_FIRST_US = 100000,
    RETRY_MAX_US = 1000000,
};
#define US_PER_S 1000000u

void client_entry_init(client_entry_t *self, int64_t ttl_s)
{
    *self = (client_entry_t){.pause_us = (uint64_t)ttl_s * US_PER_S / LOOKS};
    client_lease_init(&self->lease, ttl_s);
}

void client_entry_deinit(client_entry_t *self)
{
    bytes_unref(&self->value);
}

static bool is_going(const client_entry_t *self)
{
    return self->state == CLIENT_ENTRY_REMOVING || self->state == CLIENT_ENTRY_REMOVED;
}

void client_entry_set(client_entry_t *self, slice_t value)
{
    if (is_going(self)) {
        return;
    }
    bytes_unref(&self->value);
    self->value = bytes_new(value.data, value.len);
    self->value_number++;
    self->retry_us = 0;
    if (self->state != CLIENT_ENTRY_TAKEN) {
        self->state = CLIENT_ENTRY_PUTTING;
    }
}

void client_entry_remove(client_entry_t *self, uint64_t now_us)
{
    if (!is_going(self)) {
        self->state = CLIENT_ENTRY_REMOVING;
        client_lease_release(&self->lease, now_us);
        client_entry_step(self, now_us);
    }
}

static client_entry_want_t want_kind(const client_entry_t *self, uint64_t now_us)
{
    if (self->asked != CLIENT_ENTRY_WANTS_NOTHING) {
        return CLIENT_ENTRY_WANTS_NOTHING;
    }
    bool is_held =
        self->lease.state == CLIENT_LEASE_ALIVE || self->lease.state == CLIENT_LEASE_UNSURE;
    switch (self->state) {
    case CLIENT_ENTRY_PUTTING: return is_held ? CLIENT_ENTRY_WANTS_PUT : CLIENT_ENTRY_WANTS_NOTHING;
    case CLIENT_ENTRY_THERE:
    case CLIENT_ENTRY_TAKEN:
        return now_us >= self->look_us ? CLIENT_ENTRY_WANTS_LOOK : CLIENT_ENTRY_WANTS_NOTHING;
    default: return CLIENT_ENTRY_WANTS_NOTHING;
    }
}

client_lease_want_t client_entry_want_lease(client_entry_t *self, uint64_t now_us)
{
    return self->state == CLIENT_ENTRY_ABSENT ? CLIENT_LEASE_WANTS_NOTHING
                                              : client_lease_want(&self->lease, now_us);
}

client_entry_want_t client_entry_want(client_entry_t *self, uint64_t now_us)
{
    client_entry_want_t want = want_kind(self, now_us);
    if (want == CLIENT_ENTRY_WANTS_NOTHING || now_us < self->retry_us) {
        return CLIENT_ENTRY_WANTS_NOTHING;
    }
    self->asked = want;
    self->asked_number = self->value_number;
    self->asked_lease = self->lease.id;
    return want;
}

static void succeeded(client_entry_t *self, uint64_t now_us)
{
    self->asked = CLIENT_ENTRY_WANTS_NOTHING;
    self->failures = 0;
    self->retry_us = 0;
    self->look_us = now_us + self->pause_us;
}

void client_entry_put_done(client_entry_t *self, uint64_t now_us, int64_t revision)
{
    succeeded(self, now_us);
    self->put_number = self->asked_number;
    if (self->put_lease != self->asked_lease) {
        self->put_lease = self->asked_lease;
        self->leases[self->leases_n++ % CLIENT_ENTRY_LEASES] = self->put_lease;
    }
    self->put_revision = revision;
    client_entry_step(self, now_us);
}

static void put_again(client_entry_t *self)
{
    self->state = CLIENT_ENTRY_PUTTING;
    self->put_number = 0;
    self->again++;
}

static bool was_ours(const client_entry_t *self, int64_t lease)
{
    for (size_t i = 0; i < CLIENT_ENTRY_LEASES; i++) {
        if (self->leases[i] == lease) {
            return true;
        }
    }
    return false;
}

void client_entry_looked(client_entry_t *self, uint64_t now_us, bool exists, int64_t lease,
                         slice_t value)
{
    succeeded(self, now_us);
    bool is_ours =
        exists && lease == self->put_lease && slice_equal(value, bytes_slice(self->value));
    bool is_anothers = exists && lease != 0 && !was_ours(self, lease);
    /* Deleted, written over by hand, or of a restored backup. */
    bool is_lost = self->state == CLIENT_ENTRY_THERE && !is_ours && !is_anothers;
    bool is_free_again = self->state == CLIENT_ENTRY_TAKEN && !is_anothers;
    if (self->state == CLIENT_ENTRY_THERE && is_anothers) {
        self->state = CLIENT_ENTRY_TAKEN;
    } else if (is_lost || is_free_again) {
        put_again(self);
    }
    client_entry_step(self, now_us);
}

void client_entry_failed(client_entry_t *self, uint64_t now_us, bool lease_is_gone)
{
    bool of_this_lease =
        self->asked == CLIENT_ENTRY_WANTS_PUT && self->asked_lease == self->lease.id;
    self->asked = CLIENT_ENTRY_WANTS_NOTHING;
    uint64_t pause_us = (uint64_t)RETRY_FIRST_US << (self->failures < 4 ? self->failures : 4);
    self->failures++;
    self->retry_us = now_us + (pause_us < RETRY_MAX_US ? pause_us : RETRY_MAX_US);
    if (lease_is_gone && of_this_lease && !is_going(self)) {
        self->lease.state = CLIENT_LEASE_LOST;
    }
    client_entry_step(self, now_us);
}

void client_entry_doubt(client_entry_t *self, uint64_t now_us)
{
    if (self->state == CLIENT_ENTRY_THERE || self->state == CLIENT_ENTRY_TAKEN) {
        self->look_us = now_us;
    }
}

void client_entry_step(client_entry_t *self, uint64_t now_us)
{
    client_lease_step(&self->lease, now_us);
    if (self->state == CLIENT_ENTRY_REMOVING && self->lease.state == CLIENT_LEASE_RELEASED) {
        self->state = CLIENT_ENTRY_REMOVED;
    }
    if (is_going(self)) {
        return;
    }
    if (self->lease.state == CLIENT_LEASE_LOST && self->lease.asked == CLIENT_LEASE_WANTS_NOTHING) {
        client_lease_restart(&self->lease);
        if (self->state == CLIENT_ENTRY_THERE) {
            put_again(self);
        }
    }
    bool is_newest = self->put_number == self->value_number && self->value_number > 0;
    if (self->state == CLIENT_ENTRY_PUTTING && is_newest && self->put_lease == self->lease.id) {
        self->state = CLIENT_ENTRY_THERE;
    }
}

uint64_t client_entry_deadline(const client_entry_t *self, uint64_t now_us)
{
    if (self->state == CLIENT_ENTRY_ABSENT) {
        return UINT64_MAX;
    }
    uint64_t deadline_us = client_lease_deadline(&self->lease, now_us);
    uint64_t key_us = UINT64_MAX;
    if (want_kind(self, now_us) != CLIENT_ENTRY_WANTS_NOTHING) {
        key_us = self->retry_us;
    } else if (self->asked == CLIENT_ENTRY_WANTS_NOTHING &&
               (self->state == CLIENT_ENTRY_THERE || self->state == CLIENT_ENTRY_TAKEN)) {
        key_us = self->look_us > self->retry_us ? self->look_us : self->retry_us;
    }
    return key_us < deadline_us ? key_us : deadline_us;
}
