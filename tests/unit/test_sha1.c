/* sha1: against digests from elsewhere, at every length around the padding's edges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "actors/daemon/sha1.h"

static void check(const void *text, size_t size, const char *wanted)
{
    uint8_t digest[SHA1_BYTES];
    char hex[2 * SHA1_BYTES + 1];
    sha1((slice_t){text, size}, digest);
    for (size_t i = 0; i < SHA1_BYTES; i++) {
        hex[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    hex[2 * SHA1_BYTES] = 0;
    assert_string_equal(hex, wanted);
}

/* The examples of FIPS 180. */
static void test_examples(void **state)
{
    (void)state;
    static const char two_blocks[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    static char million[1000000];
    memset(million, 'a', sizeof million);
    check(NULL, 0, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    check("abc", 3, "a9993e364706816aba3e25717850c26c9cd0d89d");
    check(two_blocks, strlen(two_blocks), "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    check(million, sizeof million, "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
}

/* The digest of the digests of 0, 1, … 200 letters a, from another implementation. */
static void test_every_length(void **state)
{
    (void)state;
    char letters[200];
    uint8_t digests[201 * SHA1_BYTES];
    memset(letters, 'a', sizeof letters);
    for (size_t i = 0; i <= 200; i++) {
        sha1((slice_t){(const uint8_t *)letters, i}, digests + i * SHA1_BYTES);
    }
    check(digests, sizeof digests, "f6f332e8f89c35ee3df74d34ef8fda777d9647b9");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_every_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
