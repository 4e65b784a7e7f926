/* The command line, the environment and the configuration file: what is accepted, what is refused and
 * in which words. Exit codes and texts were compared with etcd 3.7.1's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/daemon/options.h"
#include "messages/configuration.h"
#include "messages/xalloc.h"

enum { WORDS_MAX = 20 };

static const char *file_content; /* what read_file gives; NULL = no such file */

static char *read_file(const char *path, buf_t *content)
{
    (void)path;
    if (!file_content) {
        return xstrdup("open: No such file or directory");
    }
    buf_append(content, file_content, strlen(file_content));
    return NULL;
}

typedef struct {
    options_t options;
    int code;
    char *message;
} result_of_t;

/* `line` and `environment`: words separated by blanks. */
static result_of_t run(const char *line, const char *environment)
{
    char *argv[WORDS_MAX + 1] = {(char[]){"quorald"}};
    char *env[WORDS_MAX + 1] = {NULL};
    char *line_copy = xstrdup(line);
    char *env_copy = xstrdup(environment);
    int argc = 1;
    for (char *rest = line_copy, *word; (word = strsep(&rest, " ")) != NULL;) {
        if (*word) {
            assert_true(argc < WORDS_MAX);
            argv[argc++] = strcmp(word, "''") == 0 ? word + 2 : word;
        }
    }
    size_t count = 0;
    for (char *rest = env_copy, *word; (word = strsep(&rest, " ")) != NULL;) {
        if (*word) {
            assert_true(count < WORDS_MAX);
            env[count++] = word;
        }
    }
    result_of_t result = {0};
    result.code = options_parse(argc, argv, env, read_file, &result.options, &result.message);
    free(line_copy);
    free(env_copy);
    return result;
}

static void done(result_of_t *result)
{
    options_deinit(&result->options);
    free(result->message);
}

static const char *last_fields(const result_of_t *result)
{
    assert_true(result->options.note_count > 0);
    return result->options.notes[result->options.note_count - 1].fields;
}

/* Exit 1, and the last note's fields are `"error":"<error>"` with quotes escaped. */
static void assert_error(const result_of_t *result, const char *error)
{
    assert_int_equal(result->code, 1);
    char *expected = xasprintf("\"error\":\"%s\"", error);
    assert_string_equal(last_fields(result), expected);
    free(expected);
    assert_string_equal(result->options.notes[result->options.note_count - 1].text,
                        "failed to verify flags");
}

static bool has_note(const options_t *options, log_level_t level, const char *text)
{
    for (size_t i = 0; i < options->note_count; i++) {
        if (options->notes[i].level == level && strcmp(options->notes[i].text, text) == 0) {
            return true;
        }
    }
    return false;
}

static void test_defaults(void **state)
{
    (void)state;
    result_of_t r = run("", "");
    assert_int_equal(r.code, 0);
    assert_int_equal(r.options.action, OPTIONS_RUN);
    assert_string_equal(r.options.name, "default");
    assert_string_equal(r.options.data_dir, "default.etcd");
    assert_null(r.options.wal_dir);
    assert_string_equal(r.options.listen_client.items[0].text, "http://localhost:2379");
    assert_string_equal(r.options.advertise_peer.items[0].text, "http://localhost:2380");
    assert_int_equal(r.options.snapshot_count, 10000);
    assert_int_equal(r.options.snapshot_catchup_entries, 5000);
    assert_int_equal(r.options.heartbeat_ms, 100);
    assert_int_equal(r.options.election_ms, 1000);
    assert_int_equal(r.options.max_request_bytes, 1572864);
    assert_int_equal(r.options.max_txn_ops, 128);
    assert_int_equal(r.options.max_learners, 1);
    assert_int_equal(r.options.max_concurrent_streams, UINT32_MAX);
    assert_int_equal(r.options.keepalive_min_us, 5000000);
    assert_true(r.options.keepalive_interval_us == 7200000000ULL);
    assert_int_equal(r.options.compaction_batch_limit, 1000);
    assert_int_equal(r.options.compaction_sleep_us, 10000);
    assert_int_equal(r.options.progress_notify_us, 600000000);
    assert_int_equal(r.options.warning_apply_us, 100000);
    assert_true(r.options.pre_vote);
    assert_false(r.options.force_new_cluster);
    assert_true(r.options.tick_advance);
    assert_true(r.options.strict_reconfig);
    assert_int_equal(r.options.log.level, LEVEL_INFO);
    assert_int_equal(r.options.log.output_count, 1);
    assert_string_equal(r.options.log.outputs[0], "stderr");
    assert_false(r.options.log.console);
    done(&r);
}

