/* gateway_shell: real sockets into a running gateway actor, whose core is a recorder: protocols are
 * told apart, calls are answered over TCP and unix sockets, limits hold, stopping says goodbye. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "actors/grpc_gateway/gateway.h"
#include "messages/xalloc.h"
#include "tests/support/fake_api.h"
#include "tests/support/h2_peer.h"

enum { CONNECTIONS_MAX = 3 };

static void core_step(void *self, const step_in_t *in, outbox_t *out)
{
    (void)self;
    if (in->msg && in->msg->kind == MSG_STOP) {
        outbox_stopped(out);
    }
}

static uint64_t core_deadline(const void *self)
{
    (void)self;
    return DEADLINE_NONE;
}

static void core_destroy(void **self_p)
{
    *self_p = NULL;
}

static const core_ops_t core_ops = {
    .step = core_step, .deadline = core_deadline, .destroy = core_destroy};

static void no_log(void *context, log_level_t level, actor_id_t actor, const char *text,
                   const char *fields)
{
    (void)context;
    (void)level;
    (void)actor;
    (void)text;
    (void)fields;
}

/* A connection of the peer that is a socket: what goes in is sent, what comes out was received. */
typedef struct {
    conn_t conn;
    int fd;
    uint8_t buffer[65536];
    size_t filled;
    bool closed;
    int patience_ms; /* how long silence means "no more" */
} socket_conn_t;

static int socket_input(conn_t *self, slice_t bytes, uint64_t now_us)
{
    (void)now_us;
    socket_conn_t *conn = (socket_conn_t *)self;
    return send(conn->fd, bytes.data, bytes.len, MSG_NOSIGNAL) == (ssize_t)bytes.len ? 0 : 1;
}

static slice_t socket_output(conn_t *self, uint64_t now_us)
{
    (void)now_us;
    socket_conn_t *conn = (socket_conn_t *)self;
    struct pollfd item = {.fd = conn->fd, .events = POLLIN};
    conn->filled = 0;
    if (!conn->closed && poll(&item, 1, conn->patience_ms) == 1) {
        ssize_t len = recv(conn->fd, conn->buffer, sizeof conn->buffer, 0);
        conn->closed = len <= 0;
        conn->filled = len > 0 ? (size_t)len : 0;
    }
    return slice(conn->buffer, conn->filled);
}

static void socket_written(conn_t *self, size_t len)
{
    (void)self;
    (void)len;
}

static const conn_ops_t socket_ops = {
    .input = socket_input, .output = socket_output, .written = socket_written};

typedef struct {
    api_t api;
    metrics_t metrics;
    calls_t *calls;
    gateway_t *gateway;
    runtime_t *runtime;
    bool stop_asked;
    uint16_t port;
    _Atomic unsigned served; /* how often it was said that clients are */
    char path[64];
    socket_conn_t client;
    h2_peer_t *peer;
} fixture_t;

static void count_served(void *context)
{
    fixture_t *f = context;
    f->served++;
}

static int listen_or_die(const gateway_address_t *address)
{
    char *error = NULL;
    int fd = gateway_listen(address, &error);
    if (fd < 0) {
        fail_msg("%s", error);
    }
    return fd;
}

