/* subscribers: who subscribes gets what is published, once, in order and whole, however the bytes are cut; who does not
 * take it loses what is beyond the bounds and delays nobody; what is no subscriber's is the end of the connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/zmq_gateway/subscribers.h"
#include "messages/xalloc.h"
#include "messages/zmtp.h"

enum {
    QUEUE = 8,
    QUEUED = 24,
    BACKLOG = 32,
    BACKLOG_BYTES = 4096,
    HEARTBEAT_US = 5000000,
    SILENCE_US = 15000000
};

/* ---- the rig ---- */

typedef struct {
    subscribers_t *core;
    metrics_t metrics;
    buf_t told; /* of subscriptions: "+text," and "-text," */
    uint64_t now_us;
} rig_t;

/* The other end of a connection. */
typedef struct {
    subscriber_t *subscriber;
    buf_t got;      /* not looked at yet */
    size_t room;    /* what its socket takes; SIZE_MAX = anything */
    size_t at_once; /* and at a time */
    bool has_greeted;
} peer_t;

static void on_subscription(void *context, slice_t message)
{
    rig_t *rig = context;
    buf_byte(&rig->told, message.data[0] ? '+' : '-');
    buf_append(&rig->told, message.data + 1, message.len - 1);
    buf_byte(&rig->told, ',');
}

static void expect_told(rig_t *rig, const char *text)
{
    assert_int_equal(rig->told.len, strlen(text));
    assert_memory_equal(rig->told.data, text, strlen(text));
    buf_clear(&rig->told);
}

static int set_up(void **state)
{
    rig_t *rig = xcalloc(1, sizeof *rig);
    subscribers_cfg_t cfg = {.topics_max = 100,
                             .topic_bytes_max = 1000,
                             .seats_max = 100,
                             .queue_max = QUEUE,
                             .queued_max = QUEUED,
                             .backlog_max = BACKLOG,
                             .backlog_bytes_max = BACKLOG_BYTES,
                             .heartbeat_us = HEARTBEAT_US,
                             .silence_us = SILENCE_US};
    subscribers_sink_t sink = {.context = rig, .subscription = on_subscription};
    rig->core = subscribers_new(&cfg, &sink, &rig->metrics);
    rig->now_us = 1000;
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    rig_t *rig = *state;
    subscribers_destroy(&rig->core);
    buf_deinit(&rig->told);
    free(rig);
    return 0;
}

/* What peers' sockets take now. */
static void run(rig_t *rig)
{
    subscriber_t *next = NULL;
    while ((next = subscribers_next(rig->core))) {
        slice_t parts[SUBSCRIBER_PARTS_MAX];
        peer_t *peer = subscriber_owner(next);
        size_t count = subscribers_output(rig->core, next, parts);
        size_t wanted = 0;
        size_t sent = 0;
        for (size_t i = 0; i < count; i++) {
            size_t left = peer->at_once - sent < peer->room ? peer->at_once - sent : peer->room;
            size_t taken = parts[i].len < left ? parts[i].len : left;
            buf_append(&peer->got, parts[i].data, taken);
            wanted += parts[i].len;
            sent += taken;
            peer->room -= peer->room == SIZE_MAX ? 0 : taken;
        }
        assert_true(wanted > 0);
        subscribers_sent(rig->core, next, sent, peer->room == 0);
    }
}

static subscriber_state_t say(rig_t *rig, peer_t *peer, const buf_t *bytes)
{
    return subscribers_input(rig->core, peer->subscriber, buf_slice(bytes), rig->now_us);
}

static void say_command(rig_t *rig, peer_t *peer, const char *name, slice_t content)
{
    buf_t out = {0};
    zmtp_write_command(&out, name, content);
    assert_int_equal(say(rig, peer, &out), SUBSCRIBER_FINE);
    buf_deinit(&out);
}

