#include "client/native/client_registration.h"

#include <stdlib.h>

#include "client/native/client_instance.h"
#include "client/native/client_lease_calls.h"
#include "messages/native_event.h"
#include "messages/wire.h"
#include "messages/xalloc.h"

enum { WIRE_VARINT = 0, WIRE_BYTES = 2 };
#define QUESTION_US     5000000u
#define SUBSCRIBERS_US  200000u /* between two looks at who has seen it */
#define SUBSCRIBERS_MAX 10000   /* looked at; with more, the window is waited */

typedef enum { SERVING, DRAINING, LEAVING } phase_t;

struct client_registration {
    bytes_t *key;
    bytes_t *subscribers;
    client_entry_t entry;
    client_lease_calls_t lease_calls;
    phase_t phase;
    client_entry_want_t key_asked;
    client_call_t key_call;
    uint64_t drain_us;
    uint64_t drain_until_us;
    uint64_t subscribers_us; /* when to look at them again */
    bool subscribers_asked;
    client_call_t subscribers_call;
};

client_registration_t *client_registration_new(const client_registration_cfg_t *cfg)
{
    client_registration_t *self = xcalloc(1, sizeof *self);
    self->key = bytes_new(cfg->key.data, cfg->key.len);
    self->subscribers = bytes_new(cfg->subscribers.data, cfg->subscribers.len);
    self->drain_us = cfg->drain_us;
    client_entry_init(&self->entry, cfg->ttl_s);
    client_lease_calls_init(&self->lease_calls, &self->entry.lease);
    self->key_call.owner = self;
    self->subscribers_call.owner = self;
    return self;
}

void client_registration_destroy(client_registration_t **self_p, client_session_t *session,
                                 uint64_t now_us)
{
    client_registration_t *self = *self_p;
    *self_p = NULL;
    if (!self) {
        return;
    }
    client_lease_calls_deinit(&self->lease_calls, session, now_us);
    if (self->key_asked != CLIENT_ENTRY_WANTS_NOTHING) {
        client_session_cancel(session, &self->key_call, now_us);
    }
    if (self->subscribers_asked) {
        client_session_cancel(session, &self->subscribers_call, now_us);
    }
    buf_deinit(&self->key_call.body);
    buf_deinit(&self->subscribers_call.body);
    client_entry_deinit(&self->entry);
    bytes_unref(&self->key);
    bytes_unref(&self->subscribers);
    free(self);
}

void client_registration_set(client_registration_t *self, slice_t value)
{
    if (self->phase == SERVING) {
        client_entry_set(&self->entry, value);
    }
}

void client_registration_leave(client_registration_t *self, uint64_t now_us)
{
    if (self->phase != LEAVING) {
        self->phase = LEAVING;
        client_entry_remove(&self->entry, now_us);
    }
}

void client_registration_drain(client_registration_t *self, slice_t value, uint64_t window_us,
                               uint64_t now_us)
{
    if (self->phase != SERVING) {
        return;
    }
    if (self->entry.state == CLIENT_ENTRY_ABSENT) {
        client_registration_leave(self, now_us); /* nobody has ever heard of it */
        return;
    }
    self->phase = DRAINING;
    self->drain_until_us = now_us + window_us;
    self->subscribers_us = now_us;
    client_entry_set(&self->entry, value);
}

void client_registration_doubt(client_registration_t *self, uint64_t now_us)
{
    client_entry_doubt(&self->entry, now_us);
}

/* ---- the key ---- */

/* PutResponse, RangeResponse: header = 1, of which revision = 3. */
static int64_t header_revision(slice_t rest)
{
    wire_field_t field;
    while (wire_next(&rest, &field) == 0) {
        if (field.type == WIRE_BYTES && field.number == 1) {
            slice_t header = field.data;
            while (wire_next(&header, &field) == 0) {
                if (field.type == WIRE_VARINT && field.number == 3) {
                    return (int64_t)field.value;
                }
            }
            return 0;
        }
    }
    return 0;
}

/* RangeResponse: kvs = 2. WIRE_END when there is no further one. */
static int next_kv(slice_t *rest, native_kv_t *kv)
{
    wire_field_t field;
    int rc = 0;
    while ((rc = wire_next(rest, &field)) == 0) {
        if (field.type == WIRE_BYTES && field.number == 2) {
            return native_kv_read(field.data, kv);
        }
    }
    return rc;
}

/* Somebody else has written, and left the key under our lease, that this instance is to drain. */
static bool is_drain_order(const client_registration_t *self, const native_kv_t *kv)
{
    client_instance_t instance;
    bool is_order = kv->lease != 0 && kv->lease == self->entry.put_lease &&
                    client_instance_read(kv->value, &instance) == 0;
    if (is_order) {
        is_order = instance.state == CLIENT_INSTANCE_DRAINING;
        client_instance_deinit(&instance);
    }
    return is_order;
}

static void on_key_done(client_call_t *call, uint64_t now_us)
{
    client_registration_t *self = call->owner;
    client_entry_want_t asked = self->key_asked;
    self->key_asked = CLIENT_ENTRY_WANTS_NOTHING;
    if (call->code != GRPC_OK) {
        client_entry_failed(&self->entry, now_us, call->code == GRPC_NOT_FOUND);
    } else if (asked == CLIENT_ENTRY_WANTS_PUT) {
        client_entry_put_done(&self->entry, now_us, header_revision(call->answer));
    } else {
        native_kv_t kv = {0};
        slice_t rest = call->answer;
        int rc = next_kv(&rest, &kv);
        if (rc == 0 && self->phase == SERVING && is_drain_order(self, &kv)) {
            client_registration_drain(self, kv.value, self->drain_us, now_us);
        }
        if (rc == 0 || rc == WIRE_END) {
            client_entry_looked(&self->entry, now_us, rc == 0, kv.lease, kv.value);
        } else {
            client_entry_failed(&self->entry, now_us, false);
        }
    }
}

