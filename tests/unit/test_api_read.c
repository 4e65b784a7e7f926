/* api, reads: when a read may run, that what it sees is one consistent state, and that long reads
 * are cut into slices. The other actors are played by hand or by the rig. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "messages/limits.h"
#include "tests/support/api_rig.h"

#define RANGE_TYPE  &etcdserverpb__range_response__descriptor
#define STREAM_TYPE &etcdserverpb__range_stream_response__descriptor

static int setup(void **state)
{
    *state = api_rig_new_ready();
    return 0;
}

static int teardown(void **state)
{
    api_rig_free((api_rig_t **)state);
    return 0;
}

static Etcdserverpb__RangeRequest range_of(const char *key, const char *end)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key = rig_text(key);
    if (end) {
        request.range_end = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)end,
                                                  .len = end[0] ? strlen(end) : 1};
    }
    return request;
}

static uint64_t get(api_rig_t *rig, const char *key, const char *end, bool serializable)
{
    Etcdserverpb__RangeRequest request = range_of(key, end);
    request.serializable = serializable;
    return api_rig_unary(rig, METHOD_RANGE, &request);
}

static Etcdserverpb__RangeResponse *answer_of(api_rig_t *rig,
                                              const Etcdserverpb__RangeRequest *request)
{
    uint64_t call = api_rig_begin(rig, METHOD_RANGE);
    api_rig_send(rig, call, request);
    api_rig_serve(rig);
    return api_rig_expect_answer(rig, call, RANGE_TYPE);
}

static msg_t *expect_read(api_rig_t *rig)
{
    return core_test_expect(&rig->core, ACTOR_REPLICATOR, MSG_READ);
}

static void read_at(api_rig_t *rig, uint64_t id, uint64_t index)
{
    msg_t *msg = msg_new(MSG_READ_AT);
    msg->u.read = (msg_read_t){.read_id = id, .index = index};
    core_test_send(&rig->core, ACTOR_REPLICATOR, &msg);
}

static void read_fail(api_rig_t *rig, uint64_t id, api_error_t error)
{
    msg_t *msg = msg_new(MSG_READ_FAIL);
    msg->u.read = (msg_read_t){.read_id = id, .error = error};
    core_test_send(&rig->core, ACTOR_REPLICATOR, &msg);
}

static void put_many(api_rig_t *rig, int count)
{
    for (int i = 0; i < count; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%06d", i);
        api_rig_put(rig, key, "v");
    }
}

/* ---- when ---- */

static void linearizable_reads_share_one_read_index(void **state)
{
    api_rig_t *rig = *state;
    api_rig_put(rig, "a", "1");
    Etcdserverpb__RangeRequest request = range_of("a", NULL);
    uint64_t first = api_rig_begin(rig, METHOD_RANGE);
    api_rig_send(rig, first, &request);
    uint64_t second = api_rig_begin(rig, METHOD_RANGE);
    api_rig_send(rig, second, &request);
    api_rig_turn(rig);
    msg_t *read = expect_read(rig);
    core_test_expect_nothing(&rig->core);
    read_at(rig, read->u.read.read_id, rig->index);
    api_rig_turn(rig);
    for (uint64_t call = first; call <= second; call++) {
        Etcdserverpb__RangeResponse *answer = api_rig_expect_answer(rig, call, RANGE_TYPE);
        api_rig_expect_header(answer->header, 2);
        assert_int_equal(answer->count, 1);
        assert_memory_equal(answer->kvs[0]->value.data, "1", 1);
        api_rig_free_message(answer);
    }
    msg_free(&read);
}

static void a_read_never_joins_a_round_that_is_under_way(void **state)
{
    api_rig_t *rig = *state;
    uint64_t first = get(rig, "a", NULL, false);
    msg_t *one = expect_read(rig);
    api_rig_put(rig, "a", "new"); /* acknowledged before the second read begins */
    uint64_t second = get(rig, "a", NULL, false);
    msg_t *two = expect_read(rig);
    assert_true(two->u.read.read_id != one->u.read.read_id);
    read_at(rig, one->u.read.read_id, 1);
    api_rig_turn(rig);
    api_rig_free_message(api_rig_expect_answer(rig, first, RANGE_TYPE));
    api_rig_expect_open(rig, second);
    read_at(rig, two->u.read.read_id, rig->index);
    api_rig_turn(rig);
    Etcdserverpb__RangeResponse *answer = api_rig_expect_answer(rig, second, RANGE_TYPE);
    assert_int_equal(answer->count, 1);
    api_rig_free_message(answer);
    msg_free(&one);
    msg_free(&two);
}

