/* Shows what is particular to LevelDB as a store: after a restart exactly what was flushed is there,
 * and always whole batches up to some point; damaged, cut and missing files lead to KV_ECORRUPT and
 * never to a wrong or missing pair; broken directories give an error that names the path. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "messages/xalloc.h"
#include "store/io.h"
#include "store/kv.h"
#include "tests/support/tmpdir.h"

enum { SMALL_BUFFER = 64 << 10, VALUE_BYTES = 200, KEYS = 2000 };

static char *dir;

static int make_dir(void **state)
{
    (void)state;
    dir = tmpdir_new();
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    tmpdir_destroy(&dir);
    return 0;
}

static int try_open(kv_t **kv_p, const char *path, char **text)
{
    kv_leveldb_cfg_t cfg = {.path = path, .write_buffer_bytes = SMALL_BUFFER};
    return kv_leveldb_open(kv_p, &cfg, text);
}

static kv_t *must_open(const char *path)
{
    kv_t *kv = NULL;
    char *text = NULL;
    if (try_open(&kv, path, &text) != 0) {
        fail_msg("%s", text);
    }
    return kv;
}

/* Keys and values follow from a number, so that every pair read can be checked. */
static slice_t key_of(uint32_t number, char *out)
{
    (void)sprintf(out, "key%08u", number);
    return slice_str(out);
}

static void value_of(uint32_t number, uint8_t *out)
{
    for (uint32_t i = 0; i < VALUE_BYTES; i++) {
        number = number * 1664525u + 1013904223u;
        out[i] = (uint8_t)(number >> 24);
    }
}

static void put_numbers(kv_t *kv, uint32_t from, uint32_t to, uint32_t per_batch)
{
    kv_batch_t *batch = kv_batch_new(kv);
    for (uint32_t number = from; number < to; number++) {
        char key[20];
        uint8_t value[VALUE_BYTES];
        value_of(number, value);
        kv_batch_put(batch, key_of(number, key), slice(value, sizeof value));
        if ((number + 1 - from) % per_batch == 0 || number + 1 == to) {
            assert_int_equal(kv_write(kv, batch), 0);
        }
    }
    kv_batch_destroy(&batch);
}

typedef struct {
    uint32_t right;
    uint32_t absent;
    uint32_t broken;
    int error; /* the last one */
} tally_t;

static tally_t get_all(kv_t *kv, uint32_t count)
{
    tally_t tally = {0};
    for (uint32_t number = 0; number < count; number++) {
        char key[20];
        uint8_t expected[VALUE_BYTES];
        kv_value_t value = {0};
        value_of(number, expected);
        int error = kv_get(kv_latest(kv), key_of(number, key), &value);
        if (error == 0) {
            assert_int_equal(value.len, sizeof expected);
            assert_memory_equal(value.data, expected, sizeof expected);
            tally.right++;
        } else if (error == KV_ABSENT) {
            tally.absent++;
        } else {
            assert_true(error == KV_ECORRUPT || error == KV_EIO);
            assert_string_not_equal(kv_error(kv), "no error");
            tally.broken++;
            tally.error = error;
        }
        kv_value_deinit(&value);
    }
    return tally;
}

/* Walks everything: right pairs without a hole, then the end (0) or an error. */
static int walk(kv_t *kv, uint32_t count)
{
    kv_iter_t *iter = kv_iter_new(kv_latest(kv));
    uint32_t number = 0;
    for (iter->ops->seek(iter, slice(NULL, 0)); iter->ops->valid(iter); iter->ops->next(iter)) {
        char key[20];
        uint8_t expected[VALUE_BYTES];
        value_of(number, expected);
        assert_true(slice_equal(iter->ops->key(iter), key_of(number, key)));
        assert_true(slice_equal(iter->ops->value(iter), slice(expected, sizeof expected)));
        number++;
    }
    int error = iter->ops->error(iter);
    kv_iter_destroy(&iter);
    if (error == 0) {
        assert_int_equal(number, count);
    }
    return error;
}

/* ---- what survives ---- */

static void only_what_was_flushed_survives(void **state)
{
    (void)state;
    kv_t *kv = must_open(dir);
    put_numbers(kv, 0, 50, 5);
    assert_int_equal(kv_flush(kv), 0);
    put_numbers(kv, 50, 60, 5);
    kv_close(&kv);

    kv = must_open(dir);
    tally_t tally = get_all(kv, 60);
    assert_int_equal(tally.right, 50);
    assert_int_equal(tally.absent, 10);
    assert_int_equal(walk(kv, 50), 0);
    kv_close(&kv);
}

static void a_fresh_store_flushes_and_comes_back_empty(void **state)
{
    (void)state;
    kv_t *kv = must_open(dir);
    assert_int_equal(kv_flush(kv), 0);
    assert_true(kv_size_bytes(kv) > 0);
    kv_close(&kv);
    kv = must_open(dir);
    assert_int_equal(walk(kv, 0), 0);
    kv_close(&kv);
}

