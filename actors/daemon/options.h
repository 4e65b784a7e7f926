/* options: what the server was asked to do: command line, environment, configuration file.
 * Pure: the file is read by a function the caller brings (options_shell.h has the real one).
 * Syntax and texts are etcd's (contract section 14), so that existing command lines and unit files
 * work; what is not supported yet is refused by name, never swallowed. docs/configuration.md lists
 * every flag. */
#pragma once

#include "actors/daemon/flags.h"
#include "actors/daemon/log_line.h"

typedef enum {
    OPTIONS_RUN,
    OPTIONS_HELP, /* usage to stderr, flags to stdout */
    OPTIONS_VERSION,
    OPTIONS_PRINT_WIRING
} options_action_t;

/* A log line to be written once the log is open. */
typedef struct {
    log_level_t level;
    char *text;
    char *fields; /* "" or `"key":value,…` */
} option_note_t;

typedef struct {
    options_action_t action;
    option_note_t *notes; /* in order; with exit code 1 the last one says why */
    size_t note_count, note_capacity;

    char *name;
    char *data_dir;
    char *wal_dir;                                     /* NULL = inside the data directory */
    uint64_t snapshot_count, snapshot_catchup_entries; /* never 0 */
    uint32_t heartbeat_ms, election_ms;

    urls_t listen_peer, listen_client;
    urls_t advertise_peer, advertise_client;
    /* For native clients: texts say tcp:// and ipc://. None = that side is off. Derived: from listen_client. */
    urls_t listen_native, listen_publish, advertise_publish;
    bool native_is_derived, publish_is_derived;
    uint64_t native_progress_us;
    char *initial_cluster, *initial_cluster_token;
    bool join_existing; /* --initial-cluster-state=existing */
    bool force_new_cluster;
    bool pre_vote, tick_advance;
    bool strict_reconfig;
    size_t max_learners;

    size_t max_txn_ops, max_request_bytes;
    uint32_t max_concurrent_streams;
    uint64_t keepalive_min_us, keepalive_interval_us, keepalive_timeout_us; /* 0 = off */
    bool socket_reuse_port;

    uint64_t compaction_batch_limit, compaction_sleep_us; /* never 0 */
    uint64_t progress_notify_us;
    uint64_t warning_apply_us;

    char *peer_curve_secret_key, *peer_curve_allowed_keys; /* both NULL = without CURVE */
    char *native_curve_secret_key, *native_curve_allowed_keys;

    bool enable_pprof;
    bool metrics_extensive;
    bool unsafe_no_fsync;
    log_options_t log;
} options_t;

/* Reads a whole file of at most LIMIT_CONFIG_FILE_BYTES. NULL = *content holds it; else the reason
 * why not, yours. */
typedef char *(*options_read_t)(const char *path, buf_t *content);

/* 0 = do what self->action says; 1 = the last note says why not, as a log line; 2 = *message, yours,
 * goes to stderr as it is. *message is NULL otherwise. self must be zeroed and needs options_deinit
 * in any case. `environment` is NULL-terminated, "NAME=value". */
int options_parse(int argc, char *const *argv, char *const *environment, options_read_t read_file,
                  options_t *self, char **message) __attribute__((warn_unused_result));
void options_deinit(options_t *self);
void options_note(options_t *self, log_level_t level, const char *text, const char *fields);

/* What --initial-cluster says of the cluster this member begins in, or joins: only for a new data
 * directory; an existing one wins (contract section 14). */
typedef struct {
    uint64_t id; /* in a new cluster; who joins has another one, from the others */
    char *name;
    urls_t urls;
} bootstrap_member_t;
typedef struct {
    bootstrap_member_t *members; /* ascending by id */
    size_t count;
    const bootstrap_member_t *own;
    uint64_t cluster_id; /* of a new cluster */
} bootstrap_t;
/* NULL = *out holds it; else why this cannot start, yours. bootstrap_deinit in any case. */
char *options_bootstrap(const options_t *self, bootstrap_t *out)
    __attribute__((warn_unused_result));
void bootstrap_deinit(bootstrap_t *self);
/* The peer URLs of all members but this one, borrowed; the array is yours. */
const char **bootstrap_other_urls(const bootstrap_t *self, size_t *count);
/* The configuration that every first member writes as the log's first entry. */
bytes_t *bootstrap_configuration(const bootstrap_t *self);
