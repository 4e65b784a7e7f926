/* canon: what protobuf allows in a message is brought into the one form that everybody reads, and
 * what it does not allow is refused. Judged by protobuf-c on messages whose meaning is known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <etcd/rpc.pb-c.h>

#include "actors/api/canon.h"
#include "actors/core/prng.h"
#include "messages/limits.h"
#include "messages/wire.h"

#define TXN &etcdserverpb__txn_request__descriptor
#define PUT &etcdserverpb__put_request__descriptor

typedef struct {
    const char *what;
    const char *in;
    size_t in_len;
    const char *out;
    size_t out_len;
} case_t;

#define BYTES(text) text, sizeof(text) - 1

static void puts_lose_what_nobody_knows(void **state)
{
    (void)state;
    static const case_t cases[] = {
        {"nothing", BYTES(""), BYTES("")},
        {"plain", BYTES("\x0a\x01k\x12\x01v"), BYTES("\x0a\x01k\x12\x01v")},
        {"twice: the decoder takes the last", BYTES("\x0a\x01k\x0a\x01l"),
         BYTES("\x0a\x01k\x0a\x01l")},
        {"unknown varint", BYTES("\x0a\x01k\xf8\x01\x05"), BYTES("\x0a\x01k")},
        {"unknown bytes", BYTES("\xfa\x01\x02zz\x0a\x01k"), BYTES("\x0a\x01k")},
        {"unknown fixed",
         BYTES("\xf9\x01"
               "12345678"
               "\xfd\x01"
               "1234\x0a\x01k"),
         BYTES("\x0a\x01k")},
        {"wrong type", BYTES("\x08\x07\x0a\x01k\x1a\x01z"), BYTES("\x0a\x01k")},
        {"a group", BYTES("\x0b\x0a\x01x\x0c\x0a\x01k"), BYTES("\x0a\x01k")},
        {"groups in groups", BYTES("\x0b\x0b\x13\x14\x0c\x08\x01\x0c\x0a\x01k"),
         BYTES("\x0a\x01k")},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf_t out = {0};
        assert_int_equal(canon_rewrite(slice(cases[i].in, cases[i].in_len), PUT, &out), 0);
        if (!slice_equal(buf_slice(&out), slice(cases[i].out, cases[i].out_len))) {
            fail_msg("%s", cases[i].what);
        }
        assert_true(canon_is_plain(buf_slice(&out), PUT));
        buf_deinit(&out);
    }
}

static void what_is_no_message_is_refused(void **state)
{
    (void)state;
    static const case_t cases[] = {
        {"length", BYTES("\x0a\x05k"), NULL, 0},
        {"open group", BYTES("\x0b\x0a\x01k"), NULL, 0},
        {"other group's end", BYTES("\x0b\x14"), NULL, 0},
        {"end alone", BYTES("\x0c"), NULL, 0},
        {"field 0", BYTES("\x02\x00"), NULL, 0},
        {"wire type 6", BYTES("\x0e"), NULL, 0},
        {"garbage in a group", BYTES("\x0b\x0a\x09\x0c"), NULL, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf_t out = {0};
        if (canon_rewrite(slice(cases[i].in, cases[i].in_len), PUT, &out) != CANON_MALFORMED) {
            fail_msg("%s", cases[i].what);
        }
        buf_deinit(&out);
    }
    buf_t groups = {0};
    for (int i = 0; i <= WIRE_GROUPS_MAX; i++) {
        buf_byte(&groups, 0x0b);
    }
    for (int i = 0; i <= WIRE_GROUPS_MAX; i++) {
        buf_byte(&groups, 0x0c);
    }
    buf_t out = {0};
    assert_int_equal(canon_rewrite(buf_slice(&groups), PUT, &out), CANON_MALFORMED);
    assert_int_equal(canon_rewrite(slice(groups.data + 1, groups.len - 2), PUT, &out), 0);
    buf_deinit(&out);
    buf_deinit(&groups);
}

/* Unpacks a rewritten Txn. */
static Etcdserverpb__TxnRequest *rewritten(slice_t in)
{
    buf_t out = {0};
    assert_int_equal(canon_rewrite(in, TXN, &out), 0);
    assert_true(canon_is_plain(buf_slice(&out), TXN));
    Etcdserverpb__TxnRequest *txn = etcdserverpb__txn_request__unpack(NULL, out.len, out.data);
    assert_non_null(txn);
    buf_deinit(&out);
    return txn;
}

