#include <stdlib.h>

#include "client/native/client_request.h"
#include "messages/native_event.h"
#include "messages/version.h"
#include "messages/wire.h"
#include "messages/xalloc.h"

enum { WIRE_VARINT = 0, WIRE_BYTES = 2 };

struct quoral_result {
    quoral_code_t code;
    char *text;
    bool may_have_happened;
    bytes_t *
        body; /* what the key-values of an answer lie in; of a txn's responses: NULL, it is the txn's */
    int64_t revision;
    int64_t count;
    bool succeeded;
    quoral_kv_t *kvs;
    size_t kvs_n;
    size_t kvs_capacity;
    bytes_t **records; /* what the key-values of a cache lie in */
    size_t records_n;
    size_t records_capacity;
    quoral_result_t **responses;
    size_t responses_n;
    size_t responses_capacity;
};

const char *quoral_version(void)
{
    return QUORAL_VERSION;
}

void quoral_result_destroy(quoral_result_t **self_p)
{
    quoral_result_t *self = *self_p;
    *self_p = NULL;
    if (!self) {
        return;
    }
    for (size_t i = 0; i < self->responses_n; i++) { /* these have none of their own */
        quoral_result_t *response = self->responses[i];
        free(response->text);
        free(response->kvs);
        free(response);
    }
    for (size_t i = 0; i < self->records_n; i++) {
        bytes_unref(&self->records[i]);
    }
    bytes_unref(&self->body);
    free(self->responses);
    free(self->records);
    free(self->kvs);
    free(self->text);
    free(self);
}

/* ---- answers ---- */

static int read_header(quoral_result_t *self, slice_t rest)
{
    enum { REVISION = 3 };
    wire_field_t field;
    int rc = 0;
    while ((rc = wire_next(&rest, &field)) == 0) {
        if (field.type == WIRE_VARINT && field.number == REVISION) {
            self->revision = (int64_t)field.value;
        }
    }
    return rc == WIRE_END ? 0 : rc;
}

static int read_kv(quoral_result_t *self, slice_t in)
{
    native_kv_t kv;
    if (native_kv_read(in, &kv)) {
        return WIRE_MALFORMED;
    }
    self->kvs = xgrow(self->kvs, &self->kvs_capacity, self->kvs_n + 1, sizeof *self->kvs);
    self->kvs[self->kvs_n++] = (quoral_kv_t){.key = {kv.key.data, kv.key.len},
                                             .value = {kv.value.data, kv.value.len},
                                             .create_revision = kv.create_revision,
                                             .mod_revision = kv.mod_revision,
                                             .version = kv.version,
                                             .lease = kv.lease};
    return 0;
}

/* Where the answers have their key-values and their count; 0: they have none. */
static uint32_t kv_field(client_answer_t kind)
{
    return kind == CLIENT_ANSWER_PUT || kind == CLIENT_ANSWER_RANGE ? 2
           : kind == CLIENT_ANSWER_DELETE                           ? 3
                                                                    : 0;
}

static uint32_t count_field(client_answer_t kind)
{
    return kind == CLIENT_ANSWER_RANGE ? 4 : kind == CLIENT_ANSWER_DELETE ? 2 : 0;
}

/* PutResponse, RangeResponse, DeleteRangeResponse. */
static int read_answer(quoral_result_t *self, client_answer_t kind, slice_t rest)
{
    wire_field_t field;
    int rc = 0;
    while (rc == 0 && (rc = wire_next(&rest, &field)) == 0) {
        if (field.type == WIRE_BYTES && field.number == 1) {
            rc = read_header(self, field.data);
        } else if (field.type == WIRE_BYTES && field.number == kv_field(kind)) {
            rc = read_kv(self, field.data);
        } else if (field.type == WIRE_VARINT && field.number == count_field(kind)) {
            self->count = (int64_t)field.value;
        }
    }
    return rc == WIRE_END ? 0 : rc;
}

/* ResponseOp: which field it is says of what kind. */
static int read_response(quoral_result_t *self, slice_t rest)
{
    static const client_answer_t kinds[] = {
        [1] = CLIENT_ANSWER_RANGE, [2] = CLIENT_ANSWER_PUT, [3] = CLIENT_ANSWER_DELETE};
    quoral_result_t *response = xcalloc(1, sizeof *response);
    response->text = xstrdup("");
    self->responses =
        xgrow(self->responses, &self->responses_capacity, self->responses_n + 1, sizeof(void *));
    self->responses[self->responses_n++] = response;
    wire_field_t field;
    int rc = 0;
    while (rc == 0 && (rc = wire_next(&rest, &field)) == 0) {
        if (field.type == WIRE_BYTES && field.number >= 1 && field.number <= 3) {
            rc = read_answer(response, kinds[field.number], field.data);
        }
    }
    return rc == WIRE_END ? 0 : rc;
}

