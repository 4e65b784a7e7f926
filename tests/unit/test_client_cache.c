/* client_cache against a model of a cluster that does everything a cluster may do: members publish late, publications
 * are lost and repeated, subscribers move, history is compacted, backups are restored.
 * After every step the map must equal the store at the map's revision, what was told of changes must add up to the map,
 * and the revision must not go back unless the history did. At the end, without faults, it must reach the newest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/core/prng.h"
#include "client/native/client_cache.h"
#include "messages/xalloc.h"
#include "tests/support/scale.h"

enum {
    KEYS = 24, /* the first half below the prefix "a/" */
    REVISIONS_MAX = 4096,
    EVENTS_MAX = 4, /* of one revision */
    EPOCHS_MAX = 16,
    MEMBERS = 3,
    CHANNEL_MAX = 4096,
    SEEDS = SCALED(400),
    STEPS = 2500,
    INTERVAL_US = 1000000,
};

/* One key at one revision. */
typedef struct {
    bool alive;
    int64_t create;
    int64_t mod;
    int64_t version;
    uint32_t sub; /* with mod, what the value says */
} state_t;

typedef struct {
    uint8_t key;
    bool deleted;
    bool left_out;
} event_t;

/* One history. Revision 1 is empty. */
typedef struct {
    uint64_t cluster_id;
    int64_t head;
    int64_t compacted;
    uint8_t events_n[REVISIONS_MAX];
    event_t events[REVISIONS_MAX][EVENTS_MAX];
    state_t states[REVISIONS_MAX][KEYS];
} epoch_t;

typedef struct {
    bool is_mark;
    uint64_t cluster_id;
    native_position_t position; /* mark: last */
    native_position_t previous;
    bool last;
    event_t event;
    state_t state;
    int64_t revision; /* mark */
} publication_t;

typedef struct {
    int64_t applied;
    native_position_t last; /* of the subscription */
} member_t;

typedef struct {
    prng_t prng;
    epoch_t *epochs[EPOCHS_MAX];
    size_t epochs_n;
    member_t members[MEMBERS];
    size_t member; /* that the cache listens to */
    publication_t *channel;
    size_t channel_n;
    bool prefix;
    client_cache_t *cache;
    size_t cache_epoch;
    int64_t revision;
    keymap_t told; /* what the changes add up to */
    bool asked;
    client_cache_want_t want;
    int64_t asked_head;
    uint64_t now_us;
    bool faults;
    bool snapshot; /* the last changes came from one */
} world_t;

static uint64_t below(world_t *w, uint64_t bound)
{
    return prng_below(&w->prng, bound);
}

static bool chance(world_t *w, uint64_t percent)
{
    return below(w, 100) < percent;
}

static epoch_t *now_of(const world_t *w)
{
    return w->epochs[w->epochs_n - 1];
}

static slice_t key_of(unsigned key, char text[8])
{
    snprintf(text, 8, "%s%02u", key < KEYS / 2 ? "a/" : "b/", key);
    return slice_str(text);
}

static bool is_subscribed(const world_t *w, unsigned key)
{
    return w->prefix ? key < KEYS / 2 : key == 3;
}

static native_kv_t kv_of(unsigned key, const state_t *state, char key_text[8], char value_text[32])
{
    snprintf(value_text, 32, "%lld/%u", (long long)state->mod, state->sub);
    return (native_kv_t){.key = key_of(key, key_text),
                         .value = state->alive ? slice_str(value_text) : slice(NULL, 0),
                         .create_revision = state->create,
                         .mod_revision = state->mod,
                         .version = state->version};
}

/* ---- the cluster ---- */

static void write_revision(world_t *w)
{
    epoch_t *e = now_of(w);
    if (e->head + 1 >= REVISIONS_MAX) {
        return;
    }
    int64_t revision = ++e->head;
    memcpy(e->states[revision], e->states[revision - 1], sizeof e->states[0]);
    size_t wanted = 1 + below(w, EVENTS_MAX);
    e->events_n[revision] = 0;
    for (size_t i = 0; i < wanted; i++) {
        unsigned key = (unsigned)below(w, KEYS);
        state_t *state = &e->states[revision][key];
        if (state->mod == revision) {
            continue; /* once per revision, as in a transaction */
        }
        uint32_t sub = e->events_n[revision];
        bool deleted = state->alive && chance(w, 40);
        *state = (state_t){.alive = !deleted,
                           .create = deleted        ? 0
                                     : state->alive ? state->create
                                                    : revision,
                           .mod = revision,
                           .version = deleted ? 0 : state->version + 1,
                           .sub = sub};
        e->events[revision][sub] =
            (event_t){.key = (uint8_t)key, .deleted = deleted, .left_out = chance(w, 5)};
        e->events_n[revision]++;
    }
}

