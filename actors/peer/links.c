#include "actors/peer/links.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/xalloc.h"

void links_deinit(links_t *self)
{
    for (size_t i = 0; i < self->count; i++) {
        bytes_unref(&self->items[i].urls);
    }
    free(self->items);
    *self = (links_t){0};
}

peer_link_t *links_find(const links_t *self, uint64_t id)
{
    for (size_t i = 0; i < self->count; i++) {
        if (self->items[i].id == id) {
            return &self->items[i];
        }
    }
    return NULL;
}

peer_link_t *links_add(links_t *self, uint64_t id, const bytes_t *urls)
{
    assert(!links_find(self, id));
    self->items = xgrow(self->items, &self->capacity, self->count + 1, sizeof *self->items);
    peer_link_t *link = &self->items[self->count++];
    *link = (peer_link_t){.id = id, .urls = bytes_ref(urls)};
    return link;
}

void links_remove(links_t *self, peer_link_t *link)
{
    bytes_unref(&link->urls);
    *link = self->items[--self->count];
}

size_t links_guests(const links_t *self)
{
    size_t guests = 0;
    for (size_t i = 0; i < self->count; i++) {
        guests += !self->items[i].is_member;
    }
    return guests;
}

bool link_is_replaced(const peer_link_t *self, uint64_t incarnation)
{
    return self->is_active && self->incarnation != 0 && incarnation > self->incarnation;
}

bool link_admits(peer_link_t *self, uint64_t incarnation)
{
    if (incarnation < self->incarnation && self->is_active) {
        return false;
    }
    self->incarnation = incarnation;
    return true;
}
