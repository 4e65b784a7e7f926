/* client framing, status and endpoints: tables of input and output, and messages cut anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "client/grpc_endpoint.h"
#include "client/grpc_framing.h"
#include "client/grpc_status.h"

static void messages_come_out_whatever_the_pieces(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "a", "hello", "a longer message of some bytes"};
    grpc_buffer_t wire = {0};
    for (size_t i = 0; i < 4; i++) {
        grpc_frame_append(&wire, texts[i], strlen(texts[i]));
    }
    for (size_t piece = 1; piece <= grpc_buffer_size(&wire); piece++) {
        grpc_buffer_t in = {0};
        size_t seen = 0;
        for (size_t at = 0; at < grpc_buffer_size(&wire); at += piece) {
            size_t left = grpc_buffer_size(&wire) - at;
            grpc_buffer_append(&in, grpc_buffer_head(&wire) + at, left < piece ? left : piece);
            const uint8_t *message = NULL;
            size_t size = 0;
            while (grpc_frame_next(&in, 100, &message, &size) == 0) {
                assert_int_equal(size, strlen(texts[seen]));
                assert_memory_equal(message, texts[seen], size);
                seen++;
            }
        }
        assert_int_equal(seen, 4);
        grpc_buffer_deinit(&in);
    }
    grpc_buffer_deinit(&wire);
}

static void bad_frames_are_told_apart(void **state)
{
    (void)state;
    grpc_buffer_t in = {0};
    const uint8_t *message = NULL;
    size_t size = 0;
    grpc_frame_append(&in, "0123456789", 10);
    assert_int_equal(grpc_frame_next(&in, 9, &message, &size), GRPC_FRAME_TOO_LARGE);
    assert_int_equal(size, 10);
    assert_int_equal(grpc_frame_next(&in, 10, &message, &size), 0);
    /* The size alone is enough to refuse. */
    grpc_buffer_append(&in, "\0\377\377\377\377", 5);
    assert_int_equal(grpc_frame_next(&in, 1000, &message, &size), GRPC_FRAME_TOO_LARGE);
    grpc_buffer_consume(&in, 5);
    grpc_buffer_append(&in, "\1\0\0\0\0", 5);
    assert_int_equal(grpc_frame_next(&in, 1000, &message, &size), GRPC_FRAME_COMPRESSED);
    grpc_buffer_deinit(&in);
}

static void percent_is_decoded(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        const char *out;
    } cases[] = {{"plain", "plain"},
                 {"a%20b", "a b"},
                 {"%E4%BD%A0", "\xE4\xBD\xA0"},
                 {"%e4%bd%a0", "\xE4\xBD\xA0"},
                 {"100%", "100%"},
                 {"%4", "%4"},
                 {"%zz%41", "%zzA"},
                 {"%25", "%"},
                 {"", ""}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t size = 0;
        char *out = grpc_percent_decode(cases[i].in, strlen(cases[i].in), &size);
        assert_string_equal(out, cases[i].out);
        assert_int_equal(size, strlen(cases[i].out));
        free(out);
    }
}

static void timeouts_are_written_with_eight_digits(void **state)
{
    (void)state;
    static const struct {
        int64_t us;
        const char *text;
    } cases[] = {{0, "0u"},
                 {5000000, "5000000u"},
                 {99999999, "99999999u"},
                 {100000000, "100000m"},
                 {100000001, "100001m"},
                 {99999999000LL, "99999999m"},
                 {99999999001LL, "100000S"},
                 {INT64_MAX, "99999999H"}};
    for (size_t i = 0; i + 1 < sizeof cases / sizeof cases[0]; i++) {
        char text[GRPC_TIMEOUT_TEXT_BYTES];
        grpc_timeout_format(cases[i].us, text);
        assert_string_equal(text, cases[i].text);
    }
    char text[GRPC_TIMEOUT_TEXT_BYTES];
    grpc_timeout_format(INT64_MAX, text);
    assert_true(strlen(text) <= 9);
}

static void statuses_have_names(void **state)
{
    (void)state;
    char buffer[GRPC_CODE_NAME_BYTES];
    assert_string_equal(grpc_code_name(GRPC_OK, buffer), "OK");
    assert_string_equal(grpc_code_name(GRPC_UNAUTHENTICATED, buffer), "Unauthenticated");
    assert_string_equal(grpc_code_name(42, buffer), "Code(42)");
    assert_int_equal(grpc_code_of_http(404), GRPC_UNIMPLEMENTED);
    assert_int_equal(grpc_code_of_http(503), GRPC_UNAVAILABLE);
    assert_int_equal(grpc_code_of_reset(7), GRPC_UNAVAILABLE);
    assert_int_equal(grpc_code_of_reset(99), GRPC_UNKNOWN);
    assert_string_equal(grpc_reset_name(11), "ENHANCE_YOUR_CALM");
}

static void endpoints_are_understood(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *host;
        const char *port;
        const char *path;
        const char *authority;
    } cases[] = {
        {"127.0.0.1:2379", "127.0.0.1", "2379", NULL, "127.0.0.1:2379"},
        {"http://example.org:80", "example.org", "80", NULL, "example.org:80"},
        {"http://example.org:80/a/b?c", "example.org", "80", NULL, "example.org:80"},
        {"[::1]:2379", "::1", "2379", NULL, "[::1]:2379"},
        {"http://[::1]:1", "::1", "1", NULL, "[::1]:1"},
        {":2379", "localhost", "2379", NULL, ":2379"},
        {"unix:///tmp/x.sock", NULL, NULL, "/tmp/x.sock", "x.sock"},
        {"unix://x.sock", NULL, NULL, "x.sock", "localhost"},
        {"unix:dir/x.sock", NULL, NULL, "dir/x.sock", "x.sock"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        grpc_endpoint_t endpoint;
        assert_int_equal(grpc_endpoint_parse(cases[i].text, &endpoint), 0);
        assert_string_equal(endpoint.authority, cases[i].authority);
        assert_int_equal(endpoint.unix_socket, cases[i].path != NULL);
        if (cases[i].path != NULL) {
            assert_string_equal(endpoint.path, cases[i].path);
        } else {
            assert_string_equal(endpoint.host, cases[i].host);
            assert_string_equal(endpoint.port, cases[i].port);
        }
        grpc_endpoint_deinit(&endpoint);
    }
}

static void bad_endpoints_are_refused(void **state)
{
    (void)state;
    static const char *const invalid[] = {"",        "host",      "host:", "ftp://host:1",
                                          "unix:",   "::1:2379",  "[::1]", "[::1:1",
                                          "http://", "http:///x", "[]"};
    grpc_endpoint_t endpoint;
    for (size_t i = 0; i < sizeof invalid / sizeof invalid[0]; i++) {
        assert_int_equal(grpc_endpoint_parse(invalid[i], &endpoint), GRPC_ENDPOINT_INVALID);
    }
    assert_int_equal(grpc_endpoint_parse("https://a:1", &endpoint), GRPC_ENDPOINT_TLS);
    assert_int_equal(grpc_endpoint_parse("unixs:///a", &endpoint), GRPC_ENDPOINT_TLS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_out_whatever_the_pieces),
        cmocka_unit_test(bad_frames_are_told_apart),
        cmocka_unit_test(percent_is_decoded),
        cmocka_unit_test(timeouts_are_written_with_eight_digits),
        cmocka_unit_test(statuses_have_names),
        cmocka_unit_test(endpoints_are_understood),
        cmocka_unit_test(bad_endpoints_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
