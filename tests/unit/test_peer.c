/* The connections to the other members: whom they lead to, what is taken from whom and who gets it, who
 * counts as reachable, and how members that do not know each other any more, or yet, come together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/peer/peer.h"
#include "actors/peer/roster.h"
#include "membership.pb-c.h"
#include "messages/limits.h"
#include "messages/peer_codec.h"
#include "messages/xalloc.h"
#include "tests/support/core_test.h"
#include "tests/support/peer_sample.h"

enum { CLUSTER = 77, ME = 1, PROCESS = 100, HEARTBEAT = 100000, TIMEOUT = 1000000 };

static metrics_t metrics;
static peer_metrics_t by_member;

/* Members with "http://m<id>:1" as URL, ids and removed ids as digits: "123", "4". */
static bytes_t *members_of(const char *ids, const char *removed)
{
    Quoral__Configuration configuration = QUORAL__CONFIGURATION__INIT;
    Quoral__ConfigurationMember members[9];
    Quoral__ConfigurationMember *list[9];
    char *urls[9];
    uint64_t gone[9];
    for (size_t i = 0; ids[i]; i++) {
        quoral__configuration_member__init(&members[i]);
        members[i].id = (uint64_t)(ids[i] - '0');
        urls[i] = xasprintf("http://m%c:1", ids[i]);
        members[i].peer_urls = &urls[i];
        members[i].n_peer_urls = 1;
        list[i] = &members[i];
    }
    for (size_t i = 0; removed[i]; i++) {
        gone[i] = (uint64_t)(removed[i] - '0');
    }
    configuration.members = list;
    configuration.n_members = strlen(ids);
    configuration.removed_ids = gone;
    configuration.n_removed_ids = strlen(removed);
    uint8_t *room = NULL;
    bytes_t *encoded = bytes_alloc(quoral__configuration__get_packed_size(&configuration), &room);
    quoral__configuration__pack(&configuration, room);
    for (size_t i = 0; ids[i]; i++) {
        free(urls[i]);
    }
    return encoded;
}

static core_test_t start(const char *ids)
{
    metrics = (metrics_t){0};
    by_member = (peer_metrics_t){0};
    bytes_t *configuration = members_of(ids, "");
    bytes_t *urls = bytes_new("http://me:1", 11);
    peer_cfg_t cfg = {.cluster_id = CLUSTER,
                      .member_id = ME,
                      .incarnation = PROCESS,
                      .configuration = configuration,
                      .configuration_index = 1,
                      .configuration_is_committed = true,
                      .urls = urls,
                      .heartbeat_us = HEARTBEAT,
                      .election_timeout_us = TIMEOUT};
    core_test_t test = core_test_new(ACTOR_PEER, &peer_ops, peer_new(&cfg, &metrics, &by_member));
    bytes_unref(&configuration);
    bytes_unref(&urls);
    return test;
}

/* ---- what goes out ---- */

static void expect_link(core_test_t *test, uint64_t member, const char *urls)
{
    msg_t *msg = core_test_expect(test, PORT_NETWORK, MSG_LINK);
    assert_int_equal(msg->u.link.member, member);
    if (urls) {
        assert_true(slice_equal(bytes_slice(msg->u.link.urls), slice_str(urls)));
    } else {
        assert_null(msg->u.link.urls);
    }
    msg_free(&msg);
}

/* The next frame out, decoded; yours. */
static peer_msg_t *expect_frame(core_test_t *test, uint64_t member, peer_kind_t kind)
{
    msg_t *msg = core_test_expect(test, PORT_NETWORK, MSG_FRAME);
    peer_frame_t frame;
    peer_msg_t *content = NULL;
    assert_int_equal(msg->u.frame.member, member);
    assert_int_equal(peer_frame_open(bytes_slice(msg->u.frame.frame), &frame), 0);
    assert_string_equal(peer_kind_name(frame.kind), peer_kind_name(kind));
    assert_int_equal(frame.header.cluster_id, CLUSTER);
    assert_int_equal(frame.header.from, ME);
    assert_int_equal(frame.header.to, member);
    assert_int_equal(frame.header.incarnation, PROCESS);
    assert_int_equal(msg->u.frame.is_bulk, kind == PEER_SNAP_CHUNK);
    assert_int_equal(peer_frame_decode(&frame, &content), 0);
    msg_free(&msg);
    return content;
}

