#include "actors/zmq_gateway/subscribers.h"

#include <assert.h>
#include <stdlib.h>

#include "actors/zmq_gateway/backlog.h"
#include "actors/zmq_gateway/topics.h"
#include "messages/xalloc.h"
#include "messages/zmtp.h"

typedef enum { VERSION, GREETING, HANDSHAKE, ACTIVE } phase_t;

/* In a list, or alone. */
typedef struct link link_t;
struct link {
    link_t *prev, *next;
};

/* Numbers of publications. A subscriber that keeps up has none of it. */
typedef struct {
    uint64_t *items;
    size_t first, count, capacity; /* a power of two */
} queue_t;

struct subscriber {
    topic_member_t member; /* first: a member is a subscriber */
    void *owner;
    phase_t phase;
    uint8_t minor;
    bool is_blocked;  /* until its socket takes more */
    bool is_skipping; /* a message of several frames, which no subscription is */
    link_t dirty;     /* has something to send */
    link_t clock;     /* in the order of `due_us` */
    uint64_t due_us;  /* the next look at it */
    uint64_t heard_us;
    uint64_t matched; /* number of the last publication that was for it */
    buf_t input;      /* less than a frame */
    buf_t own;        /* greeting and commands: what no other gets */
    size_t own_sent;
    publication_t *partial; /* the rest of it goes out before anything else */
    size_t partial_sent;
    queue_t queue;
};

struct subscribers {
    subscribers_cfg_t cfg;
    subscribers_sink_t sink;
    metrics_t *metrics;
    topics_t topics;
    backlog_t backlog;
    link_t dirty, clock; /* heads */
    size_t count;
    size_t queued; /* in all queues */
    buf_t scratch;
};

/* ---- lists ---- */

static void link_init(link_t *link)
{
    *link = (link_t){.prev = link, .next = link};
}

static bool link_is_alone(const link_t *link)
{
    return link->next == link;
}

static void link_leave(link_t *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link_init(link);
}

static void link_append(link_t *head, link_t *link)
{
    *link = (link_t){.prev = head->prev, .next = head};
    head->prev->next = link;
    head->prev = link;
}

static subscriber_t *of_dirty(link_t *link)
{
    return (subscriber_t *)((char *)link - offsetof(subscriber_t, dirty));
}

static subscriber_t *of_clock(link_t *link)
{
    return (subscriber_t *)((char *)link - offsetof(subscriber_t, clock));
}

/* ---- queues ---- */

static void queue_push(queue_t *self, uint64_t number)
{
    enum { CAPACITY_MIN = 4 };
    if (self->count == self->capacity) {
        size_t capacity = self->capacity ? self->capacity * 2 : CAPACITY_MIN;
        uint64_t *items = xmalloc(capacity * sizeof *items);
        for (size_t i = 0; i < self->count; i++) {
            items[i] = self->items[(self->first + i) & (self->capacity - 1)];
        }
        free(self->items);
        *self = (queue_t){.items = items, .count = self->count, .capacity = capacity};
    }
    self->items[(self->first + self->count++) & (self->capacity - 1)] = number;
}

static uint64_t queue_at(const queue_t *self, size_t i)
{
    return self->items[(self->first + i) & (self->capacity - 1)];
}

/* What has served a burst is given back. */
static void queue_pop(queue_t *self)
{
    enum { CAPACITY_KEPT = 16 };
    self->first++;
    self->count--;
    if (self->count == 0 && self->capacity > CAPACITY_KEPT) {
        free(self->items);
        *self = (queue_t){0};
    }
}

/* ---- life ---- */

subscribers_t *subscribers_new(const subscribers_cfg_t *cfg, const subscribers_sink_t *sink,
                               metrics_t *metrics)
{
    subscribers_t *self = xcalloc(1, sizeof *self);
    self->cfg = *cfg;
    self->sink = *sink;
    self->metrics = metrics;
    topics_init(&self->topics, cfg->topics_max, cfg->topic_bytes_max, cfg->seats_max);
    backlog_init(&self->backlog, cfg->backlog_max, cfg->backlog_bytes_max);
    link_init(&self->dirty);
    link_init(&self->clock);
    return self;
}

