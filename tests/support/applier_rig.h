/* applier_rig: an applier over a store in memory, fed with entries and asked for its answers. */
#pragma once

#include <etcd/rpc.pb-c.h>

#include "actors/applier/applier.h"
#include "store/mvcc_read.h"
#include "tests/support/core_test.h"

enum { RIG_ORIGIN = 77, RIG_NATIVE_ORIGIN = 88, RIG_ROWS = 10, RIG_SLEEP_US = 1000 };
/* Field numbers of InternalRaftRequest. */
enum {
    RIG_PUT = 4,
    RIG_DELETE_RANGE = 5,
    RIG_TXN = 6,
    RIG_COMPACTION = 7,
    RIG_LEASE_GRANT = 8,
    RIG_LEASE_REVOKE = 9,
    RIG_VERSION_SET = 1300,
    RIG_ATTR_SET = 1301
};

typedef struct {
    generations_t *generations;
    shared_t *store; /* the first one */
    applier_t *applier;
    core_test_t test;
    metrics_t metrics;
    uint64_t catchup_entries; /* of the next start */
    uint64_t index, request_id;
    msg_t *batch; /* COMMITTED under construction */
} applier_rig_t;

/* A rig without an applier: rig_start makes one. */
applier_rig_t *rig_new_stopped(void);
/* A started one that has announced its empty store. */
applier_rig_t *rig_new(uint64_t flush_entries);
void rig_destroy(applier_rig_t **rig_p);
void rig_start(applier_rig_t *rig, uint64_t start_commit, uint64_t flush_entries,
               const bytes_t *members);
kv_t *rig_kv(applier_rig_t *rig);
/* Throws away all messages that have come out. */
void rig_drain(applier_rig_t *rig);

/* Entries join a batch, which rig_send sends, with the end of the burst. */
void rig_add_entry(applier_rig_t *rig, entry_type_t type, slice_t payload);
uint64_t rig_add_request_of(applier_rig_t *rig, uint64_t origin, uint32_t op, slice_t request);
uint64_t rig_add_request(applier_rig_t *rig, uint32_t op, const ProtobufCMessage *request);
uint64_t rig_add_put(applier_rig_t *rig, const char *key, const char *value);
void rig_send(applier_rig_t *rig);

/* Sends the one request that was added and returns its result; everything else is dropped. */
result_t rig_result(applier_rig_t *rig);
/* The same, for requests whose answer is not looked into. */
void rig_expect(applier_rig_t *rig, api_error_t error, int64_t revision);
result_t rig_put(applier_rig_t *rig, const char *key, const char *value);
bool rig_exists(applier_rig_t *rig, const char *key);

ProtobufCBinaryData pb_text(const char *string);
Etcdserverpb__PutRequest put_request(const char *key, const char *value);
