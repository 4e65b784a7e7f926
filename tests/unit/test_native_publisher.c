/* publisher: who subscribes gets every event of its subscription with the position of the one before, the
 * last of a revision marked, and marks behind them; registrations are bounded; the watch call is had only
 * while it is needed and goes on where it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "messages/xalloc.h"
#include "tests/support/publisher_rig.h"

#define TEXT(literal) slice(literal, sizeof(literal) - 1)

static void expect_topic(const published_t *message, slice_t topic)
{
    assert_non_null(message);
    assert_int_equal(bytes_len(message->topic), topic.len);
    assert_memory_equal(bytes_slice(message->topic).data, topic.data, topic.len);
}

static native_event_t expect_event(publisher_rig_t *rig, slice_t topic, int64_t revision,
                                   uint32_t sub)
{
    const published_t *message = publisher_rig_next(rig);
    expect_topic(message, topic);
    native_event_t event;
    assert_int_equal(native_event_read(bytes_slice(message->head), &event), 0);
    assert_true(event.cluster_id == RIG_CLUSTER);
    assert_int_equal(event.position.revision, revision);
    assert_int_equal(event.position.sub, sub);
    assert_non_null(message->body);
    return event;
}

static void expect_link(const native_event_t *event, size_t subscription_len, int64_t revision,
                        uint32_t sub, bool is_last)
{
    const native_link_t *link = native_event_link(event, subscription_len);
    assert_non_null(link);
    assert_int_equal(link->previous.revision, revision);
    assert_int_equal(link->previous.sub, sub);
    assert_int_equal(link->is_last, is_last);
}

static void expect_mark(publisher_rig_t *rig, slice_t topic, int64_t revision,
                        native_position_t last)
{
    const published_t *message = publisher_rig_next(rig);
    expect_topic(message, topic);
    native_mark_t mark;
    assert_null(message->body);
    assert_int_equal(native_mark_read(bytes_slice(message->head), &mark), 0);
    assert_true(mark.cluster_id == RIG_CLUSTER);
    assert_int_equal(mark.interval_ms, RIG_PROGRESS_US / 1000);
    assert_int_equal(mark.revision, revision);
    assert_int_equal(native_position_compare(mark.last, last), 0);
}

static void expect_nothing(publisher_rig_t *rig)
{
    assert_null(publisher_rig_next(rig));
}

static void expect_no_request(publisher_rig_t *rig)
{
    assert_null(publisher_rig_request(rig));
}

static int64_t expect_cancel(publisher_rig_t *rig)
{
    Etcdserverpb__WatchRequest *request = publisher_rig_request(rig);
    assert_non_null(request);
    assert_int_equal(request->request_union_case,
                     ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST);
    int64_t id = request->cancel_request->watch_id;
    etcdserverpb__watch_request__free_unpacked(request, NULL);
    return id;
}

/* One registration, at revision 10, with its first mark out of the way. */
static publisher_rig_t *new_rig(slice_t subscription)
{
    publisher_rig_t *rig = publisher_rig_new(0, 0);
    publisher_rig_subscribe(rig, subscription);
    assert_int_equal(publisher_rig_create(rig, 10), 0);
    publisher_rig_turn(rig);
    publisher_rig_forget(rig);
    return rig;
}

static void nothing_is_watched_while_nothing_is_registered(void **state)
{
    (void)state;
    publisher_rig_t *rig = publisher_rig_new(0, 0);
    expect_no_request(rig);
    assert_true(publisher_deadline(rig->publisher) == DEADLINE_NONE);
    publisher_rig_subscribe(rig, TEXT("MEa\x00\x02")); /* marks register nothing */
    publisher_rig_subscribe(rig, TEXT(""));
    publisher_subscription(rig->publisher, TEXT(""), 0);
    publisher_subscription(rig->publisher, TEXT("\x07hello"), 0);
    expect_no_request(rig);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_NATIVE_REGISTRATIONS), 0);
    publisher_rig_free(&rig);
}

