/* wire: fields off untrusted bytes; what is cut off or impossible is refused, groups are skipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "messages/wire.h"

#define SLICE(text) slice(text, sizeof(text) - 1)

static void fields_of_every_type(void **state)
{
    (void)state;
    slice_t rest = SLICE("\x08\x96\x01"
                         "\x12\x02hi"
                         "\x19\x01\x00\x00\x00\x00\x00\x00\x80"
                         "\x25\x02\x00\x00\x00");
    wire_field_t field;
    assert_int_equal(wire_next(&rest, &field), 0);
    assert_int_equal(field.number, 1);
    assert_int_equal(field.value, 150);
    assert_int_equal(wire_next(&rest, &field), 0);
    assert_int_equal(field.number, 2);
    assert_memory_equal(field.data.data, "hi", 2);
    assert_int_equal(wire_next(&rest, &field), 0);
    assert_int_equal(field.type, 1);
    assert_true(field.value == 0x8000000000000001u);
    assert_int_equal(wire_next(&rest, &field), 0);
    assert_int_equal(field.type, 5);
    assert_int_equal(field.value, 2);
    assert_int_equal(wire_next(&rest, &field), WIRE_END);
}

static void groups_are_skipped(void **state)
{
    (void)state;
    const struct {
        slice_t group;
        int rc;
    } cases[] = {
        {SLICE("\x0b\x0c"), 0},                        /* empty */
        {SLICE("\x0b\x10\x01\x1a\x02zz\x0c"), 0},      /* with fields */
        {SLICE("\x0b\x13\x13\x14\x14\x0c"), 0},        /* in each other */
        {SLICE("\x0b\x15\x01\x02\x03\x04\x0c"), 0},    /* fixed32 inside */
        {SLICE("\x0b"), WIRE_MALFORMED},               /* never ends */
        {SLICE("\x0b\x10\x01"), WIRE_MALFORMED},       /* never ends, after a field */
        {SLICE("\x0b\x14"), WIRE_MALFORMED},           /* another one's end */
        {SLICE("\x0b\x13\x0c\x14"), WIRE_MALFORMED},   /* crossed */
        {SLICE("\x0c"), WIRE_MALFORMED},               /* an end alone */
        {SLICE("\x0b\x1a\x09zz\x0c"), WIRE_MALFORMED}, /* a field inside is cut off */
        {SLICE("\x0b\x16\x0c"), WIRE_MALFORMED},       /* a type that does not exist */
        {SLICE("\x0b\x03\x04\x0c"), WIRE_MALFORMED},   /* field number 0 */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char bytes[64];
        memcpy(bytes, cases[i].group.data, cases[i].group.len);
        memcpy(bytes + cases[i].group.len, "\x10\x07", 2);
        slice_t rest = slice(bytes, cases[i].group.len + (cases[i].rc ? 0 : 2));
        wire_field_t field;
        assert_int_equal(wire_next(&rest, &field), cases[i].rc);
        if (cases[i].rc == 0) {
            assert_int_equal(field.type, WIRE_GROUP);
            assert_int_equal(wire_next(&rest, &field), 0);
            assert_int_equal(field.value, 7);
            assert_int_equal(rest.len, 0);
        }
    }
}

static void groups_are_bounded(void **state)
{
    (void)state;
    for (size_t depth = WIRE_GROUPS_MAX; depth <= WIRE_GROUPS_MAX + 1; depth++) {
        char bytes[2 * (WIRE_GROUPS_MAX + 1)];
        memset(bytes, 0x0b, depth);
        memset(bytes + depth, 0x0c, depth);
        slice_t rest = slice(bytes, 2 * depth);
        wire_field_t field;
        assert_int_equal(wire_next(&rest, &field), depth > WIRE_GROUPS_MAX ? WIRE_MALFORMED : 0);
    }
}

static void cut_off_anywhere_is_refused(void **state)
{
    (void)state;
    static const char whole[] = "\x0a\x03"
                                "abc\x10\x80\x01\x1d\x01\x02\x03\x04\x23\x28\x05\x24";
    static const size_t starts[] = {0, 5, 8, 13, sizeof whole - 1};
    for (size_t len = 0; len < sizeof whole; len++) {
        slice_t rest = slice(whole, len);
        wire_field_t field;
        size_t fields = 0;
        int rc = 0;
        while ((rc = wire_next(&rest, &field)) == 0) {
            fields++;
        }
        assert_int_equal(rc, starts[fields] == len ? WIRE_END : WIRE_MALFORMED);
    }
}

static void varints_fit_64_bits(void **state)
{
    (void)state;
    slice_t rest = SLICE("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
    uint64_t value = 0;
    assert_int_equal(wire_varint(&rest, &value), 0);
    assert_true(value == UINT64_MAX);
    rest = SLICE("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02");
    assert_int_equal(wire_varint(&rest, &value), WIRE_MALFORMED);
    rest = SLICE("\x80\x80\x80");
    assert_int_equal(wire_varint(&rest, &value), WIRE_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_of_every_type), cmocka_unit_test(groups_are_skipped),
        cmocka_unit_test(groups_are_bounded),   cmocka_unit_test(cut_off_anywhere_is_refused),
        cmocka_unit_test(varints_fit_64_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
