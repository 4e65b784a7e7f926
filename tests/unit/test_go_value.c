/* Values as Go's flag package reads and prints them: the table's right column comes from Go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "actors/daemon/go_value.h"

static void test_bool(void **state)
{
    (void)state;
    bool value = false;
    assert_int_equal(go_bool("T", &value), 0);
    assert_true(value);
    assert_int_equal(go_bool("0", &value), 0);
    assert_false(value);
    assert_int_equal(go_bool("yes", &value), GO_SYNTAX);
    assert_int_equal(go_bool("", &value), GO_SYNTAX);
    assert_int_equal(go_bool("tRUE", &value), GO_SYNTAX);
}

static void test_uint(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int outcome;
        uint64_t value;
    } cases[] = {
        {"0", 0, 0},
        {"100", 0, 100},
        {"0x10", 0, 16},
        {"0X1f", 0, 31},
        {"0b11", 0, 3},
        {"0o17", 0, 15},
        {"017", 0, 15},
        {"1_000", 0, 1000},
        {"0x_1f", 0, 31},
        {"0_7", 0, 7},
        {"18446744073709551615", 0, UINT64_MAX},
        {"18446744073709551616", GO_RANGE, 0},
        {"99999999999999999999999", GO_RANGE, 0},
        {"", GO_SYNTAX, 0},
        {"-1", GO_SYNTAX, 0},
        {"+1", GO_SYNTAX, 0},
        {"1 ", GO_SYNTAX, 0},
        {"08", GO_SYNTAX, 0},
        {"0x", GO_SYNTAX, 0},
        {"_1", GO_SYNTAX, 0},
        {"1_", GO_SYNTAX, 0},
        {"1__0", GO_SYNTAX, 0},
        {"1e3", GO_SYNTAX, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t value = 0;
        assert_int_equal(go_uint(cases[i].text, UINT64_MAX, &value), cases[i].outcome);
        assert_true(value == cases[i].value);
    }
    uint64_t value = 7;
    assert_int_equal(go_uint("4294967296", UINT32_MAX, &value), GO_RANGE);
    assert_int_equal(value, 7);
}

static void test_int(void **state)
{
    (void)state;
    int64_t value = 0;
    assert_int_equal(go_int("-9223372036854775808", &value), 0);
    assert_true(value == INT64_MIN);
    assert_int_equal(go_int("9223372036854775808", &value), GO_RANGE);
    assert_int_equal(go_int("+5", &value), 0);
    assert_int_equal(value, 5);
    assert_int_equal(go_int("--5", &value), GO_SYNTAX);
}

static void test_duration(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
        const char *printed; /* NULL = not a duration */
    } cases[] = {
        {"0", 0, "0s"},
        {"+0", 0, "0s"},
        {"5s", 5000000000, "5s"},
        {"1h15m30.918s", 4530918000000, "1h15m30.918s"},
        {"2h", 7200000000000, "2h0m0s"},
        {"10m", 600000000000, "10m0s"},
        {"1.5h", 5400000000000, "1h30m0s"},
        {".5s", 500000000, "500ms"},
        {"-1.5s", -1500000000, "-1.5s"},
        {"100us", 100000, "100\xc2\xb5s"},
        {"3\xc2\xb5s", 3000, "3\xc2\xb5s"},
        {"7ns", 7, "7ns"},
        {"1s1s", 2000000000, "2s"},
        {"", 0, NULL},
        {"5", 0, NULL},
        {"s", 0, NULL},
        {".s", 0, NULL},
        {"1.2.3s", 0, NULL},
        {"1d", 0, NULL},
        {"9223372036854775808ns", 0, NULL},
        {"2562048h", 0, NULL},
        {"1s ", 0, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t value = 0;
        int outcome = go_duration(cases[i].text, &value);
        assert_int_equal(outcome, cases[i].printed ? 0 : GO_SYNTAX);
        assert_true(value == cases[i].value);
        if (cases[i].printed) {
            char *text = go_duration_text(value);
            assert_string_equal(text, cases[i].printed);
            free(text);
        }
    }
}

static void test_quote(void **state)
{
    (void)state;
    char *text = go_quote("a\"b\\c\n\x01\x7f\xff\xc3\xa4");
    assert_string_equal(text, "\"a\\\"b\\\\c\\n\\x01\\x7f\\xff\xc3\xa4\"");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bool),     cmocka_unit_test(test_uint),  cmocka_unit_test(test_int),
        cmocka_unit_test(test_duration), cmocka_unit_test(test_quote),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