static peer_t *dial(rig_t *rig)
{
    peer_t *peer = xcalloc(1, sizeof *peer);
    peer->room = SIZE_MAX;
    peer->at_once = SIZE_MAX;
    peer->subscriber = subscribers_add(rig->core, peer, rig->now_us);
    return peer;
}

static peer_t *connect_as(rig_t *rig, uint8_t minor)
{
    peer_t *peer = dial(rig);
    buf_t out = {0};
    buf_append(&out, zmtp_greeting().data, ZMTP_GREETING_BYTES);
    out.data[11] = minor;
    zmtp_write_ready(&out, "SUB");
    assert_int_equal(say(rig, peer, &out), SUBSCRIBER_FINE);
    buf_deinit(&out);
    run(rig);
    return peer;
}

static peer_t *subscribed(rig_t *rig, const char *text)
{
    peer_t *peer = connect_as(rig, 1);
    say_command(rig, peer, "SUBSCRIBE", slice_str(text));
    return peer;
}

static void hang_up(rig_t *rig, peer_t **peer_p)
{
    subscribers_remove(rig->core, &(*peer_p)->subscriber);
    buf_deinit(&(*peer_p)->got);
    free(*peer_p);
    *peer_p = NULL;
}

static void publish(rig_t *rig, const char *topic, slice_t body)
{
    slice_t frames[] = {slice_str(topic), body};
    subscribers_publish(rig->core, frames, 2);
}

static void publish_number(rig_t *rig, const char *topic, unsigned number)
{
    char text[16];
    snprintf(text, sizeof text, "%u", number);
    publish(rig, topic, slice_str(text));
}

/* The next frame that came; false = none, or not all of it. */
static bool next_frame(peer_t *peer, buf_t *body, uint8_t *flags)
{
    zmtp_frame_t frame;
    uint8_t minor = 0;
    if (!peer->has_greeted && zmtp_read_greeting(buf_slice(&peer->got), &minor) == 0) {
        peer->has_greeted = true;
        peer->got.len -= ZMTP_GREETING_BYTES;
        memmove(peer->got.data, peer->got.data + ZMTP_GREETING_BYTES, peer->got.len);
    }
    if (!peer->has_greeted || zmtp_read_frame(buf_slice(&peer->got), 100000, &frame) != 0) {
        return false;
    }
    buf_clear(body);
    buf_append(body, frame.body.data, frame.body.len);
    *flags = frame.flags;
    peer->got.len -= frame.size;
    memmove(peer->got.data, peer->got.data + frame.size, peer->got.len);
    return true;
}

/* All messages that came, as "topic=body,"; commands as "!name,". */
static void expect_got(peer_t *peer, const char *expected)
{
    buf_t text = {0};
    buf_t body = {0};
    uint8_t flags = 0;
    while (next_frame(peer, &body, &flags)) {
        if (flags & ZMTP_COMMAND) {
            buf_byte(&text, '!');
            buf_append(&text, body.data + 1, body.data[0]);
            buf_byte(&text, ',');
        } else {
            buf_append(&text, body.data, body.len);
            buf_byte(&text, flags & ZMTP_MORE ? '=' : ',');
        }
    }
    buf_byte(&text, '\0');
    assert_string_equal((const char *)text.data, expected);
    assert_int_equal(peer->got.len, 0);
    buf_deinit(&text);
    buf_deinit(&body);
}

static uint64_t dropped(const rig_t *rig)
{
    return metrics_get(&rig->metrics, METRIC_NATIVE_DROPPED);
}

/* ---- what is published ---- */

static void who_subscribes_gets_what_begins_so(void **state)
{
    rig_t *rig = *state;
    peer_t *a = subscribed(rig, "a");
    peer_t *all = subscribed(rig, "");
    publish(rig, "a", slice_str("1"));
    publish(rig, "b", slice_str("2"));
    publish(rig, "ab", slice_str("3"));
    run(rig);
    expect_got(a, "!READY,a=1,ab=3,");
    expect_got(all, "!READY,a=1,b=2,ab=3,");
    expect_told(rig, "+a,+,");
    assert_int_equal(metrics_get(&rig->metrics, METRIC_NATIVE_SUBSCRIBERS), 2);
    hang_up(rig, &a);
    hang_up(rig, &all);
    expect_told(rig, "-a,-,");
    assert_int_equal(metrics_get(&rig->metrics, METRIC_NATIVE_SUBSCRIBERS), 0);
}

