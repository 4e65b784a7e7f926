/* The peer actor on its thread with real sockets; the test is the other member: what is said arrives there, what it
 * says arrives at whom it belongs, also in floods and after the other one has died and come back; what
 * is too large or no frame goes nowhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "actors/grpc_gateway/gateway.h"
#include "actors/peer/endpoint.h"
#include "actors/peer/peer.h"
#include "actors/peer/peer_shell.h"
#include "actors/runtime/clock.h"
#include "actors/runtime/mailbox.h"
#include "membership.pb-c.h"
#include "messages/limits.h"
#include "messages/peer_codec.h"
#include "messages/xalloc.h"
#include "tests/support/names.h"
#include "tests/support/peer_sample.h"
#include "tests/support/tmpdir.h"

enum { CLUSTER = 77, ME = 1, OTHER = 2, WAIT_MS = 10000 };

/* The actor, its neighbours' mailboxes, and the other member's sockets. */
typedef struct {
    metrics_t metrics;
    peer_metrics_t by_member;
    peer_shell_t *shell;
    runtime_t *runtime;
    mailbox_t *election, *replicator, *gateway;
    mailslot_t *slot; /* to the actor, as the replicator */
    char *url;        /* the actor's */
    zsock_t *router, *dealer;
} rig_t;

static void no_log(void *context, log_level_t level, actor_id_t actor, const char *text,
                   const char *fields)
{
    (void)context;
    (void)level;
    (void)actor;
    (void)text;
    (void)fields;
}

static bytes_t *members_at(const char *other_url)
{
    Quoral__ConfigurationMember members[2];
    Quoral__ConfigurationMember *list[2] = {&members[0], &members[1]};
    char *url = xstrdup(other_url);
    for (size_t i = 0; i < 2; i++) {
        quoral__configuration_member__init(&members[i]);
        members[i].id = i + 1;
    }
    members[1].peer_urls = &url;
    members[1].n_peer_urls = 1;
    Quoral__Configuration configuration = QUORAL__CONFIGURATION__INIT;
    configuration.members = list;
    configuration.n_members = 2;
    uint8_t *room = NULL;
    bytes_t *encoded = bytes_alloc(quoral__configuration__get_packed_size(&configuration), &room);
    quoral__configuration__pack(&configuration, room);
    free(url);
    return encoded;
}

/* `address`: NULL = TCP, else a socket file. Returns the URL, yours. */
static char *listen_somewhere(peer_shell_t *shell, const char *path)
{
    gateway_address_t address = {
        .host = path ? path : "127.0.0.1", .port = "0", .is_unix = path != NULL};
    char *error = NULL;
    int fd = gateway_listen(&address, &error);
    assert_true(fd >= 0);
    char *url = NULL;
    if (path) {
        url = xasprintf("unix://%s", path);
    } else {
        struct sockaddr_in name;
        socklen_t len = sizeof name;
        assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &len), 0);
        url = xasprintf("http://127.0.0.1:%u", ntohs(name.sin_port));
    }
    error = peer_shell_listen(shell, url, fd);
    assert_null(error);
    return url;
}

/* NULL: there is no such address here. */
static zsock_t *other_router(const char *address, const char *name, char **url_p)
{
    zsock_t *router = zsock_new(ZMQ_ROUTER);
    zsock_set_linger(router, 0);
    zsock_set_rcvtimeo(router, WAIT_MS);
    zsock_set_ipv6(router, address[0] == '[');
    int port = zsock_bind(router, "tcp://%s:*", address);
    if (port <= 0) {
        zsock_destroy(&router);
        return NULL;
    }
    *url_p = xasprintf("http://%s:%d", name, port);
    return router;
}

static zsock_t *other_dealer(const char *url)
{
    char *endpoint = endpoint_of(url);
    zsock_t *dealer = zsock_new(ZMQ_DEALER);
    zsock_set_linger(dealer, 0);
    zsock_set_sndhwm(dealer, 0);
    zsock_set_rcvtimeo(dealer, WAIT_MS);
    assert_int_equal(zsock_connect(dealer, "%s", endpoint), 0);
    free(endpoint);
    return dealer;
}

