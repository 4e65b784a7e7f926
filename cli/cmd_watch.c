/* watch: prints changes as they happen, or runs a command for each; -i reads watches line by line. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/environment.h"
#include "cli/exec.h"
#include "cli/kv_requests.h"
#include "cli/watch_feed.h"
#include "cli/words.h"
#include "messages/xalloc.h"

static const char bad_number[] = "bad number of arguments";
static const char bad_conflict[] = "bad number of arguments (found conflicting environment key)";
static const char bad_separator[] = "bad number of arguments (found separator --, but no commands)";

static const flag_def_t watch_flags[] = {
    {"interactive", 'i', FLAG_BOOL, "false", "read watches and \"progress\" line by line"},
    {"prefix", 0, FLAG_BOOL, "false", "all keys that begin with the given one"},
    {"rev", 0, FLAG_INT, "0", "begin with the changes of this revision"},
    {"prev-kv", 0, FLAG_BOOL, "false", "print what a key was before the change, too"},
    {"progress-notify", 0, FLAG_BOOL, "false", "print progress when nothing has changed for long"},
    {0},
};

/* One watch as it was asked for. */
typedef struct watch_words {
    strings_t keys; /* key [range_end] */
    strings_t exec; /* the command after "--" */
} watch_words_t;

static void watch_words_deinit(watch_words_t *self)
{
    strings_deinit(&self->keys);
    strings_deinit(&self->exec);
}

/* Splits what the flags left over: the last words are the command after "--" (`exec_n` of them), the
 * others are keys, which may come from the environment instead. NULL, or the error. */
static const char *split_words(const strings_t *args, bool separator, size_t exec_n,
                               char *const *env, watch_words_t *words)
{
    const char *key = environment_value(env, "WATCH_KEY");
    const char *range_end = environment_value(env, "WATCH_RANGE_END");
    if (separator && exec_n == 0) {
        return bad_separator;
    }
    size_t keys_n = args->n > exec_n ? args->n - exec_n : 0;
    if (key[0] != 0 && keys_n > 0) {
        return bad_conflict;
    }
    if (key[0] != 0) {
        strings_add(&words->keys, key);
        if (range_end[0] != 0) {
            strings_add(&words->keys, range_end);
        }
    }
    for (size_t i = 0; i < args->n; i++) {
        strings_add(i < keys_n ? &words->keys : &words->exec, args->items[i]);
    }
    return NULL;
}

/* ---- what is printed ---- */

typedef struct watch_run {
    cli_t *cli;
    watch_feed_t *stream;
    int code; /* not 0: stop */
} watch_run_t;

/* The arg of a watcher. */
typedef struct watch_output {
    struct watch_output *next;
    watch_run_t *run;
    strings_t exec;
} watch_output_t;

static bool is_progress(const watch_view_t *view)
{
    return view->events_n == 0 && !view->canceled && view->compact_revision == 0 &&
           view->header != NULL && view->header->revision != 0;
}

static void on_view(void *arg, const watch_view_t *view, const char *error)
{
    watch_output_t *output = arg;
    watch_run_t *run = output->run;
    cli_t *cli = run->cli;
    if (run->code != 0) {
        return;
    }
    if (error != NULL) {
        fprintf(cli->err, "watch was canceled (%s)\n", error);
    }
    if (is_progress(view)) {
        fprintf(cli->out, "progress notify: %lld\n", (long long)view->header->revision);
    }
    run->code = PRINT(&cli->printer, watch, view);
    int64_t revision = view->header != NULL ? view->header->revision : 0;
    for (size_t i = 0; i < view->events_n && output->exec.n > 0 && run->code == 0; i++) {
        if (exec_event(&output->exec, revision, view->events[i], cli->env, cli->err) != 0) {
            run->code = EXIT_ERROR;
        }
    }
}

/* NULL, or why there can be no such watch. */
static const char *start_watch(watch_run_t *run, const flags_t *flags, watch_words_t *words,
                               watch_output_t **outputs, watcher_t **watcher_p)
{
    bool prefix = flags_bool(flags, "prefix");
    if (words->keys.n < 1) {
        return bad_number;
    }
    if (words->keys.n == 2 && prefix) {
        return "`range_end` and `--prefix` are mutually exclusive";
    }
    const char *key = words->keys.items[0];
    watcher_cfg_t cfg = {
        .revision = flags_int(flags, "rev"),
        .prev_kv = flags_bool(flags, "prev-kv"),
        .progress_notify = flags_bool(flags, "progress-notify"),
        .on_view = on_view,
    };
    cfg.key = prefix && key[0] == 0 ? kv_bytes("", 1) : kv_bytes(key, strlen(key));
    if (words->keys.n == 2) {
        cfg.range_end = kv_bytes(words->keys.items[1], strlen(words->keys.items[1]));
    } else if (prefix) {
        cfg.range_end = kv_prefix_end(key);
    }
    watch_output_t *output = xcalloc(1, sizeof *output);
    output->run = run;
    output->exec = words->exec;
    words->exec = (strings_t){0};
    output->next = *outputs;
    *outputs = output;
    cfg.arg = output;
    *watcher_p = watch_feed_add(run->stream, &cfg);
    return NULL;
}

