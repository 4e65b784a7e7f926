/* cli go_url: which URLs of members etcd's client takes; the texts are what Go says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "cli/go_url.h"

typedef struct {
    const char *url;
    const char *error;
} url_case_t;

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void expect(const url_case_t *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char *error = go_check_url(cases[i].url);
        assert_non_null(error);
        assert_string_equal(error, cases[i].error);
        free(error);
    }
}

static void urls_of_members_are_taken(void **state)
{
    (void)state;
    static const char *const urls[] = {
        "http://a:1",
        " https://[::1]:2\t",
        "HTTP://a:1",
        "http://a:",
        "http://:1",
        "http://a:65536", /* servers know better */
        "http://a:1?x",
        "http://a:1#f",
        "http://u:p@a:1",
        "http://u@v@a:1",
        "http://a,b:1",
        "http://%C3%A9:1",
        "http://a%25:1",
        "http://[fe80::1%25eth0]:1",
        "http://[fe80::1%25e%20x]:1",
        "unix:///tmp/x",
        "unix:",
        "unixs:x",
    };
    for (size_t i = 0; i < COUNT(urls); i++) {
        assert_null(go_check_url(urls[i]));
    }
}

static void rules_of_members_urls(void **state)
{
    (void)state;
    static const url_case_t cases[] = {
        {"", "URL scheme must be http, https, unix, or unixs: "},
        {" a:1 ", "URL scheme must be http, https, unix, or unixs: a:1"},
        {"foo", "URL scheme must be http, https, unix, or unixs: foo"},
        {"ftp://a:1", "URL scheme must be http, https, unix, or unixs: ftp://a:1"},
        {"///a:1", "URL scheme must be http, https, unix, or unixs: ///a:1"},
        {"*", "URL scheme must be http, https, unix, or unixs: *"},
        {"a/b:c", "URL scheme must be http, https, unix, or unixs: a/b:c"},
        {"http://a", "URL address does not have the form \"host:port\": http://a"},
        {"http://", "URL address does not have the form \"host:port\": http://"},
        {"http:a:1", "URL address does not have the form \"host:port\": http:a:1"},
        {"http:/a:1", "URL address does not have the form \"host:port\": http:/a:1"},
        {"http://[::1]", "URL address does not have the form \"host:port\": http://[::1]"},
        {"http://a]:1", "URL address does not have the form \"host:port\": http://a]:1"},
        {"http://a:1/", "URL must not contain a path: http://a:1/"},
        {"http://a:1/?x", "URL must not contain a path: http://a:1/?x"},
    };
    expect(cases, COUNT(cases));
}

static void what_is_no_url(void **state)
{
    (void)state;
    static const url_case_t cases[] = {
        {":1", "parse \":1\": missing protocol scheme"},
        {"1a:1", "parse \"1a:1\": first path segment in URL cannot contain colon"},
        {"p%", "parse \"p%\": invalid URL escape \"%\""},
        {"http://a:1/%zzz", "parse \"http://a:1/%zzz\": invalid URL escape \"%zz\""},
        {"http://a:1#%zz", "parse \"http://a:1#%zz\": invalid URL escape \"%zz\""},
        {"http://u:p%zz@a:1", "parse \"http://u:p%zz@a:1\": invalid URL escape \"%zz\""},
        {"http://u%:p@a:1", "parse \"http://u%:p@a:1\": invalid URL escape \"%\""},
        {"http://a b@c:1", "parse \"http://a b@c:1\": net/url: invalid userinfo"},
        {"http://a b:1", "parse \"http://a b:1\": invalid character \" \" in host name"},
        {"http://a\\b:1", "parse \"http://a\\\\b:1\": invalid character \"\\\\\" in host name"},
        {"http://a\x01:1", "parse \"http://a\\x01:1\": net/url: invalid control character in URL"},
        {"http://a:x", "parse \"http://a:x\": invalid port \":x\" after host"},
        {"http://a:1:2", "parse \"http://a:1:2\": invalid port \":1:2\" after host"},
        {"unix://a:1:x", "parse \"unix://a:1:x\": invalid port \":x\" after host"},
        {"http://%61:1", "parse \"http://%61:1\": invalid URL escape \"%61\""},
        {"http://[::1", "parse \"http://[::1\": missing ']' in host"},
        {"http://[::1]x", "parse \"http://[::1]x\": invalid port \"x\" after host"},
        {"http://x[::1]:1", "parse \"http://x[::1]:1\": invalid IP-literal"},
        {"http://[1.2.3.4]:1", "parse \"http://[1.2.3.4]:1\": invalid IP-literal"},
        {"http://[a]:1",
         "parse \"http://[a]:1\": invalid host: ParseAddr(\"a\"): unable to parse IP"},
        {"http://[%61::1]:1", "parse \"http://[%61::1]:1\": invalid URL escape \"%61\""},
        {"http://[fe80::1%25e%01]:1",
         "parse \"http://[fe80::1%25e%01]:1\": invalid URL escape \"%01\""},
    };
    expect(cases, COUNT(cases));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_of_members_are_taken),
        cmocka_unit_test(rules_of_members_urls),
        cmocka_unit_test(what_is_no_url),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
