#include "actors/node.h"

#include <assert.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "actors/api/api.h"
#include "actors/applier/applier.h"
#include "actors/curve/curve_shell.h"
#include "actors/daemon/notify_shell.h"
#include "actors/daemon/options.h"
#include "actors/daemon/process_shell.h"
#include "actors/election/election.h"
#include "actors/grpc_gateway/gateway.h"
#include "actors/keeper/keeper.h"
#include "actors/lease/lease.h"
#include "actors/node_log.h"
#include "actors/node_native.h"
#include "actors/node_pages.h"
#include "actors/peer/endpoint.h"
#include "actors/peer/peer.h"
#include "actors/peer/peer_shell.h"
#include "actors/replicator/replicator.h"
#include "actors/runtime/clock.h"
#include "actors/runtime/shell.h"
#include "actors/wal_writer/wal_disk.h"
#include "actors/wal_writer/wal_writer.h"
#include "actors/watch/watch.h"
#include "actors/wiring.h"
#include "messages/configuration.h"
#include "messages/limits.h"
#include "messages/xalloc.h"
#include "store/data_dir.h"
#include "store/generations.h"

struct node {
    const options_t *options;
    log_t *log;
    data_dir_t *dir;
    wal_recovered_t recovered;
    wal_disk_t *disk;
    generations_t *generations;
    shared_t *store;                /* until the applier has it */
    metrics_t metrics[ACTOR_COUNT]; /* ACTOR_NONE's: what belongs to no actor */
    curve_t *curve;                 /* NULL = no side has CURVE */
    peer_metrics_t peer_metrics;
    snapshot_metrics_t snapshot_metrics;
    peer_shell_t *peer_shell;
    runtime_t *actors[ACTOR_COUNT];
    calls_t *calls;
    gateway_t *gateway;
    node_pages_t pages;
    const char **client_urls;
    node_native_t native;
    uint64_t origin, native_origin;
    uint64_t incarnation; /* when the process started: peers tell it from its earlier self */
};

/* Cores log through their outbox and do not know where they stand in a file: the line names the actor. */
static void log_for_actor(void *context, log_level_t level, actor_id_t actor, const char *text,
                          const char *fields)
{
    log_write(context, level, actor_name(actor), text, fields);
}

static void log_for_curve(void *context, log_level_t level, const char *text, const char *fields)
{
    log_write(context, level, "curve", text, fields);
}

/* Before any socket that it guards. */
static char *start_curve(node_t *self)
{
    const options_t *options = self->options;
    curve_cfg_t cfg = {.secret_key = {[CURVE_PEER] = options->peer_curve_secret_key,
                                      [CURVE_NATIVE] = options->native_curve_secret_key},
                       .allowed_keys = {[CURVE_PEER] = options->peer_curve_allowed_keys,
                                        [CURVE_NATIVE] = options->native_curve_allowed_keys},
                       .metrics = &self->metrics[ACTOR_NONE],
                       .log = log_for_curve,
                       .log_context = self->log};
    return curve_start(&cfg, &self->curve);
}

static char *open_log(node_t *self)
{
    const char *dir = data_dir_wal(self->dir);
    char *error = node_log_open(self->options, self->log, curve_domain(self->curve, CURVE_PEER),
                                dir, &self->recovered);
    if (error) {
        return error;
    }
    io_t *io = self->options->unsafe_no_fsync ? io_posix_unsynced() : io_posix();
    int rc = wal_disk_new(io, dir, &self->recovered, LIMIT_WAL_SEGMENT_BYTES,
                          &self->metrics[ACTOR_WAL_WRITER], &self->disk, &error);
    return rc ? error : NULL;
}

/* ---- the store ---- */

static void store_wrote(void *context, uint64_t micros)
{
    metrics_observe(context, HISTOGRAM_COMMIT, micros);
}

static char *open_store(node_t *self)
{
    char *error = NULL;
    /* The applier is the only writer: these are its metrics. */
    generations_leveldb_cfg_t cfg = {.dir = self->dir,
                                     .on_write = store_wrote,
                                     .on_write_context = &self->metrics[ACTOR_APPLIER]};
    self->generations = generations_leveldb_new(&cfg);
    int rc = generations_open(self->generations, self->recovered.generation, &self->store, &error);
    return rc ? error : NULL;
}

