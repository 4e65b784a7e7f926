/* Any bytes as log entries: the applier either applies an entry, whole, or stops and says so; what it
 * tells others stays in order, and the store can be opened again. Every fifth byte or so begins a new
 * entry; its first byte says which operation the rest is, or that it is a payload as it is. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "actors/applier/applier.h"
#include "actors/wiring.h"
#include "messages/buf.h"
#include "messages/xalloc.h"
#include "store/mvcc_write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { ORIGIN = 7 };

static void close_store(void *object)
{
    kv_t *kv = object;
    kv_close(&kv);
}

static void wrap(buf_t *out, uint8_t which, slice_t request)
{
    static const uint32_t ops[] = {4, 5, 6, 7, 8, 9, 1300, 1301};
    buf_clear(out);
    if (which % 16 >= 8) {
        buf_append(out, request.data, request.len);
        return;
    }
    buf_field_u64(out, 1, ORIGIN);
    buf_field_bytes(out, ops[which % 8], request);
}

static msg_t *entries_of(const uint8_t *data, size_t len)
{
    msg_t *msg = msg_new(MSG_COMMITTED);
    buf_t payload = {0};
    for (size_t at = 0; at + 1 < len;) {
        size_t size = data[at] < len - at - 1 ? data[at] : len - at - 1;
        wrap(&payload, data[at + 1], slice(data + at + 1, size));
        entry_t entry = {.index = msg->u.committed.entries.count + 1, .term = 1};
        entry.type = data[at + 1] == 0xff ? ENTRY_CONFIGURATION : ENTRY_NORMAL;
        entry.payload = buf_bytes(&payload);
        entries_append(&msg->u.committed.entries, &entry);
        bytes_unref(&entry.payload);
        at += 1 + size;
    }
    buf_deinit(&payload);
    return msg;
}

static void drain(outbox_t *out)
{
    actor_id_t to;
    msg_t *msg = NULL;
    int64_t revision = 0;
    while ((msg = outbox_take(out, &to))) {
        for (size_t i = 0; msg->kind == MSG_EVENTS && i < msg->u.events.count; i++) {
            assert(msg->u.events.items[i].revision >= revision);
            revision = msg->u.events.items[i].revision;
        }
        if (msg->cost) {
            outbox_credit(out, to, &(msg_credit_t){.messages = 1, .bytes = msg->cost});
        }
        msg_free(&msg);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char *error = NULL;
    metrics_t *metrics = xcalloc(1, sizeof *metrics);
    shared_t *store = shared_new(kv_memory_new(), close_store);
    applier_cfg_t cfg = {
        .store = store, .origins = {ORIGIN}, .flush_entries = 5, .compaction_rows = 3};
    void *applier = applier_new(&cfg, metrics, &error);
    assert(applier);
    outbox_t *out = wiring_outbox(ACTOR_APPLIER);
    applier_ops.step(applier, &(step_in_t){.now_us = 1}, out);
    drain(out);
    msg_t *msg = entries_of(data, len);
    applier_ops.step(applier, &(step_in_t){.now_us = 1, .msg = msg}, out);
    msg_free(&msg);
    for (uint64_t now = 1; applier_ops.deadline(applier) <= now; now++) {
        applier_ops.step(applier, &(step_in_t){.now_us = now}, out);
        drain(out);
    }
    applier_ops.destroy(&applier);
    outbox_destroy(&out);
    mvcc_t *again = NULL;
    int rc = mvcc_new(&again, shared_object(store), &error);
    assert(rc == 0);
    mvcc_destroy(&again);
    shared_unref(&store);
    free(metrics);
    return 0;
}
