#include "tests/support/replicator_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "membership.pb-c.h"
#include "messages/xalloc.h"

enum { MEMBERS_MAX = 16 };

bytes_t *repl_configuration(const uint64_t *voters, const uint64_t *learners)
{
    Quoral__ConfigurationMember members[MEMBERS_MAX];
    Quoral__ConfigurationMember *pointers[MEMBERS_MAX];
    char names[MEMBERS_MAX][24];
    char *urls[MEMBERS_MAX];
    Quoral__Configuration message = QUORAL__CONFIGURATION__INIT;
    message.members = pointers;
    for (int list = 0; list < 2; list++) {
        const uint64_t *ids = list ? learners : voters;
        for (; ids && *ids; ids++) {
            size_t at = message.n_members++;
            quoral__configuration_member__init(&members[at]);
            snprintf(names[at], sizeof names[at], "tcp://m%d:1", (int)*ids);
            urls[at] = names[at];
            members[at].id = *ids;
            members[at].learner = list == 1;
            members[at].peer_urls = &urls[at];
            members[at].n_peer_urls = 1;
            pointers[at] = &members[at];
        }
    }
    uint8_t *room = NULL;
    bytes_t *bytes = bytes_alloc(quoral__configuration__get_packed_size(&message), &room);
    quoral__configuration__pack(&message, room);
    return bytes;
}

static void fill(entries_t *entries, uint64_t first, const uint64_t *terms)
{
    for (uint64_t index = first; terms && *terms; terms++, index++) {
        entry_t entry = {.index = index, .term = *terms, .payload = bytes_new("entry", 5)};
        entries_append(entries, &entry);
        bytes_unref(&entry.payload);
    }
}

entries_t repl_entries(const uint64_t *terms)
{
    entries_t entries = {0};
    fill(&entries, 1, terms);
    return entries;
}

repl_t *repl_new_with(const replicator_cfg_t *given)
{
    repl_t *self = xcalloc(1, sizeof *self);
    replicator_cfg_t cfg = *given;
    cfg.member_id = 1;
    cfg.election_timeout_us = REPL_ELECTION_US;
    cfg.heartbeat_us = REPL_HEARTBEAT_US;
    cfg.max_learners = 1;
    cfg.catchup_entries = cfg.catchup_entries ? cfg.catchup_entries : 100;
    self->core =
        core_test_new(ACTOR_REPLICATOR, &replicator_ops, replicator_new(&cfg, &self->metrics));
    self->incarnation = 7;
    return self;
}

repl_t *repl_new(size_t voters, uint64_t term, const uint64_t *terms, uint64_t commit)
{
    uint64_t ids[MEMBERS_MAX] = {0};
    for (size_t i = 0; i < voters; i++) {
        ids[i] = i + 1;
    }
    bytes_t *configuration = repl_configuration(ids, NULL);
    entries_t entries = repl_entries(terms);
    replicator_cfg_t cfg = {
        .term = term, .commit = commit, .configuration = configuration, .entries = &entries};
    repl_t *self = repl_new_with(&cfg);
    entries_deinit(&entries);
    bytes_unref(&configuration);
    repl_flush(self);
    return self;
}

void repl_destroy(repl_t **self_p)
{
    repl_t *self = *self_p;
    *self_p = NULL;
    repl_clear(self);
    core_test_end(&self->core);
    free(self);
}

/* ---- in ---- */

static void collect(repl_t *self)
{
    actor_id_t to = ACTOR_NONE;
    msg_t *msg = NULL;
    while ((msg = core_test_take(&self->core, &to))) {
        assert_true(self->sent_count < REPL_SENT_MAX);
        if (msg->kind == MSG_APPEND_LOG) {
            self->lsn = msg->u.append_log.lsn;
        } else if (msg->kind == MSG_SNAP_MARK) {
            self->lsn = msg->u.snap_mark.lsn;
        }
        self->sent[self->sent_count++] = (repl_sent_t){.to = to, .msg = msg};
    }
}

void repl_send(repl_t *self, actor_id_t from, msg_t **msg_p)
{
    core_test_send(&self->core, from, msg_p);
    collect(self);
}

void repl_flush(repl_t *self)
{
    core_test_flush(&self->core);
    collect(self);
}

void repl_advance(repl_t *self, uint64_t micros)
{
    self->core.now_us += micros;
    repl_flush(self);
}