static void skip_frame(core_test_t *test, uint64_t member, peer_kind_t kind)
{
    peer_msg_t *content = expect_frame(test, member, kind);
    peer_msg_free(&content);
}

static void expect_status(core_test_t *test, uint64_t member, bool is_active)
{
    for (unsigned i = 0; i < GATEWAY_COUNT; i++) {
        msg_t *msg = core_test_expect(test, gateway_at(i), MSG_PEER_STATUS);
        assert_int_equal(msg->u.peer_status.member, member);
        assert_int_equal(msg->u.peer_status.is_active, is_active);
        assert_int_equal(msg->u.peer_status.since_us, test->now_us);
        msg_free(&msg);
    }
}

static void skip_all(core_test_t *test)
{
    actor_id_t to;
    for (msg_t *msg; (msg = core_test_take(test, &to)) != NULL;) {
        msg_free(&msg);
    }
    while (outbox_next_line(test->outbox)) {
    }
}

static void wait_until(core_test_t *test, uint64_t us)
{
    uint64_t until_us = test->now_us + us;
    while (test->ops->deadline(test->core) <= until_us) {
        uint64_t due_us = test->ops->deadline(test->core);
        test->now_us = due_us > test->now_us ? due_us : test->now_us;
        core_test_flush(test);
    }
    test->now_us = until_us;
}

/* ---- what comes in ---- */

static void give(core_test_t *test, const peer_header_t *header, const peer_msg_t *content,
                 const char *route)
{
    msg_t *msg = msg_new(MSG_FRAME);
    msg->u.frame.frame = peer_frame_encode(header, content);
    msg->u.frame.route = route ? bytes_new(route, strlen(route)) : NULL;
    core_test_send(test, PORT_NETWORK, &msg);
}

static void say(core_test_t *test, uint64_t from, uint64_t process, peer_kind_t kind)
{
    const peer_header_t header = {
        .cluster_id = CLUSTER, .from = from, .to = ME, .incarnation = process};
    prng_t prng = {.state = 3};
    peer_msg_t *content = peer_sample(kind, &prng);
    give(test, &header, content, NULL);
    peer_msg_free(&content);
}

static void say_ping(core_test_t *test, uint64_t from, const char *urls)
{
    const peer_header_t header = {
        .cluster_id = CLUSTER, .from = from, .to = ME, .incarnation = from * 10};
    peer_msg_t *content = peer_msg_new(PEER_PING, 0);
    content->u.ping.sent_us = 5;
    content->u.ping.urls = urls ? bytes_new(urls, strlen(urls)) : NULL;
    give(test, &header, content, NULL);
    peer_msg_free(&content);
}

static void peers(core_test_t *test, uint64_t index, const char *ids, const char *removed,
                  bool is_committed)
{
    msg_t *msg = msg_new(MSG_PEERS);
    msg->u.members = (msg_members_t){
        .index = index, .configuration = members_of(ids, removed), .is_committed = is_committed};
    core_test_send(test, ACTOR_REPLICATOR, &msg);
}

/* ---- links ---- */

static void it_links_to_the_others_of_the_log(void **state)
{
    (void)state;
    core_test_t test = start("123");
    core_test_flush(&test);
    expect_link(&test, 2, "http://m2:1");
    expect_link(&test, 3, "http://m3:1");
    peer_msg_t *ping = expect_frame(&test, 3, PEER_PING);
    assert_int_equal(ping->u.ping.sent_us, test.now_us);
    assert_true(slice_equal(bytes_slice(ping->u.ping.urls), slice_str("http://m1:1")));
    peer_msg_free(&ping);
    skip_frame(&test, 2, PEER_PING);
    core_test_expect_nothing(&test);
    assert_int_equal(peer_ops.deadline(test.core), test.now_us + 250000);
    core_test_end(&test);
}

static void alone_it_has_nothing_to_do(void **state)
{
    (void)state;
    core_test_t test = start("1");
    core_test_flush(&test);
    core_test_expect_nothing(&test);
    assert_true(peer_ops.deadline(test.core) == DEADLINE_NONE);
    core_test_end(&test);
}

