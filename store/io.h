/* io: the only door to files: a table of functions, so that tests can inject faults and the
 * simulator can put a disk into memory. Not pure, but nothing above it touches a file any other way
 * (LevelDB apart). One thread per file; different files may be used from different threads.
 *
 * Every function returns 0 (or a count) or a negative errno. A negative result of writing, syncing,
 * renaming or closing is the end of the node: nobody retries, because after a failed fsync the
 * kernel may call lost pages clean. The one exception is a full disk under a file that holds nothing yet
 * (wal_disk).
 * EINTR and short transfers are outcomes of the table's functions only; the io_… functions go on
 * until everything is done. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "messages/slice.h"

typedef struct io io_t;
typedef struct io_file io_file_t; /* each implementation has its own */

enum {
    IO_WRITE = 1,  /* besides reading */
    IO_CREATE = 2, /* when missing, mode 0600 */
    IO_EMPTY = 4   /* cut to nothing */
};

typedef struct {
    int (*open)(io_t *self, const char *path, unsigned flags, io_file_t **file_p);
    int (*close)(io_t *self, io_file_t *file);
    ssize_t (*read)(io_t *self, io_file_t *file, void *data, size_t len, uint64_t offset);
    ssize_t (*write)(io_t *self, io_file_t *file, const void *data, size_t len, uint64_t offset);
    int (*sync)(io_t *self, io_file_t *file);
    void (*write_behind)(io_t *self, io_file_t *file, uint64_t offset, uint64_t len);
    int (*size)(io_t *self, io_file_t *file, uint64_t *bytes);
    int (*lock)(io_t *self, io_file_t *file);
    int (*rename)(io_t *self, const char *from, const char *to);
    int (*remove)(io_t *self, const char *path);
    int (*make_dir)(io_t *self, const char *path);
    int (*sync_dir)(io_t *self, const char *path);
    int (*list)(io_t *self, const char *path, char ***names_p, size_t *count);
} io_ops_t;

/* Implementations put this first in their own struct. */
struct io {
    const io_ops_t *ops;
};

/* The real file system (io_posix.c). Has no state; never freed. */
io_t *io_posix(void);
/* The same, but syncing does nothing: --unsafe-no-fsync. */
io_t *io_posix_unsynced(void);

int io_open(io_t *self, const char *path, unsigned flags, io_file_t **file_p);
/* Nulls the pointer, also on failure; accepts NULL. */
int io_close(io_t *self, io_file_t **file_p);
/* Up to `len` bytes from `offset`; *read_p < len only at the end of the file. */
int io_read(io_t *self, io_file_t *file, void *data, size_t len, uint64_t offset, size_t *read_p);
/* All of `data`, at `offset`. */
int io_write(io_t *self, io_file_t *file, slice_t data, uint64_t offset);
/* Zeros from `offset` on. */
int io_write_zeros(io_t *self, io_file_t *file, uint64_t len, uint64_t offset);
/* fdatasync: what was written, and the size it needs to be found, is on the disk. */
int io_sync(io_t *self, io_file_t *file);
/* Asks the kernel to begin writing these bytes out, so that a later sync is short. A hint. */
void io_write_behind(io_t *self, io_file_t *file, uint64_t offset, uint64_t len);
int io_size(io_t *self, io_file_t *file, uint64_t *bytes);
/* An exclusive lock until the file is closed; -EWOULDBLOCK when another process has it. */
int io_lock(io_t *self, io_file_t *file);
int io_rename(io_t *self, const char *from, const char *to);
/* A file, or an empty directory. A missing one is no error. */
int io_remove(io_t *self, const char *path);
/* An existing directory is no error. Mode 0700. */
int io_make_dir(io_t *self, const char *path);
/* Makes creations, renames and removals in a directory durable. */
int io_sync_dir(io_t *self, const char *path);
/* The names in a directory, in bytewise order, without "." and "..". -ENOENT: there is none. */
int io_list(io_t *self, const char *path, char ***names_p, size_t *count);
void io_names_free(char ***names_p, size_t count);

/* Sets *error (yours) to "<text>: <what rc means>" and returns rc. */
int io_error(char **error, int rc, const char *format, ...) __attribute__((format(printf, 3, 4)));
