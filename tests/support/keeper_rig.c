#include "tests/support/keeper_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "messages/xalloc.h"

/* ---- members ---- */

void keeper_member_init(keeper_member_t *self, uint64_t id)
{
    *self = (keeper_member_t){.id = id, .generations = generations_memory_new()};
    char *error = NULL;
    assert_int_equal(generations_open(self->generations, 0, &self->store, &error), 0);
    keeper_cfg_t cfg = {.generations = self->generations, .by_member = &self->by_member};
    self->test = core_test_new(ACTOR_KEEPER, &keeper_ops, keeper_new(&cfg, &self->metrics));
    keeper_restored(self, self->store);
}

void keeper_member_deinit(keeper_member_t *self)
{
    core_test_end(&self->test);
    shared_unref(&self->store);
    generations_destroy(&self->generations);
}

kv_t *keeper_member_kv(const keeper_member_t *self)
{
    return shared_object(self->store);
}

void keeper_member_fill(keeper_member_t *self, uint64_t keys, size_t value_len)
{
    mvcc_t *mvcc = NULL;
    char *error = NULL;
    uint8_t *value = xcalloc(1, value_len + 1);
    assert_int_equal(mvcc_new(&mvcc, keeper_member_kv(self), &error), 0);
    mvcc_entry_begin(mvcc, 1, 1);
    assert_int_equal(mvcc_meta_put(mvcc, MVCC_META_MEMBERS, slice_str("three members")), 0);
    mvcc_entry_end(mvcc);
    for (uint64_t i = 0; i < keys; i++) {
        char key[32];
        bool existed = false;
        (void)snprintf(key, sizeof key, "key-%06u", (unsigned)i);
        value[0] = (uint8_t)i;
        mvcc_entry_begin(mvcc, 2 + i, 2);
        mvcc_put_t put = {.key = slice_str(key), .value = slice(value, value_len)};
        assert_int_equal(mvcc_put(mvcc, &put, NULL, &existed), 0);
        mvcc_entry_end(mvcc);
    }
    assert_int_equal(mvcc_commit(mvcc), 0);
    mvcc_destroy(&mvcc);
    free(value);
}

mvcc_head_t keeper_head(shared_t *store)
{
    mvcc_head_t head;
    assert_int_equal(mvcc_head(kv_latest(shared_object(store)), &head), 0);
    return head;
}

uint32_t keeper_hash(shared_t *store)
{
    mvcc_head_t head = keeper_head(store);
    uint32_t hash = 0;
    assert_int_equal(mvcc_hash(kv_latest(shared_object(store)), &head, 0, &hash), 0);
    return hash;
}

void keeper_expect_equal(kv_t *a, kv_t *b)
{
    kv_iter_t *left = kv_iter_new(kv_latest(a));
    kv_iter_t *right = kv_iter_new(kv_latest(b));
    left->ops->seek(left, slice(NULL, 0));
    right->ops->seek(right, slice(NULL, 0));
    for (; left->ops->valid(left); left->ops->next(left), right->ops->next(right)) {
        assert_true(right->ops->valid(right));
        assert_true(slice_equal(left->ops->key(left), right->ops->key(right)));
        assert_true(slice_equal(left->ops->value(left), right->ops->value(right)));
    }
    assert_false(right->ops->valid(right));
    kv_iter_destroy(&left);
    kv_iter_destroy(&right);
}

/* ---- what the others of the node say ---- */

void keeper_read(keeper_member_t *self, uint64_t id, uint64_t member)
{
    msg_t *msg = msg_new(MSG_SNAP_READ);
    msg->u.snap = (msg_snap_t){.id = id, .member = member, .term = 5};
    core_test_send(&self->test, ACTOR_REPLICATOR, &msg);
}

void keeper_take(keeper_member_t *self, uint64_t member, uint64_t id, const peer_snap_meta_t *meta)
{
    msg_t *msg = msg_new(MSG_SNAP_TAKE);
    msg->u.snap = (msg_snap_t){
        .id = id,
        .member = member,
        .term = 5,
        .index = meta->index,
        .log_term = meta->log_term,
        .configuration = bytes_ref(meta->configuration),
    };
    core_test_send(&self->test, ACTOR_REPLICATOR, &msg);
}

void keeper_drop(keeper_member_t *self, uint64_t member, uint64_t id)
{
    msg_t *msg = msg_new(MSG_SNAP_DROP);
    msg->u.snap = (msg_snap_t){.id = id, .member = member};
    core_test_send(&self->test, ACTOR_REPLICATOR, &msg);
}

void keeper_restored(keeper_member_t *self, shared_t *store)
{
    msg_t *msg = msg_new(MSG_RESTORED);
    msg->u.restored.store = shared_ref(store);
    core_test_send(&self->test, ACTOR_APPLIER, &msg);
}

/* ---- what comes out ---- */

msg_t *keeper_next(keeper_member_t *self, actor_id_t *to)
{
    msg_t *msg = core_test_take(&self->test, to);
    for (int i = 0; !msg && i < 2; i++) { /* the first one may only have given room */
        core_test_flush(&self->test);
        msg = core_test_take(&self->test, to);
    }
    return msg;
}

peer_msg_t *keeper_expect_peer(keeper_member_t *self, uint64_t member, peer_kind_t kind)
{
    actor_id_t to = ACTOR_NONE;
    msg_t *msg = keeper_next(self, &to);
    assert_non_null(msg);
    assert_int_equal(to, ACTOR_PEER);
    assert_int_equal(msg->u.peer.member, member);
    assert_string_equal(peer_kind_name(msg->u.peer.content->kind), peer_kind_name(kind));
    peer_msg_t *content = msg->u.peer.content;
    msg->u.peer.content = NULL;
    msg_free(&msg);
    return content;
}

void keeper_expect_silence(keeper_member_t *self)
{
    actor_id_t to = ACTOR_NONE;
    msg_t *msg = keeper_next(self, &to);
    if (msg) {
        char text[200];
        msg_print(msg, text, sizeof text);
        fail_msg("unexpected message to %s: %s", actor_name(to), text);
    }
}

void keeper_hear(keeper_member_t *self, uint64_t from, peer_msg_t **content)
{
    msg_t *msg = msg_new(MSG_PEER);
    msg->u.peer = (msg_peer_t){.member = from, .content = *content};
    *content = NULL;
    core_test_send(&self->test, ACTOR_PEER, &msg);
}

void keeper_run(keeper_member_t *self)
{
    do {
        core_test_flush(&self->test);
    } while (self->test.ops->deadline(self->test.core) <= self->test.now_us);
}
