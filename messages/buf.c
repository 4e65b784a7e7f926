#include "messages/buf.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/xalloc.h"

enum { WIRE_VARINT = 0, WIRE_LEN = 2 };

void buf_deinit(buf_t *self)
{
    free(self->data);
    *self = (buf_t){0};
}

void buf_clear(buf_t *self)
{
    self->len = 0;
}

uint8_t *buf_reserve(buf_t *self, size_t len)
{
    self->data = xgrow(self->data, &self->capacity, self->len + len, 1);
    return self->data + self->len;
}

void buf_advance(buf_t *self, size_t len)
{
    assert(self->len + len <= self->capacity);
    self->len += len;
}

void buf_append(buf_t *self, const void *data, size_t len)
{
    if (len) {
        memcpy(buf_reserve(self, len), data, len);
        self->len += len;
    }
}

void buf_byte(buf_t *self, uint8_t byte)
{
    *buf_reserve(self, 1) = byte;
    self->len += 1;
}

slice_t buf_slice(const buf_t *self)
{
    return slice(self->data, self->len);
}

bytes_t *buf_bytes(const buf_t *self)
{
    return bytes_new(self->data, self->len);
}

bytes_t *buf_take_bytes(buf_t *self)
{
    bytes_t *content = bytes_adopt(xrealloc(self->data, self->len), self->len);
    *self = (buf_t){0};
    return content;
}

size_t varint_size(uint64_t value)
{
    size_t size = 1;
    while (value >= 0x80) {
        value >>= 7;
        size++;
    }
    return size;
}

size_t varint_write(uint8_t *out, uint64_t value)
{
    size_t size = 0;
    while (value >= 0x80) {
        out[size++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[size++] = (uint8_t)value;
    return size;
}

void buf_varint(buf_t *self, uint64_t value)
{
    buf_advance(self, varint_write(buf_reserve(self, 10), value));
}

void buf_field_u64(buf_t *self, uint32_t field, uint64_t value)
{
    if (value) {
        buf_varint(self, (uint64_t)field << 3 | WIRE_VARINT);
        buf_varint(self, value);
    }
}

void buf_field_header(buf_t *self, uint32_t field, size_t len)
{
    buf_varint(self, (uint64_t)field << 3 | WIRE_LEN);
    buf_varint(self, len);
}

void buf_field_bytes(buf_t *self, uint32_t field, slice_t value)
{
    buf_field_header(self, field, value.len);
    buf_append(self, value.data, value.len);
}