/* The store may be behind the log, never ahead of it; and the log must reach back to the store. */
static char *check_applied(const node_t *self, uint64_t applied)
{
    uint64_t last = wal_recovered_last_index(&self->recovered);
    if (applied > last) {
        return xasprintf("the store has applied entry %" PRIu64 " but the log ends at %" PRIu64
                         ": the log was damaged or does not belong to this store",
                         applied, last);
    }
    if (applied < self->recovered.base_index) {
        return xasprintf("the store has applied entry %" PRIu64 " but the log begins after %" PRIu64
                         ": the store was damaged or does not belong to this log",
                         applied, self->recovered.base_index);
    }
    return NULL;
}

/* ---- actors ---- */

/* A core has found that this member has no place in the cluster any more: main gets the signal that ends
 * any node in good order. */
static void end_node(void *context, actor_id_t actor, const char *text)
{
    log_for_actor(context, LEVEL_WARN, actor, text, "");
    kill(getpid(), SIGTERM);
}

static void add_actor(node_t *self, runtime_cfg_t cfg)
{
    cfg.end_node = end_node;
    cfg.end_context = self->log;
    cfg.metrics = &self->metrics[cfg.id];
    cfg.log = log_for_actor;
    cfg.log_context = self->log;
    self->actors[cfg.id] = runtime_new(&cfg);
}

static uint64_t election_timeout_us(const node_t *self)
{
    return (uint64_t)self->options->election_ms * 1000;
}

/* After which clients are told that it took too long, as etcd. */
static uint64_t request_timeout_us(const node_t *self)
{
    return 5000000 + 2 * election_timeout_us(self);
}

/* --warning-apply-duration. */
static void slow_apply(void *context, uint64_t took_us)
{
    node_t *self = context;
    metrics_add(&self->metrics[ACTOR_APPLIER], METRIC_SLOW_APPLY, 1);
    log_writef(self->log, LEVEL_WARN, LOG_HERE, "apply request took too long",
               "\"took\":\"%" PRIu64 ".%03" PRIu64 "ms\",\"expected-duration\":\"%" PRIu64 "ms\"",
               took_us / 1000, took_us % 1000, self->options->warning_apply_us / 1000);
}

static char *add_applier(node_t *self, uint64_t *applied)
{
    char *error = NULL;
    applier_cfg_t cfg = {
        .store = self->store,
        .generations = self->generations,
        .origins = {self->origin, self->native_origin},
        .start_commit = self->recovered.commit,
        .flush_entries = self->options->snapshot_count,
        .catchup_entries = self->options->snapshot_catchup_entries,
        .compaction_rows = self->options->compaction_batch_limit,
        .compaction_sleep_us = self->options->compaction_sleep_us,
        .configuration = self->recovered.base_configuration,
    };
    applier_t *applier = applier_new(&cfg, &self->metrics[ACTOR_APPLIER], &error);
    shared_unref(&self->store); /* it may be replaced: who uses it holds it */
    if (!applier) {
        return error;
    }
    *applied = applier_applied_index(applier);
    add_actor(self, (runtime_cfg_t){.id = ACTOR_APPLIER,
                                    .ops = &applier_ops,
                                    .core = applier,
                                    .slow_turn_us = self->options->warning_apply_us,
                                    .slow_turn = slow_apply,
                                    .slow_context = self});
    return check_applied(self, *applied);
}

static void add_consensus(node_t *self, uint64_t applied)
{
    const wal_recovered_t *log = &self->recovered;
    uint64_t configuration_index = 0;
    const bytes_t *configuration = wal_recovered_configuration(log, &configuration_index);
    election_cfg_t election_cfg = {
        .member_id = log->identity.member_id,
        .term = log->term,
        .vote = log->vote,
        .configuration = configuration,
        .pre_vote = self->options->pre_vote,
        .tick_advance = self->options->tick_advance,
        .heartbeat_us = (uint64_t)self->options->heartbeat_ms * 1000,
        .election_timeout_us = election_timeout_us(self),
        .seed = clock_random_seed(),
    };
    replicator_cfg_t replicator_cfg = {
        .member_id = log->identity.member_id,
        .incarnation = self->incarnation,
        .term = log->term,
        .commit = log->commit,
        .applied = applied,
        .base_index = log->base_index,
        .base_term = log->base_term,
        .configuration = log->base_configuration,
        .configuration_index = log->base_configuration_index,
        .entries = &log->entries,
        .last_lsn = log->lsn,
        .catchup_entries = self->options->snapshot_catchup_entries,
        .election_timeout_us = election_timeout_us(self),
        .heartbeat_us = (uint64_t)self->options->heartbeat_ms * 1000,
        .max_learners = self->options->max_learners,
    };
    election_t *election = election_new(&election_cfg, &self->metrics[ACTOR_ELECTION]);
    replicator_t *replicator = replicator_new(&replicator_cfg, &self->metrics[ACTOR_REPLICATOR]);
    add_actor(self, (runtime_cfg_t){.id = ACTOR_ELECTION, .ops = &election_ops, .core = election});
    add_actor(self,
              (runtime_cfg_t){.id = ACTOR_REPLICATOR, .ops = &replicator_ops, .core = replicator});
}

