/* big_endian: numbers of a stated size with the highest byte first, as keys of the store sort and the native
 * protocol sends them. Pure; the caller has made sure of the room. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The lowest `bytes` bytes of the value. */
static inline void write_be(uint8_t *out, uint64_t value, size_t bytes)
{
    for (size_t i = bytes; i > 0; i--) {
        out[i - 1] = (uint8_t)value;
        value >>= 8;
    }
}

static inline uint64_t read_be(const uint8_t *data, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++) {
        value = value << 8 | data[i];
    }
    return value;
}
