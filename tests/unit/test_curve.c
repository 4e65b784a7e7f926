/* Who is let in: the list of allowed keys, the answers to ZAP, and which refusals deserve a line in the log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/curve/allowed_keys.h"
#include "actors/curve/noted.h"
#include "actors/curve/zap.h"
#include "messages/xalloc.h"

/* A key that begins with this byte. */
static void key_of(uint8_t byte, uint8_t key[CURVE_KEY_BYTES])
{
    memset(key, 0, CURVE_KEY_BYTES);
    key[0] = byte;
}

static char *add(allowed_keys_t *keys, const char *file, uint8_t byte, const char *urls,
                 bool with_secret)
{
    curve_certificate_t it = {
        .has_secret = true, .name = xstrdup(file), .peer_urls = xstrdup(urls)};
    buf_t out = {0};
    key_of(byte, it.public_key);
    curve_certificate_print(&it, with_secret, &out);
    char *error = allowed_keys_add(keys, file, buf_slice(&out));
    buf_deinit(&out);
    curve_certificate_deinit(&it);
    return error;
}

static void expect(char *error, const char *text)
{
    assert_non_null(error);
    assert_string_equal(error, text);
    free(error);
}

/* ---- the list ---- */

static void keys_are_found_and_others_are_not(void **state)
{
    (void)state;
    allowed_keys_t keys = {0};
    uint8_t key[CURVE_KEY_BYTES];
    for (unsigned i = 0; i < 100; i++) {
        char file[16];
        (void)snprintf(file, sizeof file, "m%u", i * 37 % 100);
        assert_null(add(&keys, file, (uint8_t)(i * 37 % 100 * 2), "", false));
    }
    for (unsigned i = 0; i < 100; i++) {
        char file[16];
        (void)snprintf(file, sizeof file, "m%u", i);
        key_of((uint8_t)(i * 2), key);
        assert_string_equal(allowed_keys_find(&keys, key)->file, file);
        key_of((uint8_t)(i * 2 + 1), key);
        assert_null(allowed_keys_find(&keys, key));
    }
    allowed_keys_deinit(&keys);
    assert_null(allowed_keys_find(&keys, key));
}

static void what_is_no_public_certificate_is_skipped(void **state)
{
    (void)state;
    allowed_keys_t keys = {0};
    assert_null(add(&keys, "a", 1, "", false));
    expect(add(&keys, "b", 1, "", false), "its key is the one of a");
    expect(add(&keys, "c", 2, "", true), "it holds a secret key, which does not belong here");
    expect(allowed_keys_add(&keys, "d", slice_str("nonsense")), "it holds no public key");
    assert_int_equal(keys.count, 1);
    allowed_keys_deinit(&keys);
}

static void a_member_is_found_by_each_of_its_urls(void **state)
{
    (void)state;
    allowed_keys_t keys = {0};
    assert_null(add(&keys, "a", 1, "http://a:1, http://b:2", false));
    assert_null(add(&keys, "b", 2, ",unix:///tmp/x,", false));
    assert_null(add(&keys, "none", 3, "", false));
    assert_string_equal(allowed_keys_of_url(&keys, "http://a:1", 0)->file, "a");
    assert_string_equal(allowed_keys_of_url(&keys, "http://b:2", 5)->file, "a");
    assert_string_equal(allowed_keys_of_url(&keys, "unix:///tmp/x", 0)->file, "b");
    assert_null(allowed_keys_of_url(&keys, "http://a:12", 0));
    assert_null(allowed_keys_of_url(&keys, "http://a:", 0));
    assert_null(allowed_keys_of_url(&keys, "", 0));
    allowed_keys_deinit(&keys);
}

static void several_keys_of_a_url_have_their_turns(void **state)
{
    (void)state;
    allowed_keys_t keys = {0};
    assert_null(add(&keys, "old", 1, "http://a:1", false));
    assert_null(add(&keys, "new", 2, "http://a:1", false));
    assert_string_equal(allowed_keys_of_url(&keys, "http://a:1", 0)->file, "old");
    assert_string_equal(allowed_keys_of_url(&keys, "http://a:1", 1)->file, "new");
    assert_string_equal(allowed_keys_of_url(&keys, "http://a:1", 2)->file, "old");
    allowed_keys_deinit(&keys);
}

static void revoked_is_what_was_there_and_is_not_any_more(void **state)
{
    (void)state;
    allowed_keys_t before = {0};
    allowed_keys_t after = {0};
    assert_null(add(&before, "a", 1, "", false));
    assert_null(add(&before, "b", 2, "", false));
    assert_null(add(&after, "b", 2, "", false));
    assert_null(add(&after, "c", 3, "", false));
    assert_int_equal(allowed_keys_lost(&after, &before), 1);
    assert_int_equal(allowed_keys_lost(&before, &before), 0);
    assert_false(allowed_keys_equal(&before, &after));
    assert_true(allowed_keys_equal(&before, &before));
    allowed_keys_deinit(&before);
    assert_null(add(&before, "b", 2, "", false));
    assert_null(add(&before, "c", 3, "http://a:1", false));
    assert_false(allowed_keys_equal(&before, &after)); /* for its URL */
    allowed_keys_deinit(&before);
    allowed_keys_deinit(&after);
}

/* ---- ZAP ---- */

