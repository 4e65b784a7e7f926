/* Gaps: subscribers that follow the rule for caches (docs/protocol.md) either show the store as it was at the
 * revision they name, or know that they have missed something; whatever is lost on the way, whatever is
 * compacted, however often the publisher's own watcher is lost; and they all end up with the newest store.
 *
 * The publisher is the real one. Around it a model: a store with its whole history, a watch actor, a
 * network that loses and delays messages, and subscribers. Everything comes from a seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/core/prng.h"
#include "messages/xalloc.h"
#include "tests/support/publisher_rig.h"

#define TEXT(literal)                                                                              \
    {                                                                                              \
        (const uint8_t *)(literal), sizeof(literal) - 1                                            \
    }

static const slice_t keys[] = {TEXT("a"),     TEXT("ab"), TEXT("a\x00"), TEXT("a\x00\x01"),
                               TEXT("abc"),   TEXT("b"),  TEXT("\x00"),  TEXT("\xff"),
                               TEXT("a\xff"), TEXT("bb")};
enum { KEYS = sizeof keys / sizeof *keys, SUBSCRIBERS = 12, STEPS = 3000, SEEDS = 40 };
enum {
    ABSENT = -1,
    LARGE = 1 << 20 /* values from here on are too large to be published inline */
};

/* What subscribers want: a prefix or a key, in a space. */
typedef struct {
    slice_t key;
    bool exact;
    uint8_t space;
} interest_t;
static const interest_t interests[] = {
    {TEXT(""), false, 'E'},      {TEXT("a"), false, 'E'},    {TEXT("a"), true, 'E'},
    {TEXT("a\x00"), false, 'E'}, {TEXT("a\x00"), true, 'E'}, {TEXT("ab"), false, 'P'},
    {TEXT("\xff"), false, 'E'},  {TEXT("b"), true, 'P'},     {TEXT("nobody's"), false, 'E'},
    {TEXT("\x00"), false, 'E'},  {TEXT("a"), false, 'P'},
};
enum { INTERESTS = sizeof interests / sizeof *interests };

typedef struct {
    int64_t revision;
    uint32_t sub;
    int key, value, previous; /* value ABSENT = deleted */
} change_t;

typedef struct {
    bool is_there;
    int interest;
    size_t cursor;       /* in what was published */
    bool is_cut_off;     /* nothing gets through */
    bool needs_snapshot; /* it has nothing, or what it has can't be repaired */
    bool has_hole;
    native_position_t hole; /* up to there, at least */
    native_position_t position;
    int64_t revision;
    int shown[KEYS], next[KEYS];
} subscriber_t;

typedef struct {
    prng_t prng;
    publisher_rig_t *rig;
    change_t *history;
    size_t changes, capacity;
    int64_t revision, compacted;
    int now[KEYS];
    int last_value;

    bool watcher_is_there;
    int64_t watcher_next;
    subscriber_t subscribers[SUBSCRIBERS];
    bool is_lossy;
    size_t holes, repairs, snapshots, lost, compactions_seen; /* that all of it happens */
} world_t;

static uint64_t below(world_t *world, uint64_t bound)
{
    return prng_below(&world->prng, bound);
}

/* ---- the store ---- */

static bool is_of_interest(const interest_t *interest, slice_t key)
{
    return interest->exact ? slice_equal(key, interest->key)
                           : slice_starts_with(key, interest->key);
}

static void store_at(const world_t *world, int64_t revision, const interest_t *interest, int *out)
{
    for (int i = 0; i < KEYS; i++) {
        out[i] = ABSENT;
    }
    for (size_t i = 0; i < world->changes && world->history[i].revision <= revision; i++) {
        const change_t *change = &world->history[i];
        if (is_of_interest(interest, keys[change->key])) {
            out[change->key] = change->value;
        }
    }
}

static void write_something(world_t *world)
{
    uint32_t sub = 0;
    int start = (int)below(world, KEYS);
    int count = below(world, 3) ? 1 : 1 + (int)below(world, KEYS);
    for (int i = 0; i < count; i++) {
        int key = (start + i) % KEYS;
        bool is_delete = below(world, 4) == 0;
        if (is_delete && world->now[key] == ABSENT) {
            continue;
        }
        int value = is_delete ? ABSENT : ++world->last_value + (below(world, 20) ? 0 : LARGE);
        world->history =
            xgrow(world->history, &world->capacity, world->changes + 1, sizeof *world->history);
        world->history[world->changes++] = (change_t){.revision = world->revision + 1,
                                                      .sub = sub++,
                                                      .key = key,
                                                      .value = value,
                                                      .previous = world->now[key]};
        world->now[key] = value;
    }
    world->revision += sub > 0;
}

