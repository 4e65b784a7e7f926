#include "tests/support/raft_world_private.h"

/* ---- what is committed ---- */

static void check_entry(world_t *self, node_t *node, const entry_t *entry)
{
    truth_t *truth = &self->truth[entry->index];
    uint64_t hash = hash_slice(bytes_slice(entry->payload)) + entry->type;
    assert(entry->index < INDEX_MAX);
    if (truth->term && (truth->term != entry->term || truth->hash != hash)) {
        FAIL(self,
             "member %" PRIu64 " has another entry committed at %" PRIu64 ": term %" PRIu64
             ", not %" PRIu64,
             node->id, entry->index, entry->term, truth->term);
    }
    if (truth->term) {
        return;
    }
    if (entry->index != self->committed + 1) {
        FAIL(self, "index %" PRIu64 " is committed after %" PRIu64, entry->index, self->committed);
    }
    self->committed = entry->index;
    *truth = (truth_t){.term = entry->term, .hash = hash};
    uint64_t id = 0;
    if (entry->type == ENTRY_CONFIGURATION) {
        self->stats.changes += entry->index > 1;
    } else if (entry->payload &&
               sscanf((const char *)bytes_slice(entry->payload).data, "p%" SCNu64, &id) == 1) {
        proposal_fate_t *proposal = &self->proposals[id];
        if (proposal->at || proposal->fate == REFUSED) {
            FAIL(self, "proposal %" PRIu64 " is committed %s", id,
                 proposal->at ? "twice" : "after it was refused");
        }
        proposal->at = entry->index;
        truth->request = id;
    }
}

/* The proposer is told by its own store. */
static void answer_proposal(world_t *self, node_t *node, const entry_t *entry)
{
    uint64_t id = self->truth[entry->index].request;
    proposal_fate_t *proposal = id ? &self->proposals[id] : NULL;
    if (proposal && proposal->node == node->id && proposal->starts == node->starts) {
        proposal->fate = DONE;
        self->acked = entry->index > self->acked ? entry->index : self->acked;
    }
}

static void apply(world_t *self, node_t *node, const entries_t *entries)
{
    for (size_t i = 0; i < entries->count; i++) {
        const entry_t *entry = &entries->items[i];
        if (entry->index != node->applied + 1) {
            FAIL(self, "member %" PRIu64 " applies %" PRIu64 " after %" PRIu64, node->id,
                 entry->index, node->applied);
        }
        check_entry(self, node, entry);
        node->applied = entry->index;
        if (entry->type == ENTRY_CONFIGURATION) {
            rw_set_bytes(&node->members, entry->payload);
        }
        answer_proposal(self, node, entry);
    }
    msg_t *msg = msg_new(MSG_APPLIED);
    msg->u.applied.index = node->applied;
    rw_post(node, ACTOR_APPLIER, ACTOR_REPLICATOR, msg);
}

static void install(world_t *self, node_t *node, const msg_snap_t *snap)
{
    if (snap->index <= node->applied || self->truth[snap->index].term != snap->log_term) {
        FAIL(self, "member %" PRIu64 " installs %" PRIu64 " of term %" PRIu64 " at %" PRIu64,
             node->id, snap->index, snap->log_term, node->applied);
    }
    self->stats.snapshots++;
    node->applied = snap->index;
    rw_set_bytes(&node->members, snap->configuration);
    msg_t *msg = msg_new(MSG_SNAP_INSTALLED);
    msg->u.snap = (msg_snap_t){.index = snap->index, .term = snap->term};
    rw_post(node, ACTOR_APPLIER, ACTOR_REPLICATOR, msg);
}

/* ---- the network ---- */

static void send_packet(world_t *self, packet_t packet)
{
    packet.at_us = self->now_us + 100 + rw_below(self, rw_chance(self, 50) ? 300000 : 5000);
    self->packets =
        xgrow(self->packets, &self->packet_capacity, self->packet_count + 1, sizeof *self->packets);
    self->packets[self->packet_count++] = packet;
}

