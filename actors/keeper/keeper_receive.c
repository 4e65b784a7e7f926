/* A snapshot from another member, into a new generation. The replicator decides when one begins and whether
 * it counts; here it is only built, checked and handed over.
 *
 * SNAP_RECEIVED means: everything has come, as many rows and with the checksum that the sender says; the
 * store's own head and members are what was announced; the applier will be able to open it; and it is
 * flushed, so that the log may tell of it. */
#include <inttypes.h>
#include <stdlib.h>

#include "actors/keeper/keeper_state.h"
#include "store/mvcc_write.h"

/* ---- acknowledgements ---- */

/* Lost when there is no room: then the other side asks again. */
static void say_ack(uint64_t member, uint64_t term, const peer_snap_ack_t *ack, outbox_t *out)
{
    if (outbox_room(out, ACTOR_PEER)) {
        peer_msg_t *msg = peer_msg_new(PEER_SNAP_ACK, term);
        msg->u.snap_ack = *ack;
        keeper_say(out, member, msg);
    }
}

static void refuse(uint64_t member, uint64_t term, uint64_t id, outbox_t *out)
{
    say_ack(member, term, &(peer_snap_ack_t){.id = id, .is_refused = true}, out);
}

static void say_progress(receive_t *self, outbox_t *out)
{
    if (self->ack_due && outbox_room(out, ACTOR_PEER)) {
        self->ack_due = false;
        say_ack(self->member, self->term,
                &(peer_snap_ack_t){.id = self->id, .next_seq = self->next_seq}, out);
    }
}

/* ---- the end ---- */

static void forget(receive_t *self)
{
    snapshot_writer_destroy(&self->writer);
    bytes_unref(&self->configuration);
    shared_unref(&self->store);
    *self = (receive_t){.done_id = self->done_id, .done_member = self->done_member};
}

static void give_up(keeper_t *self)
{
    receive_t *receive = &self->receive;
    snapshot_writer_destroy(&receive->writer);
    if (receive->state == RECEIVE_CHUNKS) {
        snapshot_metrics_failed(&keeper_counts(self, receive->member)->received);
    }
    if (receive->store) {
        keeper_retire(self, &receive->store, receive->generation);
    }
    forget(receive);
}

void receive_deinit(keeper_t *self)
{
    forget(&self->receive); /* the next start removes the files, or finishes the installation */
}

bool receive_on_restored(keeper_t *self, const shared_t *store, outbox_t *out)
{
    receive_t *receive = &self->receive;
    if (receive->state != RECEIVE_INSTALLING || receive->store != store) {
        return false;
    }
    self->generation = receive->generation;
    receive->done_id = receive->id;
    receive->done_member = receive->member;
    peer_snap_ack_t ack = {.id = receive->id, .next_seq = receive->next_seq, .is_done = true};
    say_ack(receive->member, receive->term, &ack, out);
    forget(receive);
    return true;
}

void receive_on_drop(keeper_t *self, const msg_snap_t *drop)
{
    const receive_t *receive = &self->receive;
    if (receive->state != RECEIVE_NOTHING && receive->member == drop->member &&
        receive->id == drop->id) {
        give_up(self);
    }
}

/* ---- the beginning ---- */

static void begin(keeper_t *self, const msg_snap_t *take, uint64_t now_us, outbox_t *out)
{
    receive_t *receive = &self->receive;
    char *error = NULL;
    if (generations_prepare(self->cfg.generations, &receive->generation, &receive->store, &error) !=
        0) {
        keeper_fail(self, out, "there is no place for a snapshot", NULL, error);
        return;
    }
    receive->state = RECEIVE_CHUNKS;
    receive->id = take->id;
    receive->member = take->member;
    receive->term = take->term;
    receive->index = take->index;
    receive->log_term = take->log_term;
    receive->configuration = bytes_ref(take->configuration);
    receive->writer = snapshot_writer_new(shared_object(receive->store));
    receive->began_us = now_us;
    receive->progress_us = now_us;
    snapshot_metrics_begun(&keeper_counts(self, take->member)->received);
    outbox_log(out, LEVEL_INFO, "a snapshot is being received",
               "\"member\":\"%" PRIx64 "\",\"index\":%" PRIu64, take->member, take->index);
}

