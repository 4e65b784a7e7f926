/* go_format: how Go reads and writes values, since etcdctl's output and messages are Go's. Pure,
 * but for the stream that is written to. Named after the functions of strconv, time and fmt. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* strconv.Quote, fmt's %q. */
void go_write_quoted(FILE *out, const void *data, size_t size);
/* The same as a fresh string. */
char *go_quoted(const void *data, size_t size);
/* Reads a quoted string ("…" with escapes or `…`) at the start of text. The content is appended to
 * a fresh string at *content_p; *used_p is what it took of text. false: not a quoted string. */
bool go_unquote(const char *text, char **content_p, size_t *content_size_p, size_t *used_p);

/* The next rune of valid UTF-8 at `data`, its length in *length_p; invalid bytes give 0xFFFD and
 * length 1. size > 0. */
uint32_t go_decode_rune(const uint8_t *data, size_t size, size_t *length_p);
/* strconv.IsPrint. */
bool go_is_print(uint32_t rune);

/* strconv.ParseInt and ParseUint with base 0 (prefixes and underscores), 10 or 16, and ParseBool.
 * NULL: done; else the reason ("invalid syntax", "value out of range"). */
const char *go_parse_int(const char *text, int base, int64_t *value_p);
const char *go_parse_uint(const char *text, int base, uint64_t *value_p);
const char *go_parse_bool(const char *text, bool *value_p);
/* time.ParseDuration. NULL, or a fresh complete error text. */
char *go_parse_duration(const char *text, int64_t *ns_p);

#define GO_TEXT_BYTES 48
/* Duration.String: "1.5ms". */
void go_format_duration(int64_t ns, char text[GO_TEXT_BYTES]);
/* "20 kB", as github.com/dustin/go-humanize writes sizes. */
void go_format_bytes(uint64_t bytes, char text[GO_TEXT_BYTES]);
/* encoding/json's string, with HTML characters escaped. */
void go_json_string(FILE *out, const void *data, size_t size);
/* encoding/json's []byte. */
void go_json_base64(FILE *out, const void *data, size_t size);
