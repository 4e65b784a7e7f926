/* Watches: every event once and in order, nothing from before "now", catch-up from history, slow
 * streams fall back and come back, compaction cancels instead of skipping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/watch/watch.h"
#include "actors/watch/watch_index.h"
#include "etcd/rpc.pb-c.h"
#include "messages/xalloc.h"
#include "store/snapshot_stream.h"
#include "store/mvcc_write.h"
#include "tests/support/core_test.h"

enum { STREAM_BYTES = 20000, TOTAL_BYTES = 40000 };

static metrics_t metrics;

/* The watch actor beside a store whose changes it is told, as the applier would. */
typedef struct {
    core_test_t core;
    kv_t *kv;
    mvcc_t *mvcc;
    uint64_t index;
    uint64_t asked; /* the last INTEREST that was taken */
} rig_t;

static void leave_open(void *object)
{
    (void)object;
}

static rig_t start(void)
{
    rig_t rig = {.kv = kv_memory_new()};
    char *error = NULL;
    assert_int_equal(mvcc_new(&rig.mvcc, rig.kv, &error), 0);
    watch_cfg_t cfg = {.progress_notify_us = 1000000,
                       .stream_bytes_max = STREAM_BYTES,
                       .total_bytes_max = TOTAL_BYTES};
    rig.core = core_test_new(ACTOR_WATCH, &watch_ops, watch_new(&cfg, &metrics));
    msg_t *msg = msg_new(MSG_RESTORED);
    msg->u.restored.store = shared_new(rig.kv, leave_open);
    msg->u.restored.revision = 1;
    core_test_send(&rig.core, ACTOR_APPLIER, &msg);
    core_test_flush(&rig.core);
    return rig;
}

static void end(rig_t *rig)
{
    core_test_end(&rig->core);
    mvcc_destroy(&rig->mvcc);
    kv_close(&rig->kv);
}

/* The span's changes as the applier tells them; `tell` false = still on its way. */
static msg_t *events_of(rig_t *rig)
{
    size_t count = 0;
    mvcc_change_t *changes = mvcc_changes_take(rig->mvcc, &count);
    assert_int_equal(mvcc_commit(rig->mvcc), 0);
    msg_t *msg = msg_new(MSG_EVENTS);
    msg->u.events.items = xcalloc(count, sizeof(event_t));
    msg->u.events.count = count;
    msg->u.events.revision = mvcc_current(rig->mvcc)->revision;
    msg->u.events.compacted = mvcc_current(rig->mvcc)->compacted;
    msg->u.events.asked = rig->asked;
    for (size_t i = 0; i < count; i++) {
        slice_t kv = bytes_slice(changes[i].kv);
        msg->u.events.items[i] = (event_t){
            .is_delete = changes[i].is_delete,
            .revision = changes[i].revision,
            .sub = changes[i].sub,
            .key = slice(kv.data + changes[i].key_offset, changes[i].key_len),
            .kv = changes[i].kv,
            .prev_kv = changes[i].prev_kv,
        };
    }
    free(changes);
    return msg;
}

static msg_t *put_untold(rig_t *rig, const char *key, const char *value)
{
    mvcc_put_t put = {.key = slice_str(key), .value = slice_str(value)};
    bool existed = false;
    mvcc_entry_begin(rig->mvcc, ++rig->index, 1);
    assert_int_equal(mvcc_put(rig->mvcc, &put, NULL, &existed), 0);
    mvcc_entry_end(rig->mvcc);
    return events_of(rig);
}

static void tell(rig_t *rig, msg_t **msg_p)
{
    core_test_send(&rig->core, ACTOR_APPLIER, msg_p);
    core_test_flush(&rig->core);
}

static void put(rig_t *rig, const char *key, const char *value)
{
    msg_t *msg = put_untold(rig, key, value);
    tell(rig, &msg);
}

static void remove_key(rig_t *rig, const char *key)
{
    mvcc_interval_t interval = {.key = slice_str(key)};
    int64_t deleted = 0;
    mvcc_entry_begin(rig->mvcc, ++rig->index, 1);
    assert_int_equal(mvcc_delete_range(rig->mvcc, &interval, &deleted, NULL), 0);
    mvcc_entry_end(rig->mvcc);
    msg_t *msg = events_of(rig);
    tell(rig, &msg);
}

static void compact(rig_t *rig, int64_t revision)
{
    mvcc_entry_begin(rig->mvcc, ++rig->index, 1);
    assert_int_equal(mvcc_compact(rig->mvcc, revision), 0);
    mvcc_entry_end(rig->mvcc);
    msg_t *msg = events_of(rig);
    tell(rig, &msg);
}

static void watch_of(rig_t *rig, actor_id_t gateway, uint64_t stream, int64_t id, const char *key,
                     const char *range_end, int64_t start_revision, int64_t head, unsigned flags)
{
    msg_t *msg = msg_new(MSG_WATCH_CREATE);
    msg->u.watch_create = (msg_watch_create_t){
        .stream = stream,
        .watch_id = id,
        .key = bytes_new(key, strlen(key)),
        .range_end = range_end ? bytes_new(range_end, strlen(range_end)) : NULL,
        .start_revision = start_revision,
        .head_revision = head,
        .flags = flags,
    };
    core_test_send(&rig->core, gateway, &msg);
    core_test_flush(&rig->core);
}

