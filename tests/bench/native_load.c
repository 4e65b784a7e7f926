/* native_load: drives one server over the native protocol (docs/protocol.md) and prints one line of JSON.
 *
 * native_load MODE ENDPOINT INFLIGHT REQUESTS [CLIENTS]     MODE: put or get; ENDPOINT: tcp://host:port
 *
 * Puts and gets of 1,000 keys of the form that `load` uses, with values of 256 bytes; INFLIGHT over all clients.
 * One thread, as many DEALERs as clients. Ends with 1 when a call failed. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

#include "messages/buf.h"
#include "messages/native_frame.h"

enum { KEYS = 1000, VALUE_BYTES = 256, CLIENTS_MAX = 64, WAIT_MS = 30000 };

typedef struct {
    void *socket;
    uint64_t received;
} client_t;

static client_t clients[CLIENTS_MAX];
static bool is_get;
static uint64_t begun;

static void die(const char *text)
{
    fprintf(stderr, "native_load: %s\n", text);
    exit(2);
}

static void say(client_t *client, const native_header_t *header, slice_t method, slice_t body)
{
    uint8_t bytes[NATIVE_HEADER_BYTES];
    native_header_write(bytes, header);
    bool alone = method.len == 0;
    if (zmq_send(client->socket, bytes, sizeof bytes, alone ? 0 : ZMQ_SNDMORE) < 0 ||
        (!alone && (zmq_send(client->socket, method.data, method.len, ZMQ_SNDMORE) < 0 ||
                    zmq_send(client->socket, body.data, body.len, 0) < 0))) {
        die(zmq_strerror(zmq_errno()));
    }
}

static void begin(client_t *client)
{
    static const uint8_t value[VALUE_BYTES];
    char key[64];
    int len = snprintf(key, sizeof key, "bench/%026" PRIu64, begun % KEYS);
    buf_t body = {0};
    buf_field_bytes(&body, 1, slice(key, (size_t)len));
    if (!is_get) {
        buf_field_bytes(&body, 2, slice(value, sizeof value));
    }
    native_header_t header = {.command = NATIVE_CALL,
                              .flags = NATIVE_FLAG_END,
                              .call = ++begun,
                              .octets = client->received};
    say(client, &header, slice_str(is_get ? "etcdserverpb.KV/Range" : "etcdserverpb.KV/Put"),
        buf_slice(&body));
    buf_deinit(&body);
}

/* One message, if there is one. 1 = a call has ended. */
static int hear(client_t *client, int flags)
{
    zmq_msg_t parts[2];
    slice_t frames[2] = {{0}};
    size_t count = 0;
    bool more = true;
    for (; more && count < 2; count++) {
        zmq_msg_init(&parts[count]);
        if (zmq_msg_recv(&parts[count], client->socket, flags) < 0) {
            zmq_msg_close(&parts[count]);
            return 0;
        }
        frames[count] = slice(zmq_msg_data(&parts[count]), zmq_msg_size(&parts[count]));
        more = zmq_msg_more(&parts[count]);
    }
    native_message_t message;
    if (native_decode(NATIVE_FROM_SERVER, frames, count, &message) || more) {
        die("the server says what it must not");
    }
    const native_header_t *header = &message.header;
    if (header->command == NATIVE_ERROR || (header->command == NATIVE_DONE && header->argument)) {
        fprintf(stderr, "%.*s\n", (int)message.body.len, (const char *)message.body.data);
        exit(1);
    }
    if (header->command == NATIVE_DONE) {
        client->received += native_octets(message.body.len);
    } else if (header->command == NATIVE_PING) {
        native_header_t pong = {.command = NATIVE_PONG, .octets = client->received};
        say(client, &pong, slice(NULL, 0), slice(NULL, 0));
    }
    for (size_t i = 0; i < count; i++) {
        zmq_msg_close(&parts[i]);
    }
    return header->command == NATIVE_DONE;
}

static void greet(void *context, const char *endpoint, client_t *client)
{
    int wait_ms = WAIT_MS;
    client->socket = zmq_socket(context, ZMQ_DEALER);
    zmq_setsockopt(client->socket, ZMQ_RCVTIMEO, &wait_ms, sizeof wait_ms);
    if (zmq_connect(client->socket, endpoint) < 0) {
        die(zmq_strerror(zmq_errno()));
    }
    native_header_t hello = {.command = NATIVE_HELLO};
    say(client, &hello, slice(NULL, 0), slice(NULL, 0));
    hear(client, 0);
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Every answer brings the next call, until `total` are begun. */
static void run(size_t client_count, uint64_t inflight, uint64_t total)
{
    zmq_pollitem_t items[CLIENTS_MAX];
    for (size_t i = 0; i < client_count; i++) {
        items[i] = (zmq_pollitem_t){.socket = clients[i].socket, .events = ZMQ_POLLIN};
    }
    for (uint64_t i = 0; i < inflight && begun < total; i++) {
        begin(&clients[i % client_count]);
    }
    uint64_t done = 0;
    while (done < total) {
        if (zmq_poll(items, (int)client_count, WAIT_MS) <= 0) {
            die("no answer");
        }
        for (size_t i = 0; i < client_count; i++) {
            while (items[i].revents && hear(&clients[i], ZMQ_DONTWAIT)) {
                done++;
                if (begun < total) {
                    begin(&clients[i]);
                }
            }
        }
    }
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        die("usage: native_load put|get ENDPOINT INFLIGHT REQUESTS [CLIENTS]");
    }
    is_get = strcmp(argv[1], "get") == 0;
    uint64_t inflight = strtoull(argv[3], NULL, 10);
    uint64_t total = strtoull(argv[4], NULL, 10);
    size_t client_count = argc > 5 ? strtoull(argv[5], NULL, 10) : 4;
    if (client_count < 1 || client_count > CLIENTS_MAX || inflight < client_count) {
        die("1 to 64 clients, each with a call in flight");
    }
    void *context = zmq_ctx_new();
    for (size_t i = 0; i < client_count; i++) {
        greet(context, argv[2], &clients[i]);
    }
    double start_s = now_s();
    run(client_count, inflight, total);
    double seconds = now_s() - start_s;
    printf("{\"mode\": \"native %s\", \"requests\": %" PRIu64
           ", \"seconds\": %.4f, \"per_second\": %.1f}\n",
           argv[1], total, seconds, (double)total / seconds);
    for (size_t i = 0; i < client_count; i++) {
        native_header_t bye = {.command = NATIVE_BYE, .octets = clients[i].received};
        say(&clients[i], &bye, slice(NULL, 0), slice(NULL, 0));
        zmq_close(clients[i].socket);
    }
    zmq_ctx_term(context);
    return 0;
}
