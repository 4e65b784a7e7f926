/* The actor: what waits, spans, and who hears of them.
 *
 * Invariants:
 * 1. Entries are applied in index order, each once; applied index + 1 is always the next.
 * 2. Nobody hears of a span before its batch is written.
 * 3. A span is applied only when watch and lease have room for it; what holds the applier are only
 *    actors that always consume, so holding ends. */
#include "actors/applier/applier.h"

#include <assert.h>
#include <stdlib.h>

#include "actors/applier/applier_state.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

enum {
    SIZE_INTERVAL_US = 1000000, /* asking the store for its size costs some microseconds */
    FLUSH_INTERVAL_US = 1000000
};

applier_t *applier_new(const applier_cfg_t *cfg, metrics_t *metrics, char **error_p)
{
    assert(cfg->origins[0] != 0);
    assert(cfg->compaction_rows > 0);
    assert(cfg->flush_entries > 0);
    applier_t *self = xcalloc(1, sizeof *self);
    self->cfg = *cfg;
    self->cfg.configuration = NULL;
    self->cfg.store = shared_ref(cfg->store);
    self->configuration = bytes_ref(cfg->configuration);
    self->metrics = metrics;
    self->kv = shared_object(cfg->store);
    if (mvcc_new(&self->mvcc, self->kv, error_p)) {
        void *core = self;
        applier_ops.destroy(&core);
        return NULL;
    }
    self->flush_asked = mvcc_current(self->mvcc)->applied_index;
    self->reported = self->flush_asked;
    self->watching.is_wanted = true; /* until watch says that nobody does */
    self->work_left = true; /* there may be nothing to replay: then RESTORED is due at once */
    return self;
}

static void free_burst(burst_t *burst)
{
    entries_deinit(&burst->entries);
    if (burst->install) {
        bytes_unref(&burst->install->configuration);
        shared_unref(&burst->install->store);
        free(burst->install);
        burst->install = NULL;
    }
}

static void free_results(results_t *self)
{
    for (size_t i = 0; i < self->count; i++) {
        bytes_unref(&self->items[i].body);
    }
    free(self->items);
}

static void applier_destroy(void **self_p)
{
    applier_t *self = *self_p;
    *self_p = NULL;
    if (!self) {
        return;
    }
    for (size_t i = self->burst_first; i < self->burst_count; i++) {
        free_burst(&self->bursts[i]);
    }
    free(self->bursts);
    for (unsigned i = 0; i < GATEWAY_COUNT; i++) {
        free_results(&self->results[i]);
    }
    free(self->lease_changes);
    for (size_t i = 0; i < self->held_count; i++) {
        bytes_unref(&self->held[i].result.body);
    }
    free(self->held);
    buf_deinit(&self->answer.body);
    bytes_unref(&self->configuration);
    bytes_unref(&self->published);
    restore_deinit(&self->restore);
    mvcc_destroy(&self->mvcc);
    shared_unref(&self->cfg.store);
    free(self);
}

uint64_t applier_applied_index(const applier_t *self)
{
    return mvcc_current(self->mvcc)->applied_index;
}

void applier_fail(applier_t *self, outbox_t *out, int rc)
{
    const char *why = kv_error(self->kv);
    self->failed = true;
    outbox_fatal(out, "the store failed (%d): %s", rc, why ? why : "its records are malformed");
}

/* ---- what waits ---- */

static void add_burst(applier_t *self, burst_t burst)
{
    self->bursts =
        xgrow(self->bursts, &self->burst_capacity, self->burst_count + 1, sizeof *self->bursts);
    self->bursts[self->burst_count++] = burst;
}

static void on_committed(applier_t *self, msg_committed_t *committed)
{
    if (committed->commit > self->commit) {
        self->commit = committed->commit;
    }
    if (committed->entries.count == 0) {
        return;
    }
    add_burst(self, (burst_t){.entries = committed->entries});
    committed->entries = (entries_t){0};
}

static void on_snap_install(applier_t *self, msg_snap_t *snap)
{
    if (snap->index > self->commit) {
        self->commit = snap->index;
    }
    add_burst(self, (burst_t){.install = xmemdup(snap, sizeof *snap)});
    snap->configuration = NULL;
    snap->store = NULL;
}

