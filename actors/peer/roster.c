#include "actors/peer/roster.h"

#include <stdlib.h>

#include "membership.pb-c.h"
#include "messages/buf.h"
#include "messages/limits.h"
#include "messages/scan.h"
#include "messages/xalloc.h"

bytes_t *roster_join_urls(char *const *urls, size_t count)
{
    buf_t text = {0};
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            buf_byte(&text, '\0');
        }
        buf_append(&text, urls[i], strlen(urls[i]));
    }
    bytes_t *joined = buf_bytes(&text);
    buf_deinit(&text);
    return joined;
}

static int by_value(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

int roster_decode(roster_t *self, slice_t encoded)
{
    const scan_limits_t limits = {.depth = 2, .fields = LIMIT_MESSAGE_FIELDS};
    if (scan_message(encoded, &quoral__configuration__descriptor, &limits)) {
        return 1;
    }
    Quoral__Configuration *from = quoral__configuration__unpack(NULL, encoded.len, encoded.data);
    if (!from) {
        return 1;
    }
    roster_deinit(self);
    self->members = xcalloc(from->n_members + 1, sizeof *self->members);
    self->count = from->n_members;
    for (size_t i = 0; i < self->count; i++) {
        const Quoral__ConfigurationMember *member = from->members[i];
        self->members[i].id = member->id;
        self->members[i].urls = roster_join_urls(member->peer_urls, member->n_peer_urls);
    }
    self->removed = xcalloc(from->n_removed_ids + 1, sizeof *self->removed);
    self->removed_count = from->n_removed_ids;
    for (size_t i = 0; i < self->removed_count; i++) {
        self->removed[i] = from->removed_ids[i];
    }
    qsort(self->removed, self->removed_count, sizeof *self->removed, by_value);
    quoral__configuration__free_unpacked(from, NULL);
    return 0;
}

void roster_deinit(roster_t *self)
{
    for (size_t i = 0; i < self->count; i++) {
        bytes_unref(&self->members[i].urls);
    }
    free(self->members);
    free(self->removed);
    *self = (roster_t){0};
}

const roster_member_t *roster_find(const roster_t *self, uint64_t id)
{
    for (size_t i = 0; i < self->count; i++) {
        if (self->members[i].id == id) {
            return &self->members[i];
        }
    }
    return NULL;
}

bool roster_has_removed(const roster_t *self, uint64_t id)
{
    return self->removed_count > 0 &&
           bsearch(&id, self->removed, self->removed_count, sizeof id, by_value) != NULL;
}
