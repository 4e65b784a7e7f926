/* keygen: makes a pair of CURVE keys and writes it as two certificate files, as CZMQ's tools do: NAME for everybody,
 * NAME_secret for the owner. Asks no server. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include "cli/cli.h"
#include "cli/go_url.h"
#include "messages/curve_certificate.h"
#include "messages/xalloc.h"

static const flag_def_t keygen_flags[] = {
    {"name", 0, FLAG_STRING, "", "name of the owner in the certificate; the file's when not given"},
    {"peer-urls", 0, FLAG_STRING, "",
     "for a member: the peer URLs that it advertises, separated by commas"},
    {0},
};

/* ---- files ---- */

/* A new file and nothing but a new one: a key that is there is never lost. NULL, or why not, yours. */
static char *write_new(const char *path, mode_t mode, const buf_t *content)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0) {
        return xasprintf("%s: %s", path, strerror(errno));
    }
    size_t done = 0;
    bool failed = fchmod(fd, mode) != 0; /* whatever the umask is */
    while (!failed && done < content->len) {
        ssize_t n = write(fd, content->data + done, content->len - done);
        failed = n < 0 && errno != EINTR;
        done += n > 0 ? (size_t)n : 0;
    }
    failed = failed || fsync(fd) != 0;
    char *error = failed ? xasprintf("%s: %s", path, strerror(errno)) : NULL;
    if (close(fd) != 0 && !error) {
        error = xasprintf("%s: %s", path, strerror(errno));
    }
    if (error) {
        (void)unlink(path);
    }
    return error;
}

/* Both or none. */
static char *write_pair(const curve_certificate_t *pair, const char *path)
{
    buf_t open_text = {0};
    buf_t secret_text = {0};
    char *secret_path = xasprintf("%s_secret", path);
    buf_reserve(&secret_text, 4096); /* growing would leave copies of the key behind */
    curve_certificate_print(pair, false, &open_text);
    curve_certificate_print(pair, true, &secret_text);
    char *error = write_new(secret_path, 0600, &secret_text);
    if (!error) {
        error = write_new(path, 0644, &open_text);
        if (error) {
            (void)unlink(secret_path);
        }
    }
    explicit_bzero(secret_text.data, secret_text.capacity);
    buf_deinit(&secret_text);
    buf_deinit(&open_text);
    free(secret_path);
    return error;
}

/* ---- keys ---- */

static char *make_pair(curve_certificate_t *pair)
{
    char open_text[CURVE_KEY_TEXT + 1] = "";
    char secret_text[CURVE_KEY_TEXT + 1] = "";
    bool done = zmq_has("curve") && zmq_curve_keypair(open_text, secret_text) == 0 &&
                curve_key_decode(slice_str(open_text), pair->public_key) &&
                curve_key_decode(slice_str(secret_text), pair->secret_key);
    explicit_bzero(secret_text, sizeof secret_text);
    pair->has_secret = done;
    return done ? NULL : xstrdup("this machine's libzmq makes no CURVE keys");
}

/* ---- arguments ---- */

enum { TEXT_MAX = 1024 }; /* of a name or URLs: they stand in one line */

static char *check_urls(const char *urls)
{
    char *error = NULL;
    bool more = *urls != '\0';
    while (more && !error) {
        size_t len = strcspn(urls, ",");
        char *item = xasprintf("%.*s", (int)len, urls);
        error = go_check_url(item);
        more = urls[len] != '\0';
        urls += len + more;
        free(item);
    }
    return error;
}

static char *check(const char *name, const char *urls)
{
    if (!curve_value_is_writable(name) || !curve_value_is_writable(urls)) {
        return xstrdup("names and URLs in a certificate are visible ASCII without quotes");
    }
    if (strlen(name) > TEXT_MAX || strlen(urls) > TEXT_MAX) {
        return xasprintf("names and URLs in a certificate have at most %d characters", TEXT_MAX);
    }
    return check_urls(urls);
}

static int run_keygen(cli_t *cli, const strings_t *args)
{
    if (args->n != 1 || args->items[0][0] == '\0') {
        return cli_fail(cli, EXIT_BAD_ARGS, "keygen command needs 1 argument: the file to write");
    }
    const char *path = args->items[0];
    const char *slash = strrchr(path, '/');
    const char *name = flags_string(&cli->flags, "name");
    const char *urls = flags_string(&cli->flags, "peer-urls");
    curve_certificate_t pair = {.name = xstrdup(*name   ? name
                                                : slash ? slash + 1
                                                        : path),
                                .peer_urls = xstrdup(urls)};
    char *error = check(pair.name, pair.peer_urls);
    if (!error) {
        error = make_pair(&pair);
    }
    if (!error) {
        error = write_pair(&pair, path);
    }
    int code = EXIT_DONE;
    if (error) {
        code = cli_fail(cli, EXIT_ERROR, "%s", error);
    } else {
        char text[CURVE_KEY_TEXT + 1];
        curve_key_encode(pair.public_key, text);
        fprintf(cli->out,
                "public key %s\n%s: for whoever is to know it\n%s_secret: for its owner\n", text,
                path, path);
    }
    free(error);
    curve_certificate_deinit(&pair);
    return code;
}

const command_t command_keygen = {
    .name = "keygen",
    .arguments = "<file>",
    .summary = "Makes a pair of CURVE keys, for ZeroMQ connections",
    .text =
        "Writes <file>, the certificate with the public key, and <file>_secret, the one with the\n"
        "secret key, which only its owner may read. Files that are there are not overwritten.",
    .group = GROUP_UTILITY,
    .flags = keygen_flags,
    .run = run_keygen,
};