/* ---- the watch actor ---- */

static slice_t value_bytes(int value, char *text, size_t size)
{
    int len = snprintf(text, size, "%d", value);
    if (value >= LARGE) {
        memset(text + len, ' ', size - (size_t)len);
        return slice(text, size);
    }
    return slice(text, (size_t)len);
}

static void deliver_change(world_t *world, const change_t *change)
{
    static char text[2][LIMIT_NATIVE_INLINE_BYTES + 1];
    slice_t value = {0};
    slice_t previous = {0};
    if (change->value != ABSENT) {
        value = value_bytes(change->value, text[0], sizeof text[0]);
    }
    if (change->previous != ABSENT) {
        previous = value_bytes(change->previous, text[1], sizeof text[1]);
    }
    publisher_rig_change(world->rig, change->revision, keys[change->key],
                         change->value == ABSENT ? NULL : &value,
                         change->previous == ABSENT ? NULL : &previous);
}

static void answer_requests(world_t *world)
{
    Etcdserverpb__WatchRequest *request = NULL;
    while ((request = publisher_rig_request(world->rig))) {
        const Etcdserverpb__WatchCreateRequest *create = request->create_request;
        if (request->request_union_case ==
            ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST) {
            world->watcher_is_there = false;
            publisher_rig_canceled(world->rig, request->cancel_request->watch_id, 0);
        } else {
            world->watcher_is_there = true;
            world->rig->watch_id = create->watch_id;
            world->watcher_next =
                create->start_revision ? create->start_revision : world->revision + 1;
            publisher_rig_created(world->rig, create->watch_id, world->revision);
        }
        etcdserverpb__watch_request__free_unpacked(request, NULL);
    }
}

static void watcher_delivers(world_t *world, bool all)
{
    if (!world->watcher_is_there || world->watcher_next > world->revision) {
        return;
    }
    if (world->watcher_next < world->compacted) {
        world->watcher_is_there = false;
        world->compactions_seen++;
        publisher_rig_canceled(world->rig, world->rig->watch_id, world->compacted);
        return;
    }
    int64_t left = world->revision - world->watcher_next + 1;
    int64_t end = world->watcher_next + (all ? left : 1 + (int64_t)below(world, (uint64_t)left));
    for (size_t i = 0; i < world->changes; i++) {
        const change_t *change = &world->history[i];
        if (change->revision >= world->watcher_next && change->revision < end) {
            deliver_change(world, change);
        }
    }
    world->watcher_next = end;
    publisher_rig_deliver(world->rig);
}

/* ---- subscribers: the rule for caches ---- */

static void show(subscriber_t *self, int64_t revision)
{
    memcpy(self->shown, self->next, sizeof self->shown);
    if (revision > self->revision) {
        self->revision = revision;
    }
}

static void take_snapshot(world_t *world, subscriber_t *self)
{
    store_at(world, world->revision, &interests[self->interest], self->next);
    self->position = (native_position_t){world->revision, NATIVE_SUB_MAX};
    self->needs_snapshot = false;
    self->has_hole = false;
    show(self, world->revision);
    world->snapshots++;
}

static void note_hole(world_t *world, subscriber_t *self, native_position_t through)
{
    world->holes += !self->has_hole;
    self->has_hole = true;
    self->hole = through;
}

/* Native/Events: everything behind the position, up to the end of the revision of `hole`. */
static void repair(world_t *world, subscriber_t *self)
{
    native_position_t from = self->position;
    int64_t first = from.sub == NATIVE_SUB_MAX ? from.revision + 1 : from.revision;
    self->has_hole = false;
    if (first < world->compacted) {
        self->needs_snapshot = true;
        return;
    }
    for (size_t i = 0; i < world->changes; i++) {
        const change_t *change = &world->history[i];
        native_position_t at = {change->revision, change->sub};
        if (native_position_compare(at, from) > 0 && at.revision <= self->hole.revision &&
            is_of_interest(&interests[self->interest], keys[change->key])) {
            self->next[change->key] = change->value;
        }
    }
    self->position = (native_position_t){self->hole.revision, NATIVE_SUB_MAX};
    show(self, self->hole.revision);
    world->repairs++;
}

