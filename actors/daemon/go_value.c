#include "actors/daemon/go_value.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "messages/buf.h"
#include "messages/json.h"
#include "messages/xalloc.h"

int go_bool(const char *text, bool *value)
{
    static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"};
    static const char *const no[] = {"0", "f", "F", "FALSE", "false", "False"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
            *value = strcmp(text, yes[i]) == 0;
            return 0;
        }
    }
    return GO_SYNTAX;
}

static unsigned take_base(const char **text_p)
{
    const char *text = *text_p;
    if (text[0] != '0' || text[1] == '\0') {
        return 10;
    }
    char mark = (char)(text[1] | 0x20);
    unsigned base = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
    /* The leading zero of an octal number stays: an underscore may follow it. */
    *text_p = base ? text + 2 : text;
    return base ? base : 8;
}

static unsigned digit_value(char c)
{
    if (c >= '0' && c <= '9') {
        return (unsigned)(c - '0');
    }
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? (unsigned)(lower - 'a') + 10 : 99;
}

int go_uint(const char *text, uint64_t max, uint64_t *value)
{
    const char *rest = text;
    unsigned base = take_base(&rest);
    /* An underscore must stand between digits, or between the base prefix and a digit. */
    bool may_separate = rest != text;
    bool after_digit = false;
    bool too_large = false;
    uint64_t number = 0;
    for (; *rest; rest++) {
        if (*rest == '_') {
            if (!may_separate) {
                return GO_SYNTAX;
            }
            may_separate = false;
            after_digit = false;
            continue;
        }
        unsigned digit = digit_value(*rest);
        if (digit >= base) {
            return GO_SYNTAX;
        }
        too_large = too_large || number > (UINT64_MAX - digit) / base;
        number = number * base + digit;
        may_separate = true;
        after_digit = true;
    }
    if (!after_digit) {
        return GO_SYNTAX;
    }
    if (too_large || number > max) {
        return GO_RANGE;
    }
    *value = number;
    return 0;
}

int go_int(const char *text, int64_t *value)
{
    bool negative = text[0] == '-';
    const char *digits = text[0] == '-' || text[0] == '+' ? text + 1 : text;
    uint64_t number = 0;
    uint64_t max = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
    int outcome = go_uint(digits, max, &number);
    if (outcome == 0) {
        *value = negative ? (int64_t)(0 - number) : (int64_t)number;
    }
    return outcome;
}

static const struct {
    const char *name;
    uint64_t nanoseconds;
} units[] = {
    {"ns", 1},       {"us", 1000},      {"\xc2\xb5s", 1000},   {"\xce\xbcs", 1000},
    {"ms", 1000000}, {"s", 1000000000}, {"m", 60000000000ULL}, {"h", 3600000000000ULL},
};

static uint64_t take_unit(const char **text_p)
{
    const char *text = *text_p;
    size_t len = strcspn(text, "0123456789.");
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strlen(units[i].name) == len && strncmp(units[i].name, text, len) == 0) {
            *text_p = text + len;
            return units[i].nanoseconds;
        }
    }
    return 0;
}

/* One "12.5ms" of a duration. Overflow counts as a syntax error, as in Go. */
static int take_part(const char **text_p, uint64_t *nanoseconds)
{
    const char *text = *text_p;
    uint64_t whole = 0;
    bool digits = false;
    for (; *text >= '0' && *text <= '9'; text++) {
        if (whole > (uint64_t)INT64_MAX / 10) {
            return GO_SYNTAX;
        }
        whole = whole * 10 + (uint64_t)(*text - '0');
        digits = true;
    }
    uint64_t fraction = 0;
    uint64_t scale = 1;
    if (*text == '.') {
        for (text++; *text >= '0' && *text <= '9'; text++) {
            digits = true;
            if (scale < 1000000000000000ULL) {
                fraction = fraction * 10 + (uint64_t)(*text - '0');
                scale *= 10;
            }
        }
    }
    uint64_t unit = digits ? take_unit(&text) : 0;
    if (unit == 0 || whole > (uint64_t)INT64_MAX / unit) {
        return GO_SYNTAX;
    }
    double part = (double)fraction * ((double)unit / (double)scale);
    *nanoseconds = whole * unit + (uint64_t)part;
    *text_p = text;
    return *nanoseconds > INT64_MAX ? GO_SYNTAX : 0;
}

