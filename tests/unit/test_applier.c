/* Shows what the applier makes of committed entries: who is told what, in which order and when it
 * holds; that what cannot be applied stops it; how it starts; what it knows of members. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <membership.pb-c.h>

#include "messages/limits.h"
#include "messages/xalloc.h"
#include "tests/support/applier_rig.h"

/* ---- who is told what ---- */

static void a_fresh_store_is_announced_at_once(void **state)
{
    (void)state;
    applier_rig_t *rig = rig_new_stopped();
    rig_start(rig, 0, 1000, NULL);
    assert_int_equal(applier_ops.deadline(rig->applier), 0);
    core_test_flush(&rig->test);
    msg_t *leases = core_test_expect(&rig->test, ACTOR_LEASE, MSG_LEASE_APPLIED);
    assert_true(leases->u.lease_applied.is_first); /* the list of all leases: none */
    assert_int_equal(leases->u.lease_applied.count, 0);
    msg_free(&leases);
    actor_id_t receivers[] = {ACTOR_LEASE, ACTOR_WATCH, ACTOR_KEEPER, ACTOR_GRPC_GATEWAY,
                              ACTOR_ZMQ_GATEWAY};
    for (size_t i = 0; i < 5; i++) {
        msg_t *msg = core_test_expect(&rig->test, receivers[i], MSG_RESTORED);
        assert_ptr_equal(shared_object(msg->u.restored.store), rig_kv(rig));
        assert_int_equal(msg->u.restored.index, 0);
        assert_int_equal(msg->u.restored.revision, 1);
        msg_free(&msg);
    }
    core_test_flush(&rig->test);
    core_test_expect_nothing(&rig->test);
    assert_int_equal(applier_ops.deadline(rig->applier), DEADLINE_NONE);
    rig_destroy(&rig);
}

static void expect_three_events(applier_rig_t *rig)
{
    msg_t *events = core_test_expect(&rig->test, ACTOR_WATCH, MSG_EVENTS);
    assert_int_equal(events->u.events.count, 3);
    assert_int_equal(events->u.events.revision, 4);
    assert_int_equal(events->u.events.compacted, -1);
    const event_t *event = &events->u.events.items[2];
    assert_int_equal(event->revision, 4);
    assert_true(slice_equal(event->key, slice_str("a")));
    assert_true(slice_equal(bytes_slice(event->kv), slice("\n\1a\x10\2\x18\4 \2*\0012", 12)));
    assert_true(slice_equal(bytes_slice(event->prev_kv), slice("\n\1a\x10\2\x18\2 \1*\0011", 12)));
    assert_null(events->u.events.items[0].prev_kv);
    msg_free(&events);
}

static void a_span_is_told_in_order(void **state)
{
    (void)state;
    applier_rig_t *rig = rig_new(1000);
    rig_add_entry(rig, ENTRY_NORMAL, slice(NULL, 0)); /* a leader's no-op */
    uint64_t first = rig_add_put(rig, "a", "1");
    rig_add_request_of(rig, RIG_ORIGIN + 1, RIG_PUT, slice("\x0a\1b", 3)); /* another member's */
    uint64_t second = rig_add_put(rig, "a", "2");
    core_test_send(&rig->test, ACTOR_REPLICATOR, &rig->batch);
    core_test_expect_nothing(&rig->test); /* the burst is not over */
    core_test_flush(&rig->test);

    /* The gateway first, since a client waits for it, and of the position before the results. */
    actor_id_t receivers[] = {ACTOR_GRPC_GATEWAY, ACTOR_REPLICATOR};
    for (size_t i = 0; i < 2; i++) {
        msg_t *msg = core_test_expect(&rig->test, receivers[i], MSG_APPLIED);
        assert_int_equal(msg->u.applied.index, 4);
        assert_int_equal(msg->u.applied.term, 3);
        assert_int_equal(msg->u.applied.revision, 4);
        assert_int_equal(msg->u.applied.commit, 4);
        msg_free(&msg);
        if (receivers[i] != ACTOR_GRPC_GATEWAY) {
            continue;
        }
        msg = core_test_expect(&rig->test, ACTOR_GRPC_GATEWAY, MSG_RESULT);
        assert_int_equal(msg->u.result.count, 2);
        assert_int_equal(msg->u.result.items[0].req_id, first);
        assert_int_equal(msg->u.result.items[0].revision, 2);
        assert_null(msg->u.result.items[0].body);
        assert_int_equal(msg->u.result.items[1].req_id, second);
        assert_int_equal(msg->u.result.items[1].revision, 4);
        msg_free(&msg);
        expect_three_events(rig);
    }
    core_test_expect_nothing(&rig->test);
    assert_true(rig_exists(rig, "a") && rig_exists(rig, "b"));
    rig_destroy(&rig);
}

