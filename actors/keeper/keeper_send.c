/* Snapshots for other members. One view of the store per transfer, from the first chunk to the last; a
 * chunk is read when the window has room for it, and kept until it is acknowledged. */
#include <inttypes.h>
#include <stdlib.h>

#include "actors/keeper/keeper_state.h"
#include "messages/xalloc.h"

/* An acknowledgement that asks for what was sent already: it is sent again at once, but not for each of the
 * chunks that were on their way. */
enum { GAP_INTERVAL_US = 100000 };

/* ---- the end ---- */

static void free_send(send_t **send_p)
{
    send_t *send = *send_p;
    *send_p = NULL;
    if (!send) {
        return;
    }
    snapshot_reader_destroy(&send->reader);
    view_close(&send->view);
    for (size_t i = 0; i < LIMIT_SNAPSHOT_WINDOW; i++) {
        bytes_unref(&send->window[i]);
    }
    bytes_unref(&send->configuration);
    free(send);
}

void send_deinit(keeper_t *self)
{
    for (size_t i = 0; i < LIMIT_SNAPSHOT_SENDS; i++) {
        free_send(&self->sends[i]);
    }
}

static void say_done(const send_t *send, bool failed, outbox_t *out)
{
    msg_t *msg = msg_new(MSG_SNAP_DONE);
    msg->u.snap = (msg_snap_t){
        .id = send->id,
        .member = send->member,
        .term = send->term,
        .index = send->view.head.applied_index,
        .log_term = send->view.head.term,
        .failed = failed,
    };
    outbox_put(out, ACTOR_REPLICATOR, &msg);
}

static void finish(keeper_t *self, send_t **send_p, const char *failure, uint64_t now_us,
                   outbox_t *out)
{
    const send_t *send = *send_p;
    snapshot_way_metrics_t *counts = &keeper_counts(self, send->member)->sent;
    if (failure) {
        snapshot_metrics_failed(counts);
    } else {
        snapshot_metrics_succeeded(counts, now_us - send->began_us);
    }
    say_done(send, failure != NULL, out);
    outbox_log(out, failure ? LEVEL_WARN : LEVEL_INFO,
               failure ? failure : "a snapshot was sent to a member",
               "\"member\":\"%" PRIx64 "\",\"index\":%" PRIu64 ",\"chunks\":%" PRIu64, send->member,
               send->view.head.applied_index, send->read_seq);
    free_send(send_p);
}

/* ---- the beginning ---- */

static send_t **find(keeper_t *self, uint64_t member)
{
    for (size_t i = 0; i < LIMIT_SNAPSHOT_SENDS; i++) {
        if (self->sends[i] && self->sends[i]->member == member) {
            return &self->sends[i];
        }
    }
    return NULL;
}

static send_t **find_free(keeper_t *self)
{
    for (size_t i = 0; i < LIMIT_SNAPSHOT_SENDS; i++) {
        if (!self->sends[i]) {
            return &self->sends[i];
        }
    }
    return NULL;
}

/* 0, KV_ABSENT when the store holds nothing that could be sent, or < 0. */
static int open_send(send_t *send, shared_t *store)
{
    int rc = view_open(&send->view, store);
    if (rc == 0 && send->view.head.applied_index == 0) {
        return KV_ABSENT;
    }
    kv_value_t members = {0};
    rc = rc ? rc : mvcc_meta_get(send->view.reader, MVCC_META_MEMBERS, &members);
    if (rc == 0) {
        send->configuration = bytes_new(members.data, members.len);
        send->reader = snapshot_reader_new(send->view.reader);
    }
    kv_value_deinit(&members);
    return rc;
}