static void several_subscriptions_get_a_message_once(void **state)
{
    rig_t *rig = *state;
    peer_t *peer = subscribed(rig, "a");
    say_command(rig, peer, "SUBSCRIBE", slice_str("ab"));
    say_command(rig, peer, "SUBSCRIBE", slice_str(""));
    publish(rig, "abc", slice_str("1"));
    run(rig);
    expect_got(peer, "!READY,abc=1,");
    hang_up(rig, &peer);
}

static void the_owner_hears_of_every_subscription_and_of_the_last_that_goes(void **state)
{
    rig_t *rig = *state;
    peer_t *one = subscribed(rig, "a");
    peer_t *other = subscribed(rig, "a");
    say_command(rig, other, "SUBSCRIBE", slice_str("a"));
    expect_told(rig, "+a,+a,+a,");
    say_command(rig, other, "CANCEL", slice_str("a"));
    say_command(rig, other, "CANCEL", slice_str("a"));
    say_command(rig, other, "CANCEL", slice_str("never"));
    expect_told(rig, "");
    publish(rig, "a", slice_str("1"));
    run(rig);
    expect_got(other, "!READY,");
    hang_up(rig, &one);
    expect_told(rig, "-a,");
    hang_up(rig, &other);
    expect_told(rig, "");
}

static void before_3_1_subscriptions_are_messages(void **state)
{
    rig_t *rig = *state;
    peer_t *peer = connect_as(rig, 0);
    static const uint8_t bytes[] = {
        0, 2, 1, 'a', 0, 2, 1, 'b', 0,   2, 0, 'b',      /* +a, +b, -b */
        1, 2, 1, 'c', 1, 2, 1, 'd', 0,   2, 1, 'e',      /* frames of one message: none */
        0, 0, 0, 1,   7, 0, 2, 2,   'f', 0, 2, 1,   'g', /* nothing, what is neither; +g */
    };
    buf_t out = {0};
    buf_append(&out, bytes, sizeof bytes);
    assert_int_equal(say(rig, peer, &out), SUBSCRIBER_FINE);
    expect_told(rig, "+a,+b,-b,+g,");
    buf_deinit(&out);
    hang_up(rig, &peer);
}

static void too_long_a_subscription_is_told_of_and_matches_nothing(void **state)
{
    rig_t *rig = *state;
    peer_t *peer = connect_as(rig, 1);
    static uint8_t text[LIMIT_NATIVE_TOPIC_BYTES + 4];
    say_command(rig, peer, "SUBSCRIBE", slice(text, sizeof text));
    assert_int_equal(rig->told.len, sizeof text + 2);
    buf_clear(&rig->told);
    say_command(rig, peer, "CANCEL", slice(text, sizeof text));
    hang_up(rig, &peer);
    expect_told(rig, "");
}

/* ---- cut into any pieces ---- */

static void what_comes_in_pieces_is_understood(void **state)
{
    rig_t *rig = *state;
    buf_t all = {0};
    buf_append(&all, zmtp_greeting().data, ZMTP_GREETING_BYTES);
    zmtp_write_ready(&all, "XSUB");
    zmtp_write_command(&all, "SUBSCRIBE", slice_str("a"));
    zmtp_write_command(&all, "PING", slice("\0\1context", 9));
    zmtp_write_command(&all, "SUBSCRIBE", slice_str("b"));
    for (size_t size = 1; size <= all.len; size++) {
        peer_t *peer = dial(rig);
        for (size_t at = 0; at < all.len; at += size) {
            size_t len = size < all.len - at ? size : all.len - at;
            assert_int_equal(subscribers_input(rig->core, peer->subscriber,
                                               slice(all.data + at, len), rig->now_us),
                             SUBSCRIBER_FINE);
        }
        run(rig);
        expect_told(rig, "+a,+b,");
        expect_got(peer, "!READY,!PONG,");
        hang_up(rig, &peer);
        expect_told(rig, "-b,-a,");
    }
    buf_deinit(&all);
}