static void send(world_t *w, const publication_t *publication)
{
    bool lost = w->faults && chance(w, 8);
    if (!lost && w->channel_n < CHANNEL_MAX) {
        w->channel[w->channel_n++] = *publication;
    }
}

/* A member applies its next revision, and publishes it if the cache is subscribed there. */
static void apply_one(world_t *w, size_t number)
{
    member_t *m = &w->members[number];
    const epoch_t *e = now_of(w);
    if (m->applied >= e->head) {
        return;
    }
    int64_t revision = ++m->applied;
    int last = -1;
    for (int i = 0; i < e->events_n[revision]; i++) {
        last = is_subscribed(w, e->events[revision][i].key) ? i : last;
    }
    for (int i = 0; i <= last; i++) {
        const event_t *event = &e->events[revision][i];
        if (!is_subscribed(w, event->key)) {
            continue;
        }
        publication_t p = {.cluster_id = e->cluster_id,
                           .position = {revision, (uint32_t)i},
                           .previous = m->last,
                           .last = i == last,
                           .event = *event,
                           .state = e->states[revision][event->key]};
        m->last = p.position;
        if (number == w->member) {
            send(w, &p);
        }
    }
}

static void publish_mark(world_t *w)
{
    const member_t *m = &w->members[w->member];
    publication_t p = {.is_mark = true,
                       .cluster_id = now_of(w)->cluster_id,
                       .position = m->last,
                       .revision = m->applied};
    send(w, &p);
}

static void register_at(world_t *w, size_t number)
{
    w->member = number;
    w->members[number].last = (native_position_t){w->members[number].applied, NATIVE_SUB_MAX};
}

static void move(world_t *w, size_t number)
{
    register_at(w, number);
    w->channel_n = 0;
    w->asked = false;
    client_cache_unlinked(w->cache);
    client_cache_linked(w->cache, w->now_us, now_of(w)->cluster_id, INTERVAL_US);
}

/* All members begin again with an older state, which breaks all connections. */
static void restore(world_t *w, bool new_id)
{
    if (w->epochs_n == EPOCHS_MAX) {
        return;
    }
    const epoch_t *old = now_of(w);
    int64_t oldest = old->head > 40 ? old->head - 40 : 1;
    epoch_t *e = xmalloc(sizeof *e);
    *e = *old;
    e->head = oldest + (int64_t)below(w, (uint64_t)(old->head - oldest + 1));
    e->compacted = e->compacted < e->head ? e->compacted : e->head;
    e->cluster_id += new_id;
    w->epochs[w->epochs_n++] = e;
    for (size_t i = 0; i < MEMBERS; i++) {
        w->members[i].applied = e->head;
    }
    if (!new_id && w->cache_epoch == w->epochs_n - 2 && w->revision <= e->head) {
        w->cache_epoch++; /* what it has seen is a part of both histories */
    }
    move(w, w->member);
}

/* A history that forked and overtook the old one before anybody looked cannot be told from it: clusters restored from
 * a backup have an id of their own, or stay behind until their subscribers have noticed. */
static bool may_write(const world_t *w)
{
    bool unnoticed = w->cache_epoch + 1 < w->epochs_n &&
                     w->epochs[w->cache_epoch]->cluster_id == now_of(w)->cluster_id;
    return !unnoticed || now_of(w)->head + 1 < w->revision;
}

/* ---- the cache ---- */

static void check_map(const world_t *w)
{
    const epoch_t *e = w->epochs[w->cache_epoch];
    const keymap_t *map = client_cache_map(w->cache);
    int64_t revision = client_cache_revision(w->cache);
    assert_true(revision >= 1 && revision <= e->head);
    size_t expected = 0;
    for (unsigned key = 0; key < KEYS; key++) {
        const state_t *state = &e->states[revision][key];
        char key_text[8];
        char value_text[32];
        native_kv_t kv = kv_of(key, state, key_text, value_text);
        const keymap_item_t *item = keymap_get(map, kv.key);
        bool there = is_subscribed(w, key) && state->alive;
        assert_int_equal(item != NULL, there);
        if (there) {
            expected++;
            assert_true(slice_equal(item->value, kv.value));
            assert_int_equal(item->mod_revision, state->mod);
            assert_int_equal(item->create_revision, state->create);
            assert_int_equal(item->version, state->version);
        }
    }
    assert_int_equal(map->items_n, expected);
}

