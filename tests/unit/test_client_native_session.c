/* client_session against scripted servers, and against members that come, go, lose and refuse at random: there every
 * call must end exactly once, no write may reach a server twice, and what the caller is told of it must be true. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/core/prng.h"
#include "client/native/client_session.h"

#include "messages/xalloc.h"
#include "native.pb-c.h"
#include "tests/support/scale.h"

enum { HEARTBEAT_MS = 1000, DIAL_US = 500000, CALLS_MAX = 8 };

typedef struct {
    client_call_t call; /* first: callbacks get it */
    char answer[32];
    char text[256];
    char messages[64];
    unsigned done;
} probe_t;

static void on_message(client_call_t *call, slice_t body, uint64_t now_us)
{
    (void)now_us;
    probe_t *probe = (probe_t *)call;
    strncat(probe->messages, (const char *)body.data, body.len);
}

static void on_done(client_call_t *call, uint64_t now_us)
{
    (void)now_us;
    probe_t *probe = (probe_t *)call;
    assert_int_equal(probe->done, 0);
    probe->done++;
    snprintf(probe->answer, sizeof probe->answer, "%.*s", (int)call->answer.len,
             (const char *)call->answer.data);
    snprintf(probe->text, sizeof probe->text, "%.*s", (int)call->text.len,
             (const char *)call->text.data);
}

static probe_t *new_probe(const char *body, bool is_repeatable, uint64_t deadline_us)
{
    probe_t *probe = xcalloc(1, sizeof *probe);
    probe->call.method = is_repeatable ? "a.B/Read" : "a.B/Write";
    buf_append(&probe->call.body, body, strlen(body));
    probe->call.is_repeatable = is_repeatable;
    probe->call.deadline_us = deadline_us;
    probe->call.on_message = on_message;
    probe->call.on_done = on_done;
    return probe;
}

static void free_probe(probe_t **probe_p)
{
    buf_deinit(&(*probe_p)->call.body);
    free(*probe_p);
    *probe_p = NULL;
}

/* ---- a server's end of a link ---- */

typedef struct {
    client_session_t *client;
    uint64_t now_us;
    uint64_t sent; /* octets, as the protocol counts them */
    native_message_t got;
    uint8_t got_bytes[3][64];
} rig_t;

static rig_t new_rig(size_t endpoints)
{
    client_session_cfg_t cfg = {.endpoints_n = endpoints,
                                .dial_timeout_us = DIAL_US,
                                .waiting_max = 100,
                                .waiting_bytes_max = 1000,
                                .nonce = 5};
    return (rig_t){.client = client_session_new(&cfg), .now_us = 1000000};
}

/* The next message of the client; false: it has none. */
static bool take(rig_t *rig)
{
    slice_t frames[NATIVE_FRAMES_MAX];
    size_t count = 0;
    client_session_step(rig->client, rig->now_us);
    if (!client_session_output(rig->client, rig->now_us, frames, &count)) {
        return false;
    }
    slice_t copies[NATIVE_FRAMES_MAX];
    for (size_t i = 0; i < count; i++) {
        assert_true(frames[i].len <= sizeof rig->got_bytes[i]);
        if (frames[i].len) {
            memcpy(rig->got_bytes[i], frames[i].data, frames[i].len);
        }
        copies[i] = slice(rig->got_bytes[i], frames[i].len);
    }
    assert_int_equal(native_decode(NATIVE_FROM_CLIENT, copies, count, &rig->got), NATIVE_OK);
    return true;
}

static void expect(rig_t *rig, native_command_t command)
{
    assert_true(take(rig));
    assert_int_equal(rig->got.header.command, command);
}

static void say(rig_t *rig, native_command_t command, uint64_t call, uint32_t argument,
                slice_t body)
{
    uint8_t header[NATIVE_HEADER_BYTES];
    native_header_write(
        header, &(native_header_t){
                    .command = command, .call = call, .argument = argument, .octets = rig->sent});
    bool no_body = body.data == NULL;
    slice_t frames[2] = {slice(header, sizeof header), body};
    if (command == NATIVE_REPLY || command == NATIVE_DONE) {
        rig->sent += native_octets(body.len);
    }
    client_session_message(rig->client, client_session_link(rig->client).number, frames,
                           no_body ? 1 : 2, rig->now_us);
}

