#include "actors/wal_writer/wal_disk.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "messages/xalloc.h"
#include "store/wal_dir.h"
#include "store/wal_format.h"
#include "store/wal_spare.h"

/* Zeros written for the next segment after each batch: twice the batch, so that they are complete
 * before the current segment is full; at least this much, so that small batches get there early. */
enum { PREPARE_BYTES_MIN = 65536 };

struct wal_disk {
    io_t *io;
    char *dir;
    metrics_t *metrics;
    uint64_t segment_bytes; /* of segments to come */

    io_file_t *file; /* the newest segment */
    uint64_t position;
    uint64_t file_bytes;
    wal_spare_t spare;
    uint64_t spare_from; /* no attempt to make one before this position */
    bool lacks_room;     /* the last attempt found the disk full */

    wal_segment_t *segments; /* sequence and base; the last is the one being written */
    size_t segment_count;
    size_t segment_capacity;
    uint64_t purge_before;
    bool has_failed;
};

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

int wal_disk_new(io_t *io, const char *dir, const wal_recovered_t *recovered,
                 uint64_t segment_bytes, metrics_t *metrics, wal_disk_t **self_p, char **error)
{
    *self_p = NULL;
    uint64_t sequence = recovered->segments[recovered->segment_count - 1].sequence;
    char *path = wal_segment_path(dir, sequence);
    io_file_t *file;
    int rc = io_open(io, path, IO_WRITE, &file);
    if (rc < 0) {
        io_error(error, rc, "opening %s", path);
        free(path);
        return rc;
    }
    free(path);
    wal_disk_t *self = xcalloc(1, sizeof *self);
    self->io = io;
    self->dir = xstrdup(dir);
    self->metrics = metrics;
    self->segment_bytes = segment_bytes;
    self->file = file;
    self->position = recovered->position;
    self->file_bytes = recovered->segment_bytes;
    self->spare = (wal_spare_t){.io = io, .dir = self->dir};
    self->segment_count = recovered->segment_count;
    self->segment_capacity = recovered->segment_count;
    self->segments = xmemdup(recovered->segments, self->segment_count * sizeof *self->segments);
    *self_p = self;
    return 0;
}

void wal_disk_destroy(wal_disk_t **self_p)
{
    wal_disk_t *self = *self_p;
    *self_p = NULL;
    if (!self) {
        return;
    }
    (void)io_close(self->io, &self->file); /* all of it has been synced */
    wal_spare_deinit(&self->spare);
    free(self->segments);
    free(self->dir);
    free(self);
}

static void observe(wal_disk_t *self, size_t bytes, uint64_t write_us, uint64_t sync_us)
{
    if (self->metrics) {
        metrics_add(self->metrics, METRIC_WAL_BYTES, bytes);
        metrics_observe(self->metrics, HISTOGRAM_WAL_WRITE, write_us);
        metrics_observe(self->metrics, HISTOGRAM_WAL_FSYNC, sync_us);
    }
}

static int fail(wal_disk_t *self, int rc, const char *what, char **error)
{
    char *path = wal_segment_path(self->dir, self->segments[self->segment_count - 1].sequence);
    io_error(error, rc, "%s %s", what, path);
    free(path);
    return rc;
}

static int append(wal_disk_t *self, slice_t batch, char **error)
{
    assert(self->position + batch.len <= self->file_bytes);
    uint64_t start = now_us();
    int rc = io_write(self->io, self->file, batch, self->position);
    if (rc < 0) {
        return fail(self, rc, "writing to", error);
    }
    uint64_t written = now_us();
    rc = io_sync(self->io, self->file);
    if (rc < 0) {
        return fail(self, rc, "syncing", error);
    }
    observe(self, batch.len, written - start, now_us() - written);
    self->position += batch.len;
    return 0;
}

