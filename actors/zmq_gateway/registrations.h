/* registrations: the subscriptions that get positions, and which of them an event is for. Pure; embedded
 * in the publisher.
 *
 * Sorted by their bytes. The longest registered prefix of each one is its parent. For a topic, take the
 * greatest registration that is not greater: the prefixes of the topic are among it and its ancestors, and
 * who is not longer than what both have in common is one. So all that an event is for hangs on one pointer.
 *
 * Invariants: 1. items are sorted, no two equal; 2. parent is the longest other item that is a prefix;
 * 3. depth is 1 + the parent's, at most LIMIT_NATIVE_LINKS; 4. an item is in at most one of the lists. */
#pragma once

#include "messages/native_event.h"

typedef struct registration registration_t;
struct registration {
    bytes_t *subscription;
    registration_t *parent; /* NULL = no registered prefix */
    size_t depth;
    bool is_placed; /* `last` is known */
    native_position_t last;
    uint32_t last_sub; /* within the revision that is being published: its last event */

    uint64_t mark_due_us;
    registration_t *mark_next, *mark_prev; /* in the order of their marks */
    bool is_lingering;                     /* has no subscriber any more */
    uint64_t removed_us;                   /* then: at that time */
    registration_t *linger_next, *linger_prev;
};

/* In the order of their times, which are all the same distance ahead when they are set. */
typedef struct {
    registration_t *first, *last;
} registration_queue_t;

typedef struct {
    registration_t **items;
    size_t count, capacity;
    size_t bytes;          /* of all subscriptions */
    size_t previous_count; /* of those that get previous values */
    registration_queue_t marks;
    registration_queue_t lingering;
    size_t count_max, bytes_max;
} registrations_t;

void registrations_init(registrations_t *self, size_t count_max, size_t bytes_max);
void registrations_deinit(registrations_t *self);
registration_t *registrations_find(const registrations_t *self, slice_t subscription);
/* Would it be taken? Those that linger give way. The subscription is valid and not registered. */
bool registrations_has_room(const registrations_t *self, slice_t subscription);
/* Takes it, if need be in place of those that have lingered longest. NULL = refused. The new one is the
 * next to be marked. */
registration_t *registrations_add(registrations_t *self, slice_t subscription, uint64_t now_us);
void registrations_remove(registrations_t *self, registration_t *item);
/* The longest registered prefix of the topic, or NULL; the others are its ancestors. */
registration_t *registrations_match(const registrations_t *self, slice_t topic);

/* Its next mark: behind all others, or before them. */
void registrations_mark_later(registrations_t *self, registration_t *item, uint64_t due_us);
void registrations_mark_next(registrations_t *self, registration_t *item, uint64_t now_us);
/* Its last subscriber has gone; one is there again. */
void registrations_linger(registrations_t *self, registration_t *item, uint64_t until_us);
void registrations_stay(registrations_t *self, registration_t *item);
