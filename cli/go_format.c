#include "cli/go_format.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/go_print_ranges.h"
#include "messages/xalloc.h"

/* ---- runes ---- */

uint32_t go_decode_rune(const uint8_t *data, size_t size, size_t *length_p)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000}; /* shorter forms are invalid */
    uint8_t c = data[0];
    size_t length = c < 0x80 ? 1 : c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC0 ? 2 : 0;
    *length_p = 1;
    if (length == 1) {
        return c;
    }
    if (length == 0 || length > size || c > 0xF4) {
        return 0xFFFD;
    }
    uint32_t rune = c & (0xFFu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((data[i] & 0xC0) != 0x80) {
            return 0xFFFD;
        }
        rune = rune << 6 | (data[i] & 0x3Fu);
    }
    if (rune < smallest[length] || rune > 0x10FFFF || (rune >= 0xD800 && rune <= 0xDFFF)) {
        return 0xFFFD;
    }
    *length_p = length;
    return rune;
}

bool go_is_print(uint32_t rune)
{
    if (rune < 0x80) {
        return rune >= 0x20 && rune != 0x7F;
    }
    size_t low = 0;
    size_t high = go_print_ranges_n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (rune > go_print_ranges[middle].last) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < go_print_ranges_n && rune >= go_print_ranges[low].first;
}

static size_t encode_rune(uint32_t rune, char out[4])
{
    if (rune < 0x80) {
        out[0] = (char)rune;
        return 1;
    }
    size_t length = rune < 0x800 ? 2 : rune < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (rune & 0x3F));
        rune >>= 6;
    }
    out[0] = (char)((0xF00u >> length) | rune);
    return length;
}

/* ---- quoted strings ---- */

static const char escape_letters[] = "abfnrtv";
static const char escape_bytes[] = "\a\b\f\n\r\t\v";

static void quote_rune(FILE *out, uint32_t rune, const uint8_t *bytes, size_t length)
{
    const char *escape = rune != 0 && rune < 0x80 ? strchr(escape_bytes, (int)rune) : NULL;
    if (rune == '"' || rune == '\\') {
        fprintf(out, "\\%c", (char)rune);
    } else if (rune == 0xFFFD && length == 1) {
        fprintf(out, "\\x%02x", bytes[0]);
    } else if (go_is_print(rune)) {
        fwrite(bytes, 1, length, out);
    } else if (escape != NULL) {
        fprintf(out, "\\%c", escape_letters[escape - escape_bytes]);
    } else if (rune < 0x20 || rune == 0x7F) {
        fprintf(out, "\\x%02x", rune);
    } else {
        fprintf(out, rune < 0x10000 ? "\\u%04x" : "\\U%08x", rune);
    }
}

void go_write_quoted(FILE *out, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    fputc('"', out);
    for (size_t i = 0; i < size;) {
        size_t length = 0;
        uint32_t rune = go_decode_rune(bytes + i, size - i, &length);
        quote_rune(out, rune, bytes + i, length);
        i += length;
    }
    fputc('"', out);
}

char *go_quoted(const void *data, size_t size)
{
    char *text = NULL;
    size_t text_size = 0;
    FILE *out = open_memstream(&text, &text_size);
    go_write_quoted(out, data, size);
    fclose(out);
    return text;
}

