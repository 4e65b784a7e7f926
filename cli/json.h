/* json: writes JSON the way Go's encoding/json does: no spaces, commas where they belong, members
 * left out when they are zero and `always` is not asked for. Pure, but for the stream. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define JSON_DEPTH_MAX 64

typedef struct json {
    FILE *out;
    size_t depth;
    bool some[JSON_DEPTH_MAX]; /* the level has a member already */
} json_t;

/* name NULL: an item of an array or the outermost value. */
void json_open(json_t *self, const char *name, char bracket);
void json_close(json_t *self, char bracket);
void json_null(json_t *self, const char *name);
void json_int(json_t *self, const char *name, int64_t value);
void json_uint(json_t *self, const char *name, uint64_t value);
void json_bool(json_t *self, const char *name, bool value);
void json_string(json_t *self, const char *name, const char *text);
void json_bytes(json_t *self, const char *name, const void *data, size_t size);

/* As with the tag omitempty. */
void json_int_some(json_t *self, const char *name, int64_t value);
void json_uint_some(json_t *self, const char *name, uint64_t value);
void json_bool_some(json_t *self, const char *name, bool value);
void json_string_some(json_t *self, const char *name, const char *text);
void json_bytes_some(json_t *self, const char *name, const void *data, size_t size);
void json_strings_some(json_t *self, const char *name, char *const *items, size_t n);
