/* Frames from other members, from arbitrary bytes. The first byte chooses: the rest is a frame as it stands;
 * or what a right checksum is put around; or the content of a kind. What is taken is taken alike by protobuf-c, and
 * written again it is read again, byte for byte. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "messages/buf.h"
#include "messages/limits.h"
#include "messages/wire.h"
#include "peer.pb-c.h"
#include "tests/support/peer_sample.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_entries(const peer_msg_t *msg)
{
    uint64_t term = msg->u.append.prev_term;
    for (size_t i = 0; i < msg->u.append.entries.count; i++) {
        const entry_t *entry = &msg->u.append.entries.items[i];
        assert(entry->index == msg->u.append.prev_index + 1 + i);
        assert(entry->term >= term && entry->term > 0 && entry->term <= msg->term);
        assert(entry->type == ENTRY_NORMAL || bytes_len(entry->payload) > 0);
        term = entry->term;
    }
}

static void check(const peer_frame_t *frame, const peer_msg_t *msg, slice_t bytes)
{
    assert(msg->kind == frame->kind && msg->incarnation == frame->header.incarnation);
    assert(msg->term <= LIMIT_PEER_NUMBER);
    if (msg->kind == PEER_APPEND) {
        check_entries(msg);
    }
    char text[200];
    peer_msg_print(msg, text, sizeof text);
    assert(peer_msg_cost(msg) >= sizeof *msg);
    bytes_t *written = peer_frame_encode(&frame->header, msg);
    assert(written);
    peer_frame_t again;
    peer_msg_t *read = NULL;
    int rc = peer_frame_open(bytes_slice(written), &again);
    assert(rc == 0);
    rc = peer_frame_decode(&again, &read);
    assert(rc == 0);
    bytes_t *twice = peer_frame_encode(&again.header, read);
    assert(slice_equal(bytes_slice(written), bytes_slice(twice)));
    bytes_t *packed = peer_sample_pack(&frame->header, msg);
    assert(slice_equal(bytes_slice(written), bytes_slice(packed)));
    Quoral__PeerFrame *unpacked = quoral__peer_frame__unpack(NULL, bytes.len - 5, bytes.data + 5);
    assert(unpacked);
    assert(unpacked->from == frame->header.from && unpacked->term == msg->term);
    quoral__peer_frame__free_unpacked(unpacked, NULL);
    bytes_unref(&packed);
    bytes_unref(&twice);
    bytes_unref(&written);
    peer_msg_free(&read);
}

static void run(slice_t bytes)
{
    peer_frame_t frame;
    peer_msg_t *msg = NULL;
    int rc = peer_frame_open(bytes, &frame);
    if (rc == 0) {
        rc = peer_frame_decode(&frame, &msg);
    }
    assert(rc == 0 || peer_frame_error(rc));
    if (msg) {
        check(&frame, msg, bytes);
    }
    peer_msg_free(&msg);
}

/* A frame that is right, but for its content: the input's bytes, or a right one followed by them. */
static bytes_t *around(uint8_t choice, slice_t content)
{
    prng_t prng = {.state = choice};
    peer_kind_t kind = (peer_kind_t)(1 + choice % (PEER_KINDS_COUNT - 1));
    peer_msg_t *msg = peer_sample(kind, &prng);
    const peer_header_t header = {.cluster_id = 1, .from = 2, .to = 3, .incarnation = 4};
    bytes_t *sample = peer_frame_encode(&header, msg);
    slice_t rest = bytes_slice(sample);
    rest = slice(rest.data + 5, rest.len - 5);
    buf_t out = {0};
    wire_field_t field;
    for (slice_t before = rest; wire_next(&rest, &field) == 0; before = rest) {
        if (field.number < 7) {
            buf_append(&out, before.data, before.len - rest.len);
            continue;
        }
        size_t kept = choice & 1 ? field.data.len : 0;
        buf_field_header(&out, field.number, kept + content.len);
        buf_append(&out, field.data.data, kept);
    }
    buf_append(&out, content.data, content.len);
    bytes_t *wrapped = peer_sample_wrap(buf_slice(&out));
    buf_deinit(&out);
    bytes_unref(&sample);
    peer_msg_free(&msg);
    return wrapped;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 2) {
        return 0;
    }
    slice_t rest = slice(data + 1, len - 1);
    bytes_t *frame = NULL;
    switch (data[0] % 3) {
    case 0: run(rest); return 0;
    case 1: frame = peer_sample_wrap(rest); break;
    default: frame = around(rest.data[0], slice(rest.data + 1, rest.len - 1));
    }
    run(bytes_slice(frame));
    bytes_unref(&frame);
    return 0;
}
