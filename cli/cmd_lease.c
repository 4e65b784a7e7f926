/* lease grant, revoke, timetolive, list, keep-alive. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/go_format.h"
#include "messages/xalloc.h"

static const char bad_lease[] = "bad lease ID arg";

/* ---- grant, revoke ---- */

static int run_grant(cli_t *cli, const strings_t *args)
{
    Etcdserverpb__LeaseGrantRequest request = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    ProtobufCMessage *answer = NULL;
    char *error = NULL;
    if (args->n != 1) {
        return cli_fail(cli, EXIT_BAD_ARGS, "lease grant command needs TTL argument");
    }
    const char *reason = go_parse_int(args->items[0], 10, &request.ttl);
    if (reason != NULL) {
        char *quoted = go_quoted(args->items[0], strlen(args->items[0]));
        int code = cli_fail(cli, EXIT_BAD_ARGS, "bad TTL (strconv.ParseInt: parsing %s: %s)",
                            quoted, reason);
        free(quoted);
        return code;
    }
    int code = cli_connect(cli);
    if (code != 0) {
        return code;
    }
    if (cli_call(cli->client, "/etcdserverpb.Lease/LeaseGrant", &request.base,
                 &etcdserverpb__lease_grant_response__descriptor, cli_command_timeout_ms(cli),
                 RETRY_REPEATABLE, &answer, &error) != 0) {
        code = cli_fail(cli, EXIT_ERROR, "failed to grant lease (%s)", error);
        free(error);
        return code;
    }
    code = PRINT(&cli->printer, lease_grant, (const Etcdserverpb__LeaseGrantResponse *)answer);
    protobuf_c_message_free_unpacked(answer, NULL);
    return code;
}

static int run_revoke(cli_t *cli, const strings_t *args)
{
    Etcdserverpb__LeaseRevokeRequest request = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    ProtobufCMessage *answer = NULL;
    char *error = NULL;
    if (args->n != 1) {
        return cli_fail(cli, EXIT_BAD_ARGS, "lease revoke command needs 1 argument");
    }
    int code = cli_parse_lease(cli, bad_lease, args->items[0], &request.id);
    if (code == 0) {
        code = cli_connect(cli);
    }
    if (code != 0) {
        return code;
    }
    if (cli_call(cli->client, "/etcdserverpb.Lease/LeaseRevoke", &request.base,
                 &etcdserverpb__lease_revoke_response__descriptor, cli_command_timeout_ms(cli),
                 RETRY_REPEATABLE, &answer, &error) != 0) {
        code = cli_fail(cli, EXIT_ERROR, "failed to revoke lease (%s)", error);
        free(error);
        return code;
    }
    if (cli->printer.ops == &printer_protobuf) {
        code = cli_fail(cli, EXIT_BAD_FEATURE,
                        "marshal unsupported for type *clientv3.LeaseRevokeResponse");
    } else {
        code = PRINT(&cli->printer, lease_revoke, request.id,
                     (const Etcdserverpb__LeaseRevokeResponse *)answer);
    }
    protobuf_c_message_free_unpacked(answer, NULL);
    return code;
}

/* ---- timetolive, list: no deadline, as etcdctl ---- */

static const flag_def_t time_to_live_flags[] = {
    {"keys", 0, FLAG_BOOL, "false", "list the keys attached to the lease"},
    {0},
};

static int run_time_to_live(cli_t *cli, const strings_t *args)
{
    Etcdserverpb__LeaseTimeToLiveRequest request = ETCDSERVERPB__LEASE_TIME_TO_LIVE_REQUEST__INIT;
    ProtobufCMessage *answer = NULL;
    char *error = NULL;
    if (args->n != 1) {
        return cli_fail(cli, EXIT_BAD_ARGS, "lease timetolive command needs lease ID as argument");
    }
    request.keys = flags_bool(&cli->flags, "keys");
    int code = cli_connect(cli);
    if (code == 0) {
        code = cli_parse_lease(cli, bad_lease, args->items[0], &request.id);
    }
    if (code != 0) {
        return code;
    }
    if (cli_call(cli->client, "/etcdserverpb.Lease/LeaseTimeToLive", &request.base,
                 &etcdserverpb__lease_time_to_live_response__descriptor, GRPC_NO_TIMEOUT,
                 RETRY_REPEATABLE, &answer, &error) != 0) {
        code = cli_fail(cli, EXIT_BAD_CONNECTION, "%s", error);
        free(error);
        return code;
    }
    code = PRINT(&cli->printer, lease_time_to_live,
                 (const Etcdserverpb__LeaseTimeToLiveResponse *)answer, request.keys);
    protobuf_c_message_free_unpacked(answer, NULL);
    return code;
}

