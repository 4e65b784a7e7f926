/* The real file system behind io.h, and its variant that does not sync: seen on a device for which
 * fdatasync fails. What faults do is tested where files are used (support/fault_io.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/io.h"

static void test_sync_reaches_the_device(void **state)
{
    (void)state;
    io_file_t *file = NULL;
    assert_int_equal(io_open(io_posix(), "/dev/null", IO_WRITE, &file), 0);
    assert_int_equal(io_sync(io_posix(), file), -EINVAL);
    assert_int_equal(io_close(io_posix(), &file), 0);
    assert_true(io_sync_dir(io_posix(), "/nonexistent") < 0);
}

static void test_unsynced_does_all_but_syncing(void **state)
{
    (void)state;
    io_t *io = io_posix_unsynced();
    io_file_t *file = NULL;
    assert_int_equal(io_open(io, "/dev/null", IO_WRITE, &file), 0);
    assert_int_equal(io_sync(io, file), 0);
    assert_int_equal(io_close(io, &file), 0);
    assert_int_equal(io_sync_dir(io, "/nonexistent"), 0);

    char path[] = "/tmp/quoral-io-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    char text[8] = {0};
    size_t len = 0;
    uint64_t bytes = 0;
    assert_int_equal(io_open(io, path, IO_WRITE | IO_EMPTY, &file), 0);
    assert_int_equal(io_write(io, file, slice_str("hello"), 2), 0);
    assert_int_equal(io_size(io, file, &bytes), 0);
    assert_int_equal(bytes, 7);
    assert_int_equal(io_read(io, file, text, sizeof text, 2, &len), 0);
    assert_int_equal(len, 5);
    assert_string_equal(text, "hello");
    assert_int_equal(io_close(io, &file), 0);
    assert_int_equal(io_remove(io, path), 0);
    assert_true(io_open(io, path, 0, &file) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sync_reaches_the_device),
        cmocka_unit_test(test_unsynced_does_all_but_syncing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
