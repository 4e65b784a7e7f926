#include "actors/peer/endpoint.h"

#include <stddef.h>
#include <string.h>

#include "messages/xalloc.h"

static const char *after(const char *text, const char *prefix)
{
    size_t len = strlen(prefix);
    return strncmp(text, prefix, len) == 0 ? text + len : NULL;
}

char *endpoint_of(const char *url)
{
    const char *rest = after(url, "http://");
    if (rest) {
        const char *port = strrchr(rest, ':');
        return port && port > rest && port[1] ? xasprintf("tcp://%s", rest) : NULL;
    }
    rest = after(url, "unix:");
    if (rest) {
        const char *path = after(rest, "//");
        path = path ? path : rest;
        return *path ? xasprintf("ipc://%s", path) : NULL;
    }
    return NULL;
}

bool endpoint_is_address(const char *endpoint)
{
    const char *host = after(endpoint, "tcp://");
    return !host || *host == '[' || host[strspn(host, "0123456789.:")] == '\0';
}

static bool is_ipv6(const char *host)
{
    return strchr(host, ':') != NULL;
}

bool endpoint_names_are_ipv6(const urls_t *listen)
{
    for (size_t i = 0; i < listen->count; i++) {
        const url_t *url = &listen->items[i];
        if (!url_is_unix(url) && !is_ipv6(url->host)) {
            return false;
        }
    }
    return listen->count > 0;
}

bool endpoint_is_ipv6(const char *endpoint, bool names_are_ipv6)
{
    const char *host = after(endpoint, "tcp://");
    if (!host || *host == '[') {
        return host != NULL;
    }
    bool is_ipv4 = host[strspn(host, "0123456789.")] == ':';
    return !is_ipv4 && names_are_ipv6;
}