static void say_welcome(rig_t *rig, uint64_t hello, uint32_t calls_max)
{
    char *urls[] = {"tcp://h:1"};
    Quoral__Welcome message = QUORAL__WELCOME__INIT;
    message.cluster_id = 7;
    message.member_id = 9;
    message.heartbeat_ms = HEARTBEAT_MS;
    message.calls_max = calls_max;
    message.window_bytes = 1000;
    message.progress_ms = 250;
    message.n_publish_urls = 1;
    message.publish_urls = urls;
    message.publish_port = 2382;
    uint8_t bytes[128];
    size_t size = quoral__welcome__pack(&message, bytes);
    rig->sent = 0;
    say(rig, NATIVE_WELCOME, hello, 0, slice(bytes, size));
}

static void bring_up(rig_t *rig)
{
    expect(rig, NATIVE_HELLO);
    say_welcome(rig, rig->got.header.call, CALLS_MAX);
    assert_non_null(client_session_member(rig->client));
}

static probe_t *call(rig_t *rig, const char *body, bool is_repeatable)
{
    probe_t *probe = new_probe(body, is_repeatable, rig->now_us + 10000000);
    client_session_call(rig->client, &probe->call, rig->now_us);
    return probe;
}

static void end(rig_t *rig)
{
    client_session_close(rig->client, rig->now_us);
    client_session_destroy(&rig->client);
}

/* ---- single rules ---- */

static void calls_are_answered_in_any_order(void **state)
{
    (void)state;
    rig_t rig = new_rig(1);
    probe_t *a = call(&rig, "a", false);
    probe_t *b = call(&rig, "b", true);
    bring_up(&rig);
    const client_member_t *member = client_session_member(rig.client);
    assert_int_equal(member->cluster_id, 7);
    assert_int_equal(member->progress_us, 250000);
    assert_string_equal(member->publish_url, "tcp://h:1");
    expect(&rig, NATIVE_CALL);
    uint64_t id_a = rig.got.header.call;
    assert_true(slice_equal(rig.got.body, slice_str("a")));
    assert_true(slice_equal(rig.got.method, slice_str("a.B/Write")));
    assert_int_equal(rig.got.header.argument, 10000);
    expect(&rig, NATIVE_CALL);
    uint64_t id_b = rig.got.header.call;
    assert_false(take(&rig));
    say(&rig, NATIVE_REPLY, id_b, 0, slice_str("1"));
    say(&rig, NATIVE_REPLY, id_b, 0, slice_str("2"));
    say(&rig, NATIVE_DONE, id_b, 0, slice_str("yes"));
    assert_string_equal(b->messages, "12");
    assert_string_equal(b->answer, "yes");
    say(&rig, NATIVE_DONE, id_a, GRPC_INVALID_ARGUMENT, slice_str("no"));
    assert_int_equal(a->call.code, GRPC_INVALID_ARGUMENT);
    assert_string_equal(a->text, "no");
    assert_false(a->call.may_have_happened);
    say(&rig, NATIVE_DONE, id_a, 0, slice_str("again")); /* not open any more */
    free_probe(&a);
    free_probe(&b);
    end(&rig);
}

static void a_lost_link_repeats_reads_and_owns_up_to_writes(void **state)
{
    (void)state;
    rig_t rig = new_rig(2);
    bring_up(&rig);
    probe_t *read = call(&rig, "r", true);
    probe_t *sent = call(&rig, "w", false);
    expect(&rig, NATIVE_CALL);
    expect(&rig, NATIVE_CALL);
    probe_t *waits = call(&rig, "x", false);
    client_session_broken(rig.client, client_session_link(rig.client).number + 1, "old",
                          rig.now_us);
    assert_int_equal(sent->done, 0);
    client_session_broken(rig.client, client_session_link(rig.client).number, "reset", rig.now_us);
    assert_int_equal(sent->done, 1);
    assert_int_equal(sent->call.code, GRPC_UNAVAILABLE);
    assert_true(sent->call.may_have_happened);
    bring_up(&rig);
    assert_int_equal(client_session_link(rig.client).endpoint, 1);
    expect(&rig, NATIVE_CALL);
    assert_true(slice_equal(rig.got.body, slice_str("r")));
    say(&rig, NATIVE_DONE, rig.got.header.call, 0, slice_str(""));
    expect(&rig, NATIVE_CALL);
    assert_true(slice_equal(rig.got.body, slice_str("x")));
    say(&rig, NATIVE_DONE, rig.got.header.call, 0, slice_str(""));
    assert_int_equal(read->done + waits->done, 2);
    assert_int_equal(client_session_counts(rig.client)->unknown, 1);
    free_probe(&read);
    free_probe(&sent);
    free_probe(&waits);
    end(&rig);
}

