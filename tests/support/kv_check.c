#include "tests/support/kv_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

slice_t kv_check_key(prng_t *prng, uint8_t *out)
{
    static const uint8_t alphabet[] = {0x00, 0x01, 'a', 'b', 'c', 'd', 0xfe, 0xff};
    size_t len = 1 + (size_t)prng_below(prng, 3);
    for (size_t i = 0; i < len; i++) {
        out[i] = alphabet[prng_below(prng, sizeof alphabet)];
    }
    return slice(out, len);
}

void kv_check_change(prng_t *prng, kv_check_change_t *change)
{
    change->key = kv_check_key(prng, change->key_bytes);
    change->is_delete = prng_below(prng, 3) == 0;
    size_t len = (size_t)prng_below(prng, prng_below(prng, 4) == 0 ? 300 : 8);
    for (size_t i = 0; i < len; i++) {
        change->value_bytes[i] = (uint8_t)prng_next(prng);
    }
    change->value = slice(change->value_bytes, len);
}

static void same_bytes(slice_t a, slice_t b)
{
    assert_int_equal(a.len, b.len);
    if (a.len) {
        assert_memory_equal(a.data, b.data, a.len);
    }
}

static void same_get(const kv_reader_t *a, const kv_reader_t *b, slice_t key)
{
    kv_value_t from_a = {0};
    kv_value_t from_b = {0};
    int found = kv_get(a, key, &from_a);
    assert_true(found == 0 || found == KV_ABSENT);
    assert_int_equal(found, kv_get(b, key, &from_b));
    same_bytes(kv_value_slice(&from_a), kv_value_slice(&from_b));
    kv_value_deinit(&from_a);
    kv_value_deinit(&from_b);
}

static bool same_position(kv_iter_t *a, kv_iter_t *b)
{
    assert_int_equal(a->ops->error(a), 0);
    assert_int_equal(b->ops->error(b), 0);
    assert_int_equal(a->ops->valid(a), b->ops->valid(b));
    if (!a->ops->valid(a)) {
        return false;
    }
    same_bytes(a->ops->key(a), b->ops->key(b));
    same_bytes(a->ops->value(a), b->ops->value(b));
    return true;
}

void kv_check_same(prng_t *prng, const kv_reader_t *a, const kv_reader_t *b, int steps)
{
    uint8_t bytes[3];
    for (int i = 0; i < steps; i++) {
        same_get(a, b, kv_check_key(prng, bytes));
    }
    kv_iter_t *at_a = kv_iter_new(a);
    kv_iter_t *at_b = kv_iter_new(b);
    for (int i = 0; i < steps; i++) {
        uint64_t dice = same_position(at_a, at_b) ? prng_below(prng, 10) : prng_below(prng, 2);
        if (dice == 0) {
            slice_t key = kv_check_key(prng, bytes);
            at_a->ops->seek(at_a, key);
            at_b->ops->seek(at_b, key);
        } else if (dice == 1) {
            at_a->ops->seek_last(at_a);
            at_b->ops->seek_last(at_b);
        } else if (dice < 6) {
            at_a->ops->next(at_a);
            at_b->ops->next(at_b);
        } else {
            at_a->ops->prev(at_a);
            at_b->ops->prev(at_b);
        }
    }
    kv_iter_destroy(&at_a);
    kv_iter_destroy(&at_b);
}

void kv_check_same_all(const kv_reader_t *a, const kv_reader_t *b)
{
    kv_iter_t *at_a = kv_iter_new(a);
    kv_iter_t *at_b = kv_iter_new(b);
    at_a->ops->seek(at_a, slice(NULL, 0));
    at_b->ops->seek(at_b, slice(NULL, 0));
    while (same_position(at_a, at_b)) {
        at_a->ops->next(at_a);
        at_b->ops->next(at_b);
    }
    at_a->ops->seek_last(at_a);
    at_b->ops->seek_last(at_b);
    while (same_position(at_a, at_b)) {
        at_a->ops->prev(at_a);
        at_b->ops->prev(at_b);
    }
    kv_iter_destroy(&at_a);
    kv_iter_destroy(&at_b);
}
