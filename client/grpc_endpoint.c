#include "client/grpc_endpoint.h"

#include <stdlib.h>
#include <string.h>

#include "messages/xalloc.h"

static const char *after_prefix(const char *text, const char *prefix)
{
    size_t size = strlen(prefix);
    return strncmp(text, prefix, size) == 0 ? text + size : NULL;
}

static int parse_unix(const char *path, grpc_endpoint_t *self)
{
    if (path[0] == 0) {
        return GRPC_ENDPOINT_INVALID;
    }
    const char *slash = strrchr(path, '/');
    self->unix_socket = true;
    self->path = xstrdup(path);
    self->authority = xstrdup(slash != NULL && slash[1] != 0 ? slash + 1 : "localhost");
    return 0;
}

static int parse_host_port(const char *text, grpc_endpoint_t *self)
{
    size_t size = strcspn(text, "/?#");
    char *authority = xmemdup(text, size + 1);
    authority[size] = 0;
    const char *host = authority;
    char *colon = strrchr(authority, ':');
    size_t host_size = colon != NULL ? (size_t)(colon - authority) : 0;
    if (authority[0] == '[') { /* [::1]:2379 */
        if (host_size < 2 || authority[host_size - 1] != ']') {
            colon = NULL;
        }
        host++;
        host_size -= 2;
    } else if (colon != NULL && memchr(authority, ':', host_size) != NULL) {
        colon = NULL; /* an IPv6 address needs its brackets */
    }
    if (colon == NULL || colon[1] == 0) {
        free(authority);
        return GRPC_ENDPOINT_INVALID;
    }
    /* An empty host is this machine, as for Go's dialler. */
    self->host = host_size == 0 ? xstrdup("localhost") : xmemdup(host, host_size + 1);
    if (host_size != 0) {
        self->host[host_size] = 0;
    }
    self->port = xstrdup(colon + 1);
    self->authority = authority;
    return 0;
}

int grpc_endpoint_parse(const char *text, grpc_endpoint_t *self)
{
    *self = (grpc_endpoint_t){0};
    if (after_prefix(text, "https://") != NULL || after_prefix(text, "unixs:") != NULL) {
        return GRPC_ENDPOINT_TLS;
    }
    const char *rest = after_prefix(text, "unix://");
    if (rest == NULL) {
        rest = after_prefix(text, "unix:");
    }
    if (rest != NULL) {
        return parse_unix(rest, self);
    }
    rest = after_prefix(text, "http://");
    if (rest == NULL && strstr(text, "://") != NULL) {
        return GRPC_ENDPOINT_INVALID;
    }
    return parse_host_port(rest != NULL ? rest : text, self);
}

void grpc_endpoint_deinit(grpc_endpoint_t *self)
{
    free(self->path);
    free(self->host);
    free(self->port);
    free(self->authority);
    *self = (grpc_endpoint_t){0};
}
