/* Snapshots from one keeper to others: what arrives is what was there when the reading began, whatever the
 * network loses, repeats and exchanges; and nothing waits for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "actors/core/prng.h"
#include "messages/limits.h"
#include "messages/xalloc.h"
#include "store/snapshot_stream.h"
#include "tests/support/keeper_rig.h"

enum { SENDER = 0xa, RECEIVER = 0xb, TRANSFER = 7, SECOND_US = 1000000 };

/* ---- both ends ---- */

typedef struct {
    keeper_member_t sender, receiver;
    /* What has come out for the replicators. */
    msg_t *done, *received;
    uint64_t metas, chunks; /* sent */
} pair_t;

static void pair_init(pair_t *self, uint64_t keys, size_t value_len)
{
    *self = (pair_t){0};
    keeper_member_init(&self->sender, SENDER);
    keeper_member_init(&self->receiver, RECEIVER);
    keeper_member_fill(&self->sender, keys, value_len);
}

static void pair_deinit(pair_t *self)
{
    msg_free(&self->done);
    msg_free(&self->received);
    keeper_member_deinit(&self->sender);
    keeper_member_deinit(&self->receiver);
}

/* A network that loses, repeats and holds back; seed 0 does neither. */
typedef struct {
    prng_t prng;
    bool is_bad;
    peer_msg_t *held;
    uint64_t held_from;
} network_t;

static void take_in(pair_t *self, keeper_member_t *to, uint64_t from, peer_msg_t **content)
{
    if ((*content)->kind == PEER_SNAP_META) { /* the receiver's replicator accepts it */
        self->metas++;
        keeper_take(to, from, (*content)->u.snap_meta.id, &(*content)->u.snap_meta);
        peer_msg_free(content);
        return;
    }
    self->chunks += (*content)->kind == PEER_SNAP_CHUNK;
    keeper_hear(to, from, content);
}

static peer_msg_t *copy_of(const peer_msg_t *content)
{
    peer_msg_t *copy = peer_msg_new(content->kind, content->term);
    copy->u = content->u;
    if (content->kind == PEER_SNAP_CHUNK) {
        bytes_ref(copy->u.snap_chunk.rows);
    } else if (content->kind == PEER_SNAP_META) {
        bytes_ref(copy->u.snap_meta.configuration);
    }
    return copy;
}

static void carry(pair_t *self, network_t *network, keeper_member_t *to, uint64_t from,
                  peer_msg_t **content)
{
    uint64_t luck = network->is_bad ? prng_below(&network->prng, 10) : 9;
    if (luck == 0) {
        peer_msg_free(content);
        return;
    }
    if (luck == 1) {
        peer_msg_t *copy = copy_of(*content);
        take_in(self, to, from, &copy);
    }
    if (luck == 2 && !network->held) { /* comes behind the next one */
        network->held = *content;
        network->held_from = from;
        *content = NULL;
        return;
    }
    take_in(self, to, from, content);
    if (network->held && network->held_from == from) {
        take_in(self, to, from, &network->held);
    }
}

/* Everything that one side has to say now. False: nothing. */
static bool speak(pair_t *self, network_t *network, keeper_member_t *from, keeper_member_t *to)
{
    actor_id_t receiver = ACTOR_NONE;
    msg_t *msg = keeper_next(from, &receiver);
    if (!msg) {
        return false;
    }
    if (receiver == ACTOR_PEER) {
        assert_int_equal(msg->u.peer.member, to->id);
        carry(self, network, to, from->id, &msg->u.peer.content);
        msg_free(&msg);
    } else {
        assert_int_equal(receiver, ACTOR_REPLICATOR);
        msg_t **slot = msg->kind == MSG_SNAP_DONE ? &self->done : &self->received;
        assert_null(*slot);
        *slot = msg;
        if (msg->kind == MSG_SNAP_RECEIVED) { /* replicator, log and applier do their part */
            char *error = NULL;
            assert_int_equal(generations_put_in_force(from->generations, msg->u.snap.generation,
                                                      msg->u.snap.store, &error),
                             0);
            keeper_restored(from, msg->u.snap.store);
        }
    }
    return true;
}

