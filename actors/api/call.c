#include "actors/api/call.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/xalloc.h"

void call_list_add(call_list_t *list, call_t *call)
{
    assert(!call->list);
    call->list = list;
    call->prev = list->last;
    call->next = NULL;
    if (list->last) {
        list->last->next = call;
    } else {
        list->first = call;
    }
    list->last = call;
    list->count++;
}

void call_list_leave(call_t *call)
{
    call_list_t *list = call->list;
    if (!list) {
        return;
    }
    *(call->prev ? &call->prev->next : &list->first) = call->next;
    *(call->next ? &call->next->prev : &list->last) = call->prev;
    call->list = NULL;
    call->prev = NULL;
    call->next = NULL;
    list->count--;
}

call_t *call_list_take(call_list_t *list)
{
    call_t *call = list->first;
    if (call) {
        call_list_leave(call);
    }
    return call;
}

void call_list_move(call_list_t *list, call_list_t *from)
{
    call_t *call = NULL;
    while ((call = call_list_take(from))) {
        call_list_add(list, call);
    }
}

void call_heap_deinit(call_heap_t *self)
{
    free(self->items);
    *self = (call_heap_t){0};
}

static void place(call_heap_t *self, size_t slot, call_t *call)
{
    self->items[slot] = call;
    call->heap_slot = slot;
}

static void sift_up(call_heap_t *self, size_t slot, call_t *call)
{
    while (slot > 0 && self->items[(slot - 1) / 2]->due_us > call->due_us) {
        place(self, slot, self->items[(slot - 1) / 2]);
        slot = (slot - 1) / 2;
    }
    place(self, slot, call);
}

static void sift_down(call_heap_t *self, size_t slot, call_t *call)
{
    for (;;) {
        size_t child = 2 * slot + 1;
        if (child + 1 < self->count &&
            self->items[child + 1]->due_us < self->items[child]->due_us) {
            child++;
        }
        if (child >= self->count || self->items[child]->due_us >= call->due_us) {
            break;
        }
        place(self, slot, self->items[child]);
        slot = child;
    }
    place(self, slot, call);
}

static void settle(call_heap_t *self, size_t slot, call_t *call)
{
    if (slot > 0 && self->items[(slot - 1) / 2]->due_us > call->due_us) {
        sift_up(self, slot, call);
    } else {
        sift_down(self, slot, call);
    }
}

static void heap_remove(call_heap_t *self, call_t *call)
{
    assert(self->items[call->heap_slot] == call);
    size_t slot = call->heap_slot;
    call_t *last = self->items[--self->count];
    call->due_us = DEADLINE_NONE;
    if (last != call) {
        settle(self, slot, last);
    }
}

void call_heap_set(call_heap_t *self, call_t *call, uint64_t due_us)
{
    if (call->due_us == due_us) {
        return;
    }
    if (due_us == DEADLINE_NONE) {
        heap_remove(self, call);
        return;
    }
    bool is_new = call->due_us == DEADLINE_NONE;
    call->due_us = due_us;
    if (is_new) {
        self->items = xgrow(self->items, &self->capacity, self->count + 1, sizeof(call_t *));
        self->count++;
        sift_up(self, self->count - 1, call);
    } else {
        settle(self, call->heap_slot, call);
    }
}

call_t *call_heap_first(const call_heap_t *self)
{
    return self->count ? self->items[0] : NULL;
}
