/* zmq_gateway: the core of the native gateway: a request core of its own (actors/api), the sessions of its clients,
 * and the publisher, whose events come from a watch call at that request core. Pure; one per node, owned by its thread.
 *
 * It attends only while somebody is there: without clients and subscriptions spans do not wake it. */
#pragma once

#include "actors/api/api.h"
#include "actors/zmq_gateway/publisher.h"
#include "actors/zmq_gateway/sessions.h"

typedef struct zmq_gateway zmq_gateway_t;

typedef struct {
    api_cfg_t api;
    sessions_cfg_t sessions;
    publisher_cfg_t publisher;
} zmq_gateway_cfg_t;

/* `sink`: where publications go. */
zmq_gateway_t *zmq_gateway_new(const zmq_gateway_cfg_t *cfg, const publisher_sink_t *sink,
                               metrics_t *metrics);
extern const core_ops_t zmq_gateway_ops;

/* What the shell feeds and asks; theirs is the gateway. */
sessions_t *zmq_gateway_sessions(zmq_gateway_t *self);
publisher_t *zmq_gateway_publisher(zmq_gateway_t *self);
/* RPC counters, as api_rpc_metrics. */
const rpc_metrics_t *zmq_gateway_rpc_metrics(const zmq_gateway_t *self);
