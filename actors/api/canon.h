/* canon: messages in unusual form. Pure.
 * Protobuf lets a sender write fields that nobody knows, known fields of another wire type (both are
 * skipped), groups (skipped), and one sub-message in several pieces (merged). etcd takes all of that.
 * protobuf-c does not, so such a message is rewritten before it is unpacked and goes on;
 * nearly all are plain already and go on as they came. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "messages/buf.h"

/* Nothing unusual in it, on any level? The message has passed scan_message. */
bool canon_is_plain(slice_t message, const ProtobufCMessageDescriptor *descriptor);

enum { CANON_MALFORMED = 1, CANON_TOO_LARGE = 2 /* too deep, or too many fields */ };
/* Appends the message in plain form. 0 or CANON_*. */
int canon_rewrite(slice_t message, const ProtobufCMessageDescriptor *descriptor, buf_t *out)
    __attribute__((warn_unused_result));
