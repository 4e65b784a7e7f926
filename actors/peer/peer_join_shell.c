#include "actors/peer/peer_join_shell.h"

#include <assert.h>
#include <czmq.h>
#include <stdlib.h>

#include "actors/curve/handshakes_shell.h"
#include "actors/peer/endpoint.h"
#include "actors/peer/peer_socket_shell.h"
#include "actors/runtime/clock.h"
#include "messages/limits.h"
#include "messages/peer_codec.h"
#include "messages/xalloc.h"

enum { ASK_AGAIN_US = 300000, POLL_MS = 50 };

typedef struct {
    const char *url;
    zsock_t *socket;  /* NULL = leads nowhere */
    zsock_t *monitor; /* tells of attempts that failed */
    bool has_failed;
    const char *refusal; /* why, if a key or its lack was the reason */
    bool has_answered;
    join_answer_t answer;
} asked_t;

typedef struct {
    const join_question_t *question;
    asked_t *asked;
    size_t count;
    uint64_t asker; /* random: stands where a member's id would */
    uint64_t ask_due_us;
} round_t;

void join_answer_deinit(join_answer_t *self)
{
    bytes_unref(&self->configuration);
    bytes_unref(&self->published);
}

bool join_answer_has_published(const join_answer_t *self, uint64_t member)
{
    slice_t ids = bytes_slice(self->published);
    for (size_t at = 0; at + 8 <= ids.len; at += 8) {
        uint64_t id = 0;
        for (unsigned i = 0; i < 8; i++) {
            id |= (uint64_t)ids.data[at + i] << (8 * i);
        }
        if (id == member) {
            return true;
        }
    }
    return false;
}

/* ---- sockets ---- */

/* False = no certificate says what to expect there. */
static bool take_keys(asked_t *asked, curve_domain_t *curve)
{
    uint8_t key[CURVE_KEY_BYTES];
    if (!curve || curve_connect(curve, asked->socket, asked->url, 0, key)) {
        return true;
    }
    asked->refusal = "no allowed CURVE certificate has this peer URL";
    return false;
}

static void open_socket(const round_t *self, size_t place)
{
    asked_t *asked = &self->asked[place];
    char *endpoint = endpoint_of(asked->url);
    asked->socket = endpoint ? peer_socket_new(ZMQ_DEALER) : NULL;
    if (asked->socket) {
        peer_socket_place(asked->socket, 1 + place);
        zsock_set_immediate(asked->socket, 1);
        zsock_set_ipv6(asked->socket, endpoint_is_ipv6(endpoint, self->question->names_are_ipv6));
        asked->monitor = handshakes_watch(
            asked->socket, ZMQ_EVENT_CLOSED | ZMQ_EVENT_CONNECT_RETRIED | HANDSHAKES_EVENTS);
        if (!take_keys(asked, self->question->curve) ||
            zmq_connect(zsock_resolve(asked->socket), endpoint) < 0) {
            handshakes_unwatch(asked->socket, &asked->monitor);
            zsock_destroy(&asked->socket);
        }
    }
    asked->has_failed = asked->socket == NULL;
    free(endpoint);
}

static void close_sockets(round_t *self)
{
    for (size_t i = 0; i < self->count; i++) {
        handshakes_unwatch(self->asked[i].socket, &self->asked[i].monitor);
        zsock_destroy(&self->asked[i].socket);
    }
}

/* ---- asking ---- */

static void ask(const round_t *self, const asked_t *asked)
{
    const peer_header_t header = {.from = self->asker};
    peer_msg_t *msg = peer_msg_new(PEER_WHO, 0);
    bytes_t *frame = peer_frame_encode(&header, msg);
    slice_t bytes = bytes_slice(frame);
    /* Not connected yet: the next time. */
    (void)zmq_send(zsock_resolve(asked->socket), bytes.data, bytes.len, ZMQ_DONTWAIT);
    bytes_unref(&frame);
    peer_msg_free(&msg);
}

static void take_answer(asked_t *asked, slice_t bytes)
{
    peer_frame_t frame;
    peer_msg_t *msg = NULL;
    if (peer_frame_open(bytes, &frame) || frame.kind != PEER_CLUSTER ||
        peer_frame_decode(&frame, &msg)) {
        return;
    }
    join_answer_deinit(&asked->answer);
    asked->has_answered = true;
    asked->answer = (join_answer_t){
        .cluster_id = frame.header.cluster_id,
        .index = msg->u.cluster.index,
        .is_committed = msg->u.cluster.is_committed,
        .configuration = bytes_take(&msg->u.cluster.configuration),
        .published = bytes_take(&msg->u.cluster.published),
    };
    peer_msg_free(&msg);
}

