#include "actors/zmq_gateway/topics.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/xalloc.h"

void topics_init(topics_t *self, size_t count_max, size_t bytes_max, size_t seats_max)
{
    *self = (topics_t){.count_max = count_max, .bytes_max = bytes_max, .seats_max = seats_max};
}

void topics_deinit(topics_t *self)
{
    assert(self->count == 0 && self->seats == 0 && self->bytes == 0);
    free(self->items);
}

static slice_t text_of(const topic_t *topic)
{
    return bytes_slice(topic->text);
}

/* ---- the sorted array ---- */

/* Number of items that are not greater than `text`. */
static size_t upper_bound(const topics_t *self, slice_t text)
{
    size_t low = 0;
    size_t high = self->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (slice_compare(text_of(self->items[middle]), text) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

topic_t *topics_match(const topics_t *self, slice_t message)
{
    size_t bound = upper_bound(self, message);
    topic_t *topic = bound ? self->items[bound - 1] : NULL;
    while (topic && !slice_starts_with(message, text_of(topic))) {
        topic = topic->parent;
    }
    return topic;
}

static topic_t *find(const topics_t *self, slice_t text)
{
    size_t bound = upper_bound(self, text);
    topic_t *topic = bound ? self->items[bound - 1] : NULL;
    return topic && slice_equal(text_of(topic), text) ? topic : NULL;
}

/* The topics that begin with `text` stand together from `from` on: what hung on `old` there hangs on `new`. */
static void hang_over(topics_t *self, size_t from, slice_t text, const topic_t *old, topic_t *new)
{
    for (size_t i = from; i < self->count; i++) {
        topic_t *below = self->items[i];
        if (!slice_starts_with(text_of(below), text)) {
            return;
        }
        if (below->parent == old) {
            below->parent = new;
        }
    }
}

static topic_t *add(topics_t *self, slice_t text)
{
    if (self->count >= self->count_max || text.len > self->bytes_max - self->bytes) {
        return NULL;
    }
    topic_t *topic = xcalloc(1, sizeof *topic);
    size_t at = upper_bound(self, text);
    topic->text = bytes_new(text.data, text.len);
    topic->parent = topics_match(self, text);
    hang_over(self, at, text, topic->parent, topic);
    self->items = xgrow(self->items, &self->capacity, self->count + 1, sizeof(topic_t *));
    memmove(self->items + at + 1, self->items + at, (self->count - at) * sizeof(topic_t *));
    self->items[at] = topic;
    self->count++;
    self->bytes += text.len;
    return topic;
}

static void drop(topics_t *self, topic_t *topic)
{
    size_t at = upper_bound(self, text_of(topic)) - 1;
    assert(self->items[at] == topic && topic->count == 0);
    hang_over(self, at + 1, text_of(topic), topic, topic->parent);
    self->bytes -= bytes_len(topic->text);
    self->count--;
    memmove(self->items + at, self->items + at + 1, (self->count - at) * sizeof(topic_t *));
    bytes_unref(&topic->text);
    free(topic->places);
    free(topic);
}

/* ---- seats and places ---- */

/* The member's seat, sought where there is less to look through. `count` = none. */
static size_t seat_of(const topic_member_t *member, const topic_t *topic)
{
    if (topic->count < member->count) {
        for (size_t i = 0; i < topic->count; i++) {
            if (topic->places[i].member == member) {
                return topic->places[i].seat;
            }
        }
        return member->count;
    }
    size_t seat = 0;
    while (seat < member->count && member->seats[seat].topic != topic) {
        seat++;
    }
    return seat;
}

bool topics_join(topics_t *self, topic_member_t *member, slice_t text)
{
    topic_t *topic = find(self, text);
    if (topic && seat_of(member, topic) < member->count) {
        return true;
    }
    if (self->seats >= self->seats_max) {
        return false;
    }
    topic = topic ? topic : add(self, text);
    if (!topic) {
        return false;
    }
    topic->places = xgrow(topic->places, &topic->capacity, topic->count + 1, sizeof *topic->places);
    member->seats =
        xgrow(member->seats, &member->capacity, member->count + 1, sizeof *member->seats);
    topic->places[topic->count] = (topic_place_t){.member = member, .seat = member->count};
    member->seats[member->count] = (topic_seat_t){.topic = topic, .place = topic->count};
    topic->count++;
    member->count++;
    self->seats++;
    return true;
}

/* The last of each row takes the place that becomes free. */
static void stand_up(topics_t *self, topic_member_t *member, size_t seat)
{
    topic_t *topic = member->seats[seat].topic;
    size_t place = member->seats[seat].place;
    topic->count--;
    topic->places[place] = topic->places[topic->count];
    topic->places[place].member->seats[topic->places[place].seat].place = place;
    member->count--;
    member->seats[seat] = member->seats[member->count];
    if (seat < member->count) {
        member->seats[seat].topic->places[member->seats[seat].place].seat = seat;
    }
    self->seats--;
}

bool topics_leave(topics_t *self, topic_member_t *member, slice_t text)
{
    topic_t *topic = find(self, text);
    size_t seat = topic ? seat_of(member, topic) : member->count;
    if (seat == member->count) {
        return false;
    }
    stand_up(self, member, seat);
    if (topic->count > 0) {
        return false;
    }
    drop(self, topic);
    return true;
}

void topics_leave_all(topics_t *self, topic_member_t *member,
                      void (*on_last)(void *context, slice_t text), void *context)
{
    while (member->count > 0) {
        topic_t *topic = member->seats[member->count - 1].topic;
        stand_up(self, member, member->count - 1);
        if (topic->count == 0) {
            on_last(context, text_of(topic));
            drop(self, topic);
        }
    }
    free(member->seats);
    *member = (topic_member_t){0};
}