static void test_values(void **state)
{
    (void)state;
    result_of_t r = run("-name n1 --data-dir=/d --wal-dir /w -heartbeat-interval=0x10 "
                        "--election-timeout 80 --pre-vote=false --strict-reconfig-check=false "
                        "--initial-election-tick-advance=false --enable-pprof --log-level=debug "
                        "--log-format=console --name=n2",
                        "");
    assert_int_equal(r.code, 0);
    assert_string_equal(r.options.name, "n2");
    assert_string_equal(r.options.data_dir, "/d");
    assert_string_equal(r.options.wal_dir, "/w");
    assert_int_equal(r.options.heartbeat_ms, 16);
    assert_int_equal(r.options.election_ms, 80);
    assert_false(r.options.pre_vote);
    assert_false(r.options.strict_reconfig);
    assert_false(r.options.tick_advance);
    assert_true(r.options.enable_pprof);
    assert_int_equal(r.options.log.level, LEVEL_DEBUG);
    assert_true(r.options.log.console);
    done(&r);
    r = run("--grpc-keepalive-min-time=0 --grpc-keepalive-interval=-1s --max-concurrent-streams=7 "
            "--compaction-batch-limit=0 --compaction-sleep-interval=0 --snapshot-count=0 "
            "--watch-progress-notify-interval=1ms --unsafe-no-fsync --metrics=extensive "
            "--force-new-cluster",
            "");
    assert_int_equal(r.code, 0);
    assert_int_equal(r.options.keepalive_min_us, 0);
    assert_int_equal(r.options.keepalive_interval_us, 0);
    assert_int_equal(r.options.max_concurrent_streams, 7);
    assert_int_equal(r.options.compaction_batch_limit, 1000);
    assert_int_equal(r.options.compaction_sleep_us, 10000);
    assert_int_equal(r.options.snapshot_count, 10000);
    assert_int_equal(r.options.progress_notify_us, 100000);
    assert_true(r.options.unsafe_no_fsync);
    assert_true(r.options.metrics_extensive);
    assert_true(r.options.force_new_cluster);
    assert_true(
        has_note(&r.options, LEVEL_WARN,
                 "UNSAFE: --force-new-cluster is set: all other members are dropped; take it "
                 "away for the next start"));
    assert_true(has_note(&r.options, LEVEL_WARN,
                         "adjusting watch progress notify interval to minimum period"));
    done(&r);
}

static void test_log_outputs(void **state)
{
    (void)state;
    result_of_t r = run("--log-outputs=stdout,/b,/a,stdout", "");
    assert_int_equal(r.code, 0);
    assert_int_equal(r.options.log.output_count, 3);
    assert_string_equal(r.options.log.outputs[0], "/a");
    assert_string_equal(r.options.log.outputs[2], "stdout");
    done(&r);
}

static void test_actions(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        options_action_t action;
    } cases[] = {
        {"-h", OPTIONS_HELP},
        {"--help --bogus", OPTIONS_HELP},
        {"-help=x stray", OPTIONS_HELP},
        {"--version", OPTIONS_VERSION},
        {"--version --heartbeat-interval=0", OPTIONS_VERSION},
        {"--print-wiring", OPTIONS_PRINT_WIRING},
        {"--version=false --", OPTIONS_RUN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        result_of_t r = run(cases[i].line, "");
        assert_int_equal(r.code, 0);
        assert_int_equal(r.options.action, cases[i].action);
        done(&r);
    }
}

