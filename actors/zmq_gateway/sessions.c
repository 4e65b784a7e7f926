#include "actors/zmq_gateway/sessions_private.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/buf.h"
#include "messages/limits.h"
#include "messages/version.h"
#include "messages/wire.h"
#include "messages/xalloc.h"

enum {
    SILENT_INTERVALS = 3,
    HEARTBEAT_MIN_US = 100 * 1000,
    HEARTBEAT_MAX_US = 60 * 1000 * 1000,
    TICK_MIN_US = 20 * 1000,
    LATE_US = 500 * 1000,
    READS_AT_FIRST = 4 /* ranges at a time, before it is known what they answer */
};

/* Fields of quoral.Welcome and quoral.Hello (messages/native.proto). */
enum {
    WELCOME_CLUSTER_ID = 1,
    WELCOME_MEMBER_ID = 2,
    WELCOME_VERSION = 3,
    WELCOME_HEARTBEAT_MS = 4,
    WELCOME_CALLS_MAX = 5,
    WELCOME_WINDOW_BYTES = 6,
    WELCOME_REQUEST_BYTES_MAX = 7,
    WELCOME_PROGRESS_MS = 8,
    WELCOME_PUBLISH_URLS = 9,
    WELCOME_PUBLISH_PORT = 10,
    HELLO_CLIENT_API_VERSION = 1
};

sessions_t *sessions_new(const sessions_cfg_t *cfg, metrics_t *metrics)
{
    assert(cfg->heartbeat_us >= HEARTBEAT_MIN_US && cfg->heartbeat_us <= HEARTBEAT_MAX_US);
    assert(cfg->window_octets > 0 && cfg->calls_max > 0 && cfg->clients_max > 0);
    sessions_t *self = xcalloc(1, sizeof *self);
    self->cfg = *cfg;
    self->cfg.publish_urls = NULL;
    buf_t urls = {0};
    for (size_t i = 0; i < cfg->publish_url_count; i++) {
        buf_field_bytes(&urls, WELCOME_PUBLISH_URLS, slice_str(cfg->publish_urls[i]));
    }
    self->welcome_urls = buf_bytes(&urls);
    buf_deinit(&urls);
    self->metrics = metrics;
    self->next_tick_us = DEADLINE_NONE;
    self->slot_free = SLOT_NONE;
    fifo_init(&self->strays, sizeof(stray_t));
    return self;
}

void sessions_attach(sessions_t *self, api_t *api)
{
    self->api = api;
}

void sessions_set_publish_port(sessions_t *self, uint32_t port)
{
    self->cfg.publish_port = port;
}

/* ---- life of a session ---- */

static session_t *find(const sessions_t *self, slice_t route)
{
    size_t cursor = 0;
    session_t *session = NULL;
    while ((session = table_next(&self->by_route, hash_slice(route), &cursor))) {
        if (slice_equal(bytes_slice(session->route), route)) {
            return session;
        }
    }
    return NULL;
}

static session_t *add(sessions_t *self, slice_t route)
{
    session_t *session = xcalloc(1, sizeof *session);
    session->route = bytes_new(route.data, route.len);
    session->route_hash = hash_slice(route);
    fifo_init(&session->control, sizeof(session_out_t));
    fifo_init(&session->replies, sizeof(session_out_t));
    fifo_init(&session->on_the_way, sizeof(session_sent_t));
    fifo_init(&session->waiting, sizeof(session_request_t));
    table_add(&self->by_route, session->route_hash, session);
    self->list = xgrow(self->list, &self->capacity, self->count + 1, sizeof(session_t *));
    session->index = self->count;
    self->list[self->count++] = session;
    return session;
}

/* What a new HELLO leaves of the session before it. */
static void clear(sessions_t *self, session_t *session)
{
    session_out_t *out = NULL;
    session_drop_calls(self, session);
    session_drop_window(self, session);
    while ((out = fifo_front(&session->control))) {
        bytes_unref(&out->body);
        fifo_pop(&session->control);
    }
    bytes_unref(&session->client_version);
    session->greeted = false;
}

static void clear_dirty(sessions_t *self, session_t *session)
{
    if (!session->dirty) {
        return;
    }
    session->dirty = false;
    *(session->dirty_prev ? &session->dirty_prev->dirty_next : &self->dirty_first) =
        session->dirty_next;
    *(session->dirty_next ? &session->dirty_next->dirty_prev : &self->dirty_last) =
        session->dirty_prev;
}