static void a_new_configuration_links_and_unlinks(void **state)
{
    (void)state;
    core_test_t test = start("12");
    core_test_flush(&test);
    skip_all(&test);
    peers(&test, 2, "123", "", false);
    expect_link(&test, 3, "http://m3:1");
    core_test_expect_nothing(&test);
    peers(&test, 2, "123", "", true);
    core_test_expect_nothing(&test);
    /* Who is no member any more is unlinked once it is silent. */
    peers(&test, 3, "13", "", true);
    core_test_expect_nothing(&test);
    say(&test, 2, 20, PEER_HEARTBEAT);
    skip_all(&test);
    for (int i = 0; i < 10; i++) {
        wait_until(&test, TIMEOUT);
    }
    bool unlinked = false;
    actor_id_t to;
    for (msg_t *msg; (msg = core_test_take(&test, &to)) != NULL;) {
        assert_false(msg->kind ==
                     MSG_PEER_STATUS); /* a guest's coming and going is nobody's business */
        unlinked |= msg->kind == MSG_LINK && msg->u.link.member == 2 && !msg->u.link.urls;
        msg_free(&msg);
    }
    assert_true(unlinked);
    core_test_end(&test);
}

static void changed_urls_are_linked_afresh(void **state)
{
    (void)state;
    core_test_t test = start("12");
    core_test_flush(&test);
    skip_all(&test);
    Quoral__Configuration *configuration = NULL;
    bytes_t *encoded = members_of("12", "");
    slice_t slice = bytes_slice(encoded);
    configuration = quoral__configuration__unpack(NULL, slice.len, slice.data);
    configuration->members[1]->peer_urls[0][7] = 'x';
    uint8_t *room = NULL;
    msg_t *msg = msg_new(MSG_PEERS);
    msg->u.members.configuration =
        bytes_alloc(quoral__configuration__get_packed_size(configuration), &room);
    quoral__configuration__pack(configuration, room);
    quoral__configuration__free_unpacked(configuration, NULL);
    bytes_unref(&encoded);
    core_test_send(&test, ACTOR_REPLICATOR, &msg);
    expect_link(&test, 2, "http://x2:1");
    core_test_expect_nothing(&test);
    core_test_end(&test);
}

/* ---- messages ---- */

static void send(core_test_t *test, actor_id_t from, uint64_t member, peer_kind_t kind)
{
    prng_t prng = {.state = 9};
    msg_t *msg = msg_new(MSG_PEER);
    msg->u.peer = (msg_peer_t){.member = member, .content = peer_sample(kind, &prng)};
    core_test_send(test, from, &msg);
}

static void what_is_said_goes_out_as_a_frame(void **state)
{
    (void)state;
    core_test_t test = start("123");
    core_test_flush(&test);
    skip_all(&test);
    send(&test, ACTOR_ELECTION, 3, PEER_REQ_VOTE);
    skip_frame(&test, 3, PEER_REQ_VOTE);
    send(&test, ACTOR_KEEPER, 2, PEER_SNAP_CHUNK);
    skip_frame(&test, 2, PEER_SNAP_CHUNK);
    send(&test, ACTOR_REPLICATOR, 9, PEER_HEARTBEAT); /* to nobody: lost */
    core_test_expect_nothing(&test);
    assert_int_equal(metrics_get(&metrics, METRIC_PEER_DROPPED), 1);
    core_test_end(&test);
}

static void what_comes_goes_to_whom_it_belongs(void **state)
{
    (void)state;
    static const struct {
        peer_kind_t kind;
        actor_id_t to;
    } cases[] = {
#define X(kind, handler) {PEER_##kind, ACTOR_##handler},
        PEER_KINDS(X)
#undef X
    };
    core_test_t test = start("12");
    core_test_flush(&test);
    say(&test, 2, 20, PEER_HEARTBEAT);
    skip_all(&test);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        say(&test, 2, 20, cases[i].kind);
        if (cases[i].to == ACTOR_PEER) {
            skip_all(&test);
            continue;
        }
        msg_t *msg = core_test_expect(&test, cases[i].to, MSG_PEER);
        assert_int_equal(msg->u.peer.member, 2);
        assert_int_equal(msg->u.peer.content->kind, cases[i].kind);
        assert_int_equal(msg->u.peer.content->incarnation, 20);
        msg_free(&msg);
        core_test_expect_nothing(&test);
    }
    assert_int_equal(metrics_get(&metrics, METRIC_PEER_REFUSED), 0);
    core_test_end(&test);
}

