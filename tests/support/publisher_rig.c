#include "tests/support/publisher_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "messages/limits.h"
#include "messages/xalloc.h"

static void on_publish(void *context, const slice_t *frames, size_t count)
{
    publisher_rig_t *self = context;
    assert_true(count == 2 || count == 3);
    assert_true(frames[0].len <= LIMIT_NATIVE_TOPIC_BYTES + 3);
    self->items = xgrow(self->items, &self->capacity, self->count + 1, sizeof *self->items);
    self->items[self->count++] = (published_t){
        .topic = bytes_new(frames[0].data, frames[0].len),
        .head = bytes_new(frames[1].data, frames[1].len),
        .body = count == 3 ? bytes_new(frames[2].data, frames[2].len) : NULL,
    };
}

publisher_rig_t *publisher_rig_new(size_t registrations_max, size_t registration_bytes_max)
{
    publisher_rig_t *self = xcalloc(1, sizeof *self);
    publisher_cfg_t cfg = {
        .cluster_id = RIG_CLUSTER,
        .progress_us = RIG_PROGRESS_US,
        .linger_us = RIG_LINGER_US,
        .registrations_max = registrations_max ? registrations_max : LIMIT_NATIVE_REGISTRATIONS,
        .registration_bytes_max =
            registration_bytes_max ? registration_bytes_max : LIMIT_NATIVE_REGISTRATION_BYTES,
    };
    publisher_sink_t sink = {.context = self, .publish = on_publish};
    self->publisher = publisher_new(&cfg, &sink, &self->metrics);
    self->now_us = 1;
    return self;
}

void publisher_rig_forget(publisher_rig_t *self)
{
    for (size_t i = 0; i < self->count; i++) {
        bytes_unref(&self->items[i].topic);
        bytes_unref(&self->items[i].head);
        bytes_unref(&self->items[i].body);
    }
    self->count = 0;
    self->seen = 0;
}

void publisher_rig_free(publisher_rig_t **self_p)
{
    publisher_rig_t *self = *self_p;
    *self_p = NULL;
    publisher_destroy(&self->publisher);
    publisher_rig_forget(self);
    free(self->items);
    buf_deinit(&self->response);
    free(self);
}

static void subscription(publisher_rig_t *self, uint8_t first, slice_t text)
{
    buf_t message = {0};
    buf_byte(&message, first);
    buf_append(&message, text.data, text.len);
    publisher_subscription(self->publisher, buf_slice(&message), self->now_us);
    buf_deinit(&message);
}

void publisher_rig_subscribe(publisher_rig_t *self, slice_t text)
{
    subscription(self, 1, text);
}

void publisher_rig_unsubscribe(publisher_rig_t *self, slice_t text)
{
    subscription(self, 0, text);
}

Etcdserverpb__WatchRequest *publisher_rig_request(publisher_rig_t *self)
{
    if (publisher_wants_call(self->publisher, self->now_us)) {
        publisher_call_began(self->publisher);
    }
    bytes_t *bytes = publisher_next_request(self->publisher, self->now_us);
    if (!bytes) {
        return NULL;
    }
    slice_t in = bytes_slice(bytes);
    Etcdserverpb__WatchRequest *request =
        etcdserverpb__watch_request__unpack(NULL, in.len, in.data);
    bytes_unref(&bytes);
    assert_non_null(request);
    return request;
}

static void respond(publisher_rig_t *self, const Etcdserverpb__WatchResponse *response)
{
    size_t size = etcdserverpb__watch_response__get_packed_size(response);
    uint8_t *packed = xmalloc(size + 1);
    etcdserverpb__watch_response__pack(response, packed);
    publisher_response(self->publisher, slice(packed, size), self->now_us);
    free(packed);
}

void publisher_rig_created(publisher_rig_t *self, int64_t watch_id, int64_t revision)
{
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    header.revision = revision;
    response.header = &header;
    response.watch_id = watch_id;
    response.created = true;
    respond(self, &response);
}

void publisher_rig_canceled(publisher_rig_t *self, int64_t watch_id, int64_t compact_revision)
{
    Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    response.watch_id = watch_id;
    response.canceled = true;
    response.compact_revision = compact_revision;
    respond(self, &response);
}

int64_t publisher_rig_create(publisher_rig_t *self, int64_t revision)
{
    Etcdserverpb__WatchRequest *request = publisher_rig_request(self);
    assert_non_null(request);
    assert_int_equal(request->request_union_case,
                     ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST);
    self->watch_id = request->create_request->watch_id;
    int64_t start = request->create_request->start_revision;
    etcdserverpb__watch_request__free_unpacked(request, NULL);
    publisher_rig_created(self, self->watch_id, revision);
    return start;
}

/* As the watch actor encodes: type, kv, and behind them the previous kv. */
void publisher_rig_change(publisher_rig_t *self, int64_t revision, slice_t key,
                          const slice_t *value, const slice_t *previous)
{
    buf_t kv = {0};
    buf_t event = {0};
    buf_field_bytes(&kv, 1, key);
    buf_field_u64(&kv, 3, (uint64_t)revision);
    if (value && value->len) {
        buf_field_bytes(&kv, 5, *value);
    }
    buf_field_u64(&event, 1, value == NULL);
    buf_field_bytes(&event, 2, buf_slice(&kv));
    if (previous) {
        buf_clear(&kv);
        buf_field_bytes(&kv, 1, key);
        buf_field_bytes(&kv, 5, *previous);
        buf_field_bytes(&event, 3, buf_slice(&kv));
    }
    buf_field_bytes(&self->response, 11, buf_slice(&event));
    buf_deinit(&kv);
    buf_deinit(&event);
}

void publisher_rig_put(publisher_rig_t *self, int64_t revision, slice_t key, slice_t value)
{
    publisher_rig_change(self, revision, key, &value, NULL);
}

void publisher_rig_deliver(publisher_rig_t *self)
{
    buf_t response = {0};
    buf_field_u64(&response, 2, (uint64_t)self->watch_id);
    buf_append(&response, self->response.data, self->response.len);
    publisher_response(self->publisher, buf_slice(&response), self->now_us);
    buf_deinit(&response);
    buf_clear(&self->response);
}

void publisher_rig_turn(publisher_rig_t *self)
{
    publisher_turn(self->publisher, self->now_us);
}

const published_t *publisher_rig_next(publisher_rig_t *self)
{
    return self->seen < self->count ? &self->items[self->seen++] : NULL;
}
