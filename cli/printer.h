/* printer: answers in the five output formats, byte for byte as etcdctl writes them (contract
 * section 15). A printer is embedded in its owner; it borrows its streams and the answers. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "etcd/rpc.pb-c.h"

typedef struct printer_ops printer_ops_t;

typedef struct printer {
    const printer_ops_t *ops;
    const char *format; /* "simple", … */
    bool hex;
    bool value_only; /* get --print-value-only */
    FILE *out;
    FILE *err;
} printer_t;

/* What a watch channel yields; etcdctl prints this instead of the message it came in. */
typedef struct watch_view {
    const Etcdserverpb__ResponseHeader *header; /* NULL: empty */
    Mvccpb__Event **events;
    size_t events_n;
    int64_t compact_revision;
    bool canceled;
    const char *cancel_reason;
} watch_view_t;

typedef struct endpoint_health {
    const char *endpoint;
    bool healthy;
    const char *took;
    const char *error; /* "": none */
} endpoint_health_t;

typedef struct endpoint_status {
    const char *endpoint;
    const Etcdserverpb__StatusResponse *status;
} endpoint_status_t;

typedef struct endpoint_hashkv {
    const char *endpoint;
    const Etcdserverpb__HashKVResponse *hash;
} endpoint_hashkv_t;

/* What was done to a member. The answers to removing, updating and promoting one have the fields of
 * MemberListResponse, so that type reads them all. */
typedef struct member_change {
    const char *done; /* "removed from", … */
    uint64_t id;
    const Etcdserverpb__MemberListResponse *answer;
} member_change_t;

/* NULL: the format has no such output. */
struct printer_ops {
    void (*range)(printer_t *self, const Etcdserverpb__RangeResponse *answer);
    void (*put)(printer_t *self, const Etcdserverpb__PutResponse *answer);
    void (*del)(printer_t *self, const Etcdserverpb__DeleteRangeResponse *answer);
    void (*txn)(printer_t *self, const Etcdserverpb__TxnResponse *answer);
    void (*watch)(printer_t *self, const watch_view_t *view);
    void (*lease_grant)(printer_t *self, const Etcdserverpb__LeaseGrantResponse *answer);
    void (*lease_revoke)(printer_t *self, int64_t id,
                         const Etcdserverpb__LeaseRevokeResponse *answer);
    void (*lease_keep_alive)(printer_t *self, const Etcdserverpb__LeaseKeepAliveResponse *answer);
    void (*lease_time_to_live)(printer_t *self, const Etcdserverpb__LeaseTimeToLiveResponse *answer,
                               bool keys);
    void (*leases)(printer_t *self, const Etcdserverpb__LeaseLeasesResponse *answer);
    void (*members)(printer_t *self, const Etcdserverpb__MemberListResponse *answer);
    void (*member_add)(printer_t *self, const Etcdserverpb__MemberAddResponse *answer);
    void (*member_change)(printer_t *self, const member_change_t *change);
    void (*move_leader)(printer_t *self, uint64_t from, uint64_t to,
                        const Etcdserverpb__MoveLeaderResponse *answer);
    void (*health)(printer_t *self, const endpoint_health_t *items, size_t n);
    void (*status)(printer_t *self, const endpoint_status_t *items, size_t n);
    void (*hashkv)(printer_t *self, const endpoint_hashkv_t *items, size_t n);
};

extern const printer_ops_t printer_simple;
extern const printer_ops_t printer_fields;
extern const printer_ops_t printer_json;
extern const printer_ops_t printer_protobuf;
extern const printer_ops_t printer_table;

/* false: there is no such format. */
bool printer_init(printer_t *self, const char *format, bool hex, FILE *out, FILE *err);

/* Prints with the operation of that name. The exit code: 0, or 4 with an error on stderr when the
 * format cannot do it. Flushes the output. */
#define PRINT(printer, operation, ...)                                                             \
    ((printer)->ops->operation == NULL                                                             \
         ? printer_refuse(printer)                                                                 \
         : ((printer)->ops->operation((printer), __VA_ARGS__), printer_flush(printer)))
int printer_refuse(printer_t *self);
int printer_flush(printer_t *self);

/* Rows of text; cells are owned. */
typedef struct cells {
    const char *const *titles;
    size_t columns;
    char **items; /* rows * columns */
    size_t rows;
} cells_t;

/* Shared by simple and table. */
cells_t printer_member_cells(const Etcdserverpb__MemberListResponse *answer);
cells_t printer_health_cells(const endpoint_health_t *items, size_t n);
cells_t printer_status_cells(const endpoint_status_t *items, size_t n);
cells_t printer_hashkv_cells(const endpoint_hashkv_t *items, size_t n);
void cells_deinit(cells_t *self);