static int number(slice_t text)
{
    int value = 0;
    for (size_t i = 0; i < text.len; i++) {
        value = value * 10 + (text.data[i] - '0');
    }
    return value;
}

static int key_index(slice_t key)
{
    for (int i = 0; i < KEYS; i++) {
        if (slice_equal(keys[i], key)) {
            return i;
        }
    }
    return -1;
}

static void on_event(world_t *world, subscriber_t *self, const native_event_t *event,
                     const native_link_t *link, slice_t body)
{
    if (native_position_compare(event->position, self->position) <= 0) {
        return; /* it has it */
    }
    if (native_position_compare(link->previous, self->position) > 0) {
        note_hole(world, self, link->previous);
        return;
    }
    if (event->is_omitted) {
        note_hole(world, self, event->position);
        return;
    }
    native_change_t change;
    assert_int_equal(native_change_read(body, &change), 0);
    int key = key_index(change.kv.key);
    assert_true(key >= 0 && is_of_interest(&interests[self->interest], change.kv.key));
    assert_int_equal(change.kv.mod_revision, event->position.revision);
    assert_false(change.has_previous && interests[self->interest].space == NATIVE_EVENTS);
    self->next[key] = change.is_delete ? ABSENT : number(change.kv.value);
    self->position = event->position;
    if (link->is_last) {
        show(self, event->position.revision);
    }
}

static void on_mark(world_t *world, subscriber_t *self, const native_mark_t *mark)
{
    if (native_position_compare(mark->last, self->position) > 0) {
        note_hole(world, self, mark->last);
    } else {
        show(self, mark->revision);
    }
}

static void on_message(world_t *world, subscriber_t *self, const published_t *message)
{
    const interest_t *interest = &interests[self->interest];
    buf_t subscription = {0};
    buf_t marks = {0};
    native_subscription(&subscription, interest->space, interest->key, interest->exact);
    native_mark_topic(&marks, buf_slice(&subscription));
    slice_t topic = bytes_slice(message->topic);
    native_event_t event;
    native_mark_t mark;
    bool is_event = slice_starts_with(topic, buf_slice(&subscription));
    bool is_mark = slice_starts_with(topic, buf_slice(&marks));
    bool is_lost = world->is_lossy && (self->is_cut_off || below(world, 12) == 0);
    if ((is_event || is_mark) && is_lost) {
        world->lost++;
    } else if (is_mark) {
        assert_int_equal(native_mark_read(bytes_slice(message->head), &mark), 0);
        on_mark(world, self, &mark);
    } else if (is_event) {
        assert_int_equal(native_event_read(bytes_slice(message->head), &event), 0);
        const native_link_t *link = native_event_link(&event, subscription.len);
        if (link) { /* else it is not registered (any more, or yet) */
            on_event(world, self, &event, link, bytes_slice(message->body));
        }
    }
    buf_deinit(&subscription);
    buf_deinit(&marks);
}

static void check(const world_t *world, const subscriber_t *self)
{
    int expected[KEYS];
    assert_true(self->revision <= world->revision);
    store_at(world, self->revision, &interests[self->interest], expected);
    assert_memory_equal(self->shown, expected, sizeof expected);
}

/* Takes up to `max` messages; those that come while a hole is known are left out: they are fetched. */
static void receive(world_t *world, subscriber_t *self, size_t max)
{
    for (; max > 0 && self->cursor < world->rig->count; max--) {
        const published_t *message = &world->rig->items[self->cursor++];
        if (!self->needs_snapshot && !self->has_hole) {
            on_message(world, self, message);
            check(world, self);
        }
    }
}

static void mend(world_t *world, subscriber_t *self)
{
    if (self->has_hole) {
        repair(world, self);
    }
    if (self->needs_snapshot) {
        take_snapshot(world, self);
    }
    check(world, self);
}

/* ---- coming and going ---- */

