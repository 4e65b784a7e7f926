/* grpc_framing: the bytes of gRPC inside an HTTP/2 stream. Pure.
 * A message travels as one byte "compressed?", four bytes length (big endian), then the message.
 * A buffer is embedded in its owner and belongs to it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define GRPC_PREFIX_BYTES 5

/* Bytes in order of arrival: appended at the end, consumed from the front. */
typedef struct grpc_buffer {
    uint8_t *data;
    size_t begin;
    size_t end;
    size_t capacity;
} grpc_buffer_t;

void grpc_buffer_deinit(grpc_buffer_t *self);
size_t grpc_buffer_size(const grpc_buffer_t *self);
const uint8_t *grpc_buffer_head(const grpc_buffer_t *self);
void grpc_buffer_append(grpc_buffer_t *self, const void *data, size_t size);
/* At most grpc_buffer_size() bytes. */
void grpc_buffer_consume(grpc_buffer_t *self, size_t size);

/* Appends prefix and message. The message must be shorter than 2^32 bytes. */
void grpc_frame_append(grpc_buffer_t *out, const void *message, size_t size);

enum grpc_frame_outcome {
    GRPC_FRAME_INCOMPLETE = 1, /* more bytes are needed */
    GRPC_FRAME_TOO_LARGE = 2,  /* the announced size is above the limit (*size_p holds it) */
    GRPC_FRAME_COMPRESSED = 3, /* we never announce an encoding, so nobody may use one */
};
/* Takes one message from the front of `in`. 0: *message_p points into `in` and stays valid until
 * `in` is appended to. Otherwise one of enum grpc_frame_outcome, and nothing is consumed. */
int grpc_frame_next(grpc_buffer_t *in, size_t size_max, const uint8_t **message_p, size_t *size_p)
    __attribute__((warn_unused_result));

/* grpc-message is percent encoded (gRPC over HTTP/2, "Status-Message"). A malformed escape stays as
 * it is. The result is a fresh string; zero bytes inside are kept, *size_p is its length. */
char *grpc_percent_decode(const char *text, size_t size, size_t *size_p);

/* The value of grpc-timeout: at most eight digits and a unit. timeout_us >= 0. Rounds up, as
 * grpc-go does, so that the server never gives up before the client. */
#define GRPC_TIMEOUT_TEXT_BYTES 24
void grpc_timeout_format(int64_t timeout_us, char text[GRPC_TIMEOUT_TEXT_BYTES]);
