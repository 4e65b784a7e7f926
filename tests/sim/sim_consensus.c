/* What docs/CONSENSUS.md says must hold, after every message: S0 to S5 of its table, and the rules on commits
 * and membership. Nothing is asked of the cores; all is known from the messages that they put, and from what a
 * start finds on the disk. So a broken rule is seen where it breaks, long before a client could notice. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "messages/configuration.h"
#include "messages/xalloc.h"
#include "tests/sim/sim.h"

/* A log as the terms of its entries: terms[i] of index base + 1 + i. */
typedef struct {
    uint64_t base, base_term;
    uint64_t *terms;
    size_t count, capacity;
} log_t;

typedef struct {
    uint64_t term, index;
} position_t;

/* APPEND_LOG or SNAP_MARK on its way to the disk. */
typedef struct {
    uint64_t lsn;
    bool is_mark;
    position_t mark;
    uint64_t first;
    uint64_t *terms;
    size_t count;
} record_t;

/* Of one term. */
typedef struct {
    uint64_t vote;     /* given in it, as another member has heard; 0 = none */
    position_t ballot; /* with which this member stood */
} ballot_t;

typedef struct {
    log_t written, disk; /* as handed to the WAL writer; as it has said to be durable */
    record_t *records;   /* what is between the two */
    size_t record_count, record_capacity;
    ballot_t *ballots; /* by term */
    size_t ballot_count;
    uint64_t hard_term, hard_vote; /* durable */
    uint64_t decided;              /* the term that election has decided about */
    position_t acked;              /* the best one, */
    uint64_t acked_in;             /* and the term of the last one */
    uint64_t configuration_index;  /* of the newest configuration written */
    bytes_t *configuration;        /* the newest one in its log */
} view_t;

typedef struct {
    uint64_t term; /* of the entry */
    uint64_t led;  /* highest term that anybody led when it was first seen to be committed */
} committed_t;

struct consensus {
    sim_t *sim;
    view_t views[SIM_MEMBERS_MAX];
    committed_t *committed; /* by index - 1 */
    size_t committed_count, committed_capacity;
    uint64_t led;   /* highest term that anybody led */
    uint64_t known; /* highest commit index that anybody has spoken of */
};

/* ---- logs ---- */

static uint64_t last_index(const log_t *log)
{
    return log->base + log->count;
}

/* What is below the base was committed, whatever its term was. */
static bool holds(const log_t *log, uint64_t index, uint64_t term)
{
    if (index <= log->base) {
        return index < log->base || term == log->base_term;
    }
    return index <= last_index(log) && log->terms[index - log->base - 1] == term;
}

static uint64_t term_at(const log_t *log, uint64_t index)
{
    if (index <= log->base || index > last_index(log)) {
        return index == log->base ? log->base_term : 0;
    }
    return log->terms[index - log->base - 1];
}

static position_t end_of(const log_t *log)
{
    return (position_t){.term = term_at(log, last_index(log)), .index = last_index(log)};
}

static bool is_below(position_t a, position_t b)
{
    return a.term != b.term ? a.term < b.term : a.index < b.index;
}

static void push_term(log_t *log, uint64_t term)
{
    log->terms = xgrow(log->terms, &log->capacity, log->count + 1, sizeof *log->terms);
    log->terms[log->count++] = term;
}

static void begin_after(log_t *log, position_t mark)
{
    bool keeps = mark.index > log->base && holds(log, mark.index, mark.term);
    size_t dropped = keeps ? (size_t)(mark.index - log->base) : log->count;
    log->count -= dropped;
    if (log->count) {
        memmove(log->terms, log->terms + dropped, log->count * sizeof *log->terms);
    }
    log->base = mark.index;
    log->base_term = mark.term;
}

static void take_record(log_t *log, const record_t *record)
{
    if (record->is_mark) {
        begin_after(log, record->mark);
        return;
    }
    assert(record->first > log->base && record->first <= last_index(log) + 1);
    log->count = (size_t)(record->first - log->base - 1);
    for (size_t i = 0; i < record->count; i++) {
        push_term(log, record->terms[i]);
    }
}

static void recovered_log(log_t *log, const wal_recovered_t *recovered)
{
    log->base = recovered->base_index;
    log->base_term = recovered->base_term;
    log->count = 0;
    for (size_t i = 0; i < recovered->entries.count; i++) {
        push_term(log, recovered->entries.items[i].term);
    }
}

/* ---- life ---- */

consensus_t *consensus_new(sim_t *sim)
{
    consensus_t *self = xcalloc(1, sizeof *self);
    self->sim = sim;
    return self;
}

static void forget_records(view_t *view, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(view->records[i].terms);
    }
    view->record_count -= count;
    if (count && view->record_count) {
        memmove(view->records, view->records + count, view->record_count * sizeof *view->records);
    }
}

