/* roster: who belongs to the cluster and where they listen, taken out of an encoded quoral.Configuration.
 * Pure; embedded in its owner. */
#pragma once

#include "messages/bytes.h"

typedef struct {
    uint64_t id;
    bytes_t *urls; /* NUL between them; empty when it has none */
} roster_member_t;

typedef struct {
    roster_member_t *members;
    size_t count;
    uint64_t *removed; /* ids that were members once, ascending */
    size_t removed_count;
} roster_t; /* zero-initialised is empty */

/* Replaces the content. 0, or 1 when the bytes are not a configuration; *self is then unchanged. */
int roster_decode(roster_t *self, slice_t encoded) __attribute__((warn_unused_result));
void roster_deinit(roster_t *self);
const roster_member_t *roster_find(const roster_t *self, uint64_t id); /* or NULL */
bool roster_has_removed(const roster_t *self, uint64_t id);
/* Texts as one: NUL between them. */
bytes_t *roster_join_urls(char *const *urls, size_t count);
