/* configuration: who votes and who learns, decoded from quoral.Configuration. Pure; embedded in its
 * owner. The encoded form travels in log entries, WAL segment headers and FENCED. */
#pragma once

#include "messages/bytes.h"

typedef struct {
    uint64_t id;
    bool learner;
} configuration_member_t;

typedef struct {
    configuration_member_t *members; /* sorted by id */
    size_t count;
} configuration_t;

/* Replaces the content. 0, or 1 when the bytes are not a valid configuration (an id of 0, an id
 * twice, no voter); the content is then empty. Empty bytes are the empty configuration. */
int configuration_decode(configuration_t *self, slice_t encoded)
    __attribute__((warn_unused_result));
void configuration_deinit(configuration_t *self);
bool configuration_is_voter(const configuration_t *self, uint64_t id);
size_t configuration_voters(const configuration_t *self);
/* Votes or acknowledgements that make a majority of the voters; at least 1. */
size_t configuration_quorum(const configuration_t *self);
