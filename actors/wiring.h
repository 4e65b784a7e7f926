/* wiring: who talks to whom. One table, read by the thread shell, the simulator, the outboxes and
 * the printed diagram; nothing else says it. Pure. */
#pragma once

#include <stdio.h>

#include "actors/core/outbox.h"

/* Replicator and election drain their control mailbox first, so that a FENCE never waits behind
 * proposals (docs/CONSENSUS.md). Order holds only within one edge. */
typedef enum { MAILBOX_DATA, MAILBOX_CONTROL, MAILBOX_COUNT } mailbox_id_t;

enum { WIRING_KINDS_MAX = 10 };

typedef struct {
    actor_id_t from, to;
    mailbox_id_t mailbox;
    msg_kind_t
        kinds[WIRING_KINDS_MAX]; /* ends with CREDIT (0), which every edge's reverse carries */
    edge_policy_t policy;
    uint32_t messages_max;
    uint64_t bytes_max;
    const char *why; /* what bounds it, or what happens without credit */
} wiring_edge_t;

extern const wiring_edge_t wiring_edges[];
extern const size_t wiring_edge_count;

/* Actors start from stage 0 upwards and stop from the last stage down. */
enum { WIRING_STAGES = 5 };
unsigned wiring_stage(actor_id_t actor);

/* The edge, or NULL. */
const wiring_edge_t *wiring_find(actor_id_t from, actor_id_t to);
bool wiring_carries(const wiring_edge_t *edge, msg_kind_t kind);
/* Do credits of this edge have to go back now? Not while they are less than a quarter of it: each would
 * wake the sender for nothing. One that waits for room has the other three quarters on the way, so the
 * quarter gets full and it is woken. */
bool wiring_credits_due(const wiring_edge_t *edge, const msg_credit_t *owed);
/* An outbox with the credits of all edges that leave `actor`. */
outbox_t *wiring_outbox(actor_id_t actor);
const char *wiring_policy_name(edge_policy_t policy);
/* The table as Graphviz. */
void wiring_print(FILE *out);
