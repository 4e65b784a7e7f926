/* membership: who belongs to the cluster, as encoded quoral.Configurations, and what a change makes of
 * one. Pure functions. The leader checks every change before it is appended; applying one never rejects. */
#pragma once

#include "messages/bytes.h"
#include "messages/errors.h"

/* May these bytes be a configuration in the log? Bytes of other members are asked this first. */
bool membership_is_valid(slice_t configuration);
/* Was the member part of the cluster once, and is not any more? */
bool membership_is_removed(slice_t configuration, uint64_t member);

typedef enum {
    MEMBERSHIP_ADD,
    MEMBERSHIP_REMOVE,
    MEMBERSHIP_UPDATE,
    MEMBERSHIP_PROMOTE
} membership_kind_t;

/* What the change is about. False: the bytes are no quoral.MembershipChange. */
bool membership_change_of(slice_t change, membership_kind_t *kind, uint64_t *member);

typedef struct {
    size_t learners_max;
    uint64_t match; /* what the member that is promoted has on its disk, as the leader knows */
    uint64_t last;  /* the leader's last index */
} membership_rules_t;

/* API_NONE: *result is the whole new configuration, with who waits for it. Else why not. */
api_error_t membership_apply(slice_t configuration, slice_t change, const membership_rules_t *rules,
                             bytes_t **result);