static void without_room_a_message_is_lost_and_counted(void **state)
{
    (void)state;
    core_test_t test = start("12");
    core_test_flush(&test);
    skip_all(&test);
    unsigned passed = 0;
    for (unsigned i = 0; i < 300; i++) {
        say(&test, 2, 20, PEER_VOTE);
    }
    actor_id_t to;
    for (msg_t *msg; (msg = outbox_take(test.outbox, &to)) != NULL;) {
        passed += msg->kind == MSG_PEER;
        msg_free(&msg);
    }
    assert_int_equal(passed, 256);
    assert_int_equal(metrics_get(&metrics, METRIC_PEER_DROPPED), 300 - 256);
    core_test_end(&test);
}

static void a_ping_is_answered(void **state)
{
    (void)state;
    core_test_t test = start("12");
    core_test_flush(&test);
    skip_all(&test);
    say_ping(&test, 2, NULL);
    expect_status(&test, 2, true);
    peer_msg_t *pong = expect_frame(&test, 2, PEER_PONG);
    assert_int_equal(pong->u.ping.sent_us, 5);
    peer_msg_free(&pong);
    core_test_expect_nothing(&test);
    core_test_end(&test);
}

static void a_pong_tells_the_round_trip_time(void **state)
{
    (void)state;
    core_test_t test = start("12");
    core_test_flush(&test);
    const peer_header_t header = {.cluster_id = CLUSTER, .from = 2, .to = ME, .incarnation = 20};
    peer_msg_t *pong = peer_msg_new(PEER_PONG, 0);
    pong->u.ping.sent_us = test.now_us;
    test.now_us += 350;
    give(&test, &header, pong, NULL);
    pong->u.ping.sent_us = test.now_us + 1; /* answers what was never asked */
    give(&test, &header, pong, NULL);
    peer_msg_free(&pong);
    peer_member_metrics_t *counted = peer_metrics_of(&by_member, 2);
    assert_int_equal(counted->rtt[2], 1); /* above 200, up to 400 */
    assert_int_equal(counted->rtt_sum_us, 350);
    core_test_end(&test);
}

/* ---- refusing ---- */

static const char *last_refusal(core_test_t *test)
{
    static char fields[300];
    fields[0] = '\0';
    const outbox_line_t *line;
    while ((line = outbox_next_line(test->outbox))) {
        if (strcmp(line->text, "refused a message from a peer") == 0) {
            (void)snprintf(fields, sizeof fields, "%s", line->fields);
        }
    }
    return fields;
}

static void what_is_not_for_it_is_refused(void **state)
{
    (void)state;
    static const struct {
        peer_header_t header;
        const char *error;
    } cases[] = {
        {{CLUSTER + 1, 2, ME, 20}, "cluster ID mismatch"},
        {{CLUSTER, 2, 3, 20}, "the message is for another member"},
        {{CLUSTER, 2, 0, 20}, "the message is for another member"},
        {{CLUSTER, ME, ME, 20}, "the sender has this member's id"},
        {{CLUSTER, 8, ME, 20}, "the sender is not a member"},
        {{CLUSTER, 2, ME, 0}, "malformed message"},
    };
    core_test_t test = start("12");
    core_test_flush(&test);
    skip_all(&test);
    peer_msg_t *content = peer_msg_new(PEER_REQ_VOTE, 1u << 20);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        give(&test, &cases[i].header, content, NULL);
        core_test_expect_nothing(&test);
        char *expected = xasprintf("\"error\":\"%s\",\"refused\":1", cases[i].error);
        assert_non_null(strstr(last_refusal(&test), expected));
        free(expected);
        assert_int_equal(metrics_get(&metrics, METRIC_PEER_REFUSED), i + 1);
        test.now_us += 1000000; /* one line a second */
    }
    peer_msg_free(&content);
    core_test_end(&test);
}