void repl_tell(repl_t *self, msg_kind_t kind, uint64_t term)
{
    msg_t *msg = msg_new(kind);
    msg->u.term.term = term;
    repl_send(self, ACTOR_ELECTION, &msg);
}

void repl_fence(repl_t *self, uint64_t term)
{
    msg_t *msg = msg_new(MSG_FENCE);
    msg->u.fence = (msg_fence_t){.seq = 1, .term = term};
    repl_send(self, ACTOR_ELECTION, &msg);
}

void repl_open(repl_t *self, uint64_t term)
{
    repl_fence(self, term);
    repl_tell(self, MSG_OPEN, term);
}

void repl_lead(repl_t *self, uint64_t term)
{
    repl_open(self, term);
    repl_tell(self, MSG_LEAD, term);
    repl_flush(self);
}

void repl_propose(repl_t *self, uint64_t req_id, const char *payload)
{
    msg_t *msg = msg_new(MSG_PROPOSE);
    msg->u.propose.items = xcalloc(1, sizeof(proposal_t));
    msg->u.propose.items[0] =
        (proposal_t){.req_id = req_id, .payload = bytes_new(payload, strlen(payload))};
    msg->u.propose.count = 1;
    repl_send(self, ACTOR_GRPC_GATEWAY, &msg);
}

void repl_read(repl_t *self, uint64_t read_id)
{
    msg_t *msg = msg_new(MSG_READ);
    msg->u.read.read_id = read_id;
    repl_send(self, ACTOR_GRPC_GATEWAY, &msg);
}

bytes_t *repl_change(char kind, uint64_t member)
{
    Quoral__ConfigurationMember about = QUORAL__CONFIGURATION_MEMBER__INIT;
    char url[24];
    char *urls = url;
    snprintf(url, sizeof url, "tcp://%c%d:1", kind == 'u' ? 'u' : 'm', (int)member);
    about.id = member;
    about.learner = kind == 'l';
    about.peer_urls = &urls;
    about.n_peer_urls = 1;
    Quoral__MembershipChange change = QUORAL__MEMBERSHIP_CHANGE__INIT;
    change.kind = kind == 'r'   ? QUORAL__MEMBERSHIP_CHANGE__KIND__REMOVE
                  : kind == 'u' ? QUORAL__MEMBERSHIP_CHANGE__KIND__UPDATE
                  : kind == 'p' ? QUORAL__MEMBERSHIP_CHANGE__KIND__PROMOTE
                                : QUORAL__MEMBERSHIP_CHANGE__KIND__ADD;
    change.member = &about;
    change.origin = 55;
    change.request_id = 66;
    uint8_t *room = NULL;
    bytes_t *bytes = bytes_alloc(quoral__membership_change__get_packed_size(&change), &room);
    quoral__membership_change__pack(&change, room);
    return bytes;
}

void repl_propose_change(repl_t *self, uint64_t req_id, char kind, uint64_t member)
{
    msg_t *msg = msg_new(MSG_PROPOSE);
    msg->u.propose.items = xcalloc(1, sizeof(proposal_t));
    msg->u.propose.items[0] = (proposal_t){
        .req_id = req_id, .payload = repl_change(kind, member), .type = ENTRY_CONFIGURATION};
    msg->u.propose.count = 1;
    repl_send(self, ACTOR_GRPC_GATEWAY, &msg);
    repl_flush(self);
}

void repl_durable(repl_t *self, uint64_t lsn)
{
    msg_t *msg = msg_new(MSG_LOG_DURABLE);
    msg->u.log_durable.lsn = lsn ? lsn : self->lsn;
    repl_send(self, ACTOR_WAL_WRITER, &msg);
    repl_flush(self);
}

void repl_applied(repl_t *self, uint64_t index)
{
    msg_t *msg = msg_new(MSG_APPLIED);
    msg->u.applied.index = index;
    repl_send(self, ACTOR_APPLIER, &msg);
    repl_flush(self);
}

void repl_hear(repl_t *self, uint64_t member, peer_msg_t **content_p)
{
    msg_t *msg = msg_new(MSG_PEER);
    (*content_p)->incarnation = self->incarnation;
    msg->u.peer = (msg_peer_t){.member = member, .content = *content_p};
    *content_p = NULL;
    repl_send(self, ACTOR_PEER, &msg);
    repl_flush(self);
}

