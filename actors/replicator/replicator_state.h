/* replicator_state: the replicator's inside, for its own files. Each of them does one job:
 *
 *   replicator.c           life, dispatch, end of burst, deadline
 *   replicator_terms.c     FENCE, OPEN, LEAD, STEP_DOWN, BOUNCE: who may append in which term
 *   replicator_disk.c      what is on its way to the log's disk, and what it replaces
 *   replicator_store.c     what is committed, towards the store; what is kept in memory
 *   replicator_propose.c   proposals, and who waits for them
 *   replicator_forward.c   proposals on their way to the leader of another member
 *   replicator_leader.c    followers: appends, heartbeats, acknowledgements, commit
 *   replicator_follower.c  what the leader says
 *   replicator_reads.c     read indexes
 *   replicator_members.c   the configuration in force, and changes to it
 *   replicator_transfer.c  handing the leadership over
 *   replicator_snapshot.c  followers too far behind, and being one
 *   progress.h, membership.h, raft_log.h  the parts without actors
 *
 * Invariants (asserted where they could break; S numbers as in docs/CONSENSUS.md):
 * 1. fence and open only grow; open <= fence. Entries are appended only while open == fence, as leader
 *    only if lead == fence too. Nothing below the fence is acknowledged (S3), and no append of a term below
 *    one that was acknowledged in is taken (S8).
 * 2. durable only moves by a LOG_DURABLE that names the record, never by index alone; a record that was
 *    replaced while it was on its way moves nothing (S5). No entry's term is above the open one, which is
 *    on the disk (S7).
 * 3. commit only grows, what is committed is never cut (S2), and a leader commits by counting only entries
 *    of its own term (Raft section 5.4.2), itself only when they are durable.
 * 4. The applier gets entries up to min(commit, durable), each once, in order.
 * What other members say is never asserted: it is dropped, counted and logged. */
#pragma once

#include "actors/replicator/progress.h"
#include "actors/replicator/raft_log.h"
#include "actors/replicator/replicator.h"

/* A record on its way to the disk. */
typedef struct {
    uint64_t lsn, last_index, sent_us;
    bool is_superseded; /* a later record replaces a part of it */
    bool is_mark;       /* of a snapshot: SNAP_MARK */
} inflight_t;

/* Proposals that came together: from an actor of this member, or forwarded by another one. */
typedef struct {
    actor_id_t from;              /* ACTOR_PEER: forwarded */
    uint64_t member, incarnation; /* by whom, */
    uint64_t id;                  /* and its name for it */
    proposal_t *items;
    size_t count;
} batch_t;

/* A proposal whose fate is open: who must hear if the leader is lost first. */
typedef struct {
    uint64_t index; /* settled when that is delivered; 0 = not known yet */
    uint64_t term;  /* of the entry at that index; only forwarded changes need it */
    uint64_t id;    /* of the batch it was forwarded in, 0 = it was not */
    uint64_t req_id;
    actor_id_t from; /* ACTOR_NONE: nobody waits any more */
    size_t bytes;
} pending_t;

/* First in, first out; the array moves down when half of it is used up. */
typedef struct {
    pending_t *items;
    size_t head, count, capacity;
    size_t indexed; /* how many from the head have an index */
} pending_queue_t;

/* Handing over: asked while this member still leads, waiting until it knows who does then. */
typedef enum { HANDOVER_NONE, HANDOVER_ASKED, HANDOVER_WAITING } handover_state_t;
typedef struct {
    handover_state_t state;
    uint64_t target;
    uint64_t req_id;
    actor_id_t from; /* who asked for it; ACTOR_NONE: this member stops */
    uint64_t began_us;
    uint64_t told_us; /* the target, to stand; 0 = not yet */
    batch_t *held;    /* proposals that wait until it is over */
    size_t held_count, held_capacity;
    size_t held_bytes;
} handover_t;

/* A snapshot on its way into this member; see replicator_snapshot.c. */
typedef enum {
    INSTALL_NONE,
    INSTALL_TAKING,
    INSTALL_RECEIVED,
    INSTALL_MARKING,
    INSTALL_MARKED,
    INSTALL_RUNNING
} install_state_t;
typedef struct {
    install_state_t state;
    msg_snap_t snap;
} install_t;

/* Whose forwards were taken in the fenced term, up to which id: none is taken twice. */
typedef struct {
    uint64_t member, incarnation;
    uint64_t last_id;
    uint64_t acked_id, acked_index; /* to be said at the end of the burst; 0 = nothing */
} origin_t;

