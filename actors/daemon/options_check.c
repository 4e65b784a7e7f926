/* What the values must be, in etcd's order and words (its embed package; contract section 14). */
#include <stdlib.h>
#include <string.h>

#include "actors/daemon/gates.h"
#include "actors/daemon/go_value.h"
#include "actors/daemon/options_steps.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

typedef struct {
    const flag_set_t *flags;
    options_t *options;
} check_t;

static const flag_value_t *value_of(const check_t *self, flag_t flag)
{
    return &self->flags->values[flag];
}

static const char *text_of(const check_t *self, flag_t flag)
{
    return self->flags->values[flag].text;
}

static char *unsupported(const check_t *self, flag_t flag)
{
    const flag_info_t *info = flag_info(flag);
    (void)self;
    return xasprintf("--%s: %s is not supported yet; only the default \"%s\" is accepted",
                     info->name, info->detail, info->initial);
}

/* The table's general rules. */
static char *check_support(const check_t *self)
{
    for (unsigned i = 0; i < FLAG_COUNT; i++) {
        const flag_info_t *info = flag_info((flag_t)i);
        if (info->support == FLAG_SUPPORT_LATER && !flag_is_default(self->flags, (flag_t)i)) {
            return unsupported(self, (flag_t)i);
        }
        if (info->support == FLAG_SUPPORT_INERT && self->flags->values[i].is_set) {
            char *text = xasprintf("--%s has no effect: %s", info->name, info->detail);
            options_note(self->options, LEVEL_WARN, text, "");
            free(text);
        }
    }
    return NULL;
}

/* ---- logging ---- */
static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *add_output(log_options_t *log, const char *text, size_t len)
{
    char *output = xasprintf("%.*s", (int)len, text);
    if (strcmp(output, "systemd/journal") == 0) {
        free(output);
        return xstrdup(
            "--log-outputs: systemd/journal is not supported; under systemd, stderr goes "
            "to the journal");
    }
    if (strcmp(output, "default") == 0) {
        free(output);
        output = xstrdup("stderr");
    }
    log->outputs[log->output_count++] = output;
    return NULL;
}

static char *check_outputs(const check_t *self)
{
    log_options_t *log = &self->options->log;
    const char *text = text_of(self, FLAG_LOG_OUTPUTS);
    const char *list = *text ? text : "default";
    log->outputs = xcalloc(LIMIT_LOG_OUTPUTS, sizeof *log->outputs);
    char *error = NULL;
    bool has_default = false;
    bool more = true;
    for (const char *rest = list; more && !error;) {
        size_t len = strcspn(rest, ",");
        more = rest[len] == ',';
        has_default = has_default || (len == 7 && memcmp(rest, "default", 7) == 0);
        if (log->output_count == LIMIT_LOG_OUTPUTS) {
            error = xasprintf("--log-outputs names more than %d outputs", LIMIT_LOG_OUTPUTS);
        } else if (len == 0) {
            error = xstrdup("--log-outputs holds an empty name");
        } else {
            error = add_output(log, rest, len);
        }
        rest += len + 1;
    }
    if (!error && has_default && log->output_count > 1) {
        error = xstrdup("multi logoutput for \"default\" is not supported yet");
    }
    qsort(log->outputs, log->output_count, sizeof *log->outputs, compare_texts);
    size_t kept = 0;
    for (size_t i = 0; i < log->output_count; i++) {
        if (kept > 0 && strcmp(log->outputs[kept - 1], log->outputs[i]) == 0) {
            free(log->outputs[i]);
        } else {
            log->outputs[kept++] = log->outputs[i];
        }
    }
    log->output_count = kept;
    return error;
}

/* There are no lines between error and fatal here, so panic means fatal. */
static log_level_t level_of(const char *text)
{
    static const struct {
        const char *name;
        log_level_t level;
    } levels[] = {
        {"debug", LEVEL_DEBUG},
        {"info", LEVEL_INFO},
        {"warn", LEVEL_WARN},
        {"error", LEVEL_ERROR},
    };
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        if (strcmp(levels[i].name, text) == 0) {
            return levels[i].level;
        }
    }
    return LEVEL_FATAL;
}

static char *check_logging(const check_t *self)
{
    const char *logger = text_of(self, FLAG_LOGGER);
    const char *format = text_of(self, FLAG_LOG_FORMAT);
    if (strcmp(logger, "zap") != 0) {
        char *quoted = go_quote(logger);
        char *error = xasprintf("unknown logger option %s", quoted);
        free(quoted);
        return error;
    }
    if (strcmp(format, "json") != 0 && strcmp(format, "console") != 0 && *format) {
        return xasprintf("unknown log format: %s, supported values json, console", format);
    }
    self->options->log.console = strcmp(format, "console") == 0;
    self->options->log.level = level_of(text_of(self, FLAG_LOG_LEVEL));
    return check_outputs(self);
}

