/* client over sockets: a scripted server on unix sockets runs in the same thread, turn by turn, so
 * that connections can fail at any moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "client/grpc_client.h"
#include "messages/xalloc.h"
#include "tests/support/h2_server.h"

enum { TURNS_MAX = 5000, CONNECTIONS_MAX = 4 };

typedef struct {
    int fd;
    h2_server_t *h2;
    size_t answered;
} connection_t;

/* Answers every call with its own message, unless told otherwise. */
typedef struct {
    char path[64];
    int listener;
    connection_t connections[CONNECTIONS_MAX];
    size_t n;
    bool mute;         /* accepts and says nothing */
    bool speaks_http1; /* answers with an error page */
    bool leaves_open;  /* reads calls and does not answer */
    bool unavailable;  /* says so */
} server_t;

typedef struct {
    char text[64];
    size_t messages;
    int code;
    char message[128];
    int done;              /* place in the order of endings, from 1 */
    grpc_stream_t *cancel; /* cancelled when a message comes */
} probe_t;

static int endings;

/* ---- the server ---- */

static void server_listen(server_t *self)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", self->path);
    unlink(self->path);
    self->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(self->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(self->listener, 8), 0);
}

static void server_start(server_t *self, const char *name)
{
    *self = (server_t){.listener = -1};
    snprintf(self->path, sizeof self->path, "/tmp/quoral-test-%d-%s", (int)getpid(), name);
    server_listen(self);
}

static void drop_connections(server_t *self)
{
    for (size_t i = 0; i < self->n; i++) {
        if (self->connections[i].fd >= 0) {
            close(self->connections[i].fd);
        }
        h2_server_destroy(&self->connections[i].h2);
    }
    self->n = 0;
}

static void server_stop(server_t *self)
{
    drop_connections(self);
    if (self->listener >= 0) {
        close(self->listener);
        unlink(self->path);
        self->listener = -1;
    }
}

static void answer_calls(server_t *self, connection_t *connection)
{
    while (!self->leaves_open && connection->answered < connection->h2->streams_n) {
        h2_server_stream_t *stream = &connection->h2->streams[connection->answered];
        if (!stream->in_ended) {
            return;
        }
        connection->answered++;
        h2_server_headers(connection->h2, stream);
        if (self->unavailable) {
            h2_server_trailers(connection->h2, stream, "14", "etcdserver: leader changed");
            continue;
        }
        h2_server_raw(connection->h2, stream, grpc_buffer_head(&stream->in),
                      grpc_buffer_size(&stream->in));
        h2_server_trailers(connection->h2, stream, "0", "");
    }
}

