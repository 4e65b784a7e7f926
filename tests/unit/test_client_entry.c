/* client_lease and client_entry against a model of a store with leases: calls fail before or after they were carried
 * out, the process is paused, leases are revoked and keys deleted or written over by hand, backups are restored,
 * another process takes the key. What is said of a lease must be true, and after the last fault the key must be back
 * within one TTL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/core/prng.h"
#include "client/native/client_entry.h"

enum { TTL_S = 9, LEASES_MAX = 512, SEEDS = 500, STEPS = 1500 };
#define TTL_US ((uint64_t)TTL_S * 1000000)

typedef struct {
    prng_t prng;
    uint64_t now_us;
    client_entry_t entry;
    uint64_t expires_us[LEASES_MAX]; /* 0: no such lease */
    int64_t leases;                  /* ids given; never used again */
    bool exists;
    int64_t key_lease;
    uint64_t key_value; /* number */
    int64_t revision;
    uint64_t value;
    client_lease_want_t lease_asked;
    int64_t lease_id;
    client_entry_want_t key_asked;
    int64_t put_lease;
    uint64_t put_value;
    bool by_hand; /* leases were taken away: nobody can know yet */
    unsigned lost, taken;
} store_t;

static bool chance(store_t *s, uint64_t percent)
{
    return prng_below(&s->prng, 100) < percent;
}

static bool lives(const store_t *s, int64_t lease)
{
    return lease > 0 && lease < LEASES_MAX && s->expires_us[lease] > s->now_us;
}

static void expire(store_t *s)
{
    if (s->exists && s->key_lease != 0 && !lives(s, s->key_lease)) {
        s->exists = false;
    }
}

static void ask(store_t *s)
{
    if (s->lease_asked == CLIENT_LEASE_WANTS_NOTHING) {
        s->lease_asked = client_entry_want_lease(&s->entry, s->now_us);
        s->lease_id = s->entry.lease.id;
    }
    if (s->key_asked == CLIENT_ENTRY_WANTS_NOTHING) {
        s->key_asked = client_entry_want(&s->entry, s->now_us);
        s->put_lease = s->entry.lease.id;
        s->put_value = s->value;
    }
}

static void answer_lease(store_t *s, bool fails)
{
    client_lease_want_t asked = s->lease_asked;
    s->lease_asked = CLIENT_LEASE_WANTS_NOTHING;
    bool is_carried_out = !fails || chance(s, 50);
    int64_t id = s->lease_id;
    int64_t ttl_s = 0;
    if (asked == CLIENT_LEASE_WANTS_GRANT && is_carried_out) {
        id = ++s->leases;
        assert_true(id < LEASES_MAX);
    }
    if (is_carried_out && asked != CLIENT_LEASE_WANTS_REVOKE &&
        (asked == CLIENT_LEASE_WANTS_GRANT || lives(s, id))) {
        s->expires_us[id] = s->now_us + TTL_US;
        ttl_s = TTL_S;
    } else if (is_carried_out && asked == CLIENT_LEASE_WANTS_REVOKE) {
        s->expires_us[id] = 0;
        expire(s);
    }
    if (fails) {
        client_lease_failed(&s->entry.lease, s->now_us, GRPC_UNAVAILABLE);
    } else if (asked == CLIENT_LEASE_WANTS_KEEP_ALIVE && ttl_s == 0 && chance(s, 50)) {
        client_lease_failed(&s->entry.lease, s->now_us, GRPC_NOT_FOUND);
    } else {
        client_lease_answered(&s->entry.lease, s->now_us, id, ttl_s);
    }
    s->lost += s->entry.lease.state == CLIENT_LEASE_LOST;
    client_entry_step(&s->entry, s->now_us);
}

static void answer_key(store_t *s, bool fails)
{
    client_entry_want_t asked = s->key_asked;
    s->key_asked = CLIENT_ENTRY_WANTS_NOTHING;
    bool is_put = asked == CLIENT_ENTRY_WANTS_PUT;
    bool may_put = is_put && lives(s, s->put_lease);
    if (may_put && (!fails || chance(s, 50))) {
        s->exists = true;
        s->key_lease = s->put_lease;
        s->key_value = s->put_value;
        s->revision++;
    }
    if (fails || (is_put && !may_put)) {
        client_entry_failed(&s->entry, s->now_us, !fails);
    } else if (is_put) {
        client_entry_put_done(&s->entry, s->now_us, s->revision);
    } else {
        char text[24];
        snprintf(text, sizeof text, "%llu", (unsigned long long)s->key_value);
        client_entry_looked(&s->entry, s->now_us, s->exists, s->exists ? s->key_lease : 0,
                            slice_str(text));
    }
}

