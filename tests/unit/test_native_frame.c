/* Shows the native protocol's frames byte by byte as docs/protocol.md has them, that what is written is read
 * again, and that everything else is told apart by what is wrong with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "messages/native_frame.h"

static const uint8_t example[NATIVE_HEADER_BYTES] = {
    'Q', 'L', 1, 0x02, 0x03, 0, 0, 0,    1,    2,    3,    4,    5, 6, 7, 8, /* call */
    0,   0,   2, 0x58, 0,    0, 0, 0x11, 0x22, 0x33, 0x44, 0x55, /* timeout 600 ms, octets */
};

static native_error_t decode(native_side_t from, const uint8_t *header, size_t frames,
                             native_message_t *message)
{
    slice_t parts[NATIVE_FRAMES_MAX + 1] = {slice(header, NATIVE_HEADER_BYTES),
                                            slice_str("etcdserverpb.KV/Put"), slice_str("body"),
                                            slice_str("more")};
    return native_decode(from, parts, frames, message);
}

static void a_header_is_these_octets(void **state)
{
    (void)state;
    uint8_t bytes[NATIVE_HEADER_BYTES];
    native_header_t header = {.command = NATIVE_CALL,
                              .flags = NATIVE_FLAG_END | NATIVE_FLAG_REQUIRE_LEADER,
                              .call = 0x0102030405060708,
                              .argument = 600,
                              .octets = 0x1122334455};
    native_header_write(bytes, &header);
    assert_memory_equal(bytes, example, sizeof example);
}

static void a_call_is_read(void **state)
{
    (void)state;
    native_message_t message;
    assert_int_equal(decode(NATIVE_FROM_CLIENT, example, 3, &message), NATIVE_OK);
    assert_int_equal(message.header.command, NATIVE_CALL);
    assert_int_equal(message.header.flags, 3);
    assert_true(message.header.call == 0x0102030405060708);
    assert_int_equal(message.header.argument, 600);
    assert_true(message.header.octets == 0x1122334455);
    assert_true(slice_equal(message.method, slice_str("etcdserverpb.KV/Put")));
    assert_true(message.has_body && slice_equal(message.body, slice_str("body")));
    assert_int_equal(decode(NATIVE_FROM_CLIENT, example, 2, &message), NATIVE_OK);
    assert_false(message.has_body);
}

static void what_is_wrong_has_a_name(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint8_t value;
        size_t frames;
        native_error_t error;
    } cases[] = {
        {0, 'X', 3, NATIVE_BAD_HEADER},
        {1, 'l', 3, NATIVE_BAD_HEADER},
        {2, 2, 3, NATIVE_BAD_VERSION},
        {2, 0, 3, NATIVE_BAD_VERSION},
        {3, 0, 3, NATIVE_BAD_COMMAND},
        {3, 9, 3, NATIVE_BAD_COMMAND},
        {3, NATIVE_DONE, 3, NATIVE_BAD_COMMAND}, /* not for this direction */
        {3, 0xff, 3, NATIVE_BAD_COMMAND},
        {4, 4, 3, NATIVE_BAD_FLAGS},
        {5, 1, 3, NATIVE_BAD_FLAGS},
        {7, 1, 3, NATIVE_BAD_FLAGS},
        {0, 'Q', 1, NATIVE_BAD_FRAMES},
        {0, 'Q', 4, NATIVE_BAD_FRAMES},
        {0, 'Q', 0, NATIVE_BAD_HEADER},
        {0, 'Q', 3, NATIVE_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t bytes[NATIVE_HEADER_BYTES];
        memcpy(bytes, example, sizeof bytes);
        bytes[cases[i].at] = cases[i].value;
        native_message_t message;
        assert_int_equal(decode(NATIVE_FROM_CLIENT, bytes, cases[i].frames, &message),
                         cases[i].error);
        assert_true(native_error_text(cases[i].error)[0] != '\0' || !cases[i].error);
    }
}

