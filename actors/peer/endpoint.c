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

bool endpoint_is_ipv6(const char *endpoint)
{
    return after(endpoint, "tcp://[") != NULL;
}
