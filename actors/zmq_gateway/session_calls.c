#include "actors/zmq_gateway/sessions_private.h"

#include <assert.h>
#include <stdio.h>

#include "messages/limits.h"
#include "messages/xalloc.h"

/* ---- slots ---- */

static uint64_t id_of(const sessions_t *self, uint32_t slot)
{
    return (uint64_t)self->slots[slot].generation << 32 | slot;
}

session_call_t *session_call_find(const sessions_t *self, uint64_t call)
{
    uint32_t number = (uint32_t)call;
    if (number >= self->slots_used) {
        return NULL;
    }
    session_call_t *slot = &self->slots[number];
    return slot->session && slot->generation == call >> 32 ? slot : NULL;
}

static uint64_t find_by_client_id(const sessions_t *self, const session_t *session, uint64_t id)
{
    uintptr_t known = (uintptr_t)id_map_get(&session->calls, id);
    return known ? id_of(self, (uint32_t)(known - 1)) : 0;
}

static uint64_t open_call(sessions_t *self, session_t *session, const session_call_t *call)
{
    uint32_t number = self->slot_free;
    if (number != SLOT_NONE) {
        self->slot_free = self->slots[number].next_free;
    } else {
        number = self->slots_used++;
        self->slots =
            xgrow(self->slots, &self->slot_capacity, self->slots_used, sizeof *self->slots);
        self->slots[number].generation = 0;
    }
    session_call_t *slot = &self->slots[number];
    uint32_t generation = slot->generation + 1;
    *slot = *call;
    slot->generation = generation ? generation : 1; /* so that no id is below 2^32 */
    slot->session = session;
    self->call_count++;
    id_map_put(&session->calls, call->id, (void *)((uintptr_t)number + 1));
    return id_of(self, number);
}

static bool is_read(const session_call_t *call)
{
    return call->begun && call->method == METHOD_RANGE;
}

/* `octets`: of its answer; 0 = there was none. */
static void close_call(sessions_t *self, session_call_t *slot, uint64_t octets)
{
    if (is_read(slot)) {
        session_read_ended(slot->session, octets);
    }
    id_map_remove(&slot->session->calls, slot->id);
    bytes_unref(&slot->answer);
    slot->session = NULL;
    slot->next_free = self->slot_free;
    self->slot_free = (uint32_t)(slot - self->slots);
    self->call_count--;
}

/* ---- answers ---- */

static void send_done(sessions_t *self, session_t *session, uint64_t id, grpc_code_t code,
                      bytes_t *body)
{
    native_header_t header = {.command = NATIVE_DONE, .call = id, .argument = (uint32_t)code};
    session_answer(self, session, &header, body, 0);
}

static void fail(sessions_t *self, session_t *session, uint64_t id, grpc_code_t code,
                 const char *text)
{
    send_done(self, session, id, code, bytes_new(text, strlen(text)));
}

/* A read may be asked again: its answer is not kept for a client that does not take what it has got. */
static bool is_too_much(const sessions_t *self, const session_call_t *call)
{
    enum { WINDOWS = 4 };
    uint64_t before = session_outstanding(call->session);
    uint64_t octets = native_octets(bytes_len(call->answer));
    bool of_client = before && before + octets > WINDOWS * self->cfg.window_octets;
    bool of_all =
        self->outstanding_total && self->outstanding_total + octets > LIMIT_NATIVE_UNSENT_BYTES;
    return call->method == METHOD_RANGE && (of_client || of_all);
}

static bool has_one_answer(method_t method)
{
    return method_info(method)->type == RPC_UNARY;
}

void sessions_message(sessions_t *self, uint64_t id, bytes_t **message_p)
{
    bytes_t *message = bytes_take(message_p);
    session_call_t *call = session_call_find(self, id);
    if (!call) {
        bytes_unref(&message);
    } else if (has_one_answer(call->method)) {
        bytes_unref(&call->answer);
        call->answer = message;
    } else {
        native_header_t header = {.command = NATIVE_REPLY, .call = call->id};
        session_answer(self, call->session, &header, message, id);
    }
}