/* A snapshot that the keeper was asked to send. */
typedef struct {
    uint64_t member, id;
} sending_t;

typedef struct {
    uint64_t read_id; /* of `from`, or the name `member` has for it */
    actor_id_t from;
    uint64_t member; /* 0 = an actor of this member */
    uint64_t
        round; /* leader: confirmed by this one or a later one; follower: answered by this READ_FWD
                      * or a later one */
} waiting_read_t;

struct replicator {
    replicator_cfg_t cfg;
    metrics_t *metrics;
    uint64_t now_us; /* of this step */
    uint64_t complained_us;

    /* The log. */
    raft_log_t log;
    configuration_t configuration; /* decoded top of the log's stack */
    bool members_due, peers_due;   /* election, peer: have to hear of it */
    bool told_needed;              /* election, that this member may have to stand without a vote */
    bool is_settled;               /* it is committed, and peer knows */
    bool is_removed;               /* this member, by it */
    bool was_alone;                /* this member, by the one before it, and votes in both */
    batch_t changes[LIMIT_WAITING_CHANGES]; /* of one item each, until one may be made */
    size_t change_count;

    /* Terms. */
    uint64_t fence, open;
    uint64_t lead;       /* the term this member leads, 0 = none */
    uint64_t led;        /* the last one it began to lead */
    uint64_t lead_first; /* index of the no-op that began it */
    uint64_t bounced;    /* highest term reported to election, */
    uint64_t bounced_us; /* and when: it may have been busy */

    /* Disk and store. */
    uint64_t written; /* last index handed to the WAL writer */
    uint64_t durable, commit, delivered, applied;
    uint64_t lsn;
    inflight_t *inflight;
    size_t inflight_count, inflight_capacity;
    bool stalled;
    size_t unapplied_bytes; /* of entries above `applied`: proposals are refused above the limit */

    /* Who waits. */
    pending_queue_t pending;   /* in this log */
    pending_queue_t forwarded; /* to the leader */
    size_t forwarded_bytes;
    pending_t forwarded_changes[LIMIT_WAITING_CHANGES]; /* answered one by one */
    size_t forwarded_change_count;
    uint64_t forward_id;             /* the last one used */
    uint64_t unseen_from, unseen_to; /* a snapshot brought these: this store does not answer them */
    waiting_read_t *reads;
    size_t read_count, read_capacity;
    uint64_t asked_id; /* the last READ_FWD */
    uint64_t asked_us;
    uint64_t answered_id;

    /* Of the fenced term. */
    origin_t *origins;
    size_t origin_count, origin_next;

    /* Of one who follows in the open term. */
    uint64_t leader;      /* 0 = not heard of */
    uint64_t heard_us;    /* from it, */
    uint64_t reported_us; /* and when election was told */
    uint64_t match;       /* our log agrees with the leader's up to here */
    uint64_t round_seen;  /* highest round to confirm */
    uint64_t acked_term;  /* highest term acknowledged in */
    bool ack_due, heartbeat_ack_due;
    bool is_watched; /* somebody waits for events of this member */
    install_t install;

    /* Of one who leads. */
    progress_t *followers; /* by member id */
    size_t follower_count, follower_capacity;
    uint64_t *counted;    /* room for one number per voter */
    uint64_t tick_us;     /* of the last heartbeats */
    uint64_t round;       /* the last one begun */
    uint64_t snapshot_id; /* the last one given to a transfer */
    sending_t *sendings;  /* one per member at most, until SNAP_DONE or SNAP_DROP */
    size_t sending_count, sending_capacity;
    handover_t handover;
    bool is_stopping, is_stopped;
};

/* ---- replicator.c ---- */
/* Another member said what no correct one says. Logged at most once a second. */
void replicator_complain(replicator_t *self, const msg_peer_t *peer, const char *what,
                         outbox_t *out);
/* A message of the open term to a member; NULL: there is no room, it is lost. Fill in, then put. */
void replicator_say(uint64_t member, peer_msg_t **content_p, outbox_t *out);

/* ---- replicator_terms.c ---- */
void replicator_send_position(replicator_t *self, msg_kind_t kind, const msg_fence_t *question,
                              outbox_t *out);