/* The native gateway is told of spans while it attends, and of its own results always. */
static void each_gateway_gets_its_own_results(void **state)
{
    (void)state;
    applier_rig_t *rig = rig_new(1000);
    for (int round = 0; round < 3; round++) {
        bool attends = round == 1;
        msg_t *msg = msg_new(MSG_ATTEND);
        msg->u.attend.wanted = attends;
        core_test_send(&rig->test, ACTOR_ZMQ_GATEWAY, &msg);
        if (attends) { /* at once: what it has missed */
            msg = core_test_expect(&rig->test, ACTOR_ZMQ_GATEWAY, MSG_APPLIED);
            assert_int_equal(msg->u.applied.index, 2);
            msg_free(&msg);
        }
        core_test_expect_nothing(&rig->test);
        uint64_t theirs = rig_add_request_of(rig, RIG_NATIVE_ORIGIN, RIG_PUT, slice("\x0a\1b", 3));
        uint64_t ours = rig_add_put(rig, "a", "1");
        core_test_send(&rig->test, ACTOR_REPLICATOR, &rig->batch);
        core_test_flush(&rig->test);
        msg = core_test_expect(&rig->test, ACTOR_GRPC_GATEWAY, MSG_APPLIED);
        msg_free(&msg);
        msg = core_test_expect(&rig->test, ACTOR_GRPC_GATEWAY, MSG_RESULT);
        assert_int_equal(msg->u.result.count, 1);
        assert_int_equal(msg->u.result.items[0].req_id, ours);
        msg_free(&msg);
        if (attends) {
            msg = core_test_expect(&rig->test, ACTOR_ZMQ_GATEWAY, MSG_APPLIED);
            assert_int_equal(msg->u.applied.index, 4);
            msg_free(&msg);
        }
        msg = core_test_expect(&rig->test, ACTOR_ZMQ_GATEWAY, MSG_RESULT);
        assert_int_equal(msg->u.result.count, 1);
        assert_int_equal(msg->u.result.items[0].req_id, theirs);
        msg_free(&msg);
        rig_drain(rig);
    }
    rig_destroy(&rig);
}

static void send_await(applier_rig_t *rig, uint64_t index)
{
    msg_t *msg = msg_new(MSG_AWAIT);
    msg->u.await.index = index;
    core_test_send(&rig->test, ACTOR_LEASE, &msg);
    core_test_flush(&rig->test);
}

static void lease_hears_of_the_position_it_waits_for(void **state)
{
    (void)state;
    applier_rig_t *rig = rig_new(1000);
    rig_put(rig, "a", "1");
    send_await(rig, 1);
    msg_t *msg = core_test_expect(&rig->test, ACTOR_LEASE, MSG_APPLIED);
    assert_int_equal(msg->u.applied.index, 1);
    msg_free(&msg);
    send_await(rig, 3);
    core_test_expect_nothing(&rig->test);
    for (uint64_t index = 2; index <= 4; index++) {
        rig_add_put(rig, "a", "2");
        rig_send(rig);
        actor_id_t to;
        uint64_t told = 0;
        while ((msg = core_test_take(&rig->test, &to))) {
            told = to == ACTOR_LEASE ? msg->u.applied.index : told;
            msg_free(&msg);
        }
        assert_int_equal(told, index == 3 ? 3 : 0);
    }
    rig_destroy(&rig);
}

