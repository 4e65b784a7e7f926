/* applier_state: the applier's inside, shared by the files of this folder. */
#pragma once

#include "actors/applier/applier.h"
#include "actors/applier/envelope.h"
#include "messages/buf.h"
#include "store/mvcc_write.h"

/* Start: LEASES (tell lease what exists), ANNOUNCE (RESTORED to everybody), SERVING. */
typedef enum { RESTORE_REPLAY, RESTORE_LEASES, RESTORE_ANNOUNCE, RESTORE_SERVING } restore_phase_t;

typedef struct {
    restore_phase_t phase;
    lease_change_t *leases; /* of the store, to be sent in batches */
    size_t lease_count, lease_capacity, lease_sent;
    bool lease_begun; /* the first message of the list is sent */
    size_t announced; /* how many of the receivers have RESTORED */
} restore_t;

/* What an operation's client is told. Not built when nobody of ours waits. */
typedef struct {
    bool wanted;
    unsigned gateway; /* its number */
    api_error_t error;
    bool until_compacted; /* physical compaction: answered only when the work is done */
    buf_t body;           /* the answer's fields after the header */
} answer_t;

/* Results of the open span, for one gateway. */
typedef struct {
    result_t *items;
    size_t count, capacity;
} results_t;

/* A physical compaction whose client waits. */
typedef struct {
    result_t result;
    unsigned gateway;
    int64_t revision;
} held_t;

/* What the replicator has handed over, in its order: entries, or a snapshot to be installed. */
typedef struct {
    entries_t entries;
    msg_snap_t *install; /* NULL: entries */
} burst_t;

struct applier {
    applier_cfg_t cfg;
    metrics_t *metrics;
    kv_t *kv;
    mvcc_t *mvcc;
    restore_t restore;
    bytes_t *configuration; /* cfg's, until the store knows members */
    bytes_t *published;     /* what peer was told last of who has published itself */
    bool members_changed;   /* it may have to be told again */
    msg_snap_t installed;   /* store in force, not everybody has it yet; index 0 = none */
    uint64_t members_index; /* of the last entry that changed them in this run */
    /* What waits: whole messages, in order. */
    burst_t *bursts;
    size_t burst_count, burst_capacity;
    size_t burst_first, entry_next; /* the next entry to apply */
    uint64_t commit;
    /* The open span. */
    results_t results[GATEWAY_COUNT];
    size_t result_bytes; /* of bodies */
    lease_change_t *lease_changes;
    size_t lease_change_count, lease_change_capacity;
    answer_t answer; /* reused */
    /* Physical compactions whose clients wait. */
    held_t *held;
    size_t held_count, held_capacity;
    uint64_t next_compaction_us;
    uint64_t compaction_since_us; /* the one in progress, by the metrics' clock; 0 = none */
    uint64_t
        clock_us;     /* last reading of the metrics' clock: entries are measured one to the next */
    bool is_attended; /* by the native gateway: it wants APPLIED */
    msg_interest_t watching; /* what watch has asked for last */
    bool watch_due;          /* it has to be told the position */
    uint64_t lease_awaits;   /* lease waits for this to be applied; 0 = for nothing */
    uint64_t reported;       /* applied index of the last APPLIED to the replicator, */
    size_t unreported_bytes; /* and what has been applied since */
    uint64_t flush_asked;    /* applied index of the last FLUSH */
    uint64_t next_flush_us;  /* not before */
    uint64_t next_size_us;   /* when to look at the store's size again */
    bool work_left;          /* entries wait and nothing holds them */
    bool failed;             /* fatal: touch nothing more */
};

/* Operations: 0 = done (also when refused: answer->error), APPLY_MALFORMED = the entry says nothing
 * that can be applied, < 0 = the store is broken. Called between mvcc_entry_begin and _end. */
enum { APPLY_MALFORMED = 1 };
int apply_put(applier_t *self, slice_t request, answer_t *answer);
int apply_delete_range(applier_t *self, slice_t request, answer_t *answer);
int apply_compaction(applier_t *self, slice_t request, answer_t *answer);
int apply_txn(applier_t *self, slice_t request, answer_t *answer);
int apply_lease_grant(applier_t *self, slice_t request, answer_t *answer);
int apply_lease_revoke(applier_t *self, slice_t request, answer_t *answer);
int apply_cluster_version(applier_t *self, slice_t request);
int apply_member_attributes(applier_t *self, slice_t request);
/* A configuration entry's payload. *asked: who waits for the change. */
int apply_configuration(applier_t *self, slice_t encoded, envelope_t *asked);
/* Before the first entry of a new store: the members it starts with. */
int apply_first_members(applier_t *self);

/* Tells peer who has published itself, when that has changed; after the span's batch is written. */
void members_tell(applier_t *self, outbox_t *out);

/* One entry, with its begin and end; its answer, if anybody waits, joins the span's results.
 * False: fatal, said to the outbox. */
bool apply_entry(applier_t *self, const entry_t *entry, outbox_t *out);

/* Goes on with the start as far as edges have room. True: SERVING, or still replaying. */
bool restore_step(applier_t *self, outbox_t *out);
void restore_deinit(restore_t *self);

/* Puts a received store in force, and begins to tell everybody. Takes what the message holds. */
void install_snapshot(applier_t *self, msg_snap_t *snap, outbox_t *out);
/* Everybody has the new store. */
void install_finish(applier_t *self, outbox_t *out);

/* Background work of compaction that is due; answers clients whose physical compaction is done. */
void compaction_step(applier_t *self, uint64_t now_us, outbox_t *out);
/* Holds back the answer to a physical compaction. */
void compaction_hold(applier_t *self, unsigned gateway, const result_t *result, int64_t revision);
bool compaction_is_crowded(const applier_t *self);
/* Another store, which may have been compacted further. */
void compaction_restored(applier_t *self, outbox_t *out);

/* The environment is broken. */
void applier_fail(applier_t *self, outbox_t *out, int rc);
/* Appends to those of a gateway. */
void results_add(results_t *self, const result_t *result);
/* Sends them as one message, if there are any. */
void results_send(results_t *self, unsigned gateway, outbox_t *out);
