/* Whatever a server may say to libquoral's cores, from arbitrary bytes: messages of a session with a cache that asks,
 * publications, pages, answers, values of services. Nothing of it may break a rule of the cores, or their memory. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "client/native/client_endpoints.h"
#include "client/native/client_feeds.h"
#include "client/native/client_instance.h"
#include "client/native/client_request.h"
#include "client/native/client_welcome.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

typedef struct {
    const uint8_t *data;
    size_t len;
} input_t;

static slice_t take(input_t *in, size_t len)
{
    slice_t part = slice(in->data, len < in->len ? len : in->len);
    in->data += part.len;
    in->len -= part.len;
    return part;
}

static uint8_t take_byte(input_t *in)
{
    slice_t part = take(in, 1);
    return part.len ? part.data[0] : 0;
}

static void send_all(client_session_t *session, uint64_t now_us)
{
    slice_t frames[NATIVE_FRAMES_MAX];
    size_t count = 0;
    while (client_session_output(session, now_us, frames, &count)) {
        native_message_t message;
        native_error_t error = native_decode(NATIVE_FROM_CLIENT, frames, count, &message);
        assert(error == NATIVE_OK);
    }
}

/* A header that is one, so that the rest is reached without luck. */
static void say(client_session_t *session, input_t *in, uint64_t *sent, uint64_t now_us)
{
    static const native_command_t commands[] = {NATIVE_WELCOME, NATIVE_REPLY, NATIVE_DONE,
                                                NATIVE_ERROR,   NATIVE_PING,  NATIVE_PONG,
                                                NATIVE_HELLO};
    uint8_t dice = take_byte(in);
    native_header_t header = {.command = commands[dice % 7],
                              .call = dice & 8 ? 1u << 16 : take_byte(in),
                              .argument = dice & 16 ? 0 : take_byte(in),
                              .octets = *sent};
    slice_t body = take(in, take_byte(in));
    uint8_t bytes[NATIVE_HEADER_BYTES];
    native_header_write(bytes, &header);
    slice_t frames[2] = {slice(bytes, sizeof bytes), body};
    uint64_t generation = client_session_generation(session);
    client_session_message(session, client_session_link(session).number, frames, dice & 32 ? 1 : 2,
                           now_us);
    if (header.command == NATIVE_REPLY || header.command == NATIVE_DONE) {
        *sent += native_octets(dice & 32 ? 0 : body.len);
    }
    *sent = client_session_generation(session) == generation ? *sent : 0;
}

static void welcome(client_session_t *session, uint64_t now_us)
{
    static const uint8_t body[] = {1 << 3, 7,   4 << 3, 100, 5 << 3,  10,
                                   6 << 3, 100, 8 << 3, 50,  10 << 3, 80};
    uint8_t bytes[NATIVE_HEADER_BYTES];
    native_header_write(bytes, &(native_header_t){.command = NATIVE_WELCOME, .call = 1});
    slice_t frames[2] = {slice(bytes, sizeof bytes), slice(body, sizeof body)};
    client_session_message(session, client_session_link(session).number, frames, 2, now_us);
}

static void publish(client_feeds_t *feeds, input_t *in, uint64_t now_us)
{
    bool is_mark = take_byte(in) & 1;
    slice_t frames[3] = {
        slice_str(is_mark ? "MEa\0\2" : "Eab\0\1"), take(in, take_byte(in) & 63), {0}};
    frames[0].len = 5;
    frames[2] = take(in, take_byte(in) & 63);
    client_feeds_message(feeds, client_feeds_link(feeds)->number, frames, is_mark ? 2 : 3, now_us);
}

static void run_client(input_t *in)
{
    client_session_cfg_t cfg = {.endpoints_n = 2,
                                .dial_timeout_us = 1000000,
                                .waiting_max = 10,
                                .waiting_bytes_max = 10000};
    client_cache_cfg_t cache_cfg = {
        .key = slice_str("a"), .prefix = true, .queue_max = 10, .queue_bytes_max = 1000};
    client_session_t *session = client_session_new(&cfg);
    client_feeds_t feeds = {0};
    client_feed_t *feed = client_feed_new(&cache_cfg);
    const client_cache_t *cache = client_feed_cache(feed);
    client_cache_changes_t changes = {0};
    uint64_t now_us = 1000000;
    uint64_t sent = 0;
    client_feeds_add(&feeds, &feed, session, now_us);
    client_session_step(session, now_us);
    send_all(session, now_us);
    welcome(session, now_us);
    for (int turn = 0; in->len > 0 && turn < 1000; turn++) {
        client_feeds_step(&feeds, session, "tcp://h:1", now_us);
        client_session_step(session, now_us);
        send_all(session, now_us);
        uint8_t dice = take_byte(in);
        if (dice & 1) {
            publish(&feeds, in, now_us);
        } else {
            say(session, in, &sent, now_us);
        }
        now_us += (uint64_t)(dice >> 4) * 10000;
        int64_t revision = client_cache_revision(cache);
        while (client_cache_advance(client_feed_cache(feeds.feeds[0]), now_us, &changes)) {
            assert(changes.reset || changes.revision >= revision);
            revision = changes.revision;
            client_cache_changes_clear(&changes);
        }
        assert(client_feeds_deadline(&feeds, now_us) > 0 && client_session_deadline(session) != 1);
    }
    client_cache_changes_deinit(&changes);
    client_feeds_deinit(&feeds, session, now_us);
    client_session_close(session, now_us);
    client_session_destroy(&session);
}

static void run_results(input_t *in, client_answer_t kind)
{
    quoral_result_t *result = client_result_new(kind, slice(in->data, in->len));
    for (size_t i = 0; i <= quoral_result_size(result); i++) {
        const quoral_kv_t *kv = quoral_result_kv(result, i);
        assert((kv != NULL) == (i < quoral_result_size(result)));
    }
    for (size_t i = 0; quoral_result_response(result, i); i++) {
        assert(quoral_result_is_ok(quoral_result_response(result, i)));
    }
    quoral_result_destroy(&result);
}

static void run_texts(input_t *in)
{
    client_instance_t instance;
    if (client_instance_read(slice(in->data, in->len), &instance) == 0) {
        buf_t text = {0};
        client_instance_t again;
        client_instance_write(&text, &instance);
        int rc = client_instance_read(buf_slice(&text), &again);
        assert(rc == 0 && again.metadata_n <= instance.metadata_n &&
               again.weight == instance.weight);
        client_instance_deinit(&again);
        buf_deinit(&text);
    }
    client_instance_deinit(&instance);
    client_welcome_t read;
    assert(client_welcome_read(slice(in->data, in->len), &read) <= 1);
    char *list = malloc(in->len + 1);
    memcpy(list, in->data, in->len);
    list[in->len] = '\0';
    char **endpoints = NULL;
    size_t count = 0;
    free(client_endpoints_parse(list, &endpoints, &count));
    for (size_t i = 0; i < count; i++) {
        free(endpoints[i]);
    }
    free(endpoints);
    free(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 1) {
        return 0;
    }
    input_t in = {data + 1, len - 1};
    uint8_t which = data[0] % 8;
    if (which <= CLIENT_ANSWER_TXN) {
        run_results(&in, (client_answer_t)which);
    } else if (which == 5) {
        run_texts(&in);
    } else {
        run_client(&in);
    }
    return 0;
}
