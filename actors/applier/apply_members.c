/* The applied projection of members (meta "members", a quoral.Configuration) and the cluster's
 * version. MemberList and snapshots read it; votes are never counted by it (architecture section 5).
 * Name and client URLs are what members publish about themselves; configuration entries change who is
 * a member, not these. */
#include <membership.pb-c.h>
#include <etcd/raft_internal.pb-c.h>

#include <stdlib.h>

#include "actors/applier/applier_state.h"
#include "messages/limits.h"
#include "messages/scan.h"

#define META_CLUSTER_VERSION "cluster_version"

static const scan_limits_t limits = {.depth = LIMIT_MESSAGE_DEPTH, .fields = LIMIT_MESSAGE_FIELDS};

static Quoral__Configuration *decode(slice_t encoded)
{
    if (scan_message(encoded, &quoral__configuration__descriptor, &limits)) {
        return NULL;
    }
    return quoral__configuration__unpack(NULL, encoded.len, encoded.data);
}

static int store(applier_t *self, const Quoral__Configuration *members)
{
    self->members_index = mvcc_current(self->mvcc)->applied_index + 1; /* of the open entry */
    buf_t encoded = {0};
    size_t len = quoral__configuration__get_packed_size(members);
    buf_advance(&encoded, quoral__configuration__pack(members, buf_reserve(&encoded, len)));
    int rc = mvcc_meta_put(self->mvcc, MVCC_META_MEMBERS, buf_slice(&encoded));
    self->members_changed = true;
    buf_deinit(&encoded);
    return rc;
}

/* The projection as it is. KV_ABSENT when there is none yet. */
static int load(applier_t *self, Quoral__Configuration **members_p)
{
    kv_value_t value = {0};
    int rc = mvcc_meta_get(mvcc_reader(self->mvcc), MVCC_META_MEMBERS, &value);
    if (rc) {
        return rc;
    }
    *members_p = decode(kv_value_slice(&value));
    kv_value_deinit(&value);
    return *members_p ? 0 : KV_ECORRUPT;
}

static Quoral__ConfigurationMember *find(const Quoral__Configuration *members, uint64_t id)
{
    for (size_t i = 0; i < members->n_members; i++) {
        if (members->members[i]->id == id) {
            return members->members[i];
        }
    }
    return NULL;
}

/* What a member has published stays. The attributes change hands, so that each is freed once. */
static void keep_attributes(Quoral__Configuration *members, Quoral__Configuration *old)
{
    for (size_t i = 0; i < members->n_members; i++) {
        Quoral__ConfigurationMember *member = members->members[i];
        Quoral__ConfigurationMember *known = find(old, member->id);
        if (!known || known->name[0] == '\0') {
            continue;
        }
        Quoral__ConfigurationMember swap = *member;
        member->name = known->name;
        member->client_urls = known->client_urls;
        member->n_client_urls = known->n_client_urls;
        known->name = swap.name;
        known->client_urls = swap.client_urls;
        known->n_client_urls = swap.n_client_urls;
    }
}

/* Who waited for a change is not part of what members have in common: one that joins begins with a
 * configuration that it did not see being made. */
static void forget_who_asked(Quoral__Configuration *members)
{
    members->origin = 0;
    members->request_id = 0;
}

int apply_configuration(applier_t *self, slice_t encoded, envelope_t *asked)
{
    Quoral__Configuration *members = decode(encoded);
    if (!members) {
        return APPLY_MALFORMED;
    }
    *asked = (envelope_t){.origin = members->origin, .request_id = members->request_id};
    forget_who_asked(members);
    Quoral__Configuration *old = NULL;
    int rc = load(self, &old);
    if (old) {
        keep_attributes(members, old);
    }
    if (rc >= 0) {
        rc = store(self, members);
    }
    quoral__configuration__free_unpacked(members, NULL);
    quoral__configuration__free_unpacked(old, NULL);
    return rc;
}

