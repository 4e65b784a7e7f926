#include "actors/node_pages.h"

#include <inttypes.h>
#include <stdlib.h>

#include "actors/daemon/process_shell.h"
#include "actors/runtime/clock.h"
#include "actors/wiring.h"
#include "messages/xalloc.h"

static void metrics_text_of(void *context, buf_t *out)
{
    const node_pages_t *self = context;
    metrics_page_t page = self->metrics;
    /* Looked up anew, since the wall's clock may have been set. */
    page.epoch_us = clock_unix_us() - clock_monotonic_us();
    metrics_page_text(&page, out);
}

static uint64_t unix_seconds(void *context)
{
    (void)context;
    return clock_unix_us() / 1000000;
}

static void append_text(buf_t *out, char *text)
{
    buf_append(out, text, strlen(text));
    free(text);
}

/* What tools that know etcd's expvars look for; what is Go's own has no meaning here. */
static void vars_text(void *context, const api_status_t *status, buf_t *out)
{
    static const char *const states[] = {
        [ROLE_FOLLOWER] = "StateFollower",
        [ROLE_PRE_CANDIDATE] = "StatePreCandidate",
        [ROLE_CANDIDATE] = "StateCandidate",
        [ROLE_LEADER] = "StateLeader",
    };
    const node_pages_t *self = context;
    append_text(out, xstrdup("{\n\"cmdline\": "));
    process_command_json(out);
    append_text(out,
                xasprintf(",\n\"file_descriptor_limit\": %" PRIu64 ",\n", process_file_limit()));
    append_text(out, xasprintf("\"raft.status\": {\"id\":\"%" PRIx64 "\",\"term\":%" PRIu64
                               ",\"commit\":%" PRIu64 ",\"lead\":\"%" PRIx64
                               "\",\"raftState\":\"%s\",\"applied\":%" PRIu64 "}\n}\n",
                               self->metrics.member_id, status->term, status->commit_index,
                               status->leader, states[status->role], status->applied_index));
}

/* One line per actor, then one per edge with something in flight. */
static void actors_text(const node_pages_t *self, buf_t *out)
{
    append_text(out, xasprintf("%-14s %12s %12s %7s %12s\n", "actor", "turns", "messages", "busy",
                               "max-turn-us"));
    for (int id = 1; id < ACTOR_COUNT; id++) {
        runtime_stats_t stats = runtime_stats(self->actors[id]);
        uint64_t age_us = clock_monotonic_us() - stats.started_us + 1;
        append_text(out,
                    xasprintf("%-14s %12" PRIu64 " %12" PRIu64 " %6.2f%% %12" PRIu64 "\n",
                              actor_name((actor_id_t)id), stats.turns, stats.messages,
                              100.0 * (double)stats.busy_us / (double)age_us, stats.step_max_us));
    }
    append_text(out, xasprintf("\n%-14s %-14s %10s %12s %10s %12s\n", "from", "to", "in-flight",
                               "of", "bytes", "of"));
    for (size_t i = 0; i < wiring_edge_count; i++) {
        const wiring_edge_t *edge = &wiring_edges[i];
        if (edge->policy == EDGE_FREE) {
            continue;
        }
        outbox_load_t load = runtime_load(self->actors[edge->from], edge->to);
        append_text(out, xasprintf("%-14s %-14s %10u %12u %10" PRIu64 " %12" PRIu64 "\n",
                                   actor_name(edge->from), actor_name(edge->to), load.messages,
                                   edge->messages_max, load.bytes, edge->bytes_max));
    }
}

/* A message that an actor has taken. */
typedef struct {
    trace_entry_t entry;
    actor_id_t to;
    size_t order; /* among those of one time: of one actor they stay as they came */
} taken_t;

static int by_time(const void *a, const void *b)
{
    const taken_t *x = a;
    const taken_t *y = b;
    if (x->entry.at_us != y->entry.at_us) {
        return x->entry.at_us < y->entry.at_us ? -1 : 1;
    }
    return x->order < y->order ? -1 : 1;
}

/* The last messages of all actors, the newest at the end. */
static void trace_text(const node_pages_t *self, buf_t *out)
{
    taken_t *taken = xcalloc((size_t)ACTOR_COUNT * LIMIT_TRACE_ENTRIES, sizeof *taken);
    size_t count = 0;
    for (int id = 1; id < ACTOR_COUNT; id++) {
        trace_entry_t entries[LIMIT_TRACE_ENTRIES];
        size_t there = trace_read(runtime_trace(self->actors[id]), entries);
        for (size_t i = 0; i < there; i++) {
            taken[count] = (taken_t){.entry = entries[i], .to = (actor_id_t)id, .order = count};
            count++;
        }
    }
    qsort(taken, count, sizeof *taken, by_time);
    uint64_t now_us = clock_monotonic_us();
    append_text(out, xasprintf("%14s %-14s %-14s %s\n", "us-ago", "from", "to", "message"));
    for (size_t i = 0; i < count; i++) {
        const trace_entry_t *entry = &taken[i].entry;
        uint64_t age_us = now_us > entry->at_us ? now_us - entry->at_us : 0;
        append_text(out,
                    xasprintf("%14" PRIu64 " %-14s %-14s %s\n", age_us, actor_name(entry->from),
                              actor_name(taken[i].to), msg_kind_name(entry->kind)));
    }
    free(taken);
}

static void wiring_text(buf_t *out)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (stream) {
        wiring_print(stream);
        fclose(stream);
        buf_append(out, text, size);
    }
    free(text);
}

static void debug_text(void *context, const char *page, buf_t *out)
{
    if (strcmp(page, "") == 0) {
        append_text(out,
                    xstrdup("/debug/actors  queues, credits, turns and busy share of each actor\n"
                            "/debug/trace   the last messages that each actor has taken\n"
                            "/debug/wiring  who talks to whom, as Graphviz\n"));
    } else if (strcmp(page, "actors") == 0) {
        actors_text(context, out);
    } else if (strcmp(page, "trace") == 0) {
        trace_text(context, out);
    } else if (strcmp(page, "wiring") == 0) {
        wiring_text(out);
    }
}

void node_pages_init(node_pages_t *self, runtime_t *const *actors, const metrics_t *blocks,
                     const rpc_metrics_t *const rpc_blocks[GATEWAY_COUNT], uint64_t member_id,
                     bool debug)
{
    *self = (node_pages_t){.actors = actors};
    memcpy(self->rpc_blocks, rpc_blocks, sizeof self->rpc_blocks);
    for (int id = 0; id < ACTOR_COUNT; id++) {
        self->blocks[id] = &blocks[id];
    }
    self->metrics = (metrics_page_t){.blocks = self->blocks,
                                     .block_count = ACTOR_COUNT,
                                     .rpc_blocks = self->rpc_blocks,
                                     .rpc_block_count = GATEWAY_COUNT,
                                     .member_id = member_id};
    self->pages = (http_pages_t){.context = self,
                                 .metrics_text = metrics_text_of,
                                 .vars_text = vars_text,
                                 .debug_text = debug ? debug_text : NULL,
                                 .unix_seconds = unix_seconds};
}
