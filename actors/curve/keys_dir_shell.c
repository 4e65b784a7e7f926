#include "actors/curve/keys_dir_shell.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actors/runtime/clock.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

/* File systems stamp changes with the kernel's ticks, or whole seconds: a file that has changed since then may change
 * once more without showing it. */
enum { SETTLE_S = 2 };

typedef struct {
    complaint_t items[LIMIT_CURVE_COMPLAINTS];
    size_t count;
    size_t skipped; /* those without room, too */
} complaints_t;

struct keys_dir {
    char *path;
    buf_t seen;      /* how all files looked when they were read */
    bool is_settled; /* they were old enough then */
    bool has_read;
    complaints_t complaints;
};

/* A directory, as it stands now. */
typedef struct {
    char **names;
    size_t count, capacity;
    bool has_more; /* than LIMIT_CURVE_FILES */
} listing_t;

keys_dir_t *keys_dir_new(const char *path)
{
    keys_dir_t *self = xcalloc(1, sizeof *self);
    self->path = xstrdup(path);
    return self;
}

static void complaints_deinit(complaints_t *self)
{
    for (size_t i = 0; i < self->count; i++) {
        free(self->items[i].file);
        free(self->items[i].why);
    }
    *self = (complaints_t){0};
}

void keys_dir_destroy(keys_dir_t **self_p)
{
    keys_dir_t *self = *self_p;
    *self_p = NULL;
    if (self) {
        complaints_deinit(&self->complaints);
        buf_deinit(&self->seen);
        free(self->path);
        free(self);
    }
}

/* ---- complaints ---- */

/* Takes `why`. */
static void complain(complaints_t *self, const complaints_t *before, const char *file, char *why)
{
    self->skipped++;
    if (self->count == LIMIT_CURVE_COMPLAINTS) {
        free(why);
        return;
    }
    bool is_new = true;
    for (size_t i = 0; i < before->count && is_new; i++) {
        const complaint_t *old = &before->items[i];
        is_new = strcmp(old->file, file) != 0 || strcmp(old->why, why) != 0;
    }
    self->items[self->count++] = (complaint_t){.file = xstrdup(file), .why = why, .is_new = is_new};
}

const complaint_t *keys_dir_complaints(const keys_dir_t *self, size_t *count)
{
    *count = self->complaints.count;
    return self->complaints.items;
}

size_t keys_dir_skipped(const keys_dir_t *self)
{
    return self->complaints.skipped;
}

/* ---- the listing ---- */

static void listing_deinit(listing_t *self)
{
    for (size_t i = 0; i < self->count; i++) {
        free(self->names[i]);
    }
    free(self->names);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *list(DIR *dir, listing_t *out)
{
    errno = 0;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        if (out->count == LIMIT_CURVE_FILES) {
            out->has_more = true;
            break;
        }
        out->names = xgrow(out->names, &out->capacity, out->count + 1, sizeof *out->names);
        out->names[out->count++] = xstrdup(entry->d_name);
    }
    if (errno && !out->has_more) {
        return xasprintf("read: %s", strerror(errno));
    }
    if (out->count) {
        qsort(out->names, out->count, sizeof *out->names, by_name);
    }
    return NULL;
}

/* What shows that a file has changed; for a link, the file behind it. */
typedef struct {
    uint64_t device, inode, size, mode;
    int64_t written_s, written_ns, changed_s, changed_ns;
} look_t;

/* Appends how all files look. False = one of them is so young that it may change unseen. */
static bool look_at(int dir_fd, const listing_t *listing, buf_t *out)
{
    int64_t now_s = (int64_t)(clock_unix_us() / 1000000);
    bool is_settled = true;
    for (size_t i = 0; i < listing->count; i++) {
        struct stat stat = {0};
        look_t look = {0};
        if (fstatat(dir_fd, listing->names[i], &stat, 0) == 0) {
            look = (look_t){.device = stat.st_dev,
                            .inode = stat.st_ino,
                            .size = (uint64_t)stat.st_size,
                            .mode = stat.st_mode,
                            .written_s = stat.st_mtim.tv_sec,
                            .written_ns = stat.st_mtim.tv_nsec,
                            .changed_s = stat.st_ctim.tv_sec,
                            .changed_ns = stat.st_ctim.tv_nsec};
        }
        is_settled = is_settled && look.changed_s + SETTLE_S < now_s;
        buf_append(out, listing->names[i], strlen(listing->names[i]) + 1);
        buf_append(out, &look, sizeof look);
    }
    buf_byte(out, listing->has_more);
    return is_settled;
}

