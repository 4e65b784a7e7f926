/* Shows the layout of the data directory and its rules: one process at a time, etcd's directories
 * are left alone, exactly one generation of the store is in force whatever is cut short (every
 * changing call fails once, and every one is followed by a power cut), and it is the one the log tells
 * of; others are removed, and what cannot be understood or used is refused with a text that names the
 * path. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "messages/xalloc.h"
#include "store/data_dir.h"
#include "store/kv.h"
#include "tests/support/fault_io.h"
#include "tests/support/tmpdir.h"

/* ---- the real file system ---- */

static char *top; /* of one test */

static int make_top(void **state)
{
    (void)state;
    top = tmpdir_new();
    return 0;
}

static int remove_top(void **state)
{
    (void)state;
    tmpdir_destroy(&top);
    return 0;
}

static char *in_top(const char *name)
{
    return xasprintf("%s/%s", top, name);
}

static data_dir_t *must_open(io_t *io, const char *path, const char *wal_path)
{
    data_dir_cfg_t cfg = {.path = path, .wal_path = wal_path};
    data_dir_t *dir = NULL;
    char *error = NULL;
    if (data_dir_open(&dir, io, &cfg, &error) != 0) {
        fail_msg("%s", error);
    }
    return dir;
}

/* The outcome must be this one, with a text that holds `part`. */
static void must_refuse(const char *path, const char *wal_path, int outcome, const char *part)
{
    data_dir_cfg_t cfg = {.path = path, .wal_path = wal_path};
    data_dir_t *dir = NULL;
    char *error = NULL;
    assert_int_equal(data_dir_open(&dir, io_posix(), &cfg, &error), outcome);
    assert_null(dir);
    assert_non_null(error);
    if (!strstr(error, part)) {
        fail_msg("'%s' does not hold '%s'", error, part);
    }
    free(error);
}

static void must_settle(data_dir_t *dir, uint64_t marked)
{
    char *error = NULL;
    if (data_dir_settle(dir, marked, &error) != 0) {
        fail_msg("%s", error);
    }
}

