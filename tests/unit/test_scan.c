/* Shows that messages are bounded before protobuf-c sees them: nesting, number of fields, packed
 * arrays, malformed bytes; and that bytes which look like messages are left alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "etcd/rpc.pb-c.h"
#include "messages/buf.h"
#include "messages/limits.h"
#include "messages/scan.h"

static const scan_limits_t usual = {.depth = LIMIT_MESSAGE_DEPTH, .fields = LIMIT_MESSAGE_FIELDS};

/* A TxnRequest that holds `depth` - 1 further TxnRequests, each inside a RequestOp. */
static void nested_txn(buf_t *out, size_t depth)
{
    for (size_t i = 1; i < depth; i++) {
        buf_t op = {0};
        buf_field_bytes(&op, 4, buf_slice(out));
        buf_clear(out);
        buf_field_bytes(out, 2, buf_slice(&op));
        buf_deinit(&op);
    }
}

static int scan_txn(const buf_t *buf, const scan_limits_t *limits)
{
    return scan_message(buf_slice(buf), &etcdserverpb__txn_request__descriptor, limits);
}

static void nesting_is_bounded(void **state)
{
    (void)state;
    buf_t buf = {0};
    nested_txn(&buf, LIMIT_MESSAGE_DEPTH / 2);
    assert_int_equal(scan_txn(&buf, &usual), 0);
    nested_txn(&buf, 2);
    assert_int_equal(scan_txn(&buf, &usual), SCAN_TOO_DEEP);
    nested_txn(&buf, 8000);
    assert_int_equal(scan_txn(&buf, &usual), SCAN_TOO_DEEP);
    buf_deinit(&buf);
}

static void a_value_that_looks_like_a_message_is_not_looked_into(void **state)
{
    (void)state;
    buf_t value = {0};
    nested_txn(&value, 100);
    buf_t put = {0};
    buf_field_bytes(&put, 1, slice_str("k"));
    buf_field_bytes(&put, 2, buf_slice(&value));
    assert_int_equal(scan_message(buf_slice(&put), &etcdserverpb__put_request__descriptor, &usual),
                     0);
    buf_deinit(&value);
    buf_deinit(&put);
}

static void fields_are_bounded_over_all_levels(void **state)
{
    (void)state;
    buf_t buf = {0};
    for (int i = 0; i < 10; i++) {
        buf_field_bytes(&buf, 2, slice("\x1a\x00", 2)); /* success: an op with an empty delete */
    }
    assert_int_equal(scan_txn(&buf, &(scan_limits_t){.depth = 4, .fields = 20}), 0);
    assert_int_equal(scan_txn(&buf, &(scan_limits_t){.depth = 4, .fields = 19}),
                     SCAN_TOO_MANY_FIELDS);
    buf_deinit(&buf);
}

static void unknown_fields_count_too(void **state)
{
    (void)state;
    buf_t buf = {0};
    for (int i = 0; i < 10; i++) {
        buf_field_u64(&buf, 999, 1);
    }
    assert_int_equal(scan_txn(&buf, &(scan_limits_t){.depth = 1, .fields = 10}), 0);
    assert_int_equal(scan_txn(&buf, &(scan_limits_t){.depth = 1, .fields = 9}),
                     SCAN_TOO_MANY_FIELDS);
    buf_deinit(&buf);
}

static void packed_arrays_count_their_elements(void **state)
{
    (void)state;
    buf_t buf = {0};
    buf_field_bytes(&buf, 5, slice("\0\1\0\1\0\1\0\1", 8)); /* filters of WatchCreateRequest */
    const ProtobufCMessageDescriptor *watch = &etcdserverpb__watch_create_request__descriptor;
    assert_int_equal(
        scan_message(buf_slice(&buf), watch, &(scan_limits_t){.depth = 1, .fields = 9}), 0);
    assert_int_equal(
        scan_message(buf_slice(&buf), watch, &(scan_limits_t){.depth = 1, .fields = 8}),
        SCAN_TOO_MANY_FIELDS);
    buf_deinit(&buf);
}

static void malformed_bytes_are_refused_at_any_level(void **state)
{
    (void)state;
    static const char *const bad[] = {"\x0a\x05\x61", "\x12\x02\x1a\x05", "\x07", "\x80"};
    static const size_t len[] = {3, 4, 1, 1};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(
            scan_message(slice(bad[i], len[i]), &etcdserverpb__txn_request__descriptor, &usual),
            SCAN_MALFORMED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(a_value_that_looks_like_a_message_is_not_looked_into),
        cmocka_unit_test(fields_are_bounded_over_all_levels),
        cmocka_unit_test(unknown_fields_count_too),
        cmocka_unit_test(packed_arrays_count_their_elements),
        cmocka_unit_test(malformed_bytes_are_refused_at_any_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