static void a_deadline_says_whether_it_may_have_happened(void **state)
{
    (void)state;
    rig_t rig = new_rig(1);
    probe_t *never_sent = call(&rig, "a", false);
    expect(&rig, NATIVE_HELLO);
    client_session_broken(rig.client, client_session_link(rig.client).number, "refused",
                          rig.now_us);
    rig.now_us += 10000000;
    client_session_step(rig.client, rig.now_us);
    assert_int_equal(never_sent->call.code, GRPC_DEADLINE_EXCEEDED);
    assert_false(never_sent->call.may_have_happened);
    assert_non_null(strstr(never_sent->text, "refused"));
    bring_up(&rig);
    probe_t *sent = call(&rig, "b", false);
    expect(&rig, NATIVE_CALL);
    uint64_t id = rig.got.header.call;
    for (int i = 0; i < 10; i++) {
        rig.now_us += 1000000;
        say(&rig, NATIVE_PONG, 0, 0, slice(NULL, 0));
    }
    client_session_step(rig.client, rig.now_us);
    assert_int_equal(sent->call.code, GRPC_DEADLINE_EXCEEDED);
    assert_true(sent->call.may_have_happened);
    expect(&rig, NATIVE_CANCEL);
    assert_int_equal(rig.got.header.call, id);
    free_probe(&never_sent);
    free_probe(&sent);
    end(&rig);
}

static void a_deadline_that_moves_is_not_told_and_may_be_put_off(void **state)
{
    (void)state;
    rig_t rig = new_rig(1);
    bring_up(&rig);
    probe_t *probe = new_probe("a", false, rig.now_us + 500000);
    probe->call.moves_deadline = true;
    client_session_call(rig.client, &probe->call, rig.now_us);
    expect(&rig, NATIVE_CALL);
    assert_int_equal(rig.got.header.argument, 0);
    probe->call.deadline_us += 400000;
    rig.now_us += 500000;
    client_session_step(rig.client, rig.now_us);
    assert_int_equal(probe->done, 0);
    rig.now_us += 400000;
    client_session_step(rig.client, rig.now_us);
    assert_int_equal(probe->call.code, GRPC_DEADLINE_EXCEEDED);
    end(&rig);
    free_probe(&probe);
}

static void what_is_received_is_acknowledged(void **state)
{
    (void)state;
    rig_t rig = new_rig(1);
    bring_up(&rig);
    probe_t *probe = call(&rig, "a", true);
    expect(&rig, NATIVE_CALL);
    uint64_t id = rig.got.header.call;
    for (int i = 0; i < 8; i++) { /* 29 octets each; a quarter of the window is 250 */
        say(&rig, NATIVE_REPLY, id, 0, slice_str("x"));
        assert_false(take(&rig));
    }
    say(&rig, NATIVE_REPLY, id, 0, slice_str("x"));
    expect(&rig, NATIVE_PING);
    assert_int_equal(rig.got.header.octets, 9 * 29);
    assert_false(take(&rig));
    end(&rig);
    free_probe(&probe);
}

static void a_server_that_sent_more_than_arrived_is_left(void **state)
{
    (void)state;
    rig_t rig = new_rig(1);
    bring_up(&rig);
    uint64_t link = client_session_link(rig.client).number;
    uint64_t generation = client_session_generation(rig.client);
    rig.sent += 100;
    say(&rig, NATIVE_PING, 0, 0, slice(NULL, 0));
    assert_null(client_session_member(rig.client));
    bring_up(&rig);
    assert_true(client_session_link(rig.client).number > link);
    assert_true(client_session_generation(rig.client) > generation);
    end(&rig);
}

static void heartbeats_go_both_ways(void **state)
{
    (void)state;
    rig_t rig = new_rig(1);
    bring_up(&rig);
    say(&rig, NATIVE_PING, 0, 0, slice(NULL, 0));
    expect(&rig, NATIVE_PONG);
    for (int i = 0; i < 3; i++) {
        assert_false(take(&rig));
        rig.now_us = client_session_deadline(rig.client);
        expect(&rig, NATIVE_PING);
    }
    rig.now_us = client_session_deadline(rig.client);
    client_session_step(rig.client, rig.now_us);
    assert_null(client_session_member(rig.client));
    assert_string_equal(client_session_reason(rig.client),
                        "the server has been silent for three heartbeats");
    end(&rig);
}