void subscribers_destroy(subscribers_t **self_p)
{
    subscribers_t *self = *self_p;
    *self_p = NULL;
    if (self) {
        assert(self->count == 0);
        topics_deinit(&self->topics);
        backlog_deinit(&self->backlog);
        buf_deinit(&self->scratch);
        free(self);
    }
}

static bool has_output(const subscriber_t *self)
{
    return self->partial || self->own.len > self->own_sent || self->queue.count > 0;
}

static void set_dirty(subscribers_t *self, subscriber_t *subscriber)
{
    if (!subscriber->is_blocked && link_is_alone(&subscriber->dirty)) {
        link_append(&self->dirty, &subscriber->dirty);
    }
}

/* Always the same time ahead, so the list stays in order. */
static void look_again(subscribers_t *self, subscriber_t *subscriber, uint64_t now_us)
{
    link_leave(&subscriber->clock);
    subscriber->due_us = now_us + self->cfg.heartbeat_us;
    link_append(&self->clock, &subscriber->clock);
}

subscriber_t *subscribers_add(subscribers_t *self, void *owner, uint64_t now_us)
{
    subscriber_t *subscriber = xcalloc(1, sizeof *subscriber);
    subscriber->owner = owner;
    subscriber->heard_us = now_us;
    subscriber->matched = UINT64_MAX;
    link_init(&subscriber->dirty);
    link_init(&subscriber->clock);
    look_again(self, subscriber, now_us);
    buf_append(&subscriber->own, zmtp_greeting().data, ZMTP_VERSION_BYTES);
    set_dirty(self, subscriber);
    metrics_set(self->metrics, METRIC_NATIVE_SUBSCRIBERS, ++self->count);
    return subscriber;
}

void *subscriber_owner(const subscriber_t *self)
{
    return self->owner;
}

/* ---- subscriptions ---- */

enum { UNSUBSCRIBE = 0, SUBSCRIBE = 1 };

static void tell(subscribers_t *self, uint8_t what, slice_t text)
{
    buf_clear(&self->scratch);
    buf_byte(&self->scratch, what);
    buf_append(&self->scratch, text.data, text.len);
    self->sink.subscription(self->sink.context, buf_slice(&self->scratch));
}

static void tell_last(void *context, slice_t text)
{
    tell(context, UNSUBSCRIBE, text);
}

static void unwait_first(subscribers_t *self, subscriber_t *subscriber)
{
    backlog_unwait(&self->backlog, queue_at(&subscriber->queue, 0));
    queue_pop(&subscriber->queue);
    self->queued--;
}

void subscribers_remove(subscribers_t *self, subscriber_t **subscriber_p)
{
    subscriber_t *subscriber = *subscriber_p;
    *subscriber_p = NULL;
    link_leave(&subscriber->dirty);
    link_leave(&subscriber->clock);
    topics_leave_all(&self->topics, &subscriber->member, tell_last, self);
    while (subscriber->queue.count > 0) {
        unwait_first(self, subscriber);
    }
    free(subscriber->queue.items);
    publication_drop(&subscriber->partial);
    buf_deinit(&subscriber->input);
    buf_deinit(&subscriber->own);
    free(subscriber);
    metrics_set(self->metrics, METRIC_NATIVE_SUBSCRIBERS, --self->count);
}

/* Longer ones match nothing that is published: they are only told of. */
static subscriber_state_t subscribe(subscribers_t *self, subscriber_t *subscriber, uint8_t what,
                                    slice_t text)
{
    enum { LONGEST = LIMIT_NATIVE_TOPIC_BYTES + 3 }; /* of a mark */
    if (what == UNSUBSCRIBE) {
        if (topics_leave(&self->topics, &subscriber->member, text)) {
            tell(self, UNSUBSCRIBE, text);
        }
        return SUBSCRIBER_FINE;
    }
    if (text.len <= LONGEST && !topics_join(&self->topics, &subscriber->member, text)) {
        return SUBSCRIBER_BROKEN;
    }
    tell(self, SUBSCRIBE, text);
    return SUBSCRIBER_FINE;
}