/* Each test has one of its own: ThreadSanitizer does not see that the actor of the test before has ended. */
static rig_t *start(const char *path)
{
    static rig_t rigs[12];
    static size_t used;
    assert_true(used < sizeof rigs / sizeof *rigs);
    rig_t *rig = &rigs[used++];
    peer_shell_cfg_t shell_cfg = {
        .metrics = &rig->metrics, .by_member = &rig->by_member, .log = no_log};
    rig->shell = peer_shell_new(&shell_cfg);
    rig->url = listen_somewhere(rig->shell, path);
    char *other_url = NULL;
    rig->router = other_router("127.0.0.1", "127.0.0.1", &other_url);
    rig->dealer = other_dealer(rig->url);
    bytes_t *members = members_at(other_url);
    peer_cfg_t cfg = {.cluster_id = CLUSTER,
                      .member_id = ME,
                      .incarnation = 5,
                      .configuration = members,
                      .configuration_is_committed = true,
                      .heartbeat_us = 100000,
                      .election_timeout_us = 1000000};
    runtime_cfg_t runtime_cfg = {.id = ACTOR_PEER,
                                 .ops = &peer_ops,
                                 .core = peer_new(&cfg, &rig->metrics, &rig->by_member),
                                 .network = peer_shell_network,
                                 .port_context = rig->shell,
                                 .log = no_log,
                                 .loop = peer_shell_loop,
                                 .loop_context = rig->shell};
    bytes_unref(&members);
    free(other_url);
    rig->election = mailbox_new("inproc://election-control");
    rig->replicator = mailbox_new("inproc://replicator-control");
    rig->gateway = mailbox_new("inproc://grpc_gateway-data");
    rig->runtime = runtime_new(&runtime_cfg);
    rig->slot = mailslot_new("inproc://peer-data");
    runtime_connect(rig->runtime);
    runtime_start(rig->runtime);
    return rig;
}

static void end(rig_t *rig)
{
    runtime_stop(rig->runtime);
    runtime_join(rig->runtime);
    mailslot_destroy(&rig->slot);
    runtime_destroy(&rig->runtime);
    peer_shell_destroy(&rig->shell);
    mailbox_destroy(&rig->election);
    mailbox_destroy(&rig->replicator);
    mailbox_destroy(&rig->gateway);
    zsock_destroy(&rig->router);
    zsock_destroy(&rig->dealer);
    free(rig->url);
}

/* ---- the other member ---- */

/* NULL: not from the actor. A socket of another test, which looks for a port that is ours now, may have said it. */
static peer_msg_t *read_frame(zframe_t *part)
{
    peer_frame_t frame;
    peer_msg_t *msg = NULL;
    if (peer_frame_open(slice(zframe_data(part), zframe_size(part)), &frame) ||
        frame.header.from != ME) {
        return NULL;
    }
    assert_int_equal(frame.header.to, OTHER);
    assert_int_equal(peer_frame_decode(&frame, &msg), 0);
    return msg;
}

/* What its ROUTER receives next, other than PINGs; *msg_p is yours. */
static void other_receives(rig_t *rig, peer_kind_t kind, peer_msg_t **msg_p)
{
    for (int i = 0; i < 1000; i++) {
        zmsg_t *parts = zmsg_recv(rig->router);
        assert_non_null(parts);
        assert_int_equal(zmsg_size(parts), 2);
        zframe_t *route = zmsg_pop(parts);
        zframe_t *part = zmsg_pop(parts);
        peer_msg_t *msg = read_frame(part);
        zframe_destroy(&route);
        zframe_destroy(&part);
        zmsg_destroy(&parts);
        if (!msg) {
            continue;
        }
        if (msg->kind == kind) {
            *msg_p = msg;
            return;
        }
        assert_true(msg->kind == PEER_PING || msg->kind == PEER_PONG);
        peer_msg_free(&msg);
    }
    fail_msg("it never came");
}

