/* The metrics page: its exact form, sums over blocks, histograms, RPC counters, the process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/api/rpc_metrics_text.h"
#include "actors/core/metrics_text.h"
#include "actors/daemon/metrics_page_shell.h"
#include "messages/xalloc.h"

static metrics_t first, second;
static rpc_metrics_t rpc;
static peer_metrics_t peers;
static bool extensive;
static snapshot_metrics_t snapshots;
static uint64_t epoch_us;

static int clear(void **state)
{
    (void)state;
    memset(&first, 0, sizeof first);
    memset(&second, 0, sizeof second);
    memset(&rpc, 0, sizeof rpc);
    memset(&peers, 0, sizeof peers);
    memset(&snapshots, 0, sizeof snapshots);
    extensive = false;
    epoch_us = 0;
    return 0;
}

/* The whole page as a string; yours. */
static char *page(void)
{
    const metrics_t *blocks[] = {&first, &second};
    const rpc_metrics_t *rpc_blocks[] = {&rpc};
    const metrics_page_t all = {.blocks = blocks,
                                .block_count = 2,
                                .rpc_blocks = rpc_blocks,
                                .rpc_block_count = 1,
                                .peers = &peers,
                                .snapshots = &snapshots,
                                .member_id = 0x8e9e05c52164694dULL,
                                .epoch_us = epoch_us,
                                .extensive = extensive};
    buf_t out = {0};
    metrics_page_text(&all, &out);
    buf_byte(&out, '\0');
    return (char *)out.data;
}

static void assert_has(const char *text, const char *lines)
{
    if (!strstr(text, lines)) {
        fail_msg("the page lacks:\n%s", lines);
    }
}

static void test_values_are_summed(void **state)
{
    (void)state;
    metrics_add(&first, METRIC_PUTS, 3);
    metrics_add(&second, METRIC_PUTS, 4);
    metrics_set(&second, METRIC_HAS_LEADER, 1);
    char *text = page();
    assert_has(text, "# HELP etcd_mvcc_put_total Total number of puts seen by this member.\n"
                     "# TYPE etcd_mvcc_put_total counter\netcd_mvcc_put_total 7\n");
    assert_has(text, "# TYPE etcd_server_has_leader gauge\netcd_server_has_leader 1\n");
    free(text);
}

static void test_check_results(void **state)
{
    (void)state;
    char *text = page();
    assert_null(strstr(text, "etcd_server_healthcheck{"));
    assert_has(text, "etcd_server_healthchecks_total{name=\"non_learner\",status=\"error\",type="
                     "\"readyz\"} 0\n");
    free(text);
    metrics_set(&first, METRIC_LIVEZ_SERIALIZABLE, METRIC_PASSED);
    metrics_set(&first, METRIC_READYZ_SERIALIZABLE, METRIC_FAILED);
    metrics_set(&second, METRIC_READYZ_SERIALIZABLE, METRIC_PASSED);
    text = page();
    assert_has(text, "# TYPE etcd_server_healthcheck gauge\n"
                     "etcd_server_healthcheck{name=\"serializable_read\",type=\"livez\"} 1\n"
                     "etcd_server_healthcheck{name=\"serializable_read\",type=\"readyz\"} 0\n");
    free(text);
}

static void test_histogram(void **state)
{
    (void)state;
    metrics_observe(&first, HISTOGRAM_WAL_FSYNC, 1000);
    metrics_observe(&second, HISTOGRAM_WAL_FSYNC, 1001);
    metrics_observe(&first, HISTOGRAM_WAL_FSYNC, 8192000);
    metrics_observe(&first, HISTOGRAM_WAL_FSYNC, 8192001);
    char *text = page();
    assert_has(text, "# TYPE etcd_disk_wal_fsync_duration_seconds histogram\n"
                     "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.001\"} 1\n"
                     "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.002\"} 2\n");
    assert_has(text, "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"4.096\"} 2\n"
                     "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"8.192\"} 3\n"
                     "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"+Inf\"} 4\n"
                     "etcd_disk_wal_fsync_duration_seconds_sum 16.386002\n"
                     "etcd_disk_wal_fsync_duration_seconds_count 4\n");
    free(text);
}

