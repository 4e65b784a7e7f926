#include "client/native/client_cache_changes.h"

#include <stdlib.h>

#include "messages/xalloc.h"

void client_cache_changes_clear(client_cache_changes_t *self)
{
    for (size_t i = 0; i < self->n; i++) {
        keymap_item_unref(&self->items[i].item);
        keymap_item_unref(&self->items[i].before);
    }
    self->n = 0;
    self->revision = 0;
    self->reset = false;
}

void client_cache_changes_deinit(client_cache_changes_t *self)
{
    client_cache_changes_clear(self);
    free(self->items);
    *self = (client_cache_changes_t){0};
}

client_cache_change_t *client_cache_changes_add(client_cache_changes_t *changes)
{
    changes->items =
        xgrow(changes->items, &changes->capacity, changes->n + 1, sizeof *changes->items);
    client_cache_change_t *change = &changes->items[changes->n++];
    *change = (client_cache_change_t){0};
    return change;
}

static bool same_item(const keymap_item_t *a, const keymap_item_t *b)
{
    return a->mod_revision == b->mod_revision && a->create_revision == b->create_revision &&
           a->version == b->version && a->lease == b->lease && slice_equal(a->value, b->value);
}

void client_cache_changes_compare(const keymap_t *before, const keymap_t *after, int64_t revision,
                                  client_cache_changes_t *changes)
{
    keymap_place_t old_place = {0};
    keymap_place_t new_place = {0};
    const keymap_item_t *old_item = keymap_next(before, &old_place);
    const keymap_item_t *new_item = keymap_next(after, &new_place);
    while (old_item || new_item) {
        int order = !old_item ? 1 : !new_item ? -1 : slice_compare(old_item->key, new_item->key);
        if (order < 0) {
            client_cache_change_t *change = client_cache_changes_add(changes);
            change->deleted = true;
            change->item = keymap_item_new(old_item->key, slice(NULL, 0));
            change->item.mod_revision = revision;
            change->before = keymap_item_ref(old_item);
        } else if (order > 0 || !same_item(old_item, new_item)) {
            client_cache_change_t *change = client_cache_changes_add(changes);
            change->item = keymap_item_ref(new_item);
            change->before = order > 0 ? (keymap_item_t){0} : keymap_item_ref(old_item);
        }
        old_item = order <= 0 ? keymap_next(before, &old_place) : old_item;
        new_item = order >= 0 ? keymap_next(after, &new_place) : new_item;
    }
}
