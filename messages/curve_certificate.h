/* curve_certificate: the key files of CURVE, as CZMQ's zcert and pyzmq write them (ZPL, rfc.zeromq.org/spec/4): a
 * public key, perhaps the secret one, and metadata about who holds them. Pure. */
#pragma once

#include "messages/buf.h"

enum {
    CURVE_KEY_BYTES = 32,
    CURVE_KEY_TEXT = 40
}; /* as bytes; as text (Z85, spec/32) without its end */

typedef struct {
    uint8_t public_key[CURVE_KEY_BYTES];
    uint8_t secret_key[CURVE_KEY_BYTES];
    bool has_secret;
    char *name; /* metadata "name"; "" when there is none */
    char *
        peer_urls; /* metadata "peer-urls": where the member that holds the key listens; commas between them */
} curve_certificate_t;

/* NULL = *out holds what the file says; else what is wrong with it, yours. Needs curve_certificate_deinit in any
 * case. Sections and names that are not known are skipped. */
char *curve_certificate_parse(slice_t content, curve_certificate_t *out)
    __attribute__((warn_unused_result));
/* Wipes the secret key. */
void curve_certificate_deinit(curve_certificate_t *self);
/* Appends the file's text; with the secret key it must have one. name and peer_urls must be writable. */
void curve_certificate_print(const curve_certificate_t *self, bool with_secret, buf_t *out);
/* Can this be a value of metadata? Visible ASCII and blanks, no quotes. */
bool curve_value_is_writable(const char *text);

/* False = not 40 characters of Z85. */
bool curve_key_decode(slice_t text, uint8_t key[CURVE_KEY_BYTES]);
void curve_key_encode(const uint8_t key[CURVE_KEY_BYTES], char text[CURVE_KEY_TEXT + 1]);