void sessions_finish(sessions_t *self, uint64_t id, grpc_code_t code, const char *text)
{
    session_call_t *call = session_call_find(self, id);
    if (!call) {
        return;
    }
    session_t *session = call->session;
    uint64_t client_id = call->id;
    uint64_t octets = call->answer ? native_octets(bytes_len(call->answer)) : 0;
    if (code != GRPC_OK) {
        fail(self, session, client_id, code, text);
    } else if (!has_one_answer(call->method)) {
        send_done(self, session, client_id, code, NULL);
    } else if (is_too_much(self, call)) {
        fail(self, session, client_id, api_error_code(API_BUSY), api_error_text(API_BUSY));
    } else {
        send_done(self, session, client_id, code, bytes_take(&call->answer));
    }
    close_call(self, call, octets);
    session_mark_dirty(self, session); /* what waits behind it may go on */
}

/* ---- requests ---- */

/* Ends a call from our side, also at the request core. */
static void end_call(sessions_t *self, uint64_t id, grpc_code_t code, const char *text)
{
    session_call_t *call = session_call_find(self, id);
    if (call->begun) {
        self->touched = true;
        api_call_cancel(self->api, id);
    }
    fail(self, call->session, call->id, code, text);
    close_call(self, call, 0);
}

/* The request core may end the call within each of these. */
void session_deliver(sessions_t *self, session_request_t *request)
{
    session_call_t *call = session_call_find(self, request->call);
    if (call && request->begins) {
        if (call->deadline_us <= self->now_us) { /* over while it waited */
            end_call(self, request->call, api_error_code(API_DEADLINE_EXCEEDED),
                     api_error_text(API_DEADLINE_EXCEEDED));
            call = NULL;
        } else {
            api_call_t info = {.method = call->method,
                               .deadline_us = call->deadline_us,
                               .flags = call->flags,
                               .client_version = bytes_slice(call->session->client_version)};
            call->begun = true;
            self->touched = true;
            call->session->reads_open += is_read(call);
            api_call_begin(self->api, request->call, &info, self->now_us);
            call = session_call_find(self, request->call);
        }
    }
    call = call && call->closed ? NULL : call; /* it has said that this would not come */
    bool ends = request->ends;
    self->touched = self->touched || call;
    if (call && request->body) {
        /* As with gRPC, who may say one thing has said it. */
        ends = ends || method_info(call->method)->type != RPC_BIDI_STREAM;
        api_call_message(self->api, request->call, &request->body, self->now_us);
        call = session_call_find(self, request->call);
    }
    bytes_unref(&request->body);
    if (call && ends) {
        call->closed = true;
        api_call_half_close(self->api, request->call, self->now_us);
    }
}

static void take_request(sessions_t *self, session_t *session, session_request_t *request)
{
    if (session->waiting.count == 0 && session_admits(self, session, request)) {
        session_deliver(self, request);
    } else if (!session_wait(self, session, request)) {
        bytes_unref(&request->body);
        end_call(self, request->call, GRPC_RESOURCE_EXHAUSTED,
                 "quoral: too many requests wait for the client to take its answers");
    }
}

/* Takes a copy; false = it is larger than allowed, and the call has ended. */
static bool take_body(sessions_t *self, const native_message_t *message, uint64_t call,
                      bytes_t **body_p)
{
    size_t len = message->body.len;
    if (len > self->cfg.message_bytes_max) {
        char text[96];
        (void)snprintf(text, sizeof text, "grpc: received message larger than max (%zu vs. %zu)",
                       len, self->cfg.message_bytes_max);
        rpc_metrics_receive_failed(self->metrics, session_call_find(self, call)->method);
        end_call(self, call, GRPC_RESOURCE_EXHAUSTED, text);
        return false;
    }
    *body_p = message->has_body ? bytes_new(message->body.data, len) : NULL;
    return true;
}

static method_t find_method(slice_t name)
{
    char path[NATIVE_METHOD_BYTES_MAX + 1];
    assert(name.len < sizeof path);
    path[0] = '/';
    memcpy(path + 1, name.data, name.len);
    return method_find(path, name.len + 1);
}

