#include "cli/native.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "messages/curve_certificate.h"
#include "messages/limits.h"
#include "messages/xalloc.h"

#define SECRET_FLAG "native-curve-secret-key"
#define SERVER_FLAG "native-curve-server-key"

const flag_def_t cli_native_flags[] = {
    {"native-endpoints", 0, FLAG_STRING, "127.0.0.1:2381",
     "request sockets of members (--listen-native-urls), separated by commas"},
    {SECRET_FLAG, 0, FLAG_STRING, "",
     "this client's CURVE certificate with the secret key (quoralctl keygen)"},
    {SERVER_FLAG, 0, FLAG_STRING, "",
     "the CURVE certificate with the public key of the members' native sockets"},
    {0},
};

/* ---- certificates ---- */

static char *read_open(int fd, buf_t *out, struct stat *stat)
{
    if (fd < 0 || fstat(fd, stat) != 0) {
        return xstrdup(strerror(errno));
    }
    if (!S_ISREG(stat->st_mode)) {
        return xstrdup("it is no regular file");
    }
    size_t room = LIMIT_CURVE_FILE_BYTES + 1; /* growing would leave copies of secrets behind */
    buf_reserve(out, room);
    ssize_t got = 0;
    do {
        got = read(fd, out->data + out->len, room - out->len);
        buf_advance(out, got > 0 ? (size_t)got : 0);
    } while (got > 0 && out->len < room);
    return got < 0 ? xstrdup(strerror(errno)) : NULL;
}

/* NULL = *out holds what the file says; else why not, yours. curve_certificate_deinit in any case. */
static char *read_certificate(const char *path, curve_certificate_t *out, struct stat *stat)
{
    buf_t content = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    char *error = read_open(fd, &content, stat);
    if (fd >= 0) {
        close(fd);
    }
    *out = (curve_certificate_t){0};
    if (!error) {
        error = curve_certificate_parse(buf_slice(&content), out);
    }
    if (content.data) {
        explicit_bzero(content.data, content.capacity);
    }
    buf_deinit(&content);
    return error;
}

/* ---- keys ---- */

/* As libquoral takes them. */
typedef struct {
    char server[CURVE_KEY_TEXT + 1];
    char public[CURVE_KEY_TEXT + 1];
    char secret[CURVE_KEY_TEXT + 1];
} keys_t;

static char *read_own(cli_t *cli, const char *path, keys_t *keys)
{
    curve_certificate_t own;
    struct stat stat = {0};
    char *error = read_certificate(path, &own, &stat);
    if (!error && !own.has_secret) {
        error = xstrdup("it holds no secret key");
    }
    if (!error) {
        curve_key_encode(own.public_key, keys->public);
        curve_key_encode(own.secret_key, keys->secret);
        if (stat.st_mode & 077) {
            fprintf(cli->err, "Warning: others than its owner may read or write %s\n", path);
        }
    }
    curve_certificate_deinit(&own);
    return error;
}

static char *read_server(const char *path, keys_t *keys)
{
    curve_certificate_t server;
    struct stat stat = {0};
    char *error = read_certificate(path, &server, &stat);
    if (!error && server.has_secret) {
        error = xstrdup("it holds a secret key, which does not belong here");
    }
    if (!error) {
        curve_key_encode(server.public_key, keys->server);
    }
    curve_certificate_deinit(&server);
    return error;
}

/* 0 or an exit code; without flags for it the keys stay empty. */
static int read_keys(cli_t *cli, keys_t *keys)
{
    const char *secret = flags_string(&cli->flags, SECRET_FLAG);
    const char *server = flags_string(&cli->flags, SERVER_FLAG);
    if (!secret[0] != !server[0]) {
        return cli_fail(cli, EXIT_BAD_ARGS,
                        "--" SECRET_FLAG " and --" SERVER_FLAG " must be given together");
    }
    if (!secret[0]) {
        return EXIT_DONE;
    }
    const char *flag = SECRET_FLAG;
    const char *path = secret;
    char *error = read_own(cli, secret, keys);
    if (!error) {
        flag = SERVER_FLAG;
        path = server;
        error = read_server(server, keys);
    }
    int code = error ? cli_fail(cli, EXIT_BAD_ARGS, "--%s: %s: %s", flag, path, error) : EXIT_DONE;
    free(error);
    return code;
}

/* ---- the client ---- */

static void on_log(void *arg, const char *line)
{
    const cli_t *cli = arg;
    fprintf(cli->err, "%s\n", line);
}

quoral_client_t *native_connect(cli_t *cli, native_talk_t talk, int *code_p)
{
    keys_t keys = {0};
    *code_p = cli_configure(cli);
    if (*code_p == EXIT_DONE) {
        *code_p = read_keys(cli, &keys);
    }
    if (*code_p != EXIT_DONE) {
        return NULL;
    }
    bool tells = talk == NATIVE_TELLS || flags_bool(&cli->flags, "debug");
    int64_t timeout_ms = cli_command_timeout_ms(cli);
    quoral_client_options_t options = {.endpoints = flags_string(&cli->flags, "native-endpoints"),
                                       .timeout_ms = timeout_ms > 0 ? (uint32_t)timeout_ms : 0,
                                       .server_key = keys.server[0] ? keys.server : NULL,
                                       .public_key = keys.public[0] ? keys.public : NULL,
                                       .secret_key = keys.secret[0] ? keys.secret : NULL,
                                       .on_log = tells ? on_log : NULL,
                                       .log_arg = cli};
    char *error = NULL;
    quoral_client_t *client = quoral_client_new(&options, &error);
    explicit_bzero(&keys, sizeof keys);
    if (!client) {
        *code_p = cli_fail(cli, EXIT_BAD_ARGS, "%s", error);
        free(error);
    }
    return client;
}
