/* What the service manager is told, over a socket with a path and over an abstract one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "actors/daemon/notify_shell.h"
#include "messages/xalloc.h"

static void assert_told(const char *address)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    size_t len = strlen(address);
    memcpy(name.sun_path, address, len);
    if (*address == '@') {
        name.sun_path[0] = '\0';
    }
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&name, size), 0);
    assert_null(notify_send(address, "READY=1"));
    char text[32] = {0};
    assert_int_equal(recv(fd, text, sizeof text - 1, 0), 7);
    assert_string_equal(text, "READY=1");
    close(fd);
}

static void test_sockets(void **state)
{
    (void)state;
    char *path = xasprintf("/tmp/quoral-notify-%d", (int)getpid());
    char *abstract = xasprintf("@quoral-notify-%d", (int)getpid());
    assert_told(path);
    assert_told(abstract);
    unlink(path);
    char *error = notify_send(path, "READY=1");
    assert_non_null(error);
    free(error);
    free(path);
    free(abstract);
}

static void test_nobody_asked(void **state)
{
    (void)state;
    assert_null(notify_send(NULL, "READY=1"));
    assert_null(notify_send("", "READY=1"));
    char *error = notify_send("relative", "READY=1");
    assert_string_equal(error, "relative is no address of a socket");
    free(error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sockets),
        cmocka_unit_test(test_nobody_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