int go_duration(const char *text, int64_t *nanoseconds)
{
    bool negative = text[0] == '-';
    const char *rest = text[0] == '-' || text[0] == '+' ? text + 1 : text;
    if (strcmp(rest, "0") == 0) {
        *nanoseconds = 0;
        return 0;
    }
    if (*rest == '\0') {
        return GO_SYNTAX;
    }
    uint64_t sum = 0;
    while (*rest) {
        uint64_t part = 0;
        if (take_part(&rest, &part) != 0 || part > (uint64_t)INT64_MAX - sum) {
            return GO_SYNTAX;
        }
        sum += part;
    }
    *nanoseconds = negative ? -(int64_t)sum : (int64_t)sum;
    return 0;
}

/* A number of units with its fraction and without trailing zeros: "1.5s". */
static void append_units(buf_t *out, uint64_t value, uint64_t unit, const char *name)
{
    char text[48];
    int len = snprintf(text, sizeof text, "%" PRIu64, value / unit);
    buf_append(out, text, (size_t)len);
    uint64_t rest = value % unit;
    if (rest > 0) {
        buf_byte(out, '.');
        for (uint64_t scale = unit / 10; rest > 0; scale /= 10) {
            buf_byte(out, (uint8_t)('0' + rest / scale));
            rest %= scale;
        }
    }
    buf_append(out, name, strlen(name));
}

char *go_duration_text(int64_t nanoseconds)
{
    buf_t out = {0};
    uint64_t value = nanoseconds < 0 ? 0 - (uint64_t)nanoseconds : (uint64_t)nanoseconds;
    if (nanoseconds < 0) {
        buf_byte(&out, '-');
    }
    if (value == 0) {
        buf_append(&out, "0s", 2);
    } else if (value < 1000) {
        append_units(&out, value, 1, "ns");
    } else if (value < 1000000) {
        append_units(&out, value, 1000, "\xc2\xb5s");
    } else if (value < 1000000000) {
        append_units(&out, value, 1000000, "ms");
    } else {
        uint64_t minutes = value / 60000000000ULL;
        if (minutes >= 60) {
            append_units(&out, minutes / 60, 1, "h");
        }
        if (minutes > 0) {
            append_units(&out, minutes % 60, 1, "m");
        }
        append_units(&out, value % 60000000000ULL, 1000000000, "s");
    }
    buf_byte(&out, '\0');
    return (char *)out.data;
}

char *go_quote(const char *text)
{
    static const char plain[] = "\a\b\f\n\r\t\v\\\"";
    static const char escaped[] = "abfnrtv\\\"";
    buf_t out = {0};
    slice_t rest = slice_str(text);
    buf_byte(&out, '"');
    while (rest.len > 0) {
        size_t len = utf8_length(rest);
        uint8_t byte = rest.data[0];
        const char *special = byte ? strchr(plain, (char)byte) : NULL;
        if (special) {
            buf_byte(&out, '\\');
            buf_byte(&out, (uint8_t)escaped[special - plain]);
        } else if (len == 0 || byte < 0x20 || byte == 0x7f) {
            char hex[8];
            int size = snprintf(hex, sizeof hex, "\\x%02x", byte);
            buf_append(&out, hex, (size_t)size);
        } else {
            buf_append(&out, rest.data, len);
        }
        len = len ? len : 1;
        rest = slice(rest.data + len, rest.len - len);
    }
    buf_append(&out, "\"", 2); /* and the terminator */
    return (char *)out.data;
}