void replicator_on_fence(replicator_t *self, const msg_fence_t *fence, outbox_t *out);
void replicator_on_open(replicator_t *self, uint64_t term);
void replicator_on_lead(replicator_t *self, uint64_t term, outbox_t *out);
/* The term that is led ends here; who waits is told. */
void replicator_stop_leading(replicator_t *self, outbox_t *out);
/* Nobody is known to lead the open term, or nobody any more; who waits for it is told. */
void replicator_lose_leader(replicator_t *self, outbox_t *out);
/* May what a member says be listened to? Tells election of a higher term, and the member of a lower one. */
bool replicator_term_is_open(replicator_t *self, const msg_peer_t *peer, outbox_t *out);
void replicator_report(replicator_t *self, msg_kind_t kind, uint64_t term, uint64_t member,
                       outbox_t *out);

/* ---- replicator_disk.c ---- */
void replicator_write_log(replicator_t *self, outbox_t *out);
void replicator_on_log_durable(replicator_t *self, const msg_log_durable_t *notice, outbox_t *out);
void replicator_check_stall(replicator_t *self, outbox_t *out);
/* The record with the last lsn, up to the last index written, is on its way. */
void replicator_push_inflight(replicator_t *self, bool is_mark);
uint64_t replicator_stall_due_us(const replicator_t *self);
/* Appends to the log in memory. */
void replicator_append(replicator_t *self, const entry_t *entry);
/* Replaces from `from` on, which is above the commit index (asserted). */
void replicator_cut(replicator_t *self, uint64_t from);

/* ---- replicator_store.c ---- */
void replicator_deliver(replicator_t *self, outbox_t *out);
void replicator_on_applied(replicator_t *self, const msg_applied_t *applied);
void replicator_raise_commit(replicator_t *self, uint64_t index);

/* ---- replicator_propose.c ---- */
void replicator_on_propose(replicator_t *self, msg_t *msg, outbox_t *out);
/* Appends, forwards or refuses. Takes the items. */
void replicator_submit(replicator_t *self, batch_t *batch, outbox_t *out);
/* It never entered the log. Takes the items. */
void replicator_refuse(replicator_t *self, batch_t *batch, api_error_t error, outbox_t *out);
void replicator_push_pending(pending_queue_t *queue, const pending_t *proposal);
/* What is delivered is settled: the store answers it. Returns how many bytes that were. */
size_t replicator_settle(pending_queue_t *queue, uint64_t delivered);
/* Tells of each that it may or may not be committed, and forgets it. */
void replicator_give_up(pending_queue_t *queue, outbox_t *out);
/* One message to each actor about its proposals among these. */
void replicator_tell_fate(msg_kind_t kind, const pending_t *items, size_t count, api_error_t error,
                          outbox_t *out);

/* ---- replicator_forward.c ---- */
void replicator_forward(replicator_t *self, batch_t *batch, outbox_t *out);
void replicator_on_forward(replicator_t *self, const msg_peer_t *peer, outbox_t *out);
void replicator_on_forward_reply(replicator_t *self, const msg_peer_t *peer, outbox_t *out);
/* A forwarded batch is in the log now, its last entry at the end of it. */
void replicator_taken(replicator_t *self, const batch_t *batch);
void replicator_say_taken(replicator_t *self, outbox_t *out);
/* What is delivered of what was forwarded is settled: the store answers it. Of what a snapshot has brought
 * nobody here knows. */
void replicator_settle_forwarded(replicator_t *self, outbox_t *out);
void replicator_give_up_forwarded(replicator_t *self, outbox_t *out);

/* ---- replicator_reads.c ---- */
void replicator_on_read(replicator_t *self, const msg_t *msg, outbox_t *out);
void replicator_on_read_forward(replicator_t *self, const msg_peer_t *peer, outbox_t *out);
void replicator_on_read_answer(replicator_t *self, const msg_peer_t *peer, outbox_t *out);
void replicator_fail_reads(replicator_t *self, api_error_t error, outbox_t *out);
/* Leader: answers what is confirmed and begins a round for what has come since. True: followers must hear
 * of it. */
bool replicator_confirm_reads(replicator_t *self, outbox_t *out);
/* Follower: asks the leader for what has come since, and again for what got lost. */
void replicator_ask_reads(replicator_t *self, outbox_t *out);
uint64_t replicator_reads_due_us(const replicator_t *self);

