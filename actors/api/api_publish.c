/* Publication: the member's name and client URLs go through the log, so that every member knows them, those
 * of a learner, too; the leader also sets the cluster's version. Only then does the member say that it
 * serves. One proposal at a time; again only after the request timeout, or when it was refused. A store
 * that comes from another member may show that it was applied without a result for us. */
#include "actors/api/api_cluster.h"

#include <assert.h>

#include "messages/version.h"

/* Fields of the requests. */
enum {
    VERSION_SET_VER = 1,
    ATTR_SET_MEMBER_ID = 1,
    ATTR_SET_ATTRIBUTES = 2,
    ATTRIBUTES_NAME = 1,
    ATTRIBUTES_CLIENT_URLS = 2
};

enum { REFUSED_RETRY_US = 200 * 1000 };

void api_publish_check(api_t *self)
{
    self->publish.check = true;
    self->publish.retry_us = self->now_us;
}

static void propose(api_t *self, uint32_t field, const buf_t *request)
{
    api_propose_own(self, &self->publish.request, field, buf_slice(request));
}

static void propose_attributes(api_t *self)
{
    buf_t attributes = {0};
    buf_t request = {0};
    if (self->cfg.name[0]) {
        buf_field_bytes(&attributes, ATTRIBUTES_NAME, slice_str(self->cfg.name));
    }
    for (size_t i = 0; i < self->cfg.client_url_count; i++) {
        buf_field_bytes(&attributes, ATTRIBUTES_CLIENT_URLS, slice_str(self->cfg.client_urls[i]));
    }
    buf_field_u64(&request, ATTR_SET_MEMBER_ID, self->cfg.member_id);
    buf_field_bytes(&request, ATTR_SET_ATTRIBUTES, buf_slice(&attributes));
    propose(self, OP_MEMBER_ATTR_SET, &request);
    buf_deinit(&attributes);
    buf_deinit(&request);
}

static void propose_version(api_t *self)
{
    buf_t request = {0};
    buf_field_bytes(&request, VERSION_SET_VER, slice_str(API_CLUSTER_VERSION));
    propose(self, OP_CLUSTER_VERSION_SET, &request);
    buf_deinit(&request);
}

static bool is_published(const api_t *self, const Quoral__ConfigurationMember *me)
{
    if (!me || strcmp(me->name, self->cfg.name) != 0 ||
        me->n_client_urls != self->cfg.client_url_count) {
        return false;
    }
    for (size_t i = 0; i < me->n_client_urls; i++) {
        if (strcmp(me->client_urls[i], self->cfg.client_urls[i]) != 0) {
            return false;
        }
    }
    return true;
}

/* 0 = *same says whether the cluster's version is ours; < 0. */
static int version_is_set(const kv_reader_t *reader, bool *same)
{
    kv_value_t value;
    *same = false;
    int rc = mvcc_meta_get(reader, "cluster_version", &value);
    if (rc == 0) {
        *same = slice_equal(kv_value_slice(&value), slice_str(API_CLUSTER_VERSION));
        kv_value_deinit(&value);
    }
    return rc < 0 ? rc : 0;
}

/* Once per request timeout. */
static bool may_propose(api_t *self, uint64_t *next_us)
{
    publish_t *publish = &self->publish;
    if (publish->request.request_id) {
        return false;
    }
    if (self->now_us < *next_us) {
        publish->check = true;
        publish->retry_us = *next_us;
        return false;
    }
    *next_us = self->now_us + self->cfg.request_timeout_us;
    publish->due_us = *next_us;
    return true;
}

/* What tests and tools wait for in the log (contract section 14): once per start. */
static void announce(api_t *self)
{
    if (!self->publish.announced) {
        self->publish.announced = true;
        outbox_log(self->out, LEVEL_INFO, "ready to serve client requests", NULL);
    }
}

/* Nobody waits for its result any more. */
static void end_request(api_t *self, bool success)
{
    call_t *request = &self->publish.request;
    if (request->request_id) {
        api_measured(self, request, success);
        if (success) {
            bytes_unref(&request->proposal);
        }
        api_request_settled(self, request);
    }
}

static void look(api_t *self)
{
    bool version_set = false;
    int rc = api_refresh_view(self);
    if (rc == 0) {
        rc = version_is_set(self->view->reader, &version_set);
    }
    if (rc < 0) {
        api_broken(self, rc);
        return;
    }
    publish_t *publish = &self->publish;
    const Quoral__Configuration *members = self->members.applied;
    publish->published = members && is_published(self, members_find(members, self->cfg.member_id));
    if (!publish->published) {
        if (may_propose(self, &publish->attributes_next_us)) {
            propose_attributes(self);
        }
    } else if (!version_set && self->role.role == ROLE_LEADER) {
        if (may_propose(self, &publish->version_next_us)) {
            propose_version(self);
        }
    } else {
        publish->done = true;
        announce(self);
        end_request(self, true);
    }
}

void api_publish_settled(api_t *self, bool refused)
{
    publish_t *publish = &self->publish;
    if (refused) { /* it is idempotent: no need to wait for what may have become of it */
        publish->attributes_next_us = self->now_us + REFUSED_RETRY_US;
        publish->version_next_us = self->now_us + REFUSED_RETRY_US;
    }
    api_publish_check(self);
}

void api_flush_publish(api_t *self)
{
    publish_t *publish = &self->publish;
    if (!self->store || self->role.leader == 0 || self->stop_due_us != DEADLINE_NONE) {
        return;
    }
    if (publish->request.request_id && self->now_us >= publish->due_us) {
        end_request(self, false);
        api_publish_settled(self, false);
    }
    if (publish->check && !publish->done && self->now_us >= publish->retry_us) {
        publish->check = false;
        look(self);
    }
}

uint64_t api_publish_deadline(const api_t *self)
{
    const publish_t *publish = &self->publish;
    if (!self->store || self->role.leader == 0 || publish->done) {
        return DEADLINE_NONE;
    }
    uint64_t retry_us = publish->check ? publish->retry_us : DEADLINE_NONE;
    return publish->request.request_id ? api_min(publish->due_us, retry_us) : retry_us;
}
