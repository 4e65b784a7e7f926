/* client_endpoints: the list of a client's endpoints. Pure. */
#pragma once

#include <stddef.h>

enum { CLIENT_ENDPOINTS_MAX = 64 };

/* "tcp://a:1,b:2,ipc:///p": *endpoints_p gets ZeroMQ addresses, the caller's to free, one by one and the array. NULL,
 * or why the list cannot be used, a fresh text; the array may then hold some already. */
char *client_endpoints_parse(const char *list, char ***endpoints_p, size_t *count);
