#include "cli/cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/environment.h"
#include "cli/go_format.h"
#include "cli/native.h"
#include "messages/errors.h"
#include "messages/xalloc.h"

/* clientv3's numbers. Calls go to the endpoints in turn, so one that is repeated gets another. */
#define RETRIES_MAX    100
#define RETRY_PAUSE_MS 25

#define SEND_BYTES_DEFAULT (2 << 20)
#define RECV_BYTES_DEFAULT INT32_MAX

const flag_def_t cli_global_flags[] = {
    {"auth-jwt-token", 0, FLAG_STRING, "", "JWT for authentication (not supported yet)"},
    {"cacert", 0, FLAG_STRING, "", "CA bundle to verify servers with (not supported yet)"},
    {"cert", 0, FLAG_STRING, "", "client certificate file (not supported yet)"},
    {"command-timeout", 0, FLAG_DURATION, "5s", "how long a short command may take"},
    {"debug", 0, FLAG_BOOL, "false", "show the settings in use on stderr"},
    {"dial-timeout", 0, FLAG_DURATION, "2s", "how long connecting to one endpoint may take"},
    {"discovery-srv", 'd', FLAG_STRING, "",
     "domain with SRV records of endpoints (not supported yet)"},
    {"discovery-srv-name", 0, FLAG_STRING, "", "service name in SRV records (not supported yet)"},
    {"endpoints", 0, FLAG_STRINGS, "127.0.0.1:2379", "servers, separated by commas"},
    {"hex", 0, FLAG_BOOL, "false", "show keys and values as hexadecimal bytes"},
    {"insecure-discovery", 0, FLAG_BOOL, "true", "accept SRV records of plain-text endpoints"},
    {"insecure-skip-tls-verify", 0, FLAG_BOOL, "false",
     "do not verify servers (not supported yet)"},
    {"insecure-transport", 0, FLAG_BOOL, "true", "talk plain text (the only choice for now)"},
    {"keepalive-time", 0, FLAG_DURATION, "2s",
     "silence after which a server is pinged (at least 10s)"},
    {"keepalive-timeout", 0, FLAG_DURATION, "6s", "how long a ping may stay unanswered"},
    {"key", 0, FLAG_STRING, "", "client key file (not supported yet)"},
    {"max-recv-bytes", 0, FLAG_INT, "0", "largest answer accepted, in bytes (0: 2^31-1)"},
    {"max-request-bytes", 0, FLAG_INT, "0", "largest request sent, in bytes (0: 2 MiB)"},
    {"password", 0, FLAG_STRING, "", "password of --user (not supported yet)"},
    {"user", 0, FLAG_STRING, "", "name[:password] (not supported yet)"},
    {"write-out", 'w', FLAG_STRING, "simple", "output: fields, json, protobuf, simple or table"},
    {0},
};

int cli_fail(cli_t *self, int code, const char *format, ...)
{
    fflush(self->out);
    fputs("Error: ", self->err);
    va_list args;
    va_start(args, format);
    vfprintf(self->err, format, args);
    va_end(args);
    fputc('\n', self->err);
    return code;
}

/* ---- global flags ---- */

/* Flags of features that are not there yet must not look as if they had worked. */
static int refuse_missing_features(cli_t *self)
{
    static const struct {
        const char *flag;
        const char *feature;
    } missing[] = {
        {"cert", "TLS"},
        {"key", "TLS"},
        {"cacert", "TLS"},
        {"user", "authentication"},
        {"password", "authentication"},
        {"auth-jwt-token", "authentication"},
        {"discovery-srv", "DNS discovery"},
        {"discovery-srv-name", "DNS discovery"},
    };
    for (size_t i = 0; i < sizeof missing / sizeof missing[0]; i++) {
        const char *flag = missing[i].flag;
        bool empty = flags_string(&self->flags, flag)[0] == 0;
        if (empty && flags_changed(&self->flags, flag) && strcmp(missing[i].feature, "TLS") == 0) {
            return cli_fail(self, EXIT_BAD_ARGS, "empty string is passed to --%s option", flag);
        }
        if (!empty) {
            return cli_fail(self, EXIT_BAD_FEATURE, "--%s: %s is not supported yet", flag,
                            missing[i].feature);
        }
    }
    if (!flags_bool(&self->flags, "insecure-transport")) {
        return cli_fail(self, EXIT_BAD_FEATURE,
                        "--insecure-transport=false: TLS is not supported yet");
    }
    if (flags_bool(&self->flags, "insecure-skip-tls-verify")) {
        return cli_fail(self, EXIT_BAD_FEATURE,
                        "--insecure-skip-tls-verify: TLS is not supported yet");
    }
    return 0;
}

