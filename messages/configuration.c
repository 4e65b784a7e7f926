#include "messages/configuration.h"

#include <stdlib.h>

#include "membership.pb-c.h"
#include "messages/limits.h"
#include "messages/scan.h"
#include "messages/xalloc.h"

static int by_id(const void *a, const void *b)
{
    uint64_t left = ((const configuration_member_t *)a)->id;
    uint64_t right = ((const configuration_member_t *)b)->id;
    return left < right ? -1 : left > right;
}

static bool valid(const configuration_t *self)
{
    for (size_t i = 0; i < self->count; i++) {
        bool repeated = i > 0 && self->members[i].id == self->members[i - 1].id;
        if (self->members[i].id == 0 || repeated) {
            return false;
        }
    }
    return configuration_voters(self) > 0;
}

int configuration_decode(configuration_t *self, slice_t encoded)
{
    configuration_deinit(self);
    if (encoded.len == 0) {
        return 0;
    }
    const scan_limits_t limits = {.depth = 2, .fields = LIMIT_MESSAGE_FIELDS};
    if (scan_message(encoded, &quoral__configuration__descriptor, &limits)) {
        return 1;
    }
    Quoral__Configuration *message = quoral__configuration__unpack(NULL, encoded.len, encoded.data);
    if (!message) {
        return 1;
    }
    self->members = xcalloc(message->n_members, sizeof *self->members);
    self->count = message->n_members;
    for (size_t i = 0; i < self->count; i++) {
        self->members[i].id = message->members[i]->id;
        self->members[i].learner = message->members[i]->learner;
    }
    quoral__configuration__free_unpacked(message, NULL);
    qsort(self->members, self->count, sizeof *self->members, by_id);
    if (!valid(self)) {
        configuration_deinit(self);
        return 1;
    }
    return 0;
}

void configuration_deinit(configuration_t *self)
{
    free(self->members);
    *self = (configuration_t){0};
}

bool configuration_is_voter(const configuration_t *self, uint64_t id)
{
    for (size_t i = 0; i < self->count; i++) {
        if (self->members[i].id == id) {
            return !self->members[i].learner;
        }
    }
    return false;
}

size_t configuration_voters(const configuration_t *self)
{
    size_t voters = 0;
    for (size_t i = 0; i < self->count; i++) {
        voters += !self->members[i].learner;
    }
    return voters;
}

size_t configuration_quorum(const configuration_t *self)
{
    return configuration_voters(self) / 2 + 1;
}
