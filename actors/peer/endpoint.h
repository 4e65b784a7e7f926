/* endpoint: where ZeroMQ finds what a peer URL names. Pure. */
#pragma once

#include <stdbool.h>

/* "http://host:port" is TCP, "unix://path" a socket file; yours. NULL = nothing ZeroMQ could connect to. */
char *endpoint_of(const char *url);
/* The host is an IPv6 address: ZeroMQ has to be told. */
bool endpoint_is_ipv6(const char *endpoint);
