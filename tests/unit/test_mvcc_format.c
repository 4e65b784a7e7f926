/* Shows that stored keys sort as what they stand for and are read back as they were written; that
 * damaged ones are noticed; that stores of a few known entries have the bytes of docs/key_layout.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "actors/core/prng.h"
#include "messages/xalloc.h"
#include "store/mvcc_internal.h"
#include "store/mvcc_write.h"

enum { ROUNDS = 20000, KEY_MAX = 4 };

static slice_t random_key(prng_t *prng, uint8_t *room)
{
    static const uint8_t bytes[] = {0, 1, 2, 'a', 0xfe, 0xff};
    size_t len = 1 + prng_below(prng, KEY_MAX);
    for (size_t i = 0; i < len; i++) {
        room[i] = bytes[prng_below(prng, sizeof bytes)];
    }
    return slice(room, len);
}

static mvcc_position_t random_position(prng_t *prng)
{
    return (mvcc_position_t){.main = (int64_t)(prng_next(prng) >> (1 + prng_below(prng, 63))),
                             .sub = (int64_t)prng_below(prng, 3) * UINT32_MAX / 2};
}

static int sign(int order)
{
    return order < 0 ? -1 : order > 0;
}

static void history_sorts_by_key_then_newest_first(void **state)
{
    (void)state;
    prng_t prng = {.state = 1};
    buf_t stored[2] = {{0}, {0}};
    buf_t key = {0};
    for (int i = 0; i < ROUNDS; i++) {
        uint8_t rooms[2][KEY_MAX];
        slice_t keys[2];
        mvcc_position_t at[2];
        for (int j = 0; j < 2; j++) {
            keys[j] = random_key(&prng, rooms[j]);
            at[j] = random_position(&prng);
            mvcc_key_history(&stored[j], keys[j], at[j]);
            mvcc_position_t back;
            assert_int_equal(mvcc_history_parse(buf_slice(&stored[j]), &key, &back), 0);
            assert_true(slice_equal(buf_slice(&key), keys[j]));
            assert_int_equal(mvcc_position_compare(back, at[j]), 0);
        }
        int order = sign(slice_compare(keys[0], keys[1]));
        order = order ? order : mvcc_position_compare(at[1], at[0]);
        assert_int_equal(sign(slice_compare(buf_slice(&stored[0]), buf_slice(&stored[1]))), order);
        mvcc_key_history_behind(&stored[1], keys[0]);
        assert_true(slice_compare(buf_slice(&stored[0]), buf_slice(&stored[1])) < 0);
    }
    buf_deinit(&stored[0]);
    buf_deinit(&stored[1]);
    buf_deinit(&key);
}

static void log_rows_sort_by_position(void **state)
{
    (void)state;
    prng_t prng = {.state = 2};
    buf_t stored[2] = {{0}, {0}};
    for (int i = 0; i < ROUNDS; i++) {
        mvcc_position_t at[2];
        for (int j = 0; j < 2; j++) {
            mvcc_position_t back;
            at[j] = random_position(&prng);
            mvcc_key_log(&stored[j], at[j]);
            assert_int_equal(mvcc_log_key_parse(buf_slice(&stored[j]), &back), 0);
            assert_int_equal(mvcc_position_compare(back, at[j]), 0);
        }
        assert_int_equal(sign(slice_compare(buf_slice(&stored[0]), buf_slice(&stored[1]))),
                         mvcc_position_compare(at[0], at[1]));
    }
    buf_deinit(&stored[0]);
    buf_deinit(&stored[1]);
}

static void records_are_read_as_written_and_never_when_cut_short(void **state)
{
    (void)state;
    static const mvcc_record_t records[] = {
        {.create_revision = 2, .mod_revision = 3, .version = 1},
        {.create_revision = INT64_MAX,
         .mod_revision = INT64_MAX,
         .sub = UINT32_MAX,
         .version = INT64_MAX,
         .lease = -1,
         .value = {(const uint8_t *)"value", 5}},
        {.create_revision = 200, .mod_revision = 300, .version = 7, .lease = 1},
    };
    buf_t stored = {0};
    for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
        mvcc_record_t back;
        mvcc_record_write(&stored, &records[i]);
        assert_int_equal(mvcc_record_parse(buf_slice(&stored), &back), 0);
        assert_int_equal(back.create_revision, records[i].create_revision);
        assert_int_equal(back.mod_revision, records[i].mod_revision);
        assert_int_equal(back.sub, records[i].sub);
        assert_int_equal(back.version, records[i].version);
        assert_int_equal(back.lease, records[i].lease);
        assert_true(slice_equal(back.value, records[i].value));
        buf_byte(&stored, 0);
        assert_int_equal(mvcc_record_parse(buf_slice(&stored), &back), KV_ECORRUPT);
    }
    mvcc_record_t ignored;
    mvcc_position_t at;
    mvcc_log_row_t row;
    buf_t key = {0};
    assert_int_equal(mvcc_record_parse(slice(NULL, 0), &ignored), KV_ECORRUPT);
    assert_int_equal(mvcc_record_parse(slice("\0\x2a\5abc", 6), &ignored), KV_ECORRUPT);
    assert_int_equal(mvcc_log_row_parse(slice(NULL, 0), &row), KV_ECORRUPT);
    assert_int_equal(mvcc_log_row_parse(slice("\2\x80", 2), &row), KV_ECORRUPT);
    assert_int_equal(mvcc_log_key_parse(slice("R1234", 5), &at), KV_ECORRUPT);
    assert_int_equal(mvcc_history_parse(slice("Ha", 2), &key, &at), KV_ECORRUPT);
    assert_int_equal(mvcc_history_parse(slice("Ha\0\2aaaaaaaaaaaa", 16), &key, &at), KV_ECORRUPT);
    assert_int_equal(mvcc_history_parse(slice("Ha\0\1\0\1aaaaaaaaaaaa", 18), &key, &at),
                     KV_ECORRUPT);
    buf_deinit(&key);
    buf_deinit(&stored);
}

/* ---- known bytes ---- */

