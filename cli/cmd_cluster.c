/* member list, endpoint health, endpoint status. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/go_format.h"
#include "messages/xalloc.h"

/* ---- member list ---- */

static int fetch_members(cli_t *cli, bool serializable, Etcdserverpb__MemberListResponse **answer_p,
                         char **error_p)
{
    Etcdserverpb__MemberListRequest request = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    ProtobufCMessage *answer = NULL;
    request.linearizable = !serializable;
    int rc = cli_call(cli->client, "/etcdserverpb.Cluster/MemberList", &request.base,
                      &etcdserverpb__member_list_response__descriptor, cli_command_timeout_ms(cli),
                      RETRY_REPEATABLE, &answer, error_p);
    *answer_p = (Etcdserverpb__MemberListResponse *)answer;
    return rc;
}

static const flag_def_t member_list_flags[] = {
    {"consistency", 0, FLAG_STRING, "l",
     "l: linearizable, s: serializable (what one member knows)"},
    {0},
};

static int run_member_list(cli_t *cli, const strings_t *args)
{
    (void)args;
    bool serializable = false;
    Etcdserverpb__MemberListResponse *answer = NULL;
    char *error = NULL;
    int code = cli_parse_consistency(cli, flags_string(&cli->flags, "consistency"), &serializable);
    if (code == 0) {
        code = cli_connect(cli);
    }
    if (code != 0) {
        return code;
    }
    if (fetch_members(cli, serializable, &answer, &error) != 0) {
        code = cli_fail(cli, EXIT_ERROR, "%s", error);
        free(error);
        return code;
    }
    code = PRINT(&cli->printer, members, answer);
    etcdserverpb__member_list_response__free_unpacked(answer, NULL);
    return code;
}

/* Known, so that they are refused and not mistaken for help. */
static int run_member_change(cli_t *cli, const strings_t *args)
{
    (void)args;
    return cli_fail(cli, EXIT_BAD_FEATURE, "the command \"member %s\" is not supported yet",
                    cli->command);
}

static const command_t member_list = {.name = "list",
                                      .summary = "Lists the members of the cluster",
                                      .flags = member_list_flags,
                                      .run = run_member_list};
static const command_t member_add = {
    .name = "add", .summary = "Not supported yet", .run = run_member_change};
static const command_t member_remove = {
    .name = "remove", .summary = "Not supported yet", .run = run_member_change};
static const command_t member_update = {
    .name = "update", .summary = "Not supported yet", .run = run_member_change};
static const command_t member_promote = {
    .name = "promote", .summary = "Not supported yet", .run = run_member_change};

static const command_t *const member_commands[] = {
    &member_add, &member_list, &member_promote, &member_remove, &member_update, NULL,
};

const command_t command_member = {
    .name = "member",
    .summary = "The members of the cluster",
    .group = GROUP_CLUSTER,
    .children = member_commands,
};

/* ---- which endpoints ---- */

static const flag_def_t endpoint_flags[] = {
    {"cluster", 0, FLAG_BOOL, "false", "all client URLs of the cluster's member list"},
    {0},
};

/* The endpoints to ask, one by one. 0, or an exit code. */
static int endpoints_to_ask(cli_t *cli, strings_t *list)
{
    const strings_t *given = flags_strings(&cli->flags, "endpoints");
    if (!flags_bool(&cli->flags, "cluster")) {
        for (size_t i = 0; i < given->n; i++) {
            strings_add(list, given->items[i]);
        }
        return 0;
    }
    int code = 0;
    cli->client = cli_new_client(cli, given->items, given->n, &code);
    if (cli->client == NULL) {
        return code;
    }
    Etcdserverpb__MemberListResponse *answer = NULL;
    char *error = NULL;
    if (fetch_members(cli, false, &answer, &error) != 0) {
        code = cli_fail(cli, EXIT_ERROR,
                        "failed to fetch endpoints from etcd cluster member list: %s", error);
        free(error);
        return code;
    }
    for (size_t i = 0; i < answer->n_members; i++) {
        for (size_t k = 0; k < answer->members[i]->n_clienturls; k++) {
            strings_add(list, answer->members[i]->clienturls[k]);
        }
    }
    etcdserverpb__member_list_response__free_unpacked(answer, NULL);
    return 0;
}

/* ---- endpoint health ---- */

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

typedef struct health_run health_run_t;

/* One endpoint: a read of some key goes through consensus, then its alarms are asked for. All
 * endpoints are asked at the same time. */
typedef struct health_probe {
    health_run_t *run;
    const char *endpoint;
    grpc_client_t *client;
    int64_t started_ns;
    Etcdserverpb__AlarmResponse *alarms;
    bool healthy;
    char took[GO_TEXT_BYTES];
    char *error;
    bool finished;
} health_probe_t;

struct health_run {
    cli_t *cli;
    health_probe_t *probes;
    size_t n;
    endpoint_health_t *results; /* in the order they came in */
    size_t results_n;
};

