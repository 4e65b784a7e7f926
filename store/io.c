#include "store/io.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "messages/xalloc.h"

/* A call that keeps being interrupted, or a write that moves nothing, is a broken environment. */
enum { ATTEMPTS_MAX = 1000 };

int io_open(io_t *self, const char *path, unsigned flags, io_file_t **file_p)
{
    *file_p = NULL;
    int rc;
    int attempts = 0;
    do {
        rc = self->ops->open(self, path, flags, file_p);
    } while (rc == -EINTR && ++attempts < ATTEMPTS_MAX);
    return rc;
}

int io_close(io_t *self, io_file_t **file_p)
{
    io_file_t *file = *file_p;
    *file_p = NULL;
    if (!file) {
        return 0;
    }
    int rc = self->ops->close(self, file);
    /* Linux has released the descriptor even when it says EINTR: never close twice. */
    return rc == -EINTR ? 0 : rc;
}

int io_read(io_t *self, io_file_t *file, void *data, size_t len, uint64_t offset, size_t *read_p)
{
    uint8_t *to = data;
    size_t done = 0;
    int attempts = 0;
    *read_p = 0;
    while (done < len) {
        ssize_t n = self->ops->read(self, file, to + done, len - done, offset + done);
        if (n == -EINTR && ++attempts < ATTEMPTS_MAX) {
            continue;
        }
        if (n < 0) {
            return (int)n;
        }
        if (n == 0) {
            break;
        }
        attempts = 0;
        done += (size_t)n;
    }
    *read_p = done;
    return 0;
}

int io_write(io_t *self, io_file_t *file, slice_t data, uint64_t offset)
{
    size_t done = 0;
    int attempts = 0;
    while (done < data.len) {
        ssize_t n = self->ops->write(self, file, data.data + done, data.len - done, offset + done);
        if ((n == -EINTR || n == 0) && ++attempts < ATTEMPTS_MAX) {
            continue;
        }
        if (n <= 0) {
            return n == 0 ? -EIO : (int)n;
        }
        attempts = 0;
        done += (size_t)n;
    }
    return 0;
}

int io_write_zeros(io_t *self, io_file_t *file, uint64_t len, uint64_t offset)
{
    static const uint8_t zeros[65536];
    while (len > 0) {
        size_t n = len < sizeof zeros ? (size_t)len : sizeof zeros;
        int rc = io_write(self, file, slice(zeros, n), offset);
        if (rc < 0) {
            return rc;
        }
        len -= n;
        offset += n;
    }
    return 0;
}

int io_sync(io_t *self, io_file_t *file)
{
    /* fdatasync is not documented to be interruptible: no second try, whatever it says. */
    return self->ops->sync(self, file);
}

void io_write_behind(io_t *self, io_file_t *file, uint64_t offset, uint64_t len)
{
    self->ops->write_behind(self, file, offset, len);
}

int io_size(io_t *self, io_file_t *file, uint64_t *bytes)
{
    return self->ops->size(self, file, bytes);
}

int io_lock(io_t *self, io_file_t *file)
{
    return self->ops->lock(self, file);
}

int io_rename(io_t *self, const char *from, const char *to)
{
    return self->ops->rename(self, from, to);
}

int io_remove(io_t *self, const char *path)
{
    int rc = self->ops->remove(self, path);
    return rc == -ENOENT ? 0 : rc;
}

int io_make_dir(io_t *self, const char *path)
{
    int rc = self->ops->make_dir(self, path);
    return rc == -EEXIST ? 0 : rc;
}

int io_sync_dir(io_t *self, const char *path)
{
    return self->ops->sync_dir(self, path);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int io_list(io_t *self, const char *path, char ***names_p, size_t *count)
{
    *names_p = NULL;
    *count = 0;
    int rc = self->ops->list(self, path, names_p, count);
    if (rc == 0 && *count > 1) {
        qsort(*names_p, *count, sizeof **names_p, compare_names);
    }
    return rc;
}

void io_names_free(char ***names_p, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free((*names_p)[i]);
    }
    free(*names_p);
    *names_p = NULL;
}

int io_error(char **error, int rc, const char *format, ...)
{
    assert(rc < 0);
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    char reason[128];
    *error = xasprintf("%s: %s", text, strerror_r(-rc, reason, sizeof reason));
    return rc;
}
