#include "actors/replicator/membership.h"

#include <assert.h>
#include <stdlib.h>

#include "membership.pb-c.h"
#include "messages/configuration.h"
#include "messages/limits.h"
#include "messages/scan.h"
#include "messages/xalloc.h"

typedef Quoral__Configuration configuration_message_t;
typedef Quoral__ConfigurationMember member_message_t;
typedef Quoral__MembershipChange change_t;

enum { READY_PERCENT = 90 }; /* of the leader's log, for a learner to become a voter; as etcd */

static const scan_limits_t limits = {.depth = LIMIT_MESSAGE_DEPTH, .fields = LIMIT_MESSAGE_FIELDS};

/* NULL: not a configuration. Empty bytes are the empty one. */
static configuration_message_t *decode(slice_t encoded)
{
    if (scan_message(encoded, &quoral__configuration__descriptor, &limits)) {
        return NULL;
    }
    return quoral__configuration__unpack(NULL, encoded.len, encoded.data);
}

static change_t *decode_change(slice_t encoded)
{
    if (scan_message(encoded, &quoral__membership_change__descriptor, &limits)) {
        return NULL;
    }
    change_t *change = quoral__membership_change__unpack(NULL, encoded.len, encoded.data);
    if (change && (!change->member || change->member->id == 0)) {
        quoral__membership_change__free_unpacked(change, NULL);
        return NULL;
    }
    return change;
}

bool membership_is_valid(slice_t encoded)
{
    if (encoded.len == 0 || encoded.len > LIMIT_WAL_CONFIGURATION_BYTES ||
        scan_message(encoded, &quoral__configuration__descriptor, &limits)) {
        return false;
    }
    configuration_t configuration = {0};
    int rc = configuration_decode(&configuration, encoded);
    size_t count = configuration.count;
    configuration_deinit(&configuration);
    return rc == 0 && count > 0 && count <= LIMIT_MEMBERS;
}

static bool was_removed(const configuration_message_t *configuration, uint64_t member)
{
    for (size_t i = 0; i < configuration->n_removed_ids; i++) {
        if (configuration->removed_ids[i] == member) {
            return true;
        }
    }
    return false;
}

bool membership_is_removed(slice_t encoded, uint64_t member)
{
    configuration_message_t *configuration = decode(encoded);
    bool is_removed = configuration && was_removed(configuration, member);
    quoral__configuration__free_unpacked(configuration, NULL);
    return is_removed;
}

bool membership_change_of(slice_t encoded, membership_kind_t *kind, uint64_t *member)
{
    change_t *change = decode_change(encoded);
    if (!change) {
        return false;
    }
    bool is_known = true;
    switch (change->kind) {
    case QUORAL__MEMBERSHIP_CHANGE__KIND__ADD: *kind = MEMBERSHIP_ADD; break;
    case QUORAL__MEMBERSHIP_CHANGE__KIND__REMOVE: *kind = MEMBERSHIP_REMOVE; break;
    case QUORAL__MEMBERSHIP_CHANGE__KIND__UPDATE: *kind = MEMBERSHIP_UPDATE; break;
    case QUORAL__MEMBERSHIP_CHANGE__KIND__PROMOTE: *kind = MEMBERSHIP_PROMOTE; break;
    default: is_known = false; /* from a later version */
    }
    *member = change->member->id;
    quoral__membership_change__free_unpacked(change, NULL);
    return is_known;
}

/* ---- what a change may not do ---- */

static member_message_t *find(const configuration_message_t *configuration, uint64_t id)
{
    for (size_t i = 0; i < configuration->n_members; i++) {
        if (configuration->members[i]->id == id) {
            return configuration->members[i];
        }
    }
    return NULL;
}

static size_t count_members(const configuration_message_t *configuration, bool learners)
{
    size_t count = 0;
    for (size_t i = 0; i < configuration->n_members; i++) {
        count += (configuration->members[i]->learner != 0) == learners;
    }
    return count;
}

static bool has_url(const member_message_t *member, const char *url)
{
    for (size_t i = 0; i < member->n_peer_urls; i++) {
        if (strcmp(member->peer_urls[i], url) == 0) {
            return true;
        }
    }
    return false;
}

static api_error_t check_urls(const configuration_message_t *configuration,
                              const member_message_t *member)
{
    if (member->n_peer_urls == 0 || member->n_peer_urls > LIMIT_URLS) {
        return API_MEMBER_BAD_URLS;
    }
    for (size_t i = 0; i < configuration->n_members; i++) {
        const member_message_t *other = configuration->members[i];
        for (size_t k = 0; other->id != member->id && k < member->n_peer_urls; k++) {
            if (has_url(other, member->peer_urls[k])) {
                return API_PEER_URL_EXISTS;
            }
        }
    }
    return API_NONE;
}

