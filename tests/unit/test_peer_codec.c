/* Frames between members: their bytes are pinned; what the codec writes is what protobuf-c packs of
 * messages/peer.proto, and it reads what protobuf-c packs; whatever is damaged or makes no sense is
 * refused before anybody acts on it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "messages/buf.h"
#include "messages/crc32c.h"
#include "messages/limits.h"
#include "messages/xalloc.h"
#include "peer.pb-c.h"
#include "tests/support/peer_sample.h"

static const peer_header_t header = {.cluster_id = 0xcdf818194e3a8c32u,
                                     .from = 0x8e9e05c52164694du,
                                     .to = 0x91bc3c398fb3c146u,
                                     .incarnation = 0x0102030405060708u};

static void assert_bytes(const bytes_t *bytes, const uint8_t *expected, size_t len)
{
    assert_int_equal(bytes_len(bytes), len);
    assert_memory_equal(bytes_slice(bytes).data, expected, len);
}

static void a_heartbeat_has_these_bytes(void **state)
{
    (void)state;
    static const uint8_t golden[] = {
        0xcc, 0x1d, 0xb4, 0x30, 0x01,                         /* CRC-32C, version */
        0x09, 0x32, 0x8c, 0x3a, 0x4e, 0x19, 0x18, 0xf8, 0xcd, /* cluster */
        0x11, 0x4d, 0x69, 0x64, 0x21, 0xc5, 0x05, 0x9e, 0x8e, /* from */
        0x19, 0x46, 0xc1, 0xb3, 0x8f, 0x39, 0x3c, 0xbc, 0x91, /* to */
        0x21, 0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, /* incarnation */
        0x28, 0x07, 0x30, 0x08,                               /* term, kind */
        0x5a, 0x05, 0x08, 0xe8, 0x07, 0x10, 0x2a,             /* commit, round */
    };
    peer_msg_t *msg = peer_msg_new(PEER_HEARTBEAT, 7);
    msg->u.heartbeat = (peer_heartbeat_t){.commit = 1000, .round = 42};
    bytes_t *frame = peer_frame_encode(&header, msg);
    assert_bytes(frame, golden, sizeof golden);
    bytes_unref(&frame);
    peer_msg_free(&msg);
}

static void an_append_has_these_bytes(void **state)
{
    (void)state;
    static const uint8_t golden[] = {
        0x7a, 0xe2, 0x89, 0x01, 0x01,                               /* CRC-32C, version */
        0x09, 0x32, 0x8c, 0x3a, 0x4e, 0x19, 0x18, 0xf8, 0xcd,       /* cluster */
        0x11, 0x4d, 0x69, 0x64, 0x21, 0xc5, 0x05, 0x9e, 0x8e,       /* from */
        0x19, 0x46, 0xc1, 0xb3, 0x8f, 0x39, 0x3c, 0xbc, 0x91,       /* to */
        0x21, 0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01,       /* incarnation */
        0x28, 0x07, 0x30, 0x06,                                     /* term, kind */
        0x4a, 0x15, 0x08, 0x05, 0x10, 0x03, 0x18, 0x05, 0x20, 0x09, /* prev, commit, round */
        0x2a, 0x07, 0x08, 0x07, 0x1a, 0x03, 'a',  'b',  'c',        /* an entry of term 7 */
        0x2a, 0x02, 0x08, 0x07,                                     /* an empty one */
    };
    peer_msg_t *msg = peer_msg_new(PEER_APPEND, 7);
    msg->u.append = (peer_append_t){.prev_index = 5, .prev_term = 3, .commit = 5, .round = 9};
    entry_t entry = {.index = 6, .term = 7, .payload = bytes_new("abc", 3)};
    entries_append(&msg->u.append.entries, &entry);
    bytes_unref(&entry.payload);
    entry.index = 7;
    entries_append(&msg->u.append.entries, &entry);
    bytes_t *frame = peer_frame_encode(&header, msg);
    assert_bytes(frame, golden, sizeof golden);
    bytes_unref(&frame);
    peer_msg_free(&msg);
}

