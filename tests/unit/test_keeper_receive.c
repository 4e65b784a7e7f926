/* The receiving end of a snapshot, message by message: chunks are taken in order, one snapshot at a time;
 * what is not right is never handed over; what is given up leaves nothing; a failing disk stops the node. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "messages/limits.h"
#include "messages/xalloc.h"
#include "store/snapshot_stream.h"
#include "tests/support/keeper_rig.h"

enum { SENDER = 0xa, RECEIVER = 0xb, TRANSFER = 7, SECOND_US = 1000000 };

typedef struct {
    bytes_t *chunks[64];
    size_t count;
    uint64_t rows;
    uint32_t checksum;
    peer_snap_meta_t meta;
} script_t;

/* What a sender would send of a store with some keys. */
static void script_init(script_t *self, uint64_t keys)
{
    *self = (script_t){0};
    keeper_member_t sender;
    keeper_member_init(&sender, SENDER);
    keeper_member_fill(&sender, keys, 1000);
    mvcc_head_t head = keeper_head(sender.store);
    self->meta = (peer_snap_meta_t){.index = head.applied_index,
                                    .log_term = head.term,
                                    .configuration = bytes_new("three members", 13)};
    snapshot_reader_t *reader = snapshot_reader_new(kv_latest(keeper_member_kv(&sender)));
    buf_t chunk = {0};
    for (bool is_last = false; !is_last;) {
        assert_int_equal(snapshot_reader_next(reader, &chunk, &is_last), 0);
        self->chunks[self->count++] = buf_bytes(&chunk);
    }
    self->rows = snapshot_reader_rows(reader);
    self->checksum = snapshot_reader_checksum(reader);
    buf_deinit(&chunk);
    snapshot_reader_destroy(&reader);
    keeper_member_deinit(&sender);
    assert_true(self->count > 3);
}

static void script_deinit(script_t *self)
{
    for (size_t i = 0; i < self->count; i++) {
        bytes_unref(&self->chunks[i]);
    }
    bytes_unref(&self->meta.configuration);
}

static void give(keeper_member_t *receiver, const script_t *script, uint64_t seq)
{
    peer_msg_t *content = peer_msg_new(PEER_SNAP_CHUNK, 5);
    content->u.snap_chunk = (peer_snap_chunk_t){
        .id = TRANSFER,
        .seq = seq,
        .rows = bytes_ref(script->chunks[seq]),
        .is_last = seq + 1 == script->count,
        .row_count = script->rows,
        .checksum = script->checksum,
    };
    keeper_hear(receiver, SENDER, &content);
}

static void expect_ack(keeper_member_t *receiver, uint64_t next_seq, bool is_done)
{
    peer_msg_t *content = keeper_expect_peer(receiver, SENDER, PEER_SNAP_ACK);
    assert_int_equal(content->term, 5);
    assert_int_equal(content->u.snap_ack.id, TRANSFER);
    assert_int_equal(content->u.snap_ack.next_seq, next_seq);
    assert_int_equal(content->u.snap_ack.is_done, is_done);
    assert_false(content->u.snap_ack.is_refused);
    peer_msg_free(&content);
}

static void expect_refusal(keeper_member_t *receiver)
{
    peer_msg_t *content = keeper_expect_peer(receiver, SENDER, PEER_SNAP_ACK);
    assert_true(content->u.snap_ack.is_refused);
    peer_msg_free(&content);
}

static void start_receiving(keeper_member_t *receiver, const script_t *script)
{
    keeper_member_init(receiver, RECEIVER);
    keeper_take(receiver, SENDER, TRANSFER, &script->meta);
    expect_ack(receiver, 0, false);
}

/* Everything but the last chunk. */
static void give_most(keeper_member_t *receiver, const script_t *script)
{
    for (uint64_t seq = 0; seq + 1 < script->count; seq++) {
        give(receiver, script, seq);
        expect_ack(receiver, seq + 1, false);
    }
}

static msg_t *expect_received(keeper_member_t *receiver)
{
    actor_id_t to = ACTOR_NONE;
    msg_t *msg = keeper_next(receiver, &to);
    assert_non_null(msg);
    assert_int_equal(to, ACTOR_REPLICATOR);
    assert_int_equal(msg->kind, MSG_SNAP_RECEIVED);
    return msg;
}