static void send_interest(applier_rig_t *rig, uint64_t number, bool is_wanted)
{
    msg_t *msg = msg_new(MSG_INTEREST);
    msg->u.interest = (msg_interest_t){.number = number, .is_wanted = is_wanted};
    core_test_send(&rig->test, ACTOR_WATCH, &msg);
}

/* The revision of the EVENTS that have come out, with so many events; 0 = there were none. */
static int64_t told_watch(applier_rig_t *rig, size_t events, uint64_t asked)
{
    actor_id_t to;
    msg_t *msg = NULL;
    int64_t revision = 0;
    while ((msg = core_test_take(&rig->test, &to))) {
        if (to == ACTOR_WATCH) {
            assert_int_equal(msg->kind, MSG_EVENTS);
            assert_int_equal(msg->u.events.count, events);
            assert_int_equal(msg->u.events.asked, asked);
            assert_int_equal(revision, 0);
            revision = msg->u.events.revision;
        }
        msg_free(&msg);
    }
    return revision;
}

static void nobody_watches_and_then_somebody_does(void **state)
{
    (void)state;
    applier_rig_t *rig = rig_new(1000);
    send_interest(rig, 1, false);
    rig_add_put(rig, "a", "1");
    rig_send(rig);
    assert_int_equal(told_watch(rig, 0, 0), 0);
    send_interest(rig, 2, true);
    core_test_flush(&rig->test);
    assert_int_equal(told_watch(rig, 0, 2), 2);
    rig_add_put(rig, "a", "2");
    rig_send(rig);
    assert_int_equal(told_watch(rig, 1, 2), 3);
    rig_destroy(&rig);
}

/* The position is that before the span which is applied in the same burst. */
static void who_watches_again_is_told_before_the_next_span(void **state)
{
    (void)state;
    applier_rig_t *rig = rig_new(1000);
    send_interest(rig, 1, false);
    send_interest(rig, 2, true);
    rig_add_put(rig, "a", "1");
    rig_send(rig);
    msg_t *msg = core_test_expect(&rig->test, ACTOR_WATCH, MSG_EVENTS);
    assert_int_equal(msg->u.events.count, 0);
    assert_int_equal(msg->u.events.revision, 1);
    msg_free(&msg);
    assert_int_equal(told_watch(rig, 1, 2), 2);
    rig_destroy(&rig);
}

static void without_room_at_watch_it_holds(void **state)
{
    (void)state;
    applier_rig_t *rig = rig_new(1000);
    outbox_t *box = rig->test.outbox;
    uint64_t now_us = 1;
    size_t spans = 0;
    while (outbox_room(box, ACTOR_WATCH)) { /* nobody gives credit back */
        rig_add_put(rig, "k", "v");
        step_in_t in = {.now_us = now_us, .msg = rig->batch};
        applier_ops.step(rig->applier, &in, box);
        msg_free(&rig->batch);
        applier_ops.step(rig->applier, &(step_in_t){.now_us = now_us}, box);
        assert_true(++spans < 1000);
    }
    rig_add_put(rig, "held", "v");
    applier_ops.step(rig->applier, &(step_in_t){.now_us = now_us, .msg = rig->batch}, box);
    msg_free(&rig->batch);
    applier_ops.step(rig->applier, &(step_in_t){.now_us = now_us}, box);
    assert_false(rig_exists(rig, "held"));
    assert_int_equal(applier_ops.deadline(rig->applier), DEADLINE_NONE); /* credit will wake it */
    rig_drain(rig); /* gives all credits back */
    msg_t *credit = msg_new(MSG_CREDIT);
    core_test_send(&rig->test, ACTOR_WATCH, &credit);
    core_test_flush(&rig->test);
    assert_true(rig_exists(rig, "held"));
    rig_destroy(&rig);
}

