/* keeper_rig: keepers of two members, or more, with stores in memory and a network between them that a test
 * loses, repeats and exchanges messages on. */
#pragma once

#include "actors/keeper/keeper.h"
#include "store/mvcc_write.h"
#include "tests/support/core_test.h"

typedef struct {
    uint64_t id;
    metrics_t metrics;
    snapshot_metrics_t by_member;
    generations_t *generations;
    shared_t *store; /* in force; as RESTORED told the keeper */
    core_test_t test;
} keeper_member_t;

/* Its store holds nothing; the keeper has been told of it. */
void keeper_member_init(keeper_member_t *self, uint64_t id);
void keeper_member_deinit(keeper_member_t *self);
kv_t *keeper_member_kv(const keeper_member_t *self);
/* `keys` entries in a new store, each a put of a value of `value_len` bytes, and one of the members. */
void keeper_member_fill(keeper_member_t *self, uint64_t keys, size_t value_len);
/* head.applied_index of a store. */
mvcc_head_t keeper_head(shared_t *store);
uint32_t keeper_hash(shared_t *store);
/* Throws if one row differs. */
void keeper_expect_equal(kv_t *a, kv_t *b);

/* What the replicator says. */
void keeper_read(keeper_member_t *self, uint64_t id, uint64_t member);
void keeper_take(keeper_member_t *self, uint64_t member, uint64_t id, const peer_snap_meta_t *meta);
void keeper_drop(keeper_member_t *self, uint64_t member, uint64_t id);
/* And the applier. */
void keeper_restored(keeper_member_t *self, shared_t *store);

/* What comes out next, for whom it is; NULL = nothing, after an end of burst. Yours. */
msg_t *keeper_next(keeper_member_t *self, actor_id_t *to);
/* The next thing that comes out must be a message of this kind to this member; yours. */
peer_msg_t *keeper_expect_peer(keeper_member_t *self, uint64_t member, peer_kind_t kind);
/* Nothing comes out any more. */
void keeper_expect_silence(keeper_member_t *self);
/* Gives `self` what `from` has said; takes it. */
void keeper_hear(keeper_member_t *self, uint64_t from, peer_msg_t **content);
/* Steps until nothing is due at this time, keeping what comes out in the outbox. */
void keeper_run(keeper_member_t *self);
