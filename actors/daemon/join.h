/* join: what a process makes of the configuration of the cluster it joins (--initial-cluster-state=existing), and
 * of its own when it goes on alone (--force-new-cluster). Pure. */
#pragma once

#include "actors/daemon/options.h"

/* Finds out which member this process is: --initial-cluster must name the same members as the cluster has, told by
 * their peer URLs. NULL = *member_id is set; else why it cannot join, yours. */
char *join_match(const bootstrap_t *named, slice_t configuration, uint64_t *member_id)
    __attribute__((warn_unused_result));
/* Is there a member with this process's peer URLs? */
bool join_knows(const bootstrap_t *named, slice_t configuration);
/* What its log begins with: the same members, but itself as one that does not vote: that it may is for the
 * log to say. Yours. */
bytes_t *join_configuration(slice_t configuration, uint64_t member_id);
/* The member alone, as a voter, with `urls` if it is not in the configuration; all others are removed. NULL when it
 * is alone already. Yours. */
bytes_t *alone_configuration(slice_t configuration, uint64_t member_id, const urls_t *urls);
