/* keys_dir: a directory of public certificates, looked at again and again. Files and the wall's clock; one owner.
 *
 * Names that begin with a dot are skipped without a word; whatever else is no certificate, or the second one with
 * a key, is skipped with one. Nothing in the directory stops a look; only if the directory cannot be read there is
 * none. */
#pragma once

#include "actors/curve/allowed_keys.h"

typedef struct keys_dir keys_dir_t;

keys_dir_t *keys_dir_new(const char *path);
void keys_dir_destroy(keys_dir_t **self_p);

enum { KEYS_DIR_SAME, KEYS_DIR_CHANGED };
/* KEYS_DIR_CHANGED: *keys, zeroed before, is what is there now. < 0: *error_p says why there was no look, yours. A
 * file that is written while it is read is read again with the next look. */
int keys_dir_look(keys_dir_t *self, allowed_keys_t *keys, char **error_p)
    __attribute__((warn_unused_result));

/* A file that the last look which read them skipped. */
typedef struct {
    char *file, *why;
    bool is_new; /* it was not skipped for that the time before */
} complaint_t;
const complaint_t *keys_dir_complaints(const keys_dir_t *self, size_t *count);
size_t keys_dir_skipped(const keys_dir_t *self); /* complaints, and those there was no room for */

/* A whole certificate file. NULL = *out holds it; else why not, yours. curve_certificate_deinit in any case. With
 * `mode`: the file's permissions. */
char *keys_dir_read_certificate(const char *path, curve_certificate_t *out, unsigned *mode)
    __attribute__((warn_unused_result));
