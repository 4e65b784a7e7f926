/* Stands between members that publish and their subscribers, and loses what it is told to lose: ZeroMQ itself does so
 * only where nobody can count on it. Subscriptions pass unchanged (XPUB here, XSUB there), publications in their order.
 *
 *   gap_relay SEED LISTEN=UPSTREAM [LISTEN=UPSTREAM ...]
 *
 * Lines of its standard input: "lose" and "pass". It ends with its standard input, and then prints a JSON object of
 * what it has done:
 *
 *   any               events at random
 *   last_of_revision  the last event of a revision, so that the next revision's events must show it
 *   last_of_prefix    all events of a subscription up to its next mark, so that nothing but this mark can show it;
 *                     counted are the marks whose `last` is the event lost last
 *   marks             at random
 *   silences          everything of one member, for up to five intervals of its marks
 *
 * It also sees who lags: `met_behind` counts members that were subscribed to and whose mark was then below one that
 * another member had published LAG_US ago (each prints a line "behind"); `lag_ms` is the longest such time. */
#include <assert.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include "messages/native_event.h"

enum {
    MEMBERS_MAX = 8,
    FRAMES = 3,
    BURST = 500,   /* messages of a socket, before the others are looked at */
    QUEUE = 10000, /* messages to or from a peer; what is above ZeroMQ drops */
    LAG_US = 300000,
    NEW_US = 2000000,  /* a subscription is new for that long */
    MUTE_US = 5000000, /* a subscription whose mark never comes has been given up */
    PAST = 1024,
    SILENCE_EVERY_US = 4000000,
    US_PER_MS = 1000,
};

/* One in so many. */
enum { ANY = 200, LAST_OF_REVISION = 20, LAST_OF_PREFIX = 400, MARK = 10 };

typedef struct {
    void *upstream;   /* XSUB */
    void *downstream; /* XPUB */
    uint64_t subscribed_us;
    uint64_t silent_until_us;
    /* A subscription all of whose events are lost at the moment. */
    unsigned char muted[LIMIT_NATIVE_TOPIC_BYTES];
    size_t muted_len; /* 0: none */
    uint64_t muted_until_us;
    native_position_t muted_last;
} member_t;

static struct {
    member_t members[MEMBERS_MAX];
    size_t members_n;
    bool loses;
    uint64_t random;
    uint64_t next_silence_us;
    /* The newest revisions that any mark has told, and when. */
    struct {
        uint64_t at_us;
        int64_t revision;
    } past[PAST];
    size_t past_n;
    uint64_t passed, any, last_of_revision, last_of_prefix, marks, silences, met_behind, lag_us;
} relay;

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static bool one_in(unsigned n)
{
    relay.random ^= relay.random << 13;
    relay.random ^= relay.random >> 7;
    relay.random ^= relay.random << 17;
    return (relay.random >> 16) % n == 0;
}

/* ---- who lags ---- */

/* For how long another member has had more than this revision. */
static uint64_t lag_us(int64_t revision, uint64_t at_us)
{
    size_t oldest = relay.past_n > PAST ? relay.past_n - PAST : 0;
    size_t i = relay.past_n;
    while (i > oldest && relay.past[(i - 1) % PAST].revision > revision) {
        i--;
    }
    return i < relay.past_n ? at_us - relay.past[i % PAST].at_us : 0;
}

static void compare_members(member_t *member, int64_t revision, uint64_t at_us)
{
    if (relay.past_n == 0 || revision > relay.past[(relay.past_n - 1) % PAST].revision) {
        relay.past[relay.past_n % PAST].at_us = at_us;
        relay.past[relay.past_n % PAST].revision = revision;
        relay.past_n++;
    }
    uint64_t lag = lag_us(revision, at_us);
    if (lag > LAG_US && at_us < member->subscribed_us + NEW_US) {
        relay.met_behind++;
        puts("behind");
        member->subscribed_us = 0;
    }
    relay.lag_us = lag > relay.lag_us ? lag : relay.lag_us;
}

/* ---- what is lost ---- */

static bool mutes(const member_t *member, slice_t topic)
{
    return member->muted_len > 0 &&
           slice_starts_with(topic, slice(member->muted, member->muted_len));
}

