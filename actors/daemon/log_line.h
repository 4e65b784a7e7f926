/* log_line: one line of the log as text. Pure: the time comes in.
 * JSON (contract sections 14 and 15): {"level","ts","caller","msg",fields...}; console: the same,
 * separated by tabs, fields as one JSON object with blanks, as zap prints them. */
#pragma once

#include "actors/core/outbox.h"
#include "messages/buf.h"

typedef struct {
    log_level_t level;
    bool console;   /* else JSON lines */
    char **outputs; /* "stderr", "stdout" or a path; sorted, each once */
    size_t output_count;
} log_options_t;

const char *log_level_name(log_level_t level);
/* Appends the line with its end. `caller`: a path ending in file:line, of which the last two parts
 * are shown. `fields`: JSON members without braces, or "". */
void log_line(buf_t *out, bool console, log_level_t level, uint64_t unix_us, const char *caller,
              const char *text, const char *fields);
