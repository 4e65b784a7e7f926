/* service run: a program, started and registered, until one of them ends. One loop that waits for signals; the health
 * command is run between them, never from a callback. */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/native.h"
#include "cli/service.h"

enum { MS_PER_S = 1000, NS_PER_MS = 1000000, SIGNALLED = 128, NOT_FOUND = 127 };

const flag_def_t service_run_flags[] = {
    {"name", 0, FLAG_STRING, "", "the service"},
    {"addr", 0, FLAG_STRING, "", "where this instance is reached"},
    {"instance", 0, FLAG_STRING, "", "name of the instance; a random one when not given"},
    {"weight", 0, FLAG_INT, "1", "share of the work, 0 to 1000000"},
    {"metadata", 0, FLAG_STRINGS, "", "NAME=VALUE, for whoever chooses"},
    {"ttl", 0, FLAG_INT, "10",
     "seconds after which an instance is gone that does not say anything"},
    {"health", 0, FLAG_STRING, "",
     "command for the shell; registered and chosen while it ends with 0"},
    {"health-interval", 0, FLAG_DURATION, "1s",
     "between two health checks; one that takes longer has failed"},
    {"drain", 0, FLAG_DURATION, "10s",
     "how long to drain unless all subscribers that announce themselves know"},
    {0},
};

typedef struct {
    cli_t *cli;
    quoral_client_t *client;
    quoral_service_t *service;
    atomic_bool is_healthy;
    atomic_int state;
    pid_t program; /* 0: there is none, or not any more */
    int exit_code;
    pid_t health; /* a check that runs */
    int64_t health_ms;
    int64_t health_due_ms;
    int64_t drain_ms;
    int end_signal; /* to be passed on; 0: nobody has said so */
    bool is_told;   /* the program has got it */
    sigset_t old_mask;
} runner_t;

/* ---- processes ---- */

/* The child's part: what the parent blocks is its own business. */
static void exec_child(const runner_t *self, char *const *argv)
{
    sigprocmask(SIG_SETMASK, &self->old_mask, NULL);
    execvp(argv[0], argv);
    fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
    _exit(NOT_FOUND);
}

/* -1: errno says why. A program is a group of its own only if `own_group`, so that a check can be ended with its
 * children. */
static pid_t start(const runner_t *self, char *const *argv, bool own_group)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (own_group) {
            (void)setpgid(0, 0);
        }
        exec_child(self, argv);
    }
    if (pid > 0 && own_group) {
        (void)setpgid(pid, pid);
    }
    return pid;
}

static int code_of(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : SIGNALLED + WTERMSIG(status);
}

static void reap(runner_t *self)
{
    int status = 0;
    if (self->program > 0 && waitpid(self->program, &status, WNOHANG) == self->program) {
        self->program = 0;
        self->exit_code = code_of(status);
    }
    if (self->health > 0 && waitpid(self->health, &status, WNOHANG) == self->health) {
        self->health = 0;
        self->is_healthy = code_of(status) == 0;
    }
}

/* Starts the next check, or ends one that takes too long. */
static void check_health(runner_t *self, int64_t now_ms)
{
    const char *command = flags_string(&self->cli->flags, "health");
    if (!command[0] || now_ms < self->health_due_ms) {
        return;
    }
    self->health_due_ms = now_ms + self->health_ms;
    if (self->health > 0) {
        self->is_healthy = false;
        kill(-self->health, SIGKILL);
        return;
    }
    char shell[] = "/bin/sh";
    char option[] = "-c";
    char *argv[] = {shell, option, (char *)(uintptr_t)command, NULL};
    self->health = start(self, argv, true);
    if (self->health < 0) {
        self->health = 0;
        self->is_healthy = false;
    }
}

/* ---- the service ---- */

static bool is_ready(void *arg)
{
    return ((runner_t *)arg)->is_healthy;
}

static void on_state(void *arg, quoral_service_t *service, quoral_service_state_t state)
{
    static const char *const names[] = {"waiting",  "pending", "registered", "taken",
                                        "draining", "leaving", "gone"};
    runner_t *self = arg;
    fprintf(self->cli->err, "%s %s\n", quoral_service_instance(service), names[state]);
    self->state = (int)state;
    kill(getpid(), SIGCHLD); /* the loop looks */
}

/* NULL: the metadata cannot be used. */
static quoral_metadata_t *split_metadata(const strings_t *texts)
{
    quoral_metadata_t *metadata = calloc(texts->n + 1, sizeof *metadata);
    for (size_t i = 0; metadata && i < texts->n; i++) {
        char *equals = strchr(texts->items[i], '=');
        if (!equals) {
            free(metadata);
            return NULL;
        }
        *equals = '\0'; /* the flag's own copy */
        metadata[i] = (quoral_metadata_t){texts->items[i], equals + 1};
    }
    return metadata;
}

