#include "tests/support/fault_io.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "messages/xalloc.h"

enum { SECTOR = 512, INODES_MAX = 256, NAMES_MAX = 128 };

typedef struct {
    uint8_t *seen;    /* what reading gives */
    uint8_t *durable; /* what a power cut leaves; same length, zeros behind durable_len */
    bool *dirty;      /* per sector: the next sync writes it */
    size_t len, durable_len;
} inode_t;

typedef struct {
    char *name;
    size_t inode;
} name_t;

typedef struct {
    name_t items[NAMES_MAX];
    size_t count;
} names_t;

struct io_file {
    size_t inode;
    io_file_t *next;
};

struct fault_io {
    io_t base;
    prng_t prng;
    inode_t inodes[INODES_MAX];
    size_t inode_count;
    names_t seen, durable; /* directories are names too, with inode 0 */
    io_file_t *open_files;
    uint64_t changes;
    uint64_t fail_at;
    int error;
    bool is_disturbed;
    uint64_t limit;
};

static fault_io_t *self_of(io_t *io)
{
    return (fault_io_t *)(void *)io;
}

/* ---- names ---- */

static name_t *find(names_t *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->items[i].name, name) == 0) {
            return &names->items[i];
        }
    }
    return NULL;
}

static void set_name(names_t *names, const char *name, size_t inode)
{
    name_t *item = find(names, name);
    if (!item) {
        assert(names->count < NAMES_MAX);
        item = &names->items[names->count++];
        item->name = xstrdup(name);
    }
    item->inode = inode;
}

static void drop_name(names_t *names, const char *name)
{
    name_t *item = find(names, name);
    assert(item);
    free(item->name);
    *item = names->items[--names->count];
}

static void clear_names(names_t *names)
{
    while (names->count > 0) {
        free(names->items[--names->count].name);
    }
}

static bool is_in(const char *name, const char *dir)
{
    size_t len = strlen(dir);
    return strncmp(name, dir, len) == 0 && name[len] == '/' && !strchr(name + len + 1, '/');
}

/* Names of one directory, from one table to the other. */
static void copy_names(const names_t *from, names_t *to, const char *dir)
{
    for (size_t i = to->count; i-- > 0;) {
        if (is_in(to->items[i].name, dir)) {
            free(to->items[i].name);
            to->items[i] = to->items[--to->count];
        }
    }
    for (size_t i = 0; i < from->count; i++) {
        if (is_in(from->items[i].name, dir)) {
            set_name(to, from->items[i].name, from->items[i].inode);
        }
    }
}

/* ---- content ---- */

static void resize(inode_t *inode, size_t len)
{
    if (len > inode->len) {
        size_t sectors = (len + SECTOR - 1) / SECTOR;
        size_t before = (inode->len + SECTOR - 1) / SECTOR;
        inode->seen = xrealloc(inode->seen, len);
        inode->durable = xrealloc(inode->durable, len);
        inode->dirty = xrealloc(inode->dirty, sectors * sizeof *inode->dirty);
        memset(inode->seen + inode->len, 0, len - inode->len);
        memset(inode->durable + inode->len, 0, len - inode->len);
        memset(inode->dirty + before, 0, (sectors - before) * sizeof *inode->dirty);
    }
    inode->len = len;
}

static void put(inode_t *inode, const void *data, size_t len, size_t offset)
{
    if (len == 0) {
        return;
    }
    if (offset + len > inode->len) {
        resize(inode, offset + len);
    }
    memcpy(inode->seen + offset, data, len);
    for (size_t s = offset / SECTOR; s <= (offset + len - 1) / SECTOR; s++) {
        inode->dirty[s] = true;
    }
}

static void copy_range(uint8_t *to, const uint8_t *from, size_t start, size_t end)
{
    if (end > start) {
        memcpy(to + start, from + start, end - start);
    }
}

