#include "client/native/client_request.h"

#include <stdlib.h>

#include "messages/xalloc.h"

/* Everything that begins with the key, as the API spells it: an end that is the next key which does not. */
static void put_range(buf_t *out, slice_t key)
{
    enum { KEY = 1, RANGE_END = 2 };
    size_t len = key.len;
    while (len > 0 && key.data[len - 1] == UINT8_MAX) {
        len--;
    }
    buf_field_bytes(out, KEY, key.len > 0 ? key : slice("", 1));
    if (len == 0) {
        buf_field_bytes(out, RANGE_END, slice("", 1)); /* no end */
        return;
    }
    buf_field_header(out, RANGE_END, len);
    buf_append(out, key.data, len);
    out->data[out->len - 1]++;
}

static void put_keys(buf_t *out, quoral_bytes_t key, bool prefix)
{
    if (prefix) {
        put_range(out, slice_of(key));
    } else {
        buf_field_bytes(out, 1, slice_of(key));
    }
}

void client_request_put(buf_t *out, quoral_bytes_t key, quoral_bytes_t value,
                        const quoral_put_options_t *options)
{
    enum { KEY = 1, VALUE = 2, LEASE = 3, PREV_KV = 4 };
    buf_field_bytes(out, KEY, slice_of(key));
    buf_field_bytes(out, VALUE, slice_of(value));
    if (options) {
        buf_field_u64(out, LEASE, (uint64_t)options->lease);
        buf_field_u64(out, PREV_KV, options->previous);
    }
}

void client_request_get(buf_t *out, quoral_bytes_t key, const quoral_get_options_t *options)
{
    enum { LIMIT = 3, REVISION = 4, SERIALIZABLE = 7, KEYS_ONLY = 8, COUNT_ONLY = 9 };
    put_keys(out, key, options && options->prefix);
    if (options) {
        buf_field_u64(out, LIMIT, (uint64_t)options->limit);
        buf_field_u64(out, REVISION, (uint64_t)options->revision);
        buf_field_u64(out, SERIALIZABLE, options->serializable);
        buf_field_u64(out, KEYS_ONLY, options->keys_only);
        buf_field_u64(out, COUNT_ONLY, options->count_only);
    }
}

void client_request_delete(buf_t *out, quoral_bytes_t key, const quoral_delete_options_t *options)
{
    enum { PREV_KV = 3 };
    put_keys(out, key, options && options->prefix);
    buf_field_u64(out, PREV_KV, options && options->previous);
}

/* ---- transactions ---- */

struct quoral_txn {
    buf_t request;
};

quoral_txn_t *quoral_txn_new(void)
{
    return xcalloc(1, sizeof(quoral_txn_t));
}

void quoral_txn_destroy(quoral_txn_t **self_p)
{
    if (*self_p) {
        buf_deinit(&(*self_p)->request);
        free(*self_p);
        *self_p = NULL;
    }
}

slice_t client_request_txn(const quoral_txn_t *txn)
{
    return buf_slice(&txn->request);
}

/* Compare: result = 1, target = 2, key = 3, then the number or value in the target's own field. */
static void begin_compare(buf_t *out, quoral_bytes_t key, int target, quoral_relation_t relation)
{
    buf_field_u64(out, 1, (uint64_t)relation);
    buf_field_u64(out, 2, (uint64_t)target);
    buf_field_bytes(out, 3, slice_of(key));
}

static void add_compare(quoral_txn_t *self, buf_t *compare)
{
    buf_field_bytes(&self->request, 1, buf_slice(compare));
    buf_deinit(compare);
}

void quoral_txn_if(quoral_txn_t *self, quoral_bytes_t key, quoral_target_t target,
                   quoral_relation_t relation, int64_t number)
{
    enum { FIRST_FIELD = 4, VARINT = 0 };
    buf_t compare = {0};
    begin_compare(&compare, key, (int)target, relation);
    buf_varint(&compare,
               (uint64_t)((FIRST_FIELD + (int)target) << 3 | VARINT)); /* also when it is zero */
    buf_varint(&compare, (uint64_t)number);
    add_compare(self, &compare);
}

void quoral_txn_if_value(quoral_txn_t *self, quoral_bytes_t key, quoral_relation_t relation,
                         quoral_bytes_t value)
{
    enum { TARGET_VALUE = 3, VALUE = 7 };
    buf_t compare = {0};
    begin_compare(&compare, key, TARGET_VALUE, relation);
    buf_field_bytes(&compare, VALUE, slice_of(value));
    add_compare(self, &compare);
}

/* RequestOp: range = 1, put = 2, delete = 3. */
static void add_operation(quoral_txn_t *self, quoral_branch_t branch, uint32_t kind, buf_t *request)
{
    buf_t operation = {0};
    buf_field_bytes(&operation, kind, buf_slice(request));
    buf_field_bytes(&self->request, (uint32_t)branch, buf_slice(&operation));
    buf_deinit(&operation);
    buf_deinit(request);
}

void quoral_txn_put(quoral_txn_t *self, quoral_branch_t branch, quoral_bytes_t key,
                    quoral_bytes_t value, const quoral_put_options_t *options)
{
    buf_t request = {0};
    client_request_put(&request, key, value, options);
    add_operation(self, branch, 2, &request);
}

void quoral_txn_get(quoral_txn_t *self, quoral_branch_t branch, quoral_bytes_t key,
                    const quoral_get_options_t *options)
{
    buf_t request = {0};
    client_request_get(&request, key, options);
    add_operation(self, branch, 1, &request);
}

void quoral_txn_delete(quoral_txn_t *self, quoral_branch_t branch, quoral_bytes_t key,
                       const quoral_delete_options_t *options)
{
    buf_t request = {0};
    client_request_delete(&request, key, options);
    add_operation(self, branch, 3, &request);
}