/* A kind's number is on the wire: it stays, whatever kinds come. */
static void kinds_keep_their_numbers(void **state)
{
    (void)state;
    assert_int_equal(PEER_KINDS_COUNT, quoral__peer_kind__descriptor.n_values);
    for (unsigned kind = 1; kind < PEER_KINDS_COUNT; kind++) {
        const ProtobufCEnumValue *value =
            protobuf_c_enum_descriptor_get_value(&quoral__peer_kind__descriptor, (int)kind);
        assert_non_null(value);
        assert_string_equal(value->name, peer_kind_name((peer_kind_t)kind));
    }
}

static peer_msg_t *read_frame(const bytes_t *bytes)
{
    peer_frame_t frame;
    peer_msg_t *msg = NULL;
    assert_int_equal(peer_frame_open(bytes_slice(bytes), &frame), 0);
    assert_memory_equal(&frame.header, &header, sizeof header);
    assert_int_equal(peer_frame_decode(&frame, &msg), 0);
    assert_int_equal(msg->incarnation, header.incarnation);
    assert_int_equal(msg->kind, frame.kind);
    return msg;
}

static void assert_same_entries(const peer_msg_t *a, const peer_msg_t *b)
{
    if (a->kind != PEER_APPEND) {
        return;
    }
    assert_int_equal(a->u.append.entries.bytes, b->u.append.entries.bytes);
    for (size_t i = 0; i < a->u.append.entries.count; i++) {
        assert_int_equal(a->u.append.entries.items[i].index, b->u.append.entries.items[i].index);
    }
}

/* Both directions, all kinds, any content. */
static void protobuf_c_packs_and_reads_the_same(void **state)
{
    (void)state;
    prng_t prng = {.state = 7};
    for (unsigned round = 0; round < 300; round++) {
        for (unsigned kind = 1; kind < PEER_KINDS_COUNT; kind++) {
            peer_msg_t *msg = peer_sample((peer_kind_t)kind, &prng);
            bytes_t *packed = peer_sample_pack(&header, msg);
            bytes_t *written = peer_frame_encode(&header, msg);
            assert_true(slice_equal(bytes_slice(packed), bytes_slice(written)));
            peer_msg_t *read = read_frame(packed);
            assert_int_equal(read->term, msg->term);
            assert_same_entries(read, msg);
            bytes_t *again = peer_frame_encode(&header, read);
            assert_true(slice_equal(bytes_slice(again), bytes_slice(written)));
            bytes_unref(&packed);
            bytes_unref(&written);
            bytes_unref(&again);
            peer_msg_free(&read);
            peer_msg_free(&msg);
        }
    }
}

/* ---- refusing ---- */

/* The outcome of both steps. */
static int outcome_of(slice_t bytes)
{
    peer_frame_t frame;
    peer_msg_t *msg = NULL;
    uint8_t *exact = xmalloc(bytes.len ? bytes.len : 1);
    memcpy(exact, bytes.data, bytes.len);
    int rc = peer_frame_open(slice(exact, bytes.len), &frame);
    if (rc == 0) {
        rc = peer_frame_decode(&frame, &msg);
        assert_true((rc == 0) == (msg != NULL));
        peer_msg_free(&msg);
    }
    free(exact);
    return rc;
}

static void every_flipped_bit_is_noticed(void **state)
{
    (void)state;
    prng_t prng = {.state = 1};
    peer_msg_t *msg = peer_sample(PEER_APPEND, &prng);
    bytes_t *frame = peer_frame_encode(&header, msg);
    slice_t whole = bytes_slice(frame);
    uint8_t *copy = xmemdup(whole.data, whole.len);
    for (size_t bit = 0; bit < whole.len * 8; bit++) {
        copy[bit / 8] = (uint8_t)(copy[bit / 8] ^ 1u << bit % 8);
        assert_int_equal(outcome_of(slice(copy, whole.len)), PEER_FRAME_DAMAGED);
        copy[bit / 8] = whole.data[bit / 8];
    }
    for (size_t len = 0; len < whole.len; len++) {
        assert_int_not_equal(outcome_of(slice(copy, len)), 0);
    }
    assert_int_equal(outcome_of(whole), 0);
    free(copy);
    bytes_unref(&frame);
    peer_msg_free(&msg);
}