static void rounds_in_flight_are_bounded(void **state)
{
    api_rig_t *rig = *state;
    msg_t *rounds[LIMIT_READ_ROUNDS];
    for (size_t i = 0; i < LIMIT_READ_ROUNDS; i++) {
        get(rig, "a", NULL, false);
        rounds[i] = expect_read(rig);
    }
    get(rig, "a", NULL, false);
    uint64_t last = get(rig, "a", NULL, false);
    core_test_expect_nothing(&rig->core);
    read_fail(rig, rounds[0]->u.read.read_id, API_TIMEOUT);
    api_rig_turn(rig);
    msg_t *shared = expect_read(rig); /* both of them */
    read_at(rig, shared->u.read.read_id, 0);
    api_rig_turn(rig);
    api_rig_free_message(api_rig_expect_answer(rig, last, RANGE_TYPE));
    api_rig_free_message(api_rig_expect_answer(rig, last - 1, RANGE_TYPE));
    msg_free(&shared);
    for (size_t i = 0; i < LIMIT_READ_ROUNDS; i++) {
        msg_free(&rounds[i]);
    }
}

static void a_read_waits_until_its_index_is_applied(void **state)
{
    api_rig_t *rig = *state;
    uint64_t call = get(rig, "a", NULL, false);
    msg_t *read = expect_read(rig);
    read_at(rig, read->u.read.read_id, rig->index + 2);
    api_rig_turn(rig);
    api_rig_expect_open(rig, call);
    api_rig_put(rig, "a", "1");
    api_rig_turn(rig);
    api_rig_expect_open(rig, call);
    api_rig_put(rig, "a", "2");
    api_rig_turn(rig);
    Etcdserverpb__RangeResponse *answer = api_rig_expect_answer(rig, call, RANGE_TYPE);
    assert_memory_equal(answer->kvs[0]->value.data, "2", 1);
    api_rig_expect_header(answer->header, 3);
    api_rig_free_message(answer);
    msg_free(&read);
}

static void serializable_reads_ask_nobody(void **state)
{
    api_rig_t *rig = *state;
    api_rig_role(rig, ROLE_FOLLOWER, 0);
    api_rig_put(rig, "a", "1");
    uint64_t call = get(rig, "a", NULL, true);
    core_test_expect_nothing(&rig->core);
    Etcdserverpb__RangeResponse *answer = api_rig_expect_answer(rig, call, RANGE_TYPE);
    assert_int_equal(answer->count, 1);
    api_rig_free_message(answer);
}

static void a_client_reads_its_own_write(void **state)
{
    api_rig_t *rig = *state;
    for (int i = 0; i < 3; i++) {
        char value[] = {(char)('0' + i), 0};
        Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
        request.key = rig_text("a");
        request.value = rig_text(value);
        uint64_t write = api_rig_begin(rig, METHOD_PUT);
        api_rig_send(rig, write, &request);
        api_rig_serve(rig);
        api_rig_free_message(
            api_rig_expect_answer(rig, write, &etcdserverpb__put_response__descriptor));
        uint64_t call = get(rig, "a", NULL, true);
        Etcdserverpb__RangeResponse *answer = api_rig_expect_answer(rig, call, RANGE_TYPE);
        assert_memory_equal(answer->kvs[0]->value.data, value, 1);
        api_rig_free_message(answer);
    }
}

static void nothing_is_served_before_the_store_is_restored(void **state)
{
    (void)state;
    api_rig_t *rig = api_rig_new(NULL);
    uint64_t serializable = get(rig, "a", NULL, true);
    uint64_t linearizable = get(rig, "a", NULL, false);
    core_test_expect_nothing(&rig->core);
    api_rig_role(rig, ROLE_LEADER, RIG_MEMBER_ID);
    api_rig_turn(rig);
    msg_t *read = expect_read(rig);
    read_at(rig, read->u.read.read_id, 0);
    api_rig_turn(rig);
    api_rig_expect_open(rig, serializable);
    api_rig_expect_open(rig, linearizable);
    assert_false(api_status(rig->api).serving);
    api_rig_restored(rig);
    api_rig_turn(rig);
    api_rig_free_message(api_rig_expect_answer(rig, serializable, RANGE_TYPE));
    api_rig_free_message(api_rig_expect_answer(rig, linearizable, RANGE_TYPE));
    assert_true(api_status(rig->api).serving);
    msg_free(&read);
    api_rig_free(&rig);
}