static void take_changes(world_t *w, const client_cache_changes_t *changes)
{
    for (size_t i = 0; i < changes->n; i++) {
        const client_cache_change_t *change = &changes->items[i];
        keymap_item_t before = {0};
        if (change->deleted) {
            before = keymap_remove(&w->told, change->item.key);
        } else {
            keymap_item_t item = keymap_item_ref(&change->item);
            before = keymap_put(&w->told, &item);
        }
        assert_int_equal(before.record != NULL, change->before.record != NULL);
        if (before.record) {
            assert_int_equal(before.mod_revision, change->before.mod_revision);
        }
        if (!w->snapshot) { /* otherwise each revision is shown on its own */
            assert_int_equal(change->item.mod_revision, changes->revision);
        }
        keymap_item_unref(&before);
    }
    const keymap_t *map = client_cache_map(w->cache);
    assert_int_equal(w->told.items_n, map->items_n);
    keymap_place_t a = {0};
    keymap_place_t b = {0};
    for (size_t i = 0; i < map->items_n; i++) {
        const keymap_item_t *x = keymap_next(map, &a);
        const keymap_item_t *y = keymap_next(&w->told, &b);
        assert_true(slice_equal(x->key, y->key) && slice_equal(x->value, y->value));
    }
}

static void settle(world_t *w)
{
    client_cache_changes_t changes = {0};
    uint64_t snapshots = client_cache_counts(w->cache)->snapshots;
    while (client_cache_advance(w->cache, w->now_us, &changes)) {
        w->snapshot = client_cache_counts(w->cache)->snapshots > snapshots;
        snapshots = client_cache_counts(w->cache)->snapshots;
        if (changes.reset) {
            w->cache_epoch = w->epochs_n - 1;
        } else {
            assert_true(changes.revision >= w->revision);
        }
        w->revision = changes.revision;
        assert_int_equal(client_cache_revision(w->cache), changes.revision);
        check_map(w);
        take_changes(w, &changes);
        client_cache_changes_clear(&changes);
    }
    client_cache_changes_deinit(&changes);
}

static native_change_t change_of(unsigned key, const event_t *event, const state_t *state,
                                 char key_text[8], char value_text[32])
{
    return (native_change_t){.is_delete = event->deleted,
                             .kv = kv_of(key, state, key_text, value_text)};
}

static void deliver(world_t *w, const publication_t *p)
{
    if (p->is_mark) {
        native_mark_t mark = {.cluster_id = p->cluster_id,
                              .revision = p->revision,
                              .last = p->position,
                              .interval_ms = INTERVAL_US / 1000};
        client_cache_mark(w->cache, w->now_us, &mark);
    } else {
        char key_text[8];
        char value_text[32];
        native_change_t change =
            change_of(p->event.key, &p->event, &p->state, key_text, value_text);
        client_cache_event_t event = {.position = p->position,
                                      .previous = p->previous,
                                      .last = p->last,
                                      .left_out = p->event.left_out,
                                      .change = p->event.left_out ? NULL : &change};
        client_cache_event(w->cache, p->cluster_id, &event);
    }
    settle(w);
}

static void deliver_some(world_t *w)
{
    size_t n = w->channel_n == 0 ? 0 : 1 + below(w, w->channel_n);
    size_t again = 0; /* a publisher that connects anew may repeat some of what it sent */
    for (size_t i = 0; i < n; i++) {
        deliver(w, &w->channel[i]);
        if (w->faults && i > 0 && chance(w, 3)) {
            again = below(w, i);
            deliver(w, &w->channel[again]);
        }
    }
    memmove(w->channel, &w->channel[n], (w->channel_n - n) * sizeof *w->channel);
    w->channel_n -= n;
}

static void answer_snapshot(world_t *w)
{
    const epoch_t *e = now_of(w);
    int64_t least = w->asked_head < e->head ? w->asked_head : e->head;
    int64_t revision = least + (int64_t)below(w, (uint64_t)(e->head - least + 1));
    for (unsigned key = 0; key < KEYS; key++) {
        const state_t *state = &e->states[revision][key];
        char key_text[8];
        char value_text[32];
        native_kv_t kv = kv_of(key, state, key_text, value_text);
        if (state->alive && is_subscribed(w, key)) {
            client_cache_snapshot_item(w->cache, &kv);
        }
    }
    client_cache_answered(w->cache, w->now_us, e->cluster_id, revision);
}

