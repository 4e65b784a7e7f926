#include "cli/json.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "cli/go_format.h"

static void begin(json_t *self, const char *name)
{
    if (self->some[self->depth]) {
        fputc(',', self->out);
    }
    self->some[self->depth] = true;
    if (name != NULL) {
        fprintf(self->out, "\"%s\":", name);
    }
}

void json_open(json_t *self, const char *name, char bracket)
{
    begin(self, name);
    fputc(bracket, self->out);
    assert(self->depth + 1 < JSON_DEPTH_MAX);
    self->depth++;
    self->some[self->depth] = false;
}

void json_close(json_t *self, char bracket)
{
    assert(self->depth > 0);
    self->depth--;
    fputc(bracket, self->out);
}

void json_null(json_t *self, const char *name)
{
    begin(self, name);
    fputs("null", self->out);
}

void json_int(json_t *self, const char *name, int64_t value)
{
    begin(self, name);
    fprintf(self->out, "%" PRId64, value);
}

void json_uint(json_t *self, const char *name, uint64_t value)
{
    begin(self, name);
    fprintf(self->out, "%" PRIu64, value);
}

void json_bool(json_t *self, const char *name, bool value)
{
    begin(self, name);
    fputs(value ? "true" : "false", self->out);
}

void json_string(json_t *self, const char *name, const char *text)
{
    begin(self, name);
    go_json_string(self->out, text, strlen(text));
}

void json_bytes(json_t *self, const char *name, const void *data, size_t size)
{
    begin(self, name);
    go_json_base64(self->out, data, size);
}

void json_int_some(json_t *self, const char *name, int64_t value)
{
    if (value != 0) {
        json_int(self, name, value);
    }
}

void json_uint_some(json_t *self, const char *name, uint64_t value)
{
    if (value != 0) {
        json_uint(self, name, value);
    }
}

void json_bool_some(json_t *self, const char *name, bool value)
{
    if (value) {
        json_bool(self, name, value);
    }
}

void json_string_some(json_t *self, const char *name, const char *text)
{
    if (text[0] != 0) {
        json_string(self, name, text);
    }
}

void json_bytes_some(json_t *self, const char *name, const void *data, size_t size)
{
    if (size > 0) {
        json_bytes(self, name, data, size);
    }
}

void json_strings_some(json_t *self, const char *name, char *const *items, size_t n)
{
    if (n == 0) {
        return;
    }
    json_open(self, name, '[');
    for (size_t i = 0; i < n; i++) {
        json_string(self, NULL, items[i]);
    }
    json_close(self, ']');
}
