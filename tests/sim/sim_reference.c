/* What is committed, and what it means. Each entry that any member's replicator hands to its applier is
 * compared with what others were handed at that index; the first time it is applied here, alone in its
 * span, by an applier of the checker's own. What that applier says is what all members must say. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/applier/applier.h"
#include "etcd/kv.pb-c.h"
#include "messages/crc32c.h"
#include "messages/xalloc.h"
#include "store/mvcc_read.h"
#include "tests/sim/sim.h"
#include "tests/support/core_test.h"

typedef struct {
    uint64_t term;
    entry_type_t type;
    uint32_t crc;
    int64_t revision; /* of the store behind it */
} committed_t;

struct reference {
    sim_t *sim;
    kv_t *kv;
    shared_t *store;
    metrics_t metrics;
    core_test_t applier;
    committed_t *log; /* log[i]: index i + 1 */
    size_t log_count, log_capacity;
    bytes_t *configuration;
    change_t *changes;
    uint32_t *crcs; /* of each change's KeyValue bytes */
    size_t change_count, change_capacity, crc_capacity;
    ref_lease_t *leases;
    size_t lease_count, lease_capacity;
    int64_t revision, compacted;
};

static uint32_t crc_of(slice_t bytes)
{
    return bytes.len ? crc32c(0, bytes.data, bytes.len) : 0;
}

static void close_store(void *kv)
{
    kv_t *store = kv;
    kv_close(&store);
}

reference_t *reference_new(sim_t *sim, const bytes_t *configuration)
{
    reference_t *self = xcalloc(1, sizeof *self);
    self->sim = sim;
    self->kv = kv_memory_new();
    self->store = shared_new(self->kv, close_store);
    self->configuration = bytes_ref(configuration);
    self->revision = 1;
    self->compacted = -1;
    applier_cfg_t cfg = {.store = self->store,
                         .origins = {UINT64_MAX}, /* nobody's: it answers nobody */
                         .flush_entries = UINT64_MAX,
                         .compaction_rows = 1000,
                         .compaction_sleep_us = 1};
    char *error = NULL;
    applier_t *applier = applier_new(&cfg, &self->metrics, &error);
    assert(applier);
    self->applier = core_test_new(ACTOR_APPLIER, &applier_ops, applier);
    return self;
}

void reference_destroy(reference_t **self_p)
{
    reference_t *self = *self_p;
    *self_p = NULL;
    core_test_end(&self->applier);
    shared_unref(&self->store);
    bytes_unref(&self->configuration);
    free(self->log);
    free(self->changes);
    free(self->crcs);
    free(self->leases);
    free(self);
}

/* ---- what the reference's applier says ---- */

uint8_t sim_key_number(slice_t key)
{
    assert(key.len == 2 && key.data[0] == 'k');
    return (uint8_t)(key.data[1] - '0');
}

uint64_t sim_value_number(slice_t value)
{
    uint64_t number = 0;
    for (size_t i = 1; i < value.len; i++) { /* v123 */
        number = number * 10 + (uint64_t)(value.data[i] - '0');
    }
    return number;
}

/* Nothing is bound to a lease that has ended. */
static void check_bound(reference_t *self, const change_t *change)
{
    const ref_lease_t *lease = reference_lease(self, change->lease);
    if (change->lease && (!lease || lease->ended_us)) {
        sim_fail(self->sim, "k%u of revision %" PRId64 " is bound to lease %" PRId64 ", which %s",
                 change->key, change->revision, change->lease,
                 lease ? "has ended" : "nobody has granted");
    }
}

static void note_change(reference_t *self, const event_t *event)
{
    slice_t kv = bytes_slice(event->kv);
    Mvccpb__KeyValue *record = mvccpb__key_value__unpack(NULL, kv.len, kv.data);
    assert(record);
    change_t change = {.revision = event->revision,
                       .is_delete = event->is_delete,
                       .key = sim_key_number(event->key),
                       .value = sim_value_number(slice(record->value.data, record->value.len)),
                       .create_revision = record->create_revision,
                       .version = record->version,
                       .lease = record->lease,
                       .at_us = self->sim->now_us};
    mvccpb__key_value__free_unpacked(record, NULL);
    if (!change.is_delete && change.value && reference_value(self, change.value)) {
        sim_fail(self->sim, "the value v%" PRIu64 " was written twice", change.value);
    }
    self->changes =
        xgrow(self->changes, &self->change_capacity, self->change_count + 1, sizeof *self->changes);
    self->crcs = xgrow(self->crcs, &self->crc_capacity, self->change_count + 1, sizeof *self->crcs);
    self->crcs[self->change_count] = crc_of(kv);
    self->changes[self->change_count++] = change;
    self->sim->counts[COUNT_EVENTS]++;
    if (!change.is_delete) {
        check_bound(self, &change);
    }
}

