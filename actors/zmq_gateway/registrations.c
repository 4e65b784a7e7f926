#include "actors/zmq_gateway/registrations.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/xalloc.h"

void registrations_init(registrations_t *self, size_t count_max, size_t bytes_max)
{
    *self = (registrations_t){.count_max = count_max, .bytes_max = bytes_max};
}

static slice_t text_of(const registration_t *item)
{
    return bytes_slice(item->subscription);
}

static void free_item(registration_t *item)
{
    bytes_unref(&item->subscription);
    free(item);
}

void registrations_deinit(registrations_t *self)
{
    for (size_t i = 0; i < self->count; i++) {
        free_item(self->items[i]);
    }
    free(self->items);
    *self = (registrations_t){0};
}

/* ---- the two queues: the same code for both pairs of links would need macros; it is short ---- */

static void leave_marks(registrations_t *self, registration_t *item)
{
    registration_queue_t *queue = &self->marks;
    *(item->mark_prev ? &item->mark_prev->mark_next : &queue->first) = item->mark_next;
    *(item->mark_next ? &item->mark_next->mark_prev : &queue->last) = item->mark_prev;
    item->mark_next = NULL;
    item->mark_prev = NULL;
}

static void append_to_marks(registrations_t *self, registration_t *item)
{
    item->mark_prev = self->marks.last;
    *(self->marks.last ? &self->marks.last->mark_next : &self->marks.first) = item;
    self->marks.last = item;
}

static void prepend_to_marks(registrations_t *self, registration_t *item)
{
    item->mark_next = self->marks.first;
    *(self->marks.first ? &self->marks.first->mark_prev : &self->marks.last) = item;
    self->marks.first = item;
}

void registrations_mark_later(registrations_t *self, registration_t *item, uint64_t due_us)
{
    leave_marks(self, item);
    item->mark_due_us = due_us;
    append_to_marks(self, item);
}

void registrations_mark_next(registrations_t *self, registration_t *item, uint64_t now_us)
{
    leave_marks(self, item);
    item->mark_due_us = now_us;
    prepend_to_marks(self, item);
}

void registrations_linger(registrations_t *self, registration_t *item, uint64_t until_us)
{
    registrations_stay(self, item);
    item->is_lingering = true;
    item->removed_us = until_us;
    item->linger_prev = self->lingering.last;
    *(self->lingering.last ? &self->lingering.last->linger_next : &self->lingering.first) = item;
    self->lingering.last = item;
}

void registrations_stay(registrations_t *self, registration_t *item)
{
    if (!item->is_lingering) {
        return;
    }
    registration_queue_t *queue = &self->lingering;
    *(item->linger_prev ? &item->linger_prev->linger_next : &queue->first) = item->linger_next;
    *(item->linger_next ? &item->linger_next->linger_prev : &queue->last) = item->linger_prev;
    item->linger_next = NULL;
    item->linger_prev = NULL;
    item->is_lingering = false;
}

/* ---- the sorted array ---- */

/* Number of items that are not greater than `text`. */
static size_t upper_bound(const registrations_t *self, slice_t text)
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

static size_t common_length(slice_t a, slice_t b)
{
    size_t max = a.len < b.len ? a.len : b.len;
    size_t len = 0;
    while (len < max && a.data[len] == b.data[len]) {
        len++;
    }
    return len;
}

registration_t *registrations_match(const registrations_t *self, slice_t topic)
{
    size_t bound = upper_bound(self, topic);
    if (bound == 0) {
        return NULL;
    }
    registration_t *item = self->items[bound - 1];
    size_t common = common_length(text_of(item), topic);
    while (item && bytes_len(item->subscription) > common) {
        item = item->parent;
    }
    return item;
}

registration_t *registrations_find(const registrations_t *self, slice_t subscription)
{
    size_t bound = upper_bound(self, subscription);
    registration_t *item = bound ? self->items[bound - 1] : NULL;
    return item && slice_equal(text_of(item), subscription) ? item : NULL;
}

/* Those that begin with `text` stand together from `from` on. The end of them. */
static size_t end_of_descendants(const registrations_t *self, size_t from, slice_t text)
{
    size_t end = from;
    while (end < self->count && slice_starts_with(text_of(self->items[end]), text)) {
        end++;
    }
    return end;
}

/* Is the longest chain of prefixes that it would be part of short enough? */
static bool is_shallow(const registrations_t *self, slice_t subscription)
{
    const registration_t *parent = registrations_match(self, subscription);
    size_t deepest = parent ? parent->depth : 0;
    size_t from = upper_bound(self, subscription);
    size_t end = end_of_descendants(self, from, subscription);
    for (size_t i = from; i < end; i++) {
        deepest = self->items[i]->depth > deepest ? self->items[i]->depth : deepest;
    }
    return deepest < LIMIT_NATIVE_LINKS;
}

static bool fits(const registrations_t *self, size_t count, size_t bytes, size_t added)
{
    return count < self->count_max && bytes + added <= self->bytes_max;
}

bool registrations_has_room(const registrations_t *self, slice_t subscription)
{
    size_t count = self->count;
    size_t bytes = self->bytes;
    const registration_t *item = self->lingering.first;
    while (item && !fits(self, count, bytes, subscription.len)) {
        count--;
        bytes -= bytes_len(item->subscription);
        item = item->linger_next;
    }
    return fits(self, count, bytes, subscription.len) && is_shallow(self, subscription);
}

static bool is_previous(const registration_t *item)
{
    return text_of(item).data[0] == NATIVE_PREVIOUS;
}

registration_t *registrations_add(registrations_t *self, slice_t subscription, uint64_t now_us)
{
    assert(!registrations_find(self, subscription));
    if (!registrations_has_room(self, subscription)) {
        return NULL;
    }
    while (!fits(self, self->count, self->bytes, subscription.len)) {
        registrations_remove(self, self->lingering.first);
    }
    registration_t *item = xcalloc(1, sizeof *item);
    item->subscription = bytes_new(subscription.data, subscription.len);
    item->parent = registrations_match(self, subscription);
    item->depth = item->parent ? item->parent->depth + 1 : 1;
    size_t at = upper_bound(self, subscription);
    size_t end = end_of_descendants(self, at, subscription);
    for (size_t i = at; i < end; i++) {
        registration_t *below = self->items[i];
        below->depth++;
        if (below->parent == item->parent) {
            below->parent = item;
        }
    }
    self->items = xgrow(self->items, &self->capacity, self->count + 1, sizeof(registration_t *));
    memmove(self->items + at + 1, self->items + at, (self->count - at) * sizeof(registration_t *));
    self->items[at] = item;
    self->count++;
    self->bytes += subscription.len;
    self->previous_count += is_previous(item);
    item->mark_due_us = now_us;
    prepend_to_marks(self, item);
    return item;
}

void registrations_remove(registrations_t *self, registration_t *item)
{
    size_t at = upper_bound(self, text_of(item)) - 1;
    assert(self->items[at] == item);
    size_t end = end_of_descendants(self, at + 1, text_of(item));
    for (size_t i = at + 1; i < end; i++) {
        registration_t *below = self->items[i];
        below->depth--;
        if (below->parent == item) {
            below->parent = item->parent;
        }
    }
    registrations_stay(self, item);
    leave_marks(self, item);
    self->bytes -= bytes_len(item->subscription);
    self->previous_count -= is_previous(item);
    self->count--;
    memmove(self->items + at, self->items + at + 1, (self->count - at) * sizeof(registration_t *));
    free_item(item);
}
