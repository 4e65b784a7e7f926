/* Request messages of the native protocol, from arbitrary bytes: the first byte says who speaks and where the
 * frames end. What is taken is written again to the same header, and borrows from nothing but the frames. */
#include <assert.h>
#include <stdint.h>

#include "messages/native_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static bool is_inside(slice_t part, const uint8_t *data, size_t len)
{
    return part.len == 0 || (part.data >= data && part.data + part.len <= data + len);
}

static void check(const native_message_t *message, slice_t head, const uint8_t *data, size_t len)
{
    uint8_t again[NATIVE_HEADER_BYTES];
    native_header_write(again, &message->header);
    assert(slice_equal(head, slice(again, sizeof again)));
    assert(is_inside(message->method, data, len) && is_inside(message->body, data, len));
    assert(message->has_body || message->body.len == 0);
    assert(message->method.len <= NATIVE_METHOD_BYTES_MAX);
    assert((message->method.len > 0) == (message->header.command == NATIVE_CALL));
}

static void run(native_side_t from, slice_t *frames, size_t count, const uint8_t *data, size_t len)
{
    native_message_t message;
    native_error_t error = native_decode(from, frames, count, &message);
    assert(error <= NATIVE_BAD_CALL && native_error_text(error));
    if (error == NATIVE_OK) {
        check(&message, frames[0], data, len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 1) {
        return 0;
    }
    native_side_t from = data[0] & 1 ? NATIVE_FROM_SERVER : NATIVE_FROM_CLIENT;
    size_t count = data[0] >> 1 & 3;
    size_t method = data[0] >> 3;
    slice_t frames[NATIVE_FRAMES_MAX + 1] = {{0}};
    size_t head = len - 1 < NATIVE_HEADER_BYTES ? len - 1 : NATIVE_HEADER_BYTES;
    uint8_t fixed[NATIVE_HEADER_BYTES] = {'Q', 'L', NATIVE_VERSION};
    frames[0] = slice(data + 1, head);
    size_t left = len - 1 - head;
    method = method < left ? method : left;
    frames[1] = slice(data + 1 + head, method);
    frames[2] = slice(data + 1 + head + method, left - method);
    run(from, frames, count, data, len);
    if (head ==
        NATIVE_HEADER_BYTES) { /* magic and version right, so that the rest is reached without luck */
        memcpy(fixed + 3, data + 4, NATIVE_HEADER_BYTES - 3);
        frames[0] = slice(fixed, sizeof fixed);
        run(from, frames, count, data, len);
        run(from, frames, count + 1, data, len);
    }
    return 0;
}