/* Outcomes are there once they have happened, announced once. */
static void test_outcomes(void **state)
{
    (void)state;
#define REQUESTS "etcd_server_request_duration_seconds"
    char *text = page();
    assert_null(strstr(text, REQUESTS));
    free(text);
    metrics_observe_outcome(&first, HISTOGRAM_REQUEST_PUT, true, 1000);
    metrics_observe_outcome(&first, HISTOGRAM_REQUEST_PUT, false, 2500000);
    metrics_observe_outcome(&second, HISTOGRAM_REQUEST_RANGE, true, 0);
    text = page();
    assert_has(text, "# TYPE " REQUESTS " histogram\n" REQUESTS
                     "_bucket{success=\"true\",type=\"Range\",le=\"0.001\"} 1\n");
    assert_has(text, REQUESTS "_sum{success=\"true\",type=\"Put\"} 0.001\n" REQUESTS
                              "_count{success=\"true\",type=\"Put\"} 1\n");
    assert_has(text, REQUESTS "_bucket{success=\"false\",type=\"Put\",le=\"2.048\"} 0\n" REQUESTS
                              "_bucket{success=\"false\",type=\"Put\",le=\"4.096\"} 1\n");
    assert_has(text, REQUESTS "_sum{success=\"false\",type=\"Put\"} 2.5\n");
    assert_null(strstr(text, "type=\"Txn\""));
    free(text);
    metrics_observe_outcome(&first, HISTOGRAM_APPLY_LEASE_REVOKE, false, 100);
    metrics_observe_outcome(&first, HISTOGRAM_RANGE, true, 200);
    text = page();
    assert_has(text,
               "etcd_server_apply_duration_seconds_bucket{op=\"LeaseRevoke\",success=\"false\","
               "version=\"v3\",le=\"0.0001\"} 1\n");
    assert_has(text,
               "etcd_server_range_duration_seconds_bucket{success=\"true\",le=\"0.0002\"} 1\n");
    assert_has(text,
               "etcd_server_range_duration_seconds_bucket{success=\"true\",le=\"52.4288\"} 1\n"
               "etcd_server_range_duration_seconds_bucket{success=\"true\",le=\"+Inf\"} 1\n");
    free(text);
}

static void test_units(void **state)
{
    (void)state;
    metrics_observe(&first, HISTOGRAM_COMPACTION_TOTAL, 150250);
    metrics_observe(&first, HISTOGRAM_LEASE_TTL, 60);
    metrics_observe(&first, HISTOGRAM_LEASE_TTL, 9000000000);
    metrics_set(&first, METRIC_COMPACTION_LAST, 5000000);
    epoch_us = 1700000000900000;
    char *text = page();
#define TOTAL "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds"
    assert_has(text, TOTAL "_bucket{le=\"100\"} 0\n" TOTAL "_bucket{le=\"200\"} 1\n");
    assert_has(text, TOTAL "_bucket{le=\"819200\"} 1\n" TOTAL "_bucket{le=\"+Inf\"} 1\n" TOTAL
                           "_sum 150.25\n");
#define TTL "etcd_debugging_lease_ttl_total"
    assert_has(text, TTL "_bucket{le=\"32\"} 0\n" TTL "_bucket{le=\"64\"} 1\n");
    assert_has(text, TTL "_bucket{le=\"524288\"} 1\n" TTL "_bucket{le=\"1.048576e+06\"} 1\n");
    assert_has(text, TTL "_bucket{le=\"8.388608e+06\"} 1\n" TTL "_bucket{le=\"+Inf\"} 2\n" TTL
                         "_sum 9000000060\n");
    assert_has(text, "\netcd_debugging_mvcc_db_compaction_last 1700000005\n");
    free(text);
    metrics_set(&first, METRIC_COMPACTION_LAST, 0);
    text = page();
    assert_has(text, "\netcd_debugging_mvcc_db_compaction_last 0\n");
    free(text);
}

static void test_clients(void **state)
{
    (void)state;
#define CLIENTS "etcd_server_client_requests_total{client_api_version="
    char *text = page();
    assert_null(strstr(text, CLIENTS));
    free(text);
    rpc_metrics_client(&rpc, slice(NULL, 0), METHOD_PUT);
    rpc_metrics_client(&rpc, slice_str("3.7.0"), METHOD_PUT);
    rpc_metrics_client(&rpc, slice_str("3.7.0"), METHOD_PUT);
    rpc_metrics_client(&rpc, slice_str("3.7.0"), METHOD_RANGE_STREAM);
    rpc_metrics_client(&rpc, slice_str("a\"b\\"), METHOD_WATCH);
    rpc_metrics_client(&rpc, slice_str(""), METHOD_WATCH);
    text = page();
    assert_has(text, CLIENTS
               "\"unknown\",type=\"unary\"} 1\n" CLIENTS "\"3.7.0\",type=\"unary\"} 2\n" CLIENTS
               "\"3.7.0\",type=\"stream\"} 1\n" CLIENTS
               "\"a\\\"b\\\\\",type=\"stream\"} 1\n" CLIENTS "\"\",type=\"stream\"} 1\n");
    assert_null(strstr(text, CLIENTS "\"other\""));
    free(text);
}

