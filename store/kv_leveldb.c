/* kv_leveldb: store/kv.h over LevelDB.
 *
 * 1. LevelDB's own log is never trusted (architecture section 5, reliability 2.7): it is removed
 *    before opening, batches are written unsynced, and only kv_flush makes anything durable.
 * 2. Every error is fatal for the node, so every error is noticed: checksums are verified on all
 *    reads, and an iterator that has skipped a damaged block is not valid any more.
 * 3. Debian's build has assertions on: iterators go before snapshots, snapshots before the store,
 *    and the cache and the filter after it. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <leveldb/c.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "messages/xalloc.h"
#include "store/kv.h"
#include "store/kv_impl.h"

/* Readers of LevelDB's memory table find entries through pointers that it publishes with release and
 * acquire, where ThreadSanitizer cannot see it: the library is not instrumented. Without this line
 * each read of what another thread has just written is reported. Only LevelDB's own calls of memcpy
 * and the like are left out; what our code touches stays under watch. */
#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#ifdef UNDER_TSAN
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:libleveldb.so\n";
}
#endif

/* Measured under h2load, puts of 256 bytes on one key, 256 in flight, medians of three: with write buffers
 * of 4, 8 and 16 MiB a put costs 10.5, 9.9 and 9.1 us of CPU time in all, since fewer small tables are
 * merged. 16 MiB is what a start has to replay (some 0.1 s) and, twice, what memory may hold; it is
 * allocated only as writes come.
 *
 * Small tables, because the columns lie behind each other in one key space: a table that begins with the
 * newest history and ends with the log spans all older history, so that merging it rewrites that too. LevelDB
 * cuts a table before it would span more than ten tables of the level below. 800,000 puts as above: for
 * each byte flushed, merges write 5.6 bytes with tables of 16 MiB, 2.2 with 4, 1.8 with 2 and 1.2 with 1.
 *
 * No compression: an uncompressed block is read in place from the mapped file, without a copy and
 * without a place in the cache; for values that cannot be compressed nothing is lost. What it costs
 * is disk space for values that can. */
enum {
    WRITE_BUFFER_BYTES = 16 << 20, /* what a start has to replay; at times twice that in memory */
    TABLE_BYTES = 1 << 20,    /* LevelDB maps its first 1,000 tables: so 1 GB is read in place */
    CACHE_BYTES = 8 << 20,    /* used only for tables beyond those */
    FILTER_BITS_PER_KEY = 10, /* 1 % false positives: a get reads one table, not one per level */
    OPEN_FILES_MAX = 4000,    /* tables kept open; mapped ones need no file descriptor */
};

/* ---- types ---- */

struct store;

/* What a reader reads: the store through read options, which may name a snapshot. */
typedef struct {
    kv_reader_t reader;
    struct store *store;
    leveldb_readoptions_t *options;
} view_t;

typedef struct store {
    kv_t kv;
    leveldb_t *db;
    leveldb_options_t *options;
    leveldb_cache_t *cache;
    leveldb_filterpolicy_t *filter;
    leveldb_writeoptions_t *write_options;
    view_t latest;
    void (*on_write)(void *context, uint64_t micros);
    void *on_write_context;
} store_t;

typedef struct {
    kv_snapshot_t base;
    view_t view;
    const leveldb_snapshot_t *snapshot;
} store_snapshot_t;

typedef struct {
    kv_batch_t base;
    leveldb_writebatch_t *batch;
} store_batch_t;

typedef struct {
    kv_iter_t base;
    store_t *store;
    leveldb_iterator_t *it;
    bool valid;
    bool unasked; /* moved without asking LevelDB for errors */
    int error;
} store_iter_t;

/* ---- errors ---- */

/* Takes the text and nulls the pointer. LevelDB's texts start with the kind of error. */
static int store_fail(store_t *self, char **text_p)
{
    int error = strncmp(*text_p, "Corruption", strlen("Corruption")) == 0 ? KV_ECORRUPT : KV_EIO;
    kv_fail(&self->kv, *text_p);
    leveldb_free(*text_p);
    *text_p = NULL;
    return error;
}

/* ---- iterators ---- */

/* LevelDB steps over a block it cannot read and goes on: only its status tells. */
static int iter_status(const store_iter_t *self)
{
    char *text = NULL;
    leveldb_iter_get_error(self->it, &text);
    return text ? store_fail(self->store, &text) : self->error;
}