static void watch(rig_t *rig, uint64_t stream, int64_t id, const char *key, const char *range_end,
                  int64_t start_revision, int64_t head, unsigned flags)
{
    watch_of(rig, ACTOR_GRPC_GATEWAY, stream, id, key, range_end, start_revision, head, flags);
}

static void about_stream_of(rig_t *rig, actor_id_t gateway, msg_kind_t kind, uint64_t stream,
                            int64_t id, int64_t head, uint64_t bytes)
{
    msg_t *msg = msg_new(kind);
    msg->u.watch_stream = (msg_watch_stream_t){
        .stream = stream, .watch_id = id, .head_revision = head, .bytes = bytes};
    core_test_send(&rig->core, gateway, &msg);
    core_test_flush(&rig->core);
}

static void about_stream(rig_t *rig, msg_kind_t kind, uint64_t stream, int64_t id, int64_t head,
                         uint64_t bytes)
{
    about_stream_of(rig, ACTOR_GRPC_GATEWAY, kind, stream, id, head, bytes);
}

/* What came out, one word an item: "created@1", "put a=1@2", … for stream and watch id. */
static void describe_events(const watch_item_t *item, char *text, size_t size)
{
    slice_t bytes = bytes_slice(item->events);
    Etcdserverpb__WatchResponse *answer =
        etcdserverpb__watch_response__unpack(NULL, bytes.len, bytes.data);
    assert_non_null(answer);
    for (size_t i = 0; i < answer->n_events; i++) {
        const Mvccpb__Event *event = answer->events[i];
        size_t used = strlen(text);
        snprintf(text + used, size - used, "%s%s %.*s%s%.*s%s@%d", i ? ", " : "",
                 event->type ? "delete" : "put", (int)event->kv->key.len,
                 (const char *)event->kv->key.data, event->type ? "" : "=",
                 (int)event->kv->value.len < 9 ? (int)event->kv->value.len : 9,
                 (const char *)event->kv->value.data, event->prev_kv ? "(prev)" : "",
                 (int)event->kv->mod_revision);
    }
    etcdserverpb__watch_response__free_unpacked(answer, NULL);
}

static void take_all(rig_t *rig, char *text, size_t size)
{
    text[0] = '\0';
    actor_id_t to = ACTOR_NONE;
    msg_t *msg = NULL;
    while ((msg = core_test_take(&rig->core, &to))) {
        assert_int_equal(msg->kind, MSG_WATCH_OUT);
        for (size_t i = 0; i < msg->u.watch_out.count; i++) {
            const watch_item_t *item = &msg->u.watch_out.items[i];
            static const char *const names[] = {"created", "", "compacted", "canceled", "progress"};
            size_t used = strlen(text);
            snprintf(text + used, size - used, "%s%s%d/%d %s", used ? "; " : "",
                     to == ACTOR_ZMQ_GATEWAY ? "native " : "", (int)item->stream,
                     (int)item->watch_id, names[item->type]);
            if (item->type == WATCH_ITEM_EVENTS) {
                describe_events(item, text, size);
            } else {
                used = strlen(text);
                snprintf(text + used, size - used, "@%d", (int)item->revision);
            }
        }
        msg_free(&msg);
    }
}

static void expect(rig_t *rig, const char *wanted)
{
    char text[4096];
    take_all(rig, text, sizeof text);
    assert_string_equal(text, wanted);
}

static void a_watch_from_now_sees_what_comes_after(void **state)
{
    (void)state;
    rig_t rig = start();
    put(&rig, "a", "0");
    watch(&rig, 1, 0, "a", NULL, 0, 2, 0);
    expect(&rig, "1/0 created@2");
    put(&rig, "a", "1");
    put(&rig, "b", "1");
    remove_key(&rig, "a");
    expect(&rig, "1/0 put a=1@3; 1/0 delete a@5");
    end(&rig);
}

/* The answer to the put and its event travel different ways: the gateway has seen revision 2, the
 * event has not come here yet. */
static void an_acknowledged_put_is_never_delivered_by_a_watch_from_now(void **state)
{
    (void)state;
    rig_t rig = start();
    msg_t *late = put_untold(&rig, "a", "0");
    watch(&rig, 1, 0, "a", NULL, 0, 2, 0);
    expect(&rig, ""); /* waits for the event */
    tell(&rig, &late);
    expect(&rig, "1/0 created@2");
    put(&rig, "a", "1");
    expect(&rig, "1/0 put a=1@3");
    end(&rig);
}

/* ---- when nobody watches ---- */

enum { QUIET_SPANS = 16 };

