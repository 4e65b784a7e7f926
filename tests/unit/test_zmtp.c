/* zmtp: what is written is read again, whatever it is cut into; what is no ZMTP 3 with the NULL mechanism is told
 * apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "messages/zmtp.h"

static void a_greeting_is_read_when_it_is_whole(void **state)
{
    (void)state;
    buf_t out = {0};
    uint8_t minor = 0;
    buf_append(&out, zmtp_greeting().data, ZMTP_GREETING_BYTES);
    assert_int_equal(out.len, ZMTP_GREETING_BYTES);
    for (size_t len = 0; len < out.len; len++) {
        assert_int_equal(zmtp_read_greeting(slice(out.data, len), &minor), ZMTP_PARTIAL);
    }
    assert_int_equal(zmtp_read_greeting(buf_slice(&out), &minor), 0);
    assert_int_equal(minor, 1);
    buf_deinit(&out);
}

static void other_versions_and_mechanisms_are_told_apart(void **state)
{
    (void)state;
    static const uint8_t version_1[] = {0x05, 0x00, 'h'};
    static const uint8_t version_2[] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 1};
    uint8_t minor = 0;
    buf_t out = {0};
    assert_int_equal(zmtp_read_greeting(slice(version_1, sizeof version_1), &minor),
                     ZMTP_OTHER_VERSION);
    assert_int_equal(zmtp_read_greeting(slice(version_2, sizeof version_2), &minor),
                     ZMTP_OTHER_VERSION);
    buf_append(&out, zmtp_greeting().data, ZMTP_GREETING_BYTES);
    memcpy(out.data + 12, "CURVE", 5);
    assert_int_equal(zmtp_read_greeting(buf_slice(&out), &minor), ZMTP_OTHER_MECHANISM);
    memcpy(out.data + 12, "NULLs", 5);
    assert_int_equal(zmtp_read_greeting(buf_slice(&out), &minor), ZMTP_OTHER_MECHANISM);
    buf_deinit(&out);
}

static void frames_of_any_size_come_back(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 255, 256, 70000};
    static uint8_t body[70000];
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        buf_t out = {0};
        zmtp_frame_t frame;
        memset(body, (int)i, sizeof body);
        zmtp_write_frame(&out, ZMTP_MORE, slice(body, sizes[i]));
        for (size_t len = 0; len < out.len; len += len < 300 ? 1 : 997) {
            assert_int_equal(zmtp_read_frame(slice(out.data, len), sizes[i], &frame), ZMTP_PARTIAL);
        }
        assert_int_equal(zmtp_read_frame(buf_slice(&out), sizes[i], &frame), 0);
        assert_true(frame.flags & ZMTP_MORE && frame.size == out.len);
        assert_true(slice_equal(frame.body, slice(body, sizes[i])));
        if (sizes[i] > 0) {
            assert_int_equal(zmtp_read_frame(buf_slice(&out), sizes[i] - 1, &frame),
                             ZMTP_MALFORMED);
        }
        buf_deinit(&out);
    }
}

static void flags_that_no_version_has_are_malformed(void **state)
{
    (void)state;
    for (unsigned flags = 0; flags < 256; flags++) {
        uint8_t bytes[9] = {(uint8_t)flags};
        zmtp_frame_t frame;
        bool is_fine = flags < 8 && flags != (ZMTP_COMMAND | ZMTP_MORE) &&
                       flags != (ZMTP_COMMAND | ZMTP_MORE | ZMTP_LONG);
        assert_int_equal(zmtp_read_frame(slice(bytes, sizeof bytes), 10, &frame),
                         is_fine ? 0 : ZMTP_MALFORMED);
    }
}

static void ready_tells_the_socket_type(void **state)
{
    (void)state;
    static const uint8_t others[] = "\10Identity\0\0\0\2me\13SOCKET-type\0\0\0\4XSUB";
    static const uint8_t none[] = "\10Identity\0\0\0\2me";
    buf_t out = {0};
    zmtp_frame_t frame;
    slice_t content;
    slice_t type;
    zmtp_write_ready(&out, "SUB");
    assert_int_equal(zmtp_read_frame(buf_slice(&out), 100, &frame), 0);
    assert_int_equal(frame.flags, ZMTP_COMMAND);
    assert_false(zmtp_is_command(frame.body, "ERROR", &content));
    assert_true(zmtp_is_command(frame.body, "READY", &content));
    assert_int_equal(zmtp_read_ready(content, &type), 0);
    assert_true(slice_equal(type, slice_str("SUB")));
    for (size_t len = 0; len < content.len; len++) {
        assert_int_equal(zmtp_read_ready(slice(content.data, len), &type), ZMTP_MALFORMED);
    }
    assert_int_equal(zmtp_read_ready(slice(others, sizeof others - 1), &type), 0);
    assert_true(slice_equal(type, slice_str("XSUB")));
    assert_int_equal(zmtp_read_ready(slice(none, sizeof none - 1), &type), ZMTP_MALFORMED);
    buf_deinit(&out);
}

static void a_ping_is_answered_with_its_context(void **state)
{
    (void)state;
    buf_t ping = {0};
    buf_t pong = {0};
    zmtp_frame_t frame;
    slice_t content;
    zmtp_write_ping(&ping, 150);
    assert_int_equal(zmtp_read_frame(buf_slice(&ping), 100, &frame), 0);
    assert_true(zmtp_is_command(frame.body, "PING", &content));
    assert_true(slice_equal(content, slice("\0\226", 2)));
    assert_true(zmtp_write_pong(&pong, slice("\0\1context", 9)));
    assert_int_equal(zmtp_read_frame(buf_slice(&pong), 100, &frame), 0);
    assert_true(zmtp_is_command(frame.body, "PONG", &content));
    assert_true(slice_equal(content, slice_str("context")));
    assert_false(zmtp_write_pong(&pong, slice("\0", 1)));
    assert_false(zmtp_write_pong(&pong, slice("\0\1a context of 17..", 19)));
    buf_deinit(&ping);
    buf_deinit(&pong);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_greeting_is_read_when_it_is_whole),
        cmocka_unit_test(other_versions_and_mechanisms_are_told_apart),
        cmocka_unit_test(frames_of_any_size_come_back),
        cmocka_unit_test(flags_that_no_version_has_are_malformed),
        cmocka_unit_test(ready_tells_the_socket_type),
        cmocka_unit_test(a_ping_is_answered_with_its_context),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
