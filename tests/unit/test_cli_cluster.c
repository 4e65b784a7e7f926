/* cli against several endpoints: scripted servers answer on unix sockets, in a thread of their own,
 * and whole command lines are run against them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/cli.h"
#include "messages/xalloc.h"
#include "tests/support/h2_server.h"

enum { SERVERS_MAX = 3, CONNECTIONS_MAX = 16, RULES_MAX = 4, BYTES_MAX = 256 };

static const char unavailable[] = "14";
static const char failed_precondition[] = "9";

/* How a server answers calls of one method. */
typedef struct {
    const char *path;   /* its end: "/MemberList" */
    const char *status; /* of the trailers; NULL: OK, with the answer */
    const char *message;
    uint32_t reset; /* not 0: a reset instead */
    uint8_t answer[BYTES_MAX];
    size_t answer_size;
} rule_t;

typedef struct {
    int fd;
    h2_server_t *h2;
    size_t answered;
} connection_t;

typedef struct {
    char path[64];
    int listener;
    rule_t rules[RULES_MAX];
    size_t rules_n;
    connection_t connections[CONNECTIONS_MAX];
    size_t n;
    atomic_size_t calls;
} server_t;

static server_t servers[SERVERS_MAX];
static size_t servers_n;
static pthread_t thread;
static atomic_bool stopping;
static int wake[2];

/* ---- the servers ---- */

static server_t *add_server(void)
{
    server_t *self = &servers[servers_n];
    *self = (server_t){.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    snprintf(self->path, sizeof self->path, "/tmp/quoral-cli-%d-%zu", (int)getpid(), servers_n);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", self->path);
    unlink(self->path);
    assert_int_equal(bind(self->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(self->listener, 8), 0);
    servers_n++;
    return self;
}

static rule_t *add_rule(server_t *self, const char *path)
{
    assert_true(self->rules_n < RULES_MAX);
    rule_t *rule = &self->rules[self->rules_n++];
    *rule = (rule_t){.path = path};
    return rule;
}

static void answers(server_t *self, const char *path, const ProtobufCMessage *message)
{
    rule_t *rule = add_rule(self, path);
    rule->answer_size = protobuf_c_message_get_packed_size(message);
    assert_true(rule->answer_size <= BYTES_MAX);
    protobuf_c_message_pack(message, rule->answer);
}

static void refuses(server_t *self, const char *path, const char *status, const char *message)
{
    rule_t *rule = add_rule(self, path);
    rule->status = status;
    rule->message = message;
}

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text);
    return size >= strlen(end) && strcmp(text + size - strlen(end), end) == 0;
}

/* Runs in the thread, so it says nothing to cmocka: what has no rule is not answered. */
static void answer(server_t *self, h2_server_t *h2, h2_server_stream_t *stream)
{
    atomic_fetch_add(&self->calls, 1);
    for (size_t i = 0; i < self->rules_n; i++) {
        const rule_t *rule = &self->rules[i];
        if (!ends_with(stream->path, rule->path)) {
            continue;
        }
        if (rule->reset != 0) {
            h2_server_reset(h2, stream, rule->reset);
            return;
        }
        h2_server_headers(h2, stream);
        if (rule->status == NULL) {
            grpc_frame_append(&stream->out, rule->answer, rule->answer_size);
        }
        h2_server_trailers(h2, stream, rule->status != NULL ? rule->status : "0",
                           rule->status != NULL ? rule->message : "");
        return;
    }
}

static void serve(server_t *self, connection_t *connection)
{
    uint8_t data[4096];
    ssize_t n = 0;
    while ((n = read(connection->fd, data, sizeof data)) > 0) {
        h2_server_feed(connection->h2, data, (size_t)n);
    }
    if (n == 0) {
        close(connection->fd);
        connection->fd = -1;
        return;
    }
    while (connection->answered < connection->h2->streams_n &&
           connection->h2->streams[connection->answered].in_ended) {
        answer(self, connection->h2, &connection->h2->streams[connection->answered++]);
    }
    grpc_buffer_t out = {0};
    h2_server_output(connection->h2, &out);
    if (grpc_buffer_size(&out) > 0) {
        (void)!send(connection->fd, grpc_buffer_head(&out), grpc_buffer_size(&out), MSG_NOSIGNAL);
    }
    grpc_buffer_deinit(&out);
}

static void serve_all(void)
{
    struct pollfd fds[1 + SERVERS_MAX * (1 + CONNECTIONS_MAX)] = {
        {.fd = wake[0], .events = POLLIN}};
    nfds_t n = 1;
    for (size_t i = 0; i < servers_n; i++) {
        fds[n++] = (struct pollfd){.fd = servers[i].listener, .events = POLLIN};
        for (size_t k = 0; k < servers[i].n; k++) {
            fds[n++] = (struct pollfd){.fd = servers[i].connections[k].fd, .events = POLLIN};
        }
    }
    (void)poll(fds, n, -1);
    for (size_t i = 0; i < servers_n; i++) {
        int fd = accept4(servers[i].listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0 && servers[i].n < CONNECTIONS_MAX) {
            servers[i].connections[servers[i].n++] =
                (connection_t){.fd = fd, .h2 = h2_server_new()};
        }
        for (size_t k = 0; k < servers[i].n; k++) {
            if (servers[i].connections[k].fd >= 0) {
                serve(&servers[i], &servers[i].connections[k]);
            }
        }
    }
}

