/* grpc_frame: what gRPC puts on top of HTTP/2: message prefix, time-outs, status texts. Pure.
 * Source: gRPC over HTTP/2 (PROTOCOL-HTTP2.md of grpc); texts as grpc-go's server says them. */
#pragma once

#include "messages/buf.h"

/* Every message begins with a flag byte (1 = compressed) and its length, big-endian. */
enum { GRPC_PREFIX_BYTES = 5 };
void grpc_prefix_write(uint8_t prefix[GRPC_PREFIX_BYTES], uint32_t len);
uint32_t grpc_prefix_len(const uint8_t prefix[GRPC_PREFIX_BYTES]);

/* grpc-timeout: up to 8 digits and one of H M S m u n. 0, or 1 = malformed, with the reason
 * appended to *why. Times too long for the clock become UINT64_MAX. */
int grpc_timeout_parse(slice_t text, uint64_t *timeout_us, buf_t *why)
    __attribute__((warn_unused_result));

/* Appends `text` as grpc-message wants it: percent-encoded apart from printable ASCII, invalid
 * UTF-8 replaced by U+FFFD. */
void grpc_message_encode(buf_t *out, slice_t text);

/* "application/grpc", alone or followed by + or ; and anything. */
bool grpc_is_content_type(slice_t value);

/* Appends the value in double quotes with everything else than printable ASCII escaped. */
void grpc_quote(buf_t *out, slice_t value);
