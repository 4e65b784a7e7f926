#include "actors/zmq_gateway/sessions_private.h"

#include <assert.h>

#include "messages/limits.h"

/* What stands in `replies` remembers whom to tell in the header's octets, which are not known before it is sent. */

uint64_t session_outstanding(const session_t *session)
{
    return session->sent - session->acknowledged + session->reply_octets;
}

/* Nobody knows what a range will answer. Many at a time are begun only when the last ones were small: all that
 * is read for nothing has to be refused. */
static bool is_one_read_too_many(const sessions_t *self, const session_t *session,
                                 const session_request_t *request)
{
    const session_call_t *call =
        request->begins && session->reads_open ? session_call_find(self, request->call) : NULL;
    return call && call->method == METHOD_RANGE &&
           session_outstanding(session) + session->reads_open * session->read_octets >=
               self->cfg.window_octets;
}

void session_read_ended(session_t *session, uint64_t octets)
{
    enum { PARTS = 8 };
    assert(session->reads_open > 0);
    session->reads_open--;
    if (octets > session->read_octets) {
        session->read_octets = octets;
    } else if (octets) {
        session->read_octets -= (session->read_octets - octets) / PARTS;
    }
}

/* Above the total of all clients nobody may have more than an equal share. */
bool session_admits(const sessions_t *self, const session_t *session,
                    const session_request_t *request)
{
    uint64_t outstanding = session_outstanding(session);
    bool crowded = self->outstanding_total >= LIMIT_NATIVE_UNSENT_BYTES &&
                   outstanding >= LIMIT_NATIVE_UNSENT_BYTES / (self->count ? self->count : 1);
    return self->is_ready && outstanding < self->cfg.window_octets && !crowded &&
           !is_one_read_too_many(self, session, request);
}

void session_answer(sessions_t *self, session_t *session, const native_header_t *header,
                    bytes_t *body, uint64_t call)
{
    session_out_t *out = fifo_push(&session->replies);
    *out = (session_out_t){.header = *header, .body = body};
    out->header.octets = call;
    uint64_t octets = native_octets(bytes_len(body));
    session->reply_octets += octets;
    self->outstanding_total += octets;
    session_mark_dirty(self, session);
}

static void report_sent(sessions_t *self, uint64_t call, size_t bytes)
{
    if (call && session_call_find(self, call)) {
        self->touched = true;
        api_call_sent(self->api, call, bytes);
    }
}

bool session_take_answer(sessions_t *self, session_t *session, session_out_t *out)
{
    const session_out_t *next = fifo_front(&session->replies);
    if (!next || !session->greeted || session->on_the_way.count >= LIMIT_NATIVE_ON_THE_WAY ||
        session->sent - session->acknowledged >= self->cfg.window_octets) {
        return false;
    }
    *out = *next;
    fifo_pop(&session->replies);
    size_t bytes = bytes_len(out->body);
    uint64_t call = out->header.octets;
    out->header.octets = session->sent;
    session->sent += native_octets(bytes);
    session->reply_octets -= native_octets(bytes);
    /* A stream goes on at once while the window has room, else when this is acknowledged. */
    bool has_room = session->sent - session->acknowledged < self->cfg.window_octets;
    session_sent_t *sent = fifo_push(&session->on_the_way);
    *sent = (session_sent_t){.end = session->sent, .call = has_room ? 0 : call, .bytes = bytes};
    if (has_room) {
        report_sent(self, call, bytes);
    }
    return true;
}

native_error_t session_acknowledge(sessions_t *self, session_t *session, uint64_t octets)
{
    if (octets == session->acknowledged) {
        return NATIVE_OK;
    }
    if (octets < session->acknowledged || octets > session->sent) {
        return NATIVE_BAD_OCTETS;
    }
    self->outstanding_total -= octets - session->acknowledged;
    session->acknowledged = octets;
    const session_sent_t *sent = NULL;
    while ((sent = fifo_front(&session->on_the_way)) && sent->end <= octets) {
        session_sent_t taken = *sent;
        fifo_pop(&session->on_the_way);
        report_sent(self, taken.call, taken.bytes);
    }
    if (session->replies.count) {
        session_mark_dirty(self, session);
    }
    session_release(self, session);
    return NATIVE_OK;
}

bool session_wait(sessions_t *self, session_t *session, const session_request_t *request)
{
    size_t bytes = bytes_len(request->body);
    if (session->waiting_bytes + bytes > LIMIT_NATIVE_WAITING_BYTES ||
        self->waiting_total + bytes > LIMIT_NATIVE_WAITING_TOTAL_BYTES ||
        session->waiting.count >= LIMIT_NATIVE_WAITING) {
        return false;
    }
    session_request_t *place = fifo_push(&session->waiting);
    *place = *request;
    session->waiting_bytes += bytes;
    self->waiting_total += bytes;
    self->waiting_count++;
    return true;
}

static session_request_t take_waiting(sessions_t *self, session_t *session)
{
    session_request_t *first = fifo_front(&session->waiting);
    session_request_t request = *first;
    fifo_pop(&session->waiting);
    size_t bytes = bytes_len(request.body);
    session->waiting_bytes -= bytes;
    self->waiting_total -= bytes;
    self->waiting_count--;
    return request;
}

void session_release(sessions_t *self, session_t *session)
{
    while (session->waiting.count && session_admits(self, session, fifo_front(&session->waiting))) {
        session_request_t request = take_waiting(self, session);
        session_deliver(self, &request);
    }
}

void session_drop_window(sessions_t *self, session_t *session)
{
    session_out_t *out = NULL;
    self->outstanding_total -= session_outstanding(session);
    while ((out = fifo_front(&session->replies))) {
        bytes_unref(&out->body);
        fifo_pop(&session->replies);
    }
    while (session->waiting.count) {
        session_request_t request = take_waiting(self, session);
        bytes_unref(&request.body);
    }
    while (session->on_the_way.count) {
        fifo_pop(&session->on_the_way);
    }
    session->reply_octets = 0;
    session->sent = 0;
    session->acknowledged = 0;
}