static void *server_thread(void *arg)
{
    while (!atomic_load(&stopping)) {
        serve_all();
    }
    return arg;
}

static void start_servers(void)
{
    atomic_store(&stopping, false);
    assert_int_equal(pipe(wake), 0);
    assert_int_equal(pthread_create(&thread, NULL, server_thread, NULL), 0);
}

static void stop_servers(void)
{
    atomic_store(&stopping, true);
    assert_int_equal(write(wake[1], "x", 1), 1);
    pthread_join(thread, NULL);
    close(wake[0]);
    close(wake[1]);
    for (size_t i = 0; i < servers_n; i++) {
        for (size_t k = 0; k < servers[i].n; k++) {
            if (servers[i].connections[k].fd >= 0) {
                close(servers[i].connections[k].fd);
            }
            h2_server_destroy(&servers[i].connections[k].h2);
        }
        close(servers[i].listener);
        unlink(servers[i].path);
    }
    servers_n = 0;
}

/* ---- the client ---- */

typedef struct {
    int code;
    char *out;
    char *err;
} result_t;

/* Runs `quoralctl --endpoints=all of them line`. */
static result_t run(const char *line)
{
    result_t result = {0};
    size_t size = 0;
    char *env[] = {NULL};
    strings_t words = {0};
    char *copy = strdup(line);
    char *endpoints = xstrdup("--endpoints=");
    for (size_t i = 0; i < servers_n; i++) {
        char *longer = xasprintf("%s%sunix://%s", endpoints, i > 0 ? "," : "", servers[i].path);
        free(endpoints);
        endpoints = longer;
    }
    strings_add(&words, "quoralctl");
    strings_add(&words, endpoints);
    for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " ")) {
        strings_add(&words, word);
    }
    FILE *out = open_memstream(&result.out, &size);
    FILE *err = open_memstream(&result.err, &size);
    result.code = cli_run(words.items, words.n, env, NULL, out, err);
    fclose(out);
    fclose(err);
    strings_deinit(&words);
    free(endpoints);
    free(copy);
    return result;
}

static void expect(const char *line, int code, const char *out, const char *err)
{
    result_t result = run(line);
    assert_string_equal(result.err, err);
    assert_string_equal(result.out, out);
    assert_int_equal(result.code, code);
    free(result.out);
    free(result.err);
}

static size_t calls(size_t server)
{
    return atomic_load(&servers[server].calls);
}

/* Members have the ids 1, 2, … as the servers' places. */
static void knows_leader(server_t *self, uint64_t leader)
{
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    Etcdserverpb__StatusResponse status;
    etcdserverpb__status_response__init(&status);
    header.member_id = (uint64_t)(self - servers) + 1;
    status.header = &header;
    status.leader = leader;
    answers(self, "/Status", &status.base);
}

/* ---- tests ---- */

static void reads_go_to_the_next_endpoint_when_one_cannot(void **state)
{
    (void)state;
    Etcdserverpb__RangeResponse range = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    for (size_t i = 0; i < 2; i++) {
        refuses(add_server(), "/Range", unavailable, "etcdserver: leader changed");
    }
    answers(add_server(), "/Range", &range.base);
    start_servers();
    for (int i = 0; i < 5; i++) {
        expect("get k", 0, "", "");
    }
    assert_int_equal(calls(2), 5);
    stop_servers();
}

static void writes_are_not_repeated(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        server_t *server = add_server();
        refuses(server, "/Put", unavailable, "etcdserver: request timed out");
        refuses(server, "/MemberRemove", unavailable, "etcdserver: unhealthy cluster");
    }
    start_servers();
    expect("put k v", 1, "", "Error: etcdserver: request timed out\n");
    assert_int_equal(calls(0) + calls(1), 1);
    expect("member remove 1", 1, "", "Error: etcdserver: unhealthy cluster\n");
    assert_int_equal(calls(0) + calls(1), 2);
    stop_servers();
}

static void what_a_server_has_not_begun_is_repeated(void **state)
{
    (void)state;
    Etcdserverpb__PutResponse put = ETCDSERVERPB__PUT_RESPONSE__INIT;
    add_rule(add_server(), "/Put")->reset = NGHTTP2_REFUSED_STREAM;
    answers(add_server(), "/Put", &put.base);
    start_servers();
    for (int i = 0; i < 4; i++) {
        expect("put k v", 0, "OK\n", "");
    }
    assert_int_equal(calls(1), 4);
    stop_servers();
}