/* ---- what is heard ---- */

static subscriber_state_t on_ready(subscriber_t *subscriber, const zmtp_frame_t *frame)
{
    slice_t content;
    slice_t type;
    if (!(frame->flags & ZMTP_COMMAND) || !zmtp_is_command(frame->body, "READY", &content) ||
        zmtp_read_ready(content, &type) != 0) {
        return SUBSCRIBER_BROKEN;
    }
    if (!slice_equal(type, slice_str("SUB")) && !slice_equal(type, slice_str("XSUB"))) {
        return SUBSCRIBER_BROKEN;
    }
    subscriber->phase = ACTIVE;
    return SUBSCRIBER_FINE;
}

/* Who lets answers pile up gets no more of them. */
static void answer_ping(subscribers_t *self, subscriber_t *subscriber, slice_t ping)
{
    enum { PILE_BYTES = 256 };
    if (subscriber->own.len - subscriber->own_sent < PILE_BYTES &&
        zmtp_write_pong(&subscriber->own, ping)) {
        set_dirty(self, subscriber);
    }
}

static subscriber_state_t on_command(subscribers_t *self, subscriber_t *subscriber, slice_t body)
{
    slice_t content;
    if (zmtp_is_command(body, "SUBSCRIBE", &content)) {
        return subscribe(self, subscriber, SUBSCRIBE, content);
    }
    if (zmtp_is_command(body, "CANCEL", &content)) {
        return subscribe(self, subscriber, UNSUBSCRIBE, content);
    }
    if (zmtp_is_command(body, "PING", &content)) {
        answer_ping(self, subscriber, content);
    }
    return SUBSCRIBER_FINE;
}

/* Before ZMTP 3.1 a subscription is a message, %x00 or %x01 in front. */
static subscriber_state_t on_message(subscribers_t *self, subscriber_t *subscriber,
                                     const zmtp_frame_t *frame)
{
    bool is_whole = !(frame->flags & ZMTP_MORE) && !subscriber->is_skipping;
    slice_t body = frame->body;
    subscriber->is_skipping = frame->flags & ZMTP_MORE;
    if (!is_whole || body.len == 0 || body.data[0] > SUBSCRIBE) {
        return SUBSCRIBER_FINE;
    }
    return subscribe(self, subscriber, body.data[0], slice(body.data + 1, body.len - 1));
}

static subscriber_state_t on_frame(subscribers_t *self, subscriber_t *subscriber,
                                   const zmtp_frame_t *frame)
{
    if (subscriber->phase == HANDSHAKE) {
        return on_ready(subscriber, frame);
    }
    return frame->flags & ZMTP_COMMAND ? on_command(self, subscriber, frame->body)
                                       : on_message(self, subscriber, frame);
}

/* The rest of ours: a side that saw our mechanism earlier might not tell its own. */
static void greet(subscribers_t *self, subscriber_t *subscriber)
{
    slice_t greeting = zmtp_greeting();
    buf_append(&subscriber->own, greeting.data + ZMTP_VERSION_BYTES,
               greeting.len - ZMTP_VERSION_BYTES);
    subscriber->phase = GREETING;
    set_dirty(self, subscriber);
}

/* ZMTP_PARTIAL, or what it has come to. Moves *in behind the greeting. */
static int take_greeting(subscribers_t *self, subscriber_t *subscriber, slice_t *in)
{
    if (subscriber->phase == VERSION && in->len >= ZMTP_VERSION_BYTES) {
        greet(self, subscriber);
    }
    int rc = zmtp_read_greeting(*in, &subscriber->minor);
    if (rc == 0) {
        *in = slice(in->data + ZMTP_GREETING_BYTES, in->len - ZMTP_GREETING_BYTES);
        subscriber->phase = HANDSHAKE;
        zmtp_write_ready(&subscriber->own, "XPUB");
        set_dirty(self, subscriber);
    }
    return rc;
}

