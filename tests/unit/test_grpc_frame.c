/* grpc_frame: time-outs, status texts, prefixes and content types by tables of input and output. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "actors/grpc_gateway/grpc_frame.h"

static void timeouts_are_parsed(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t us;
    } cases[] = {{"5S", 5000000},
                 {"1H", 3600000000},
                 {"2M", 120000000},
                 {"100m", 100000},
                 {"7u", 7},
                 {"1n", 1},
                 {"1500n", 2},
                 {"0S", 0},
                 {"99999999S", 99999999000000},
                 {"99999999H", UINT64_MAX}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buf_t why = {0};
        uint64_t us = 1;
        assert_int_equal(grpc_timeout_parse(slice_str(cases[i].text), &us, &why), 0);
        assert_int_equal(us, cases[i].us);
        buf_deinit(&why);
    }
}

static void bad_timeouts_are_refused_in_grpc_go_s_words(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "transport: timeout string is too short: \"\""},
        {"S", "transport: timeout string is too short: \"S\""},
        {"123456789S", "transport: timeout string is too long: \"123456789S\""},
        {"5s", "transport: timeout unit is not recognized: \"5s\""},
        {"-5S", "strconv.ParseUint: parsing \"-5\": invalid syntax"},
        {"5 S", "strconv.ParseUint: parsing \"5 \": invalid syntax"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buf_t why = {0};
        uint64_t us = 0;
        assert_int_equal(grpc_timeout_parse(slice_str(cases[i].text), &us, &why), 1);
        assert_int_equal(why.len, strlen(cases[i].why));
        assert_memory_equal(why.data, cases[i].why, why.len);
        buf_deinit(&why);
    }
}

static void status_texts_are_percent_encoded(void **state)
{
    (void)state;
    static const struct {
        const char *text, *encoded;
    } cases[] = {
        {"", ""},
        {"etcdserver: key is not provided", "etcdserver: key is not provided"},
        {"100%", "100%25"},
        {"a\nb\x7f", "a%0Ab%7F"},
        {"gr\xc3\xbc\xc3\x9f", "gr%C3%BC%C3%9F"},
        {"\xf0\x9f\x98\x80", "%F0%9F%98%80"},
        {"\xff"
         "a",
         "%EF%BF%BDa"},                                               /* no UTF-8 at all */
        {"\xc0\x80", "%EF%BF%BD%EF%BF%BD"},                           /* overlong */
        {"\xed\xa0\x80", "%EF%BF%BD%EF%BF%BD%EF%BF%BD"},              /* a surrogate */
        {"\xe2\x82", "%EF%BF%BD%EF%BF%BD"},                           /* cut off */
        {"\xf4\x90\x80\x80", "%EF%BF%BD%EF%BF%BD%EF%BF%BD%EF%BF%BD"}, /* above U+10FFFF */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buf_t out = {0};
        grpc_message_encode(&out, slice_str(cases[i].text));
        assert_int_equal(out.len, strlen(cases[i].encoded));
        if (out.len) {
            assert_memory_equal(out.data, cases[i].encoded, out.len);
        }
        buf_deinit(&out);
    }
}

static void prefixes_are_big_endian(void **state)
{
    (void)state;
    uint8_t prefix[GRPC_PREFIX_BYTES];
    grpc_prefix_write(prefix, 0x01020304);
    const uint8_t wanted[] = {0, 1, 2, 3, 4};
    assert_memory_equal(prefix, wanted, sizeof wanted);
    assert_int_equal(grpc_prefix_len(prefix), 0x01020304);
}

static void only_grpc_content_types_are_accepted(void **state)
{
    (void)state;
    assert_true(grpc_is_content_type(slice_str("application/grpc")));
    assert_true(grpc_is_content_type(slice_str("application/grpc+proto")));
    assert_true(grpc_is_content_type(slice_str("application/grpc;charset=utf-8")));
    assert_false(grpc_is_content_type(slice_str("application/grpcx")));
    assert_false(grpc_is_content_type(slice_str("application/grp")));
    assert_false(grpc_is_content_type(slice_str("application/json")));
    assert_false(grpc_is_content_type(slice_str("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timeouts_are_parsed),
        cmocka_unit_test(bad_timeouts_are_refused_in_grpc_go_s_words),
        cmocka_unit_test(status_texts_are_percent_encoded),
        cmocka_unit_test(prefixes_are_big_endian),
        cmocka_unit_test(only_grpc_content_types_are_accepted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
