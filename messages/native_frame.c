/* The header, big-endian:
 *
 *   0   2       3       4     5        8      16       20     28
 *   "QL" version command flags reserved call  argument octets
 */
#include "messages/native_frame.h"

#include <assert.h>

#include "messages/big_endian.h"

enum {
    AT_VERSION = 2,
    AT_COMMAND = 3,
    AT_FLAGS = 4,
    AT_RESERVED = 5,
    AT_CALL = 8,
    AT_ARGUMENT = 16,
    AT_OCTETS = 20
};

/* Which commands a side may say, and what comes with them. */
typedef struct {
    native_command_t command;
    bool from_client, from_server;
    unsigned flags;
    bool has_method;
    bool needs_body, may_have_body;
    bool names_call; /* the call id must not be 0 */
} rule_t;

static const rule_t rules[] = {
    {NATIVE_HELLO, .from_client = true, .may_have_body = true},
    {NATIVE_CALL, .from_client = true, .flags = NATIVE_FLAG_END | NATIVE_FLAG_REQUIRE_LEADER,
     .has_method = true, .may_have_body = true, .names_call = true},
    {NATIVE_DATA, .from_client = true, .flags = NATIVE_FLAG_END, .needs_body = true,
     .names_call = true},
    {NATIVE_END, .from_client = true, .names_call = true},
    {NATIVE_CANCEL, .from_client = true, .names_call = true},
    {NATIVE_BYE, .from_client = true},
    {NATIVE_PING, .from_client = true, .from_server = true},
    {NATIVE_PONG, .from_client = true, .from_server = true},
    {NATIVE_WELCOME, .from_server = true, .needs_body = true},
    {NATIVE_REPLY, .from_server = true, .needs_body = true, .names_call = true},
    {NATIVE_DONE, .from_server = true, .may_have_body = true, .names_call = true},
    {NATIVE_ERROR, .from_server = true, .needs_body = true},
};

const char *native_error_text(native_error_t error)
{
    switch (error) {
    case NATIVE_OK: return "";
    case NATIVE_BAD_HEADER: return "no header of the native protocol";
    case NATIVE_BAD_VERSION: return "another version of the native protocol";
    case NATIVE_BAD_COMMAND: return "unknown command";
    case NATIVE_BAD_FLAGS: return "undefined flags or reserved octets";
    case NATIVE_BAD_FRAMES: return "wrong number of frames for the command";
    case NATIVE_BAD_METHOD: return "malformed method name";
    case NATIVE_BAD_CALL: return "the call id is in use, or 0";
    case NATIVE_BAD_BODY: return "the body cannot be decoded";
    case NATIVE_HELLO_FIRST: return "hello first";
    case NATIVE_BAD_OCTETS: return "the octets received do not fit those sent";
    case NATIVE_TOO_MANY: return "too many clients";
    }
    return "unknown error";
}

void native_header_write(uint8_t out[NATIVE_HEADER_BYTES], const native_header_t *header)
{
    assert(header->flags <= UINT8_MAX);
    memset(out, 0, NATIVE_HEADER_BYTES);
    out[0] = 'Q';
    out[1] = 'L';
    out[AT_VERSION] = NATIVE_VERSION;
    out[AT_COMMAND] = (uint8_t)header->command;
    out[AT_FLAGS] = (uint8_t)header->flags;
    write_be(out + AT_CALL, header->call, 8);
    write_be(out + AT_ARGUMENT, header->argument, 4);
    write_be(out + AT_OCTETS, header->octets, 8);
}

static native_error_t read_header(slice_t frame, native_header_t *header, bool *is_reserved_zero)
{
    const uint8_t *in = frame.data;
    if (frame.len != NATIVE_HEADER_BYTES || in[0] != 'Q' || in[1] != 'L') {
        return NATIVE_BAD_HEADER;
    }
    if (in[AT_VERSION] != NATIVE_VERSION) {
        return NATIVE_BAD_VERSION;
    }
    *header = (native_header_t){.command = (native_command_t)in[AT_COMMAND],
                                .flags = in[AT_FLAGS],
                                .call = read_be(in + AT_CALL, 8),
                                .argument = (uint32_t)read_be(in + AT_ARGUMENT, 4),
                                .octets = read_be(in + AT_OCTETS, 8)};
    *is_reserved_zero = read_be(in + AT_RESERVED, AT_CALL - AT_RESERVED) == 0;
    return NATIVE_OK;
}

static const rule_t *find_rule(native_side_t from, native_command_t command)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (rules[i].command == command) {
            bool allowed = from == NATIVE_FROM_CLIENT ? rules[i].from_client : rules[i].from_server;
            return allowed ? &rules[i] : NULL;
        }
    }
    return NULL;
}

/* "package.Service/Method": printable and without blanks, so that it can stand in a log. */
static bool is_method(slice_t name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] <= ' ' || name.data[i] >= 0x7f) {
            return false;
        }
    }
    return name.len > 0 && name.len <= NATIVE_METHOD_BYTES_MAX;
}

native_error_t native_decode(native_side_t from, const slice_t *frames, size_t count,
                             native_message_t *message)
{
    *message = (native_message_t){0};
    bool is_reserved_zero = false;
    native_error_t error =
        count ? read_header(frames[0], &message->header, &is_reserved_zero) : NATIVE_BAD_HEADER;
    if (error) {
        return error;
    }
    const rule_t *rule = find_rule(from, message->header.command);
    if (!rule) {
        return NATIVE_BAD_COMMAND;
    }
    if ((message->header.flags & ~rule->flags) || !is_reserved_zero) {
        return NATIVE_BAD_FLAGS;
    }
    size_t least = 1 + (size_t)rule->has_method;
    size_t bodies = count - (count < least ? count : least);
    if (count < least || bodies > 1 ||
        (bodies ? !rule->may_have_body && !rule->needs_body : rule->needs_body)) {
        return NATIVE_BAD_FRAMES;
    }
    if (rule->has_method) {
        message->method = frames[1];
        if (!is_method(message->method)) {
            return NATIVE_BAD_METHOD;
        }
    }
    if (rule->names_call && message->header.call == 0) {
        return NATIVE_BAD_CALL;
    }
    message->has_body = bodies > 0;
    message->body = bodies ? frames[least] : slice(NULL, 0);
    return NATIVE_OK;
}
