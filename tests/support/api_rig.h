/* api_rig: the api core with a recording framing on one side and, on the other, a store in memory
 * and the other actors played by the test: by hand, or by api_rig_serve. */
#pragma once

#include <etcd/rpc.pb-c.h>

#include "actors/api/api.h"
#include "store/mvcc_write.h"
#include "tests/support/core_test.h"

enum { RIG_MESSAGES_MAX = 256, RIG_CALLS_MAX = 2048 };

#define RIG_CLUSTER_ID 0xcdf818194e3a8c32u
#define RIG_MEMBER_ID  0x8e9e05c52164694du
#define RIG_ORIGIN     0x1122334455667788u
#define RIG_TERM       7u

/* What the framing has got for one call. */
typedef struct {
    bytes_t *messages[RIG_MESSAGES_MAX];
    size_t count;
    size_t seen; /* taken by rig_next */
    bool finished;
    grpc_code_t code;
    char text[160];
} rig_call_t;

typedef struct {
    core_test_t core;
    api_t *api;
    metrics_t metrics;
    kv_t *kv;
    shared_t *store;
    mvcc_t *mvcc;
    uint64_t index;                  /* applied */
    uint64_t members_index;          /* of the entry that last changed the members */
    rig_call_t calls[RIG_CALLS_MAX]; /* by call id */
    uint64_t last_call;
    const char *refused; /* subscription that the publish socket refuses; NULL = none */
} api_rig_t;

/* Overrides of the defaults; 0 = default. */
typedef struct {
    size_t max_request_bytes, max_txn_ops;
    bool unpublished;   /* the store does not know the member's name yet */
    bool loose_changes; /* --strict-reconfig-check=false */
} rig_options_t;

/* Nothing known yet: no leader, no store. */
api_rig_t *api_rig_new(const rig_options_t *options);
void api_rig_free(api_rig_t **self_p);
/* A leader (this member) and a restored store with revision 1. */
void api_rig_ready(api_rig_t *self);
api_rig_t *api_rig_new_ready(void);
void api_rig_role(api_rig_t *self, role_t role, uint64_t leader);
void api_rig_restored(api_rig_t *self);

/* The Unix time at which a member is added when the rig's time is 0. */
#define RIG_UNIX_S 1700000000u

/* ---- the store: one entry each, applied at once, api told ---- */
/* These are the members from now on; each of them that has a name publishes the rig's URL. */
typedef struct {
    uint64_t id; /* 0 = the rig's own */
    const char *name, *peer_url;
    bool learner;
} rig_member_t;
void api_rig_members(api_rig_t *self, const rig_member_t *members, size_t count);
void api_rig_put(api_rig_t *self, const char *key, const char *value);
void api_rig_delete(api_rig_t *self, const char *key);
void api_rig_compact(api_rig_t *self, int64_t revision);
void api_rig_applied(api_rig_t *self); /* tells api where the store is */

/* ---- the framing ---- */
uint64_t api_rig_begin(api_rig_t *self, method_t method);
void api_rig_send(api_rig_t *self, uint64_t call, const void *message);
void api_rig_send_bytes(api_rig_t *self, uint64_t call, const void *data, size_t len);
/* A call with its one message and the end of the turn. */
uint64_t api_rig_unary(api_rig_t *self, method_t method, const void *message);
void api_rig_turn(api_rig_t *self);
/* Plays replicator and applier for puts, and the replicator for reads, until nothing is left to do. */
void api_rig_serve(api_rig_t *self);

/* ---- what came back ---- */
const rig_call_t *api_rig_call(const api_rig_t *self, uint64_t call);
/* The next message of the call, unpacked; fails when there is none. Freed with the rig's type. */
void *api_rig_next(api_rig_t *self, uint64_t call, const ProtobufCMessageDescriptor *type);
void api_rig_expect_open(const api_rig_t *self, uint64_t call); /* not finished, nothing unseen */
void api_rig_expect_error(const api_rig_t *self, uint64_t call, api_error_t error);
/* Finished well with one message: it, unpacked. */
void *api_rig_expect_answer(api_rig_t *self, uint64_t call, const ProtobufCMessageDescriptor *type);
/* The header names cluster, member and term, and this revision. */
void api_rig_expect_header(const Etcdserverpb__ResponseHeader *header, int64_t revision);
void api_rig_free_message(void *message);

/* A bytes field from a text. */
static inline ProtobufCBinaryData rig_text(const char *text)
{
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)text, .len = strlen(text)};
}