static void answer_events(world_t *w)
{
    const epoch_t *e = now_of(w);
    const member_t *m = &w->members[w->member];
    native_position_t after = w->want.after;
    bool compacted = after.sub == NATIVE_SUB_MAX ? after.revision < e->compacted
                                                 : after.revision <= e->compacted;
    if (compacted) {
        client_cache_failed(w->cache, w->now_us, true);
        return;
    }
    if (m->applied < w->want.through.revision) {
        client_cache_failed(w->cache, w->now_us, false);
        return;
    }
    int64_t through = w->want.through.revision;
    through += (int64_t)below(w, (uint64_t)(m->applied - through + 1));
    for (int64_t revision = after.revision; revision <= through; revision++) {
        for (unsigned i = 0; i < e->events_n[revision]; i++) {
            native_position_t position = {revision, i};
            const event_t *event = &e->events[revision][i];
            if (is_subscribed(w, event->key) && native_position_compare(position, after) > 0) {
                char key_text[8];
                char value_text[32];
                native_change_t change = change_of(
                    event->key, event, &e->states[revision][event->key], key_text, value_text);
                client_cache_history_event(w->cache, position, &change);
                if (chance(w, 20)) {
                    settle(w); /* a page ended */
                }
            }
        }
    }
    client_cache_answered(w->cache, w->now_us, e->cluster_id, through);
}

static void answer(world_t *w)
{
    if (!w->asked) {
        return;
    }
    w->asked = false;
    if (w->faults && chance(w, 15)) {
        client_cache_failed(w->cache, w->now_us, false);
    } else if (w->want.kind == CLIENT_CACHE_WANTS_SNAPSHOT) {
        answer_snapshot(w);
    } else if (w->want.kind == CLIENT_CACHE_WANTS_EVENTS) {
        answer_events(w);
    } else {
        client_cache_answered(w->cache, w->now_us, now_of(w)->cluster_id, now_of(w)->head);
    }
    settle(w);
}

static void ask(world_t *w)
{
    if (!w->asked && client_cache_want(w->cache, w->now_us, &w->want)) {
        w->asked = true;
        w->asked_head = now_of(w)->head;
        if (w->want.kind != CLIENT_CACHE_WANTS_SNAPSHOT) {
            assert_true(client_cache_loaded(w->cache));
        }
    }
}

static void step(world_t *w)
{
    uint64_t dice = below(w, 1000);
    if (dice < 250 && may_write(w)) {
        write_revision(w);
    } else if (dice < 500) {
        size_t member = below(w, MEMBERS);
        for (uint64_t n = 1 + below(w, 4); n > 0; n--) {
            apply_one(w, member);
        }
    } else if (dice < 650) {
        deliver_some(w);
    } else if (dice < 750) {
        publish_mark(w);
    } else if (dice < 880) {
        answer(w);
    } else if (dice < 970) {
        w->now_us += below(w, INTERVAL_US);
    } else if (dice < 980) {
        epoch_t *e = now_of(w);
        int64_t room = w->members[0].applied - e->compacted;
        e->compacted += room > 0 ? (int64_t)below(w, (uint64_t)room) : 0;
    } else if (dice < 990) {
        move(w, below(w, MEMBERS));
    } else if (dice < 996) {
        w->channel_n = 0; /* the connection broke, or nobody had read for long */
    } else if (dice < 998) {
        restore(w, chance(w, 50));
    }
    if (client_cache_restless(w->cache, w->now_us) && chance(w, 10)) {
        move(w, below(w, MEMBERS));
    }
    ask(w);
}

static world_t world_new(uint64_t seed, bool prefix)
{
    world_t w = {.prng = {seed}, .prefix = prefix, .faults = true, .now_us = 1000000};
    w.channel = xcalloc(CHANNEL_MAX, sizeof *w.channel);
    w.epochs[w.epochs_n++] = xcalloc(1, sizeof(epoch_t));
    now_of(&w)->cluster_id = 77;
    now_of(&w)->head = 1;
    for (size_t i = 0; i < MEMBERS; i++) {
        w.members[i].applied = 1;
    }
    /* A small queue, so that it overflows. */
    client_cache_cfg_t cfg = {.key = slice_str(prefix ? "a/" : "a/03"),
                              .prefix = prefix,
                              .queue_max = 1 + below(&w, 40),
                              .queue_bytes_max = 4096};
    w.cache = client_cache_new(&cfg);
    return w;
}