static burst_t *next_burst(const applier_t *self)
{
    return self->burst_first < self->burst_count ? &self->bursts[self->burst_first] : NULL;
}

static const entry_t *next_entry(const applier_t *self)
{
    const burst_t *burst = next_burst(self);
    return burst && !burst->install ? &burst->entries.items[self->entry_next] : NULL;
}

static msg_snap_t *next_install(const applier_t *self)
{
    const burst_t *burst = next_burst(self);
    return burst ? burst->install : NULL;
}

static void drop_burst(applier_t *self)
{
    free_burst(&self->bursts[self->burst_first]);
    self->entry_next = 0;
    if (++self->burst_first == self->burst_count) {
        self->burst_first = 0;
        self->burst_count = 0;
    }
}

static void drop_entry(applier_t *self)
{
    if (++self->entry_next == self->bursts[self->burst_first].entries.count) {
        drop_burst(self);
    }
}

/* ---- who hears of a span ---- */

/* What a span has changed, taken before its batch is written. */
typedef struct {
    mvcc_change_t *items;
    size_t count;
} changes_t;

static void changes_deinit(changes_t *self)
{
    for (size_t i = 0; i < self->count; i++) {
        bytes_unref(&self->items[i].kv);
        bytes_unref(&self->items[i].prev_kv);
    }
    free(self->items);
    *self = (changes_t){0};
}

static void send_events(const applier_t *self, changes_t *changes, outbox_t *out)
{
    const mvcc_head_t *head = mvcc_current(self->mvcc);
    size_t count = changes->count;
    msg_t *msg = msg_new(MSG_EVENTS);
    msg->u.events.items = count ? xmalloc(count * sizeof(event_t)) : NULL;
    for (size_t i = 0; i < count; i++) {
        mvcc_change_t *change = &changes->items[i];
        const uint8_t *kv = bytes_slice(change->kv).data;
        msg->u.events.items[i] = (event_t){
            .is_delete = change->is_delete,
            .revision = change->revision,
            .sub = change->sub,
            .key = slice(kv + change->key_offset, change->key_len),
            .kv = bytes_take(&change->kv),
            .prev_kv = bytes_take(&change->prev_kv),
        };
    }
    msg->u.events.count = count;
    msg->u.events.revision = head->revision;
    msg->u.events.compacted = head->compacted;
    msg->u.events.asked = self->watching.number;
    outbox_put(out, ACTOR_WATCH, &msg);
}

/* Somebody watches again: the events that follow go on from this position. */
static void send_watch_position(applier_t *self, outbox_t *out)
{
    if (self->watch_due && outbox_room(out, ACTOR_WATCH)) {
        self->watch_due = false;
        send_events(self, &(changes_t){0}, out);
    }
}

static void on_watching(applier_t *self, const msg_interest_t *watching)
{
    self->watching = *watching;
    self->watch_due = watching->is_wanted;
}

static void send_lease_changes(applier_t *self, outbox_t *out)
{
    if (self->lease_change_count == 0) {
        return;
    }
    msg_t *msg = msg_new(MSG_LEASE_APPLIED);
    msg->u.lease_applied = (msg_lease_applied_t){
        .index = mvcc_current(self->mvcc)->applied_index,
        .items = self->lease_changes,
        .count = self->lease_change_count,
    };
    self->lease_changes = NULL;
    self->lease_change_count = 0;
    self->lease_change_capacity = 0;
    outbox_put(out, ACTOR_LEASE, &msg);
}

static void send_applied(const applier_t *self, actor_id_t to, outbox_t *out)
{
    const mvcc_head_t *head = mvcc_current(self->mvcc);
    msg_t *msg = msg_new(MSG_APPLIED);
    msg->u.applied = (msg_applied_t){
        .index = head->applied_index,
        .term = head->term,
        .revision = head->revision,
        .commit = self->commit,
        .members_index = self->members_index,
    };
    outbox_put(out, to, &msg);
}

/* It refuses proposals and forgets entries by what it knows to be applied; knowing less than there is errs on
 * the side of refusing and keeping. */