static void what_is_taken_in_pieces_comes_whole(void **state)
{
    rig_t *rig = *state;
    for (size_t at_once = 1; at_once < 40; at_once++) {
        peer_t *peer = subscribed(rig, "a");
        peer->at_once = at_once;
        for (unsigned i = 0; i < QUEUE; i++) {
            publish_number(rig, "a", i);
        }
        say_command(rig, peer, "PING", slice("\0\1", 2));
        run(rig);
        expect_got(peer, "!READY,!PONG,a=0,a=1,a=2,a=3,a=4,a=5,a=6,a=7,");
        hang_up(rig, &peer);
        buf_clear(&rig->told);
    }
}

static void a_command_waits_for_the_end_of_a_message(void **state)
{
    rig_t *rig = *state;
    peer_t *peer = subscribed(rig, "a");
    peer->room = 3;
    publish(rig, "a", slice_str("1"));
    publish(rig, "a", slice_str("2"));
    run(rig);
    say_command(rig, peer, "PING", slice("\0\1", 2));
    peer->room = SIZE_MAX;
    subscribers_writable(rig->core, peer->subscriber);
    run(rig);
    expect_got(peer, "!READY,a=1,!PONG,a=2,");
    hang_up(rig, &peer);
}

/* ---- who is slow ---- */

static void who_takes_nothing_loses_what_is_beyond_its_queue(void **state)
{
    rig_t *rig = *state;
    peer_t *slow = subscribed(rig, "a");
    peer_t *quick = subscribed(rig, "a");
    slow->room = 4;
    for (unsigned i = 0; i < 12; i++) {
        publish_number(rig, "a", i);
        run(rig);
    }
    expect_got(quick, "!READY,a=0,a=1,a=2,a=3,a=4,a=5,a=6,a=7,a=8,a=9,a=10,a=11,");
    assert_int_equal(dropped(rig), 3); /* one is half sent, eight wait */
    slow->room = SIZE_MAX;
    subscribers_writable(rig->core, slow->subscriber);
    run(rig);
    publish_number(rig, "a", 12);
    run(rig);
    expect_got(slow, "!READY,a=0,a=1,a=2,a=3,a=4,a=5,a=6,a=7,a=8,a=12,");
    hang_up(rig, &slow);
    hang_up(rig, &quick);
}

/* Four of these fit. What has begun is held by who has begun it. */
static void queues_are_bounded_for_all_of_them(void **state)
{
    rig_t *rig = *state;
    peer_t *slow[QUEUED / QUEUE + 1];
    for (size_t i = 0; i <= QUEUED / QUEUE; i++) {
        slow[i] = subscribed(rig, "a");
        slow[i]->room = 0;
    }
    peer_t *quick = subscribed(rig, "a");
    for (unsigned i = 0; i < QUEUE; i++) {
        publish_number(rig, "a", i);
        run(rig);
    }
    /* Six wait for each of four, not eight; who reads gets everything. */
    assert_int_equal(dropped(rig), QUEUE);
    expect_got(quick, "!READY,a=0,a=1,a=2,a=3,a=4,a=5,a=6,a=7,");
    for (size_t i = 0; i <= QUEUED / QUEUE; i++) {
        hang_up(rig, &slow[i]);
    }
    /* And the room is there again. */
    quick->room = 0;
    for (unsigned i = 0; i < QUEUE; i++) {
        publish_number(rig, "a", i);
    }
    assert_int_equal(dropped(rig), QUEUE);
    hang_up(rig, &quick);
}