/* ---- replicator_members.c ---- */
/* The log's newest configuration has changed. */
void replicator_adopt_configuration(replicator_t *self);
/* Tells election and peer, if there is anything new. */
void replicator_tell_members(replicator_t *self, outbox_t *out);
/* The first item of the batch is a change; it is made when no other one is under way. Takes that item. */
void replicator_submit_change(replicator_t *self, const batch_t *batch, proposal_t *item,
                              outbox_t *out);
void replicator_make_changes(replicator_t *self, outbox_t *out);
void replicator_drop_changes(replicator_t *self, outbox_t *out);
/* Has this member been removed for good? */
bool replicator_must_leave(const replicator_t *self);
bool replicator_is_voter(const replicator_t *self);
/* Is this member's word alone a quorum? */
bool replicator_is_quorum(const replicator_t *self);
/* Up to here what this member has on its disk is committed, whoever leads. */
uint64_t replicator_alone_until(const replicator_t *self);

/* ---- replicator_transfer.c ---- */
void replicator_on_transfer(replicator_t *self, const msg_t *msg, outbox_t *out);
void replicator_on_stop(replicator_t *self, outbox_t *out);
bool replicator_is_handing_over(const replicator_t *self);
/* Keeps the batch until the handover is over. Takes the items. */
void replicator_hold(replicator_t *self, batch_t *batch, outbox_t *out);
/* Leadership has ended. */
void replicator_handed_over(replicator_t *self, outbox_t *out);
void replicator_mind_handover(replicator_t *self, outbox_t *out);
uint64_t replicator_handover_due_us(const replicator_t *self);

/* ---- replicator_snapshot.c ---- */
void replicator_send_snapshot(replicator_t *self, progress_t *follower, outbox_t *out);
void replicator_on_snap_done(replicator_t *self, const msg_snap_t *snap);
/* Ends those that nobody waits for any more: each pins a view of the store. */
void replicator_mind_sendings(replicator_t *self, outbox_t *out);
void replicator_on_snap_meta(replicator_t *self, const msg_peer_t *peer, outbox_t *out);
void replicator_on_snap_received(replicator_t *self, msg_snap_t *received, outbox_t *out);
void replicator_on_snap_installed(replicator_t *self, const msg_snap_t *installed);
/* SNAP_MARK is durable. */
void replicator_marked(replicator_t *self);
/* Goes on with what is being installed, where there is room. */
void replicator_mind_install(replicator_t *self, outbox_t *out);
/* Unless it can't be stopped any more. */
void replicator_drop_snapshot(replicator_t *self, outbox_t *out);
void replicator_forget_snapshot(replicator_t *self);
bool replicator_is_marking(const replicator_t *self);    /* nothing may be appended or committed */
bool replicator_is_installing(const replicator_t *self); /* nothing may be acknowledged */

/* ---- replicator_leader.c ---- */
progress_t *replicator_find_follower(replicator_t *self, uint64_t member);
/* Has it answered within an election timeout? */
bool replicator_is_alive(const replicator_t *self, const progress_t *follower);
/* One per other member of the configuration; who stays keeps what is known about it. */
void replicator_renew_followers(replicator_t *self);
void replicator_begin_leading(replicator_t *self);
void replicator_lead(replicator_t *self, bool has_new_round, outbox_t *out);
void replicator_advance_commit(replicator_t *self);
/* Highest round that a quorum has confirmed. */
uint64_t replicator_confirmed_round(replicator_t *self);
void replicator_on_append_ack(replicator_t *self, const msg_peer_t *peer, outbox_t *out);
void replicator_on_heartbeat_ack(replicator_t *self, const msg_peer_t *peer, outbox_t *out);
/* Somebody at that member waits for the index to be committed: it hears of it at once. */
void replicator_awaits(replicator_t *self, uint64_t member, uint64_t index);
/* When there is something to say without being asked: heartbeats, a commit index. */
uint64_t replicator_lead_due_us(const replicator_t *self);

/* ---- replicator_follower.c ---- */
/* False: nonsense. Else the member leads the open term; election hears of it. */
bool replicator_heard_leader(replicator_t *self, const msg_peer_t *peer, outbox_t *out);
void replicator_on_append(replicator_t *self, const msg_peer_t *peer, outbox_t *out);
void replicator_on_heartbeat(replicator_t *self, const msg_peer_t *peer, outbox_t *out);
void replicator_on_interest(replicator_t *self, const msg_interest_t *interest);
void replicator_follow(replicator_t *self, outbox_t *out);
uint64_t replicator_leader_due_us(const replicator_t *self);