void consensus_destroy(consensus_t **self_p)
{
    consensus_t *self = *self_p;
    *self_p = NULL;
    for (size_t i = 0; i < SIM_MEMBERS_MAX; i++) {
        view_t *view = &self->views[i];
        forget_records(view, view->record_count);
        free(view->records);
        free(view->written.terms);
        free(view->disk.terms);
        free(view->ballots);
        bytes_unref(&view->configuration);
    }
    free(self->committed);
    free(self);
}

static void adopt_configuration(view_t *view, const bytes_t *configuration)
{
    bytes_unref(&view->configuration);
    view->configuration = bytes_ref(configuration);
}

/* What the disk had acknowledged is still there. The end of a log only moves up in the order of (term, index),
 * also when a part of it is replaced; but for a snapshot, which takes the place of what leaders that came to
 * nothing had left. */
void consensus_started(consensus_t *self, const member_t *member)
{
    view_t *view = &self->views[member->slot];
    const wal_recovered_t *recovered = &member->recovered;
    bool is_vote_kept = recovered->term > view->hard_term ||
                        (recovered->term == view->hard_term &&
                         (view->hard_vote == 0 || recovered->vote == view->hard_vote));
    if (!is_vote_kept) {
        sim_fail(self->sim,
                 "m%u forgets its vote: term %" PRIu64 " for %" PRIx64 ", found %" PRIu64
                 " %" PRIx64,
                 member->slot, view->hard_term, view->hard_vote, recovered->term, recovered->vote);
    }
    position_t durable = end_of(&view->disk);
    bool may_be_replaced = false; /* by a snapshot, whose mark was on its way */
    for (size_t i = 0; i < view->record_count; i++) {
        may_be_replaced |= view->records[i].is_mark;
    }
    recovered_log(&view->disk, recovered);
    recovered_log(&view->written, recovered);
    if (!may_be_replaced && is_below(end_of(&view->disk), durable)) {
        sim_fail(self->sim, "m%u forgets entries: its disk had acknowledged up to %" PRIu64,
                 member->slot, durable.index);
    }
    forget_records(view, view->record_count);
    view->hard_term = recovered->term;
    view->hard_vote = recovered->vote;
    view->decided = recovered->term;
    adopt_configuration(view, wal_recovered_configuration(recovered, &view->configuration_index));
}

/* ---- commits ---- */

/* A leader commits by counting only entries of its own term. So whoever is first to speak of a commit index leads,
 * and has such an entry there. */
static void speak_of_commit(consensus_t *self, const member_t *member, uint64_t index)
{
    if (index <= self->known) {
        return;
    }
    self->known = index;
    uint64_t term = term_at(&self->views[member->slot].written, index);
    if (member->leads && term != member->leads) {
        sim_fail(self->sim,
                 "m%u leads term %" PRIu64 " and commits entry %" PRIu64 " of term %" PRIu64
                 " by counting",
                 member->slot, member->leads, index, term);
    }
}

static bool is_on_quorum(const consensus_t *self, const bytes_t *encoded, uint64_t index,
                         uint64_t term)
{
    configuration_t configuration = {0};
    if (!encoded || configuration_decode(&configuration, bytes_slice(encoded))) {
        return false;
    }
    size_t count = 0;
    for (size_t i = 0; i < SIM_MEMBERS_MAX; i++) {
        const member_t *member = &self->sim->members[i];
        count += member->exists && configuration_is_voter(&configuration, member->id) &&
                 holds(&self->views[i].disk, index, term);
    }
    bool is_enough = count >= configuration_quorum(&configuration);
    configuration_deinit(&configuration);
    return is_enough;
}

/* S4: on a majority of disks. The leader counts by the newest configuration in its log, which others may not have. */
static void check_quorum(const consensus_t *self, const entry_t *entry)
{
    if (entry->index == 1) {
        return; /* every first member is born with it */
    }
    bool found = is_on_quorum(self, reference_configuration(self->sim->reference), entry->index,
                              entry->term);
    for (size_t i = 0; !found && i < SIM_MEMBERS_MAX; i++) {
        found = is_on_quorum(self, self->views[i].configuration, entry->index, entry->term);
    }
    if (!found) {
        sim_fail(self->sim, "entry %" PRIu64 " is committed, but on no majority of disks",
                 entry->index);
    }
}