static int run_list(cli_t *cli, const strings_t *args)
{
    (void)args;
    Etcdserverpb__LeaseLeasesRequest request = ETCDSERVERPB__LEASE_LEASES_REQUEST__INIT;
    ProtobufCMessage *answer = NULL;
    char *error = NULL;
    int code = cli_connect(cli);
    if (code != 0) {
        return code;
    }
    if (cli_call(cli->client, "/etcdserverpb.Lease/LeaseLeases", &request.base,
                 &etcdserverpb__lease_leases_response__descriptor, GRPC_NO_TIMEOUT,
                 RETRY_REPEATABLE, &answer, &error) != 0) {
        code = cli_fail(cli, EXIT_BAD_CONNECTION, "%s", error);
        free(error);
        return code;
    }
    code = PRINT(&cli->printer, leases, (const Etcdserverpb__LeaseLeasesResponse *)answer);
    protobuf_c_message_free_unpacked(answer, NULL);
    return code;
}

/* ---- keep-alive ---- */

/* clientv3's numbers. */
#define FIRST_DEADLINE_MS 5000
#define RECONNECT_MS      500

static const flag_def_t keep_alive_flags[] = {
    {"once", 0, FLAG_BOOL, "false", "renew once and exit"},
    {0},
};

typedef struct keep_alive {
    cli_t *cli;
    int64_t id;
    bool once;
    grpc_stream_t *stream; /* NULL: to be opened at next_ms */
    bool waiting;          /* for an answer */
    bool answered;         /* --once: there was an answer */
    bool gone;             /* the lease has expired or was revoked */
    bool failed;           /* --once: error is set */
    char *error;
    int code;            /* of printing */
    int64_t next_ms;     /* when to send, or to open the stream again */
    int64_t deadline_ms; /* without an answer until then the lease counts as expired */
} keep_alive_t;

static void on_renewed(void *arg, const uint8_t *message, size_t size)
{
    keep_alive_t *self = arg;
    Etcdserverpb__LeaseKeepAliveResponse *answer =
        etcdserverpb__lease_keep_alive_response__unpack(NULL, size, message);
    if (answer == NULL || answer->id != self->id) {
        if (answer != NULL) {
            etcdserverpb__lease_keep_alive_response__free_unpacked(answer, NULL);
        }
        return;
    }
    self->waiting = false;
    self->answered = true;
    self->gone = answer->ttl <= 0;
    if (!self->gone) {
        int64_t now = cli_now_ms();
        self->next_ms = now + answer->ttl * 1000 / 3;
        self->deadline_ms = now + answer->ttl * 1000;
        self->code = PRINT(&self->cli->printer, lease_keep_alive, answer);
    }
    etcdserverpb__lease_keep_alive_response__free_unpacked(answer, NULL);
}

static void on_keep_alive_done(void *arg, const grpc_status_t *status)
{
    keep_alive_t *self = arg;
    self->stream = NULL;
    self->waiting = false;
    self->next_ms = cli_now_ms() + RECONNECT_MS;
    bool passing = status->code == GRPC_UNAVAILABLE || status->code == GRPC_INTERNAL;
    if (self->once && !self->answered && !passing) {
        self->failed = true;
        self->error = cli_status_text(status);
    }
}

