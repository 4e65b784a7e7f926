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
#include "messages/limits.h"

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

static int serve(const options_t *options, log_t *log)
{
    int signals = take_over_signals();
    /* Before the first socket. Native clients have one of their own. */
    bool is_native = options->listen_native.count || options->listen_publish.count;
    zsys_set_io_threads(LIMIT_PEER_IO_THREADS + is_native);
    raise_descriptor_limit();
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