static void iter_moved(store_iter_t *self)
{
    self->error = iter_status(self);
    self->unasked = false;
    self->valid = self->error == 0 && leveldb_iter_valid(self->it);
}

static void iter_seek(kv_iter_t *base, slice_t key)
{
    store_iter_t *self = (store_iter_t *)base;
    leveldb_iter_seek(self->it, (const char *)key.data, key.len);
    iter_moved(self);
}

static void iter_seek_last(kv_iter_t *base)
{
    store_iter_t *self = (store_iter_t *)base;
    leveldb_iter_seek_to_last(self->it);
    iter_moved(self);
}

static void iter_next(kv_iter_t *base)
{
    store_iter_t *self = (store_iter_t *)base;
    assert(self->valid);
    leveldb_iter_next(self->it);
    iter_moved(self);
}

/* Asking costs as much as moving: every part of the store is asked for its status. */
static void iter_step(kv_iter_t *base)
{
    store_iter_t *self = (store_iter_t *)base;
    assert(self->valid);
    leveldb_iter_next(self->it);
    self->unasked = true;
    if (!leveldb_iter_valid(self->it)) {
        iter_moved(self);
    }
}

static void iter_prev(kv_iter_t *base)
{
    store_iter_t *self = (store_iter_t *)base;
    assert(self->valid);
    leveldb_iter_prev(self->it);
    iter_moved(self);
}

static bool iter_valid(const kv_iter_t *base)
{
    return ((const store_iter_t *)base)->valid;
}

static slice_t iter_key(const kv_iter_t *base)
{
    const store_iter_t *self = (const store_iter_t *)base;
    assert(self->valid);
    size_t len = 0;
    const char *data = leveldb_iter_key(self->it, &len);
    return slice(data, len);
}

static slice_t iter_value(const kv_iter_t *base)
{
    const store_iter_t *self = (const store_iter_t *)base;
    assert(self->valid);
    size_t len = 0;
    const char *data = leveldb_iter_value(self->it, &len);
    return slice(data, len);
}

static int iter_error(const kv_iter_t *base)
{
    const store_iter_t *self = (const store_iter_t *)base;
    return self->unasked ? iter_status(self) : self->error;
}

static void iter_destroy(kv_iter_t *base)
{
    store_iter_t *self = (store_iter_t *)base;
    leveldb_iter_destroy(self->it);
    free(self);
}

static const kv_iter_ops_t iter_ops = {
    .seek = iter_seek,
    .seek_last = iter_seek_last,
    .next = iter_next,
    .step = iter_step,
    .prev = iter_prev,
    .valid = iter_valid,
    .key = iter_key,
    .value = iter_value,
    .error = iter_error,
    .destroy = iter_destroy,
};

/* ---- readers ---- */

static int view_get(const kv_reader_t *reader, slice_t key, kv_value_t *value)
{
    const view_t *self = (const view_t *)reader;
    char *text = NULL;
    value->data = (uint8_t *)leveldb_get(self->store->db, self->options, (const char *)key.data,
                                         key.len, &value->len, &text);
    if (text) {
        *value = (kv_value_t){0};
        return store_fail(self->store, &text);
    }
    return value->data ? 0 : KV_ABSENT;
}

static kv_iter_t *view_iter(const kv_reader_t *reader)
{
    const view_t *self = (const view_t *)reader;
    store_iter_t *iter = xcalloc(1, sizeof *iter);
    iter->base.ops = &iter_ops;
    iter->store = self->store;
    iter->it = leveldb_create_iterator(self->store->db, self->options);
    return &iter->base;
}

static void view_init(view_t *self, store_t *store)
{
    self->reader = (kv_reader_t){.get = view_get, .iter = view_iter};
    self->store = store;
    self->options = leveldb_readoptions_create();
    leveldb_readoptions_set_verify_checksums(self->options, 1);
}

static void snapshot_destroy(kv_snapshot_t *base)
{
    store_snapshot_t *self = (store_snapshot_t *)base;
    leveldb_readoptions_destroy(self->view.options);
    leveldb_release_snapshot(self->view.store->db, self->snapshot);
    free(self);
}

static kv_snapshot_t *store_snapshot(kv_t *kv)
{
    store_t *store = (store_t *)kv;
    store_snapshot_t *self = xcalloc(1, sizeof *self);
    view_init(&self->view, store);
    self->base = (kv_snapshot_t){.reader = &self->view.reader, .destroy = snapshot_destroy};
    self->snapshot = leveldb_create_snapshot(store->db);
    leveldb_readoptions_set_snapshot(self->view.options, self->snapshot);
    return &self->base;
}

