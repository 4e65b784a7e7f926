/* A log as a directory: making it, opening it, what may lie in it, and what errors say. On a disk in
 * memory, and on the real file system, also a full one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "messages/xalloc.h"
#include "tests/support/wal_rig.h"

static void a_log_is_made_once(void **state)
{
    (void)state;
    wal_rig_t rig;
    wal_rig_init(&rig, 1, 4096);
    assert_int_equal(wal_rig_start(&rig), WAL_ABSENT);
    assert_non_null(strstr(rig.error, "holds no log"));
    assert_int_equal(wal_rig_create(&rig), 0);
    wal_rig_crash(&rig, CRASH_LOSE); /* it is durable at once, its directory too */
    assert_int_equal(wal_rig_start(&rig), 0);
    assert_int_equal(rig.recovered.commit, 1);
    assert_int_equal(rig.recovered.term, 1);
    assert_int_equal(rig.recovered.vote, 0);
    assert_int_equal(rig.recovered.entries.count, 1);
    assert_int_equal(rig.recovered.entries.items[0].type, ENTRY_CONFIGURATION);
    wal_initial_t initial = {.segment_bytes = 4096};
    free(rig.error);
    rig.error = NULL;
    assert_int_equal(wal_create(fault_io(rig.disk), WAL_RIG_DIR, &initial, &rig.error),
                     WAL_PRESENT);
    assert_non_null(strstr(rig.error, "already holds a log"));
    wal_rig_deinit(&rig);
}

/* A member that begins with another's snapshot, or with nothing at all. */
static void a_log_may_begin_later(void **state)
{
    (void)state;
    fault_io_t *disk = fault_io_new(1);
    char *error = NULL;
    bytes_t *configuration = bytes_new("members", 7);
    wal_initial_t initial = {
        .identity = {.cluster_id = 3, .member_id = 4},
        .segment_bytes = 4096,
        .term = 9,
        .base_index = 1000,
        .base_term = 8,
        .configuration_index = 900,
        .configuration = configuration,
        .commit = 1000,
    };
    assert_int_equal(wal_create(fault_io(disk), "/a", &initial, &error), 0);
    wal_recovered_t recovered = {0};
    assert_int_equal(wal_open(fault_io(disk), "/a", &recovered, &error), 0);
    assert_int_equal(wal_recovered_last_index(&recovered), 1000);
    assert_int_equal(wal_recovered_last_term(&recovered), 8);
    assert_int_equal(recovered.commit, 1000);
    assert_int_equal(recovered.term, 9);
    uint64_t index;
    slice_t found = bytes_slice(wal_recovered_configuration(&recovered, &index));
    assert_true(slice_equal(found, slice_str("members")));
    assert_int_equal(index, 900);
    wal_recovered_deinit(&recovered);

    wal_initial_t nothing = {.identity = {.cluster_id = 3, .member_id = 5}, .segment_bytes = 4096};
    assert_int_equal(wal_create(fault_io(disk), "/b", &nothing, &error), 0);
    assert_int_equal(wal_open(fault_io(disk), "/b", &recovered, &error), 0);
    assert_int_equal(wal_recovered_last_index(&recovered), 0);
    assert_null(wal_recovered_configuration(&recovered, &index));
    wal_recovered_deinit(&recovered);
    bytes_unref(&configuration);
    fault_io_destroy(&disk);
}

/* Three segments or more, stopped. */
static void make_segments(wal_rig_t *rig)
{
    wal_rig_init(rig, 1, 4096);
    assert_int_equal(wal_rig_create(rig), 0);
    assert_int_equal(wal_rig_start(rig), 0);
    while (rig->segments_begun < 3) {
        wal_rig_append(rig, wal_rig_last(rig) + 1, 1, 300, 0);
        assert_int_equal(wal_rig_settle(rig), 0);
    }
    wal_rig_kill(rig);
}

static void expect_refusal(wal_rig_t *rig, const char *text)
{
    assert_int_equal(wal_rig_start(rig), WAL_CORRUPT);
    if (!strstr(rig->error, text)) {
        fail_msg("\"%s\" does not say \"%s\"", rig->error, text);
    }
    wal_rig_deinit(rig);
}

