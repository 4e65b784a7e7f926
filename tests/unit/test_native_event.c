/* native_event: topics and subscriptions match exactly what they should, whatever octets keys hold; what is
 * written is read again, and nothing else is taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "actors/core/prng.h"
#include "messages/native_event.h"

#define TEXT(literal) slice(literal, sizeof(literal) - 1)

static void expect_bytes(buf_t *buf, slice_t expected)
{
    assert_int_equal(buf->len, expected.len);
    assert_memory_equal(buf->data, expected.data, expected.len);
    buf_clear(buf);
}

static void topics_are_the_escaped_key_and_a_terminator(void **state)
{
    (void)state;
    buf_t out = {0};
    native_topic(&out, NATIVE_EVENTS, TEXT("a"));
    expect_bytes(&out, TEXT("Ea\x00\x01"));
    native_topic(&out, NATIVE_PREVIOUS, TEXT("\x00\xff"));
    expect_bytes(&out, TEXT("P\x00\xff\xff\x00\x01"));
    native_subscription(&out, NATIVE_EVENTS, TEXT("a\x00"), false);
    expect_bytes(&out, TEXT("Ea\x00\xff"));
    native_subscription(&out, NATIVE_EVENTS, TEXT("a"), true);
    expect_bytes(&out, TEXT("Ea\x00\x01"));
    native_mark_topic(&out, TEXT("Ea\x00\x01"));
    expect_bytes(&out, TEXT("MEa\x00\x01\x00\x02"));
    buf_deinit(&out);
}

/* Keys of few octets, so that prefixes, escapes and terminators meet all the time. */
static slice_t random_key(prng_t *prng, uint8_t *key, size_t max)
{
    static const uint8_t octets[] = {0x00, 0x01, 0x02, 0xff, 'a'};
    size_t len = prng_below(prng, max + 1);
    for (size_t i = 0; i < len; i++) {
        key[i] = octets[prng_below(prng, sizeof octets)];
    }
    return slice(key, len);
}

static void a_subscription_matches_the_keys_that_it_is_for_and_no_other(void **state)
{
    (void)state;
    prng_t prng = {.state = 1};
    buf_t topic = {0};
    buf_t subscription = {0};
    buf_t from = {0};
    buf_t to = {0};
    size_t matches = 0;
    for (int round = 0; round < 200000; round++) {
        uint8_t bytes[2][5];
        bool exact = prng_below(&prng, 2);
        slice_t key = random_key(&prng, bytes[0], 4);
        slice_t wanted = random_key(&prng, bytes[1], 3);
        if (key.len == 0 || (exact && wanted.len == 0)) {
            continue;
        }
        buf_clear(&topic);
        buf_clear(&subscription);
        native_topic(&topic, NATIVE_EVENTS, key);
        native_subscription(&subscription, NATIVE_EVENTS, wanted, exact);
        bool should = exact ? slice_equal(key, wanted) : slice_starts_with(key, wanted);
        assert_int_equal(slice_starts_with(buf_slice(&topic), buf_slice(&subscription)), should);
        matches += should;

        native_subscription_t read;
        assert_int_equal(native_subscription_read(buf_slice(&subscription), &read, &from), 0);
        assert_true(slice_equal(buf_slice(&from), wanted) && read.exact == exact);
        assert_int_equal(native_subscription_interval(buf_slice(&subscription), &from, &to), 0);
        bool no_end = to.len == 1 && to.data[0] == 0;
        bool inside = to.len == 0 ? slice_equal(key, buf_slice(&from))
                                  : slice_compare(key, buf_slice(&from)) >= 0 &&
                                        (no_end || slice_compare(key, buf_slice(&to)) < 0);
        assert_int_equal(inside, should);
    }
    assert_true(matches > 1000);
    buf_deinit(&topic);
    buf_deinit(&subscription);
    buf_deinit(&from);
    buf_deinit(&to);
}