static void end(sessions_t *self, session_t *session)
{
    clear(self, session);
    clear_dirty(self, session);
    if (self->sending == session) {
        self->sending = NULL;
    }
    table_remove(&self->by_route, session->route_hash, session);
    self->list[session->index] = self->list[--self->count];
    self->list[session->index]->index = session->index;
    fifo_deinit(&session->control);
    fifo_deinit(&session->replies);
    fifo_deinit(&session->on_the_way);
    fifo_deinit(&session->waiting);
    id_map_deinit(&session->calls);
    bytes_unref(&session->route);
    free(session);
}

void sessions_reset(sessions_t *self)
{
    stray_t *stray = NULL;
    while (self->count) {
        end(self, self->list[self->count - 1]);
    }
    while ((stray = fifo_front(&self->strays))) {
        bytes_unref(&stray->route);
        bytes_unref(&stray->text);
        fifo_pop(&self->strays);
    }
}

void sessions_destroy(sessions_t **self_p)
{
    sessions_t *self = *self_p;
    *self_p = NULL;
    if (!self) {
        return;
    }
    sessions_reset(self);
    fifo_deinit(&self->strays);
    bytes_unref(&self->stray_route);
    bytes_unref(&self->welcome_urls);
    table_deinit(&self->by_route);
    free(self->list);
    free(self->slots);
    free(self);
}

bool sessions_present(const sessions_t *self)
{
    return self->count > 0;
}

/* ---- what leaves ---- */

void session_mark_dirty(sessions_t *self, session_t *session)
{
    if (session->dirty) {
        return;
    }
    session->dirty = true;
    session->dirty_next = NULL;
    session->dirty_prev = self->dirty_last;
    *(self->dirty_last ? &self->dirty_last->dirty_next : &self->dirty_first) = session;
    self->dirty_last = session;
}

void session_control(sessions_t *self, session_t *session, const native_header_t *header,
                     bytes_t *body)
{
    session_out_t *out = fifo_push(&session->control);
    *out = (session_out_t){.header = *header, .body = body};
    session_mark_dirty(self, session);
}

static native_header_t error_header(uint64_t call, native_error_t error)
{
    return (native_header_t){.command = NATIVE_ERROR, .call = call, .argument = (uint32_t)error};
}

static bytes_t *error_body(native_error_t error)
{
    const char *text = native_error_text(error);
    return bytes_new(text, strlen(text));
}

void session_refuse(sessions_t *self, session_t *session, uint64_t call, native_error_t error)
{
    metrics_add(self->metrics, METRIC_NATIVE_MALFORMED, 1);
    native_header_t header = error_header(call, error);
    session_control(self, session, &header, error_body(error));
}

/* Who has no session gets few words: what does not fit is dropped. */
static void refuse_stray(sessions_t *self, slice_t route, uint64_t call, native_error_t error)
{
    metrics_add(self->metrics, METRIC_NATIVE_MALFORMED, 1);
    if (self->strays.count < LIMIT_NATIVE_STRAYS) {
        stray_t *stray = fifo_push(&self->strays);
        *stray = (stray_t){.route = bytes_new(route.data, route.len),
                           .header = error_header(call, error),
                           .text = error_body(error)};
    }
}

static void welcome(sessions_t *self, session_t *session)
{
    buf_t body = {0};
    slice_t urls = bytes_slice(self->welcome_urls);
    buf_field_u64(&body, WELCOME_CLUSTER_ID, self->cfg.cluster_id);
    buf_field_u64(&body, WELCOME_MEMBER_ID, self->cfg.member_id);
    buf_field_bytes(&body, WELCOME_VERSION, slice_str(QUORAL_VERSION));
    buf_field_u64(&body, WELCOME_HEARTBEAT_MS, session->heartbeat_us / 1000);
    buf_field_u64(&body, WELCOME_CALLS_MAX, self->cfg.calls_max);
    buf_field_u64(&body, WELCOME_WINDOW_BYTES, self->cfg.window_octets);
    buf_field_u64(&body, WELCOME_REQUEST_BYTES_MAX, self->cfg.message_bytes_max);
    buf_field_u64(&body, WELCOME_PROGRESS_MS, self->cfg.progress_ms);
    buf_append(&body, urls.data, urls.len);
    buf_field_u64(&body, WELCOME_PUBLISH_PORT, self->cfg.publish_port);
    native_header_t header = {.command = NATIVE_WELCOME, .call = session->hello};
    session_control(self, session, &header, buf_bytes(&body));
    buf_deinit(&body);
    session->greeted = true;
}

