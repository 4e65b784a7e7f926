#include "store/wal_dir.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "messages/limits.h"
#include "messages/xalloc.h"
#include "store/wal_spare.h"

/* ---- which segments are there ---- */

typedef struct {
    uint64_t *items;
    size_t count;
} sequences_t;

/* "%016x.wal" */
static bool parse_name(const char *name, uint64_t *sequence)
{
    enum { DIGITS = 16 };
    if (strspn(name, "0123456789abcdef") != DIGITS || strcmp(name + DIGITS, ".wal") != 0) {
        return false;
    }
    *sequence = strtoull(name, NULL, 16);
    return *sequence != 0;
}

/* In ascending order, since names sort like numbers. */
static int list_segments(io_t *io, const char *dir, sequences_t *found, char **error)
{
    char **names;
    size_t count;
    *found = (sequences_t){0};
    int rc = io_list(io, dir, &names, &count);
    if (rc == -ENOENT) {
        return 0;
    }
    if (rc < 0) {
        return io_error(error, rc, "listing %s", dir);
    }
    found->items = xcalloc(count + 1, sizeof *found->items);
    for (size_t i = 0; i < count; i++) {
        uint64_t sequence;
        if (parse_name(names[i], &sequence)) {
            found->items[found->count++] = sequence;
        }
    }
    io_names_free(&names, count);
    return 0;
}

/* ---- making a new one ---- */

wal_initial_t wal_initial_cluster(wal_identity_t identity, bytes_t *configuration)
{
    wal_initial_t initial = {.identity = identity, .term = 1, .commit = 1};
    entry_t entry = {.index = 1, .term = 1, .type = ENTRY_CONFIGURATION, .payload = configuration};
    entries_append(&initial.entries, &entry);
    return initial;
}

static wal_header_t initial_header(const wal_initial_t *initial)
{
    return (wal_header_t){
        .sequence = 1,
        .identity = initial->identity,
        .term = initial->term,
        .vote = initial->vote,
        .commit = initial->base_index,
        .base_index = initial->base_index,
        .base_term = initial->base_term,
        .segment_bytes = initial->segment_bytes ? initial->segment_bytes : LIMIT_WAL_SEGMENT_BYTES,
        .configuration_index = initial->configuration_index,
        .configuration = bytes_slice(initial->configuration),
    };
}

static bytes_t *initial_batch(const wal_initial_t *initial, uint64_t offset, uint32_t seed)
{
    size_t records_len = 0;
    for (size_t i = 0; i < initial->entries.count; i++) {
        records_len += wal_record_size(bytes_len(initial->entries.items[i].payload));
    }
    assert(records_len <= LIMIT_WAL_BATCH_BYTES);
    uint8_t *data;
    bytes_t *batch = bytes_alloc(wal_batch_size(records_len), &data);
    uint8_t *out = data + WAL_BATCH_HEADER_BYTES;
    for (size_t i = 0; i < initial->entries.count; i++) {
        out = wal_record_entry(out, &initial->entries.items[i]);
    }
    wal_batch_t header = {
        .offset = offset,
        .commit = initial->commit,
        .records_len = (uint32_t)records_len,
        .records = (uint32_t)initial->entries.count,
    };
    wal_batch_seal(data, &header, seed, seed);
    return batch;
}

/* The directory's own name must be durable too. */
static int sync_parent(io_t *io, const char *dir, char **error)
{
    char *parent = xstrdup(dir);
    size_t len = strlen(parent);
    while (len > 1 && parent[len - 1] == '/') {
        parent[--len] = '\0';
    }
    char *slash = strrchr(parent, '/');
    if (slash) {
        slash[slash == parent ? 1 : 0] = '\0';
    }
    const char *name = slash ? parent : ".";
    int rc = io_sync_dir(io, name);
    if (rc < 0) {
        io_error(error, rc, "syncing directory %s", name);
    }
    free(parent);
    return rc;
}

static int write_first_segment(io_t *io, const char *dir, const wal_initial_t *initial,
                               char **error)
{
    wal_header_t header = initial_header(initial);
    size_t size = wal_header_size(header.configuration.len);
    uint8_t *header_bytes = xmalloc(size);
    uint32_t seed = wal_header_encode(&header, header_bytes);
    bytes_t *batch = initial_batch(initial, size, seed);
    assert(size + bytes_len(batch) <= header.segment_bytes);

    wal_spare_t spare = {.io = io, .dir = dir};
    io_file_t *file = NULL;
    int rc = wal_spare_publish(&spare, header.sequence, header.segment_bytes,
                               slice(header_bytes, size), bytes_slice(batch), &file, error);
    wal_spare_deinit(&spare);
    if (rc == 0 && (rc = io_close(io, &file)) < 0) {
        io_error(error, rc, "closing the first log segment in %s", dir);
    }
    bytes_unref(&batch);
    free(header_bytes);
    return rc;
}