/* ---- addresses ---- */
static char *check_listen(const check_t *self, flag_t flag, urls_t *target)
{
    const flag_value_t *value = value_of(self, flag);
    char *error = urls_check_bind(&value->urls);
    for (size_t i = 0; i < value->urls.count && !error; i++) {
        if (url_is_encrypted(&value->urls.items[i])) {
            error = xasprintf("--%s: %s: TLS is not supported yet", flag_info(flag)->name,
                              value->urls.items[i].text);
        }
    }
    urls_copy(target, &value->urls);
    return error;
}

static char *check_advertise(const check_t *self, flag_t flag, const char *form, urls_t *target)
{
    const flag_value_t *value = value_of(self, flag);
    char *error = urls_check_host(&value->urls);
    if (error) {
        char *list = urls_text(&value->urls);
        char *quoted = go_quote(list);
        char *text =
            xasprintf("--%s %s must be %s (%s)", flag_info(flag)->name, quoted, form, error);
        free(quoted);
        free(list);
        free(error);
        return text;
    }
    urls_copy(target, &value->urls);
    return NULL;
}

static char *check_addresses(const check_t *self)
{
    options_t *options = self->options;
    char *error = check_listen(self, FLAG_LISTEN_PEER, &options->listen_peer);
    if (!error) {
        error = check_listen(self, FLAG_LISTEN_CLIENT, &options->listen_client);
    }
    if (!error) {
        error =
            check_advertise(self, FLAG_ADVERTISE_PEER, "\"host:port\"", &options->advertise_peer);
    }
    if (!error) {
        error = check_advertise(self, FLAG_ADVERTISE_CLIENT,
                                "in the format \"host:port\", \"unix:/path/to/socket\" or "
                                "\"unixs:/path/to/socket\"",
                                &options->advertise_client);
    }
    return error ? error : options_check_native(self->flags, options);
}

/* ---- times ---- */
static char *check_times(const check_t *self)
{
    uint64_t heartbeat = value_of(self, FLAG_HEARTBEAT)->number;
    uint64_t election = value_of(self, FLAG_ELECTION)->number;
    if (heartbeat == 0) {
        return xstrdup("--heartbeat-interval must be >0 (set to 0ms)");
    }
    if (election == 0) {
        return xstrdup("--election-timeout must be >0 (set to 0ms)");
    }
    if (heartbeat > election / 5) {
        return xasprintf("--election-timeout[%llums] should be at least as 5 times as "
                         "--heartbeat-interval[%llums]",
                         (unsigned long long)election, (unsigned long long)heartbeat);
    }
    if (election > 50000) {
        return xasprintf("--election-timeout[%llums] is too long, and should be set less than "
                         "50000ms",
                         (unsigned long long)election);
    }
    self->options->heartbeat_ms = (uint32_t)heartbeat;
    self->options->election_ms = (uint32_t)election;
    return NULL;
}

/* Negative means the same as 0: off. */
static uint64_t micros_of(const check_t *self, flag_t flag)
{
    int64_t nanoseconds = value_of(self, flag)->integer;
    return nanoseconds > 0 ? ((uint64_t)nanoseconds + 999) / 1000 : 0;
}

static void set_intervals(const check_t *self)
{
    options_t *options = self->options;
    options->keepalive_min_us = micros_of(self, FLAG_KEEPALIVE_MIN);
    options->keepalive_interval_us = micros_of(self, FLAG_KEEPALIVE_INTERVAL);
    options->keepalive_timeout_us = micros_of(self, FLAG_KEEPALIVE_TIMEOUT);
    options->compaction_sleep_us = micros_of(self, FLAG_COMPACTION_SLEEP);
    if (options->compaction_sleep_us == 0) {
        options->compaction_sleep_us = 10000;
    }
    options->warning_apply_us = micros_of(self, FLAG_WARN_APPLY);
    options->progress_notify_us = micros_of(self, FLAG_WATCH_PROGRESS);
    if (options->progress_notify_us < 100000) {
        options_note(options, LEVEL_WARN,
                     "adjusting watch progress notify interval to minimum period",
                     "\"min-watch-progress-notify-interval\":\"100ms\"");
        options->progress_notify_us = 100000;
    }
}