/* Exit 2: first line of stderr, then the usage. */
static void test_bad_syntax(void **state)
{
    (void)state;
    static const struct {
        const char *line, *message;
    } cases[] = {
        {"--bogus", "flag provided but not defined: -bogus\n"},
        {"-bogus=3", "flag provided but not defined: -bogus\n"},
        {"--name", "flag needs an argument: -name\n"},
        {"--=x", "bad flag syntax: --=x\n"},
        {"---name", "bad flag syntax: ---name\n"},
        {"--pre-vote=maybe", "invalid boolean value \"maybe\" for -pre-vote: parse error\n"},
        {"--heartbeat-interval=x",
         "invalid value \"x\" for flag -heartbeat-interval: parse error\n"},
        {"--heartbeat-interval=99999999999999999999",
         "invalid value \"99999999999999999999\" for flag -heartbeat-interval: value out of "
         "range\n"},
        {"--snapshot-count=-1", "invalid value \"-1\" for flag -snapshot-count: parse error\n"},
        {"--grpc-keepalive-min-time=5",
         "invalid value \"5\" for flag -grpc-keepalive-min-time: parse error\n"},
        {"--max-concurrent-streams=4294967296",
         "invalid value \"4294967296\" for flag -max-concurrent-streams: strconv.ParseUint: "
         "parsing "
         "\"4294967296\": value out of range\n"},
        {"--log-level=foo", "invalid value \"foo\" for flag -log-level: invalid value\n"},
        {"--initial-cluster-state=foo",
         "invalid value \"foo\" for flag -initial-cluster-state: invalid value\n"},
        {"--initial-cluster-state ''",
         "invalid value \"\" for flag -initial-cluster-state: invalid value\n"},
        {"--v2-deprecation=not-yet",
         "invalid value \"not-yet\" for flag -v2-deprecation: invalid value\n"},
        {"--listen-client-urls=foo", "invalid value \"foo\" for flag -listen-client-urls: URL "
                                     "scheme must be http, https, unix, "
                                     "or unixs: foo\n"},
        {"--feature-gates=Foo=true",
         "invalid value \"Foo=true\" for flag -feature-gates: unrecognized feature gate: Foo\n"},
        {"--feature-gates=AllBeta",
         "invalid value \"AllBeta\" for flag -feature-gates: missing bool value for AllBeta\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        result_of_t r = run(cases[i].line, "");
        assert_int_equal(r.code, 2);
        char *expected = xasprintf("%sUsage:\n", cases[i].message);
        assert_memory_equal(r.message, expected, strlen(expected));
        free(expected);
        done(&r);
    }
}

/* Exit 1 with the reason as a log line. */
static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *line, *error;
    } cases[] = {
        {"stray", "\\\"stray\\\" is not a valid flag"},
        {"--pre-vote true", "\\\"true\\\" is not a valid flag"},
        {"-", "\\\"-\\\" is not a valid flag"},
        {"-- --name=x", "\\\"--name=x\\\" is not a valid flag"},
        {"--version x", "\\\"x\\\" is not a valid flag"},
        {"--heartbeat-interval=0", "--heartbeat-interval must be >0 (set to 0ms)"},
        {"--election-timeout=0", "--election-timeout must be >0 (set to 0ms)"},
        {"--heartbeat-interval=16 --election-timeout=10",
         "--election-timeout[10ms] should be at least as 5 times as --heartbeat-interval[16ms]"},
        {"--election-timeout=50001",
         "--election-timeout[50001ms] is too long, and should be set less than 50000ms"},
        {"--logger=foo", "unknown logger option \\\"foo\\\""},
        {"--log-format=foo", "unknown log format: foo, supported values json, console"},
        {"--log-outputs=default,stdout",
         "multi logoutput for \\\"default\\\" is not supported yet"},
        {"--log-outputs=a,,b", "--log-outputs holds an empty name"},
        {"--log-outputs=systemd/journal", "--log-outputs: systemd/journal is not supported; under "
                                          "systemd, stderr goes to the journal"},
        {"--listen-client-urls=http://foo.bar:1",
         "expected IP in URL for binding (http://foo.bar:1)"},
        {"--listen-client-urls=http://127.0.0.1:1",
         "--advertise-client-urls is required when --listen-client-urls is set explicitly"},
        {"--listen-peer-urls=http://foo.bar:1",
         "expected IP in URL for binding (http://foo.bar:1)"},
        {"--advertise-client-urls=http://:1",
         "--advertise-client-urls \\\"http://:1\\\" must be in the format \\\"host:port\\\", "
         "\\\"unix:/path/to/socket\\\" or \\\"unixs:/path/to/socket\\\" (unexpected empty host "
         "(http://:1))"},
        {"--initial-advertise-peer-urls=http://:1",
         "--initial-advertise-peer-urls \\\"http://:1\\\" must be \\\"host:port\\\" (unexpected "
         "empty host (http://:1))"},
        {"--listen-client-urls=https://127.0.0.1:1 --advertise-client-urls=https://a:1",
         "--listen-client-urls: https://127.0.0.1:1: TLS is not supported yet"},
        {"--discovery-fallback=proxy", "v2 proxy is deprecated, and --discovery-fallback can't be "
                                       "configured as \\\"proxy\\\""},
        {"--auto-compaction-mode=x", "unknown auto-compaction-mode \\\"x\\\""},
        {"--auto-compaction-mode ''", "undefined auto-compaction-mode"},
        {"--auto-compaction-retention=1h",
         "--auto-compaction-retention: automatic compaction is not "
         "supported yet; only the default \\\"0\\\" is accepted"},
        {"--quota-backend-bytes=1", "--quota-backend-bytes: the space quota is not supported yet; "
                                    "only 0 and negative values are accepted, and mean no quota"},
        {"--enable-grpc-gateway",
         "--enable-grpc-gateway=true: the JSON gateway is not supported yet"},
        {"--feature-gates=FastLeaseKeepAlive=false",
         "--feature-gates: moving a feature gate off its default is not supported yet"},
        {"--metrics=foo", "--metrics must be basic or extensive, not \\\"foo\\\""},
        {"--max-request-bytes=33554433", "--max-request-bytes must not be above 33554432"},
        {"--max-txn-ops=100001", "--max-txn-ops must not be above 100000"},
        {"--compaction-batch-limit=-1", "--compaction-batch-limit must not be negative"},
        {"--max-learners=-1", "--max-learners must not be negative"},
        {"--cert-file=x",
         "--cert-file: TLS is not supported yet; only the default \\\"\\\" is accepted"},
        {"--peer-curve-secret-key=k",
         "--peer-curve-secret-key and --peer-curve-allowed-keys must be given together"},
        {"--config-file=/x", "configuration file /x: open: No such file or directory"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        file_content = NULL;
        result_of_t r = run(cases[i].line, "");
        assert_error(&r, cases[i].error);
        done(&r);
    }
}

