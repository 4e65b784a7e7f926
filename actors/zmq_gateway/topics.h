/* topics: who has subscribed to what, for a publish socket without libzmq. Pure; embedded in `subscribers`.
 *
 * Sorted by their texts; the longest other one that is a prefix of it is a topic's parent. Those that a message is for
 * are found with one search: see registrations.h, which does the same for positions. A member keeps a seat per topic, a
 * topic a place per member, and each says where the other is; so joining and leaving cost the same with any number of
 * members.
 *
 * Invariants: 1. items are sorted, no two equal, none without members; 2. parent is the longest other item that is a
 * prefix; 3. seat and place point at each other. */
#pragma once

#include "messages/bytes.h"

typedef struct topic topic_t;
typedef struct topic_member topic_member_t;

typedef struct {
    topic_member_t *member;
    size_t seat; /* which of the member's is this topic */
} topic_place_t;

struct topic {
    bytes_t *text;
    topic_t *parent;
    topic_place_t *places;
    size_t count, capacity;
};

typedef struct {
    topic_t *topic;
    size_t place; /* which of the topic's is this member */
} topic_seat_t;

struct topic_member {
    topic_seat_t *seats;
    size_t count, capacity;
}; /* zero-initialised is new; topics_leave_all frees it */

typedef struct {
    topic_t **items;
    size_t count, capacity;
    size_t bytes; /* of all texts */
    size_t seats; /* of all members */
    size_t count_max, bytes_max, seats_max;
} topics_t;

void topics_init(topics_t *self, size_t count_max, size_t bytes_max, size_t seats_max);
/* Everybody has left. */
void topics_deinit(topics_t *self);

/* Joining twice is joining once. False = a limit is reached. */
bool topics_join(topics_t *self, topic_member_t *member, slice_t text)
    __attribute__((warn_unused_result));
/* True = it was the last member. Who is none leaves nothing. */
bool topics_leave(topics_t *self, topic_member_t *member, slice_t text);
/* Tells which topics lose their last member. */
void topics_leave_all(topics_t *self, topic_member_t *member,
                      void (*on_last)(void *context, slice_t text), void *context);
/* The longest that is a prefix of the message's, or NULL; the others are its ancestors. */
topic_t *topics_match(const topics_t *self, slice_t message);