static void chunks_are_taken_in_order(void **state)
{
    (void)state;
    script_t script;
    keeper_member_t receiver;
    script_init(&script, 1000);
    start_receiving(&receiver, &script);
    keeper_take(&receiver, SENDER, TRANSFER, &script.meta); /* the announcement, once more */
    expect_ack(&receiver, 0, false);
    give(&receiver, &script, 1);
    expect_ack(&receiver, 0, false);
    give(&receiver, &script, 0);
    expect_ack(&receiver, 1, false);
    give(&receiver, &script, 0);
    expect_ack(&receiver, 1, false);
    give(&receiver, &script, script.count - 1); /* the last one, too early */
    expect_ack(&receiver, 1, false);
    keeper_take(&receiver, SENDER, TRANSFER, &script.meta);
    expect_ack(&receiver, 1, false);
    for (uint64_t seq = 1; seq + 1 < script.count; seq++) {
        give(&receiver, &script, seq);
        expect_ack(&receiver, seq + 1, false);
    }
    give(&receiver, &script, script.count - 1);
    msg_t *received = expect_received(&receiver);
    expect_ack(&receiver, script.count, false);
    give(&receiver, &script, script.count - 1); /* the acknowledgement was lost */
    expect_ack(&receiver, script.count, false); /* not done: it is not installed yet */
    keeper_expect_silence(&receiver);
    msg_free(&received);
    keeper_member_deinit(&receiver);
    script_deinit(&script);
}

static size_t generations_there(const keeper_member_t *member)
{
    size_t count = 0;
    for (uint64_t generation = 1; generation < 10; generation++) {
        count += generations_memory_has(member->generations, generation);
    }
    return count;
}

/* After RESTORED the new store is the keeper's, too; the old one goes when nobody reads it any more. */
static void the_old_store_goes_after_its_last_reader(void **state)
{
    (void)state;
    script_t script;
    keeper_member_t receiver;
    script_init(&script, 1000);
    start_receiving(&receiver, &script);
    give_most(&receiver, &script);
    give(&receiver, &script, script.count - 1);
    msg_t *received = expect_received(&receiver);
    expect_ack(&receiver, script.count, false);
    shared_t *store = shared_ref(received->u.snap.store);
    char *error = NULL;
    assert_int_equal(
        generations_put_in_force(receiver.generations, received->u.snap.generation, store, &error),
        0);
    msg_free(&received);
    keeper_restored(&receiver, store);
    expect_ack(&receiver, script.count, true);
    keeper_run(&receiver);
    assert_int_equal(generations_there(&receiver), 2); /* receiver.store reads the old one */
    shared_t *old = receiver.store;
    receiver.store = store;
    shared_unref(&old);
    receiver.test.now_us += SECOND_US;
    keeper_run(&receiver);
    assert_int_equal(generations_there(&receiver), 1);
    assert_true(receiver.test.ops->deadline(receiver.test.core) == DEADLINE_NONE);

    give(&receiver, &script, script.count - 1); /* the sender still asks */
    expect_ack(&receiver, script.count, true);
    keeper_read(&receiver, 9, SENDER); /* and it can be sent on */
    peer_msg_t *meta = keeper_expect_peer(&receiver, SENDER, PEER_SNAP_META);
    assert_int_equal(meta->u.snap_meta.index, script.meta.index);
    peer_msg_free(&meta);
    keeper_member_deinit(&receiver);
    script_deinit(&script);
}

static void a_dropped_one_leaves_nothing(void **state)
{
    (void)state;
    script_t script;
    keeper_member_t receiver;
    script_init(&script, 1000);
    start_receiving(&receiver, &script);
    give(&receiver, &script, 0);
    expect_ack(&receiver, 1, false);
    keeper_drop(&receiver, SENDER, TRANSFER + 1); /* another one */
    keeper_drop(&receiver, SENDER + 1, TRANSFER);
    keeper_run(&receiver);
    assert_int_equal(generations_there(&receiver), 2);
    keeper_drop(&receiver, SENDER, TRANSFER);
    keeper_run(&receiver);
    assert_int_equal(generations_there(&receiver), 1);
    give(&receiver, &script, 1);
    expect_refusal(&receiver);
    keeper_expect_silence(&receiver);

    /* Also when it was complete already, and its taker holds it for a while. */
    keeper_take(&receiver, SENDER, TRANSFER, &script.meta);
    expect_ack(&receiver, 0, false);
    give_most(&receiver, &script);
    give(&receiver, &script, script.count - 1);
    msg_t *received = expect_received(&receiver);
    expect_ack(&receiver, script.count, false);
    keeper_drop(&receiver, SENDER, TRANSFER);
    keeper_run(&receiver);
    assert_int_equal(generations_there(&receiver), 2);
    msg_free(&received);
    receiver.test.now_us += SECOND_US;
    keeper_run(&receiver);
    assert_int_equal(generations_there(&receiver), 1);
    keeper_member_deinit(&receiver);
    script_deinit(&script);
}