/* A value of each type that is not the default. */
static const char *other_value(const flag_info_t *info)
{
    switch (info->type) {
    case FLAG_TYPE_BOOL: return strcmp(info->initial, "true") == 0 ? "false" : "true";
    case FLAG_TYPE_UINT:
    case FLAG_TYPE_UINT32:
    case FLAG_TYPE_INT: return "77";
    case FLAG_TYPE_DURATION: return "77s";
    case FLAG_TYPE_URLS: return "http://127.0.0.1:7777";
    default: return "other";
    }
}

/* Whatever the table says comes later is refused by name; its default is not. */
static void test_everything_missing_is_refused(void **state)
{
    (void)state;
    unsigned later = 0;
    for (unsigned i = 0; i < FLAG_COUNT; i++) {
        const flag_info_t *info = flag_info((flag_t)i);
        if (info->support != FLAG_SUPPORT_LATER) {
            continue;
        }
        later++;
        char *line = xasprintf("--%s=%s", info->name, other_value(info));
        result_of_t r = run(line, "");
        free(line);
        assert_int_equal(r.code, 1);
        char *start = xasprintf("\"error\":\"--%s: ", info->name);
        assert_memory_equal(last_fields(&r), start, strlen(start));
        free(start);
        assert_non_null(strstr(last_fields(&r), "is not supported yet; only the default"));
        done(&r);
        flag_set_t flags;
        flag_set_init(&flags);
        assert_true(flag_is_default(&flags, (flag_t)i));
        assert_null(flag_set_put(&flags, (flag_t)i, info->initial));
        assert_true(flag_is_default(&flags, (flag_t)i));
        flag_set_deinit(&flags);
    }
    assert_true(later > 30);
}

static void test_knobs_without_effect_warn(void **state)
{
    (void)state;
    unsigned inert = 0;
    for (unsigned i = 0; i < FLAG_COUNT; i++) {
        const flag_info_t *info = flag_info((flag_t)i);
        if (info->support != FLAG_SUPPORT_INERT) {
            continue;
        }
        inert++;
        char *line = xasprintf("--%s=%s", info->name, other_value(info));
        result_of_t r = run(line, "");
        char *text = xasprintf("--%s has no effect: %s", info->name, info->detail);
        assert_int_equal(r.code, 0);
        assert_true(has_note(&r.options, LEVEL_WARN, text));
        free(text);
        free(line);
        done(&r);
    }
    assert_true(inert > 5);
}

static void expect_native(const char *line, const char *requests, const char *events,
                          bool is_derived)
{
    result_of_t r = run(line, "");
    assert_int_equal(r.code, 0);
    char *native = urls_text(&r.options.listen_native);
    char *publish = urls_text(&r.options.listen_publish);
    assert_string_equal(native, requests);
    assert_string_equal(publish, events);
    assert_int_equal(r.options.native_is_derived, is_derived);
    assert_int_equal(r.options.publish_is_derived, is_derived);
    free(native);
    free(publish);
    done(&r);
}

