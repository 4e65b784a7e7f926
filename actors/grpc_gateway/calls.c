/* Calls are slots of an array. An id is the slot's number and, above it, how often the slot has
 * been used: an answer that comes too late names a generation that is gone. */
#include "actors/grpc_gateway/conn.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/limits.h"
#include "messages/xalloc.h"

typedef struct {
    conn_t *conn; /* NULL = free */
    uint32_t generation;
    int32_t stream;
    uint32_t next_free;
} call_slot_t;

#define SLOT_NONE UINT32_MAX

struct calls {
    call_slot_t *slots;
    size_t capacity;
    uint32_t used; /* slots ever used */
    uint32_t free_first;
    size_t open;
    conn_t *dirty_first, *dirty_last;
    size_t receiving_bytes;
    bool touched;
    pool_t *pool;
};

calls_t *calls_new(void)
{
    calls_t *self = xcalloc(1, sizeof *self);
    self->free_first = SLOT_NONE;
    self->pool = pool_new();
    return self;
}

void calls_destroy(calls_t **self_p)
{
    calls_t *self = *self_p;
    *self_p = NULL;
    if (self) {
        pool_destroy(&self->pool);
        free(self->slots);
        free(self);
    }
}

static uint32_t take_slot(calls_t *self)
{
    uint32_t slot = self->free_first;
    if (slot != SLOT_NONE) {
        self->free_first = self->slots[slot].next_free;
        return slot;
    }
    slot = self->used++;
    self->slots = xgrow(self->slots, &self->capacity, self->used, sizeof *self->slots);
    self->slots[slot].generation = 0;
    return slot;
}

uint64_t calls_open(calls_t *self, conn_t *conn, int32_t stream)
{
    assert(conn);
    if (self->open == LIMIT_CALLS) {
        return 0;
    }
    uint32_t number = take_slot(self);
    call_slot_t *slot = &self->slots[number];
    slot->conn = conn;
    slot->stream = stream;
    slot->generation++; /* so that no id is 0; wraps after 4 billion calls in one slot */
    slot->generation += slot->generation == 0;
    self->open++;
    return (uint64_t)slot->generation << 32 | number;
}

static call_slot_t *find(const calls_t *self, uint64_t call)
{
    uint32_t number = (uint32_t)call;
    if (number >= self->used) {
        return NULL;
    }
    call_slot_t *slot = &self->slots[number];
    return slot->conn && slot->generation == call >> 32 ? slot : NULL;
}

void calls_close(calls_t *self, uint64_t call)
{
    call_slot_t *slot = find(self, call);
    assert(slot);
    slot->conn = NULL;
    slot->next_free = self->free_first;
    self->free_first = (uint32_t)call;
    self->open--;
}

conn_t *calls_find(const calls_t *self, uint64_t call, int32_t *stream_p)
{
    const call_slot_t *slot = find(self, call);
    if (!slot) {
        return NULL;
    }
    *stream_p = slot->stream;
    return slot->conn;
}

size_t calls_count(const calls_t *self)
{
    return self->open;
}

static void sink_message(void *context, uint64_t call, bytes_t **message_p)
{
    calls_t *self = context;
    int32_t stream = 0;
    conn_t *conn = calls_find(self, call, &stream);
    if (!conn) {
        bytes_unref(message_p);
        return;
    }
    calls_mark_dirty(self, conn);
    conn->ops->message(conn, stream, message_p);
}

static void sink_finish(void *context, uint64_t call, grpc_code_t code, const char *text)
{
    calls_t *self = context;
    int32_t stream = 0;
    conn_t *conn = calls_find(self, call, &stream);
    if (conn) {
        calls_mark_dirty(self, conn);
        conn->ops->finish(conn, stream, code, text);
    }
}

api_sink_t calls_sink(calls_t *self)
{
    return (api_sink_t){.context = self, .message = sink_message, .finish = sink_finish};
}

void calls_mark_dirty(calls_t *self, conn_t *conn)
{
    if (conn->dirty) {
        return;
    }
    conn->dirty = true;
    conn->dirty_next = NULL;
    conn->dirty_prev = self->dirty_last;
    *(self->dirty_last ? &self->dirty_last->dirty_next : &self->dirty_first) = conn;
    self->dirty_last = conn;
}

void calls_clear_dirty(calls_t *self, conn_t *conn)
{
    if (!conn->dirty) {
        return;
    }
    conn->dirty = false;
    *(conn->dirty_prev ? &conn->dirty_prev->dirty_next : &self->dirty_first) = conn->dirty_next;
    *(conn->dirty_next ? &conn->dirty_next->dirty_prev : &self->dirty_last) = conn->dirty_prev;
}

conn_t *calls_take_dirty(calls_t *self)
{
    conn_t *conn = self->dirty_first;
    if (conn) {
        calls_clear_dirty(self, conn);
    }
    return conn;
}

bool calls_has_dirty(const calls_t *self)
{
    return self->dirty_first;
}

pool_t *calls_pool(calls_t *self)
{
    return self->pool;
}

void calls_touch(calls_t *self)
{
    self->touched = true;
}

bool calls_take_touched(calls_t *self)
{
    bool touched = self->touched;
    self->touched = false;
    return touched;
}

bool calls_charge(calls_t *self, size_t bytes)
{
    if (bytes > LIMIT_RECEIVING_BYTES - self->receiving_bytes) {
        return false;
    }
    self->receiving_bytes += bytes;
    return true;
}

void calls_refund(calls_t *self, size_t bytes)
{
    assert(bytes <= self->receiving_bytes);
    self->receiving_bytes -= bytes;
}

protocol_t protocol_sniff(slice_t first)
{
    slice_t preface = slice_str("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    if (first.len < preface.len) {
        return slice_starts_with(preface, first) ? PROTOCOL_UNDECIDED : PROTOCOL_HTTP1;
    }
    return slice_starts_with(first, preface) ? PROTOCOL_HTTP2 : PROTOCOL_HTTP1;
}