static bool is_dir(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static bool exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

static void make_dirs(const char *path)
{
    char *at = xstrdup(path);
    for (char *slash = at + strlen(top) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        assert_true(mkdir(at, 0755) == 0 || errno == EEXIST);
        *slash = '/';
    }
    free(at);
}

static void write_file(const char *path, const char *text)
{
    make_dirs(path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void a_new_directory_is_laid_out(void **state)
{
    (void)state;
    char *path = in_top("deep/er/data");
    char *member = in_top("deep/er/data/member");
    data_dir_t *dir = must_open(io_posix(), path, NULL);
    assert_true(is_dir(member));
    assert_true(is_dir(data_dir_wal(dir)));
    assert_non_null(strstr(data_dir_wal(dir), "/member/wal"));
    assert_true(is_dir(data_dir_store(dir)));
    assert_non_null(strstr(data_dir_store(dir), "/member/store/1"));
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    assert_int_equal(stat(member, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    data_dir_close(&dir);
    assert_null(dir);
    data_dir_close(&dir);
    /* And is found again. */
    dir = must_open(io_posix(), path, NULL);
    assert_non_null(strstr(data_dir_store(dir), "/member/store/1"));
    data_dir_close(&dir);
    free(member);
    free(path);
}

static void one_process_at_a_time(void **state)
{
    (void)state;
    data_dir_t *dir = must_open(io_posix(), top, NULL);
    char *pid = xasprintf("(pid %ld)", (long)getpid());
    must_refuse(top, NULL, DATA_DIR_LOCKED, pid);
    must_refuse(top, NULL, DATA_DIR_LOCKED, top);
    data_dir_close(&dir);
    dir = must_open(io_posix(), top, NULL);
    data_dir_close(&dir);
    free(pid);
}

static void two_data_directories_do_not_share_a_log(void **state)
{
    (void)state;
    char *wal = in_top("log/here");
    char *one = in_top("one");
    char *two = in_top("two");
    char *inside = in_top("one/member/wal");
    data_dir_t *dir = must_open(io_posix(), one, wal);
    assert_string_equal(data_dir_wal(dir), wal);
    assert_true(is_dir(wal));
    assert_false(exists(inside));
    must_refuse(two, wal, DATA_DIR_LOCKED, wal);
    data_dir_close(&dir);
    free(inside);
    free(two);
    free(one);
    free(wal);
}

static void a_directory_of_etcd_is_left_alone(void **state)
{
    (void)state;
    static const char *const signs[] = {"a/member/snap/db",
                                        "b/member/wal/0000000000000000-0000000000000000.wal"};
    for (size_t i = 0; i < 2; i++) {
        char *sign = in_top(signs[i]);
        char *path = in_top(i == 0 ? "a" : "b");
        char *lock = xasprintf("%s/member/LOCK", path);
        char *store = xasprintf("%s/member/store", path);
        write_file(sign, "etcd's");
        must_refuse(path, NULL, DATA_DIR_FOREIGN, "belongs to etcd");
        assert_false(exists(lock));
        assert_false(exists(store));
        free(store);
        free(lock);
        free(path);
        free(sign);
    }
    char *segment = in_top("w/0000000000000001-00000000000000a7.wal");
    char *path = in_top("c");
    char *wal = in_top("w");
    write_file(segment, "etcd's");
    must_refuse(path, wal, DATA_DIR_FOREIGN, "belongs to etcd");
    assert_false(exists(path));
    free(wal);
    free(path);
    free(segment);
}

static void our_own_directory_is_not_taken_for_etcds(void **state)
{
    (void)state;
    char *segment = in_top("member/wal/0000000000000001.wal");
    write_file(segment, "ours");
    data_dir_t *dir = must_open(io_posix(), top, NULL);
    data_dir_close(&dir);
    assert_true(exists(segment));
    free(segment);
}

static void damaged_current_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "", "1", "0\n", "01\n", "x\n", "1 ", "1\n2\n", "-1\n", "99999999999999999999999\n"};
    data_dir_t *dir = must_open(io_posix(), top, NULL);
    data_dir_close(&dir);
    char *current = in_top("member/store/CURRENT");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        write_file(current, texts[i]);
        must_refuse(top, NULL, DATA_DIR_CORRUPT, current);
    }
    write_file(current, "7\n");
    must_refuse(top, NULL, DATA_DIR_CORRUPT, "generation 7");
    write_file(current, "1\n");
    dir = must_open(io_posix(), top, NULL);
    data_dir_close(&dir);
    free(current);
}

static void data_without_current_is_refused_and_kept(void **state)
{
    (void)state;
    char *table = in_top("member/store/3/000005.ldb");
    write_file(table, "data");
    must_refuse(top, NULL, DATA_DIR_CORRUPT, "CURRENT is missing");
    assert_true(exists(table));
    free(table);
}

static void a_path_that_cannot_be_used_is_named(void **state)
{
    (void)state;
    char *file = in_top("file");
    char *below = in_top("file/data");
    write_file(file, "not a directory");
    must_refuse(below, NULL, -ENOTDIR, file);
    must_refuse(file, NULL, -ENOTDIR, file);
    must_refuse("/proc/nothing/here", NULL, -ENOENT, "/proc/nothing");
    free(below);
    free(file);
}

static void a_new_generation_takes_over(void **state)
{
    (void)state;
    data_dir_t *dir = must_open(io_posix(), top, NULL);
    char *first = xstrdup(data_dir_store(dir));
    char *error = NULL;
    char *next = NULL;
    kv_t *kv = NULL;
    kv_leveldb_cfg_t cfg = {.path = first};
    assert_int_equal(kv_leveldb_open(&kv, &cfg, &error), 0);
    kv_close(&kv);

    /* An attempt that came to nothing, and whose database is closed late: the second one is another
     * generation. */
    uint64_t abandoned = 0;
    uint64_t generation = 0;
    char *leftover = NULL;
    assert_int_equal(data_dir_prepare(dir, &abandoned, &leftover, &error), 0);
    assert_int_equal(data_dir_prepare(dir, &generation, &next, &error), 0);
    assert_int_equal(abandoned, 2);
    assert_int_equal(generation, 3);
    assert_string_equal(data_dir_store(dir), first);
    assert_int_equal(data_dir_remove(dir, abandoned, &error), 0);
    assert_false(exists(leftover));

    cfg.path = next;
    assert_int_equal(kv_leveldb_open(&kv, &cfg, &error), 0);
    assert_int_equal(kv_flush(kv), 0);
    assert_int_equal(data_dir_seal(dir, generation, &error), 0);
    assert_int_equal(data_dir_generation(dir), 1);
    assert_int_equal(data_dir_switch(dir, generation, &error), 0);
    assert_int_equal(data_dir_generation(dir), generation);
    assert_string_equal(data_dir_store(dir), next);
    assert_true(exists(first));
    assert_int_equal(data_dir_remove(dir, 1, &error), 0);
    assert_false(exists(first));
    kv_close(&kv);
    data_dir_close(&dir);

    dir = must_open(io_posix(), top, NULL);
    must_settle(dir, generation); /* the mark is still in the log */
    assert_string_equal(data_dir_store(dir), next);
    assert_true(is_dir(next));
    data_dir_close(&dir);
    free(leftover);
    free(next);
    free(first);
}

/* A start after a crash between the mark in the log and the switch. */
static void a_start_finishes_what_the_log_tells_of(void **state)
{
    (void)state;
    data_dir_t *dir = must_open(io_posix(), top, NULL);
    uint64_t generation = 0;
    char *next = NULL;
    char *error = NULL;
    char *first = xstrdup(data_dir_store(dir));
    assert_int_equal(data_dir_prepare(dir, &generation, &next, &error), 0);
    assert_int_equal(data_dir_seal(dir, generation, &error), 0);
    data_dir_close(&dir);
    dir = must_open(io_posix(), top, NULL);
    assert_string_equal(data_dir_store(dir), first);
    assert_true(is_dir(next)); /* nothing is removed before the log is read */
    must_settle(dir, generation);
    assert_string_equal(data_dir_store(dir), next);
    assert_false(exists(first));
    assert_true(is_dir(next));
    data_dir_close(&dir);
    free(next);
    free(first);
}

static void a_log_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    data_dir_t *dir = must_open(io_posix(), top, NULL);
    char *error = NULL;
    assert_int_equal(data_dir_settle(dir, 5, &error), DATA_DIR_CORRUPT);
    assert_non_null(strstr(error, "member/store/5, which is missing"));
    free(error);
    char *five = in_top("member/store/5/CURRENT");
    write_file(five, "x");
    error = NULL;
    must_settle(dir, 5);
    assert_int_equal(data_dir_settle(dir, 4, &error), DATA_DIR_CORRUPT);
    assert_non_null(strstr(error, "generation 4"));
    assert_true(exists(five));
    free(error);
    data_dir_close(&dir);
    free(five);
}

static void a_start_removes_other_generations_and_nothing_else(void **state)
{
    (void)state;
    data_dir_t *dir = must_open(io_posix(), top, NULL);
    data_dir_close(&dir);
    static const char *const names[] = {"member/store/2/000001.ldb", "member/store/17/CURRENT",
                                        "member/store/notes", "member/store/007"};
    char *paths[4];
    for (size_t i = 0; i < 4; i++) {
        paths[i] = in_top(names[i]);
        write_file(paths[i], "x");
    }
    dir = must_open(io_posix(), top, NULL);
    must_settle(dir, 0);
    assert_true(is_dir(data_dir_store(dir)));
    data_dir_close(&dir);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(exists(paths[i]), i >= 2);
        free(paths[i]);
    }
}