static void check_committed(consensus_t *self, const member_t *member,
                            const msg_committed_t *committed)
{
    const view_t *view = &self->views[member->slot];
    for (size_t i = 0; i < committed->entries.count; i++) {
        const entry_t *entry = &committed->entries.items[i];
        if (!holds(&view->disk, entry->index, entry->term)) {
            sim_fail(self->sim, "m%u applies entry %" PRIu64 " that its disk does not have",
                     member->slot, entry->index);
        }
        if (entry->index == self->committed_count + 1) {
            check_quorum(self, entry);
            self->committed = xgrow(self->committed, &self->committed_capacity,
                                    self->committed_count + 1, sizeof *self->committed);
            self->committed[self->committed_count++] =
                (committed_t){.term = entry->term, .led = self->led};
        }
    }
}

/* S1; and S2: a leader has every entry that was committed in lower terms. */
static void check_leader(consensus_t *self, const member_t *member, uint64_t term)
{
    const view_t *view = &self->views[member->slot];
    for (uint64_t index = self->committed_count; index > view->written.base; index--) {
        const committed_t *committed = &self->committed[index - 1];
        if (committed->led < term && !holds(&view->written, index, committed->term)) {
            sim_fail(self->sim,
                     "m%u leads term %" PRIu64 " without entry %" PRIu64 ", which is committed",
                     member->slot, term, index);
        }
    }
    self->led = term > self->led ? term : self->led;
}

/* ---- the log's way to the disk ---- */

static void add_record(view_t *view, record_t record)
{
    view->records =
        xgrow(view->records, &view->record_capacity, view->record_count + 1, sizeof *view->records);
    view->records[view->record_count++] = record;
    if (!record.is_mark) { /* a mark counts when it is durable: until then nothing else changes */
        take_record(&view->written, &record);
    }
}

/* A leader changes the membership only when an entry of its term is committed, and no other change is not. */
static void check_change(consensus_t *self, const member_t *member, const entry_t *entry,
                         uint64_t commit)
{
    view_t *view = &self->views[member->slot];
    bool is_own = entry->term == member->leads && entry->term == view->hard_term;
    if (is_own && term_at(&view->written, commit) != entry->term) {
        sim_fail(self->sim,
                 "m%u changes the membership before an entry of its term %" PRIu64 " is committed",
                 member->slot, entry->term);
    }
    if (is_own && view->configuration_index > commit) {
        sim_fail(self->sim, "m%u changes the membership while another change is not committed",
                 member->slot);
    }
    view->configuration_index = entry->index;
}

static void on_append_log(consensus_t *self, const member_t *member, const msg_append_log_t *append)
{
    view_t *view = &self->views[member->slot];
    size_t count = append->entries.count;
    record_t record = {.lsn = append->lsn, .first = append->first, .count = count};
    record.terms = xcalloc(count ? count : 1, sizeof *record.terms);
    for (size_t i = 0; i < count; i++) {
        record.terms[i] = append->entries.items[i].term;
        if (record.terms[i] > view->hard_term) { /* S7 */
            sim_fail(self->sim,
                     "m%u takes entry %" PRIu64 " of term %" PRIu64 ", which is not on its disk",
                     member->slot, append->first + i, record.terms[i]);
        }
    }
    if (view->configuration_index >= append->first) {
        view->configuration_index =
            0; /* replaced: nothing is known of the one below, but that it is older */
    }
    add_record(view, record);
    for (size_t i = 0; i < count; i++) {
        if (append->entries.items[i].type == ENTRY_CONFIGURATION) {
            check_change(self, member, &append->entries.items[i], append->commit);
        }
    }
    speak_of_commit(self, member, append->commit);
}

static void on_snap_mark(consensus_t *self, const member_t *member, const msg_snap_mark_t *mark)
{
    add_record(&self->views[member->slot],
               (record_t){.lsn = mark->lsn,
                          .is_mark = true,
                          .mark = {.term = mark->log_term, .index = mark->index}});
}

static void on_log_durable(consensus_t *self, const member_t *member, uint64_t lsn)
{
    view_t *view = &self->views[member->slot];
    size_t done = 0;
    for (; done < view->record_count && view->records[done].lsn <= lsn; done++) {
        const record_t *record = &view->records[done];
        take_record(&view->disk, record);
        if (record->is_mark) {
            begin_after(&view->written, record->mark);
            position_t end = end_of(&view->written);
            view->acked = is_below(end, view->acked) ? end : view->acked;
        }
    }
    forget_records(view, done);
}

/* ---- votes and acknowledgements ---- */

static ballot_t *ballot_of(view_t *view, uint64_t term)
{
    if (term >= view->ballot_count) {
        view->ballots = xrealloc(view->ballots, (term + 1) * sizeof *view->ballots);
        memset(view->ballots + view->ballot_count, 0,
               (term + 1 - view->ballot_count) * sizeof *view->ballots);
        view->ballot_count = term + 1;
    }
    return &view->ballots[term];
}