static void other_says(zsock_t *dealer, const peer_msg_t *msg)
{
    const peer_header_t header = {.cluster_id = CLUSTER, .from = OTHER, .to = ME, .incarnation = 9};
    bytes_t *frame = peer_frame_encode(&header, msg);
    slice_t content = bytes_slice(frame);
    assert_int_equal(zmq_send(zsock_resolve(dealer), content.data, content.len, 0), content.len);
    bytes_unref(&frame);
}

/* A message in an actor's mailbox; borrowed until the next call. */
static const msg_t *wait_for(mailbox_t *mailbox)
{
    struct pollfd fd = {.fd = mailbox_fd(mailbox), .events = POLLIN};
    uint64_t end_us = clock_monotonic_us() + WAIT_MS * 1000;
    while (clock_monotonic_us() < end_us) {
        const msg_t *msg = mailbox_receive(mailbox);
        if (msg && msg->kind != MSG_CREDIT) {
            return msg;
        }
        if (!msg) {
            poll(&fd, 1, 100);
        }
    }
    fail_msg("nothing came");
    return NULL;
}

static void give_credit(rig_t *rig, actor_id_t from, const msg_t *taken)
{
    msg_t *credit = msg_new(MSG_CREDIT);
    credit->from = from;
    credit->u.credit = (msg_credit_t){.messages = 1, .bytes = taken->cost};
    mailslot_send(rig->slot, &credit);
}

static void say(rig_t *rig, peer_msg_t *content)
{
    msg_t *msg = msg_new(MSG_PEER);
    msg->from = ACTOR_REPLICATOR;
    msg->u.peer = (msg_peer_t){.member = OTHER, .content = content};
    mailslot_send(rig->slot, &msg);
}

/* ---- tests ---- */

static void messages_go_both_ways(void **state)
{
    (void)state;
    rig_t *rig = start(NULL);
    peer_msg_t *ping = NULL;
    other_receives(rig, PEER_PING, &ping); /* now it is connected */
    peer_msg_free(&ping);
    peer_msg_t *out = peer_msg_new(PEER_HEARTBEAT, 3);
    out->u.heartbeat.commit = 8;
    say(rig, out);
    peer_msg_t *heard = NULL;
    other_receives(rig, PEER_HEARTBEAT, &heard);
    assert_int_equal(heard->u.heartbeat.commit, 8);
    peer_msg_free(&heard);

    peer_msg_t *in = peer_msg_new(PEER_VOTE, 4);
    in->u.vote.granted = true;
    other_says(rig->dealer, in);
    peer_msg_free(&in);
    const msg_t *msg = wait_for(rig->election);
    assert_int_equal(msg->kind, MSG_PEER);
    assert_int_equal(msg->u.peer.member, OTHER);
    assert_true(msg->u.peer.content->u.vote.granted);
    msg = wait_for(rig->gateway);
    assert_int_equal(msg->kind, MSG_PEER_STATUS);
    assert_true(msg->u.peer_status.is_active);
    end(rig);
    assert_true(peer_metrics_of(&rig->by_member, OTHER)->sent_bytes > 0);
    assert_true(peer_metrics_of(&rig->by_member, OTHER)->received_bytes > 0);
}

static void bulk_has_a_connection_of_its_own(void **state)
{
    (void)state;
    rig_t *rig = start(NULL);
    peer_msg_t *msg = NULL;
    other_receives(rig, PEER_PING, &msg);
    peer_msg_free(&msg);
    for (int lane = 0; lane < 100; lane++) { /* until both are connected */
        prng_t prng = {.state = 1};
        say(rig, peer_sample(PEER_SNAP_CHUNK, &prng));
        zsock_set_rcvtimeo(rig->router, 100);
        zmsg_t *parts = zmsg_recv(rig->router);
        bool chunk = parts && zframe_size(zmsg_last(parts)) > 100;
        zmsg_destroy(&parts);
        if (chunk) {
            end(rig);
            return;
        }
    }
    fail_msg("no chunk came");
}