ref_lease_t *reference_lease(reference_t *self, int64_t id)
{
    for (size_t i = self->lease_count; i-- > 0;) {
        if (self->leases[i].id == id) {
            return &self->leases[i];
        }
    }
    return NULL;
}

static void note_lease(reference_t *self, const lease_change_t *change)
{
    if (change->type == LEASE_GRANTED) {
        self->leases =
            xgrow(self->leases, &self->lease_capacity, self->lease_count + 1, sizeof *self->leases);
        self->leases[self->lease_count++] = (ref_lease_t){
            .id = change->id, .ttl_s = change->ttl_s, .alive_from_us = self->sim->now_us};
        return;
    }
    ref_lease_t *lease = reference_lease(self, change->id);
    if (!lease) {
        return;
    }
    lease->ended_us = self->sim->now_us;
    uint64_t lived_us = self->sim->now_us - lease->alive_from_us;
    uint64_t ttl_us = (uint64_t)lease->ttl_s * 1000000;
    uint64_t drift_us = ttl_us / 500; /* clocks run up to a thousandth fast */
    if (!lease->revoke_asked) {
        self->sim->counts[COUNT_LEASES_EXPIRED]++;
        if (lived_us + drift_us < ttl_us) {
            sim_fail(self->sim, "lease %" PRId64 " of %" PRId64 " s ended after %.3f s", lease->id,
                     lease->ttl_s, (double)lived_us / 1e6);
        }
    }
}

/* Its keys end with it. */
static void check_all_bound(reference_t *self)
{
    for (uint8_t key = 0; key < SIM_KEYS; key++) {
        const change_t *change = reference_at(self, key, self->revision);
        if (change) {
            check_bound(self, change);
        }
    }
}

static void take_all(reference_t *self)
{
    actor_id_t to = ACTOR_NONE;
    msg_t *msg = NULL;
    bool has_leases = false;
    while ((msg = core_test_take(&self->applier, &to))) {
        if (msg->kind == MSG_EVENTS) {
            for (size_t i = 0; i < msg->u.events.count; i++) {
                note_change(self, &msg->u.events.items[i]);
            }
            self->revision = msg->u.events.revision;
            self->compacted = msg->u.events.compacted;
        } else if (msg->kind == MSG_LEASE_APPLIED) {
            for (size_t i = 0; i < msg->u.lease_applied.count; i++) {
                note_lease(self, &msg->u.lease_applied.items[i]);
            }
            has_leases = true;
        }
        msg_free(&msg);
    }
    if (has_leases) {
        check_all_bound(self);
    }
    while (outbox_next_line(self->applier.outbox)) {
    }
}

static void apply(reference_t *self, const entry_t *entry)
{
    msg_t *msg = msg_new(MSG_COMMITTED);
    entries_append(&msg->u.committed.entries, entry);
    msg->u.committed.commit = entry->index;
    core_test_send(&self->applier, ACTOR_REPLICATOR, &msg);
    do {
        self->applier.now_us += 1000000;
        core_test_flush(&self->applier);
        take_all(self);
    } while (applier_applied_index(self->applier.core) < entry->index);
    if (entry->type == ENTRY_CONFIGURATION) {
        bytes_unref(&self->configuration);
        self->configuration = bytes_ref(entry->payload);
        admin_on_configuration(self->sim->admin);
    }
}

/* ---- members against it ---- */

static void check_entry(reference_t *self, const member_t *member, const entry_t *entry)
{
    committed_t found = {
        .term = entry->term, .type = entry->type, .crc = crc_of(bytes_slice(entry->payload))};
    if (entry->index > self->log_count + 1) {
        sim_fail(self->sim, "m%u commits entry %" PRIu64 " before anybody has committed %zu",
                 member->slot, entry->index, self->log_count + 1);
    }
    if (entry->index == self->log_count + 1) {
        self->log = xgrow(self->log, &self->log_capacity, self->log_count + 1, sizeof *self->log);
        self->log[self->log_count++] = found;
        self->sim->counts[COUNT_COMMITTED]++;
        apply(self, entry);
        self->log[self->log_count - 1].revision = self->revision;
        return;
    }
    const committed_t *known = &self->log[entry->index - 1];
    if (known->term != found.term || known->type != found.type || known->crc != found.crc) {
        sim_fail(self->sim,
                 "m%u commits another entry at %" PRIu64 ": term %" PRIu64 ", was %" PRIu64,
                 member->slot, entry->index, found.term, known->term);
    }
}

void reference_committed(reference_t *self, const member_t *member, const entries_t *entries)
{
    for (size_t i = 0; i < entries->count; i++) {
        check_entry(self, member, &entries->items[i]);
    }
}

