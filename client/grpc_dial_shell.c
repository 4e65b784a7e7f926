#include "client/grpc_dial_shell.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void grpc_dial_init(grpc_dial_t *self)
{
    *self = (grpc_dial_t){.fd = -1};
}

void grpc_dial_close(grpc_dial_t *self)
{
    if (self->fd >= 0) {
        close(self->fd);
    }
    if (self->addresses != NULL) {
        freeaddrinfo(self->addresses);
    }
    grpc_dial_init(self);
}

static int connected(grpc_dial_t *self)
{
    int one = 1;
    /* Fails on unix sockets, which need no such thing. */
    (void)setsockopt(self->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return 0;
}

/* 0, GRPC_DIAL_PENDING, or -errno. */
static int try_address(grpc_dial_t *self, const struct sockaddr *address, socklen_t size)
{
    if (self->fd >= 0) {
        close(self->fd);
    }
    self->fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (self->fd < 0) {
        return -errno;
    }
    if (connect(self->fd, address, size) == 0) {
        return connected(self);
    }
    return errno == EINPROGRESS ? GRPC_DIAL_PENDING : -errno;
}

/* Goes on to the next address of a name until one connects or is about to. */
static int try_next(grpc_dial_t *self, int error, const char **reason_p)
{
    while (self->next != NULL) {
        struct addrinfo *address = self->next;
        self->next = address->ai_next;
        int rc = try_address(self, address->ai_addr, address->ai_addrlen);
        if (rc >= 0) {
            return rc;
        }
        error = -rc;
    }
    *reason_p = strerror(error);
    return GRPC_DIAL_FAILED;
}

static int start_unix(grpc_dial_t *self, const char *path, const char **reason_p)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t size = strlen(path);
    if (size >= sizeof address.sun_path) {
        *reason_p = "the path of the unix socket is too long";
        return GRPC_DIAL_FAILED;
    }
    memcpy(address.sun_path, path, size + 1);
    int rc = try_address(self, (const struct sockaddr *)&address, sizeof address);
    if (rc < 0) {
        *reason_p = strerror(-rc);
        return GRPC_DIAL_FAILED;
    }
    return rc;
}

int grpc_dial_start(grpc_dial_t *self, const grpc_endpoint_t *endpoint, const char **reason_p)
{
    if (endpoint->unix_socket) {
        return start_unix(self, endpoint->path, reason_p);
    }
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    int rc = getaddrinfo(endpoint->host, endpoint->port, &hints, &self->addresses);
    if (rc != 0) {
        self->addresses = NULL;
        *reason_p = gai_strerror(rc);
        return GRPC_DIAL_FAILED;
    }
    self->next = self->addresses;
    return try_next(self, ENOENT, reason_p);
}

int grpc_dial_continue(grpc_dial_t *self, const char **reason_p)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(self->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) {
        error = errno;
    }
    return error == 0 ? connected(self) : try_next(self, error, reason_p);
}
