#include "messages/curve_certificate.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/limits.h"
#include "messages/xalloc.h"

/* ---- Z85 ---- */

enum { Z85_BASE = 85, Z85_CHARS = 5, Z85_BYTES = 4 };

static const char alphabet[] =
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/* Five digits are four bytes, if they are not above them. */
static bool decode_group(const uint8_t *digits, uint8_t *bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < Z85_CHARS; i++) {
        const char *place = digits[i] ? strchr(alphabet, digits[i]) : NULL;
        if (!place) {
            return false;
        }
        value = value * Z85_BASE + (uint64_t)(place - alphabet);
    }
    for (int i = 0; i < Z85_BYTES; i++) {
        bytes[i] = (uint8_t)(value >> (8 * (Z85_BYTES - 1 - i)));
    }
    return value <= UINT32_MAX;
}

bool curve_key_decode(slice_t text, uint8_t key[CURVE_KEY_BYTES])
{
    bool valid = text.len == CURVE_KEY_TEXT;
    for (size_t i = 0; valid && i < CURVE_KEY_BYTES / Z85_BYTES; i++) {
        valid = decode_group(text.data + i * Z85_CHARS, key + i * Z85_BYTES);
    }
    return valid;
}

void curve_key_encode(const uint8_t key[CURVE_KEY_BYTES], char text[CURVE_KEY_TEXT + 1])
{
    for (size_t i = 0; i < CURVE_KEY_BYTES / Z85_BYTES; i++) {
        uint32_t value = 0;
        for (size_t k = 0; k < Z85_BYTES; k++) {
            value = value << 8 | key[i * Z85_BYTES + k];
        }
        for (size_t k = Z85_CHARS; k-- > 0; value /= Z85_BASE) {
            text[i * Z85_CHARS + k] = alphabet[value % Z85_BASE];
        }
    }
    text[CURVE_KEY_TEXT] = '\0';
}

/* ---- reading ---- */

enum { INDENT = 4 }; /* blanks per level */

typedef struct {
    slice_t section; /* the last name without indentation */
    unsigned number; /* of the line, for people */
    bool has_public;
    curve_certificate_t *out;
} reader_t;

static char *complain(const reader_t *self, const char *what)
{
    return xasprintf("line %u: %s", self->number, what);
}

static slice_t skip(slice_t text, size_t count)
{
    return slice(text.data + count, text.len - count);
}

static slice_t skip_blanks(slice_t text)
{
    while (text.len > 0 && text.data[0] == ' ') {
        text = skip(text, 1);
    }
    return text;
}

static bool is_end(slice_t text)
{
    return text.len == 0 || text.data[0] == '#';
}

static bool is_name_character(uint8_t byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || (byte && strchr("$-_@.&+/", byte));
}

/* What stands behind "=": in quotes, or up to a comment. NULL = *value points into the text; else why not. */
static const char *take_value(slice_t text, slice_t *value)
{
    text = skip_blanks(text);
    if (text.len > 0 && (text.data[0] == '"' || text.data[0] == '\'')) {
        const uint8_t *end = memchr(text.data + 1, text.data[0], text.len - 1);
        if (!end) {
            return "a quote without its end";
        }
        *value = slice(text.data + 1, (size_t)(end - text.data) - 1);
        return is_end(skip_blanks(skip(text, value->len + 2))) ? NULL : "something behind a value";
    }
    size_t len = 0;
    while (!is_end(skip(text, len))) {
        len++;
    }
    while (len > 0 && text.data[len - 1] == ' ') {
        len--;
    }
    *value = slice(text.data, len);
    return NULL;
}

static bool is(slice_t text, const char *word)
{
    return slice_equal(text, slice_str(word));
}

static void set_text(char **target, slice_t value)
{
    free(*target);
    *target = xasprintf("%.*s", (int)value.len, (const char *)value.data);
}

static const char *on_key(reader_t *self, slice_t name, slice_t value)
{
    curve_certificate_t *out = self->out;
    if (is(name, "public-key")) {
        if (self->has_public) {
            return "a second public key";
        }
        self->has_public = true;
        return curve_key_decode(value, out->public_key)
                   ? NULL
                   : "the public key is not 40 characters of Z85";
    }
    if (is(name, "secret-key")) {
        if (out->has_secret) {
            return "a second secret key";
        }
        out->has_secret = true;
        return curve_key_decode(value, out->secret_key)
                   ? NULL
                   : "the secret key is not 40 characters of Z85";
    }
    return NULL;
}

