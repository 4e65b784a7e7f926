#include "client/grpc_framing.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "messages/xalloc.h"

void grpc_buffer_deinit(grpc_buffer_t *self)
{
    free(self->data);
    *self = (grpc_buffer_t){0};
}

size_t grpc_buffer_size(const grpc_buffer_t *self)
{
    return self->end - self->begin;
}

const uint8_t *grpc_buffer_head(const grpc_buffer_t *self)
{
    return self->data + self->begin;
}

void grpc_buffer_append(grpc_buffer_t *self, const void *data, size_t size)
{
    if (size == 0) {
        return;
    }
    /* Slide to the front before growing: consumed bytes are room already paid for. */
    if (self->begin > 0 && self->end + size > self->capacity) {
        memmove(self->data, self->data + self->begin, self->end - self->begin);
        self->end -= self->begin;
        self->begin = 0;
    }
    self->data = xgrow(self->data, &self->capacity, self->end + size, 1);
    memcpy(self->data + self->end, data, size);
    self->end += size;
}

void grpc_buffer_consume(grpc_buffer_t *self, size_t size)
{
    assert(size <= grpc_buffer_size(self));
    self->begin += size;
    if (self->begin == self->end) {
        self->begin = 0;
        self->end = 0;
    }
}

void grpc_frame_append(grpc_buffer_t *out, const void *message, size_t size)
{
    assert(size <= UINT32_MAX);
    uint8_t prefix[GRPC_PREFIX_BYTES] = {0, (uint8_t)(size >> 24), (uint8_t)(size >> 16),
                                         (uint8_t)(size >> 8), (uint8_t)size};
    grpc_buffer_append(out, prefix, sizeof prefix);
    grpc_buffer_append(out, message, size);
}

int grpc_frame_next(grpc_buffer_t *in, size_t size_max, const uint8_t **message_p, size_t *size_p)
{
    size_t have = grpc_buffer_size(in);
    if (have < GRPC_PREFIX_BYTES) {
        return GRPC_FRAME_INCOMPLETE;
    }
    const uint8_t *head = grpc_buffer_head(in);
    size_t size = (size_t)head[1] << 24 | (size_t)head[2] << 16 | (size_t)head[3] << 8 | head[4];
    *size_p = size;
    if (head[0] != 0) {
        return GRPC_FRAME_COMPRESSED;
    }
    if (size > size_max) {
        return GRPC_FRAME_TOO_LARGE;
    }
    if (have - GRPC_PREFIX_BYTES < size) {
        return GRPC_FRAME_INCOMPLETE;
    }
    *message_p = head + GRPC_PREFIX_BYTES;
    grpc_buffer_consume(in, GRPC_PREFIX_BYTES + size);
    return 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

char *grpc_percent_decode(const char *text, size_t size, size_t *size_p)
{
    char *out = xmalloc(size + 1);
    size_t n = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '%' && size - i > 2) {
            int high = hex_digit(text[i + 1]);
            int low = hex_digit(text[i + 2]);
            if (high >= 0 && low >= 0) {
                out[n++] = (char)(high << 4 | low);
                i += 2;
                continue;
            }
        }
        out[n++] = text[i];
    }
    out[n] = 0;
    if (size_p != NULL) {
        *size_p = n;
    }
    return out;
}

void grpc_timeout_format(int64_t timeout_us, char text[GRPC_TIMEOUT_TEXT_BYTES])
{
    static const struct {
        char name;
        int64_t us;
    } units[] = {{'u', 1}, {'m', 1000}, {'S', 1000000}, {'M', 60000000}, {'H', 3600000000LL}};
    assert(timeout_us >= 0);
    size_t i = 0;
    int64_t value = timeout_us;
    while (value > 99999999 && i + 1 < sizeof units / sizeof units[0]) {
        i++;
        value = timeout_us / units[i].us + (timeout_us % units[i].us != 0);
    }
    if (value > 99999999) {
        value = 99999999; /* 11,000 years */
    }
    snprintf(text, GRPC_TIMEOUT_TEXT_BYTES, "%" PRId64 "%c", value, units[i].name);
}
