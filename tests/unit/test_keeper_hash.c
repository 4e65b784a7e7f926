/* HashKV in the keeper: in slices, one after the other, with the errors clients know. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "messages/limits.h"
#include "tests/support/keeper_rig.h"

enum { MEMBER = 0xa };

static void ask_hash(keeper_member_t *self, uint64_t req_id, int64_t revision)
{
    msg_t *msg = msg_new(MSG_HASH);
    msg->u.hash = (msg_hash_t){.req_id = req_id, .revision = revision};
    core_test_send(&self->test, ACTOR_GRPC_GATEWAY, &msg);
}

static msg_hash_t expect_hashed(keeper_member_t *self, uint64_t req_id)
{
    keeper_run(self);
    msg_t *msg = core_test_expect(&self->test, ACTOR_GRPC_GATEWAY, MSG_HASHED);
    msg_hash_t hash = msg->u.hash;
    assert_int_equal(hash.req_id, req_id);
    msg_free(&msg);
    return hash;
}

static void a_hash_is_answered_with_its_revision(void **state)
{
    (void)state;
    keeper_member_t member;
    keeper_member_init(&member, MEMBER);
    keeper_member_fill(&member, 5000, 10); /* revision 5001; more rows than a slice */
    ask_hash(&member, 1, 0);
    ask_hash(&member, 2, 5001);
    ask_hash(&member, 3, 4000);
    ask_hash(&member, 4, 5002);
    keeper_run(&member);
    msg_hash_t newest = expect_hashed(&member, 1);
    assert_int_equal(newest.error, API_NONE);
    assert_int_equal(newest.hash, keeper_hash(member.store));
    assert_int_equal(newest.revision, 5001);
    assert_int_equal(newest.current, 5001);
    assert_int_equal(newest.compacted, -1);
    assert_int_equal(expect_hashed(&member, 2).hash, newest.hash);
    msg_hash_t older = expect_hashed(&member, 3);
    assert_true(older.hash != newest.hash);
    assert_int_equal(older.revision, 4000);
    assert_int_equal(expect_hashed(&member, 4).error, API_FUTURE_REVISION);
    keeper_member_deinit(&member);
}

static void a_compacted_revision_is_refused(void **state)
{
    (void)state;
    keeper_member_t member;
    keeper_member_init(&member, MEMBER);
    keeper_member_fill(&member, 20, 10);
    mvcc_t *mvcc = NULL;
    char *error = NULL;
    assert_int_equal(mvcc_new(&mvcc, keeper_member_kv(&member), &error), 0);
    mvcc_entry_begin(mvcc, 22, 2);
    assert_int_equal(mvcc_compact(mvcc, 10), 0);
    mvcc_entry_end(mvcc);
    assert_int_equal(mvcc_commit(mvcc), 0);
    mvcc_destroy(&mvcc);
    ask_hash(&member, 1, 9);
    msg_hash_t refused = expect_hashed(&member, 1);
    assert_int_equal(refused.error, API_COMPACTED);
    assert_int_equal(refused.compacted, 10);
    assert_int_equal(refused.current, 21);
    ask_hash(&member, 2, 10);
    assert_int_equal(expect_hashed(&member, 2).error, API_NONE);
    keeper_member_deinit(&member);
}

/* Requests wait for the store, for each other, and not without bound; a flush overtakes them. */
static void hashes_wait_their_turn(void **state)
{
    (void)state;
    keeper_member_t member = {.id = MEMBER, .generations = generations_memory_new()};
    keeper_cfg_t cfg = {.generations = member.generations};
    member.test = core_test_new(ACTOR_KEEPER, &keeper_ops, keeper_new(&cfg, &member.metrics));
    for (uint64_t i = 1; i <= LIMIT_HASHES; i++) {
        ask_hash(&member, i, 0);
    }
    keeper_run(&member);
    core_test_expect_nothing(&member.test);
    ask_hash(&member, 1000, 0);
    assert_int_equal(expect_hashed(&member, 1000).error, API_TOO_MANY_REQUESTS);
    char *error = NULL;
    assert_int_equal(generations_open(member.generations, 0, &member.store, &error), 0);
    keeper_member_fill(&member, 3000, 10);
    keeper_restored(&member, member.store);
    core_test_flush(&member.test); /* one slice of the first */
    msg_t *msg = msg_new(MSG_FLUSH);
    msg->u.applied.index = 5;
    core_test_send(&member.test, ACTOR_APPLIER, &msg);
    core_test_flush(&member.test);
    msg = core_test_expect(&member.test, ACTOR_WAL_WRITER, MSG_FLUSHED);
    msg_free(&msg);
    for (uint64_t i = 1; i <= LIMIT_HASHES; i++) {
        assert_int_equal(expect_hashed(&member, i).hash, keeper_hash(member.store));
    }
    keeper_member_deinit(&member);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hash_is_answered_with_its_revision),
        cmocka_unit_test(a_compacted_revision_is_refused),
        cmocka_unit_test(hashes_wait_their_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