/* Until the transfer has ended for both, or nothing happens for longer than either waits. */
static void run(pair_t *self, network_t *network)
{
    for (int quiet = 0; quiet < 100 && !(self->done && self->received);) {
        bool any = speak(self, network, &self->sender, &self->receiver);
        any |= speak(self, network, &self->receiver, &self->sender);
        quiet = any ? 0 : quiet + 1;
        if (!any) {
            self->sender.test.now_us += SECOND_US / 2;
            self->receiver.test.now_us += SECOND_US / 2;
        }
    }
    peer_msg_free(&network->held);
}

static void check_arrived(pair_t *self)
{
    assert_non_null(self->done);
    assert_non_null(self->received);
    const msg_snap_t *done = &self->done->u.snap;
    const msg_snap_t *received = &self->received->u.snap;
    mvcc_head_t head = keeper_head(self->sender.store);
    assert_false(done->failed);
    assert_int_equal(done->id, TRANSFER);
    assert_int_equal(done->member, RECEIVER);
    assert_int_equal(done->term, 5);
    assert_int_equal(done->index, head.applied_index);
    assert_int_equal(done->log_term, head.term);
    assert_int_equal(received->id, TRANSFER);
    assert_int_equal(received->member, SENDER);
    assert_int_equal(received->index, head.applied_index);
    assert_int_equal(received->log_term, head.term);
    assert_int_equal(received->generation, 2);
    assert_true(slice_equal(bytes_slice(received->configuration), slice_str("three members")));
    keeper_expect_equal(keeper_member_kv(&self->sender), shared_object(received->store));
}

static void expect_counts(snapshot_way_metrics_t *way, uint64_t begun, uint64_t succeeded,
                          uint64_t failed)
{
    assert_int_equal(way->begun, begun);
    assert_int_equal(way->succeeded, succeeded);
    assert_int_equal(way->failed, failed);
}

#define sent_to(member, id)       (snapshot_metrics_of(&(member)->by_member, id)->sent)
#define received_from(member, id) (snapshot_metrics_of(&(member)->by_member, id)->received)

static uint64_t histogram_count(const metrics_t *metrics, histogram_t id)
{
    uint64_t count = 0;
    for (size_t i = 0; i <= HISTOGRAM_BUCKETS_MAX; i++) {
        count += metrics->histograms[id].buckets[i];
    }
    return count;
}

static void everything_arrives(void **state)
{
    (void)state;
    pair_t pair;
    network_t network = {0};
    pair_init(&pair, 3000, 1000); /* about 3 MB: a dozen chunks */
    keeper_read(&pair.sender, TRANSFER, RECEIVER);
    run(&pair, &network);
    check_arrived(&pair);
    assert_int_equal(pair.metas, 1);
    assert_in_range(pair.chunks, 12, 20);
    expect_counts(&received_from(&pair.receiver, SENDER), 1, 1, 0);
    expect_counts(&sent_to(&pair.sender, RECEIVER), 1, 1, 0);
    assert_int_equal(histogram_count(&pair.receiver.metrics, HISTOGRAM_SNAP_DB_SAVE), 1);
    assert_int_equal(histogram_count(&pair.receiver.metrics, HISTOGRAM_SNAP_DB_FSYNC), 1);
    assert_int_equal(histogram_count(&pair.sender.metrics, HISTOGRAM_BACKEND_SNAPSHOT), 1);
    /* It survives the worst crash: the log may tell of it. */
    kv_memory_crash(shared_object(pair.received->u.snap.store), 0);
    keeper_expect_equal(keeper_member_kv(&pair.sender), shared_object(pair.received->u.snap.store));
    pair_deinit(&pair);
}

static void a_bad_network_only_costs_time(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        pair_t pair;
        network_t network = {.prng = {.state = seed}, .is_bad = true};
        pair_init(&pair, 2000, 1000);
        keeper_read(&pair.sender, TRANSFER, RECEIVER);
        run(&pair, &network);
        check_arrived(&pair);
        pair_deinit(&pair);
    }
}

/* ---- the sender, message by message ---- */