static void print_setting(const flag_t *flag, FILE *out)
{
    char text[GO_TEXT_BYTES];
    switch (flag->def->kind) {
    case FLAG_BOOL: fputs(flag->yes ? "true" : "false", out); break;
    case FLAG_INT: fprintf(out, "%lld", (long long)flag->number); break;
    case FLAG_STRING: fputs(flag->text, out); break;
    case FLAG_DURATION:
        go_format_duration(flag->number, text);
        fputs(text, out);
        break;
    case FLAG_STRINGS:
        fputc('[', out);
        for (size_t i = 0; i < flag->strings.n; i++) {
            fprintf(out, "%s%s", i > 0 ? "," : "", flag->strings.items[i]);
        }
        fputc(']', out);
        break;
    }
}

static void print_settings(cli_t *self)
{
    for (size_t i = 0; cli_global_flags[i].name != NULL; i++) {
        const char *name = cli_global_flags[i].name;
        char *variable = environment_name("ETCDCTL_", name);
        fprintf(self->err, "%s=", variable);
        print_setting(flags_find(&self->flags, name, strlen(name)), self->err);
        fputc('\n', self->err);
        free(variable);
    }
}

int cli_configure(cli_t *self)
{
    static const flag_def_t *const tables[] = {cli_global_flags, cli_native_flags, NULL};
    char *error = environment_apply(&self->flags, tables, self->env,
                                    strcmp(self->command, "watch") == 0, self->err);
    if (error != NULL) {
        int code = cli_fail(self, EXIT_ERROR, "%s", error);
        free(error);
        return code;
    }
    if (flags_bool(&self->flags, "debug")) {
        print_settings(self);
    }
    int code = refuse_missing_features(self);
    if (code != 0) {
        return code;
    }
    if (!printer_init(&self->printer, flags_string(&self->flags, "write-out"),
                      flags_bool(&self->flags, "hex"), self->out, self->err)) {
        return cli_fail(self, EXIT_BAD_FEATURE, "unsupported output format");
    }
    return 0;
}

/* ---- clients ---- */

static int64_t duration_ms(const cli_t *self, const char *name)
{
    int64_t ms = flags_duration_ns(&self->flags, name) / 1000000;
    return ms < 0 ? 0 : ms;
}

int64_t cli_command_timeout_ms(const cli_t *self)
{
    return duration_ms(self, "command-timeout");
}

char *cli_trimmed(const char *text)
{
    text += strspn(text, " \t\r\n");
    size_t size = strlen(text);
    while (size > 0 && strchr(" \t\r\n", text[size - 1]) != NULL) {
        size--;
    }
    char *copy = xmemdup(text, size + 1);
    copy[size] = 0;
    return copy;
}

grpc_client_t *cli_new_client(cli_t *self, char *const *endpoints, size_t n, int *code_p)
{
    int64_t send_max = flags_int(&self->flags, "max-request-bytes");
    int64_t recv_max = flags_int(&self->flags, "max-recv-bytes");
    *code_p = 0;
    if (recv_max > 0 && send_max > recv_max) {
        *code_p = cli_fail(self, EXIT_BAD_CONNECTION,
                           "gRPC message recv limit (%lld bytes) must be greater than send limit "
                           "(%lld bytes)",
                           (long long)recv_max, (long long)send_max);
        return NULL;
    }
    strings_t list = {0};
    for (size_t i = 0; i < n; i++) {
        char *endpoint = cli_trimmed(endpoints[i]);
        strings_add(&list, endpoint);
        free(endpoint);
    }
    grpc_client_cfg_t cfg = {
        .endpoints = (const char *const *)list.items,
        .endpoints_n = list.n,
        .dial_timeout_ms = duration_ms(self, "dial-timeout"),
        .keepalive_time_ms = duration_ms(self, "keepalive-time"),
        .keepalive_timeout_ms = duration_ms(self, "keepalive-timeout"),
        .send_bytes_max = send_max > 0 ? (size_t)send_max : SEND_BYTES_DEFAULT,
        .recv_bytes_max = recv_max > 0 ? (size_t)recv_max : RECV_BYTES_DEFAULT,
    };
    char *error = NULL;
    grpc_client_t *client = grpc_client_new(&cfg, &error);
    strings_deinit(&list);
    if (client == NULL) {
        *code_p = cli_fail(self, EXIT_BAD_CONNECTION, "%s", error);
        free(error);
    }
    return client;
}

int cli_connect(cli_t *self)
{
    int code = cli_configure(self);
    if (code != 0) {
        return code;
    }
    const strings_t *endpoints = flags_strings(&self->flags, "endpoints");
    self->client = cli_new_client(self, endpoints->items, endpoints->n, &code);
    return code;
}

/* ---- calls ---- */

bool cli_known_error(const char *text)
{
    for (int i = 0; i < API_ERRORS_COUNT; i++) {
        const char *known = api_error_text((api_error_t)i);
        if (strcmp(known, text) == 0 && strncmp(known, "etcdserver: ", 12) == 0) {
            return true;
        }
    }
    return false;
}

bool cli_is_error(const grpc_status_t *status, api_error_t error)
{
    return strcmp(status->message, api_error_text(error)) == 0;
}

