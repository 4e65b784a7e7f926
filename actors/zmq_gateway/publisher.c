/* Invariants:
 * 1. Everything up to `position` is published, nothing above it. Registrations made at it begin there.
 * 2. While the watcher is live every registration is placed, and its `last` is not above `position`.
 * 3. A revision is published as a whole, since only then it is known which event is a registration's last.
 * 4. What was not published (a compaction overtook the watcher, a revision is too large) still moves
 *    `last`: the next event or mark shows the subscriber a hole. */
#include "actors/zmq_gateway/publisher.h"

#include <assert.h>
#include <stdlib.h>

#include "actors/zmq_gateway/registrations.h"
#include "messages/wire.h"
#include "messages/xalloc.h"

enum { RETRY_US = 1000000 /* after a watcher or a call that could not be */ };
enum { SUBSCRIBE = 1, UNSUBSCRIBE = 0 };

typedef enum { WATCHER_NONE, WATCHER_CREATING, WATCHER_LIVE } watcher_state_t;

/* An event that someone wants, of the revision at hand. */
typedef struct {
    slice_t body;      /* inside the response */
    size_t plain_size; /* of it: without the previous value, which is last */
    slice_t key;
    uint32_t sub;
    registration_t *events, *previous; /* the longest registrations in each space, or NULL */
} wanted_t;

struct publisher {
    publisher_cfg_t cfg;
    publisher_sink_t sink;
    metrics_t *metrics;
    registrations_t registrations;
    bool is_leaderless;

    bool call_is_open;
    watcher_state_t watcher;
    int64_t watch_id;   /* of the watcher; what others say is late */
    bool with_previous; /* it gets previous values */
    uint64_t retry_us;
    bool has_position; /* else: from the revision at which the next watcher begins */
    int64_t position;

    int64_t revision; /* at hand */
    uint32_t next_sub;
    wanted_t *wanted;
    size_t wanted_count, wanted_capacity;
    buf_t topic, header;
};

publisher_t *publisher_new(const publisher_cfg_t *cfg, const publisher_sink_t *sink,
                           metrics_t *metrics)
{
    assert(cfg->progress_us > 0);
    publisher_t *self = xcalloc(1, sizeof *self);
    self->cfg = *cfg;
    self->sink = *sink;
    self->metrics = metrics;
    registrations_init(&self->registrations, cfg->registrations_max, cfg->registration_bytes_max);
    return self;
}

void publisher_destroy(publisher_t **self_p)
{
    publisher_t *self = *self_p;
    *self_p = NULL;
    if (!self) {
        return;
    }
    registrations_deinit(&self->registrations);
    free(self->wanted);
    buf_deinit(&self->topic);
    buf_deinit(&self->header);
    free(self);
}

void publisher_leader(publisher_t *self, bool is_known)
{
    self->is_leaderless = !is_known;
}

/* ---- registrations ---- */

static void place(const publisher_t *self, registration_t *item)
{
    item->is_placed = true;
    item->last = (native_position_t){.revision = self->position, .sub = NATIVE_SUB_MAX};
}

static void count_registrations(publisher_t *self)
{
    metrics_set(self->metrics, METRIC_NATIVE_REGISTRATIONS, self->registrations.count);
}

static void subscribe(publisher_t *self, slice_t subscription, uint64_t now_us)
{
    native_subscription_t read;
    registration_t *item = registrations_find(&self->registrations, subscription);
    if (item) {
        registrations_stay(&self->registrations, item);
        return;
    }
    if (native_subscription_read(subscription, &read, NULL) == 0) {
        item = registrations_add(&self->registrations, subscription, now_us);
    }
    if (!item) {
        metrics_add(self->metrics, METRIC_NATIVE_REGISTRATIONS_REFUSED, 1);
        return;
    }
    metrics_add(self->metrics, METRIC_NATIVE_REGISTERED, 1);
    count_registrations(self);
    if (self->has_position) {
        place(self, item);
    }
}

void publisher_subscription(publisher_t *self, slice_t message, uint64_t now_us)
{
    if (message.len == 0) {
        return;
    }
    slice_t subscription = slice(message.data + 1, message.len - 1);
    if (subscription.len && subscription.data[0] == NATIVE_MARKS) {
        return; /* who wants marks registers what they are about */
    }
    if (message.data[0] == SUBSCRIBE) {
        subscribe(self, subscription, now_us);
    } else if (message.data[0] == UNSUBSCRIBE) {
        registration_t *item = registrations_find(&self->registrations, subscription);
        if (item) {
            registrations_linger(&self->registrations, item, now_us + self->cfg.linger_us);
        }
    }
}

