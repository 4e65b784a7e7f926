/* gzip: a whole text compressed (RFC 1952). Pure; holds no memory between calls. */
#pragma once

#include "messages/buf.h"

/* Appends. False = not done, and `out` is as it was: send it uncompressed. */
bool gzip_text(buf_t *out, slice_t text);
