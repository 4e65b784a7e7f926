/* publisher_rig: a publisher, the watch call that it wants played by the test, and what it has published. */
#pragma once

#include <etcd/rpc.pb-c.h>

#include "actors/zmq_gateway/publisher.h"
#include "tests/support/core_test.h"

#define RIG_CLUSTER     0x1122334455667788u
#define RIG_PROGRESS_US 1000000u
#define RIG_LINGER_US   5000000u

typedef struct {
    bytes_t *topic, *head, *body; /* body NULL: two frames, a mark */
} published_t;

typedef struct {
    publisher_t *publisher;
    metrics_t metrics;
    uint64_t now_us;
    published_t *items;
    size_t count, capacity;
    size_t seen; /* taken by publisher_rig_next */
    buf_t response;
    int64_t watch_id; /* of the watcher that was asked for last */
} publisher_rig_t;

/* 0 = the daemon's limits. */
publisher_rig_t *publisher_rig_new(size_t registrations_max, size_t registration_bytes_max);
void publisher_rig_free(publisher_rig_t **self_p);

/* What the XPUB delivers. */
void publisher_rig_subscribe(publisher_rig_t *self, slice_t subscription);
void publisher_rig_unsubscribe(publisher_rig_t *self, slice_t subscription);
/* The next request of the call, which is begun if it is wanted; NULL = none. Freed with
 * protobuf_c_message_free_unpacked. */
Etcdserverpb__WatchRequest *publisher_rig_request(publisher_rig_t *self);
/* Takes the create request that must be there, and answers that the watcher is at `revision`. Its start. */
int64_t publisher_rig_create(publisher_rig_t *self, int64_t revision);
void publisher_rig_created(publisher_rig_t *self, int64_t watch_id, int64_t revision);
void publisher_rig_canceled(publisher_rig_t *self, int64_t watch_id, int64_t compact_revision);

/* Events, collected and then handed over in one response. */
void publisher_rig_put(publisher_rig_t *self, int64_t revision, slice_t key, slice_t value);
void publisher_rig_change(publisher_rig_t *self, int64_t revision, slice_t key,
                          const slice_t *value /* NULL = deleted */, const slice_t *previous);
void publisher_rig_deliver(publisher_rig_t *self);
void publisher_rig_turn(publisher_rig_t *self);

/* What was published next; NULL = nothing. */
const published_t *publisher_rig_next(publisher_rig_t *self);
void publisher_rig_forget(publisher_rig_t *self); /* what was published so far */