/* The frame around `content` of this kind; both may be anything. */
static int outcome_of_parts(unsigned kind, uint32_t number, slice_t content)
{
    buf_t out = {0};
    static const uint8_t from[] = {0x11, 1, 0, 0, 0, 0, 0, 0, 0};
    buf_append(&out, from, sizeof from);
    buf_field_u64(&out, 5, 9);
    buf_field_u64(&out, 6, kind);
    if (number) {
        buf_field_bytes(&out, number, content);
    }
    bytes_t *frame = peer_sample_wrap(buf_slice(&out));
    int rc = outcome_of(bytes_slice(frame));
    bytes_unref(&frame);
    buf_deinit(&out);
    return rc;
}

static void content_must_be_the_kinds(void **state)
{
    (void)state;
    slice_t none = slice_str("");
    assert_int_equal(outcome_of_parts(PEER_HEARTBEAT, 11, none), 0);
    assert_int_equal(outcome_of_parts(PEER_WHO, 0, none), 0);
    assert_int_equal(outcome_of_parts(PEER_WHO, 200, none), 0); /* of a later version */
    assert_int_equal(outcome_of_parts(PEER_HEARTBEAT, 0, none), PEER_FRAME_MALFORMED);
    assert_int_equal(outcome_of_parts(PEER_HEARTBEAT, 10, none), PEER_FRAME_MALFORMED);
    assert_int_equal(outcome_of_parts(PEER_WHO, 11, none), PEER_FRAME_MALFORMED);
    assert_int_equal(outcome_of_parts(PEER_NONE, 0, none), PEER_FRAME_MALFORMED);
    assert_int_equal(outcome_of_parts(PEER_KINDS_COUNT, 0, none), PEER_FRAME_MALFORMED);
    assert_int_equal(outcome_of_parts(PEER_SNAP_META, 17, none), PEER_FRAME_MALFORMED);
    assert_int_equal(outcome_of_parts(PEER_CLUSTER, 21, none), PEER_FRAME_MALFORMED);
}

static void heads_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        int outcome;
    } cases[] = {
        {"\x11\1\0\0\0\0\0\0\0\x30\x16", 11, 0},                                /* WHO, from 1 */
        {"\x30\x16", 2, PEER_FRAME_MALFORMED},                                  /* from nobody */
        {"\x11\1\0\0\0\0\0\0\0", 9, PEER_FRAME_MALFORMED},                      /* no kind */
        {"\x10\1\x30\x16", 4, PEER_FRAME_MALFORMED},                            /* from: a varint */
        {"\x11\1\0\0\0\0\0\0\0\x30\x16\x5a", 12, PEER_FRAME_MALFORMED},         /* cut */
        {"\x11\1\0\0\0\0\0\0\0\x30\x08\x5a\0\x5a\0", 15, PEER_FRAME_MALFORMED}, /* twice */
        {"\x11\1\0\0\0\0\0\0\0\x30\x08\x58\0", 13, PEER_FRAME_MALFORMED},       /* a varint */
        {"\x11\1\0\0\0\0\0\0\0\x28\x81\x80\x80\x80\x80\x80\x80\x80\x40\x30\x16", 21,
         PEER_FRAME_MALFORMED}, /* a term of 2^62 + 1 */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bytes_t *frame = peer_sample_wrap(slice(cases[i].bytes, cases[i].len));
        assert_int_equal(outcome_of(bytes_slice(frame)), cases[i].outcome);
        bytes_unref(&frame);
    }
    uint8_t later[] = {0, 0, 0, 0, 2};
    uint32_t crc = crc32c(0, later + 4, 1);
    memcpy(later, &crc, sizeof crc); /* both little-endian */
    assert_int_equal(outcome_of(slice(later, sizeof later)), PEER_FRAME_VERSION);
    bytes_t *empty = peer_sample_wrap(slice_str(""));
    assert_int_equal(outcome_of(bytes_slice(empty)), PEER_FRAME_MALFORMED);
    bytes_unref(&empty);
    assert_string_equal(peer_frame_error(PEER_FRAME_VERSION), "unknown version");
}

static void append_of(buf_t *out, uint64_t prev_index, uint64_t prev_term)
{
    buf_field_u64(out, 1, prev_index);
    buf_field_u64(out, 2, prev_term);
}