static const char *on_pair(reader_t *self, slice_t name, slice_t value)
{
    if (is(self->section, "curve")) {
        return on_key(self, name, value);
    }
    if (is(self->section, "metadata") && is(name, "name")) {
        set_text(&self->out->name, value);
    } else if (is(self->section, "metadata") && is(name, "peer-urls")) {
        set_text(&self->out->peer_urls, value);
    }
    return NULL;
}

/* [ name [ "=" value ]] [ comment ], indented by its level. */
static const char *on_line(reader_t *self, slice_t line)
{
    slice_t rest = skip_blanks(line);
    size_t indent = line.len - rest.len;
    if (is_end(rest)) {
        return NULL;
    }
    size_t len = 0;
    while (len < rest.len && is_name_character(rest.data[len])) {
        len++;
    }
    slice_t name = slice(rest.data, len);
    slice_t value = {0};
    const char *error = NULL;
    rest = skip_blanks(skip(rest, len));
    if (len == 0 || (!is_end(rest) && rest.data[0] != '=')) {
        return "neither a section nor a name with a value";
    }
    if (indent % INDENT != 0) {
        return "sections are indented by four blanks";
    }
    if (!is_end(rest)) {
        error = take_value(skip(rest, 1), &value);
    }
    if (error) {
        return error;
    }
    if (indent == 0) {
        self->section = name;
        return NULL;
    }
    return indent == INDENT ? on_pair(self, name, value) : NULL;
}

static char *read_lines(reader_t *self, slice_t content)
{
    while (content.len > 0) {
        const uint8_t *end = memchr(content.data, '\n', content.len);
        size_t len = end ? (size_t)(end - content.data) : content.len;
        slice_t line = slice(content.data, len);
        if (line.len > 0 && line.data[line.len - 1] == '\r') {
            line.len--;
        }
        self->number++;
        const char *error = on_line(self, line);
        if (error) {
            return complain(self, error);
        }
        content = skip(content, end ? len + 1 : len);
    }
    return self->has_public ? NULL : xstrdup("it holds no public key");
}

char *curve_certificate_parse(slice_t content, curve_certificate_t *out)
{
    reader_t reader = {.out = out};
    *out = (curve_certificate_t){.name = xstrdup(""), .peer_urls = xstrdup("")};
    if (content.len > LIMIT_CURVE_FILE_BYTES) {
        return xasprintf("larger than %d bytes", LIMIT_CURVE_FILE_BYTES);
    }
    if (content.len > 0 && memchr(content.data, '\0', content.len)) {
        return xstrdup("it is not text");
    }
    return read_lines(&reader, content);
}

void curve_certificate_deinit(curve_certificate_t *self)
{
    free(self->name);
    free(self->peer_urls);
    explicit_bzero(self, sizeof *self);
}

/* ---- writing ---- */

bool curve_value_is_writable(const char *text)
{
    for (; *text; text++) {
        if (*text < ' ' || *text > '~' || *text == '"' || *text == '\'') {
            return false;
        }
    }
    return true;
}

static void say(buf_t *out, const char *text)
{
    buf_append(out, text, strlen(text));
}

static void say_value(buf_t *out, const char *name, const char *value)
{
    if (*value) {
        say(out, "    ");
        say(out, name);
        say(out, " = \"");
        say(out, value);
        say(out, "\"\n");
    }
}

static void say_key(buf_t *out, const char *name, const uint8_t key[CURVE_KEY_BYTES])
{
    char text[CURVE_KEY_TEXT + 1];
    curve_key_encode(key, text);
    say_value(out, name, text);
    explicit_bzero(text, sizeof text);
}

void curve_certificate_print(const curve_certificate_t *self, bool with_secret, buf_t *out)
{
    assert(!with_secret || self->has_secret);
    assert(curve_value_is_writable(self->name) && curve_value_is_writable(self->peer_urls));
    say(out, with_secret
                 ? "# ZeroMQ CURVE certificate with the SECRET key: for its owner alone.\n"
                 : "# ZeroMQ CURVE public certificate: for everybody who is to know its owner.\n");
    say(out, "\nmetadata\n");
    say_value(out, "name", self->name);
    say_value(out, "peer-urls", self->peer_urls);
    say(out, "curve\n");
    say_key(out, "public-key", self->public_key);
    if (with_secret) {
        say_key(out, "secret-key", self->secret_key);
    }
}