/* ---- files ---- */

static char *read_open(int fd, buf_t *out, unsigned *mode)
{
    struct stat stat;
    if (fd < 0) {
        return xasprintf("open: %s", strerror(errno));
    }
    if (fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode)) {
        return xstrdup("it is no regular file");
    }
    *mode = stat.st_mode & 07777;
    ssize_t got = 0;
    size_t room =
        LIMIT_CURVE_FILE_BYTES + 1; /* all of it now: growing leaves copies of secrets behind */
    buf_reserve(out, room);
    do {
        got = read(fd, out->data + out->len, room - out->len);
        buf_advance(out, got > 0 ? (size_t)got : 0);
    } while (got > 0 && out->len < room);
    return got < 0 ? xasprintf("read: %s", strerror(errno)) : NULL;
}

/* Does not wait for whoever would write into a pipe. */
static char *read_file(int dir_fd, const char *name, buf_t *out, unsigned *mode)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    char *error = read_open(fd, out, mode);
    if (fd >= 0) {
        close(fd);
    }
    return error;
}

static void wipe(buf_t *buf)
{
    if (buf->data) {
        explicit_bzero(buf->data, buf->capacity);
    }
    buf_deinit(buf);
}

char *keys_dir_read_certificate(const char *path, curve_certificate_t *out, unsigned *mode)
{
    buf_t content = {0};
    char *error = read_file(AT_FDCWD, path, &content, mode);
    *out = (curve_certificate_t){0};
    if (!error) {
        error = curve_certificate_parse(buf_slice(&content), out);
    }
    wipe(&content);
    return error;
}

static void read_all(int dir_fd, const listing_t *listing, const complaints_t *before,
                     allowed_keys_t *keys, complaints_t *complaints)
{
    for (size_t i = 0; i < listing->count; i++) {
        buf_t content = {0};
        unsigned mode = 0;
        const char *name = listing->names[i];
        char *error = read_file(dir_fd, name, &content, &mode);
        if (!error) {
            error = allowed_keys_add(keys, name, buf_slice(&content));
        }
        if (error) {
            complain(complaints, before, name, error);
        }
        wipe(&content);
    }
    if (listing->has_more) {
        complain(complaints, before, "",
                 xasprintf("more than %d files: the rest is not read", LIMIT_CURVE_FILES));
    }
}

/* ---- a look ---- */

static int look(keys_dir_t *self, int dir_fd, const listing_t *listing, allowed_keys_t *keys)
{
    buf_t looks = {0};
    bool is_settled = look_at(dir_fd, listing, &looks);
    if (self->has_read && self->is_settled &&
        slice_equal(buf_slice(&looks), buf_slice(&self->seen))) {
        buf_deinit(&looks);
        return KEYS_DIR_SAME;
    }
    complaints_t complaints = {0};
    read_all(dir_fd, listing, &self->complaints, keys, &complaints);
    complaints_deinit(&self->complaints);
    self->complaints = complaints;
    buf_deinit(&self->seen);
    self->seen = looks;
    self->is_settled = is_settled;
    self->has_read = true;
    return KEYS_DIR_CHANGED;
}

int keys_dir_look(keys_dir_t *self, allowed_keys_t *keys, char **error_p)
{
    DIR *dir = opendir(self->path);
    if (!dir) {
        *error_p = xasprintf("open %s: %s", self->path, strerror(errno));
        return -1;
    }
    listing_t listing = {0};
    *error_p = list(dir, &listing);
    int rc = *error_p ? -1 : look(self, dirfd(dir), &listing, keys);
    listing_deinit(&listing);
    closedir(dir);
    return rc;
}
