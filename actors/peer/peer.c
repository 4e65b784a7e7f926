/* Invariants:
 * 1. Behind this actor comes only what was meant for this member of this cluster, whole, from who may speak.
 * 2. The sockets know the URLs of every link: LINK went out when they became what they are.
 * 3. Guests are bounded, and go when they are silent. */
#include "actors/peer/peer.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "actors/peer/links.h"
#include "actors/peer/roster.h"
#include "messages/limits.h"
#include "messages/peer_codec.h"
#include "messages/xalloc.h"

enum { PING_LEAST_US = 250000, LOG_PAUSE_US = 1000000, TELL_PAUSE_US = 1000000 };
enum { PINGS_LOST = 3 };                     /* of a member that is gone, at least */
enum { RELINK_AFTER = 4, GUEST_STAYS = 10 }; /* of what makes it silent */

struct peer {
    peer_cfg_t cfg;
    metrics_t *metrics;
    peer_metrics_t *by_member;
    links_t links;
    bytes_t *configuration; /* the newest in the log */
    uint64_t configuration_index;
    bool configuration_is_committed;
    roster_t committed; /* the newest known to be committed: who is removed for good */
    bytes_t *published; /* ids of members that were up once */
    bytes_t *own_urls;
    uint64_t ping_us, silent_us; /* how often it is asked, and after what it counts as gone */
    uint64_t due_us;             /* when to look at the links */
    bool started;
    uint64_t refused_since_log, log_due_us;
};

peer_t *peer_new(const peer_cfg_t *cfg, metrics_t *metrics, peer_metrics_t *by_member)
{
    assert(cfg->member_id != 0);
    assert(cfg->incarnation != 0);
    assert(cfg->election_timeout_us > 0);
    peer_t *self = xcalloc(1, sizeof *self);
    self->cfg = *cfg;
    self->metrics = metrics;
    self->by_member = by_member;
    self->own_urls = bytes_ref(cfg->urls);
    self->ping_us = cfg->heartbeat_us > PING_LEAST_US ? cfg->heartbeat_us : PING_LEAST_US;
    self->silent_us = cfg->election_timeout_us > PINGS_LOST * self->ping_us
                          ? cfg->election_timeout_us
                          : PINGS_LOST * self->ping_us;
    self->configuration = bytes_ref(cfg->configuration);
    self->configuration_index = cfg->configuration_index;
    self->configuration_is_committed = cfg->configuration_is_committed;
    self->cfg.configuration = NULL;
    self->cfg.urls = NULL;
    return self;
}

static void peer_destroy(void **self_p)
{
    peer_t *self = *self_p;
    *self_p = NULL;
    if (self) {
        links_deinit(&self->links);
        roster_deinit(&self->committed);
        bytes_unref(&self->configuration);
        bytes_unref(&self->own_urls);
        bytes_unref(&self->published);
        free(self);
    }
}

/* ---- links ---- */

static void wake_by(peer_t *self, uint64_t due_us)
{
    if (due_us < self->due_us) {
        self->due_us = due_us;
    }
}

/* Afresh: what ZeroMQ has queued for the member is dropped. */
static void connect_link(peer_t *self, peer_link_t *link, uint64_t now_us, outbox_t *out)
{
    link->link_due_us = now_us + RELINK_AFTER * self->silent_us;
    msg_t *msg = msg_new(MSG_LINK);
    msg->u.link = (msg_link_t){.member = link->id, .urls = bytes_ref(link->urls)};
    outbox_put(out, PORT_NETWORK, &msg);
}

static peer_link_t *add_link(peer_t *self, uint64_t id, const bytes_t *urls, uint64_t now_us,
                             outbox_t *out)
{
    peer_link_t *link = links_add(&self->links, id, urls);
    link->metrics = peer_metrics_of(self->by_member, id);
    link->heard_us = now_us;
    connect_link(self, link, now_us, out);
    self->due_us = now_us; /* a PING is due */
    return link;
}

static void drop_link(peer_t *self, peer_link_t *link, outbox_t *out)
{
    msg_t *msg = msg_new(MSG_LINK);
    msg->u.link.member = link->id;
    outbox_put(out, PORT_NETWORK, &msg);
    peer_gauge(&link->metrics->is_known, 0);
    peer_gauge(&link->metrics->is_active, 0);
    links_remove(&self->links, link);
}

static void tell_gateways(const msg_peer_status_t *status, outbox_t *out)
{
    for (unsigned i = 0; i < GATEWAY_COUNT; i++) {
        msg_t *msg = msg_new(MSG_PEER_STATUS);
        msg->u.peer_status = *status;
        outbox_put(out, gateway_at(i), &msg);
    }
}