static int set_up(void **state)
{
    zsys_handler_set(NULL);
    fixture_t *f = xcalloc(1, sizeof *f);
    f->calls = calls_new();
    f->api.sink = calls_sink(f->calls);
    gateway_cfg_t cfg = {.env = {.api = &f->api,
                                 .calls = f->calls,
                                 .metrics = &f->metrics,
                                 .max_message_bytes = 100000,
                                 .max_concurrent_streams = 100,
                                 .keepalive_min_us = 5000000},
                         .connections_max = CONNECTIONS_MAX,
                         .on_serving = count_served,
                         .serving_context = f};
    f->api.status.serving = true;
    f->gateway = gateway_new(&cfg);
    int fd = listen_or_die(&(gateway_address_t){.host = "127.0.0.1", .port = "0"});
    struct sockaddr_in name;
    socklen_t len = sizeof name;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &len), 0);
    f->port = ntohs(name.sin_port);
    gateway_add_listener(f->gateway, fd);
    snprintf(f->path, sizeof f->path, "/tmp/quoral-test-%d.sock", (int)getpid());
    gateway_add_listener(f->gateway,
                         listen_or_die(&(gateway_address_t){.host = f->path, .is_unix = true}));
    runtime_cfg_t runtime = {.id = ACTOR_GRPC_GATEWAY,
                             .ops = &core_ops,
                             .core = &f->api,
                             .metrics = &f->metrics,
                             .log = no_log,
                             .loop = gateway_loop,
                             .loop_context = f->gateway};
    f->runtime = runtime_new(&runtime);
    runtime_connect(f->runtime);
    runtime_start(f->runtime);
    *state = f;
    return 0;
}

static void stop(fixture_t *f)
{
    if (!f->stop_asked) {
        runtime_stop(f->runtime);
    }
    runtime_join(f->runtime);
    runtime_destroy(&f->runtime);
}

static int tear_down(void **state)
{
    fixture_t *f = *state;
    if (f->runtime) {
        stop(f);
    }
    gateway_destroy(&f->gateway);
    fake_clear(&f->api);
    calls_destroy(&f->calls);
    if (f->peer) {
        close(f->client.fd);
        h2_peer_destroy(&f->peer);
    }
    unlink(f->path);
    free(f);
    return 0;
}

static int end_sockets(void **state)
{
    (void)state;
    zsys_shutdown();
    return 0;
}

static int connect_tcp(const fixture_t *f)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in name = {.sin_family = AF_INET,
                               .sin_port = htons(f->port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof name), 0);
    return fd;
}

static int connect_unix(const fixture_t *f)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof name.sun_path, "%s", f->path);
    assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof name), 0);
    return fd;
}

static void use(fixture_t *f, int fd)
{
    f->client = (socket_conn_t){.conn.ops = &socket_ops, .fd = fd, .patience_ms = 300};
    f->peer = h2_peer_new(&f->client.conn, 1u << 20);
}

static void assert_echo(fixture_t *f)
{
    peer_stream_t *stream = h2_peer_call(f->peer, "/etcdserverpb.KV/Put", false);
    h2_peer_message(f->peer, stream, "hello", 5, true);
    h2_peer_pump(f->peer);
    assert_int_equal(stream->grpc_status, GRPC_OK);
    assert_memory_equal(stream->body.data, "\0\0\0\0\5hello", 10);
}

/* Until the other side closes; at most a few seconds. */
static bool is_closed(int fd)
{
    uint8_t buffer[4096];
    struct pollfd item = {.fd = fd, .events = POLLIN};
    while (poll(&item, 1, 5000) == 1) {
        if (recv(fd, buffer, sizeof buffer, 0) <= 0) {
            return true;
        }
    }
    return false;
}

static void calls_are_answered_over_tcp(void **state)
{
    fixture_t *f = *state;
    use(f, connect_tcp(f));
    assert_echo(f);
    assert_echo(f);
    assert_int_equal(metrics_get(&f->metrics, METRIC_CONNECTIONS), 1);
    assert_int_equal(f->served, 1); /* after several turns */
}

static void calls_are_answered_over_a_unix_socket(void **state)
{
    fixture_t *f = *state;
    use(f, connect_unix(f));
    assert_echo(f);
}

static void large_answers_survive_a_full_socket(void **state)
{
    fixture_t *f = *state;
    enum { CALLS = 60, LEN = 100000 };
    use(f, connect_tcp(f));
    uint8_t *data = xcalloc(1, LEN);
    for (int i = 0; i < CALLS; i++) {
        peer_stream_t *stream = h2_peer_call(f->peer, "/etcdserverpb.KV/Put", false);
        data[0] = (uint8_t)i;
        h2_peer_message(f->peer, stream, data, LEN, true);
    }
    h2_peer_pump(f->peer);
    for (int i = 0; i < CALLS; i++) {
        const peer_stream_t *stream = &f->peer->streams[i];
        assert_int_equal(stream->grpc_status, GRPC_OK);
        assert_int_equal(stream->body.len, LEN + 5);
        assert_int_equal(stream->body.data[5], i);
    }
    free(data);
}