char *cli_status_text(const grpc_status_t *status)
{
    char name[GRPC_CODE_NAME_BYTES];
    if (cli_known_error(status->message)) {
        return xstrdup(status->message);
    }
    if (status->code == GRPC_DEADLINE_EXCEEDED) {
        return xstrdup("context deadline exceeded");
    }
    return xasprintf("rpc error: code = %s desc = %s", grpc_code_name(status->code, name),
                     status->message);
}

int64_t cli_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Whether the next server may be asked. */
static bool may_repeat(const grpc_client_t *client, const grpc_status_t *status, retry_t retry)
{
    bool learner = cli_is_error(status, API_NOT_SUPPORTED_FOR_LEARNER);
    return status->unprocessed || (learner && grpc_client_endpoints(client) > 1) ||
           (retry == RETRY_REPEATABLE && status->code == GRPC_UNAVAILABLE);
}

/* clientv3 pauses each time it has asked a quorum of the endpoints. */
static void pause_before(int attempt, const grpc_client_t *client)
{
    int quorum = (int)grpc_client_endpoints(client) / 2 + 1;
    struct timespec t = {.tv_nsec = RETRY_PAUSE_MS * 1000000L};
    if (attempt > 0 && attempt % quorum == 0) {
        nanosleep(&t, NULL);
    }
}

int cli_call(grpc_client_t *client, const char *path, const ProtobufCMessage *request,
             const ProtobufCMessageDescriptor *answer_type, int64_t timeout_ms, retry_t retry,
             ProtobufCMessage **answer_p, char **error_p)
{
    int64_t deadline = cli_now_ms() + timeout_ms;
    grpc_status_t status = {0};
    for (int attempt = 0; attempt < RETRIES_MAX; attempt++) {
        pause_before(attempt, client);
        int64_t left = timeout_ms < 0 ? GRPC_NO_TIMEOUT : deadline - cli_now_ms();
        grpc_status_deinit(&status);
        if (grpc_client_call(client, path, request, answer_type,
                             timeout_ms >= 0 && left < 0 ? 0 : left, answer_p, &status) == 0) {
            return 0;
        }
        if (!may_repeat(client, &status, retry)) {
            break;
        }
    }
    *error_p = cli_status_text(&status);
    grpc_status_deinit(&status);
    return 1;
}

/* ---- arguments that several commands share ---- */

int cli_parse_lease(cli_t *self, const char *what, const char *text, int64_t *id_p)
{
    const char *reason = go_parse_int(text, 16, id_p);
    if (reason == NULL) {
        return 0;
    }
    char *quoted = go_quoted(text, strlen(text));
    int code =
        cli_fail(self, EXIT_BAD_ARGS, "%s (strconv.ParseInt: parsing %s: %s), expecting ID in Hex",
                 what, quoted, reason);
    free(quoted);
    return code;
}

int cli_parse_consistency(cli_t *self, const char *text, bool *serializable_p)
{
    *serializable_p = strcmp(text, "s") == 0;
    if (*serializable_p || strcmp(text, "l") == 0) {
        return 0;
    }
    char *quoted = go_quoted(text, strlen(text));
    int code = cli_fail(self, EXIT_BAD_FEATURE, "unknown consistency flag %s", quoted);
    free(quoted);
    return code;
}

/* ---- the program ---- */

static int run_command(cli_t *self, const command_path_t *path, const strings_t *rest)
{
    const command_t *command = command_last(path);
    strings_t args = {0};
    char *error = NULL;
    int code = EXIT_DONE;
    command_flags(path, cli_global_flags, &self->flags);
    int rc = flags_parse(&self->flags, rest->items, rest->n, &args, &error);
    if (rc == FLAGS_ERROR) {
        code = cli_fail(self, EXIT_ERROR, "%s", error);
        command_print_usage(path, self->err);
        free(error);
    } else if (rc == FLAGS_HELP || command->run == NULL) {
        command_print_help(path, self->out);
    } else {
        self->command = command->name;
        code = command->run(self, &args);
    }
    strings_deinit(&args);
    return code;
}

int cli_run(char *const *argv, size_t argc, char *const *env, FILE *in, FILE *out, FILE *err)
{
    cli_t self = {.in = in, .out = out, .err = err, .argv = argv, .argc = argc, .env = env};
    command_path_t path;
    strings_t rest = {0};
    char *error = NULL;
    size_t skip = argc > 0 ? 1 : 0;
    int code = EXIT_ERROR;
    if (command_find(&command_root, cli_global_flags, argv + skip, argc - skip, &path, &rest,
                     &error) == 0) {
        code = run_command(&self, &path, &rest);
    } else {
        fprintf(err, "Error: %s\nRun '%s --help' for usage.\n", error, command_root.name);
        free(error);
    }
    grpc_client_destroy(&self.client);
    flags_deinit(&self.flags);
    strings_deinit(&rest);
    /* Output that could not be written is a failure, even if everything else went well. */
    if (fflush(out) != 0 && code == EXIT_DONE) {
        code = EXIT_ERROR;
    }
    return code;
}