static void finish_probe(health_probe_t *probe)
{
    probe->finished = true;
    probe->run->results[probe->run->results_n++] = (endpoint_health_t){
        probe->endpoint, probe->healthy, probe->took, probe->error != NULL ? probe->error : ""};
}

static void fail_probe(health_probe_t *probe, char **error_p)
{
    probe->healthy = false;
    probe->error = *error_p;
    *error_p = NULL;
}

static char *alarm_text(const Etcdserverpb__AlarmResponse *alarms)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    fputs("Active Alarm(s): ", out);
    for (size_t i = 0; i < alarms->n_alarms; i++) {
        switch (alarms->alarms[i]->alarm) {
        case ETCDSERVERPB__ALARM_TYPE__NOSPACE: fputs("NOSPACE ", out); break;
        case ETCDSERVERPB__ALARM_TYPE__CORRUPT: fputs("CORRUPT ", out); break;
        default: fputs("UNKNOWN ", out); break;
        }
    }
    fclose(out);
    return text;
}

static void on_alarms(void *arg, const uint8_t *message, size_t size)
{
    health_probe_t *probe = arg;
    if (probe->alarms == NULL) {
        probe->alarms = etcdserverpb__alarm_response__unpack(NULL, size, message);
    }
}

static void on_alarms_done(void *arg, const grpc_status_t *status)
{
    health_probe_t *probe = arg;
    char *error = NULL;
    if (status->code != GRPC_OK || probe->alarms == NULL) {
        error = xstrdup("Unable to fetch the alarm list");
        fail_probe(probe, &error);
    } else if (probe->alarms->n_alarms > 0) {
        error = alarm_text(probe->alarms);
        fail_probe(probe, &error);
    }
    finish_probe(probe);
}

static void on_key(void *arg, const uint8_t *message, size_t size)
{
    (void)arg;
    (void)message;
    (void)size;
}

static int64_t time_left_ms(const health_probe_t *probe)
{
    int64_t left =
        cli_command_timeout_ms(probe->run->cli) - (now_ns() - probe->started_ns) / 1000000;
    return left > 0 ? left : 0;
}

static void start_unary(health_probe_t *probe, const char *path, const ProtobufCMessage *request,
                        void (*on_message)(void *, const uint8_t *, size_t),
                        void (*on_done)(void *, const grpc_status_t *))
{
    grpc_stream_t *stream =
        grpc_client_start(probe->client, &(grpc_stream_cfg_t){.path = path,
                                                              .timeout_ms = time_left_ms(probe),
                                                              .on_message = on_message,
                                                              .on_done = on_done,
                                                              .arg = probe});
    grpc_stream_send_message(stream, request);
    grpc_stream_close_send(stream);
}

static void on_key_done(void *arg, const grpc_status_t *status);

static void ask_key(health_probe_t *probe)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key.data = (uint8_t *)(uintptr_t) "health"; /* only read */
    request.key.len = strlen("health");
    start_unary(probe, "/etcdserverpb.KV/Range", &request.base, on_key, on_key_done);
}

static void on_key_done(void *arg, const grpc_status_t *status)
{
    health_probe_t *probe = arg;
    if (status->code == GRPC_UNAVAILABLE && !cli_known_error(status->message) &&
        time_left_ms(probe) > 0) {
        ask_key(probe); /* the connection broke; a read may be repeated */
        return;
    }
    go_format_duration(now_ns() - probe->started_ns, probe->took);
    /* Permission denied is an answer that consensus stands behind. */
    probe->healthy = status->code == GRPC_OK || status->code == GRPC_PERMISSION_DENIED;
    if (!probe->healthy) {
        char *error = cli_status_text(status);
        fail_probe(probe, &error);
        finish_probe(probe);
        return;
    }
    Etcdserverpb__AlarmRequest request = ETCDSERVERPB__ALARM_REQUEST__INIT;
    start_unary(probe, "/etcdserverpb.Maintenance/Alarm", &request.base, on_alarms, on_alarms_done);
}

static void run_probes(health_run_t *run)
{
    struct pollfd *fds = xcalloc(run->n, sizeof *fds);
    for (size_t i = 0; i < run->n; i++) {
        run->probes[i].started_ns = now_ns();
        ask_key(&run->probes[i]);
    }
    while (run->results_n < run->n) {
        int wait = -1;
        for (size_t i = 0; i < run->n; i++) {
            grpc_client_t *client = run->probes[i].client;
            fds[i] = grpc_client_pollfd(client);
            int due = run->probes[i].finished ? -1 : grpc_client_wait_ms(client);
            wait = due >= 0 && (wait < 0 || due < wait) ? due : wait;
        }
        int ready = poll(fds, run->n, wait);
        for (size_t i = 0; i < run->n; i++) {
            if (!run->probes[i].finished) {
                grpc_client_process(run->probes[i].client, ready > 0 ? fds[i].revents : 0);
            }
        }
    }
    free(fds);
}