static void hello_first_means_a_new_session_with_the_same_member(void **state)
{
    (void)state;
    rig_t rig = new_rig(3);
    bring_up(&rig);
    probe_t *probe = call(&rig, "a", false);
    expect(&rig, NATIVE_CALL);
    rig.sent = 0;
    say(&rig, NATIVE_ERROR, rig.got.header.call, NATIVE_HELLO_FIRST, slice_str("hello first"));
    assert_true(probe->call.may_have_happened);
    bring_up(&rig);
    assert_int_equal(client_session_link(rig.client).endpoint, 0);
    free_probe(&probe);
    end(&rig);
}

static void not_more_calls_are_sent_than_the_server_takes(void **state)
{
    (void)state;
    rig_t rig = new_rig(1);
    bring_up(&rig);
    probe_t *probes[CALLS_MAX + 2];
    uint64_t first = 0;
    for (int i = 0; i < CALLS_MAX + 2; i++) {
        probes[i] = call(&rig, "a", true);
        bool sent = take(&rig);
        assert_int_equal(sent, i < CALLS_MAX);
        first = i == 0 ? rig.got.header.call : first;
    }
    say(&rig, NATIVE_DONE, first, 0, slice_str(""));
    expect(&rig, NATIVE_CALL);
    assert_false(take(&rig));
    end(&rig);
    for (int i = 0; i < CALLS_MAX + 2; i++) {
        assert_int_equal(probes[i]->done, 1);
        free_probe(&probes[i]);
    }
}

static void calls_that_wait_are_bounded(void **state)
{
    (void)state;
    rig_t rig = new_rig(1);
    probe_t *probes[102];
    for (int i = 0; i < 101; i++) {
        probes[i] = call(&rig, "a", false);
        assert_int_equal(probes[i]->done, i == 100);
    }
    assert_int_equal(probes[100]->call.code, GRPC_RESOURCE_EXHAUSTED);
    assert_false(probes[100]->call.may_have_happened);
    end(&rig);
    for (int i = 0; i < 101; i++) {
        assert_int_equal(probes[i]->done, 1);
        free_probe(&probes[i]);
    }
}

static void reads_that_are_refused_are_repeated_and_then_another_member_is_asked(void **state)
{
    (void)state;
    rig_t rig = new_rig(2);
    bring_up(&rig);
    probe_t *write = call(&rig, "w", false);
    expect(&rig, NATIVE_CALL);
    uint64_t id_write = rig.got.header.call;
    probe_t *read = call(&rig, "r", true);
    for (int i = 0; i < 3; i++) {
        expect(&rig, NATIVE_CALL);
        say(&rig, NATIVE_DONE, rig.got.header.call, GRPC_UNAVAILABLE,
            slice_str("etcdserver: no leader"));
        assert_int_equal(read->done, 0);
        assert_false(take(&rig));
        rig.now_us = client_session_deadline(rig.client);
    }
    /* The write is waited for. */
    assert_non_null(client_session_member(rig.client));
    say(&rig, NATIVE_DONE, id_write, GRPC_UNAVAILABLE, slice_str("etcdserver: no leader"));
    assert_false(write->call.may_have_happened);
    bring_up(&rig);
    assert_int_equal(client_session_link(rig.client).endpoint, 1);
    rig.now_us += 500000;
    expect(&rig, NATIVE_CALL);
    say(&rig, NATIVE_DONE, rig.got.header.call, 0, slice_str("ok"));
    assert_string_equal(read->answer, "ok");
    free_probe(&write);
    free_probe(&read);
    end(&rig);
}

static void endpoints_are_tried_in_turn_with_pauses_between_rounds(void **state)
{
    (void)state;
    rig_t rig = new_rig(2);
    uint64_t pause_us = 0;
    for (int round = 0; round < 8; round++) {
        for (size_t endpoint = 0; endpoint < 2; endpoint++) {
            expect(&rig, NATIVE_HELLO);
            assert_int_equal(client_session_link(rig.client).endpoint, endpoint);
            rig.now_us += DIAL_US;
            client_session_step(rig.client, rig.now_us);
        }
        assert_int_equal(client_session_link(rig.client).number, 0);
        uint64_t next_us = client_session_deadline(rig.client);
        assert_true(next_us - rig.now_us >= pause_us && next_us - rig.now_us <= 2000000);
        pause_us = next_us - rig.now_us;
        rig.now_us = next_us;
    }
    end(&rig);
}

