/* Native clients that say anything in any order, with the request core played by a recorder that answers in any
 * order. What leaves is always a message of the protocol, positions add up per session, windows hold, and when
 * everybody is gone nothing is left. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "actors/zmq_gateway/sessions.h"
#include "messages/limits.h"
#include "tests/support/fake_api.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { CLIENTS = 4, WINDOW = 300, CALLS_MAX = 5, BODY_MAX = 200 };

typedef struct {
    slice_t rest;
    sessions_t *sessions;
    api_t api;
    metrics_t metrics;
    uint64_t now_us;
    uint64_t received[CLIENTS], acknowledged[CLIENTS];
} world_t;

static uint8_t next(world_t *world)
{
    if (world->rest.len == 0) {
        return 0;
    }
    world->rest = slice(world->rest.data + 1, world->rest.len - 1);
    return world->rest.data[-1];
}

static void on_message(void *context, uint64_t call, bytes_t **message_p)
{
    sessions_message(((world_t *)context)->sessions, call, message_p);
}

static void on_finish(void *context, uint64_t call, grpc_code_t code, const char *text)
{
    sessions_finish(((world_t *)context)->sessions, call, code, text);
}

static void say(world_t *world)
{
    static const char *const methods[] = {"etcdserverpb.KV/Put",      "etcdserverpb.KV/Range",
                                          "etcdserverpb.Watch/Watch", "etcdserverpb.KV/RangeStream",
                                          "no.Service/Method",        "x"};
    static const uint8_t body[BODY_MAX + 1];
    uint8_t client = next(world) % CLIENTS;
    uint8_t choice = next(world);
    uint64_t octets = world->received[client];
    octets = choice & 0x10 ? world->acknowledged[client] : octets;
    octets = choice == 0xff ? next(world) : octets;
    native_header_t header = {.command = (native_command_t)(1 + choice % 8),
                              .flags = next(world) % 4,
                              .call = next(world) % 8,
                              .argument = next(world),
                              .octets = octets};
    if (header.command != NATIVE_CALL) {
        header.flags &= header.command == NATIVE_DATA ? NATIVE_FLAG_END : 0;
    }
    header.octets = header.command == NATIVE_HELLO ? 0 : header.octets;
    uint8_t bytes[NATIVE_HEADER_BYTES];
    native_header_write(bytes, &header);
    slice_t frames[NATIVE_FRAMES_MAX] = {slice(bytes, sizeof bytes)};
    size_t count = 1;
    if (header.command == NATIVE_CALL) {
        frames[count++] = slice_str(methods[next(world) % (sizeof methods / sizeof *methods)]);
    }
    if ((header.command == NATIVE_CALL && choice & 0x20) || header.command == NATIVE_DATA) {
        frames[count++] = slice(body, next(world) % (sizeof body + 1));
    }
    sessions_input(world->sessions, slice(&client, 1), frames, count, world->now_us);
    if (octets == world->received[client]) {
        world->acknowledged[client] = octets;
    }
}

/* The core says something, perhaps of a call that has ended. */
static void answer(world_t *world)
{
    static const uint8_t body[256];
    if (world->api.count == 0) {
        return;
    }
    const fake_call_t *call = &world->api.calls[next(world) % world->api.count];
    uint8_t choice = next(world);
    if (choice & 1) {
        fake_message(&world->api, call->id, body, next(world));
    } else {
        fake_finish(&world->api, call->id, choice & 2 ? GRPC_OK : GRPC_UNAVAILABLE, "text");
    }
}

static void check_output(world_t *world, const native_output_t *out)
{
    assert(out->route.len == 1 && out->route.data[0] < CLIENTS);
    uint8_t client = out->route.data[0];
    slice_t frames[2] = {slice(out->header, sizeof out->header), bytes_slice(out->body)};
    native_message_t message;
    native_error_t error = native_decode(NATIVE_FROM_SERVER, frames, out->body ? 2 : 1, &message);
    assert(error == NATIVE_OK);
    switch (message.header.command) {
    case NATIVE_WELCOME:
        world->received[client] = 0;
        world->acknowledged[client] = 0;
        break;
    case NATIVE_REPLY:
    case NATIVE_DONE:
        assert(message.header.octets == world->received[client]);
        assert(world->received[client] - world->acknowledged[client] < WINDOW);
        world->received[client] += native_octets(message.body.len);
        break;
    default: break;
    }
}

static void take_outputs(world_t *world, bool deliver)
{
    native_output_t out;
    while (sessions_output(world->sessions, &out)) {
        if (deliver) {
            check_output(world, &out);
        } else {
            sessions_undelivered(world->sessions);
            deliver = true;
        }
        bytes_unref(&out.body);
    }
}

static void wait(world_t *world, uint64_t us)
{
    world->now_us += us;
    sessions_tick(world->sessions, world->now_us);
}

static void run(world_t *world)
{
    while (world->rest.len && world->api.count < FAKE_CALLS_MAX - 1) {
        uint8_t op = next(world);
        switch (op % 8) {
        case 0:
        case 1:
        case 2: say(world); break;
        case 3:
        case 4: answer(world); break;
        case 5: take_outputs(world, true); break;
        case 6: wait(world, op & 0x80 ? 700000 : 1000); break;
        case 7:
            if (op & 0x80) {
                take_outputs(world, false);
            } else {
                sessions_set_ready(world->sessions, op & 0x40, world->now_us);
            }
            break;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    world_t *world = xcalloc(1, sizeof *world);
    world->rest = slice(data, len);
    world->now_us = 1;
    world->api.hold = true;
    world->api.sink = (api_sink_t){.context = world, .message = on_message, .finish = on_finish};
    sessions_cfg_t cfg = {.heartbeat_us = 1000000,
                          .window_octets = WINDOW,
                          .calls_max = CALLS_MAX,
                          .clients_max = CLIENTS - 1,
                          .message_bytes_max = BODY_MAX};
    world->sessions = sessions_new(&cfg, &world->metrics);
    sessions_attach(world->sessions, &world->api);
    sessions_set_ready(world->sessions, len % 2, world->now_us);
    run(world);
    for (int i = 0; i < 10; i++) { /* silence */
        take_outputs(world, true);
        wait(world, 600000);
    }
    assert(!sessions_present(world->sessions));
    assert(metrics_get(&world->metrics, METRIC_NATIVE_CALLS) == 0);
    assert(metrics_get(&world->metrics, METRIC_NATIVE_WAITING) == 0);
    assert(metrics_get(&world->metrics, METRIC_NATIVE_UNACKNOWLEDGED) == 0);
    sessions_destroy(&world->sessions);
    fake_clear(&world->api);
    free(world);
    return 0;
}