/* The number of `digits` digits of `base` at text; -1 when they are not all there. */
static int64_t digits_value(const char *text, int digits, int base)
{
    int64_t value = 0;
    for (int i = 0; i < digits; i++) {
        char c = text[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : 99;
        if (digit >= base) { /* also the end of the string */
            return -1;
        }
        value = value * base + digit;
    }
    return value;
}

/* One escape at text (after the backslash): appends its bytes, gives what it took or 0. */
static size_t unescape(const char *text, FILE *out)
{
    const char *letter = text[0] != 0 ? strchr(escape_letters, text[0]) : NULL;
    if (letter != NULL) {
        fputc(escape_bytes[letter - escape_letters], out);
        return 1;
    }
    if (text[0] == '\\' || text[0] == '"') {
        fputc(text[0], out);
        return 1;
    }
    if (text[0] >= '0' && text[0] <= '7') {
        int64_t value = digits_value(text, 3, 8);
        if (value < 0 || value > 255) {
            return 0;
        }
        fputc((int)value, out);
        return 3;
    }
    int digits = text[0] == 'x' ? 2 : text[0] == 'u' ? 4 : text[0] == 'U' ? 8 : 0;
    int64_t value = digits > 0 ? digits_value(text + 1, digits, 16) : -1;
    if (value < 0 || value > 0x10FFFF || (digits > 2 && value >= 0xD800 && value <= 0xDFFF)) {
        return 0;
    }
    if (digits == 2) {
        fputc((int)value, out);
    } else {
        char bytes[4];
        fwrite(bytes, 1, encode_rune((uint32_t)value, bytes), out);
    }
    return (size_t)digits + 1;
}

bool go_unquote(const char *text, char **content_p, size_t *content_size_p, size_t *used_p)
{
    char quote = text[0];
    if (quote != '"' && quote != '`') {
        return false;
    }
    FILE *out = open_memstream(content_p, content_size_p);
    size_t i = 1;
    bool good = true;
    while (good && text[i] != quote) {
        if (text[i] == 0 || (quote == '"' && text[i] == '\n')) {
            good = false;
        } else if (quote == '"' && text[i] == '\\') {
            size_t used = unescape(text + i + 1, out);
            good = used > 0;
            i += 1 + used;
        } else {
            fputc(text[i], out);
            i++;
        }
    }
    fclose(out);
    if (!good) {
        free(*content_p);
        *content_p = NULL;
        return false;
    }
    *used_p = i + 1;
    return true;
}

/* ---- JSON ---- */

void go_json_string(FILE *out, const void *data, size_t size)
{
    static const char letters[] = "bfnrt";
    static const char controls[] = "\b\f\n\r\t";
    const uint8_t *bytes = data;
    fputc('"', out);
    for (size_t i = 0; i < size;) {
        size_t length = 0;
        uint32_t rune = go_decode_rune(bytes + i, size - i, &length);
        const char *control = rune != 0 && rune < 0x20 ? strchr(controls, (int)rune) : NULL;
        if (rune == '"' || rune == '\\') {
            fprintf(out, "\\%c", (char)rune);
        } else if (control != NULL) {
            fprintf(out, "\\%c", letters[control - controls]);
        } else if (rune < 0x20 || rune == '<' || rune == '>' || rune == '&' || rune == 0x2028 ||
                   rune == 0x2029 || (rune == 0xFFFD && length == 1)) {
            fprintf(out, "\\u%04x", rune);
        } else {
            fwrite(bytes + i, 1, length, out);
        }
        i += length;
    }
    fputc('"', out);
}

void go_json_base64(FILE *out, const void *data, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *bytes = data;
    fputc('"', out);
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t group = (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
                         (left > 2 ? bytes[i + 2] : 0u);
        fputc(digits[group >> 18], out);
        fputc(digits[group >> 12 & 63], out);
        fputc(left > 1 ? digits[group >> 6 & 63] : '=', out);
        fputc(left > 2 ? digits[group & 63] : '=', out);
    }
    fputc('"', out);
}

/* ---- sizes ---- */

void go_format_bytes(uint64_t bytes, char text[GO_TEXT_BYTES])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    if (bytes < 10) {
        snprintf(text, GO_TEXT_BYTES, "%" PRIu64 " B", bytes);
        return;
    }
    size_t unit = 0;
    double scale = 1;
    while (unit + 1 < sizeof units / sizeof units[0] && (double)bytes / scale >= 1000) {
        scale *= 1000;
        unit++;
    }
    /* One decimal, rounded half up; shown below ten. */
    double value = (double)(uint64_t)((double)bytes / scale * 10 + 0.5) / 10;
    snprintf(text, GO_TEXT_BYTES, value < 10 ? "%.1f %s" : "%.0f %s", value, units[unit]);
}