void publisher_reset(publisher_t *self, uint64_t now_us)
{
    registrations_t *all = &self->registrations;
    for (size_t i = 0; i < all->count; i++) {
        if (!all->items[i]->is_lingering) {
            registrations_linger(all, all->items[i], now_us + self->cfg.linger_us);
        }
    }
}

bool publisher_refuses(const publisher_t *self, slice_t subscription)
{
    return !registrations_find(&self->registrations, subscription) &&
           !registrations_has_room(&self->registrations, subscription);
}

/* ---- the watcher ---- */

bool publisher_wants_call(const publisher_t *self, uint64_t now_us)
{
    return !self->call_is_open && self->registrations.count && now_us >= self->retry_us;
}

void publisher_call_began(publisher_t *self)
{
    assert(!self->call_is_open);
    self->call_is_open = true;
}

static bytes_t *request(uint32_t field, const buf_t *content)
{
    buf_t out = {0};
    buf_field_bytes(&out, field, buf_slice(content));
    bytes_t *bytes = buf_bytes(&out);
    buf_deinit(&out);
    return bytes;
}

/* Everything, from behind the position on if there is one, else from now. */
static bytes_t *create_watcher(publisher_t *self)
{
    enum { CREATE = 1, KEY = 1, RANGE_END = 2, START_REVISION = 3, PREV_KV = 6, WATCH_ID = 7 };
    self->watcher = WATCHER_CREATING;
    self->with_previous = self->registrations.previous_count > 0;
    self->watch_id++;
    buf_t create = {0};
    buf_field_bytes(&create, KEY, slice("\0", 1));
    buf_field_bytes(&create, RANGE_END, slice("\0", 1));
    buf_field_u64(&create, START_REVISION, self->has_position ? (uint64_t)self->position + 1 : 0);
    buf_field_u64(&create, PREV_KV, self->with_previous);
    buf_field_u64(&create, WATCH_ID, (uint64_t)self->watch_id);
    bytes_t *bytes = request(CREATE, &create);
    buf_deinit(&create);
    return bytes;
}

static bytes_t *cancel_watcher(publisher_t *self)
{
    enum { CANCEL = 2, WATCH_ID = 1 };
    self->watcher = WATCHER_NONE;
    buf_t cancel = {0};
    buf_field_u64(&cancel, WATCH_ID, (uint64_t)self->watch_id);
    bytes_t *bytes = request(CANCEL, &cancel);
    buf_deinit(&cancel);
    return bytes;
}

bytes_t *publisher_next_request(publisher_t *self, uint64_t now_us)
{
    if (!self->call_is_open) {
        return NULL;
    }
    bool is_needed = self->registrations.count > 0;
    if (self->watcher == WATCHER_NONE) {
        return is_needed && now_us >= self->retry_us ? create_watcher(self) : NULL;
    }
    if (!is_needed) {
        self->has_position = false; /* whoever registers next begins at its own time */
        return cancel_watcher(self);
    }
    bool lacks_previous = self->registrations.previous_count > 0 && !self->with_previous;
    return lacks_previous ? cancel_watcher(self) : NULL; /* another one goes on where it was */
}

void publisher_call_ended(publisher_t *self, uint64_t now_us)
{
    self->call_is_open = false;
    self->watcher = WATCHER_NONE;
    self->retry_us = now_us + RETRY_US;
}

/* ---- events ---- */

static void send_frames(publisher_t *self, slice_t topic, slice_t body, size_t count)
{
    slice_t frames[] = {topic, buf_slice(&self->header), body};
    self->sink.publish(self->sink.context, frames, count);
}

static void publish(publisher_t *self, const wanted_t *wanted, registration_t *longest,
                    slice_t body)
{
    native_event_t event = {.cluster_id = self->cfg.cluster_id,
                            .position = {.revision = self->revision, .sub = wanted->sub},
                            .is_omitted = body.len > LIMIT_NATIVE_INLINE_BYTES};
    for (registration_t *item = longest; item; item = item->parent) {
        event.links[event.link_count++] =
            (native_link_t){.subscription_len = (uint16_t)bytes_len(item->subscription),
                            .is_last = item->last_sub == wanted->sub,
                            .previous = item->last};
        item->last = event.position;
    }
    buf_clear(&self->header);
    native_event_write(&self->header, &event);
    send_frames(self, buf_slice(&self->topic), event.is_omitted ? slice(NULL, 0) : body, 3);
    metrics_add(self->metrics, METRIC_NATIVE_PUBLISHED, 1);
    metrics_add(self->metrics, METRIC_NATIVE_OMITTED, event.is_omitted);
}

