/* client_feed: one cache, its subscription, and its questions as calls of a session. Pure; one instance per cache. */
#pragma once

#include "client/native/client_cache.h"
#include "client/native/client_session.h"

typedef struct client_feed client_feed_t;

client_feed_t *client_feed_new(const client_cache_cfg_t *cfg);
/* Gives up its question. */
void client_feed_destroy(client_feed_t **self_p, client_session_t *session, uint64_t now_us);

client_cache_t *client_feed_cache(const client_feed_t *self);
/* Questions that a member left without an answer until their time was over. */
uint64_t client_feed_unanswered(const client_feed_t *self);
/* What to subscribe to: its events, its marks. Borrowed. */
slice_t client_feed_subscription(const client_feed_t *self);
slice_t client_feed_mark_topic(const client_feed_t *self);

/* Publications will now come from this member, or from none (NULL). */
void client_feed_link(client_feed_t *self, const client_member_t *member, client_session_t *session,
                      uint64_t now_us);
/* A publication whose topic the subscription matches, or this feed's mark. */
void client_feed_event(client_feed_t *self, const native_event_t *event, slice_t body);
void client_feed_mark(client_feed_t *self, const native_mark_t *mark, uint64_t now_us);
/* Asks what the cache wants to know. */
void client_feed_step(client_feed_t *self, client_session_t *session, uint64_t now_us);
