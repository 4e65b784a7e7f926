#include "actors/core/urls.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "messages/buf.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

static void url_deinit(url_t *self)
{
    free(self->text);
    free(self->scheme);
    free(self->host);
    free(self->port);
    *self = (url_t){0};
}

void urls_deinit(urls_t *self)
{
    for (size_t i = 0; i < self->count; i++) {
        url_deinit(&self->items[i]);
    }
    free(self->items);
    *self = (urls_t){0};
}

static char *copy_range(const char *from, size_t len)
{
    char *text = xmalloc(len + 1);
    memcpy(text, from, len);
    text[len] = '\0';
    return text;
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static char *copy_trimmed(const char *from, size_t len)
{
    while (len > 0 && is_blank(from[0])) {
        from++;
        len--;
    }
    while (len > 0 && is_blank(from[len - 1])) {
        len--;
    }
    return copy_range(from, len);
}

static bool is_scheme_char(char c, bool first)
{
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return letter || (!first && ((c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.'));
}

/* The scheme in lower case, "" if there is none; *rest starts behind its colon. */
static char *take_scheme(const char *text, const char **rest)
{
    size_t len = 0;
    while (is_scheme_char(text[len], len == 0)) {
        len++;
    }
    if (text[len] != ':') {
        len = 0;
    }
    *rest = len ? text + len + 1 : text;
    char *scheme = copy_range(text, len);
    for (size_t i = 0; i < len; i++) {
        if (scheme[i] >= 'A' && scheme[i] <= 'Z') {
            scheme[i] = (char)(scheme[i] | 0x20);
        }
    }
    return scheme;
}

static bool has_control_or_blank(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text <= ' ' || *text == 0x7f) {
            return true;
        }
    }
    return false;
}

/* host:port, with brackets around an IPv6 address. False when it has another form. */
static bool split_authority(const char *authority, size_t len, url_t *url)
{
    const char *end = authority + len;
    const char *host = authority;
    const char *host_end = NULL;
    if (len > 0 && authority[0] == '[') {
        host++;
        host_end = memchr(host, ']', (size_t)(end - host));
        if (!host_end || host_end + 1 >= end || host_end[1] != ':') {
            return false;
        }
    } else {
        host_end = memchr(host, ':', len);
        if (!host_end) {
            return false;
        }
    }
    const char *port = host_end + (host == authority ? 1 : 2);
    if (memchr(port, ':', (size_t)(end - port)) || memchr(host, '[', (size_t)(end - host))) {
        return false;
    }
    url->host = copy_range(host, (size_t)(host_end - host));
    url->port = copy_range(port, (size_t)(end - port));
    return true;
}

static char *check_port(const url_t *url)
{
    unsigned long number = 0;
    bool digits = strspn(url->port, "0123456789") == strlen(url->port);
    if (digits && strlen(url->port) <= 5) {
        number = strtoul(url->port, NULL, 10);
    }
    if (!digits || strlen(url->port) > 5 || number > 65535) {
        return xasprintf("invalid port \":%s\" in URL: %s", url->port, url->text);
    }
    return NULL;
}

/* http and https: //host:port and nothing else. */
static char *parse_tcp(url_t *url, const char *rest)
{
    if (strncmp(rest, "//", 2) != 0) {
        return xasprintf("URL address does not have the form \"host:port\": %s", url->text);
    }
    rest += 2;
    size_t len = strcspn(rest, "/?#");
    if (memchr(rest, '@', len)) {
        return xasprintf("URL must not contain user information: %s", url->text);
    }
    if (!split_authority(rest, len, url)) {
        return xasprintf("URL address does not have the form \"host:port\": %s", url->text);
    }
    if (rest[len] == '/') {
        return xasprintf("URL must not contain a path: %s", url->text);
    }
    if (rest[len] != '\0') {
        return xasprintf("URL must not contain a query or fragment: %s", url->text);
    }
    return check_port(url);
}

/* unix://relative/path, unix:///absolute/path, unix:/absolute/path */
static char *parse_unix(url_t *url, const char *rest)
{
    const char *path = strncmp(rest, "//", 2) == 0 ? rest + 2 : rest;
    if (*path == '\0') {
        return xasprintf("URL names no socket: %s", url->text);
    }
    url->host = xstrdup(path);
    url->port = xstrdup("");
    return NULL;
}

static char *parse_one(url_t *url)
{
    if (has_control_or_blank(url->text)) {
        return xasprintf("URL must not contain blanks or control characters: %s", url->text);
    }
    const char *rest = NULL;
    url->scheme = take_scheme(url->text, &rest);
    memcpy(url->text, url->scheme, strlen(url->scheme));
    if (strcmp(url->scheme, "http") == 0 || strcmp(url->scheme, "https") == 0) {
        return parse_tcp(url, rest);
    }
    if (url_is_unix(url)) {
        return parse_unix(url, rest);
    }
    return xasprintf("URL scheme must be http, https, unix, or unixs: %s", url->text);
}

static int compare_urls(const void *a, const void *b)
{
    return strcmp(((const url_t *)a)->text, ((const url_t *)b)->text);
}

static void sort_and_merge(urls_t *self)
{
    if (self->count == 0) {
        return;
    }
    qsort(self->items, self->count, sizeof *self->items, compare_urls);
    size_t kept = 0;
    for (size_t i = 0; i < self->count; i++) {
        if (kept > 0 && strcmp(self->items[kept - 1].text, self->items[i].text) == 0) {
            url_deinit(&self->items[i]);
        } else {
            self->items[kept++] = self->items[i];
        }
    }
    self->count = kept;
}

/* One more at the end of the list, which is not sorted yet. */
static char *add(urls_t *list, size_t *capacity, const char *text, size_t len)
{
    if (list->count == LIMIT_URLS) {
        return xasprintf("more than %d URLs", LIMIT_URLS);
    }
    list->items = xgrow(list->items, capacity, list->count + 1, sizeof *list->items);
    url_t *url = &list->items[list->count++];
    *url = (url_t){.text = copy_trimmed(text, len)};
    return parse_one(url);
}

/* Takes the fresh list, or what there is of it when there was an error. */
static char *finish(urls_t *self, urls_t *fresh, char *error)
{
    if (error) {
        urls_deinit(fresh);
        return error;
    }
    sort_and_merge(fresh);
    urls_deinit(self);
    *self = *fresh;
    return NULL;
}

char *urls_parse(urls_t *self, const char *text)
{
    urls_t fresh = {0};
    size_t capacity = 0;
    char *error = NULL;
    const char *rest = text;
    for (bool more = true; more && !error;) {
        size_t len = strcspn(rest, ",");
        more = rest[len] == ',';
        error = add(&fresh, &capacity, rest, len);
        rest += len + 1;
    }
    return finish(self, &fresh, error);
}

char *urls_parse_each(urls_t *self, const char *const *texts, size_t count)
{
    urls_t fresh = {0};
    size_t capacity = 0;
    char *error = count ? NULL : xstrdup("no valid URLs given");
    for (size_t i = 0; i < count && !error; i++) {
        error = add(&fresh, &capacity, texts[i], strlen(texts[i]));
    }
    return finish(self, &fresh, error);
}

void urls_copy(urls_t *self, const urls_t *from)
{
    urls_t fresh = {.items = xcalloc(from->count + 1, sizeof *fresh.items), .count = from->count};
    for (size_t i = 0; i < from->count; i++) {
        const url_t *url = &from->items[i];
        fresh.items[i] = (url_t){.text = xstrdup(url->text),
                                 .scheme = xstrdup(url->scheme),
                                 .host = xstrdup(url->host),
                                 .port = xstrdup(url->port)};
    }
    urls_deinit(self);
    *self = fresh;
}

bool urls_equal(const urls_t *a, const urls_t *b)
{
    if (a->count != b->count) {
        return false;
    }
    for (size_t i = 0; i < a->count; i++) {
        if (strcmp(a->items[i].text, b->items[i].text) != 0) {
            return false;
        }
    }
    return true;
}

char *urls_text(const urls_t *self)
{
    buf_t out = {0};
    for (size_t i = 0; i < self->count; i++) {
        if (i > 0) {
            buf_byte(&out, ',');
        }
        buf_append(&out, self->items[i].text, strlen(self->items[i].text));
    }
    buf_byte(&out, '\0');
    return (char *)out.data;
}

bool url_is_unix(const url_t *self)
{
    return strcmp(self->scheme, "unix") == 0 || strcmp(self->scheme, "unixs") == 0;
}

bool url_is_encrypted(const url_t *self)
{
    return strcmp(self->scheme, "https") == 0 || strcmp(self->scheme, "unixs") == 0;
}

char *urls_check_bind(const urls_t *self)
{
    for (size_t i = 0; i < self->count; i++) {
        const url_t *url = &self->items[i];
        struct in6_addr address;
        if (url_is_unix(url) || strcmp(url->host, "localhost") == 0 ||
            inet_pton(AF_INET, url->host, &address) == 1 ||
            inet_pton(AF_INET6, url->host, &address) == 1) {
            continue;
        }
        return xasprintf("expected IP in URL for binding (%s)", url->text);
    }
    return NULL;
}

char *urls_check_host(const urls_t *self)
{
    for (size_t i = 0; i < self->count; i++) {
        const url_t *url = &self->items[i];
        if (!url_is_unix(url) && url->host[0] == '\0') {
            return xasprintf("unexpected empty host (%s)", url->text);
        }
    }
    return NULL;
}
