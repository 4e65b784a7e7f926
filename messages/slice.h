/* slice: a borrowed window on bytes. Pure. Owns nothing: valid as long as what it points into. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    const uint8_t *data;
    size_t len;
} slice_t;

static inline slice_t slice(const void *data, size_t len)
{
    return (slice_t){.data = data, .len = len};
}

static inline slice_t slice_str(const char *text)
{
    return slice(text, strlen(text));
}

/* Bytewise order, shorter first when one is a prefix of the other: the order of keys. */
static inline int slice_compare(slice_t a, slice_t b)
{
    size_t shared = a.len < b.len ? a.len : b.len;
    int order = shared ? memcmp(a.data, b.data, shared) : 0;
    if (order != 0) {
        return order;
    }
    return a.len < b.len ? -1 : a.len > b.len;
}

static inline bool slice_equal(slice_t a, slice_t b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool slice_starts_with(slice_t a, slice_t prefix)
{
    return a.len >= prefix.len && (prefix.len == 0 || memcmp(a.data, prefix.data, prefix.len) == 0);
}