/* Gateways want to know whether enough members can be reached. */
static void tell_status(const peer_link_t *link, bool is_active, outbox_t *out)
{
    msg_peer_status_t status = {
        .member = link->id, .is_active = is_active, .since_us = link->since_us};
    tell_gateways(&status, out);
}

static void set_active(peer_link_t *link, bool is_active, uint64_t now_us, outbox_t *out)
{
    link->is_active = is_active;
    link->since_us = now_us;
    peer_gauge(&link->metrics->is_active, is_active);
    if (!is_active) {
        peer_count(&link->metrics->disconnected, 1);
    }
    outbox_log(out, is_active ? LEVEL_INFO : LEVEL_WARN,
               is_active ? "peer became active" : "peer became inactive",
               "\"peer-id\":\"%" PRIx64 "\"", link->id);
    if (link->is_member) {
        tell_status(link, is_active, out);
    }
}

static void set_member(peer_link_t *link, bool is_member, uint64_t now_us, outbox_t *out)
{
    if (link->is_member == is_member) {
        return;
    }
    link->is_member = is_member;
    peer_gauge(&link->metrics->is_known, is_member);
    if (link->is_active) {
        link->since_us = is_member ? link->since_us : now_us;
        tell_status(link, is_member, out);
    }
}

/* ---- who belongs to the cluster ---- */

static void adopt_member(peer_t *self, const roster_member_t *member, uint64_t now_us,
                         outbox_t *out)
{
    peer_link_t *link = links_find(&self->links, member->id);
    if (!link) {
        link = add_link(self, member->id, member->urls, now_us, out);
    } else if (!slice_equal(bytes_slice(link->urls), bytes_slice(member->urls))) {
        bytes_unref(&link->urls);
        link->urls = bytes_ref(member->urls);
        connect_link(self, link, now_us, out);
    }
    set_member(link, true, now_us, out);
}

/* Who is no member any more stays as a guest until it is silent: it may have to be told. */
static void adopt(peer_t *self, uint64_t now_us, outbox_t *out)
{
    roster_t roster = {0};
    if (roster_decode(&roster, bytes_slice(self->configuration))) {
        outbox_log(out, LEVEL_ERROR, "the log's configuration cannot be decoded",
                   "\"index\":%" PRIu64, self->configuration_index);
        return;
    }
    for (size_t i = 0; i < roster.count; i++) {
        const roster_member_t *member = &roster.members[i];
        if (member->id != self->cfg.member_id) {
            adopt_member(self, member, now_us, out);
        } else if (bytes_len(member->urls) > 0) {
            bytes_unref(&self->own_urls);
            self->own_urls = bytes_ref(member->urls);
        }
    }
    for (size_t i = 0; i < self->links.count; i++) {
        peer_link_t *link = &self->links.items[i];
        if (!roster_find(&roster, link->id)) {
            set_member(link, false, now_us, out);
        }
    }
    if (self->configuration_is_committed) {
        roster_deinit(&self->committed);
        self->committed = roster;
    } else {
        roster_deinit(&roster);
    }
}

static void on_peers(peer_t *self, msg_members_t *members, uint64_t now_us, outbox_t *out)
{
    bytes_unref(&self->configuration);
    self->configuration = bytes_take(&members->configuration);
    self->configuration_index = members->index;
    self->configuration_is_committed = members->is_committed;
    adopt(self, now_us, out);
}

/* ---- sending ---- */

static void put_frame(uint64_t member, bool is_bulk, bytes_t *route, bytes_t *frame, outbox_t *out)
{
    msg_t *msg = msg_new(MSG_FRAME);
    msg->u.frame =
        (msg_frame_t){.member = member, .is_bulk = is_bulk, .route = route, .frame = frame};
    outbox_put(out, PORT_NETWORK, &msg);
}

static bytes_t *encode(const peer_t *self, uint64_t to, const peer_msg_t *msg)
{
    const peer_header_t header = {.cluster_id = self->cfg.cluster_id,
                                  .from = self->cfg.member_id,
                                  .to = to,
                                  .incarnation = self->cfg.incarnation};
    return peer_frame_encode(&header, msg);
}

static void send_to(const peer_t *self, const peer_link_t *link, const peer_msg_t *msg,
                    outbox_t *out)
{
    bytes_t *frame = encode(self, link->id, msg);
    if (frame) {
        put_frame(link->id, msg->kind == PEER_SNAP_CHUNK, NULL, frame, out);
        return;
    }
    peer_count(&link->metrics->sent_failures, 1);
    outbox_log(out, LEVEL_ERROR, "a message to a peer is too large", "\"message\":\"%s\"",
               peer_kind_name(msg->kind));
}