static void world_end(world_t *w)
{
    client_cache_destroy(&w->cache);
    client_cache_destroy(&w->cache);
    keymap_deinit(&w->told);
    for (size_t i = 0; i < w->epochs_n; i++) {
        free(w->epochs[i]);
    }
    free(w->channel);
}

/* No more faults: the newest revision must be reached, and known to be the newest. */
static void heal(world_t *w)
{
    w->faults = false;
    move(w, 0);
    for (int round = 0; round < 60; round++) {
        for (size_t i = 0; i < REVISIONS_MAX; i++) {
            apply_one(w, 0);
        }
        publish_mark(w);
        deliver_some(w);
        ask(w);
        answer(w);
        w->now_us += INTERVAL_US / 4;
    }
    assert_int_equal(client_cache_revision(w->cache), now_of(w)->head);
    assert_int_equal(w->cache_epoch, w->epochs_n - 1);
    assert_false(client_cache_stale(w->cache, w->now_us));
    assert_false(client_cache_restless(w->cache, w->now_us));
}

static void the_map_equals_the_store_whatever_happens(void **state)
{
    (void)state;
    client_cache_counts_t sum = {0};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        world_t w = world_new(seed, seed % 5 != 0);
        move(&w, 0);
        for (int i = 0; i < STEPS; i++) {
            step(&w);
        }
        heal(&w);
        const client_cache_counts_t *counts = client_cache_counts(w.cache);
        sum.snapshots += counts->snapshots;
        sum.resets += counts->resets;
        sum.repairs += counts->repairs;
        sum.events += counts->events;
        sum.repeated += counts->repeated;
        sum.dropped += counts->dropped;
        world_end(&w);
    }
    /* The run is worth something only if all of it happened. */
    print_message("snapshots %llu, of them resets %llu, repairs %llu, events %llu, repeated %llu, "
                  "dropped %llu\n",
                  (unsigned long long)sum.snapshots, (unsigned long long)sum.resets,
                  (unsigned long long)sum.repairs, (unsigned long long)sum.events,
                  (unsigned long long)sum.repeated, (unsigned long long)sum.dropped);
    assert_true(sum.snapshots > 5 * SEEDS && sum.resets > 2 * SEEDS && sum.repairs > 10 * SEEDS);
    assert_true(sum.events > 100 * SEEDS && sum.repeated > SEEDS && sum.dropped > SEEDS);
}

/* ---- single rules ---- */

static world_t loaded_world(void)
{
    world_t w = world_new(1, true);
    w.faults = false;
    for (int i = 0; i < 20; i++) {
        write_revision(&w);
    }
    for (int i = 0; i < 20; i++) {
        apply_one(&w, 0);
        apply_one(&w, 1);
    }
    move(&w, 0);
    ask(&w);
    assert_int_equal(w.want.kind, CLIENT_CACHE_WANTS_SNAPSHOT);
    answer(&w);
    assert_int_equal(client_cache_revision(w.cache), now_of(&w)->head);
    return w;
}

static void a_revision_is_not_seen_before_its_last_event(void **state)
{
    (void)state;
    world_t w = loaded_world();
    int64_t before = client_cache_revision(w.cache);
    size_t events = 0;
    while (events < 2) {
        write_revision(&w);
        w.channel_n = 0;
        apply_one(&w, 0);
        events = w.channel_n;
        for (size_t i = 0; i + 1 < events; i++) {
            deliver(&w, &w.channel[i]);
            assert_int_equal(client_cache_revision(w.cache), before);
        }
        if (events > 0) {
            deliver(&w, &w.channel[events - 1]);
            ask(&w);
            answer(&w); /* large values are asked for */
            before = client_cache_revision(w.cache);
            assert_int_equal(before, now_of(&w)->head);
        }
    }
    world_end(&w);
}

static void silence_makes_it_stale_and_a_mark_makes_it_fresh(void **state)
{
    (void)state;
    world_t w = loaded_world();
    assert_false(client_cache_stale(w.cache, w.now_us));
    uint64_t deadline = client_cache_deadline(w.cache, w.now_us);
    assert_int_equal(deadline, w.now_us + 3 * INTERVAL_US);
    w.now_us = deadline;
    assert_true(client_cache_stale(w.cache, w.now_us));
    assert_true(client_cache_restless(w.cache, w.now_us));
    publish_mark(&w);
    deliver_some(&w);
    assert_false(client_cache_stale(w.cache, w.now_us));
    assert_false(client_cache_restless(w.cache, w.now_us));
    world_end(&w);
}

