/* cli go_format: Go's way of writing and reading values; what Go prints stands in the tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cli/go_format.h"

typedef struct {
    const char *in;
    const char *out;
} text_case_t;

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void strings_are_quoted(void **state)
{
    (void)state;
    static const text_case_t cases[] = {
        {"", "\"\""},
        {"plain", "\"plain\""},
        {"\a\b\f\n\r\t\v\\\"'", "\"\\a\\b\\f\\n\\r\\t\\v\\\\\\\"'\""},
        {"\x01\x1f\x7f", "\"\\x01\\x1f\\x7f\""},
        {"\xff\xc0\x80", "\"\\xff\\xc0\\x80\""},
        {"\xC3\xA9\xE4\xB8\x96", "\"\xC3\xA9\xE4\xB8\x96\""},
        {"\xC2\xA0\xC2\xAD", "\"\\u00a0\\u00ad\""},              /* spaces and format characters */
        {"\xE2\x80\x8B\xEF\xBF\xBD", "\"\\u200b\xEF\xBF\xBD\""}, /* a real U+FFFD stays */
        {"\xF0\x9F\x98\x80\xF4\x8F\xBF\xBF", "\"\xF0\x9F\x98\x80\\U0010ffff\""},
        {"\xED\xA0\x80", "\"\\xed\\xa0\\x80\""}, /* a surrogate is not UTF-8 */
        {"cut \xE4\xB8", "\"cut \\xe4\\xb8\""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *out = go_quoted(cases[i].in, strlen(cases[i].in));
        assert_string_equal(out, cases[i].out);
        free(out);
    }
}

static void quoted_strings_are_read(void **state)
{
    (void)state;
    static const text_case_t cases[] = {
        {"\"a b\" rest", "a b"},
        {"\"\\x41\\101\\u00e9\\t\\\"\"", "AA\xC3\xA9\t\""},
        {"`raw\\n`", "raw\\n"},
        {"\"\\U0001F600\"", "\xF0\x9F\x98\x80"},
        {"\"\"", ""},
    };
    static const char *const wrong[] = {"a",       "\"open",    "\"\\q\"",     "\"\\x4\"",
                                        "\"\\'\"", "\"\\400\"", "\"\\ud800\"", "\"two\nlines\"",
                                        "`open",   "",          "\"\\"};
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *content = NULL;
        size_t size = 0;
        size_t used = 0;
        assert_true(go_unquote(cases[i].in, &content, &size, &used));
        assert_string_equal(content, cases[i].out);
        assert_int_equal(size, strlen(cases[i].out));
        assert_true(used >= 2);
        free(content);
    }
    for (size_t i = 0; i < COUNT(wrong); i++) {
        char *content = NULL;
        size_t size = 0;
        size_t used = 0;
        assert_false(go_unquote(wrong[i], &content, &size, &used));
    }
}

static void json_strings_are_escaped_for_html(void **state)
{
    (void)state;
    static const text_case_t cases[] = {
        {"<a & b>", "\"\\u003ca \\u0026 b\\u003e\""},
        {"\b\f\n\r\t\x01\"\\/", "\"\\b\\f\\n\\r\\t\\u0001\\\"\\\\/\""},
        {"\xE2\x80\xA8\xE2\x80\xA9\xC3\xA9\x7f", "\"\\u2028\\u2029\xC3\xA9\x7f\""},
        {"\xff", "\"\\ufffd\""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *text = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&text, &size);
        go_json_string(out, cases[i].in, strlen(cases[i].in));
        fclose(out);
        assert_string_equal(text, cases[i].out);
        free(text);
    }
}

static void bytes_become_base64(void **state)
{
    (void)state;
    static const text_case_t cases[] = {{"", "\"\""},
                                        {"f", "\"Zg==\""},
                                        {"fo", "\"Zm8=\""},
                                        {"foo", "\"Zm9v\""},
                                        {"\xff\xfe\xfd~", "\"//79fg==\""}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *text = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&text, &size);
        go_json_base64(out, cases[i].in, strlen(cases[i].in));
        fclose(out);
        assert_string_equal(text, cases[i].out);
        free(text);
    }
}

