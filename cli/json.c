#include "cli/json.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "cli/go_format.h"

static void begin(json_out_t *self, const char *name)
{
    if (self->some[self->depth]) {
        fputc(',', self->out);
    }
    self->some[self->depth] = true;
    if (name != NULL) {
        fprintf(self->out, "\"%s\":", name);
    }
}

void json_out_open(json_out_t *self, const char *name, char bracket)
{
    begin(self, name);
    fputc(bracket, self->out);
    assert(self->depth + 1 < JSON_DEPTH_MAX);
    self->depth++;
    self->some[self->depth] = false;
}

void json_out_close(json_out_t *self, char bracket)
{
    assert(self->depth > 0);
    self->depth--;
    fputc(bracket, self->out);
}

void json_out_null(json_out_t *self, const char *name)
{
    begin(self, name);
    fputs("null", self->out);
}

void json_out_int(json_out_t *self, const char *name, int64_t value)
{
    begin(self, name);
    fprintf(self->out, "%" PRId64, value);
}

void json_out_uint(json_out_t *self, const char *name, uint64_t value)
{
    begin(self, name);
    fprintf(self->out, "%" PRIu64, value);
}

void json_out_bool(json_out_t *self, const char *name, bool value)
{
    begin(self, name);
    fputs(value ? "true" : "false", self->out);
}

void json_out_string(json_out_t *self, const char *name, const char *text)
{
    begin(self, name);
    go_json_string(self->out, text, strlen(text));
}

void json_out_bytes(json_out_t *self, const char *name, const void *data, size_t size)
{
    begin(self, name);
    go_json_base64(self->out, data, size);
}

void json_out_int_some(json_out_t *self, const char *name, int64_t value)
{
    if (value != 0) {
        json_out_int(self, name, value);
    }
}

void json_out_uint_some(json_out_t *self, const char *name, uint64_t value)
{
    if (value != 0) {
        json_out_uint(self, name, value);
    }
}

void json_out_bool_some(json_out_t *self, const char *name, bool value)
{
    if (value) {
        json_out_bool(self, name, value);
    }
}

void json_out_string_some(json_out_t *self, const char *name, const char *text)
{
    if (text[0] != 0) {
        json_out_string(self, name, text);
    }
}

void json_out_bytes_some(json_out_t *self, const char *name, const void *data, size_t size)
{
    if (size > 0) {
        json_out_bytes(self, name, data, size);
    }
}

void json_out_strings_some(json_out_t *self, const char *name, char *const *items, size_t n)
{
    if (n == 0) {
        return;
    }
    json_out_open(self, name, '[');
    for (size_t i = 0; i < n; i++) {
        json_out_string(self, NULL, items[i]);
    }
    json_out_close(self, ']');
}