static void test_too_many_clients(void **state)
{
    (void)state;
    for (unsigned i = 0; i < LIMIT_CLIENT_VERSIONS + 3; i++) {
        char version[16];
        snprintf(version, sizeof version, "v%u", i);
        rpc_metrics_client(&rpc, slice_str(version), METHOD_PUT);
    }
    rpc_metrics_client(&rpc, slice_str("other"), METHOD_PUT); /* no second line of this name */
    rpc_metrics_client(&rpc, slice_str("v0"), METHOD_PUT);
    char *text = page();
    assert_has(text, CLIENTS "\"other\",type=\"unary\"} 4\n" CLIENTS "\"v0\",type=\"unary\"} 2\n");
    assert_int_equal(rpc.client_count, LIMIT_CLIENT_VERSIONS);
    free(text);
    memset(&rpc, 0, sizeof rpc);
    char longest[LIMIT_CLIENT_VERSION_BYTES + 2];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    rpc_metrics_client(&rpc, slice_str(longest), METHOD_PUT);
    rpc_metrics_client(&rpc, slice_str(longest + 1), METHOD_PUT);
    assert_int_equal(rpc.clients[0].unary, 1);
    assert_string_equal(rpc.clients[1].version, longest + 1);
}

/* Several gateways: the same client has different places in their blocks. */
static void test_clients_are_summed(void **state)
{
    (void)state;
    static rpc_metrics_t more;
    const rpc_metrics_t *blocks[] = {&rpc, &more};
    rpc_metrics_client(&rpc, slice_str("a"), METHOD_PUT);
    rpc_metrics_client(&more, slice_str("b"), METHOD_PUT);
    rpc_metrics_client(&more, slice_str("a"), METHOD_PUT);
    buf_t out = {0};
    rpc_metrics_text(&out, blocks, 2, false);
    buf_byte(&out, '\0');
    assert_has((char *)out.data,
               CLIENTS "\"a\",type=\"unary\"} 2\n" CLIENTS "\"b\",type=\"unary\"} 1\n");
    buf_deinit(&out);
}

static void test_gates(void **state)
{
    (void)state;
    char *text = page();
    assert_has(text, "\netcd_server_feature_enabled{name=\"AllAlpha\",stage=\"ALPHA\"} 0\n");
    assert_has(text,
               "\netcd_server_feature_enabled{name=\"FastLeaseKeepAlive\",stage=\"BETA\"} 1\n");
    free(text);
}

static void test_rpcs(void **state)
{
    (void)state;
    rpc_metrics_add(&rpc.started[METHOD_WATCH]);
    rpc_metrics_add(&rpc.handled[METHOD_PUT][GRPC_CANCELLED]);
    rpc_metrics_add(&rpc.received[METHOD_PUT]);
    rpc_metrics_add(&rpc.sent[METHOD_HEALTH_WATCH]);
    char *text = page();
    assert_has(text, "grpc_server_started_total{grpc_method=\"Watch\",grpc_service=\"etcdserverpb."
                     "Watch\",grpc_type=\"bidi_stream\"} 1\n");
    assert_has(text, "grpc_server_handled_total{grpc_code=\"Canceled\",grpc_method=\"Put\",grpc_"
                     "service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 1\n");
    assert_has(text, "grpc_server_msg_received_total{grpc_method=\"Put\",grpc_service="
                     "\"etcdserverpb.KV\",grpc_type=\"unary\"} 1\n");
    assert_has(text, "grpc_server_msg_sent_total{grpc_method=\"Watch\",grpc_service=\"grpc.health."
                     "v1.Health\",grpc_type=\"server_stream\"} 1\n");
    unsigned lines = 0;
    for (const char *at = text; (at = strstr(at, "\ngrpc_server_handled_total{")) != NULL; at++) {
        lines++;
    }
    assert_int_equal(lines, METHOD_COUNT * RPC_CODES);
    free(text);
}

