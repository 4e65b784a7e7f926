/* entry: log entries and proposals, the common vocabulary of actors and members. Pure. */
#pragma once

#include "messages/bytes.h"

typedef enum { ENTRY_NORMAL = 0, ENTRY_CONFIGURATION = 1 } entry_type_t;

typedef struct {
    uint64_t index;
    uint64_t term;
    entry_type_t type;
    bytes_t *
        payload; /* NORMAL: InternalRaftRequest, empty for a no-op; CONFIGURATION: quoral.Configuration */
} entry_t;

/* An array of entries; each holds one reference on its payload. */
typedef struct {
    entry_t *items;
    size_t count;
    size_t bytes; /* of payloads */
} entries_t;
void entries_deinit(entries_t *self);
void entries_append(entries_t *self, const entry_t *entry); /* takes a reference of its own */
void entries_reserve(entries_t *self, size_t count);

typedef struct {
    uint64_t req_id; /* of the gateway that asks; 0 = nobody waits for an answer */
    bytes_t *payload;
    entry_type_t type; /* CONFIGURATION: the payload is a quoral.MembershipChange */
} proposal_t;
void proposals_free(proposal_t **items_p, size_t count);