static peer_msg_t *copy_content(const peer_msg_t *content)
{
    peer_msg_t *copy = xmemdup(content, sizeof *content);
    if (content->kind == PEER_APPEND) {
        copy->u.append.entries = (entries_t){0};
        for (size_t i = 0; i < content->u.append.entries.count; i++) {
            entries_append(&copy->u.append.entries, &content->u.append.entries.items[i]);
        }
    } else if (content->kind == PEER_PROPOSE_FWD) {
        const peer_propose_t *propose = &content->u.propose;
        copy->u.propose.items = xcalloc(propose->count, sizeof(proposal_t));
        for (size_t i = 0; i < propose->count; i++) {
            copy->u.propose.items[i] = propose->items[i];
            copy->u.propose.items[i].payload = bytes_ref(propose->items[i].payload);
        }
    } else if (content->kind == PEER_SNAP_META) {
        copy->u.snap_meta.configuration = bytes_ref(content->u.snap_meta.configuration);
    }
    return copy;
}

static void say(world_t *self, node_t *node, uint64_t to, peer_msg_t *content)
{
    content->incarnation = self->seed * 1000000 + node->id * 1000 + node->starts;
    self->stats.forwarded += content->kind == PEER_PROPOSE_FWD;
    self->stats.transfers += content->kind == PEER_TIMEOUT_NOW;
    bool is_lost = !self->heals && rw_chance(self, self->cfg.permille_lost);
    bool is_twice = !self->heals && rw_chance(self, self->cfg.permille_twice);
    if (is_twice) {
        send_packet(self, (packet_t){.from = node->id, .to = to, .content = copy_content(content)});
    }
    if (is_lost) {
        peer_msg_free(&content);
    } else {
        send_packet(self, (packet_t){.from = node->id, .to = to, .content = content});
    }
}

/* ---- the keeper ---- */

static void done_with(node_t *node, const msg_snap_t *snap, bool failed)
{
    msg_t *msg = msg_new(MSG_SNAP_DONE);
    msg->u.snap = (msg_snap_t){.id = snap->id,
                               .member = snap->member,
                               .term = snap->term,
                               .index = snap->index,
                               .failed = failed};
    rw_post(node, ACTOR_KEEPER, ACTOR_REPLICATOR, msg);
}

static void read_store(world_t *self, node_t *node, const msg_snap_t *asked)
{
    msg_snap_t snap = *asked;
    snap.index = node->applied;
    snap.log_term = self->truth[node->applied].term;
    snap.configuration = bytes_ref(node->members);
    peer_msg_t *meta = peer_msg_new(PEER_SNAP_META, snap.term);
    meta->u.snap_meta = (peer_snap_meta_t){.id = snap.id,
                                           .index = snap.index,
                                           .log_term = snap.log_term,
                                           .configuration = bytes_ref(snap.configuration)};
    say(self, node, snap.member, meta);
    packet_t data = {.from = node->id, .to = snap.member, .is_stream = true, .snap = snap};
    send_packet(self, data);
    self->packets[self->packet_count - 1].at_us += 10000; /* after what announces it, mostly */
}

static void no_store(void *object)
{
    (void)object;
}

/* All of a snapshot has come: the receiver wants it, or not. */
static void take_stream(world_t *self, node_t *node, const packet_t *packet)
{
    node_t *sender = self->nodes[packet->from];
    bool wanted = node && node->is_up && node->is_taking && node->taking.id == packet->snap.id &&
                  node->taking.member == packet->from && rw_chance(self, 900);
    if (wanted) {
        msg_t *msg = msg_new(MSG_SNAP_RECEIVED);
        msg->u.snap = packet->snap;
        msg->u.snap.member = packet->from;
        msg->u.snap.configuration = bytes_ref(packet->snap.configuration);
        msg->u.snap.generation = ++node->generation;
        msg->u.snap.store = shared_new(node, no_store);
        rw_post(node, ACTOR_KEEPER, ACTOR_REPLICATOR, msg);
        rw_release_taking(node);
    }
    if (sender->is_up) {
        done_with(sender, &packet->snap, !wanted);
    }
}

static void keep(world_t *self, node_t *node, msg_t *msg)
{
    msg_snap_t *snap = &msg->u.snap;
    if (msg->kind == MSG_SNAP_READ) {
        read_store(self, node, snap);
    } else if (msg->kind == MSG_SNAP_TAKE) {
        rw_release_taking(node);
        node->taking = *snap;
        node->taking.configuration = bytes_ref(snap->configuration);
        node->is_taking = true;
    } else if (node->is_taking && snap->id == node->taking.id &&
               snap->member == node->taking.member) {
        rw_release_taking(node);
    }
}