/* ---- sizes ---- */
static char *check_sizes(const check_t *self)
{
    options_t *options = self->options;
    uint64_t request = value_of(self, FLAG_MAX_REQUEST_BYTES)->number;
    int64_t batch = value_of(self, FLAG_COMPACTION_BATCH)->integer;
    int64_t learners = value_of(self, FLAG_MAX_LEARNERS)->integer;
    uint64_t ops = value_of(self, FLAG_MAX_TXN_OPS)->number;
    if (request > LIMIT_REQUEST_BYTES_MAX) {
        return xasprintf("--max-request-bytes must not be above %u", LIMIT_REQUEST_BYTES_MAX);
    }
    if (request > (10u << 20)) {
        options_note(options, LEVEL_WARN, "exceeded recommended request limit", "");
    }
    if (batch < 0) {
        return xstrdup("--compaction-batch-limit must not be negative");
    }
    if (learners < 0) {
        return xstrdup("--max-learners must not be negative");
    }
    if (ops > LIMIT_MESSAGE_FIELDS) {
        return xasprintf("--max-txn-ops must not be above %d", LIMIT_MESSAGE_FIELDS);
    }
    options->max_request_bytes = (size_t)request;
    options->max_txn_ops = (size_t)ops;
    options->max_learners = (size_t)learners;
    options->max_concurrent_streams = (uint32_t)value_of(self, FLAG_MAX_STREAMS)->number;
    options->compaction_batch_limit = batch ? (uint64_t)batch : 1000;
    options->snapshot_count = value_of(self, FLAG_SNAPSHOT_COUNT)->number;
    if (options->snapshot_count == 0) {
        options->snapshot_count = 10000;
    }
    options->snapshot_catchup_entries = value_of(self, FLAG_SNAPSHOT_CATCHUP)->number;
    if (options->snapshot_catchup_entries == 0) {
        options->snapshot_catchup_entries = 5000;
    }
    return NULL;
}

/* ---- flags with rules of their own ---- */

/* "0", "0h", "00": no compaction. */
static bool is_zero_retention(const char *text)
{
    int64_t duration = 1;
    uint64_t number = 1;
    return (go_duration(text, &duration) == 0 && duration == 0) ||
           (go_uint(text, UINT64_MAX, &number) == 0 && number == 0);
}

static char *check_compaction(const check_t *self)
{
    const char *mode = text_of(self, FLAG_COMPACTION_MODE);
    if (*mode == '\0') {
        return xstrdup("undefined auto-compaction-mode");
    }
    if (strcmp(mode, "periodic") != 0 && strcmp(mode, "revision") != 0) {
        char *quoted = go_quote(mode);
        char *error = xasprintf("unknown auto-compaction-mode %s", quoted);
        free(quoted);
        return error;
    }
    return is_zero_retention(text_of(self, FLAG_COMPACTION_RETENTION))
               ? NULL
               : unsupported(self, FLAG_COMPACTION_RETENTION);
}

static char *check_metrics(const check_t *self)
{
    const char *metrics = text_of(self, FLAG_METRICS);
    self->options->metrics_extensive = strcmp(metrics, "extensive") == 0;
    if (self->options->metrics_extensive || strcmp(metrics, "basic") == 0) {
        return NULL;
    }
    char *quoted = go_quote(metrics);
    char *error = xasprintf("--metrics must be basic or extensive, not %s", quoted);
    free(quoted);
    return error;
}

/* A key without a list would let everybody in, a list without a key nobody. */
static char *check_curve(const check_t *self, flag_t secret, flag_t allowed, char **secret_p,
                         char **allowed_p)
{
    const char *key = text_of(self, secret);
    const char *keys = text_of(self, allowed);
    if (!*key != !*keys) {
        return xasprintf("--%s and --%s must be given together", flag_info(secret)->name,
                         flag_info(allowed)->name);
    }
    *secret_p = *key ? xstrdup(key) : NULL;
    *allowed_p = *keys ? xstrdup(keys) : NULL;
    return NULL;
}

static char *check_special(const check_t *self)
{
    const flag_value_t *gateway = value_of(self, FLAG_GATEWAY);
    if (strcmp(text_of(self, FLAG_DISCOVERY_FALLBACK), "proxy") == 0) {
        return xstrdup("v2 proxy is deprecated, and --discovery-fallback can't be configured as "
                       "\"proxy\"");
    }
    if (value_of(self, FLAG_QUOTA)->integer > 0) {
        return xstrdup("--quota-backend-bytes: the space quota is not supported yet; only 0 and "
                       "negative values are accepted, and mean no quota");
    }
    if (gateway->yes && gateway->is_set) {
        return xstrdup("--enable-grpc-gateway=true: the JSON gateway is not supported yet");
    }
    if (gateway->yes) {
        options_note(self->options, LEVEL_WARN,
                     "the JSON gateway below /v3/ is not available yet: use gRPC, or silence this "
                     "with --enable-grpc-gateway=false",
                     "");
    }
    if (!gates_are_default(text_of(self, FLAG_FEATURE_GATES))) {
        return xstrdup("--feature-gates: moving a feature gate off its default is not supported "
                       "yet");
    }
    if (value_of(self, FLAG_V2_DEPRECATION)->is_set) {
        options_note(
            self->options, LEVEL_WARN,
            "--v2-deprecation is deprecated and scheduled for removal in v3.8. The default "
            "value is enforced, ignoring user input.",
            "");
    }
    options_t *options = self->options;
    char *error = check_compaction(self);
    if (!error) {
        error = check_curve(self, FLAG_PEER_CURVE_SECRET, FLAG_PEER_CURVE_ALLOWED,
                            &options->peer_curve_secret_key, &options->peer_curve_allowed_keys);
    }
    if (!error) {
        error = check_curve(self, FLAG_NATIVE_CURVE_SECRET, FLAG_NATIVE_CURVE_ALLOWED,
                            &options->native_curve_secret_key, &options->native_curve_allowed_keys);
    }
    return error ? error : check_metrics(self);
}

