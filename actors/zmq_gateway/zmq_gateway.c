/* Attendance:  away --somebody comes--> asked --APPLIED or RESTORED--> ready --nobody is left--> away
 * Clients are welcomed and the publisher begins when ready: the request core then knows where the store is. An
 * APPLIED that was under way when it went away makes it ready a little early: the position is then some spans
 * old, as any is that has just been told. */
#include "actors/zmq_gateway/zmq_gateway.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/xalloc.h"

/* Ids of clients' calls are above 2^32. */
enum { PUBLISHER_CALL = 1 };

struct zmq_gateway {
    api_t *api;
    sessions_t *sessions;
    publisher_t *publisher;
    uint64_t now_us;
    bool attends, is_ready, is_stopping;
    /* The publisher's call. */
    bool call_is_open, call_has_ended;
    size_t call_bytes; /* of its messages, to be reported as taken */
};

/* ---- answers of the request core; it is not called from here ---- */

static void on_message(void *context, uint64_t call, bytes_t **message_p)
{
    zmq_gateway_t *self = context;
    if (call != PUBLISHER_CALL) {
        sessions_message(self->sessions, call, message_p);
        return;
    }
    self->call_bytes += bytes_len(*message_p);
    publisher_response(self->publisher, bytes_slice(*message_p), self->now_us);
    bytes_unref(message_p);
}

static void on_finish(void *context, uint64_t call, grpc_code_t code, const char *text)
{
    zmq_gateway_t *self = context;
    if (call == PUBLISHER_CALL) {
        self->call_has_ended = true;
    } else {
        sessions_finish(self->sessions, call, code, text);
    }
}

static bool refuses(void *context, slice_t subscription)
{
    const zmq_gateway_t *self = context;
    return publisher_refuses(self->publisher, subscription);
}

zmq_gateway_t *zmq_gateway_new(const zmq_gateway_cfg_t *cfg, const publisher_sink_t *sink,
                               metrics_t *metrics)
{
    assert(!cfg->api.publishes);
    zmq_gateway_t *self = xcalloc(1, sizeof *self);
    api_sink_t answers = {
        .context = self, .message = on_message, .finish = on_finish, .refuses = refuses};
    self->api = api_new(&cfg->api, &answers, metrics);
    self->sessions = sessions_new(&cfg->sessions, metrics);
    sessions_attach(self->sessions, self->api);
    self->publisher = publisher_new(&cfg->publisher, sink, metrics);
    return self;
}

static void destroy(void **self_p)
{
    zmq_gateway_t *self = *self_p;
    *self_p = NULL;
    if (!self) {
        return;
    }
    void *api = self->api;
    sessions_destroy(&self->sessions);
    api_ops.destroy(&api);
    publisher_destroy(&self->publisher);
    free(self);
}

sessions_t *zmq_gateway_sessions(zmq_gateway_t *self)
{
    return self->sessions;
}

publisher_t *zmq_gateway_publisher(zmq_gateway_t *self)
{
    return self->publisher;
}

const rpc_metrics_t *zmq_gateway_rpc_metrics(const zmq_gateway_t *self)
{
    return api_rpc_metrics(self->api);
}

/* ---- attendance ---- */

static void set_ready(zmq_gateway_t *self, bool is_ready)
{
    if (self->is_ready != is_ready) {
        self->is_ready = is_ready;
        sessions_set_ready(self->sessions, is_ready, self->now_us);
    }
}

static void attend(zmq_gateway_t *self, outbox_t *out)
{
    bool wanted = sessions_present(self->sessions) || self->call_is_open ||
                  publisher_wants_call(self->publisher, self->now_us);
    if (wanted == self->attends) {
        return;
    }
    self->attends = wanted;
    if (!wanted) {
        set_ready(self, false);
    }
    msg_t *msg = msg_new(MSG_ATTEND);
    msg->u.attend.wanted = wanted;
    outbox_put(out, ACTOR_APPLIER, &msg);
}

/* ---- the publisher's call ---- */

static void begin_call(zmq_gateway_t *self)
{
    api_call_t info = {
        .method = METHOD_WATCH, .deadline_us = DEADLINE_NONE, .flags = CALL_UNCOUNTED};
    self->call_is_open = true;
    self->call_has_ended = false;
    publisher_call_began(self->publisher);
    api_call_begin(self->api, PUBLISHER_CALL, &info, self->now_us);
}

static void run_publisher(zmq_gateway_t *self)
{
    if (self->is_ready && !self->is_stopping && !self->call_is_open &&
        publisher_wants_call(self->publisher, self->now_us)) {
        begin_call(self);
    }
    bytes_t *request = NULL;
    while (self->call_is_open && !self->call_has_ended &&
           (request = publisher_next_request(self->publisher, self->now_us))) {
        api_call_message(self->api, PUBLISHER_CALL, &request, self->now_us);
    }
    if (self->call_bytes) {
        size_t bytes = self->call_bytes;
        self->call_bytes = 0;
        api_call_sent(self->api, PUBLISHER_CALL, bytes);
    }
    if (self->call_has_ended) {
        self->call_is_open = false;
        self->call_has_ended = false;
        publisher_call_ended(self->publisher, self->now_us);
    }
}

/* ---- the core ---- */

static void look_at(zmq_gateway_t *self, const msg_t *msg)
{
    switch (msg->kind) {
    case MSG_APPLIED:
    case MSG_RESTORED: set_ready(self, self->attends); break;
    case MSG_ROLE: publisher_leader(self->publisher, msg->u.role.leader != 0); break;
    case MSG_STOP: self->is_stopping = true; break;
    default: break;
    }
}

static void step(void *state, const step_in_t *in, outbox_t *out)
{
    zmq_gateway_t *self = state;
    self->now_us = in->now_us;
    if (!in->msg) {
        sessions_tick(self->sessions, in->now_us);
        run_publisher(self);
        api_ops.step(self->api, in, out);
        publisher_turn(self->publisher, in->now_us);
        attend(self, out);
        return;
    }
    api_ops.step(self->api, in, out);
    look_at(self, in->msg); /* may hand requests that have waited to the request core */
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t deadline(const void *state)
{
    const zmq_gateway_t *self = state;
    if (self->call_bytes || self->call_has_ended) {
        return 0; /* another turn, at once */
    }
    uint64_t due_us = earlier(api_ops.deadline(self->api), sessions_deadline(self->sessions));
    bool is_waiting = self->attends && !self->is_ready; /* so does the publisher */
    return is_waiting ? due_us : earlier(due_us, publisher_deadline(self->publisher));
}

const core_ops_t zmq_gateway_ops = {.step = step, .deadline = deadline, .destroy = destroy};
