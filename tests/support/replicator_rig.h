/* replicator_rig: a replicator driven by hand, among members who are played by the test. What it puts out
 * is collected; a test takes what it is about and leaves the rest. Member 1 is the one under test. */
#pragma once

#include "actors/replicator/replicator.h"
#include "tests/support/core_test.h"

enum {
    REPL_SENT_MAX = 4096,
    REPL_HEARTBEAT_US = 100000,
    REPL_ELECTION_US = 1000000,
    REPL_COMMIT_WAITS_US = 2000, /* for an append, when nobody is known to wait */
};

typedef struct {
    actor_id_t to;
    msg_t *msg;
} repl_sent_t;

typedef struct {
    core_test_t core;
    metrics_t metrics;
    repl_sent_t sent[REPL_SENT_MAX]; /* not taken yet, in order */
    size_t sent_count;
    uint64_t lsn;         /* last record handed to the disk */
    uint64_t incarnation; /* of the members that speak */
    bool is_watched;      /* what they say about themselves */
} repl_t;

/* Voters with these ids, then learners: ids end with 0, both lists too. */
bytes_t *repl_configuration(const uint64_t *voters, const uint64_t *learners);
/* An entry at each of 1, 2, ...: their terms, ending with 0. */
entries_t repl_entries(const uint64_t *terms);

/* Voters 1 .. `voters`, hard state of `term`, entries with these terms (NULL = none), `commit` of them committed. */
repl_t *repl_new(size_t voters, uint64_t term, const uint64_t *terms, uint64_t commit);
repl_t *repl_new_with(const replicator_cfg_t *cfg); /* times are set here */
void repl_destroy(repl_t **self_p);

/* Each of these steps once; repl_flush ends the burst and collects. */
void repl_send(repl_t *self, actor_id_t from, msg_t **msg_p);
void repl_flush(repl_t *self);
void repl_advance(repl_t *self, uint64_t micros); /* moves the clock, then repl_flush */
void repl_fence(repl_t *self, uint64_t term);
void repl_tell(repl_t *self, msg_kind_t kind, uint64_t term); /* OPEN, LEAD, STEP_DOWN */
void repl_open(repl_t *self, uint64_t term);                  /* FENCE and OPEN */
void repl_lead(repl_t *self, uint64_t term);                  /* FENCE, OPEN, LEAD, end of burst */
void repl_propose(repl_t *self, uint64_t req_id, const char *payload);
void repl_read(repl_t *self, uint64_t read_id);
/* A change of membership: 'a'dd, add as 'l'earner, 'r'emove, 'u'pdate, 'p'romote. */
bytes_t *repl_change(char kind, uint64_t member);
void repl_propose_change(repl_t *self, uint64_t req_id, char kind, uint64_t member);
/* The disk has all records up to this lsn (0 = all that were handed to it); ends the burst. */
void repl_durable(repl_t *self, uint64_t lsn);
void repl_applied(repl_t *self, uint64_t index);
/* What a member says. */
void repl_hear(repl_t *self, uint64_t member, peer_msg_t **content_p);
void repl_hear_append(repl_t *self, uint64_t member, uint64_t term, uint64_t prev_index,
                      uint64_t prev_term, const uint64_t *terms, uint64_t commit);
void repl_hear_heartbeat(repl_t *self, uint64_t member, uint64_t term, uint64_t commit,
                         uint64_t round);
void repl_hear_ack(repl_t *self, uint64_t member, uint64_t term, uint64_t index, uint64_t round);
void repl_hear_refusal(repl_t *self, uint64_t member, uint64_t term, uint64_t prev_index,
                       uint64_t hint_index, uint64_t hint_term);
void repl_hear_heartbeat_ack(repl_t *self, uint64_t member, uint64_t term, uint64_t round);

/* The first message of the kind to that actor (to that member), which is taken; NULL = none. Free it. */
msg_t *repl_take(repl_t *self, actor_id_t to, msg_kind_t kind);
msg_t *repl_take_peer(repl_t *self, uint64_t member, peer_kind_t kind);
/* The same, but there must be one. */
msg_t *repl_expect(repl_t *self, actor_id_t to, msg_kind_t kind);
msg_t *repl_expect_peer(repl_t *self, uint64_t member, peer_kind_t kind);
/* There must be none. */
void repl_expect_none(repl_t *self, actor_id_t to, msg_kind_t kind);
void repl_expect_no_peer(repl_t *self, uint64_t member, peer_kind_t kind);
/* Forgets what was not taken. */
void repl_clear(repl_t *self);
/* The position that election would be told. */
msg_position_t repl_position(repl_t *self);