static int read_txn(quoral_result_t *self, slice_t rest)
{
    enum { HEADER = 1, SUCCEEDED = 2, RESPONSES = 3 };
    wire_field_t field;
    int rc = 0;
    while (rc == 0 && (rc = wire_next(&rest, &field)) == 0) {
        if (field.type == WIRE_BYTES && field.number == HEADER) {
            rc = read_header(self, field.data);
        } else if (field.type == WIRE_VARINT && field.number == SUCCEEDED) {
            self->succeeded = field.value != 0;
        } else if (field.type == WIRE_BYTES && field.number == RESPONSES) {
            rc = read_response(self, field.data);
        }
    }
    return rc == WIRE_END ? 0 : rc;
}

quoral_result_t *client_result_new(client_answer_t kind, slice_t body)
{
    quoral_result_t *self = xcalloc(1, sizeof *self);
    self->body = bytes_new(body.data, body.len);
    slice_t copy = bytes_slice(self->body);
    int rc = 0;
    if (kind == CLIENT_ANSWER_TXN) {
        rc = read_txn(self, copy);
    } else if (kind != CLIENT_ANSWER_OTHER) {
        rc = read_answer(self, kind, copy);
    }
    if (rc) {
        quoral_result_destroy(&self);
        return client_result_failed(QUORAL_INTERNAL, slice_str("quoral: the answer cannot be read"),
                                    true);
    }
    self->text = xstrdup("");
    return self;
}

quoral_result_t *client_result_failed(quoral_code_t code, slice_t text, bool may_have_happened)
{
    quoral_result_t *self = xcalloc(1, sizeof *self);
    self->code = code;
    self->text = xasprintf("%.*s", (int)text.len, text.len ? (const char *)text.data : "");
    self->may_have_happened = may_have_happened;
    return self;
}

/* ---- of caches ---- */

quoral_result_t *client_result_of_cache(int64_t revision)
{
    quoral_result_t *self = xcalloc(1, sizeof *self);
    self->text = xstrdup("");
    self->revision = revision;
    return self;
}

quoral_kv_t client_kv_of(const keymap_item_t *item)
{
    return (quoral_kv_t){.key = {item->key.data, item->key.len},
                         .value = {item->value.data, item->value.len},
                         .create_revision = item->create_revision,
                         .mod_revision = item->mod_revision,
                         .version = item->version,
                         .lease = item->lease};
}

void client_result_add(quoral_result_t *self, const keymap_item_t *item)
{
    self->records =
        xgrow(self->records, &self->records_capacity, self->records_n + 1, sizeof *self->records);
    self->records[self->records_n++] = bytes_ref(item->record);
    self->kvs = xgrow(self->kvs, &self->kvs_capacity, self->kvs_n + 1, sizeof *self->kvs);
    self->kvs[self->kvs_n++] = client_kv_of(item);
    self->count++;
}

/* ---- what programs see ---- */

bool quoral_result_is_ok(const quoral_result_t *self)
{
    return self->code == QUORAL_OK;
}

quoral_code_t quoral_result_code(const quoral_result_t *self)
{
    return self->code;
}

const char *quoral_result_text(const quoral_result_t *self)
{
    return self->text;
}

bool quoral_result_may_have_happened(const quoral_result_t *self)
{
    return self->may_have_happened;
}

int64_t quoral_result_revision(const quoral_result_t *self)
{
    return self->revision;
}

size_t quoral_result_size(const quoral_result_t *self)
{
    return self->kvs_n;
}

const quoral_kv_t *quoral_result_kv(const quoral_result_t *self, size_t i)
{
    return i < self->kvs_n ? &self->kvs[i] : NULL;
}

int64_t quoral_result_count(const quoral_result_t *self)
{
    return self->count;
}

bool quoral_result_succeeded(const quoral_result_t *self)
{
    return self->succeeded;
}

const quoral_result_t *quoral_result_response(const quoral_result_t *self, size_t i)
{
    return i < self->responses_n ? self->responses[i] : NULL;
}

quoral_bytes_t quoral_result_body(const quoral_result_t *self)
{
    slice_t body = bytes_slice(self->body);
    return (quoral_bytes_t){body.data, body.len};
}
