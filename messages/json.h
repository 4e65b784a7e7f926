/* json: JSON written into a buffer. Pure. Reading JSON is jansson's job. */
#pragma once

#include "messages/buf.h"

/* A string with its quotes. Control characters, quotes and backslashes are escaped; bytes that are
 * not UTF-8 become U+FFFD, one each, as the loggers and servers of the API's other implementation
 * do, so that the result is always valid JSON. */
void buf_json_string(buf_t *self, slice_t text);
/* How many bytes of `text` form one valid UTF-8 character; 0 = none do (or text is empty). */
size_t utf8_length(slice_t text);
