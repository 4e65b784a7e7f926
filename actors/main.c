/* quorald: the server. Options, signals, and nothing else: node.c puts the member together. */
#include <czmq.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "actors/daemon/options_shell.h"
#include "actors/node.h"
#include "actors/wiring.h"
#include "messages/json.h"
#include "messages/limits.h"
#include "messages/version.h"

extern char **environ;

/* Signals are read by main alone. They are blocked before the first thread starts, and CZMQ's own
 * handler is off: with it, polling actors would end by themselves, in any order. */
static int take_over_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN); /* a client that is gone is an error of write() */
    zsys_handler_set(NULL);
    return signalfd(-1, &signals, SFD_CLOEXEC);
}

static const char *wait_for_signal(int fd)
{
    struct signalfd_siginfo info;
    while (read(fd, &info, sizeof info) != sizeof info) {
        if (errno != EINTR) {
            return "unknown";
        }
    }
    return info.ssi_signo == SIGINT ? "interrupt" : "terminated";
}

/* Client connections need descriptors; the hard limit is ours to use. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void add_field(buf_t *fields, const char *name, const char *value)
{
    buf_append(fields, ",", fields->len > 0);
    buf_json_string(fields, slice_str(name));
    buf_append(fields, ":", 1);
    buf_json_string(fields, slice_str(value));
}

/* Which node this is and where it listens, from whatever source: the URLs under their flags' names. */
static void say_what_starts(const options_t *options, log_t *log)
{
    const struct {
        const char *flag;
        const urls_t *urls;
    } lists[] = {
        {"listen-client-urls", &options->listen_client},
        {"listen-peer-urls", &options->listen_peer},
        {"listen-native-urls", &options->listen_native},
        {"listen-publish-urls", &options->listen_publish},
    };
    buf_t fields = {0};
    add_field(&fields, "version", QUORAL_VERSION);
    add_field(&fields, "name", options->name);
    add_field(&fields, "data-dir", options->data_dir);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        if (lists[i].urls->count > 0) {
            char *text = urls_text(lists[i].urls);
            add_field(&fields, lists[i].flag, text);
            free(text);
        }
    }
    buf_append(&fields, "", 1);
    log_write(log, LEVEL_INFO, LOG_HERE, "starting", (const char *)fields.data);
    buf_deinit(&fields);
}

static int serve(const options_t *options, log_t *log)
{
    int signals = take_over_signals();
    /* Before the first socket. Native clients have one of their own. */
    bool is_native = options->listen_native.count || options->listen_publish.count;
    zsys_set_io_threads(LIMIT_PEER_IO_THREADS + is_native);
    raise_descriptor_limit();
    say_what_starts(options, log);
    node_t *node = NULL;
    char *error = node_start(options, log, &node);
    if (error) {
        log_write(log, LEVEL_FATAL, LOG_HERE, error, "");
        free(error);
        close(signals);
        return 1;
    }
    const char *name = wait_for_signal(signals);
    log_writef(log, LEVEL_INFO, LOG_HERE, "received signal; shutting down", "\"signal\":\"%s\"",
               name);
    node_stop(&node);
    log_write(log, LEVEL_INFO, LOG_HERE, "stopped", "");
    close(signals);
    zsys_shutdown();
    return 0;
}

int main(int argc, char **argv)
{
    options_t options = {0};
    log_t *log = NULL;
    int code = options_load(argc, argv, environ, &options, &log);
    if (code < 0 && options.action == OPTIONS_PRINT_WIRING) {
        wiring_print(stdout);
        code = 0;
    } else if (code < 0) {
        code = serve(&options, log);
    }
    log_close(&log);
    options_deinit(&options);
    return code;
}