/* Many tables written by LevelDB itself, at moments of its choosing: always a prefix of batches. */
static void what_survives_is_a_prefix_of_batches(void **state)
{
    (void)state;
    enum { PER_BATCH = 7 };
    kv_t *kv = must_open(dir);
    put_numbers(kv, 0, KEYS, PER_BATCH);
    kv_close(&kv);

    kv = must_open(dir);
    tally_t tally = get_all(kv, KEYS);
    assert_int_equal(tally.broken, 0);
    assert_in_range(tally.right, KEYS / 2, KEYS - 1);
    assert_int_equal(tally.right % PER_BATCH, 0);
    assert_int_equal(walk(kv, tally.right), 0); /* no hole before the last one */
    kv_close(&kv);
}

static void deletions_and_overwrites_survive_like_puts(void **state)
{
    (void)state;
    kv_t *kv = must_open(dir);
    put_numbers(kv, 0, 3, 1);
    assert_int_equal(kv_flush(kv), 0);
    char key[20];
    kv_batch_t *batch = kv_batch_new(kv);
    kv_batch_delete(batch, key_of(1, key));
    kv_batch_put(batch, key_of(2, key), slice_str(""));
    assert_int_equal(kv_write(kv, batch), 0);
    kv_batch_destroy(&batch);
    assert_int_equal(kv_flush(kv), 0);
    kv_close(&kv);

    kv = must_open(dir);
    kv_value_t value = {0};
    assert_int_equal(kv_get(kv_latest(kv), key_of(1, key), &value), KV_ABSENT);
    assert_int_equal(kv_get(kv_latest(kv), key_of(2, key), &value), 0);
    assert_int_equal(value.len, 0);
    kv_value_deinit(&value);
    kv_close(&kv);
}

/* ---- damage ---- */

static bool has_suffix(const char *name, const char *suffix)
{
    size_t len = strlen(name);
    return len >= strlen(suffix) && strcmp(name + len - strlen(suffix), suffix) == 0;
}

/* The first file with this suffix, or whose name starts with the prefix. */
static char *find_file(const char *prefix, const char *suffix)
{
    char **names = NULL;
    size_t count = 0;
    char *found = NULL;
    assert_int_equal(io_list(io_posix(), dir, &names, &count), 0);
    for (size_t i = 0; i < count && !found; i++) {
        if (strncmp(names[i], prefix, strlen(prefix)) == 0 && has_suffix(names[i], suffix)) {
            found = xasprintf("%s/%s", dir, names[i]);
        }
    }
    io_names_free(&names, count);
    assert_non_null(found);
    return found;
}

static off_t file_size(const char *path)
{
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return info.st_size;
}

static void flip(const char *path, off_t at)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    uint8_t byte = 0;
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    assert_int_equal(close(fd), 0);
}

static void make_flushed(void)
{
    kv_t *kv = must_open(dir);
    put_numbers(kv, 0, KEYS, 100);
    assert_int_equal(kv_flush(kv), 0);
    kv_close(&kv);
}

/* By steps, which do not ask for errors as they go. Stops at the first hole, where error() must
 * tell, or at the end. */
static int step_through(kv_t *kv)
{
    kv_iter_t *iter = kv_iter_new(kv_latest(kv));
    uint32_t number = 0;
    char key[20];
    iter->ops->seek(iter, slice_str(""));
    while (iter->ops->valid(iter) && slice_equal(iter->ops->key(iter), key_of(number, key))) {
        iter->ops->step(iter);
        number++;
    }
    int error = iter->ops->error(iter);
    assert_true(number == KEYS || error != 0);
    kv_iter_destroy(&iter);
    return error;
}

/* The error that damage leads to, or 0. What is read is checked in any case. */
static int noticed(void)
{
    kv_t *kv = NULL;
    char *text = NULL;
    int error = try_open(&kv, dir, &text);
    if (error != 0) {
        assert_null(kv);
        assert_non_null(strstr(text, dir));
        free(text);
        return error;
    }
    tally_t tally = get_all(kv, KEYS);
    assert_int_equal(tally.absent, 0);
    error = walk(kv, KEYS);
    /* A get reads only the blocks it needs, a walk reads them all. */
    assert_true(error != 0 || tally.broken == 0);
    assert_int_equal(step_through(kv), error);
    kv_close(&kv);
    return error;
}