static void set_value(store_t *s)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)++s->value);
    client_entry_set(&s->entry, slice_str(text));
}

static void take_lease_away(store_t *s)
{
    int64_t id = s->entry.lease.id;
    if (id > 0) {
        s->expires_us[id] = 0;
        s->by_hand = true;
    }
}

/* An older state of the store: the key may be there under an earlier lease. */
static void restore(store_t *s)
{
    take_lease_away(s);
    s->exists = s->leases > 1 && chance(s, 50);
    s->key_lease = s->leases - 1;
    if (s->exists) {
        s->expires_us[s->key_lease] = s->now_us + TTL_US;
    }
}

static void disturb(store_t *s)
{
    switch (prng_below(&s->prng, 7)) {
    case 0: s->now_us += prng_below(&s->prng, 3 * TTL_US); break; /* the process was stopped */
    case 1: take_lease_away(s); break;
    case 2: s->exists = false; break;
    case 3: /* written over by hand */
        s->exists = true;
        s->key_lease = 0;
        s->key_value = 0;
        break;
    case 4: restore(s); break;
    case 5: /* by another process */
        s->exists = true;
        s->key_lease = ++s->leases;
        s->expires_us[s->key_lease] = s->now_us + TTL_US;
        s->key_value = 0;
        break;
    default: set_value(s); break;
    }
}

static void check_truth(store_t *s)
{
    if (s->entry.lease.state == CLIENT_LEASE_ALIVE && s->now_us < s->entry.lease.alive_until_us) {
        assert_true(lives(s, s->entry.lease.id) || s->by_hand);
    } else if (s->entry.lease.state != CLIENT_LEASE_UNSURE) {
        s->by_hand = false;
    }
}

static void step(store_t *s)
{
    uint64_t dice = prng_below(&s->prng, 100);
    if (dice < 40) {
        uint64_t deadline_us = client_entry_deadline(&s->entry, s->now_us);
        if (deadline_us > s->now_us) {
            uint64_t most_us = deadline_us - s->now_us < TTL_US ? deadline_us - s->now_us : TTL_US;
            s->now_us += prng_below(&s->prng, most_us + 1);
        }
    } else if (dice < 65 && s->lease_asked) {
        answer_lease(s, chance(s, 20));
    } else if (dice < 90 && s->key_asked) {
        answer_key(s, chance(s, 20));
    } else if (dice < 92 && s->leases + 2 < LEASES_MAX) {
        disturb(s);
    }
    expire(s);
    client_entry_step(&s->entry, s->now_us);
    s->taken += s->entry.state == CLIENT_ENTRY_TAKEN;
    check_truth(s);
    ask(s);
}

/* Without faults, and answered at once. */
static void run_smoothly(store_t *s, uint64_t until_us)
{
    while (s->now_us < until_us) {
        expire(s);
        client_entry_step(&s->entry, s->now_us);
        ask(s);
        if (s->lease_asked) {
            answer_lease(s, false);
        } else if (s->key_asked) {
            answer_key(s, false);
        } else {
            uint64_t deadline_us = client_entry_deadline(&s->entry, s->now_us);
            assert_true(deadline_us > s->now_us); /* it does not spin */
            s->now_us = deadline_us < until_us ? deadline_us : until_us;
        }
    }
}

/* Who holds it has one TTL, or does not renew it any more. */
static bool is_anothers(const store_t *s)
{
    bool was_ours = s->key_lease == 0;
    for (size_t i = 0; i < CLIENT_ENTRY_LEASES; i++) {
        was_ours = was_ours || s->entry.leases[i] == s->key_lease;
    }
    return s->exists && !was_ours;
}

static bool is_registered(const store_t *s)
{
    return s->exists && s->key_lease == s->entry.lease.id && s->key_value == s->value &&
           s->entry.state == CLIENT_ENTRY_THERE;
}

