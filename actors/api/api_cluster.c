/* The Cluster service (contract section 6). A change of the members is proposed once the rules for a
 * running cluster allow it (api_members.c); the leader checks it against the newest configuration. Every
 * answer lists the members as applied here, which is what clients may rely upon, the change included.
 * Headers carry no revision. */
#include "actors/api/api_cluster.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/core/member_id.h"
#include "messages/xalloc.h"

/* Field numbers: of MemberListResponse and the other changes' responses, MemberAddResponse, Member. */
enum {
    LIST_MEMBERS = 2,
    ADD_MEMBER = 2,
    ADD_MEMBERS = 3,
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

static void append_member_fields(buf_t *out, const Quoral__ConfigurationMember *member)
{
    buf_field_u64(out, MEMBER_ID, member->id);
    if (member->name[0]) {
        buf_field_bytes(out, MEMBER_NAME, slice_str(member->name));
    }
    append_texts(out, MEMBER_PEER_URLS, member->peer_urls, member->n_peer_urls);
    append_texts(out, MEMBER_CLIENT_URLS, member->client_urls, member->n_client_urls);
    buf_field_u64(out, MEMBER_IS_LEARNER, member->learner);
}

static void append_member(buf_t *out, uint32_t field, const Quoral__ConfigurationMember *member)
{
    buf_t one = {0};
    append_member_fields(&one, member);
    buf_field_bytes(out, field, buf_slice(&one));
    buf_deinit(&one);
}

/* ---- the answer: the members, with whatever the change has made of them ---- */

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
    bool is_add = call->method == METHOD_MEMBER_ADD;
    header_append(&self->header, &out, 0, self->role.term);
    if (is_add) {
        buf_field_bytes(&out, ADD_MEMBER, bytes_slice(call->request));
    }
    for (size_t i = 0; i < members->n_members; i++) {
        if (!self->members.is_removed || members->members[i]->id != self->cfg.member_id) {
            append_member(&out, is_add ? ADD_MEMBERS : LIST_MEMBERS, members->members[i]);
        }
    }
    members_free(&members);
    bytes_t *answer = buf_bytes(&out);
    buf_deinit(&out);
    api_answer(self, call, &answer);
}

/* ---- changes ---- */

static void propose(api_t *self, call_t *call, Quoral__MembershipChange__Kind kind,
                    Quoral__ConfigurationMember *member)
{
    Quoral__MembershipChange change = QUORAL__MEMBERSHIP_CHANGE__INIT;
    change.kind = kind;
    change.member = member;
    change.origin = self->cfg.origin;
    change.request_id = api_request_id(self, call);
    call->member_id = member->id;
    uint8_t *room = NULL;
    bytes_t *payload = bytes_alloc(quoral__membership_change__get_packed_size(&change), &room);
    quoral__membership_change__pack(&change, room);
    api_propose_change(self, call, &payload);
}

/* As terminated texts. NULL: they are no URLs, or more than any member has. */
static char **copy_urls(const member_request_t *request, size_t *count)
{
    size_t bytes = 0;
    *count = 0;
    if (request->url_count > LIMIT_URLS) {
        return NULL;
    }
    for (size_t i = 0; i < request->url_count; i++) {
        bytes += request->urls[i].len;
        if (request->urls[i].len && memchr(request->urls[i].data, 0, request->urls[i].len)) {
            return NULL;
        }
    }
    if (bytes > LIMIT_PEER_URLS_BYTES) {
        return NULL;
    }
    char **urls = xcalloc(request->url_count + 1, sizeof *urls);
    for (; *count < request->url_count; (*count)++) {
        const slice_t *url = &request->urls[*count];
        urls[*count] = xcalloc(url->len + 1, 1);
        if (url->len) {
            memcpy(urls[*count], url->data, url->len);
        }
    }
    return urls;
}

static void free_urls(char **urls, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(urls[i]);
    }
    free(urls);
}