static void names_of_methods_are_short_and_printable(void **state)
{
    (void)state;
    char name[NATIVE_METHOD_BYTES_MAX + 1];
    memset(name, 'x', sizeof name);
    slice_t parts[2] = {slice(example, sizeof example), slice(name, NATIVE_METHOD_BYTES_MAX)};
    native_message_t message;
    assert_int_equal(native_decode(NATIVE_FROM_CLIENT, parts, 2, &message), NATIVE_OK);
    parts[1].len++;
    assert_int_equal(native_decode(NATIVE_FROM_CLIENT, parts, 2, &message), NATIVE_BAD_METHOD);
    parts[1].len = 0;
    assert_int_equal(native_decode(NATIVE_FROM_CLIENT, parts, 2, &message), NATIVE_BAD_METHOD);
    parts[1] = slice_str("a b");
    assert_int_equal(native_decode(NATIVE_FROM_CLIENT, parts, 2, &message), NATIVE_BAD_METHOD);
}

/* Which commands there are per direction, with how many frames; F = from the server. */
static void each_command_has_its_frames(void **state)
{
    (void)state;
    static const struct {
        native_command_t command;
        bool client, server;
        size_t least, most;
        bool names_call;
    } cases[] = {
        {NATIVE_HELLO, true, false, 1, 2, false},   {NATIVE_CALL, true, false, 2, 3, true},
        {NATIVE_DATA, true, false, 2, 2, true},     {NATIVE_END, true, false, 1, 1, true},
        {NATIVE_CANCEL, true, false, 1, 1, true},   {NATIVE_BYE, true, false, 1, 1, false},
        {NATIVE_PING, true, true, 1, 1, false},     {NATIVE_PONG, true, true, 1, 1, false},
        {NATIVE_WELCOME, false, true, 2, 2, false}, {NATIVE_REPLY, false, true, 2, 2, true},
        {NATIVE_DONE, false, true, 1, 2, true},     {NATIVE_ERROR, false, true, 2, 2, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t bytes[NATIVE_HEADER_BYTES];
        native_message_t message;
        native_header_t header = {.command = cases[i].command, .call = 1};
        native_header_write(bytes, &header);
        native_side_t side = cases[i].client ? NATIVE_FROM_CLIENT : NATIVE_FROM_SERVER;
        if (!cases[i].client || !cases[i].server) {
            native_side_t other = cases[i].client ? NATIVE_FROM_SERVER : NATIVE_FROM_CLIENT;
            assert_int_equal(decode(other, bytes, cases[i].least, &message), NATIVE_BAD_COMMAND);
        }
        for (size_t frames = 1; frames <= NATIVE_FRAMES_MAX + 1; frames++) {
            bool fits = frames >= cases[i].least && frames <= cases[i].most;
            assert_int_equal(decode(side, bytes, frames, &message),
                             fits ? NATIVE_OK : NATIVE_BAD_FRAMES);
        }
        header.call = 0;
        native_header_write(bytes, &header);
        assert_int_equal(decode(side, bytes, cases[i].most, &message),
                         cases[i].names_call ? NATIVE_BAD_CALL : NATIVE_OK);
    }
}

static void a_header_of_another_size_is_none(void **state)
{
    (void)state;
    uint8_t bytes[NATIVE_HEADER_BYTES + 1] = {0};
    memcpy(bytes, example, sizeof example);
    native_message_t message;
    for (size_t len = 0; len <= sizeof bytes; len++) {
        slice_t parts[2] = {slice(bytes, len), slice_str("a/b")};
        assert_int_equal(native_decode(NATIVE_FROM_CLIENT, parts, 2, &message),
                         len == NATIVE_HEADER_BYTES ? NATIVE_OK : NATIVE_BAD_HEADER);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_is_these_octets),
        cmocka_unit_test(a_call_is_read),
        cmocka_unit_test(what_is_wrong_has_a_name),
        cmocka_unit_test(names_of_methods_are_short_and_printable),
        cmocka_unit_test(each_command_has_its_frames),
        cmocka_unit_test(a_header_of_another_size_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