void repl_hear_append(repl_t *self, uint64_t member, uint64_t term, uint64_t prev_index,
                      uint64_t prev_term, const uint64_t *terms, uint64_t commit)
{
    peer_msg_t *content = peer_msg_new(PEER_APPEND, term);
    content->u.append =
        (peer_append_t){.prev_index = prev_index, .prev_term = prev_term, .commit = commit};
    fill(&content->u.append.entries, prev_index + 1, terms);
    repl_hear(self, member, &content);
}

void repl_hear_heartbeat(repl_t *self, uint64_t member, uint64_t term, uint64_t commit,
                         uint64_t round)
{
    peer_msg_t *content = peer_msg_new(PEER_HEARTBEAT, term);
    content->u.heartbeat = (peer_heartbeat_t){.commit = commit, .round = round};
    repl_hear(self, member, &content);
}

void repl_hear_ack(repl_t *self, uint64_t member, uint64_t term, uint64_t index, uint64_t round)
{
    peer_msg_t *content = peer_msg_new(PEER_APPEND_ACK, term);
    content->u.append_ack = (peer_append_ack_t){
        .ok = true, .index = index, .round = round, .is_watched = self->is_watched};
    repl_hear(self, member, &content);
}

void repl_hear_refusal(repl_t *self, uint64_t member, uint64_t term, uint64_t prev_index,
                       uint64_t hint_index, uint64_t hint_term)
{
    peer_msg_t *content = peer_msg_new(PEER_APPEND_ACK, term);
    content->u.append_ack = (peer_append_ack_t){.index = prev_index,
                                                .hint_index = hint_index,
                                                .hint_term = hint_term,
                                                .is_watched = self->is_watched};
    repl_hear(self, member, &content);
}

void repl_hear_heartbeat_ack(repl_t *self, uint64_t member, uint64_t term, uint64_t round)
{
    peer_msg_t *content = peer_msg_new(PEER_HB_ACK, term);
    content->u.heartbeat.round = round;
    content->u.heartbeat.is_watched = self->is_watched;
    repl_hear(self, member, &content);
}

/* ---- out ---- */

static msg_t *take_at(repl_t *self, size_t at)
{
    msg_t *msg = self->sent[at].msg;
    self->sent_count--;
    memmove(&self->sent[at], &self->sent[at + 1], (self->sent_count - at) * sizeof *self->sent);
    return msg;
}

msg_t *repl_take(repl_t *self, actor_id_t to, msg_kind_t kind)
{
    for (size_t i = 0; i < self->sent_count; i++) {
        if (self->sent[i].to == to && self->sent[i].msg->kind == kind) {
            return take_at(self, i);
        }
    }
    return NULL;
}

msg_t *repl_take_peer(repl_t *self, uint64_t member, peer_kind_t kind)
{
    for (size_t i = 0; i < self->sent_count; i++) {
        const msg_t *msg = self->sent[i].msg;
        if (msg->kind == MSG_PEER && msg->u.peer.member == member &&
            msg->u.peer.content->kind == kind) {
            return take_at(self, i);
        }
    }
    return NULL;
}

msg_t *repl_expect(repl_t *self, actor_id_t to, msg_kind_t kind)
{
    msg_t *msg = repl_take(self, to, kind);
    if (!msg) {
        fail_msg("no %s to %s", msg_kind_name(kind), actor_name(to));
    }
    return msg;
}

msg_t *repl_expect_peer(repl_t *self, uint64_t member, peer_kind_t kind)
{
    msg_t *msg = repl_take_peer(self, member, kind);
    if (!msg) {
        fail_msg("no %s to member %d", peer_kind_name(kind), (int)member);
    }
    return msg;
}

static void expect_null(const msg_t *msg)
{
    if (msg) {
        char text[200];
        msg_print(msg, text, sizeof text);
        fail_msg("unexpected: %s", text);
    }
}

void repl_expect_none(repl_t *self, actor_id_t to, msg_kind_t kind)
{
    expect_null(repl_take(self, to, kind));
}

void repl_expect_no_peer(repl_t *self, uint64_t member, peer_kind_t kind)
{
    expect_null(repl_take_peer(self, member, kind));
}

void repl_clear(repl_t *self)
{
    while (self->sent_count) {
        msg_t *msg = take_at(self, 0);
        msg_free(&msg);
    }
}

msg_position_t repl_position(repl_t *self)
{
    msg_t *msg = msg_new(MSG_QUERY_POS);
    repl_send(self, ACTOR_ELECTION, &msg);
    msg = repl_expect(self, ACTOR_ELECTION, MSG_POS);
    msg_position_t position = msg->u.position;
    position.configuration = NULL;
    msg_free(&msg);
    return position;
}
