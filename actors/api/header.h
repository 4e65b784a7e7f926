/* header: writes ResponseHeader (contract section 2) in front of answers. Pure.
 * It is field 1 of nearly every response. */
#pragma once

#include "messages/buf.h"

typedef struct {
    uint8_t ids[24]; /* cluster_id and member_id as they go on the wire: they never change */
    size_t ids_len;
} header_t;

/* Longest result of header_write. */
enum { HEADER_BYTES_MAX = 2 + 24 + 2 * 11 };

void header_init(header_t *self, uint64_t cluster_id, uint64_t member_id);
/* The header as field 1, tag and length included. A zero revision or term is left out. */
size_t header_write(const header_t *self, uint8_t *out, int64_t revision, uint64_t term);
void header_append(const header_t *self, buf_t *out, int64_t revision, uint64_t term);
/* A whole answer: the header, then `body`, the wire-ready fields after it. */
bytes_t *header_wrap(const header_t *self, int64_t revision, uint64_t term, slice_t body);