static void what_waits_for_slow_ones_is_bounded_for_all_of_them(void **state)
{
    enum { SLOW = 3, ROUNDS = 4, ROOM = 5, WHOLE = 3 + 9 + 1000, LAST = 3 + 2 + 4 };
    rig_t *rig = *state;
    static uint8_t body[1000];
    peer_t *slow[SLOW];
    for (size_t i = 0; i < SLOW; i++) {
        slow[i] = subscribed(rig, i == 0 ? "b" : "a");
        slow[i]->room = ROOM;
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        publish(rig, "b", slice(body, sizeof body));
        publish(rig, "a", slice(body, sizeof body));
        run(rig);
    }
    publish(rig, "a", slice_str("last"));
    publish(rig, "b", slice_str("last"));
    for (size_t i = 0; i < SLOW; i++) {
        buf_clear(&slow[i]->got);
        slow[i]->room = SIZE_MAX;
        subscribers_writable(rig->core, slow[i]->subscriber);
    }
    run(rig);
    assert_int_equal(dropped(rig), SLOW); /* the second of each */
    for (size_t i = 0; i < SLOW; i++) {
        assert_int_equal(slow[i]->got.len, WHOLE - ROOM + 2 * WHOLE + LAST);
        hang_up(rig, &slow[i]);
    }
}

static void who_hangs_up_leaves_nothing_waiting(void **state)
{
    rig_t *rig = *state;
    peer_t *peer = subscribed(rig, "a");
    peer->room = 3;
    for (unsigned i = 0; i < 5; i++) {
        publish_number(rig, "a", i);
    }
    run(rig);
    hang_up(rig, &peer); /* the sanitizer sees what is left */
    assert_false(subscribers_pending(rig->core));
}

/* ---- the end of a connection ---- */

static void expect_end(rig_t *rig, const buf_t *bytes, subscriber_state_t state)
{
    peer_t *peer = dial(rig);
    assert_int_equal(say(rig, peer, bytes), state);
    hang_up(rig, &peer);
}

static void what_is_no_subscriber_is_the_end(void **state)
{
    rig_t *rig = *state;
    buf_t out = {0};
    buf_append(&out, "GET / HTTP/1.1\r\n\r\n", 18);
    expect_end(rig, &out, SUBSCRIBER_BROKEN);
    buf_clear(&out);
    buf_append(&out, zmtp_greeting().data, ZMTP_GREETING_BYTES);
    memcpy(out.data + 12, "CURVE", 5);
    expect_end(rig, &out, SUBSCRIBER_HAS_CURVE);
    buf_clear(&out);
    buf_append(&out, zmtp_greeting().data, ZMTP_GREETING_BYTES);
    zmtp_write_ready(&out, "DEALER");
    expect_end(rig, &out, SUBSCRIBER_BROKEN);
    buf_clear(&out);
    buf_append(&out, zmtp_greeting().data, ZMTP_GREETING_BYTES);
    zmtp_write_command(&out, "SUBSCRIBE", slice_str("a")); /* before READY */
    expect_end(rig, &out, SUBSCRIBER_BROKEN);
    buf_clear(&out);
    static uint8_t large[LIMIT_NATIVE_SUBSCRIPTION_MESSAGE_BYTES + 1];
    buf_append(&out, zmtp_greeting().data, ZMTP_GREETING_BYTES);
    zmtp_write_ready(&out, "SUB");
    zmtp_write_frame(&out, 0, slice(large, sizeof large));
    expect_end(rig, &out, SUBSCRIBER_BROKEN);
    buf_deinit(&out);
    expect_told(rig, "");
}

