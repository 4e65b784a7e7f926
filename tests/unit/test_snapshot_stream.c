/* A store as chunks and back: everything arrives, in chunks of a bounded size, as it was when the reading
 * began; and what is not what a sender makes is refused before anything of it is written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/core/prng.h"
#include "messages/crc32c.h"
#include "messages/limits.h"
#include "messages/xalloc.h"
#include "store/kv_impl.h"
#include "store/snapshot_stream.h"
#include "tests/support/tmpdir.h"

static void put(kv_t *kv, slice_t key, slice_t value)
{
    kv_batch_t *batch = kv_batch_new(kv);
    kv_batch_put(batch, key, value);
    assert_int_equal(kv_write(kv, batch), 0);
    kv_batch_destroy(&batch);
}

/* Rows of any bytes and many sizes; some values larger than a chunk. */
static void fill(kv_t *kv, uint64_t seed, int rows)
{
    prng_t prng = {.state = seed};
    uint8_t *value = xmalloc(2 * LIMIT_SNAPSHOT_CHUNK_BYTES);
    for (int i = 0; i < rows; i++) {
        uint8_t key[40];
        size_t key_len = 1 + (size_t)prng_below(&prng, sizeof key);
        for (size_t at = 0; at < key_len; at++) {
            key[at] = (uint8_t)prng_below(&prng, 256);
        }
        size_t most = i % 50 == 7 ? 2 * LIMIT_SNAPSHOT_CHUNK_BYTES : 20000;
        size_t value_len = (size_t)prng_below(&prng, most);
        memset(value, i, value_len);
        put(kv, slice(key, key_len), slice(value, value_len));
    }
    free(value);
}

static void expect_equal(kv_t *a, kv_t *b)
{
    kv_iter_t *left = kv_iter_new(kv_latest(a));
    kv_iter_t *right = kv_iter_new(kv_latest(b));
    left->ops->seek(left, slice(NULL, 0));
    right->ops->seek(right, slice(NULL, 0));
    while (left->ops->valid(left)) {
        assert_true(right->ops->valid(right));
        assert_true(slice_equal(left->ops->key(left), right->ops->key(right)));
        assert_true(slice_equal(left->ops->value(left), right->ops->value(right)));
        left->ops->next(left);
        right->ops->next(right);
    }
    assert_false(right->ops->valid(right));
    kv_iter_destroy(&left);
    kv_iter_destroy(&right);
}

/* All chunks of `from` into `to`; returns how many. `meanwhile` is written between two chunks. */
static size_t copy(kv_t *from, kv_t *to, const char *meanwhile)
{
    kv_snapshot_t *snapshot = kv_snapshot_new(from);
    snapshot_reader_t *reader = snapshot_reader_new(kv_snapshot_reader(snapshot));
    snapshot_writer_t *writer = snapshot_writer_new(to);
    buf_t chunk = {0};
    bool is_last = false;
    size_t chunks = 0;
    for (; !is_last; chunks++) {
        assert_int_equal(snapshot_reader_next(reader, &chunk, &is_last), 0);
        assert_int_equal(snapshot_writer_add(writer, buf_slice(&chunk)), 0);
        if (meanwhile) {
            put(from, slice_str(meanwhile), slice_str("later"));
        }
    }
    assert_int_equal(snapshot_reader_rows(reader), snapshot_writer_rows(writer));
    assert_int_equal(snapshot_reader_checksum(reader), snapshot_writer_checksum(writer));
    buf_deinit(&chunk);
    snapshot_writer_destroy(&writer);
    snapshot_reader_destroy(&reader);
    kv_snapshot_destroy(&snapshot);
    return chunks;
}

static void everything_arrives(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        kv_t *from = kv_memory_new();
        kv_t *to = kv_memory_new();
        fill(from, seed, 200);
        uint64_t bytes = kv_size_bytes(from);
        size_t chunks = copy(from, to, NULL);
        assert_in_range(chunks, bytes / (2 * LIMIT_SNAPSHOT_CHUNK_BYTES),
                        2 * bytes / LIMIT_SNAPSHOT_CHUNK_BYTES + 10);
        expect_equal(from, to);
        kv_close(&from);
        kv_close(&to);
    }
}

