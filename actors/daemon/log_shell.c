#include "actors/daemon/log_shell.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "messages/limits.h"
#include "messages/xalloc.h"

struct log {
    log_level_t level;
    bool console;
    int files[LIMIT_LOG_OUTPUTS];
    size_t file_count;
    _Atomic uint64_t lost;
};

static int open_output(const char *name)
{
    if (strcmp(name, "stderr") == 0) {
        return STDERR_FILENO;
    }
    if (strcmp(name, "stdout") == 0) {
        return STDOUT_FILENO;
    }
    return open(name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

log_t *log_open_default(void)
{
    log_t *self = xcalloc(1, sizeof *self);
    self->level = LEVEL_INFO;
    self->files[self->file_count++] = STDERR_FILENO;
    return self;
}

char *log_open(const log_options_t *options, log_t **log_p)
{
    log_t *self = xcalloc(1, sizeof *self);
    self->level = options->level;
    self->console = options->console;
    for (size_t i = 0; i < options->output_count && i < LIMIT_LOG_OUTPUTS; i++) {
        int file = open_output(options->outputs[i]);
        if (file < 0) {
            char *error = xasprintf("open %s: %s", options->outputs[i], strerror(errno));
            log_close(&self);
            return error;
        }
        self->files[self->file_count++] = file;
    }
    *log_p = self;
    return NULL;
}

void log_close(log_t **self_p)
{
    log_t *self = *self_p;
    *self_p = NULL;
    if (!self) {
        return;
    }
    for (size_t i = 0; i < self->file_count; i++) {
        if (self->files[i] > STDERR_FILENO) {
            close(self->files[i]);
        }
    }
    free(self);
}

bool log_is_on(const log_t *self, log_level_t level)
{
    return level >= self->level;
}

static void write_all(log_t *self, int file, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t done = write(file, data, len);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            atomic_fetch_add(&self->lost, 1);
            return;
        }
        data += done;
        len -= (size_t)done;
    }
}

void log_write(log_t *self, log_level_t level, const char *caller, const char *text,
               const char *fields)
{
    if (!log_is_on(self, level)) {
        return;
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t unix_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    buf_t line = {0};
    log_line(&line, self->console, level, unix_us, caller, text, fields);
    for (size_t i = 0; i < self->file_count; i++) {
        write_all(self, self->files[i], line.data, line.len);
    }
    buf_deinit(&line);
}

void log_writef(log_t *self, log_level_t level, const char *caller, const char *text,
                const char *fields, ...)
{
    if (!log_is_on(self, level)) {
        return;
    }
    char *members = NULL;
    va_list args;
    va_start(args, fields);
    int len = vasprintf(&members, fields, args);
    va_end(args);
    if (len < 0) {
        abort(); /* out of memory, as xmalloc */
    }
    log_write(self, level, caller, text, members);
    free(members);
}

uint64_t log_lost(const log_t *self)
{
    return atomic_load(&self->lost);
}
