#include "actors/curve/handshakes_shell.h"

#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "messages/json.h"
#include "messages/xalloc.h"

zsock_t *handshakes_watch(zsock_t *socket, int events)
{
    static _Atomic unsigned count;
    char address[48];
    (void)snprintf(address, sizeof address, "inproc://handshakes-%u", atomic_fetch_add(&count, 1));
    if (zmq_socket_monitor(zsock_resolve(socket), address, events) != 0) {
        return NULL;
    }
    zsock_t *monitor = zsock_new(ZMQ_PAIR);
    if (monitor) {
        /* No bound: the thread that does the network's work waits for room otherwise, and everybody with it. It is
         * one event per connection that failed, until the owner's next turn. */
        zsock_set_rcvhwm(monitor, 0);
        if (zmq_connect(zsock_resolve(monitor), address) != 0) {
            zsock_destroy(&monitor);
        }
    }
    if (!monitor) {
        (void)zmq_socket_monitor(zsock_resolve(socket), NULL, 0);
    }
    return monitor;
}

void handshakes_unwatch(zsock_t *socket, zsock_t **monitor_p)
{
    if (*monitor_p) {
        (void)zmq_socket_monitor(zsock_resolve(socket), NULL, 0);
        zsock_destroy(monitor_p);
    }
}

bool handshakes_next(zsock_t *monitor, unsigned *event, unsigned *value, char *address, size_t size)
{
    uint8_t head[6] = {0}; /* the event, then what goes with it, in the machine's order */
    uint16_t number = 0;
    uint32_t detail = 0;
    void *handle = zsock_resolve(monitor);
    if (zmq_recv(handle, head, sizeof head, ZMQ_DONTWAIT) < 0) {
        return false;
    }
    memcpy(&number, head, sizeof number);
    memcpy(&detail, head + sizeof number, sizeof detail);
    int len = zmq_recv(handle, address, size - 1, ZMQ_DONTWAIT);
    address[len < 0 ? 0 : (size_t)len < size ? (size_t)len : size - 1] = '\0';
    *event = number;
    *value = detail;
    return true;
}

static const char *explain_protocol(unsigned value, bool is_server, bool has_curve)
{
    if (value == ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH) {
        if (is_server) {
            return has_curve ? "refused a connection without CURVE"
                             : "refused a connection with CURVE, for which there is no key here";
        }
        return has_curve ? "the other side does not speak CURVE" : "the other side demands CURVE";
    }
    if (value == ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC) {
        return is_server ? "refused a connection that was made for another server's key"
                         : "the other side does not have the key that it was expected to have";
    }
    return NULL;
}

bool handshakes_explain(unsigned event, unsigned value, handshakes_side_t side, bool has_curve,
                        const char **text)
{
    bool is_server = side == HANDSHAKES_SERVER;
    *text = NULL;
    if (event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL) {
        *text = explain_protocol(value, is_server, has_curve);
    } else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH && !is_server) {
        *text = "the other side does not allow this key";
    } else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL && has_curve) {
        *text =
            "the other side closed the connection during the handshake: it may be stopping, have "
            "another key than expected, or no CURVE";
    }
    return *text != NULL;
}

static void say(const handshakes_t *self, const char *text, const char *address, uint64_t held_back)
{
    buf_t fields = {0};
    char number[48];
    buf_append(&fields, "\"address\":", 10);
    buf_json_string(&fields, slice_str(address));
    int len = snprintf(number, sizeof number, ",\"held-back\":%" PRIu64, held_back);
    buf_append(&fields, number, (size_t)len);
    if (!self->has_curve) {
        buf_append(&fields, ",\"flag\":", 8);
        buf_json_string(&fields, slice_str(self->flag));
    }
    buf_byte(&fields, '\0');
    self->log(self->log_context, LEVEL_WARN, self->actor, text, (const char *)fields.data);
    buf_deinit(&fields);
}

static void note(handshakes_t *self, unsigned event, unsigned value, const char *text,
                 const char *address, uint64_t now_us)
{
    uint64_t held_back = 0;
    unsigned kind = (event >> 8 ^ (value & 0xff)) & 0xff;
    metrics_add(self->metrics, self->counter, 1);
    if (noted_admit(&self->noted, kind, slice_str(address), now_us, &held_back)) {
        say(self, text, address, held_back);
    }
}

void handshakes_note_mismatch(handshakes_t *self, const char *address, uint64_t now_us)
{
    enum { VALUE = ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH };
    note(self, ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL, VALUE,
         explain_protocol(VALUE, true, self->has_curve), address, now_us);
}

bool handshakes_take(handshakes_t *self, zsock_t *monitor, handshakes_side_t side, uint64_t now_us,
                     handshakes_news_t *news)
{
    for (int i = 0; i < LIMIT_HANDSHAKE_EVENTS; i++) {
        unsigned event = 0;
        unsigned value = 0;
        char address[256];
        const char *text = NULL;
        if (!handshakes_next(monitor, &event, &value, address, sizeof address)) {
            return false;
        }
        if (event & (ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CLOSED)) {
            news->closed = true;
            continue;
        }
        news->anew |= event != ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL || self->has_curve;
        if (!handshakes_explain(event, value, side, self->has_curve, &text)) {
            continue;
        }
        note(self, event, value, text, address, now_us);
    }
    return true;
}