/* One turn of the client. */
static void turn(watch_run_t *run)
{
    grpc_client_run(run->cli->client, watch_feed_wait_ms(run->stream));
    watch_feed_tick(run->stream);
}

/* ---- one watch from the command line ---- */

/* Where "--" stands behind the word "watch", and how many words follow it. */
static bool find_separator(const cli_t *cli, size_t *words_n_p, size_t *exec_n_p)
{
    size_t begin = 0;
    for (size_t i = 0; i < cli->argc && begin == 0; i++) {
        begin = strcmp(cli->argv[i], "watch") == 0 ? i + 1 : 0;
    }
    *words_n_p = cli->argc - begin;
    *exec_n_p = 0;
    for (size_t i = begin; i < cli->argc; i++) {
        if (strcmp(cli->argv[i], "--") == 0) {
            *exec_n_p = cli->argc - i - 1;
            return true;
        }
    }
    return false;
}

static int watch_once(watch_run_t *run, const strings_t *args, watch_output_t **outputs)
{
    cli_t *cli = run->cli;
    watch_words_t words = {0};
    watcher_t *watcher = NULL;
    size_t words_n = 0;
    size_t exec_n = 0;
    bool separator = find_separator(cli, &words_n, &exec_n);
    const char *error = split_words(args, separator, exec_n, cli->env, &words);
    if (error == NULL && words_n == 0 && words.keys.n == 0) {
        error = bad_number;
    }
    int code = error != NULL ? cli_fail(cli, EXIT_BAD_ARGS, "%s", error) : cli_connect(cli);
    if (code == 0) {
        run->stream = watch_feed_new(cli->client);
        error = start_watch(run, &cli->flags, &words, outputs, &watcher);
        if (error != NULL) {
            code = cli_fail(cli, EXIT_BAD_ARGS, "%s", error);
        }
    }
    watch_words_deinit(&words);
    if (code != 0) {
        return code;
    }
    while (run->code == 0 && !watcher_ended(watcher)) {
        turn(run);
    }
    if (run->code != 0) {
        return run->code;
    }
    return cli_fail(cli, EXIT_INTERRUPTED, "watch is canceled by the server");
}

/* ---- watches line by line ---- */

/* Words of "watch …": flags, keys, "--", a command. NULL, or a fresh error. */
static char *parse_line(cli_t *cli, strings_t *line_words, flags_t *flags, watch_words_t *words)
{
    strings_t args = {0};
    char *error = NULL;
    size_t separator = 1;
    while (separator < line_words->n && strcmp(line_words->items[separator], "--") != 0) {
        separator++;
    }
    bool has_separator = separator < line_words->n;
    size_t exec_n = has_separator ? line_words->n - separator - 1 : 0;
    flags_add(flags, watch_flags);
    int rc = flags_parse(flags, line_words->items + 1, line_words->n - 1, &args, &error);
    if (rc == FLAGS_HELP) {
        error = xstrdup("pflag: help requested");
    } else if (rc == 0) {
        const char *reason = split_words(&args, has_separator, exec_n, cli->env, words);
        if (reason == NULL && words->keys.n == 0 && !has_separator) {
            reason = bad_number;
        }
        error = reason != NULL ? xstrdup(reason) : NULL;
    }
    strings_deinit(&args);
    return error;
}

static void on_watch_line(watch_run_t *run, const char *line, strings_t *line_words,
                          watch_output_t **outputs)
{
    cli_t *cli = run->cli;
    flags_t flags = {0};
    watch_words_t words = {0};
    watcher_t *watcher = NULL;
    char *error = parse_line(cli, line_words, &flags, &words);
    if (error != NULL) {
        run->code = cli_fail(cli, EXIT_BAD_ARGS, "%s", error);
        free(error);
    } else {
        const char *reason = start_watch(run, &flags, &words, outputs, &watcher);
        if (reason != NULL) {
            fprintf(cli->err, "Invalid command %s (%s)\n", line, reason);
        }
    }
    /* The next line is read when the server knows this watch. */
    while (watcher != NULL && !watcher_settled(watcher) && run->code == 0) {
        turn(run);
    }
    flags_deinit(&flags);
    watch_words_deinit(&words);
}

