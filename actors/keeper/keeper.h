/* keeper: long work on the store that nobody else should wait for. Pure (the store is injected);
 * one instance per node, owned by one thread. Today: forced flushes, so that log segments can go. */
#pragma once

#include "actors/core/metrics.h"
#include "actors/core/step.h"

typedef struct keeper keeper_t;

keeper_t *keeper_new(metrics_t *metrics);
extern const core_ops_t keeper_ops;
