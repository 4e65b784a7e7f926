/* URL lists as flags take them, and the ids made of them. Texts are etcd's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "actors/core/member_id.h"
#include "actors/core/urls.h"

static void test_list_is_sorted_and_unique(void **state)
{
    (void)state;
    urls_t urls = {0};
    assert_null(urls_parse(&urls, "http://b:2, HTTP://a:1 ,http://b:2,unix:///tmp/s"));
    char *text = urls_text(&urls);
    assert_string_equal(text, "http://a:1,http://b:2,unix:///tmp/s");
    free(text);
    assert_int_equal(urls.count, 3);
    assert_string_equal(urls.items[0].host, "a");
    assert_string_equal(urls.items[0].port, "1");
    assert_string_equal(urls.items[2].host, "/tmp/s");
    assert_true(url_is_unix(&urls.items[2]));
    urls_t copy = {0};
    urls_copy(&copy, &urls);
    assert_true(urls_equal(&copy, &urls));
    urls_deinit(&copy);
    assert_false(urls_equal(&copy, &urls));
    urls_deinit(&urls);
}

static void test_forms(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *error; /* NULL = fine */
        const char *host, *port;
    } cases[] = {
        {"http://[::1]:2379", NULL, "::1", "2379"},
        {"https://x.y:0", NULL, "x.y", "0"},
        {"http://:2379", NULL, "", "2379"},
        {"http://a:", NULL, "a", ""},
        {"unix://localhost:12", NULL, "localhost:12", ""},
        {"unixs:/run/s", NULL, "/run/s", ""},
        {"", "URL scheme must be http, https, unix, or unixs: ", 0, 0},
        {"a:1", "URL scheme must be http, https, unix, or unixs: a:1", 0, 0},
        {"ftp://a:1", "URL scheme must be http, https, unix, or unixs: ftp://a:1", 0, 0},
        {"http://a", "URL address does not have the form \"host:port\": http://a", 0, 0},
        {"http:a:1", "URL address does not have the form \"host:port\": http:a:1", 0, 0},
        {"http://::1:2", "URL address does not have the form \"host:port\": http://::1:2", 0, 0},
        {"http://[::1]", "URL address does not have the form \"host:port\": http://[::1]", 0, 0},
        {"http://a:1/", "URL must not contain a path: http://a:1/", 0, 0},
        {"http://a:1?x", "URL must not contain a query or fragment: http://a:1?x", 0, 0},
        {"http://u@a:1", "URL must not contain user information: http://u@a:1", 0, 0},
        {"http://a:x", "invalid port \":x\" in URL: http://a:x", 0, 0},
        {"http://a:65536", "invalid port \":65536\" in URL: http://a:65536", 0, 0},
        {"http://a b:1", "URL must not contain blanks or control characters: http://a b:1", 0, 0},
        {"unix:", "URL names no socket: unix:", 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        urls_t urls = {0};
        char *error = urls_parse(&urls, cases[i].text);
        if (cases[i].error) {
            assert_non_null(error);
            assert_string_equal(error, cases[i].error);
            assert_int_equal(urls.count, 0);
        } else {
            assert_null(error);
            assert_string_equal(urls.items[0].host, cases[i].host);
            assert_string_equal(urls.items[0].port, cases[i].port);
        }
        free(error);
        urls_deinit(&urls);
    }
}

static void test_one_url_in_each_text(void **state)
{
    (void)state;
    urls_t urls = {0};
    assert_null(urls_parse_each(&urls, (const char *const[]){"http://b:1", " http://a,c:1"}, 2));
    assert_int_equal(urls.count, 2);
    assert_string_equal(urls.items[0].text, "http://a,c:1");
    assert_string_equal(urls.items[1].text, "http://b:1");
    static const char *const bad[] = {"http://b:1", "http://a:1,http://b:1"};
    char *errors[] = {urls_parse_each(&urls, bad, 2), urls_parse_each(&urls, bad, 0)};
    assert_string_equal(errors[0],
                        "URL address does not have the form \"host:port\": http://a:1,http://b:1");
    assert_string_equal(errors[1], "no valid URLs given");
    assert_int_equal(urls.count, 2); /* as it was */
    free(errors[0]);
    free(errors[1]);
    urls_deinit(&urls);
}

static void test_bind_and_host(void **state)
{
    (void)state;
    static const struct {
        const char *text, *bind, *host;
    } cases[] = {
        {"http://localhost:1,http://127.0.0.1:2,http://[::]:3,unix:///s", NULL, NULL},
        {"http://example.com:1", "expected IP in URL for binding (http://example.com:1)", NULL},
        {"http://:1", "expected IP in URL for binding (http://:1)",
         "unexpected empty host (http://:1)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        urls_t urls = {0};
        assert_null(urls_parse(&urls, cases[i].text));
        char *errors[] = {urls_check_bind(&urls), urls_check_host(&urls)};
        const char *expected[] = {cases[i].bind, cases[i].host};
        for (size_t k = 0; k < 2; k++) {
            assert_int_equal(errors[k] == NULL, expected[k] == NULL);
            if (errors[k]) {
                assert_string_equal(errors[k], expected[k]);
            }
            free(errors[k]);
        }
        urls_deinit(&urls);
    }
}

/* The check value of contract section 6. */
static void test_ids(void **state)
{
    (void)state;
    urls_t urls = {0};
    assert_null(urls_parse(&urls, "http://localhost:2380"));
    uint64_t member = member_id(&urls, "etcd-cluster");
    assert_true(member == 0x8e9e05c52164694dULL);
    uint64_t members[] = {member};
    assert_true(cluster_id(members, 1) == 0xcdf818194e3a8c32ULL);
    assert_true(member_id(&urls, "1700000000") == 0x0aa9425087d494a3ULL); /* one that is added */
    urls_deinit(&urls);
}

static void test_cluster_id_ignores_order(void **state)
{
    (void)state;
    uint64_t a[] = {3, 1, 2};
    uint64_t b[] = {2, 3, 1};
    assert_true(cluster_id(a, 3) == cluster_id(b, 3));
    assert_int_equal(a[0], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list_is_sorted_and_unique),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_one_url_in_each_text),
        cmocka_unit_test(test_bind_and_host),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_cluster_id_ignores_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
