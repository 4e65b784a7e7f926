#include "client/native/client_endpoints.h"

#include <stdlib.h>
#include <string.h>

#include "messages/xalloc.h"

enum { ENDPOINT_BYTES_MAX = 256 };

static int has_port(const char *address)
{
    const char *colon = strrchr(address, ':');
    size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;
    return colon > address && digits >= 1 && digits <= 5 && colon[1 + digits] == '\0';
}

/* NULL, or why not. */
static char *parse_one(const char *text, size_t len, char **endpoint_p)
{
    char *item = xasprintf("%.*s", (int)len, text);
    char *scheme_end = strstr(item, "://");
    const char *rest = scheme_end ? scheme_end + 3 : item;
    char *error = NULL;
    if (strncmp(item, "ipc://", 6) == 0 && rest[0]) {
        *endpoint_p = xstrdup(item);
    } else if (scheme_end && strncmp(item, "tcp://", 6) != 0 && strncmp(item, "http://", 7) != 0) {
        error = xasprintf("endpoint \"%s\": the scheme is none of tcp, ipc and http", item);
    } else if (!has_port(rest)) {
        error = xasprintf("endpoint \"%s\": no host and port", item);
    } else {
        *endpoint_p = xasprintf("tcp://%s", rest);
    }
    free(item);
    return error;
}

char *client_endpoints_parse(const char *list, char ***endpoints_p, size_t *count)
{
    *endpoints_p = xcalloc(CLIENT_ENDPOINTS_MAX, sizeof **endpoints_p);
    *count = 0;
    while (list && *list) {
        size_t len = strcspn(list, ",");
        if (len >= ENDPOINT_BYTES_MAX || *count == CLIENT_ENDPOINTS_MAX) {
            return xstrdup("endpoints: more than 64, or one of more than 255 octets");
        }
        char *error = parse_one(list, len, &(*endpoints_p)[*count]);
        if (error) {
            return error;
        }
        ++*count;
        list += len + (list[len] == ',');
    }
    return *count > 0 ? NULL : xstrdup("there are no endpoints");
}
