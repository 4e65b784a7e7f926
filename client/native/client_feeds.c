#include "client/native/client_feeds.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "messages/xalloc.h"

enum {
    AGAIN_FIRST_US = 50000, /* before a broken link is made anew; doubles */
    AGAIN_MAX_US = 2000000,
    MOVE_PAUSE_US =
        3000000, /* between two members that were left because their events did not come */
};

static void forget_topics(client_feeds_t *self)
{
    for (size_t i = 0; i < self->topics.n; i++) {
        buf_deinit(&self->topics.items[i]);
    }
    self->topics.n = 0;
}

static void add_topic(client_feeds_t *self, slice_t topic, bool subscribe)
{
    self->topics.items = xgrow(self->topics.items, &self->topics.capacity, self->topics.n + 1,
                               sizeof *self->topics.items);
    buf_t *item = &self->topics.items[self->topics.n++];
    *item = (buf_t){0};
    buf_byte(item, subscribe);
    buf_append(item, topic.data, topic.len);
}

static void add_topics(client_feeds_t *self, const client_feed_t *feed, bool subscribe)
{
    add_topic(self, client_feed_subscription(feed), subscribe);
    add_topic(self, client_feed_mark_topic(feed), subscribe);
}

void client_feeds_deinit(client_feeds_t *self, client_session_t *session, uint64_t now_us)
{
    for (size_t i = 0; i < self->n; i++) {
        client_feed_destroy(&self->feeds[i], session, now_us);
    }
    free(self->feeds);
    forget_topics(self);
    free(self->topics.items);
    buf_deinit(&self->topic);
    *self = (client_feeds_t){0};
}

void client_feeds_add(client_feeds_t *self, client_feed_t **feed_p, client_session_t *session,
                      uint64_t now_us)
{
    self->feeds = xgrow(self->feeds, &self->capacity, self->n + 1, sizeof *self->feeds);
    client_feed_t *feed = *feed_p;
    *feed_p = NULL;
    self->feeds[self->n++] = feed;
    const client_member_t *member = client_session_member(session);
    if (self->link.number && member) {
        add_topics(self, feed, true);
        client_feed_link(feed, member, session, now_us);
    }
}

void client_feeds_remove(client_feeds_t *self, client_feed_t **feed_p, client_session_t *session,
                         uint64_t now_us)
{
    for (size_t i = 0; i < self->n; i++) {
        if (self->feeds[i] == *feed_p) {
            if (self->link.number) {
                add_topics(self, *feed_p, false);
            }
            self->feeds[i] = self->feeds[--self->n];
            client_feed_destroy(feed_p, session, now_us);
            return;
        }
    }
    assert(!"a feed of these");
}

/* ---- what is published ---- */

static void on_event(client_feeds_t *self, const slice_t *frames)
{
    native_event_t event;
    if (native_event_read(frames[1], &event)) {
        return;
    }
    for (size_t i = 0; i < self->n; i++) {
        if (slice_starts_with(frames[0], client_feed_subscription(self->feeds[i]))) {
            client_feed_event(self->feeds[i], &event, frames[2]);
        }
    }
}

static void on_mark(client_feeds_t *self, const slice_t *frames, uint64_t now_us)
{
    native_mark_t mark;
    if (native_mark_read(frames[1], &mark)) {
        return;
    }
    self->failures = 0;
    for (size_t i = 0; i < self->n; i++) {
        if (slice_equal(frames[0], client_feed_mark_topic(self->feeds[i]))) {
            client_feed_mark(self->feeds[i], &mark, now_us);
        }
    }
}

void client_feeds_message(client_feeds_t *self, uint64_t link, const slice_t *frames, size_t count,
                          uint64_t now_us)
{
    if (link != self->link.number || count < 2 || frames[0].len == 0) {
        return;
    }
    if (frames[0].data[0] == NATIVE_MARKS) {
        on_mark(self, frames, now_us);
    } else if (count >= 3) {
        on_event(self, frames);
    }
}

/* ---- the link ---- */

static void unlink_feeds(client_feeds_t *self, client_session_t *session, uint64_t now_us)
{
    self->link = (client_feeds_link_t){0};
    forget_topics(self);
    for (size_t i = 0; i < self->n; i++) {
        client_feed_link(self->feeds[i], NULL, session, now_us);
    }
}

static void link_feeds(client_feeds_t *self, client_session_t *session, const char *endpoint,
                       uint64_t now_us)
{
    const client_member_t *member = client_session_member(session);
    unlink_feeds(self, session, now_us);
    if (!client_feeds_url(member, endpoint, self->link.url)) {
        self->link.url[0] = '\0'; /* the caches hear nothing, and so want another member */
    }
    self->link.number = ++self->links;
    self->is_broken = false;
    for (size_t i = 0; i < self->n; i++) {
        add_topics(self, self->feeds[i], true);
        client_feed_link(self->feeds[i], member, session, now_us);
    }
}