static void ack(keeper_member_t *sender, uint64_t id, uint64_t next_seq)
{
    peer_msg_t *content = peer_msg_new(PEER_SNAP_ACK, 5);
    content->u.snap_ack = (peer_snap_ack_t){.id = id, .next_seq = next_seq};
    keeper_hear(sender, RECEIVER, &content);
}

static void expect_chunk(keeper_member_t *sender, uint64_t seq)
{
    peer_msg_t *content = keeper_expect_peer(sender, RECEIVER, PEER_SNAP_CHUNK);
    assert_int_equal(content->u.snap_chunk.id, TRANSFER);
    assert_int_equal(content->u.snap_chunk.seq, seq);
    assert_false(content->u.snap_chunk.is_last);
    peer_msg_free(&content);
}

static void expect_meta(keeper_member_t *sender)
{
    peer_msg_t *content = keeper_expect_peer(sender, RECEIVER, PEER_SNAP_META);
    assert_int_equal(content->u.snap_meta.id, TRANSFER);
    peer_msg_free(&content);
}

static void expect_done(keeper_member_t *sender, bool failed)
{
    actor_id_t to = ACTOR_NONE;
    msg_t *msg = keeper_next(sender, &to);
    assert_non_null(msg);
    assert_int_equal(to, ACTOR_REPLICATOR);
    assert_int_equal(msg->kind, MSG_SNAP_DONE);
    assert_int_equal(msg->u.snap.failed, failed);
    msg_free(&msg);
}

/* Chunks up to the last one; its number. */
static uint64_t expect_last_chunk(keeper_member_t *sender)
{
    for (;;) {
        peer_msg_t *content = keeper_expect_peer(sender, RECEIVER, PEER_SNAP_CHUNK);
        uint64_t seq = content->u.snap_chunk.seq;
        bool is_last = content->u.snap_chunk.is_last;
        assert_int_equal(content->u.snap_chunk.row_count > 0, is_last);
        peer_msg_free(&content);
        if (is_last) {
            return seq;
        }
    }
}

static void start_sending(keeper_member_t *sender)
{
    keeper_member_init(sender, SENDER);
    keeper_member_fill(sender, 4000, 1000);
    keeper_read(sender, TRANSFER, RECEIVER);
}

static void the_announcement_is_repeated(void **state)
{
    (void)state;
    keeper_member_t sender;
    start_sending(&sender);
    for (int i = 0; i < 5; i++) {
        expect_meta(&sender);
        keeper_expect_silence(&sender);
        assert_int_equal(sender.test.ops->deadline(sender.test.core),
                         sender.test.now_us + LIMIT_SNAPSHOT_AGAIN_US);
        sender.test.now_us += LIMIT_SNAPSHOT_AGAIN_US;
    }
    keeper_member_deinit(&sender);
}

static void the_window_bounds_what_is_on_its_way(void **state)
{
    (void)state;
    keeper_member_t sender;
    start_sending(&sender);
    expect_meta(&sender);
    ack(&sender, TRANSFER, 0);
    for (uint64_t seq = 0; seq < LIMIT_SNAPSHOT_WINDOW; seq++) {
        expect_chunk(&sender, seq);
    }
    keeper_expect_silence(&sender);
    ack(&sender, TRANSFER, 1);
    expect_chunk(&sender, 4);
    keeper_expect_silence(&sender);
    ack(&sender, TRANSFER, 4);
    for (uint64_t seq = 5; seq < 8; seq++) {
        expect_chunk(&sender, seq);
    }
    keeper_expect_silence(&sender);
    keeper_member_deinit(&sender);
}

