#include "client/native/client_lease_calls.h"

#include "messages/wire.h"

/* A renewal that takes longer is of no use to short leases; it is said again anyway. */
#define QUESTION_US 5000000u

void client_lease_calls_init(client_lease_calls_t *self, client_lease_t *lease)
{
    *self = (client_lease_calls_t){.lease = lease};
    self->call.owner = self;
}

void client_lease_calls_deinit(client_lease_calls_t *self, client_session_t *session,
                               uint64_t now_us)
{
    if (self->asked != CLIENT_LEASE_WANTS_NOTHING) {
        client_session_cancel(session, &self->call, now_us);
    }
    buf_deinit(&self->call.body);
}

/* LeaseGrantResponse and LeaseKeepAliveResponse: ID = 2, TTL = 3. */
static bool read_answer(client_lease_calls_t *self, slice_t rest)
{
    enum { ID = 2, TTL = 3 };
    self->id = 0;
    self->ttl_s = 0;
    wire_field_t field;
    int rc = 0;
    while ((rc = wire_next(&rest, &field)) == 0) {
        if (field.type == 0 && field.number == ID) {
            self->id = (int64_t)field.value;
        } else if (field.type == 0 && field.number == TTL) {
            self->ttl_s = (int64_t)field.value;
        }
    }
    return rc == WIRE_END && self->id != 0;
}

/* A renewal is a stream of one question: its answer comes before the end. */
static void on_message(client_call_t *call, slice_t body, uint64_t now_us)
{
    (void)now_us;
    read_answer(call->owner, body);
}

static void on_done(client_call_t *call, uint64_t now_us)
{
    client_lease_calls_t *self = call->owner;
    client_lease_want_t asked = self->asked;
    self->asked = CLIENT_LEASE_WANTS_NOTHING;
    bool is_answered = call->code == GRPC_OK;
    if (is_answered && asked == CLIENT_LEASE_WANTS_GRANT) {
        is_answered = read_answer(self, call->answer) && self->ttl_s > 0;
    } else if (is_answered && asked == CLIENT_LEASE_WANTS_KEEP_ALIVE) {
        is_answered = self->id != 0;
    }
    if (is_answered) {
        client_lease_answered(self->lease, now_us, self->id, self->ttl_s);
    } else {
        client_lease_failed(self->lease, now_us, call->code);
    }
}

void client_lease_calls_ask(client_lease_calls_t *self, client_lease_want_t want,
                            client_session_t *session, uint64_t now_us)
{
    enum { TTL = 1, ID = 1 };
    client_call_t *call = &self->call;
    if (want == CLIENT_LEASE_WANTS_NOTHING) {
        return;
    }
    self->asked = want;
    self->id = 0;
    self->ttl_s = 0;
    buf_clear(&call->body);
    switch (want) {
    case CLIENT_LEASE_WANTS_GRANT:
        call->method = "etcdserverpb.Lease/LeaseGrant";
        buf_field_u64(&call->body, TTL, (uint64_t)self->lease->ttl_s);
        break;
    case CLIENT_LEASE_WANTS_KEEP_ALIVE:
        call->method = "etcdserverpb.Lease/LeaseKeepAlive";
        buf_field_u64(&call->body, ID, (uint64_t)self->lease->id);
        break;
    default:
        call->method = "etcdserverpb.Lease/LeaseRevoke";
        buf_field_u64(&call->body, ID, (uint64_t)self->lease->id);
        break;
    }
    call->is_repeatable = false;
    call->deadline_us = now_us + QUESTION_US;
    call->on_message = on_message;
    call->on_done = on_done;
    client_session_call(session, call, now_us);
}
