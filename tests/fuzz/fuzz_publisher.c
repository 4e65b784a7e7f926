/* The publisher, from arbitrary subscriptions: what peers of the publish socket may send, between events and turns
 * that the input chooses, too. Everything that is published is within its limits; every link is for a prefix
 * of the topic, once, and its previous position neither goes back nor reaches the event's. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "actors/zmq_gateway/publisher.h"
#include "messages/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { TOPIC_MAX = LIMIT_NATIVE_TOPIC_BYTES + 3, REGISTRATIONS = 40, BYTES = 600 };

typedef struct {
    publisher_t *publisher;
    metrics_t metrics;
    slice_t input;
    uint64_t now_us;
    int64_t revision;
    int64_t watch_id;
    native_position_t last; /* event published in the E space */
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

static void check_event(world_t *world, const slice_t *frames)
{
    native_event_t event;
    int rc = native_event_read(frames[1], &event);
    assert(rc == 0 && event.link_count > 0);
    assert(frames[2].len <= LIMIT_NATIVE_INLINE_BYTES && event.is_omitted == (frames[2].len == 0));
    assert(event.position.revision <= world->revision);
    for (size_t i = 0; i < event.link_count; i++) {
        const native_link_t *link = &event.links[i];
        native_subscription_t read;
        assert(link->subscription_len <= frames[0].len);
        assert(i == 0 || link->subscription_len < event.links[i - 1].subscription_len);
        rc = native_subscription_read(slice(frames[0].data, link->subscription_len), &read, NULL);
        assert(rc == 0);
        /* A registration begins at the end of a revision, which is below the event's. */
        assert(native_position_compare(link->previous, event.position) < 0);
    }
    if (frames[0].data[0] == NATIVE_EVENTS) {
        assert(native_position_compare(world->last, event.position) < 0);
        world->last = event.position;
    }
}

static void on_publish(void *context, const slice_t *frames, size_t count)
{
    world_t *world = context;
    assert(frames[0].len <= TOPIC_MAX);
    if (count == 3) {
        check_event(world, frames);
        return;
    }
    native_mark_t mark;
    int rc = native_mark_read(frames[1], &mark);
    assert(count == 2 && rc == 0 && mark.revision <= world->revision);
    native_subscription_t read;
    rc = native_subscription_read(slice(frames[0].data + 1, frames[0].len - 3), &read, NULL);
    assert(rc == 0);
}

static void subscribe(world_t *world, uint8_t first)
{
    buf_t message = {0};
    buf_byte(&message, first);
    static const uint8_t spaces[] = {NATIVE_EVENTS, NATIVE_PREVIOUS, NATIVE_EVENTS};
    uint8_t space = byte(world) % 4;
    if (space < 3) { /* else whatever comes */
        buf_byte(&message, spaces[space]);
    }
    slice_t rest = bytes(world, space == 2 ? 2 : 40); /* short ones match more */
    buf_append(&message, rest.data, rest.len);
    publisher_subscription(world->publisher, buf_slice(&message), world->now_us);
    slice_t text = slice(message.data + 1, message.len - 1);
    native_subscription_t read;
    if (native_subscription_read(text, &read, NULL) == 0) {
        (void)publisher_refuses(world->publisher, text);
    }
    buf_deinit(&message);
}

static void respond(world_t *world, buf_t *response)
{
    buf_field_u64(response, 2, (uint64_t)world->watch_id);
    publisher_response(world->publisher, buf_slice(response), world->now_us);
}

/* The watch call: its requests are answered at once. */
static void run_call(world_t *world)
{
    if (publisher_wants_call(world->publisher, world->now_us)) {
        publisher_call_began(world->publisher);
    }
    bytes_t *request = NULL;
    while ((request = publisher_next_request(world->publisher, world->now_us))) {
        bool creates = bytes_slice(request).data[0] == (1 << 3 | 2);
        buf_t header = {0};
        buf_t response = {0};
        if (creates) {
            world->watch_id++;
            buf_field_u64(&header, 3, (uint64_t)world->revision);
            buf_field_bytes(&response, 1, buf_slice(&header));
            buf_field_u64(&response, 3, true);
            respond(world, &response);
        }
        buf_deinit(&header);
        buf_deinit(&response);
        bytes_unref(&request);
    }
}

static void write_revision(world_t *world)
{
    buf_t response = {0};
    size_t count = 1 + byte(world) % 4;
    world->revision++;
    for (size_t i = 0; i < count; i++) {
        slice_t key = bytes(world, 30);
        buf_t kv = {0};
        buf_t event = {0};
        buf_field_bytes(&kv, 1, key.len ? key : slice("a", 1));
        buf_field_u64(&kv, 3, (uint64_t)world->revision);
        buf_field_bytes(&event, 2, buf_slice(&kv));
        buf_field_bytes(&response, 11, buf_slice(&event));
        buf_deinit(&kv);
        buf_deinit(&event);
    }
    respond(world, &response);
    buf_deinit(&response);
}

static void run_step(world_t *world)
{
    uint8_t what = byte(world);
    switch (what % 8) {
    case 0:
    case 1:
    case 2: subscribe(world, 1); break;
    case 3: subscribe(world, 0); break;
    case 4: subscribe(world, what); break;
    case 5:
    case 6: write_revision(world); break;
    default: world->now_us += (uint64_t)what * 10000;
    }
    run_call(world);
    publisher_turn(world->publisher, world->now_us);
    (void)publisher_deadline(world->publisher);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    world_t *world = calloc(1, sizeof *world);
    assert(world);
    world->input = slice(data, len);
    world->revision = 1;
    publisher_cfg_t cfg = {.cluster_id = 1,
                           .progress_us = 500000,
                           .linger_us = 1000000,
                           .registrations_max = REGISTRATIONS,
                           .registration_bytes_max = BYTES};
    publisher_sink_t sink = {.context = world, .publish = on_publish};
    world->publisher = publisher_new(&cfg, &sink, &world->metrics);
    while (world->input.len) {
        run_step(world);
    }
    publisher_destroy(&world->publisher);
    free(world);
    return 0;
}