/* ---- a disk that fails ---- */

static const data_dir_cfg_t on_fault = {.path = "/data"};

static void put_file(io_t *io, const char *dir, const char *name)
{
    char *path = xasprintf("%s/%s", dir, name);
    io_file_t *file = NULL;
    (void)(io_open(io, path, IO_WRITE | IO_CREATE, &file) ||
           io_write(io, file, slice_str("x"), 0) || io_sync(io, file));
    (void)io_close(io, &file);
    free(path);
}

static bool has(io_t *io, const char *dir, const char *name)
{
    char *path = xasprintf("%s/%s", dir, name);
    io_file_t *file = NULL;
    int rc = io_open(io, path, 0, &file);
    (void)io_close(io, &file);
    free(path);
    return rc == 0;
}

/* Asks the directory above: the disk in memory may remember files of a removed directory. */
static bool has_generation(io_t *io, const char *name)
{
    char **names = NULL;
    size_t count = 0;
    bool found = false;
    assert_int_equal(io_list(io, "/data/member/store", &names, &count), 0);
    for (size_t i = 0; i < count; i++) {
        found = found || strcmp(names[i], name) == 0;
    }
    io_names_free(&names, count);
    return found;
}

/* First start, then an installation: generation 1 holds "old", generation 2 "new". Goes on as far as
 * the disk lets it. Returns the generation that the log would tell of by then. */
static uint64_t install(io_t *io, bool *failed)
{
    data_dir_t *dir = NULL;
    char *error = NULL;
    char *next = NULL;
    uint64_t generation = 0;
    uint64_t marked = 0;
    *failed = true;
    if (data_dir_open(&dir, io, &on_fault, &error) != 0 || data_dir_settle(dir, 0, &error) != 0) {
        goto done;
    }
    put_file(io, data_dir_store(dir), "old");
    if (io_sync_dir(io, data_dir_store(dir)) != 0 ||
        data_dir_prepare(dir, &generation, &next, &error) != 0) {
        goto done;
    }
    put_file(io, next, "new");
    if (data_dir_seal(dir, generation, &error) != 0) {
        goto done;
    }
    marked = generation;
    if (data_dir_switch(dir, generation, &error) == 0) {
        *failed = data_dir_remove(dir, 1, &error) != 0;
    }
done:
    if (*failed && error) {
        assert_non_null(strstr(error, "/data"));
    }
    free(error);
    free(next);
    data_dir_close(&dir);
    return marked;
}