/* Every write waits for its thread, which wakes up three times for each with little to do: docs/BENCHMARKS.md has what
 * it saves when that need not queue behind the others. */
enum { WAL_NICER = 10 };

static void add_helpers(node_t *self)
{
    lease_cfg_t lease_cfg = {.election_timeout_us = election_timeout_us(self),
                             .request_timeout_us = request_timeout_us(self),
                             .first_forward = self->origin};
    watch_cfg_t watch_cfg = {.progress_notify_us = self->options->progress_notify_us,
                             .stream_bytes_max = LIMIT_STREAM_BYTES,
                             .total_bytes_max = LIMIT_WATCH_UNSENT_BYTES};
    keeper_cfg_t keeper_cfg = {.generations = self->generations,
                               .by_member = &self->snapshot_metrics};
    wal_writer_t *writer = wal_writer_new(&self->recovered, LIMIT_WAL_SEGMENT_BYTES);
    add_actor(self, (runtime_cfg_t){.id = ACTOR_WAL_WRITER,
                                    .ops = &wal_writer_ops,
                                    .core = writer,
                                    .port = wal_disk_port,
                                    .port_context = self->disk,
                                    .nicer = WAL_NICER});
    add_actor(self, (runtime_cfg_t){.id = ACTOR_KEEPER,
                                    .ops = &keeper_ops,
                                    .core = keeper_new(&keeper_cfg, &self->metrics[ACTOR_KEEPER])});
    add_actor(self, (runtime_cfg_t){.id = ACTOR_LEASE,
                                    .ops = &lease_ops,
                                    .core = lease_new(&lease_cfg, &self->metrics[ACTOR_LEASE])});
    add_actor(self, (runtime_cfg_t){.id = ACTOR_WATCH,
                                    .ops = &watch_ops,
                                    .core = watch_new(&watch_cfg, &self->metrics[ACTOR_WATCH])});
}

/* As peers tell each other: NUL between them. */
static bytes_t *peer_urls(const urls_t *urls)
{
    buf_t text = {0};
    for (size_t i = 0; i < urls->count; i++) {
        buf_append(&text, urls->items[i].text, strlen(urls->items[i].text) + (i + 1 < urls->count));
    }
    bytes_t *joined = buf_bytes(&text);
    buf_deinit(&text);
    return joined;
}

static char *listen_for_peers(node_t *self)
{
    const urls_t *urls = &self->options->listen_peer;
    char *error = NULL;
    for (size_t i = 0; i < urls->count && !error; i++) {
        int fd = -1;
        error = node_listen(&urls->items[i], self->options->socket_reuse_port, &fd);
        if (!error) {
            error = peer_shell_listen(self->peer_shell, urls->items[i].text, fd);
        }
    }
    return error;
}

static char *add_peer(node_t *self)
{
    const wal_recovered_t *log = &self->recovered;
    uint64_t index = 0;
    const bytes_t *configuration = wal_recovered_configuration(log, &index);
    bytes_t *urls = peer_urls(&self->options->advertise_peer);
    peer_cfg_t cfg = {.cluster_id = log->identity.cluster_id,
                      .member_id = log->identity.member_id,
                      .incarnation = self->incarnation,
                      .configuration = configuration,
                      .configuration_index = index,
                      .configuration_is_committed = index <= log->commit,
                      .urls = urls,
                      .heartbeat_us = (uint64_t)self->options->heartbeat_ms * 1000,
                      .election_timeout_us = election_timeout_us(self)};
    peer_shell_cfg_t shell_cfg = {.metrics = &self->metrics[ACTOR_PEER],
                                  .by_member = &self->peer_metrics,
                                  .names_are_ipv6 =
                                      endpoint_names_are_ipv6(&self->options->listen_peer),
                                  .curve = curve_domain(self->curve, CURVE_PEER),
                                  .log = log_for_actor,
                                  .log_context = self->log};
    peer_t *peer = peer_new(&cfg, &self->metrics[ACTOR_PEER], &self->peer_metrics);
    bytes_unref(&urls);
    self->peer_shell = peer_shell_new(&shell_cfg);
    add_actor(self, (runtime_cfg_t){.id = ACTOR_PEER,
                                    .ops = &peer_ops,
                                    .core = peer,
                                    .network = peer_shell_network,
                                    .port_context = self->peer_shell,
                                    .loop = peer_shell_loop,
                                    .loop_context = self->peer_shell});
    return listen_for_peers(self);
}