/* Where native clients are listened to: two ports above the first client URL, or as given, or not at all. */
static void test_native_addresses(void **state)
{
    (void)state;
    expect_native("", "tcp://localhost:2381", "tcp://localhost:2382", true);
    expect_native("--listen-client-urls=http://[::1]:12379 --advertise-client-urls=http://a:1",
                  "tcp://[::1]:12381", "tcp://[::1]:12382", true);
    expect_native("--listen-client-urls=unix:/a/socket --advertise-client-urls=http://a:1", "", "",
                  true);
    expect_native("--listen-client-urls=http://127.0.0.1:65534 --advertise-client-urls=http://a:1",
                  "", "", true);
    expect_native("--listen-native-urls=none --listen-publish-urls ''", "", "", false);
    expect_native("--listen-native-urls=tcp://127.0.0.1:1,ipc:///r/s "
                  "--listen-publish-urls=http://[::1]:2,unix:///r/e",
                  "tcp://127.0.0.1:1,ipc:///r/s", "tcp://[::1]:2,ipc:///r/e", false);
    result_of_t r =
        run("--advertise-publish-urls=tcp://some.host:1 --native-progress-interval=250ms", "");
    assert_int_equal(r.code, 0);
    assert_string_equal(r.options.advertise_publish.items[0].text, "tcp://some.host:1");
    assert_int_equal(r.options.native_progress_us, 250000);
    done(&r);
    r = run("", "QUORAL_LISTEN_NATIVE_URLS=none QUORAL_LISTEN_PUBLISH_URLS=tcp://127.0.0.1:9");
    assert_int_equal(r.code, 0);
    assert_int_equal(r.options.listen_native.count, 0);
    assert_string_equal(r.options.listen_publish.items[0].text, "tcp://127.0.0.1:9");
    done(&r);
}

static void test_native_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *line, *error;
    } cases[] = {
        {"--listen-native-urls=foo",
         "--listen-native-urls: URL scheme must be http, https, unix, or "
         "unixs: foo (expected tcp://host:port or ipc://path)"},
        {"--listen-native-urls=tcp://foo.bar:1",
         "--listen-native-urls: expected IP in URL for binding (tcp://foo.bar:1) (expected "
         "tcp://host:port or ipc://path)"},
        {"--listen-publish-urls=tcp://127.0.0.1:",
         "--listen-publish-urls: tcp://127.0.0.1: names no port (expected tcp://host:port or "
         "ipc://path)"},
        {"--listen-publish-urls=https://127.0.0.1:1",
         "--listen-publish-urls: https://127.0.0.1:1: TLS is not for ZeroMQ (expected "
         "tcp://host:port or ipc://path)"},
        {"--advertise-publish-urls=tcp://:1",
         "--advertise-publish-urls: unexpected empty host (tcp://:1) (expected tcp://host:port or "
         "ipc://path)"},
        {"--native-progress-interval=1ms",
         "--native-progress-interval must be between 10ms and 1h"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        result_of_t r = run(cases[i].line, "");
        assert_error(&r, cases[i].error);
        done(&r);
    }
}

static void test_equal_to_default_is_fine(void **state)
{
    (void)state;
    result_of_t r = run("--compact-hash-check-time=60s --corrupt-check-time=0 "
                        "--feature-gates=FastLeaseKeepAlive=true,AllAlpha=false "
                        "--auto-compaction-retention=0h --quota-backend-bytes=-1 "
                        "--enable-grpc-gateway=false --strict-reconfig-check",
                        "");
    assert_int_equal(r.code, 0);
    done(&r);
}

static void test_environment(void **state)
{
    (void)state;
    result_of_t r = run("--data-dir=/d",
                        "PATH=/bin ETCD_NAME=e QUORAL_ELECTION_TIMEOUT=900 ETCD_WAL_DIR= "
                        "ETCD_VERSION=3 ETCD_FOO=secret QUORAL_PRE_VOTE=false ETCD_PRE_VOTE=false");
    assert_int_equal(r.code, 0);
    assert_string_equal(r.options.name, "e");
    assert_int_equal(r.options.election_ms, 900);
    assert_null(r.options.wal_dir);
    assert_false(r.options.pre_vote);
    assert_true(has_note(&r.options, LEVEL_WARN, "unrecognized environment variable"));
    assert_true(has_note(&r.options, LEVEL_WARN, "cannot set special environment variable"));
    assert_true(has_note(&r.options, LEVEL_INFO, "recognized and used environment variable"));
    for (size_t i = 0; i < r.options.note_count; i++) {
        assert_null(strstr(r.options.notes[i].fields, "secret"));
    }
    done(&r);
}