static void serve(server_t *self, connection_t *connection)
{
    static const char page[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
    uint8_t data[16384];
    ssize_t n = 0;
    if (connection->fd < 0 || self->mute) {
        return;
    }
    while ((n = read(connection->fd, data, sizeof data)) > 0) {
        if (self->speaks_http1) {
            (void)!write(connection->fd, page, sizeof page - 1);
        } else {
            h2_server_feed(connection->h2, data, (size_t)n);
        }
    }
    if (n == 0) {
        close(connection->fd);
        connection->fd = -1;
        return;
    }
    if (self->speaks_http1) {
        return;
    }
    answer_calls(self, connection);
    grpc_buffer_t out = {0};
    h2_server_output(connection->h2, &out);
    if (grpc_buffer_size(&out) > 0) {
        n = send(connection->fd, grpc_buffer_head(&out), grpc_buffer_size(&out), MSG_NOSIGNAL);
        assert_true(n == (ssize_t)grpc_buffer_size(&out) || errno == EPIPE);
    }
    grpc_buffer_deinit(&out);
}

static void server_turn(server_t *self)
{
    int fd =
        self->listener < 0 ? -1 : accept4(self->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        assert_true(self->n < CONNECTIONS_MAX);
        self->connections[self->n++] = (connection_t){.fd = fd, .h2 = h2_server_new()};
    }
    for (size_t i = 0; i < self->n; i++) {
        serve(self, &self->connections[i]);
    }
}

/* ---- the client ---- */

static grpc_client_t *new_patient_client(const char *const *endpoints, size_t n,
                                         int64_t dial_timeout_ms)
{
    char *error = NULL;
    grpc_client_t *client = grpc_client_new(&(grpc_client_cfg_t){.endpoints = endpoints,
                                                                 .endpoints_n = n,
                                                                 .dial_timeout_ms = dial_timeout_ms,
                                                                 .recv_bytes_max = 1000,
                                                                 .send_bytes_max = 40},
                                            &error);
    assert_non_null(client);
    return client;
}

static grpc_client_t *new_client(const char *const *endpoints, size_t n)
{
    return new_patient_client(endpoints, n, 100);
}

static void on_message(void *arg, const uint8_t *message, size_t size)
{
    probe_t *probe = arg;
    snprintf(probe->text, sizeof probe->text, "%.*s", (int)size, (const char *)message);
    probe->messages++;
    if (probe->cancel != NULL) {
        grpc_stream_t *stream = probe->cancel;
        probe->cancel = NULL;
        grpc_stream_cancel(stream);
    }
}

static void on_done(void *arg, const grpc_status_t *status)
{
    probe_t *probe = arg;
    assert_int_equal(probe->done, 0);
    probe->done = ++endings;
    probe->code = status->code;
    snprintf(probe->message, sizeof probe->message, "%s", status->message);
}

static grpc_stream_t *start(grpc_client_t *client, probe_t *probe, const char *text,
                            int64_t timeout_ms)
{
    *probe = (probe_t){.code = -1};
    grpc_stream_t *stream =
        grpc_client_start(client, &(grpc_stream_cfg_t){.path = "/echo.Echo/Echo",
                                                       .timeout_ms = timeout_ms,
                                                       .require_leader = true,
                                                       .on_message = on_message,
                                                       .on_done = on_done,
                                                       .arg = probe});
    grpc_stream_send(stream, text, strlen(text));
    grpc_stream_close_send(stream);
    return stream;
}

/* Turns of both sides until the probe is done. */
static void run(grpc_client_t *client, server_t *servers, size_t n, const probe_t *probe)
{
    for (int i = 0; i < TURNS_MAX && probe->done == 0; i++) {
        grpc_client_run(client, 1);
        for (size_t k = 0; k < n; k++) {
            server_turn(&servers[k]);
        }
    }
    assert_int_not_equal(probe->done, 0);
}

/* A number of turns in which nothing is waited for. */
static void some_turns_of(grpc_client_t *client, server_t *servers, size_t n)
{
    for (int i = 0; i < 20; i++) {
        grpc_client_run(client, 0);
        for (size_t k = 0; k < n; k++) {
            server_turn(&servers[k]);
        }
    }
}

static void some_turns(grpc_client_t *client, server_t *server)
{
    some_turns_of(client, server, 1);
}

static void expect_echo(const probe_t *probe, const char *text)
{
    assert_int_equal(probe->code, 0);
    assert_int_equal(probe->messages, 1);
    assert_string_equal(probe->text, text);
}

/* ---- tests ---- */

/* Servers and a client that knows all of them. */
typedef struct {
    server_t servers[3];
    size_t n;
    grpc_client_t *client;
} cluster_t;

static void cluster_start(cluster_t *self, size_t n, int64_t dial_timeout_ms)
{
    const char *endpoints[3] = {0};
    char *texts[3];
    char name[32];
    self->n = n;
    for (size_t i = 0; i < n; i++) {
        snprintf(name, sizeof name, "member%zu", i);
        server_start(&self->servers[i], name);
        endpoints[i] = texts[i] = xasprintf("unix://%s", self->servers[i].path);
    }
    self->client = new_patient_client(endpoints, n, dial_timeout_ms);
    for (size_t i = 0; i < n; i++) {
        free(texts[i]);
    }
}

static void cluster_stop(cluster_t *self)
{
    grpc_client_destroy(&self->client);
    for (size_t i = 0; i < self->n; i++) {
        server_stop(&self->servers[i]);
    }
}

static void expect_call(cluster_t *self, const char *text)
{
    probe_t probe;
    start(self->client, &probe, text, 5000);
    run(self->client, self->servers, self->n, &probe);
    expect_echo(&probe, text);
}

static size_t calls_of(const server_t *server)
{
    size_t calls = 0;
    for (size_t i = 0; i < server->n; i++) {
        calls += server->connections[i].h2->streams_n;
    }
    return calls;
}

static void an_endpoint_that_hangs_delays_nothing(void **state)
{
    (void)state;
    cluster_t cluster;
    cluster_start(&cluster, 2, 3600000);
    cluster.servers[0].mute = true;
    expect_call(&cluster, "hello");
    assert_int_equal(cluster.servers[0].n, 1); /* it was dialled, too */
    assert_int_equal(calls_of(&cluster.servers[0]), 0);
    /* Once it answers, it takes its part. */
    cluster.servers[0].mute = false;
    some_turns_of(cluster.client, cluster.servers, 2);
    for (int i = 0; i < 4; i++) {
        expect_call(&cluster, "again");
    }
    assert_int_equal(calls_of(&cluster.servers[0]), 2);
    assert_int_equal(calls_of(&cluster.servers[1]), 3);
    cluster_stop(&cluster);
}

static void calls_take_the_endpoints_in_turn(void **state)
{
    (void)state;
    cluster_t cluster;
    cluster_start(&cluster, 3, 100);
    expect_call(&cluster, "first");
    some_turns_of(cluster.client, cluster.servers, 3); /* all are connected now */
    for (int i = 0; i < 6; i++) {
        size_t before[3];
        for (size_t k = 0; k < 3; k++) {
            before[k] = calls_of(&cluster.servers[k]);
        }
        expect_call(&cluster, "x");
        for (size_t k = 0; k < 3; k++) {
            assert_true(calls_of(&cluster.servers[k]) <= before[k] + 1);
        }
    }
    for (size_t k = 0; k < 3; k++) {
        assert_in_range(calls_of(&cluster.servers[k]), 2, 3);
        assert_int_equal(cluster.servers[k].n, 1);
    }
    cluster_stop(&cluster);
}

static void calls_on_other_connections_go_on(void **state)
{
    (void)state;
    cluster_t cluster;
    probe_t lost;
    probe_t kept;
    cluster_start(&cluster, 2, 100);
    expect_call(&cluster, "connect");
    some_turns_of(cluster.client, cluster.servers, 2);
    bool first = calls_of(&cluster.servers[0]) == 1; /* then the next one goes to the second */
    cluster.servers[0].leaves_open = true;
    cluster.servers[1].leaves_open = true;
    start(cluster.client, first ? &kept : &lost, "x", 5000);
    start(cluster.client, first ? &lost : &kept, "y", 5000);
    some_turns_of(cluster.client, cluster.servers, 2);
    server_stop(&cluster.servers[0]); /* and it does not come back */
    cluster.servers[1].leaves_open = false;
    run(cluster.client, cluster.servers, 2, &kept);
    assert_int_equal(lost.code, GRPC_UNAVAILABLE);
    expect_echo(&kept, first ? "x" : "y");
    for (int i = 0; i < 3; i++) {
        expect_call(&cluster, "later");
    }
    cluster_stop(&cluster);
}

static void others_are_dialled_when_one_is_unavailable(void **state)
{
    (void)state;
    cluster_t cluster;
    probe_t probe = {.code = GRPC_UNAVAILABLE};
    cluster_start(&cluster, 2, 100);
    server_stop(&cluster.servers[1]);
    expect_call(&cluster, "connect");
    cluster.servers[0].unavailable = true;
    server_listen(&cluster.servers[1]); /* nobody knows yet */
    for (int i = 0; i < H2_SERVER_STREAMS_MAX - 1 && probe.code == GRPC_UNAVAILABLE; i++) {
        start(cluster.client, &probe, "x", 5000);
        run(cluster.client, cluster.servers, 2, &probe);
        poll(NULL, 0, 2); /* the client pauses before it dials again */
    }
    expect_echo(&probe, "x");
    assert_int_equal(calls_of(&cluster.servers[1]), 1);
    cluster_stop(&cluster);
}

static void a_leaving_server_gets_no_calls_if_others_can(void **state)
{
    (void)state;
    cluster_t cluster;
    probe_t open;
    cluster_start(&cluster, 2, 100);
    expect_call(&cluster, "connect");
    some_turns_of(cluster.client, cluster.servers, 2);
    server_t *next = &cluster.servers[calls_of(&cluster.servers[0]) == 1 ? 1 : 0];
    next->leaves_open = true;
    start(cluster.client, &open, "open", 5000);
    some_turns_of(cluster.client, cluster.servers, 2);
    h2_server_goaway(next->connections[0].h2);
    some_turns_of(cluster.client, cluster.servers, 2);
    for (int i = 0; i < 3; i++) {
        expect_call(&cluster, "elsewhere");
    }
    assert_int_equal(calls_of(next), 1);
    next->leaves_open = false;
    run(cluster.client, cluster.servers, 2, &open);
    expect_echo(&open, "open");
    cluster_stop(&cluster);
}

/* gRPC servers reset a stream at its deadline; that may be seen before the client looks at its clock. */
static void a_reset_at_the_deadline_is_the_deadline(void **state)
{
    (void)state;
    cluster_t cluster;
    probe_t probe;
    struct timespec begin;
    struct timespec now;
    cluster_start(&cluster, 1, 100);
    expect_call(&cluster, "connect");
    cluster.servers[0].leaves_open = true;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    start(cluster.client, &probe, "x", 200);
    some_turns(cluster.client, &cluster.servers[0]);
    assert_int_equal(calls_of(&cluster.servers[0]), 2);
    h2_server_t *h2 = cluster.servers[0].connections[0].h2;
    h2_server_reset(h2, &h2->streams[1], NGHTTP2_CANCEL);
    server_turn(&cluster.servers[0]);
    do {
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000 < 201);
    run(cluster.client, cluster.servers, 1, &probe);
    assert_int_equal(probe.code, GRPC_DEADLINE_EXCEEDED);
    assert_string_equal(probe.message, "context deadline exceeded");
    cluster_stop(&cluster);
}

static void the_next_endpoint_is_tried(void **state)
{
    (void)state;
    server_t servers[3];
    probe_t probe;
    server_start(&servers[0], "mute");
    server_start(&servers[1], "http1");
    server_start(&servers[2], "good");
    servers[0].mute = true;
    servers[1].speaks_http1 = true;
    char *good = xasprintf("unix://%s", servers[2].path);
    char *http1 = xasprintf("unix://%s", servers[1].path);
    char *mute = xasprintf("unix://%s", servers[0].path);
    const char *endpoints[] = {"unix:///no/such/socket", "127.0.0.1:1", http1, mute, good};
    grpc_client_t *client = new_client(endpoints, 5);
    start(client, &probe, "hello", 5000);
    run(client, servers, 3, &probe);
    expect_echo(&probe, "hello");
    assert_string_equal(servers[2].connections[0].h2->streams[0].leader, "true");
    grpc_client_destroy(&client);
    for (size_t i = 0; i < 3; i++) {
        server_stop(&servers[i]);
    }
    free(good);
    free(http1);
    free(mute);
}

static void without_a_server_deadlines_pass(void **state)
{
    (void)state;
    const char *endpoints[] = {"unix:///no/such/socket"};
    grpc_client_t *client = new_client(endpoints, 1);
    probe_t late;
    probe_t now;
    start(client, &late, "x", 1000); /* so that a slow machine does not see both end at once */
    start(client, &now, "x", 0);
    run(client, NULL, 0, &late);
    assert_true(now.done < late.done);
    assert_int_equal(now.code, GRPC_DEADLINE_EXCEEDED);
    assert_int_equal(late.code, GRPC_DEADLINE_EXCEEDED);
    assert_string_equal(late.message, "context deadline exceeded");
    assert_int_equal(grpc_client_open(client), 0);
    grpc_client_destroy(&client);
}

static void a_lost_connection_ends_its_calls_and_is_replaced(void **state)
{
    (void)state;
    server_t server;
    probe_t lost[3];
    probe_t next;
    server_start(&server, "lost");
    char *endpoint = xasprintf("unix://%s", server.path);
    grpc_client_t *client = new_client((const char *const *)&endpoint, 1);
    server.leaves_open = true;
    for (size_t i = 0; i < 3; i++) {
        start(client, &lost[i], "x", GRPC_NO_TIMEOUT);
    }
    some_turns(client, &server);
    assert_int_equal(server.connections[0].h2->streams_n, 3);
    drop_connections(&server);
    server.leaves_open = false;
    run(client, &server, 1, &lost[2]);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(lost[i].code, GRPC_UNAVAILABLE);
        assert_memory_equal(lost[i].message, "error reading from server: ", 27);
    }
    start(client, &next, "again", 5000);
    run(client, &server, 1, &next);
    expect_echo(&next, "again");
    grpc_client_destroy(&client);
    server_stop(&server);
    free(endpoint);
}

