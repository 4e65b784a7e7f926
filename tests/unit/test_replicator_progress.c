/* progress: what a leader sends to a follower, answer by answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "actors/replicator/progress.h"

static progress_t probing(uint64_t next)
{
    progress_t self;
    progress_init(&self, 2, next);
    return self;
}

static progress_t replicating(uint64_t match)
{
    progress_t self = probing(match + 1);
    progress_sent(&self, match, 0, 100);
    progress_acked(&self, match);
    return self;
}

static void a_probe_goes_out_once_per_interval(void **state)
{
    (void)state;
    progress_t self = probing(8);
    assert_true(progress_may_send(&self, 0));
    progress_sent(&self, 7, 0, 100);
    assert_false(progress_may_send(&self, 99));
    assert_true(progress_may_send(&self, 100));
    assert_true(self.is_repeated);
    assert_int_equal(self.next, 8); /* until it is answered */
}

static void an_answered_probe_opens_the_window(void **state)
{
    (void)state;
    progress_t self = probing(8);
    progress_sent(&self, 9, 10, 100);
    assert_true(progress_acked(&self, 9));
    assert_int_equal(self.state, PROGRESS_REPLICATE);
    assert_int_equal(self.match, 9);
    assert_int_equal(self.next, 10);
    progress_sent(&self, 12, 10, 200);
    assert_int_equal(self.next, 13);
    assert_true(progress_may_send(&self, 0));
}

/* Its disk is slow: it has what was sent but says only what is durable. Nothing is sent twice. */
static void a_probe_may_be_answered_before_the_disk(void **state)
{
    (void)state;
    progress_t self = probing(8);
    progress_sent(&self, 7, 0, 100);
    assert_true(progress_acked(&self, 3));
    assert_int_equal(self.match, 3);
    assert_int_equal(self.next, 8);
}

static void a_refused_probe_is_followed_by_one_where_the_logs_may_agree(void **state)
{
    (void)state;
    progress_t self = probing(8);
    progress_sent(&self, 7, 0, 100);
    assert_true(progress_refused(&self, 7, 4));
    assert_int_equal(self.next, 5);
    assert_true(progress_may_send(&self, 0));
    assert_false(self.is_repeated);
    assert_false(progress_refused(&self, 7, 4)); /* said twice */
    assert_int_equal(self.next, 5);
}

static void a_hint_that_leads_nowhere_still_moves_back(void **state)
{
    (void)state;
    progress_t self = probing(8);
    assert_true(progress_refused(&self, 7, 7));
    assert_int_equal(self.next, 7);
    assert_true(progress_refused(&self, 6, UINT64_MAX));
    assert_int_equal(self.next, 6);
    assert_true(progress_refused(&self, 5, 0));
    assert_int_equal(self.next, 1);
    assert_false(progress_refused(&self, 0, 0));
    assert_int_equal(self.next, 1);
}

static void a_refusal_never_takes_back_what_is_known(void **state)
{
    (void)state;
    progress_t self = replicating(9);
    progress_sent(&self, 15, 5, 0);
    assert_false(progress_refused(&self, 9, 2)); /* from before */
    assert_int_equal(self.state, PROGRESS_REPLICATE);
    assert_true(progress_refused(&self, 15, 2)); /* one before got lost */
    assert_int_equal(self.state, PROGRESS_PROBE);
    assert_int_equal(self.next, 10);
    assert_int_equal(self.window_count, 0);
    assert_int_equal(self.match, 9);
}

static void the_window_is_bounded_in_appends(void **state)
{
    (void)state;
    progress_t self = replicating(1);
    for (uint64_t i = 0; i < LIMIT_PEER_INFLIGHT_APPENDS; i++) {
        assert_true(progress_may_send(&self, 0));
        progress_sent(&self, 2 + i, 1, 0);
    }
    assert_false(progress_may_send(&self, 0));
    assert_true(progress_acked(&self, 2));
    assert_true(progress_may_send(&self, 0));
    assert_true(progress_acked(&self, 1 + LIMIT_PEER_INFLIGHT_APPENDS));
    assert_int_equal(self.window_count, 0);
    assert_int_equal(self.window_bytes, 0);
}

static void the_window_is_bounded_in_bytes(void **state)
{
    (void)state;
    progress_t self = replicating(1);
    progress_sent(&self, 2, LIMIT_PEER_INFLIGHT_BYTES, 0);
    assert_false(progress_may_send(&self, 0));
    progress_acked(&self, 2);
    assert_true(progress_may_send(&self, 0));
}

static void old_acknowledgements_are_no_news(void **state)
{
    (void)state;
    progress_t self = replicating(9);
    assert_false(progress_acked(&self, 4));
    assert_int_equal(self.match, 9);
    assert_int_equal(self.next, 10);
}

static void another_incarnation_is_probed_again(void **state)
{
    (void)state;
    progress_t self = replicating(9);
    assert_false(progress_heard(&self, 77, 5));
    progress_sent(&self, 20, 5, 0);
    assert_false(progress_heard(&self, 77, 6));
    assert_true(progress_heard(&self, 78, 7));
    assert_int_equal(self.state, PROGRESS_PROBE);
    assert_int_equal(self.next, 10); /* what was durable still is */
    assert_int_equal(self.heard_us, 7);
}

static void a_snapshot_stops_appends_until_it_is_over(void **state)
{
    (void)state;
    progress_t self = probing(5);
    progress_snapshot(&self, 3, 50);
    assert_false(progress_may_send(&self, UINT64_MAX));
    assert_false(progress_refused(&self, 4, 2));
    progress_snapshot_ended(&self, 60, 0);
    assert_int_equal(self.state, PROGRESS_PROBE);
    assert_int_equal(self.next, 61);
    assert_int_equal(self.keep_from, 61);
    assert_true(progress_may_send(&self, 0));
}

static void a_failed_snapshot_is_tried_again_after_a_pause(void **state)
{
    (void)state;
    progress_t self = probing(5);
    progress_snapshot(&self, 3, 50);
    progress_snapshot_ended(&self, 0, 1000);
    assert_false(progress_may_send(&self, 999));
    assert_true(progress_may_send(&self, 1000));
    assert_int_equal(self.keep_from, 0);
}

static void a_tick_tells_whether_appends_get_anywhere(void **state)
{
    (void)state;
    progress_t self = replicating(9);
    assert_false(progress_tick(&self)); /* nothing in flight */
    progress_sent(&self, 10, 1, 0);
    assert_true(progress_tick(&self));
    progress_sent(&self, 11, 1, 0);
    progress_acked(&self, 10);
    assert_false(progress_tick(&self));
    assert_true(progress_tick(&self));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_probe_goes_out_once_per_interval),
        cmocka_unit_test(an_answered_probe_opens_the_window),
        cmocka_unit_test(a_probe_may_be_answered_before_the_disk),
        cmocka_unit_test(a_refused_probe_is_followed_by_one_where_the_logs_may_agree),
        cmocka_unit_test(a_hint_that_leads_nowhere_still_moves_back),
        cmocka_unit_test(a_refusal_never_takes_back_what_is_known),
        cmocka_unit_test(the_window_is_bounded_in_appends),
        cmocka_unit_test(the_window_is_bounded_in_bytes),
        cmocka_unit_test(old_acknowledgements_are_no_news),
        cmocka_unit_test(another_incarnation_is_probed_again),
        cmocka_unit_test(a_snapshot_stops_appends_until_it_is_over),
        cmocka_unit_test(a_failed_snapshot_is_tried_again_after_a_pause),
        cmocka_unit_test(a_tick_tells_whether_appends_get_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
