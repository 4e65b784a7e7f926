/* allowed_keys: the public keys that are let in, as the files of a directory say. Pure.
 * Filled by one owner, then shared and not changed any more. */
#pragma once

#include "messages/curve_certificate.h"

typedef struct {
    uint8_t key[CURVE_KEY_BYTES];
    char *file;      /* its name: whom people know the holder by */
    char *peer_urls; /* where a member listens; commas between them */
} allowed_key_t;

typedef struct {
    allowed_key_t *items; /* ascending by key */
    size_t count, capacity;
} allowed_keys_t; /* zero-initialised is empty: nobody is let in */

void allowed_keys_deinit(allowed_keys_t *self);
/* Takes in what a file says. NULL, or why it is skipped, yours: no certificate, a key that is there already, or a
 * secret key, which does not belong where everybody's public ones are. */
char *allowed_keys_add(allowed_keys_t *self, const char *file, slice_t content)
    __attribute__((warn_unused_result));

/* NULL = it is not let in. */
const allowed_key_t *allowed_keys_find(const allowed_keys_t *self,
                                       const uint8_t key[CURVE_KEY_BYTES]);
/* A key of the member that listens there: when there are several, as while one replaces another, each in its turn.
 * The URL must stand in the certificate as the member advertises it. NULL = there is none. */
const allowed_key_t *allowed_keys_of_url(const allowed_keys_t *self, const char *url, size_t turn);
bool allowed_key_is_of_url(const allowed_key_t *self, const char *url);

/* How many keys of `before` are not let in any more. */
size_t allowed_keys_lost(const allowed_keys_t *self, const allowed_keys_t *before);
bool allowed_keys_equal(const allowed_keys_t *a, const allowed_keys_t *b);
