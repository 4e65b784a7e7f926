/* Invariant: watchers are created one at a time, in order; `head` is the one the server was asked to
 * create and has not answered for yet. */
#include "cli/watch_feed.h"

#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "messages/xalloc.h"

#define REOPEN_MS 100

struct watcher {
    watcher_t *next;
    watcher_cfg_t cfg;
    int64_t id;   /* while created */
    bool created; /* on the present stream */
    bool settled; /* was created once, or ended */
    bool ended;
};

struct watch_feed {
    grpc_client_t *client;
    grpc_stream_t *stream; /* NULL: lost, or not opened yet */
    watcher_t *watchers;   /* in the order of watch_feed_add */
    watcher_t **last_p;
    watcher_t *head;
    int64_t reopen_at_ms; /* -1: not waiting */
    size_t learners;      /* that have refused the stream in a row */
};

static void open_stream(watch_feed_t *self);

/* ---- requests ---- */

static void send_create(watch_feed_t *self, watcher_t *watcher)
{
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    create.key = watcher->cfg.key;
    create.range_end = watcher->cfg.range_end;
    create.start_revision = watcher->cfg.revision;
    create.prev_kv = watcher->cfg.prev_kv;
    create.progress_notify = watcher->cfg.progress_notify;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    grpc_stream_send_message(self->stream, &request.base);
}

static void create_next(watch_feed_t *self)
{
    if (self->stream == NULL || self->head != NULL) {
        return;
    }
    for (watcher_t *w = self->watchers; w != NULL; w = w->next) {
        if (!w->created && !w->ended) {
            self->head = w;
            send_create(self, w);
            return;
        }
    }
}

watcher_t *watch_feed_add(watch_feed_t *self, const watcher_cfg_t *cfg)
{
    watcher_t *watcher = xcalloc(1, sizeof *watcher);
    watcher->cfg = *cfg;
    *self->last_p = watcher;
    self->last_p = &watcher->next;
    open_stream(self);
    create_next(self);
    return watcher;
}

void watch_feed_progress(watch_feed_t *self)
{
    open_stream(self);
    Etcdserverpb__WatchProgressRequest progress = ETCDSERVERPB__WATCH_PROGRESS_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST;
    request.progress_request = &progress;
    if (self->stream != NULL) {
        grpc_stream_send_message(self->stream, &request.base);
    }
}

/* ---- answers ---- */

static void end_watcher(watch_feed_t *self, watcher_t *watcher, const char *error)
{
    watcher->ended = true;
    watcher->settled = true;
    watcher->created = false;
    if (self->head == watcher) {
        self->head = NULL;
    }
    if (error != NULL) {
        watch_view_t view = {.canceled = true, .cancel_reason = ""};
        watcher->cfg.on_view(watcher->cfg.arg, &view, error);
    }
}

static void on_created(watch_feed_t *self, const Etcdserverpb__WatchResponse *answer)
{
    watcher_t *watcher = self->head;
    if (watcher == NULL) {
        return;
    }
    self->head = NULL;
    if (answer->watch_id == -1 || (answer->canceled && answer->cancel_reason[0] != 0)) {
        end_watcher(self, watcher, answer->cancel_reason);
    } else {
        self->learners = 0;
        watcher->id = answer->watch_id;
        watcher->created = true;
        watcher->settled = true;
        if (watcher->cfg.revision == 0 && answer->header != NULL) {
            /* "From now" stays this moment when the stream must be opened again. */
            watcher->cfg.revision = answer->header->revision + 1;
        }
    }
    create_next(self);
}

static void deliver(watch_feed_t *self, watcher_t *watcher,
                    const Etcdserverpb__WatchResponse *answer)
{
    watch_view_t view = {
        .header = answer->header,
        .events = answer->events,
        .events_n = answer->n_events,
        .compact_revision = answer->compact_revision,
        .canceled = answer->canceled,
        .cancel_reason = answer->cancel_reason,
    };
    if (answer->compact_revision != 0) {
        end_watcher(self, watcher, NULL);
        watcher->cfg.on_view(watcher->cfg.arg, &view,
                             "etcdserver: mvcc: required revision has been compacted");
        return;
    }
    if (answer->n_events > 0) {
        watcher->cfg.revision = answer->events[answer->n_events - 1]->kv->mod_revision + 1;
    } else if (answer->header != NULL) {
        watcher->cfg.revision = answer->header->revision + 1;
    }
    watcher->cfg.on_view(watcher->cfg.arg, &view, NULL);
}

