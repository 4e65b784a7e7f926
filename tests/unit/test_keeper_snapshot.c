/* Snapshots from one keeper to others: what arrives is what was there when the reading began, whatever the
 * network loses, repeats and exchanges; nothing waits for it; and what is not right is never handed over. */
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

/* ---- the receiver, message by message ---- */

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
    expect_ack(&receiver, script.count, true);
    give(&receiver, &script, script.count - 1); /* the acknowledgement was lost */
    expect_ack(&receiver, script.count, true);
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
    expect_ack(&receiver, script.count, true);
    shared_t *store = shared_ref(received->u.snap.store);
    char *error = NULL;
    assert_int_equal(
        generations_put_in_force(receiver.generations, received->u.snap.generation, store, &error),
        0);
    msg_free(&received);
    keeper_restored(&receiver, store);
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
    expect_ack(&receiver, script.count, true);
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
    expect_ack(&receiver, script.count, true);
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

/* ---- HashKV ---- */

static void ask_hash(keeper_member_t *self, uint64_t req_id, int64_t revision)
{
    msg_t *msg = msg_new(MSG_HASH);
    msg->u.hash = (msg_hash_t){.req_id = req_id, .revision = revision};
    core_test_send(&self->test, ACTOR_GRPC_GATEWAY, &msg);
}

static msg_hash_t expect_hashed(keeper_member_t *self, uint64_t req_id)
{
    keeper_run(self);
    msg_t *msg = core_test_expect(&self->test, ACTOR_GRPC_GATEWAY, MSG_HASHED);
    msg_hash_t hash = msg->u.hash;
    assert_int_equal(hash.req_id, req_id);
    msg_free(&msg);
    return hash;
}

static void a_hash_is_answered_with_its_revision(void **state)
{
    (void)state;
    keeper_member_t member;
    keeper_member_init(&member, SENDER);
    keeper_member_fill(&member, 5000, 10); /* revision 5001; more rows than a slice */
    ask_hash(&member, 1, 0);
    ask_hash(&member, 2, 5001);
    ask_hash(&member, 3, 4000);
    ask_hash(&member, 4, 5002);
    keeper_run(&member);
    msg_hash_t newest = expect_hashed(&member, 1);
    assert_int_equal(newest.error, API_NONE);
    assert_int_equal(newest.hash, keeper_hash(member.store));
    assert_int_equal(newest.revision, 5001);
    assert_int_equal(newest.current, 5001);
    assert_int_equal(newest.compacted, -1);
    assert_int_equal(expect_hashed(&member, 2).hash, newest.hash);
    msg_hash_t older = expect_hashed(&member, 3);
    assert_true(older.hash != newest.hash);
    assert_int_equal(older.revision, 4000);
    assert_int_equal(expect_hashed(&member, 4).error, API_FUTURE_REVISION);
    keeper_member_deinit(&member);
}

static void a_compacted_revision_is_refused(void **state)
{
    (void)state;
    keeper_member_t member;
    keeper_member_init(&member, SENDER);
    keeper_member_fill(&member, 20, 10);
    mvcc_t *mvcc = NULL;
    char *error = NULL;
    assert_int_equal(mvcc_new(&mvcc, keeper_member_kv(&member), &error), 0);
    mvcc_entry_begin(mvcc, 22, 2);
    assert_int_equal(mvcc_compact(mvcc, 10), 0);
    mvcc_entry_end(mvcc);
    assert_int_equal(mvcc_commit(mvcc), 0);
    mvcc_destroy(&mvcc);
    ask_hash(&member, 1, 9);
    msg_hash_t refused = expect_hashed(&member, 1);
    assert_int_equal(refused.error, API_COMPACTED);
    assert_int_equal(refused.compacted, 10);
    assert_int_equal(refused.current, 21);
    ask_hash(&member, 2, 10);
    assert_int_equal(expect_hashed(&member, 2).error, API_NONE);
    keeper_member_deinit(&member);
}

/* Requests wait for the store, for each other, and not without bound; a flush overtakes them. */
static void hashes_wait_their_turn(void **state)
{
    (void)state;
    keeper_member_t member = {.id = SENDER, .generations = generations_memory_new()};
    keeper_cfg_t cfg = {.generations = member.generations};
    member.test = core_test_new(ACTOR_KEEPER, &keeper_ops, keeper_new(&cfg, &member.metrics));
    for (uint64_t i = 1; i <= LIMIT_HASHES; i++) {
        ask_hash(&member, i, 0);
    }
    keeper_run(&member);
    core_test_expect_nothing(&member.test);
    ask_hash(&member, 1000, 0);
    assert_int_equal(expect_hashed(&member, 1000).error, API_TOO_MANY_REQUESTS);
    char *error = NULL;
    assert_int_equal(generations_open(member.generations, 0, &member.store, &error), 0);
    keeper_member_fill(&member, 3000, 10);
    keeper_restored(&member, member.store);
    core_test_flush(&member.test); /* one slice of the first */
    msg_t *msg = msg_new(MSG_FLUSH);
    msg->u.applied.index = 5;
    core_test_send(&member.test, ACTOR_APPLIER, &msg);
    core_test_flush(&member.test);
    msg = core_test_expect(&member.test, ACTOR_WAL_WRITER, MSG_FLUSHED);
    msg_free(&msg);
    for (uint64_t i = 1; i <= LIMIT_HASHES; i++) {
        assert_int_equal(expect_hashed(&member, i).hash, keeper_hash(member.store));
    }
    keeper_member_deinit(&member);
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
        cmocka_unit_test(a_refusal_ends_it),
        cmocka_unit_test(so_many_at_a_time_and_no_more),
        cmocka_unit_test(nothing_is_sent_of_nothing),
        cmocka_unit_test(a_flush_does_not_wait_for_a_transfer),
        cmocka_unit_test(without_room_it_waits),
        cmocka_unit_test(chunks_are_taken_in_order),
        cmocka_unit_test(the_old_store_goes_after_its_last_reader),
        cmocka_unit_test(a_dropped_one_leaves_nothing),
        cmocka_unit_test(another_one_takes_its_place),
        cmocka_unit_test(while_one_is_installed_others_are_refused),
        cmocka_unit_test(a_sender_that_stops_is_given_up),
        cmocka_unit_test(what_is_not_right_is_not_handed_over),
        cmocka_unit_test(a_configuration_that_no_log_takes_is_refused),
        cmocka_unit_test(every_failing_call_stops_the_node),
        cmocka_unit_test(a_hash_is_answered_with_its_revision),
        cmocka_unit_test(a_compacted_revision_is_refused),
        cmocka_unit_test(hashes_wait_their_turn),
        cmocka_unit_test(long_work_takes_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
