#include "actors/api/header.h"

#include <assert.h>

enum {
    TAG_HEADER = 1 << 3 | 2,
    TAG_CLUSTER_ID = 1 << 3,
    TAG_MEMBER_ID = 2 << 3,
    TAG_REVISION = 3 << 3,
    TAG_RAFT_TERM = 4 << 3
};

static size_t write_number(uint8_t *out, uint8_t tag, uint64_t value)
{
    if (value == 0) {
        return 0;
    }
    out[0] = tag;
    return 1 + varint_write(out + 1, value);
}

void header_init(header_t *self, uint64_t cluster_id, uint64_t member_id)
{
    size_t len = write_number(self->ids, TAG_CLUSTER_ID, cluster_id);
    len += write_number(self->ids + len, TAG_MEMBER_ID, member_id);
    assert(len <= sizeof self->ids);
    self->ids_len = len;
}

size_t header_write(const header_t *self, uint8_t *out, int64_t revision, uint64_t term)
{
    uint8_t *at = out + 2;
    memcpy(at, self->ids, self->ids_len);
    at += self->ids_len;
    at += write_number(at, TAG_REVISION, (uint64_t)revision);
    at += write_number(at, TAG_RAFT_TERM, term);
    out[0] = TAG_HEADER;
    out[1] = (uint8_t)(at - out - 2); /* below 128: one byte */
    return (size_t)(at - out);
}

void header_append(const header_t *self, buf_t *out, int64_t revision, uint64_t term)
{
    buf_advance(out, header_write(self, buf_reserve(out, HEADER_BYTES_MAX), revision, term));
}

bytes_t *header_wrap(const header_t *self, int64_t revision, uint64_t term, slice_t body)
{
    uint8_t head[HEADER_BYTES_MAX];
    size_t head_len = header_write(self, head, revision, term);
    uint8_t *data = NULL;
    bytes_t *answer = bytes_alloc(head_len + body.len, &data);
    memcpy(data, head, head_len);
    if (body.len) {
        memcpy(data + head_len, body.data, body.len);
    }
    return answer;
}
