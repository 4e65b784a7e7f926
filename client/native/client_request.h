/* client_request: the requests of quoral.h as protobuf, and the answers as results. Pure. */
#pragma once

#include "client/native/keymap.h"
#include "client/quoral.h"
#include "messages/buf.h"

static inline slice_t slice_of(quoral_bytes_t bytes)
{
    return slice(bytes.data, bytes.len);
}

/* Appended to `out`. Options may be NULL. */
void client_request_put(buf_t *out, quoral_bytes_t key, quoral_bytes_t value,
                        const quoral_put_options_t *options);
void client_request_get(buf_t *out, quoral_bytes_t key, const quoral_get_options_t *options);
void client_request_delete(buf_t *out, quoral_bytes_t key, const quoral_delete_options_t *options);
/* The TxnRequest. */
slice_t client_request_txn(const quoral_txn_t *txn);

typedef enum {
    CLIENT_ANSWER_OTHER, /* only the body is kept */
    CLIENT_ANSWER_PUT,
    CLIENT_ANSWER_RANGE,
    CLIENT_ANSWER_DELETE,
    CLIENT_ANSWER_TXN,
} client_answer_t;

/* A result from an answer; one that cannot be read gives QUORAL_INTERNAL. Copies the body. */
quoral_result_t *client_result_new(client_answer_t kind, slice_t body);
quoral_result_t *client_result_failed(quoral_code_t code, slice_t text, bool may_have_happened);
/* An ok result for key-values of a cache. */
quoral_result_t *client_result_of_cache(int64_t revision);
/* Takes a reference of the item. */
void client_result_add(quoral_result_t *self, const keymap_item_t *item);
/* What quoral.h shows of an item; borrows. */
quoral_kv_t client_kv_of(const keymap_item_t *item);