/* ---- clients ---- */

static void on_refusal(world_t *self, node_t *node, const msg_t *msg)
{
    for (size_t i = 0; i < msg->u.refusal.count; i++) {
        uint64_t id = msg->u.refusal.req_ids[i];
        if (id == 0 || id >= PROPOSALS_MAX) {
            continue; /* a change of membership, or of the leader */
        }
        proposal_fate_t *proposal = &self->proposals[id];
        assert(proposal->node == node->id && proposal->starts == node->starts);
        bool is_refused = msg->kind == MSG_REJECTED;
        if (proposal->fate != OPEN && is_refused) {
            FAIL(self, "proposal %" PRIu64 " is refused after it had another fate", id);
        }
        if (is_refused && proposal->at) {
            FAIL(self, "proposal %" PRIu64 " is refused, but committed", id);
        }
        proposal->fate = proposal->fate == OPEN ? (is_refused ? REFUSED : UNKNOWN) : proposal->fate;
        self->stats.refused += is_refused;
        self->stats.unknown += !is_refused;
    }
}

static void on_read_at(world_t *self, node_t *node, const msg_read_t *at)
{
    const read_fate_t *read = &self->reads[at->read_id];
    assert(read->node == node->id && read->starts == node->starts);
    self->stats.reads++;
    if (at->index < read->floor) { /* S6 */
        FAIL(self, "member %" PRIu64 " may read at %" PRIu64 ", but %" PRIu64 " was acknowledged",
             node->id, at->index, read->floor);
    }
}

static void on_lead(world_t *self, const node_t *node, uint64_t term)
{
    assert(term < sizeof self->leaders / sizeof *self->leaders);
    if (self->leaders[term] && self->leaders[term] != node->id) { /* S1 */
        FAIL(self, "two lead term %" PRIu64, term);
    }
    self->leaders[term] = node->id;
    self->stats.terms = term > self->stats.terms ? term : self->stats.terms;
}

static void propose(world_t *self, node_t *node)
{
    if (self->proposal_count + 4 >= PROPOSALS_MAX || self->committed + 100 > INDEX_MAX) {
        return;
    }
    msg_t *msg = msg_new(MSG_PROPOSE);
    size_t count = 1 + rw_below(self, 3);
    msg->u.propose.items = xcalloc(count, sizeof(proposal_t));
    msg->u.propose.count = count;
    for (size_t i = 0; i < count; i++) {
        uint64_t id = ++self->proposal_count;
        char text[32];
        snprintf(text, sizeof text, "p%" PRIu64, id);
        self->proposals[id] = (proposal_fate_t){.node = node->id, .starts = node->starts};
        msg->u.propose.items[i] =
            (proposal_t){.req_id = id, .payload = bytes_new(text, strlen(text) + 1)};
    }
    rw_post(node, ACTOR_GRPC_GATEWAY, ACTOR_REPLICATOR, msg);
}

static void ask_read(world_t *self, node_t *node)
{
    if (self->read_count + 1 >= PROPOSALS_MAX) {
        return;
    }
    uint64_t id = ++self->read_count;
    self->reads[id] = (read_fate_t){.node = node->id, .starts = node->starts, .floor = self->acked};
    msg_t *msg = msg_new(MSG_READ);
    msg->u.read.read_id = id;
    rw_post(node, ACTOR_GRPC_GATEWAY, ACTOR_REPLICATOR, msg);
}

static void change_members(world_t *self, node_t *node)
{
    static const char kinds[] = "aalrrpu";
    uint64_t member = 1 + rw_below(self, IDS_MAX);
    msg_t *msg = msg_new(MSG_PROPOSE);
    msg->u.propose.items = xcalloc(1, sizeof(proposal_t));
    msg->u.propose.count = 1;
    msg->u.propose.items[0] =
        (proposal_t){.req_id = PROPOSALS_MAX + 1,
                     .payload = repl_change(kinds[rw_below(self, sizeof kinds - 1)], member),
                     .type = ENTRY_CONFIGURATION};
    rw_post(node, ACTOR_GRPC_GATEWAY, ACTOR_REPLICATOR, msg);
}