static void expect_interest(rig_t *rig, bool is_wanted)
{
    static const actor_id_t told[] = {ACTOR_APPLIER, ACTOR_REPLICATOR};
    rig->asked++;
    for (size_t i = 0; i < 2; i++) {
        msg_t *msg = core_test_expect(&rig->core, told[i], MSG_INTEREST);
        assert_int_equal(msg->u.interest.number, rig->asked);
        assert_int_equal(msg->u.interest.is_wanted, is_wanted);
        msg_free(&msg);
    }
    expect(rig, "");
}

static void call_off(rig_t *rig)
{
    for (int i = 0; i < QUIET_SPANS; i++) {
        expect(rig, "");
        put(rig, "a", "0");
    }
    expect_interest(rig, false);
}

static void events_for_nobody_are_called_off(void **state)
{
    (void)state;
    rig_t rig = start();
    for (int i = 1; i < QUIET_SPANS; i++) {
        put(&rig, "a", "0");
    }
    watch(&rig, 1, 0, "a", NULL, 0, 2, 0); /* a short one counts as well */
    about_stream(&rig, MSG_WATCH_CLOSE, 1, 0, 0, 0);
    expect(&rig, "1/0 created@16");
    call_off(&rig);
    end(&rig);
}

static void events_for_somebody_are_not(void **state)
{
    (void)state;
    rig_t rig = start();
    watch(&rig, 1, 0, "a", NULL, 0, 1, 0);
    for (int i = 0; i < 2 * QUIET_SPANS; i++) {
        put(&rig, "b", "0");
    }
    expect(&rig, "1/0 created@1");
    end(&rig);
}

/* A watch from now does not see what was acknowledged before it, nor miss what comes after, though neither
 * has been told here. */
static void who_watches_again_goes_on_from_the_position(void **state)
{
    (void)state;
    rig_t rig = start();
    call_off(&rig); /* revision 17 */
    msg_t *untold = put_untold(&rig, "a", "1");
    msg_free(&untold);
    watch(&rig, 1, 0, "a", NULL, 0, 17, 0); /* the gateway has not heard of 18 */
    expect_interest(&rig, true);
    about_stream(&rig, MSG_WATCH_PROGRESS, 1, 0, 18, 0);
    msg_t *position = events_of(&rig);
    tell(&rig, &position);
    expect(&rig, "1/0 created@18; 1/-1 progress@18");
    put(&rig, "a", "2");
    expect(&rig, "1/0 put a=2@19");
    end(&rig);
}

/* They left before the applier knew; what came behind them was not told. */
static void events_on_their_way_tell_nothing(void **state)
{
    (void)state;
    rig_t rig = start();
    put(&rig, "a", "0");
    for (int i = 1; i < QUIET_SPANS; i++) {
        put(&rig, "a", "0");
    }
    msg_t *late = put_untold(&rig, "a", "late");
    expect_interest(&rig, false);
    msg_t *untold = put_untold(&rig, "a", "untold");
    msg_free(&untold);
    watch(&rig, 1, 0, "a", NULL, 18, 17, 0); /* from the late one on */
    expect_interest(&rig, true);
    tell(&rig, &late);
    expect(&rig, "");
    msg_t *position = events_of(&rig);
    tell(&rig, &position);
    expect(&rig, "1/0 created@19; 1/0 put a=late@18, put a=untold@19");
    end(&rig);
}

/* Nobody is there to be told, and nothing has to be asked. */
static void who_leaves_late_wakes_nobody(void **state)
{
    (void)state;
    rig_t rig = start();
    call_off(&rig);
    about_stream(&rig, MSG_WATCH_CONSUMED, 1, 0, 0, 100);
    about_stream(&rig, MSG_WATCH_CLOSE, 1, 0, 0, 0);
    expect(&rig, "");
    end(&rig);
}

static void a_new_store_does_not_wake_them(void **state)
{
    (void)state;
    rig_t rig = start();
    call_off(&rig);
    msg_t *untold = put_untold(&rig, "a", "1");
    msg_free(&untold);
    msg_t *msg = msg_new(MSG_RESTORED);
    msg->u.restored.store = shared_new(rig.kv, leave_open);
    msg->u.restored.revision = mvcc_current(rig.mvcc)->revision;
    tell(&rig, &msg);
    expect(&rig, "");
    watch(&rig, 1, 0, "a", NULL, 0, 18, 0);
    expect_interest(&rig, true);
    untold = put_untold(&rig, "a", "2");
    msg_free(&untold);
    msg_t *position = events_of(&rig);
    tell(&rig, &position);
    expect(&rig, "1/0 created@19");
    end(&rig);
}

static void a_watch_from_now_begins_behind_the_revision_it_is_told(void **state)
{
    (void)state;
    rig_t rig = start();
    put(&rig, "a", "1"); /* revision 2; the gateway had only heard of 1 when it asked */
    watch(&rig, 1, 0, "a", NULL, 0, 1, 0);
    expect(&rig, "1/0 created@2");
    put(&rig, "a", "2");
    expect(&rig, "1/0 put a=2@3");
    end(&rig);
}

