#include "actors/daemon/sha1.h"

#include <string.h>

enum { BLOCK_BYTES = 64, LENGTH_BYTES = 8, ROUNDS = 80 };

static uint32_t rotate(uint32_t value, unsigned bits)
{
    return value << bits | value >> (32 - bits);
}

/* FIPS 180-4, 6.1.2: one block of the message into the hash. */
static void take_block(uint32_t hash[5], const uint8_t block[BLOCK_BYTES])
{
    uint32_t w[ROUNDS];
    for (size_t t = 0; t < 16; t++) {
        const uint8_t *at = block + 4 * t;
        w[t] = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
    }
    for (size_t t = 16; t < ROUNDS; t++) {
        w[t] = rotate(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
    }
    uint32_t a = hash[0], b = hash[1], c = hash[2], d = hash[3], e = hash[4];
    for (size_t t = 0; t < ROUNDS; t++) {
        uint32_t mixed;
        if (t < 20) {
            mixed = ((b & c) | (~b & d)) + 0x5a827999;
        } else if (t < 40) {
            mixed = (b ^ c ^ d) + 0x6ed9eba1;
        } else if (t < 60) {
            mixed = ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
        } else {
            mixed = (b ^ c ^ d) + 0xca62c1d6;
        }
        uint32_t next = rotate(a, 5) + mixed + e + w[t];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    hash[0] += a;
    hash[1] += b;
    hash[2] += c;
    hash[3] += d;
    hash[4] += e;
}

void sha1(slice_t text, uint8_t digest[SHA1_BYTES])
{
    uint32_t hash[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    size_t whole = text.len / BLOCK_BYTES * BLOCK_BYTES;
    for (size_t i = 0; i < whole; i += BLOCK_BYTES) {
        take_block(hash, text.data + i);
    }
    /* The rest, a one bit, zeros, and the length in bits: one block or two (5.1.1). */
    uint8_t last[2 * BLOCK_BYTES] = {0};
    size_t rest = text.len - whole;
    if (rest > 0) {
        memcpy(last, text.data + whole, rest);
    }
    last[rest] = 0x80;
    size_t size = rest + 1 + LENGTH_BYTES <= BLOCK_BYTES ? BLOCK_BYTES : 2 * BLOCK_BYTES;
    uint64_t bits = (uint64_t)text.len * 8;
    for (size_t i = 0; i < LENGTH_BYTES; i++) {
        last[size - 1 - i] = (uint8_t)(bits >> 8 * i);
    }
    for (size_t i = 0; i < size; i += BLOCK_BYTES) {
        take_block(hash, last + i);
    }
    for (size_t i = 0; i < SHA1_BYTES; i++) {
        digest[i] = (uint8_t)(hash[i / 4] >> (24 - 8 * (i % 4)));
    }
}