static void voters_answer_for_learners(void **state)
{
    (void)state;
    static const char text[] = "etcdserver: rpc not supported for learner";
    Etcdserverpb__PutResponse put = ETCDSERVERPB__PUT_RESPONSE__INIT;
    server_t *learner = add_server();
    refuses(learner, "/Put", failed_precondition, text);
    start_servers();
    expect("put k v", 1, "", "Error: etcdserver: rpc not supported for learner\n");
    assert_int_equal(calls(0), 1);
    stop_servers();
    refuses(add_server(), "/Put", failed_precondition, text);
    answers(add_server(), "/Put", &put.base);
    start_servers();
    for (int i = 0; i < 4; i++) {
        expect("put k v", 0, "OK\n", "");
    }
    assert_int_equal(calls(1), 4);
    stop_servers();
}

static void the_leader_is_looked_for(void **state)
{
    (void)state;
    Etcdserverpb__MoveLeaderResponse moved = ETCDSERVERPB__MOVE_LEADER_RESPONSE__INIT;
    knows_leader(add_server(), 2);
    server_t *leader = add_server();
    knows_leader(leader, 2);
    answers(leader, "/MoveLeader", &moved.base);
    knows_leader(add_server(), 2);
    start_servers();
    expect("move-leader 3", 0, "Leadership transferred from 2 to 3\n", "");
    assert_int_equal(calls(0), 1);
    assert_int_equal(calls(1), 2);
    assert_int_equal(calls(2), 0); /* not asked once the leader is found */
    expect("move-leader 3 -w json", 0, "{}\n", "");
    expect("move-leader 3 -w table", 4, "", "Error: table not supported as output format\n");
    stop_servers();
}

static void without_the_leader_there_is_nobody_to_ask(void **state)
{
    (void)state;
    knows_leader(add_server(), 7);
    knows_leader(add_server(), 7);
    start_servers();
    char *error = xasprintf("Error: no leader endpoint given at [unix://%s unix://%s]\n",
                            servers[0].path, servers[1].path);
    expect("move-leader 3", 128, "", error);
    free(error);
    stop_servers();
}

static void every_endpoint_gives_its_hash(void **state)
{
    (void)state;
    Etcdserverpb__HashKVResponse hash = ETCDSERVERPB__HASH_KVRESPONSE__INIT;
    hash.hash = 17;
    hash.hash_revision = 5;
    answers(add_server(), "/HashKV", &hash.base);
    refuses(add_server(), "/HashKV", "11",
            "etcdserver: mvcc: required revision has been compacted");
    hash.hash = 18;
    answers(add_server(), "/HashKV", &hash.base);
    start_servers();
    char *out = xasprintf("unix://%s, 17, 5\nunix://%s, 18, 5\n", servers[0].path, servers[2].path);
    char *err =
        xasprintf("Failed to get the hash of endpoint unix://%s (etcdserver: mvcc: required "
                  "revision has been compacted)\n"
                  "Error: etcdserver: mvcc: required revision has been compacted\n",
                  servers[1].path);
    expect("endpoint hashkv --rev=5", 1, out, err);
    free(out);
    free(err);
    stop_servers();
}

static void a_member_is_added_with_its_environment(void **state)
{
    (void)state;
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    Etcdserverpb__MemberAddResponse added = ETCDSERVERPB__MEMBER_ADD_RESPONSE__INIT;
    Etcdserverpb__Member one = ETCDSERVERPB__MEMBER__INIT;
    Etcdserverpb__Member two = ETCDSERVERPB__MEMBER__INIT;
    char name[] = "o\"ne";
    char urls[][11] = {"http://a:1", "http://b:2", "http://c:3"};
    char *one_urls[] = {urls[0], urls[1]};
    char *two_urls[] = {urls[2]};
    header.cluster_id = 0xc;
    one.id = 1;
    one.name = name;
    one.peerurls = one_urls;
    one.n_peerurls = 2;
    two.id = 2;
    two.peerurls = two_urls;
    two.n_peerurls = 1;
    Etcdserverpb__Member *members[] = {&two, &one};
    added.header = &header;
    added.member = &two;
    added.members = members;
    added.n_members = 2;
    answers(add_server(), "/MemberAdd", &added.base);
    start_servers();
    expect("member add t\"wo --peer-urls=http://c:3", 0,
           "Member                2 added to cluster                c\n\n"
           "ETCD_NAME=\"t\\\"wo\"\n"
           "ETCD_INITIAL_CLUSTER=\"t\\\"wo=http://c:3,o\\\"ne=http://a:1,o\\\"ne=http://b:2\"\n"
           "ETCD_INITIAL_ADVERTISE_PEER_URLS=\"http://c:3\"\n"
           "ETCD_INITIAL_CLUSTER_STATE=\"existing\"\n",
           "");
    expect("member add two --peer-urls=http://c:3 -w fields", 4, "",
           "Error: fields not supported as output format\n");
    assert_int_equal(calls(0), 2);
    stop_servers();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_go_to_the_next_endpoint_when_one_cannot),
        cmocka_unit_test(writes_are_not_repeated),
        cmocka_unit_test(what_a_server_has_not_begun_is_repeated),
        cmocka_unit_test(voters_answer_for_learners),
        cmocka_unit_test(the_leader_is_looked_for),
        cmocka_unit_test(without_the_leader_there_is_nobody_to_ask),
        cmocka_unit_test(every_endpoint_gives_its_hash),
        cmocka_unit_test(a_member_is_added_with_its_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