static void a_watch_from_the_past_is_caught_up_and_then_goes_on(void **state)
{
    (void)state;
    rig_t rig = start();
    put(&rig, "a1", "x");
    put(&rig, "b", "x");
    put(&rig, "a2", "x");
    remove_key(&rig, "a1");
    watch(&rig, 1, 0, "a", "b", 2, 5, WATCH_PREV_KV);
    expect(&rig, "1/0 created@5; 1/0 put a1=x@2, put a2=x@4, delete a1(prev)@5");
    put(&rig, "a2", "y");
    expect(&rig, "1/0 put a2=y(prev)@6");
    end(&rig);
}

/* Each gateway numbers its streams itself. */
static void gateways_may_use_the_same_ids(void **state)
{
    (void)state;
    rig_t rig = start();
    watch(&rig, 1, 0, "a", NULL, 0, 1, 0);
    watch_of(&rig, ACTOR_ZMQ_GATEWAY, 1, 0, "a", "z", 0, 1, 0);
    expect(&rig, "1/0 created@1; native 1/0 created@1");
    put(&rig, "a", "1");
    put(&rig, "b", "2");
    expect(&rig, "1/0 put a=1@2; native 1/0 put a=1@2; native 1/0 put b=2@3");
    about_stream_of(&rig, ACTOR_ZMQ_GATEWAY, MSG_WATCH_PROGRESS, 1, 0, 3, 0);
    about_stream(&rig, MSG_WATCH_CANCEL, 1, 0, 3, 0);
    expect(&rig, "native 1/-1 progress@3; 1/0 canceled@3");
    put(&rig, "a", "3");
    expect(&rig, "native 1/0 put a=3@4");
    about_stream_of(&rig, ACTOR_ZMQ_GATEWAY, MSG_WATCH_CLOSE, 1, 0, 0, 0);
    put(&rig, "a", "4");
    expect(&rig, "");
    end(&rig);
}

/* A gateway that takes nothing holds up nobody at the other one, and keeps no thread busy. */
static void a_slow_gateway_does_not_hold_up_the_other(void **state)
{
    (void)state;
    rig_t rig = start();
    watch(&rig, 1, 0, "a", NULL, 0, 1, 0);
    watch_of(&rig, ACTOR_ZMQ_GATEWAY, 1, 0, "a", NULL, 0, 1, 0);
    expect(&rig, "1/0 created@1; native 1/0 created@1");
    msg_t *stuffing[64];
    size_t count = 0;
    while (outbox_room(rig.core.outbox, ACTOR_GRPC_GATEWAY)) {
        actor_id_t to;
        assert_true(count < sizeof stuffing / sizeof *stuffing);
        msg_t *msg = msg_new(MSG_WATCH_OUT);
        outbox_put(rig.core.outbox, ACTOR_GRPC_GATEWAY, &msg);
        stuffing[count++] = outbox_take(rig.core.outbox, &to);
    }
    core_test_flush(&rig.core);
    put(&rig, "a", "1");
    put(&rig, "a", "2");
    expect(&rig, "native 1/0 put a=1@2; native 1/0 put a=2@3");
    assert_true(watch_ops.deadline(rig.core.core) != 0);
    outbox_credit(rig.core.outbox, ACTOR_GRPC_GATEWAY,
                  &(msg_credit_t){.messages = 2, .bytes = 2 * stuffing[0]->cost});
    core_test_flush(&rig.core);
    expect(&rig, "1/0 put a=1@2, put a=2@3");
    while (count > 0) {
        msg_free(&stuffing[--count]);
    }
    end(&rig);
}

static void filters_and_open_ends_hold(void **state)
{
    (void)state;
    rig_t rig = start();
    watch(&rig, 1, 0, "a", "", 0, 1, WATCH_NO_PUT);
    msg_t *msg = msg_new(MSG_WATCH_CREATE);
    msg->u.watch_create = (msg_watch_create_t){.stream = 1,
                                               .watch_id = 1,
                                               .key = bytes_new("b", 1),
                                               .range_end = bytes_new("", 1),
                                               .head_revision = 1};
    core_test_send(&rig.core, ACTOR_GRPC_GATEWAY, &msg);
    core_test_flush(&rig.core);
    expect(&rig, "1/0 created@1; 1/1 created@1");
    put(&rig, "a", "1");
    put(&rig, "zz", "1");
    remove_key(&rig, "a");
    expect(&rig, "1/1 put zz=1@3; 1/0 delete a@4");
    end(&rig);
}

static void a_future_watch_is_silent_until_its_revision(void **state)
{
    (void)state;
    rig_t rig = start();
    watch(&rig, 1, 0, "a", NULL, 4, 1, 0);
    expect(&rig, "1/0 created@1");
    put(&rig, "a", "2");
    put(&rig, "a", "3");
    about_stream(&rig, MSG_WATCH_PROGRESS, 1, 0, 3, 0);
    expect(&rig, "");
    put(&rig, "a", "4");
    expect(&rig, "1/0 put a=4@4");
    about_stream(&rig, MSG_WATCH_PROGRESS, 1, 0, 4, 0);
    expect(&rig, "1/-1 progress@4");
    end(&rig);
}

