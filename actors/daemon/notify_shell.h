/* notify: tells the service manager how far the start is: sd_notify(3), without its library. */
#pragma once

#include "messages/buf.h"

/* Sends the state ("READY=1") to the socket named by `address`, the value of $NOTIFY_SOCKET: a path or,
 * after '@', an abstract name; NULL or "" = nobody asked. NULL = done; else why not, yours. */
char *notify_send(const char *address, const char *state) __attribute__((warn_unused_result));