static void test_environment_conflicts(void **state)
{
    (void)state;
    static const struct {
        const char *line, *environment, *text, *fields;
    } cases[] = {
        {"--name=y", "ETCD_NAME=x",
         "conflicting environment variable is shadowed by corresponding command-line flag (either "
         "unset environment variable or disable flag))",
         "\"environment-variable\":\"ETCD_NAME\""},
        {"--name=y", "QUORAL_NAME=y",
         "conflicting environment variable is shadowed by corresponding command-line flag (either "
         "unset environment variable or disable flag))",
         "\"environment-variable\":\"QUORAL_NAME\""},
        {"", "QUORAL_NAME=x ETCD_NAME=y", "environment variables contradict each other",
         "\"environment-variable\":\"QUORAL_NAME, ETCD_NAME\""},
        {"", "QUORAL_CONFIG_FILE=x ETCD_CONFIG_FILE=y",
         "environment variables contradict each other",
         "\"environment-variable\":\"QUORAL_CONFIG_FILE, ETCD_CONFIG_FILE\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        result_of_t r = run(cases[i].line, cases[i].environment);
        assert_int_equal(r.code, 1);
        assert_true(has_note(&r.options, LEVEL_FATAL, cases[i].text));
        assert_string_equal(last_fields(&r), cases[i].fields);
        done(&r);
    }
    result_of_t r = run("", "ETCD_HEARTBEAT_INTERVAL=zzz");
    assert_error(&r, "invalid value \\\"zzz\\\" for ETCD_HEARTBEAT_INTERVAL: parse error");
    done(&r);
    r = run("--name=y", "ETCD_NAME=");
    assert_int_equal(r.code, 0);
    done(&r);
}

static void test_file(void **state)
{
    (void)state;
    file_content = "# a comment\n"
                   "name: 'from file'\n"
                   "data-dir: /d\n"
                   "wal-dir:\n"
                   "heartbeat-interval: 50\n"
                   "grpc-keepalive-min-time: 7000000000\n"
                   "listen-client-urls: http://127.0.0.1:1,http://127.0.0.1:2\n"
                   "pre-vote: off\n"
                   "log-outputs: [stdout, /x]\n"
                   "initial-cluster:\n"
                   "cors:\n"
                   "proxy: 'off'\n"
                   "discovery-fallback: 'proxy'\n"
                   "some: {deep: [1, {a: b}]}\n"
                   "socket-options: {reuse-port: true}\n"
                   "client-transport-security:\n"
                   "  cert-file:\n"
                   "  client-cert-auth: false\n"
                   "peer-transport-security:\n";
    result_of_t r = run("--config-file=c --name=ignored --heartbeat-interval=0", "ETCD_NAME=x");
    assert_int_equal(r.code, 0);
    assert_string_equal(r.options.name, "from file");
    assert_int_equal(r.options.heartbeat_ms, 50);
    assert_int_equal(r.options.keepalive_min_us, 7000000);
    assert_int_equal(r.options.listen_client.count, 2);
    assert_false(r.options.pre_vote);
    assert_true(r.options.socket_reuse_port);
    assert_int_equal(r.options.log.output_count, 2);
    assert_string_equal(r.options.initial_cluster, "from file=http://localhost:2380");
    unsigned ignored = 0;
    for (size_t i = 0; i < r.options.note_count; i++) {
        ignored +=
            strcmp(r.options.notes[i].text, "ignored unknown key in configuration file") == 0;
    }
    assert_int_equal(ignored, 3);
    done(&r);
    file_content = "{\"name\": \"json\", \"enable-pprof\": true, \"log-outputs\": [\"stderr\"]}";
    r = run("", "ETCD_CONFIG_FILE=c QUORAL_NAME=ignored");
    assert_int_equal(r.code, 0);
    assert_string_equal(r.options.name, "json");
    assert_true(r.options.enable_pprof);
    done(&r);
    static const char *const empty[] = {"", "# nothing\n", "---\n", "null\n", "{}"};
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++) {
        file_content = empty[i];
        r = run("--config-file=c", "");
        assert_int_equal(r.code, 0);
        done(&r);
    }
}