static void a_failed_read_index_fails_its_reads(void **state)
{
    api_rig_t *rig = *state;
    static const struct {
        api_error_t told, seen;
    } cases[] = {{API_NONE, API_LEADER_CHANGED},
                 {API_TOO_MANY_REQUESTS, API_TOO_MANY_REQUESTS},
                 {API_TIMEOUT, API_TIMEOUT}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t call = get(rig, "a", NULL, false);
        msg_t *read = expect_read(rig);
        read_fail(rig, read->u.read.read_id, cases[i].told);
        api_rig_expect_error(rig, call, cases[i].seen);
        msg_free(&read);
    }
}

/* To read again does no harm, so a change of leaders is no client's business. */
static void reads_get_another_index_from_the_next_leader(void **state)
{
    api_rig_t *rig = *state;
    static const api_error_t told[] = {API_LEADER_CHANGED, API_NO_LEADER, API_NOT_LEADER};
    uint64_t call = get(rig, "a", NULL, false);
    uint64_t last_id = 0;
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        msg_t *read = expect_read(rig);
        assert_true(read->u.read.read_id > last_id); /* a late answer is none to the new question */
        last_id = read->u.read.read_id;
        msg_free(&read);
        read_fail(rig, last_id, told[i]);
        api_rig_turn(rig);
        core_test_expect_nothing(&rig->core);
        api_rig_expect_open(rig, call);
        if (i == 0) { /* at once when a leader is known, */
            api_rig_role(rig, ROLE_FOLLOWER, 99);
        } else { /* else a little later: this one may not have been heard of everywhere */
            uint64_t due = api_ops.deadline(rig->api);
            assert_true(due > rig->core.now_us && due <= rig->core.now_us + 100000);
            rig->core.now_us = due;
        }
        api_rig_turn(rig);
    }
    msg_t *read = expect_read(rig);
    read_at(rig, last_id, 0);
    api_rig_turn(rig);
    api_rig_expect_open(rig, call);
    read_at(rig, read->u.read.read_id, rig->index);
    api_rig_turn(rig);
    api_rig_free_message(api_rig_expect_answer(rig, call, RANGE_TYPE));
    msg_free(&read);
}

static void reads_time_out_and_free_their_round(void **state)
{
    api_rig_t *rig = *state;
    for (size_t i = 0; i < 2 * LIMIT_READ_ROUNDS; i++) { /* more than there are rounds */
        uint64_t call = get(rig, "a", NULL, false);
        msg_t *read = expect_read(rig);
        rig->core.now_us += 7000000;
        api_rig_turn(rig);
        api_rig_expect_error(rig, call, API_TIMEOUT);
        read_at(rig, read->u.read.read_id, 0); /* too late */
        msg_free(&read);
    }
    api_rig_turn(rig);
}

static void a_replaced_store_is_read_from_then_on(void **state)
{
    api_rig_t *rig = *state;
    api_rig_put(rig, "old", "1");
    api_rig_free_message(api_rig_expect_answer(rig, get(rig, "old", NULL, true), RANGE_TYPE));
    api_rig_t *other = api_rig_new(NULL);
    api_rig_put(other, "new", "1");
    api_rig_put(other, "new", "2");
    other->index = rig->index + 5;
    msg_t *msg = msg_new(MSG_RESTORED);
    msg->u.restored.store = shared_ref(other->store);
    msg->u.restored.index = other->index;
    msg->u.restored.revision = 3;
    core_test_send(&rig->core, ACTOR_APPLIER, &msg);
    Etcdserverpb__RangeResponse *answer =
        api_rig_expect_answer(rig, get(rig, "new", NULL, true), RANGE_TYPE);
    assert_int_equal(answer->count, 1);
    api_rig_expect_header(answer->header, 3);
    api_rig_free_message(answer);
    api_rig_free(&other); /* api still holds the new store */
    api_rig_free_message(api_rig_expect_answer(rig, get(rig, "new", NULL, true), RANGE_TYPE));
}

/* ---- what ---- */

