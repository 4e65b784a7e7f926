/* http1_parse: the head of an HTTP/1.1 request, and the parts of its target. Pure, no state.
 * Strict where leniency lets two parsers disagree about where a request ends (RFC 9112 section 11.2):
 * blanks before colons, folded lines, contradicting lengths and unknown transfer codings are errors. */
#pragma once

#include "messages/buf.h"

typedef struct {
    slice_t method;
    slice_t target; /* as sent */
    bool is_head;   /* the method is HEAD */
    bool minor;     /* HTTP/1.1, else HTTP/1.0 */
    bool keep_alive;
    bool expect_continue;
    bool chunked;
    bool accepts_gzip;   /* and does not like the plain answer as well or better */
    uint64_t body_bytes; /* Content-Length, 0 without */
} http1_request_t;       /* slices point into the input */

enum { HTTP1_MORE = 1 };

/* 0 = *request is complete and took *used bytes; HTTP1_MORE = the head is not complete; else the
 * status to answer before closing (400, 431, 501, 505). */
int http1_parse(slice_t input, http1_request_t *request, size_t *used)
    __attribute__((warn_unused_result));

/* The target's path, percent-decoded, and its query. "http://host/path" is understood too. False =
 * malformed. `path` is cleared first and not terminated. */
bool http1_target(slice_t target, buf_t *path, slice_t *query) __attribute__((warn_unused_result));

/* Takes the next key and value off a query, decoded; pairs that are malformed are passed over.
 * False = nothing left. */
bool http1_query_next(slice_t *rest, buf_t *key, buf_t *value) __attribute__((warn_unused_result));