static void an_empty_store_is_one_empty_chunk(void **state)
{
    (void)state;
    kv_t *from = kv_memory_new();
    kv_t *to = kv_memory_new();
    assert_int_equal(copy(from, to, NULL), 1);
    expect_equal(from, to);
    kv_close(&from);
    kv_close(&to);
}

static void writes_meanwhile_do_not_show(void **state)
{
    (void)state;
    kv_t *from = kv_memory_new();
    kv_t *before = kv_memory_new();
    kv_t *to = kv_memory_new();
    fill(from, 3, 200);
    copy(from, before, NULL);
    assert_true(copy(from, to, "\x01") > 2);
    expect_equal(before, to);
    kv_close(&from);
    kv_close(&before);
    kv_close(&to);
}

static void leveldb_receives_the_same(void **state)
{
    (void)state;
    char *path = tmpdir_new();
    char *error = NULL;
    kv_leveldb_cfg_t cfg = {.path = path};
    kv_t *to = NULL;
    assert_int_equal(kv_leveldb_open(&to, &cfg, &error), 0);
    kv_t *from = kv_memory_new();
    kv_t *back = kv_memory_new();
    fill(from, 5, 300);
    copy(from, to, NULL);
    assert_int_equal(kv_flush(to), 0);
    expect_equal(from, to);
    copy(to, back, NULL);
    expect_equal(from, back);
    kv_close(&from);
    kv_close(&to);
    kv_close(&back);
    tmpdir_destroy(&path);
}

/* A chunk ends where the next row would make it too large; a row that is too large stands alone. */
static void chunks_have_a_size(void **state)
{
    (void)state;
    kv_t *kv = kv_memory_new();
    size_t large = LIMIT_SNAPSHOT_CHUNK_BYTES + 1;
    uint8_t *value = xcalloc(1, large);
    put(kv, slice_str("a"), slice(value, 10));
    put(kv, slice_str("b"), slice(value, large));
    put(kv, slice_str("c"), slice(value, LIMIT_SNAPSHOT_CHUNK_BYTES / 2));
    put(kv, slice_str("d"), slice(value, LIMIT_SNAPSHOT_CHUNK_BYTES / 2 - 100));
    put(kv, slice_str("e"), slice(value, 200));
    snapshot_reader_t *reader = snapshot_reader_new(kv_latest(kv));
    static const uint64_t rows[] = {1, 2, 4, 5};
    buf_t chunk = {0};
    uint32_t checksum = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool is_last = false;
        assert_int_equal(snapshot_reader_next(reader, &chunk, &is_last), 0);
        checksum = crc32c(checksum, chunk.data, chunk.len);
        assert_int_equal(snapshot_reader_rows(reader), rows[i]);
        assert_int_equal(snapshot_reader_checksum(reader), checksum);
        assert_int_equal(is_last, i == 3);
    }
    snapshot_reader_destroy(&reader);
    buf_deinit(&chunk);
    free(value);
    kv_close(&kv);
}

/* ---- what no sender makes ---- */

static size_t count_rows(kv_t *kv)
{
    size_t rows = 0;
    kv_iter_t *iter = kv_iter_new(kv_latest(kv));
    for (iter->ops->seek(iter, slice(NULL, 0)); iter->ops->valid(iter); iter->ops->next(iter)) {
        rows++;
    }
    kv_iter_destroy(&iter);
    return rows;
}

