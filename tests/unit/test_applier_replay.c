/* Shows that crashes leave no trace: the same entries, with the store falling back to some earlier
 * batch again and again and the log replayed from there, give the same store and the same hashes as
 * without, byte for byte; how entries are cut into messages does not matter either. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "actors/core/prng.h"
#include "messages/buf.h"
#include "messages/xalloc.h"
#include "tests/support/applier_rig.h"

enum { SEEDS = 10, ENTRIES = 300, KEYS = 20, LEASES = 4, CRASHES = 8 };

/* ---- a random log ---- */

static void random_key(prng_t *prng, buf_t *out, uint32_t field)
{
    char key[16];
    int len = snprintf(key, sizeof key, "key/%02u", (unsigned)prng_below(prng, KEYS));
    buf_field_bytes(out, field, slice(key, (size_t)len));
}

static void random_put(prng_t *prng, buf_t *out)
{
    random_key(prng, out, 1);
    buf_field_bytes(out, 2, slice("value", prng_below(prng, 6)));
    if (prng_below(prng, 3) == 0) {
        buf_field_u64(out, 3, 1 + prng_below(prng, LEASES));
    }
}

static void random_delete(prng_t *prng, buf_t *out)
{
    random_key(prng, out, 1);
    if (prng_below(prng, 3) == 0) {
        random_key(prng, out, 2);
    }
}

static void random_txn(prng_t *prng, buf_t *out)
{
    buf_t part = {0};
    buf_t op = {0};
    buf_field_u64(&part, 2, prng_below(prng, 3)); /* target: version, create, mod */
    buf_field_u64(&part, 1, prng_below(prng, 4));
    random_key(prng, &part, 3);
    buf_field_bytes(out, 1, buf_slice(&part));
    for (size_t i = 0; i < 4; i++) { /* two for success, two for failure */
        buf_clear(&part);
        buf_clear(&op);
        bool put = prng_below(prng, 2);
        (put ? random_put : random_delete)(prng, &part);
        buf_field_bytes(&op, put ? 2 : 3, buf_slice(&part));
        buf_field_bytes(out, i < 2 ? 2 : 3, buf_slice(&op));
    }
    buf_deinit(&part);
    buf_deinit(&op);
}

static uint32_t random_request(prng_t *prng, buf_t *out, uint64_t index)
{
    switch (prng_below(prng, 12)) {
    case 0: buf_field_u64(out, 1, prng_below(prng, index)); return RIG_COMPACTION;
    case 1:
        buf_field_u64(out, 1, 10);
        buf_field_u64(out, 2, 1 + prng_below(prng, LEASES));
        return RIG_LEASE_GRANT;
    case 2: buf_field_u64(out, 1, 1 + prng_below(prng, LEASES)); return RIG_LEASE_REVOKE;
    case 3:
    case 4: random_delete(prng, out); return RIG_DELETE_RANGE;
    case 5:
    case 6: random_txn(prng, out); return RIG_TXN;
    default: random_put(prng, out); return RIG_PUT;
    }
}

/* ---- runs ---- */

/* The log from the applier's own index on, in messages of random size, up to `until`. */
static void replay(applier_rig_t *rig, prng_t *cuts, uint64_t seed, uint64_t until)
{
    prng_t prng = {.state = seed};
    uint64_t applied = applier_applied_index(rig->applier);
    rig->index = applied;
    for (uint64_t index = 1; index <= until; index++) {
        buf_t request = {0};
        uint32_t op = random_request(&prng, &request, index);
        if (index > applied) {
            rig_add_request_of(rig, 0, op, buf_slice(&request));
            if (index == until || prng_below(cuts, 7) == 0) {
                rig_send(rig);
                assert_null(outbox_fatal_text(rig->test.outbox));
                rig_drain(rig);
            }
        }
        buf_deinit(&request);
    }
    assert_int_equal(applier_applied_index(rig->applier), until);
}

/* Lets the background work of compaction finish. */
static void settle(applier_rig_t *rig)
{
    while (applier_ops.deadline(rig->applier) != DEADLINE_NONE) {
        rig->test.now_us += RIG_SLEEP_US;
        core_test_flush(&rig->test);
        rig_drain(rig);
    }
}

static void dump(applier_rig_t *rig, buf_t *out)
{
    kv_iter_t *iter = kv_iter_new(kv_latest(rig_kv(rig)));
    for (iter->ops->seek(iter, slice(NULL, 0)); iter->ops->valid(iter); iter->ops->next(iter)) {
        buf_field_bytes(out, 1, iter->ops->key(iter));
        buf_field_bytes(out, 2, iter->ops->value(iter));
    }
    kv_iter_destroy(&iter);
}

static void crash(applier_rig_t *rig, uint64_t pick)
{
    core_test_end(&rig->test);
    kv_memory_crash(rig_kv(rig), pick);
    rig_start(rig, 0, 1000, NULL);
    core_test_flush(&rig->test);
    rig_drain(rig);
}

static void crashes_leave_no_trace(void **state)
{
    (void)state;
    size_t fell_back = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        prng_t cuts = {.state = ~seed};
        applier_rig_t *calm = rig_new(1000);
        applier_rig_t *rough = rig_new(1000);
        replay(calm, &cuts, seed, ENTRIES);
        for (int i = 0; i < CRASHES; i++) {
            uint64_t before = applier_applied_index(rough->applier);
            replay(rough, &cuts, seed, before + prng_below(&cuts, ENTRIES - before));
            before = applier_applied_index(rough->applier);
            crash(rough, prng_next(&cuts));
            fell_back += applier_applied_index(rough->applier) < before;
        }
        replay(rough, &cuts, seed, ENTRIES);
        settle(calm);
        settle(rough);
        buf_t dumps[2] = {{0}, {0}};
        dump(calm, &dumps[0]);
        dump(rough, &dumps[1]);
        assert_true(slice_equal(buf_slice(&dumps[0]), buf_slice(&dumps[1])));
        buf_deinit(&dumps[0]);
        buf_deinit(&dumps[1]);
        rig_destroy(&calm);
        rig_destroy(&rough);
    }
    assert_true(fell_back > SEEDS); /* it was a test */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crashes_leave_no_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