static void damaged_frames_are_refused_one_line_a_second(void **state)
{
    (void)state;
    core_test_t test = start("12");
    core_test_flush(&test);
    skip_all(&test);
    for (int i = 0; i < 100; i++) {
        msg_t *msg = msg_new(MSG_FRAME);
        msg->u.frame.frame = bytes_new("xxxxxxxxxx", 10);
        core_test_send(&test, PORT_NETWORK, &msg);
    }
    core_test_expect_nothing(&test);
    assert_non_null(strstr(last_refusal(&test), "\"error\":\"checksum mismatch\",\"refused\":1"));
    test.now_us += 1000000;
    msg_t *msg = msg_new(MSG_FRAME);
    msg->u.frame.frame = bytes_new("x", 1);
    core_test_send(&test, PORT_NETWORK, &msg);
    assert_non_null(strstr(last_refusal(&test), "\"error\":\"malformed message\",\"refused\":100"));
    assert_int_equal(metrics_get(&metrics, METRIC_PEER_REFUSED), 101);
    core_test_end(&test);
}

/* Frames of a member's earlier process may still be under way when it is up again. */
static void an_earlier_process_is_not_listened_to(void **state)
{
    (void)state;
    core_test_t test = start("12");
    core_test_flush(&test);
    for (uint64_t process = 20; process < 40; process++) {
        skip_all(&test);
        say(&test, 2, process, PEER_HEARTBEAT);
        skip_all(&test);
        for (uint64_t past = process - 1; past >= 10; past--) { /* some were never heard before */
            say(&test, 2, past, PEER_HEARTBEAT);
            core_test_expect_nothing(&test);
        }
    }
    core_test_end(&test);
}

static void a_silent_member_may_come_back_with_an_earlier_clock(void **state)
{
    (void)state;
    core_test_t test = start("12");
    core_test_flush(&test);
    skip_all(&test);
    say(&test, 2, 20, PEER_HB_ACK);
    expect_status(&test, 2, true);
    skip_all(&test);
    say(&test, 2, 10, PEER_HB_ACK);
    core_test_expect_nothing(&test);
    for (int i = 0; i < 40; i++) {
        test.now_us += 100000;
        core_test_flush(&test);
        skip_all(&test);
    }
    say(&test, 2, 10, PEER_HB_ACK);
    expect_status(&test, 2, true);
    core_test_end(&test);
}

/* ---- activity ---- */

/* How many there are among all that went out. */
static unsigned take_links(core_test_t *test)
{
    unsigned links = 0;
    actor_id_t to;
    for (msg_t *msg; (msg = core_test_take(test, &to)) != NULL;) {
        links += msg->kind == MSG_LINK;
        msg_free(&msg);
    }
    return links;
}

static void a_silent_member_is_reported_and_linked_afresh(void **state)
{
    (void)state;
    core_test_t test = start("12");
    core_test_flush(&test);
    skip_all(&test);
    say(&test, 2, 20, PEER_HB_ACK);
    expect_status(&test, 2, true);
    skip_all(&test);
    wait_until(&test, TIMEOUT - 1);
    say(&test, 2, 20, PEER_HB_ACK);
    skip_all(&test);
    wait_until(&test, TIMEOUT - 1);
    skip_all(&test);
    wait_until(&test, 1);
    expect_status(&test, 2, false);
    expect_link(&test, 2, "http://m2:1");
    core_test_expect_nothing(&test);
    assert_int_equal(peer_metrics_of(&by_member, 2)->disconnected, 1);
    assert_int_equal(peer_metrics_of(&by_member, 2)->is_active, 0);
    /* And again, should that connection have got stuck, too. */
    wait_until(&test, 8 * TIMEOUT);
    assert_int_equal(take_links(&test), 2);
    say(&test, 2, 20, PEER_HB_ACK);
    expect_status(&test, 2, true);
    core_test_end(&test);
}

/* Its own pause is no silence of others: what they have said is still on its way in, what was sent on its way out. */
static void after_a_pause_nobody_is_linked_afresh_at_once(void **state)
{
    (void)state;
    core_test_t test = start("12");
    core_test_flush(&test);
    skip_all(&test);
    say(&test, 2, 20, PEER_HB_ACK);
    skip_all(&test);
    test.now_us += 30 * TIMEOUT;
    send(&test, ACTOR_REPLICATOR, 2, PEER_PROPOSE_FWD);
    core_test_flush(&test);
    skip_frame(&test, 2, PEER_PROPOSE_FWD);
    skip_frame(&test, 2, PEER_PING);
    core_test_expect_nothing(&test);
    wait_until(&test, TIMEOUT / 2);
    assert_int_equal(take_links(&test), 0);
    wait_until(&test, TIMEOUT); /* still nothing: now it is silent */
    assert_int_equal(take_links(&test), 1);
    core_test_end(&test);
}