static void the_whole_key_space_is_watched_from_now_on(void **state)
{
    (void)state;
    publisher_rig_t *rig = publisher_rig_new(0, 0);
    publisher_rig_subscribe(rig, TEXT("Ea"));
    Etcdserverpb__WatchRequest *request = publisher_rig_request(rig);
    assert_non_null(request);
    const Etcdserverpb__WatchCreateRequest *create = request->create_request;
    assert_non_null(create);
    assert_true(slice_equal(slice(create->key.data, create->key.len), TEXT("\0")));
    assert_true(slice_equal(slice(create->range_end.data, create->range_end.len), TEXT("\0")));
    assert_int_equal(create->start_revision, 0);
    assert_false(create->prev_kv);
    assert_true(create->watch_id > 0);
    publisher_rig_turn(rig);
    expect_nothing(rig); /* no mark before it is known where the registration begins */
    publisher_rig_created(rig, create->watch_id, 7);
    etcdserverpb__watch_request__free_unpacked(request, NULL);
    expect_no_request(rig);
    publisher_rig_turn(rig);
    expect_mark(rig, TEXT("MEa\x00\x02"), 7, (native_position_t){7, NATIVE_SUB_MAX});
    expect_nothing(rig);
    publisher_rig_free(&rig);
}

static void an_event_tells_each_subscription_where_its_previous_one_was(void **state)
{
    (void)state;
    publisher_rig_t *rig = new_rig(TEXT("E"));
    publisher_rig_put(rig, 11, TEXT("ab"), TEXT("1"));
    publisher_rig_deliver(rig);
    native_event_t event = expect_event(rig, TEXT("Eab\x00\x01"), 11, 0);
    expect_link(&event, 1, 10, NATIVE_SUB_MAX, true);
    assert_int_equal(event.link_count, 1);

    publisher_rig_subscribe(rig, TEXT("Ea"));
    publisher_rig_subscribe(rig, TEXT("Eab\x00\x01"));
    publisher_rig_subscribe(rig, TEXT("Eb"));
    publisher_rig_put(rig, 12, TEXT("a"), TEXT("2"));
    publisher_rig_put(rig, 13, TEXT("ab"), TEXT("3"));
    publisher_rig_put(rig, 14, TEXT("c"), TEXT("4"));
    publisher_rig_deliver(rig);
    event = expect_event(rig, TEXT("Ea\x00\x01"), 12, 0);
    assert_int_equal(event.link_count, 2);
    expect_link(&event, 1, 11, 0, true);
    expect_link(&event, 2, 11, NATIVE_SUB_MAX, true);
    event = expect_event(rig, TEXT("Eab\x00\x01"), 13, 0);
    assert_int_equal(event.link_count, 3);
    expect_link(&event, 1, 12, 0, true);
    expect_link(&event, 2, 12, 0, true);
    expect_link(&event, 5, 11, NATIVE_SUB_MAX, true);
    event = expect_event(rig, TEXT("Ec\x00\x01"), 14, 0);
    assert_int_equal(event.link_count, 1);
    expect_link(&event, 1, 13, 0, true);
    expect_nothing(rig);
    publisher_rig_free(&rig);
}

static void places_count_all_events_and_the_last_of_each_subscription_is_marked(void **state)
{
    (void)state;
    publisher_rig_t *rig = new_rig(TEXT("Ea"));
    publisher_rig_subscribe(rig, TEXT("Eab\x00\x01"));
    publisher_rig_put(rig, 11, TEXT("x"), TEXT("1"));
    publisher_rig_put(rig, 11, TEXT("ab"), TEXT("2"));
    publisher_rig_put(rig, 11, TEXT("y"), TEXT("3"));
    publisher_rig_put(rig, 11, TEXT("ac"), TEXT("4"));
    publisher_rig_put(rig, 11, TEXT("z"), TEXT("5"));
    publisher_rig_put(rig, 12, TEXT("ab"), TEXT("6"));
    publisher_rig_deliver(rig);
    native_event_t event = expect_event(rig, TEXT("Eab\x00\x01"), 11, 1);
    expect_link(&event, 2, 10, NATIVE_SUB_MAX, false);
    expect_link(&event, 5, 10, NATIVE_SUB_MAX, true);
    event = expect_event(rig, TEXT("Eac\x00\x01"), 11, 3);
    expect_link(&event, 2, 11, 1, true);
    event = expect_event(rig, TEXT("Eab\x00\x01"), 12, 0);
    expect_link(&event, 2, 11, 3, true);
    expect_link(&event, 5, 11, 1, true);
    expect_nothing(rig);
    publisher_rig_free(&rig);
}