static void entry_of(buf_t *out, uint64_t term, uint64_t type, slice_t payload)
{
    buf_t entry = {0};
    buf_field_u64(&entry, 1, term);
    buf_field_u64(&entry, 2, type);
    buf_field_bytes(&entry, 3, payload);
    buf_field_bytes(out, 5, buf_slice(&entry));
    buf_deinit(&entry);
}

static void assert_append(buf_t *content, int outcome)
{
    assert_int_equal(outcome_of_parts(PEER_APPEND, 9, buf_slice(content)), outcome);
    buf_deinit(content);
}

/* What a log must never hold is refused here, so that nobody behind meets it. The frame's term is 9. */
static void entries_must_fit_a_log(void **state)
{
    (void)state;
    slice_t text = slice_str("x");
    buf_t content = {0};
    append_of(&content, 5, 3);
    entry_of(&content, 3, 0, text);
    entry_of(&content, 9, 0, text);
    assert_append(&content, 0);
    entry_of(&content, 1, 0, text); /* the first entries of all */
    assert_append(&content, 0);

    append_of(&content, 5, 0);
    assert_append(&content, PEER_FRAME_MALFORMED);
    append_of(&content, 5, 10);
    assert_append(&content, PEER_FRAME_MALFORMED);
    append_of(&content, LIMIT_PEER_NUMBER + 1, 3);
    assert_append(&content, PEER_FRAME_MALFORMED);
    append_of(&content, 5, 3);
    entry_of(&content, 2, 0, text); /* goes back */
    assert_append(&content, PEER_FRAME_MALFORMED);
    append_of(&content, 5, 3);
    entry_of(&content, 10, 0, text); /* above the message's term */
    assert_append(&content, PEER_FRAME_MALFORMED);
    entry_of(&content, 0, 0, text);
    assert_append(&content, PEER_FRAME_MALFORMED);
    entry_of(&content, 1, 2, text); /* no such type */
    assert_append(&content, PEER_FRAME_MALFORMED);
    buf_field_bytes(&content, 5, slice_str("\x0a"));
    assert_append(&content, PEER_FRAME_MALFORMED);
    for (size_t i = 0; i < LIMIT_APPEND_ENTRIES; i++) {
        entry_of(&content, 1, 0, text);
    }
    buf_t one_more = {0};
    buf_append(&one_more, content.data, content.len);
    entry_of(&one_more, 1, 0, text);
    assert_append(&content, 0);
    assert_append(&one_more, PEER_FRAME_MALFORMED);
}

static void configurations_must_be_decodable(void **state)
{
    (void)state;
    bytes_t *members = peer_sample_members(3, true);
    bytes_t *only_learner = peer_sample_members(1, true);
    const struct {
        slice_t encoded;
        int outcome;
    } cases[] = {
        {bytes_slice(members), 0},
        {bytes_slice(only_learner), PEER_FRAME_MALFORMED},
        {slice_str(""), PEER_FRAME_MALFORMED},
        {slice_str("x"), PEER_FRAME_MALFORMED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf_t content = {0};
        entry_of(&content, 1, ENTRY_CONFIGURATION, cases[i].encoded);
        assert_append(&content, cases[i].outcome);
        buf_field_bytes(&content, 3, cases[i].encoded);
        assert_int_equal(outcome_of_parts(PEER_CLUSTER, 21, buf_slice(&content)), cases[i].outcome);
        buf_deinit(&content);
    }
    /* Two bytes each, a hundred each once decoded. */
    buf_t bomb = {0};
    for (size_t i = 0; i <= LIMIT_MESSAGE_FIELDS; i++) {
        buf_field_bytes(&bomb, 1, slice_str(""));
    }
    buf_append(&bomb, bytes_slice(members).data, bytes_len(members));
    buf_t content = {0};
    entry_of(&content, 1, ENTRY_CONFIGURATION, buf_slice(&bomb));
    assert_append(&content, PEER_FRAME_MALFORMED);
    buf_deinit(&bomb);
    bytes_unref(&members);
    bytes_unref(&only_learner);
}

static void forwards_must_hold_proposals(void **state)
{
    (void)state;
    buf_t content = {0};
    assert_int_equal(outcome_of_parts(PEER_PROPOSE_FWD, 13, slice_str("\x12\x03\x12\x01x")), 0);
    assert_int_equal(outcome_of_parts(PEER_PROPOSE_FWD, 13, slice("\x12\0", 2)),
                     PEER_FRAME_MALFORMED);
    for (size_t i = 0; i < LIMIT_FORWARD_ITEMS; i++) {
        buf_append(&content, "\x12\x03\x12\x01x", 5);
    }
    assert_int_equal(outcome_of_parts(PEER_PROPOSE_FWD, 13, buf_slice(&content)), 0);
    buf_append(&content, "\x12\x03\x12\x01x", 5);
    assert_int_equal(outcome_of_parts(PEER_PROPOSE_FWD, 13, buf_slice(&content)),
                     PEER_FRAME_MALFORMED);
    buf_deinit(&content);
    assert_int_equal(outcome_of_parts(PEER_LEASE_FWD, 15, slice_str("\x10\x03")),
                     PEER_FRAME_MALFORMED); /* no such operation */
}

/* Numbers of errors differ between versions, texts do not. */
static void first_ids_leave_room_to_grow(void **state)
{
    (void)state;
    static const uint64_t seeds[] = {0, 1, UINT64_MAX, UINT64_MAX / 2, LIMIT_PEER_NUMBER};
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++) {
        peer_msg_t *msg = peer_msg_new(PEER_READ_FWD, 7);
        msg->u.read.id = peer_first_id(seeds[i]) + (1u << 30);
        bytes_t *frame = peer_frame_encode(&header, msg);
        peer_frame_t opened;
        peer_msg_t *read = NULL;
        assert_int_equal(peer_frame_open(bytes_slice(frame), &opened), 0);
        assert_int_equal(peer_frame_decode(&opened, &read), 0);
        assert_int_equal(read->u.read.id, msg->u.read.id);
        assert_true(peer_first_id(seeds[i]) > 0);
        peer_msg_free(&read);
        peer_msg_free(&msg);
        bytes_unref(&frame);
    }
}