static void a_missing_segment_is_refused(void **state)
{
    (void)state;
    wal_rig_t rig;
    make_segments(&rig);
    char *path = wal_rig_segment(&rig, 1);
    assert_int_equal(io_remove(fault_io(rig.disk), path), 0);
    free(path);
    expect_refusal(&rig, "segment 0000000000000002.wal is missing");
}

static void an_exchanged_segment_is_refused(void **state)
{
    (void)state;
    wal_rig_t rig;
    make_segments(&rig);
    char *second = wal_rig_segment(&rig, 1);
    char *third = wal_rig_segment(&rig, 2);
    assert_int_equal(io_rename(fault_io(rig.disk), third, second), 0);
    char *fourth = wal_rig_segment(&rig, 2);
    assert_int_equal(io_rename(fault_io(rig.disk), fourth, third), 0);
    free(second);
    free(third);
    free(fourth);
    expect_refusal(&rig, "0000000000000002.wal is corrupt at offset 0: the segment is not the one");
}

static void damage_is_named_with_file_and_offset(void **state)
{
    (void)state;
    wal_rig_t rig;
    make_segments(&rig);
    char *path = wal_rig_segment(&rig, 0);
    size_t len;
    uint8_t *data = fault_io_data(rig.disk, path, &len);
    data[1000] ^= 4;
    free(path);
    expect_refusal(&rig, "/data/wal/0000000000000001.wal is corrupt at offset ");
}

static void a_cut_segment_is_refused(void **state)
{
    (void)state;
    for (size_t number = 0; number < 4; number++) {
        wal_rig_t rig;
        make_segments(&rig);
        char *path = wal_rig_segment(&rig, number);
        fault_io_cut(rig.disk, path, 4095);
        free(path);
        expect_refusal(&rig, "the file is shorter than when it was made");
    }
    wal_rig_t rig;
    make_segments(&rig);
    char *path = wal_rig_segment(&rig, 3);
    fault_io_cut(rig.disk, path, 0);
    free(path);
    expect_refusal(&rig, "too short for a segment header");
}

static void a_newer_format_is_refused(void **state)
{
    (void)state;
    wal_rig_t rig;
    make_segments(&rig);
    char *path = wal_rig_segment(&rig, 0);
    size_t len;
    uint8_t *data = fault_io_data(rig.disk, path, &len);
    data[8] = WAL_FORMAT_VERSION + 1;
    free(path);
    expect_refusal(&rig, "a format this version does not know");
}

static void write_file(io_t *io, const char *path, slice_t data)
{
    io_file_t *file;
    assert_int_equal(io_open(io, path, IO_WRITE | IO_CREATE, &file), 0);
    assert_int_equal(io_write(io, file, data, 0), 0);
    assert_int_equal(io_close(io, &file), 0);
}

/* A crash while the next segment was being made leaves spare.tmp, with anything in it. */
static void other_files_do_not_disturb(void **state)
{
    (void)state;
    wal_rig_t rig;
    make_segments(&rig);
    io_t *io = fault_io(rig.disk);
    char *path = wal_rig_segment(&rig, 3);
    size_t len;
    const uint8_t *data = fault_io_data(rig.disk, path, &len);
    write_file(io, WAL_RIG_DIR "/spare.tmp", slice(data, len / 2));
    write_file(io, WAL_RIG_DIR "/notes", slice_str("hello"));
    write_file(io, WAL_RIG_DIR "/00000000000000AB.wal", slice_str("not ours"));
    free(path);
    assert_int_equal(wal_rig_start(&rig), 0);
    char **names;
    size_t count;
    assert_int_equal(io_list(io, WAL_RIG_DIR, &names, &count), 0);
    assert_int_equal(count, 6);
    assert_string_equal(names[0], "0000000000000001.wal");
    assert_string_equal(names[5], "notes");
    io_names_free(&names, count);
    wal_rig_deinit(&rig);
}

/* A failed fdatasync leaves pages that look clean and are not on the disk. The process dies of it; the
 * next one reads them from the cache and calls them durable: then they must be. */