static void report(applier_t *self, outbox_t *out)
{
    enum { PARTS = 8 }; /* of what it keeps */
    uint64_t applied = mvcc_current(self->mvcc)->applied_index;
    uint64_t entries = 1 + self->cfg.catchup_entries / PARTS;
    entries = entries < LIMIT_REPORT_ENTRIES ? entries : LIMIT_REPORT_ENTRIES;
    if (applied - self->reported >= entries || self->unreported_bytes >= LIMIT_REPORT_BYTES) {
        self->reported = applied;
        self->unreported_bytes = 0;
        send_applied(self, ACTOR_REPLICATOR, out);
    }
}

/* A gateway knows how far the store is before its clients have their results. */
static void tell_gateways(applier_t *self, outbox_t *out)
{
    for (unsigned i = 0; i < GATEWAY_COUNT; i++) {
        if (gateway_at(i) != ACTOR_ZMQ_GATEWAY || self->is_attended) {
            send_applied(self, gateway_at(i), out);
        }
        results_send(&self->results[i], i, out);
    }
    self->result_bytes = 0;
}

static void on_attend(applier_t *self, const msg_attend_t *attend, outbox_t *out)
{
    self->is_attended = attend->wanted;
    if (self->is_attended && self->restore.phase == RESTORE_SERVING) {
        send_applied(self, ACTOR_ZMQ_GATEWAY, out); /* otherwise RESTORED tells */
    }
}

/* Lease waits for a position only when it has a question to answer. */
static void send_lease_position(applier_t *self, outbox_t *out)
{
    bool is_reached =
        self->lease_awaits > 0 && self->lease_awaits <= mvcc_current(self->mvcc)->applied_index;
    if (is_reached && outbox_room(out, ACTOR_LEASE)) {
        self->lease_awaits = 0;
        send_applied(self, ACTOR_LEASE, out);
    }
}

/* A flush lets the WAL forget segments; it is not needed for a fast start. So under load, when
 * flush_entries pass many times a second, it waits: each one makes a small table for LevelDB to merge. */
static void ask_for_flush(applier_t *self, uint64_t now_us, outbox_t *out)
{
    uint64_t applied = mvcc_current(self->mvcc)->applied_index;
    if (applied - self->flush_asked < self->cfg.flush_entries || now_us < self->next_flush_us ||
        !outbox_room(out, ACTOR_KEEPER)) {
        return;
    }
    self->flush_asked = applied;
    self->next_flush_us = now_us + FLUSH_INTERVAL_US;
    msg_t *msg = msg_new(MSG_FLUSH);
    msg->u.applied.index = applied; /* read before the flush is asked for: that is its promise */
    outbox_put(out, ACTOR_KEEPER, &msg);
}

static void update_metrics(applier_t *self, uint64_t now_us)
{
    const mvcc_head_t *head = mvcc_current(self->mvcc);
    metrics_set(self->metrics, METRIC_PROPOSALS_APPLIED, head->applied_index);
    metrics_set(self->metrics, METRIC_REVISION, (uint64_t)head->revision);
    metrics_set(self->metrics, METRIC_COMPACT_REVISION,
                head->compacted < 0 ? 0 : (uint64_t)head->compacted);
    metrics_set(self->metrics, METRIC_KEYS, mvcc_keys(self->mvcc));
    if (now_us >= self->next_size_us) {
        self->next_size_us = now_us + SIZE_INTERVAL_US;
        uint64_t bytes = kv_size_bytes(self->kv);
        metrics_set(self->metrics, METRIC_DB_SIZE, bytes);
        metrics_set(self->metrics, METRIC_DB_SIZE_IN_USE, bytes);
    }
}

static void tell(applier_t *self, changes_t *changes, uint64_t now_us, outbox_t *out)
{
    if (self->restore.phase == RESTORE_SERVING) {
        /* In this order: once a client has its result, its gateway knows how far the store is, and
         * asks lease and watch accordingly, who answer when they are that far themselves. The
         * gateway is first, since a client waits for it: waking the others takes time, too. */
        tell_gateways(self, out);
        if (self->watching.is_wanted) {
            send_events(self, changes, out);
        }
        send_lease_changes(self, out);
        send_lease_position(self, out);
        members_tell(self, out);
        ask_for_flush(self, now_us, out);
    } else {
        self->lease_change_count = 0; /* lease gets all there are when the replay is over */
        assert(self->result_bytes == 0);
    }
    report(self, out);
}

/* ---- spans ---- */