/* A silent member gets an APPEND now and then, as a probe; more would only pile up on the way. */
static bool is_held_back(const peer_t *self, peer_link_t *link, const peer_msg_t *msg,
                         uint64_t now_us)
{
    if (link->is_active || msg->kind != PEER_APPEND) {
        return false;
    }
    if (now_us < link->append_after_us) {
        return true;
    }
    link->append_after_us = now_us + self->cfg.heartbeat_us;
    return false;
}

/* From election, replicator, lease or keeper. */
static void on_send(peer_t *self, const msg_peer_t *peer, uint64_t now_us, outbox_t *out)
{
    peer_link_t *link = links_find(&self->links, peer->member);
    if (!link || is_held_back(self, link, peer->content, now_us)) {
        metrics_add(self->metrics, METRIC_PEER_DROPPED, 1);
        return;
    }
    send_to(self, link, peer->content, out);
}

static peer_msg_t *cluster_message(const peer_t *self)
{
    peer_msg_t *msg = peer_msg_new(PEER_CLUSTER, 0);
    msg->u.cluster = (peer_cluster_t){.index = self->configuration_index,
                                      .is_committed = self->configuration_is_committed,
                                      .configuration = bytes_ref(self->configuration),
                                      .published = bytes_ref(self->published)};
    return msg;
}

/* ---- receiving ---- */

static void refuse(peer_t *self, const peer_frame_t *frame, const char *why, uint64_t now_us,
                   outbox_t *out)
{
    metrics_add(self->metrics, METRIC_PEER_REFUSED, 1);
    peer_link_t *link = links_find(&self->links, frame->header.from);
    if (link) {
        peer_count(&link->metrics->received_failures, 1);
    }
    self->refused_since_log++;
    if (now_us < self->log_due_us) {
        return;
    }
    outbox_log(out, LEVEL_WARN, "refused a message from a peer",
               "\"remote-peer-id\":\"%" PRIx64 "\",\"error\":\"%s\",\"refused\":%" PRIu64,
               frame->header.from, why, self->refused_since_log);
    self->refused_since_log = 0;
    self->log_due_us = now_us + LOG_PAUSE_US;
}

/* A process that wants to join is no member yet: it is answered on its own connection. */
static void answer_who(const peer_t *self, bytes_t **route_p, outbox_t *out)
{
    if (*route_p) {
        peer_msg_t *msg = cluster_message(self);
        put_frame(0, false, bytes_take(route_p), encode(self, 0, msg), out);
        peer_msg_free(&msg);
    }
}

/* Who was removed may have been away then: without this it would ask for votes forever. */
static void tell_removed(peer_t *self, peer_link_t *link, uint64_t now_us, outbox_t *out)
{
    if (link->told_us == 0 || now_us - link->told_us >= TELL_PAUSE_US) {
        link->told_us = now_us;
        peer_msg_t *msg = cluster_message(self);
        if (self->configuration_is_committed) {
            send_to(self, link, msg, out);
        }
        peer_msg_free(&msg);
    }
}

/* Somebody whom the log does not know says where it listens. NULL = no room, or nothing to go by. */
static peer_link_t *admit_guest(peer_t *self, const peer_frame_t *frame, uint64_t now_us,
                                outbox_t *out)
{
    peer_msg_t *msg = NULL;
    peer_link_t *link = NULL;
    if (frame->kind != PEER_PING || links_guests(&self->links) >= LIMIT_PEER_GUESTS ||
        peer_frame_decode(frame, &msg)) {
        return NULL;
    }
    size_t len = bytes_len(msg->u.ping.urls);
    if (len > 0 && len <= LIMIT_PEER_URLS_BYTES) {
        link = add_link(self, frame->header.from, msg->u.ping.urls, now_us, out);
    }
    peer_msg_free(&msg);
    return link;
}

static void on_ping(const peer_t *self, const peer_link_t *link, const peer_msg_t *ping,
                    outbox_t *out)
{
    peer_msg_t *pong = peer_msg_new(PEER_PONG, 0);
    pong->u.ping.sent_us = ping->u.ping.sent_us;
    send_to(self, link, pong, out);
    peer_msg_free(&pong);
}

static void on_pong(peer_link_t *link, const peer_msg_t *pong, uint64_t now_us)
{
    if (pong->u.ping.sent_us <= now_us) { /* else it answers what we never asked */
        peer_observe_rtt(link->metrics, now_us - pong->u.ping.sent_us);
    }
}

