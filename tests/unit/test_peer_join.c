/* Asking peer URLs which cluster they are: the best answer counts, one that is not good enough yet is asked for
 * again, different clusters are an error, and silence ends in time. The members asked are threads of the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <czmq.h>
#include <stdlib.h>

#include "actors/peer/peer_join_shell.h"
#include "actors/peer/peer_socket_shell.h"
#include "actors/runtime/clock.h"
#include "messages/limits.h"
#include "messages/peer_codec.h"
#include "messages/xalloc.h"
#include "tests/support/names.h"
#include "tests/support/peer_sample.h"

enum { LONG_US = 20000000 };

/* What a member says, at first and after it has been asked `later` times. */
typedef struct {
    uint64_t cluster_id;
    uint64_t index[2];
    bool is_committed[2];
    unsigned later;
    bool babbles; /* sends what is no answer, too */
} script_t;

typedef struct {
    script_t script;
    zactor_t *actor;
    char url[64];
} member_t;

static bytes_t *answer_of(const script_t *script, unsigned asked)
{
    unsigned now = script->later && asked > script->later;
    const peer_header_t header = {.cluster_id = script->cluster_id, .from = 1};
    peer_msg_t *msg = peer_msg_new(PEER_CLUSTER, 0);
    msg->u.cluster.index = script->index[now];
    msg->u.cluster.is_committed = script->is_committed[now];
    msg->u.cluster.configuration = peer_sample_members(2, false);
    msg->u.cluster.published = bytes_new("\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x80", 16);
    bytes_t *frame = peer_frame_encode(&header, msg);
    peer_msg_free(&msg);
    return frame;
}

static void play(zsock_t *pipe, void *argument)
{
    member_t *self = argument;
    zsock_t *router = peer_socket_new(ZMQ_ROUTER);
    peer_socket_place(router, 0); /* would be another process, whatever this one waits for */
    int port = zsock_bind(router, "tcp://127.0.0.1:*");
    (void)snprintf(self->url, sizeof self->url, "http://127.0.0.1:%d", port);
    zpoller_t *poller = zpoller_new(pipe, router, NULL);
    unsigned asked = 0;
    zsock_signal(pipe, 0);
    while (zpoller_wait(poller, -1) == router) {
        zmsg_t *parts = zmsg_recv(router);
        zframe_t *route = zmsg_pop(parts);
        zmsg_destroy(&parts);
        if (self->script.babbles) {
            zframe_send(&route, router, ZFRAME_MORE | ZFRAME_REUSE);
            zstr_send(router, "what?");
        }
        bytes_t *frame = answer_of(&self->script, ++asked);
        slice_t bytes = bytes_slice(frame);
        zframe_send(&route, router, ZFRAME_MORE);
        zmq_send(zsock_resolve(router), bytes.data, bytes.len, 0);
        bytes_unref(&frame);
    }
    zpoller_destroy(&poller);
    zsock_destroy(&router);
}

static void begin(member_t *self, script_t script)
{
    self->script = script;
    self->actor = zactor_new(play, self);
    assert_non_null(self->actor);
}

static void end(member_t *self)
{
    zactor_destroy(&self->actor);
}

/* A URL nobody listens on. */
static const char *closed_url(void)
{
    static char url[64];
    zsock_t *socket = zsock_new(ZMQ_ROUTER);
    int port = zsock_bind(socket, "tcp://127.0.0.1:*");
    zsock_unbind(socket, "tcp://127.0.0.1:%d", port);
    zsock_destroy(&socket);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%d", port);
    return url;
}

static bool is_committed(const void *context, const join_answer_t *answer)
{
    (void)context;
    return answer->is_committed;
}

static bool has_answered(const void *context, const join_answer_t *answer)
{
    (void)context;
    return answer->cluster_id != 0;
}