static void mute(member_t *member, slice_t topic, const native_event_t *event, uint64_t at_us)
{
    const native_link_t *link = &event->links[relay.random % event->link_count];
    member->muted_len = link->subscription_len;
    memcpy(member->muted, topic.data, member->muted_len);
    member->muted_until_us = at_us + MUTE_US;
}

static bool loses_event(member_t *member, slice_t topic, slice_t head, uint64_t at_us)
{
    native_event_t event;
    if (native_event_read(head, &event) || event.link_count == 0) {
        return false;
    }
    if (member->muted_len == 0 && one_in(LAST_OF_PREFIX)) {
        mute(member, topic, &event, at_us);
    }
    if (mutes(member, topic)) {
        member->muted_last = event.position;
        return true;
    }
    /* The shortest subscription is the widest. */
    if (event.links[event.link_count - 1].is_last && one_in(LAST_OF_REVISION)) {
        relay.last_of_revision++;
        return true;
    }
    bool is_lost = one_in(ANY);
    relay.any += is_lost;
    return is_lost;
}

static bool is_muted_mark(const member_t *member, slice_t topic)
{
    enum { AROUND = 3 }; /* the space in front, the terminator behind */
    return member->muted_len > 0 && topic.len == member->muted_len + AROUND &&
           memcmp(topic.data + 1, member->muted, member->muted_len) == 0;
}

static bool loses_mark(member_t *member, slice_t topic, const native_mark_t *mark, uint64_t at_us)
{
    if (is_muted_mark(member, topic)) {
        relay.last_of_prefix += native_position_compare(mark->last, member->muted_last) == 0;
        member->muted_len = 0;
        return false;
    }
    if (member->muted_len > 0 && at_us > member->muted_until_us) {
        member->muted_len = 0;
    }
    if (at_us >= relay.next_silence_us) {
        uint64_t interval_us = (uint64_t)mark->interval_ms * US_PER_MS;
        relay.silences++;
        member->silent_until_us = at_us + (1 + relay.random % 5) * interval_us;
        relay.next_silence_us = at_us + SILENCE_EVERY_US;
    }
    bool is_lost = one_in(MARK);
    relay.marks += is_lost;
    return is_lost;
}

static bool loses(member_t *member, const slice_t *frames, size_t count, uint64_t at_us)
{
    native_mark_t mark;
    bool is_mark = count == 2 && frames[0].len > 0 && frames[0].data[0] == NATIVE_MARKS &&
                   native_mark_read(frames[1], &mark) == 0;
    if (is_mark) {
        compare_members(member, mark.revision, at_us);
    }
    if (!relay.loses) {
        return false;
    }
    if (at_us < member->silent_until_us) {
        return true;
    }
    if (is_mark) {
        return loses_mark(member, frames[0], &mark, at_us);
    }
    return count == FRAMES && loses_event(member, frames[0], frames[1], at_us);
}

/* ---- what passes ---- */

typedef struct {
    zmq_msg_t parts[FRAMES];
    size_t count;
} message_t;

/* False: there is none. */
static bool receive(void *socket, message_t *message)
{
    message->count = 0;
    bool more = true;
    while (more) {
        assert(message->count < FRAMES); /* no message of the protocol has more */
        zmq_msg_t *part = &message->parts[message->count];
        zmq_msg_init(part);
        if (zmq_msg_recv(part, socket, ZMQ_DONTWAIT) < 0) {
            return false;
        }
        message->count++;
        more = zmq_msg_more(part);
    }
    return true;
}

static void pass_publications(member_t *member)
{
    uint64_t at_us = now_us();
    message_t message;
    for (int n = 0; n < BURST && receive(member->upstream, &message); n++) {
        slice_t frames[FRAMES];
        for (size_t i = 0; i < message.count; i++) {
            frames[i] = slice(zmq_msg_data(&message.parts[i]), zmq_msg_size(&message.parts[i]));
        }
        bool is_lost = loses(member, frames, message.count, at_us);
        relay.passed += !is_lost;
        for (size_t i = 0; i < message.count; i++) {
            if (is_lost) {
                zmq_msg_close(&message.parts[i]);
            } else {
                zmq_msg_send(&message.parts[i], member->downstream,
                             i + 1 < message.count ? ZMQ_SNDMORE : 0);
            }
        }
    }
}

