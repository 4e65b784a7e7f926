/* A decoded Txn is one block of memory for most requests: the arena's first chunk lies in it. */
#include "actors/api/decode.h"

#include <assert.h>
#include <stdlib.h>

#include "actors/api/canon.h"
#include "messages/limits.h"
#include "messages/scan.h"
#include "messages/xalloc.h"

enum {
    FIRST_CHUNK_BYTES =
        4096 - 64, /* holds a few compares and puts; with malloc's header one page */
    NEXT_CHUNK_BYTES = 64 * 1024,
    ALIGNMENT = 16
};

typedef struct chunk {
    struct chunk *next;
    uint8_t data[] __attribute__((aligned(ALIGNMENT)));
} chunk_t;

struct txn {
    slice_t plain;
    buf_t rewritten; /* what `plain` points into, unless it is what came */
    const Etcdserverpb__TxnRequest *request;
    chunk_t *chunks;
    uint8_t *at;
    size_t left;       /* behind `at` */
    size_t total, cap; /* handed out, and how much may be */
    uint8_t first[FIRST_CHUNK_BYTES] __attribute__((aligned(ALIGNMENT)));
};

static void *arena_alloc(void *context, size_t size)
{
    txn_t *self = context;
    if (size > self->cap || self->total > self->cap - size) {
        return NULL; /* protobuf-c gives up the message */
    }
    size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (size > self->left) {
        size_t room = size > NEXT_CHUNK_BYTES ? size : NEXT_CHUNK_BYTES;
        chunk_t *chunk = xmalloc(sizeof *chunk + room);
        chunk->next = self->chunks;
        self->chunks = chunk;
        self->at = chunk->data;
        self->left = room;
    }
    void *block = self->at;
    self->at += size;
    self->left -= size;
    self->total += size;
    return block;
}

static void arena_free(void *context, void *block)
{
    (void)context; /* all at once, in txn_destroy */
    (void)block;
}

/* Points self->plain at what may be unpacked. 0 or a DECODE_*. */
static int make_plain(txn_t *self, slice_t in)
{
    static const scan_limits_t limits = {.depth = LIMIT_MESSAGE_DEPTH,
                                         .fields = LIMIT_MESSAGE_FIELDS};
    const ProtobufCMessageDescriptor *descriptor = &etcdserverpb__txn_request__descriptor;
    self->plain = in;
    int rc = scan_message(in, descriptor, &limits);
    if (rc == SCAN_TOO_DEEP || rc == SCAN_TOO_MANY_FIELDS) {
        return DECODE_TOO_LARGE;
    }
    if (rc == 0 && canon_is_plain(in, descriptor)) {
        return 0;
    }
    rc = canon_rewrite(in, descriptor, &self->rewritten);
    if (rc) {
        return rc == CANON_MALFORMED ? DECODE_MALFORMED : DECODE_TOO_LARGE;
    }
    self->plain = buf_slice(&self->rewritten);
    return scan_message(self->plain, descriptor, &limits) ? DECODE_TOO_LARGE : 0;
}

int txn_decode(txn_t **self_p, slice_t in)
{
    *self_p = NULL;
    txn_t *self = xmalloc(sizeof *self);
    self->rewritten = (buf_t){0};
    self->chunks = NULL;
    self->at = self->first;
    self->left = sizeof self->first;
    self->total = 0;
    int rc = make_plain(self, in);
    if (rc) {
        txn_destroy(&self);
        return rc;
    }
    self->cap = in.len + LIMIT_DECODE_BYTES; /* keys and values are copied */
    ProtobufCAllocator allocator = {
        .alloc = arena_alloc, .free = arena_free, .allocator_data = self};
    self->request =
        etcdserverpb__txn_request__unpack(&allocator, self->plain.len, self->plain.data);
    if (!self->request) {
        txn_destroy(&self);
        return DECODE_MALFORMED;
    }
    *self_p = self;
    return 0;
}

void txn_destroy(txn_t **self_p)
{
    txn_t *self = *self_p;
    *self_p = NULL;
    if (!self) {
        return;
    }
    while (self->chunks) {
        chunk_t *chunk = self->chunks;
        self->chunks = chunk->next;
        free(chunk);
    }
    buf_deinit(&self->rewritten);
    free(self);
}

const Etcdserverpb__TxnRequest *txn_request(const txn_t *self)
{
    return self->request;
}

slice_t txn_plain(const txn_t *self)
{
    return self->plain;
}