/* How many entries in spans of one are applied until the replicator hears of them. */
static uint64_t reported_after(uint64_t catchup_entries, const char *value)
{
    applier_rig_t *rig = rig_new_stopped();
    rig->catchup_entries = catchup_entries;
    rig_start(rig, 0, 100000, NULL);
    core_test_flush(&rig->test);
    rig_drain(rig);
    uint64_t reported = 0;
    while (!reported && rig->index < 2 * LIMIT_REPORT_ENTRIES) {
        rig_add_put(rig, "k", value);
        rig_send(rig);
        actor_id_t to;
        msg_t *msg = NULL;
        while ((msg = core_test_take(&rig->test, &to))) {
            if (to == ACTOR_REPLICATOR) {
                assert_int_equal(msg->kind, MSG_APPLIED);
                reported = msg->u.applied.index;
                assert_int_equal(reported, rig->index);
            }
            msg_free(&msg);
        }
    }
    rig_destroy(&rig);
    return reported;
}

static void the_replicator_hears_as_often_as_it_needs(void **state)
{
    (void)state;
    assert_int_equal(reported_after(0, "v"), 1);
    assert_int_equal(reported_after(80, "v"), 11);
    assert_int_equal(reported_after(5000, "v"), LIMIT_REPORT_ENTRIES);
    enum { BYTES = 1 << 20 };
    char *large = xmalloc(BYTES + 1);
    memset(large, 'x', BYTES);
    large[BYTES] = '\0';
    assert_int_equal(reported_after(5000, large), LIMIT_REPORT_BYTES / BYTES);
    free(large);
}

/* Applies 8 entries, so much time between them; returns for which indexes a flush was asked. */
static size_t flushes_of_eight(uint64_t pause_us, uint64_t asked[8])
{
    applier_rig_t *rig = rig_new(3);
    size_t count = 0;
    for (int i = 0; i < 8; i++) {
        rig->test.now_us += pause_us;
        rig_add_put(rig, "k", "v");
        rig_send(rig);
        actor_id_t to;
        msg_t *msg = NULL;
        while ((msg = core_test_take(&rig->test, &to))) {
            if (msg->kind == MSG_FLUSH) {
                assert_int_equal(to, ACTOR_KEEPER);
                asked[count++] = msg->u.applied.index;
            }
            msg_free(&msg);
        }
    }
    rig_destroy(&rig);
    return count;
}

static void every_so_many_entries_the_keeper_is_asked_to_flush(void **state)
{
    (void)state;
    uint64_t asked[8] = {0};
    assert_int_equal(flushes_of_eight(1000000, asked), 2);
    assert_int_equal(asked[0], 3);
    assert_int_equal(asked[1], 6);
}

static void under_load_flushes_are_a_second_apart(void **state)
{
    (void)state;
    uint64_t asked[8] = {0};
    assert_int_equal(flushes_of_eight(250000, asked), 2);
    assert_int_equal(asked[0], 3);
    assert_int_equal(asked[1], 7); /* due with entry 6, 750 ms after the one before */
}