/* More than one burst, so that the descriptor's edge is long gone. */
static void a_flood_arrives_whole(void **state)
{
    (void)state;
    enum { FLOOD = 5000 };
    rig_t *rig = start(NULL);
    for (uint64_t i = 1; i <= FLOOD; i++) {
        peer_msg_t *msg = peer_msg_new(PEER_HB_ACK, i);
        other_says(rig->dealer, msg);
        peer_msg_free(&msg);
        if (i % 100 == 0) { /* stay within the edge's credit: without it the actor drops */
            for (uint64_t k = i - 99; k <= i; k++) {
                const msg_t *got = wait_for(rig->replicator);
                assert_int_equal(got->u.peer.content->term, k);
                give_credit(rig, ACTOR_REPLICATOR, got);
            }
        }
    }
    end(rig);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_PEER_DROPPED), 0);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_PEER_REFUSED), 0);
}

static void a_burst_without_credit_is_bounded(void **state)
{
    (void)state;
    enum { FLOOD = 6000 };
    rig_t *rig = start(NULL);
    for (uint64_t i = 1; i <= FLOOD; i++) {
        peer_msg_t *msg = peer_msg_new(PEER_HB_ACK, i);
        other_says(rig->dealer, msg);
        peer_msg_free(&msg);
    }
    peer_msg_t *last = peer_msg_new(PEER_VOTE, 1);
    other_says(rig->dealer, last);
    peer_msg_free(&last);
    const msg_t *msg = wait_for(rig->election); /* behind all of them */
    assert_int_equal(msg->u.peer.content->kind, PEER_VOTE);
    end(rig);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_PEER_DROPPED), FLOOD - 4096);
}

static void who_asks_is_answered_on_its_own_connection(void **state)
{
    (void)state;
    rig_t *rig = start(NULL);
    zsock_t *stranger = other_dealer(rig->url);
    const peer_header_t header = {.from = 123456};
    peer_msg_t *who = peer_msg_new(PEER_WHO, 0);
    bytes_t *frame = peer_frame_encode(&header, who);
    slice_t content = bytes_slice(frame);
    zmq_send(zsock_resolve(stranger), content.data, content.len, 0);
    zmsg_t *answer = zmsg_recv(stranger);
    assert_non_null(answer);
    peer_frame_t opened;
    zframe_t *part = zmsg_first(answer);
    assert_int_equal(peer_frame_open(slice(zframe_data(part), zframe_size(part)), &opened), 0);
    assert_int_equal(opened.kind, PEER_CLUSTER);
    assert_int_equal(opened.header.cluster_id, CLUSTER);
    zmsg_destroy(&answer);
    bytes_unref(&frame);
    peer_msg_free(&who);
    zsock_destroy(&stranger);
    end(rig);
}

static void what_is_no_frame_goes_nowhere(void **state)
{
    (void)state;
    rig_t *rig = start(NULL);
    zstr_send(rig->dealer, "not a frame");
    zstr_sendx(rig->dealer, "one", "two", "three", NULL);
    zstr_send(rig->dealer, "");
    peer_msg_t *last = peer_msg_new(PEER_VOTE, 1);
    other_says(rig->dealer, last);
    peer_msg_free(&last);
    assert_int_equal(wait_for(rig->election)->kind, MSG_PEER);
    end(rig);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_PEER_REFUSED), 3);
}

/* libzmq closes such a connection before the bytes are there. */
static void what_is_too_large_is_not_even_received(void **state)
{
    (void)state;
    rig_t *rig = start(NULL);
    zsock_t *stranger = other_dealer(rig->url);
    zmq_msg_t huge;
    assert_int_equal(zmq_msg_init_size(&huge, LIMIT_PEER_FRAME_BYTES + 1), 0);
    memset(zmq_msg_data(&huge), 'x', 1000);
    assert_true(zmq_msg_send(&huge, zsock_resolve(stranger), 0) >= 0);
    peer_msg_t *msg = peer_msg_new(PEER_VOTE, 1);
    other_says(rig->dealer, msg);
    peer_msg_free(&msg);
    assert_int_equal(wait_for(rig->election)->kind, MSG_PEER);
    zsock_destroy(&stranger);
    end(rig);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_PEER_REFUSED), 0);
}