static void one_that_answers_is_enough(void **state)
{
    (void)state;
    static member_t member;
    begin(&member,
          (script_t){.cluster_id = 77, .index = {5}, .is_committed = {true}, .babbles = true});
    const char *const urls[] = {closed_url(), member.url, "https://127.0.0.1:1"};
    const join_question_t question = {
        .urls = urls, .count = 3, .timeout_us = LONG_US, .is_enough = is_committed};
    join_answer_t answer;
    uint64_t start_us = clock_monotonic_us();
    assert_null(peer_join_ask(&question, &answer));
    assert_true(clock_monotonic_us() - start_us < LONG_US / 2);
    assert_int_equal(answer.cluster_id, 77);
    assert_int_equal(answer.index, 5);
    bytes_t *members = peer_sample_members(2, false);
    assert_true(slice_equal(bytes_slice(answer.configuration), bytes_slice(members)));
    assert_true(join_answer_has_published(&answer, 2));
    assert_true(join_answer_has_published(&answer, 1ull << 63));
    assert_false(join_answer_has_published(&answer, 1));
    bytes_unref(&members);
    join_answer_deinit(&answer);
    end(&member);
}

static void what_is_not_enough_is_asked_for_again(void **state)
{
    (void)state;
    static member_t member;
    begin(&member,
          (script_t){.cluster_id = 77, .index = {5, 6}, .is_committed = {false, true}, .later = 3});
    const char *const urls[] = {member.url};
    const join_question_t question = {
        .urls = urls, .count = 1, .timeout_us = LONG_US, .is_enough = is_committed};
    join_answer_t answer;
    assert_null(peer_join_ask(&question, &answer));
    assert_true(answer.is_committed);
    assert_int_equal(answer.index, 6);
    join_answer_deinit(&answer);
    end(&member);
}

static void when_the_time_is_up_the_newest_answer_counts(void **state)
{
    (void)state;
    static member_t members[3];
    const script_t scripts[] = {{.cluster_id = 7, .index = {9}, .is_committed = {false}},
                                {.cluster_id = 7, .index = {4}, .is_committed = {true}},
                                {.cluster_id = 7, .index = {6}, .is_committed = {true}}};
    for (size_t i = 0; i < 3; i++) {
        begin(&members[i], scripts[i]);
    }
    const char *const urls[] = {members[0].url, members[1].url, members[2].url};
    const join_question_t question = {.urls = urls, .count = 3, .timeout_us = LONG_US};
    join_answer_t answer;
    assert_null(peer_join_ask(&question, &answer));
    assert_true(answer.is_committed);
    assert_int_equal(answer.index, 6);
    join_answer_deinit(&answer);
    for (size_t i = 0; i < 3; i++) {
        end(&members[i]);
    }
}

static void different_clusters_are_an_error(void **state)
{
    (void)state;
    static member_t members[2];
    begin(&members[0], (script_t){.cluster_id = 0xa, .index = {5}});
    begin(&members[1], (script_t){.cluster_id = 0xb, .index = {5}});
    const char *const urls[] = {members[0].url, members[1].url};
    const join_question_t question = {.urls = urls, .count = 2, .timeout_us = LONG_US};
    join_answer_t answer;
    char *error = peer_join_ask(&question, &answer);
    char *expected = xasprintf("the peer URLs belong to different clusters: %s to a, %s to b",
                               members[0].url, members[1].url);
    assert_string_equal(error, expected);
    free(expected);
    free(error);
    join_answer_deinit(&answer);
    end(&members[0]);
    end(&members[1]);
}

static void assert_nobody(const join_question_t *question)
{
    join_answer_t answer;
    char *error = peer_join_ask(question, &answer);
    assert_string_equal(error, "could not retrieve cluster information from the given URLs");
    free(error);
    join_answer_deinit(&answer);
}

static void silence_ends_in_time(void **state)
{
    (void)state;
    const char *const urls[] = {closed_url(), "http://nobody.test:1"};
    assert_nobody(&(join_question_t){.urls = urls, .count = 2, .timeout_us = 300000});
    assert_nobody(&(join_question_t){.urls = urls, .count = 0, .timeout_us = LONG_US});
    const char *const bad[] = {"https://127.0.0.1:1", "http://", "nonsense"};
    uint64_t start_us = clock_monotonic_us();
    assert_nobody(&(join_question_t){.urls = bad, .count = 3, .timeout_us = LONG_US});
    /* In a hurry, a refused connection is an answer, too. */
    assert_nobody(
        &(join_question_t){.urls = urls, .count = 1, .timeout_us = LONG_US, .is_hasty = true});
    assert_true(clock_monotonic_us() - start_us < LONG_US / 2);
}