/* Dirty sectors reach the disk, or are forgotten: then they are clean and yet not durable. */
static void clean(inode_t *inode, bool reaches_disk)
{
    for (size_t s = 0; s * SECTOR < inode->len; s++) {
        size_t end = (s + 1) * SECTOR < inode->len ? (s + 1) * SECTOR : inode->len;
        if (inode->dirty[s] && reaches_disk) {
            copy_range(inode->durable, inode->seen, s * SECTOR, end);
        }
        inode->dirty[s] = false;
    }
    if (reaches_disk) {
        inode->durable_len = inode->len;
    }
}

/* ---- the table ---- */

/* 0 or the error of this changing call. */
static int change(fault_io_t *self)
{
    uint64_t number = self->changes++;
    return self->error && number >= self->fail_at ? -self->error : 0;
}

static bool is_named(const names_t *names, size_t inode)
{
    for (size_t i = 0; i < names->count; i++) {
        if (names->items[i].inode == inode) {
            return true;
        }
    }
    return false;
}

static bool is_open(const fault_io_t *self, size_t inode)
{
    const io_file_t *file = self->open_files;
    while (file && file->inode != inode) {
        file = file->next;
    }
    return file != NULL;
}

/* A new inode, or one that neither a name, not even after a power cut, nor an open file leads to. */
static size_t make_inode(fault_io_t *self)
{
    size_t i = 1;
    while (i < self->inode_count &&
           (is_named(&self->seen, i) || is_named(&self->durable, i) || is_open(self, i))) {
        i++;
    }
    assert(i < INODES_MAX);
    self->inode_count += i == self->inode_count;
    self->inodes[i].len = 0;
    self->inodes[i].durable_len = 0;
    return i;
}

static int fault_open(io_t *io, const char *path, unsigned flags, io_file_t **file_p)
{
    fault_io_t *self = self_of(io);
    name_t *name = find(&self->seen, path);
    if (!name && !(flags & IO_CREATE)) {
        return -ENOENT;
    }
    if (flags & IO_CREATE) {
        int rc = change(self);
        if (rc < 0) {
            return rc;
        }
    }
    if (!name) {
        set_name(&self->seen, path, make_inode(self));
        name = find(&self->seen, path);
    }
    if (flags & IO_EMPTY) {
        resize(&self->inodes[name->inode], 0);
    }
    *file_p = xmalloc(sizeof **file_p);
    **file_p = (io_file_t){.inode = name->inode, .next = self->open_files};
    self->open_files = *file_p;
    return 0;
}

static int fault_close(io_t *io, io_file_t *file)
{
    fault_io_t *self = self_of(io);
    io_file_t **at = &self->open_files;
    while (*at != file) {
        at = &(*at)->next;
    }
    *at = file->next;
    free(file);
    return 0;
}

/* 0 = all; else how much of it, or -EINTR. */
static ssize_t disturb(fault_io_t *self, size_t len)
{
    if (self->is_disturbed && len > 0) {
        switch (prng_below(&self->prng, 3)) {
        case 0: return -EINTR;
        case 1: return (ssize_t)(1 + prng_below(&self->prng, len));
        default: break;
        }
    }
    return (ssize_t)len;
}

static ssize_t fault_read(io_t *io, io_file_t *file, void *data, size_t len, uint64_t offset)
{
    fault_io_t *self = self_of(io);
    const inode_t *inode = &self->inodes[file->inode];
    if (offset >= inode->len) {
        return 0;
    }
    ssize_t n = disturb(self, len < inode->len - offset ? len : (size_t)(inode->len - offset));
    if (n > 0) {
        memcpy(data, inode->seen + offset, (size_t)n);
    }
    return n;
}

static uint64_t total_bytes(const fault_io_t *self)
{
    uint64_t total = 0;
    for (size_t i = 0; i < self->seen.count; i++) {
        total += self->inodes[self->seen.items[i].inode].len;
    }
    return total;
}