typedef struct {
    const char *key;
    size_t key_len;
    const char *value;
    size_t value_len;
} row_t;

#define ROW(key, value)                                                                            \
    {                                                                                              \
        (key), sizeof(key) - 1, (value), sizeof(value) - 1                                         \
    }

static void a_store_has_the_bytes_of_the_layout(void **state)
{
    (void)state;
    static const row_t rows[] = {
        ROW("A\0\0\0\0\0\0\0\7a", ""),
        ROW("C\0", "\1"),
        ROW("Ha\0\1\xff\xff\xff\xff\xff\xff\xff\xfd\xff\xff\xff\xff", "\0\x10\2\x18\2 \1*\1x"),
        ROW("Hb\0\1\xff\xff\xff\xff\xff\xff\xff\xfc\xff\xff\xff\xfe", ""),
        ROW("Hb\0\1\xff\xff\xff\xff\xff\xff\xff\xfc\xff\xff\xff\xff", "\0\x10\3\x18\3 \1"),
        ROW("Ka", "\0\x10\2\x18\4 \2*\2yz0\7"),
        ROW("L\0\0\0\0\0\0\0\7", "\x3c"),
        ROW("Mhead",
            "\5\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"),
        ROW("R\0\0\0\0\0\0\0\2\0\0\0\0", "\0a"),
        ROW("R\0\0\0\0\0\0\0\3\0\0\0\0", "\0b"),
        ROW("R\0\0\0\0\0\0\0\3\0\0\0\1", "\3\3\0b"),
        ROW("R\0\0\0\0\0\0\0\4\0\0\0\0", "\2\2\0a"),
    };
    kv_t *kv = kv_memory_new();
    mvcc_t *mvcc = NULL;
    char *error = NULL;
    bool existed = false;
    int64_t deleted = 0;
    assert_int_equal(mvcc_new(&mvcc, kv, &error), 0);
    mvcc_entry_begin(mvcc, 1, 1);
    assert_int_equal(mvcc_lease_grant(mvcc, 7, 60), 0);
    mvcc_entry_end(mvcc);
    mvcc_entry_begin(mvcc, 2, 1);
    assert_int_equal(mvcc_put(mvcc, &(mvcc_put_t){.key = slice_str("a"), .value = slice_str("x")},
                              NULL, &existed),
                     0);
    mvcc_entry_end(mvcc);
    mvcc_entry_begin(mvcc, 3, 1); /* a put and a delete of one key in one revision */
    assert_int_equal(mvcc_put(mvcc, &(mvcc_put_t){.key = slice_str("b")}, NULL, &existed), 0);
    assert_int_equal(
        mvcc_delete_range(mvcc, &(mvcc_interval_t){slice_str("b"), slice("", 1)}, &deleted, NULL),
        0);
    mvcc_entry_end(mvcc);
    mvcc_entry_begin(mvcc, 4, 1);
    mvcc_put_t put = {.key = slice_str("a"), .value = slice_str("yz"), .lease = 7};
    assert_int_equal(mvcc_put(mvcc, &put, NULL, &existed), 0);
    mvcc_entry_end(mvcc);
    mvcc_entry_begin(mvcc, 5, 1);
    mvcc_entry_end(mvcc);
    assert_int_equal(mvcc_commit(mvcc), 0);

    size_t count = 0;
    kv_iter_t *iter = kv_iter_new(kv_latest(kv));
    for (iter->ops->seek(iter, slice(NULL, 0)); iter->ops->valid(iter); iter->ops->next(iter)) {
        assert_true(count < sizeof rows / sizeof *rows);
        if (!slice_equal(iter->ops->key(iter), slice(rows[count].key, rows[count].key_len)) ||
            !slice_equal(iter->ops->value(iter), slice(rows[count].value, rows[count].value_len))) {
            fail_msg("row %zu differs", count);
        }
        count++;
    }
    assert_int_equal(count, sizeof rows / sizeof *rows);
    kv_iter_destroy(&iter);
    mvcc_destroy(&mvcc);
    kv_close(&kv);
}

static void a_damaged_store_is_refused(void **state)
{
    (void)state;
    static const row_t bad[] = {ROW("Mhead", "short"), ROW("Mcompaction", "x"), ROW("Cb", "\x80")};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kv_t *kv = kv_memory_new();
        kv_batch_t *batch = kv_batch_new(kv);
        kv_batch_put(batch, slice(bad[i].key, bad[i].key_len),
                     slice(bad[i].value, bad[i].value_len));
        assert_int_equal(kv_write(kv, batch), 0);
        kv_batch_destroy(&batch);
        mvcc_t *mvcc = NULL;
        char *error = NULL;
        assert_int_equal(mvcc_new(&mvcc, kv, &error), KV_ECORRUPT);
        assert_null(mvcc);
        assert_non_null(error);
        free(error);
        kv_close(&kv);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(history_sorts_by_key_then_newest_first),
        cmocka_unit_test(log_rows_sort_by_position),
        cmocka_unit_test(records_are_read_as_written_and_never_when_cut_short),
        cmocka_unit_test(a_store_has_the_bytes_of_the_layout),
        cmocka_unit_test(a_damaged_store_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