static int make_service(runner_t *self)
{
    const flags_t *flags = &self->cli->flags;
    const strings_t *texts = flags_strings(flags, "metadata");
    quoral_metadata_t *metadata = split_metadata(texts);
    int64_t weight = flags_int(flags, "weight");
    int64_t ttl_s = flags_int(flags, "ttl");
    if (!metadata || weight < 0 || weight > 1000000 || ttl_s < 1) {
        free(metadata);
        return cli_fail(self->cli, EXIT_BAD_ARGS,
                        "--metadata is NAME=VALUE, --weight 0 to 1000000, --ttl at least 1");
    }
    const char *instance = flags_string(flags, "instance");
    quoral_service_options_t options = {.name = flags_string(flags, "name"),
                                        .instance = instance[0] ? instance : NULL,
                                        .address = flags_string(flags, "addr"),
                                        .metadata = metadata,
                                        .metadata_n = texts->n,
                                        .weight = weight > 0 ? (int)weight : -1,
                                        .ttl_s = ttl_s,
                                        .is_ready = is_ready,
                                        .health_ms = 100,
                                        /* 0 would be the library's default */
                                        .drain_ms =
                                            self->drain_ms > 0 ? (uint32_t)self->drain_ms : 1,
                                        .on_state = on_state,
                                        .arg = self};
    self->service = quoral_service_new(self->client, &options);
    free(metadata);
    return self->service ? EXIT_DONE
                         : cli_fail(self->cli, EXIT_BAD_ARGS,
                                    "these flags make no service (too much metadata?)");
}

/* ---- the loop ---- */

static void on_signal(runner_t *self, int number)
{
    if (number != SIGTERM && number != SIGINT) {
        return;
    }
    if (self->end_signal && self->program > 0) {
        kill(self->program, number); /* a second one does not wait */
        self->is_told = true;
    }
    if (!self->end_signal) {
        self->end_signal = number;
        quoral_service_drain(self->service, (uint32_t)self->drain_ms);
    }
}

/* When nobody chooses it any more, the program may end. */
static void pass_on(runner_t *self)
{
    if (self->state == QUORAL_SERVICE_GONE && self->program > 0 && !self->is_told) {
        self->is_told = true;
        kill(self->program, self->end_signal ? self->end_signal : SIGTERM);
    }
}

static bool is_over(const runner_t *self, bool has_program)
{
    return has_program ? self->program == 0 : self->state == QUORAL_SERVICE_GONE;
}

static void loop(runner_t *self, const sigset_t *signals, bool has_program)
{
    while (!is_over(self, has_program)) {
        int64_t now_ms = cli_now_ms();
        check_health(self, now_ms);
        int64_t wait_ms = self->health_due_ms - now_ms;
        wait_ms = wait_ms < 1 || wait_ms > MS_PER_S ? MS_PER_S : wait_ms;
        struct timespec wait = {.tv_sec = (time_t)(wait_ms / MS_PER_S),
                                .tv_nsec = (long)(wait_ms % MS_PER_S * NS_PER_MS)};
        int number = sigtimedwait(signals, NULL, &wait);
        on_signal(self, number);
        reap(self);
        pass_on(self);
    }
}

static int run_all(runner_t *self, const strings_t *args, const sigset_t *signals)
{
    int code = make_service(self);
    if (code != EXIT_DONE) {
        return code;
    }
    if (args->n > 0) {
        char **argv = calloc(args->n + 1, sizeof *argv);
        memcpy(argv, args->items, args->n * sizeof *argv);
        self->program = start(self, argv, false);
        free(argv);
        if (self->program < 0) {
            quoral_service_destroy(&self->service);
            return cli_fail(self->cli, EXIT_ERROR, "cannot start %s: %s", args->items[0],
                            strerror(errno));
        }
    }
    self->is_healthy = !flags_string(&self->cli->flags, "health")[0];
    loop(self, signals, args->n > 0);
    if (self->health > 0) {
        kill(-self->health, SIGKILL);
        (void)waitpid(self->health, NULL, 0);
    }
    quoral_service_destroy(&self->service);
    return self->exit_code;
}

int service_run(cli_t *cli, const strings_t *args)
{
    runner_t self = {.cli = cli,
                     .health_ms = flags_duration_ns(&cli->flags, "health-interval") / NS_PER_MS,
                     .drain_ms = flags_duration_ns(&cli->flags, "drain") / NS_PER_MS};
    bool is_run = strcmp(cli->command, "run") == 0;
    if (is_run == (args->n == 0)) {
        return cli_fail(cli, EXIT_BAD_ARGS, "service %s command needs %s", cli->command,
                        is_run ? "a program" : "no arguments");
    }
    int code = service_check_name(cli, "--name", flags_string(&cli->flags, "name"));
    const char *instance = flags_string(&cli->flags, "instance");
    if (code == EXIT_DONE && instance[0]) {
        code = service_check_name(cli, "--instance", instance);
    }
    if (code == EXIT_DONE && !flags_string(&cli->flags, "addr")[0]) {
        code = cli_fail(cli, EXIT_BAD_ARGS, "service %s command needs --addr", cli->command);
    }
    if (code == EXIT_DONE &&
        (self.health_ms < 1 || self.drain_ms < 0 || self.drain_ms > INT32_MAX)) {
        code =
            cli_fail(cli, EXIT_BAD_ARGS, "--health-interval is at least 1ms, --drain 0 to 24 days");
    }
    if (code != EXIT_DONE) {
        return code;
    }
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &signals, &self.old_mask); /* before there is a thread */
    self.client = native_connect(cli, NATIVE_TELLS, &code);
    if (self.client) {
        code = run_all(&self, args, &signals);
    }
    quoral_client_destroy(&self.client);
    return code;
}
