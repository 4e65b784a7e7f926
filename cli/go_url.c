#include "cli/go_url.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/go_format.h"
#include "messages/xalloc.h"

typedef struct span {
    const char *data;
    size_t size;
} span_t;

typedef enum where {
    IN_TEXT, /* user, path, fragment: every character may stand there */
    IN_HOST,
    IN_ZONE, /* of an IPv6 address */
} where_t;

static span_t up_to(span_t span, const char *end)
{
    return (span_t){span.data, end != NULL ? (size_t)(end - span.data) : span.size};
}

static span_t from(span_t span, const char *begin)
{
    return (span_t){begin, span.size - (size_t)(begin - span.data)};
}

static const char *find(span_t span, char c)
{
    return span.size > 0 ? memchr(span.data, c, span.size) : NULL;
}

static const char *find_last(span_t span, char c)
{
    return span.size > 0 ? memrchr(span.data, c, span.size) : NULL;
}

/* prefix "quoted" suffix, fresh. */
static char *say(const char *prefix, span_t what, const char *suffix)
{
    char *quoted = go_quoted(what.data, what.size);
    char *text = xasprintf("%s%s%s", prefix, quoted, suffix);
    free(quoted);
    return text;
}

static bool is_letter(char c)
{
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_host_char(unsigned char c)
{
    return is_letter((char)c) || is_digit((char)c) ||
           (c != 0 && c < 0x80 && strchr("-_.~!$&'()*+,;=:[]<>\"", c) != NULL);
}

/* ---- escapes ---- */

static int hex_value(char c)
{
    if (is_digit(c)) {
        return c - '0';
    }
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Whether the three bytes at `at` are an escape that may stand there. */
static bool is_escape(span_t rest, where_t where)
{
    if (rest.size < 3 || hex_value(rest.data[1]) < 0 || hex_value(rest.data[2]) < 0) {
        return false;
    }
    int value = hex_value(rest.data[1]) * 16 + hex_value(rest.data[2]);
    if (where == IN_TEXT || value == '%') {
        return true;
    }
    return where == IN_HOST ? value >= 0x80 : value == ' ' || is_host_char((unsigned char)value);
}

static char *check_characters(span_t span, where_t where)
{
    for (size_t i = 0; i < span.size; i++) {
        span_t rest = from(span, span.data + i);
        unsigned char c = (unsigned char)span.data[i];
        if (c == '%' && !is_escape(rest, where)) {
            rest.size = rest.size < 3 ? rest.size : 3;
            return say("invalid URL escape ", rest, "");
        }
        if (c == '%') {
            i += 2;
        } else if (where != IN_TEXT && c < 0x80 && !is_host_char(c)) {
            return say("invalid character ", (span_t){rest.data, 1}, " in host name");
        }
    }
    return NULL;
}

/* ---- the authority: [user@]host[:port] ---- */

/* Nothing, or a colon and digits. */
static char *check_port(span_t port)
{
    bool good = port.size == 0 || port.data[0] == ':';
    for (size_t i = 1; i < port.size && good; i++) {
        good = is_digit(port.data[i]);
    }
    return good ? NULL : say("invalid port ", port, " after host");
}

static char *check_address(span_t address)
{
    char text[INET6_ADDRSTRLEN + 1] = "";
    struct in6_addr parsed;
    const char *zone = find(address, '%');
    span_t bare = up_to(address, zone);
    if (bare.size < sizeof text) {
        memcpy(text, bare.data, bare.size);
    }
    if (zone == NULL && inet_pton(AF_INET, text, &parsed) == 1) {
        return xstrdup("invalid IP-literal");
    }
    if (inet_pton(AF_INET6, text, &parsed) != 1) {
        return say("invalid host: ParseAddr(", address, "): unable to parse IP");
    }
    return NULL;
}

static char *check_bracketed(span_t host)
{
    const char *end = find_last(host, ']');
    if (end == NULL) {
        return xstrdup("missing ']' in host");
    }
    char *error = check_port(from(host, end + 1));
    span_t address = up_to(from(host, host.data + 1), end);
    const char *zone = memmem(address.data, address.size, "%25", 3);
    if (error == NULL) {
        error = check_characters(up_to(address, zone), IN_HOST);
    }
    if (error == NULL && zone != NULL) {
        error = check_characters(from(address, zone), IN_ZONE);
    }
    return error != NULL ? error : check_address(address);
}

static char *check_host(span_t host, bool tcp)
{
    const char *bracket = find_last(host, '[');
    if (bracket != NULL) {
        return bracket == host.data ? check_bracketed(host) : xstrdup("invalid IP-literal");
    }
    /* Go looks at the last colon unless the scheme is http or https. */
    const char *colon = tcp ? find(host, ':') : find_last(host, ':');
    char *error = colon != NULL ? check_port(from(host, colon)) : NULL;
    return error != NULL ? error : check_characters(host, IN_HOST);
}

static char *check_user(span_t user)
{
    for (size_t i = 0; i < user.size; i++) {
        char c = user.data[i];
        if (!is_letter(c) && !is_digit(c) && (c == 0 || strchr("-._:~!$&'()*+,;=%@", c) == NULL)) {
            return xstrdup("net/url: invalid userinfo");
        }
    }
    const char *colon = find(user, ':'); /* then a password follows */
    char *error = check_characters(up_to(user, colon), IN_TEXT);
    return error == NULL && colon != NULL ? check_characters(from(user, colon), IN_TEXT) : error;
}

/* ---- the URL ---- */

typedef struct url_parts {
    span_t scheme;
    span_t host; /* with the port */
    span_t path;
} url_parts_t;

static bool scheme_is(const url_parts_t *url, const char *name)
{
    return url->scheme.size == strlen(name) &&
           strncasecmp(url->scheme.data, name, url->scheme.size) == 0;
}

static bool is_tcp(const url_parts_t *url)
{
    return scheme_is(url, "http") || scheme_is(url, "https");
}

/* How long the scheme is; 0: there is none. */
static size_t scheme_size(span_t text)
{
    size_t size = 0;
    while (size < text.size &&
           (is_letter(text.data[size]) ||
            (size > 0 && (is_digit(text.data[size]) || strchr("+-.", text.data[size]) != NULL)))) {
        size++;
    }
    return size < text.size && text.data[size] == ':' ? size : 0;
}

static char *parse_authority(url_parts_t *url, span_t authority)
{
    const char *at = find_last(authority, '@');
    url->host = at != NULL ? from(authority, at + 1) : authority;
    char *error = check_host(url->host, is_tcp(url));
    return error == NULL && at != NULL ? check_user(up_to(authority, at)) : error;
}

/* `text` is without fragment. */
static char *parse_url(url_parts_t *url, span_t text)
{
    for (size_t i = 0; i < text.size; i++) {
        if ((unsigned char)text.data[i] < ' ' || text.data[i] == 0x7f) {
            return xstrdup("net/url: invalid control character in URL");
        }
    }
    if (text.size > 0 && text.data[0] == ':') {
        return xstrdup("missing protocol scheme");
    }
    url->scheme = (span_t){text.data, scheme_size(text)};
    span_t rest = text;
    if (url->scheme.size > 0) {
        rest = from(text, text.data + url->scheme.size + 1);
    }
    rest = up_to(rest, find(rest, '?'));
    bool rooted = rest.size > 0 && rest.data[0] == '/';
    if (!rooted && url->scheme.size > 0) {
        return NULL; /* opaque */
    }
    if (!rooted && find(up_to(rest, find(rest, '/')), ':') != NULL) {
        return xstrdup("first path segment in URL cannot contain colon");
    }
    bool three = rest.size >= 3 && memcmp(rest.data, "///", 3) == 0;
    if (rooted && rest.size >= 2 && rest.data[1] == '/' && (url->scheme.size > 0 || !three)) {
        rest = from(rest, rest.data + 2);
        const char *slash = find(rest, '/');
        char *error = parse_authority(url, up_to(rest, slash));
        if (error != NULL) {
            return error;
        }
        rest = from(rest, slash != NULL ? slash : rest.data + rest.size);
    }
    url->path = rest;
    return check_characters(rest, IN_TEXT);
}

/* net.SplitHostPort takes it. */
static bool has_port(span_t host)
{
    const char *colon = find_last(host, ':');
    if (colon == NULL) {
        return false;
    }
    return host.data[0] == '[' ? colon[-1] == ']' : find(host, ']') == NULL;
}

static char *check_rules(const url_parts_t *url, span_t text)
{
    const char *rule = NULL;
    if (!is_tcp(url)) {
        if (scheme_is(url, "unix") || scheme_is(url, "unixs")) {
            return NULL;
        }
        rule = "URL scheme must be http, https, unix, or unixs";
    } else if (!has_port(url->host)) {
        rule = "URL address does not have the form \"host:port\"";
    } else if (url->path.size > 0) {
        rule = "URL must not contain a path";
    }
    return rule != NULL ? xasprintf("%s: %.*s", rule, (int)text.size, text.data) : NULL;
}

/* "parse "URL": reason"; the reason is taken. */
static char *parse_error(span_t text, char *reason)
{
    char *suffix = xasprintf(": %s", reason);
    char *error = say("parse ", text, suffix);
    free(suffix);
    free(reason);
    return error;
}

char *go_check_url(const char *text)
{
    static const char blanks[] = " \t\n\v\f\r";
    span_t whole = {text, strlen(text)};
    while (whole.size > 0 && strchr(blanks, whole.data[0]) != NULL) {
        whole = from(whole, whole.data + 1);
    }
    while (whole.size > 0 && strchr(blanks, whole.data[whole.size - 1]) != NULL) {
        whole.size--;
    }
    url_parts_t url = {0};
    const char *hash = find(whole, '#');
    span_t before = up_to(whole, hash);
    char *reason = parse_url(&url, before);
    if (reason != NULL) {
        return parse_error(before, reason);
    }
    reason = hash != NULL ? check_characters(from(whole, hash + 1), IN_TEXT) : NULL;
    return reason != NULL ? parse_error(whole, reason) : check_rules(&url, whole);
}