static void marks_of_a_member_without_a_leader_confirm_nothing(void **state)
{
    (void)state;
    world_t w = loaded_world();
    w.now_us += 3 * INTERVAL_US;
    native_mark_t mark = {.cluster_id = now_of(&w)->cluster_id,
                          .revision = w.revision,
                          .last = {w.revision, 0},
                          .interval_ms = 1000,
                          .is_leaderless = true};
    client_cache_mark(w.cache, w.now_us, &mark);
    settle(&w);
    assert_true(client_cache_stale(w.cache, w.now_us));
    assert_false(client_cache_restless(w.cache, w.now_us));
    world_end(&w);
}

static void a_member_that_lags_never_takes_it_back(void **state)
{
    (void)state;
    world_t w = loaded_world();
    int64_t revision = client_cache_revision(w.cache);
    move(&w, 2); /* which has applied nothing yet */
    publish_mark(&w);
    deliver_some(&w);
    assert_int_equal(client_cache_revision(w.cache), revision);
    ask(&w);
    assert_int_equal(w.want.kind, CLIENT_CACHE_WANTS_REVISION);
    answer(&w);
    assert_int_equal(client_cache_revision(w.cache), revision);
    assert_false(client_cache_restless(w.cache, w.now_us));
    w.now_us += 3 * INTERVAL_US;
    publish_mark(&w);
    deliver_some(&w);
    assert_true(client_cache_restless(w.cache, w.now_us));
    world_end(&w);
}

static void another_cluster_is_a_fresh_snapshot_at_any_revision(void **state)
{
    (void)state;
    world_t w = loaded_world();
    restore(&w, true);
    publish_mark(&w);
    deliver_some(&w);
    ask(&w);
    assert_int_equal(w.want.kind, CLIENT_CACHE_WANTS_SNAPSHOT);
    assert_int_equal(w.want.min_revision, 0);
    answer(&w);
    assert_int_equal(w.cache_epoch, 1);
    world_end(&w);
}

static void an_event_that_contradicts_the_others_costs_a_snapshot(void **state)
{
    (void)state;
    world_t w = loaded_world();
    native_change_t change = {.kv = {.key = slice_str("a/00"), .mod_revision = w.revision + 1}};
    client_cache_event_t event = {
        .position = {w.revision + 1, 0}, .previous = {w.revision, 0}, .change = &change};
    client_cache_event(w.cache, now_of(&w)->cluster_id, &event); /* not the last of its revision, */
    event.position.revision++;
    event.previous = (native_position_t){w.revision + 1, 0}; /* but here is the next one */
    client_cache_event(w.cache, now_of(&w)->cluster_id, &event);
    settle(&w);
    client_cache_want_t want;
    assert_true(client_cache_want(w.cache, w.now_us, &want));
    assert_int_equal(want.kind, CLIENT_CACHE_WANTS_SNAPSHOT);
    world_end(&w);
}

static void nothing_is_asked_again_before_a_pause(void **state)
{
    (void)state;
    world_t w = world_new(1, true);
    move(&w, 0);
    client_cache_want_t want;
    uint64_t pause_us = 0;
    for (int i = 0; i < 10; i++) {
        assert_true(client_cache_want(w.cache, w.now_us, &want));
        assert_false(client_cache_want(w.cache, w.now_us, &want));
        client_cache_failed(w.cache, w.now_us, false);
        publish_mark(&w); /* so that silence is not a reason for another member */
        deliver_some(&w);
        assert_int_equal(client_cache_restless(w.cache, w.now_us), i >= 3);
        uint64_t deadline = client_cache_deadline(w.cache, w.now_us);
        assert_false(client_cache_want(w.cache, deadline - 1, &want));
        assert_true(deadline - w.now_us >= pause_us && deadline - w.now_us <= 2000000);
        pause_us = deadline - w.now_us;
        w.now_us = deadline;
    }
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_map_equals_the_store_whatever_happens),
        cmocka_unit_test(a_revision_is_not_seen_before_its_last_event),
        cmocka_unit_test(silence_makes_it_stale_and_a_mark_makes_it_fresh),
        cmocka_unit_test(marks_of_a_member_without_a_leader_confirm_nothing),
        cmocka_unit_test(a_member_that_lags_never_takes_it_back),
        cmocka_unit_test(another_cluster_is_a_fresh_snapshot_at_any_revision),
        cmocka_unit_test(an_event_that_contradicts_the_others_costs_a_snapshot),
        cmocka_unit_test(nothing_is_asked_again_before_a_pause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