static void marks_come_at_their_interval_behind_the_events(void **state)
{
    (void)state;
    publisher_rig_t *rig = new_rig(TEXT("Ea"));
    publisher_rig_turn(rig);
    expect_nothing(rig);
    publisher_rig_put(rig, 11, TEXT("x"), TEXT(""));
    publisher_rig_deliver(rig);
    rig->now_us = publisher_deadline(rig->publisher);
    assert_int_equal(rig->now_us, 1 + RIG_PROGRESS_US);
    publisher_rig_turn(rig);
    expect_mark(rig, TEXT("MEa\x00\x02"), 11, (native_position_t){10, NATIVE_SUB_MAX});
    publisher_rig_put(rig, 12, TEXT("ab"), TEXT(""));
    publisher_rig_deliver(rig);
    (void)expect_event(rig, TEXT("Eab\x00\x01"), 12, 0);
    publisher_leader(rig->publisher, false);
    rig->now_us += RIG_PROGRESS_US;
    publisher_rig_turn(rig);
    native_mark_t mark;
    assert_int_equal(native_mark_read(bytes_slice(rig->items[rig->seen].head), &mark), 0);
    assert_true(mark.is_leaderless);
    expect_mark(rig, TEXT("MEa\x00\x02"), 12, (native_position_t){12, 0});
    publisher_rig_turn(rig);
    expect_nothing(rig);
    publisher_rig_free(&rig);
}

static void many_marks_leave_room_for_other_work(void **state)
{
    (void)state;
    publisher_rig_t *rig = publisher_rig_new(0, 0);
    enum { COUNT = LIMIT_NATIVE_MARKS + 10 };
    for (int i = 0; i < COUNT; i++) {
        char text[16];
        int len = snprintf(text, sizeof text, "Ekey%d", i);
        publisher_rig_subscribe(rig, slice(text, (size_t)len));
    }
    publisher_rig_create(rig, 3);
    publisher_rig_turn(rig);
    assert_int_equal(rig->count, LIMIT_NATIVE_MARKS);
    assert_true(publisher_deadline(rig->publisher) <= rig->now_us); /* at once */
    publisher_rig_turn(rig);
    assert_int_equal(rig->count, COUNT);
    publisher_rig_turn(rig);
    assert_int_equal(rig->count, COUNT);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_NATIVE_MARKS), COUNT);
    publisher_rig_free(&rig);
}

static void previous_values_are_for_their_own_space_only(void **state)
{
    (void)state;
    publisher_rig_t *rig = publisher_rig_new(0, 0);
    publisher_rig_subscribe(rig, TEXT("Ea"));
    publisher_rig_subscribe(rig, TEXT("Pa"));
    Etcdserverpb__WatchRequest *request = publisher_rig_request(rig);
    assert_true(request->create_request->prev_kv);
    rig->watch_id = request->create_request->watch_id;
    etcdserverpb__watch_request__free_unpacked(request, NULL);
    publisher_rig_created(rig, rig->watch_id, 10);
    slice_t value = TEXT("new");
    slice_t previous = TEXT("old");
    publisher_rig_change(rig, 11, TEXT("ab"), &value, &previous);
    publisher_rig_change(rig, 12, TEXT("ab"), NULL, &value);
    publisher_rig_deliver(rig);
    for (int64_t revision = 11; revision <= 12; revision++) {
        native_change_t change;
        (void)expect_event(rig, TEXT("Eab\x00\x01"), revision, 0);
        slice_t body = bytes_slice(rig->items[rig->seen - 1].body);
        assert_int_equal(native_change_read(body, &change), 0);
        assert_false(change.has_previous);
        assert_int_equal(change.is_delete, revision == 12);
        (void)expect_event(rig, TEXT("Pab\x00\x01"), revision, 0);
        body = bytes_slice(rig->items[rig->seen - 1].body);
        assert_int_equal(native_change_read(body, &change), 0);
        assert_true(change.has_previous);
        assert_true(slice_equal(change.previous.value, revision == 12 ? value : previous));
    }
    expect_nothing(rig);
    publisher_rig_free(&rig);
}