int apply_first_members(applier_t *self)
{
    if (!self->configuration) {
        return 0;
    }
    kv_value_t value = {0};
    int rc = mvcc_meta_get(mvcc_reader(self->mvcc), MVCC_META_MEMBERS, &value);
    if (rc == 0) {
        kv_value_deinit(&value);
    } else if (rc == KV_ABSENT) {
        Quoral__Configuration *members = decode(bytes_slice(self->configuration));
        if (members) {
            forget_who_asked(members);
        }
        rc = members ? store(self, members) : APPLY_MALFORMED;
        quoral__configuration__free_unpacked(members, NULL);
    }
    bytes_unref(&self->configuration);
    return rc;
}

/* Lends the request's name and URLs to the member while it is packed. */
static int store_attributes(applier_t *self, Quoral__Configuration *members,
                            Quoral__ConfigurationMember *member,
                            const Etcdserverpb__MemberAttributes *attributes)
{
    Quoral__ConfigurationMember own = *member;
    member->name = attributes->name;
    member->client_urls = attributes->client_urls;
    member->n_client_urls = attributes->n_client_urls;
    int rc = store(self, members);
    *member = own;
    return rc;
}

int apply_member_attributes(applier_t *self, slice_t request)
{
    if (scan_message(request, &etcdserverpb__cluster_member_attr_set_request__descriptor,
                     &limits)) {
        return APPLY_MALFORMED;
    }
    Etcdserverpb__ClusterMemberAttrSetRequest *set =
        etcdserverpb__cluster_member_attr_set_request__unpack(NULL, request.len, request.data);
    if (!set || !set->member_attributes) {
        etcdserverpb__cluster_member_attr_set_request__free_unpacked(set, NULL);
        return APPLY_MALFORMED;
    }
    Quoral__Configuration *members = NULL;
    int rc = load(self, &members);
    Quoral__ConfigurationMember *member = rc == 0 ? find(members, set->member_id) : NULL;
    if (member) { /* else it has been removed meanwhile */
        rc = store_attributes(self, members, member, set->member_attributes);
    }
    quoral__configuration__free_unpacked(members, NULL);
    etcdserverpb__cluster_member_attr_set_request__free_unpacked(set, NULL);
    return rc == KV_ABSENT ? 0 : rc;
}

int apply_cluster_version(applier_t *self, slice_t request)
{
    if (scan_message(request, &etcdserverpb__cluster_version_set_request__descriptor, &limits)) {
        return APPLY_MALFORMED;
    }
    Etcdserverpb__ClusterVersionSetRequest *set =
        etcdserverpb__cluster_version_set_request__unpack(NULL, request.len, request.data);
    if (!set) {
        return APPLY_MALFORMED;
    }
    int rc = mvcc_meta_put(self->mvcc, META_CLUSTER_VERSION, slice_str(set->ver));
    etcdserverpb__cluster_version_set_request__free_unpacked(set, NULL);
    return rc;
}

static bytes_t *published(const Quoral__Configuration *members)
{
    buf_t ids = {0};
    for (size_t i = 0; i < members->n_members; i++) {
        for (unsigned shift = 0; members->members[i]->n_client_urls > 0 && shift < 64; shift += 8) {
            buf_byte(&ids, (uint8_t)(members->members[i]->id >> shift));
        }
    }
    bytes_t *bytes = buf_bytes(&ids);
    buf_deinit(&ids);
    return bytes;
}

void members_tell(applier_t *self, outbox_t *out)
{
    Quoral__Configuration *members = NULL;
    if (!self->members_changed) {
        return;
    }
    self->members_changed = false;
    int rc = load(self, &members);
    if (rc < 0) {
        applier_fail(self, out, rc);
    }
    if (rc) {
        return;
    }
    bytes_t *ids = published(members);
    quoral__configuration__free_unpacked(members, NULL);
    if (!slice_equal(bytes_slice(ids), bytes_slice(self->published))) {
        msg_t *msg = msg_new(MSG_PUBLISHED);
        msg->u.published.ids = bytes_ref(ids);
        outbox_put(out, ACTOR_PEER, &msg);
    }
    bytes_unref(&self->published);
    self->published = ids;
}
