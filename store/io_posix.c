#include "store/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "messages/xalloc.h"

struct io_file {
    int fd;
};

static int posix_open(io_t *self, const char *path, unsigned flags, io_file_t **file_p)
{
    (void)self;
    int mode = O_CLOEXEC | (flags & IO_WRITE ? O_RDWR : O_RDONLY);
    mode |= flags & IO_CREATE ? O_CREAT : 0;
    mode |= flags & IO_EMPTY ? O_TRUNC : 0;
    int fd = open(path, mode, 0600);
    if (fd < 0) {
        return -errno;
    }
    *file_p = xmalloc(sizeof **file_p);
    (*file_p)->fd = fd;
    return 0;
}

static int posix_close(io_t *self, io_file_t *file)
{
    (void)self;
    int rc = close(file->fd) < 0 ? -errno : 0;
    free(file);
    return rc;
}

static ssize_t posix_read(io_t *self, io_file_t *file, void *data, size_t len, uint64_t offset)
{
    (void)self;
    ssize_t n = pread(file->fd, data, len, (off_t)offset);
    return n < 0 ? -errno : n;
}

static ssize_t posix_write(io_t *self, io_file_t *file, const void *data, size_t len,
                           uint64_t offset)
{
    (void)self;
    ssize_t n = pwrite(file->fd, data, len, (off_t)offset);
    return n < 0 ? -errno : n;
}

static int posix_sync(io_t *self, io_file_t *file)
{
    (void)self;
    return fdatasync(file->fd) < 0 ? -errno : 0;
}

static void posix_write_behind(io_t *self, io_file_t *file, uint64_t offset, uint64_t len)
{
    (void)self;
    /* A hint: whoever needs the bytes on disk syncs, and hears of errors there. */
    (void)sync_file_range(file->fd, (off_t)offset, (off_t)len, SYNC_FILE_RANGE_WRITE);
}

static int posix_size(io_t *self, io_file_t *file, uint64_t *bytes)
{
    (void)self;
    struct stat info;
    if (fstat(file->fd, &info) < 0) {
        return -errno;
    }
    if (!S_ISREG(info.st_mode)) {
        return -EINVAL;
    }
    *bytes = (uint64_t)info.st_size;
    return 0;
}

static int posix_lock(io_t *self, io_file_t *file)
{
    (void)self;
    return flock(file->fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
}

static int posix_rename(io_t *self, const char *from, const char *to)
{
    (void)self;
    return rename(from, to) < 0 ? -errno : 0;
}

static int posix_remove(io_t *self, const char *path)
{
    (void)self;
    return remove(path) < 0 ? -errno : 0;
}

static int posix_make_dir(io_t *self, const char *path)
{
    (void)self;
    return mkdir(path, 0700) < 0 ? -errno : 0;
}

static int posix_sync_dir(io_t *self, const char *path)
{
    (void)self;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int rc = fsync(fd) < 0 ? -errno : 0;
    close(fd);
    return rc;
}

static int posix_list(io_t *self, const char *path, char ***names_p, size_t *count)
{
    (void)self;
    DIR *dir = opendir(path);
    if (!dir) {
        return -errno;
    }
    size_t capacity = 0;
    struct dirent *item;
    errno = 0;
    while ((item = readdir(dir))) {
        if (strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0) {
            *names_p = xgrow(*names_p, &capacity, *count + 1, sizeof **names_p);
            (*names_p)[(*count)++] = xstrdup(item->d_name);
        }
        errno = 0;
    }
    int rc = -errno;
    closedir(dir);
    if (rc < 0) {
        io_names_free(names_p, *count);
        *count = 0;
    }
    return rc;
}

io_t *io_posix(void)
{
    static const io_ops_t ops = {
        .open = posix_open,
        .close = posix_close,
        .read = posix_read,
        .write = posix_write,
        .sync = posix_sync,
        .write_behind = posix_write_behind,
        .size = posix_size,
        .lock = posix_lock,
        .rename = posix_rename,
        .remove = posix_remove,
        .make_dir = posix_make_dir,
        .sync_dir = posix_sync_dir,
        .list = posix_list,
    };
    static io_t posix = {.ops = &ops};
    return &posix;
}

static int unsynced_sync(io_t *self, io_file_t *file)
{
    (void)self;
    (void)file;
    return 0;
}

static int unsynced_sync_dir(io_t *self, const char *path)
{
    (void)self;
    (void)path;
    return 0;
}

io_t *io_posix_unsynced(void)
{
    static const io_ops_t ops = {
        .open = posix_open,
        .close = posix_close,
        .read = posix_read,
        .write = posix_write,
        .sync = unsynced_sync,
        .write_behind = posix_write_behind,
        .size = posix_size,
        .lock = posix_lock,
        .rename = posix_rename,
        .remove = posix_remove,
        .make_dir = posix_make_dir,
        .sync_dir = unsynced_sync_dir,
        .list = posix_list,
    };
    static io_t io = {.ops = &ops};
    return &io;
}
