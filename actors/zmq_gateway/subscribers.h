/* subscribers: the publish socket without libzmq, as bytes in and bytes out: an XPUB of ZMTP 3 with the NULL mechanism
 * for any number of connections. Pure; one owner, the gateway's thread.
 *
 * Why not libzmq's: it keeps 24 to 55 KiB for a connection and has two threads work for every message of each
 * (docs/BENCHMARKS.md, "Many subscribers"). Here a subscriber that keeps up is some hundred bytes, a publication is
 * there once, and what goes to one socket in a turn goes in one system call. With CURVE the publish socket is libzmq's.
 *
 * What a subscriber does not take waits for it, up to LIMIT_NATIVE_PUBLISH_QUEUE publications, LIMIT_NATIVE_QUEUED for
 * all, and the bounds of the backlog; what comes then is lost for it, which it notices (docs/protocol.md).
 *
 * The shell's part:
 *   a connection               -> subscribers_add
 *   its bytes                  -> subscribers_input, until it says that this is the end
 *   subscribers_next           -> subscribers_output, what the socket takes -> subscribers_sent
 *   the socket takes more      -> subscribers_writable
 *   its end                    -> subscribers_remove
 *   subscribers_deadline       -> subscribers_turn, until NULL: who is to be removed */
#pragma once

#include "actors/core/metrics.h"
#include "actors/core/step.h"
#include "messages/limits.h"
#include "messages/slice.h"

typedef struct subscribers subscribers_t;
typedef struct subscriber subscriber_t;

typedef struct {
    size_t topics_max, topic_bytes_max, seats_max; /* of all subscribers */
    size_t queue_max;                              /* publications that wait for one of them */
    size_t
        queued_max; /* that wait, each counted for each of them; above it only who is nearly up to date gets more */
    size_t backlog_max, backlog_bytes_max; /* that wait for any of them */
    uint64_t
        heartbeat_us; /* who has said nothing for so long is asked; who has no handshake by then is gone */
    uint64_t silence_us; /* and who has said nothing for so long */
} subscribers_cfg_t;

typedef struct {
    void *context;
    /* As an XPUB with ZMQ_XPUB_VERBOSE has it: %x01 and the subscription, each time; %x00 and the subscription when the
     * last one of its subscribers has gone. */
    void (*subscription)(void *context, slice_t message);
} subscribers_sink_t;

subscribers_t *subscribers_new(const subscribers_cfg_t *cfg, const subscribers_sink_t *sink,
                               metrics_t *metrics);
void subscribers_destroy(subscribers_t **self_p);

/* One message, for all who have subscribed to a prefix of its first frame. */
void subscribers_publish(subscribers_t *self, const slice_t *frames, size_t count);

subscriber_t *subscribers_add(subscribers_t *self, void *owner, uint64_t now_us);
void *subscriber_owner(const subscriber_t *self);
/* Tells of the subscriptions that end with it. Nulls the pointer. */
void subscribers_remove(subscribers_t *self, subscriber_t **subscriber_p);

typedef enum {
    SUBSCRIBER_FINE,
    SUBSCRIBER_BROKEN,   /* what it says is not ZMTP 3 of a SUB or XSUB, or too much */
    SUBSCRIBER_HAS_CURVE /* or another mechanism that there is none for here */
} subscriber_state_t;
/* All but the first are the end: to be removed, after the output that is left if there is to be an explanation. */
subscriber_state_t subscribers_input(subscribers_t *self, subscriber_t *subscriber, slice_t bytes,
                                     uint64_t now_us) __attribute__((warn_unused_result));

/* The next with something to send, each once a turn; NULL. */
subscriber_t *subscribers_next(subscribers_t *self);
bool subscribers_pending(const subscribers_t *self);
enum { SUBSCRIBER_PARTS_MAX = 64 };
/* What is to be sent, in parts that are valid until anything else happens here. Returns their number. */
size_t subscribers_output(const subscribers_t *self, const subscriber_t *subscriber,
                          slice_t parts[SUBSCRIBER_PARTS_MAX]);
/* So much of it was; is_full: the socket takes no more at the moment. */
void subscribers_sent(subscribers_t *self, subscriber_t *subscriber, size_t bytes, bool is_full);
void subscribers_writable(subscribers_t *self, subscriber_t *subscriber);

/* Asks those who have been silent. Returns one whose time is over, to be removed; NULL = none, until the deadline. */
subscriber_t *subscribers_turn(subscribers_t *self, uint64_t now_us);
uint64_t subscribers_deadline(const subscribers_t *self);