/* A gateway may have a client that asked for just that: no log brings the answer any more. */
static void end_removed(const peer_t *self, uint64_t now_us, outbox_t *out)
{
    msg_peer_status_t status = {.member = self->cfg.member_id, .since_us = now_us};
    tell_gateways(&status, out);
    outbox_end_node(out, "the member has been permanently removed from the cluster");
}

/* Unasked: this member was removed while it was away, or through itself. */
static void on_cluster(const peer_t *self, const peer_cluster_t *cluster, uint64_t now_us,
                       outbox_t *out)
{
    roster_t roster = {0};
    if (cluster->is_committed && roster_decode(&roster, bytes_slice(cluster->configuration)) == 0 &&
        roster_has_removed(&roster, self->cfg.member_id)) {
        end_removed(self, now_us, out);
    }
    roster_deinit(&roster);
}

static void pass_on(peer_t *self, actor_id_t to, uint64_t from, peer_msg_t **content_p,
                    outbox_t *out)
{
    if (!outbox_room(out, to)) {
        metrics_add(self->metrics, METRIC_PEER_DROPPED, 1);
        peer_msg_free(content_p);
        return;
    }
    msg_t *msg = msg_new(MSG_PEER);
    msg->u.peer = (msg_peer_t){.member = from, .content = *content_p};
    *content_p = NULL;
    outbox_put(out, to, &msg);
}

static actor_id_t handler_of(peer_kind_t kind)
{
    static const actor_id_t handlers[PEER_KINDS_COUNT] = {
#define X(kind, handler) [PEER_##kind] = ACTOR_##handler,
        PEER_KINDS(X)
#undef X
    };
    return handlers[kind];
}

/* Whoever waits for it need not wait any longer. */
static void tell_gone(peer_t *self, const peer_link_t *link, outbox_t *out)
{
    if (!outbox_room(out, ACTOR_ELECTION)) {
        metrics_add(self->metrics, METRIC_PEER_DROPPED, 1);
        return;
    }
    msg_t *msg = msg_new(MSG_GONE);
    msg->u.gone.member = link->id;
    outbox_put(out, ACTOR_ELECTION, &msg);
}

/* Who was heard just before has not fallen silent, as in a network that is cut: its machine has said that nobody
 * has the connection any more. */
static void on_closed(peer_t *self, uint64_t member, uint64_t now_us, outbox_t *out)
{
    const peer_link_t *link = links_find(&self->links, member);
    if (link && link->is_active && now_us - link->heard_us < PINGS_LOST * self->ping_us) {
        tell_gone(self, link, out);
    }
}

static void dispatch(peer_t *self, peer_link_t *link, peer_msg_t **content_p, uint64_t now_us,
                     outbox_t *out)
{
    switch ((*content_p)->kind) {
    case PEER_PING: on_ping(self, link, *content_p, out); break;
    case PEER_PONG: on_pong(link, *content_p, now_us); break;
    case PEER_CLUSTER: on_cluster(self, &(*content_p)->u.cluster, now_us, out); break;
    default: pass_on(self, handler_of((*content_p)->kind), link->id, content_p, out);
    }
    peer_msg_free(content_p);
}

/* What the head alone tells. NULL = fine. */
static const char *why_not(const peer_t *self, const peer_frame_t *frame)
{
    if (frame->header.cluster_id != self->cfg.cluster_id) {
        return "cluster ID mismatch";
    }
    if (frame->header.to != self->cfg.member_id) {
        return "the message is for another member";
    }
    if (frame->header.from == self->cfg.member_id) {
        return "the sender has this member's id";
    }
    return frame->header.incarnation ? NULL : peer_frame_error(PEER_FRAME_MALFORMED);
}

static void receive(peer_t *self, const peer_frame_t *frame, size_t bytes, uint64_t now_us,
                    outbox_t *out)
{
    const char *why = why_not(self, frame);
    peer_link_t *link = why ? NULL : links_find(&self->links, frame->header.from);
    if (!why && !link) {
        link = admit_guest(self, frame, now_us, out);
        why = link ? NULL : "the sender is not a member";
    }
    if (!why && roster_has_removed(&self->committed, link->id)) {
        tell_removed(self, link, now_us, out);
        why = "the sender has been removed";
    }
    bool replaces = !why && link_is_replaced(link, frame->header.incarnation);
    if (!why && !link_admits(link, frame->header.incarnation)) {
        why = "the sender has been restarted since";
    }
    peer_msg_t *content = NULL;
    if (!why && peer_frame_decode(frame, &content)) {
        why = peer_frame_error(PEER_FRAME_MALFORMED);
    }
    if (why) {
        refuse(self, frame, why, now_us, out);
        return;
    }
    if (replaces) {
        tell_gone(self, link, out);
    }
    link->heard_us = now_us;
    peer_count(&link->metrics->received_bytes, bytes);
    if (!link->is_active) {
        set_active(link, true, now_us, out);
        wake_by(self, now_us + self->silent_us);
    }
    dispatch(self, link, &content, now_us, out);
}

