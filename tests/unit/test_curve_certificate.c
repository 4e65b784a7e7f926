/* Certificate files as CZMQ and pyzmq write them are read, what is written is read back, and whatever is wrong has a
 * reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "messages/curve_certificate.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

/* The first test vector of ZeroMQ's Z85 (rfc.zeromq.org/spec/32), four times. */
static const uint8_t bytes[CURVE_KEY_BYTES] = {
    0x86, 0x4f, 0xd2, 0x6f, 0xb5, 0x59, 0xf7, 0x5b, 0x86, 0x4f, 0xd2, 0x6f, 0xb5, 0x59, 0xf7, 0x5b,
    0x86, 0x4f, 0xd2, 0x6f, 0xb5, 0x59, 0xf7, 0x5b, 0x86, 0x4f, 0xd2, 0x6f, 0xb5, 0x59, 0xf7, 0x5b,
};
#define TEXT  "HelloWorldHelloWorldHelloWorldHelloWorld"
#define OTHER "0000000000000000000000000000000000000#=>" /* '#' begins no comment in quotes */

static const char by_czmq[] = "#   ****  Generated on 2026-11-28 22:18:41 by CZMQ  ****\n"
                              "#   ZeroMQ CURVE **Secret** Certificate\n"
                              "\n"
                              "metadata\n"
                              "    name = \"a b\"\n"
                              "    peer-urls = 'http://10.0.0.1:2380,http://10.0.0.2:2380'\n"
                              "    colour = \"red\"\n"
                              "curve\n"
                              "    public-key = \"" TEXT "\"\n"
                              "    secret-key = \"" OTHER "\"\n";

static void what_czmq_writes_is_read(void **state)
{
    (void)state;
    curve_certificate_t it;
    char text[CURVE_KEY_TEXT + 1];
    assert_null(curve_certificate_parse(slice_str(by_czmq), &it));
    assert_memory_equal(it.public_key, bytes, sizeof bytes);
    assert_true(it.has_secret);
    curve_key_encode(it.secret_key, text);
    assert_string_equal(text, OTHER);
    assert_string_equal(it.name, "a b");
    assert_string_equal(it.peer_urls, "http://10.0.0.1:2380,http://10.0.0.2:2380");
    curve_certificate_deinit(&it);
}

static void ends_of_lines_quotes_and_comments_do_not_matter(void **state)
{
    (void)state;
    static const char *const files[] = {
        "curve\n    public-key = \"" TEXT "\"\n",
        "curve\r\n    public-key = '" TEXT "'\r\n",
        "curve\n    public-key=" TEXT "  # it is public\n",
        "metadata\ncurve # the key\n    public-key = \"" TEXT "\"# so\n    unknown = x\n",
        "other\n    public-key = \"wrong\"\ncurve\n    public-key = \"" TEXT
        "\"\n        deeper = 1",
        "curve\n    public-key = \"" TEXT "\"",
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        curve_certificate_t it;
        char *error = curve_certificate_parse(slice_str(files[i]), &it);
        assert_null(error);
        assert_memory_equal(it.public_key, bytes, sizeof bytes);
        assert_false(it.has_secret);
        assert_string_equal(it.name, "");
        curve_certificate_deinit(&it);
    }
}

static void what_is_wrong_has_a_reason(void **state)
{
    (void)state;
    static const struct {
        const char *file, *error;
    } cases[] = {
        {"", "it holds no public key"},
        {"metadata\n    name = \"x\"\n", "it holds no public key"},
        {"public-key = \"" TEXT "\"\n", "it holds no public key"},
        {"curve\n    public-key\n", "line 2: the public key is not 40 characters of Z85"},
        {"curve\n    public-key = \"short\"\n",
         "line 2: the public key is not 40 characters of Z85"},
        {"curve\n    public-key = \"~elloWorldHelloWorldHelloWorldHelloWorld\"\n",
         "line 2: the public key is not 40 characters of Z85"},
        {"curve\n    public-key = \"#####WorldHelloWorldHelloWorldHelloWorld\"\n", /* above 2^32 */
         "line 2: the public key is not 40 characters of Z85"},
        {"curve\n    public-key = \"" TEXT "\"\n    public-key = \"" TEXT "\"\n",
         "line 3: a second public key"},
        {"curve\n    public-key = \"" TEXT "\"\n    secret-key = \"\"\n",
         "line 3: the secret key is not 40 characters of Z85"},
        {"curve\n    public-key = \"" TEXT "\n", "line 2: a quote without its end"},
        {"curve\n    public-key = \"" TEXT "\" x\n", "line 2: something behind a value"},
        {"curve\n  public-key = \"" TEXT "\"\n", "line 2: sections are indented by four blanks"},
        {"curve\n\tpublic-key = \"" TEXT "\"\n",
         "line 2: neither a section nor a name with a value"},
        {"-----BEGIN CERTIFICATE-----\n", "line 1: neither a section nor a name with a value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        curve_certificate_t it;
        char *error = curve_certificate_parse(slice_str(cases[i].file), &it);
        assert_non_null(error);
        assert_string_equal(error, cases[i].error);
        free(error);
        curve_certificate_deinit(&it);
    }
}

static void bytes_that_are_no_text_are_refused(void **state)
{
    (void)state;
    static const char zero[] = "curve\n    public-key = \"" TEXT "\"\n\0";
    char *large = xcalloc(LIMIT_CURVE_FILE_BYTES + 1, 1);
    memset(large, '#', LIMIT_CURVE_FILE_BYTES + 1);
    curve_certificate_t it;
    char *error = curve_certificate_parse(slice(zero, sizeof zero), &it);
    assert_string_equal(error, "it is not text");
    free(error);
    curve_certificate_deinit(&it);
    error = curve_certificate_parse(slice(large, LIMIT_CURVE_FILE_BYTES + 1), &it);
    assert_string_equal(error, "larger than 16384 bytes");
    free(error);
    curve_certificate_deinit(&it);
    free(large);
}

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    curve_certificate_t it = {
        .has_secret = true, .name = xstrdup("m 1"), .peer_urls = xstrdup("http://a:1,http://b:2")};
    for (uint8_t i = 0; i < CURVE_KEY_BYTES; i++) {
        it.public_key[i] = (uint8_t)(i * 7);
        it.secret_key[i] = (uint8_t)(255 - i);
    }
    for (int with_secret = 0; with_secret < 2; with_secret++) {
        buf_t out = {0};
        curve_certificate_t back;
        curve_certificate_print(&it, with_secret, &out);
        assert_null(curve_certificate_parse(buf_slice(&out), &back));
        assert_memory_equal(back.public_key, it.public_key, CURVE_KEY_BYTES);
        assert_int_equal(back.has_secret, with_secret);
        if (with_secret) {
            assert_memory_equal(back.secret_key, it.secret_key, CURVE_KEY_BYTES);
        }
        assert_string_equal(back.name, it.name);
        assert_string_equal(back.peer_urls, it.peer_urls);
        curve_certificate_deinit(&back);
        buf_deinit(&out);
    }
    curve_certificate_deinit(&it);
    assert_true(curve_value_is_writable("a #b"));
    assert_false(curve_value_is_writable("a\"b"));
    assert_false(curve_value_is_writable("a'b"));
    assert_false(curve_value_is_writable("a\nb"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_czmq_writes_is_read),
        cmocka_unit_test(ends_of_lines_quotes_and_comments_do_not_matter),
        cmocka_unit_test(what_is_wrong_has_a_reason),
        cmocka_unit_test(bytes_that_are_no_text_are_refused),
        cmocka_unit_test(what_is_written_is_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