static void whatever_happens_the_key_is_back_within_one_ttl(void **state)
{
    (void)state;
    unsigned lost = 0;
    unsigned taken = 0;
    uint64_t again = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        store_t s = {.prng = {seed}, .now_us = 1000000};
        client_entry_init(&s.entry, TTL_S);
        ask(&s);
        assert_int_equal(s.lease_asked, CLIENT_LEASE_WANTS_NOTHING); /* nothing to register yet */
        set_value(&s);
        for (int i = 0; i < STEPS; i++) {
            step(&s);
        }
        run_smoothly(&s, s.now_us + (is_anothers(&s) ? 2 * TTL_US : TTL_US));
        assert_true(is_registered(&s));
        client_entry_remove(&s.entry, s.now_us);
        run_smoothly(&s, s.now_us + TTL_US / 2);
        assert_int_equal(s.entry.state, CLIENT_ENTRY_REMOVED);
        assert_false(s.exists);
        lost += s.lost;
        taken += s.taken > 0;
        again += s.entry.again;
        client_entry_deinit(&s.entry);
    }
    print_message("leases lost %u, keys put again %llu, taken in %u runs\n", lost,
                  (unsigned long long)again, taken);
    assert_true(lost > SEEDS && again > SEEDS && taken > SEEDS / 4);
}

static void a_lease_is_unsure_when_its_time_is_over_and_lost_when_the_server_says_so(void **state)
{
    (void)state;
    client_lease_t lease;
    client_lease_init(&lease, TTL_S);
    assert_int_equal(client_lease_want(&lease, 5), CLIENT_LEASE_WANTS_GRANT);
    assert_int_equal(client_lease_want(&lease, 5), CLIENT_LEASE_WANTS_NOTHING);
    client_lease_answered(&lease, 100, 77, TTL_S);
    assert_int_equal(lease.state, CLIENT_LEASE_ALIVE);
    assert_int_equal(lease.alive_until_us, 5 + TTL_US); /* from when it was asked for */
    uint64_t now_us = client_lease_deadline(&lease, 100);
    assert_int_equal(now_us, 5 + TTL_US / 3);
    for (unsigned i = 0; now_us < 5 + TTL_US; i++) {
        assert_int_equal(client_lease_want(&lease, now_us), CLIENT_LEASE_WANTS_KEEP_ALIVE);
        client_lease_failed(&lease, now_us, GRPC_UNAVAILABLE);
        now_us = client_lease_deadline(&lease, now_us);
        assert_true(i < 30);
    }
    client_lease_step(&lease, now_us);
    assert_int_equal(lease.state, CLIENT_LEASE_UNSURE);
    client_lease_want(&lease, now_us + 2000000);
    client_lease_answered(&lease, now_us + 2000000, 77, TTL_S); /* it was there after all */
    assert_int_equal(lease.state, CLIENT_LEASE_ALIVE);
    now_us = client_lease_deadline(&lease, now_us + 2000000);
    assert_int_equal(client_lease_want(&lease, now_us), CLIENT_LEASE_WANTS_KEEP_ALIVE);
    client_lease_answered(&lease, now_us, 77, 0);
    assert_int_equal(lease.state, CLIENT_LEASE_LOST);
    assert_int_equal(client_lease_want(&lease, now_us + TTL_US), CLIENT_LEASE_WANTS_NOTHING);
    client_lease_restart(&lease);
    assert_int_equal(client_lease_want(&lease, now_us), CLIENT_LEASE_WANTS_GRANT);
}

static void a_release_ends_even_if_nobody_answers(void **state)
{
    (void)state;
    client_lease_t lease;
    client_lease_init(&lease, TTL_S);
    assert_int_equal(client_lease_want(&lease, 0), CLIENT_LEASE_WANTS_GRANT);
    client_lease_answered(&lease, 0, 77, TTL_S);
    client_lease_release(&lease, 1000);
    uint64_t now_us = 1000;
    for (unsigned i = 0; lease.state != CLIENT_LEASE_RELEASED; i++) {
        if (client_lease_want(&lease, now_us) == CLIENT_LEASE_WANTS_REVOKE) {
            client_lease_failed(&lease, now_us, GRPC_UNAVAILABLE);
        }
        now_us = client_lease_deadline(&lease, now_us);
        client_lease_step(&lease, now_us);
        assert_true(i < 100);
    }
    assert_true(now_us > TTL_US && now_us <= TTL_US + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_happens_the_key_is_back_within_one_ttl),
        cmocka_unit_test(a_lease_is_unsure_when_its_time_is_over_and_lost_when_the_server_says_so),
        cmocka_unit_test(a_release_ends_even_if_nobody_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