/* Moves *in to what is left: a part of a frame. */
static subscriber_state_t take(subscribers_t *self, subscriber_t *subscriber, slice_t *in)
{
    zmtp_frame_t frame;
    int rc = subscriber->phase <= GREETING ? take_greeting(self, subscriber, in) : 0;
    while (rc == 0) {
        rc = zmtp_read_frame(*in, LIMIT_NATIVE_SUBSCRIPTION_MESSAGE_BYTES, &frame);
        if (rc == 0) {
            subscriber_state_t state = on_frame(self, subscriber, &frame);
            if (state != SUBSCRIBER_FINE) {
                return state;
            }
            *in = slice(in->data + frame.size, in->len - frame.size);
        }
    }
    if (rc == ZMTP_PARTIAL) {
        return SUBSCRIBER_FINE;
    }
    return rc == ZMTP_OTHER_MECHANISM ? SUBSCRIBER_HAS_CURVE : SUBSCRIBER_BROKEN;
}

subscriber_state_t subscribers_input(subscribers_t *self, subscriber_t *subscriber, slice_t bytes,
                                     uint64_t now_us)
{
    buf_t *kept = &subscriber->input;
    subscriber->heard_us = now_us;
    if (kept->len == 0) {
        subscriber_state_t state = take(self, subscriber, &bytes);
        buf_append(kept, bytes.data, bytes.len);
        return state;
    }
    buf_append(kept, bytes.data, bytes.len);
    slice_t rest = buf_slice(kept);
    subscriber_state_t state = take(self, subscriber, &rest);
    if (rest.len > 0) {
        memmove(kept->data, rest.data, rest.len);
        kept->len = rest.len;
    } else {
        buf_deinit(kept);
    }
    return state;
}

/* ---- what is said ---- */

/* Those who are behind cannot keep out those who are not. */
static bool has_room(const subscribers_t *self, const subscriber_t *subscriber)
{
    enum { NEARLY_UP_TO_DATE = 64 }; /* one part in so many of a queue */
    size_t max = self->cfg.queue_max;
    if (self->queued >= self->cfg.queued_max) {
        max = max / NEARLY_UP_TO_DATE + 1;
    }
    return subscriber->queue.count < max;
}

static void enqueue(subscribers_t *self, subscriber_t *subscriber, uint64_t number)
{
    if (subscriber->matched == number) {
        return; /* by another of its subscriptions */
    }
    subscriber->matched = number;
    if (!has_room(self, subscriber)) {
        metrics_add(self->metrics, METRIC_NATIVE_DROPPED, 1);
        return;
    }
    queue_push(&subscriber->queue, number);
    self->queued++;
    backlog_wait(&self->backlog, number);
    set_dirty(self, subscriber);
}

void subscribers_publish(subscribers_t *self, const slice_t *frames, size_t count)
{
    const topic_t *topic = topics_match(&self->topics, frames[0]);
    if (!topic) {
        return;
    }
    buf_clear(&self->scratch);
    for (size_t i = 0; i < count; i++) {
        zmtp_write_frame(&self->scratch, i + 1 < count ? ZMTP_MORE : 0, frames[i]);
    }
    uint64_t number = backlog_add(&self->backlog, buf_slice(&self->scratch));
    for (; topic; topic = topic->parent) {
        for (size_t i = 0; i < topic->count; i++) {
            enqueue(self, (subscriber_t *)topic->places[i].member, number);
        }
    }
    backlog_release(&self->backlog, number);
}

subscriber_t *subscribers_next(subscribers_t *self)
{
    if (link_is_alone(&self->dirty)) {
        return NULL;
    }
    subscriber_t *subscriber = of_dirty(self->dirty.next);
    link_leave(&subscriber->dirty);
    return subscriber;
}

bool subscribers_pending(const subscribers_t *self)
{
    return !link_is_alone(&self->dirty);
}