/* Asking for them later makes the watcher be had anew, from behind the position. */
static void previous_values_can_be_asked_for_later(void **state)
{
    (void)state;
    publisher_rig_t *rig = new_rig(TEXT("Ea"));
    int64_t first = rig->watch_id;
    publisher_rig_put(rig, 11, TEXT("a"), TEXT("1"));
    publisher_rig_deliver(rig);
    publisher_rig_subscribe(rig, TEXT("Pa"));
    assert_int_equal(expect_cancel(rig), first);
    assert_int_equal(publisher_rig_create(rig, 13), 12);
    assert_true(rig->watch_id != first);
    int64_t second = rig->watch_id;
    publisher_rig_forget(rig);
    rig->watch_id = first; /* still under way */
    publisher_rig_put(rig, 12, TEXT("a"), TEXT("2"));
    publisher_rig_deliver(rig);
    publisher_rig_canceled(rig, first, 0);
    expect_nothing(rig);
    rig->watch_id = second;
    publisher_rig_put(rig, 12, TEXT("a"), TEXT("2"));
    publisher_rig_deliver(rig);
    native_event_t event = expect_event(rig, TEXT("Ea\x00\x01"), 12, 0);
    expect_link(&event, 2, 11, 0, true);
    event = expect_event(rig, TEXT("Pa\x00\x01"), 12, 0);
    expect_link(&event, 2, 11, NATIVE_SUB_MAX, true);
    expect_no_request(rig);
    publisher_rig_free(&rig);
}

static void large_values_are_left_out(void **state)
{
    (void)state;
    publisher_rig_t *rig = new_rig(TEXT("Ek"));
    uint8_t *value = xcalloc(LIMIT_NATIVE_INLINE_BYTES, 1);
    for (size_t less = 30; less > 0; less--) {
        size_t len = LIMIT_NATIVE_INLINE_BYTES - less;
        publisher_rig_put(rig, (int64_t)(41 - less), TEXT("k"), slice(value, len));
        publisher_rig_deliver(rig);
        const published_t *message = publisher_rig_next(rig);
        native_event_t event;
        assert_int_equal(native_event_read(bytes_slice(message->head), &event), 0);
        bool is_large = len + 11 > LIMIT_NATIVE_INLINE_BYTES; /* key, revision and lengths */
        assert_int_equal(event.is_omitted, is_large);
        assert_int_equal(bytes_len(message->body) == 0, is_large);
    }
    free(value);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_NATIVE_OMITTED), 10);
    publisher_rig_free(&rig);
}

static void of_a_revision_that_is_too_large_a_mark_tells(void **state)
{
    (void)state;
    publisher_rig_t *rig = new_rig(TEXT("Ek"));
    publisher_rig_subscribe(rig, TEXT("Ez"));
    publisher_rig_turn(rig);
    publisher_rig_forget(rig);
    enum { COUNT = LIMIT_NATIVE_REVISION_EVENTS + 1 };
    for (int i = 0; i < COUNT; i++) {
        publisher_rig_put(rig, 11, TEXT("k"), TEXT(""));
    }
    publisher_rig_deliver(rig);
    expect_nothing(rig);
    publisher_rig_turn(rig);
    expect_mark(rig, TEXT("MEk\x00\x02"), 11, (native_position_t){11, COUNT - 1});
    expect_nothing(rig); /* the other one has missed nothing */
    for (int i = 0; i < COUNT - 1; i++) {
        publisher_rig_put(rig, 12, TEXT("k"), TEXT(""));
    }
    publisher_rig_deliver(rig);
    assert_int_equal(rig->count, 1 + COUNT - 1);
    native_event_t event = expect_event(rig, TEXT("Ek\x00\x01"), 12, 0);
    expect_link(&event, 2, 11, COUNT - 1, false);
    publisher_rig_free(&rig);
}

static void a_compaction_ahead_of_the_watcher_shows_as_a_hole(void **state)
{
    (void)state;
    publisher_rig_t *rig = new_rig(TEXT("Ea"));
    publisher_rig_canceled(rig, rig->watch_id, 20);
    publisher_rig_subscribe(rig, TEXT("Eb"));
    rig->now_us += 2 * RIG_PROGRESS_US;
    publisher_rig_turn(rig);
    expect_nothing(rig); /* no marks while nothing is known */
    assert_int_equal(publisher_rig_create(rig, 25), 0);
    publisher_rig_turn(rig);
    expect_mark(rig, TEXT("MEb\x00\x02"), 25, (native_position_t){25, NATIVE_SUB_MAX});
    expect_mark(rig, TEXT("MEa\x00\x02"), 25, (native_position_t){25, NATIVE_SUB_MAX});
    publisher_rig_put(rig, 26, TEXT("a"), TEXT(""));
    publisher_rig_deliver(rig);
    native_event_t event = expect_event(rig, TEXT("Ea\x00\x01"), 26, 0);
    expect_link(&event, 2, 25, NATIVE_SUB_MAX, true);
    publisher_rig_free(&rig);
}