static const kv_reader_t *store_latest(kv_t *kv)
{
    return &((store_t *)kv)->latest.reader;
}

/* ---- writing ---- */

static void batch_put(kv_batch_t *base, slice_t key, slice_t value)
{
    store_batch_t *self = (store_batch_t *)base;
    leveldb_writebatch_put(self->batch, (const char *)key.data, key.len, (const char *)value.data,
                           value.len);
}

static void batch_remove(kv_batch_t *base, slice_t key)
{
    store_batch_t *self = (store_batch_t *)base;
    leveldb_writebatch_delete(self->batch, (const char *)key.data, key.len);
}

static void batch_destroy(kv_batch_t *base)
{
    store_batch_t *self = (store_batch_t *)base;
    leveldb_writebatch_destroy(self->batch);
    free(self);
}

static kv_batch_t *store_batch(kv_t *kv)
{
    store_batch_t *self = xcalloc(1, sizeof *self);
    self->base =
        (kv_batch_t){.kv = kv, .put = batch_put, .remove = batch_remove, .destroy = batch_destroy};
    self->batch = leveldb_writebatch_create();
    return &self->base;
}

static uint64_t monotonic_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static int store_write(kv_t *kv, kv_batch_t *base)
{
    store_t *self = (store_t *)kv;
    store_batch_t *batch = (store_batch_t *)base;
    char *text = NULL;
    uint64_t start_us = self->on_write ? monotonic_us() : 0;
    leveldb_write(self->db, self->write_options, batch->batch, &text);
    if (self->on_write) {
        self->on_write(self->on_write_context, monotonic_us() - start_us);
    }
    leveldb_writebatch_clear(batch->batch);
    return text ? store_fail(self, &text) : 0;
}

/* Compacting a range that holds no key writes the memtable to a synced table and does nothing else.
 * It waits for that but reports nothing; a failure of the background thread is what the next write
 * gets to hear, and an empty batch is such a write. */
static int store_flush(kv_t *kv)
{
    store_t *self = (store_t *)kv;
    leveldb_compact_range(self->db, "", 0, "", 0);
    leveldb_writebatch_t *nothing = leveldb_writebatch_create();
    char *text = NULL;
    leveldb_write(self->db, self->write_options, nothing, &text);
    leveldb_writebatch_destroy(nothing);
    return text ? store_fail(self, &text) : 0;
}

/* Tables on disk plus what waits in memory for the next table, so that an empty store has a size
 * and a write shows at once. The block cache is counted too: it is small and LevelDB does not tell
 * it apart. */
static uint64_t store_size_bytes(kv_t *kv)
{
    store_t *self = (store_t *)kv;
    static const char past_all_keys[] = "\xff\xff\xff\xff\xff\xff\xff\xff";
    const char *start = "";
    const char *limit = past_all_keys;
    size_t start_len = 0;
    size_t limit_len = sizeof past_all_keys - 1;
    uint64_t bytes = 0;
    leveldb_approximate_sizes(self->db, 1, &start, &start_len, &limit, &limit_len, &bytes);
    char *memory = leveldb_property_value(self->db, "leveldb.approximate-memory-usage");
    if (memory) {
        bytes += strtoull(memory, NULL, 10);
        leveldb_free(memory);
    }
    return bytes;
}

static void store_close(kv_t *kv)
{
    store_t *self = (store_t *)kv;
    if (self->db) {
        leveldb_close(self->db);
    }
    leveldb_readoptions_destroy(self->latest.options);
    leveldb_writeoptions_destroy(self->write_options);
    leveldb_options_destroy(self->options);
    leveldb_cache_destroy(self->cache);
    leveldb_filterpolicy_destroy(self->filter);
    kv_deinit(&self->kv);
    free(self);
}

static const kv_ops_t store_ops = {
    .snapshot = store_snapshot,
    .batch = store_batch,
    .write = store_write,
    .latest = store_latest,
    .flush = store_flush,
    .size_bytes = store_size_bytes,
    .close = store_close,
};

void kv_leveldb_on_write(kv_t *kv, void (*on_write)(void *context, uint64_t micros), void *context)
{
    assert(kv->ops == &store_ops);
    store_t *self = (store_t *)kv;
    self->on_write = on_write;
    self->on_write_context = context;
}

/* ---- opening ---- */

