#include "actors/core/outbox.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "messages/xalloc.h"

typedef struct {
    outbox_edge_t rule;
    outbox_load_t load;
} edge_t;

typedef struct {
    actor_id_t to;
    msg_t *msg;
} item_t;

struct outbox {
    actor_id_t owner;
    edge_t edges[PORT_END]; /* by receiver; rule.to == ACTOR_NONE = no edge */
    item_t *items;
    size_t count, capacity, taken;
    outbox_line_t *lines;
    size_t line_count, line_capacity, line_taken;
    char *fatal;
    char *end;
    bool stopped;
};

outbox_t *outbox_new(actor_id_t self, const outbox_edge_t *edges, size_t count)
{
    outbox_t *box = xcalloc(1, sizeof *box);
    box->owner = self;
    for (size_t i = 0; i < count; i++) {
        assert(edges[i].to > ACTOR_NONE && edges[i].to < PORT_END);
        assert(edges[i].policy == EDGE_FREE ||
               (edges[i].messages_max > 0 && edges[i].bytes_max > 0));
        box->edges[edges[i].to].rule = edges[i];
    }
    return box;
}

static void drop_lines(outbox_t *self)
{
    for (size_t i = 0; i < self->line_count; i++) {
        free(self->lines[i].text);
        free(self->lines[i].fields);
    }
    self->line_count = 0;
    self->line_taken = 0;
}

void outbox_destroy(outbox_t **self_p)
{
    outbox_t *self = *self_p;
    *self_p = NULL;
    if (!self) {
        return;
    }
    for (size_t i = self->taken; i < self->count; i++) {
        msg_free(&self->items[i].msg);
    }
    drop_lines(self);
    free(self->lines);
    free(self->items);
    free(self->fatal);
    free(self->end);
    free(self);
}

static edge_t *edge_to(outbox_t *self, actor_id_t to)
{
    assert(to > ACTOR_NONE && to < PORT_END);
    return &self->edges[to];
}

void outbox_credit(outbox_t *self, actor_id_t from, const msg_credit_t *credit)
{
    edge_t *edge = edge_to(self, from);
    assert(edge->load.messages >= credit->messages);
    assert(edge->load.bytes >= credit->bytes);
    edge->load.messages -= credit->messages;
    edge->load.bytes -= credit->bytes;
}

msg_t *outbox_take(outbox_t *self, actor_id_t *to)
{
    if (self->taken == self->count) {
        self->taken = 0;
        self->count = 0;
        return NULL;
    }
    item_t *item = &self->items[self->taken++];
    *to = item->to;
    return item->msg;
}

const outbox_line_t *outbox_next_line(outbox_t *self)
{
    if (self->line_taken == self->line_count) {
        drop_lines(self);
        return NULL;
    }
    return &self->lines[self->line_taken++];
}

const char *outbox_fatal_text(const outbox_t *self)
{
    return self->fatal;
}

bool outbox_is_stopped(const outbox_t *self)
{
    return self->stopped;
}

outbox_load_t outbox_load(const outbox_t *self, actor_id_t to)
{
    assert(to > ACTOR_NONE && to < PORT_END);
    return self->edges[to].load;
}

bool outbox_has_edge(const outbox_t *self, actor_id_t to)
{
    assert(to > ACTOR_NONE && to < PORT_END);
    return self->edges[to].rule.to != ACTOR_NONE;
}

bool outbox_room(const outbox_t *self, actor_id_t to)
{
    assert(outbox_has_edge(self, to));
    const edge_t *edge = &self->edges[to];
    if (edge->rule.policy == EDGE_FREE) {
        return true;
    }
    return edge->load.messages < edge->rule.messages_max && edge->load.bytes < edge->rule.bytes_max;
}

void outbox_put(outbox_t *self, actor_id_t to, msg_t **msg_p)
{
    assert(outbox_room(self, to));
    msg_t *msg = *msg_p;
    *msg_p = NULL;
    assert(msg);
    edge_t *edge = edge_to(self, to);
    msg->from = self->owner;
    if (edge->rule.policy != EDGE_FREE) {
        msg->cost = msg_cost(msg);
        edge->load.messages++;
        edge->load.bytes += msg->cost;
    }
    self->items = xgrow(self->items, &self->capacity, self->count + 1, sizeof *self->items);
    self->items[self->count++] = (item_t){.to = to, .msg = msg};
}

static char *format_text(const char *format, va_list args) __attribute__((format(printf, 1, 0)));
static char *format_text(const char *format, va_list args)
{
    char *text = NULL;
    if (vasprintf(&text, format, args) < 0) {
        abort();
    }
    return text;
}

void outbox_log(outbox_t *self, log_level_t level, const char *text, const char *fields, ...)
{
    self->lines =
        xgrow(self->lines, &self->line_capacity, self->line_count + 1, sizeof *self->lines);
    outbox_line_t *line = &self->lines[self->line_count++];
    line->level = level;
    line->text = xstrdup(text);
    if (!fields) {
        line->fields = xstrdup("");
        return;
    }
    va_list args;
    va_start(args, fields);
    line->fields = format_text(fields, args);
    va_end(args);
}

void outbox_fatal(outbox_t *self, const char *format, ...)
{
    if (self->fatal) {
        return;
    }
    va_list args;
    va_start(args, format);
    self->fatal = format_text(format, args);
    va_end(args);
}

const char *outbox_end_text(const outbox_t *self)
{
    return self->end;
}

void outbox_end_node(outbox_t *self, const char *text)
{
    if (!self->end) {
        self->end = xstrdup(text);
    }
}

void outbox_stopped(outbox_t *self)
{
    self->stopped = true;
}