static void what_a_start_claims_is_on_the_disk(void **state)
{
    (void)state;
    wal_rig_t rig;
    wal_rig_init(&rig, 1, 8192);
    assert_int_equal(wal_rig_create(&rig), 0);
    assert_int_equal(wal_rig_start(&rig), 0);
    wal_rig_append(&rig, 2, 1, 2000, 0);
    fault_io_fail(rig.disk, 1, EIO); /* the sync */
    assert_int_equal(wal_rig_settle(&rig), -EIO);
    assert_int_equal(rig.lsn_acked, 0);
    wal_rig_crash(&rig, CRASH_PROCESS);
    assert_int_equal(wal_rig_start(&rig), 0);
    assert_int_equal(wal_recovered_last_index(&rig.recovered), 2);
    wal_rig_crash(&rig, CRASH_LOSE);
    assert_int_equal(wal_rig_start(&rig), 0);
    assert_int_equal(wal_recovered_last_index(&rig.recovered), 2);
    wal_rig_deinit(&rig);
}

static void a_full_disk_stops_and_loses_nothing(void **state)
{
    (void)state;
    wal_rig_t rig;
    wal_rig_init(&rig, 1, 4096);
    assert_int_equal(wal_rig_create(&rig), 0);
    assert_int_equal(wal_rig_start(&rig), 0);
    fault_io_limit(rig.disk, 5 * 4096 + 100);
    int rc = 0;
    while (rc == 0) {
        wal_rig_append(&rig, wal_rig_last(&rig) + 1, 1, 300, 0);
        rc = wal_rig_settle(&rig);
    }
    assert_int_equal(rc, -ENOSPC);
    assert_non_null(strstr(rig.error, "No space left on device"));
    assert_true(wal_rig_last(&rig) > 30);
    wal_rig_crash(&rig, CRASH_LOSE);
    assert_int_equal(wal_rig_start(&rig), 0);
    wal_rig_deinit(&rig);
}

/* ---- the real file system ---- */

enum { OK = 0, SKIPPED = 77 };

static wal_disk_t *open_disk(const char *dir, wal_recovered_t *recovered, wal_writer_t **core,
                             outbox_t **outbox)
{
    static const outbox_edge_t edges[] = {
        {.to = ACTOR_REPLICATOR, .policy = EDGE_FREE},
        {.to = PORT_DISK, .policy = EDGE_FREE},
    };
    char *error = NULL;
    wal_disk_t *disk = NULL;
    if (wal_open(io_posix(), dir, recovered, &error) != 0 ||
        wal_disk_new(io_posix(), dir, recovered, 65536, NULL, &disk, &error) != 0) {
        fprintf(stderr, "%s\n", error);
        exit(1);
    }
    *core = wal_writer_new(recovered, 65536);
    *outbox = outbox_new(ACTOR_WAL_WRITER, edges, 2);
    return disk;
}

/* Appends one entry and writes it. 0 or the disk's error. */
static int put(void *core, outbox_t *outbox, wal_disk_t *disk, uint64_t index, char **error)
{
    static const uint8_t value[1000] = {1};
    msg_t *msg = msg_new(MSG_APPEND_LOG);
    entry_t entry = {.index = index, .term = 1, .payload = bytes_new(value, sizeof value)};
    msg->u.append_log.lsn = index;
    msg->u.append_log.first = index;
    entries_append(&msg->u.append_log.entries, &entry);
    bytes_unref(&entry.payload);
    wal_writer_ops.step(core, &(step_in_t){.msg = msg}, outbox);
    msg_free(&msg);
    wal_writer_ops.step(core, &(step_in_t){.msg = NULL}, outbox);
    actor_id_t to;
    msg_t *request = outbox_take(outbox, &to);
    msg_t *done = NULL;
    int rc = wal_disk_port(disk, request, &done, error);
    msg_free(&request);
    if (rc == 0) {
        wal_writer_ops.step(core, &(step_in_t){.msg = done}, outbox);
        msg_free(&done);
        msg_t *durable = outbox_take(outbox, &to);
        msg_free(&durable);
    }
    return rc;
}