static void calls_are_sent_in_order_and_at_once(void **state)
{
    (void)state;
    enum { CALLS = 50 };
    server_t server;
    probe_t probes[CALLS];
    char text[32];
    server_start(&server, "many");
    char *endpoint = xasprintf("unix://%s", server.path);
    grpc_client_t *client = new_client((const char *const *)&endpoint, 1);
    endings = 0;
    for (int i = 0; i < CALLS; i++) {
        snprintf(text, sizeof text, "call %d", i);
        start(client, &probes[i], text, 5000);
    }
    run(client, &server, 1, &probes[CALLS - 1]);
    for (int i = 0; i < CALLS; i++) {
        snprintf(text, sizeof text, "call %d", i);
        expect_echo(&probes[i], text);
        assert_int_equal(probes[i].done, i + 1);
    }
    assert_int_equal(server.n, 1);
    grpc_client_destroy(&client);
    server_stop(&server);
    free(endpoint);
}

static void requests_have_a_limit(void **state)
{
    (void)state;
    server_t server;
    probe_t large;
    probe_t small;
    server_start(&server, "limit");
    char *endpoint = xasprintf("unix://%s", server.path);
    grpc_client_t *client = new_client((const char *const *)&endpoint, 1);
    start(client, &large, "12345678901234567890123456789012345678901", 5000);
    start(client, &small, "1234567890123456789012345678901234567890", 5000);
    run(client, &server, 1, &small);
    expect_echo(&small, "1234567890123456789012345678901234567890");
    assert_int_equal(large.code, GRPC_RESOURCE_EXHAUSTED);
    assert_string_equal(large.message, "trying to send message larger than max (41 vs. 40)");
    assert_int_equal(server.connections[0].h2->streams_n, 1);
    grpc_client_destroy(&client);
    server_stop(&server);
    free(endpoint);
}

