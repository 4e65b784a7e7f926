/* zmtp: the bytes of ZMTP 3 with the NULL mechanism (https://rfc.zeromq.org/spec/37/), for the publish socket, which
 * does without libzmq when it has no keys, and for load generators. Pure. Everything that is read is untrusted.
 *
 *   connection: greeting, then frames; the first one of each side is the command READY. */
#pragma once

#include "messages/buf.h"

enum { ZMTP_GREETING_BYTES = 64, ZMTP_VERSION_BYTES = 11, ZMTP_HEAD_BYTES_MAX = 9 };
enum { ZMTP_MORE = 1, ZMTP_LONG = 2, ZMTP_COMMAND = 4 }; /* flags of a frame */

enum {
    ZMTP_PARTIAL = 1,         /* the rest is not there yet */
    ZMTP_MALFORMED = 2,       /* not ZMTP, or longer than allowed */
    ZMTP_OTHER_VERSION = 3,   /* below 3 */
    ZMTP_OTHER_MECHANISM = 4, /* CURVE, mostly */
};

/* All of it, of a side that is no server in the sense of a mechanism. Whoever wants to see the other side's mechanism
 * before that one sees this says ZMTP_VERSION_BYTES of it, and the rest when it has got as many. */
slice_t zmtp_greeting(void);
/* 0 or one of the above; *minor is that of version 3. Says so as soon as it can: of a whole greeting nobody is sure
 * who speaks another version. */
int zmtp_read_greeting(slice_t in, uint8_t *minor) __attribute__((warn_unused_result));

typedef struct {
    uint8_t flags;
    slice_t body; /* inside what was read */
    size_t size;  /* of the frame with its head */
} zmtp_frame_t;

/* The first frame. 0, ZMTP_PARTIAL or ZMTP_MALFORMED: a body above `body_max`, or flags that no version has. */
int zmtp_read_frame(slice_t in, size_t body_max, zmtp_frame_t *frame)
    __attribute__((warn_unused_result));
/* Only ZMTP_MORE and ZMTP_COMMAND are the caller's to choose. */
void zmtp_write_frame(buf_t *out, uint8_t flags, slice_t body);

/* A command's body begins with its name. True = it is that one, and *content is what follows. */
bool zmtp_is_command(slice_t body, const char *name, slice_t *content);
void zmtp_write_command(buf_t *out, const char *name, slice_t content);

void zmtp_write_ready(buf_t *out, const char *socket_type);
/* The other side's type out of READY's content; 0 or ZMTP_MALFORMED, also without one. */
int zmtp_read_ready(slice_t content, slice_t *socket_type) __attribute__((warn_unused_result));

enum { ZMTP_PING_CONTEXT_MAX = 16 };
/* `ttl_ds`: tenths of seconds after which the other side may take silence for the end. */
void zmtp_write_ping(buf_t *out, uint16_t ttl_ds);
/* The answer to a PING's content. False = that was none. */
bool zmtp_write_pong(buf_t *out, slice_t ping);