static void what_is_not_acknowledged_is_sent_again(void **state)
{
    (void)state;
    keeper_member_t sender;
    start_sending(&sender);
    expect_meta(&sender);
    ack(&sender, TRANSFER, 0);
    for (uint64_t seq = 0; seq < 4; seq++) {
        expect_chunk(&sender, seq);
    }
    ack(&sender, TRANSFER, 2);
    expect_chunk(&sender, 4);
    expect_chunk(&sender, 5);
    keeper_expect_silence(&sender);
    sender.test.now_us += LIMIT_SNAPSHOT_AGAIN_US;
    for (uint64_t seq = 2; seq < 6; seq++) {
        expect_chunk(&sender, seq);
    }
    keeper_expect_silence(&sender);
    /* Who asks for what was sent gets it at once, though not once for every chunk behind the gap. */
    sender.test.now_us += 200000;
    ack(&sender, TRANSFER, 2);
    ack(&sender, TRANSFER, 2);
    ack(&sender, TRANSFER, 2);
    for (uint64_t seq = 2; seq < 6; seq++) {
        expect_chunk(&sender, seq);
    }
    keeper_expect_silence(&sender);
    keeper_member_deinit(&sender);
}

static void nonsense_is_not_listened_to(void **state)
{
    (void)state;
    keeper_member_t sender;
    start_sending(&sender);
    expect_meta(&sender);
    ack(&sender, TRANSFER + 1, 0); /* of another transfer */
    ack(&sender, TRANSFER, 3);     /* of what was never sent */
    keeper_expect_silence(&sender);
    ack(&sender, TRANSFER, 0);
    expect_chunk(&sender, 0);
    peer_msg_t *content = peer_msg_new(PEER_SNAP_ACK, 5); /* of a member that gets nothing */
    content->u.snap_ack = (peer_snap_ack_t){.id = TRANSFER, .is_refused = true};
    keeper_hear(&sender, 99, &content);
    content = peer_msg_new(PEER_SNAP_ACK, 5); /* done, before it is */
    content->u.snap_ack = (peer_snap_ack_t){.id = TRANSFER, .next_seq = 1, .is_done = true};
    keeper_hear(&sender, RECEIVER, &content);
    content = peer_msg_new(PEER_PING, 5);
    keeper_hear(&sender, RECEIVER, &content);
    expect_chunk(&sender, 1);
    keeper_member_deinit(&sender);
}

static void silence_ends_it(void **state)
{
    (void)state;
    keeper_member_t sender;
    start_sending(&sender);
    expect_meta(&sender);
    sender.test.now_us += LIMIT_SNAPSHOT_SILENCE_US;
    expect_done(&sender, true);
    keeper_expect_silence(&sender);
    assert_true(sender.test.ops->deadline(sender.test.core) == DEADLINE_NONE);

    /* Also in the middle. Asking for the same again and again is no progress. */
    keeper_read(&sender, TRANSFER, RECEIVER);
    expect_meta(&sender);
    ack(&sender, TRANSFER, 0);
    expect_chunk(&sender, 0);
    for (uint64_t waited = 0; waited < LIMIT_SNAPSHOT_SILENCE_US; waited += SECOND_US) {
        ack(&sender, TRANSFER, 0);
        actor_id_t to = ACTOR_NONE;
        for (msg_t *msg = NULL; (msg = keeper_next(&sender, &to));) {
            assert_int_equal(msg->kind, MSG_PEER);
            msg_free(&msg);
        }
        sender.test.now_us += SECOND_US;
    }
    expect_done(&sender, true);
    keeper_member_deinit(&sender);
}

/* The last chunk is repeated until the other side has installed them all. */
static void it_asks_until_it_is_done(void **state)
{
    (void)state;
    keeper_member_t sender;
    keeper_member_init(&sender, SENDER);
    keeper_member_fill(&sender, 150, 1000);
    keeper_read(&sender, TRANSFER, RECEIVER);
    expect_meta(&sender);
    ack(&sender, TRANSFER, 0);
    uint64_t last = expect_last_chunk(&sender);
    for (int i = 0; i < 5; i++) {
        ack(&sender, TRANSFER, last + 1);
        keeper_expect_silence(&sender);
        sender.test.now_us += LIMIT_SNAPSHOT_AGAIN_US;
        assert_int_equal(expect_last_chunk(&sender), last);
    }
    peer_msg_t *content = peer_msg_new(PEER_SNAP_ACK, 5);
    content->u.snap_ack = (peer_snap_ack_t){.id = TRANSFER, .next_seq = last + 1, .is_done = true};
    keeper_hear(&sender, RECEIVER, &content);
    expect_done(&sender, false);
    keeper_expect_silence(&sender);
    expect_counts(&sent_to(&sender, RECEIVER), 1, 1, 0);

    /* But not forever. */
    keeper_read(&sender, TRANSFER, RECEIVER);
    expect_meta(&sender);
    ack(&sender, TRANSFER, 0);
    assert_int_equal(expect_last_chunk(&sender), last);
    ack(&sender, TRANSFER, last + 1);
    sender.test.now_us += LIMIT_SNAPSHOT_SILENCE_US - 1;
    assert_int_equal(expect_last_chunk(&sender), last);
    ack(&sender, TRANSFER, last + 1);
    sender.test.now_us += 1;
    expect_done(&sender, true);
    expect_counts(&sent_to(&sender, RECEIVER), 2, 1, 1);
    keeper_member_deinit(&sender);
}

