/* client_welcome: the body of WELCOME, checked. Pure. */
#pragma once

#include "client/native/client_session.h"

typedef struct {
    client_member_t member;
    uint64_t heartbeat_us;
    uint64_t window;
    size_t calls_max;
} client_welcome_t;

/* 0, or 1: malformed, or nothing a client can work with. A publish URL that is too long counts as none. */
int client_welcome_read(slice_t body, client_welcome_t *out) __attribute__((warn_unused_result));
