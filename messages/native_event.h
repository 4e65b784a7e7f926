/* native_event: what goes over the publish socket of the native protocol (docs/protocol.md): topics,
 * subscriptions, headers of events, marks, and the change inside an event. Pure; shared by server and
 * clients. Everything that is read is untrusted: checked, bounded, never allocated for.
 *
 *   event:  [topic] [header, links] [mvccpb.Event]      mark:  [mark topic] [mark]
 *
 * A topic is a space, the key with %x00 escaped as %x00 %xFF, and the terminator %x00 %x01. So "the
 * subscription is a prefix of the topic" is the whole matching: a subscription with the terminator is for
 * that very key, one without for all keys that begin so. */
#pragma once

#include "messages/buf.h"
#include "messages/limits.h"

/* Where a change stands: its revision, and its place in it. After a snapshot: (revision, NATIVE_SUB_MAX). */
typedef struct {
    int64_t revision;
    uint32_t sub;
} native_position_t;
#define NATIVE_SUB_MAX UINT32_MAX

int native_position_compare(native_position_t a, native_position_t b);

enum { NATIVE_EVENTS = 'E', NATIVE_PREVIOUS = 'P', NATIVE_MARKS = 'M' }; /* spaces */

/* ---- topics and subscriptions: appended to `out` ---- */

/* Of a change to `key`; not longer than LIMIT_NATIVE_TOPIC_BYTES: a longer one is cut off, which no
 * subscription notices, since none is longer. */
void native_topic(buf_t *out, uint8_t space, slice_t key);
/* All keys that begin with `key`, or exactly this one. */
void native_subscription(buf_t *out, uint8_t space, slice_t key, bool exact);
/* Topic of a subscription's marks, which is also how to subscribe to them. */
void native_mark_topic(buf_t *out, slice_t subscription);

enum { NATIVE_MALFORMED = 1, NATIVE_TOO_LONG = 2 };

typedef struct {
    uint8_t space; /* NATIVE_EVENTS or NATIVE_PREVIOUS */
    bool exact;
} native_subscription_t;
/* Checks a subscription for events and, unless `key` is NULL, writes the key or prefix that it is for, in
 * place of what is there. 0, NATIVE_MALFORMED or NATIVE_TOO_LONG. */
int native_subscription_read(slice_t subscription, native_subscription_t *out, buf_t *key)
    __attribute__((warn_unused_result));
/* The interval of keys that it is for, as the API spells it: range_end empty for an exact key. Both
 * replace what is there. */
int native_subscription_interval(slice_t subscription, buf_t *key, buf_t *range_end)
    __attribute__((warn_unused_result));

/* ---- events ---- */

/* What one registered subscription has to know of an event that it matches. */
typedef struct {
    uint16_t subscription_len; /* which one: they all are prefixes of the same topic */
    bool is_last;              /* of the subscription's events in this revision */
    native_position_t previous;
} native_link_t;

typedef struct {
    uint64_t cluster_id;
    native_position_t position;
    bool is_omitted; /* the body is empty: the change is to be fetched (Native/Events) */
    uint8_t link_count;
    native_link_t links[LIMIT_NATIVE_LINKS]; /* longest subscription first */
} native_event_t;

/* Appends the second frame. */
void native_event_write(buf_t *out, const native_event_t *event);
/* 0 or NATIVE_MALFORMED; octets behind the links are of a later version and ignored. */
int native_event_read(slice_t frame, native_event_t *event) __attribute__((warn_unused_result));
/* The link of a subscription of that length, or NULL: it was not registered when this was published. */
const native_link_t *native_event_link(const native_event_t *event, size_t subscription_len);

/* ---- marks ---- */
typedef struct {
    uint64_t cluster_id;
    int64_t revision;       /* of the store: everything up to it is published */
    native_position_t last; /* of the subscription's last event */
    uint32_t interval_ms;   /* the next mark comes that much later */
    bool is_leaderless;     /* the member knows no leader: what it says may be getting old */
} native_mark_t;
void native_mark_write(buf_t *out, const native_mark_t *mark);
int native_mark_read(slice_t frame, native_mark_t *mark) __attribute__((warn_unused_result));

/* ---- the change: a flat reader of mvccpb.Event ---- */
typedef struct {
    slice_t key, value; /* as all slices here: inside what was read */
    int64_t create_revision, mod_revision, version, lease;
} native_kv_t;
int native_kv_read(slice_t in, native_kv_t *kv) __attribute__((warn_unused_result));

typedef struct {
    bool is_delete;
    bool has_previous;
    native_kv_t kv; /* of a deletion: key and mod_revision */
    native_kv_t previous;
} native_change_t;
int native_change_read(slice_t in, native_change_t *change) __attribute__((warn_unused_result));