static void calls_can_be_cancelled_from_callbacks(void **state)
{
    (void)state;
    server_t server;
    probe_t self;
    probe_t other;
    probe_t last;
    server_start(&server, "cancel");
    char *endpoint = xasprintf("unix://%s", server.path);
    grpc_client_t *client = new_client((const char *const *)&endpoint, 1);
    grpc_stream_t *stream = start(client, &self, "self", 5000);
    self.cancel = stream;
    some_turns(client, &server);
    assert_int_equal(self.messages, 1);
    assert_int_equal(self.done, 0); /* no callback after a cancel */
    server.leaves_open = true;
    grpc_stream_t *waiting = start(client, &other, "other", 5000);
    some_turns(client, &server);
    server.leaves_open = false;
    start(client, &last, "last", 5000);
    last.cancel = waiting;
    server.connections[0].answered++; /* `other` is never answered */
    run(client, &server, 1, &last);
    expect_echo(&last, "last");
    assert_int_equal(other.done, 0);
    assert_int_equal(grpc_client_open(client), 0);
    /* One that waits for a connection. */
    drop_connections(&server);
    grpc_stream_cancel(start(client, &other, "x", 5000));
    assert_int_equal(grpc_client_open(client), 0);
    grpc_client_destroy(&client);
    server_stop(&server);
    free(endpoint);
}

