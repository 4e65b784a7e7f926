/* Log lines: their exact form, and that lines of several threads do not mix in a file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actors/daemon/log_shell.h"

static void assert_line(bool console, const char *fields, const char *expected)
{
    buf_t out = {0};
    log_line(&out, console, LEVEL_WARN, 1136214245000007ULL, "/src/quoral/actors/main.c:12",
             "a \"b\"\n\xff", fields);
    buf_byte(&out, '\0');
    assert_string_equal((const char *)out.data, expected);
    buf_deinit(&out);
}

static void test_json(void **state)
{
    (void)state;
    assert_line(false, "",
                "{\"level\":\"warn\",\"ts\":\"2006-01-02T15:04:05.000007Z\",\"caller\":"
                "\"actors/main.c:12\",\"msg\":\"a \\\"b\\\"\\n\\ufffd\"}\n");
    assert_line(false, "\"term\":7,\"x\":\"y\"",
                "{\"level\":\"warn\",\"ts\":\"2006-01-02T15:04:05.000007Z\",\"caller\":"
                "\"actors/main.c:12\",\"msg\":\"a \\\"b\\\"\\n\\ufffd\",\"term\":7,\"x\":\"y\"}\n");
}

static void test_console(void **state)
{
    (void)state;
    assert_line(true, "", "2006-01-02T15:04:05.000007Z\twarn\tactors/main.c:12\ta \"b\" \xff\n");
    assert_line(true, "\"a\":\"x:\\\",y\",\"b\":[1,2]",
                "2006-01-02T15:04:05.000007Z\twarn\tactors/main.c:12\ta \"b\" \xff\t{\"a\": "
                "\"x:\\\",y\", \"b\": [1, 2]}\n");
}

enum { THREADS = 4, LINES = 500 };

static void *write_lines(void *log)
{
    for (int i = 0; i < LINES; i++) {
        log_writef(log, LEVEL_INFO, LOG_HERE, "line", "\"number\":%d", i);
        log_write(log, LEVEL_DEBUG, LOG_HERE, "below the level", "");
    }
    return NULL;
}

static void test_threads_share_a_file(void **state)
{
    (void)state;
    char path[] = "/tmp/quoral-log-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    char *outputs[] = {path};
    log_options_t options = {.level = LEVEL_INFO, .outputs = outputs, .output_count = 1};
    log_t *log = NULL;
    assert_null(log_open(&options, &log));
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, write_lines, log);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(log_lost(log), 0);
    log_close(&log);
    FILE *reader = fopen(path, "r");
    assert_non_null(reader);
    char line[512];
    int count = 0;
    while (fgets(line, sizeof line, reader)) {
        assert_memory_equal(line, "{\"level\":\"info\",\"ts\":\"", 22);
        assert_non_null(strstr(line, "\"caller\":\"unit/test_log.c:"));
        assert_non_null(strstr(line, "\"msg\":\"line\",\"number\":"));
        assert_string_equal(line + strlen(line) - 2, "}\n");
        count++;
    }
    fclose(reader);
    unlink(path);
    assert_int_equal(count, THREADS * LINES);
}

static void test_output_that_cannot_be_opened(void **state)
{
    (void)state;
    char *outputs[] = {(char[]){"/nonexistent/log"}};
    log_options_t options = {.outputs = outputs, .output_count = 1};
    log_t *log = NULL;
    char *error = log_open(&options, &log);
    assert_string_equal(error, "open /nonexistent/log: No such file or directory");
    assert_null(log);
    free(error);
}

static void test_full_disk_is_counted(void **state)
{
    (void)state;
    char *outputs[] = {(char[]){"/dev/full"}};
    log_options_t options = {.level = LEVEL_INFO, .outputs = outputs, .output_count = 1};
    log_t *log = NULL;
    assert_null(log_open(&options, &log));
    log_write(log, LEVEL_ERROR, LOG_HERE, "lost", "");
    assert_int_equal(log_lost(log), 1);
    log_close(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_console),
        cmocka_unit_test(test_threads_share_a_file),
        cmocka_unit_test(test_output_that_cannot_be_opened),
        cmocka_unit_test(test_full_disk_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