static void a_silent_member_gets_an_append_now_and_then(void **state)
{
    (void)state;
    core_test_t test = start("12");
    core_test_flush(&test);
    skip_all(&test);
    for (int i = 0; i < 3; i++) {
        send(&test, ACTOR_REPLICATOR, 2, PEER_APPEND);
        skip_frame(&test, 2, PEER_APPEND);
        send(&test, ACTOR_REPLICATOR, 2, PEER_APPEND);
        core_test_expect_nothing(&test);
        send(&test, ACTOR_REPLICATOR, 2, PEER_HEARTBEAT);
        skip_frame(&test, 2, PEER_HEARTBEAT);
        test.now_us += HEARTBEAT;
    }
    say(&test, 2, 20, PEER_APPEND_ACK);
    skip_all(&test);
    for (int i = 0; i < 10; i++) {
        send(&test, ACTOR_REPLICATOR, 2, PEER_APPEND);
        skip_frame(&test, 2, PEER_APPEND);
    }
    core_test_end(&test);
}

/* ---- who is gone ---- */

static void closed(core_test_t *test, uint64_t member)
{
    msg_t *msg = msg_new(MSG_CLOSED);
    msg->u.gone.member = member;
    core_test_send(test, PORT_NETWORK, &msg);
}

static void expect_gone(core_test_t *test, uint64_t member)
{
    msg_t *msg = core_test_expect(test, ACTOR_ELECTION, MSG_GONE);
    assert_int_equal(msg->u.gone.member, member);
    msg_free(&msg);
}

static void who_was_just_heard_and_closes_the_connection_is_gone(void **state)
{
    (void)state;
    core_test_t test = start("123");
    core_test_flush(&test);
    skip_all(&test);
    closed(&test, 2); /* not there yet */
    closed(&test, 9); /* nobody */
    core_test_expect_nothing(&test);
    say(&test, 2, 20, PEER_HB_ACK);
    skip_all(&test);
    test.now_us += 3 * 250000 - 1;
    closed(&test, 2);
    expect_gone(&test, 2);
    closed(&test, 2); /* the next attempt */
    expect_gone(&test, 2);
    core_test_expect_nothing(&test);
    test.now_us += 1; /* silent: that may be the network */
    closed(&test, 2);
    core_test_expect_nothing(&test);
    core_test_end(&test);
}

static void a_later_process_says_that_the_one_before_is_gone(void **state)
{
    (void)state;
    core_test_t test = start("12");
    core_test_flush(&test);
    skip_all(&test);
    say(&test, 2, 20, PEER_HB_ACK);
    skip_all(&test);
    say(&test, 2, 21, PEER_HB_ACK);
    expect_gone(&test, 2);
    skip_all(&test);
    say(&test, 2, 21, PEER_PING);
    skip_frame(&test, 2, PEER_PONG);
    core_test_expect_nothing(&test);
    wait_until(&test, TIMEOUT); /* it is silent: nobody waits for it any more */
    skip_all(&test);
    say(&test, 2, 22, PEER_PING);
    expect_status(&test, 2, true);
    skip_frame(&test, 2, PEER_PONG);
    core_test_expect_nothing(&test);
    core_test_end(&test);
}

/* ---- who does not know whom ---- */

/* The log of a member that was away may not know the leader yet. */
static void a_guest_says_where_it_listens_and_may_speak(void **state)
{
    (void)state;
    core_test_t test = start("12");
    core_test_flush(&test);
    skip_all(&test);
    say(&test, 5, 50, PEER_APPEND);
    core_test_expect_nothing(&test);
    say_ping(&test, 5, NULL);
    core_test_expect_nothing(&test);
    say_ping(&test, 5, "http://guest:1");
    expect_link(&test, 5, "http://guest:1");
    skip_frame(&test, 5, PEER_PONG);
    core_test_expect_nothing(&test); /* the gateway counts members only */
    say(&test, 5, 50, PEER_APPEND);
    msg_t *msg = core_test_expect(&test, ACTOR_REPLICATOR, MSG_PEER);
    assert_int_equal(msg->u.peer.member, 5);
    msg_free(&msg);
    send(&test, ACTOR_REPLICATOR, 5, PEER_APPEND_ACK);
    skip_frame(&test, 5, PEER_APPEND_ACK);
    /* Then it turns up in the log. */
    peers(&test, 7, "125", "", true);
    expect_link(&test, 5, "http://m5:1");
    expect_status(&test, 5, true);
    core_test_end(&test);
}

