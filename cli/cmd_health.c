/* endpoint health: asks all endpoints at the same time. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cluster.h"
#include "cli/go_format.h"
#include "messages/xalloc.h"

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

typedef struct health_run health_run_t;

/* One endpoint: a read of some key goes through consensus, then its alarms are asked for. */
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
            grpc_client_pollfds(client, &fds[i]); /* each has one endpoint */
            int due = run->probes[i].finished ? -1 : grpc_client_wait_ms(client);
            wait = due >= 0 && (wait < 0 || due < wait) ? due : wait;
        }
        int ready = poll(fds, run->n, wait);
        for (size_t i = 0; i < run->n; i++) {
            if (!run->probes[i].finished) {
                grpc_client_process(run->probes[i].client, ready > 0 ? &fds[i] : NULL);
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
        code = cluster_endpoints(cli, &endpoints);
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

const command_t endpoint_health = {.name = "health",
                                   .summary = "Asks every endpoint of --endpoints whether it works",
                                   .run = run_health};
