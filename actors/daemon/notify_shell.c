#include "actors/daemon/notify_shell.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "messages/xalloc.h"

char *notify_send(const char *address, const char *state)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    if (!address || !*address) {
        return NULL;
    }
    size_t len = strlen(address);
    if ((*address != '/' && *address != '@') || len >= sizeof name.sun_path) {
        return xasprintf("%s is no address of a socket", address);
    }
    memcpy(name.sun_path, address, len);
    if (*address == '@') {
        name.sun_path[0] = '\0';
    }
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return xasprintf("socket: %s", strerror(errno));
    }
    char *error = NULL;
    ssize_t sent =
        sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&name, size);
    if (sent < 0) {
        error = xasprintf("%s: %s", address, strerror(errno));
    }
    close(fd);
    return error;
}