static void a_watcher_that_is_lost_goes_on_where_it_was(void **state)
{
    (void)state;
    publisher_rig_t *rig = new_rig(TEXT("Ea"));
    publisher_rig_put(rig, 11, TEXT("a"), TEXT("1"));
    publisher_rig_deliver(rig);
    publisher_rig_forget(rig);
    publisher_call_ended(rig->publisher, rig->now_us);
    assert_false(publisher_wants_call(rig->publisher, rig->now_us)); /* not in a tight loop */
    uint64_t due_us = publisher_deadline(rig->publisher);
    assert_true(due_us > rig->now_us && due_us != DEADLINE_NONE);
    rig->now_us = due_us;
    publisher_rig_turn(rig);
    expect_nothing(rig);
    assert_int_equal(publisher_rig_create(rig, 11), 12);

    publisher_rig_canceled(rig, rig->watch_id, 0); /* the node has too many */
    expect_no_request(rig);
    rig->now_us = publisher_deadline(rig->publisher);
    Etcdserverpb__WatchRequest *request = publisher_rig_request(rig);
    assert_int_equal(request->create_request->start_revision, 12);
    etcdserverpb__watch_request__free_unpacked(request, NULL);
    publisher_rig_canceled(rig, -1, 0); /* refused at once */
    expect_no_request(rig);
    rig->now_us = publisher_deadline(rig->publisher);
    assert_int_equal(publisher_rig_create(rig, 11), 12);
    publisher_rig_free(&rig);
}

static void registrations_outlive_their_last_subscriber_for_a_while(void **state)
{
    (void)state;
    publisher_rig_t *rig = new_rig(TEXT("Ea"));
    publisher_rig_unsubscribe(rig, TEXT("Eb"));
    publisher_rig_unsubscribe(rig, TEXT("Ea"));
    publisher_rig_unsubscribe(rig, TEXT("Ea"));
    rig->now_us += RIG_LINGER_US - 1;
    publisher_rig_turn(rig);
    publisher_rig_forget(rig);
    publisher_rig_put(rig, 11, TEXT("a"), TEXT("1"));
    publisher_rig_deliver(rig);
    native_event_t event = expect_event(rig, TEXT("Ea\x00\x01"), 11, 0);
    expect_link(&event, 2, 10, NATIVE_SUB_MAX, true);
    publisher_rig_subscribe(rig, TEXT("Ea"));
    rig->now_us += 2 * RIG_LINGER_US;
    publisher_rig_turn(rig);
    expect_no_request(rig);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_NATIVE_REGISTRATIONS), 1);

    publisher_rig_unsubscribe(rig, TEXT("Ea"));
    rig->now_us += RIG_LINGER_US;
    publisher_rig_turn(rig);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_NATIVE_REGISTRATIONS), 0);
    assert_int_equal(expect_cancel(rig), rig->watch_id);
    expect_no_request(rig);
    publisher_rig_subscribe(rig, TEXT("Ea"));
    assert_int_equal(publisher_rig_create(rig, 30), 0); /* from now, not from the old position */
    assert_int_equal(metrics_get(&rig->metrics, METRIC_NATIVE_REGISTERED), 2);
    publisher_rig_free(&rig);
}

/* Closed and bound again, a socket tells of no unsubscription. */
static void with_another_socket_who_does_not_come_again_is_forgotten(void **state)
{
    (void)state;
    publisher_rig_t *rig = new_rig(TEXT("Ea"));
    publisher_rig_subscribe(rig, TEXT("Eb"));
    publisher_rig_subscribe(rig, TEXT("Ec"));
    publisher_rig_unsubscribe(rig, TEXT("Ec"));
    rig->now_us += RIG_LINGER_US / 2;
    publisher_reset(rig->publisher, rig->now_us);
    publisher_rig_subscribe(rig, TEXT("Eb"));
    rig->now_us += RIG_LINGER_US / 2;
    publisher_rig_turn(rig);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_NATIVE_REGISTRATIONS), 2); /* not Ec */
    rig->now_us += RIG_LINGER_US / 2;
    publisher_rig_turn(rig);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_NATIVE_REGISTRATIONS), 1);
    publisher_rig_forget(rig);
    publisher_rig_put(rig, 11, TEXT("b"), TEXT("1"));
    publisher_rig_deliver(rig);
    native_event_t event = expect_event(rig, TEXT("Eb\x00\x01"), 11, 0);
    expect_link(&event, 2, 10, NATIVE_SUB_MAX, true);
    publisher_rig_free(&rig);
}