static void nonsense_is_no_member(void **state)
{
    (void)state;
    rig_t rig = new_rig(1);
    expect(&rig, NATIVE_HELLO);
    slice_t junk[2] = {slice_str("HTTP/1.1 400"), slice_str("x")};
    client_session_message(rig.client, client_session_link(rig.client).number, junk, 2, rig.now_us);
    assert_int_equal(client_session_link(rig.client).number, 0);
    rig.now_us += 3000000;
    expect(&rig, NATIVE_HELLO);
    rig.sent = 0;
    say(&rig, NATIVE_WELCOME, rig.got.header.call, 0, slice_str("\xff\xff")); /* no protobuf */
    assert_null(client_session_member(rig.client));
    rig.now_us += 3000000;
    expect(&rig, NATIVE_HELLO);
    say_welcome(&rig, rig.got.header.call - 1, CALLS_MAX); /* of an earlier HELLO */
    assert_null(client_session_member(rig.client));
    end(&rig);
}

/* ---- everything at once ---- */

enum { SEEDS = SCALED(300), STEPS = 3000, NUMBERS = 4096 };

typedef struct {
    rig_t rig;
    prng_t prng;
    probe_t *open[64];
    size_t open_n;
    unsigned written[NUMBERS]; /* how often a server carried the write out */
    unsigned number;           /* of calls made */
    uint64_t ids[64];          /* calls at the server */
    char bodies[64][16];
    bool is_write[64];
    size_t ids_n;
    uint64_t link;
    unsigned outcomes[4]; /* done, failed, maybe, maybe and written */
} chaos_t;

static void serve(chaos_t *c)
{
    while (take(&c->rig)) {
        const native_message_t *got = &c->rig.got;
        if (got->header.command == NATIVE_HELLO) {
            if (prng_below(&c->prng, 4)) {
                c->ids_n = 0;
                say_welcome(&c->rig, got->header.call, 20);
            }
        } else if (got->header.command == NATIVE_CALL) {
            size_t at = c->ids_n++;
            assert_true(at < 64);
            c->ids[at] = got->header.call;
            c->is_write[at] = slice_equal(got->method, slice_str("a.B/Write"));
            snprintf(c->bodies[at], sizeof c->bodies[at], "%.*s", (int)got->body.len,
                     (const char *)got->body.data);
        } else if (got->header.command == NATIVE_PING && prng_below(&c->prng, 10)) {
            say(&c->rig, NATIVE_PONG, 0, 0, slice(NULL, 0));
        }
    }
}

/* One call at the server: carried out or not, and answered truly. */
static void answer_one(chaos_t *c)
{
    if (c->ids_n == 0 || !client_session_member(c->rig.client)) {
        return;
    }
    size_t at = prng_below(&c->prng, c->ids_n);
    uint64_t id = c->ids[at];
    unsigned number = (unsigned)strtoul(c->bodies[at], NULL, 10);
    bool is_write = c->is_write[at];
    c->ids_n--;
    c->ids[at] = c->ids[c->ids_n];
    c->is_write[at] = c->is_write[c->ids_n];
    memcpy(c->bodies[at], c->bodies[c->ids_n], sizeof c->bodies[at]);
    uint64_t dice = prng_below(&c->prng, 10);
    if (dice < 6) {
        c->written[number] += is_write;
        say(&c->rig, NATIVE_DONE, id, 0, slice_str("ok"));
    } else if (dice < 8) {
        say(&c->rig, NATIVE_DONE, id, GRPC_UNAVAILABLE, slice_str("etcdserver: no leader"));
    } else {
        c->written[number] += is_write && dice == 8;
        say(&c->rig, NATIVE_DONE, id, GRPC_UNAVAILABLE, slice_str("etcdserver: request timed out"));
    }
}

/* Servers may carry out what they have got, even when nobody hears of it. */
static void lose_link(chaos_t *c)
{
    for (size_t i = 0; i < c->ids_n; i++) {
        if (c->is_write[i] && prng_below(&c->prng, 2)) {
            c->written[strtoul(c->bodies[i], NULL, 10)]++;
        }
    }
    c->ids_n = 0;
}

