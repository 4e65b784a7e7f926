/* topics: held against a table that remembers who wants what and looks at all of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "actors/core/prng.h"
#include "actors/zmq_gateway/topics.h"

enum { MEMBERS = 12, TEXTS = 31, LEN_MAX = 4 };

/* All texts of up to four letters out of two: many are prefixes of others. */
static slice_t text_at(size_t number, char *room)
{
    size_t len = 0;
    for (number++; number > 1; number /= 2) {
        room[len++] = number % 2 ? 'a' : 'b';
    }
    return slice(room, len);
}

typedef struct {
    topics_t topics;
    topic_member_t members[MEMBERS];
    bool wants[MEMBERS][TEXTS];
    bool last[TEXTS]; /* that topics_leave_all has told */
} world_t;

static size_t wanted_by(const world_t *world, size_t text)
{
    size_t count = 0;
    for (size_t i = 0; i < MEMBERS; i++) {
        count += world->wants[i][text];
    }
    return count;
}

static void check_match(const world_t *world, size_t message)
{
    char room[LEN_MAX];
    char other_room[LEN_MAX];
    slice_t text = text_at(message, room);
    size_t found[MEMBERS] = {0};
    size_t longest = SIZE_MAX;
    for (const topic_t *topic = topics_match(&world->topics, text); topic; topic = topic->parent) {
        assert_true(bytes_len(topic->text) < longest);
        longest = bytes_len(topic->text);
        for (size_t i = 0; i < topic->count; i++) {
            found[topic->places[i].member - world->members]++;
        }
    }
    for (size_t i = 0; i < MEMBERS; i++) {
        size_t expected = 0;
        for (size_t k = 0; k < TEXTS; k++) {
            expected += world->wants[i][k] && slice_starts_with(text, text_at(k, other_room));
        }
        assert_int_equal(found[i], expected);
    }
}

static void on_last(void *context, slice_t text)
{
    world_t *world = context;
    char room[LEN_MAX];
    for (size_t i = 0; i < TEXTS; i++) {
        if (slice_equal(text, text_at(i, room))) {
            assert_false(world->last[i]);
            world->last[i] = true;
            return;
        }
    }
    fail();
}

static void leave_all(world_t *world, size_t member)
{
    memset(world->last, 0, sizeof world->last);
    topics_leave_all(&world->topics, &world->members[member], on_last, world);
    for (size_t i = 0; i < TEXTS; i++) {
        bool was_last = world->wants[member][i] && wanted_by(world, i) == 1;
        assert_int_equal(world->last[i], was_last);
        world->wants[member][i] = false;
    }
}

static void who_wants_what_is_known_through_any_joining_and_leaving(void **state)
{
    (void)state;
    static world_t world;
    prng_t random = {.state = 1};
    topics_init(&world.topics, SIZE_MAX, SIZE_MAX, SIZE_MAX);
    for (int i = 0; i < 20000; i++) {
        char room[LEN_MAX];
        size_t member = prng_below(&random, MEMBERS);
        size_t text = prng_below(&random, TEXTS);
        switch (prng_below(&random, 20)) {
        case 0: leave_all(&world, member); break;
        case 1:
        case 2:
        case 3:
        case 4:
        case 5:
        case 6:
        case 7: {
            bool was_last = world.wants[member][text] && wanted_by(&world, text) == 1;
            assert_int_equal(
                topics_leave(&world.topics, &world.members[member], text_at(text, room)), was_last);
            world.wants[member][text] = false;
            break;
        }
        default:
            assert_true(topics_join(&world.topics, &world.members[member], text_at(text, room)));
            world.wants[member][text] = true;
        }
        check_match(&world, prng_below(&random, TEXTS));
    }
    for (size_t i = 0; i < MEMBERS; i++) {
        leave_all(&world, i);
    }
    topics_deinit(&world.topics);
}

static void nobody(void *context, slice_t text)
{
    (void)context;
    (void)text;
}

static void every_bound_holds(void **state)
{
    (void)state;
    topics_t topics;
    topic_member_t one = {0};
    topic_member_t other = {0};
    topics_init(&topics, 2, 5, 3);
    assert_true(topics_join(&topics, &one, slice_str("ab")));
    assert_false(topics_join(&topics, &one, slice_str("cdef"))); /* six bytes */
    assert_true(topics_join(&topics, &one, slice_str("c")));
    assert_true(topics_join(&topics, &one, slice_str("c")));  /* it does already */
    assert_false(topics_join(&topics, &one, slice_str("d"))); /* a third topic */
    assert_true(topics_join(&topics, &other, slice_str("c")));
    assert_false(topics_join(&topics, &other, slice_str("ab"))); /* a fourth seat */
    assert_false(topics_leave(&topics, &other, slice_str("ab")));
    assert_false(topics_leave(&topics, &other, slice_str("nobody's")));
    assert_true(topics_leave(&topics, &one, slice_str("ab")));
    assert_true(topics_join(&topics, &other, slice_str("efgh"))); /* there is room again */
    topics_leave_all(&topics, &one, nobody, NULL);
    topics_leave_all(&topics, &other, nobody, NULL);
    topics_deinit(&topics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_wants_what_is_known_through_any_joining_and_leaving),
        cmocka_unit_test(every_bound_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
