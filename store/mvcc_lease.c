/* Leases as data: grants and revocations. When a lease ends is the lease actor's business. */
#include "store/mvcc_write.h"

#include <assert.h>

#include "messages/errors.h"
#include "store/mvcc_state.h"

enum { REVOKE_CHUNK = 256 };

int mvcc_lease_grant(mvcc_t *self, int64_t id, int64_t ttl_s)
{
    assert(self->in_entry);
    int64_t old_ttl_s = 0;
    int rc = mvcc_lease_ttl(overlay_reader(self->overlay), id, &old_ttl_s);
    if (rc != KV_ABSENT) {
        return rc ? rc : API_LEASE_EXISTS;
    }
    uint8_t ttl[10];
    size_t ttl_len = varint_write(ttl, (uint64_t)ttl_s);
    mvcc_key_lease(&self->key, id);
    overlay_put(self->overlay, buf_slice(&self->key), slice(ttl, ttl_len));
    return 0;
}

/* Some attached keys, copied: deleting them invalidates iterators and removes their rows. */
typedef struct {
    buf_t bytes;
    size_t lens[REVOKE_CHUNK];
    size_t count;
} attached_t;

static int collect(void *context, slice_t key)
{
    attached_t *attached = context;
    if (attached->count == REVOKE_CHUNK) {
        return MVCC_MORE_WORK;
    }
    attached->lens[attached->count++] = key.len;
    buf_append(&attached->bytes, key.data, key.len);
    return 0;
}

static int delete_attached(mvcc_t *self, const attached_t *attached)
{
    const uint8_t *at = attached->bytes.data;
    for (size_t i = 0; i < attached->count; i++) {
        slice_t key = slice(at, attached->lens[i]);
        at += key.len;
        kv_value_t value = {0};
        mvcc_record_t record;
        int rc = mvcc_get(overlay_reader(self->overlay), key, &value, &record);
        if (rc) {
            return rc == KV_ABSENT ? KV_ECORRUPT : rc; /* an attached key is live */
        }
        rc = mvcc_delete_key(self, key, kv_value_slice(&value));
        kv_value_deinit(&value);
        if (rc) {
            return rc;
        }
    }
    return 0;
}

/* The next keys are looked for behind the last one: from the first on, all that is deleted already would be stepped
 * over again. */
static void go_behind(const attached_t *attached, buf_t *from)
{
    if (attached->count) {
        size_t len = attached->lens[attached->count - 1];
        buf_clear(from);
        buf_append(from, attached->bytes.data + attached->bytes.len - len, len);
        buf_byte(from, 0);
    }
}

int mvcc_lease_revoke(mvcc_t *self, int64_t id)
{
    assert(self->in_entry);
    int64_t ttl_s = 0;
    int rc = mvcc_lease_ttl(overlay_reader(self->overlay), id, &ttl_s);
    if (rc) {
        return rc == KV_ABSENT ? API_LEASE_NOT_FOUND : rc;
    }
    attached_t attached = {0};
    buf_t from = {0};
    rc = MVCC_MORE_WORK;
    while (rc == MVCC_MORE_WORK) {
        attached.count = 0;
        buf_clear(&attached.bytes);
        rc = mvcc_lease_keys(overlay_reader(self->overlay), id, buf_slice(&from), collect,
                             &attached);
        if (rc >= 0) {
            int failed = delete_attached(self, &attached);
            rc = failed ? failed : rc;
            go_behind(&attached, &from);
        }
    }
    buf_deinit(&from);
    buf_deinit(&attached.bytes);
    if (rc == 0) {
        mvcc_key_lease(&self->key, id);
        overlay_delete(self->overlay, buf_slice(&self->key));
    }
    return rc;
}
