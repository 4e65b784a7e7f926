/* keymap: against an array with a place for each key, over blocks that fill, split and vanish. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "actors/core/prng.h"
#include "client/native/keymap.h"

enum { KEYS = 1500, STEPS = 60000 };

static slice_t key_of(unsigned number, char text[8])
{
    snprintf(text, 8, "%05u", number);
    return slice_str(text);
}

static keymap_item_t item_of(unsigned number, int64_t revision)
{
    char text[8];
    keymap_item_t item = keymap_item_new(key_of(number, text), slice(&revision, sizeof revision));
    item.mod_revision = revision;
    return item;
}

static void check_all(const keymap_t *map, const int64_t *model)
{
    keymap_place_t place = {0};
    size_t n = 0;
    for (unsigned number = 0; number < KEYS; number++) {
        if (model[number]) {
            char text[8];
            const keymap_item_t *item = keymap_next(map, &place);
            assert_non_null(item);
            assert_true(slice_equal(item->key, key_of(number, text)));
            assert_int_equal(item->mod_revision, model[number]);
            assert_memory_equal(item->value.data, &model[number], sizeof model[number]);
            n++;
        }
    }
    assert_null(keymap_next(map, &place));
    assert_int_equal(map->items_n, n);
}

static void it_is_a_map_in_the_order_of_its_keys(void **state)
{
    (void)state;
    prng_t prng = {7};
    keymap_t map = {0};
    static int64_t model[KEYS];
    for (int64_t step = 1; step <= STEPS; step++) {
        unsigned number = (unsigned)prng_below(&prng, KEYS);
        char text[8];
        keymap_item_t before = {0};
        /* It grows, then shrinks to nothing, and so on. */
        bool growing = step / 10000 % 2 == 0;
        if (prng_below(&prng, 10) < (growing ? 8 : 2)) {
            keymap_item_t item = item_of(number, step);
            before = keymap_put(&map, &item);
            assert_null(item.record);
            assert_int_equal(before.mod_revision, model[number]);
            model[number] = step;
        } else {
            before = keymap_remove(&map, key_of(number, text));
            assert_int_equal(before.mod_revision, model[number]);
            model[number] = 0;
        }
        keymap_item_unref(&before);
        const keymap_item_t *item = keymap_get(&map, key_of(number, text));
        assert_int_equal(item ? item->mod_revision : 0, model[number]);
        if (step % 1000 == 0) {
            check_all(&map, model);
        }
    }
    keymap_deinit(&map);
    keymap_deinit(&map);
}

static void keys_in_order_fill_their_blocks(void **state)
{
    (void)state;
    keymap_t map = {0};
    static int64_t model[KEYS];
    for (unsigned number = 0; number < KEYS; number++) {
        keymap_item_t item = item_of(number, 1);
        keymap_item_t before = keymap_put(&map, &item);
        assert_null(before.record);
        model[number] = 1;
    }
    check_all(&map, model);
    assert_int_equal(map.blocks_n, (KEYS + KEYMAP_BLOCK_ITEMS - 1) / KEYMAP_BLOCK_ITEMS);
    keymap_deinit(&map);
}

static void seek_finds_the_first_key_that_is_not_below(void **state)
{
    (void)state;
    keymap_t map = {0};
    keymap_place_t place = keymap_seek(&map, slice_str("x"));
    assert_null(keymap_next(&map, &place));
    for (unsigned number = 0; number < KEYS; number += 2) {
        keymap_item_t item = item_of(number, 1);
        keymap_item_t before = keymap_put(&map, &item);
        assert_null(before.record);
    }
    for (unsigned number = 0; number < KEYS; number++) {
        char text[8];
        char found[8];
        place = keymap_seek(&map, key_of(number, text));
        const keymap_item_t *item = keymap_next(&map, &place);
        unsigned expected = number + number % 2;
        assert_int_equal(item != NULL, expected < KEYS);
        assert_true(!item || slice_equal(item->key, key_of(expected, found)));
    }
    keymap_deinit(&map);
}

static void readers_keep_what_they_have_taken(void **state)
{
    (void)state;
    keymap_t map = {0};
    keymap_item_t item = item_of(1, 1);
    keymap_item_t before = keymap_put(&map, &item);
    assert_null(before.record);
    char text[8];
    keymap_item_t kept = keymap_item_ref(keymap_get(&map, key_of(1, text)));
    keymap_deinit(&map);
    assert_true(slice_equal(kept.key, key_of(1, text)));
    keymap_item_unref(&kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_a_map_in_the_order_of_its_keys),
        cmocka_unit_test(keys_in_order_fill_their_blocks),
        cmocka_unit_test(seek_finds_the_first_key_that_is_not_below),
        cmocka_unit_test(readers_keep_what_they_have_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
