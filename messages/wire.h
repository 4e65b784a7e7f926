/* wire: reads protobuf fields from untrusted bytes, without allocating. Pure.
 * Every read is bounds-checked; a malformed field ends the scan with an error. */
#pragma once

#include "messages/slice.h"

typedef struct {
    uint32_t number;
    uint8_t type;   /* 0 varint, 1 fixed64, 2 length-delimited, 3 group (skipped), 5 fixed32 */
    uint64_t value; /* varint and fixed */
    slice_t data;   /* length-delimited */
} wire_field_t;

enum { WIRE_END = 1, WIRE_MALFORMED = 2 };
/* proto3 knows no groups, but who gets one has to skip it like any unknown field. */
enum { WIRE_GROUP = 3, WIRE_GROUPS_MAX = 32 }; /* the latter: groups inside each other */

/* Takes the next field off *rest. 0 = *field is set; WIRE_END = nothing left; WIRE_MALFORMED. */
int wire_next(slice_t *rest, wire_field_t *field) __attribute__((warn_unused_result));
/* Takes a varint off *rest. 0 or WIRE_MALFORMED. */
int wire_varint(slice_t *rest, uint64_t *value) __attribute__((warn_unused_result));