/* After a crash a whole generation is in force: the new one if and only if the log tells of it. */
static void check_after_crash(io_t *io, uint64_t marked)
{
    data_dir_t *dir = must_open(io, on_fault.path, NULL);
    must_settle(dir, marked);
    const char *store = data_dir_store(dir);
    if (marked == 0) {
        assert_string_equal(store, "/data/member/store/1");
        assert_false(has_generation(io, "2"));
    } else {
        assert_string_equal(store, "/data/member/store/2");
        assert_true(has(io, store, "new"));
        assert_false(has_generation(io, "1"));
    }
    data_dir_close(&dir);
}

static fault_io_t *fault_disk(uint64_t seed)
{
    fault_io_t *disk = fault_io_new(seed);
    assert_int_equal(io_make_dir(fault_io(disk), "/"), 0);
    return disk;
}

static uint64_t count_changes(void)
{
    fault_io_t *disk = fault_disk(1);
    uint64_t before = fault_io_changes(disk);
    bool failed = false;
    assert_int_equal(install(fault_io(disk), &failed), 2);
    assert_false(failed);
    uint64_t changes = fault_io_changes(disk) - before;
    fault_io_destroy(&disk);
    return changes;
}

static const crash_t crashes[] = {CRASH_PROCESS, CRASH_LOSE, CRASH_TORN_PREFIX, CRASH_TORN_SECTORS};

static void every_failing_call_leaves_a_generation_in_force(void **state)
{
    (void)state;
    uint64_t changes = count_changes();
    assert_true(changes > 15);
    for (uint64_t k = 0; k < changes; k++) {
        for (size_t c = 0; c < 4; c++) {
            fault_io_t *disk = fault_disk(k);
            fault_io_fail(disk, k, k % 2 ? EROFS : EIO);
            bool failed = false;
            uint64_t marked = install(fault_io(disk), &failed);
            fault_io_crash(disk, crashes[c]);
            check_after_crash(fault_io(disk), marked);
            fault_io_destroy(&disk);
        }
    }
}

/* The start that finishes an installation is cut short, too, at each of its own changes. */
static void every_start_that_is_cut_short_can_be_repeated(void **state)
{
    (void)state;
    uint64_t changes = count_changes();
    for (uint64_t k = changes / 2; k < changes; k++) {
        bool more = true;
        for (uint64_t j = 0; more; j++) {
            fault_io_t *disk = fault_disk(k);
            fault_io_fail(disk, k, EIO);
            bool failed = false;
            uint64_t marked = install(fault_io(disk), &failed);
            fault_io_crash(disk, CRASH_LOSE);
            fault_io_fail(disk, j, EIO);
            data_dir_t *dir = NULL;
            char *error = NULL;
            more = data_dir_open(&dir, fault_io(disk), &on_fault, &error) != 0 ||
                   data_dir_settle(dir, marked, &error) != 0;
            free(error);
            data_dir_close(&dir);
            fault_io_crash(disk, crashes[j % 4]);
            check_after_crash(fault_io(disk), marked);
            fault_io_destroy(&disk);
        }
    }
}

static void a_read_only_disk_is_an_error_with_its_name(void **state)
{
    (void)state;
    fault_io_t *disk = fault_disk(1);
    fault_io_fail(disk, 0, EROFS);
    data_dir_t *dir = NULL;
    char *error = NULL;
    assert_int_equal(data_dir_open(&dir, fault_io(disk), &on_fault, &error), -EROFS);
    assert_null(dir);
    assert_non_null(strstr(error, "/data"));
    assert_non_null(strstr(error, strerror(EROFS)));
    free(error);
    fault_io_destroy(&disk);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_top, remove_top)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_directory_is_laid_out),
        TEST(one_process_at_a_time),
        TEST(two_data_directories_do_not_share_a_log),
        TEST(a_directory_of_etcd_is_left_alone),
        TEST(our_own_directory_is_not_taken_for_etcds),
        TEST(damaged_current_is_refused),
        TEST(data_without_current_is_refused_and_kept),
        TEST(a_path_that_cannot_be_used_is_named),
        TEST(a_new_generation_takes_over),
        TEST(a_start_finishes_what_the_log_tells_of),
        TEST(a_log_that_does_not_fit_is_refused),
        TEST(a_start_removes_other_generations_and_nothing_else),
        cmocka_unit_test(every_failing_call_leaves_a_generation_in_force),
        cmocka_unit_test(every_start_that_is_cut_short_can_be_repeated),
        cmocka_unit_test(a_read_only_disk_is_an_error_with_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