size_t subscribers_output(const subscribers_t *self, const subscriber_t *subscriber,
                          slice_t parts[SUBSCRIBER_PARTS_MAX])
{
    size_t count = 0;
    const publication_t *partial = subscriber->partial;
    if (partial) {
        parts[count++] = slice(partial->data + subscriber->partial_sent,
                               partial->len - subscriber->partial_sent);
    }
    if (subscriber->own.len > subscriber->own_sent) {
        parts[count++] = slice(subscriber->own.data + subscriber->own_sent,
                               subscriber->own.len - subscriber->own_sent);
    }
    for (size_t i = 0; i < subscriber->queue.count && count < SUBSCRIBER_PARTS_MAX; i++) {
        const publication_t *next = backlog_get(&self->backlog, queue_at(&subscriber->queue, i));
        if (next) {
            parts[count++] = slice(next->data, next->len);
        }
    }
    return count;
}

/* Counts what was sent of the part that begins at `from`; true = all of it was. */
static bool advance(size_t *from, size_t end, size_t *bytes)
{
    size_t step = *bytes < end - *from ? *bytes : end - *from;
    *from += step;
    *bytes -= step;
    return *from == end;
}

static void send_partial(subscriber_t *subscriber, size_t *bytes)
{
    if (subscriber->partial &&
        advance(&subscriber->partial_sent, subscriber->partial->len, bytes)) {
        publication_drop(&subscriber->partial);
    }
}

static void send_own(subscriber_t *subscriber, size_t *bytes)
{
    if (!subscriber->partial && subscriber->own.len > 0 &&
        advance(&subscriber->own_sent, subscriber->own.len, bytes)) {
        buf_deinit(&subscriber->own);
        subscriber->own_sent = 0;
    }
}

/* What has begun is held, since the backlog may forget it. What is gone takes nothing along. */
static void send_queue(subscribers_t *self, subscriber_t *subscriber, size_t *bytes)
{
    const queue_t *queue = &subscriber->queue;
    while (queue->count > 0) {
        publication_t *next = backlog_get(&self->backlog, queue_at(queue, 0));
        if (next && *bytes == 0) {
            return;
        }
        if (next) {
            subscriber->partial = publication_hold(next);
            subscriber->partial_sent = 0;
            send_partial(subscriber, bytes);
        } else {
            metrics_add(self->metrics, METRIC_NATIVE_DROPPED, 1);
        }
        unwait_first(self, subscriber);
    }
}

void subscribers_sent(subscribers_t *self, subscriber_t *subscriber, size_t bytes, bool is_full)
{
    send_partial(subscriber, &bytes);
    send_own(subscriber, &bytes);
    if (!subscriber->partial && subscriber->own.len == 0) {
        send_queue(self, subscriber, &bytes);
    }
    assert(bytes == 0);
    subscriber->is_blocked = is_full;
    if (has_output(subscriber)) {
        set_dirty(self, subscriber);
    }
}

void subscribers_writable(subscribers_t *self, subscriber_t *subscriber)
{
    subscriber->is_blocked = false;
    if (has_output(subscriber)) {
        set_dirty(self, subscriber);
    }
}

/* ---- time ---- */

/* Is its time over? Else it is asked if it has been silent; before 3.1 there is no way to ask. */
static bool is_gone(subscribers_t *self, subscriber_t *subscriber, uint64_t now_us)
{
    enum { DECISECOND_US = 100000 };
    uint64_t silent_us = now_us - subscriber->heard_us;
    if (subscriber->phase != ACTIVE) {
        return true;
    }
    if (subscriber->minor == 0 || silent_us < self->cfg.heartbeat_us) {
        return false;
    }
    if (silent_us >= self->cfg.silence_us) {
        return true;
    }
    zmtp_write_ping(&subscriber->own, (uint16_t)(self->cfg.silence_us / DECISECOND_US));
    set_dirty(self, subscriber);
    return false;
}

subscriber_t *subscribers_turn(subscribers_t *self, uint64_t now_us)
{
    while (subscribers_deadline(self) <= now_us) {
        subscriber_t *subscriber = of_clock(self->clock.next);
        look_again(self, subscriber, now_us);
        if (is_gone(self, subscriber, now_us)) {
            return subscriber;
        }
    }
    return NULL;
}

uint64_t subscribers_deadline(const subscribers_t *self)
{
    return link_is_alone(&self->clock) ? DEADLINE_NONE : of_clock(self->clock.next)->due_us;
}
