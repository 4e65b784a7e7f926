/* json: writes JSON the way Go's encoding/json does: no spaces, commas where they belong, members
 * left out when they are zero and `always` is not asked for. Pure, but for the stream.
 * The names begin with json_out_, because json_ is jansson's, which libquoral uses. */
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
} json_out_t;

/* name NULL: an item of an array or the outermost value. */
void json_out_open(json_out_t *self, const char *name, char bracket);
void json_out_close(json_out_t *self, char bracket);
void json_out_null(json_out_t *self, const char *name);
void json_out_int(json_out_t *self, const char *name, int64_t value);
void json_out_uint(json_out_t *self, const char *name, uint64_t value);
void json_out_bool(json_out_t *self, const char *name, bool value);
void json_out_string(json_out_t *self, const char *name, const char *text);
void json_out_bytes(json_out_t *self, const char *name, const void *data, size_t size);

/* As with the tag omitempty. */
void json_out_int_some(json_out_t *self, const char *name, int64_t value);
void json_out_uint_some(json_out_t *self, const char *name, uint64_t value);
void json_out_bool_some(json_out_t *self, const char *name, bool value);
void json_out_string_some(json_out_t *self, const char *name, const char *text);
void json_out_bytes_some(json_out_t *self, const char *name, const void *data, size_t size);
void json_out_strings_some(json_out_t *self, const char *name, char *const *items, size_t n);