/* ZeroMQ tells of the end of an attempt on the thread that makes all others: nothing may keep it there. */
static void whoever_stops_asking_leaves_nothing_behind(void **state)
{
    (void)state;
    enum { ROUNDS = 30, URLS = 8 };
    const char *urls[URLS];
    for (size_t i = 0; i < URLS; i++) {
        urls[i] = closed_url();
    }
    for (uint64_t round = 0; round < ROUNDS;
         round++) { /* attempts end before, while and after it asks */
        assert_nobody(&(join_question_t){
            .urls = urls, .count = URLS, .timeout_us = round * 100, .is_hasty = round % 2 == 0});
    }
    static member_t members[LIMIT_PEER_IO_THREADS];
    const char *there[LIMIT_PEER_IO_THREADS];
    for (size_t i = 0; i < LIMIT_PEER_IO_THREADS; i++) {
        begin(&members[i], (script_t){.cluster_id = 77, .index = {5}});
        there[i] = members[i].url;
    }
    const join_question_t question = {
        .urls = there, .count = LIMIT_PEER_IO_THREADS, .timeout_us = LONG_US};
    join_answer_t answer;
    uint64_t start_us = clock_monotonic_us();
    assert_null(peer_join_ask(&question, &answer)); /* it waits for all */
    assert_true(clock_monotonic_us() - start_us < LONG_US / 2);
    join_answer_deinit(&answer);
    for (size_t i = 0; i < LIMIT_PEER_IO_THREADS; i++) {
        end(&members[i]);
    }
}

/* The thread that looks the name up waits for a name server. The members that can be reached are asked by others, now
 * and in every question that follows. */
static void a_name_without_an_answer_keeps_nobody_waiting(void **state)
{
    (void)state;
    static member_t members[3];
    const char *urls[4] = {NULL};
    for (size_t i = 0; i < 3; i++) {
        begin(&members[i], (script_t){.cluster_id = 77, .index = {5}});
        urls[i == 0 ? 0 : i + 1] = members[i].url;
    }
    urls[1] = "http://stuck.test:1";
    const join_question_t question = {
        .urls = urls, .count = 3, .timeout_us = LONG_US, .is_enough = has_answered};
    const join_question_t next = {
        .urls = (const char *const[]){urls[3]}, .count = 1, .timeout_us = LONG_US};
    join_answer_t answer;
    while (!names_asked()) {
        assert_null(peer_join_ask(&question, &answer));
        join_answer_deinit(&answer);
    }
    assert_null(peer_join_ask(&next, &answer));
    join_answer_deinit(&answer);
    for (size_t i = 0; i < 3; i++) {
        end(&members[i]);
    }
    names_release();
}

static void in_a_hurry_it_still_hears_who_is_there(void **state)
{
    (void)state;
    static member_t member;
    begin(&member, (script_t){.cluster_id = 77, .index = {5}});
    const char *const urls[] = {closed_url(), member.url};
    const join_question_t question = {
        .urls = urls, .count = 2, .timeout_us = LONG_US, .is_hasty = true};
    join_answer_t answer;
    uint64_t start_us = clock_monotonic_us();
    assert_null(peer_join_ask(&question, &answer));
    assert_int_equal(answer.cluster_id, 77);
    assert_true(clock_monotonic_us() - start_us < LONG_US / 2);
    join_answer_deinit(&answer);
    end(&member);
}

int main(void)
{
    zsys_handler_set(NULL);
    zsys_set_io_threads(LIMIT_PEER_IO_THREADS); /* as the server */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_answers_is_enough),
        cmocka_unit_test(what_is_not_enough_is_asked_for_again),
        cmocka_unit_test(when_the_time_is_up_the_newest_answer_counts),
        cmocka_unit_test(different_clusters_are_an_error),
        cmocka_unit_test(silence_ends_in_time),
        cmocka_unit_test(in_a_hurry_it_still_hears_who_is_there),
        cmocka_unit_test(whoever_stops_asking_leaves_nothing_behind),
        cmocka_unit_test(a_name_without_an_answer_keeps_nobody_waiting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
