#include "actors/replicator/progress.h"

#include <assert.h>

void progress_init(progress_t *self, uint64_t member, uint64_t next)
{
    assert(next > 0);
    *self = (progress_t){.member = member, .next = next, .is_watched = true};
}

static void forget_window(progress_t *self)
{
    self->window_head = 0;
    self->window_count = 0;
    self->window_bytes = 0;
}

static void probe(progress_t *self, uint64_t next)
{
    self->state = PROGRESS_PROBE;
    self->next = next > self->match ? next : self->match + 1;
    self->not_before_us = 0;
    self->is_repeated = false;
    forget_window(self);
}

bool progress_may_send(const progress_t *self, uint64_t now_us)
{
    switch (self->state) {
    case PROGRESS_PROBE: return now_us >= self->not_before_us;
    case PROGRESS_REPLICATE:
        return self->window_count < LIMIT_PEER_INFLIGHT_APPENDS &&
               self->window_bytes < LIMIT_PEER_INFLIGHT_BYTES;
    default: return false;
    }
}

void progress_sent(progress_t *self, uint64_t last_index, size_t bytes, uint64_t probe_again_us)
{
    if (self->state == PROGRESS_PROBE) {
        self->not_before_us = probe_again_us;
        self->is_repeated = true;
        return;
    }
    if (last_index < self->next) {
        return; /* without entries: nothing to wait for */
    }
    assert(self->state == PROGRESS_REPLICATE && self->window_count < LIMIT_PEER_INFLIGHT_APPENDS);
    size_t at = (self->window_head + self->window_count++) % LIMIT_PEER_INFLIGHT_APPENDS;
    self->window[at] = (progress_append_t){.last_index = last_index, .bytes = bytes};
    self->window_bytes += bytes;
    self->next = last_index + 1;
}

bool progress_heard(progress_t *self, uint64_t incarnation, uint64_t now_us)
{
    self->was_heard = true;
    self->heard_us = now_us;
    bool is_other = self->incarnation != 0 && self->incarnation != incarnation;
    self->incarnation = incarnation;
    if (is_other) {
        probe(self, self->match + 1);
    }
    return is_other;
}

bool progress_acked(progress_t *self, uint64_t index)
{
    bool is_news = index > self->match;
    if (is_news) {
        self->match = index;
    }
    if (self->state == PROGRESS_SNAPSHOT) {
        return is_news; /* the caller knows whether it can do without */
    }
    /* What the probe came after may have arrived without being on the disk yet: `next` stays. Should this be
     * an old answer, the next append is refused, and the search goes on. */
    self->state = PROGRESS_REPLICATE;
    if (self->next <= self->match) {
        self->next = self->match + 1;
    }
    while (self->window_count && self->window[self->window_head].last_index <= index) {
        self->window_bytes -= self->window[self->window_head].bytes;
        self->window_head = (self->window_head + 1) % LIMIT_PEER_INFLIGHT_APPENDS;
        self->window_count--;
    }
    return is_news;
}

bool progress_refused(progress_t *self, uint64_t prev_index, uint64_t agree_index)
{
    bool is_old =
        self->state == PROGRESS_PROBE ? prev_index != self->next - 1 : prev_index <= self->match;
    if (is_old || prev_index == 0 || self->state == PROGRESS_SNAPSHOT) {
        return false; /* what follows nothing can't be refused */
    }
    uint64_t agree = agree_index < prev_index ? agree_index : prev_index - 1;
    probe(self, agree + 1);
    return true;
}

void progress_snapshot(progress_t *self, uint64_t snapshot_id, uint64_t keep_from)
{
    self->state = PROGRESS_SNAPSHOT;
    self->snapshot_id = snapshot_id;
    self->keep_from = keep_from;
    forget_window(self);
}

void progress_snapshot_ended(progress_t *self, uint64_t index, uint64_t not_before_us)
{
    assert(self->state == PROGRESS_SNAPSHOT);
    self->snapshot_id = 0;
    probe(self, index + 1);
    self->not_before_us = not_before_us;
    self->keep_from = index ? index + 1 : 0;
}

bool progress_tick(progress_t *self)
{
    bool is_stuck = self->state == PROGRESS_REPLICATE && self->window_count > 0 &&
                    self->match == self->match_at_tick;
    self->match_at_tick = self->match;
    return is_stuck;
}