/* ---- the gateway ---- */

/* Whole seconds, at least one and a half election timeouts (contract section 5). */
static int64_t lease_ttl_min_s(const options_t *options)
{
    uint64_t ticks = options->election_ms / options->heartbeat_ms;
    uint64_t ms = ticks * 3 / 2 * options->heartbeat_ms;
    return (int64_t)((ms + 999) / 1000);
}

static size_t connections_max(void)
{
    const rlim_t own_descriptors = 256; /* LevelDB's tables, the log, ZeroMQ's signalers */
    struct rlimit limit = {.rlim_cur = 1024};
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur <= 2 * own_descriptors) {
        return limit.rlim_cur / 2;
    }
    rlim_t room = limit.rlim_cur - own_descriptors;
    return room < LIMIT_CONNECTIONS ? (size_t)room : LIMIT_CONNECTIONS;
}

static char *listen_for_clients(node_t *self)
{
    const urls_t *urls = &self->options->listen_client;
    for (size_t i = 0; i < urls->count; i++) {
        int fd = -1;
        char *error = node_listen(&urls->items[i], self->options->socket_reuse_port, &fd);
        if (error) {
            return error;
        }
        gateway_add_listener(self->gateway, fd);
    }
    return NULL;
}

static api_cfg_t make_api_cfg(node_t *self)
{
    const options_t *options = self->options;
    const urls_t *urls = &options->advertise_client;
    self->client_urls = xcalloc(urls->count, sizeof(char *));
    for (size_t i = 0; i < urls->count; i++) {
        self->client_urls[i] = urls->items[i].text;
    }
    return (api_cfg_t){
        .cluster_id = self->recovered.identity.cluster_id,
        .member_id = self->recovered.identity.member_id,
        .origin = self->origin,
        .publishes = true,
        .name = options->name,
        .client_urls = self->client_urls,
        .client_url_count = urls->count,
        .max_request_bytes = options->max_request_bytes,
        .max_txn_ops = options->max_txn_ops,
        .request_timeout_us = request_timeout_us(self),
        .progress_notify_us = options->progress_notify_us,
        .handling_times = options->metrics_extensive,
        .lease_ttl_min_s = lease_ttl_min_s(options),
        .strict_reconfig = options->strict_reconfig,
        .unix_offset_us = clock_unix_us() - clock_monotonic_us(),
        .seed = clock_random_seed(),
    };
}

static void on_serving(void *context)
{
    node_t *self = context;
    process_forget_start();
    char *error = notify_send(getenv("NOTIFY_SOCKET"), "READY=1");
    if (error) {
        char *text = xasprintf("cannot tell the service manager: %s", error);
        log_write(self->log, LEVEL_WARN, LOG_HERE, text, "");
        free(text);
        free(error);
    }
}

/* It is there also when nobody can come: asleep, and told little. */
static char *add_native(node_t *self, const api_cfg_t *api)
{
    node_native_cfg_t cfg = {.options = self->options,
                             .curve = curve_domain(self->curve, CURVE_NATIVE),
                             .log_actor = log_for_actor,
                             .log = self->log,
                             .api = api,
                             .origin = self->native_origin,
                             .metrics = &self->metrics[ACTOR_ZMQ_GATEWAY]};
    char *error = node_native_new(&cfg, &self->native);
    add_actor(self, (runtime_cfg_t){.id = ACTOR_ZMQ_GATEWAY,
                                    .ops = &zmq_gateway_ops,
                                    .core = self->native.core,
                                    .loop = zmq_gateway_shell_loop,
                                    .loop_context = self->native.shell});
    return error;
}