static void integers_are_parsed(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int base;
        int64_t value;
        const char *error;
    } cases[] = {
        {"0", 0, 0, NULL},
        {"-12", 0, -12, NULL},
        {"+7", 10, 7, NULL},
        {"0x1F", 0, 31, NULL},
        {"0b101", 0, 5, NULL},
        {"0o17", 0, 15, NULL},
        {"017", 0, 15, NULL},
        {"1_000", 0, 1000, NULL},
        {"0x_f", 0, 15, NULL},
        {"017", 10, 17, NULL},
        {"7fffffffffffffff", 16, INT64_MAX, NULL},
        {"9223372036854775807", 10, INT64_MAX, NULL},
        {"-9223372036854775808", 10, INT64_MIN, NULL},
        {"9223372036854775808", 10, 0, "value out of range"},
        {"-9223372036854775809", 10, 0, "value out of range"},
        {"8000000000000000", 16, 0, "value out of range"},
        {"", 10, 0, "invalid syntax"},
        {"-", 10, 0, "invalid syntax"},
        {"x", 10, 0, "invalid syntax"},
        {"1 ", 10, 0, "invalid syntax"},
        {"1_000", 10, 0, "invalid syntax"},
        {"_1", 0, 0, "invalid syntax"},
        {"1_", 0, 0, "invalid syntax"},
        {"1__0", 0, 0, "invalid syntax"},
        {"0x", 0, 0, "invalid syntax"},
        {"08", 0, 0, "invalid syntax"},
        {"9223372036854775808x", 10, 0, "invalid syntax"},
        {"99999999999999999999x", 10, 0, "value out of range"}, /* it ends where it overflows */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t value = 0;
        const char *error = go_parse_int(cases[i].text, cases[i].base, &value);
        if (cases[i].error == NULL) {
            assert_null(error);
            assert_int_equal(value, cases[i].value);
        } else {
            assert_non_null(error);
            assert_string_equal(error, cases[i].error);
        }
    }
}

static void unsigned_integers_have_no_sign(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int base;
        uint64_t value;
        const char *error;
    } cases[] = {
        {"8e9e05c52164694d", 16, 0x8e9e05c52164694dULL, NULL},
        {"FFFFFFFFFFFFFFFF", 16, UINT64_MAX, NULL},
        {"18446744073709551615", 10, UINT64_MAX, NULL},
        {"18446744073709551616", 10, 0, "value out of range"},
        {"1ffffffffffffffff", 16, 0, "value out of range"},
        {"", 16, 0, "invalid syntax"},
        {"-1", 16, 0, "invalid syntax"},
        {"+1", 16, 0, "invalid syntax"},
        {"0x1", 16, 0, "invalid syntax"},
        {"xyz", 16, 0, "invalid syntax"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t value = 0;
        const char *error = go_parse_uint(cases[i].text, cases[i].base, &value);
        if (cases[i].error == NULL) {
            assert_null(error);
            assert_true(value == cases[i].value);
        } else {
            assert_non_null(error);
            assert_string_equal(error, cases[i].error);
        }
    }
}

static void durations_are_parsed_and_written(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ns;
        const char *written;
    } cases[] = {
        {"0", 0, "0s"},
        {"5s", 5000000000LL, "5s"},
        {"1.5ms", 1500000, "1.5ms"},
        {"100us", 100000, "100\xC2\xB5s"},
        {"999ns", 999, "999ns"},
        {"1h2m3.004s", 3723004000000LL, "1h2m3.004s"},
        {"-90s", -90000000000LL, "-1m30s"},
        {"+.5h", 1800000000000LL, "30m0s"},
    };
    static const text_case_t wrong[] = {
        {"", "time: invalid duration \"\""},
        {"5", "time: missing unit in duration \"5\""},
        {"x", "time: invalid duration \"x\""},
        {"5q", "time: unknown unit \"q\" in duration \"5q\""},
        {".s", "time: invalid duration \".s\""},
        {"9999999999h", "time: invalid duration \"9999999999h\""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t ns = 1;
        char text[GO_TEXT_BYTES];
        assert_null(go_parse_duration(cases[i].text, &ns));
        assert_int_equal(ns, cases[i].ns);
        go_format_duration(ns, text);
        assert_string_equal(text, cases[i].written);
    }
    for (size_t i = 0; i < COUNT(wrong); i++) {
        int64_t ns = 0;
        char *error = go_parse_duration(wrong[i].in, &ns);
        assert_non_null(error);
        assert_string_equal(error, wrong[i].out);
        free(error);
    }
}

static void sizes_are_written_for_people(void **state)
{
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {{0, "0 B"},          {9, "9 B"},           {10, "10 B"},
                 {999, "999 B"},      {1000, "1.0 kB"},     {20480, "20 kB"},
                 {9949, "9.9 kB"},    {9950, "10 kB"},      {2147483648, "2.1 GB"},
                 {82854982, "83 MB"}, {UINT64_MAX, "18 EB"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[GO_TEXT_BYTES];
        go_format_bytes(cases[i].bytes, text);
        assert_string_equal(text, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_are_quoted),
        cmocka_unit_test(quoted_strings_are_read),
        cmocka_unit_test(json_strings_are_escaped_for_html),
        cmocka_unit_test(bytes_become_base64),
        cmocka_unit_test(integers_are_parsed),
        cmocka_unit_test(unsigned_integers_have_no_sign),
        cmocka_unit_test(durations_are_parsed_and_written),
        cmocka_unit_test(sizes_are_written_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
