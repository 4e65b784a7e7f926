/* log: where log lines go. Any thread may write; a line is one write() to each output, so that lines
 * never mix. A line that an output does not take (disk full, closed pipe) is lost and counted: the
 * log must not stop the server. */
#pragma once

#include "actors/daemon/log_line.h"

typedef struct log log_t;

/* NULL = *log_p is open; else why not (an output cannot be opened), yours. */
char *log_open(const log_options_t *options, log_t **log_p) __attribute__((warn_unused_result));
/* To stderr, for what goes wrong before there are options. */
log_t *log_open_default(void);
/* Accepts NULL; nulls the pointer. No thread may write any more. */
void log_close(log_t **self_p);

bool log_is_on(const log_t *self, log_level_t level);
/* fields: JSON members without braces, or "". */
void log_write(log_t *self, log_level_t level, const char *caller, const char *text,
               const char *fields);
/* The same with printf for the fields: `"port":%d`. Strings in them must be JSON already. */
void log_writef(log_t *self, log_level_t level, const char *caller, const char *text,
                const char *fields, ...) __attribute__((format(printf, 5, 6)));
uint64_t log_lost(const log_t *self);

#define LOG_TEXT_OF(x)   #x
#define LOG_LINE_TEXT(x) LOG_TEXT_OF(x)
/* The caller of a log line: LOG_HERE. */
#define LOG_HERE __FILE__ ":" LOG_LINE_TEXT(__LINE__)