static char *add_gateways(node_t *self)
{
    const options_t *options = self->options;
    self->calls = calls_new();
    api_cfg_t api_cfg = make_api_cfg(self);
    api_sink_t sink = calls_sink(self->calls);
    api_t *api = api_new(&api_cfg, &sink, &self->metrics[ACTOR_GRPC_GATEWAY]);
    char *error = add_native(self, &api_cfg);
    const rpc_metrics_t *rpc[GATEWAY_COUNT] = {api_rpc_metrics(api), self->native.rpc};
    node_pages_init(&self->pages, self->actors, self->metrics, rpc,
                    self->recovered.identity.member_id, options->enable_pprof);
    self->pages.metrics.extensive = options->metrics_extensive;
    self->pages.metrics.peers = &self->peer_metrics;
    self->pages.metrics.snapshots = &self->snapshot_metrics;
    gateway_cfg_t cfg = {
        .http1_new = http1_conn_new,
        .pages = &self->pages.pages,
        .env = {.api = api,
                .calls = self->calls,
                .metrics = &self->metrics[ACTOR_GRPC_GATEWAY],
                .max_message_bytes = options->max_request_bytes + LIMIT_REQUEST_OVERHEAD_BYTES,
                .max_concurrent_streams = options->max_concurrent_streams,
                .keepalive_min_us = options->keepalive_min_us,
                .keepalive_interval_us = options->keepalive_interval_us,
                .keepalive_timeout_us = options->keepalive_timeout_us},
        .connections_max = connections_max(),
        .on_serving = on_serving,
        .serving_context = self,
    };
    self->gateway = gateway_new(&cfg);
    add_actor(self, (runtime_cfg_t){.id = ACTOR_GRPC_GATEWAY,
                                    .ops = &api_ops,
                                    .core = api,
                                    .loop = gateway_loop,
                                    .loop_context = self->gateway});
    return error ? error : listen_for_clients(self);
}

/* ---- life ---- */

static char *assemble(node_t *self)
{
    uint64_t applied = 0;
    char *error = NULL;
    data_dir_cfg_t dir = {.path = self->options->data_dir, .wal_path = self->options->wal_dir};
    error = start_curve(self);
    if (!error && data_dir_open(&self->dir, io_posix(), &dir, &error) == 0) {
        error = open_log(self);
    }
    if (!error) {
        error = open_store(self);
    }
    if (!error) {
        error = add_applier(self, &applied);
    }
    if (!error) {
        add_consensus(self, applied);
        add_helpers(self);
        error = add_peer(self);
    }
    if (!error) {
        error = add_gateways(self);
    }
    entries_deinit(&self->recovered.entries); /* the replicator holds what it needs */
    return error;
}

static void start_by_stage(node_t *self)
{
    for (int id = 1; id < ACTOR_COUNT; id++) {
        runtime_connect(self->actors[id]);
    }
    for (unsigned stage = 0; stage < WIRING_STAGES; stage++) {
        for (int id = 1; id < ACTOR_COUNT; id++) {
            if (wiring_stage((actor_id_t)id) == stage) {
                runtime_start(self->actors[id]);
            }
        }
    }
}

char *node_start(const options_t *options, log_t *log, node_t **node_p)
{
    node_t *self = xcalloc(1, sizeof *self);
    self->options = options;
    self->log = log;
    for (int id = 1; id < ACTOR_COUNT; id++) {
        self->metrics[id].clock_us = clock_monotonic_us;
    }
    self->incarnation = clock_unix_us();
    self->origin = clock_random_seed() | 3; /* never 0, which marks entries that nobody waits for */
    self->native_origin = self->origin ^ 2;
    char *error = assemble(self);
    if (error) {
        node_stop(&self);
        return error;
    }
    start_by_stage(self);
    *node_p = self;
    return NULL;
}

static void stop_by_stage(node_t *self)
{
    for (unsigned stage = WIRING_STAGES; stage-- > 0;) {
        for (int id = 1; id < ACTOR_COUNT; id++) {
            if (self->actors[id] && wiring_stage((actor_id_t)id) == stage) {
                runtime_stop(self->actors[id]);
            }
        }
    }
    for (int id = 1; id < ACTOR_COUNT; id++) {
        if (self->actors[id]) {
            runtime_join(self->actors[id]);
        }
    }
}

void node_stop(node_t **node_p)
{
    node_t *self = *node_p;
    *node_p = NULL;
    if (!self) {
        return;
    }
    stop_by_stage(self);
    gateway_destroy(&self->gateway);
    peer_shell_destroy(&self->peer_shell);
    zmq_gateway_shell_destroy(&self->native.shell);
    curve_stop(&self->curve); /* after the last socket that it guards */
    for (int id = 1; id < ACTOR_COUNT; id++) {
        runtime_destroy(&self->actors[id]);
    }
    calls_destroy(&self->calls);
    wal_disk_destroy(&self->disk);
    wal_recovered_deinit(&self->recovered);
    shared_unref(&self->store);
    generations_destroy(&self->generations);
    data_dir_close(&self->dir);
    free(self->client_urls);
    free(self);
}
