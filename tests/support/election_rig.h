/* election_rig: drives one election core: the test is its replicator, its WAL writer and the other members.
 * Its names begin with et_ ("election test").
 * The member is number 1, in term 4, with a log that ends at 3/10, unless said otherwise. */
#pragma once

#include "actors/election/election.h"
#include "tests/support/core_test.h"

#define TIMEOUT   1000000u
#define HEARTBEAT 100000u
#define LEARNER   (1u << 30) /* added to an id */

/* An encoded configuration; ids end with 0. */
bytes_t *et_members_of(const uint64_t *ids);
#define MEMBERS(...) et_members_of((const uint64_t[]){__VA_ARGS__, 0})

typedef struct {
    core_test_t core;
    bytes_t *members;               /* what the log says */
    bool is_needed;                 /* MEMBERS says: without a vote, too */
    uint64_t last_term, last_index; /* of the log */
} et_rig_t;

extern metrics_t et_metrics;

/* Takes the configuration; of `changes`, term, vote, pre_vote, tick_advance and seed count. */
et_rig_t et_rig_with(bytes_t *members, const election_cfg_t *changes);
et_rig_t et_rig_of(bytes_t *members);
void et_rig_end(et_rig_t *rig);

/* ---- what comes out; ROLE apart ---- */
msg_t *et_expect(et_rig_t *rig, msg_kind_t kind); /* yours */
void et_expect_term(et_rig_t *rig, msg_kind_t kind, uint64_t term);
peer_msg_t et_expect_peer(et_rig_t *rig, uint64_t member, peer_kind_t kind, uint64_t term);
void et_expect_nothing(et_rig_t *rig);
/* The last ROLE of those that come next, everything else dropped. There must be one for each listener. */
msg_role_t et_expect_role(et_rig_t *rig);

/* ---- what replicator and WAL writer answer ---- */
void et_answer_position(et_rig_t *rig, msg_t **question_p);
void et_answer_query(et_rig_t *rig);
void et_answer_fence(et_rig_t *rig, uint64_t term);
void et_answer_hardstate(et_rig_t *rig, uint64_t term, uint64_t vote);
/* The whole way to a term with this vote: FENCE, HARDSTATE, OPEN. */
void et_change_term(et_rig_t *rig, uint64_t term, uint64_t vote);

/* ---- what goes in ---- */
void et_tell(et_rig_t *rig, msg_kind_t kind, uint64_t term, uint64_t member);
void et_tell_gone(et_rig_t *rig, uint64_t member);
void et_tell_members(et_rig_t *rig, bytes_t *members);
void et_tell_disk(et_rig_t *rig, msg_kind_t kind);
void et_send_peer(et_rig_t *rig, uint64_t member, peer_msg_t *content);
/* A request for a pre-vote or vote by one whose log is as good as ours, moved by `longer`. */
void et_request(et_rig_t *rig, peer_kind_t kind, uint64_t member, uint64_t term, int longer);
void et_answer(et_rig_t *rig, peer_kind_t kind, uint64_t member, uint64_t term, bool granted);
uint64_t et_deadline(const et_rig_t *rig);
void et_wake_at(et_rig_t *rig, uint64_t now_us);
void et_time_out(et_rig_t *rig); /* later than any time-out of a follower */

/* ---- stories ---- */
void et_poll_votes(et_rig_t *rig); /* its time-out, to the requests for pre-votes */
void et_stand(et_rig_t *rig); /* a candidate of {1, 2, 3} in term 5, its requests on their way */
void et_lead(et_rig_t *rig);  /* the leader of term 5 */