static void hand_over(world_t *self, node_t *node)
{
    msg_t *msg = msg_new(MSG_TRANSFER);
    msg->u.transfer =
        (msg_transfer_t){.req_id = PROPOSALS_MAX + 2, .target = rw_below(self, IDS_MAX)};
    rw_post(node, ACTOR_GRPC_GATEWAY, ACTOR_REPLICATOR, msg);
}

/* ---- one step ---- */

static void hand_to_disk(world_t *self, node_t *node, msg_t *msg)
{
    node->writes =
        xgrow(node->writes, &node->write_capacity, node->write_count + 1, sizeof *node->writes);
    if (node->write_count == 0) {
        node->write_due_us = self->now_us + rw_below(self, rw_chance(self, 100) ? 400000 : 4000);
    }
    node->writes[node->write_count++] = msg;
}

static void to_player(world_t *self, node_t *node, actor_id_t to, msg_t *msg)
{
    switch (msg->kind) {
    case MSG_COMMITTED: apply(self, node, &msg->u.committed.entries); break;
    case MSG_SNAP_INSTALL: install(self, node, &msg->u.snap); break;
    case MSG_REJECTED:
    case MSG_UNKNOWN: on_refusal(self, node, msg); break;
    case MSG_READ_AT: on_read_at(self, node, &msg->u.read); break;
    case MSG_SNAP_READ:
    case MSG_SNAP_TAKE:
    case MSG_SNAP_DROP: keep(self, node, msg); break;
    case MSG_PEER:
        say(self, node, msg->u.peer.member, msg->u.peer.content);
        msg->u.peer.content = NULL;
        break;
    default: break; /* ROLE, PEERS, READ_FAIL: nobody here needs them */
    }
    (void)to;
    msg_free(&msg);
}

static void deliver(world_t *self, node_t *node, letter_t letter)
{
    int sender = rw_core_of(letter.from);
    int core = rw_core_of(letter.to);
    msg_credit_t credit = {.messages = letter.msg->cost ? 1 : 0, .bytes = letter.msg->cost};
    if (sender >= 0 && credit.messages) {
        outbox_credit(node->outboxes[sender], letter.to, &credit);
        node->dirty[sender] = true;
    }
    if (letter.msg->kind == MSG_LEAD) {
        on_lead(self, node, letter.msg->u.term.term);
    }
    if (rw_traces()) {
        char text[300];
        msg_print(letter.msg, text, sizeof text);
        fprintf(stderr, "%" PRIu64 " [%" PRIu64 "] %s -> %s: %s\n", self->step, node->id,
                actor_name(letter.from), actor_name(letter.to), text);
    }
    if (rw_traces() && letter.msg->kind == MSG_MEMBERS) {
        configuration_t configuration = {0};
        slice_t encoded = bytes_slice(letter.msg->u.members.configuration);
        if (configuration_decode(&configuration, encoded) == 0) {
            for (size_t i = 0; i < configuration.count; i++) {
                fprintf(stderr, " %" PRIu64 "%s", configuration.members[i].id,
                        configuration.members[i].learner ? "(learns)" : "");
            }
            fprintf(stderr, "\n");
        }
        configuration_deinit(&configuration);
    }
    if (core >= 0) {
        rw_step_core(self, node, core, letter.msg);
        msg_free(&letter.msg);
    } else if (letter.to == ACTOR_WAL_WRITER) {
        hand_to_disk(self, node, letter.msg);
    } else {
        to_player(self, node, letter.to, letter.msg);
    }
}

/* Order holds only from one sender to one receiver. */
static void deliver_any(world_t *self, node_t *node)
{
    size_t at = rw_below(self, node->letter_count);
    letter_t picked = node->letters[at];
    for (size_t i = 0; i < at; i++) {
        if (node->letters[i].from == picked.from && node->letters[i].to == picked.to) {
            at = i;
            break;
        }
    }
    picked = node->letters[at];
    node->letter_count--;
    memmove(&node->letters[at], &node->letters[at + 1],
            (node->letter_count - at) * sizeof *node->letters);
    deliver(self, node, picked);
}