int wal_create(io_t *io, const char *dir, const wal_initial_t *initial, char **error)
{
    sequences_t found;
    int rc = list_segments(io, dir, &found, error);
    if (rc < 0) {
        return rc;
    }
    free(found.items);
    if (found.count > 0) {
        *error = xasprintf("%s already holds a log", dir);
        return WAL_PRESENT;
    }
    rc = io_make_dir(io, dir);
    if (rc < 0) {
        return io_error(error, rc, "creating directory %s", dir);
    }
    rc = sync_parent(io, dir, error);
    return rc < 0 ? rc : write_first_segment(io, dir, initial, error);
}

/* ---- opening one ---- */

static int read_segment(io_t *io, io_file_t *file, const char *path, uint8_t **data_p, size_t *len,
                        char **error)
{
    uint64_t size;
    int rc = io_size(io, file, &size);
    if (rc < 0) {
        return io_error(error, rc, "asking for the size of %s", path);
    }
    if (size > LIMIT_WAL_FILE_BYTES) {
        *error = xasprintf("%s: %" PRIu64 " bytes is more than a log segment ever has", path, size);
        return WAL_CORRUPT;
    }
    *data_p = xmalloc((size_t)size + 1);
    rc = io_read(io, file, *data_p, (size_t)size, 0, len);
    return rc < 0 ? io_error(error, rc, "reading %s", path) : 0;
}

/* The last write of the process before may not have been synced, or its fdatasync may have failed
 * and left the pages marked clean. Writing it once more and syncing makes
 * true what recovery is about to claim. Behind it, zeros replace an unfinished write. */
static int make_durable(io_t *io, io_file_t *file, slice_t content,
                        const wal_recovered_t *recovered)
{
    size_t from = (size_t)recovered->last_batch;
    size_t to = (size_t)recovered->position;
    int rc = io_write(io, file, slice(content.data + from, to - from), from);
    size_t end = recovered->is_torn ? content.len : to;
    while (end > to && content.data[end - 1] == 0) {
        end--;
    }
    if (rc == 0 && end > to) {
        rc = io_write_zeros(io, file, end - to, to);
    }
    return rc == 0 ? io_sync(io, file) : rc;
}

static int take_segment(io_t *io, io_file_t *file, const char *path, uint64_t sequence,
                        bool is_newest, wal_recovered_t *recovered, char **error)
{
    uint8_t *data = NULL;
    size_t len = 0;
    int rc = read_segment(io, file, path, &data, &len, error);
    if (rc == 0) {
        wal_fault_t fault;
        rc = wal_recover_segment(recovered, slice(data, len), sequence, is_newest, &fault);
        if (rc == WAL_CORRUPT) {
            *error = xasprintf("%s is corrupt at offset %" PRIu64 ": %s", path, fault.offset,
                               fault.reason);
        }
    }
    if (rc == 0 && is_newest) {
        rc = make_durable(io, file, slice(data, len), recovered);
        if (rc < 0) {
            io_error(error, rc, "repairing the end of %s", path);
        }
    }
    free(data);
    return rc;
}

static int open_segment(io_t *io, const char *dir, uint64_t sequence, bool is_newest,
                        wal_recovered_t *recovered, char **error)
{
    char *path = wal_segment_path(dir, sequence);
    io_file_t *file = NULL;
    int rc = io_open(io, path, is_newest ? IO_WRITE : 0, &file);
    if (rc < 0) {
        io_error(error, rc, "opening %s", path);
    } else {
        rc = take_segment(io, file, path, sequence, is_newest, recovered, error);
    }
    int closed = io_close(io, &file);
    if (rc == 0 && closed < 0) {
        rc = io_error(error, closed, "closing %s", path);
    }
    free(path);
    return rc;
}

static int open_segments(io_t *io, const char *dir, const sequences_t *found,
                         wal_recovered_t *recovered, char **error)
{
    for (size_t i = 0; i < found->count; i++) {
        if (i > 0 && found->items[i] != found->items[i - 1] + 1) {
            *error = xasprintf("%s: segment %016" PRIx64 ".wal is missing", dir,
                               found->items[i - 1] + 1);
            return WAL_CORRUPT;
        }
        bool is_newest = i + 1 == found->count;
        int rc = open_segment(io, dir, found->items[i], is_newest, recovered, error);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

/* A spare from before, and a rename that may not have reached the disk. */
static int tidy_dir(io_t *io, const char *dir, char **error)
{
    char *spare = wal_spare_path(dir);
    int rc = io_remove(io, spare);
    if (rc < 0) {
        io_error(error, rc, "removing %s", spare);
    }
    free(spare);
    if (rc == 0 && (rc = io_sync_dir(io, dir)) < 0) {
        io_error(error, rc, "syncing directory %s", dir);
    }
    return rc;
}

int wal_open(io_t *io, const char *dir, wal_recovered_t *recovered, char **error)
{
    sequences_t found;
    int rc = list_segments(io, dir, &found, error);
    if (rc < 0) {
        return rc;
    }
    if (found.count == 0) {
        free(found.items);
        *error = xasprintf("%s holds no log", dir);
        return WAL_ABSENT;
    }
    rc = open_segments(io, dir, &found, recovered, error);
    free(found.items);
    return rc == 0 ? tidy_dir(io, dir, error) : rc;
}