static bool ends_with(const char *name, const char *suffix)
{
    size_t name_len = strlen(name);
    size_t suffix_len = strlen(suffix);
    return name_len > suffix_len && strcmp(name + name_len - suffix_len, suffix) == 0;
}

/* Removes LevelDB's logs. Counts tables and looks for CURRENT on the way: without CURRENT LevelDB
 * would take the directory for a new store and delete every table in it. */
static int dir_prepare(DIR *dir, const char *path, char **error_p)
{
    bool has_current = false;
    bool has_table = false;
    errno = 0;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        const char *name = entry->d_name;
        has_current = has_current || strcmp(name, "CURRENT") == 0;
        has_table = has_table || ends_with(name, ".ldb") || ends_with(name, ".sst");
        if (ends_with(name, ".log") && unlinkat(dirfd(dir), name, 0) != 0) {
            *error_p = xasprintf("%s/%s: cannot remove: %s", path, name, strerror(errno));
            return KV_EIO;
        }
        errno = 0;
    }
    if (errno != 0) {
        *error_p = xasprintf("%s: cannot read the directory: %s", path, strerror(errno));
        return KV_EIO;
    }
    if (has_table && !has_current) {
        *error_p = xasprintf("%s: there are tables but no file CURRENT that lists them", path);
        return KV_ECORRUPT;
    }
    return 0;
}

static int dir_sync(const char *path, char **error_p)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        *error_p = xasprintf("%s: cannot open: %s", path, strerror(errno));
        return KV_EIO;
    }
    int failed = fsync(fd);
    int reason = errno;
    (void)close(fd); /* opened for reading: nothing can be lost here */
    if (failed != 0) {
        *error_p = xasprintf("%s: cannot sync the directory: %s", path, strerror(reason));
        return KV_EIO;
    }
    return 0;
}

/* The directory exists after this, without any log in it. */
static int path_prepare(const char *path, char **error_p)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        *error_p = xasprintf("%s: cannot create: %s", path, strerror(errno));
        return KV_EIO;
    }
    DIR *dir = opendir(path);
    if (!dir) {
        *error_p = xasprintf("%s: cannot open: %s", path, strerror(errno));
        return KV_EIO;
    }
    int error = dir_prepare(dir, path, error_p);
    (void)closedir(dir);
    return error;
}

static leveldb_options_t *options_new(const store_t *self, const kv_leveldb_cfg_t *cfg)
{
    leveldb_options_t *options = leveldb_options_create();
    leveldb_options_set_create_if_missing(options, 1);
    leveldb_options_set_paranoid_checks(options, 1);
    leveldb_options_set_cache(options, self->cache);
    leveldb_options_set_filter_policy(options, self->filter);
    leveldb_options_set_write_buffer_size(options, cfg->write_buffer_bytes ? cfg->write_buffer_bytes
                                                                           : WRITE_BUFFER_BYTES);
    leveldb_options_set_max_file_size(options, TABLE_BYTES);
    leveldb_options_set_max_open_files(options, OPEN_FILES_MAX);
    leveldb_options_set_compression(options, leveldb_no_compression);
    return options;
}

int kv_leveldb_open(kv_t **kv_p, const kv_leveldb_cfg_t *cfg, char **error_p)
{
    *kv_p = NULL;
    *error_p = NULL;
    int error = path_prepare(cfg->path, error_p);
    if (error != 0) {
        return error;
    }
    store_t *self = xcalloc(1, sizeof *self);
    kv_init(&self->kv, &store_ops);
    self->cache = leveldb_cache_create_lru(cfg->cache_bytes ? cfg->cache_bytes : CACHE_BYTES);
    self->filter = leveldb_filterpolicy_create_bloom(FILTER_BITS_PER_KEY);
    self->options = options_new(self, cfg);
    self->write_options = leveldb_writeoptions_create();
    leveldb_writeoptions_set_sync(self->write_options, 0);
    view_init(&self->latest, self);
    self->on_write = cfg->on_write;
    self->on_write_context = cfg->on_write_context;

    char *text = NULL;
    self->db = leveldb_open(self->options, cfg->path, &text);
    if (text) {
        *error_p = xasprintf("%s: %s", cfg->path, text);
        error = store_fail(self, &text);
    } else {
        /* LevelDB syncs the manifest it has just written, but not the rename that names it. */
        error = dir_sync(cfg->path, error_p);
    }
    if (error != 0) {
        store_close(&self->kv);
        return error;
    }
    *kv_p = &self->kv;
    return 0;
}
