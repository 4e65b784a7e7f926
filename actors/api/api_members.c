/* Who belongs to the cluster, as applied here, and which of the others can be reached: what decides
 * whether a change of the members is safe to ask for (etcd's --strict-reconfig-check) and what a learner
 * may answer. Votes are never counted by this; the leader checks each change again. */
#include "actors/api/api_cluster.h"

enum { HEALTHY_US = 5 * 1000 * 1000 }; /* reached for that long without a break, as etcd */

void api_members_deinit(api_t *self)
{
    members_free(&self->members.applied);
}

void api_members_changed(api_t *self, uint64_t index)
{
    if (index != self->members.index) {
        self->members.index = index;
        self->members.is_stale = true;
    }
}

/* Who is no member any more does not count. */
static void forget_others(members_t *members)
{
    size_t kept = 0;
    for (size_t i = 0; i < members->other_count; i++) {
        if (members_find(members->applied, members->others[i].id)) {
            members->others[kept++] = members->others[i];
        }
    }
    members->other_count = kept;
}

void api_refresh_members(api_t *self)
{
    members_t *members = &self->members;
    if (!members->is_stale || !self->store) {
        return;
    }
    Quoral__Configuration *applied = NULL;
    int rc = api_refresh_view(self);
    if (rc == 0) {
        rc = members_read(&applied, self->view->reader);
    }
    if (rc < 0) {
        api_broken(self, rc);
        return;
    }
    members_free(&members->applied);
    members->applied = applied;
    members->is_stale = false;
    const Quoral__ConfigurationMember *me = members_find(applied, self->cfg.member_id);
    members->is_learner = me && me->learner;
}

/* ---- who can be reached ---- */

static reachable_t *find_other(members_t *members, uint64_t id)
{
    for (size_t i = 0; i < members->other_count; i++) {
        if (members->others[i].id == id) {
            return &members->others[i];
        }
    }
    return NULL;
}

/* This member ends, and nobody sends it its log any more: who asked it for just that has the answer now. */
static void on_removed(api_t *self)
{
    size_t at = 0;
    call_t *call = NULL;
    self->members.is_removed = true;
    while ((call = id_map_next(&self->calls, &at))) {
        bool is_asked = call->method == METHOD_MEMBER_REMOVE && call->proposal &&
                        call->member_id == self->cfg.member_id;
        if (is_asked) {
            bytes_unref(&call->proposal);
            api_request_settled(self, call);
            api_read_soon(self, call, true);
        }
    }
}

void api_on_peer_status(api_t *self, const msg_peer_status_t *status)
{
    members_t *members = &self->members;
    if (status->member == self->cfg.member_id) {
        on_removed(self);
        return;
    }
    reachable_t *other = find_other(members, status->member);
    if (!other && members->other_count == LIMIT_MEMBERS && members->applied) {
        forget_others(members);
    }
    if (!other && members->other_count < LIMIT_MEMBERS) {
        other = &members->others[members->other_count++];
        other->id = status->member;
    }
    if (other) { /* else there are more than can be: whoever it is counts as not reached */
        uint64_t since_us = status->since_us ? status->since_us : 1;
        other->since_us = status->is_active ? since_us : 0;
    }
}

static uint64_t reached_since(const api_t *self, uint64_t id)
{
    for (size_t i = 0; i < self->members.other_count; i++) {
        if (self->members.others[i].id == id) {
            return self->members.others[i].since_us;
        }
    }
    return 0;
}

/* At that time and ever since. */
static bool is_reached(const api_t *self, uint64_t id, uint64_t at_us)
{
    uint64_t since_us = reached_since(self, id);
    return id == self->cfg.member_id || (since_us != 0 && since_us < at_us);
}

/* ---- voters ---- */

typedef struct {
    size_t all, started, reached;
} voters_t;

/* All but `except`; 0 = all. */
static voters_t count_voters(const api_t *self, uint64_t except, uint64_t reached_at_us)
{
    const Quoral__Configuration *applied = self->members.applied;
    voters_t voters = {0};
    for (size_t i = 0; applied && i < applied->n_members; i++) {
        const Quoral__ConfigurationMember *member = applied->members[i];
        if (member->learner || member->id == except) {
            continue;
        }
        voters.all++;
        voters.started += member->name[0] != '\0';
        voters.reached += is_reached(self, member->id, reached_at_us);
    }
    return voters;
}

static size_t quorum(size_t voters)
{
    return voters / 2 + 1;
}

static uint64_t healthy_since(const api_t *self)
{
    return self->now_us > HEALTHY_US ? self->now_us - HEALTHY_US : 0;
}

bool api_reaches_quorum(const api_t *self, uint64_t at_us)
{
    voters_t voters = count_voters(self, 0, at_us);
    return voters.reached >= quorum(voters.all);
}

bool api_reaches(const api_t *self, uint64_t member, uint64_t at_us)
{
    return is_reached(self, member, at_us);
}

/* ---- changes that could cost the quorum ---- */

/* The new member counts as not started and not reached. From one member to two there is no other way. */
api_error_t api_may_add(const api_t *self, bool is_learner)
{
    if (!self->cfg.strict_reconfig) {
        return API_NONE;
    }
    voters_t voters = count_voters(self, 0, healthy_since(self));
    bool is_second = voters.all == 1;
    bool is_started = voters.started >= quorum(voters.all + 1) || (is_second && voters.started);
    if (!is_learner && !is_started) {
        return API_MEMBER_NOT_ENOUGH_STARTED;
    }
    return !is_second && voters.reached < quorum(voters.all + 1) ? API_UNHEALTHY : API_NONE;
}

api_error_t api_may_remove(const api_t *self, uint64_t id)
{
    const Quoral__ConfigurationMember *member =
        self->members.applied ? members_find(self->members.applied, id) : NULL;
    if (!self->cfg.strict_reconfig || (member && member->learner)) {
        return API_NONE;
    }
    voters_t rest = count_voters(self, id, 0);
    if (rest.started < quorum(rest.all)) {
        return API_MEMBER_NOT_ENOUGH_STARTED;
    }
    if (id != self->cfg.member_id && reached_since(self, id) == 0) {
        return API_NONE; /* it is down: no part of what works now */
    }
    voters_t voters = count_voters(self, 0, healthy_since(self));
    return voters.reached < 1 + quorum(voters.all - 1) ? API_UNHEALTHY : API_NONE;
}

/* The learner counts as started. Whether it is one, the leader says. */
api_error_t api_may_promote(const api_t *self, uint64_t id)
{
    const Quoral__ConfigurationMember *member =
        self->members.applied ? members_find(self->members.applied, id) : NULL;
    if (!self->cfg.strict_reconfig || !member || !member->learner) {
        return API_NONE;
    }
    voters_t voters = count_voters(self, 0, 0);
    return voters.started + 1 < quorum(voters.all + 1) ? API_MEMBER_NOT_ENOUGH_STARTED : API_NONE;
}