static void a_member_that_comes_back_is_found_again(void **state)
{
    (void)state;
    rig_t *rig = start(NULL);
    peer_msg_t *msg = NULL;
    other_receives(rig, PEER_PING, &msg);
    peer_msg_free(&msg);
    char *endpoint = xstrdup(zsock_endpoint(rig->router));
    zsock_unbind(rig->router, "%s", endpoint);
    zsock_destroy(&rig->router);
    rig->router = zsock_new(ZMQ_ROUTER);
    zsock_set_linger(rig->router, 0);
    zsock_set_rcvtimeo(rig->router, WAIT_MS);
    int port = -1;
    for (int tries = 0; port < 0 && tries < 1000;
         tries++) { /* the old one closes in its own time */
        port = zsock_bind(rig->router, "%s", endpoint);
        zclock_sleep(port < 0 ? 10 : 0);
    }
    assert_true(port > 0);
    other_receives(rig, PEER_PING, &msg);
    peer_msg_free(&msg);
    free(endpoint);
    end(rig);
}

static void a_member_that_ends_is_missed_at_once(void **state)
{
    (void)state;
    rig_t *rig = start(NULL);
    peer_msg_t *msg = NULL;
    other_receives(rig, PEER_PING, &msg); /* now it is connected */
    peer_msg_free(&msg);
    msg = peer_msg_new(PEER_VOTE, 1);
    other_says(rig->dealer, msg);
    peer_msg_free(&msg);
    assert_int_equal(wait_for(rig->election)->kind, MSG_PEER);
    zsock_destroy(&rig->router);
    const msg_t *gone = wait_for(rig->election);
    assert_int_equal(gone->kind, MSG_GONE);
    assert_int_equal(gone->u.gone.member, OTHER);
    end(rig);
}

static void a_socket_file_will_do(void **state)
{
    (void)state;
    char *dir = tmpdir_new();
    char *path = xasprintf("%s/peer", dir);
    rig_t *rig = start(path);
    peer_msg_t *msg = peer_msg_new(PEER_VOTE, 1);
    other_says(rig->dealer, msg);
    peer_msg_free(&msg);
    assert_int_equal(wait_for(rig->election)->kind, MSG_PEER);
    end(rig);
    free(path);
    tmpdir_destroy(&dir);
}

static bool names_are_ipv6(const char *listen)
{
    urls_t urls = {0};
    char *error = urls_parse(&urls, listen);
    assert_null(error);
    bool they_are = endpoint_names_are_ipv6(&urls);
    urls_deinit(&urls);
    return they_are;
}

static void names_stand_for_what_this_member_listens_on(void **state)
{
    (void)state;
    assert_false(names_are_ipv6("http://localhost:2380"));
    assert_false(names_are_ipv6("http://0.0.0.0:2380"));
    assert_false(names_are_ipv6("http://[::]:2380,http://10.0.0.1:2380"));
    assert_true(names_are_ipv6("http://[::]:2380"));
    assert_true(names_are_ipv6("http://[::]:2380,unix://peer"));
    assert_true(endpoint_is_ipv6("tcp://host.example:1", true));
    assert_true(endpoint_is_ipv6("tcp://1st.example:1", true));
    assert_true(endpoint_is_ipv6("tcp://[::1]:1", true));
    assert_false(endpoint_is_ipv6("tcp://10.0.0.1:1", true));
    assert_false(endpoint_is_ipv6("ipc:///run/peer", true));
}

