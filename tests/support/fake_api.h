/* fake_api: the request core's interface (actors/api/api.h) played by a recorder. Unary calls are
 * echoed unless told otherwise; streams are the test's to answer through the sink.
 * Contains definitions: include it in one file of a program, which then does not link the real one. */
#pragma once

#include "actors/api/api.h"
#include "messages/xalloc.h"

#include <stdlib.h>

enum { FAKE_CALLS_MAX = 4096 };

typedef struct {
    uint64_t id;
    api_call_t info; /* without client_version, which was borrowed */
    char client_version[16];
    unsigned messages;
    bytes_t *last; /* message */
    bool half_closed, cancelled;
    size_t sent_bytes;
} fake_call_t;

struct api {
    api_sink_t sink;
    api_status_t status;
    bool hold;                         /* unary calls are not echoed */
    fake_call_t calls[FAKE_CALLS_MAX]; /* in the order of their begin */
    size_t count;
};

static fake_call_t *fake_find(api_t *self, uint64_t call)
{
    for (size_t i = self->count; i > 0; i--) {
        if (self->calls[i - 1].id == call) {
            return &self->calls[i - 1];
        }
    }
    abort();
}

static inline void fake_clear(api_t *self)
{
    for (size_t i = 0; i < self->count; i++) {
        bytes_unref(&self->calls[i].last);
    }
    self->count = 0;
}

static inline size_t fake_open_calls(const api_t *self)
{
    size_t open = 0;
    for (size_t i = 0; i < self->count; i++) {
        open += !self->calls[i].cancelled;
    }
    return open;
}

static inline void fake_message(api_t *self, uint64_t call, const void *data, size_t len)
{
    bytes_t *message = bytes_new(data, len);
    self->sink.message(self->sink.context, call, &message);
}

static inline void fake_finish(api_t *self, uint64_t call, grpc_code_t code, const char *text)
{
    self->sink.finish(self->sink.context, call, code, text);
}

void api_call_begin(api_t *self, uint64_t call, const api_call_t *info, uint64_t now_us)
{
    (void)now_us;
    if (self->count == FAKE_CALLS_MAX) {
        abort();
    }
    fake_call_t *fake = &self->calls[self->count++];
    *fake = (fake_call_t){.id = call, .info = *info};
    fake->info.client_version = slice(NULL, 0);
    slice_t version = info->client_version.data ? info->client_version : slice_str("none");
    memcpy(fake->client_version, version.data,
           version.len < sizeof fake->client_version ? version.len : 0);
}

void api_call_message(api_t *self, uint64_t call, bytes_t **message_p, uint64_t now_us)
{
    (void)now_us;
    fake_call_t *fake = fake_find(self, call);
    fake->messages++;
    bytes_unref(&fake->last);
    fake->last = bytes_take(message_p);
}

void api_call_half_close(api_t *self, uint64_t call, uint64_t now_us)
{
    (void)now_us;
    fake_call_t *fake = fake_find(self, call);
    fake->half_closed = true;
    if (method_info(fake->info.method)->type == RPC_UNARY && !self->hold) {
        bytes_t *echo = bytes_ref(fake->last);
        self->sink.message(self->sink.context, call, &echo);
        self->sink.finish(self->sink.context, call, GRPC_OK, "");
    }
}

void api_call_cancel(api_t *self, uint64_t call)
{
    fake_find(self, call)->cancelled = true;
}

api_status_t api_status(const api_t *self)
{
    return self->status;
}

void api_call_sent(api_t *self, uint64_t call, size_t bytes)
{
    fake_find(self, call)->sent_bytes += bytes;
}
