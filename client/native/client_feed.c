#include "client/native/client_feed.h"

#include <assert.h>
#include <stdlib.h>

#include "client/native/client_pages.h"
#include "messages/xalloc.h"

/* Between two pages. A member that is silent for longer is asked again, and soon another one. */
#define QUESTION_US 5000000u

struct client_feed {
    client_cache_t *cache;
    buf_t subscription;
    buf_t mark_topic;
    uint64_t cluster_id; /* of the member it is linked to */
    client_cache_want_kind_t asked;
    client_call_t call;
    client_pages_t pages;
    uint64_t unanswered;
};

client_feed_t *client_feed_new(const client_cache_cfg_t *cfg)
{
    client_feed_t *self = xcalloc(1, sizeof *self);
    self->cache = client_cache_new(cfg);
    native_subscription(&self->subscription, NATIVE_EVENTS, cfg->key, !cfg->prefix);
    native_mark_topic(&self->mark_topic, buf_slice(&self->subscription));
    self->call.owner = self;
    return self;
}

static void give_up(client_feed_t *self, client_session_t *session, uint64_t now_us)
{
    if (self->asked != CLIENT_CACHE_WANTS_NOTHING) {
        client_session_cancel(session, &self->call, now_us);
        assert(self->asked == CLIENT_CACHE_WANTS_NOTHING);
    }
}

void client_feed_destroy(client_feed_t **self_p, client_session_t *session, uint64_t now_us)
{
    client_feed_t *self = *self_p;
    *self_p = NULL;
    if (self) {
        give_up(self, session, now_us);
        client_cache_destroy(&self->cache);
        buf_deinit(&self->subscription);
        buf_deinit(&self->mark_topic);
        buf_deinit(&self->call.body);
        free(self);
    }
}

client_cache_t *client_feed_cache(const client_feed_t *self)
{
    return self->cache;
}

uint64_t client_feed_unanswered(const client_feed_t *self)
{
    return self->unanswered;
}

slice_t client_feed_subscription(const client_feed_t *self)
{
    return buf_slice(&self->subscription);
}

slice_t client_feed_mark_topic(const client_feed_t *self)
{
    return buf_slice(&self->mark_topic);
}

void client_feed_link(client_feed_t *self, const client_member_t *member, client_session_t *session,
                      uint64_t now_us)
{
    give_up(self, session, now_us);
    client_cache_unlinked(self->cache);
    if (member) {
        self->cluster_id = member->cluster_id;
        client_cache_linked(self->cache, now_us, member->cluster_id, member->progress_us);
    }
}

void client_feed_event(client_feed_t *self, const native_event_t *event, slice_t body)
{
    const native_link_t *link = native_event_link(event, self->subscription.len);
    native_change_t change;
    if (!link || (!event->is_omitted && native_change_read(body, &change))) {
        return; /* what is missing will be a hole */
    }
    client_cache_event_t out = {.position = event->position,
                                .previous = link->previous,
                                .last = link->is_last,
                                .left_out = event->is_omitted,
                                .change = event->is_omitted ? NULL : &change};
    client_cache_event(self->cache, event->cluster_id, &out);
}

void client_feed_mark(client_feed_t *self, const native_mark_t *mark, uint64_t now_us)
{
    client_cache_mark(self->cache, now_us, mark);
}

/* ---- questions ---- */

static void on_kv(void *owner, const native_kv_t *kv)
{
    client_feed_t *self = owner;
    client_cache_snapshot_item(self->cache, kv);
}

static void on_event(void *owner, native_position_t position, const native_change_t *change)
{
    client_feed_t *self = owner;
    client_cache_history_event(self->cache, position, change);
}

static void on_message(client_call_t *call, slice_t body, uint64_t now_us)
{
    client_feed_t *self = call->owner;
    call->deadline_us = now_us + QUESTION_US;
    static const client_pages_sink_t sink = {.on_kv = on_kv, .on_event = on_event};
    client_pages_read(&self->pages, body, &sink, self);
}

static void on_done(client_call_t *call, uint64_t now_us)
{
    client_feed_t *self = call->owner;
    client_cache_want_kind_t asked = self->asked;
    self->asked = CLIENT_CACHE_WANTS_NOTHING;
    self->unanswered += call->code == GRPC_DEADLINE_EXCEEDED;
    if (call->code == GRPC_OK && asked == CLIENT_CACHE_WANTS_REVISION) {
        client_pages_read(&self->pages, call->answer, &(client_pages_sink_t){0}, self);
    }
    int64_t complete =
        asked == CLIENT_CACHE_WANTS_EVENTS ? self->pages.complete : self->pages.revision;
    if (call->code == GRPC_OK && !self->pages.is_malformed && complete > 0) {
        client_cache_answered(self->cache, now_us, self->pages.cluster_id, complete);
    } else {
        client_cache_failed(self->cache, now_us, call->code == GRPC_OUT_OF_RANGE);
    }
}

void client_feed_step(client_feed_t *self, client_session_t *session, uint64_t now_us)
{
    client_cache_want_t want;
    if (self->asked != CLIENT_CACHE_WANTS_NOTHING ||
        !client_cache_want(self->cache, now_us, &want)) {
        return;
    }
    self->asked = want.kind;
    client_call_t *call = &self->call;
    buf_clear(&call->body);
    slice_t subscription = client_feed_subscription(self);
    switch (want.kind) {
    case CLIENT_CACHE_WANTS_SNAPSHOT:
        call->method = "quoral.Native/Snapshot";
        self->pages = (client_pages_t){.kind = CLIENT_PAGES_SNAPSHOT};
        client_pages_ask_snapshot(&call->body, subscription, self->cluster_id);
        break;
    case CLIENT_CACHE_WANTS_EVENTS:
        call->method = "quoral.Native/Events";
        self->pages = (client_pages_t){.kind = CLIENT_PAGES_EVENTS};
        client_pages_ask_events(&call->body, subscription, want.after, want.through,
                                self->cluster_id);
        break;
    default:
        call->method = "etcdserverpb.KV/Range";
        self->pages = (client_pages_t){.kind = CLIENT_PAGES_HEADER};
        client_pages_ask_revision(&call->body);
        break;
    }
    call->is_repeatable = want.kind == CLIENT_CACHE_WANTS_REVISION;
    call->deadline_us = now_us + QUESTION_US;
    call->moves_deadline = !call->is_repeatable;
    call->on_message = call->is_repeatable ? NULL : on_message;
    call->on_done = on_done;
    client_session_call(session, call, now_us);
}
