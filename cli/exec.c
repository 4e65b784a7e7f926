#include "cli/exec.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "cli/go_format.h"
#include "messages/xalloc.h"

static void add_quoted(strings_t *env, const char *name, const ProtobufCBinaryData *bytes)
{
    char *quoted = go_quoted(bytes->data, bytes->len);
    char *variable = xasprintf("%s=%s", name, quoted);
    strings_add(env, variable);
    free(variable);
    free(quoted);
}

/* The environment of the command, ended by NULL: ours and what the event says. */
static strings_t event_env(char *const *env, int64_t revision, const Mvccpb__Event *event)
{
    strings_t result = {0};
    for (; *env != NULL; env++) {
        strings_add(&result, *env);
    }
    char *text = xasprintf("ETCD_WATCH_REVISION=%lld", (long long)revision);
    strings_add(&result, text);
    free(text);
    strings_add(&result, event->type == MVCCPB__EVENT__EVENT_TYPE__DELETE
                             ? "ETCD_WATCH_EVENT_TYPE=\"DELETE\""
                             : "ETCD_WATCH_EVENT_TYPE=\"PUT\"");
    add_quoted(&result, "ETCD_WATCH_KEY", &event->kv->key);
    add_quoted(&result, "ETCD_WATCH_VALUE", &event->kv->value);
    result.items = xgrow(result.items, &result.capacity, result.n + 1, sizeof *result.items);
    result.items[result.n] = NULL;
    return result;
}

/* As Go words it. */
static char *status_text(int status)
{
    if (WIFEXITED(status)) {
        return xasprintf("exit status %d", WEXITSTATUS(status));
    }
    const char *name = sigdescr_np(WTERMSIG(status));
    char *text = xasprintf("signal: %s%s", name != NULL ? name : "unknown",
                           WCOREDUMP(status) ? " (core dumped)" : "");
    text[8] = (char)tolower((unsigned char)text[8]);
    return text;
}

static char *start_error(const char *program, int error)
{
    char *quoted = go_quoted(program, strlen(program));
    char *reason = xstrdup(strerror(error));
    reason[0] = (char)tolower((unsigned char)reason[0]);
    char *text = error == ENOENT && strchr(program, '/') == NULL
                     ? xasprintf("exec: %s: executable file not found in $PATH", quoted)
                     : xasprintf("fork/exec %s: %s", program, reason);
    free(reason);
    free(quoted);
    return text;
}

/* NULL, or a fresh text of what went wrong. */
static char *run(char *const *argv, char *const *env)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    pid_t pid = 0;
    int error = posix_spawnp(&pid, argv[0], &actions, NULL, argv, env);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) {
        return start_error(argv[0], error);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            return xasprintf("waitpid: %s", strerror(errno));
        }
    }
    return status == 0 ? NULL : status_text(status);
}

int exec_event(const strings_t *command, int64_t revision, const Mvccpb__Event *event,
               char *const *env, FILE *err)
{
    strings_t variables = event_env(env, revision, event);
    char **argv = xcalloc(command->n + 1, sizeof(*argv));
    memcpy(argv, command->items, command->n * sizeof(*argv));
    char *error = run(argv, variables.items);
    strings_deinit(&variables);
    free(argv);
    if (error == NULL) {
        return 0;
    }
    fputs("command [", err);
    for (size_t i = 0; i < command->n; i++) {
        fputs(i > 0 ? " " : "", err);
        go_write_quoted(err, command->items[i], strlen(command->items[i]));
    }
    fprintf(err, "] error (%s)\n", error);
    free(error);
    return 1;
}
