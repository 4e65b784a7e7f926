/* MemberList (contract section 6): the members as applied, which is what clients may rely upon. Its
 * header carries no revision. */
#include "actors/api/api_cluster.h"

#include <stdlib.h>

/* Field numbers of MemberListResponse and Member. */
enum {
    LIST_MEMBERS = 2,
    MEMBER_ID = 1,
    MEMBER_NAME = 2,
    MEMBER_PEER_URLS = 3,
    MEMBER_CLIENT_URLS = 4,
    MEMBER_IS_LEARNER = 5
};

static int by_id(const void *a, const void *b)
{
    uint64_t left = (*(Quoral__ConfigurationMember *const *)a)->id;
    uint64_t right = (*(Quoral__ConfigurationMember *const *)b)->id;
    return left < right ? -1 : left > right;
}

int members_read(Quoral__Configuration **members_p, const kv_reader_t *reader)
{
    *members_p = NULL;
    kv_value_t value = {0};
    int rc = mvcc_meta_get(reader, MVCC_META_MEMBERS, &value);
    if (rc < 0) {
        return rc;
    }
    Quoral__Configuration *members =
        quoral__configuration__unpack(NULL, rc == 0 ? value.len : 0, value.data);
    if (rc == 0) {
        kv_value_deinit(&value);
    }
    if (!members) {
        return KV_ECORRUPT;
    }
    if (members->n_members) {
        qsort(members->members, members->n_members, sizeof *members->members, by_id);
    }
    *members_p = members;
    return 0;
}

void members_free(Quoral__Configuration **members_p)
{
    if (*members_p) {
        quoral__configuration__free_unpacked(*members_p, NULL);
        *members_p = NULL;
    }
}

const Quoral__ConfigurationMember *members_find(const Quoral__Configuration *members, uint64_t id)
{
    for (size_t i = 0; i < members->n_members; i++) {
        if (members->members[i]->id == id) {
            return members->members[i];
        }
    }
    return NULL;
}

static void append_texts(buf_t *out, uint32_t field, char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buf_field_bytes(out, field, slice_str(texts[i]));
    }
}

static void append_member(buf_t *out, const Quoral__ConfigurationMember *member)
{
    buf_t one = {0};
    buf_field_u64(&one, MEMBER_ID, member->id);
    if (member->name[0]) {
        buf_field_bytes(&one, MEMBER_NAME, slice_str(member->name));
    }
    append_texts(&one, MEMBER_PEER_URLS, member->peer_urls, member->n_peer_urls);
    append_texts(&one, MEMBER_CLIENT_URLS, member->client_urls, member->n_client_urls);
    buf_field_u64(&one, MEMBER_IS_LEARNER, member->learner);
    buf_field_bytes(out, LIST_MEMBERS, buf_slice(&one));
    buf_deinit(&one);
}

void api_on_member_list(api_t *self, call_t *call, bytes_t **message_p)
{
    bool linearizable = false;
    if (decode_member_list(bytes_slice(*message_p), &linearizable)) {
        api_fail_decode(self, call);
    } else {
        api_read_soon(self, call, !linearizable);
    }
}

void api_member_list_read(api_t *self, call_t *call)
{
    Quoral__Configuration *members = NULL;
    int rc = members_read(&members, self->view->reader);
    if (rc < 0) {
        api_broken(self, rc);
        return;
    }
    buf_t out = {0};
    header_append(&self->header, &out, 0, self->role.term);
    for (size_t i = 0; i < members->n_members; i++) {
        append_member(&out, members->members[i]);
    }
    members_free(&members);
    bytes_t *answer = buf_bytes(&out);
    buf_deinit(&out);
    api_answer(self, call, &answer);
}
