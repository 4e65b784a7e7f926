/* client_feeds: all caches of a client, and the one connection to a publish socket that serves them. Pure; the socket
 * is the shell's.
 *
 * The caches listen to the member the session is with: what it publishes and what it answers fit together. So the
 * *publisher link* is made anew with each session, and when it broke. client_feeds_link says which one there should
 * be, and client_feeds_topic what to subscribe to and what not any more. */
#pragma once

#include "client/native/client_feed.h"

enum { CLIENT_FEEDS_URL_BYTES = 512 };

typedef struct {
    uint64_t number; /* 0: none should be there */
    char url[CLIENT_FEEDS_URL_BYTES];
} client_feeds_link_t;

typedef struct {
    client_feed_t **feeds;
    size_t n;
    size_t capacity;
    client_feeds_link_t link;
    uint64_t links;      /* numbers given */
    uint64_t generation; /* of the session the link belongs to */
    bool is_broken;      /* and is made anew at `again_us` */
    uint64_t again_us;
    unsigned failures; /* in a row */
    uint64_t moved_us; /* when the session was last asked to go to another member */
    struct {
        buf_t *items; /* one octet, 1 = subscribe, then the topic */
        size_t n;
        size_t capacity;
    } topics;
    buf_t topic;  /* handed out last */
} client_feeds_t; /* zero-initialised is empty and ready */

void client_feeds_deinit(client_feeds_t *self, client_session_t *session, uint64_t now_us);
/* Takes it. */
void client_feeds_add(client_feeds_t *self, client_feed_t **feed_p, client_session_t *session,
                      uint64_t now_us);
/* Destroys it. */
void client_feeds_remove(client_feeds_t *self, client_feed_t **feed_p, client_session_t *session,
                         uint64_t now_us);

/* Frames of a message of the link, borrowed. */
void client_feeds_message(client_feeds_t *self, uint64_t link, const slice_t *frames, size_t count,
                          uint64_t now_us);
void client_feeds_broken(client_feeds_t *self, uint64_t link, uint64_t now_us);
/* Follows the session, asks what the caches want, leaves members that do not serve them. `endpoint` is the session's,
 * which names the host. */
void client_feeds_step(client_feeds_t *self, client_session_t *session, const char *endpoint,
                       uint64_t now_us);
uint64_t client_feeds_deadline(const client_feeds_t *self, uint64_t now_us);

const client_feeds_link_t *client_feeds_link(const client_feeds_t *self);
/* The next change of subscriptions for the link, or false. The topic is borrowed until the next call. */
bool client_feeds_topic(client_feeds_t *self, slice_t *topic, bool *subscribe);

/* Where a member publishes: what it says, or its own port on the host of the endpoint. false: nowhere. */
bool client_feeds_url(const client_member_t *member, const char *endpoint,
                      char url[CLIENT_FEEDS_URL_BYTES]);
