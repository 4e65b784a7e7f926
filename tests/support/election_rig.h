/* election_rig: drives one election core: the test is its replicator, its WAL writer and the other members.
 * The member is number 1, in term 4, with a log that ends at 3/10, unless said otherwise. */
#pragma once

#include "actors/election/election.h"
#include "tests/support/core_test.h"

#define TIMEOUT   1000000u
#define HEARTBEAT 100000u
#define LEARNER   (1u << 30) /* added to an id */

/* An encoded configuration; ids end with 0. */
bytes_t *members_of(const uint64_t *ids);
#define MEMBERS(...) members_of((const uint64_t[]){__VA_ARGS__, 0})

typedef struct {
    core_test_t core;
    bytes_t *members;               /* what the log says */
    uint64_t last_term, last_index; /* of the log */
} rig_t;

extern metrics_t metrics;

/* Takes the configuration; of `changes`, term, vote, pre_vote, tick_advance and seed count. */
rig_t rig_with(bytes_t *members, const election_cfg_t *changes);
rig_t rig_of(bytes_t *members);
void rig_end(rig_t *rig);

/* ---- what comes out; ROLE apart ---- */
msg_t *expect(rig_t *rig, msg_kind_t kind); /* yours */
void expect_term(rig_t *rig, msg_kind_t kind, uint64_t term);
peer_msg_t expect_peer(rig_t *rig, uint64_t member, peer_kind_t kind, uint64_t term);
void expect_nothing(rig_t *rig);
/* The last ROLE of those that come next, everything else dropped. There must be one for each listener. */
msg_role_t expect_role(rig_t *rig);

/* ---- what replicator and WAL writer answer ---- */
void answer_position(rig_t *rig, msg_t **question_p);
void answer_query(rig_t *rig);
void answer_fence(rig_t *rig, uint64_t term);
void answer_hardstate(rig_t *rig, uint64_t term, uint64_t vote);
/* The whole way to a term with this vote: FENCE, HARDSTATE, OPEN. */
void change_term(rig_t *rig, uint64_t term, uint64_t vote);

/* ---- what goes in ---- */
void tell(rig_t *rig, msg_kind_t kind, uint64_t term, uint64_t member);
void tell_members(rig_t *rig, bytes_t *members);
void tell_disk(rig_t *rig, msg_kind_t kind);
void send_peer(rig_t *rig, uint64_t member, peer_msg_t *content);
/* A request for a pre-vote or vote by one whose log is as good as ours, moved by `longer`. */
void request(rig_t *rig, peer_kind_t kind, uint64_t member, uint64_t term, int longer);
void answer(rig_t *rig, peer_kind_t kind, uint64_t member, uint64_t term, bool granted);
uint64_t deadline(const rig_t *rig);
void wake_at(rig_t *rig, uint64_t now_us);
void time_out(rig_t *rig); /* later than any time-out of a follower */

/* ---- stories ---- */
void poll_votes(rig_t *rig); /* its time-out, to the requests for pre-votes */
void stand(rig_t *rig);      /* a candidate of {1, 2, 3} in term 5, its requests on their way */
void lead(rig_t *rig);       /* the leader of term 5 */