static void errors_travel_as_texts(void **state)
{
    (void)state;
    for (int error = 0; error < API_ERRORS_COUNT; error++) {
        peer_msg_t *msg = peer_msg_new(PEER_PROPOSE_REJ, 1);
        msg->u.propose_reply.error = (api_error_t)error;
        bytes_t *frame = peer_frame_encode(&header, msg);
        peer_msg_t *read = read_frame(frame);
        assert_int_equal(read->u.propose_reply.error, error);
        peer_msg_free(&read);
        peer_msg_free(&msg);
        bytes_unref(&frame);
    }
    static const char unknown[] = "\x11\1\0\0\0\0\0\0\0\x30\x0e\x72\x05\x1a\x03new";
    bytes_t *frame = peer_sample_wrap(slice(unknown, sizeof unknown - 1));
    peer_frame_t opened;
    peer_msg_t *msg = NULL;
    assert_int_equal(peer_frame_open(bytes_slice(frame), &opened), 0);
    assert_int_equal(peer_frame_decode(&opened, &msg), 0);
    assert_int_equal(msg->u.propose_reply.error, API_UNHEALTHY);
    peer_msg_free(&msg);
    bytes_unref(&frame);
}

static void what_is_too_large_is_not_encoded(void **state)
{
    (void)state;
    uint8_t *data = NULL;
    peer_msg_t *msg = peer_msg_new(PEER_SNAP_CHUNK, 1);
    msg->u.snap_chunk.rows = bytes_alloc(LIMIT_PEER_FRAME_BYTES, &data);
    memset(data, 0, LIMIT_PEER_FRAME_BYTES);
    assert_null(peer_frame_encode(&header, msg));
    peer_msg_free(&msg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_heartbeat_has_these_bytes),
        cmocka_unit_test(an_append_has_these_bytes),
        cmocka_unit_test(kinds_keep_their_numbers),
        cmocka_unit_test(protobuf_c_packs_and_reads_the_same),
        cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(content_must_be_the_kinds),
        cmocka_unit_test(heads_that_make_no_sense_are_refused),
        cmocka_unit_test(entries_must_fit_a_log),
        cmocka_unit_test(configurations_must_be_decodable),
        cmocka_unit_test(forwards_must_hold_proposals),
        cmocka_unit_test(first_ids_leave_room_to_grow),
        cmocka_unit_test(errors_travel_as_texts),
        cmocka_unit_test(what_is_too_large_is_not_encoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