static void another_one_takes_its_place(void **state)
{
    (void)state;
    script_t script;
    keeper_member_t receiver;
    script_init(&script, 1000);
    start_receiving(&receiver, &script);
    give(&receiver, &script, 0);
    expect_ack(&receiver, 1, false);
    keeper_take(&receiver, SENDER, TRANSFER + 1, &script.meta);
    peer_msg_t *content = keeper_expect_peer(&receiver, SENDER, PEER_SNAP_ACK);
    assert_int_equal(content->u.snap_ack.id, TRANSFER + 1);
    assert_int_equal(content->u.snap_ack.next_seq, 0);
    peer_msg_free(&content);
    give(&receiver, &script, 1);
    expect_refusal(&receiver);
    keeper_run(&receiver);
    assert_int_equal(generations_there(&receiver), 2);
    keeper_member_deinit(&receiver);
    script_deinit(&script);
}

/* One installation at a time: until RESTORED comes, no other is begun. */
static void while_one_is_installed_others_are_refused(void **state)
{
    (void)state;
    script_t script;
    keeper_member_t receiver;
    script_init(&script, 1000);
    start_receiving(&receiver, &script);
    give_most(&receiver, &script);
    give(&receiver, &script, script.count - 1);
    msg_t *received = expect_received(&receiver);
    expect_ack(&receiver, script.count, false);
    keeper_take(&receiver, SENDER, TRANSFER + 1, &script.meta);
    expect_refusal(&receiver);
    assert_int_equal(generations_there(&receiver), 2);
    msg_free(&received);
    keeper_member_deinit(&receiver);
    script_deinit(&script);
}

static void a_sender_that_stops_is_given_up(void **state)
{
    (void)state;
    script_t script;
    keeper_member_t receiver;
    script_init(&script, 1000);
    start_receiving(&receiver, &script);
    give(&receiver, &script, 0);
    expect_ack(&receiver, 1, false);
    assert_int_equal(receiver.test.ops->deadline(receiver.test.core),
                     receiver.test.now_us + LIMIT_SNAPSHOT_SILENCE_US);
    receiver.test.now_us += LIMIT_SNAPSHOT_SILENCE_US;
    keeper_run(&receiver);
    assert_int_equal(generations_there(&receiver), 1);
    give(&receiver, &script, 1);
    expect_refusal(&receiver);
    keeper_take(&receiver, SENDER, TRANSFER, &script.meta); /* and may begin again */
    expect_ack(&receiver, 0, false);
    keeper_member_deinit(&receiver);
    script_deinit(&script);
}

/* ---- what is not right ---- */

typedef enum {
    WRONG_ROWS,
    WRONG_CHECKSUM,
    WRONG_INDEX,
    WRONG_TERM,
    WRONG_MEMBERS,
    CUT_CHUNK,
    LAST_TOO_EARLY,
    WRONG_COUNT
} wrong_t;

static void spoil(script_t *script, wrong_t how)
{
    bytes_t **chunk = &script->chunks[1];
    slice_t whole = bytes_slice(*chunk);
    bytes_t *cut = bytes_new(whole.data, whole.len - 1);
    switch (how) {
    case WRONG_ROWS: script->rows++; break;
    case WRONG_CHECKSUM: script->checksum ^= 1; break;
    case WRONG_INDEX: script->meta.index++; break;
    case WRONG_TERM: script->meta.log_term++; break;
    case WRONG_MEMBERS:
        bytes_unref(&script->meta.configuration);
        script->meta.configuration = bytes_new("other members", 13);
        break;
    case CUT_CHUNK:
        bytes_unref(chunk);
        *chunk = bytes_ref(cut);
        break;
    default:
        while (script->count > 2) {
            bytes_unref(&script->chunks[--script->count]);
        }
    }
    bytes_unref(&cut);
}

static void what_is_not_right_is_not_handed_over(void **state)
{
    (void)state;
    for (int how = 0; how < WRONG_COUNT; how++) {
        script_t script;
        keeper_member_t receiver;
        script_init(&script, 1000);
        spoil(&script, (wrong_t)how);
        start_receiving(&receiver, &script);
        uint64_t seq = 0;
        for (; seq < script.count; seq++) {
            give(&receiver, &script, seq);
            peer_msg_t *content = keeper_expect_peer(&receiver, SENDER, PEER_SNAP_ACK);
            bool refused = content->u.snap_ack.is_refused;
            peer_msg_free(&content);
            if (refused) {
                break;
            }
        }
        assert_int_equal(seq, how == CUT_CHUNK ? 1 : script.count - 1);
        keeper_run(&receiver);
        assert_int_equal(generations_there(&receiver), 1);
        keeper_expect_silence(&receiver);
        assert_null(outbox_fatal_text(receiver.test.outbox));
        keeper_member_deinit(&receiver);
        script_deinit(&script);
    }
}