static void end_if_removed(world_t *self, node_t *node)
{
    const char *text = outbox_end_text(node->outboxes[1]);
    if (text) {
        rw_crash_node(self, node);
        node->is_gone = true;
    }
}

static void live(world_t *self, node_t *node)
{
    if (!node->is_up) {
        if (!node->is_gone && self->now_us >= node->up_at_us) {
            rw_start_node(self, node);
        }
        return;
    }
    for (uint64_t n = rw_below(self, 8); n > 0 && node->letter_count; n--) {
        deliver_any(self, node);
    }
    if (node->write_count && self->now_us >= node->write_due_us) {
        rw_write_some(self, node, 1 + rw_below(self, node->write_count), true);
        node->write_due_us = self->now_us + rw_below(self, rw_chance(self, 50) ? 200000 : 4000);
    }
    for (int core = 0; core < 2; core++) {
        bool is_due = rw_ops_of(core)->deadline(node->cores[core]) <= self->now_us;
        if (node->dirty[core] || is_due) {
            rw_step_core(self, node, core, NULL);
        }
    }
    if (rw_chance(self, 2)) {
        node->flushed = node->applied > node->flushed ? node->applied : node->flushed;
        rw_set_bytes(&node->flushed_members, node->members);
        rw_purge_disk(&node->disk, rw_below(self, node->flushed + 1));
    }
    end_if_removed(self, node);
}

static void arrive(world_t *self, packet_t *packet)
{
    node_t *from = self->nodes[packet->from];
    node_t *to = packet->to <= IDS_MAX ? self->nodes[packet->to] : NULL;
    if (packet->is_stream) {
        take_stream(self, to, packet);
        bytes_unref(&packet->snap.configuration);
        return;
    }
    bool passes = to && to->is_up && !to->is_cut && !from->is_cut;
    if (passes) {
        peer_kind_t kind = packet->content->kind;
        bool is_vote = kind <= PEER_TIMEOUT_NOW;
        msg_t *msg = msg_new(MSG_PEER);
        msg->u.peer = (msg_peer_t){.member = packet->from, .content = packet->content};
        rw_post(to, ACTOR_PEER, is_vote ? ACTOR_ELECTION : ACTOR_REPLICATOR, msg);
    } else {
        peer_msg_free(&packet->content);
    }
}

static void carry(world_t *self)
{
    for (size_t i = 0; i < self->packet_count;) {
        if (self->packets[i].at_us > self->now_us) {
            i++;
            continue;
        }
        packet_t packet = self->packets[i];
        self->packets[i] = self->packets[--self->packet_count];
        arrive(self, &packet);
    }
}

static node_t *any_node(world_t *self)
{
    node_t *node = self->nodes[1 + rw_below(self, IDS_MAX)];
    return node && node->is_up ? node : NULL;
}

/* Members that were added and have no process yet get one, with the configuration that an existing member tells. */
static void start_added(world_t *self)
{
    node_t *known = any_node(self);
    if (!known) {
        return;
    }
    configuration_t configuration = {0};
    const bytes_t *newest = rw_newest_configuration(&known->disk);
    if (configuration_decode(&configuration, bytes_slice(newest)) == 0) {
        for (size_t i = 0; i < configuration.count; i++) {
            uint64_t id = configuration.members[i].id;
            if (id <= IDS_MAX && !self->nodes[id]) {
                rw_add_node(self, id, newest);
            }
        }
    }
    configuration_deinit(&configuration);
}

static void disturb(world_t *self)
{
    node_t *node = any_node(self);
    if (!node) {
        return;
    }
    bool dies = rw_chance(self, self->cfg.permille_crash);
    if (dies && rw_chance(self, 300)) { /* the power of all of them */
        for (uint64_t id = 1; id <= IDS_MAX; id++) {
            if (self->nodes[id] && self->nodes[id]->is_up) {
                rw_crash_node(self, self->nodes[id]);
            }
        }
    } else if (dies) {
        rw_crash_node(self, node);
    } else if (rw_chance(self, self->cfg.permille_cut)) {
        node->is_cut = !node->is_cut;
    } else if (self->cfg.changes && rw_chance(self, 100)) {
        change_members(self, node);
    } else if (rw_chance(self, 200)) {
        hand_over(self, node);
    }
}

