/* handshakes: why connections of a ZeroMQ socket come to nothing, as its monitor tells: the other side has no
 * CURVE, or has while this one has not, or another key. Logged once a minute per address, counted always. One
 * owner, the thread of the sockets.
 *
 * A server is not told by ZeroMQ whom it has refused: the address in the log is then its own. Who is refused for
 * its key is logged by curve_shell, which is told. */
#pragma once

#include <czmq.h>

#include "actors/core/metrics.h"
#include "actors/core/outbox.h"
#include "actors/curve/noted.h"

typedef enum { HANDSHAKES_SERVER, HANDSHAKES_CLIENT } handshakes_side_t;

typedef struct {
    bool has_curve;   /* the sockets have keys */
    const char *flag; /* that would give them some, for people: "--peer-curve-secret-key" */
    metrics_t *metrics;
    metric_t counter;
    void (*log)(void *context, log_level_t level, actor_id_t actor, const char *text,
                const char *fields);
    void *log_context;
    actor_id_t actor; /* in whose name */
    noted_t noted;    /* zeroed */
} handshakes_t;

/* Before the socket binds or connects. NULL = out of descriptors: nothing is told. */
zsock_t *handshakes_watch(zsock_t *socket, int events);
/* Before either of them is closed: a monitor that nobody reads makes ZeroMQ's thread wait, and the socket's owner for
 * that thread. Nulls the monitor; accepts NULL. */
void handshakes_unwatch(zsock_t *socket, zsock_t **monitor_p);
typedef struct {
    bool
        anew; /* a client has to be connected anew: ZeroMQ does not try again after it was refused, and tries
                    the same key again and again when it was closed upon */
    bool
        closed; /* if ZMQ_EVENT_DISCONNECTED and _CLOSED are watched: a connection has ended, or none could be made */
} handshakes_news_t;
/* Takes what has happened, a bounded number, and says in *news, zeroed before, what was among it. True = there may be
 * more, and no descriptor will tell. */
bool handshakes_take(handshakes_t *self, zsock_t *monitor, handshakes_side_t side, uint64_t now_us,
                     handshakes_news_t *news);
/* Counts and, now and then, logs who has come with CURVE to a server without, for sockets that are not ZeroMQ's. */
void handshakes_note_mismatch(handshakes_t *self, const char *address, uint64_t now_us);
/* One event of a monitor that belongs to the side. True = it tells of a key or a mechanism that does not fit;
 * *text is then for people. For handshakes_take, and for who reads a monitor of its own. */
bool handshakes_explain(unsigned event, unsigned value, handshakes_side_t side, bool has_curve,
                        const char **text);
enum {
    HANDSHAKES_EVENTS = ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                        ZMQ_EVENT_HANDSHAKE_FAILED_AUTH
};
/* The next event of a monitor. False = there is none. `address` gets as much as fits. */
bool handshakes_next(zsock_t *monitor, unsigned *event, unsigned *value, char *address,
                     size_t size);
