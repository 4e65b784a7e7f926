#include "messages/zmtp.h"

#include <assert.h>

#include "messages/big_endian.h"

/* Offsets within a greeting. */
enum { SIGNATURE_END = 9, MAJOR = 10, MINOR = 11, MECHANISM = 12, AS_SERVER = 32 };

static const uint8_t greeting[ZMTP_GREETING_BYTES] = {
    [0] = 0xff, [SIGNATURE_END] = 0x7f, [MAJOR] = 3, [MINOR] = 1, [MECHANISM] = 'N', 'U', 'L', 'L'};

slice_t zmtp_greeting(void)
{
    return slice(greeting, sizeof greeting);
}

int zmtp_read_greeting(slice_t in, uint8_t *minor)
{
    if ((in.len > 0 && in.data[0] != 0xff) ||
        (in.len > SIGNATURE_END && !(in.data[SIGNATURE_END] & 1))) {
        return ZMTP_OTHER_VERSION; /* ZMTP 1.0 has no signature */
    }
    if (in.len > MAJOR && in.data[MAJOR] < 3) {
        return ZMTP_OTHER_VERSION;
    }
    if (in.len < ZMTP_GREETING_BYTES) {
        return ZMTP_PARTIAL;
    }
    if (memcmp(in.data + MECHANISM, greeting + MECHANISM, AS_SERVER - MECHANISM) != 0) {
        return ZMTP_OTHER_MECHANISM;
    }
    *minor = in.data[MAJOR] > 3 ? UINT8_MAX : in.data[MINOR]; /* later ones have to speak ours */
    return 0;
}

/* ---- frames ---- */

int zmtp_read_frame(slice_t in, size_t body_max, zmtp_frame_t *frame)
{
    if (in.len == 0) {
        return ZMTP_PARTIAL;
    }
    uint8_t flags = in.data[0];
    bool is_command = flags & ZMTP_COMMAND;
    if (flags & ~(ZMTP_MORE | ZMTP_LONG | ZMTP_COMMAND) || (is_command && flags & ZMTP_MORE)) {
        return ZMTP_MALFORMED;
    }
    size_t head = flags & ZMTP_LONG ? ZMTP_HEAD_BYTES_MAX : 2;
    if (in.len < head) {
        return ZMTP_PARTIAL;
    }
    uint64_t body = read_be(in.data + 1, head - 1);
    if (body > body_max) {
        return ZMTP_MALFORMED;
    }
    if (in.len - head < body) {
        return ZMTP_PARTIAL;
    }
    *frame = (zmtp_frame_t){
        .flags = flags, .body = slice(in.data + head, body), .size = head + (size_t)body};
    return 0;
}

static void write_head(buf_t *out, uint8_t flags, size_t body)
{
    bool is_long = body > UINT8_MAX;
    size_t head = is_long ? ZMTP_HEAD_BYTES_MAX : 2;
    uint8_t *at = buf_reserve(out, head);
    at[0] = flags | (is_long ? ZMTP_LONG : 0);
    write_be(at + 1, body, head - 1);
    buf_advance(out, head);
}

void zmtp_write_frame(buf_t *out, uint8_t flags, slice_t body)
{
    write_head(out, flags, body.len);
    buf_append(out, body.data, body.len);
}

/* ---- commands ---- */

bool zmtp_is_command(slice_t body, const char *name, slice_t *content)
{
    size_t len = strlen(name);
    if (body.len < 1 + len || body.data[0] != len || memcmp(body.data + 1, name, len) != 0) {
        return false;
    }
    *content = slice(body.data + 1 + len, body.len - 1 - len);
    return true;
}

void zmtp_write_command(buf_t *out, const char *name, slice_t content)
{
    size_t len = strlen(name);
    assert(len <= UINT8_MAX);
    write_head(out, ZMTP_COMMAND, 1 + len + content.len);
    buf_byte(out, (uint8_t)len);
    buf_append(out, name, len);
    buf_append(out, content.data, content.len);
}

#define SOCKET_TYPE "Socket-Type"
enum { VALUE_SIZE_BYTES = 4 };

void zmtp_write_ready(buf_t *out, const char *socket_type)
{
    buf_t content = {0};
    uint8_t size[VALUE_SIZE_BYTES];
    write_be(size, strlen(socket_type), sizeof size);
    buf_byte(&content, sizeof SOCKET_TYPE - 1);
    buf_append(&content, SOCKET_TYPE, sizeof SOCKET_TYPE - 1);
    buf_append(&content, size, sizeof size);
    buf_append(&content, socket_type, strlen(socket_type));
    zmtp_write_command(out, "READY", buf_slice(&content));
    buf_deinit(&content);
}

/* Property names are compared without case. */
static bool is_socket_type(slice_t name)
{
    static const char wanted[] = "socket-type";
    bool equal = name.len == sizeof wanted - 1;
    for (size_t i = 0; equal && i < name.len; i++) {
        bool is_upper = name.data[i] >= 'A' && name.data[i] <= 'Z';
        equal = (is_upper ? name.data[i] + ('a' - 'A') : name.data[i]) == wanted[i];
    }
    return equal;
}

int zmtp_read_ready(slice_t content, slice_t *socket_type)
{
    bool is_found = false;
    while (content.len > 0) {
        size_t name = content.data[0];
        if (content.len < 1 + name + VALUE_SIZE_BYTES) {
            return ZMTP_MALFORMED;
        }
        size_t value = read_be(content.data + 1 + name, VALUE_SIZE_BYTES);
        size_t before = 1 + name + VALUE_SIZE_BYTES;
        if (content.len - before < value) {
            return ZMTP_MALFORMED;
        }
        if (is_socket_type(slice(content.data + 1, name))) {
            *socket_type = slice(content.data + before, value);
            is_found = true;
        }
        content = slice(content.data + before + value, content.len - before - value);
    }
    return is_found ? 0 : ZMTP_MALFORMED;
}

enum { TTL_BYTES = 2 };

void zmtp_write_ping(buf_t *out, uint16_t ttl_ds)
{
    uint8_t ttl[TTL_BYTES];
    write_be(ttl, ttl_ds, sizeof ttl);
    zmtp_write_command(out, "PING", slice(ttl, sizeof ttl));
}

bool zmtp_write_pong(buf_t *out, slice_t ping)
{
    if (ping.len < TTL_BYTES || ping.len > TTL_BYTES + ZMTP_PING_CONTEXT_MAX) {
        return false;
    }
    zmtp_write_command(out, "PONG", slice(ping.data + TTL_BYTES, ping.len - TTL_BYTES));
    return true;
}