static void one_step(world_t *self)
{
    self->step++;
    self->now_us += rw_below(self, 1500);
    carry(self);
    for (uint64_t id = 1; id <= IDS_MAX; id++) {
        if (self->nodes[id]) {
            live(self, self->nodes[id]);
        }
    }
    node_t *node = any_node(self);
    if (node && rw_chance(self, 60)) {
        propose(self, node);
    }
    if (node && rw_chance(self, 60)) {
        ask_read(self, node);
    }
    if (self->step % 100 == 0 && !self->heals) {
        disturb(self);
    }
    if (self->step % 50 == 0) {
        start_added(self);
    }
}

/* ---- the end ---- */

/* Everybody who is a member has everything, and nobody waits who could know. */
static bool is_well(world_t *self)
{
    const node_t *newest = NULL;
    for (uint64_t id = 1; id <= IDS_MAX; id++) {
        const node_t *node = self->nodes[id];
        newest = node && node->applied == self->committed ? node : newest;
    }
    configuration_t configuration = {0};
    if (!newest || configuration_decode(&configuration, bytes_slice(newest->members))) {
        return false;
    }
    bool well = true;
    for (size_t i = 0; i < configuration.count; i++) {
        const node_t *node = self->nodes[configuration.members[i].id];
        well &= node && node->is_up && node->applied + 20 >= self->committed;
    }
    configuration_deinit(&configuration);
    return well;
}

/* A majority of the newest configuration may have been removed by what was agreed: then nothing goes on, rightly.
 * That can't happen here, since removed members only end when their removal is committed. */
static void heal(world_t *self)
{
    self->heals = true;
    for (uint64_t id = 1; id <= IDS_MAX; id++) {
        if (self->nodes[id]) {
            self->nodes[id]->is_cut = false;
        }
    }
    uint64_t target = self->committed + 50;
    uint64_t steps = 0;
    while (!(is_well(self) && (self->committed >= target || self->committed + 200 > INDEX_MAX))) {
        if (++steps > SETTLE_STEPS) {
            for (uint64_t id = 1; id <= IDS_MAX; id++) {
                const node_t *node = self->nodes[id];
                if (node) {
                    fprintf(stderr,
                            "member %" PRIu64 ": %s, applied %" PRIu64 ", log %" PRIu64 " + %zu, "
                            "term %" PRIu64 "\n",
                            id,
                            node->is_gone ? "gone"
                            : node->is_up ? "up"
                                          : "down",
                            node->applied, node->disk.base_index, node->disk.count,
                            node->disk.term);
                }
            }
            FAIL(self, "not well: committed %" PRIu64 " of %" PRIu64, self->committed, target);
        }
        one_step(self);
    }
}

static void free_world(world_t *self)
{
    for (uint64_t id = 1; id <= IDS_MAX; id++) {
        node_t *node = self->nodes[id];
        if (!node) {
            continue;
        }
        if (node->is_up) {
            rw_crash_node(self, node);
        }
        rw_cut_disk(&node->disk, 0);
        bytes_unref(&node->disk.configuration);
        bytes_unref(&node->members);
        bytes_unref(&node->flushed_members);
        free(node->letters);
        free(node->writes);
        free(node);
    }
    for (size_t i = 0; i < self->packet_count; i++) {
        peer_msg_free(&self->packets[i].content);
        bytes_unref(&self->packets[i].snap.configuration);
    }
    free(self->packets);
    free(self);
}

raft_world_stats_t raft_world_run(const raft_world_cfg_t *cfg, uint64_t seed)
{
    world_t *self = xcalloc(1, sizeof *self);
    self->cfg = *cfg;
    self->seed = seed;
    self->prng.state = seed;
    self->now_us = 1000000;
    uint64_t voters[IDS_MAX + 1] = {0};
    for (size_t i = 0; i < cfg->members; i++) {
        voters[i] = i + 1;
    }
    bytes_t *first = repl_configuration(voters, NULL);
    for (size_t i = 0; i < cfg->members; i++) {
        rw_add_node(self, i + 1, first);
    }
    bytes_unref(&first);
    while (self->step < cfg->steps) {
        one_step(self);
    }
    heal(self);
    self->stats.committed = self->committed;
    raft_world_stats_t stats = self->stats;
    free_world(self);
    return stats;
}