void send_on_read(keeper_t *self, const msg_snap_t *read, uint64_t now_us, outbox_t *out)
{
    send_t **old = find(self, read->member);
    if (old) { /* the replicator has forgotten about it */
        snapshot_metrics_failed(&keeper_counts(self, read->member)->sent);
        free_send(old);
    }
    send_t *send = xcalloc(1, sizeof *send);
    send->id = read->id;
    send->member = read->member;
    send->term = read->term;
    send->began_us = now_us;
    send->progress_us = now_us;
    send_t **slot = find_free(self);
    int rc = slot && self->store ? open_send(send, self->store) : KV_ABSENT;
    if (rc < 0) {
        keeper_fail(self, out, "the store cannot be read for a snapshot",
                    shared_object(self->store), NULL);
    }
    if (rc) { /* not now: too many at a time, or there is nothing yet */
        say_done(send, true, out);
        free_send(&send);
        return;
    }
    *slot = send;
    snapshot_metrics_begun(&keeper_counts(self, send->member)->sent);
    outbox_log(out, LEVEL_INFO, "a snapshot is being sent to a member",
               "\"member\":\"%" PRIx64 "\",\"index\":%" PRIu64, send->member,
               send->view.head.applied_index);
}

/* Nobody waits for it: no SNAP_DONE. */
void send_on_drop(keeper_t *self, const msg_snap_t *drop)
{
    send_t **send_p = find(self, drop->member);
    if (send_p && (*send_p)->id == drop->id) {
        snapshot_metrics_failed(&keeper_counts(self, drop->member)->sent);
        free_send(send_p);
    }
}

/* ---- what is said ---- */

static void say_meta(const send_t *send, outbox_t *out)
{
    peer_msg_t *msg = peer_msg_new(PEER_SNAP_META, send->term);
    msg->u.snap_meta = (peer_snap_meta_t){
        .id = send->id,
        .index = send->view.head.applied_index,
        .log_term = send->view.head.term,
        .configuration = bytes_ref(send->configuration),
    };
    keeper_say(out, send->member, msg);
}

static void say_chunk(const send_t *send, uint64_t seq, outbox_t *out)
{
    peer_msg_t *msg = peer_msg_new(PEER_SNAP_CHUNK, send->term);
    msg->u.snap_chunk = (peer_snap_chunk_t){
        .id = send->id,
        .seq = seq,
        .rows = bytes_ref(send->window[seq % LIMIT_SNAPSHOT_WINDOW]),
        .is_last = send->is_read && seq + 1 == send->read_seq,
    };
    if (msg->u.snap_chunk.is_last) {
        msg->u.snap_chunk.row_count = snapshot_reader_rows(send->reader);
        msg->u.snap_chunk.checksum = snapshot_reader_checksum(send->reader);
    }
    keeper_say(out, send->member, msg);
}

static void send_ready(send_t *send, uint64_t now_us, outbox_t *out)
{
    while (send->send_seq < send->read_seq && outbox_room(out, ACTOR_PEER)) {
        say_chunk(send, send->send_seq++, out);
        send->again_us = now_us + LIMIT_SNAPSHOT_AGAIN_US;
    }
}

static void go_back(send_t *send, uint64_t now_us)
{
    send->send_seq = send->first_seq;
    send->went_back_us = now_us;
}

static void tick_one(keeper_t *self, send_t **send_p, uint64_t now_us, outbox_t *out)
{
    send_t *send = *send_p;
    if (now_us - send->progress_us >= LIMIT_SNAPSHOT_SILENCE_US) {
        finish(self, send_p, "a member does not take the snapshot it is sent", now_us, out);
        return;
    }
    bool is_due = now_us >= send->again_us && outbox_room(out, ACTOR_PEER);
    if (is_due && !send->is_accepted) {
        say_meta(send, out);
        send->again_us = now_us + LIMIT_SNAPSHOT_AGAIN_US;
    } else if (is_due && send->first_seq < send->send_seq) {
        go_back(send, now_us);
    }
    send_ready(send, now_us, out);
}

void send_tick(keeper_t *self, uint64_t now_us, outbox_t *out)
{
    for (size_t i = 0; i < LIMIT_SNAPSHOT_SENDS; i++) {
        if (self->sends[i]) {
            tick_one(self, &self->sends[i], now_us, out);
        }
    }
}