/* Known to all by its URLs and the second in which it is added. */
static uint64_t make_id(const api_t *self, const urls_t *urls)
{
    char second[24];
    snprintf(second, sizeof second, "%" PRIu64,
             (self->cfg.unix_offset_us + self->now_us) / 1000000);
    return member_id(urls, second);
}

static bytes_t *encode_member(const Quoral__ConfigurationMember *member)
{
    buf_t out = {0};
    append_member_fields(&out, member);
    bytes_t *encoded = buf_bytes(&out);
    buf_deinit(&out);
    return encoded;
}

static void add(api_t *self, call_t *call, const urls_t *urls, bool is_learner)
{
    api_error_t error = api_may_add(self, is_learner);
    if (error) {
        api_fail(self, call, error);
        return;
    }
    char *texts[LIMIT_URLS];
    for (size_t i = 0; i < urls->count; i++) {
        texts[i] = urls->items[i].text;
    }
    Quoral__ConfigurationMember member = QUORAL__CONFIGURATION_MEMBER__INIT;
    member.id = make_id(self, urls);
    member.learner = is_learner;
    member.n_peer_urls = urls->count;
    member.peer_urls = texts;
    call->request = encode_member(&member);
    propose(self, call, QUORAL__MEMBERSHIP_CHANGE__KIND__ADD, &member);
}

void api_on_member_add(api_t *self, call_t *call, bytes_t **message_p)
{
    member_request_t request;
    if (decode_member_add(bytes_slice(*message_p), &request)) {
        api_fail_decode(self, call);
        return;
    }
    size_t count = 0;
    char **texts = copy_urls(&request, &count);
    urls_t urls = {0};
    char *error = texts ? urls_parse_each(&urls, (const char *const *)texts, count) : NULL;
    if (!texts || error) {
        api_fail(self, call, API_MEMBER_BAD_URLS);
    } else {
        add(self, call, &urls, request.is_learner);
    }
    free(error);
    urls_deinit(&urls);
    free_urls(texts, count);
}

/* The URLs are taken as they are, as etcd does. */
void api_on_member_update(api_t *self, call_t *call, bytes_t **message_p)
{
    member_request_t request;
    if (decode_member_update(bytes_slice(*message_p), &request)) {
        api_fail_decode(self, call);
        return;
    }
    size_t count = 0;
    char **texts = copy_urls(&request, &count);
    if (!texts || request.id == 0) {
        api_fail(self, call, texts ? API_MEMBER_NOT_FOUND : API_MEMBER_BAD_URLS);
        free_urls(texts, count);
        return;
    }
    Quoral__ConfigurationMember member = QUORAL__CONFIGURATION_MEMBER__INIT;
    member.id = request.id;
    member.n_peer_urls = count;
    member.peer_urls = texts;
    propose(self, call, QUORAL__MEMBERSHIP_CHANGE__KIND__UPDATE, &member);
    free_urls(texts, count);
}

/* Of the member with this id, when the check allows it. */
static void change_by_id(api_t *self, call_t *call, slice_t message,
                         Quoral__MembershipChange__Kind kind,
                         api_error_t (*check)(const api_t *self, uint64_t id))
{
    Quoral__ConfigurationMember member = QUORAL__CONFIGURATION_MEMBER__INIT;
    if (decode_number(message, &member.id)) {
        api_fail_decode(self, call);
        return;
    }
    api_error_t error = check(self, member.id);
    if (!error && member.id == 0) { /* no member has it; to the leader it would make no sense */
        error = API_MEMBER_NOT_FOUND;
    }
    if (error) {
        api_fail(self, call, error);
    } else {
        propose(self, call, kind, &member);
    }
}

void api_on_member_remove(api_t *self, call_t *call, bytes_t **message_p)
{
    change_by_id(self, call, bytes_slice(*message_p), QUORAL__MEMBERSHIP_CHANGE__KIND__REMOVE,
                 api_may_remove);
}

void api_on_member_promote(api_t *self, call_t *call, bytes_t **message_p)
{
    change_by_id(self, call, bytes_slice(*message_p), QUORAL__MEMBERSHIP_CHANGE__KIND__PROMOTE,
                 api_may_promote);
}
