/* The part of go_format that reads and writes numbers and durations. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/go_format.h"
#include "messages/xalloc.h"

static const char syntax_error[] = "invalid syntax";
static const char range_error[] = "value out of range";

static int digit_of(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'z' ? lower - 'a' + 10 : 99;
}

/* Base 0: takes the prefix off and says the base. */
static const char *take_prefix(const char *text, int *base_p)
{
    *base_p = 10;
    if (text[0] != '0' || text[1] == 0) {
        return text;
    }
    char letter = (char)(text[1] | 0x20);
    *base_p = letter == 'x' ? 16 : letter == 'b' ? 2 : 8;
    return text + (*base_p != 8 || letter == 'o' ? 2 : 1);
}

/* strconv.ParseUint: it stops at the first digit that makes the value too large, whatever follows. */
const char *go_parse_uint(const char *text, int base, uint64_t *value_p)
{
    bool underscores = base == 0;
    const char *digits = text;
    if (base == 0) {
        digits = take_prefix(text, &base);
    }
    uint64_t value = 0;
    /* An underscore stands between digits, or between the prefix and a digit. */
    bool after_digit = digits != text;
    for (const char *c = digits; *c != 0; c++) {
        if (underscores && *c == '_' && after_digit && digit_of(c[1]) < base) {
            after_digit = false;
            continue;
        }
        int digit = digit_of(*c);
        if (digit >= base) {
            return syntax_error;
        }
        after_digit = true;
        if (value > (UINT64_MAX - (uint64_t)digit) / (uint64_t)base) {
            return range_error;
        }
        value = value * (uint64_t)base + (uint64_t)digit;
    }
    if (digits[0] == 0) {
        return syntax_error;
    }
    *value_p = value;
    return NULL;
}

const char *go_parse_int(const char *text, int base, int64_t *value_p)
{
    bool negative = text[0] == '-';
    uint64_t value = 0;
    const char *reason = go_parse_uint(text + (text[0] == '-' || text[0] == '+'), base, &value);
    if (reason != NULL) {
        return reason;
    }
    if (value > (negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX)) {
        return range_error;
    }
    *value_p = negative ? (int64_t)(0 - value) : (int64_t)value;
    return NULL;
}

const char *go_parse_bool(const char *text, bool *value_p)
{
    static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"};
    static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False"};
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
            *value_p = strcmp(text, yes[i]) == 0;
            return NULL;
        }
    }
    return syntax_error;
}

/* ---- durations ---- */

static const struct {
    const char *name;
    int64_t ns;
} duration_units[] = {
    {"ns", 1},       {"us", 1000},        {"\xC2\xB5s", 1000},  {"\xCE\xBCs", 1000},
    {"ms", 1000000}, {"s", 1000000000LL}, {"m", 60000000000LL}, {"h", 3600000000000LL},
};

static int64_t unit_ns(const char *name, size_t size)
{
    for (size_t i = 0; i < sizeof duration_units / sizeof duration_units[0]; i++) {
        if (strlen(duration_units[i].name) == size &&
            memcmp(duration_units[i].name, name, size) == 0) {
            return duration_units[i].ns;
        }
    }
    return 0;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char *duration_error(const char *what, const char *text)
{
    char *quoted = go_quoted(text, strlen(text));
    char *error = xasprintf("time: %s duration %s", what, quoted);
    free(quoted);
    return error;
}

/* "[digits][.digits]unit" at *c_p: adds it to *ns_p. NULL, or a fresh error. */
static char *add_part(const char *text, const char **c_p, uint64_t *ns_p)
{
    const char *c = *c_p;
    uint64_t whole = 0;
    const char *start = c;
    for (; is_digit(*c); c++) {
        if (whole > (UINT64_MAX >> 1) / 10) {
            return duration_error("invalid", text);
        }
        whole = whole * 10 + (uint64_t)(*c - '0');
    }
    bool some = c != start;
    double fraction = 0;
    if (*c == '.') {
        double scale = 0.1;
        for (c++; is_digit(*c); c++) {
            fraction += scale * (*c - '0');
            scale /= 10;
            some = true;
        }
    }
    size_t unit_size = strcspn(c, ".0123456789");
    if (!some) {
        return duration_error("invalid", text);
    }
    if (unit_size == 0) {
        return duration_error("missing unit in", text);
    }
    uint64_t unit = (uint64_t)unit_ns(c, unit_size);
    if (unit == 0) {
        char *name = go_quoted(c, unit_size);
        char *what = xasprintf("unknown unit %s in", name);
        char *error = duration_error(what, text);
        free(name);
        free(what);
        return error;
    }
    if (whole > (UINT64_MAX >> 1) / unit) {
        return duration_error("invalid", text);
    }
    *ns_p += whole * unit + (uint64_t)(fraction * (double)unit + 0.5);
    *c_p = c + unit_size;
    return *ns_p > INT64_MAX ? duration_error("invalid", text) : NULL;
}

char *go_parse_duration(const char *text, int64_t *ns_p)
{
    const char *c = text;
    bool negative = *c == '-';
    c += *c == '-' || *c == '+';
    uint64_t ns = 0;
    if (*c == 0) {
        return duration_error("invalid", text);
    }
    if (strcmp(c, "0") != 0) {
        while (*c != 0) {
            char *error = add_part(text, &c, &ns);
            if (error != NULL) {
                return error;
            }
        }
    }
    *ns_p = negative ? -(int64_t)ns : (int64_t)ns;
    return NULL;
}

/* value / 10^decimals without trailing zeros, then the unit. */
static void append_decimal(char *text, uint64_t value, int decimals, const char *unit)
{
    size_t used = strlen(text);
    uint64_t scale = 1;
    for (int i = 0; i < decimals; i++) {
        scale *= 10;
    }
    uint64_t rest = value % scale;
    while (decimals > 0 && rest % 10 == 0) {
        rest /= 10;
        decimals--;
    }
    if (decimals == 0) {
        snprintf(text + used, GO_TEXT_BYTES - used, "%" PRIu64 "%s", value / scale, unit);
    } else {
        snprintf(text + used, GO_TEXT_BYTES - used, "%" PRIu64 ".%0*" PRIu64 "%s", value / scale,
                 decimals, rest, unit);
    }
}

void go_format_duration(int64_t ns, char text[GO_TEXT_BYTES])
{
    uint64_t value = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    snprintf(text, GO_TEXT_BYTES, "%s", ns < 0 ? "-" : "");
    if (value == 0) {
        snprintf(text, GO_TEXT_BYTES, "0s");
    } else if (value < 1000) {
        append_decimal(text, value, 0, "ns");
    } else if (value < 1000000) {
        append_decimal(text, value, 3, "\xC2\xB5s");
    } else if (value < 1000000000) {
        append_decimal(text, value, 6, "ms");
    } else {
        uint64_t minutes = value / 60000000000ULL;
        if (minutes >= 60) {
            append_decimal(text, minutes / 60, 0, "h");
        }
        if (minutes > 0) {
            append_decimal(text, minutes % 60, 0, "m");
        }
        append_decimal(text, value % 60000000000ULL, 9, "s");
    }
}