static bool has_room(const applier_t *self, const outbox_t *out)
{
    if (self->restore.phase != RESTORE_SERVING) {
        return true;
    }
    return outbox_room(out, ACTOR_WATCH) && outbox_room(out, ACTOR_LEASE) &&
           !compaction_is_crowded(self);
}

/* A replay ends exactly at the index from which on the node serves. */
static bool span_is_full(const applier_t *self, size_t entries)
{
    return entries >= LIMIT_SPAN_ENTRIES ||
           mvcc_span_bytes(self->mvcc) + self->result_bytes >= LIMIT_SPAN_BYTES ||
           (self->restore.phase == RESTORE_REPLAY &&
            mvcc_current(self->mvcc)->applied_index >= self->cfg.start_commit);
}

static void apply_span(applier_t *self, uint64_t now_us, outbox_t *out)
{
    const entry_t *entry = NULL;
    self->clock_us = metrics_clock_us(self->metrics, now_us);
    for (size_t count = 0; !span_is_full(self, count) && (entry = next_entry(self)); count++) {
        assert(entry->index == mvcc_current(self->mvcc)->applied_index + 1);
        if (!apply_entry(self, entry, out)) {
            return;
        }
        self->unreported_bytes += bytes_len(entry->payload);
        drop_entry(self);
    }
    changes_t changes = {0};
    changes.items = mvcc_changes_take(self->mvcc, &changes.count);
    int rc = mvcc_commit(self->mvcc);
    if (rc) {
        applier_fail(self, out, rc);
    } else {
        tell(self, &changes, now_us, out);
        update_metrics(self, now_us);
    }
    changes_deinit(&changes);
}

static void apply_install(applier_t *self, uint64_t now_us, outbox_t *out)
{
    install_snapshot(self, next_install(self), out);
    drop_burst(self);
    if (!self->failed) {
        self->next_size_us = 0;
        update_metrics(self, now_us);
    }
}

/* One span per step: its answers leave before the next is applied. */
static void pump(applier_t *self, uint64_t now_us, outbox_t *out)
{
    bool ready = restore_step(self, out);
    if (self->restore.phase == RESTORE_SERVING) {
        send_watch_position(self, out);
        send_lease_position(self, out);
    }
    bool has_install = ready && next_install(self);
    bool has_span = ready && next_entry(self) && has_room(self, out);
    if (has_install) {
        apply_install(self, now_us, out);
    } else if (has_span) {
        apply_span(self, now_us, out);
    }
    if (has_install || has_span) {
        ready = !self->failed && restore_step(self, out);
    }
    if (!self->failed) {
        compaction_step(self, now_us, out);
    }
    self->work_left =
        ready && !self->failed && (next_install(self) || (next_entry(self) && has_room(self, out)));
}

/* ---- the core ---- */

static void applier_step(void *context, const step_in_t *in, outbox_t *out)
{
    applier_t *self = context;
    if (self->failed) {
        return;
    }
    if (!in->msg) {
        pump(self, in->now_us, out);
        return;
    }
    switch (in->msg->kind) {
    case MSG_COMMITTED: on_committed(self, &in->msg->u.committed); break;
    case MSG_SNAP_INSTALL: on_snap_install(self, &in->msg->u.snap); break;
    case MSG_ATTEND: on_attend(self, &in->msg->u.attend, out); break;
    case MSG_AWAIT: self->lease_awaits = in->msg->u.await.index; break;
    case MSG_INTEREST: on_watching(self, &in->msg->u.interest); break;
    case MSG_CREDIT: break; /* booked by the runner; the end of the burst goes on */
    case MSG_STOP:
        /* What is committed and not applied is applied at the next start. */
        outbox_stopped(out);
        break;
    default: assert(false && "a message that the wiring table does not send to the applier");
    }
}

static uint64_t applier_deadline(const void *context)
{
    const applier_t *self = context;
    if (self->failed) {
        return DEADLINE_NONE;
    }
    if (self->work_left) {
        return 0;
    }
    return mvcc_compact_pending(self->mvcc) ? self->next_compaction_us : DEADLINE_NONE;
}

const core_ops_t applier_ops = {
    .step = applier_step,
    .deadline = applier_deadline,
    .destroy = applier_destroy,
};