static void pieces_of_a_message_are_merged(void **state)
{
    (void)state;
    /* success { request_put { key: "c" value: "x" }  request_put { key: "m" prev_kv: true } } */
    static const char in[] = "\x12\x11\x12\x06\x0a\x01"
                             "c"
                             "\x12\x01"
                             "x"
                             "\x12\x07\x0a\x03"
                             "mmm"
                             "\x20\x01";
    assert_false(canon_is_plain(slice(in, sizeof in - 1), TXN));
    Etcdserverpb__TxnRequest *txn = rewritten(slice(in, sizeof in - 1));
    assert_int_equal(txn->n_success, 1);
    const Etcdserverpb__PutRequest *put = txn->success[0]->request_put;
    assert_int_equal(txn->success[0]->request_case, ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT);
    assert_memory_equal(put->key.data, "mmm", 3);
    assert_memory_equal(put->value.data, "x", 1);
    assert_true(put->prev_kv);
    etcdserverpb__txn_request__free_unpacked(txn, NULL);
}

static void the_last_member_of_a_oneof_counts(void **state)
{
    (void)state;
    /* put, range, put again: the first put is undone by the range */
    static const char in[] = "\x12\x0f\x12\x03\x12\x01"
                             "v"
                             "\x0a\x03\x0a\x01"
                             "r"
                             "\x12\x03\x0a\x01"
                             "k";
    Etcdserverpb__TxnRequest *txn = rewritten(slice(in, sizeof in - 1));
    assert_int_equal(txn->success[0]->request_case, ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT);
    assert_int_equal(txn->success[0]->request_put->value.len, 0);
    assert_memory_equal(txn->success[0]->request_put->key.data, "k", 1);
    etcdserverpb__txn_request__free_unpacked(txn, NULL);
}

static void depth_and_fields_are_bounded(void **state)
{
    (void)state;
    buf_t message = {0};
    buf_t out = {0};
    for (int i = 0; i < LIMIT_MESSAGE_DEPTH; i++) { /* TxnRequest, RequestOp, TxnRequest ... */
        buf_t outer = {0};
        buf_field_bytes(&outer, i % 2 ? 2 : 4, buf_slice(&message));
        buf_deinit(&message);
        message = outer;
        if (i == LIMIT_MESSAGE_DEPTH - 3) {
            assert_int_equal(canon_rewrite(buf_slice(&message), TXN, &out), 0);
        }
    }
    assert_int_equal(canon_rewrite(buf_slice(&message), TXN, &out), CANON_TOO_LARGE);
    buf_clear(&message);
    for (int i = 0; i < LIMIT_MESSAGE_FIELDS; i++) {
        buf_field_bytes(&message, 100, slice(NULL, 0));
    }
    assert_int_equal(canon_rewrite(buf_slice(&message), TXN, &out), 0);
    buf_field_bytes(&message, 100, slice(NULL, 0));
    assert_int_equal(canon_rewrite(buf_slice(&message), TXN, &out), CANON_TOO_LARGE);
    buf_deinit(&message);
    buf_deinit(&out);
}

/* Whatever is rewritten can be unpacked, and rewriting it again changes nothing. */
static void random_bytes_become_plain_or_are_refused(void **state)
{
    (void)state;
    prng_t prng = {.state = 1};
    int accepted = 0;
    for (int round = 0; round < 200000; round++) {
        static const uint8_t common[] = {0x0a, 0x12, 0x1a, 0x08, 0x10, 0x18,
                                         0x0b, 0x0c, 0x02, 0x22, 0x01, 0x00};
        uint8_t bytes[16];
        size_t len = prng_below(&prng, sizeof bytes);
        for (size_t i = 0; i < len; i++) {
            bytes[i] = common[prng_below(&prng, sizeof common)];
        }
        buf_t out = {0};
        if (canon_rewrite(slice(bytes, len), TXN, &out) == 0) {
            accepted++;
            assert_true(canon_is_plain(buf_slice(&out), TXN));
            Etcdserverpb__TxnRequest *txn =
                etcdserverpb__txn_request__unpack(NULL, out.len, out.data);
            assert_non_null(txn);
            etcdserverpb__txn_request__free_unpacked(txn, NULL);
            buf_t again = {0};
            assert_int_equal(canon_rewrite(buf_slice(&out), TXN, &again), 0);
            assert_int_equal(again.len, out.len);
            buf_deinit(&again);
        }
        buf_deinit(&out);
    }
    assert_true(accepted > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(puts_lose_what_nobody_knows),
        cmocka_unit_test(what_is_no_message_is_refused),
        cmocka_unit_test(pieces_of_a_message_are_merged),
        cmocka_unit_test(the_last_member_of_a_oneof_counts),
        cmocka_unit_test(depth_and_fields_are_bounded),
        cmocka_unit_test(random_bytes_become_plain_or_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