static void a_flipped_bit_in_a_table_is_noticed(void **state)
{
    (void)state;
    make_flushed();
    char *table = find_file("", ".ldb");
    off_t size = file_size(table);
    int found = 0;
    int flips = 0;
    for (off_t at = 0; at < size; at += size / 50, flips++) {
        flip(table, at);
        int error = noticed();
        assert_true(error == 0 || error == KV_ECORRUPT);
        found += error != 0;
        flip(table, at);
    }
    /* Filters and padding may be damaged without harm; all the rest is data and index. */
    assert_in_range(found, flips * 3 / 4, flips);
    assert_int_equal(noticed(), 0);
    free(table);
}

static void a_cut_or_missing_table_is_noticed(void **state)
{
    (void)state;
    make_flushed();
    char *table = find_file("", ".ldb");
    assert_int_equal(truncate(table, file_size(table) / 2), 0);
    assert_true(noticed() < 0);
    assert_int_equal(unlink(table), 0);
    assert_true(noticed() < 0);
    free(table);
}

static void a_damaged_manifest_is_noticed(void **state)
{
    (void)state;
    make_flushed();
    char *manifest = find_file("MANIFEST-", "");
    flip(manifest, file_size(manifest) / 2);
    assert_true(noticed() < 0);
    assert_int_equal(unlink(manifest), 0);
    assert_true(noticed() < 0);
    free(manifest);
}

/* LevelDB alone would make a new, empty store of it and delete the tables. */
static void tables_without_current_are_refused_and_kept(void **state)
{
    (void)state;
    make_flushed();
    char *current = xasprintf("%s/CURRENT", dir);
    assert_int_equal(unlink(current), 0);
    kv_t *kv = NULL;
    char *text = NULL;
    assert_int_equal(try_open(&kv, dir, &text), KV_ECORRUPT);
    assert_null(kv);
    assert_non_null(strstr(text, "CURRENT"));
    free(text);
    free(find_file("", ".ldb"));
    free(current);
}

static void damage_all_tables(void)
{
    char **names = NULL;
    size_t count = 0;
    assert_int_equal(io_list(io_posix(), dir, &names, &count), 0);
    for (size_t i = 0; i < count; i++) {
        if (has_suffix(names[i], ".ldb")) {
            char *path = xasprintf("%s/%s", dir, names[i]);
            flip(path, 100);
            free(path);
        }
    }
    io_names_free(&names, count);
}

/* The background thread meets the damage; a flush must hear of it. */
static void damage_met_by_compaction_is_reported(void **state)
{
    (void)state;
    make_flushed();
    make_flushed(); /* above the first: on a level that compaction soon gets to */
    damage_all_tables();
    kv_t *kv = must_open(dir);
    int error = 0;
    for (int round = 0; round < 20 && error == 0; round++) {
        kv_batch_t *batch = kv_batch_new(kv);
        for (uint32_t number = 0; number < KEYS; number += 100) {
            char key[20];
            kv_batch_put(batch, key_of(number, key), slice_str("new"));
        }
        error = kv_write(kv, batch);
        kv_batch_destroy(&batch);
        if (error == 0) {
            error = kv_flush(kv);
        }
    }
    assert_int_equal(error, KV_ECORRUPT);
    assert_non_null(strstr(kv_error(kv), "Corruption"));
    assert_int_equal(kv_flush(kv), KV_ECORRUPT);
    kv_close(&kv);
}

/* ---- directories ---- */

static void a_directory_that_cannot_be_made_or_read_is_an_error(void **state)
{
    (void)state;
    char *deep = xasprintf("%s/no/such", dir);
    char *file = xasprintf("%s/file", dir);
    FILE *made = fopen(file, "w");
    assert_non_null(made);
    assert_int_equal(fclose(made), 0);
    const char *paths[] = {deep, file};
    for (size_t i = 0; i < 2; i++) {
        kv_t *kv = NULL;
        char *text = NULL;
        assert_int_equal(try_open(&kv, paths[i], &text), KV_EIO);
        assert_null(kv);
        assert_non_null(strstr(text, paths[i]));
        free(text);
    }
    free(deep);
    free(file);
}

static void a_store_is_opened_once_at_a_time(void **state)
{
    (void)state;
    kv_t *kv = must_open(dir);
    put_numbers(kv, 0, 10, 1);
    kv_t *second = NULL;
    char *text = NULL;
    assert_true(try_open(&second, dir, &text) < 0);
    assert_null(second);
    free(text);
    kv_close(&kv);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(only_what_was_flushed_survives),
        TEST(a_fresh_store_flushes_and_comes_back_empty),
        TEST(what_survives_is_a_prefix_of_batches),
        TEST(deletions_and_overwrites_survive_like_puts),
        TEST(a_flipped_bit_in_a_table_is_noticed),
        TEST(a_cut_or_missing_table_is_noticed),
        TEST(a_damaged_manifest_is_noticed),
        TEST(tables_without_current_are_refused_and_kept),
        TEST(damage_met_by_compaction_is_reported),
        TEST(a_directory_that_cannot_be_made_or_read_is_an_error),
        TEST(a_store_is_opened_once_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