static int run_health(cli_t *cli, const strings_t *args)
{
    (void)args;
    strings_t endpoints = {0};
    health_run_t run = {.cli = cli};
    int code = cli_configure(cli);
    if (code == 0) {
        code = endpoints_to_ask(cli, &endpoints);
    }
    run.probes = xcalloc(endpoints.n + 1, sizeof *run.probes);
    run.results = xcalloc(endpoints.n + 1, sizeof *run.results);
    for (size_t i = 0; i < endpoints.n && code == 0; i++) {
        grpc_client_t *client = cli_new_client(cli, &endpoints.items[i], 1, &code);
        if (client != NULL) {
            run.probes[run.n++] =
                (health_probe_t){.run = &run, .endpoint = endpoints.items[i], .client = client};
        }
    }
    if (code == 0) {
        run_probes(&run);
        code = PRINT(&cli->printer, health, run.results, run.results_n);
    }
    for (size_t i = 0; i < run.n; i++) {
        if (code == 0 && run.probes[i].error != NULL) {
            code = cli_fail(cli, EXIT_ERROR, "unhealthy cluster");
        }
        grpc_client_destroy(&run.probes[i].client);
        if (run.probes[i].alarms != NULL) {
            etcdserverpb__alarm_response__free_unpacked(run.probes[i].alarms, NULL);
        }
        free(run.probes[i].error);
    }
    free(run.probes);
    free(run.results);
    strings_deinit(&endpoints);
    return code;
}

/* ---- endpoint status ---- */

static int fetch_status(cli_t *cli, char *endpoint, Etcdserverpb__StatusResponse **answer_p,
                        char **error_p)
{
    int code = 0;
    grpc_client_t *client = cli_new_client(cli, &endpoint, 1, &code);
    if (client == NULL) {
        return code;
    }
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    ProtobufCMessage *answer = NULL;
    /* Not an error of the command yet: the other endpoints are asked as well. */
    if (cli_call(client, "/etcdserverpb.Maintenance/Status", &request.base,
                 &etcdserverpb__status_response__descriptor, cli_command_timeout_ms(cli),
                 RETRY_REPEATABLE, &answer, error_p) == 0) {
        *answer_p = (Etcdserverpb__StatusResponse *)answer;
    }
    grpc_client_destroy(&client);
    return 0;
}

static int run_status(cli_t *cli, const strings_t *args)
{
    (void)args;
    strings_t endpoints = {0};
    bool failed = false;
    int code = cli_configure(cli);
    if (code == 0) {
        code = endpoints_to_ask(cli, &endpoints);
    }
    endpoint_status_t *items = xcalloc(endpoints.n + 1, sizeof *items);
    Etcdserverpb__StatusResponse **answers = xcalloc(endpoints.n + 1, sizeof(*answers));
    size_t n = 0;
    for (size_t i = 0; i < endpoints.n && code == 0; i++) {
        char *error = NULL;
        code = fetch_status(cli, endpoints.items[i], &answers[n], &error);
        if (error != NULL) {
            failed = true;
            fprintf(cli->err, "Failed to get the status of endpoint %s (%s)\n", endpoints.items[i],
                    error);
            free(error);
        } else if (code == 0) {
            items[n] = (endpoint_status_t){endpoints.items[i], answers[n]};
            n++;
        }
    }
    if (code == 0) {
        code = PRINT(&cli->printer, status, items, n);
    }
    for (size_t i = 0; i < n; i++) {
        etcdserverpb__status_response__free_unpacked(answers[i], NULL);
    }
    free(answers);
    free(items);
    strings_deinit(&endpoints);
    return code == 0 && failed ? EXIT_ERROR : code;
}

static int run_hashkv(cli_t *cli, const strings_t *args)
{
    (void)args;
    return cli_fail(cli, EXIT_BAD_FEATURE, "the command \"endpoint hashkv\" is not supported yet");
}

static const command_t endpoint_health = {.name = "health",
                                          .summary =
                                              "Asks every endpoint of --endpoints whether it works",
                                          .run = run_health};
static const command_t endpoint_status = {
    .name = "status",
    .summary = "Shows the state of every endpoint of --endpoints",
    .text =
        "Shows the state of every endpoint of --endpoints. With -w simple the columns are:\n"
        "endpoint, id, version, storage version, size of the database, size in use, percentage\n"
        "not in use, quota, is leader, is learner, Raft term, Raft index, applied Raft index,\n"
        "errors, version to downgrade to, downgrade enabled.",
    .run = run_status};
static const command_t endpoint_hashkv = {
    .name = "hashkv", .summary = "Not supported yet", .run = run_hashkv};

static const command_t *const endpoint_commands[] = {
    &endpoint_hashkv,
    &endpoint_health,
    &endpoint_status,
    NULL,
};

const command_t command_endpoint = {
    .name = "endpoint",
    .summary = "The servers themselves",
    .group = GROUP_CLUSTER,
    .shared_flags = endpoint_flags,
    .children = endpoint_commands,
};