static void ranges_are_validated_in_etcds_order(void **state)
{
    api_rig_t *rig = *state;
    static const struct {
        const char *key;
        int order, target;
        api_error_t error;
    } cases[] = {
        {"", 9, 9, API_EMPTY_KEY},
        {"k", 3, 0, API_INVALID_SORT_OPTION},
        {"k", -1, 0, API_INVALID_SORT_OPTION},
        {"k", 0, 5, API_INVALID_SORT_OPTION},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Etcdserverpb__RangeRequest request = range_of(cases[i].key, NULL);
        request.sort_order = (Etcdserverpb__RangeRequest__SortOrder)cases[i].order;
        request.sort_target = (Etcdserverpb__RangeRequest__SortTarget)cases[i].target;
        uint64_t call = api_rig_unary(rig, METHOD_RANGE, &request);
        api_rig_expect_error(rig, call, cases[i].error);
    }
    core_test_expect_nothing(&rig->core);
}

static void a_single_key_with_every_kind_of_option(void **state)
{
    api_rig_t *rig = *state;
    api_rig_put(rig, "a", "one"); /* revision 2 */
    api_rig_put(rig, "a", "two"); /* revision 3 */
    Etcdserverpb__RangeRequest request = range_of("a", NULL);
    Etcdserverpb__RangeResponse *answer = answer_of(rig, &request);
    assert_int_equal(answer->n_kvs, 1);
    assert_int_equal(answer->count, 1);
    assert_false(answer->more);
    assert_int_equal(answer->kvs[0]->create_revision, 2);
    assert_int_equal(answer->kvs[0]->mod_revision, 3);
    assert_int_equal(answer->kvs[0]->version, 2);
    assert_memory_equal(answer->kvs[0]->value.data, "two", 3);
    api_rig_free_message(answer);

    request.count_only = true;
    answer = answer_of(rig, &request);
    assert_int_equal(answer->n_kvs, 0);
    assert_int_equal(answer->count, 1);
    api_rig_free_message(answer);

    request.count_only = false;
    request.keys_only = true;
    answer = answer_of(rig, &request);
    assert_int_equal(answer->n_kvs, 1);
    assert_int_equal(answer->kvs[0]->value.len, 0);
    assert_int_equal(answer->kvs[0]->mod_revision, 3);
    api_rig_free_message(answer);

    request.keys_only = false;
    request.revision = 2;
    answer = answer_of(rig, &request);
    assert_memory_equal(answer->kvs[0]->value.data, "one", 3);
    api_rig_expect_header(answer->header, 3); /* the current one, never the requested one */
    api_rig_free_message(answer);

    request.revision = 0;
    request.min_mod_revision = 4;
    answer = answer_of(rig, &request);
    assert_int_equal(answer->n_kvs, 0);
    assert_int_equal(answer->count, 1); /* filters don't count */
    api_rig_free_message(answer);
}

static void a_missing_key_is_an_empty_answer(void **state)
{
    api_rig_t *rig = *state;
    Etcdserverpb__RangeRequest request = range_of("nothing", NULL);
    Etcdserverpb__RangeResponse *answer = answer_of(rig, &request);
    api_rig_expect_header(answer->header, 1);
    assert_int_equal(answer->n_kvs, 0);
    assert_int_equal(answer->count, 0);
    api_rig_free_message(answer);
}

static void revisions_out_of_reach_are_errors(void **state)
{
    api_rig_t *rig = *state;
    put_many(rig, 5); /* revisions 2..6 */
    api_rig_compact(rig, 4);
    static const struct {
        int64_t revision;
        api_error_t error;
    } cases[] = {
        {7, API_FUTURE_REVISION}, {3, API_COMPACTED}, {4, API_NONE}, {6, API_NONE}, {-1, API_NONE}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Etcdserverpb__RangeRequest request = range_of("k", "l");
        request.revision = cases[i].revision;
        uint64_t call = api_rig_begin(rig, METHOD_RANGE);
        api_rig_send(rig, call, &request);
        api_rig_serve(rig);
        if (cases[i].error) {
            api_rig_expect_error(rig, call, cases[i].error);
        } else {
            api_rig_free_message(api_rig_expect_answer(rig, call, RANGE_TYPE));
        }
    }
}

static void a_page_tells_count_and_more(void **state)
{
    api_rig_t *rig = *state;
    put_many(rig, 10);
    Etcdserverpb__RangeRequest request = range_of("k", "l");
    request.limit = 3;
    Etcdserverpb__RangeResponse *answer = answer_of(rig, &request);
    assert_int_equal(answer->n_kvs, 3);
    assert_int_equal(answer->count, 10);
    assert_true(answer->more);
    api_rig_free_message(answer);
}