static void a_mechanism_is_heard_before_ours_is_told(void **state)
{
    rig_t *rig = *state;
    peer_t *peer = dial(rig);
    buf_t out = {0};
    run(rig);
    assert_int_equal(peer->got.len, ZMTP_VERSION_BYTES);
    buf_append(&out, zmtp_greeting().data, ZMTP_VERSION_BYTES);
    assert_int_equal(say(rig, peer, &out), SUBSCRIBER_FINE);
    run(rig);
    assert_int_equal(peer->got.len, ZMTP_GREETING_BYTES);
    buf_deinit(&out);
    hang_up(rig, &peer);
}

static void more_subscriptions_than_there_is_room_for_are_the_end(void **state)
{
    rig_t *rig = *state;
    peer_t *peer = connect_as(rig, 1);
    for (unsigned i = 0; i < 100; i++) {
        uint8_t text = (uint8_t)i;
        say_command(rig, peer, "SUBSCRIBE", slice(&text, 1));
    }
    buf_t out = {0};
    zmtp_write_command(&out, "SUBSCRIBE", slice_str("one more"));
    assert_int_equal(say(rig, peer, &out), SUBSCRIBER_BROKEN);
    buf_deinit(&out);
    hang_up(rig, &peer);
}

static void silence_is_asked_about_and_then_the_end(void **state)
{
    rig_t *rig = *state;
    peer_t *half = dial(rig); /* never says a word */
    peer_t *silent = connect_as(rig, 1);
    peer_t *old = connect_as(rig, 0);
    peer_t *lively = connect_as(rig, 1);
    assert_int_equal(subscribers_deadline(rig->core), rig->now_us + HEARTBEAT_US);
    rig->now_us += HEARTBEAT_US;
    assert_ptr_equal(subscribers_turn(rig->core, rig->now_us), half->subscriber);
    hang_up(rig, &half);
    assert_null(subscribers_turn(rig->core, rig->now_us));
    run(rig);
    expect_got(silent, "!READY,!PING,");
    expect_got(old, "!READY,");
    expect_got(lively, "!READY,!PING,");
    rig->now_us += HEARTBEAT_US;
    say_command(rig, lively, "PONG", slice(NULL, 0));
    assert_null(subscribers_turn(rig->core, rig->now_us));
    rig->now_us += HEARTBEAT_US;
    assert_ptr_equal(subscribers_turn(rig->core, rig->now_us), silent->subscriber);
    hang_up(rig, &silent);
    assert_null(subscribers_turn(rig->core, rig->now_us));
    hang_up(rig, &lively);
    hang_up(rig, &old);
    assert_true(subscribers_deadline(rig->core) == DEADLINE_NONE);
}

static void who_pings_without_reading_gets_few_answers(void **state)
{
    rig_t *rig = *state;
    peer_t *peer = connect_as(rig, 1);
    peer->room = 0;
    for (int i = 0; i < 1000; i++) {
        say_command(rig, peer, "PING", slice("\0\1sixteen octets..", 18));
        run(rig);
    }
    peer->room = SIZE_MAX;
    subscribers_writable(rig->core, peer->subscriber);
    run(rig);
    assert_true(peer->got.len < 500);
    hang_up(rig, &peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_subscribes_gets_what_begins_so, set_up, tear_down),
        cmocka_unit_test_setup_teardown(several_subscriptions_get_a_message_once, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            the_owner_hears_of_every_subscription_and_of_the_last_that_goes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(before_3_1_subscriptions_are_messages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_long_a_subscription_is_told_of_and_matches_nothing,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_comes_in_pieces_is_understood, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_taken_in_pieces_comes_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_command_waits_for_the_end_of_a_message, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(who_takes_nothing_loses_what_is_beyond_its_queue, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(queues_are_bounded_for_all_of_them, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_waits_for_slow_ones_is_bounded_for_all_of_them, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(who_hangs_up_leaves_nothing_waiting, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_subscriber_is_the_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_mechanism_is_heard_before_ours_is_told, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(more_subscriptions_than_there_is_room_for_are_the_end,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(silence_is_asked_about_and_then_the_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_pings_without_reading_gets_few_answers, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
