/* peer_join: asks peer URLs which cluster they belong to, before this process is a member of any: at a start with an
 * empty data directory. Blocks, for a bounded time; uses sockets and the clock. */
#pragma once

#include "actors/curve/curve_shell.h"
#include "messages/bytes.h"

/* What one of them says; CLUSTER in messages/peer_msg.h has the meaning of the fields. */
typedef struct {
    uint64_t cluster_id;
    uint64_t index;
    bool is_committed;
    bytes_t *configuration;
    bytes_t *published;
} join_answer_t;

typedef struct {
    const char *const *urls; /* at most LIMIT_JOIN_URLS are asked */
    size_t count;
    bool names_are_ipv6;   /* endpoint_names_are_ipv6 */
    curve_domain_t *curve; /* NULL = without CURVE */
    uint64_t timeout_us;
    /* Is this what was asked for? Then nobody else is waited for. NULL = any answer is. */
    bool (*is_enough)(const void *context, const join_answer_t *answer);
    const void *context;
    /* Whoever cannot be connected to at once is not waited for. */
    bool is_hasty;
} join_question_t;

/* Asks all at the same time, again until the time is up. NULL = *answer is the best one: enough, or else the one with
 * the newest committed configuration; needs join_answer_deinit. Else why not, yours: nobody answers, which may be for
 * want of the right key, or answers come from different clusters. */
char *peer_join_ask(const join_question_t *question, join_answer_t *answer)
    __attribute__((warn_unused_result));
void join_answer_deinit(join_answer_t *self);
/* The member was up once, says the answer. */
bool join_answer_has_published(const join_answer_t *self, uint64_t member);
