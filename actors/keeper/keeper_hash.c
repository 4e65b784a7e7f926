/* HashKV: one request after the other, in slices, from a snapshot each. */
#include <string.h>

#include "actors/keeper/keeper_state.h"

static void answer(const hash_request_t *request, const msg_hash_t *fields, outbox_t *out)
{
    msg_t *msg = msg_new(MSG_HASHED);
    msg->u.hash = *fields;
    msg->u.hash.req_id = request->req_id;
    outbox_put(out, request->from, &msg);
}

void hash_on_request(keeper_t *self, const msg_t *msg, outbox_t *out)
{
    hash_request_t request = {
        .req_id = msg->u.hash.req_id, .from = msg->from, .revision = msg->u.hash.revision};
    if (self->hashes.count == LIMIT_HASHES) {
        answer(&request, &(msg_hash_t){.error = API_TOO_MANY_REQUESTS}, out);
        return;
    }
    self->hashes.items[self->hashes.count++] = request;
}

bool hash_can_work(const keeper_t *self)
{
    return self->store && self->hashes.count > 0;
}

/* The first request is answered. */
static void finish(hashes_t *self, api_error_t error, outbox_t *out)
{
    msg_hash_t fields = {
        .error = error,
        .compacted = self->view.head.compacted,
        .current = self->view.head.revision,
    };
    if (!error) {
        fields.hash = mvcc_hasher_result(self->hasher);
        fields.revision = mvcc_hasher_revision(self->hasher);
    }
    answer(&self->items[0], &fields, out);
    self->count--;
    memmove(self->items, self->items + 1, self->count * sizeof *self->items);
    mvcc_hasher_destroy(&self->hasher);
    view_close(&self->view);
}

void hash_work(keeper_t *self, outbox_t *out)
{
    hashes_t *hashes = &self->hashes;
    int rc = 0;
    if (!hashes->hasher) {
        rc = view_open(&hashes->view, self->store);
        rc = rc ? rc
                : mvcc_hasher_new(&hashes->hasher, hashes->view.reader, &hashes->view.head,
                                  hashes->items[0].revision);
    }
    rc = rc ? rc : mvcc_hasher_step(hashes->hasher, LIMIT_HASH_SLICE_ROWS);
    if (rc < 0) {
        keeper_fail(self, out, "the store cannot be read for its hash", shared_object(self->store),
                    NULL);
    } else if (rc != MVCC_MORE_WORK) {
        finish(hashes, (api_error_t)rc, out);
    }
}

void hash_deinit(keeper_t *self)
{
    mvcc_hasher_destroy(&self->hashes.hasher);
    view_close(&self->hashes.view);
}