static bool is_done(const receive_t *self, uint64_t member, uint64_t id)
{
    return self->done_id == id && self->done_member == member;
}

void receive_on_take(keeper_t *self, const msg_snap_t *take, uint64_t now_us, outbox_t *out)
{
    receive_t *receive = &self->receive;
    bool is_same = receive->state != RECEIVE_NOTHING && receive->member == take->member &&
                   receive->id == take->id;
    if (!is_same && is_done(receive, take->member, take->id)) {
        say_ack(take->member, take->term, &(peer_snap_ack_t){.id = take->id, .is_done = true}, out);
        return;
    }
    bool fits = bytes_len(take->configuration) > 0 &&
                bytes_len(take->configuration) <= LIMIT_WAL_CONFIGURATION_BYTES;
    if (!fits || (!is_same && receive->state == RECEIVE_INSTALLING)) { /* one at a time */
        refuse(take->member, take->term, take->id, out);
        return;
    }
    if (!is_same) {
        give_up(self);
        begin(self, take, now_us, out);
    }
    receive->ack_due = receive->state != RECEIVE_NOTHING;
    say_progress(receive, out);
}

/* ---- complete ---- */

static bool holds_members(const kv_reader_t *reader, const bytes_t *configuration)
{
    kv_value_t members = {0};
    bool same = mvcc_meta_get(reader, MVCC_META_MEMBERS, &members) == 0 &&
                slice_equal(kv_value_slice(&members), bytes_slice(configuration));
    kv_value_deinit(&members);
    return same;
}

/* Is this the store that was announced, and one that the applier can work on? */
static bool is_sound(const receive_t *self)
{
    kv_t *kv = shared_object(self->store);
    mvcc_head_t head;
    if (mvcc_head(kv_latest(kv), &head) != 0 || head.applied_index != self->index ||
        head.term != self->log_term || !holds_members(kv_latest(kv), self->configuration)) {
        return false;
    }
    mvcc_t *mvcc = NULL;
    char *error = NULL;
    bool opens = mvcc_new(&mvcc, kv, &error) == 0;
    mvcc_destroy(&mvcc);
    free(error);
    return opens;
}

static void hand_over(keeper_t *self, outbox_t *out)
{
    receive_t *receive = &self->receive;
    receive->state = RECEIVE_INSTALLING;
    msg_t *msg = msg_new(MSG_SNAP_RECEIVED);
    msg->u.snap = (msg_snap_t){
        .id = receive->id,
        .member = receive->member,
        .term = receive->term,
        .index = receive->index,
        .log_term = receive->log_term,
        .generation = receive->generation,
        .configuration = bytes_ref(receive->configuration),
        .store = shared_ref(receive->store),
    };
    outbox_put(out, ACTOR_REPLICATOR, &msg);
    outbox_log(out, LEVEL_INFO, "a snapshot was received",
               "\"member\":\"%" PRIx64 "\",\"index\":%" PRIu64 ",\"generation\":%" PRIu64,
               receive->member, receive->index, receive->generation);
}

/* What came is not what the sender says it is. */
static void reject(keeper_t *self, const char *text, outbox_t *out)
{
    const receive_t *receive = &self->receive;
    outbox_log(out, LEVEL_ERROR, text, "\"member\":\"%" PRIx64 "\",\"index\":%" PRIu64,
               receive->member, receive->index);
    refuse(receive->member, receive->term, receive->id, out);
    give_up(self);
}