static void subscriptions_that_are_none_are_refused(void **state)
{
    (void)state;
    static const slice_t malformed[] = {
        {(const uint8_t *)"", 0},
        {(const uint8_t *)"a", 1},
        {(const uint8_t *)"MEa\x00\x02", 5},
        {(const uint8_t *)"Ea\x00", 3},
        {(const uint8_t *)"Ea\x00\x02", 4},
        {(const uint8_t *)"Ea\x00\x01z", 5},
        {(const uint8_t *)"E\x00\x01", 3}, /* the empty key */
    };
    native_subscription_t read;
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
        assert_int_equal(native_subscription_read(malformed[i], &read, NULL), NATIVE_MALFORMED);
    }
    assert_int_equal(native_subscription_read(TEXT("E"), &read, NULL), 0); /* everything */
    uint8_t *large = malloc(LIMIT_NATIVE_TOPIC_BYTES + 1);
    assert_non_null(large);
    memset(large, 'E', LIMIT_NATIVE_TOPIC_BYTES + 1);
    slice_t text = slice(large, LIMIT_NATIVE_TOPIC_BYTES);
    assert_int_equal(native_subscription_read(text, &read, NULL), 0);
    text.len++;
    assert_int_equal(native_subscription_read(text, &read, NULL), NATIVE_TOO_LONG);
    free(large);
}

/* Every subscription that is short enough sees the same in a topic that is cut off. */
static void long_topics_are_cut_off_without_harm(void **state)
{
    (void)state;
    enum { LONG = LIMIT_NATIVE_TOPIC_BYTES + 100 };
    uint8_t *key = malloc(LONG);
    assert_non_null(key);
    for (size_t zero_every = 1; zero_every < 5; zero_every++) {
        for (size_t i = 0; i < LONG; i++) {
            key[i] = i % zero_every ? 'k' : 0;
        }
        for (size_t len = LIMIT_NATIVE_TOPIC_BYTES / 2 - 4; len < LONG; len += 1 + len % 3) {
            buf_t topic = {0};
            native_topic(&topic, NATIVE_EVENTS, slice(key, len));
            assert_true(topic.len <= LIMIT_NATIVE_TOPIC_BYTES);
            for (int exact = 0; exact < 2; exact++) {
                buf_t own = {0};
                native_subscription(&own, NATIVE_EVENTS, slice(key, len), exact);
                native_subscription_t read;
                bool valid = native_subscription_read(buf_slice(&own), &read, NULL) == 0;
                bool fits = own.len <= LIMIT_NATIVE_TOPIC_BYTES;
                assert_int_equal(valid, fits);
                assert_int_equal(slice_starts_with(buf_slice(&topic), buf_slice(&own)), fits);
                buf_deinit(&own);
            }
            buf_deinit(&topic);
        }
    }
    free(key);
}

static void events_are_read_as_they_were_written(void **state)
{
    (void)state;
    native_event_t event = {.cluster_id = 0x0102030405060708,
                            .position = {.revision = 9, .sub = 3},
                            .is_omitted = true,
                            .link_count = 2,
                            .links = {{.subscription_len = 5, .is_last = true, .previous = {8, 1}},
                                      {.subscription_len = 1, .previous = {7, NATIVE_SUB_MAX}}}};
    buf_t out = {0};
    native_event_write(&out, &event);
    static const char head[] = "\x01\x01\x01\x02\x00\x00\x00\x03\x01\x02\x03\x04\x05\x06\x07\x08"
                               "\x00\x00\x00\x00\x00\x00\x00\x09"
                               "\x00\x05\x01\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00\x01"
                               "\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x07\xff\xff\xff\xff";
    assert_int_equal(out.len, sizeof head - 1);
    assert_memory_equal(out.data, head, out.len);
    native_event_t read;
    for (size_t len = 0; len < out.len; len++) {
        assert_int_equal(native_event_read(slice(out.data, len), &read), NATIVE_MALFORMED);
    }
    buf_byte(&out, 1); /* of a later version */
    assert_int_equal(native_event_read(buf_slice(&out), &read), 0);
    assert_true(read.is_omitted && read.cluster_id == event.cluster_id);
    assert_int_equal(native_position_compare(read.position, event.position), 0);
    const native_link_t *link = native_event_link(&read, 1);
    assert_non_null(link);
    assert_false(link->is_last);
    assert_int_equal(link->previous.revision, 7);
    assert_int_equal(link->previous.sub, NATIVE_SUB_MAX);
    assert_true(native_event_link(&read, 5)->is_last);
    assert_null(native_event_link(&read, 2));
    out.data[0] = 2; /* another layout */
    assert_int_equal(native_event_read(buf_slice(&out), &read), NATIVE_MALFORMED);
    buf_deinit(&out);
}