static void guests_are_few(void **state)
{
    (void)state;
    core_test_t test = start("12");
    core_test_flush(&test);
    skip_all(&test);
    for (uint64_t id = 1000; id < 1000 + LIMIT_PEER_GUESTS; id++) {
        say_ping(&test, id, "http://guest:1");
        expect_link(&test, id, "http://guest:1");
        skip_frame(&test, id, PEER_PONG);
    }
    say_ping(&test, 2000, "http://guest:1");
    core_test_expect_nothing(&test);
    assert_int_equal(metrics_get(&metrics, METRIC_PEER_REFUSED), 1);
    wait_until(&test, 20 * TIMEOUT); /* they go: the next one may come */
    skip_all(&test);
    say_ping(&test, 2000, "http://guest:1");
    expect_link(&test, 2000, "http://guest:1");
    core_test_end(&test);
}

static void a_removed_member_is_told(void **state)
{
    (void)state;
    core_test_t test = start("123");
    core_test_flush(&test);
    skip_all(&test);
    /* As long as the removal may be undone, it is listened to. */
    peers(&test, 5, "12", "3", false);
    say(&test, 3, 30, PEER_REQ_VOTE);
    msg_t *msg = core_test_expect(&test, ACTOR_ELECTION, MSG_PEER);
    msg_free(&msg);
    peers(&test, 5, "12", "3", true);
    skip_all(&test);
    say(&test, 3, 30, PEER_REQ_VOTE);
    peer_msg_t *told = expect_frame(&test, 3, PEER_CLUSTER);
    roster_t roster = {0};
    assert_int_equal(roster_decode(&roster, bytes_slice(told->u.cluster.configuration)), 0);
    assert_true(told->u.cluster.is_committed);
    assert_int_equal(told->u.cluster.index, 5);
    assert_true(roster_has_removed(&roster, 3));
    roster_deinit(&roster);
    peer_msg_free(&told);
    core_test_expect_nothing(&test);
    say(&test, 3, 30, PEER_REQ_VOTE); /* once a second */
    core_test_expect_nothing(&test);
    assert_non_null(strstr(last_refusal(&test), "the sender has been removed"));
    test.now_us += 1000000;
    say_ping(&test, 3, "http://m3:1");
    skip_frame(&test, 3, PEER_CLUSTER);
    core_test_expect_nothing(&test);
    core_test_end(&test);
}

/* It has been away so long that nobody links to it any more. */
static void a_removed_member_that_comes_back_is_told(void **state)
{
    (void)state;
    core_test_t test = start("12");
    core_test_flush(&test);
    peers(&test, 5, "12", "3", true);
    peers(&test, 6, "124", "3", false);
    skip_all(&test);
    say_ping(&test, 3, "http://m3:1");
    expect_link(&test, 3, "http://m3:1");
    core_test_expect_nothing(&test); /* refused; what could be told is not committed yet */
    peers(&test, 6, "124", "3", true);
    test.now_us += 1000000;
    say_ping(&test, 3, "http://m3:1");
    skip_frame(&test, 3, PEER_CLUSTER);
    core_test_expect_nothing(&test);
    core_test_end(&test);
}

static void tell_it(core_test_t *test, const char *removed, bool is_committed)
{
    const peer_header_t header = {.cluster_id = CLUSTER, .from = 2, .to = ME, .incarnation = 20};
    peer_msg_t *msg = peer_msg_new(PEER_CLUSTER, 0);
    msg->u.cluster = (peer_cluster_t){
        .index = 5, .is_committed = is_committed, .configuration = members_of("23", removed)};
    give(test, &header, msg, NULL);
    peer_msg_free(&msg);
}

