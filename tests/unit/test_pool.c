/* pool: blocks hold what was asked for, are reused, and go back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "actors/core/prng.h"
#include "actors/grpc_gateway/pool.h"

static void blocks_hold_what_is_written_into_them(void **state)
{
    (void)state;
    enum { BLOCKS = 200, ROUNDS = 5000 };
    pool_t *pool = pool_new();
    prng_t prng = {.state = 1};
    uint8_t *blocks[BLOCKS] = {NULL};
    size_t sizes[BLOCKS] = {0};
    for (int round = 0; round < ROUNDS; round++) {
        size_t i = prng_below(&prng, BLOCKS);
        for (size_t at = 0; at < sizes[i]; at++) {
            assert_int_equal(blocks[i][at], (uint8_t)i);
        }
        size_t size = prng_below(&prng, 700);
        if (size > sizes[i]) {
            blocks[i] = pool_realloc(pool, blocks[i], size);
        } else {
            pool_free(pool, blocks[i]);
            blocks[i] = pool_alloc(pool, size);
        }
        assert_int_equal((uintptr_t)blocks[i] % _Alignof(max_align_t), 0);
        memset(blocks[i], (int)i, size);
        sizes[i] = size;
    }
    for (int i = 0; i < BLOCKS; i++) {
        pool_free(pool, blocks[i]);
    }
    pool_destroy(&pool);
    assert_null(pool);
}

static void reused_blocks_are_cleared_for_calloc(void **state)
{
    (void)state;
    pool_t *pool = pool_new();
    uint8_t *block = pool_alloc(pool, 100);
    memset(block, 0xff, 100);
    pool_free(pool, block);
    block = pool_calloc(pool, 10, 10);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(block[i], 0);
    }
    pool_free(pool, block);
    pool_free(pool, NULL);
    pool_destroy(&pool);
    pool_destroy(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_hold_what_is_written_into_them),
        cmocka_unit_test(reused_blocks_are_cleared_for_calloc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
