/* endpoint: where ZeroMQ finds what a peer URL names. Pure. */
#pragma once

#include "actors/core/urls.h"

/* "http://host:port" is TCP, "unix://path" a socket file; yours. NULL = nothing ZeroMQ could connect to. */
char *endpoint_of(const char *url);
/* There is no name to resolve: the host is an address, or a socket file. */
bool endpoint_is_address(const char *endpoint);
/* What host names stand for, given what this member listens on. All IPv6: their IPv6 addresses, or else their
 * IPv4 ones; otherwise their IPv4 addresses. Who has both, like localhost, often listens on one of them, and
 * ZeroMQ tries only one. */
bool endpoint_names_are_ipv6(const urls_t *listen);
/* The host is an IPv6 address, or a name that stands for one: ZeroMQ has to be told. */
bool endpoint_is_ipv6(const char *endpoint, bool names_are_ipv6);