static int change_segment(wal_disk_t *self, slice_t header_bytes, slice_t batch, char **error)
{
    wal_header_t header;
    uint32_t seed;
    size_t size;
    const char *reason = NULL;
    int rc = wal_header_decode(header_bytes, &header, &seed, &size, &reason);
    assert(rc == 0 && size == header_bytes.len); /* the core has just encoded it */
    uint64_t start = now_us();
    io_file_t *file = NULL;
    rc = wal_spare_publish(&self->spare, header.sequence, header.segment_bytes, header_bytes, batch,
                           &file, error);
    if (rc < 0) {
        return rc;
    }
    observe(self, header_bytes.len + batch.len, 0, now_us() - start);
    rc = io_close(self->io, &self->file);
    if (rc < 0) {
        (void)io_close(self->io, &file);
        return fail(self, rc, "closing", error);
    }
    self->file = file;
    self->position = header_bytes.len + batch.len;
    self->file_bytes = header.segment_bytes;
    self->spare_from = 0;
    self->lacks_room = false;
    self->segments = xgrow(self->segments, &self->segment_capacity, self->segment_count + 1,
                           sizeof *self->segments);
    self->segments[self->segment_count++] =
        (wal_segment_t){.sequence = header.sequence, .base_index = header.base_index};
    return 0;
}

/* One file at a time, oldest first, each made durable before the next: whatever a crash leaves has
 * no gaps. */
static int purge_one(wal_disk_t *self, char **error)
{
    if (self->segments[0].sequence >= self->purge_before) {
        return 0;
    }
    assert(self->segment_count > 1); /* the core keeps the one it writes */
    char *path = wal_segment_path(self->dir, self->segments[0].sequence);
    int rc = io_remove(self->io, path);
    if (rc == 0) {
        rc = io_sync_dir(self->io, self->dir);
    }
    if (rc < 0) {
        io_error(error, rc, "removing %s", path);
    }
    free(path);
    self->segment_count--;
    memmove(self->segments, self->segments + 1, self->segment_count * sizeof *self->segments);
    return rc;
}

/* The disk is full, the current segment is not: what was prepared goes, because the store needs room as
 * well, and because after a failed sync it counts for nothing. Tried again when half of what is left of
 * the segment is used; once there is hardly anything left, it is for the change of segments to fail. */
static int put_off_spare(wal_disk_t *self, char **error)
{
    uint64_t rest = self->file_bytes - self->position;
    self->spare_from = rest > PREPARE_BYTES_MIN ? self->position + rest / 2 : self->file_bytes;
    self->lacks_room = true;
    free(*error);
    *error = NULL;
    return wal_spare_drop(&self->spare, error);
}

static int prepare_next(wal_disk_t *self, size_t batch_len, char **error)
{
    if (self->position < self->file_bytes / 2 || self->position < self->spare_from ||
        wal_spare_is_ready(&self->spare, self->segment_bytes)) {
        return 0;
    }
    uint64_t slice_bytes = 2 * (uint64_t)batch_len;
    slice_bytes = slice_bytes > PREPARE_BYTES_MIN ? slice_bytes : PREPARE_BYTES_MIN;
    int rc = wal_spare_prepare(&self->spare, self->segment_bytes, slice_bytes, error);
    if (rc == -ENOSPC || rc == -EDQUOT) {
        return put_off_spare(self, error);
    }
    self->lacks_room =
        rc == 0 && self->lacks_room && !wal_spare_is_ready(&self->spare, self->segment_bytes);
    return rc;
}

int wal_disk_execute(wal_disk_t *self, const msg_disk_write_t *request, msg_disk_done_t *done,
                     char **error)
{
    assert(!self->has_failed);
    uint64_t start = now_us();
    slice_t batch = bytes_slice(request->batch);
    int rc = 0;
    if (request->segment_header) {
        rc = change_segment(self, bytes_slice(request->segment_header), batch, error);
    } else if (batch.len) {
        rc = append(self, batch, error);
    }
    if (request->purge_before > self->purge_before) {
        self->purge_before = request->purge_before;
    }
    if (rc == 0) {
        rc = purge_one(self, error);
    }
    if (rc == 0) {
        rc = prepare_next(self, batch.len, error);
    }
    self->has_failed = rc < 0;
    *done = (msg_disk_done_t){
        .id = request->id,
        .segment_bytes = self->position,
        .micros = now_us() - start,
        .lacks_room = self->lacks_room,
    };
    return rc;
}

int wal_disk_port(void *context, const msg_t *request, msg_t **done_p, char **error_p)
{
    assert(request->kind == MSG_DISK_WRITE);
    msg_disk_done_t done;
    int rc = wal_disk_execute(context, &request->u.disk_write, &done, error_p);
    if (rc < 0) {
        return rc;
    }
    *done_p = msg_new(MSG_DISK_DONE);
    (*done_p)->from = PORT_DISK;
    (*done_p)->u.disk_done = done;
    return 0;
}
