#include "actors/grpc_gateway/gateway.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "messages/xalloc.h"

enum { BACKLOG = 4096 /* the kernel caps it at somaxconn */ };

static int refuse(int fd, char **error, const char *what, const gateway_address_t *address)
{
    int saved = errno;
    *error = address->is_unix
                 ? xasprintf("%s unix:%s: %s", what, address->host, strerror(saved))
                 : xasprintf("%s %s:%s: %s", what, address->host, address->port, strerror(saved));
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

/* A socket file whose owner has died refuses connections; anything else stays untouched. */
static void remove_stale(const struct sockaddr_un *name)
{
    struct stat info;
    if (lstat(name->sun_path, &info) < 0 || !S_ISSOCK(info.st_mode)) {
        return;
    }
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (probe < 0) {
        return;
    }
    if (connect(probe, (const struct sockaddr *)name, sizeof *name) < 0 && errno == ECONNREFUSED) {
        unlink(name->sun_path);
    }
    close(probe);
}

static int listen_unix(const gateway_address_t *address, char **error)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    size_t len = strlen(address->host);
    if (len >= sizeof name.sun_path) {
        errno = ENAMETOOLONG;
        return refuse(-1, error, "cannot listen on", address);
    }
    memcpy(name.sun_path, address->host, len + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return refuse(fd, error, "cannot make a socket for", address);
    }
    remove_stale(&name);
    if (bind(fd, (const struct sockaddr *)&name, sizeof name) < 0 || listen(fd, BACKLOG) < 0) {
        return refuse(fd, error, "cannot listen on", address);
    }
    return fd;
}

static int listen_tcp(const struct addrinfo *info, const gateway_address_t *address, char **error)
{
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return refuse(fd, error, "cannot make a socket for", address);
    }
    int on = 1;
    int dual = address->host[0] != '\0'; /* "all addresses" means both families */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        (address->reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0) ||
        (info->ai_family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &dual, sizeof dual) < 0)) {
        return refuse(fd, error, "cannot set the options of", address);
    }
    if (bind(fd, info->ai_addr, info->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
        return refuse(fd, error, "cannot listen on", address);
    }
    return fd;
}

/* Where to listen; families in the order of preference. Free with freeaddrinfo. */
static struct addrinfo *resolve(const gateway_address_t *address, char **error)
{
    bool all = address->host[0] == '\0';
    struct addrinfo hints = {.ai_family = all ? AF_INET6 : AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    if (strcmp(address->host, "localhost") == 0) {
        hints.ai_family = AF_INET;
    }
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(all ? NULL : address->host, address->port, &hints, &found);
    if (rc != 0) {
        *error =
            xasprintf("cannot listen on %s:%s: %s", address->host, address->port, gai_strerror(rc));
        return NULL;
    }
    return found;
}

int gateway_listen(const gateway_address_t *address, char **error)
{
    *error = NULL;
    if (address->is_unix) {
        return listen_unix(address, error);
    }
    struct addrinfo *found = resolve(address, error);
    if (!found) {
        return -1;
    }
    int fd = listen_tcp(found, address, error);
    freeaddrinfo(found);
    if (fd < 0 && address->host[0] == '\0') { /* no IPv6 on this machine */
        free(*error);
        gateway_address_t v4 = {
            .host = "0.0.0.0", .port = address->port, .reuse_port = address->reuse_port};
        return gateway_listen(&v4, error);
    }
    return fd;
}