static void registrations_are_bounded(void **state)
{
    (void)state;
    publisher_rig_t *rig = publisher_rig_new(2, 10);
    publisher_rig_subscribe(rig, TEXT("Ea\x00"));
    publisher_rig_subscribe(rig, TEXT("Z"));
    assert_int_equal(metrics_get(&rig->metrics, METRIC_NATIVE_REGISTRATIONS_REFUSED), 2);
    publisher_rig_subscribe(rig, TEXT("E123456789")); /* 10 octets */
    assert_true(publisher_refuses(rig->publisher, TEXT("E")));
    publisher_rig_subscribe(rig, TEXT("E"));
    assert_int_equal(metrics_get(&rig->metrics, METRIC_NATIVE_REGISTRATIONS), 1);
    publisher_rig_unsubscribe(rig, TEXT("E123456789"));
    assert_false(publisher_refuses(rig->publisher, TEXT("Ea"))); /* who lingers gives way */
    publisher_rig_subscribe(rig, TEXT("Ea"));
    publisher_rig_subscribe(rig, TEXT("Eb"));
    publisher_rig_subscribe(rig, TEXT("Ec"));
    assert_int_equal(metrics_get(&rig->metrics, METRIC_NATIVE_REGISTRATIONS), 2);
    assert_int_equal(metrics_get(&rig->metrics, METRIC_NATIVE_REGISTRATIONS_REFUSED), 4);
    assert_true(publisher_refuses(rig->publisher, TEXT("Ec")));
    assert_false(publisher_refuses(rig->publisher, TEXT("Ea")));
    assert_true(publisher_refuses(rig->publisher, TEXT("E123456789")));
    publisher_rig_free(&rig);
}

/* Not more of them match one event than it can tell, in whatever order they come. */
static void registrations_do_not_nest_too_deep(void **state)
{
    (void)state;
    char text[LIMIT_NATIVE_LINKS + 2];
    memset(text, 'a', sizeof text);
    text[0] = 'E';
    for (int order = 0; order < 2; order++) {
        publisher_rig_t *rig = publisher_rig_new(0, 0);
        for (size_t i = 1; i <= sizeof text; i++) {
            publisher_rig_subscribe(rig, slice(text, order ? i : sizeof text + 1 - i));
        }
        assert_int_equal(metrics_get(&rig->metrics, METRIC_NATIVE_REGISTRATIONS),
                         LIMIT_NATIVE_LINKS);
        assert_int_equal(metrics_get(&rig->metrics, METRIC_NATIVE_REGISTRATIONS_REFUSED), 2);
        publisher_rig_create(rig, 10);
        publisher_rig_put(rig, 11, slice(text + 1, sizeof text - 1), TEXT(""));
        publisher_rig_deliver(rig);
        native_event_t event;
        assert_int_equal(rig->count, 1);
        assert_int_equal(native_event_read(bytes_slice(rig->items[0].head), &event), 0);
        assert_int_equal(event.link_count, LIMIT_NATIVE_LINKS);
        publisher_rig_free(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_watched_while_nothing_is_registered),
        cmocka_unit_test(the_whole_key_space_is_watched_from_now_on),
        cmocka_unit_test(an_event_tells_each_subscription_where_its_previous_one_was),
        cmocka_unit_test(places_count_all_events_and_the_last_of_each_subscription_is_marked),
        cmocka_unit_test(marks_come_at_their_interval_behind_the_events),
        cmocka_unit_test(many_marks_leave_room_for_other_work),
        cmocka_unit_test(previous_values_are_for_their_own_space_only),
        cmocka_unit_test(previous_values_can_be_asked_for_later),
        cmocka_unit_test(large_values_are_left_out),
        cmocka_unit_test(of_a_revision_that_is_too_large_a_mark_tells),
        cmocka_unit_test(a_compaction_ahead_of_the_watcher_shows_as_a_hole),
        cmocka_unit_test(a_watcher_that_is_lost_goes_on_where_it_was),
        cmocka_unit_test(registrations_outlive_their_last_subscriber_for_a_while),
        cmocka_unit_test(with_another_socket_who_does_not_come_again_is_forgotten),
        cmocka_unit_test(registrations_are_bounded),
        cmocka_unit_test(registrations_do_not_nest_too_deep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