static void a_restart_replays_in_silence(void **state)
{
    (void)state;
    applier_rig_t *rig = rig_new(1000);
    for (int64_t id = 1; id <= 3; id++) {
        Etcdserverpb__LeaseGrantRequest grant = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
        grant.id = id;
        grant.ttl = 10 * id;
        rig_add_request(rig, RIG_LEASE_GRANT, &grant.base);
        rig_expect(rig, API_NONE, 1);
    }
    core_test_end(&rig->test);
    rig_start(rig, 5, 1000, NULL); /* two entries were committed and not applied */
    assert_int_equal(applier_applied_index(rig->applier), 3);
    core_test_flush(&rig->test);
    core_test_expect_nothing(&rig->test);

    rig_add_put(rig, "replayed", "1");
    rig_add_put(rig, "replayed", "2");
    rig_add_put(rig, "new", "1"); /* beyond: of this run */
    rig_send(rig);
    msg_t *msg = core_test_expect(&rig->test, ACTOR_REPLICATOR, MSG_APPLIED);
    assert_int_equal(msg->u.applied.index, 5);
    msg_free(&msg);
    msg = core_test_expect(&rig->test, ACTOR_LEASE, MSG_LEASE_APPLIED);
    assert_true(msg->u.lease_applied.is_first);
    assert_int_equal(msg->u.lease_applied.count, 3);
    assert_int_equal(msg->u.lease_applied.items[2].id, 3);
    assert_int_equal(msg->u.lease_applied.items[2].ttl_s, 30);
    msg_free(&msg);
    actor_id_t receivers[] = {ACTOR_LEASE, ACTOR_WATCH, ACTOR_KEEPER, ACTOR_GRPC_GATEWAY,
                              ACTOR_ZMQ_GATEWAY};
    for (size_t i = 0; i < 5; i++) {
        msg = core_test_expect(&rig->test, receivers[i], MSG_RESTORED);
        assert_int_equal(msg->u.restored.index, 5);
        assert_int_equal(msg->u.restored.revision, 3);
        msg_free(&msg);
    }
    core_test_expect_nothing(&rig->test);
    assert_int_equal(applier_ops.deadline(rig->applier), 0); /* one span per step: more waits */
    core_test_flush(&rig->test);
    msg = core_test_expect(&rig->test, ACTOR_GRPC_GATEWAY, MSG_APPLIED);
    assert_int_equal(msg->u.applied.index, 6);
    msg_free(&msg);
    msg = core_test_expect(&rig->test, ACTOR_GRPC_GATEWAY, MSG_RESULT);
    assert_int_equal(msg->u.result.items[0].revision, 4);
    msg_free(&msg);
    msg = core_test_expect(&rig->test, ACTOR_WATCH, MSG_EVENTS);
    assert_int_equal(msg->u.events.count, 1);
    assert_int_equal(msg->u.events.items[0].revision, 4);
    msg_free(&msg);
    rig_destroy(&rig);
}

/* ---- what stops it ---- */