static void pass_subscriptions(member_t *member)
{
    message_t message;
    for (int n = 0; n < BURST && receive(member->downstream, &message); n++) {
        member->subscribed_us = now_us();
        zmq_msg_send(&message.parts[0], member->upstream, 0);
    }
}

/* ---- its life ---- */

static void *open_socket(void *context, int type)
{
    void *socket = zmq_socket(context, type);
    int none = 0;
    int queue = QUEUE;
    int soon_ms = 20;
    int each = 1;
    zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none);
    zmq_setsockopt(socket, ZMQ_SNDHWM, &queue, sizeof queue);
    zmq_setsockopt(socket, ZMQ_RCVHWM, &queue, sizeof queue);
    zmq_setsockopt(socket, ZMQ_RECONNECT_IVL, &soon_ms, sizeof soon_ms);
    if (type == ZMQ_XPUB) {
        /* The member is told of every subscription, as it would be without a relay. */
        zmq_setsockopt(socket, ZMQ_XPUB_VERBOSER, &each, sizeof each);
    }
    return socket;
}

static int add_member(void *context, char *route)
{
    char *upstream = strchr(route, '=');
    if (!upstream || relay.members_n == MEMBERS_MAX) {
        return -1;
    }
    *upstream++ = '\0';
    member_t *member = &relay.members[relay.members_n++];
    member->upstream = open_socket(context, ZMQ_XSUB);
    member->downstream = open_socket(context, ZMQ_XPUB);
    int rc = zmq_bind(member->downstream, route);
    return rc ? rc : zmq_connect(member->upstream, upstream);
}

/* False: it is to end. */
static bool obey(void)
{
    static char line[64];
    ssize_t len =
        read(STDIN_FILENO, line, sizeof line - 1); /* an order at a time, each is one write */
    if (len <= 0) {
        return false;
    }
    relay.loses = strncmp(line, "lose", 4) == 0;
    puts(relay.loses ? "losing" : "passing");
    return true;
}

static void run(void)
{
    zmq_pollitem_t items[1 + 2 * MEMBERS_MAX] = {{.fd = STDIN_FILENO, .events = ZMQ_POLLIN}};
    int n = 1;
    for (size_t i = 0; i < relay.members_n; i++) {
        items[n++] = (zmq_pollitem_t){.socket = relay.members[i].upstream, .events = ZMQ_POLLIN};
        items[n++] = (zmq_pollitem_t){.socket = relay.members[i].downstream, .events = ZMQ_POLLIN};
    }
    do {
        zmq_poll(items, n, -1);
        for (size_t i = 0; i < relay.members_n; i++) {
            pass_publications(&relay.members[i]);
            pass_subscriptions(&relay.members[i]);
        }
    } while (!items[0].revents || obey());
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    void *context = zmq_ctx_new();
    relay.random = 0x9e3779b97f4a7c15u ^ (argc > 1 ? strtoull(argv[1], NULL, 10) : 0);
    for (int i = 2; i < argc; i++) {
        if (add_member(context, argv[i])) {
            fprintf(stderr, "%s: %s\n", argv[i], zmq_strerror(errno));
            return 2;
        }
    }
    if (relay.members_n == 0) {
        fprintf(stderr, "usage: %s SEED LISTEN=UPSTREAM ...\n", argv[0]);
        return 2;
    }
    puts("ready");
    run();
    printf("{\"passed\": %" PRIu64 ", \"any\": %" PRIu64 ", \"last_of_revision\": %" PRIu64
           ", \"last_of_prefix\": %" PRIu64 ", \"marks\": %" PRIu64 ", \"silences\": %" PRIu64
           ", \"met_behind\": %" PRIu64 ", \"lag_ms\": %" PRIu64 "}\n",
           relay.passed, relay.any, relay.last_of_revision, relay.last_of_prefix, relay.marks,
           relay.silences, relay.met_behind, relay.lag_us / US_PER_MS);
    for (size_t i = 0; i < relay.members_n; i++) {
        zmq_close(relay.members[i].upstream);
        zmq_close(relay.members[i].downstream);
    }
    zmq_ctx_term(context);
    return 0;
}