static void a_leaving_server_is_left(void **state)
{
    (void)state;
    server_t server;
    probe_t before;
    probe_t after;
    server_start(&server, "goaway");
    char *endpoint = xasprintf("unix://%s", server.path);
    grpc_client_t *client = new_client((const char *const *)&endpoint, 1);
    server.leaves_open = true;
    start(client, &before, "before", 5000);
    some_turns(client, &server);
    h2_server_goaway(server.connections[0].h2);
    some_turns(client, &server);
    start(client, &after, "after", 5000);
    some_turns(client, &server);
    assert_int_equal(server.n, 1); /* the old call still has the connection */
    server.leaves_open = false;
    run(client, &server, 1, &after);
    expect_echo(&before, "before");
    expect_echo(&after, "after");
    assert_int_equal(server.n, 2);
    grpc_client_destroy(&client);
    server_stop(&server);
    free(endpoint);
}

static void a_client_may_go_at_any_time(void **state)
{
    (void)state;
    server_t server;
    probe_t probes[2];
    server_start(&server, "destroy");
    char *endpoint = xasprintf("unix://%s", server.path);
    for (int turns = 0; turns < 8; turns++) {
        grpc_client_t *client = new_client((const char *const *)&endpoint, 1);
        server.leaves_open = turns % 2 == 0;
        start(client, &probes[0], "x", GRPC_NO_TIMEOUT);
        start(client, &probes[1], "x", 5000);
        for (int i = 0; i < turns; i++) {
            grpc_client_run(client, 0);
            server_turn(&server);
        }
        grpc_client_destroy(&client);
        drop_connections(&server);
    }
    grpc_client_t *nothing = NULL;
    grpc_client_destroy(&nothing);
    server_stop(&server);
    free(endpoint);
}