static ssize_t fault_write(io_t *io, io_file_t *file, const void *data, size_t len, uint64_t offset)
{
    fault_io_t *self = self_of(io);
    inode_t *inode = &self->inodes[file->inode];
    int rc = change(self);
    if (rc < 0) {
        put(inode, data, (size_t)prng_below(&self->prng, len + 1), (size_t)offset);
        return rc;
    }
    uint64_t end = offset + len;
    if (self->limit && end > inode->len && total_bytes(self) + end - inode->len > self->limit) {
        return -ENOSPC;
    }
    ssize_t n = disturb(self, len);
    if (n > 0) {
        put(inode, data, (size_t)n, (size_t)offset);
    }
    return n;
}

static int fault_sync(io_t *io, io_file_t *file)
{
    fault_io_t *self = self_of(io);
    int rc = change(self);
    clean(&self->inodes[file->inode], rc == 0);
    return rc;
}

static void fault_write_behind(io_t *io, io_file_t *file, uint64_t offset, uint64_t len)
{
    assert(offset + len <= self_of(io)->inodes[file->inode].len);
}

static int fault_size(io_t *io, io_file_t *file, uint64_t *bytes)
{
    *bytes = self_of(io)->inodes[file->inode].len;
    return 0;
}

static int fault_lock(io_t *io, io_file_t *file)
{
    (void)io;
    (void)file;
    return 0;
}

static int fault_rename(io_t *io, const char *from, const char *to)
{
    fault_io_t *self = self_of(io);
    int rc = change(self);
    const name_t *name = find(&self->seen, from);
    if (rc < 0 || !name) {
        return rc < 0 ? rc : -ENOENT;
    }
    size_t inode = name->inode;
    drop_name(&self->seen, from);
    set_name(&self->seen, to, inode);
    return 0;
}

static int fault_remove(io_t *io, const char *path)
{
    fault_io_t *self = self_of(io);
    int rc = change(self);
    if (rc < 0 || !find(&self->seen, path)) {
        return rc < 0 ? rc : -ENOENT;
    }
    for (size_t i = 0; i < self->seen.count; i++) {
        if (is_in(self->seen.items[i].name, path)) {
            return -ENOTEMPTY;
        }
    }
    drop_name(&self->seen, path);
    return 0;
}

static int fault_make_dir(io_t *io, const char *path)
{
    fault_io_t *self = self_of(io);
    int rc = change(self);
    if (rc < 0 || find(&self->seen, path)) {
        return rc < 0 ? rc : -EEXIST;
    }
    /* A directory made anew has nothing of an earlier one of that name. */
    const names_t empty = {.count = 0};
    copy_names(&empty, &self->durable, path);
    set_name(&self->seen, path, 0);
    return 0;
}

static int fault_sync_dir(io_t *io, const char *path)
{
    fault_io_t *self = self_of(io);
    int rc = change(self);
    if (rc == 0) {
        copy_names(&self->seen, &self->durable, path);
    }
    return rc;
}

static int fault_list(io_t *io, const char *path, char ***names_p, size_t *count)
{
    fault_io_t *self = self_of(io);
    if (!find(&self->seen, path)) {
        return -ENOENT;
    }
    *names_p = xcalloc(NAMES_MAX, sizeof **names_p);
    for (size_t i = 0; i < self->seen.count; i++) {
        if (is_in(self->seen.items[i].name, path)) {
            (*names_p)[(*count)++] = xstrdup(self->seen.items[i].name + strlen(path) + 1);
        }
    }
    return 0;
}

/* ---- for tests ---- */

