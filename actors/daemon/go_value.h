/* go_value: values as Go's flag package reads them, so that command lines written for etcd mean the
 * same here. Pure. Every parser returns 0, or one of the outcomes below with *value unchanged. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { GO_SYNTAX = 1, GO_RANGE = 2 };

/* 1 t T TRUE true True 0 f F FALSE false False. */
int go_bool(const char *text, bool *value) __attribute__((warn_unused_result));
/* Decimal, 0x, 0o, 0b, or a leading 0 for octal; underscores between digits as in Go source. */
int go_uint(const char *text, uint64_t max, uint64_t *value) __attribute__((warn_unused_result));
int go_int(const char *text, int64_t *value) __attribute__((warn_unused_result));
/* "1h2m3.5s", "10ms", "0": nanoseconds. Everything wrong is GO_SYNTAX. */
int go_duration(const char *text, int64_t *nanoseconds) __attribute__((warn_unused_result));
/* Nanoseconds the way Go prints a duration ("1m0s", "100ms"); yours. */
char *go_duration_text(int64_t nanoseconds);
/* The text in quotes as %q prints it; yours. */
char *go_quote(const char *text);
