/* zap: who is let in, asked by ZeroMQ for each connection with CURVE (ZAP, rfc.zeromq.org/spec/27). Pure. */
#pragma once

#include "actors/curve/allowed_keys.h"

enum { ZAP_FRAMES_MAX = 16 }; /* of a request; seven make one */

typedef struct {
    const char *name; /* what its sockets call it; NULL = it has none */
    const allowed_keys_t *keys;
} zap_domain_t;

typedef struct {
    const char *status; /* "200" let in, "400" refused, "500" the request makes no sense */
    const char *text;
    slice_t request_id; /* of the request; empty when it has none */
    int domain;         /* its number, or -1: nobody's */
    slice_t address;    /* of who wants in */
    const uint8_t *key; /* CURVE_KEY_BYTES of them, of who wants in; NULL = it showed none */
    const allowed_key_t *holder; /* of the key, if it is let in */
} zap_answer_t;

/* `frames`: behind the delimiter. Everything in the answer is borrowed from the arguments. */
zap_answer_t zap_decide(const slice_t *frames, size_t count, const zap_domain_t *domains,
                        size_t domain_count);
