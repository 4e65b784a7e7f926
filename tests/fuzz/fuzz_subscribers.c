/* The publish socket without libzmq, from arbitrary bytes of several connections, between publications, sockets that
 * take some of what there is, and time. What a connection is sent is a greeting and whole frames of ours; nothing is
 * announced that is not there. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "actors/zmq_gateway/subscribers.h"
#include "messages/zmtp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { PEERS = 4, FRAME_MAX = 4096 };

typedef struct {
    subscriber_t *subscriber;
    buf_t got;
    bool has_greeted;
} peer_t;

typedef struct {
    subscribers_t *core;
    metrics_t metrics;
    peer_t peers[PEERS];
    slice_t input;
    uint64_t now_us;
} world_t;

static uint8_t byte(world_t *world)
{
    if (world->input.len == 0) {
        return 0;
    }
    uint8_t value = world->input.data[0];
    world->input = slice(world->input.data + 1, world->input.len - 1);
    return value;
}

static slice_t bytes(world_t *world, size_t max)
{
    size_t len = byte(world) % (max + 1);
    len = len < world->input.len ? len : world->input.len;
    slice_t taken = slice(world->input.data, len);
    world->input = slice(world->input.data + len, world->input.len - len);
    return taken;
}

static void on_subscription(void *context, slice_t message)
{
    (void)context;
    assert(message.len >= 1 && message.data[0] <= 1);
    assert(message.len <= LIMIT_NATIVE_SUBSCRIPTION_MESSAGE_BYTES + 1);
}

static void check_sent(peer_t *peer)
{
    uint8_t minor = 0;
    zmtp_frame_t frame;
    slice_t rest = buf_slice(&peer->got);
    if (!peer->has_greeted && zmtp_read_greeting(rest, &minor) == 0) {
        peer->has_greeted = true;
        rest = slice(rest.data + ZMTP_GREETING_BYTES, rest.len - ZMTP_GREETING_BYTES);
    }
    int rc = peer->has_greeted ? 0 : ZMTP_PARTIAL;
    while (rc == 0) {
        rc = zmtp_read_frame(rest, FRAME_MAX, &frame);
        rest = rc == 0 ? slice(rest.data + frame.size, rest.len - frame.size) : rest;
    }
    assert(rc == ZMTP_PARTIAL);
    if (rest.len > 0) {
        memmove(peer->got.data, rest.data, rest.len);
    }
    peer->got.len = rest.len;
}

static void hang_up(world_t *world, peer_t *peer)
{
    if (peer->subscriber) {
        subscribers_remove(world->core, &peer->subscriber);
        buf_deinit(&peer->got);
        *peer = (peer_t){0};
    }
}

static void dial(world_t *world, peer_t *peer, bool says_hello)
{
    hang_up(world, peer);
    peer->subscriber = subscribers_add(world->core, peer, world->now_us);
    if (says_hello) {
        buf_t hello = {0};
        buf_append(&hello, zmtp_greeting().data, ZMTP_GREETING_BYTES);
        zmtp_write_ready(&hello, "SUB");
        subscriber_state_t state =
            subscribers_input(world->core, peer->subscriber, buf_slice(&hello), world->now_us);
        assert(state == SUBSCRIBER_FINE);
        buf_deinit(&hello);
    }
}

static void input(world_t *world, peer_t *peer, slice_t in)
{
    if (peer->subscriber &&
        subscribers_input(world->core, peer->subscriber, in, world->now_us) != SUBSCRIBER_FINE) {
        hang_up(world, peer);
    }
}

static void subscribe(world_t *world, peer_t *peer, const char *command)
{
    buf_t out = {0};
    zmtp_write_command(&out, command, bytes(world, 3));
    input(world, peer, buf_slice(&out));
    buf_deinit(&out);
}

static void publish(world_t *world)
{
    slice_t frames[2];
    frames[0] = bytes(world, 4);
    frames[1] = bytes(world, 60);
    subscribers_publish(world->core, frames, 2);
}

static void send(world_t *world)
{
    slice_t parts[SUBSCRIBER_PARTS_MAX];
    size_t room = byte(world);
    subscriber_t *next = subscribers_next(world->core);
    assert((next != NULL) >= subscribers_pending(world->core));
    if (!next) {
        return;
    }
    peer_t *peer = subscriber_owner(next);
    assert(peer->subscriber == next);
    size_t sent = 0;
    size_t count = subscribers_output(world->core, next, parts);
    for (size_t i = 0; i < count; i++) {
        size_t taken = parts[i].len < room - sent ? parts[i].len : room - sent;
        buf_append(&peer->got, parts[i].data, taken);
        sent += taken;
    }
    subscribers_sent(world->core, next, sent, sent == room);
    check_sent(peer);
}

static void pass_time(world_t *world)
{
    world->now_us += (uint64_t)byte(world) * 100000;
    subscriber_t *gone = NULL;
    while ((gone = subscribers_turn(world->core, world->now_us))) {
        hang_up(world, subscriber_owner(gone));
    }
    assert(subscribers_deadline(world->core) > world->now_us);
}

static void act(world_t *world)
{
    uint8_t what = byte(world);
    peer_t *peer = &world->peers[byte(world) % PEERS];
    switch (what % 16) {
    case 0: dial(world, peer, true); break;
    case 1:
    case 4: publish(world); break;
    case 2:
    case 5: send(world); break;
    case 3:
    case 11: subscribe(world, peer, "SUBSCRIBE"); break;
    case 6:
        if (peer->subscriber) {
            subscribers_writable(world->core, peer->subscriber);
        }
        break;
    case 7: subscribe(world, peer, "CANCEL"); break;
    case 8: subscribe(world, peer, "PING"); break;
    case 9: pass_time(world); break;
    case 10: hang_up(world, peer); break;
    case 12: dial(world, peer, false); break;
    default: input(world, peer, bytes(world, 40)); break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static world_t world;
    subscribers_cfg_t cfg = {.topics_max = 16,
                             .topic_bytes_max = 30,
                             .seats_max = 24,
                             .queue_max = 6,
                             .queued_max = 9,
                             .backlog_max = 10,
                             .backlog_bytes_max = 1000,
                             .heartbeat_us = 5000000,
                             .silence_us = 15000000};
    subscribers_sink_t sink = {.context = &world, .subscription = on_subscription};
    world = (world_t){.input = slice(data, len), .now_us = 1};
    world.core = subscribers_new(&cfg, &sink, &world.metrics);
    while (world.input.len > 0) {
        act(&world);
    }
    for (size_t i = 0; i < PEERS; i++) {
        hang_up(&world, &world.peers[i]);
    }
    subscribers_destroy(&world.core);
    return 0;
}