static api_error_t check_add(const configuration_message_t *configuration,
                             const member_message_t *member, const membership_rules_t *rules)
{
    if (was_removed(configuration, member->id)) {
        return API_MEMBER_NOT_FOUND; /* as etcd tells who adds the same URLs twice in a second */
    }
    if (find(configuration, member->id)) {
        return API_MEMBER_EXISTS;
    }
    api_error_t error = check_urls(configuration, member);
    if (error) {
        return error;
    }
    if (member->learner && count_members(configuration, true) >= rules->learners_max) {
        return API_TOO_MANY_LEARNERS;
    }
    return configuration->n_members >= LIMIT_MEMBERS ? API_TOO_MANY_REQUESTS : API_NONE;
}

static api_error_t check_promote(const member_message_t *present, const membership_rules_t *rules)
{
    if (!present->learner) {
        return API_MEMBER_NOT_LEARNER;
    }
    bool is_ready =
        rules->match >= rules->last / 100 * READY_PERCENT + rules->last % 100 * READY_PERCENT / 100;
    return is_ready ? API_NONE : API_LEARNER_NOT_READY;
}

static api_error_t check(const configuration_message_t *configuration, const change_t *change,
                         const membership_rules_t *rules)
{
    const member_message_t *present = find(configuration, change->member->id);
    if (change->kind == QUORAL__MEMBERSHIP_CHANGE__KIND__ADD) {
        return check_add(configuration, change->member, rules);
    }
    if (!present) {
        return API_MEMBER_NOT_FOUND;
    }
    switch (change->kind) {
    case QUORAL__MEMBERSHIP_CHANGE__KIND__REMOVE:
        return !present->learner && count_members(configuration, false) == 1
                   ? API_MEMBER_NOT_ENOUGH_STARTED
                   : API_NONE;
    case QUORAL__MEMBERSHIP_CHANGE__KIND__UPDATE: return check_urls(configuration, change->member);
    case QUORAL__MEMBERSHIP_CHANGE__KIND__PROMOTE: return check_promote(present, rules);
    default: return API_NOT_CAPABLE;
    }
}

/* ---- what a change makes ---- */

static int by_id(const void *a, const void *b)
{
    uint64_t left = (*(member_message_t *const *)a)->id;
    uint64_t right = (*(member_message_t *const *)b)->id;
    return left < right ? -1 : left > right;
}

/* Lends the parts of the old one and of the change to the new one while it is packed. */
static bytes_t *make(const configuration_message_t *old, const change_t *change)
{
    configuration_message_t made = QUORAL__CONFIGURATION__INIT;
    member_message_t member = QUORAL__CONFIGURATION_MEMBER__INIT;
    bool removes = change->kind == QUORAL__MEMBERSHIP_CHANGE__KIND__REMOVE;
    made.members = xcalloc(old->n_members + 1, sizeof(member_message_t *));
    made.removed_ids = xcalloc(old->n_removed_ids + 1, sizeof(uint64_t));
    for (size_t i = 0; i < old->n_removed_ids; i++) {
        made.removed_ids[made.n_removed_ids++] = old->removed_ids[i];
    }
    for (size_t i = 0; i < old->n_members; i++) {
        if (old->members[i]->id == change->member->id) {
            member = *old->members[i];
        } else {
            made.members[made.n_members++] = old->members[i];
        }
    }
    if (removes) {
        made.removed_ids[made.n_removed_ids++] = change->member->id;
    } else {
        bool promotes = change->kind == QUORAL__MEMBERSHIP_CHANGE__KIND__PROMOTE;
        if (change->kind == QUORAL__MEMBERSHIP_CHANGE__KIND__ADD) {
            member.id = change->member->id;
            member.learner = change->member->learner;
        }
        member.learner = member.learner && !promotes;
        if (!promotes) {
            member.n_peer_urls = change->member->n_peer_urls;
            member.peer_urls = change->member->peer_urls;
        }
        made.members[made.n_members++] = &member;
    }
    qsort(made.members, made.n_members, sizeof *made.members, by_id);
    made.origin = change->origin;
    made.request_id = change->request_id;
    uint8_t *room = NULL;
    bytes_t *encoded = bytes_alloc(quoral__configuration__get_packed_size(&made), &room);
    quoral__configuration__pack(&made, room);
    free(made.members);
    free(made.removed_ids);
    return encoded;
}

api_error_t membership_apply(slice_t encoded, slice_t encoded_change,
                             const membership_rules_t *rules, bytes_t **result)
{
    *result = NULL;
    change_t *change = decode_change(encoded_change);
    if (!change) {
        return API_MEMBER_BAD_URLS; /* of all that a client can give, what names a member */
    }
    configuration_message_t *configuration = decode(encoded);
    assert(configuration); /* it is in the log: checked before it got there */
    api_error_t error = check(configuration, change, rules);
    if (!error) {
        *result = make(configuration, change);
        if (bytes_len(*result) > LIMIT_WAL_CONFIGURATION_BYTES) {
            bytes_unref(result);
            error = API_TOO_MANY_REQUESTS;
        }
    }
    quoral__configuration__free_unpacked(configuration, NULL);
    quoral__membership_change__free_unpacked(change, NULL);
    return error;
}