static void a_start_below_compaction_is_cancelled_after_created(void **state)
{
    (void)state;
    rig_t rig = start();
    put(&rig, "a", "2");
    put(&rig, "a", "3");
    put(&rig, "a", "4");
    compact(&rig, 3);
    watch(&rig, 1, 0, "a", NULL, 2, 4, 0);
    watch(&rig, 1, 1, "a", NULL, 3, 4, 0);
    expect(&rig, "1/0 created@4; 1/0 compacted@3; 1/1 created@4; 1/1 put a=3@3, put a=4@4");
    end(&rig);
}

static void a_slow_stream_falls_back_and_misses_nothing(void **state)
{
    (void)state;
    rig_t rig = start();
    char value[STREAM_BYTES + 1];
    memset(value, 'v', STREAM_BYTES);
    value[STREAM_BYTES] = '\0';
    watch(&rig, 1, 0, "a", NULL, 0, 1, 0);
    watch(&rig, 2, 0, "a", NULL, 0, 1, 0);
    put(&rig, "a", value);
    about_stream(&rig, MSG_WATCH_CONSUMED, 2, 0, 0, 10 * STREAM_BYTES);
    put(&rig, "a", "3"); /* stream 1 has not taken the first one yet */
    put(&rig, "a", "4");
    expect(&rig, "1/0 created@1; 2/0 created@1; 1/0 put a=vvvvvvvvv@2; 2/0 put a=vvvvvvvvv@2; 2/0 "
                 "put a=3@3; 2/0 put a=4@4");
    about_stream(&rig, MSG_WATCH_PROGRESS, 1, 0, 4, 0);
    expect(&rig, ""); /* not synced: no progress */
    about_stream(&rig, MSG_WATCH_CONSUMED, 1, 0, 0, 10 * STREAM_BYTES);
    expect(&rig, "1/0 put a=3@3, put a=4@4");
    end(&rig);
}

/* ---- a snapshot of another member takes the store's place ---- */

/* From here on `rig` has another store, with all that was in the old one; watch has not heard of it. */
static void begin_another_store(rig_t *rig, kv_t **old_p)
{
    kv_t *kv = kv_memory_new();
    snapshot_reader_t *reader = snapshot_reader_new(kv_latest(rig->kv));
    snapshot_writer_t *writer = snapshot_writer_new(kv);
    buf_t chunk = {0};
    for (bool is_last = false; !is_last;) {
        assert_int_equal(snapshot_reader_next(reader, &chunk, &is_last), 0);
        assert_int_equal(snapshot_writer_add(writer, buf_slice(&chunk)), 0);
    }
    buf_deinit(&chunk);
    snapshot_reader_destroy(&reader);
    snapshot_writer_destroy(&writer);
    mvcc_destroy(&rig->mvcc);
    *old_p = rig->kv;
    rig->kv = kv;
    char *error = NULL;
    assert_int_equal(mvcc_new(&rig->mvcc, rig->kv, &error), 0);
}

/* An entry that watch never hears of by itself. */
static void put_elsewhere(rig_t *rig, const char *key, const char *value)
{
    msg_t *msg = put_untold(rig, key, value);
    msg_free(&msg);
}

static void restore(rig_t *rig, kv_t **old_p)
{
    msg_t *msg = msg_new(MSG_RESTORED);
    msg->u.restored.store = shared_new(rig->kv, leave_open);
    msg->u.restored.revision = mvcc_current(rig->mvcc)->revision;
    core_test_send(&rig->core, ACTOR_APPLIER, &msg);
    kv_close(old_p); /* watch holds nothing of it any more: a memory store asserts that */
    core_test_flush(&rig->core);
    core_test_flush(&rig->core);
}

static void open_watches_survive_a_snapshot(void **state)
{
    (void)state;
    rig_t rig = start();
    kv_t *old = NULL;
    watch(&rig, 1, 0, "a", NULL, 0, 1, WATCH_PREV_KV);
    watch(&rig, 2, 0, "b", "c", 0, 1, 0);
    put(&rig, "a", "2");
    expect(&rig, "1/0 created@1; 2/0 created@1; 1/0 put a=2@2");
    begin_another_store(&rig, &old);
    put_elsewhere(&rig, "a", "3");
    put_elsewhere(&rig, "b", "4");
    put_elsewhere(&rig, "a", "5");
    restore(&rig, &old);
    expect(&rig, "2/0 put b=4@4; 1/0 put a=3(prev)@3, put a=5(prev)@5");
    put(&rig, "a", "6"); /* and go on */
    put(&rig, "b", "7");
    expect(&rig, "1/0 put a=6(prev)@6; 2/0 put b=7@7");
    about_stream(&rig, MSG_WATCH_PROGRESS, 1, 0, 7, 0);
    expect(&rig, "1/-1 progress@7");
    end(&rig);
}

/* Without a new revision nothing has to be read, and nobody falls back. */
static void a_snapshot_of_the_same_revision_changes_nothing(void **state)
{
    (void)state;
    rig_t rig = start();
    kv_t *old = NULL;
    watch(&rig, 1, 0, "a", NULL, 0, 1, 0);
    put(&rig, "a", "2");
    expect(&rig, "1/0 created@1; 1/0 put a=2@2");
    begin_another_store(&rig, &old);
    restore(&rig, &old);
    about_stream(&rig, MSG_WATCH_PROGRESS, 1, 0, 2, 0);
    expect(&rig, "1/-1 progress@2");
    put(&rig, "a", "3");
    expect(&rig, "1/0 put a=3@3");
    end(&rig);
}