static void reap(chaos_t *c)
{
    for (size_t i = 0; i < c->open_n;) {
        probe_t *probe = c->open[i];
        if (!probe->done) {
            i++;
            continue;
        }
        unsigned number = (unsigned)strtoul((const char *)probe->call.body.data, NULL, 10);
        unsigned written = c->written[number];
        assert_true(written <= 1);
        if (!probe->call.is_repeatable) {
            if (probe->call.code == GRPC_OK) {
                assert_int_equal(written, 1);
                c->outcomes[0]++;
            } else if (!probe->call.may_have_happened) {
                assert_int_equal(written, 0);
                c->outcomes[1]++;
            } else {
                c->outcomes[2 + written]++;
            }
        }
        free_probe(&c->open[i]);
        c->open[i] = c->open[--c->open_n];
    }
}

static void chaos_step(chaos_t *c)
{
    uint64_t dice = prng_below(&c->prng, 100);
    client_session_t *client = c->rig.client;
    if (dice < 30 && c->open_n < 60 && c->number + 1 < NUMBERS) {
        char body[16];
        snprintf(body, sizeof body, "%u ", ++c->number);
        probe_t *probe =
            new_probe(body, prng_below(&c->prng, 2), c->rig.now_us + prng_below(&c->prng, 5000000));
        probe->call.on_message = NULL;
        c->open[c->open_n++] = probe;
        client_session_call(client, &probe->call, c->rig.now_us);
    } else if (dice < 60) {
        serve(c);
    } else if (dice < 85) {
        answer_one(c);
    } else if (dice < 92) {
        c->rig.now_us += prng_below(&c->prng, 400000);
    } else if (dice < 94 && c->open_n > 0) {
        client_session_cancel(client, &c->open[prng_below(&c->prng, c->open_n)]->call,
                              c->rig.now_us);
    } else if (dice < 95) {
        client_session_broken(client, client_session_link(client).number, "broken", c->rig.now_us);
    } else if (dice < 96) {
        client_session_move(client, c->rig.now_us);
    } else if (dice < 97 && client_session_member(client)) {
        say(&c->rig, NATIVE_ERROR, 0, NATIVE_HELLO_FIRST, slice_str("hello first"));
    }
    client_session_step(client, c->rig.now_us);
    if (client_session_link(client).number != c->link) {
        lose_link(c);
        c->link = client_session_link(client).number;
    }
    reap(c);
}

static void nothing_is_written_twice_and_everybody_hears_the_truth(void **state)
{
    (void)state;
    unsigned outcomes[4] = {0};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        chaos_t *c = xcalloc(1, sizeof *c);
        c->rig = new_rig(1 + seed % 3);
        c->prng = (prng_t){seed};
        for (int i = 0; i < STEPS; i++) {
            chaos_step(c);
        }
        lose_link(c);
        client_session_close(c->rig.client, c->rig.now_us);
        reap(c);
        assert_int_equal(c->open_n, 0);
        client_session_destroy(&c->rig.client);
        for (int i = 0; i < 4; i++) {
            outcomes[i] += c->outcomes[i];
        }
        free(c);
    }
    print_message("writes done %u, not done %u, unknown %u, of which done %u\n", outcomes[0],
                  outcomes[1], outcomes[2] + outcomes[3], outcomes[3]);
    assert_true(outcomes[0] > 10 * SEEDS && outcomes[1] > SEEDS && outcomes[2] > SEEDS &&
                outcomes[3] > SEEDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_are_answered_in_any_order),
        cmocka_unit_test(a_lost_link_repeats_reads_and_owns_up_to_writes),
        cmocka_unit_test(a_deadline_says_whether_it_may_have_happened),
        cmocka_unit_test(a_deadline_that_moves_is_not_told_and_may_be_put_off),
        cmocka_unit_test(what_is_received_is_acknowledged),
        cmocka_unit_test(a_server_that_sent_more_than_arrived_is_left),
        cmocka_unit_test(heartbeats_go_both_ways),
        cmocka_unit_test(hello_first_means_a_new_session_with_the_same_member),
        cmocka_unit_test(not_more_calls_are_sent_than_the_server_takes),
        cmocka_unit_test(calls_that_wait_are_bounded),
        cmocka_unit_test(reads_that_are_refused_are_repeated_and_then_another_member_is_asked),
        cmocka_unit_test(endpoints_are_tried_in_turn_with_pauses_between_rounds),
        cmocka_unit_test(nonsense_is_no_member),
        cmocka_unit_test(nothing_is_written_twice_and_everybody_hears_the_truth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