/* Sends a request when it is time; opens the stream before, when there is none. */
static void renew(keep_alive_t *self)
{
    int64_t now = cli_now_ms();
    if (self->waiting || now < self->next_ms) {
        return;
    }
    if (self->stream == NULL) {
        self->stream = grpc_client_start(
            self->cli->client, &(grpc_stream_cfg_t){.path = "/etcdserverpb.Lease/LeaseKeepAlive",
                                                    .timeout_ms = GRPC_NO_TIMEOUT,
                                                    .require_leader = !self->once,
                                                    .on_message = on_renewed,
                                                    .on_done = on_keep_alive_done,
                                                    .arg = self});
    }
    Etcdserverpb__LeaseKeepAliveRequest request = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    request.id = self->id;
    grpc_stream_send_message(self->stream, &request.base);
    self->waiting = true;
}

static void keep_until_gone(keep_alive_t *self)
{
    bool done = false;
    while (!done) {
        renew(self);
        int64_t now = cli_now_ms();
        int64_t wake =
            self->waiting || self->next_ms > self->deadline_ms ? self->deadline_ms : self->next_ms;
        if (self->once) { /* waits for as long as it takes */
            wake = self->waiting ? INT64_MAX : self->next_ms;
        }
        grpc_client_run(self->cli->client, wake == INT64_MAX ? -1 : wake > now ? wake - now : 0);
        bool late = !self->once && cli_now_ms() >= self->deadline_ms;
        done =
            self->gone || self->failed || self->code != 0 || late || (self->once && self->answered);
    }
    if (self->stream != NULL) {
        grpc_stream_cancel(self->stream);
        self->stream = NULL;
    }
}

static int run_keep_alive(cli_t *cli, const strings_t *args)
{
    if (args->n != 1) {
        return cli_fail(cli, EXIT_BAD_ARGS, "lease keep-alive command needs lease ID as argument");
    }
    keep_alive_t self = {.cli = cli, .once = flags_bool(&cli->flags, "once")};
    int code = cli_parse_lease(cli, bad_lease, args->items[0], &self.id);
    if (code == 0) {
        code = cli_connect(cli);
    }
    if (code != 0) {
        return code;
    }
    self.deadline_ms = cli_now_ms() + FIRST_DEADLINE_MS;
    keep_until_gone(&self);
    if (self.code != 0) {
        code = self.code;
    } else if (self.failed) {
        code = cli_fail(cli, EXIT_BAD_CONNECTION, "%s", self.error);
    } else if (self.once && self.gone) {
        code = cli_fail(cli, EXIT_BAD_CONNECTION, "etcdserver: requested lease not found");
    } else if (!self.once && cli->printer.ops == &printer_simple) {
        fprintf(cli->out, "lease %016llx expired or revoked.\n", (unsigned long long)self.id);
    }
    free(self.error);
    return code;
}

/* ---- the family ---- */

static const command_t lease_grant = {.name = "grant",
                                      .arguments = "<ttl>",
                                      .summary = "Creates a lease of so many seconds",
                                      .run = run_grant};
static const command_t lease_revoke = {.name = "revoke",
                                       .arguments = "<leaseID>",
                                       .summary =
                                           "Ends a lease and deletes the keys attached to it",
                                       .run = run_revoke};
static const command_t lease_time_to_live = {.name = "timetolive",
                                             .arguments = "<leaseID> [options]",
                                             .summary = "Shows how long a lease still has",
                                             .flags = time_to_live_flags,
                                             .run = run_time_to_live};
static const command_t lease_list = {
    .name = "list", .summary = "Lists the leases there are", .run = run_list};
static const command_t lease_keep_alive = {.name = "keep-alive",
                                           .arguments = "[options] <leaseID>",
                                           .summary = "Renews a lease until it is gone",
                                           .flags = keep_alive_flags,
                                           .run = run_keep_alive};

static const command_t *const lease_commands[] = {
    &lease_grant, &lease_keep_alive, &lease_list, &lease_revoke, &lease_time_to_live, NULL,
};

const command_t command_lease = {
    .name = "lease",
    .summary = "Leases: time limits that keys can be attached to",
    .group = GROUP_KV,
    .children = lease_commands,
};