static void bad_endpoints_give_a_reason(void **state)
{
    (void)state;
    static const struct {
        const char *endpoint;
        const char *error;
    } cases[] = {{"https://a:1", "TLS is not supported yet (endpoint https://a:1)"},
                 {"nonsense", "invalid endpoint \"nonsense\""}};
    for (size_t i = 0; i < 2; i++) {
        const char *endpoints[] = {"127.0.0.1:1", cases[i].endpoint};
        grpc_client_cfg_t cfg = {.endpoints = endpoints, .endpoints_n = 2};
        char *error = NULL;
        assert_null(grpc_client_new(&cfg, &error));
        assert_string_equal(error, cases[i].error);
        free(error);
    }
    const char *many[GRPC_CLIENT_ENDPOINTS_MAX + 1];
    for (size_t i = 0; i < GRPC_CLIENT_ENDPOINTS_MAX + 1; i++) {
        many[i] = "127.0.0.1:1";
    }
    grpc_client_cfg_t cfg = {.endpoints = many, .endpoints_n = GRPC_CLIENT_ENDPOINTS_MAX + 1};
    char *error = NULL;
    assert_null(grpc_client_new(&cfg, &error));
    assert_string_equal(error, "more than 64 endpoints");
    free(error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_endpoint_is_tried),
        cmocka_unit_test(an_endpoint_that_hangs_delays_nothing),
        cmocka_unit_test(calls_take_the_endpoints_in_turn),
        cmocka_unit_test(calls_on_other_connections_go_on),
        cmocka_unit_test(others_are_dialled_when_one_is_unavailable),
        cmocka_unit_test(a_leaving_server_gets_no_calls_if_others_can),
        cmocka_unit_test(a_reset_at_the_deadline_is_the_deadline),
        cmocka_unit_test(without_a_server_deadlines_pass),
        cmocka_unit_test(a_lost_connection_ends_its_calls_and_is_replaced),
        cmocka_unit_test(calls_are_sent_in_order_and_at_once),
        cmocka_unit_test(requests_have_a_limit),
        cmocka_unit_test(calls_can_be_cancelled_from_callbacks),
        cmocka_unit_test(a_leaving_server_is_left),
        cmocka_unit_test(a_client_may_go_at_any_time),
        cmocka_unit_test(bad_endpoints_give_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
