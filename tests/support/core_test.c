#include "tests/support/core_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "actors/wiring.h"

core_test_t core_test_new(actor_id_t actor, const core_ops_t *ops, void *core)
{
    return (core_test_t){
        .ops = ops, .core = core, .outbox = wiring_outbox(actor), .now_us = 1000000};
}

void core_test_end(core_test_t *self)
{
    self->ops->destroy(&self->core);
    outbox_destroy(&self->outbox);
}

void core_test_send(core_test_t *self, actor_id_t from, msg_t **msg_p)
{
    (*msg_p)->from = from;
    step_in_t in = {.now_us = self->now_us, .msg = *msg_p};
    self->ops->step(self->core, &in, self->outbox);
    msg_free(msg_p);
}

void core_test_flush(core_test_t *self)
{
    step_in_t in = {.now_us = self->now_us};
    self->ops->step(self->core, &in, self->outbox);
}

msg_t *core_test_take(core_test_t *self, actor_id_t *to)
{
    msg_t *msg = outbox_take(self->outbox, to);
    if (msg && msg->cost) {
        msg_credit_t credit = {.messages = 1, .bytes = msg->cost};
        outbox_credit(self->outbox, *to, &credit);
    }
    return msg;
}

msg_t *core_test_expect(core_test_t *self, actor_id_t to, msg_kind_t kind)
{
    actor_id_t receiver = ACTOR_NONE;
    msg_t *msg = core_test_take(self, &receiver);
    assert_non_null(msg);
    assert_string_equal(msg_kind_name(msg->kind), msg_kind_name(kind));
    assert_string_equal(actor_name(receiver), actor_name(to));
    return msg;
}

void core_test_expect_nothing(core_test_t *self)
{
    actor_id_t to = ACTOR_NONE;
    msg_t *msg = outbox_take(self->outbox, &to);
    if (msg) {
        char text[200];
        msg_print(msg, text, sizeof text);
        fail_msg("unexpected message to %s: %s", actor_name(to), text);
    }
}

uint64_t core_test_observed(const metrics_t *metrics, histogram_t id)
{
    uint64_t sum = 0;
    for (size_t i = 0; i <= HISTOGRAM_BUCKETS_MAX; i++) {
        sum += metrics->histograms[id].buckets[i];
    }
    return sum;
}

uint64_t core_test_observed_sum(const metrics_t *metrics, histogram_t id)
{
    return metrics->histograms[id].sum;
}

uint64_t core_test_clock_us(void)
{
    static uint64_t now_us = 1000000;
    return now_us += CORE_TEST_TICK_US;
}
