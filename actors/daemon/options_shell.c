#include "actors/daemon/options_shell.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "messages/limits.h"
#include "messages/version.h"
#include "messages/xalloc.h"

char *options_read_file(const char *path, buf_t *content)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        return xasprintf("open: %s", strerror(errno));
    }
    char *error = NULL;
    size_t got = 0;
    do {
        uint8_t *room = buf_reserve(content, 65536);
        got = fread(room, 1, 65536, file);
        buf_advance(content, got);
    } while (got > 0 && content->len <= LIMIT_CONFIG_FILE_BYTES);
    if (ferror(file)) {
        error = xasprintf("read: %s", strerror(errno));
    } else if (content->len > LIMIT_CONFIG_FILE_BYTES) {
        error = xasprintf("larger than %u bytes", LIMIT_CONFIG_FILE_BYTES);
    }
    fclose(file);
    return error;
}

static void print_help(void)
{
    buf_t usage = {0};
    buf_t flags = {0};
    flags_print_usage(&usage);
    flags_print_help(&flags);
    fwrite(usage.data, 1, usage.len, stderr);
    fwrite(flags.data, 1, flags.len, stdout);
    buf_deinit(&usage);
    buf_deinit(&flags);
}

static void print_version(void)
{
    printf("quorald Version: %s\n", QUORAL_VERSION);
    printf("etcd Version: %s\n", API_VERSION);
    printf("Git SHA: %s\n", QUORAL_GIT_SHA);
}

static void write_notes(const options_t *options, log_t *log)
{
    for (size_t i = 0; i < options->note_count; i++) {
        const option_note_t *note = &options->notes[i];
        log_write(log, note->level, LOG_HERE, note->text, note->fields);
    }
}

static int fail(const options_t *options, const char *error)
{
    log_t *log = log_open_default();
    write_notes(options, log);
    if (error) {
        log_write(log, LEVEL_FATAL, LOG_HERE, error, "");
    }
    log_close(&log);
    return 1;
}

int options_load(int argc, char *const *argv, char *const *environment, options_t *options,
                 log_t **log_p)
{
    char *message = NULL;
    *log_p = NULL;
    int code = options_parse(argc, argv, environment, options_read_file, options, &message);
    if (code == 2) {
        fputs(message, stderr);
        free(message);
        return 2;
    }
    if (code != 0) {
        return fail(options, NULL);
    }
    switch (options->action) {
    case OPTIONS_HELP: print_help(); return 0;
    case OPTIONS_VERSION: print_version(); return 0;
    case OPTIONS_PRINT_WIRING: return -1;
    case OPTIONS_RUN: break;
    }
    char *error = log_open(&options->log, log_p);
    if (error) {
        char *text = xasprintf("cannot open the log: %s", error);
        code = fail(options, text);
        free(text);
        free(error);
        return code;
    }
    write_notes(options, *log_p);
    return -1;
}
