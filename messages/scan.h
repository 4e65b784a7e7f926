/* scan: bounds a protobuf message before it is unpacked. Pure.
 * protobuf-c recurses on the stack once per level of nesting, without a limit, and spends about
 * fifty bytes on a field of two: 58 KB nested 8,000 deep crash a thread, 1.5 MB of empty fields take
 * 76 MB. So whoever unpacks bytes from outside calls this first. It needs no memory. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "messages/slice.h"

typedef struct {
    size_t depth;  /* levels of messages, the outermost included; at most SCAN_DEPTH_MAX */
    size_t fields; /* in all levels together; a packed array counts its elements */
} scan_limits_t;

enum { SCAN_DEPTH_MAX = 64 };
enum { SCAN_MALFORMED = 1, SCAN_TOO_DEEP = 2, SCAN_TOO_MANY_FIELDS = 3 };

/* 0 or one of SCAN_*. The descriptor tells messages from strings and bytes, so that a value which
 * happens to look like a message is not looked into. */
int scan_message(slice_t message, const ProtobufCMessageDescriptor *descriptor,
                 const scan_limits_t *limits) __attribute__((warn_unused_result));