static void a_configuration_that_no_log_takes_is_refused(void **state)
{
    (void)state;
    script_t script;
    keeper_member_t receiver;
    script_init(&script, 1000);
    keeper_member_init(&receiver, RECEIVER);
    uint8_t *room = NULL;
    bytes_t *right = script.meta.configuration;
    script.meta.configuration = bytes_alloc(LIMIT_WAL_CONFIGURATION_BYTES + 1, &room);
    memset(room, 1, LIMIT_WAL_CONFIGURATION_BYTES + 1);
    keeper_take(&receiver, SENDER, TRANSFER, &script.meta);
    expect_refusal(&receiver);
    bytes_unref(&script.meta.configuration);
    keeper_take(&receiver, SENDER, TRANSFER, &script.meta); /* none at all */
    expect_refusal(&receiver);
    script.meta.configuration = right;
    keeper_member_deinit(&receiver);
    script_deinit(&script);
}

/* ---- a disk that fails: the k-th call, for every k ---- */

typedef struct {
    generations_t base;
    generations_t *real;
    int left; /* calls that succeed */
} failing_t;

static int fails(generations_t *base, char **error)
{
    failing_t *self = (failing_t *)base;
    if (self->left-- > 0) {
        return 0;
    }
    *error = xstrdup("the disk is gone");
    return -5;
}

static uint64_t failing_current(const generations_t *base)
{
    return generations_current(((const failing_t *)base)->real);
}

static int failing_prepare(generations_t *base, uint64_t *generation, shared_t **store_p,
                           char **error)
{
    return fails(base, error)
               ? -5
               : generations_prepare(((failing_t *)base)->real, generation, store_p, error);
}

static int failing_seal(generations_t *base, uint64_t generation, shared_t *store, char **error)
{
    return fails(base, error)
               ? -5
               : generations_seal(((failing_t *)base)->real, generation, store, error);
}

static int failing_remove(generations_t *base, uint64_t generation, char **error)
{
    return fails(base, error) ? -5
                              : generations_remove(((failing_t *)base)->real, generation, error);
}

static const generations_ops_t failing_ops = {
    .current = failing_current,
    .prepare = failing_prepare,
    .seal = failing_seal,
    .remove = failing_remove,
};

/* A transfer that is received, dropped, and removed. */
static void receive_and_drop(keeper_member_t *receiver, const script_t *script)
{
    actor_id_t to = ACTOR_NONE;
    msg_t *msg = NULL;
    keeper_take(receiver, SENDER, TRANSFER, &script->meta);
    for (uint64_t seq = 0; seq < script->count; seq++) {
        give(receiver, script, seq);
    }
    while ((msg = keeper_next(receiver, &to))) {
        msg_free(&msg);
    }
    keeper_drop(receiver, SENDER, TRANSFER);
    core_test_flush(&receiver->test);
}

static void every_failing_call_stops_the_node(void **state)
{
    (void)state;
    script_t script;
    script_init(&script, 1000);
    int k = 0;
    for (bool failed = true; failed; k++) {
        keeper_member_t receiver;
        keeper_member_init(&receiver, RECEIVER);
        core_test_end(&receiver.test);
        failing_t failing = {
            .base = {.ops = &failing_ops}, .real = receiver.generations, .left = k};
        keeper_cfg_t cfg = {.generations = &failing.base};
        receiver.test =
            core_test_new(ACTOR_KEEPER, &keeper_ops, keeper_new(&cfg, &receiver.metrics));
        keeper_restored(&receiver, receiver.store);
        receive_and_drop(&receiver, &script);
        const char *text = outbox_fatal_text(receiver.test.outbox);
        failed = text != NULL;
        if (failed) {
            assert_non_null(strstr(text, "the disk is gone"));
            keeper_take(&receiver, SENDER, TRANSFER + 1, &script.meta);
            keeper_expect_silence(&receiver); /* nothing is tried again */
            assert_int_equal(failing.left, -1);
        }
        keeper_member_deinit(&receiver);
    }
    assert_int_equal(k, 4); /* prepare, seal, remove */
    script_deinit(&script);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_are_taken_in_order),
        cmocka_unit_test(the_old_store_goes_after_its_last_reader),
        cmocka_unit_test(a_dropped_one_leaves_nothing),
        cmocka_unit_test(another_one_takes_its_place),
        cmocka_unit_test(while_one_is_installed_others_are_refused),
        cmocka_unit_test(a_sender_that_stops_is_given_up),
        cmocka_unit_test(what_is_not_right_is_not_handed_over),
        cmocka_unit_test(a_configuration_that_no_log_takes_is_refused),
        cmocka_unit_test(every_failing_call_stops_the_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