/* ---- what is heard ---- */

static void take_progress(send_t *send, uint64_t next_seq, uint64_t now_us)
{
    bool is_news = !send->is_accepted || next_seq > send->first_seq;
    send->is_accepted = true;
    while (send->first_seq < next_seq) {
        bytes_unref(&send->window[send->first_seq++ % LIMIT_SNAPSHOT_WINDOW]);
    }
    if (send->send_seq < send->first_seq) {
        send->send_seq = send->first_seq;
    }
    if (is_news) {
        send->progress_us = now_us;
        send->again_us = now_us + LIMIT_SNAPSHOT_AGAIN_US;
    } else if (send->send_seq > send->first_seq && now_us - send->went_back_us >= GAP_INTERVAL_US) {
        go_back(send, now_us);
    }
}

/* All chunks have come, and the other side installs what it has got. The last one stays in the window: it is
 * sent again from time to time, to hear whether that is done. */
static void take_all(send_t *send, uint64_t now_us)
{
    if (!send->is_taken) {
        send->is_taken = true;
        take_progress(send, send->read_seq - 1, now_us);
        send->send_seq = send->read_seq;
        send->progress_us = now_us;
        send->again_us = now_us + LIMIT_SNAPSHOT_AGAIN_US;
    }
}

void send_on_ack(keeper_t *self, uint64_t member, const peer_snap_ack_t *ack, uint64_t now_us,
                 outbox_t *out)
{
    send_t **send_p = find(self, member);
    if (!send_p || (*send_p)->id != ack->id) {
        return;
    }
    send_t *send = *send_p;
    if (ack->is_refused) {
        finish(self, send_p, "a member refuses the snapshot it is sent", now_us, out);
        return;
    }
    if (ack->next_seq < send->first_seq || ack->next_seq > send->read_seq) {
        return; /* an old one, or nonsense */
    }
    bool is_all = send->is_read && ack->next_seq == send->read_seq;
    if (is_all && ack->is_done) {
        finish(self, send_p, NULL, now_us, out);
    } else if (is_all) {
        take_all(send, now_us);
    } else {
        take_progress(send, ack->next_seq, now_us);
    }
}

/* ---- long work ---- */

bool send_can_work(const keeper_t *self, size_t slot)
{
    const send_t *send = self->sends[slot];
    return send && send->is_accepted && !send->is_read && self->peer_has_room &&
           send->read_seq - send->first_seq < LIMIT_SNAPSHOT_WINDOW;
}

void send_work(keeper_t *self, size_t slot, uint64_t now_us, outbox_t *out)
{
    send_t *send = self->sends[slot];
    buf_t chunk = {0};
    if (snapshot_reader_next(send->reader, &chunk, &send->is_read) != 0) {
        keeper_fail(self, out, "the store cannot be read for a snapshot",
                    shared_object(send->view.store), NULL);
    } else {
        send->window[send->read_seq++ % LIMIT_SNAPSHOT_WINDOW] = buf_bytes(&chunk);
        if (send->is_read) {
            metrics_observe(self->metrics, HISTOGRAM_BACKEND_SNAPSHOT, now_us - send->began_us);
        }
        send_ready(send, now_us, out);
    }
    buf_deinit(&chunk);
}

uint64_t send_deadline(const keeper_t *self)
{
    uint64_t first = DEADLINE_NONE;
    for (size_t i = 0; i < LIMIT_SNAPSHOT_SENDS; i++) {
        const send_t *send = self->sends[i];
        if (!send) {
            continue;
        }
        uint64_t at = send->progress_us + LIMIT_SNAPSHOT_SILENCE_US;
        bool waits = !send->is_accepted || send->first_seq < send->send_seq;
        if (waits && self->peer_has_room && send->again_us < at) {
            at = send->again_us;
        }
        first = at < first ? at : first;
    }
    return first;
}