/* ---- who this is ---- */
static char *set_identity(const check_t *self)
{
    options_t *options = self->options;
    const flag_value_t *cluster = value_of(self, FLAG_INITIAL_CLUSTER);
    options->name = xstrdup(text_of(self, FLAG_NAME));
    options->initial_cluster_token = xstrdup(text_of(self, FLAG_CLUSTER_TOKEN));
    if (strlen(options->name) > LIMIT_NAME_BYTES ||
        strlen(options->initial_cluster_token) > LIMIT_NAME_BYTES) {
        return xasprintf("--name and --initial-cluster-token must not be longer than %d bytes",
                         LIMIT_NAME_BYTES);
    }
    options->join_existing = strcmp(text_of(self, FLAG_CLUSTER_STATE), "existing") == 0;
    const char *dir = text_of(self, FLAG_DATA_DIR);
    options->data_dir = *dir ? xstrdup(dir) : xasprintf("%s.etcd", options->name);
    const char *wal_dir = text_of(self, FLAG_WAL_DIR);
    options->wal_dir = *wal_dir ? xstrdup(wal_dir) : NULL;
    if (*dir == '\0') {
        char *fields = options_field("data-dir", options->data_dir);
        options_note(options, LEVEL_WARN, "'data-dir' was empty; using default", fields);
        free(fields);
    }
    /* Whoever gives only a name means a cluster of this member, as etcd reads it. */
    if (strcmp(options->name, "default") != 0 &&
        strcmp(cluster->text, flag_info(FLAG_INITIAL_CLUSTER)->initial) == 0) {
        buf_t text = {0};
        for (size_t i = 0; i < options->advertise_peer.count; i++) {
            char *pair = xasprintf("%s%s=%s", i ? "," : "", options->name,
                                   options->advertise_peer.items[i].text);
            buf_append(&text, pair, strlen(pair));
            free(pair);
        }
        buf_byte(&text, '\0');
        options->initial_cluster = (char *)text.data;
    } else {
        options->initial_cluster = xstrdup(cluster->text);
    }
    return NULL;
}

static void set_switches(const check_t *self)
{
    options_t *options = self->options;
    options->pre_vote = value_of(self, FLAG_PRE_VOTE)->yes;
    options->strict_reconfig = value_of(self, FLAG_STRICT_RECONFIG)->yes;
    options->tick_advance = value_of(self, FLAG_TICK_ADVANCE)->yes;
    options->enable_pprof = value_of(self, FLAG_PPROF)->yes;
    options->socket_reuse_port = value_of(self, FLAG_REUSE_PORT)->yes;
    options->force_new_cluster = value_of(self, FLAG_FORCE_NEW)->yes;
    if (options->force_new_cluster) {
        options_note(
            options, LEVEL_WARN,
            "UNSAFE: --force-new-cluster is set: all other members are dropped; take it away "
            "for the next start",
            "");
    }
    options->unsafe_no_fsync = value_of(self, FLAG_NO_FSYNC)->yes;
    if (options->unsafe_no_fsync) {
        options_note(
            options, LEVEL_WARN,
            "UNSAFE: --unsafe-no-fsync is set: a power cut or a crash of the machine loses "
            "writes that were acknowledged, and can break a cluster",
            "");
    }
}

char *options_check(const flag_set_t *flags, options_t *options)
{
    check_t self = {.flags = flags, .options = options};
    char *error = check_logging(&self);
    if (!error) {
        error = check_addresses(&self);
    }
    if (!error) {
        error = check_times(&self);
    }
    if (!error && flags->values[FLAG_LISTEN_CLIENT].is_set &&
        !flags->values[FLAG_ADVERTISE_CLIENT].is_set) {
        error = xstrdup("--advertise-client-urls is required when --listen-client-urls is set "
                        "explicitly");
    }
    if (!error) {
        error = check_special(&self);
    }
    if (!error) {
        error = check_support(&self);
    }
    if (!error) {
        error = check_sizes(&self);
    }
    if (!error) {
        error = set_identity(&self);
    }
    if (!error) {
        set_intervals(&self);
        set_switches(&self);
    }
    return error;
}