static void malformed_chunks_are_refused_whole(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } chunks[] = {
        {"\x01\x00k\x01", 4},       /* ends within a row's lengths */
        {"\x01\x00k\x01\x02lv", 7}, /* a value that is not all there */
        {"\x01\x00k\x7f\x00l", 6},  /* a key that is not */
        {"\x01\x00k\x00\x01v", 6},  /* an empty key */
        {"\x01\x00k\x01\x00k", 6},  /* a key twice */
        {"\x01\x00k\x01\x00j", 6},  /* a key that goes back */
        {"\x01\x00"
         "b\x01\x00k",
         6}, /* the first one is not above the last chunk's */
        {"\x01\x00k\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01l", 15}, /* a length of 2^64 - 1 */
        {"\x01\x00k\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xffl", 16}, /* no varint */
    };
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        kv_t *kv = kv_memory_new();
        snapshot_writer_t *writer = snapshot_writer_new(kv);
        assert_int_equal(snapshot_writer_add(writer, slice("\x01\x01"
                                                           "cv",
                                                           4)),
                         0);
        uint32_t checksum = snapshot_writer_checksum(writer);
        assert_int_equal(snapshot_writer_add(writer, slice(chunks[i].bytes, chunks[i].len)),
                         SNAPSHOT_MALFORMED);
        assert_int_equal(snapshot_writer_rows(writer), 1);
        assert_int_equal(snapshot_writer_checksum(writer), checksum);
        assert_int_equal(snapshot_writer_add(writer, slice("\x01\x01"
                                                           "dv",
                                                           4)),
                         0);
        assert_int_equal(count_rows(kv), 2);
        snapshot_writer_destroy(&writer);
        kv_close(&kv);
    }
}

/* Any bytes are refused or are rows. */
static void random_bytes_do_no_harm(void **state)
{
    (void)state;
    prng_t prng = {.state = 9};
    kv_t *kv = kv_memory_new();
    snapshot_writer_t *writer = snapshot_writer_new(kv);
    for (int i = 0; i < 20000; i++) {
        size_t len = (size_t)prng_below(&prng, 30);
        uint8_t *exact = xmalloc(len ? len : 1);
        for (size_t at = 0; at < len; at++) {
            exact[at] = (uint8_t)prng_below(&prng, i % 2 ? 6 : 256);
        }
        assert_in_range(snapshot_writer_add(writer, slice(exact, len)), 0, 1);
        free(exact);
    }
    assert_int_equal(count_rows(kv), snapshot_writer_rows(writer));
    snapshot_writer_destroy(&writer);
    kv_close(&kv);
}

/* ---- a store that breaks ---- */

typedef struct {
    kv_iter_t iter;
    int left;
} broken_t;

static void broken_seek(kv_iter_t *iter, slice_t key)
{
    (void)iter;
    (void)key;
}

static void broken_step(kv_iter_t *iter)
{
    ((broken_t *)iter)->left--;
}

static bool broken_valid(const kv_iter_t *iter)
{
    return ((const broken_t *)iter)->left > 0;
}

static slice_t broken_key(const kv_iter_t *iter)
{
    (void)iter;
    return slice_str("key");
}

static int broken_error(const kv_iter_t *iter)
{
    return ((const broken_t *)iter)->left > 0 ? 0 : KV_ECORRUPT;
}

static void broken_destroy(kv_iter_t *iter)
{
    free(iter);
}

static kv_iter_t *broken_iter(const kv_reader_t *reader)
{
    (void)reader;
    static const kv_iter_ops_t ops = {
        .seek = broken_seek,
        .step = broken_step,
        .valid = broken_valid,
        .key = broken_key,
        .value = broken_key,
        .error = broken_error,
        .destroy = broken_destroy,
    };
    broken_t *self = xcalloc(1, sizeof *self);
    self->iter.ops = &ops;
    self->left = 3;
    return &self->iter;
}

static void a_store_that_cannot_be_read_gives_no_chunk(void **state)
{
    (void)state;
    const kv_reader_t broken = {.iter = broken_iter};
    snapshot_reader_t *reader = snapshot_reader_new(&broken);
    buf_t chunk = {0};
    bool is_last = false;
    assert_int_equal(snapshot_reader_next(reader, &chunk, &is_last), KV_ECORRUPT);
    snapshot_reader_destroy(&reader);
    buf_deinit(&chunk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_arrives),
        cmocka_unit_test(an_empty_store_is_one_empty_chunk),
        cmocka_unit_test(writes_meanwhile_do_not_show),
        cmocka_unit_test(leveldb_receives_the_same),
        cmocka_unit_test(chunks_have_a_size),
        cmocka_unit_test(malformed_chunks_are_refused_whole),
        cmocka_unit_test(random_bytes_do_no_harm),
        cmocka_unit_test(a_store_that_cannot_be_read_gives_no_chunk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
