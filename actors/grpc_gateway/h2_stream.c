#include "actors/grpc_gateway/h2_private.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/limits.h"
#include "messages/xalloc.h"

enum { CHUNK_STREAMS = 16, INDEX_NONE = -1, QUEUE_INLINE = 2 };

static void add_chunk(h2_conn_t *conn)
{
    conn->chunks =
        xgrow(conn->chunks, &conn->chunk_capacity, conn->chunk_count + 1, sizeof *conn->chunks);
    h2_stream_t *chunk = xcalloc(CHUNK_STREAMS, sizeof *chunk);
    int32_t base = (int32_t)(conn->chunk_count * CHUNK_STREAMS);
    conn->chunks[conn->chunk_count++] = chunk;
    for (int32_t i = CHUNK_STREAMS - 1; i >= 0; i--) {
        chunk[i].index = conn->free_first; /* of a free stream: the next free one */
        conn->free_first = base + i;
    }
}

static h2_stream_t *slot(const h2_conn_t *conn, int32_t index)
{
    assert(index >= 0);
    assert((size_t)index / CHUNK_STREAMS < conn->chunk_count);
    return &conn->chunks[index / CHUNK_STREAMS][index % CHUNK_STREAMS];
}

h2_stream_t *h2_stream_at(const h2_conn_t *conn, int32_t index)
{
    h2_stream_t *stream = slot(conn, index);
    assert(stream->id != 0);
    return stream;
}

h2_stream_t *h2_stream_new(h2_conn_t *conn, int32_t id)
{
    assert(id != 0);
    if (conn->free_first == INDEX_NONE) {
        add_chunk(conn);
    }
    int32_t index = conn->free_first;
    h2_stream_t *stream = slot(conn, index);
    conn->free_first = stream->index;
    *stream = (h2_stream_t){.id = id,
                            .index = index,
                            .method = METHOD_UNKNOWN,
                            .begun_us = conn->now_us,
                            .queue_capacity = QUEUE_INLINE};
    stream->queue = stream->inline_queue;
    conn->open_streams++;
    return stream;
}

void h2_stream_free(h2_conn_t *conn, h2_stream_t *stream)
{
    if (stream->call) {
        uint64_t call = stream->call;
        stream->call = 0;
        calls_close(conn->env->calls, call);
        api_call_cancel(conn->env->api, call);
    }
    h2_list_remove(stream, LINK_REQUEST);
    h2_list_remove(stream, LINK_SENDING);
    calls_refund(conn->env->calls, stream->charged_bytes);
    bytes_unref(&stream->request);
    for (size_t i = 0; i < stream->queue_count; i++) {
        bytes_unref(&stream->queue[stream->queue_first + i]);
    }
    if (stream->queue != stream->inline_queue) {
        free(stream->queue);
    }
    free(stream->text);
    conn->queued_bytes -= stream->unsent_bytes;
    conn->open_streams--;
    conn->recent = NULL;
    int32_t index = stream->index;
    stream->id = 0;
    stream->index = conn->free_first;
    conn->free_first = index;
}

void h2_streams_deinit(h2_conn_t *conn)
{
    for (size_t c = 0; c < conn->chunk_count; c++) {
        for (int i = 0; i < CHUNK_STREAMS; i++) {
            if (conn->chunks[c][i].id != 0) {
                h2_stream_free(conn, &conn->chunks[c][i]);
            }
        }
    }
    for (size_t c = 0; c < conn->chunk_count; c++) {
        free(conn->chunks[c]);
    }
    free(conn->chunks);
    conn->chunks = NULL;
    conn->chunk_count = 0;
}

bool h2_is_unary(const h2_stream_t *stream)
{
    return stream->method == METHOD_UNKNOWN || method_info(stream->method)->type == RPC_UNARY;
}

void h2_list_append(h2_list_t *list, h2_stream_t *stream, uint64_t deadline_us)
{
    h2_link_t *link = &stream->links[list->link];
    assert(!link->list);
    *link = (h2_link_t){.list = list, .prev = list->last, .deadline_us = deadline_us};
    *(list->last ? &list->last->links[list->link].next : &list->first) = stream;
    list->last = stream;
}