static void test_handling_times(void **state)
{
    (void)state;
    rpc_metrics_observe(&rpc, METHOD_PUT, 5000);
    rpc_metrics_observe(&rpc, METHOD_PUT, 5001);
    rpc_metrics_observe(&rpc, METHOD_PUT, 10000001);
    char *text = page();
    assert_null(strstr(text, "grpc_server_handling_seconds"));
    free(text);
    extensive = true;
    text = page();
    assert_has(text, "# TYPE grpc_server_handling_seconds histogram\n");
#define PUT_LABELS "grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\""
    assert_has(text, "grpc_server_handling_seconds_bucket{" PUT_LABELS ",le=\"0.005\"} 1\n"
                     "grpc_server_handling_seconds_bucket{" PUT_LABELS ",le=\"0.01\"} 2\n");
    assert_has(text, "grpc_server_handling_seconds_bucket{" PUT_LABELS ",le=\"10\"} 2\n"
                     "grpc_server_handling_seconds_bucket{" PUT_LABELS ",le=\"+Inf\"} 3\n"
                     "grpc_server_handling_seconds_sum{" PUT_LABELS "} 10.010002\n"
                     "grpc_server_handling_seconds_count{" PUT_LABELS "} 3\n");
    free(text);
}

static void test_versions_and_process(void **state)
{
    (void)state;
    char *text = page();
    assert_has(text, "\netcd_server_version{server_version=\"3.7.1\"} 1\n");
    assert_has(text, "\netcd_cluster_version{cluster_version=\"3.7\"} 1\n");
    assert_has(text, "\netcd_server_id{server_id=\"8e9e05c52164694d\"} 1\n");
    static const struct {
        const char *name;
        double min, max;
    } ranges[] = {
        {"process_resident_memory_bytes", 1e5, 1e11},
        {"process_virtual_memory_bytes", 1e6, 1e15},
        {"process_virtual_memory_max_bytes", 1e6, 1e20},
        {"process_cpu_seconds_total", 0, 1000},
        {"process_open_fds", 3, 1000},
        {"process_max_fds", 10, 1e20},
        {"process_start_time_seconds", 1.7e9, 1e10},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        char *start = xasprintf("\n%s ", ranges[i].name);
        const char *line = strstr(text, start);
        assert_non_null(line);
        double value = strtod(line + strlen(start), NULL);
        assert_true(value >= ranges[i].min && value <= ranges[i].max);
        free(start);
    }
    free(text);
}

/* Every line is a comment or a sample, every name is announced before its first sample and once. */
static void test_page_is_well_formed(void **state)
{
    (void)state;
    char *text = page();
    char *rest = text;
    char current[128] = "";
    char *seen = xcalloc(1, strlen(text) + 2);
    for (char *line; (line = strsep(&rest, "\n")) != NULL && rest;) {
        char name[128];
        char type[16];
        if (strncmp(line, "# HELP ", 7) == 0) {
            continue;
        }
        if (sscanf(line, "# TYPE %127s %15s", name, type) == 2) {
            char *mark = xasprintf(" %s ", name);
            assert_null(strstr(seen, mark));
            strcat(strcat(strcat(seen, " "), name), " ");
            free(mark);
            strcpy(current, name);
            continue;
        }
        assert_int_equal(sscanf(line, "%127[a-z0-9_]", name), 1);
        assert_memory_equal(name, current, strlen(current));
        assert_non_null(strrchr(line, ' '));
    }
    free(seen);
    free(text);
}

static void test_other_members(void **state)
{
    (void)state;
    char *text = page();
    assert_null(strstr(text, "etcd_network_active_peers"));
    assert_has(
        text,
        "\netcd_network_known_peers{Local=\"8e9e05c52164694d\",Remote=\"8e9e05c52164694d\"} 1\n");
    free(text);
    peer_member_metrics_t *two = peer_metrics_of(&peers, 0x2222);
    peer_member_metrics_t *three = peer_metrics_of(&peers, 0x3333);
    assert_ptr_equal(peer_metrics_of(&peers, 0x2222), two);
    peer_gauge(&two->is_active, 1);
    peer_gauge(&two->is_known, 1);
    peer_count(&two->sent_bytes, 70);
    peer_count(&three->received_failures, 2);
    peer_observe_rtt(two, 100);
    peer_observe_rtt(two, 101);
    peer_observe_rtt(two, 60000000);
    text = page();
    assert_has(text, "# TYPE etcd_network_active_peers gauge\n"
                     "etcd_network_active_peers{Local=\"8e9e05c52164694d\",Remote=\"2222\"} 1\n"
                     "etcd_network_active_peers{Local=\"8e9e05c52164694d\",Remote=\"3333\"} 0\n");
    assert_has(
        text, "etcd_network_known_peers{Local=\"8e9e05c52164694d\",Remote=\"8e9e05c52164694d\"} 1\n"
              "etcd_network_known_peers{Local=\"8e9e05c52164694d\",Remote=\"2222\"} 1\n");
    assert_has(text, "\netcd_network_peer_sent_bytes_total{To=\"2222\"} 70\n");
    assert_has(text, "\netcd_network_peer_received_failures_total{From=\"3333\"} 2\n");
    assert_has(text,
               "\netcd_network_peer_round_trip_time_seconds_bucket{To=\"2222\",le=\"0.0001\"} 1\n"
               "etcd_network_peer_round_trip_time_seconds_bucket{To=\"2222\",le=\"0.0002\"} 2\n");
    assert_has(text,
               "etcd_network_peer_round_trip_time_seconds_bucket{To=\"2222\",le=\"3.2768\"} 2\n"
               "etcd_network_peer_round_trip_time_seconds_bucket{To=\"2222\",le=\"+Inf\"} 3\n"
               "etcd_network_peer_round_trip_time_seconds_sum{To=\"2222\"} 60.000201\n"
               "etcd_network_peer_round_trip_time_seconds_count{To=\"2222\"} 3\n");
    free(text);
    for (uint64_t id = 1; id < 2 * PEER_METRICS_MEMBERS;
         id++) { /* more than there are places for */
        peer_count(&peer_metrics_of(&peers, id)->sent_failures, 1);
    }
    assert_int_equal(peers.others.sent_failures, 2 * PEER_METRICS_MEMBERS - 1 - 30);
}