/* A slow one keeps its own next revision: it gets what it missed before, and what the snapshot brought. */
static void a_slow_watch_misses_nothing_by_a_snapshot(void **state)
{
    (void)state;
    rig_t rig = start();
    kv_t *old = NULL;
    char value[STREAM_BYTES + 1];
    memset(value, 'v', STREAM_BYTES);
    value[STREAM_BYTES] = '\0';
    watch(&rig, 1, 0, "a", NULL, 0, 1, 0);
    put(&rig, "a", value);
    put(&rig, "a", "3"); /* it has not taken the first one yet */
    expect(&rig, "1/0 created@1; 1/0 put a=vvvvvvvvv@2");
    begin_another_store(&rig, &old);
    put_elsewhere(&rig, "a", "4");
    restore(&rig, &old);
    expect(&rig, "");
    put(&rig, "a", "5");
    about_stream(&rig, MSG_WATCH_CONSUMED, 1, 0, 0, 10 * STREAM_BYTES);
    expect(&rig, "1/0 put a=3@3, put a=4@4, put a=5@5");
    end(&rig);
}

static void a_future_watch_stays_silent_over_a_snapshot(void **state)
{
    (void)state;
    rig_t rig = start();
    kv_t *old = NULL;
    watch(&rig, 1, 0, "a", NULL, 4, 1, 0); /* reached by the snapshot */
    watch(&rig, 2, 0, "a", NULL, 7, 1, 0); /* and not */
    expect(&rig, "1/0 created@1; 2/0 created@1");
    begin_another_store(&rig, &old);
    for (int i = 2; i <= 5; i++) {
        put_elsewhere(&rig, "a", "x");
    }
    restore(&rig, &old);
    expect(&rig, "1/0 put a=x@4, put a=x@5");
    put(&rig, "a", "6");
    put(&rig, "a", "7");
    expect(&rig, "1/0 put a=6@6; 1/0 put a=7@7; 2/0 put a=7@7");
    end(&rig);
}

/* What cannot be shown any more is not skipped: the client is told. */
static void a_snapshot_compacted_beyond_a_watch_cancels_it(void **state)
{
    (void)state;
    rig_t rig = start();
    kv_t *old = NULL;
    watch(&rig, 1, 0, "a", NULL, 0, 1, 0);
    put(&rig, "a", "2");
    put(&rig, "a", "3");
    watch(&rig, 2, 0, "b", NULL, 0, 3, 0);
    expect(&rig, "1/0 created@1; 1/0 put a=2@2; 1/0 put a=3@3; 2/0 created@3");
    begin_another_store(&rig, &old);
    put_elsewhere(&rig, "a", "4");
    put_elsewhere(&rig, "a", "5");
    mvcc_entry_begin(rig.mvcc, ++rig.index, 1);
    assert_int_equal(mvcc_compact(rig.mvcc, 5), 0);
    mvcc_entry_end(rig.mvcc);
    assert_int_equal(mvcc_commit(rig.mvcc), 0);
    restore(&rig, &old);
    expect(&rig, "2/0 compacted@5; 1/0 compacted@5");
    put(&rig, "a", "6");
    expect(&rig, "");
    end(&rig);
}

/* Compacted up to the very next revision of a watch: that one can still be read. */
static void a_snapshot_compacted_up_to_a_watch_does_not(void **state)
{
    (void)state;
    rig_t rig = start();
    kv_t *old = NULL;
    watch(&rig, 1, 0, "a", NULL, 0, 1, 0);
    put(&rig, "a", "2");
    expect(&rig, "1/0 created@1; 1/0 put a=2@2");
    begin_another_store(&rig, &old);
    put_elsewhere(&rig, "a", "3");
    put_elsewhere(&rig, "a", "4");
    mvcc_entry_begin(rig.mvcc, ++rig.index, 1);
    assert_int_equal(mvcc_compact(rig.mvcc, 3), 0);
    mvcc_entry_end(rig.mvcc);
    assert_int_equal(mvcc_commit(rig.mvcc), 0);
    size_t removed = 0;
    while (mvcc_compact_pending(rig.mvcc)) {
        assert_true(mvcc_compact_step(rig.mvcc, 10, &removed) >= 0);
    }
    restore(&rig, &old);
    expect(&rig, "1/0 put a=3@3, put a=4@4");
    end(&rig);
}

