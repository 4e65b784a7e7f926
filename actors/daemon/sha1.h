/* sha1: SHA-1 (FIPS 180-4), for the ids that etcd derives from names. Pure. Protects nothing.
 * OpenSSL's costs 3 MiB of resident memory for two digests at the start. */
#pragma once

#include <stdint.h>

#include "messages/slice.h"

enum { SHA1_BYTES = 20 };

void sha1(slice_t text, uint8_t digest[SHA1_BYTES]);
