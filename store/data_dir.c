#include "store/data_dir.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "messages/xalloc.h"

/* "<pid>" padded with spaces and a newline: rewriting needs no truncation. */
enum { PID_BYTES = 16, CURRENT_BYTES_MAX = 32 };

struct data_dir {
    io_t *io;
    char *member;
    char *wal;
    char *root;    /* member/store */
    char *current; /* member/store/CURRENT */
    char *store;   /* member/store/<generation> */
    uint64_t generation;
    uint64_t prepared; /* the highest number given to a new generation */
    io_file_t *lock;
    io_file_t *wal_lock; /* of a --wal-dir: two data directories must not share one log */
};

/* ---- directories ---- */

static bool is_missing(io_t *io, const char *path)
{
    char **names = NULL;
    size_t count = 0;
    int rc = io_list(io, path, &names, &count);
    io_names_free(&names, count);
    return rc == -ENOENT;
}

/* Makes one directory durably. */
static int make_one(io_t *io, const char *path, const char *parent, char **error)
{
    if (!is_missing(io, path)) {
        return 0;
    }
    int rc = io_make_dir(io, path);
    if (rc < 0) {
        return io_error(error, rc, "cannot create the directory %s", path);
    }
    rc = io_sync_dir(io, parent);
    return rc < 0 ? io_error(error, rc, "cannot sync %s after creating %s", parent, path) : 0;
}

/* Makes a directory and its missing parents. */
static int make_path(io_t *io, const char *path, char **error)
{
    char *at = xstrdup(path);
    char *parent = xstrdup(*path == '/' ? "/" : ".");
    int rc = 0;
    for (char *end = strchr(at + 1, '/'); rc == 0; end = strchr(end + 1, '/')) {
        if (end) {
            *end = '\0';
        }
        rc = make_one(io, at, parent, error);
        free(parent);
        parent = xstrdup(at);
        if (!end) {
            break;
        }
        *end = '/';
    }
    free(parent);
    free(at);
    return rc;
}

/* Files of a directory, which has no directories inside, and then the directory. */
static int remove_tree(io_t *io, const char *path, char **error)
{
    char **names = NULL;
    size_t count = 0;
    int rc = io_list(io, path, &names, &count);
    for (size_t i = 0; rc >= 0 && i < count; i++) {
        char *name = xasprintf("%s/%s", path, names[i]);
        rc = io_remove(io, name);
        free(name);
    }
    io_names_free(&names, count);
    if (rc >= 0 || rc == -ENOENT || rc == -ENOTDIR) {
        rc = io_remove(io, path);
    }
    return rc < 0 ? io_error(error, rc, "cannot remove the old store %s", path) : 0;
}

/* ---- whose directory is it? ---- */

/* etcd names its segments "%016x-%016x.wal". */
static bool is_etcd_segment(const char *name)
{
    enum { DIGITS = 16 };
    static const char hex[] = "0123456789abcdef";
    return strspn(name, hex) == DIGITS && name[DIGITS] == '-' &&
           strspn(name + DIGITS + 1, hex) == DIGITS &&
           strcmp(name + DIGITS + 1 + DIGITS, ".wal") == 0;
}

static bool has_etcd_segment(io_t *io, const char *path)
{
    char **names = NULL;
    size_t count = 0;
    bool found = false;
    if (io_list(io, path, &names, &count) == 0) {
        for (size_t i = 0; i < count; i++) {
            found = found || is_etcd_segment(names[i]);
        }
    }
    io_names_free(&names, count);
    return found;
}

static bool has_file(io_t *io, const char *path)
{
    io_file_t *file = NULL;
    int rc = io_open(io, path, 0, &file);
    if (rc == 0) {
        rc = io_close(io, &file); /* opened for reading: nothing can be lost */
    }
    return rc == 0;
}

/* Looks without touching: nothing of ours may end up in a directory of etcd's. */
static int check_foreign(const data_dir_t *self, const char *path, char **error)
{
    if (has_file(self->io, self->current)) {
        return 0;
    }
    char *database = xasprintf("%s/snap/db", self->member);
    const char *sign = NULL;
    if (has_file(self->io, database)) {
        sign = database;
    } else if (has_etcd_segment(self->io, self->wal)) {
        sign = self->wal;
    }
    int outcome = 0;
    if (sign) {
        *error = xasprintf("%s: the data directory belongs to etcd (%s): Quoral has its own format "
                           "and leaves it alone; choose another --data-dir",
                           path, sign);
        outcome = DATA_DIR_FOREIGN;
    }
    free(database);
    return outcome;
}

/* ---- the lock ---- */

static int report_locked(io_t *io, io_file_t *file, const char *path, char **error)
{
    char pid[PID_BYTES + 1] = "";
    size_t len = 0;
    if (io_read(io, file, pid, PID_BYTES, 0, &len) < 0) {
        len = 0;
    }
    pid[strspn(pid, "0123456789")] = '\0';
    *error = xasprintf("%s: the directory is in use by another process (pid %s)", path,
                       len > 0 && pid[0] ? pid : "unknown");
    return DATA_DIR_LOCKED;
}