/* The gateway may know of the snapshot first: its requests wait for it here, as for any other revision. */
static void requests_ahead_of_a_snapshot_wait_for_it(void **state)
{
    (void)state;
    rig_t rig = start();
    kv_t *old = NULL;
    put(&rig, "a", "2");
    begin_another_store(&rig, &old);
    put_elsewhere(&rig, "a", "3");
    put_elsewhere(&rig, "a", "4");
    watch(&rig, 1, 0, "a", NULL, 0, 4, 0);
    watch(&rig, 1, 1, "a", NULL, 3, 4, 0);
    expect(&rig, "");
    restore(&rig, &old);
    expect(&rig, "1/0 created@4; 1/1 created@4; 1/1 put a=3@3, put a=4@4");
    put(&rig, "a", "5");
    expect(&rig, "1/0 put a=5@5; 1/1 put a=5@5");
    end(&rig);
}

/* Two streams may fill 20,000 bytes each; three have a smaller share of the 40,000 in all. */
static void many_slow_streams_share_one_budget(void **state)
{
    (void)state;
    rig_t rig = start();
    char value[16500];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    watch(&rig, 1, 0, "a", NULL, 0, 1, 0);
    watch(&rig, 2, 0, "a", NULL, 0, 1, 0);
    put(&rig, "a", value);
    put(&rig, "a", "3"); /* 16,500 unsent each: both still take it */
    watch(&rig, 3, 0, "b", NULL, 0, 3, 0);
    put(&rig, "a", "4"); /* now a share is 16,384: nobody takes it */
    expect(&rig, "1/0 created@1; 2/0 created@1; 1/0 put a=vvvvvvvvv@2; 2/0 put a=vvvvvvvvv@2; "
                 "1/0 put a=3@3; 2/0 put a=3@3; 3/0 created@3");
    about_stream(&rig, MSG_WATCH_CLOSE, 3, 0, 0, 0);
    about_stream(&rig, MSG_WATCH_CONSUMED, 1, 0, 0, 20 * STREAM_BYTES);
    expect(&rig, "1/0 put a=4@4");
    end(&rig);
}

/* As etcd counts: one for each watcher that gets it. */
static void events_are_counted_and_pending_until_they_are_consumed(void **state)
{
    (void)state;
    metrics = (metrics_t){0};
    rig_t rig = start();
    put(&rig, "a", "1");
    assert_int_equal(metrics_get(&metrics, METRIC_EVENTS), 0);
    watch(&rig, 1, 1, "a", NULL, 0, 2, 0);
    watch(&rig, 2, 1, "a", NULL, 0, 2, 0);
    watch(&rig, 2, 2, "a", NULL, 1, 2, 0); /* one event from the past */
    put(&rig, "a", "2");
    put(&rig, "b", "2");
    assert_int_equal(metrics_get(&metrics, METRIC_EVENTS), 4);
    assert_int_equal(metrics_get(&metrics, METRIC_EVENTS_PENDING), 4);
    about_stream(&rig, MSG_WATCH_CONSUMED, 2, -1, 0, 1); /* one byte: the events are still there */
    assert_int_equal(metrics_get(&metrics, METRIC_EVENTS_PENDING), 4);
    about_stream(&rig, MSG_WATCH_CONSUMED, 2, -1, 0, 1000000);
    assert_int_equal(metrics_get(&metrics, METRIC_EVENTS_PENDING), 1);
    about_stream(&rig, MSG_WATCH_CONSUMED, 2, -1, 0, 1);
    about_stream(&rig, MSG_WATCH_CLOSE, 1, -1, 0, 0);
    assert_int_equal(metrics_get(&metrics, METRIC_EVENTS_PENDING), 0);
    assert_int_equal(metrics_get(&metrics, METRIC_EVENTS), 4);
    end(&rig);
}

static void cancel_answers_known_watchers_only(void **state)
{
    (void)state;
    rig_t rig = start();
    watch(&rig, 1, 0, "a", NULL, 0, 1, 0);
    about_stream(&rig, MSG_WATCH_CANCEL, 1, 7, 0, 0);
    about_stream(&rig, MSG_WATCH_CANCEL, 1, 0, 0, 0);
    put(&rig, "a", "1");
    expect(&rig, "1/0 created@1; 1/0 canceled@1");
    end(&rig);
}

/* What was acknowledged before the client cancelled is delivered first, and the answer says so. */
static void a_cancel_waits_for_what_the_gateway_has_seen(void **state)
{
    (void)state;
    rig_t rig = start();
    watch(&rig, 1, 0, "a", NULL, 0, 1, 0);
    expect(&rig, "1/0 created@1");
    msg_t *late = put_untold(&rig, "a", "0");
    about_stream(&rig, MSG_WATCH_CANCEL, 1, 0, 2, 0);
    expect(&rig, "");
    tell(&rig, &late);
    expect(&rig, "1/0 put a=0@2; 1/0 canceled@2");
    end(&rig);
}

static void a_closed_stream_gets_nothing(void **state)
{
    (void)state;
    rig_t rig = start();
    watch(&rig, 1, 0, "a", NULL, 0, 1, 0);
    watch(&rig, 1, 1, "a", "c", 0, 1, 0);
    expect(&rig, "1/0 created@1; 1/1 created@1");
    about_stream(&rig, MSG_WATCH_CLOSE, 1, 0, 0, 0);
    put(&rig, "a", "1");
    expect(&rig, "");
    end(&rig);
}