static void ask_key(client_registration_t *self, client_session_t *session, uint64_t now_us)
{
    enum { KEY = 1, VALUE = 2, LEASE = 3 };
    client_entry_want_t want = client_entry_want(&self->entry, now_us);
    if (want == CLIENT_ENTRY_WANTS_NOTHING) {
        return;
    }
    client_call_t *call = &self->key_call;
    self->key_asked = want;
    buf_clear(&call->body);
    buf_field_bytes(&call->body, KEY, bytes_slice(self->key));
    bool is_put = want == CLIENT_ENTRY_WANTS_PUT;
    if (is_put) {
        buf_field_bytes(&call->body, VALUE, bytes_slice(self->entry.value));
        buf_field_u64(&call->body, LEASE, (uint64_t)self->entry.lease.id);
    }
    call->method = is_put ? "etcdserverpb.KV/Put" : "etcdserverpb.KV/Range";
    call->is_repeatable = !is_put;
    call->deadline_us = now_us + QUESTION_US;
    call->on_done = on_key_done;
    client_session_call(session, call, now_us);
}

/* ---- subscribers ---- */

static int64_t decimal(slice_t text)
{
    int64_t number = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || i >= 18) {
            return 0;
        }
        number = number * 10 + (text.data[i] - '0');
    }
    return number;
}

/* Whether there are known subscribers, and all of them have seen the revision. */
static bool all_have_seen(slice_t answer, int64_t revision)
{
    size_t known = 0;
    native_kv_t kv;
    int rc = 0;
    while ((rc = next_kv(&answer, &kv)) == 0) {
        known++;
        if (decimal(kv.value) < revision) {
            return false;
        }
    }
    return rc == WIRE_END && known > 0 && known < SUBSCRIBERS_MAX;
}

static void on_subscribers_done(client_call_t *call, uint64_t now_us)
{
    client_registration_t *self = call->owner;
    self->subscribers_asked = false;
    self->subscribers_us = now_us + SUBSCRIBERS_US;
    bool is_known = self->entry.state == CLIENT_ENTRY_THERE;
    if (self->phase == DRAINING && is_known && call->code == GRPC_OK &&
        all_have_seen(call->answer, self->entry.put_revision)) {
        client_registration_leave(self, now_us);
    }
}

static void ask_subscribers(client_registration_t *self, client_session_t *session, uint64_t now_us)
{
    enum { KEY = 1, RANGE_END = 2, LIMIT = 3 };
    slice_t prefix = bytes_slice(self->subscribers);
    client_call_t *call = &self->subscribers_call;
    self->subscribers_asked = true;
    buf_clear(&call->body);
    buf_field_bytes(&call->body, KEY, prefix);
    buf_field_header(&call->body, RANGE_END, prefix.len);
    buf_append(&call->body, prefix.data, prefix.len);
    call->body.data[call->body.len - 1]++; /* it ends with a slash */
    buf_field_u64(&call->body, LIMIT, SUBSCRIBERS_MAX);
    call->method = "etcdserverpb.KV/Range";
    call->is_repeatable = true;
    call->deadline_us = now_us + QUESTION_US;
    call->on_done = on_subscribers_done;
    client_session_call(session, call, now_us);
}

static bool may_ask_subscribers(const client_registration_t *self)
{
    return self->phase == DRAINING && !self->subscribers_asked &&
           bytes_len(self->subscribers) > 0 && self->entry.state == CLIENT_ENTRY_THERE;
}

/* ---- time ---- */

void client_registration_step(client_registration_t *self, client_session_t *session,
                              uint64_t now_us)
{
    client_entry_step(&self->entry, now_us);
    if (self->phase == DRAINING && now_us >= self->drain_until_us) {
        client_registration_leave(self, now_us);
    }
    client_lease_calls_ask(&self->lease_calls, client_entry_want_lease(&self->entry, now_us),
                           session, now_us);
    ask_key(self, session, now_us);
    if (may_ask_subscribers(self) && now_us >= self->subscribers_us) {
        ask_subscribers(self, session, now_us);
    }
}

uint64_t client_registration_deadline(const client_registration_t *self, uint64_t now_us)
{
    uint64_t deadline_us = client_entry_deadline(&self->entry, now_us);
    if (self->phase == DRAINING && self->drain_until_us < deadline_us) {
        deadline_us = self->drain_until_us;
    }
    if (may_ask_subscribers(self) && self->subscribers_us < deadline_us) {
        deadline_us = self->subscribers_us;
    }
    return deadline_us;
}

client_registration_state_t client_registration_state(const client_registration_t *self)
{
    if (self->phase == DRAINING) {
        return CLIENT_REGISTRATION_DRAINING;
    }
    switch (self->entry.state) {
    case CLIENT_ENTRY_ABSENT: return CLIENT_REGISTRATION_WAITING;
    case CLIENT_ENTRY_PUTTING: return CLIENT_REGISTRATION_PENDING;
    case CLIENT_ENTRY_THERE: return CLIENT_REGISTRATION_PRESENT;
    case CLIENT_ENTRY_TAKEN: return CLIENT_REGISTRATION_TAKEN;
    case CLIENT_ENTRY_REMOVING: return CLIENT_REGISTRATION_LEAVING;
    default: return CLIENT_REGISTRATION_LEFT;
    }
}

int64_t client_registration_lease(const client_registration_t *self)
{
    return self->entry.lease.id;
}

int64_t client_registration_revision(const client_registration_t *self)
{
    return self->entry.put_revision;
}

uint64_t client_registration_again(const client_registration_t *self)
{
    return self->entry.again;
}
