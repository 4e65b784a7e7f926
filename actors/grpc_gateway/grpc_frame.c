#include "actors/grpc_gateway/grpc_frame.h"

#include <stdio.h>

void grpc_prefix_write(uint8_t prefix[GRPC_PREFIX_BYTES], uint32_t len)
{
    prefix[0] = 0;
    prefix[1] = (uint8_t)(len >> 24);
    prefix[2] = (uint8_t)(len >> 16);
    prefix[3] = (uint8_t)(len >> 8);
    prefix[4] = (uint8_t)len;
}

uint32_t grpc_prefix_len(const uint8_t prefix[GRPC_PREFIX_BYTES])
{
    return (uint32_t)prefix[1] << 24 | (uint32_t)prefix[2] << 16 | (uint32_t)prefix[3] << 8 |
           prefix[4];
}

static void append_text(buf_t *out, const char *text)
{
    buf_append(out, text, strlen(text));
}

void grpc_quote(buf_t *out, slice_t value)
{
    buf_byte(out, '"');
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = value.data[i];
        if (c == '"' || c == '\\') {
            buf_byte(out, '\\');
            buf_byte(out, c);
        } else if (c >= ' ' && c <= '~') {
            buf_byte(out, c);
        } else {
            char escaped[8];
            snprintf(escaped, sizeof escaped, "\\x%02x", c);
            append_text(out, escaped);
        }
    }
    buf_byte(out, '"');
}

/* The unit's length in nanoseconds, or 0. */
static uint64_t timeout_unit_ns(uint8_t unit)
{
    switch (unit) {
    case 'H': return 3600000000000u;
    case 'M': return 60000000000u;
    case 'S': return 1000000000u;
    case 'm': return 1000000u;
    case 'u': return 1000u;
    case 'n': return 1;
    default: return 0;
    }
}

static int timeout_refused(buf_t *why, const char *text, slice_t value, const char *tail)
{
    append_text(why, text);
    grpc_quote(why, value);
    append_text(why, tail);
    return 1;
}

int grpc_timeout_parse(slice_t text, uint64_t *timeout_us, buf_t *why)
{
    if (text.len < 2) {
        return timeout_refused(why, "transport: timeout string is too short: ", text, "");
    }
    if (text.len > 9) {
        return timeout_refused(why, "transport: timeout string is too long: ", text, "");
    }
    uint64_t unit_ns = timeout_unit_ns(text.data[text.len - 1]);
    if (unit_ns == 0) {
        return timeout_refused(why, "transport: timeout unit is not recognized: ", text, "");
    }
    uint64_t count = 0;
    for (size_t i = 0; i < text.len - 1; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return timeout_refused(why, "strconv.ParseUint: parsing ",
                                   slice(text.data, text.len - 1), ": invalid syntax");
        }
        count = count * 10 + (text.data[i] - '0');
    }
    uint64_t ns_max = INT64_MAX; /* a Go duration; 8 digits of hours exceed it */
    *timeout_us = count > ns_max / unit_ns ? UINT64_MAX : (count * unit_ns + 999) / 1000;
    return 0;
}

/* Length of the valid UTF-8 sequence at the start of `text`, or 0 (RFC 3629: no surrogates, nothing
 * overlong, nothing above U+10FFFF). */
static size_t utf8_len(slice_t text)
{
    static const struct {
        uint8_t mask, lead;
        uint32_t min;
        size_t len;
    } forms[] = {{0x80, 0x00, 0, 1},
                 {0xe0, 0xc0, 0x80, 2},
                 {0xf0, 0xe0, 0x800, 3},
                 {0xf8, 0xf0, 0x10000, 4}};
    for (size_t f = 0; f < sizeof forms / sizeof forms[0]; f++) {
        if ((text.data[0] & forms[f].mask) != forms[f].lead) {
            continue;
        }
        if (text.len < forms[f].len) {
            return 0;
        }
        uint32_t point = text.data[0] & (uint8_t)~forms[f].mask;
        for (size_t i = 1; i < forms[f].len; i++) {
            if ((text.data[i] & 0xc0) != 0x80) {
                return 0;
            }
            point = point << 6 | (text.data[i] & 0x3f);
        }
        bool surrogate = point >= 0xd800 && point <= 0xdfff;
        return point < forms[f].min || surrogate || point > 0x10ffff ? 0 : forms[f].len;
    }
    return 0;
}

static void append_escaped(buf_t *out, const uint8_t *data, size_t len)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < len; i++) {
        buf_byte(out, '%');
        buf_byte(out, (uint8_t)digits[data[i] >> 4]);
        buf_byte(out, (uint8_t)digits[data[i] & 15]);
    }
}

void grpc_message_encode(buf_t *out, slice_t text)
{
    static const uint8_t replacement[] = {0xef, 0xbf, 0xbd};
    while (text.len > 0) {
        uint8_t c = text.data[0];
        size_t len = utf8_len(text);
        if (len == 0) {
            append_escaped(out, replacement, sizeof replacement);
            len = 1;
        } else if (len > 1 || c < ' ' || c > '~' || c == '%') {
            append_escaped(out, text.data, len);
        } else {
            buf_byte(out, c);
        }
        text = slice(text.data + len, text.len - len);
    }
}

bool grpc_is_content_type(slice_t value)
{
    slice_t base = slice_str("application/grpc");
    if (!slice_starts_with(value, base)) {
        return false;
    }
    return value.len == base.len || value.data[base.len] == '+' || value.data[base.len] == ';';
}