static void marks_are_read_as_they_were_written(void **state)
{
    (void)state;
    native_mark_t mark = {.cluster_id = 5,
                          .revision = 12,
                          .last = {.revision = 11, .sub = 2},
                          .interval_ms = 1000,
                          .is_leaderless = true};
    buf_t out = {0};
    native_mark_write(&out, &mark);
    static const char bytes[] = "\x01\x02\x01\x00\x00\x00\x03\xe8\x00\x00\x00\x00\x00\x00\x00\x05"
                                "\x00\x00\x00\x00\x00\x00\x00\x0c"
                                "\x00\x00\x00\x00\x00\x00\x00\x0b\x00\x00\x00\x02";
    assert_int_equal(out.len, sizeof bytes - 1);
    assert_memory_equal(out.data, bytes, out.len);
    native_mark_t read;
    for (size_t len = 0; len < out.len; len++) {
        assert_int_equal(native_mark_read(slice(out.data, len), &read), NATIVE_MALFORMED);
    }
    assert_int_equal(native_mark_read(buf_slice(&out), &read), 0);
    assert_true(read.is_leaderless && read.cluster_id == 5 && read.revision == 12);
    assert_int_equal(read.interval_ms, 1000);
    assert_int_equal(native_position_compare(read.last, mark.last), 0);
    out.data[31] = 13; /* a last event above the store's revision */
    assert_int_equal(native_mark_read(buf_slice(&out), &read), NATIVE_MALFORMED);
    buf_deinit(&out);
}

static void changes_are_read(void **state)
{
    (void)state;
    static const char put[] = "\x12\x0f\x0a\x01"
                              "a\x10\x02\x18\x05\x20\x03\x2a\x02"
                              "vv\x30\x07"
                              "\x1a\x08\x0a\x01"
                              "a\x18\x04\x2a\x01w";
    native_change_t change;
    assert_int_equal(native_change_read(TEXT(put), &change), 0);
    assert_true(!change.is_delete && change.has_previous);
    assert_true(slice_equal(change.kv.key, TEXT("a")) && slice_equal(change.kv.value, TEXT("vv")));
    assert_int_equal(change.kv.create_revision, 2);
    assert_int_equal(change.kv.mod_revision, 5);
    assert_int_equal(change.kv.version, 3);
    assert_int_equal(change.kv.lease, 7);
    assert_int_equal(change.previous.mod_revision, 4);
    assert_true(slice_equal(change.previous.value, TEXT("w")));
    static const char deletion[] = "\x08\x01\x12\x05\x0a\x01"
                                   "b\x18\x06";
    assert_int_equal(native_change_read(TEXT(deletion), &change), 0);
    assert_true(change.is_delete && !change.has_previous);
    assert_int_equal(change.kv.mod_revision, 6);
    for (size_t len = 0; len < sizeof deletion - 1; len++) {
        assert_int_equal(native_change_read(slice(deletion, len), &change), NATIVE_MALFORMED);
    }
    static const char unknown_type[] = "\x08\x02\x12\x05\x0a\x01"
                                       "b\x18\x06";
    assert_int_equal(native_change_read(TEXT(unknown_type), &change), NATIVE_MALFORMED);
    static const char no_key[] = "\x12\x02\x18\x06";
    assert_int_equal(native_change_read(TEXT(no_key), &change), NATIVE_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topics_are_the_escaped_key_and_a_terminator),
        cmocka_unit_test(a_subscription_matches_the_keys_that_it_is_for_and_no_other),
        cmocka_unit_test(subscriptions_that_are_none_are_refused),
        cmocka_unit_test(long_topics_are_cut_off_without_harm),
        cmocka_unit_test(events_are_read_as_they_were_written),
        cmocka_unit_test(marks_are_read_as_they_were_written),
        cmocka_unit_test(changes_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