static void progress_comes_by_itself_when_nothing_else_did(void **state)
{
    (void)state;
    rig_t rig = start();
    watch(&rig, 1, 0, "a", NULL, 0, 1, WATCH_NOTIFY);
    expect(&rig, "1/0 created@1");
    for (int tick = 0; tick < 2; tick++) {
        rig.core.now_us += 1000001;
        core_test_flush(&rig.core);
    }
    expect(&rig, "1/0 progress@1");
    put(&rig, "a", "1");
    expect(&rig, "1/0 put a=1@2");
    rig.core.now_us += 1000001;
    core_test_flush(&rig.core);
    expect(&rig, ""); /* the event was sign of life enough */
    end(&rig);
}

/* ---- the index against a plain list ---- */

enum { GROUPS = 300, KEYS = 40 };

static void count_match(void *context, watch_group_t *group)
{
    bool *hit = context;
    size_t at = (size_t)group->flags;
    assert_false(hit[at]); /* each group once */
    hit[at] = true;
}

static void the_index_finds_exactly_the_matching_intervals(void **state)
{
    (void)state;
    watch_index_t index = {0};
    watch_group_t *groups[GROUPS];
    uint64_t random = 7;
    for (unsigned i = 0; i < GROUPS; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        char key[8];
        char end[8];
        snprintf(key, sizeof key, "k%02u", (unsigned)(random >> 40) % KEYS);
        snprintf(end, sizeof end, "k%02u", (unsigned)(random >> 50) % KEYS);
        unsigned shape = (unsigned)(random >> 34) % 4;
        bytes_t *key_bytes = bytes_new(key, 3);
        bytes_t *end_bytes = shape == 0 ? NULL : shape == 1 ? bytes_new("", 1) : bytes_new(end, 3);
        groups[i] = watch_index_group(&index, key_bytes, end_bytes, i);
        assert_ptr_equal(watch_index_group(&index, key_bytes, end_bytes, i), groups[i]);
        bytes_unref(&key_bytes);
        bytes_unref(&end_bytes);
    }
    for (unsigned dropped = 0; dropped < GROUPS; dropped++) {
        for (unsigned k = 0; k < KEYS; k++) {
            char key[8];
            snprintf(key, sizeof key, "k%02u", k);
            bool hit[GROUPS] = {false};
            watch_index_match(&index, slice_str(key), count_match, hit);
            for (unsigned i = dropped; i < GROUPS; i++) {
                bool wanted = watch_interval_holds(
                    bytes_slice(groups[i]->key), bytes_slice(groups[i]->range_end), slice_str(key));
                assert_int_equal(hit[i], wanted);
            }
        }
        watch_index_drop(&index, groups[dropped]);
    }
    assert_int_equal(index.all.count, 0);
    watch_index_deinit(&index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_watch_from_now_sees_what_comes_after),
        cmocka_unit_test(events_for_nobody_are_called_off),
        cmocka_unit_test(events_for_somebody_are_not),
        cmocka_unit_test(who_watches_again_goes_on_from_the_position),
        cmocka_unit_test(events_on_their_way_tell_nothing),
        cmocka_unit_test(who_leaves_late_wakes_nobody),
        cmocka_unit_test(a_new_store_does_not_wake_them),
        cmocka_unit_test(a_watch_from_now_begins_behind_the_revision_it_is_told),
        cmocka_unit_test(an_acknowledged_put_is_never_delivered_by_a_watch_from_now),
        cmocka_unit_test(a_watch_from_the_past_is_caught_up_and_then_goes_on),
        cmocka_unit_test(gateways_may_use_the_same_ids),
        cmocka_unit_test(a_slow_gateway_does_not_hold_up_the_other),
        cmocka_unit_test(filters_and_open_ends_hold),
        cmocka_unit_test(a_future_watch_is_silent_until_its_revision),
        cmocka_unit_test(a_start_below_compaction_is_cancelled_after_created),
        cmocka_unit_test(a_slow_stream_falls_back_and_misses_nothing),
        cmocka_unit_test(open_watches_survive_a_snapshot),
        cmocka_unit_test(a_snapshot_of_the_same_revision_changes_nothing),
        cmocka_unit_test(a_slow_watch_misses_nothing_by_a_snapshot),
        cmocka_unit_test(a_future_watch_stays_silent_over_a_snapshot),
        cmocka_unit_test(a_snapshot_compacted_beyond_a_watch_cancels_it),
        cmocka_unit_test(a_snapshot_compacted_up_to_a_watch_does_not),
        cmocka_unit_test(requests_ahead_of_a_snapshot_wait_for_it),
        cmocka_unit_test(many_slow_streams_share_one_budget),
        cmocka_unit_test(events_are_counted_and_pending_until_they_are_consumed),
        cmocka_unit_test(cancel_answers_known_watchers_only),
        cmocka_unit_test(a_cancel_waits_for_what_the_gateway_has_seen),
        cmocka_unit_test(a_closed_stream_gets_nothing),
        cmocka_unit_test(progress_comes_by_itself_when_nothing_else_did),
        cmocka_unit_test(the_index_finds_exactly_the_matching_intervals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
