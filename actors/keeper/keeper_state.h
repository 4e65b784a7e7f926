/* keeper_state: the keeper's inside, shared by the files of this folder. */
#pragma once

#include "actors/keeper/keeper.h"
#include "messages/limits.h"
#include "store/mvcc_read.h"
#include "store/snapshot_stream.h"

/* One view of the store that long work reads. */
typedef struct {
    shared_t *store;
    kv_snapshot_t *snapshot;
    const kv_reader_t *reader;
    mvcc_head_t head;
} view_t;

/* A snapshot on its way to a member. */
typedef struct {
    uint64_t id, member, term;
    view_t view;
    bytes_t *configuration;
    snapshot_reader_t *reader;
    bytes_t *window
        [LIMIT_SNAPSHOT_WINDOW]; /* chunks first_seq .. read_seq - 1, by seq modulo its size */
    uint64_t first_seq;          /* not acknowledged yet */
    uint64_t send_seq;           /* to be sent next; goes back to send again */
    uint64_t read_seq;           /* to be read next */
    bool is_accepted;            /* the first chunk was asked for */
    bool is_read;                /* the last chunk is in the window */
    bool is_taken;               /* all have come: the other side installs what it has got */
    uint64_t progress_us;        /* when the other side last got further */
    uint64_t again_us;           /* when to say again what is not acknowledged */
    uint64_t went_back_us;       /* when send_seq went back */
    uint64_t began_us;
} send_t;

typedef enum {
    RECEIVE_NOTHING,
    RECEIVE_CHUNKS,
    RECEIVE_INSTALLING /* complete and handed over; done with RESTORED, or ended by SNAP_DROP */
} receive_state_t;

typedef struct {
    receive_state_t state;
    uint64_t id, member, term, index, log_term;
    bytes_t *configuration;
    uint64_t generation;
    shared_t *store;
    snapshot_writer_t *writer; /* RECEIVE_CHUNKS */
    uint64_t next_seq;
    uint64_t began_us, progress_us;
    bool ack_due;
    /* The last one that was installed: its acknowledgement may have been lost. */
    uint64_t done_id, done_member;
} receive_t;

typedef struct {
    uint64_t req_id;
    actor_id_t from;
    int64_t revision;
} hash_request_t;

/* Requests wait in order; the first one is being worked on when there is a hasher. */
typedef struct {
    hash_request_t items[LIMIT_HASHES];
    size_t count;
    view_t view;
    mvcc_hasher_t *hasher;
} hashes_t;

/* A generation that is not needed any more, but that somebody may still read. */
typedef struct {
    shared_t *store;
    uint64_t generation;
} retired_t;

struct keeper {
    keeper_cfg_t cfg;
    metrics_t *metrics;
    snapshot_member_metrics_t uncounted; /* when nobody looks */
    shared_t *store;                     /* holds a kv_t; NULL until the first RESTORED */
    uint64_t generation;                 /* its number */
    uint64_t asked;                      /* highest index a FLUSH asked for */
    uint64_t flushed;                    /* highest index answered */
    bool is_broken;
    send_t *sends[LIMIT_SNAPSHOT_SENDS]; /* NULL = free */
    receive_t receive;
    hashes_t hashes;
    retired_t *retired; /* at most one per installation whose old store somebody reads */
    size_t retired_count, retired_capacity;
    uint64_t retire_us; /* when to look at them again */
    size_t turn;        /* whose turn it is to do long work: a send, or HashKV */
    bool peer_has_room; /* at the end of the last burst */
};

/* ---- keeper.c ---- */
/* The environment is broken. Takes `text`, which may be NULL: then why is the store's last error. */
void keeper_fail(keeper_t *self, outbox_t *out, const char *what, const kv_t *kv, char *text);
/* Of self->store, which is there. 0 or < 0. */
int view_open(view_t *view, shared_t *store) __attribute__((warn_unused_result));
void view_close(view_t *view);
/* The generation goes once nobody holds its store. Takes the reference. */
void keeper_retire(keeper_t *self, shared_t **store_p, uint64_t generation);
/* Where transfers to and from the member are counted; never NULL. */
snapshot_member_metrics_t *keeper_counts(keeper_t *self, uint64_t member);
void keeper_say(outbox_t *out, uint64_t member, peer_msg_t *content);

/* ---- keeper_send.c ---- */
void send_on_read(keeper_t *self, const msg_snap_t *read, uint64_t now_us, outbox_t *out);
void send_on_drop(keeper_t *self, const msg_snap_t *drop);
void send_on_ack(keeper_t *self, uint64_t member, const peer_snap_ack_t *ack, uint64_t now_us,
                 outbox_t *out);
/* Sends what is due and ready, gives up those that are silent. */
void send_tick(keeper_t *self, uint64_t now_us, outbox_t *out);
/* Reads a chunk for the send in this slot. False: there is nothing to do. */
bool send_can_work(const keeper_t *self, size_t slot);
void send_work(keeper_t *self, size_t slot, uint64_t now_us, outbox_t *out);
uint64_t send_deadline(const keeper_t *self);
void send_deinit(keeper_t *self);

/* ---- keeper_receive.c ---- */
void receive_on_take(keeper_t *self, const msg_snap_t *take, uint64_t now_us, outbox_t *out);
void receive_on_drop(keeper_t *self, const msg_snap_t *drop);
void receive_on_chunk(keeper_t *self, uint64_t member, const peer_msg_t *msg, uint64_t now_us,
                      outbox_t *out);
/* A store is in force. True: it is the one that was received, whose number is now self->generation. */
bool receive_on_restored(keeper_t *self, const shared_t *store, outbox_t *out);
void receive_tick(keeper_t *self, uint64_t now_us, outbox_t *out);
uint64_t receive_deadline(const keeper_t *self);
void receive_deinit(keeper_t *self);

/* ---- keeper_hash.c ---- */
void hash_on_request(keeper_t *self, const msg_t *msg, outbox_t *out);
bool hash_can_work(const keeper_t *self);
void hash_work(keeper_t *self, outbox_t *out);
void hash_deinit(keeper_t *self);