void reference_events(reference_t *self, member_t *member, const msg_events_t *events)
{
    size_t at = reference_find(self, member->last_event_revision + 1);
    for (size_t i = 0; i < events->count; i++, at++) {
        const event_t *event = &events->items[i];
        const change_t *change = &self->changes[at];
        if (at >= self->change_count || change->revision != event->revision ||
            change->is_delete != event->is_delete ||
            self->crcs[at] != crc_of(bytes_slice(event->kv))) {
            sim_fail(self->sim, "m%u applies something else at revision %" PRId64, member->slot,
                     event->revision);
        }
    }
    if (at < self->change_count && self->changes[at].revision <= events->revision) {
        sim_fail(self->sim, "m%u has applied up to revision %" PRId64 " without change at %" PRId64,
                 member->slot, events->revision, self->changes[at].revision);
    }
    member->last_event_revision = events->revision;
}

/* ---- questions ---- */

int64_t reference_revision(const reference_t *self)
{
    return self->revision;
}

int64_t reference_compacted(const reference_t *self)
{
    return self->compacted;
}

int64_t reference_revision_at(const reference_t *self, uint64_t index)
{
    return index && index <= self->log_count ? self->log[index - 1].revision : 1;
}

uint64_t reference_index(const reference_t *self)
{
    return self->log_count;
}

const bytes_t *reference_configuration(const reference_t *self)
{
    return self->configuration;
}

const change_t *reference_changes(const reference_t *self, size_t *count)
{
    *count = self->change_count;
    return self->changes;
}

size_t reference_find(const reference_t *self, int64_t revision)
{
    size_t low = 0;
    size_t high = self->change_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (self->changes[middle].revision < revision) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

const change_t *reference_at(const reference_t *self, uint8_t key, int64_t revision)
{
    for (size_t i = reference_find(self, revision + 1); i-- > 0;) {
        if (self->changes[i].key == key) {
            return self->changes[i].is_delete ? NULL : &self->changes[i];
        }
    }
    return NULL;
}

const change_t *reference_value(const reference_t *self, uint64_t value)
{
    for (size_t i = self->change_count; i-- > 0;) {
        if (!self->changes[i].is_delete && self->changes[i].value == value) {
            return &self->changes[i];
        }
    }
    return NULL;
}

bool reference_leases_ended(const reference_t *self)
{
    for (size_t i = 0; i < self->lease_count; i++) {
        if (self->leases[i].ended_us == 0) {
            return false;
        }
    }
    return true;
}

/* ---- stores ---- */

typedef struct {
    uint32_t crc;
    size_t rows;
} digest_t;

static int add_record(void *context, slice_t key, const mvcc_record_t *record)
{
    digest_t *digest = context;
    digest->crc = crc32c(digest->crc, key.data, key.len);
    digest->crc = crc32c(digest->crc, record->wire.data, record->wire.len);
    digest->rows++;
    return 0;
}

static int add_lease(void *context, int64_t id, int64_t ttl_s)
{
    digest_t *digest = context;
    int64_t pair[] = {id, ttl_s};
    digest->crc = crc32c(digest->crc, pair, sizeof pair);
    digest->rows++;
    return 0;
}

static digest_t digest_of(const kv_reader_t *reader)
{
    digest_t digest = {0};
    mvcc_interval_t all = {.key = slice_str("k"), .range_end = slice_str("l")};
    kv_value_t members = {0};
    int rc = mvcc_each(reader, &all, add_record, &digest);
    rc = rc ? rc : mvcc_leases(reader, add_lease, &digest);
    assert(rc == 0);
    rc = mvcc_meta_get(reader, "members", &members);
    assert(rc >= 0);
    digest.crc = crc32c(digest.crc, members.data, members.len);
    kv_value_deinit(&members);
    return digest;
}

void reference_check_store(reference_t *self, member_t *member)
{
    const kv_reader_t *theirs = kv_latest(member_kv(member));
    const kv_reader_t *ours = kv_latest(self->kv);
    mvcc_head_t head;
    mvcc_head_t mine;
    int rc = mvcc_head(theirs, &head);
    rc = rc ? rc : mvcc_head(ours, &mine);
    assert(rc == 0);
    if (head.applied_index != mine.applied_index) {
        return;
    }
    digest_t a = digest_of(theirs);
    digest_t b = digest_of(ours);
    uint32_t hash_a = 0;
    uint32_t hash_b = 0;
    rc = mvcc_hash(theirs, &head, 0, &hash_a);
    rc = rc ? rc : mvcc_hash(ours, &mine, 0, &hash_b);
    assert(rc == 0);
    if (head.revision != mine.revision || head.compacted != mine.compacted || a.crc != b.crc ||
        a.rows != b.rows || hash_a != hash_b) {
        sim_fail(self->sim,
                 "the store of m%u differs at index %" PRIu64 ": revision %" PRId64 "/%" PRId64
                 ", compacted %" PRId64 "/%" PRId64 ", rows %zu/%zu, hash %08x/%08x",
                 member->slot, head.applied_index, head.revision, mine.revision, head.compacted,
                 mine.compacted, a.rows, b.rows, hash_a, hash_b);
    }
}