static void a_refusal_ends_it(void **state)
{
    (void)state;
    keeper_member_t sender;
    start_sending(&sender);
    expect_meta(&sender);
    peer_msg_t *content = peer_msg_new(PEER_SNAP_ACK, 5);
    content->u.snap_ack = (peer_snap_ack_t){.id = TRANSFER, .is_refused = true};
    keeper_hear(&sender, RECEIVER, &content);
    expect_done(&sender, true);
    keeper_expect_silence(&sender);
    keeper_member_deinit(&sender);
}

/* Whoever waits for it is told nothing: it is who has ended it. */
static void the_replicator_may_end_it(void **state)
{
    (void)state;
    keeper_member_t sender;
    start_sending(&sender);
    expect_meta(&sender);
    ack(&sender, TRANSFER, 0);
    expect_chunk(&sender, 0);
    keeper_drop(&sender, RECEIVER, TRANSFER - 1); /* of an earlier one */
    expect_chunk(&sender, 1);
    keeper_drop(&sender, RECEIVER, TRANSFER);
    keeper_expect_silence(&sender);
    expect_counts(&sent_to(&sender, RECEIVER), 1, 0, 1);
    assert_true(sender.test.ops->deadline(sender.test.core) == DEADLINE_NONE);
    keeper_member_deinit(&sender);
}

static void so_many_at_a_time_and_no_more(void **state)
{
    (void)state;
    keeper_member_t sender;
    keeper_member_init(&sender, SENDER);
    keeper_member_fill(&sender, 10, 10);
    for (uint64_t member = 1; member <= LIMIT_SNAPSHOT_SENDS; member++) {
        keeper_read(&sender, member, member);
    }
    keeper_read(&sender, 50, 50);
    expect_done(&sender, true);
    for (uint64_t member = 1; member <= LIMIT_SNAPSHOT_SENDS; member++) {
        peer_msg_t *content = keeper_expect_peer(&sender, member, PEER_SNAP_META);
        peer_msg_free(&content);
    }
    /* Another one for the same member takes the place of the first. */
    keeper_read(&sender, 60, 2);
    peer_msg_t *content = keeper_expect_peer(&sender, 2, PEER_SNAP_META);
    assert_int_equal(content->u.snap_meta.id, 60);
    peer_msg_free(&content);
    keeper_expect_silence(&sender);
    keeper_member_deinit(&sender);
}

static void nothing_is_sent_of_nothing(void **state)
{
    (void)state;
    keeper_member_t sender;
    keeper_member_init(&sender, SENDER); /* no entry is applied */
    keeper_read(&sender, TRANSFER, RECEIVER);
    expect_done(&sender, true);
    keeper_member_deinit(&sender);

    sender = (keeper_member_t){.id = SENDER, .generations = generations_memory_new()};
    keeper_cfg_t cfg = {.generations = sender.generations};
    sender.test = core_test_new(ACTOR_KEEPER, &keeper_ops, keeper_new(&cfg, &sender.metrics));
    keeper_read(&sender, TRANSFER, RECEIVER); /* there is no store yet */
    expect_done(&sender, true);
    keeper_member_deinit(&sender);
}