static void on_line(watch_run_t *run, const char *line, watch_output_t **outputs)
{
    cli_t *cli = run->cli;
    strings_t words = {0};
    bool has_key = environment_value(cli->env, "WATCH_KEY")[0] != 0;
    if (!words_split(line, &words)) {
        run->code = cli_fail(cli, EXIT_INVALID_INPUT, "invalid syntax");
    } else if (words.n < 1) {
        fprintf(cli->err, "Invalid command: %s (watch and progress supported)\n", line);
    } else if (strcmp(words.items[0], "progress") == 0) {
        watch_feed_progress(run->stream);
    } else if (strcmp(words.items[0], "watch") != 0) {
        fprintf(cli->err, "Invalid command %s (only support watch)\n", line);
    } else if (words.n < 2 && !has_key) {
        fprintf(cli->err, "Invalid command %s (command type or key is not provided)\n", line);
    } else {
        on_watch_line(run, line, &words, outputs);
    }
    strings_deinit(&words);
}

/* Lines that have arrived, without waiting for more. */
typedef struct line_reader {
    char *data;
    size_t size;
    size_t capacity;
    bool ended;
} line_reader_t;

static void read_more(line_reader_t *self, int fd)
{
    self->data = xgrow(self->data, &self->capacity, self->size + 4096, 1);
    ssize_t n = read(fd, self->data + self->size, 4096);
    if (n > 0) {
        self->size += (size_t)n;
    } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
        self->ended = true;
    }
}

/* The first complete line, without its end; NULL: there is none. */
static char *next_line(line_reader_t *self)
{
    char *end = self->size > 0 ? memchr(self->data, '\n', self->size) : NULL;
    if (end == NULL) {
        return NULL;
    }
    size_t size = (size_t)(end - self->data);
    char *line = xmemdup(self->data, size + 1);
    line[size] = 0;
    self->size -= size + 1;
    memmove(self->data, end + 1, self->size);
    return line;
}

static void wait_for_input(watch_run_t *run, line_reader_t *reader)
{
    cli_t *cli = run->cli;
    struct pollfd fds[1 + GRPC_CLIENT_ENDPOINTS_MAX] = {{.fd = fileno(cli->in), .events = POLLIN}};
    grpc_client_pollfds(cli->client, &fds[1]);
    int64_t wait = grpc_client_wait_ms(cli->client);
    int64_t reopen = watch_feed_wait_ms(run->stream);
    wait = wait < 0 || (reopen >= 0 && reopen < wait) ? reopen : wait;
    int ready = poll(fds, 1 + grpc_client_endpoints(cli->client), (int)wait);
    grpc_client_process(cli->client, ready > 0 ? &fds[1] : NULL);
    watch_feed_tick(run->stream);
    if (ready > 0 && fds[0].revents != 0) {
        read_more(reader, fds[0].fd);
    }
}

static int watch_interactive(watch_run_t *run, watch_output_t **outputs)
{
    cli_t *cli = run->cli;
    line_reader_t reader = {0};
    int code = cli_connect(cli);
    if (code != 0) {
        return code;
    }
    run->stream = watch_feed_new(cli->client);
    while (run->code == 0) {
        char *line = next_line(&reader);
        if (line != NULL) {
            on_line(run, line, outputs);
            free(line);
        } else if (reader.ended) {
            run->code = cli_fail(cli, EXIT_INVALID_INPUT, "error reading watch request line: EOF");
        } else {
            wait_for_input(run, &reader);
        }
    }
    free(reader.data);
    return run->code;
}

static int run_watch(cli_t *cli, const strings_t *args)
{
    watch_run_t run = {.cli = cli};
    watch_output_t *outputs = NULL;
    const char *range_end = environment_value(cli->env, "WATCH_RANGE_END");
    if (environment_value(cli->env, "WATCH_KEY")[0] == 0 && range_end[0] != 0) {
        return cli_fail(cli, EXIT_BAD_ARGS,
                        "ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END=\"%s\"",
                        range_end);
    }
    int code = flags_bool(&cli->flags, "interactive") ? watch_interactive(&run, &outputs)
                                                      : watch_once(&run, args, &outputs);
    watch_feed_destroy(&run.stream);
    while (outputs != NULL) {
        watch_output_t *output = outputs;
        outputs = output->next;
        strings_deinit(&output->exec);
        free(output);
    }
    return code;
}

const command_t command_watch = {
    .name = "watch",
    .arguments = "[options] [key] [range_end] [--] [command …]",
    .summary = "Prints changes of keys as they happen",
    .text =
        "Prints changes of a key, a range or a prefix as they happen. A command after \"--\" runs\n"
        "for each change, with ETCD_WATCH_REVISION, ETCD_WATCH_EVENT_TYPE, ETCD_WATCH_KEY and\n"
        "ETCD_WATCH_VALUE in its environment.\n\n"
        "  watch foo\n"
        "  watch --prefix foo -- sh -c 'echo $ETCD_WATCH_KEY'\n\n"
        "With -i, lines \"watch …\" and \"progress\" are read from standard input.",
    .group = GROUP_KV,
    .flags = watch_flags,
    .run = run_watch,
};
