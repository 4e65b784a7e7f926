/* buf: a growing byte buffer with protobuf writers. Pure; one owner.
 * Used wherever wire-ready bytes are built straight from the store, without structs in between. */
#pragma once

#include "messages/bytes.h"

typedef struct {
    uint8_t *data;
    size_t len;
    size_t capacity;
} buf_t; /* zero-initialised is empty and ready */

void buf_deinit(buf_t *self); /* may be called twice */
void buf_clear(buf_t *self);  /* keeps the memory */
/* Room for `len` more bytes at the end; returns where they go. Call buf_advance after writing. */
uint8_t *buf_reserve(buf_t *self, size_t len);
void buf_advance(buf_t *self, size_t len);
void buf_append(buf_t *self, const void *data, size_t len);
void buf_byte(buf_t *self, uint8_t byte);
slice_t buf_slice(const buf_t *self);
/* A shared, immutable copy of the content. */
bytes_t *buf_bytes(const buf_t *self);
/* The content without a copy, for what is large (> 0 bytes); leaves an empty buffer. */
bytes_t *buf_take_bytes(buf_t *self);

/* Protobuf wire format (https://protobuf.dev/programming-guides/encoding/). */
size_t varint_size(uint64_t value);
size_t varint_write(uint8_t *out, uint64_t value); /* needs up to 10 bytes; returns the size */
void buf_varint(buf_t *self, uint64_t value);
/* A varint field; like proto3, nothing is written for zero. */
void buf_field_u64(buf_t *self, uint32_t field, uint64_t value);
/* A length-delimited field, written even when empty. */
void buf_field_bytes(buf_t *self, uint32_t field, slice_t value);
/* Only the tag and length of a length-delimited field whose `len` bytes the caller writes next. */
void buf_field_header(buf_t *self, uint32_t field, size_t len);