/* A flush that is asked for in the middle of a transfer comes before the next chunk, and writes go on. */
static void a_flush_does_not_wait_for_a_transfer(void **state)
{
    (void)state;
    keeper_member_t sender;
    start_sending(&sender);
    expect_meta(&sender);
    ack(&sender, TRANSFER, 0);
    expect_chunk(&sender, 0);
    kv_batch_t *batch = kv_batch_new(keeper_member_kv(&sender));
    kv_batch_put(batch, slice_str("zzz"), slice_str("new"));
    assert_int_equal(kv_write(keeper_member_kv(&sender), batch), 0);
    kv_batch_destroy(&batch);
    msg_t *msg = msg_new(MSG_FLUSH);
    msg->u.applied.index = 9;
    core_test_send(&sender.test, ACTOR_APPLIER, &msg);
    actor_id_t to = ACTOR_NONE;
    msg = keeper_next(&sender, &to);
    assert_int_equal(msg->kind, MSG_FLUSHED);
    msg_free(&msg);
    expect_chunk(&sender, 1);
    keeper_member_deinit(&sender);
}

static void without_room_it_waits(void **state)
{
    (void)state;
    keeper_member_t sender;
    start_sending(&sender);
    expect_meta(&sender);
    ack(&sender, TRANSFER, 0);
    /* Nobody takes what is put for the peer actor. */
    while (outbox_room(sender.test.outbox, ACTOR_PEER)) {
        msg_t *msg = msg_new(MSG_PEER);
        msg->u.peer.content = peer_msg_new(PEER_PING, 0);
        outbox_put(sender.test.outbox, ACTOR_PEER, &msg);
    }
    keeper_run(&sender); /* comes to rest */
    sender.test.now_us += 5 * SECOND_US;
    keeper_run(&sender);
    actor_id_t to = ACTOR_NONE;
    for (msg_t *msg = NULL; (msg = core_test_take(&sender.test, &to));) {
        assert_int_equal(msg->u.peer.content->kind, PEER_PING);
        msg_free(&msg);
    }
    expect_chunk(&sender, 0);
    keeper_member_deinit(&sender);
}

static void ask_hash(keeper_member_t *self, uint64_t req_id, int64_t revision)
{
    msg_t *msg = msg_new(MSG_HASH);
    msg->u.hash = (msg_hash_t){.req_id = req_id, .revision = revision};
    core_test_send(&self->test, ACTOR_GRPC_GATEWAY, &msg);
}

/* A hash and two transfers take turns: none waits for another to end. */
static void long_work_takes_turns(void **state)
{
    (void)state;
    keeper_member_t sender;
    start_sending(&sender);
    expect_meta(&sender);
    ask_hash(&sender, 1, 0);
    ack(&sender, TRANSFER, 0);
    int flushes = 0;
    bool hashed = false;
    for (uint64_t seq = 0; !hashed; flushes++) {
        assert_true(flushes < 30);
        core_test_flush(&sender.test);
        actor_id_t to = ACTOR_NONE;
        for (msg_t *msg = NULL; (msg = core_test_take(&sender.test, &to));) {
            hashed |= msg->kind == MSG_HASHED;
            seq += msg->kind == MSG_PEER;
            msg_free(&msg);
        }
        ack(&sender, TRANSFER, seq);
        assert_true(hashed || flushes < 4 || seq > 0);
    }
    keeper_member_deinit(&sender);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_arrives),
        cmocka_unit_test(a_bad_network_only_costs_time),
        cmocka_unit_test(the_announcement_is_repeated),
        cmocka_unit_test(the_window_bounds_what_is_on_its_way),
        cmocka_unit_test(what_is_not_acknowledged_is_sent_again),
        cmocka_unit_test(nonsense_is_not_listened_to),
        cmocka_unit_test(silence_ends_it),
        cmocka_unit_test(it_asks_until_it_is_done),
        cmocka_unit_test(a_refusal_ends_it),
        cmocka_unit_test(the_replicator_may_end_it),
        cmocka_unit_test(so_many_at_a_time_and_no_more),
        cmocka_unit_test(nothing_is_sent_of_nothing),
        cmocka_unit_test(a_flush_does_not_wait_for_a_transfer),
        cmocka_unit_test(without_room_it_waits),
        cmocka_unit_test(long_work_takes_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
