/* progress: what a leader knows about one follower, and what it may send it. Pure; embedded in the
 * replicator, one per other member, for one term.
 *
 *   probe      where do our logs agree? One append at a time, repeated once per heartbeat interval
 *   replicate  they agree up to `match`; appends are sent ahead, up to a window
 *   snapshot   it needs what our log has forgotten: the keeper streams the store
 *
 *   probe --ack--> replicate --refusal, another incarnation--> probe
 *   probe, replicate --entries forgotten--> snapshot --sent, failed, ack--> probe
 *
 * What a follower says is not trusted to be in order or said once; it never moves `match` backwards. */
#pragma once

#include <stdbool.h>

#include "messages/limits.h"
#include "messages/slice.h"

typedef enum { PROGRESS_PROBE, PROGRESS_REPLICATE, PROGRESS_SNAPSHOT } progress_state_t;

typedef struct {
    uint64_t last_index;
    size_t bytes;
} progress_append_t;

typedef struct {
    uint64_t member;
    bool is_voter;
    progress_state_t state;
    uint64_t match;         /* known to be on its disk */
    uint64_t next;          /* index of the next entry to send */
    uint64_t commit_told;   /* it has been told to be committed, by whatever was sent last */
    uint64_t awaited;       /* somebody there is known to wait for this index to be committed */
    bool is_watched;        /* somebody there waits for events, as far as is known */
    uint64_t untold_us;     /* since when there is something to tell; 0 = there is nothing */
    uint64_t incarnation;   /* of the process that answered last; 0 = none has */
    bool was_heard;         /* in this term */
    uint64_t heard_us;      /* when it acknowledged anything last */
    uint64_t round;         /* highest confirmed: docs/CONSENSUS.md, "A read" */
    uint64_t not_before_us; /* of the next probe */
    bool is_repeated;       /* the next probe says again what has not been answered */
    uint64_t match_at_tick; /* at the last heartbeat: whether appends in flight get anywhere */
    uint64_t snapshot_id;   /* of the transfer under way */
    uint64_t keep_from;     /* entries from here on are kept for it; 0 = none on purpose */
    progress_append_t window[LIMIT_PEER_INFLIGHT_APPENDS]; /* ring: appends not acknowledged yet */
    size_t window_head, window_count;
    size_t window_bytes;
} progress_t;

void progress_init(progress_t *self, uint64_t member, uint64_t next);
/* May an append go out now? */
bool progress_may_send(const progress_t *self, uint64_t now_us);
/* An append up to `last_index` (next - 1 when it has no entries) with so many bytes of entries went out. */
void progress_sent(progress_t *self, uint64_t last_index, size_t bytes, uint64_t probe_again_us);
/* Any answer in the term that is led. True: another process than before answers for the member, which
 * remembers nothing of what was sent to the one before. */
bool progress_heard(progress_t *self, uint64_t incarnation, uint64_t now_us);
/* It has everything up to `index` on its disk. True: that is news. The caller checks that the log reaches so far. */
bool progress_acked(progress_t *self, uint64_t index);
/* It refused an append after `prev_index`. True: not an old story, sending goes on after `agree_index`
 * (where the logs may agree), or after what it is known to have. */
bool progress_refused(progress_t *self, uint64_t prev_index, uint64_t agree_index);
/* Its next entry is not in the log any more. Entries from `keep_from` on are kept for it. */
void progress_snapshot(progress_t *self, uint64_t snapshot_id, uint64_t keep_from);
/* The transfer is over: it holds everything up to `index` (0 = it failed); next probe not before that time. */
void progress_snapshot_ended(progress_t *self, uint64_t index, uint64_t not_before_us);
/* Once per heartbeat interval. True: appends are in flight and none was acknowledged since the last time:
 * ask whether they have arrived. */
bool progress_tick(progress_t *self);