static int lock_dir(io_t *io, const char *dir, io_file_t **file_p, char **error)
{
    char *path = xasprintf("%s/LOCK", dir);
    int rc = io_open(io, path, IO_WRITE | IO_CREATE, file_p);
    if (rc < 0) {
        rc = io_error(error, rc, "cannot open %s", path);
        goto done;
    }
    rc = io_lock(io, *file_p);
    if (rc == -EWOULDBLOCK) {
        rc = report_locked(io, *file_p, dir, error);
        goto done;
    }
    if (rc == 0) {
        char pid[PID_BYTES + 1];
        (void)snprintf(pid, sizeof pid, "%-*ld\n", PID_BYTES - 1, (long)getpid());
        rc = io_write(io, *file_p, slice(pid, PID_BYTES), 0);
    }
    if (rc < 0) {
        rc = io_error(error, rc, "cannot lock %s", path);
    }
done:
    free(path);
    return rc;
}

/* ---- generations ---- */

static char *generation_path(const data_dir_t *self, uint64_t generation)
{
    return xasprintf("%s/%" PRIu64, self->root, generation);
}

/* A decimal number without leading zeros, up to `end`. */
static bool parse_generation(const char *text, char end, uint64_t *generation)
{
    enum { DIGITS_MAX = 19 };
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > DIGITS_MAX || text[digits] != end || text[0] == '0') {
        return false;
    }
    *generation = strtoull(text, NULL, 10);
    return true;
}

static int write_current(const data_dir_t *self, uint64_t generation, char **error)
{
    char *temporary = xasprintf("%s.tmp", self->current);
    char *text = xasprintf("%" PRIu64 "\n", generation);
    io_file_t *file = NULL;
    int rc = io_open(self->io, temporary, IO_WRITE | IO_CREATE | IO_EMPTY, &file);
    if (rc == 0) {
        rc = io_write(self->io, file, slice_str(text), 0);
    }
    if (rc == 0) {
        rc = io_sync(self->io, file);
    }
    int closed = io_close(self->io, &file);
    rc = rc == 0 ? closed : rc;
    if (rc == 0) {
        rc = io_rename(self->io, temporary, self->current);
    }
    if (rc == 0) {
        rc = io_sync_dir(self->io, self->root);
    }
    free(text);
    free(temporary);
    return rc < 0 ? io_error(error, rc, "cannot write %s", self->current) : 0;
}

/* 0, -ENOENT without an error text, DATA_DIR_CORRUPT or < 0. */
static int read_current(data_dir_t *self, char **error)
{
    io_file_t *file = NULL;
    int rc = io_open(self->io, self->current, 0, &file);
    if (rc == -ENOENT) {
        return rc;
    }
    char text[CURRENT_BYTES_MAX + 1] = "";
    size_t len = 0;
    if (rc == 0) {
        rc = io_read(self->io, file, text, CURRENT_BYTES_MAX, 0, &len);
    }
    int closed = io_close(self->io, &file);
    rc = rc == 0 ? closed : rc;
    if (rc < 0) {
        return io_error(error, rc, "cannot read %s", self->current);
    }
    if (!parse_generation(text, '\n', &self->generation) || strchr(text, '\n') != text + len - 1) {
        *error = xasprintf("%s: not the number of a generation", self->current);
        return DATA_DIR_CORRUPT;
    }
    self->store = generation_path(self, self->generation);
    if (is_missing(self->io, self->store)) {
        *error = xasprintf("%s names generation %" PRIu64 ", which is missing", self->current,
                           self->generation);
        return DATA_DIR_CORRUPT;
    }
    return 0;
}

/* Without CURRENT there must be no data: a first start that was cut short leaves an empty
 * directory at most. */
static int make_first(data_dir_t *self, char **error)
{
    char **names = NULL;
    size_t count = 0;
    int rc = io_list(self->io, self->root, &names, &count);
    if (rc < 0) {
        return io_error(error, rc, "cannot list %s", self->root);
    }
    for (size_t i = 0; rc == 0 && i < count; i++) {
        uint64_t generation = 0;
        char **inside = NULL;
        size_t inside_count = 0;
        if (!parse_generation(names[i], '\0', &generation)) {
            continue;
        }
        char *path = generation_path(self, generation);
        if (io_list(self->io, path, &inside, &inside_count) != 0 || inside_count > 0) {
            *error = xasprintf("%s is missing, yet there is data in %s", self->current, path);
            rc = DATA_DIR_CORRUPT;
        }
        io_names_free(&inside, inside_count);
        free(path);
    }
    io_names_free(&names, count);
    if (rc != 0) {
        return rc;
    }
    self->generation = 1;
    self->store = generation_path(self, self->generation);
    rc = make_one(self->io, self->store, self->root, error);
    return rc == 0 ? write_current(self, self->generation, error) : rc;
}