static void who_is_told_that_it_was_removed_ends(void **state)
{
    (void)state;
    core_test_t test = start("12");
    core_test_flush(&test);
    tell_it(&test, "1", false);
    tell_it(&test, "4", true);
    assert_null(outbox_end_text(test.outbox));
    skip_all(&test);
    tell_it(&test, "41", true);
    expect_status(&test, ME, false); /* a client may have asked for it, here */
    assert_string_equal(outbox_end_text(test.outbox),
                        "the member has been permanently removed from the cluster");
    core_test_end(&test);
}

static void who_asks_which_cluster_this_is_gets_an_answer(void **state)
{
    (void)state;
    core_test_t test = start("12");
    core_test_flush(&test);
    skip_all(&test);
    msg_t *published = msg_new(MSG_PUBLISHED);
    published->u.published.ids = bytes_new("\1\0\0\0\0\0\0\0", 8);
    core_test_send(&test, ACTOR_APPLIER, &published);
    const peer_header_t header = {.from = 999};
    peer_msg_t *who = peer_msg_new(PEER_WHO, 0);
    give(&test, &header, who, "the way back");
    give(&test, &header, who, NULL); /* not from outside: no answer */
    peer_msg_free(&who);
    msg_t *msg = core_test_expect(&test, PORT_NETWORK, MSG_FRAME);
    core_test_expect_nothing(&test);
    assert_true(slice_equal(bytes_slice(msg->u.frame.route), slice_str("the way back")));
    peer_frame_t frame;
    peer_msg_t *answer = NULL;
    assert_int_equal(peer_frame_open(bytes_slice(msg->u.frame.frame), &frame), 0);
    assert_int_equal(frame.header.cluster_id, CLUSTER);
    assert_int_equal(peer_frame_decode(&frame, &answer), 0);
    roster_t roster = {0};
    assert_int_equal(roster_decode(&roster, bytes_slice(answer->u.cluster.configuration)), 0);
    assert_int_equal(roster.count, 2);
    assert_true(
        slice_equal(bytes_slice(answer->u.cluster.published), slice("\1\0\0\0\0\0\0\0", 8)));
    assert_true(slice_equal(bytes_slice(roster_find(&roster, 2)->urls), slice_str("http://m2:1")));
    roster_deinit(&roster);
    peer_msg_free(&answer);
    msg_free(&msg);
    core_test_end(&test);
}

static void it_stops_when_told(void **state)
{
    (void)state;
    core_test_t test = start("12");
    msg_t *stop = msg_new(MSG_STOP);
    core_test_send(&test, ACTOR_NONE, &stop);
    assert_true(outbox_is_stopped(test.outbox));
    core_test_end(&test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_links_to_the_others_of_the_log),
        cmocka_unit_test(alone_it_has_nothing_to_do),
        cmocka_unit_test(a_new_configuration_links_and_unlinks),
        cmocka_unit_test(changed_urls_are_linked_afresh),
        cmocka_unit_test(what_is_said_goes_out_as_a_frame),
        cmocka_unit_test(what_comes_goes_to_whom_it_belongs),
        cmocka_unit_test(without_room_a_message_is_lost_and_counted),
        cmocka_unit_test(a_ping_is_answered),
        cmocka_unit_test(a_pong_tells_the_round_trip_time),
        cmocka_unit_test(what_is_not_for_it_is_refused),
        cmocka_unit_test(damaged_frames_are_refused_one_line_a_second),
        cmocka_unit_test(an_earlier_process_is_not_listened_to),
        cmocka_unit_test(a_silent_member_may_come_back_with_an_earlier_clock),
        cmocka_unit_test(a_silent_member_is_reported_and_linked_afresh),
        cmocka_unit_test(after_a_pause_nobody_is_linked_afresh_at_once),
        cmocka_unit_test(a_silent_member_gets_an_append_now_and_then),
        cmocka_unit_test(who_was_just_heard_and_closes_the_connection_is_gone),
        cmocka_unit_test(a_later_process_says_that_the_one_before_is_gone),
        cmocka_unit_test(a_guest_says_where_it_listens_and_may_speak),
        cmocka_unit_test(guests_are_few),
        cmocka_unit_test(a_removed_member_is_told),
        cmocka_unit_test(a_removed_member_that_comes_back_is_told),
        cmocka_unit_test(who_is_told_that_it_was_removed_ends),
        cmocka_unit_test(who_asks_which_cluster_this_is_gets_an_answer),
        cmocka_unit_test(it_stops_when_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
