/* The thread shell: messages by reference between real threads, in order per edge, within credits;
 * an orderly stop; nothing leaks (the sanitizer builds run this too). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "actors/runtime/shell.h"
#include "messages/xalloc.h"

enum { QUESTIONS = 20000 };

/* Asks as long as the edge has room; checks that answers come in order. */
typedef struct {
    uint64_t asked, answered;
    bool out_of_order;
    _Atomic bool done;
} asker_t;

static void asker_step(void *context, const step_in_t *in, outbox_t *out)
{
    asker_t *self = context;
    if (!in->msg) {
        while (self->asked < QUESTIONS && outbox_room(out, ACTOR_REPLICATOR)) {
            msg_t *msg = msg_new(MSG_READ);
            msg->u.read.read_id = ++self->asked;
            outbox_put(out, ACTOR_REPLICATOR, &msg);
        }
        return;
    }
    if (in->msg->kind == MSG_STOP) {
        outbox_stopped(out);
        return;
    }
    self->out_of_order |= in->msg->u.read.read_id != ++self->answered;
    if (self->answered == QUESTIONS) {
        atomic_store(&self->done, true);
    }
}

static void answerer_step(void *context, const step_in_t *in, outbox_t *out)
{
    (void)context;
    if (in->msg && in->msg->kind == MSG_READ) {
        msg_t *msg = msg_new(MSG_READ_AT);
        msg->u.read.read_id = in->msg->u.read.read_id;
        outbox_put(out, in->msg->from, &msg);
    } else if (in->msg && in->msg->kind == MSG_STOP) {
        outbox_stopped(out);
    }
}

static uint64_t never(const void *context)
{
    (void)context;
    return DEADLINE_NONE;
}

static void keep(void **self_p)
{
    *self_p = NULL; /* the test looks at it afterwards */
}

static void no_log(void *context, log_level_t level, actor_id_t actor, const char *text,
                   const char *fields)
{
    (void)context;
    (void)level;
    (void)actor;
    (void)text;
    (void)fields;
}

static const core_ops_t asker_ops = {.step = asker_step, .deadline = never, .destroy = keep};
static const core_ops_t answerer_ops = {.step = answerer_step, .deadline = never, .destroy = keep};

static runtime_t *start(actor_id_t id, const core_ops_t *ops, void *core)
{
    runtime_cfg_t cfg = {.id = id, .ops = ops, .core = core, .log = no_log};
    return runtime_new(&cfg);
}

/* What the actor was sent last, and STOP at the end. */
static void check_trace(const runtime_t *runtime, actor_id_t from, msg_kind_t kind)
{
    trace_entry_t entries[LIMIT_TRACE_ENTRIES];
    assert_int_equal(trace_read(runtime_trace(runtime), entries), LIMIT_TRACE_ENTRIES);
    for (size_t i = 0; i + 1 < LIMIT_TRACE_ENTRIES; i++) {
        assert_int_equal(entries[i].from, from);
        assert_int_equal(entries[i].kind, kind);
        assert_true(entries[i].at_us > 0 && entries[i].at_us <= entries[i + 1].at_us);
    }
    assert_int_equal(entries[LIMIT_TRACE_ENTRIES - 1].kind, MSG_STOP);
}

static void questions_are_answered_in_order_between_threads(void **state)
{
    (void)state;
    asker_t asker = {0};
    int answerer = 0;
    runtime_t *gateway = start(ACTOR_GRPC_GATEWAY, &asker_ops, &asker);
    runtime_t *replicator = start(ACTOR_REPLICATOR, &answerer_ops, &answerer);
    runtime_connect(gateway);
    runtime_connect(replicator);
    runtime_start(replicator);
    runtime_start(gateway);
    for (int tries = 0; tries < 10000 && !atomic_load(&asker.done); tries++) {
        zclock_sleep(1); /* main has no mailbox to wait on; the bound is ten seconds */
    }
    runtime_stop(gateway);
    runtime_stop(replicator);
    runtime_join(gateway);
    runtime_join(replicator);
    runtime_stats_t stats = runtime_stats(replicator);
    assert_true(stats.messages >= QUESTIONS);
    check_trace(replicator, ACTOR_GRPC_GATEWAY, MSG_READ);
    check_trace(gateway, ACTOR_REPLICATOR, MSG_READ_AT);
    runtime_destroy(&gateway);
    runtime_destroy(&replicator);
    assert_int_equal(asker.answered, QUESTIONS);
    assert_false(asker.out_of_order);
}

/* Says that it has stopped only at the end of the burst, as cores with something in flight do. */
static void self_stop(const step_in_t *in, outbox_t *out)
{
    static bool asked; /* one actor in this program */
    asked |= in->msg && in->msg->kind == MSG_STOP;
    if (!in->msg && asked) {
        outbox_stopped(out);
    }
}

/* Other actors than above: ZeroMQ gives inproc addresses back in its own time. */
static void flusher_step(void *context, const step_in_t *in, outbox_t *out)
{
    unsigned *sent = context;
    while (*sent < 100) {
        msg_t *msg = msg_new(MSG_FLUSHED);
        msg->u.applied.index = ++*sent;
        outbox_put(out, ACTOR_WAL_WRITER, &msg);
    }
    self_stop(in, out);
}

static const core_ops_t flusher_ops = {.step = flusher_step, .deadline = never, .destroy = keep};

static void what_was_never_received_is_freed(void **state)
{
    (void)state;
    unsigned sent = 0;
    runtime_t *keeper = start(ACTOR_KEEPER, &flusher_ops, &sent);
    runtime_t *wal_writer = start(ACTOR_WAL_WRITER, &answerer_ops, &sent);
    runtime_connect(keeper);
    runtime_connect(wal_writer);
    runtime_start(keeper); /* the other one never starts */
    runtime_stop(keeper);
    runtime_join(keeper);
    runtime_destroy(&keeper);
    runtime_destroy(&wal_writer);
    assert_int_equal(sent, 100);
}

static void a_trace_keeps_the_last_messages(void **state)
{
    (void)state;
    trace_t trace = {0};
    trace_entry_t entries[LIMIT_TRACE_ENTRIES];
    assert_int_equal(trace_read(&trace, entries), 0);
    const uint64_t years_us = (uint64_t)5 * 365 * 24 * 3600 * 1000000;
    for (uint64_t i = 1; i <= 3 * LIMIT_TRACE_ENTRIES; i++) {
        msg_t msg = {.kind = (msg_kind_t)(MSG_KINDS_COUNT - 1 - i % 2),
                     .from = (actor_id_t)(PORT_END - 1 - i % 3)};
        trace_note(&trace, years_us + i, &msg);
        size_t there = trace_read(&trace, entries);
        assert_int_equal(there, i < LIMIT_TRACE_ENTRIES ? i : LIMIT_TRACE_ENTRIES);
        for (uint64_t at = 0; at < there; at++) {
            uint64_t number = i - there + 1 + at;
            assert_true(entries[at].at_us == years_us + number);
            assert_int_equal(entries[at].kind, MSG_KINDS_COUNT - 1 - number % 2);
            assert_int_equal(entries[at].from, PORT_END - 1 - number % 3);
        }
    }
}

int main(void)
{
    zsys_handler_set(NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(questions_are_answered_in_order_between_threads),
        cmocka_unit_test(what_was_never_received_is_freed),
        cmocka_unit_test(a_trace_keeps_the_last_messages),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    zsys_shutdown();
    return failed;
}
