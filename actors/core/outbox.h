/* outbox: what a core wants to happen: messages along edges of the wiring table, log lines, a fatal
 * error, "I have stopped". Pure; owned by whoever runs the core (thread shell or simulator).
 *
 * Credits: an edge may carry so many messages and bytes that the receiver has not taken yet. A core
 * asks outbox_room before it puts; putting without room is a programming error (asserted). The room
 * comes back with MSG_CREDIT, which the runner books before it steps the core. A message larger than
 * the whole byte limit may pass when the edge is empty. */
#pragma once

#include "messages/msg.h"

typedef struct outbox outbox_t;

/* What a sender does when an edge has no room (documented in the wiring table, acted on by cores). */
typedef enum {
    EDGE_FREE,     /* no credits: bounded by earlier ones */
    EDGE_REFUSE,   /* tells its client "too many requests" */
    EDGE_HOLD,     /* stops taking work itself: such edges form no cycle */
    EDGE_KEEP,     /* keeps it in its own bounded state and goes on taking messages */
    EDGE_CATCH_UP, /* lets the consumer fall back to reading from the store */
    EDGE_DROP      /* loses the message and counts it: what members say may always be lost */
} edge_policy_t;

typedef struct {
    actor_id_t to;
    edge_policy_t policy;
    uint32_t messages_max; /* 0 with EDGE_FREE */
    uint64_t bytes_max;
} outbox_edge_t;

typedef enum { LEVEL_DEBUG, LEVEL_INFO, LEVEL_WARN, LEVEL_ERROR, LEVEL_FATAL } log_level_t;

/* For the runner. */
outbox_t *outbox_new(actor_id_t self, const outbox_edge_t *edges, size_t count);
void outbox_destroy(outbox_t **self_p);
void outbox_credit(outbox_t *self, actor_id_t from, const msg_credit_t *credit);
/* The next message in the order it was put, or NULL; yours. */
msg_t *outbox_take(outbox_t *self, actor_id_t *to);
/* The next log line, or NULL: valid until the next call. `fields` is "" or `"key":value,…`. */
typedef struct {
    log_level_t level;
    char *text;
    char *fields;
} outbox_line_t;
const outbox_line_t *outbox_next_line(outbox_t *self);
const char *outbox_fatal_text(const outbox_t *self); /* NULL = all is well */
bool outbox_is_stopped(const outbox_t *self);
/* NULL, or why the node shall stop by itself, in good order. */
const char *outbox_end_text(const outbox_t *self);
/* What is in flight on an edge, for diagnostics. */
typedef struct {
    uint32_t messages;
    uint64_t bytes;
} outbox_load_t;
outbox_load_t outbox_load(const outbox_t *self, actor_id_t to);

/* For cores. */
bool outbox_has_edge(const outbox_t *self, actor_id_t to);
/* May one more message be put? Always true on EDGE_FREE. */
bool outbox_room(const outbox_t *self, actor_id_t to);
/* Takes the message and nulls the pointer. Asserts that the edge exists and has room. */
void outbox_put(outbox_t *self, actor_id_t to, msg_t **msg_p);
/* One log line. fields: printf of JSON members (`"term":7`), or NULL. Never values, never passwords. */
void outbox_log(outbox_t *self, log_level_t level, const char *text, const char *fields, ...)
    __attribute__((format(printf, 4, 5)));
/* The environment is broken: the node stops with this text. The first one counts. */
void outbox_fatal(outbox_t *self, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Nothing is broken, but this member has no place in the cluster any more: the node stops in good order,
 * with this text in its log. The first one counts. */
void outbox_end_node(outbox_t *self, const char *text);
/* After MSG_STOP: nothing is in flight any more. */
void outbox_stopped(outbox_t *self);