/* ---- slices ---- */

static void a_large_range_is_read_in_slices(void **state)
{
    api_rig_t *rig = *state;
    const int count = 3 * LIMIT_TURN_KEYS;
    put_many(rig, count);
    uint64_t large = get(rig, "k", "l", true);
    api_rig_expect_open(rig, large); /* one turn is not enough */
    assert_true(api_ops.deadline(rig->api) <= rig->core.now_us);
    api_rig_put(rig, "k", "later"); /* does not belong to it */
    uint64_t small = get(rig, "k000001", NULL, true);
    api_rig_free_message(api_rig_expect_answer(rig, small, RANGE_TYPE)); /* was not made to wait */
    api_rig_serve(rig);
    Etcdserverpb__RangeResponse *answer = api_rig_expect_answer(rig, large, RANGE_TYPE);
    assert_int_equal(answer->n_kvs, count);
    assert_int_equal(answer->count, count);
    assert_int_equal(answer->header->revision, count + 1);
    api_rig_free_message(answer);
    assert_int_equal(api_ops.deadline(rig->api), DEADLINE_NONE);
}

static void large_ranges_take_turns(void **state)
{
    api_rig_t *rig = *state;
    put_many(rig, 2 * LIMIT_TURN_KEYS);
    uint64_t first = get(rig, "k", "l", true);
    uint64_t second = get(rig, "k", "k001500", true); /* a small part of it */
    for (int turns = 0; !api_rig_call(rig, second)->finished; turns++) {
        assert_true(turns < 3);
        api_rig_turn(rig);
    }
    api_rig_expect_open(rig, first);
    api_rig_serve(rig);
    api_rig_free_message(api_rig_expect_answer(rig, first, RANGE_TYPE));
}

static void a_large_range_can_be_cancelled_midway(void **state)
{
    api_rig_t *rig = *state;
    put_many(rig, 2 * LIMIT_TURN_KEYS);
    uint64_t call = get(rig, "k", "l", true);
    api_rig_expect_open(rig, call);
    api_call_cancel(rig->api, call);
    assert_int_equal(api_ops.deadline(rig->api), DEADLINE_NONE);
    api_rig_turn(rig);
    assert_int_equal(rig->calls[call].count, 0);
}

/* ---- RangeStream ---- */

typedef struct {
    size_t keys, messages, headers, largest;
    int64_t count, revision;
    bool more;
    char last[16];
} stream_t;

static void take_stream(api_rig_t *rig, uint64_t call, stream_t *out)
{
    const rig_call_t *record = api_rig_call(rig, call);
    while (record->seen < record->count) {
        Etcdserverpb__RangeStreamResponse *chunk = api_rig_next(rig, call, STREAM_TYPE);
        const Etcdserverpb__RangeResponse *range = chunk->range_response;
        assert_int_equal(out->headers, 0); /* nothing behind the last message */
        out->messages++;
        out->largest = range->n_kvs > out->largest ? range->n_kvs : out->largest;
        for (size_t i = 0; i < range->n_kvs; i++) {
            char key[16] = {0};
            memcpy(key, range->kvs[i]->key.data, range->kvs[i]->key.len);
            assert_true(strcmp(out->last, key) < 0);
            memcpy(out->last, key, sizeof key);
            out->keys++;
        }
        if (range->header) {
            api_rig_expect_header(range->header, range->header->revision);
            out->headers++;
            out->revision = range->header->revision;
            out->count = range->count;
            out->more = range->more;
        } else {
            assert_int_equal(range->count, 0);
        }
        api_rig_free_message(chunk);
    }
}