static zap_answer_t ask(const allowed_keys_t *keys, size_t count, size_t changed, slice_t with)
{
    static uint8_t key[CURVE_KEY_BYTES];
    const zap_domain_t domains[] = {{.name = NULL}, {.name = "peer", .keys = keys}};
    slice_t frames[ZAP_FRAMES_MAX] = {slice_str("1.0"), slice_str("id"),    slice_str("peer"),
                                      slice_str("::1"), slice_str(""),      slice_str("CURVE"),
                                      slice(key, 32),   slice_str("extra"), slice_str("extra")};
    key_of(7, key);
    if (changed < ZAP_FRAMES_MAX) {
        frames[changed] = with;
    }
    return zap_decide(frames, count, domains, 2);
}

enum { UNCHANGED = ZAP_FRAMES_MAX };

static void an_allowed_key_is_let_in_and_no_other(void **state)
{
    (void)state;
    allowed_keys_t keys = {0};
    zap_answer_t answer = ask(&keys, 7, UNCHANGED, slice_str(""));
    assert_string_equal(answer.status, "400");
    assert_string_equal(answer.text, "key is not allowed");
    assert_null(answer.holder);
    assert_non_null(answer.key);
    assert_null(add(&keys, "m7", 7, "", false));
    answer = ask(&keys, 7, UNCHANGED, slice_str(""));
    assert_string_equal(answer.status, "200");
    assert_string_equal(answer.holder->file, "m7");
    assert_int_equal(answer.domain, 1);
    assert_true(slice_equal(answer.request_id, slice_str("id")));
    assert_true(slice_equal(answer.address, slice_str("::1")));
    allowed_keys_deinit(&keys);
}

static void requests_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    allowed_keys_t keys = {0};
    assert_null(add(&keys, "m7", 7, "", false));
    const struct {
        size_t count, changed;
        slice_t with;
        const char *status, *text;
    } cases[] = {
        {7, 0, slice_str("2.0"), "500", "unknown version"},
        {7, 0, slice_str(""), "500", "unknown version"},
        {7, 2, slice_str(""), "400", "unknown domain"},
        {7, 2, slice_str("peers"), "400", "unknown domain"},
        {7, 5, slice_str("NULL"), "400", "only CURVE is let in"},
        {6, 5, slice_str("PLAIN"), "400", "only CURVE is let in"},
        {7, 6, slice_str(""), "400", "malformed key"},
        {7, 6, slice_str("0123456789012345678901234567890"), "400", "malformed key"},
        {6, UNCHANGED, slice_str(""), "400", "malformed key"},
        {8, UNCHANGED, slice_str(""), "400", "malformed key"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        zap_answer_t answer = ask(&keys, cases[i].count, cases[i].changed, cases[i].with);
        assert_string_equal(answer.status, cases[i].status);
        assert_string_equal(answer.text, cases[i].text);
        assert_null(answer.holder);
    }
    for (size_t count = 0; count < 6; count++) {
        zap_answer_t answer = ask(&keys, count, UNCHANGED, slice_str(""));
        assert_string_equal(answer.status, "500");
        assert_int_equal(answer.request_id.len, count > 1 ? 2 : 0);
        assert_null(answer.holder);
        assert_int_equal(answer.domain, -1);
    }
    allowed_keys_deinit(&keys);
}

/* ---- the log ---- */

enum { SECOND = 1000000, START = 5 * SECOND };

static void the_same_is_said_once_a_minute(void **state)
{
    (void)state;
    noted_t noted = {0};
    uint64_t held_back = 9;
    assert_true(noted_admit(&noted, 1, slice_str("a"), START, &held_back));
    assert_int_equal(held_back, 0);
    assert_false(noted_admit(&noted, 1, slice_str("a"), START + 59 * SECOND, &held_back));
    assert_true(noted_admit(&noted, 2, slice_str("a"), START + 59 * SECOND, &held_back));
    assert_int_equal(held_back, 1);
    assert_true(noted_admit(&noted, 1, slice_str("b"), START + 59 * SECOND, &held_back));
    assert_true(noted_admit(&noted, 1, slice_str("a"), START + 60 * SECOND, &held_back));
    assert_int_equal(held_back, 0);
}

static void whoever_has_many_addresses_fills_no_disk(void **state)
{
    (void)state;
    noted_t noted = {0};
    uint64_t held_back = 0;
    unsigned said = 0;
    for (unsigned i = 0; i < 100000; i++) {
        char address[16];
        (void)snprintf(address, sizeof address, "%u", i);
        said +=
            noted_admit(&noted, 1, slice_str(address), START + i * (SECOND / 10000), &held_back);
    }
    assert_in_range(said, 1, 11 * LIMIT_HANDSHAKE_LINES_PER_S); /* in ten seconds */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_found_and_others_are_not),
        cmocka_unit_test(what_is_no_public_certificate_is_skipped),
        cmocka_unit_test(a_member_is_found_by_each_of_its_urls),
        cmocka_unit_test(several_keys_of_a_url_have_their_turns),
        cmocka_unit_test(revoked_is_what_was_there_and_is_not_any_more),
        cmocka_unit_test(an_allowed_key_is_let_in_and_no_other),
        cmocka_unit_test(requests_that_make_no_sense_are_refused),
        cmocka_unit_test(the_same_is_said_once_a_minute),
        cmocka_unit_test(whoever_has_many_addresses_fills_no_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