static void other_protocols_are_disconnected(void **state)
{
    fixture_t *f = *state;
    int fd = connect_tcp(f);
    assert_int_equal(send(fd, "SSH-2.0-x\r\n", 11, 0), 11);
    assert_true(is_closed(fd)); /* this gateway was given no HTTP/1.1 */
    close(fd);
    use(f, connect_tcp(f));
    assert_echo(f);
}

static void connections_over_the_limit_are_closed(void **state)
{
    fixture_t *f = *state;
    use(f, connect_tcp(f));
    assert_echo(f);
    int fds[CONNECTIONS_MAX];
    for (int i = 0; i < CONNECTIONS_MAX; i++) {
        fds[i] = connect_tcp(f);
    }
    assert_true(is_closed(fds[CONNECTIONS_MAX - 1]));
    assert_int_equal(metrics_get(&f->metrics, METRIC_CONNECTIONS_REFUSED), 1);
    for (int i = 0; i < CONNECTIONS_MAX; i++) {
        close(fds[i]);
    }
    assert_echo(f); /* the others go on */
}

static void a_client_that_goes_away_cancels_its_calls(void **state)
{
    fixture_t *f = *state;
    use(f, connect_tcp(f));
    peer_stream_t *stream = h2_peer_call(f->peer, "/etcdserverpb.Watch/Watch", false);
    h2_peer_message(f->peer, stream, "w", 1, false);
    h2_peer_pump(f->peer);
    shutdown(f->client.fd, SHUT_WR);
    assert_true(is_closed(f->client.fd));
    stop(f);
    assert_int_equal(f->api.count, 1);
    assert_true(f->api.calls[0].cancelled);
}

static void stopping_says_goaway(void **state)
{
    fixture_t *f = *state;
    use(f, connect_tcp(f));
    assert_echo(f);
    runtime_stop(f->runtime);
    f->stop_asked = true;
    f->client.patience_ms = 2000;
    h2_peer_pump(f->peer); /* until the gateway closes: nothing is in progress */
    assert_true(f->peer->goaway);
    assert_int_equal(f->peer->goaway_code, NGHTTP2_NO_ERROR);
    assert_true(f->client.closed);
}

static void addresses_in_use_are_refused_and_stale_files_replaced(void **state)
{
    fixture_t *f = *state;
    char *error = NULL;
    gateway_address_t address = {.host = f->path, .is_unix = true};
    assert_int_equal(gateway_listen(&address, &error), -1);
    assert_non_null(strstr(error, "Address already in use"));
    free(error);
    char port[8];
    snprintf(port, sizeof port, "%u", f->port);
    gateway_address_t tcp = {.host = "127.0.0.1", .port = port};
    assert_int_equal(gateway_listen(&tcp, &error), -1);
    assert_non_null(strstr(error, "Address already in use"));
    free(error);
    gateway_address_t nowhere = {.host = "no address", .port = "1"};
    assert_int_equal(gateway_listen(&nowhere, &error), -1);
    assert_non_null(error);
    free(error);
    stop(f); /* its socket file stays, and nobody listens */
    gateway_destroy(&f->gateway);
    int fd = gateway_listen(&address, &error);
    assert_true(fd >= 0);
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(calls_are_answered_over_tcp),
        TEST(calls_are_answered_over_a_unix_socket),
        TEST(large_answers_survive_a_full_socket),
        TEST(other_protocols_are_disconnected),
        TEST(connections_over_the_limit_are_closed),
        TEST(a_client_that_goes_away_cancels_its_calls),
        TEST(stopping_says_goaway),
        TEST(addresses_in_use_are_refused_and_stale_files_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, end_sockets);
}