static void a_stream_equals_the_unary_answer(void **state)
{
    api_rig_t *rig = *state;
    put_many(rig, 1000);
    static const struct {
        int64_t limit;
        size_t keys;
        bool more;
    } cases[] = {
        {0, 1000, false}, {10, 10, true}, {25, 25, true}, {999, 999, true}, {1000, 1000, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Etcdserverpb__RangeRequest request = range_of("k", "l");
        request.limit = cases[i].limit;
        stream_t got = {0};
        uint64_t call = api_rig_begin(rig, METHOD_RANGE_STREAM);
        api_rig_send(rig, call, &request);
        api_rig_serve(rig);
        take_stream(rig, call, &got);
        assert_true(api_rig_call(rig, call)->finished);
        assert_int_equal(api_rig_call(rig, call)->code, GRPC_OK);
        assert_int_equal(got.keys, cases[i].keys);
        assert_int_equal(got.headers, 1);
        assert_int_equal(got.count, 1000);
        assert_int_equal(got.more, cases[i].more);
        assert_int_equal(got.revision, 1001);
    }
}

static void a_stream_without_kvs_is_one_message(void **state)
{
    api_rig_t *rig = *state;
    put_many(rig, 100);
    Etcdserverpb__RangeRequest request = range_of("x", "y");
    for (int i = 0; i < 2; i++) {
        stream_t got = {0};
        uint64_t call = api_rig_begin(rig, METHOD_RANGE_STREAM);
        api_rig_send(rig, call, &request);
        api_rig_serve(rig);
        take_stream(rig, call, &got);
        assert_int_equal(got.messages, 1);
        assert_int_equal(got.headers, 1);
        assert_int_equal(got.count, i ? 100 : 0);
        request = range_of("k", "l");
        request.count_only = true;
    }
}

/* Values of 64 KiB: the stream stops for a client that takes nothing, and pins no snapshot. */
static void a_stalled_stream_waits_and_keeps_its_revision(void **state)
{
    api_rig_t *rig = *state;
    enum { VALUE = 65536, KEYS = 200 };
    char *value = calloc(1, VALUE + 1);
    memset(value, 'v', VALUE);
    for (int i = 0; i < KEYS; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%06d", i);
        api_rig_put(rig, key, value);
    }
    free(value);
    Etcdserverpb__RangeRequest request = range_of("k", "l");
    uint64_t call = api_rig_begin(rig, METHOD_RANGE_STREAM);
    api_rig_send(rig, call, &request);
    api_rig_serve(rig);
    stream_t got = {0};
    take_stream(rig, call, &got);
    assert_true(got.keys < KEYS / 2);
    assert_int_equal(api_ops.deadline(rig->api), DEADLINE_NONE); /* it waits for its client alone */
    api_rig_delete(rig, "k000199");
    api_rig_put(rig, "k0001", "between");
    for (int turns = 0; !got.headers; turns++) {
        assert_true(turns < KEYS);
        api_call_sent(rig->api, call, 1 << 20);
        api_rig_serve(rig);
        take_stream(rig, call, &got);
    }
    assert_int_equal(got.keys, KEYS); /* as of its first chunk */
    assert_int_equal(got.count, KEYS);
    assert_int_equal(got.revision, KEYS + 1);
}

/* The client stalls exactly when the limit is reached: what is left is counted, not sent. */
static void a_stream_that_stalls_at_its_limit_sends_no_more(void **state)
{
    api_rig_t *rig = *state;
    enum { VALUE = 131072, LIMIT = 10 }; /* keys and bytes of the first chunk */
    char *value = calloc(1, VALUE + 1);
    memset(value, 'v', VALUE);
    for (int i = 0; i < 2 * LIMIT; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%06d", i);
        api_rig_put(rig, key, value);
    }
    free(value);
    for (int keys = 2 * LIMIT; keys >= LIMIT; keys -= LIMIT) {
        char end[16];
        snprintf(end, sizeof end, "k%06d", keys);
        Etcdserverpb__RangeRequest request = range_of("k", end);
        request.limit = LIMIT;
        uint64_t call = api_rig_begin(rig, METHOD_RANGE_STREAM);
        api_rig_send(rig, call, &request);
        stream_t got = {0};
        for (int turns = 0; !got.headers; turns++) {
            assert_true(turns < 2 * LIMIT);
            api_rig_serve(rig);
            take_stream(rig, call, &got);
            api_call_sent(rig->api, call, 8 << 20);
        }
        assert_int_equal(got.keys, LIMIT);
        assert_int_equal(got.count, keys);
        assert_int_equal(got.more, keys > LIMIT);
    }
}

static void a_stream_ends_when_compaction_passes_it(void **state)
{
    api_rig_t *rig = *state;
    enum { VALUE = 65536, KEYS = 100 };
    char *value = calloc(1, VALUE + 1);
    memset(value, 'v', VALUE);
    for (int i = 0; i < KEYS; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%06d", i);
        api_rig_put(rig, key, value);
    }
    free(value);
    Etcdserverpb__RangeRequest request = range_of("k", "l");
    request.revision = KEYS;
    uint64_t call = api_rig_begin(rig, METHOD_RANGE_STREAM);
    api_rig_send(rig, call, &request);
    api_rig_serve(rig);
    stream_t got = {0};
    take_stream(rig, call, &got);
    api_rig_compact(rig, KEYS + 1);
    api_call_sent(rig->api, call, 64 << 20);
    api_rig_serve(rig);
    api_rig_expect_error(rig, call, API_COMPACTED);
}

/* As in etcd: one key more than the limit is read, all are sorted, then the limit cuts; and what is
 * counted behind the last key in that order is added to what was sent. */
static void a_stream_by_another_target_sorts_its_chunk(void **state)
{
    api_rig_t *rig = *state;
    put_many(rig, 8);
    api_rig_put(rig, "k000000", "again"); /* now the newest */
    Etcdserverpb__RangeRequest request = range_of("k", "l");
    request.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__MOD;
    static const char *const expected[] = {"k000001", "k000002", "k000003", "k000000"};
    request.limit = 3;
    for (int more = 1; more >= 0; more--) {
        uint64_t call = api_rig_begin(rig, METHOD_RANGE_STREAM);
        api_rig_send(rig, call, &request);
        api_rig_serve(rig);
        Etcdserverpb__RangeStreamResponse *chunk = api_rig_next(rig, call, STREAM_TYPE);
        const Etcdserverpb__RangeResponse *got = chunk->range_response;
        assert_int_equal(got->n_kvs, more ? 3 : 4);
        for (size_t i = 0; i < got->n_kvs; i++) {
            assert_memory_equal(got->kvs[i]->key.data, expected[i], 7);
        }
        assert_int_equal(got->more, more);
        assert_int_equal(got->count, more ? 3 + 4 : 4); /* k000004 to k000007 lie behind k000003 */
        assert_true(api_rig_call(rig, call)->finished);
        api_rig_free_message(chunk);
        request.limit = 0;
        request.range_end = rig_text("k000004");
    }
}

static void streams_refuse_what_they_cannot_do(void **state)
{
    api_rig_t *rig = *state;
    Etcdserverpb__RangeRequest request = range_of("k", "l");
    request.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    uint64_t call = api_rig_unary(rig, METHOD_RANGE_STREAM, &request);
    api_rig_expect_error(rig, call, API_STREAM_SORT);
    request.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND;
    request.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__MOD;
    call = api_rig_unary(rig, METHOD_RANGE_STREAM, &request);
    api_rig_expect_error(rig, call, API_STREAM_SORT);
    request.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY;
    request.max_create_revision = 5;
    call = api_rig_unary(rig, METHOD_RANGE_STREAM, &request);
    api_rig_expect_error(rig, call, API_STREAM_FILTER);
    request.key = rig_text("");
    call = api_rig_unary(rig, METHOD_RANGE_STREAM, &request);
    api_rig_expect_error(rig, call, API_EMPTY_KEY);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(linearizable_reads_share_one_read_index),
        TEST(a_read_never_joins_a_round_that_is_under_way),
        TEST(rounds_in_flight_are_bounded),
        TEST(a_read_waits_until_its_index_is_applied),
        TEST(serializable_reads_ask_nobody),
        TEST(a_client_reads_its_own_write),
        cmocka_unit_test(nothing_is_served_before_the_store_is_restored),
        TEST(a_failed_read_index_fails_its_reads),
        TEST(reads_get_another_index_from_the_next_leader),
        TEST(reads_time_out_and_free_their_round),
        TEST(a_replaced_store_is_read_from_then_on),
        TEST(ranges_are_validated_in_etcds_order),
        TEST(a_single_key_with_every_kind_of_option),
        TEST(a_missing_key_is_an_empty_answer),
        TEST(revisions_out_of_reach_are_errors),
        TEST(a_page_tells_count_and_more),
        TEST(a_large_range_is_read_in_slices),
        TEST(large_ranges_take_turns),
        TEST(a_large_range_can_be_cancelled_midway),
        TEST(a_stream_equals_the_unary_answer),
        TEST(a_stream_without_kvs_is_one_message),
        TEST(a_stalled_stream_waits_and_keeps_its_revision),
        TEST(a_stream_that_stalls_at_its_limit_sends_no_more),
        TEST(a_stream_ends_when_compaction_passes_it),
        TEST(a_stream_by_another_target_sorts_its_chunk),
        TEST(streams_refuse_what_they_cannot_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
