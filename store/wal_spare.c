#include "store/wal_spare.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "messages/xalloc.h"

char *wal_spare_path(const char *dir)
{
    return xasprintf("%s/spare.tmp", dir);
}

char *wal_segment_path(const char *dir, uint64_t sequence)
{
    return xasprintf("%s/%016" PRIx64 ".wal", dir, sequence);
}

bool wal_spare_is_ready(const wal_spare_t *self, uint64_t segment_bytes)
{
    return self->file && self->is_synced && self->filled >= segment_bytes;
}

static int open_spare(wal_spare_t *self, char **error)
{
    char *path = wal_spare_path(self->dir);
    int rc = io_open(self->io, path, IO_WRITE | IO_CREATE | IO_EMPTY, &self->file);
    if (rc < 0) {
        io_error(error, rc, "creating %s", path);
    }
    self->filled = 0;
    self->is_synced = false;
    free(path);
    return rc;
}

static int fill(wal_spare_t *self, uint64_t bytes, char **error)
{
    int rc = io_write_zeros(self->io, self->file, bytes, self->filled);
    if (rc < 0) {
        return io_error(error, rc, "filling the next log segment in %s", self->dir);
    }
    io_write_behind(self->io, self->file, self->filled, bytes);
    self->filled += bytes;
    self->is_synced = false;
    return 0;
}

int wal_spare_prepare(wal_spare_t *self, uint64_t segment_bytes, uint64_t slice_bytes, char **error)
{
    if (!self->file) {
        return open_spare(self, error);
    }
    if (self->filled < segment_bytes) {
        uint64_t rest = segment_bytes - self->filled;
        return fill(self, rest < slice_bytes ? rest : slice_bytes, error);
    }
    if (!self->is_synced) {
        int rc = io_sync(self->io, self->file);
        if (rc < 0) {
            return io_error(error, rc, "syncing the next log segment in %s", self->dir);
        }
        self->is_synced = true;
    }
    return 0;
}

static int write_beginning(wal_spare_t *self, slice_t header, slice_t batch, char **error)
{
    int rc = io_write(self->io, self->file, header, 0);
    if (rc == 0) {
        rc = io_write(self->io, self->file, batch, header.len);
    }
    if (rc == 0) {
        rc = io_sync(self->io, self->file);
    }
    return rc < 0 ? io_error(error, rc, "writing the next log segment in %s", self->dir) : 0;
}

static int rename_spare(wal_spare_t *self, uint64_t sequence, char **error)
{
    char *from = wal_spare_path(self->dir);
    char *to = wal_segment_path(self->dir, sequence);
    int rc = io_rename(self->io, from, to);
    if (rc == 0) {
        rc = io_sync_dir(self->io, self->dir);
    }
    if (rc < 0) {
        io_error(error, rc, "renaming %s to %s", from, to);
    }
    free(from);
    free(to);
    return rc;
}

int wal_spare_publish(wal_spare_t *self, uint64_t sequence, uint64_t segment_bytes, slice_t header,
                      slice_t batch, io_file_t **file_p, char **error)
{
    assert(header.len + batch.len <= segment_bytes);
    int rc = self->file ? 0 : open_spare(self, error);
    if (rc == 0 && self->filled < segment_bytes) {
        rc = fill(self, segment_bytes - self->filled, error);
    }
    if (rc == 0) {
        rc = write_beginning(self, header, batch, error);
    }
    if (rc == 0) {
        rc = rename_spare(self, sequence, error);
    }
    if (rc < 0) {
        return rc;
    }
    *file_p = self->file;
    self->file = NULL;
    return 0;
}

int wal_spare_drop(wal_spare_t *self, char **error)
{
    wal_spare_deinit(self);
    char *path = wal_spare_path(self->dir);
    int rc = io_remove(self->io, path);
    if (rc < 0) {
        io_error(error, rc, "removing %s", path);
    }
    free(path);
    return rc;
}

void wal_spare_deinit(wal_spare_t *self)
{
    /* Nothing in it counts yet, so neither does an error. */
    (void)io_close(self->io, &self->file);
}