static void publish_wanted(publisher_t *self, const wanted_t *wanted)
{
    buf_clear(&self->topic);
    native_topic(&self->topic, NATIVE_EVENTS, wanted->key);
    if (wanted->events) {
        publish(self, wanted, wanted->events, slice(wanted->body.data, wanted->plain_size));
    }
    if (wanted->previous) {
        self->topic.data[0] = NATIVE_PREVIOUS;
        publish(self, wanted, wanted->previous, wanted->body);
    }
}

/* More than a subscriber's queue would take: it is told at once that it has missed something. */
static void skip(publisher_t *self, uint32_t sub, registration_t *longest, uint64_t now_us)
{
    for (registration_t *item = longest; item; item = item->parent) {
        if (item->last.revision != self->revision) {
            registrations_mark_next(&self->registrations, item, now_us);
        }
        item->last = (native_position_t){.revision = self->revision, .sub = sub};
    }
}

static void end_revision(publisher_t *self, uint64_t now_us)
{
    bool is_large = self->wanted_count > LIMIT_NATIVE_REVISION_EVENTS;
    for (size_t i = 0; i < self->wanted_count; i++) {
        const wanted_t *wanted = &self->wanted[i];
        if (is_large) {
            skip(self, wanted->sub, wanted->events, now_us);
            skip(self, wanted->sub, wanted->previous, now_us);
        } else {
            publish_wanted(self, wanted);
        }
    }
    if (is_large) {
        metrics_add(self->metrics, METRIC_NATIVE_SKIPPED, self->wanted_count);
        free(self->wanted);
        self->wanted = NULL;
        self->wanted_capacity = 0;
    }
    self->wanted_count = 0;
    if (self->revision > self->position) {
        self->position = self->revision;
    }
}

/* Who wants the event with this topic; they all learn that it is their last so far. */
static registration_t *match(publisher_t *self, uint8_t space, uint32_t sub)
{
    self->topic.data[0] = space;
    registration_t *longest = registrations_match(&self->registrations, buf_slice(&self->topic));
    for (registration_t *item = longest; item; item = item->parent) {
        item->last_sub = sub;
    }
    return longest;
}

/* Key, revision and the size without a previous value, from what our own watch actor has encoded. */
static native_kv_t read_event(slice_t event, size_t *plain_size)
{
    enum { KV = 2, PREV_KV = 3 };
    native_kv_t kv = {0};
    slice_t rest = event;
    wire_field_t field;
    *plain_size = event.len;
    for (slice_t before = rest; wire_next(&rest, &field) == 0; before = rest) {
        if (field.number == KV) {
            int rc = native_kv_read(field.data, &kv);
            assert(rc == 0);
        } else if (field.number == PREV_KV) {
            *plain_size = event.len - before.len;
        }
    }
    assert(kv.key.len && kv.mod_revision > 0);
    return kv;
}

static void take_event(publisher_t *self, slice_t event, uint64_t now_us)
{
    wanted_t wanted = {.body = event};
    native_kv_t kv = read_event(event, &wanted.plain_size);
    if (kv.mod_revision != self->revision) {
        end_revision(self, now_us);
        assert(kv.mod_revision > self->position);
        self->revision = kv.mod_revision;
        self->next_sub = 0;
    }
    wanted.key = kv.key;
    wanted.sub = self->next_sub++;
    buf_clear(&self->topic);
    native_topic(&self->topic, NATIVE_EVENTS, kv.key);
    const registrations_t *all = &self->registrations;
    if (all->count > all->previous_count) {
        wanted.events = match(self, NATIVE_EVENTS, wanted.sub);
    }
    if (all->previous_count) {
        wanted.previous = match(self, NATIVE_PREVIOUS, wanted.sub);
    }
    if (wanted.events || wanted.previous) {
        self->wanted = xgrow(self->wanted, &self->wanted_capacity, self->wanted_count + 1,
                             sizeof *self->wanted);
        self->wanted[self->wanted_count++] = wanted;
    }
}

/* ---- responses ---- */

/* Fields of WatchResponse. */
enum {
    RESPONSE_HEADER = 1,
    RESPONSE_WATCH_ID = 2,
    RESPONSE_CREATED = 3,
    RESPONSE_CANCELED = 4,
    RESPONSE_COMPACT_REVISION = 5,
    RESPONSE_EVENTS = 11,
    HEADER_REVISION = 3
};
enum { INVALID_WATCH_ID = -1 }; /* of a watcher that was refused */