/* Writes `count` entries, or until the disk is full; opens again and counts. */
static int write_and_read(const char *dir, uint64_t count, bool fills_disk)
{
    bytes_t *configuration = bytes_new("c", 1);
    wal_initial_t initial = wal_initial_cluster((wal_identity_t){1, 2}, configuration);
    initial.segment_bytes = 65536;
    char *error = NULL;
    int rc = wal_create(io_posix(), dir, &initial, &error);
    entries_deinit(&initial.entries);
    bytes_unref(&configuration);
    wal_recovered_t recovered = {0};
    wal_writer_t *writer;
    outbox_t *outbox;
    wal_disk_t *disk = open_disk(dir, &recovered, &writer, &outbox);
    void *core = writer;
    uint64_t index = 1;
    while (rc == 0 && index < count) {
        rc = put(core, outbox, disk, index + 1, &error);
        index += rc == 0;
    }
    bool is_as_expected =
        fills_disk ? rc == -ENOSPC && strstr(error, "No space left on device") : rc == 0;
    free(error);
    error = NULL;
    wal_writer_ops.destroy(&core);
    outbox_destroy(&outbox);
    wal_disk_destroy(&disk);
    wal_recovered_deinit(&recovered);
    rc = wal_open(io_posix(), dir, &recovered, &error);
    /* The write that failed may be there, since nobody was told either way. */
    uint64_t last = wal_recovered_last_index(&recovered);
    is_as_expected &= rc == 0 && (last == index || (fills_disk && last == index + 1));
    is_as_expected &= recovered.segment_count > 2;
    wal_recovered_deinit(&recovered);
    free(error);
    return is_as_expected ? OK : 1;
}

static void on_the_real_file_system(void **state)
{
    (void)state;
    char dir[] = "/tmp/quoral-test-wal-XXXXXX";
    assert_non_null(mkdtemp(dir));
    char *wal = xasprintf("%s/wal", dir);
    assert_int_equal(write_and_read(wal, 200, false), OK);
    char *command = xasprintf("rm -r '%s'", dir);
    assert_int_equal(system(command), 0); /* NOLINT(concurrency-mt-unsafe) */
    free(command);
    free(wal);
}

/* In a child with a mount of its own: a tmpfs of 400 KiB. */
static int fill_tmpfs(const char *dir)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", dir, "tmpfs", 0, "size=400k") < 0) {
        return SKIPPED;
    }
    char *wal = xasprintf("%s/wal", dir);
    int rc = write_and_read(wal, 10000, true);
    free(wal);
    return rc;
}

static void on_a_full_tmpfs(void **state)
{
    (void)state;
    char dir[] = "/tmp/quoral-test-wal-XXXXXX";
    assert_non_null(mkdtemp(dir));
    pid_t child = fork();
    if (child == 0) {
        _exit(fill_tmpfs(dir));
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    rmdir(dir);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == SKIPPED) {
        skip(); /* mounting needs privileges; a_full_disk_… covers the logic */
    }
    assert_int_equal(WEXITSTATUS(status), OK);
}

static void a_lock_keeps_others_out(void **state)
{
    (void)state;
    char path[] = "/tmp/quoral-test-lock-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    io_t *io = io_posix();
    io_file_t *first;
    io_file_t *second;
    assert_int_equal(io_open(io, path, IO_WRITE, &first), 0);
    assert_int_equal(io_open(io, path, IO_WRITE, &second), 0);
    assert_int_equal(io_lock(io, first), 0);
    assert_int_equal(io_lock(io, second), -EWOULDBLOCK);
    assert_int_equal(io_close(io, &first), 0);
    assert_int_equal(io_lock(io, second), 0);
    assert_int_equal(io_close(io, &second), 0);
    assert_int_equal(io_remove(io, path), 0);
    assert_int_equal(io_remove(io, path), 0);
    assert_int_equal(io_open(io, path, 0, &first), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_log_is_made_once),
        cmocka_unit_test(a_log_may_begin_later),
        cmocka_unit_test(a_missing_segment_is_refused),
        cmocka_unit_test(an_exchanged_segment_is_refused),
        cmocka_unit_test(damage_is_named_with_file_and_offset),
        cmocka_unit_test(a_cut_segment_is_refused),
        cmocka_unit_test(a_newer_format_is_refused),
        cmocka_unit_test(other_files_do_not_disturb),
        cmocka_unit_test(what_a_start_claims_is_on_the_disk),
        cmocka_unit_test(a_full_disk_stops_and_loses_nothing),
        cmocka_unit_test(on_the_real_file_system),
        cmocka_unit_test(on_a_full_tmpfs),
        cmocka_unit_test(a_lock_keeps_others_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
