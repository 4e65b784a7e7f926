/* member_id: the ids of members and clusters. Pure.
 * Rule (contract section 6): SHA-1 over text that every member knows, its first eight bytes as a
 * big-endian number; so all members of a new cluster compute the same ids without talking. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "actors/core/urls.h"

/* Of its sorted peer URLs, then `mark`: the cluster's token for a member that is there when the cluster is
 * made, the decimal Unix time in seconds for one that is added to it. */
uint64_t member_id(const urls_t *peer_urls, const char *mark);
/* Of a cluster made of these members. Sorts `members`. */
uint64_t cluster_id(uint64_t *members, size_t count);