static void tell_xpub(world_t *world, int interest, bool is_there)
{
    buf_t text = {0};
    native_subscription(&text, interests[interest].space, interests[interest].key,
                        interests[interest].exact);
    if (is_there) {
        publisher_rig_subscribe(world->rig, buf_slice(&text));
    } else {
        publisher_rig_unsubscribe(world->rig, buf_slice(&text));
    }
    buf_deinit(&text);
}

static void come_or_go(world_t *world, subscriber_t *self)
{
    if (!self->is_there) {
        *self = (subscriber_t){.is_there = true,
                               .interest = (int)below(world, INTERESTS),
                               .cursor = world->rig->count,
                               .needs_snapshot = true};
        tell_xpub(world, self->interest, true);
        return;
    }
    self->is_there = false;
    for (size_t i = 0; i < SUBSCRIBERS; i++) {
        if (world->subscribers[i].is_there && world->subscribers[i].interest == self->interest) {
            return; /* the socket tells of the last one only */
        }
    }
    tell_xpub(world, self->interest, false);
}

/* ---- runs ---- */

static void disturb(world_t *world, subscriber_t *self)
{
    switch (below(world, 8)) {
    case 0: world->compacted = world->revision - (int64_t)below(world, 60); break;
    case 1:
        if (world->watcher_is_there) {
            world->watcher_is_there = false;
            publisher_call_ended(world->rig->publisher, world->rig->now_us);
        }
        break;
    case 2: come_or_go(world, self); break;
    case 3: self->is_cut_off = !self->is_cut_off; break;
    default: break;
    }
}

static void step(world_t *world)
{
    subscriber_t *self = &world->subscribers[below(world, SUBSCRIBERS)];
    world->rig->now_us += below(world, RIG_PROGRESS_US / 10);
    switch (below(world, 6)) {
    case 0:
    case 1: write_something(world); break;
    case 2: watcher_delivers(world, false); break;
    case 3: disturb(world, self); break;
    default:
        if (self->is_there) {
            receive(world, self, below(world, 20));
            if (below(world, 3) == 0) {
                mend(world, self);
            }
        }
    }
    answer_requests(world);
    publisher_rig_turn(world->rig);
}

/* No more losses: with the next marks everybody has the newest store. */
static void settle(world_t *world)
{
    world->is_lossy = false;
    for (int round = 0; round < 4; round++) {
        world->rig->now_us += 2 * RIG_PROGRESS_US;
        answer_requests(world);
        watcher_delivers(world, true);
        answer_requests(world);
        publisher_rig_turn(world->rig);
        for (size_t i = 0; i < SUBSCRIBERS; i++) {
            subscriber_t *self = &world->subscribers[i];
            if (self->is_there) {
                receive(world, self, SIZE_MAX);
                mend(world, self);
            }
        }
    }
    for (size_t i = 0; i < SUBSCRIBERS; i++) {
        if (world->subscribers[i].is_there) {
            assert_int_equal(world->subscribers[i].revision, world->revision);
        }
    }
}

static void run(uint64_t seed, world_t *totals)
{
    world_t world = {.prng = {.state = seed}, .revision = 1, .compacted = -1, .is_lossy = true};
    world.rig = publisher_rig_new(0, 0);
    for (int i = 0; i < KEYS; i++) {
        world.now[i] = ABSENT;
    }
    for (int i = 0; i < STEPS; i++) {
        step(&world);
        if (i % 500 == 499) {
            settle(&world);
            world.is_lossy = true;
        }
    }
    settle(&world);
    totals->holes += world.holes;
    totals->repairs += world.repairs;
    totals->snapshots += world.snapshots;
    totals->lost += world.lost;
    totals->compactions_seen += world.compactions_seen;
    publisher_rig_free(&world.rig);
    free(world.history);
}

static void caches_equal_the_store_or_know_that_they_have_missed_something(void **state)
{
    (void)state;
    world_t totals = {0};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        run(seed, &totals);
    }
    print_message("lost %zu, holes %zu, repairs %zu, snapshots %zu, overtaken %zu\n", totals.lost,
                  totals.holes, totals.repairs, totals.snapshots, totals.compactions_seen);
    assert_true(totals.lost > 1000 && totals.holes > 1000);
    assert_true(totals.repairs > 500 && totals.snapshots > 500);
    assert_true(totals.compactions_seen > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(caches_equal_the_store_or_know_that_they_have_missed_something),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
