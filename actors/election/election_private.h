/* election_private: the state of the election core, shared by its files. Pure; not for others.
 *
 * The phases, each arrow a message (docs/CONSENSUS.md, "An election"):
 *
 *   idle --timeout--> querying --POS--> polling --pre-votes--> fencing --FENCED--> persisting
 *    ^                                                            ^                    |
 *    |                           timeout without pre-vote, a      |                HS_DURABLE
 *    |                           request for a vote, BOUNCE, TIMEOUT_NOW               |
 *    |                                                                                 v
 *    +--- vote given, term adopted, lost, timeout ------------------------------- standing
 *    +--- quorum silent, disk stalled, resigned ---- leading <------ votes -----------+
 *
 * Invariants:
 * 1. `term` and `vote` are durable: they change only at HS_DURABLE. No vote is changed within a term (S0).
 * 2. OPEN, votes and candidacies go out only after that.
 * 3. LEAD goes out only from `standing`, once per term, with a quorum of the votes of that campaign,
 *    counted by the configuration that FENCED of that campaign reported (S1).
 * 4. Whatever a peer says is a hint or a vote; nothing of it is asserted. */
#pragma once

#include "actors/core/prng.h"
#include "actors/core/sm.h"
#include "actors/election/election.h"
#include "messages/configuration.h"

enum { IDLE, QUERYING, POLLING, FENCING, PERSISTING, STANDING, LEADING };

/* The term change under way: fence, decide, make durable, make known. */
typedef enum { CHANGE_STAND, CHANGE_VOTE, CHANGE_ADOPT } change_kind_t;
typedef struct {
    change_kind_t kind;
    uint64_t term;
    uint64_t vote;               /* decided when the replicator is fenced */
    uint64_t member;             /* VOTE: who asks */
    peer_vote_request_t request; /* VOTE: its log */
    bool transfer;               /* STAND: the leader asked for it */
    uint64_t resume_us;          /* when the time-out was due that goes on unless a vote is given */
} change_t;

/* A campaign, for pre-votes or votes. */
typedef enum { ANSWER_NONE, ANSWER_GRANTED, ANSWER_REFUSED } answer_t;
typedef struct {
    configuration_t configuration; /* by which it is counted */
    answer_t *answers;             /* of configuration.members */
    uint64_t term;                 /* stood for */
    uint64_t last_term, last_index;
    bool transfer;
} ballot_t;

/* A pre-vote that another member wants and for which the replicator was asked for its position. */
typedef struct {
    uint64_t seq; /* 0 = none */
    uint64_t member, term;
    peer_vote_request_t request;
} pre_vote_t;

struct election {
    election_cfg_t cfg;
    metrics_t *metrics;
    prng_t prng;
    sm_t phase;
    configuration_t configuration; /* newest heard of: whether to stand, and when */
    uint64_t term, vote;
    uint64_t led_term; /* the last term that was led */
    uint64_t
        heard_term;  /* highest one that others spoke of: adopted as soon as nothing is under way */
    uint64_t leader; /* 0 = unknown */
    uint64_t leader_us; /* when it was heard; while leading: when a quorum was */
    uint64_t gone_us;  /* since then its process seems to have ended; DEADLINE_NONE = it does not */
    uint64_t last_seq; /* of questions to replicator and WAL writer */
    uint64_t open_seq; /* that is waited for; answers to older ones are ignored */
    change_t change;
    ballot_t ballot;
    pre_vote_t pre_vote;
    uint64_t
        deadline_us; /* a campaign, the end of one, or of the leadership; DEADLINE_NONE = answers end it */
    uint64_t repeat_us; /* polling, standing: ask again those who have not answered */
    msg_role_t told;    /* the last ROLE */
    bool is_needed;     /* it may have to lead without a vote: MEMBERS */
    bool started, disk_stalled, stopped;
};

/* ---- election.c ---- */
bool election_may_stand(const election_t *self);
bool election_is_alone(const election_t *self); /* the only voter */
/* The next time-out as follower, pre-candidate or candidate. */
void election_schedule(election_t *self, uint64_t now_us);
/* Is the leader's process held for ended? By GONE, if nothing was heard since for as long as GONE_HEARTBEATS. */
bool election_leader_is_gone(const election_t *self, uint64_t now_us);
/* ROLE to whom it concerns, if it is news. */
void election_announce(election_t *self, role_t role, outbox_t *out);
/* 0, or the node stops: the log holds a configuration that can't be read. */
int election_learn(election_t *self, const bytes_t *configuration, uint64_t index, outbox_t *out);
/* OPEN, LEAD, STEP_DOWN for the term that is. */
void election_tell_replicator(election_t *self, msg_kind_t kind, outbox_t *out);
/* FENCE, QUERY_POS; returns its number. */
uint64_t election_ask_replicator(election_t *self, msg_kind_t kind, uint64_t term, outbox_t *out);
void election_say(uint64_t member, peer_msg_t **content_p, outbox_t *out);
/* Back to a follower without a leader, in the same term. */
void election_follow(election_t *self, uint64_t now_us, outbox_t *out);

/* ---- election_change.c: the way to a term or a vote ---- */
void election_begin_change(election_t *self, const change_t *change, outbox_t *out);
void election_on_fenced(election_t *self, const msg_position_t *position, uint64_t now_us,
                        outbox_t *out);
void election_on_hardstate_durable(election_t *self, const msg_hardstate_t *durable,
                                   uint64_t now_us, outbox_t *out);
/* Others speak of a term: adopt it if it is higher than ours, now or after the change under way. */
void election_hear_term(election_t *self, uint64_t term, outbox_t *out);

/* ---- election_campaign.c: its own candidacy ---- */
void election_start_campaign(election_t *self, outbox_t *out);
void election_on_own_position(election_t *self, const msg_position_t *position, uint64_t now_us,
                              outbox_t *out);
/* Who is to vote, and with which log it is stood for the term. */
void election_open_ballot(election_t *self, uint64_t term, const msg_position_t *position);
void election_close_ballot(election_t *self);
/* The candidacy is durable. */
void election_stand(election_t *self, uint64_t now_us, outbox_t *out);
void election_repeat_requests(election_t *self, uint64_t now_us, outbox_t *out);
void election_on_pre_vote(election_t *self, uint64_t member, const peer_msg_t *answer,
                          uint64_t now_us, outbox_t *out);
void election_on_vote(election_t *self, uint64_t member, const peer_msg_t *answer, uint64_t now_us,
                      outbox_t *out);
void election_on_timeout_now(election_t *self, uint64_t member, const peer_msg_t *request,
                             outbox_t *out);

/* ---- election_votes.c: the candidacies of others ---- */
void election_on_pre_vote_request(election_t *self, uint64_t member, const peer_msg_t *request,
                                  uint64_t now_us, outbox_t *out);
/* The answer to QUERY_POS for it. */
void election_on_pre_vote_position(election_t *self, const msg_position_t *position,
                                   uint64_t now_us, outbox_t *out);
void election_on_vote_request(election_t *self, uint64_t member, const peer_msg_t *request,
                              uint64_t now_us, outbox_t *out);
void election_answer_vote(election_t *self, uint64_t member, bool granted, outbox_t *out);
/* Is the candidate's log at least as good as the one at this position? */
bool election_log_suffices(const peer_vote_request_t *request, const msg_position_t *position);