void h2_list_remove(h2_stream_t *stream, h2_link_id_t link_id)
{
    h2_link_t *link = &stream->links[link_id];
    h2_list_t *list = link->list;
    if (!list) {
        return;
    }
    *(link->prev ? &link->prev->links[link_id].next : &list->first) = link->next;
    *(link->next ? &link->next->links[link_id].prev : &list->last) = link->prev;
    *link = (h2_link_t){0};
}

static void queue_make_room(h2_stream_t *stream)
{
    size_t end = stream->queue_first + stream->queue_count;
    if (end < stream->queue_capacity) {
        return;
    }
    if (stream->queue_first >= stream->queue_count) { /* at least half is free: move down */
        memcpy(stream->queue, stream->queue + stream->queue_first,
               stream->queue_count * sizeof *stream->queue);
    } else {
        size_t capacity = stream->queue_capacity * 2;
        bytes_t **queue = xmalloc(capacity * sizeof *queue);
        memcpy(queue, stream->queue + stream->queue_first,
               stream->queue_count * sizeof *stream->queue);
        if (stream->queue != stream->inline_queue) {
            free(stream->queue);
        }
        stream->queue = queue;
        stream->queue_capacity = capacity;
    }
    stream->queue_first = 0;
}

/* The stall clock runs while bytes wait and starts again with every byte taken. */
static void restart_stall_clock(h2_conn_t *conn, h2_stream_t *stream)
{
    h2_list_remove(stream, LINK_SENDING);
    if (stream->unsent_bytes > 0) {
        bool unary = h2_is_unary(stream);
        h2_list_append(unary ? &conn->sending_unary : &conn->sending_stream, stream,
                       conn->now_us + (unary ? LIMIT_UNARY_STALL_US : LIMIT_STREAM_STALL_US));
    }
}

void h2_queue_put(h2_conn_t *conn, h2_stream_t *stream, bytes_t **message_p)
{
    queue_make_room(stream);
    stream->queue[stream->queue_first + stream->queue_count++] = bytes_take(message_p);
    size_t bytes =
        GRPC_PREFIX_BYTES + bytes_len(stream->queue[stream->queue_first + stream->queue_count - 1]);
    stream->unsent_bytes += bytes;
    conn->queued_bytes += bytes;
    if (!stream->links[LINK_SENDING].list) {
        restart_stall_clock(conn, stream);
    }
}

/* Copies from the first message of the queue; drops it when nothing is left of it. */
static size_t copy_first(h2_stream_t *stream, uint8_t *out, size_t len, size_t *body_bytes)
{
    slice_t message = bytes_slice(stream->queue[stream->queue_first]);
    size_t copied = 0;
    if (stream->sent_bytes < GRPC_PREFIX_BYTES) {
        uint8_t prefix[GRPC_PREFIX_BYTES];
        grpc_prefix_write(prefix, (uint32_t)message.len);
        size_t left = GRPC_PREFIX_BYTES - stream->sent_bytes;
        copied = left < len ? left : len;
        memcpy(out, prefix + stream->sent_bytes, copied);
        stream->sent_bytes += copied;
    }
    size_t left = GRPC_PREFIX_BYTES + message.len - stream->sent_bytes;
    size_t body = left < len - copied ? left : len - copied;
    if (body > 0) { /* only when the whole prefix is out */
        memcpy(out + copied, message.data + (stream->sent_bytes - GRPC_PREFIX_BYTES), body);
        stream->sent_bytes += body;
        *body_bytes += body;
        copied += body;
    }
    if (stream->sent_bytes == GRPC_PREFIX_BYTES + message.len) {
        bytes_unref(&stream->queue[stream->queue_first]);
        stream->queue_count--;
        stream->queue_first = stream->queue_count ? stream->queue_first + 1 : 0;
        stream->sent_bytes = 0;
    }
    return copied;
}

size_t h2_queue_copy(h2_conn_t *conn, h2_stream_t *stream, uint8_t *out, size_t len)
{
    assert(len <= stream->unsent_bytes);
    size_t done = 0;
    size_t body_bytes = 0;
    while (done < len) {
        done += copy_first(stream, out + done, len - done, &body_bytes);
    }
    stream->unsent_bytes -= len;
    conn->queued_bytes -= len;
    restart_stall_clock(conn, stream);
    return body_bytes;
}