/* Removes all generations but the one in force. */
static int clean(data_dir_t *self, char **error)
{
    char **names = NULL;
    size_t count = 0;
    int rc = io_list(self->io, self->root, &names, &count);
    if (rc < 0) {
        return io_error(error, rc, "cannot list %s", self->root);
    }
    for (size_t i = 0; rc == 0 && i < count; i++) {
        uint64_t generation = 0;
        if (parse_generation(names[i], '\0', &generation) && generation != self->generation) {
            rc = data_dir_remove(self, generation, error);
        }
    }
    io_names_free(&names, count);
    return rc;
}

int data_dir_settle(data_dir_t *self, uint64_t marked, char **error)
{
    if (marked != 0 && marked < self->generation) {
        *error =
            xasprintf("the log tells of a snapshot in generation %" PRIu64 ", but %s names %" PRIu64
                      ": the log was damaged or does not belong to this store",
                      marked, self->current, self->generation);
        return DATA_DIR_CORRUPT;
    }
    int rc = 0;
    if (marked > self->generation) {
        char *path = generation_path(self, marked);
        if (is_missing(self->io, path)) {
            *error = xasprintf("the log tells of a snapshot in %s, which is missing", path);
            rc = DATA_DIR_CORRUPT;
        }
        free(path);
        rc = rc ? rc : data_dir_switch(self, marked, error);
    }
    return rc ? rc : clean(self, error);
}

int data_dir_prepare(data_dir_t *self, uint64_t *generation, char **path_p, char **error)
{
    uint64_t next = (self->prepared > self->generation ? self->prepared : self->generation) + 1;
    char *path = generation_path(self, next);
    int rc = remove_tree(self->io, path, error);
    rc = rc ? rc : make_one(self->io, path, self->root, error);
    if (rc != 0) {
        free(path);
        return rc;
    }
    self->prepared = next;
    *generation = next;
    *path_p = path;
    return 0;
}

int data_dir_seal(data_dir_t *self, uint64_t generation, char **error)
{
    char *path = generation_path(self, generation);
    int rc = io_sync_dir(self->io, path);
    if (rc < 0) {
        io_error(error, rc, "cannot sync the new store %s", path);
    }
    free(path);
    return rc;
}

int data_dir_switch(data_dir_t *self, uint64_t generation, char **error)
{
    assert(generation > self->generation);
    int rc = write_current(self, generation, error);
    if (rc < 0) {
        return rc;
    }
    free(self->store);
    self->store = generation_path(self, generation);
    self->generation = generation;
    return 0;
}

int data_dir_remove(data_dir_t *self, uint64_t generation, char **error)
{
    assert(generation != self->generation);
    char *path = generation_path(self, generation);
    int rc = remove_tree(self->io, path, error);
    if (rc == 0) {
        rc = io_sync_dir(self->io, self->root);
        rc = rc < 0 ? io_error(error, rc, "cannot sync the directory %s", self->root) : 0;
    }
    free(path);
    return rc;
}

/* ---- life ---- */

static int open_store(data_dir_t *self, char **error)
{
    int rc = make_one(self->io, self->root, self->member, error);
    if (rc != 0) {
        return rc;
    }
    rc = read_current(self, error);
    if (rc == -ENOENT) {
        rc = make_first(self, error);
    }
    return rc;
}

static int open_all(data_dir_t *self, const data_dir_cfg_t *cfg, char **error)
{
    int rc = check_foreign(self, cfg->path, error);
    if (rc == 0) {
        rc = make_path(self->io, self->member, error);
    }
    if (rc == 0) {
        rc = lock_dir(self->io, self->member, &self->lock, error);
    }
    if (rc == 0) {
        rc = make_path(self->io, self->wal, error);
    }
    if (rc == 0 && cfg->wal_path) {
        rc = lock_dir(self->io, self->wal, &self->wal_lock, error);
    }
    return rc == 0 ? open_store(self, error) : rc;
}

int data_dir_open(data_dir_t **self_p, io_t *io, const data_dir_cfg_t *cfg, char **error)
{
    assert(cfg->path && *cfg->path);
    data_dir_t *self = xcalloc(1, sizeof *self);
    self->io = io;
    self->member = xasprintf("%s/member", cfg->path);
    self->wal = cfg->wal_path ? xstrdup(cfg->wal_path) : xasprintf("%s/wal", self->member);
    self->root = xasprintf("%s/store", self->member);
    self->current = xasprintf("%s/CURRENT", self->root);
    *error = NULL;
    int rc = open_all(self, cfg, error);
    if (rc != 0) {
        data_dir_close(&self);
    }
    *self_p = self;
    return rc;
}

void data_dir_close(data_dir_t **self_p)
{
    data_dir_t *self = *self_p;
    if (!self) {
        return;
    }
    /* Closing a lock file loses nothing that matters: its content is for error messages. */
    int unlocked = io_close(self->io, &self->wal_lock);
    unlocked |= io_close(self->io, &self->lock);
    (void)unlocked;
    free(self->member);
    free(self->wal);
    free(self->root);
    free(self->current);
    free(self->store);
    free(self);
    *self_p = NULL;
}

const char *data_dir_wal(const data_dir_t *self)
{
    return self->wal;
}

uint64_t data_dir_generation(const data_dir_t *self)
{
    return self->generation;
}

const char *data_dir_store(const data_dir_t *self)
{
    return self->store;
}