/* Every event has its key and revision; an answer without them is not from an etcd server. */
static bool is_sound(const Etcdserverpb__WatchResponse *answer)
{
    for (size_t i = 0; i < answer->n_events; i++) {
        if (answer->events[i]->kv == NULL) {
            return false;
        }
    }
    return true;
}

static void dispatch(watch_feed_t *self, const Etcdserverpb__WatchResponse *answer)
{
    if (answer->created) {
        on_created(self, answer);
        return;
    }
    for (watcher_t *w = self->watchers; w != NULL; w = w->next) {
        /* Progress that was asked for concerns all watchers of the stream. */
        bool all = answer->watch_id == -1 && answer->n_events == 0 && !answer->canceled;
        if (!w->created || (w->id != answer->watch_id && !all)) {
            continue;
        }
        if (answer->canceled && answer->compact_revision == 0) {
            end_watcher(self, w, NULL);
        } else {
            deliver(self, w, answer);
        }
    }
}

static void on_answer(void *arg, const uint8_t *message, size_t size)
{
    watch_feed_t *self = arg;
    Etcdserverpb__WatchResponse *answer = etcdserverpb__watch_response__unpack(NULL, size, message);
    if (answer == NULL) {
        return;
    }
    if (is_sound(answer)) {
        dispatch(self, answer);
    }
    etcdserverpb__watch_response__free_unpacked(answer, NULL);
}

/* Whether opening the stream again may help. Learners serve no watches, so the next endpoint gets it. */
static bool is_passing(watch_feed_t *self, const grpc_status_t *status)
{
    if (cli_is_error(status, API_NOT_SUPPORTED_FOR_LEARNER)) {
        return ++self->learners < grpc_client_endpoints(self->client);
    }
    return (status->code == GRPC_UNAVAILABLE || status->code == GRPC_INTERNAL) &&
           !cli_is_error(status, API_NO_LEADER);
}

static void on_stream_done(void *arg, const grpc_status_t *status)
{
    watch_feed_t *self = arg;
    self->stream = NULL;
    self->head = NULL;
    bool passing = is_passing(self, status);
    char *error = cli_status_text(status);
    for (watcher_t *w = self->watchers; w != NULL; w = w->next) {
        w->created = false;
        if (!passing && !w->ended) {
            end_watcher(self, w, error);
        }
    }
    free(error);
    self->reopen_at_ms = passing ? cli_now_ms() + REOPEN_MS : -1;
}

/* ---- the stream ---- */

static void open_stream(watch_feed_t *self)
{
    if (self->stream != NULL || self->reopen_at_ms >= 0) {
        return;
    }
    self->stream =
        grpc_client_start(self->client, &(grpc_stream_cfg_t){.path = "/etcdserverpb.Watch/Watch",
                                                             .timeout_ms = GRPC_NO_TIMEOUT,
                                                             .require_leader = true,
                                                             .on_message = on_answer,
                                                             .on_done = on_stream_done,
                                                             .arg = self});
}

int64_t watch_feed_wait_ms(const watch_feed_t *self)
{
    if (self->reopen_at_ms < 0) {
        return -1;
    }
    int64_t left = self->reopen_at_ms - cli_now_ms();
    return left > 0 ? left : 0;
}

void watch_feed_tick(watch_feed_t *self)
{
    if (watch_feed_wait_ms(self) == 0) {
        self->reopen_at_ms = -1;
        open_stream(self);
        create_next(self);
    }
}

bool watcher_settled(const watcher_t *self)
{
    return self->settled;
}

bool watcher_ended(const watcher_t *self)
{
    return self->ended;
}

watch_feed_t *watch_feed_new(grpc_client_t *client)
{
    watch_feed_t *self = xcalloc(1, sizeof *self);
    self->client = client;
    self->last_p = &self->watchers;
    self->reopen_at_ms = -1;
    return self;
}

void watch_feed_destroy(watch_feed_t **self_p)
{
    watch_feed_t *self = *self_p;
    *self_p = NULL;
    if (self == NULL) {
        return;
    }
    if (self->stream != NULL) {
        grpc_stream_cancel(self->stream);
    }
    while (self->watchers != NULL) {
        watcher_t *watcher = self->watchers;
        self->watchers = watcher->next;
        free(watcher->cfg.key.data);
        free(watcher->cfg.range_end.data);
        free(watcher);
    }
    free(self);
}
