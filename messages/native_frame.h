/* native_frame: the request messages of the native protocol, both directions (docs/protocol.md says what they mean).
 * Pure; the gateway and the client library share it. A message is one to three frames: a header of fixed
 * size, then what its command brings along. Whatever comes from the wire is checked here. */
#pragma once

#include "messages/slice.h"

enum {
    NATIVE_VERSION = 1,
    NATIVE_HEADER_BYTES = 28,
    NATIVE_FRAMES_MAX = 3,
    NATIVE_METHOD_BYTES_MAX = 128
};

/* The values are those of the wire. */
typedef enum {
    /* client to server */
    NATIVE_HELLO = 0x01,
    NATIVE_CALL = 0x02,
    NATIVE_DATA = 0x03,
    NATIVE_END = 0x04,
    NATIVE_CANCEL = 0x05,
    NATIVE_BYE = 0x08,
    /* both ways */
    NATIVE_PING = 0x06,
    NATIVE_PONG = 0x07,
    /* server to client */
    NATIVE_WELCOME = 0x81,
    NATIVE_REPLY = 0x82,
    NATIVE_DONE = 0x83,
    NATIVE_ERROR = 0x84
} native_command_t;

enum {
    NATIVE_FLAG_END = 0x01,           /* CALL, DATA: the client's last message of this call */
    NATIVE_FLAG_REQUIRE_LEADER = 0x02 /* CALL: as the metadata hasleader of gRPC */
};

typedef struct {
    native_command_t command;
    unsigned flags;
    uint64_t call; /* HELLO, WELCOME: a number of the client's, given back */
    uint32_t
        argument; /* HELLO: heartbeat interval; CALL: timeout, ms; DONE: gRPC code; ERROR: native_error_t */
    uint64_t
        octets; /* of REPLY and DONE: received so far, from clients; sent before, from servers */
} native_header_t;

typedef struct {
    native_header_t header;
    slice_t method; /* CALL: "etcdserverpb.KV/Put" */
    bool has_body;
    slice_t body; /* or text: DONE with an error, ERROR */
} native_message_t;

/* What is wrong with a message: the argument of ERROR. The texts are for people. */
typedef enum {
    NATIVE_OK = 0,
    NATIVE_BAD_HEADER = 1,  /* no header of this protocol */
    NATIVE_BAD_VERSION = 2, /* of another version of it */
    NATIVE_BAD_COMMAND = 3, /* unknown, or not for this direction */
    NATIVE_BAD_FLAGS = 4,   /* not defined for the command, or reserved octets are used */
    NATIVE_BAD_FRAMES = 5,  /* their number does not fit the command */
    NATIVE_BAD_METHOD = 6,  /* no name of a method */
    NATIVE_BAD_CALL = 7,    /* the call id is in use, or 0 */
    NATIVE_BAD_BODY = 8,    /* HELLO: cannot be decoded */
    /* These end the session. */
    NATIVE_HELLO_FIRST = 9, /* the server does not know this client (any more) */
    NATIVE_BAD_OCTETS =
        10, /* the client says it has received more than was sent, or less than before */
    NATIVE_TOO_MANY = 11 /* there are as many clients as the server takes */
} native_error_t;
const char *native_error_text(native_error_t error);

void native_header_write(uint8_t out[NATIVE_HEADER_BYTES], const native_header_t *header);

typedef enum { NATIVE_FROM_CLIENT, NATIVE_FROM_SERVER } native_side_t;
/* NATIVE_OK, or why this is no message of that side. *message borrows from the frames. With anything but
 * NATIVE_BAD_HEADER and NATIVE_BAD_VERSION, message->header is set, as far as it goes. */
native_error_t native_decode(native_side_t from, const slice_t *frames, size_t count,
                             native_message_t *message) __attribute__((warn_unused_result));

/* What a REPLY or DONE adds to `octets` on both sides: its frames' bytes. */
static inline uint64_t native_octets(size_t body_len)
{
    return NATIVE_HEADER_BYTES + (uint64_t)body_len;
}
