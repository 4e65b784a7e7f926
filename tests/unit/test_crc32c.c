/* CRC-32C against the vectors of RFC 3720 appendix B.4, and the fast way against the plain one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "actors/core/prng.h"
#include "messages/crc32c.h"

static void known_vectors(void **state)
{
    (void)state;
    uint8_t data[32];
    assert_int_equal(crc32c(0, NULL, 0), 0);
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    memset(data, 0, sizeof data);
    assert_int_equal(crc32c(0, data, sizeof data), 0x8a9136aa);
    memset(data, 0xff, sizeof data);
    assert_int_equal(crc32c(0, data, sizeof data), 0x62a8ab43);
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)i;
    }
    assert_int_equal(crc32c(0, data, sizeof data), 0x46dd794e);
    assert_int_equal(crc32c_portable(0, data, sizeof data), 0x46dd794e);
}

static void both_ways_agree_and_parts_join(void **state)
{
    (void)state;
    uint8_t data[4099];
    prng_t prng = {.state = 1};
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)prng_next(&prng);
    }
    for (int i = 0; i < 2000; i++) {
        size_t from = prng_below(&prng, 64);
        size_t len = prng_below(&prng, sizeof data - from);
        size_t split = len ? prng_below(&prng, len) : 0;
        uint32_t start = (uint32_t)prng_next(&prng);
        uint32_t whole = crc32c(start, data + from, len);
        assert_int_equal(whole, crc32c_portable(start, data + from, len));
        uint32_t part = crc32c(start, data + from, split);
        assert_int_equal(whole, crc32c(part, data + from + split, len - split));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_vectors),
        cmocka_unit_test(both_ways_agree_and_parts_join),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
