#include "actors/daemon/log_line.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "messages/json.h"

const char *log_level_name(log_level_t level)
{
    switch (level) {
    case LEVEL_DEBUG: return "debug";
    case LEVEL_INFO: return "info";
    case LEVEL_WARN: return "warn";
    case LEVEL_ERROR: return "error";
    case LEVEL_FATAL: return "fatal";
    }
    return "unknown";
}

static void append_text(buf_t *out, const char *text)
{
    buf_append(out, text, strlen(text));
}

/* 2006-01-02T15:04:05.000000Z */
static void append_time(buf_t *out, uint64_t unix_us)
{
    time_t seconds = (time_t)(unix_us / 1000000);
    struct tm parts = {0};
    (void)gmtime_r(&seconds, &parts);
    char text[64];
    size_t len = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
    buf_append(out, text, len);
    int size = snprintf(text, sizeof text, ".%06uZ", (unsigned)(unix_us % 1000000));
    buf_append(out, text, (size_t)size);
}

/* "dir/file.c:12" of a longer path. */
static const char *short_caller(const char *caller)
{
    const char *last = strrchr(caller, '/');
    if (!last) {
        return caller;
    }
    while (last > caller && last[-1] != '/') {
        last--;
    }
    return last;
}

/* A blank after each colon and comma outside of strings. */
static void append_spaced(buf_t *out, const char *fields)
{
    bool in_string = false;
    for (const char *c = fields; *c; c++) {
        buf_byte(out, (uint8_t)*c);
        if (in_string && *c == '\\' && c[1]) {
            buf_byte(out, (uint8_t) * ++c);
        } else if (*c == '"') {
            in_string = !in_string;
        } else if (!in_string && (*c == ':' || *c == ',')) {
            buf_byte(out, ' ');
        }
    }
}

/* Text that must not break a console line in two. */
static void append_visible(buf_t *out, const char *text)
{
    for (; *text; text++) {
        bool control = (unsigned char)*text < 0x20 || *text == 0x7f;
        buf_byte(out, control ? ' ' : (uint8_t)*text);
    }
}

static void console_line(buf_t *out, log_level_t level, uint64_t unix_us, const char *caller,
                         const char *text, const char *fields)
{
    append_time(out, unix_us);
    buf_byte(out, '\t');
    append_text(out, log_level_name(level));
    buf_byte(out, '\t');
    append_visible(out, short_caller(caller));
    buf_byte(out, '\t');
    append_visible(out, text);
    if (*fields) {
        append_text(out, "\t{");
        append_spaced(out, fields);
        buf_byte(out, '}');
    }
}

static void json_line(buf_t *out, log_level_t level, uint64_t unix_us, const char *caller,
                      const char *text, const char *fields)
{
    append_text(out, "{\"level\":\"");
    append_text(out, log_level_name(level));
    append_text(out, "\",\"ts\":\"");
    append_time(out, unix_us);
    append_text(out, "\",\"caller\":");
    buf_json_string(out, slice_str(short_caller(caller)));
    append_text(out, ",\"msg\":");
    buf_json_string(out, slice_str(text));
    if (*fields) {
        buf_byte(out, ',');
        append_text(out, fields);
    }
    buf_byte(out, '}');
}

void log_line(buf_t *out, bool console, log_level_t level, uint64_t unix_us, const char *caller,
              const char *text, const char *fields)
{
    if (console) {
        console_line(out, level, unix_us, caller, text, fields);
    } else {
        json_line(out, level, unix_us, caller, text, fields);
    }
    buf_byte(out, '\n');
}