static void count_received(keeper_t *self, uint64_t sealing_us, uint64_t now_us)
{
    const receive_t *receive = &self->receive;
    uint64_t sealed_us = metrics_clock_us(self->metrics, now_us);
    metrics_observe(self->metrics, HISTOGRAM_SNAP_DB_FSYNC,
                    metrics_elapsed_us(sealing_us, sealed_us));
    metrics_observe(self->metrics, HISTOGRAM_SNAP_DB_SAVE,
                    metrics_elapsed_us(receive->began_us, sealed_us));
    snapshot_metrics_succeeded(&keeper_counts(self, receive->member)->received,
                               metrics_elapsed_us(receive->began_us, sealed_us));
}

static void complete(keeper_t *self, const peer_snap_chunk_t *last, uint64_t now_us, outbox_t *out)
{
    receive_t *receive = &self->receive;
    bool is_whole = snapshot_writer_rows(receive->writer) == last->row_count &&
                    snapshot_writer_checksum(receive->writer) == last->checksum;
    snapshot_writer_destroy(&receive->writer);
    if (!is_whole || !is_sound(receive)) {
        reject(self, "a received snapshot is not what its sender announced", out);
        return;
    }
    char *error = NULL;
    uint64_t sealing_us = metrics_clock_us(self->metrics, now_us);
    if (generations_seal(self->cfg.generations, receive->generation, receive->store, &error) != 0) {
        keeper_fail(self, out, "a received snapshot cannot be kept", NULL, error);
        return;
    }
    count_received(self, sealing_us, now_us);
    hand_over(self, out);
    receive->ack_due = true;
}

/* ---- chunks ---- */

/* The one that is wanted. */
static void take_chunk(keeper_t *self, const peer_snap_chunk_t *chunk, uint64_t now_us,
                       outbox_t *out)
{
    receive_t *receive = &self->receive;
    int rc = snapshot_writer_add(receive->writer, bytes_slice(chunk->rows));
    if (rc < 0) {
        keeper_fail(self, out, "a received snapshot cannot be written",
                    shared_object(receive->store), NULL);
        return;
    }
    if (rc > 0) {
        reject(self, "a received snapshot holds what no sender writes", out);
        return;
    }
    receive->next_seq++;
    receive->progress_us = now_us;
    receive->ack_due = true;
    if (chunk->is_last) {
        complete(self, chunk, now_us, out);
    }
}

void receive_on_chunk(keeper_t *self, uint64_t member, const peer_msg_t *msg, uint64_t now_us,
                      outbox_t *out)
{
    const peer_snap_chunk_t *chunk = &msg->u.snap_chunk;
    receive_t *receive = &self->receive;
    bool is_ours =
        receive->state != RECEIVE_NOTHING && receive->member == member && receive->id == chunk->id;
    if (!is_ours && is_done(receive, member, chunk->id)) {
        peer_snap_ack_t ack = {.id = chunk->id, .next_seq = chunk->seq + 1, .is_done = true};
        say_ack(member, msg->term, &ack, out);
        return;
    }
    if (!is_ours) {
        refuse(member, msg->term, chunk->id, out);
        return;
    }
    receive->ack_due = true; /* says what is wanted, also when this is not */
    if (receive->state == RECEIVE_CHUNKS && chunk->seq == receive->next_seq) {
        take_chunk(self, chunk, now_us, out);
    }
    say_progress(receive, out);
}

/* ---- time ---- */

void receive_tick(keeper_t *self, uint64_t now_us, outbox_t *out)
{
    receive_t *receive = &self->receive;
    if (receive->state == RECEIVE_CHUNKS &&
        now_us - receive->progress_us >= LIMIT_SNAPSHOT_SILENCE_US) {
        outbox_log(out, LEVEL_WARN, "a snapshot stopped coming",
                   "\"member\":\"%" PRIx64 "\",\"index\":%" PRIu64, receive->member,
                   receive->index);
        give_up(self);
    }
    say_progress(receive, out);
}

uint64_t receive_deadline(const keeper_t *self)
{
    const receive_t *receive = &self->receive;
    return receive->state == RECEIVE_CHUNKS ? receive->progress_us + LIMIT_SNAPSHOT_SILENCE_US
                                            : DEADLINE_NONE;
}
