/* kv_check: compares readers of stores, by cmocka assertions. */
#pragma once

#include "actors/core/prng.h"
#include "store/kv.h"

/* A key of 1..3 bytes over a small alphabet (the last byte 0xff), so that keys meet often and are
 * often prefixes of each other. `out` holds 3 bytes. */
slice_t kv_check_key(prng_t *prng, uint8_t *out);
/* One random put or delete. Values are empty, short, or up to 300 bytes. */
typedef struct {
    slice_t key;
    slice_t value;
    bool is_delete;
    uint8_t key_bytes[3];
    uint8_t value_bytes[300];
} kv_check_change_t;
void kv_check_change(prng_t *prng, kv_check_change_t *change);

/* Gets of `steps` random keys, and `steps` random moves of an iterator, agree. */
void kv_check_same(prng_t *prng, const kv_reader_t *a, const kv_reader_t *b, int steps);
/* Everything agrees, forwards and backwards. */
void kv_check_same_all(const kv_reader_t *a, const kv_reader_t *b);