static bool is_service(slice_t service)
{
    for (int m = 0; m < METHOD_COUNT; m++) {
        if (slice_equal(service, slice_str(method_info((method_t)m)->service))) {
            return true;
        }
    }
    return false;
}

/* In grpc-go's words. */
static void fail_unknown(sessions_t *self, session_t *session, uint64_t id, slice_t name)
{
    const uint8_t *cut = memrchr(name.data, '/', name.len);
    slice_t service = slice(name.data, cut ? (size_t)(cut - name.data) : 0);
    char text[NATIVE_METHOD_BYTES_MAX + 64];
    if (!cut) {
        (void)snprintf(text, sizeof text, "malformed method name: \"%.*s\"", (int)name.len,
                       (const char *)name.data);
    } else if (is_service(service)) {
        (void)snprintf(text, sizeof text, "unknown method %.*s for service %.*s",
                       (int)(name.len - service.len - 1), (const char *)cut + 1, (int)service.len,
                       (const char *)service.data);
    } else {
        (void)snprintf(text, sizeof text, "unknown service %.*s", (int)service.len,
                       (const char *)service.data);
    }
    fail(self, session, id, GRPC_UNIMPLEMENTED, text);
}

void session_on_call(sessions_t *self, session_t *session, const native_message_t *message)
{
    const native_header_t *header = &message->header;
    if (find_by_client_id(self, session, header->call)) {
        session_refuse(self, session, header->call, NATIVE_BAD_CALL);
        return;
    }
    method_t method = find_method(message->method);
    if (method == METHOD_UNKNOWN) {
        fail_unknown(self, session, header->call, message->method);
        return;
    }
    if (session->calls.count >= self->cfg.calls_max || self->call_count >= LIMIT_CALLS) {
        fail(self, session, header->call, GRPC_RESOURCE_EXHAUSTED,
             "quoral: too many calls are open");
        return;
    }
    session_call_t call = {
        .id = header->call,
        .method = method,
        .flags = header->flags & NATIVE_FLAG_REQUIRE_LEADER ? CALL_REQUIRE_LEADER : 0,
        .deadline_us =
            header->argument ? self->now_us + (uint64_t)header->argument * 1000 : DEADLINE_NONE};
    session_request_t request = {.call = open_call(self, session, &call),
                                 .begins = true,
                                 .ends = header->flags & NATIVE_FLAG_END};
    if (take_body(self, message, request.call, &request.body)) {
        take_request(self, session, &request);
    }
}

void session_on_data(sessions_t *self, session_t *session, const native_message_t *message)
{
    uint64_t id = find_by_client_id(self, session, message->header.call);
    session_call_t *call = id ? session_call_find(self, id) : NULL;
    if (!call || call->closed) {
        return; /* its DONE is on the way */
    }
    session_request_t request = {.call = id, .ends = message->header.flags & NATIVE_FLAG_END};
    if (take_body(self, message, id, &request.body)) {
        take_request(self, session, &request);
    }
}

void session_on_end(sessions_t *self, session_t *session, uint64_t client_id)
{
    uint64_t id = find_by_client_id(self, session, client_id);
    session_call_t *call = id ? session_call_find(self, id) : NULL;
    if (call && !call->closed) {
        session_request_t request = {.call = id, .ends = true};
        take_request(self, session, &request);
    }
}

void session_on_cancel(sessions_t *self, session_t *session, uint64_t client_id)
{
    uint64_t id = find_by_client_id(self, session, client_id);
    if (id) {
        end_call(self, id, api_error_code(API_CANCELED), api_error_text(API_CANCELED));
    }
}

void session_drop_calls(sessions_t *self, session_t *session)
{
    size_t at = 0;
    void *known = NULL;
    while ((known = id_map_next(&session->calls, &at))) {
        session_call_t *call = &self->slots[(uintptr_t)known - 1];
        if (call->begun) {
            self->touched = true;
            api_call_cancel(self->api, id_of(self, (uint32_t)((uintptr_t)known - 1)));
        }
        close_call(self, call, 0);
        id_map_again(&at);
    }
}
