/* links: the other members as this one reaches and hears them. Pure; embedded in the peer core. */
#pragma once

#include "actors/peer/peer_metrics.h"
#include "messages/bytes.h"

typedef struct {
    uint64_t id;
    bytes_t *urls;     /* NUL between them; never NULL */
    bool is_member;    /* of the newest configuration; else a guest */
    bool is_active;    /* heard of within the election timeout */
    uint64_t heard_us; /* last; a guest that was never heard: when it came */
    uint64_t since_us; /* is_active has been what it is */
    uint64_t ping_due_us;
    uint64_t link_due_us;     /* while silent: when to connect afresh */
    uint64_t append_after_us; /* while silent: no APPEND before */
    uint64_t told_us;         /* that it was removed; 0 = never */
    uint64_t incarnation;     /* of the process heard last; 0 = none yet */
    peer_member_metrics_t *metrics;
} peer_link_t;

typedef struct {
    peer_link_t *items;
    size_t count, capacity;
} links_t; /* zero-initialised is empty */

void links_deinit(links_t *self);
/* NULL = not linked. Valid until links_add or links_remove. */
peer_link_t *links_find(const links_t *self, uint64_t id);
/* Zeroed but for id and urls, which it takes a reference on. */
peer_link_t *links_add(links_t *self, uint64_t id, const bytes_t *urls);
void links_remove(links_t *self, peer_link_t *link);
size_t links_guests(const links_t *self);

/* Does a later process of the member speak than the one that is heard? Then that one has ended. */
bool link_is_replaced(const peer_link_t *self, uint64_t incarnation);
/* Notes which process of the member speaks. False = an earlier one than the one that is heard: what it
 * said was long on its way. A later process has a higher incarnation; if the clock that made it went
 * back, the member is heard again as soon as it counts as silent. */
bool link_admits(peer_link_t *self, uint64_t incarnation);