void client_feeds_broken(client_feeds_t *self, uint64_t link, uint64_t now_us)
{
    if (link == self->link.number && !self->is_broken) {
        uint64_t pause_us = (uint64_t)AGAIN_FIRST_US << (self->failures < 6 ? self->failures : 6);
        self->is_broken = true;
        self->again_us = now_us + (pause_us < AGAIN_MAX_US ? pause_us : AGAIN_MAX_US);
        self->failures++;
    }
}

static bool is_restless(const client_feeds_t *self, uint64_t now_us)
{
    for (size_t i = 0; i < self->n; i++) {
        if (client_cache_restless(client_feed_cache(self->feeds[i]), now_us)) {
            return true;
        }
    }
    return false;
}

/* Leaves a member whose events do not come. With only one endpoint the connection is made anew: the subscriptions may
 * have got lost on the way. */
static void leave(client_feeds_t *self, client_session_t *session, uint64_t now_us)
{
    if (now_us < self->moved_us + MOVE_PAUSE_US) {
        return;
    }
    self->moved_us = now_us;
    client_session_move(session, now_us);
    client_feeds_broken(self, self->link.number, now_us);
}

void client_feeds_step(client_feeds_t *self, client_session_t *session, const char *endpoint,
                       uint64_t now_us)
{
    const client_member_t *member = self->n > 0 ? client_session_member(session) : NULL;
    uint64_t generation = client_session_generation(session);
    bool is_stale = self->link.number && (!member || self->generation != generation);
    bool is_due = self->is_broken && now_us >= self->again_us;
    if (member && (!self->link.number || is_stale || is_due)) {
        self->generation = generation;
        link_feeds(self, session, endpoint, now_us);
    } else if (is_stale) {
        unlink_feeds(self, session, now_us);
        self->is_broken = false;
    }
    for (size_t i = 0; i < self->n; i++) {
        client_feed_step(self->feeds[i], session, now_us);
    }
    if (self->link.number && is_restless(self, now_us)) {
        leave(self, session, now_us);
    }
}

static void earliest(uint64_t *deadline_us, uint64_t at_us)
{
    *deadline_us = at_us < *deadline_us ? at_us : *deadline_us;
}

uint64_t client_feeds_deadline(const client_feeds_t *self, uint64_t now_us)
{
    uint64_t deadline_us = self->is_broken ? self->again_us : UINT64_MAX;
    bool restless = self->link.number && is_restless(self, now_us);
    if (restless) {
        earliest(&deadline_us, self->moved_us + MOVE_PAUSE_US);
    }
    for (size_t i = 0; i < self->n; i++) {
        earliest(&deadline_us, client_cache_deadline(client_feed_cache(self->feeds[i]), now_us));
    }
    return deadline_us;
}

/* ---- for the shell ---- */

const client_feeds_link_t *client_feeds_link(const client_feeds_t *self)
{
    return &self->link;
}

bool client_feeds_topic(client_feeds_t *self, slice_t *topic, bool *subscribe)
{
    if (self->topics.n == 0) {
        return false;
    }
    buf_deinit(&self->topic);
    self->topic = self->topics.items[0];
    self->topics.n--;
    memmove(self->topics.items, self->topics.items + 1,
            self->topics.n * sizeof *self->topics.items);
    *subscribe = self->topic.data[0];
    *topic = slice(self->topic.data + 1, self->topic.len - 1);
    return true;
}

bool client_feeds_url(const client_member_t *member, const char *endpoint,
                      char url[CLIENT_FEEDS_URL_BYTES])
{
    if (member->publish_url[0]) {
        const char *rest =
            strncmp(member->publish_url, "http://", 7) == 0 ? member->publish_url + 7 : NULL;
        snprintf(url, CLIENT_FEEDS_URL_BYTES, "%s%s", rest ? "tcp://" : "",
                 rest ? rest : member->publish_url);
        return true;
    }
    const char *colon = strrchr(endpoint, ':');
    if (member->publish_port == 0 || strncmp(endpoint, "tcp://", 6) != 0 || colon < endpoint + 6) {
        return false;
    }
    int len = snprintf(url, CLIENT_FEEDS_URL_BYTES, "%.*s:%u", (int)(colon - endpoint), endpoint,
                       (unsigned)member->publish_port);
    return len < CLIENT_FEEDS_URL_BYTES;
}