static void receive(const round_t *self, asked_t *asked)
{
    zmq_msg_t msg;
    zmq_msg_init(&msg);
    while (zmq_msg_recv(&msg, zsock_resolve(asked->socket), ZMQ_DONTWAIT) >= 0) {
        take_answer(asked, slice(zmq_msg_data(&msg), zmq_msg_size(&msg)));
    }
    zmq_msg_close(&msg);
    unsigned event = 0;
    unsigned value = 0;
    char address[256];
    while (asked->monitor &&
           handshakes_next(asked->monitor, &event, &value, address, sizeof address)) {
        const char *why = NULL;
        asked->has_failed = true; /* whatever the event is: an attempt has ended */
        if (handshakes_explain(event, value, HANDSHAKES_CLIENT, self->question->curve != NULL,
                               &why)) {
            asked->refusal = why;
        }
    }
}

static bool is_done(const round_t *self, uint64_t now_us, uint64_t end_us)
{
    const join_question_t *question = self->question;
    bool all = true;
    for (size_t i = 0; i < self->count; i++) {
        const asked_t *asked = &self->asked[i];
        if (asked->has_answered && question->is_enough &&
            question->is_enough(question->context, &asked->answer)) {
            return true;
        }
        all = all && (!asked->socket || (asked->has_answered && !question->is_enough) ||
                      (question->is_hasty && (asked->has_answered || asked->has_failed)));
    }
    return all || now_us >= end_us;
}

static void wait_for_answers(round_t *self)
{
    zmq_pollitem_t items[LIMIT_JOIN_URLS];
    uint64_t end_us = clock_monotonic_us() + self->question->timeout_us;
    for (uint64_t now_us = clock_monotonic_us(); !is_done(self, now_us, end_us);
         now_us = clock_monotonic_us()) {
        bool again = now_us >= self->ask_due_us;
        int open = 0;
        for (size_t i = 0; i < self->count; i++) {
            asked_t *asked = &self->asked[i];
            if (asked->socket) {
                items[open++] =
                    (zmq_pollitem_t){.socket = zsock_resolve(asked->socket), .events = ZMQ_POLLIN};
                if (again || !asked->has_answered) {
                    ask(self, asked);
                }
            }
        }
        self->ask_due_us = again ? now_us + ASK_AGAIN_US : self->ask_due_us;
        zmq_poll(items, open, POLL_MS);
        for (size_t i = 0; i < self->count; i++) {
            if (self->asked[i].socket) {
                receive(self, &self->asked[i]);
            }
        }
    }
}

/* ---- what to make of it ---- */

static bool is_better(const round_t *self, const asked_t *a, const asked_t *b)
{
    const join_question_t *question = self->question;
    if (!b) {
        return true;
    }
    bool enough_a = question->is_enough && question->is_enough(question->context, &a->answer);
    bool enough_b = question->is_enough && question->is_enough(question->context, &b->answer);
    if (enough_a != enough_b) {
        return enough_a;
    }
    if (a->answer.is_committed != b->answer.is_committed) {
        return a->answer.is_committed;
    }
    return a->answer.index > b->answer.index;
}

static char *nobody_answers(const round_t *self)
{
    for (size_t i = 0; i < self->count; i++) {
        if (self->asked[i].refusal) {
            return xasprintf("could not retrieve cluster information from the given URLs (%s: %s)",
                             self->asked[i].url, self->asked[i].refusal);
        }
    }
    return xstrdup("could not retrieve cluster information from the given URLs");
}

static char *choose(const round_t *self, join_answer_t *answer)
{
    asked_t *best = NULL;
    for (size_t i = 0; i < self->count; i++) {
        asked_t *asked = &self->asked[i];
        if (!asked->has_answered) {
            continue;
        }
        if (best && best->answer.cluster_id != asked->answer.cluster_id) {
            return xasprintf("the peer URLs belong to different clusters: %s to %llx, %s to %llx",
                             best->url, (unsigned long long)best->answer.cluster_id, asked->url,
                             (unsigned long long)asked->answer.cluster_id);
        }
        if (is_better(self, asked, best)) {
            best = asked;
        }
    }
    if (!best) {
        return nobody_answers(self);
    }
    *answer = best->answer;
    best->answer = (join_answer_t){0};
    return NULL;
}

char *peer_join_ask(const join_question_t *question, join_answer_t *answer)
{
    round_t round = {.question = question, .asker = clock_random_seed() | 1};
    round.count = question->count < LIMIT_JOIN_URLS ? question->count : LIMIT_JOIN_URLS;
    round.asked = xcalloc(round.count + 1, sizeof *round.asked);
    for (size_t i = 0; i < round.count; i++) {
        round.asked[i].url = question->urls[i];
        open_socket(&round, i);
    }
    wait_for_answers(&round);
    close_sockets(&round);
    *answer = (join_answer_t){0};
    char *error = choose(&round, answer);
    for (size_t i = 0; i < round.count; i++) {
        join_answer_deinit(&round.asked[i].answer);
    }
    free(round.asked);
    return error;
}