static void test_snapshots(void **state)
{
    (void)state;
    char *text = page();
    assert_null(strstr(text, "etcd_network_snapshot_send"));
    assert_null(strstr(text, "etcd_network_snapshot_receive"));
    free(text);
    snapshot_way_metrics_t *sent = &snapshot_metrics_of(&snapshots, 0xab)->sent;
    for (int i = 0; i < 4; i++) {
        snapshot_metrics_begun(sent);
    }
    snapshot_metrics_succeeded(sent, 100000);
    snapshot_metrics_succeeded(sent, 100000000);
    snapshot_metrics_failed(sent);
    assert_ptr_equal(&snapshot_metrics_of(&snapshots, 0xab)->sent, sent);
    snapshot_metrics_begun(&snapshot_metrics_of(&snapshots, 0xcd)->received);
    text = page();
    assert_has(text, "# TYPE etcd_network_snapshot_send_inflights_total gauge\n"
                     "etcd_network_snapshot_send_inflights_total{To=\"ab\"} 1\n"
                     "# HELP etcd_network_snapshot_send_success");
    assert_has(text, "\netcd_network_snapshot_send_success{To=\"ab\"} 2\n");
    assert_has(text, "\netcd_network_snapshot_send_failures{To=\"ab\"} 1\n");
    assert_has(
        text,
        "\netcd_network_snapshot_send_total_duration_seconds_bucket{To=\"ab\",le=\"0.1\"} 1\n");
    assert_has(
        text,
        "\netcd_network_snapshot_send_total_duration_seconds_bucket{To=\"ab\",le=\"51.2\"} 1\n"
        "etcd_network_snapshot_send_total_duration_seconds_bucket{To=\"ab\",le=\"+Inf\"} 2\n"
        "etcd_network_snapshot_send_total_duration_seconds_sum{To=\"ab\"} 100.1\n"
        "etcd_network_snapshot_send_total_duration_seconds_count{To=\"ab\"} 2\n");
    assert_has(text, "\netcd_network_snapshot_receive_inflights_total{From=\"cd\"} 1\n");
    assert_has(text, "\netcd_network_snapshot_receive_success{From=\"cd\"} 0\n");
    free(text);
    for (uint64_t id = 1; id < 2 * SNAPSHOT_METRICS_MEMBERS; id++) {
        snapshot_metrics_begun(&snapshot_metrics_of(&snapshots, id)->sent);
    }
    assert_int_equal(snapshots.others.sent.begun, 2 * SNAPSHOT_METRICS_MEMBERS - 1 - 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_values_are_summed, clear),
        cmocka_unit_test_setup(test_check_results, clear),
        cmocka_unit_test_setup(test_histogram, clear),
        cmocka_unit_test_setup(test_outcomes, clear),
        cmocka_unit_test_setup(test_units, clear),
        cmocka_unit_test_setup(test_clients, clear),
        cmocka_unit_test_setup(test_too_many_clients, clear),
        cmocka_unit_test_setup(test_clients_are_summed, clear),
        cmocka_unit_test_setup(test_gates, clear),
        cmocka_unit_test_setup(test_rpcs, clear),
        cmocka_unit_test_setup(test_handling_times, clear),
        cmocka_unit_test_setup(test_versions_and_process, clear),
        cmocka_unit_test_setup(test_page_is_well_formed, clear),
        cmocka_unit_test_setup(test_other_members, clear),
        cmocka_unit_test_setup(test_snapshots, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