static void test_bad_files(void **state)
{
    (void)state;
    static const struct {
        const char *content, *error;
    } cases[] = {
        {"foo", "line 1: the file must hold one mapping"},
        {"- a", "line 1: the file must hold one mapping"},
        {"name: a\n---\nname: b\n", "line 2: the file must hold one document"},
        {"name: [a]", "line 1: name must not be a list"},
        {"name: {a: b}", "line 1: name must not be a mapping"},
        {"log-outputs: stderr", "line 1: log-outputs must be a list"},
        {"log-outputs: [[a]]", "line 1: log-outputs must hold plain values only"},
        {"name: x\nheartbeat-interval: '100'", "line 2: heartbeat-interval must be a number"},
        {"heartbeat-interval: x",
         "line 1: invalid value \\\"x\\\" for heartbeat-interval: parse error"},
        {"grpc-keepalive-timeout: 10m",
         "line 1: grpc-keepalive-timeout must be an integer number of nanoseconds"},
        {"pre-vote: 'true'", "line 1: pre-vote must be true or false"},
        {"pre-vote: maybe", "line 1: pre-vote must be true or false"},
        {"a: &x b", "line 1: anchors and aliases are not supported"},
        {"name: *x", "line 1: anchors and aliases are not supported"},
        {"? [a]\n: b", "line 1: a key must be a plain name"},
        {"a: b: c", "line 1: mapping values are not allowed in this context"},
        {"a: [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]", "line 1: nested too deeply"},
        {"client-transport-security: x", "line 1: client-transport-security must be a mapping"},
        {"discovery-config: {token: x}",
         "line 1: discovery-config: discovery is not supported yet"},
        {"name: \"a\\0b\"", "line 1: zero byte in a value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        file_content = cases[i].content;
        result_of_t r = run("--config-file=c", "");
        char *error = xasprintf("configuration file c: %s", cases[i].error);
        assert_error(&r, error);
        free(error);
        done(&r);
    }
    file_content = "peer-transport-security: {cert-file: x}";
    result_of_t r = run("--config-file=c", "");
    assert_error(
        &r, "--peer-cert-file: TLS is not supported yet; only the default \\\"\\\" is accepted");
    done(&r);
}

static void test_bootstrap(void **state)
{
    (void)state;
    static const struct {
        const char *line, *error;
    } cases[] = {
        {"", NULL},
        {"--name=a", NULL},
        {"--initial-cluster=b=http://x:1",
         "couldn't find local name \"default\" in the initial cluster configuration"},
        {"--initial-cluster ''",
         "couldn't find local name \"default\" in the initial cluster configuration"},
        {"--initial-cluster=default=foo",
         "error setting up initial cluster: URL scheme must be http, https, unix, or unixs: foo"},
        {"--initial-cluster=default=http://localhost:2380,b=foo",
         "error setting up initial cluster: URL scheme must be http, https, unix, or unixs: foo"},
        {"--initial-cluster=default=http://localhost:2380,b",
         "error setting up initial cluster: URL scheme must be http, https, unix, or unixs: "},
        {"--initial-cluster=default=http://localhost:2380,b=http://localhost:2380",
         "initial cluster default=http://localhost:2380,b=http://localhost:2380 has duplicate url"},
        {"--initial-advertise-peer-urls=http://x:1",
         "--initial-cluster has default=http://localhost:2380 but missing from "
         "--initial-advertise-peer-urls=http://x:1"},
        {"--initial-advertise-peer-urls=http://localhost:2380,http://x:1",
         "--initial-advertise-peer-urls has http://x:1 but missing from "
         "--initial-cluster=default=http://localhost:2380"},
        {"--initial-cluster=default=http://localhost:2380,default=http://localhost:2380",
         "initial cluster default=http://localhost:2380,default=http://localhost:2380 has "
         "duplicate "
         "url"},
        {"--initial-cluster-state=existing", NULL},
        {"--initial-cluster-state=existing --initial-advertise-peer-urls=http://x:1", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        result_of_t r = run(cases[i].line, "");
        assert_int_equal(r.code, 0);
        bootstrap_t bootstrap;
        char *error = options_bootstrap(&r.options, &bootstrap);
        if (cases[i].error) {
            assert_non_null(error);
            assert_string_equal(error, cases[i].error);
        } else {
            assert_null(error);
            assert_int_equal(bootstrap.count, 1);
            assert_true(bootstrap.own->id == 0x8e9e05c52164694dULL);
            assert_true(bootstrap.cluster_id == 0xcdf818194e3a8c32ULL);
        }
        bootstrap_deinit(&bootstrap);
        free(error);
        done(&r);
    }
}

/* All first members must write the same first entry, in whatever order their command lines name them. */
static void test_bootstrap_of_several(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "--name=a --initial-advertise-peer-urls=http://10.0.0.1:1,http://10.0.0.2:1 "
        "--initial-cluster="
        "a=http://10.0.0.1:1,b=http://10.0.0.3:1,a=http://10.0.0.2:1,c=http://10.0.0.4:1",
        "--name=c --initial-advertise-peer-urls=http://10.0.0.4:1 --initial-cluster="
        "c=http://10.0.0.4:1,b=http://10.0.0.3:1,a=http://10.0.0.2:1,a=http://10.0.0.1:1",
        "--name=c --initial-advertise-peer-urls=http://10.0.0.4:1 --initial-cluster-token=other "
        "--initial-cluster=c=http://10.0.0.4:1,b=http://10.0.0.3:1,a=http://10.0.0.2:1,"
        "a=http://10.0.0.1:1",
    };
    bootstrap_t parsed[3];
    bytes_t *encoded[3];
    for (size_t i = 0; i < 3; i++) {
        result_of_t r = run(lines[i], "");
        assert_int_equal(r.code, 0);
        assert_null(options_bootstrap(&r.options, &parsed[i]));
        assert_int_equal(parsed[i].count, 3);
        encoded[i] = bootstrap_configuration(&parsed[i]);
        done(&r);
    }
    assert_string_equal(parsed[0].own->name, "a");
    assert_string_equal(parsed[1].own->name, "c");
    assert_true(parsed[0].cluster_id == parsed[1].cluster_id);
    assert_true(slice_equal(bytes_slice(encoded[0]), bytes_slice(encoded[1])));
    /* The token makes it another cluster. */
    assert_false(parsed[0].cluster_id == parsed[2].cluster_id);
    assert_false(parsed[1].own->id == parsed[2].own->id);
    size_t count = 0;
    const char **others = bootstrap_other_urls(&parsed[1], &count);
    assert_int_equal(count, 3);
    for (size_t i = 0; i < count; i++) {
        assert_string_not_equal(others[i], "http://10.0.0.4:1");
    }
    free(others);
    configuration_t configuration = {0};
    assert_int_equal(configuration_decode(&configuration, bytes_slice(encoded[0])), 0);
    assert_int_equal(configuration_voters(&configuration), 3);
    for (size_t i = 0; i < 3; i++) {
        assert_true(configuration.members[i].id == parsed[0].members[i].id);
    }
    configuration_deinit(&configuration);
    for (size_t i = 0; i < 3; i++) {
        bytes_unref(&encoded[i]);
        bootstrap_deinit(&parsed[i]);
    }
}

static void test_bootstrap_is_bounded(void **state)
{
    (void)state;
    buf_t line = {0};
    buf_append(&line, "--initial-cluster=default=http://localhost:2380", 47);
    for (int i = 0; i < 1000; i++) {
        char *pair = xasprintf(",m%d=http://localhost:%d", i, 3000 + i);
        buf_append(&line, pair, strlen(pair));
        free(pair);
    }
    buf_byte(&line, '\0');
    result_of_t r = run((const char *)line.data, "");
    bootstrap_t bootstrap;
    char *error = options_bootstrap(&r.options, &bootstrap);
    assert_string_equal(error, "--initial-cluster names more than 64 members");
    free(error);
    bootstrap_deinit(&bootstrap);
    done(&r);
    buf_deinit(&line);
}

static void test_help_names_every_flag(void **state)
{
    (void)state;
    buf_t out = {0};
    flags_print_help(&out);
    buf_byte(&out, '\0');
    for (unsigned i = 0; i < FLAG_COUNT; i++) {
        char *line = xasprintf("\n  --%s", flag_info((flag_t)i)->name);
        assert_non_null(strstr((const char *)out.data, line));
        free(line);
    }
    buf_deinit(&out);
}

/* docs/configuration.md has a line for each. */
static void test_documentation_names_every_flag(void **state)
{
    (void)state;
    const char here[] = __FILE__;
    const char *end = strstr(here, "tests/unit/");
    assert_non_null(end);
    char *path = xasprintf("%.*sdocs/configuration.md", (int)(end - here), here);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    free(path);
    buf_t text = {0};
    for (size_t got = 1; got > 0;) {
        uint8_t *room = buf_reserve(&text, 4096);
        got = fread(room, 1, 4096, file);
        buf_advance(&text, got);
    }
    fclose(file);
    buf_byte(&text, '\0');
    for (unsigned i = 0; i < FLAG_COUNT; i++) {
        char *line = xasprintf("\n| `--%s` | ", flag_info((flag_t)i)->name);
        if (!strstr((const char *)text.data, line)) {
            fail_msg("docs/configuration.md lacks --%s", flag_info((flag_t)i)->name);
        }
        free(line);
    }
    buf_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_log_outputs),
        cmocka_unit_test(test_actions),
        cmocka_unit_test(test_bad_syntax),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_everything_missing_is_refused),
        cmocka_unit_test(test_knobs_without_effect_warn),
        cmocka_unit_test(test_native_addresses),
        cmocka_unit_test(test_native_refusals),
        cmocka_unit_test(test_equal_to_default_is_fine),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_environment_conflicts),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_bootstrap),
        cmocka_unit_test(test_bootstrap_of_several),
        cmocka_unit_test(test_bootstrap_is_bounded),
        cmocka_unit_test(test_help_names_every_flag),
        cmocka_unit_test(test_documentation_names_every_flag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
