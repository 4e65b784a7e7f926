/* core_test: drives one actor core by hand: give it messages, look at what it puts out. */
#pragma once

#include "actors/core/metrics.h"
#include "actors/core/step.h"

typedef struct {
    const core_ops_t *ops;
    void *core;
    outbox_t *outbox;
    uint64_t now_us;
} core_test_t;

/* The outbox has the edges of the wiring table for `actor`. Takes the core. */
core_test_t core_test_new(actor_id_t actor, const core_ops_t *ops, void *core);
void core_test_end(core_test_t *self);
/* Steps with the message, which is taken, as if it came from `from`. */
void core_test_send(core_test_t *self, actor_id_t from, msg_t **msg_p);
/* End of burst. */
void core_test_flush(core_test_t *self);
/* The next message out; NULL = none. Yours. Gives credits back at once. */
msg_t *core_test_take(core_test_t *self, actor_id_t *to);
/* The next message out must be of this kind and go to this actor; yours. */
msg_t *core_test_expect(core_test_t *self, actor_id_t to, msg_kind_t kind);
/* Nothing more may come out. */
void core_test_expect_nothing(core_test_t *self);

/* How often a histogram has observed something, and the sum of it. */
uint64_t core_test_observed(const metrics_t *metrics, histogram_t id);
uint64_t core_test_observed_sum(const metrics_t *metrics, histogram_t id);
/* A clock for metrics_t.clock_us that goes on by CORE_TEST_TICK_US with each look at it. */
enum { CORE_TEST_TICK_US = 7 };
uint64_t core_test_clock_us(void);
