/* crc32c: CRC-32C (Castagnoli), as in RFC 3720 appendix B.4. Pure.
 * Guards the write-ahead log, peer messages and snapshots. Uses SSE4.2 where the processor has it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Continues `crc` over `len` more bytes. Start with 0; crc32c(crc32c(0, a), b) is the CRC of ab. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

/* The same without special instructions, so that a test can compare the two. */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len);