fault_io_t *fault_io_new(uint64_t seed)
{
    static const io_ops_t ops = {
        .open = fault_open,
        .close = fault_close,
        .read = fault_read,
        .write = fault_write,
        .sync = fault_sync,
        .write_behind = fault_write_behind,
        .size = fault_size,
        .lock = fault_lock,
        .rename = fault_rename,
        .remove = fault_remove,
        .make_dir = fault_make_dir,
        .sync_dir = fault_sync_dir,
        .list = fault_list,
    };
    fault_io_t *self = xcalloc(1, sizeof *self);
    self->base.ops = &ops;
    self->prng.state = seed;
    self->inode_count = 1; /* 0 stands for directories */
    return self;
}

static void close_all(fault_io_t *self)
{
    while (self->open_files) {
        fault_close(&self->base, self->open_files);
    }
}

void fault_io_destroy(fault_io_t **self_p)
{
    fault_io_t *self = *self_p;
    *self_p = NULL;
    close_all(self);
    clear_names(&self->seen);
    clear_names(&self->durable);
    for (size_t i = 0; i < self->inode_count; i++) {
        free(self->inodes[i].seen);
        free(self->inodes[i].durable);
        free(self->inodes[i].dirty);
    }
    free(self);
}

io_t *fault_io(fault_io_t *self)
{
    return &self->base;
}

uint64_t fault_io_changes(const fault_io_t *self)
{
    return self->changes;
}

void fault_io_fail(fault_io_t *self, uint64_t k, int error)
{
    self->fail_at = self->changes + k;
    self->error = error;
}

void fault_io_disturb(fault_io_t *self, bool on)
{
    self->is_disturbed = on;
}

void fault_io_limit(fault_io_t *self, uint64_t bytes)
{
    self->limit = bytes;
}

/* Some of what was seen and not synced becomes durable. */
static void tear(fault_io_t *self, inode_t *inode, crash_t how)
{
    size_t keep = (size_t)prng_below(&self->prng, inode->len + 1);
    for (size_t s = 0; s * SECTOR < inode->len; s++) {
        size_t start = s * SECTOR;
        size_t end = start + SECTOR < inode->len ? start + SECTOR : inode->len;
        if (how == CRASH_TORN_PREFIX) {
            end = end < keep ? end : keep;
        } else if (prng_below(&self->prng, 2) == 0) {
            continue;
        }
        if (inode->dirty[s]) {
            copy_range(inode->durable, inode->seen, start, end);
        }
    }
}

void fault_io_crash(fault_io_t *self, crash_t how)
{
    close_all(self);
    self->error = 0;
    self->limit = 0;
    self->is_disturbed = false;
    if (how == CRASH_PROCESS) {
        return;
    }
    bool names_survive = how != CRASH_LOSE && prng_below(&self->prng, 2) == 0;
    names_t *from = names_survive ? &self->seen : &self->durable;
    names_t *to = names_survive ? &self->durable : &self->seen;
    clear_names(to);
    for (size_t i = 0; i < from->count; i++) {
        set_name(to, from->items[i].name, from->items[i].inode);
    }
    for (size_t i = 0; i < self->inode_count; i++) {
        inode_t *inode = &self->inodes[i];
        size_t len = how == CRASH_LOSE ? inode->durable_len : inode->len;
        if (how != CRASH_LOSE) {
            tear(self, inode, how);
        }
        copy_range(inode->seen, inode->durable, 0, len);
        inode->len = len;
        inode->durable_len = len;
        clean(inode, false);
    }
}

uint8_t *fault_io_data(fault_io_t *self, const char *path, size_t *len)
{
    const name_t *name = find(&self->seen, path);
    if (!name) {
        return NULL;
    }
    inode_t *inode = &self->inodes[name->inode];
    *len = inode->len;
    /* A test that damages a file damages what is on the disk. */
    for (size_t s = 0; s * SECTOR < inode->len; s++) {
        inode->dirty[s] = true;
    }
    return inode->seen;
}

void fault_io_cut(fault_io_t *self, const char *path, size_t len)
{
    const name_t *name = find(&self->seen, path);
    assert(name && len <= self->inodes[name->inode].len);
    self->inodes[name->inode].len = len;
}