static bool output_of(sessions_t *self, session_t *session, native_output_t *out)
{
    session_out_t next = {0};
    const session_out_t *control = fifo_front(&session->control);
    if (control) {
        next = *control;
        next.header.octets = next.header.command == NATIVE_WELCOME ? 0 : session->sent;
        fifo_pop(&session->control);
    } else if (!session_take_answer(self, session, &next)) {
        return false;
    }
    native_header_write(out->header, &next.header);
    out->body = next.body;
    out->route = bytes_slice(session->route);
    self->sending = session;
    return true;
}

static bool output_of_stray(sessions_t *self, native_output_t *out)
{
    const stray_t *stray = fifo_front(&self->strays);
    if (!stray) {
        return false;
    }
    bytes_unref(&self->stray_route);
    self->stray_route = stray->route;
    native_header_write(out->header, &stray->header);
    out->body = stray->text;
    out->route = bytes_slice(self->stray_route);
    self->sending = NULL;
    fifo_pop(&self->strays);
    return true;
}

bool sessions_output(sessions_t *self, native_output_t *out)
{
    session_t *session = NULL;
    bool found = false;
    while (!found && (session = self->dirty_first)) {
        found = output_of(self, session, out);
        if (!found) {
            clear_dirty(self, session);
            session_release(self, session); /* which may answer at once */
        }
    }
    found = found || output_of_stray(self, out);
    metrics_add(self->metrics, METRIC_NATIVE_SENT, found);
    return found;
}

void sessions_undelivered(sessions_t *self)
{
    if (self->sending) {
        metrics_add(self->metrics, METRIC_NATIVE_LOST, 1);
        end(self, self->sending);
    }
}

/* ---- what comes in ---- */

static bool is_version(slice_t text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < ' ' || text.data[i] >= 0x7f) {
            return false;
        }
    }
    return text.len <= LIMIT_CLIENT_VERSION_BYTES;
}

/* NATIVE_OK, or NATIVE_BAD_BODY. */
static native_error_t read_hello(slice_t body, slice_t *version)
{
    wire_field_t field;
    int rc = 0;
    while ((rc = wire_next(&body, &field)) == 0) {
        if (field.number == HELLO_CLIENT_API_VERSION && field.type == 2) {
            *version = field.data;
        }
    }
    return rc == WIRE_END && is_version(*version) ? NATIVE_OK : NATIVE_BAD_BODY;
}

static uint64_t heartbeat_of(const sessions_t *self, uint32_t wished_ms)
{
    uint64_t us = wished_ms ? (uint64_t)wished_ms * 1000 : self->cfg.heartbeat_us;
    us = us < HEARTBEAT_MIN_US ? HEARTBEAT_MIN_US : us;
    return us > HEARTBEAT_MAX_US ? HEARTBEAT_MAX_US : us;
}

static void tick_by(sessions_t *self, uint64_t due_us)
{
    self->next_tick_us = due_us < self->next_tick_us ? due_us : self->next_tick_us;
}

static void on_hello(sessions_t *self, session_t *session, slice_t route,
                     const native_message_t *message)
{
    slice_t version = slice(NULL, 0);
    native_error_t error = read_hello(message->body, &version);
    if (error == NATIVE_OK && !session && self->count >= self->cfg.clients_max) {
        error = NATIVE_TOO_MANY;
    }
    if (error) {
        if (session) {
            end(self, session);
        }
        refuse_stray(self, route, message->header.call, error);
        return;
    }
    if (session) {
        clear(self, session);
    } else {
        session = add(self, route);
    }
    session->hello = message->header.call;
    session->client_version = version.len ? bytes_new(version.data, version.len) : NULL;
    session->read_octets = self->cfg.window_octets / READS_AT_FIRST;
    session->heartbeat_us = heartbeat_of(self, message->header.argument);
    session->heard_us = self->now_us;
    session->asked_us = self->now_us;
    tick_by(self, self->now_us + session->heartbeat_us);
    if (self->is_ready) {
        welcome(self, session);
    }
}