static void on_frame(peer_t *self, msg_frame_t *frame, uint64_t now_us, outbox_t *out)
{
    peer_frame_t opened;
    int rc = peer_frame_open(bytes_slice(frame->frame), &opened);
    if (rc) {
        refuse(self, &opened, peer_frame_error(rc), now_us, out);
    } else if (opened.kind == PEER_WHO) {
        answer_who(self, &frame->route, out);
    } else {
        receive(self, &opened, bytes_len(frame->frame), now_us, out);
    }
}

/* ---- time ---- */

static void send_ping(const peer_t *self, peer_link_t *link, uint64_t now_us, outbox_t *out)
{
    link->ping_due_us = now_us + self->ping_us;
    if (roster_has_removed(&self->committed, link->id)) {
        return; /* it is spoken to when it speaks */
    }
    peer_msg_t *msg = peer_msg_new(PEER_PING, 0);
    msg->u.ping = (peer_ping_t){.sent_us = now_us, .urls = bytes_ref(self->own_urls)};
    send_to(self, link, msg, out);
    peer_msg_free(&msg);
}

static void look_at(peer_t *self, peer_link_t *link, uint64_t now_us, outbox_t *out)
{
    uint64_t silent_us = now_us - link->heard_us;
    if (!link->is_member && silent_us >= GUEST_STAYS * self->silent_us) {
        drop_link(self, link, out);
        return;
    }
    if (link->is_active && silent_us >= self->silent_us) {
        set_active(link, false, now_us, out);
        connect_link(self, link, now_us, out);
    } else if (!link->is_active && now_us >= link->link_due_us) {
        connect_link(self, link, now_us, out);
    }
    if (now_us >= link->ping_due_us) {
        send_ping(self, link, now_us, out);
    }
    wake_by(self, link->ping_due_us);
    wake_by(self, link->is_active ? link->heard_us + self->silent_us : link->link_due_us);
}

/* Who comes much too late stood still. What the others said meanwhile is still on its way in, so they were not silent
 * for that long; and to connect afresh would lose what has just been sent. */
static void mind_pause(peer_t *self, uint64_t late_us, uint64_t now_us)
{
    if (late_us <= self->ping_us) {
        return;
    }
    for (size_t i = 0; i < self->links.count; i++) {
        peer_link_t *link = &self->links.items[i];
        uint64_t heard_us = link->heard_us + late_us;
        link->heard_us = heard_us < now_us ? heard_us : now_us;
    }
}

/* The last one takes the place of one that is dropped: hence from the end. */
static void end_of_burst(peer_t *self, uint64_t now_us, outbox_t *out)
{
    if (now_us < self->due_us) {
        return;
    }
    mind_pause(self, now_us - self->due_us, now_us);
    self->due_us = DEADLINE_NONE;
    for (size_t i = self->links.count; i > 0; i--) {
        look_at(self, &self->links.items[i - 1], now_us, out);
    }
}

static void peer_step(void *context, const step_in_t *in, outbox_t *out)
{
    peer_t *self = context;
    if (!self->started) {
        self->started = true;
        adopt(self, in->now_us, out);
    }
    if (!in->msg) {
        end_of_burst(self, in->now_us, out);
        return;
    }
    switch (in->msg->kind) {
    case MSG_PEERS: on_peers(self, &in->msg->u.members, in->now_us, out); break;
    case MSG_PUBLISHED:
        bytes_unref(&self->published);
        self->published = bytes_take(&in->msg->u.published.ids);
        break;
    case MSG_PEER: on_send(self, &in->msg->u.peer, in->now_us, out); break;
    case MSG_FRAME: on_frame(self, &in->msg->u.frame, in->now_us, out); break;
    case MSG_CLOSED: on_closed(self, in->msg->u.gone.member, in->now_us, out); break;
    case MSG_STOP: outbox_stopped(out); break;
    default: assert(!"a message that the wiring table does not send to peer");
    }
}

static uint64_t peer_deadline(const void *context)
{
    const peer_t *self = context;
    return self->due_us;
}

const core_ops_t peer_ops = {.step = peer_step, .deadline = peer_deadline, .destroy = peer_destroy};
