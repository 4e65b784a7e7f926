#include "messages/json.h"

#include <stdio.h>

static bool is_continuation(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

/* RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
size_t utf8_length(slice_t text)
{
    if (text.len == 0) {
        return 0;
    }
    const uint8_t *b = text.data;
    if (b[0] < 0x80) {
        return 1;
    }
    if (b[0] >= 0xc2 && b[0] <= 0xdf) {
        return text.len >= 2 && is_continuation(b[1]) ? 2 : 0;
    }
    if (b[0] >= 0xe0 && b[0] <= 0xef) {
        uint8_t low = b[0] == 0xe0 ? 0xa0 : 0x80;
        uint8_t high = b[0] == 0xed ? 0x9f : 0xbf;
        bool valid = text.len >= 3 && b[1] >= low && b[1] <= high && is_continuation(b[2]);
        return valid ? 3 : 0;
    }
    if (b[0] >= 0xf0 && b[0] <= 0xf4) {
        uint8_t low = b[0] == 0xf0 ? 0x90 : 0x80;
        uint8_t high = b[0] == 0xf4 ? 0x8f : 0xbf;
        bool valid = text.len >= 4 && b[1] >= low && b[1] <= high && is_continuation(b[2]) &&
                     is_continuation(b[3]);
        return valid ? 4 : 0;
    }
    return 0;
}

static void escape(buf_t *self, uint8_t byte)
{
    const char *shortcut = NULL;
    switch (byte) {
    case '"': shortcut = "\\\""; break;
    case '\\': shortcut = "\\\\"; break;
    case '\n': shortcut = "\\n"; break;
    case '\r': shortcut = "\\r"; break;
    case '\t': shortcut = "\\t"; break;
    default: break;
    }
    if (shortcut) {
        buf_append(self, shortcut, 2);
        return;
    }
    char text[8];
    int len = snprintf(text, sizeof text, "\\u%04x", byte);
    buf_append(self, text, (size_t)len);
}

void buf_json_string(buf_t *self, slice_t text)
{
    buf_byte(self, '"');
    while (text.len > 0) {
        size_t len = utf8_length(text);
        if (len == 0) {
            buf_append(self, "\\ufffd", 6);
            len = 1;
        } else if (len == 1 &&
                   (text.data[0] < 0x20 || text.data[0] == '"' || text.data[0] == '\\')) {
            escape(self, text.data[0]);
        } else {
            buf_append(self, text.data, len);
        }
        text = slice(text.data + len, text.len - len);
    }
    buf_byte(self, '"');
}