typedef struct {
    int64_t watch_id, revision, compact_revision;
    bool created, canceled;
} watch_response_t;

static int64_t header_revision(slice_t header)
{
    wire_field_t field;
    int64_t revision = 0;
    while (wire_next(&header, &field) == 0) {
        revision = field.number == HEADER_REVISION ? (int64_t)field.value : revision;
    }
    return revision;
}

static watch_response_t read_response(slice_t in)
{
    watch_response_t out = {0};
    wire_field_t field;
    while (wire_next(&in, &field) == 0) {
        switch (field.number) {
        case RESPONSE_HEADER: out.revision = header_revision(field.data); break;
        case RESPONSE_WATCH_ID: out.watch_id = (int64_t)field.value; break;
        case RESPONSE_CREATED: out.created = field.value; break;
        case RESPONSE_CANCELED: out.canceled = field.value; break;
        case RESPONSE_COMPACT_REVISION: out.compact_revision = (int64_t)field.value; break;
        default: break;
        }
    }
    return out;
}

static void take_events(publisher_t *self, slice_t in, uint64_t now_us)
{
    wire_field_t field;
    while (wire_next(&in, &field) == 0) {
        if (field.number == RESPONSE_EVENTS) {
            take_event(self, field.data, now_us);
        }
    }
    end_revision(self, now_us);
}

static void on_created(publisher_t *self, const watch_response_t *response)
{
    self->watcher = WATCHER_LIVE;
    if (self->has_position) {
        return; /* it goes on from there */
    }
    self->has_position = true;
    self->position = response->revision;
    self->revision = response->revision;
    for (size_t i = 0; i < self->registrations.count; i++) {
        place(self, self->registrations.items[i]);
    }
}

/* The next one begins now if what comes next is compacted: every subscriber finds a hole. */
static void on_canceled(publisher_t *self, const watch_response_t *response, uint64_t now_us)
{
    self->watcher = WATCHER_NONE;
    if (response->compact_revision > 0) {
        self->has_position = false;
    } else {
        self->retry_us = now_us + RETRY_US;
    }
}

void publisher_response(publisher_t *self, slice_t in, uint64_t now_us)
{
    watch_response_t response = read_response(in);
    bool is_refused = response.watch_id == INVALID_WATCH_ID && response.canceled;
    bool is_ours = response.watch_id == self->watch_id || is_refused;
    if (self->watcher == WATCHER_NONE || !is_ours) {
        return;
    }
    if (response.canceled) {
        on_canceled(self, &response, now_us);
    } else if (response.created) {
        on_created(self, &response);
    } else {
        take_events(self, in, now_us);
    }
}

/* ---- marks, and the end of registrations ---- */

static void publish_mark(publisher_t *self, registration_t *item)
{
    assert(item->is_placed);
    native_mark_t mark = {.cluster_id = self->cfg.cluster_id,
                          .revision = self->position,
                          .last = item->last,
                          .interval_ms = (uint32_t)(self->cfg.progress_us / 1000),
                          .is_leaderless = self->is_leaderless};
    buf_clear(&self->topic);
    native_mark_topic(&self->topic, bytes_slice(item->subscription));
    buf_clear(&self->header);
    native_mark_write(&self->header, &mark);
    send_frames(self, buf_slice(&self->topic), slice(NULL, 0), 2);
    metrics_add(self->metrics, METRIC_NATIVE_MARKS, 1);
}

void publisher_turn(publisher_t *self, uint64_t now_us)
{
    registrations_t *all = &self->registrations;
    while (all->lingering.first && all->lingering.first->removed_us <= now_us) {
        registrations_remove(all, all->lingering.first);
        count_registrations(self);
    }
    for (size_t i = 0; i < LIMIT_NATIVE_MARKS && self->watcher == WATCHER_LIVE; i++) {
        registration_t *item = all->marks.first;
        if (!item || item->mark_due_us > now_us) {
            return;
        }
        publish_mark(self, item);
        registrations_mark_later(all, item, now_us + self->cfg.progress_us);
    }
}

uint64_t publisher_deadline(const publisher_t *self)
{
    const registrations_t *all = &self->registrations;
    uint64_t due_us = all->lingering.first ? all->lingering.first->removed_us : DEADLINE_NONE;
    uint64_t next_us = DEADLINE_NONE;
    if (all->count && self->watcher == WATCHER_LIVE) {
        next_us = all->marks.first->mark_due_us;
    } else if (all->count && self->watcher == WATCHER_NONE) {
        next_us = self->retry_us;
    }
    return next_us < due_us ? next_us : due_us;
}