static void what_cannot_be_applied_is_fatal(void **state)
{
    (void)state;
    static const struct {
        entry_type_t type;
        const char *payload;
        size_t len;
    } bad[] = {
        {ENTRY_NORMAL, "\xff", 1},                        /* not a message */
        {ENTRY_NORMAL, "\x08\x4d", 2},                    /* no operation */
        {ENTRY_NORMAL, "\x52\0", 2},                      /* an operation we do not know (alarm) */
        {ENTRY_NORMAL, "\x22\3\x0a\1a\x22\3\x0a\1a", 10}, /* two operations */
        {ENTRY_NORMAL, "\x22\2\x0a\5", 4},                /* a put cut short */
        {ENTRY_NORMAL, "\x32\2\x0a\5", 4},                /* a transaction cut short */
        {ENTRY_CONFIGURATION, "\xff", 1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        applier_rig_t *rig = rig_new(1000);
        rig_add_put(rig, "before", "v");
        rig_add_entry(rig, bad[i].type, slice(bad[i].payload, bad[i].len));
        rig_send(rig);
        assert_non_null(outbox_fatal_text(rig->test.outbox));
        core_test_expect_nothing(&rig->test);
        assert_false(rig_exists(rig, "before")); /* the span was not written */
        assert_int_equal(applier_ops.deadline(rig->applier), DEADLINE_NONE);
        rig_destroy(&rig);
    }
}

/* ---- members ---- */

static Quoral__Configuration *members_of(applier_rig_t *rig)
{
    kv_value_t value = {0};
    assert_int_equal(mvcc_meta_get(kv_latest(rig_kv(rig)), "members", &value), 0);
    Quoral__Configuration *members = quoral__configuration__unpack(NULL, value.len, value.data);
    kv_value_deinit(&value);
    assert_non_null(members);
    return members;
}

static bytes_t *configuration_of(size_t count, uint64_t origin, uint64_t request_id)
{
    Quoral__ConfigurationMember items[3];
    Quoral__ConfigurationMember *list[3];
    for (size_t i = 0; i < count; i++) {
        items[i] = (Quoral__ConfigurationMember)QUORAL__CONFIGURATION_MEMBER__INIT;
        items[i].id = i + 1;
        list[i] = &items[i];
    }
    Quoral__Configuration all = QUORAL__CONFIGURATION__INIT;
    all.members = list;
    all.n_members = count;
    all.origin = origin;
    all.request_id = request_id;
    uint8_t *room = NULL;
    bytes_t *bytes = bytes_alloc(quoral__configuration__get_packed_size(&all), &room);
    quoral__configuration__pack(&all, room);
    return bytes;
}

static bytes_t *configuration(size_t count)
{
    return configuration_of(count, 0, 0);
}

static void members_keep_what_they_have_published(void **state)
{
    (void)state;
    applier_rig_t *rig = rig_new_stopped();
    bytes_t *one = configuration(1);
    bytes_t *three = configuration(3);
    rig_start(rig, 0, 1000, one);
    core_test_flush(&rig->test);
    rig_drain(rig);
    /* member 1 publishes name "n" and URL "u"; member 9 does not exist */
    rig_add_request_of(rig, RIG_ORIGIN, RIG_ATTR_SET, slice("\x08\1\x12\6\n\1n\x12\1u", 10));
    rig_add_request_of(rig, RIG_ORIGIN, RIG_ATTR_SET, slice("\x08\x09\x12\3\n\1x", 7));
    rig_add_request_of(rig, RIG_ORIGIN, RIG_VERSION_SET,
                       slice("\n\x05"
                             "3.7.0",
                             7));
    rig_add_entry(rig, ENTRY_CONFIGURATION, bytes_slice(three));
    rig_send(rig);
    rig_drain(rig);
    Quoral__Configuration *members = members_of(rig);
    assert_int_equal(members->n_members, 3);
    assert_string_equal(members->members[0]->name, "n");
    assert_int_equal(members->members[0]->n_client_urls, 1);
    assert_string_equal(members->members[0]->client_urls[0], "u");
    assert_string_equal(members->members[1]->name, "");
    quoral__configuration__free_unpacked(members, NULL);
    kv_value_t version = {0};
    assert_int_equal(mvcc_meta_get(kv_latest(rig_kv(rig)), "cluster_version", &version), 0);
    assert_true(slice_equal(kv_value_slice(&version), slice_str("3.7.0")));
    kv_value_deinit(&version);
    bytes_unref(&one);
    bytes_unref(&three);
    rig_destroy(&rig);
}

/* The next PUBLISHED among all that comes out, or NULL; yours. */
static bytes_t *take_published(applier_rig_t *rig)
{
    bytes_t *ids = NULL;
    actor_id_t to;
    for (msg_t *msg; (msg = core_test_take(&rig->test, &to)) != NULL;) {
        if (msg->kind == MSG_PUBLISHED) {
            assert_null(ids);
            assert_int_equal(to, ACTOR_PEER);
            ids = bytes_take(&msg->u.published.ids);
        }
        msg_free(&msg);
    }
    return ids;
}

/* Who begins a member anew that was up before is told by the others: so peer has to know, after a restart, too. */
static void peer_hears_who_has_published(void **state)
{
    (void)state;
    static const char publish_2[] = "\x08\2\x12\6\n\1n\x12\1u";
    static const uint8_t two[] = {2, 0, 0, 0, 0, 0, 0, 0};
    applier_rig_t *rig = rig_new_stopped();
    bytes_t *three = configuration(3);
    rig_start(rig, 0, 1000, three);
    core_test_flush(&rig->test);
    assert_null(take_published(rig));
    rig_add_request_of(rig, RIG_ORIGIN, RIG_ATTR_SET, slice(publish_2, 10));
    rig_send(rig);
    bytes_t *ids = take_published(rig);
    assert_true(slice_equal(bytes_slice(ids), slice(two, sizeof two)));
    bytes_unref(&ids);
    rig_add_request_of(rig, RIG_ORIGIN, RIG_ATTR_SET, slice(publish_2, 10)); /* nothing new */
    rig_send(rig);
    assert_null(take_published(rig));
    core_test_end(&rig->test);
    rig_start(rig, rig->index, 1000, NULL);
    core_test_flush(&rig->test);
    ids = take_published(rig);
    assert_true(slice_equal(bytes_slice(ids), slice(two, sizeof two)));
    bytes_unref(&ids);
    bytes_unref(&three);
    rig_destroy(&rig);
}

/* The next message to the gateway, which must be of this kind. */
static msg_t *expect_for_gateway(applier_rig_t *rig, msg_kind_t kind)
{
    actor_id_t to;
    msg_t *msg = core_test_take(&rig->test, &to);
    while (msg && to != ACTOR_GRPC_GATEWAY) {
        msg_free(&msg);
        msg = core_test_take(&rig->test, &to);
    }
    assert_non_null(msg);
    assert_string_equal(msg_kind_name(msg->kind), msg_kind_name(kind));
    return msg;
}

static void who_asked_for_a_change_of_members_is_answered(void **state)
{
    (void)state;
    applier_rig_t *rig = rig_new_stopped();
    bytes_t *first = configuration_of(1, RIG_ORIGIN, 5); /* as another member's log may begin */
    rig_start(rig, 0, 1000, first);
    core_test_flush(&rig->test);
    rig_drain(rig);
    rig_add_put(rig, "a", "1");
    rig_send(rig);
    rig_drain(rig);
    Quoral__Configuration *members = members_of(rig);
    assert_true(members->origin == 0 && members->request_id == 0);
    quoral__configuration__free_unpacked(members, NULL);

    static const uint64_t origins[] = {RIG_ORIGIN, RIG_ORIGIN + 1, 0};
    for (size_t i = 0; i < sizeof origins / sizeof *origins; i++) {
        bytes_t *changed = configuration_of(2, origins[i], 77);
        rig_add_entry(rig, ENTRY_CONFIGURATION, bytes_slice(changed));
        rig_send(rig);
        msg_t *msg = expect_for_gateway(rig, MSG_APPLIED);
        assert_int_equal(msg->u.applied.members_index, rig->index);
        assert_int_equal(msg->u.applied.index, rig->index);
        msg_free(&msg);
        if (origins[i] == RIG_ORIGIN) {
            msg = expect_for_gateway(rig, MSG_RESULT);
            assert_int_equal(msg->u.result.count, 1);
            assert_int_equal(msg->u.result.items[0].req_id, 77);
            assert_int_equal(msg->u.result.items[0].error, API_NONE);
            assert_int_equal(msg->u.result.items[0].revision, 2);
            assert_null(msg->u.result.items[0].body);
            msg_free(&msg);
        } else {
            actor_id_t to;
            while ((msg = core_test_take(&rig->test, &to))) {
                assert_true(to != ACTOR_GRPC_GATEWAY);
                msg_free(&msg);
            }
        }
        members = members_of(rig);
        assert_int_equal(members->n_members, 2);
        assert_true(members->origin == 0 && members->request_id == 0);
        quoral__configuration__free_unpacked(members, NULL);
        rig_drain(rig);
        bytes_unref(&changed);
    }
    rig_add_put(rig, "a", "2");
    rig_send(rig);
    msg_t *msg = expect_for_gateway(rig, MSG_APPLIED);
    assert_int_equal(msg->u.applied.members_index, rig->index - 1);
    msg_free(&msg);
    bytes_unref(&first);
    rig_destroy(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fresh_store_is_announced_at_once),
        cmocka_unit_test(a_span_is_told_in_order),
        cmocka_unit_test(each_gateway_gets_its_own_results),
        cmocka_unit_test(lease_hears_of_the_position_it_waits_for),
        cmocka_unit_test(nobody_watches_and_then_somebody_does),
        cmocka_unit_test(who_watches_again_is_told_before_the_next_span),
        cmocka_unit_test(without_room_at_watch_it_holds),
        cmocka_unit_test(the_replicator_hears_as_often_as_it_needs),
        cmocka_unit_test(every_so_many_entries_the_keeper_is_asked_to_flush),
        cmocka_unit_test(under_load_flushes_are_a_second_apart),
        cmocka_unit_test(a_restart_replays_in_silence),
        cmocka_unit_test(what_cannot_be_applied_is_fatal),
        cmocka_unit_test(members_keep_what_they_have_published),
        cmocka_unit_test(peer_hears_who_has_published),
        cmocka_unit_test(who_asked_for_a_change_of_members_is_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