static void urls_are_endpoints(void **state)
{
    (void)state;
    static const struct {
        const char *url, *endpoint;
        bool is_ipv6, is_address;
    } cases[] = {
        {"http://10.0.0.1:2380", "tcp://10.0.0.1:2380", false, true},
        {"http://[::1]:2380", "tcp://[::1]:2380", true, true},
        {"http://host.example:1", "tcp://host.example:1", false, false},
        {"http://10.example:1", "tcp://10.example:1", false, false},
        {"unix:///run/peer", "ipc:///run/peer", false, true},
        {"unix:/run/peer", "ipc:///run/peer", false, true},
        {"unix://peer", "ipc://peer", false, true},
        {"https://10.0.0.1:2380", NULL, false, false},
        {"http://host", NULL, false, false},
        {"http://host:", NULL, false, false},
        {"http://:1", NULL, false, false},
        {"unix:", NULL, false, false},
        {"unix://", NULL, false, false},
        {"", NULL, false, false},
        {"inproc://replicator-control", NULL, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *endpoint = endpoint_of(cases[i].url);
        if (cases[i].endpoint) {
            assert_non_null(endpoint);
            assert_string_equal(endpoint, cases[i].endpoint);
            assert_int_equal(endpoint_is_ipv6(endpoint, false), cases[i].is_ipv6);
            assert_int_equal(endpoint_is_address(endpoint), cases[i].is_address);
        } else {
            assert_null(endpoint);
        }
        free(endpoint);
    }
}

/* Says something to member OTHER until it arrives: nothing is kept before there is a connection. */
static bool reaches(peer_shell_t *shell, const char *url, zsock_t *router)
{
    msg_t *link = msg_new(MSG_LINK);
    link->u.link = (msg_link_t){.member = OTHER, .urls = bytes_new(url, strlen(url))};
    peer_shell_network(shell, &link);
    zsock_set_rcvtimeo(router, 20);
    bool arrived = false;
    for (uint64_t end_us = clock_monotonic_us() + WAIT_MS * 1000;
         !arrived && clock_monotonic_us() < end_us;) {
        msg_t *frame = msg_new(MSG_FRAME);
        frame->u.frame = (msg_frame_t){.member = OTHER, .frame = bytes_new("x", 1)};
        peer_shell_network(shell, &frame);
        zmsg_t *parts = zmsg_recv(router);
        arrived = parts != NULL;
        zmsg_destroy(&parts);
    }
    return arrived;
}

static void names_are_looked_up(void **state)
{
    (void)state;
    static const struct {
        const char *address, *name;
        bool names_are_ipv6;
    } cases[] = {
        {"127.0.0.1", "four.test", false},
        {"127.0.0.1", "four.test", true},
        {"[::1]", "six.test", true},
    };
    assert_false(names_asked()); /* this program's names, no name server's */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *url = NULL;
        zsock_t *router = other_router(cases[i].address, cases[i].name, &url);
        if (!router) {
            print_message("there is no IPv6 here\n");
            continue;
        }
        static metrics_t metrics;
        static peer_metrics_t by_member;
        peer_shell_t *shell =
            peer_shell_new(&(peer_shell_cfg_t){.metrics = &metrics,
                                               .by_member = &by_member,
                                               .names_are_ipv6 = cases[i].names_are_ipv6,
                                               .log = no_log});
        assert_true(reaches(shell, url, router));
        peer_shell_destroy(&shell);
        zsock_destroy(&router);
        free(url);
    }
}

int main(void)
{
    zsys_handler_set(NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_go_both_ways),
        cmocka_unit_test(bulk_has_a_connection_of_its_own),
        cmocka_unit_test(a_flood_arrives_whole),
        cmocka_unit_test(a_burst_without_credit_is_bounded),
        cmocka_unit_test(who_asks_is_answered_on_its_own_connection),
        cmocka_unit_test(what_is_no_frame_goes_nowhere),
        cmocka_unit_test(what_is_too_large_is_not_even_received),
        cmocka_unit_test(a_member_that_comes_back_is_found_again),
        cmocka_unit_test(a_member_that_ends_is_missed_at_once),
        cmocka_unit_test(a_socket_file_will_do),
        cmocka_unit_test(urls_are_endpoints),
        cmocka_unit_test(names_stand_for_what_this_member_listens_on),
        cmocka_unit_test(names_are_looked_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