/* A message that is understood, of a client that is known. */
static void on_message(sessions_t *self, session_t *session, const native_message_t *message)
{
    uint64_t call = message->header.call;
    switch (message->header.command) {
    case NATIVE_CALL: session_on_call(self, session, message); break;
    case NATIVE_DATA: session_on_data(self, session, message); break;
    case NATIVE_END: session_on_end(self, session, call); break;
    case NATIVE_CANCEL: session_on_cancel(self, session, call); break;
    case NATIVE_PING: {
        native_header_t pong = {.command = NATIVE_PONG};
        session_control(self, session, &pong, NULL);
        break;
    }
    case NATIVE_PONG: break; /* being heard is all it is for */
    case NATIVE_BYE: end(self, session); break;
    default: assert(!"a command of clients");
    }
}

void sessions_input(sessions_t *self, slice_t route, const slice_t *frames, size_t count,
                    uint64_t now_us)
{
    self->now_us = now_us;
    native_message_t message;
    native_error_t error = native_decode(NATIVE_FROM_CLIENT, frames, count, &message);
    session_t *session = find(self, route);
    metrics_add(self->metrics, METRIC_NATIVE_RECEIVED, 1);
    if (session) {
        session->heard_us = now_us;
    }
    if (error) {
        if (session) {
            session_refuse(self, session, message.header.call, error);
        } else {
            refuse_stray(self, route, message.header.call, error);
        }
        return;
    }
    if (message.header.command == NATIVE_HELLO) {
        on_hello(self, session, route, &message);
        return;
    }
    if (!session) {
        if (message.header.command != NATIVE_BYE) { /* who leaves needs no answer */
            refuse_stray(self, route, message.header.call, NATIVE_HELLO_FIRST);
        }
        return;
    }
    error = session_acknowledge(self, session, message.header.octets);
    if (error) {
        end(self, session);
        refuse_stray(self, route, message.header.call, error);
        return;
    }
    on_message(self, session, &message);
}

/* ---- time ---- */

/* False = the client is gone. */
static bool look_at(sessions_t *self, session_t *session)
{
    uint64_t silent_us = metrics_elapsed_us(session->heard_us, self->now_us);
    if (silent_us > SILENT_INTERVALS * session->heartbeat_us) {
        return false;
    }
    uint64_t asked_us =
        session->heard_us > session->asked_us ? session->heard_us : session->asked_us;
    if (self->now_us >= asked_us + session->heartbeat_us) {
        native_header_t ping = {.command = NATIVE_PING};
        session_control(self, session, &ping, NULL);
        session->asked_us = self->now_us;
        asked_us = self->now_us;
    }
    uint64_t soonest_us = self->now_us + TICK_MIN_US;
    uint64_t due_us = asked_us + session->heartbeat_us;
    tick_by(self, due_us > soonest_us ? due_us : soonest_us);
    return true;
}

static void update_metrics(sessions_t *self)
{
    metrics_set(self->metrics, METRIC_NATIVE_CLIENTS, self->count);
    metrics_set(self->metrics, METRIC_NATIVE_CALLS, self->call_count);
    metrics_set(self->metrics, METRIC_NATIVE_WAITING, self->waiting_count);
    metrics_set(self->metrics, METRIC_NATIVE_UNACKNOWLEDGED, self->outstanding_total);
}

/* Everybody is looked at when somebody is due: lists in the order of deadlines would cost with each message. */
void sessions_tick(sessions_t *self, uint64_t now_us)
{
    self->now_us = now_us;
    self->touched = false;
    if (now_us >= self->next_tick_us) {
        /* Who did not look for long was not there to hear either. */
        uint64_t late_us = now_us - self->next_tick_us;
        late_us = late_us > LATE_US ? late_us : 0;
        self->next_tick_us = DEADLINE_NONE;
        for (size_t i = self->count; i > 0; i--) {
            session_t *session = self->list[i - 1];
            session->heard_us += late_us;
            if (!look_at(self, session)) {
                metrics_add(self->metrics, METRIC_NATIVE_LOST, 1);
                end(self, session);
            }
        }
    }
    update_metrics(self);
}

uint64_t sessions_deadline(const sessions_t *self)
{
    return self->touched ? 0 : self->next_tick_us;
}

void sessions_set_ready(sessions_t *self, bool is_ready, uint64_t now_us)
{
    self->now_us = now_us;
    self->is_ready = is_ready;
    for (size_t i = 0; is_ready && i < self->count; i++) {
        session_t *session = self->list[i];
        if (!session->greeted) {
            welcome(self, session);
        }
        session_release(self, session);
    }
}