/* S0: one vote per member and term. True: it is the first time that this is said. */
static bool on_vote(consensus_t *self, const member_t *member, uint64_t term, uint64_t candidate)
{
    view_t *view = &self->views[member->slot];
    ballot_t *ballot = ballot_of(view, term);
    if (view->hard_term < term || (view->hard_term == term && view->hard_vote != candidate)) {
        sim_fail(self->sim, "m%u votes in term %" PRIu64 ", which is not on its disk", member->slot,
                 term);
    }
    if (ballot->vote && ballot->vote != candidate) {
        sim_fail(self->sim, "m%u votes twice in term %" PRIu64, member->slot, term);
    }
    bool is_new = ballot->vote == 0;
    ballot->vote = candidate;
    return is_new;
}

/* What was acknowledged before a vote is in the candidate's log, or overtaken by it: the fence is there for that. */
static void check_vote(consensus_t *self, const member_t *member, uint64_t term, uint64_t candidate)
{
    const member_t *other = sim_member(self->sim, candidate);
    position_t acked = self->views[member->slot].acked;
    if (self->views[member->slot].acked_in >= term) {
        return; /* an old story */
    }
    if (other && is_below(ballot_of(&self->views[other->slot], term)->ballot, acked)) {
        sim_fail(self->sim,
                 "m%u votes in term %" PRIu64 " for a log without entry %" PRIu64
                 ", which it has acknowledged",
                 member->slot, term, acked.index);
    }
}

/* S3: once election has decided about a term, by the position that it was told, nothing is acknowledged below it,
 * neither entries nor a leader's rounds. */
static void check_fence(consensus_t *self, const member_t *member, uint64_t term)
{
    uint64_t decided = self->views[member->slot].decided;
    if (term < decided) {
        sim_fail(self->sim,
                 "m%u acknowledges in term %" PRIu64 " when it has decided about term %" PRIu64,
                 member->slot, term, decided);
    }
}

/* S5: it is on this member's disk. */
static void on_ack(consensus_t *self, const member_t *member, uint64_t term,
                   const peer_append_ack_t *ack)
{
    view_t *view = &self->views[member->slot];
    check_fence(self, member, term);
    position_t acked = {.term = term_at(&view->written, ack->index), .index = ack->index};
    if (!holds(&view->disk, acked.index, acked.term)) {
        sim_fail(self->sim, "m%u acknowledges entry %" PRIu64 " that its disk does not have",
                 member->slot, ack->index);
    }
    view->acked_in = term;
    if (is_below(view->acked, acked)) {
        view->acked = acked;
    }
}

static void on_peer(consensus_t *self, const member_t *member, const msg_peer_t *peer)
{
    const peer_msg_t *content = peer->content;
    switch (content->kind) {
    case PEER_REQ_VOTE:
        ballot_of(&self->views[member->slot], content->term)->ballot = (position_t){
            .term = content->u.vote_request.last_term, .index = content->u.vote_request.last_index};
        on_vote(self, member, content->term, member->id);
        break;
    case PEER_VOTE:
        if (content->u.vote.granted && on_vote(self, member, content->term, peer->member)) {
            check_vote(self, member, content->term, peer->member);
        }
        break;
    case PEER_APPEND_ACK:
        if (content->u.append_ack.ok) {
            on_ack(self, member, content->term, &content->u.append_ack);
        }
        break;
    case PEER_HB_ACK: check_fence(self, member, content->term); break;
    case PEER_APPEND: speak_of_commit(self, member, content->u.append.commit); break;
    case PEER_HEARTBEAT: speak_of_commit(self, member, content->u.heartbeat.commit); break;
    default: break;
    }
}

/* ---- all messages ---- */

void consensus_look(consensus_t *self, const member_t *member, actor_id_t to, const msg_t *msg)
{
    view_t *view = &self->views[member->slot];
    switch (msg->kind) {
    case MSG_APPEND_LOG: on_append_log(self, member, &msg->u.append_log); break;
    case MSG_SNAP_MARK: on_snap_mark(self, member, &msg->u.snap_mark); break;
    case MSG_LOG_DURABLE: on_log_durable(self, member, msg->u.log_durable.lsn); break;
    case MSG_HARDSTATE: view->decided = msg->u.hardstate.term; break;
    case MSG_HS_DURABLE:
        view->hard_term = msg->u.hardstate.term;
        view->hard_vote = msg->u.hardstate.vote;
        break;
    case MSG_MEMBERS: adopt_configuration(view, msg->u.members.configuration); break;
    case MSG_LEAD: check_leader(self, member, msg->u.term.term); break;
    case MSG_COMMITTED:
        speak_of_commit(self, member, msg->u.committed.commit);
        check_committed(self, member, &msg->u.committed);
        break;
    case MSG_PEER:
        if (to == ACTOR_PEER) {
            on_peer(self, member, &msg->u.peer);
        }
        break;
    default: break;
    }
}
